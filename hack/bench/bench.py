"""The benchmark: see docs/performance.md. Started by hack/bench.sh, in a mount namespace of its own."""

import argparse
import json
import os
import platform
import subprocess
import sys
import time

from measure import Clock, Failed, Samples
from workspace import Workspace
from programs import CGROUPS, Bubblewrap, Floor, Libcontainer, Program
from rows import ROWS


# Of `run` of the subject on cgroup v2, whatever else is measured.
MOST_CALLS = 400


class Bench:
    def __init__(self, options):
        self.quick = options.quick
        self.rounds = options.rounds or (10 if options.quick else 100)
        self.workspace = Workspace()
        self.programs = []
        self.failures = {}
        self.living = {}
        self.number = 0
        self.clock = Clock(self.workspace)

    # ---- programs --------------------------------------------------------------------------------

    def add(self, kind, name, path):
        program = kind(name, path, self.workspace)
        if not self.workspace.subject:
            self.workspace.subject = program
            self.workspace.make_bundles()
        self.programs.append(program)

    def try_all(self):
        for program in list(self.programs):
            why = program.probe(self.works)
            if why:
                self.broken(program, why)
                self.programs.remove(program)
                if program is self.workspace.subject:
                    raise SystemExit(f"bench: {program.name} does not run here: {why}")

    def works(self, program):
        try:
            self.clock(program.run("plain", self.name(program)))
        except Failed as failure:
            return str(failure)
        return None

    def broken(self, program, why):
        say(f"{program.name}: {why}")
        reasons = self.failures.setdefault(program.name, [])
        if str(why) not in reasons:
            reasons.append(str(why))

    def able(self, verb):
        return [program for program in self.programs if verb in program.verbs]

    def name(self, program):
        self.number += 1
        return f"{self.workspace.tag}-{program.name}-x{self.number}"

    def command(self, verb, program, root=None):
        """The command line of a verb: `run` for a new container, the others for the first one alive."""
        name = f"{self.workspace.tag}-{program.name}-1"
        if verb == "run":
            return program.run("plain", self.name(program), root=root)
        return program.list() if verb == "list" else getattr(program, verb)(name)

    # ---- what lives ------------------------------------------------------------------------------

    def population(self, programs, number):
        """Has `number` containers alive with each of the programs, and none with the others.

        Returns the programs with which that could be done.
        """
        able = list(programs)
        for program in self.programs:
            if not program.lives:
                continue
            now, wanted = self.living.get(program.name, 0), number if program in programs else 0
            # The floor enters a container of the subject.
            if any(one.name == "floor" for one in programs) and program is self.workspace.subject:
                wanted = number
            try:
                self.change(program, now, wanted)
                self.living[program.name] = wanted
            except Failed as failure:
                program.remove_all()
                self.living[program.name] = 0
                self.broken(program, failure)
                if program is self.workspace.subject:
                    raise
                able = [one for one in able if one is not program]
        return able

    def change(self, program, now, wanted):
        """From `now` containers to `wanted`; they are numbered from 1 on."""
        pattern = f"{self.workspace.tag}-{program.name}-"
        if now == 0 < wanted:
            self.clock(program.create("sleep", pattern + "@"), count=wanted, at_once=2, seconds=900)
            self.clock(program.start(pattern + "@"), count=wanted, at_once=2, seconds=900)
        elif wanted == 0 < now:
            self.clock(program.delete(pattern + "@"), count=now, at_once=4, seconds=900)
        for number in range(now + 1, wanted + 1) if now else ():
            self.clock(program.create("sleep", f"{pattern}{number}"))
            self.clock(program.start(f"{pattern}{number}"))
        for number in range(wanted + 1, now + 1) if wanted else ():
            self.clock(program.delete(f"{pattern}{number}"))

    # ---- other tools -----------------------------------------------------------------------------

    def count(self, what, command, cpu=None):
        """What count.c counts of a command, on a certain CPU if need be; nothing if it failed."""
        prefix = ["taskset", "--cpu-list", str(cpu)] if cpu is not None else []
        out = subprocess.run(
            [*prefix, self.workspace.tool("count"), what, *command], stdin=subprocess.DEVNULL, capture_output=True,
            text=True, timeout=600, check=False, **self.workspace.inherited())
        fields = out.stdout.split()
        return dict(zip(fields[::2], map(int, fields[1::2]))) if out.returncode == 0 else {}

    def has_memory(self):
        if os.path.exists(f"{CGROUPS}/cgroup.controllers"):
            with open(f"{CGROUPS}/cgroup.controllers", encoding="utf-8") as file:
                return "memory" in file.read().split()
        return os.path.isdir(f"{CGROUPS}/memory")

    # ---- all rows ---------------------------------------------------------------------------------

    def measure(self, chosen):
        rows = {}
        for name in chosen:
            started = time.monotonic()
            try:
                taken = ROWS[name](self)
            except Failed as failure:
                say(f"{name}: {failure}")
                continue
            taken = {name: taken} if isinstance(taken, Samples) else taken
            for key, value in taken.items():
                rows[key] = value.summary() if isinstance(value, Samples) else value
            say(f"{name}: {time.monotonic() - started:.0f} s")
        return rows

    def close(self):
        for program in self.programs:
            program.remove_all()
        # Of what failed, a cgroup may be left.
        hidden = f"{CGROUPS}/unified" if not os.path.exists(f"{CGROUPS}/unified/cgroup.controllers") else None
        for path, directories, _ in os.walk(CGROUPS, topdown=False):
            for name in directories if path != hidden else ():
                if name.startswith(self.workspace.tag):
                    remove_cgroup(os.path.join(path, name))
        self.workspace.close()


def remove_cgroup(path):
    try:
        os.rmdir(path)
    except OSError as error:
        say(f"{path} is left: {error.strerror}")


def say(text):
    print(f"bench: {text}", file=sys.stderr, flush=True)


def parse():
    parser = argparse.ArgumentParser(prog="hack/bench.sh", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few rounds, and no 1,000 containers")
    parser.add_argument("--rounds", type=int, help="how often each command is run (100; 10 with --quick)")
    parser.add_argument("--only", metavar="ROW,...", help="measure only these: " + " ".join(ROWS))
    parser.add_argument("--data", required=True, help="file of the results; rows that are not measured stay")
    parser.add_argument("--program", action="append", default=[], metavar="KIND:NAME=PATH", help="what to measure")
    return parser.parse_args()


KINDS = {"oci": Program, "libcontainer": Libcontainer, "floor": Floor, "bwrap": Bubblewrap}


def main():
    options = parse()
    chosen = options.only.split(",") if options.only else list(ROWS)
    unknown = [name for name in chosen if name not in ROWS]
    if unknown:
        raise SystemExit(f"bench: no such row: {' '.join(unknown)}; there are {' '.join(ROWS)}")
    bench = Bench(options)
    try:
        for word in options.program:
            kind, _, rest = word.partition(":")
            name, _, path = rest.partition("=")
            bench.add(KINDS[kind], name, path or bench.workspace.tool(name))
        bench.try_all()
        instructions = bench.workspace.save_filter()
        load = os.getloadavg()[0]
        view = "v2" if os.path.exists(f"{CGROUPS}/cgroup.controllers") else "v1"
        data = {"rows": {}, "programs": {}, "failures": {}}
        if os.path.exists(options.data):
            with open(options.data, encoding="utf-8") as file:
                data = json.load(file)
        rows = bench.measure(chosen)
        data["rows"].update(rows)
        data.setdefault("views", {}).update({key: view for key in rows})
        for program in bench.programs:
            data["programs"].setdefault(program.name, {"version": program.version(), "notes": program.notes})
        for name, reasons in bench.failures.items():
            known = data["failures"].setdefault(name, [])
            known += [reason for reason in reasons if reason not in known]
        data.setdefault("machine", {"kernel": platform.release(), "cpus": os.cpu_count(), "load": round(load, 1),
                                    "rounds": bench.rounds, "date": time.strftime("%Y-%m-%d"), "cgroup": view,
                                    "instructions of the filter": instructions})
        with open(options.data, "w", encoding="utf-8") as file:
            json.dump(data, file, indent=1)
            file.write("\n")
        fewest = rows.get("calls-run", {}).get(bench.workspace.subject.name, {}).get("calls", {}).get("min", 0)
        if fewest > MOST_CALLS:
            raise SystemExit(f"bench: run makes {fewest:.0f} system calls; at most {MOST_CALLS} are accepted")
    finally:
        bench.close()


if __name__ == "__main__":
    main()
