#!/bin/sh
# test_batch_kill.sh: batch killed (SIGKILL) at twenty random moments. Each time the output is a
# beginning of the file that an undisturbed run writes, and when --resume has finished it is that
# file, byte for byte.
. "$(dirname "$0")/lib.sh"

KILLS=20

awk 'BEGIN {
    for (i = 1; i <= 60; i++)
        printf "{\"id\":\"i%d\",\"prompt\":\"Once upon a time there was number %d\",\"max_tokens\":%d}\n",
               i, i, i * 7 % 40
}' >in.jsonl
sed -i '31s/}$//' in.jsonl # an item that fails is a line like any other

# A pause of up to $most seconds, from the kernel's random numbers. A run that ends before it is
# killed makes the pauses shorter.
most=0.3
pause()
{
    sleep "$(od -An -N2 -tu2 /dev/urandom | awk -v most=$most '{ printf "%.3f", $1 / 65536 * most }')"
}

resume() { "$MOXIE" batch -q --resume -i in.jsonl -o out 2>err; }

"$MOXIE" batch -q -i in.jsonl -o whole 2>err
[ $? = 1 ] && [ "$(wc -l <whole)" = 60 ]
result $? 'an undisturbed run'

n_kill=0 n_whole=0 n_bad=0
while [ $n_kill -lt $KILLS ] && [ $n_whole -lt 50 ]; do
    "$MOXIE" batch -q --resume -i in.jsonl -o out --parallel $((n_kill % 4 + 1)) 2>err &
    pid=$!
    pause
    kill -9 $pid 2>/dev/null
    wait $pid 2>/dev/null
    if [ $? = 137 ]; then
        n_kill=$((n_kill + 1))
    else
        n_whole=$((n_whole + 1))
        most=$(awk -v most=$most 'BEGIN { print most * 0.9 }')
    fi
    [ -e out ] || continue
    cmp -n "$(wc -c <out)" out whole >diff || n_bad=$((n_bad + 1))
    if [ "$(wc -l <out)" = 60 ]; then
        cmp out whole >>diff || n_bad=$((n_bad + 1))
        rm out
    fi
done
[ $n_bad = 0 ] && [ $n_kill = $KILLS ]
result $? "$n_kill kills, $n_whole runs that were faster: each time a beginning of the whole file"
resume
[ $? = 1 ]
result $? 'the last --resume finishes'
cmp out whole
result $? 'the final file equals that of the undisturbed run'

# What a kill in the middle of a write would leave.
n_bad=0
for line in 1 2 17 59; do
    head -n $line whole >out
    sed -n "$((line + 1))p" whole | head -c $((line * 3)) >>out
    resume
    cmp -s out whole || n_bad=$((n_bad + 1))
done
[ $n_bad = 0 ]
result $? 'a torn last line is cut off, and its item written again'

# Two at once: the second one is refused, and does not disturb the first.
rm out
mkfifo items
"$MOXIE" batch -q -i - -o out <items 2>err &
first=$!
exec 3>items
head -n 30 in.jsonl >&3
await lines 1 out
for how in --resume --force; do
    "$MOXIE" batch -q $how -i in.jsonl -o out >/dev/null 2>second
    code=$?
    [ $code = 2 ] && like "$(cat second)" 'moxie: -o: another process is writing out*'
    result $? "a second run with $how is refused (exit code $code)"
done
tail -n +31 in.jsonl >&3
exec 3>&-
wait $first
[ $? = 1 ] && cmp out whole
result $? 'and the file is as it should be'

echo "1..$(cat "$tmp/.count")"
