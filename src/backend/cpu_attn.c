/*
 * cpu_attn.c: attention over the spans of several timelines at once.
 *
 * A column is one query head of one token. A tile is up to COLS_MAX columns of one kv head, so that
 * a key is loaded once for all. A task gathers and scales the queries of a tile and goes through
 * the spans. It multiplies the queries with the keys (a product like any other, the keys being the
 * weights), turns each column's scores into probabilities over the span, weighs the values with
 * them, and merges (max, sum, values) of the span into what earlier spans gave.
 *
 * Where the tiles are fewer than the threads want (one token, few kv heads), a task has one span of
 * them, and leaves its results in BUF_PART; they are merged afterwards, in the same order.
 *
 * Where there are more tasks than wanted, a task takes several kv heads, first their keys and then
 * their values: memory is read fastest in long runs, and the keys that a head of 64 dimensions has
 * in a span are 32 KiB of F16 (SmolLM2-135M after 4096 tokens, 3 kv heads, 2 cores of Zen 4: 14 %
 * faster; heads one by one in the order of memory: 8 %).
 *
 * Order of sums. A column sees the keys [lo, hi) of a span, where both follow from its position
 * alone; lo is rounded down to a tile, and keys before its window count as -infinity. So neither
 * other columns nor the length of the span (which is short when decoding and long in a batch) can
 * change the order of a sum.
 */
#include "backend/cpu_impl.h"

#include "base/limits.h"
#include "kern/kv.h"
#include "quant/block.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#define COLS_MAX 32 /* of a task: their queries, scores and sums fill half of a 256 KiB cache */
#define COLS_MIN 4  /* with 256 keys of 128 and 128 dims about 10 us */
#define COLS_PV 12 /* weighed together, also where they end at different keys: two register tiles */
#define BESIDE_MAX 8 /* kv heads of a task */
#define TASKS_PER_THREAD 4

struct timeline { /* the spans of one timeline, and its tokens */
    uint32_t span0, n_span;
    uint32_t row0, n_row;
    uint32_t n_chunk;    /* tasks that the columns of a kv head make */
    uint32_t n_beside;   /* kv heads of a task */
    uint32_t first_task; /* of the loop */
    uint32_t first_part; /* parts of earlier timelines, in tokens */
};

struct attn_loop {
    const struct cpu *c;
    const struct gattn *a;
    const struct op_io *io;
    const struct attn_span *span;
    enum dtype type_k, type_v;
    enum kern_x form; /* of the queries */
    uint32_t group;   /* query heads of a kv head */
    uint32_t cols;    /* of a task */
    bool by_span;     /* a task has one span and leaves a part */
    struct timeline line[KV_SPANS_MAX];
    uint32_t n_line;
};

struct attn_tile { /* some columns of one kv head */
    const struct attn_loop *l;
    uint32_t row0; /* of the timeline */
    uint32_t head_kv, col0, n_col;
    uint8_t *q; /* (n_col) scaled queries as the keys' type takes them */
    float *s;   /* (n_col, KV_SPAN) scores, then probabilities */
    float *o;   /* (n_col, dim_v) sums, rows padded */
    float ms[COLS_MAX], ls[COLS_MAX];
    /* the span at hand, and the columns [c0, c1) that see some of it */
    const struct kv_span *span;
    uint32_t c0, c1;
};

static float *running(const struct op_io *io, uint32_t row, uint32_t head) /* (max, sum) */
{
    return io->dst[1] + row * io->dst_stride[1] + (size_t)2 * head;
}

static uint32_t col_row(const struct attn_tile *t, uint32_t col)
{
    return t->row0 + (t->col0 + col) / t->l->group;
}

static uint32_t col_pos(const struct attn_tile *t, uint32_t col)
{
    return t->l->io->pos[col_row(t, col)];
}

static uint32_t col_head(const struct attn_tile *t, uint32_t col)
{
    return t->head_kv * t->l->group + (t->col0 + col) % t->l->group;
}

/* Keys [lo, hi) of the span are visible to a column, and weighed from the start of lo's tile on. */
static uint32_t key_hi(const struct attn_tile *t, uint32_t col)
{
    const struct kv_span *s = t->span;
    const uint32_t pos = col_pos(t, col);
    if (pos < s->pos0) return 0;
    return pos - s->pos0 < s->n_pos ? pos - s->pos0 + 1 : s->n_pos;
}

static uint32_t key_lo(const struct attn_tile *t, uint32_t col)
{
    const uint32_t pos = col_pos(t, col), window = t->l->a->window;
    const uint32_t first = window && pos >= window ? pos - window + 1 : 0;
    return first > t->span->pos0 ? first - t->span->pos0 : 0;
}

static uint32_t key_start(const struct attn_tile *t, uint32_t col)
{
    return key_lo(t, col) / KV_TILE * KV_TILE;
}

/* Turns to a span. False: no column sees any of it. Positions rise, so those that do stand
 * together. */
static bool turn_to(struct attn_tile *t, const struct kv_span *span)
{
    t->span = span;
    t->c0 = 0;
    t->c1 = t->n_col;
    while (t->c0 < t->c1 && key_lo(t, t->c0) >= key_hi(t, t->c0)) t->c0++;
    while (t->c1 > t->c0 && key_lo(t, t->c1 - 1) >= key_hi(t, t->c1 - 1)) t->c1--;
    return t->c0 < t->c1;
}

/* ---- a task ---------------------------------------------------------------------------------- */

static size_t query_bytes(enum kern_x form, size_t dim)
{
    return form == KX_Q8 ? cpu_form_bytes(form, dim) : cpu_padded(dim) * sizeof(float);
}

static void gather_queries(const struct attn_tile *t)
{
    const struct attn_loop *l = t->l;
    const struct gattn *a = l->a;
    for (uint32_t i = 0; i < t->n_col; i++) {
        const float *x = cpu_src(l->io, 0, col_row(t, i)) + (size_t)col_head(t, i) * a->dim_k;
        uint8_t *const q = t->q + i * query_bytes(l->form, a->dim_k);
        float *const scaled = l->form == KX_F32 ? (float *)(void *)q : t->s;
        float scale = a->scale;
        if (a->temp_scale != 0.0f) {
            assert(a->temp_len >= 1);
            scale *= 1.0f + a->temp_scale * logf(1.0f + (float)(col_pos(t, i) / a->temp_len));
        }
        l->c->kern.scale(x, scale, scaled, a->dim_k);
        if (l->form == KX_Q8) l->c->kern.quant_q8(scaled, a->dim_k, q);
    }
}

/* Scores of the keys that any column sees. */
static void score(const struct attn_tile *t, void *scratch)
{
    const struct attn_loop *l = t->l;
    const struct kv_span *span = t->span;
    const uint32_t lo = key_start(t, t->c0), hi = key_hi(t, t->c1 - 1);
    assert(lo < hi);
    const size_t row_bytes = dtype_row_bytes(l->type_k, l->a->dim_k);
    const struct kern_mul m = {
        .w = (const uint8_t *)span->k + t->head_kv * span->k_head + lo * row_bytes,
        .w_stride = row_bytes,
        .n_row = l->a->v_in_k ? hi - lo : kv_tiles(hi - lo),
        .is_packed = !l->a->v_in_k,
        .x = t->q + t->c0 * query_bytes(l->form, l->a->dim_k),
        .x_stride = query_bytes(l->form, l->a->dim_k),
        .n_col = t->c1 - t->c0,
        .k = l->a->dim_k,
        .y = t->s + (size_t)t->c0 * KV_SPAN + lo,
        .y_stride = KV_SPAN,
        .scratch = scratch,
    };
    l->c->kern.mul[l->type_k](&m);
}

/* Scores become e^(score - max) of the span. */
static void weigh(struct attn_tile *t, uint32_t col)
{
    const struct attn_loop *l = t->l;
    const struct kern *k = &l->c->kern;
    const uint32_t lo = key_lo(t, col), hi = key_hi(t, col), start = key_start(t, col);
    float *const s = t->s + (size_t)col * KV_SPAN;
    for (uint32_t i = start; i < lo; i++) s[i] = -INFINITY;
    if (l->a->softcap != 0.0f) k->softcap(s + lo, l->a->softcap, s + lo, hi - lo);
    t->ms[col] = k->max(s + lo, hi - lo);
    t->ls[col] = 0.0f;
    if (t->ms[col] != -INFINITY) {
        t->ls[col] = k->exp_sum(s + start, hi - start, t->ms[col]);
        return;
    }
    /* All scores are -inf: nothing to add, and no inf - inf. Or NaN, which max() passes over. */
    for (uint32_t i = lo; i < hi; i++)
        if (isnan(s[i])) t->ms[col] = s[i];
    memset(s + start, 0, (hi - start) * sizeof *s);
}

/* The values [p0, p1) of the span to the sums of n columns. */
static void add_range(const struct attn_tile *t, uint32_t col, uint32_t n, uint32_t p0, uint32_t p1)
{
    const struct attn_loop *l = t->l;
    const enum dtype type = l->a->v_in_k ? l->type_k : l->type_v;
    const size_t stride = dtype_row_bytes(type, l->a->v_in_k ? l->a->dim_k : l->a->dim_v);
    const size_t o_stride = cpu_padded(l->a->dim_v);
    const uint8_t *v = (const uint8_t *)t->span->v + t->head_kv * t->span->v_head;
    if (p0 >= p1) return;
    l->c->kern.add_pv[type](v + p0 * stride, stride, p1 - p0, l->a->dim_v,
                            t->s + (size_t)col * KV_SPAN + p0, KV_SPAN, n, t->o + col * o_stride,
                            o_stride);
}

static uint32_t at_least(uint32_t a, uint32_t b)
{
    return a > b ? a : b;
}

static uint32_t at_most(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

/* Columns side by side share what all of them see; before and after it each goes on alone. */
static void add_values(const struct attn_tile *t)
{
    const size_t o_stride = cpu_padded(t->l->a->dim_v);
    memset(t->o + t->c0 * o_stride, 0, (t->c1 - t->c0) * o_stride * sizeof *t->o);
    for (uint32_t c = t->c0, n; c < t->c1; c += n) {
        const uint32_t hi_first = key_hi(t, c);
        for (n = 1; c + n < t->c1 && (n < COLS_PV || key_hi(t, c + n) == hi_first);) n++;
        const uint32_t lo = key_start(t, c + n - 1), hi = at_least(lo, hi_first);
        for (uint32_t i = c; i < c + n; i++)
            add_range(t, i, 1, key_start(t, i), at_most(lo, key_hi(t, i)));
        add_range(t, c, n, lo, hi);
        for (uint32_t i = c; i < c + n; i++)
            add_range(t, i, 1, at_least(hi, key_start(t, i)), key_hi(t, i));
    }
}

/* ---- merging --------------------------------------------------------------------------------- */

static void merge(const struct cpu *c, uint32_t dim, float ms, float ls, const float *os, float *ml,
                  float *o)
{
    const float m = ml[0] > ms ? ml[0] : ms; /* NaN stays, for the engine to find */
    if (m == -INFINITY) return;
    const float old = expf(ml[0] - m), new = expf(ms - m);
    c->kern.scale(o, old, o, dim);
    c->kern.add_scaled(o, os, new, dim);
    ml[0] = m;
    ml[1] = ml[1] * old + ls * new;
}

static void merge_tile(const struct attn_tile *t)
{
    const struct attn_loop *l = t->l;
    const uint32_t dim = l->a->dim_v;
    for (uint32_t i = t->c0; i < t->c1; i++) {
        const uint32_t row = col_row(t, i), head = col_head(t, i);
        merge(l->c, dim, t->ms[i], t->ls[i], t->o + i * cpu_padded(dim), running(l->io, row, head),
              cpu_dst(l->io, row) + (size_t)head * dim);
    }
}

/* A part: the values of one head of one token over one span, then max and sum. */
static size_t part_floats(const struct gattn *a)
{
    return cpu_padded(a->dim_v + 2);
}

static float *part_at(const struct attn_loop *l, const struct timeline *line, uint32_t i_span,
                      uint32_t row, uint32_t head)
{
    const size_t i_row = line->first_part + (i_span - line->span0) * line->n_row + row - line->row0;
    assert(i_row < KV_SPANS_MAX);
    return (float *)(void *)l->c->buf[BUF_PART].p +
           (i_row * l->a->n_head + head) * part_floats(l->a);
}

static void keep_part(const struct attn_tile *t, const struct timeline *line, uint32_t i_span)
{
    const uint32_t dim = t->l->a->dim_v;
    for (uint32_t i = 0; i < t->n_col; i++) {
        float *const part = part_at(t->l, line, i_span, col_row(t, i), col_head(t, i));
        const bool sees = t->c0 <= i && i < t->c1;
        part[dim] = sees ? t->ms[i] : -INFINITY;
        part[dim + 1] = sees ? t->ls[i] : 0.0f;
        if (sees) memcpy(part, t->o + i * cpu_padded(dim), dim * sizeof *part);
    }
}

/* (token, head) pairs of one timeline */
struct merge_loop {
    const struct attn_loop *l;
    const struct timeline *line;
};

static void merge_range(const void *ctx, uint32_t i0, uint32_t i1)
{
    const struct merge_loop *m = ctx;
    const struct attn_loop *l = m->l;
    const struct gattn *a = l->a;
    for (uint32_t i = i0; i < i1; i++) {
        const uint32_t row = m->line->row0 + i / a->n_head, head = i % a->n_head;
        for (uint32_t s = 0; s < m->line->n_span; s++) {
            const float *part = part_at(l, m->line, m->line->span0 + s, row, head);
            if (part[a->dim_v] == -INFINITY) continue;
            merge(l->c, a->dim_v, part[a->dim_v], part[a->dim_v + 1], part,
                  running(l->io, row, head), cpu_dst(l->io, row) + (size_t)head * a->dim_v);
        }
    }
}

/* ---- tasks ----------------------------------------------------------------------------------- */

/* Parts that the kv heads are in. */
static uint32_t n_sides(const struct attn_loop *l, const struct timeline *line)
{
    return (l->a->n_head_kv + line->n_beside - 1) / line->n_beside;
}

static uint32_t n_tasks(const struct attn_loop *l, const struct timeline *line)
{
    return n_sides(l, line) * line->n_chunk * (l->by_span ? line->n_span : 1);
}

/* A task's tiles, one for each of its kv heads; how many. */
static uint32_t make_tiles(const struct attn_loop *l, const struct timeline *line, uint32_t head0,
                           uint32_t col0, uint8_t *work, struct attn_tile tile[BESIDE_MAX])
{
    const size_t n_score = at_least(KV_SPAN, (uint32_t)cpu_padded(l->a->dim_k));
    const uint32_t n = at_most(line->n_beside, l->a->n_head_kv - head0);
    const uint32_t n_col = at_most(l->cols, line->n_row * l->group - col0);
    assert(n * n_col <= COLS_MAX);
    float *const s = (float *)(void *)(work + n * n_col * query_bytes(l->form, l->a->dim_k));
    float *const o = s + n * n_col * n_score;
    for (uint32_t i = 0; i < n; i++) {
        tile[i] = (struct attn_tile){
            .l = l,
            .row0 = line->row0,
            .head_kv = head0 + i,
            .col0 = col0,
            .n_col = n_col,
            .q = work + i * n_col * query_bytes(l->form, l->a->dim_k),
            .s = s + i * n_col * n_score,
            .o = o + i * n_col * cpu_padded(l->a->dim_v),
        };
        gather_queries(&tile[i]);
    }
    return n;
}

/* All keys first, then all values, as they lie in memory. */
static void add_span(struct attn_tile *tile, uint32_t n, const struct kv_span *span, void *scratch)
{
    for (uint32_t i = 0; i < n; i++)
        if (turn_to(&tile[i], span)) score(&tile[i], scratch);
    for (uint32_t i = 0; i < n; i++) {
        for (uint32_t c = tile[i].c0; c < tile[i].c1; c++) weigh(&tile[i], c);
        add_values(&tile[i]);
    }
}

static void attn_task(void *ctx, uint32_t i_task, uint32_t i_thread)
{
    const struct attn_loop *l = ctx;
    const struct timeline *line = l->line;
    while (i_task >= line->first_task + n_tasks(l, line)) line++;
    assert(line < l->line + l->n_line);
    const uint32_t i = i_task - line->first_task, i_side = i / line->n_chunk;
    const uint32_t n_side = n_sides(l, line);
    uint32_t s0 = line->span0, s1 = line->span0 + line->n_span;
    if (l->by_span) {
        s0 += i_side / n_side;
        s1 = s0 + 1;
    }
    struct attn_tile tile[BESIDE_MAX];
    const uint32_t n = make_tiles(l, line, i_side % n_side * line->n_beside,
                                  i % line->n_chunk * l->cols,
                                  cpu_thread_buf(l->c, BUF_WORK, i_thread), tile);
    for (uint32_t s = s0; s < s1; s++) {
        add_span(tile, n, &l->span[s].kv, cpu_thread_buf(l->c, BUF_KERN, i_thread));
        for (uint32_t j = 0; j < n; j++) {
            if (l->by_span)
                keep_part(&tile[j], line, s);
            else
                merge_tile(&tile[j]);
        }
    }
}

/* One run of spans for each timeline. */
static void find_lines(struct attn_loop *l, uint32_t n_span)
{
    for (uint32_t i = 0; i < n_span; i++) {
        const struct attn_span *s = &l->span[i];
        assert(s->kv.n_pos <= KV_SPAN);
        assert(s->kv.pos0 % KV_SPAN == 0);
        if (i == 0 || s->row0 != s[-1].row0)
            l->line[l->n_line++] =
                (struct timeline){.span0 = i, .row0 = s->row0, .n_row = s->n_row};
        l->line[l->n_line - 1].n_span++;
    }
}

/* kv heads of a task, whose columns are n_col each: nearly equal parts. */
static uint32_t heads_beside(uint32_t n_head_kv, uint32_t n_col, uint32_t n_max)
{
    const uint32_t n = at_most(at_most(at_least(COLS_MAX / n_col, 1), n_max), BESIDE_MAX);
    const uint32_t n_side = (n_head_kv + n - 1) / n;
    return (n_head_kv + n_side - 1) / n_side;
}

/* Splits the columns, and the spans too if there are few columns and room for the parts. Returns
 * the number of tasks. */
static uint32_t split(struct attn_loop *l, uint32_t n_span)
{
    const uint32_t n_want = l->c->n_thread * TASKS_PER_THREAD, n_head_kv = l->a->n_head_kv;
    uint32_t n_part = 0; /* in tokens */
    size_t n_col = 0;
    for (uint32_t i = 0; i < l->n_line; i++) {
        l->line[i].first_part = n_part;
        n_part += l->line[i].n_span * l->line[i].n_row;
        n_col += l->line[i].n_row * l->group * n_head_kv;
    }
    l->by_span = l->n_line * n_head_kv < n_want && n_span > l->n_line && n_part <= KV_SPANS_MAX;
    if (l->by_span) n_col = (size_t)n_part * l->group * n_head_kv;
    l->cols = at_most(COLS_MAX, at_least(COLS_MIN, (uint32_t)(n_col / n_want + 1)));
    uint32_t n_task = 0;
    for (uint32_t i = 0; i < l->n_line; i++) {
        struct timeline *const line = &l->line[i];
        line->n_chunk = (line->n_row * l->group + l->cols - 1) / l->cols;
        line->n_beside = 1;
        n_task += n_tasks(l, line);
    }
    const uint32_t n_spare = at_least(n_task / n_want, 1);
    n_task = 0;
    for (uint32_t i = 0; i < l->n_line; i++) {
        struct timeline *const line = &l->line[i];
        if (line->n_chunk == 1)
            line->n_beside = heads_beside(n_head_kv, line->n_row * l->group, n_spare);
        line->first_task = n_task;
        n_task += n_tasks(l, line);
    }
    return n_task;
}

enum err cpu_attn_spans(void *self, const struct gop *op, const struct op_io *io,
                        const struct attn_span *span, uint32_t n_span, enum dtype type_k,
                        enum dtype type_v)
{
    const struct cpu *c = self;
    const struct gattn *a = &op->u.attn;
    assert(op->kind == GOP_ATTN);
    assert(n_span >= 1);
    assert(n_span <= KV_SPANS_MAX);
    assert(a->n_head % a->n_head_kv == 0);
    assert(c->kern.add_pv[a->v_in_k ? type_k : type_v]);
    struct attn_loop l = {.c = c,
                          .a = a,
                          .io = io,
                          .span = span,
                          .type_k = type_k,
                          .type_v = type_v,
                          .form = c->kern.mul_x[type_k],
                          .group = a->n_head / a->n_head_kv};
    find_lines(&l, n_span);
    const uint32_t n_task = split(&l, n_span);
    pool_run(c->pool, attn_task, &l, n_task);
    for (uint32_t i = 0; l.by_span && i < l.n_line; i++) {
        const struct merge_loop m = {&l, &l.line[i]};
        cpu_for(c, m.line->n_row * a->n_head, (size_t)m.line->n_span * a->dim_v, merge_range, &m);
    }
    return OK;
}

/* ---- begin and end --------------------------------------------------------------------------- */

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

void cpu_need_attn(const struct cpu *c, const struct gop *op, uint32_t n_row,
                   size_t need[BUF_COUNT])
{
    (void)c;
    (void)n_row;
    const struct gattn *a = &op->u.attn;
    const size_t s = at_least(KV_SPAN, (uint32_t)cpu_padded(a->dim_k));
    const size_t q = query_bytes(KX_Q8, a->dim_k) + query_bytes(KX_F32, a->dim_k);
    cpu_need(need, BUF_KERN, 1, kern_scratch_bytes(a->dim_k));
    cpu_need(need, BUF_WORK, COLS_MAX, q + (s + cpu_padded(a->dim_v)) * sizeof(float));
    cpu_need(need, BUF_PART, (size_t)KV_SPANS_MAX * a->n_head, part_floats(a) * sizeof(float));
}
