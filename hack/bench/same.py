"""Checks that the floor creates the same container as a runtime, by what the kernel reports inside.

    same.py BINARY

A ratio to the floor is meaningful only if both do the same work.
"""

import ctypes
import os
import re
import struct
import subprocess
import sys

from bench import Bench
from workspace import LIBC
from programs import CGROUPS, Floor, Program

# Of what differs between two runs, or between two containers that are equal, nothing is compared:
# numbers of mounts and of devices, times, and the namespaces' own numbers.
LOOK = r"""
cd /proc/self
while read -r number parent device root where flags rest; do
    echo "mount $where $root $flags ${rest#*- }"
done <mountinfo
while read -r key values; do
    case $key in Uid:|Gid:|Groups:|Cap*|NoNewPrivs:|Seccomp*|NSpid:|NSsid:) echo "status $key $values" ;; esac
done <status
while read -r line; do echo "cgroup $line"; done <cgroup
while read -r line; do case $line in "Max open"*) echo "limit $line" ;; esac; done <limits
for space in ns/*; do echo "namespace $(ls -l $space | sed 's/.*ns.//')"; done
ls -l /dev | sed 's/ [A-Z][a-z][a-z] .*[0-9][0-9]:[0-9][0-9] / /; s/^/dev /'
env | grep -v PWD= | sort | sed 's/^/env /'
echo "umask $(umask)"; echo "name $(cat /proc/sys/kernel/hostname)"; echo "map $(cat uid_map)"
echo "oom $(cat oom_score_adj)"; echo "loopback $(ifconfig lo | grep -o UP)"
for path in /proc/kcore /proc/keys /proc/timer_list /sys/firmware /proc/acpi; do
    echo "masked $path $(ls $path 2>/dev/null | wc -l) $(cat $path 2>/dev/null | wc -c)"
done
for path in /proc/sys/kernel/domainname /new /sys/new /sys/fs/cgroup/new; do
    (echo x >$path) 2>/dev/null && echo "writable $path"
done
echo "directory $OLDPWD"
"""


def normal(line, host):
    """A line in the form in which equal containers have equal lines."""
    if line.startswith("mount"):
        _, where, root, flags, kind, *_ = line.split()
        if root == "/null":
            # Whether the null device of the host or of the container hides a file is the same.
            return f"mount {where} the null device"
        if kind == "devtmpfs":
            # In a user namespace; how closely a device is mounted is a matter of taste.
            return f"mount {where} the device of the host"
        root = "ROOTFS" if where == "/" else root
        return f"mount {where} {root} {flags} {kind}"
    if line.startswith("namespace"):
        # Which it is does not matter, but whether it is the host's.
        name, number = re.search(r"(\w+) -> \w+:\[(\d+)\]", line).groups()
        return f"namespace {name} {'of the host' if number == host.get(name) else 'its own'}"
    if line.startswith("cgroup") and not line.startswith("cgroup 0::"):
        return "cgroup of v1"
    if line.startswith(("status NSpid", "status NSsid")):
        return " ".join(line.split()[:2]) + f" in {len(line.split()) - 2} namespace(s)"
    return line


def inside(command, bench):
    out = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False,
                         **bench.workspace.inherited())
    if out.returncode:
        raise SystemExit(f"same: {' '.join(command)}: {out.stderr}")
    host = {name: re.search(r"\d+", os.readlink(f"/proc/self/ns/{name}"))[0] for name in os.listdir("/proc/self/ns")}
    return {normal(line, host) for line in out.stdout.strip().split("\n")}


def device_programs(path):
    """How many device programs a cgroup has."""
    handle = os.open(path, os.O_RDONLY)
    try:
        ids = (ctypes.c_uint32 * 8)()
        attr = ctypes.create_string_buffer(struct.pack("IIIIQII", handle, 6, 0, 0, ctypes.addressof(ids), 8, 0), 128)
        if LIBC.syscall(321, 16, attr, 128):
            raise OSError(ctypes.get_errno(), "bpf")
        return struct.unpack_from("I", attr, 24)[0]
    finally:
        os.close(handle)


def main():
    class Options:
        quick, rounds = True, None

    bench = Bench(Options)
    workspace = bench.workspace
    try:
        bench.add(Program, "subject", sys.argv[1])
        bench.add(Floor, "floor", workspace.tool("floor"))
        bench.try_all()
        workspace.save_filter()
        subject, floor = bench.programs
        with open(os.path.join(workspace.rootfs, "look"), "w", encoding="utf-8") as file:
            file.write(LOOK)
        for applet in ("sed", "sort", "grep", "wc"):
            os.symlink("busybox", os.path.join(workspace.rootfs, "bin", applet))
        failed = 0
        for name in ("plain", "seccomp", "userns"):
            with open(os.path.join(workspace.bundle(name), "config.json"), encoding="utf-8") as file:
                text = file.read()
            with open(os.path.join(workspace.bundle(name), "config.json"), "w", encoding="utf-8") as file:
                file.write(text.replace('"args": [\n   "true"', '"args": [\n   "sh", "/look"'))
            ours = inside(subject.run(name, bench.name(subject)), bench)
            theirs = inside([*floor.run(name, bench.name(floor))[:-1], "sh", "/look"], bench)
            failed += compare(f"run, {name}", ours, theirs)
        bench.population([subject, floor], 1)
        name = f"{workspace.tag}-subject-1"
        failed += compare("exec", inside([*subject.exec(name)[:-1], "sh", "/look"], bench),
                          inside([*floor.exec(name)[:-1], "sh", "/look"], bench))
        failed += compare_devices(bench, floor, name)
        bench.population([], 0)
    finally:
        bench.close()
    sys.exit(1 if failed else 0)


def compare_devices(bench, floor, name):
    with open(f"/proc/{bench.workspace.subject.pid(name)}/cgroup", encoding="utf-8") as file:
        path = next(line.strip()[3:] for line in file if line.startswith("0::"))
    own = bench.name(floor)
    child = subprocess.Popen([*floor.run("plain", own)[:-1], "sleep", "1"])
    try:
        for _ in range(50):
            try:
                theirs = device_programs(f"{CGROUPS}/{own}")
            except FileNotFoundError:
                theirs = 0
            if theirs:
                break
            subprocess.run(["sleep", "0.01"], check=True)
    finally:
        child.wait(timeout=30)
    return compare("device programs", {str(device_programs(CGROUPS + path))}, {str(theirs)})


def compare(what, ours, theirs):
    for line in sorted(ours - theirs):
        print(f"{what}: only under the runtime: {line}")
    for line in sorted(theirs - ours):
        print(f"{what}: only under the floor: {line}")
    if ours == theirs:
        print(f"{what}: the same ({len(ours)} facts)")
    return ours != theirs


if __name__ == "__main__":
    main()
