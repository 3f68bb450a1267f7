"""containerd's CRI, as a kubelet drives it: a private daemon, configured by containerd-cri.toml,
and the handler that runtimeclass.yaml names."""

import os
import re

from archive import image_archive
from configured import CONFIG, INSTALLED, may_raise_limits, prove, substitute
from containerd_engine import BOX, Containerd
from cri_client import NODE, Client, CriError, namespaces
from harness import Cgroup, check, engine, eventually, read

PAUSE = "localhost/pause:1"


def handler():
    """The handler of runtimeclass.yaml."""
    return re.search(r"^handler: (\S+)$", read(os.path.join(CONFIG, "runtimeclass.yaml")), re.M)[1]


@engine
class Cri(Containerd):
    name = "cri"

    def __init__(self, workspace, runtime):
        super().__init__(workspace, runtime)
        self.namespace = "k8s.io"
        self.client = None
        self.logs = workspace.dir(f"cri-logs-{runtime}")

    def config(self):
        changes = [
            *self.paths(),
            ("  # True where the", f'  sandbox_image = "{PAUSE}"\n  # True where the'),
            ("/etc/cni/net.d", f"{self.home}/cni"),
        ]
        if not may_raise_limits():
            changes.append(("restrict_oom_score_adj = false", "restrict_oom_score_adj = true"))
        if self.runtime == "shim":
            changes.append(("/etc/containerd/bulkhead.toml", self.shim_config()))
            return substitute("containerd-cri-shim.toml", changes)
        changes += [
            (INSTALLED, self.program),
            # State beside that of a bulkhead in use on this machine, not among it.
            (
                "SystemdCgroup = false",
                f'SystemdCgroup = false\n        Root = "{self.runtime_root}"',
            ),
        ]
        return substitute("containerd-cri.toml", changes)

    def archives(self):
        tar = self.workspace.images.busybox_tar
        return [
            image_archive(f"{self.home}/box.tar", tar, BOX),
            image_archive(f"{self.home}/pause.tar", tar, PAUSE, ("sleep", "1000000")),
        ]

    def start(self):
        self.launch()
        for archive in self.archives():
            self("images", "import", archive)
        # The first pod makes directories and cgroups that stay: they are nobody's leak.
        with self.pod("first") as pod:
            name = pod.run("first")
            prove(self.runtime, f"{self.runtime_root}/{self.namespace}", name, self.pid(name))

    def launch(self):
        if self.client:
            self.client.close()
        super().launch()
        self.client = Client(self.socket)
        eventually(self.serves, "the CRI to be ready")

    def serves(self):
        """The CRI says "server is not initialized yet" for a moment after the daemon answers."""
        try:
            self.client.sandboxes()
        except CriError:
            return False
        return True

    def stop(self):
        super().stop()
        if self.client:
            self.client.close()

    def clean(self):
        for sandbox in self.client.sandboxes():
            self.client.stop_sandbox(sandbox)
            self.client.remove_sandbox(sandbox)
        super().clean()

    def is_error(self, line):
        # There is no CNI here: the pods have the host's network.
        return super().is_error(line) and "failed to load cni during init" not in line

    def pod(self, name, spaces=None, privileged=False):
        """A pod, removed with its containers at the end of the `with` block."""
        return Pod(self, name, spaces or namespaces(network=NODE), privileged)


class Pod:
    def __init__(self, cri, name, spaces, privileged):
        self.cri, self.client, self.name = cri, cri.client, name
        self.config = self.client.sandbox_config(
            name, cri.logs, spaces, privileged, f"/{cri.workspace.tag}"
        )
        self.spaces, self.id = spaces, None

    def __enter__(self):
        self.id = self.client.run_sandbox(self.config, handler())
        return self

    def __exit__(self, *_):
        # The daemon may have been restarted.
        client = self.cri.client
        client.stop_sandbox(self.id)
        client.remove_sandbox(self.id)

    def create(self, name, *command, **how):
        """Makes a container of the pod; its id."""
        return self.client.create(
            self.id, self.config, name, BOX, command or ("sleep", "1000"), **how
        )

    def run(self, name, *command, **how):
        """Makes and starts a container of the pod; its id."""
        container = self.create(name, *command, **how)
        self.client.start(container)
        return container

    def pid(self, container):
        return self.cri.pid(container)

    def cgroup(self, container):
        return Cgroup(self.pid(container))

    def log(self, name):
        """What a container has written: [(stream, line)]."""
        check(os.path.exists(f"{self.cri.logs}/{name}.log"), f"{name} has no log file")
        lines = [line.split(" ", 3) for line in read(f"{self.cri.logs}/{name}.log").splitlines()]
        return [(words[1], words[3]) for words in lines]
