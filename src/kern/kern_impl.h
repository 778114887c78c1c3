/*
 * kern_impl.h: private to kern/: the list of quantised types, and what the files of a level hand to
 * the hooks.
 *
 * No function body lives here, so that files with wide ISA flags may include it.
 */
#ifndef KERN_KERN_IMPL_H
#define KERN_KERN_IMPL_H

#include "kern/kern.h"

/* The canonical order of quantised products, the same at every level that has a fused multiply-add,
 * bit for bit. A row is cut into chunks of CHUNK items; a chunk has J = CHUNK / group groups, where
 * a group (16 or 32 items) is what shares a weight scale. Lane j of J sums group j of all chunks,
 * rising:
 *     lane[j] = fma((float)isum, d_weight * d_act, lane[j])
 *     lane[j] = fma(-minimum, s_act, lane[j])               if the type has minimums
 * where isum is the exact integer dot product of the group's codes. The result is ((0 + lane[0]) +
 * lane[1]) + ... + lane[J - 1]. A vector holds lanes when one column is multiplied, and rows when
 * there are many; the order is the same. */
enum { CHUNK = 256 };

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

/* Scratch of mul: 16 rows of codes, and a scale and a minimum per row and 16 items. */
enum { SCRATCH_BYTES_PER_ITEM = 24 };

/* ---- reference ------------------------------------------------------------------------------- */

struct ref_block { /* one decoded block: item i is scale[g] * q[i] - min[g], g = i / group */
    int8_t q[256];
    float scale[16];
    float min[16];
};

struct ref_type {
    uint32_t block_items, block_bytes, group_items;
    void (*decode)(const uint8_t *src, struct ref_block *b);
    void (*to_f32)(const void *src, float *dst, size_t n);
};

#define KERN_REF_TYPE(NAME, name, block, group, has_min) extern const struct ref_type ref_##name;
KERN_QUANT_TYPES(KERN_REF_TYPE)

float ref_f16_to_f32(uint16_t h);
float ref_bf16_to_f32(uint16_t h);
uint16_t ref_f32_to_f16(float f);

void kern_fill_ref(struct kern *k);
void kern_fill_ref_cols(struct kern *k);

/* ---- levels: each replaces what it does better, on a CPU that has it ------------------------- */

void kern_fill_sse(struct kern *k);
void kern_fill_avx2(struct kern *k);
void kern_fill_avx512(struct kern *k);
void kern_fill_vnni(struct kern *k);
void kern_fill_neon(struct kern *k);
void kern_fill_dotprod(struct kern *k);

#endif
