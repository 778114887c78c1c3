/*
 * cols.h: laying weights out by columns (quant/block.h), for kern.mul_cols.
 *
 *     size_t n_bytes = cols_bytes(DT_Q8_0, k, n_row);             // 0: the type has no such form
 *     bool ok = cols_put(&(struct cols_src){...}, 0, n_row, dst); // once, or in parts
 */
#ifndef KERN_COLS_H
#define KERN_COLS_H

#include "tensor/dtype.h"

#include <stdbool.h>
#include <stddef.h>

struct cols_src {
    enum dtype type;
    const void *w;   /* rows, w_stride bytes apart, from row0 on */
    size_t w_stride; /* bytes */
    size_t row0;
    size_t n_row, k; /* of the matrix */
};

/* Bytes of the whole matrix; 0 for other types, and for products beyond size_t. */
size_t cols_bytes(enum dtype type, size_t k, size_t n_row);

/* Puts rows [row0, row1) into dst, which was zeroed; row0 is a multiple of COLS_STEP, and row1 too
 * unless it is n_row. Parts may be put by several threads. false: a weight or a scale is not
 * finite, so that a product with 0 would not be 0. */
bool cols_put(const struct cols_src *src, size_t row0, size_t row1, void *dst);

#endif
