# Completion of bulkhead for bash.
# shellcheck shell=bash

# Sets kind to what an option of a command takes: flag, none, files, directories, or words and the words.
# The kind of an unknown option is empty. The command is empty for the options before it.
__bulkhead_kind() {
    kind=
    case $1 in
@KINDS@
    esac
}

# Sets options to those of a command, and places to what stands in its places.
__bulkhead_places() {
    places=()
    case $1 in
@PLACES@
    *) options= ;;
    esac
}

# Prints the ids of the containers in a state directory that have one of these states, or of all.
__bulkhead_ids() {
    local program=$1 root=$2 id status with=()
    shift 2
    [ -z "$root" ] || with=(--root "${root/#\~\//$HOME/}")
    "$program" "${with[@]}" list 2>/dev/null </dev/null | {
        read -r _
        while read -r id _ status _; do
            case " $* " in "  " | *" $status "*) printf '%s\n' "$id" ;; esac
        done
    }
}

# Sets COMPREPLY to what a kind offers for the word that is being written.
__bulkhead_offer() {
    local current=$1 kind=$2 program=$3 root=$4 force=$5 words
    case $kind in
    directories | files | target)
        # Names with spaces are quoted, and a directory gets its slash.
        compopt -o filenames 2>/dev/null
        words=-f
        [ "$kind" != directories ] || words=-d
        mapfile -t COMPREPLY < <(compgen "$words" -- "$current")
        [ "$kind" = target ] || return
        mapfile -t -O "${#COMPREPLY[@]}" COMPREPLY < <(
            compgen -W "$(__bulkhead_ids "$program" "$root" running paused)" -- "$current"
        )
        return
        ;;
    "ids "*)
        words=${kind#ids }
        # With --force, delete and exec --ignore-paused take more containers.
        [ -z "$force" ] || words=$force
        # shellcheck disable=SC2086 # words
        words=$(__bulkhead_ids "$program" "$root" ${words/all/})
        ;;
    signals)
        words="@SIGNALS@"
        case $current in SIG*) words=SIG${words// / SIG} ;; esac
        ;;
    commands) words="@COMMANDS@" ;;
    "words "*) words=${kind#words } ;;
    *) return ;;
    esac
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
}

_bulkhead() {
    local at word command='' pending='' kind='' root='' force='' done='' options
    local places=() place=0 current=${COMP_WORDS[COMP_CWORD]} program=${COMP_WORDS[0]/#\~\//$HOME/}
    COMPREPLY=()
    for ((at = 1; at < COMP_CWORD; at++)); do
        word=${COMP_WORDS[at]}
        if [ "$word" = = ]; then
            # An option and its value, which bash splits. A flag takes a truth value.
            [ -n "$pending" ] || at=$((at + 1))
            continue
        fi
        if [ -n "$pending" ]; then
            [ "$pending" != --root ] || root=${word//[\\\"\']/}
            pending=
            continue
        fi
        case $done$word in
        --) done=1 ;;
        --?*=*) if [ "${word%%=*}" = --root ]; then word=${word#*=} root=${word//[\\\"\']/}; fi ;;
        -?*)
            # Long options may have a single dash. In a group of letters the last can take a value.
            __bulkhead_kind "$command" "-${word/#--/-}"
            if [ -n "$kind" ]; then word=-${word/#--/-}; else __bulkhead_kind "$command" "-${word: -1}"; fi
            case "$command $word" in
            "delete --force") force=all ;;
            "delete --"*) ;;
            "delete -"*f*) force=all ;;
            "exec --ignore-paused") force="created running paused" ;;
            esac
            case $kind in '' | flag) ;; *) pending=$word ;; esac
            ;;
        *)
            if [ -z "$command" ]; then
                command=$word
            else
                place=$((place + 1))
                # What follows the ID belongs to the program, or to ps.
                case $command in exec | ps) return ;; esac
            fi
            ;;
        esac
    done
    if [ -n "$pending" ]; then
        __bulkhead_kind "$command" "$pending"
        __bulkhead_offer "${current#=}" "$kind" "$program" "$root" ''
        return
    fi
    __bulkhead_places "$command"
    case $done$current in
    --?*=*)
        # Where bash does not split words at the equals sign.
        __bulkhead_kind "$command" "${current%%=*}"
        __bulkhead_offer "${current#*=}" "$kind" "$program" "$root" ''
        COMPREPLY=("${COMPREPLY[@]/#/${current%%=*}=}")
        return
        ;;
    -*) kind=options ;;
    *) kind=${places[place]:-options} ;;
    esac
    case $kind in
    options | new) mapfile -t COMPREPLY < <(compgen -W "$options" -- "$current") ;;
    *) __bulkhead_offer "$current" "$kind" "$program" "$root" "$force" ;;
    esac
}

complete -F _bulkhead bulkhead
