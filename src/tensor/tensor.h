/*
 * tensor.h: a read-only view of a weight tensor.
 *
 * ne[0] is the fastest dimension (a row: the inputs of one output), as in GGUF; unused dimensions
 * are 1. Rows are dense blocks; row_bytes and plane_bytes are the strides of ne[1] and ne[2], so a
 * view of some rows, or of one expert, is the same struct with another pointer. Packed rows come in
 * tiles of 16, so a view of some of those begins at a multiple of 16.
 */
#ifndef TENSOR_TENSOR_H
#define TENSOR_TENSOR_H

#include "tensor/dtype.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tensor {
    const char *name;
    const void *data; /* in the model file, or packed in struct weights: both live as the engine */
    enum dtype type;
    uint32_t n_dims;
    uint64_t ne[4];
    size_t row_bytes;     /* stride of ne[1] */
    size_t plane_bytes;   /* stride of ne[2] */
    bool is_packed;       /* the rows of each plane are packed: kern/pack.h */
    const void *unpacked; /* if they are: where they were, in the model file */
};

/* Which rows they are, packed or not. */
static inline const void *tensor_rows(const struct tensor *t)
{
    return t->is_packed ? t->unpacked : t->data;
}

/* All bytes of a tensor. The product cannot wrap: whoever makes a tensor has checked it. */
static inline size_t tensor_bytes(const struct tensor *t)
{
    return t->plane_bytes * (size_t)t->ne[2] * (size_t)t->ne[3];
}

#endif
