# tap.awk: read the TAP of one test program, write records for run_tests.sh:
#   P text   progress line      C passed failed skipped   counts
#   S text   a skipped test     F text                    a failed test or one of its diagnostics
# Variables: name, code (exit code of the program), err (file with its standard error).
# cmocka writes a skipped test as "not ok N # SKIP", and a plan per group.

function fail(text) { fails = fails "F " name ": " text "\n" }

/^1\.\.[0-9]+/ {
    n_plan += substr($0, 4) + 0
    has_plan = 1
    if ($0 ~ /^1\.\.0.*# *[Ss][Kk][Ii][Pp]/) { skipped++; skips = skips "S " name ": " reason($0) "\n" }
    next
}
/^(not )?ok([ \t]|$)/ {
    n_seen++
    diagnose = 0
    if ($0 ~ /# *[Ss][Kk][Ii][Pp]/) {
        skipped++
        skips = skips "S " name ": " title($0) "\n"
    } else if ($1 == "ok") {
        passed++
    } else {
        failed++
        fail(title($0))
        diagnose = 8
    }
    next
}
/^Bail out!/ { failed++; fail($0); next }
diagnose > 0 { diagnose--; fail("    " $0) }

function title(line)
{
    sub(/^(not )?ok[ \t]*[0-9]*[ \t]*-?[ \t]*/, "", line)
    sub(/^# *[Ss][Kk][Ii][Pp] */, "", line)
    sub(/ *# *[Ss][Kk][Ii][Pp] */, ": ", line)
    return line
}
function reason(line) { sub(/^[^#]*# */, "", line); return line }

END {
    broken = ""
    if (code == 124 || code == 137) broken = "ran past its time limit or was killed"
    else if (code > 128) broken = "ended by signal " (code - 128)
    else if (!has_plan) broken = "no plan line (exit code " code ")"
    else if (n_plan != n_seen) broken = "planned " n_plan " tests, saw " n_seen
    else if (code != 0 && !failed) broken = "exit code " code " without a failed test"
    if (broken) {
        failed++
        fail(broken)
        while ((getline line < err) > 0) tail[n_err++] = line
        for (i = n_err > 12 ? n_err - 12 : 0; i < n_err; i++) fail("    " tail[i])
    }
    printf "P %-7s %s: %d passed", failed ? "FAILED" : "ok", name, passed
    if (failed) printf ", %d failed", failed
    if (skipped) printf ", %d skipped", skipped
    print ""
    printf "C %d %d %d\n", passed, failed, skipped
    printf "%s%s", skips, fails
}
