/*
 * q_dot_x86.h: the dot products that q_mul.h and q_cols.h want, without VNNI, at 128 or 256 bits.
 *
 * maddubs gives sums of two products in 16 bits. Small codes need no widening for several items: as
 * many such sums as stay below 2^15 are added before madd widens them. Codes of 8 bits (WIDE) use
 * |w| * sign(x, w) and are widened at once.
 */
#ifndef KERN_SIMD_Q_DOT_X86_H
#define KERN_SIMD_Q_DOT_X86_H

#include "kern/simd/q_codes.h"

#define T_COLS 4
#define T_CODES(codes, zero) (codes)

/* Quads whose pair sums, 2 * code * 127 each, add up below 2^15; without a zero codes reach 31. */
INLINE size_t quads_in_16_bits(int zero)
{
    return zero == WIDE ? 1 : zero == 32 ? 2 : zero == 16 || zero == 0 ? 4 : 8;
}

INLINE vmi four_of(const int8_t *x)
{
    int32_t four;
    __builtin_memcpy(&four, x, sizeof four);
    return MM(set1_epi32)(four);
}

INLINE vmi load_quad(const uint8_t *w)
{
    vmi v;
    __builtin_memcpy(&v, w, sizeof v);
    return v;
}

INLINE void t_dot(const uint8_t *w, const int8_t *x, const int32_t *n, size_t stride, size_t n_quad,
                  int n_col, int zero, vi *sum)
{
    const size_t fit = quads_in_16_bits(zero);
    const size_t run = fit < n_quad ? fit : n_quad;
    const vmi ones = MM(set1_epi16)(1);
    t_start(n, stride, n_col, zero, sum);
    UNROLL(8)
    for (size_t i = 0; i < n_quad; i += run) {
        vmi pairs[T_COLS];
        UNROLL(8)
        for (size_t j = 0; j < run; j++) {
            const vmi quad = load_quad(w + (i + j) * sizeof(vmi));
            const vmi abs = zero == WIDE ? MM(abs_epi8)(quad) : quad;
            UNROLL(4)
            for (int c = 0; c < n_col; c++) {
                vmi four = four_of(x + (size_t)c * stride + 4 * (i + j));
                if (zero == WIDE) four = MM(sign_epi8)(four, quad);
                const vmi p = MM(maddubs_epi16)(abs, four);
                pairs[c] = j ? MM(add_epi16)(pairs[c], p) : p;
            }
        }
        UNROLL(4)
        for (int c = 0; c < n_col; c++) sum[c] += (vi)MM(madd_epi16)(pairs[c], ones);
    }
}

INLINE vi quad_dot(vi sum, vb quad, int32_t four, int zero)
{
    vmi w = (vmi)quad;
    vmi x = MM(set1_epi32)(four);
    if (zero == WIDE) {
        x = MM(sign_epi8)(x, w);
        w = MM(abs_epi8)(w);
    }
    return sum + (vi)MM(madd_epi16)(MM(maddubs_epi16)(w, x), MM(set1_epi16)(1));
}

#endif
