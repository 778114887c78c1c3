/*
 * kern_ref_pv.c: cached values times probabilities: the truth for the tests, to the bit where a
 * level has fma.
 */
#include "kern/kern_impl.h"

#include "kern/ref_at.h"
#include "quant/block.h"

#include <math.h>

static void add_pv(const uint8_t *v, size_t v_stride, size_t n_pos, size_t n_dim, const float *prob,
                   size_t prob_stride, size_t n_col, float *out, size_t out_stride,
                   float (*value)(const uint8_t *row, size_t d))
{
    for (size_t p = 0; p < n_pos; p++, v += v_stride) {
        for (size_t d = 0; d < n_dim; d++) {
            const float x = value(v, d);
            for (size_t c = 0; c < n_col; c++) {
                float *const sum = &out[c * out_stride + d];
                *sum = fmaf(prob[c * prob_stride + p], x, *sum);
            }
        }
    }
}

static float value_f32(const uint8_t *row, size_t d)
{
    return f32_at(row + 4 * d);
}

static float value_f16(const uint8_t *row, size_t d)
{
    return f16_at(row + 2 * d);
}

static float value_q8_0(const uint8_t *row, size_t d)
{
    const uint8_t *const block = row + d / QK_SMALL * Q8_0_BYTES;
    return f16_at(block) * (float)(int8_t)block[2 + d % QK_SMALL];
}

#define ADD_PV(name)                                                                               \
    static void add_pv_##name##_ref(const void *v, size_t v_stride, size_t n_pos, size_t n_dim,    \
                                    const float *prob, size_t prob_stride, size_t n_col,           \
                                    float *out, size_t out_stride)                                 \
    {                                                                                              \
        add_pv(v, v_stride, n_pos, n_dim, prob, prob_stride, n_col, out, out_stride,               \
               value_##name);                                                                      \
    }
ADD_PV(f32)
ADD_PV(f16)
ADD_PV(q8_0)

void kern_fill_ref_pv(struct kern *k)
{
    k->add_pv[DT_F32] = add_pv_f32_ref;
    k->add_pv[DT_F16] = add_pv_f16_ref;
    k->add_pv[DT_Q8_0] = add_pv_q8_0_ref;
}
