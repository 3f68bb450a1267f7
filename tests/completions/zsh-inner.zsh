# What the inner zsh of zsh.zsh loads: completion, which prints its offers and ends.
PS1= RPS1= PROMPT_EOL_MARK=
setopt no_beep no_auto_list
autoload -Uz compinit
compinit -D -u
source $1
compadd() {
    # With one of these, the caller wants words in an array, and offers nothing.
    if [[ ${@[1,(i)(-|--)]} == *-[a-zA-Z12]#[OAD]\ * ]]; then
        builtin compadd "$@"
        return
    fi
    local -a found
    local before=$compstate[nmatches]
    builtin compadd -A found "$@"
    local word
    for word in $found; do print -r -- "<<offer>>$word"; done
    builtin compadd "$@"
}
complete-and-end() {
    zle complete-word
    print -r -- '<<end>>'
    exit
}
zle -N complete-and-end
bindkey '^I' complete-and-end
