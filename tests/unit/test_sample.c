/*
 * test_sample.c: the sampling chain against exact distributions, computed here the slow way.
 *
 * Draws are counted and compared by chi-square with the probabilities that the options define; the
 * seeds are fixed, so the outcome is too. The limits are the 99.99 % points of the distribution.
 */
#include "base/limits.h"
#include "base/mem.h"
#include "base/os.h"
#include "text/history.h"
#include "text/sample.h"

#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>

#include <cmocka.h>

#define N_DRAW 40000
#define N_DRAW_FEW 10000 /* where there are many cases */
#define N_BIG 262144

static struct sampler *open_sampler(struct sample_opts o, uint32_t n_vocab)
{
    struct sampler *s;
    if (sampler_open(&s, &o, n_vocab)) fail_msg("%s", err_msg());
    return s;
}

static const struct sample_opts off = {
    .temp = 1, .top_k = 0, .top_p = 1, .min_p = 0, .typical = 1, .repeat = 1, .seed = 7};

/* ---- the slow way ---------------------------------------------------------------------------- */

#define EXACT_MAX 64

/* Puts order[0..n) in falling order of key[order[i]]; equal ones in rising order of ids. */
static void sort_ids(uint32_t *order, uint32_t n, const double *key)
{
    for (uint32_t i = 1; i < n; i++) {
        const uint32_t id = order[i];
        uint32_t j = i;
        for (; j > 0 &&
               (key[order[j - 1]] < key[id] || (key[order[j - 1]] == key[id] && order[j - 1] > id));
             j--)
            order[j] = order[j - 1];
        order[j] = id;
    }
}

/* Softmax of the candidates; p[id] of others stays. */
static void normalise(const float *logits, const uint32_t *order, uint32_t n, double temp,
                      double *p)
{
    double total = 0;
    for (uint32_t i = 0; i < n; i++) total += exp((double)logits[order[i]] / temp);
    for (uint32_t i = 0; i < n; i++) p[order[i]] = exp((double)logits[order[i]] / temp) / total;
}

/* The paper's definition: the least | -log p - H | first, until the probability is reached. Returns
 * how many are left, in the order of their logits. */
static uint32_t exact_typical(const double *p, uint32_t *order, uint32_t n, double typical)
{
    double entropy = 0, sum = 0, nearness[EXACT_MAX], key[EXACT_MAX];
    for (uint32_t i = 0; i < n; i++) entropy -= p[order[i]] * log(p[order[i]]);
    for (uint32_t i = 0; i < n; i++) nearness[order[i]] = -fabs(-log(p[order[i]]) - entropy);
    sort_ids(order, n, nearness);
    uint32_t n_kept = 0;
    do {
        sum += p[order[n_kept++]];
    } while (n_kept < n && sum < typical);
    for (uint32_t i = 0; i < n_kept; i++) key[order[i]] = p[order[i]];
    sort_ids(order, n_kept, key);
    return n_kept;
}

/* Probabilities by sorting everything and filtering step by step. A logit of -infinity is no
 * candidate. */
static void exact(const float *logits, uint32_t n, struct sample_opts o, double *p)
{
    uint32_t order[EXACT_MAX], keep = 0;
    double key[EXACT_MAX], sum = 0;
    assert_true(n <= EXACT_MAX);
    for (uint32_t id = 0; id < n; id++) {
        key[id] = (double)logits[id];
        if (logits[id] > -INFINITY) order[keep++] = id;
    }
    sort_ids(order, keep, key);
    if (o.top_k && o.top_k < keep) keep = o.top_k;
    normalise(logits, order, keep, 1, p);
    if (o.typical < 1) keep = exact_typical(p, order, keep, (double)o.typical);
    normalise(logits, order, keep, 1, p);
    for (uint32_t i = 0; o.top_p < 1 && i < keep; i++) {
        sum += p[order[i]];
        if (sum >= (double)o.top_p) keep = i + 1;
    }
    while (p[order[keep - 1]] < (double)o.min_p * p[order[0]]) keep--;
    for (uint32_t id = 0; id < n; id++) p[id] = 0;
    normalise(logits, order, keep, (double)o.temp, p);
}

/* Chi-square of n_draw draws against p; what must not be drawn is a failure at once. */
static void check_sampler(const char *what, struct sampler *s, const float *logits, uint32_t n,
                          const double *p, uint32_t n_draw)
{
    double chi = 0;
    uint32_t count[EXACT_MAX] = {0}, n_possible = 0;
    for (uint32_t i = 0; i < n_draw; i++) count[sampler_next(s, logits)]++;
    for (uint32_t id = 0; id < n; id++) {
        if (p[id] == 0 && count[id]) fail_msg("%s: token %u must not be drawn", what, id);
        if (p[id] == 0) continue;
        const double d = count[id] - p[id] * n_draw;
        chi += d * d / (p[id] * n_draw);
        n_possible++;
    }
    /* Wilson-Hilferty: the 99.99 % point for f degrees of freedom. */
    const double f = n_possible - 1, c = 1 - 2 / (9 * f) + 3.719 * sqrt(2 / (9 * f));
    if (f > 0 && chi > f * c * c * c) fail_msg("%s: chi-square %g for %g", what, chi, f);
}

static void check_draws(const char *what, const float *logits, uint32_t n, struct sample_opts o)
{
    double p[EXACT_MAX];
    exact(logits, n, o, p);
    struct sampler *s = open_sampler(o, n);
    check_sampler(what, s, logits, n, p, N_DRAW);
    sampler_close(s);
}

/* ---- tests ----------------------------------------------------------------------------------- */

static const float some[12] = {0.5f,  2.0f, -1.0f, 2.0f,  0.0f, 1.5f,
                               -3.0f, 0.5f, 1.0f,  -0.5f, 2.5f, 0.25f};

static void test_greedy(void **state)
{
    (void)state;
    const float ties[] = {1, 3, 3, 2};
    assert_int_equal(sample_argmax(ties, 4), 1);
    assert_int_equal(sample_argmax(ties, 1), 0);
    assert_int_equal(sample_argmax(some, 12), 10);
    const float negative[] = {-5, -2, -3};
    assert_int_equal(sample_argmax(negative, 3), 1);
    struct sample_opts o = off;
    o.temp = 0;
    struct sampler *s = open_sampler(o, 4);
    for (int i = 0; i < 10; i++) assert_int_equal(sampler_next(s, ties), 1);
    sampler_close(s);
    o = off; /* one candidate: the same, ties too */
    o.top_k = 1;
    s = open_sampler(o, 4);
    for (int i = 0; i < 10; i++) assert_int_equal(sampler_next(s, ties), 1);
    sampler_close(s);
}

static void test_distributions(void **state)
{
    (void)state;
    struct sample_opts o = off;
    check_draws("no filter", some, 12, o);
    o.temp = 0.6f;
    check_draws("temp 0.6", some, 12, o);
    o.temp = 2.5f;
    check_draws("temp 2.5", some, 12, o);
    o = off;
    o.top_k = 3; /* cuts between two equal logits: the lower id stays */
    check_draws("top-k 3", some, 12, o);
    o.top_k = 2;
    check_draws("top-k 2", some, 12, o);
    o.top_k = 100;
    check_draws("top-k beyond the vocabulary", some, 12, o);
    o = off;
    o.top_p = 0.6f;
    check_draws("top-p 0.6", some, 12, o);
    o.top_p = 0.01f; /* always one */
    check_draws("top-p 0.01", some, 12, o);
    o.top_p = 0; /* the likeliest alone */
    check_draws("top-p 0", some, 12, o);
    o.top_p = 0.999f;
    check_draws("top-p 0.999", some, 12, o);
    o = off;
    o.min_p = 0.2f;
    check_draws("min-p 0.2", some, 12, o);
    o.min_p = 0.99f;
    check_draws("min-p 0.99", some, 12, o);
    o.min_p = 1; /* those as likely as the likeliest */
    check_draws("min-p 1", some, 12, o);
    const float twins[5] = {1, 4, 0, 4, 3.9f};
    check_draws("min-p 1, two of them", twins, 5, o);
}

static void test_typical(void **state)
{
    (void)state;
    struct sample_opts o = off;
    static const float share[] = {0, 0.1f, 0.3f, 0.5f, 0.7f, 0.9f, 0.99f};
    float wide[EXACT_MAX];
    for (uint32_t i = 0; i < EXACT_MAX; i++) wide[i] = 5.0f * sinf((float)(i * i));
    for (size_t i = 0; i < sizeof share / sizeof *share; i++) {
        o.typical = share[i];
        check_draws("typical", some, 12, o);
        check_draws("typical of 64", wide, EXACT_MAX, o);
    }
    /* One likely token among many unlikely ones is not typical: the entropy lies between. */
    float peak[EXACT_MAX] = {4.0f};
    double p[EXACT_MAX];
    o.typical = 0.3f;
    exact(peak, EXACT_MAX, o, p);
    assert_true(p[0] == 0 && p[63] == 0 && p[1] > 0);
    check_draws("typical without the likeliest", peak, EXACT_MAX, o);
    o.min_p = 0.9f; /* of the likeliest that is left */
    check_draws("typical, then min-p", peak, EXACT_MAX, o);
    o.min_p = 0;
    o.top_p = 0.48f; /* of what is left; no sum of equals comes near it */
    check_draws("typical, then top-p", peak, EXACT_MAX, o);
    const float same[7] = {2, 2, 2, 2, 2, 2, 2};
    o = off;
    o.typical = 0.5f;
    check_draws("typical of equals", same, 7, o);
}

/* ---- bias, penalties, mask ------------------------------------------------------------------- */

static void test_bias(void **state)
{
    (void)state;
    struct sample_bias bias[] = {{3, -INFINITY}, {0, 2.5f}, {10, -1}, {0, -0.5f}};
    struct sample_opts o = off;
    o.bias = bias;
    o.n_bias = 4;
    float edited[12];
    memcpy(edited, some, sizeof edited);
    edited[3] = -INFINITY;
    edited[0] += 2.0f; /* both of them */
    edited[10] -= 1;
    double p[EXACT_MAX];
    for (int filtered = 0; filtered < 2; filtered++) {
        o.top_k = filtered ? 5 : 0;
        exact(edited, 12, o, p);
        struct sampler *s = open_sampler(o, 12);
        if (filtered) memset(bias, 0xff, sizeof bias); /* it was copied */
        check_sampler("bias", s, some, 12, p, N_DRAW);
        sampler_close(s);
    }
    const struct sample_bias never[] = {{1, -INFINITY}, {0, -INFINITY}, {1, 1e38f}};
    const float low[3] = {3, 9, -3e38f};
    o = (struct sample_opts){.top_p = 1, .typical = 1, .repeat = 1, .bias = never, .n_bias = 2};
    struct sampler *s = open_sampler(o, 3);
    assert_int_equal(sampler_next(s, low), 2); /* greedy obeys, too */
    sampler_close(s);
    s = open_sampler(o, 2);
    assert_int_equal(sampler_next(s, low), 0); /* nothing else is left */
    sampler_close(s);
}

/* What the options make of a logit, from the formulas in sample.h. */
static float by_formula(const struct sample_opts *o, float logit, unsigned n)
{
    if (n == 0) return logit;
    const float l = logit > 0 ? logit / o->repeat : logit * o->repeat;
    return l - (float)n * o->frequency - o->presence;
}

/* After every prefix of a history, the distribution is that of the penalised logits. */
static void check_penalties(const char *what, struct sample_opts o)
{
    static const uint32_t history[] = {10, 10, 2, 1, 10, 6, 1, 4, 4, 4, 4, 4, 4, 3, 10, 0};
    const uint32_t n = sizeof history / sizeof *history;
    struct sampler *s = open_sampler(o, 12);
    for (uint32_t i = 0; i <= n; i++) {
        const uint32_t n_last =
            o.penalty_last < 0 || (uint32_t)o.penalty_last > i ? i : (uint32_t)o.penalty_last;
        float edited[12];
        double p[EXACT_MAX];
        unsigned count[12] = {0};
        for (uint32_t k = i - n_last; k < i; k++) count[history[k]]++;
        for (uint32_t id = 0; id < 12; id++) edited[id] = by_formula(&o, some[id], count[id]);
        exact(edited, 12, o, p);
        if (o.temp > 0)
            check_sampler(what, s, some, 12, p, N_DRAW_FEW);
        else
            assert_int_equal(sampler_next(s, some), sample_argmax(edited, 12));
        if (i < n) sampler_accept(s, history[i]);
    }
    sampler_close(s);
}

static void test_penalties(void **state)
{
    (void)state;
    static const int32_t last[] = {0, 1, 5, 64, -1};
    for (size_t i = 0; i < sizeof last / sizeof *last; i++) {
        struct sample_opts o = off;
        o.penalty_last = last[i];
        o.repeat = 1.5f;
        check_penalties("repeat", o);
        o.temp = 0;
        check_penalties("greedy", o);
        o = off;
        o.penalty_last = last[i];
        o.presence = 1.25f;
        o.frequency = 0.3f;
        check_penalties("presence and frequency", o);
        o.repeat = 0.7f;
        o.presence = -0.5f;
        o.frequency = -0.25f;
        o.top_k = 4; /* the filters see the penalised logits */
        check_penalties("all three, backwards", o);
    }
}

/* Penalties of any size leave finite logits: nothing is lost, and nothing NaN is drawn. */
static void test_penalties_extreme(void **state)
{
    (void)state;
    const float logits[3] = {-3e38f, 3e38f, 0};
    struct sample_opts o = off;
    o.penalty_last = -1;
    o.repeat = (float)SAMPLE_REPEAT_MIN;
    struct sampler *s = open_sampler(o, 3);
    for (uint32_t id = 0; id < 3; id++) sampler_accept(s, id);
    for (int i = 0; i < 10; i++) assert_int_equal(sampler_next(s, logits), 1);
    sampler_close(s);
    o.repeat = (float)SAMPLE_REPEAT_MAX;
    s = open_sampler(o, 3);
    for (uint32_t id = 0; id < 3; id++) sampler_accept(s, id);
    for (int i = 0; i < 10; i++) assert_int_equal(sampler_next(s, logits), 1);
    sampler_close(s);
}

/* The ring against a plain count, over random histories. */
static void test_history(void **state)
{
    (void)state;
    enum { N_ID = 37, N_PUT = 5000 };
    static const uint32_t last[] = {1, 2, 36, 64, HISTORY_ALL};
    for (size_t i = 0; i < sizeof last / sizeof *last; i++) {
        static uint32_t put[N_PUT];
        struct history *h;
        uint32_t x = 1;
        assert_int_equal(history_open(&h, N_ID, last[i]), OK);
        for (uint32_t k = 0; k < N_PUT; k++) {
            x = x * 1664525u + 1013904223u;
            put[k] = (x >> 20) % ((x >> 10) % N_ID + 1);
            history_put(h, put[k]);
            uint32_t count[N_ID] = {0};
            size_t n, n_all = 0;
            const size_t from = last[i] <= k ? k + 1 - last[i] : 0;
            for (size_t j = from; j <= k; j++) count[put[j]]++;
            const struct history_token *t = history_tokens(h, &n);
            for (size_t j = 0; j < n; j++) {
                assert_int_equal(t[j].n, count[t[j].id]);
                n_all += t[j].n;
            }
            assert_int_equal(n_all, k + 1 - from); /* so no id is missing or there twice */
        }
        history_close(h);
    }
}

struct mask {
    uint64_t allow[2];
    size_t n_word;
    unsigned n_call;
};

static void mask_fn(void *ctx, uint64_t *allowed)
{
    struct mask *m = ctx;
    m->n_call++;
    for (size_t i = 0; i < m->n_word; i++) {
        assert_true(allowed[i] == UINT64_MAX);
        allowed[i] &= m->allow[i];
    }
}

static void test_mask(void **state)
{
    (void)state;
    struct mask m = {.allow = {1 << 0 | 1 << 2 | 1 << 3 | 1 << 11}, .n_word = 1};
    float edited[12];
    for (uint32_t id = 0; id < 12; id++) edited[id] = m.allow[0] >> id & 1 ? some[id] : -INFINITY;
    struct sample_opts opts[4] = {off, off, off, off};
    opts[1].top_k = 7; /* more than the mask leaves */
    opts[2].typical = 0.8f;
    opts[2].top_p = 0.9f;
    opts[3].min_p = 0.3f;
    for (int i = 0; i < 4; i++) {
        double p[EXACT_MAX];
        exact(edited, 12, opts[i], p);
        struct sampler *s = open_sampler(opts[i], 12);
        m.n_call = 0;
        sampler_mask(s, mask_fn, &m);
        check_sampler("mask", s, some, 12, p, N_DRAW);
        assert_int_equal(m.n_call, N_DRAW);
        sampler_mask(s, NULL, NULL);
        exact(some, 12, opts[i], p);
        check_sampler("mask gone", s, some, 12, p, N_DRAW);
        sampler_close(s);
    }
    /* Typical without the likeliest: masked tokens do not count for the entropy. */
    float peak[EXACT_MAX] = {[3] = 2.5f};
    double p[EXACT_MAX];
    m = (struct mask){.allow = {0x00ff00ff00ff00ffu}, .n_word = 1};
    float masked[EXACT_MAX];
    for (uint32_t id = 0; id < EXACT_MAX; id++)
        masked[id] = m.allow[0] >> id & 1 ? peak[id] : -INFINITY;
    struct sample_opts typical = off;
    typical.typical = 0.3f;
    exact(masked, EXACT_MAX, typical, p);
    assert_true(p[3] == 0);
    struct sampler *t = open_sampler(typical, EXACT_MAX);
    sampler_mask(t, mask_fn, &m);
    check_sampler("typical, masked", t, peak, EXACT_MAX, p, N_DRAW);
    sampler_close(t);
    /* Two words, greedy, and one token left that a bias forbids: the mask is stronger. */
    float logits[70] = {[3] = 5, [66] = 1};
    const struct sample_bias never = {66, -INFINITY};
    struct sample_opts o = off;
    o.bias = &never;
    o.n_bias = 1;
    m = (struct mask){.allow = {0, 1 << (66 - 64)}, .n_word = 2};
    for (int greedy = 0; greedy < 2; greedy++) {
        o.temp = greedy ? 0 : 1;
        struct sampler *s = open_sampler(o, 70);
        sampler_mask(s, mask_fn, &m);
        for (int i = 0; i < 5; i++) assert_int_equal(sampler_next(s, logits), 66);
        sampler_close(s);
    }
}

/* ---- the whole ------------------------------------------------------------------------------- */

/* The order of the chain matters: top-p is of what top-k left, and the temperature comes last. */
static void test_chain(void **state)
{
    (void)state;
    struct sample_opts o = {.temp = 1.7f,
                            .top_k = 6,
                            .top_p = 0.8f,
                            .min_p = 0.1f,
                            .typical = 1,
                            .repeat = 1,
                            .seed = 3};
    check_draws("all but typical", some, 12, o);
    o.top_k = 9;
    o.typical = 0.85f;
    check_draws("all together", some, 12, o);
    o.typical = 1;
    o.temp = 0.5f;
    o.top_p = 0.9f;
    o.min_p = 0.45f;
    check_draws("min-p cuts last", some, 12, o);
    float logits[64];
    uint32_t x = 1;
    for (uint32_t i = 0; i < 64; i++) {
        x = x * 1664525u + 1013904223u;
        logits[i] = (float)(x >> 16) / 65536.0f * 6.0f;
    }
    check_draws("the defaults", logits, 64, SAMPLE_DEFAULTS);
}

static void test_seed(void **state)
{
    (void)state;
    struct sample_opts o = off;
    struct sampler *a = open_sampler(o, 12), *b = open_sampler(o, 12);
    o.seed = 8;
    struct sampler *c = open_sampler(o, 12);
    unsigned n_differ = 0;
    for (int i = 0; i < 1000; i++) {
        const uint32_t id = sampler_next(a, some);
        assert_int_equal(sampler_next(b, some), id);
        n_differ += sampler_next(c, some) != id;
    }
    assert_true(n_differ > 500);
    sampler_close(a);
    sampler_close(b);
    sampler_close(c);
}

/* Extreme logits: no overflow, and a temperature close to 0 is nearly greedy. */
static void test_extremes(void **state)
{
    (void)state;
    const float logits[] = {-3e38f, 1e38f, 3e38f, 0.0f};
    struct sample_opts o = off;
    o.temp = 1e-30f;
    struct sampler *s = open_sampler(o, 4);
    for (int i = 0; i < 100; i++) assert_int_equal(sampler_next(s, logits), 2);
    sampler_close(s);
    o.temp = SAMPLE_TEMP_MAX;
    o.top_p = 0.5f;
    s = open_sampler(o, 4);
    for (int i = 0; i < 100; i++) assert_int_equal(sampler_next(s, logits), 2);
    sampler_close(s);
    s = open_sampler(off, 1);
    assert_int_equal(sampler_next(s, logits), 0);
    sampler_close(s);
    sampler_close(NULL);
}

/* The options are refused, and the message says why. */
static void refused(struct sample_opts o, const char *says)
{
    struct sampler *s = (struct sampler *)&o;
    assert_int_equal(sampler_open(&s, &o, 10), ERR_USAGE);
    assert_null(s);
    if (!strstr(err_msg(), says)) fail_msg("'%s' lacks '%s'", err_msg(), says);
}

static void test_options(void **state)
{
    (void)state;
#define AT(field) offsetof(struct sample_opts, field)
    static const struct {
        const char *says;
        size_t at;
        float value;
    } bad[] = {
        {"temperature", AT(temp), -1},       {"temperature", AT(temp), NAN},
        {"temperature", AT(temp), INFINITY}, {"temperature", AT(temp), 100.1f},
        {"top-p", AT(top_p), -0.1f},         {"top-p", AT(top_p), 1.5f},
        {"top-p", AT(top_p), NAN},           {"min-p", AT(min_p), -0.1f},
        {"min-p", AT(min_p), 1.1f},          {"min-p", AT(min_p), NAN},
        {"typical", AT(typical), -0.1f},     {"typical", AT(typical), 1.1f},
        {"repeat", AT(repeat), 0},           {"repeat", AT(repeat), -1},
        {"repeat", AT(repeat), 1000},        {"presence", AT(presence), 2.1f},
        {"presence", AT(presence), -2.1f},   {"frequency", AT(frequency), NAN},
    };
#undef AT
    struct sample_opts o;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        o = off;
        memcpy((char *)&o + bad[i].at, &bad[i].value, sizeof(float));
        refused(o, bad[i].says);
    }
    o = off;
    o.penalty_last = -2;
    refused(o, "look back on -2");
    o.penalty_last = INT32_MAX;
    refused(o, "look back");
    struct sample_bias bias = {10, 1};
    o = off;
    o.bias = &bias;
    o.n_bias = 1;
    refused(o, "token 10,");
    bias = (struct sample_bias){9, INFINITY};
    refused(o, "token 9 is inf");
    bias.add = NAN;
    refused(o, "token 9 is");
    o.n_bias = SAMPLE_BIASES_MAX + 1;
    refused(o, "4097 logit biases");
    const struct sample_opts edge = {.temp = SAMPLE_TEMP_MAX,
                                     .top_k = UINT32_MAX,
                                     .repeat = (float)SAMPLE_REPEAT_MIN,
                                     .presence = -SAMPLE_PENALTY_MAX,
                                     .frequency = SAMPLE_PENALTY_MAX,
                                     .penalty_last = 1000};
    sampler_close(open_sampler(edge, 10));
}

static void test_memory(void **state)
{
    (void)state;
    const size_t used = mem_used(MEM_MISC);
    const struct sample_bias bias = {1, 1};
    struct sample_opts o = SAMPLE_DEFAULTS;
    o.repeat = 1.1f;
    o.bias = &bias;
    o.n_bias = 1;
    struct sampler *s = NULL;
    uint64_t at = 1;
    for (;; at++) {
        mem_fail_at(at);
        const enum err err = sampler_open(&s, &o, 10);
        mem_fail_at(0);
        if (err == OK) break;
        assert_int_equal(err, ERR_MEMORY);
        assert_null(s);
        assert_int_equal(mem_used(MEM_MISC), used);
    }
    assert_true(at > 5);
    sampler_close(s);
    assert_int_equal(mem_used(MEM_MISC), used);
}

/* ---- a vocabulary of 262,144 ----------------------------------------------------------------- */

static float *big_logits(float scale)
{
    float *logits = mem_alloc_array(MEM_SCRATCH, N_BIG, sizeof *logits);
    assert_non_null(logits);
    uint64_t x = 88172645463325252u;
    for (uint32_t i = 0; i < N_BIG; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        logits[i] = scale * ((float)(x >> 40) / (float)(1 << 24) - 0.5f);
    }
    return logits;
}

static int falling(const void *a, const void *b)
{
    const float x = *(const float *)a, y = *(const float *)b;
    return x < y ? 1 : x > y ? -1 : 0;
}

/* How low can the logit of a drawn token be? By sorting all. */
static float lowest_kept(const float *logits, struct sample_opts o)
{
    float *sorted = mem_alloc_array(MEM_SCRATCH, N_BIG, sizeof *sorted);
    memcpy(sorted, logits, N_BIG * sizeof *sorted);
    qsort(sorted, N_BIG, sizeof *sorted, falling);
    double total = 0, sum = 0;
    for (uint32_t i = 0; i < N_BIG; i++) total += exp((double)sorted[i]);
    uint32_t n = 0;
    while (n < N_BIG && sum < (double)o.top_p * total) sum += exp((double)sorted[n++]);
    while (exp((double)(sorted[n - 1] - sorted[0])) < (double)o.min_p) n--;
    const float lowest = sorted[n - 1];
    mem_free(sorted);
    return lowest;
}

/* Nuclei of a few, of some thousand and of nearly all tokens: all are sorted when need be. */
static void test_wide_nucleus(void **state)
{
    (void)state;
    static const float scale[] = {60, 12, 0.5f};
    for (size_t k = 0; k < 3; k++) {
        float *logits = big_logits(scale[k]);
        struct sample_opts o = off;
        o.top_p = 0.9f;
        for (int with_min_p = 0; with_min_p < 2; with_min_p++) {
            o.min_p = with_min_p ? 0.6f : 0;
            const float lowest = lowest_kept(logits, o);
            struct sampler *s = open_sampler(o, N_BIG);
            float seen = INFINITY;
            for (int i = 0; i < 20; i++) {
                const float got = logits[sampler_next(s, logits)];
                assert_true(got >= lowest);
                if (got < seen) seen = got;
            }
            if (scale[k] < 1) assert_true(seen < lowest + 0.2f); /* nothing was cut too early */
            sampler_close(s);
        }
        mem_free(logits);
    }
}

struct surprise {
    double deviation; /* | -log p - H | */
    float logit;
};

static int rising(const void *a, const void *b)
{
    const double x = ((const struct surprise *)a)->deviation;
    const double y = ((const struct surprise *)b)->deviation;
    return x < y ? -1 : x > y ? 1 : 0;
}

/* The logits between which the typical tokens lie, by the paper's definition. */
static void typical_range(const float *logits, double typical, float *lowest, float *highest)
{
    struct surprise *t = mem_alloc_array(MEM_SCRATCH, N_BIG, sizeof *t);
    double total = 0, entropy = 0, sum = 0;
    for (uint32_t i = 0; i < N_BIG; i++) total += exp((double)logits[i]);
    for (uint32_t i = 0; i < N_BIG; i++) {
        const double p = exp((double)logits[i]) / total;
        entropy -= p * log(p);
    }
    for (uint32_t i = 0; i < N_BIG; i++)
        t[i] = (struct surprise){fabs(log(total) - (double)logits[i] - entropy), logits[i]};
    qsort(t, N_BIG, sizeof *t, rising);
    *lowest = INFINITY;
    *highest = -INFINITY;
    for (uint32_t i = 0; i < N_BIG && sum < typical * total; i++) {
        sum += exp((double)t[i].logit);
        *lowest = fminf(*lowest, t[i].logit);
        *highest = fmaxf(*highest, t[i].logit);
    }
    mem_free(t);
}

static void test_wide_typical(void **state)
{
    (void)state;
    static const float scale[] = {200, 12, 0.5f};
    for (size_t k = 0; k < 3; k++) {
        float *logits = big_logits(scale[k]), lowest, highest;
        struct sample_opts o = off;
        o.typical = 0.5f;
        typical_range(logits, 0.5, &lowest, &highest);
        assert_true(lowest < highest);
        struct sampler *s = open_sampler(o, N_BIG);
        float seen_low = INFINITY, seen_high = -INFINITY;
        for (int i = 0; i < 40; i++) {
            const float got = logits[sampler_next(s, logits)];
            seen_low = fminf(seen_low, got);
            seen_high = fmaxf(seen_high, got);
        }
        assert_true(seen_low >= lowest - 1e-4f && seen_high <= highest + 1e-4f);
        assert_true(seen_high - seen_low > 0.5f * (highest - lowest));
        sampler_close(s);
        mem_free(logits);
    }
}

/* Few best are selected by a heap, many by sorting: the same candidates in the same order, so the
 * same draws; equal logits, both zeros among them, stand in the order of their ids. */
static void test_two_ways_to_sort(void **state)
{
    (void)state;
    enum { N = 6000 };
    float *logits = big_logits(9);
    uint32_t n_zero[2] = {0}; /* 0, -0 */
    for (uint32_t i = 0; i < N; i++) {
        logits[i] = rintf(logits[i] - 4) / 4;
        if (logits[i] == 0) n_zero[signbit(logits[i]) != 0]++;
    }
    assert_true(n_zero[0] > 200 && n_zero[1] > 200 && n_zero[0] + n_zero[1] < 1024);
    struct sample_opts o = off;
    o.min_p = 0.9f; /* the zeros alone, some 650 */
    o.top_k = 1024;
    struct sampler *heap = open_sampler(o, N);
    o.top_k = 1025;
    struct sampler *radix = open_sampler(o, N);
    o.top_k = 0;
    struct sampler *both = open_sampler(o, N);
    for (int i = 0; i < 300; i++) {
        const uint32_t id = sampler_next(heap, logits);
        assert_int_equal(sampler_next(radix, logits), id);
        assert_int_equal(sampler_next(both, logits), id);
    }
    sampler_close(heap);
    sampler_close(radix);
    sampler_close(both);
    mem_free(logits);
}

static void test_speed(void **state)
{
    (void)state;
    float *logits = big_logits(20);
    struct sampler *s = open_sampler(SAMPLE_DEFAULTS, N_BIG);
    uint64_t best_ns = UINT64_MAX;
    for (int i = 0; i < 50; i++) {
        const uint64_t start = os_time_ns();
        assert_true(sampler_next(s, logits) < N_BIG);
        const uint64_t ns = os_time_ns() - start;
        if (ns < best_ns) best_ns = ns;
    }
    print_message("# the defaults over %d logits take %.3f ms\n", N_BIG, (double)best_ns / 1e6);
    sampler_close(s);
    mem_free(logits);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_greedy),       cmocka_unit_test(test_distributions),
        cmocka_unit_test(test_typical),      cmocka_unit_test(test_bias),
        cmocka_unit_test(test_penalties),    cmocka_unit_test(test_penalties_extreme),
        cmocka_unit_test(test_history),      cmocka_unit_test(test_mask),
        cmocka_unit_test(test_chain),        cmocka_unit_test(test_seed),
        cmocka_unit_test(test_extremes),     cmocka_unit_test(test_options),
        cmocka_unit_test(test_memory),       cmocka_unit_test(test_wide_nucleus),
        cmocka_unit_test(test_wide_typical), cmocka_unit_test(test_two_ways_to_sort),
        cmocka_unit_test(test_speed),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
