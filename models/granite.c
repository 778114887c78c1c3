/*
 * granite.c: IBM Granite 3 (dense and MoE) and Granite 4.0-H (Mamba 2 layers between attention
 * layers).
 *
 * A llama with four multipliers: the embedding, each output before it is added to the residual
 * stream, the scores (in place of 1/sqrt(head size)), and a divisor of the logits; 0 or absent
 * means none. Experts: softmax over the chosen, feed_forward_length wide, plus a shared one without
 * a gate where the file states its width.
 * rope.scaling.finetuned = false switches rope off; Granite 3 MoE ignores the key. In the hybrid a
 * layer whose head_count_kv is 0 is a Mamba 2 layer.
 */
#include "models/arch.h"
#include "models/hparams.h"

#define MULTIPLIER_MAX 1e4f /* in use: 0.0078 .. 16 */

struct granite {
    float embed, residual, score, logit_divisor;
    bool has_rope;
    struct recur_spec recur;
};

static void read_multipliers(struct model *m)
{
    struct granite *q = model_own(m, sizeof *q);
    if (!q) return;
    q->has_rope = true;
    model_f32(m, "embedding_scale", KEY_OPTIONAL, 0.0f, MULTIPLIER_MAX, &q->embed);
    model_f32(m, "residual_scale", KEY_OPTIONAL, 0.0f, MULTIPLIER_MAX, &q->residual);
    model_f32(m, "attention.scale", KEY_OPTIONAL, 0.0f, MULTIPLIER_MAX, &q->score);
    model_f32(m, "logit_scale", KEY_REQUIRED, 0.0f, MULTIPLIER_MAX, &q->logit_divisor);
}

static void read_dense(struct model *m)
{
    read_multipliers(m);
    struct granite *q = m->own;
    if (q) model_bool(m, "rope.scaling.finetuned", KEY_OPTIONAL, &q->has_rope);
}

static void read_hybrid(struct model *m)
{
    read_dense(m);
    struct granite *q = m->own;
    if (q) hparams_ssm(m, &q->recur);
}

static void decoder(const struct model *m, struct decoder_spec *d)
{
    const struct granite *q = m->own;
    d->embed_scale = q->embed;
    d->logit_divisor = q->logit_divisor;
}

static void layer(const struct model *m, uint32_t il, struct layer_spec *s)
{
    const struct granite *q = m->own;
    s->residual_scale = q->residual;
    s->attn.scale = q->score;
    s->rope.off = !q->has_rope;
    s->ffn.is_moe = m->hp.n_expert > 0;
    s->ffn.moe.renormalise = true;
    s->ffn.moe.n_ff = m->hp.n_ff[il];
    s->ffn.moe.shared = m->hp.n_ff_shexp ? MOE_SHARED_ADDED : MOE_SHARED_NONE;
}

static void layer_hybrid(const struct model *m, uint32_t il, struct layer_spec *s)
{
    layer(m, il, s);
    s->mixer = m->hp.n_head_kv[il] ? MIX_ATTN : MIX_MAMBA2;
    s->recur = ((const struct granite *)m->own)->recur;
}

const struct arch arch_granite = {
    .name = "granite", .read = read_dense, .decoder = decoder, .layer = layer};
const struct arch arch_granitemoe = {
    .name = "granitemoe", .read = read_multipliers, .decoder = decoder, .layer = layer};
const struct arch arch_granitehybrid = {
    .name = "granitehybrid", .read = read_hybrid, .decoder = decoder, .layer = layer_hybrid};
