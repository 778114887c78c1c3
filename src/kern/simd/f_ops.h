/*
 * f_ops.h: float kernels that are not products of matrices, for every instruction set.
 *
 * Elementwise kernels are one function of vectors each, mapped over the row; sums use the 16 lanes
 * of f_mul.h. exp, tanh and log1p are polynomials after a reduction, within 2 ulp of the true value
 * (minimax fits in float64, rounded); infinities and NaN come out as from libm. y may be x
 * everywhere.
 */
#ifndef KERN_SIMD_F_OPS_H
#define KERN_SIMD_F_OPS_H

#include "kern/simd/f_cols.h"
#include "kern/simd/f_mul.h"
#include "kern/simd/f_pv.h"
#include "quant/block.h"

#include <float.h>
#include <math.h>

/* ---- functions ------------------------------------------------------------------------------- */

/* 2^n p for n in -150 .. 128, in two factors: subnormals are rounded and overflow is infinity */
INLINE vf scale_by_power(vf p, vi n)
{
    const vi half = n >> 1;
    return p * (vf)((half + 127) << 23) * (vf)((n - half + 127) << 23);
}

/* x = n ln 2 + r, |r| <= ln 2 / 2; exp(r) - 1 - r by a polynomial. Below -104 the value is exactly
 * 0, above 89 infinity. */
INLINE vf vf_exp(vf x)
{
    x = vf_min(vf_set(89.0f), vf_max(vf_set(-104.0f), x));
    const vi power = vf_to_vi(x * 0x1.715476p+0f);
    const vf n = vi_to_vf(power);
    vf r = vf_fnma(n, vf_set(0x1.62e400p-1f), x); /* ln 2, high bits: n times it is exact */
    r = vf_fnma(n, vf_set(0x1.7f7d1cp-20f), r);   /* the rest of ln 2 */
    vf p = vf_fma(vf_set(0x1.6a2430p-10f), r, vf_set(0x1.1239e0p-7f));
    p = vf_fma(p, r, vf_set(0x1.5558f2p-5f));
    p = vf_fma(p, r, vf_set(0x1.555492p-3f));
    p = vf_fma(p, r, vf_set(0x1.fffffcp-2f));
    p = vf_fma(p * r, r, r) + 1.0f;
    return scale_by_power(p, power);
}

INLINE vf vf_abs(vf x)
{
    return (vf)((vi)x & INT32_MAX);
}

INLINE vf vf_sigmoid(vf x)
{
    return 1.0f / (1.0f + vf_exp(-x));
}

/* z + z^3 P(z^2) below 0.625, where 1 - 2 / (e^2z + 1) would cancel. */
INLINE vf vf_tanh(vf x)
{
    const vf z = vf_abs(x);
    const vf s = z * z;
    vf p = vf_fma(vf_set(-0x1.75e1eep-8f), s, vf_set(0x1.5226a4p-6f));
    p = vf_fma(p, s, vf_set(-0x1.b83c5cp-5f));
    p = vf_fma(p, s, vf_set(0x1.110726p-3f));
    p = vf_fma(p, s, vf_set(-0x1.555532p-2f));
    const vf small = vf_fma(p * s, z, z);
    const vf large = 1.0f - 2.0f / (vf_exp(z + z) + 1.0f);
    const vf t = vf_select((vi)(z < 0.625f), small, large);
    return (vf)((vi)t | ((vi)x & INT32_MIN));
}

/* log(1 + t) for t in 0 .. 1, from log((1 + s) / (1 - s)) with s = t / (2 + t) */
INLINE vf vf_log1p(vf t)
{
    const vf s = t / (2.0f + t);
    const vf u = s * s;
    vf p = vf_fma(vf_set(0x1.f172dcp-3f), u, vf_set(0x1.b6e6e8p-3f));
    p = vf_fma(p, u, vf_set(0x1.2508b0p-2f));
    p = vf_fma(p, u, vf_set(0x1.9996b0p-2f));
    p = vf_fma(p, u, vf_set(0x1.555558p-1f));
    return vf_fma(p * u, s, s + s);
}

/* x sigmoid(z) where z goes with x; x is kept finite below, since -infinity times 0 is NaN */
INLINE vf gated(vf x, vf z)
{
    return vf_max(vf_set(-FLT_MAX), x) * vf_sigmoid(z);
}

/* The functions take (a, b, s) so that one map serves all; most use a alone. */
INLINE vf op_silu(vf a, vf b, vf s)
{
    (void)b, (void)s;
    return gated(a, a);
}

/* x/2 (1 + tanh u) = x sigmoid(2u), u = sqrt(2/pi) (x + 0.044715 x^3) (Hendrycks & Gimpel 2016) */
INLINE vf op_gelu(vf a, vf b, vf s)
{
    (void)b, (void)s;
    const vf z = 1.5957691216057308f * a;
    return gated(a, z * vf_fma(0.044715f * a, a, vf_set(1.0f)));
}

INLINE vf op_relu(vf a, vf b, vf s)
{
    (void)b, (void)s;
    return vf_max(vf_set(0.0f), a);
}

INLINE vf op_relu2(vf a, vf b, vf s)
{
    const vf r = op_relu(a, b, s);
    return r * r;
}

INLINE vf op_sigmoid(vf a, vf b, vf s)
{
    (void)b, (void)s;
    return vf_sigmoid(a);
}

INLINE vf op_softplus(vf a, vf b, vf s)
{
    (void)b, (void)s;
    return vf_max(vf_set(0.0f), a) + vf_log1p(vf_exp(-vf_abs(a)));
}

#define ACTS(X)                                                                                    \
    X(ACT_SILU, silu)                                                                              \
    X(ACT_GELU, gelu)                                                                              \
    X(ACT_RELU, relu)                                                                              \
    X(ACT_RELU2, relu2)                                                                            \
    X(ACT_SIGMOID, sigmoid)                                                                        \
    X(ACT_SOFTPLUS, softplus)

#define GLU_OP(ACT, name)                                                                          \
    INLINE vf op_glu_##name(vf a, vf b, vf s)                                                      \
    {                                                                                              \
        return op_##name(a, b, s) * b;                                                             \
    }
ACTS(GLU_OP)

/* The gate of gpt-oss: clamped at 7, slope 1.702, and one is added to the clamped upper half. */
INLINE vf op_glu_swiglu_oai(vf a, vf b, vf s)
{
    (void)s;
    const vf g = vf_min(vf_set(7.0f), a);
    const vf u = vf_max(vf_set(-7.0f), vf_min(vf_set(7.0f), b));
    return gated(g, 1.702f * g) * (u + 1.0f);
}

INLINE vf op_add(vf a, vf b, vf s)
{
    (void)s;
    return a + b;
}

INLINE vf op_mul(vf a, vf b, vf s)
{
    (void)s;
    return a * b;
}

INLINE vf op_scale(vf a, vf b, vf s)
{
    (void)b;
    return a * s;
}

INLINE vf op_add_scaled(vf a, vf b, vf s)
{
    return vf_fma(a, s, b);
}

INLINE vf op_softcap(vf a, vf b, vf s)
{
    (void)b;
    return s * vf_tanh(a / s);
}

/* ---- maps ------------------------------------------------------------------------------------ */

INLINE void map(const float *a, const float *b, float *y, size_t n, float s,
                vf (*op)(vf a, vf b, vf s))
{
    const vf sv = vf_set(s);
    size_t i = 0;
    for (; i + V_LANES <= n; i += V_LANES) store_vf(y + i, op(load_vf(a + i), load_vf(b + i), sv));
    if (i == n) return;
    store_vf_part(y + i, op(load_vf_part(a + i, n - i), load_vf_part(b + i, n - i), sv), n - i);
}

#define ACT_KERNEL(ACT, name)                                                                      \
    static void act_##name(const float *x, float *y, size_t n)                                     \
    {                                                                                              \
        map(x, x, y, n, 0.0f, op_##name);                                                          \
    }
#define GLU_KERNEL(ACT, name)                                                                      \
    static void glu_##name(const float *gate, const float *up, float *y, size_t n)                 \
    {                                                                                              \
        map(gate, up, y, n, 0.0f, op_glu_##name);                                                  \
    }
ACTS(ACT_KERNEL)
ACTS(GLU_KERNEL)
GLU_KERNEL(ACT_SWIGLU_OAI, swiglu_oai)

static void row_add(const float *a, const float *b, float *y, size_t n)
{
    map(a, b, y, n, 0.0f, op_add);
}

static void row_mul_f(const float *a, const float *b, float *y, size_t n)
{
    map(a, b, y, n, 0.0f, op_mul);
}

static void row_scale(const float *x, float s, float *y, size_t n)
{
    map(x, x, y, n, s, op_scale);
}

static void row_add_scaled(float *y, const float *x, float s, size_t n)
{
    map(x, y, y, n, s, op_add_scaled);
}

static void row_softcap(const float *x, float cap, float *y, size_t n)
{
    map(x, x, y, n, cap, op_softcap);
}

#if V_STORES_F16
static void row_f32_to_f16(const float *x, void *y, size_t n)
{
    uint8_t *const dst = y;
    size_t i = 0;
    for (; i + V_LANES <= n; i += V_LANES) store_vf_f16(dst + 2 * i, load_vf(x + i));
    if (i == n) return;
    uint8_t part[2 * V_LANES];
    store_vf_f16(part, load_vf_part(x + i, n - i));
    __builtin_memcpy(dst + 2 * i, part, 2 * (n - i));
}
#endif

/* ---- reductions ------------------------------------------------------------------------------ */

static float row_dot(const float *a, const float *b, size_t n)
{
    float y = 0.0f;
    const struct f_src w = {(const uint8_t *)a, 0};
    const struct f_src x = {(const uint8_t *)b, 0};
    f_tile(w, x, n, 1, 1, ft_f32, &y, 0);
    return y;
}

static float row_sum_sq(const float *x, size_t n)
{
    return row_dot(x, x, n);
}

static float row_max(const float *x, size_t n)
{
    if (n < V_LANES) {
        float top = -INFINITY;
        for (size_t i = 0; i < n; i++) top = x[i] > top ? x[i] : top;
        return top;
    }
    vf tops = load_vf(x + n - V_LANES); /* overlaps: the maximum does not mind */
    for (size_t i = 0; i + V_LANES <= n; i += V_LANES) tops = vf_max(load_vf(x + i), tops);
    float top = tops[0];
    for (int i = 1; i < V_LANES; i++) top = tops[i] > top ? tops[i] : top;
    return top;
}

static float row_exp_sum(float *x, size_t n, float top)
{
    const vf sub = vf_set(top);
    vf sum[F_VECS] = {{0}};
    size_t i = 0;
    for (; i + 16 <= n; i += 16) {
        UNROLL(4)
        for (size_t v = 0; v < F_VECS; v++) {
            const vf e = vf_exp(load_vf(x + i + v * V_LANES) - sub);
            store_vf(x + i + v * V_LANES, e);
            sum[v] += e;
        }
    }
    for (size_t v = 0; i < n; v++) {
        const size_t m = n - i < V_LANES ? n - i : V_LANES;
        store_vf_part(x + i, vf_exp(load_vf_part(x + i, m) - sub), m);
        sum[v] += load_vf_part(x + i, m);
        i += m;
    }
    return fold16(sum);
}

/* ---- recurrences ----------------------------------------------------------------------------- */

/* One vector of values; n of its lanes exist. */
INLINE void gdn_lanes(float *m, const float *q, const float *k, const float *v, float decay,
                      float beta, float gain, size_t n_key, size_t n_val, float *out, size_t n)
{
    vf held = {0};
    for (size_t i = 0; i < n_key; i++) {
        const vf state = n == V_LANES ? load_vf(m + i * n_val) : load_vf_part(m + i * n_val, n);
        held = vf_fma(vf_set(k[i]), state * decay, held);
    }
    const vf value = n == V_LANES ? load_vf(v) : load_vf_part(v, n);
    const vf delta = beta * (value - held);
    vf sum = {0};
    for (size_t i = 0; i < n_key; i++) {
        float *const at = m + i * n_val;
        const vf old = n == V_LANES ? load_vf(at) : load_vf_part(at, n);
        const vf state = vf_fma(vf_set(k[i]), delta, old * decay);
        if (n == V_LANES)
            store_vf(at, state);
        else
            store_vf_part(at, state, n);
        sum = vf_fma(vf_set(q[i]), state, sum);
    }
    if (n == V_LANES)
        store_vf(out, gain * sum);
    else
        store_vf_part(out, gain * sum, n);
}

static void row_gdn_step(float *m, const float *q, const float *k, const float *v, float decay,
                         float beta, float gain, size_t n_key, size_t n_val, float *out, float *tmp)
{
    (void)tmp;
    size_t j = 0;
    for (; j + V_LANES <= n_val; j += V_LANES) {
        gdn_lanes(m + j, q, k, v + j, decay, beta, gain, n_key, n_val, out + j, V_LANES);
    }
    if (j < n_val)
        gdn_lanes(m + j, q, k, v + j, decay, beta, gain, n_key, n_val, out + j, n_val - j);
}

static void row_ssm_step(float *h, const float *x, const float *b, const float *cc, float decay,
                         float dt, float skip, size_t n_chan, size_t n_state, float *out)
{
    const vf keep = vf_set(decay);
    for (size_t c = 0; c < n_chan; c++) {
        float *const state = h + c * n_state;
        const vf drive = vf_set(dt * x[c]);
        size_t i = 0;
        for (; i + V_LANES <= n_state; i += V_LANES) {
            store_vf(state + i, vf_fma(drive, load_vf(b + i), keep * load_vf(state + i)));
        }
        if (i < n_state) {
            const size_t n = n_state - i;
            const vf old = load_vf_part(state + i, n);
            store_vf_part(state + i, vf_fma(drive, load_vf_part(b + i, n), keep * old), n);
        }
        out[c] = row_dot(state, cc, n_state) + skip * x[c];
    }
}

/* ---- activations to int8 --------------------------------------------------------------------- */

/* Groups g .. g + n - 1 of a row, n <= 4. */
INLINE void q8_groups(const float *x, char *row, size_t k, size_t g, size_t n)
{
    enum { N_VEC = 32 / V_LANES };
    s32x4 tops[4] = {{0}}, halves[8] = {{0}};
    UNROLL(4)
    for (size_t i = 0; i < n; i++) {
        vi top = {0};
        UNROLL(8)
        for (size_t j = 0; j < N_VEC; j++) /* as integers: NaN is largest */
            top = vi_max(top, (vi)load_vf(x + i * 32 + j * V_LANES) & INT32_MAX);
        tops[i] = fold_max(top);
    }
    const s32x4 top = maxes4(tops);
    const s32x4 is_wild = top >= 0x7f800000; /* infinity or NaN */
    const s32x4 is_some = ((f32x4)top >= ACT_Q8_TINY) & ~is_wild;
    const s32x4 nan = (s32x4)((f32x4){0} + NAN);
    const f32x4 d = (f32x4)(((s32x4)((f32x4)top / 127.0f) & is_some) | (nan & is_wild));
    const f32x4 gain = (f32x4)((s32x4)(127.0f / (f32x4)top) & is_some);
    UNROLL(4)
    for (size_t i = 0; i < n; i++) {
        vi q[N_VEC];
        UNROLL(8)
        for (size_t j = 0; j < N_VEC; j++)
            q[j] = vf_to_vi(load_vf(x + i * 32 + j * V_LANES) * gain[i]) & is_some[i];
        store_codes(row + (g + i) * 32, q);
        UNROLL(2)
        for (size_t h = 0; h < 2; h++) {
            vi sum = q[h * N_VEC / 2];
            UNROLL(4)
            for (size_t j = 1; j < N_VEC / 2; j++) sum += q[h * N_VEC / 2 + j];
            halves[2 * i + h] = fold_sum(sum);
        }
    }
    const s32x4 n16[2] = {sums4(halves), sums4(halves + 4)};
    const s32x4 n32 = pair_sums(n16[0], n16[1]);
    const f32x4 s32 = d * s32x4_to_f32(n32),
                start16[2] = {{d[0], d[0], d[1], d[1]}, {d[2], d[2], d[3], d[3]}};
    const f32x4 s16[2] = {start16[0] * s32x4_to_f32(n16[0]), start16[1] * s32x4_to_f32(n16[1])};
    const s32x4 z32 = -128 * n32, z16[2] = {-128 * n16[0], -128 * n16[1]};
    __builtin_memcpy(row + act_q8_d_at(k) + 4 * g, &d, 4 * n);
    __builtin_memcpy(row + act_q8_s32_at(k) + 4 * g, &s32, 4 * n);
    __builtin_memcpy(row + act_q8_n32_at(k) + 4 * g, &z32, 4 * n);
    __builtin_memcpy(row + act_q8_s16_at(k) + 8 * g, s16, 8 * n);
    __builtin_memcpy(row + act_q8_n16_at(k) + 8 * g, z16, 8 * n);
}

static void row_quant_q8_part(const float *x, size_t i0, size_t n, size_t k, void *row)
{
    size_t g = i0 / 32;
    const size_t g_end = g + n / 32;
    for (; g_end - g >= 4; g += 4, x += 4 * 32) q8_groups(x, row, k, g, 4);
    for (; g < g_end; g++, x += 32) q8_groups(x, row, k, g, 1);
}

static void row_quant_q8(const float *x, size_t k, void *row)
{
    row_quant_q8_part(x, 0, k, k, row);
}

INLINE void f_fill(struct kern *k)
{
    k->mul[DT_F32] = mul_f32;
    k->mul[DT_F16] = mul_f16;
    k->mul[DT_BF16] = mul_bf16;
    f_cols_fill(k);
    k->to_f32[DT_F16] = f16_to_f32;
    k->to_f32[DT_BF16] = bf16_to_f32;
    k->quant_q8 = row_quant_q8;
    k->quant_q8_part = row_quant_q8_part;
    f_pv_fill(k);
    k->exp_sum = row_exp_sum;
    k->max = row_max;
    k->sum_sq = row_sum_sq;
#define FILL_ACT(ACT, name) k->act[ACT] = act_##name;
#define FILL_GLU(ACT, name) k->glu[ACT] = glu_##name;
    ACTS(FILL_ACT)
    ACTS(FILL_GLU)
    FILL_GLU(ACT_SWIGLU_OAI, swiglu_oai)
#undef FILL_ACT
#undef FILL_GLU
    k->add = row_add;
    k->mul_f = row_mul_f;
    k->scale = row_scale;
    k->add_scaled = row_add_scaled;
    k->softcap = row_softcap;
#if V_STORES_F16
    k->f32_to_f16 = row_f32_to_f16;
#endif
    k->gdn_step = row_gdn_step;
    k->ssm_step = row_ssm_step;
}

#endif
