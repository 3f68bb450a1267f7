#!/usr/bin/env bash
# Builds the static release binary and prints its path as the last line of stdout; everything else
# goes to stderr. Installs the Debian packages that the build needs, if they are missing.
#
#   bin=$(hack/build.sh)
#   shim=$(hack/build.sh --shim)      containerd-shim-bulkhead-v2, the shim of containerd
#
# hack/manual.sh makes the man pages and shell completions that go with it.
#
# CARGO_TARGET_DIR is honoured. CARGO_BUILD_TARGET is the target triple; if it is not the machine's,
# the linker and the PKG_CONFIG_LIBDIR of the target must be set (hack/release.sh). Without it, an
# x86-64 machine builds for musl if that target is installed or rustup can install it, since a program linked with musl starts
# faster: glibc queries the processor for its caches at every start, which costs a virtual machine
# some 0.2 ms, and twice as much with the protection of the executable.
set -euo pipefail
# shellcheck source=hack/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

program=bulkhead features=()
case "$*" in
"") ;;
--shim) program=containerd-shim-bulkhead-v2 features=(--features shim) ;;
*) die "unknown arguments: $*; only --shim is known" ;;
esac
need_cargo
need_packages gcc libc6-dev pkg-config libseccomp-dev binutils
cd "$top"

# has TRIPLE: whether the Rust standard library for the triple is there, or can be installed.
has() {
    [ -d "$(rustc --print target-libdir --target "$1")" ] && return
    command -v rustup >/dev/null && timeout 120 rustup target add "$1" >&2 </dev/null
}

libdir=$(pkg-config --variable=libdir libseccomp) || die "pkg-config does not know libseccomp"
[ -f "$libdir/libseccomp.a" ] || die "$libdir/libseccomp.a is missing (Debian: libseccomp-dev)"

# The functions of glibc that libseccomp calls and musl lacks, but for the exception below.
foreign() {
    nm -u "$libdir/libseccomp.a" 2>/dev/null | grep -oE '__([a-z]+_chk|isoc[0-9a-z_]+)$' | sort -u |
        grep -vx __fprintf_chk || true
}

triple=${CARGO_BUILD_TARGET:-$(rustc -vV | sed -n 's/^host: //p')}
[ -n "$triple" ] || die "rustc does not name its host triple"
if [ -z "${CARGO_BUILD_TARGET:-}" ] && [ "$triple" = x86_64-unknown-linux-gnu ]; then
    if ! has x86_64-unknown-linux-musl; then
        note "no Rust standard library for musl: linking with glibc, with which the program starts slower"
    elif [ -n "$(foreign)" ]; then
        note "linking with glibc: $libdir/libseccomp.a needs $(foreign | xargs)"
    else
        triple=x86_64-unknown-linux-musl
    fi
fi

target=${CARGO_TARGET_DIR:-target}
export LIBSECCOMP_LINK_TYPE=static LIBSECCOMP_LIB_PATH=$libdir
for_libc=
case $triple in
*-musl)
    # A directory without glibc's libc.a, and another one for another libseccomp: cargo does not look
    # at the archive again. The one function of libseccomp that calls __fprintf_chk, which musl lacks,
    # prints a filter as text; nothing here calls that function.
    sum=$(sha256sum "$libdir/libseccomp.a")
    LIBSECCOMP_LIB_PATH=$(realpath -m "$target")/$triple/libseccomp/${sum:0:16}
    mkdir -p "$LIBSECCOMP_LIB_PATH"
    cp "$libdir/libseccomp.a" "$LIBSECCOMP_LIB_PATH/"
    for_libc="-C link-arg=-Wl,--defsym=__fprintf_chk=abort"
    ;;
esac
commit=$(git rev-parse HEAD 2>/dev/null || true)
if [ -n "$commit" ]; then
    [ -z "$(git status --porcelain)" ] || commit+=-dirty
    export BULKHEAD_COMMIT=$commit
fi

# Static and not position independent: no dynamic loader and no relocations at start-up, which is
# most of such a short process. As the target's flags, so that they do not reach procedural macros,
# which cannot be static; RUSTFLAGS would win over them and is therefore folded in. Without unwind
# tables (build.ld) and their index: a panic aborts, so nothing reads them.
flags="-C target-feature=+crt-static -C relocation-model=static"
flags+=" -C link-arg=-Wl,--no-eh-frame-hdr -C link-arg=-Wl,-T,$top/hack/build.ld $for_libc ${RUSTFLAGS:-}"
unset RUSTFLAGS CARGO_ENCODED_RUSTFLAGS
upper=${triple^^}
export "CARGO_TARGET_${upper//-/_}_RUSTFLAGS=$flags"

note "building for $triple"
cargo build --release --locked --target "$triple" "${features[@]}" --bin "$program" >&2 </dev/null

bin=$(cd "$target/$triple/release" && pwd)/$program
headers=$(readelf -lW "$bin") || die "not an ELF file: $bin"
case $headers in
*INTERP* | *DYNAMIC*) die "not static: $bin" ;;
esac
note "static, $(stat -c %s "$bin") bytes"
printf '%s\n' "$bin"
