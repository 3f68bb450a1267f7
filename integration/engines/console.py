"""Runs a command on a terminal of its own, as a person at a keyboard would."""

import errno
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time


class Terminal:
    """A command on a pseudo terminal.

    Use it as a context manager: at the end the command is killed if it still runs.
    """

    def __init__(self, argv, rows=24, columns=80, env=None, cwd=None):
        self.master, slave = pty.openpty()
        self.resize(rows, columns)
        self.output = b""
        self.at = 0
        self.process = subprocess.Popen(
            argv, stdin=slave, stdout=slave, stderr=slave, env=env, cwd=cwd, start_new_session=True,
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
        """Sets the size; the kernel sends SIGWINCH to the foreground process group."""
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, text):
        """Types, \\x03 being Ctrl-C."""
        os.write(self.master, text.encode())

    def _read(self, timeout):
        """Takes in what there is; False at the end of the file."""
        if not select.select([self.master], [], [], timeout)[0]:
            return True
        try:
            data = os.read(self.master, 65536)
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            data = b""
        self.output += data
        return bool(data)

    def expect(self, pattern, timeout=20):
        """Reads until a regular expression matches what came since the last match; returns the match."""
        end = time.monotonic() + timeout
        open_ = True
        while True:
            found = re.search(pattern.encode(), self.output[self.at :])
            if found:
                self.at += found.end()
                return found
            if not open_ or time.monotonic() > end:
                raise AssertionError(f"the terminal never showed {pattern!r}; it shows {self.shown()!r}")
            open_ = self._read(0.2)

    def wait(self, timeout=20):
        """Reads to the end and returns the exit status."""
        end = time.monotonic() + timeout
        while self._read(0.1) and time.monotonic() < end:
            if self.process.poll() is not None and not select.select([self.master], [], [], 0)[0]:
                break
        return self.process.wait(max(0.1, end - time.monotonic()))

    def signal(self, number=signal.SIGTERM):
        """Sends a signal to the command."""
        self.process.send_signal(number)

    def shown(self):
        """All output so far as text."""
        return self.output.decode(errors="replace")
