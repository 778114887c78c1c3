/*
 * cli_man.c: the manual page, from the same rows as the parser, in the language of man(7).
 *
 * Tables of rows that several commands share are printed once, under COMMON OPTIONS, and named
 * where they apply.
 */
#include "cli_impl.h"
#include "version.h"

#include <assert.h>
#include <string.h>

#define LINE_COLUMNS 72 /* of the page's source */

/* Text as it is: nothing in it is an escape or a typographic quote. */
static void put_text(const char *s, size_t n, FILE *out)
{
    static const char from[] = "\\-'`^~";
    static const char *const to[] = {"\\e", "\\-", "\\(aq", "\\(ga", "\\(ha", "\\(ti"};
    for (size_t i = 0; i < n; i++) {
        const char *const special = strchr(from, s[i]);
        if (special)
            fputs(to[special - from], out);
        else
            fputc(s[i], out);
    }
}

/* A paragraph; no line of it begins with what would be a request. */
static void put_lines(const char *s, FILE *out)
{
    size_t column = 0;
    for (; *s; s += strspn(s, " ")) {
        const size_t n = strcspn(s, " ");
        if (column > 0) {
            const bool is_long = column + 1 + n > LINE_COLUMNS;
            fputc(is_long ? '\n' : ' ', out);
            column = is_long ? 0 : column + 1;
        }
        if (column == 0 && *s == '.') fputs("\\&", out);
        put_text(s, n, out);
        column += n;
        s += n;
    }
    fputc('\n', out);
}

/* The first command that has a table; how many have it. */
static size_t users_of(const struct cli_cmd *const *cmds, const struct cli_opt *table,
                       const struct cli_cmd **first)
{
    size_t n = 0;
    *first = NULL;
    for (; *cmds; cmds++) {
        for (size_t g = 0; g < CLI_GROUPS_MAX && (*cmds)->opts[g]; g++) {
            if ((*cmds)->opts[g] != table) continue;
            if (n++ == 0) *first = *cmds;
        }
    }
    return n;
}

static bool is_shared(const struct cli_cmd *const *cmds, const struct cli_opt *table)
{
    const struct cli_cmd *first;
    return users_of(cmds, table, &first) > 1;
}

static void put_bold(const char *s, FILE *out)
{
    fputs("\\fB", out);
    put_text(s, strlen(s), out);
    fputs("\\fR", out);
}

/* .TP, the spellings in bold, short ones first, the placeholder in italics, the explanation. */
static void put_row(const struct cli_opt *o, FILE *out)
{
    char s[SPELLING_BYTES_MAX], text[ROW_TEXT_BYTES_MAX];
    bool any = false;
    fputs(".TP\n", out);
    for (int is_long = 0; is_long < 2; is_long++) {
        for (size_t i = 0; cli_spelling(o, i, s); i++) {
            if ((s[1] == '-') != is_long) continue;
            if (any) fputs(", ", out);
            put_bold(s, out);
            any = true;
        }
    }
    if (o->arg) fprintf(out, " \\fI%s\\fR", o->arg);
    fputc('\n', out);
    put_lines(cli_row_text(o, text), out);
}

static void put_rows(const struct cli_opt *o, FILE *out)
{
    for (; o->name; o++) put_row(o, out);
}

static void put_names(const struct cli_opt *o, FILE *out)
{
    char s[SPELLING_BYTES_MAX];
    for (; o->name; o++) {
        fputc('\n', out);
        put_bold(cli_spelling(o, 0, s), out);
    }
}

static void put_command(const struct cli_cmd *const *cmds, const struct cli_cmd *cmd, FILE *out)
{
    size_t n_shared = 0;
    fprintf(out, ".SS \"moxie %s%s%s", cmd->name, cmd->opts[0] ? " [options]" : "",
            *cmd->args ? " " : "");
    put_text(cmd->args, strlen(cmd->args), out);
    fputs("\"\n", out);
    put_lines(cmd->text ? cmd->text : cmd->brief, out);
    for (size_t g = 0; g < CLI_GROUPS_MAX && cmd->opts[g]; g++) {
        if (!is_shared(cmds, cmd->opts[g]))
            put_rows(cmd->opts[g], out);
        else
            n_shared++;
    }
    if (n_shared == 0) return;
    fputs(".PP\nCommon options:", out);
    for (size_t g = 0; g < CLI_GROUPS_MAX && cmd->opts[g]; g++)
        if (is_shared(cmds, cmd->opts[g])) put_names(cmd->opts[g], out);
    fputc('\n', out);
}

static void put_common(const struct cli_cmd *const *cmds, FILE *out)
{
    fputs(".SH COMMON OPTIONS\n", out);
    for (size_t i = 0; cmds[i]; i++) {
        for (size_t g = 0; g < CLI_GROUPS_MAX && cmds[i]->opts[g]; g++) {
            const struct cli_cmd *first;
            const size_t n = users_of(cmds, cmds[i]->opts[g], &first);
            if (n > 1 && first == cmds[i]) put_rows(cmds[i]->opts[g], out);
        }
    }
    put_row(&cli_help_row, out);
    fputs(".PP\n"
          "A value is a word of its own or, after a long name, follows an equals\n"
          "sign.\n"
          "Of an option given twice the last one counts.\n"
          "After\n"
          ".B \\-\\-\n"
          "no word is an option.\n",
          out);
}

static const char head[] = ".SH NAME\n"
                           "moxie \\- run mixture-of-experts language models on the CPU\n"
                           ".SH SYNOPSIS\n"
                           ".B moxie\n"
                           ".I COMMAND\n"
                           ".RI [ options ]\n"
                           ".RI [ arguments ]\n"
                           ".br\n"
                           ".B moxie \\-\\-version\n"
                           ".RB [ \\-v ]\n"
                           ".SH DESCRIPTION\n"
                           "moxie opens language models in the GGUF format and writes text with\n"
                           "them, on the CPU.\n"
                           "Standard output carries the answer and nothing else; everything for\n"
                           "people goes to standard error.\n"
                           "The same file, prompt, options and seed give the same text for any\n"
                           "number of threads.\n"
                           "Without a model the one inside the program is used; it is small and\n"
                           "writes childish stories, short ones best.\n";

static const char environment[] = ".SH ENVIRONMENT\n"
                                  ".TP\n"
                                  "\\fBMOXIE_\\fIOPTION\\fR\n"
                                  "The value of an option that the command line does not give:\n"
                                  ".B MOXIE_CTX_SIZE\n"
                                  "for\n"
                                  ".BR \\-\\-ctx\\-size .\n"
                                  "An empty variable counts as unset; a flag takes 1 or 0.\n"
                                  ".TP\n"
                                  ".B NO_COLOR\\fR, \\fBCLICOLOR=0\\fR, \\fBTERM=dumb\n"
                                  "No colour.\n"
                                  ".TP\n"
                                  ".B XDG_STATE_HOME\\fR, \\fBHOME\n"
                                  "Where\n"
                                  ".B chat\n"
                                  "keeps its history, see FILES.\n"
                                  ".TP\n"
                                  ".B MOXIE_NOW\n"
                                  "The time that chat templates are told, such as\n"
                                  "2026\\-01\\-02T03:04:05, so that prompts can be repeated;\n"
                                  "otherwise the local time.\n";

static const char files[] = ".SH FILES\n"
                            ".TP\n"
                            ".I $XDG_STATE_HOME/moxie/history\n"
                            "The last messages that were typed to\n"
                            ".BR chat ,\n"
                            "readable for their owner alone;\n"
                            ".I ~/.local/state/moxie/history\n"
                            "where that variable is not set.\n"
                            ".TP\n"
                            ".I PREFIX/share/doc/moxie/\n"
                            "What is called\n"
                            ".I docs/\n"
                            "here:\n"
                            ".I CHAT.md\n"
                            "is about the chat,\n"
                            ".I BATCH.md\n"
                            "about files of prompts,\n"
                            ".I STDIO.md\n"
                            "has the protocol of\n"
                            ".BR stdio ,\n"
                            ".I TEMPLATES.md\n"
                            "is about chat templates,\n"
                            ".I TROUBLESHOOTING.md\n"
                            "explains every message.\n";

static const char examples[] =
    ".SH EXAMPLES\n"
    "A story by the model inside the program:\n"
    ".PP\n"
    ".RS\n"
    "moxie run \\-p \"Once upon a time\"\n"
    ".RE\n"
    ".PP\n"
    "A question to a model of your own, from a file:\n"
    ".PP\n"
    ".RS\n"
    "moxie run model.gguf \\-f question.txt\n"
    ".RE\n"
    ".PP\n"
    "A text from another program, with what to do with it:\n"
    ".PP\n"
    ".RS\n"
    "git log \\-5 | moxie run model.gguf \\-p \"Sum this up:\"\n"
    ".RE\n"
    ".PP\n"
    "A conversation that begins with what the model is to be:\n"
    ".PP\n"
    ".RS\n"
    "moxie chat model.gguf \\-sys \"You are a patient teacher.\"\n"
    ".RE\n"
    ".PP\n"
    "All prompts of a file, and on after it was stopped:\n"
    ".PP\n"
    ".RS\n"
    "moxie batch model.gguf \\-i prompts.jsonl \\-o answers.jsonl\n"
    ".br\n"
    "moxie batch model.gguf \\-i prompts.jsonl \\-o answers.jsonl "
    "\\-\\-resume\n"
    ".RE\n"
    ".PP\n"
    "A request on a pipe, as a program sends it:\n"
    ".PP\n"
    ".RS\n"
    "echo \\(aq{\"type\":\"generate\",\"prompt\":\"Hi\"}\\(aq | moxie stdio "
    "\\-m model.gguf\n"
    ".RE\n";

void cli_man(const struct cli_cmd *const *cmds, FILE *out)
{
    assert(cmds);
    assert(out);
    fputs(".TH MOXIE 1 \"" MOXIE_DATE "\" \"moxie " MOXIE_VERSION "\" \"User Commands\"\n", out);
    fputs(head, out);
    fputs(".SH COMMANDS\n", out);
    for (size_t i = 0; cmds[i]; i++) put_command(cmds, cmds[i], out);
    put_common(cmds, out);
    fputs(environment, out);
    fputs(files, out);
    fputs(".SH EXIT STATUS\n", out);
    for (const struct cli_exit *e = cli_exits; e->what; e++)
        fprintf(out, ".TP\n%d\n%s\n", e->code, e->what);
    fputs(".PP\nA signal that ends the program gives 128 and its number.\n", out);
    fputs(examples, out);
}
