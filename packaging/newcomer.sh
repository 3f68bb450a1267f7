#!/usr/bin/env bash
# Follows the pages as a newcomer does, in a fresh minimal Debian: checks and installs the files of a
# release, runs a container by hand, under podman and under containerd, makes bulkhead a default, goes back
# and purges it. The commands are the blocks of README.md, docs/install.md and docs/engines.md, taken from
# the pages as they are. Each output is recorded and checked.
#
#   packaging/newcomer.sh DIR [TRANSCRIPT]
#
#   DIR         the files of hack/release.sh
#   TRANSCRIPT  the record of all commands and outputs (default: bulkhead-newcomer.txt in TMPDIR or /tmp)
#
# Needs root. Works in namespaces and cgroups of its own, which it removes. Debian's packages are fetched
# before; inside there is no network, and images are made there. SUITE is the Debian, by default bookworm.
# Takes three to six minutes.
set -euo pipefail
# shellcheck source=hack/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../hack/lib.sh"

case $# in 1 | 2) ;; *) die "usage: packaging/newcomer.sh DIR [TRANSCRIPT]" ;; esac
[ "$(id -u)" -eq 0 ] || die "must run as root"
[ -f "$1/SHA256SUMS" ] || die "no files of hack/release.sh: $1"
release=$(realpath "$1")
transcript=$(realpath -m "${2:-${TMPDIR:-/tmp}/bulkhead-newcomer.txt}")
need_packages debian-archive-keyring iproute2 mmdebstrap util-linux

work=$(mktemp -d "${TMPDIR:-/tmp}/bulkhead-newcomer-XXXXXX")
root=$work/root name=bulkhead-newcomer-$$
cgroups=()
remove() {
    local each
    for each in "${cgroups[@]}"; do
        find "$each/$name" -depth -type d -exec rmdir {} + 2>/dev/null || note "left behind: $each/$name"
    done
    # What a namespace has mounted below it is gone with that namespace.
    rm -rf --one-file-system "$work"
}
trap remove EXIT

# What the pages install, with what Debian recommends beside it.
packages="busybox-static jq podman containerd uidmap"
note "making a root file system with apt's copies of: $packages"
# shellcheck disable=SC2016 # expanded by the hook's shell
mmdebstrap --quiet --variant=minbase --include=sudo --skip=cleanup/apt \
    --customize-hook='chroot "$1" apt-get -q -y -o APT::Install-Recommends=true --download-only install '"$packages" \
    "${SUITE:-bookworm}" "$root" >"$work/mmdebstrap.log" 2>&1 </dev/null || {
    tail -n 5 "$work/mmdebstrap.log" >&2
    die "no root file system"
}
mkdir "$root/root/release" "$root/root/pages"
cp "$release/SHA256SUMS" "$release"/*_"$(dpkg --print-architecture)".deb "$root/root/release"
cp "$top"/README.md "$top"/docs/{install,engines}.md "$top/packaging/newcomer-inside.sh" "$root/root/pages"

# A cgroup of its own in each hierarchy, which is the root of what is seen inside: "directory options".
hierarchies=()
while read -r _ _ _ whole where _ rest; do
    type=${rest#*- } options=${rest##* }
    case $whole-$type in /-cgroup\ *) ;; /-cgroup2\ *) options= ;; *) continue ;; esac
    case $where in /sys/fs/cgroup | /sys/fs/cgroup/*) ;; *) continue ;; esac
    mkdir "$where/$name"
    cgroups+=("$where")
    for each in cpuset.cpus cpuset.mems; do
        # Of v1, where they are empty at first, which lets no process in.
        [ -z "$options" ] || [ ! -f "$where/$each" ] || cat "$where/$each" >"$where/$name/$each"
    done
    hierarchies+=("${where#/sys/fs/cgroup} ${options#rw,}")
done </proc/self/mountinfo
[ ${#cgroups[@]} -gt 0 ] || die "no cgroups are mounted below /sys/fs/cgroup"

# namespaces COMMAND...: runs it in the cgroups and in new namespaces.
namespaces() (
    for each in "${cgroups[@]}"; do echo "$BASHPID" >"$each/$name/cgroup.procs"; done
    # With v2 alone, a cgroup with processes gives no controllers to those below it, so ours are in a
    # cgroup below; the namespace keeps its root, which was entered before.
    # shellcheck disable=SC2016 # expanded by the inner shell
    exec unshare --cgroup bash -euc '
        if [ -f /sys/fs/cgroup/cgroup.controllers ]; then
            mkdir "/sys/fs/cgroup/$1/init"
            echo $$ >"/sys/fs/cgroup/$1/init/cgroup.procs"
        fi
        shift
        exec unshare --mount --propagation=private --pid --fork --net --uts --ipc "$@"
    ' bash "$name" "$@"
)

# shellcheck disable=SC2016 # expanded by the inner shell
enter='
root=$1
shift
hostname newcomer
ip link set lo up
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys"
mount -t tmpfs -o mode=0755 tmpfs "$root/run"
mount -t tmpfs -o mode=0755 tmpfs "$root/dev"
for node in null zero full random urandom tty fuse; do
    [ -e "/dev/$node" ] || continue
    : >"$root/dev/$node"
    mount --bind "/dev/$node" "$root/dev/$node"
done
mkdir "$root/dev/pts" "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts "$root/dev/pts"
mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
for each in stdin:0 stdout:1 stderr:2; do ln -s "/proc/self/fd/${each#*:}" "$root/dev/${each%:*}"; done
cgroup=$root/sys/fs/cgroup
[ "$1" = " " ] || mount -t tmpfs -o mode=0755 tmpfs "$cgroup"
while [ "$1" != -- ]; do
    where=$cgroup${1%% *} options=${1#* }
    mkdir -p "$where"
    if [ -n "$options" ]; then
        mount -t cgroup -o "$options" cgroup "$where"
    else
        mount -t cgroup2 cgroup2 "$where"
    fi
    shift
done
if [ -f "$cgroup/cgroup.controllers" ]; then
    for each in $(cat "$cgroup/cgroup.controllers"); do echo "+$each" >"$cgroup/cgroup.subtree_control"; done
else
    mount -o remount,ro "$cgroup"
fi
exec chroot "$root" /usr/bin/env -i HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    TERM=dumb LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive bash /root/pages/newcomer-inside.sh
'
note "following the pages; the record is $transcript"
mkdir -p "${transcript%/*}"
status=0
namespaces bash -euc "$enter" sh "$root" "${hierarchies[@]}" -- >"$transcript" </dev/null || status=$?
if [ $status -ne 0 ]; then
    tail -n 30 "$transcript" >&2
    die "a newcomer does not succeed; the whole record is $transcript"
fi
note "a newcomer succeeds: $(grep -c '^ok: ' "$transcript") checks, recorded in $transcript"
