"""Turns what the probe prints, and what the host knows, into facts that can be compared: names and
values without process ids, inode numbers and paths of this run."""

import os
import re
from pathlib import Path

STATUS = re.compile(
    r"^(Umask|Uid|Gid|Groups|NoNewPrivs|Seccomp\w*|Specul\w+|Cap\w+|Sig(?:Blk|Ign|Cgt)|Cpus_allowed_list|"
    r"Mems_allowed_list|THP_enabled|CoreDumping):\t(.*)$",
    re.MULTILINE,
)
LIMIT_FILES = """cpu.shares cpu.cfs_quota_us cpu.cfs_period_us cpu.idle cpuset.cpus cpuset.mems
    memory.limit_in_bytes memory.soft_limit_in_bytes memory.memsw.limit_in_bytes memory.swappiness
    memory.oom_control memory.use_hierarchy pids.max devices.list blkio.weight freezer.state
    cpu.max cpu.weight memory.max memory.low memory.high memory.swap.max io.max
    cgroup.type cgroup.freeze cgroup.subtree_control cgroup.procs""".split()
NAMESPACES = ("cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts")


def namespaces(pid):
    return {name: os.readlink(f"/proc/{pid}/ns/{name}") for name in NAMESPACES}


def hierarchies():
    """Yields each cgroup hierarchy: its controllers, where it is mounted, and our cgroup in it."""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        for name in [controllers.removeprefix("name=")] if controllers else ["unified", "."]:
            top = Path("/sys/fs/cgroup") / name
            if (top / "cgroup.procs").exists():
                yield controllers or "v2", top, path.lstrip("/")
                break


def cgroups_below(name):
    """Returns the cgroups of that name and those below them, the innermost first."""
    found = set()
    for _, top, own in hierarchies():
        for start in {top / name, top / own / name}:
            if start.is_dir():
                found.update([start, *(path for path in start.rglob("*") if path.is_dir())])
    return sorted(found, reverse=True)


def of_probe(text, machine):
    """Returns the facts in the output of the probe."""
    facts = {}
    for line in text.splitlines():
        name, _, value = line.partition("\t")
        value = value.replace("\\0", "\0").replace("\\n", "\n").rstrip("\n\0")
        value = machine.anonymous(value)
        name = name.replace(" ", "-")
        if name == "file:/proc/self/status":
            facts.update({f"status:{key}": " ".join(of.split()) for key, of in STATUS.findall(value)})
        elif name == "file:/proc/self/mountinfo":
            facts.update(mounts(value))
        elif name == "file:/proc/self/limits":
            for row in value.splitlines()[1:]:
                match = re.match(r"(.+?) {2,}(\S+) +(\S+)", row)
                facts["rlimit:" + match[1].replace(" ", "-")] = f"{match[2]} {match[3]}"
        elif name == "file:/proc/self/cgroup":
            for row in value.splitlines():
                _, controllers, path = row.split(":", 2)
                facts[f"cgroup:{controllers or 'v2'}"] = path
        elif name in ("file:/proc/keys", "file:/proc/timer_list"):
            facts[name] = "text" if value and not value.endswith("denied") else value
        elif name.startswith("ns:"):
            kind = name[3:]
            owner = {machine.host[kind]: "the host's", machine.joined[kind]: "the holder's"}
            facts[name] = owner.get(value, "new")
        elif name.startswith("fd:"):
            facts[name] = re.sub(r":\[\d+\]", "", value)
        elif name.startswith("list:") and not value.endswith("denied"):
            # Each entry is a fact of its own.
            continue
        elif name != "end":
            facts[name] = " ".join(value.split()) if name.startswith("file:/proc/self/") else value
    return facts


def mounts(text):
    facts, seen = {}, {}
    for line in text.splitlines():
        left, right = line.split(" - ")
        _, _, _, root, at, options, *optional = left.split(" ")
        kind, source, super_options = right.split(" ")
        seen[at] = seen.get(at, 0) + 1
        name = f"mount:{at}" + (f"#{seen[at]}" if seen[at] > 1 else "")
        propagation = ",".join(word.split(":")[0] for word in optional)
        # A bind mount shows the file system of the host, which the runtime does not choose.
        facts[name] = f"{root} {options} {propagation or 'private'} {kind} {source} {','.join(sorted(super_options.split(',')))}"
    return facts


def places(pid):
    """Returns the cgroups of a process, by their controllers."""
    paths = dict(line.split(":", 2)[1:] for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines())
    return {
        controllers: top / paths["" if controllers == "v2" else controllers].lstrip("/")
        for controllers, top, _ in hierarchies()
    }


def of_host(places, machine):
    """Returns what the host knows of a container that lives: its cgroups and their limits."""
    facts = {}
    for controllers, path in places.items():
        facts[f"place:{controllers}"] = machine.anonymous(str(path))
        for file in LIMIT_FILES:
            try:
                lines = sorted((path / file).read_text().splitlines())
            except OSError:
                continue
            value = f"{len(lines)} processes" if file == "cgroup.procs" else ", ".join(lines)
            facts[f"control:{controllers}:{file}"] = value
    return facts
