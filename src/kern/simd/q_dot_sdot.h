/*
 * q_dot_sdot.h: dot products for arm64 with sdot: 4 products of s8 x s8 per lane. Codes pass as
 * signed bytes: they are at most 63, or signed.
 *
 * The codes of a group stay in eight registers while the columns go by, 16 items of a column at a
 * time, of which an sdot takes four by their place.
 */
#ifndef KERN_SIMD_Q_DOT_SDOT_H
#define KERN_SIMD_Q_DOT_SDOT_H

#include "kern/simd/q_codes.h"

INLINE void load_pairs(const uint8_t *p, struct qtype t, struct pair w[N_PAIR])
{
    UNROLL(4)
    for (size_t j = 0; j < N_PAIR; j++) w[j] = t.pair(p, j);
}

/* sum + the dot products of four quads of V_LANES rows with 16 items */
INLINE vi sdot16(vi sum, vb q0, vb q1, vb q2, vb q3, const int8_t *x)
{
    const int8x16_t items = vld1q_s8(x);
    int32x4_t s = (int32x4_t)sum;
    s = vdotq_laneq_s32(s, (int8x16_t)q0, items, 0);
    s = vdotq_laneq_s32(s, (int8x16_t)q1, items, 1);
    s = vdotq_laneq_s32(s, (int8x16_t)q2, items, 2);
    s = vdotq_laneq_s32(s, (int8x16_t)q3, items, 3);
    return (vi)s;
}

/* t_group of q_mul.h. Where the whole group shares a scale, b is left as it is: one chain of sums
 * saves an addition. */
INLINE void sdot_group(const uint8_t *p, struct qtype t, const int8_t *x, size_t stride, int n_col,
                       vi *a, vi *b)
{
    vi *const end = t.group == 32 ? a : b;
    struct pair w[N_PAIR];
    load_pairs(p, t, w);
    UNROLL(8)
    for (int c = 0; c < n_col; c++) {
        const int8_t *const at = x + (size_t)c * stride;
        a[c] = sdot16(a[c], w[0].lo, w[1].lo, w[2].lo, w[3].lo, at);
        end[c] = sdot16(end[c], w[0].hi, w[1].hi, w[2].hi, w[3].hi, at + 16);
    }
}

INLINE vi quad_dot(vi sum, vb quad, int32_t four, int zero)
{
    (void)zero;
    const int8x16_t x = vreinterpretq_s8_s32(vdupq_n_s32(four));
    return (vi)vdotq_s32((int32x4_t)sum, (int8x16_t)quad, x);
}

#endif
