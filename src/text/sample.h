/*
 * sample.h: from logits to the next token.
 *
 *     struct sampler *s;
 *     struct sample_opts o = SAMPLE_DEFAULTS;
 *     enum err e = sampler_open(&s, &o, n_vocab);
 *     for (i = 0; i < n_prompt; i++) sampler_accept(s, prompt[i]);   // what penalties look back on
 *     uint32_t id = sampler_next(s, logits);
 *     sampler_accept(s, id);
 *
 * The chain, in llama.cpp's order: logit bias, penalties, mask, top-k, typical, top-p, min-p,
 * temperature, draw. temperature 0 is greedy: the highest logit after bias, penalties and mask,
 * ties to the lowest id. The same logits, options, history and seed give the same tokens
 * everywhere: candidates stand in the order of (logit, id), or of ids alone where no filter is on,
 * probabilities are summed in double in that order, the generator is xoshiro256** (Blackman & Vigna
 * 2018) seeded by splitmix64.
 *
 * Penalties look back on the last `penalty_last` accepted tokens, c times each: a logit l becomes
 * l / repeat (l > 0) or l * repeat (l <= 0) (Keskar et al. 2019, CTRL), minus frequency * c +
 * presence (OpenAI). Typical: Meister et al. 2023; top-p: Holtzman et al. 2020; min-p: Nguyen et
 * al. 2024.
 * Threads: one at a time per sampler.
 */
#ifndef TEXT_SAMPLE_H
#define TEXT_SAMPLE_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

#define SAMPLE_TEMP_MAX 100    /* far beyond any use: all tokens are about equal from 10 on */
#define SAMPLE_REPEAT_MIN 0.01 /* it divides */
#define SAMPLE_REPEAT_MAX 100
#define SAMPLE_PENALTY_MAX 2 /* OpenAI's range */

struct sample_bias {
    uint32_t id;
    float add; /* finite, or -INFINITY: never, unless nothing else is left */
};

struct sample_opts {
    float temp;                     /* [0, SAMPLE_TEMP_MAX]; 0 = greedy */
    uint32_t top_k;                 /* 0 = all */
    float top_p;                    /* [0, 1]; 1 = off, 0 = the likeliest alone */
    float min_p;                    /* [0, 1]; 0 = off, 1 = those as likely as the likeliest */
    float typical;                  /* [0, 1]; 1 = off, 0 = the most typical alone */
    float repeat;                   /* [SAMPLE_REPEAT_MIN, SAMPLE_REPEAT_MAX]; 1 = off */
    float presence, frequency;      /* [-SAMPLE_PENALTY_MAX, SAMPLE_PENALTY_MAX]; 0 = off */
    int32_t penalty_last;           /* tokens looked back on, at most CTX_MAX; 0 = none, -1 = all */
    const struct sample_bias *bias; /* (n_bias); copied; those of one id add up */
    size_t n_bias;
    uint64_t seed;
};
#define SAMPLE_DEFAULTS                                                                            \
    ((struct sample_opts){.temp = 0.8f,                                                            \
                          .top_k = 40,                                                             \
                          .top_p = 0.95f,                                                          \
                          .min_p = 0.05f,                                                          \
                          .typical = 1,                                                            \
                          .repeat = 1,                                                             \
                          .penalty_last = 64})

struct sampler;

/* Room for a constraint (grammar, JSON schema): called before each choice; clears the bits of ids
 * that may not come. allowed: (n_vocab + 63) / 64 words, all ones on entry; at least one id must
 * stay. */
typedef void sample_mask_fn(void *ctx, uint64_t *allowed);

/* ERR_USAGE: an option outside its range, naming it; a bias of an id outside the vocabulary, more
 * than SAMPLE_BIASES_MAX of them. */
enum err sampler_open(struct sampler **s, const struct sample_opts *o, uint32_t n_vocab);
void sampler_close(struct sampler *s);                               /* NULL is fine */
void sampler_mask(struct sampler *s, sample_mask_fn *fn, void *ctx); /* NULL: none */
/* A token of the prompt or of the answer goes into the history of the penalties. */
void sampler_accept(struct sampler *s, uint32_t id);
/* logits: n_vocab floats, all finite (the engine has checked), left as they are. */
uint32_t sampler_next(struct sampler *s, const float *logits);
/* The greedy choice alone. n_vocab >= 1. */
uint32_t sample_argmax(const float *logits, uint32_t n_vocab);

#endif
