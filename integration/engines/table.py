"""What came out of the rows, and the table of it."""

import shutil
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
        if runtime != "runc" and word != "passed":
            reason = MAY_SKIP.get(row.engine) or MAY_SKIP.get(row.number)
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
        done = {row.number for (row, _), (word, _) in self.cells.items() if word == "passed"}
        missing = [number for number in NUMBERS if number not in done]
        if not missing:
            print(f"each exercise from {NUMBERS[0]} to {NUMBERS[-1]} has rows that passed")
        elif {row.number for row in rows} == set(NUMBERS):
            print(f"exercises without a row that passed: {', '.join(missing)}")
        for row in rows:
            word, _ = self.cells.get((row, runtimes[0]), ("", 0))
            if word.startswith("skipped"):
                print(f"for another machine: {row.number} {row.engine}: {row.title}: {word}")
        found = [name for name in PROGRAMS if shutil.which(name)]
        told = [run(name, "--version", status=None).both for name in found]
        print("; ".join(text.splitlines()[0].strip() for text in told if text))
        print(f"{time.monotonic() - self.started:.0f} s")
