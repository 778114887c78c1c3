/*
 * kern_avx2.c: all kernels for AVX2, FMA and F16C.
 *
 * maddubs gives sums of two products in 16 bits. Codes of small range need no widening for several items: as
 * many such sums as stay below 2^15 are added before madd widens them. Codes of 8 bits (WIDE) use
 * |w| * sign(x, w) and are widened at once.
 */
#if defined(__x86_64__)

#include "kern/simd/vec_x86.h"

#include "kern/simd/q_codes.h"

#define T_COLS 4
#define T_CODES(codes, zero) (codes)

/* Quads whose pair sums (2 * code * 127 each) add up below 2^15. */
INLINE size_t quads_in_16_bits(int zero)
{
    return zero == WIDE ? 1 : zero == 8 || zero == 4 ? 8 : zero == 16 ? 4 : 2;
}

INLINE __m256i four_of(const int8_t *x)
{
    int32_t four;
    __builtin_memcpy(&four, x, sizeof four);
    return _mm256_set1_epi32(four);
}

INLINE void t_dot(const uint8_t *w, const int8_t *x, const int32_t *n, size_t stride, size_t n_quad, int n_col,
                  int zero, vi *sum)
{
    const __m256i ones = _mm256_set1_epi16(1);
    UNROLL(4)
    for (int c = 0; c < n_col; c++) {
        const int32_t n_c = zero && zero != WIDE ? n[(size_t)c * stride / sizeof *n] : 0;
        sum[c] = (vi){0} + (n_c >> (zero ? 7 - __builtin_ctz((unsigned)zero) : 0));
    }
    const size_t fit = quads_in_16_bits(zero);
    const size_t run = fit < n_quad ? fit : n_quad;
    UNROLL(8)
    for (size_t i = 0; i < n_quad; i += run) {
        __m256i pairs[T_COLS];
        UNROLL(8)
        for (size_t j = 0; j < run; j++) {
            const __m256i quad = _mm256_loadu_si256((const __m256i_u *)(const void *)(w + (i + j) * 32));
            const __m256i abs = zero == WIDE ? _mm256_abs_epi8(quad) : quad;
            UNROLL(4)
            for (int c = 0; c < n_col; c++) {
                __m256i four = four_of(x + (size_t)c * stride + 4 * (i + j));
                if (zero == WIDE) four = _mm256_sign_epi8(four, quad);
                const __m256i p = _mm256_maddubs_epi16(abs, four);
                pairs[c] = j ? _mm256_add_epi16(pairs[c], p) : p;
            }
        }
        UNROLL(4)
        for (int c = 0; c < n_col; c++) sum[c] += (vi)_mm256_madd_epi16(pairs[c], ones);
    }
}

#include "kern/simd/f_ops.h"
#include "kern/simd/q_mul.h"

void kern_fill_avx2(struct kern *k)
{
    f_fill(k);
    q_fill(k);
}

#endif
