/*
 * mamba2.c: Mamba 2 (Dao & Gu 2024, "Transformers are SSMs", arXiv 2405.21060) as Granite 4.0-H
 * uses it.
 *
 * [z | x | B | C | dt] = ssm_in h; x, B and C go through a short causal convolution with bias and
 * SiLU; per head h = h exp(dt A) + dt x B^T, y = C h + D x with dt = softplus(dt + bias) and A
 * stored negative. The result is first multiplied by silu(z), then normed in n_group groups of
 * channels, each with weights of its own.
 */
#include "models/decoder.h"
#include "models/model.h"

struct gval mamba2_block(struct model *m, struct graph *g, uint32_t il, const struct layer_spec *s,
                         struct gval x)
{
    const struct recur_spec *r = &s->recur;
    const uint32_t n_inner = r->n_head * r->dim, n_bc = r->n_group * r->n_state;
    const uint32_t n_conv = n_inner + 2 * n_bc;

    const struct gval in = decoder_mul(m, g, il, "ssm_in", x, n_inner + n_conv + r->n_head);
    const struct gval z = g_cols(g, in, 0, n_inner);
    const struct gval dt = g_cols(g, in, n_inner + n_conv, r->n_head);
    const struct gval xbc =
        conv_taps(m, g, il, "ssm_conv1d", g_cols(g, in, n_inner, n_conv), r->n_tap, true);
    const struct gssm spec = {
        .n_head = r->n_head,
        .n_group = r->n_group,
        .dim = r->dim,
        .n_state = r->n_state,
        .a = model_vec(m, g, il, "ssm_a", r->n_head),
        .d = model_vec(m, g, il, "ssm_d", r->n_head),
        .dt_bias = model_vec(m, g, il, "ssm_dt.bias", r->n_head),
        .state_at = g_state(g, n_inner * r->n_state),
    };
    const struct gval y = g_ssm(g, g_cols(g, xbc, 0, n_inner), g_cols(g, xbc, n_inner, n_bc),
                                g_cols(g, xbc, n_inner + n_bc, n_bc), dt, &spec);
    const uint32_t dim_norm = n_inner / r->n_group;
    const float *const w = model_table(m, g, il, "ssm_norm.weight", dim_norm, r->n_group);
    const struct gval h = g_rmsnorm_groups(g, g_glu(g, GACT_SILU, z, y), w, dim_norm, m->hp.eps);
    return decoder_mul(m, g, il, "ssm_out", h, m->hp.n_embd);
}
