/*
 * llama.c: Llama 1 to 3 (arXiv 2302.13971), Mistral and all of their form; with experts, Mixtral.
 *
 * Pre-norms, rotary embedding over neighbouring pairs (converters have permuted q and k for that),
 * SwiGLU. All biases optional. Mixtral (arXiv 2401.04088): softmax over the chosen experts, which
 * equals softmax over all and then renormalised; an expert is feed_forward_length wide.
 */
#include "models/arch.h"

static void layer(const struct model *m, uint32_t il, struct layer_spec *s)
{
    s->ffn.is_moe = m->hp.n_expert > 0;
    s->ffn.moe.renormalise = true;
    s->ffn.moe.n_ff = m->hp.n_ff[il];
}

const struct arch arch_llama = {.name = "llama", .layer = layer};
