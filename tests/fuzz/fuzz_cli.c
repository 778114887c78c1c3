/*
 * fuzz_cli.c: any words on any command's line are accepted or refused with one sentence.
 *
 * The first byte of the input chooses the command, or the search for an unknown one; the rest are
 * its words, each ended by a newline or a NUL. What is accepted keeps to the ranges and words of
 * the rows. The environment is left out: its values go the same way.
 */
#include "base/err.h"
#include "base/mem.h"
#include "cli.h"
#include "cmd/common.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes);

#define WORDS_MAX 64

static void check_message(void)
{
    const char *const said = err_msg();
    if (!*said || strpbrk(said, "\n\r\033")) abort();
}

static bool in_range(const struct cli_opt *o, double v)
{
    return (o->min == 0 && o->max == 0) || (v >= o->min && v <= o->max);
}

static bool is_word(const char *list, const char *word)
{
    const size_t n = strlen(word);
    for (const char *p = list; *p; p += strspn(p, "|")) {
        const size_t n_word = strcspn(p, "|");
        if (n_word == n && strncmp(p, word, n) == 0) return true;
        p += n_word;
    }
    return false;
}

static void check_field(const struct cli_opt *o, const char *opts)
{
    const void *const field = opts + o->offset;
    bool good = true;
    if (o->from) good = *(const enum cli_from *)(const void *)(opts + o->from) <= CLI_FROM_ARG;
    const bool is_set = !o->from || *(const enum cli_from *)(const void *)(opts + o->from) != 0;
    if (o->type == CLI_F32) good = good && isfinite(*(const float *)field);
    if (o->type == CLI_F32 && o->def) good = good && in_range(o, (double)*(const float *)field);
    if (o->type == CLI_U32 && (o->def || (o->from && is_set)))
        good = good && in_range(o, *(const uint32_t *)field);
    if (o->type == CLI_I32 && o->def) good = good && in_range(o, *(const int32_t *)field);
    const char *const word = o->type == CLI_ENUM ? *(const char *const *)field : NULL;
    if (word) good = good && is_word(o->words, word);
    if (!good) abort();
}

static void check_command(const struct cli_cmd *cmd, int argc, char *const *argv)
{
    char *const opts = mem_alloc(MEM_MISC, cmd->opts_bytes);
    bool help = false;
    if (!opts) abort();
    const enum err err = cli_parse(cmd, argc, argv, opts, &help);
    if (err != OK && err != ERR_USAGE) abort();
    if (err) check_message();
    for (size_t g = 0; err == OK && !help && g < CLI_GROUPS_MAX && cmd->opts[g]; g++)
        for (const struct cli_opt *o = cmd->opts[g]; o->name; o++) check_field(o, opts);
    mem_free(opts);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    if (n_bytes == 0) return 0;
    size_t n_command = 0;
    while (cmd_table[n_command]) n_command++;
    char *const text = malloc(n_bytes);
    char *argv[WORDS_MAX];
    int argc = 0;
    if (!text) abort();
    memcpy(text, data + 1, n_bytes - 1);
    text[n_bytes - 1] = '\0';
    for (char *p = text; p < text + n_bytes - 1 && argc < WORDS_MAX; p += strlen(p) + 1) {
        p[strcspn(p, "\n")] = '\0';
        argv[argc++] = p;
    }
    err_clear();
    const size_t i = data[0] % (n_command + 1);
    if (i < n_command) check_command(cmd_table[i], argc, argv);
    if (i == n_command && argc > 0 && !cmd_find(argv[0])) {
        if (cmd_unknown(argv[0]) != ERR_USAGE) abort();
        check_message();
    }
    free(text);
    return 0;
}
