"""Docker, the first steps: W01 to W05."""

import hashlib
import os
import subprocess
import time

from harness import check, contains, equal, eventually, read, row, write
from terminal import Terminal


@row("W01", "docker", "run: hello world")
def hello(docker):
    done = docker("run", "--rm", "busybox", "echo", "hello", "world")
    equal((done.out, done.err), ("hello world\n", ""), "what echo wrote")
    docker("run", "--rm", "busybox", "sh", "-c", "exit 42", status=42)
    equal(docker("ps", "-aq").text, "", "containers left")


@row("W02", "docker", "run -it: size, resize, Ctrl-C, exit status")
def terminal(docker):
    words = [docker.client, "run", "-it", "--rm", "busybox", "sh"]
    with Terminal(words, 33, 101, docker.env) as screen:
        screen.shell(33, 101, "0")
        screen.resize(44, 77)
        screen.ask("stty size", r"\n44 77\r")
        screen.interrupt()
        screen.leave(7)


@row("W02", "docker", "exec -it: size, resize, Ctrl-C, exit status")
def exec_terminal(docker):
    with docker.container("busybox", "sleep", "1000") as name:
        words = [docker.client, "exec", "-it", name, "sh"]
        with Terminal(words, 31, 99, docker.env) as screen:
            screen.shell(31, 99)
            screen.resize(44, 77)
            screen.ask("stty size", r"\n44 77\r")
            screen.interrupt()
            screen.leave(5)
        cgroup = docker.cgroup(name)
        eventually(lambda: len(cgroup.procs()) == 1, "only init in the cgroup")


@row("W02", "docker", "run -t: 100 MB out of a terminal")
def terminal_bulk(docker):
    size = 100 << 20
    script = f"stty raw; yes 0123456789abcdef | head -c {size}"
    done = docker("run", "-t", "--rm", "busybox", "sh", "-c", script, binary=True, timeout=150)
    line = b"0123456789abcdef\n"
    want = (line * (size // len(line) + 1))[:size]
    equal(len(done.out), size, "bytes")
    equal(hashlib.sha256(done.out).hexdigest(), hashlib.sha256(want).hexdigest(), "sha256")


@row("W03", "docker", "stop: TERM first, KILL after the time-out; start again")
def stop_and_start(docker):
    polite = "trap 'echo told; exit 3' TERM; echo up; while :; do sleep 0.1; done"
    with docker.container("busybox", "sh", "-c", polite) as name:
        eventually(lambda: "up" in docker("logs", name).out, "the first line")
        docker("stop", "-t", "20", name)
        equal(docker.inspect(name, "{{.State.ExitCode}}"), "3", "exit status of the trap")
        docker("start", name)
        equal(docker.status(name), "running", "after start")
        eventually(lambda: docker("logs", name).out.count("up") == 2, "the second start's line")
        docker("stop", "-t", "20", name)
        equal(docker("logs", name).out, "up\ntold\nup\ntold\n", "logs")
    with docker.container("--init", "busybox", "sleep", "1000") as name:
        docker("stop", "-t", "20", name)
        equal(docker.inspect(name, "{{.State.ExitCode}}"), "143", "TERM under --init")
    with docker.container("busybox", "sleep", "1000") as name:
        started = time.monotonic()
        docker("stop", "-t", "1", name)
        check(time.monotonic() - started >= 1, "KILL came before the time-out")
        equal(docker.inspect(name, "{{.State.ExitCode}}"), "137", "deaf to TERM")


@row("W03", "docker", "attach, logs -f, kill -s, wait, --rm")
def attach_and_wait(docker):
    script = (
        "trap 'echo usr1' USR1; for i in 1 2 3; do echo line $i; done; while :; do sleep 0.1; done"
    )
    docker("run", "-d", "--rm", "--name", "watched", "busybox", "sh", "-c", script)
    logs = docker.spawn("logs", "-f", "watched", stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
    attached = docker.spawn("attach", "--no-stdin", "watched", stdout=subprocess.PIPE)
    waiter = docker.spawn("wait", "watched", stdout=subprocess.PIPE)
    try:
        eventually(lambda: "attach" in docker.events("watched"), "the attached client")
        time.sleep(1)
        docker("kill", "-s", "USR1", "watched")
        eventually(lambda: "usr1" in docker("logs", "watched").out, "USR1 taken")
        docker("kill", "-s", "KILL", "watched")
        equal(waiter.communicate(timeout=20)[0], b"137\n", "wait")
        equal(logs.communicate(timeout=20)[0], b"line 1\nline 2\nline 3\nusr1\n", "logs -f")
        equal(attached.communicate(timeout=20)[0], b"usr1\n", "attach")
        equal(attached.returncode, 137, "exit status of attach")
    finally:
        for process in (logs, attached, waiter):
            if process.poll() is None:
                process.kill()
            process.communicate()
    eventually(lambda: not docker("ps", "-aq").text, "--rm")


@row("W04", "docker", "100 MB through stdin and stdout")
def pipe(docker):
    data = os.urandom(1 << 20) * 100
    done = docker("run", "-i", "--rm", "busybox", "cat", stdin=data, binary=True, timeout=150)
    equal(hashlib.sha256(done.out).hexdigest(), hashlib.sha256(data).hexdigest(), "sha256")
    done = docker("run", "-i", "--rm", "busybox", "sha256sum", stdin=data, timeout=150)
    contains(done.out, hashlib.sha256(data).hexdigest(), "sha256 inside")
    done = docker("run", "-i", "--rm", "busybox", "sed", "s/a/b/", stdin="banana\n")
    equal(done.out, "bbnana\n", "sed")
    done = docker("run", "-i", "--rm", "debian", "jq", "-r", ".name", stdin='{"name": "jim"}')
    equal(done.out, "jim\n", "jq")


@row("W05", "docker", "volumes: named, bind, read-only, one file, tmpfs")
def volumes(docker):
    def sh(script, *args, **options):
        return docker("run", "--rm", *args, "busybox", "sh", "-c", script, **options)

    docker("volume", "create", "kept")
    sh("echo data >/v/file", "-v", "kept:/v")
    equal(sh("cat /v/file", "-v", "kept:/v").out, "data\n", "the volume's data")
    docker("volume", "rm", "kept")

    top = docker.workspace.new("bind")
    write(f"{top}/file", "from the host\n")
    equal(sh("cat /b/file; echo inside >/b/new", "-v", f"{top}:/b").out, "from the host\n", "bind")
    equal(read(f"{top}/new"), "inside\n", "written through the bind mount")
    done = sh("echo x >/b/file", "-v", f"{top}:/b:ro", status=1)
    contains(done.err, "Read-only file system", "a read-only bind mount")
    sh("echo changed >/one", "-v", f"{top}/file:/one")
    equal(read(f"{top}/file"), "changed\n", "written through a mount of one file")
    done = sh("echo x >/one", "-v", f"{top}/file:/one:ro", status=1)
    contains(done.err, "Read-only file system", "one file, read-only")

    mount = "type=tmpfs,destination=/t,tmpfs-size=1048576,tmpfs-mode=0700"
    with docker.container("--mount", mount, "busybox", "sleep", "1000") as name:
        line = [s for s in read(f"/proc/{docker.pid(name)}/mountinfo").splitlines() if " /t " in s]
        equal(len(line), 1, "tmpfs mounts")
        contains(line[0], "size=1024k,mode=700", "tmpfs options")
        contains(line[0], "nosuid,nodev", "tmpfs flags")
    done = sh("dd if=/dev/zero of=/t/x bs=1k count=2000", "--mount", mount, status=1)
    contains(done.err, "No space left", "a full tmpfs")
