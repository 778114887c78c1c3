/*
 * cli.c: the option parser. Everything is derived from rows: spellings, values and ranges,
 * environment names, the help page and the suggestion for a misspelt word.
 *
 * The command line is read first, then the environment fills what it left, so that a broken
 * variable does no harm where the option is given. What it does not do: joined letters (-abc),
 * abbreviations of long names, values glued to a letter (-n5): they hide typing errors.
 */
#include "cli.h"

#include <assert.h>
#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define ROWS_MAX 64           /* of one command, all tables together */
#define SPELLING_BYTES_MAX 40 /* "--" and the longest name */
#define WORD_BYTES_MAX 32     /* longer words get no suggestion */
#define HELP_COLUMNS 80       /* width of a terminal that nobody made wider */
#define HELP_INDENT 30        /* where the explanations start */

/* Flags of llama.cpp that have no meaning here, and what to do instead. */
static const struct {
    const char *spellings, *sentence;
} foreign[] = {
    {"-ngl --gpu-layers --n-gpu-layers",
     "has no meaning here: this version computes on the CPU; leave it out"},
    {"-fa --flash-attn",
     "is not needed: attention never builds the full score matrix; leave it out"},
    {"--mlock", "is not needed: the model is mapped and used pages stay in memory; leave it out"},
    {"--no-mmap --mmap",
     "is not needed: the model is always mapped and never copied; leave it out"},
    {"-ub --ubatch-size", "has no meaning here: there is one batch size, set it with -b"},
    {"-tb --threads-batch",
     "has no meaning here: prefill and decode use the same threads, set them with -t"},
    {"-nkvo --no-kv-offload", "has no meaning here: the KV cache is in main memory; leave it out"},
    {"-sm --split-mode -ts --tensor-split -mg --main-gpu",
     "has no meaning here: this version computes on the CPU; leave it out"},
    {"--no-warmup", "has no meaning here: only `bench` warms up, and always does; leave it out"},
    {"--no-display-prompt", "is not needed: the prompt is never printed; leave it out"},
    {"-no-cnv --no-conversation", "is not needed: `run` answers one prompt and ends; leave it out"},
};

/* ---- rows ------------------------------------------------------------------------------------ */

/* The i-th row over all tables of a command; NULL after the last. */
static const struct cli_opt *row_at(const struct cli_cmd *cmd, size_t i)
{
    for (size_t g = 0; g < CLI_GROUPS_MAX && cmd->opts[g]; g++) {
        for (const struct cli_opt *o = cmd->opts[g]; o->name; o++)
            if (i-- == 0) return o;
    }
    return NULL;
}

/* Is word[0..n) one of the words of a list? */
static bool has_word(const char *list, char separator, const char *word, size_t n)
{
    const char separators[] = {separator, '\0'};
    while (*list) {
        const size_t len = strcspn(list, separators);
        if (len == n && memcmp(list, word, n) == 0) return true;
        list += len;
        if (*list) list++;
    }
    return false;
}

/* The i-th way to write an option: long name, letter, aliases. NULL after the last. */
static const char *spelling(const struct cli_opt *o, size_t i, char buf[SPELLING_BYTES_MAX])
{
    if (i == 0) {
        snprintf(buf, SPELLING_BYTES_MAX, "--%s", o->name);
        return buf;
    }
    if (o->letter && --i == 0) {
        snprintf(buf, SPELLING_BYTES_MAX, "-%c", o->letter);
        return buf;
    }
    for (const char *p = o->alias ? o->alias : ""; *p; p += strspn(p, " ")) {
        const size_t n = strcspn(p, " ");
        if (--i == 0) {
            snprintf(buf, SPELLING_BYTES_MAX, "%.*s", (int)n, p);
            return buf;
        }
        p += n;
    }
    return NULL;
}

/* The row that said[0..n) spells; its number in *i_row. */
static const struct cli_opt *find_row(const struct cli_cmd *cmd, const char *said, size_t n,
                                      size_t *i_row)
{
    char buf[SPELLING_BYTES_MAX];
    const struct cli_opt *o;
    for (*i_row = 0; (o = row_at(cmd, *i_row)) != NULL; ++*i_row) {
        const char *s;
        for (size_t i = 0; (s = spelling(o, i, buf)) != NULL; i++)
            if (strlen(s) == n && memcmp(s, said, n) == 0) return o;
    }
    return NULL;
}

/* "n-predict" -> "MOXIE_N_PREDICT" */
static void env_name(const struct cli_opt *o, char buf[SPELLING_BYTES_MAX])
{
    snprintf(buf, SPELLING_BYTES_MAX, "MOXIE_%s", o->name);
    for (char *p = buf; *p; p++) *p = *p == '-' ? '_' : (char)toupper((unsigned char)*p);
}

/* ---- did you mean ---------------------------------------------------------------------------- */

static size_t min_of(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Edits between two words: insert, remove, replace, swap neighbours (optimal string alignment).
 * Words too long to be one of ours are far from everything. */
static size_t distance(const char *a, const char *b)
{
    const size_t na = strlen(a), nb = strlen(b);
    if (na > WORD_BYTES_MAX || nb > WORD_BYTES_MAX) return SIZE_MAX;
    size_t row[3][WORD_BYTES_MAX + 1]; /* of prefixes of a: i - 2, i - 1, i, by turns */
    for (size_t j = 0; j <= nb; j++) row[0][j] = j;
    for (size_t i = 1; i <= na; i++) {
        size_t *const now = row[i % 3], *const up = row[(i + 2) % 3],
                      *const upper = row[(i + 1) % 3];
        now[0] = i;
        for (size_t j = 1; j <= nb; j++) {
            const bool same = a[i - 1] == b[j - 1];
            now[j] = min_of(min_of(up[j], now[j - 1]) + 1, up[j - 1] + !same);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                now[j] = min_of(now[j], upper[j - 2] + 1);
        }
    }
    return row[na % 3][nb];
}

/* How many edits a word may be away and still be meant. One letter is no hint at anything. */
static size_t near_enough(const char *word)
{
    const size_t n = strlen(word);
    return n < 2 ? 0 : 1 + n / 3;
}

const char *cli_nearest(const char *word, const char *const *names)
{
    assert(word);
    assert(names);
    const char *best = NULL;
    size_t d_best = near_enough(word) + 1;
    for (; *names; names++) {
        const size_t d = distance(word, *names);
        if (d >= d_best) continue;
        d_best = d;
        best = *names;
    }
    return best;
}

/* The nearest long spelling of any row to said, which has its dashes. */
static const char *nearest_option(const struct cli_cmd *cmd, const char *said,
                                  char best[SPELLING_BYTES_MAX])
{
    const char *const word = said + strspn(said, "-");
    size_t d_best = near_enough(word) + 1;
    best[0] = '\0';
    const struct cli_opt *o;
    for (size_t i_row = 0; (o = row_at(cmd, i_row)) != NULL; i_row++) {
        char buf[SPELLING_BYTES_MAX];
        const char *s;
        for (size_t i = 0; (s = spelling(o, i, buf)) != NULL; i++) {
            const char *const bare = s + strspn(s, "-");
            const size_t d = strlen(bare) < 2 ? SIZE_MAX : distance(word, bare);
            if (d >= d_best) continue;
            d_best = d;
            memcpy(best, buf, SPELLING_BYTES_MAX);
        }
    }
    return best[0] ? best : NULL;
}

static enum err unknown_option(const struct cli_cmd *cmd, const char *said, size_t n)
{
    for (size_t i = 0; i < sizeof foreign / sizeof foreign[0]; i++)
        if (has_word(foreign[i].spellings, ' ', said, n))
            return err_set(ERR_USAGE, "option %.*s %s", (int)n, said, foreign[i].sentence);
    char word[WORD_BYTES_MAX + 3] = "", best[SPELLING_BYTES_MAX];
    if (n < sizeof word) memcpy(word, said, n);
    if (nearest_option(cmd, word, best))
        return err_set(ERR_USAGE, "unknown option %.*s; did you mean %s? `moxie help %s` lists all",
                       (int)n, said, best, cmd->name);
    return err_set(ERR_USAGE, "unknown option %.*s; `moxie help %s` lists those there are", (int)n,
                   said, cmd->name);
}

/* ---- values ---------------------------------------------------------------------------------- */

bool cli_u64(const char *s, uint64_t *v)
{
    assert(s);
    assert(v);
    uint64_t sum = 0;
    if (!*s) return false;
    for (; *s; s++) {
        if (*s < '0' || *s > '9') return false;
        const uint64_t digit = (uint64_t)(*s - '0');
        if (sum > (UINT64_MAX - digit) / 10) return false;
        sum = sum * 10 + digit;
    }
    *v = sum;
    return true;
}

static bool has_range(const struct cli_opt *o)
{
    return o->min != 0 || o->max != 0;
}

static enum err set_int(const struct cli_opt *o, const char *said, const char *text, void *field)
{
    const double lo = has_range(o) ? o->min : o->type == CLI_I32 ? INT32_MIN : 0;
    const double hi = has_range(o)         ? o->max
                      : o->type == CLI_I32 ? INT32_MAX
                      : o->type == CLI_U32 ? UINT32_MAX
                                           : (double)UINT64_MAX;
    const bool negative = *text == '-';
    uint64_t n = 0;
    const bool is_number = cli_u64(text + negative, &n);
    const double v = negative ? -(double)n : (double)n;
    if (!is_number || v < lo || v > hi) {
        char top[24];
        snprintf(top, sizeof top, o->type == CLI_U64 && !has_range(o) ? "2^64-1" : "%.0f", hi);
        return err_set(ERR_USAGE,
                       "%s: '%s' is not accepted; expected a whole number from %.0f to %s", said,
                       text, lo, top);
    }
    if (o->type == CLI_I32)
        *(int32_t *)field = (int32_t)v;
    else if (o->type == CLI_U32)
        *(uint32_t *)field = (uint32_t)n;
    else
        *(uint64_t *)field = n;
    return OK;
}

static enum err set_float(const struct cli_opt *o, const char *said, const char *text, void *field)
{
    char *end;
    const double v = strtod(text, &end);
    const bool is_number =
        end != text && *end == '\0' && isfinite(v) && !isspace((unsigned char)*text);
    if (!is_number || (has_range(o) && (v < o->min || v > o->max)))
        return has_range(o)
                   ? err_set(ERR_USAGE, "%s: '%s' is not accepted; expected a number from %g to %g",
                             said, text, o->min, o->max)
                   : err_set(ERR_USAGE, "%s: '%s' is not a number", said, text);
    *(float *)field = (float)v;
    return OK;
}

/* 512M, 2GiB, 1.5G, 100000: powers of 1024. */
static enum err set_size(const char *said, const char *text, void *field)
{
    static const char units[] = "KMGTP";
    char *end;
    const size_t n_digits = strspn(text, "0123456789.");
    double v = strtod(text, &end);
    bool good = n_digits > 0 && end == text + n_digits; /* neither a sign, an exponent nor "inf" */
    const char *const unit = good && *end ? strchr(units, toupper((unsigned char)*end)) : NULL;
    if (unit) {
        end++;
        for (const char *u = units; u <= unit; u++) v *= 1024;
        if (*end == 'i' && end[1] == 'B') end++;
    }
    if (good && *end == 'B') end++;
    good = good && *end == '\0' && v < 9.2e18;
    if (!good)
        return err_set(
            ERR_USAGE,
            "%s: '%s' is not a size; expected one like 512M, 2G, 1.5GiB or a number of bytes", said,
            text);
    *(uint64_t *)field = (uint64_t)v;
    return OK;
}

static enum err set_enum(const struct cli_opt *o, const char *said, const char *text, void *field)
{
    if (!*text || !has_word(o->words, '|', text, strlen(text)))
        return err_set(ERR_USAGE, "%s: '%s' is not accepted; expected one of %s", said, text,
                       o->words);
    *(const char **)field = text;
    return OK;
}

/* Flags get words only from the environment. */
static enum err set_flag(const char *said, const char *text, void *field)
{
    const bool on = has_word("1|true|on|yes", '|', text, strlen(text));
    if (!on && !has_word("0|false|off|no", '|', text, strlen(text)))
        return err_set(ERR_USAGE, "%s: '%s' is not accepted; expected 1 or 0", said, text);
    *(bool *)field = on;
    return OK;
}

/* said: how the option was given, for messages: "option -n", "environment variable MOXIE_TEMP". */
static enum err set_value(const struct cli_opt *o, const char *said, const char *text,
                          enum cli_from from, void *opts)
{
    assert(text);
    void *const field = (char *)opts + o->offset;
    if (o->from) *(enum cli_from *)(void *)((char *)opts + o->from) = from;
    switch (o->type) {
    case CLI_FLAG:
        return set_flag(said, text, field);
    case CLI_U32:
    case CLI_I32:
    case CLI_U64:
        return set_int(o, said, text, field);
    case CLI_F32:
        return set_float(o, said, text, field);
    case CLI_SIZE:
        return set_size(said, text, field);
    case CLI_ENUM:
        return set_enum(o, said, text, field);
    case CLI_STR:
        break;
    }
    *(const char **)field = text;
    return OK;
}

/* ---- parsing --------------------------------------------------------------------------------- */

struct parse {
    const struct cli_cmd *cmd;
    void *opts;
    bool seen[ROWS_MAX]; /* rows that the command line gave */
    size_t n_pos;
};

/* argv[*i] is an option; takes its value, too. */
static enum err take_option(struct parse *p, int argc, char *const *argv, int *i)
{
    const char *const arg = argv[*i];
    const size_t n = arg[1] == '-' ? strcspn(arg, "=") : strlen(arg);
    size_t i_row;
    const struct cli_opt *const o = find_row(p->cmd, arg, n, &i_row);
    if (!o) return unknown_option(p->cmd, arg, n);
    p->seen[i_row] = true;
    char said[SPELLING_BYTES_MAX + 8];
    snprintf(said, sizeof said, "option %.*s", (int)n, arg);
    if (o->type == CLI_FLAG) {
        if (arg[n] == '=')
            return err_set(ERR_USAGE, "%s takes no value; remove '%s'", said, arg + n);
        return set_value(o, said, "1", CLI_FROM_ARG, p->opts);
    }
    if (arg[n] == '=') return set_value(o, said, arg + n + 1, CLI_FROM_ARG, p->opts);
    if (*i + 1 >= argc)
        return err_set(ERR_USAGE, "%s needs a value: %.*s %s", said, (int)n, arg, o->arg);
    return set_value(o, said, argv[++*i], CLI_FROM_ARG, p->opts);
}

static enum err take_positional(struct parse *p, const char *arg)
{
    if (p->n_pos == p->cmd->pos_max)
        return err_set(ERR_USAGE, "unexpected argument '%s'; usage: moxie %s [options] %s", arg,
                       p->cmd->name, p->cmd->args);
    const char **const pos = (const char **)(void *)((char *)p->opts + p->cmd->pos_offset);
    pos[p->n_pos++] = arg;
    return OK;
}

static enum err take_args(struct parse *p, int argc, char *const *argv, bool *help)
{
    bool only_positional = false;
    enum err err = OK;
    for (int i = 0; i < argc && err == OK; i++) {
        const char *const arg = argv[i];
        if (only_positional || arg[0] != '-' || arg[1] == '\0') {
            err = take_positional(p, arg);
        } else if (strcmp(arg, "--") == 0) {
            only_positional = true;
        } else if (strcmp(arg, "--help") == 0 || strcmp(arg, "-h") == 0) {
            *help = true;
            break;
        } else {
            err = take_option(p, argc, argv, &i);
        }
    }
    return err;
}

/* Empty variables count as unset. */
static enum err take_environment(struct parse *p)
{
    const struct cli_opt *o;
    for (size_t i = 0; (o = row_at(p->cmd, i)) != NULL; i++) {
        char name[SPELLING_BYTES_MAX], said[SPELLING_BYTES_MAX + 24];
        env_name(o, name);
        const char *const text = p->seen[i] ? NULL : getenv(name);
        if (!text || !*text) continue;
        snprintf(said, sizeof said, "environment variable %s", name);
        const enum err err = set_value(o, said, text, CLI_FROM_ENV, p->opts);
        if (err) return err;
    }
    return OK;
}

enum err cli_parse(const struct cli_cmd *cmd, int argc, char *const *argv, void *opts, bool *help)
{
    assert(cmd);
    assert(opts);
    assert(help);
    *help = false;
    memset(opts, 0, cmd->opts_bytes);
    struct parse p = {.cmd = cmd, .opts = opts};
    const struct cli_opt *o;
    for (size_t i = 0; (o = row_at(cmd, i)) != NULL; i++) {
        assert(i < ROWS_MAX);
        const enum err err = o->def ? set_value(o, o->name, o->def, CLI_FROM_DEFAULT, opts) : OK;
        assert(err == OK); /* a default out of its own range is our mistake */
        (void)err;
    }
    const enum err err = take_args(&p, argc, argv, help);
    return err || *help ? err : take_environment(&p);
}

/* ---- help ------------------------------------------------------------------------------------ */

void cli_wrap(FILE *out, const char *text, size_t column, size_t indent)
{
    bool at_start = true;
    for (const char *p = text; *p; p += strspn(p, " ")) {
        const size_t n = strcspn(p, " ");
        if (!at_start && column + 1 + n >= HELP_COLUMNS) {
            fprintf(out, "\n%*s", (int)indent, "");
            column = indent;
            at_start = true;
        }
        fprintf(out, "%s%.*s", at_start ? "" : " ", (int)n, p);
        column += n + !at_start;
        at_start = false;
        p += n;
    }
    fputc('\n', out);
}

/* "  -n, --n-predict N": the short spellings, the long name, the placeholder. */
static size_t help_left(const struct cli_opt *o, char *buf, size_t n_bytes)
{
    char s[SPELLING_BYTES_MAX];
    size_t n = (size_t)snprintf(buf, n_bytes, "  ");
    bool has_short = false;
    for (size_t i = 1; spelling(o, i, s); i++) {
        if (s[1] == '-') continue;
        n += (size_t)snprintf(buf + n, n_bytes - n, "%s, ", s);
        has_short = true;
    }
    if (!has_short) n += (size_t)snprintf(buf + n, n_bytes - n, "    ");
    n += (size_t)snprintf(buf + n, n_bytes - n, "--%s%s%s", o->name, o->arg ? " " : "",
                          o->arg ? o->arg : "");
    assert(n < n_bytes);
    return n;
}

static void help_row(const struct cli_opt *o, FILE *out)
{
    char left[HELP_COLUMNS], text[512];
    size_t column = help_left(o, left, sizeof left);
    fputs(left, out);
    if (column + 2 > HELP_INDENT) {
        fputc('\n', out);
        column = 0;
    }
    fprintf(out, "%*s", (int)(HELP_INDENT - column), "");
    size_t n = (size_t)snprintf(text, sizeof text, "%s", o->help);
    for (const char *w = o->words; w && *w;) { /* ": f16, f32" */
        const size_t len = strcspn(w, "|");
        n += (size_t)snprintf(text + n, sizeof text - n, "%s%.*s", w == o->words ? ": " : ", ",
                              (int)len, w);
        w += len + (w[len] == '|');
    }
    if (o->def) n += (size_t)snprintf(text + n, sizeof text - n, " (default %s)", o->def);
    assert(n < sizeof text);
    cli_wrap(out, text, HELP_INDENT, HELP_INDENT);
}

void cli_help(const struct cli_cmd *cmd, FILE *out)
{
    assert(cmd);
    assert(out);
    fprintf(out, "usage: moxie %s [options] %s\n\n", cmd->name, cmd->args);
    cli_wrap(out, cmd->text ? cmd->text : cmd->brief, 0, 0);
    fputs("\noptions:\n", out);
    const struct cli_opt *o;
    for (size_t i = 0; (o = row_at(cmd, i)) != NULL; i++) help_row(o, out);
    fputs("  -h, --help                  this page\n\n", out);
    char name[SPELLING_BYTES_MAX], text[192];
    o = row_at(cmd, 0);
    assert(o);
    env_name(o, name);
    snprintf(text, sizeof text, "Every option can also come from the environment: %s for --%s.",
             name, o->name);
    cli_wrap(out, text, 0, 0);
}
