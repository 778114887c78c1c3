/*
 * exec.c: one step of a graph.
 *
 * Rows before GOP_OUT_ROWS are the step's tokens, run after run; what looks at other positions
 * (caches, attention, recurrences) takes the rows of one run at a time, all else takes them
 * together. After GOP_OUT_ROWS they are the rows whose logits are wanted, taken OUT_ROWS_MAX at a
 * time, because a row of logits is as wide as the vocabulary.
 *
 * Attention and experts are where a graph meets the outside: the spans of the cache come in rising
 * order from kv_src whatever tier holds them; experts come from expert_src in any order, work on
 * their own rows, and the rows of a token are summed in the order of its choice, so arrival order
 * cannot change a bit.
 */
#include "graph/exec.h"

#include "base/mem.h"
#include "base/os.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#define OUT_ROWS_MAX 32 /* logit rows at once: a vocabulary matrix is read once for this many */
#define PAIRS_ENOUGH                                                                               \
    512 /* of one call with experts: seconds on the slowest, and work for all threads */
#define SPAN_ROWS_ENOUGH 4096 /* rows times spans of one call of attention: likewise */

struct exec {
    const struct graph *g;
    const struct backend *be;
    const struct ports *ports;
    uint32_t n_row_max, n_out_max;
    float *arena; /* (row_floats, n_row_max) then (out_floats, n_out_max), laid out by plan.c */
    float *out_arena;
    float **cos, **sin; /* (n_rope) of (n_row_max, n_rot / 2) */
    uint32_t *pos;      /* (n_row_max) */
    uint64_t n_step;
    bool may_stop;                       /* this step takes long enough to be left in the middle */
    struct attn_span span[KV_SPANS_MAX]; /* the first n_span are held */
    uint32_t n_span, n_span_row;         /* n_span_row: the sum of their n_row */
    /* experts of one operation: see struct moe_rows */
    uint32_t n_used_max, n_expert_max;
    uint32_t *id, *token, *at, *first, *expert, *slot_of;
    float *weight;
    struct expert_want *want;
};

static void find_moe_sizes(struct exec *x)
{
    for (uint32_t i = 0; i < x->g->n_op; i++) {
        const struct gop *op = &x->g->op[i];
        if (op->kind != GOP_MOE) continue;
        if (op->u.moe.n_used > x->n_used_max) x->n_used_max = op->u.moe.n_used;
        if (op->u.moe.n_expert > x->n_expert_max) x->n_expert_max = op->u.moe.n_expert;
    }
}

static bool alloc_moe(struct exec *x)
{
    const size_t n_pair = (size_t)x->n_row_max * x->n_used_max;
    const size_t n_expert = x->n_expert_max;
    x->id = mem_alloc_array(MEM_ARENA, n_pair, sizeof *x->id);
    x->token = mem_alloc_array(MEM_ARENA, n_pair, sizeof *x->token);
    x->at = mem_alloc_array(MEM_ARENA, n_pair, sizeof *x->at);
    x->weight = mem_alloc_array(MEM_ARENA, n_pair, sizeof *x->weight);
    x->first = mem_alloc_array(MEM_ARENA, n_expert + 1, sizeof *x->first);
    x->expert = mem_alloc_array(MEM_ARENA, n_expert, sizeof *x->expert);
    x->slot_of = mem_alloc_array(MEM_ARENA, n_expert, sizeof *x->slot_of);
    x->want = mem_alloc_array(MEM_ARENA, n_expert, sizeof *x->want);
    return x->id && x->token && x->at && x->weight && x->first && x->expert && x->slot_of &&
           x->want;
}

static bool alloc_rope(struct exec *x)
{
    const uint32_t n = x->g->n_rope;
    x->cos = mem_alloc_array(MEM_ARENA, n, sizeof *x->cos);
    x->sin = mem_alloc_array(MEM_ARENA, n, sizeof *x->sin);
    if (!x->cos || !x->sin) return false;
    for (uint32_t i = 0; i < n; i++) {
        const size_t n_float = (size_t)x->n_row_max * (x->g->rope[i].n_rot / 2);
        x->cos[i] = mem_alloc_array(MEM_ARENA, n_float, sizeof(float));
        x->sin[i] = mem_alloc_array(MEM_ARENA, n_float, sizeof(float));
        if (!x->cos[i] || !x->sin[i]) return false;
    }
    return true;
}

enum err exec_open(struct exec **out, const struct graph *g, const struct backend *be,
                   const struct ports *ports, uint32_t n_row_max)
{
    assert(out);
    assert(n_row_max >= 1);
    assert(n_row_max <= BATCH_MAX);
    struct exec *x = mem_alloc(MEM_ARENA, sizeof *x);
    *out = x;
    if (!x) return ERR_MEMORY;
    x->g = g;
    x->be = be;
    x->ports = ports;
    x->n_row_max = n_row_max;
    x->n_out_max = n_row_max < OUT_ROWS_MAX ? n_row_max : OUT_ROWS_MAX;
    find_moe_sizes(x);
    enum err e = ERR_MEMORY;
    x->arena = mem_alloc_array(MEM_ARENA, g->row_floats, n_row_max * sizeof(float));
    x->out_arena = mem_alloc_array(MEM_ARENA, g->out_floats, x->n_out_max * sizeof(float));
    x->pos = mem_alloc_array(MEM_ARENA, n_row_max, sizeof *x->pos);
    if (!x->arena || !x->out_arena || !x->pos || !alloc_rope(x) || !alloc_moe(x)) goto fail;
    e = be->reserve(be->self, g, n_row_max);
    if (e) goto fail;
    return OK;
fail:
    exec_close(x);
    *out = NULL;
    return e;
}

void exec_close(struct exec *x)
{
    if (!x) return;
    for (uint32_t i = 0; i < x->g->n_rope; i++) {
        if (x->cos) mem_free(x->cos[i]);
        if (x->sin) mem_free(x->sin[i]);
    }
    void *const owned[] = {x->cos, x->sin,   x->arena,  x->out_arena, x->pos,    x->id,  x->token,
                           x->at,  x->first, x->expert, x->slot_of,   x->weight, x->want};
    for (size_t i = 0; i < sizeof owned / sizeof *owned; i++) mem_free(owned[i]);
    mem_free(x);
}

size_t exec_arena_bytes(const struct exec *x)
{
    return (x->g->row_floats * x->n_row_max + x->g->out_floats * x->n_out_max) * sizeof(float);
}

/* ---- values to memory ------------------------------------------------------------------------ */

static float *at_value(const struct exec *x, struct gval v, size_t *stride)
{
    if (v.buf < 0) return NULL;
    const struct gbuf *b = &x->g->buf[v.buf];
    *stride = gbuf_stride(b);
    return b->n_out_rows ? x->out_arena + b->offset * x->n_out_max + v.at
                         : x->arena + b->offset * x->n_row_max + v.at;
}

static void bind(const struct exec *x, const struct gop *op, const struct step *s, uint32_t n_row,
                 struct op_io *io)
{
    *io = (struct op_io){.n_row = n_row, .token = s->token, .pos = x->pos};
    for (int i = 0; i < GOP_SRC_MAX; i++) io->src[i] = at_value(x, op->src[i], &io->src_stride[i]);
    for (int i = 0; i < GOP_OUT_MAX; i++) io->dst[i] = at_value(x, op->dst[i], &io->dst_stride[i]);
    if (op->kind == GOP_ROPE) {
        io->n_rot = x->g->rope[op->u.rope.table].n_rot;
        io->cos = x->cos[op->u.rope.table];
        io->sin = x->sin[op->u.rope.table];
    }
    if (op->kind == GOP_MOE) {
        size_t dense; /* it fills a whole buffer, so it is addressed without the stride */
        io->y = at_value(x, op->u.moe.y, &dense);
    }
}

/* Rows [row0, row0 + n) of an operation that reads and writes its rows in the same places. */
static struct op_io some_rows(const struct op_io *io, uint32_t row0, uint32_t n)
{
    struct op_io part = *io;
    part.n_row = n;
    part.token += row0;
    part.pos += row0;
    for (int i = 0; i < GOP_SRC_MAX; i++)
        if (part.src[i]) part.src[i] += row0 * part.src_stride[i];
    for (int i = 0; i < GOP_OUT_MAX; i++)
        if (part.dst[i]) part.dst[i] += row0 * part.dst_stride[i];
    return part;
}

/* Angles in double: a float32 product loses 1e-3 rad at position 10^4. */
static void fill_rope(struct exec *x, uint32_t n_row)
{
    for (uint32_t i = 0; i < x->g->n_rope; i++) {
        const struct grope_table *t = &x->g->rope[i];
        const uint32_t n = t->n_rot / 2;
        for (uint32_t r = 0; r < n_row; r++) {
            for (uint32_t j = 0; j < n; j++) {
                const double angle = (double)x->pos[r] * (double)t->inv_freq[j];
                x->cos[i][(size_t)r * n + j] = (float)(cos(angle) * (double)t->magnitude);
                x->sin[i][(size_t)r * n + j] = (float)(sin(angle) * (double)t->magnitude);
            }
        }
    }
}

/* A piece of a prompt may take a minute; single tokens are let finish: they are whole. */
static enum err check_signals(const struct exec *x)
{
    return x->may_stop && os_interrupted() ? err_set(ERR_INTR, "interrupted") : OK;
}

/* ---- operations that call ports, on the rows of one run -------------------------------------- */

static enum err run_kv(struct exec *x, const struct gop *op, const struct op_io *io,
                       const struct step_run *run)
{
    const struct kv_src *kv = &x->ports->kv;
    return kv->append(kv->self, run->seq, op->layer, run->pos0, io->n_row, io->src[0],
                      io->src_stride[0], io->src[1], io->src_stride[1]);
}

static enum err run_recurrent(struct exec *x, const struct gop *op, struct op_io *io,
                              const struct step_run *run)
{
    const struct state_src *st = &x->ports->state;
    const enum err e = st->get(st->self, run->seq, op->layer, &io->state);
    return e ? e : x->be->run(x->be->self, op, io);
}

static enum err for_runs(struct exec *x, const struct gop *op, const struct op_io *io,
                         const struct step *s)
{
    uint32_t row0 = 0;
    for (uint32_t i = 0; i < s->n_run; row0 += s->run[i++].n_tok) {
        struct op_io part = some_rows(io, row0, s->run[i].n_tok);
        const enum err e = op->kind == GOP_KV ? run_kv(x, op, &part, &s->run[i])
                                              : run_recurrent(x, op, &part, &s->run[i]);
        if (e) return e;
    }
    assert(row0 == io->n_row);
    return OK;
}

/* ---- attention ------------------------------------------------------------------------------- */

static void release_spans(struct exec *x)
{
    const struct kv_src *kv = &x->ports->kv;
    for (uint32_t i = 0; i < x->n_span; i++) kv->release(kv->self, &x->span[i].kv);
    x->n_span = x->n_span_row = 0;
}

/* Works on the spans that are held and gives them back. */
static enum err run_spans(struct exec *x, const struct gop *op, const struct op_io *io)
{
    const struct kv_src *kv = &x->ports->kv;
    if (x->n_span == 0) return OK;
    const enum err e =
        x->be->attn_spans(x->be->self, op, io, x->span, x->n_span, kv->type_k, kv->type_v);
    release_spans(x);
    return e ? e : check_signals(x);
}

/* Collects the spans of one run behind those of earlier runs, and works on them when they are many
 * or the next one is not there yet. */
static enum err collect_spans(struct exec *x, const struct gop *op, const struct op_io *io,
                              const struct step_run *run, uint32_t row0)
{
    const struct kv_src *kv = &x->ports->kv;
    const uint32_t window = op->u.attn.window;
    /* The first query's window starts earliest: keys below it are visible to none. */
    const uint32_t begin = window && run->pos0 >= window ? run->pos0 - window + 1 : 0;
    struct kv_iter it;
    enum err e =
        kv->iter(kv->self, run->seq, op->u.attn.kv_layer, begin, run->pos0 + run->n_tok, &it);
    if (e) return e;
    while (e == OK) {
        struct attn_span *const next = &x->span[x->n_span];
        e = kv->next(&it, x->n_span == 0, &next->kv);
        assert(e != ERR_AGAIN || x->n_span > 0);
        if (e == OK) {
            next->row0 = row0;
            next->n_row = run->n_tok;
            x->n_span++;
            x->n_span_row += run->n_tok;
        }
        const bool enough = x->n_span == KV_SPANS_MAX || x->n_span_row >= SPAN_ROWS_ENOUGH;
        if (e == ERR_AGAIN || (e == OK && enough)) e = run_spans(x, op, io);
    }
    kv->done(&it);
    return e == ERR_END ? OK : e;
}

/* All runs together: their spans fill the threads where one run has too few. */
static enum err run_attn(struct exec *x, const struct gop *op, const struct op_io *io,
                         const struct step *s)
{
    enum err e = x->be->attn_begin(x->be->self, op, io);
    uint32_t row0 = 0;
    for (uint32_t i = 0; i < s->n_run && e == OK; row0 += s->run[i++].n_tok)
        e = collect_spans(x, op, io, &s->run[i], row0);
    if (e == OK) e = run_spans(x, op, io);
    release_spans(x);
    return e ? e : x->be->attn_end(x->be->self, op, io);
}

/* ---- experts --------------------------------------------------------------------------------- */

/* Sorts the pairs of a step by expert: counts, then places, both in order, so the sort is
 * stable. */
static struct moe_rows sort_pairs(struct exec *x, const struct gmoe *m, uint32_t n_row)
{
    const uint32_t n_pair = n_row * m->n_used;
    uint32_t *const count = x->slot_of; /* first the count of each expert, then its slot */
    memset(count, 0, m->n_expert * sizeof *count);
    for (uint32_t i = 0; i < n_pair; i++) {
        assert(x->id[i] < m->n_expert);
        count[x->id[i]]++;
    }
    uint32_t n_want = 0, n_before = 0;
    for (uint32_t e = 0; e < m->n_expert; e++) {
        if (count[e] == 0) continue;
        x->first[n_want] = n_before;
        x->expert[n_want] = e;
        x->want[n_want] = (struct expert_want){.expert = (uint16_t)e};
        n_before += count[e];
        count[e] = n_want++;
    }
    for (uint32_t i = 0; i < n_pair; i++) {
        const uint32_t at = x->first[x->slot_of[x->id[i]]]++;
        x->at[i] = at;
        x->token[at] = i / m->n_used;
    }
    for (uint32_t i = n_want; i > 0; i--)
        x->first[i] = x->first[i - 1]; /* each moved to its end: shift back */
    x->first[0] = 0;
    return (struct moe_rows){.id = x->id,
                             .weight = x->weight,
                             .token = x->token,
                             .at = x->at,
                             .first = x->first,
                             .expert = x->expert,
                             .n_want = n_want};
}

/* Experts that are complete, for one call; waits for the first. ERR_END, ERR_AGAIN: there are no
 * more, or none yet; *n of them are there whatever is returned. */
static enum err collect(const struct exec *x, const struct moe_rows *rows, struct expert_set *set,
                        struct expert_view *view, uint32_t *n)
{
    uint32_t n_pair = 0;
    enum err e = OK;
    *n = 0;
    while (e == OK && *n < EXPERT_VIEWS_MAX && n_pair < PAIRS_ENOUGH) {
        e = x->ports->experts.next(set, *n == 0, &view[*n]);
        if (e) break;
        assert(view[*n].slot < rows->n_want);
        n_pair += rows->first[view[*n].slot + 1] - rows->first[view[*n].slot];
        ++*n;
    }
    return e;
}

/* Works on whatever experts are complete while the others arrive. */
static enum err run_experts(struct exec *x, const struct gop *op, const struct op_io *io,
                            const struct moe_rows *rows, struct expert_set *set)
{
    struct expert_view view[EXPERT_VIEWS_MAX];
    uint32_t n_seen = 0, n;
    for (;;) {
        const enum err e = collect(x, rows, set, view, &n);
        enum err e_run = e == ERR_END || e == ERR_AGAIN ? OK : e;
        if (e_run == OK && n) e_run = x->be->moe_experts(x->be->self, op, io, rows, view, n);
        for (uint32_t i = 0; i < n; i++) x->ports->experts.release(set, &view[i]);
        if (e_run == OK) e_run = check_signals(x);
        if (e_run) return e_run;
        n_seen += n;
        if (e != ERR_END) continue;
        assert(n_seen == rows->n_want); /* else rows of the sum were never written */
        return OK;
    }
}

static enum err run_moe(struct exec *x, const struct gop *op, const struct op_io *io)
{
    const struct backend *be = x->be;
    const struct expert_src *src = &x->ports->experts;
    enum err e = be->moe_route(be->self, op, io, x->id, x->weight);
    if (e) return e;
    const struct moe_rows rows = sort_pairs(x, &op->u.moe, io->n_row);
    struct expert_set *set = NULL;
    e = src->request(src->self, op->layer, x->want, rows.n_want, &set);
    if (e) return e;
    e = be->moe_begin(be->self, op, io, &rows);
    if (e == OK) e = run_experts(x, op, io, &rows, set);
    src->set_close(set);
    return e ? e : be->moe_end(be->self, op, io, &rows);
}

static enum err run_reduce(struct exec *x, uint32_t i_op, const struct op_io *io)
{
    const struct comm *c = &x->ports->comm;
    if (c->n_rank <= 1) return OK;
    assert(io->dst_stride[0] >= x->g->op[i_op].dst[0].n);
    return c->all_reduce(c->self, x->n_step, i_op, io->dst[0], io->n_row * io->dst_stride[0]);
}

static enum err run_op(struct exec *x, uint32_t i_op, const struct step *s, uint32_t n_row)
{
    const struct gop *op = &x->g->op[i_op];
    struct op_io io;
    bind(x, op, s, n_row, &io);
    switch (op->kind) {
    case GOP_ATTN:
        return run_attn(x, op, &io, s);
    case GOP_KV:
    case GOP_CONV:
    case GOP_GDN:
    case GOP_SSM:
        return for_runs(x, op, &io, s);
    case GOP_MOE:
        return run_moe(x, op, &io);
    case GOP_REDUCE:
        return run_reduce(x, i_op, &io);
    default:
        return x->be->run(x->be->self, op, &io);
    }
}

/* ---- the step -------------------------------------------------------------------------------- */

struct out_row {
    uint32_t i_run, row, pos;
};

/* These rows of the hidden state through the rest of the list, to the logits. */
static enum err run_head(struct exec *x, uint32_t i_out, const struct step *s,
                         const struct out_row *want, uint32_t n)
{
    const struct gop *out = &x->g->op[i_out];
    size_t from_stride, to_stride;
    const float *from = at_value(x, out->src[0], &from_stride);
    float *to = at_value(x, out->dst[0], &to_stride);
    for (uint32_t i = 0; i < n; i++)
        memcpy(to + i * to_stride, from + want[i].row * from_stride, out->src[0].n * sizeof *to);
    for (uint32_t i = i_out + 1; i < x->g->n_op; i++) {
        const enum err e = run_op(x, i, s, n);
        if (e) return e;
    }
    size_t stride;
    const float *logits = at_value(x, x->g->logits, &stride);
    for (uint32_t i = 0; i < n; i++) {
        const enum err e = s->on_row(s->ctx, want[i].i_run, want[i].pos, logits + i * stride);
        if (e) return e;
    }
    return OK;
}

static enum err run_heads(struct exec *x, uint32_t i_out, const struct step *s)
{
    struct out_row want[OUT_ROWS_MAX];
    uint32_t n = 0, row0 = 0;
    for (uint32_t i = 0; i < s->n_run; row0 += s->run[i++].n_tok) {
        for (uint32_t t = s->run[i].out_from; t < s->run[i].n_tok; t++) {
            want[n++] = (struct out_row){i, row0 + t, s->run[i].pos0 + t};
            if (n < x->n_out_max) continue;
            const enum err e = run_head(x, i_out, s, want, n);
            if (e) return e;
            n = 0;
        }
    }
    return n ? run_head(x, i_out, s, want, n) : OK;
}

static uint32_t fill_pos(struct exec *x, const struct step *s)
{
    uint32_t n_row = 0;
    for (uint32_t i = 0; i < s->n_run; i++) {
        assert(s->run[i].n_tok >= 1);
        assert(s->run[i].n_tok <= x->n_row_max - n_row);
        for (uint32_t t = 0; t < s->run[i].n_tok; t++) x->pos[n_row++] = s->run[i].pos0 + t;
    }
    return n_row;
}

enum err exec_step(struct exec *x, const struct step *s)
{
    assert(s->n_run >= 1);
    const uint32_t n_row = fill_pos(x, s);
    fill_rope(x, n_row);
    x->n_step++;
    x->may_stop = n_row > s->n_run;
    uint32_t i_op = 0;
    for (; i_op < x->g->n_op && x->g->op[i_op].kind != GOP_OUT_ROWS; i_op++) {
        enum err e = check_signals(x);
        if (e == OK) e = run_op(x, i_op, s, n_row);
        if (e) return e;
    }
    x->may_stop = false;
    assert(i_op < x->g->n_op);
    return run_heads(x, i_op, s);
}
