/*
 * mla.c: multi-head latent attention (DeepSeek-V2, arXiv 2405.04434), in its absorbed form in
 * prefill and decode.
 *
 * Keys and values of all heads come from one latent row c of kv_rank numbers: k_h = [K_h c |
 * k_rope], v_h = V_h c. Because q . K_h c = (K_h^T q) . c, each query's unrotated part is moved
 * into the latent space instead, so that the cache holds one row [c | k_rope] per position, which
 * is key (whole) and value (its first kv_rank numbers) of every head at once; V_h is applied to the
 * attended latent. One form for any batch keeps results independent of how a prompt is cut.
 *
 * Files have K and V apart (attn_k_b, stored per head transposed for this very purpose, and
 * attn_v_b) or, older, together in attn_kv_b: per head the rows of K, then the rows of V. Queries
 * come from attn_q, or through a latent of their own: attn_q_a, attn_q_a_norm, attn_q_b.
 */
#include "models/decoder.h"
#include "models/model.h"

#include <assert.h>
#include <math.h>

struct mla {
    const struct layer_spec *s;
    uint32_t n_head;
    uint32_t dim_nope, n_rot, dim_v; /* of a head */
    uint32_t rank;                   /* of the latent row */
    uint32_t table;                  /* of rope */
};

struct mla_weights {
    struct tensor k, v; /* (.., .., n_head) */
    bool k_transposed;  /* k's rows are K's rows, so its transpose has to be applied */
};

static struct gval queries(struct model *m, struct graph *g, uint32_t il, const struct mla *a,
                           struct gval x)
{
    const uint32_t n_q = a->n_head * (a->dim_nope + a->n_rot);
    if (!model_has(m, il, "attn_q_a.weight")) return decoder_mul(m, g, il, "attn_q", x, n_q);
    const uint32_t rank = a->s->attn.q_rank;
    const struct gval c = decoder_mul(m, g, il, "attn_q_a", x, rank);
    return decoder_mul(m, g, il, "attn_q_b", decoder_norm(m, g, il, "attn_q_a_norm", c, rank), n_q);
}

/* Some rows of each head of attn_kv_b as a tensor of its own. */
static struct tensor head_rows(const struct tensor *kv_b, uint32_t n_head, uint32_t first,
                               uint32_t n_row)
{
    struct tensor t = *kv_b;
    t.data = (const char *)kv_b->data + first * kv_b->row_bytes;
    t.n_dims = 3;
    t.plane_bytes = kv_b->ne[1] / n_head * kv_b->row_bytes;
    t.ne[1] = n_row;
    t.ne[2] = n_head;
    return t;
}

static struct mla_weights weights(struct model *m, struct graph *g, uint32_t il,
                                  const struct mla *a)
{
    if (model_has(m, il, "attn_kv_b.weight")) {
        const uint32_t n_row = a->dim_nope + a->dim_v;
        const struct tensor *const kv =
            model_weight(m, g, il, "attn_kv_b", a->rank, (uint64_t)a->n_head * n_row, 1);
        if (!kv) return (struct mla_weights){0};
        return (struct mla_weights){
            .k = head_rows(kv, a->n_head, 0, a->dim_nope),
            .v = head_rows(kv, a->n_head, a->dim_nope, a->dim_v),
            .k_transposed = true,
        };
    }
    const struct tensor *const k =
        model_weight(m, g, il, "attn_k_b", a->dim_nope, a->rank, a->n_head);
    const struct tensor *const v = model_weight(m, g, il, "attn_v_b", a->rank, a->dim_v, a->n_head);
    return k && v ? (struct mla_weights){.k = *k, .v = *v} : (struct mla_weights){0};
}

/* Puts [c | k_rope] into the cache. */
static void store(struct model *m, struct graph *g, uint32_t il, const struct mla *a, struct gval x)
{
    const struct gval kv = decoder_mul(m, g, il, "attn_kv_a_mqa", x, a->rank + a->n_rot);
    const struct gval c =
        decoder_norm(m, g, il, "attn_kv_a_norm", g_cols(g, kv, 0, a->rank), a->rank);
    const struct gval k_rope = g_cols(g, kv, a->rank, a->n_rot);
    g_rope(g, k_rope, a->table, a->n_rot, 0, a->s->rope.pair);
    const struct gval row = g_new(g, a->rank + a->n_rot);
    g_place(g, row, c, 1, 0, a->rank, a->rank);
    g_place(g, row, k_rope, 1, a->rank, a->n_rot, a->n_rot);
    const struct kv_shape shape = {
        .n_head_kv = 1, .dim_k = a->rank + a->n_rot, .dim_v = a->rank, .v_in_k = true};
    g_kv(g, row, GVAL_NONE, &shape);
}

/* Queries in the latent space: [K_h^T q_nope | q_rope] per head. */
static struct gval absorb(struct model *m, struct graph *g, uint32_t il, const struct mla *a,
                          const struct mla_weights *w, struct gval x)
{
    const uint32_t dim = a->dim_nope + a->n_rot, dim_latent = a->rank + a->n_rot;
    const struct gval q = queries(m, g, il, a, x);
    g_rope(g, q, a->table, dim, a->dim_nope, a->s->rope.pair);
    const struct gval q_nope = g_pick(g, q, a->n_head, 0, dim, a->dim_nope);
    const struct gval q_rope = g_pick(g, q, a->n_head, a->dim_nope, dim, a->n_rot);
    const struct gval q_c = g_mul_heads(g, &w->k, q_nope, a->n_head, w->k_transposed);
    const struct gval out = g_new(g, a->n_head * dim_latent);
    g_place(g, out, q_c, a->n_head, 0, dim_latent, a->rank);
    g_place(g, out, q_rope, a->n_head, a->rank, dim_latent, a->n_rot);
    return out;
}

struct gval mla_block(struct model *m, struct graph *g, uint32_t il, const struct layer_spec *s,
                      struct gval x)
{
    assert(s->attn.dim_k > s->rope.n_rot);
    const struct mla a = {
        .s = s,
        .n_head = m->hp.n_head[il],
        .dim_nope = s->attn.dim_k - s->rope.n_rot,
        .n_rot = s->rope.n_rot,
        .dim_v = s->attn.dim_v,
        .rank = s->attn.kv_rank,
        .table = rope_table(m, g, &s->rope),
    };
    const struct mla_weights w = weights(m, g, il, &a);
    store(m, g, il, &a, x);
    const struct gval q = absorb(m, g, il, &a, &w, x);
    const struct gattn spec = {
        .n_head = a.n_head,
        .n_head_kv = 1,
        .dim_k = a.rank + a.n_rot,
        .dim_v = a.rank,
        .kv_layer = il,
        .window = s->attn.window,
        .scale = s->attn.scale != 0.0f ? s->attn.scale : 1.0f / sqrtf((float)s->attn.dim_k),
        .softcap = s->attn.softcap,
        .temp_scale = s->attn.temp_scale,
        .temp_len = s->attn.temp_len,
    };
    const struct gval y = g_mul_heads(g, &w.v, g_attn(g, q, &spec), a.n_head, false);
    return decoder_mul(m, g, il, "attn_output", y, m->hp.n_embd);
}
