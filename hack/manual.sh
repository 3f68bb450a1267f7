#!/usr/bin/env bash
# Writes the man pages (DIR/man/*.8) and the completions for bash, zsh and fish (DIR/completions/*),
# generated from the definition of the command line.
#
#   hack/manual.sh DIR
#
# CARGO_TARGET_DIR is honoured.
set -euo pipefail
# shellcheck source=hack/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

if [ $# -ne 1 ] || [ -z "$1" ]; then
    die "takes one argument: the directory to write to"
fi
need_cargo
need_packages gcc libc6-dev pkg-config libseccomp-dev
mkdir -p "$1"
directory=$(cd "$1" && pwd)
cd "$top"

cargo run --quiet --locked --example manual -- "$directory" >&2 </dev/null
note "man pages and completions are in $directory"
