/*
 * sample.c: the sampling chain.
 *
 * Bias, penalties and mask change a copy of the logits; where none is on, nothing is copied. Only
 * the best candidates are sorted: a heap of k with the worst on top takes one comparison for nearly
 * every logit of the vocabulary. Where top-k is off, the other filters still need the candidates in
 * order, but rarely many of them: only when the cut does not lie inside the first few, all are
 * sorted, by radix. With no filter at all nothing is.
 *
 * What the filters keep is always a run of the sorted candidates, that of typical sampling too: how
 * far a surprise -log p lies from the entropy is how far a logit lies from the expected logit
 * (log of the sum of weights cancels out), and logits fall along the order.
 *
 * What is excluded: by the mask, a logit of -infinity, which has no weight at any temperature; by a
 * bias, the lowest finite one, which has none beside any other.
 */
#include "text/sample.h"

#include "base/limits.h"
#include "base/mem.h"
#include "base/splitmix.h"
#include "text/history.h"

#include <assert.h>
#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <string.h>

#define FIRST_BEST 256 /* candidates to begin with: text is rarely less certain than that */
#define HEAP_MAX 1024  /* 0.5 ms of 152k logits; sorting all takes 1 ms, in any order of them */

#define RADIX_BITS 11 /* three digits make a float */
#define RADIX (1u << RADIX_BITS)

struct cand {
    float logit;
    uint32_t id;
};

struct sampler {
    struct sample_opts o; /* bias is ours */
    uint32_t n_vocab;
    uint32_t k;               /* candidates that top-k leaves */
    struct cand *best;        /* (k, or n_vocab where it needs the radix sort), best first */
    struct cand *spare;       /* (n_vocab) for the radix sort; NULL where the heap suffices */
    struct history *history;  /* NULL: no penalty is on */
    struct sample_bias *bias; /* (o.n_bias) */
    sample_mask_fn *mask;     /* NULL: none */
    void *mask_ctx;
    uint64_t *allowed; /* (n_word) bits for the mask */
    size_t n_word;
    float *edited;     /* (n_vocab) logits after bias, penalties and mask */
    uint64_t state[4]; /* xoshiro256** */
};

/* ---- generator ------------------------------------------------------------------------------- */

static uint64_t rotl(uint64_t x, int n)
{
    return x << n | x >> (64 - n);
}

static void seed_state(uint64_t state[4], uint64_t seed)
{
    for (int i = 0; i < 4; i++) state[i] = splitmix_next(&seed);
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

/* ---- bias, penalties, mask ------------------------------------------------------------------- */

static float bounded(double logit)
{
    return (float)fmax(-(double)FLT_MAX, fmin(logit, (double)FLT_MAX));
}

/* The logit of a token that the history has n times. */
static float penalised(const struct sample_opts *o, float logit, uint32_t n)
{
    const double repeat = (double)o->repeat;
    double l = (double)logit;
    l = l > 0 ? l / repeat : l * repeat;
    return bounded(l - (double)o->frequency * n - (double)o->presence);
}

static void apply_mask(struct sampler *s)
{
    memset(s->allowed, 0xff, s->n_word * sizeof *s->allowed);
    s->mask(s->mask_ctx, s->allowed);
    bool any = false;
    for (uint32_t id = 0; id < s->n_vocab; id++) {
        if (s->allowed[id / 64] >> id % 64 & 1)
            any = true;
        else
            s->edited[id] = -INFINITY;
    }
    assert(any);
    (void)any;
}

/* The logits to choose from. */
static const float *edit(struct sampler *s, const float *logits)
{
    if (s->o.n_bias == 0 && !s->history && !s->mask) return logits;
    memcpy(s->edited, logits, s->n_vocab * sizeof *logits);
    for (size_t i = 0; i < s->o.n_bias; i++) {
        float *const logit = &s->edited[s->bias[i].id];
        *logit = bounded((double)*logit + (double)s->bias[i].add);
    }
    size_t n = 0;
    const struct history_token *const t = s->history ? history_tokens(s->history, &n) : NULL;
    for (size_t i = 0; i < n; i++)
        s->edited[t[i].id] = penalised(&s->o, s->edited[t[i].id], t[i].n);
    if (s->mask) apply_mask(s);
    return s->edited;
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

static void heap_best(struct cand *heap, uint32_t k, const float *logits, uint32_t n_vocab)
{
    for (uint32_t id = 0; id < k; id++) sift_up(heap, id, (struct cand){logits[id], id});
    for (uint32_t id = k; id < n_vocab; id++) { /* an equal logit of a higher id is worse */
        if (logits[id] > heap[0].logit) sift_down(heap, k, (struct cand){logits[id], id});
    }
    for (uint32_t n = k; n > 1; n--) {
        const struct cand worst = heap[0];
        sift_down(heap, n - 1, heap[n - 1]);
        heap[n - 1] = worst;
    }
}

/* Rises as the logit falls. */
static uint32_t radix_key(float logit)
{
    const float l = logit + 0.0f; /* -0 becomes 0: they are equal */
    uint32_t bits;
    memcpy(&bits, &l, sizeof bits);
    return bits >> 31 ? bits : ~bits & 0x7fffffffu;
}

/* Three passes, the least significant digits first; each keeps the order of equal ones, which is
 * that of the ids. */
static void radix_sort(struct cand *best, struct cand *spare, const float *logits, uint32_t n_vocab)
{
    struct cand *from = spare, *to = best;
    for (uint32_t id = 0; id < n_vocab; id++) from[id] = (struct cand){logits[id], id};
    for (unsigned shift = 0; shift < 32; shift += RADIX_BITS) {
        uint32_t at[RADIX] = {0}; /* of each digit: how many, then where the next one goes */
        for (uint32_t i = 0; i < n_vocab; i++)
            at[radix_key(from[i].logit) >> shift & (RADIX - 1)]++;
        for (uint32_t d = 0, sum = 0; d < RADIX; d++) {
            const uint32_t n = at[d];
            at[d] = sum;
            sum += n;
        }
        for (uint32_t i = 0; i < n_vocab; i++)
            to[at[radix_key(from[i].logit) >> shift & (RADIX - 1)]++] = from[i];
        struct cand *const done = to;
        to = from;
        from = done;
    }
    assert(from == best);
}

/* The best k, in order, at the front of best[]. */
static void select_best(const struct sampler *s, const float *logits, uint32_t k)
{
    assert(k > 0);
    assert(k <= s->k);
    if (k <= HEAP_MAX)
        heap_best(s->best, k, logits, s->n_vocab);
    else
        radix_sort(s->best, s->spare, logits, s->n_vocab);
}

/* ---- filters --------------------------------------------------------------------------------- */

struct run { /* the candidates best[at..at + n) */
    uint32_t at, n;
};

/* Of all candidates that top-k left, with weights relative to the best one. */
struct mass {
    double total;
    double mean; /* the expected logit */
};

static double weight(const struct sampler *s, uint32_t i)
{
    return exp((double)s->best[i].logit - (double)s->best[0].logit);
}

/* best[0] is there, the others perhaps not yet. */
static struct mass weigh(const struct sampler *s, const float *logits)
{
    const bool all = s->k == s->n_vocab;
    const double max = (double)s->best[0].logit;
    double total = 0, sum = 0;
    for (uint32_t i = 0; i < s->k; i++) {
        const double below = (double)(all ? logits[i] : s->best[i].logit) - max;
        const double w = exp(below);
        total += w;
        if (w > 0) sum += w * below; /* 0 times infinity is nothing here */
    }
    return (struct mass){total, max + sum / total};
}

/* Typical sampling among best[0..k): from the mean outwards, the nearer neighbour first and the
 * likelier of two equally near, until the run has its share of the mass. False when it may reach
 * beyond k. */
static bool cut_typical(const struct sampler *s, uint32_t k, const struct mass *m, struct run *r)
{
    const struct cand *const c = s->best;
    uint32_t lo = 0;
    while (lo < k && (double)c[lo].logit > m->mean) lo++;
    uint32_t hi = lo;
    double sum = 0;
    do {
        if (hi == k && k < s->k) return false;
        const double up = lo > 0 ? (double)c[lo - 1].logit - m->mean : INFINITY;
        const double down = hi < k ? m->mean - (double)c[hi].logit : INFINITY;
        if (up == INFINITY && down == INFINITY) break; /* none left, or only masked ones */
        sum += weight(s, up <= down ? --lo : hi++);
    } while (sum < (double)s->o.typical * m->total);
    *r = (struct run){lo, hi - lo};
    return true;
}

/* How many at the front of r top-p and min-p keep, at least 1. total: the weight that top-p is a
 * share of. */
static uint32_t count_kept(const struct sampler *s, struct run r, double total)
{
    const double max = (double)s->best[r.at].logit;
    const double lowest = s->o.min_p > 0 ? max + log((double)s->o.min_p) : -INFINITY;
    double sum = 0;
    for (uint32_t i = 0; i < r.n; i++) {
        if ((double)s->best[r.at + i].logit < lowest) return i;
        if (s->o.top_p >= 1) continue;
        sum += weight(s, r.at + i);
        if (sum >= (double)s->o.top_p * total) return i + 1;
    }
    return r.n;
}

/* What all filters keep of best[0..k). False when it may reach beyond k. */
static bool cut(const struct sampler *s, uint32_t k, const struct mass *m, struct run *r)
{
    *r = (struct run){0, k};
    double total = m->total;
    if (s->o.typical < 1) {
        if (!cut_typical(s, k, m, r)) return false;
        total = 0;
        for (uint32_t i = 0; i < r->n; i++) total += weight(s, r->at + i);
    }
    r->n = count_kept(s, *r, total);
    return r->n < k || k == s->k;
}

static struct run filter(const struct sampler *s, const float *logits)
{
    const bool all = s->k == s->n_vocab;
    uint32_t k = all && s->k > FIRST_BEST ? FIRST_BEST : s->k;
    select_best(s, logits, k);
    const bool needs_mass = s->o.typical < 1 || s->o.top_p < 1;
    const struct mass m = needs_mass ? weigh(s, logits) : (struct mass){0};
    struct run r;
    if (!cut(s, k, &m, &r)) {
        select_best(s, logits, s->k);
        const bool inside = cut(s, s->k, &m, &r);
        assert(inside);
        (void)inside;
    }
    assert(r.n > 0);
    return r;
}

/* ---- draw ------------------------------------------------------------------------------------ */

/* One of n candidates, with the probabilities that their logits have at the temperature. c: the
 * candidates, the best one first; NULL: the ids 0 to n - 1 in their order. */
static uint32_t draw(struct sampler *s, const struct cand *c, const float *logits, uint32_t n)
{
    const double temp = (double)s->o.temp;
    const double max = (double)(c ? c[0].logit : logits[sample_argmax(logits, n)]);
    double total = 0;
    for (uint32_t i = 0; i < n; i++)
        total += exp(((double)(c ? c[i].logit : logits[i]) - max) / temp);
    const double target = next_uniform(s->state) * total;
    double sum = 0;
    uint32_t id = 0;
    for (uint32_t i = 0; i < n && sum <= target; i++) {
        const double w = exp(((double)(c ? c[i].logit : logits[i]) - max) / temp);
        if (w > 0) id = c ? c[i].id : i; /* the last possible one, should rounding pass all */
        sum += w;
    }
    return id;
}

/* ---- interface ------------------------------------------------------------------------------- */

static enum err check_opts(const struct sample_opts *o, uint32_t n_vocab)
{
    const struct {
        const char *name;
        float value;
        double lo, hi;
    } range[] = {
        {"temperature", o->temp, 0, SAMPLE_TEMP_MAX},
        {"top-p", o->top_p, 0, 1},
        {"min-p", o->min_p, 0, 1},
        {"typical-p", o->typical, 0, 1},
        {"repeat penalty", o->repeat, SAMPLE_REPEAT_MIN, SAMPLE_REPEAT_MAX},
        {"presence penalty", o->presence, -SAMPLE_PENALTY_MAX, SAMPLE_PENALTY_MAX},
        {"frequency penalty", o->frequency, -SAMPLE_PENALTY_MAX, SAMPLE_PENALTY_MAX},
    };
    for (size_t i = 0; i < sizeof range / sizeof *range; i++) {
        const double v = (double)range[i].value; /* NaN is outside, too */
        if (!(v >= (double)(float)range[i].lo && v <= range[i].hi))
            return err_set(ERR_USAGE, "the %s is %g, expected %g to %g", range[i].name, v,
                           range[i].lo, range[i].hi);
    }
    if (o->penalty_last < -1 || o->penalty_last > (int32_t)CTX_MAX)
        return err_set(ERR_USAGE,
                       "the penalties are to look back on %d tokens, expected -1 (all) to %u",
                       o->penalty_last, CTX_MAX);
    if (o->n_bias > SAMPLE_BIASES_MAX)
        return err_set(ERR_USAGE, "there are %zu logit biases, expected at most %d", o->n_bias,
                       SAMPLE_BIASES_MAX);
    for (size_t i = 0; i < o->n_bias; i++) {
        const struct sample_bias b = o->bias[i];
        if (b.id >= n_vocab)
            return err_set(ERR_USAGE,
                           "a logit bias is for token %u, but the vocabulary ends with %u", b.id,
                           n_vocab - 1);
        if (isnan(b.add) || b.add == INFINITY)
            return err_set(ERR_USAGE, "the logit bias of token %u is %g, expected a number or -inf",
                           b.id, (double)b.add);
    }
    return OK;
}

static bool has_penalty(const struct sample_opts *o)
{
    return o->penalty_last != 0 && (o->repeat != 1 || o->presence != 0 || o->frequency != 0);
}

static enum err allocate(struct sampler *s)
{
    s->n_word = (s->n_vocab + (size_t)63) / 64;
    const bool radix = s->k > HEAP_MAX;
    s->best = mem_alloc_array(MEM_MISC, radix ? s->n_vocab : s->k, sizeof *s->best);
    if (radix) s->spare = mem_alloc_array(MEM_MISC, s->n_vocab, sizeof *s->spare);
    s->edited = mem_alloc_array(MEM_MISC, s->n_vocab, sizeof *s->edited);
    s->allowed = mem_alloc_array(MEM_MISC, s->n_word, sizeof *s->allowed);
    if (!s->best || (radix && !s->spare) || !s->edited || !s->allowed) return ERR_MEMORY;
    if (s->o.n_bias > 0) {
        s->bias = mem_alloc_array(MEM_MISC, s->o.n_bias, sizeof *s->bias);
        if (!s->bias) return ERR_MEMORY;
        memcpy(s->bias, s->o.bias, s->o.n_bias * sizeof *s->bias);
    }
    s->o.bias = s->bias;
    if (!has_penalty(&s->o)) return OK;
    const uint32_t n_last = s->o.penalty_last < 0 ? HISTORY_ALL : (uint32_t)s->o.penalty_last;
    return history_open(&s->history, s->n_vocab, n_last);
}

enum err sampler_open(struct sampler **out, const struct sample_opts *o, uint32_t n_vocab)
{
    assert(out);
    assert(o);
    assert(n_vocab > 0);
    *out = NULL;
    enum err err = check_opts(o, n_vocab);
    if (err) return err;
    struct sampler *const s = mem_alloc(MEM_MISC, sizeof *s);
    if (!s) return ERR_MEMORY;
    s->o = *o;
    s->n_vocab = n_vocab;
    s->k = o->top_k && o->top_k < n_vocab ? o->top_k : n_vocab;
    seed_state(s->state, o->seed);
    err = allocate(s);
    if (err) {
        sampler_close(s);
        return err;
    }
    *out = s;
    return OK;
}

void sampler_close(struct sampler *s)
{
    if (!s) return;
    history_close(s->history);
    mem_free(s->bias);
    mem_free(s->allowed);
    mem_free(s->edited);
    mem_free(s->spare);
    mem_free(s->best);
    mem_free(s);
}

void sampler_mask(struct sampler *s, sample_mask_fn *fn, void *ctx)
{
    assert(s);
    s->mask = fn;
    s->mask_ctx = ctx;
}

void sampler_accept(struct sampler *s, uint32_t id)
{
    assert(s);
    assert(id < s->n_vocab);
    if (s->history) history_put(s->history, id);
}

uint32_t sampler_next(struct sampler *s, const float *logits)
{
    assert(s);
    assert(logits);
    logits = edit(s, logits);
    if (s->o.temp == 0) return sample_argmax(logits, s->n_vocab);
    const bool filtered = s->k < s->n_vocab || s->o.typical < 1 || s->o.top_p < 1 || s->o.min_p > 0;
    if (!filtered) return draw(s, NULL, logits, s->n_vocab);
    const struct run r = filter(s, logits);
    return draw(s, s->best + r.at, logits, r.n);
}

uint32_t sample_argmax(const float *logits, uint32_t n_vocab)
{
    assert(logits);
    assert(n_vocab > 0);
    uint32_t best = 0;
    float max = logits[0];
    for (uint32_t id = 1; id < n_vocab; id++) {
        if (logits[id] <= max) continue;
        max = logits[id];
        best = id;
    }
    return best;
}
