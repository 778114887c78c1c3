/*
 * f_cols.h: F32, F16 and BF16 weights by columns (quant/block.h) times activations of which many
 * are 0, for every instruction set; the order of sums is that of f_mul.h.
 *
 * Item i goes to lane i % 16. One lane at a time, the columns of its items that are not 0 are added
 * to the sums of COLS_F_ROWS rows; an fma with 0 would not have changed them, since a lane is never
 * -0. Lanes come in an order in which f_mul.h's fold by halves (0 + 8, 4 + 12, their sum, 2 + 10,
 * ...) needs five buffers: as the carries of a counter, the sums of two equal parts become one.
 */
#ifndef KERN_SIMD_F_COLS_H
#define KERN_SIMD_F_COLS_H

#include "kern/simd/f_mul.h"
#include "quant/block.h"

enum { COLS_F_ROWS = 1024 }; /* rows at a time: five buffers of 4 KB */

/* sum += x times a column; the next one is fetched ahead. */
INLINE void add_column(float *sum, const uint8_t *column, const uint8_t *ahead, float x,
                       size_t n_row, struct ftype t)
{
    for (size_t r = 0; r < n_row; r += V_LANES) {
        if (r * t.bytes % 64 == 0) __builtin_prefetch(ahead + r * t.bytes, 0, 2);
        store_vf(sum + r, vf_fma(t.load(column + r * t.bytes), vf_set(x), load_vf(sum + r)));
    }
}

/* The items of a lane that are not 0. */
INLINE size_t list_items(const float *x, size_t k, size_t lane, uint32_t *list)
{
    size_t n = 0;
    for (size_t i = lane; i < k; i += 16) {
        list[n] = (uint32_t)i;
        n += x[i] != 0.0f;
    }
    return n;
}

/* Rows r0 .. r0 + n_row - 1 of a call, one column of activations. */
INLINE void f_cols_part(const struct kern_mul *a, size_t c, size_t r0, size_t n_row, struct ftype t)
{
    float sum[5][COLS_F_ROWS];
    const uint8_t *const w = (const uint8_t *)a->w + (a->row0 + r0) * t.bytes;
    const float *const x = (const float *)(const void *)((const char *)a->x + c * a->x_stride);
    const size_t stride = a->w_stride * t.bytes;
    const size_t n_pad = cols_padded(n_row);
    uint32_t *const list = a->scratch;
    size_t top = 0; /* buffers in use */
    for (size_t i = 0; i < 16; i++) {
        const size_t lane = i >> 3 | (i >> 1 & 2) | (i << 1 & 4) | (i << 3 & 8);
        const size_t n = list_items(x, a->k, lane, list);
        __builtin_memset(sum[top], 0, n_pad * sizeof **sum);
        for (size_t p = 0; p < n; p++)
            add_column(sum[top], w + list[p] * stride, w + list[p + 1 < n ? p + 1 : p] * stride,
                       x[list[p]], n_pad, t);
        for (size_t carry = i; carry & 1; carry >>= 1, top--)
            for (size_t r = 0; r < n_pad; r++) sum[top - 1][r] += sum[top][r];
        top++;
    }
    __builtin_memcpy(a->y + c * a->y_stride + r0, sum[0], n_row * sizeof **sum);
}

INLINE void f_mul_cols(const struct kern_mul *a, struct ftype t)
{
    for (size_t c = 0; c < a->n_col; c++) {
        for (size_t r = 0; r < a->n_row; r += COLS_F_ROWS)
            f_cols_part(a, c, r, a->n_row - r < COLS_F_ROWS ? a->n_row - r : COLS_F_ROWS, t);
    }
}

static void mul_cols_f32(const struct kern_mul *a)
{
    f_mul_cols(a, ft_f32);
}

static void mul_cols_f16(const struct kern_mul *a)
{
    f_mul_cols(a, ft_f16);
}

static void mul_cols_bf16(const struct kern_mul *a)
{
    f_mul_cols(a, ft_bf16);
}

INLINE void f_cols_fill(struct kern *k)
{
    k->mul_cols[DT_F32] = mul_cols_f32;
    k->mul_cols[DT_F16] = mul_cols_f16;
    k->mul_cols[DT_BF16] = mul_cols_bf16;
}

#endif
