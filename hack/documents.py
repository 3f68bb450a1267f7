#!/usr/bin/env python3
"""Checks that each code block of the documents is run by a test, or tells why it is not.

    hack/documents.py check                      every block of every document has a marker that is true
    hack/documents.py run [--update] [--without FILE]... [FILE...]
                                                 run the blocks of the files (default: all of them), and
                                                 compare their output

A marker is a comment on the line before the block:

    <!-- test: run NAME [from FIXTURE] [if FEATURE...] -->
        The block is run. Blocks of the same NAME share a shell and its directory, which is empty at
        first, or what the FIXTURE makes (hack/blocks/running.py). A command that fails is a failure. A
        `text` block that follows is what the block prints. In a `console` block the commands stand after
        "$ ", with their output below. FEATURE is needed: a machine without it skips the block.
    <!-- test: by FILE [as NAME] -->
        The commands are run by FILE, a script or test that CI runs. With a name, FILE takes the block
        from the document.
    <!-- test: none (REASON) -->
        Nothing can run the block.

In an output, `...` stands for anything within a line, and a line of `...` for any lines. Times,
process IDs and the numbers of namespaces are not compared.

`run` needs root. BULKHEAD_BIN is the program to test. The blocks run in mount and network namespaces of
their own, and their containers are in a state directory of their own. A skipped block is printed as
"skipped: FEATURE: FILE:LINE needs it". With --update, an output that differs is written into the file.
"""

import argparse
import sys
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent / "blocks"))
import coverage  # noqa: E402
import reading  # noqa: E402
import running  # noqa: E402


def main():
    parser = argparse.ArgumentParser(usage=__doc__.split("\n\n")[1])
    parser.add_argument("what", choices=["check", "run"])
    parser.add_argument("--update", action="store_true")
    parser.add_argument("--without", action="append", default=[], metavar="FILE")
    parser.add_argument("files", nargs="*")
    arguments = parser.parse_intermixed_args()
    paths = [path for path in arguments.files or reading.documents() if path not in arguments.without]
    faults = coverage.check() if arguments.what == "check" else running.run(paths, arguments.update)
    for fault in faults:
        print(fault, file=sys.stderr)
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
