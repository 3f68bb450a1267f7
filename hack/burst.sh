#!/usr/bin/env bash
# Creates many containers at once and removes them at once, with bulkhead, crun and runc in turn.
# Fails if a call fails or if anything is left, and prints a table of the times.
#
#   hack/burst.sh [--systemd] [COUNT]        (200)
#
# --systemd has systemd make the cgroups; in the virtual machine:
#   hack/vm run --share DIR env BULKHEAD_BIN=DIR/bulkhead hack/burst.sh --systemd
# BULKHEAD_BIN is the binary (default: built by hack/build.sh). A program that cannot run a single
# container here is left out, with the reason. BURST_PATIENCE is the time limit of all calls
# together in seconds (300): calls that have not ended then are killed, and count as failed.
set -euo pipefail
# shellcheck source=hack/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

systemd=
if [ "${1:-}" = --systemd ]; then
    systemd=--systemd-cgroup
    shift
fi
count=${1:-200}
case $count in '' | *[!0-9]*) die "usage: $0 [--systemd] [COUNT]" ;; esac
[ "$(id -u)" -eq 0 ] || die "must run as root"
need_packages busybox-static crun jq runc
BULKHEAD_BIN=${BULKHEAD_BIN:-}
[ -n "$BULKHEAD_BIN" ] || BULKHEAD_BIN=$("$top/hack/build.sh" | tail -n 1)

work=$(mktemp -d "${TMPDIR:-/tmp}/bulkhead-burst-XXXXXX")
tag=bulkhead-burst-$$
trap 'rm -rf --one-file-system "$work"' EXIT
mkdir -p "$work"/rootfs/{bin,dev,proc,sys}
cp "$(command -v busybox)" "$work/rootfs/bin/busybox"
ln -s busybox "$work/rootfs/bin/sleep"
(cd "$work" && "$BULKHEAD_BIN" spec && mv config.json base.json)

# prepare NAME: a bundle for each container, all beside the same root file system.
prepare() {
    local number place
    for number in $(seq "$count"); do
        place=/$tag/$1-$number
        [ -z "$systemd" ] || place=system.slice:$tag:$1-$number
        mkdir -p "$work/$1/$number"
        jq --arg rootfs "$work/rootfs" --arg place "$place" \
            '.ociVersion = "1.0.2" | .process.terminal = false | .process.args = ["sleep", "3600"]
             | .root.path = $rootfs | .linux.cgroupsPath = $place | .linux.resources.pids.limit = 9' \
            "$work/base.json" >"$work/$1/$number/config.json"
    done
}

# at_once NAME PROGRAM WORDS...: the call for each container, all at the same time; prints the
# milliseconds until the last has ended, and fails if one has.
at_once() {
    local name=$1 program=$2 number started failed=0 pids=() watch
    shift 2
    started=$(date +%s%N)
    for number in $(seq "$count"); do
        "$program" --root "$work/state-$name" $systemd "${@//NUMBER/$number}" \
            </dev/null >/dev/null 2>"$work/$name/$number/$1.err" &
        pids+=($!)
    done
    (
        sleep "${BURST_PATIENCE:-300}"
        kill -KILL "${pids[@]}"
    ) </dev/null >/dev/null 2>&1 &
    watch=$!
    for number in "${pids[@]}"; do wait "$number" || failed=$((failed + 1)); done
    kill "$watch"
    echo "$((($(date +%s%N) - started) / 1000000))"
    [ $failed -eq 0 ] || {
        note "$name: $failed of $count calls of $1 failed: $(cat "$work/$name"/*/"$1.err" | sort | uniq -c | sort -rn | head -n 3)"
        return 1
    }
}

# What is left of a burst, one thing a line. What is just going is given a few seconds.
left() {
    local tries=10 found
    while
        found=$(
            find /sys/fs/cgroup -depth -type d -path "*$tag*$1-*" 2>/dev/null
            find "$work/state-$1" -mindepth 1 -maxdepth 1 2>/dev/null
            grep -o "$work/[^ ]*" /proc/self/mountinfo || true
            [ -z "$systemd" ] || systemctl list-units --all --plain --no-legend "$tag-$1-*"
        )
        [ -n "$found" ] && [ $tries -gt 0 ]
    do
        tries=$((tries - 1))
        sleep 0.5
    done
    [ -z "$found" ] || printf '%s\n' "$found"
}

status=0
printf '| %s at once%s | create, ms | delete --force, ms | things left |\n|---|--:|--:|--:|\n' "$count" "${systemd:+, systemd}"
for name in bulkhead crun runc; do
    program=$(command -v "$name" || true)
    [ "$name" != bulkhead ] || program=$BULKHEAD_BIN
    all=$count count=1
    prepare "$name"
    words=(create --bundle "$work/$name/NUMBER" "$tag-$name-NUMBER")
    if ! at_once "$name" "$program" "${words[@]}" >/dev/null 2>&1; then
        printf '| %s | - | - | does not run here: %s |\n' "$name" "$(tail -n 1 "$work/$name/1/create.err" | cut -c 1-120)"
        [ "$name" != bulkhead ] || status=1
        at_once "$name" "$program" delete --force "$tag-$name-NUMBER" >/dev/null 2>&1 || true
        count=$all
        continue
    fi
    at_once "$name" "$program" delete --force "$tag-$name-NUMBER" >/dev/null
    count=$all
    prepare "$name"
    verdict=0
    created=$(at_once "$name" "$program" "${words[@]}") || verdict=1
    deleted=$(at_once "$name" "$program" delete --force "$tag-$name-NUMBER") || verdict=1
    remains=$(left "$name" | wc -l)
    [ "$remains" -eq 0 ] || verdict=1
    [ "$name" != bulkhead ] || status=$verdict
    printf '| %s | %s | %s | %s |\n' "$name" "${created:-failed}" "${deleted:-failed}" "$remains"
done
find /sys/fs/cgroup -depth -type d -name "$tag" -exec rmdir {} + 2>/dev/null || true
exit $status
