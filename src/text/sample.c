/*
 * sample.c: the sampling chain.
 *
 * Candidates are (logit, id) pairs in the order "higher logit first, then lower id", so equal logits never make the
 * outcome depend on a sort's whim. top-k is selected with a heap of k, which costs one pass over the vocabulary; only
 * what is left is sorted. Each later stage cuts a tail of the sorted list, so the list stays sorted to the draw.
 */
#include "text/sample.h"

#include "base/mem.h"

#include <assert.h>
#include <math.h>
#include <stdbool.h>
#include <stddef.h>

struct cand {
    float logit;
    uint32_t id;
};

struct sampler {
    struct sample_opts o;
    uint32_t n_vocab;
    struct cand *cand; /* (n_vocab) */
    double *prob;      /* (n_vocab) */
    uint64_t rng[4];
};

/* ---- generator: xoshiro256** seeded by splitmix64 --------------------------------------------- */

static uint64_t splitmix64(uint64_t *state)
{
    uint64_t z = *state += 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

static uint64_t rotl(uint64_t x, int k)
{
    return x << k | x >> (64 - k);
}

static uint64_t next_u64(uint64_t s[4])
{
    const uint64_t result = rotl(s[1] * 5, 7) * 9;
    const uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotl(s[3], 45);
    return result;
}

/* Uniform in [0, 1) with 53 bits. */
static double next_unit(uint64_t s[4])
{
    return (double)(next_u64(s) >> 11) * 0x1p-53;
}

/* ---- candidates ------------------------------------------------------------------------------- */

static bool before(struct cand a, struct cand b)
{
    return a.logit > b.logit || (a.logit == b.logit && a.id < b.id);
}

/* Restores the heap property below i: the parent comes after its children, so the root is the last of all. */
static void sift_down(struct cand *h, size_t n, size_t i)
{
    for (;;) {
        size_t last = i;
        for (size_t child = 2 * i + 1; child <= 2 * i + 2; child++)
            if (child < n && before(h[last], h[child])) last = child;
        if (last == i) return;
        const struct cand t = h[i];
        h[i] = h[last];
        h[last] = t;
        i = last;
    }
}

/* The first k candidates of the vocabulary, sorted, into s->cand; returns their number. */
static size_t take_first(struct sampler *s, const float *logits, size_t k)
{
    const size_t n = k == 0 || k > s->n_vocab ? s->n_vocab : k;
    for (uint32_t i = 0; i < n; i++) s->cand[i] = (struct cand){logits[i], i};
    for (size_t i = n / 2; i > 0; i--) sift_down(s->cand, n, i - 1);
    for (uint32_t i = (uint32_t)n; i < s->n_vocab; i++) {
        const struct cand c = {logits[i], i};
        if (!before(c, s->cand[0])) continue;
        s->cand[0] = c;
        sift_down(s->cand, n, 0);
    }
    for (size_t left = n; left > 1; left--) { /* heap sort: the last of the rest goes to the end */
        const struct cand t = s->cand[0];
        s->cand[0] = s->cand[left - 1];
        s->cand[left - 1] = t;
        sift_down(s->cand, left - 1, 0);
    }
    return n;
}

/* prob[i] = exp((logit[i] - logit[0]) / temp); returns the sum. */
static double exp_all(struct sampler *s, size_t n, double temp)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        s->prob[i] = exp(((double)s->cand[i].logit - (double)s->cand[0].logit) / temp);
        sum += s->prob[i];
    }
    return sum;
}

/* Holtzman et al. 2020: the shortest head that reaches probability p. */
static size_t cut_top_p(const struct sampler *s, size_t n, double sum)
{
    double head = 0;
    for (size_t i = 0; i < n; i++) {
        head += s->prob[i];
        if (head >= (double)s->o.top_p * sum) return i + 1;
    }
    return n;
}

/* Nguyen et al. 2024: those with at least p times the probability of the likeliest. */
static size_t cut_min_p(const struct sampler *s, size_t n)
{
    while (n > 1 && s->prob[n - 1] < (double)s->o.min_p * s->prob[0]) n--;
    return n;
}

/* ---- interface -------------------------------------------------------------------------------- */

enum err sampler_open(struct sampler **out, const struct sample_opts *o, uint32_t n_vocab)
{
    assert(out);
    assert(n_vocab >= 1);
    *out = NULL;
    if (!(o->temp >= 0) || !(o->top_p > 0 && o->top_p <= 1) || !(o->min_p >= 0 && o->min_p < 1))
        return err_set(ERR_USAGE, "temperature %g, top-p %g, min-p %g: expected at least 0, above 0 up to 1, and 0 up to "
                       "below 1", (double)o->temp, (double)o->top_p, (double)o->min_p);
    struct sampler *s = mem_alloc(MEM_MISC, sizeof *s);
    if (!s) return ERR_MEMORY;
    s->o = *o;
    s->n_vocab = n_vocab;
    s->cand = mem_alloc_array(MEM_MISC, n_vocab, sizeof *s->cand);
    s->prob = mem_alloc_array(MEM_MISC, n_vocab, sizeof *s->prob);
    uint64_t seed = o->seed;
    for (int i = 0; i < 4; i++) s->rng[i] = splitmix64(&seed);
    if (!s->cand || !s->prob) {
        sampler_close(s);
        return ERR_MEMORY;
    }
    *out = s;
    return OK;
}

void sampler_close(struct sampler *s)
{
    if (!s) return;
    mem_free(s->cand);
    mem_free(s->prob);
    mem_free(s);
}

uint32_t sample_argmax(const float *logits, uint32_t n_vocab)
{
    assert(n_vocab >= 1);
    uint32_t best = 0;
    for (uint32_t i = 1; i < n_vocab; i++)
        if (logits[i] > logits[best]) best = i;
    return best;
}

uint32_t sampler_next(struct sampler *s, const float *logits)
{
    if (s->o.temp == 0) return sample_argmax(logits, s->n_vocab);
    size_t n = take_first(s, logits, s->o.top_k);
    double sum = exp_all(s, n, 1.0);
    if (s->o.top_p < 1) n = cut_top_p(s, n, sum);
    if (s->o.min_p > 0) n = cut_min_p(s, n);
    sum = exp_all(s, n, (double)s->o.temp);
    double left = next_unit(s->rng) * sum;
    for (size_t i = 0; i + 1 < n; i++) {
        left -= s->prob[i];
        if (left < 0) return s->cand[i].id;
    }
    return s->cand[n - 1].id;
}
