"""The code blocks of a document, and the markers before them."""

import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
DOCUMENTS = ["README.md", "CONTRIBUTING.md", "SECURITY.md", "ARCHITECTURE.md", "docs/*.md", "*/README.md"]
MARKER = re.compile(r"^<!-- test: (.*) -->$")
RUN = re.compile(r"run ([\w-]+)(?: from ([\w-]+))?(?: if ([\w ]+))?")


class Fault(Exception):
    """What is wrong with a document, in a line."""


@dataclass
class Block:
    path: str
    line: int  # of the first line of its content
    kind: str
    marker: str
    lines: list
    output: "Block" = None
    commands: list = field(default_factory=list)

    def place(self):
        return f"{self.path}:{self.line}"


def blocks(path):
    """Returns the blocks of a document; the output of a block is attached to it."""
    found, fence, before = [], None, ""
    for number, line in enumerate((TOP / path).read_text().splitlines(), 1):
        if fence is None and (match := re.match(r"^( *)(```+|~~~+)(\w*)$", line)):
            fence = match[2]
            marker = MARKER.match(before.strip())
            found.append(Block(path, number + 1, match[3], marker[1] if marker else "", []))
        elif fence is not None and line.strip() == fence:
            fence = None
        elif fence is not None:
            found[-1].lines.append(line)
        before = line
    kept = []
    for block in found:
        last = kept[-1] if kept else None
        if block.kind == "text" and not block.marker and last and last.marker.startswith("run") and not last.output:
            last.output = block
        else:
            kept.append(block)
    return kept


def complete(command):
    """Tells whether bash takes the command as a whole one."""
    result = subprocess.run(["bash", "-n", "-c", command], stderr=subprocess.PIPE, text=True)
    return result.returncode == 0 and not result.stderr and not command.endswith("\\")


def dialogue(block):
    """Splits a `console` block into pairs of a command and the lines that it prints."""
    pairs, open_command = [], False
    for line in block.lines:
        if open_command:
            pairs[-1][0] += "\n" + line
        elif line.startswith("$ "):
            pairs.append([line[2:], []])
        elif pairs:
            pairs[-1][1].append(line)
            continue
        else:
            raise Fault(f"{block.place()}: a console block begins with \"$ \"")
        open_command = not complete(pairs[-1][0])
    return pairs


def documents():
    return sorted({str(path.relative_to(TOP)) for name in DOCUMENTS for path in TOP.glob(name)})
