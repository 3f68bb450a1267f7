"""podman: limits, namespaces, users, privileges. W06, W08, W09, W11 to W13, W15, W16, W20."""

import os
import re
import time
import urllib.request

from configured import status_fields
from harness import Skip, check, contains, equal, eventually, lacks, read, row, write

DEFAULT_CAPS = 0xA80425FB
"""podman 4.3's default: the fourteen that Docker has too."""


@row("W06", "podman", "limits read back and held; update")
def limits(podman):
    given = [
        "--memory",
        "64m",
        "--memory-swap",
        "64m",
        "--pids-limit",
        "60",
        "--cpus",
        "0.5",
        "--cpu-shares",
        "512",
    ]
    with podman.container(*given, "busybox", "sleep", "1000") as name:
        cgroup = podman.cgroup(name)

        def memory():
            return cgroup.read("memory", "memory.limit_in_bytes", "memory.max")

        equal(memory(), str(64 << 20), "memory")
        equal(cgroup.read("pids", "pids.max", "pids.max"), "60", "processes")
        equal(cgroup.read("cpu", "cpu.cfs_quota_us", "cpu.max").split()[0], "50000", "the quota")
        # Not at once: the runtime itself is in the cgroup for the first moment.
        podman("exec", name, "sh", "-c", "sleep 0.5; tail /dev/zero", status=137)
        equal(podman.status(name), "running", "init after the one who ate too much was killed")
        podman("update", "--memory", "96m", "--memory-swap", "96m", "--cpus", "0.25", name)
        equal(memory(), str(96 << 20), "memory after the update")
        equal(
            cgroup.read("cpu", "cpu.cfs_quota_us", "cpu.max").split()[0],
            "25000",
            "the quota after it",
        )
    # Its own container: process 1 does not reap, so the dead forks count until the end.
    with podman.container("--pids-limit", "60", "busybox", "sleep", "1000") as name:
        out = podman(
            "exec", name, "sh", "-c", "for i in $(seq 100); do sleep 2 & done; wait", status=None
        )
        contains(out.err, "can't fork", "the fork that is one too many")
        equal(podman.status(name), "running", "after a fork bomb")
    podman.run(
        "--rm",
        "--memory",
        "32m",
        "--memory-swap",
        "32m",
        "busybox",
        "tail",
        "/dev/zero",
        status=137,
    )


@row("W08", "podman", "exec: output, status, input, user, environment, background, terminal")
def execs(podman):
    with podman.container("-e", "FOO=bar", "busybox", "sleep", "1000") as name:
        done = podman("exec", name, "sh", "-c", "echo out $FOO; echo err >&2; exit 7", status=7)
        equal((done.out, done.err), ("out bar\n", "err\n"), "the two streams")
        equal(podman("exec", "-u", "alice", name, "id", "-u").text, "500", "the user")
        equal(
            podman("exec", "-w", "/tmp", "-e", "A=b", name, "sh", "-c", "echo $PWD $A").text,
            "/tmp b",
            "-w -e",
        )
        data = os.urandom(4 << 20)
        equal(
            podman("exec", "-i", name, "cat", stdin=data, binary=True).out,
            data,
            "4 MB through stdin",
        )
        done = podman("exec", name, "nosuchprogram", status=127)
        contains(done.err, "executable file not found in $PATH", "what is not found")
        done = podman("exec", name, "/etc/passwd", status=126)
        contains(done.err, "permission denied", "what has no x")
        podman("exec", "-d", name, "sleep", "777")
        inside = podman("exec", name, "ps").out
        contains(inside, "sleep 777", "ps inside")
        lacks(inside, "conmon", "ps inside")
        pids = podman.cgroup(name).procs("memory")
        equal(len(pids), 2, "processes in the cgroup")
        init = podman.pid(name)
        for space in ("mnt", "net", "ipc", "uts", "pid", "cgroup"):
            spaces = {os.readlink(f"/proc/{pid}/ns/{space}") for pid in [*pids, init]}
            equal(len(spaces), 1, f"{space} namespaces")
        plain = status_fields(podman("exec", name, "cat", "/proc/self/status").out)
        own = status_fields(podman("exec", name, "cat", "/proc/1/status").out)
        for field in ("CapBnd", "CapEff", "CapPrm", "Seccomp", "NoNewPrivs"):
            equal(plain[field], own[field], f"{field} of what exec started")
        free = status_fields(podman("exec", "--privileged", name, "cat", "/proc/self/status").out)
        equal(
            free["CapEff"], status_fields(read("/proc/self/status"))["CapBnd"], "exec --privileged"
        )
        with podman.terminal(31, 99, "exec", "-it", name, "sh") as screen:
            screen.shell(31, 99)
            screen.resize(44, 77)
            screen.ask("stty size", r"\n44 77\r")
            screen.interrupt()
            screen.leave(5)


@row("W08", "podman", "namespaces of the host and of another container")
def namespaces(podman):
    def space(pid, kind):
        return os.readlink(f"/proc/{pid}/ns/{kind}")

    with podman.container("busybox", "sleep", "1000") as one:
        first = podman.pid(one)
        joined = [f"--{kind}=container:{one}" for kind in ("pid", "ipc", "network")]
        with podman.container(*joined, "busybox", "sleep", "2000") as two:
            second = podman.pid(two)
            for kind in ("pid", "ipc", "net"):
                equal(space(second, kind), space(first, kind), f"{kind} of the other")
            contains(podman("exec", two, "ps").out, "sleep 1000", "the other's processes")
    host = ["--pid", "host", "--ipc", "host", "--uts", "host", "--network", "host"]
    with podman.container(*host, "busybox", "sleep", "1000") as name:
        for kind in ("pid", "ipc", "uts", "net"):
            equal(space(podman.pid(name), kind), space("self", kind), f"{kind} of the host")


@row("W09", "podman", "a bridge network: two containers, a published port")
def bridge(podman):
    if not os.path.isdir("/usr/lib/cni") and not os.path.exists("/usr/lib/podman/netavark"):
        raise Skip("no network plugins")
    serve = "mkdir /www; echo served >/www/index.html; exec httpd -f -p 80 -h /www"
    podman("network", "create", "--subnet", "172.31.240.0/24", "row")
    try:
        with podman.container(
            "--network=row", "-p", "127.0.0.1:18080:80", "busybox", "sh", "-c", serve
        ) as name:
            address = podman("exec", name, "ip", "-4", "addr", "show", "eth0").out
            address = re.search(r"inet ([\d.]+)", address)[1]

            def fetch(target):
                return podman.run(
                    "--rm", "--network=row", "busybox", "wget", "-qO-", target, status=None
                )

            eventually(lambda: fetch(f"http://{address}/").out == "served\n", "the other container")
            check(
                os.readlink(f"/proc/{podman.pid(name)}/ns/net") != os.readlink("/proc/self/ns/net"),
                "net",
            )
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            equal(opener.open("http://127.0.0.1:18080/", timeout=5).read(), b"served\n", "the port")
    finally:
        podman("network", "rm", "--force", "row")


@row("W11", "podman", "capability sets equal those asked for; --privileged")
def capabilities(podman):
    own = int(status_fields(read("/proc/self/status"))["CapBnd"], 16)
    cases = (
        ([], DEFAULT_CAPS),
        (["--cap-add", "SYS_TIME", "--cap-drop", "KILL"], (DEFAULT_CAPS | 1 << 25) & ~(1 << 5)),
        (["--cap-drop", "all"], 0),
        (["--cap-drop", "all", "--cap-add", "NET_RAW"], 1 << 13),
        (["--privileged"], own),
    )
    for options, want in cases:
        fields = status_fields(
            podman.run("--rm", *options, "busybox", "cat", "/proc/self/status").out
        )
        for kind in ("CapBnd", "CapPrm", "CapEff"):
            equal(f"{int(fields[kind], 16):x}", f"{want:x}", f"{options}: {kind}")
    fields = status_fields(
        podman.run("--rm", "-u", "alice", "busybox", "cat", "/proc/self/status").out
    )
    equal(
        (int(fields["CapEff"], 16), int(fields["CapBnd"], 16)), (0, DEFAULT_CAPS), "a user's sets"
    )
    out = podman.run(
        "--rm", "--security-opt", "no-new-privileges", "busybox", "cat", "/proc/self/status"
    ).out
    equal(status_fields(out)["NoNewPrivs"], "1", "no-new-privileges")


@row("W12", "podman", "seccomp: the default, a file, unconfined")
def seccomp(podman):
    probe = ["busybox", "sh", "-c", "grep ^Seccomp: /proc/self/status; mkdir /tmp/x; echo $?"]
    contains(podman.run("--rm", *probe).out, "Seccomp:\t2", "the default")
    out = podman.run("--rm", "--security-opt", "seccomp=unconfined", *probe).out
    contains(out, "Seccomp:\t0", "unconfined")
    profile = write(
        f"{podman.workspace.new('podman-seccomp')}/profile.json",
        '{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir", "mkdirat"],'
        ' "action": "SCMP_ACT_ERRNO", "errnoRet": 28}]}',
        0o644,
    )
    done = podman.run("--rm", "--security-opt", f"seccomp={profile}", *probe)
    contains(done.err, "No space left on device", "the profile's errno")
    contains(done.out, "Seccomp:\t2", "the profile")


@row("W13", "podman", "users and groups; a user namespace")
def users(podman):
    def ids(*options):
        return podman.run("--rm", *options, "busybox", "sh", "-c", "id -u; id -g; id -G").out.split(
            "\n"
        )

    equal(ids("-u", "500")[0], "500", "-u 500")
    equal(ids("-u", "alice")[:3], ["500", "500", "500 50"], "-u alice")
    equal(ids("-u", "7:8", "--group-add", "99")[:3], ["7", "8", "8 99"], "--group-add")
    mapped = ["--uidmap", "0:200000:1000", "--gidmap", "0:300000:1000"]
    with podman.container(*mapped, "busybox", "sleep", "1000") as name:
        fields = status_fields(read(f"/proc/{podman.pid(name)}/status"))
        equal(
            (fields["Uid"].split()[0], fields["Gid"].split()[0]),
            ("200000", "300000"),
            "ids outside",
        )
        equal(podman("exec", name, "id", "-u").text, "0", "the user inside")
        equal(podman("exec", "-u", "alice", name, "id", "-u").text, "500", "another user inside")


@row("W15", "podman", "--read-only with and without tmpfs")
def read_only(podman):
    done = podman.run("--rm", "--read-only", "busybox", "touch", "/x", status=1)
    contains(done.err, "Read-only file system", "the root")
    podman.run("--rm", "--read-only", "busybox", "touch", "/tmp/x")
    done = podman.run(
        "--rm", "--read-only", "--read-only-tmpfs=false", "busybox", "touch", "/tmp/x", status=1
    )
    contains(done.err, "Read-only file system", "/tmp without tmpfs")


@row("W16", "podman", "an image of one static program")
def scratch(podman):
    contains(
        podman.run("--rm", "scratch", "/hello").out, "hello from a static program", "its output"
    )
    done = podman.run("--rm", "scratch", "sh", status=127)
    contains(done.err, '"sh"', "what was not found")


@row("W20", "podman", "pause, unpause, top, stats, inspect, events")
def observe(podman):
    count = "i=0; while :; do i=$((i+1)); echo $i >/n; sleep 0.02; done"
    with podman.container("busybox", "sh", "-c", count) as name:
        counter = f"/proc/{podman.pid(name)}/root/n"
        eventually(lambda: os.path.exists(counter), "the counter")
        podman("pause", name)
        equal(podman.status(name), "paused", "the status")
        before = read(counter)
        time.sleep(1)
        equal(read(counter), before, "the counter while it was paused")
        podman("unpause", name)
        equal(podman.status(name), "running", "the status")
        eventually(lambda: read(counter) != before, "going on")
        shown = podman("top", name, "pid", "hpid", "comm").out
        contains(shown, str(podman.pid(name)), "top")
        stats = podman("stats", "--no-stream", "--format", "{{.MemUsage}} {{.PIDs}}", name).out
        check(re.search(r"\d", stats), f"stats: {stats}")
        podman("pause", name)
        podman("kill", name, status=None)
