/*
 * f_pv.h: cached values times probabilities, for every instruction set.
 *
 * Lanes are dimensions; each takes one fma per position, rising. A register tile is N vectors of
 * dimensions times C columns. With few columns memory sets the pace, and it wants to be read in
 * runs, so the tile is wide: 128 dimensions of float16 in one go are read at 35 GB/s, in two at 17
 * (one thread, Zen 4). Where dimensions are left for another pass, positions are taken PV_BLOCK at
 * a time, so that the next pass finds the rows in the cache.
 *
 * Values of Q8_0 are code times scale, which float32 holds exactly.
 */
#ifndef KERN_SIMD_F_PV_H
#define KERN_SIMD_F_PV_H

#include "kern/simd/f_mul.h"
#include "quant/block.h"

enum {
    PV_BLOCK = 32, /* positions */
    PV_LONG = 8,   /* vectors of a tile for few columns, */
#if V_LANES == 16
    PV_SHORT = 4,     /* and for many; whole blocks of Q8_0 */
    PV_LONG_COLS = 3, /* 24 of 32 registers */
    PV_SHORT_COLS = 6,
    PV_LONG_MOST = 8, /* of all columns: faster by 15 % with 4, slower by 5 % with 12 */
#elif V_LANES == 8
    PV_SHORT = 4,
    PV_LONG_COLS = 1, /* 8 and 12 of 16 */
    PV_SHORT_COLS = 3,
    PV_LONG_MOST = 1,
#else
    PV_SHORT = 8,
    PV_LONG_COLS = 0,
    PV_LONG_MOST = 0,
#if defined(__aarch64__)
    PV_SHORT_COLS = 3, /* 24 of 32 */
#else
    PV_SHORT_COLS = 1, /* 8 of 16 */
#endif
#endif
};

struct pv { /* the arguments of add_pv */
    const uint8_t *v;
    size_t v_stride, n_pos, n_dim;
    const float *prob;
    size_t prob_stride, n_col;
    float *out;
    size_t out_stride;
};

struct pv_type {
    size_t group_dims, group_bytes;           /* a row is a sequence of groups */
    vf (*at)(const uint8_t *group, size_t i); /* from item i on, counted from a group's start */
    int n_min; /* vectors of a tile that begins and ends with groups */
};

INLINE vf pv_at_f32(const uint8_t *group, size_t i)
{
    return load_vf_f32(group + 4 * i);
}

INLINE vf pv_at_f16(const uint8_t *group, size_t i)
{
    return load_vf_f16(group + 2 * i);
}

INLINE vf pv_at_q8_0(const uint8_t *group, size_t i)
{
    const uint8_t *const block = group + i / QK_SMALL * Q8_0_BYTES;
    return vf_set(load_f16(block)) * load_vf_s8(block + 2 + i % QK_SMALL);
}

static const struct pv_type pv_f32 = {1, 4, pv_at_f32, 1};
static const struct pv_type pv_f16 = {1, 2, pv_at_f16, 1};
static const struct pv_type pv_q8_0 = {QK_SMALL, Q8_0_BYTES, pv_at_q8_0, QK_SMALL / V_LANES};

/* Positions [p0, p1), N vectors of dimensions from d0 on, C columns. */
INLINE void pv_tile(const struct pv *a, size_t p0, size_t p1, size_t d0, size_t c0, int N, int C,
                    struct pv_type t)
{
    float *const out = a->out + c0 * a->out_stride + d0;
    const float *const prob = a->prob + c0 * a->prob_stride;
    const uint8_t *v = a->v + p0 * a->v_stride + d0 / t.group_dims * t.group_bytes;
    vf sum[BY_COLS_MAX][PV_LONG];
    UNROLL(8)
    for (int c = 0; c < C; c++) {
        UNROLL(8)
        for (int i = 0; i < N; i++)
            sum[c][i] = load_vf(out + (size_t)c * a->out_stride + (size_t)i * V_LANES);
    }
    for (size_t p = p0; p < p1; p++, v += a->v_stride) {
        UNROLL(8)
        for (int i = 0; i < N; i++) {
            const vf value = t.at(v, (size_t)i * V_LANES);
            UNROLL(8)
            for (int c = 0; c < C; c++) {
                sum[c][i] = vf_fma(vf_set(prob[(size_t)c * a->prob_stride + p]), value, sum[c][i]);
            }
        }
    }
    UNROLL(8)
    for (int c = 0; c < C; c++) {
        UNROLL(8)
        for (int i = 0; i < N; i++)
            store_vf(out + (size_t)c * a->out_stride + (size_t)i * V_LANES, sum[c][i]);
    }
}

/* The last dimensions of floats, less than a vector. */
INLINE void pv_rest(const struct pv *a, struct ftype t)
{
    const size_t n = a->n_dim % V_LANES, d0 = a->n_dim - n;
    if (n == 0) return;
    for (size_t c = 0; c < a->n_col; c++) {
        float *const out = a->out + c * a->out_stride + d0;
        vf sum = load_vf_part(out, n);
        for (size_t p = 0; p < a->n_pos; p++) {
            const vf value = load_part(t, a->v + p * a->v_stride + d0 * t.bytes, n);
            sum = vf_fma(vf_set(a->prob[c * a->prob_stride + p]), value, sum);
        }
        store_vf_part(out, sum, n);
    }
}

/* N vectors of dimensions times all columns. */
INLINE void pv_columns(const struct pv *a, size_t p0, size_t p1, size_t d0, int N, int max,
                       struct pv_type t)
{
    for (size_t c = 0, n; c < a->n_col; c += n) {
        n = even_part(a->n_col - c, (size_t)max);
#define TILE(C) pv_tile(a, p0, p1, d0, c, N, C, t)
        BY_COLS(n, max, TILE)
#undef TILE
    }
}

/* All whole vectors of dimensions. */
INLINE void pv_dims(const struct pv *a, size_t p0, size_t p1, struct pv_type t)
{
    size_t d = 0;
    if (a->n_col <= PV_LONG_MOST)
        for (; d + PV_LONG * V_LANES <= a->n_dim; d += PV_LONG * V_LANES)
            pv_columns(a, p0, p1, d, PV_LONG, PV_LONG_COLS, t);
    for (; d + PV_SHORT * V_LANES <= a->n_dim; d += PV_SHORT * V_LANES)
        pv_columns(a, p0, p1, d, PV_SHORT, PV_SHORT_COLS, t);
    if (t.n_min <= 2)
        for (; d + 2 * V_LANES <= a->n_dim; d += 2 * V_LANES)
            pv_columns(a, p0, p1, d, 2, PV_SHORT_COLS, t);
    if (t.n_min <= 1 && d + V_LANES <= a->n_dim) pv_columns(a, p0, p1, d, 1, PV_SHORT_COLS, t);
}

INLINE void pv_add(const struct pv *a, struct pv_type t)
{
    for (size_t p = 0; p < a->n_pos; p += PV_BLOCK)
        pv_dims(a, p, a->n_pos - p < PV_BLOCK ? a->n_pos : p + PV_BLOCK, t);
}

#define PV_KERNEL(name, rest)                                                                      \
    static void add_pv_##name(const void *v, size_t v_stride, size_t n_pos, size_t n_dim,          \
                              const float *prob, size_t prob_stride, size_t n_col, float *out,     \
                              size_t out_stride)                                                   \
    {                                                                                              \
        const struct pv a = {                                                                      \
            v, v_stride, n_pos, n_dim, prob, prob_stride, n_col, out, out_stride};                 \
        pv_add(&a, pv_##name);                                                                     \
        rest;                                                                                      \
    }
PV_KERNEL(f32, pv_rest(&a, ft_f32))
PV_KERNEL(f16, pv_rest(&a, ft_f16))
PV_KERNEL(q8_0, (void)0)

INLINE void f_pv_fill(struct kern *k)
{
    k->add_pv[DT_F32] = add_pv_f32;
    k->add_pv[DT_F16] = add_pv_f16;
    k->add_pv[DT_Q8_0] = add_pv_q8_0;
}

#endif
