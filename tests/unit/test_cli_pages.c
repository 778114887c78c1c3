/*
 * test_cli_pages.c: what is printed from the option rows of the whole program: help pages that fit
 * terminals of any width, a manual page and completion scripts that name every option and no other.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cli.h"
#include "cmd/common.h"
#include "tests/unit/pty.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* ---- pages in memory ------------------------------------------------------------------------- */

static char *man_page(void)
{
    char *page = NULL;
    size_t n = 0;
    FILE *const f = open_memstream(&page, &n);
    assert_non_null(f);
    cli_man(cmd_table, f);
    fclose(f);
    return page;
}

static char *script(const char *shell)
{
    char *page = NULL;
    size_t n = 0;
    FILE *const f = open_memstream(&page, &n);
    assert_non_null(f);
    assert_true(cli_completion(cmd_table, shell, f));
    fclose(f);
    return page;
}

/* Calls fn with each row of each command, and its spelling with dashes. */
static void each_spelling(void (*fn)(const struct cli_cmd *c, const char *spelling, void *ctx),
                          void *ctx)
{
    for (size_t i = 0; cmd_table[i]; i++) {
        const struct cli_cmd *const c = cmd_table[i];
        fn(c, "--help", ctx);
        fn(c, "-h", ctx);
        for (size_t g = 0; g < CLI_GROUPS_MAX && c->opts[g]; g++) {
            for (const struct cli_opt *o = c->opts[g]; o->name; o++) {
                char s[64];
                snprintf(s, sizeof s, "--%s", o->name);
                fn(c, s, ctx);
                snprintf(s, sizeof s, "-%c", o->letter);
                if (o->letter) fn(c, s, ctx);
                for (const char *p = o->alias ? o->alias : ""; *p; p += strspn(p, " ")) {
                    snprintf(s, sizeof s, "%.*s", (int)strcspn(p, " "), p);
                    p += strlen(s);
                    fn(c, s, ctx);
                }
            }
        }
    }
}

/* ---- manual page ----------------------------------------------------------------------------- */

/* "--n-predict" as the page has it: \fB\-\-n\-predict\fR */
static void in_roff(const char *spelling, char out[160])
{
    size_t n = (size_t)snprintf(out, 160, "\\fB");
    for (; *spelling; spelling++) {
        if (*spelling == '-') out[n++] = '\\';
        out[n++] = *spelling;
    }
    snprintf(out + n, 160 - n, "\\fR");
}

static void is_on_page(const struct cli_cmd *c, const char *spelling, void *page)
{
    char word[160];
    in_roff(spelling, word);
    if (!strstr(page, word)) fail_msg("%s %s is not in the manual", c->name, spelling);
}

struct search {
    char word[160];
    bool found;
};

static void is_word(const struct cli_cmd *c, const char *spelling, void *ctx)
{
    (void)c;
    struct search *const s = ctx;
    char word[160];
    in_roff(spelling, word);
    s->found = s->found || strcmp(word, s->word) == 0;
}

static void test_man(void **state)
{
    (void)state;
    char *const page = man_page();
    assert_int_equal(strncmp(page, ".TH MOXIE 1 ", 12), 0);
    each_spelling(is_on_page, page);
    size_t n_option = 0;
    for (const char *p = strstr(page, "\\fB\\-"); p; p = strstr(p + 1, "\\fB\\-")) {
        struct search s = {.found = false};
        const char *const end = strstr(p, "\\fR");
        assert_non_null(end);
        snprintf(s.word, sizeof s.word, "%.*s\\fR", (int)(end - p), p);
        each_spelling(is_word, &s);
        if (!s.found) fail_msg("the manual has %s, which no command takes", s.word);
        n_option++;
    }
    assert_true(n_option > 30);
    for (size_t i = 0; cmd_table[i]; i++) {
        char section[64];
        snprintf(section, sizeof section, ".SS \"moxie %s", cmd_table[i]->name);
        if (!strstr(page, section)) fail_msg("no section for %s", cmd_table[i]->name);
    }
    for (const struct cli_exit *e = cli_exits; e->what; e++) assert_non_null(strstr(page, e->what));
    free(page);
}

/* No text of ours becomes a request of the formatter. */
static void test_man_lines(void **state)
{
    (void)state;
    static const char *const requests[] = {".TH ", ".SH ", ".SS ", ".TP\n", ".PP\n", ".B ",  ".I ",
                                           ".RI ", ".RB ", ".BR ", ".RS\n", ".RE\n", ".br\n"};
    char *const page = man_page();
    for (const char *line = page; *line; line += strcspn(line, "\n") + 1) {
        bool known = *line != '.' && *line != '\'';
        for (size_t i = 0; i < sizeof requests / sizeof *requests; i++)
            known = known || strncmp(line, requests[i], strlen(requests[i])) == 0;
        if (!known) fail_msg("'%.*s' is a request", (int)strcspn(line, "\n"), line);
    }
    free(page);
}

/* ---- completions ----------------------------------------------------------------------------- */

/* In bash's script a command's options follow its name in one line. */
static void is_in_bash(const struct cli_cmd *c, const char *spelling, void *page)
{
    char head[64], word[64];
    snprintf(head, sizeof head, "\n        %s)\n", c->name);
    const char *const at = strstr(page, head);
    assert_non_null(at);
    const char *const options = strstr(at, "options='");
    assert_non_null(options);
    const size_t n = strcspn(options, "\n");
    char *const line = strndup(options + strlen("options="), n - strlen("options="));
    for (char *p = line; *p; p++)
        if (*p == '\'') *p = ' ';
    snprintf(word, sizeof word, " %s ", spelling);
    if (!strstr(line, word)) fail_msg("bash completes no %s of %s", spelling, c->name);
    free(line);
}

static void test_completions(void **state)
{
    (void)state;
    char *const bash = script("bash"), *const zsh = script("zsh"), *const fish = script("fish");
    each_spelling(is_in_bash, bash);
    for (size_t i = 0; cmd_table[i]; i++) {
        char word[160];
        snprintf(word, sizeof word, "\n        '%s:", cmd_table[i]->name);
        assert_non_null(strstr(zsh, word));
        snprintf(word, sizeof word, "__fish_use_subcommand -a %s ", cmd_table[i]->name);
        assert_non_null(strstr(fish, word));
    }
    assert_non_null(strstr(bash, "--cpu-mask) value=1 kind='none sse "));
    assert_non_null(strstr(bash, "--model | -m) value=1 kind='MODEL'"));
    assert_non_null(strstr(zsh, "'(--cache-type-k -ctk)'{--cache-type-k=,-ctk}'[cached keys"));
    assert_non_null(strstr(fish, " -l cache-type-k -o ctk -x -a 'f16 f32 q8_0' "));
    assert_false(cli_completion(cmd_table, "tcsh", stdout));
    free(bash);
    free(zsh);
    free(fish);
}

/* ---- help on a terminal ---------------------------------------------------------------------- */

struct reader {
    int fd;
    char text[1 << 16];
    size_t n;
};

/* Until the mark that the writer puts at the end: a terminal holds a few kilobytes only. */
static void *read_all(void *arg)
{
    struct reader *const r = arg;
    while (r->n < sizeof r->text - 1 && !strchr(r->text, '\f')) {
        const ssize_t n = read(r->fd, r->text + r->n, sizeof r->text - 1 - r->n);
        if (n <= 0) break;
        r->n += (size_t)n;
    }
    return NULL;
}

/* The widest line of all help pages on a terminal of so many columns. */
static size_t widest(unsigned short n_columns)
{
    int master;
    FILE *const f = pty_open(&master, n_columns);
    struct reader *const r = calloc(1, sizeof *r);
    pthread_t thread;
    assert_non_null(r);
    r->fd = master;
    assert_int_equal(pthread_create(&thread, NULL, read_all, r), 0);
    cli_help_all(cmd_table, f);
    for (size_t i = 0; cmd_table[i]; i++) cli_help(cmd_table[i], f);
    fputc('\f', f);
    fflush(f);
    pthread_join(thread, NULL);
    size_t n_most = 0;
    for (const char *line = r->text; *line; line += strcspn(line, "\n") + 1) {
        const size_t n = strcspn(line, "\r\n");
        if (strncmp(line, "usage: ", 7) != 0 && n > n_most) n_most = n; /* is to be copied */
        if (line[strcspn(line, "\n")] == '\0') break;
    }
    fclose(f);
    close(master);
    free(r);
    return n_most;
}

static void test_help_width(void **state)
{
    (void)state;
    assert_true(widest(80) < 80);
    assert_true(widest(80) > 70);
    assert_true(widest(60) < 60);
    assert_true(widest(40) < 40);
    const size_t n = widest(200); /* long lines are hard to read */
    assert_true(n < 100);
    assert_true(n > 85);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_man),
        cmocka_unit_test(test_man_lines),
        cmocka_unit_test(test_completions),
        cmocka_unit_test(test_help_width),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
