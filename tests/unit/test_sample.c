/*
 * test_sample.c: the sampling chain against exact distributions, computed here the slow way.
 *
 * Draws are counted and compared by chi-square with the probabilities that the options define; the
 * seeds are fixed, so the outcome is too. The limits are the 99.99 % points of the distribution.
 */
#include "base/mem.h"
#include "base/os.h"
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

#define N_DRAW 200000
#define N_BIG 262144

static struct sampler *open_sampler(struct sample_opts o, uint32_t n_vocab)
{
    struct sampler *s;
    if (sampler_open(&s, &o, n_vocab)) fail_msg("%s", err_msg());
    return s;
}

static const struct sample_opts off = {.temp = 1, .top_k = 0, .top_p = 1, .min_p = 0, .seed = 7};

/* ---- the slow way ---------------------------------------------------------------------------- */

/* Probabilities by sorting everything (here: by rank) and filtering step by step. */
static void exact(const float *logits, uint32_t n, struct sample_opts o, double *p)
{
    uint32_t order[64];
    double w[64], total = 0, sum = 0;
    assert_true(n <= 64);
    for (uint32_t id = 0; id < n; id++) {
        uint32_t rank = 0;
        for (uint32_t j = 0; j < n; j++)
            rank += logits[j] > logits[id] || (logits[j] == logits[id] && j < id);
        order[rank] = id;
    }
    uint32_t keep = o.top_k && o.top_k < n ? o.top_k : n;
    for (uint32_t i = 0; i < keep; i++) total += w[i] = exp((double)logits[order[i]]);
    for (uint32_t i = 0; o.top_p < 1 && i < keep; i++) {
        sum += w[i] / total;
        if (sum >= (double)o.top_p) keep = i + 1;
    }
    while (w[keep - 1] < (double)o.min_p * w[0]) keep--;
    total = 0;
    memset(p, 0, n * sizeof *p);
    for (uint32_t i = 0; i < keep; i++)
        total += p[order[i]] = exp((double)logits[order[i]] / (double)o.temp);
    for (uint32_t i = 0; i < n; i++) p[i] /= total;
}

/* Chi-square of N_DRAW draws; what must not be drawn is a failure at once. */
static void check_draws(const char *what, const float *logits, uint32_t n, struct sample_opts o)
{
    double p[64], chi = 0;
    uint32_t count[64] = {0}, n_possible = 0;
    exact(logits, n, o, p);
    struct sampler *s = open_sampler(o, n);
    for (uint32_t i = 0; i < N_DRAW; i++) count[sampler_next(s, logits)]++;
    sampler_close(s);
    for (uint32_t id = 0; id < n; id++) {
        if (p[id] == 0 && count[id]) fail_msg("%s: token %u must not be drawn", what, id);
        if (p[id] == 0) continue;
        const double d = count[id] - p[id] * N_DRAW;
        chi += d * d / (p[id] * N_DRAW);
        n_possible++;
    }
    /* Wilson-Hilferty: the 99.99 % point for f degrees of freedom. */
    const double f = n_possible - 1, c = 1 - 2 / (9 * f) + 3.719 * sqrt(2 / (9 * f));
    if (f > 0 && chi > f * c * c * c) fail_msg("%s: chi-square %g for %g", what, chi, f);
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
    o.top_p = 0.999f;
    check_draws("top-p 0.999", some, 12, o);
    o = off;
    o.min_p = 0.2f;
    check_draws("min-p 0.2", some, 12, o);
    o.min_p = 0.99f;
    check_draws("min-p 0.99", some, 12, o);
}

/* The order of the chain matters: top-p is of what top-k left, and the temperature comes last. */
static void test_chain(void **state)
{
    (void)state;
    struct sample_opts o = {.temp = 1.7f, .top_k = 6, .top_p = 0.8f, .min_p = 0.1f, .seed = 3};
    check_draws("all together", some, 12, o);
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
    const struct sample_opts usual = {.temp = 0.8f, .top_k = 40, .top_p = 0.95f, .min_p = 0.05f};
    check_draws("the defaults", logits, 64, usual);
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
    o.temp = 1e30f;
    o.top_p = 0.5f;
    s = open_sampler(o, 4);
    for (int i = 0; i < 100; i++) assert_int_equal(sampler_next(s, logits), 2);
    sampler_close(s);
    s = open_sampler(off, 1);
    assert_int_equal(sampler_next(s, logits), 0);
    sampler_close(s);
    sampler_close(NULL);
}

static void test_options(void **state)
{
    (void)state;
    const struct sample_opts bad[] = {
        {.temp = -1, .top_p = 1},
        {.temp = NAN, .top_p = 1},
        {.temp = INFINITY, .top_p = 1},
        {.temp = 1, .top_p = 0},
        {.temp = 1, .top_p = 1.5f},
        {.temp = 1, .top_p = NAN},
        {.temp = 1, .top_p = 1, .min_p = -0.1f},
        {.temp = 1, .top_p = 1, .min_p = 1},
        {.temp = 1, .top_p = 1, .min_p = NAN},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct sampler *s = (struct sampler *)&s;
        assert_int_equal(sampler_open(&s, &bad[i], 10), ERR_USAGE);
        assert_null(s);
        assert_true(strlen(err_msg()) > 0);
    }
    for (uint64_t at = 1; at <= 2; at++) {
        struct sampler *s;
        mem_fail_at(at);
        assert_int_equal(sampler_open(&s, &off, 10), ERR_MEMORY);
    }
    mem_fail_at(0);
    assert_int_equal(mem_used(MEM_MISC), 0);
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

/* Nuclei of a few, of some thousand and of nearly all tokens: the heap is widened as needed. */
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

static void test_speed(void **state)
{
    (void)state;
    float *logits = big_logits(20);
    const struct sample_opts o = {.temp = 0.8f, .top_k = 40, .top_p = 0.95f, .min_p = 0.05f};
    struct sampler *s = open_sampler(o, N_BIG);
    uint64_t best_ns = UINT64_MAX;
    for (int i = 0; i < 50; i++) {
        const uint64_t start = os_time_ns();
        assert_true(sampler_next(s, logits) < N_BIG);
        const uint64_t ns = os_time_ns() - start;
        if (ns < best_ns) best_ns = ns;
    }
    print_message("# the defaults over %d logits take %.3f ms\n", N_BIG, (double)best_ns / 1e6);
#ifndef __SANITIZE_ADDRESS__
    assert_true(best_ns < 1000000);
#endif
    sampler_close(s);
    mem_free(logits);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_greedy),       cmocka_unit_test(test_distributions),
        cmocka_unit_test(test_chain),        cmocka_unit_test(test_seed),
        cmocka_unit_test(test_extremes),     cmocka_unit_test(test_options),
        cmocka_unit_test(test_wide_nucleus), cmocka_unit_test(test_speed),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
