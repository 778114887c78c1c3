/*
 * hparams.h: the keys that nearly every family has.
 */
#ifndef MODELS_HPARAMS_H
#define MODELS_HPARAMS_H

#include "models/decoder.h"
#include "models/model.h"

/* Fills m->hp from the common keys; relations between them are decoder_check()'s business, after
 * the family's turn. */
void hparams_read(struct model *m);
/* Which layers have a sliding window, from "attention.sliding_window_pattern": an array says it for
 * each layer; a number p (or `period` when the key is absent) means that every p-th layer sees
 * everything, the others a window. */
void hparams_windows(struct model *m, uint32_t period, bool *windowed);
/* "expert_gating_func" as in GGUF; absent or 0: `otherwise` (0: then the key is required). */
void hparams_gating(struct model *m, enum gmoe_gate otherwise, enum gmoe_gate *gating);
/* "ssm.*": sizes of a recurrent mixer, checked against each other. */
void hparams_ssm(struct model *m, struct recur_spec *r);
/* The base of a kind of rope; absent: *base stays. */
void hparams_rope_base(struct model *m, const char *name, float *base);
/* A cap of scores or logits, 0 for none; absent: *cap stays. */
void hparams_cap(struct model *m, const char *name, float *cap);
/* "leading_dense_block_count": layers before the first one with experts; absent: 0. */
void hparams_n_dense_lead(struct model *m, uint32_t *n);

/* What DeepSeek-like experts leave to the file. */
struct moe_keys {
    uint32_t n_dense_lead, n_shared;
    enum gmoe_gate gating;
    bool renormalise;
    float weight_scale; /* 0: none */
};

/* gating: where the file does not say it. */
void hparams_moe(struct model *m, enum gmoe_gate gating, struct moe_keys *k);

#endif
