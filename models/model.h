/*
 * model.h: a model file seen by a family: its hyper-parameters and its tensors, read with checks.
 *
 * Hyper-parameters are keys "<arch>.<name>"; every read states the legal range and a failure names
 * the key, what was found and what was expected. Weights are looked up while the graph is built:
 * the place that uses a tensor states its name and shape, so there is no second list of tensors to
 * keep in step.
 *
 *     model_u32(m, "attention.sliding_window", KEY_OPTIONAL, 0, CTX_MAX, &window);
 *     const struct tensor *w = model_weight(m, g, il, "attn_q", n_embd, n_head * dim, 1);
 *     const float *b = model_vec_opt(m, g, il, "attn_q.bias", n_head * dim); // NULL: not there
 *
 * Ownership: everything returned lives as long as the model, which lives shorter than its file.
 * Threads: one at a time; model_build() may convert and keep vectors.
 */
#ifndef MODELS_MODEL_H
#define MODELS_MODEL_H

#include "graph/graph.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct gguf;
struct arch;

enum rope_scaling_type {
    ROPE_SCALING_NONE,
    ROPE_SCALING_LINEAR,
    ROPE_SCALING_YARN,
    ROPE_SCALING_LONGROPE
};

struct rope_scaling {
    enum rope_scaling_type type;
    float factor;        /* angles of low frequencies are divided by this; > 0 */
    float attn_factor;   /* of cos and sin; 1 = none */
    uint32_t n_ctx_orig; /* context that the model was trained with before it was stretched */
};

struct hparams {      /* what nearly every family has; families keep their own beside it */
    uint32_t n_layer; /* that run: block_count without trailing next-token-prediction layers */
    uint32_t n_embd, n_vocab, n_ctx_train;
    uint32_t n_head[LAYERS_MAX], n_head_kv[LAYERS_MAX], n_ff[LAYERS_MAX];
    uint32_t dim_k, dim_v; /* of a head */
    uint32_t n_rot;
    float eps, rope_base;
    struct rope_scaling rope_scaling;
    uint32_t n_expert, n_expert_used, n_ff_exp, n_ff_shexp; /* widths 0: the file does not say */
    uint32_t n_expert_group, n_expert_group_used;
};

struct model_copy; /* a vector that had to be converted to float32 */

struct model {
    const struct gguf *file; /* borrowed */
    const struct arch *arch;
    struct hparams hp;
    enum err err;   /* first failure of reading */
    uint32_t n_ctx; /* configured context of the graph being built (longrope depends on it) */
    void *own;      /* the family's own parameters, from model_own(), or NULL */
    struct model_copy *copy; /* owned, each made once */
    uint32_t n_copy, cap_copy;
};

/* Finds the family, reads and checks all hyper-parameters. ERR_INPUT: unknown architecture (named,
 * with the list of known ones), a key that is missing or out of range. n_vocab: tokens of the
 * tokenizer, 0 if unknown (then the embedding's rows count). */
enum err model_open(struct model **m, const struct gguf *file, uint32_t n_vocab);
void model_close(struct model *m); /* NULL is fine; graphs built from it must be gone */
/* Records the forward pass for a session with this context. *g: graph_free(). */
enum err model_build(struct model *m, uint32_t n_ctx, struct graph **g);

/* ---- for families: keys "<arch>.<name>". Absent and optional: *out stays. The first failure is
 * kept in m->err and makes later calls do nothing, so that a family reads without error paths; it
 * must not divide by what it has read without looking at m->err. */
enum model_need { KEY_OPTIONAL, KEY_REQUIRED };

void model_u32(struct model *m, const char *name, enum model_need need, uint32_t min, uint32_t max,
               uint32_t *out);
void model_f32(struct model *m, const char *name, enum model_need need, float min, float max,
               float *out);
void model_bool(struct model *m, const char *name, enum model_need need, bool *out);
/* One value for all, or an array of at least n; bools count as 0 and 1. */
void model_u32_each(struct model *m, const char *name, enum model_need need, uint32_t min,
                    uint32_t max, uint32_t *out, size_t n);
/* The position of a string key's value in a list that ends with NULL. */
void model_choice(struct model *m, const char *name, const char *const *values, uint32_t *out);
bool model_has_key(const struct model *m, const char *name);
bool model_key_is_array(const struct model *m, const char *name);
/* Fails with "<file>: key '<arch>.<name>' is <found>, expected <expected>". */
void model_refuse(struct model *m, const char *name, uint64_t found, const char *expected, ...)
    PRINTF_LIKE(4, 5);
/* Room for the family's own parameters, zeroed, in m->own. NULL: no memory, m->err is set. */
void *model_own(struct model *m, size_t n_bytes);

/* ---- for families and blocks: tensors "blk.<il>.<name>", or "<name>" for il == GLAYER_NONE.
 * Shapes in GGUF order. A missing or misshapen required tensor is recorded in the graph (g_fail)
 * and NULL comes back; after a failure of the graph every call returns NULL. Names are full
 * (".weight" included) but for model_weight(). */
bool model_has(const struct model *m, uint32_t il, const char *name);
const struct tensor *model_weight(const struct model *m, struct graph *g, uint32_t il,
                                  const char *name, uint64_t n_in, uint64_t n_out,
                                  uint64_t n_plane); /* adds ".weight" */
/* n items in any shape, as float32: borrowed from the file where they are, converted once where
 * they are not. */
const float *model_vec(struct model *m, struct graph *g, uint32_t il, const char *name, uint64_t n);
const float *model_vec_opt(struct model *m, struct graph *g, uint32_t il, const char *name,
                           uint64_t n); /* NULL: absent */
/* The same for exactly {n_col, n_row}. */
const float *model_table(struct model *m, struct graph *g, uint32_t il, const char *name,
                         uint64_t n_col, uint64_t n_row);

/* Fails the graph with "<file>: tensor 'blk.<il>.<name>' <what>" (name in full). */
void model_refuse_tensor(const struct model *m, struct graph *g, uint32_t il, const char *name,
                         const char *what, ...) PRINTF_LIKE(5, 6);

#endif
