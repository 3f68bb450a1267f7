#!/usr/bin/env bash
# Runs those end-to-end tests that need cgroup v2 and every controller, in a single boot of hack/vm:
# with cgroups created by the runtime, and then by systemd. The tests are built here; the guest
# needs no toolchain.
#
#   hack/vm-tests.sh [FILTER...]      only tests whose name contains a filter
#
# BULKHEAD_BIN=PATH is the binary (default: the static binary is built). VM_SUITE=trixie selects
# another guest, VM_KERNEL=systemd.unified_cgroup_hierarchy=0 hybrid cgroups in it (bookworm),
# VM_TESTS="limits update" other test modules (VM_TESTS=all every module), VM_GUEST=selinux or
# VM_GUEST=arm64 the guest with that option of hack/vm, VM_DRIVERS=systemd only one of the two cgroup
# drivers. Exit status 126: no virtual machine is possible here.
#
# VM_RESULTS=FILE makes a check of several runs, each of which may be cut off: a test that passes is
# recorded in FILE as soon as it has ended, and a later run leaves out the tests that have passed in the
# same guest with the same binary (the library's unit tests: with the same test program). Remove the line
# of a test whose own code has changed. Name the binary by BULKHEAD_BIN, since a new commit makes
# another one. The last line of stderr counts the tests that have passed.
#
# VM_GUEST=arm64 is the check of that architecture, run by hand before a release: by default every
# module and the library's unit tests, with the driver cgroupfs, and then hack/demo.sh, all built here
# by cross compilers. On two processors it takes two hours; the build needs 15 minutes of
# processor time. BULKHEAD_TEST_PATIENCE bounds the waits of the tests (240 seconds); a module may take
# 7 times as long, and the whole 60 times. On a machine that does something else besides (a guest that
# gets less than a tenth of a processor reports lockups, and does not come far):
#
#   export VM_GUEST=arm64 VM_RESULTS=FILE BULKHEAD_BIN=PATH BULKHEAD_TEST_PATIENCE=600
#   nice -n 19 hack/vm-tests.sh >>LOG 2>&1        # again, until every test has passed
set -euo pipefail
# shellcheck source=hack/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$top"

# The modules of tests that cgroups matter to. A module takes 10 to 40 seconds there.
modules=(cgroup_v2 cgroup::native_tests cgroup::members_tests cgroup_safety cgroup_delegation cgroup_rules limits limits_felt block_io update events ps_pause exec
    exec_cgroup lifecycle rootless cleanup systemd apparmor nested config_keys wording
    checkpoint)
# Those of them that are told apart by who makes the cgroup.
with_systemd=(cgroup_v2 cgroup_safety cgroup_delegation cgroup_rules limits limits_felt block_io update events ps_pause exec exec_cgroup lifecycle
    cleanup checkpoint)
suite=${VM_SUITE:-bookworm}
drivers="cgroupfs systemd"
guest=(--suite "$suite")
[ -z "${VM_GUEST:-}" ] || guest+=("--$VM_GUEST")
# The bounds of a wait, of a module and of the whole, in seconds, and what runs after the tests.
patience=120 limit=600 whole=1800 last=
if [ "${VM_GUEST:-}" = arm64 ]; then
    modules=(all)
    drivers=cgroupfs
    patience=${BULKHEAD_TEST_PATIENCE:-240}
    limit=$((patience * 7)) whole=$((patience * 60))
    [ -n "${VM_TESTS:-}" ] || [ $# -gt 0 ] || last=hack/demo.sh
fi
[ -z "${VM_TESTS:-}" ] || read -ra modules <<<"$VM_TESTS"

hack/vm build "${guest[@]}" >/dev/null
need_packages binutils jq e2fsprogs
need_cargo
strip=strip run=()
if [ "${VM_GUEST:-}" = arm64 ]; then
    cross aarch64-unknown-linux-musl arm64
    cross aarch64-unknown-linux-gnu arm64
    # The binary as it is released; the test programs are for glibc.
    [ -n "${BULKHEAD_BIN:-}" ] ||
        BULKHEAD_BIN=$(CARGO_BUILD_TARGET=aarch64-unknown-linux-musl hack/build.sh | tail -n 1)
    export CARGO_BUILD_TARGET=aarch64-unknown-linux-gnu
    # What an optimised build takes longer, the emulated tests save many times.
    export CARGO_PROFILE_TEST_OPT_LEVEL=1 CARGO_PROFILE_TEST_DEBUG=0
    need_packages qemu-user-static
    strip=aarch64-linux-gnu-strip run=(qemu-aarch64-static)
fi
steps 3
stage "the runtime"
[ -n "${BULKHEAD_BIN:-}" ] || BULKHEAD_BIN=$(hack/build.sh | tail -n 1)

stage=$(mktemp -d "${TMPDIR:-/tmp}/bulkhead-vm-tests-XXXXXX")
trap 'rm -rf "$stage"' EXIT
chmod 0755 "$stage"
: >"$stage/skips"
cp "$BULKHEAD_BIN" "$stage/runtime"
# zram has blocks of 4096 bytes.
mke2fs -q -t ext4 -b 4096 "$stage/disk" 8M 2>/dev/null
stage "the test programs"
# The end-to-end tests, and the library's own.
cargo test --locked --no-run --message-format=json-render-diagnostics --lib --test e2e |
    jq -r 'select(.profile.test? and .executable) | "\(.target.name) \(.executable)"' >"$stage/list"
while read -r program executable; do
    # Without the debug information they are a tenth as large.
    "$strip" -o "$stage/$program" "$executable"
    "${run[@]}" "$stage/$program" --list --format terse | sed -n "s/\(.*\): test$/\1 $program/p"
done <"$stage/list" >"$stage/all"
printf '%s\n' "${@-}" >"$stage/filters" # an empty pattern matches everything
[ "${modules[*]}" != all ] || mapfile -t modules < <(sed 's/::.*//' "$stage/all" | sort -u)
results=${VM_RESULTS:-/dev/null}
: >>"$results"
machine=$suite${VM_GUEST:+,$VM_GUEST}${VM_KERNEL:+,${VM_KERNEL// /,}}
# What each test program tests: the end-to-end tests the binary, the unit tests their own program.
declare -A sums
while read -r program _; do
    tested=$stage/$program
    [ "$program" != e2e ] || tested=$stage/runtime
    sums[$program]=$(sha256sum "$tested" | cut -c 1-16)
done <"$stage/list"
# key DRIVER PROGRAM: the beginning of a line in the file of results.
key() { echo "${sums[$2]} $machine $1 $2"; }
# The tests of a run, by exact name: to the test program, `exec::` is a part of `hostile_exec::` too. A module of
# the library can have the name of one of the end-to-end tests.
runs=()
for driver in ${VM_DRIVERS:-$drivers}; do
    for name in "${modules[@]}"; do
        case "$driver ${with_systemd[*]} " in
        cgroupfs\ * | *" $name "*) runs+=("$driver:$name") ;;
        *) continue ;;
        esac
        grep "^$name::" "$stage/all" >"$stage/module" || die "no such module of tests: $name"
        while read -r program _; do
            key=$(key "$driver" "$program")
            sed -n "s/ $program\$//p" "$stage/module" | grep -F -f "$stage/filters" |
                sed "s/^/$key /" >"$stage/keys" || true
            cat "$stage/keys" >>"$stage/wanted"
            grep -Fxv -f "$results" "$stage/keys" | sed 's/.* //' >"$stage/$driver:$name.tests.$program" || true
        done <"$stage/list"
    done
done
# Records each test that has passed. A line "-- run DRIVER PROGRAM MODULE" stands before those of a run.
record() {
    local line words key=
    while IFS= read -r line; do
        printf '%s\n' "$line"
        read -ra words <<<"$line"
        case $line in
        "-- run "*) key=$(key "${words[@]:2:2}") ;;
        "test "*" ... ok") echo "$key ${words[1]}" >>"$results" ;;
        esac
    done
}

# shellcheck disable=SC2016 # expanded in the guest
inside='
stage=$1 view=$2 limit=$4 last=$5 failed= number=0
read -ra runs <<<"$3"
export BULKHEAD_BIN=/usr/local/bin/bulkhead
export BULKHEAD_TEST_SKIPS=$stage/skips
cp "$stage/runtime" $BULKHEAD_BIN
# Memory that is swapped stays in memory, only elsewhere. The second device is a disk for tests.
modprobe zram num_devices=2 && echo 256M >/sys/block/zram0/disksize
mkswap /dev/zram0 >/dev/null && swapon /dev/zram0
echo 8M >/sys/block/zram1/disksize && cat "$stage/disk" >/dev/zram1 &&
    export BULKHEAD_TEST_DISK=/dev/zram1
for run in "${runs[@]}"; do
    started=$SECONDS
    name=${run#*:}
    number=$((number + 1))
    cat "$stage/$run.tests".* | grep -q . || continue
    export BULKHEAD_TEST_DRIVER=${run%%:*}
    export BULKHEAD_TEST_CGROUP=$view
    [ $BULKHEAD_TEST_DRIVER = cgroupfs ] || BULKHEAD_TEST_CGROUP+=", $BULKHEAD_TEST_DRIVER"
    echo "-- $number/${#runs[@]} $name ($BULKHEAD_TEST_CGROUP)"
    for list in "$stage/$run.tests".*; do
        mapfile -t tests <"$list"
        [ ${#tests[@]} -gt 0 ] || continue
        echo "-- run $BULKHEAD_TEST_DRIVER ${list##*.} $name"
        timeout $limit "$stage/${list##*.}" --exact "${tests[@]}" || failed+=" $run"
    done
    echo "-- $name took $((SECONDS - started)) s"
done
# What is just going is given a few seconds.
for try in 1 2 3 4 5; do
    left=$(
        find /sys/fs/cgroup -type d -name "*bulkhead-test-*"
        grep -ls "^frozen 1" $(find /sys/fs/cgroup -name cgroup.events)
        systemctl list-units --all --plain --no-legend "*bulkhead-test-*"
    )
    [ -n "$left" ] || break
    sleep 1
done
[ -z "$last" ] || "$last" || failed+=" $last"
[ -z "$left" ] || echo "left in the virtual machine:
$left"
case $view in
*selinux*) [ "$(cat /sys/fs/selinux/enforce)" = 1 ] || failed+=" SELinux-does-not-enforce" ;;
esac
[ -z "$failed" ] || echo "failed in the virtual machine:$failed"
[ -z "$failed$left" ]'
stage "the tests in the virtual machine: ${#runs[@]} runs of modules"
status=0
hack/vm run "${guest[@]}" --kernel "${VM_KERNEL:-}" --timeout "$whole" --share "$stage" \
    env BULKHEAD_TEST_PATIENCE="$patience" bash -c "$inside" inside "$stage" \
    "vm${VM_KERNEL:+, $VM_KERNEL}${VM_GUEST:+, $VM_GUEST}" "${runs[*]}" "$limit" "$last" | record || status=$?
stages_end
if [ -n "${BULKHEAD_TEST_SKIPS:-}" ]; then
    cat "$stage/skips" >>"$BULKHEAD_TEST_SKIPS"
else
    sort -u "$stage/skips" | sed 's/^/skipped: /' >&2
fi
[ -z "${VM_RESULTS:-}" ] ||
    note "$(grep -Fxc -f "$results" "$stage/wanted" || true) of $(wc -l <"$stage/wanted") tests have passed: $results"
exit $status
