"""podman, the first steps, and images: W01 to W05, W17 to W19."""

import hashlib
import os
import time

from harness import check, contains, equal, eventually, read, row, run, write


@row("W01", "podman", "run: output, exit statuses 125, 126, 127")
def hello(podman):
    done = podman.run("--rm", "busybox", "echo", "hello", "world")
    equal((done.out, done.err), ("hello world\n", ""), "what echo wrote")
    podman.run("--rm", "busybox", "sh", "-c", "exit 42", status=42)
    done = podman.run("--rm", "busybox", "sh", "-c", "echo out; echo err >&2")
    equal((done.out, done.err), ("out\n", "err\n"), "the two streams")
    done = podman.run("--rm", "busybox", "nosuchprogram", status=127)
    contains(done.err, "executable file not found in $PATH", "what is not found")
    done = podman.run("--rm", "busybox", "/no/such/program", status=127)
    contains(done.err, "no such file or directory", "what is not there")
    done = podman.run("--rm", "busybox", "/etc/passwd", status=126)
    contains(done.err, "permission denied", "what has no x")
    podman.run("--rm", "busybox", "sh", "-c", "kill -9 $$; exit 3", status=3)
    podman("--runtime", podman.program, *podman.run_words("--rm", "busybox", "true"))
    equal(podman("ps", "-aq").text, "", "containers left")


@row("W02", "podman", "run -it: size, resize, Ctrl-C, exit status")
def terminal(podman):
    words = podman.run_words("--rm", "-it", "busybox", "sh")
    with podman.terminal(33, 101, *words) as screen:
        screen.shell(33, 101, "0")
        screen.resize(40, 120)
        screen.ask("stty size", r"\n40 120\r")
        screen.interrupt()
        screen.leave(9)


@row("W03", "podman", "stop, start, attach, logs, kill, wait")
def lifecycle(podman):
    loop = "trap 'echo got TERM; exit 5' TERM; echo started; while :; do sleep 0.1; done"
    with podman.container("busybox", "sh", "-c", loop) as name:
        eventually(lambda: "started" in podman("logs", name).out, "the log")
        podman("stop", name)
        equal(podman.inspect(name, "{{.State.ExitCode}}"), "5", "the exit code")
        contains(podman("logs", name).out, "got TERM", "the log")
        podman("start", name)
        equal(podman.status(name), "running", "the status after start")
        eventually(lambda: podman("logs", name).out.count("started") == 2, "the log")
        podman("kill", "-s", "KILL", name)
        equal(podman("wait", name).text, "137", "wait")
        podman("start", name)
        podman("restart", "--time", "3", name)
        equal(podman.status(name), "running", "the status after restart")
    with podman.container("busybox", "sleep", "1000") as name:
        begun = time.monotonic()
        podman("stop", "--time", "1", name)
        check(time.monotonic() - begun >= 1, "KILL came before the time-out")
        equal(podman.inspect(name, "{{.State.ExitCode}}"), "137", "the exit code")
    with podman.container("-i", "busybox", "sh", "-c", "read line; echo got $line; exit 4") as name:
        done = podman("attach", name, stdin="hello\n", status=None)
        contains(done.out, "got hello", "what attach showed")
        equal(podman("wait", name).text, "4", "the exit status")
    with podman.container(
        "busybox", "sh", "-c", "for i in 1 2 3; do echo line $i; sleep 0.3; done"
    ) as name:
        equal(podman("logs", "-f", name).out, "line 1\nline 2\nline 3\n", "logs -f")


@row("W04", "podman", "100 MB through stdin and stdout; further descriptors")
def pipe(podman):
    data = os.urandom(1 << 20) * 100
    done = podman.run("-i", "--rm", "busybox", "cat", stdin=data, binary=True, timeout=150)
    equal(hashlib.sha256(done.out).hexdigest(), hashlib.sha256(data).hexdigest(), "sha256")
    words = podman.words(
        *podman.run_words("--rm", "--preserve-fds", "2", "busybox", "cat", "/dev/fd/3", "/dev/fd/4")
    )
    shell = 'exec "$@" 3<<<three 4<<<four'
    done = run("bash", "-c", shell, "bash", *words, env=podman.env, cwd=podman.home)
    equal(done.out, "three\nfour\n", "descriptors 3 and 4")


@row("W05", "podman", "named volume, bind mounts, read-only, one file, tmpfs, copy in and out")
def volumes(podman):
    podman("volume", "create", "data")
    podman.run("--rm", "-v", "data:/data", "busybox", "sh", "-c", "echo kept >/data/file")
    equal(
        podman.run("--rm", "-v", "data:/data:ro", "busybox", "cat", "/data/file").out,
        "kept\n",
        "volume",
    )
    done = podman.run("--rm", "-v", "data:/data:ro", "busybox", "touch", "/data/x", status=1)
    contains(done.err, "Read-only file system", "writing to a read-only volume")
    shared = podman.workspace.new("podman-bind")
    os.chmod(shared, 0o777)
    write(f"{shared}/file", "from the host\n")
    podman.run("--rm", "-v", f"{shared}:/mnt", "busybox", "sh", "-c", "echo x >/mnt/new")
    equal(read(f"{shared}/new"), "x\n", "what was written")
    one = podman.run("--rm", "-v", f"{shared}/file:/etc/one:ro", "busybox", "cat", "/etc/one")
    equal(one.out, "from the host\n", "one file")
    out = podman.run(
        "--rm",
        "--tmpfs",
        "/scratch:size=1m,noexec",
        "busybox",
        "grep",
        " /scratch ",
        "/proc/mounts",
    ).out
    for word in ("tmpfs", "noexec", "size=1024k"):
        contains(out, word, "the tmpfs")
    with podman.container("busybox", "sleep", "1000") as name:
        podman("cp", f"{shared}/file", f"{name}:/tmp/copy")
        equal(podman("exec", name, "cat", "/tmp/copy").out, "from the host\n", "cp into it")
        podman("exec", name, "sh", "-c", "echo inside >/tmp/out")
        podman("cp", f"{name}:/tmp/out", f"{shared}/out")
        equal(read(f"{shared}/out"), "inside\n", "cp out of it")
        check(podman("diff", name).text != "", "diff")
    podman("volume", "rm", "data")


@row("W17", "podman", "healthcheck run, twenty times: healthy, then unhealthy")
def health(podman):
    check_ = [
        "--health-cmd",
        "test -e /healthy",
        "--health-interval",
        "disable",
        "--health-retries",
        "1",
    ]
    with podman.container(
        *check_, "busybox", "sh", "-c", "touch /healthy; exec sleep 1000"
    ) as name:
        eventually(lambda: podman("healthcheck", "run", name, status=None).status == 0, "health")
        for _ in range(20):
            podman("healthcheck", "run", name)
        podman("exec", name, "rm", "/healthy")
        podman("healthcheck", "run", name, status=1)
        equal(podman.inspect(name, "{{.State.Health.Status}}"), "unhealthy", "the status")
        equal(len(podman.cgroup(name).procs("memory")), 1, "processes afterwards")


@row("W18", "podman", "entry point, environment, directory, labels of an image; hostname; devices")
def arguments(podman):
    out = podman.run("--rm", "--entrypoint", "echo", "busybox", "a", "b").out
    equal(out, "a b\n", "--entrypoint")
    out = podman.run(
        "--rm",
        "-e",
        "A=b",
        "-w",
        "/srv",
        "--hostname",
        "here",
        "busybox",
        "sh",
        "-c",
        "echo $A $PWD; hostname",
    ).out
    equal(out, "b /srv\nhere\n", "environment, directory, hostname")
    out = podman.run(
        "--rm",
        "--device",
        "/dev/zero:/dev/mine",
        "busybox",
        "sh",
        "-c",
        "head -c 4 /dev/mine | wc -c",
    ).out
    equal(out.strip(), "4", "--device")
    out = podman.run(
        "--rm",
        "--sysctl",
        "net.ipv4.ip_default_ttl=77",
        "busybox",
        "cat",
        "/proc/sys/net/ipv4/ip_default_ttl",
    ).out
    equal(out, "77\n", "--sysctl")
    out = podman.run(
        "--rm",
        "--ulimit",
        "nofile=100:200",
        "--ulimit",
        "nproc=100:200",
        "busybox",
        "sh",
        "-c",
        "ulimit -Sn; ulimit -Hn",
    ).out
    equal(out, "100\n200\n", "--ulimit")
    out = podman.run("--rm", "--shm-size", "8m", "busybox", "df", "-k", "/dev/shm").out
    contains(out, "8192", "--shm-size")


@row("W19", "podman", "build with RUN steps and two stages")
def build(podman):
    directory = podman.workspace.new("podman-build")
    write(
        f"{directory}/Containerfile",
        "FROM localhost/busybox AS builder\n"
        "ARG WORD=none\n"
        "RUN echo built with $WORD >/result && id -u >>/result\n"
        "USER alice\n"
        "RUN id -u >/tmp/user\n"
        "FROM localhost/busybox\n"
        "COPY --from=builder /result /tmp/user /from/\n"
        "WORKDIR /from\n"
        "RUN cat result user >all && test $(wc -l <all) = 3\n"
        'ENTRYPOINT ["cat"]\nCMD ["all"]\n',
    )
    os.chmod(directory, 0o755)
    # Not --cgroup-parent: buildah takes it for the container's own cgroup.
    options = ["--network", "none", "--build-arg", "WORD=care"]
    podman("build", *options, "--runtime", podman.program, "-t", "built", directory, timeout=120)
    equal(podman.run("--rm", "built").out, "built with care\n0\n500\n", "what was built")
    write(f"{directory}/Containerfile", "FROM localhost/busybox\nRUN exit 3\n")
    done = podman("build", *options, "--runtime", podman.program, directory, status=None)
    check(done.status != 0, "a failing RUN was no error")
    contains(done.both, "exit status 3", "the failing RUN")
    podman("rmi", "--force", "built")
    podman("image", "prune", "--force")
    left = [path for path, _, _ in os.walk("/sys/fs/cgroup") if "buildah" in path]
    equal(left, [], "cgroups of the build")
