#!/usr/bin/env bash
# Builds the static release binary and prints its path as the last line of stdout; everything else
# goes to stderr. Installs the Debian packages that the build needs, if they are missing.
#
#   bin=$(hack/build.sh)
#
# hack/manual.sh makes the man pages and shell completions that go with it.
#
# CARGO_TARGET_DIR is honoured. CARGO_BUILD_TARGET is the target triple; if it is not the machine's,
# the linker and the PKG_CONFIG_LIBDIR of the target must be set (hack/release.sh).
set -euo pipefail
# shellcheck source=hack/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

[ $# -eq 0 ] || die "takes no arguments"
need_cargo
need_packages gcc libc6-dev pkg-config libseccomp-dev binutils
cd "$top"

triple=${CARGO_BUILD_TARGET:-$(rustc -vV | sed -n 's/^host: //p')}
[ -n "$triple" ] || die "rustc does not name its host triple"
libdir=$(pkg-config --variable=libdir libseccomp) || die "pkg-config does not know libseccomp"
[ -f "$libdir/libseccomp.a" ] || die "$libdir/libseccomp.a is missing (Debian: libseccomp-dev)"

export LIBSECCOMP_LINK_TYPE=static LIBSECCOMP_LIB_PATH=$libdir
commit=$(git rev-parse HEAD 2>/dev/null || true)
if [ -n "$commit" ]; then
    [ -z "$(git status --porcelain)" ] || commit+=-dirty
    export BULKHEAD_COMMIT=$commit
fi

# Static and not position independent: no dynamic loader and no relocations at start-up, which is
# most of such a short process. As the target's flags, so that they do not reach procedural macros,
# which cannot be static; RUSTFLAGS would win over them and is therefore folded in. Without the index
# of the unwind tables: a panic aborts, so nothing reads it.
flags="-C target-feature=+crt-static -C relocation-model=static"
flags+=" -C link-arg=-Wl,--no-eh-frame-hdr ${RUSTFLAGS:-}"
unset RUSTFLAGS CARGO_ENCODED_RUSTFLAGS
upper=${triple^^}
export "CARGO_TARGET_${upper//-/_}_RUSTFLAGS=$flags"

note "building for $triple"
cargo build --release --locked --target "$triple" --bin bulkhead >&2 </dev/null

target=${CARGO_TARGET_DIR:-target}
bin=$(cd "$target/$triple/release" && pwd)/bulkhead
headers=$(readelf -lW "$bin") || die "not an ELF file: $bin"
case $headers in
*INTERP* | *DYNAMIC*) die "not static: $bin" ;;
esac
note "static, $(stat -c %s "$bin") bytes"
printf '%s\n' "$bin"
