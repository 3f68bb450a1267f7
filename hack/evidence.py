#!/usr/bin/env python3
"""Writes docs/security-evidence.md: known attacks on container runtimes, and the tests that prove each fails.

    hack/evidence.py            writes the page
    hack/evidence.py --check    fails if the page differs from what the tests say

The attacks are in tests/evidence/attacks.txt, which describes its format. A test names the attacks that it
makes, and the commands that it makes them on, in a comment above its #[test], which may go on for several
lines:

    // Evidence: CVE-2019-5736 (run); fails without the read-only mount of the executable

The last part is how the test was seen to fail: what was taken out of the runtime. It is an error if an
attack has no test, if a test names an attack that does not exist, and if what follows is not a test.
"""

import re
import sys
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
PAGE = TOP / "docs/security-evidence.md"
ATTACKS = TOP / "tests/evidence/attacks.txt"
TAG = re.compile(r"\s*// Evidence: (.*)")
WHOLE = re.compile(r"([\w, -]+) \(([\w, ]+)\)(?:; fails without (.+))?$")

HEADER = """\
# Evidence against known attacks

<!-- Written by hack/evidence.py from the tests. Do not edit. -->

{total} attacks: {advisories} advisories, and {others} that have no number. Each
is repeated by a test against the real program, on the commands in brackets. The tests of paths hold a directory of the host against what it was before, down to inodes and modes,
and the host's mount table. A cross marks the {seen} tests that were seen to fail on a build without the defence; the
[last table](#builds-without-a-defence) names what it lacked. A dash: no single project.

`cargo test --test e2e -- hostile_` runs most of them in two minutes; the tests of paths, procfs, files and handles run a
second time without openat2(2). [SECURITY.md](../SECURITY.md) describes the threat model. Beyond single attacks,
`hack/crash-sweep` kills the runtime before and after each system call that changes something, and lets each call fail, and compares what the kernel
then reports with an undisturbed container.
"""


def attacks(errors):
    """Returns the attacks by name, and the headings and attacks in their order."""
    known, page = {}, []
    for number, line in enumerate(ATTACKS.read_text().splitlines(), 1):
        if not line or line.startswith("#"):
            continue
        if line.startswith("= "):
            page.append(line[2:])
            continue
        columns = re.split(r"  +", line, maxsplit=2)
        if len(columns) != 3 or columns[0] in known:
            errors.append(f"{ATTACKS.name}:{number}: not three columns, or listed twice")
            continue
        known[columns[0]] = (*columns[1:], [])
        page.append(columns[0])
    return known, page


def collect(known, errors):
    """Adds to each attack the tests that make it. Returns how tests were seen to fail."""
    seen = {}
    main = (TOP / "tests/main.rs").read_text()
    for module in re.findall(r"^mod (\w+);", main, re.MULTILINE):
        path = TOP / f"tests/{module}.rs"
        lines = path.read_text().splitlines() if path.exists() else []
        for at, line in enumerate(lines):
            match = TAG.match(line)
            if not match:
                continue
            place, text, after = f"tests/{module}.rs:{at + 1}", match[1], at + 1
            while re.match(r"\s*// (?!Proves|Refuses|Ignores)", lines[after]):
                text += " " + lines[after].lstrip()[3:]
                after += 1
            while lines[after].lstrip().startswith("//"):
                after += 1
            head = re.match(r"\s*#\[test\]\s*fn (\w+)\(\) \{", " ".join(lines[after:after + 2]))
            parts = WHOLE.match(text)
            if not head or not parts:
                errors.append(f"{place}: no test follows, or not `NAMES (commands)[; fails without ...]`")
                continue
            name = f"{module}::{head[1]}"
            if parts[3]:
                seen[name] = parts[3]
            for attack in parts[1].split(", "):
                if attack not in known:
                    errors.append(f"{place}: there is no attack {attack}")
                else:
                    known[attack][2].append((module, name, parts[2], bool(parts[3])))
    return seen


def render(known, page, seen):
    advisories = sum(name.startswith("CVE-") for name in known)
    counts = {"total": len(known), "advisories": advisories, "others": len(known) - advisories, "seen": len(seen)}
    lines = [HEADER.format(**counts)]
    for each in page:
        if each not in known:
            lines += ["", f"## {each}", "", "| attack | hit | what it does | tests |", "|---|---|---|---|"]
            continue
        hit, text, tests = known[each]
        links = [f"[`{name}`](../tests/{module}.rs){' ✗' if bites else ''} ({commands})"
                 for module, name, commands, bites in tests]
        lines.append(f"| {each} | {hit} | {text} | {', '.join(links)} |")
    lines += ["", "## Builds without a defence", "", "| test | failed on a build without |", "|---|---|"]
    lines += [f"| `{name}` | {what} |" for name, what in sorted(seen.items())]
    return "\n".join(lines).replace("\n\n\n", "\n\n") + "\n"


def main(words):
    if words not in ([], ["--check"]):
        sys.exit(__doc__)
    errors = []
    known, page = attacks(errors)
    seen = collect(known, errors)
    errors += [f"{name}: no test makes this attack" for name, (*_, tests) in known.items() if not tests]
    text = render(known, page, seen)
    if words and not errors and (not PAGE.exists() or PAGE.read_text() != text):
        errors.append(f"{PAGE.relative_to(TOP)} is stale: run hack/evidence.py")
    if errors:
        sys.exit("\n".join(f"evidence.py: {error}" for error in errors))
    if not words:
        PAGE.write_text(text)


main(sys.argv[1:])
