/*
 * kern_i8mm.c: quantised products for arm64 with smmla: 2 rows x 2 columns x 8 items.
 *
 * An smmla does the work of two sdots, and on Arm's own cores that have it (Neoverse V1 and N2,
 * Cortex-A710 and X2, and later) it issues as often. On Apple's and Qualcomm's it has less
 * throughput than sdot (M2 Max: 350 against 426 GOPS, Snapdragon X: 442 against 520; measured by
 * pigirons/cpufp): cpu.c does not grant them this level.
 *
 * smmla wants the quads of two rows side by side, and sums come by two rows and two columns instead
 * of by four rows. That pays where a tile is decoded once for many columns: it is decoded to that
 * order, and each group's sums are put back into lanes by rows. Few columns, straight from the
 * tile, take sdot: interleaving the codes would cost as much as smmla saves.
 */
#if defined(__aarch64__)

#include "kern/simd/vec_arm.h"

#include "kern/simd/q_dot_sdot.h"

#define T_COLS 4
#define T_SLICES(n_col) ((n_col) <= 2 ? 4 : 2)
#define T_ARRANGE(w) join_rows(w)

INLINE vb zip_low(vb a, vb b)
{
    return (vb)vzip1q_s32((int32x4_t)a, (int32x4_t)b);
}

INLINE vb zip_high(vb a, vb b)
{
    return (vb)vzip2q_s32((int32x4_t)a, (int32x4_t)b);
}

/* Of each two pairs of quads the first becomes rows 0 and 1, the second rows 2 and 3. */
INLINE void join_rows(struct pair w[N_PAIR])
{
    UNROLL(2)
    for (size_t j = 0; j < N_PAIR; j += 2) {
        const struct pair even = w[j];
        const struct pair odd = w[j + 1];
        w[j] = (struct pair){zip_low(even.lo, odd.lo), zip_low(even.hi, odd.hi)};
        w[j + 1] = (struct pair){zip_high(even.lo, odd.lo), zip_high(even.hi, odd.hi)};
    }
}

/* Adds the dot products of four rows with 16 items of two columns. */
INLINE void smmla16(vb top0, vb end0, vb top1, vb end1, const int8_t *x, const int8_t *y,
                    int32x4_t sum[2])
{
    const int64x2_t xs = vreinterpretq_s64_s8(vld1q_s8(x));
    const int64x2_t ys = vreinterpretq_s64_s8(vld1q_s8(y));
    const int8x16_t first = vreinterpretq_s8_s64(vzip1q_s64(xs, ys));
    const int8x16_t second = vreinterpretq_s8_s64(vzip2q_s64(xs, ys));
    sum[0] = vmmlaq_s32(sum[0], (int8x16_t)top0, first);
    sum[1] = vmmlaq_s32(sum[1], (int8x16_t)end0, first);
    sum[0] = vmmlaq_s32(sum[0], (int8x16_t)top1, second);
    sum[1] = vmmlaq_s32(sum[1], (int8x16_t)end1, second);
}

INLINE void add_columns(const int32x4_t sum[2], vi *to, int n)
{
    to[0] += (vi)vuzp1q_s32(sum[0], sum[1]);
    if (n > 1) to[1] += (vi)vuzp2q_s32(sum[0], sum[1]);
}

INLINE void t_group(const uint8_t *p, struct qtype t, const int8_t *x, size_t stride, int n_col,
                    vi *a, vi *b)
{
    if (!t.is_arranged) {
        sdot_group(p, t, x, stride, n_col, a, b);
        return;
    }
    struct pair w[N_PAIR];
    load_pairs(p, t, w);
    UNROLL(4)
    for (int c = 0; c < n_col; c += 2) {
        const int n = n_col - c > 1 ? 2 : 1; /* an odd column is its own neighbour */
        const int8_t *const x0 = x + (size_t)c * stride;
        const int8_t *const x1 = n == 2 ? x0 + stride : x0;
        int32x4_t lo[2] = {{0}};
        int32x4_t hi[2] = {{0}};
        int32x4_t *const end = t.group == 32 ? lo : hi;
        smmla16(w[0].lo, w[1].lo, w[2].lo, w[3].lo, x0, x1, lo);
        smmla16(w[0].hi, w[1].hi, w[2].hi, w[3].hi, x0 + 16, x1 + 16, end);
        add_columns(lo, a + c, n);
        if (t.group != 32) add_columns(hi, b + c, n);
    }
}

#include "kern/simd/q_mul.h"
#include "kern/simd/q_peak.h"

void kern_fill_i8mm(struct kern *k)
{
    q_fill(k);
    k->int8_peak = int8_peak;
}

#endif
