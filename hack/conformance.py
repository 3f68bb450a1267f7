#!/usr/bin/env python3
"""Writes docs/conformance.md: each property of the runtime specification, and the tests that prove it.

    hack/conformance.py            writes the page
    hack/conformance.py --check    fails if the page differs from what the tests say
    hack/conformance.py --names    prints the name of each property

The properties are in tests/conformance/properties.txt, which describes its format. A test names
the properties that it proves in a comment before its #[test], which may go on for several lines:

    // Proves: linux.resources.pids.limit, linux.seccomp.syscalls[].action={SCMP_ACT_LOG,
    // SCMP_ACT_ALLOW}

"Refuses:" and "Ignores:" are for the properties that are marked so. It is an error if a property
has no test, if a test names a property that does not exist, and if what follows the comment is not
a test that runs.
"""

import re
import sys
from itertools import product
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
PAGE = TOP / "docs/conformance.md"
PROPERTIES = TOP / "tests/conformance/properties.txt"
STATES = {"Proves": "", "Refuses": "refused", "Ignores": "ignored"}
TAG = re.compile(rf"\s*// ({'|'.join(STATES)}): (.*)")
MAY_SKIP = re.compile(r"\b(?:skip|need\w*)!")

HEADER = """\
# Conformance to the runtime specification

<!-- Written by hack/conformance.py from the tests. Do not edit. -->

Each property of the [runtime specification](https://github.com/opencontainers/runtime-spec) 1.3.0 for Linux, and
the tests that prove it. A test runs the real program and reads back from the kernel what the container has. With a
star: tests that a machine may be unable to run, for lack of a controller, a device or privileges; they report that
they were skipped. For `linux.intelRdt` a directory stands for the kernel's file system, which needs hardware.

A value follows its property after `=`, a rule of the specification after `:`. Of {total} properties and rules,
{proved} are proved, {refused} refused by name, and {ignored} for other platforms or no longer in the kernel.
[differences.md](differences.md) describes in what the runtimes differ.
"""


class Property:
    def __init__(self, name, text):
        self.name = name
        match = re.match(r"(refused|ignored): ", text)
        self.state = match[1] if match else ""
        self.text = text
        self.tests = []


def expand(name):
    """Returns the names that the braces stand for; empty braces are part of a name."""
    parts = re.split(r"\{([^{}]+)\}", name)
    choices = [part.split(",") if at % 2 else [part] for at, part in enumerate(parts)]
    return ["".join(choice) for choice in product(*choices)]


def properties(errors):
    """Returns the properties by name, and the page's headings and properties in their order."""
    known, page = {}, []
    for number, line in enumerate(PROPERTIES.read_text().splitlines(), 1):
        if not line or line.startswith("#"):
            continue
        if line.startswith("="):
            page.append(line)
            continue
        names, _, text = line.partition("  ")
        if not text:
            errors.append(f"{PROPERTIES.name}:{number}: no text")
        for name in expand(names):
            if name in known:
                errors.append(f"{PROPERTIES.name}:{number}: {name} is listed twice")
            known[name] = Property(name, text.strip())
            page.append(known[name])
    return known, page


def tags(path):
    """Yields the comments of a file: the line number, the kind, the list and the lines after it."""
    lines = path.read_text().splitlines()
    for number, line in enumerate(lines, 1):
        match = TAG.match(line)
        if not match:
            continue
        text, after = match[2], number
        while lines[after].lstrip().startswith("// ") and not TAG.match(lines[after]):
            text += " " + lines[after].lstrip()[3:]
            after += 1
        while TAG.match(lines[after]):
            after += 1
        # Commas outside of braces separate the names.
        names = [re.sub(r"\s", "", name) for name in re.split(r",(?![^{]*\})", text)]
        yield number, match[1], names, lines[after:]


def collect(known, errors):
    """Adds to each property the tests that name it."""
    main = (TOP / "tests/main.rs").read_text()
    for module in re.findall(r"^mod (\w+);", main, re.MULTILINE):
        path = TOP / f"tests/{module}.rs"
        if not path.exists():
            continue
        for number, kind, names, after in tags(path):
            place = f"tests/{module}.rs:{number}"
            head = re.match(r"\s*#\[test\]\n\s*fn (\w+)\(\) \{\n", "\n".join(after[:3]) + "\n")
            if not head:
                errors.append(f"{place}: no test follows that runs")
                continue
            body = after[: next(i for i, line in enumerate(after) if line == "}")]
            star = "\\*" if MAY_SKIP.search("\n".join(body)) else ""
            link = f"[`{module}::{head[1]}`](../tests/{module}.rs){star}"
            for name in (name for names in map(expand, names) for name in names):
                if name not in known:
                    errors.append(f"{place}: there is no property {name}")
                elif known[name].state != STATES[kind]:
                    state = known[name].state or "neither refused nor ignored"
                    errors.append(f"{place}: {kind} {name}, which {PROPERTIES.name} says is {state}")
                elif link not in known[name].tests:
                    known[name].tests.append(link)


def render(known, page):
    states = [each.state for each in known.values()]
    lines = [
        HEADER.format(
            total=len(states),
            proved=states.count(""),
            refused=states.count("refused"),
            ignored=states.count("ignored"),
        )
    ]
    for each in page:
        if isinstance(each, Property):
            lines.append(f"| `{each.name}` | {each.text} | {', '.join(each.tests)} |")
        elif each.startswith("== "):
            lines += ["", f"## {each[3:]}"]
        else:
            lines += ["", f"### {each[2:]}", "", "| property | what it must do | tests |", "|---|---|---|"]
    return "\n".join(lines).replace("\n\n\n", "\n\n") + "\n"


def main(words):
    if words not in ([], ["--check"], ["--names"]):
        sys.exit(__doc__)
    errors = []
    known, page = properties(errors)
    if words == ["--names"]:
        print("\n".join(known))
        return
    collect(known, errors)
    errors += [f"{name}: no test proves it" for name, each in known.items() if not each.tests]
    text = render(known, page)
    if words and not errors and (not PAGE.exists() or PAGE.read_text() != text):
        errors.append(f"{PAGE.relative_to(TOP)} is stale: run hack/conformance.py")
    if errors:
        sys.exit("\n".join(f"conformance.py: {error}" for error in errors))
    if not words:
        PAGE.write_text(text)


main(sys.argv[1:])
