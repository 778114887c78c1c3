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
#define T_SLICES(n_col) 1

/* Pairs of quads whose sums of two products, 2 * code * 127 each, add up below 2^15; without a zero
 * codes reach 31. */
INLINE size_t pairs_in_16_bits(int zero)
{
    return zero == WIDE ? 1 : zero == 32 ? 2 : 4;
}

/* Sums of two products in 16 bits. */
INLINE vmi twos(vb w, const int8_t *x, int zero)
{
    const vmi four = four_of(x);
    if (zero != WIDE) return MM(maddubs_epi16)((vmi)w, four);
    return MM(maddubs_epi16)(MM(abs_epi8)((vmi)w), MM(sign_epi8)(four, (vmi)w));
}

INLINE void t_group(const uint8_t *p, struct qtype t, const int8_t *x, size_t stride, int n_col,
                    vi *a, vi *b)
{
    const size_t run = pairs_in_16_bits(t.zero);
    const vmi ones = MM(set1_epi16)(1);
    UNROLL(4)
    for (size_t i = 0; i < N_PAIR; i += run) {
        vmi lo[T_COLS];
        vmi hi[T_COLS];
        UNROLL(4)
        for (size_t j = i; j < i + run; j++) {
            const struct pair w = t.pair(p, j);
            UNROLL(4)
            for (int c = 0; c < n_col; c++) {
                const int8_t *const at = x + (size_t)c * stride + 4 * j;
                const vmi l = twos(w.lo, at, t.zero);
                const vmi h = twos(w.hi, at + 16, t.zero);
                lo[c] = j > i ? MM(add_epi16)(lo[c], l) : l;
                hi[c] = j > i ? MM(add_epi16)(hi[c], h) : h;
            }
        }
        UNROLL(4)
        for (int c = 0; c < n_col; c++) {
            a[c] += (vi)MM(madd_epi16)(lo[c], ones);
            b[c] += (vi)MM(madd_epi16)(hi[c], ones);
        }
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
