#!/usr/bin/env bash
# Proves that a release can be built again: builds the commit that its buildinfo names, from a clone in
# another directory, with another target directory and another environment, and compares the bytes.
#
#   hack/reproduce.sh [DIR]      DIR: the files of the release, from hack/release.sh or downloaded
#                                (default: release-files in the target directory)
#
# Builds for the architectures of which DIR has files. The tools must have the versions that the buildinfo
# lists; if they do not, that is reported first. Prints the files with their checksums. Exit status 1: a
# file differs; the files of the second build are then kept. Takes as long as hack/release.sh.
set -euo pipefail
# shellcheck source=hack/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

[ $# -le 1 ] || die "usage: hack/reproduce.sh [DIR]"
directory=$(realpath -m "${1:-${CARGO_TARGET_DIR:-$top/target}/release-files}")
infos=("$directory"/bulkhead-*.buildinfo)
[ -f "${infos[0]}" ] || die "no files of a release, built by hack/release.sh: $directory"
[ ${#infos[@]} -eq 1 ] || die "files of more than one release: $directory"
commit=$(sed -n 's/^commit: //p' "${infos[0]}")
[ -n "$commit" ] || die "no commit in ${infos[0]}"
git -C "$top" cat-file -e "$commit^{commit}" 2>/dev/null ||
    die "commit $commit is not in $top: fetch it first"
mapfile -t targets < <(sed -nE 's/^([a-z0-9_]+-unknown-linux-[a-z]+): .*/\1/p' "${infos[0]}")
[ ${#targets[@]} -gt 0 ] || die "no targets in ${infos[0]}"
(cd "$directory" && sha256sum --check --quiet --strict SHA256SUMS) || die "damaged files in $directory"

work=$(mktemp -d "${TMPDIR:-/tmp}/bulkhead-reproduce-XXXXXX")
keep=
trap '[ -n "$keep" ] || rm -rf "$work"' EXIT
clone=$work/a-directory-with-another-name
note "building $commit again, for ${targets[*]}, in $work"
git clone --quiet --no-checkout "$top" "$clone"
git -C "$clone" fetch --quiet "$top" 'refs/tags/*:refs/tags/*'
git -C "$clone" -c advice.detachedHead=false checkout --quiet "$commit"
mkdir "$work/tmp"
started=$SECONDS
# What differs here must not reach the files.
(
    umask 077
    export CARGO_TARGET_DIR=$work/objects TMPDIR=$work/tmp
    export TZ=Pacific/Auckland LC_ALL=C.UTF-8 RUSTFLAGS="-C debuginfo=1" CARGO_PROFILE_RELEASE_OPT_LEVEL=1
    "$clone/hack/release.sh" "${targets[@]/#/--target=}" "$work/again" >/dev/null
)
note "built again in $((SECONDS - started)) s"

status=0
info=${infos[0]##*/}
cmp --silent "$directory/$info" "$work/again/$info" || {
    note "other tools than those that built $directory:"
    diff "$directory/$info" "$work/again/$info" >&2 || true
}
while read -r sum name; do
    other=$(cd "$work/again" && sha256sum -- "$name" 2>/dev/null | cut -d ' ' -f 1) || true
    if [ "$sum" = "$other" ]; then
        printf 'same     %s  %s\n' "$sum" "$name"
    else
        printf 'differs  %s  %s, and %s\n' "$sum" "$name" "${other:-no such file}"
        status=1
    fi
done <"$directory/SHA256SUMS"
if [ $status -ne 0 ]; then
    keep=1
    die "not the same bytes; the second build is in $work/again"
fi
note "all files are the same, byte by byte"
