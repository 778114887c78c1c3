/*
 * vec_x86.h: what vec.h leaves to the instruction set, at the level that the file's flags allow:
 * SSE4.1, AVX2 with FMA and F16C, AVX-512, AVX-512 VNNI.
 */
#ifndef KERN_SIMD_VEC_X86_H
#define KERN_SIMD_VEC_X86_H

#include "kern/simd/vec.h"

#include <immintrin.h>

/* ---- the width ------------------------------------------------------------------------------- */

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

/* ---- products of bytes ----------------------------------------------------------------------- */

/* Signed codes of 8 bits are multiplied as w + 128 by VNNI: sums start from n32 or n16. */
#if defined(__AVX512VNNI__)
#define WIDE_IS_OFFSET 1
#else
#define WIDE_IS_OFFSET 0
#endif
#define CODES_SIGNED 0 /* small codes are multiplied as unsigned bytes */

/* Four items in each lane. */
INLINE vmi four_of(const int8_t *x)
{
    int32_t four;
    __builtin_memcpy(&four, x, sizeof four);
    return (vmi)MM(set1_epi32)(four);
}

/* ---- activations to int8 --------------------------------------------------------------------- */

/* {a[0] + a[1], a[2] + a[3], b[0] + b[1], b[2] + b[3]} */
INLINE s32x4 pair_sums(s32x4 a, s32x4 b)
{
    return (s32x4)_mm_hadd_epi32((__m128i)a, (__m128i)b);
}

/* Lane i is the largest of the lanes of v[i]. */
INLINE s32x4 maxes4(const s32x4 v[4])
{
    const __m128i ab = _mm_max_epi32(_mm_unpacklo_epi32((__m128i)v[0], (__m128i)v[1]),
                                     _mm_unpackhi_epi32((__m128i)v[0], (__m128i)v[1]));
    const __m128i cd = _mm_max_epi32(_mm_unpacklo_epi32((__m128i)v[2], (__m128i)v[3]),
                                     _mm_unpackhi_epi32((__m128i)v[2], (__m128i)v[3]));
    return (s32x4)_mm_max_epi32(_mm_unpacklo_epi64(ab, cd), _mm_unpackhi_epi64(ab, cd));
}

INLINE f32x4 s32x4_to_f32(s32x4 v)
{
    return (f32x4)_mm_cvtepi32_ps((__m128i)v);
}

INLINE vi vi_max(vi a, vi b)
{
    return (vi)MM(max_epi32)((vmi)a, (vmi)b);
}

/* All lanes to four; 32 values in -128 .. 127 as bytes. */
#if V_LANES == 16

INLINE __m256i upper(vi v)
{
    return _mm512_extracti64x4_epi64((__m512i)v, 1);
}

INLINE s32x4 fold_max(vi v)
{
    const __m256i m = _mm256_max_epi32(_mm512_castsi512_si256((__m512i)v), upper(v));
    return (s32x4)_mm_max_epi32(_mm256_castsi256_si128(m), _mm256_extracti128_si256(m, 1));
}

INLINE s32x4 fold_sum(vi v)
{
    const __m256i s = _mm256_add_epi32(_mm512_castsi512_si256((__m512i)v), upper(v));
    return (s32x4)_mm_add_epi32(_mm256_castsi256_si128(s), _mm256_extracti128_si256(s, 1));
}

INLINE void store_codes(char *p, const vi v[2])
{
    _mm_storeu_si128((__m128i_u *)(void *)p, _mm512_cvtepi32_epi8((__m512i)v[0]));
    _mm_storeu_si128((__m128i_u *)(void *)(p + 16), _mm512_cvtepi32_epi8((__m512i)v[1]));
}

#elif V_LANES == 8

INLINE s32x4 fold_max(vi v)
{
    return (s32x4)_mm_max_epi32(_mm256_castsi256_si128((__m256i)v),
                                _mm256_extracti128_si256((__m256i)v, 1));
}

INLINE s32x4 fold_sum(vi v)
{
    return (s32x4)_mm_add_epi32(_mm256_castsi256_si128((__m256i)v),
                                _mm256_extracti128_si256((__m256i)v, 1));
}

INLINE void store_codes(char *p, const vi v[4])
{
    const __m256i lo = _mm256_packs_epi32((__m256i)v[0], (__m256i)v[1]);
    const __m256i hi = _mm256_packs_epi32((__m256i)v[2], (__m256i)v[3]);
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7); /* halves are packed apart */
    _mm256_storeu_si256((__m256i_u *)(void *)p,
                        _mm256_permutevar8x32_epi32(_mm256_packs_epi16(lo, hi), order));
}

#else

INLINE void store_codes(char *p, const vi v[8])
{
    for (size_t i = 0; i < 8; i += 4) {
        const __m128i lo = _mm_packs_epi32((__m128i)v[i], (__m128i)v[i + 1]);
        const __m128i hi = _mm_packs_epi32((__m128i)v[i + 2], (__m128i)v[i + 3]);
        _mm_storeu_si128((__m128i_u *)(void *)(p + 4 * i), _mm_packs_epi16(lo, hi));
    }
}

#endif

/* ---- full width: tiles, floats --------------------------------------------------------------- */

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
    return a * b + c;
}

INLINE vf vf_fnma(vf a, vf b, vf c)
{
    return c - a * b;
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

#endif

/* One byte for each row of a tile, as the fastest form of taking them apart: those of the slice
 * that begins with `row`, in 32 bits. */
typedef vi vrows;

INLINE vrows load_rows(const uint8_t *p, size_t row)
{
    p += row;
#if V_LANES == 16
    return (vi)_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i_u *)(const void *)p));
#elif V_LANES == 8
    return (vi)_mm256_cvtepu8_epi32(_mm_loadu_si64(p));
#else
    return (vi)_mm_cvtepu8_epi32(_mm_loadu_si32(p));
#endif
}

INLINE vi rows_to_vi(vrows v, size_t row)
{
    (void)row;
    return v;
}

INLINE vf rows_s8_to_vf(vrows v, size_t row) /* signed bytes */
{
    (void)row;
    return vi_to_vf(v << 24 >> 24);
}

/* Bits of each byte, moved from one place to another; mask says where they end. */
INLINE vb moved(vb v, unsigned from, unsigned to, uint8_t mask)
{
    return (from > to ? (vb)((vu)v >> (from - to)) : (vb)((vu)v << (to - from))) & mask;
}

/* high, whose low nibbles are 0, with the low or the high nibbles of v below */
INLINE vb over_low_nibbles(vb high, vb v)
{
    return high | (v & 15);
}

INLINE vb over_high_nibbles(vb high, vb v)
{
    return high | moved(v, 4, 0, 15);
}

INLINE vb table_vb(u8x16 table, vb index) /* index < 16 */
{
#if V_LANES == 16
    return (vb)_mm512_shuffle_epi8(_mm512_broadcast_i32x4((__m128i)table), (__m512i)index);
#elif V_LANES == 8
    return (vb)_mm256_shuffle_epi8(_mm256_broadcastsi128_si256((__m128i)table), (__m256i)index);
#else
    return (vb)_mm_shuffle_epi8((__m128i)table, (__m128i)index);
#endif
}

#if defined(__F16C__)

INLINE vf load_vf_f16(const uint8_t *p)
{
    return (vf)MM(cvtph_ps)(load_halves(p));
}

INLINE float load_f16(const uint8_t *p)
{
    return _cvtsh_ss(load_u16(p));
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

INLINE vf load_vf_f16(const uint8_t *p)
{
    return f16x4_to_f32((u32x4)_mm_cvtepu16_epi32(load_halves(p)));
}

INLINE float load_f16(const uint8_t *p)
{
    return f16x4_to_f32((u32x4){load_u16(p)})[0];
}

#endif

INLINE vf load_vf_bf16(const uint8_t *p)
{
    return (vf)MM(slli_epi32)(MM(cvtepu16_epi32)(load_halves(p)), 16);
}

INLINE vf load_vf_s8(const uint8_t *p)
{
    __m128i bytes = _mm_setzero_si128();
    __builtin_memcpy(&bytes, p, V_LANES);
    return vi_to_vf((vi)MM(cvtepi8_epi32)(bytes));
}

#endif
