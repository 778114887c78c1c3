/*
 * vec_x86.h: what vec.h leaves to the instruction set, at the level that the file's flags allow:
 * SSE4.1, AVX2 with FMA and F16C, AVX-512, AVX-512 VNNI.
 *
 * Without VNNI a product of bytes is maddubs, u8 x s8 with a saturating sum of two: exact for codes
 * of up to 63 (2 * 63 * 127 < 2^15, and the sum of two such sums too); for signed codes |w| *
 * sign(x, w) is used, at most 2 * 128 * 127 < 2^15.
 */
#ifndef KERN_SIMD_VEC_X86_H
#define KERN_SIMD_VEC_X86_H

#include "kern/simd/vec.h"

#include <immintrin.h>

/* ---- 128 bits: decoding and the one-column product ------------------------------------------- */

INLINE u8x16 table_u8x16(u8x16 table, u8x16 index) /* index < 16 */
{
    return (u8x16)_mm_shuffle_epi8((__m128i)table, (__m128i)index);
}

/* Signed codes (wide) are multiplied as w + 128 by VNNI: the caller adds n32 or n16. */
#if defined(__AVX512VNNI__)
#define WIDE_IS_OFFSET 1

INLINE s32x4 dot16(u8x16 w, s8x16 x, int wide)
{
    if (wide) w ^= 0x80;
    return (s32x4)_mm_dpbusd_epi32(_mm_setzero_si128(), (__m128i)w, (__m128i)x);
}

INLINE s32x4 dot32(u8x16 w0, u8x16 w1, s8x16 x0, s8x16 x1, int wide)
{
    if (wide) w1 ^= 0x80;
    return (s32x4)_mm_dpbusd_epi32((__m128i)dot16(w0, x0, wide), (__m128i)w1, (__m128i)x1);
}

#else
#define WIDE_IS_OFFSET 0

INLINE __m128i pairs16(u8x16 w, s8x16 x, int wide)
{
    if (!wide) return _mm_maddubs_epi16((__m128i)w, (__m128i)x);
    return _mm_maddubs_epi16(_mm_abs_epi8((__m128i)w), _mm_sign_epi8((__m128i)x, (__m128i)w));
}

INLINE s32x4 dot16(u8x16 w, s8x16 x, int wide)
{
    return (s32x4)_mm_madd_epi16(pairs16(w, x, wide), _mm_set1_epi16(1));
}

INLINE s32x4 dot32(u8x16 w0, u8x16 w1, s8x16 x0, s8x16 x1, int wide)
{
    if (wide) return dot16(w0, x0, 1) + dot16(w1, x1, 1);
    const __m128i pairs = _mm_add_epi16(pairs16(w0, x0, 0), pairs16(w1, x1, 0));
    return (s32x4)_mm_madd_epi16(pairs, _mm_set1_epi16(1));
}

#endif

/* Four rows of four 32-bit items become four columns. */
INLINE void transpose4(s32x4 r[4])
{
    const __m128i a = _mm_unpacklo_epi32((__m128i)r[0], (__m128i)r[1]);
    const __m128i b = _mm_unpacklo_epi32((__m128i)r[2], (__m128i)r[3]);
    const __m128i c = _mm_unpackhi_epi32((__m128i)r[0], (__m128i)r[1]);
    const __m128i d = _mm_unpackhi_epi32((__m128i)r[2], (__m128i)r[3]);
    r[0] = (s32x4)_mm_unpacklo_epi64(a, b);
    r[1] = (s32x4)_mm_unpackhi_epi64(a, b);
    r[2] = (s32x4)_mm_unpacklo_epi64(c, d);
    r[3] = (s32x4)_mm_unpackhi_epi64(c, d);
}

/* Lane i is the sum of the lanes of v[i]. */
INLINE s32x4 sums4(const s32x4 v[4])
{
    return (s32x4)_mm_hadd_epi32(_mm_hadd_epi32((__m128i)v[0], (__m128i)v[1]),
                                 _mm_hadd_epi32((__m128i)v[2], (__m128i)v[3]));
}

/* (a0 a0 a1 a1) and (a2 a2 a3 a3) */
INLINE void twice4(f32x4 a, f32x4 out[2])
{
    out[0] = (f32x4)_mm_unpacklo_ps((__m128)a, (__m128)a);
    out[1] = (f32x4)_mm_unpackhi_ps((__m128)a, (__m128)a);
}

INLINE f32x4 u8x4_to_f32(uint32_t v)
{
    return (f32x4)_mm_cvtepi32_ps(_mm_cvtepu8_epi32(_mm_cvtsi32_si128((int)v)));
}

INLINE f32x4 s8x4_to_f32(uint32_t v)
{
    return (f32x4)_mm_cvtepi32_ps(_mm_cvtepi8_epi32(_mm_cvtsi32_si128((int)v)));
}

INLINE f32x4 s32x4_to_f32(s32x4 v)
{
    return (f32x4)_mm_cvtepi32_ps((__m128i)v);
}

/* Round to nearest even; |v| < 2^31. */
INLINE s32x4 f32x4_to_s32(f32x4 v)
{
    return (s32x4)_mm_cvtps_epi32((__m128)v);
}

INLINE s32x4 max_s32x4(s32x4 a, s32x4 b)
{
    return (s32x4)_mm_max_epi32((__m128i)a, (__m128i)b);
}

/* 16 values in -128 .. 127 as bytes */
INLINE s8x16 pack_s8x16(const s32x4 v[4])
{
    return (s8x16)_mm_packs_epi16(_mm_packs_epi32((__m128i)v[0], (__m128i)v[1]),
                                  _mm_packs_epi32((__m128i)v[2], (__m128i)v[3]));
}

#if defined(__FMA__)

INLINE f32x4 fma4(f32x4 a, f32x4 b, f32x4 c)
{
    return (f32x4)_mm_fmadd_ps((__m128)a, (__m128)b, (__m128)c);
}

INLINE f32x4 fnma4(f32x4 a, f32x4 b, f32x4 c)
{
    return (f32x4)_mm_fnmadd_ps((__m128)a, (__m128)b, (__m128)c);
}

#else

INLINE f32x4 fma4(f32x4 a, f32x4 b, f32x4 c)
{
    return a * b + c;
}

INLINE f32x4 fnma4(f32x4 a, f32x4 b, f32x4 c)
{
    return c - a * b;
}

#endif

#if defined(__F16C__)

INLINE void f16x8_to_f32(u16x8 h, f32x4 out[2])
{
    const __m256 f = _mm256_cvtph_ps((__m128i)h);
    out[0] = (f32x4)_mm256_castps256_ps128(f);
    out[1] = (f32x4)_mm256_extractf128_ps(f, 1);
}

#else

/* Exponent and fraction are moved into place and the bias mended by a product, exact for
 * subnormals too; infinity and NaN get their exponent back. */
INLINE f32x4 f16x4_to_f32(u32x4 h)
{
    const u32x4 abs = (h & 0x7fff) << 13;
    const u32x4 special = (u32x4)((s32x4)abs > 0x0f7fffff) & 0x7f800000;
    return (f32x4)((u32x4)((f32x4)abs * 0x1p112f) | special | (h & 0x8000) << 16);
}

INLINE void f16x8_to_f32(u16x8 h, f32x4 out[2])
{
    const __m128i zero = _mm_setzero_si128();
    out[0] = f16x4_to_f32((u32x4)_mm_unpacklo_epi16((__m128i)h, zero));
    out[1] = f16x4_to_f32((u32x4)_mm_unpackhi_epi16((__m128i)h, zero));
}

#endif

/* ---- full width: tiles, floats --------------------------------------------------------------- */

/* MM(op) is the intrinsic of the level's width; vm, vmi are its types. */
#if V_LANES == 16
#define MM(op) _mm512_##op
typedef __m512 vm;
typedef __m512i vmi;
#elif V_LANES == 8
#define MM(op) _mm256_##op
typedef __m256 vm;
typedef __m256i vmi;
#else
#define MM(op) _mm_##op
typedef __m128 vm;
typedef __m128i vmi;
#endif

#if defined(__FMA__)

INLINE vf vf_fma(vf a, vf b, vf c)
{
    return (vf)MM(fmadd_ps)((vm)a, (vm)b, (vm)c);
}

INLINE vf vf_fnma(vf a, vf b, vf c)
{
    return (vf)MM(fnmadd_ps)((vm)a, (vm)b, (vm)c);
}

#else

INLINE vf vf_fma(vf a, vf b, vf c)
{
    return fma4(a, b, c);
}

INLINE vf vf_fnma(vf a, vf b, vf c)
{
    return fnma4(a, b, c);
}

#endif

/* Within each 16 bytes: byte i of the four vectors becomes bytes 4 (i % 4) ... of vector i / 4. */
INLINE void zip4(vb v[4])
{
    const vmi ab = MM(unpacklo_epi8)((vmi)v[0], (vmi)v[1]);
    const vmi cd = MM(unpacklo_epi8)((vmi)v[2], (vmi)v[3]);
    const vmi ab_hi = MM(unpackhi_epi8)((vmi)v[0], (vmi)v[1]);
    const vmi cd_hi = MM(unpackhi_epi8)((vmi)v[2], (vmi)v[3]);
    v[0] = (vb)MM(unpacklo_epi16)(ab, cd);
    v[1] = (vb)MM(unpackhi_epi16)(ab, cd);
    v[2] = (vb)MM(unpacklo_epi16)(ab_hi, cd_hi);
    v[3] = (vb)MM(unpackhi_epi16)(ab_hi, cd_hi);
}

INLINE vf vf_max(vf a, vf b) /* NaN in b passes */
{
    return (vf)MM(max_ps)((vm)a, (vm)b);
}

INLINE vf vf_min(vf a, vf b)
{
    return (vf)MM(min_ps)((vm)a, (vm)b);
}

INLINE vi vf_to_vi(vf a) /* to nearest even */
{
    return (vi)MM(cvtps_epi32)((vm)a);
}

INLINE vf vi_to_vf(vi a)
{
    return (vf)MM(cvtepi32_ps)((vmi)a);
}

#if V_LANES == 16
#define V_STORES_F16 1

INLINE __m256i load_halves(const uint8_t *p)
{
    return _mm256_loadu_si256((const __m256i_u *)(const void *)p);
}

INLINE void store_vf_f16(uint8_t *p, vf v)
{
    const __m256i h = _mm512_cvtps_ph((__m512)v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    _mm256_storeu_si256((__m256i_u *)(void *)p, h);
}

/* 16 lanes to 4: lanes i, i + 4, i + 8, i + 12, halves first */
INLINE f32x4 fold4(const vf v[1])
{
    const __m256 hi = _mm512_extractf32x8_ps((__m512)v[0], 1);
    const __m256 s = _mm256_add_ps(_mm512_castps512_ps256((__m512)v[0]), hi);
    return (f32x4)_mm_add_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps(s, 1));
}

#elif V_LANES == 8
#define V_STORES_F16 1

INLINE __m128i load_halves(const uint8_t *p)
{
    return _mm_loadu_si128((const __m128i_u *)(const void *)p);
}

INLINE void store_vf_f16(uint8_t *p, vf v)
{
    const __m128i h = _mm256_cvtps_ph((__m256)v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    _mm_storeu_si128((__m128i_u *)(void *)p, h);
}

INLINE f32x4 fold4(const vf v[2])
{
    const __m256 s = (__m256)(v[0] + v[1]);
    return (f32x4)_mm_add_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps(s, 1));
}

#else
#define V_STORES_F16 0

INLINE __m128i load_halves(const uint8_t *p)
{
    return _mm_loadu_si64(p);
}

INLINE f32x4 fold4(const vf v[4])
{
    return (v[0] + v[2]) + (v[1] + v[3]);
}

#endif

INLINE vf load_vf_f16(const uint8_t *p)
{
#if defined(__F16C__)
    return (vf)MM(cvtph_ps)(load_halves(p));
#else
    return f16x4_to_f32((u32x4)_mm_cvtepu16_epi32(load_halves(p)));
#endif
}

INLINE vf load_vf_bf16(const uint8_t *p)
{
    return (vf)MM(slli_epi32)(MM(cvtepu16_epi32)(load_halves(p)), 16);
}

#endif
