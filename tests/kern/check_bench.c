/*
 * check_bench.c: speeds of one level: GB/s of weights read once from memory (decode), GMAC/s with a
 * few and with many columns (prefill), and for rows the nanoseconds per 1000 items.
 */
#include "tests/kern/check.h"

#include "quant/block.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

enum { K = 2048, COLS = 64, ROWS = 256, REPEATS = 5 };
static const size_t STREAM_BYTES = 192u << 20; /* well beyond a last-level cache */

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Best seconds of one call. */
static double time_mul(const struct kern *k, enum dtype type, const struct kern_mul *a)
{
    double best = 1e9;
    for (int i = 0; i < REPEATS; i++) {
        const double t0 = now_s();
        k->mul[type](a);
        const double t = now_s() - t0;
        if (t < best) best = t;
    }
    return best;
}

static void bench_type(struct ctx *c, const struct weights *t, const struct room *x, float *y,
                       void *scratch, const char *level)
{
    const size_t stride = K / t->block_items * t->block_bytes;
    const size_t n_row = STREAM_BYTES / stride;
    const bool q8 = c->k->mul_x[t->type] == KX_Q8;
    struct room w = room_new(n_row * stride, 1);
    fill_weights(c, t, FILL_NORMAL, w.p, ROWS * (K / t->block_items));
    for (size_t r = ROWS; r < n_row; r++) memcpy(w.p + r * stride, w.p + r % ROWS * stride, stride);
    struct kern_mul a = {.w = w.p,
                         .w_stride = stride,
                         .n_row = n_row,
                         .x = x->p,
                         .n_col = 1,
                         .k = K,
                         .x_stride = q8 ? act_q8_row_bytes(K) : K * sizeof(float),
                         .y = y,
                         .scratch = scratch};
    const double stream = time_mul(c->k, t->type, &a);
    printf("%-8s %-7s %6.1f GB/s", level, t->name, (double)(n_row * stride) / stream * 1e-9);
    static const size_t n_cols[] = {1, 2, 3, 4, 6, 8, 16, 64};
    for (size_t i = 0; i < sizeof n_cols / sizeof *n_cols; i++) {
        a.n_row = ROWS;
        a.n_col = n_cols[i];
        a.y_stride = ROWS;
        const double s = time_mul(c->k, t->type, &a);
        printf("  %zu: %5.1f", n_cols[i], (double)(ROWS * n_cols[i] * K) / s * 1e-9);
    }
    printf(" GMAC/s\n");
    room_free(&w);
}

static void bench_act(struct ctx *c, const char *level, const char *name,
                      void (*f)(const float *, float *, size_t))
{
    static float x[4096];
    static float y[4096];
    rand_floats(c, x, 4096, 3.0f);
    double best = 1e9;
    for (int i = 0; i < 20; i++) {
        const double t0 = now_s();
        f(x, y, 4096);
        const double t = now_s() - t0;
        if (t < best) best = t;
    }
    printf("%-8s %-12s %8.0f ns per 1000\n", level, name, best * 1e9 / 4.096);
}

void bench(const struct kern *k, const char *level)
{
    struct ctx c = {.ref = k, .k = k, .rng = 88172645463325252u};
    struct room q8 = room_new(COLS * act_q8_row_bytes(K), 64);
    struct room xf = room_new(COLS * K * sizeof(float), 64);
    struct room y = room_new((STREAM_BYTES / (K / 4) + COLS * ROWS) * sizeof(float), 64);
    struct room scratch = room_new(kern_scratch_bytes(K), 64);
    float *const x = (float *)(void *)xf.p;
    rand_floats(&c, x, COLS * K, 1.0f);
    for (size_t i = 0; i < COLS; i++) k->quant_q8(x + i * K, K, q8.p + i * act_q8_row_bytes(K));
    for (size_t i = 0; i < N_WEIGHTS; i++) {
        const bool is_q8 = k->mul_x[weights[i].type] == KX_Q8;
        bench_type(&c, &weights[i], is_q8 ? &q8 : &xf, (float *)(void *)y.p, scratch.p, level);
    }
    bench_act(&c, level, "silu", k->act[ACT_SILU]);
    bench_act(&c, level, "gelu", k->act[ACT_GELU]);
    bench_act(&c, level, "softplus", k->act[ACT_SOFTPLUS]);
    room_free(&scratch);
    room_free(&y);
    room_free(&xf);
    room_free(&q8);
}
