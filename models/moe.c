/*
 * moe.c: mixture of experts: a router chooses expert_used_count feed-forward blocks for each token
 * and adds up their outputs by weight (Shazeer et al. 2017); a shared expert that every token
 * passes may be added (DeepSeekMoE, 2024).
 *
 * Experts lie in 3-D tensors ffn_{gate,up,down}_exps {in, out, n_expert}; ffn_gate_up_exps holds
 * the rows of gate and then of up of each expert and is used through two views. Optional:
 * ffn_*_exps.bias (a row per expert), ffn_*_exps.scale (a factor per expert), ffn_gate_inp.bias,
 * exp_probs_b.bias (moves the choice, not the weights).
 *
 * Refuses: files that have a tensor for every single expert, as converters made them before April
 * 2024.
 */
#include "models/decoder.h"
#include "models/model.h"

#include <assert.h>

/* Rows [first, first + n) of every expert. */
static struct tensor expert_rows(const struct tensor *t, uint32_t first, uint32_t n)
{
    struct tensor part = *t;
    part.data = (const char *)t->data + first * t->row_bytes;
    part.ne[1] = n;
    return part;
}

/* The matrices of the experts into *e; a failure is the graph's. */
static void expert_weights(struct model *m, struct graph *g, uint32_t il, struct gmoe *e)
{
    const uint64_t n_embd = m->hp.n_embd;
    const struct tensor *gate = NULL, *up = NULL;
    if (model_has(m, il, "ffn_gate_up_exps.weight")) {
        const struct tensor *const both =
            model_weight(m, g, il, "ffn_gate_up_exps", n_embd, 2 * (uint64_t)e->n_ff, e->n_expert);
        if (!both) return;
        e->gate = expert_rows(both, 0, e->n_ff);
        e->up = expert_rows(both, e->n_ff, e->n_ff);
    } else {
        gate = model_weight(m, g, il, "ffn_gate_exps", n_embd, e->n_ff, e->n_expert);
        up = model_weight(m, g, il, "ffn_up_exps", n_embd, e->n_ff, e->n_expert);
        if (!gate || !up) return;
        e->gate = *gate;
        e->up = *up;
    }
    const struct tensor *const down =
        model_weight(m, g, il, "ffn_down_exps", e->n_ff, n_embd, e->n_expert);
    if (down) e->down = *down;
}

static void expert_vectors(struct model *m, struct graph *g, uint32_t il, struct gmoe *e)
{
    const uint64_t n_ff_all = (uint64_t)e->n_ff * e->n_expert,
                   n_out_all = (uint64_t)m->hp.n_embd * e->n_expert;
    e->gate_bias = model_vec_opt(m, g, il, "ffn_gate_exps.bias", n_ff_all);
    e->up_bias = model_vec_opt(m, g, il, "ffn_up_exps.bias", n_ff_all);
    e->down_bias = model_vec_opt(m, g, il, "ffn_down_exps.bias", n_out_all);
    e->gate_scale = model_vec_opt(m, g, il, "ffn_gate_exps.scale", e->n_expert);
    e->up_scale = model_vec_opt(m, g, il, "ffn_up_exps.scale", e->n_expert);
    e->down_scale = model_vec_opt(m, g, il, "ffn_down_exps.scale", e->n_expert);
}

static struct gval shared_expert(struct model *m, struct graph *g, uint32_t il,
                                 const struct ffn_spec *s, struct gval x)
{
    const struct gval y = ffn_block(m, g, il, s, "_shexp", s->moe.n_ff_shared, x);
    if (s->moe.shared == MOE_SHARED_ADDED) return y;
    const struct gval gate = decoder_mul(m, g, il, "ffn_gate_inp_shexp", x, 1);
    return g_mulv(g, y, g_act(g, GACT_SIGMOID, gate));
}

struct gval moe_block(struct model *m, struct graph *g, uint32_t il, const struct ffn_spec *s,
                      struct gval x, struct gval router_in)
{
    const struct hparams *hp = &m->hp;
    assert(hp->n_expert_used >= 1);
    if (model_has(m, il, "ffn_gate.0.weight"))
        model_refuse_tensor(m, g, il, "ffn_gate.0.weight",
                            "is one expert alone, expected all of them in ffn_gate_exps; convert "
                            "the model again with a converter of today");
    const struct gval logits = decoder_mul(m, g, il, "ffn_gate_inp", router_in, hp->n_expert);
    struct gmoe e = {
        .n_expert = hp->n_expert,
        .n_used = hp->n_expert_used,
        .n_ff = s->moe.n_ff,
        .n_group = hp->n_expert_group,
        .n_group_used = hp->n_expert_group_used,
        .gating = s->moe.gating,
        .renormalise = s->moe.renormalise,
        .scale = s->moe.scale,
        .act = s->act,
        .choice_bias = s->moe.choice_bias
                           ? model_vec(m, g, il, "exp_probs_b.bias", hp->n_expert)
                           : model_vec_opt(m, g, il, "exp_probs_b.bias", hp->n_expert),
    };
    expert_weights(m, g, il, &e);
    expert_vectors(m, g, il, &e);
    const struct gval y = g_moe(g, x, logits, &e);
    return s->moe.shared ? g_add(g, y, shared_expert(m, g, il, s, x)) : y;
}
