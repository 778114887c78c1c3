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
#define T_SLICES(n_col) ((n_col) == 1 ? 4 : (n_col) == 2 ? 2 : 1)

/* Quads whose products, of at most 127 times the code, add up below 2^15 in a lane: for codes of up
 * to 128, 63, 32. */
INLINE size_t quads_in_16_bits(int zero)
{
    return zero == WIDE ? 2 : zero == 32 ? 4 : 8;
}

INLINE int8x8_t four_twice(const int8_t *x)
{
    int32_t four;
    __builtin_memcpy(&four, x, sizeof four);
    return vreinterpret_s8_s32(vdup_n_s32(four));
}

/* Rows 0 and 1, and 2 and 3; a row has the products of its four items in four lanes. */
struct sums16 {
    int16x8_t top, end;
};

INLINE struct sums16 add_quad16(struct sums16 sum, vb quad, const int8_t *x, int is_first)
{
    const int8x16_t w = (int8x16_t)quad;
    const int8x8_t four = four_twice(x);
    if (is_first)
        return (struct sums16){vmull_s8(vget_low_s8(w), four), vmull_s8(vget_high_s8(w), four)};
    return (struct sums16){vmlal_s8(sum.top, vget_low_s8(w), four),
                           vmlal_s8(sum.end, vget_high_s8(w), four)};
}

INLINE vi widened(struct sums16 sum)
{
    return (vi)vpaddq_s32(vpaddlq_s16(sum.top), vpaddlq_s16(sum.end));
}

/* Items of the first half of the group, or of the second, or of all: pairs are taken apart only
 * once, so both halves go side by side. */
INLINE void t_group(const uint8_t *p, struct qtype t, const int8_t *x, size_t stride, int n_col,
                    vi *a, vi *b)
{
    const size_t fit = quads_in_16_bits(t.zero);
    const int is_one = t.group == 32 && fit == 8; /* all items in one sum */
    const size_t run = fit < 4 ? fit : 4;
    UNROLL(4)
    for (size_t i = 0; i < N_PAIR; i += run) {
        struct sums16 lo[T_COLS];
        struct sums16 hi[T_COLS];
        UNROLL(4)
        for (size_t j = i; j < i + run; j++) {
            const struct pair w = t.pair(p, j);
            UNROLL(4)
            for (int c = 0; c < n_col; c++) {
                const int8_t *const at = x + (size_t)c * stride + 4 * j;
                struct sums16 *const end = is_one ? &lo[c] : &hi[c];
                lo[c] = add_quad16(lo[c], w.lo, at, j == i);
                *end = add_quad16(*end, w.hi, at + 16, j == i && !is_one);
            }
        }
        UNROLL(4)
        for (int c = 0; c < n_col; c++) {
            a[c] += widened(lo[c]);
            if (!is_one) b[c] += widened(hi[c]);
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
#include "kern/simd/q_peak.h"

void kern_fill_neon(struct kern *k)
{
    f_fill(k);
    q_fill(k);
    q_cols_fill(k);
    k->int8_peak = int8_peak;
}

#endif
