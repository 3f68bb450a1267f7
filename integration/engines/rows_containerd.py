"""containerd by ctr: W01, W02, W06, W08, W11, W12, W15, W18, W25."""

import os
import re
import signal
import subprocess
import time

from configured import status_fields
from containerd_engine import alive
from harness import check, contains, equal, eventually, lacks, read, row
from terminal import Terminal

NO_NEW_PRIVS, FILTERED = "NoNewPrivs", "Seccomp"


def clean_log(ctr):
    errors = ctr.errors()
    check(not errors, f"containerd's log has errors: {errors[:3]}")


@row("W01", "containerd", "ctr run: output, exit statuses, what cannot be run")
def hello(ctr):
    ctr.errors()
    done = ctr.run([], "hello", "echo", "hello", "world")
    equal((done.out, done.err), ("hello world\n", ""), "what echo wrote")
    ctr.run([], "status", "sh", "-c", "exit 42", status=42)
    done = ctr.run([], "both", "sh", "-c", "echo out; echo err >&2")
    equal((done.out, done.err), ("out\n", "err\n"), "the two streams")
    ctr.run([], "null", "--null-io", "true", status=None)
    clean_log(ctr)
    missing = ctr.run([], "missing", "/no/such/program", status=1)
    contains(missing.err, "no such file or directory", "the error of a missing program")
    named = ctr.run([], "named", "nosuchprogram", status=1)
    contains(
        named.err, "executable file not found in $PATH", "the error of a name that is not found"
    )
    refused = ctr.run([], "refused", "/etc/passwd", status=1)
    contains(refused.err, "permission denied", "the error of a file without x")


@row("W02", "containerd", "ctr run --tty: size, resize, Ctrl-C, exit status")
def terminal(ctr):
    ctr.errors()
    words = ctr.words(*ctr.run_words(["--rm", "--tty"], "tty", "sh"))
    with Terminal(words, rows=33, columns=101) as screen:
        screen.shell(33, 101, "0")
        screen.resize(40, 120)
        screen.ask("stty size", r"\n40 120\r")
        screen.interrupt()
        screen.leave(9)
    clean_log(ctr)


@row("W06", "containerd", "limits read back: memory, CPU shares and quota")
def limits(ctr):
    options = ["--memory-limit", str(64 << 20), "--cpu-quota", "20000", "--cpu-period", "100000",
               "--cpu-shares", "512"]  # fmt: skip
    with ctr.container("limits", options) as name:
        cgroup = ctr.cgroup(name)
        equal(cgroup.read("memory", "memory.limit_in_bytes", "memory.max"), str(64 << 20), "memory")
        if cgroup.is_v1("cpu"):
            equal(cgroup.read("cpu", "cpu.cfs_quota_us", ""), "20000", "the quota")
            equal(cgroup.read("cpu", "cpu.shares", ""), "512", "the shares")
        else:
            equal(cgroup.read("cpu", "", "cpu.max"), "20000 100000", "the quota")
        equal(len(cgroup.procs("memory")), 1, "processes in the cgroup")
    with ctr.container("eater", ["--memory-limit", str(64 << 20)], ("sleep", "1000")) as name:
        # tail keeps a line in memory, however long it is.
        done = ctr.exec(name, "sh", "-c", "tail /dev/zero", status=None)
        equal(done.status, 137, "the exit status of what ate too much")
        check(alive(ctr.pid(name)), "init was killed instead of the one who ate")


@row("W08", "containerd", "ctr task exec: status, output, stdin, user, directory, background")
def execs(ctr):
    ctr.errors()
    with ctr.container("execs", ["--env", "FOO=bar"]) as name:
        done = ctr.exec(name, "sh", "-c", "echo out $FOO; echo err >&2; exit 7", status=7)
        equal((done.out, done.err), ("out bar\n", "err\n"), "the two streams")
        equal(ctr.exec(name, "pwd", options=["--cwd", "/tmp"]).out, "/tmp\n", "the directory")
        equal(ctr.exec(name, "id", "-u", options=["--user", "500"]).out, "500\n", "the user")
        data = os.urandom(1 << 20).hex()
        equal(ctr.exec(name, "cat", stdin=data).out, data, "2 MB through stdin")
        inside = ctr.exec(name, "ps").out
        contains(inside, "sleep 1000", "ps inside")
        lacks(inside, "containerd", "ps inside")
        ctr.exec(name, "sleep", "777", options=["--detach"])
        shown = ctr("task", "ps", name).out.splitlines()[1:]
        equal(len(shown), 2, f"processes that task ps shows: {shown}")
        pids = sorted(int(line.split()[0]) for line in shown)
        equal(pids, sorted(ctr.cgroup(name).procs("memory")), "pids against the cgroup's")
        for space in ("mnt", "net", "ipc", "uts", "pid", "cgroup"):
            equal(len({os.readlink(f"/proc/{pid}/ns/{space}") for pid in pids}), 1, space)
        clean_log(ctr)
        missing = ctr.exec(name, "nosuchprogram", status=1)
        contains(missing.err, "executable file not found in $PATH", "exec of what is not there")
    ctr.errors()


@row("W08", "containerd", "ctr task exec --tty: size, resize, Ctrl-C, exit status")
def exec_terminal(ctr):
    ctr.errors()
    with ctr.container("exectty") as name:
        words = ctr.words("task", "exec", "--tty", "--exec-id", "shell", name, "sh")
        with Terminal(words, rows=31, columns=99) as screen:
            screen.shell(31, 99)
            screen.resize(44, 77)
            screen.ask("stty size", r"\n44 77\r")
            screen.interrupt()
            screen.leave(5)
    clean_log(ctr)


@row("W11", "containerd", "capabilities, no_new_privs")
def capabilities(ctr):
    plain = status_fields(ctr.run([], "caps", "cat", "/proc/self/status").out)
    equal(plain[NO_NEW_PRIVS], "1", "no_new_privs")
    # containerd's default set.
    equal(int(plain["CapBnd"], 16), 0xA80425FB, "the bounding set")
    equal(plain["CapEff"], plain["CapBnd"], "the effective set of root")
    options = ["--cap-add", "CAP_SYS_TIME", "--cap-drop", "CAP_NET_RAW", "--allow-new-privs"]
    changed = status_fields(ctr.run(options, "caps", "cat", "/proc/self/status").out)
    want = (0xA80425FB | 1 << 25) & ~(1 << 13)
    for name in ("CapBnd", "CapPrm", "CapEff"):
        equal(int(changed[name], 16), want, f"{name} with SYS_TIME and without NET_RAW")
    equal(changed[NO_NEW_PRIVS], "0", "no_new_privs with --allow-new-privs")
    free = status_fields(ctr.run(["--privileged"], "caps", "cat", "/proc/self/status").out)
    own = status_fields(read("/proc/self/status"))
    equal(free["CapBnd"], own["CapBnd"], "the bounding set of --privileged")


@row("W12", "containerd", "the default seccomp profile")
def seccomp(ctr):
    ctr.errors()
    probe = ["sh", "-c", "grep ^Seccomp: /proc/self/status; unshare -U true 2>&1; echo $?"]
    loose = ctr.run([], "loose", *probe).out
    contains(loose, "Seccomp:\t0", "without a profile")
    tight = ctr.run(["--seccomp"], "tight", *probe).out
    contains(tight, "Seccomp:\t2", "with the default profile")
    contains(tight, "Operation not permitted", "unshare under the default profile")
    clean_log(ctr)


@row("W05", "containerd", "bind mounts, read-only and not; host network; joining a namespace")
def mounts(ctr):
    shared = ctr.workspace.new("ctr-bind")
    with open(f"{shared}/file", "w") as file:
        file.write("from the host\n")
    mount = f"type=bind,src={shared},dst=/mnt,options=rbind:"
    done = ctr.run(["--mount", mount + "rw"], "rw", "sh", "-c", "cat /mnt/file; echo x >/mnt/new")
    equal(done.out, "from the host\n", "the file")
    equal(read(f"{shared}/new"), "x\n", "what was written")
    done = ctr.run(["--mount", mount + "ro"], "ro", "sh", "-c", "echo y >/mnt/new", status=1)
    contains(done.err, "Read-only file system", "writing to a read-only mount")
    with ctr.container("spaces", ["--net-host"]) as name:
        equal(
            os.readlink(f"/proc/{ctr.pid(name)}/ns/net"),
            os.readlink("/proc/self/ns/net"),
            "--net-host",
        )
    with ctr.container("one") as name:
        first = ctr.pid(name)
        with ctr.container("two", ["--with-ns", f"network:/proc/{first}/ns/net"]) as other:
            second = ctr.pid(other)
            equal(
                os.readlink(f"/proc/{second}/ns/net"), os.readlink(f"/proc/{first}/ns/net"), "net"
            )
            check(
                os.readlink(f"/proc/{second}/ns/ipc") != os.readlink(f"/proc/{first}/ns/ipc"), "ipc"
            )


@row("W15", "containerd", "--read-only")
def read_only(ctr):
    done = ctr.run(["--read-only"], "ro", "sh", "-c", "echo x >/file", status=1)
    contains(done.err, "Read-only file system", "writing to a read-only root")
    ctr.run([], "rw", "sh", "-c", "echo x >/file")


@row("W18", "containerd", "environment, working directory")
def environment(ctr):
    out = ctr.run(["--env", "FOO=bar", "--env", "EMPTY=", "--cwd", "/tmp"], "env", "sh", "-c",
                  'echo "$FOO/${EMPTY-unset}/$PWD"').out  # fmt: skip
    equal(out, "bar///tmp\n", "environment and directory")


@row("W20", "containerd", "task pause, resume, metrics; kill and the exit status")
def pause(ctr):
    ctr.errors()
    count = (
        "sh",
        "-c",
        "trap 'exit 3' TERM; i=0; while :; do i=$((i+1)); echo $i >/n; sleep 0.02; done",
    )
    with ctr.container("paused", command=count) as name:
        pid = ctr.pid(name)
        counter = f"/proc/{pid}/root/n"
        eventually(lambda: os.path.exists(counter), "the counter")
        ctr("task", "pause", name)
        equal(ctr.status(name), "PAUSED", "the status")
        before = read(counter)
        # If it ran it would count fifty times in this second.
        time.sleep(1)
        equal(read(counter), before, "the counter while it was paused")
        ctr("task", "resume", name)
        equal(ctr.status(name), "RUNNING", "the status")
        eventually(lambda: read(counter) != before, "it did not go on after resume")
        metrics = ctr("task", "metrics", name).out
        found = re.search(r"(?:memory\.usage_in_bytes|memory\.usage)\s+(\d+)", metrics)
        check(found and int(found[1]) > 0, f"metrics: {metrics}")
        found = re.search(r"(?:cpuacct\.usage|cpu\.usage_usec)\s+(\d+)", metrics)
        check(found and int(found[1]) > 0, f"metrics: {metrics}")
        ctr("task", "kill", "-s", "TERM", name)
        eventually(lambda: ctr.status(name) == "STOPPED", "the end")
        contains(ctr("task", "rm", name).err, "exit code 3", "the exit status")
    with ctr.container("killed") as name:
        ctr("task", "kill", "-s", "KILL", name)
        eventually(lambda: ctr.status(name) == "STOPPED", "the end")
        contains(ctr("task", "rm", name).err, "exit code 137", "the exit status")
    clean_log(ctr)


@row("W25", "containerd", "the daemon is restarted, then killed, under a running container")
def restart(ctr):
    with ctr.container("survivor") as name:
        pid = ctr.pid(name)
        for number in (signal.SIGTERM, signal.SIGKILL):
            ctr.end(number)
            check(alive(pid), "the container died with the daemon")
            ctr.launch()
            ctr.errors()
            equal(ctr.task(name), (pid, "RUNNING"), "the task after the restart")
            equal(
                ctr.exec(name, "echo", "still here").out, "still here\n", "exec after the restart"
            )
            ctr("task", "pause", name)
            ctr("task", "resume", name)
            clean_log(ctr)


@row("W25", "containerd", "the shim is killed: containerd clears up with delete --force")
def shim_crash(ctr):
    with ctr.container("orphan") as name:
        pid = ctr.pid(name)
        # The tests are the subreaper, but while the shim lives it is the container's parent.
        shim = int(re.search(r"\nPPid:\s*(\d+)", read(f"/proc/{pid}/status"))[1])
        contains(read(f"/proc/{shim}/cmdline"), "containerd-shim", "the parent of init")
        os.kill(shim, signal.SIGKILL)
        eventually(lambda: not alive(pid), "containerd to end the container of a dead shim")
        eventually(lambda: ctr.status(name) in (None, "STOPPED", "UNKNOWN"), "the task to go")
    ctr.errors()


@row("W25", "containerd", "twenty containers at once")
def many(ctr):
    ctr.errors()
    names = [f"many{index}" for index in range(20)]
    started = [subprocess.Popen(ctr.words(*ctr.run_words(["--rm"], name, "echo", name)),
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
               for name in names]  # fmt: skip
    for name, process in zip(names, started):
        out, err = process.communicate(timeout=60)
        equal((process.returncode, out, err), (0, f"{name}\n", ""), name)
    clean_log(ctr)
