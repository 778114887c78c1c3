#!/bin/sh
# run_tests.sh: run test programs that speak TAP, two at a time, and add up what they say.
#
#   sh tools/run_tests.sh LOGDIR COMMAND...      each COMMAND is one argument: "build/tests/golden tests/golden"
#
# A line per program, then the skipped tests with their reasons, the failures with their diagnostics, and
# as the last line `N passed, N failed[, N skipped]`. Exit code 1 when a test failed or none ran. A program
# that crashes, runs past TEST_SECONDS (default 240) or prints no complete plan is one failure more. Output
# stays in LOGDIR/NAME.out and .err.
set -u

if [ "${1:-}" = --one ]; then # the inner half, started by xargs: run job $3 = "NUMBER COMMAND"
    dir=$2
    job=${3%% *}
    command=${3#* }
    log=$dir/$job
    # shellcheck disable=SC2086  # a command and its arguments
    timeout -k 10 "${TEST_SECONDS:-240}" $command >"$log.out" 2>"$log.err" </dev/null
    code=$?
    awk -v name="$job" -v code="$code" -v err="$log.err" -f tools/tap.awk "$log.out" >"$log.sum"
    sed -n 's/^P //p' "$log.sum"
    exit 0
fi

dir=$1
shift
rm -rf "$dir"
mkdir -p "$dir"

# Job names are the programs' names; a second run of the same program gets a number.
for command; do
    name=$(basename "$(echo "${command#sh }" | cut -d ' ' -f 1)" .sh)
    n=
    while grep -q "^$name$n " "$dir/jobs" 2>/dev/null; do n=$((${n:-1} + 1)); done
    printf '%s%s %s\n' "$name" "$n" "$command" >>"$dir/jobs"
done
tr '\n' '\0' <"$dir/jobs" | xargs -0 -n 1 -P "${JOBS:-2}" sh "$0" --one "$dir"

while read -r job rest; do
    cat "$dir/$job.sum" 2>/dev/null || printf 'C 0 1 0\nF %s: did not run\n' "$job"
done <"$dir/jobs" | awk '
    /^C / { passed += $2; failed += $3; skipped += $4 }
    /^S / { skips = skips "  " substr($0, 3) "\n" }
    /^F / { fails = fails "  " substr($0, 3) "\n" }
    END {
        if (skips) printf "\nskipped:\n%s", skips
        if (fails) printf "\nfailed:\n%s", fails
        print ""
        printf "%d passed, %d failed", passed, failed
        if (skipped) printf ", %d skipped", skipped
        print ""
        exit failed > 0 || passed == 0
    }'
