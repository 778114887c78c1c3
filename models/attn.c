/*
 * attn.c: softmax attention over the key/value cache (Vaswani et al. 2017), with one key/value head
 * for each group of query heads (GQA, Ainslie et al. 2023).
 *
 * Queries, keys and values come from three matrices or, where the file has attn_qkv, from the rows
 * of one: all q, all k, all v. Variants, each a field of struct attn_spec: norms of queries and
 * keys before rope, a gate on the result, sinks, a window, a score cap, values without a matrix,
 * another layer's cache.
 */
#include "models/decoder.h"
#include "models/model.h"

#include <math.h>

struct qkv {
    struct gval q, k, v; /* k and v are GVAL_NONE where another layer's cache is used */
};

static struct qkv project_fused(struct model *m, struct graph *g, uint32_t il, struct gval x,
                                uint32_t n_q, uint32_t n_k, uint32_t n_v)
{
    const struct gval y = decoder_mul(m, g, il, "attn_qkv", x, n_q + n_k + n_v);
    return (struct qkv){
        .q = g_cols(g, y, 0, n_q),
        .k = g_cols(g, y, n_q, n_k),
        .v = g_cols(g, y, n_q + n_k, n_v),
    };
}

static struct qkv project(struct model *m, struct graph *g, uint32_t il, const struct attn_spec *a,
                          struct gval x)
{
    const struct hparams *hp = &m->hp;
    const uint32_t n_q = hp->n_head[il] * a->dim_k * (a->gated ? 2 : 1);
    const uint32_t n_k = hp->n_head_kv[il] * a->dim_k;
    const uint32_t n_v = hp->n_head_kv[il] * a->dim_v;
    if (a->kv_shared)
        return (struct qkv){
            .q = decoder_mul(m, g, il, "attn_q", x, n_q), .k = GVAL_NONE, .v = GVAL_NONE};
    if (model_has(m, il, "attn_qkv.weight")) return project_fused(m, g, il, x, n_q, n_k, n_v);

    static const char *const biases[] = {"attn_q.bias", "attn_k.bias", "attn_v.bias"};
    static const char *const weights[] = {"attn_q", "attn_k", "attn_v"};
    const uint32_t n_out[] = {n_q, n_k, n_v};
    const uint32_t n = a->v_is_k ? 2 : 3;
    const struct tensor *w[3] = {0};
    const float *b[3] = {0};
    struct gval y[3];
    for (uint32_t i = 0; i < n; i++) {
        w[i] = model_weight(m, g, il, weights[i], x.n, n_out[i], 1);
        b[i] = model_vec_opt(m, g, il, biases[i], n_out[i]);
    }
    g_mul_many(g, x, n, w, b, y);
    return (struct qkv){.q = y[0], .k = y[1], .v = a->v_is_k ? y[1] : y[2]};
}

/* The norm of all queries or all keys. */
static struct gval head_norm(struct model *m, struct graph *g, uint32_t il, enum qk_norm kind,
                             const char *name, struct gval x, uint32_t dim)
{
    if (kind == QK_NORM_NONE) return x;
    return decoder_norm(m, g, il, name, x, kind == QK_NORM_FULL ? x.n : dim);
}

/* Norm and rotate the new keys, and put them and their values into the cache. */
static void store(struct model *m, struct graph *g, uint32_t il, const struct layer_spec *s,
                  uint32_t table, struct qkv p)
{
    const struct attn_spec *a = &s->attn;
    /* A norm makes a new value, so that values which are the raw keys stay raw when the keys are
     * rotated. */
    const struct gval v = a->v_norm ? g_rmsnorm(g, p.v, NULL, NULL, a->dim_v, m->hp.eps) : p.v;
    const struct gval k = head_norm(m, g, il, a->qk_norm, "attn_k_norm", p.k, a->dim_k);
    if (!s->rope.off) g_rope(g, k, table, a->dim_k, 0, s->rope.pair);
    const struct kv_shape shape = {
        .n_head_kv = m->hp.n_head_kv[il], .dim_k = a->dim_k, .dim_v = a->dim_v};
    g_kv(g, k, v, &shape);
}

struct gval attn_block(struct model *m, struct graph *g, uint32_t il, const struct layer_spec *s,
                       struct gval x)
{
    const struct attn_spec *a = &s->attn;
    const uint32_t n_head = m->hp.n_head[il];
    const uint32_t table = s->rope.off ? 0 : rope_table(m, g, &s->rope);
    const struct qkv p = project(m, g, il, a, x);
    if (!a->kv_shared) store(m, g, il, s, table, p);

    struct gval q = p.q, gate = GVAL_NONE;
    if (a->gated) {
        q = g_pick(g, p.q, n_head, 0, 2 * a->dim_k, a->dim_k);
        gate = g_pick(g, p.q, n_head, a->dim_k, 2 * a->dim_k, a->dim_k);
    }
    q = head_norm(m, g, il, a->qk_norm, "attn_q_norm", q, a->dim_k);
    if (!s->rope.off) g_rope(g, q, table, a->dim_k, 0, s->rope.pair);

    const struct gattn spec = {
        .n_head = n_head,
        .n_head_kv = m->hp.n_head_kv[a->kv_layer],
        .dim_k = a->dim_k,
        .dim_v = a->dim_v,
        .kv_layer = a->kv_layer,
        .window = a->window,
        .scale = a->scale != 0.0f ? a->scale : 1.0f / sqrtf((float)a->dim_k),
        .softcap = a->softcap,
        .sinks = a->sinks ? model_vec(m, g, il, "attn_sinks.weight", n_head) : NULL,
        .temp_scale = a->temp_scale,
        .temp_len = a->temp_len,
    };
    struct gval y = g_attn(g, q, &spec);
    if (a->gated) y = g_glu(g, GACT_SIGMOID, gate, y);
    return decoder_mul(m, g, il, "attn_output", y, m->hp.n_embd);
}
