"""What a shim of containerd does: streams, events, its end and that of the daemon: W03, W04, W06, W25.

Most of them are about bulkhead's shim alone: with containerd's, a program that takes the output ends
only after Delete, and the order of events depends on the version.
"""

import hashlib
import os
import re
import signal
import subprocess

from containerd_engine import alive
from harness import check, contains, equal, eventually, read, row, write


def checksum(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Watcher:
    """`ctr events` in the background."""

    def __init__(self, ctr):
        self.path = f"{ctr.workspace.new('events')}/log"
        self.log = open(self.path, "w")
        self.process = subprocess.Popen(ctr.words("events"), stdout=self.log, stderr=self.log)
        # An event of another object shows that the watcher listens.
        eventually(lambda: self.listens(ctr), "ctr events to listen")

    def listens(self, ctr):
        ctr("images", "label", "localhost/box:1", f"seen={os.urandom(4).hex()}")
        return "/images/update" in read(self.path)

    def topics(self, name):
        """The topics of a container's tasks, in the order of the events."""
        lines = [line for line in read(self.path).splitlines() if f'"{name}"' in line]
        found = [re.search(r" (/tasks/\S+) ", line) for line in lines]
        return [topic[1] for topic in found if topic]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.log.close()


@row("W04", "containerd", "100 MB through standard input and output, of run and of exec")
def bulk(ctr):
    directory = ctr.workspace.new("bulk")
    with open(f"{directory}/in", "wb") as file:
        for _ in range(100):
            file.write(os.urandom(1 << 20))
    want = checksum(f"{directory}/in")

    def through(words, what):
        with open(f"{directory}/in", "rb") as source, open(f"{directory}/out", "wb") as sink:
            done = subprocess.run(ctr.words(*words), stdin=source, stdout=sink, timeout=100)
        equal(done.returncode, 0, f"the exit status of {what}")
        equal(checksum(f"{directory}/out"), want, f"the checksum of 100 MB through {what}")

    through(ctr.run_words(["--rm"], "bulk", "cat"), "ctr run")
    with ctr.container("bulkexec") as name:
        through(["task", "exec", "--exec-id", "bulk", name, "cat"], "ctr task exec")


@row("W04", "containerd", "output that nobody reads stops its writer alone, and is there for the next reader", of_shim=True)
def unread(ctr):
    size = 1000000
    # Not before the client has left that starts the task, and reads its output for a moment.
    script = f"until [ -e /go ]; do sleep 0.1; done; yes | head -c {size}; echo end >/end; sleep 1000"
    with ctr.container("unread", command=("sh", "-c", script)) as name:
        root = f"/proc/{ctr.pid(name)}/root"
        with open(f"{root}/go", "w", encoding="utf-8"):
            pass
        # A full pipe is not read from; everything else works.
        equal(ctr.exec(name, "echo", "here").out, "here\n", "an exec meanwhile")
        ctr("task", "pause", name)
        ctr("task", "resume", name)
        check(not os.path.exists(f"{root}/end"), "a megabyte was written without a reader")
        reader = subprocess.Popen(ctr.words("task", "attach", name), stdin=subprocess.DEVNULL,
                                  stdout=subprocess.PIPE)  # fmt: skip
        got = b""
        while len(got) < size:
            part = reader.stdout.read1(1 << 16)
            check(part, f"the reader got {len(got)} bytes")
            got += part
        equal(got, b"y\n" * (size // 2), "what was written before the reader came")
        eventually(lambda: os.path.exists(f"{root}/end"), "the writer to go on")
        reader.kill()
        reader.wait()
        reader.stdout.close()


@row("W03", "containerd", "log URIs: a file, and a program that takes the output", of_shim=True)
def logs(ctr):
    directory = ctr.workspace.new("logs")
    options = ["--log-uri", f"file://{directory}/sub/file.log"]
    with ctr.container("filelog", options, ("sh", "-c", "echo out; echo err >&2; sleep 1000")):
        eventually(lambda: read(f"{directory}/sub/file.log").count("\n") == 2, "two lines in the log")
    equal(sorted(read(f"{directory}/sub/file.log").split()), ["err", "out"], "the log")
    script = '#!/bin/sh\nexec 5>&-\n(cat <&4 >"$2.err") &\ncat <&3 >"$2.out"\nwait\n'
    script += 'echo "$CONTAINER_ID $CONTAINER_NAMESPACE" >"$2.end"\n'
    program = write(f"{directory}/logger", script, 0o755)
    options = ["--log-uri", f"binary://{program}?to={directory}/taken"]
    with ctr.container("binlog", options, ("sh", "-c", "echo out; echo err >&2")) as name:
        eventually(lambda: ctr.status(name) == "STOPPED", "the end")
        eventually(lambda: os.path.exists(f"{directory}/taken.end"), "the end of the logger")
    equal(read(f"{directory}/taken.out"), "out\n", "output of the container")
    equal(read(f"{directory}/taken.err"), "err\n", "errors of the container")
    equal(read(f"{directory}/taken.end"), f"binlog {ctr.namespace}\n", "the logger's environment")


@row("W06", "containerd", "events: in their order, with a lack of memory before the end", of_shim=True)
def events(ctr):
    with Watcher(ctr) as watcher:
        ctr.run([], "ordinary", "true")
        want = [f"/tasks/{word}" for word in ("create", "start", "exit", "delete")]
        eventually(lambda: watcher.topics("ordinary") == want, f"the events {want}")
        eater = ("sh", "-c", "sleep 0.3; tail /dev/zero; exit 5")
        ctr.run(["--memory-limit", str(32 << 20)], "eater", *eater, status=5)
        eventually(lambda: "/tasks/delete" in watcher.topics("eater"), "the last event")
        topics = watcher.topics("eater")
        contains(topics, "/tasks/oom", "the events of a container without memory")
        check(topics.index("/tasks/oom") < topics.index("/tasks/exit"), f"the order of {topics}")
        with ctr.container("executed") as name:
            ctr.exec(name, "true")
        want = ["create", "start", "exec-added", "exec-started", "exit", "exit", "delete"]
        want = [f"/tasks/{word}" for word in want]
        eventually(lambda: watcher.topics("executed") == want, f"the events {want}")


@row("W08", "containerd", "processes that outlive an init in another's pid namespace end with it", of_shim=True)
def survivors(ctr):
    with ctr.container("owner") as owner:
        space = f"pid:/proc/{ctr.pid(owner)}/ns/pid"
        done = ctr.run(["--with-ns", space], "guest", "sh", "-c", "sleep 300 & echo started")
        equal(done.out, "started\n", "the output")
        equal(len(ctr.cgroup(owner).procs("memory")), 1, "processes of the owner")
        eventually(lambda: "sleep 300" not in ctr.exec(owner, "ps").out, "the survivor to end")


@row("W25", "containerd", "a container ends while the daemon is down: its exit status is known after the restart", of_shim=True)
def missed_end(ctr):
    with ctr.container("missed", command=("sh", "-c", "sleep 1; exit 7")) as name:
        pid = ctr.pid(name)
        ctr.end(signal.SIGKILL)
        eventually(lambda: not alive(pid), "the end of the container")
        ctr.launch()
        eventually(lambda: ctr.status(name) == "STOPPED", "the end to be known")
        contains(ctr("task", "rm", name).err, "exit code 7", "the exit status")
    ctr.errors()
