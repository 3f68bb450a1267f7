#!/usr/bin/env bash
# Runs in hack/vm those rows of hack/integration.sh that need features that other machines may lack:
# cgroup v2 with every controller, systemd as the creator of the cgroups, every capability.
#
#   hack/vm-engines.sh [ARGUMENT...]      arguments of hack/integration.sh, in the place of the usual rows
#
# BULKHEAD_BIN=PATH is the binary (default: the static binary is built), VM_SUITE=trixie selects
# another guest. Exit status 126: no virtual machine is possible here.
set -euo pipefail
# shellcheck source=hack/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

suite=${VM_SUITE:-bookworm} must=
# Limits, disks, privileges; podman's pods and users; and whatever asks for systemd. In trixie, with
# newer engines and CRIU: checkpoints.
if [ $# -eq 0 ] && [ "$suite" = trixie ]; then
    must=W26
    set -- --runtime bulkhead --only W26
elif [ $# -eq 0 ]; then
    set -- --runtime bulkhead --only W06 --only W07 --only W10 --only W24
    for engine in docker docker-systemd podman-systemd podman-rootless; do set -- "$@" --engine $engine; done
fi

steps 4
stage "the virtual machine"
"$top/hack/vm" build --suite "$suite" >/dev/null
need_packages gcc libc6-dev mmdebstrap python3
stage "the runtime"
[ -n "${BULKHEAD_BIN:-}" ] || BULKHEAD_BIN=$("$top/hack/build.sh" | tail -n 1)
stage "the images of containers"
# What cannot be made there, for want of a compiler and a network.
images=${BULKHEAD_CACHE:-/var/cache/bulkhead-integration}
as_root env "BULKHEAD_CACHE=$images" PYTHONDONTWRITEBYTECODE=1 \
    /usr/bin/python3 "$top/integration/engines/images.py"

stage=$(mktemp -d "${TMPDIR:-/tmp}/bulkhead-vm-engines-XXXXXX")
trap 'rm -rf "$stage"' EXIT
cp "$BULKHEAD_BIN" "$stage/bulkhead"

# shellcheck disable=SC2016 # expanded in the guest
inside='
cp "$1/bulkhead" /usr/local/sbin/bulkhead
export BULKHEAD_BIN=/usr/local/sbin/bulkhead BULKHEAD_CACHE=$2 BULKHEAD_SLOWNESS=10
export PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
top=$3
[ -z "$4" ] || export BULKHEAD_MUST=$4
shift 4
status=0
python3 "$top/integration/engines/main.py" "$@" || status=$?
left=$(
    grep -ls "^frozen 1" $(find /sys/fs/cgroup -name cgroup.events)
    systemctl list-units --all --plain --no-legend "docker-*.scope" "libpod-*.scope"
)
[ -z "$left" ] || echo "left in the virtual machine:
$left"
[ $status -eq 0 ] && [ -z "$left" ]'
stage "the engines in the virtual machine"
status=0
"$top/hack/vm" run --suite "$suite" --memory 4096 --share "$stage" --share "$images" \
    bash -c "$inside" inside "$stage" "$images" "$top" "$must" "$@" || status=$?
stages_end
exit $status
