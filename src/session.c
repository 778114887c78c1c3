/*
 * session.c: one timeline of tokens over a model: prefill, decode, roll back.
 *
 * A session holds the tokens in effect, its caches and states behind the ports, and an executor.
 * Positions [0, n_pos) are computed; logits belong to the last of them. Every change first trims to
 * a common prefix and then runs the rest in pieces of n_batch tokens.
 *
 * Recurrent layers cannot be trimmed: trimming restores the nearest checkpoint, and the tokens from
 * there are run again. A checkpoint is taken before the last token of each sync, so that the usual
 * cases (generate again from the same prompt, go on after it) cost one token.
 */
#include "base/limits.h"
#include "base/mem.h"
#include "base/os.h"
#include "engine.h"
#include "engine_impl.h"
#include "graph/exec.h"
#include "offload/kvram.h"
#include "offload/stateram.h"

#include <assert.h>
#include <math.h>
#include <string.h>

struct session {
    struct engine *e;
    struct graph *g;
    struct exec *exec;
    struct kvram *kv;
    struct stateram *state;
    struct ports ports;
    uint32_t n_ctx, n_batch;
    uint32_t *token; /* (n_ctx) tokens in effect */
    uint32_t n_pos;
    float *logits; /* (n_vocab) of the last token */
    bool has_logits;
    session_row_fn *on_row;
    void *row_ctx;
    session_progress_fn *on_progress;
    void *progress_ctx;
    struct session_stats stats;
};

#define CTX_DEFAULT 4096 /* CLI.md: a context that fits memory on small machines */

static uint32_t pick_ctx(const struct engine *e, uint32_t asked)
{
    const uint32_t own = e->info.n_ctx_train;
    if (asked == CTX_OF_MODEL) return own;
    if (asked == 0) return own < CTX_DEFAULT ? own : CTX_DEFAULT;
    return asked;
}

static enum dtype kv_dtype(enum kv_type t)
{
    return t == KV_F32 ? DT_F32 : DT_F16;
}

static enum err open_ports(struct session *s, const struct session_opts *o)
{
    const struct graph *g = s->g;
    enum err err = kvram_open(&s->kv, g->kv, g->n_layer, s->n_ctx, kv_dtype(o->type_k),
                              kv_dtype(o->type_v), &s->e->kern);
    if (err) return err;
    err = stateram_open(&s->state, g->state_floats, g->n_layer);
    if (err) return err;
    s->ports = (struct ports){.experts = resident_src(s->e->experts),
                              .kv = kvram_src(s->kv),
                              .state = stateram_src(s->state),
                              .comm = {.n_rank = 1}};
    return OK;
}

enum err session_new(struct session **out, struct engine *e, const struct session_opts *o)
{
    assert(out);
    assert(e);
    assert(o);
    assert(e->mode == ENGINE_RUN);
    *out = NULL;
    struct session *s = mem_alloc(MEM_KV, sizeof *s);
    if (!s) return ERR_MEMORY;
    s->e = e;
    s->n_ctx = pick_ctx(e, o->n_ctx);
    s->n_batch = o->n_batch ? o->n_batch : BATCH_DEFAULT;
    if (s->n_batch > s->n_ctx) s->n_batch = s->n_ctx;
    enum err err = ERR_USAGE;
    if (s->n_ctx > CTX_MAX || s->n_batch > BATCH_MAX) {
        err_set(err, "a context of %u and a batch of %u were asked for; the limits are %u and %u",
                s->n_ctx, s->n_batch, CTX_MAX, BATCH_MAX);
        goto fail;
    }
    err = model_build(e->model, s->n_ctx, &s->g);
    if (err) goto fail;
    err = open_ports(s, o);
    if (err) goto fail;
    err = exec_open(&s->exec, s->g, &e->backend, &s->ports, s->n_batch);
    if (err) goto fail;
    err = ERR_MEMORY;
    s->token = mem_alloc_array(MEM_KV, s->n_ctx, sizeof *s->token);
    s->logits = mem_alloc_array(MEM_ARENA, e->info.n_vocab, sizeof *s->logits);
    if (!s->token || !s->logits) goto fail;
    *out = s;
    return OK;
fail:
    session_free(s);
    return err;
}

void session_free(struct session *s)
{
    if (!s) return;
    exec_close(s->exec);
    stateram_close(s->state);
    kvram_close(s->kv);
    graph_free(s->g);
    mem_free(s->token);
    mem_free(s->logits);
    mem_free(s);
}

/* ---- running tokens -------------------------------------------------------------------------- */

static enum err check_finite(const struct session *s, uint32_t pos, const float *logits)
{
    const uint32_t n = s->e->info.n_vocab;
    for (uint32_t i = 0; i < n; i++) {
        if (isfinite(logits[i])) continue;
        return err_set(ERR_RUN,
                       "%s: the logit of token %u at position %u is %s: the model's weights are "
                       "damaged, or not meant for this architecture ('%s'); fetch the file again",
                       s->e->info.path, i, pos, isnan(logits[i]) ? "not a number" : "infinite",
                       s->e->info.arch);
    }
    return OK;
}

static enum err take_row(void *ctx, uint32_t pos, const float *logits)
{
    struct session *s = ctx;
    const enum err err = check_finite(s, pos, logits);
    if (err) return err;
    if (s->on_row) {
        const enum err err_row = s->on_row(s->row_ctx, pos, logits);
        if (err_row) return err_row;
    }
    memcpy(s->logits, logits, s->e->info.n_vocab * sizeof *logits);
    s->has_logits = true;
    return OK;
}

/* Goes back to at most n tokens, whatever caches and states hold beyond them; a recurrent model may
 * land earlier. */
static enum err trim(struct session *s, uint32_t n)
{
    assert(n <= s->n_pos);
    s->has_logits = false;
    if (s->e->info.is_recurrent) {
        const enum err err = s->ports.state.restore(s->ports.state.self, 0, n, &n);
        if (err) return err;
    }
    s->n_pos = n;
    return s->ports.kv.trim(s->ports.kv.self, 0, n);
}

/* Runs token[n_pos .. n_pos + n): one piece. */
static enum err run_piece(struct session *s, uint32_t n, bool want_last)
{
    assert(n >= 1);
    assert(n <= s->n_ctx - s->n_pos);
    const struct step step = {
        .token = s->token + s->n_pos,
        .n_tok = n,
        .pos0 = s->n_pos,
        .out_from = s->on_row   ? 0
                    : want_last ? n - 1
                                : n,
        .on_row = take_row,
        .ctx = s,
    };
    s->has_logits = false;
    enum err err = exec_step(s->exec, &step);
    if (err == OK && gguf_broken(s->e->file))
        err = err_set(ERR_RUN,
                      "%s: the file became shorter while the model was running; what was computed "
                      "since is not to be trusted. Restore the file and start again",
                      s->e->info.path);
    if (err) {
        /* Positions below n_pos are whole; states may be halfway to the end of the piece. */
        const enum err err_trim = trim(s, s->n_pos);
        assert(err_trim == OK); /* all of it is in memory */
        (void)err_trim;
        return err;
    }
    s->n_pos += n;
    return OK;
}

/* Runs the tokens up to position n in pieces. A recurrent model gets a checkpoint before the
 * last token. */
static enum err run_to(struct session *s, uint32_t n)
{
    const uint32_t n_from = s->n_pos;
    while (s->n_pos < n) {
        if (os_interrupted()) return err_set(ERR_INTR, "interrupted");
        const bool split_last = s->e->info.is_recurrent && n - s->n_pos > 1;
        const uint32_t left = n - s->n_pos - (split_last ? 1 : 0);
        const uint32_t piece = left < s->n_batch ? left : s->n_batch;
        if (s->e->info.is_recurrent && s->n_pos + 1 == n) {
            const enum err err = s->ports.state.save(s->ports.state.self, 0, s->n_pos);
            if (err) return err;
        }
        const enum err err = run_piece(s, piece, s->n_pos + piece == n);
        if (err) return err;
        if (s->on_progress) s->on_progress(s->progress_ctx, s->n_pos - n_from, n - n_from);
    }
    return OK;
}

static enum err check_tokens(const struct session *s, const uint32_t *tokens, size_t n)
{
    if (n > s->n_ctx)
        return err_set(ERR_USAGE,
                       "%zu tokens do not fit the context of %u; shorten the prompt or raise -c", n,
                       s->n_ctx);
    for (size_t i = 0; i < n; i++) {
        if (tokens[i] < s->e->info.n_vocab) continue;
        return err_set(ERR_INPUT, "token id %u (item %zu) is outside the vocabulary of %u tokens",
                       tokens[i], i + 1, s->e->info.n_vocab);
    }
    return OK;
}

enum err session_sync(struct session *s, const uint32_t *tokens, size_t n)
{
    assert(s);
    assert(tokens || n == 0);
    const enum err err_in = check_tokens(s, tokens, n);
    if (err_in) return err_in;
    const uint64_t t0 = os_time_ns();
    uint32_t same = 0;
    while (same < s->n_pos && same < n && s->token[same] == tokens[same]) same++;
    if (same == n && n > 0 && !(s->n_pos == n && s->has_logits))
        same--; /* the last one must run to have logits */
    enum err err = same < s->n_pos ? trim(s, same) : OK;
    if (err) return err;
    const uint32_t n_from = s->n_pos;
    if (n > n_from) memcpy(s->token + n_from, tokens + n_from, (n - n_from) * sizeof *tokens);
    err = run_to(s, (uint32_t)n);
    s->stats.n_reused += n_from;
    s->stats.n_prefill += s->n_pos > n_from ? s->n_pos - n_from : 0;
    s->stats.prefill_ns += os_time_ns() - t0;
    return err;
}

enum err session_step(struct session *s, uint32_t token)
{
    assert(s);
    if (s->n_pos == s->n_ctx) return ERR_END;
    const enum err err_in = check_tokens(s, &token, 1);
    if (err_in) return err_in;
    const uint64_t t0 = os_time_ns();
    s->token[s->n_pos] = token;
    const enum err err = run_piece(s, 1, true);
    if (err) return err;
    s->stats.n_decode++;
    s->stats.decode_ns += os_time_ns() - t0;
    return OK;
}

enum err session_roll_back(struct session *s, size_t n)
{
    assert(n <= s->n_pos);
    if (n == s->n_pos) return OK;
    const enum err err = trim(s, (uint32_t)n);
    if (err) return err;
    return run_to(s, (uint32_t)n); /* recurrent: what lies between the checkpoint and n */
}

/* ---- facts ----------------------------------------------------------------------------------- */

size_t session_pos(const struct session *s)
{
    return s->n_pos;
}

uint32_t session_n_ctx(const struct session *s)
{
    return s->n_ctx;
}

const float *session_logits(const struct session *s)
{
    return s->has_logits ? s->logits : NULL;
}

void session_on_row(struct session *s, session_row_fn *fn, void *ctx)
{
    s->on_row = fn;
    s->row_ctx = ctx;
}

void session_on_progress(struct session *s, session_progress_fn *fn, void *ctx)
{
    s->on_progress = fn;
    s->progress_ctx = ctx;
}

struct session_stats session_stats(const struct session *s)
{
    struct session_stats st = s->stats;
    st.kv_bytes = kvram_bytes_per_pos(s->kv) * s->n_pos;
    st.state_bytes = stateram_bytes(s->state);
    st.arena_bytes = exec_arena_bytes(s->exec);
    return st;
}
