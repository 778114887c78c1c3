/*
 * vec_arm.h: what vec.h leaves to the instruction set: arm64's NEON, with sdot where the file's
 * flags allow.
 *
 * Codes of small types are at most 63 and pass as signed bytes. Without sdot products are summed in
 * 16 bits: two of 8-bit codes (2 * 128 * 127 < 2^15), four of small ones.
 */
#ifndef KERN_SIMD_VEC_ARM_H
#define KERN_SIMD_VEC_ARM_H

#include "kern/simd/vec.h"

#include <arm_neon.h>

#define WIDE_IS_OFFSET 0
#define V_STORES_F16 1

/* ---- 128 bits: decoding and the one-column product ------------------------------------------- */

INLINE u8x16 table_u8x16(u8x16 table, u8x16 index) /* index < 16 */
{
    return (u8x16)vqtbl1q_u8((uint8x16_t)table, (uint8x16_t)index);
}

#if defined(__ARM_FEATURE_DOTPROD)

INLINE s32x4 dot16(u8x16 w, s8x16 x, int wide)
{
    (void)wide;
    return (s32x4)vdotq_s32(vdupq_n_s32(0), (int8x16_t)w, (int8x16_t)x);
}

INLINE s32x4 dot32(u8x16 w0, u8x16 w1, s8x16 x0, s8x16 x1, int wide)
{
    return (s32x4)vdotq_s32((int32x4_t)dot16(w0, x0, wide), (int8x16_t)w1, (int8x16_t)x1);
}

#else

INLINE int16x8_t pairs16(u8x16 w, s8x16 x)
{
    const int8x16_t ws = (int8x16_t)w;
    const int8x16_t xs = (int8x16_t)x;
    return vmlal_high_s8(vmull_s8(vget_low_s8(ws), vget_low_s8(xs)), ws, xs);
}

INLINE s32x4 dot16(u8x16 w, s8x16 x, int wide)
{
    (void)wide;
    return (s32x4)vpaddlq_s16(pairs16(w, x));
}

INLINE s32x4 dot32(u8x16 w0, u8x16 w1, s8x16 x0, s8x16 x1, int wide)
{
    if (wide) return (s32x4)vpadalq_s16((int32x4_t)dot16(w0, x0, 1), pairs16(w1, x1));
    return (s32x4)vpaddlq_s16(vaddq_s16(pairs16(w0, x0), pairs16(w1, x1)));
}

#endif

/* Four rows of four 32-bit items become four columns. */
INLINE void transpose4(s32x4 r[4])
{
    const int64x2_t a = vreinterpretq_s64_s32(vtrn1q_s32((int32x4_t)r[0], (int32x4_t)r[1]));
    const int64x2_t b = vreinterpretq_s64_s32(vtrn1q_s32((int32x4_t)r[2], (int32x4_t)r[3]));
    const int64x2_t c = vreinterpretq_s64_s32(vtrn2q_s32((int32x4_t)r[0], (int32x4_t)r[1]));
    const int64x2_t d = vreinterpretq_s64_s32(vtrn2q_s32((int32x4_t)r[2], (int32x4_t)r[3]));
    r[0] = (s32x4)vtrn1q_s64(a, b);
    r[1] = (s32x4)vtrn1q_s64(c, d);
    r[2] = (s32x4)vtrn2q_s64(a, b);
    r[3] = (s32x4)vtrn2q_s64(c, d);
}

/* Lane i is the sum of the lanes of v[i]. */
INLINE s32x4 sums4(const s32x4 v[4])
{
    return (s32x4)vpaddq_s32(vpaddq_s32((int32x4_t)v[0], (int32x4_t)v[1]),
                             vpaddq_s32((int32x4_t)v[2], (int32x4_t)v[3]));
}

/* (a0 a0 a1 a1) and (a2 a2 a3 a3) */
INLINE void twice4(f32x4 a, f32x4 out[2])
{
    out[0] = (f32x4)vzip1q_f32((float32x4_t)a, (float32x4_t)a);
    out[1] = (f32x4)vzip2q_f32((float32x4_t)a, (float32x4_t)a);
}

INLINE f32x4 u8x4_to_f32(uint32_t v)
{
    return (f32x4)vcvtq_f32_u32(vmovl_u16(vget_low_u16(vmovl_u8(vcreate_u8(v)))));
}

INLINE f32x4 s8x4_to_f32(uint32_t v)
{
    return (f32x4)vcvtq_f32_s32(vmovl_s16(vget_low_s16(vmovl_s8(vcreate_s8(v)))));
}

INLINE f32x4 s32x4_to_f32(s32x4 v)
{
    return (f32x4)vcvtq_f32_s32((int32x4_t)v);
}

/* Round to nearest even; |v| < 2^31. */
INLINE s32x4 f32x4_to_s32(f32x4 v)
{
    return (s32x4)vcvtnq_s32_f32((float32x4_t)v);
}

INLINE s32x4 max_s32x4(s32x4 a, s32x4 b)
{
    return (s32x4)vmaxq_s32((int32x4_t)a, (int32x4_t)b);
}

/* 16 values in -128 .. 127 as bytes */
INLINE s8x16 pack_s8x16(const s32x4 v[4])
{
    const int16x8_t a = vcombine_s16(vmovn_s32((int32x4_t)v[0]), vmovn_s32((int32x4_t)v[1]));
    const int16x8_t b = vcombine_s16(vmovn_s32((int32x4_t)v[2]), vmovn_s32((int32x4_t)v[3]));
    return (s8x16)vcombine_s8(vmovn_s16(a), vmovn_s16(b));
}

INLINE f32x4 fma4(f32x4 a, f32x4 b, f32x4 c)
{
    return (f32x4)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
}

INLINE f32x4 fnma4(f32x4 a, f32x4 b, f32x4 c)
{
    return (f32x4)vfmsq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
}

INLINE f32x4 f16x4_to_f32(uint16x4_t h)
{
    return (f32x4)vcvt_f32_f16(vreinterpret_f16_u16(h));
}

INLINE void f16x8_to_f32(u16x8 h, f32x4 out[2])
{
    out[0] = f16x4_to_f32(vget_low_u16((uint16x8_t)h));
    out[1] = f16x4_to_f32(vget_high_u16((uint16x8_t)h));
}

/* ---- full width is 128 bits too -------------------------------------------------------------- */

INLINE vf vf_fma(vf a, vf b, vf c)
{
    return fma4(a, b, c);
}

INLINE vf vf_fnma(vf a, vf b, vf c)
{
    return fnma4(a, b, c);
}

/* Byte i of the four vectors becomes bytes 4 (i % 4) ... of vector i / 4. */
INLINE void zip4(vb v[4])
{
    const uint16x8_t ab = (uint16x8_t)vzip1q_u8((uint8x16_t)v[0], (uint8x16_t)v[1]);
    const uint16x8_t cd = (uint16x8_t)vzip1q_u8((uint8x16_t)v[2], (uint8x16_t)v[3]);
    const uint16x8_t ab_hi = (uint16x8_t)vzip2q_u8((uint8x16_t)v[0], (uint8x16_t)v[1]);
    const uint16x8_t cd_hi = (uint16x8_t)vzip2q_u8((uint8x16_t)v[2], (uint8x16_t)v[3]);
    v[0] = (vb)vzip1q_u16(ab, cd);
    v[1] = (vb)vzip2q_u16(ab, cd);
    v[2] = (vb)vzip1q_u16(ab_hi, cd_hi);
    v[3] = (vb)vzip2q_u16(ab_hi, cd_hi);
}

INLINE vf vf_max(vf a, vf b) /* NaN passes */
{
    return (vf)vmaxq_f32((float32x4_t)a, (float32x4_t)b);
}

INLINE vf vf_min(vf a, vf b)
{
    return (vf)vminq_f32((float32x4_t)a, (float32x4_t)b);
}

INLINE vi vf_to_vi(vf a) /* to nearest even */
{
    return f32x4_to_s32(a);
}

INLINE vf vi_to_vf(vi a)
{
    return s32x4_to_f32(a);
}

INLINE uint16x4_t load_u16x4(const uint8_t *p)
{
    uint16x4_t v;
    __builtin_memcpy(&v, p, sizeof v);
    return v;
}

INLINE vf load_vf_f16(const uint8_t *p)
{
    return f16x4_to_f32(load_u16x4(p));
}

INLINE vf load_vf_bf16(const uint8_t *p)
{
    return (vf)vshll_n_u16(load_u16x4(p), 16);
}

INLINE void store_vf_f16(uint8_t *p, vf v)
{
    const float16x4_t h = vcvt_f16_f32((float32x4_t)v);
    __builtin_memcpy(p, &h, sizeof h);
}

INLINE f32x4 fold4(const vf v[4])
{
    return (v[0] + v[2]) + (v[1] + v[3]);
}

#endif
