/*
 * q_peak.h: int8 products on registers alone: the rate that no kernel of this level can beat.
 *
 * So many sums run side by side that none waits for its last product. The weights are hidden from
 * the compiler before each product, or it would make one and reuse it. Where no instruction adds up
 * the four products of a lane, PEAK_RUN sums in 16 bits are widened together, as kernels for codes
 * of 4 bits do. The file that includes this has included vec_x86.h or vec_arm.h.
 */
#ifndef KERN_SIMD_Q_PEAK_H
#define KERN_SIMD_Q_PEAK_H

#include "kern/kern_impl.h"

#define PEAK_RUN 8

#if defined(__ARM_FEATURE_MATMUL_INT8)
#define PEAK_PRODUCTS 32 /* 2 x 2 x 8 */
#else
#define PEAK_PRODUCTS sizeof(vb)
#endif

#if defined(__aarch64__)
#define HIDE(v) __asm__ volatile("" : "+w"(v))
#else
#define HIDE(v) __asm__ volatile("" : "+x"(v))
#endif

/* Adds PEAK_RUN times the products of w and x to each sum. */
#if defined(__AVX512VNNI__) || defined(__ARM_FEATURE_DOTPROD)
#define PEAK_SUMS 12

INLINE vi peak_dot(vi sum, vb w, vb x)
{
#if defined(__AVX512VNNI__)
    return (vi)_mm512_dpbusd_epi32((__m512i)sum, (__m512i)w, (__m512i)x);
#elif defined(__ARM_FEATURE_MATMUL_INT8)
    return (vi)vmmlaq_s32((int32x4_t)sum, (int8x16_t)w, (int8x16_t)x);
#else
    return (vi)vdotq_s32((int32x4_t)sum, (int8x16_t)w, (int8x16_t)x);
#endif
}

INLINE void peak_round(vi *sum, vb w, vb x)
{
    UNROLL(8)
    for (int i = 0; i < PEAK_RUN; i++) {
        UNROLL(12)
        for (int j = 0; j < PEAK_SUMS; j++) {
            HIDE(w);
            sum[j] = peak_dot(sum[j], w, x);
        }
    }
}

#elif defined(__aarch64__)
#define PEAK_SUMS 6

INLINE void peak_round(vi *sum, vb w, vb x)
{
    int16x8_t lo[PEAK_SUMS];
    int16x8_t hi[PEAK_SUMS];
    UNROLL(8)
    for (int i = 0; i < PEAK_RUN; i++) {
        UNROLL(6)
        for (int j = 0; j < PEAK_SUMS; j++) {
            HIDE(w);
            const int8x8_t w_lo = vget_low_s8((int8x16_t)w);
            const int8x8_t x_lo = vget_low_s8((int8x16_t)x);
            lo[j] = i ? vmlal_s8(lo[j], w_lo, x_lo) : vmull_s8(w_lo, x_lo);
            hi[j] = i ? vmlal_high_s8(hi[j], (int8x16_t)w, (int8x16_t)x)
                      : vmull_high_s8((int8x16_t)w, (int8x16_t)x);
        }
    }
    UNROLL(6)
    for (int j = 0; j < PEAK_SUMS; j++)
        sum[j] = (vi)vpadalq_s16(vpadalq_s16((int32x4_t)sum[j], lo[j]), hi[j]);
}

#else
#define PEAK_SUMS 4

INLINE void peak_round(vi *sum, vb w, vb x)
{
    const vmi ones = MM(set1_epi16)(1);
    vmi pairs[PEAK_SUMS];
    UNROLL(8)
    for (int i = 0; i < PEAK_RUN; i++) {
        UNROLL(4)
        for (int j = 0; j < PEAK_SUMS; j++) {
            HIDE(w);
            const vmi p = MM(maddubs_epi16)((vmi)w, (vmi)x);
            pairs[j] = i ? MM(add_epi16)(pairs[j], p) : p;
            HIDE(pairs[j]); /* or all products come first, and are spilled */
        }
    }
    UNROLL(4)
    for (int j = 0; j < PEAK_SUMS; j++) sum[j] += (vi)MM(madd_epi16)(pairs[j], ones);
}

#endif

static uint64_t int8_peak(uint64_t n)
{
    vb w = {1};
    vb x = {1};
    vi sum[PEAK_SUMS] = {{0}};
    HIDE(x);
    for (uint64_t i = 0; i < n; i++) peak_round(sum, w, x);
    UNROLL(12)
    for (int j = 0; j < PEAK_SUMS; j++) HIDE(sum[j]);
    return n * PEAK_SUMS * PEAK_RUN * PEAK_PRODUCTS;
}

#undef HIDE

#endif
