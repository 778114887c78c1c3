#!/bin/sh
# test_batch.sh: batch from outside: formats, order, errors of items, exit codes, and the equalities
# that it promises: any --parallel, any --shard and any interruption give the same file.
. "$(dirname "$0")/lib.sh"

# batch ARG...: with the demo model and a dozen tokens an item, quietly
batch() { "$MOXIE" batch -q -n 12 "$@" 2>err; }

# same NAME FILE FILE
same()
{
    cmp "$2" "$3" >diff 2>&1
    result $? "$1"
    [ ! -s diff ] || sed 's/^/# /' diff
}

# has NAME FILE LINE PATTERN: that line of the file is like the pattern
has()
{
    line_=$(sed -n "$3p" "$2")
    like "$line_" "$4"
    result $? "$1"
    like "$line_" "$4" || echo "# $2:$3 is '$line_', expected $4"
}

i=0
while [ $i -lt 10 ]; do
    echo "Once upon a time, there was a little $(echo dog cat bird fox | cut -d ' ' -f $((i % 4 + 1))). It had $i toys."
    i=$((i + 1))
done >in.txt
sed 's/.*/{"prompt":"&","id":"item","max_tokens":6}/; 3s/6}/40}/; 5s/"item"/5.50/; 7s/,"id":"item"//' in.txt >in.jsonl

# ---- formats ----

check 'jsonl' 0 '' 'moxie: no model*moxie: 10 items in *moxie: * prompt tokens (*%) were shared *' \
    batch -i in.jsonl -o one --parallel 1
has 'an answer' one 1 '{"id":"item","text":"*","finish_reason":"length","usage":{"prompt_tokens":*,"cached_tokens":0,"completion_tokens":6}}'
has 'its own limit' one 3 '{*"completion_tokens":40}}'
has 'a number as id' one 5 '{"id":5.5,*'
has 'no id: the line' one 7 '{"id":7,*'
cached=$(sed -n '2s/.*"cached_tokens":\([0-9]*\).*/\1/p' one)
[ "$cached" -gt 20 ]
result $? "a shared prefix is counted ($cached tokens)"
shared=$(sed -n 's/^moxie: \([0-9]*\) of .* prompt tokens .*/\1/p' err)
[ "$shared" -ge $((9 * cached)) ]
result $? "and was not computed again ($shared tokens)"
for n in 2 5 16; do
    batch -i in.jsonl -o "p$n" --parallel $n -t 1 -b 7
    same "--parallel $n: the same file" one "p$n"
done
batch -i in.jsonl -o default
same '--parallel chosen: the same file' one default
has 'chosen by the length of the answer' one 3 '*"id":"item"*'
batch -i in.jsonl -o other --seed 1
! cmp -s one other
result $? '--seed: another file'

check 'a model as the input' 3 '' 'moxie: *: holds NUL bytes, expected lines of text; *-m' \
    batch -q -i "$demo" -o -
gzip -c "$demo" >model.gz
check '... packed' 3 '' 'moxie: *: holds NUL bytes*' batch -q -i model.gz -o -
check '... on standard input' 3 '' 'moxie: *: holds NUL bytes*' batch -q -i - -o - <"$demo"
check '--seed -1: a random one, which is told' 0 '~*' '*moxie: seed [0-9]*' \
    batch -i in.jsonl -o - --seed -1 -n 1
check 'text' 0 '' '' batch -q -i in.txt -o text -n 12
[ "$(wc -l <text)" = 10 ]
result $? 'text: a line for each'
has 'text: the id is the line' text 4 '{"id":4,"text":"*"completion_tokens":12}}'
check 'text: --raw' 0 '' '' batch -q -i in.txt -o raw -n 12 --raw
for n in 1 8; do
    "$MOXIE" run -q --raw -n 12 --seed $n -p "$(sed -n ${n}p in.txt)" >alone </dev/null
    has "item $n is what run writes with seed $n" raw $n "*\"text\":\"$(cat alone)\",*"
done
echo '{"prompt":"Once upon","temperature":0}' >chat.jsonl
echo '{"messages":[{"role":"user","content":"Once upon"}],"temperature":0}' >>chat.jsonl
check 'a model without a template' 0 '' '' batch -q -n 12 -i chat.jsonl -o chat
"$MOXIE" run -q -n 12 --temp 0 -p 'Once upon' >alone </dev/null
has 'a prompt is continued, as by run' chat 1 "*\"text\":\"$(cat alone)\",*"
has 'messages become a conversation' chat 2 '{"id":2,"text":"*'
[ "$(sed -n 's/.*"prompt_tokens":\([0-9]*\).*/\1/p' chat | uniq | wc -l)" = 2 ]
result $? 'which is longer than their text'
printf '\357\273\277Once\r\n\n  \t\nupon a\r\ntime' >odd.txt
check 'text: blank lines, carriage returns, no newline at the end' 0 '' '' \
    batch -q -n 2 -i odd.txt -o odd
has 'the first' odd 1 '{"id":1,*'
has 'blank lines are counted, not answered' odd 2 '{"id":4,*'
has 'the last' odd 3 '{"id":5,*'
[ "$(wc -l <odd)" = 3 ]
result $? 'and no more'

gzip -c in.jsonl >in.jsonl.gz
check 'gzip' 0 '' '' batch -q -n 12 -i in.jsonl.gz -o zipped
same 'gzip: the same file' one zipped
{ head -n 4 in.jsonl | gzip -c; tail -n 6 in.jsonl | gzip -c; } >two.jsonl.gz
check 'gzip: two members' 0 '' '' batch -q -n 12 -i two.jsonl.gz -o zipped --force
same 'gzip: two members: the same file' one zipped
size=$(wc -c <in.jsonl.gz)
head -c $((size - 20)) in.jsonl.gz >short.jsonl.gz
input 'gzip: cut off' 'short.jsonl.gz: damaged gzip file*' batch -q -i short.jsonl.gz -o none
input 'no input' 'none.jsonl: no such file*' batch -q -i none.jsonl -o none
input 'a directory' '.: is a directory*' batch -q -i . -o none
[ ! -e none ]
result $? 'no output is begun then'
: >empty.jsonl
check 'an empty file' 0 '' '' batch -q -i empty.jsonl -o empty
[ -e empty ] && [ ! -s empty ]
result $? 'an empty file: an empty output'

check 'standard streams' 0 @one '' batch -q -n 12 -i - -o - <in.jsonl
check 'standard input: text' 0 @text '' batch -q -n 12 -i - -o - <in.txt
check 'standard input: gzip' 0 @one '' batch -q -n 12 -i - -o - <in.jsonl.gz
cp in.jsonl in.data
check '--input-format jsonl' 0 @one '' batch -q -n 12 -i in.data -o - --input-format jsonl
check '--input-format txt' 0 '~{"id":1,*' '' batch -q -n 2 -i in.jsonl -o - --input-format txt
{ batch -i in.txt -o -; echo $? >code; } | head -n 1 >first
[ "$(cat code)" = 0 ] && [ ! -s err ]
result $? 'batch | head'
has 'batch | head: the first line' first 1 "$(head -n 1 text)"
mkfifo items
"$MOXIE" batch -q -n 3 --parallel 2 -i - -o slow <items 2>err &
pid=$!
exec 3>items
printf 'Once upon\na ti' >&3
await lines 1 slow
result $? 'a slow pipe: an item is answered while half of the next one is there'
echo me >&3
await lines 2 slow
result $? 'a slow pipe: and that one when it is whole'
exec 3>&-
wait $pid
printf 'Once upon\na time\n' >slow.txt
check 'a slow pipe: the file' 0 @slow '' batch -q -n 3 -i slow.txt -o -

# ---- OpenAI's format ----

cat >openai.jsonl <<'END'
{"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": {"model": "x", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 5}}
{"custom_id": "b", "method": "POST", "url": "/v1/completions", "body": {"prompt": "Once upon", "max_tokens": 5, "temperature": 0}}
{"custom_id": "c", "method": "POST", "url": "/v1/embeddings", "body": {"input": "x"}}
{"custom_id": "d", "method": "POST", "url": "/v1/completions", "body": {"prompt": "x", "n": 2}}
END
check 'openai' 1 '' 'moxie: 2 of 4 items failed; *' batch -q -i openai.jsonl -o openai
has 'openai: chat' openai 1 '{"id":"batch_req_1","custom_id":"a","response":{"status_code":200,"request_id":"req_1","body":{"id":"chatcmpl-1","object":"chat.completion",*"message":{"role":"assistant","content":"*"total_tokens":*}},"error":null}'
has 'openai: completion' openai 2 '{*"custom_id":"b",*"object":"text_completion",*"text":"*","logprobs":null,"finish_reason":"length"}\]*'
has 'openai: another url' openai 3 '{*"custom_id":"c","response":null,"error":{"code":"invalid_url","message":"line 3: *"}}'
has 'openai: what cannot be obeyed' openai 4 '{*"custom_id":"d","response":null,"error":{"code":"unsupported_parameter",*'
batch -i openai.jsonl -o openai-2 --parallel 1
same 'openai: the same file again' openai openai-2

# ---- items that fail ----

i=0
while [ $i -lt 100 ]; do
    i=$((i + 1))
    echo "{\"id\":$i,\"prompt\":\"I am $i\",\"max_tokens\":1}"
done >hundred.jsonl
sed '57s/}$//' hundred.jsonl >bad.jsonl
check 'one bad line among a hundred' 1 '' 'moxie: 1 of 100 items failed; their lines in bad *' \
    batch -q -i bad.jsonl -o bad
[ "$(wc -l <bad)" = 100 ] && [ "$(grep -c '"error"' bad)" = 1 ]
result $? 'the other 99 are there'
has 'its answer' bad 57 '{"id":57,"error":{"code":"invalid_json","message":"line 57: not valid JSON *"}}'
{
    printf '{"id":"a","prompt":"\377"}\n'
    echo '{"id":"b","prompt":7}'
    echo '{"id":"c"}'
    echo '{"id":"d","prompt":"x","temperature":"hot"}'
    echo '{"id":"e","prompt":"x","max_tokens":-5}'
    echo "{\"id\":\"f\",\"prompt\":\"$(head -c 3000 /dev/zero | tr '\000' 'a')\"}"
    echo '[]'
    echo '{"id":"h","prompt":"x","max_tokens":1}'
} >errors.jsonl
check 'every item fails but one' 1 '' 'moxie: 7 of 8 items failed; *' \
    batch -q -c 200 -i errors.jsonl -o errors
has 'not UTF-8' errors 1 '{"id":1,"error":{"code":"invalid_utf8",*'
has 'a field of a wrong type' errors 2 '{"id":"b","error":{"code":"invalid_request","message":"line 2: *prompt*'
has 'no prompt' errors 3 '{"id":"c","error":{"code":"invalid_request",*'
has 'a temperature that is none' errors 4 '{"id":"d","error":{"code":"invalid_request","message":"line 4: *temperature*'
has 'a limit below its range' errors 5 '{"id":"e","error":{"code":"invalid_request","message":"line 5: *max_tokens*'
has 'a prompt that does not fit' errors 6 '{"id":"f","error":{"code":"context_length_exceeded","message":"line 6: *context of 200*'
has 'no object' errors 7 '{"id":7,"error":{"code":"invalid_json",*'
has 'and the good one' errors 8 '{"id":"h","text":*'
cat >raises.jinja <<'END'
{%- if 'bad' in messages[0].content %}{{ raise_exception('no bad words') }}{% endif -%}
{{ messages[0].content }}:
END
printf 'good\nbad\ngood again\n' >raises.txt
check 'a template that raises' 1 '' 'moxie: 1 of 3 items failed; *' \
    batch -q -n 2 -i raises.txt -o raises --chat-template raises.jinja
has 'a template that raises: its words' raises 2 \
    '{"id":2,"error":{"code":"invalid_prompt","message":"line 2: *no bad words*'
has 'a template that raises: the next item' raises 3 '{"id":3,"text":*'
head -c 17000000 /dev/zero | tr '\000' 'a' >overlong.txt
echo >>overlong.txt
echo 'Once upon' >>overlong.txt
check 'a line of 17 MB' 1 '' 'moxie: 1 of 2 items failed; *' batch -q -n 2 -i overlong.txt -o overlong
has 'a line of 17 MB: its answer' overlong 1 '{"id":1,"error":{"code":"line_too_long",*'
check 'a full context' 0 '' '' batch -q -c 30 -n -1 -i openai.jsonl -o full --shard 2/4
has 'context is length for OpenAI' full 1 '*"finish_reason":"length"*'
echo '{"prompt":"x"}' >x.jsonl
check 'a full context in our own format' 0 '~*"finish_reason":"context"*' '' \
    batch -q -c 30 -i x.jsonl -o - --logit-bias 2-inf
echo '{"prompt":"x","temprature":1,"max_tokens":1}' >unknown.jsonl
check 'an unknown field' 0 '~*' "*warning: line 1: the field 'temprature' is not known *" \
    batch -i unknown.jsonl -o -
cp "$demo" nan.gguf
size=$(wc -c <nan.gguf)
head -c 65536 /dev/zero | tr '\000' '\377' |
    dd of=nan.gguf bs=1 seek=$((size - 65536)) conv=notrunc 2>/dev/null
check 'logits that are not finite' 1 '' 'moxie: * of 10 items failed; *' \
    batch -q -m nan.gguf -n 40 -i in.txt -o nan
grep '"error"' nan | grep -q '"code":"failed","message":"line [0-9]*: .*not a number'
result $? "logits that are not finite: only the items that met them ($(grep -c '"error"' nan))"

# ---- the output ----

usage 'the output exists' '-o: one exists already; --resume *--force *' batch -q -i in.jsonl -o one
usage 'the same file' "-o 'in.txt' is the same file as -i 'in.txt'*" batch -q -i in.txt -o in.txt
ln -s in.txt link.txt
ln in.txt hard.txt
usage 'the same file by a link' '*is the same file*' batch -q -i in.txt -o link.txt --force
usage 'the same file by a hard link' '*is the same file*' batch -q -i hard.txt -o in.txt --force
cp "$demo" model.gguf
echo '{{ messages[0].content }}' >own.jinja
for how in --force --resume; do
    usage "$how: the model" "-o 'model.gguf' is the same file as -m *" \
        batch -m model.gguf -i in.txt -o model.gguf $how
    usage "$how: the template" "-o 'own.jinja' is the same file as --chat-template *" \
        batch --chat-template own.jinja -i in.txt -o own.jinja $how
done
same 'the model is as it was' "$demo" model.gguf
usage 'no input named' 'no input: *-i*' batch -q -o x
usage 'no output named' 'no output: *-o*' batch -q -i in.txt
usage '--resume and --force' '--resume *--force *' batch -q -i in.txt -o x --resume --force
usage '--resume of standard output' '--resume needs *' batch -q -i in.txt -o - --resume
usage 'an output that says gzip' '-o: *' batch -q -i in.txt -o x.jsonl.gz
usage '--ctx-shift' 'unknown option --ctx-shift; *' batch -q -i in.txt -o x --ctx-shift
usage 'too many at a time' "option --parallel: '256' *from 0 to 255*" batch -i in.txt -o x --parallel 256
for shard in 0/3 4/3 3 a/3 1/ /3 1/0 1/2/3 -1/3; do
    usage "--shard $shard" "*--shard*" batch -q -i in.txt -o x --shard "$shard"
done
echo old >old
check '--force' 0 '' '' batch -q -n 12 -i in.jsonl -o old --force
same '--force: a new file' one old

check '--resume without an output begins it' 0 '' '' batch -q -n 12 -i in.jsonl -o resumed --resume
same '--resume: the same file' one resumed
check '--resume of a complete file' 0 '' '*resumed holds 10 answers*' batch -i in.jsonl -o resumed --resume
same '--resume of a complete file leaves it' one resumed
for n in 1 400 900 1200 1500; do
    head -c $n one >cut
    check "--resume after $n bytes" 0 '' '' batch -q -n 12 -i in.jsonl -o cut --resume --parallel 3
    same "--resume after $n bytes: the same file" one cut
done
head -c 7000 bad >cut
check '--resume counts the items that failed before' 1 '' 'moxie: 1 of 100 items failed*' \
    batch -q -i bad.jsonl -o cut --resume
same '--resume: the same failures' bad cut
head -n 4 in.jsonl >fewer.jsonl
cp one cut
check 'fewer items than answers' 2 '' 'moxie: --resume: cut holds 10 answers, but fewer.jsonl has only 4 *' \
    batch -q -i fewer.jsonl -o cut --resume
same 'fewer items than answers: nothing happens' one cut
check 'other items than answers' 2 '' 'moxie: --resume: line 1 of cut does not answer line 1 *' \
    batch -q -i in.txt -o cut --resume
head -n 2 in.txt >cut
check 'an output that is none' 2 '' 'moxie: --resume: line 1 of cut is no answer *' \
    batch -q -i in.jsonl -o cut --resume
# foreign NAME LINE FILE: the file, which no run of batch has written, stays as it is
foreign()
{
    cp "$3" before
    check "--resume of $1" 2 '' "moxie: --resume: line $2 of $3 is no answer of batch; *" \
        batch -q -n 12 -i in.jsonl -o "$3" --resume
    same "--resume of $1: it stays as it is" before "$3"
}
printf 'my only copy' >notes
foreign 'a text without a newline' 1 notes
{ head -n 1 one; echo 'my only copy'; } >notes
foreign 'a text behind an answer' 2 notes
{ head -n 1 one; printf 'my only copy'; } >notes
foreign 'a text without a newline behind an answer' 2 notes
head -n 1 in.jsonl | tr -d '\n' >notes
foreign 'an input' 1 notes
cp in.jsonl notes
foreign 'an input of many lines' 1 notes
foreign 'a model' 1 model.gguf
head -n 10 one >notes
printf 'my only copy' >>notes
foreign 'a text behind all answers' 11 notes
{ cat one; printf '{"id":'; } >cut
check '--resume of a complete file with a torn line' 0 '' '*6 bytes * were cut off*' \
    batch -n 12 -i in.jsonl -o cut --resume
same '--resume of a complete file with a torn line: cut off' one cut

# ---- shards ----

for n in 2 3 12; do
    files=
    i=1
    while [ $i -le $n ]; do
        batch -i in.jsonl -o "shard.$i" --force --shard $i/$n --parallel 2
        files="$files shard.$i"
        i=$((i + 1))
    done
    # shellcheck disable=SC2086  # words are wanted
    paste -d '\n' $files | sed '/^$/d' >merged
    same "$n shards, merged by paste: the same file" one merged
done
batch -i in.jsonl -o shard.2 --force --shard 2/3
head -c 500 shard.2 >cut
check 'a shard, resumed' 0 '' '' batch -q -n 12 -i in.jsonl -o cut --shard 2/3 --resume
same 'a shard, resumed: the same file' shard.2 cut
check 'another shard, resumed' 2 '' 'moxie: --resume: *' batch -q -i hundred.jsonl -o cut --shard 1/3 --resume
batch -i in.txt -o shard.3 --force --shard 3/3
has 'a shard keeps the numbers of the lines' shard.3 2 '{"id":6,*'
MOXIE_SHARD=2/3 batch -i in.jsonl -o shard.env
same 'the shard from the environment' shard.2 shard.env

# ---- a full disk ----

if [ -e /dev/full ]; then
    check '/dev/full' 1 '' 'moxie: /dev/full: cannot be written: *' \
        batch -q -i in.jsonl -o /dev/full
    one_line
fi
( # a limit of 512 bytes, or 1024: shells differ in what they count
    trap '' XFSZ
    ulimit -f 1
    batch -i in.jsonl -o limited
)
[ $? = 1 ] && like "$(cat err)" 'moxie: limited: cannot be written: *'
result $? 'a full disk'
[ -s limited ] && [ "$(tail -c 1 limited | od -An -c | tr -d ' ')" = '\n' ]
result $? 'a full disk: the file ends with a whole line'
check 'a full disk, resumed' 0 '' '' batch -q -n 12 -i in.jsonl -o limited --resume
same 'a full disk, resumed: the same file' one limited

# ---- interrupted ----

sed 's/,"max_tokens":1//' hundred.jsonl >long.jsonl
stop_when 'lines 1 stopped' TERM batch -q -n 60 -i long.jsonl -o stopped 2>err
[ $? = 143 ] && like "$(cat err)" 'moxie: interrupted; * of 100 items are in stopped; the same command with --resume goes on'
result $? "interrupted ($(wc -l <stopped) items)"
check 'interrupted, resumed' 0 '' '' batch -q -n 60 -i long.jsonl -o stopped --resume
batch -n 60 -i long.jsonl -o whole
same 'interrupted, resumed: the same file' whole stopped
: >stopped
stop_when 'lines 1 stopped' TERM batch -q -n 60 -i long.jsonl -o stopped --force 2>err
[ $? = 143 ] && like "$(cat err)" '*with --resume instead of --force goes on'
result $? 'interrupted with --force: it says not to give that again'
exec 3<>items
echo 'Once upon' >&3
stop_when 'lines 1 waiting' TERM batch -q -n 1 -i - -o waiting 2>err <&3
[ $? = 143 ] && like "$(cat err)" 'moxie: interrupted; 1 items are in waiting; *'
result $? 'interrupted while it waits for input'
exec 3<&-

# ---- many items ----

# peak FILE: MiB of a run with one token an item. AddressSanitizer would keep what was freed.
peak()
{
    ASAN_OPTIONS=quarantine_size_mb=1 "$MOXIE" batch -n 1 --parallel 4 -i "$1" -o peak.out --force 2>peak.err
    sed -n 's/.*peak memory \([0-9.]*\) MiB$/\1/p' peak.err
}
awk 'BEGIN { for (i = 0; i < 10000; i++) print "ab" }' >many.txt
head -n 100 many.txt >some.txt
some=$(peak some.txt)
many=$(peak many.txt)
awk -v a="$some" -v b="$many" 'BEGIN { exit !(a > 1 && b < a + 2) }' && [ "$(wc -l <peak.out)" = 10000 ]
result $? "memory is constant: $some MiB for 100 items, $many MiB for 10,000"

echo "1..$(cat "$tmp/.count")"
