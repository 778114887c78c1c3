/*
 * session.c: one timeline of tokens over a model: prefill, decode, roll back.
 *
 * A session holds the tokens in effect; its caches and states are a timeline of a stage, which has
 * the executor. Positions [0, n_pos) are computed; logits belong to the last of them. Every change
 * first trims to a common prefix and then runs the rest in pieces of n_batch tokens.
 *
 * Recurrent layers cannot be trimmed: trimming restores the nearest checkpoint, and the tokens from
 * there are run again. A checkpoint is taken before the last token of each sync, so that the usual
 * cases (generate again from the same prompt, go on after it) cost one token.
 */
#include "engine.h"

#include "base/limits.h"
#include "base/mem.h"
#include "base/os.h"
#include "stage.h"

#include <assert.h>
#include <math.h>
#include <string.h>

struct session {
    struct engine *e;
    struct stage *stage; /* shared with the sessions beside this one */
    uint32_t seq;        /* its timeline there */
    uint32_t n_ctx;
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

static struct kv_src *kv_of(const struct session *s)
{
    return &s->stage->ports.kv;
}

static struct state_src *state_of(const struct session *s)
{
    return &s->stage->ports.state;
}

/* A stage of its own, or the one of the session beside. */
static enum err enter(struct session *s, const struct session_opts *o)
{
    struct stage *st = o->beside ? o->beside->stage : NULL;
    enum err err = st ? OK : stage_new(&st, s->e, o);
    if (err) return err;
    err = stage_join(st, &s->seq);
    if (err == OK)
        s->stage = st;
    else if (!o->beside)
        stage_free(st);
    return err;
}

enum err session_new(struct session **out, struct engine *e, const struct session_opts *o)
{
    assert(out);
    assert(e);
    assert(o);
    assert(!o->beside || o->beside->e == e);
    *out = NULL;
    struct session *s = mem_alloc(MEM_KV, sizeof *s);
    if (!s) return ERR_MEMORY;
    s->e = e;
    enum err err = enter(s, o);
    if (err) goto fail;
    s->n_ctx = s->stage->n_ctx;
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
    if (s->stage) stage_leave(s->stage, s->seq);
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

struct rows_to { /* whose rows of logits a step gives */
    struct session *const *s;
};

static enum err take_row(void *ctx, uint32_t i_run, uint32_t pos, const float *logits)
{
    struct session *const s = ((const struct rows_to *)ctx)->s[i_run];
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
        const enum err err = state_of(s)->restore(state_of(s)->self, s->seq, n, &n);
        if (err) return err;
    }
    s->n_pos = n;
    return kv_of(s)->trim(kv_of(s)->self, s->seq, n);
}

/* After a failure: positions below n are whole, but states may be halfway to the end of a run. */
static void forget(struct session *s, uint32_t n)
{
    const enum err err = trim(s, n);
    assert(err == OK); /* all of it is in memory */
    (void)err;
}

/* Sessions that take a step together: of one stage, each once. */
static void assert_apart(const struct session *a, const struct session *first, bool seen[SEQS_MAX])
{
    assert(a->stage == first->stage);
    assert(!seen[a->seq]);
    seen[a->seq] = true;
}

/* One step of some sessions of a stage; token: those of all runs. On an error all go back. */
static enum err run_step(struct session *const *s, const struct step_run *run, uint32_t n_run,
                         const uint32_t *token)
{
    struct stage *const st = s[0]->stage;
    struct rows_to to = {s};
    const struct step step = {
        .token = token, .run = run, .n_run = n_run, .on_row = take_row, .ctx = &to};
    for (uint32_t i = 0; i < n_run; i++) s[i]->has_logits = false;
    stage_bind(st);
    enum err err = exec_step(st->exec, &step);
    if (err == OK) err = engine_whole(st->e); /* what was computed is not to be trusted */
    for (uint32_t i = 0; i < n_run; i++) {
        if (err == OK) {
            s[i]->n_pos += run[i].n_tok;
            continue;
        }
        forget(s[i], s[i]->n_pos);
    }
    return err;
}

/* The next n tokens of a timeline. */
static struct step_run next_run(const struct session *s, uint32_t n, bool want_last)
{
    assert(n >= 1);
    assert(n <= s->n_ctx - s->n_pos);
    const uint32_t out_from = s->on_row ? 0 : want_last ? n - 1 : n;
    return (struct step_run){.seq = s->seq, .pos0 = s->n_pos, .n_tok = n, .out_from = out_from};
}

/* Runs token[n_pos .. n_pos + n): one piece. */
static enum err run_piece(struct session *s, uint32_t n, bool want_last)
{
    const struct step_run run = next_run(s, n, want_last);
    return run_step(&s, &run, 1, s->token + s->n_pos);
}

/* Runs the tokens up to position n in pieces. A recurrent model gets a checkpoint before the
 * last token. */
static enum err run_to(struct session *s, uint32_t n, bool want_last)
{
    const uint32_t n_from = s->n_pos, n_batch = s->stage->n_batch;
    while (s->n_pos < n) {
        if (os_interrupted()) return err_set(ERR_INTR, "interrupted");
        const bool split_last = s->e->info.is_recurrent && n - s->n_pos > 1;
        const uint32_t left = n - s->n_pos - (split_last ? 1 : 0);
        const uint32_t piece = left < n_batch ? left : n_batch;
        if (s->e->info.is_recurrent && s->n_pos + 1 == n) {
            const enum err err = state_of(s)->save(state_of(s)->self, s->seq, s->n_pos);
            if (err) return err;
        }
        const enum err err = run_piece(s, piece, want_last && s->n_pos + piece == n);
        if (err) return err;
        if (s->on_progress) s->on_progress(s->progress_ctx, s->n_pos - n_from, n - n_from);
    }
    return OK;
}

enum err session_check(const struct session *s, const uint32_t *tokens, size_t n)
{
    assert(s);
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

/* What is common and can stay. */
static uint32_t common(const struct session *s, const uint32_t *tokens, size_t n)
{
    uint32_t same = 0;
    while (same < s->n_pos && same < n && s->token[same] == tokens[same]) same++;
    if (same == n && n > 0 && !(s->n_pos == n && s->has_logits))
        same--; /* the last one must run to have logits */
    return same;
}

size_t session_reusable(const struct session *s, const uint32_t *tokens, size_t n)
{
    assert(s);
    const uint32_t same = common(s, tokens, n);
    if (same == s->n_pos || !s->e->info.is_recurrent) return same;
    return state_of(s)->nearest(state_of(s)->self, s->seq, same);
}

/* The common prefix stays, the rest takes its place in the list of tokens. */
static enum err begin_sync(const struct session_want *w)
{
    struct session *const s = w->s;
    const uint32_t same = common(s, w->tokens, w->n);
    const enum err err = same < s->n_pos ? trim(s, same) : OK;
    if (err) return err;
    if (w->n > s->n_pos)
        memcpy(s->token + s->n_pos, w->tokens + s->n_pos, (w->n - s->n_pos) * sizeof *w->tokens);
    return OK;
}

/* All that is new, in one step. */
static enum err run_together(const struct session_want *w, uint32_t n)
{
    struct session *s[SEQS_MAX];
    struct step_run run[SEQS_MAX];
    uint32_t *const token = w[0].s->stage->token;
    uint32_t n_run = 0, n_token = 0;
    for (uint32_t i = 0; i < n; i++) {
        const uint32_t n_new = (uint32_t)w[i].n - w[i].s->n_pos;
        if (n_new == 0) continue;
        s[n_run] = w[i].s;
        run[n_run++] = next_run(w[i].s, n_new, true);
        memcpy(token + n_token, w[i].s->token + w[i].s->n_pos, n_new * sizeof *token);
        n_token += n_new;
    }
    assert(n_token <= w[0].s->stage->n_batch);
    return n_run ? run_step(s, run, n_run, token) : OK;
}

/* Pieces of one after the other: for a single session, for much that is new, and for recurrent
 * models, which leave a checkpoint on the way. */
static enum err run_in_turn(const struct session_want *w, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        const enum err err = run_to(w[i].s, (uint32_t)w[i].n, true);
        if (err) return err;
    }
    return OK;
}

enum err session_sync_many(const struct session_want *w, size_t n)
{
    assert(n >= 1);
    assert(n <= SEQS_MAX);
    const struct session *const first = w[0].s;
    bool seen[SEQS_MAX] = {false};
    for (size_t i = 0; i < n; i++) {
        assert_apart(w[i].s, first, seen);
        assert(w[i].tokens || w[i].n == 0);
        const enum err err = session_check(w[i].s, w[i].tokens, w[i].n);
        if (err) return err;
    }
    uint32_t n_from[SEQS_MAX];
    uint64_t n_new = 0;
    for (size_t i = 0; i < n; i++) {
        const enum err err = begin_sync(&w[i]);
        if (err) return err;
        n_from[i] = w[i].s->n_pos;
        n_new += w[i].n - n_from[i];
    }
    const uint32_t n_batch = first->stage->n_batch;
    const bool together = n > 1 && n_new <= n_batch && !first->e->info.is_recurrent;
    enum err err = engine_repack_for(first->e, n_new, n_batch);
    const uint64_t t0 = os_time_ns();
    if (err == OK) err = (together ? run_together : run_in_turn)(w, (uint32_t)n);
    const uint64_t t = os_time_ns() - t0;
    for (size_t i = 0; i < n; i++) {
        struct session *const s = w[i].s;
        s->stats.n_reused += n_from[i];
        s->stats.n_prefill += s->n_pos > n_from[i] ? s->n_pos - n_from[i] : 0;
        s->stats.prefill_ns += t;
    }
    return err;
}

enum err session_sync(struct session *s, const uint32_t *tokens, size_t n)
{
    assert(s);
    return session_sync_many(&(struct session_want){.s = s, .tokens = tokens, .n = n}, 1);
}

enum err session_step(struct session *s, uint32_t token)
{
    assert(s);
    return session_step_many(&s, &token, 1);
}

/* Up to as many sessions as the stage takes rows. */
static enum err step_some(struct session *const *s, const uint32_t *token, uint32_t n)
{
    struct step_run run[SEQS_MAX];
    for (uint32_t i = 0; i < n; i++) {
        s[i]->token[s[i]->n_pos] = token[i];
        run[i] = (struct step_run){.seq = s[i]->seq, .pos0 = s[i]->n_pos, .n_tok = 1};
    }
    return run_step(s, run, n, token);
}

enum err session_step_many(struct session *const *s, const uint32_t *token, size_t n)
{
    assert(n >= 1);
    assert(n <= SEQS_MAX);
    bool seen[SEQS_MAX] = {false};
    for (size_t i = 0; i < n; i++) {
        assert_apart(s[i], s[0], seen);
        if (s[i]->n_pos == s[i]->n_ctx) return ERR_END;
        const enum err err = session_check(s[i], &token[i], 1);
        if (err) return err;
    }
    const uint32_t n_batch = s[0]->stage->n_batch;
    const enum err err_pack = engine_repack_for(s[0]->e, n, n_batch);
    if (err_pack) return err_pack;
    const uint64_t t0 = os_time_ns();
    for (size_t i = 0; i < n; i += n_batch) {
        const size_t left = n - i;
        const enum err err = step_some(s + i, token + i, left < n_batch ? (uint32_t)left : n_batch);
        if (err) return err;
    }
    const uint64_t t = os_time_ns() - t0;
    for (size_t i = 0; i < n; i++) {
        s[i]->stats.n_decode++;
        s[i]->stats.decode_ns += t;
    }
    return OK;
}

enum err session_fork(struct session *to, const struct session *from, size_t n)
{
    assert(to != from);
    assert(to->stage == from->stage);
    assert(n <= from->n_pos);
    enum err err = trim(to, 0);
    if (err) return err;
    uint32_t n_got = (uint32_t)n;
    if (from->e->info.is_recurrent) {
        err =
            state_of(to)->copy(state_of(to)->self, from->seq, from->n_pos, to->seq, n_got, &n_got);
        if (err) goto fail;
    }
    err = kv_of(to)->copy(kv_of(to)->self, from->seq, to->seq, n_got);
    if (err) goto fail;
    memcpy(to->token, from->token, n_got * sizeof *to->token);
    to->n_pos = n_got;
    return OK;
fail:
    forget(to, 0);
    return err;
}

enum err session_roll_back(struct session *s, size_t n)
{
    assert(n <= s->n_pos);
    if (n == s->n_pos) return OK;
    const enum err err = trim(s, (uint32_t)n);
    if (err) return err;
    return run_to(s, (uint32_t)n, false); /* recurrent: from the checkpoint to n */
}

/* ---- facts ----------------------------------------------------------------------------------- */

size_t session_pos(const struct session *s)
{
    return s->n_pos;
}

uint32_t session_n_batch(const struct session *s)
{
    return s->stage->n_batch;
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
    st.kv_bytes = kvram_bytes_per_pos(s->stage->kv) * s->n_pos;
    st.full_bytes =
        kvram_bytes_per_pos(s->stage->kv) * s->n_ctx + stateram_bytes_max(s->stage->state);
    st.state_bytes = stateram_bytes(s->stage->state, s->seq);
    st.arena_bytes = exec_arena_bytes(s->stage->exec);
    return st;
}

uint64_t session_kv_read_bytes(const struct session *s, size_t n_pos)
{
    assert(s);
    const struct graph *const g = s->stage->g;
    uint64_t n = 0;
    for (uint32_t i = 0; i < g->n_op; i++) {
        if (g->op[i].kind != GOP_ATTN) continue;
        const struct gattn *const a = &g->op[i].u.attn;
        const size_t n_seen = a->window > 0 && a->window < n_pos ? a->window : n_pos;
        n += n_seen * kvram_layer_bytes_per_pos(s->stage->kv, a->kv_layer);
    }
    return n;
}
