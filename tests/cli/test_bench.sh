#!/bin/sh
# test_bench.sh: the rows of `bench`, its three formats, wrong lists.
. "$(dirname "$0")/lib.sh"

# field NAME: the values of a JSON member, one a line
field() { sed -n "s/^ *\"$1\": \(.*[^,]\),*$/\1/p" out; }

# ---- Markdown ----

check 'bench' 0 '~| model *| *size | *params | backend *| threads | KV *| test *| *t/s |*' '' \
    bench -q -p 8 -n 4 -r 2
grep -q '^| llama Q8_0 | 5.8 MiB | 5.71 M | CPU .* pp8  *| .* ± .* %' out && grep -q ' tg4 ' out
result $? 'bench: a row of prefill, a row of decode'
[ "$(grep '^|' out | sed 's/[^|]//g' | sort -u | wc -l)" = 1 ]
result $? 'bench: every line has all columns'
[ "$(grep -c '^|' out)" = 4 ]
result $? 'bench: no second table without timelines'
check 'bench -npl' 0 '~*| pl2 pp8+tg4 *| pl3 pp8+tg4 *| PP *| TG *| B *| N_KV *| S_PP t/s *' '' \
    bench -q -p 0 -n 0 -npl 2,3 -npp 8 -ntg 4 -r 1
grep -q '^| *[0-9]* | *8 | *4 | *3 | *36 | ' out
result $? 'bench -npl: three timelines of 8 + 4 tokens hold 36'

# ---- JSON ----

check 'bench -o json' 0 '~\[*\]' '' bench -q -p 8,16 -n 4 -d 0,4 -t 1,2 -r 2 -o json
n=$(field n_prompt | wc -l)
[ "$n" = 12 ]
result $? "bench: a row for every value of every list ($n of 12)"
lacks=
for name in n_prompt n_gen n_depth n_threads n_streams type_k type_v avg_ts stddev_ts samples_ts \
    bandwidth_gbs bytes_per_token gen_bytes_per_token kv_bytes_per_token share_of_bandwidth \
    int8_gmacs macs_per_token share_of_int8 context_bytes peak_rss_bytes; do
    [ "$(grep -c "\"$name\":" out)" = 12 ] || lacks="$lacks $name"
done
[ -z "$lacks" ]
result $? "bench: fields of the JSON:$lacks"
[ "$(field n_streams | sort -u)" = 1 ]
result $? 'bench: one timeline in the rows pp and tg'
# Rows of a number of threads: pp8 pp16 tg4, then the same after 4 tokens.
field kv_bytes_per_token | awk '{ b[NR] = $1 } END { exit !(b[1] == 0 && b[3] > 0 && b[6] == b[3] * 3) }'
result $? 'bench: a generated token reads the cache of 2 positions, or after 4 of 6'
for f in bytes_per_token gen_bytes_per_token macs_per_token int8_gmacs share_of_int8 avg_ts; do
    field $f >$f
done
paste bytes_per_token gen_bytes_per_token | awk 'NR % 3 == 0 && $1 != $2 { bad = 1 } END { exit bad }'
result $? 'bench: where all tokens are generated, a token reads what one of those reads'
awk '{ m[NR] = $1 } END { exit !(m[2] < m[1] && m[1] < m[3] && m[3] == m[6]) }' macs_per_token
result $? 'bench: a prompt has logits once, an answer for each token'
paste share_of_int8 avg_ts macs_per_token int8_gmacs | awk '
    $4 > 0 { r = $2 * $3 / $4 / 1e9 / $1; if (r < 0.99 || r > 1.01) bad = 1 } END { exit bad }'
result $? 'bench: share of int8 = t/s * products of a token / peak'

check 'bench: lists of cache types' 0 '~\[*\]' '' \
    bench -q -p 4 -n 0 -r 1 -ctk f16,f32 -ctv f32 -o json
[ "$(field type_k | tr '\n' ' ')" = '"f16" "f32" ' ] && [ "$(field type_v | sort -u)" = '"f32"' ]
result $? 'bench: a row for each of them'

check 'bench: rows of timelines' 0 '~\[*\]' '' \
    bench -q -p 4 -n 4 -npl 1,4 -npp 8 -ntg 4,6 -r 1 -t 1 -o json
names='"pp4" "tg4" "pl1 pp8+tg4" "pl4 pp8+tg4" "pl1 pp8+tg6" "pl4 pp8+tg6" '
[ "$(field test | tr '\n' ' ')" = "$names" ]
result $? 'bench: their names and order'
[ "$(field n_streams | tr '\n' ' ')" = '1 1 1 4 1 4 ' ]
result $? 'bench: their n_streams'
for f in avg_ts prompt_ts gen_ts; do field $f | tail -4 >$f; done
paste avg_ts prompt_ts gen_ts | awk '
    { least = $2 < $3 ? $2 : $3; most = $2 + $3 - least }
    least <= 0 || $1 < least * 0.999 || $1 > most * 1.001 { bad = 1 }
    END { exit bad || NR != 4 }'
result $? 'bench: t/s of all tokens lies between that of the prompts and that of the answers'
field bytes_per_token | awk '{ b[NR] = $1 } END { exit !(b[4] < b[3] && b[3] < b[2]) }'
result $? 'bench: the more timelines, the fewer bytes per token'

# ---- CSV ----

check 'bench --format csv, no prefill row' 0 '~*n_prompt,n_gen,n_depth,n_streams,*"tg4",0,4,0,1,*' \
    '' bench -q -p 0 -n 4 -r 1 --format csv
[ "$(wc -l <out)" = 2 ]
result $? 'bench: a line of names, a line of values'
[ "$(sed 's/"[^"]*"//g;s/[^,]//g' out | sort -u | wc -l)" = 1 ]
result $? 'bench: as many values as names'
MOXIE_OUTPUT=answers.jsonl check "bench: what batch's --output is in the environment" 0 '~*tg4*' '' \
    bench -q -p 0 -n 4 -r 1 --output csv

# ---- wrong usage ----

usage 'bench: nothing to do' "nothing to measure*" bench -p 0 -n 0
usage 'bench: bad list' "option -p: 'x' *" bench -p 1,x
usage 'bench: empty item' "option -t: '' *" bench -t 1,
usage 'bench: unknown cache type' "option -ctk: 'q4_0' *f16, f32 or q8_0*" bench -ctk f16,q4_0
usage 'bench: no timeline' "option -npl: '0' *from 1 to *" bench -npl 0
usage 'bench: timelines without an answer' "option -ntg: '0' *from 1 to *" bench -npl 2 -ntg 0
usage 'bench: too many timelines' "option -npl: '100000' *" bench -npl 100000
ones=1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1
usage 'bench: too many rows' "the lists combine to * rows*" bench -p $ones -d $ones -t $ones

echo "1..$(cat "$tmp/.count")"
