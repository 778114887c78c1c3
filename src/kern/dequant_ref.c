/*
 * dequant_ref.c: the block types of GGUF decoded, one short function each: the truth that every
 * kernel is tested against.
 *
 * A block becomes codes, and a scale and a minimum per group: item = scale * code - minimum. With
 * the scale formed as below and no contraction to fma this is bit for bit what ggml's to_float
 * gives; the test holds it against recorded vectors. Layouts: quant/block.h.
 */
#include "kern/kern_impl.h"

#include "kern/ref_at.h"
#include "quant/block.h"

#include <assert.h>
#include <string.h>

static const int8_t iq4_values[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                      1,    13,   25,  38,  53,  69,  89,  113};
/* twice the values of OCP's E2M1 format, which has halves; the scale is halved for it */
static const int8_t mxfp4_values[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

static uint32_t float_bits(float f)
{
    uint32_t u = 0;
    memcpy(&u, &f, sizeof u);
    return u;
}

static float bits_float(uint32_t u)
{
    float f = 0.0f;
    memcpy(&f, &u, sizeof f);
    return f;
}

float ref_f16_to_f32(uint16_t h)
{
    const uint32_t sign = (uint32_t)(h & 0x8000) << 16;
    const uint32_t exp = h >> 10 & 0x1f;
    const uint32_t man = h & 0x3ff;
    if (exp == 0) return bits_float(sign | float_bits((float)man * 0x1p-24f));
    if (exp == 31) return bits_float(sign | 0x7f800000 | man << 13 | (man ? 0x400000u : 0u));
    return bits_float(sign | (exp + 112) << 23 | man << 13);
}

float ref_bf16_to_f32(uint16_t h)
{
    return bits_float((uint32_t)h << 16);
}

uint16_t ref_f32_to_f16(float f)
{
    const uint32_t bits = float_bits(f);
    const uint32_t sign = bits >> 16 & 0x8000;
    const uint32_t abs = bits & 0x7fffffff;
    if (abs > 0x7f800000) return (uint16_t)(sign | 0x7e00 | (abs >> 13 & 0x1ff));
    if (abs >= 0x477ff000)
        return (uint16_t)(sign | 0x7c00); /* 65520 and above rounds to infinity */
    if (abs < 0x38800000) { /* subnormal: let the float adder round, its last bit is 2^-24 at 0.5 */
        return (uint16_t)(sign | (float_bits(bits_float(abs) + 0.5f) - float_bits(0.5f)));
    }
    const uint32_t odd = abs >> 13 & 1;
    return (uint16_t)(sign | (((abs + 0xfff + odd) >> 13) - (112u << 10)));
}

/* ---- blocks of 32 ---------------------------------------------------------------------------- */

/* Item i of 32 stored as nibbles: the low ones first. */
static int nibble(const uint8_t *qs, size_t i)
{
    return i < 16 ? qs[i] & 15 : qs[i - 16] >> 4;
}

/* Item i of 32 with four bits in a nibble and the fifth in a 32-bit word. */
static int five_bits(const uint8_t *high, const uint8_t *qs, size_t i)
{
    return nibble(qs, i) | (high[i / 8] >> i % 8 & 1) << 4;
}

static void decode_q4_0(const uint8_t *src, struct ref_block *b)
{
    for (size_t i = 0; i < 32; i++) b->q[i] = (int8_t)(nibble(src + 2, i) - 8);
    b->scale[0] = f16_at(src);
    b->min[0] = 0.0f;
}

static void decode_q4_1(const uint8_t *src, struct ref_block *b)
{
    for (size_t i = 0; i < 32; i++) b->q[i] = (int8_t)nibble(src + 4, i);
    b->scale[0] = f16_at(src);
    b->min[0] = -f16_at(src + 2);
}

static void decode_q5_0(const uint8_t *src, struct ref_block *b)
{
    for (size_t i = 0; i < 32; i++) b->q[i] = (int8_t)(five_bits(src + 2, src + 6, i) - 16);
    b->scale[0] = f16_at(src);
    b->min[0] = 0.0f;
}

static void decode_q5_1(const uint8_t *src, struct ref_block *b)
{
    for (size_t i = 0; i < 32; i++) b->q[i] = (int8_t)five_bits(src + 4, src + 8, i);
    b->scale[0] = f16_at(src);
    b->min[0] = -f16_at(src + 2);
}

static void decode_q8_0(const uint8_t *src, struct ref_block *b)
{
    memcpy(b->q, src + 2, 32);
    b->scale[0] = f16_at(src);
    b->min[0] = 0.0f;
}

static void decode_iq4_nl(const uint8_t *src, struct ref_block *b)
{
    for (size_t i = 0; i < 32; i++) b->q[i] = iq4_values[nibble(src + 2, i)];
    b->scale[0] = f16_at(src);
    b->min[0] = 0.0f;
}

static void decode_mxfp4(const uint8_t *src, struct ref_block *b)
{
    for (size_t i = 0; i < 32; i++) b->q[i] = mxfp4_values[nibble(src + 1, i)];
    const uint32_t e = src[0]; /* the scale is 2^(e - 128), subnormal for the two smallest */
    b->scale[0] = bits_float(e < 2 ? 0x200000u << e : (e - 1) << 23);
    b->min[0] = 0.0f;
}

/* ---- blocks of 256 --------------------------------------------------------------------------- */

/* Two halves of 128 items; in a half, byte l of 32 holds items l, l + 32, l + 64 and l + 96. */
static int two_bits(const uint8_t *qs, size_t i)
{
    return qs[i / 128 * 32 + i % 32] >> i % 128 / 32 * 2 & 3;
}

/* Byte l of 32 holds items l and l + 32 of each run of 64. */
static int four_bits(const uint8_t *qs, size_t i)
{
    return qs[i / 64 * 32 + i % 32] >> i % 64 / 32 * 4 & 15;
}

/* Byte l of 32 holds bit g of item 32 g + l. */
static int one_bit(const uint8_t *qs, size_t i)
{
    return qs[i % 32] >> i / 32 & 1;
}

static void decode_q2_k(const uint8_t *src, struct ref_block *b)
{
    const float d = f16_at(src + 80);
    const float dmin = f16_at(src + 82);
    for (size_t i = 0; i < 256; i++) b->q[i] = (int8_t)two_bits(src + 16, i);
    for (size_t g = 0; g < 16; g++) {
        b->scale[g] = d * (float)(src[g] & 15);
        b->min[g] = dmin * (float)(src[g] >> 4);
    }
}

static void decode_q3_k(const uint8_t *src, struct ref_block *b)
{
    const uint8_t *packed = src + 96; /* 16 scales: 8 bytes of low nibbles, 4 bytes of high pairs */
    const float d = f16_at(src + 108);
    for (size_t i = 0; i < 256; i++) {
        b->q[i] = (int8_t)((two_bits(src + 32, i) | one_bit(src, i) << 2) - 4);
    }
    for (size_t g = 0; g < 16; g++) {
        const int low = g < 8 ? packed[g] & 15 : packed[g - 8] >> 4;
        const int high = packed[8 + g % 4] >> g / 4 * 2 & 3;
        b->scale[g] = d * (float)((low | high << 4) - 32);
        b->min[g] = 0.0f;
    }
}

/* The 8 scales and minimums of Q4_K and Q5_K, 6 bits each in 12 bytes. */
static void decode_k4_scales(const uint8_t *src, const uint8_t *packed, struct ref_block *b)
{
    const float d = f16_at(src);
    const float dmin = f16_at(src + 2);
    for (size_t g = 0; g < 4; g++) {
        const int top = packed[g + 8];
        b->scale[g] = d * (float)(packed[g] & 63);
        b->min[g] = dmin * (float)(packed[g + 4] & 63);
        b->scale[g + 4] = d * (float)((top & 15) | packed[g] >> 6 << 4);
        b->min[g + 4] = dmin * (float)(top >> 4 | packed[g + 4] >> 6 << 4);
    }
}

static void decode_q4_k(const uint8_t *src, struct ref_block *b)
{
    for (size_t i = 0; i < 256; i++) b->q[i] = (int8_t)four_bits(src + 16, i);
    decode_k4_scales(src, src + 4, b);
}

static void decode_q5_k(const uint8_t *src, struct ref_block *b)
{
    for (size_t i = 0; i < 256; i++) {
        b->q[i] = (int8_t)(four_bits(src + 48, i) | one_bit(src + 16, i) << 4);
    }
    decode_k4_scales(src, src + 4, b);
}

static void decode_q6_k(const uint8_t *src, struct ref_block *b)
{
    const uint8_t *low = src;
    const uint8_t *high = src + 128;
    const float d = f16_at(src + 208);
    for (size_t i = 0; i < 256; i++) { /* in a half, byte l of 64 holds items l and l + 64 */
        const int nib = low[i / 128 * 64 + i % 64] >> i % 128 / 64 * 4 & 15;
        b->q[i] = (int8_t)((nib | two_bits(high, i) << 4) - 32);
    }
    for (size_t g = 0; g < 16; g++) {
        b->scale[g] = d * (float)(int8_t)src[192 + g];
        b->min[g] = 0.0f;
    }
}

static void decode_iq4_xs(const uint8_t *src, struct ref_block *b)
{
    const float d = f16_at(src);
    const int high = u16_at(src + 2);
    for (size_t g = 0; g < 8; g++) {
        const int low = src[4 + g / 2] >> g % 2 * 4 & 15;
        b->scale[g] = d * (float)((low | (high >> g * 2 & 3) << 4) - 32);
        b->min[g] = 0.0f;
        for (size_t i = 0; i < 32; i++) b->q[g * 32 + i] = iq4_values[nibble(src + 8 + g * 16, i)];
    }
}

/* ---- rows ------------------------------------------------------------------------------------ */

static void row_to_f32(const struct ref_type *t, const void *src, float *dst, size_t n)
{
    assert(n % t->block_items == 0);
    const uint8_t *p = src;
    struct ref_block b;
    for (size_t i = 0; i < n; i += t->block_items, p += t->block_bytes) {
        t->decode(p, &b);
        for (size_t j = 0; j < t->block_items; j++) {
            const size_t g = j / t->group_items;
            dst[i + j] = b.scale[g] * (float)b.q[j] - b.min[g];
        }
    }
}

#define TYPE(NAME, name, block, group, has_min)                                                    \
    static void to_f32_##name(const void *src, float *dst, size_t n)                               \
    {                                                                                              \
        row_to_f32(&ref_##name, src, dst, n);                                                      \
    }                                                                                              \
    const struct ref_type ref_##name = {DT_##NAME, block,         NAME##_BYTES,                    \
                                        group,     decode_##name, to_f32_##name};
KERN_QUANT_TYPES(TYPE)
