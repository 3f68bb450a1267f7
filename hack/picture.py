#!/usr/bin/env python3
"""Draws what hack/demo.sh prints, as a terminal: docs/demo-light.svg and docs/demo-dark.svg.

    hack/picture.py                 run the demonstration on a pseudo terminal, and draw its output
    hack/picture.py --from FILE     draw an output that was recorded there (with its escape sequences)
    hack/picture.py --check FILE    fail if the pictures do not show this output of the demonstration

The picture is the whole output, on a terminal of 116 columns, below the command; nothing is cut or
changed. --check compares the words after replacing what differs between two runs or two machines
(VARIES, below); it takes an output with or without colours, at least 110 columns wide.
"""

import argparse
import fcntl
import os
import pty
import re
import struct
import sys
import termios
import xml.etree.ElementTree as xml
from html import escape
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
COMMAND = "hack/demo.sh"
COLUMNS = 116
# Lengths in the units of the picture, which is 900 wide.
FONT, ADVANCE, LINE = 12.6, 12.6 * 0.602, 17
MARGIN, BAR = 14, 34

THEMES = {
    "light": {"back": "#ffffff", "bar": "#f6f8fa", "edge": "#d0d7de", "text": "#1f2328", "dim": "#59636e",
              "green": "#1a7f37", "red": "#cf222e", "bold": "#0550ae"},
    "dark": {"back": "#0d1117", "bar": "#161b22", "edge": "#30363d", "text": "#e6edf3", "dim": "#9198a1",
             "green": "#3fb950", "red": "#f85149", "bold": "#79c0ff"},
}
CODES = {"1": "bold", "2": "dim", "31": "red", "32": "green", "0": "", "": ""}
ESCAPE = re.compile(r"\x1b\[([\d;]*)([A-Za-z])|\x1b\(B")

VARIES = (
    (r"version \S+, Linux \S+, cgroups \w+", "VERSIONS"),
    (r"\[\d+\]", "[NAMESPACE]"),
    (r"\bpid [1-9]\d+\b", "pid PID"),
    (r"(a host name of its own +plain +).*", r"\1HOST"),
    (r"(mountinfo: /) [\w,]+", r"\1 ro,FLAGS"),
    (r"/proc/\w+ masked", "/proc/FILE masked"),
    (r"\d+ bytes and more", "BYTES"),
    (r"memory\.(limit_in_bytes|max):", "memory.LIMIT:"),
    (r"memory\.(oom_control|events)", "memory.EVENTS"),
    (r"oom_kill \d+", "oom_kill N"),
    (r"at most \d+ at once", "at most N at once"),
    (r"\d+ forks refused", "N forks refused"),
    (r"in \d+ ms", "in N ms"),
    (r" +", " "),
)


def record():
    """Returns what the demonstration writes to a terminal; ends the program if it fails."""
    child, terminal = pty.fork()
    if child == 0:
        os.environ.pop("NO_COLOR", None)
        os.environ["TERM"] = "xterm-256color"
        fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack("HHHH", 60, COLUMNS, 0, 0))
        os.execv(TOP / COMMAND, [COMMAND])
    output = b""
    try:
        while part := os.read(terminal, 65536):
            output += part
    except OSError:  # the end of a terminal
        pass
    if status := os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]):
        sys.exit(f"{output.decode()}\npicture.py: error: {COMMAND} fails with status {status}")
    return output.decode()


def spans(line):
    """Splits a line into pieces of one style: (style, text)."""
    style, at, found = "", 0, []
    for match in ESCAPE.finditer(line):
        found.append((style, line[at:match.start()]))
        if match[2] == "m":
            style = CODES[match[1].split(";")[-1]]
        at = match.end()
    found.append((style, line[at:]))
    return [(style, text) for style, text in found if text]


def lines_of(output):
    """The lines, without those of a build that came before, and without the empty ones at the end."""
    lines = output.replace("\r\n", "\n").rstrip("\n").split("\n")
    first = next((index for index, line in enumerate(lines) if "demonstration, with" in line), None)
    if first is None:
        sys.exit(f"picture.py: error: this is not the output of {COMMAND}")
    return lines[first:]


def draw(lines, theme):
    rows = [[("dim", "$ "), ("", COMMAND)], *map(spans, lines)]
    width, height = 900, BAR + len(rows) * LINE + 2 * MARGIN - 4
    style = " ".join(f".{name} {{ fill: {theme[name]} }}" for name in ("dim", "green", "red", "bold"))
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'role="img" aria-labelledby="title">',
        f'<title id="title">A terminal with the output of {COMMAND}</title>',
        "<style>text { font: " + f"{FONT}px ui-monospace, SFMono-Regular, Menlo, 'DejaVu Sans Mono', Consolas, "
        f"'Liberation Mono', monospace; fill: {theme['text']}; white-space: pre }} {style} "
        ".bold, .green, .red { font-weight: 600 }</style>",
        f'<rect x=".5" y=".5" width="{width - 1}" height="{height - 1}" rx="8" fill="{theme["back"]}" '
        f'stroke="{theme["edge"]}"/>',
        f'<path d="M.5 {BAR}V8.5a8 8 0 0 1 8-8H{width - 8.5}a8 8 0 0 1 8 8V{BAR}z" fill="{theme["bar"]}" '
        f'stroke="{theme["edge"]}"/>',
        *(f'<circle cx="{20 + 18 * index}" cy="17" r="5.5" fill="{theme["edge"]}"/>' for index in range(3)),
    ]
    for index, row in enumerate(rows):
        text = "".join(
            f'<tspan class="{kind}">{escape(part, quote=False)}</tspan>' if kind else escape(part, quote=False)
            for kind, part in row)
        if text:
            y = BAR + MARGIN + index * LINE + 10
            parts.append(f'<text class="line" x="{MARGIN}" y="{y}" xml:space="preserve">{text}</text>')
    return "\n".join([*parts, "</svg>", ""])


def words(lines):
    """The lines as they are compared."""
    found = []
    for line in lines:
        for pattern, replacement in VARIES:
            line = re.sub(pattern, replacement, line)
        found.append(line.strip())
    return [line for line in found if line]


def pictures():
    return {name: TOP / f"docs/demo-{name}.svg" for name in THEMES}


def check(lines):
    """Returns the names of the pictures that show something else."""
    wanted = words(["".join(text for _, text in spans(line)) for line in lines])
    stale = []
    for path in pictures().values():
        shown = ["".join(element.itertext()) for element in xml.parse(path).iter() if element.get("class") == "line"]
        for old, new in zip(words(shown[1:]) + [None] * len(wanted), wanted + [None] * len(shown)):
            if old != new:
                print(f"picture.py: {path.name} shows:  {old}\npicture.py: the program prints: {new}", file=sys.stderr)
                stale.append(path.name)
                break
    return stale


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--from", metavar="FILE", dest="recorded")
    parser.add_argument("--check", metavar="FILE")
    arguments = parser.parse_args()
    if arguments.check:
        if stale := check(lines_of(Path(arguments.check).read_text())):
            sys.exit(f"picture.py: error: stale: {', '.join(stale)}: run hack/picture.py")
        return
    output = Path(arguments.recorded).read_text() if arguments.recorded else record()
    lines = lines_of(output)
    for line in lines:
        length = sum(len(text) for _, text in spans(line))
        if length > COLUMNS:
            sys.exit(f"picture.py: error: a line has {length} characters, and the terminal {COLUMNS} columns")
    for name, path in pictures().items():
        path.write_text(draw(lines, THEMES[name]))


if __name__ == "__main__":
    main()
