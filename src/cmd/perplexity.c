/*
 * perplexity.c: how well a model predicts a text, by llama.cpp's convention, so that figures can be
 * compared.
 *
 * The tokens of the text are cut into windows of CTX; each is run on its own, and positions CTX/2
 * .. CTX-2 predict their next token, so that every prediction has at least half a window of
 * context. The log-softmax and all sums are taken in double.
 */
#include "base/limits.h"
#include "base/mem.h"
#include "base/ui.h"
#include "cmd/files.h"

#include <assert.h>
#include <inttypes.h>
#include <jansson.h>
#include <math.h>

struct perplexity_opts {
    struct common_opts common;
    bool json;
};

#define AT(field) offsetof(struct perplexity_opts, field)
#define WINDOW_DEFAULT 512 /* CLI.md */
#define CTX_LEAST 4        /* a window with something to score */

static const struct cli_opt rows[] = {
    {"file", 'f', CLI_STR, AT(common.file), .arg = "FILE",
     .help = "the text (- is standard input)"},
    {"ctx-size", 'c', CLI_U32, AT(common.n_ctx), AT(common.n_ctx_from), "N", .max = CTX_MAX,
     .help = "tokens of one window; 0: the model's own context (default 512)"},
    {"json", 0, CLI_FLAG, AT(json), .help = "one JSON object instead of text"},
    {0},
};

struct perplexity {
    const struct perplexity_opts *o;
    struct engine *e;
    struct session *s;
    struct text text;
    uint32_t *ids; /* (n_ids) of the whole text */
    size_t n_ids;
    uint32_t *window; /* (n_ctx) the one that is run */
    uint32_t n_ctx;
    double nll; /* nats, summed over the scored tokens */
    uint64_t n_scored, n_bytes;
};

/* -log softmax(logits)[id] */
static double surprise(const float *logits, uint32_t n, uint32_t id)
{
    assert(id < n);
    double top = -INFINITY, sum = 0;
    for (uint32_t i = 0; i < n; i++)
        if ((double)logits[i] > top) top = (double)logits[i];
    for (uint32_t i = 0; i < n; i++) sum += exp((double)logits[i] - top);
    return top + log(sum) - (double)logits[id];
}

static enum err score_row(void *ctx, size_t pos, const float *logits)
{
    struct perplexity *const p = ctx;
    assert(pos < p->n_ctx);
    if (pos < p->n_ctx / 2 || pos + 1 == p->n_ctx) return OK;
    p->nll += surprise(logits, engine_info(p->e)->n_vocab, p->window[pos + 1]);
    p->n_scored++;
    return OK;
}

/* Bytes of the scored text: what a window's scored tokens add to the one before them. */
static enum err count_bytes(struct perplexity *p, const uint32_t *ids, size_t n)
{
    char *text = NULL;
    size_t n_first = 0, n_all = 0;
    enum err err = engine_detokenize(p->e, ids, 1, &text, &n_first);
    engine_free(text);
    if (err) return err;
    err = engine_detokenize(p->e, ids, n, &text, &n_all);
    if (err) return err;
    engine_free(text);
    assert(n_all >= n_first);
    p->n_bytes += n_all - n_first;
    return OK;
}

static enum err run_window(struct perplexity *p, size_t i_window)
{
    assert((i_window + 1) * p->n_ctx <= p->n_ids);
    const uint32_t *const ids = p->ids + i_window * p->n_ctx;
    for (uint32_t i = 0; i < p->n_ctx; i++) p->window[i] = ids[i];
    if (engine_add_bos(p->e)) p->window[0] = engine_bos(p->e);
    enum err err = session_sync(p->s, NULL, 0); /* nothing is reused, so every row is seen */
    if (err == OK) err = session_sync(p->s, p->window, p->n_ctx);
    if (err == OK) err = count_bytes(p, ids + p->n_ctx / 2, p->n_ctx - p->n_ctx / 2);
    return err ? err : cmd_interrupted();
}

static enum err run_windows(struct perplexity *p)
{
    const size_t n_window = p->n_ids / p->n_ctx;
    if (n_window < 2)
        return err_set(ERR_INPUT,
                       "%s: %zu tokens are fewer than two windows of %" PRIu32
                       "; take a longer text or a smaller -c",
                       p->o->common.file, p->n_ids, p->n_ctx);
    p->window = mem_alloc_array(MEM_MISC, p->n_ctx, sizeof *p->window);
    if (!p->window) return ERR_MEMORY;
    session_on_row(p->s, score_row, p);
    struct ui_bar bar;
    ui_bar_start(&bar, cmd_bar_file(&p->o->common), "perplexity", "tok");
    enum err err = OK;
    for (size_t i = 0; i < n_window && err == OK; i++) {
        err = run_window(p, i);
        ui_bar_set(&bar, (uint64_t)(i + 1) * p->n_ctx, (uint64_t)n_window * p->n_ctx);
    }
    ui_bar_end(&bar);
    return err;
}

/* ---- report ---------------------------------------------------------------------------------- */

/* JSON has no infinities: they are strings. */
static json_t *json_number(double v)
{
    return isfinite(v) ? json_real(v) : json_string(v > 0 ? "inf" : "nan");
}

static enum err report(const struct perplexity *p)
{
    assert(p->n_scored > 0);
    const double nll = p->nll / (double)p->n_scored;
    const double bits_per_byte = p->nll / (double)p->n_bytes / log(2);
    if (!p->o->json) {
        printf("tokens = %" PRIu64 "\nnll = %.6f\nbits_per_byte = %.6f\nppl = %.4f\n", p->n_scored,
               nll, bits_per_byte, exp(nll));
        return OK;
    }
    json_t *const j = json_pack("{s:I, s:o, s:o, s:o}", "tokens", (json_int_t)p->n_scored, "nll",
                                json_number(nll), "ppl", json_number(exp(nll)), "bits_per_byte",
                                json_number(bits_per_byte));
    if (!j) return mem_short("the report");
    json_dumpf(j, stdout, JSON_COMPACT);
    putchar('\n');
    json_decref(j);
    return OK;
}

static enum err perplexity(struct perplexity *p, struct common_opts *common)
{
    enum err err = cmd_model(common, false);
    if (err) return err;
    if (!common->file)
        return err_set(ERR_USAGE, "no text given: use -f FILE (- is standard input)");
    const uint32_t n_ctx = cmd_n_ctx(common, WINDOW_DEFAULT);
    err = cmd_open_run(&p->e, common, n_ctx, 1);
    if (err) return err;
    err = prompt_read(common, 0, &p->text);
    if (err) return err;
    err = engine_tokenize(p->e, p->text.s, p->text.n, ENGINE_TOK_BOS, &p->ids, &p->n_ids);
    if (err) return err;
    err = cmd_session(&p->s, p->e, common, n_ctx);
    if (err) return err;
    p->n_ctx = session_n_ctx(p->s);
    if (p->n_ctx < CTX_LEAST)
        return err_set(ERR_USAGE,
                       "option -c: a window of %" PRIu32
                       " tokens leaves nothing to predict; expected at least %d",
                       p->n_ctx, CTX_LEAST);
    err = run_windows(p);
    return err ? err : report(p);
}

static int perplexity_main(void *opts)
{
    struct perplexity_opts *const o = opts;
    struct perplexity p = {.o = o};
    const int code = cmd_exit(perplexity(&p, &o->common));
    mem_free(p.window);
    mem_free(p.text.s);
    engine_free(p.ids);
    session_free(p.s);
    engine_close(p.e);
    return code;
}

const struct cli_cmd cmd_perplexity = {
    .name = "perplexity",
    .args = "[MODEL]",
    .brief = "how well a model predicts a text: perplexity, bits per byte",
    .text = "Cuts the text into windows of -c tokens; the second half of each is predicted token "
            "by token. The convention is llama.cpp's, so figures can be compared.",
    .opts = {rows, common_model, common_pre, common_threads, common_compute, common_kv,
             common_talk},
    .opts_bytes = sizeof(struct perplexity_opts),
    .pos_max = 1,
    .pos_offset = AT(common.pos),
    .main = perplexity_main,
};
