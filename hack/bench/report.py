"""Makes the tables and the chart from the data of one run.

    report.py DATA DIR              writes DIR/performance.md, DIR/readme.md and DIR/performance.svg
    report.py --into DIR FILE...    puts the tables between the markers of the files
"""

import json
import os
import re
import sys

from chart import chart

# Key of the data, title, figure, format, whether the README shows it.
ROWS = (
    ("run", "`run` of `true`", "wall", "ms", True),
    ("seccomp", "`run` with the default seccomp profile", "wall", "ms", True),
    ("cold", "... with an empty state directory", "wall", "ms", False),
    ("userns", "`run` with a user namespace", "wall", "ms", False),
    ("cycle", "`create` + `start` + `delete`", "wall", "ms", True),
    ("create", "`create`", "wall", "ms", False),
    ("start", "`start`", "wall", "ms", False),
    ("delete", "`delete --force`", "wall", "ms", False),
    ("exec", "`exec` of `true`", "wall", "ms", True),
    ("state", "`state`", "wall", "ms", True),
    ("list", "`list` of one container", "wall", "ms", False),
    ("list-300", "`list` of 300", "wall", "ms", True),
    ("kill", "`kill`", "wall", "ms", False),
    ("kill-300", "`kill` beside 300", "wall", "ms", False),
    ("alive-0", "`run` beside no other container", "wall", "ms", False),
    ("alive-100", "`run` beside 100", "wall", "ms", False),
    ("alive-1000", "`run` beside 1,000", "wall", "ms", True),
    ("alive-1000/alive-0", "the same, divided by beside none", "wall", "x", False),
    ("mounts-0", "`run` with the mounts of the host", "wall", "ms", False),
    ("mounts-10", "`run` with 10 mounts more", "wall", "ms", False),
    ("mounts-1000", "`run` with 1,000 mounts more", "wall", "ms", False),
    ("parallel-1", "containers a second, one at a time", "rate", "/s", False),
    ("parallel-2", "containers a second, 2 at a time", "rate", "/s", False),
    ("parallel-8", "containers a second, 8 at a time", "rate", "/s", False),
    ("parallel-64", "containers a second, 64 at a time", "rate", "/s", True),
    ("run", "CPU time of `run`", "cpu", "ms", False),
    ("run", "page faults of `run`", "faults", "", False),
    ("run", "peak memory of `run`", "peak", "MB", True),
    ("waiting", "memory of the process that waits for `start`", "peak", "MB", False),
    ("limit", "smallest memory limit that starts", "limit", "MB", False),
    ("calls-run", "system calls of `run`", "calls", "", True),
    ("calls-exec", "system calls of `exec`", "calls", "", False),
    ("calls-state", "system calls of `state`", "calls", "", False),
    ("calls-list", "system calls of `list`", "calls", "", False),
    ("size", "size of the program", "size", "MB", False),
)


def value(data, key, figure, program, which=None):
    """The median; of system calls the fewest, as a busy machine only makes more."""
    which = which or ("min" if figure == "calls" else "median")
    if "/" in key:
        above, below = (value(data, part, figure, program, which) for part in key.split("/"))
        return above / below if above and below else None
    found = data["rows"].get(key, {}).get(program, {}).get(figure)
    if not found:
        return None
    return found[which] / 1024 if figure in ("peak", "limit") else found[which]


def text(number, unit):
    if number is None:
        return "-"
    if unit == "x":
        return f"{number:.2f}"
    if unit in ("", "/s"):
        return f"{number:,.0f}"
    return f"{number:.{1 if number >= 1.95 else 2}f} {unit}"


def ratio(ours, theirs):
    return "-" if not ours or not theirs else f"{ours / theirs:.2f}"


def names_of(data):
    """The subject first, the floor next."""
    return list(data["programs"])


def shown(data, only_readme):
    for key, title, figure, unit, readme in ROWS:
        if key.split("/")[0] in data["rows"] and (readme or not only_readme):
            yield key, title, figure, unit


def table(data, only_readme):
    """Medians; in the long table, the minimum beside each and the subject's ratio to the others."""
    names = names_of(data)
    ours = names[0]
    head = ["what", *names] + ([] if only_readme else [f"/ {name}" for name in names[1:]])
    lines = ["| " + " | ".join(head) + " |", "|---|" + "--:|" * (len(head) - 1)]
    for key, title, figure, unit in shown(data, only_readme):
        cells = [title]
        for name in names:
            median = text(value(data, key, figure, name), unit)
            least = text(value(data, key, figure, name, "min"), unit)
            timed = figure in ("wall", "cpu") and unit != "x"
            cells.append(median if only_readme or median == "-" or not timed else f"{median} ({least.split()[0]})")
        if not only_readme:
            have = value(data, key, figure, ours) if unit != "x" else None
            cells += [ratio(have, value(data, key, figure, name)) for name in names[1:]]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def conditions(data):
    machine = data["machine"]
    return (f"{machine['date']}, Linux {machine['kernel'].split('-')[0]}, {machine['cpus']} CPUs (load {machine['load']}), "
            f"cgroup {machine['cgroup']}, {machine['rounds']} interleaved runs of each command")


def notes(data):
    lines = []
    for name, program in data["programs"].items():
        remark = "".join(f"; {note}" for note in program["notes"])
        version = program["version"] if name == "floor" else re.sub(r"^\S+ (version )?", "", program["version"])
        lines.append(f"* {name}: {version}{remark}.")
    elsewhere = [title for key, title, *_ in shown(data, False)
                 if data["views"].get(key, data["machine"]["cgroup"]) != data["machine"]["cgroup"]]
    if elsewhere:
        lines.append(f"* Measured on cgroup v1, whose controllers the view of v2 lacks: {', '.join(elsewhere)}.")
    lines += [f"* {name} could not do every row: a dash." for name in data["failures"]]
    return "\n".join(lines)


def texts(data):
    long = f"Measured {conditions(data)}. Medians, with the minimum in parentheses; the right columns are bulkhead " \
           f"divided by the other.\n\n{table(data, False)}\n\n{notes(data)}\n"
    short = f"{table(data, True)}\n\nMedians; {conditions(data)}.\n"
    return long, short


def into(directory, files):
    """Replaces what is between `<!-- bench: NAME -->` and `<!-- bench: end -->`."""
    for path in files:
        with open(path, encoding="utf-8") as file:
            before = file.read()

        def fill(match):
            with open(os.path.join(directory, f"{match[2]}.md"), encoding="utf-8") as file:
                return f"{match[1]}\n{file.read()}{match[3]}"

        after = re.sub(r"(<!-- bench: (\w+) -->)\n.*?(<!-- bench: end -->)", fill, before, flags=re.DOTALL)
        if after != before:
            with open(path, "w", encoding="utf-8") as file:
                file.write(after)
        print(f"{path}: {'written' if after != before else 'unchanged'}", file=sys.stderr)


# What the subject should not exceed: row, figure, share, of which other. Of several crun, the best counts.
GOALS = (
    ("run", "wall", 1.3, "floor"), ("run", "wall", 0.7, "bubblewrap"), ("run", "wall", 0.35, "crun"),
    ("run", "wall", 0.15, "runc"), ("run", "wall", 0.35, "libcontainer"), ("seccomp", "wall", 1.3, "floor"),
    ("seccomp", "wall", 0.35, "crun"), ("seccomp", "wall", 0.15, "runc"), ("cold", "wall", 0.5, "runc"),
    ("cycle", "wall", 0.15, "crun"), ("exec", "wall", 0.35, "crun"), ("state", "wall", 0.12, "crun"),
    ("list", "wall", 0.12, "crun"), ("list-300", "wall", 0.5, "crun"), ("run", "peak", 0.8, "crun"),
    ("waiting", "peak", 0.8, "crun"), ("limit", "limit", 1.0, "crun"), ("alive-1000/alive-0", "wall", 1.1, None),
    ("parallel-64", "rate", 2.0, "crun"), ("size", "size", 3.0, None),
)


def goals(data):
    """A line for each goal, for those who work on the speed: by the medians, and by the minima."""
    ours = names_of(data)[0]
    for key, figure, share, other in GOALS:
        more = figure == "rate"

        def have(which, key=key, figure=figure, other=other, more=more):
            mine = value(data, key, figure, ours, which)
            rivals = [found for name in data["programs"] if other and name.startswith(other)
                      if (found := value(data, key, figure, name, which))]
            if not mine or other and not rivals:
                return None
            return mine / (max if more else min)(rivals) if rivals else mine

        median, least = have("median"), have("max" if more else "min")
        if median is None:
            continue
        met = median >= share if more else median <= share
        what = f"{key} {figure}" + (f" / {other}" if other else "")
        yield f"{'met ' if met else 'MISS'} {what:<32}{median:>7.2f} ({least:.2f}) {'>=' if more else '<='} {share}"


CHART = ("run", "seccomp", "cycle", "exec", "state", "list-300", "parallel-64")


def main():
    if sys.argv[1] == "--into":
        into(sys.argv[2], sys.argv[3:])
        return
    source, directory = sys.argv[1:]
    with open(source, encoding="utf-8") as file:
        data = json.load(file)
    long, short = texts(data)
    panels = [(title, unit, [(name, value(data, key, figure, name)) for name in names_of(data)])
              for key, title, figure, unit in shown(data, True) if key in CHART]
    for name, made in (("performance.md", long), ("readme.md", short), ("performance.svg", chart(panels))):
        with open(os.path.join(directory, name), "w", encoding="utf-8") as file:
            file.write(made)
    print(long)
    print("\n".join(goals(data)), file=sys.stderr)


if __name__ == "__main__":
    main()
