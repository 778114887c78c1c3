/*
 * eval.c: token ids in, logits out: the forward pass alone, for tests and for comparing two ways of
 * running.
 *
 * Rows are written as they are computed, so memory does not grow with the number of tokens. The
 * files are raw little-endian float32, which is what memory holds on every machine that moxie runs
 * on (the numbers of a GGUF file are used as they are).
 */
#include "base/limits.h"
#include "base/mem.h"
#include "cmd/files.h"
#include "text/sample.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

struct eval_opts {
    struct common_opts common;
    const char *tokens, *logits, *ids;
    uint32_t n_decode;
    bool last;
};

#define AT(field) offsetof(struct eval_opts, field)

static const struct cli_opt rows[] = {
    {"tokens", 0, CLI_STR, AT(tokens), .arg = "IDS",
     .help = "file of decimal token ids separated by white space (- is standard input); no BOS is "
             "added"},
    {"logits", 0, CLI_STR, AT(logits), .arg = "OUT",
     .help = "receives little-endian float32 logits, a row per token (- is standard output)"},
    {"last", 0, CLI_FLAG, AT(last), .help = "of the prefill only the last row"},
    {"decode", 0, CLI_U32, AT(n_decode), .arg = "N", .min = 1, .max = CTX_MAX,
     .help = "then N tokens greedily, past any end of generation; their rows follow"},
    {"ids", 0, CLI_STR, AT(ids), .arg = "OUT", .help = "receives the ids of --decode, one a line"},
    {"ctx-size", 'c', CLI_U32, AT(common.n_ctx), AT(common.n_ctx_from), "N", .max = CTX_MAX,
     .help = "context in tokens (default: the model's own)"},
    {0},
};

struct eval {
    const struct eval_opts *o;
    struct engine *e;
    struct session *s;
    uint32_t *tokens; /* (n_tokens) */
    size_t n_tokens;
    struct out_file logits, ids;
};

static enum err write_row(void *ctx, size_t pos, const float *logits)
{
    (void)pos;
    struct eval *const v = ctx;
    assert(logits);
    return out_write(&v->logits, logits, engine_info(v->e)->n_vocab * sizeof *logits);
}

static enum err prefill(struct eval *v)
{
    if (!v->o->last) session_on_row(v->s, write_row, v);
    enum err err = cmd_prefill(v->s, &v->o->common, v->tokens, v->n_tokens);
    session_on_row(v->s, NULL, NULL);
    if (err == OK && v->o->last) err = write_row(v, v->n_tokens - 1, session_logits(v->s));
    return err;
}

static enum err decode(struct eval *v)
{
    for (uint32_t i = 0; i < v->o->n_decode; i++) {
        char line[16];
        const uint32_t id = sample_argmax(session_logits(v->s), engine_info(v->e)->n_vocab);
        const int n = snprintf(line, sizeof line, "%" PRIu32 "\n", id);
        enum err err = out_write(&v->ids, line, (size_t)n);
        if (err == OK) err = cmd_interrupted();
        if (err == OK) err = session_step(v->s, id);
        assert(err != ERR_END); /* check_room() */
        if (err == OK) err = write_row(v, session_pos(v->s) - 1, session_logits(v->s));
        if (err) return err;
    }
    return OK;
}

static enum err check_options(const struct eval_opts *o)
{
    if (!o->tokens)
        return err_set(ERR_USAGE, "no token ids given: use --tokens FILE (- is standard input)");
    if (!o->logits)
        return err_set(ERR_USAGE,
                       "no place for the logits given: use --logits FILE (- is standard output)");
    if ((o->n_decode > 0) != (o->ids != NULL))
        return err_set(ERR_USAGE, "--decode N and --ids FILE belong together; %s is missing",
                       o->ids ? "--decode N" : "--ids FILE");
    if (o->ids && strcmp(o->ids, "-") == 0 && strcmp(o->logits, "-") == 0)
        return err_set(
            ERR_USAGE,
            "--logits and --ids cannot both be standard output; give one of them a file");
    enum err err = out_differs("--logits", o->logits, "--tokens", o->tokens);
    if (err == OK) err = out_differs("--logits", o->logits, "-m", o->common.model);
    if (err == OK) err = out_differs("--ids", o->ids, "--tokens", o->tokens);
    if (err == OK) err = out_differs("--ids", o->ids, "-m", o->common.model);
    return err ? err : out_differs("--logits", o->logits, "--ids", o->ids);
}

/* Before anything is written. */
static enum err check_room(const struct eval *v)
{
    const uint32_t n_ctx = session_n_ctx(v->s);
    if (v->n_tokens <= n_ctx && v->o->n_decode <= n_ctx - v->n_tokens) return OK;
    return err_set(ERR_USAGE,
                   "%zu token ids and %" PRIu32 " to decode do not fit the context of %" PRIu32
                   "; shorten the list or raise -c",
                   v->n_tokens, v->o->n_decode, n_ctx);
}

static enum err eval(struct eval *v, struct common_opts *common)
{
    enum err err = cmd_model(common, false);
    if (err) return err;
    err = check_options(v->o);
    if (err) return err;
    /* Without -c the cache fills as far as the list goes, which is not known yet: the usual. */
    err = cmd_open_run(&v->e, common, cmd_n_ctx(common, 0), 1);
    if (err) return err;
    err = ids_read(v->o->tokens, engine_info(v->e)->n_vocab, &v->tokens, &v->n_tokens);
    if (err) return err;
    err = cmd_session(&v->s, v->e, common, cmd_n_ctx(common, CTX_OF_MODEL));
    if (err) return err;
    err = check_room(v);
    if (err) return err;
    err = out_open(&v->logits, v->o->logits);
    if (err) return err;
    if (v->o->ids) err = out_open(&v->ids, v->o->ids);
    if (err) return err;
    err = prefill(v);
    if (err == OK) err = decode(v);
    if (err == OK) err = out_commit(&v->logits);
    if (err == OK && v->o->ids) err = out_commit(&v->ids);
    return err;
}

static int eval_main(void *opts)
{
    struct eval_opts *const o = opts;
    struct eval v = {.o = o};
    const int code = cmd_exit(eval(&v, &o->common));
    out_abandon(&v.logits);
    out_abandon(&v.ids);
    mem_free(v.tokens);
    session_free(v.s);
    engine_close(v.e);
    return code;
}

const struct cli_cmd cmd_eval = {
    .name = "eval",
    .args = "[MODEL]",
    .brief = "token ids in, logits out: the forward pass alone",
    .text = "Runs the ids as one prefill, then --decode N more, and writes the logits of every "
            "token. Two ways of running a model can so be compared with cmp.",
    .opts = {rows, common_model, common_pre, common_threads, common_compute, common_kv,
             common_talk},
    .opts_bytes = sizeof(struct eval_opts),
    .pos_max = 1,
    .pos_offset = AT(common.pos),
    .main = eval_main,
};
