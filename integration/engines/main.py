"""Runs the rows of real engines with bulkhead and with runc, and prints one table.

To be started by hack/integration.sh.
"""

import argparse
import ctypes
import glob
import importlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback

import harness
import images
import leaks

PR_SET_CHILD_SUBREAPER = 36
# Where engines and runtimes put sockets and state by default: private for the time of a run.
PRIVATE = "bulkhead containerd containers crun docker libpod netns runc user".split()


def arguments():
    parser = argparse.ArgumentParser(prog="hack/integration.sh", description=__doc__)
    parser.add_argument("--only", action="append", metavar="ROW", help="W05; may be repeated")
    parser.add_argument("--engine", action="append", help="docker; may be repeated")
    parser.add_argument("--runtime", choices=["bulkhead", "runc", "both"], default="both")
    parser.add_argument("--keep-log", metavar="DIR", help="copies the daemons' logs there")
    return parser.parse_args()


def isolate():
    """Into private mount and network namespaces: what the engines do there ends with us.

    Mounts are made shared again, as they are where systemd runs.
    """
    if os.environ.get("BULKHEAD_ISOLATED"):
        return
    os.environ["BULKHEAD_DEBIAN_TAR"] = images.debian()
    os.environ["BULKHEAD_ISOLATED"] = "1"
    words = ["unshare", "--net", "--mount", "--propagation", "slave"]
    os.execvp(words[0], [*words, sys.executable, *sys.argv])


def private_places():
    subprocess.run(["mount", "--make-rshared", "/"], check=True)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    for name in PRIVATE:
        path = f"/run/{name}"
        os.makedirs(path, exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=0755", "tmpfs", path], check=True)


class OutOfTime(BaseException):
    pass


def out_of_time(_signal, _frame):
    raise OutOfTime


class Results:
    def __init__(self):
        self.cells = {}
        self.failed = False

    def add(self, row, runtime, word, seconds, why=""):
        self.cells[row, runtime] = (word, seconds)
        line = f"{row.number} {row.engine}: {row.title}: {runtime}: {word} ({seconds:.1f} s)"
        print(f"{line}\n    {why}" if why else line, flush=True)
        if runtime == "bulkhead" and word != "passed":
            reason = harness.MAY_SKIP.get(row.number)
            self.failed |= not (reason and word.startswith(f"skipped ({reason}"))

    def table(self, rows, runtimes):
        print(f"\n| row | engine | what | {' | '.join(runtimes)} | seconds |")
        print("|---|---|---|" + "---|" * len(runtimes) + "--:|")
        for row in rows:
            cells = [self.cells.get((row, name), ("not run", 0)) for name in runtimes]
            words = " | ".join(word for word, _ in cells)
            seconds = " / ".join(f"{seconds:.1f}" for _, seconds in cells)
            print(f"| {row.number} | {row.engine} | {row.title} | {words} | {seconds} |")


def run_row(row, engine, runtime, results):
    leaks.reap()
    before = leaks.seen(engine)
    started = time.monotonic()
    word, why = "passed", ""
    signal.alarm(row.limit)
    try:
        row.function(engine)
        signal.alarm(0)
        leaks.check(engine, before)
    except harness.Skip as skip:
        word = f"skipped ({skip})"
    except harness.Failure as failure:
        word, why = "FAILED", str(failure)
    except OutOfTime:
        word, why = "FAILED", f"no end after {row.limit} s"
    except Exception:
        word, why = "FAILED", traceback.format_exc().strip().replace("\n", "\n    ")
    signal.alarm(0)
    results.add(row, runtime, word, time.monotonic() - started, why)
    if word != "passed":
        engine.clean()
        try:
            leaks.check(engine, before)
        except harness.Failure as failure:
            print(f"    after cleaning up: {failure}", flush=True)


def run_engine(cls, workspace, runtime, rows, results):
    engine = cls(workspace, runtime)
    why = ""
    try:
        try:
            engine.start()
        except Exception as error:
            why = f"{cls.name} does not start: {error}"
        for row in rows:
            if why:
                results.add(row, runtime, "FAILED", 0.0, why)
            else:
                run_row(row, engine, runtime, results)
    finally:
        engine.stop()


def main():
    wanted = arguments()
    here = os.path.dirname(os.path.abspath(__file__))
    for path in sorted(glob.glob(f"{here}/*_engine.py") + glob.glob(f"{here}/rows_*.py")):
        importlib.import_module(os.path.basename(path)[:-3])
    isolate()
    private_places()
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    signal.signal(signal.SIGALRM, out_of_time)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))

    runtimes = ["bulkhead", "runc"] if wanted.runtime == "both" else [wanted.runtime]
    rows = [
        row
        for row in sorted(harness.ROWS, key=lambda row: (row.engine, row.number, row.title))
        if (not wanted.only or row.number in wanted.only)
        and (not wanted.engine or row.engine in wanted.engine)
    ]
    if not rows:
        sys.exit("no such row")
    workspace = harness.Workspace(tempfile.mkdtemp(prefix="bulkhead-integration-"))
    os.chmod(workspace.path, 0o755)
    results = Results()
    try:
        workspace.images = images.Images(
            workspace.dir("images"), os.environ["BULKHEAD_DEBIAN_TAR"]
        )
        for name, cls in sorted(harness.ENGINES.items()):
            of_engine = [row for row in rows if row.engine == name]
            for runtime in runtimes if of_engine else []:
                run_engine(cls, workspace, runtime, of_engine, results)
    finally:
        # A second signal would leave half of it.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        leaks.sweep(workspace.tag)
        if wanted.keep_log:
            os.makedirs(wanted.keep_log, exist_ok=True)
            for log in glob.glob(f"{workspace.path}/*.log"):
                shutil.copy(log, wanted.keep_log)
        unmount(workspace.path)
        shutil.rmtree(workspace.path, ignore_errors=True)
    results.table(rows, runtimes)
    sys.exit(1 if results.failed else 0)


def unmount(top):
    """Takes every mount below a directory away, or removing it would empty what is mounted."""
    points = [line.split()[4] for line in harness.read("/proc/self/mountinfo").splitlines()]
    for point in sorted((p for p in points if p.startswith(top + "/")), key=len, reverse=True):
        subprocess.run(["umount", "--lazy", point], check=False)


if __name__ == "__main__":
    main()
