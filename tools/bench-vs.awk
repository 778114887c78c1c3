# bench-vs.awk: what bench-vs.sh has measured, as a Markdown table, as one line of a table of
# several models, or as JSON.
#
#   awk -v form=md|line|json -v rows=LIST -v threads="1 2" -v ... -f bench-vs.awk FACTS SAMPLES
#
# FACTS: lines NAME TEXT. SAMPLES: lines ROW THREADS WHAT VALUE; WHAT is moxie or peer, or the name
# of a field of moxie's that a ceiling is made of. For POSIX awk.

function add(key, v) { at[key, ++n_of[key]] = v }

function median(key,   i, j, v, n)
{
    n = n_of[key]
    for (i = 1; i <= n; i++) {
        for (j = i; j > 1 && v[j - 1] > at[key, i]; j--) v[j] = v[j - 1]
        v[j] = at[key, i]
    }
    if (n == 0) return 0
    return n % 2 ? v[(n + 1) / 2] : (v[n / 2] + v[n / 2 + 1]) / 2
}

# "lowest..highest"
function range(key, n_digit,   i, lo, hi)
{
    lo = hi = at[key, 1]
    for (i = 2; i <= n_of[key]; i++) {
        if (at[key, i] < lo) lo = at[key, i]
        if (at[key, i] > hi) hi = at[key, i]
    }
    return sprintf("%." n_digit "f..%." n_digit "f", lo, hi)
}

# v with three digits that count, or all before the point
function number(v) { return sprintf("%." digits(v) "f", v) }
function digits(v) { return v >= 100 ? 0 : v >= 10 ? 1 : 2 }

function cell(key,   m)
{
    if (!n_of[key]) return "–"
    m = median(key)
    return number(m) (n_of[key] > 1 ? " (" range(key, digits(m)) ")" : "")
}

function title(row)
{
    if (row == "tg") return "decode, " gen " tokens (tok/s)"
    if (row == "depth") return "decode after " depth " tokens (tok/s)"
    if (row == "ttft") return "time to first token (ms)"
    if (row == "rss") return "peak memory, " used " tokens (MiB)"
    if (row ~ /^pp/) return "prefill, " substr(row, 3) " tokens (tok/s)"
    return substr(row, 3) " streams, decode, " prompt " + " stream_gen " tokens (tok/s)"
}

# The most that the machine allows by the i-th measurement of its ceilings; 0: unknown. Of memory
# the least that is needed.
function ceiling(row, key, i)
{
    if (row == "rss") return (file_bytes + at[key "context_bytes", 1]) / 1048576
    if (row ~ /^pp/) return over(at[key "int8_gmacs", i], at[key "macs_per_token", i])
    return over(at[key "bandwidth_gbs", i], at[key "gen_bytes_per_token", i])
}
function over(giga, each) { return each > 0 ? giga * 1e9 / each : 0 }

# Ratios of the rounds, ceilings, and shares of them.
function compare(row, t,   key, n, n_ceiling, i, c)
{
    key = row SUBSEP t SUBSEP
    n = n_of[key "moxie"]
    n_ceiling = row == "rss" ? 1 : n_of[key "bandwidth_gbs"]
    for (i = 1; i <= n; i++) {
        if (i <= n_of[key "peer"]) add(key "ratio", at[key "moxie", i] / at[key "peer", i])
        # one start may give several samples, and its ceilings count for all of them
        c = n_ceiling ? ceiling(row, key, int((i - 1) * n_ceiling / n) + 1) : 0
        if (c <= 0) continue
        add(key "ceiling", c)
        add(key "share", at[key "moxie", i] / c * 100)
    }
}

# Bold where moxie loses: of speeds below 1, of time and memory above it.
function ratio(row, t,   key, r)
{
    key = row SUBSEP t SUBSEP
    if (!n_of[key "ratio"]) return "–"
    r = sprintf("%.2f", median(key "moxie") / median(key "peer"))
    if (row == "ttft" || row == "rss" ? r > 1 : r < 1) return "**" r "**"
    return r
}

function share(row, t,   key)
{
    key = row SUBSEP t SUBSEP "share"
    return n_of[key] ? sprintf("%.0f %%", median(key)) : "–"
}

function print_row(row, t,   key)
{
    key = row SUBSEP t SUBSEP
    printf "| %s | %s ", title(row), (row == "ttft" ? "default" : t)
    printf "| %s | %s ", cell(key "moxie"), cell(key "peer")
    printf "| %s | %s ", ratio(row, t), (n_of[key "ratio"] > 1 ? range(key "ratio", 2) : "–")
    printf "| %s ", (n_of[key "ceiling"] ? number(median(key "ceiling")) : "–")
    printf "| %s |\n", share(row, t)
}

function ceilings(   i, j, key, said)
{
    for (i = 1; i <= n_thread; i++) {
        for (j = 1; j <= n_row; j++) {
            key = row_of[j] SUBSEP thread_of[i] SUBSEP
            if (!n_of[key "bandwidth_gbs"]) continue
            printf "%s%.1f GB/s and %.0f int8 GMAC/s", (said++ ? ", " : "Ceilings: "),
                median(key "bandwidth_gbs"), median(key "int8_gmacs")
            printf " with %d thread%s", thread_of[i], (thread_of[i] == 1 ? "" : "s")
            break
        }
    }
    if (said) print " (medians of the rounds); of memory, the file and the context in use."
}

# What a token late in the context takes longer than an early one goes to reading the cache.
function cache_speed(   t, late, early, bytes, seconds, speed)
{
    t = thread_of[n_thread]
    late = "depth" SUBSEP t SUBSEP
    early = "tg" SUBSEP t SUBSEP
    if (!n_of[late "moxie"] || !n_of[early "moxie"] || !n_of[late "bandwidth_gbs"]) return
    bytes = median(late "kv_bytes_per_token") - median(early "kv_bytes_per_token")
    seconds = 1 / median(late "moxie") - 1 / median(early "moxie")
    if (seconds <= 0) return
    speed = bytes / seconds / 1e9
    printf "The cache is read at %.1f GB/s, %.0f %% of the bandwidth: by what a token after %d ",
        speed, speed / median(late "bandwidth_gbs") * 100, depth
    print "takes longer than one in an empty context."
}

function print_md(   i, j, clock)
{
    printf "%s; %s; %s, %s\n\n", fact["model"], fact["host"], fact["moxie"], fact["peer"]
    printf "| | threads | moxie | %s | ratio | of the rounds | ceiling | reached |\n", name
    print "|---|--:|--:|--:|--:|--:|--:|--:|"
    for (i = 1; i <= n_row; i++)
        for (j = 1; j <= n_thread; j++)
            if (j == n_thread || row_of[i] ~ /^(tg|pp)/) print_row(row_of[i], thread_of[j])
    print ""
    ceilings()
    cache_speed()
    clock = "none" SUBSEP 0 SUBSEP "clock"
    if (n_of[clock])
        printf "Times from exec to first byte hold %.0f ms that a shell takes.\n", at[clock, 1]
}

# The ratios that a table of several models shows, and how much of the bandwidth decoding uses.
function print_line(   i, t, n, list)
{
    t = thread_of[n_thread]
    sub(/\.gguf,.*/, "", fact["model"])
    printf "| %s | %s ", fact["model"], ratio("tg", thread_of[1])
    n = split("tg pp512 pp32 depth pl8 pl32 ttft rss", list, " ")
    for (i = 1; i <= n; i++) printf "| %s ", ratio(list[i], t)
    printf "| %s |\n", share("tg", t)
}

function quoted(s) { gsub(/[\\"]/, "\\\\&", s); return "\"" s "\"" }

function print_json(   i, j, k, part)
{
    printf "{"
    for (k in fact) printf "%s:%s,", quoted(k), quoted(fact[k])
    printf "\"samples\":["
    for (i = 1; i <= n_key; i++) {
        split(key_of[i], part, SUBSEP)
        printf "%s\n{\"row\":\"%s\",\"threads\":%s,", (i > 1 ? "," : ""), part[1], part[2]
        printf "\"what\":\"%s\",\"values\":[", part[3]
        for (j = 1; j <= n_of[key_of[i]]; j++) printf "%s%s", (j > 1 ? "," : ""), at[key_of[i], j]
        printf "]}"
    }
    print "\n]}"
}

FNR == NR { k = $1; sub(/^[^ ]* /, ""); fact[k] = $0; next }
$4 + 0 > 0 { # what is not was not measured
    key = $1 SUBSEP $2 SUBSEP $3
    if (!(key in n_of)) key_of[++n_key] = key
    add(key, $4 + 0)
}
END {
    n_row = split(rows, row_of, ",")
    n_thread = split(threads, thread_of, " ")
    for (i = 1; i <= n_row; i++)
        for (j = 1; j <= n_thread; j++) compare(row_of[i], thread_of[j])
    if (form == "json") print_json()
    else if (form == "line") print_line()
    else print_md()
}
