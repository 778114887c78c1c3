/*
 * kern_vnni.c: quantised products for AVX-512 VNNI: dpbusd, 4 products of u8 x s8 per lane.
 */
#if defined(__x86_64__)

#include "kern/simd/vec_x86.h"

#include "kern/simd/q_codes.h"

#define T_COLS 8
#define T_SLICES(n_col) 1

INLINE void t_group(const uint8_t *p, struct qtype t, const int8_t *x, size_t stride, int n_col,
                    vi *a, vi *b)
{
    UNROLL(4)
    for (size_t j = 0; j < N_PAIR; j++) {
        const struct pair w = t.pair(p, j);
        UNROLL(8)
        for (int c = 0; c < n_col; c++) {
            const int8_t *const at = x + (size_t)c * stride + 4 * j;
            a[c] = (vi)_mm512_dpbusd_epi32((__m512i)a[c], (__m512i)w.lo, four_of(at));
            b[c] = (vi)_mm512_dpbusd_epi32((__m512i)b[c], (__m512i)w.hi, four_of(at + 16));
        }
    }
}

INLINE vi quad_dot(vi sum, vb quad, int32_t four, int zero)
{
    (void)zero;
    return (vi)_mm512_dpbusd_epi32((__m512i)sum, (__m512i)quad, _mm512_set1_epi32(four));
}

#include "kern/simd/q_cols.h"
#include "kern/simd/q_peak.h"

void kern_fill_vnni(struct kern *k)
{
    q_fill(k);
    q_cols_fill(k);
    k->int8_peak = int8_peak;
}

#endif
