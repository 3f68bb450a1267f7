#!/usr/bin/env bash
# Runs those end-to-end tests that want a machine with cgroup v2 and every controller, in one boot
# of hack/vm. They are built here; nothing that needs a toolchain runs there.
#
#   hack/vm-tests.sh [FILTER...]      the filters go to the test programs
#
# BULKHEAD_BIN=PATH is the binary they test; otherwise the static one is built. VM_SUITE=trixie for
# another guest, VM_KERNEL=systemd.unified_cgroup_hierarchy=0 for hybrid cgroups in it (bookworm),
# VM_TESTS="limits update" for other programs. Exit status 126: there can be no virtual machine here.
set -euo pipefail
# shellcheck source=hack/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$top"

# What the cgroups matter to. A program takes 10 to 40 seconds there.
programs=(cgroup_v2 cgroup_native limits update events ps_pause exec exec_cgroup lifecycle rootless
    cleanup systemd nested)
[ -z "${VM_TESTS:-}" ] || read -ra programs <<<"$VM_TESTS"
suite=${VM_SUITE:-bookworm}

hack/vm build --suite "$suite" >/dev/null
need_packages binutils jq
need_cargo
[ -n "${BULKHEAD_BIN:-}" ] || BULKHEAD_BIN=$(hack/build.sh | tail -n 1)

stage=$(mktemp -d "${TMPDIR:-/tmp}/bulkhead-vm-tests-XXXXXX")
trap 'rm -rf "$stage"' EXIT
chmod 0755 "$stage"
: >"$stage/skips"
cp "$BULKHEAD_BIN" "$stage/bulkhead"
cargo test --locked --no-run --message-format=json-render-diagnostics "${programs[@]/#/--test=}" |
    jq -r 'select(.profile.test? and .executable) | "\(.target.name) \(.executable)"' >"$stage/list"
while read -r name executable; do
    # Without the debug information they are a tenth as large.
    strip -o "$stage/$name" "$executable"
done <"$stage/list"

# shellcheck disable=SC2016 # expanded in the guest
inside='
stage=$1 failed=
read -ra programs <<<"$2"
shift 2
export BULKHEAD_BIN=/usr/local/bin/bulkhead BULKHEAD_TEST_CGROUP=vm BULKHEAD_TEST_PATIENCE=120
export BULKHEAD_TEST_SKIPS=$stage/skips
cp "$stage/bulkhead" $BULKHEAD_BIN
for name in "${programs[@]}"; do
    started=$SECONDS
    echo "-- $name"
    timeout 600 "$stage/$name" "$@" || failed+=" $name"
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
[ -z "$left" ] || echo "left in the virtual machine:
$left"
[ -z "$failed" ] || echo "failed in the virtual machine:$failed"
[ -z "$failed$left" ]'
status=0
hack/vm run --suite "$suite" --kernel "${VM_KERNEL:-}" --share "$stage" bash -c "$inside" inside \
    "$stage" "${programs[*]}" "$@" || status=$?
if [ -n "${BULKHEAD_TEST_SKIPS:-}" ]; then
    cat "$stage/skips" >>"$BULKHEAD_TEST_SKIPS"
else
    sort -u "$stage/skips" | sed 's/^/skipped: /' >&2
fi
exit $status
