#!/usr/bin/env python3
"""Lists what is linked into the binary: a bill of materials, and the licences in one file.

The crates are those of `cargo tree` for the target, without build scripts and procedural macros. The
libraries of C are those that the linker's maps name: they belong to Debian packages or to the Rust
toolchain. The output depends on these, on SOURCE_DATE_EPOCH and on nothing else.
"""

import argparse
import datetime
import html.parser
import json
import os
import re
import subprocess
import sys
import tomllib
import uuid
from pathlib import Path

# The files of Debian's libraries of C: project, SPDX expression, texts in Debian's common-licenses.
DEBIAN = {
    r"libseccomp\.a": ("libseccomp", "LGPL-2.1-only", ["LGPL-2.1"]),
    r"lib(c|dl|m|mvec|pthread|rt|util)(-[0-9.]+)?\.a|crt[1in]\.o": ("glibc", "LGPL-2.1-or-later", []),
    r"libgcc(_eh)?\.a|crt(begin|end)T?\.o": (
        "libgcc", "GPL-3.0-or-later WITH GCC-exception-3.1", ["GPL-3"],
    ),
}  # fmt: skip
# The files that the Rust toolchain ships for musl: project, SPDX expression.
TOOLCHAIN = {
    r"libc\.a|crt[1in]\.o": ("musl", "MIT"),
    r"libunwind\.a": ("libunwind", "Apache-2.0 WITH LLVM-exception"),
    r"crt(begin|end)\.o": ("compiler-rt", "Apache-2.0 WITH LLVM-exception"),
}
LICENSE_FILE = re.compile(r"(?i)^(licen[cs]e|copying|copyright|notice|unlicense)([-_.].*)?$")
RULE = "=" * 100 + "\n"

HEAD = """\
This file has the licences of everything that is linked into the binary of bulkhead {version}
for {target}. bulkhead itself is under the Apache License, Version 2.0.

LIBRARIES OF C

These libraries are linked statically, from Debian packages or from the Rust toolchain:

{libraries}
{lesser} under the GNU Lesser General Public License, version 2.1, whose text is below. You may change
what is under it and link bulkhead with it again; for that purpose, you may also reverse-engineer the
binary:

* The source is that of the Debian source packages named above, in exactly these versions:
  `apt-get source PACKAGE=VERSION`.
* The source of bulkhead is at the commit that `bulkhead --version` prints; the release has it as
  bulkhead-{version}-source.tar.gz, with every script that builds it.
* `CARGO_BUILD_TARGET={target} hack/build.sh` links with the {archives} of the
  system that it runs on: install your version there, and run it in a clean checkout.

RUST

{rust}
CRATES

{crates}
"""


def run(*command):
    return subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE).stdout


class Crate:
    def __init__(self, package, checksum):
        self.name, self.version = package["name"], package["version"]
        # Cargo's old notation for a choice is a slash.
        self.license = (package["license"] or "NOASSERTION").replace("/", " OR ")
        self.authors = package["authors"]
        self.description = (package["description"] or "").strip()
        self.repository = package["repository"]
        self.directory = Path(package["manifest_path"]).parent
        self.checksum = checksum
        self.needs = set()
        self.ref = f"pkg:cargo/{self.name}@{self.version}"

    def texts(self):
        names = sorted(path for path in self.directory.iterdir() if LICENSE_FILE.match(path.name))
        return [(path.name, path.read_text("utf-8", "replace")) for path in names if path.is_file()]

    def component(self):
        component = {
            "type": "library",
            "bom-ref": self.ref,
            "name": self.name,
            "version": self.version,
            "description": " ".join(self.description.split()),
            "licenses": [{"expression": self.license}],
            "purl": self.ref,
        }
        if self.checksum:
            component["hashes"] = [{"alg": "SHA-256", "content": self.checksum}]
        if self.repository:
            component["externalReferences"] = [{"type": "vcs", "url": self.repository}]
        return component


class Library:
    """A static library of C, and the Debian package that it is from."""

    def __init__(self, archive):
        self.name, self.license, self.common = known(DEBIAN, archive)
        self.package = run("dpkg-query", "--search", archive).rpartition(": ")[0]
        fields = "${Version} ${source:Package} ${source:Version} ${Architecture}"
        self.version, self.source, self.source_version, arch = run(
            "dpkg-query", "--show", f"--showformat={fields}", self.package
        ).split()
        self.plain = self.package.partition(":")[0]
        version = self.version.replace("+", "%2B").replace(":", "%3A")
        self.ref = f"pkg:deb/debian/{self.plain}@{version}?arch={arch}"
        self.lesser = self.license.startswith("LGPL-")

    def line(self):
        return (
            f"  {self.name}: {self.license}\n"
            f"      package {self.plain} {self.version}, source {self.source} {self.source_version}\n"
        )

    def texts(self, rust):
        copyright = Path("/usr/share/doc", self.plain, "copyright")
        yield f"{self.plain}: copyright", copyright.read_text("utf-8", "replace")
        for name in self.common:
            yield name, Path("/usr/share/common-licenses", name).read_text("utf-8")

    def component(self):
        return library(self.ref, self.name, self.version, self.license)


class Bundled:
    """A static library of C that comes with the Rust toolchain."""

    source = None
    lesser = False

    def __init__(self, file, rust):
        self.name, self.license = known(TOOLCHAIN, file)
        self.version = musl_version(file) if self.name == "musl" else rust.llvm
        self.rust = rust.version
        self.ref = f"pkg:generic/{self.name}@{self.version}"

    def line(self):
        return f"  {self.name} {self.version}: {self.license}\n      from the Rust toolchain {self.rust}\n"

    def texts(self, rust):
        if self.name == "musl":
            # The toolchain has no copy; Debian's is of another version of musl, with equal terms.
            path = Path("/usr/share/doc/musl/copyright")
            yield "musl: copyright, as Debian records it", path.read_text("utf-8")
        else:
            for name in ("Apache-2.0", "LLVM-exception"):
                yield name, rust.license(name)

    def component(self):
        return library(self.ref, self.name, self.version, self.license)


def library(ref, name, version, license, description=None):
    """Returns a component of the bill of materials."""
    component = {"type": "library", "bom-ref": ref, "name": name, "version": version}
    if description:
        component["description"] = description
    return component | {"licenses": [{"expression": license}], "purl": ref}


def known(table, file):
    """Returns the entry of a table for a file."""
    for pattern, entry in table.items():
        if re.fullmatch(pattern, Path(file).name):
            return entry
    sys.exit(f"components.py: error: the linker used {file}, whose licence is not known here")


def musl_version(file):
    """Returns the version that musl's libc.a, beside the file, has as a string."""
    found = re.findall(rb"\0(1\.\d+\.\d+)\0", Path(file).with_name("libc.a").read_bytes())
    if len(set(found)) != 1:
        sys.exit(f"components.py: error: no version of musl beside {file}")
    return found[0].decode()


def linked(path):
    """Yields the files that went into a binary, by the linker's map."""
    lines = iter(path.read_text("utf-8", "replace").splitlines())
    head = next(lines, "")
    if head.split() == ["VMA", "LMA", "Size", "Align", "Out", "In", "Symbol"]:
        # Of LLD, with which Rust links for x86_64-unknown-linux-gnu: FILE:(SECTION) or FILE(MEMBER):(SECTION).
        found = (re.search(r" (/.+?)(\([^()]+\))?:\(", line) for line in lines)
        yield from (match[1] for match in found if match)
        return
    if not head.startswith("Archive member included"):
        sys.exit(f"components.py: error: not a map of the linker: {path}")
    for line in lines:
        member = re.fullmatch(r"(/.+)\([^()]+\)(\s.*)?", line)
        if member:
            yield member[1]
        elif line and not line.startswith(" "):
            break
    yield from (line[5:] for line in lines if re.match(r"LOAD /.*\.o$", line))


def libraries_of(maps, rust):
    """Returns the libraries of C in the binaries that the maps describe, without duplicates."""
    found = {}
    for file in sorted({os.path.normpath(file) for path in maps for file in linked(path)}):
        if Path(file).name.startswith("liblibseccomp_sys-"):
            # The crate's library has the C library in it.
            directory = run("pkg-config", "--variable=libdir", "libseccomp").strip()
            each = Library(f"{directory}/libseccomp.a")
        elif file.endswith((".rlib", ".rcgu.o")) or Path(file).parent.name.startswith("rustc"):
            # Of crates, or made by the compiler.
            continue
        elif "/rustlib/" in file:
            each = Bundled(file, rust)
        else:
            each = Library(os.path.realpath(file))
        found.setdefault(each.ref, each)
    return sorted(found.values(), key=lambda each: each.name)


class Rust:
    """The standard library."""

    def __init__(self):
        told = run("rustc", "--version", "--verbose")
        self.version = re.search(r"^release: (.*)", told, re.M)[1]
        self.llvm = re.search(r"^LLVM version: (.*)", told, re.M)[1]
        self.documents = Path(run("rustc", "--print", "sysroot").strip(), "share/doc/rust")
        self.ref = f"pkg:generic/rust-std@{self.version}"

    def component(self):
        about = "The Rust standard library"
        return library(self.ref, "rust-std", self.version, "MIT OR Apache-2.0", about)

    def copyright(self):
        return text_of((self.documents / "COPYRIGHT-library.html").read_text("utf-8"))

    def license(self, name):
        return (self.documents / "licenses" / f"{name}.txt").read_text("utf-8")


def text_of(page):
    """Returns the text of a HTML page."""
    pieces = []

    class Text(html.parser.HTMLParser):
        def handle_starttag(self, tag, attrs):
            if tag in ("h1", "h2", "h3", "h4", "p", "li", "pre", "summary"):
                pieces.append("\n")

        def handle_data(self, data):
            pieces.append(data)

    Text().feed(page)
    return re.sub(r"\n\s*\n+", "\n\n", "".join(pieces)).strip() + "\n"


def crates_of(target, features):
    """Returns the root crate and the crates that are linked into it, by name and version."""
    features = [f"--features={name}" for name in features]
    metadata = json.loads(
        run("cargo", "metadata", "--locked", "--format-version=1", f"--filter-platform={target}", *features)
    )
    with open("Cargo.lock", "rb") as file:
        locked = tomllib.load(file)["package"]
    sums = {(entry["name"], entry["version"]): entry.get("checksum") for entry in locked}
    packages = {(entry["name"], entry["version"]): entry for entry in metadata["packages"]}

    tree = run(
        "cargo", "tree", "--locked", "--target", target, "--edges=normal,no-proc-macro",
        "--prefix=depth", "--no-dedupe", "--format= {p}", *features,
    )  # fmt: skip
    crates, path = {}, []
    for line in tree.splitlines():
        depth, name, version = line.split()[:3]
        key = (name, version.removeprefix("v"))
        crate = crates.setdefault(key, Crate(packages[key], sums[key]))
        path[int(depth) :] = [crate]
        if len(path) > 1:
            path[-2].needs.add(crate.ref)
    root = path[0]
    others = sorted((crate for crate in crates.values() if crate is not root), key=lambda c: c.ref)
    return root, others


def bill(target, version, root, crates, libraries, rust):
    """Returns the bill of materials in the format of CycloneDX."""
    moment = datetime.datetime.fromtimestamp(int(os.environ["SOURCE_DATE_EPOCH"]), datetime.UTC)
    top = root.component() | {"type": "application", "version": version}
    others = [*libraries, rust]
    depends = [{"ref": crate.ref, "dependsOn": sorted(crate.needs)} for crate in crates]
    depends += [{"ref": other.ref, "dependsOn": []} for other in others]
    needs = sorted(root.needs) + [other.ref for other in others]
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "timestamp": moment.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "component": top,
            "properties": [{"name": "target", "value": target}],
        },
        "components": [part.component() for part in [*crates, *others]],
        "dependencies": [{"ref": root.ref, "dependsOn": needs}, *depends],
    }
    # A name for these contents.
    name = uuid.uuid5(uuid.NAMESPACE_OID, json.dumps(document, sort_keys=True))
    return json.dumps(document | {"serialNumber": f"urn:uuid:{name}"}, indent=2) + "\n"


def licenses(target, version, crates, libraries, rust):
    """Returns the text of the licence file; a text that several components share is there once."""
    bodies = {}
    for library in libraries:
        for name, text in library.texts(rust):
            bodies.setdefault(text.strip(), (name, []))[1].append(library.name)
    bare = []
    for crate in crates:
        texts = crate.texts()
        for name, text in texts:
            bodies.setdefault(text.strip(), (name, []))[1].append(f"{crate.name} {crate.version}")
        if not texts:
            bare.append(crate)
    for crate in bare:
        for name in re.findall(r"[A-Za-z0-9.-]+", crate.license):
            if name not in ("OR", "AND", "WITH"):
                text = rust.license(name).strip()
                users = bodies.setdefault(text, (name, []))[1]
                authors = ", ".join(crate.authors) or "its authors"
                users.append(f"{crate.name} {crate.version}, copyright {authors}")
    library = f"The Rust standard library {rust.version}"
    bodies[rust.copyright().strip()] = ("COPYRIGHT-library", [library])

    lesser = [library.name for library in libraries if library.lesser]
    archives = {"glibc": "libc.a", "libseccomp": "libseccomp.a"}
    head = HEAD.format(
        lesser=" and ".join(lesser) + (" is" if len(lesser) == 1 else " are"),
        archives=" and the ".join(archives[name] for name in lesser),
        version=version,
        target=target,
        libraries="".join(library.line() for library in libraries),
        rust=f"  {library}: MIT OR Apache-2.0\n",
        crates="\n".join(f"  {crate.name} {crate.version}: {crate.license}" for crate in crates),
    )
    parts = [head]
    for text, (name, users) in bodies.items():
        parts.append(f"{RULE}{name}, of: {'; '.join(dict.fromkeys(users))}\n{RULE}\n{text}\n\n")
    return "".join(parts)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--target", required=True, help="target triple of the binary")
    parser.add_argument("--version", required=True, help="version of the release")
    parser.add_argument("--sbom", required=True, type=Path, help="bill of materials to write")
    parser.add_argument("--licenses", required=True, type=Path, help="licence file to write")
    parser.add_argument("--sources", required=True, type=Path,
                        help="file to write Debian's source packages of the C libraries to")
    parser.add_argument("--feature", action="append", default=[], help="feature of cargo")
    parser.add_argument("maps", nargs="+", type=Path, help="the linker's map of each binary")
    arguments = parser.parse_args()

    root, crates = crates_of(arguments.target, arguments.feature)
    rust = Rust()
    libraries = libraries_of(arguments.maps, rust)
    target, version = arguments.target, arguments.version
    arguments.sbom.write_text(bill(target, version, root, crates, libraries, rust), "utf-8")
    arguments.licenses.write_text(licenses(target, version, crates, libraries, rust), "utf-8")
    sources = sorted({f"{each.source} (= {each.source_version})" for each in libraries if each.source})
    arguments.sources.write_text(", ".join(sources) + "\n", "utf-8")


if __name__ == "__main__":
    sys.exit(main())
