#!/bin/sh
# test_usage.sh: pages, wrong usage (exit code 2), bad models and inputs (exit code 3).
#
# The help pages are recorded in help/: after a change of an option, look at the difference and
#   ./moxie help run >tests/cli/help/run.txt
. "$(dirname "$0")/lib.sh"

# ---- pages ----

check 'no arguments: three things to try' 0 "@$here/help/welcome.txt" '' </dev/null
check 'help' 0 "@$here/help/help.txt" '' help
check '--help' 0 "@$here/help/help.txt" '' --help
check '-h' 0 "@$here/help/help.txt" '' -h
check 'help help' 0 "@$here/help/help.txt" '' help help
version=$(sed -n 's/.*MOXIE_VERSION "\(.*\)"/\1/p' "$here/../../src/version.h")
check '--version' 0 "moxie $version\n" '' --version
for c in run chat batch stdio bench doctor inspect perplexity tokenize detokenize template eval man completion; do
    check "help $c" 0 "@$here/help/$c.txt" '' help $c
    check "$c --help" 0 "@$here/help/$c.txt" '' $c --help
done
check '-h behind other options' 0 "@$here/help/run.txt" '' run -q -n 3 -h --nonsense

# ---- 2: wrong usage ----

usage 'misspelt command' "unknown command 'rnu'; did you mean 'run'*" rnu
usage 'a command that means nothing' "unknown command 'xyzzy123'; *lists*" xyzzy123
usage 'a model instead of a command' "*to run a model: moxie run -m x.gguf*" x.gguf
usage 'an option instead of a command' "the command comes first*" --temp 0
usage 'help for an unknown command' "unknown command 'bnech'; did you mean 'bench'*" help bnech
usage 'help with too much' "unexpected argument 'x'*" help run x
usage 'misspelt option' "unknown option --tmep; did you mean --temp*" run --tmep 0
usage 'an option of another command' "unknown option --json*" run --json
usage 'an option of a later version' "unknown option --memory*" run --memory 1G
for flag in -ngl -fa --mlock --no-mmap --flash-attn --n-gpu-layers; do
    usage "llama.cpp's $flag" "option $flag *; leave it out" run $flag 1
done
for flag in -ub -tb --ubatch-size=1 --threads-batch=1; do
    usage "llama.cpp's $flag" "option ${flag%=1} has no meaning here: * with -[bt]" bench $flag 1
done
usage 'a context is not shifted by stdio' 'unknown option --ctx-shift; *' stdio --ctx-shift
usage 'too many answers at a time' "option --parallel: '256' *from 0 to 255*" stdio --parallel 256
usage 'missing value' "option -n needs a value: -n N" run -p x -n
usage 'not a number' "option -n: 'ten' *from -1 to *" run -n ten
usage 'out of range: -n' "option -n: '-2' *" run -n -2
usage 'out of range: -t' "option -t: '0' *from 1 to *" run -t 0
usage 'out of range: -b' "option -b: '10000' *" run -b 10000
usage 'out of range: --temp' "option --temp: '-1' *from 0 to 100" run --temp -1
usage 'not one of the words' "option -ctk: 'q4_0' *f16|f32|q8_0" run -ctk q4_0
usage 'a value for a flag' "option --raw takes no value*" run --raw=1
usage 'too many arguments' "unexpected argument 'c'*" run a b c
usage 'model twice' "unexpected argument 'c': the model is 'a' already*" tokenize -m a c
usage 'prompt twice' "two prompts: 'b' and -p*" run a b -p c
usage '-p together with -f' "*both as text (-p) and as a file (-f)*" run -p x -f y
usage 'eval without ids' "*--tokens*" eval --logits x
usage 'eval without logits' "*--logits*" eval --tokens x
usage 'eval --decode without --ids' "*--ids FILE is missing" eval --tokens a --logits b --decode 3
usage 'eval --ids without --decode' "*--decode N is missing" eval --tokens a --logits b --ids c
usage 'eval: output is the input' "--logits 'a' is the same file as --tokens*" \
    eval --tokens a --logits a
cp "$demo" model.gguf
for option in logits ids; do
    usage "eval: --$option is the model" "--$option 'model.gguf' is the same file as -m *" \
        eval -m model.gguf --tokens a --logits x --decode 1 --ids y --$option model.gguf
done
cmp -s "$demo" model.gguf
result $? 'eval: the model is as it was'
usage 'eval: two outputs on stdout' "*cannot both be standard output*" \
    eval --tokens a --logits - --decode 1 --ids -
usage 'detokenize without ids' "*--tokens*" detokenize
usage 'perplexity without a text' "*-f FILE*" perplexity

(
    export MOXIE_TEMP=hot
    usage 'bad environment variable' "environment variable MOXIE_TEMP: 'hot' *" run -p x
    check 'the command line goes before it' 0 '' '' run -q -n 0 -p x --temp 1
)
MOXIE_N_PREDICT=0 MOXIE_QUIET=1 check 'options from the environment' 0 '' '' run -p x </dev/null

# ---- 3: bad model or input ----

mkdir directory
: >empty
echo '<!DOCTYPE html><html>' >page.html
head -c 100000 "$demo" >cut.gguf
for c in run stdio eval tokenize detokenize perplexity bench inspect; do
    more=
    case $c in
    run | tokenize) more='-p x' ;;
    eval) more='--tokens ids --logits out.f32' ;;
    detokenize) more='--tokens ids' ;;
    perplexity) more='-f text' ;;
    esac
    # shellcheck disable=SC2086  # several words
    {
        input "$c: missing model" "missing.gguf: no such file*" $c -m missing.gguf $more
        input "$c: model is a page" "page.html: *HTML*" $c page.html $more
    }
done
input 'model is a directory' "directory: is a directory*" run -m directory -p x
input 'model is empty' "empty: *empty*" run -m empty -p x
input 'model is cut' "cut.gguf: *" run -m cut.gguf -p x
for c in run chat; do
    check "$c: missing prompt file, said before a model is loaded" 3 '' \
        'moxie: missing.txt: no such file; check the path' $c -f missing.txt </dev/null
done
input 'prompt file is a directory' "directory: is a directory*" tokenize -f directory
input 'unknown pre-tokeniser' "*nonsense*" \
    tokenize --pre nonsense -m "$here/../golden/quant-llama-q8_0/model.gguf" -p x

echo '1 2 x 4' >ids
input 'ids: not a number' "ids: item 3 is 'x'*" eval --tokens ids --logits out.f32
input 'ids: not a number' "ids: item 3 is 'x'*" detokenize --tokens ids
echo '1 2 361' >ids
input 'ids: outside the vocabulary' "ids: item 3 is 361, outside*360*" \
    eval --tokens ids --logits out.f32
input 'ids: outside the vocabulary' "*361*" detokenize --tokens ids
echo '1 99999999999' >ids
input 'ids: far outside' "ids: item 2 is 99999999999, outside*" \
    eval --tokens ids --logits out.f32
echo ' -1' >ids
input 'ids: negative' "ids: item 1 is '-1'*" eval --tokens ids --logits out.f32
printf ' \n\t' >ids
input 'ids: none' "ids: holds no token id*" eval --tokens ids --logits out.f32
input 'ids: none' "ids: holds no token id*" detokenize --tokens ids
input 'ids: none on standard input' "standard input: holds no token id*" detokenize --tokens -
printf '1\0002' >ids
input 'ids: NUL byte' "ids: there is a NUL byte*" eval --tokens ids --logits out.f32
[ ! -e out.f32 ]
result $? 'no output was made of bad input'
echo 'too short' >text
input 'perplexity: fewer than two windows' "text: *fewer than two windows of 512*" \
    perplexity -f text

echo "1..$(cat "$tmp/.count")"
