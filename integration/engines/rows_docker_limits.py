"""Docker: limits, and the figures that engines read. W06, W07, W20."""

import json
import os
import re
import time

from harness import check, contains, equal, eventually, read, row, run


def cpu_seconds(cgroup):
    if cgroup.is_v1("cpuacct"):
        return int(cgroup.read("cpuacct", "cpuacct.usage", "")) / 1e9
    return int(cgroup.read("cpu", "", "cpu.stat").split()[1]) / 1e6


def throttled(cgroup):
    """How many periods the kernel has cut short."""
    return int(re.search(r"nr_throttled (\d+)", cgroup.read("cpu", "cpu.stat", "cpu.stat"))[1])


@row("W06", "docker", "--cpus, --cpu-shares: a quarter of a CPU at most")
def cpu(docker):
    stress = ["stress-ng", "--quiet", "--cpu", "2", "--timeout", "60"]
    with docker.container("--cpus", ".25", "--cpu-shares", "512", "debian", *stress) as name:
        cgroup = docker.cgroup(name)
        if cgroup.is_v1("cpu"):
            equal(cgroup.read("cpu", "cpu.cfs_quota_us", ""), "25000", "quota")
            equal(cgroup.read("cpu", "cpu.cfs_period_us", ""), "100000", "period")
            equal(cgroup.read("cpu", "cpu.shares", ""), "512", "shares")
        else:
            equal(cgroup.read("cpu", "", "cpu.max"), "25000 100000", "quota")
            # runc 1.1 has a straight line between the ends, later ones and bulkhead the curve.
            weight = "20" if docker.runtime == "runc" else "59"
            equal(cgroup.read("cpu", "", "cpu.weight"), weight, "weight")
        eventually(lambda: throttled(cgroup) > 2, "the stress program to meet its quota", 40)
        # The clock around the figures: a busy machine makes the share smaller and never larger.
        started, before = time.monotonic(), cpu_seconds(cgroup)
        time.sleep(4)
        used = cpu_seconds(cgroup) - before
        share = used / (time.monotonic() - started)
        check(0 < share < 0.28, f"it took {share:.2f} CPU")


@row("W06", "docker", "--memory: 100 MB is killed with 137, 512 MB is not")
def memory(docker):
    # Later, since the shim looks at what happens only when the runtime's start has returned.
    script = "sleep 1; exec dd if=/dev/zero of=/dev/null bs=200M count=1"
    hog = ["busybox", "sh", "-c", script]
    docker("run", "--name", "hog", "--memory", "100m", *hog, status=137)
    equal(docker.inspect("hog", "{{.State.OOMKilled}}"), "true", "OOMKilled")
    docker.remove("hog")
    docker("run", "--rm", "--memory", "512m", *hog)
    with docker.container("--memory", "100m", "busybox", "sleep", "1000") as name:
        limit = docker.cgroup(name).read("memory", "memory.limit_in_bytes", "memory.max")
        equal(limit, str(100 << 20), "the limit read back")


@row("W06", "docker", "--pids-limit: a fork bomb stays below")
def fork_bomb(docker):
    bomb = 'b() { trap "exec sleep 1000" EXIT; b & b & wait; }; b 2>/dev/null'
    with docker.container("--pids-limit", "50", "busybox", "sh", "-c", bomb) as name:
        cgroup = docker.cgroup(name)
        equal(cgroup.read("pids", "pids.max", "pids.max"), "50", "the limit read back")
        peak = 0
        for _ in range(40):
            peak = max(peak, int(cgroup.read("pids", "pids.current", "pids.current")))
            time.sleep(0.05)
        check(20 < peak <= 50, f"at most {peak} processes at once")
        events = cgroup.read("pids", "pids.events", "pids.events")
        check(int(events.split()[1]) > 0, "no fork was refused")


@row("W07", "docker", "--device-write-bps, --device-write-iops")
def throttle(docker):
    image = f"{docker.workspace.new('loop')}/disk"
    with open(image, "wb") as file:
        file.truncate(64 << 20)
    device = run("losetup", "--find", "--show", image).text
    try:
        number = os.stat(device).st_rdev
        name = f"{os.major(number)}:{os.minor(number)}"
        write = f"dd if=/dev/zero of={device} bs=512k count=8 oflag=direct 2>/dev/null"
        slow = ["--device", device, "--device-write-bps", f"{device}:1mb",
                "--device-write-iops", f"{device}:500"]  # fmt: skip
        with docker.container(*slow, "debian", "sleep", "1000") as one:
            cgroup = docker.cgroup(one)
            if cgroup.is_v1("blkio"):
                got = cgroup.read("blkio", "blkio.throttle.write_bps_device", "")
                equal(got, f"{name} 1048576", "bytes a second")
                got = cgroup.read("blkio", "blkio.throttle.write_iops_device", "")
                equal(got, f"{name} 500", "operations a second")
            else:
                contains(cgroup.read("io", "", "io.max"), "wbps=1048576", "bytes a second")
        started = time.monotonic()
        docker("run", "--rm", *slow, "debian", "sh", "-c", write)
        took = time.monotonic() - started
        check(took > 3, f"4 MB at 1 MB/s took {took:.1f} s")
    finally:
        run("losetup", "--detach", device)


@row("W20", "docker", "stats and top: the figures of the cgroup")
def figures(docker):
    script = "sleep 1000 & sleep 1000 & exec sleep 1000"
    with docker.container("--memory", "64m", "busybox", "sh", "-c", script) as name:
        cgroup = docker.cgroup(name)
        eventually(lambda: len(cgroup.procs()) == 3, "three processes")
        stats = json.loads(docker("stats", "--no-stream", "--format", "{{json .}}", name).out)
        equal(stats["PIDs"], "3", "processes")
        contains(stats["MemUsage"], "/ 64MiB", "the limit")
        usage = int(cgroup.read("memory", "memory.usage_in_bytes", "memory.current"))
        number = stats["MemUsage"].split(" / ")[0]
        factor = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}.get(number.rstrip("iB")[-1], 1)
        shown = float(number.rstrip("iBKMG")) * factor
        check(0 < shown <= usage + (1 << 20), f"{number} used, {usage} in the cgroup")
        top = docker("top", name, "-o", "pid,args").out.splitlines()[1:]
        pids = sorted(int(line.split()[0]) for line in top)
        equal(pids, sorted(cgroup.procs()), "the processes of top")


@row("W20", "docker", "pause and unpause")
def pause(docker):
    with docker.container("busybox", "sh", "-c", "while :; do date +%s%N >/now; done") as name:
        pid, cgroup = docker.pid(name), docker.cgroup(name)
        now = f"/proc/{pid}/root/now"
        eventually(lambda: os.path.exists(now) and read(now), "the first time")
        docker("pause", name)
        equal(docker.status(name), "paused", "status")
        if cgroup.is_v1("freezer"):
            equal(cgroup.read("freezer", "freezer.state", ""), "FROZEN", "the freezer")
        else:
            contains(cgroup.read("freezer", "", "cgroup.events"), "frozen 1", "the freezer")
        before = read(now)
        time.sleep(0.5)
        equal(read(now), before, "the time of a paused container")
        docker("unpause", name)
        equal(docker.status(name), "running", "status")
        eventually(lambda: read(now) not in ("", before), "the time goes on")


@row("W20", "docker", "update --memory, --cpus, --pids-limit")
def update(docker):
    with docker.container("--memory", "64m", "busybox", "sleep", "1000") as name:
        cgroup = docker.cgroup(name)
        new = ["--memory", "96m", "--memory-swap", "128m", "--cpus", ".5", "--pids-limit", "77"]
        docker("update", *new, name)
        got = cgroup.read("memory", "memory.limit_in_bytes", "memory.max")
        equal(got, str(96 << 20), "memory")
        equal(cgroup.read("cpu", "cpu.cfs_quota_us", "cpu.max").split()[0], "50000", "quota")
        equal(cgroup.read("pids", "pids.max", "pids.max"), "77", "processes")
        equal(docker.inspect(name, "{{.HostConfig.Memory}}"), str(96 << 20), "inspect")


@row("W20", "docker", "events, inspect")
def events(docker):
    docker("run", "--rm", "--name", "told", "--memory", "20m", "busybox",
           "dd", "if=/dev/zero", "of=/dev/null", "bs=100M", "count=1", status=137)  # fmt: skip
    for action in ("create", "attach", "start", "oom", "die", "destroy"):
        eventually(lambda: action in docker.events("told"), f"the event {action}")
    with docker.container("-e", "A=b", "busybox", "sleep", "1000") as name:
        known = json.loads(docker.inspect(name))
        equal(known["State"]["Status"], "running", "status")
        check("A=b" in known["Config"]["Env"], "the environment")
        contains(read(f"/proc/{known['State']['Pid']}/cgroup"), known["Id"], "the cgroup")
