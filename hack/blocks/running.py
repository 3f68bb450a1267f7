"""Runs blocks, and compares what they print with the document."""

import difflib
import fcntl
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from reading import RUN, TOP, blocks, dialogue

# Seconds for the blocks of one name, in a test that hangs.
LIMIT = int(os.environ.get("BULKHEAD_TEST_PATIENCE", 120))

# A bundle, and the profiles where the package has them.
BUNDLE = """
mkdir -p rootfs/bin rootfs/dev rootfs/proc rootfs/sys
cp "$(command -v busybox)" rootfs/bin/busybox
for name in sh true sleep; do ln -s busybox rootfs/bin/$name; done
mount -t tmpfs tmpfs /usr/share && mkdir -p /usr/share/bulkhead/seccomp-profiles
cp "$TOP"/seccomp-profiles/*.json /usr/share/bulkhead/seccomp-profiles
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


def plain(lines):
    """Replaces what varies. Namespaces are numbered in their order, so that equal ones stay equal."""
    numbers = {}

    def namespace(match):
        return f"{match[1]}:[{numbers.setdefault(match[0], len(numbers))}]"

    for line in lines:
        line = re.sub(r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z?", "TIME", line)
        line = re.sub(r"\b(mnt|net|pid|uts|ipc|user|cgroup|time):\[\d+\]", namespace, line)
        line = re.sub(r'("pid": )[1-9]\d*', r"\1PID", line)
        yield line.rstrip()


def matches(wanted, real):
    """Compares lines; `...` stands for anything."""
    pattern = ""
    for line in plain(wanted):
        if line.strip() == "...":
            pattern += r"(?:.*\n)*?"
        else:
            pattern += ".*".join(map(re.escape, line.split("..."))) + r"\n"
    return re.fullmatch(pattern, "".join(line + "\n" for line in plain(real))) is not None


def session(name, fixture, chosen, environment, scratch):
    """Runs the blocks of one name; returns what each of their commands has printed, and the end."""
    directory = scratch / name
    directory.mkdir(mode=0o700)  # as root's home is
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
                return faults + [f"{block.place()}: the shell has ended before: {command}"]
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
    # The cgroups have the names of the documents' containers, in another run too.
    lock = os.open(tempfile.gettempdir(), os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        for path in paths:
            faults += run_document(path, environment, scratch, update)
    finally:
        detach(scratch)
        shutil.rmtree(scratch, ignore_errors=True)
        os.close(lock)
    return faults


def detach(directory):
    """Detaches the loop devices that a block has not."""
    list_them = ["losetup", "--noheadings", "--output", "NAME,BACK-FILE"]
    for line in subprocess.run(list_them, stdout=subprocess.PIPE, text=True).stdout.splitlines():
        if str(directory) in line:
            subprocess.run(["losetup", "--detach", line.split()[0]])


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
