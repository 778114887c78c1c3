/*
 * kern_ref_cols.c: products with weights by columns in plain C: the same sums as kern_ref.c makes
 * of rows, zeros included.
 */
#include "kern/kern_impl.h"

#include "kern/ref_at.h"
#include "quant/block.h"

#include <math.h>

/* ---- blocks ---------------------------------------------------------------------------------- */

/* The code of row r in one column. */
static int code_q8_0(const uint8_t *column, size_t r)
{
    return (int8_t)column[r / 64 * 64 + r / 4 % 4 * 16 + r % 64 / 16 * 4 + r % 4];
}

static int code_q4_0(const uint8_t *column, size_t r)
{
    const unsigned both = column[r / 128 * 64 + r / 4 % 4 * 16 + r % 64 / 16 * 4 + r % 4];
    return (int)(r % 128 < 64 ? both & 15 : both >> 4) - 8;
}

static float dot_cols(const struct kern_mul *a, size_t r, const char *x, size_t block_bytes,
                      int (*code)(const uint8_t *column, size_t r))
{
    const int8_t *const xq = (const int8_t *)x;
    const float *const d = (const float *)(const void *)(x + act_q8_d_at(a->k));
    const size_t np = a->w_stride;
    float sum = 0.0f;
    for (size_t g = 0; g < a->k / 32; g++) {
        const uint8_t *const group = (const uint8_t *)a->w + g * np * block_bytes;
        int32_t isum = 0;
        for (size_t i = 0; i < 32; i++)
            isum += code(group + np * 2 + i * np * (block_bytes - 2) / 32, r) * xq[g * 32 + i];
        sum = fmaf((float)isum, f16_at(group + 2 * r) * d[g], sum);
    }
    return sum;
}

static void mul_blocks(const struct kern_mul *a, size_t block_bytes,
                       int (*code)(const uint8_t *column, size_t r))
{
    for (size_t c = 0; c < a->n_col; c++) {
        const char *const x = (const char *)a->x + c * a->x_stride;
        for (size_t r = 0; r < a->n_row; r++)
            a->y[c * a->y_stride + r] = dot_cols(a, a->row0 + r, x, block_bytes, code);
    }
}

static void mul_cols_q8_0_ref(const struct kern_mul *a)
{
    mul_blocks(a, Q8_0_BYTES, code_q8_0);
}

static void mul_cols_q4_0_ref(const struct kern_mul *a)
{
    mul_blocks(a, Q4_0_BYTES, code_q4_0);
}

/* ---- floats ---------------------------------------------------------------------------------- */

static void mul_values(const struct kern_mul *a, size_t item, float (*value)(const uint8_t *p))
{
    for (size_t c = 0; c < a->n_col; c++) {
        const uint8_t *const x = (const uint8_t *)a->x + c * a->x_stride;
        for (size_t r = 0; r < a->n_row; r++) {
            const uint8_t *w = (const uint8_t *)a->w + (a->row0 + r) * item;
            double sum = 0.0;
            for (size_t i = 0; i < a->k; i++, w += a->w_stride * item)
                sum += (double)value(w) * (double)f32_at(x + 4 * i);
            a->y[c * a->y_stride + r] = (float)sum;
        }
    }
}

static void mul_cols_f32_ref(const struct kern_mul *a)
{
    mul_values(a, 4, f32_at);
}

static void mul_cols_f16_ref(const struct kern_mul *a)
{
    mul_values(a, 2, f16_at);
}

static void mul_cols_bf16_ref(const struct kern_mul *a)
{
    mul_values(a, 2, bf16_at);
}

void kern_fill_ref_cols(struct kern *k)
{
    k->mul_cols[DT_Q8_0] = mul_cols_q8_0_ref;
    k->mul_cols[DT_Q4_0] = mul_cols_q4_0_ref;
    k->mul_cols[DT_F32] = mul_cols_f32_ref;
    k->mul_cols[DT_F16] = mul_cols_f16_ref;
    k->mul_cols[DT_BF16] = mul_cols_bf16_ref;
}
