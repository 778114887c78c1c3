/*
 * cpu_mul.c: weights times activations.
 *
 * Every product is a struct cpu_job; an operation makes one or many (three matrices with one input,
 * one for each head, the down matrices of some experts) and all of them run in one loop over the
 * pool, cut into tiles of rows and blocks of columns. Activations are prepared once per source in
 * the form the weights want: as they are, or quantised (cpu_act_rows).
 *
 * With act_f32 no activation is quantised: a few rows of quantised weights at a time are expanded
 * to floats, exactly, and multiplied as such. That is slow and meant for comparing with a
 * reference.
 */
#include "backend/cpu_impl.h"

#include "kern/pack.h"
#include "quant/block.h"

#include <assert.h>
#include <string.h>

/* What a tile costs, in hundredths of a nanosecond of one core: a byte of weights 5 (20 GB/s), a
 * multiply-add 1 with int8 activations and 3 with floats. Only the proportions matter: tasks of one
 * loop should take equally long, whether they belong to a wide expert or to a float router. */
#define COST_BYTE 5
#define COST_MAC_Q8 1
#define COST_MAC_F32 3

/* A task is at least 1 us long (SmolLM2-135M Q4_0, 8 streams, 2 cores of Zen 4: 1,390 tok/s, with
 * 5 us 1,370; medians of six). Where it begins to read, up to half a microsecond is lost until the
 * memory's prefetchers are at speed (22.2, 21.2 and 20.7 GB/s on one core for tiles of 1024, 256
 * and 128 rows of 1152 bytes), so one thread gets tiles as large as may be; several need small ones
 * to end together, and go through their shares in order, so that reading goes on where it was. */
#define TASK_COST_MIN 100000u
#define TASKS_PER_THREAD 16

/* Columns of a tile: about what a second-level cache holds of their activations, but enough to pay
 * for unpacking the weights. 512 columns of 4096 in blocks of 32 / 64 / 128 / 512 gave 161 / 169 /
 * 173 / 177 multiply-adds per ns (Q8_0, AVX-512 VNNI, 1 MiB cache); the last needs a large third
 * level. */
#define COLS_BLOCK_BYTES (1u << 20)
#define COLS_BLOCK_MIN 128
#define COLS_STEP_TILE 8

#define QUANT_FLOATS 4 /* quantising a number takes as long as adding so many (Zen 4: 0.2 ns) */
#define EXPAND_ROWS 8  /* act_f32: weight rows expanded at a time */
#define HEAD_ROWS 32   /* transposed heads: the same; it is part of the order of sums */
#define HEAD_COLS 64   /* transposed heads: columns of a task */

static size_t at_most(size_t n, size_t max)
{
    return n < max ? n : max;
}

/* ---- activations in the form that weights want ----------------------------------------------- */

enum kern_x cpu_form(const struct cpu *c, enum dtype type)
{
    assert(c->kern.mul[type]);
    return c->act_f32 ? KX_F32 : c->kern.mul_x[type];
}

size_t cpu_form_bytes(enum kern_x form, size_t k)
{
    return form == KX_Q8 ? act_q8_row_bytes(k) : k * sizeof(float);
}

void cpu_act_follow(struct cpu *c, const struct gop *op, const struct op_io *io, bool reads)
{
    /* A later operation has a higher address: the list is one array. A second walk starts lower. */
    const bool later = (uintptr_t)op > (uintptr_t)c->held.op;
    if (!reads || !later || io->src[0] != c->held.src) c->held.src = NULL;
    c->held.op = op;
}

struct quant_loop {
    const struct cpu *c;
    const struct cpu_held *h;
};

static void quant_range(const void *ctx, uint32_t i0, uint32_t i1)
{
    const struct quant_loop *l = ctx;
    const struct cpu_held *h = l->h;
    const size_t n_bytes = act_q8_row_bytes(h->k);
    for (uint32_t i = i0; i < i1; i++) {
        const float *src = h->src + i / h->n_part * h->stride + i % h->n_part * h->k;
        l->c->kern.quant_q8(src, h->k, l->c->buf[BUF_ACT].p + i * n_bytes);
    }
}

struct cpu_x cpu_act_rows(struct cpu *c, enum kern_x form, const float *src, size_t stride,
                          uint32_t n_row, uint32_t n_part, size_t k)
{
    const size_t part = cpu_form_bytes(form, k);
    if (form == KX_F32) return (struct cpu_x){(const uint8_t *)src, stride * sizeof *src, part};
    struct cpu_held *h = &c->held;
    const bool held = h->src == src && h->stride == stride && h->n_row == n_row &&
                      h->n_part == n_part && h->k == k;
    if (!held) {
        assert(part * n_part * n_row <= c->buf[BUF_ACT].n_bytes);
        h->src = src;
        h->stride = stride;
        h->n_row = n_row;
        h->n_part = n_part;
        h->k = k;
        cpu_for(c, n_row * n_part, QUANT_FLOATS * k, quant_range,
                &(struct quant_loop){.c = c, .h = h});
    }
    return (struct cpu_x){c->buf[BUF_ACT].p, part * n_part, part};
}

/* ---- jobs ------------------------------------------------------------------------------------ */

struct cpu_job cpu_job_new(const struct tensor *w, const void *rows, const void *x, size_t x_stride,
                           uint32_t n_col, float *y, size_t y_stride)
{
    return (struct cpu_job){
        .m = {.w = rows,
              .w_stride = w->row_bytes,
              .n_row = w->ne[1],
              .is_packed = w->is_packed,
              .x = x,
              .x_stride = x_stride,
              .n_col = n_col,
              .k = w->ne[0],
              .y = y,
              .y_stride = y_stride},
        .type = w->type,
        .scale = 1.0f,
    };
}

struct tile_loop {
    const struct cpu_job *job;
    uint32_t n_job;
    cpu_tile_fn *fn;
    const void *ctx;
};

static uint32_t job_of_task(const struct tile_loop *l, uint32_t i_task)
{
    uint32_t lo = 0, hi = l->n_job; /* job[lo] starts at or before the task, job[hi] after it */
    while (hi - lo > 1) {
        const uint32_t mid = lo + (hi - lo) / 2;
        if (l->job[mid].first_task <= i_task)
            lo = mid;
        else
            hi = mid;
    }
    return lo;
}

/* Tasks of a job go through the rows first, so that a block of columns stays in the cache. */
static void tile_task(void *ctx, uint32_t i_task, uint32_t i_thread)
{
    const struct tile_loop *l = ctx;
    struct cpu_tile t = {.i_job = job_of_task(l, i_task), .i_thread = i_thread};
    const struct cpu_job *j = &l->job[t.i_job];
    t.row0 = (i_task - j->first_task) % j->n_row_tile * j->tile_rows;
    t.col0 = (i_task - j->first_task) / j->n_row_tile * j->tile_cols;
    assert(t.row0 < j->m.n_row);
    assert(t.col0 < j->m.n_col);
    t.n_row = at_most(j->m.n_row - t.row0, j->tile_rows);
    t.n_col = at_most(j->m.n_col - t.col0, j->tile_cols);
    l->fn(l->ctx, &t);
}

size_t cpu_tile_cols_max(size_t k)
{
    const size_t fit = COLS_BLOCK_BYTES / (k * sizeof(float)) / COLS_STEP_TILE * COLS_STEP_TILE;
    return at_most(fit < COLS_BLOCK_MIN ? COLS_BLOCK_MIN : fit, CPU_TILE_FLOATS / CPU_TILE_ROWS);
}

/* All columns if they stay in the cache, otherwise equal blocks that do. */
static size_t block_cols(const struct cpu_job *j)
{
    const size_t fit = cpu_tile_cols_max(j->m.k);
    const size_t n_block = (j->m.n_col + fit - 1) / fit;
    const size_t each = (j->m.n_col + n_block - 1) / n_block;
    return n_block == 1 ? each : (each + COLS_STEP_TILE - 1) / COLS_STEP_TILE * COLS_STEP_TILE;
}

static uint64_t cost_of_row(const struct cpu *c, const struct cpu_job *j, size_t n_col)
{
    const uint64_t mac = cpu_form(c, j->type) == KX_Q8 ? COST_MAC_Q8 : COST_MAC_F32;
    return j->m.w_stride * COST_BYTE + j->m.k * n_col * mac;
}

static uint64_t cost_of_task(const struct cpu *c, const struct cpu_job *job, uint32_t n_job)
{
    if (c->n_thread == 1) return UINT64_MAX;
    uint64_t cost = 0;
    for (uint32_t i = 0; i < n_job; i++)
        cost += cost_of_row(c, &job[i], job[i].m.n_col) * job[i].m.n_row;
    cost /= (uint64_t)c->n_thread * TASKS_PER_THREAD;
    return cost < TASK_COST_MIN ? TASK_COST_MIN : cost;
}

/* Tiles of about equal cost. */
static uint32_t split_jobs(const struct cpu *c, struct cpu_job *job, uint32_t n_job,
                           size_t row_step)
{
    const uint64_t cost = cost_of_task(c, job, n_job);
    uint32_t n_task = 0;
    for (uint32_t i = 0; i < n_job; i++) {
        struct cpu_job *j = &job[i];
        assert(j->m.n_row >= 1);
        assert(j->m.n_col >= 1);
        j->tile_cols = block_cols(j);
        const size_t rows =
            at_most(cost / cost_of_row(c, j, j->tile_cols), CPU_TILE_FLOATS / j->tile_cols);
        j->tile_rows = rows < row_step ? row_step : rows / row_step * row_step;
        j->n_row_tile = (uint32_t)((j->m.n_row + j->tile_rows - 1) / j->tile_rows);
        j->first_task = n_task;
        n_task += j->n_row_tile * (uint32_t)((j->m.n_col + j->tile_cols - 1) / j->tile_cols);
    }
    return n_task;
}

void cpu_run_tiles(const struct cpu *c, struct cpu_job *job, uint32_t n_job, size_t row_step,
                   cpu_tile_fn *fn, const void *ctx)
{
    assert(row_step % PACK_ROWS == 0);
    assert(row_step <= CPU_TILE_ROWS);
    struct tile_loop l = {.job = job, .n_job = n_job, .fn = fn, .ctx = ctx};
    pool_run(c->pool, tile_task, &l, split_jobs(c, job, n_job, row_step));
}

/* ---- one tile -------------------------------------------------------------------------------- */

static void mul_expanded(const struct cpu *c, enum dtype type, const struct kern_mul *m,
                         float *work)
{
    assert(!m->is_packed); /* whoever wants float activations does not pack */
    struct kern_mul part = *m;
    part.w = work;
    part.w_stride = cpu_padded(m->k) * sizeof *work;
    for (size_t r0 = 0; r0 < m->n_row; r0 += EXPAND_ROWS) {
        part.n_row = at_most(m->n_row - r0, EXPAND_ROWS);
        part.y = m->y + r0;
        for (size_t r = 0; r < part.n_row; r++) {
            const uint8_t *row = (const uint8_t *)m->w + (r0 + r) * m->w_stride;
            c->kern.to_f32[type](row, work + r * cpu_padded(m->k), m->k);
        }
        c->kern.mul[DT_F32](&part);
    }
}

static void finish_tile(const struct cpu *c, const struct cpu_job *j, const struct kern_mul *m,
                        size_t row0)
{
    for (size_t i = 0; i < m->n_col; i++) {
        float *y = m->y + i * m->y_stride;
        if (j->scale != 1.0f) c->kern.scale(y, j->scale, y, m->n_row);
        if (j->bias) c->kern.add(y, j->bias + row0, y, m->n_row);
    }
}

void cpu_mul_tile(const struct cpu *c, const struct cpu_job *j, const struct cpu_tile *t,
                  const uint8_t *x, size_t x_stride, float *y, size_t y_stride)
{
    struct kern_mul m = j->m;
    m.w = (const uint8_t *)m.w + t->row0 * m.w_stride;
    m.n_row = t->n_row;
    m.n_col = t->n_col;
    m.x_stride = x ? x_stride : m.x_stride;
    m.x = x ? x : (const uint8_t *)m.x + t->col0 * m.x_stride;
    m.y_stride = y ? y_stride : m.y_stride;
    m.y = y ? y : m.y + t->col0 * m.y_stride + t->row0;
    m.scratch = cpu_thread_buf(c, BUF_KERN, t->i_thread);
    m.ahead = c->kern.ahead;
    if (c->act_f32 && c->kern.mul_x[j->type] != KX_F32)
        mul_expanded(c, j->type, &m, cpu_thread_buf(c, BUF_WORK, t->i_thread));
    else
        c->kern.mul[j->type](&m);
    finish_tile(c, j, &m, t->row0);
}

struct job_loop {
    const struct cpu *c;
    const struct cpu_job *job;
};

static void job_tile(const void *ctx, const struct cpu_tile *t)
{
    const struct job_loop *l = ctx;
    cpu_mul_tile(l->c, &l->job[t->i_job], t, NULL, 0, NULL, 0);
}

void cpu_run_jobs(const struct cpu *c, struct cpu_job *job, uint32_t n_job)
{
    cpu_run_tiles(c, job, n_job, PACK_ROWS, job_tile, &(struct job_loop){.c = c, .job = job});
}

/* ---- GOP_MUL --------------------------------------------------------------------------------- */

void cpu_op_mul(struct cpu *c, const struct gop *op, const struct op_io *io)
{
    struct cpu_job *job = (struct cpu_job *)c->buf[BUF_JOB].p;
    assert(op->n_out >= 1);
    assert(op->n_out <= GOP_OUT_MAX);
    if (c->n_cols > 0 && cpu_mul_cols(c, op, io)) return;
    for (uint32_t i = 0; i < op->n_out; i++) {
        const struct tensor *w = &op->w[i];
        const enum kern_x form = cpu_form(c, w->type);
        const struct cpu_x x =
            cpu_act_rows(c, form, io->src[0], io->src_stride[0], io->n_row, 1, w->ne[0]);
        job[i] = cpu_job_new(w, w->data, x.at, x.stride, io->n_row, io->dst[i], io->dst_stride[i]);
        job[i].bias = op->bias[i];
    }
    cpu_run_jobs(c, job, op->n_out);
}

/* ---- GOP_MUL_HEADS --------------------------------------------------------------------------- */

static const uint8_t *head_rows(const struct gop *op, uint32_t head)
{
    return (const uint8_t *)op->w[0].data + head * op->w[0].plane_bytes;
}

static void mul_heads(struct cpu *c, const struct gop *op, const struct op_io *io)
{
    const struct tensor *w = &op->w[0];
    const uint32_t n_head = op->u.heads.n_head;
    struct cpu_job *job = (struct cpu_job *)c->buf[BUF_JOB].p;
    const struct cpu_x x = cpu_act_rows(c, cpu_form(c, w->type), io->src[0], io->src_stride[0],
                                        io->n_row, n_head, w->ne[0]);
    for (uint32_t h = 0; h < n_head; h++) {
        job[h] = cpu_job_new(w, head_rows(op, h), x.at + h * x.part, x.stride, io->n_row,
                             io->dst[0] + h * w->ne[1], io->dst_stride[0]);
    }
    cpu_run_jobs(c, job, n_head);
}

struct heads_loop {
    const struct cpu *c;
    const struct gop *op;
    const struct op_io *io;
    uint32_t n_col_block;
};

/* One head, transposed, for some tokens: dst[r] = sum over n, rising, of x[n] w[n][r]. That is what
 * attention does with probabilities and values, so the same kernel does it. */
static void heads_task(void *ctx, uint32_t i_task, uint32_t i_thread)
{
    const struct heads_loop *l = ctx;
    const struct kern *k = &l->c->kern;
    const struct tensor *w = &l->op->w[0];
    const struct op_io *io = l->io;
    assert(!w->is_packed); /* its rows are read one by one */
    const uint32_t head = i_task / l->n_col_block;
    const uint32_t col0 = i_task % l->n_col_block * HEAD_COLS;
    const uint32_t n_col = (uint32_t)at_most(io->n_row - col0, HEAD_COLS);
    const size_t n_in = w->ne[1], n_out = w->ne[0];
    const float *x = io->src[0] + col0 * io->src_stride[0] + head * n_in;
    float *y = io->dst[0] + col0 * io->dst_stride[0] + head * n_out;
    float *work = cpu_thread_buf(l->c, BUF_WORK, i_thread);
    for (uint32_t i = 0; i < n_col; i++) memset(y + i * io->dst_stride[0], 0, n_out * sizeof *y);
    for (size_t r0 = 0; r0 < n_in; r0 += HEAD_ROWS) {
        const size_t n = at_most(n_in - r0, HEAD_ROWS);
        const uint8_t *rows = head_rows(l->op, head) + r0 * w->row_bytes;
        for (size_t r = 0; r < n; r++)
            k->to_f32[w->type](rows + r * w->row_bytes, work + r * cpu_padded(n_out), n_out);
        k->add_pv[DT_F32](work, cpu_padded(n_out) * sizeof *work, n, n_out, x + r0,
                          io->src_stride[0], n_col, y, io->dst_stride[0]);
    }
}

void cpu_op_mul_heads(struct cpu *c, const struct gop *op, const struct op_io *io)
{
    assert(op->w[0].ne[2] == op->u.heads.n_head);
    if (!op->u.heads.transposed) {
        mul_heads(c, op, io);
        return;
    }
    struct heads_loop l = {
        .c = c, .op = op, .io = io, .n_col_block = (io->n_row + HEAD_COLS - 1) / HEAD_COLS};
    pool_run(c->pool, heads_task, &l, op->u.heads.n_head * l.n_col_block);
}

/* ---- working memory -------------------------------------------------------------------------- */

void cpu_need_product(const struct cpu *c, const struct tensor *w, size_t k, uint32_t n_row,
                      uint32_t n_part, size_t need[BUF_COUNT])
{
    cpu_need(need, BUF_KERN, 1, kern_scratch_bytes(k));
    if (cpu_form(c, w->type) == KX_Q8)
        cpu_need(need, BUF_ACT, (size_t)n_row * n_part, cpu_form_bytes(KX_Q8, k));
    else if (c->kern.mul_x[w->type] == KX_Q8)
        cpu_need(need, BUF_WORK, EXPAND_ROWS, cpu_padded(k) * sizeof(float));
}

void cpu_need_mul(const struct cpu *c, const struct gop *op, uint32_t n_row, size_t need[BUF_COUNT])
{
    cpu_need(need, BUF_JOB, op->n_out, sizeof(struct cpu_job));
    for (uint32_t i = 0; i < op->n_out; i++)
        cpu_need_product(c, &op->w[i], op->w[i].ne[0], n_row, 1, need);
}

void cpu_need_mul_heads(const struct cpu *c, const struct gop *op, uint32_t n_row,
                        size_t need[BUF_COUNT])
{
    const struct tensor *w = &op->w[0];
    cpu_need(need, BUF_JOB, op->u.heads.n_head, sizeof(struct cpu_job));
    if (op->u.heads.transposed)
        cpu_need(need, BUF_WORK, HEAD_ROWS, cpu_padded(w->ne[0]) * sizeof(float));
    else
        cpu_need_product(c, w, w->ne[0], n_row, op->u.heads.n_head, need);
}
