/*
 * kern_impl.h: private to kern/: the list of quantised types, and what the files of a level hand to
 * the hooks.
 *
 * No function body lives here, so that files with wide ISA flags may include it.
 */
#ifndef KERN_KERN_IMPL_H
#define KERN_KERN_IMPL_H

#include "kern/kern.h"
#include "kern/pack.h"

/* The canonical order of quantised products, the same at every level that has a fused multiply-add,
 * bit for bit: the groups of a row (16 or 32 items, what shares a weight scale) are taken rising,
 *     sum = fma((float)isum, d_weight * d_act, sum)
 *     sum = fma(-minimum, s_act, sum)               if the type has minimums
 * from 0 on, where isum is the exact integer dot product of the group's codes. */
enum { CHUNK = 256 }; /* items of a K block, and of a chunk of a packed tile (pack.h) */

/* X(NAME, name, items per block, items per group, minimums?) */
#define KERN_QUANT_TYPES(X)                                                                        \
    X(Q4_0, q4_0, 32, 32, 0)                                                                       \
    X(Q4_1, q4_1, 32, 32, 1)                                                                       \
    X(Q5_0, q5_0, 32, 32, 0)                                                                       \
    X(Q5_1, q5_1, 32, 32, 1)                                                                       \
    X(Q8_0, q8_0, 32, 32, 0)                                                                       \
    X(IQ4_NL, iq4_nl, 32, 32, 0)                                                                   \
    X(MXFP4, mxfp4, 32, 32, 0)                                                                     \
    X(Q2_K, q2_k, 256, 16, 1)                                                                      \
    X(Q3_K, q3_k, 256, 16, 0)                                                                      \
    X(Q4_K, q4_k, 256, 32, 1)                                                                      \
    X(Q5_K, q5_k, 256, 32, 1)                                                                      \
    X(Q6_K, q6_k, 256, 16, 0)                                                                      \
    X(IQ4_XS, iq4_xs, 256, 32, 0)

enum { /* bytes of a block that are not codes: they come first in a chunk */
       HEAD_q4_0 = 2,
       HEAD_q4_1 = 4,
       HEAD_q5_0 = 2,
       HEAD_q5_1 = 4,
       HEAD_q8_0 = 2,
       HEAD_iq4_nl = 2,
       HEAD_mxfp4 = 1,
       HEAD_q2_k = 20,
       HEAD_q3_k = 14,
       HEAD_q4_k = 16,
       HEAD_q5_k = 16,
       HEAD_q6_k = 18,
       HEAD_iq4_xs = 8,
};

/* Scratch of mul: 16 packed rows, their codes as bytes, and a scale and a minimum per row and 16
 * items. */
enum { SCRATCH_BYTES_PER_ITEM = 17 + 16 + 8 };

/* ---- reference ------------------------------------------------------------------------------- */

struct ref_block { /* one decoded block: item i is scale[g] * q[i] - min[g], g = i / group */
    int8_t q[256];
    float scale[16];
    float min[16];
};

struct ref_type {
    enum dtype type;
    uint32_t block_items, block_bytes, group_items;
    void (*decode)(const uint8_t *src, struct ref_block *b);
    void (*to_f32)(const void *src, float *dst, size_t n);
};

#define KERN_REF_TYPE(NAME, name, block, group, has_min) extern const struct ref_type ref_##name;
KERN_QUANT_TYPES(KERN_REF_TYPE)

float ref_f16_to_f32(uint16_t h);
float ref_bf16_to_f32(uint16_t h);
uint16_t ref_f32_to_f16(float f);

/* Row r of a's weights, packed or not, as the file has it: in place, or in buf. */
const uint8_t *ref_row(const struct kern_mul *a, enum dtype type, size_t r, uint8_t *buf);

void kern_fill_ref(struct kern *k);
void kern_fill_ref_cols(struct kern *k);
void kern_fill_ref_pv(struct kern *k);

/* ---- levels: each replaces what it does better, on a CPU that has it ------------------------- */

void kern_fill_sse(struct kern *k);
void kern_fill_avx2(struct kern *k);
void kern_fill_avx512(struct kern *k);
void kern_fill_vnni(struct kern *k);
void kern_fill_neon(struct kern *k);
void kern_fill_dotprod(struct kern *k);
void kern_fill_i8mm(struct kern *k);

#endif
