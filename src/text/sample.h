/*
 * sample.h: from logits to the next token: temperature, top-k, top-p, min-p, seed.
 *
 *     struct sampler *s;
 *     const struct sample_opts o = {.temp = 0.8f, .top_k = 40, .top_p = 0.95f, .seed = 1};
 *     enum err e = sampler_open(&s, &o, n_vocab);
 *     uint32_t id = sampler_next(s, logits);
 *
 * The chain, in llama.cpp's order: top-k, top-p, min-p, temperature, draw. temperature 0 is greedy:
 * the highest logit, ties to the lowest id. The same logits, options and seed give the same tokens
 * everywhere: candidates stand in the order of (logit, id), or of ids alone where no filter is on,
 * probabilities are summed in double in that order, the generator is xoshiro256** (Blackman & Vigna
 * 2018) seeded by splitmix64.
 * Threads: one at a time per sampler.
 */
#ifndef TEXT_SAMPLE_H
#define TEXT_SAMPLE_H

#include "base/err.h"

#include <stdint.h>

struct sample_opts {
    float temp;     /* >= 0; 0 = greedy */
    uint32_t top_k; /* 0 = all */
    float top_p;    /* (0, 1]; 1 = off */
    float min_p;    /* [0, 1); 0 = off */
    uint64_t seed;
};

struct sampler;

/* ERR_USAGE: an option outside its range. */
enum err sampler_open(struct sampler **s, const struct sample_opts *o, uint32_t n_vocab);
void sampler_close(struct sampler *s); /* NULL is fine */
/* logits: n_vocab floats, all finite (the engine has checked), left as they are. */
uint32_t sampler_next(struct sampler *s, const float *logits);
/* The greedy choice alone. n_vocab >= 1. */
uint32_t sample_argmax(const float *logits, uint32_t n_vocab);

#endif
