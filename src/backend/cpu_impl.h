/*
 * cpu_impl.h: what the files of the CPU backend share. Nobody else includes it.
 *
 * A call runs one operation: it splits the rows, tiles or heads into tasks for the pool, and the
 * tasks call kernels. How the work is split never shows in the result: a task computes whole
 * elements of the result, and a kernel gives an element the same bits wherever in a call it stands
 * (kern/kern.h).
 *
 * Memory: the buffers below are the only working memory. They grow in reserve(), never during a
 * step.
 */
#ifndef BACKEND_CPU_IMPL_H
#define BACKEND_CPU_IMPL_H

#include "backend/backend.h"
#include "base/pool.h"
#include "kern/kern.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum cpu_buf_id {
    BUF_ACT,    /* the activations quantised last: struct cpu_held; rows of a packed embedding */
    BUF_HIDDEN, /* experts: hidden rows by sorted position, in the form that down wants */
    BUF_JOB,    /* struct cpu_job of one operation */
    BUF_PART,   /* attention: (span and token, head) results that wait for earlier spans */
    BUF_KERN,   /* from here on a part for each thread: kern_mul.scratch */
    BUF_WORK,   /* tiles of the operation: scores, expanded weights */
    BUF_TILE,   /* experts: a tile of gate and one of up */
    BUF_X_F32,  /* experts: the columns of a tile beside each other, as floats */
    BUF_X_Q8,   /* the same, quantised */
    BUF_COUNT,
    BUF_THREAD = BUF_KERN /* first id with a part for each thread */
};

struct cpu_buf {
    uint8_t *p;
    size_t n_bytes; /* of each thread's part, for ids from BUF_THREAD on */
};

/* Activation rows in the form that a weight type wants. A row may have several parts: heads. */
struct cpu_x {
    const uint8_t *at;
    size_t stride; /* bytes between rows */
    size_t part;   /* bytes between the parts of a row */
};

/* What BUF_ACT holds. One quantisation serves an unbroken run of operations that read the same
 * source, such as the router, the experts and the shared expert: cpu_act_follow() forgets it at
 * anything else, so a write to the source, by whomever, always lies between two quantisations. */
struct cpu_held {
    const struct gop *op; /* the last operation */
    const float *src;     /* NULL: nothing is held */
    size_t stride, k;
    uint32_t n_row, n_part;
};

struct cpu_cols {     /* a matrix by columns (cpu_cols.c) */
    const void *rows; /* tensor_rows() of it: its name */
    uint8_t *p;       /* NULL: they are not finite, go by rows */
    bool is_filled;
};

struct cpu {
    struct pool *pool; /* borrowed */
    uint32_t n_thread;
    bool act_f32;
    struct kern kern;
    struct cpu_held held;
    uint64_t n_moe; /* calls with experts: names what is in BUF_X_... */
    struct cpu_buf buf[BUF_COUNT];
    struct cpu_cols *cols; /* (n_cols) */
    uint32_t n_cols;
};

/* ---- splitting (cpu_backend.c) --------------------------------------------------------------- */

/* Items [i0, i1) of a range; called from several threads. */
typedef void cpu_range_fn(const void *ctx, uint32_t i0, uint32_t i1);
/* Runs fn over [0, n) in as many tasks as pay; floats_each: what one item reads and writes. */
void cpu_for(const struct cpu *c, uint32_t n, size_t floats_each, cpu_range_fn *fn,
             const void *ctx);

static inline const float *cpu_src(const struct op_io *io, int i, uint32_t row)
{
    return io->src[i] + row * io->src_stride[i];
}

static inline float *cpu_dst(const struct op_io *io, uint32_t row)
{
    return io->dst[0] + row * io->dst_stride[0];
}

/* This thread's part of a buffer. */
void *cpu_thread_buf(const struct cpu *c, enum cpu_buf_id id, uint32_t i_thread);

/* need[id] = max(need[id], n * each); an overflow asks for the impossible, which reserve() then
 * cannot get. */
void cpu_need(size_t need[BUF_COUNT], enum cpu_buf_id id, size_t n, size_t each);

/* Floats of a row of a tile, so that the next one starts at a cache line. */
static inline size_t cpu_padded(size_t n_float)
{
    return (n_float + 15) / 16 * 16;
}

/* ---- weights times activations (cpu_mul.c) --------------------------------------------------- */

struct cpu_job {       /* one matrix times n_col columns: y = scale * (w x) + bias */
    struct kern_mul m; /* the whole product; scratch is set by the task */
    enum dtype type;
    float scale;
    const float *bias; /* (n_row) or NULL */
    /* the split, made by cpu_run_tiles() */
    size_t tile_rows, tile_cols;
    uint32_t n_row_tile, first_task;
};

struct cpu_tile { /* what a task does of job i_job */
    uint32_t i_job, i_thread;
    size_t row0, n_row, col0, n_col; /* at most CPU_TILE_FLOATS elements */
};

#define CPU_TILE_ROWS 32 /* the largest row_step: the items of a group in a quantised row */
#define CPU_TILE_FLOATS (1u << 14) /* two of them, and their activations, stay in a 512 KB cache */

typedef void cpu_tile_fn(const void *ctx, const struct cpu_tile *t);

/* rows: the weights of w, or of one of its planes */
struct cpu_job cpu_job_new(const struct tensor *w, const void *rows, const void *x, size_t x_stride,
                           uint32_t n_col, float *y, size_t y_stride);
/* All jobs in one loop over the pool; they must not depend on each other. */
void cpu_run_jobs(const struct cpu *c, struct cpu_job *job, uint32_t n_job);
/* fn for each tile of the jobs, in one loop; tiles begin at multiples of row_step rows. */
void cpu_run_tiles(const struct cpu *c, struct cpu_job *job, uint32_t n_job, size_t row_step,
                   cpu_tile_fn *fn, const void *ctx);
/* A tile of a job; x and y, if not NULL, are the tile's own, with strides as in kern_mul. */
void cpu_mul_tile(const struct cpu *c, const struct cpu_job *j, const struct cpu_tile *t,
                  const uint8_t *x, size_t x_stride, float *y, size_t y_stride);
/* The most columns of a tile of a product with k inputs. */
size_t cpu_tile_cols_max(size_t k);

/* The form in which weights of this type take activations; the bytes of a row of k items in it. */
enum kern_x cpu_form(const struct cpu *c, enum dtype type);
size_t cpu_form_bytes(enum kern_x form, size_t k);

/* n_row rows of n_part parts of k floats in a form: the source itself, or BUF_ACT, filled unless it
 * holds them. */
struct cpu_x cpu_act_rows(struct cpu *c, enum kern_x form, const float *src, size_t stride,
                          uint32_t n_row, uint32_t n_part, size_t k);
/* At the start of every operation. reads: it takes its input by cpu_act_rows() from src[0] only. */
void cpu_act_follow(struct cpu *c, const struct gop *op, const struct op_io *io, bool reads);

/* Working memory that products of w with k inputs, and their quantised activations, need. */
void cpu_need_product(const struct cpu *c, const struct tensor *w, size_t k, uint32_t n_row,
                      uint32_t n_part, size_t need[BUF_COUNT]);

/* ---- the same by columns, where inputs are mostly 0 (cpu_cols.c) ----------------------------- */

/* Tokens of a step that goes by columns: with more, few columns would be skipped by all of them. */
#define CPU_COLS_TOKENS_MAX 2

/* A part of reserve(). */
void cpu_cols_reserve(struct cpu *c, const struct graph *g, size_t need[BUF_COUNT]);
/* GOP_MUL by columns; false: it is not such a product, go by rows. */
bool cpu_mul_cols(struct cpu *c, const struct gop *op, const struct op_io *io);
void cpu_cols_close(struct cpu *c);

/* ---- operations ------------------------------------------------------------------------------ */

/* A whole operation; rows [row0, row1) of it; what reserve() must get for it. */

typedef void cpu_run_fn(struct cpu *c, const struct gop *op, const struct op_io *io);
typedef void cpu_rows_fn(const struct cpu *c, const struct gop *op, const struct op_io *io,
                         uint32_t row0, uint32_t row1);
typedef void cpu_need_fn(const struct cpu *c, const struct gop *op, uint32_t n_row,
                         size_t need[BUF_COUNT]);

cpu_rows_fn cpu_op_embed, cpu_op_rmsnorm, cpu_op_l2norm, cpu_op_rope, cpu_op_act, cpu_op_glu,
    cpu_op_add, cpu_op_mulv, cpu_op_scale, cpu_op_softcap, cpu_op_copy; /* cpu_rows.c */
cpu_run_fn cpu_op_mul, cpu_op_mul_heads;                                /* cpu_mul.c */
cpu_run_fn cpu_op_conv, cpu_op_gdn, cpu_op_ssm;                         /* cpu_seq.c */
cpu_need_fn cpu_need_embed, cpu_need_mul, cpu_need_mul_heads, cpu_need_attn, cpu_need_moe;

/* ln(1 + e^x) and 1 / (1 + e^-x) for any x: nothing overflows, NaN stays. */
float cpu_softplus(float x);
float cpu_sigmoid(float x);

/* ---- the rest of struct backend -------------------------------------------------------------- */

enum err cpu_attn_begin(void *self, const struct gop *op, const struct op_io *io); /* cpu_attn.c */
enum err cpu_attn_spans(void *self, const struct gop *op, const struct op_io *io,
                        const struct attn_span *span, uint32_t n_span, enum dtype type_k,
                        enum dtype type_v);
enum err cpu_attn_end(void *self, const struct gop *op, const struct op_io *io);

enum err cpu_moe_route(void *self, const struct gop *op, const struct op_io *io, uint32_t *id,
                       float *weight);
enum err cpu_moe_begin(void *self, const struct gop *op, const struct op_io *io,
                       const struct moe_rows *rows);
enum err cpu_moe_experts(void *self, const struct gop *op, const struct op_io *io,
                         const struct moe_rows *rows, const struct expert_view *view,
                         uint32_t n_view);
enum err cpu_moe_end(void *self, const struct gop *op, const struct op_io *io,
                     const struct moe_rows *rows);

#endif
