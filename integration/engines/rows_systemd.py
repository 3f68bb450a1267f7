"""Limits as properties of systemd's units, which engines ask for. W06 with systemd."""

import subprocess
import time

from harness import check, contains, equal, eventually, row

LIMITS = ["--memory", "100m", "--cpus", ".25", "--pids-limit", "50"]
PROPERTIES = {
    "ActiveState": "active",
    "MemoryMax": str(100 << 20),
    "CPUQuotaPerSecUSec": "250ms",
    "TasksMax": "50",
    "Delegate": "yes",
}


def limited(engine):
    """A container in a scope of its own, with its limits; its life, and its end."""
    hog = ["busybox", "dd", "if=/dev/zero", "of=/dev/null", "bs=200M", "count=1"]
    with engine.container(*LIMITS, "busybox", "sleep", "1000") as name:
        unit, cgroup = engine.unit(name), engine.cgroup(name)
        contains(unit, engine.inspect(name, "{{.Id}}"), "the unit")
        check(unit.endswith(".scope"), f"{unit} is no scope")
        shown = engine.systemctl("show", unit, *(f"--property={key}" for key in PROPERTIES))
        equal(dict(line.split("=", 1) for line in shown.splitlines()), PROPERTIES, "properties")
        equal(cgroup.read("memory", "", "memory.max"), str(100 << 20), "memory.max")
        equal(cgroup.read("cpu", "", "cpu.max"), "25000 100000", "cpu.max")
        equal(cgroup.read("pids", "", "pids.max"), "50", "pids.max")
        engine("exec", "-d", name, "sleep", "1001")
        eventually(lambda: len(cgroup.procs()) == 2, "exec in the scope")
        engine("exec", name, *hog[1:], status=137)
        contains(cgroup.read("memory", "", "memory.events"), "\noom_kill 1", "who was killed")
        equal(engine.status(name), "running", "the container itself")
        engine("pause", name)
        contains(cgroup.read("freezer", "", "cgroup.events"), "frozen 1", "paused")
        engine("unpause", name)
        contains(cgroup.read("freezer", "", "cgroup.events"), "frozen 0", "unpaused")
    words = ["list-units", "--all", "--plain", "--no-legend", unit]
    eventually(lambda: engine.systemctl(*words) == "", f"the end of {unit}")
    return unit


@row("W06", "docker-systemd", "limits of a scope; exec, pause, out of memory")
def docker_scope(docker):
    limited(docker)


@row("W06", "docker-systemd", "update: the unit's properties and the files")
def docker_update(docker):
    with docker.container("--memory", "64m", "busybox", "sleep", "1000") as name:
        cgroup, unit = docker.cgroup(name), docker.unit(name)
        new = ["--memory", "96m", "--memory-swap", "128m", "--cpus", ".5", "--pids-limit", "77"]
        docker("update", *new, name)
        keys = ["MemoryMax", "MemorySwapMax", "CPUQuotaPerSecUSec", "TasksMax"]
        shown = docker.systemctl("show", unit, "--value", *(f"--property={key}" for key in keys))
        equal(sorted(shown.split()), sorted([str(96 << 20), str(32 << 20), "500ms", "77"]), "unit")
        docker.systemctl("daemon-reload")
        equal(cgroup.read("memory", "", "memory.max"), str(96 << 20), "memory.max")
        equal(cgroup.read("memory", "", "memory.swap.max"), str(32 << 20), "memory.swap.max")
        equal(cgroup.read("cpu", "", "cpu.max"), "50000 100000", "cpu.max")
        equal(cgroup.read("pids", "", "pids.max"), "77", "pids.max")


@row("W06", "docker-systemd", "twenty containers at once, and none of their units stays")
def docker_many(docker):
    names = [f"many{number}" for number in range(20)]
    words = ["--network", "none", "--memory", "20m", "busybox", "sleep", "1000"]
    quiet = {"stdout": subprocess.DEVNULL}
    started = [docker.spawn("run", "-d", "--name", name, *words, **quiet) for name in names]
    equal([process.wait(200) for process in started], [0] * len(names), "docker run")
    units = [docker.unit(name) for name in names]
    docker("rm", "-f", *names, timeout=120)
    time.sleep(1)
    listed = docker.systemctl("list-units", "--all", "--plain", "--no-legend", *units)
    equal(listed, "", "units left")


@row("W06", "podman-systemd", "limits of a scope; exec, pause, out of memory")
def podman_scope(podman):
    unit = limited(podman)
    check(unit.startswith("libpod-"), f"the unit is {unit}")
