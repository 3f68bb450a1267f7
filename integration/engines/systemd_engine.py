"""Engines that have the machine's own systemd make the cgroups of their containers."""

import isolation
from docker_engine import Docker
from harness import engine, run
from podman_engine import Podman


class BySystemd:
    """What comes before another engine: the sockets of systemd, where engines look for them."""

    def start(self):
        self.shown = []
        self.shown = isolation.show_systemd()
        super().start()

    def stop(self):
        super().stop()
        for path in self.shown:
            isolation.unmount(path)

    def systemctl(self, *words):
        """What `systemctl WORDS` writes."""
        return run("systemctl", *words).text

    def unit(self, name):
        """The unit that a container's process is in."""
        return self.cgroup(name).paths[""].rpartition("/")[2]


@engine
class DockerSystemd(BySystemd, Docker):
    has_shims = False
    name = "docker-systemd"

    def __init__(self, workspace, runtime):
        super().__init__(workspace, runtime)
        self.cgroup_parent = f"{workspace.tag}.slice"
        self.changes = [("cgroupdriver=cgroupfs", "cgroupdriver=systemd")]


@engine
class PodmanSystemd(BySystemd, Podman):
    name, short = "podman-systemd", "s"

    def __init__(self, workspace, runtime):
        super().__init__(workspace, runtime)
        self.cgroup_parent = ["--cgroup-parent", f"{workspace.tag}.slice"]
        self.changes = [('cgroup_manager = "cgroupfs"', 'cgroup_manager = "systemd"')]
