# Prints what zsh offers: zsh -f zsh.zsh FILE LINE. FILE is the completion, LINE a command line; the offers are
# for its end. A second zsh, on a pseudo terminal, completes as for a user.
zmodload zsh/zpty
zpty inner zsh -f -i
# The line is given on its own, so that its characters are those of a user.
zpty -w inner "source ${(q)0:A:h}/zsh-inner.zsh ${(q)1}; echo rea''dy"
zpty -r -m inner text '*ready*' || exit 1
zpty -w -n inner "$2"$'\t'
zpty -r -m inner text $'*<<end>>*' || exit 1
zpty -d inner
for line in ${(f)${text//$'\r'/}}; do
    [[ $line != *'<<offer>>'* ]] || print -r -- ${line#*<<offer>>}
done
