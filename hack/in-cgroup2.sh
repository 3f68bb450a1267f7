#!/usr/bin/env bash
# Runs a command in a private mount namespace in which /sys/fs/cgroup is a pure cgroup v2 mount, to
# test that mode on a hybrid or v1 machine without touching the machine's mounts.
#
#   hack/in-cgroup2.sh COMMAND [ARGUMENT...]
set -euo pipefail
# shellcheck source=hack/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

[ $# -gt 0 ] || die "usage: $0 COMMAND [ARGUMENT...]"
[ "$(id -u)" -eq 0 ] || die "must run as root"
# shellcheck disable=SC2016 # expanded by the inner shell
exec unshare --mount --propagation private sh -c '
    umount --recursive --lazy /sys/fs/cgroup &&
    mount -t cgroup2 -o nosuid,nodev,noexec cgroup2 /sys/fs/cgroup &&
    exec "$@"' sh "$@"
