/*
 * kv.c: rows of keys and values.
 *
 * Q8_0 takes the codes and scales of int8 activations, and rounds the scales to float16.
 */
#include "kern/kv.h"

#include "quant/block.h"

#include <assert.h>
#include <string.h>

bool kv_can(enum dtype type, size_t n)
{
    return type == DT_F32 || type == DT_F16 || (type == DT_Q8_0 && n % QK_SMALL == 0);
}

size_t kv_scratch_bytes(size_t n)
{
    return act_q8_row_bytes(n) + n / QK_SMALL * 2;
}

static void q8_0_row(const struct kern *k, const float *x, size_t n, uint8_t *row, uint8_t *scratch)
{
    k->quant_q8(x, n, scratch);
    uint8_t *const scale = scratch + act_q8_row_bytes(n);
    k->f32_to_f16((const float *)(const void *)(scratch + act_q8_d_at(n)), scale, n / QK_SMALL);
    for (size_t i = 0; i < n / QK_SMALL; i++, row += Q8_0_BYTES) {
        memcpy(row, scale + 2 * i, 2);
        memcpy(row + 2, scratch + i * QK_SMALL, QK_SMALL);
    }
}

void kv_row(const struct kern *k, enum dtype type, const float *x, size_t n, void *row,
            void *scratch)
{
    assert(kv_can(type, n));
    if (type == DT_F32)
        memcpy(row, x, n * sizeof *x);
    else if (type == DT_F16)
        k->f32_to_f16(x, row, n);
    else
        q8_0_row(k, x, n, row, scratch);
}
