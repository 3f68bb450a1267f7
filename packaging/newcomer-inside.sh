#!/usr/bin/env bash
# The part of packaging/newcomer.sh that runs in the fresh Debian, as root. Stdout is the record, stderr
# tells the progress.
set -euo pipefail
pages=/root/pages
export HOME=/root
started=$SECONDS output='' step=''

# step TITLE
step() {
    step=$1
    printf '\n==== %s\n' "$step"
    printf 'newcomer: %3d s: %s\n' $((SECONDS - started)) "$step" >&2
}
fail() {
    printf 'FAILED: %s: %s\n' "$step" "$*"
    printf 'newcomer: FAILED: %s: %s\n' "$step" "$*" >&2
    exit 1
}
# block PAGE NAME: prints the block of shell commands whose marker (hack/documents.py) has the name.
block() {
    awk -v mark="^<!-- test: (run $2( .*)?|by packaging/newcomer.sh as $2) -->\$" '
        $0 ~ mark { found = 1; next }
        found && !inside && $0 == "```sh" { inside = 1; next }
        inside && $0 == "```" { exit }
        inside { print }
    ' "$pages/$1"
}
# follow PAGE NAME: runs a block as it is, in the present directory; its output is left in $output.
follow() {
    local status=0 commands
    commands=$(block "$1" "$2")
    [ -n "$commands" ] || fail "no block $2 in $1"
    printf -- '---- %s, %s\n' "$1" "$2"
    run "$commands"
}
run() {
    local status=0
    # -v shows each command as a terminal does. No process that stays behind holds the file open.
    printf '%s\n' "$1" >/tmp/commands
    bash -evo pipefail /tmp/commands >/tmp/output 2>&1 </dev/null || status=$?
    output=$(cat /tmp/output)
    printf '%s\n' "$output"
    [ $status -eq 0 ] || fail "exit status $status"
}
# Lines that the commands have printed: matched whole.
says() {
    local each
    for each in "$@"; do
        grep -Eqx -- "$each" <<<"$output" || fail "no line matches: $each"
        printf 'ok: %s\n' "$each"
    done
}
# is WHAT VALUE EXPECTED
is() {
    [ "$2" = "$3" ] || fail "$1 is '$2', not '$3'"
    printf 'ok: %s is %s\n' "$1" "$3"
}

printf '%s, %s, cgroups: %s\n' "$(. /etc/os-release && echo "$PRETTY_NAME")" "$(uname -srm)" \
    "$(stat -f -c %T /sys/fs/cgroup)"
# The answers of a person at the keyboard.
echo 'APT::Get::Assume-Yes "true";' >/etc/apt/apt.conf.d/90answer
# A machine of its own would start services; here the test starts them.
printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
chmod 755 /usr/sbin/policy-rc.d
echo "127.0.0.1 localhost newcomer" >/etc/hosts
if [ $((0x$(sed -n 's/^CapEff:\s*//p' /proc/self/status) >> 24 & 1)) -eq 0 ]; then
    echo "This machine lacks CAP_SYS_RESOURCE, with which podman raises limits for every container: it keeps to its own."
    mkdir -p /etc/containers/containers.conf.d
    printf '[containers]\ndefault_ulimits = ["nofile=1024:4096", "nproc=4096:8192"]\n' \
        >/etc/containers/containers.conf.d/00-machine.conf
fi

step "check and install the release"
cd /root/release
follow install.md verify
says 'bulkhead_.*\.deb: OK'
follow install.md install-deb
says 'bulkhead version .*' '/usr/sbin/bulkhead'

step "a first bundle by hand"
run "sudo apt install busybox-static jq"
mkdir /root/first
cd /root/first
follow README.md first
says 'hello from the inside' 'uid=0(\(root\))? gid=0(\(root\))?.*' ' *"status": "running",?' 'second .*'
is "the list of containers" "$(bulkhead list --quiet)" ""

step "podman"
follow engines.md podman
says 'hello from podman'
follow engines.md podman-list
says '[0-9a-f]{64} .* running .*'

step "podman, by default"
follow engines.md podman-default
says '/usr/sbin/bulkhead'
run "podman run --rm localhost/busybox echo hello by default; podman create --name each localhost/busybox true"
says 'hello by default'
is "the runtime of a container" "$(podman inspect --format '{{.OCIRuntime}}' each)" bulkhead
podman rm each

step "containerd"
follow engines.md containerd-install
# Its service does that.
containerd >/var/log/containerd.log 2>&1 </dev/null &
for _ in {1..100}; do
    ctr version >/dev/null 2>&1 && break
    sleep 0.1
done
follow engines.md containerd
says 'hello from containerd'
follow engines.md containerd-list
says 'third .* running .*'

step "the configuration of Docker"
mkdir -p /etc/docker
echo '{"log-driver": "local", "runtimes": {"other": {"path": "/usr/bin/other"}}}' >/etc/docker/daemon.json
cp /etc/docker/daemon.json /tmp/daemon.before
follow engines.md docker
is "the path of the runtime" "$(jq -r .runtimes.bulkhead.path /etc/docker/daemon.json)" /usr/sbin/bulkhead
follow engines.md docker-default
is "what was there before" "$(jq -c '[."log-driver", .runtimes.other.path, ."default-runtime"]' /etc/docker/daemon.json)" \
    '["local","/usr/bin/other","bulkhead"]'
follow engines.md docker-back
is "the configuration afterwards" "$(jq -cS . /etc/docker/daemon.json)" "$(jq -cS . /tmp/daemon.before)"
rm /etc/docker/daemon.json
follow engines.md docker
is "the configuration where there was none" "$(jq -c . /etc/docker/daemon.json)" \
    '{"runtimes":{"bulkhead":{"path":"/usr/sbin/bulkhead"}}}'

step "back to runc"
follow engines.md podman-back
path=$(podman info --format '{{.Host.OCIRuntime.Path}}')
case $path in
/usr/*bin/runc | /usr/*bin/crun) echo "ok: podman uses $path" ;;
*) fail "podman uses $path" ;;
esac
follow engines.md purge

step "nothing is left"
is "the state directory" "$(find /run/bulkhead -mindepth 1 2>/dev/null)" ""
is "files of the package" "$(find / -xdev \( -path /root -o -path /var/cache/apt -o -path /var/lib/apt \) -prune -o \
    -name '*bulkhead*' -print)" ""
is "processes" "$(grep -l '^bulkhead' /proc/[0-9]*/comm 2>/dev/null || true)" ""
is "mounts" "$(awk '$5 ~ /bulkhead/ { print $5 }' /proc/self/mountinfo)" ""
printf 'newcomer: %3d s: done\n' $((SECONDS - started)) >&2
kill %1
wait
