#!/usr/bin/env bash
# Builds a static release binary and prints its path as the last line of stdout; everything else
# goes to stderr. Installs the Debian packages that the build needs, if they are missing.
#
#   bin=$(hack/build.sh [PROGRAM])      PROGRAM: a name from packaging/programs (default: bulkhead)
#
# PATH.map, beside the binary, is the linker's map. hack/manual.sh makes the man pages and shell completions.
#
# CARGO_TARGET_DIR is honoured. CARGO_BUILD_TARGET is the target triple; if it is not the machine's,
# the linker and the PKG_CONFIG_LIBDIR of the target must be set (`cross` of hack/lib.sh). Without it, an
# x86-64 or arm64 machine builds for musl if that target is installed or rustup can install it, since a
# program linked with musl starts faster: on x86-64, glibc queries the processor for its caches at every
# start, which costs a virtual machine some 0.2 ms, and twice as much with the protection of the executable.
#
# The bytes of the binary do not depend on the directories of the tree, of the target and of cargo.
set -euo pipefail
# shellcheck source=hack/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

[ $# -le 1 ] || die "usage: hack/build.sh [PROGRAM]"
program=${1:-bulkhead}
need_cargo
need_packages gcc libc6-dev pkg-config libseccomp-dev binutils
cd "$top"
found=$(programs | grep "^$program ") || die "no such program in packaging/programs: $program"
read -r _ _ feature <<<"$found"

# has TRIPLE: whether the Rust standard library for the triple is there, or can be installed.
has() {
    [ -d "$(rustc --print target-libdir --target "$1")" ] && return
    command -v rustup >/dev/null && timeout 120 rustup target add "$1" >&2 </dev/null
}

libdir=$(pkg-config --variable=libdir libseccomp) || die "pkg-config does not know libseccomp"
[ -f "$libdir/libseccomp.a" ] || die "$libdir/libseccomp.a is missing (Debian: libseccomp-dev)"

# The functions of glibc that libseccomp calls and musl lacks, but for the exception below.
foreign() {
    readelf -sW "$libdir/libseccomp.a" 2>/dev/null | awk '$7 == "UND" { print $8 }' |
        grep -oE '^__([a-z]+_chk|isoc[0-9a-z_]+)$' | sort -u | grep -vx __fprintf_chk || true
}

host=$(rustc -vV | sed -n 's/^host: //p')
triple=${CARGO_BUILD_TARGET:-$host}
[ -n "$triple" ] || die "rustc does not name its host triple"
case ${CARGO_BUILD_TARGET:-host}-$host in
host-x86_64-unknown-linux-gnu | host-aarch64-unknown-linux-gnu)
    if ! has "${host/%gnu/musl}"; then
        note "no Rust standard library for musl: linking with glibc, with which the program starts slower"
    elif [ -n "$(foreign)" ]; then
        note "linking with glibc: $libdir/libseccomp.a needs $(foreign | xargs)"
    else
        triple=${host/%gnu/musl}
    fi
    ;;
esac

target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
export LIBSECCOMP_LINK_TYPE=static LIBSECCOMP_LIB_PATH=$libdir
for_libc=
case $triple in
*-musl)
    [ -z "$(foreign)" ] || die "musl lacks what $libdir/libseccomp.a calls: $(foreign | xargs)"
    # A directory without glibc's libc.a, and another one for another libseccomp: cargo does not look
    # at the archive again. The one function of libseccomp that calls __fprintf_chk, which musl lacks,
    # prints a filter as text; nothing here calls that function.
    sum=$(sha256sum "$libdir/libseccomp.a")
    LIBSECCOMP_LIB_PATH=$target/$triple/libseccomp/${sum:0:16}
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
# Messages of a panic name files of the source. The last match wins: the target is usually below the tree.
flags+=" --remap-path-prefix=$top=/bulkhead --remap-path-prefix=$target=/target"
flags+=" --remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/cargo"
unset RUSTFLAGS CARGO_ENCODED_RUSTFLAGS
upper=${triple^^}
export "CARGO_TARGET_${upper//-/_}_RUSTFLAGS=$flags"

note "building $program for $triple"
started=$SECONDS
bin=$target/$triple/release/$program
cargo rustc --release --locked --target "$triple" --bin "$program" ${feature:+--features "$feature"} -- \
    -C "link-arg=-Wl,-Map=$bin.map" >&2 </dev/null

headers=$(readelf -lW "$bin") || die "not an ELF file: $bin"
case $headers in
*INTERP* | *DYNAMIC*) die "not static: $bin" ;;
esac
note "static, $(stat -c %s "$bin") bytes, built in $((SECONDS - started)) s"
printf '%s\n' "$bin"
