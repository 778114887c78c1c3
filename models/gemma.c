/*
 * gemma.c: Gemma 2 and 3 (arXiv 2408.00118, 2503.19786).
 *
 * The embedding is multiplied by sqrt(n_embd); each output is normed once more before it is added;
 * gated GELU; norm weights come with the "+ 1" already in them; the head is the embedding.
 * Gemma 2: every other layer, the even ones, sees a window; scores and logits are capped.
 * Gemma 3: norms per head on q and k; five layers with a window and a rope of their own (base
 * 10000, unscaled) to each one that sees everything.
 * Scores are divided by the root of the head size, but by that of n_embd / n_head in the 27B of
 * each, which only their numbers of layers tell apart. A cap that is 0 in the file is none.
 */
#include "models/arch.h"
#include "models/hparams.h"

#include <math.h>

struct gemma {
    uint32_t window;
    bool windowed[LAYERS_MAX];
    float score_cap, logit_cap;
    float local_base;
};

static void read_gemma2(struct model *m)
{
    struct gemma *q = model_own(m, sizeof *q);
    if (!q) return;
    q->window = 4096;
    q->score_cap = 50.0f;
    q->logit_cap = 30.0f;
    model_u32(m, "attention.sliding_window", KEY_OPTIONAL, 1, CTX_MAX, &q->window);
    hparams_windows(m, 2, q->windowed);
    hparams_cap(m, "attn_logit_softcapping", &q->score_cap);
    hparams_cap(m, "final_logit_softcapping", &q->logit_cap);
}

static void read_gemma3(struct model *m)
{
    struct gemma *q = model_own(m, sizeof *q);
    if (!q) return;
    q->local_base = 10000.0f;
    model_u32(m, "attention.sliding_window", KEY_OPTIONAL, 0, CTX_MAX, &q->window);
    if (q->window) hparams_windows(m, 6, q->windowed);
    hparams_rope_base(m, "rope.freq_base_swa", &q->local_base);
    hparams_cap(m, "final_logit_softcapping", &q->logit_cap);
}

static void decoder(const struct model *m, struct decoder_spec *d)
{
    d->embed_scale = sqrtf((float)m->hp.n_embd);
    d->logit_softcap = ((const struct gemma *)m->own)->logit_cap;
}

/* n_layer_27b: layers of the model whose scores are scaled by n_embd / n_head. */
static void layer_common(const struct model *m, uint32_t il, uint32_t n_layer_27b,
                         struct layer_spec *s)
{
    const struct gemma *q = m->own;
    s->rope.pair = GROPE_NEOX;
    s->attn.window = q->windowed[il] ? q->window : 0;
    s->attn.softcap = q->score_cap;
    if (m->hp.n_layer == n_layer_27b)
        s->attn.scale = 1.0f / sqrtf((float)m->hp.n_embd / (float)m->hp.n_head[il]);
    s->mixer_post_norm = "post_attention_norm";
    s->ffn_post_norm = "post_ffw_norm";
    s->ffn.act = GACT_GELU;
}

static void layer_gemma2(const struct model *m, uint32_t il, struct layer_spec *s)
{
    layer_common(m, il, 46, s);
}

static void layer_gemma3(const struct model *m, uint32_t il, struct layer_spec *s)
{
    const struct gemma *q = m->own;
    layer_common(m, il, 62, s);
    s->attn.qk_norm = QK_NORM_HEAD;
    if (!q->windowed[il]) return;
    s->rope.base = q->local_base;
    s->rope.unscaled = true;
}

const struct arch arch_gemma2 = {
    .name = "gemma2", .read = read_gemma2, .decoder = decoder, .layer = layer_gemma2};
const struct arch arch_gemma3 = {
    .name = "gemma3", .read = read_gemma3, .decoder = decoder, .layer = layer_gemma3};
