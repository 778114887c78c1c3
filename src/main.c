/*
 * main.c: the page for someone who has typed nothing yet, the version, dispatch; nothing else.
 */
#include "base/err.h"
#include "base/mem.h"
#include "base/os.h"
#include "cli.h"
#include "cmd/common.h"
#include "cmd/files.h"
#include "version.h"

#include <string.h>

static int welcome(void)
{
    puts("moxie " MOXIE_VERSION " runs mixture-of-experts language models (GGUF) on this machine.\n"
         "\n"
         "Three things to try:\n"
         "  moxie chat                       talk to the small model inside the program\n"
         "  moxie run model.gguf \"Hello\"     one answer by a model of your own\n"
         "  moxie help                       all commands");
    return cmd_exit(OK);
}

/* `moxie --version`, with -v what it is made of. */
static int version(int argc, char *const *argv)
{
    const bool verbose =
        argc > 0 && (strcmp(argv[0], "-v") == 0 || strcmp(argv[0], "--verbose") == 0);
    if (argc > verbose)
        return cmd_exit(err_set(ERR_USAGE, "unexpected argument '%s'; usage: moxie --version [-v]",
                                argv[verbose]));
    puts("moxie " MOXIE_VERSION);
    if (verbose) version_facts(stdout);
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
    if (argc < 2) return welcome();
    const char *word = argv[1];
    if (strcmp(word, "--version") == 0) return version(argc - 2, argv + 2);
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) word = cmd_help.name;
    const struct cli_cmd *const cmd = cmd_find(word);
    return cmd ? run_command(cmd, argc - 2, argv + 2) : cmd_exit(cmd_unknown(word));
}
