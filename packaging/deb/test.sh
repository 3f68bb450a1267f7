#!/usr/bin/env bash
# Installs a Debian package in a fresh minimal Debian, runs a container with it, and purges it. Fails if
# any step does, or if a file remains.
#
#   packaging/deb/test.sh FILE.deb            in a chroot, in namespaces of its own
#   packaging/deb/test.sh --arm64 FILE.deb    in the emulated arm64 machine of hack/vm: a minute, and
#                                             four for the image of that machine once
#
# Needs root, for the container. SUITE is the Debian of the chroot, by default bookworm.
set -euo pipefail
# shellcheck source=hack/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../../hack/lib.sh"

arm64=
if [ "${1:-}" = --arm64 ]; then
    arm64=1
    shift
fi
[ $# -eq 1 ] || die "usage: packaging/deb/test.sh [--arm64] FILE.deb"
[ "$(id -u)" -eq 0 ] || die "must run as root"
[ -f "$1" ] || die "no such file: $1"
package=$(realpath "$1")
need_packages debian-archive-keyring dpkg mmdebstrap util-linux
arch=$(dpkg-deb --field "$package" Architecture)
inside=$top/packaging/deb/inside.sh

if [ -n "$arm64" ]; then
    [ "$arch" = arm64 ] || die "not a package for arm64: $1"
    note "booting the emulated machine"
    share=$(mktemp -d "${TMPDIR:-/tmp}/bulkhead-package-XXXXXX")
    trap 'rm -rf "$share"' EXIT
    cp "$package" "$inside" "$share"
    # The guest was made without documents and pages, by a setting of dpkg that is still there.
    # shellcheck disable=SC2016 # $1 is for the inner shell
    "$top/hack/vm" run --arm64 --timeout 1200 --share "$share" bash -euc '
        rm -f /etc/dpkg/dpkg.cfg.d/*mmdebstrap*
        exec bash "$1" "$2" package-test' sh "$share/inside.sh" "$share/${package##*/}" >&2 ||
        die "$1 does not work on the emulated arm64 machine"
    note "installed, run and purged on the emulated arm64 machine: ${package##*/}"
    exit 0
fi
[ "$arch" = "$(dpkg --print-architecture)" ] || die "not a package for this machine: $1"

work=$(mktemp -d "${TMPDIR:-/tmp}/bulkhead-package-XXXXXX")
# What a namespace has mounted below it is gone with that namespace.
trap 'rm -rf --one-file-system "$work"' EXIT
root=$work/root
note "making a root file system"
mmdebstrap --quiet --variant=minbase --include=bash-completion,busybox-static,jq,man-db \
    "${SUITE:-bookworm}" "$root" >&2 </dev/null
cp "$package" "$root/root/bulkhead.deb"
cp "$inside" "$root/root/inside.sh"

# shellcheck disable=SC2016 # $1 is for the inner shell
unshare --mount --propagation=private --pid --fork sh -euc '
    mount --bind "$1" "$1"
    mount -t proc proc "$1/proc"
    mount --rbind /sys "$1/sys"
    mount --rbind /dev "$1/dev"
    mount -t tmpfs tmpfs "$1/run"
    exec chroot "$1" /bin/bash /root/inside.sh /root/bulkhead.deb "$2"
' sh "$root" "package-test-$$" >&2 </dev/null || die "$1 does not work in a fresh Debian"
note "installed, run and purged: ${package##*/}"
