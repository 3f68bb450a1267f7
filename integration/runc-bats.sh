#!/bin/bash
# Runs the integration suite of runc (tests/integration/*.bats) against bulkhead.
#
#   integration/runc-bats.sh [--cgroup2] [--logs DIR] [--beside DIR] CHECKOUT [FILE...]
#
# CHECKOUT is a checkout of runc 1.5 whose helper programs are built ("make test-binaries"), with
# the two images of its suite in tests/integration/testdata; nothing is fetched or built here.
# FILE is the name of a .bats file, without its path (default: all files).
#
#   --cgroup2     in a mount namespace whose /sys/fs/cgroup is cgroup v2 alone
#   --logs DIR    keep the TAP output of every file
#   --beside DIR  show next to each failure the result in the logs of another run
#
# The environment variable RUNTIME names another runtime than the bulkhead in target/debug. For a
# runtime with another name the list of expected failures does not apply, which gives a baseline.
# TIMEOUT is the time limit of a file in seconds (600).
#
# Prints a table: file, cases that passed, were skipped, failed; then every failure with its reason
# in runc-bats.expected. Exit status: 1 if a case fails unexpectedly, or passes although it is
# expected to fail; 2 if the suite could not be run.
#
# Needs root, bats 1.5 or newer, script (util-linux 2.35), jq, gawk and go (the suite asks it for
# the architecture). Takes half an hour.
set -u

here=$(cd "$(dirname "$0")" && pwd)
expected=$here/runc-bats.expected
limit=${TIMEOUT:-600}

die() {
    echo "runc-bats.sh: $*" >&2
    exit 2
}

usage() {
    sed -n 's/^# \{0,1\}//; 2,/^Needs/p' "$0" | sed '1,2d; $d' >&2
    exit 2
}

cgroup2='' logs='' beside=''
again=("$@")
while [ $# -gt 0 ]; do
    case $1 in
        --logs) [ $# -ge 2 ] || usage; logs=$2; shift 2 ;;
        --beside) [ $# -ge 2 ] || usage; beside=$2; shift 2 ;;
        --cgroup2) cgroup2=yes; shift ;;
        -*) usage ;;
        *) break ;;
    esac
done
[ $# -ge 1 ] || usage
[ "$(id -u)" = 0 ] || die "needs root"
for program in bats script jq gawk go; do
    command -v "$program" >/dev/null || die "needs $program"
done

# The mounts end with the namespace; the machine's own are never touched.
if [ -n "$cgroup2" ] && [ -z "${RUNC_BATS_CGROUP2:-}" ]; then
    export RUNC_BATS_CGROUP2=1
    # shellcheck disable=SC2016 # expanded by the inner shell
    exec unshare --mount --propagation private sh -c '
        umount -l /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup || exit 2
        exec "$@"' sh "$0" "${again[@]}"
fi

checkout=$(cd "$1" && pwd) || die "no such directory: $1"
shift
suite=$checkout/tests/integration
[ -f "$suite/helpers.bash" ] || die "$checkout is no checkout of runc"
[ -x "$checkout/tests/cmd/_bin/recvtty" ] ||
    die "$checkout/tests/cmd/_bin has no programs: make test-binaries"
for image in busybox debian; do
    compgen -G "$suite/testdata/$image-*.tar.*" >/dev/null ||
        die "no image of $image in $suite/testdata: tests/integration/get-images.sh fetches it"
done
runtime=${RUNTIME:-$here/../target/debug/bulkhead}
runtime=$(command -v "$runtime") || die "no such runtime: ${RUNTIME:-$runtime}"
runtime=$(realpath "$runtime")
compare=yes
[ "$(basename "$runtime")" = bulkhead ] || compare=

layout=v1
[ "$(stat -fc %T /sys/fs/cgroup)" = cgroup2fs ] && layout=v2

work=$(mktemp -d "${TMPDIR:-/tmp}/runc-bats.XXXXXX") || exit 2
trap 'rm -rf --one-file-system "$work"' EXIT
# Cases with a user namespace reach their bundle through it.
chmod 755 "$work"
mkdir "$work/tap" "$work/tmp"

# The cgroups of the suite that a case has left behind.
sweep() {
    find /sys/fs/cgroup -depth -type d \
        \( -path '*/runc-cgroups-integration-test*' -o -name 'runc-tst-[0-9]*' \) \
        -exec rmdir {} \; 2>/dev/null
}

# Runs file $1; its TAP goes to $work/tap. In a pid namespace, with which every process it has left
# goes, and on a terminal of its own: the suite opens /dev/tty. bash is process 1 since it reaps
# what is not its own. script(1), without an input, writes an end of file to the terminal: it is
# read here, or the first container would. What a failed case has left running can hold bats up by
# its output: the end of the plan is the end.
run_file() {
    mkdir "$work/tmp/$1"
    chmod 755 "$work/tmp/$1"
    # shellcheck disable=SC2016 # expanded by the inner shells
    (cd "$suite" &&
        FILE=$1.bats TAP=$work/tap/$1 RUNC=$runtime TMPDIR=$work/tmp/$1 GOTOOLCHAIN=local \
            timeout --foreground -s KILL "$limit" \
            unshare --mount --propagation private --pid --fork --kill-child --mount-proc bash -c '
                script -qec "
                    stty raw -echo min 0 time 20
                    dd bs=1 count=1 >/dev/null 2>&1
                    stty sane -onlcr
                    bats --tap \"\$FILE\" >\"\$TAP\" 2>&1" /dev/null &
                while kill -0 $! 2>/dev/null; do
                    sleep 1
                    awk "/^1\.\.[0-9]+\$/ { plan = substr(\$0, 4) + 0 }
                         /^(ok|not ok) [0-9]+ / { seen++ }
                         END { exit !(plan && seen >= plan) }" "$TAP" && sleep 2 && break
                done' </dev/null >/dev/null 2>&1)
    sweep
    rm -rf --one-file-system "$work/tmp/$1"
}

# The TAP on standard input as lines of: verdict, tab, case. A plan that was not carried out is a
# case of its own.
cases() {
    awk '
        /^1\.\.[0-9]+$/ { plan = substr($0, 4) + 0 }
        /^(ok|not ok) [0-9]+ / {
            verdict = /^ok/ ? "ok" : "not ok"
            name = $0
            sub(/^(ok|not ok) [0-9]+ /, "", name)
            if (sub(/ # skip( .*)?$/, "", name)) verdict = "skip"
            print verdict "\t" name
            seen++
        }
        END { if (!plan || seen < plan) print "not ok\t(not run to the end)" }'
}

# What the logs beside say of case $2 of file $1.
other() {
    [ -n "$beside" ] || return 0
    local verdict
    verdict=$(cases 2>/dev/null <"$beside/$1.tap" |
        awk -F'\t' -v name="$2" '$2 == name { print $1; exit }')
    echo " [beside: ${verdict:-absent}]"
}

# The line of runc-bats.expected for case $2 of file $1: "always" or "may", and the reason.
expectation() {
    [ -n "$compare" ] || return 0
    awk -v file="$1" -v name="$2" -v layout="$layout" '
        /^#/ || !NF { next }
        {
            colon = index($0, ": "); dash = index($0, " -- ")
            if (!colon || !dash) next
            key = substr($0, 1, colon - 1)
            may = sub(/\?$/, "", key) ? "may" : "always"
            if (sub(/@v[12]$/, "", key) && substr($0, index($0, "@") + 1, 2) != layout) next
            wanted = substr($0, colon + 2, dash - colon - 2)
            if (key != file || (wanted != "*" && wanted != name)) next
            if (wanted == "*") may = "may"
            print may " " substr($0, dash + 4)
            exit
        }' "$expected"
}

if [ $# -eq 0 ]; then
    for path in "$suite"/*.bats; do
        set -- "$@" "$(basename "$path")"
    done
fi
[ -z "$logs" ] || mkdir -p "$logs"

bad=0 notes=()
printf '%-26s %5s %5s %7s\n' file ok skip 'not ok'
for file in "$@"; do
    file=${file%.bats}
    [ -f "$suite/$file.bats" ] || die "no such file: $suite/$file.bats"
    : >"$work/tap/$file"
    run_file "$file"
    [ -z "$logs" ] || cp "$work/tap/$file" "$logs/$file.tap"
    ok=0 skipped=0 failed=0
    while IFS=$'\t' read -r verdict name; do
        expect=$(expectation "$file" "$name")
        case $verdict in
            ok)
                ok=$((ok + 1))
                [[ $expect = always* ]] || continue
                notes+=("$file: $name: PASSES, and is expected to fail: ${expect#always }")
                bad=1
                ;;
            skip) skipped=$((skipped + 1)) ;;
            *)
                failed=$((failed + 1))
                if [ -n "$expect" ]; then
                    notes+=("$file: $name: ${expect#* }$(other "$file" "$name")")
                else
                    notes+=("$file: $name: NOT EXPECTED$(other "$file" "$name")")
                    bad=1
                fi
                ;;
        esac
    done < <(cases <"$work/tap/$file")
    printf '%-26s %5d %5d %7d\n' "$file" "$ok" "$skipped" "$failed"
done
echo
[ ${#notes[@]} -eq 0 ] || printf '%s\n' "${notes[@]}"
exit "$bad"
