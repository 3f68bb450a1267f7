"""Docker: health checks, command lines, builds. W17, W18, W19."""

import os
import time
from concurrent.futures import ThreadPoolExecutor

from harness import check, contains, equal, eventually, lacks, read, row, write
from leaks import comm, descendants


@row("W17", "docker", "HEALTHCHECK every second: healthy, then unhealthy")
def health(docker):
    words = ["--health-cmd", "test -e /ok", "--health-interval", "1s", "--health-retries", "1"]
    with docker.container(*words, "busybox", "sh", "-c", "touch /ok; exec sleep 1000") as name:

        def is_now(want):
            return lambda: docker.inspect(name, "{{.State.Health.Status}}") == want

        eventually(is_now("healthy"), "healthy")
        os.unlink(f"/proc/{docker.pid(name)}/root/ok")
        eventually(is_now("unhealthy"), "unhealthy")


def descriptors(docker):
    """Open descriptors and processes of the daemons and their shims."""
    shims = [pid for pid, _ in descendants(os.getpid()) if "shim" in comm(pid)]
    return {pid: len(os.listdir(f"/proc/{pid}/fd")) for pid in (*docker.pids(), *shims)}


@row("W17", "docker", "500 execs leave no process, descriptor, memory")
def many_execs(docker):
    with docker.container("busybox", "sleep", "1000") as name:
        cgroup = docker.cgroup(name)

        def execute(number):
            done = docker(
                "exec", name, "sh", "-c", f"echo {number}; exit {number % 100}", status=None
            )
            return (done.text, done.status) == (str(number), number % 100)

        def several(count):
            with ThreadPoolExecutor(3) as pool:
                equal(list(pool.map(execute, range(count))), [True] * count, "output and status")
            time.sleep(1)
            memory = int(cgroup.read("memory", "memory.usage_in_bytes", "memory.current"))
            return memory, descriptors(docker)

        memory, before = several(30)
        later, after = several(470)
        equal(len(cgroup.procs()), 1, "processes in the cgroup")
        equal(len(cgroup.read("pids", "tasks", "cgroup.threads").split()), 1, "threads")
        check(later - memory < 1 << 20, f"memory went from {memory} to {later} bytes")
        equal(after.keys(), before.keys(), "daemons and shims")

        def grown():
            now = descriptors(docker)
            return {pid: now[pid] - before[pid] for pid in before if now[pid] - before[pid] >= 20}

        # Connections of clients that have ended are closed a little later.
        eventually(lambda: not grown(), f"descriptors as before: {before}", 30, 1)


@row("W18", "docker", "ENTRYPOINT, CMD, ENV, WORKDIR, -e, 126 and 127")
def command_line(docker):
    recipe = """FROM busybox
ENV COLOUR=blue SIZE=small
WORKDIR /srv/work
ENTRYPOINT ["/bin/echo", "entry"]
CMD ["command", "of the image"]
"""
    docker("build", "-q", "-t", "speaker", "-", stdin=recipe)
    try:
        equal(docker("run", "--rm", "speaker").out, "entry command of the image\n", "CMD")
        equal(docker("run", "--rm", "speaker", "mine").out, "entry mine\n", "arguments")
        shell = ["run", "--rm", "--entrypoint", "/bin/sh"]
        got = docker(*shell, "-e", "SIZE=big", "speaker", "-c", "pwd; echo $COLOUR $SIZE")
        equal(got.out, "/srv/work\nblue big\n", "WORKDIR, ENV, -e")
        got = docker(*shell, "-w", "/new/one", "speaker", "-c", "pwd")
        equal(got.out, "/new/one\n", "-w makes the directory")
    finally:
        docker("rmi", "speaker")
    done = docker("run", "--rm", "busybox", "no-such-program", status=127)
    contains(done.err, '"no-such-program": executable file not found in $PATH', "missing")
    done = docker("run", "--rm", "busybox", "/no/such", status=127)
    contains(done.err, "no such file or directory", "missing, by path")
    done = docker("run", "--rm", "busybox", "/etc/passwd", status=126)
    contains(done.err, "ermission denied", "without x")
    done = docker("run", "--rm", "busybox", "/etc", status=126)
    check("directory" in done.err or "ermission denied" in done.err, f"a directory: {done.err}")


RECIPE = """FROM busybox AS maker
ARG WHO=nobody
RUN mkdir /out && echo "made by $WHO" >/out/made && id -u >>/out/made
RUN ["/bin/sh", "-c", "test $$ -eq 1 && chown 500:500 /out/made"]
USER alice
RUN id -u >/tmp/uid && test "$(cat /tmp/uid)" = 500
FROM busybox
COPY --from=maker /out/made /made
COPY file /copied
RUN cat /made /copied >/both
CMD ["cat", "/both"]
"""


def build(docker, kit):
    top = docker.workspace.new("build")
    write(f"{top}/Dockerfile", RECIPE)
    write(f"{top}/file", "from the context\n")
    env = {"DOCKER_BUILDKIT": kit}
    build_it = ["build", "--no-cache", "--build-arg", "WHO=me"]
    docker(*build_it, "-t", "built", top, env=env, timeout=100)
    equal(docker("run", "--rm", "built").out, "made by me\n0\nfrom the context\n", "the image")
    docker("rmi", "built")
    write(f"{top}/Dockerfile", "FROM busybox\nRUN echo before; exit 33\n")
    done = docker(*build_it, top, env=env, status=33 if kit == "0" else 1)
    contains(done.both, "exit 33", "the failed RUN")
    check("code: 33" in done.both, f"the status of a failed RUN: {done.both}")
    lacks(done.both, "panic", "a failed RUN")


@row("W19", "docker", "build, two stages")
def classic_build(docker):
    build(docker, "0")
    docker("container", "prune", "-f")


@row("W19", "docker", "build, two stages, BuildKit")
def buildkit(docker):
    before = len(read(docker.called).splitlines()) if os.path.exists(docker.called) else 0
    build(docker, "1")
    calls = read(docker.called).splitlines()[before:]
    ran = [call for call in calls if " run --bundle " in f" {call}"]
    check(len(ran) == 5, f"the runtime ran {len(ran)} steps: {calls}")
