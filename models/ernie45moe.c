/*
 * ernie45moe.c: ERNIE 4.5 MoE (Baidu 2025): a llama with experts in every
 * interleave_moe_layer_step-th layer after the leading dense ones; softmax with a bias for the
 * choice, renormalised; a shared expert without a gate.
 */
#include "models/arch.h"
#include "models/hparams.h"

struct ernie45moe {
    uint32_t n_dense_lead, step;
};

static void read_keys(struct model *m)
{
    struct ernie45moe *q = model_own(m, sizeof *q);
    if (!q) return;
    q->step = 1;
    hparams_n_dense_lead(m, &q->n_dense_lead);
    model_u32(m, "interleave_moe_layer_step", KEY_OPTIONAL, 1, LAYERS_MAX, &q->step);
}

static void layer(const struct model *m, uint32_t il, struct layer_spec *s)
{
    const struct ernie45moe *q = m->own;
    s->ffn.is_moe = il >= q->n_dense_lead && (il + 1) % q->step == 0;
    s->ffn.moe.renormalise = true;
    s->ffn.moe.shared = m->hp.n_ff_shexp ? MOE_SHARED_ADDED : MOE_SHARED_NONE;
}

const struct arch arch_ernie45moe = {.name = "ernie4_5-moe", .read = read_keys, .layer = layer};
