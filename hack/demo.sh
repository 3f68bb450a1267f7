#!/usr/bin/env bash
# Shows that a container is contained, with evidence for each control: what the process inside saw,
# and what the host's kernel reports about it. Builds bulkhead, creates a busybox bundle in a
# temporary directory, runs it, and removes everything again. Exits non-zero if a control fails.
#
#   hack/demo.sh
#
# BULKHEAD_BIN=PATH uses that binary; otherwise bulkhead is built.
# shellcheck disable=SC2016 # scripts for the container's shell are quoted on purpose
set -euo pipefail
# shellcheck source=hack/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

need_packages busybox-static jq util-linux
bin=${BULKHEAD_BIN:-}
[ -n "$bin" ] || bin=$("$top/hack/build.sh" | tail -n 1)
[ -x "$bin" ] || die "not an executable: $bin"
if [ "$(id -u)" -ne 0 ]; then
    note "not root: continuing through sudo (the limits and the system's cgroups need it)"
    exec sudo env "BULKHEAD_BIN=$bin" "${BASH_SOURCE[0]}"
fi

work=$(mktemp -d "${TMPDIR:-/tmp}/bulkhead-demo-XXXXXX")
chmod 0755 "$work"
ids=()
rt() { "$bin" --root "$work/state" "$@"; }

cleanup() {
    local id
    for id in "${ids[@]}"; do
        rt delete --force "$id" >/dev/null 2>&1 || {
            note "cannot delete the container $id: its bundle and state are kept in $work"
            exit 1
        }
    done
    rm -rf --one-file-system "$work"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

# ---- how a proof is printed ---------------------------------------------------------------------

failures=0 proofs=0
green='' red='' dim='' bold='' off=''
if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then
    green=$'\e[32m' red=$'\e[31m' dim=$'\e[2m' bold=$'\e[1m' off=$'\e[0m'
fi
columns=$(tput cols 2>/dev/null || echo 120)
[ -t 1 ] || columns=120

heading() { printf '\n%s%s%s\n' "$bold" "$1" "$off"; }
row() { # word, colour, what was asked, inside, host
    if [ "$columns" -ge 110 ]; then
        printf '%s%s%s  %-31s  %-28s  %s\n' "$2" "$1" "$off" "$3" "$4" "$5"
    else
        printf '%s%s%s  %s\n      %sinside:%s %s\n      %shost:%s   %s\n' \
            "$2" "$1" "$off" "$3" "$dim" "$off" "$4" "$dim" "$off" "$5"
    fi
}
# prove VERDICT ASKED INSIDE HOST: passes if VERDICT is not empty.
prove() {
    proofs=$((proofs + 1))
    if [ -n "$1" ]; then
        row PASS "$green" "$2" "${3:-(nothing)}" "${4:-(nothing)}"
    else
        row FAIL "$red" "$2" "${3:-(nothing)}" "${4:-(nothing)}"
        failures=$((failures + 1))
    fi
}

# ---- bundles --------------------------------------------------------------------------------------

busybox=$(command -v busybox)
mkdir -p "$work/rootfs"/{bin,dev,proc,sys,tmp,vault,keys}
cp "$busybox" "$work/rootfs/bin/busybox"
for applet in $("$busybox" --list); do
    [ "$applet" = busybox ] || ln -s busybox "$work/rootfs/bin/$applet"
done
echo "not for the container" >"$work/rootfs/vault/code"
echo "root's own key" >"$work/root-only"
chmod 0600 "$work/root-only"
: >"$work/rootfs/keys/root-only"

# bundle NAME SCRIPT [JQ-FILTER...]: the configuration is what `spec` writes, with what the demo asks
# for on top. Each filter sees $work.
bundle() {
    local name=$1 script=$2 dir=$work/$1 filter
    shift 2
    mkdir "$dir"
    (cd "$dir" && "$bin" spec)
    printf '%s\n' "$script" >"$dir/inside.sh"
    set -- '
        .process.terminal = false | .process.cwd = "/" | .process.noNewPrivileges = true
        | .process.args = ["/bin/sh", "/tmp/inside.sh"]
        | .process.env = ["PATH=/bin"]
        | .root = {path: ($work + "/rootfs"), readonly: true}
        | .hostname = $name
        | .mounts += [
            {destination: "/tmp", type: "tmpfs", source: "tmpfs", options: ["nosuid", "nodev"]},
            {destination: "/tmp/inside.sh", type: "bind", source: "inside.sh", options: ["bind", "ro"]},
            {destination: "/keys/root-only", type: "bind", source: ($work + "/root-only"), options: ["bind", "ro"]}]
        | .linux.cgroupsPath = "/bulkhead-demo-" + $serial + "-" + $name
        | .linux.namespaces = [{type: "pid"}, {type: "network"}, {type: "ipc"}, {type: "uts"},
            {type: "mount"}, {type: "cgroup"}]' "$@"
    for filter in "$@"; do
        jq --arg work "$work" --arg name "$name" --arg serial $$ "$filter" \
            "$dir/config.json" >"$dir/config.new"
        mv "$dir/config.new" "$dir/config.json"
    done
}

# launch NAME: created and started; what it prints is in $work/NAME/out, its host pid in $pid.
launch() {
    local id=demo-$$-$1
    ids+=("$id")
    rt create --bundle "$work/$1" --pid-file "$work/$1/pid" "$id" \
        >"$work/$1/out" 2>"$work/$1/err" </dev/null || {
        sed 's/^/      /' "$work/$1/err" >&2
        die "create of the container \"$1\" failed"
    }
    pid=$(cat "$work/$1/pid")
    rt start "$id"
}

# said NAME KEY: what the process inside reported under KEY, waiting for it for up to ten seconds.
said() {
    local tries=100
    while ! grep -q "^$2=" "$work/$1/out"; do
        tries=$((tries - 1))
        [ $tries -gt 0 ] || break
        sleep 0.1
    done
    sed -n "s/^$2=//p" "$work/$1/out" | head -n 1
}
status() { awk -v key="$2:" '$1 == key { print $2 }' "/proc/$1/status"; }

# cgroup_file PID CONTROLLER V1-NAME V2-NAME: the path of that control file, v1 or v2.
cgroup_file() {
    local path mount
    path=$(awk -F: -v c="$2" '{ n = split($2, a, ","); for (i = 1; i <= n; i++) if (a[i] == c) print $3 }' "/proc/$1/cgroup")
    if [ -n "$path" ]; then
        mount=$(findmnt --list --noheadings --types cgroup --options "$2" --output TARGET | head -n 1)
        if [ -n "$mount" ]; then
            echo "$mount$path/$3"
            return
        fi
    fi
    path=$(sed -n 's/^0:://p' "/proc/$1/cgroup")
    mount=$(findmnt --list --noheadings --types cgroup2 --output TARGET | head -n 1)
    echo "$mount$path/$4"
}

namespaces='for n in cgroup ipc mnt net pid uts user; do
    echo "ns-$n=$(readlink /proc/self/ns/$n)"
done'

echo "bulkhead's demonstration, with $("$bin" --version | head -n 1), Linux $(uname -r | cut -d - -f 1), cgroups $(cgroup_mode)"
[ "$columns" -lt 110 ] ||
    printf '%s      %-31s  %-28s  %s%s\n' "$dim" "what was asked" "what the process inside saw" "what the host saw" "$off"

# ---- 1. one container, looked at from both sides ------------------------------------------------

heading "One container"
# Blocked with an errno that nothing else would give, so that the refusal is the filter's.
masked=/proc/version
for file in /proc/kcore /proc/keys /proc/timer_list; do
    if [ "$(head -c 64 "$file" 2>/dev/null | wc -c)" -gt 0 ]; then masked=$file; fi
done
bundle plain "$namespaces"'
echo "write=$(touch /new 2>&1)"
for set in CapInh CapPrm CapEff CapBnd CapAmb NoNewPrivs; do
    echo "$set=$(awk -v k=$set: "\$1 == k { print \$2 }" /proc/self/status)"
done
echo "file=$(touch /tmp/f && echo made)"
echo "mkdir=$(mkdir /tmp/d 2>&1)"
echo "masked=$(head -c 64 '"$masked"' | wc -c)"
echo "vault=$(ls -A /vault)."
echo "key=$(cat /keys/root-only 2>&1)"
echo "hostname=$(hostname)"
echo "pid=$$"
exec sleep 600' '
    .process.capabilities = {bounding: ["CAP_KILL", "CAP_NET_BIND_SERVICE"],
        permitted: ["CAP_KILL", "CAP_NET_BIND_SERVICE"],
        effective: ["CAP_KILL", "CAP_NET_BIND_SERVICE"], inheritable: [], ambient: []}
    | .linux.seccomp = {defaultAction: "SCMP_ACT_ALLOW", syscalls: [
        {names: ["mkdir", "mkdirat"], action: "SCMP_ACT_ERRNO", errnoRet: 95}]}
    | .linux.maskedPaths += ["/vault", "'"$masked"'"]'
launch plain
said plain pid >/dev/null

for n in pid mnt net ipc uts cgroup; do
    inside=$(said plain "ns-$n")
    host=$(readlink "/proc/$pid/ns/$n")
    own=$(readlink "/proc/self/ns/$n")
    prove "$([[ $inside && $inside == "$host" && $inside != "$own" ]] && echo yes)" \
        "its own $n namespace" "$inside" "same; the host's is ${own#*:}"
done
inside=$(said plain pid)
host=$(sed -n 's/^NSpid:\t//p' "/proc/$pid/status")
prove "$([[ $inside == 1 && $host == "$pid"$'\t'1 ]] && echo yes)" \
    "it is process 1" "pid $inside" "pid ${host%$'\t'*}, which is ${host#*$'\t'} inside"
inside=$(said plain hostname)
host=$(uname -n)
prove "$([[ $inside == plain && $host != plain ]] && echo yes)" "a host name of its own" "$inside" "$host"

inside=$(said plain write)
host=$(awk '$5 == "/" { print $6 }' "/proc/$pid/mountinfo")
prove "$([[ $inside == *"Read-only file system"* && ,$host, == *,ro,* && ! -e $work/rootfs/new ]] && echo yes)" \
    "root file system read-only" "${inside#touch: }" "mountinfo: / $host"

# CAP_KILL is bit 5, CAP_NET_BIND_SERVICE bit 10.
wanted=0000000000000420 none=0000000000000000
for set in CapBnd CapPrm CapEff CapInh CapAmb; do
    mask=$wanted
    case $set in CapInh | CapAmb) mask=$none ;; esac
    inside=$(said plain $set)
    host=$(status "$pid" $set)
    if [ $mask = $none ]; then asked="$set: none"; else asked="$set: kill, net_bind_service"; fi
    prove "$([[ $inside == "$mask" && $host == "$mask" ]] && echo yes)" "$asked" "$inside" "$host"
done

inside=$(said plain mkdir)
host=$(status "$pid" Seccomp)
prove "$([[ $inside == *"not supported"* && $host == 2 && $(said plain file) == made ]] && echo yes)" \
    "mkdir blocked with EOPNOTSUPP" "${inside##*: }" "Seccomp: $host (filter)"
inside=$(said plain NoNewPrivs)
host=$(status "$pid" NoNewPrivs)
prove "$([[ $inside == 1 && $host == 1 ]] && echo yes)" "no new privileges" "NoNewPrivs: $inside" "NoNewPrivs: $host"

inside=$(said plain masked)
host=$(head -c 64 "$masked" | wc -c)
prove "$([[ $inside == 0 && $host -gt 0 ]] && echo yes)" "$masked masked" "$inside bytes" "$host bytes and more"
inside=$(said plain vault)
host=$(ls "$work/rootfs/vault")
prove "$([[ $inside == . && $host == code ]] && echo yes)" \
    "a directory masked" "/vault holds \"${inside%.}\"" "rootfs/vault holds \"$host\""
plain_key=$(said plain key)

# ---- 2. limits --------------------------------------------------------------------------------------

heading "Limits"
limit=$((32 << 20))
# Without this a machine with swap would page the process out instead.
swap=null
[ "$(wc -l </proc/swaps)" -le 1 ] || swap=$limit
bundle memory '
head -c 200000000 /dev/zero | tail >/dev/null
echo "hog=exit status $?"
exec sleep 600' ".linux.resources.memory = ({limit: $limit, swap: $swap} | del(.[] | nulls))"
launch memory
inside=$(said memory hog)
file=$(cgroup_file "$pid" memory memory.limit_in_bytes memory.max)
host=$(cat "$file" 2>/dev/null || true)
prove "$([[ $host == "$limit" ]] && echo yes)" "32 MiB of memory" "(next line)" "${file##*/}: $host"
file=$(cgroup_file "$pid" memory memory.oom_control memory.events)
host=$(awk '$1 == "oom_kill" { print $2 }' "$file" 2>/dev/null || true)
prove "$([[ $inside == "exit status 137" && ${host:-0} -ge 1 ]] && echo yes)" \
    "a process of 200 MB killed" "$inside" "oom_kill $host in ${file##*/}"

limit=40
bundle pids '
until [ -e /tmp/go ]; do sleep 0.05; done
# A process whose fork is refused stays, or the bomb would end by itself.
bomb() {
    trap "exec sleep 600" EXIT
    bomb & bomb & wait
}
bomb 2>/dev/null' ".linux.resources.pids = {limit: $limit}"
launch pids
file=$(cgroup_file "$pid" pids pids.max pids.max)
host=$(cat "$file" 2>/dev/null || true)
peak=0
# The bomb waits inside until the limit is known to be there: this host is to survive.
if [ "$host" = $limit ]; then : >"/proc/$pid/root/tmp/go"; fi
for _ in $(seq 20); do
    now=$(cat "${file%/*}/pids.current" 2>/dev/null || echo 0)
    [ "$now" -le "$peak" ] || peak=$now
    sleep 0.05
done
refused=$(awk '$1 == "max" { print $2 }' "${file%/*}/pids.events" 2>/dev/null || echo 0)
prove "$([[ $host == "$limit" && $peak -gt 10 && $peak -le $limit && ${refused:-0} -gt 0 ]] && echo yes)" \
    "$limit processes, and a fork bomb" "at most $peak at once" "pids.max $host; $refused forks refused"
started=$(date +%s%N)
/bin/true
took=$((($(date +%s%N) - started) / 1000000))
rt delete --force "demo-$$-pids"
prove "$([[ $took -lt 2000 && ! -e $file ]] && echo yes)" \
    "the host lives on" "(killed and deleted)" "starts a process in $took ms"

# ---- 3. root that is not root ------------------------------------------------------------------------

heading "The same container, with root inside mapped to uid 100000"
bundle mapped "$namespaces"'
echo "uid=$(id -u)"
echo "key=$(cat /keys/root-only 2>&1)"
exec sleep 600' '
    .linux.namespaces += [{type: "user"}]
    | .linux.uidMappings = [{containerID: 0, hostID: 100000, size: 65536}]
    | .linux.gidMappings = [{containerID: 0, hostID: 100000, size: 65536}]'
launch mapped
inside=$(said mapped ns-user)
host=$(readlink "/proc/$pid/ns/user")
own=$(readlink /proc/self/ns/user)
prove "$([[ $inside && $inside == "$host" && $inside != "$own" ]] && echo yes)" \
    "its own user namespace" "$inside" "same; the host's is ${own#*:}"
inside=$(said mapped uid)
host=$(status "$pid" Uid)
prove "$([[ $inside == 0 && $host == 100000 ]] && echo yes)" "root inside, uid 100000 outside" "uid $inside" "uid $host"
inside=$(said mapped key)
prove "$([[ $inside == *"Permission denied"* && $plain_key == "root's own key" ]] && echo yes)" \
    "root's 0600 file, mounted in" "${inside##*: }" "without the mapping: read"

# ---- 4. known attacks -------------------------------------------------------------------------------

heading "Known attacks: the image is hostile, and the canary is a directory of the host"
mkdir "$work/canary"
echo "of the host" >"$work/canary/file"
canary() { (cd "$work/canary" && find . -exec stat -c "%n %i %a %Y" {} + && cat file) | sha256sum; }
untouched=$(canary)

# attempt NAME: runs a bundle to its end. What happened is in $outcome: the output or the error.
attempt() {
    local id=demo-$$-$1 result=0
    ids+=("$id")
    timeout 20 "$bin" --root "$work/state" run --bundle "$work/$1" "$id" >"$work/$1/out" 2>"$work/$1/err" </dev/null ||
        result=$?
    outcome=$(tail -n 1 "$work/$1/err")
    [ $result -ne 0 ] || outcome=$(tail -n 1 "$work/$1/out")
}
short() {
    local text=${1#bulkhead: container \"*\": }
    if [ ${#text} -gt 45 ]; then text=${text:0:42}...; fi
    printf '%s' "$text"
}

# The caller has a directory of the host open, and the working directory is a link to that descriptor.
bundle leak 'pwd; ls -A; exec cat file' '.process.cwd = "/proc/self/fd/9"'
exec 9<"$work/canary"
attempt leak
exec 9<&-
prove "$([[ $outcome == *process.cwd* && ! -s $work/leak/out ]] && echo yes)" \
    "CVE-2024-21626: cwd on the host" "(did not start)" "$(short "$outcome")"

# The target of a mount is a link to a directory of the host.
ln -s "$work/canary" "$work/rootfs/escape"
bundle link 'echo written >/escape/file; cat /escape/file' \
    '.root.readonly = false
    | .mounts += [{destination: "/escape", type: "tmpfs", source: "tmpfs", options: ["nosuid", "nodev"]}]'
attempt link
prove "$([[ $outcome == written && $(canary) == "$untouched" ]] && echo yes)" \
    "CVE-2019-18837: mount on a link" "a tmpfs inside, $outcome" "the canary is untouched"
rm -rf --one-file-system "$work/rootfs/escape" "$work/rootfs$work"

# /dev/null of the image is a link to a file of the host's kernel, and masks are made of it.
ln -s /proc/sys/kernel/core_pattern "$work/rootfs/dev/null"
bundle null 'exec cat /proc/keys' '.mounts |= map(select(.destination | startswith("/dev") | not))
    | .linux.maskedPaths = ["/proc/keys"]'
attempt null
rm "$work/rootfs/dev/null"
prove "$([[ $outcome == */dev/null* && ! -s $work/null/out ]] && echo yes)" \
    "CVE-2025-31133: false /dev/null" "(did not start)" "$(short "$outcome")"

# ---- 5. what a configuration gives away -----------------------------------------------------------

heading "An audit, and the configuration that it writes"
bundle open "$namespaces"'
echo "CapEff=$(awk "\$1 == \"CapEff:\" { print \$2 }" /proc/self/status)"
echo "Seccomp=$(awk "\$1 == \"Seccomp:\" { print \$2 }" /proc/self/status)"
exec sleep 600' '
    .process.noNewPrivileges = false
    | .process.capabilities[] = ["CAP_KILL", "CAP_SYS_ADMIN", "CAP_SYS_MODULE"]
    | .mounts += [{destination: "/host", type: "bind", source: "/", options: ["rbind"]}]
    | .linux.namespaces |= map(select(.type != "pid"))
    | .linux.maskedPaths = [] | .linux.readonlyPaths = []'
audit() { # FILE: the exit status, and the number of findings that are critical and high
    local result=0
    rt audit --format json "$1" >"$work/open/audit" || result=$?
    echo "status $result: $(jq -r '.summary | "\(.critical) critical, \(.high) high"' "$work/open/audit")"
}
before=$(audit "$work/open/config.json")
worst=$(jq -r '.findings[0].severity' "$work/open/audit")
rt audit --fix "$work/open/config.json" >/dev/null || true
after=$(audit "$work/open/config.hardened.json")
prove "$([[ $before == "status 2:"* && $worst == critical && $after == "status 0: 0 critical, 0 high" ]] && echo yes)" \
    "audit, before and after --fix" "$before" "$after"
mv "$work/open/config.hardened.json" "$work/open/config.json"
launch open
inside=$(said open CapEff)
host=$(status "$pid" CapEff)
# CAP_KILL is left.
prove "$([[ $inside == 0000000000000020 && $host == "$inside" && $(said open Seccomp) == 2 ]] && echo yes)" \
    "the hardened container runs" "CapEff $inside" "same; Seccomp: $(status "$pid" Seccomp) (filter)"

# ---- 6. nothing is left ---------------------------------------------------------------------------------

heading "Afterwards"
for id in "${ids[@]}"; do rt delete --force "$id"; done
# Cgroups of others come and go meanwhile, which makes find fail.
cgroups=$({ find /sys/fs/cgroup -type d -name "bulkhead-demo-$$-*" 2>/dev/null || true; } | wc -l)
mounts=$(grep -c "$work" /proc/self/mountinfo || true)
states=$(find "$work/state" -mindepth 1 -maxdepth 1 -name "demo-*" | wc -l)
alive=0
for file in "$work"/*/pid; do
    # One that nobody has reaped yet is dead all the same.
    state=$(awk '$1 == "State:" { print $2 }' "/proc/$(cat "$file")/status" 2>/dev/null || echo gone)
    case $state in gone | Z | X) ;; *) alive=$((alive + 1)) ;; esac
done
prove "$([[ $alive == 0 && $cgroups == 0 && $mounts == 0 && $states == 0 ]] && echo yes)" \
    "delete leaves nothing" "$alive processes left" "$cgroups cgroups, $mounts mounts, $states states left"

if [ $failures -ne 0 ]; then
    printf '\n%s%d of %d proofs failed%s\n' "$red" $failures $proofs "$off"
    exit 1
fi
printf '\n%sall %d proofs hold%s\n' "$green" $proofs "$off"
