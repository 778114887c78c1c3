#!/bin/sh
# test_chat.sh: `moxie chat` without a terminal: lines in, answers out.
. "$(dirname "$0")/lib.sh"
export HOME="$tmp" # no history is read or kept, but nobody's own either
unset XDG_STATE_HOME
export MOXIE_MODEL="$demo" # named, the demo model gets roles as any model without a template

g='--temp 0 -n 12'
# talk NAME CODE STDOUT STDERR LINES ARG...: a quiet chat that is given LINES (printf's escapes)
talk()
{
    name_=$1 code_=$2 out_=$3 err_=$4
    printf "$5" >lines
    shift 5
    check "$name_" "$code_" "$out_" "$err_" chat -q $g "$@" <lines
}
# said NAME ROLE TEXT: the conversation in saved.json has this message (escapes as in JSON)
said()
{
    grep -A1 "\"role\": \"$2\"" saved.json | grep -qF "\"content\": \"$3\""
    result $? "$1"
    rm -f saved.json
}

# ---- answers ----

printf '[{"role": "user", "content": "Once upon a time"}]' >asked.json
"$MOXIE" template --messages asked.json >prompt.txt 2>err
"$MOXIE" run -q --raw $g -f prompt.txt >expected
echo >>expected
talk 'the first answer is what `run` makes of the rendered prompt' 0 @expected '' 'Once upon a time\n'
talk '-p is the first message' 0 @expected '' '' -p 'Once upon a time'
talk 'so is the second argument' 0 @expected '' '' -m "$demo" 'Once upon a time'
printf 'Once upon a time\n' >first.txt
talk 'and a file' 0 @expected '' '' -f first.txt
talk 'a last line without newline' 0 @expected '' 'Once upon a time'
talk 'lines that end as on Windows' 0 @expected '' 'Once upon a time\r\n'
talk 'empty lines are no messages' 0 @expected '' '\n \n\nOnce upon a time\n\n'
talk 'nothing at all' 0 '' '' ''
check 'notes: the roles' 0 @expected "*no chat template*" chat $g <first.txt
! grep -q /help err
result $? 'no banner without a terminal'

# Three turns with reuse, and the last answer from nothing.
talk 'three turns' 0 '~*' '6 messages*' 'Once upon a time\nThere was a dog\nAnd a cat\n/save saved.json\n'
grep -c '"role": "assistant"' saved.json | grep -qx 3
result $? 'all three were answered'
printf '/load saved.json\n/undo\n/save two.json\n' | "$MOXIE" chat -q $g >out 2>err
sed '$d' two.json | sed '$s/}$/}, {"role": "user", "content": "And a cat"}]/' >three.json
"$MOXIE" template --messages three.json >prompt.txt 2>err
"$MOXIE" run -q --raw $g -f prompt.txt >again 2>err
sed -n '/And a cat/,$p' saved.json | sed -n 's/^ *"content": "\(.*\)"$/\1/p' | tail -1 >want
printf '%b' "$(cat want)" | cmp -s - again
result $? 'KV reuse changes nothing: the answer is the same from scratch'
rm saved.json

printf 'Once upon a time\nMore\n/stats\n' | "$MOXIE" chat -v $g >out 2>err
grep 'tokens new' err >new
like "$(sed -n 1p new)" '* 0 reused; 12 written'
result $? '-v: all of the first prompt is new'
new_=$(sed -n '2s/.*: \([0-9]*\) tokens new, .*/\1/p' new)
reused=$(sed -n '2s/.*new, \([0-9]*\) reused.*/\1/p' new)
[ "$new_" -gt 0 ] && [ "$reused" -gt "$new_" ] && [ "$new_" -lt 30 ]
result $? '-v: most of the second is reused'
grep -q "^last answer: *$new_ tokens new, $reused reused; 12 written" err
result $? '/stats says the same'

# A hybrid model goes back to a checkpoint and reuses what is before it. It knows no text: one of
# our seeds, with the demo's vocabulary, would be a second demo; so this is left to test_session.c.

# ---- the story of the embedded model ----

embedded() { env -u MOXIE_MODEL "$MOXIE" "$@"; }
dog='Once upon a time, there was a little dog who'
printf '%s\nThen a cat came and\n' "$dog" | embedded chat --seed 1 >told 2>err
like "$(cat err)" "$is_demo*" && ! grep -q 'no chat template' err
result $? 'the embedded model: no word about roles'
embedded run -q --seed 1 -n 200 -p "$dog" </dev/null >first
{ cat first; echo ' Then a cat came and'; } | tail -c 121 | sed '1s/^[^ ]* *//' >end
embedded run -q --seed 2 -n 200 -f end </dev/null >second
{ cat first; echo; cat second; echo; } | cmp -s - told
result $? '... goes on with the story, 200 tokens at a time'
printf 'One day\n' | embedded chat -q $g --chat-template "$here/../data/kitchen.jinja" >out 2>err
printf 'One day\n' | embedded chat -q $g >plain
! cmp -s out plain
result $? '... a template goes before'

# ---- several lines ----

q='"""'
talk 'between triple quotes' 0 '~*' '*' "${q}one\n/two\n\nthree$q\n/save saved.json\n"
said '... is one message' user 'one\n/two\n\nthree'
talk 'a backslash at the end' 0 '~*' '*' 'one\\\ntwo\n/save saved.json\n'
said '... goes on' user 'one\ntwo'
talk 'quotes that are never closed' 0 '' '' "${q}one\ntwo\n"
talk 'two slashes' 0 '~*' '*' '//help me\n/save saved.json\n'
said '... are one' user '/help me'
talk 'a path' 0 '~*' '*' '/usr/bin is full\n/save saved.json\n'
said '... is no command' user '/usr/bin is full'

# ---- commands ----

talk '/help' 0 '' '*/help /?*/regen*/stats*//*' '/help\n'
cp err help
talk '/?' 0 '' '*' '/?\n'
cmp -s err help
result $? '... is the same'
for c in exit bye quit; do
    talk "/$c leaves" 0 '' '' "/$c\nnot read any more\n"
done
talk 'misspelt command' 2 '' 'moxie: unknown command /hlep; did you mean /help?*' '/hlep\n'
talk 'unknown command' 2 '' 'moxie: unknown command /xyzzy123; /help lists*' '/xyzzy123\n'
talk 'too much' 2 '' "moxie: /undo takes nothing*'now'*" '/undo now\n'
talk 'too little' 2 '' 'moxie: /load needs*' '/load\n'
talk '/undo of nothing' 2 '' 'moxie: /undo: the conversation is empty*' '/undo\n'
talk '/regen of nothing' 2 '' 'moxie: /regen: there is no message*' '/regen\n'
talk 'the chat goes on after a mistake' 2 @expected '*' '/hlep\nOnce upon a time\n'

talk '/undo' 0 '~*' '*gone; 2 messages*' 'one\ntwo\n/undo\n/save saved.json\n'
said '... keeps the exchange before' user one
talk '/clear' 0 '~*' '*new conversation; the system message stays*' \
    'one\n/clear\ntwo\n/save saved.json\n' -sys 'Be brief'
said '... keeps the system message' system 'Be brief'
cat expected expected >twice
talk '/clear forgets all else' 0 @twice '*' 'Once upon a time\n/clear\nOnce upon a time\n'
talk '/regen, greedy, gives the same' 0 @twice '' 'Once upon a time\n/regen\n'
"$MOXIE" chat -q -n 12 --seed 5 -p 'Once upon a time' </dev/null >five
"$MOXIE" chat -q -n 12 --seed 6 -p 'Once upon a time' </dev/null >six
cat five six >both
check '/regen takes the next seed' 0 @both '' \
    chat -q -n 12 --seed 5 -p 'Once upon a time' <<EOF
/regen
EOF
! cmp -s five six
result $? 'which is another answer'

talk '/system shows' 0 '' 'Be brief*' '/system\n' --system 'Be brief'
talk '/system without one' 0 '' 'there is no system message*' '/system\n'
long=$(printf 'ä%.0s' $(seq 1500))
talk '/system shows all of a long one' 0 '' "$long" '/system\n' --system "$long"
talk '/system sets' 0 '~*' '*is set*' '/system Be long\none\n/save saved.json\n' -sys 'Be brief'
said '... another one' system 'Be long'
talk '/system - removes' 0 '~*' '*removed*' '/system -\none\n/save saved.json\n' -sys 'Be brief'
! grep -q system saved.json
result $? '... it'
rm saved.json

# ---- files ----

printf 'A text\nof a file.\n' >text.txt
talk '/read' 0 '~*' 'text.txt: 18 bytes*' '/read text.txt\nWhat is it?\n/save saved.json\n'
said '... comes before the message' user 'A text\nof a file.\n\n\nWhat is it?'
talk '/read, then an empty line' 0 '~*' '*' '/read text.txt\n\n/save saved.json\n'
said '... is the message' user 'A text\nof a file.\n'
talk '/read of ~/ and of quotes' 0 '~*' '*' '/read ~/text.txt\n/read "text.txt"\n\n'
printf 'a\377b' >latin1.txt
talk '/read of no UTF-8' 3 '' 'moxie: *not UTF-8: byte 2 is 0xff*' '/read latin1.txt\n'
talk '/read of nothing' 3 '' 'moxie: none.txt: no such file*' '/read none.txt\n'
talk 'a line that is not UTF-8' 3 @expected 'moxie: *not UTF-8: byte 3*' \
    'ab\377\nOnce upon a time\n'

talk '/save' 0 '~*' '*2 messages are in a.json*' 'one\n/save a.json\n'
talk '/save does not overwrite' 2 '' 'moxie: a.json exists; /save! a.json overwrites it*' \
    '/save a.json\n'
talk '/save! does' 0 '' '*0 messages are in a.json*' '/save! a.json\n'
talk '/save again into its own file' 0 '~*' '*2 messages*4 messages*4 messages*' \
    'one\n/save b.json\ntwo\n/save\n/save b.json\n'
talk '/save of no name' 2 '' 'moxie: /save: into which file?*' '/save\n'
talk '/save into nowhere' 1 '' 'moxie: none/b.json: cannot be written*' '/save none/b.json\n'
mkfifo pipe
talk '/save into a folder' 1 '' 'moxie: /tmp: cannot be written: it is no regular file*' \
    '/save /tmp\n'
talk '/save! into a pipe' 1 '' 'moxie: pipe: cannot be written: it is no regular*' '/save! pipe\n'
test -p pipe
result $? '... leaves it as it is'
ln -s c.json link.json
talk '/save! through a link that leads nowhere' 1 '' 'moxie: link.json: *leads nowhere*' \
    '/save! link.json\n'
touch c.json
talk '/save! through a link' 0 '' '*0 messages are in link.json*' '/save! link.json\n'
test -h link.json && test -s c.json
result $? '... writes the file that it leads to'
rm c.json link.json
talk '/load' 0 '' '*4 messages from b.json*4 messages are in c.json*' \
    '/load b.json\n/save c.json\n'
cmp -s b.json c.json
result $? '/load and /save: the same file'
"$MOXIE" template --messages c.json >out 2>err
result $? '`template --messages` reads it'
talk '/load of a question' 0 @expected '*no answer: /regen*' '/load asked.json\n/regen\n'
echo '{' >broken.json
talk '/load of no JSON' 3 '~*' 'moxie: broken.json: line * is no JSON*' \
    'one\n/load broken.json\n/save saved.json\n'
said '... changes nothing' user one

# ---- options ----

talk '/set lists' 0 '' '*n-predict * 12*temp * 0*top-k*seed*' '/set\n'
talk '/set shows' 0 '' '*temp * 0*' '/set temp\n'
talk '/set changes' 0 '~*' '*temp * 0.5*n-predict * 3*' '/set temp 0.5\n/set n-predict=3\n/set\n'
talk '/set of nothing known' 2 '' "moxie: /set: *'tmep'; did you mean 'temp'?*" '/set tmep 1\n'
talk '/set out of range' 2 '' "moxie: /set temp: '-1' *from 0 to 100*temp * 0*" \
    '/set temp -1\n/set temp\n'
talk '/set system' 0 '' '*is set*Be brief*' '/set system Be brief\n/system\n'
talk '/set stop' 0 '~*' '*stop * "x" " y"*stop *' '/set stop x\n/set stop " y"\n/set stop ""\n/set\n'
! tail -n +4 err | grep '  stop' | grep -q '"'
result $? '/set stop "" empties the list'
item=$(printf 'ü%.0s' $(seq 200))
talk '/set shows all of a long list' 0 '' "*\"x$item\" \"y$item\"" \
    "/set stop x$item\n/set stop y$item\n"
like "$(tail -n 1 err)" "  stop *\"x$item\" \"y$item\""
result $? '... whose values are kept'
talk '/set n-predict' 0 '~*' '*' '/set n-predict 1\nOnce upon a time\n'
[ "$(wc -c <out)" -lt "$(wc -c <expected)" ]
result $? '... shortens the answer'

# ---- errors in a turn, a full context ----

echo "{% if messages[-1].content == 'no' %}{{ raise_exception('I will not.') }}{% endif %}" \
    "{{ messages | map(attribute='content') | join(' ') }}" >raises.jinja
talk 'a template that raises' 3 '~*' '*I will not.*2 messages*' \
    'yes\nno\n/save saved.json\n' --chat-template raises.jinja
said '... leaves the conversation as it was' user yes
echo "{% if 'no' in messages[-1].content %}{{ raise_exception('I will not.') }}{% endif %}" \
    "{{ messages | map(attribute='content') | join(' ') }}" >picky.jinja
talk 'a message that fails after /read' 3 '~*' '*I will not.*2 messages*' \
    '/read text.txt\nno\nyes\n/save saved.json\n' --chat-template picky.jinja
said '... leaves the text of /read for the next one' user 'A text\nof a file.\n\n\nyes'
talk '/undo drops what /read has brought' 0 '~*' '*brought is dropped*' \
    '/read text.txt\n/undo\nyes\n/save saved.json\n'
said '... and nothing else' user yes
echo '{{ messages | map(attribute="content") | join(" ") }}<think>' >thinks.jinja
talk 'an answer that begins inside the reasoning' 0 '~*' '*' 'yes\n/save saved.json\n' \
    --chat-template thinks.jinja
grep -q '"reasoning_content": "[^"]' saved.json
result $? '... has it beside the content'
said '... which is empty where it never ended' assistant ''
long=$(printf 'word %.0s' $(seq 200))
talk 'a message beyond the context' 2 '~?*' '*the message has * tokens, * context of 64; shorten*' \
    "$long\nOnce\n" -c 64
talk 'a conversation beyond the context' 2 '~?*' \
    '*the conversation has * context of 64: /clear*/undo*-c N*--ctx-shift*' \
    'Once upon a time\nThere was a dog and there was a cat\n' -c 64
talk '--ctx-shift forgets' 0 '~?*' '*' \
    'Once upon a time\nThere was a dog and there was a cat\n/save saved.json\n' -c 64 --ctx-shift
! grep -q Once saved.json
result $? '... the oldest exchange'
rm saved.json
printf 'Once upon a time\n' | "$MOXIE" chat --temp 0 -c 64 >out 2>err
grep -q 'the context of 64 tokens is full, the answer ends here' err
result $? 'an answer that fills the context ends, and says so'
printf 'Once upon a time\n' | "$MOXIE" chat --temp 0 -c 64 -n 25 >out 2>err
grep -q 'context: [0-9]* of 64 tokens are in use' err
result $? 'a context that becomes short is told'

# ---- the ends ----

printf 'one\n' | "$MOXIE" chat -q $g >/dev/full 2>err
[ $? = 1 ] && like "$(cat err)" 'moxie: standard output: cannot be written*'
result $? 'full disk: exit code 1'
yes word | "$MOXIE" chat -q $g 2>err | head -1 >out
[ "$(wc -l <out)" = 1 ] && [ ! -s err ]
result $? 'a reader that leaves ends it quietly'
[ -z "$(ls -A .local 2>/dev/null)" ]
result $? 'no history without a terminal'
usage 'two prompts' "two prompts*" chat -m "$demo" a -p b
usage 'misspelt option' "unknown option --sytem; did you mean --system*" chat --sytem x

echo "1..$(cat "$tmp/.count")"
