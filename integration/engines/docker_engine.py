"""Docker: a private dockerd, with the runtime under test as its default."""

import json
import os
import re
import signal
import subprocess
import time

from configured import INSTALLED, SHIM_STATE, shim_on_path, substitute
from configured import program as runtime_program
from harness import Cgroup, Failure, Skip, check, engine, equal, eventually, read, run, write
from leaks import comm, descendants, tree


@engine
class Docker:
    name = "docker"
    has_shims = True

    def __init__(self, workspace, runtime, name="docker", options=()):
        """`name` and `options` are for a second daemon beside the first."""
        self.workspace, self.runtime = workspace, runtime
        # Both runtimes use one data directory: the images are imported once.
        self.data = workspace.dir(f"{name}-data")
        self.exec_root = workspace.dir(f"{name}-exec")
        self.socket = f"{workspace.path}/{name}.sock"
        self.pid_file = f"{workspace.path}/{name}.pid"
        self.log = f"{workspace.path}/{name}-{runtime}.log"
        self.called = f"{workspace.path}/{name}-{runtime}.called"
        self.path = workspace.dir(f"{name}-{runtime}-path")
        self.options = options
        self.cgroup_parent = f"/{workspace.tag}"
        self.changes = []
        self.beside = name != "docker"
        self.daemon = None
        self.client = "docker"
        self.env = dict(
            os.environ,
            DOCKER_HOST=f"unix://{self.socket}",
            DOCKER_CONFIG=workspace.dir("docker-config"),
            DOCKER_BUILDKIT="0",
        )

    # ---- the daemon ------------------------------------------------------------------------------

    def start(self, images=("busybox", "debian", "scratch-hello")):
        program = runtime_program(self.runtime)
        name, changes = "daemon.json", [(INSTALLED, program)]
        if self.runtime == "shim":
            # Docker 20.10 would take runc.
            version = run("dockerd", "--version").out
            if int(re.search(r"version (\d+)", version)[1]) < 23:
                raise Skip("this Docker knows no shims but runc's")
            name, changes = "daemon-shim.json", []
        config = write(
            f"{self.workspace.path}/docker.json", substitute(name, [*changes, *self.changes])
        )
        # The BuildKit inside dockerd takes what it finds as `runc` on PATH.
        called = f'echo "$@" >>{self.called}'
        write(f"{self.path}/runc", f'#!/bin/sh\n{called}\nexec {program} "$@"\n', 0o755)
        # A second daemon would take the bridge of the first: it gets a network of its own.
        words = ["unshare", "--net"] if self.beside else []
        words += [
            "dockerd", "--config-file", config,
            "--data-root", self.data, "--exec-root", self.exec_root, "--pidfile", self.pid_file,
            "-H", f"unix://{self.socket}", "--cgroup-parent", self.cgroup_parent,
            # For checkpoints.
            "--experimental",
            "--bip=172.31.200.1/24",
            "--default-address-pool", "base=172.31.208.0/20,size=24", *self.options,
        ]  # fmt: skip
        with open(self.log, "ab") as log:
            self.daemon = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env=dict(os.environ, PATH=f"{self.path}:{shim_on_path(self.workspace, self.runtime)}"),
            )
        eventually(self.answers, f"dockerd: {self.log}", 60)
        made = self.workspace.images
        tars = {
            "busybox": made.busybox_tar,
            "debian": made.debian_tar,
            "scratch-hello": made.scratch_tar,
        }
        for name in images:
            if self("image", "inspect", name, status=None).status != 0:
                change = ["--change", "ENV PATH=/usr/sbin:/usr/bin:/sbin:/bin"]
                self("import", *change, tars[name], name, timeout=300)
        # The first container makes what stays while the daemon does (cgroups, a mount for the
        # host's network): they are nobody's leak.
        for network in ("none", "host"):
            if network == "none" or not self.beside:
                self("run", "--rm", "--network", network, "busybox", "true")
        self.prove(program)

    def prove(self, program):
        """The containers are those of the program under test, and of no other."""
        other = runtime_program("bulkhead" if self.runtime == "runc" else "runc")
        with self.container("--network", "none", "busybox", "sleep", "1000") as name:
            known = self.inspect(name, "{{.Id}}")
            top, part = self.exec_root, "/runtime-"
            if self.runtime == "shim":
                top, part = SHIM_STATE, SHIM_STATE
            roots = [path for path in tree(top, 4) if path.endswith(known)]
            roots = [os.path.dirname(path) for path in roots if part in path]
            equal(len(roots), 1, f"directories of the runtime's state: {roots}")
            told = json.loads(run(program, "--root", roots[0], "state", known).out)
            equal(told["pid"], self.pid(name), "the pid that the runtime knows")
            run(other, "--root", roots[0], "state", known, status=1)

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
        found += [pid for pid, _ in descendants(self.daemon.pid) if comm(pid) == "containerd"]
        return found

    def state_dirs(self):
        return [self.exec_root, f"{self.data}/containers", "/run"]

    def keeps(self, path):
        """State that is the daemon's own and no container's."""
        # dockerd sweeps these files up once a minute; a namespace that lives is a mount on one.
        if path.startswith(f"{self.exec_root}/netns/") or path.endswith(".db"):
            return True
        # The directory of a namespace of containerd.
        if os.path.dirname(path) == SHIM_STATE:
            return True
        # The parent of BuildKit's cgroups stays; what is below it may not.
        return path.endswith(f"/{self.workspace.tag}/buildkit")

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

    def events(self, name):
        """The actions that the daemon tells of a container, from its first."""
        words = ["--since", "1", "--until", f"{time.time():.3f}"]
        words += ["--filter", f"container={name}", "--format", "{{.Action}}"]
        return self("events", *words).text.splitlines()

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
        try:
            self.docker("run", "-d", "--name", self.name, *self.args)
        except BaseException:
            # Created, but not started.
            self.docker("rm", "-f", "-v", self.name, status=None)
            raise
        return self.name

    def __exit__(self, kind, error, _trace):
        try:
            self.docker("rm", "-f", "-v", self.name, status=0 if kind is None else None)
        except Failure:
            if kind is None:
                raise
