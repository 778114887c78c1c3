/*
 * phimoe.c: Phi-3.5-MoE (arXiv 2404.14219): longrope, biases on the norms, attn_output and output;
 * experts feed_forward_length wide.
 *
 * Two known differences to the original model, both taken over from llama.cpp so that results
 * agree: the norms are RMS norms with a bias (the original subtracts the mean), and the router is a
 * renormalised softmax (the original samples with SparseMixer).
 */
#include "models/arch.h"

static void layer(const struct model *m, uint32_t il, struct layer_spec *s)
{
    s->rope.pair = GROPE_NEOX;
    s->ffn.is_moe = true;
    s->ffn.moe.renormalise = true;
    s->ffn.moe.n_ff = m->hp.n_ff[il];
}

const struct arch arch_phimoe = {.name = "phimoe", .layer = layer};
