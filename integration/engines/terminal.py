"""A real terminal for a client, as a person at a keyboard has, and what appears on it."""

import errno
import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time

from harness import Failure, equal


class Terminal:
    """Starts a command on a pseudo terminal of its own, which is its controlling terminal.

    Use it as a context manager: at the end the command is killed if it still runs.
    """

    def __init__(self, words, rows, columns, env=None, cwd=None):
        self.master, slave = pty.openpty()
        self.seen = ""
        self.resize(rows, columns)
        self.process = subprocess.Popen(
            words, stdin=slave, stdout=slave, stderr=slave, env=env, cwd=cwd,
            start_new_session=True, preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )  # fmt: skip
        os.close(slave)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self.master)

    def resize(self, rows, columns):
        """Sets the size; the kernel tells the client with SIGWINCH."""
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, text):
        """Types; \\x03 is Ctrl-C."""
        os.write(self.master, text.encode())

    def read(self, seconds):
        """Takes what has come, for at most that long; false at the end of the terminal."""
        if not select.select([self.master], [], [], seconds)[0]:
            return True
        try:
            data = os.read(self.master, 65536)
        except OSError as error:
            # The kernel's word for: nobody has the other side open any more.
            if error.errno != errno.EIO:
                raise
            return False
        self.seen += data.decode(errors="replace")
        return bool(data)

    def expect(self, pattern, seconds=20):
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
                return self.expect(pattern, 1)
            except Failure:
                continue
        raise Failure(f"{command}: never {pattern!r}: {self.seen[-500:]!r}")

    def shell(self, rows, columns, device=r"\d+"):
        """There is a shell at the other end, on a terminal of this size and in /dev/pts."""
        self.expect("# ")
        self.ask("stty size", rf"\n{rows} {columns}\r")
        self.ask("tty", rf"\n/dev/pts/{device}\r")

    def interrupt(self):
        """Ctrl-C ends what the shell runs, with SIGINT, and not the shell."""
        self.type("sh -c 'echo it runs; exec sleep 1000'\n")
        self.expect(r"\nit runs\r")
        self.type("\x03")
        self.expect("# ")
        self.type("echo status $?\n")
        self.expect(r"\nstatus 130\r")

    def leave(self, status):
        """The shell ends, and its exit status is the client's."""
        self.type(f"exit {status}\n")
        equal(self.end(), status, "the client's exit status")

    def end(self, seconds=20):
        """The exit status, once the command has ended."""
        stop = time.monotonic() + seconds
        while self.process.poll() is None and time.monotonic() < stop:
            self.read(0.1)
        if self.process.poll() is None:
            raise Failure(f"no end after {seconds} s: {self.seen[-500:]!r}")
        return self.process.returncode
