/*
 * gdn.c: gated delta net (Yang et al. 2024, "Gated Delta Networks", arXiv 2412.06464) as Qwen3-Next
 * uses it.
 *
 * [q | k | v] goes through a short causal convolution and SiLU; q and k are normed to length 1 per
 * head; each value head keeps a (key x value) matrix that decays, is corrected towards v at k, and
 * is read at q. The result is normed per head, multiplied by silu(z) and projected.
 *
 * Projections come from separate tensors (attn_qkv, attn_gate; ssm_beta, ssm_alpha) or, in older
 * files, interleaved by key head: ssm_in = per key head [q | k | its values v | their z], ssm_ba =
 * per key head [beta | alpha].
 */
#include "models/decoder.h"
#include "models/model.h"

struct gdn_in {
    struct gval qkv; /* [q of all key heads | k of all | v of all value heads] */
    struct gval z;   /* (n_head * dim) */
};

static struct gdn_in project_interleaved(struct model *m, struct graph *g, uint32_t il,
                                         const struct recur_spec *r, struct gval x)
{
    const uint32_t n_qk = r->n_group * r->dim, n_v = r->n_head * r->dim;
    const uint32_t dim_v = n_v / r->n_group; /* values of one key head */
    const uint32_t step = 2 * r->dim + 2 * dim_v;
    const struct gval y = decoder_mul(m, g, il, "ssm_in", x, r->n_group * step);
    const struct gval qkv = g_new(g, 2 * n_qk + n_v);
    g_place(g, qkv, g_pick(g, y, r->n_group, 0, step, r->dim), 1, 0, n_qk, n_qk);
    g_place(g, qkv, g_pick(g, y, r->n_group, r->dim, step, r->dim), 1, n_qk, n_qk, n_qk);
    g_place(g, qkv, g_pick(g, y, r->n_group, 2 * r->dim, step, dim_v), 1, 2 * n_qk, n_v, n_v);
    return (struct gdn_in){.qkv = qkv,
                           .z = g_pick(g, y, r->n_group, 2 * r->dim + dim_v, step, dim_v)};
}

static struct gdn_in project(struct model *m, struct graph *g, uint32_t il,
                             const struct recur_spec *r, struct gval x)
{
    if (model_has(m, il, "ssm_in.weight")) return project_interleaved(m, g, il, r, x);
    const uint32_t n_qk = r->n_group * r->dim, n_v = r->n_head * r->dim;
    return (struct gdn_in){
        .qkv = decoder_mul(m, g, il, "attn_qkv", x, 2 * n_qk + n_v),
        .z = decoder_mul(m, g, il, "attn_gate", x, n_v),
    };
}

/* [beta of all value heads | alpha of all] */
static struct gval beta_alpha(struct model *m, struct graph *g, uint32_t il,
                              const struct recur_spec *r, struct gval x)
{
    const uint32_t n = r->n_head;
    struct gval beta, alpha;
    if (model_has(m, il, "ssm_ba.weight")) {
        const uint32_t n_each = n / r->n_group;
        const struct gval ba = decoder_mul(m, g, il, "ssm_ba", x, 2 * n);
        beta = g_pick(g, ba, r->n_group, 0, 2 * n_each, n_each);
        alpha = g_pick(g, ba, r->n_group, n_each, 2 * n_each, n_each);
    } else {
        beta = decoder_mul(m, g, il, "ssm_beta", x, n);
        alpha = decoder_mul(m, g, il, "ssm_alpha", x, n);
    }
    const struct gval both = g_new(g, 2 * n);
    g_place(g, both, beta, 1, 0, n, n);
    g_place(g, both, alpha, 1, n, n, n);
    return both;
}

struct gval gdn_block(struct model *m, struct graph *g, uint32_t il, const struct layer_spec *s,
                      struct gval x)
{
    const struct recur_spec *r = &s->recur;
    const uint32_t n_qk = r->n_group * r->dim, n_v = r->n_head * r->dim;
    const float eps = m->hp.eps;
    const struct gdn_in in = project(m, g, il, r, x);
    const struct gval ba = beta_alpha(m, g, il, r, x);

    const struct gval qkv = conv_taps(m, g, il, "ssm_conv1d", in.qkv, r->n_tap, true);
    const struct gval q = g_l2norm(g, g_cols(g, qkv, 0, n_qk), r->dim, eps);
    const struct gval k = g_l2norm(g, g_cols(g, qkv, n_qk, n_qk), r->dim, eps);
    const struct gval v = g_cols(g, qkv, 2 * n_qk, n_v);
    const struct ggdn spec = {
        .n_head = r->n_head,
        .n_head_k = r->n_group,
        .dim = r->dim,
        .tiled = r->tiled,
        .a = model_vec(m, g, il, "ssm_a", r->n_head),
        .dt_bias = model_vec(m, g, il, "ssm_dt.bias", r->n_head),
        .state_at = g_state(g, r->n_head * r->dim * r->dim),
    };
    const struct gval y = decoder_norm(m, g, il, "ssm_norm", g_gdn(g, q, k, v, ba, &spec), r->dim);
    return decoder_mul(m, g, il, "ssm_out", g_glu(g, GACT_SILU, in.z, y), m->hp.n_embd);
}
