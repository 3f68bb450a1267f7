"""Docker: a private dockerd, with the runtime under test as its default."""

import json
import os
import shutil
import signal
import subprocess

from harness import Cgroup, Failure, check, engine, eventually, read, run, write
from leaks import descendants


@engine
class Docker:
    name = "docker"

    def __init__(self, workspace, runtime):
        self.workspace, self.runtime = workspace, runtime
        self.data = workspace.dir("docker-data")
        # The sockets' paths have to fit into 108 bytes.
        self.exec_root = workspace.dir("docker-exec")
        self.socket = f"{workspace.path}/docker.sock"
        self.log = f"{workspace.path}/docker-{runtime}.log"
        self.daemon = None
        self.client = "/usr/bin/docker" if os.path.exists("/usr/bin/docker") else "docker"
        self.env = dict(
            os.environ,
            DOCKER_HOST=f"unix://{self.socket}",
            DOCKER_CONFIG=workspace.dir("docker-config"),
            DOCKER_BUILDKIT="0",
        )

    # ---- the daemon ------------------------------------------------------------------------------

    def start(self):
        program = os.environ["BULKHEAD_BIN"] if self.runtime == "bulkhead" else shutil.which("runc")
        config = write(
            f"{self.workspace.path}/docker.json",
            json.dumps({"runtimes": {"under-test": {"path": program}}}),
        )
        words = [
            shutil.which("dockerd") or "/usr/sbin/dockerd", "--config-file", config,
            "--data-root", self.data, "--exec-root", self.exec_root,
            "--pidfile", f"{self.workspace.path}/docker.pid", "-H", f"unix://{self.socket}",
            "--default-runtime", "under-test", "--cgroup-parent", f"/{self.workspace.tag}",
            "--bip", "172.31.200.1/24",
            "--default-address-pool", "base=172.31.208.0/20,size=24",
        ]  # fmt: skip
        with open(self.log, "ab") as log:
            self.daemon = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        eventually(self.answers, f"dockerd: {self.log}", 60)
        for name, tar in (
            ("busybox", self.workspace.images.busybox_tar),
            ("debian", self.workspace.images.debian_tar),
            ("scratch", self.workspace.images.scratch_tar),
        ):
            if not self("image", "inspect", name, status=None).status == 0:
                changes = ["--change", "ENV PATH=/usr/sbin:/usr/bin:/sbin:/bin"]
                self("import", *changes, tar, name, timeout=300)
        # The first container makes cgroups that stay: they are nobody's leak.
        self("run", "--rm", "busybox", "true", status=None)

    def answers(self):
        check(self.daemon.poll() is None, f"dockerd has ended: {read(self.log)[-1500:]}")
        return self("version", status=None).status == 0

    def stop(self):
        if not self.daemon:
            return
        self.clean()
        self.daemon.send_signal(signal.SIGTERM)
        try:
            self.daemon.wait(30)
        except subprocess.TimeoutExpired:
            self.daemon.kill()
            self.daemon.wait()

    def pids(self):
        """The daemons: dockerd, its containerd, and BuildKit's helpers if there are any."""
        found = [self.daemon.pid]
        for pid, _ in descendants(self.daemon.pid):
            try:
                name = read(f"/proc/{pid}/comm").strip()
            except OSError:
                continue
            if name == "containerd":
                found.append(pid)
        return found

    def state_dirs(self):
        private = [f"/run/{name}" for name in ("bulkhead", "containerd", "docker", "runc")]
        return [self.exec_root, f"{self.data}/containers", *private]

    def keeps(self, path):
        """State that is the daemon's own and no container's."""
        # dockerd sweeps these files up once a minute; a namespace that lives is a mount on one.
        return path.startswith(f"{self.exec_root}/netns/") or path.endswith(".db")

    def clean(self):
        """Removes every container, network and volume, whatever a row has left."""
        ids = self("ps", "-aq", status=None).text.split()
        if ids:
            self("rm", "-f", "-v", *ids, status=None)
        self("network", "prune", "-f", status=None)
        volumes = self("volume", "ls", "-q", status=None).text.split()
        if volumes:
            self("volume", "rm", "-f", *volumes, status=None)

    # ---- the client ------------------------------------------------------------------------------

    def __call__(self, *args, env=None, **options):
        """Runs `docker ARGS`; see harness.run."""
        return run(self.client, *args, env=dict(self.env, **(env or {})), **options)

    def spawn(self, *args, **options):
        """Starts `docker ARGS` and does not wait."""
        return subprocess.Popen(
            [self.client, *args], env=self.env, start_new_session=True, **options
        )

    def inspect(self, name, template="{{json .}}"):
        return self("inspect", "--format", template, name).text

    def pid(self, name):
        """The pid of the container's init, as the host sees it."""
        pid = int(self.inspect(name, "{{.State.Pid}}"))
        check(pid > 0, f"{name} does not run")
        return pid

    def cgroup(self, name):
        return Cgroup(self.pid(name))

    def status(self, name):
        return self.inspect(name, "{{.State.Status}}")

    def remove(self, *names):
        self("rm", "-f", "-v", *names)

    def container(self, *args):
        """A container in the background, removed at the end of the `with` block; its name."""
        return Background(self, args)


class Background:
    count = 0

    def __init__(self, docker, args):
        Background.count += 1
        self.docker, self.args, self.name = docker, args, f"row{Background.count}"

    def __enter__(self):
        self.docker("run", "-d", "--name", self.name, *self.args)
        return self.name

    def __exit__(self, kind, error, _trace):
        try:
            self.docker("rm", "-f", "-v", self.name, status=0 if kind is None else None)
        except Failure:
            if kind is None:
                raise
