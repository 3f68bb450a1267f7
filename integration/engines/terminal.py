"""A real terminal for a client, and what appears on it."""

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time

from harness import Failure


class Terminal:
    """Starts a command on a pty of `rows` times `columns`, as its controlling terminal."""

    def __init__(self, args, rows, columns, env=None):
        self.master, slave = pty.openpty()
        self.seen = ""
        self.resize(rows, columns)
        self.process = subprocess.Popen(
            args,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=env,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(slave)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self.master)

    def resize(self, rows, columns):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, text):
        os.write(self.master, text.encode())

    def read(self, seconds):
        """Takes what has come, for at most that long; false at the end of the terminal."""
        if not select.select([self.master], [], [], seconds)[0]:
            return True
        try:
            data = os.read(self.master, 65536)
        except OSError:
            return False
        self.seen += data.decode(errors="replace")
        return bool(data)

    def expect(self, pattern, seconds=10):
        """Waits for a regular expression; what came up to its end is taken away."""
        end = time.monotonic() + seconds
        while True:
            found = re.search(pattern, self.seen)
            if found:
                self.seen = self.seen[found.end() :]
                return found
            if time.monotonic() > end or not self.read(0.2):
                raise Failure(f"no {pattern!r} on the terminal: {self.seen[-500:]!r}")

    def ask(self, command, pattern, tries=20):
        """Types a command until its output is as wanted (a new size needs a moment)."""
        for _ in range(tries):
            self.type(command + "\n")
            try:
                return self.expect(pattern, 0.5)
            except Failure:
                continue
        raise Failure(f"{command}: never {pattern!r}: {self.seen[-500:]!r}")

    def end(self, seconds=20):
        """The exit status, once the command has ended."""
        stop = time.monotonic() + seconds
        while self.process.poll() is None and time.monotonic() < stop:
            self.read(0.1)
        if self.process.poll() is None:
            raise Failure(f"no end after {seconds} s: {self.seen[-500:]!r}")
        return self.process.returncode
