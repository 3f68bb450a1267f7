#!/usr/bin/env python3
"""Checks that each code block of the documents is run by a test, or tells why it is not.

    hack/documents.py check                      every block of every document has a marker that is true
    hack/documents.py run [--update] [--without FILE]... [FILE...]
                                                 run the blocks of the files (default: all of them), and
                                                 compare their output

A marker is a comment on the line before the block:

    <!-- test: run NAME [from FIXTURE] [if FEATURE...] -->
        The block is run. Blocks of the same NAME share a shell and its directory, which is empty at
        first, or what the FIXTURE makes (setup, below). A command that fails is a failure. A `text`
        block that follows is what the block prints. In a `console` block the commands stand after
        "$ ", with their output below. FEATURE is needed: a machine without it skips the block.
    <!-- test: by FILE -->
        The commands are run by FILE, a script or test that CI runs.
    <!-- test: none (REASON) -->
        Nothing can run the block.

In an output, `...` stands for anything within a line, and a line of `...` for any lines. Times,
process IDs and the numbers of namespaces are not compared.

`run` needs root. BULKHEAD_BIN is the program to test. The blocks run in mount and network namespaces of
their own, and their containers are in a state directory of their own. A skipped block is printed as
"skipped: FEATURE: FILE:LINE needs it". With --update, an output that differs is written into the file.
"""

import argparse
import difflib
import fcntl
import itertools
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
DOCUMENTS = ["README.md", "CONTRIBUTING.md", "SECURITY.md", "ARCHITECTURE.md", "docs/*.md", "*/README.md"]
MARKER = re.compile(r"^<!-- test: (.*) -->$")
RUN = re.compile(r"run ([\w-]+)(?: from ([\w-]+))?(?: if ([\w ]+))?")
# Seconds for the blocks of one name, in a test that hangs.
LIMIT = int(os.environ.get("BULKHEAD_TEST_PATIENCE", 120))


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


# ---- reading ----------------------------------------------------------------------------------------


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


# ---- what something else runs -------------------------------------------------------------------------


def reached():
    """Returns the files that CI runs, directly or through others of them."""
    todo = [TOP / ".ci/run", *(TOP / ".github/workflows").glob("*.yml"), *(TOP / "tests").glob("*.rs")]
    found = set()
    while todo:
        path = todo.pop()
        if path in found:
            continue
        found.add(path)
        for name in re.findall(r"\b(?:hack|packaging|integration)/[\w./-]+\w", path.read_text()):
            if (TOP / name).is_file():
                todo.append(TOP / name)
        if path.suffix == ".sh":
            todo += [other for other in path.parent.glob(f"{path.stem}/*") if other.suffix in (".py", ".sh")]
    return found


def commands_of(block):
    """Yields the words of each command of a shell block, without sudo, variables and redirections."""
    text = "\n".join(block.lines).replace("\\\n", " ")
    for line in text.splitlines():
        words = shlex.split(line, comments=True)
        while words and (words[0] == "sudo" or re.match(r"\w+=", words[0])):
            words.pop(0)
        if words:
            yield words


def check_by(block, name, run_by_ci):
    path = TOP / name
    if path not in run_by_ci:
        raise Fault(f"{block.place()}: CI does not run {name}")
    text = path.read_text()
    for words in commands_of(block):
        program = TOP / words[0]
        if "/" in words[0]:
            if not os.access(program, os.X_OK):
                raise Fault(f"{block.place()}: no program {words[0]}")
            if program != path and words[0] not in text:
                raise Fault(f"{block.place()}: {name} does not run {words[0]}")
            sources = [program, path, *(TOP / "hack" / program.stem).glob("*.py"),
                       *(TOP / "integration/engines").glob("main.py")]
            known = "\n".join(source.read_text() for source in sources if source.is_file())
        else:
            # Up to the first option: make install, cargo test.
            lead = list(itertools.takewhile(lambda word: not word.startswith("-"), words))
            if not re.search(r"\b" + r"\b.*\b".join(map(re.escape, lead)) + r"\b", text):
                raise Fault(f"{block.place()}: {name} does not run {' '.join(lead)}")
            known = text
        for option in words[1:]:
            if re.match(r"--\w", option) and option not in known:
                raise Fault(f"{block.place()}: {words[0]} in {name} has no option {option}")


def check():
    """Returns the faults of the markers of all documents."""
    run_by_ci, faults = reached(), []
    for path in documents():
        for block in blocks(path):
            try:
                if block.marker.startswith("by "):
                    check_by(block, block.marker[3:], run_by_ci)
                elif not RUN.fullmatch(block.marker) and not re.fullmatch(r"none \(\w.{7,}\)", block.marker):
                    raise Fault(f"{block.place()}: no test runs this block: see hack/documents.py")
            except Fault as fault:
                faults.append(str(fault))
    return faults


# ---- running ------------------------------------------------------------------------------------------

# A bundle, and the profiles of seccomp-profiles.
BUNDLE = """
mkdir -p rootfs/bin rootfs/dev rootfs/proc rootfs/sys
cp "$(command -v busybox)" rootfs/bin/busybox
for name in sh true sleep; do ln -s busybox rootfs/bin/$name; done
cp "$TOP"/seccomp-profiles/*.json .
bulkhead spec
jq '.process.terminal = false | .process.args = ["true"]' config.json > config.new && mv config.new config.json
"""
FIXTURES = {
    "bundle": BUNDLE,
    # The same at /srv/web, and as the running container web.
    "web": BUNDLE + """
jq '.process.args = ["sleep", "600"]' config.json > web.json
mount -t tmpfs tmpfs /srv && mkdir /srv/web && mount --bind . /srv/web
bulkhead run --detach --config web.json web
""",
    # A release of which one file was fetched.
    "release": """
echo package > bulkhead_1.deb && echo other > other.deb
sha256sum *.deb > SHA256SUMS && rm other.deb
""",
}
# What a machine may lack; the commands succeed where it is there.
FEATURES = {
    **{name: "bulkhead info --format json |"
       f" jq -e '.features[] | select(.name == \"controller {name}\") | .present'"
       for name in ("cpu", "memory", "pids", "io")},
    "loop": "losetup --find",
    "rootless": "setpriv --reuid 65534 --regid 65534 --clear-groups unshare --user --map-root-user true",
}
SEPARATOR = "\x1e"


def lacks(features, environment):
    for feature in (features or "").split():
        command = FEATURES.get(feature) or sys.exit(f"documents.py: error: no such feature: {feature}")
        if subprocess.run(["bash", "-c", command], env=environment, capture_output=True).returncode:
            return feature
    return None


def script(chosen, fixture):
    """A script that runs the commands of the blocks, with a mark before each."""
    lines = ["set -eu", "ip link set lo up", FIXTURES.get(fixture, "")]
    for block in chosen:
        block.commands = dialogue(block) if block.kind == "console" else \
            [["\n".join(block.lines), block.output.lines if block.output else None]]
        for command, _ in block.commands:
            lines += [f"printf '{SEPARATOR}\\n'", command]
    lines += [f"printf '{SEPARATOR}\\n'", 'bulkhead delete --force --regex "^web$"' if fixture == "web" else "",
              'echo "containers:" $(bulkhead list --quiet)', 'echo "jobs:" $(jobs -r)']
    return "\n".join(lines) + "\n"


def plain(line):
    line = re.sub(r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z?", "TIME", line)
    line = re.sub(r"\b(mnt|net|pid|uts|ipc|user|cgroup|time):\[\d+\]", r"\1:[N]", line)
    line = re.sub(r'("pid": )[1-9]\d*', r"\1PID", line)
    return line.rstrip()


def matches(wanted, real):
    """Compares lines; `...` stands for anything."""
    pattern = ""
    for line in wanted:
        if line.strip() == "...":
            pattern += r"(?:.*\n)*?"
        else:
            pattern += ".*".join(re.escape(part) for part in plain(line).split("...")) + r"\n"
    return re.fullmatch(pattern, "".join(plain(line) + "\n" for line in real)) is not None


def session(name, fixture, chosen, environment, scratch):
    """Runs the blocks of one name; returns what each of their commands has printed, and the end."""
    directory = scratch / name
    directory.mkdir()
    (scratch / f"{name}.sh").write_text(script(chosen, fixture))
    # Somebody who does not type.
    silence, typist = os.pipe()
    # A file, since a container that was forgotten would hold a pipe open.
    with open(scratch / f"{name}.out", "wb") as output:
        shell = subprocess.Popen(
            ["unshare", "--mount", "--net", "--propagation", "private", "bash", "--norc", str(scratch / f"{name}.sh")],
            cwd=directory, env=environment, stdin=silence, stdout=output, stderr=subprocess.STDOUT,
            start_new_session=True)
    timed_out = False
    try:
        shell.wait(LIMIT)
    except subprocess.TimeoutExpired:
        timed_out = True
    finally:
        # What a block has started and not ended.
        try:
            os.killpg(shell.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        shell.wait()
        os.close(silence)
        os.close(typist)
        subprocess.run(["bulkhead", "delete", "--force", "--regex", "."], env=environment, stderr=subprocess.DEVNULL)
    output = (scratch / f"{name}.out").read_bytes()
    parts = output.decode(errors="replace").replace("\r\n", "\n").split(SEPARATOR + "\n")[1:]
    return [part.splitlines() for part in parts], shell.returncode, timed_out


def compare(chosen, parts, status, timed_out, updates):
    """Returns the faults of a session; adds the outputs that differ to the updates."""
    faults, rest = [], list(parts)
    for block in chosen:
        for command, wanted in block.commands:
            if not rest:
                return faults
            real = rest.pop(0)
            if status and not rest:
                why = f"not done after {LIMIT} s" if timed_out else f"exit status {status}"
                return faults + [f"{block.place()}: {why}:\n" + "\n".join([command, *real])]
            if wanted is not None and not matches(wanted, real):
                if block.output:
                    updates.append((block.output, real))
                difference = difflib.unified_diff(wanted, real, "document", "output", lineterm="")
                faults.append(f"{block.place()}: another output:\n" + "\n".join(difference))
    if rest != [["containers:", "jobs:"]]:
        faults.append(f"{chosen[-1].path}: left behind: {rest}")
    return faults


def put(updates):
    """Writes outputs into the document; from the last one up, so that the line numbers stay true."""
    for block, real in sorted(updates, key=lambda update: -update[0].line):
        path = TOP / block.path
        lines = path.read_text().splitlines()
        lines[block.line - 1:block.line - 1 + len(block.lines)] = [line.rstrip() for line in real]
        path.write_text("\n".join(lines) + "\n")


def run(paths, update):
    binary = os.environ.get("BULKHEAD_BIN") or sys.exit("documents.py: error: BULKHEAD_BIN names the program to test")
    if os.geteuid():
        sys.exit("documents.py: error: needs root")
    scratch = Path(tempfile.mkdtemp(prefix=f"bulkhead-test-{os.getpid()}-documents-"))
    scratch.chmod(0o755)
    programs = scratch / "programs"
    programs.mkdir()
    program = programs / "bulkhead"
    real = scratch / "real"
    real.mkdir()
    shutil.copy(binary, real / "bulkhead")
    # A user without root has a state directory of their own.
    program.write_text(f'#!/bin/sh\n[ "$(id -u)" -ne 0 ] || set -- --root {scratch}/state "$@"\n'
                       f'exec {real}/bulkhead "$@"\n')
    program.chmod(0o755)
    environment = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}", "TOP": str(TOP), "LC_ALL": "C.UTF-8",
                   "HOME": str(scratch), "NO_COLOR": "1", "COLUMNS": "100"}
    faults = []
    # The documents name their containers, and so do the documents of another run.
    with open(Path(tempfile.gettempdir()) / ".bulkhead-documents.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            for path in paths:
                faults += run_document(path, environment, scratch, update)
        finally:
            for line in subprocess.run(["losetup", "--noheadings", "--output", "NAME,BACK-FILE"],
                                       stdout=subprocess.PIPE, text=True).stdout.splitlines():
                if str(scratch) in line:
                    subprocess.run(["losetup", "--detach", line.split()[0]])
            shutil.rmtree(scratch, ignore_errors=True)
    return faults


def run_document(path, environment, scratch, update):
    sessions, faults, updates = {}, [], []
    for block in blocks(path):
        if match := RUN.fullmatch(block.marker):
            fixture, chosen = sessions.setdefault(match[1], [match[2], []])
            if lack := lacks(match[3], environment):
                print(f"skipped: {lack}: {block.place()} needs it")
            else:
                chosen.append(block)
    for number, (name, (fixture, chosen)) in enumerate(sessions.items()):
        name = f"{Path(path).stem}-{number}-{name}"
        parts, status, timed_out = session(name, fixture, chosen, environment, scratch)
        print(f"== {path}: {name}")
        print("\n".join(line for part in parts for line in part))
        found = compare(chosen, parts, status, timed_out, updates)
        if not parts:
            found = [f"{path}: the fixture of {name} fails with status {status}"]
        faults += found
    if update:
        put(updates)
    return faults


def main():
    parser = argparse.ArgumentParser(usage=__doc__.split("\n\n")[1])
    parser.add_argument("what", choices=["check", "run"])
    parser.add_argument("--update", action="store_true")
    parser.add_argument("--without", action="append", default=[], metavar="FILE")
    parser.add_argument("files", nargs="*")
    arguments = parser.parse_intermixed_args()
    paths = [path for path in arguments.files or documents() if path not in arguments.without]
    faults = check() if arguments.what == "check" else run(paths, arguments.update)
    for fault in faults:
        print(fault, file=sys.stderr)
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
