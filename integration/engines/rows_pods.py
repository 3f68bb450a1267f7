"""podman's pods, and podman without root: W24."""

import os
import shutil

from configured import status_fields
from harness import Skip, check, contains, equal, eventually, read, row
from podman_engine import SUBIDS, UID

INFRA = ["--infra-image", "localhost/busybox", "--infra-command", "sleep 1000000"]


def two_in_a_pod(podman, options):
    """A pod of two containers that talk over the loopback device they share."""
    serve = "mkdir /www; echo served >/www/index.html; exec httpd -f -p 8080 -h /www"
    podman("pod", "create", "--name", "pod", *options, *INFRA)
    podman("run", "-d", "--pod", "pod", "--name", "web", "busybox", "sh", "-c", serve)
    podman("run", "-d", "--pod", "pod", "--name", "idle", "busybox", "sleep", "1000")
    eventually(
        lambda: podman("exec", "idle", "wget", "-qO-", "http://127.0.0.1:8080/", status=None).out
        == "served\n",
        "the other container of the pod",
    )
    pids = [podman.pid(name) for name in ("web", "idle")]
    for kind in ("net", "ipc", "uts"):
        equal(len({os.readlink(f"/proc/{pid}/ns/{kind}") for pid in pids}), 1, f"{kind} of a pod")
    equal(len({os.readlink(f"/proc/{pid}/ns/pid") for pid in pids}), 2, "pid namespaces")
    check(
        os.readlink(f"/proc/{pids[0]}/ns/net") != os.readlink("/proc/self/ns/net"),
        "the host's network",
    )
    podman("pod", "stop", "--time", "1", "pod")
    equal({podman.status(name) for name in ("web", "idle")}, {"exited"}, "after pod stop")
    podman("pod", "start", "pod")
    equal({podman.status(name) for name in ("web", "idle")}, {"running"}, "after pod start")
    podman("pod", "kill", "pod")
    podman.remove_pod("pod")
    equal(podman("ps", "-aq").text, "", "containers left")


def may_have_devices(podman):
    """podman's own cgroup of a pod denies all devices, with cgroupfs on cgroup v2."""
    if podman.name == "podman" and os.path.exists("/sys/fs/cgroup/cgroup.controllers"):
        raise Skip("this machine cannot run systemd in a container, or pods: see podman-systemd")


@row("W24", "podman-systemd", "a pod of two containers: stop, start, kill, rm")
@row("W24", "podman", "a pod of two containers: stop, start, kill, rm")
def pod(podman):
    may_have_devices(podman)
    two_in_a_pod(podman, [*podman.cgroup_parent, "--network", "none"])


@row("W24", "podman-systemd", "a pod that shares its pid namespace, and pauses")
@row("W24", "podman", "a pod that shares its pid namespace, and pauses")
def pod_pid(podman):
    may_have_devices(podman)
    podman("pod", "create", "--name", "pod", *podman.cgroup_parent, "--network", "none",
           "--share", "net,pid,ipc", *INFRA)  # fmt: skip
    podman("run", "-d", "--pod", "pod", "--name", "a", "busybox", "sleep", "1001")
    podman("run", "-d", "--pod", "pod", "--name", "b", "busybox", "sleep", "1002")
    contains(podman("exec", "a", "ps").out, "sleep 1002", "the other's processes")
    podman("pod", "pause", "pod")
    equal({podman.status(name) for name in ("a", "b")}, {"paused"}, "after pod pause")
    podman("pod", "unpause", "pod")
    podman.remove_pod("pod")


def reached(podman, name):
    """What systemd in a container says of its start, once it is over."""
    words = ["systemctl", "is-system-running", "--wait"]
    done = podman("exec", name, *words, status=None, timeout=100)
    return done.text if done.text in ("running", "degraded") else None


@row("W24", "podman-systemd", "systemd as the container's init reaches its default target")
@row("W24", "podman", "systemd as the container's init reaches its default target")
def systemd(podman):
    own = ("cgroup.controllers", "systemd")
    if not any(os.path.exists(f"/sys/fs/cgroup/{name}") for name in own):
        raise Skip("this machine cannot run systemd in a container: it has no cgroup for it")
    podman("import", podman.workspace.images.debian_tar, "localhost/debian", timeout=200)
    try:
        with podman.container("--systemd", "always", "debian", "/sbin/init") as name:
            eventually(lambda: reached(podman, name), "systemd", 90)
            state = podman("exec", name, "systemctl", "is-active", "default.target").text
            equal(state, "active", "the default target")
            equal(podman("exec", name, "cat", "/proc/1/comm").text, "systemd", "process 1")
            podman("stop", "--time", "60", name)
            equal(podman.inspect(name, "{{.State.ExitCode}}"), "0", "after SIGRTMIN+3")
    finally:
        podman("rmi", "--force", "debian")


@row("W24", "podman-rootless", "run without root: output, statuses, ids, capabilities")
def rootless(podman):
    done = podman.run("--rm", "busybox", "echo", "hello")
    equal((done.out, done.err), ("hello\n", ""), "what echo wrote")
    podman.run("--rm", "busybox", "sh", "-c", "exit 42", status=42)
    podman.run("--rm", "busybox", "nosuchprogram", status=127)
    podman.run("--rm", "busybox", "/etc/passwd", status=126)
    with podman.container("busybox", "sleep", "1000") as name:
        fields = status_fields(read(f"/proc/{podman.pid(name)}/status"))
        equal(fields["Uid"].split(), [str(UID)] * 4, "root's id outside")
        equal(fields["Gid"].split(), [str(UID)] * 4, "root's group outside")
    with podman.container("-u", "alice", "busybox", "sleep", "1000") as name:
        fields = status_fields(read(f"/proc/{podman.pid(name)}/status"))
        equal(fields["Uid"].split(), [str(SUBIDS + 499)] * 4, "alice's id outside")
        equal(int(fields["CapEff"], 16), 0, "alice's effective set")
    with podman.container("--userns", "keep-id", "busybox", "sleep", "1000") as name:
        fields = status_fields(read(f"/proc/{podman.pid(name)}/status"))
        equal(fields["Uid"].split(), [str(UID)] * 4, "the user's own id outside")
        equal(podman("exec", name, "id", "-u").text, str(UID), "the user's own id inside")
    secret = podman.workspace.new("rootless-secret")
    with open(
        f"{secret}/secret", "w", opener=lambda path, flags: os.open(path, flags, 0o600)
    ) as file:
        file.write("top secret\n")
    done = podman.run("--rm", "-v", f"{secret}:/mnt", "busybox", "cat", "/mnt/secret", status=1)
    contains(done.err, "Permission denied", "a file of the host's root")


@row("W24", "podman-rootless", "exec, terminal, pause or not, stop, logs, volumes")
def rootless_life(podman):
    with podman.container(
        "-v", "data:/data", "busybox", "sh", "-c", "echo started; exec sleep 1000"
    ) as name:
        eventually(lambda: "started" in podman("logs", name).out, "the log")
        done = podman("exec", name, "sh", "-c", "echo out; echo err >&2; id -u; exit 7", status=7)
        equal((done.out, done.err), ("out\n0\n", "err\n"), "exec")
        equal(podman("exec", "-u", "alice", name, "id", "-u").text, "500", "exec -u")
        podman("exec", name, "nosuchprogram", status=127)
        equal(podman("exec", "-i", name, "cat", stdin="through\n").out, "through\n", "exec -i")
        one = status_fields(podman("exec", name, "cat", "/proc/1/status").out)
        two = status_fields(podman("exec", name, "cat", "/proc/self/status").out)
        for field in ("CapBnd", "CapEff", "Seccomp", "NoNewPrivs"):
            equal(two[field], one[field], f"{field} of what exec started")
        with podman.terminal(31, 99, "exec", "-it", name, "sh") as screen:
            screen.shell(31, 99)
            screen.interrupt()
            screen.leave(5)
        podman("exec", name, "touch", "/data/kept")
        podman("stop", "--time", "1", name)
        podman("start", name)
        equal(podman("exec", name, "ls", "/data").out, "kept\n", "the volume after a restart")
    podman("volume", "rm", "--force", "data")
    words = podman.run_words("--rm", "-it", "busybox", "sh")
    with podman.terminal(33, 101, *words) as screen:
        screen.shell(33, 101, "0")
        screen.interrupt()
        screen.leave(9)


@row("W24", "podman-rootless", "a pod of two containers")
def rootless_pod(podman):
    two_in_a_pod(podman, ["--network", "none"])


@row("W24", "podman-rootless", "a network of its own (slirp4netns), read-only, seccomp, build")
def rootless_rest(podman):
    if shutil.which("slirp4netns"):
        out = podman.run("--rm", "--network", "slirp4netns", "busybox", "ip", "addr").out
        contains(out, "tap0", "the network device")
    done = podman.run("--rm", "--read-only", "busybox", "touch", "/x", status=1)
    contains(done.err, "Read-only file system", "the root")
    contains(
        podman.run("--rm", "busybox", "grep", "^Seccomp:", "/proc/self/status").out, "2", "seccomp"
    )
    directory = podman.workspace.new("rootless-build")
    os.chmod(directory, 0o755)
    with open(f"{directory}/Containerfile", "w") as file:
        file.write(
            "FROM localhost/busybox\nRUN id -u >/built && echo yes >>/built\nCMD cat /built\n"
        )
    podman(
        "build",
        "--network",
        "none",
        "--runtime",
        podman.program,
        "-t",
        "built",
        directory,
        timeout=120,
    )
    equal(podman.run("--rm", "built").out, "0\nyes\n", "what was built")
    podman("rmi", "--force", "built")
