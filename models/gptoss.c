/*
 * gptoss.c: gpt-oss 20b and 120b (OpenAI 2025).
 *
 * Biases everywhere, experts included. Each head has a sink: one more logit in the softmax's
 * denominator that has no value. Even layers see a sliding window, odd ones everything. The norm
 * before the experts is stored as post_attention_norm. The router takes the best logits and makes
 * weights of these alone by softmax. Activation: g sigmoid(1.702 g) (u + 1) with g = min(gate, 7)
 * and u = clip(up, -7, 7). A head is rope.dimension_count wide.
 * Known difference: the original does not round the ends of yarn's ramp; like llama.cpp we do.
 */
#include "models/arch.h"
#include "models/hparams.h"

struct gptoss {
    uint32_t window;
    bool windowed[LAYERS_MAX];
};

static void read_keys(struct model *m)
{
    struct gptoss *q = model_own(m, sizeof *q);
    if (!q) return;
    m->hp.dim_k = m->hp.dim_v = m->hp.n_rot;
    model_u32(m, "attention.sliding_window", KEY_REQUIRED, 1, CTX_MAX, &q->window);
    hparams_windows(m, 2, q->windowed);
}

static void layer(const struct model *m, uint32_t il, struct layer_spec *s)
{
    const struct gptoss *q = m->own;
    s->rope.pair = GROPE_NEOX;
    s->attn.sinks = true;
    s->attn.window = q->windowed[il] ? q->window : 0;
    s->ffn_norm = "post_attention_norm";
    s->ffn.is_moe = true;
    s->ffn.act = GACT_SWIGLU_OAI;
    s->ffn.moe.gating = GMOE_SOFTMAX_CHOSEN;
}

const struct arch arch_gptoss = {.name = "gpt-oss", .read = read_keys, .layer = layer};
