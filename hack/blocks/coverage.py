"""Whether each block is run by a test, or tells why not."""

import itertools
import os
import re
import shlex

from reading import RUN, TOP, Fault, blocks, documents


def reached():
    """Returns the files that CI runs, directly or through others of them."""
    todo = [TOP / ".ci/run", *(TOP / ".github/workflows").glob("*.yml"), *(TOP / "tests").glob("*.rs")]
    found = set()
    while todo:
        path = todo.pop()
        if path in found:
            continue
        found.add(path)
        code = re.sub(r"^\s*(#|//).*", "", path.read_text(), flags=re.MULTILINE)
        for name in re.findall(r"\b(?:hack|packaging|integration)/[\w./-]+\w", code):
            if (TOP / name).is_file():
                todo.append(TOP / name)
        if path.suffix == ".sh":
            todo += [other for other in path.parent.glob(f"{path.stem}/*") if other.suffix in (".py", ".sh")]
    return found


def commands_of(block):
    """Yields the words of each command of a shell block, without sudo, variables and redirections."""
    text = "\n".join(block.lines).replace("\\\n", " ")
    for line in text.splitlines():
        words = shlex.split(line, comments=True)
        while words and (words[0] == "sudo" or re.match(r"\w+=", words[0])):
            words.pop(0)
        if words:
            yield words


def check_part(block, path, run_by_ci):
    """A part of a configuration file that the engines of hack/integration.sh are started with: equal sections and keys."""
    engines = TOP / "integration/engines"
    users = engines.glob("*.py") if engines / "main.py" in run_by_ci else []
    if not any(path.name in user.read_text() for user in users):
        raise Fault(f"{block.place()}: no engine of the tests uses {path.name}")
    known = {line.partition(" = ")[0].strip() for line in path.read_text().splitlines()}
    for line in filter(str.strip, block.lines):
        if line.partition(" = ")[0].strip() not in known:
            raise Fault(f"{block.place()}: {path.name} does not have: {line.strip()}")


def check_by(block, name, run_by_ci):
    name, _, label = name.partition(" as ")
    path = TOP / name
    if block.kind == "toml":
        check_part(block, path, run_by_ci)
        return
    if path not in run_by_ci:
        raise Fault(f"{block.place()}: CI does not run {name}")
    text = path.read_text()
    if label:
        # The script takes the block from the document, by its label.
        parts = [text, *(part.read_text() for part in path.parent.glob(f"{path.stem}-*.sh"))]
        if not any(re.search(rf"\bfollow \S*{re.escape(os.path.basename(block.path))} {label}$", part, re.MULTILINE)
                   for part in parts):
            raise Fault(f"{block.place()}: {name} does not run the block {label}")
        return
    for words in commands_of(block):
        program = TOP / words[0]
        if "/" in words[0]:
            if not os.access(program, os.X_OK):
                raise Fault(f"{block.place()}: no program {words[0]}")
            if program != path and words[0] not in text:
                raise Fault(f"{block.place()}: {name} does not run {words[0]}")
            sources = [program, path, *(TOP / "hack" / program.stem).glob("*.py"),
                       *(TOP / "integration/engines").glob("main.py")]
            known = "\n".join(source.read_text() for source in sources if source.is_file())
        else:
            # Up to the first option: make install, cargo test.
            lead = list(itertools.takewhile(lambda word: not word.startswith("-"), words))
            if not re.search(r"\b" + r"\b.*\b".join(map(re.escape, lead)) + r"\b", text):
                raise Fault(f"{block.place()}: {name} does not run {' '.join(lead)}")
            known = text
        for option in words[1:]:
            if re.match(r"--\w", option) and option not in known:
                raise Fault(f"{block.place()}: {words[0]} in {name} has no option {option}")


def check():
    """Returns the faults of the markers of all documents."""
    run_by_ci, faults = reached(), []
    for path in documents():
        for block in blocks(path):
            try:
                if block.marker.startswith("by "):
                    check_by(block, block.marker[3:], run_by_ci)
                elif not RUN.fullmatch(block.marker) and not re.fullmatch(r"none \(\w.{7,}\)", block.marker):
                    raise Fault(f"{block.place()}: no test runs this block: see hack/documents.py")
            except Fault as fault:
                faults.append(str(fault))
    return faults
