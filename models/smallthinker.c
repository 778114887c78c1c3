/*
 * smallthinker.c: SmallThinker (arXiv 2507.20984): the router sees the residual stream as it enters
 * the layer, before attention and without a norm, so that experts can be fetched while attention
 * runs. Experts are ReLU gated.
 *
 * Where attention.sliding_window is set, every fourth layer from the first sees everything and has
 * no rope, the others have rope and a window of 4096: llama.cpp uses this number whatever the key
 * says, and so do we.
 */
#include "models/arch.h"
#include "models/hparams.h"

#define WINDOW 4096

struct smallthinker {
    bool has_window;
    enum gmoe_gate gating;
};

static void read_keys(struct model *m)
{
    struct smallthinker *q = model_own(m, sizeof *q);
    if (!q) return;
    uint32_t window = 0;
    model_u32(m, "attention.sliding_window", KEY_OPTIONAL, 0, CTX_MAX, &window);
    q->has_window = window > 0;
    hparams_gating(m, 0, &q->gating);
}

static void layer(const struct model *m, uint32_t il, struct layer_spec *s)
{
    const struct smallthinker *q = m->own;
    const bool sees_all = il % 4 == 0;
    s->rope.pair = GROPE_NEOX;
    s->rope.off = q->has_window && sees_all;
    s->attn.window = q->has_window && !sees_all ? WINDOW : 0;
    s->ffn.is_moe = true;
    s->ffn.act = GACT_RELU;
    s->ffn.moe.gating = q->gating;
    s->ffn.moe.renormalise = true;
    s->ffn.moe.router_raw = true;
}

const struct arch arch_smallthinker = {.name = "smallthinker", .read = read_keys, .layer = layer};
