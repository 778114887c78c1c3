/*
 * kern_ref.c: every kernel in plain C: the truth for the tests, and what runs where no level fits.
 *
 * Quantised products follow the canonical order of kern_impl.h to the bit; sums of floats are made
 * in double, which is closer to the true value than any level, and are compared within a tolerance.
 * Functions come from libm. No tricks: what is slow here is fast elsewhere.
 */
#include "kern/kern_impl.h"

#include "kern/ref_at.h"
#include "quant/block.h"

#include <assert.h>
#include <math.h>
#include <string.h>

/* ---- weights times activations --------------------------------------------------------------- */

struct ref_row {        /* a decoded row of weights in the caller's scratch */
    int8_t *q;          /* (k) */
    float *scale, *min; /* (k / group) */
};

static void decode_row(const struct ref_type *t, const uint8_t *src, size_t k,
                       const struct ref_row *row)
{
    const size_t n_group = t->block_items / t->group_items;
    struct ref_block b;
    for (size_t i = 0; i < k; i += t->block_items, src += t->block_bytes) {
        t->decode(src, &b);
        memcpy(row->q + i, b.q, t->block_items);
        memcpy(row->scale + i / t->group_items, b.scale, n_group * sizeof(float));
        memcpy(row->min + i / t->group_items, b.min, n_group * sizeof(float));
    }
}

static float dot_quant(const struct ref_row *row, const char *x, size_t k, size_t group)
{
    const int8_t *xq = (const int8_t *)x;
    const float *d = (const float *)(const void *)(x + act_q8_d_at(k));
    const size_t s_at = group == 32 ? act_q8_s32_at(k) : act_q8_s16_at(k);
    const float *s = (const float *)(const void *)(x + s_at);
    float sum = 0.0f;
    for (size_t g = 0; g < k / group; g++) {
        int32_t isum = 0;
        for (size_t i = g * group; i < (g + 1) * group; i++) isum += row->q[i] * xq[i];
        sum = fmaf((float)isum, row->scale[g] * d[g * group / 32], sum);
        sum = fmaf(-row->min[g], s[g], sum);
    }
    return sum;
}

const uint8_t *ref_row(const struct kern_mul *a, enum dtype type, size_t r, uint8_t *buf)
{
    if (!a->is_packed) return (const uint8_t *)a->w + r * a->w_stride;
    pack_get_row(type, a->w, a->n_row, a->k, r, buf);
    return buf;
}

static void mul_quant(const struct kern_mul *a, const struct ref_type *t)
{
    assert(a->k % t->block_items == 0);
    float *const floats = a->scratch;
    const struct ref_row row = {
        .scale = floats,
        .min = floats + a->k / t->group_items,
        .q = (int8_t *)(floats + 2 * (a->k / t->group_items)),
    };
    uint8_t *const buf = (uint8_t *)row.q + a->k;
    for (size_t r = 0; r < a->n_row; r++) {
        decode_row(t, ref_row(a, t->type, r, buf), a->k, &row);
        for (size_t c = 0; c < a->n_col; c++) {
            const char *x = (const char *)a->x + c * a->x_stride;
            a->y[c * a->y_stride + r] = dot_quant(&row, x, a->k, t->group_items);
        }
    }
}

#define MUL_QUANT(NAME, name, block, group, has_min)                                               \
    static void mul_##name##_ref(const struct kern_mul *a)                                         \
    {                                                                                              \
        mul_quant(a, &ref_##name);                                                                 \
    }
KERN_QUANT_TYPES(MUL_QUANT)

static void f32_to_f32_ref(const void *src, float *dst, size_t n)
{
    if (n) memcpy(dst, src, n * sizeof *dst);
}

static void f16_to_f32_ref(const void *src, float *dst, size_t n)
{
    for (size_t i = 0; i < n; i++) dst[i] = f16_at((const uint8_t *)src + 2 * i);
}

static void bf16_to_f32_ref(const void *src, float *dst, size_t n)
{
    for (size_t i = 0; i < n; i++) dst[i] = bf16_at((const uint8_t *)src + 2 * i);
}

static void mul_float(const struct kern_mul *a, enum dtype type,
                      void (*to_f32)(const void *src, float *dst, size_t n))
{
    float *const w = a->scratch;
    uint8_t *const buf = (uint8_t *)(w + a->k);
    for (size_t r = 0; r < a->n_row; r++) {
        to_f32(ref_row(a, type, r, buf), w, a->k);
        for (size_t c = 0; c < a->n_col; c++) {
            const uint8_t *x = (const uint8_t *)a->x + c * a->x_stride;
            double sum = 0.0;
            for (size_t i = 0; i < a->k; i++) sum += (double)w[i] * (double)f32_at(x + 4 * i);
            a->y[c * a->y_stride + r] = (float)sum;
        }
    }
}

static void mul_f32_ref(const struct kern_mul *a)
{
    mul_float(a, DT_F32, f32_to_f32_ref);
}

static void mul_f16_ref(const struct kern_mul *a)
{
    mul_float(a, DT_F16, f16_to_f32_ref);
}

static void mul_bf16_ref(const struct kern_mul *a)
{
    mul_float(a, DT_BF16, bf16_to_f32_ref);
}

/* ---- activations to int8 --------------------------------------------------------------------- */

struct act_group { /* where one group of 32 goes */
    int8_t *q;
    float *d, *s32, *s16;
    int32_t *n32, *n16;
};

static void quant_group(const float *x, struct act_group g)
{
    float top = 0.0f;
    bool finite = true;
    for (size_t i = 0; i < 32; i++) {
        top = fmaxf(top, fabsf(x[i]));
        finite &= isfinite(x[i]) != 0;
    }
    const bool zero = finite && top < ACT_Q8_TINY;
    const float d = zero ? 0.0f : finite ? top / 127.0f : NAN;
    const float scale = finite && !zero ? 127.0f / top : 0.0f;
    int sum[2] = {0, 0};
    memset(g.q, 0, 32);
    for (size_t i = 0; i < 32 && finite && !zero; i++) {
        const long q = lrintf(x[i] * scale);
        g.q[i] = (int8_t)q;
        sum[i / 16] += (int)q;
    }
    *g.d = d;
    *g.s32 = d * (float)(sum[0] + sum[1]);
    *g.n32 = -128 * (sum[0] + sum[1]);
    for (size_t h = 0; h < 2; h++) {
        g.s16[h] = d * (float)sum[h];
        g.n16[h] = -128 * sum[h];
    }
}

static void quant_q8_part_ref(const float *x, size_t i0, size_t n, size_t k, void *row)
{
    assert(i0 % 32 == 0);
    assert(n % 32 == 0);
    assert(i0 + n <= k);
    char *const p = row;
    for (size_t i = i0 / 32; i < (i0 + n) / 32; i++) {
        quant_group(x + i * 32 - i0, (struct act_group){
                                         .q = (int8_t *)p + i * 32,
                                         .d = (float *)(void *)(p + act_q8_d_at(k)) + i,
                                         .s32 = (float *)(void *)(p + act_q8_s32_at(k)) + i,
                                         .n32 = (int32_t *)(void *)(p + act_q8_n32_at(k)) + i,
                                         .s16 = (float *)(void *)(p + act_q8_s16_at(k)) + 2 * i,
                                         .n16 = (int32_t *)(void *)(p + act_q8_n16_at(k)) + 2 * i,
                                     });
    }
}

static void quant_q8_ref(const float *x, size_t k, void *row)
{
    quant_q8_part_ref(x, 0, k, k, row);
}

/* ---- attention ------------------------------------------------------------------------------- */

static float exp_sum_ref(float *x, size_t n, float max)
{
    double sum = 0.0;
    for (size_t i = 0; i < n; i++) {
        x[i] = expf(x[i] - max);
        sum += (double)x[i];
    }
    return (float)sum;
}

static float max_ref(const float *x, size_t n)
{
    float top = -INFINITY;
    for (size_t i = 0; i < n; i++) top = fmaxf(top, x[i]);
    return top;
}

/* ---- elementwise and reductions -------------------------------------------------------------- */

static float sum_sq_ref(const float *x, size_t n)
{
    double sum = 0.0;
    for (size_t i = 0; i < n; i++) sum += (double)x[i] * (double)x[i];
    return (float)sum;
}

static float sigmoid(float x)
{
    return (float)(1.0 / (1.0 + exp(-(double)x)));
}

/* x * sigmoid(z) where z goes with x: 0 at -infinity, where the product would be NaN. */
static float gated(float x, float z)
{
    return x == -INFINITY ? -0.0f : x * sigmoid(z);
}

static float silu(float x)
{
    return gated(x, x);
}

/* x/2 (1 + tanh u) = x sigmoid(2u), u = sqrt(2/pi) (x + 0.044715 x^3) (Hendrycks & Gimpel 2016) */
static float gelu(float x)
{
    const double t = (double)x;
    return gated(x, (float)(2.0 * 0.79788456080286535588 * t * (1.0 + 0.044715 * t * t)));
}

static float relu(float x)
{
    return x < 0.0f ? 0.0f : x; /* NaN stays */
}

static float relu2(float x)
{
    return relu(x) * relu(x);
}

static float softplus(float x)
{
    const double t = (double)x;
    return (float)(fmax(t, 0.0) + log1p(exp(-fabs(t)))); /* the second term keeps NaN */
}

/* The gate of gpt-oss: clamped at 7, slope 1.702, and one is added to the clamped upper half. */
static float swiglu_oai(float gate, float up)
{
    const float g = gate > 7.0f ? 7.0f : gate;
    const float u = up > 7.0f ? 7.0f : up < -7.0f ? -7.0f : up;
    return gated(g, 1.702f * g) * (u + 1.0f);
}

#define ACT(name)                                                                                  \
    static void act_##name##_ref(const float *x, float *y, size_t n)                               \
    {                                                                                              \
        for (size_t i = 0; i < n; i++) y[i] = name(x[i]);                                          \
    }                                                                                              \
    static void glu_##name##_ref(const float *gate, const float *up, float *y, size_t n)           \
    {                                                                                              \
        for (size_t i = 0; i < n; i++) y[i] = name(gate[i]) * up[i];                               \
    }
ACT(silu)
ACT(gelu)
ACT(relu)
ACT(relu2)
ACT(sigmoid)
ACT(softplus)

static void glu_swiglu_oai_ref(const float *gate, const float *up, float *y, size_t n)
{
    for (size_t i = 0; i < n; i++) y[i] = swiglu_oai(gate[i], up[i]);
}

static void add_ref(const float *a, const float *b, float *y, size_t n)
{
    for (size_t i = 0; i < n; i++) y[i] = a[i] + b[i];
}

static void mul_f_ref(const float *a, const float *b, float *y, size_t n)
{
    for (size_t i = 0; i < n; i++) y[i] = a[i] * b[i];
}

static void scale_ref(const float *x, float s, float *y, size_t n)
{
    for (size_t i = 0; i < n; i++) y[i] = s * x[i];
}

static void add_scaled_ref(float *y, const float *x, float s, size_t n)
{
    for (size_t i = 0; i < n; i++) y[i] += s * x[i];
}

static void softcap_ref(const float *x, float cap, float *y, size_t n)
{
    for (size_t i = 0; i < n; i++) y[i] = cap * tanhf(x[i] / cap);
}

static void f32_to_f16_ref(const float *x, void *y, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const uint16_t h = ref_f32_to_f16(x[i]);
        memcpy((char *)y + 2 * i, &h, 2);
    }
}

/* ---- recurrences ----------------------------------------------------------------------------- */

static void gdn_step_ref(float *m, const float *q, const float *k, const float *v, float decay,
                         float beta, float scale, size_t n_key, size_t n_val, float *out,
                         float *tmp)
{
    for (size_t j = 0; j < n_val; j++) {
        double held = 0.0; /* what the state returns for this key */
        for (size_t i = 0; i < n_key; i++) {
            m[i * n_val + j] *= decay;
            held += (double)k[i] * (double)m[i * n_val + j];
        }
        tmp[j] = beta * (v[j] - (float)held);
        double sum = 0.0;
        for (size_t i = 0; i < n_key; i++) {
            m[i * n_val + j] += k[i] * tmp[j];
            sum += (double)q[i] * (double)m[i * n_val + j];
        }
        out[j] = scale * (float)sum;
    }
}

static void ssm_step_ref(float *h, const float *x, const float *b, const float *cc, float decay,
                         float dt, float skip, size_t n_chan, size_t n_state, float *out)
{
    for (size_t c = 0; c < n_chan; c++) {
        const float drive = dt * x[c];
        double sum = 0.0;
        for (size_t s = 0; s < n_state; s++) {
            float *state = &h[c * n_state + s];
            *state = *state * decay + drive * b[s];
            sum += (double)*state * (double)cc[s];
        }
        out[c] = (float)sum + skip * x[c];
    }
}

/* ---- the table ------------------------------------------------------------------------------- */

static void fill_mul(struct kern *k)
{
#define FILL(NAME, name, block, group, has_min)                                                    \
    k->mul[DT_##NAME] = mul_##name##_ref;                                                          \
    k->mul_x[DT_##NAME] = KX_Q8;                                                                   \
    k->to_f32[DT_##NAME] = ref_##name.to_f32;
    KERN_QUANT_TYPES(FILL)
#undef FILL
    k->mul[DT_F32] = mul_f32_ref;
    k->mul[DT_F16] = mul_f16_ref;
    k->mul[DT_BF16] = mul_bf16_ref;
    k->to_f32[DT_F32] = f32_to_f32_ref;
    k->to_f32[DT_F16] = f16_to_f32_ref;
    k->to_f32[DT_BF16] = bf16_to_f32_ref;
}

void kern_fill_ref(struct kern *k)
{
    fill_mul(k);
    kern_fill_ref_cols(k);
    kern_fill_ref_pv(k);
#define FILL(ACT, name)                                                                            \
    k->act[ACT] = act_##name##_ref;                                                                \
    k->glu[ACT] = glu_##name##_ref;
    FILL(ACT_SILU, silu)
    FILL(ACT_GELU, gelu)
    FILL(ACT_RELU, relu)
    FILL(ACT_RELU2, relu2)
    FILL(ACT_SIGMOID, sigmoid)
    FILL(ACT_SOFTPLUS, softplus)
#undef FILL
    k->glu[ACT_SWIGLU_OAI] = glu_swiglu_oai_ref;
    k->quant_q8 = quant_q8_ref;
    k->quant_q8_part = quant_q8_part_ref;
    k->exp_sum = exp_sum_ref;
    k->max = max_ref;
    k->sum_sq = sum_sq_ref;
    k->add = add_ref;
    k->mul_f = mul_f_ref;
    k->scale = scale_ref;
    k->add_scaled = add_scaled_ref;
    k->softcap = softcap_ref;
    k->f32_to_f16 = f32_to_f16_ref;
    k->gdn_step = gdn_step_ref;
    k->ssm_step = ssm_step_ref;
}
