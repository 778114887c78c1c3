/*
 * help.c: the commands that tell about the others: `help`, `man`, `completion`. They are printed
 * from the table of commands and its rows.
 */
#include "cmd/common.h"

#include <stdio.h>
#include <string.h>

struct help_opts {
    const char *pos[1];
};

static int help_main(void *opts)
{
    const struct help_opts *const o = opts;
    const char *const word = o->pos[0];
    const struct cli_cmd *const cmd = word ? cmd_find(word) : NULL;
    if (word && !cmd) return cmd_exit(cmd_unknown(word));
    if (cmd && cmd != &cmd_help)
        cli_help(cmd, stdout);
    else
        cli_help_all(cmd_table, stdout);
    return cmd_exit(OK);
}

const struct cli_cmd cmd_help = {
    .name = "help",
    .args = "[COMMAND]",
    .brief = "what there is; `help COMMAND` explains one",
    .opts_bytes = sizeof(struct help_opts),
    .pos_max = 1,
    .pos_offset = offsetof(struct help_opts, pos),
    .main = help_main,
};

static int man_main(void *opts)
{
    (void)opts;
    cli_man(cmd_table, stdout);
    return cmd_exit(OK);
}

const struct cli_cmd cmd_man = {
    .name = "man",
    .args = "",
    .brief = "the manual page",
    .text = "Writes the manual page; `make install` puts it where man finds it. To read it without "
            "that: moxie man | man -l -",
    .opts_bytes = sizeof(struct help_opts),
    .main = man_main,
};

static int completion_main(void *opts)
{
    const struct help_opts *const o = opts;
    if (!o->pos[0])
        return cmd_exit(
            err_set(ERR_USAGE, "no shell given; usage: moxie completion %s", cmd_completion.args));
    if (!cli_completion(cmd_table, o->pos[0], stdout))
        return cmd_exit(err_set(ERR_USAGE, "no completion for '%s'; expected one of %s", o->pos[0],
                                cmd_completion.args));
    return cmd_exit(OK);
}

const struct cli_cmd cmd_completion = {
    .name = "completion",
    .args = "bash|zsh|fish",
    .brief = "the script that lets a shell complete commands and options",
    .text = "Writes the script for a shell; `make install` puts all three where the shells look. "
            "For this session alone: source <(moxie completion bash)",
    .opts_bytes = sizeof(struct help_opts),
    .pos_max = 1,
    .pos_offset = offsetof(struct help_opts, pos),
    .main = completion_main,
};
