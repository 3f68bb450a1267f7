"""podman with conmon, with root and without: private storage, configured by integration/config."""

import glob
import os
import stat
import subprocess

from configured import INSTALLED, may_raise_limits, program, substitute
from harness import Cgroup, check, engine, equal, read, run, write
from isolation import unmount
from terminal import Terminal

KEPT = ("/run/libpod/", "/run/containers")
"""Places of podman itself."""

USER, UID, SUBIDS = "bulkhead-test", 54321, 600000


@engine
class Podman:
    name, short = "podman", "p"

    def __init__(self, workspace, runtime):
        self.workspace, self.runtime = workspace, runtime
        self.program = program(runtime)
        # podman refuses a runroot of more than 50 characters.
        self.home = workspace.dir(f"{self.short}{runtime[0]}")
        self.mounted = []
        self.prefix = []
        self.cgroup_parent = ["--cgroup-parent", f"/{workspace.tag}"]
        self.changes = []
        self.env = {
            "PATH": os.environ["PATH"],
            "HOME": self.home,
            "CONTAINERS_CONF": f"{self.home}/containers.conf",
            "CONTAINERS_STORAGE_CONF": f"{self.home}/storage.conf",
        }

    # ---- no daemon, but places -------------------------------------------------------------------

    def config(self):
        text = substitute("containers.conf", [(INSTALLED, self.program), *self.changes])
        if not may_raise_limits():
            # podman asks for a million files by default: this machine may not.
            text += '\n[containers]\ndefault_ulimits = ["nofile=1024:4096", "nproc=4096:8192"]\n'
        return text + f'\n[network]\nnetwork_config_dir = "{self.home}/networks"\n'

    def hide(self, path):
        """Puts an empty directory over a place that podman cannot be told to leave alone."""
        # If it is made, it stays: removing it would take it away from another run as well.
        os.makedirs(path, exist_ok=True)
        run("mount", "-t", "tmpfs", "-o", "mode=1777", "tmpfs", path)
        self.mounted.append(path)

    def places(self):
        """Its locks, and the addresses that CNI gives away."""
        self.hide("/dev/shm")
        self.hide("/var/lib/cni")
        write(f"{self.home}/containers.conf", self.config())
        write(
            f"{self.home}/storage.conf",
            f'[storage]\ndriver = "overlay"\ngraphroot = "{self.home}/root"\n'
            f'runroot = "{self.home}/run"\n',
        )

    def start(self):
        self.places()
        for name, tar in (
            ("busybox", self.workspace.images.busybox_tar),
            ("scratch", self.workspace.images.scratch_tar),
        ):
            changes = ["--change", "ENV PATH=/usr/sbin:/usr/bin:/sbin:/bin"]
            self("import", *changes, tar, f"localhost/{name}", timeout=300)
        # The first container makes directories and cgroups that stay: they are nobody's leak.
        self.run("--rm", "busybox", "true")
        equal(
            self("info", "--format", "{{.Host.OCIRuntime.Path}}").text, self.program, "the runtime"
        )

    def stop(self):
        self.clean()
        for path in reversed(self.mounted):
            unmount(path)

    def pids(self):
        return []

    def state_dirs(self):
        # podman mounts its storage onto itself, and takes that away again, when it likes: so that
        # it is never there when mounts are compared.
        subprocess.run(
            ["umount", f"{self.home}/root/overlay"], stderr=subprocess.DEVNULL, check=False
        )
        own = ("tmp", "run/overlay-containers", "root/overlay-containers", "root/volumes")
        return [*(f"{self.home}/{name}" for name in own), "/run"]

    def keeps(self, path):
        """Locks, lists and logs of podman itself."""
        return path.endswith((".lock", ".json", ".lck", ".log", "/backingFsBlockDev")) or (
            path.startswith((f"{self.home}/tmp/events", f"{self.home}/tmp/alive", *KEPT))
        )

    def clean(self):
        """Removes every pod, container and volume, whatever a row has left."""
        self("unpause", "--all", status=None)
        self("pod", "rm", "--all", "--force", "--time", "0", status=None)
        self("rm", "--all", "--force", "--volumes", "--time", "0", status=None)
        self("volume", "prune", "--force", status=None)

    # ---- the client ------------------------------------------------------------------------------

    def words(self, *args):
        """The command line of `podman ARGS`."""
        return [*self.prefix, "podman", "--root", f"{self.home}/root", "--runroot",
                f"{self.home}/run", "--tmpdir", f"{self.home}/tmp", *args]  # fmt: skip

    def __call__(self, *args, **options):
        """Runs `podman ARGS`; see harness.run."""
        return run(*self.words(*args), env=self.env, cwd=self.home, **options)

    def run_words(self, *args):
        """The arguments of `podman run`: without a network unless ARGS name one."""
        named = any(str(arg).startswith(("--network", "--pod")) for arg in args)
        return ["run", *self.cgroup_parent, *([] if named else ["--network", "none"]), *args]

    def run(self, *args, **options):
        """`podman run ARGS`."""
        return self(*self.run_words(*args), **options)

    def inspect(self, name, template):
        return self("inspect", "--format", template, name).text

    def pid(self, name):
        pid = int(self.inspect(name, "{{.State.Pid}}"))
        check(pid > 0, f"{name} does not run")
        return pid

    def cgroup(self, name):
        return Cgroup(self.pid(name))

    def status(self, name):
        return self.inspect(name, "{{.State.Status}}")

    def container(self, *args):
        """A container in the background, removed at the end of the `with` block; its name."""
        return Background(self, args)

    def remove_pod(self, name):
        """Removes a pod. Of the hierarchies that have no controller it leaves its cgroups, because
        the runtime made those and podman does not know of them."""
        pod = self("pod", "inspect", "--format", "{{.ID}}", name).text
        self("pod", "rm", "--force", "--time", "0", name)
        for hierarchy in ("systemd", "unified"):
            path = f"/sys/fs/cgroup/{hierarchy}/{self.workspace.tag}/{pod}"
            if os.path.isdir(path):
                os.rmdir(path)

    def terminal(self, rows, columns, *args):
        """`podman ARGS` on a terminal of that size."""
        env = dict(self.env, TERM="xterm")
        return Terminal(self.words(*args), rows, columns, env, self.home)


class Background:
    count = 0

    def __init__(self, podman, args):
        Background.count += 1
        self.podman, self.args, self.name = podman, args, f"row{Background.count}"

    def __enter__(self):
        self.podman.run("-d", "--name", self.name, *self.args)
        return self.name

    def __exit__(self, kind, _error, _trace):
        self.podman("rm", "--force", "--volumes", "--time", "0", self.name,
                    status=0 if kind is None else None)  # fmt: skip


@engine
class Rootless(Podman):
    """The same as a user who is made for it: in copies of the account files, which only we see."""

    name, short = "podman-rootless", "u"

    def __init__(self, workspace, runtime):
        super().__init__(workspace, runtime)
        self.xdg = f"{self.home}/xdg"
        self.cgroup_parent = []
        self.prefix = ["setpriv", "--reuid", str(UID), "--regid", str(UID), "--init-groups"]
        self.env.update(XDG_RUNTIME_DIR=self.xdg, USER=USER, LOGNAME=USER)

    def account(self):
        for name, line in (
            ("passwd", f"{USER}:x:{UID}:{UID}::{self.home}:/bin/sh"),
            ("group", f"{USER}:x:{UID}:"),
            ("subuid", f"{USER}:{SUBIDS}:65536"),
            ("subgid", f"{USER}:{SUBIDS}:65536"),
        ):
            path = f"/etc/{name}"
            copy = write(f"{self.home}-{name}", read(path).rstrip("\n") + f"\n{line}\n", 0o644)
            run("mount", "--bind", copy, path)
            self.mounted.append(path)

    def tun(self):
        """The device that a user's network needs, as it is on most machines: for everybody."""
        path = "/dev/net/tun"
        if os.path.exists(path) and os.stat(path).st_mode & 0o6 != 0o6:
            os.mknod(f"{self.home}-tun", stat.S_IFCHR, os.stat(path).st_rdev)
            os.chmod(f"{self.home}-tun", 0o666)
            run("mount", "--bind", f"{self.home}-tun", path)
            self.mounted.append(path)

    def places(self):
        super().places()
        self.account()
        self.tun()
        os.makedirs(self.xdg, mode=0o700, exist_ok=True)
        for path in (self.home, *glob.glob(f"{self.home}/*")):
            os.chown(path, UID, UID)

    def stop(self):
        super().stop()
        self.end_pause()

    def end_pause(self):
        """The process that holds podman's user namespace."""
        for pid in self.pids():
            os.kill(pid, 9)

    def pids(self):
        found = []
        for path in (f"{self.xdg}/libpod/tmp/pause.pid", f"{self.home}/tmp/pause.pid"):
            if os.path.exists(path):
                found.append(int(read(path)))
        return found

    def state_dirs(self):
        return [*super().state_dirs(), self.xdg]

    def keeps(self, path):
        return super().keeps(path) or path.endswith(("/pause.pid", "/xdg/netns"))
