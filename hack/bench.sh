#!/usr/bin/env bash
# Measures bulkhead and compares it with the minimum that the kernel must do for such a container
# (bench/floor.c), with bubblewrap, Debian's crun and runc, and others. docs/performance.md
# describes what is measured, how, and what the figures mean.
#
#   hack/bench.sh [--quick] [--rounds N] [--only ROW,...] [--out DIR] [--publish]
#   hack/bench.sh --report DIR        the table and the chart of an earlier run
#   hack/bench.sh --guard BINARY [--record]
#   hack/bench.sh --same BINARY       checks that the floor creates an equal container
#
# The results are in DIR/performance.json (target/bench without --out). The tables
# DIR/performance.md and the chart DIR/performance.svg are made from it alone. --publish copies data
# and chart into docs/, and the tables between the markers of docs/performance.md and README.md.
#
# --guard compares figures that do not depend on the speed of the machine (instructions, page
# faults, system calls, clones, context switches) with the limits in bench/guard.limits, and fails
# if a limit is exceeded; --record writes that file. Exit status 126: the limits are not for such a
# binary.
#
#   BULKHEAD_BIN   the binary to measure (default: built by hack/build.sh)
#   PEERS          more programs with the command line of runc: "name=/path name=/path"
#   PEER_BIN       the libcontainer peer (default: built by integration/peer/build.sh)
set -euo pipefail
# shellcheck source=hack/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() { die "usage: $0 [--quick] [--rounds N] [--only ROW,...] [--out DIR] [--publish] | --report DIR | --guard BINARY [--record] | --same BINARY"; }
code=$top/hack/bench
out=${CARGO_TARGET_DIR:-$top/target}/bench
measure=() guard=() only='' publish='' mode=measure binary=''
while [ $# -gt 0 ]; do
    case $1 in
    --quick) measure+=(--quick) ;;
    --rounds | --only)
        [ $# -ge 2 ] || usage
        measure+=("$1" "$2")
        [ "$1" = --rounds ] || only=$2
        shift
        ;;
    --out | --report)
        [ $# -ge 2 ] || usage
        [ "$1" = --out ] || mode=report
        out=$2
        shift
        ;;
    --guard | --same)
        [ $# -ge 2 ] || usage
        mode=${1#--} binary=$2
        shift
        ;;
    --record) guard+=(--record) ;;
    --publish) publish=1 ;;
    *) usage ;;
    esac
    shift
done

report() {
    python3 "$code/report.py" "$out/performance.json" "$out"
    if [ -n "$publish" ]; then
        cp "$out/performance.json" "$out/performance.svg" "$top/docs/"
        python3 "$code/report.py" --into "$out" "$top/docs/performance.md" "$top/README.md"
    fi
}

if [ "$mode" = report ]; then
    need_packages python3
    report
    exit
fi

[ "$(id -u)" -eq 0 ] || die "must run as root"
if [ "$mode" != measure ]; then
    need_packages busybox-static gcc libc6-dev python3
    [ -x "$binary" ] || die "no such program: $binary"
    exec "$top/hack/in-cgroup2.sh" python3 "$code/$mode.py" "$(realpath "$binary")" "${guard[@]}"
fi

steps 4
stage "packages and programs"
need_packages bubblewrap busybox-static crun gcc libc6-dev python3 runc
BULKHEAD_BIN=${BULKHEAD_BIN:-}
[ -n "$BULKHEAD_BIN" ] || BULKHEAD_BIN=$("$top/hack/build.sh" | tail -n 1)
PEER_BIN=${PEER_BIN:-}
for built in "$top"/integration/peer/target/*/release/peer; do
    [ -n "$PEER_BIN" ] || [ ! -x "$built" ] || PEER_BIN=$built
done

programs=(--program "oci:bulkhead=$(realpath "$BULKHEAD_BIN")")
others=(--program "oci:crun=$(command -v crun)" --program "oci:runc=$(command -v runc)")
for peer in ${PEERS:-}; do others+=(--program "oci:$peer"); done
[ -z "$PEER_BIN" ] || others+=(--program "libcontainer:libcontainer=$PEER_BIN")

stage "the measurements, in a view of cgroup v2"
mkdir -p "$out"
rm -f "$out/performance.json"
measure+=(--data "$out/performance.json")
"$top/hack/in-cgroup2.sh" python3 "$code/bench.py" "${programs[@]}" --program floor:floor \
    --program "bwrap:bubblewrap=$(command -v bwrap)" "${others[@]}" "${measure[@]}"
stage "the limit of memory, on cgroup v1"
# A controller that v1 uses is missing from the view of v2: the limit of memory is measured on v1 then,
# and without the v2 part of a hybrid machine, because Debian 12's crun refuses that. In its place is a
# tmpfs: crun makes its directories there all the same.
if [ "$(cgroup_mode)" != v2 ] && [[ ,${only:-limit}, == *,limit,* ]]; then
    # shellcheck disable=SC2016 # expanded by the inner shell
    unshare --mount --propagation private sh -c '
        if [ -d /sys/fs/cgroup/unified ]; then
            umount --lazy /sys/fs/cgroup/unified && mount -t tmpfs tmpfs /sys/fs/cgroup/unified
        fi && exec "$@"' sh \
        python3 "$code/bench.py" "${programs[@]}" "${others[@]}" "${measure[@]}" --only limit
fi
stage "the report"
report
stages_end
