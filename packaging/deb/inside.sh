#!/usr/bin/env bash
# The part of packaging/deb/test.sh that runs in the fresh Debian, as root: installs a package, runs a
# container with it, purges it, and fails if a file remains.
#
#   inside.sh FILE.deb ID      ID: of the container
set -euo pipefail
package=$1 id=$2
work=$(mktemp -d /tmp/inside-XXXXXX)
trap 'rm -rf "$work"' EXIT

files() {
    find / -xdev \( -path /var/lib/dpkg -o -path /var/cache -o -path /var/log -o -path /root -o -path /run \
        -o -path /tmp \) -prune -o -print | sort
}
said() {
    grep -q -- "$2" <<<"$1" || {
        echo "not in the output: $2: $1" >&2
        exit 1
    }
}

files >"$work/before"
dpkg --install "$package"
said "$(bulkhead --version)" "^bulkhead version "
echo "$(bulkhead --version | tr '\n' ' ')on $(uname -srm)"
if command -v man >/dev/null; then
    said "$(man -w bulkhead bulkhead-run)" "/usr/share/man/man8/bulkhead-run.8.gz"
else
    gzip --test /usr/share/man/man8/bulkhead-run.8.gz
    echo "no man here: the pages are there, and were not shown"
fi
if [ -f /usr/share/bash-completion/bash_completion ]; then
    said "$(bash -c '. /usr/share/bash-completion/bash_completion
        _completion_loader bulkhead || true; complete -p bulkhead')" bulkhead
else
    bash -n /usr/share/bash-completion/completions/bulkhead
    echo "no bash-completion here: the completions are there, and were not tried"
fi
grep -q /usr/sbin/bulkhead /usr/share/doc/bulkhead/examples/daemon.json
cd /usr/share/doc/bulkhead
for page in README.md LICENSE CHANGELOG.md docs/install.md integration/config/crio.conf \
    seccomp-profiles/README.md; do
    [ -s "$page" ] || {
        echo "not in the documentation: $page" >&2
        exit 1
    }
done

mkdir -p "$work/bundle/rootfs"/{bin,dev,proc,sys}
cd "$work/bundle"
cp "$(command -v busybox)" rootfs/bin/sh
bulkhead spec
# shellcheck disable=SC2016 # $HOSTNAME is for the container's shell
jq --slurpfile profile /usr/share/bulkhead/seccomp-profiles/default.json '.process.terminal = false |
    .process.args = ["sh", "-c", "echo hello from $HOSTNAME; exit 7"] | .linux.seccomp = $profile[0] |
    .hostname = "inside"' config.json >config.new
mv config.new config.json
status=0
output=$(bulkhead run "$id") || status=$?
echo "$output"
said "$output" "^hello from inside$"
[ $status -eq 7 ]
[ -z "$(bulkhead list --quiet)" ]

[ -z "$(dpkg --verify bulkhead)" ]
dpkg --purge bulkhead
cd /
files >"$work/after"
diff "$work/before" "$work/after"
echo "nothing is left"
