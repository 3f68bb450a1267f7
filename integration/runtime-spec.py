#!/usr/bin/env python3
"""Checks bulkhead against the JSON schemas of the runtime specification.

    integration/runtime-spec.py CHECKOUT      of github.com/opencontainers/runtime-spec, at v1.3.0

The output of `features` and the configuration that `spec` writes must be valid, and each property
and value of the schemas for Linux must have a row in docs/conformance.md. Needs python3-jsonschema.

    BULKHEAD_BIN   the binary (default: built by hack/build.sh)
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import jsonschema

TOP = Path(__file__).resolve().parent.parent
# Properties of the schemas that the text of the specification does not have (any more), or that
# belong to other platforms.
ELSEWHERE = re.compile(r"(solaris|windows|vm|zos|freebsd|process\.(commandLine|user\.username))\b.*")
# The schema lists the clocks, which the text has as keys of a map.
CLOCK = re.compile(r"^linux\.timeOffsets\.(boottime|monotonic)")
DEPRECATED = re.compile(r"linux\.intelRdt\.enable(CMT|MBM)")


def load(path):
    return json.loads(path.read_text())


def validate(document, schema):
    resolver = jsonschema.RefResolver(schema.as_uri(), load(schema))
    validator = jsonschema.Draft4Validator(load(schema), resolver=resolver)
    return [f"{'.'.join(map(str, e.absolute_path))}: {e.message}" for e in validator.iter_errors(document)]


def resolve(schema, file):
    """Follows a reference; returns the schema and the file that it is in."""
    while "$ref" in schema:
        name, _, pointer = schema["$ref"].partition("#")
        file = file.parent / name if name else file
        schema = load(file)
        for key in filter(None, pointer.split("/")):
            schema = schema[key]
    return schema, file


def walk(schema, file, name):
    """Yields each property below a schema as "a.b[].c{}.d", and each of its values as "a=value"."""
    schema, file = resolve(schema, file)
    for value in schema.get("enum", []):
        yield f"{name}={value}"
    for key in ("allOf", "anyOf", "oneOf"):
        for part in schema.get(key, []):
            yield from walk(part, file, name)
    for key, part in schema.get("properties", {}).items():
        path = f"{name}.{key}" if name else key
        yield path
        yield from walk(part, file, path)
    for part in [*schema.get("patternProperties", {}).values(), schema.get("additionalProperties")]:
        if isinstance(part, dict):
            yield from walk(part, file, name + "{}")
    if isinstance(schema.get("items"), dict):
        yield from walk(schema["items"], file, name + "[]")


def covered(name, rows):
    """Whether a row is about this property or value, or about a part of it."""
    name = CLOCK.sub("linux.timeOffsets{}", name)
    if "=" in name:
        # `a[]=v` is a value of a list: the rows are about a property with its values, or about all.
        plain = name.replace("[]=", "=")
        of = plain.partition("=")[0]
        return plain in rows or of in rows or not any(row.startswith(of + "=") for row in rows)
    ends = (".", "[", "{", "=", ":")
    return any(row == name or row.startswith(name) and row[len(name)] in ends for row in rows)


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    schemas = Path(sys.argv[1]).resolve() / "schema"
    binary = os.environ.get("BULKHEAD_BIN")
    if not binary:
        built = subprocess.run([TOP / "hack/build.sh"], check=True, stdout=subprocess.PIPE, text=True)
        binary = built.stdout.splitlines()[-1]
    errors = []

    features = json.loads(subprocess.run([binary, "features"], check=True, capture_output=True).stdout)
    errors += [f"features: {e}" for e in validate(features, schemas / "features-schema.json")]
    with tempfile.TemporaryDirectory() as bundle:
        for words in [], ["--rootless"]:
            subprocess.run([binary, "spec", *words, "--bundle", bundle], check=True)
            file = Path(bundle) / "config.json"
            errors += [f"spec {words}: {e}" for e in validate(load(file), schemas / "config-schema.json")]
            file.unlink()

    names = subprocess.run([TOP / "hack/conformance.py", "--names"], check=True, capture_output=True, text=True)
    rows = set(names.stdout.splitlines())
    known = set()
    for schema, before in (("config-schema.json", ""), ("state-schema.json", "state"), ("features-schema.json", "features")):
        known.update(walk(load(schemas / schema), schemas / schema, before))
    for name in sorted(known):
        if not (ELSEWHERE.fullmatch(name) or DEPRECATED.fullmatch(name) or covered(name, rows)):
            errors.append(f"{name}: no row in tests/conformance/properties.txt")
    print("\n".join(errors) or f"{len(known)} properties and values of the schemas have a row")
    sys.exit(1 if errors else 0)


main()
