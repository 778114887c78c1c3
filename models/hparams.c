/*
 * hparams.c: the common hyper-parameters, each with its legal range.
 *
 * Ranges come from base/limits.h, so that no product of two of them wraps 64 bits; those of
 * floating-point values are here with their reasons. A NaN is outside every range.
 *
 * Facts: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md (meaning of the keys), and for
 * what holds when a key is absent, llama.cpp's reading of it.
 */
#include "models/hparams.h"

#define EPS_MIN 1e-12f /* the smallest in use; with 0 a row of zeros divides by 0 */
#define EPS_MAX 1.0f
#define ROPE_BASE_MIN 2.0f /* in use: 1e4 .. 1e7; yarn divides by ln(base), so 1 is out */
#define ROPE_BASE_MAX 1e12f
#define ROPE_BASE_DEFAULT 10000.0f
#define ROPE_FACTOR_MIN 0.01f /* in use: 1 .. 64; near 0 angles leave float's range */
#define ROPE_FACTOR_MAX 1e6f
#define ATTN_FACTOR_MAX 1e3f  /* in use: 1.19 (Phi 3) */
#define CAP_MAX 1e6f          /* in use: 30, 50 */
#define WEIGHT_SCALE_MAX 1e4f /* of the chosen experts' weights; in use: 1 .. 16 */
#define SSM_STATE_MAX 256     /* in use: 128; a state holds this many numbers for each channel */

static void read_layers(struct model *m)
{
    struct hparams *hp = &m->hp;
    uint32_t n_block = 1, n_nextn = 0;
    model_u32(m, "block_count", KEY_REQUIRED, 1, LAYERS_MAX, &n_block);
    model_u32(m, "nextn_predict_layers", KEY_OPTIONAL, 0, LAYERS_MAX, &n_nextn);
    if (n_nextn >= n_block)
        model_refuse(m, "nextn_predict_layers", n_nextn, "less than block_count (%u)", n_block);
    if (m->err) return;
    hp->n_layer = n_block - n_nextn;
    model_u32(m, "embedding_length", KEY_REQUIRED, 1, DIM_MAX, &hp->n_embd);
    model_u32(m, "context_length", KEY_REQUIRED, 1, CTX_MAX, &hp->n_ctx_train);
    model_u32_each(m, "feed_forward_length", KEY_OPTIONAL, 0, DIM_MAX, hp->n_ff, hp->n_layer);
    model_f32(m, "attention.layer_norm_rms_epsilon", KEY_REQUIRED, EPS_MIN, EPS_MAX, &hp->eps);
}

static void read_heads(struct model *m)
{
    struct hparams *hp = &m->hp;
    model_u32_each(m, "attention.head_count", KEY_REQUIRED, 1, HEADS_MAX, hp->n_head, hp->n_layer);
    for (uint32_t il = 0; il < hp->n_layer; il++) hp->n_head_kv[il] = hp->n_head[il];
    /* 0: a layer without attention; decoder_check() refuses it where there is some */
    model_u32_each(m, "attention.head_count_kv", KEY_OPTIONAL, 0, HEADS_MAX, hp->n_head_kv,
                   hp->n_layer);
    model_u32(m, "attention.key_length", KEY_OPTIONAL, 1, HEAD_DIM_MAX, &hp->dim_k);
    model_u32(m, "attention.value_length", KEY_OPTIONAL, 1, HEAD_DIM_MAX, &hp->dim_v);
    if (m->err || (hp->dim_k && hp->dim_v)) return;
    const uint32_t dim = hp->n_embd / hp->n_head[0];
    if (hp->n_embd % hp->n_head[0] || dim > HEAD_DIM_MAX)
        model_refuse(m, "attention.head_count", hp->n_head[0],
                     "a divisor of embedding_length (%u) that leaves at most %u, for want of "
                     "attention.key_length",
                     hp->n_embd, HEAD_DIM_MAX);
    if (!hp->dim_k) hp->dim_k = dim;
    if (!hp->dim_v) hp->dim_v = dim;
}

static void read_rope_scaling(struct model *m)
{
    static const char *const types[] = {
        [ROPE_SCALING_NONE] = "none",
        [ROPE_SCALING_LINEAR] = "linear",
        [ROPE_SCALING_YARN] = "yarn",
        [ROPE_SCALING_LONGROPE] = "longrope",
        NULL,
    };
    struct rope_scaling *rs = &m->hp.rope_scaling;
    *rs = (struct rope_scaling){.attn_factor = 1.0f, .n_ctx_orig = m->hp.n_ctx_train};
    uint32_t type = ROPE_SCALING_LINEAR; /* of an absent key: a bare factor is honoured */
    model_choice(m, "rope.scaling.type", types, &type);
    rs->type = (enum rope_scaling_type)type;

    const char *const key =
        model_has_key(m, "rope.scaling.factor") ? "rope.scaling.factor" : "rope.scale_linear";
    model_f32(m, key, KEY_OPTIONAL, 0.0f, ROPE_FACTOR_MAX, &rs->factor);
    if (rs->factor == 0.0f)
        rs->factor = 1.0f; /* older converters write 0 for none */
    else
        model_f32(m, key, KEY_REQUIRED, ROPE_FACTOR_MIN, ROPE_FACTOR_MAX, &rs->factor);
    model_f32(m, "rope.scaling.attn_factor", KEY_OPTIONAL, 0.0f, ATTN_FACTOR_MAX, &rs->attn_factor);
    model_u32(m, "rope.scaling.original_context_length", KEY_OPTIONAL, 1, CTX_MAX, &rs->n_ctx_orig);
}

static void read_rope(struct model *m)
{
    struct hparams *hp = &m->hp;
    hp->rope_base = ROPE_BASE_DEFAULT;
    hp->n_rot = hp->dim_k;
    hparams_rope_base(m, "rope.freq_base", &hp->rope_base);
    model_u32(m, "rope.dimension_count", KEY_OPTIONAL, 0, HEAD_DIM_MAX, &hp->n_rot);
    read_rope_scaling(m);
}

static void read_experts(struct model *m)
{
    struct hparams *hp = &m->hp;
    model_u32(m, "expert_count", KEY_OPTIONAL, 0, EXPERTS_MAX, &hp->n_expert);
    const uint32_t n = hp->n_expert;
    if (n == 0) return;
    const uint32_t n_used_max = n < EXPERTS_USED_MAX ? n : EXPERTS_USED_MAX;
    model_u32(m, "expert_used_count", KEY_REQUIRED, 1, n_used_max, &hp->n_expert_used);
    model_u32(m, "expert_feed_forward_length", KEY_OPTIONAL, 1, DIM_MAX, &hp->n_ff_exp);
    model_u32(m, "expert_shared_feed_forward_length", KEY_OPTIONAL, 0, DIM_MAX, &hp->n_ff_shexp);
    model_u32(m, "expert_group_count", KEY_OPTIONAL, 0, n, &hp->n_expert_group);
    model_u32(m, "expert_group_used_count", KEY_OPTIONAL, 0, n, &hp->n_expert_group_used);
}

void hparams_read(struct model *m)
{
    read_layers(m);
    if (!m->err) read_heads(m);
    if (!m->err) read_rope(m);
    if (!m->err) read_experts(m);
}

void hparams_rope_base(struct model *m, const char *name, float *base)
{
    model_f32(m, name, KEY_OPTIONAL, ROPE_BASE_MIN, ROPE_BASE_MAX, base);
}

void hparams_cap(struct model *m, const char *name, float *cap)
{
    model_f32(m, name, KEY_OPTIONAL, 0.0f, CAP_MAX, cap);
}

void hparams_windows(struct model *m, uint32_t period, bool *windowed)
{
    static const char *const key = "attention.sliding_window_pattern";
    const uint32_t n_layer = m->hp.n_layer;
    if (model_key_is_array(m, key)) {
        uint32_t value[LAYERS_MAX] = {0};
        model_u32_each(m, key, KEY_REQUIRED, 0, 1, value, n_layer);
        for (uint32_t il = 0; il < n_layer; il++) windowed[il] = value[il] != 0;
    } else {
        model_u32(m, key, KEY_OPTIONAL, 1, LAYERS_MAX, &period);
        for (uint32_t il = 0; il < n_layer; il++) windowed[il] = il % period < period - 1;
    }
}

void hparams_gating(struct model *m, enum gmoe_gate otherwise, enum gmoe_gate *gating)
{
    uint32_t value = 0;
    model_u32(m, "expert_gating_func", otherwise ? KEY_OPTIONAL : KEY_REQUIRED,
              otherwise ? 0 : GMOE_SOFTMAX, GMOE_SQRT_SOFTPLUS, &value);
    *gating = value ? (enum gmoe_gate)value : otherwise;
}

void hparams_n_dense_lead(struct model *m, uint32_t *n)
{
    model_u32(m, "leading_dense_block_count", KEY_OPTIONAL, 0, m->hp.n_layer, n);
}

void hparams_moe(struct model *m, enum gmoe_gate gating, struct moe_keys *k)
{
    hparams_n_dense_lead(m, &k->n_dense_lead);
    hparams_gating(m, gating, &k->gating);
    model_bool(m, "expert_weights_norm", KEY_OPTIONAL, &k->renormalise);
    model_f32(m, "expert_weights_scale", KEY_OPTIONAL, 0.0f, WEIGHT_SCALE_MAX, &k->weight_scale);
    model_u32(m, "expert_shared_count", KEY_OPTIONAL, 0, EXPERTS_USED_MAX, &k->n_shared);
}

void hparams_ssm(struct model *m, struct recur_spec *r)
{
    uint32_t n_inner = 0;
    model_u32(m, "ssm.conv_kernel", KEY_REQUIRED, 1, CONV_TAPS_MAX, &r->n_tap);
    model_u32(m, "ssm.inner_size", KEY_REQUIRED, 1, DIM_MAX, &n_inner);
    model_u32(m, "ssm.state_size", KEY_REQUIRED, 1, SSM_STATE_MAX, &r->n_state);
    model_u32(m, "ssm.time_step_rank", KEY_REQUIRED, 1, HEADS_MAX, &r->n_head);
    model_u32(m, "ssm.group_count", KEY_REQUIRED, 1, HEADS_MAX, &r->n_group);
    if (m->err) return;
    if (n_inner % r->n_head)
        model_refuse(m, "ssm.inner_size", n_inner, "a multiple of ssm.time_step_rank (%u)",
                     r->n_head);
    if (r->n_head % r->n_group)
        model_refuse(m, "ssm.group_count", r->n_group, "a divisor of ssm.time_step_rank (%u)",
                     r->n_head);
    r->dim = n_inner / r->n_head;
}
