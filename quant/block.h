/*
 * block.h: memory layouts shared by kernels and codecs: GGUF's block types, and moxie's int8
 * activations.
 *
 * Weight rows, of the mapped file or packed (kern/pack.h), are read at any alignment, byte by byte
 * or with unaligned loads; no struct is laid over them. The sizes below are what the kernels rely
 * on. Source of the layouts: ggml (ggml-common.h), as described in GGUF's documentation.
 */
#ifndef QUANT_BLOCK_H
#define QUANT_BLOCK_H

#include <stddef.h>
#include <stdint.h>

/* Bytes of a block: 32 items for the small types, 256 for the K types and IQ4_XS.
 *   Q4_0   f16 d, 16 x nibbles                       w = d (q - 8)   low nibbles: items 0..15
 *   Q4_1   f16 d, f16 m, 16                          w = d q + m
 *   Q5_0   f16 d, u32 high bits, 16                  w = d (q - 16)
 *   Q5_1   f16 d, f16 m, u32 high bits, 16           w = d q + m
 *   Q8_0   f16 d, 32 x i8                            w = d q
 *   IQ4_NL f16 d, 16                                 w = d table[q]
 *   MXFP4  u8 e (2^(e-127)), 16                      w = 2^(e-127) value[q]
 *   Q2_K   16 x (4-bit scale | 4-bit min), 64 x 2-bit, f16 d, f16 dmin
 *   Q3_K   32 high bits, 64 x 2-bit, 12 x 6-bit scales, f16 d
 *   Q4_K   f16 d, f16 dmin, 12 x (6-bit scale, 6-bit min), 128 nibbles
 *   Q5_K   as Q4_K with 32 bytes of high bits before the nibbles
 *   Q6_K   128 low nibbles, 64 x 2 high bits, 16 x i8 scales, f16 d
 *   IQ4_XS f16 d, u16 high scale bits, 4 low scale bytes, 128 nibbles
 */
enum {
    Q4_0_BYTES = 18,
    Q4_1_BYTES = 20,
    Q5_0_BYTES = 22,
    Q5_1_BYTES = 24,
    Q8_0_BYTES = 34,
    IQ4_NL_BYTES = 18,
    MXFP4_BYTES = 17,
    Q2_K_BYTES = 84,
    Q3_K_BYTES = 110,
    Q4_K_BYTES = 144,
    Q5_K_BYTES = 176,
    Q6_K_BYTES = 210,
    IQ4_XS_BYTES = 136,
    QK_SMALL = 32,  /* items of a small block */
    QK_SUPER = 256, /* items of a K block */
};

/*
 * Weights by columns: a matrix laid so that what one input is multiplied with lies together, for
 * products that skip the inputs that are 0. n rows are padded with zeros to np = cols_padded(n).
 *
 *     F32, F16, BF16   k columns of np values
 *     Q8_0, Q4_0       for each group of 32 inputs np scales (f16), then 32 columns of np codes: as
 *                      many bytes as np blocks of the type
 *
 * Codes stand in blocks of 64: byte 16 a + 4 b + c of a block is row 16 b + 4 a + c (a, b, c < 4),
 * so that interleaving the bytes of four columns gives vectors of consecutive rows, four inputs of
 * a row side by side, at any width of vector. Q4_0: 64 bytes hold two blocks, the first of them in
 * the low nibbles.
 */
enum { COLS_STEP = 128 }; /* rows: parts of a matrix begin at multiples of it */

static inline size_t cols_padded(size_t n_row)
{
    return (n_row + COLS_STEP - 1) / COLS_STEP * COLS_STEP;
}

/*
 * Activations for quantised weights: one row of k items (k % 32 == 0), quantised in groups of 32 to
 * q = round_to_even(x * (127 / max|x|)), so |q| <= 127 and -128 never occurs. Stored as structure
 * of arrays:
 *
 *     int8_t  q[k];        codes
 *     float   d[k / 32];   scale of each group: max|x| / 127
 *     float   s32[k / 32]; d * (sum of the group's 32 codes), for weights with a minimum
 *     int32_t n32[k / 32]; -128 * (sum of 32 codes): makes u8 x s8 products exact
 *     float   s16[k / 16]; the same two for weights with groups of 16
 *     int32_t n16[k / 16];
 *
 * Rows are a multiple of 64 bytes apart, and what is left over of that is not written; the arrays
 * inside begin at multiples of 4.
 *
 * A group with an infinity or a NaN has zero codes and NaN as its scale, so what it touches becomes
 * NaN. A group whose largest value is below ACT_Q8_TINY is zero.
 */
#define ACT_Q8_TINY                                                                                \
    1e-30f /* 127 / max|x| must be finite; what is dropped vanishes beside any other term */

static inline size_t act_q8_d_at(size_t k)
{
    return k;
}
static inline size_t act_q8_s32_at(size_t k)
{
    return act_q8_d_at(k) + k / 8;
}
static inline size_t act_q8_n32_at(size_t k)
{
    return act_q8_s32_at(k) + k / 8;
}
static inline size_t act_q8_s16_at(size_t k)
{
    return act_q8_n32_at(k) + k / 8;
}
static inline size_t act_q8_n16_at(size_t k)
{
    return act_q8_s16_at(k) + k / 4;
}
static inline size_t act_q8_row_bytes(size_t k)
{
    return (act_q8_n16_at(k) + k / 4 + 63) / 64 * 64;
}

#endif
