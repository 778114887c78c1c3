#!/bin/sh
# test_manners.sh: what a person meets beside the answers: the first page, the version, suggestions,
# colour and width on a terminal, the manual page, completions, install, signals.
. "$(dirname "$0")/lib.sh"
top=$here/../..

# has PROGRAM NAME: is it there? Otherwise the test NAME is skipped.
has()
{
    command -v "$1" >/dev/null && return 0
    skip "$2" "no $1 here"
    return 1
}

# ---- pages ----

check 'three things to try' 0 '~moxie [0-9]*  moxie chat *  moxie run *  moxie help *' '' </dev/null
[ "$(wc -l <out)" -le 8 ]
result $? 'and no more'
check '--version -v: the parts' 0 '~moxie [0-9]*compiler *machine *libraries *pcre2 [0-9]*utf8proc [0-9]*jansson [0-9]*zlib [0-9]*libedit [0-9]*' '' --version -v
usage '--version with too much' "unexpected argument 'x'*" --version x
mkfifo gone
exec 3<>gone 4>gone 3<&-
for c in run bench help; do
    "$MOXIE" $c --help 2>err >&4
    [ $? = 0 ] && [ ! -s err ]
    result $? "$c --help to a reader that has gone"
done
exec 4>&-

# ---- did you mean ----

usage 'a beginning of a command' "unknown command 'tok'; did you mean 'tokenize'*" tok
usage "another program's command" "unknown command 'show'; try: moxie inspect" show x
for c in serve server pull list rm ps create quantize convert; do
    usage "no command: $c" "unknown command '$c'; [a-z]* *" $c
    ! grep -q 'did you mean\|lists those' err
    result $? "no command: $c: why"
done
usage 'a server' "unknown command 'serve'; there is no HTTP server yet; *moxie stdio*" serve
usage 'a Modelfile' "unknown command 'create'; *-sys TEXT*--chat-template FILE*" create x
usage 'a version in disguise' "*try: moxie --version" -v
usage 'a beginning of an option' "unknown option --ctx; did you mean --ctx-size*" run --ctx 9
usage 'a misspelt alias' "unknown option --temprature; did you mean --temp*" run --temprature 1
usage "another program's option" "*did you mean --n-predict*" run --max-tokens 9
usage 'a value that sticks to its letter' "unknown option -n5; *word of its own: -n 5" run -n5
usage 'a flag for the GPU' "option --main-gpu has no meaning here*" run --main-gpu 0
for flag in --grammar --grammar-file --json-schema --lora --samplers --mirostat --draft -md; do
    usage "no option: $flag" "option $flag [ih]* *" run $flag x
done
for flag in --host --port; do
    usage "no option: $flag" "option $flag *no HTTP server yet*moxie stdio*" stdio $flag=80
done
input "a model's name" "llama3: no such file; *path of a GGUF file*downloads nothing*" \
    run llama3 -p x
usage 'a flag for conversations' "option -cnv has no meaning here: *moxie chat*" run -cnv

# ---- a terminal ----

# on_terminal COLUMNS ARG...: what a terminal of that width shows; carriage returns taken out
on_terminal()
{
    columns=$1
    shift
    script -qec "stty cols $columns; '$MOXIE' $*" /dev/null 2>&1 </dev/null | tr -d '\r'
}
widest() { awk '/^usage/ { next } length > n { n = length } END { print n + 0 }'; }
red=$(printf '\033[1;31m')

if ! { has script 'on a terminal' && has stty 'on a terminal'; }; then
    :
elif ! on_terminal 80 --version | grep -q '^moxie [0-9]'; then
    skip 'on a terminal' 'no pseudo-terminals here'
else
    export TERM=xterm
    n=$(on_terminal 80 help run | widest)
    [ "$n" -gt 70 ] && [ "$n" -lt 80 ]
    result $? '80 columns'
    n=$(on_terminal 200 help run | widest)
    [ "$n" -gt 80 ] && [ "$n" -lt 100 ]
    result $? '200 columns'
    n=$(on_terminal 48 help run | widest)
    [ "$n" -gt 30 ] && [ "$n" -lt 48 ]
    result $? '48 columns'
    said=$(on_terminal 60 tokenize --nonsense)
    like "$said" "${red}moxie:*unknown option --nonsense; *" && [ "$(echo "$said" | wc -l)" = 2 ]
    result $? 'an error is coloured, and folded between words'
    like "$(on_terminal 100 run x.gguf)" '*no text given*moxie chat x.gguf'
    result $? 'a model without a prompt: a conversation may be meant'
    for off in NO_COLOR=1 CLICOLOR=0 TERM=dumb; do
        like "$(export "${off?}"; on_terminal 80 tokenize --nonsense)" 'moxie: unknown option *'
        result $? "no colour with $off"
    done
fi
check 'no colour where there is no terminal' 2 '' 'moxie: unknown option --nonsense; *' \
    run --nonsense

# ---- manual page and completions ----

"$MOXIE" man >moxie.1
for c in bash zsh fish; do "$MOXIE" completion $c >moxie.$c; done
usage 'completion for no shell' "no shell given; *bash|zsh|fish" completion
usage 'completion for another shell' "no completion for 'tcsh'; *bash|zsh|fish" completion tcsh
if has mandoc 'mandoc finds no fault'; then
    mandoc -Tlint -Wstyle moxie.1 >lint
    result $? 'mandoc finds no fault'
    sed 's/^/# /' lint
fi
if has groff 'groff finds no fault'; then
    groff -man -ww -Tutf8 moxie.1 >page 2>lint && [ ! -s lint ] && [ "$(wc -l <page)" -gt 100 ]
    result $? 'groff finds no fault'
fi
for c in bash zsh fish; do
    has $c "$c can read its script" || continue
    $c -n moxie.$c >lint 2>&1 && [ ! -s lint ]
    result $? "$c can read its script"
done

mkdir -p folder
: >a.gguf
: >'with blank.gguf'
: >b.txt

# bash_completes NAME WORD... EXPECTED: the last word but EXPECTED is what stands before the cursor
bash_completes()
{
    said=$(bash -c '
        source ./moxie.bash || exit 1
        name=$1 expected=${*: -1}
        COMP_WORDS=(moxie "${@:2:$#-2}")
        COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
        _moxie
        complete=$(printf "%s\n" "${COMPREPLY[@]}" | LC_ALL=C sort | paste -s -d " ")
        [[ $complete == $expected ]] || echo "$complete"
    ' bash "$@" 2>&1)
    [ -z "$said" ]
    result $? "bash completes $1"
    [ -z "$said" ] || echo "# $said"
}
if has bash 'bash completes'; then
    bash_completes 'commands' '' '*bench *completion *help *run *'
    bash_completes 'a command' tok 'tokenize'
    bash_completes 'the first options' - '--help --version'
    bash_completes 'an option' run --cpu '--cpu-mask'
    bash_completes 'options' inspect - '--help --json --model * -h *'
    bash_completes 'only its own options' inspect --temp ''
    bash_completes 'words' run --cpu-mask av 'avx2 avx512'
    bash_completes 'words behind a short name' run -ctk '' 'f16 f32 q8_0'
    bash_completes 'words behind =' run --cpu-mask = 'avx2 * none *'
    bash_completes 'words behind = and a letter' run --cpu-mask = vn 'vnni'
    bash_completes 'models' run -m '' 'a.gguf folder with blank.gguf'
    bash_completes 'a model with a blank' run -m 'with\ b' 'with blank.gguf'
    bash_completes 'a model as argument' inspect a 'a.gguf'
    bash_completes 'nothing for a number' run -n '' ''
    bash_completes 'files by itself' run -f '' ''
    bash_completes 'commands for help' help pe 'perplexity'
    bash_completes 'shells' completion z 'zsh'
fi

# fish_completes NAME LINE EXPECTED
fish_completes()
{
    said=$(HOME=$tmp fish --private -c "source ./moxie.fish; complete -C'$2'" 2>&1 | cut -f 1 |
        tr '\n' ' ')
    # shellcheck disable=SC2254  # a pattern is wanted
    like "$said" "$3"
    result $? "fish completes $1"
    like "$said" "$3" || echo "# $said"
}
if has fish 'fish completes'; then
    fish_completes 'commands' 'moxie tok' 'tokenize '
    fish_completes 'options' 'moxie run --cpu' '--cpu-mask '
    fish_completes 'words' 'moxie run -ctk ' 'f16 f32 q8_0 '
    fish_completes 'models' 'moxie run -m a' 'a.gguf '
    fish_completes 'commands for help' 'moxie help r' 'run '
    fish_completes 'no options of a command that is only named' 'moxie help run --cpu' ''
fi

# ---- install ----

name='install and uninstall'
if has make "$name" && [ -f "$top/Makefile" ]; then
    # The program of a sanitizer build is not what is installed.
    make -s -C "$top" install DESTDIR="$tmp/root" PREFIX=/usr SAN= >log 2>&1
    result $? "$name: make install"
    sed 's/^/# /' log | tail -n 3
    (cd root/usr && find . -type f | sort) >installed
    {
        cat <<'LIST'
./bin/moxie
./share/bash-completion/completions/moxie
./share/fish/vendor_completions.d/moxie.fish
./share/man/man1/moxie.1
./share/zsh/site-functions/_moxie
LIST
        (cd "$top/docs" && for f in *.md; do echo "./share/doc/moxie/$f"; done)
    } | sort >expected
    cmp -s installed expected
    result $? "$name: what is there"
    grep -q '^#compdef moxie' root/usr/share/zsh/site-functions/_moxie
    result $? "$name: zsh finds its script by the first line"
    {
        "$MOXIE" man | sed -n 's/^\.I \([A-Z]*\.md\)$/\1/p'
        for c in $("$MOXIE" help | sed -n 's/^  \([a-z]*\) .*/\1/p'); do "$MOXIE" help "$c"; done |
            sed -n 's/.*docs\/\([A-Z]*\.md\).*/\1/p'
    } | sort -u >named
    lacks=$(while read -r f; do [ -e "root/usr/share/doc/moxie/$f" ] || echo "$f"; done <named)
    [ -z "$lacks" ] && [ "$(wc -l <named)" -ge 5 ]
    result $? "$name: the docs that help and manual name"
    make -s -C "$top" uninstall DESTDIR="$tmp/root" PREFIX=/usr >log 2>&1 &&
        [ -z "$(find root -type f)" ] && [ ! -e root/usr/share/doc/moxie ]
    result $? "$name: nothing is left"
fi

# ---- files and signals ----

echo 1 >ids
check 'an output without a name' 2 '' '*the name of an output file is empty*' \
    eval --tokens ids --logits '' </dev/null
echo '1 2 99999' >ids
input 'detokenize names the file and counts from 1' "ids: item 3 is 99999, outside*" \
    detokenize --tokens ids

echo 1 >ids
for s in TERM.143 HUP.129; do
    stop_when '[ -n "$(find . -name "rows*" -size +0)" ]' "${s%.*}" eval -q -c 400000 --tokens ids \
        --logits rows --decode 390000 --ids rows.ids >out 2>err </dev/null
    code=$?
    [ $code = "${s#*.}" ] && like "$(cat err)" '*interrupted*' && [ ! -e rows ] &&
        [ "$(find . -name 'rows*' | wc -l)" = 0 ]
    result $? "SIG${s%.*} leaves no half file (exit code $code)"
done

CC=no-such-compiler sh "$top/tools/deps.sh" --test build >out 2>err
[ $? = 1 ] && like "$(cat err)" "*the compiler 'no-such-compiler' (CC) is not there*"
result $? 'a compiler that is not there is named'
cat >no_bsd <<'EOF'
#!/bin/sh
case " $* " in *' -lbsd '*) exit 1 ;; esac
exec gcc "$@"
EOF
chmod +x no_bsd
CC=$PWD/no_bsd sh "$top/tools/deps.sh" --test build >out 2>err
[ $? = 1 ] && like "$(cat err)" 'moxie: missing: libedit-dev (*'
result $? 'so is a library that another one needs'

echo "1..$(cat "$tmp/.count")"
