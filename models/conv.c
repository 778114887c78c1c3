/*
 * conv.c: causal depthwise convolution with state, and LFM2's mixer that is built around it.
 *
 * [b | c | x] = in_proj h; out_proj(c * conv(b * x)): a gated short convolution (LFM2, Liquid AI
 * 2025). No bias, no activation. The state is the last n_tap - 1 columns that went into the
 * convolution.
 */
#include "models/decoder.h"
#include "models/model.h"

#include <assert.h>
#include <stdio.h>

struct gval conv_taps(struct model *m, struct graph *g, uint32_t il, const char *name,
                      struct gval x, uint32_t n_tap, bool silu)
{
    assert(n_tap >= 1);
    assert(n_tap <= CONV_TAPS_MAX);
    char full[TENSOR_NAME_BYTES_MAX];
    (void)snprintf(full, sizeof full, "%s.weight", name);
    const float *const w = model_table(m, g, il, full, n_tap, x.n);
    (void)snprintf(full, sizeof full, "%s.bias", name);
    const struct gconv spec = {
        .n_tap = n_tap,
        .w = w,
        .bias = model_vec_opt(m, g, il, full, x.n),
        .silu = silu,
        .state_at = g_state(g, (n_tap - 1) * x.n),
    };
    return g_conv(g, x, &spec);
}

struct gval conv_block(struct model *m, struct graph *g, uint32_t il, const struct layer_spec *s,
                       struct gval x)
{
    const uint32_t n = m->hp.n_embd;
    const struct gval bcx = decoder_mul(m, g, il, "shortconv.in_proj", x, 3 * n);
    const struct gval b = g_cols(g, bcx, 0, n), c = g_cols(g, bcx, n, n),
                      u = g_cols(g, bcx, 2 * n, n);
    const struct gval y =
        conv_taps(m, g, il, "shortconv.conv", g_mulv(g, b, u), s->recur.n_tap, false);
    return decoder_mul(m, g, il, "shortconv.out_proj", g_mulv(g, c, y), n);
}
