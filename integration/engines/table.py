"""What came out of the rows, and the table of it."""

import time

from harness import MAY_SKIP, NUMBERS, run

PROGRAMS = "docker dockerd containerd docker-compose podman conmon runc".split()


class Results:
    def __init__(self):
        self.started = time.monotonic()
        self.cells = {}
        self.failed = False

    def add(self, row, runtime, word, seconds, why=""):
        self.cells[row, runtime] = (word, seconds)
        line = f"{row.number} {row.engine}: {row.title}: {runtime}: {word} ({seconds:.1f} s)"
        print(f"{line}\n    {why}" if why else line, flush=True)
        if runtime == "bulkhead" and word != "passed":
            reason = MAY_SKIP.get(row.number)
            self.failed |= not (reason and word.startswith(f"skipped ({reason}"))

    def table(self, rows, runtimes):
        print(f"\n| row | engine | what | {' | '.join(runtimes)} | seconds |")
        print("|---|---|---|" + "---|" * len(runtimes) + "--:|")
        for row in rows:
            cells = [self.cells.get((row, name), ("not run", 0)) for name in runtimes]
            words = " | ".join(word for word, _ in cells)
            seconds = " / ".join(f"{seconds:.1f}" for _, seconds in cells)
            print(f"| {row.number} | {row.engine} | {row.title} | {words} | {seconds} |")
        print("")
        for name in runtimes:
            words = [word for (_, of), (word, _) in self.cells.items() if of == name]
            passed, failed = words.count("passed"), words.count("FAILED")
            skipped = len(words) - passed - failed
            print(f"{name}: {passed} passed, {failed} failed, {skipped} skipped")
        covered = {row.number for row in rows}
        if covered == set(NUMBERS):
            print(f"every exercise from {NUMBERS[0]} to {NUMBERS[-1]} is covered")
        for row in rows:
            word, _ = self.cells.get((row, "bulkhead"), ("", 0))
            if word.startswith("skipped"):
                print(f"for another machine: {row.number} {row.engine}: {row.title}: {word}")
        told = [run(name, "--version", status=None).both for name in PROGRAMS]
        print("; ".join(text.splitlines()[0].strip() for text in told if text))
        print(f"{time.monotonic() - self.started:.0f} s")
