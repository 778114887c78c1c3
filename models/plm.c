/*
 * plm.c: PLM (arXiv 2503.12167): latent attention without a query latent, and a dense feed-forward
 * part with squared ReLU and no gate, so that most of its inner activations are exactly 0. Where
 * the type of ffn_down allows it (F32, F16, BF16, Q8_0, Q4_0), the CPU backend skips those while it
 * decodes: backend/cpu_cols.c. Other types are multiplied whole.
 */
#include "models/arch.h"

static void read_keys(struct model *m)
{
    uint32_t *kv_rank = model_own(m, sizeof *kv_rank);
    if (kv_rank) model_u32(m, "attention.kv_lora_rank", KEY_REQUIRED, 1, HEAD_DIM_MAX, kv_rank);
}

static void layer(const struct model *m, uint32_t il, struct layer_spec *s)
{
    (void)il;
    s->mixer = MIX_MLA;
    s->attn.kv_rank = *(const uint32_t *)m->own;
    s->ffn.act = GACT_RELU2;
    s->ffn.ungated = true;
}

const struct arch arch_plm = {.name = "plm", .read = read_keys, .layer = layer};
