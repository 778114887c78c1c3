/*
 * kern_dotprod.c: quantised products for arm64 with sdot: 4 products of s8 x s8 per lane.
 */
#if defined(__aarch64__)

#include "kern/simd/vec_arm.h"

#include "kern/simd/q_codes.h"

#define T_COLS 8
#define T_CODES(codes, zero) (codes)

INLINE void t_dot(const uint8_t *w, const int8_t *x, const int32_t *n, size_t stride, size_t n_quad,
                  int n_col, int zero, vi *sum)
{
    t_start(n, stride, n_col, zero, sum);
    UNROLL(2)
    for (size_t i = 0; i < n_quad; i += 4) {
        int8x16_t quad[4];
        UNROLL(4)
        for (size_t j = 0; j < 4; j++) quad[j] = vld1q_s8((const int8_t *)w + (i + j) * 16);
        UNROLL(8)
        for (int c = 0; c < n_col; c++) {
            const int8x16_t items = vld1q_s8(x + (size_t)c * stride + 4 * i);
            int32x4_t s = (int32x4_t)sum[c];
            s = vdotq_laneq_s32(s, quad[0], items, 0);
            s = vdotq_laneq_s32(s, quad[1], items, 1);
            s = vdotq_laneq_s32(s, quad[2], items, 2);
            s = vdotq_laneq_s32(s, quad[3], items, 3);
            sum[c] = (vi)s;
        }
    }
}

INLINE vi quad_dot(vi sum, vb quad, int32_t four, int zero)
{
    (void)zero;
    const int8x16_t x = vreinterpretq_s8_s32(vdupq_n_s32(four));
    return (vi)vdotq_s32((int32x4_t)sum, (int8x16_t)quad, x);
}

#include "kern/simd/q_cols.h"

void kern_fill_dotprod(struct kern *k)
{
    q_fill(k);
    q_cols_fill(k);
}

#endif
