"""Runs commands by clock.c and stores the figures."""

import os
import statistics
import subprocess

FIELDS = ("wall", "user", "system", "faults", "major", "peak", "voluntary", "involuntary", "failed")


class Failed(Exception):
    """A command that did not exit with 0, with the end of its standard error."""


class Clock:
    def __init__(self, workspace):
        self.path = workspace.tool("clock")
        self.errors = os.path.join(workspace.tmp, "stderr")
        self.workspace = workspace

    def __call__(self, command, count=1, at_once=1, seconds=60):
        """Returns what the command took: milliseconds, faults, KiB, switches."""
        with open(self.errors, "wb") as errors:
            out = subprocess.run(
                [self.path, "-n", str(count), "-j", str(at_once), "-t", str(seconds), *command],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, timeout=seconds + 30, check=False,
                **self.workspace.inherited())
        if out.returncode:
            raise Failed(self.reason())
        took = dict(zip(FIELDS, map(int, out.stdout.split())))
        if took["failed"]:
            raise Failed(f"{took['failed']} of {count} failed: {self.reason()}")
        took["wall"] /= 1e6
        took["user"] /= 1e3
        took["system"] /= 1e3
        took["cpu"] = took["user"] + took["system"]
        return took

    def reason(self):
        with open(self.errors, encoding="utf-8", errors="replace") as file:
            lines = file.read().strip().split("\n")
        return lines[-1][:200]


def summary(values):
    """Minimum, quartiles and number of the values."""
    values = sorted(values)
    if len(values) > 1:
        low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    else:
        low = middle = high = values[0]
    return {"n": len(values), "min": round(values[0], 4), "q1": round(low, 4), "median": round(middle, 4),
            "q3": round(high, 4), "max": round(values[-1], 4)}


class Samples:
    """What the runs of a row took, by program and figure."""

    def __init__(self):
        self.taken = {}

    def add(self, program, took, figures=("wall", "cpu", "user", "system", "faults", "peak")):
        kept = self.taken.setdefault(program.name, {})
        for figure in figures:
            kept.setdefault(figure, []).append(took[figure])

    def summary(self):
        return {name: {figure: summary(values) for figure, values in kept.items()}
                for name, kept in self.taken.items()}
