/*
 * tokenize.c: the commands `tokenize` (text to ids) and `detokenize` (ids to bytes). They need a
 * vocabulary only, so any architecture and files without tensors will do.
 */
#include "base/mem.h"
#include "cmd/files.h"

/* ---- tokenize -------------------------------------------------------------------------------- */

struct tokenize_opts {
    struct common_opts common;
    bool no_bos, special;
};

#define AT(field) offsetof(struct tokenize_opts, field)

static const struct cli_opt tokenize_rows[] = {
    {"no-bos", 0, CLI_FLAG, AT(no_bos),
     .help = "no BOS in front, even where the vocabulary asks for one"},
    {"parse-special", 0, CLI_FLAG, AT(special),
     .help = "control tokens written in the text count as such; otherwise they are plain text"},
    {0},
};

static enum err tokenize(const struct tokenize_opts *o, const struct engine *e,
                         const struct text *t)
{
    uint32_t *ids = NULL;
    size_t n = 0;
    const unsigned flags =
        (o->no_bos ? 0u : ENGINE_TOK_BOS) | (o->special ? ENGINE_TOK_SPECIAL : 0u);
    const enum err err = engine_tokenize(e, t->s, t->n, flags, &ids, &n);
    if (err) return err;
    ids_print(ids, n);
    engine_free(ids);
    return cmd_interrupted();
}

static int tokenize_main(void *opts)
{
    struct tokenize_opts *const o = opts;
    struct engine *e = NULL;
    struct text t = {0};
    enum err err = cmd_model(&o->common, false);
    if (err == OK) err = prompt_check(&o->common, false);
    if (err == OK) err = cmd_open(&e, &o->common, ENGINE_VOCAB);
    if (err == OK) err = prompt_read(&o->common, 0, &t);
    if (err == OK) err = tokenize(o, e, &t);
    const int code = cmd_exit(err);
    mem_free(t.s);
    engine_close(e);
    return code;
}

const struct cli_cmd cmd_tokenize = {
    .name = "tokenize",
    .args = "[MODEL]",
    .brief = "text to token ids",
    .text = "Prints the ids of the text of -p, of a file (-f) or of standard input on one line, "
            "separated by single spaces.",
    .opts = {common_prompt, tokenize_rows, common_model, common_pre, common_talk},
    .opts_bytes = sizeof(struct tokenize_opts),
    .pos_max = 1,
    .pos_offset = AT(common.pos),
    .main = tokenize_main,
};

/* ---- detokenize ------------------------------------------------------------------------------ */

#undef AT
#define AT(field) offsetof(struct detokenize_opts, field)

struct detokenize_opts {
    struct common_opts common;
    const char *tokens;
};

static const struct cli_opt detokenize_rows[] = {
    {"tokens", 0, CLI_STR, AT(tokens), .arg = "IDS",
     .help = "file of decimal token ids separated by white space (- is standard input)"},
    {0},
};

static enum err detokenize(const struct detokenize_opts *o, const struct engine *e)
{
    uint32_t *ids = NULL;
    char *text = NULL;
    size_t n = 0, n_bytes = 0;
    enum err err = ids_read(o->tokens, engine_info(e)->n_vocab, &ids, &n);
    if (err == OK) err = engine_detokenize(e, ids, n, &text, &n_bytes);
    if (err == OK) fwrite(text, 1, n_bytes, stdout);
    mem_free(ids);
    engine_free(text);
    return err;
}

static int detokenize_main(void *opts)
{
    struct detokenize_opts *const o = opts;
    struct engine *e = NULL;
    enum err err = cmd_model(&o->common, false);
    if (err == OK && !o->tokens)
        err = err_set(ERR_USAGE, "no token ids given: use --tokens FILE (- is standard input)");
    if (err == OK) err = cmd_open(&e, &o->common, ENGINE_VOCAB);
    if (err == OK) err = detokenize(o, e);
    const int code = cmd_exit(err);
    engine_close(e);
    return code;
}

const struct cli_cmd cmd_detokenize = {
    .name = "detokenize",
    .args = "[MODEL]",
    .brief = "token ids to text",
    .text = "Writes the bytes that the ids stand for, and nothing else. Ids from `tokenize "
            "--no-bos` give the text back, byte for byte; control tokens are written as their "
            "text.",
    .opts = {detokenize_rows, common_model, common_pre, common_talk},
    .opts_bytes = sizeof(struct detokenize_opts),
    .pos_max = 1,
    .pos_offset = AT(common.pos),
    .main = detokenize_main,
};
