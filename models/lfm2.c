/*
 * lfm2.c: LFM2 and LFM2 MoE (Liquid AI 2025): gated short convolutions, with attention in a few
 * layers.
 *
 * A layer whose head_count_kv is 0 is a convolution. q and k are normed per head before rope. The
 * final norm is stored as token_embd_norm, a historic slip. MoE: leading dense layers, then experts
 * with a bias for the choice, renormalised.
 */
#include "models/arch.h"
#include "models/hparams.h"

struct lfm2 {
    uint32_t n_tap;
    uint32_t n_dense_lead;
    enum gmoe_gate gating;
};

static void read_dense(struct model *m)
{
    struct lfm2 *q = model_own(m, sizeof *q);
    if (q) model_u32(m, "shortconv.l_cache", KEY_REQUIRED, 1, CONV_TAPS_MAX, &q->n_tap);
}

static void read_moe(struct model *m)
{
    read_dense(m);
    struct lfm2 *q = m->own;
    if (!q) return;
    hparams_n_dense_lead(m, &q->n_dense_lead);
    hparams_gating(m, GMOE_SIGMOID, &q->gating);
}

static void decoder(const struct model *m, struct decoder_spec *d)
{
    (void)m;
    d->final_norm = "token_embd_norm";
}

static void layer(const struct model *m, uint32_t il, struct layer_spec *s)
{
    s->mixer = m->hp.n_head_kv[il] ? MIX_ATTN : MIX_CONV;
    s->recur.n_tap = ((const struct lfm2 *)m->own)->n_tap;
    s->rope.pair = GROPE_NEOX;
    s->attn.qk_norm = QK_NORM_HEAD;
}

static void layer_moe(const struct model *m, uint32_t il, struct layer_spec *s)
{
    const struct lfm2 *q = m->own;
    layer(m, il, s);
    s->ffn.is_moe = il >= q->n_dense_lead;
    s->ffn.moe.gating = q->gating;
    s->ffn.moe.renormalise = true;
    s->ffn.moe.choice_bias = true;
}

const struct arch arch_lfm2 = {
    .name = "lfm2", .read = read_dense, .decoder = decoder, .layer = layer};
const struct arch arch_lfm2moe = {
    .name = "lfm2moe", .read = read_moe, .decoder = decoder, .layer = layer_moe};
