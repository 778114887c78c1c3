/*
 * f_mul.h: F32, F16 and BF16 weights times float activations, for every instruction set.
 *
 * Order of sums: 16 lanes, item i goes to lane i % 16 by one fma, rising; then lanes are folded by
 * halves (8, 4, 2, 1). The last, partial 16 are completed with zeros. So levels with fma agree to
 * the bit.
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
#if V_LANES == 16
    F_ROWS = 4,
    F_COLS = 5, /* 20 of 32 registers */
#elif V_LANES == 8
    F_ROWS = 2,
    F_COLS = 3, /* 12 of 16 */
#else
    F_ROWS = 2,
    F_COLS = 2, /* 16 of 32 on arm64 */
#endif
};

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

/* R rows times all columns. */
INLINE void f_rows(const struct kern_mul *a, struct f_src w, size_t r0, int R, struct ftype t)
{
    struct f_src x = {a->x, a->x_stride};
    size_t c = 0;
    for (; c + F_COLS <= a->n_col; c += F_COLS, x.p += F_COLS * x.stride) {
        f_tile(w, x, a->k, R, F_COLS, t, a->y + c * a->y_stride + r0, a->y_stride);
    }
    for (; c + 2 <= a->n_col; c += 2, x.p += 2 * x.stride) {
        f_tile(w, x, a->k, R, 2, t, a->y + c * a->y_stride + r0, a->y_stride);
    }
    if (c < a->n_col) {
        f_tile(w, x, a->k, R, 1, t, a->y + c * a->y_stride + r0, a->y_stride);
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

INLINE void f_mul(const struct kern_mul *a, struct ftype t)
{
    struct f_src w = {a->w, a->w_stride};
    size_t r = 0;
    for (; r + F_ROWS <= a->n_row; r += F_ROWS, w.p += F_ROWS * w.stride)
        f_rows(a, w, r, F_ROWS, t);
    for (; r < a->n_row; r++, w.p += w.stride) f_rows(a, w, r, 1, t);
}

#define F_MUL(name)                                                                                \
    static void mul_##name(const struct kern_mul *a)                                               \
    {                                                                                              \
        f_mul(a, ft_##name);                                                                       \
    }
F_MUL(f32)
F_MUL(f16)
F_MUL(bf16)

static void f16_to_f32(const void *src, float *dst, size_t n)
{
    widen_row(src, dst, n, ft_f16);
}

static void bf16_to_f32(const void *src, float *dst, size_t n)
{
    widen_row(src, dst, n, ft_bf16);
}

#endif
