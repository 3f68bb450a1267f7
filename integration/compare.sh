#!/usr/bin/env bash
# Runs a probe in containers created by bulkhead and its peers (Debian's runc and crun, and
# libcontainer, youki's engine, if integration/peer has been built) from the same bundles, and
# compares what the kernel reports inside: capabilities, users, seccomp, mounts with their options,
# devices, namespaces, limits, cgroup files, and what is left after the end of the container.
#
#   integration/compare.sh [-v] [BUNDLE...]
#
# Every difference from bulkhead must be explained in integration/compare.expected. The table shows
# the unexplained differences (with -v all of them), which make the exit status 1. Run it again
# under hack/in-cgroup2.sh for the other cgroup version. Needs root; takes some seconds.
#
#   BULKHEAD_BIN   the binary under comparison (default: built by hack/build.sh)
#   PEER_BIN       the libcontainer peer (default: built by integration/peer/build.sh)
set -euo pipefail
# shellcheck source=hack/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../hack/lib.sh"

verbose=
[ "${1:-}" != -v ] || { verbose=yes && shift; }
[ "$(id -u)" -eq 0 ] || die "must run as root"
need_packages busybox-static jq runc crun
bulkhead=${BULKHEAD_BIN:-}
[ -n "$bulkhead" ] || bulkhead=$("$top/hack/build.sh" | tail -n 1)
libcontainer=${PEER_BIN:-}
for built in "$top"/integration/peer/target/*/release/peer; do
    [ -n "$libcontainer" ] || [ ! -x "$built" ] || libcontainer=$built
done
expected=$top/integration/compare.expected
declare -A program=([bulkhead]=$bulkhead [runc]=$(command -v runc) [crun]=$(command -v crun))
peers=(runc crun)
if [ -n "$libcontainer" ]; then
    program[libcontainer]=$libcontainer
    peers+=(libcontainer)
else
    note "integration/peer has not been built: comparing with runc and crun only"
fi

# runtime NAME WORD...: runs it. Debian 12's crun 1.8
# refuses hybrid cgroups, so the v2 mount is hidden from it; and on cgroup v2 it needs
# CAP_SYS_RESOURCE, without which it has to do without cgroups.
crun_words=()
if [ "$(cgroup_mode)" = hybrid ]; then
    # shellcheck disable=SC2016 # expanded by the inner shell
    crun_words=(unshare --mount --propagation private
        sh -c 'umount --lazy /sys/fs/cgroup/unified && exec "$@"' sh)
fi
crun_words+=("${program[crun]}")
if [ "$(cgroup_mode)" = v2 ] && ! setpriv --inh-caps +sys_resource true 2>/dev/null; then
    note "no CAP_SYS_RESOURCE: crun runs without cgroups"
    crun_words+=(--cgroup-manager=disabled)
fi
runtime() {
    local words=("${program[$1]}") state=$work/state-$1
    [ "$1" != crun ] || words=("${crun_words[@]}")
    shift
    "${words[@]}" --root "$state" "$@"
}

work=$(mktemp -d "${TMPDIR:-/tmp}/bulkhead-compare-XXXXXX")
id=bulkhead-compare-$$
cleanup() {
    local name
    for name in "${!program[@]}"; do
        [ ! -d "$work/state-$name/$id" ] || runtime "$name" delete --force "$id"
    done
    rm -rf --one-file-system "$work"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

# ---- the bundles ------------------------------------------------------------------------------

umask 022
chmod 0755 "$work"
rootfs=$work/rootfs
mkdir -p "$rootfs"/{bin,dev,proc,sys,tmp,data,secret,scratch,bound}
busybox=$(command -v busybox)
cp "$busybox" "$rootfs/bin/busybox"
for applet in $("$busybox" --list); do
    [ "$applet" = busybox ] || ln -s busybox "$rootfs/bin/$applet"
done
echo open >"$rootfs/secret/file"
echo open >"$rootfs/secret-file"
mkdir "$work/source"
echo bound >"$work/source/file"

# One line a fact: its name, a tab, its value. "end" asks for the facts that only the host can see;
# the container lives until the answer.
cat >"$rootfs/probe" <<'PROBE'
fact() { printf '%s\t%s\n' "$1" "$2"; }
awk -F ':\t' '/^(Uid|Gid|Groups|Umask|Cap|NoNewPrivs|Seccomp|Speculation_Store|Cpus_allowed_list)/ {
    gsub(/\t/, " ", $2); sub(/ +$/, "", $2); print $1 "\t" $2 }' /proc/self/status
awk '{ at = $5; if (n[at]++) at = at "#" n[at]
    for (i = 7; $i != "-"; i++) { sub(/:.*/, "", $i); $6 = $6 " " $i }
    print "mount:" at "\t" $4 " " $6 " " $(i + 1) " " $(i + 2) " " $(i + 3) }' /proc/self/mountinfo
for file in /dev/*; do fact "dev:$file" "$(stat -c '%A %u:%g %t:%T' "$file") $(readlink "$file")"; done
for ns in cgroup ipc mnt net pid time user uts; do fact "ns:$ns" "$(readlink "/proc/self/ns/$ns")"; done
awk 'NR > 1 { name = $1; i = 2; while ($i !~ /^([0-9]+|unlimited)$/) name = name "-" $(i++)
    print "limit:" name "\t" $i " " $(i + 1) }' /proc/self/limits
awk -F: '{ print "cgroup:" ($2 == "" ? "v2" : $2) "\t" $3 }' /proc/self/cgroup
fact fds "$(ls /proc/self/fd | tr '\n' ' ')"
fact env "$(env | sort | tr '\n' ' ')"
fact cwd "$(pwd)"
fact hostname "$(hostname)"
fact lo "$(cat /sys/class/net/lo/flags)"
fact oom_score_adj "$(cat /proc/self/oom_score_adj)"
fact uid_map "$(tr -s ' ' </proc/self/uid_map)"
fact read:/secret "$(ls -A /secret 2>&1 | tr '\n' ' ')"
fact read:/secret-file "$(cat /secret-file 2>&1)"
for at in / /data /scratch /bound /proc/sys/kernel/domainname; do
    if [ -d "$at" ]; then why=$(touch "$at/f" 2>&1); else why=$( (echo x >$at) 2>&1); fi
    fact "write:$at" "${why##*: }"
    [ ! -d "$at" ] || rm -f "$at/f"
done
fact unshare "$(unshare -U true 2>&1)"
fact mknod "$(mknod /tmp/n c 1 3 2>&1 && rm /tmp/n)"
echo end
read -r answer
exit 7
PROBE

# bundle NAME [JQ-FILTER]: what `bulkhead spec` writes, and the filter on top.
bundles=()
bundle() {
    mkdir "$work/$1"
    (cd "$work/$1" && "$bulkhead" spec)
    jq --arg work "$work" --arg id "$id" --slurpfile seccomp "$top/seccomp-profiles/default.json" '
        .process.terminal = false | .process.args = ["/bin/sh", "/probe"]
        | .ociVersion = "1.0.2" | .root = {path: ($work + "/rootfs"), readonly: false}
        | .linux.cgroupsPath = "/" + $id
        '"${2:+| $2}" "$work/$1/config.json" >"$work/$1/config.new"
    mv "$work/$1/config.new" "$work/$1/config.json"
    bundles+=("$1")
}
# shellcheck disable=SC2016 # jq's variables
all_bundles() {
    bundle default
    bundle readonly-root '.root.readonly = true'
    bundle user-namespace '.linux.namespaces |= (. + [{type: "user"}, {type: "cgroup"}] | unique)
        | .linux.uidMappings = [{containerID: 0, hostID: 100000, size: 65536}]
        | .linux.gidMappings = .linux.uidMappings'
    bundle masked '.linux.maskedPaths += ["/secret", "/secret-file", "/not-there"]
        | .linux.readonlyPaths += ["/data", "/not-there"]'
    bundle seccomp '.linux.seccomp = $seccomp[0]'
    bundle limits '.linux.resources += {memory: {limit: 67108864, reservation: 33554432},
            cpu: {shares: 512, quota: 50000, period: 100000, cpus: "0"}, pids: {limit: 100}}
        | .process.oomScoreAdj = 100
        | .process.rlimits = [{type: "RLIMIT_NOFILE", soft: 256, hard: 512},
            {type: "RLIMIT_CORE", soft: 0, hard: 0}]'
    bundle user-1000 '.process.user = {uid: 1000, gid: 1001, additionalGids: [5, 10], umask: 23}
        | .process.noNewPrivileges = false | .process.cwd = "/tmp"
        | .process.capabilities |= (.inheritable = ["CAP_KILL"] | .ambient = ["CAP_KILL"])'
    bundle mounts '.mounts += [
        {destination: "/scratch", type: "tmpfs", source: "scratch",
            options: ["nosuid", "noexec", "noatime", "size=1m", "mode=1770"]},
        {destination: "/bound", type: "bind", source: ($work + "/source"),
            options: ["rbind", "ro", "nosuid", "nodev", "rslave"]},
        {destination: "/scratch/made/here", type: "bind", source: ($work + "/source/file"),
            options: ["bind", "noexec"]}]
        | .linux.devices = [{path: "/dev/kmsg", type: "c", major: 1, minor: 11,
            fileMode: 384, uid: 0, gid: 5}]'
}
all_bundles

# ---- the facts ----------------------------------------------------------------------------------

# What the host knows about the container's cgroups, read while it lives: PATHS has lines
# "controllers, tab, path".
limit_files='cpu.shares cpu.cfs_quota_us cpu.cfs_period_us cpuset.cpus cpuset.mems
    memory.limit_in_bytes memory.soft_limit_in_bytes memory.memsw.limit_in_bytes memory.swappiness
    memory.use_hierarchy pids.max devices.list blkio.weight freezer.state cgroup.procs
    cpu.max cpu.weight memory.max memory.low memory.high memory.swap.max io.max
    cgroup.type cgroup.freeze cgroup.subtree_control'
cgroup_dir() { # controllers path
    case $1 in
    v2) if [ "$(cgroup_mode)" = v2 ]; then echo "/sys/fs/cgroup$2"; else echo "/sys/fs/cgroup/unified$2"; fi ;;
    *) echo "/sys/fs/cgroup/${1#name=}$2" ;;
    esac
}
host_facts() {
    local controllers path dir file
    while IFS=$'\t' read -r controllers path; do
        dir=$(cgroup_dir "$controllers" "$path")
        for file in $limit_files; do
            [ -r "$dir/$file" ] || continue
            if [ "$file" = cgroup.procs ]; then
                # Who is in there besides the container: the number of processes.
                printf 'limit:%s:%s\t%s\n' "$controllers" "$file" "$(wc -l <"$dir/$file")"
            else
                printf 'limit:%s:%s\t%s\n' "$controllers" "$file" "$(sort "$dir/$file" | tr '\n' ' ')"
            fi
        done
    done
}

# facts BUNDLE RUNTIME: into $work/BUNDLE/RUNTIME, sorted.
facts() {
    local out=$work/$1/$2 line status=0 pid ns left controllers path
    coproc inside { runtime "$2" run --bundle "$work/$1" "$id" 2>"$out.err"; }
    # shellcheck disable=SC2154 # set by coproc
    pid=$inside_PID
    exec {from}<&"${inside[0]}" {to}>&"${inside[1]}"
    while IFS= read -r line <&"$from" && [ "$line" != end ]; do
        printf '%s\n' "$line"
    done >"$out"
    # In a cgroup namespace the path is "/": then it is the one that was asked for.
    sed -n "s/^cgroup://p" "$out" >"$out.cgroups"
    grep -q "$id" "$out.cgroups" || sed -i "s|\t/\$|\t/$id|" "$out.cgroups"
    host_facts <"$out.cgroups" >>"$out"
    (echo >&"$to") 2>/dev/null || true
    exec {from}<&- {to}>&-
    wait "$pid" || status=$?
    if [ "$status" -ne 7 ]; then
        # Nothing else is to be compared then.
        printf 'exit\t%s\n' "$status $(tr '\n\t' '  ' <"$out.err" | tail -c 300)" >"$out"
        return
    fi
    printf 'exit\t%s\n' "$status" >>"$out"
    for ns in cgroup ipc mnt net pid time user uts; do
        left=$(readlink "/proc/self/ns/$ns" | tr -dc 0-9)
        sed -i "/^ns:$ns\t/{s|\t.*\[$left\]\$|\thost|;t;s|\t.*|\tnew|}" "$out"
    done
    left=
    while IFS=$'\t' read -r controllers path; do
        path=$(cgroup_dir "$controllers" "/$id")
        [ ! -d "$path" ] || left+="$path "
    done <"$out.cgroups"
    [ ! -e "$work/state-$2/$id" ] || left+="state"
    printf 'left\t%s\n' "$left" >>"$out"
    sort -o "$out" "$out"
}

# ---- the comparison -----------------------------------------------------------------------------

# Prints bundle, field, peer, bulkhead's value and the peer's value, tab-separated and none empty.
# What only the peer has is the field "no:...", so that an explanation for another value of bulkhead's
# does not cover that it has none at all.
differences() { # bundle peer
    awk -F '\t' -v OFS='\t' -v bundle="$1" -v peer="$2" '
        function differ(field, a, b) { print bundle, field, peer, a == "" ? "-" : a, b == "" ? "-" : b }
        NR == FNR { ours[$1] = $2; next }
        { theirs[$1] = $2 }
        END {
            if (theirs["exit"] != 7) { differ("exit", ours["exit"], theirs["exit"]); exit }
            for (f in ours) if (!(f in theirs)) differ(f, ours[f], "(none)")
            for (f in theirs) if (!(f in ours)) differ("no:" f, "(none)", theirs[f])
                else if (ours[f] != theirs[f]) differ(f, ours[f], theirs[f])
        }
    ' "$work/$1/bulkhead" "$work/$1/$2" | sort -t "$(printf '\t')" -k 2,2
}

# The reason given for a difference, and empty if there is none. Bundle and field are patterns.
reason() { # bundle field peer
    local bundle field peer text
    reason=
    while read -r bundle field peer text; do
        case $bundle in '' | '#'*) continue ;; esac
        # shellcheck disable=SC2053 # patterns on purpose
        if [[ $1 == $bundle && $2 == $field && $3 == $peer ]]; then
            reason=$text
            return
        fi
    done <"$expected"
}

[ $# -gt 0 ] || set -- "${bundles[@]}"
total=0 unexplained=0
for name; do
    if [ "$name" = limits ] && [ "$(cgroup_mode)" = v2 ] &&
        ! grep -q pids /sys/fs/cgroup/cgroup.controllers; then
        note "limits: skipped, this machine's cgroup v2 has no controllers for them"
        continue
    fi
    [ -d "$work/$name" ] || die "no such bundle: $name (there are: ${bundles[*]})"
    for runtime in bulkhead "${peers[@]}"; do facts "$name" "$runtime"; done
    grep -q "^exit"$'\t'"7$" "$work/$name/bulkhead" || {
        note "bulkhead did not run the bundle $name: $(cat "$work/$name/bulkhead.err")"
        unexplained=$((unexplained + 1))
        continue
    }
    for runtime in "${peers[@]}"; do
        while IFS=$'\t' read -r bundle field peer ours theirs; do
            total=$((total + 1))
            reason "$bundle" "$field" "$peer"
            [ -n "$reason" ] || unexplained=$((unexplained + 1))
            if [ -n "$verbose" ] || [ -z "$reason" ]; then
                printf '%s  %s  %s\n    bulkhead: %s\n    %s: %s\n    %s\n' "$bundle" "$field" "$peer" \
                    "$ours" "$peer" "$theirs" "${reason:+explained: }${reason:-NOT EXPLAINED}"
            fi
        done < <(differences "$name" "$runtime")
    done
    note "$name: $(wc -l <"$work/$name/bulkhead") facts"
done
note "cgroups $(cgroup_mode): $total differences, $unexplained without an explanation"
[ "$unexplained" -eq 0 ]
