# lib.sh: how a test of the command line is written. Read by the test scripts of this folder, which
# run in a temporary directory of their own. TAP. MOXIE names the program, ./moxie by default.
set -u

case ${MOXIE:=./moxie} in /*) ;; *) MOXIE=$PWD/$MOXIE ;; esac
here=$(cd "$(dirname "$0")" && pwd)
demo=$here/../../models/demo/tinymoe-q8_0.gguf
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp" || exit 1
unset $(env | sed -n 's/^\(MOXIE_[A-Z_0-9]*\)=.*/\1/p') NO_COLOR CLICOLOR
echo 0 >"$tmp/.count" # in a file, so that tests may run in a subshell

result() # EXIT_CODE NAME
{
    n=$(($(cat "$tmp/.count") + 1))
    echo $n >"$tmp/.count"
    if [ "$1" = 0 ]; then echo "ok $n - $2"; else echo "not ok $n - $2"; fi
}

skip() # NAME REASON
{
    n=$(($(cat "$tmp/.count") + 1))
    echo $n >"$tmp/.count"
    echo "ok $n - $1 # SKIP $2"
}

# await COMMAND...: until it succeeds. Fails after 60 seconds.
await()
{
    tries_=1200
    until "$@"; do
        tries_=$((tries_ - 1))
        [ $tries_ -gt 0 ] || return 1
        sleep 0.05
    done
}

# lines N FILE: are there N or more?
lines() { [ -e "$2" ] && [ "$(wc -l <"$2")" -ge "$1" ]; }

# stop_when CONDITION SIGNAL ARG...: runs moxie with ARG... and sends the signal as soon as the
# condition, a command, holds. The exit code is that of moxie; 137 when it came to nothing for a
# minute. In the foreground, because a shell's jobs in the background do not hear SIGINT.
stop_when()
{
    condition_=$1 signal_=$2
    shift 2
    rm -f pid
    {
        over_() { eval "$condition_" || ! kill -0 "$(cat pid)"; }
        await [ -s pid ]
        await over_ || signal_=KILL
        kill -s "$signal_" "$(cat pid)"
    } >killer 2>&1 &
    sh -c 'echo $$ >pid; exec "$0" "$@"' "$MOXIE" "$@"
    code_=$?
    wait $!
    return $code_
}

# like TEXT PATTERN: a shell pattern
like() { case $1 in $2) return 0 ;; esac; return 1; }

# check NAME CODE STDOUT STDERR ARG...: runs moxie with ARG... and the caller's standard input.
# STDOUT is the exact text (backslash escapes are expanded), @FILE that holds it, or ~PATTERN; STDERR
# is a pattern for all of it. What came stays in the files out and err.
check()
{
    name=$1 want_code=$2 want_out=$3 want_err=$4
    shift 4
    "$MOXIE" "$@" >out 2>err
    code=$?
    bad=
    [ $code = "$want_code" ] || bad="$bad exit code $code, expected $want_code;"
    case $want_out in
    @*) cmp -s out "${want_out#@}" || bad="$bad stdout differs from ${want_out#@};" ;;
    "~"*) like "$(cat out)" "${want_out#\~}" || bad="$bad stdout is not like $want_out;" ;;
    *) printf '%b' "$want_out" | cmp -s out - || bad="$bad stdout is '$(head -c 300 out)';" ;;
    esac
    like "$(cat err)" "$want_err" || bad="$bad stderr is '$(head -c 300 err)', expected $want_err;"
    [ -z "$bad" ]
    result $? "$name"
    [ -z "$bad" ] || echo "# $MOXIE $*:$bad"
}

# usage NAME STDERR ARG...: exit code 2, nothing on stdout, one line on stderr
usage() { name_=$1 err_=$2; shift 2; check "$name_" 2 '' "moxie: $err_" "$@" </dev/null; one_line; }
# input NAME STDERR ARG...: exit code 3
input() { name_=$1 err_=$2; shift 2; check "$name_" 3 '' "*moxie: $err_" "$@" </dev/null; }
one_line()
{
    [ "$(wc -l <err)" = 1 ]
    result $? "$name: one line on stderr"
}

# group CONTROLLER FILE: makes a control group of our own, $dir, of either version; FILE: one that the
# first version has
group()
{
    for dir in /sys/fs/cgroup/$1 /sys/fs/cgroup; do
        dir=$dir/moxie-test.$$
        mkdir "$dir" 2>/dev/null || continue
        [ -e "$dir/$1.max" ] || [ -e "$dir/$1.$2" ] && return 0
        rmdir "$dir"
    done
    return 1
}

# limit_memory BYTES: for that group
limit_memory()
{
    for file_ in memory.max memory.limit_in_bytes; do
        [ ! -e "$dir/$file_" ] || echo "$1" >"$dir/$file_"
    done
}

# inside ARG...: moxie with ARG... in that group, which is then removed; what came is in out and err
inside()
{
    sh -c 'echo $$ >"$0/cgroup.procs" && exec "$@"' "$dir" "$MOXIE" "$@" >out 2>err
    result $? "$1: runs in $dir"
    rmdir "$dir"
}

is_demo="moxie: no model given*demo model*childish stories*"
