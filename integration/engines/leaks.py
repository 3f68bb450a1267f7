"""What a row may leave behind: nothing. Everything here is read from the kernel.

The driver is the subreaper of all it starts, and sits in private mount and network namespaces. So
what is a descendant of it, a mount or a network interface and was not there before is the row's.
"""

import os
import signal
import time

from harness import Failure, read

# The kernel's features, as CRIU has found them: it keeps them for its next start.
KEPT = ["/run/criu.kdat"]


def parents():
    """The parent of every process, and its state."""
    found = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                fields = read(f"/proc/{name}/stat").rpartition(")")[2].split()
            except OSError:
                continue
            found[int(name)] = (int(fields[1]), fields[0])
    return found


def descendants(of):
    table, found, queue = parents(), [], [of]
    while queue:
        parent = queue.pop()
        for pid, (its_parent, state) in table.items():
            if its_parent == parent:
                queue.append(pid)
                found.append((pid, state))
    return found


def comm(pid):
    """The name of a process; nothing of one that has just gone."""
    try:
        return read(f"/proc/{pid}/comm").strip()
    except OSError:
        return ""


def reap():
    """Collects orphans that have ended; called between rows, when no command of ours runs."""
    for pid, (parent, state) in parents().items():
        if parent == os.getpid() and state == "Z":
            try:
                os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:
                pass


def tree(top, depth):
    """Every path below a directory, not following links."""
    if depth == 0:
        return
    try:
        entries = list(os.scandir(top))
    except OSError:
        return
    for entry in entries:
        yield entry.path
        if entry.is_dir(follow_symlinks=False):
            yield from tree(entry.path, depth - 1)


def cgroups(tag):
    for top, dirs, _ in os.walk("/sys/fs/cgroup"):
        for name in dirs:
            path = os.path.join(top, name)
            if tag in path:
                yield path


def seen(engine):
    """Everything that could leak, one line a thing."""
    found = set()
    own = set(engine.pids())
    for pid, state in descendants(os.getpid()):
        if pid in own or state in "ZX":
            continue
        try:
            words = read(f"/proc/{pid}/cmdline").replace("\0", " ")[:160]
        except OSError:
            continue
        found.add(f"process {pid} {words}")
    for line in read("/proc/self/mountinfo").splitlines():
        fields = line.split()
        found.add(f"mount {fields[4]} {fields[fields.index('-') + 1]}")
    tagged = cgroups(engine.workspace.tag)
    found.update(f"cgroup {path}" for path in tagged if not engine.keeps(path))
    for top in engine.state_dirs():
        paths = [path for path in tree(top, 6) if path not in KEPT]
        found.update(f"state {path}" for path in paths if not engine.keeps(path))
    # /sys/class/net is that of the namespace sysfs was mounted in.
    for line in read("/proc/net/dev").splitlines()[2:]:
        found.add(f"interface {line.split(':')[0].strip()}")
    return found


def check(engine, before):
    """Fails if something is there that was not before. What is just going gets five seconds."""
    end = time.monotonic() + 5
    while True:
        reap()
        left = seen(engine) - before
        if not left:
            return
        if time.monotonic() > end:
            raise Failure("left behind: " + "; ".join(sorted(left)[:12]))
        time.sleep(0.1)


def sweep(tag):
    """After a failure or an interruption: ends and removes all that is ours."""
    for _ in range(50):
        alive = [pid for pid, state in descendants(os.getpid()) if state not in "ZX"]
        if not alive:
            break
        for pid in alive:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        time.sleep(0.1)
        reap()
    for path in sorted(cgroups(tag), key=len, reverse=True):
        try:
            os.rmdir(path)
        except OSError:
            pass
