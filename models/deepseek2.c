/*
 * deepseek2.c: DeepSeek V2, V3, R1 and what shares their form (Kimi K2, GLM 4.7 Lite): latent
 * attention, some dense layers first, then routed experts with shared ones beside them (arXiv
 * 2405.04434, 2412.19437).
 *
 * Files with attn_k_b and attn_v_b state the cache's sizes in attention.key_length and the heads'
 * in key_length_mla; older ones with attn_kv_b state the heads' in key_length. Gating (softmax or
 * sigmoid), renormalisation, scale and groups are the file's. The shared expert has the width of
 * expert_shared_count experts; it is not scaled.
 *
 * Yarn multiplies the scores by m^2, m = 1 + yarn_log_multiplier ln(factor) (the key holds 0.1
 * mscale_all_dim), and then cos and sin keep magnitude 1, since the models have mscale =
 * mscale_all_dim. Without the key llama.cpp does both with 0.1, and so do we.
 * Known difference: V2 judged a group by its best expert; like llama.cpp we use V3's sum of the two
 * best.
 */
#include "models/arch.h"
#include "models/hparams.h"

#include <math.h>

#define LOG_MULTIPLIER_MAX 10.0f /* in use: 0.0707, 0.1 */
#define TEMP_SCALE_MAX 10.0f     /* in use: 0.1 */

struct deepseek2 {
    struct moe_keys moe;
    uint32_t dim_k, dim_v, q_rank, kv_rank;
    float log_multiplier;
    float temp_scale;
    uint32_t temp_len;
};

static void read_attn(struct model *m, struct deepseek2 *q)
{
    q->dim_k = m->hp.dim_k;
    q->dim_v = m->hp.dim_v;
    model_u32(m, "attention.key_length_mla", KEY_OPTIONAL, 1, HEAD_DIM_MAX, &q->dim_k);
    model_u32(m, "attention.value_length_mla", KEY_OPTIONAL, 1, HEAD_DIM_MAX, &q->dim_v);
    model_u32(m, "attention.q_lora_rank", KEY_OPTIONAL, 0, DIM_MAX, &q->q_rank);
    model_u32(m, "attention.kv_lora_rank", KEY_REQUIRED, 1, HEAD_DIM_MAX, &q->kv_rank);
    model_f32(m, "rope.scaling.yarn_log_multiplier", KEY_OPTIONAL, 0.0f, LOG_MULTIPLIER_MAX,
              &q->log_multiplier);
    model_f32(m, "attention.temperature_scale", KEY_OPTIONAL, 0.0f, TEMP_SCALE_MAX, &q->temp_scale);
    const enum model_need need = q->temp_scale != 0.0f ? KEY_REQUIRED : KEY_OPTIONAL;
    model_u32(m, "attention.temperature_length", need, 1, CTX_MAX, &q->temp_len);
}

static void read_keys(struct model *m)
{
    struct deepseek2 *q = model_own(m, sizeof *q);
    if (!q) return;
    read_attn(m, q);
    /* Files of GLM 4.7 Lite lack the gating and mean sigmoid; only their sizes tell them. */
    const uint32_t n_layer = m->hp.n_layer;
    const bool is_glm = (n_layer == 47 || n_layer == 48) && m->hp.n_vocab == 154880;
    hparams_moe(m, is_glm ? GMOE_SIGMOID : GMOE_SOFTMAX, &q->moe);
}

static void layer(const struct model *m, uint32_t il, struct layer_spec *s)
{
    const struct deepseek2 *q = m->own;
    s->mixer = MIX_MLA;
    s->attn.dim_k = q->dim_k;
    s->attn.dim_v = q->dim_v;
    s->attn.q_rank = q->q_rank;
    s->attn.kv_rank = q->kv_rank;
    s->attn.temp_scale = q->temp_scale;
    s->attn.temp_len = q->temp_len;
    if (m->hp.rope_scaling.type == ROPE_SCALING_YARN) {
        const float per_log = q->log_multiplier != 0.0f ? q->log_multiplier : 0.1f;
        const float mscale = 1.0f + per_log * logf(m->hp.rope_scaling.factor);
        s->attn.scale = mscale * mscale / sqrtf((float)q->dim_k);
        s->rope.flat = q->log_multiplier != 0.0f;
    }
    s->ffn.is_moe = il >= q->moe.n_dense_lead;
    s->ffn.moe.gating = q->moe.gating;
    s->ffn.moe.renormalise = q->moe.renormalise;
    s->ffn.moe.scale = q->moe.weight_scale;
    s->ffn.moe.shared = q->moe.n_shared ? MOE_SHARED_ADDED : MOE_SHARED_NONE;
    s->ffn.moe.n_ff_shared = m->hp.n_ff_exp * q->moe.n_shared;
}

const struct arch arch_deepseek2 = {.name = "deepseek2", .read = read_keys, .layer = layer};
