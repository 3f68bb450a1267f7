"""containerd, as `ctr` drives it: a private daemon, configured by config/containerd.toml."""

import os
import re
import signal
import subprocess

from archive import image_archive
from configured import SHIM, program, prove, shim_on_path, substitute
from harness import Cgroup, check, engine, eventually, read, run, write

BOX = "localhost/box:1"


@engine
class Containerd:
    name = "containerd"
    has_shims = True

    def __init__(self, workspace, runtime):
        self.workspace, self.runtime = workspace, runtime
        self.program = program(runtime)
        self.home = workspace.dir(f"{self.name}-{runtime}")
        # The socket's path has to fit into 108 bytes.
        self.socket = f"{workspace.path}/{self.name}-{runtime}.sock"
        self.log = f"{workspace.path}/{self.name}-{runtime}.log"
        self.runtime_root = f"{self.home}/runtime"
        # The namespace names the containers' cgroups too.
        self.namespace = workspace.tag
        self.daemon = None
        self.mark = 0

    # ---- the daemon ------------------------------------------------------------------------------

    def paths(self):
        """What every configuration of containerd substitutes."""
        return [
            ("/var/lib/containerd", f"{self.home}/root"),
            ("/run/containerd/containerd.sock", self.socket),
            ("/run/containerd", f"{self.home}/state"),
            ("/opt/containerd", f"{self.home}/opt"),
        ]

    def config(self):
        return substitute("containerd.toml", self.paths())

    def archives(self):
        images = self.workspace.images
        return [image_archive(f"{self.home}/box.tar", images.busybox_tar, BOX)]

    def start(self):
        self.launch()
        for archive in self.archives():
            self("images", "import", archive)
        # The first container makes a cgroup that stays, the parent of all; it is nobody's leak.
        with self.container("first") as name:
            prove(self.runtime, f"{self.runtime_root}/{self.namespace}", name, self.pid(name))

    def launch(self):
        """Starts the daemon, which need not be for the first time."""
        config = write(f"{self.home}/config.toml", self.config())
        with open(self.log, "ab") as log:
            self.daemon = subprocess.Popen(
                ["containerd", "--config", config],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                env=dict(os.environ, PATH=shim_on_path(self.workspace, self.runtime)),
            )  # fmt: skip
        eventually(self.answers, f"containerd: {self.log}", 60)

    def answers(self):
        check(self.daemon.poll() is None, f"containerd has ended: {read(self.log)[-1500:]}")
        return self("version", status=None).status == 0

    def end(self, number=signal.SIGTERM):
        """Ends the daemon alone; containers and their shims go on."""
        self.daemon.send_signal(number)
        try:
            self.daemon.wait(30)
        except subprocess.TimeoutExpired:
            self.daemon.kill()
            self.daemon.wait()

    def stop(self):
        if self.daemon:
            self.clean()
            self.end()

    def pids(self):
        return [self.daemon.pid]

    def state_dirs(self):
        return [f"{self.home}/state", self.runtime_root, "/run"]

    def keeps(self, path):
        """The directories of a namespace stay; what is below them is a container's. The pipes of
        `ctr run -d` and the sockets of shims that were killed are left by ctr and containerd."""
        return path in (
            f"{self.runtime_root}/{self.namespace}",
            f"{self.home}/state/io.containerd.runtime.v2.task/{self.namespace}",
        ) or path.startswith(("/run/containerd/fifo", "/run/containerd/s/"))

    def clean(self):
        """Removes every container, whatever a row has left."""
        for name in self("task", "ls", "-q", status=None).text.split():
            self("task", "kill", "-s", "KILL", "-a", name, status=None)
            self("task", "rm", "-f", name, status=None)
        for name in self("container", "ls", "-q", status=None).text.split():
            self("container", "rm", name, status=None)

    def errors(self):
        """What the daemon and its shims have logged since the last call, worse than a warning."""
        text = read(self.log)
        new, self.mark = text[self.mark :], len(text)
        return [line for line in new.splitlines() if self.is_error(line)]

    def is_error(self, line):
        # The end of a shim's log pipe is seen as an error now and then, with any runtime.
        if "copy shim log" in line and "file already closed" in line:
            return False
        return re.search(r"level=(error|fatal|panic)|^panic:|^fatal error:", line) is not None

    # ---- the client ------------------------------------------------------------------------------

    def words(self, *args):
        """The command line of `ctr ARGS`."""
        return ["ctr", "--address", self.socket, "--namespace", self.namespace,
                "--connect-timeout", "5s", *args]  # fmt: skip

    def __call__(self, *args, **options):
        """Runs `ctr ARGS`; see harness.run."""
        return run(*self.words(*args), **options)

    def run_words(self, options, name, *command):
        """The arguments of `ctr run` for the runtime under test."""
        runtime = ["--runc-binary", self.program, "--runc-root", self.runtime_root]
        if self.runtime == "shim":
            runtime = ["--runtime", SHIM, "--runtime-config-path", self.shim_config()]
        return ["run", *runtime, *options, BOX, name, *command]

    def shim_config(self):
        """The file with the options of the shim; written once, since shims read it at any time."""
        path = f"{self.home}/shim.toml"
        if not os.path.exists(path):
            changes = [("/run/containerd/bulkhead", self.runtime_root)]
            write(path, substitute("containerd-shim.toml", changes))
        return path

    def run(self, options, name, *command, **how):
        """`ctr run --rm` to the end."""
        return self(*self.run_words(["--rm", *options], name, *command), **how)

    def task(self, name):
        """The pid and the status of a container's task, (None, None) without one."""
        for line in self("task", "ls").out.splitlines()[1:]:
            words = line.split()
            if words[0] == name:
                return int(words[1]), words[2]
        return None, None

    def pid(self, name):
        return self.task(name)[0]

    def status(self, name):
        return self.task(name)[1]

    def cgroup(self, name):
        return Cgroup(self.pid(name))

    def exec(self, name, *command, options=(), **how):
        """`ctr task exec`; returns what harness.run does."""
        Containerd.execs = getattr(Containerd, "execs", 0) + 1
        return self(
            "task", "exec", "--exec-id", f"e{Containerd.execs}", *options, name, *command, **how
        )

    def container(self, name, options=(), command=("sleep", "1000")):
        """A container in the background, removed at the end of the `with` block."""
        return Background(self, name, list(options), command)


class Background:
    def __init__(self, ctr, name, options, command):
        self.ctr, self.name, self.options, self.command = ctr, name, options, command

    def __enter__(self):
        self.ctr(*self.ctr.run_words(["-d", *self.options], self.name, *self.command))
        return self.name

    def __exit__(self, kind, _error, _trace):
        fine = 0 if kind is None else None
        if self.ctr.status(self.name) is not None:
            self.ctr("task", "kill", "-s", "KILL", self.name, status=None)
            (
                eventually(lambda: self.ctr.status(self.name) == "STOPPED", "the end")
                if kind is None
                else 0
            )
            self.ctr("task", "rm", "-f", self.name, status=None)
        self.ctr("container", "rm", self.name, status=fine)


def alive(pid):
    """Whether a process is there and no zombie."""
    return (
        os.path.exists(f"/proc/{pid}")
        and read(f"/proc/{pid}/stat").rpartition(")")[2].split()[0] != "Z"
    )
