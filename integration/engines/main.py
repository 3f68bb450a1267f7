"""Runs the rows of real engines with bulkhead and with runc, and prints one table.

To be started by hack/integration.sh.
"""

import argparse
import glob
import importlib
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback

import harness
import images
import isolation
import leaks
from table import Results

HERE = os.path.dirname(os.path.abspath(__file__))


def arguments():
    parser = argparse.ArgumentParser(prog="hack/integration.sh", description=__doc__)
    parser.add_argument("--only", action="append", metavar="ROW", help="W05; may be repeated")
    parser.add_argument("--engine", action="append", help="docker; may be repeated")
    parser.add_argument("--runtime", choices=["bulkhead", "shim", "runc", "both"], default="both")
    parser.add_argument("--keep-log", metavar="DIR", help="copies the daemons' logs there")
    return parser.parse_args()


def chosen(wanted):
    """The rows to run. All there are have to cover every exercise."""
    for path in sorted(glob.glob(f"{HERE}/*_engine.py") + glob.glob(f"{HERE}/rows_*.py")):
        importlib.import_module(os.path.basename(path)[:-3])
    missing = set(harness.NUMBERS) - {row.number for row in harness.ROWS}
    if missing:
        sys.exit(f"exercises without a row: {', '.join(sorted(missing))}")
    rows = [
        row
        for row in sorted(harness.ROWS, key=lambda row: (row.engine, row.number, row.title))
        if (not wanted.only or row.number in wanted.only)
        and (not wanted.engine or row.engine in wanted.engine)
    ]
    return rows or sys.exit("no such row")


class OutOfTime(BaseException):
    pass


def out_of_time(_signal, _frame):
    raise OutOfTime


def end(number, _frame):
    # A second signal would leave half of it.
    for other in (signal.SIGTERM, signal.SIGINT):
        signal.signal(other, signal.SIG_IGN)
    sys.exit(128 + number)


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
        word = "FAILED"
        try:
            engine.start()
        except harness.Skip as skip:
            word, why = f"skipped ({skip})", f"{cls.name} is not started"
        except Exception as error:
            why = f"{cls.name} does not start: {error}"
        for row in rows:
            if why:
                results.add(row, runtime, word, 0.0, why)
            else:
                run_row(row, engine, runtime, results)
    finally:
        engine.stop()


def main():
    wanted = arguments()
    rows = chosen(wanted)
    if wanted.runtime == "shim":
        rows = [row for row in rows if getattr(harness.ENGINES[row.engine], "has_shims", False)]
    else:
        rows = [row for row in rows if not row.of_shim]
    results = Results()
    try:
        os.environ["BULKHEAD_DEBIAN_TAR"] = images.debian()
    except harness.Failure as failure:
        sys.exit(f"hack/integration.sh: error: {failure}")
    isolation.enter()
    isolation.prepare()
    signal.signal(signal.SIGALRM, out_of_time)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)

    runtimes = ["bulkhead", "runc"] if wanted.runtime == "both" else [wanted.runtime]
    workspace = harness.Workspace(tempfile.mkdtemp(prefix="bulkhead-integration-"))
    os.chmod(workspace.path, 0o755)
    try:
        workspace.images = images.Images(workspace.dir("images"), os.environ["BULKHEAD_DEBIAN_TAR"])
        for name, cls in sorted(harness.ENGINES.items()):
            of_engine = [row for row in rows if row.engine == name]
            for runtime in runtimes if of_engine else []:
                run_engine(cls, workspace, runtime, of_engine, results)
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        leaks.sweep(workspace.tag)
        if wanted.keep_log:
            os.makedirs(wanted.keep_log, exist_ok=True)
            for log in glob.glob(f"{workspace.path}/*.log"):
                shutil.copy(log, wanted.keep_log)
        isolation.leave()
        isolation.unmount(workspace.path)
        shutil.rmtree(workspace.path, ignore_errors=True)
        # Of a run that was ended too.
        results.table(rows, runtimes)
    sys.exit(1 if results.failed else 0)


if __name__ == "__main__":
    main()
