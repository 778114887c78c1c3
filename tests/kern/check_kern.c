/*
 * check_kern.c: the kernels of every level that this CPU has, against the reference. Speaks TAP.
 *
 *     check_kern [--seed N] [--bench]
 *
 * Levels are climbed from `none`; at each one only the pointers that differ from the level below
 * are checked. The seed is printed; --seed repeats a run. A kernel that crashes is named. --bench
 * prints speeds instead. Run it from the top of the tree: recorded vectors are read from
 * tests/data/dequant.txt.
 */
#include "tests/kern/check.h"

#include "kern/cpu.h"
#include "kern/pack.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const level_names[] = {"none", "sse",  "avx2",    "avx512",
                                          "vnni", "neon", "dotprod", "i8mm"};
enum { N_LEVEL_NAMES = sizeof level_names / sizeof *level_names };

static unsigned n_test;
static unsigned n_failed;
static char running[160]; /* for the signal handler */

static void start(const char *kernel, const char *level)
{
    snprintf(running, sizeof running, "%s %s", kernel, level);
}

static void result(bool ok, const char *why)
{
    n_test++;
    n_failed += !ok;
    printf("%sok %u - %s\n", ok ? "" : "not ", n_test, running);
    if (!ok) printf("# %s\n", why);
    fflush(stdout);
}

static void put(const char *s)
{
    if (write(STDOUT_FILENO, s, strlen(s)) < 0) _exit(2);
}

static void on_crash(int sig)
{
    put("not ok - ");
    put(running);
    put(sig == SIGILL ? " # illegal instruction\n" : " # bad memory access\n");
    put("Bail out! a kernel crashed\n");
    _exit(1);
}

static void catch_crashes(void)
{
    struct sigaction sa = {.sa_handler = on_crash};
    sigemptyset(&sa.sa_mask);
    sigaction(SIGSEGV, &sa, NULL);
    sigaction(SIGBUS, &sa, NULL);
    sigaction(SIGILL, &sa, NULL);
    sigaction(SIGFPE, &sa, NULL);
}

/* ---- the reference itself -------------------------------------------------------------------- */

static void check_reference(struct ctx *c, const char *vectors)
{
    start("decoding: recorded vectors", "none");
    result(check_dequant(c->ref, vectors, c->why, sizeof c->why), c->why);
    for (size_t i = 0; i < N_WEIGHTS; i++) {
        start(weights[i].name, "mul against float64");
        result(check_mul_meaning(c, &weights[i]), c->why);
        if (pack_can(weights[i].type)) {
            start(weights[i].name, "packed and back");
            result(check_pack(c, &weights[i]), c->why);
        }
        if (!c->ref->mul_cols[weights[i].type]) continue;
        start(weights[i].name, "mul_cols against mul");
        result(check_mul_cols(c, &weights[i]), c->why);
    }
}

/* ---- a level --------------------------------------------------------------------------------- */

static void check_level(struct ctx *c, const struct kern *below, const char *level,
                        const char *vectors)
{
    char name[64];
    start("decoding: recorded vectors", level);
    result(check_dequant(c->k, vectors, c->why, sizeof c->why), c->why);
    for (size_t i = 0; i < N_WEIGHTS; i++) {
        const enum dtype type = weights[i].type;
        if (c->k->mul[type] != below->mul[type]) {
            snprintf(name, sizeof name, "mul_%s", weights[i].name);
            start(name, level);
            result(check_mul(c, &weights[i]), c->why);
        }
        if (c->k->mul_cols[type] != below->mul_cols[type]) {
            snprintf(name, sizeof name, "mul_cols_%s", weights[i].name);
            start(name, level);
            result(check_mul_cols(c, &weights[i]), c->why);
        }
        if (c->k->to_f32[type] != below->to_f32[type]) {
            snprintf(name, sizeof name, "to_f32_%s", weights[i].name);
            start(name, level);
            result(check_to_f32(c, &weights[i]), c->why);
        }
    }
    for (size_t i = 0; i < N_ROW_CHECKS; i++) {
        const struct row_check *r = &row_checks[i];
        if (memcmp((const char *)c->k + r->at, (const char *)below + r->at,
                   sizeof(void (*)(void))) == 0)
            continue;
        start(r->name, level);
        result(r->run(c, r->param), c->why);
    }
}

/* ---- canaries: wrong kernels, which must be caught ------------------------------------------- */

static const struct kern *canary_true; /* the right kernels under the canaries */

static void mul_last_bit_wrong(const struct kern_mul *a)
{
    canary_true->mul[DT_Q4_0](a);
    if (!a->n_row || !a->n_col) return;
    uint32_t bits;
    float *const last = a->y + (a->n_col - 1) * a->y_stride + a->n_row - 1;
    memcpy(&bits, last, 4);
    bits ^= 1;
    memcpy(last, &bits, 4);
}

static void mul_reads_too_far(const struct kern_mul *a)
{
    canary_true->mul[DT_Q4_0](a);
    if (a->n_row && a->n_col > 1) a->y[a->n_row] += 0.0f * a->y[0] + 1e-3f;
}

static void silu_slightly_wrong(const float *x, float *y, size_t n)
{
    canary_true->act[ACT_SILU](x, y, n);
    if (n) y[n - 1] *= 1.00001f;
}

static void add_writes_too_far(const float *a, const float *b, float *y, size_t n)
{
    canary_true->add(a, b, y, n);
    y[n] = 0.0f;
}

static void check_canaries(struct ctx *c)
{
    struct kern wrong = *c->k;
    struct ctx w = *c;
    canary_true = c->k;
    w.k = &wrong;
    wrong.mul[DT_Q4_0] = mul_last_bit_wrong;
    start("canary: last bit of a product", "");
    result(!check_mul(&w, &weights[0]), "was not caught");
    wrong.mul[DT_Q4_0] = mul_reads_too_far;
    start("canary: a column that depends on its neighbours", "");
    result(!check_mul(&w, &weights[0]), "was not caught");
    wrong.act[ACT_SILU] = silu_slightly_wrong;
    wrong.add = add_writes_too_far;
    for (size_t i = 0; i < N_ROW_CHECKS; i++) {
        if (strcmp(row_checks[i].name, "act_silu") != 0 && strcmp(row_checks[i].name, "add") != 0)
            continue;
        start("canary:", row_checks[i].name);
        result(!row_checks[i].run(&w, row_checks[i].param), "was not caught");
    }
}

/* ---- main ------------------------------------------------------------------------------------ */

static bool level_has_fma(unsigned cpu)
{
    return cpu & (CPU_AVX2 | CPU_NEON);
}

static void climb(struct ctx *c, bool benchmark, const char *vectors)
{
    struct kern below = *c->ref;
    unsigned cpu_below = 0;
    for (size_t i = 1; i < N_LEVEL_NAMES; i++) {
        unsigned mask = 0;
        if (cpu_mask_parse(level_names[i], &mask) != OK) continue; /* of another architecture */
        const unsigned cpu = cpu_detect() & mask;
        if (cpu == cpu_below) {
            if (!benchmark)
                printf("ok %u - %s # SKIP this CPU does not have it\n", ++n_test, level_names[i]);
            continue;
        }
        struct kern k;
        kern_init(&k, cpu);
        c->k = &k;
        c->has_fma = level_has_fma(cpu);
        if (benchmark)
            bench(&k, level_names[i]);
        else
            check_level(c, &below, level_names[i], vectors);
        below = k;
        cpu_below = cpu;
    }
    c->k = &below;
    if (!benchmark) check_canaries(c);
    c->k = NULL;
}

int main(int argc, char **argv)
{
    bool benchmark = false;
    uint64_t seed = 1; /* every run alike; other seeds by hand */
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--bench") == 0)
            benchmark = true;
        else if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc)
            seed = strtoull(argv[++i], NULL, 10);
        else {
            fprintf(stderr, "usage: check_kern [--seed N] [--bench]\n");
            return 2;
        }
    }
    struct kern ref;
    kern_init(&ref, 0);
    struct ctx c = {.ref = &ref, .k = &ref, .rng = seed * 2654435761u + 88172645463325252u};
    catch_crashes();
    if (!benchmark) {
        printf("# seed %llu\n", (unsigned long long)seed);
        check_reference(&c, "tests/data/dequant.txt");
    }
    climb(&c, benchmark, "tests/data/dequant.txt");
    if (!benchmark) printf("1..%u\n", n_test);
    return n_failed ? 1 : 0;
}
