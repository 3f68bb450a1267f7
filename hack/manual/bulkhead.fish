# Completion of bulkhead for fish.

# Whether an option of a command takes a value. The command is empty for the options before it.
function __bulkhead_takes_value
    switch "$argv[1] $argv[2]"
@VALUES@
            return 0
    end
    return 1
end

# Prints the command, the number of words behind it, the state directory, and yes if more containers
# than usual are acceptable: with --force or --ignore-paused.
function __bulkhead_line
    set -l tokens (commandline -opc)
    set -e tokens[1]
    set -l command
    set -l place 0
    set -l root
    set -l force no
    set -l pending
    for token in $tokens
        if test -n "$pending"
            test "$pending" = --root; and set root $token
            set pending
            continue
        end
        switch $token
            case '--root=*'
                set root (string replace -- --root= '' $token)
            case '--*=*'
            case '-?*'
                contains -- $token --force -f --ignore-paused; and set force yes
                __bulkhead_takes_value "$command" $token; and set pending $token
            case '*'
                if test -z "$command"
                    set command $token
                else
                    set place (math $place + 1)
                end
        end
    end
    printf '%s\n' "$command" $place "$root" $force
end

# Whether the next word is in this place of one of these commands.
function __bulkhead_at
    set -l line (__bulkhead_line)
    test "$line[2]" = $argv[1]; and contains -- "$line[1]" $argv[2..-1]
end

# Whether the next word can be an option of one of these commands: behind the ID of exec and ps, it
# belongs to the program or to ps.
function __bulkhead_option_of
    set -l line (__bulkhead_line)
    contains -- "$line[1]" $argv; or return
    not contains -- "$line[1]" exec ps; or test "$line[2]" = 0
end

# Prints the containers with one of these states, or all.
function __bulkhead_ids
    set -l line (__bulkhead_line)
    set -l program (string replace -r '^~/' "$HOME/" -- (commandline -opc)[1])
    set -l root
    test -n "$line[3]"; and set root --root (string replace -r '^~/' "$HOME/" -- $line[3])
    set -l states $argv
    switch "$line[1] $line[4]"
        case 'delete yes'
            set states
        case 'exec yes'
            set states $states paused
    end
    for row in ($program $root list 2>/dev/null </dev/null)[2..-1]
        set -l cells (string split -n ' ' -- $row)
        if test -z "$states"; or contains -- $cells[3] $states
            printf '%s\t%s\n' $cells[1] $cells[3]
        end
    end
end

function __bulkhead_signals
    set -l names @SIGNALS@
    string match -q 'SIG*' -- (commandline -ct); and set names SIG$names
    printf '%s\n' $names
end

complete -c bulkhead -f
@COMPLETE@
