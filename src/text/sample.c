/*
 * sample.c: the sampling chain.
 *
 * Only the best candidates are ever sorted: a heap of k with the worst on top takes one comparison
 * for nearly every logit of the vocabulary. Where top-k is off, top-p and min-p still need the
 * candidates in order, but rarely many of them: the heap starts small and is widened until the cut
 * lies inside. With no filter at all nothing is sorted.
 *
 * Repetition penalties are not part of it yet.
 */
#include "text/sample.h"

#include "base/mem.h"

#include <assert.h>
#include <math.h>
#include <stdbool.h>
#include <stddef.h>

#define FIRST_BEST 256 /* candidates to begin with: text is rarely less certain than that */
#define MORE_BEST 16   /* and how many times more the next try takes */

struct cand {
    float logit;
    uint32_t id;
};

struct sampler {
    struct sample_opts o;
    uint32_t n_vocab;
    uint32_t k;        /* candidates that top-k leaves */
    struct cand *best; /* (k), best first */
    uint64_t state[4]; /* xoshiro256** */
};

/* ---- generator ------------------------------------------------------------------------------- */

static uint64_t rotl(uint64_t x, int n)
{
    return x << n | x >> (64 - n);
}

static void seed_state(uint64_t state[4], uint64_t seed)
{
    for (int i = 0; i < 4; i++) { /* splitmix64 */
        uint64_t z = seed += 0x9e3779b97f4a7c15u;
        z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
        z = (z ^ z >> 27) * 0x94d049bb133111ebu;
        state[i] = z ^ z >> 31;
    }
}

/* Uniform in [0, 1), 53 bits. */
static double next_uniform(uint64_t s[4])
{
    const uint64_t result = rotl(s[1] * 5, 7) * 9;
    const uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotl(s[3], 45);
    return (double)(result >> 11) * 0x1p-53;
}

/* ---- the best k ------------------------------------------------------------------------------ */

static bool is_worse(struct cand a, struct cand b)
{
    return a.logit < b.logit || (a.logit == b.logit && a.id > b.id);
}

/* Puts c at the top of a heap of n with the worst on top, in place of what is there. */
static void sift_down(struct cand *heap, uint32_t n, struct cand c)
{
    uint32_t i = 0;
    for (uint32_t child = 1; child < n; child = 2 * i + 1) {
        if (child + 1 < n && is_worse(heap[child + 1], heap[child])) child++;
        if (!is_worse(heap[child], c)) break;
        heap[i] = heap[child];
        i = child;
    }
    heap[i] = c;
}

static void sift_up(struct cand *heap, uint32_t i, struct cand c)
{
    while (i > 0 && is_worse(c, heap[(i - 1) / 2])) {
        heap[i] = heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    heap[i] = c;
}

static void select_best(const struct sampler *s, const float *logits, uint32_t k)
{
    assert(k > 0 && k <= s->k);
    struct cand *heap = s->best;
    for (uint32_t id = 0; id < k; id++) sift_up(heap, id, (struct cand){logits[id], id});
    for (uint32_t id = k; id < s->n_vocab; id++) { /* an equal logit of a higher id is worse */
        if (logits[id] > heap[0].logit) sift_down(heap, k, (struct cand){logits[id], id});
    }
    for (uint32_t n = k; n > 1; n--) {
        const struct cand worst = heap[0];
        sift_down(heap, n - 1, heap[n - 1]);
        heap[n - 1] = worst;
    }
}

/* ---- filters --------------------------------------------------------------------------------- */

/* Candidates at the front of best[0..k) that top-p and min-p keep, at least 1; k: all of them, and
 * perhaps more if there were more. total: of all weights relative to the best, before filtering. */
static uint32_t count_kept(const struct sampler *s, uint32_t k, double total)
{
    const double max = (double)s->best[0].logit;
    const double lowest = s->o.min_p > 0 ? log((double)s->o.min_p) : -INFINITY;
    double sum = 0;
    for (uint32_t i = 0; i < k; i++) {
        const double logit = (double)s->best[i].logit - max;
        if (logit < lowest) return i;
        sum += exp(logit);
        if (s->o.top_p < 1 && sum >= (double)s->o.top_p * total) return i + 1;
    }
    return k;
}

/* Fills the front of best[] with what the filters keep and returns how many. */
static uint32_t filter(const struct sampler *s, const float *logits)
{
    const bool all = s->k == s->n_vocab;
    uint32_t k = all && s->k > FIRST_BEST ? FIRST_BEST : s->k;
    select_best(s, logits, k);
    const double max = (double)s->best[0].logit;
    double total = 0;
    for (uint32_t i = 0; s->o.top_p < 1 && i < s->k; i++)
        total += exp((double)(all ? logits[i] : s->best[i].logit) - max);
    uint32_t n_kept = count_kept(s, k, total);
    while (n_kept == k && k < s->k) {
        k = s->k / MORE_BEST > k ? k * MORE_BEST : s->k;
        select_best(s, logits, k);
        n_kept = count_kept(s, k, total);
    }
    return n_kept;
}

/* ---- draw ------------------------------------------------------------------------------------ */

static struct cand cand_at(const struct sampler *s, const float *logits, bool sorted, uint32_t i)
{
    return sorted ? s->best[i] : (struct cand){logits[i], i};
}

/* One of n candidates, with the probabilities that their logits have at the temperature. */
static uint32_t draw(struct sampler *s, const float *logits, bool sorted, uint32_t n)
{
    const double temp = (double)s->o.temp;
    const double max =
        (double)(sorted ? s->best[0].logit : logits[sample_argmax(logits, s->n_vocab)]);
    double total = 0;
    for (uint32_t i = 0; i < n; i++)
        total += exp(((double)cand_at(s, logits, sorted, i).logit - max) / temp);
    const double target = next_uniform(s->state) * total;
    double sum = 0;
    uint32_t id = 0;
    for (uint32_t i = 0; i < n; i++) {
        const struct cand c = cand_at(s, logits, sorted, i);
        const double weight = exp(((double)c.logit - max) / temp);
        if (weight > 0) id = c.id; /* the last possible one, should rounding pass all */
        sum += weight;
        if (sum > target) break;
    }
    return id;
}

/* ---- interface ------------------------------------------------------------------------------- */

enum err sampler_open(struct sampler **out, const struct sample_opts *o, uint32_t n_vocab)
{
    assert(out && o);
    assert(n_vocab > 0);
    *out = NULL;
    if (!(o->temp >= 0 && o->temp < INFINITY))
        return err_set(ERR_USAGE, "the temperature is %g, expected 0 or more", (double)o->temp);
    if (!(o->top_p > 0 && o->top_p <= 1))
        return err_set(ERR_USAGE, "top-p is %g, expected more than 0, at most 1", (double)o->top_p);
    if (!(o->min_p >= 0 && o->min_p < 1))
        return err_set(ERR_USAGE, "min-p is %g, expected 0 or more, less than 1", (double)o->min_p);
    struct sampler *s = mem_alloc(MEM_MISC, sizeof *s);
    if (!s) return ERR_MEMORY;
    s->o = *o;
    s->n_vocab = n_vocab;
    s->k = o->top_k && o->top_k < n_vocab ? o->top_k : n_vocab;
    seed_state(s->state, o->seed);
    s->best = mem_alloc_array(MEM_MISC, s->k, sizeof *s->best);
    if (!s->best) {
        sampler_close(s);
        return ERR_MEMORY;
    }
    *out = s;
    return OK;
}

void sampler_close(struct sampler *s)
{
    if (!s) return;
    mem_free(s->best);
    mem_free(s);
}

uint32_t sampler_next(struct sampler *s, const float *logits)
{
    assert(s && logits);
    if (s->o.temp == 0) return sample_argmax(logits, s->n_vocab);
    const bool sorted = s->k < s->n_vocab || s->o.top_p < 1 || s->o.min_p > 0;
    return draw(s, logits, sorted, sorted ? filter(s, logits) : s->n_vocab);
}

uint32_t sample_argmax(const float *logits, uint32_t n_vocab)
{
    assert(logits && n_vocab > 0);
    uint32_t best = 0;
    for (uint32_t id = 1; id < n_vocab; id++) {
        if (logits[id] > logits[best]) best = id;
    }
    return best;
}
