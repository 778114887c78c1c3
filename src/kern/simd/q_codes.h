/*
 * q_codes.h: the quantised types taken apart by vectors, for every instruction set.
 *
 * A type is a row of constants and two functions on a chunk of 256 items (8 small blocks or one K
 * block):
 *     codes_x(chunk, g)            the 32 codes of items 32 g ...: unsigned, of at most 63, from
 *                                  which ZERO_x is to be taken; or signed (WIDE), of 8 bits
 *     scales_x(chunk, scale, min)  one float per group, in order; min only where the type has it
 * g is a constant after unrolling. A new type is these two, its ZERO_, and its row in
 * KERN_QUANT_TYPES. Layouts: quant/block.h.
 */
#ifndef KERN_SIMD_Q_CODES_H
#define KERN_SIMD_Q_CODES_H

#include "kern/kern_impl.h"
#include "quant/block.h"

enum { WIDE = 128 };

struct codes {
    u8x16 lo, hi; /* items 0..15, 16..31 */
};

/* Bits of each byte, moved to the bottom. */
INLINE u8x16 field(u8x16 v, unsigned shift, uint8_t mask)
{
    return (u8x16)((u16x8)v >> (uint16_t)shift) & mask;
}

/* Nibbles of 16 bytes: the low ones first. */
INLINE struct codes nibbles(const uint8_t *p)
{
    const u8x16 v = load_u8x16(p);
    return (struct codes){v & 15, field(v, 4, 15)};
}

/* The f16 at p, p + stride, ...: one per small block. */
INLINE void f16_of_blocks(const uint8_t *p, size_t stride, f32x4 out[2])
{
    const u16x8 h = {load_u16(p),
                     load_u16(p + stride),
                     load_u16(p + 2 * stride),
                     load_u16(p + 3 * stride),
                     load_u16(p + 4 * stride),
                     load_u16(p + 5 * stride),
                     load_u16(p + 6 * stride),
                     load_u16(p + 7 * stride)};
    f16x8_to_f32(h, out);
}

INLINE f32x4 f16_to_all(const uint8_t *p)
{
    f32x4 out[2];
    const uint16_t h = load_u16(p);
    f16x8_to_f32((u16x8){h, h, h, h, h, h, h, h}, out);
    return out[0];
}

/* ---- small blocks ---------------------------------------------------------------------------- */

INLINE struct codes codes_q4_0(const uint8_t *chunk, size_t g)
{
    return nibbles(chunk + g * Q4_0_BYTES + 2);
}

INLINE void scales_q4_0(const uint8_t *chunk, f32x4 *scale, f32x4 *min)
{
    (void)min;
    f16_of_blocks(chunk, Q4_0_BYTES, scale);
}

INLINE struct codes codes_q4_1(const uint8_t *chunk, size_t g)
{
    return nibbles(chunk + g * Q4_1_BYTES + 4);
}

INLINE void scales_q4_1(const uint8_t *chunk, f32x4 *scale, f32x4 *min)
{
    f16_of_blocks(chunk, Q4_1_BYTES, scale);
    f16_of_blocks(chunk + 2, Q4_1_BYTES, min);
    min[0] = -min[0];
    min[1] = -min[1];
}

/* Bit i of the 32 at p to bit 4 of byte i. */
INLINE struct codes fifth_bits(const uint8_t *p)
{
    const u8x16 bit = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
    const u8x16 of_lo = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1};
    const uint32_t word = load_u32(p);
    const u8x16 all = (u8x16)(u32x4){word, word, word, word};
    const u8x16 lo = table_u8x16(all, of_lo) & bit;
    const u8x16 hi = table_u8x16(all, of_lo + 2) & bit;
    return (struct codes){(u8x16)(lo == bit) & 16, (u8x16)(hi == bit) & 16};
}

INLINE struct codes codes_q5(const uint8_t *high, const uint8_t *low)
{
    const struct codes c = nibbles(low);
    const struct codes top = fifth_bits(high);
    return (struct codes){c.lo | top.lo, c.hi | top.hi};
}

INLINE struct codes codes_q5_0(const uint8_t *chunk, size_t g)
{
    return codes_q5(chunk + g * Q5_0_BYTES + 2, chunk + g * Q5_0_BYTES + 6);
}

INLINE void scales_q5_0(const uint8_t *chunk, f32x4 *scale, f32x4 *min)
{
    (void)min;
    f16_of_blocks(chunk, Q5_0_BYTES, scale);
}

INLINE struct codes codes_q5_1(const uint8_t *chunk, size_t g)
{
    return codes_q5(chunk + g * Q5_1_BYTES + 4, chunk + g * Q5_1_BYTES + 8);
}

INLINE void scales_q5_1(const uint8_t *chunk, f32x4 *scale, f32x4 *min)
{
    f16_of_blocks(chunk, Q5_1_BYTES, scale);
    f16_of_blocks(chunk + 2, Q5_1_BYTES, min);
    min[0] = -min[0];
    min[1] = -min[1];
}

INLINE struct codes codes_q8_0(const uint8_t *chunk, size_t g)
{
    const uint8_t *q = chunk + g * Q8_0_BYTES + 2;
    return (struct codes){load_u8x16(q), load_u8x16(q + 16)};
}

INLINE void scales_q8_0(const uint8_t *chunk, f32x4 *scale, f32x4 *min)
{
    (void)min;
    f16_of_blocks(chunk, Q8_0_BYTES, scale);
}

INLINE struct codes codes_iq4(const uint8_t *p)
{
    const s8x16 values = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
    const struct codes c = nibbles(p);
    return (struct codes){table_u8x16((u8x16)values, c.lo), table_u8x16((u8x16)values, c.hi)};
}

INLINE struct codes codes_iq4_nl(const uint8_t *chunk, size_t g)
{
    return codes_iq4(chunk + g * IQ4_NL_BYTES + 2);
}

INLINE void scales_iq4_nl(const uint8_t *chunk, f32x4 *scale, f32x4 *min)
{
    (void)min;
    f16_of_blocks(chunk, IQ4_NL_BYTES, scale);
}

INLINE struct codes codes_mxfp4(const uint8_t *chunk, size_t g)
{
    const u8x16 values = {16, 17, 18, 19, 20, 22, 24, 28, 16, 15, 14, 13, 12, 10, 8, 4};
    const struct codes c = nibbles(chunk + g * MXFP4_BYTES + 1);
    return (struct codes){table_u8x16(values, c.lo), table_u8x16(values, c.hi)};
}

/* 2^(e - 128), where 0 and 1 are subnormal */
INLINE f32x4 mxfp4_scale(u32x4 e)
{
    const u32x4 subnormal = (u32x4)((s32x4)e < 2);
    return (f32x4)((subnormal & ((e + 1) << 21)) | (~subnormal & ((e - 1) << 23)));
}

INLINE void scales_mxfp4(const uint8_t *chunk, f32x4 *scale, f32x4 *min)
{
    (void)min;
    const size_t b = MXFP4_BYTES;
    scale[0] = mxfp4_scale((u32x4){chunk[0], chunk[b], chunk[2 * b], chunk[3 * b]});
    scale[1] = mxfp4_scale((u32x4){chunk[4 * b], chunk[5 * b], chunk[6 * b], chunk[7 * b]});
}

/* ---- blocks of 256 --------------------------------------------------------------------------- */

/* Two bits of items 32 g ...: byte l of 32 holds items l, l + 32, l + 64, l + 96 of a half. */
INLINE struct codes two_bits(const uint8_t *qs, size_t g)
{
    const uint8_t *p = qs + g / 4 * 32;
    const unsigned shift = (unsigned)(g % 4 * 2);
    return (struct codes){field(load_u8x16(p), shift, 3), field(load_u8x16(p + 16), shift, 3)};
}

/* Bit g of 32 bytes as the given value. */
INLINE struct codes one_bit(const uint8_t *p, size_t g, uint8_t value)
{
    const uint8_t bit = (uint8_t)(1u << g);
    const u8x16 lo = (u8x16)((load_u8x16(p) & bit) == bit);
    const u8x16 hi = (u8x16)((load_u8x16(p + 16) & bit) == bit);
    return (struct codes){lo & value, hi & value};
}

INLINE struct codes codes_q2_k(const uint8_t *chunk, size_t g)
{
    return two_bits(chunk + 16, g);
}

/* 16 unsigned bytes as floats, each times d */
INLINE void scaled_u8x16(u8x16 v, f32x4 d, f32x4 *out)
{
    const u32x4 words = (u32x4)v;
    for (int i = 0; i < 4; i++) out[i] = d * u8x4_to_f32(words[i]);
}

INLINE void scaled_s8x16(u8x16 v, f32x4 d, f32x4 *out)
{
    const u32x4 words = (u32x4)v;
    for (int i = 0; i < 4; i++) out[i] = d * s8x4_to_f32(words[i]);
}

INLINE void scales_q2_k(const uint8_t *chunk, f32x4 *scale, f32x4 *min)
{
    const u8x16 both = load_u8x16(chunk);
    scaled_u8x16(both & 15, f16_to_all(chunk + 80), scale);
    scaled_u8x16(field(both, 4, 15), f16_to_all(chunk + 82), min);
}

INLINE struct codes codes_q3_k(const uint8_t *chunk, size_t g)
{
    const struct codes c = two_bits(chunk + 32, g);
    const struct codes top = one_bit(chunk, g, 4);
    return (struct codes){c.lo | top.lo, c.hi | top.hi};
}

INLINE void scales_q3_k(const uint8_t *chunk, f32x4 *scale, f32x4 *min)
{
    (void)min;
    const uint8_t *packed = chunk + 96;
    const uint32_t a = load_u32(packed);
    const uint32_t b = load_u32(packed + 4);
    const uint32_t top =
        load_u32(packed + 8); /* byte j: the high bits of scales j, j + 4, j + 8, j + 12 */
    const uint32_t low4 = 0x0f0f0f0f;
    const uint32_t high2 = 0x30303030;
    const u32x4 six = {(a & low4) | (top << 4 & high2), (b & low4) | (top << 2 & high2),
                       (a >> 4 & low4) | (top & high2), (b >> 4 & low4) | (top >> 2 & high2)};
    scaled_s8x16((u8x16)six - 32, f16_to_all(chunk + 108), scale);
}

INLINE struct codes codes_q4_k(const uint8_t *chunk, size_t g)
{
    const uint8_t *p = chunk + 16 + g / 2 * 32;
    const unsigned shift = (unsigned)(g % 2 * 4);
    return (struct codes){field(load_u8x16(p), shift, 15), field(load_u8x16(p + 16), shift, 15)};
}

/* 8 scales and 8 minimums of 6 bits: bytes 0..3 and 4..7 hold the first four of each; bytes
 * 8..11 the low nibbles of the others, whose high bits are on top of bytes 0..7. */
INLINE void scales_q4_k(const uint8_t *chunk, f32x4 *scale, f32x4 *min)
{
    const uint32_t a = load_u32(chunk + 4);
    const uint32_t b = load_u32(chunk + 8);
    const uint32_t c = load_u32(chunk + 12);
    const f32x4 d = f16_to_all(chunk);
    const f32x4 dmin = f16_to_all(chunk + 2);
    scale[0] = d * u8x4_to_f32(a & 0x3f3f3f3f);
    scale[1] = d * u8x4_to_f32((c & 0x0f0f0f0f) | (a >> 2 & 0x30303030));
    min[0] = dmin * u8x4_to_f32(b & 0x3f3f3f3f);
    min[1] = dmin * u8x4_to_f32((c >> 4 & 0x0f0f0f0f) | (b >> 2 & 0x30303030));
}

INLINE struct codes codes_q5_k(const uint8_t *chunk, size_t g)
{
    const struct codes c = codes_q4_k(chunk + 32, g);
    const struct codes top = one_bit(chunk + 16, g, 16);
    return (struct codes){c.lo | top.lo, c.hi | top.hi};
}

INLINE void scales_q5_k(const uint8_t *chunk, f32x4 *scale, f32x4 *min)
{
    scales_q4_k(chunk, scale, min);
}

/* Two bits of each byte to bits 4 and 5; group g % 4 of a half. */
INLINE u8x16 two_bits_up(u8x16 v, size_t g)
{
    const u16x8 w = (u16x8)v;
    const u16x8 moved = g % 4 == 0 ? w << 4 : g % 4 == 1 ? w << 2 : g % 4 == 2 ? w : w >> 2;
    return (u8x16)moved & 0x30;
}

INLINE struct codes codes_q6_k(const uint8_t *chunk, size_t g)
{
    const uint8_t *low = chunk + g / 4 * 64 + g % 2 * 32;
    const uint8_t *high = chunk + 128 + g / 4 * 32;
    const unsigned shift = (unsigned)(g % 4 / 2 * 4);
    return (struct codes){field(load_u8x16(low), shift, 15) | two_bits_up(load_u8x16(high), g),
                          field(load_u8x16(low + 16), shift, 15) |
                              two_bits_up(load_u8x16(high + 16), g)};
}

INLINE void scales_q6_k(const uint8_t *chunk, f32x4 *scale, f32x4 *min)
{
    (void)min;
    scaled_s8x16(load_u8x16(chunk + 192), f16_to_all(chunk + 208), scale);
}

INLINE struct codes codes_iq4_xs(const uint8_t *chunk, size_t g)
{
    return codes_iq4(chunk + 8 + g * 16);
}

INLINE void scales_iq4_xs(const uint8_t *chunk, f32x4 *scale, f32x4 *min)
{
    (void)min;
    const uint32_t low = load_u32(chunk + 4);  /* nibble g: low bits of scale g */
    const uint32_t high = load_u16(chunk + 2); /* pair g: its high bits */
    uint64_t six = 0;
    for (unsigned g = 0; g < 8; g++) {
        six |= (uint64_t)((low >> 4 * g & 15) | (high >> 2 * g & 3) << 4) << 8 * g;
    }
    const f32x4 d = f16_to_all(chunk);
    scale[0] = d * (u8x4_to_f32((uint32_t)six) - 32.0f);
    scale[1] = d * (u8x4_to_f32((uint32_t)(six >> 32)) - 32.0f);
}

/* ---- the types as constants ------------------------------------------------------------------ */

struct qtype {
    struct codes (*codes)(const uint8_t *chunk, size_t g);
    void (*scales)(const uint8_t *chunk, f32x4 *scale, f32x4 *min);
    size_t block_items, block_bytes;
    size_t group; /* 16 or 32 */
    int has_min;
    int zero;
};

enum { /* what the codes of a type are too large by: a power of two, 0, or WIDE */
       ZERO_q4_0 = 8,
       ZERO_q4_1 = 0,
       ZERO_q5_0 = 16,
       ZERO_q5_1 = 0,
       ZERO_q8_0 = WIDE,
       ZERO_iq4_nl = WIDE,
       ZERO_mxfp4 = 16,
       ZERO_q2_k = 0,
       ZERO_q3_k = 4,
       ZERO_q4_k = 0,
       ZERO_q5_k = 0,
       ZERO_q6_k = 32,
       ZERO_iq4_xs = WIDE,
};

#define QTYPE(NAME, name, block, group, has_min)                                                   \
    static const struct qtype qt_##name = {codes_##name, scales_##name, block,      NAME##_BYTES,  \
                                           group,        has_min,       ZERO_##name};
KERN_QUANT_TYPES(QTYPE)

/* ---- taking the zero out --------------------------------------------------------------------- */

/* Sums of codes are too large by zero times the sum of the activations; n is -128 times that
 * sum. Signed codes are exact, unless the level multiplies them as w + 128. */
INLINE int has_zero(int zero)
{
    return zero && (zero != WIDE || WIDE_IS_OFFSET);
}

INLINE int zero_shift(int zero)
{
    return has_zero(zero) ? 7 - __builtin_ctz((unsigned)zero) : 0;
}

/* What the sums of a tile's columns start from. */
INLINE void t_start(const int32_t *n, size_t stride, int n_col, int zero, vi *sum)
{
    UNROLL(16)
    for (int c = 0; c < n_col; c++) {
        sum[c] = (vi){0};
        if (has_zero(zero)) sum[c] += n[(size_t)c * stride / sizeof *n] >> zero_shift(zero);
    }
}

#endif
