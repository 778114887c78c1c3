/*
 * decoder.c: the one decoder loop, driven by the specs of a family, and the check of those specs.
 *
 * g_reduce() stands after each mixer and each feed-forward output: there every rank of a cluster
 * holds a part of the sum. It comes before post norms, which need the whole.
 */
#include "models/decoder.h"

#include "models/arch.h"
#include "models/model.h"

#include <assert.h>
#include <stdio.h>

typedef struct gval mixer_fn(struct model *m, struct graph *g, uint32_t il,
                             const struct layer_spec *s, struct gval x);

static mixer_fn *const mixers[] = {
    [MIX_ATTN] = attn_block, [MIX_MLA] = mla_block,       [MIX_CONV] = conv_block,
    [MIX_GDN] = gdn_block,   [MIX_MAMBA2] = mamba2_block,
};

/* The family's description of a layer with its defaults filled in. */
static struct layer_spec spec_of(const struct model *m, uint32_t il)
{
    const struct hparams *hp = &m->hp;
    struct layer_spec s = {0};
    if (m->arch->layer) m->arch->layer(m, il, &s);
    if (!s.mixer_norm) s.mixer_norm = "attn_norm";
    if (!s.ffn_norm) s.ffn_norm = "ffn_norm";
    if (s.residual_scale == 0.0f) s.residual_scale = 1.0f;
    if (!s.attn.kv_shared) s.attn.kv_layer = il;
    if (!s.attn.dim_k) s.attn.dim_k = hp->dim_k;
    if (!s.attn.dim_v) s.attn.dim_v = hp->dim_v;
    if (!s.rope.n_rot) s.rope.n_rot = hp->n_rot;
    if (s.rope.base == 0.0f) s.rope.base = hp->rope_base;
    if (!s.ffn.moe.gating) s.ffn.moe.gating = GMOE_SOFTMAX;
    if (s.ffn.moe.scale == 0.0f) s.ffn.moe.scale = 1.0f;
    if (!s.ffn.moe.n_ff) s.ffn.moe.n_ff = hp->n_ff_exp;
    if (!s.ffn.moe.n_ff_shared) s.ffn.moe.n_ff_shared = hp->n_ff_shexp;
    return s;
}

/* ---- check ----------------------------------------------------------------------------------- */

static void check_attn(struct model *m, uint32_t il, const struct layer_spec *s)
{
    const struct attn_spec *a = &s->attn;
    assert(a->kv_layer <= il);
    const uint32_t n_head = m->hp.n_head[il], n_head_kv = m->hp.n_head_kv[a->kv_layer];
    if (s->mixer == MIX_ATTN && (n_head_kv == 0 || n_head % n_head_kv))
        model_refuse(m, "attention.head_count_kv", n_head_kv,
                     "a divisor of head_count (%u in layer %u)", n_head, il);
    if (a->v_is_k && a->dim_v != a->dim_k)
        model_refuse(m, "attention.value_length", a->dim_v,
                     "%u, a key's, in layer %u, whose values are the keys", a->dim_k, il);
    /* In MLA a part of each key head must be left for what is not rotated. */
    const uint32_t n_rot_max = s->mixer == MIX_MLA ? a->dim_k - 1 : a->dim_k;
    const uint32_t n_rot = s->rope.n_rot;
    if (!s->rope.off && (n_rot < 2 || n_rot % 2 || n_rot > n_rot_max))
        model_refuse(m, "rope.dimension_count", n_rot, "an even number from 2 to %u", n_rot_max);
    if (s->mixer == MIX_MLA && (a->kv_rank == 0 || a->kv_rank > HEAD_DIM_MAX - n_rot))
        model_refuse(m, "attention.kv_lora_rank", a->kv_rank, "1 to %u", HEAD_DIM_MAX - n_rot);
}

static void check_groups(struct model *m)
{
    const struct hparams *hp = &m->hp;
    const uint32_t n_group = hp->n_expert_group, n_used = hp->n_expert_group_used;
    if (n_group <= 1) return;
    /* A group is judged by its two best experts. */
    const uint32_t n_each = hp->n_expert / n_group;
    if (hp->n_expert % n_group || n_each < 2)
        model_refuse(m, "expert_group_count", n_group,
                     "a divisor of expert_count (%u) that leaves two or more", hp->n_expert);
    if (n_used == 0 || n_used > n_group || n_used * n_each < hp->n_expert_used)
        model_refuse(m, "expert_group_used_count", n_used,
                     "at most expert_group_count (%u), with room for expert_used_count (%u)",
                     n_group, hp->n_expert_used);
}

static void check_moe(struct model *m, uint32_t il, const struct moe_spec *s)
{
    const char *const key = m->hp.n_ff[il] ? "expert_feed_forward_length" : "feed_forward_length";
    if (m->hp.n_expert == 0) model_refuse(m, "expert_count", 0, "1 to %u", EXPERTS_MAX);
    if (s->n_ff == 0 || s->n_ff > DIM_MAX) model_refuse(m, key, s->n_ff, "1 to %u", DIM_MAX);
    if (s->shared && (s->n_ff_shared == 0 || s->n_ff_shared > DIM_MAX))
        model_refuse(m, "expert_shared_feed_forward_length", s->n_ff_shared, "1 to %u", DIM_MAX);
    check_groups(m);
}

void decoder_check(struct model *m)
{
    for (uint32_t il = 0; il < m->hp.n_layer && !m->err; il++) {
        const struct layer_spec s = spec_of(m, il);
        if (s.mixer == MIX_ATTN || s.mixer == MIX_MLA) check_attn(m, il, &s);
        if (s.ffn.is_moe) check_moe(m, il, &s.ffn.moe);
        if ((!s.ffn.is_moe || s.ffn_own) && m->hp.n_ff[il] == 0)
            model_refuse(m, "feed_forward_length", 0, "1 to %u in layer %u", DIM_MAX, il);
    }
}

/* ---- build ----------------------------------------------------------------------------------- */

struct gval decoder_norm(struct model *m, struct graph *g, uint32_t il, const char *name,
                         struct gval x, uint32_t dim)
{
    char full[TENSOR_NAME_BYTES_MAX];
    (void)snprintf(full, sizeof full, "%s.weight", name);
    const float *const w = model_vec(m, g, il, full, dim);
    (void)snprintf(full, sizeof full, "%s.bias", name);
    const float *const b = model_vec_opt(m, g, il, full, dim);
    return g_rmsnorm(g, x, w, b, dim, m->hp.eps);
}

struct gval decoder_mul(struct model *m, struct graph *g, uint32_t il, const char *name,
                        struct gval x, uint32_t n_out)
{
    const struct tensor *const w = model_weight(m, g, il, name, x.n, n_out, 1);
    char full[TENSOR_NAME_BYTES_MAX];
    (void)snprintf(full, sizeof full, "%s.bias", name);
    return g_mul(g, w, x, model_vec_opt(m, g, il, full, n_out));
}

/* The feed-forward part with its norm. x: the residual stream, x_in: as it entered the layer. */
static struct gval feed_forward(struct model *m, struct graph *g, uint32_t il,
                                const struct layer_spec *s, struct gval x, struct gval x_in)
{
    if (s->ffn_own) return s->ffn_own(m, g, il, s, x);
    const struct gval h = decoder_norm(m, g, il, s->ffn_norm, x, m->hp.n_embd);
    const struct gval y = s->ffn.is_moe
                              ? moe_block(m, g, il, &s->ffn, h, s->ffn.moe.router_raw ? x_in : h)
                              : ffn_block(m, g, il, &s->ffn, "", m->hp.n_ff[il], h);
    g_reduce(g, y);
    return y;
}

static struct gval layer(struct model *m, struct graph *g, uint32_t il, struct gval x,
                         struct gval side)
{
    const struct layer_spec s = spec_of(m, il);
    const uint32_t n_embd = m->hp.n_embd;
    const struct gval x_in = x;

    const struct gval h = decoder_norm(m, g, il, s.mixer_norm, x, n_embd);
    struct gval y = mixers[s.mixer](m, g, il, &s, h);
    g_reduce(g, y);
    if (s.mixer_post_norm) y = decoder_norm(m, g, il, s.mixer_post_norm, y, n_embd);
    x = g_add_scaled(g, x, y, s.residual_scale);

    y = feed_forward(m, g, il, &s, x, x_in);
    if (s.ffn_post_norm) y = decoder_norm(m, g, il, s.ffn_post_norm, y, n_embd);
    x = g_add_scaled(g, x, y, s.residual_scale);
    return s.finish ? s.finish(m, g, il, x, side) : x;
}

static struct gval head(struct model *m, struct graph *g, const struct decoder_spec *d,
                        struct gval x)
{
    const struct hparams *hp = &m->hp;
    x = decoder_norm(m, g, GLAYER_NONE, d->final_norm ? d->final_norm : "output_norm", x,
                     hp->n_embd);
    const bool tied = !model_has(m, GLAYER_NONE, "output.weight");
    const struct tensor *const w =
        model_weight(m, g, GLAYER_NONE, tied ? "token_embd" : "output", hp->n_embd, hp->n_vocab, 1);
    x = g_mul(g, w, x, model_vec_opt(m, g, GLAYER_NONE, "output.bias", hp->n_vocab));
    if (d->logit_divisor != 0.0f) x = g_scale(g, x, 1.0f / d->logit_divisor);
    if (d->logit_softcap != 0.0f) x = g_softcap(g, x, d->logit_softcap);
    return x;
}

struct gval decoder_build(struct model *m, struct graph *g)
{
    const struct hparams *hp = &m->hp;
    struct decoder_spec d = {0};
    if (m->arch->decoder) m->arch->decoder(m, &d);

    const struct tensor *const embd =
        model_weight(m, g, GLAYER_NONE, "token_embd", hp->n_embd, hp->n_vocab, 1);
    struct gval x = g_embed(g, embd, d.embed_scale == 0.0f ? 1.0f : d.embed_scale);
    const struct gval side = d.side ? d.side(m, g, x) : GVAL_NONE;
    for (uint32_t il = 0; il < hp->n_layer; il++) {
        g->layer = il;
        x = layer(m, g, il, x, side);
    }
    g->layer = GLAYER_NONE;
    return head(m, g, &d, g_out_rows(g, x));
}
