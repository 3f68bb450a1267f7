"""The CRI, as Kubernetes uses it: W06, W08, W11, W12, W13, W15, W20, W25."""

import os
import signal

from configured import status_fields
from containerd_engine import alive
from cri_client import (
    CONTAINER, EXITED, NODE, POD, RUNNING, RUNTIME_DEFAULT, TARGET, UNCONFINED, CriError,
    namespaces, resources, seccomp, security,
)  # fmt: skip
from harness import Failure, check, contains, equal, eventually, lacks, read, row

# What a kubelet sends for procMount: Default.
MASKED = ["/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
          "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware"]  # fmt: skip
FIXED = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]
OWN_PID = namespaces(network=NODE, pid=CONTAINER)


def clean_log(cri):
    errors = cri.errors()
    check(not errors, f"containerd's log has errors: {errors[:3]}")


def space(pid, name):
    return os.readlink(f"/proc/{pid}/ns/{name}")


def status_of(pod, name, context):
    """/proc/1/status of a container with this security context, read by ExecSync."""
    container = pod.run(name, context=context)
    code, out, err = pod.client.exec_sync(container, "cat", "/proc/1/status")
    equal((code, err), (0, ""), "cat /proc/1/status")
    fields = status_fields(out)
    equal(fields["Name"], "sleep", "process 1")
    return fields


@row("W25", "cri", "a pod of two containers from begin to end")
def pod_of_two(cri):
    cri.errors()
    client = cri.client
    with cri.pod("two") as pod:
        check(client.sandbox_ready(pod.id), "the sandbox is not ready")
        script = "echo to stdout; echo to stderr >&2; exec sleep 1000"
        first = pod.run("first", "sh", "-c", script, context=security(spaces=OWN_PID),
                        env={"FOO": "bar"}, cwd="/tmp")  # fmt: skip
        second = pod.run("second", "sh", "-c", "exit 42", context=security(spaces=OWN_PID))
        equal(client.wait(second), 42, "the exit code of the second")
        equal(client.state(first)[0], RUNNING, "the state of the first")
        equal(client.exec_sync(first, "sh", "-c", "echo $FOO $PWD; echo err >&2; exit 7"),
              (7, "bar /tmp\n", "err\n"), "ExecSync")  # fmt: skip
        equal(sorted(pod.log("first")), [("stderr", "to stderr"), ("stdout", "to stdout")], "log")
        client.stop(first, 1)
        equal(client.state(first), (EXITED, 137), "sleep as process 1 takes no TERM")
        client.remove(first)
        client.remove(second)
        equal(client.containers(), [], "containers left")
        clean_log(cri)
        missing = pod.create("missing", "/no/such/program", context=security(spaces=OWN_PID))
        try:
            client.start(missing)
        except CriError as error:
            contains(str(error), "no such file or directory", "the error of StartContainer")
        else:
            raise Failure("a program that is not there was started")
        client.stop_sandbox(pod.id)
        check(not client.sandbox_ready(pod.id), "a stopped sandbox is ready")
    equal(client.sandboxes(), [], "sandboxes left")
    cri.errors()


@row("W25", "cri", "namespaces of a pod: network, ipc and uts shared, pid when asked")
def pod_namespaces(cri):
    cri.errors()
    client = cri.client
    for name, pid_mode in (("own", CONTAINER), ("shared", POD), ("host", NODE)):
        spaces = namespaces(network=NODE, pid=pid_mode)
        with cri.pod(f"pid-{name}", spaces) as pod:
            pids = [pod.pid(pod.id)]
            for which in ("a", "b"):
                pids.append(pod.pid(pod.run(which, context=security(spaces=spaces))))
            for shared in ("net", "ipc", "uts"):
                equal(len({space(pid, shared) for pid in pids}), 1, f"{shared} namespaces")
            equal(len({space(pid, "mnt") for pid in pids}), 3, "mount namespaces")
            equal(
                len({space(pid, "pid") for pid in pids}),
                3 if name == "own" else 1,
                "pid namespaces",
            )
            host = space("self", "pid")
            equal(space(pids[1], "pid") == host, name == "host", "the host's pid namespace")
            equal(space(pids[1], "net"), space("self", "net"), "the host's network")
            check(space(pids[1], "ipc") != space("self", "ipc"), "the host's ipc namespace")
            if name == "shared":
                seen = client.exec_sync(client.containers()[0], "ps")[1]
                contains(seen, "sleep 1000000", "the sandbox's process seen from a container")
    with cri.pod("target") as pod:
        first = pod.run("first", context=security(spaces=OWN_PID))
        aimed = namespaces(network=NODE, pid=TARGET, target=first)
        second = pod.run("debug", context=security(spaces=aimed))
        equal(
            space(pod.pid(second), "pid"),
            space(pod.pid(first), "pid"),
            "the target's pid namespace",
        )
    clean_log(cri)


@row("W06", "cri", "resources of a container, and UpdateContainerResources")
def limits(cri):
    cri.errors()
    client = cri.client
    with cri.pod("limits") as pod:
        given = resources(period=100000, quota=20000, shares=512, memory=64 << 20)
        name = pod.run("a", context=security(spaces=OWN_PID), limits=given)
        cgroup = pod.cgroup(name)

        def memory():
            return cgroup.read("memory", "memory.limit_in_bytes", "memory.max")

        def quota():
            return cgroup.read("cpu", "cpu.cfs_quota_us", "cpu.max").split()[0]

        equal((memory(), quota()), (str(64 << 20), "20000"), "limits")
        if cgroup.is_v1("cpu"):
            equal(cgroup.read("cpu", "cpu.shares", ""), "512", "shares")
        client.update(
            name, resources(period=100000, quota=50000, shares=256, memory=96 << 20, cpus="0")
        )
        equal((memory(), quota()), (str(96 << 20), "50000"), "limits after the update")
        if cgroup.is_v1("cpu"):
            equal(cgroup.read("cpu", "cpu.shares", ""), "256", "shares after the update")
        equal(cgroup.read("cpuset", "cpuset.cpus", "cpuset.cpus"), "0", "CPUs after the update")
        cri("task", "ls")
        code, out, _ = client.exec_sync(name, "sh", "-c", "tail /dev/zero; echo $?", timeout=30)
        check(code == 137 or "137" in out, f"what ate too much ended with {code} {out!r}")
        check(alive(pod.pid(name)), "init was killed instead of the one who ate")
    clean_log(cri)


@row("W20", "cri", "ContainerStats against the cgroup")
def stats(cri):
    with cri.pod("stats") as pod:
        script = "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done; sleep 1000"
        busy = pod.run("busy", "sh", "-c", script, context=security(spaces=OWN_PID))
        eventually(lambda: cri.client.stats(busy)[0] > 50_000_000, "50 ms of CPU time in the stats")
        cpu, memory = cri.client.stats(busy)
        cgroup = pod.cgroup(busy)
        if cgroup.is_v1("cpuacct"):
            check(
                cpu <= int(cgroup.read("cpuacct", "cpuacct.usage", "")),
                "more CPU than the cgroup had",
            )
        used = int(cgroup.read("memory", "memory.usage_in_bytes", "memory.current"))
        check(0 < memory <= used + (1 << 20), f"memory: {memory}, the cgroup says {used}")


@row("W13", "cri", "run_as_user, run_as_group, supplemental groups, run_as_username")
def users(cri):
    with cri.pod("users") as pod:
        context = security(spaces=OWN_PID, user=500, group=99, groups=[7, 8])
        fields = status_of(pod, "ids", context)
        equal(fields["Uid"].split(), ["500"] * 4, "user ids")
        equal(fields["Gid"].split(), ["99"] * 4, "group ids")
        check({"7", "8"} <= set(fields["Groups"].split()), f"groups: {fields['Groups']}")
        equal(int(fields["CapEff"], 16), 0, "the effective set of a user")
        fields = status_of(pod, "named", security(spaces=OWN_PID, username="nobody"))
        equal(fields["Uid"].split(), ["99"] * 4, "nobody's user ids")


@row("W11", "cri", "capabilities add and drop, privileged, no_new_privs")
def capabilities(cri):
    own = int(status_fields(read("/proc/self/status"))["CapBnd"], 16)
    default = 0xA80425FB
    cases = (
        ("plain", {}, default, "0"),
        (
            "changed",
            {"add": ["SYS_TIME"], "drop": ["NET_RAW"]},
            (default | 1 << 25) & ~(1 << 13),
            "0",
        ),
        ("none", {"drop": ["ALL"], "no_new_privs": True}, 0, "1"),
        ("one", {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"], "no_new_privs": True}, 1 << 10, "1"),
    )
    with cri.pod("caps") as pod:
        for name, how, want, no_new_privs in cases:
            fields = status_of(pod, name, security(spaces=OWN_PID, **how))
            for kind in ("CapBnd", "CapPrm", "CapEff"):
                equal(int(fields[kind], 16), want, f"{name}: {kind}")
            equal(int(fields["CapAmb"], 16), 0, f"{name}: the ambient set")
            equal(fields["NoNewPrivs"], no_new_privs, f"{name}: no_new_privs")
    with cri.pod("privileged", privileged=True) as pod:
        context = security(spaces=OWN_PID, privileged=True)
        name = pod.run("all", context=context)
        fields = status_fields(cri.client.exec_sync(name, "cat", "/proc/1/status")[1])
        equal(int(fields["CapBnd"], 16), own, "the bounding set of a privileged container")
        equal(fields["Seccomp"], "0", "seccomp of a privileged container")
        inside = set(cri.client.exec_sync(name, "ls", "/dev")[1].split())
        check({"null", "loop-control"} & inside >= {"null"} and len(inside) > 20, f"/dev: {inside}")
        mounts = cri.client.exec_sync(name, "cat", "/proc/mounts")[1]
        lacks(mounts, "/proc/kcore", "what is masked of a privileged container")


@row("W12", "cri", "seccomp: the runtime's default, unconfined")
def seccomp_profiles(cri):
    with cri.pod("seccomp") as pod:
        for kind, mode in ((RUNTIME_DEFAULT, "2"), (UNCONFINED, "0")):
            context = security(spaces=OWN_PID, profile=seccomp(kind))
            fields = status_of(pod, f"mode{mode}", context)
            equal(fields["Seccomp"], mode, "the mode of process 1")
            if mode == "2":
                name = cri.client.containers()[0]
                script = "unshare -U true; grep ^Seccomp: /proc/self/status"
                _, out, err = cri.client.exec_sync(name, "sh", "-c", script)
                contains(err, "Operation not permitted", "unshare in a container with the profile")
                contains(out, "Seccomp:\t2", "the mode of what ExecSync starts")


@row("W15", "cri", "read-only root, masked and read-only paths, read-only volume")
def paths(cri):
    client = cri.client
    volume = cri.workspace.new("cri-volume")
    with cri.pod("paths") as pod:
        name = pod.run(
            "ro",
            context=security(spaces=OWN_PID, readonly=True, masked=MASKED, read_only_paths=FIXED),
            mounts=[(volume, "/data", False), (volume, "/fixed", True)],
        )
        for path, fine in (("/file", False), ("/data/new", True), ("/fixed/other", False)):
            code, _, err = client.exec_sync(name, "sh", "-c", f"echo x >{path}")
            equal(
                (code == 0, "Read-only file system" in err), (fine, not fine), f"writing to {path}"
            )
        equal(read(f"{volume}/new"), "x\n", "what was written")
        masked = client.exec_sync(name, "sh", "-c", "cat /proc/keys /proc/timer_list | wc -c")[1]
        equal(masked.strip(), "0", "bytes of masked files")
        equal(client.exec_sync(name, "ls", "-A", "/sys/firmware")[1], "", "a masked directory")
        err = client.exec_sync(name, "sh", "-c", "echo 1 >/proc/sys/kernel/domainname")[2]
        contains(err, "Read-only file system", "writing to a read-only path")
        own = pod.run("own", context=security(spaces=OWN_PID, masked=["/etc/passwd"],
                                              read_only_paths=["/tmp"]))  # fmt: skip
        equal(
            client.exec_sync(own, "cat", "/etc/passwd")[1], "", "a masked file of one's own choice"
        )
        err = client.exec_sync(own, "touch", "/tmp/x")[2]
        contains(err, "Read-only file system", "a read-only path of one's own choice")


@row("W08", "cri", "ExecSync: time-out, what is not there, a hundred in a row")
def execs(cri):
    client = cri.client
    with cri.pod("execs") as pod:
        name = pod.run("a", context=security(spaces=OWN_PID))
        cri.errors()
        for index in range(100):
            equal(client.exec_sync(name, "echo", str(index)), (0, f"{index}\n", ""), "ExecSync")
        clean_log(cri)
        equal(len(pod.cgroup(name).procs("memory")), 1, "processes after a hundred execs")
        try:
            client.exec_sync(name, "sleep", "100", timeout=1)
        except CriError as error:
            contains(str(error), "timeout", "the error after the time-out")
        else:
            raise Failure("no time-out")
        eventually(lambda: len(pod.cgroup(name).procs("memory")) == 1, "the end of what timed out")
        try:
            client.exec_sync(name, "nosuchprogram")
        except CriError as error:
            contains(str(error), "executable file not found in $PATH", "the error of ExecSync")
        else:
            raise Failure("what is not there was run")
    cri.errors()


@row("W25", "cri", "the daemon is restarted under a running pod")
def restart(cri):
    with cri.pod("survivor") as pod:
        name = pod.run("a", context=security(spaces=OWN_PID))
        pid = pod.pid(name)
        cri.end(signal.SIGKILL)
        check(alive(pid), "the container died with the daemon")
        cri.launch()
        cri.errors()
        equal(cri.client.state(name)[0], RUNNING, "the state after the restart")
        equal(cri.client.exec_sync(name, "echo", "still here"), (0, "still here\n", ""), "ExecSync")
        cri.client.stop(name, 1)
        equal(cri.client.state(name)[0], EXITED, "the state after the stop")
        clean_log(cri)
