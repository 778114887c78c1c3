/*
 * kern_neon.c: all kernels for the arm64 baseline.
 *
 * Without sdot, products are summed in 16 bits over as many quads as cannot overflow, then widened:
 * a lane holds one product per quad, of at most 127 times the largest code.
 */
#if defined(__aarch64__)

#include "kern/simd/vec_arm.h"

#include "kern/simd/f_ops.h"
#include "kern/simd/q_codes.h"

#define T_COLS 4
#define T_CODES(codes, zero) (codes)

INLINE size_t quads_in_16_bits(int zero)
{
    return zero == WIDE ? 2 : zero == 32 ? 4 : 8; /* codes of up to 128, 63, 31 */
}

INLINE int8x8_t four_twice(const int8_t *x)
{
    int32_t four;
    __builtin_memcpy(&four, x, sizeof four);
    return vreinterpret_s8_s32(vdup_n_s32(four));
}

INLINE void t_dot(const uint8_t *w, const int8_t *x, const int32_t *n, size_t stride, size_t n_quad,
                  int n_col, int zero, vi *sum)
{
    t_start(n, stride, n_col, zero, sum);
    const size_t fit = quads_in_16_bits(zero);
    const size_t run = fit < n_quad ? fit : n_quad;
    UNROLL(8)
    for (size_t i = 0; i < n_quad; i += run) {
        int16x8_t top[T_COLS]; /* rows 0 and 1 */
        int16x8_t end[T_COLS]; /* rows 2 and 3 */
        UNROLL(8)
        for (size_t j = 0; j < run; j++) {
            const int8x16_t quad = vld1q_s8((const int8_t *)w + (i + j) * 16);
            UNROLL(4)
            for (int c = 0; c < n_col; c++) {
                const int8x8_t four = four_twice(x + (size_t)c * stride + 4 * (i + j));
                const int8x8_t lo = vget_low_s8(quad);
                const int8x8_t hi = vget_high_s8(quad);
                top[c] = j ? vmlal_s8(top[c], lo, four) : vmull_s8(lo, four);
                end[c] = j ? vmlal_s8(end[c], hi, four) : vmull_s8(hi, four);
            }
        }
        UNROLL(4)
        for (int c = 0; c < n_col; c++) {
            sum[c] += (vi)vpaddq_s32(vpaddlq_s16(top[c]), vpaddlq_s16(end[c]));
        }
    }
}

INLINE vi quad_dot(vi sum, vb quad, int32_t four, int zero)
{
    (void)zero;
    const int8x16_t w = (int8x16_t)quad;
    const int8x16_t x = vreinterpretq_s8_s32(vdupq_n_s32(four));
    const int32x4_t lo = vpaddlq_s16(vmull_s8(vget_low_s8(w), vget_low_s8(x)));
    const int32x4_t hi = vpaddlq_s16(vmull_high_s8(w, x));
    return sum + (vi)vpaddq_s32(lo, hi);
}

#include "kern/simd/q_cols.h"

void kern_fill_neon(struct kern *k)
{
    f_fill(k);
    q_fill(k);
    q_cols_fill(k);
}

#endif
