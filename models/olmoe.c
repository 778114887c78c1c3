/*
 * olmoe.c: OLMoE (arXiv 2409.02060): queries and keys are normed over all heads together, before
 * rope; the router's softmax is not renormalised; an expert is feed_forward_length wide.
 */
#include "models/arch.h"

static void layer(const struct model *m, uint32_t il, struct layer_spec *s)
{
    s->rope.pair = GROPE_NEOX;
    s->attn.qk_norm = QK_NORM_FULL;
    s->ffn.is_moe = true;
    s->ffn.moe.n_ff = m->hp.n_ff[il];
}

const struct arch arch_olmoe = {.name = "olmoe", .layer = layer};
