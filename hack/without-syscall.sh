#!/usr/bin/env bash
# Runs a command in which system calls answer ENOSYS, as on an older kernel or under an outer seccomp filter.
#
#   hack/without-syscall.sh NAME[,NAME...] COMMAND [ARGUMENT...]
#   hack/without-syscall.sh openat2 cargo test --test e2e -- mounts:: hostile_paths:: exec:: lifecycle::
#   hack/without-syscall.sh --check [BINARY]
#
# --check runs a container without each of the calls in the table "Kernel features" of ARCHITECTURE.md, and
# fails unless the runtime does what the table says: another way, or an error in one line that leaves
# nothing behind. Needs root; installs what is missing.
set -euo pipefail
# shellcheck source=hack/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

[ $# -gt 0 ] || die "usage: $0 NAME[,NAME...] COMMAND [ARGUMENT...]"
[ "$(id -u)" -eq 0 ] || die "must run as root"
need_packages busybox-static gcc jq libc6-dev
work=$(mktemp -d "${TMPDIR:-/tmp}/bulkhead-without-XXXXXX")
trap 'rm -rf --one-file-system "$work"' EXIT
gcc -O2 -Wall -o "$work/without" "$top/hack/sweep/without.c"
if [ "$1" != --check ]; then
    status=0
    "$work/without" "$@" || status=$?
    exit $status
fi

binary=$(realpath "${2:-$top/target/debug/bulkhead}")
mkdir -p "$work"/rootfs/{bin,dev,proc,sys}
cp "$(command -v busybox)" "$work/rootfs/bin/busybox"
for name in true sleep; do ln -s busybox "$work/rootfs/bin/$name"; done
id=bulkhead-without-$$
(cd "$work" && "$binary" spec && mv config.json base.json)
jq --arg id "$id" '.process.terminal = false | .process.args = ["sleep", "600"] | .linux.cgroupsPath = "/" + $id' \
    "$work/base.json" >"$work/config.json"
trap '"$binary" --root "$work/state" delete --force "$id" 2>/dev/null || true
    rm -rf --one-file-system "$work"' EXIT

# verbs NAME: what create, start, exec and delete do without the call. Prints "works", or the error.
verbs() {
    local call=$1 words
    for words in "create --bundle $work $id" "start $id" "exec $id true" "kill $id KILL"; do
        # shellcheck disable=SC2086 # words
        if ! "$work/without" "$call" "$binary" --root "$work/state" $words >"$work/out" 2>"$work/err" </dev/null; then
            if [ "$(wc -l <"$work/err")" -ne 1 ]; then echo "no single line: $(head -c 300 "$work/err")"; else
                echo "error: ${words%% *}: $(sed "s,$work,DIR,g; s,$id,ID,g" "$work/err")"
            fi
            return
        fi
    done
    echo works
}

failed=0
# check NAME works|error
check() {
    local said left
    said=$(verbs "$1")
    "$binary" --root "$work/state" delete --force "$id" 2>/dev/null || failed=1
    left=$(
        find /sys/fs/cgroup -maxdepth 2 -type d -name "$id"
        find "$work/state" -mindepth 1
        grep -F "$work" /proc/self/mountinfo || true
    )
    [ -z "$left" ] || { failed=1 && said+="; LEFT: $left"; }
    case $said in "$2"*) ;; *) failed=1 said="WRONG, expected $2: $said" ;; esac
    printf '| %s | %s |\n' "$1" "$said"
}
printf '| without | create, start, exec, kill, delete |\n|---|---|\n'
check openat2 works
check clone3 error
check open_tree error
check move_mount error
check fsopen error
check mount_setattr error
check close_range error
check pidfd_open error
check pidfd_send_signal error
check keyctl works
check statx works
check faccessat2 works
check getrandom works
exit $failed
