/*
 * smollm3.c: SmolLM3 (Hugging Face 2025): a llama whose every fourth layer has no rope (NoPE, arXiv
 * 2501.18795). The interval is not in the file.
 */
#include "models/arch.h"

static void layer(const struct model *m, uint32_t il, struct layer_spec *s)
{
    (void)m;
    s->rope.off = (il + 1) % 4 == 0;
}

const struct arch arch_smollm3 = {.name = "smollm3", .layer = layer};
