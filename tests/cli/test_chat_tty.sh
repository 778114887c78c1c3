#!/bin/sh
# test_chat_tty.sh: `moxie chat` at a terminal, which tmux plays: typing, pastes, Ctrl-C, resizes,
# history, colours. Each step waits for what the screen shows, so nothing depends on speed.
. "$(dirname "$0")/lib.sh"

if ! command -v tmux >/dev/null; then
    echo '1..0 # SKIP tmux is not installed (tools/deps.sh check)'
    exit 0
fi
export HOME="$tmp" LC_ALL=C.UTF-8 SHELL=/bin/sh
unset XDG_STATE_HOME TMUX
t="tmux -u -S $tmp/tmux.socket -f /dev/null"
trap '$t kill-server 2>/dev/null; rm -rf "$tmp"' EXIT
history=$tmp/.local/state/moxie/history

# ---- helpers ----

screen() { $t capture-pane -p; } # without blanks at the ends of lines
coloured() { $t capture-pane -p -e; }
keys() { $t send-keys "$@"; }      # Enter, C-c, Left, ...
type() { $t send-keys -l -- "$1"; } # text
say() { type "$1" && keys Enter; }
paste() { $t load-buffer "$1" && $t paste-buffer -p; }
# until_true COMMAND...: until it succeeds; false after a minute
until_true()
{
    i=0
    until "$@"; do
        i=$((i + 1))
        [ $i -lt 1200 ] || return 1
        sleep 0.05
    done
}
is_shown() { like "$(screen)" "$1"; } # the whole screen
# shows NAME PATTERN: a test that the screen becomes like this
shows()
{
    until_true is_shown "$2"
    shown_=$?
    result $shown_ "$1"
    [ $shown_ = 0 ] || screen | sed 's/^/# /'
    return $shown_
}
# await PATTERN: the same as a step; it is a test when it fails
await() { until_true is_shown "$1" || shows "the screen becomes like $1" "$1"; }
is_wide() { [ "$($t display -p '#{pane_width}')" = "$1" ]; }
# open [VARIABLE=VALUE] -- ARG...: a chat in a new window of 80 x 24, with its exit code at the end
open()
{
    set_=
    while [ "$1" != -- ]; do set_="$set_ $1" && shift; done
    shift
    $t resize-window -x 80 -y 24
    $t respawn-window -k "trap : INT; stty -a >'$tmp/before'
        env $set_ sh -c 'echo \$\$ >pid && exec \"\$@\"' sh '$MOXIE' chat $*
        code=\$?; stty -a >'$tmp/after'; echo \"left with \$code\"; sleep 60"
    await '*>'
}
# saved NAME TEXT: the conversation's JSON holds this text
saved()
{
    rm -f saved.json
    say "/save $tmp/saved.json"
    until_true [ -e saved.json ]
    grep -qF "$2" saved.json
    result $? "$1"
}

# ---- typing ----

$t new-session -d -x 80 -y 24 'sleep 60' 2>/dev/null || { # a sandbox without pseudo-terminals
    echo '1..0 # SKIP tmux cannot open a terminal here'
    exit 0
}
open -- --temp 0 -n 12
shows 'a banner and a prompt' '*the demo model, context of *help*Ctrl-C*>'
printf 'Once upon a time\n' | "$MOXIE" chat -q --temp 0 -n 12 >expected
say 'Once upon a time'
shows 'the answer of a pipe' "*> Once upon a time
$(sed 's/ *$//' expected)
*>"
type 'hlo 🦙'
keys Home Right
type 'e'
keys Right
type 'l'
shows 'editing in the middle' '*> hello 🦙'
keys End BSpace
type 'ä🦙🦙!'
keys Enter
saved '... gives the line that is seen' '"hello ä🦙🦙!"'
type '/he'
keys Tab
shows 'Tab completes a command' '*> /help*'
keys C-u
type '/sa'
keys Tab
shows '... as far as all agree' '*> /save*'
keys C-u
type 'one'
keys M-Enter
type 'two'
shows 'Alt-Enter is a new line' '*> one
two'
keys Enter
saved '... in one message' '"one\ntwo"'
say '"""one'
shows 'a prompt for more lines' '*> """one
.'
say 'three"""'
saved '... of one message' '"one\nthree"'

# ---- Ctrl-C, Ctrl-D ----

type 'not sent'
await '*> not sent'
keys C-c
shows 'Ctrl-C clears the line' '*> not sent
>'
keys C-c
shows '... and an empty one tells how to leave' '*Ctrl-D or /exit leaves*>'
say '"""never'
await '*.'
keys C-c
await '*never
.
>'
say '/undo'
shows '... and ends a message of several lines' '*exchange is gone*>'
keys C-d
shows 'Ctrl-D leaves' '*left with 0*'
cmp -s before after
result $? 'the terminal is as it was'
[ "$(stat -c %a "$history")" = 600 ] && [ "$(stat -c %a "${history%/history}")" = 700 ]
result $? 'the history is private'

open -- -q -n 5
type 'unfinished'
await '*> unfinished'
kill "$(cat pid)"
shows 'SIGTERM ends it' '*left with 143*'
cmp -s before after
result $? '... and leaves the terminal as it was'

# An answer without end, slowly.
echo '{{ messages[-1].content }}' >bare.jinja
eos=$("$MOXIE" inspect --json "$demo" | tr ',' '\n' | sed -n 's/.*eos_token_id": *//p')
endless="-c 8192 --seed 1 -t 1 --cpu-mask none --ctx-shift --chat-template $tmp/bare.jinja
    --logit-bias $eos-inf"
open -- $endless
i=0
while [ $i -lt 700 ]; do i=$((i + 1)) && printf 'word '; done >long.txt
paste long.txt
keys Enter
await '*prefill \[*'
keys C-c
shows 'Ctrl-C while the prompt is read: back to the prompt' '*the conversation is as before*>'
say /stats
shows '... and nothing was said' '*conversation: 0 messages*>'
say 'Once upon a time'
await '*> Once*[a-z]*
*[a-z]*
*[a-z]*'
$t resize-window -x 50 -y 12
until_true is_wide 50
$t resize-window -x 100 -y 30
until_true is_wide 100
keys C-c
shows 'Ctrl-C stops an answer, in a window that was resized' '*Once upon a time
*?
>'
saved '... whose beginning stays' '"role": "assistant"'
keys C-c
await '*leaves the chat*
>'
keys C-c
shows 'Ctrl-C twice does not end the chat' '*leaves*leaves*>'
say '/stats'
shows '... which goes on' '*conversation: 2 messages*>'
keys C-d
await '*left with 0*'

# One piece of 4096 tokens takes seconds.
cat long.txt long.txt >longer.txt
open -- $endless -b 4096
say 'Hello'
await '*Hello
*[a-z]*'
keys C-c
await '*Hello
*
>'
say "/read $tmp/longer.txt"
await '*beginning of your next message*>'
keys Enter
await '*prefill  *s'
keys C-c
keys C-c
shows 'Ctrl-C twice in a long piece: back to the prompt' \
    '*conversation is as before*what /read has brought is*>'
say '/stats'
shows '... with the conversation' '*conversation: 2 messages*>'
say '/undo'
shows '... and the text of /read, which /undo drops' '*brought is dropped*>'
keys C-d
await '*left with 0*'

# ---- Ctrl-Z ----

# stopped NAME: Ctrl-Z in the chat, which a shell runs that does not mend the terminal
stopped()
{
    keys C-z
    await '*Stopped*
$'
    say 'clear; stty -a >stopped; echo is$((1 + 1))'
    await '*is2
$'
    cmp -s before stopped
    result $? "$1"
}
$t respawn-window -k "cd '$tmp' && PS1='$ ' ENV= exec sh -i"
await '*$'
say 'clear; stty -a >before; echo is$((1 + 1))'
await '*is2
$'
say "clear; '$MOXIE' chat $(echo $endless)"
await '*leaves*>'
type 'hello'
await '*> hello'
stopped 'Ctrl-Z at the prompt: the terminal is as it was'
say 'clear; fg'
shows '... and in the foreground the line is there again' '*> hello'
type ' you'
keys Home
type '1 '
shows '... and can be edited' '*> 1 hello you'
keys Enter
await '*hello you
*[a-z]*
*'
stopped 'Ctrl-Z in an answer: the terminal is as it was'
say 'clear; fg'
await '*--logit-bias*
*[a-z]*'
before_=$(screen)
has_moved() { [ "$(screen)" != "$before_" ]; }
until_true has_moved
result $? '... and in the foreground it goes on'
type 'unseen'
keys C-c
await '*
>'
! screen | grep -q unseen
result $? '... where typing is not shown either'
keys C-d
await '*$'
say 'clear; stty -a >after; echo is$((1 + 1))'
await '*is2
$'
cmp -s before after
result $? '... and after the end'

# ---- a terminal that goes away ----

is_gone() { ! kill -0 "$1" 2>/dev/null; }
$t new-window "trap '' HUP; sh -c 'echo \$\$ >pid2 && exec \"\$@\"' sh '$MOXIE' chat -q"
await '*>'
$t kill-window
until_true is_gone "$(cat pid2)"
result $? 'without a terminal the chat ends, though SIGHUP is ignored'

# ---- resizing ----

open -- -q -n 5 -m "$demo" # named, the demo model reads all that is said
long='a line that is rather long, so that it takes more than one row of this window, or two'
type "$long"
$t resize-window -x 40
await '*> a line*'
type ' and on'
shows 'a narrower window' '*> a line that is rather long, so that it*two and on*'
$t resize-window -x 120
shows 'a wider one' "*> $long and on*"
keys Enter
saved 'the line that was resized' "\"$long and on\""

# ---- pastes ----

i=0
while [ $i -lt 190 ]; do
    i=$((i + 1))
    echo "line $i of a pasted text, with several words: äöü 🦙 \"\"\""
done >page.txt
[ "$(wc -c <page.txt)" -gt 10000 ]
result $? 'a page of 10 kB'
type 'Look: '
paste page.txt
await '*line 190*'
say 'end'
shows 'a paste of 10 kB is one message (too long for this model)' '*message has*too many*>'
awk 'BEGIN { printf "Look: " } { printf "%s\\n", $0 } END { print "end" }' page.txt >line
tail -n 1 "$history" | cmp -s - line
result $? '... and whole'
printf '\033[31mred\007\ttab\nnext' >steer.txt
paste steer.txt
await '*next'
keys Enter
saved 'a paste has no control characters but tabs' '"[31mred\ttab\nnext"'

awk 'BEGIN { for (i = 0; i < 27000; i++) printf "0123456789" }' >huge.txt
type 'Look: '
paste huge.txt
shows 'a huge one is told, and nothing of it is left' \
    '*the paste is longer than 262144 characters*/read FILE
>'

# ---- history ----

keys C-d
await '*left with 0*'
[ "$(stat -c %a "$history")" = 600 ]
result $? 'the history is still private'
open -- -q -n 5
keys Up
shows 'the last command is there in the next chat' '*> /save *saved.json'
keys Up
shows '... and a paste with its lines' '*red*next'
keys Enter
saved '... which is sent again' '"[31mred\ttab\nnext"'
keys C-d
await '*left with 0*'
n=$(wc -l <"$history")
open -- -q -n 5 --no-history
say 'a secret'
await '*a secret*>'
keys C-d
await '*left with 0*'
[ "$(wc -l <"$history")" = "$n" ]
result $? '--no-history keeps nothing'
open XDG_STATE_HOME=/dev/null/none -- -n 5
shows 'a history that cannot be kept is told' '*dev/null/none*you type*>'
say '/save a.json'
shows '... and all else works' '*0 messages are in a.json*>'

# ---- files ----

say 'Once upon a time'
await '*Once*>'
say "/save $tmp/b.json"
await '*2 messages are in*b.json*>'
say '/clear'
await '*new conversation*>'
say "/load $tmp/b.json"
await '*2 messages from*>'
say "/save $tmp/c.json"
await '*in*c.json*>'
cmp -s b.json c.json
result $? '/save, /clear, /load, /save: the same conversation'

# ---- colours ----

esc=$(printf '\033')
echo '{{ messages[-1].content }}<think>' >thinks.jinja
thinks="-q -n 5 --temp 0 --chat-template $tmp/thinks.jinja"
open -- $thinks
say 'Once upon'
await '*Once upon
*[a-z]*>'
like "$(coloured)" "*> Once upon
*$esc\[2m*[a-z]*"
result $? 'what the model thinks is dim'
[ "$(coloured | tail -n 1 | grep -c "$esc\[2m")" = 0 ]
result $? '... and what follows is not'
for plain in NO_COLOR=1 CLICOLOR=0 TERM=dumb; do
    open $plain -- $thinks
    say 'Once upon'
    await '*Once upon
*[a-z]*>'
    ! coloured | grep -q "$esc\[2m"
    result $? "$plain: not dim"
done

$t respawn-window -k "'$MOXIE' run $thinks -p 'Once upon'; echo end; sleep 60"
await '*[a-z]*end'
like "$(coloured)" "$esc\[2m*[a-z]*end"
result $? '`run` dims it as well'
open -- $endless -n 600 -p Once
type 'unseen'
shows 'a first message from the command line: typing waits' '*
> unseen'
[ "$(screen | grep -c unseen)" = 1 ]
result $? '... and is not shown before'

# ---- ~/.editrc ----

echo 'bind -v' >.editrc
open -- -q -n 5
type 'hello'
keys Escape
type '0xi'
shows "vi's keys" '*> ello'
printf 'two\nlines' >two.txt
paste two.txt
shows '... with pastes' '*> two
linesello'
keys C-c
type '/he'
keys Tab
shows '... and Tab' '*> /help'
rm .editrc

# ---- terminals ----

open TERM=dumb -- -q -n 5

keys C-c
shows 'a dumb terminal: Ctrl-C' '*^C*>'
keys C-d
shows '... and Ctrl-D' '*left with 0*'
open TERM=nonsense TERMINFO=/nonexistent -- -q -n 5
type 'hxllo'
keys Left Left Left BSpace
type 'e'
keys Enter
saved 'an unknown terminal can edit, too' '"hello"'
[ "$(screen | grep -ci 'termcap\|terminfo')" = 0 ]
result $? '... without a message'
open TERM= -- -q -n 5
say 'hello'
saved 'no TERM at all' '"hello"'
$t kill-server
printf 'hello\n' | "$MOXIE" chat -q -n 5 >out 2>err
[ -s out ] && [ ! -s err ]
result $? 'nothing of a terminal is left'

echo "1..$(cat "$tmp/.count")"
