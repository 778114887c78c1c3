/*
 * qwen3next.c: Qwen3-Next and Qwen 3.5 MoE: three layers of gated delta net to one of gated
 * attention.
 *
 * Every full_attention_interval-th layer has attention (or attention.recurrent_layers says which
 * have not), with a sigmoid gate per head on its result, norms per head on q and k, and rope on the
 * first rope.dimension_count dims. The norm before the experts is stored as post_attention_norm.
 * Experts: softmax, renormalised, plus a shared one behind a sigmoid gate.
 *
 * The two differ in the order of value heads: those of one key head are neighbours in Qwen3-Next,
 * n_group apart in Qwen 3.5, whose converter reorders them; and Qwen 3.5 has interleaved rope
 * sections, which for text only leave out pairs that no section covers.
 */
#include "models/arch.h"
#include "models/hparams.h"

struct qwen3next {
    struct recur_spec recur;
    bool is_recurrent[LAYERS_MAX];
    uint32_t section[4];
};

static void read_kinds(struct model *m, struct qwen3next *q)
{
    const uint32_t n_layer = m->hp.n_layer;
    if (model_has_key(m, "attention.recurrent_layers")) {
        uint32_t value[LAYERS_MAX] = {0};
        model_u32_each(m, "attention.recurrent_layers", KEY_REQUIRED, 0, 1, value, n_layer);
        for (uint32_t il = 0; il < n_layer; il++) q->is_recurrent[il] = value[il] != 0;
    } else {
        uint32_t interval = 4;
        model_u32(m, "full_attention_interval", KEY_OPTIONAL, 1, LAYERS_MAX, &interval);
        for (uint32_t il = 0; il < n_layer; il++) q->is_recurrent[il] = (il + 1) % interval != 0;
    }
}

static void read_next(struct model *m)
{
    struct qwen3next *q = model_own(m, sizeof *q);
    if (!q) return;
    read_kinds(m, q);
    hparams_ssm(m, &q->recur);
    if (q->recur.dim != q->recur.n_state)
        model_refuse(m, "ssm.state_size", q->recur.n_state,
                     "%u, which is ssm.inner_size / ssm.time_step_rank", q->recur.dim);
}

static void read_35(struct model *m)
{
    read_next(m);
    struct qwen3next *q = m->own;
    if (!q) return;
    q->recur.tiled = true;
    model_u32_each(m, "rope.dimension_sections", KEY_REQUIRED, 0, HEAD_DIM_MAX, q->section, 4);
    if (q->section[0] + q->section[1] + q->section[2] + q->section[3] == 0)
        model_refuse(m, "rope.dimension_sections", 0, "numbers that are not all 0");
}

static void layer(const struct model *m, uint32_t il, struct layer_spec *s)
{
    const struct qwen3next *q = m->own;
    s->mixer = q->is_recurrent[il] ? MIX_GDN : MIX_ATTN;
    s->recur = q->recur;
    s->rope.pair = GROPE_NEOX;
    s->attn.qk_norm = QK_NORM_HEAD;
    s->attn.gated = true;
    s->ffn_norm = "post_attention_norm";
    s->ffn.is_moe = true;
    s->ffn.moe.renormalise = true;
    s->ffn.moe.shared = MOE_SHARED_GATED;
}

static void layer_35(const struct model *m, uint32_t il, struct layer_spec *s)
{
    layer(m, il, s);
    s->rope.section = ((const struct qwen3next *)m->own)->section;
}

const struct arch arch_qwen3next = {.name = "qwen3next", .read = read_next, .layer = layer};
const struct arch arch_qwen35moe = {.name = "qwen35moe", .read = read_35, .layer = layer_35};
