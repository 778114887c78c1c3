#!/bin/sh
# test_stdio.sh: the stdio protocol (docs/STDIO.md) from outside: golden transcripts, pipelines, the
# two clients, and programs that drive it (stdio_drive.py).
#
# A transcript is tests/cli/stdio/NAME.in, what is said, and NAME.out, the answers: greedy, with the
# reference kernels, and with times and sizes replaced by 0. The input is a file, so that all lines
# are there before the first token is written.
. "$(dirname "$0")/lib.sh"

# normal: times, sizes and the words of the JSON library change
normal()
{
    sed -E 's/"(queue|prefill|decode|uptime)_ms":[0-9.]+/"\1_ms":0/g
        s/"memory_peak_bytes":[0-9]+/"memory_peak_bytes":0/; s/"version":"[^"]*"/"version":"0"/
        s/("code":"bad_json","message":").*"}$/\1"}/'
}

# by_id: how the events of several answers mix is the crew's business, and so is what it need not
# compute again
by_id()
{
    normal | sed 's/"cached_tokens":[0-9]*/"cached_tokens":0/' >mixed
    for id in x y z w; do grep "\"id\":\"$id\"" mixed; done
}

# transcript NAME ARG...
transcript()
{
    name=$1
    shift
    "$MOXIE" stdio -q --temp 0 --cpu-mask none -n 20 "$@" <"$here/stdio/$name.in" >out 2>err
    code=$?
    case $name in
    hello) normal <out >got ;;
    together) by_id <out >got ;;
    *) sed 1d out | normal >got ;;
    esac
    cmp -s got "$here/stdio/$name.out" && [ $code = 0 ] && [ ! -s err ]
    result $? "transcript: $name"
    diff "$here/stdio/$name.out" got | head -5 | sed 's/^/# /'
}

transcript hello --parallel 4
transcript generate --parallel 1
transcript conversation --parallel 1
transcript cancel --parallel 1
transcript bye_cancel --parallel 2
transcript together --parallel 3
transcript errors --parallel 1
transcript living --parallel 1

# ---- pipelines ----

# says NAME PATTERN ARG...: exit code 0, nothing on standard error
says() { name_=$1 out_=$2; shift 2; check "$name_" 0 "$out_" '' stdio -q --temp 0 "$@"; }

one='{"type":"generate","prompt":"Once upon a time","raw":true,"max_tokens":40,"stream":false}'
text=$("$MOXIE" run -q --temp 0 --raw -n 40 -p 'Once upon a time' </dev/null)
printf '%s' "$one" | says 'a line without a newline, the text of run' \
    "~*\"hello\"*\"text\":\"$text\",\"finish_reason\":\"length\"*\"type\":\"bye\"}"
says 'closed input' '~{"type":"hello",*{"type":"bye"}' <&-
says 'an input that is a file of no lines' '~{"type":"hello",*{"type":"bye"}' </dev/null
"$MOXIE" stdio -q </dev/null 2>err | head -c 5 >out
[ "$(cat out)" = '{"typ' ] && [ ! -s err ]
result $? 'a reader that leaves is no error'
"$MOXIE" stdio -q </dev/null >/dev/full 2>err
[ $? = 1 ] && like "$(cat err)" '*standard output*'
result $? 'an output that is full: exit code 1'
"$MOXIE" stdio -q </dev/null >&- 2>err
[ $? = 1 ] && like "$(cat err)" '*standard output*'
result $? 'a closed output: exit code 1'
check 'no model, no hello' 3 '' '*no such file*' stdio -m nothing.gguf </dev/null
check 'an argument too many' 2 '' '*unexpected argument*' stdio "$demo" prompt </dev/null
check 'more answers at a time than there can be' 2 '' '*--parallel*' stdio --parallel 257 </dev/null
says 'the model as an argument' '~*"path":"*tinymoe-q8_0.gguf"*' "$demo" </dev/null

# ---- limits ----

i=0
while [ $i -lt 300 ]; do
    echo '{"type":"generate","prompt":"x","raw":true,"max_tokens":0}'
    i=$((i + 1))
done >many.in
says 'a queue of 256' '~*"code":"busy","message":"256 requests wait*' --parallel 1 <many.in
[ "$(grep -c '"type":"done"' out)" = 256 ] && [ "$(grep -c '"code":"busy"' out)" = 44 ]
result $? 'the 256 are answered, 44 are refused'

# Between two tokens all is read that is there: the long line does not delay the cancel.
{
    echo '{"type":"generate","id":1,"prompt":"x","raw":true,"logit_bias":{"2":-100}}'
    printf '{"type":"ping"%7000000s}\n{"type":"cancel","id":1}\n' ''
} >long.in
says 'a cancel behind a line of 7 MB' \
    '~*"type":"pong"*"finish_reason":"cancelled"*"completion_tokens":[0-2]}*' <long.in

# ---- clients ----

export MOXIE
said='Say "\t" \ and 100 %'
{
    "$MOXIE" run -q --temp 0 -n 20 --raw -p "User: $said

Assistant:" </dev/null
    printf '\n\n'
} >expected
printf '%s\n' "$said" | sh "$here/../../tools/stdio_client.sh" -q --temp 0 -n 20 >got
cmp -s got expected
result $? 'stdio_client.sh: what run says'
echo 'x' | sh "$here/../../tools/stdio_client.sh" -q -c 4 >got 2>err
[ ! -s got ] && like "$(cat err)" 'stdio_client: {"type":"failed"*"code":"context"*'
result $? 'stdio_client.sh: a request that fails'

drive='three conversations at once, one of them cancelled, and programs that behave badly'
if ! command -v python3 >/dev/null 2>&1; then
    skip 'stdio_client.py' 'needs python3'
    skip "$drive" 'needs python3'
else
    python3 "$here/../../tools/stdio_client.py" 'One day' -- -q --temp 0 -n 20 >got
    {
        echo '> One day'
        "$MOXIE" run -q --temp 0 -n 20 -p 'One day' </dev/null
        printf '\n[length, 20 tokens]\n\n'
    } >expected
    cmp -s got expected
    result $? 'stdio_client.py: what run says'
    python3 "$here/stdio_drive.py" >driven 2>&1 && grep -q '^pass' driven
    result $? "$drive"
    while read -r what name; do
        case $what in
        pass) result 0 "$name" ;;
        fail) result 1 "$name" ;;
        *) echo "# $what $name" ;;
        esac
    done <driven
fi

echo "1..$(cat "$tmp/.count")"
