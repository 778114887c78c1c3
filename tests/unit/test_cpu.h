/*
 * test_cpu.h: what the tests of the CPU backend share: random numbers and weights, backends with
 * some threads, and a way to run an operation in pieces.
 *
 * Numbers come from a fixed generator, so every run sees the same ones.
 */
#ifndef TEST_CPU_H
#define TEST_CPU_H

#include "backend/backend.h"
#include "base/mem.h"
#include "base/pool.h"
#include "base/splitmix.h"
#include "kern/cpu.h"
#include "kern/kern.h"
#include "kern/pack.h"
#include "tensor/dtype.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ---- random numbers -------------------------------------------------------------------------- */

struct rnd {
    uint64_t state;
};

static inline uint32_t rnd_u32(struct rnd *r)
{
    return (uint32_t)(splitmix_next(&r->state) >> 32);
}

static inline float rnd_float(struct rnd *r, float lo, float hi)
{
    return lo + (hi - lo) * (float)(rnd_u32(r) >> 8) * 0x1p-24f;
}

/* Freed by mem_free. */
static inline float *rnd_floats(struct rnd *r, size_t n, float lo, float hi)
{
    float *x = mem_alloc_array(MEM_MISC, n, sizeof *x);
    assert_non_null(x);
    for (size_t i = 0; i < n; i++) x[i] = rnd_float(r, lo, hi);
    return x;
}

/* ---- random weights -------------------------------------------------------------------------- */

static inline void put_f16(const struct kern *k, uint8_t *p, float x)
{
    uint16_t h;
    k->f32_to_f16(&x, &h, 1);
    memcpy(p, &h, sizeof h);
}

/* The float16 scales of a block, at most two: where they stand (quant/block.h). */
static inline size_t scales_at(enum dtype type, size_t at[2])
{
    at[0] = 0;
    at[1] = 2;
    switch (type) {
    case DT_Q4_1:
    case DT_Q5_1:
    case DT_Q4_K:
    case DT_Q5_K:
        return 2;
    case DT_Q2_K:
        at[0] = 80;
        at[1] = 82;
        return 2;
    case DT_Q3_K:
        at[0] = 108;
        return 1;
    case DT_Q6_K:
        at[0] = 208;
        return 1;
    case DT_MXFP4:
        return 0;
    default:
        return 1;
    }
}

/* n items of any computable type: random codes, scales of a sensible size. */
static inline void fill_weights(struct rnd *r, const struct kern *k, enum dtype type, uint8_t *p,
                                size_t n)
{
    const struct dtype_info *info = dtype_info(type);
    size_t at[2];
    for (size_t i = 0; i < n / info->block_items; i++, p += info->block_bytes) {
        const float x = rnd_float(r, -1.0f, 1.0f);
        if (type == DT_F32) {
            memcpy(p, &x, sizeof x);
        } else if (type == DT_F16) {
            put_f16(k, p, x);
        } else if (type == DT_BF16) {
            memcpy(p, (const uint8_t *)&x + 2, 2); /* little-endian: the upper half */
        } else {
            for (size_t j = 0; j < info->block_bytes; j++) p[j] = (uint8_t)rnd_u32(r);
            for (size_t j = 0; j < scales_at(type, at); j++)
                put_f16(k, p + at[j], rnd_float(r, 0.001f, 0.01f));
            if (type == DT_MXFP4) p[0] = (uint8_t)(120 + rnd_u32(r) % 6);
        }
    }
}

/* A matrix (or n_plane of them) at an odd address, as in a mapped file; freed by free_weights. */
static inline struct tensor new_weights(struct rnd *r, const struct kern *k, enum dtype type,
                                        uint64_t n_in, uint64_t n_out, uint64_t n_plane)
{
    struct tensor w = {.name = "w", .type = type, .n_dims = 3, .ne = {n_in, n_out, n_plane, 1}};
    w.row_bytes = dtype_row_bytes(type, n_in);
    w.plane_bytes = w.row_bytes * n_out;
    uint8_t *p = mem_alloc_array(MEM_MISC, n_plane, w.plane_bytes + 1);
    assert_non_null(p);
    fill_weights(r, k, type, p + 1, n_in * n_out * n_plane);
    w.data = p + 1;
    return w;
}

static inline void free_weights(const struct tensor *w)
{
    mem_free((void *)((uintptr_t)w->data - 1));
}

/* The same weights, packed as they are loaded; freed by free_weights. */
static inline struct tensor packed_weights(const struct tensor *w)
{
    struct tensor packed = *w;
    uint8_t *p = mem_alloc_array(MEM_MISC, w->ne[2], w->plane_bytes + 1);
    assert_non_null(p);
    for (uint64_t i = 0; i < w->ne[2]; i++)
        pack_rows(w->type, (const uint8_t *)w->data + i * w->plane_bytes, w->row_bytes, w->ne[1],
                  w->ne[0], p + 1 + i * w->plane_bytes);
    packed.data = p + 1;
    packed.is_packed = true;
    return packed;
}

/* Row r of plane h as floats, freed by mem_free. */
static inline float *weight_row(const struct kern *k, const struct tensor *w, uint64_t h,
                                uint64_t r)
{
    float *x = mem_alloc_array(MEM_MISC, w->ne[0], sizeof *x);
    assert_non_null(x);
    k->to_f32[w->type]((const uint8_t *)w->data + h * w->plane_bytes + r * w->row_bytes, x,
                       w->ne[0]);
    return x;
}

/* ---- backends -------------------------------------------------------------------------------- */

struct bench { /* a backend with its threads */
    struct pool *pool;
    struct backend be;
};

static inline void bench_open(struct bench *b, uint32_t n_thread, unsigned cpu_flags, bool act_f32,
                              struct gop *op, uint32_t n_op, uint32_t n_row_max)
{
    struct kern k;
    kern_init(&k, cpu_flags);
    assert_int_equal(pool_open(&b->pool, n_thread), OK);
    assert_int_equal(cpu_backend_open(&b->be, &(struct cpu_opts){b->pool, &k, act_f32}), OK);
    const struct graph g = {.op = op, .n_op = n_op};
    assert_int_equal(b->be.reserve(b->be.self, &g, n_row_max), OK);
}

static inline void bench_close(struct bench *b)
{
    b->be.close(b->be.self);
    pool_close(b->pool);
}

/* ---- pieces ---------------------------------------------------------------------------------- */

/* How a batch is cut: pieces of these sizes in turn. All results must equal those of the first. */
static const uint32_t cuts[][2] = {{1000000, 1000000}, {1, 1}, {7, 7}, {1, 30}, {33, 5}};
enum { CUT_COUNT = sizeof cuts / sizeof *cuts };

/* The rows of io from row0 on, n of them. */
static inline struct op_io io_piece(const struct op_io *io, uint32_t row0, uint32_t n)
{
    struct op_io p = *io;
    p.n_row = n;
    for (int i = 0; i < GOP_SRC_MAX; i++)
        if (p.src[i]) p.src[i] += row0 * p.src_stride[i];
    for (int i = 0; i < GOP_OUT_MAX; i++)
        if (p.dst[i]) p.dst[i] += row0 * p.dst_stride[i];
    if (p.token) p.token += row0;
    if (p.pos) p.pos += row0;
    if (p.cos) p.cos += (size_t)row0 * (p.n_rot / 2);
    if (p.sin) p.sin += (size_t)row0 * (p.n_rot / 2);
    return p;
}

typedef void piece_fn(const struct backend *be, const struct gop *op, const struct op_io *io);

static inline void run_piece(const struct backend *be, const struct gop *op, const struct op_io *io)
{
    assert_int_equal(be->run(be->self, op, io), OK);
}

static inline void run_cut(const struct backend *be, const struct gop *op, const struct op_io *io,
                           const uint32_t cut[2], piece_fn *fn)
{
    for (uint32_t row = 0, i = 0; row < io->n_row; i++) {
        const uint32_t left = io->n_row - row;
        const uint32_t n = cut[i % 2] < left ? cut[i % 2] : left;
        const struct op_io p = io_piece(io, row, n);
        fn(be, op, &p);
        row += n;
    }
}

/* |got - want| <= tol * scale, where scale is the size of the terms that were added. */
static inline void assert_near(double got, double want, double scale, double tol)
{
    if (!(fabs(got - want) <= tol * scale))
        fail_msg("%.9g, expected %.9g, tolerance %.3g", got, want, tol * scale);
}

#endif
