#!/usr/bin/env bash
# Builds the files of a release from the checked-out commit, and writes them to DIR:
#
#   hack/release.sh [--target TRIPLE]... [DIR]      DIR: default release-files in the target directory
#
#   bulkhead-VERSION-source.tar.gz          the source
#   bulkhead-VERSION-ARCH-linux.tar.gz      static programs, man pages, completions, examples
#   bulkhead-VERSION-ARCH-linux.cdx.json    bill of materials (CycloneDX)
#   bulkhead_VERSION-1_ARCH.deb             the same for Debian and Ubuntu
#   bulkhead-VERSION.buildinfo              the commit and the tools that built it
#   SHA256SUMS
#
# Without --target, builds for x86_64-unknown-linux-musl and aarch64-unknown-linux-musl, of which the
# former is what hack/build.sh builds for the tests, byte by byte. Needs Debian, and installs missing
# packages and Rust targets. packaging/programs lists the programs.
#
# The version is that of Cargo.toml; unless the commit has the tag vVERSION, the commit is part of
# it. Two builds of a commit with the tools listed in the buildinfo give identical files, in any
# directory: hack/reproduce.sh proves it. CARGO_TARGET_DIR is honoured.
set -euo pipefail
# shellcheck source=hack/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

targets=()
while [ $# -gt 0 ]; do
    case $1 in
    --target)
        targets+=("${2:?--target needs a target triple}")
        shift 2
        ;;
    --target=?*)
        targets+=("${1#*=}")
        shift
        ;;
    -*) die "usage: hack/release.sh [--target TRIPLE]... [DIR]" ;;
    *) break ;;
    esac
done
[ $# -le 1 ] || die "takes one directory"
CARGO_TARGET_DIR=$(realpath -m "${CARGO_TARGET_DIR:-$top/target}")
directory=$(realpath -m "${1:-$CARGO_TARGET_DIR/release-files}")
[ ${#targets[@]} -gt 0 ] || targets=(x86_64-unknown-linux-musl aarch64-unknown-linux-musl)

need_cargo
# musl for its licence, which the Rust toolchain links but does not ship.
need_packages binutils dpkg-dev git gzip libseccomp-dev make musl pkg-config python3 tar xz-utils
command -v dpkg-deb >/dev/null || die "dpkg-deb not found: a release is built on Debian"
cd "$top"
[ -z "$(git status --porcelain)" ] || die "the work tree has changes: commit them first"

# Nothing of the caller's environment may reach the files.
umask 022
unset RUSTFLAGS CARGO_ENCODED_RUSTFLAGS CARGO_BUILD_TARGET "${!CARGO_PROFILE_@}"
export LC_ALL=C TZ=UTC CARGO_TARGET_DIR
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH

commit=$(git rev-parse HEAD)
version=$(cargo metadata --locked --no-deps --format-version 1 |
    python3 -c 'import json, sys; print(json.load(sys.stdin)["packages"][0]["version"])')
if ! git tag --points-at HEAD | grep -qx "v$version"; then
    version+="+git$(git log -1 --format=%cd --date=format:%Y%m%d).${commit:0:12}"
fi

mkdir -p "$directory"
work=$(mktemp -d "${TMPDIR:-/tmp}/bulkhead-release-XXXXXX")
trap 'rm -rf "$work"' EXIT
# Not in DIR until all are there: it may be in the tree, which has to be without changes for a build.
out=$work/files
mkdir "$out"

# archive NAME DIRECTORY: the directory's contents as NAME.tar.gz, below a directory NAME.
archive() {
    tar --create --format=gnu --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 \
        --numeric-owner --transform="s|^\.|$1|" --directory "$2" . | gzip -9n >"$out/$1.tar.gz"
}

# build TRIPLE: the files for one target, in a subshell for its environment.
build() (
    triple=$1
    case $triple in
    x86_64-unknown-linux-*) arch=amd64 machine="X86-64" ;;
    aarch64-unknown-linux-*) arch=arm64 machine=AArch64 ;;
    *) die "unknown target: $triple" ;;
    esac
    name=bulkhead-$version-${triple%%-*}-linux
    tree=$work/$triple
    mkdir -p "$tree/programs"

    cross "$triple" "$arch"
    # The C library that Debian maintains, not the older copy that comes with the cross compiler.
    case $triple-$(dpkg --print-architecture) in
    *-musl-* | *-"$arch") ;;
    *) export RUSTFLAGS="-C link-arg=-B/usr/lib/${triple%%-*}-linux-gnu" ;;
    esac
    maps=() features=()
    while read -r program _ feature <&3; do
        binary=$(CARGO_BUILD_TARGET=$triple hack/build.sh "$program" | tail -n 1)
        readelf -hW "$binary" | grep -q "Machine:.*$machine" || die "hack/build.sh did not build for $triple"
        cp "$binary" "$tree/programs"
        maps+=("$binary.map")
        [ -z "$feature" ] || features+=(--feature "$feature")
    done 3< <(programs)

    note "bill of materials and licences for $triple"
    packaging/components.py --target "$triple" --version "$version" --sbom "$out/$name.cdx.json" \
        --licenses "$tree/THIRD-PARTY" --sources "$tree/built-using" "${features[@]}" "${maps[@]}"

    note "$name.tar.gz"
    made=(PROGRAMS="$tree/programs" MANUAL="$work/manual")
    make --silent install "${made[@]}" DESTDIR="$tree/tar" >&2
    install -m 644 "$tree/THIRD-PARTY" "$tree/tar/usr/local/share/doc/bulkhead/"
    archive "$name" "$tree/tar/usr/local"

    note "bulkhead_$version-1_$arch.deb"
    make --silent install "${made[@]}" DESTDIR="$tree/deb" PREFIX=/usr \
        zshdir=/usr/share/zsh/vendor-completions >&2
    install -m 644 "$tree/THIRD-PARTY" "$tree/deb/usr/share/doc/bulkhead/"
    packaging/deb/build.sh "$tree/deb" "$version-1" "$arch" "$(cat "$tree/built-using")" \
        "$out/bulkhead_$version-1_$arch.deb"

    echo "$triple: $(cat "$tree/built-using")" >>"$work/built-using"
)

note "bulkhead $version, commit $commit"
hack/manual.sh "$work/manual"
for triple in "${targets[@]}"; do
    build "$triple"
done
case $(git rev-parse HEAD)$(git status --porcelain) in
"$commit") ;;
*) die "the work tree has changed during the build" ;;
esac
git -c tar.umask=022 archive --format=tar --prefix="bulkhead-$version/" HEAD |
    gzip -9n >"$out/bulkhead-$version-source.tar.gz"
{
    echo "version: $version"
    echo "commit: $commit"
    echo "SOURCE_DATE_EPOCH: $SOURCE_DATE_EPOCH"
    rustc --version
    cargo --version
    cat "$work/built-using"
    # binutils is the linker, and is in a package for each architecture.
    dpkg-query -W -f '${db:Status-Abbrev}${Package} ${Version}\n' binutils-aarch64-linux-gnu \
        binutils-x86-64-linux-gnu dpkg gzip musl tar xz-utils 2>/dev/null | sed -n 's/^ii *//p'
} >"$out/bulkhead-$version.buildinfo"
cd "$out"
sha256sum -- bulkhead[-_]* >SHA256SUMS
rm -f "$directory"/bulkhead[-_]*
cp -- * "$directory"
note "the release is in $directory"
cat SHA256SUMS
