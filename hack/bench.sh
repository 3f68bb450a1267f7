#!/usr/bin/env bash
# Measures bulkhead side by side with Debian's crun and runc, and with libcontainer (youki's engine)
# if integration/peer has been built, and prints a Markdown table: first on the machine's own cgroups,
# then in a private cgroup v2 view. Of hybrid cgroups the v2 part is hidden for the first, because
# Debian 12's crun refuses them. The programs of a row take part in one call of hyperfine, so what
# carries over from a busy machine is the ratios. Fails if bulkhead's `run` takes more than 400
# system calls on cgroup v2.
#
#   hack/bench.sh [--quick]
#
# The bundle is what `bulkhead spec` writes, with `true` of a static busybox as its process. Peak
# memory is the largest of the runtime's processes (getrusage); system calls are those of all of its
# threads and children, the container's own process included. What a program cannot do here is a
# dash, and the reason follows the table.
#
#   BULKHEAD_BIN   the binary to measure (default: what hack/build.sh makes)
#   PEER_BIN       the libcontainer peer (default: where integration/peer/build.sh leaves it)
set -euo pipefail
# shellcheck source=hack/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

runs=40 warmup=5 samples=5
case ${1:-} in
'') ;;
--quick) runs=10 warmup=2 samples=2 ;;
*) die "usage: $0 [--quick]" ;;
esac
[ "$(id -u)" -eq 0 ] || die "must run as root"
limit=400

need_packages busybox-static crun hyperfine jq runc strace time
BULKHEAD_BIN=${BULKHEAD_BIN:-}
[ -n "$BULKHEAD_BIN" ] || BULKHEAD_BIN=$("$top/hack/build.sh" | tail -n 1)
PEER_BIN=${PEER_BIN:-}
for built in "$top"/integration/peer/target/*/release/peer; do
    [ -n "$PEER_BIN" ] || [ ! -x "$built" ] || PEER_BIN=$built
done
export BULKHEAD_BIN PEER_BIN
names=(bulkhead crun runc)
declare -A program=([bulkhead]=$BULKHEAD_BIN [crun]=$(command -v crun) [runc]=$(command -v runc))
if [ -n "$PEER_BIN" ]; then
    names+=(libcontainer)
    program[libcontainer]=$PEER_BIN
fi

work=$(mktemp -d "${TMPDIR:-/tmp}/bulkhead-bench-XXXXXX")
cleanup() {
    local name state
    for name in "${names[@]}"; do
        for state in "$work/state-$name"/*/; do
            [ -d "$state" ] || continue
            "${program[$name]}" --root "$work/state-$name" delete --force "$(basename "$state")" || true
        done
    done
    rm -rf --one-file-system "$work"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

# Debian 12's crun needs CAP_SYS_RESOURCE on cgroup v2. Without it, it runs with no cgroup at all.
crun_words=()
if [ "$(cgroup_mode)" = v2 ] && ! setpriv --inh-caps +sys_resource true 2>/dev/null; then
    crun_words=(--cgroup-manager=disabled)
fi

# ---- bundles ------------------------------------------------------------------------------------

mkdir -p "$work"/rootfs/{bin,dev,proc,sys}
cp "$(command -v busybox)" "$work/rootfs/bin/busybox"
for applet in true sleep; do ln -s busybox "$work/rootfs/bin/$applet"; done
bundle() { # name, filter
    mkdir "$work/$1"
    (cd "$work/$1" && "$BULKHEAD_BIN" spec)
    jq --arg rootfs "$work/rootfs" --slurpfile seccomp "$top/seccomp-profiles/default.json" '
        .ociVersion = "1.0.2" | .process.terminal = false | .process.args = ["true"]
        | .root.path = $rootfs | '"$2" "$work/$1/config.json" >"$work/$1/new"
    mv "$work/$1/new" "$work/$1/config.json"
}
bundle plain .
# shellcheck disable=SC2016 # jq's variable
bundle seccomp '.linux.seccomp = $seccomp[0]'
bundle sleep '.process.args = ["sleep", "3600"]'
cat >"$work/cycle" <<'END'
#!/bin/sh
set -e
bundle=$1 id=$2
shift 2
"$@" create --bundle "$bundle" "$id"
"$@" start "$id"
exec "$@" delete --force "$id"
END
chmod +x "$work/cycle"

# ---- one cell -----------------------------------------------------------------------------------

# command ROW NAME: sets the array `words`; fails if that program has no such command.
command_of() {
    local id=bulkhead-bench-$$-$2
    words=("${program[$2]}" --root "$work/state-$2")
    [ "$2" != crun ] || words+=("${crun_words[@]}")
    case $1 in
    run) words+=(run --bundle "$work/plain" "$id") ;;
    seccomp) words+=(run --bundle "$work/seccomp" "$id") ;;
    cycle) words=("$work/cycle" "$work/plain" "$id" "${words[@]}") ;;
    alive) words+=(create --bundle "$work/sleep" "$id-alive") ;;
    state) words+=(state "$id-alive") ;;
    dead) words+=(delete --force "$id-alive") ;;
    exec) words+=(exec "$id-alive" true) && [ "$2" != libcontainer ] ;;
    list) words+=(list) && [ "$2" != libcontainer ] ;;
    version) words=("${program[$2]}" --version) ;;
    esac
}

# works ROW NAME: whether it runs here at all; if not, remembers why, once for each program.
declare -A broken=()
works() {
    local words
    command_of "$1" "$2" || return 1
    "${words[@]}" >/dev/null 2>"$work/why" </dev/null && return
    broken[$2]="$(tail -n 1 "$work/why" | cut -c 1-200)"
    return 1
}

# print_row TITLE UNIT-FORMAT: prints the row from the array `cell` (a number for each program).
print_row() {
    local name line="| $1 |" ours=${cell[bulkhead]:-}
    for name in "${names[@]}"; do
        # shellcheck disable=SC2059 # the format is the point
        if [ -z "${cell[$name]:-}" ]; then line+=" - |"; else line+=" $(printf "$2" "${cell[$name]}") |"; fi
    done
    for name in "${names[@]:1}"; do
        line+=" $(awk -v a="$ours" -v b="${cell[$name]:-}" 'BEGIN { if (a && b) printf "%.2f", a / b; else printf "-" }') |"
    done
    echo "$line"
}

time_row() { # row, title
    local name words commands=() who=() i=0 value
    declare -A cell=()
    for name in "${names[@]}"; do
        works "$1" "$name" || continue
        command_of "$1" "$name"
        commands+=("${words[*]@Q}")
        who+=("$name")
    done
    hyperfine -N --style none --warmup $warmup --runs $runs --export-json "$work/figures" \
        "${commands[@]}" >/dev/null 2>"$work/why" </dev/null || die "hyperfine: $(cat "$work/why")"
    while read -r value; do
        cell[${who[i]}]=$value
        i=$((i + 1))
    done < <(jq '.results[].median * 1000' "$work/figures")
    print_row "$2" '%.2f ms'
}

memory_row() {
    local name words
    declare -A cell=()
    for name in "${names[@]}"; do
        works run "$name" || continue
        command_of run "$name"
        cell[$name]=$(for _ in $(seq $samples); do
            /usr/bin/time -f %M -o "$work/rss" "${words[@]}" </dev/null && cat "$work/rss"
        done | sort -n | sed -n "$(((samples + 1) / 2))p" | awk '{ print $1 / 1024 }')
    done
    print_row "peak memory of \`run\`" '%.1f MB'
}

syscalls() { # row, name
    local words
    command_of "$1" "$2"
    strace -f -c -o "$work/calls" "${words[@]}" >/dev/null 2>&1 </dev/null
    awk '$1 ~ /^[0-9.]+$/ && $NF != "total" { n += $4 } END { print n }' "$work/calls"
}
syscalls_row() { # row
    local name
    declare -A cell=()
    for name in "${names[@]}"; do
        works "$1" "$name" || continue
        cell[$name]=$(syscalls "$1" "$name")
    done
    print_row "system calls of \`$1\`" '%d'
}

# ---- the tables ---------------------------------------------------------------------------------

table() { # title
    local name words head rule='|---|'
    head="| $1 |"
    for name in "${names[@]}"; do head+=" $name |" rule+='--:|'; done
    for name in "${names[@]:1}"; do head+=" / $name |" rule+='--:|'; done
    printf '\n%s\n%s\n' "$head" "$rule"
    time_row run "\`run\` of \`true\`"
    time_row seccomp "\`run\` with seccomp's default profile"
    time_row cycle "\`create\` + \`start\` + \`delete\` (in a shell)"
    for name in "${names[@]}"; do
        works run "$name" || continue
        command_of alive "$name"
        "${words[@]}" </dev/null >/dev/null 2>&1
    done
    time_row exec "\`exec\` of \`true\`"
    syscalls_row exec
    time_row state "\`state\`"
    time_row list "\`list\` of one container"
    for name in "${names[@]}"; do
        command_of dead "$name"
        "${words[@]}" >/dev/null 2>&1 || true
    done
    time_row version "\`--version\`"
    memory_row
    syscalls_row run
    [ ${#crun_words[@]} -eq 0 ] ||
        printf '\ncrun lacks CAP_SYS_RESOURCE here and makes no cgroup: it does less work than the others.\n'
    for name in "${!broken[@]}"; do printf '\n%s did not run here: %s\n' "$name" "${broken[$name]}"; done
}

if [ -z "${BULKHEAD_BENCH_VIEW:-}" ]; then
    printf 'Linux %s, %s CPUs, load %s; medians of %s runs; the right columns are bulkhead divided by the other.\n\n' \
        "$(uname -r)" "$(nproc)" "$(cut -d ' ' -f 1 /proc/loadavg)" "$runs"
    for name in "${names[@]}"; do
        printf -- '- %s: %s\n' "$name" "$("${program[$name]}" --version | head -n 1)"
    done
    # shellcheck disable=SC2016 # expanded by the inner shell
    case $(cgroup_mode) in
    hybrid)
        BULKHEAD_BENCH_VIEW=v1 unshare --mount --propagation private \
            sh -c 'umount --lazy /sys/fs/cgroup/unified && exec "$@"' sh "${BASH_SOURCE[0]}" "$@"
        ;;
    v1) table "cgroup v1" ;;
    esac
    if [ "$(cgroup_mode)" != v2 ]; then
        BULKHEAD_BENCH_VIEW=v2 "$top/hack/in-cgroup2.sh" "${BASH_SOURCE[0]}" "$@"
        exit
    fi
fi
if [ "${BULKHEAD_BENCH_VIEW:-}" = v1 ]; then
    table "cgroup v1"
    exit
fi
table "cgroup v2"
# The fewest of three: a busy machine interrupts some calls, which are then made again.
calls=$(for _ in 1 2 3; do syscalls run bulkhead; done | sort -n | head -n 1)
if [ "$calls" -le $limit ]; then verdict=ok; else verdict=FAIL; fi
printf '\nsystem calls of bulkhead run on cgroup v2: %s of at most %s: %s\n' "$calls" $limit $verdict
[ $verdict = ok ]
