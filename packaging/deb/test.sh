#!/usr/bin/env bash
# Installs a Debian package in a fresh minimal Debian, runs a container with it as its documents say, and
# purges it. Fails if any step does, or if a file remains.
#
#   packaging/deb/test.sh FILE.deb
#
# Needs root, for the container. SUITE is the Debian to take, by default stable.
set -euo pipefail
# shellcheck source=hack/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../../hack/lib.sh"

[ $# -eq 1 ] || die "usage: packaging/deb/test.sh FILE.deb"
[ "$(id -u)" -eq 0 ] || die "must run as root"
[ -f "$1" ] || die "no such file: $1"
package=$(realpath "$1")
need_packages mmdebstrap util-linux

work=$(mktemp -d "${TMPDIR:-/tmp}/bulkhead-package-XXXXXX")
# What a namespace has mounted below it is gone with that namespace.
trap 'rm -rf --one-file-system "$work"' EXIT
root=$work/root
note "making a root file system"
mmdebstrap --quiet --variant=minbase --include=bash-completion,busybox-static,jq,man-db \
    "${SUITE:-stable}" "$root" >&2 </dev/null
cp "$package" "$root/root/bulkhead.deb"

cat >"$root/root/inside" <<'END'
set -euo pipefail
files() { find / -xdev \( -path /var/lib/dpkg -o -path /var/cache -o -path /var/log -o -path /root \) -prune -o -print | sort; }
said() { grep -q -- "$2" <<<"$1" || { echo "not in the output: $2: $1" >&2; exit 1; }; }

files >/root/before
dpkg --install /root/bulkhead.deb
said "$(bulkhead --version)" "^bulkhead version "
said "$(man -w bulkhead bulkhead-run)" "/usr/share/man/man8/bulkhead-run.8.gz"
said "$(bash -c '. /usr/share/bash-completion/bash_completion
    _completion_loader bulkhead || true; complete -p bulkhead')" bulkhead
grep -q /usr/sbin/bulkhead /usr/share/doc/bulkhead/examples/daemon.json

mkdir -p /root/bundle/rootfs/{bin,dev,proc,sys}
cd /root/bundle
cp /bin/busybox rootfs/bin/sh
bulkhead spec
jq --slurpfile profile /usr/share/bulkhead/seccomp-profiles/default.json '.process.terminal = false |
    .process.args = ["sh", "-c", "echo hello from $HOSTNAME; exit 7"] | .linux.seccomp = $profile[0] |
    .hostname = "inside"' config.json >config.new
mv config.new config.json
status=0
output=$(bulkhead run "package-test-$1") || status=$?
said "$output" "^hello from inside$"
[ $status -eq 7 ]
[ -z "$(bulkhead list --quiet)" ]

[ -z "$(dpkg --verify bulkhead)" ]
dpkg --purge bulkhead
cd /
files >/root/after
diff /root/before /root/after
END

# shellcheck disable=SC2016 # $1 is for the inner shell
unshare --mount --propagation=private --pid --fork sh -euc '
    mount --bind "$1" "$1"
    mount -t proc proc "$1/proc"
    mount --rbind /sys "$1/sys"
    mount --rbind /dev "$1/dev"
    mount -t tmpfs tmpfs "$1/run"
    exec chroot "$1" /bin/bash /root/inside "$2"
' sh "$root" "$$" >&2 </dev/null || die "$1 does not work in a fresh Debian"
note "installed, run and purged: ${package##*/}"
