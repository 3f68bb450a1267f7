"""A small client of the Kubernetes container runtime interface (CRI), as a kubelet drives it.

gRPC is Debian's python3-grpcio, used with raw bytes; the messages are made by cri_wire from the
field numbers of runtime.v1, of which only those that the tests use are here.
"""

import time

import grpc

from cri_wire import Map, decode, encode, number, text

POD, CONTAINER, NODE, TARGET = 0, 1, 2, 3
"""Values of NamespaceMode."""

CREATED, RUNNING, EXITED = 0, 1, 2
"""Values of ContainerState."""

RUNTIME_DEFAULT, UNCONFINED, LOCALHOST = 0, 1, 2
"""Values of SecurityProfile.ProfileType."""


class CriError(Exception):
    """An answer other than OK; says which call and the server's words."""


def namespaces(network=POD, pid=POD, ipc=POD, target=None):
    """NamespaceOption."""
    return {1: network, 2: pid, 3: ipc, 4: target}


def resources(period=None, quota=None, shares=None, memory=None, oom_score_adj=None, cpus=None):
    """LinuxContainerResources: microseconds, shares, bytes."""
    return {1: period, 2: quota, 3: shares, 4: memory, 5: oom_score_adj, 6: cpus}


def seccomp(kind, path=None):
    """SecurityProfile."""
    return {1: kind, 2: path}


def security(
    add=(),
    drop=(),
    privileged=None,
    spaces=None,
    user=None,
    username=None,
    group=None,
    groups=(),
    readonly=None,
    no_new_privs=None,
    masked=None,
    read_only_paths=None,
    profile=None,
):
    """LinuxContainerSecurityContext. A path list of None leaves the field out."""
    return {
        1: {1: list(add), 2: list(drop)},
        2: privileged,
        3: spaces,
        5: None if user is None else {1: user},
        6: username,
        7: readonly,
        8: list(groups),
        11: no_new_privs,
        12: None if group is None else {1: group},
        13: masked,
        14: read_only_paths,
        15: profile,
    }


class Client:
    """The RuntimeService behind a unix socket."""

    def __init__(self, socket):
        self.channel = grpc.insecure_channel(f"unix://{socket}")

    def close(self):
        """Closes the connection."""
        self.channel.close()

    def call(self, method, message, timeout=60):
        """Calls one method with a message; returns the raw answer."""
        path = f"/runtime.v1.RuntimeService/{method}"
        stub = self.channel.unary_unary(
            path, request_serializer=lambda data: data, response_deserializer=lambda data: data
        )
        try:
            return stub(encode(message), timeout=timeout, wait_for_ready=True)
        except grpc.RpcError as error:
            raise CriError(f"{method}: {error.code().name}: {error.details()}") from None

    def version(self):
        """Name and version of the engine."""
        answer = self.call("Version", {1: "v1"})
        return text(answer, 2), text(answer, 3)

    # --- sandboxes -----------------------------------------------------------------------------

    def sandbox_config(self, name, logs, spaces, privileged=False, parent=None):
        """PodSandboxConfig."""
        return {
            1: {1: name, 2: f"uid-{name}", 3: "default", 4: 0},
            2: "" if spaces[1] == NODE else name,
            3: str(logs),
            6: Map(app=name),
            8: {1: parent, 2: {1: spaces, 6: privileged, 9: seccomp(RUNTIME_DEFAULT)}},
        }

    def run_sandbox(self, config, handler=""):
        """RunPodSandbox: returns its id."""
        return text(self.call("RunPodSandbox", {1: config, 2: handler}), 1)

    def stop_sandbox(self, sandbox):
        """StopPodSandbox."""
        self.call("StopPodSandbox", {1: sandbox})

    def remove_sandbox(self, sandbox):
        """RemovePodSandbox."""
        self.call("RemovePodSandbox", {1: sandbox})

    def sandbox_ready(self, sandbox):
        """Whether PodSandboxStatus says SANDBOX_READY."""
        return number(self.call("PodSandboxStatus", {1: sandbox}), 1, 3) == 0

    def sandboxes(self):
        """The ids that ListPodSandbox knows."""
        return [text(item, 1) for item in decode(self.call("ListPodSandbox", {})).get(1, [])]

    # --- containers ----------------------------------------------------------------------------

    def create(
        self,
        sandbox,
        pod,
        name,
        image,
        command,
        context=None,
        limits=None,
        env=None,
        cwd=None,
        mounts=(),
        tty=False,
    ):
        """CreateContainer: returns its id. `mounts` are (host, container, read-only)."""
        config = {
            1: {1: name, 2: 0},
            2: {1: image},
            3: list(command),
            5: cwd,
            6: [{1: key, 2: value} for key, value in (env or {}).items()],
            7: [{1: inside, 2: host, 3: ro} for host, inside, ro in mounts],
            11: f"{name}.log",
            14: tty,
            15: {1: limits, 2: context},
        }
        return text(self.call("CreateContainer", {1: sandbox, 2: config, 3: pod}), 1)

    def start(self, container):
        """StartContainer."""
        self.call("StartContainer", {1: container})

    def stop(self, container, timeout=10):
        """StopContainer: TERM, then KILL after `timeout` seconds."""
        self.call("StopContainer", {1: container, 2: timeout})

    def remove(self, container):
        """RemoveContainer."""
        self.call("RemoveContainer", {1: container})

    def state(self, container):
        """State and exit code, from ContainerStatus."""
        answer = self.call("ContainerStatus", {1: container})
        return number(answer, 1, 3), number(answer, 1, 7)

    def wait(self, container, timeout=20):
        """Waits until a container has ended; returns its exit code."""
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            state, code = self.state(container)
            if state == EXITED:
                return code
            time.sleep(0.1)
        raise CriError(f"container {container[:12]} has not ended after {timeout} s")

    def exec_sync(self, container, *command, timeout=10):
        """ExecSync: returns (exit code, stdout, stderr)."""
        answer = self.call("ExecSync", {1: container, 2: list(command), 3: timeout})
        return number(answer, 3), text(answer, 1), text(answer, 2)

    def update(self, container, limits):
        """UpdateContainerResources."""
        self.call("UpdateContainerResources", {1: container, 2: limits})

    def stats(self, container):
        """ContainerStats: CPU time in ns and the working set in bytes."""
        answer = self.call("ContainerStats", {1: container})
        return number(answer, 1, 2, 2, 1), number(answer, 1, 3, 2, 1)

    def containers(self):
        """The ids that ListContainers knows."""
        return [text(item, 1) for item in decode(self.call("ListContainers", {})).get(1, [])]
