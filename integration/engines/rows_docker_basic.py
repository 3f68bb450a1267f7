"""Docker, the first steps: W01, W04."""

import hashlib
import os

from harness import contains, equal, row


@row("W01", "docker", "run: hello world")
def hello(docker):
    done = docker("run", "--rm", "busybox", "echo", "hello", "world")
    equal((done.out, done.err), ("hello world\n", ""), "what echo wrote")
    docker("run", "--rm", "busybox", "sh", "-c", "exit 42", status=42)
    equal(docker("ps", "-aq").text, "", "containers left")


@row("W04", "docker", "100 MB through stdin and stdout")
def pipe(docker):
    data = os.urandom(1 << 20) * 100
    done = docker("run", "-i", "--rm", "busybox", "cat", stdin=data, binary=True)
    equal(hashlib.sha256(done.out).hexdigest(), hashlib.sha256(data).hexdigest(), "sha256")
    done = docker("run", "-i", "--rm", "busybox", "sha256sum", stdin=data)
    contains(done.out, hashlib.sha256(data).hexdigest(), "sha256 inside")
    done = docker("run", "-i", "--rm", "busybox", "sed", "s/a/b/", stdin="banana\n")
    equal(done.out, "bbnana\n", "sed")
    done = docker("run", "-i", "--rm", "debian", "jq", "-r", ".name", stdin='{"name": "jim"}')
    equal(done.out, "jim\n", "jq")
