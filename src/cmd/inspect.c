/*
 * inspect.c: what is in a model file. Needs neither a known architecture nor a tokenizer nor
 * tensors.
 */
#include "cmd/files.h"

struct inspect_opts {
    struct common_opts common;
    bool json;
};

#define AT(field) offsetof(struct inspect_opts, field)

static const struct cli_opt rows[] = {
    {"json", 0, CLI_FLAG, AT(json), .help = "one JSON object instead of text"},
    {0},
};

static int inspect_main(void *opts)
{
    struct inspect_opts *const o = opts;
    struct engine *e = NULL;
    enum err err = cmd_model(&o->common, false);
    if (err == OK) err = cmd_open(&e, &o->common, ENGINE_FILE);
    if (err == OK) {
        err = engine_describe(e, o->json, stdout);
        /* A failed write is told apart here: a closed pipe is none. */
        if (err && ferror(stdout)) err = out_flush(stdout, "standard output");
    }
    const int code = cmd_exit(err);
    engine_close(e);
    return code;
}

const struct cli_cmd cmd_inspect = {
    .name = "inspect",
    .args = "[MODEL]",
    .brief = "what is in a model file: keys, tensors, types, sizes",
    .opts = {rows, common_model, common_talk},
    .opts_bytes = sizeof(struct inspect_opts),
    .pos_max = 1,
    .pos_offset = AT(common.pos),
    .main = inspect_main,
};
