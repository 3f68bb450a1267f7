#!/usr/bin/env python3
"""Checks that every relative link and anchor in the Markdown files of the tree resolves.

    hack/check-links.py [FILE...]      default: all Markdown files that git tracks

Prints each broken link as FILE:LINE; exits with 1 if there are any. Links to other hosts are not
followed: the check needs no network.
"""

import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from urllib.parse import unquote

TOP = Path(__file__).resolve().parent.parent
FENCE = re.compile(r"^ {0,3}(```+|~~~+)")
CODE = re.compile(r"(`+)(?!`).*?(?<!`)\1(?!`)")
HEADING = re.compile(r"^ {0,3}#{1,6}\s+(.*?)\s*#*\s*$")
LINKS = (
    # A parenthesis pair may be part of the target.
    re.compile(r"\]\(\s*<?((?:[^\s()<>]|\([^\s()]*\))+)>?(?:\s+[\"'(][^)]*)?\)"),
    re.compile(r"^ {0,3}\[[^\]]+\]:\s+<?([^\s<>]+)"),
    re.compile(r"<(?:a|img|source)\b[^>]*?\s(?:href|src|srcset)=[\"']([^\"'\s]+)", re.IGNORECASE),
)
ID = re.compile(r"<[a-z][^>]*?\s(?:id|name)=[\"']([^\"']+)[\"']", re.IGNORECASE)
REFERENCE = re.compile(r"\[[^\]]+\]\[([^\]]+)\]")
DEFINITION = re.compile(r"^ {0,3}\[([^\]]+)\]:\s")
SCHEME = re.compile(r"^[a-z][a-z0-9+.-]*:|^//", re.IGNORECASE)


@cache
def lines(path):
    """Returns the lines outside of code blocks and comments, with their numbers."""
    found, fence, comment = [], None, False
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        match = FENCE.match(line)
        if fence:
            if match and match[1].startswith(fence) and not line.strip().strip(fence[0]):
                fence = None
        elif match:
            fence = match[1]
        elif comment or line.lstrip().startswith("<!--"):
            comment = "-->" not in line
        else:
            found.append((number, line))
    return found


@cache
def anchors(path):
    """Returns the anchors of a file as GitHub makes them: one for each heading, and the ids."""
    found, seen = set(), {}
    for _, line in lines(path):
        if heading := HEADING.match(line):
            text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)|<[^>]+>", r"\1", heading[1])
            slug = re.sub(r"[^\w\- ]", "", text.replace("`", "").lower()).replace(" ", "-")
            count = seen.get(slug, 0)
            seen[slug] = count + 1
            found.add(f"{slug}-{count}" if count else slug)
        found.update(ID.findall(line))
    return found


def fault(path, link):
    """Returns what is wrong with a link of the file, or None."""
    if SCHEME.match(link):
        return None
    name, _, anchor = unquote(link).partition("#")
    name = name.partition("?")[0]
    if name.startswith("/"):
        return "absolute path"
    target = (path.parent / name).resolve() if name else path
    if not target.is_relative_to(TOP):
        return "outside of the tree"
    if not target.exists():
        return "no such file"
    if anchor and target.suffix == ".md" and anchor not in anchors(target):
        return "no such heading"
    return None


def broken(path):
    """Yields line number, link and reason of each broken link of the file."""
    defined = {match[1].lower() for _, line in lines(path) if (match := DEFINITION.match(line))}
    for number, line in lines(path):
        line = CODE.sub("", line)
        for pattern in LINKS:
            for link in pattern.findall(line):
                if reason := fault(path, link):
                    yield number, link, reason
        for name in REFERENCE.findall(line):
            if name.lower() not in defined:
                yield number, f"[{name}]", "no such reference"


def main():
    files = [Path(name).resolve() for name in sys.argv[1:]]
    if not files:
        listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "*.md"]
        names = subprocess.run(listed, cwd=TOP, check=True, stdout=subprocess.PIPE, text=True).stdout
        files = [TOP / name for name in names.split("\0") if name and (TOP / name).exists()]
    count = 0
    for path in files:
        for number, link, reason in broken(path):
            print(f"{path.relative_to(TOP) if path.is_relative_to(TOP) else path}:{number}: {link}: {reason}")
            count += 1
    if count:
        sys.exit(f"check-links.py: error: {count} broken links")
    print(f"check-links.py: the links of {len(files)} files resolve", file=sys.stderr)


if __name__ == "__main__":
    main()
