/*
 * main.c: the command table, the pages that belong to no command, dispatch; nothing else.
 */
#include "base/err.h"
#include "base/mem.h"
#include "base/os.h"
#include "cli.h"
#include "cmd/common.h"
#include "cmd/files.h"
#include "version.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static const struct cli_cmd *const commands[] = {
    &cmd_run, &cmd_eval, &cmd_tokenize, &cmd_detokenize, &cmd_inspect, &cmd_perplexity, &cmd_bench,
};

#define N_COMMANDS (sizeof commands / sizeof commands[0])

static const struct cli_cmd *find(const char *name)
{
    for (size_t i = 0; i < N_COMMANDS; i++)
        if (strcmp(commands[i]->name, name) == 0) return commands[i];
    return NULL;
}

static enum err unknown(const char *word)
{
    const char *names[N_COMMANDS + 2] = {"help"};
    for (size_t i = 0; i < N_COMMANDS; i++) names[i + 1] = commands[i]->name;
    const char *const near = cli_nearest(word, names);
    const size_t n = strlen(word);
    if (n > 5 && strcmp(word + n - 5, ".gguf") == 0)
        return err_set(ERR_USAGE, "'%s' is no command; to run a model: moxie run -m %s -p TEXT",
                       word, word);
    if (near)
        return err_set(ERR_USAGE, "unknown command '%s'; did you mean '%s'? `moxie help` lists all",
                       word, near);
    return err_set(ERR_USAGE, "unknown command '%s'; `moxie help` lists those there are", word);
}

static void welcome(void)
{
    puts("moxie " MOXIE_VERSION " runs mixture-of-experts language models (GGUF) on this machine.\n"
         "\n"
         "Three things to try:\n"
         "  moxie run -p \"Once upon a time\"     a story by the embedded demo model\n"
         "  moxie run -m model.gguf -p \"Hello\"  a model of your own\n"
         "  moxie help                          all commands");
}

static void help_all(void)
{
    puts("usage: moxie COMMAND [options]\n"
         "\n"
         "commands:");
    for (size_t i = 0; i < N_COMMANDS; i++) {
        printf("  %-12s ", commands[i]->name);
        cli_wrap(stdout, commands[i]->brief, 15, 15);
    }
    puts("\n"
         "`moxie help COMMAND` explains one, `moxie --version` prints the version.\n"
         "Without a model (-m FILE) the one inside the program is used; it is small and\n"
         "writes childish stories.\n"
         "\n"
         "Exit codes: 0 done, 1 failed while running, 2 wrong usage, 3 bad model or input,\n"
         "4 not enough memory, 5 network, 130 interrupted.");
}

/* `help`, `help COMMAND` */
static int help(int argc, char *const *argv)
{
    if (argc == 0 || strcmp(argv[0], "help") == 0) {
        help_all();
        return cmd_exit(OK);
    }
    const struct cli_cmd *const cmd = find(argv[0]);
    if (!cmd) return cmd_exit(unknown(argv[0]));
    if (argc > 1)
        return cmd_exit(
            err_set(ERR_USAGE, "unexpected argument '%s'; usage: moxie help COMMAND", argv[1]));
    cli_help(cmd, stdout);
    return cmd_exit(OK);
}

static int run_command(const struct cli_cmd *cmd, int argc, char *const *argv)
{
    void *const opts = mem_alloc(MEM_MISC, cmd->opts_bytes);
    if (!opts) return cmd_exit(ERR_MEMORY);
    bool wants_help = false;
    int code;
    const enum err err = cli_parse(cmd, argc, argv, opts, &wants_help);
    if (err == OK && wants_help) cli_help(cmd, stdout);
    if (err || wants_help)
        code = cmd_exit(err);
    else
        code = cmd->main(opts);
    mem_free(opts);
    return code;
}

int main(int argc, char **argv)
{
    os_init();
    files_init();
    if (argc < 2) {
        welcome();
        return cmd_exit(OK);
    }
    const char *const word = argv[1];
    if (strcmp(word, "--version") == 0) {
        puts("moxie " MOXIE_VERSION);
        return cmd_exit(OK);
    }
    if (strcmp(word, "help") == 0 || strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0)
        return help(argc - 2, argv + 2);
    const struct cli_cmd *const cmd = find(word);
    if (cmd) return run_command(cmd, argc - 2, argv + 2);
    if (word[0] == '-')
        return cmd_exit(
            err_set(ERR_USAGE,
                    "the command comes first: moxie COMMAND %s ...; `moxie help` lists all", word));
    return cmd_exit(unknown(word));
}
