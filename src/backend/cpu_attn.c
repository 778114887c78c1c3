/*
 * cpu_attn.c: attention over one span of keys at a time.
 *
 * A column is one query head of one token. A task takes the columns of one kv head, up to COLS_MAX
 * of them, so that a key row is loaded once for all: it gathers and scales their queries,
 * multiplies them with the keys (a product like any other, the keys being the weights), and turns
 * each column's scores into probabilities over the span, weighs the values with them, and merges
 * (max, sum, values) of the span into what earlier spans gave.
 *
 * Order of sums. A column sees the keys [0, hi) of a span, where hi follows from its position
 * alone; keys before its window count as -infinity. So neither other columns nor the length of the
 * span (which is short when decoding and long in a batch) can change the order of a sum.
 */
#include "backend/cpu_impl.h"

#include "base/limits.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#define COLS_MAX 32 /* of a task: their queries, scores and sums fill half of a 256 KiB cache */
#define COLS_MIN 4  /* with 256 keys of 128 and 128 dims about 20 us */
#define TASKS_PER_THREAD 4

struct span_loop {
    const struct cpu *c;
    const struct gattn *a;
    const struct op_io *io;
    const struct kv_span *span;
    enum dtype type_k, type_v;
    uint32_t group;   /* query heads of a kv head */
    uint32_t row0;    /* first token that sees a key of the span */
    uint32_t n_col;   /* of a kv head: (tokens, group) */
    uint32_t cols;    /* of a task */
    uint32_t n_chunk; /* tasks of a kv head */
};

struct span_tile { /* the columns of one task */
    const struct span_loop *l;
    uint32_t head_kv, col0, n_col;
    float *q; /* (n_col, dim_k) scaled queries, rows padded */
    float *s; /* (n_col, KV_SPAN) scores, then probabilities */
    float *o; /* (n_col, dim_v) sums, rows padded */
};

static float *running(const struct op_io *io, uint32_t row, uint32_t head) /* (max, sum) */
{
    return io->dst[1] + row * io->dst_stride[1] + (size_t)2 * head;
}

static uint32_t col_row(const struct span_tile *t, uint32_t col)
{
    return t->l->row0 + (t->col0 + col) / t->l->group;
}

static uint32_t col_head(const struct span_tile *t, uint32_t col)
{
    return t->head_kv * t->l->group + (t->col0 + col) % t->l->group;
}

/* Keys [lo, hi) of the span are visible from a position. */
static uint32_t key_hi(const struct kv_span *s, uint32_t pos)
{
    if (pos < s->pos0) return 0;
    return pos - s->pos0 < s->n_pos ? pos - s->pos0 + 1 : s->n_pos;
}

static uint32_t key_lo(const struct kv_span *s, uint32_t window, uint32_t pos)
{
    const uint64_t first = window && pos >= window ? pos - window + 1 : 0;
    return first > s->pos0 ? (uint32_t)(first - s->pos0) : 0;
}

static bool sees(const struct span_loop *l, uint32_t row)
{
    const uint32_t pos = l->io->pos[row];
    return key_lo(l->span, l->a->window, pos) < key_hi(l->span, pos);
}

/* ---- a task ---------------------------------------------------------------------------------- */

static void gather_queries(const struct span_tile *t)
{
    const struct gattn *a = t->l->a;
    for (uint32_t i = 0; i < t->n_col; i++) {
        const uint32_t row = col_row(t, i);
        const float *q = cpu_src(t->l->io, 0, row) + (size_t)col_head(t, i) * a->dim_k;
        float scale = a->scale;
        if (a->temp_scale != 0.0f) {
            assert(a->temp_len >= 1);
            scale *= 1.0f + a->temp_scale * logf(1.0f + (float)(t->l->io->pos[row] / a->temp_len));
        }
        t->l->c->kern.scale(q, scale, t->q + i * cpu_padded(a->dim_k), a->dim_k);
    }
}

/* Scores of the keys that any column sees. */
static void score(const struct span_tile *t, void *scratch)
{
    const struct span_loop *l = t->l;
    const uint32_t lo = key_lo(l->span, l->a->window, l->io->pos[col_row(t, 0)]);
    const uint32_t hi = key_hi(l->span, l->io->pos[col_row(t, t->n_col - 1)]);
    assert(lo < hi);
    const struct kern_mul m = {
        .w = (const uint8_t *)l->span->k + t->head_kv * l->span->k_head + lo * l->span->k_stride,
        .w_stride = l->span->k_stride,
        .n_row = hi - lo,
        .x = t->q,
        .x_stride = cpu_padded(l->a->dim_k) * sizeof *t->q,
        .n_col = t->n_col,
        .k = l->a->dim_k,
        .y = t->s + lo,
        .y_stride = KV_SPAN,
        .scratch = scratch,
    };
    l->c->kern.mul[l->type_k](&m);
}

/* Scores become e^(score - max) of the span; ms, ls: its max and sum. */
static void weigh(const struct span_tile *t, uint32_t col, float *ms, float *ls)
{
    const struct span_loop *l = t->l;
    const struct kern *k = &l->c->kern;
    const uint32_t pos = l->io->pos[col_row(t, col)];
    const uint32_t lo = key_lo(l->span, l->a->window, pos), hi = key_hi(l->span, pos);
    float *s = t->s + (size_t)col * KV_SPAN;
    for (uint32_t i = 0; i < lo; i++) s[i] = -INFINITY;
    if (l->a->softcap != 0.0f) k->softcap(s + lo, l->a->softcap, s + lo, hi - lo);
    *ms = k->max(s, hi);
    *ls = 0.0f;
    if (*ms != -INFINITY) {
        *ls = k->exp_sum(s, hi, *ms);
        return;
    }
    /* All scores are -inf: nothing to add, and no inf - inf. Or NaN, which max() passes over. */
    for (uint32_t i = lo; i < hi; i++)
        if (isnan(s[i])) *ms = s[i];
    memset(s, 0, hi * sizeof *s);
}

/* The values of the span, for runs of columns that see equally many keys: the heads of a token, or
 * whole spans. */
static void add_values(const struct span_tile *t)
{
    const struct span_loop *l = t->l;
    const size_t o_stride = cpu_padded(l->a->dim_v);
    const uint8_t *v = (const uint8_t *)l->span->v + t->head_kv * l->span->v_head;
    memset(t->o, 0, t->n_col * o_stride * sizeof *t->o);
    for (uint32_t i = 0, n; i < t->n_col; i += n) {
        const uint32_t hi = key_hi(l->span, l->io->pos[col_row(t, i)]);
        for (n = 1; i + n < t->n_col && key_hi(l->span, l->io->pos[col_row(t, i + n)]) == hi;) n++;
        l->c->kern.add_pv[l->type_v](v, l->span->v_stride, hi, l->a->dim_v,
                                     t->s + (size_t)i * KV_SPAN, KV_SPAN, n, t->o + i * o_stride,
                                     o_stride);
    }
}

static void merge(const struct span_tile *t, uint32_t col, float ms, float ls)
{
    const struct span_loop *l = t->l;
    const struct kern *k = &l->c->kern;
    const uint32_t row = col_row(t, col), head = col_head(t, col);
    float *ml = running(l->io, row, head);
    const float m = ml[0] > ms ? ml[0] : ms; /* NaN stays, for the engine to find */
    if (m == -INFINITY) return;
    const float old = expf(ml[0] - m), new = expf(ms - m);
    float *o = cpu_dst(l->io, row) + (size_t)head * l->a->dim_v;
    k->scale(o, old, o, l->a->dim_v);
    k->add_scaled(o, t->o + col * cpu_padded(l->a->dim_v), new, l->a->dim_v);
    ml[0] = m;
    ml[1] = ml[1] * old + ls * new;
}

static void span_task(void *ctx, uint32_t i_task, uint32_t i_thread)
{
    const struct span_loop *l = ctx;
    float *work = cpu_thread_buf(l->c, BUF_WORK, i_thread);
    struct span_tile t = {
        .l = l, .head_kv = i_task / l->n_chunk, .col0 = i_task % l->n_chunk * l->cols};
    t.n_col = l->n_col - t.col0 < l->cols ? l->n_col - t.col0 : l->cols;
    t.q = work;
    t.s = t.q + t.n_col * cpu_padded(l->a->dim_k);
    t.o = t.s + t.n_col * KV_SPAN;
    float ms[COLS_MAX], ls[COLS_MAX];
    gather_queries(&t);
    score(&t, cpu_thread_buf(l->c, BUF_KERN, i_thread));
    for (uint32_t i = 0; i < t.n_col; i++) weigh(&t, i, &ms[i], &ls[i]);
    add_values(&t);
    for (uint32_t i = 0; i < t.n_col; i++) merge(&t, i, ms[i], ls[i]);
}

/* ---- the operation --------------------------------------------------------------------------- */

struct rows_loop {
    const struct cpu *c;
    const struct gattn *a;
    const struct op_io *io;
};

/* A sink is a key without a value that every query sees: exp(sink) in the sum, nothing in the
 * values. */
static void begin_range(const void *ctx, uint32_t i0, uint32_t i1)
{
    const struct rows_loop *l = ctx;
    for (uint32_t r = i0; r < i1; r++) {
        memset(cpu_dst(l->io, r), 0, (size_t)l->a->n_head * l->a->dim_v * sizeof(float));
        for (uint32_t h = 0; h < l->a->n_head; h++) {
            running(l->io, r, h)[0] = l->a->sinks ? l->a->sinks[h] : -INFINITY;
            running(l->io, r, h)[1] = l->a->sinks ? 1.0f : 0.0f;
        }
    }
}

static void end_range(const void *ctx, uint32_t i0, uint32_t i1)
{
    const struct rows_loop *l = ctx;
    for (uint32_t r = i0; r < i1; r++) {
        for (uint32_t h = 0; h < l->a->n_head; h++) {
            float *o = cpu_dst(l->io, r) + (size_t)h * l->a->dim_v;
            const float sum = running(l->io, r, h)[1];
            l->c->kern.scale(o, sum == 0.0f ? 0.0f : 1.0f / sum, o, l->a->dim_v);
        }
    }
}

static enum err for_rows(struct cpu *c, const struct gop *op, const struct op_io *io,
                         cpu_range_fn *fn)
{
    assert(op->kind == GOP_ATTN);
    assert(io->n_row >= 1);
    const struct rows_loop l = {.c = c, .a = &op->u.attn, .io = io};
    cpu_for(c, io->n_row, (size_t)l.a->n_head * l.a->dim_v, fn, &l);
    return OK;
}

enum err cpu_attn_begin(void *self, const struct gop *op, const struct op_io *io)
{
    cpu_act_follow(self, op, io, false);
    return for_rows(self, op, io, begin_range);
}

enum err cpu_attn_end(void *self, const struct gop *op, const struct op_io *io)
{
    return for_rows(self, op, io, end_range);
}

enum err cpu_attn_span(void *self, const struct gop *op, const struct op_io *io,
                       const struct kv_span *span, enum dtype type_k, enum dtype type_v)
{
    const struct cpu *c = self;
    const struct gattn *a = &op->u.attn;
    assert(op->kind == GOP_ATTN);
    assert(span->n_pos <= KV_SPAN);
    assert(span->pos0 % KV_SPAN == 0);
    assert(a->n_head % a->n_head_kv == 0);
    assert(c->kern.mul_x[type_k] == KX_F32);
    assert(c->kern.add_pv[type_v]);
    struct span_loop l = {.c = c,
                          .a = a,
                          .io = io,
                          .span = span,
                          .type_k = type_k,
                          .type_v = type_v,
                          .group = a->n_head / a->n_head_kv};
    /* Positions rise, so the tokens that see a key of the span stand together. */
    uint32_t end = io->n_row;
    while (l.row0 < end && !sees(&l, l.row0)) l.row0++;
    while (end > l.row0 && !sees(&l, end - 1)) end--;
    l.n_col = (end - l.row0) * l.group;
    if (l.n_col == 0) return OK;
    l.cols = l.n_col * a->n_head_kv / (c->n_thread * TASKS_PER_THREAD) + 1;
    if (l.cols < COLS_MIN) l.cols = COLS_MIN;
    if (l.cols > COLS_MAX) l.cols = COLS_MAX;
    l.n_chunk = (l.n_col + l.cols - 1) / l.cols;
    pool_run(c->pool, span_task, &l, a->n_head_kv * l.n_chunk);
    return OK;
}

void cpu_need_attn(const struct cpu *c, const struct gop *op, uint32_t n_row,
                   size_t need[BUF_COUNT])
{
    (void)c;
    (void)n_row;
    const struct gattn *a = &op->u.attn;
    cpu_need(need, BUF_KERN, 1, kern_scratch_bytes(a->dim_k));
    cpu_need(need, BUF_WORK, COLS_MAX,
             (cpu_padded(a->dim_k) + KV_SPAN + cpu_padded(a->dim_v)) * sizeof(float));
}
