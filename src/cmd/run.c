/*
 * run.c: one prompt in, text out.
 *
 * Standard output carries the text that the model writes and nothing else, each piece as soon as it
 * is a whole character. Whatever ends it, the end of the text, -n, a full context or Ctrl-C, the
 * timings follow on standard error. Towards a terminal, control characters of the model are tamed
 * and the last line is ended.
 */
#include "base/limits.h"
#include "base/mem.h"
#include "base/os.h"
#include "base/ui.h"
#include "cmd/files.h"
#include "text/sample.h"

#include <assert.h>
#include <float.h>
#include <inttypes.h>

struct run_opts {
    struct common_opts common;
    int32_t n_predict;
    float temp, top_p, min_p;
    uint32_t top_k;
    uint64_t seed;
    enum cli_from seed_from;
    bool escape, raw, special;
};

#define AT(field) offsetof(struct run_opts, field)

static const struct cli_opt rows[] = {
    {"escape", 'e', CLI_FLAG, AT(escape),
     .help = "expand \\n, \\t, \\xHH and the like in the text of -p"},
    {"raw", 0, CLI_FLAG, AT(raw),
     .help = "continue the bare text, without the model's chat template"},
    {"parse-special", 0, CLI_FLAG, AT(special),
     .help = "control tokens written in the prompt count as such"},
    {"n-predict", 'n', CLI_I32, AT(n_predict), .arg = "N", .min = -1, .max = INT32_MAX, .def = "-1",
     .alias = "--predict",
     .help = "tokens to write; -1: until the text ends or the context is full"},
    {"ctx-size", 'c', CLI_U32, AT(common.n_ctx), AT(common.n_ctx_from), "N", .max = CTX_MAX,
     .help = "context in tokens; 0: the model's own (default: that, but at most 4096)"},
    {"temp", 0, CLI_F32, AT(temp), .arg = "T", .max = 100, .def = "0.8", .alias = "--temperature",
     .help = "temperature; 0 always takes the likeliest token"},
    {"top-k", 0, CLI_U32, AT(top_k), .arg = "K", .def = "40",
     .help = "only the K likeliest tokens; 0: all"},
    {"top-p", 0, CLI_F32, AT(top_p), .arg = "P", .max = 1, .def = "0.95",
     .help = "only the likeliest tokens that reach probability P together; 1: all"},
    {"min-p", 0, CLI_F32, AT(min_p), .arg = "P", .max = 1, .def = "0.05",
     .help = "only tokens with P times the probability of the likeliest; 0: all"},
    {"seed", 's', CLI_U64, AT(seed), AT(seed_from), "N",
     .help = "seed of the random choices (default: random, printed on standard error)"},
    {0},
};

struct run {
    const struct run_opts *o;
    struct engine *e;
    struct session *s;
    struct sampler *sampler;
    struct text prompt;
    uint32_t *ids; /* (n_ids) of the prompt */
    size_t n_ids;
    struct tok_stream stream;
    char *buf; /* (TOK_STREAM_BYTES_MAX) */
    bool is_terminal;
    bool open_line;    /* the last byte written was no newline */
    bool is_full;      /* the context ended the text */
    uint64_t start_ns; /* of the prefill */
    uint64_t first_ns; /* when the first token was there; 0: none */
};

/* ---- output ---------------------------------------------------------------------------------- */

/* The first n bytes of buf go out. */
static enum err put(struct run *r, size_t n)
{
    assert(n <= TOK_STREAM_BYTES_MAX);
    if (n == 0) return OK;
    if (r->is_terminal) ui_tame(r->buf, n);
    r->open_line = r->buf[n - 1] != '\n';
    fwrite(r->buf, 1, n, stdout);
    return out_flush(stdout, "standard output");
}

static void print_timings(const struct run *r)
{
    const struct session_stats st = session_stats(r->s);
    char peak[UI_SIZE_BYTES_MAX];
    cmd_note(&r->o->common,
             "prefill %" PRIu64 " tokens at %.1f tok/s, decode %" PRIu64 " tokens at %.1f tok/s",
             st.n_prefill, st.prefill_ns ? (double)st.n_prefill * 1e9 / (double)st.prefill_ns : 0,
             st.n_decode, st.decode_ns ? (double)st.n_decode * 1e9 / (double)st.decode_ns : 0);
    ui_size(peak, os_rss_peak_bytes());
    if (r->first_ns)
        cmd_note(&r->o->common, "first token after %.3f s, peak memory %s",
                 (double)(r->first_ns - r->start_ns) / 1e9, peak);
    else
        cmd_note(&r->o->common, "peak memory %s", peak);
}

/* ---- steps ----------------------------------------------------------------------------------- */

static enum err tokenize(struct run *r)
{
    const unsigned flags = ENGINE_TOK_BOS | (r->o->special ? ENGINE_TOK_SPECIAL : 0u);
    const enum err err = engine_tokenize(r->e, r->prompt.s, r->prompt.n, flags, &r->ids, &r->n_ids);
    if (err || r->n_ids > 0) return err;
    engine_free(r->ids);
    r->ids = NULL;
    if (engine_bos(r->e) == UINT32_MAX)
        return err_set(ERR_INPUT,
                       "the prompt is empty, and %s has no BOS token to start from; give some text",
                       engine_info(r->e)->path);
    r->ids = mem_alloc_array(MEM_MISC, 1, sizeof *r->ids);
    if (!r->ids) return ERR_MEMORY;
    r->ids[r->n_ids++] = engine_bos(r->e);
    return OK;
}

static enum err open_sampler(struct run *r)
{
    const struct run_opts *const o = r->o;
    struct sample_opts so = {.temp = o->temp, .top_k = o->top_k, .seed = o->seed};
    so.top_p =
        o->top_p > 0 ? o->top_p : FLT_MIN; /* 0: the likeliest alone, as llama.cpp takes it */
    so.min_p = o->min_p < 1 ? o->min_p : 1 - FLT_EPSILON; /* 1: those as likely as the likeliest */
    if (o->seed_from == CLI_FROM_DEFAULT)
        so.seed = os_random_seed() & UINT32_MAX; /* short enough to type */
    if (o->seed_from == CLI_FROM_DEFAULT && o->temp > 0)
        cmd_note(&o->common, "seed %" PRIu64, so.seed);
    return sampler_open(&r->sampler, &so, engine_info(r->e)->n_vocab);
}

static enum err generate(struct run *r)
{
    const uint64_t n_max = r->o->n_predict < 0 ? UINT64_MAX : (uint64_t)r->o->n_predict;
    enum err err = cmd_interrupted();
    for (uint64_t n = 0; n < n_max && err == OK; n++) {
        assert(session_logits(r->s));
        const uint32_t id = sampler_next(r->sampler, session_logits(r->s));
        if (n == 0) r->first_ns = os_time_ns();
        if (engine_is_eog(r->e, id)) return OK;
        err = put(r, engine_stream_put(r->e, &r->stream, id, r->buf, TOK_STREAM_BYTES_MAX));
        if (err || n + 1 == n_max) return err;
        err = cmd_interrupted();
        if (err == OK) err = session_step(r->s, id);
        r->is_full = err == ERR_END;
        if (r->is_full) return OK;
    }
    return err;
}

/* What is held back of an unfinished character goes out, the line of a terminal is ended. */
static enum err finish(struct run *r)
{
    const enum err err = put(r, engine_stream_end(&r->stream, r->buf, TOK_STREAM_BYTES_MAX));
    if (err || !r->is_terminal || !r->open_line) return err;
    r->buf[0] = '\n';
    return put(r, 1);
}

static enum err write_text(struct run *r)
{
    enum err err = cmd_session(&r->s, r->e, &r->o->common, cmd_n_ctx(&r->o->common, 0));
    if (err) return err;
    assert(r->n_ids > 0);
    r->start_ns = os_time_ns();
    err = cmd_prefill(r->s, &r->o->common, r->ids, r->n_ids);
    if (err == OK) err = open_sampler(r);
    if (err == OK) err = generate(r);
    if (err == OK || err == ERR_INTR) {
        const enum err err_end = finish(r);
        if (err == OK) err = err_end;
    }
    if (r->is_full)
        cmd_note(&r->o->common, "the context of %" PRIu32 " tokens is full; -c sets a larger one",
                 session_n_ctx(r->s));
    if (err == OK || err == ERR_INTR) print_timings(r);
    return err;
}

static enum err run(struct run *r, struct common_opts *common)
{
    enum err err = cmd_model(common, true);
    if (err) return err;
    err = prompt_check(common);
    if (err) return err;
    err = cmd_open(&r->e, common, ENGINE_RUN);
    if (err) return err;
    if (engine_info(r->e)->has_template && !r->o->raw)
        cmd_note(common, "this model has a chat template, which this version does not apply yet: "
                         "it continues the bare text (--raw says that this is meant)");
    const unsigned flags =
        PROMPT_APPEND | PROMPT_CHOMP | PROMPT_NEEDED | (r->o->escape ? PROMPT_ESCAPES : 0u);
    err = prompt_read(common, flags, &r->prompt);
    if (err) return err;
    err = tokenize(r);
    if (err) return err;
    r->buf = mem_alloc(MEM_MISC, TOK_STREAM_BYTES_MAX);
    return r->buf ? write_text(r) : ERR_MEMORY;
}

static int run_main(void *opts)
{
    struct run_opts *const o = opts;
    struct run r = {.o = o, .is_terminal = os_is_terminal(stdout)};
    const enum err err = run(&r, &o->common);
    const int code = cmd_exit(err);
    mem_free(r.buf);
    mem_free(r.ids);
    mem_free(r.prompt.s);
    sampler_close(r.sampler);
    session_free(r.s);
    engine_close(r.e);
    return code;
}

const struct cli_cmd cmd_run = {
    .name = "run",
    .args = "[MODEL [PROMPT]]",
    .brief = "write on from a prompt",
    .text = "Continues a text. The prompt is the second argument, the text of -p, a file (-f) or "
            "standard input; standard input that is no terminal is appended to -p after an empty "
            "line. The answer goes to standard output, all else to standard error.",
    .opts = {common_prompt, rows, common_model, common_threads, common_compute, common_talk},
    .opts_bytes = sizeof(struct run_opts),
    .pos_max = 2,
    .pos_offset = AT(common.pos),
    .main = run_main,
};
