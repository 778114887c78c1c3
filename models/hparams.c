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

static enum err read_layers(struct model *m)
{
    struct hparams *hp = &m->hp;
    uint32_t n_block = 0, n_nextn = 0;
    enum err err = model_u32(m, "block_count", KEY_REQUIRED, 1, LAYERS_MAX, &n_block);
    if (!err) err = model_u32(m, "nextn_predict_layers", KEY_OPTIONAL, 0, LAYERS_MAX, &n_nextn);
    if (err) return err;
    if (n_nextn >= n_block)
        return model_refuse(m, "nextn_predict_layers", n_nextn, "less than block_count (%u)",
                            n_block);
    hp->n_layer = n_block - n_nextn;
    err = model_u32(m, "embedding_length", KEY_REQUIRED, 1, DIM_MAX, &hp->n_embd);
    if (!err) err = model_u32(m, "context_length", KEY_REQUIRED, 1, CTX_MAX, &hp->n_ctx_train);
    if (!err)
        err = model_u32_each(m, "feed_forward_length", KEY_OPTIONAL, 0, DIM_MAX, hp->n_ff,
                             hp->n_layer);
    if (!err)
        err = model_f32(m, "attention.layer_norm_rms_epsilon", KEY_REQUIRED, EPS_MIN, EPS_MAX,
                        &hp->eps);
    return err;
}

static enum err read_heads(struct model *m)
{
    struct hparams *hp = &m->hp;
    enum err err = model_u32_each(m, "attention.head_count", KEY_REQUIRED, 1, HEADS_MAX, hp->n_head,
                                  hp->n_layer);
    if (err) return err;
    for (uint32_t il = 0; il < hp->n_layer; il++) hp->n_head_kv[il] = hp->n_head[il];
    /* 0: a layer without attention; decoder_check() refuses it where there is some */
    err = model_u32_each(m, "attention.head_count_kv", KEY_OPTIONAL, 0, HEADS_MAX, hp->n_head_kv,
                         hp->n_layer);
    if (!err) err = model_u32(m, "attention.key_length", KEY_OPTIONAL, 1, HEAD_DIM_MAX, &hp->dim_k);
    if (!err)
        err = model_u32(m, "attention.value_length", KEY_OPTIONAL, 1, HEAD_DIM_MAX, &hp->dim_v);
    if (err || (hp->dim_k && hp->dim_v)) return err;
    const uint32_t dim = hp->n_embd / hp->n_head[0];
    if (hp->n_embd % hp->n_head[0] || dim > HEAD_DIM_MAX)
        return model_refuse(m, "attention.head_count", hp->n_head[0],
                            "a divisor of embedding_length (%u) that leaves at most %u, for want "
                            "of attention.key_length",
                            hp->n_embd, HEAD_DIM_MAX);
    if (!hp->dim_k) hp->dim_k = dim;
    if (!hp->dim_v) hp->dim_v = dim;
    return OK;
}

static enum err read_rope(struct model *m)
{
    struct hparams *hp = &m->hp;
    struct rope_scaling *rs = &hp->rope_scaling;
    hp->rope_base = ROPE_BASE_DEFAULT;
    hp->n_rot = hp->dim_k;
    *rs = (struct rope_scaling){.attn_factor = 1.0f, .n_ctx_orig = hp->n_ctx_train};
    enum err err = hparams_rope_base(m, "rope.freq_base", &hp->rope_base);
    if (!err) err = model_u32(m, "rope.dimension_count", KEY_OPTIONAL, 0, HEAD_DIM_MAX, &hp->n_rot);

    static const char *const types[] = {
        [ROPE_SCALING_NONE] = "none",
        [ROPE_SCALING_LINEAR] = "linear",
        [ROPE_SCALING_YARN] = "yarn",
        [ROPE_SCALING_LONGROPE] = "longrope",
        NULL,
    };
    uint32_t type = ROPE_SCALING_LINEAR; /* of an absent key: a bare factor is honoured */
    if (!err) err = model_choice(m, "rope.scaling.type", types, &type);
    rs->type = (enum rope_scaling_type)type;

    const char *const key =
        model_has_key(m, "rope.scaling.factor") ? "rope.scaling.factor" : "rope.scale_linear";
    if (!err) err = model_f32(m, key, KEY_OPTIONAL, 0.0f, ROPE_FACTOR_MAX, &rs->factor);
    if (rs->factor == 0.0f) rs->factor = 1.0f; /* older converters write 0 for none */
    if (!err && rs->factor < ROPE_FACTOR_MIN)
        err = model_f32(m, key, KEY_REQUIRED, ROPE_FACTOR_MIN, ROPE_FACTOR_MAX, &rs->factor);
    if (!err)
        err = model_f32(m, "rope.scaling.attn_factor", KEY_OPTIONAL, 0.0f, ATTN_FACTOR_MAX,
                        &rs->attn_factor);
    if (!err)
        err = model_u32(m, "rope.scaling.original_context_length", KEY_OPTIONAL, 1, CTX_MAX,
                        &rs->n_ctx_orig);
    return err;
}

static enum err read_experts(struct model *m)
{
    struct hparams *hp = &m->hp;
    enum err err = model_u32(m, "expert_count", KEY_OPTIONAL, 0, EXPERTS_MAX, &hp->n_expert);
    if (err || hp->n_expert == 0) return err;
    const uint32_t n_used_max = hp->n_expert < EXPERTS_USED_MAX ? hp->n_expert : EXPERTS_USED_MAX;
    err = model_u32(m, "expert_used_count", KEY_REQUIRED, 1, n_used_max, &hp->n_expert_used);
    if (!err)
        err = model_u32(m, "expert_feed_forward_length", KEY_OPTIONAL, 1, DIM_MAX, &hp->n_ff_exp);
    if (!err)
        err = model_u32(m, "expert_shared_feed_forward_length", KEY_OPTIONAL, 0, DIM_MAX,
                        &hp->n_ff_shexp);
    if (!err)
        err =
            model_u32(m, "expert_group_count", KEY_OPTIONAL, 0, hp->n_expert, &hp->n_expert_group);
    if (!err)
        err = model_u32(m, "expert_group_used_count", KEY_OPTIONAL, 0, hp->n_expert,
                        &hp->n_expert_group_used);
    return err;
}

enum err hparams_read(struct model *m)
{
    enum err err = read_layers(m);
    if (!err) err = read_heads(m);
    if (!err) err = read_rope(m);
    if (!err) err = read_experts(m);
    return err;
}

enum err hparams_rope_base(const struct model *m, const char *name, float *base)
{
    return model_f32(m, name, KEY_OPTIONAL, ROPE_BASE_MIN, ROPE_BASE_MAX, base);
}

enum err hparams_cap(const struct model *m, const char *name, float *cap)
{
    return model_f32(m, name, KEY_OPTIONAL, 0.0f, CAP_MAX, cap);
}

enum err hparams_windows(const struct model *m, uint32_t period, bool *windowed)
{
    static const char *const key = "attention.sliding_window_pattern";
    const uint32_t n_layer = m->hp.n_layer;
    uint32_t value[LAYERS_MAX];
    enum err err = OK;
    if (model_key_is_array(m, key)) {
        err = model_u32_each(m, key, KEY_REQUIRED, 0, 1, value, n_layer);
        for (uint32_t il = 0; il < n_layer && !err; il++) windowed[il] = value[il] != 0;
        return err;
    }
    err = model_u32(m, key, KEY_OPTIONAL, 1, LAYERS_MAX, &period);
    for (uint32_t il = 0; il < n_layer && !err; il++) windowed[il] = il % period < period - 1;
    return err;
}

enum err hparams_gating(const struct model *m, enum gmoe_gate otherwise, enum gmoe_gate *gating)
{
    uint32_t value = 0;
    const uint32_t min = otherwise ? 0 : GMOE_SOFTMAX;
    const enum err err = model_u32(m, "expert_gating_func", otherwise ? KEY_OPTIONAL : KEY_REQUIRED,
                                   min, GMOE_SQRT_SOFTPLUS, &value);
    *gating = value ? (enum gmoe_gate)value : otherwise;
    return err;
}

enum err hparams_ssm(const struct model *m, struct recur_spec *r)
{
    uint32_t n_inner = 0;
    enum err err = model_u32(m, "ssm.conv_kernel", KEY_REQUIRED, 1, CONV_TAPS_MAX, &r->n_tap);
    if (!err) err = model_u32(m, "ssm.inner_size", KEY_REQUIRED, 1, DIM_MAX, &n_inner);
    if (!err) err = model_u32(m, "ssm.state_size", KEY_REQUIRED, 1, SSM_STATE_MAX, &r->n_state);
    if (!err) err = model_u32(m, "ssm.time_step_rank", KEY_REQUIRED, 1, HEADS_MAX, &r->n_head);
    if (!err) err = model_u32(m, "ssm.group_count", KEY_REQUIRED, 1, HEADS_MAX, &r->n_group);
    if (err) return err;
    if (n_inner % r->n_head)
        return model_refuse(m, "ssm.inner_size", n_inner, "a multiple of ssm.time_step_rank (%u)",
                            r->n_head);
    if (r->n_head % r->n_group)
        return model_refuse(m, "ssm.group_count", r->n_group,
                            "a divisor of ssm.time_step_rank (%u)", r->n_head);
    r->dim = n_inner / r->n_head;
    return OK;
}

enum err hparams_n_dense_lead(const struct model *m, uint32_t *n)
{
    return model_u32(m, "leading_dense_block_count", KEY_OPTIONAL, 0, m->hp.n_layer, n);
}

enum err hparams_moe(const struct model *m, enum gmoe_gate gating, struct moe_keys *k)
{
    enum err err = hparams_n_dense_lead(m, &k->n_dense_lead);
    if (!err) err = hparams_gating(m, gating, &k->gating);
    if (!err) err = model_bool(m, "expert_weights_norm", KEY_OPTIONAL, &k->renormalise);
    if (!err)
        err = model_f32(m, "expert_weights_scale", KEY_OPTIONAL, 0.0f, WEIGHT_SCALE_MAX,
                        &k->weight_scale);
    if (!err)
        err = model_u32(m, "expert_shared_count", KEY_OPTIONAL, 0, EXPERTS_USED_MAX, &k->n_shared);
    return err;
}
