#!/bin/sh
# bench-vs.sh: moxie beside a peer of llama.cpp's family: the same file, the same threads, in turns.
#
#   sh tools/bench-vs.sh FOLDER MODEL [options]     sh tools/bench-vs.sh --help
#
# FOLDER holds the peer's llama-bench, llama-batched-bench and llama-completion. What is missing, or
# fails with this model, costs its rows and nothing else; the notes below the table say why. The
# table (Markdown) goes to standard output, progress to standard error.
#
# How it measures. A round is one timed run of each program, and the one that begins alternates, so
# that a neighbour who comes or goes meets both. Cells are medians over the rounds; the ratio's
# spread is that of the rounds. Both programs warm up by themselves before they measure. Speeds are
# what the programs report of themselves; time to first token and memory are taken from outside, in
# the same way for both. `moxie bench` measures the ceilings in each round: the read bandwidth, over
# the bytes that a token reads, and the int8 peak, over the products that a token takes.
set -uf

moxie=${MOXIE:-./moxie}
here=$(dirname "$0")
name=llama.cpp
rounds=5
rows_known=tg,pp512,pp32,depth,pl8,pl32,ttft,rss
rows=$rows_known
threads=
peer_args=
moxie_args=
json=
line=
gen=128         # tokens of a decode row
depth=4096      # tokens before it, in the row `depth`
depth_gen=32    # tokens of that row
depth_reps=3    # samples of it from one start, which has to fill the context first
stream_prompt=32
stream_gen=128  # tokens of each stream
rss_prompt=512
rss_gen=64
threads_max=256 # of moxie

usage()
{
    cat <<'EOF'
usage: sh tools/bench-vs.sh FOLDER MODEL [options]

FOLDER holds a peer's binaries: llama-bench, llama-batched-bench, llama-completion.

  -r, --rounds N      timed runs of each program in turns (default 5)
  --rows LIST         of tg,pp512,pp32,depth,pl8,pl32,ttft,rss (default: all)
                        tg     decode from an empty context
                        ppN    prefill of N tokens
                        depth  decode at 4096 tokens of context, or what the model has
                        plN    N streams decoding together
                        ttft   exec to first byte on standard output, flags as they are by default
                        rss    peak resident memory, beside the file and the context
  --threads LIST      tg and ppN for each of them, the other rows for the last
                      (default: 1, and one for each core)
  --quick             shorter rows: 32 tokens decoded, 1024 of context; a mixture of experts of
                      4 GB takes some 12 minutes on two cores then, instead of 20
  --name NAME         of the peer (default: llama.cpp)
  --peer-args ARGS    for each of its programs, as "-rtr 1"
  --moxie-args ARGS   for each command of moxie
  --json FILE         every sample too
  --line FILE         adds a line with the ratios to a table of several models: decode with the
                      first and with the last number of threads, pp512, pp32, depth, pl8, pl32,
                      ttft, rss; and the share of the bandwidth that decoding uses

MOXIE names the program to measure (default: ./moxie). Exit codes: 0 done, 2 wrong usage, 3 a model
or a moxie that cannot be run.
EOF
}

die() { echo "bench-vs.sh: $2" >&2; exit "$1"; }
say() { printf '%s\n' "$*" >&2; }

# whole NAME VALUE MIN MAX
whole()
{
    case $2 in
    '' | *[!0-9]* | ???????*) ;;
    *) [ "$2" -lt "$3" ] || [ "$2" -gt "$4" ] || return 0 ;;
    esac
    die 2 "$1: '$2' is not a whole number from $3 to $4"
}

# each_part COMMAND...: with each part of the model as its last argument
each_part()
{
    case $model in
    *-00001-of-[0-9][0-9][0-9][0-9][0-9].gguf) ;;
    *) "$@" "$model"; return ;;
    esac
    n_=${model##*-of-} i_=0
    n_=${n_%.gguf}
    while [ $i_ -lt "$n_" ]; do
        i_=$((i_ + 1))
        "$@" "${model%-00001-of-*}$(printf -- '-%05d-of-%s.gguf' $i_ "$n_")"
    done
}

# keeps FILE PART: that PART is not what will be written
keeps() { [ ! "$1" -ef "$2" ] || die 2 "$1: is the model, and would be overwritten; name another file"; }

# ---- options -------------------------------------------------------------------------------------

folder='' model='' row='' t=''
while [ $# -gt 0 ]; do
    case $1 in
    -h | --help) usage; exit 0 ;;
    --quick) gen=32 depth=1024 stream_gen=32; shift; continue ;;
    -r | --rounds | --rows | --threads | --name | --peer-args | --moxie-args | --json | --line)
        [ $# -gt 1 ] || die 2 "$1: a value is missing; see --help" ;;
    -*) die 2 "unknown option '$1'; see --help" ;;
    *)
        [ -z "$model" ] || die 2 "unexpected argument '$1'; expected FOLDER MODEL [options]"
        [ -z "$folder" ] && folder=$1 || model=$1
        shift
        continue ;;
    esac
    case $1 in
    -r | --rounds) rounds=$2 ;;
    --rows) rows=$2 ;;
    --threads) threads=$2 ;;
    --name) name=$2 ;;
    --peer-args) peer_args=$2 ;;
    --moxie-args) moxie_args=$2 ;;
    --json) json=$2 ;;
    --line) line=$2 ;;
    esac
    shift 2
done
[ -n "$model" ] || die 2 "expected FOLDER MODEL [options]; see --help"
[ -d "$folder" ] || die 2 "$folder: not a folder; expected the one with the peer's llama-bench"
[ -e "$folder/llama-bench" ] || [ -e "$folder/llama-batched-bench" ] || [ -e "$folder/llama-completion" ] ||
    die 2 "$folder: no llama-bench, llama-batched-bench or llama-completion in it"
[ -r "$model" ] || die 3 "$model: no such file, or not readable; expected a GGUF file"
whole --rounds "$rounds" 1 1000
row=
for row in $(echo "$rows" | tr ',' ' '); do
    case ,$rows_known, in *,"$row",*) ;; *) die 2 "--rows: '$row' is none of $rows_known" ;; esac
done
[ -n "$row" ] || die 2 "--rows: the list is empty"
if [ -z "$threads" ]; then
    threads=$(nproc)
    [ "$threads" -le $threads_max ] || threads=$threads_max
    [ "$threads" = 1 ] || threads=1,$threads
fi
threads=$(echo "$threads" | tr ',' ' ')
t=
for t in $threads; do whole --threads "$t" 1 $threads_max; done
[ -n "$t" ] || die 2 "--threads: the list is empty"
all=$t # the last
case $(date +%N) in
*[!0-9]* | '') die 2 'date +%N gives no nanoseconds here; expected that of GNU' ;;
esac
command -v "$moxie" >/dev/null ||
    die 3 "$moxie: no such program, or not executable; build it with make, or name it in MOXIE"

child= # what runs beside this script
tmp=$(mktemp -d) || die 1 "no temporary folder"
trap '[ -z "$child" ] || { kill "$child"; wait "$child"; }; rm -rf "$tmp"' EXIT
trap 'exit 130' INT TERM
: >"$tmp/samples" # ROW THREADS WHAT VALUE; WHAT: moxie, peer, or a field of moxie's
: >"$tmp/notes"
for file in "$json" "$line"; do
    [ -z "$file" ] || each_part keeps "$file"
    [ -z "$file" ] || (: >>"$file") 2>/dev/null || die 2 "$file: cannot be written"
done

wants() { case ,$rows, in *,"$1",*) return 0 ;; esac; return 1; }
any() { for r_; do wants "$r_" && return 0; done; return 1; }

# ---- running -------------------------------------------------------------------------------------

# moxie ARG...: its output in $tmp/out. It must work.
run_moxie()
{
    # shellcheck disable=SC2086  # a list of arguments
    "$moxie" "$@" $moxie_args >"$tmp/out" 2>"$tmp/err" </dev/null ||
        die 3 "$moxie $1: $(tail -n 1 "$tmp/err")"
}

# note_failure CODE ROW PROGRAM: what it said of itself
note_failure()
{
    why=$(grep -i error "$tmp/err" | tail -n 1)
    : "${why:=$(tail -n 1 "$tmp/err")}"
    echo "$2 $3 failed: ${why:-exit code $1}" >>"$tmp/notes"
}

# peer_has PROGRAM ROW: it is there, and has not failed in this row
peer_has()
{
    grep -q "^$2 " "$tmp/notes" && return 1
    [ -x "$folder/$1" ] && return 0
    echo "$2 $1 is not in the folder" >>"$tmp/notes"
    return 1
}

# run_peer PROGRAM ROW ARG...: its output in $tmp/out
run_peer()
{
    program=$1 row=$2
    shift 2
    peer_has "$program" "$row" || return
    # shellcheck disable=SC2086  # a list of arguments
    "$folder/$program" "$@" $peer_args >"$tmp/out" 2>"$tmp/err" </dev/null && return 0
    note_failure $? "$row" "$program"
    return 1
}

# in_turns ROUND WHAT ARG...: WHAT_moxie ARG... and WHAT_peer ARG..., which alternate in going first
in_turns()
{
    round=$1 what=$2
    shift 2
    if [ $((round % 2)) = 1 ]; then
        "${what}_moxie" "$@"
        "${what}_peer" "$@"
    else
        "${what}_peer" "$@"
        "${what}_moxie" "$@"
    fi
}

# progress ROUND OF TEXT
began=$(date +%s)
progress() { say "$(($(date +%s) - began)) s: round $1 of $2, $3"; }

# members THREADS WHO: of the JSON in $tmp/out, an array of objects with a member on each line, adds
# the samples of each row, and of moxie what there is to say about the ceiling.
members()
{
    awk -v t="$1" -v who="$2" -v build="$tmp/build" '
        { line = $0 }
        /"samples_ts": *\[/ { in_list = 1; samples = ""; sub(/.*\[/, "", line) }
        in_list {
            if (line ~ /\]/) in_list = 0
            gsub(/[],]/, " ", line)
            samples = samples " " line
            next
        }
        /^ *"[a-z0-9_]+":/ {
            key = $1
            gsub(/[":]/, "", key)
            v[key] = $2
            sub(/,$/, "", v[key])
        }
        /^ *}/ {
            row = v["n_depth"] > 0 ? "depth" : v["n_gen"] > 0 ? "tg" : "pp" v["n_prompt"]
            if (v["n_streams"] > 1) { row = "pl" v["n_streams"]; samples = v["gen_ts"] }
            n = split(samples, s, " ")
            for (i = 1; i <= n; i++) print row, t, who, s[i]
            if (who == "moxie") {
                split("bandwidth_gbs gen_bytes_per_token kv_bytes_per_token int8_gmacs " \
                    "macs_per_token context_bytes", f, " ")
                for (i = 1; i in f; i++) if (f[i] in v) print row, t, f[i], v[f[i]]
            }
            if (who == "peer" && v["build_commit"] ~ /[0-9]/) print v["build_commit"] >build
            split("", v)
            samples = ""
        }' "$tmp/out" >>"$tmp/samples"
}

# ---- rows ----------------------------------------------------------------------------------------

# bench: the rows tg and ppN for one number of threads
bench_moxie()
{
    run_moxie bench -m "$model" -q -o json -r 1 -t "$1" -p "$prompts" -n "$gens"
    members "$1" moxie
}
bench_peer()
{
    run_peer llama-bench decode/prefill -m "$model" -o json -r 1 -t "$1" -p "$prompts" \
        -n "$gens" && members "$1" peer
}

depth_moxie()
{
    run_moxie bench -m "$model" -q -o json -r $depth_reps -t "$1" -p 0 -n $depth_gen -d "$depth"
    members "$1" moxie
}
depth_peer()
{
    run_peer llama-bench depth -m "$model" -o json -r $depth_reps -t "$1" -p 0 -n $depth_gen \
        -d "$depth" && members "$1" peer
}

streams_moxie()
{
    run_moxie bench -m "$model" -q -o json -r 1 -t "$1" -p 0 -n 0 -npl "$streams" \
        -npp $stream_prompt -ntg $stream_gen
    members "$1" moxie
}
streams_peer()
{
    n_ctx=$((${streams##*,} * (stream_prompt + stream_gen)))
    run_peer llama-batched-bench streams -m "$model" -t "$1" -npl "$streams" -npp $stream_prompt \
        -ntg $stream_gen -c $n_ctx --output-format jsonl || return
    sed -n 's/.*"pl": *\([0-9]*\),.*"speed_tg": *\([0-9.e+]*\).*/pl\1 '"$1"' peer \2/p' "$tmp/out" \
        >>"$tmp/samples"
}

# finish: waits for the child; its exit code
finish()
{
    wait "$child"
    code_=$?
    child=
    return $code_
}

# unseen TEXT: fails the program in $tmp/err, which ended well but gave nothing to measure
unseen() { echo "error: $1" >>"$tmp/err"; return 1; }

# first_byte ROW THREADS WHO COMMAND...: adds the milliseconds from here to the command's first byte
first_byte()
{
    key=$1\ $2\ $3
    shift 3
    rm -f "$tmp/pipe"
    mkfifo "$tmp/pipe"
    t0=$(date +%s%N)
    "$@" >"$tmp/pipe" 2>"$tmp/err" </dev/null &
    child=$!
    exec 3<"$tmp/pipe"
    dd bs=1 count=1 <&3 >"$tmp/byte" 2>"$tmp/dd"
    t1=$(date +%s%N)
    cat <&3 >"$tmp/rest"
    exec 3<&-
    finish || return
    [ -s "$tmp/byte" ] || unseen 'it wrote nothing' || return
    echo "$key $(((t1 - t0) / 1000))e-3" >>"$tmp/samples"
}
ttft_moxie()
{
    # shellcheck disable=SC2086
    first_byte ttft "$1" moxie \
        "$moxie" run -m "$model" --raw -n 1 -p "$short" --seed 1 $moxie_args ||
        die 3 "$moxie run: $(tail -n 1 "$tmp/err")"
}
ttft_peer()
{
    peer_has llama-completion ttft || return
    # shellcheck disable=SC2086
    first_byte ttft "$1" peer \
        "$folder/llama-completion" -m "$model" -no-cnv -n 1 -p "$short" --seed 1 \
        --no-display-prompt $peer_args ||
        note_failure $? ttft llama-completion
}

# peak WHO THREADS COMMAND...: adds the MiB that it had resident at most, by a look at its VmHWM
# twenty times a second
peak()
{
    key="rss $2 $1" kb=0
    shift 2
    "$@" >"$tmp/rest" 2>"$tmp/err" </dev/null &
    child=$!
    status=/proc/$child/status
    while hwm=$(sed -n 's/^VmHWM:[^0-9]*\([0-9]*\).*/\1/p' "$status" 2>"$tmp/dd"); do
        [ -n "$hwm" ] || break # it has ended
        kb=$hwm
        sleep 0.05
    done
    finish || return
    [ "$kb" -gt 0 ] || unseen 'it ended before its memory was seen' || return
    echo "$key $kb" | awk '{ $4 /= 1024; print }' >>"$tmp/samples"
}
rss_moxie()
{
    # shellcheck disable=SC2086
    peak moxie "$1" "$moxie" run -m "$model" --raw -n $rss_gen -c "$rss_ctx" -f "$tmp/long" \
        -t "$1" --seed 1 $moxie_args || die 3 "$moxie run: $(tail -n 1 "$tmp/err")"
}
rss_peer()
{
    peer_has llama-completion rss || return
    # shellcheck disable=SC2086
    peak peer "$1" "$folder/llama-completion" -m "$model" -no-cnv -n $rss_gen -c "$rss_ctx" \
        -f "$tmp/long" -t "$1" --seed 1 --no-display-prompt $peer_args ||
        note_failure $? rss llama-completion
}

# text_of N: a text of N tokens
text_of()
{
    awk 'BEGIN { while (i++ < 600) print "It was one of those days when nothing happened." }' |
        "$moxie" tokenize -m "$model" --no-bos -f - >"$tmp/ids" 2>"$tmp/err" ||
        die 3 "$moxie tokenize: $(tail -n 1 "$tmp/err")"
    cut -d ' ' -f "1-$1" "$tmp/ids" | "$moxie" detokenize -m "$model" --tokens -
}

# ---- facts ---------------------------------------------------------------------------------------

run_moxie inspect --json "$model"
n_ctx_model=$(sed -n 's/^.*"[^"]*\.context_length": *\([0-9]*\).*/\1/p' "$tmp/out" | head -n 1)
: "${n_ctx_model:=4096}"
[ $((depth + depth_gen)) -le "$n_ctx_model" ] || depth=$((n_ctx_model - depth_gen))
rss_ctx=4096
[ $rss_ctx -le "$n_ctx_model" ] || rss_ctx=$n_ctx_model
file_bytes=$(each_part cat | wc -c) # and into the page cache

prompts=0 gens=0 streams=
! wants pp512 || prompts=512
! wants pp32 || prompts=$prompts,32
prompts=${prompts#0,}
! wants tg || gens=$gen
! wants pl8 || streams=8
! wants pl32 || streams=$streams,32
streams=${streams#,}

read -r load _ </proc/loadavg || load=
awk -v load="${load:-0}" 'BEGIN { exit !(load > 0.5) }' &&
    say "other programs are at work here (load $load): speeds do not hold, nor ratios where threads wait for each other"

# ---- the run -------------------------------------------------------------------------------------

i=0
while [ $i -lt "$rounds" ]; do
    i=$((i + 1))
    if any tg pp512 pp32; then
        for t in $threads; do
            progress $i "$rounds" "decode and prefill, threads $t"
            in_turns $i bench "$t"
        done
    fi
    if [ -n "$streams" ]; then
        progress $i "$rounds" "$streams streams, threads $all"
        in_turns $i streams "$all"
    fi
done
if wants ttft; then
    short=$(text_of 8)
    ttft_moxie "$all" # what the first start of all finds cold
    grep -v '^ttft ' "$tmp/samples" >"$tmp/kept"
    mv "$tmp/kept" "$tmp/samples"
    i=0
    while [ $i -lt "$rounds" ]; do
        i=$((i + 1))
        progress $i "$rounds" 'time to first token'
        in_turns $i ttft "$all"
    done
    first_byte none 0 clock /bin/echo
fi
if wants depth; then
    n=$(((rounds + depth_reps - 1) / depth_reps))
    i=0
    while [ $i -lt $n ]; do
        i=$((i + 1))
        progress $i $n "decode at $depth tokens, threads $all"
        in_turns $i depth "$all"
    done
fi
if wants rss; then
    text_of $rss_prompt >"$tmp/long"
    progress 1 1 'memory'
    in_turns 1 rss "$all"
    run_moxie bench -m "$model" -q -o json -r 1 -t "$all" -p $((rss_prompt + rss_gen)) -n 0
    sed -n 's/^ *"context_bytes": *\([0-9]*\).*/rss '"$all"' context_bytes \1/p' "$tmp/out" \
        >>"$tmp/samples"
fi

# ---- the report ----------------------------------------------------------------------------------

run_moxie inspect "$model"
cpu=$(sed -n 's/^model name[^:]*: *//p' /proc/cpuinfo 2>/dev/null | head -n 1)
{
    echo "host $(uname -m), ${cpu:-unknown processor}, $(nproc) cores," \
        "load ${load:-unknown} at the start, $(date +%Y-%m-%d)"
    echo "model $(basename "$model"), $file_bytes bytes"
    echo "moxie $("$moxie" --version | head -n 1)${moxie_args:+ $moxie_args}"
    echo "peer $name$(sed -n 's/"\(.*\)"/ \1/p' "$tmp/build" 2>/dev/null)${peer_args:+ $peer_args}"
} >"$tmp/facts"

report() # FORM
{
    awk -v form="$1" -v name="$name" -v rows="$rows" -v threads="$threads" -v gen=$gen \
        -v depth="$depth" -v prompt=$stream_prompt -v stream_gen=$stream_gen \
        -v used=$((rss_prompt + rss_gen)) \
        -v file_bytes="$file_bytes" -f "$here/bench-vs.awk" "$tmp/facts" "$tmp/samples"
}

report md
sed 's/^\([^ ]*\) /No row `\1`: /; s/$/\./' "$tmp/notes"
[ -z "$json" ] || report json >"$json"
[ -z "$line" ] || report line >>"$line"
say "$(($(date +%s) - began)) s in all"
