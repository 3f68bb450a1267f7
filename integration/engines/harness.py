"""What every driver uses: running commands, checking, and the register of rows and engines."""

import os
import signal
import subprocess
import time

ROWS = []
ENGINES = {}
NUMBERS = [f"W{number:02}" for number in range(1, 27)]
"""Of the exercises; each has at least one row."""

# What a machine may lack, by row or engine: the beginning of the reason. Any other skip of a bulkhead
# row fails.
MAY_SKIP = {
    "W10": "this machine lacks capabilities",
    "W24": "this machine cannot run systemd in a container",
    "W26": "CRIU cannot work on this machine",
    "docker-systemd": "this machine is not run by systemd",
    "podman-systemd": "this machine is not run by systemd",
}

# An exercise that this machine is there for, so that it may not be skipped.
if "BULKHEAD_MUST" in os.environ:
    del MAY_SKIP[os.environ["BULKHEAD_MUST"]]

# How many times longer than elsewhere everything may take (hack/vm is ten times slower).
SLOWNESS = int(os.environ.get("BULKHEAD_SLOWNESS", "1"))


class Failure(Exception):
    """Something was seen that should not be, or the other way round."""


class Skip(Exception):
    """The row cannot run on this machine, whatever the runtime."""


class Row:
    def __init__(self, number, engine, title, function, limit, of_shim):
        self.number, self.engine, self.title, self.of_shim = number, engine, title, of_shim
        self.function, self.limit = function, limit * SLOWNESS


def row(number, engine, title, limit=240, of_shim=False):
    """Registers a function that takes the engine as a row; `limit` is its time-out in seconds, and
    `of_shim` tells that the row is about the shim of bulkhead, and not run with another."""

    def register(function):
        ROWS.append(Row(number, engine, title, function, limit, of_shim))
        return function

    return register


def engine(cls):
    """Registers a class as an engine, by its `name`."""
    ENGINES[cls.name] = cls
    return cls


class Done:
    """A command that has ended: its exit status and what it wrote."""

    def __init__(self, args, status, out, err):
        self.args, self.status, self.out, self.err = args, status, out, err

    @property
    def text(self):
        return self.out.strip()

    @property
    def both(self):
        return self.out + self.err


def run(*args, status=0, timeout=60, stdin=None, env=None, binary=False, cwd=None):
    """Runs a command to its end. Fails unless its exit status is `status` (None: any).

    `stdin` is bytes, text or an open file; without it, it is /dev/null.
    """
    args = [str(arg) for arg in args]
    feed = stdin.encode() if isinstance(stdin, str) else stdin
    piped = isinstance(feed, bytes)
    process = subprocess.Popen(
        args,
        stdin=subprocess.PIPE if piped else (feed or subprocess.DEVNULL),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=env,
        cwd=cwd,
        start_new_session=True,
    )
    try:
        out, err = process.communicate(feed if piped else None, timeout * SLOWNESS)
    except BaseException as error:
        # Its children hold the pipes: the whole session goes, or waiting would never end.
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        if isinstance(error, subprocess.TimeoutExpired):
            seconds = timeout * SLOWNESS
            raise Failure(f"no end after {seconds} s: {' '.join(args)}") from None
        raise
    err = err.decode(errors="replace")
    out = out if binary else out.decode(errors="replace")
    if status is not None and process.returncode != status:
        told = err.strip() or (out.strip() if not binary else "")
        words = " ".join(args)
        raise Failure(
            f"exit status {process.returncode} instead of {status}: {words}: {told[-1500:]}"
        )
    return Done(args, process.returncode, out, err)


def equal(got, want, what):
    if got != want:
        raise Failure(f"{what}: {str(got)[:800]!r} instead of {want!r}")


def contains(text, part, what):
    if part not in text:
        raise Failure(f"{what}: no {part!r} in {text[-800:]!r}")


def lacks(text, part, what):
    if part in text:
        raise Failure(f"{what}: {part!r} in {text[-800:]!r}")


def check(condition, what):
    if not condition:
        raise Failure(what)


def eventually(condition, what, seconds=30, step=0.1):
    """Waits until `condition()` is true, and gives what it gave."""
    seconds *= SLOWNESS
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise Failure(f"{what}: not within {seconds} s")
        time.sleep(step)


def read(path):
    with open(path, errors="replace") as file:
        return file.read()


def write(path, text, mode=None):
    with open(path, "w") as file:
        file.write(text)
    if mode is not None:
        os.chmod(path, mode)
    return path


class Cgroup:
    """The cgroup of a process, as the host's kernel shows it: v1 and v2."""

    def __init__(self, pid):
        self.paths = {}
        for line in read(f"/proc/{pid}/cgroup").splitlines():
            _, names, path = line.split(":", 2)
            for name in names.split(","):
                # A hierarchy that is not mounted here is none: see hack/in-cgroup2.sh.
                if not name or os.path.isdir(f"/sys/fs/cgroup/{name}{path}"):
                    self.paths[name] = path

    def dir(self, controller):
        """The directory of a controller."""
        if controller in self.paths:
            return f"/sys/fs/cgroup/{controller}{self.paths[controller]}"
        return f"/sys/fs/cgroup{self.paths['']}"

    def read(self, controller, v1, v2):
        """A control file, by its v1 and its v2 name."""
        name = v1 if controller in self.paths else v2
        return read(f"{self.dir(controller)}/{name}").strip()

    def procs(self, controller="pids"):
        return [int(pid) for pid in read(f"{self.dir(controller)}/cgroup.procs").split()]

    def is_v1(self, controller):
        return controller in self.paths


class Workspace:
    """A private directory for everything a run makes; `tag` marks its cgroups."""

    def __init__(self, path):
        self.path = path
        self.tag = f"bulkhead-integration-{os.getpid()}"
        os.makedirs(path, exist_ok=True)
        self.count = 0

    def dir(self, name):
        path = os.path.join(self.path, name)
        os.makedirs(path, exist_ok=True)
        return path

    def new(self, name):
        """A directory that no other row has."""
        self.count += 1
        return self.dir(f"{name}-{self.count}")
