#!/usr/bin/env bash
# Loads the machine with containers, and counts processes, mounts, cgroups, descriptors and disk before and
# after each exercise. Prints a table, and fails if a call fails that must not, or if anything is left.
#
#   hack/soak.sh [--count N] [--alive N] [--binary FILE] [--peer NAME=PATH]...
#
# --count is the number of runs and of execs (10,000), --alive the number of containers at once (1,000),
# --binary the program (default: built by hack/build.sh). --peer adds the rows of another runtime with the
# same command line. Everything runs in a private mount namespace with a state directory of its own. Needs
# root; all of it takes about ten minutes for each runtime.
# shellcheck disable=SC2317 # functions that are called by their names
set -euo pipefail
# shellcheck source=hack/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

if [ -z "${SOAK_INSIDE:-}" ]; then
    [ "$(id -u)" -eq 0 ] || die "must run as root"
    SOAK_INSIDE=1 exec unshare --mount --propagation private "$0" "$@"
fi
count=10000 alive=1000 binary='' peers=()
while [ $# -gt 0 ]; do
    case $1 in
    --count) count=$2 ;;
    --alive) alive=$2 ;;
    --binary) binary=$2 ;;
    --peer) peers+=("$2") ;;
    *) die "unknown option: $1" ;;
    esac
    shift 2
done
need_packages busybox-static jq util-linux
[ -n "$binary" ] || binary=$("$top/hack/build.sh" | tail -n 1)
binary=$(realpath "$binary")

work=$(mktemp -d "${TMPDIR:-/tmp}/bulkhead-soak-XXXXXX")
tag=bulkhead-soak-$$
# Ends what an exercise that fails or is interrupted has left.
clean_up() {
    local path pid
    while read -r path; do
        while read -r pid; do kill -KILL "$pid" 2>/dev/null || true; done <"$path/cgroup.procs"
    done < <(find /sys/fs/cgroup -depth -type d -path "*$tag*" 2>/dev/null)
    sleep 0.2
    find /sys/fs/cgroup -depth -type d -path "*$tag*" -exec rmdir {} + 2>/dev/null || true
    umount "$work/small" 2>/dev/null || true
    rm -rf --one-file-system "$work"
}
trap clean_up EXIT
trap 'exit 130' INT TERM
mkdir -p "$work"/rootfs/{bin,dev,proc,sys}
cp "$(command -v busybox)" "$work/rootfs/bin/busybox"
for name in true sleep sh; do ln -s busybox "$work/rootfs/bin/$name"; done
(cd "$work" && "$binary" spec && mv config.json base.json)

# bundle NAME PROGRAM [JQ]: a bundle whose configuration is changed by JQ.
bundle() {
    mkdir -p "$work/$1"
    # shellcheck disable=SC2016 # words of jq
    jq --arg rootfs "$work/rootfs" --arg place "/$tag/$1" --arg program "$2" \
        '.ociVersion = "1.0.2" | .process.terminal = false | .process.args = ($program | split(" "))
         | .root.path = $rootfs | del(.process.rlimits) | .linux.cgroupsPath = $place | '"${3:-.}" "$work/base.json" >"$work/$1/config.json"
}

# What the machine has, as numbers: processes with the tag, mounts, cgroups, files of the state, descriptors of
# the whole machine.
numbers() {
    local processes=0 path
    for path in /proc/[0-9]*/cgroup; do ! grep -qs "$tag" "$path" || processes=$((processes + 1)); done
    echo "$processes $(wc -l </proc/self/mountinfo) $(find /sys/fs/cgroup -type d -path "*$tag*" 2>/dev/null | wc -l)" \
        "$(find "$work/state" -mindepth 1 2>/dev/null | wc -l) $(cut -f 1 /proc/sys/fs/file-nr)"
}

call() { "$program" --root "$work/state" "$@" </dev/null; }

status=0
# row NAME FUNCTION: runs an exercise and prints its line; the function prints its own figures.
row() {
    local name=$1 before after said verdict=ok started=$SECONDS tries=20
    row=$((row + 1))
    # Plain lines, but on a terminal: the table is the output.
    [ -t 2 ] || note "[$row/$rows] $runtime: $name"
    before=$(numbers)
    tick "[$row/$rows] $runtime: $name"
    said=$("$2" 2>"$work/errors") || verdict=FAILED
    # What is just going is given a few seconds; descriptors are the whole machine's, and only shown.
    while after=$(numbers) && [ "${after% *}" != "${before% *}" ] && [ $tries -gt 0 ]; do
        tries=$((tries - 1))
        sleep 0.5
    done
    tock
    [ "${after% *}" = "${before% *}" ] || verdict="LEFT (before: ${before% *}, after: ${after% *})"
    [ "$verdict" = ok ] || tail -n 3 "$work/errors" | cut -c 1-300 >&2
    [ "$verdict" = ok ] || [ "$runtime" != bulkhead ] || status=1
    printf '| %s | %s | %s | %s | %+d | %s |\n' "$runtime" "$name" "$said" "$((SECONDS - started)) s" \
        "$((${after##* } - ${before##* }))" "$verdict"
    call delete --force "$tag-x" >/dev/null 2>&1 || true
}

# A shell function in as many processes at once as there are processors: each COUNT, numbered.
many() {
    local total=$1 what=$2 jobs number failed=0 pids=()
    jobs=$(nproc)
    for number in $(seq "$jobs"); do
        (
            bad=0
            for ((at = number; at <= total; at += jobs)); do "$what" "$at" >/dev/null 2>>"$work/errors" || bad=$((bad + 1)); done
            exit $((bad > 255 ? 255 : bad))
        ) &
        pids+=($!)
    done
    for number in "${pids[@]}"; do wait "$number" || failed=$((failed + $?)); done
    echo "$total, $failed failed"
    [ "$failed" -eq 0 ]
}

run_one() { call run --bundle "$work/true-$(($1 % 8))" "$tag-run-$1"; }
runs() { many "$count" run_one; }

exec_one() { call exec "$tag-x" true; }
execs() {
    call run --detach --bundle "$work/x" "$tag-x" >"$work/out"
    many "$count" exec_one
    call delete --force "$tag-x"
}

create_one() { bundle "c$1" "sleep 3600" && call run --detach --bundle "$work/c$1" "$tag-c$1" >"$work/out"; }
delete_one() { call delete --force "$tag-c$1" && rm -r "${work:?}/c$1"; }
alive() {
    many "$alive" create_one >"$work/made" || true
    echo "$(call list -q | grep -c "$tag-c") alive of $alive"
    many "$alive" delete_one >"$work/deleted"
    grep -q ", 0 failed" "$work/made"
}

# Whatever each answers, the container can be deleted afterwards.
race() {
    local verbs=("state" "pause" "resume" "kill KILL" "delete" "exec true" "delete --force" "ps") number verb pids=() hangs=0
    for round in $(seq 5); do
        call run --detach --bundle "$work/x" "$tag-x" >"$work/out"
        pids=()
        for number in $(seq 64); do
            verb=${verbs[$(((number + round) % ${#verbs[@]}))]}
            # shellcheck disable=SC2086 # words
            set -- $verb
            case $verb in "delete --force") set -- delete --force "$tag-x" ;; *) set -- "$1" "$tag-x" "${@:2}" ;; esac
            timeout 60 "$program" --root "$work/state" "$@" </dev/null >/dev/null 2>&1 &
            pids+=($!)
        done
        for number in "${pids[@]}"; do
            wait "$number" || [ $? -ne 124 ] || hangs=$((hangs + 1))
        done
        call delete --force "$tag-x"
    done
    echo "5 times 64 commands, $hangs hang"
    [ "$hangs" -eq 0 ]
}

# refused WORDS...: the command fails in time, with a single line.
refused=0 accepted=0
refuses() {
    local code=0
    timeout 20 "$@" >"$work/out" 2>"$work/refusal" </dev/null || code=$?
    case $code in
    0) accepted=$((accepted + 1)) ;;
    124 | 137) return 1 ;;
    *) refused=$((refused + 1)) && [ "$(wc -l <"$work/refusal")" -eq 1 ] ;;
    esac
}

full() {
    local size bad=0
    refused=0 accepted=0
    for size in 4k 8k 16k 32k; do
        mkdir -p "$work/small"
        mount -t tmpfs -o "size=$size" tmpfs "$work/small"
        dd if=/dev/zero of="$work/small/fill" bs=1k count=64 2>/dev/null || true
        refuses "$program" --root "$work/small/state" run --bundle "$work/true-0" "$tag-x" || bad=$((bad + 1))
        umount "$work/small"
    done
    mount -t tmpfs -o ro tmpfs "$work/small"
    refuses "$program" --root "$work/small/state" run --bundle "$work/true-0" "$tag-x" || bad=$((bad + 1))
    umount "$work/small"
    rmdir "$work/small"
    echo "$refused refused, $accepted ran, $bad wrong"
    [ "$bad" -eq 0 ]
}

few() {
    local limit bad=0
    refused=0 accepted=0
    for limit in $(seq 3 40); do
        refuses prlimit --nofile="$limit" "$program" --root "$work/state" run --bundle "$work/true-0" "$tag-x" || bad=$((bad + 1))
    done
    echo "3 to 40 descriptors: $refused refused, $accepted ran, $bad wrong"
    [ "$bad" -eq 0 ]
}

tiny() {
    local limit bad=0
    refused=0 accepted=0
    for limit in 1 2 3; do
        bundle tiny true ".linux.resources.pids.limit = $limit"
        refuses "$program" --root "$work/state" run --bundle "$work/tiny" "$tag-x" || bad=$((bad + 1))
    done
    for limit in 512 768 1024 1536 2048 4096 8192; do
        bundle tiny true ".linux.resources.memory.limit = $limit * 1024"
        refuses "$program" --root "$work/state" run --bundle "$work/tiny" "$tag-x" || bad=$((bad + 1))
    done
    rm -r "$work/tiny"
    echo "pids 1 to 3, memory 512 KiB to 8 MiB: $refused refused, $accepted ran, $bad wrong"
    [ "$bad" -eq 0 ]
}

for number in $(seq 0 7); do bundle "true-$number" true; done
bundle x "sleep 3600"
# The cgroup above those of the containers, which stays until the end.
"$binary" --root "$work/state" run --bundle "$work/true-0" "$tag-x" </dev/null >"$work/out" 2>&1 || die "$(cat "$work/out")"
disk=$(du -s "$work" | cut -f 1)
printf '| runtime | exercise | seen | took | descriptors of the machine | verdict |\n|---|---|---|--:|--:|---|\n'
row=0 rows=$((7 * (1 + ${#peers[@]})))
for peer in "bulkhead=$binary" "${peers[@]}"; do
    runtime=${peer%%=*} program=$(realpath "${peer#*=}")
    row "runs of true" runs
    row "execs of true" execs
    row "containers alive" alive
    row "racing commands" race
    row "full and read-only state directory" full
    row "few descriptors" few
    row "tiny limits" tiny
done
find "$work/state" -mindepth 1 -delete 2>/dev/null || true
rm -f "$work"/{errors,out,made,deleted,refusal}
printf '\nDisk: %s KiB before, %s KiB after.\n' "$disk" "$(du -s "$work" | cut -f 1)"
exit $status
