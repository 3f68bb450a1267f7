#!/usr/bin/env bash
# Runs every check: build, format, lints, scripts, documentation, unit tests, and the end-to-end
# tests against the static binary. The latter run on the cgroups of this machine, and, if those are
# v1 or hybrid, in a private pure cgroup v2 view. Those that depend on cgroups also run in a virtual
# machine with systemd and every controller (hack/vm), on cgroup v2 and then on v1, with cgroups
# created by the runtime and then by systemd; those of SELinux in a machine that enforces a policy.
# The costs of the binary are compared with their limits (hack/bench.sh --guard), and a sample of crashes
# and faults is tried (hack/crash-sweep --quick), unless BULKHEAD_BIN names another one. Finally searches for
# anything left behind.
#
#   hack/test.sh [FILTER...]      passes the filters to `cargo test`, for a quick run of a few tests
#
# With CI=true, a test that could not run is a failure, unless it is on the list below.
# BULKHEAD_BIN=PATH tests that binary (or a peer with this command line); otherwise bulkhead is
# built.
set -euo pipefail
# shellcheck source=hack/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$top"

# Tests that a machine may be unable to run, each with what it lacks then.
may_skip=(
    activation::                    # no perl, which sends datagrams from inside
    cgroup_rules::device_rules_bind # no loop device, or no mke2fs
    documents::tour::loop           # no loop device
    documents::tour::rootless       # unprivileged user namespaces switched off
    identity::oom_score             # a caller whose own value is 1000 already
    limits::hugetlb_limit           # no huge pages
    limits::v1_                     # no cgroup v1
    completions::fish_              # no fish
    completions::zsh_               # no zsh
    mount_flags::without_privileges # unprivileged user namespaces switched off
    mount_idmap::                   # a file system that may not know idmapped mounts
    mounts::idmapped_mount          # a file system that may not know idmapped mounts
    namespaces::time_               # a kernel without time namespaces
    process::the_callers_cpu        # one processor
    rootless::                      # unprivileged user namespaces switched off
    seccomp::foreign_architecture   # a machine that runs no 32-bit programs
    selinux::                       # no SELinux with the policy of hack/vm --selinux
    update::a_quota_that_the_parent # no cgroup v1
    update::block_io_throttles      # no cgroup v1
)
# Tests that have to run in one of the views of cgroups, as the machine decides which view has which
# controllers. All of them run in the virtual machine too, but for the tour: of_this_machine counts the views of
# that. Views with a comma in the name (systemd's
# driver, cgroup v1) run only some tests, so they are not counted.
one_view_is_enough=(apparmor:: limits:: limits_felt:: block_io:: update:: events:: exec_cgroup:: cgroup_v2::
    documents::tour::cpu documents::tour::io documents::tour::memory documents::tour::pids
    cgroup::native_tests:: cgroup::members_tests:: cgroup_rules::cpus_ cleanup::a_limit_too cleanup::memory_above systemd::
    checkpoint::a_restored checkpoint::a_saved config_keys::a_realtime
    config_keys::a_burst config_keys::a_hierarchy config_keys::resources_of wording::a_deadline)
# Tests that read no cgroup: they need no second run.
one_run_is_enough=(architecture:: colours:: completions:: conformance:: evidence:: help:: manual:: progress::)
views=0
of_this_machine=0

results=()
failed=0
step() {
    local name=$1 started=$SECONDS
    shift
    number=$((number + 1))
    printf '\n== %s/%s %s\n' "$number" "$count" "$name" >&2
    if "$@" </dev/null; then
        results+=("ok      $name ($((SECONDS - started)) s)")
    else
        results+=("FAILED  $name ($((SECONDS - started)) s)")
        failed=1
    fi
    printf '== %s\n' "${results[-1]}" >&2
}

# How many steps there are with these filters; a machine without a virtual machine takes fewer.
number=0
count_steps() {
    count=3 # the tests here, what is left behind, and what was skipped
    [ $# -gt 0 ] || count=$((count + 6))
    [ $# -gt 0 ] || [ -z "$built" ] || count=$((count + 3))
    [ "$mode" = v2 ] || ! grep -qw cgroup2 /proc/filesystems || count=$((count + 1))
    case " $*" in *" -"*) ;; *) count=$((count + 3)) ;; esac
}

# cargo runs the test programs through this when they need root and we are not.
runner() {
    if [ "$(id -u)" -ne 0 ]; then
        echo "sudo --preserve-env=BULKHEAD_BIN,BULKHEAD_TEST_CGROUP,BULKHEAD_TEST_SKIPS,CI $*"
    else
        echo "$*"
    fi
}

tests() {
    local mode=$1 through
    views=$((views + 1))
    of_this_machine=$((of_this_machine + 1))
    shift
    case $mode in
    here) through=$(runner) ;;
    v2) through=$(runner "$top/hack/in-cgroup2.sh") ;;
    esac
    local cargo=(cargo test --locked --features shim --no-fail-fast)
    [ -z "$through" ] || cargo+=(--config "target.'cfg(all())'.runner = '$through'")
    BULKHEAD_TEST_CGROUP=$mode "${cargo[@]}" "$@"
}

# Fails only in CI if there can be no virtual machine here.
no_machine=
machine() {
    local status=0
    hack/vm-tests.sh "$@" || status=$?
    case $status in
    126)
        no_machine=1
        [ "${CI:-}" != true ]
        ;;
    *)
        [ -n "${VM_KERNEL:-}${VM_GUEST:-}" ] || views=$((views + 1))
        return $status
        ;;
    esac
}

# Runs some modules in the virtual machine with hybrid cgroups: v1 controllers that this machine may
# lack, owned by systemd.
machine_of_v1() {
    local -x VM_KERNEL=systemd.unified_cgroup_hierarchy=0
    local -x VM_TESTS="limits limits_felt block_io update systemd"
    machine "$@"
}

# Runs the tests of SELinux in a virtual machine that enforces a policy.
machine_of_selinux() {
    local -x VM_GUEST=selinux VM_TESTS=selinux VM_DRIVERS=cgroupfs
    machine "$@"
}

# Compares the costs of the binary with their limits.
not_compared=
costs() {
    local status=0
    as_root hack/bench.sh --guard "$BULKHEAD_BIN" || status=$?
    [ $status -ne 126 ] || not_compared=1
    [ $status -eq 0 ] || [ $status -eq 126 ]
}

# Kills the runtime and lets its system calls fail, at the same sample of points each time.
not_swept=
sweep() {
    local status=0
    as_root hack/crash-sweep --quick --binary "$BULKHEAD_BIN" || status=$?
    [ $status -ne 126 ] || not_swept=1
    [ $status -eq 0 ] || [ $status -eq 126 ]
}

documentation() { RUSTDOCFLAGS="-D warnings" cargo doc --quiet --locked --no-deps; }

# What the tests may leave, one thing a line: processes, mounts, cgroups, directories.
remains() {
    local path
    for path in /proc/[0-9]*; do
        # A dead process that nobody has reaped yet holds nothing.
        case $(sed -n 's/^State:[[:space:]]*//p' "$path/status" 2>/dev/null) in "" | Z* | X*) continue ;; esac
        if as_root grep -q "bulkhead-test-" "$path/cgroup" 2>/dev/null; then
            echo "process ${path##*/} in $(grep -m1 -o 'bulkhead-test-.*' "$path/cgroup")"
        elif as_root grep -qa "^/[^ ]*bulkhead-test-" "$path/cmdline" 2>/dev/null; then
            echo "process ${path##*/}: $(tr '\0' ' ' <"$path/cmdline")"
        fi
    done
    grep -o "[^ ]*bulkhead-test-[^ ]*" /proc/self/mountinfo | sed 's/^/mount /' || true
    find /sys/fs/cgroup -type d -name '*bulkhead-test-*' 2>/dev/null | sed 's/^/cgroup /' || true
    find "${TMPDIR:-/tmp}" /run -maxdepth 2 -name 'bulkhead-test-*' 2>/dev/null | sed 's/^/directory /' || true
}

# Drops what a test program that still runs has made: the number in the name is its pid, and those
# of this run are over.
of_dead_tests() {
    local line pid
    while read -r line; do
        pid=${line##*bulkhead-test-}
        pid=${pid%%[!0-9]*}
        if [ -z "$pid" ] || [ ! -d "/proc/$pid" ]; then printf '%s\n' "$line"; fi
    done
}

# Nothing may be left that was not there before. What is just going is given a few seconds.
leaks() {
    local left tries=5
    while left=$(remains | sort -u | comm -13 "$before" - | of_dead_tests) && [ -n "$left" ]; do
        tries=$((tries - 1))
        if [ $tries -eq 0 ]; then
            printf '%s\n' "$left" | sed 's/^/left behind: /' >&2
            return 1
        fi
        sleep 1
    done
}

# listed NAME PREFIX...: the name starts with one of the prefixes.
listed() {
    local name=$1 prefix
    shift
    for prefix in "$@"; do
        case $name in "$prefix"*) return 0 ;; esac
    done
    return 1
}

skips() {
    local status=0 test view reason possible
    [ -s "$BULKHEAD_TEST_SKIPS" ] || {
        echo "every test ran" >&2
        return 0
    }
    while IFS=$'\t' read -r test view reason; do
        printf 'skipped (%s): %s: %s\n' "$view" "$test" "$reason" >&2
        if listed "$test" "${may_skip[@]}"; then continue; fi
        possible=$views
        case $test in documents::*) possible=$of_this_machine ;; esac
        if listed "$test" "${one_view_is_enough[@]}" &&
            [ "$(cut -f 1,2 "$BULKHEAD_TEST_SKIPS" | sort -u | grep -v , | grep -c "^$test$(printf '\t')")" -lt "$possible" ]; then
            continue
        fi
        if [ "${CI:-}" = true ]; then
            printf '         (not on the list of tests that may be skipped)\n' >&2
            status=1
        fi
    done < <(sort -u "$BULKHEAD_TEST_SKIPS")
    return $status
}

need_packages busybox-static crun fish git groff-base iproute2 jq procps pyflakes3 python3 runc shellcheck strace uidmap \
    util-linux bsdutils gcc libc6-dev libseccomp-dev pkg-config zsh
need_cargo

BULKHEAD_TEST_SKIPS=$(mktemp "${TMPDIR:-/tmp}/bulkhead-skips-XXXXXX")
chmod 0666 "$BULKHEAD_TEST_SKIPS"
before=$(mktemp "${TMPDIR:-/tmp}/bulkhead-before-XXXXXX")
trap 'rm -f "$BULKHEAD_TEST_SKIPS" "$before"' EXIT
export BULKHEAD_TEST_SKIPS
remains | sort -u >"$before"

built=
if [ -z "${BULKHEAD_BIN:-}" ]; then
    built=1
    printf '\n== build\n' >&2
    BULKHEAD_BIN=$(hack/build.sh | tail -n 1)
fi
[ -x "$BULKHEAD_BIN" ] || die "no binary to test: $BULKHEAD_BIN"
export BULKHEAD_BIN

mode=$(cgroup_mode)
count_steps "$@"
if [ $# -eq 0 ]; then
    step "format" cargo fmt --check
    step "lints" cargo clippy --all-targets --features shim --locked -- -D warnings
    step "scripts" shellcheck -x hack/vm hack/*.sh integration/*.sh integration/peer/*.sh packaging/*.sh packaging/deb/*.sh .ci/run
    step "scripts (Python)" pyflakes3 hack/*.py hack/crash-sweep hack/{bench,blocks,sweep}/*.py packaging/*.py integration/*.py integration/{differential,engines}/*.py
    step "links" hack/check-links.py
    step "documentation" documentation
fi
step "tests, cgroups of this machine ($mode)" tests here "$@"
if [ "$mode" = v2 ]; then
    results+=("ok      (cgroup v2 is what this machine has: no second run)")
elif grep -qw cgroup2 /proc/filesystems; then
    without=()
    [ $# -gt 0 ] || without=(-- "${one_run_is_enough[@]/#/--skip=}")
    step "tests, private cgroup v2 view" tests v2 --lib --test e2e "$@" "${without[@]}"
else
    results+=("FAILED  the kernel has no cgroup v2: that half could not be tested")
    failed=1
fi
name="end-to-end tests, virtual machine"
case " $*" in
*" -"*) results+=("NOT RUN $name: options of cargo were given") ;;
*)
    step "$name" machine "$@"
    [ -n "$no_machine" ] || step "$name, cgroup v1" machine_of_v1 "$@"
    [ -n "$no_machine" ] || step "$name, SELinux" machine_of_selinux "$@"
    [ -z "$no_machine" ] || count=$((count - 2))
    [ -z "$no_machine" ] || results+=("NOT RUN $name: CGROUP V2 WITH EVERY CONTROLLER WAS NOT TESTED (see above why)")
    ;;
esac
[ $# -gt 0 ] || [ -z "$built" ] || step "costs" costs
[ $# -gt 0 ] || [ -z "$built" ] || step "crashes and faults" sweep
[ $# -gt 0 ] || [ -z "$built" ] || step "missing system calls" as_root hack/without-syscall.sh --check "$BULKHEAD_BIN"
[ -z "$not_swept" ] || results+=("NOT RUN crashes and faults: only on x86-64")
[ -z "$not_compared" ] || results+=("NOT RUN costs: the limits are those of a binary for x86-64 with musl")
step "nothing left behind" leaks
step "skipped tests" skips

printf '\n' >&2
for result in "${results[@]}"; do
    colour=33
    case $result in ok*) colour=32 ;; FAILED*) colour=31 ;; esac
    paint 1 $colour "${result:0:7}"
    printf '%s\n' "${result:7}"
done
if [ $failed -ne 0 ]; then
    paint 1 31 FAILED
    echo
    exit 1
fi
paint 1 32 "all good"
echo
