/*
 * vec_arm.h: what vec.h leaves to the instruction set: arm64's NEON. A full vector has 128 bits.
 *
 * Products of bytes are signed x signed.
 */
#ifndef KERN_SIMD_VEC_ARM_H
#define KERN_SIMD_VEC_ARM_H

#include "kern/simd/vec.h"

#include <arm_neon.h>

#define WIDE_IS_OFFSET 0
#define CODES_SIGNED 1
#define V_STORES_F16 1

/* ---- activations to int8 --------------------------------------------------------------------- */

/* {a[0] + a[1], a[2] + a[3], b[0] + b[1], b[2] + b[3]} */
INLINE s32x4 pair_sums(s32x4 a, s32x4 b)
{
    return (s32x4)vpaddq_s32((int32x4_t)a, (int32x4_t)b);
}

/* Lane i is the largest of the lanes of v[i]. */
INLINE s32x4 maxes4(const s32x4 v[4])
{
    return (s32x4)vpmaxq_s32(vpmaxq_s32((int32x4_t)v[0], (int32x4_t)v[1]),
                             vpmaxq_s32((int32x4_t)v[2], (int32x4_t)v[3]));
}

INLINE f32x4 s32x4_to_f32(s32x4 v)
{
    return (f32x4)vcvtq_f32_s32((int32x4_t)v);
}

INLINE vi vi_max(vi a, vi b)
{
    return (vi)vmaxq_s32((int32x4_t)a, (int32x4_t)b);
}

/* 32 values in -128 .. 127 as bytes */
INLINE void store_codes(char *p, const vi v[8])
{
    for (size_t i = 0; i < 8; i += 4) {
        const int16x8_t lo =
            vcombine_s16(vmovn_s32((int32x4_t)v[i]), vmovn_s32((int32x4_t)v[i + 1]));
        const int16x8_t hi =
            vcombine_s16(vmovn_s32((int32x4_t)v[i + 2]), vmovn_s32((int32x4_t)v[i + 3]));
        const int8x16_t codes = vcombine_s8(vmovn_s16(lo), vmovn_s16(hi));
        __builtin_memcpy(p + 4 * i, &codes, sizeof codes);
    }
}

/* ---- full width is 128 bits too -------------------------------------------------------------- */

INLINE vf vf_fma(vf a, vf b, vf c)
{
    return (vf)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
}

INLINE vf vf_fnma(vf a, vf b, vf c)
{
    return (vf)vfmsq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
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
    return (vi)vcvtnq_s32_f32((float32x4_t)a);
}

INLINE vf vi_to_vf(vi a)
{
    return (vf)vcvtq_f32_s32((int32x4_t)a);
}

/* One byte for each row of a tile, as the fastest form of taking them apart: all 16. */
typedef u8x16 vrows;

INLINE vrows load_rows(const uint8_t *p, size_t row)
{
    (void)row;
    return load_u8x16(p);
}

/* Those of the slice that begins with `row`: one look-up widens and chooses. */
INLINE vi rows_to_vi(vrows v, size_t row)
{
    const vu index = (vu){0xffffff00, 0xffffff01, 0xffffff02, 0xffffff03} + (uint32_t)row;
    return (vi)vqtbl1q_u8((uint8x16_t)v, (uint8x16_t)index);
}

INLINE vf rows_s8_to_vf(vrows v, size_t row) /* signed bytes */
{
    const vu index = (vu){0x00ffffff, 0x01ffffff, 0x02ffffff, 0x03ffffff} + ((uint32_t)row << 24);
    return (vf)vcvtq_n_f32_s32((int32x4_t)vqtbl1q_u8((uint8x16_t)v, (uint8x16_t)index), 24);
}

/* Bits of each byte, moved from one place to another; mask says where they end. Nothing comes in
 * from the next byte, so bits from the top or to the top need no mask. */
INLINE vb moved(vb v, unsigned from, unsigned to, uint8_t mask)
{
    const unsigned all = from > to ? 0xffu >> (from - to) : 0xffu << (to - from);
    const vb shifted = from > to ? v >> (from - to) : v << (to - from);
    return (uint8_t)all == mask ? shifted : shifted & mask;
}

/* high, whose low nibbles are 0, with the low or the high nibbles of v below */
INLINE vb over_low_nibbles(vb high, vb v)
{
    const uint8x16_t mask = vdupq_n_u8(15);
    return (vb)vbslq_u8(mask, (uint8x16_t)v, (uint8x16_t)high);
}

INLINE vb over_high_nibbles(vb high, vb v)
{
    return (vb)vsriq_n_u8((uint8x16_t)high, (uint8x16_t)v, 4);
}

INLINE vb table_vb(u8x16 table, vb index) /* index < 16 */
{
    return (vb)vqtbl1q_u8((uint8x16_t)table, (uint8x16_t)index);
}

INLINE uint16x4_t load_u16x4(const uint8_t *p)
{
    uint16x4_t v;
    __builtin_memcpy(&v, p, sizeof v);
    return v;
}

INLINE vf load_vf_f16(const uint8_t *p)
{
    return (vf)vcvt_f32_f16(vreinterpret_f16_u16(load_u16x4(p)));
}

INLINE float load_f16(const uint8_t *p)
{
    return vcvt_f32_f16(vreinterpret_f16_u16(vdup_n_u16(load_u16(p))))[0];
}

INLINE vf load_vf_bf16(const uint8_t *p)
{
    return (vf)vshll_n_u16(load_u16x4(p), 16);
}

INLINE vf load_vf_s8(const uint8_t *p)
{
    const int16x8_t v = vmovl_s8(vcreate_s8(load_u32(p)));
    return (vf)vcvtq_f32_s32(vmovl_s16(vget_low_s16(v)));
}

INLINE void store_vf_f16(uint8_t *p, vf v)
{
    const float16x4_t h = vcvt_f16_f32((float32x4_t)v);
    __builtin_memcpy(p, &h, sizeof h);
}

#endif
