#!/bin/bash
# Runs the validation suite of opencontainers/runtime-tools against bulkhead.
#
#   integration/runtime-tools.sh [--beside RUNTIME]... [--cgroup2] [--only REGEX] CHECKOUT
#   integration/runtime-tools.sh --build DIR CHECKOUT
#
# CHECKOUT is a checkout of runtime-tools; nothing is written there and nothing is fetched: its
# vendor directory and its root file system are used unchanged. The environment variable RUNTIME
# names another bulkhead than that in target/debug.
#
#   --beside RUNTIME  run every case under this runtime too, and show its result
#   --cgroup2         in a mount namespace whose /sys/fs/cgroup is cgroup v2 alone
#   --only REGEX      only the cases whose name matches
#   --logs DIR        keep the output of each case
#   --build DIR       only build the suite, in DIR, which then serves as CHECKOUT where there is no Go
#
# In the virtual machine of hack/vm, with RUNTIME static:
#
#   hack/vm run --timeout 7200 --share DIR --share "$(dirname "$RUNTIME")" \
#       env RUNTIME="$RUNTIME" BULKHEAD_SLOWNESS=10 integration/runtime-tools.sh --beside /usr/sbin/runc DIR
#
# Prints a table: case, result under bulkhead, result under the other runtimes. Exit status: 1 if a
# case fails under bulkhead that runtime-tools.expected does not list (with its reason); 2 if the
# suite could not be run.
#
# Needs root, tar, and Go 1.21 or newer (Debian: golang-go, or golang-1.23-go from backports).
set -u

here=$(cd "$(dirname "$0")" && pwd)
expected=$here/runtime-tools.expected
limit=$((120 * ${BULKHEAD_SLOWNESS:-1})) # seconds a case may take

die() {
    echo "runtime-tools.sh: $*" >&2
    exit 2
}

usage() {
    sed -n 's/^# \{0,1\}//; 2,/^Needs/p' "$0" | sed '1,2d' >&2
    exit 2
}

beside=() only=. cgroup2='' logs='' build=''
again=("$@")
while [ $# -gt 0 ]; do
    case $1 in
        --beside) [ $# -ge 2 ] || usage; beside+=("$2"); shift 2 ;;
        --only) [ $# -ge 2 ] || usage; only=$2; shift 2 ;;
        --logs) [ $# -ge 2 ] || usage; logs=$2; shift 2 ;;
        --build) [ $# -ge 2 ] || usage; build=$2; shift 2 ;;
        --cgroup2) cgroup2=yes; shift ;;
        -*) usage ;;
        *) break ;;
    esac
done
[ $# -eq 1 ] || usage
[ "$(id -u)" = 0 ] || die "needs root"

# The mounts end with the namespace; the machine's own are never touched.
if [ -n "$cgroup2" ] && [ -z "${RUNTIME_TOOLS_CGROUP2:-}" ]; then
    export RUNTIME_TOOLS_CGROUP2=1
    # shellcheck disable=SC2016 # expanded by the inner shell
    exec unshare --mount --propagation private sh -c '
        umount -l /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup || exit 2
        exec "$@"' sh "$0" "${again[@]}"
fi

# --- build --------------------------------------------------------------------------------------

# The newest Go of the distribution that is new enough for the suite.
find_go() {
    local go minor best=0 found=
    for go in go /usr/lib/go-*/bin/go; do
        go=$(command -v "$go") || continue
        minor=$(GOTOOLCHAIN=local "$go" version | sed -n 's/.* go1\.\([0-9]*\).*/\1/p')
        [ "${minor:-0}" -gt "$best" ] && best=$minor found=$go
    done
    [ "$best" -ge 21 ] && echo "$found"
}

build() {
    local go main name
    go=$(find_go) || die "no Go of 1.21 or newer (Debian: golang-1.23-go, from backports)"
    export GOTOOLCHAIN=local GOPROXY=off GOFLAGS=-mod=vendor GOWORK=off
    # Static: they run in a root file system of the suite, or in another machine.
    export CGO_ENABLED=0
    export GOCACHE=${GOCACHE:-$work/cache}
    cd "$checkout" || exit 2
    "$go" build -buildvcs=false -tags 'netgo osusergo' -o "$work/runtimetest" \
        ./cmd/runtimetest || die "cannot build runtimetest"
    for main in validation/*/*.go; do
        name=$(basename "$main" .go)
        case $main in validation/util/*) continue ;; esac
        [[ $name =~ $only ]] || continue
        "$go" build -buildvcs=false -o "$work/cases/$name.t" "$main" || die "cannot build $main"
    done
    cp "$checkout"/rootfs-*.tar.gz "$work/" || exit 2
}

checkout=$(cd "$1" && pwd) || die "no such directory: $1"
built=
if [ -d "$checkout/cases" ]; then
    built=yes
elif ! [ -d "$checkout/validation" ] || ! [ -d "$checkout/vendor" ]; then
    die "$checkout is no checkout of runtime-tools"
fi
if [ -n "$build" ]; then
    [ -z "$built" ] || die "$checkout is built"
    mkdir -p "$build" && work=$(cd "$build" && pwd) || exit 2
    build
    exit
fi
runtime=${RUNTIME:-$here/../target/debug/bulkhead}
runtime=$(command -v "$runtime") || die "no such runtime: ${RUNTIME:-$runtime}"
runtime=$(realpath "$runtime")

work=$(mktemp -d "${TMPDIR:-/tmp}/runtime-tools.XXXXXX") || exit 2
layout=v1
[ "$(stat -fc %T /sys/fs/cgroup)" = cgroup2fs ] && layout=v2

# --- run ----------------------------------------------------------------------------------------

# The suite knows no --root: a wrapper gives each case one of its own, so that what it leaves can
# be found. $1: the runtime, $2: the directory.
wrap() {
    mkdir -p "$2"
    printf '#!/bin/sh\nexec "%s" --root "%s/root" "$@"\n' "$1" "$2" >"$2/$(basename "$1")"
    chmod 755 "$2/$(basename "$1")"
}

# What a case's TAP and exit status $1 say, in one word; the TAP is on standard input. The cases
# about hooks and those that expect a failure assert nothing: they print an error or they do not.
verdict() {
    awk -v status="$1" '
        /^not ok/ && !/# *(TODO|SKIP)/ { failed++ }
        /^ok/ { if (/# *SKIP/) skipped++; else passed++ }
        /^ *"error": "./ { errors++ }
        END {
            if (status == 124 || status == 137) print "timeout"
            else if (failed || status != 0) print "FAIL"
            else if (passed) print "pass"
            else if (skipped) print "skip"
            else print (errors ? "FAIL" : "pass")
        }'
}

# Runs case $1 under runtime $2; prints the verdict. In a mount namespace of its own: some cases
# make a container without one, and what it mounts must go with the case.
run_case() {
    local name=$1 runtime=$2 dir status wrapper
    dir=$work/run/$(basename "$runtime")/$name
    wrap "$runtime" "$dir"
    wrapper=$dir/$(basename "$runtime")
    mkdir "$dir/tmp"
    # Many cases leave their container behind: they expect the machine to go.
    # shellcheck disable=SC2016 # expanded by the inner shell
    TMPDIR=$dir/tmp RUNTIME=$wrapper unshare --mount --propagation private sh -c '
        timeout -k 5 "$1" "$2" >"$3/out" 2>"$3/err" </dev/null
        status=$?
        for id in $("$RUNTIME" list -q 2>/dev/null); do
            "$RUNTIME" delete --force "$id" >/dev/null 2>&1
        done
        exit "$status"' sh "$limit" "$work/cases/$name.t" "$dir"
    status=$?
    # The suite's cgroups, of which a runtime removes the container's own alone.
    find /sys/fs/cgroup -depth -type d \( -name cgrouptest -o -name testdir \) \
        -exec rmdir {} \; 2>/dev/null
    if [ -n "$logs" ]; then
        mkdir -p "$logs/$(basename "$runtime")"
        { cat "$dir/out"; echo "--- standard error, exit status $status"; cat "$dir/err"; } \
            >"$logs/$(basename "$runtime")/$name"
    fi
    verdict "$status" <"$dir/out"
    rm -rf --one-file-system "$dir"
}

# The reason why case $1 may fail here, if there is one.
reason() {
    sed -n "s/^$1\(@$layout\)\{0,1\}:[[:space:]]*//p" "$expected" | head -1
}

trap 'rm -rf --one-file-system "$work"' EXIT
if [ -n "$built" ]; then
    cp "$checkout/runtimetest" "$checkout"/rootfs-*.tar.gz "$work/" || exit 2
    ln -s "$checkout/cases" "$work/"
else
    build
fi
cd "$work" || exit 2
bad=0 row='%-34s %-10s'
heads=(case bulkhead)
for other in "${beside[@]}"; do
    command -v "$other" >/dev/null || die "no such runtime: $other"
    row+=' %-10s' heads+=("$(basename "$other")")
done
# shellcheck disable=SC2059 # the row is a format
printf "$row\n" "${heads[@]}"
for program in "$work"/cases/*.t; do
    name=$(basename "$program" .t)
    [[ $name =~ $only ]] || continue
    cells=("$name" "$(run_case "$name" "$runtime")")
    for other in "${beside[@]}"; do
        cells+=("$(run_case "$name" "$(command -v "$other")")")
    done
    note=
    case ${cells[1]} in
        FAIL | timeout)
            note=$(reason "$name")
            if [ -z "$note" ]; then
                note="NOT EXPECTED"
                bad=1
            fi
            ;;
    esac
    # shellcheck disable=SC2059
    printf "$row %s\n" "${cells[@]}" "$note"
done
exit "$bad"
