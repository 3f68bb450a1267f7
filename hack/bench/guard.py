"""Fails if a command exceeds its limits on costs that do not depend on the speed of the machine.

    guard.py BINARY [--record]

Compares with guard.limits, and prints what has become worse. --record writes that file. The limits
are those of a binary that is linked with musl; another one is not compared.
"""

import os
import subprocess
import sys
import threading
import time

from bench import MOST_CALLS, Bench, say
from workspace import HERE
from programs import Program

LIMITS = os.path.join(HERE, "guard.limits")
# What another compiler changes.
OF_COMPILER = ("instructions", "faults")
FIGURES = ("instructions", "faults", "calls", "clones", "switches")
# How much more than recorded is accepted: of each a share, and a number. The faults depend on how the
# page cache holds the binary.
MARGINS = {"instructions": (0.02, 0), "faults": (0.1, 8), "calls": (0.0, 4), "clones": (0.0, 0), "switches": (0.0, 3)}
# exec learns of the end of the program before or after the end of its output, as the scheduler has it:
# between 207 and 215 calls of the same binary.
MARGINS_OF = {("exec", "calls"): (0.0, 8)}
VERBS = ("run", "exec", "state", "list")
# Two countings at a time, each on a CPU of its own.
LANES = (("run",), ("exec", "state", "list"))
# Single stepping may take so many seconds. On a machine on which it takes longer, a command is left
# out, and that is said; BULKHEAD_GUARD_PATIENCE=600 has all counted anyway.
PATIENCE = float(os.environ.get("BULKHEAD_GUARD_PATIENCE", "45"))


# The note by which glibc's start-up code names the oldest kernel it runs on: musl has none.
GLIBC_NOTE = b"\x04\0\0\0\x10\0\0\0\x01\0\0\0GNU\0"

NOT_COMPARED = 126
COMPILER = "# Recorded with "

HEADER = """\
# The cost of the static release binary with musl, in a view of cgroup v2. hack/bench.sh --guard fails if a
# command exceeds these figures by more than a small margin (guard.py); --record writes this file.
# Lower a figure in the commit that reduces it; raise it only with the reason in the message.
"""


def command_of(bench, verb):
    # Not beside the container that the others ask for, as `list` would find one more.
    root = os.path.join(bench.workspace.tmp, "state", "run")
    return bench.command(verb, bench.workspace.subject, root=root)


def cheap(bench, verb):
    """The least of several runs: a busy machine makes more of each, never less."""
    taken = [bench.clock(command_of(bench, verb)) for _ in range(12)]
    counted = [bench.count("calls", command_of(bench, verb)) for _ in range(24)]
    if not all(counted):
        raise SystemExit(f"guard: {verb} failed under ptrace")
    return {"faults": min(one["faults"] for one in taken), "switches": min(one["voluntary"] for one in taken),
            "calls": min(one["calls"] for one in counted), "clones": min(one["clones"] for one in counted)}


def instructions(bench, known):
    """The instructions of each command, as far as the time lasts."""
    found, began = {}, time.monotonic()
    simple = bench.count("steps", [os.path.join(bench.workspace.rootfs, "bin/busybox"), "true"])["instructions"]
    pace = (time.monotonic() - began) / simple

    def lane(verbs, cpu):
        for verb in verbs:
            expected = known.get(verb, {}).get("instructions", 1_000_000) * pace
            if time.monotonic() - began + expected > PATIENCE:
                say(f"guard: the instructions of {verb} are not counted: that would take {expected:.0f} s here "
                    f"({pace * 1e6:.0f} us a step); BULKHEAD_GUARD_PATIENCE=600 has them counted")
                continue
            found[verb] = bench.count("steps", command_of(bench, verb), cpu=cpu).get("instructions")

    cpus = sorted(os.sched_getaffinity(0))
    threads = [threading.Thread(target=lane, args=(verbs, cpus[number % len(cpus)]))
               for number, verbs in enumerate(LANES)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    broken = [verb for verb, counted in found.items() if counted is None]
    if broken:
        raise SystemExit(f"guard: under single steps these fail: {' '.join(broken)}")
    return found


def measure(program, known):
    class Options:
        quick, rounds = True, None

    bench = Bench(Options)
    try:
        bench.add(Program, "subject", program)
        bench.try_all()
        bench.population([bench.workspace.subject], 1)
        found = {verb: cheap(bench, verb) for verb in VERBS}
        for verb, counted in instructions(bench, known).items():
            found[verb]["instructions"] = counted
        bench.population([], 0)
        return found
    finally:
        bench.close()


def compiler():
    try:
        return subprocess.run(["rustc", "--version"], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "an unknown compiler"


def read_limits():
    """The limits, and the compiler that they were recorded with."""
    if not os.path.exists(LIMITS):
        return {}, ""
    with open(LIMITS, encoding="utf-8") as file:
        text = file.read().splitlines()
    recorded = [line.removeprefix(COMPILER) for line in text if line.startswith(COMPILER)]
    lines = [line.split() for line in text if line.strip() and not line.startswith("#")]
    return {verb: {figure: int(value) for figure, value in zip(FIGURES, values) if value != "-"}
            for verb, *values in lines}, "".join(recorded)


def write_limits(found):
    with open(LIMITS, "w", encoding="utf-8") as file:
        file.write(f"{HEADER}{COMPILER}{compiler()}\n")
        file.write("# command" + "".join(f"{figure:>14}" for figure in FIGURES) + "\n")
        for verb in sorted(found):
            file.write(f"{verb:<9}" + "".join(f"{found[verb].get(figure, '-'):>14}" for figure in FIGURES) + "\n")


def compare(found, known, recorded):
    failed, skipped = 0, ()
    if compiler() != recorded:
        skipped = OF_COMPILER
        say(f"guard: NOT COMPARED: {' and '.join(skipped)}: recorded with {recorded}")
    for verb in sorted(found):
        for figure in FIGURES:
            have, limit = found[verb].get(figure), known.get(verb, {}).get(figure)
            if have is None or limit is None or figure in skipped:
                continue
            share, number = MARGINS_OF.get((verb, figure), MARGINS[figure])
            most = limit + int(limit * share) + number
            if (verb, figure) == ("run", "calls"):
                most = min(most, MOST_CALLS)
            verdict = "ok" if have <= most else "FAIL"
            failed += verdict == "FAIL"
            better = " (record the smaller figure)" if have < limit - int(limit * share) - number else ""
            print(f"{verdict:<5}{verb:<6}{figure:<13}{have:>10,} of at most {most:,}{better}")
    return failed


def is_comparable(program):
    """Whether a program is for x86-64 and without glibc."""
    with open(program, "rb") as file:
        content = file.read()
    return content[18:20] == b"\x3e\0" and GLIBC_NOTE not in content


def main():
    if not is_comparable(sys.argv[1]):
        say("guard: NOT COMPARED: the limits are those of a binary for x86-64 with musl")
        sys.exit(NOT_COMPARED)
    known, recorded = read_limits()
    found = measure(sys.argv[1], known)
    if "--record" in sys.argv:
        for verb, figures in found.items():
            # What could not be counted this time stays.
            found[verb] = {**{key: known[verb][key] for key in known.get(verb, {})}, **figures}
        write_limits(found)
        return
    if not known:
        raise SystemExit(f"guard: {LIMITS} is missing: --record writes it")
    failed = compare(found, known, recorded)
    if failed:
        raise SystemExit(f"guard: {failed} figure(s) became worse (FAIL above)")


if __name__ == "__main__":
    main()
