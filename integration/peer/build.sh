#!/usr/bin/env bash
# Builds the peer, static and optimised as bulkhead is, and prints its path as the last line of
# stdout; everything else goes to stderr. Takes some minutes: it is a dependency tree of its own.
#
#   PEER_BIN=$(integration/peer/build.sh) integration/compare.sh
#
# Debian packages: gcc, libc6-dev, pkg-config and libseccomp-dev (installed if missing).
# PEER_TARGET_DIR is where cargo puts it (default: integration/peer/target).
set -euo pipefail
# shellcheck source=hack/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../../hack/lib.sh"

[ $# -eq 0 ] || die "takes no arguments"
need_cargo
need_packages gcc libc6-dev pkg-config libseccomp-dev
cd "$top/integration/peer"

triple=$(rustc -vV | sed -n 's/^host: //p')
LIBSECCOMP_LIB_PATH=$(pkg-config --variable=libdir libseccomp)
export LIBSECCOMP_LINK_TYPE=static LIBSECCOMP_LIB_PATH
export CARGO_TARGET_DIR=${PEER_TARGET_DIR:-$PWD/target}
unset CARGO_ENCODED_RUSTFLAGS
export RUSTFLAGS="-C target-feature=+crt-static -C relocation-model=static"
cargo build --release --locked --target "$triple" >&2 </dev/null
printf '%s\n' "$CARGO_TARGET_DIR/$triple/release/peer"
