/*
 * gemma4.c: Gemma 4 (Google 2026): dense, with experts, and with per-layer embeddings.
 *
 * Attention: scale 1 (the norms of q and k carry it); values are normed per head without weights,
 * and where a layer has no attn_v they are the raw keys. Layers with a window have heads, rope and
 * base of their own; layers that see everything rotate by rope_freqs, which stops a part of the
 * pairs. The last shared_kv_layers layers have no keys and values: they use the cache of the last
 * earlier layer of their kind.
 *
 * Layers with experts run the dense block beside them on the same residual:
 * post_ffw_norm_1(dense(ffn_norm x)) + post_ffw_norm_2(experts(pre_ffw_norm_2 x)). The router sees
 * rms(x) / sqrt(n_embd) * ffn_gate_inp.scale.
 *
 * Per-layer embeddings: each token has a short row for each layer, mixed with a projection of its
 * embedding; after the feed-forward part x += post_norm(proj(gelu(inp_gate x) * row)). Last, x is
 * multiplied by layer_output_scale.
 */
#include "models/arch.h"
#include "models/hparams.h"

#include <math.h>

struct gemma4 {
    uint32_t window;
    bool windowed[LAYERS_MAX];
    uint32_t kv_layer[LAYERS_MAX]; /* whose cache a layer uses */
    uint32_t local_dim_k, local_dim_v, local_n_rot;
    float local_base;
    float logit_cap;
    uint32_t n_side; /* width of a per-layer embedding; 0: none */
};

static void read_local(struct model *m, struct gemma4 *q)
{
    q->local_dim_k = m->hp.dim_k;
    q->local_dim_v = m->hp.dim_v;
    q->local_base = 10000.0f;
    model_u32(m, "attention.sliding_window", KEY_REQUIRED, 1, CTX_MAX, &q->window);
    model_u32(m, "attention.key_length_swa", KEY_OPTIONAL, 1, HEAD_DIM_MAX, &q->local_dim_k);
    model_u32(m, "attention.value_length_swa", KEY_OPTIONAL, 1, HEAD_DIM_MAX, &q->local_dim_v);
    q->local_n_rot = q->local_dim_k;
    model_u32(m, "rope.dimension_count_swa", KEY_OPTIONAL, 2, HEAD_DIM_MAX, &q->local_n_rot);
    if (q->local_n_rot % 2 || q->local_n_rot > q->local_dim_k)
        model_refuse(m, "rope.dimension_count_swa", q->local_n_rot,
                     "an even number up to attention.key_length_swa (%u)", q->local_dim_k);
    hparams_rope_base(m, "rope.freq_base_swa", &q->local_base);
}

/* Finds the cache of each layer: its own, or for the last n_shared layers that of the last one
 * before them alike. */
static void share_caches(struct model *m, struct gemma4 *q)
{
    const uint32_t n_layer = m->hp.n_layer;
    uint32_t n_shared = 0;
    model_u32(m, "attention.shared_kv_layers", KEY_OPTIONAL, 0, n_layer - 1, &n_shared);
    const uint32_t n_own = n_layer - n_shared;
    for (uint32_t il = 0; il < n_layer; il++) {
        uint32_t from = il < n_own ? il : n_own - 1;
        while (from > 0 && q->windowed[from] != q->windowed[il]) from--;
        if (q->windowed[from] != q->windowed[il])
            model_refuse(m, "attention.shared_kv_layers", n_shared,
                         "a number that leaves layer %u one of its kind to share with", il);
        q->kv_layer[il] = from;
    }
}

static void read_keys(struct model *m)
{
    struct gemma4 *q = model_own(m, sizeof *q);
    if (!q) return;
    read_local(m, q);
    if (!model_has_key(m, "attention.sliding_window_pattern"))
        model_refuse(m, "attention.sliding_window_pattern", 0, "an array that has each layer");
    hparams_windows(m, 1, q->windowed);
    share_caches(m, q);
    hparams_cap(m, "final_logit_softcapping", &q->logit_cap);
    model_u32(m, "embedding_length_per_layer_input", KEY_OPTIONAL, 0, DIM_MAX / m->hp.n_layer,
              &q->n_side);
}

/* The per-layer embeddings of all layers, (n_layer * n_side). */
static struct gval side(struct model *m, struct graph *g, struct gval x)
{
    const struct gemma4 *q = m->own;
    const uint32_t n = q->n_side, n_all = n * m->hp.n_layer;
    const struct tensor *const w =
        model_weight(m, g, GLAYER_NONE, "per_layer_token_embd", n_all, m->hp.n_vocab, 1);
    const struct gval rows = g_embed(g, w, sqrtf((float)n));
    const struct gval proj = decoder_mul(m, g, GLAYER_NONE, "per_layer_model_proj", x, n_all);
    const struct gval scaled = g_scale(g, proj, 1.0f / sqrtf((float)m->hp.n_embd));
    const struct gval normed = decoder_norm(m, g, GLAYER_NONE, "per_layer_proj_norm", scaled, n);
    return g_scale(g, g_add(g, rows, normed), 1.0f / sqrtf(2.0f));
}

static struct gval finish(struct model *m, struct graph *g, uint32_t il, struct gval x,
                          struct gval all_side)
{
    const uint32_t n = ((const struct gemma4 *)m->own)->n_side;
    if (n) {
        const struct gval gate = decoder_mul(m, g, il, "inp_gate", x, n);
        const struct gval h = g_glu(g, GACT_GELU, gate, g_cols(g, all_side, il * n, n));
        const struct gval y = decoder_mul(m, g, il, "proj", h, m->hp.n_embd);
        x = g_add(g, x, decoder_norm(m, g, il, "post_norm", y, m->hp.n_embd));
    }
    const float *const scale = model_vec_opt(m, g, il, "layer_output_scale.weight", 1);
    return scale ? g_scale_vec(g, x, 1.0f, scale, 1) : x;
}

static struct gval router_input(struct model *m, struct graph *g, uint32_t il, struct gval x)
{
    const uint32_t n = m->hp.n_embd;
    const float *const scale = model_vec(m, g, il, "ffn_gate_inp.scale", n);
    return g_scale_vec(g, g_rmsnorm(g, x, NULL, NULL, n, m->hp.eps), 1.0f / sqrtf((float)n), scale,
                       n);
}

/* The dense block and the experts side by side. */
static struct gval ffn_beside_moe(struct model *m, struct graph *g, uint32_t il,
                                  const struct layer_spec *s, struct gval x)
{
    const uint32_t n = m->hp.n_embd;
    const struct gval dense =
        ffn_block(m, g, il, &s->ffn, "", m->hp.n_ff[il], decoder_norm(m, g, il, "ffn_norm", x, n));
    g_reduce(g, dense);
    const struct gval routed =
        moe_block(m, g, il, &s->ffn, decoder_norm(m, g, il, "pre_ffw_norm_2", x, n),
                  router_input(m, g, il, x));
    g_reduce(g, routed);
    return g_add(g, decoder_norm(m, g, il, "post_ffw_norm_1", dense, n),
                 decoder_norm(m, g, il, "post_ffw_norm_2", routed, n));
}

static void decoder(const struct model *m, struct decoder_spec *d)
{
    const struct gemma4 *q = m->own;
    d->embed_scale = sqrtf((float)m->hp.n_embd);
    d->logit_softcap = q->logit_cap;
    d->side = q->n_side ? side : NULL;
}

static void layer(const struct model *m, uint32_t il, struct layer_spec *s)
{
    const struct gemma4 *q = m->own;
    s->rope.pair = GROPE_NEOX;
    s->attn.scale = 1.0f;
    s->attn.qk_norm = QK_NORM_HEAD;
    s->attn.v_norm = true;
    s->attn.v_is_k = !model_has(m, il, "attn_v.weight");
    s->attn.kv_layer = q->kv_layer[il];
    s->attn.kv_shared = q->kv_layer[il] != il;
    if (q->windowed[il]) {
        s->attn.window = q->window;
        s->attn.dim_k = q->local_dim_k;
        s->attn.dim_v = q->local_dim_v;
        s->rope.n_rot = q->local_n_rot;
        s->rope.base = q->local_base;
        s->rope.unscaled = true;
    }
    s->mixer_post_norm = "post_attention_norm";
    s->ffn_post_norm = "post_ffw_norm";
    s->ffn.act = GACT_GELU;
    s->ffn.is_moe = model_has(m, il, "ffn_gate_inp.weight");
    s->ffn.moe.renormalise = true;
    if (s->ffn.is_moe) s->ffn_own = ffn_beside_moe;
    s->finish = finish;
}

const struct arch arch_gemma4 = {
    .name = "gemma4", .read = read_keys, .decoder = decoder, .layer = layer};
