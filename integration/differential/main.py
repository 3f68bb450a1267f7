#!/usr/bin/env python3
"""Runs random configurations under bulkhead and its peers, and compares what the containers see.

    integration/differential/main.py [--seed N] [--count N] [--only N] [-v]

A configuration sets some properties that all peers claim to support to random values (generate.py).
A static probe (probe.c) prints what the kernel tells it: ids, capabilities, mounts, limits, devices,
namespaces, system calls. It is run by exec, too, and the limits of its cgroups are read on the host. Each difference from
bulkhead must be explained in `expected`, whose format its first lines describe. The others are printed
by property, with the numbers of the configurations, and make the exit status 1.

The peers are Debian's runc and crun, and libcontainer if integration/peer has been built. They run
in a mount namespace of their own, with a /run and a /dev of their own. Needs root, a C compiler,
runc and crun.

    --seed N    the seed (default 1): the same seed gives the same configurations
    --count N   how many configurations (default 300)
    --only N    only the configuration with this number, which is printed
    -v          print the explained differences too

    BULKHEAD_BIN   the binary under comparison (default: built by hack/build.sh)
    PEER_BIN       the libcontainer peer (default: built by integration/peer/build.sh)
"""

import argparse
import fnmatch
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import facts
import generate

HERE = Path(__file__).resolve().parent
TOP = HERE.parent.parent
PATIENCE = 30


class Machine:
    """The surroundings of all runs: directories, a process whose namespaces are joined, the host."""

    def __init__(self, work):
        self.work = Path(work)
        self.id = f"bulkhead-differential-{os.getpid()}"
        self.rootfs = str(self.work / "bundle/rootfs")
        self.source = str(self.work / "bundle/source")
        self.oom_score = int(Path("/proc/self/oom_score_adj").read_text())
        cpus = sorted(os.sched_getaffinity(0))
        self.cpus = [str(cpus[0]), f"{cpus[0]}-{cpus[-1]}"]
        subprocess.run(
            ["gcc", "-O2", "-static", "-o", self.work / "probe", HERE / "probe.c"], check=True
        )
        unshare = ["unshare", "--net", "--ipc", "sleep", "infinity"]
        self.sleeper = subprocess.Popen(unshare)
        self.holder = self.sleeper.pid
        self.host = facts.namespaces("self")
        while facts.namespaces(self.holder)["ipc"] == self.host["ipc"]:
            pass
        self.joined = facts.namespaces(self.holder)

    def anonymous(self, text):
        text = text.replace(self.id, "ID")
        return re.sub(rf"[^\s,:]*/{re.escape(self.work.name)}/bundle", "BUNDLE", text)

    def fill(self, bundle, config):
        """Makes the bundle anew: a runtime may leave directories in its root file system."""
        shutil.rmtree(bundle, ignore_errors=True)
        root = bundle / "rootfs"
        for name in "bin dev proc sys tmp data secret scratch bound other srv root".split():
            (root / name).mkdir(parents=True)
        (root / "tmp").chmod(0o1777)
        for program in ("probe", "bin/probe"):
            shutil.copy(self.work / "probe", root / program)
        for file in ("data/file", "secret/file", "secret-file", "other/file"):
            (root / file).write_text(f"{file} of the image\n")
        (bundle / "source/sub").mkdir(parents=True)
        for file in ("source/file", "source/sub/file"):
            (bundle / file).write_text(f"{file}\n")
        (bundle / "config.json").write_text(json.dumps(config, indent=1))


class Runtime:
    def __init__(self, name, words, machine):
        self.name, self.words, self.machine = name, words, machine
        self.state = machine.work / f"state-{name}"

    def command(self, *words):
        return [*self.words, "--root", self.state, *words]

    def call(self, *words):
        return subprocess.run(self.command(*words), capture_output=True, text=True, timeout=PATIENCE)

    def facts(self, config):
        """Runs a container, and returns its facts; the end alone if it does not run."""
        machine, bundle = self.machine, self.machine.work / "bundle"
        machine.fill(bundle, config)
        pipe = subprocess.PIPE
        words = self.command("run", "--bundle", bundle, machine.id)
        child = subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=pipe, text=True, cwd=bundle)
        lines, places = [], None
        try:
            for line in child.stdout:
                lines.append(line)
                if line.startswith("end\t"):
                    break
            found = facts.of_probe("".join(lines), machine)
            if lines and lines[-1].startswith("end\t"):
                places = facts.places(self.pid())
                found.update(facts.of_host(places, machine))
                found.update(self.facts_of_exec(config["process"]))
            _, errors = child.communicate(timeout=PATIENCE)
        finally:
            child.kill()
            child.wait()
            left = self.left(places)
            if "state" in left:
                self.call("delete", "--force", machine.id)
            for path in facts.cgroups_below(machine.id):
                path.rmdir()
        if child.returncode != 7:
            # The last line is the error; those before it are warnings.
            why = machine.anonymous((errors.strip().split("\n") or [""])[-1])
            why = re.sub(r'time="[^"]*" level=error msg=|/proc/(self|thread-self|\d+)/fd/\d+', "", why)
            return {"exit": f"{'ended' if lines else 'refused'}: {why}"}
        found["exit"] = "ran"
        found["left"] = " ".join(left)
        return found

    def facts_of_exec(self, process):
        """Returns what a process of `exec` with the same properties is told, as facts "exec:NAME"."""
        # The libcontainer peer has no exec.
        if self.name == "libcontainer":
            return {}
        file = self.machine.work / "process.json"
        file.write_text(json.dumps(process))
        words = self.command("exec", "--process", file, self.machine.id)
        ran = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE)
        found = {f"exec:{name}": of for name, of in facts.of_probe(ran.stdout, self.machine).items()}
        if ran.returncode != 7:
            found["exec:exit"] = f"{ran.returncode}: {self.machine.anonymous(ran.stderr.strip())}"
        return found

    def pid(self):
        """The process of the container. A peer may write its state after the program has begun."""
        end = time.monotonic() + PATIENCE
        while True:
            ran = self.call("state", self.machine.id)
            if ran.returncode == 0 and ran.stdout:
                return json.loads(ran.stdout)["pid"]
            if time.monotonic() > end:
                sys.exit(f"differential: error: {self.name} has no state: {ran.stderr}")
            time.sleep(0.02)

    def left(self, places):
        """What is left of the container: its state, and its cgroups. Those above are not its own."""
        machine = self.machine
        dirs = places.values() if places else facts.cgroups_below(machine.id)
        found = [str(path) for path in dirs if machine.id in str(path) and path.is_dir()]
        if (self.state / machine.id).exists():
            found.append("state")
        return [machine.anonymous(path) for path in found]


def runtimes(machine):
    bulkhead = os.environ.get("BULKHEAD_BIN")
    if not bulkhead:
        built = subprocess.run([TOP / "hack/build.sh"], check=True, stdout=subprocess.PIPE, text=True)
        bulkhead = built.stdout.splitlines()[-1]
    # Debian 12's crun refuses hybrid cgroups: the v2 mount is hidden from it.
    hide = []
    if Path("/sys/fs/cgroup/unified/cgroup.procs").exists():
        script = 'umount --lazy /sys/fs/cgroup/unified && exec "$@"'
        hide = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh"]
    crun = [*hide, shutil.which("crun")]
    # On cgroup v2 it needs CAP_SYS_RESOURCE, for its BPF program.
    capabilities = int(re.search(r"CapEff:\t(\w+)", Path("/proc/self/status").read_text())[1], 16)
    if Path("/sys/fs/cgroup/cgroup.procs").exists() and not capabilities >> 24 & 1:
        crun.append("--cgroup-manager=disabled")
    programs = {"bulkhead": [bulkhead], "runc": [shutil.which("runc")], "crun": crun}
    peer = os.environ.get("PEER_BIN") or next(TOP.glob("integration/peer/target/*/release/peer"), None)
    if peer:
        programs["libcontainer"] = [peer]
    else:
        print("integration/peer has not been built: comparing with runc and crun only", file=sys.stderr)
    return [Runtime(name, words, machine) for name, words in programs.items()]


def expectations():
    rows = []
    for line in (HERE / "expected").read_text().splitlines():
        if line and not line.startswith("#"):
            rows.append(line.split(None, 3))
    return rows


def explained(rows, properties, fact, peer, used):
    for index, (of, pattern, who, _) in enumerate(rows):
        # What is explained for the first process is so for one of exec.
        names = (fact, fact.removeprefix("exec:"))
        if who in (peer, "*") and any(fnmatch.fnmatchcase(name, pattern) for name in names):
            if any(fnmatch.fnmatchcase(name, of) for name in [*properties, ""]):
                used.add(index)
                return True
    return False


def private():
    """Comes back in a mount namespace with a /run and a /dev that the host does not see."""
    if os.environ.get("BULKHEAD_DIFFERENTIAL") == "inside":
        return
    script = """
        mount -t tmpfs run /run
        mkdir /run/dev && mount -t tmpfs -o mode=755 dev /run/dev
        for node in null zero full random urandom tty; do cp -a /dev/$node /run/dev/; done
        mkdir /run/dev/pts /run/dev/shm && mount --rbind /dev/pts /run/dev/pts
        ln -s /proc/self/fd /run/dev/fd
        mount --move /run/dev /dev
        exec "$@"
    """
    words = ["unshare", "--mount", "--propagation", "private", "sh", "-ec", script, "sh"]
    os.environ["BULKHEAD_DIFFERENTIAL"] = "inside"
    os.execvp(words[0], [*words, sys.executable, *sys.argv])


def report(differences, names_of):
    """Prints the differences by the properties that all their configurations have."""
    groups = {}
    for (fact, peer), values in differences.items():
        numbers = {number for each in values.values() for number in each}
        common = set.intersection(*(set(names_of[number]) for number in numbers))
        groups.setdefault(" or ".join(sorted(common)) or "any", []).append((fact, peer, values))
    for properties, rows in sorted(groups.items()):
        print(f"\n{properties}")
        for fact, peer, values in sorted(rows, key=lambda row: row[:2]):
            for (ours, theirs), numbers in sorted(values.items()):
                few = ", ".join(map(str, numbers[:4])) + (", ..." if len(numbers) > 4 else "")
                print(f"  {fact} (configuration {few})")
                print(f"    {'bulkhead':13} {ours}\n    {peer:13} {theirs}")


def compare(mine, theirs):
    """Yields the facts that differ, with both values. Those of a container that did not run are
    not missing: its end is the only one."""
    both_ran = mine["exit"] == theirs["exit"] == "ran"
    known = set(mine) | set(theirs)
    if "exec:exit" in known or not any(name.startswith("exec:") for name in theirs):
        known = {name for name in known if not name.startswith("exec:") or name == "exec:exit"}
    for fact in sorted(known) if both_ran else ["exit"]:
        values = mine.get(fact, "-"), theirs.get(fact, "-")
        if values[0] != values[1] and not all(value.startswith("refused") for value in values):
            yield fact, values


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, add_help=True
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--only", type=int)
    parser.add_argument("-v", "--verbose", action="store_true")
    args = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("differential: error: must run as root")
    private()
    os.umask(0o022)
    rows, used = expectations(), set()
    found, known, names_of, refused = {}, {}, {}, []
    numbers = range(1, args.count + 1) if args.only is None else [args.only]
    with tempfile.TemporaryDirectory(prefix="bulkhead-differential-") as work:
        os.chmod(work, 0o755)
        machine = Machine(work)
        try:
            ours, *peers = runtimes(machine)
            for number in numbers:
                properties, claims, config = generate.generate(f"{args.seed}/{number}", machine)
                names_of[number] = properties
                if args.only is not None:
                    print(json.dumps(config, indent=1))
                mine = ours.facts(config)
                if mine["exit"] != "ran":
                    refused.append(f"{number}: {mine['exit']}")
                for peer in peers:
                    if peer.name not in claims:
                        continue
                    for fact, values in compare(mine, peer.facts(config)):
                        into = known if explained(rows, properties, fact, peer.name, used) else found
                        into.setdefault((fact, peer.name), {}).setdefault(values, []).append(number)
                print(f"\r{number}", end="", file=sys.stderr, flush=True)
            print(file=sys.stderr)
        finally:
            machine.sleeper.kill()
            machine.sleeper.wait()
    if args.verbose:
        print("Refused by bulkhead:", *refused, sep="\n  ")
        print("\nExplained:")
        report(known, names_of)
        print("\nUnexplained:")
    report(found, names_of)
    print(
        f"\n{len(names_of)} configurations (seed {args.seed}) under bulkhead, {', '.join(peer.name for peer in peers)}: "
        f"{len(refused)} refused by bulkhead, {len(known)} explained differences, {len(found)} unexplained"
    )
    for index, row in enumerate(rows):
        if index not in used and args.only is None and args.count >= 300:
            print(f"expected: not needed: {' '.join(row[:3])}", file=sys.stderr)
    sys.exit(1 if found else 0)


main()
