#!/bin/sh
# test_bench_vs.sh: tools/bench-vs.sh with programs that only say what they measured, so that every
# figure of the table is known; then once with moxie itself.
. "$(dirname "$0")/lib.sh"

script=$here/../../tools/bench-vs.sh
real=$MOXIE
mkdir peer empty
printf 'GGUF' >model.gguf

# Each call of a program takes the next line of its file of speeds. A row as llama-bench writes it:
# row PROMPT GEN DEPTH T/S [MORE MEMBERS]
cat >row.sh <<'EOF'
row()
{
    printf '  {\n    "build_commit": "abc1234",\n    "n_prompt": %s,\n    "n_gen": %s,\n    "n_depth": %s,\n' $1 $2 $3
    printf '%s    "samples_ts": [ %s ]\n  }' "${5:-}" "$4"
}
# next FILE: its next line
next() { head -n 1 "$1"; sed 1d "$1" >"$1.rest"; mv "$1.rest" "$1"; }
# after OPTION ARG...: what follows it
after() { o_=$1; shift; while [ "$1" != "$o_" ]; do shift; done; echo "$2"; }
EOF

cat >peer/llama-bench <<'EOF'
#!/bin/sh
. ./row.sh
echo "llama-bench $*" >>calls
case "$*" in *' -d '*) echo 'error: invalid parameter for argument: -d' >&2; exit 1 ;; esac
[ "$(after -t "$@")" = 7 ] && exit 9
echo '['
row 512 0 0 "$(next peer.pp)"; echo ','
row 0 32 0 "$(next peer.tg)"; echo; echo ']'
EOF
cat >peer/llama-batched-bench <<'EOF'
#!/bin/sh
. ./row.sh
echo "llama-batched-bench $*" >>calls
echo '{"n_kv_max": 8, "pp": 32, "tg": 32, "pl": 8, "t_pp": 1.0, "speed_tg": 50.5, "speed": 22.3}'
EOF
cat >fake-moxie <<'EOF'
#!/bin/sh
. ./row.sh
echo "moxie $*" >>calls
ceilings='    "bandwidth_gbs": 20,
    "gen_bytes_per_token": 1e8,
    "kv_bytes_per_token": 1e6,
    "int8_gmacs": 100,
    "macs_per_token": 5e8,
'
case $1 in
inspect) echo '  "metadata": {"llama.context_length": 1024,' ;;
--version) echo 'moxie 9.9' ;;
tokenize) echo 1 2 3 4 5 6 7 8 9 10 ;;
detokenize) cat >ids; echo text ;;
run) [ -e silent ] || printf x; [ -e brief ] || sleep 0.1 ;;
bench)
    echo '['
    case "$*" in
    *-npl*) row 32 32 0 0 "$ceilings    \"n_streams\": 8,
    \"gen_ts\": 101,
" ;;
    *' -d '*) row 0 32 992 '30, 32,
      31' "$ceilings" ;;
    *)
        row 512 0 0 "$(next moxie.pp)" "$ceilings"; echo ','
        row 0 32 0 "$(next moxie.tg)" "$ceilings" ;;
    esac
    echo; echo ']' ;;
esac
EOF
chmod +x peer/* fake-moxie
speeds()
{
    printf '%s\n' 150 130 140 >moxie.pp
    printf '%s\n' 110 90 100 >moxie.tg
    printf '%s\n' 70 70 70 >peer.pp
    printf '%s\n' 50 45 40 >peer.tg
    : >calls
}
# vs CODE ARG...: the script with the fakes
vs()
{
    want=$1
    shift
    MOXIE=./fake-moxie sh "$script" "$@" >out 2>err
    code=$?
    [ $code = "$want" ] || { echo "# exit code $code"; sed 's/^/# /' err; }
    [ $code = "$want" ]
}
cells() { grep "^| $1" out; }

# ---- the table ----

speeds
vs 0 peer model.gguf --quick -r 3 --threads 2 --rows tg,pp512,depth,pl8,ttft,rss --json out.json \
    --line lines
result $? 'bench-vs: three rounds'
[ "$(cells 'decode, 32')" = \
    '| decode, 32 tokens (tok/s) | 2 | 100 (90..110) | 45.0 (40.0..50.0) | 2.22 | 2.00..2.50 | 200 | 50 % |' ]
result $? 'bench-vs: medians, their ratio, its spread in the rounds, the share of the bandwidth'
[ "$(cells 'prefill, 512')" = \
    '| prefill, 512 tokens (tok/s) | 2 | 140 (130..150) | 70.0 (70.0..70.0) | 2.00 | 1.86..2.14 | 200 | 70 % |' ]
result $? 'bench-vs: prefill beside the int8 products'
[ "$(cells 'decode after 992')" = \
    '| decode after 992 tokens (tok/s) | 2 | 31.0 (30.0..32.0) | – | – | – | 200 | 16 % |' ]
result $? 'bench-vs: as deep as the context allows; all samples of one start; a peer that fails'
grep -q '^No row `depth`: llama-bench failed: error: invalid parameter for argument: -d\.$' out
result $? 'bench-vs: and why it did'
[ "$(grep -c 'llama-bench.* -d ' calls)" = 1 ]
result $? 'bench-vs: it is not asked again'
cells '8 streams' | grep -q '| 2 | 101 (101..101) | 50.5 (50.5..50.5) | 2.00 | '
result $? 'bench-vs: streams'
cells 'time to first' | grep -q '^| time to first token (ms) | default | [0-9.]* ([0-9.]*\.\.[0-9.]*) | – |'
result $? 'bench-vs: time to first token without llama-completion'
grep -q '^No row `ttft`: llama-completion is not in the folder\.$' out
result $? 'bench-vs: and why'
cells 'peak memory, 576 tokens (MiB) | 2 | ' >/dev/null
result $? 'bench-vs: peak memory'
grep -q '^Ceilings: 20.0 GB/s and 100 int8 GMAC/s with 2 threads' out
result $? 'bench-vs: the ceilings'
grep -q '^model.gguf, 4 bytes; .*; moxie 9.9, llama.cpp abc1234$' out
result $? 'bench-vs: model, host, versions'
[ "$(grep '^|' out | sed 's/[^|]//g' | sort -u | wc -l)" = 1 ]
result $? 'bench-vs: every line of the table has all columns'
grep ' -p 512 -n 32' calls | cut -d ' ' -f 1 | tr '\n' ' ' >order
[ "$(cat order)" = 'moxie llama-bench llama-bench moxie moxie llama-bench ' ]
result $? "bench-vs: in turns, and the first alternates: $(cat order)"
grep -q '"row":"tg","threads":2,"what":"peer","values":\[50,45,40\]' out.json
result $? 'bench-vs --json: every sample'
if command -v python3 >/dev/null; then
    python3 -m json.tool out.json >pretty
    result $? 'bench-vs --json: is JSON'
else
    skip 'bench-vs --json: is JSON' 'needs python3'
fi

[ "$(cat lines)" = '| model | 2.22 | 2.22 | 2.00 | – | – | 2.00 | – | – | – | 50 % |' ]
result $? "bench-vs --line: $(cat lines)"

speeds
vs 0 peer model.gguf --quick -r 1 --threads 1,2 --rows tg,pp512 --name other --peer-args '-rtr 1' \
    --moxie-args '-ctk f32'
result $? 'bench-vs: threads, name and arguments'
[ "$(cells decode | cut -d '|' -f 3-6)" = ' 1 | 110 | 50.0 | 2.20 
 2 | 90.0 | 45.0 | 2.00 ' ]
result $? 'bench-vs: a line for each number of threads, no spread of one round'
grep -q '^llama-bench .* -rtr 1$' calls && grep -q '^moxie bench .* -ctk f32$' calls
result $? 'bench-vs: arguments go to the programs'
grep -q '^| | threads | moxie | other |' out
result $? 'bench-vs: the name stands in the table'

speeds
echo 35 >moxie.tg
vs 0 peer model.gguf --quick -r 1 --threads 2 --rows tg,pp512 && cells decode | grep -q ' | \*\*0.70\*\* | '
result $? 'bench-vs: where moxie loses is in bold'

speeds
vs 0 peer model.gguf --quick -r 2 --threads 7 --rows tg
result $? 'bench-vs: a peer that fails in silence is no error'
grep -q '^No row `decode/prefill`: llama-bench failed: .*exit code 9' out
result $? 'bench-vs: its exit code is in the note'

# ---- what nobody measured ----

speeds
echo 0 >peer.tg
vs 0 peer model.gguf --quick -r 1 --threads 2 --rows tg &&
    [ "$(cells decode | cut -d '|' -f 4-6)" = ' 110 | – | – ' ]
result $? 'bench-vs: a speed of zero is none'
: >silent
vs 3 peer model.gguf -r 1 --rows ttft && grep -q 'moxie run: error: it wrote nothing' err
result $? 'bench-vs: no first byte, no time to it'
rm silent
: >brief
mkdir late
printf '#!/bin/sh\nsleep 0.5 # by then the program has ended\nexec %s "$@"\n' "$(command -v sed)" >late/sed
chmod +x late/sed
(PATH=$PWD/late:$PATH && vs 3 peer model.gguf -r 1 --rows rss) &&
    grep -q 'moxie run: error: it ended before' err
result $? 'bench-vs: no look at the memory, no peak'
rm -r brief late

cp model.gguf m-00001-of-00002.gguf
printf 'rest of it' >m-00002-of-00002.gguf
speeds
vs 0 peer m-00001-of-00002.gguf --quick -r 1 --threads 2 --rows tg && grep -q '^m-00001-of-00002.gguf, 14 bytes' out
result $? 'bench-vs: all parts of a split model count'

# ---- ended from outside ----

cat >peer/llama-completion <<'EOF'
#!/bin/sh
[ "$1" != --version ] || exit 0
echo $$ >peer.pid
exec sleep 60
EOF
chmod +x peer/llama-completion
MOXIE=./fake-moxie sh "$script" peer model.gguf -r 1 --rows rss >out 2>err &
vs_pid=$!
for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
    [ ! -s peer.pid ] || break
    sleep 0.1
done
kill "$vs_pid"
wait "$vs_pid"
result $(($? != 130)) 'bench-vs: ends when it is told to'
! kill -0 "$(cat peer.pid)" 2>kill.err
result $? 'bench-vs: and ends the program that it measures'
rm peer/llama-completion

# ---- wrong ----

# wrong CODE NAME MESSAGE ARG...
wrong()
{
    code_=$1 name_=$2 message_=$3
    shift 3
    vs "$code_" "$@" && [ ! -s out ] && [ "$(wc -l <err)" = 1 ] && grep -q "^bench-vs.sh: $message_" err
    result $? "bench-vs: $name_"
}
wrong 2 'nothing at all' 'expected FOLDER MODEL'
wrong 2 'no model' 'expected FOLDER MODEL' peer
wrong 2 'three words' "unexpected argument 'x'" peer model.gguf x
wrong 2 'no folder' 'nowhere: not a folder' nowhere model.gguf
wrong 2 'a folder without programs' 'empty: no llama-bench' empty model.gguf
wrong 3 'a model that is not there' 'missing.gguf: no such file' peer missing.gguf
wrong 2 'unknown option' "unknown option '--fast'" peer model.gguf --fast
wrong 2 'an option without its value' '--rows: a value is missing' peer model.gguf --rows
wrong 2 'unknown row' "--rows: 'pp64' is none of" peer model.gguf --rows tg,pp64
wrong 2 'a file that cannot be written' 'no/where: cannot be written' peer model.gguf --json no/where
wrong 2 'no row' '--rows: the list is empty' peer model.gguf --rows ,
wrong 2 'a row that is a pattern' "--rows: '\*' is none of" peer model.gguf --rows '*'
wrong 2 'no number of threads' '--threads: the list is empty' peer model.gguf --threads ,
wrong 2 'more threads than moxie takes' "--threads: '257' is not" peer model.gguf --threads 257
for option in --json --line; do
    wrong 2 "$option is the model" './model.gguf: is the model' peer model.gguf $option ./model.gguf
    wrong 2 "$option is a part of it" 'm-00002-of-00002.gguf: is the model' peer m-00001-of-00002.gguf \
        $option m-00002-of-00002.gguf
done
[ "$(cat model.gguf)" = GGUF ]
result $? 'bench-vs: which is as it was'
wrong 2 'no round' "--rounds: '0' is not" peer model.gguf -r 0
wrong 2 'threads that are no number' "--threads: 'all' is not" peer model.gguf --threads 1,all
mv fake-moxie away
wrong 3 'no moxie' './fake-moxie: no such program' peer model.gguf
mv away fake-moxie
printf '#!/bin/sh\necho "moxie: no" >&2\nexit 3\n' >fake-moxie
wrong 3 'a moxie that fails' './fake-moxie inspect: moxie: no' peer model.gguf --rows tg

# ---- moxie itself ----

speeds
MOXIE=$real sh "$script" peer "$demo" --quick -r 1 --threads 1 --rows tg,ttft,rss >out 2>err
result $? 'bench-vs: runs moxie'
for row in decode time peak; do
    cells "$row" | awk -F '|' '{ split($4, v, " "); exit !(v[1] > 0) }' || echo "# $(cells "$row")"
    cells "$row" | awk -F '|' '{ split($4, v, " "); exit !(v[1] > 0) }'
    result $? "bench-vs: has measured its row $row"
done
cells decode | grep -q ' [0-9]* % |$' && cells peak | grep -q ' [0-9]* % |$'
result $? 'bench-vs: and its share of the ceilings'

echo "1..$(cat "$tmp/.count")"
