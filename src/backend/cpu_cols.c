/*
 * cpu_cols.c: products of which most inputs are exactly 0, because a ReLU made them (PLM's squared
 * ReLU). GGUF stores a matrix by rows, where a zero saves nothing; laid by columns (quant/block.h)
 * it costs neither the reading nor the multiplying of its column.
 *
 * Which products those are is seen in the graph: a matrix whose input is what the operation before
 * it rectified. reserve() takes memory for them, as much as the rows have, and the first step of
 * few tokens fills it. Steps of many tokens go by rows, because some token wants every column; the
 * kernels give both ways the same bits, so nobody can see which one was taken.
 *
 * Goes by rows for good: types that have no form by columns, weights that are not finite, and
 * everything where the memory would be more than half of what is free.
 */
#include "backend/cpu_impl.h"

#include "base/mem.h"
#include "base/os.h"
#include "kern/cols.h"
#include "kern/pack.h"
#include "quant/block.h"

#include <assert.h>
#include <stdatomic.h>

/* Kernels take rows in runs (q_cols.h); fewer than this many lose more by short runs than another
 * task gains. */
#define TASK_ROWS_MIN (2 * COLS_STEP)
#define TASKS_PER_THREAD 2

/* By columns is as fast as by rows at 20 to 50 % zeros, depending on the type (check_kern --bench);
 * a ReLU of random numbers gives 50 %. */
#define ZEROS_MIN 0.4

/* ---- memory ---------------------------------------------------------------------------------- */

static bool is_after_relu(const struct graph *g, uint32_t i_op)
{
    if (i_op == 0) return false;
    const struct gop *const op = &g->op[i_op], *const before = op - 1;
    return op->kind == GOP_MUL && op->n_out == 1 && before->kind == GOP_ACT &&
           (before->u.act == GACT_RELU || before->u.act == GACT_RELU2) &&
           before->dst[0].buf == op->src[0].buf && before->dst[0].at == op->src[0].at &&
           before->dst[0].n == op->src[0].n;
}

static struct cpu_cols *find(const struct cpu *c, const struct tensor *w)
{
    for (uint32_t i = 0; i < c->n_cols; i++)
        if (c->cols[i].rows == tensor_rows(w)) return &c->cols[i];
    return NULL;
}

/* Memory for one matrix. Without it the product goes by rows, which is no error. */
static void add(struct cpu *c, const struct tensor *w)
{
    const size_t n_bytes = cols_bytes(w->type, w->ne[0], w->ne[1]);
    if (n_bytes == 0 || find(c, w) || cpu_form(c, w->type) != c->kern.mul_x[w->type]) return;
    struct cpu_cols *const list = mem_realloc(MEM_MISC, c->cols, (c->n_cols + 1) * sizeof *c->cols);
    if (!list) return;
    c->cols = list;
    uint8_t *const p = mem_alloc(MEM_SCRATCH, n_bytes);
    if (p) list[c->n_cols++] = (struct cpu_cols){.rows = tensor_rows(w), .p = p};
}

void cpu_cols_reserve(struct cpu *c, const struct graph *g, size_t need[BUF_COUNT])
{
    uint64_t n_bytes = 0;
    for (uint32_t i = 0; i < g->n_op; i++)
        if (is_after_relu(g, i))
            n_bytes += cols_bytes(g->op[i].w[0].type, g->op[i].w[0].ne[0], g->op[i].w[0].ne[1]);
    if (n_bytes == 0 || n_bytes > os_memory().free_bytes / 2) return;
    for (uint32_t i = 0; i < g->n_op; i++) {
        if (!is_after_relu(g, i)) continue;
        const struct tensor *const w = &g->op[i].w[0];
        add(c, w);
        if (pack_can(w->type)) cpu_need(need, BUF_WORK, COLS_STEP, w->row_bytes);
    }
}

void cpu_cols_close(struct cpu *c)
{
    for (uint32_t i = 0; i < c->n_cols; i++) mem_free(c->cols[i].p);
    mem_free(c->cols);
}

/* ---- filling --------------------------------------------------------------------------------- */

struct put_loop {
    const struct cpu *c;
    const struct tensor *w;
    uint8_t *dst;
    atomic_bool is_finite;
};

static void put_task(void *ctx, uint32_t i_task, uint32_t i_thread)
{
    struct put_loop *const l = ctx;
    const struct tensor *const w = l->w;
    const size_t row0 = (size_t)i_task * COLS_STEP;
    const size_t row1 = w->ne[1] - row0 < COLS_STEP ? w->ne[1] : row0 + COLS_STEP;
    struct cols_src src = {
        .type = w->type, .w = w->data, .w_stride = w->row_bytes, .n_row = w->ne[1], .k = w->ne[0]};
    if (w->is_packed) {
        uint8_t *const rows = cpu_thread_buf(l->c, BUF_WORK, i_thread);
        for (size_t r = row0; r < row1; r++)
            pack_get_row(w->type, w->data, w->ne[1], w->ne[0], r, rows + (r - row0) * w->row_bytes);
        src.w = rows;
        src.row0 = row0;
    }
    if (!cols_put(&src, row0, row1, l->dst)) atomic_store(&l->is_finite, false);
}

static void fill(const struct cpu *c, struct cpu_cols *cols, const struct tensor *w)
{
    struct put_loop l = {.c = c, .w = w, .dst = cols->p, .is_finite = true};
    pool_run(c->pool, put_task, &l, (uint32_t)(cols_padded(w->ne[1]) / COLS_STEP));
    cols->is_filled = true;
    if (atomic_load(&l.is_finite)) return;
    mem_free(cols->p);
    cols->p = NULL;
}

/* ---- the product ----------------------------------------------------------------------------- */

struct cols_loop {
    const struct cpu *c;
    struct kern_mul m; /* the whole product */
    enum dtype type;
    const float *bias; /* (n_row) or NULL */
    size_t rows_each;
};

static void cols_task(void *ctx, uint32_t i_task, uint32_t i_thread)
{
    const struct cols_loop *const l = ctx;
    struct kern_mul m = l->m;
    m.row0 = i_task * l->rows_each;
    m.y += m.row0;
    m.n_row = l->m.n_row - m.row0 < l->rows_each ? l->m.n_row - m.row0 : l->rows_each;
    m.scratch = cpu_thread_buf(l->c, BUF_KERN, i_thread);
    l->c->kern.mul_cols[l->type](&m);
    for (size_t i = 0; i < m.n_col && l->bias; i++) {
        float *const y = m.y + i * m.y_stride;
        l->c->kern.add(y, l->bias + m.row0, y, m.n_row);
    }
}

/* Are so many inputs 0 that skipping them pays? */
static bool is_sparse(const struct op_io *io, size_t k)
{
    size_t n = 0;
    for (uint32_t r = 0; r < io->n_row; r++) {
        const float *const x = cpu_src(io, 0, r);
        for (size_t i = 0; i < k; i++) n += x[i] == 0.0f;
    }
    return (double)n >= ZEROS_MIN * (double)(k * io->n_row);
}

bool cpu_mul_cols(struct cpu *c, const struct gop *op, const struct op_io *io)
{
    const struct tensor *const w = &op->w[0];
    if (op->n_out != 1 || io->n_row > CPU_COLS_TOKENS_MAX) return false;
    struct cpu_cols *const cols = find(c, w);
    if (!cols || !is_sparse(io, w->ne[0])) return false;
    if (!cols->is_filled) fill(c, cols, w);
    if (!cols->p) return false;
    const struct cpu_x x = cpu_act_rows(c, cpu_form(c, w->type), io->src[0], io->src_stride[0],
                                        io->n_row, 1, w->ne[0]);
    const size_t share = w->ne[1] / ((size_t)c->n_thread * TASKS_PER_THREAD);
    struct cols_loop l = {.c = c,
                          .m = {.w = cols->p,
                                .w_stride = cols_padded(w->ne[1]),
                                .n_row = w->ne[1],
                                .x = x.at,
                                .x_stride = x.stride,
                                .n_col = io->n_row,
                                .k = w->ne[0],
                                .y = io->dst[0],
                                .y_stride = io->dst_stride[0]},
                          .type = w->type,
                          .bias = op->bias[0],
                          .rows_each = cols_padded(share < TASK_ROWS_MIN ? TASK_ROWS_MIN : share)};
    pool_run(c->pool, cols_task, &l, (uint32_t)((w->ne[1] + l.rows_each - 1) / l.rows_each));
    return true;
}
