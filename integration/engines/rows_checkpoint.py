"""Checkpoint and restore with CRIU, by Docker, podman and containerd: W26."""

import re

from harness import Skip, check, contains, equal, eventually, read, row, run

# The counter and the secret are in the program's memory only. A number goes to the standard output,
# a pipe to the engine, and with the secret to a file.
COUNT = """secret=$RANDOM$RANDOM$RANDOM
i=0
while :; do
    i=$((i+1))
    echo $i
    echo $i $secret >/tmp/new
    mv /tmp/new /tmp/now
    sleep 0.1
done"""
PROGRAM = ("sh", "-c", COUNT)


def need_criu():
    try:
        done = run("criu", "check", status=None)
    except FileNotFoundError:
        raise Skip("CRIU cannot work on this machine: not installed") from None
    if done.status != 0:
        last = (done.both.strip().splitlines() or ["no reason is given"])[-1]
        raise Skip(f"CRIU cannot work on this machine: {last}")


def hierarchy():
    """The options of cgroup v2, which CRIU clears on the whole host."""
    lines = [line.split() for line in read("/proc/mounts").splitlines()]
    return {option for line in lines if line[2] == "cgroup2" for option in line[3].split(",")}


class Counter:
    """The program in a container. `execute` runs a command there; it returns what harness.run does."""

    def __init__(self, engine, execute):
        # runc leaves the options cleared.
        self.sees_options = engine.runtime != "runc"
        self.execute = execute
        self.options = hierarchy()
        self.last, self.secret = 0, self.now()[1]

    def now(self):
        command = ("sh", "-c", "cat /tmp/now 2>&- || :")
        number, secret = eventually(lambda: self.execute(*command).out.split(), "a count")
        return int(number), secret

    def goes_on(self, after=None):
        """Checks that the program counts, from a number on, and that it has its memory still."""
        after = self.last if after is None else after
        self.last = eventually(lambda: self.beyond(after), f"the count to go beyond {after}")
        if self.sees_options:
            equal(hierarchy(), self.options, "the options of the cgroup hierarchy")

    def beyond(self, after):
        number, secret = self.now()
        equal(secret, self.secret, "what the program has in memory")
        return number if number > after else None


def consecutive(log, what):
    """The last number of a log; it has each from 1 on once."""
    numbers = [int(number) for number in re.findall(r"^(\d+)\r?$", log, re.M)]
    equal(numbers, list(range(1, len(numbers) + 1)), what)
    return len(numbers)


@row("W26", "docker", "checkpoint, start --checkpoint; then logs, exec, pause, stop, kill, rm")
def docker_checkpoint(docker):
    need_criu()
    with docker.container("--network", "none", "busybox", *PROGRAM) as name:
        counter = Counter(docker, lambda *command: docker("exec", name, *command))
        docker("checkpoint", "create", "--leave-running", name, "first")
        equal(docker.status(name), "running", "the status with --leave-running")
        counter.goes_on()
        # The second time, what was restored is saved.
        for point in ("second", "third"):
            docker("checkpoint", "create", name, point)
            eventually(lambda: docker.status(name) == "exited", "the end of the container")
            contains(docker("checkpoint", "ls", name).out, point, "checkpoint ls")
            saved = consecutive(docker("logs", name).out, "the log before the restore")
            docker("start", "--checkpoint", point, name)
            equal(docker.status(name), "running", "the status after the restore")
            counter.goes_on(saved)
            log = lambda: consecutive(docker("logs", name).out, "the log after the restore")
            eventually(lambda: log() > saved, "the log to go on")
            docker("pause", name)
            docker("unpause", name)
            counter.goes_on()
            check(docker.pid(name) in docker.cgroup(name).procs(), "init is not in the cgroup")
        docker("kill", name)
        equal(docker.inspect(name, "{{.State.ExitCode}}"), "137", "the exit code")
        docker("start", "--checkpoint", "first", name)
        counter.goes_on(0)
        docker("stop", "--time", "0", name)
        equal(docker.inspect(name, "{{.State.ExitCode}}"), "137", "the exit code")


@row("W26", "podman", "container checkpoint, restore, export, import; then exec, pause, kill, rm")
def podman_checkpoint(podman):
    need_criu()
    archive = f"{podman.workspace.new('podman-checkpoint')}/archive.tar"
    with podman.container("busybox", *PROGRAM) as name:
        counter = Counter(podman, lambda *command: podman("exec", name, *command))
        podman("container", "checkpoint", "--leave-running", name)
        equal(podman.status(name), "running", "the status with --leave-running")
        counter.goes_on()
        podman("container", "checkpoint", "--pre-checkpoint", name)
        podman("container", "checkpoint", "--with-previous", name)
        equal(podman.status(name), "exited", "the status after the checkpoint")
        podman("container", "restore", name)
        counter.goes_on()
        podman("pause", name)
        podman("unpause", name)
        counter.goes_on()
        # To be saved once more, and restored twice.
        podman("container", "checkpoint", "--export", archive, name)
        podman("rm", name)
        podman("container", "restore", "--import", archive)
        counter.goes_on()
        podman("container", "restore", "--import", archive, "--name", f"{name}-copy")
        copy = Counter(podman, lambda *command: podman("exec", f"{name}-copy", *command))
        equal(copy.secret, counter.secret, "what the copy has in memory")
        copy.goes_on()
        podman("kill", f"{name}-copy")
        equal(podman("wait", f"{name}-copy").text, "137", "wait")
        podman("rm", f"{name}-copy")
        podman("stop", "--time", "0", name)
        equal(podman.inspect(name, "{{.State.ExitCode}}"), "137", "the exit code")


@row("W26", "containerd", "checkpoint, restore --live; then exec, pause, kill, rm")
def ctr_checkpoint(ctr):
    need_criu()
    images = ctr.workspace.new("ctr-checkpoint")
    with ctr.container("saved", command=PROGRAM) as name:
        counter = Counter(ctr, lambda *command: ctr.exec(name, *command))
        ctr("task", "checkpoint", "--image-path", f"{images}/task", name)
        counter.goes_on()
        ctr("container", "checkpoint", "--rw", "--image", "--task", name, "localhost/saved:1")
        counter.goes_on()
        ctr("task", "kill", "-s", "KILL", name)
        eventually(lambda: ctr.status(name) == "STOPPED", "the end")
        ctr("task", "rm", name, status=None)
    # Nobody reads what it writes: the restored container has no pipes.
    ctr("container", "restore", "--rw", "--live", "restored", "localhost/saved:1")
    try:
        live = Counter(ctr, lambda *command: ctr.exec("restored", *command))
        equal(live.secret, counter.secret, "what the restored container has in memory")
        live.goes_on()
        ctr("task", "pause", "restored")
        ctr("task", "resume", "restored")
        live.goes_on()
        ctr("task", "kill", "-s", "KILL", "restored")
        eventually(lambda: ctr.status("restored") == "STOPPED", "the end")
        contains(ctr("task", "rm", "restored", status=None).both, "137", "the exit status")
    finally:
        ctr("task", "rm", "-f", "restored", status=None)
        ctr("container", "rm", "restored", status=None)
        ctr("image", "rm", "localhost/saved:1", status=None)
