/*
 * bailingmoe2.c: Ling 2.0 and Ring 2.0 (inclusionAI 2025): q, k and v in one matrix, norms per head
 * on q and k, rope on the first rope.dimension_count dims; leading dense layers, then experts in
 * groups with gating, renormalisation and scale as the file says, and shared experts without gate.
 */
#include "models/arch.h"
#include "models/hparams.h"

static void read_keys(struct model *m)
{
    struct moe_keys *k = model_own(m, sizeof *k);
    if (k) hparams_moe(m, GMOE_SOFTMAX, k);
}

static void layer(const struct model *m, uint32_t il, struct layer_spec *s)
{
    const struct moe_keys *k = m->own;
    const struct hparams *hp = &m->hp;
    s->rope.pair = GROPE_NEOX;
    s->attn.qk_norm = QK_NORM_HEAD;
    s->ffn.is_moe = il >= k->n_dense_lead;
    s->ffn.moe.gating = k->gating;
    s->ffn.moe.renormalise = k->renormalise;
    s->ffn.moe.scale = k->weight_scale;
    s->ffn.moe.shared = k->n_shared ? MOE_SHARED_ADDED : MOE_SHARED_NONE;
    s->ffn.moe.n_ff_shared = (hp->n_ff_shexp ? hp->n_ff_shexp : hp->n_ff_exp) * k->n_shared;
}

const struct arch arch_bailingmoe2 = {.name = "bailingmoe2", .read = read_keys, .layer = layer};
