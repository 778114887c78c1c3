/*
 * dtype.h: the element types of GGUF, numbered as in the file (ggml's enum ggml_type).
 *
 * dtype_info() knows every number that ggml has ever assigned, so that an unsupported type can be
 * named; `computable` says whether moxie can run it.
 */
#ifndef TENSOR_DTYPE_H
#define TENSOR_DTYPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum dtype {
    DT_F32 = 0,
    DT_F16 = 1,
    DT_Q4_0 = 2,
    DT_Q4_1 = 3,
    DT_Q5_0 = 6,
    DT_Q5_1 = 7,
    DT_Q8_0 = 8,
    DT_Q8_1 = 9,
    DT_Q2_K = 10,
    DT_Q3_K = 11,
    DT_Q4_K = 12,
    DT_Q5_K = 13,
    DT_Q6_K = 14,
    DT_Q8_K = 15,
    DT_IQ2_XXS = 16,
    DT_IQ2_XS = 17,
    DT_IQ3_XXS = 18,
    DT_IQ1_S = 19,
    DT_IQ4_NL = 20,
    DT_IQ3_S = 21,
    DT_IQ2_S = 22,
    DT_IQ4_XS = 23,
    DT_I8 = 24,
    DT_I16 = 25,
    DT_I32 = 26,
    DT_I64 = 27,
    DT_F64 = 28,
    DT_IQ1_M = 29,
    DT_BF16 = 30,
    DT_TQ1_0 = 34,
    DT_TQ2_0 = 35,
    DT_MXFP4 = 39,
    DT_NVFP4 = 40,
    DT_Q1_0 = 41,
    DT_Q2_0 = 42,
    DT_COUNT = 43
};

struct dtype_info {
    const char *name;     /* llama.cpp's upper-case spelling, "Q4_K" */
    uint32_t block_items; /* elements of one block */
    uint32_t block_bytes; /* bytes of one block */
    bool computable;
};

/* NULL for numbers that ggml never assigned or has withdrawn (4, 5, 31-33, 36-38). */
const struct dtype_info *dtype_info(uint32_t type);
/* "F32, F16, ...": the types that work, for error messages. */
const char *dtype_computable_names(void);
/* Bytes of a row of n_items; n_items is a multiple of block_items. */
size_t dtype_row_bytes(enum dtype type, size_t n_items);

#endif
