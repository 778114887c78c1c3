/*
 * cpu_backend.c: the CPU backend: opening, working memory, and the table of operations.
 *
 * An operation is a row of a table: either a function that treats some rows of it, which are then
 * spread over the pool by cpu_for(), or one that runs it whole and splits it in its own way.
 * Attention and experts have entries of their own in struct backend, because the executor feeds
 * them piece by piece.
 *
 * There are no errors while running: shapes were checked when the graph was built, memory was taken
 * in reserve(), and numbers that are not finite are the engine's to find in the logits. What cannot
 * be is asserted.
 */
#include "backend/cpu_impl.h"

#include "base/mem.h"

#include <assert.h>
#include <stdalign.h>
#include <string.h>

/* A loop over the pool costs about 2 us; 8192 floats touched once take about as long, so that much
 * is the least that a task is made of. */
#define TASK_FLOATS_MIN 8192
#define TASKS_PER_THREAD 8 /* a core that is busy elsewhere delays the loop by an eighth */

struct cpu_op {
    cpu_run_fn *run;    /* either this */
    cpu_rows_fn *rows;  /* or this */
    cpu_need_fn *need;  /* NULL: no working memory */
    bool reads_by_form; /* src[0] is read by cpu_act_rows() and by nothing else */
};

static const struct cpu_op ops[GOP_KIND_COUNT] = {
    [GOP_EMBED] = {.rows = cpu_op_embed, .need = cpu_need_embed},
    [GOP_MUL] = {.run = cpu_op_mul, .need = cpu_need_mul, .reads_by_form = true},
    [GOP_MUL_HEADS] = {.run = cpu_op_mul_heads, .need = cpu_need_mul_heads, .reads_by_form = true},
    [GOP_RMSNORM] = {.rows = cpu_op_rmsnorm},
    [GOP_L2NORM] = {.rows = cpu_op_l2norm},
    [GOP_ROPE] = {.rows = cpu_op_rope},
    [GOP_ATTN] = {.need = cpu_need_attn},
    [GOP_ACT] = {.rows = cpu_op_act},
    [GOP_GLU] = {.rows = cpu_op_glu},
    [GOP_ADD] = {.rows = cpu_op_add},
    [GOP_MULV] = {.rows = cpu_op_mulv},
    [GOP_SCALE] = {.rows = cpu_op_scale},
    [GOP_SOFTCAP] = {.rows = cpu_op_softcap},
    [GOP_COPY] = {.rows = cpu_op_copy},
    [GOP_MOE] = {.need = cpu_need_moe},
    [GOP_CONV] = {.run = cpu_op_conv},
    [GOP_GDN] = {.run = cpu_op_gdn},
    [GOP_SSM] = {.run = cpu_op_ssm},
};

/* ---- splitting a range ----------------------------------------------------------------------- */

struct range_loop {
    cpu_range_fn *fn;
    const void *ctx;
    uint32_t n, n_each;
};

static void range_task(void *ctx, uint32_t i_task, uint32_t i_thread)
{
    (void)i_thread;
    const struct range_loop *l = ctx;
    const uint32_t i0 = i_task * l->n_each;
    const uint32_t left = l->n - i0;
    l->fn(l->ctx, i0, i0 + (left < l->n_each ? left : l->n_each));
}

void cpu_for(const struct cpu *c, uint32_t n, size_t floats_each, cpu_range_fn *fn, const void *ctx)
{
    const uint32_t n_task_max = c->n_thread * TASKS_PER_THREAD;
    size_t n_each = TASK_FLOATS_MIN / (floats_each + 1) + 1;
    if (n_each < n / n_task_max + 1) n_each = n / n_task_max + 1;
    if (n_each > n) n_each = n;
    if (n == 0) return;
    struct range_loop l = {.fn = fn, .ctx = ctx, .n = n, .n_each = (uint32_t)n_each};
    pool_run(c->pool, range_task, &l, (n + l.n_each - 1) / l.n_each);
}

/* ---- running --------------------------------------------------------------------------------- */

struct rows_loop {
    const struct cpu *c;
    const struct gop *op;
    const struct op_io *io;
};

static void rows_range(const void *ctx, uint32_t i0, uint32_t i1)
{
    const struct rows_loop *l = ctx;
    ops[l->op->kind].rows(l->c, l->op, l->io, i0, i1);
}

static enum err run(void *self, const struct gop *op, const struct op_io *io)
{
    struct cpu *c = self;
    assert(op->kind < GOP_KIND_COUNT);
    assert(io->n_row >= 1);
    const struct cpu_op *o = &ops[op->kind];
    assert(o->run || o->rows);
    cpu_act_follow(c, op, io, o->reads_by_form);
    if (o->run) {
        o->run(c, op, io);
    } else {
        const struct rows_loop l = {.c = c, .op = op, .io = io};
        cpu_for(c, io->n_row, op->dst[0].n, rows_range, &l);
    }
    return OK;
}

/* ---- working memory -------------------------------------------------------------------------- */

void *cpu_thread_buf(const struct cpu *c, enum cpu_buf_id id, uint32_t i_thread)
{
    assert(id >= BUF_THREAD);
    assert(i_thread < c->n_thread);
    return c->buf[id].p + i_thread * c->buf[id].n_bytes;
}

void cpu_need(size_t need[BUF_COUNT], enum cpu_buf_id id, size_t n, size_t each)
{
    size_t n_bytes = SIZE_MAX / 2;
    if (!mem_mul(n, each, &n_bytes) || n_bytes > SIZE_MAX / 2) n_bytes = SIZE_MAX / 2;
    n_bytes = (n_bytes + MEM_ALIGN - 1) / MEM_ALIGN * MEM_ALIGN;
    if (n_bytes > need[id]) need[id] = n_bytes;
}

static enum err reserve(void *self, const struct graph *g, uint32_t n_row_max)
{
    struct cpu *c = self;
    assert(n_row_max >= 1);
    size_t need[BUF_COUNT] = {0};
    for (uint32_t i = 0; i < g->n_op; i++) {
        const struct gop *op = &g->op[i];
        if (ops[op->kind].need) ops[op->kind].need(c, op, n_row_max, need);
    }
    c->held.src = NULL;
    cpu_cols_reserve(c, g, need);
    for (int i = 0; i < BUF_COUNT; i++) {
        struct cpu_buf *b = &c->buf[i];
        if (need[i] <= b->n_bytes) continue;
        uint8_t *p = mem_alloc_array(MEM_SCRATCH, i >= BUF_THREAD ? c->n_thread : 1, need[i]);
        if (!p) return ERR_MEMORY;
        mem_free(b->p);
        *b = (struct cpu_buf){.p = p, .n_bytes = need[i]};
    }
    return OK;
}

/* ---- open and close -------------------------------------------------------------------------- */

static void cpu_close(void *self)
{
    struct cpu *c = self;
    if (!c) return;
    for (int i = 0; i < BUF_COUNT; i++) mem_free(c->buf[i].p);
    cpu_cols_close(c);
    mem_free(c);
}

enum err cpu_backend_open(struct backend *b, const struct cpu_opts *o)
{
    assert(b);
    assert(o->pool);
    assert(o->kern);
    *b = (struct backend){0};
    struct cpu *c = mem_alloc(MEM_MISC, sizeof *c);
    if (!c) return ERR_MEMORY;
    c->pool = o->pool;
    c->n_thread = pool_n_thread(o->pool);
    c->act_f32 = o->act_f32;
    c->kern = *o->kern;
    *b = (struct backend){
        .self = c,
        .name = "cpu",
        .reserve = reserve,
        .run = run,
        .attn_begin = cpu_attn_begin,
        .attn_spans = cpu_attn_spans,
        .attn_end = cpu_attn_end,
        .moe_route = cpu_moe_route,
        .moe_begin = cpu_moe_begin,
        .moe_experts = cpu_moe_experts,
        .moe_end = cpu_moe_end,
        .close = cpu_close,
    };
    return OK;
}
