"""The measurements. Each function takes the bench and returns Samples or figures by program."""

import os
import re
import shutil

from measure import Failed, Samples, summary
from workspace import MS_BIND, mount, umount

MANY = 300


def interleaved(bench, programs, once, rounds=None, warmup=2):
    """Calls `once` for each program in turn, for so many rounds; those to warm up are not counted."""
    samples = Samples()
    programs = list(programs)
    for number in range(-warmup, rounds or bench.rounds):
        # Each round starts with another program, so that none always follows the same one.
        for step in range(len(programs)):
            program = programs[(number + step) % len(programs)]
            try:
                took = once(program, number)
            except Failed as failure:
                bench.broken(program, failure)
                programs = [one for one in programs if one is not program]
                break
            if number >= 0 and took:
                samples.add(program, took)
    return samples


def of_run(bundle, fresh=False):
    def row(bench):
        def once(program, number):
            name = bench.name(program)
            root = os.path.join(bench.workspace.tmp, "cold", f"{program.name}{number}") if fresh else None
            if root:
                os.makedirs(root)
            try:
                return bench.clock(program.run(bundle, name, root=root))
            finally:
                if root:
                    shutil.rmtree(root)

        able = [program for program in bench.able("run") if program.run(bundle, "x")]
        if fresh:
            able = [program for program in able if program.lives]
        return interleaved(bench, able, once)

    return row


def cycle(bench):
    """create, start, delete: each, and their sum; and the memory of the process that waits for start."""
    parts = {verb: Samples() for verb in ("create", "start", "delete", "waiting")}

    def once(program, number):
        name = bench.name(program)
        took = {}
        try:
            took["create"] = bench.clock(program.create("plain", name))
            waiting = peak_of(program.pid(name)) if number % 4 == 0 else 0
            took["start"] = bench.clock(program.start(name))
        finally:
            took["delete"] = bench.clock(program.delete(name))
        if number >= 0:
            for verb, figures in took.items():
                parts[verb].add(program, figures)
            if waiting:
                parts["waiting"].add(program, {"peak": waiting}, figures=("peak",))
        total = {key: sum(one[key] for one in took.values()) for key in took["create"]}
        total["peak"] = max(one["peak"] for one in took.values())
        return total

    total = interleaved(bench, bench.able("create"), once)
    return {"cycle": total, **parts}


def peak_of(pid):
    with open(f"/proc/{pid}/status", encoding="utf-8") as file:
        return int(re.search(r"VmHWM:\s+(\d+)", file.read())[1])


def of_verb(verb, alive=1):
    """A command that asks something of containers that live: one, or many in the same state directory."""

    def row(bench):
        def once(program, _number):
            return bench.clock(bench.command(verb, program))

        able = bench.population(bench.able(verb), alive)
        return interleaved(bench, able, once)

    return row


def calls(bench):
    """System calls of run, exec, state and list: the fewest of three."""
    found = {}
    for verb in ("run", "exec", "state", "list"):
        able = bench.able(verb)
        if verb != "run":
            able = bench.population(able, 1)
        for program in able:
            fewest = [bench.count("calls", bench.command(verb, program)).get("calls") for _ in range(3)]
            if None not in fewest:
                found.setdefault(f"calls-{verb}", {})[program.name] = {"calls": summary(fewest)}
    return found


def alive(bench):
    """One more run beside 0, 100 and 1,000 living containers of the same runtime."""
    found = {}
    numbers = (0, 100) if bench.quick else (0, 100, 1000)
    for program in [one for one in bench.able("create") if one.lives]:
        able = [program]
        if program is bench.workspace.subject:
            # How much of the increase is the kernel's.
            able += [one for one in bench.programs if one.name == "floor"]
        for number in numbers:
            if not bench.population([program], number):
                break
            taken = interleaved(bench, able, lambda one, _number: bench.clock(one.run("plain", bench.name(one))))
            for name, kept in taken.summary().items():
                found.setdefault(f"alive-{number}", {})[name] = kept
        bench.population([], 0)
    return found


def mounts(bench):
    """A run on a host with so many mounts more than it has."""
    found = {}
    source = os.path.join(bench.workspace.tmp, "mounts")
    os.makedirs(source)
    made = 0
    try:
        for number in (0, 10, 1000):
            while made < number:
                target = os.path.join(source, str(made))
                os.mkdir(target)
                mount(bench.workspace.rootfs, target, flags=MS_BIND)
                made += 1
            once = interleaved(bench, bench.able("run"),
                               lambda program, _number: bench.clock(program.run("plain", bench.name(program))))
            found[f"mounts-{number}"] = once
    finally:
        while made:
            made -= 1
            umount(os.path.join(source, str(made)))
    return found


def at_once(bench):
    """Containers a second, with so many at a time."""
    found = {}
    for number in (1, 2, 8, 64):
        count = max(number, 8 if bench.quick else 32)

        def once(program, _number, number=number, count=count):
            command = program.run("plain", f"{bench.name(program)}-@")
            return bench.clock(command, count=count, at_once=number)

        samples = interleaved(bench, bench.able("run"), once, rounds=max(3, bench.rounds // 20), warmup=1)
        found[f"parallel-{number}"] = {
            name: {"rate": summary([count * 1000 / wall for wall in kept["wall"]])}
            for name, kept in samples.taken.items()}
    return found


def limit(bench):
    """The smallest limit of memory with which a container starts, in KiB: by halving."""
    if not bench.has_memory():
        raise Failed("no controller for memory in this view of cgroups")
    found = {}
    for program in [one for one in bench.able("run") if one.lives]:
        low, high = 0, 64 * 1024
        if not starts(bench, program, high):
            bench.broken(program, f"does not start with a limit of memory of {high} KiB: {bench.clock.reason()}")
            continue
        while high - low > 32:
            middle = (low + high) // 2 // 16 * 16
            if starts(bench, program, middle):
                high = middle
            else:
                low = middle
        # The kernel charges in batches, and more or fewer of them with two CPUs: until ten in a row start.
        while not starts(bench, program, high, times=10):
            high += 16
        found[program.name] = {"limit": summary([high])}
    return {"limit": found}


def starts(bench, program, kib, times=3):
    config = dict(bench.workspace.plain)
    config["linux"] = dict(config["linux"], resources={**config["linux"]["resources"], "memory": {"limit": kib * 1024}})
    bench.workspace.write("limited", config)
    for _ in range(times):
        name = bench.name(program)
        try:
            bench.clock(program.run("limited", name), seconds=20)
        except Failed:
            try:
                bench.clock(program.delete(name))
            except Failed:
                pass
            return False
    return True


def size(bench):
    return {"size": {one.name: {"size": summary([os.path.getsize(one.path) / 1e6])} for one in bench.programs}}


# In this order they are measured.
ROWS = {
    "run": of_run("plain"),
    "seccomp": of_run("seccomp"),
    "cold": of_run("seccomp", fresh=True),
    "userns": of_run("userns"),
    "cycle": cycle,
    "exec": of_verb("exec"),
    "state": of_verb("state"),
    "list": of_verb("list"),
    "kill": of_verb("kill"),
    "calls": calls,
    "size": size,
    "list-300": of_verb("list", MANY),
    "kill-300": of_verb("kill", MANY),
    "parallel": at_once,
    "mounts": mounts,
    "alive": alive,
    "limit": limit,
}
