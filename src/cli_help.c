/*
 * cli_help.c: help pages, from the same rows as the parser, as wide as the terminal allows.
 */
#include "base/ui.h"
#include "cli_impl.h"

#include <assert.h>
#include <string.h>

#define COLUMNS_LEAST 40 /* narrower terminals fold the lines themselves */
#define COLUMNS_MOST 100 /* longer lines are hard to read */
#define COLUMNS_WIDE 64  /* from here on explanations stand beside their options */
#define INDENT_WIDE 30   /* where they start then */
#define INDENT_NARROW 8

const struct cli_exit cli_exits[] = {
    {0, "done"},
    {1, "failed while running"},
    {2, "wrong usage"},
    {3, "bad model or input"},
    {4, "not enough memory"},
    {130, "interrupted"},
    {0},
};

const struct cli_opt cli_help_row = {"help", 'h', CLI_FLAG, .help = "this page"};

static size_t columns_of(FILE *out)
{
    const size_t n = ui_columns(out);
    return n < COLUMNS_LEAST ? COLUMNS_LEAST : n > COLUMNS_MOST ? COLUMNS_MOST : n;
}

/* Characters of UTF-8. */
static size_t width(const char *s, size_t n_bytes)
{
    size_t n = 0;
    for (size_t i = 0; i < n_bytes; i++) n += ((unsigned char)s[i] & 0xc0) != 0x80;
    return n;
}

void cli_wrap(FILE *out, const char *text, size_t column, size_t indent)
{
    assert(out);
    assert(text);
    const size_t n_columns = columns_of(out);
    bool at_start = true;
    for (const char *p = text;; p++) {
        const size_t n = strcspn(p, " ");
        if (!at_start && column + 1 + width(p, n) >= n_columns) {
            fprintf(out, "\n%*s", (int)indent, "");
            column = indent;
            at_start = true;
        }
        fprintf(out, "%s%.*s", at_start ? "" : " ", (int)n, p);
        column += width(p, n) + !at_start;
        at_start = false;
        p += n;
        if (!*p) break;
    }
    fputc('\n', out);
}

/* ---- the page of a command ------------------------------------------------------------------- */

char *cli_row_text(const struct cli_opt *o, char buf[ROW_TEXT_BYTES_MAX])
{
    assert(o->help);
    size_t n = (size_t)snprintf(buf, ROW_TEXT_BYTES_MAX, "%s", o->help);
    for (const char *w = o->words; w && *w;) { /* ": f16, f32" */
        const size_t len = strcspn(w, "|");
        n += (size_t)snprintf(buf + n, ROW_TEXT_BYTES_MAX - n, "%s%.*s",
                              w == o->words ? ": " : ", ", (int)len, w);
        w += len + (w[len] == '|');
    }
    if (o->type == CLI_LIST)
        n += (size_t)snprintf(buf + n, ROW_TEXT_BYTES_MAX - n, " (may be repeated)");
    if (o->def) n += (size_t)snprintf(buf + n, ROW_TEXT_BYTES_MAX - n, " (default %s)", o->def);
    assert(n < ROW_TEXT_BYTES_MAX);
    return buf;
}

/* "  -n, --n-predict N": the short spellings, the long name, the placeholder. */
static size_t put_left(const struct cli_opt *o, FILE *out)
{
    char s[SPELLING_BYTES_MAX];
    int n = 0;
    for (size_t i = 1; cli_spelling(o, i, s); i++)
        if (s[1] != '-') n += fprintf(out, "%s%s, ", n ? "" : "  ", s);
    if (n == 0) n = fprintf(out, "      ");
    n += fprintf(out, "--%s%s%s", o->name, o->arg ? " " : "", o->arg ? o->arg : "");
    return n > 0 ? (size_t)n : 0;
}

static void put_row(const struct cli_opt *o, FILE *out)
{
    char text[ROW_TEXT_BYTES_MAX];
    const size_t indent = columns_of(out) >= COLUMNS_WIDE ? INDENT_WIDE : INDENT_NARROW;
    size_t column = put_left(o, out);
    if (column + 2 > indent) {
        fputc('\n', out);
        column = 0;
    }
    fprintf(out, "%*s", (int)(indent - column), "");
    cli_wrap(out, cli_row_text(o, text), indent, indent);
}

void cli_usage(const struct cli_cmd *cmd, FILE *out)
{
    fprintf(out, "moxie %s%s%s%s\n", cmd->name, cmd->opts[0] ? " [options]" : "",
            *cmd->args ? " " : "", cmd->args);
}

void cli_help(const struct cli_cmd *cmd, FILE *out)
{
    assert(cmd);
    assert(out);
    fputs("usage: ", out);
    cli_usage(cmd, out);
    fputc('\n', out);
    cli_wrap(out, cmd->text ? cmd->text : cmd->brief, 0, 0);
    fputs("\noptions:\n", out);
    const struct cli_opt *o;
    for (size_t i = 0; (o = cli_row(cmd, i)) != NULL; i++) put_row(o, out);
    put_row(&cli_help_row, out);
    o = cli_row(cmd, 0);
    if (!o) return;
    char name[SPELLING_BYTES_MAX], text[192];
    cli_env_name(o, name);
    snprintf(text, sizeof text, "Every option can also come from the environment: %s for --%s.",
             name, o->name);
    fputc('\n', out);
    cli_wrap(out, text, 0, 0);
}

/* ---- all commands ---------------------------------------------------------------------------- */

void cli_help_all(const struct cli_cmd *const *cmds, FILE *out)
{
    assert(cmds);
    assert(out);
    fputs("usage: moxie COMMAND [options]\n\ncommands:\n", out);
    for (; *cmds; cmds++) {
        fprintf(out, "  %-12s ", (*cmds)->name);
        cli_wrap(out, (*cmds)->brief, 15, 15);
    }
    fputc('\n', out);
    cli_wrap(out,
             "`moxie help COMMAND` explains one, `moxie --version` prints the version. Without a "
             "model (-m MODEL) the one inside the program is used; it is small and writes childish "
             "stories, short ones best.",
             0, 0);
    char text[512];
    int n = 0;
    for (const struct cli_exit *e = cli_exits; e->what; e++)
        n += snprintf(text + n, sizeof text - (size_t)n, "%s%d %s",
                      e == cli_exits ? "Exit codes: " : ", ", e->code, e->what);
    assert(n < (int)sizeof text - 1);
    snprintf(text + n, sizeof text - (size_t)n, ".");
    fputc('\n', out);
    cli_wrap(out, text, 0, 0);
}
