/*
 * pack.h: quantised weights, and keys of a cache, as the kernels read them: 16 rows side by side.
 *
 * A packed matrix ("repacked" in llama.cpp) has exactly the bytes of the rows it was made from:
 * tiles of PACK_ROWS rows, then the rows that are left over, as they were. So row r of a matrix, or
 * of one plane of it, still begins at r * row_bytes if r is a multiple of PACK_ROWS, and any
 * multiple of PACK_ROWS rows can be packed or taken out without the others.
 *
 * A tile is a sequence of chunks of 256 items, as its rows are; the last one may be shorter for
 * types with blocks of 32. Within a chunk of n blocks, in this order (r: row of the tile, 16 of
 * each):
 *
 *     Q4_0 Q5_0 Q8_0 IQ4_NL  f16 d[n][r]                            codes[n]
 *     Q4_1 Q5_1              f16 d[n][r], f16 m[n][r]               codes[n]
 *     MXFP4                  u8 e[n][r]                             codes[n]
 *     Q2_K                   f16 d[r], f16 dmin[r], u8 (scale | min << 4)[16][r]  codes[8]
 *     Q3_K                   f16 d[r], six(16 scales)               codes[8]
 *     Q4_K Q5_K              f16 d[r], f16 dmin[r], six(8 scales, 8 mins)         codes[8]
 *     Q6_K                   f16 d[r], s8 scale[16][r]              codes[8]
 *     IQ4_XS                 f16 d[r], six(8 scales)                codes[8]
 *
 * six(n values): u8 low[n / 2][r], nibble a of low[b] being the low bits of value a * n / 2 + b;
 * then u8 high[n / 4][r], bits 2 a and 2 a + 1 of high[b] being the high bits of value a * n / 4 +
 * b.
 *
 * codes: of 32 items, unsigned as the type stores them (Q8_0: signed), in vectors of 64 bytes. Byte
 * 4 r + i of a vector belongs to row r and to item i of quads, fours of consecutive items: quad q
 * is items 4 q .. 4 q + 3 of the group.
 *
 *     5th bit of Q5_0 Q5_1 Q5_K, 3rd of Q3_K   one vector, bit q: quad q
 *     4 bits of Q4 Q5 IQ4 MXFP4                four vectors, vector j: quad j, quad j + 4 << 4
 *     2 bits of Q2_K Q3_K                      two vectors, vector j: quad 4 j + p << 2 p
 *     6 bits of Q6_K                           six vectors, vector q: quad q, and in the two bits
 *                                              on top, of vector 3 i + j, bits 2 j and 2 j + 1 of
 *                                              quad 6 + i
 *     8 bits of Q8_0                           eight vectors, vector q: quad q
 *
 * Keys of a cache may also be numbers, which weights in a file's order never are here:
 *
 *     F32 F16                number 16 i + r of a tile is item i of row r
 *
 * So one load gives a vector whose lanes are rows, at any width from 128 to 512 bits, and a product
 * needs no sum across lanes, as in ik_llama.cpp's R4, R8 and R16 types and in KleidiAI. The
 * functions are pure: no allocation, no state.
 */
#ifndef KERN_PACK_H
#define KERN_PACK_H

#include "tensor/dtype.h"

#include <stdbool.h>
#include <stddef.h>

enum { PACK_ROWS = 16 };

bool pack_can(enum dtype type); /* weights of this type */
/* n_row rows of k items, stride bytes apart, into dst: n_row * dtype_row_bytes(type, k) bytes,
 * apart from the rows. */
void pack_rows(enum dtype type, const void *rows, size_t stride, size_t n_row, size_t k, void *dst);
/* One tile of 16 rows, the last of n_row <= PACK_ROWS rows being repeated. */
void pack_tile(enum dtype type, const void *rows, size_t stride, size_t n_row, size_t k, void *dst);
/* Row r of a packed matrix of n_row rows, as it was. F32, F16 too. */
void pack_get_row(enum dtype type, const void *packed, size_t n_row, size_t k, size_t r, void *row);
/* The reverse for row r of a whole tile; the others stay. F32, F16 too. */
void pack_set_row(enum dtype type, const void *row, size_t k, size_t r, void *tile);

#endif
