"""The configuration files of integration/config as the drivers use them: only paths are
substituted, and what the machine itself cannot do. So those files are proven to work."""

import json
import os
import re
import shutil

from harness import Failure, equal, read, run

CONFIG = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "config")
INSTALLED = "/usr/local/sbin/bulkhead"
"""Where the files say that the runtime is."""

CAP_SYS_RESOURCE = 24


SHIM = "io.containerd.bulkhead.v2"
"""The name of bulkhead's shim in containerd."""
SHIM_STATE = "/run/containerd/bulkhead"
"""Where that shim keeps the state of containers by default."""


def program(runtime):
    """The path of the runtime under test; with the shim, of the program that reads its state."""
    return shutil.which("runc") if runtime == "runc" else os.environ["BULKHEAD_BIN"]


def shim_on_path(workspace, runtime):
    """The PATH of a daemon, with the shim under test."""
    if runtime != "shim":
        return os.environ["PATH"]
    directory = workspace.dir("shim-path")
    link = f"{directory}/containerd-shim-bulkhead-v2"
    if not os.path.lexists(link):
        os.symlink(os.environ["BULKHEAD_SHIM"], link)
    return f"{directory}:{os.environ['PATH']}"


def prove(runtime, root, container, pid):
    """The containers are those of the program under test, and of no other."""
    other = program("bulkhead" if runtime == "runc" else "runc")
    told = json.loads(run(program(runtime), "--root", root, "state", container).out)
    equal(told["pid"], pid, "the pid that the runtime under test knows")
    run(other, "--root", root, "state", container, status=1)


def may_raise_limits():
    """Whether this process has CAP_SYS_RESOURCE. Without it neither OOM scores nor resource limits
    go beyond its own, whatever the runtime."""
    effective = int(re.search(r"^CapEff:\s*(\w+)", read("/proc/self/status"), re.M)[1], 16)
    return bool(effective >> CAP_SYS_RESOURCE & 1)


def substitute(name, changes):
    """The text of a file with strings replaced, in order; each has to be there."""
    text = read(os.path.join(CONFIG, name))
    for old, new in changes:
        if old not in text:
            raise Failure(f"integration/config/{name} has no {old!r}")
        text = text.replace(old, str(new))
    return text


def status_fields(text):
    """The fields of a /proc/PID/status."""
    return {key: value.strip() for key, _, value in (l.partition(":") for l in text.splitlines())}
