/*
 * decoder.h: what the one decoder loop can do, as data; and the blocks it is made of.
 *
 * A family describes each of its layers with a struct layer_spec that comes zeroed: zero is what a
 * plain llama has, so a family states only how it differs. Nothing here is decided by the name of a
 * family.
 *
 *     embed
 *     each layer: norm, mixer, [post norm], residual, norm, feed-forward, [post norm], residual
 *     wanted rows, norm, head
 *
 * Blocks record operations into the graph; their errors are the graph's. Biases are added wherever
 * the file has them. Names in comments are the tensors a block reads, without "blk.<il>." and
 * ".weight".
 */
#ifndef MODELS_DECODER_H
#define MODELS_DECODER_H

#include "graph/graph.h"

#include <stdbool.h>
#include <stdint.h>

struct model;
struct layer_spec;

enum mixer_kind {
    MIX_ATTN,   /* attn.c: softmax attention, keys and values per head or group of heads (GQA) */
    MIX_MLA,    /* mla.c: multi-head latent attention */
    MIX_CONV,   /* conv.c: gated short convolution */
    MIX_GDN,    /* gdn.c: gated delta net */
    MIX_MAMBA2, /* mamba2.c */
};

struct rope_spec {
    bool off; /* this layer does not know positions */
    enum grope_pair pair;
    float base;     /* 0: hp.rope_base */
    uint32_t n_rot; /* dims rotated; 0: hp.n_rot */
    bool unscaled;  /* rope.scaling.* and tensors of factors do not concern this layer */
    bool flat;      /* yarn leaves the size of cos and sin alone (the family scales scores) */
    const uint32_t *section; /* (4) interleaved sections for time, height, width, -; NULL: none */
};

enum qk_norm {
    QK_NORM_NONE,
    QK_NORM_HEAD, /* over each head */
    QK_NORM_FULL, /* over all heads together */
};

struct attn_spec {
    uint32_t dim_k, dim_v; /* of a head; 0: hp's */
    float scale;           /* of the scores; 0: 1/sqrt(dim_k) */
    uint32_t window;       /* 0: everything before */
    float softcap;         /* of the scores; 0: none */
    enum qk_norm qk_norm;  /* attn_q_norm, attn_k_norm: before rope */
    bool gated;            /* attn_q is [query | gate] per head: the result times sigmoid(gate) */
    bool sinks;            /* attn_sinks */
    bool v_norm;           /* each value head goes through an RMS norm without weights */
    bool v_is_k;    /* the values are the keys before their norm and rope: there is no attn_v */
    bool kv_shared; /* no keys and values of its own: uses the cache of layer kv_layer */
    uint32_t kv_layer;
    float temp_scale; /* struct gattn's; 0: none */
    uint32_t temp_len;
    uint32_t q_rank, kv_rank; /* MLA: latent widths; q_rank is used where there is attn_q_a */
};

struct recur_spec {   /* conv, gated delta net, mamba2 */
    uint32_t n_tap;   /* of the convolution */
    uint32_t n_head;  /* value heads */
    uint32_t n_group; /* key heads (delta net), groups of B and C (mamba2) */
    uint32_t dim;     /* channels of a value head */
    uint32_t n_state; /* channels of a key head (delta net: = dim), state per channel (mamba2) */
    bool tiled;       /* delta net: value head h reads key head h % n_group, not its neighbours' */
};

enum moe_shared {
    MOE_SHARED_NONE,
    MOE_SHARED_ADDED,
    MOE_SHARED_GATED, /* times sigmoid(ffn_gate_inp_shexp . x) */
};

struct moe_spec {
    uint32_t n_ff;          /* of an expert; 0: hp.n_ff_exp */
    enum gmoe_gate gating;  /* 0: softmax */
    bool renormalise;       /* the chosen weights sum to 1 */
    float scale;            /* of the weights; 0: none */
    bool choice_bias;       /* exp_probs_b must be there (otherwise it is used where it is) */
    bool router_raw;        /* the router sees the residual stream as it enters the layer */
    enum moe_shared shared; /* ffn_gate_shexp, ffn_up_shexp, ffn_down_shexp */
    uint32_t n_ff_shared;   /* 0: hp.n_ff_shexp */
};

struct ffn_spec {
    bool is_moe;
    enum gact act; /* 0: SiLU */
    bool ungated;  /* down(act(up x)): there is no gate matrix */
    struct moe_spec moe;
};

struct layer_spec {
    enum mixer_kind mixer;
    struct rope_spec rope;
    struct attn_spec attn;
    struct recur_spec recur;
    struct ffn_spec ffn;
    const char *mixer_norm;      /* NULL: "attn_norm" */
    const char *mixer_post_norm; /* on the mixer's output; NULL: none */
    const char *ffn_norm;        /* NULL: "ffn_norm" */
    const char *ffn_post_norm;   /* on the feed-forward output; NULL: none */
    float residual_scale;        /* of both outputs before they are added; 0: none */
    /* In place of {ffn_norm, feed-forward}, for a family that puts it together otherwise. x: the
     * residual stream. */
    struct gval (*ffn_own)(struct model *m, struct graph *g, uint32_t il,
                           const struct layer_spec *s, struct gval x);
    /* After the layer's last residual. side: what decoder_spec.side made. */
    struct gval (*finish)(struct model *m, struct graph *g, uint32_t il, struct gval x,
                          struct gval side);
};

struct decoder_spec {
    float embed_scale;      /* 0: none */
    const char *final_norm; /* NULL: "output_norm" */
    float logit_divisor;    /* 0: none */
    float logit_softcap;    /* 0: none */
    /* A side input for the finish of every layer, made from the embedding; NULL: none. */
    struct gval (*side)(struct model *m, struct graph *g, struct gval x);
};

/* ---- decoder.c */
/* Checks that the sizes of every layer fit together, so that no builder call can divide by zero or
 * wrap. */
void decoder_check(struct model *m);
/* Records the whole forward pass and returns the logits. */
struct gval decoder_build(struct model *m, struct graph *g);
/* RMS norm with weights "<name>.weight" and, where the file has it, "<name>.bias". */
struct gval decoder_norm(struct model *m, struct graph *g, uint32_t il, const char *name,
                         struct gval x, uint32_t dim);
/* "<name>.weight" times x plus "<name>.bias" where the file has it. */
struct gval decoder_mul(struct model *m, struct graph *g, uint32_t il, const char *name,
                        struct gval x, uint32_t n_out);

/* ---- mixers: x is normed, the result has n_embd columns */
struct gval attn_block(struct model *m, struct graph *g, uint32_t il, const struct layer_spec *s,
                       struct gval x);
struct gval mla_block(struct model *m, struct graph *g, uint32_t il, const struct layer_spec *s,
                      struct gval x);
struct gval conv_block(struct model *m, struct graph *g, uint32_t il, const struct layer_spec *s,
                       struct gval x);
struct gval gdn_block(struct model *m, struct graph *g, uint32_t il, const struct layer_spec *s,
                      struct gval x);
struct gval mamba2_block(struct model *m, struct graph *g, uint32_t il, const struct layer_spec *s,
                         struct gval x);
/* conv.c: causal depthwise convolution "<name>.weight" {n_tap, x's columns} with "<name>.bias"
 * where the file has it. */
struct gval conv_taps(struct model *m, struct graph *g, uint32_t il, const char *name,
                      struct gval x, uint32_t n_tap, bool silu);

/* ---- feed-forward */
/* ffn_gate<suffix>, ffn_up<suffix>, ffn_down<suffix> of width n_ff; suffix "" or "_shexp". */
struct gval ffn_block(struct model *m, struct graph *g, uint32_t il, const struct ffn_spec *s,
                      const char *suffix, uint32_t n_ff, struct gval x);
/* Routed experts plus the shared one. router_in: what ffn_gate_inp sees. */
struct gval moe_block(struct model *m, struct graph *g, uint32_t il, const struct ffn_spec *s,
                      struct gval x, struct gval router_in);

/* ---- rope.c */
/* The table of this layer's rotations, made once for equal ones. The rope must not be off. */
uint32_t rope_table(struct model *m, struct graph *g, const struct rope_spec *s);

#endif
