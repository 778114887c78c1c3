/*
 * graph.h: a model's forward pass as a list of operations, recorded once and walked for every step.
 *
 * A family file reads like a forward pass while it records:
 *
 *     struct gval h = g_rmsnorm(g, x, w_norm, NULL, n_embd, eps);
 *     struct gval q = g_mul(g, wq, h, NULL);
 *     x = g_add(g, x, q);
 *
 * Values. A struct gval names columns [at, at + n) of a buffer: one float32 row per token, so
 * shapes do not depend on the number of tokens and the same list serves prefill and decode. Buffers
 * are laid into one arena by their lifetimes (plan.c). g_cols() makes a narrower view of the same
 * buffer.
 *
 * Errors. A builder call that fails (no memory, a shape that does not fit) records it in the graph
 * and returns GVAL_NONE; calls on GVAL_NONE do nothing; graph_finish() reports the first failure.
 * So a family file has no error paths.
 *
 * Ownership: weights (struct tensor, float vectors) are borrowed for the graph's life.
 * Threads: built by one thread; immutable after graph_finish().
 */
#ifndef GRAPH_GRAPH_H
#define GRAPH_GRAPH_H

#include "base/err.h"
#include "base/limits.h"
#include "graph/ports.h"
#include "tensor/tensor.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct gval {
    int32_t buf; /* index of the buffer, < 0: none */
    uint32_t at; /* first column */
    uint32_t n;  /* columns */
};
#define GVAL_NONE ((struct gval){.buf = -1, .at = 0, .n = 0})

enum gop_kind {
    GOP_EMBED,     /* dst = row of w for each token, * scale */
    GOP_MUL,       /* dst[i] = w[i] src0 + bias[i], i < n_out */
    GOP_MUL_HEADS, /* per head: dst_h = w_h src_h (or w_h^T src_h) */
    GOP_RMSNORM,   /* per group of dim: src0 / sqrt(mean(src0^2) + eps) * w + b */
    GOP_L2NORM,    /* per group of dim: src0 / max(|src0|, eps) */
    GOP_ROPE,      /* rotates dst in place */
    GOP_KV,        /* append src0 (keys), src1 (values) to the layer's cache */
    GOP_ATTN,      /* dst0 = attention of src0 over the cache; dst1: running (max, sum) per head */
    GOP_ACT,       /* dst = act(src0) */
    GOP_GLU,       /* dst = act(src0) * src1 */
    GOP_ADD,       /* dst = src0 + scale * src1 */
    GOP_MULV,      /* dst = src0 * src1 (columns, or one column for all) */
    GOP_SCALE,     /* dst = src0 * scale (* vec, one for each column, or a single one) */
    GOP_SOFTCAP,   /* dst = cap * tanh(src0 / cap) */
    GOP_COPY,      /* dst = src0, group by group */
    GOP_MOE,       /* dst = sum over chosen experts; src0 hidden, src1 router logits */
    GOP_CONV,      /* causal depthwise convolution with state */
    GOP_GDN,       /* gated delta net recurrence with state */
    GOP_SSM,       /* mamba2 recurrence with state */
    GOP_REDUCE,    /* sum of dst over the ranks; nothing on one rank */
    GOP_OUT_ROWS,  /* from here on only the rows whose logits are asked for */
    GOP_KIND_COUNT
};

/* The same numbers as enum kern_act. */
enum gact {
    GACT_SILU,
    GACT_GELU,
    GACT_RELU,
    GACT_RELU2,
    GACT_SIGMOID,
    GACT_SOFTPLUS,
    GACT_SWIGLU_OAI,
};

enum grope_pair { GROPE_NORM /* (2i, 2i+1) */, GROPE_NEOX /* (i, i + n_rot/2) */ };

struct grope_table {       /* cos and sin of one kind of rope, made once per step for all layers */
    uint32_t n_rot;        /* dims rotated, even */
    const float *inv_freq; /* n_rot/2: angle of pair i at position p is p * inv_freq[i] */
    float magnitude;       /* cos and sin are multiplied by this (yarn, longrope) */
};

struct gattn {
    uint32_t n_head, n_head_kv, dim_k, dim_v;
    uint32_t kv_layer; /* whose cache: the layer itself, or an earlier one that it shares */
    uint32_t window;   /* key j is visible to query i iff j <= i and i - j < window; 0 = all */
    float scale;
    float softcap;      /* 0 = none */
    const float *sinks; /* (n_head): one extra logit in each denominator, or NULL */
    float temp_scale;   /* queries times 1 + temp_scale * ln(1 + floor(pos / temp_len)); 0 = none */
    uint32_t temp_len;
    bool v_in_k; /* of the cache; g_attn() fills it in */
};

/* The numbers of GGUF's expert_gating_func. */
enum gmoe_gate {
    GMOE_SOFTMAX = 1,
    GMOE_SIGMOID = 2,
    GMOE_SOFTMAX_CHOSEN = 3,
    GMOE_SQRT_SOFTPLUS = 4,
};

struct gmoe {
    uint32_t n_expert, n_used, n_ff;
    uint32_t n_group, n_group_used; /* <= 1: no groups */
    enum gmoe_gate gating;
    bool renormalise; /* divide the chosen weights by their sum (at least 2^-14) */
    float scale;      /* of the weights; 1 = none */
    enum gact act;
    const float *choice_bias;     /* (n_expert): added to the score for the choice only, or NULL */
    struct tensor gate, up, down; /* 3-D; a fused gate_up is given as two views of it */
    /* (n_expert, n_ff) twice, (n_expert, n_embd); NULL = none */
    const float *gate_bias, *up_bias, *down_bias;
    /* (n_expert): factors of each expert's products; NULL = none */
    const float *gate_scale, *up_scale, *down_scale;
    struct gval y; /* working row: n_used * n_embd */
};

struct gconv {
    uint32_t n_tap;
    const float *w;    /* (n_channel, n_tap), tap 0 oldest */
    const float *bias; /* (n_channel) or NULL */
    bool silu;
    uint32_t state_at; /* floats into the layer's state: (n_tap - 1, n_channel), oldest first */
};

/* src: q, k, v, and beta then alpha as raw projections. */
struct ggdn {
    uint32_t n_head, n_head_k; /* value heads, key heads */
    uint32_t dim;              /* of a key and of a value head */
    bool tiled; /* key head of value head h: h % n_head_k, otherwise h / (n_head / n_head_k) */
    const float *a, *dt_bias; /* (n_head): decay = exp(a * softplus(alpha + dt_bias)) */
    uint32_t state_at;        /* (n_head, dim, dim) */
};

/* src: x, B, C, dt as raw projections. */
struct gssm {
    uint32_t n_head, n_group, dim, n_state; /* dim channels per head */
    const float *a, *d, *dt_bias;           /* (n_head) each */
    uint32_t state_at;                      /* (n_head, dim, n_state) */
};

#define GOP_SRC_MAX 4
#define GOP_OUT_MAX 3

struct gop {
    enum gop_kind kind;
    uint32_t layer; /* for messages and ports; GLAYER_NONE outside the layers */
    struct gval src[GOP_SRC_MAX];
    struct gval dst[GOP_OUT_MAX];
    uint32_t n_out;
    struct tensor w[GOP_OUT_MAX];
    const float *bias[GOP_OUT_MAX];
    union {
        struct {
            float scale;
        } embed;
        struct {
            uint32_t n_head;
            bool transposed;
        } heads;
        struct {
            const float *w, *b;
            uint32_t dim;
            float eps;
            bool w_per_group;
        } norm;
        struct {
            uint32_t table, n_head, head_dim, at;
            enum grope_pair pair;
        } rope;
        struct gattn attn;
        enum gact act;
        struct {
            float factor;
            const float *vec;
            uint32_t n_vec;
        } scale;
        float cap;
        struct {
            uint32_t n_group, src_step, dst_step, n;
        } copy;
        struct gmoe moe;
        struct gconv conv;
        struct ggdn gdn;
        struct gssm ssm;
    } u;
};
#define GLAYER_NONE UINT32_MAX

struct gbuf {
    uint32_t n_col;
    uint32_t first_op, last_op; /* lifetime */
    bool n_out_rows;            /* born at or after GOP_OUT_ROWS: one row per wanted logit row */
    size_t offset;              /* floats per token from the arena's start; set by plan.c */
};

struct graph {
    struct gop *op;
    uint32_t n_op, cap_op;
    struct gbuf *buf;
    uint32_t n_buf, cap_buf;
    struct grope_table *rope;
    uint32_t n_rope, cap_rope;
    uint32_t n_layer;
    struct kv_shape kv[LAYERS_MAX];
    uint32_t state_floats[LAYERS_MAX];
    uint32_t layer; /* being built */
    struct gval logits;
    size_t row_floats; /* arena floats per token, from plan.c: up to GOP_OUT_ROWS */
    size_t out_floats; /* the same for each wanted row, after it */
    enum err err;      /* first failure of a builder call */
};

enum err graph_new(struct graph **g, uint32_t n_layer);
void graph_free(struct graph *g);
/* Lifetimes, arena offsets, checks; reports the first failure of the builder. logits: the last
 * value. */
enum err graph_finish(struct graph *g, struct gval logits);
enum err graph_plan(struct graph *g); /* plan.c; called by graph_finish */
/* Floats between rows: n_col rounded up to a cache line. */
uint32_t gbuf_stride(const struct gbuf *b);

/* ---- builder calls; w: weights (out rows, in columns); every returned value is new unless said
 * otherwise */
/* A view, no operation. */
struct gval g_cols(struct graph *g, struct gval v, uint32_t at, uint32_t n);
struct gval g_embed(struct graph *g, const struct tensor *w, float scale);
struct gval g_mul(struct graph *g, const struct tensor *w, struct gval x, const float *bias);
/* Up to GOP_OUT_MAX matrices with one input in a single operation. */
void g_mul_many(struct graph *g, struct gval x, uint32_t n, const struct tensor *const *w,
                const float *const *bias, struct gval *dst);
/* w (n_in, n_out, n_head): x (n_head * n_in) -> (n_head * n_out). transposed: w is (n_out, n_in,
 * n_head) in memory. */
struct gval g_mul_heads(struct graph *g, const struct tensor *w, struct gval x, uint32_t n_head,
                        bool transposed);
struct gval g_rmsnorm(struct graph *g, struct gval x, const float *w, const float *b, uint32_t dim,
                      float eps);
struct gval g_rmsnorm_groups(struct graph *g, struct gval x, const float *w, uint32_t dim,
                             float eps);
struct gval g_l2norm(struct graph *g, struct gval x, uint32_t dim, float eps);
/* A table for g_rope; inv_freq is copied. Equal tables are made once. */
uint32_t g_rope_table(struct graph *g, uint32_t n_rot, const float *inv_freq, float magnitude);
/* Rotates dims [at, at + n_rot) of each head of x in place. */
void g_rope(struct graph *g, struct gval x, uint32_t table, uint32_t head_dim, uint32_t at,
            enum grope_pair pair);
void g_kv(struct graph *g, struct gval k, struct gval v, const struct kv_shape *shape);
struct gval g_attn(struct graph *g, struct gval q, const struct gattn *spec);
struct gval g_act(struct graph *g, enum gact act, struct gval x);
struct gval g_glu(struct graph *g, enum gact act, struct gval gate, struct gval up);
struct gval g_add(struct graph *g, struct gval a, struct gval b);
struct gval g_add_scaled(struct graph *g, struct gval a, struct gval b, float s); /* a + s * b */
struct gval g_mulv(struct graph *g, struct gval a, struct gval b); /* b has a's columns, or one */
struct gval g_scale(struct graph *g, struct gval x, float s);
struct gval g_scale_vec(struct graph *g, struct gval x, float s, const float *vec, uint32_t n_vec);
struct gval g_softcap(struct graph *g, struct gval x, float cap);
/* n_group pieces of n columns, src_step apart in x from column `at`, packed one after the other. */
struct gval g_pick(struct graph *g, struct gval x, uint32_t n_group, uint32_t at, uint32_t src_step,
                   uint32_t n);
/* The reverse: x's pieces of n columns into dst at `at`, dst_step apart. */
void g_place(struct graph *g, struct gval dst, struct gval x, uint32_t n_group, uint32_t at,
             uint32_t dst_step, uint32_t n);
struct gval g_new(struct graph *g, uint32_t n); /* columns to be filled by g_place */
struct gval g_moe(struct graph *g, struct gval x, struct gval logits, const struct gmoe *spec);
struct gval g_conv(struct graph *g, struct gval x, const struct gconv *spec);
struct gval g_gdn(struct graph *g, struct gval q, struct gval k, struct gval v,
                  struct gval beta_alpha, const struct ggdn *spec);
struct gval g_ssm(struct graph *g, struct gval x, struct gval b, struct gval c, struct gval dt,
                  const struct gssm *spec);
void g_reduce(struct graph *g, struct gval x);
/* x as it goes to the head: only rows whose logits are wanted. */
struct gval g_out_rows(struct graph *g, struct gval x);
/* Reserve n floats of the current layer's recurrent state; returns where they start. */
uint32_t g_state(struct graph *g, uint32_t n);
/* Record a failure; the first one wins. */
void g_fail(struct graph *g, enum err e);

#endif
