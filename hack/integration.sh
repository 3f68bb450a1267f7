#!/usr/bin/env bash
# Runs the tests of integration/engines under real engines from Debian's packages, with bulkhead and
# with runc as the runtime, and prints a table. The daemons are private: they have their own sockets
# and roots, and their own mount and network namespaces. Fails if a row fails with bulkhead.
#
#   hack/integration.sh [--only ROW]... [--engine NAME]... [--runtime bulkhead|shim|runc|both]
#                       [--keep-log DIR] [--suite SUITE]
#
# With --suite, containerd and Docker are those of another release of Debian, unpacked into the cache.
# With --runtime shim, containerd and Docker call containerd-shim-bulkhead-v2 and no other runtime.
#
#   BULKHEAD_BIN     the binary to test (default: built by hack/build.sh)
#   BULKHEAD_SHIM    the shim to test (default: built by hack/build.sh containerd-shim-bulkhead-v2)
#   BULKHEAD_CACHE   where the Debian image is kept (default: /var/cache/bulkhead-integration)
set -euo pipefail
# shellcheck source=hack/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

case " $* " in
*" -h "* | *" --help "*) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0" && exit ;;
esac
steps 3
stage "packages"
need_packages busybox-static conmon containerd containernetworking-plugins docker-compose \
    docker.io gcc iproute2 iptables libc6-dev mmdebstrap podman procps python3 python3-grpcio runc \
    slirp4netns uidmap util-linux
stage "the runtime"
if [ -z "${BULKHEAD_BIN:-}" ]; then
    BULKHEAD_BIN=$("$top/hack/build.sh" | tail -n 1)
fi
[ -x "$BULKHEAD_BIN" ] || die "no binary to test: $BULKHEAD_BIN"
BULKHEAD_BIN=$(realpath "$BULKHEAD_BIN")
case " $* " in
*" --runtime shim "*)
    [ -n "${BULKHEAD_SHIM:-}" ] || BULKHEAD_SHIM=$("$top/hack/build.sh" containerd-shim-bulkhead-v2 | tail -n 1)
    [ -x "$BULKHEAD_SHIM" ] || die "no shim to test: $BULKHEAD_SHIM"
    BULKHEAD_SHIM=$(realpath "$BULKHEAD_SHIM")
    ;;
esac
suite='' words=()
while [ $# -gt 0 ]; do
    case $1 in
    --suite) suite=${2:?--suite needs a name} && shift ;;
    *) words+=("$1") ;;
    esac
    shift
done
set -- "${words[@]}"

# unpack DIR: the packages of the release.
unpack() {
    local mirror apt=$1.new/apt
    # shellcheck disable=SC2016 # expanded by apt
    mirror=${BULKHEAD_DEBIAN_MIRROR:-$(apt-get indextargets 'Created-By: Packages' \
        --format '$(REPO_URI) $(COMPONENT)' | sed -nE 's/ main$//p' | grep -v security | head -n 1)}
    [ -n "$mirror" ] || die "this machine's apt names no Debian mirror (set BULKHEAD_DEBIAN_MIRROR)"
    rm -rf "$1.new"
    mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial" "$apt/debs"
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main" >"$apt/sources.list"
    local options=(-q -o "Dir::Etc::SourceList=$apt/sources.list" -o Dir::Etc::SourceParts=/dev/null
        -o "Dir::State::Lists=$apt/lists" -o "Dir::Cache=$apt/cache" -o APT::Sandbox::User=root)
    apt-get "${options[@]}" update >&2
    (cd "$apt/debs" && apt-get "${options[@]}" download containerd docker.io docker-cli >&2)
    local deb
    for deb in "$apt"/debs/*.deb; do dpkg -x "$deb" "$1.new"; done
    rm -rf "$apt"
    mv "$1.new" "$1"
}

path=/usr/sbin:/usr/bin:/sbin:/bin
if [ -n "$suite" ]; then
    need_packages debian-archive-keyring
    engines=${BULKHEAD_CACHE:-/var/cache/bulkhead-integration}/engines-$suite
    [ -d "$engines" ] || unpack "$engines"
    path=$engines/usr/sbin:$engines/usr/bin:$path
fi
# PATH: the programs of those packages, of one version, and not what else a machine has elsewhere.
words=(env "BULKHEAD_BIN=$BULKHEAD_BIN" ${BULKHEAD_SHIM:+"BULKHEAD_SHIM=$BULKHEAD_SHIM"} ${BULKHEAD_CACHE:+"BULKHEAD_CACHE=$BULKHEAD_CACHE"}
    "PATH=$path" PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
    /usr/bin/python3 "$top/integration/engines/main.py" "$@")
if [ "$(id -u)" -ne 0 ]; then
    words=(sudo "${words[@]}")
fi
stage "the engines"
# No shell stays between a caller's signal and the cleaning up.
exec "${words[@]}"
