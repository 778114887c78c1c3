/*
 * qwen.c: Qwen 2, Qwen 2 MoE, Qwen 3, Qwen 3 MoE (Alibaba 2024, 2025; arXiv 2407.10671,
 * 2505.09388).
 *
 * Rotary pairs half a head apart. Qwen 2 has biases on q, k and v; Qwen 3 norms each head of q and
 * k before rope. Whether the chosen experts' weights are renormalised is a property of the family,
 * not of the file: Qwen 2 MoE (norm_topk_prob false in Qwen1.5-MoE and Qwen2-57B) does not, Qwen 3
 * MoE does. Qwen 2 MoE adds a shared expert behind a sigmoid gate. Where a file does not state an
 * expert's width it is feed_forward_length divided among the experts that are used.
 */
#include "models/arch.h"

static void read_moe(struct model *m)
{
    struct hparams *hp = &m->hp;
    if (!hp->n_ff_exp && hp->n_expert_used) hp->n_ff_exp = hp->n_ff[0] / hp->n_expert_used;
    if (!hp->n_ff_shexp) hp->n_ff_shexp = hp->n_ff[0];
}

static void layer_qwen2(const struct model *m, uint32_t il, struct layer_spec *s)
{
    (void)m;
    (void)il;
    s->rope.pair = GROPE_NEOX;
}

static void layer_qwen3(const struct model *m, uint32_t il, struct layer_spec *s)
{
    layer_qwen2(m, il, s);
    s->attn.qk_norm = QK_NORM_HEAD;
}

static void layer_qwen2moe(const struct model *m, uint32_t il, struct layer_spec *s)
{
    layer_qwen2(m, il, s);
    s->ffn.is_moe = true;
    s->ffn.moe.shared = MOE_SHARED_GATED;
}

static void layer_qwen3moe(const struct model *m, uint32_t il, struct layer_spec *s)
{
    layer_qwen3(m, il, s);
    s->ffn.is_moe = true;
    s->ffn.moe.renormalise = true;
}

const struct arch arch_qwen2 = {.name = "qwen2", .layer = layer_qwen2};
const struct arch arch_qwen3 = {.name = "qwen3", .layer = layer_qwen3};
const struct arch arch_qwen2moe = {.name = "qwen2moe", .read = read_moe, .layer = layer_qwen2moe};
const struct arch arch_qwen3moe = {.name = "qwen3moe", .read = read_moe, .layer = layer_qwen3moe};
