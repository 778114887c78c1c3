/*
 * kern.h: the compute kernels as one table of function pointers. Prototypes once, the reference
 * first (kern_ref.c), then one hook per instruction-set family replaces what it does better.
 *
 *     struct kern k;
 *     kern_init(&k, cpu_detect() & mask);
 *     k.mul[DT_Q4_K](&(struct kern_mul){.w = ..., ...});
 *
 * Contract
 *  - Kernels are pure, single-threaded and never fail; arguments are valid by assertion of the
 *    caller.
 *  - Pointers may have any alignment that their type allows, weights any alignment at all;
 *    activations and scratch are 64-byte aligned at row starts.
 *  - n == 0 is a no-op. Nothing is written outside the stated outputs.
 *  - Order of sums: an output element depends on its own row and column alone. mul computes
 *    y[c][r] with the same operations in the same order whatever n_row, n_col, and the position
 *    of r and c in the call: one column or a thousand give the same bits. The same holds for
 *    every other kernel per row. Between instruction-set levels results agree within the
 *    tolerances that tests/kern states; the integer sum of a block is exact at each level, and
 *    quantised products and quant_q8 have the reference's bits wherever fma exists (kern_impl.h).
 *  - No NaN trapping: NaN and infinity pass through as IEEE says; no input crashes a kernel.
 */
#ifndef KERN_KERN_H
#define KERN_KERN_H

#include "tensor/dtype.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum kern_act {
    ACT_SILU,
    ACT_GELU /* tanh form */,
    ACT_RELU,
    ACT_RELU2,
    ACT_SIGMOID,
    ACT_SOFTPLUS,
    ACT_SWIGLU_OAI,
    ACT_COUNT
};

/* What a weight type wants its activations to be. */
enum kern_x { KX_F32, KX_Q8 /* quant/block.h: act_q8 */ };

/* How many bytes ahead weights are fetched; 0: the CPU's own prefetchers do it better. */
struct kern_ahead {
    size_t few;  /* with so few columns that reading takes longer than multiplying */
    size_t full; /* with more */
};

struct kern_mul {  /* y[c * y_stride + r] = sum over k of w[r][k] * x[c][k] */
    const void *w; /* n_row rows of the kernel's type, w_stride bytes apart */
    size_t w_stride;
    size_t n_row;
    /* w is packed (kern/pack.h), from the first row of a tile on; w_stride is a row's bytes. n_row:
     * a multiple of PACK_ROWS, or, but for F32 and F16, up to the matrix' last row */
    bool is_packed;
    const void *x; /* n_col rows of k items, x_stride bytes apart: KX_F32 floats, KX_Q8 act_q8 */
    size_t x_stride;
    size_t n_col;
    size_t k; /* items; a multiple of the type's block */
    float *y;
    size_t y_stride;         /* floats */
    void *scratch;           /* kern_scratch_bytes(k), this thread's own */
    size_t row0;             /* mul_cols: the first row of the matrix that is wanted */
    struct kern_ahead ahead; /* packed weights that come from memory; zeros: they are in a cache */
};

struct kern {
    unsigned cpu;            /* the flags it was built for */
    struct kern_ahead ahead; /* that suits this CPU */

    /* ---- weights times activations; NULL for types that are not computable */
    /* Packed or not: the same bits; but floats that are packed are added in another order. */
    void (*mul[DT_COUNT])(const struct kern_mul *a);
    enum kern_x mul_x[DT_COUNT];
    /* The same products, bit for bit, from weights by columns (quant/block.h); those of inputs that
     * are 0 are not read. w is the whole matrix, w_stride its rows, padded; row0 is a multiple of
     * COLS_STEP. All weights are finite. NULL: the type has no such form. */
    void (*mul_cols[DT_COUNT])(const struct kern_mul *a);
    /* n items (multiple of the block) to float32, exact: bit for bit what ggml's to_float gives */
    void (*to_f32[DT_COUNT])(const void *src, float *dst, size_t n);
    void (*quant_q8)(const float *x, size_t k, void *row); /* one act_q8 row */
    /* Items [i0, i0 + n) of such a row from n floats; both are multiples of 32. Nothing else is
     * written: parts may come from several threads. */
    void (*quant_q8_part)(const float *x, size_t i0, size_t n, size_t k, void *row);

    /* ---- attention over one span of keys; see graph/ports.h for kv spans */
    /* out[c * out_stride + d] += sum over p < n_pos of prob[c * prob_stride + p] * v[p][d], by one
     * fma per position, rising, so that positions may come in several calls; v of type DT_F32,
     * DT_F16 or DT_Q8_0 (others NULL), v_stride bytes between positions */
    void (*add_pv[DT_COUNT])(const void *v, size_t v_stride, size_t n_pos, size_t n_dim,
                             const float *prob, size_t prob_stride, size_t n_col, float *out,
                             size_t out_stride);
    /* x[i] = exp(x[i] - max) for i < n; returns their sum in a fixed order. -INFINITY gives
     * exactly 0 */
    float (*exp_sum)(float *x, size_t n, float max);
    float (*max)(const float *x, size_t n); /* -INFINITY for n == 0 */

    /* ---- elementwise and reductions on rows of n floats */
    float (*sum_sq)(const float *x, size_t n);
    void (*act[ACT_COUNT])(const float *x, float *y, size_t n); /* y may be x. SWIGLU_OAI: NULL */
    void (*glu[ACT_COUNT])(const float *gate, const float *up, float *y,
                           size_t n); /* y = act(gate) * up; may alias */
    void (*add)(const float *a, const float *b, float *y, size_t n);
    void (*mul_f)(const float *a, const float *b, float *y, size_t n);
    void (*scale)(const float *x, float s, float *y, size_t n);
    void (*add_scaled)(float *y, const float *x, float s, size_t n); /* y += s * x */
    void (*softcap)(const float *x, float cap, float *y, size_t n);  /* cap * tanh(x / cap) */
    void (*f32_to_f16)(const float *x, void *y, size_t n);           /* round to nearest even */

    /* ---- one step of a recurrence for one head; state is updated in place */
    /* gated delta net (Yang et al. 2024, "Gated Delta Networks"): M is (n_key, n_val), row = one
     * key; M *= decay; d = beta * (v - k^T M); M += k d^T; out = scale * q^T M. tmp: n_val
     * floats */
    void (*gdn_step)(float *m, const float *q, const float *k, const float *v, float decay,
                     float beta, float scale, size_t n_key, size_t n_val, float *out, float *tmp);
    /* mamba2 (Dao & Gu 2024): h is (n_chan, n_state); h = h * decay + (dt * x[c]) * b^T; out[c]
     * = h[c] . cc + skip * x[c] */
    void (*ssm_step)(float *h, const float *x, const float *b, const float *cc, float decay,
                     float dt, float skip, size_t n_chan, size_t n_state, float *out);

    /* ---- the ceiling of quantised products */
    /* Makes n rounds of int8 products on registers alone and returns how many multiply-adds that
     * was. NULL: the level has no instruction for them. */
    uint64_t (*int8_peak)(uint64_t n);
};

/* Fill with the reference kernels, then let the hooks replace them up to the given flags. */
void kern_init(struct kern *k, unsigned cpu);
/* Scratch that mul needs for rows of k items: the same for every type and level. */
size_t kern_scratch_bytes(size_t k);

void kern_hook_x86(struct kern *k, unsigned cpu);
void kern_hook_arm(struct kern *k, unsigned cpu);

#endif
