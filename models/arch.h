/*
 * arch.h: a family of models as a row of data plus three hooks. A new family is one file and one
 * line in registry.c.
 *
 * Facts. Which variant a family uses is what the graph of llama.cpp does (commit 3f545bec, 2026),
 * since its files are made for it; each family was compared with a float64 forward pass of its own
 * (tests/golden). Where the original model is known to differ, the family's file says so.
 *
 *     static void layer(const struct model *m, uint32_t il, struct layer_spec *s)
 *     {
 *         s->rope.pair = GROPE_NEOX;
 *         s->attn.qk_norm = QK_NORM_HEAD;
 *     }
 *     const struct arch arch_qwen3 = {.name = "qwen3", .layer = layer};
 */
#ifndef MODELS_ARCH_H
#define MODELS_ARCH_H

#include "models/decoder.h"
#include "models/model.h"

#include <stddef.h>

struct arch {
    const char *name; /* general.architecture */
    /* Reads and checks the family's own keys into model_own() and completes m->hp. NULL: nothing
     * beyond the common keys. Relations between sizes are checked afterwards for every layer, by
     * decoder_check(). */
    void (*read)(struct model *m);
    /* What the whole decoder has: embedding scale, final norm, head. NULL: the plain one. */
    void (*decoder)(const struct model *m, struct decoder_spec *d);
    /* What layer il is made of: the mixer, the feed-forward part, norms and multipliers. NULL: the
     * plain one. */
    void (*layer)(const struct model *m, uint32_t il, struct layer_spec *s);
};

const struct arch *arch_find(const char *name, size_t n); /* name of n bytes. NULL: unknown */
void arch_names(char *text, size_t n_bytes); /* "llama, qwen2, ...", cut to fit, for messages */

#endif
