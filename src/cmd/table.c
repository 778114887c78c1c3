/*
 * table.c: the commands, in the order in which the help lists them.
 */
#include "cmd/common.h"

#include <assert.h>
#include <string.h>

const struct cli_cmd *const cmd_table[] = {
    &cmd_run,      &cmd_chat,       &cmd_batch,      &cmd_stdio,
    &cmd_bench,    &cmd_doctor,     &cmd_inspect,    &cmd_perplexity,
    &cmd_tokenize, &cmd_detokenize, &cmd_template,   &cmd_eval,
    &cmd_help,     &cmd_man,        &cmd_completion, NULL,
};

/* What other programs call a command, and what to do here. */
static const struct {
    const char *words, *sentence;
} foreign[] = {
    {"generate complete prompt", "try: moxie run"},
    {"show info", "try: moxie inspect"},
    {"version -v -V", "try: moxie --version"},
    {"serve server", "there is no HTTP server yet; `moxie stdio` answers programs on a pipe"},
    {"pull push", "moxie transfers no models: fetch the GGUF file, then moxie run FILE"},
    {"list ls", "moxie keeps no list of models: moxie run FILE"},
    {"rm cp", "moxie keeps no models: a model is one GGUF file, as any other file"},
    {"ps stop", "nothing runs in the background: a model is there as long as its command"},
    {"create", "there are no Modelfiles: SYSTEM is -sys TEXT, TEMPLATE is --chat-template FILE (in "
               "Jinja), PARAMETERs are options"},
    {"quantize convert", "moxie reads GGUF files and makes none; llama.cpp has tools that do"},
};

const struct cli_cmd *cmd_find(const char *name)
{
    assert(name);
    for (size_t i = 0; cmd_table[i]; i++)
        if (strcmp(cmd_table[i]->name, name) == 0) return cmd_table[i];
    return NULL;
}

enum err cmd_unknown(const char *word)
{
    assert(!cmd_find(word));
    const size_t n = strlen(word);
    for (size_t i = 0; i < sizeof foreign / sizeof foreign[0]; i++)
        if (cli_has_word(foreign[i].words, ' ', word, n))
            return err_set(ERR_USAGE, "unknown command '%s'; %s", word, foreign[i].sentence);
    if (n > 5 && strcmp(word + n - 5, ".gguf") == 0)
        return err_set(ERR_USAGE, "'%s' is no command; to run a model: moxie run -m %s -p TEXT",
                       word, word);
    if (word[0] == '-')
        return err_set(ERR_USAGE,
                       "the command comes first: moxie COMMAND %s ...; `moxie help` lists all",
                       word);
    const char *names[CMD_TABLE_MAX];
    size_t n_name = 0;
    for (; cmd_table[n_name]; n_name++) {
        assert(n_name + 1 < CMD_TABLE_MAX);
        names[n_name] = cmd_table[n_name]->name;
    }
    names[n_name] = NULL;
    const char *const near = cli_nearest(word, names);
    if (near)
        return err_set(ERR_USAGE, "unknown command '%s'; did you mean '%s'? `moxie help` lists all",
                       word, near);
    return err_set(ERR_USAGE, "unknown command '%s'; `moxie help` lists those there are", word);
}
