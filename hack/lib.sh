#!/usr/bin/env bash
# Functions that the scripts here source. Their messages go to stderr, so that stdout belongs to the
# caller.
# shellcheck shell=bash

# The repository's root, independent of the caller's directory.
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
export top

note() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }
die() {
    note "$(paint 2 31 error:) $*"
    exit 1
}

# Whether a descriptor is a terminal that can move its cursor.
is_screen() { [ -t "$1" ] && [ "${TERM:-dumb}" != dumb ]; }

# paint DESCRIPTOR COLOUR TEXT: prints a text, in a colour (31 red, 32 green, 33 yellow) if it is for a
# terminal, and the user wants colours (https://no-color.org). In $(...), descriptor 1 is none.
paint() {
    if is_screen "$1" && [ -z "${NO_COLOR:-}" ]; then
        printf '\033[%sm%s\033[0m' "$2" "$3"
    else
        printf '%s' "$3"
    fi
}

# steps COUNT: the stages of a script. stage TEXT: ends a stage, prints how long it took, and begins the next.
# stages_end: ends the last.
stage_count=0 stage_number=0 stage_text='' stage_started=0
steps() { stage_count=$1 stage_number=0; }
stage() {
    stages_end
    stage_number=$((stage_number + 1)) stage_text=$* stage_started=$SECONDS
    note "[$stage_number/$stage_count] $stage_text"
}
stages_end() {
    [ -z "$stage_text" ] || note "[$stage_number/$stage_count] $stage_text: took $((SECONDS - stage_started)) s"
    stage_text=
}

# tick TEXT: counts the seconds on a line of a terminal, while something runs that prints nothing. tock: ends
# that, and clears the line.
ticker=''
tick() {
    is_screen 2 || return 0
    local script=$$ started=$SECONDS
    while kill -0 "$script" 2>/dev/null; do
        printf '\r\033[K%s: %s (%s s)' "${0##*/}" "$1" "$((SECONDS - started))" >&2
        sleep 1
    done </dev/null >/dev/null &
    ticker=$!
}
tock() {
    [ -n "$ticker" ] || return 0
    kill "$ticker" 2>/dev/null || true
    wait "$ticker" 2>/dev/null || true
    ticker=''
    printf '\r\033[K' >&2
}

# Runs a command as root: directly, or through sudo.
as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null 2>&1; then
        sudo "$@"
    else
        die "this needs root and there is no sudo: $*"
    fi
}

# Installs those of the named Debian packages that are missing; does nothing at all if none is.
need_packages() {
    local package missing=()
    if ! command -v dpkg-query >/dev/null 2>&1 || ! command -v apt-get >/dev/null 2>&1; then
        note "not a Debian system: taking for granted that these are installed: $*"
        return 0
    fi
    for package in "$@"; do
        case $(dpkg-query -W -f='${Status}' "$package" 2>/dev/null) in
        *" installed") ;;
        *) missing+=("$package") ;;
        esac
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    note "installing from Debian: ${missing[*]}"
    # The package lists may be empty (a fresh image) or old: refresh them only if they do not do.
    install_packages "${missing[@]}" >&2 </dev/null || {
        note "refreshing the package lists and trying again"
        as_root apt-get -q update >&2 </dev/null || die "apt-get update failed"
        install_packages "${missing[@]}" >&2 </dev/null || die "cannot install: ${missing[*]}"
    }
}

install_packages() {
    as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get -q -y --no-install-recommends install "$@"
}

# Puts cargo on PATH: rustup's place is often missing from it in scripts and under sudo.
need_cargo() {
    if ! command -v cargo >/dev/null 2>&1; then
        local dir
        for dir in "${CARGO_HOME:-}/bin" "${HOME:-}/.cargo/bin" /usr/local/cargo/bin; do
            if [ -x "$dir/cargo" ]; then
                PATH=$dir:$PATH
                export PATH
                break
            fi
        done
    fi
    command -v cargo >/dev/null 2>&1 ||
        die "cargo not found: install Rust 1.88 or newer (https://www.rust-lang.org/tools/install)"
}

# The lines of packaging/programs: name, directory, feature.
programs() { grep -v '^#' "$top/packaging/programs"; }

# Which cgroups this machine has: v1, hybrid or v2.
cgroup_mode() {
    case $(stat -f -c %T /sys/fs/cgroup 2>/dev/null) in
    cgroup2fs) echo v2 ;;
    *) if [ -d /sys/fs/cgroup/unified ]; then echo hybrid; else echo v1; fi ;;
    esac
}

# cross TRIPLE ARCHITECTURE: lets cargo and pkg-config build for another architecture than the machine's.
cross() {
    local triple=$1 arch=$2
    local upper=${triple^^} gnu=${triple%%-*}-linux-gnu
    [ -d "$(rustc --print target-libdir --target "$triple")" ] || rustup target add "$triple" >&2 ||
        die "no Rust standard library for $triple"
    [ "$arch" != "$(dpkg --print-architecture)" ] || return 0
    if ! dpkg --print-foreign-architectures | grep -qx "$arch"; then
        as_root dpkg --add-architecture "$arch"
        as_root apt-get -q update >&2 </dev/null
    fi
    need_packages "gcc-${gnu//_/-}" "libc6-dev:$arch" "libseccomp-dev:$arch"
    export "CARGO_TARGET_${upper//-/_}_LINKER=$gnu-gcc"
    export PKG_CONFIG_LIBDIR=/usr/lib/$gnu/pkgconfig PKG_CONFIG_ALLOW_CROSS=1
}
