/*
 * kern_vnni.c: quantised products for AVX-512 VNNI: dpbusd, 4 products of u8 x s8 per lane.
 *
 * Codes are stored in the tile with 128 in place of zero, or as they are where the type has a
 * minimum; the sum starts from n32 or n16, which takes the offset out again, exactly.
 */
#if defined(__x86_64__)

#include "kern/simd/vec_x86.h"

#include "kern/simd/q_codes.h"

#define T_COLS 8
#define T_CODES(codes, zero)                                                                       \
    ((zero) == WIDE ? (codes) ^ 0x80 : (zero) ? (codes) + (uint8_t)(128 - (zero)) : (codes))

INLINE void t_dot(const uint8_t *w, const int8_t *x, const int32_t *n, size_t stride, size_t n_quad,
                  int n_col, int zero, vi *sum)
{
    t_start(n, stride, n_col, zero ? WIDE : 0, sum);
    UNROLL(8)
    for (size_t i = 0; i < n_quad; i++) {
        const __m512i quad = _mm512_loadu_si512(w + i * 64);
        UNROLL(8)
        for (int c = 0; c < n_col; c++) {
            int32_t four;
            __builtin_memcpy(&four, x + (size_t)c * stride + 4 * i, sizeof four);
            sum[c] = (vi)_mm512_dpbusd_epi32((__m512i)sum[c], quad, _mm512_set1_epi32(four));
        }
    }
}

INLINE vi quad_dot(vi sum, vb quad, int32_t four, int zero)
{
    (void)zero;
    return (vi)_mm512_dpbusd_epi32((__m512i)sum, (__m512i)quad, _mm512_set1_epi32(four));
}

#include "kern/simd/q_cols.h"

void kern_fill_vnni(struct kern *k)
{
    q_fill(k);
    q_cols_fill(k);
}

#endif
