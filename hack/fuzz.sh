#!/usr/bin/env bash
# Runs the fuzzers of fuzz/ one after the other, and prints a table of what they did.
#
#   hack/fuzz.sh [--seconds N | --runs N] [TARGET...]     (30 seconds, all targets)
#
# Needs a nightly toolchain and cargo-fuzz; without them the exit status is 126. A target begins with its
# seeds (fuzz/seeds) and with the inputs that earlier runs have kept (fuzz/corpus). An input that breaks an
# invariant, takes longer than 20 seconds or more than 2 GiB is kept in fuzz/artifacts, the command that
# repeats it is printed, and the exit status is 1.
set -euo pipefail
# shellcheck source=hack/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$top"

limit=(-max_total_time=30)
case ${1:-} in
--seconds | --runs)
    case ${2:-} in '' | *[!0-9]* | 0*) die "usage: $0 [--seconds N | --runs N] [TARGET...]" ;; esac
    limit=(-max_total_time="$2")
    [ "$1" = --seconds ] || limit=(-runs="$2")
    shift 2
    ;;
-*) die "usage: $0 [--seconds N | --runs N] [TARGET...]" ;;
esac
need_cargo
missing() {
    note "cannot run: $1"
    exit 126
}
cargo +nightly --version >/dev/null 2>&1 || missing "there is no nightly toolchain (rustup toolchain install nightly)"
cargo +nightly fuzz --version >/dev/null 2>&1 || missing "there is no cargo-fuzz (cargo install cargo-fuzz --locked)"

all=()
for file in fuzz/fuzz_targets/*.rs; do
    file=${file##*/}
    all+=("${file%.rs}")
done
[ $# -gt 0 ] || set -- "${all[@]}"
for target; do
    [ -f "fuzz/fuzz_targets/$target.rs" ] || die "there is no target $target (there are: ${all[*]})"
done

# The code is safe Rust but for src/sys: the checks of the language suffice, and the fuzzers are faster. With
# one unit of code each build would take several times as long.
options=(--sanitizer none --codegen-units 16)
steps $(($# + 1))
stage "the build"
cargo +nightly fuzz build "${options[@]}"

log=$(mktemp "${TMPDIR:-/tmp}/bulkhead-fuzz-XXXXXX")
# The tree of the target paths stays if that target ends by an invariant. The number in its name is the pid.
# shellcheck disable=SC2317 # called by the trap
clean_up() {
    local tree pid
    rm -f "$log"
    for tree in /dev/shm/bulkhead-fuzz-*-ThreadId*; do
        pid=${tree#*fuzz-}
        [ -d "/proc/${pid%%-*}" ] || rm -rf --one-file-system "$tree"
    done
}
trap clean_up EXIT
rows=()
status=0
for target; do
    mkdir -p "fuzz/corpus/$target"
    dictionary=()
    [ ! -f "fuzz/dictionaries/$target" ] || dictionary=(-dict="fuzz/dictionaries/$target")
    found=nothing
    stage "$target"
    tick "$target"
    cargo +nightly fuzz run "${options[@]}" "$target" "fuzz/corpus/$target" "fuzz/seeds/$target" -- \
        "${limit[@]}" "${dictionary[@]}" -max_len=4096 -timeout=20 -rss_limit_mb=2048 -print_final_stats=1 \
        </dev/null >"$log" 2>&1 || {
        found=$(sed -n 's|.*Test unit written to ||p' "$log" | tail -n 1)
        status=1
        grep -v '^#' "$log" | tail -n 40 >&2
        [ -z "$found" ] || note "to repeat it: cargo +nightly fuzz run ${options[*]} $target $found"
        [ -n "$found" ] || found="no start"
    }
    tock
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log" | tail -n 1)
    coverage=$(grep -o ' cov: [0-9]*' "$log" | tail -n 1 || true)
    coverage=${coverage##* }
    rows+=("$target ${runs:--} ${coverage:--} ${found##*/}")
done
stages_end
printf '%-12s %12s %10s  %s\n' target runs coverage found
printf '%s\n' "${rows[@]}" | while read -r target runs coverage found; do
    printf '%-12s %12s %10s  %s\n' "$target" "$runs" "$coverage" "$found"
done
exit $status
