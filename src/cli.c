/*
 * cli.c: the option parser: spellings, values and ranges, environment names, from rows. The help
 * pages are in cli_help.c, suggestions for unknown words in cli_near.c, man page and completions in
 * cli_man.c and cli_complete.c.
 *
 * The command line is read first, then the environment fills what it left, so that a broken
 * variable does no harm where the option is given. What it does not do: joined letters (-abc),
 * abbreviations of long names, values glued to a letter (-n5): they hide typing errors.
 */
#include "cli.h"

#include "cli_impl.h"

#include <assert.h>
#include <ctype.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define ROWS_MAX 64 /* of one command, all tables together */

/* ---- rows ------------------------------------------------------------------------------------ */

const struct cli_opt *cli_row(const struct cli_cmd *cmd, size_t i)
{
    for (size_t g = 0; g < CLI_GROUPS_MAX && cmd->opts[g]; g++) {
        for (const struct cli_opt *o = cmd->opts[g]; o->name; o++)
            if (i-- == 0) return o;
    }
    return NULL;
}

bool cli_has_word(const char *list, char separator, const char *word, size_t n)
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

const char *cli_spelling(const struct cli_opt *o, size_t i, char buf[SPELLING_BYTES_MAX])
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
    for (*i_row = 0; (o = cli_row(cmd, *i_row)) != NULL; ++*i_row) {
        const char *s;
        for (size_t i = 0; (s = cli_spelling(o, i, buf)) != NULL; i++)
            if (strlen(s) == n && memcmp(s, said, n) == 0) return o;
    }
    return NULL;
}

void cli_env_name(const struct cli_opt *o, char buf[SPELLING_BYTES_MAX])
{
    snprintf(buf, SPELLING_BYTES_MAX, "MOXIE_%s", o->name);
    for (char *p = buf; *p; p++) *p = *p == '-' ? '_' : (char)toupper((unsigned char)*p);
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
        snprintf(top, sizeof top, hi < 0x1p64 ? "%.0f" : "2^64-1", hi);
        return err_set(ERR_USAGE,
                       "%s: '%s' is not accepted; expected a whole number from %.0f to %s", said,
                       text, lo, top);
    }
    if (o->type == CLI_I32)
        *(int32_t *)field = (int32_t)v;
    else if (o->type == CLI_U32)
        *(uint32_t *)field = (uint32_t)n;
    else
        *(uint64_t *)field = negative ? 0 - n : n;
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
    if (!*text || !cli_has_word(o->words, '|', text, strlen(text)))
        return err_set(ERR_USAGE, "%s: '%s' is not accepted; expected one of %s", said, text,
                       o->words);
    *(const char **)field = text;
    return OK;
}

/* Flags get words only from the environment. */
static enum err set_flag(const char *said, const char *text, void *field)
{
    const bool on = cli_has_word("1|true|on|yes", '|', text, strlen(text));
    if (!on && !cli_has_word("0|false|off|no", '|', text, strlen(text)))
        return err_set(ERR_USAGE, "%s: '%s' is not accepted; expected 1 or 0", said, text);
    *(bool *)field = on;
    return OK;
}

static enum err add_item(const char *said, const char *text, struct cli_list *list)
{
    if (list->n == CLI_LIST_MAX)
        return err_set(ERR_USAGE, "%s: '%s' is one too many; expected at most %d of them", said,
                       text, CLI_LIST_MAX);
    list->s[list->n++] = text;
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
    case CLI_LIST:
        return add_item(said, text, field);
    case CLI_STR:
        break;
    }
    *(const char **)field = text;
    return OK;
}

const struct cli_opt *cli_find(const struct cli_opt *rows, const char *name)
{
    assert(rows);
    assert(name);
    for (; rows->name; rows++)
        if (strcmp(rows->name, name) == 0) return rows;
    return NULL;
}

enum err cli_set(const struct cli_opt *row, const char *said, const char *text, void *opts)
{
    assert(opts);
    if (row->type == CLI_LIST && !*text) {
        ((struct cli_list *)(void *)((char *)opts + row->offset))->n = 0;
        return OK;
    }
    return set_value(row, said, text, CLI_FROM_ARG, opts);
}

/* The items of a list, each in quotes. */
static size_t list_value(const struct cli_list *list, char *buf, size_t n_bytes)
{
    size_t n = 0;
    if (n_bytes > 0) buf[0] = '\0';
    for (size_t i = 0; i < list->n; i++) {
        const size_t n_left = n < n_bytes ? n_bytes - n : 0;
        n +=
            (size_t)snprintf(n_left ? buf + n : NULL, n_left, "%s\"%s\"", i ? " " : "", list->s[i]);
    }
    return n;
}

size_t cli_value(const struct cli_opt *row, const void *opts, char *buf, size_t n_bytes)
{
    assert(buf || n_bytes == 0);
    const void *const field = (const char *)opts + row->offset;
    int n = 0;
    switch (row->type) {
    case CLI_FLAG:
        n = snprintf(buf, n_bytes, "%s", *(const bool *)field ? "on" : "off");
        break;
    case CLI_U32:
        n = snprintf(buf, n_bytes, "%" PRIu32, *(const uint32_t *)field);
        break;
    case CLI_I32:
        n = snprintf(buf, n_bytes, "%" PRId32, *(const int32_t *)field);
        break;
    case CLI_U64:
    case CLI_SIZE:
        n = snprintf(buf, n_bytes, "%" PRIu64, *(const uint64_t *)field);
        break;
    case CLI_F32:
        n = snprintf(buf, n_bytes, "%g", (double)*(const float *)field);
        break;
    case CLI_LIST:
        return list_value(field, buf, n_bytes);
    case CLI_STR:
    case CLI_ENUM: {
        const char *const s = *(const char *const *)field;
        n = snprintf(buf, n_bytes, "%s", s ? s : "");
        break;
    }
    }
    assert(n >= 0);
    return (size_t)n;
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
    if (!o) return cli_unknown_option(p->cmd, arg, n);
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
        return err_set(ERR_USAGE, "unexpected argument '%s'; usage: moxie %s%s%s%s", arg,
                       p->cmd->name, p->cmd->opts[0] ? " [options]" : "", *p->cmd->args ? " " : "",
                       p->cmd->args);
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
    for (size_t i = 0; (o = cli_row(p->cmd, i)) != NULL; i++) {
        char name[SPELLING_BYTES_MAX], said[SPELLING_BYTES_MAX + 24];
        cli_env_name(o, name);
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
    for (size_t i = 0; (o = cli_row(cmd, i)) != NULL; i++) {
        assert(i < ROWS_MAX);
        const enum err err = o->def ? set_value(o, o->name, o->def, CLI_FROM_DEFAULT, opts) : OK;
        assert(err == OK); /* a default out of its own range is our mistake */
        (void)err;
    }
    const enum err err = take_args(&p, argc, argv, help);
    return err || *help ? err : take_environment(&p);
}
