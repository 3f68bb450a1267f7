#!/usr/bin/env python3
"""Compares the shim of bulkhead with containerd's shim for runc: the time of `ctr run` and of
`ctr task exec`, and the memory of an idle shim with one container. Prints a table.

Starts a private containerd in a private mount namespace. Turns of the candidates alternate, so that a busy
machine slows all of them. Needs root, and containerd, runc and busybox-static of Debian.

  hack/bench-shim.py [--turns N] BULKHEAD SHIM
"""

import argparse
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

CONFIG = """
version = 2
root = "{home}/root"
state = "{home}/state"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
  address = "{home}/c.sock"
[plugins."io.containerd.internal.v1.opt"]
  path = "{home}/opt"
"""
ISOLATED = "BULKHEAD_BENCH_ISOLATED"


class Candidate:
    def __init__(self, name, options):
        self.name, self.options = name, options
        self.runs, self.execs, self.memory, self.threads = [], [], 0, 0


class Bench:
    def __init__(self, home, shim):
        self.home, self.count = home, 0
        os.makedirs(f"{home}/path")
        os.symlink(shim, f"{home}/path/containerd-shim-bulkhead-v2")
        self.rootfs = f"{home}/rootfs"
        os.makedirs(f"{self.rootfs}/bin")
        shutil.copy("/bin/busybox", f"{self.rootfs}/bin/busybox")
        for name in ("true", "sleep"):
            os.symlink("busybox", f"{self.rootfs}/bin/{name}")
        for name in ("proc", "sys", "dev", "etc", "tmp"):
            os.makedirs(f"{self.rootfs}/{name}")
        with open(f"{home}/config.toml", "w") as file:
            file.write(CONFIG.format(home=home))
        path = f"{home}/path:{os.environ['PATH']}"
        with open(f"{home}/log", "w") as log:
            self.daemon = subprocess.Popen(
                ["containerd", "--config", f"{home}/config.toml"],
                stdout=log, stderr=log, env=dict(os.environ, PATH=path),
            )  # fmt: skip
        for _ in range(200):
            if self.ctr("version", check=False) == 0:
                return
            time.sleep(0.05)
        sys.exit("containerd does not answer")

    def ctr(self, *words, check=True):
        done = subprocess.run(
            ["ctr", "--address", f"{self.home}/c.sock", *words],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )  # fmt: skip
        if check and done.returncode != 0:
            sys.exit(f"ctr {' '.join(words)}: {done.stderr.decode()}")
        return done.returncode

    def timed(self, *words):
        started = time.monotonic()
        self.ctr(*words)
        return (time.monotonic() - started) * 1000

    def run(self, candidate):
        self.count += 1
        words = ["run", "--rm", *candidate.options, "--rootfs", self.rootfs]
        return self.timed(*words, f"c{self.count}", "/bin/true")

    def exec(self, candidate):
        self.count += 1
        return self.timed("task", "exec", "--exec-id", f"e{self.count}", candidate.name, "/bin/true")

    def start(self, candidate):
        options = ["run", "-d", *candidate.options, "--rootfs", self.rootfs]
        self.ctr(*options, candidate.name, "/bin/sleep", "100000")

    def remove(self, candidate):
        self.ctr("task", "rm", "-f", candidate.name, check=False)
        self.ctr("container", "rm", candidate.name, check=False)

    def shim(self, candidate):
        """The process id of the shim."""
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/cmdline") as file:
                    words = file.read().split("\0")
            except OSError:
                continue
            if "containerd-shim" in words[0] and candidate.name in words and self.home in str(words):
                return pid
        sys.exit(f"no shim of {candidate.name}")


def field(path, name):
    with open(path) as file:
        return int(re.search(rf"^{name}:\s*(\d+)", file.read(), re.M)[1])


def measure(bench, candidates, turns):
    for candidate in candidates:
        bench.start(candidate)
        bench.run(candidate)
        bench.exec(candidate)
    for turn in range(turns):
        for candidate in candidates[turn % len(candidates) :] + candidates[: turn % len(candidates)]:
            candidate.runs.append(bench.run(candidate))
            candidate.execs.append(bench.exec(candidate))
    # The collector of a Go program gives memory back within half a minute.
    time.sleep(35)
    for candidate in candidates:
        pid = bench.shim(candidate)
        candidate.memory = field(f"/proc/{pid}/smaps_rollup", "Pss")
        candidate.threads = field(f"/proc/{pid}/status", "Threads")


def table(candidates, client):
    base = candidates[-1]
    print("| | `ctr run --rm` (ms) | `ctr task exec` (ms) | idle shim, PSS (KiB) | threads |")
    print("|---|--:|--:|--:|--:|")
    for one in candidates:
        cells = []
        for own, other in ((one.runs, base.runs), (one.execs, base.execs)):
            own, other = statistics.median(own), statistics.median(other)
            net = (own - client) / (other - client)
            cells.append(f"{own:.1f} ({own / other:.2f}, net {net:.2f})")
        cells.append(f"{one.memory} ({one.memory / base.memory:.2f})")
        print(f"| {one.name} | {' | '.join(cells)} | {one.threads} |")
    print(
        f"\nMedians of {len(base.runs)} turns; in brackets the ratio to the last row, and the ratio "
        f"without the {client:.1f} ms that `ctr version` takes."
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--turns", type=int, default=40)
    parser.add_argument("bulkhead", type=os.path.realpath)
    parser.add_argument("shim", type=os.path.realpath)
    wanted = parser.parse_args()
    if ISOLATED not in os.environ:
        os.environ[ISOLATED] = "1"
        words = ["unshare", "--mount", "--propagation", "private"]
        os.execvp(words[0], [*words, sys.executable, *sys.argv])
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/run"], check=True)
    home = tempfile.mkdtemp(prefix="bench-", dir="/run")
    bench = Bench(home, wanted.shim)
    root = ["--runc-root", f"{home}/runc"]
    candidates = [
        Candidate("bulkhead-shim", ["--runtime", "io.containerd.bulkhead.v2"]),
        Candidate("go-shim-bulkhead", ["--runc-binary", wanted.bulkhead, *root]),
        Candidate("go-shim-runc", ["--runc-binary", shutil.which("runc"), *root]),
    ]
    try:
        measure(bench, candidates, wanted.turns)
        client = statistics.median(bench.timed("version") for _ in range(wanted.turns))
        table(candidates, client)
    finally:
        for candidate in candidates:
            bench.remove(candidate)
        bench.daemon.send_signal(signal.SIGTERM)
        bench.daemon.wait()


if __name__ == "__main__":
    main()
