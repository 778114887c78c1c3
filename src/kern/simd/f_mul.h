/*
 * f_mul.h: F32, F16 and BF16 weights times float activations, for every instruction set.
 *
 * Order of sums of rows: 16 lanes, item i goes to lane i % 16 by one fma, rising; then lanes are
 * folded by halves (8, 4, 2, 1). The last, partial 16 are completed with zeros. Of packed tiles
 * (pack.h), whose lanes are rows: the even items and the odd ones, each by one fma, rising; then
 * the two are added. So levels with fma agree to the bit.
 *
 * A register tile is F_ROWS x F_COLS sums of 16 lanes. Half floats are widened in the load, for any
 * number of columns: widening a row once into scratch was slower (48 instead of 55 GMAC/s at 64
 * columns, 25 instead of 50 at 4; Zen 4).
 */
#ifndef KERN_SIMD_F_MUL_H
#define KERN_SIMD_F_MUL_H

#include "kern/kern_impl.h"

enum {
    F_VECS = 16 / V_LANES, /* vectors of 16 lanes */
    F_BLOCK = 64,          /* rows */
#if V_LANES == 16
    F_ROWS = 4,
    F_COLS = 5,      /* 20 of 32 registers */
    F_TILE_COLS = 6, /* 12 */
#elif V_LANES == 8
    F_ROWS = 2,
    F_COLS = 3,      /* 12 of 16 */
    F_TILE_COLS = 3, /* 12 */
#elif defined(__aarch64__)
    F_ROWS = 2,
    F_COLS = 2,      /* 16 of 32 */
    F_TILE_COLS = 3, /* 24 */
#else
    F_ROWS = 2,
    F_COLS = 2,
    F_TILE_COLS = 1, /* 8 of 16 */
#endif
};

/* Of n columns that are left, how many to take next, max at most: nearly equal parts, since 4 and 3
 * are faster than 6 and 1. */
INLINE size_t even_part(size_t n, size_t max)
{
    const size_t n_part = (n + max - 1) / max;
    return (n + n_part - 1) / n_part;
}

enum { BY_COLS_MAX = 6 };

/* TILE(C) with a constant C equal to n <= max <= BY_COLS_MAX. */
#define BY_COLS(n, max, TILE)                                                                      \
    switch (n) {                                                                                   \
        COLS_CASE(1, max, TILE)                                                                    \
        COLS_CASE(2, max, TILE)                                                                    \
        COLS_CASE(3, max, TILE)                                                                    \
        COLS_CASE(4, max, TILE)                                                                    \
        COLS_CASE(5, max, TILE)                                                                    \
        COLS_CASE(6, max, TILE)                                                                    \
    }
#define COLS_CASE(C, max, TILE)                                                                    \
    case C:                                                                                        \
        if ((C) <= (max)) TILE(C);                                                                 \
        break;

struct ftype {
    vf (*load)(const uint8_t *p);
    size_t bytes;
};

INLINE vf load_vf_f32(const uint8_t *p)
{
    vf v;
    __builtin_memcpy(&v, p, sizeof v);
    return v;
}

/* The first n < V_LANES values of any type, zeros after them. */
INLINE vf load_part(struct ftype t, const uint8_t *p, size_t n)
{
    uint8_t part[4 * V_LANES] = {0};
    __builtin_memcpy(part, p, n * t.bytes);
    return t.load(part);
}

INLINE float fold16(const vf v[F_VECS])
{
    const f32x4 four = fold4(v);
    return (four[0] + four[2]) + (four[1] + four[3]);
}

struct f_src {
    const uint8_t *p;
    size_t stride; /* bytes */
};

/* R rows times C columns over 16 items. */
INLINE void add16(struct f_src w, struct f_src x, int R, int C, struct ftype t,
                  vf sum[F_ROWS][F_COLS][F_VECS])
{
    UNROLL(4)
    for (size_t v = 0; v < F_VECS; v++) {
        vf xv[F_COLS];
        UNROLL(8)
        for (int c = 0; c < C; c++)
            xv[c] = load_vf_f32(x.p + (size_t)c * x.stride + v * sizeof(vf));
        UNROLL(8)
        for (int r = 0; r < R; r++) {
            const vf wv = t.load(w.p + (size_t)r * w.stride + v * V_LANES * t.bytes);
            UNROLL(8)
            for (int c = 0; c < C; c++) sum[r][c][v] = vf_fma(wv, xv[c], sum[r][c][v]);
        }
    }
}

INLINE void f_tile(struct f_src w, struct f_src x, size_t k, int R, int C, struct ftype t, float *y,
                   size_t y_stride)
{
    vf sum[F_ROWS][F_COLS][F_VECS] = {{{{0}}}};
    size_t i = 0;
    for (; i + 16 <= k; i += 16) {
        add16(w, x, R, C, t, sum);
        w.p += 16 * t.bytes;
        x.p += 16 * sizeof(float);
    }
    if (i < k) {
        uint8_t w16[F_ROWS][64] = {{0}};
        uint8_t x16[F_COLS][64] = {{0}};
        for (int r = 0; r < R; r++)
            __builtin_memcpy(w16[r], w.p + (size_t)r * w.stride, (k - i) * t.bytes);
        for (int c = 0; c < C; c++)
            __builtin_memcpy(x16[c], x.p + (size_t)c * x.stride, (k - i) * sizeof(float));
        add16((struct f_src){w16[0], 64}, (struct f_src){x16[0], 64}, R, C, t, sum);
    }
    UNROLL(8)
    for (int r = 0; r < R; r++) {
        UNROLL(8)
        for (int c = 0; c < C; c++) y[(size_t)c * y_stride + (size_t)r] = fold16(sum[r][c]);
    }
}

/* All rows of w times C columns. */
INLINE void f_rows(struct f_src w, size_t n_row, struct f_src x, size_t k, int C, struct ftype t,
                   float *y, size_t y_stride)
{
    size_t r = 0;
    for (; r + F_ROWS <= n_row; r += F_ROWS, w.p += F_ROWS * w.stride)
        f_tile(w, x, k, F_ROWS, C, t, y + r, y_stride);
    for (; r < n_row; r++, w.p += w.stride) f_tile(w, x, k, 1, C, t, y + r, y_stride);
}

/* Item i of 16 packed rows times that of C columns. */
INLINE void add_item(const uint8_t *w, struct f_src x, size_t i, int C, struct ftype t,
                     vf sum[F_TILE_COLS][F_VECS])
{
    UNROLL(4)
    for (size_t v = 0; v < F_VECS; v++) {
        const vf wv = t.load(w + (i * 16 + v * V_LANES) * t.bytes);
        UNROLL(8)
        for (int c = 0; c < C; c++) {
            const float *const xc = (const float *)(const void *)(x.p + (size_t)c * x.stride);
            sum[c][v] = vf_fma(wv, vf_set(xc[i]), sum[c][v]);
        }
    }
}

/* A packed tile times C columns. Two sums for each row, so that even a single column keeps the
 * multipliers busy. */
INLINE void packed_tile(const uint8_t *w, struct f_src x, size_t k, int C, struct ftype t, float *y,
                        size_t y_stride)
{
    vf even[F_TILE_COLS][F_VECS] = {{{0}}};
    vf odd[F_TILE_COLS][F_VECS] = {{{0}}};
    for (size_t i = 0; i + 2 <= k; i += 2) {
        add_item(w, x, i, C, t, even);
        add_item(w, x, i + 1, C, t, odd);
    }
    if (k % 2) add_item(w, x, k - 1, C, t, even);
    UNROLL(8)
    for (int c = 0; c < C; c++) {
        UNROLL(4)
        for (size_t v = 0; v < F_VECS; v++)
            store_vf(y + (size_t)c * y_stride + v * V_LANES, even[c][v] + odd[c][v]);
    }
}

/* Each tile times all columns, while it is in the first-level cache: 58 of 59 possible GMAC/s with
 * two columns or more where rows reach 27 (64 items) to 37 (128), and 36 GB/s from memory with one
 * (Zen 4). */
INLINE void f_mul_packed(const struct kern_mul *a, struct ftype t)
{
    const uint8_t *w = a->w;
    for (size_t r = 0; r < a->n_row; r += 16, w += 16 * a->k * t.bytes) {
        struct f_src x = {a->x, a->x_stride};
        for (size_t c = 0, n; c < a->n_col; c += n, x.p += n * x.stride) {
            n = even_part(a->n_col - c, F_TILE_COLS);
            float *const y = a->y + c * a->y_stride + r;
#define TILE(C) packed_tile(w, x, a->k, C, t, y, a->y_stride)
            BY_COLS(n, F_TILE_COLS, TILE)
#undef TILE
        }
    }
}

INLINE void widen_row(const uint8_t *p, float *dst, size_t n, struct ftype t)
{
    size_t i = 0;
    for (; i + V_LANES <= n; i += V_LANES) store_vf(dst + i, t.load(p + i * t.bytes));
    if (i < n) store_vf_part(dst + i, load_part(t, p + i * t.bytes, n - i), n - i);
}

static const struct ftype ft_f32 = {load_vf_f32, 4};
static const struct ftype ft_f16 = {load_vf_f16, 2};
static const struct ftype ft_bf16 = {load_vf_bf16, 2};

/* Some columns stay in the first-level cache while F_BLOCK rows go by, from the second. */
INLINE void f_mul(const struct kern_mul *a, struct ftype t)
{
    for (size_t r = 0; r < a->n_row; r += F_BLOCK) {
        const size_t n_row = a->n_row - r < F_BLOCK ? a->n_row - r : F_BLOCK;
        const struct f_src w = {(const uint8_t *)a->w + r * a->w_stride, a->w_stride};
        struct f_src x = {a->x, a->x_stride};
        for (size_t c = 0, n; c < a->n_col; c += n, x.p += n * x.stride) {
            n = even_part(a->n_col - c, F_COLS);
#define TILE(C) f_rows(w, n_row, x, a->k, C, t, a->y + c * a->y_stride + r, a->y_stride)
            BY_COLS(n, F_COLS, TILE)
#undef TILE
        }
    }
}

#define F_MUL(name)                                                                                \
    static void mul_##name(const struct kern_mul *a)                                               \
    {                                                                                              \
        if (a->is_packed)                                                                          \
            f_mul_packed(a, ft_##name);                                                            \
        else                                                                                       \
            f_mul(a, ft_##name);                                                                   \
    }
F_MUL(f32)
F_MUL(f16)

static void mul_bf16(const struct kern_mul *a) /* never packed (pack.h) */
{
    f_mul(a, ft_bf16);
}

static void f16_to_f32(const void *src, float *dst, size_t n)
{
    widen_row(src, dst, n, ft_f16);
}

static void bf16_to_f32(const void *src, float *dst, size_t n)
{
    widen_row(src, dst, n, ft_bf16);
}

#endif
