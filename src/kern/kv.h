/*
 * kv.h: keys and values as a cache holds them, F32, F16 or Q8_0.
 *
 * The values of a head are rows, one for each position. Its keys are a packed matrix (kern/pack.h),
 * KV_TILE positions side by side, so that a vector of products has positions as its lanes and needs
 * no sum across them. Where the values are the first part of each key (MLA), keys are rows too.
 */
#ifndef KERN_KV_H
#define KERN_KV_H

#include "kern/kern.h"
#include "kern/pack.h"

enum { KV_TILE = PACK_ROWS };

/* Positions of whole tiles. */
static inline size_t kv_tiles(size_t n_pos)
{
    return (n_pos + KV_TILE - 1) / KV_TILE * KV_TILE;
}

/* Can a head of n numbers be held in this type? */
bool kv_can(enum dtype type, size_t n);
/* n numbers as a row of the type; scratch: kv_scratch_bytes(n), aligned to 64. */
void kv_row(const struct kern *k, enum dtype type, const float *x, size_t n, void *row,
            void *scratch);
size_t kv_scratch_bytes(size_t n);

#endif
