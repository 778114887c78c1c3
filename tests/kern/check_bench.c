/*
 * check_bench.c: speeds of one level: GB/s of weights read once from memory (decode), GMAC/s with a
 * few and with many columns (prefill), products with zeros by rows and by columns, and for rows the
 * nanoseconds per 1000 items.
 */
#include "tests/kern/check.h"

#include "kern/cols.h"
#include "kern/pack.h"
#include "quant/block.h"

#include <stdio.h>
#include <stdlib.h>
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

/* The first ROWS of n_row rows are made and packed, as the engine packs them; the others are
 * copies. */
static void fill_packed(struct ctx *c, const struct weights *t, size_t k, uint8_t *w, size_t n_row)
{
    const size_t stride = k / t->block_items * t->block_bytes;
    struct room rows = room_new(ROWS * stride, 1);
    fill_weights(c, t, FILL_NORMAL, rows.p, ROWS * (k / t->block_items));
    if (pack_can(t->type))
        pack_rows(t->type, rows.p, stride, ROWS, k, w);
    else
        memcpy(w, rows.p, ROWS * stride);
    for (size_t r = ROWS; r < n_row; r++) memcpy(w + r * stride, w + r % ROWS * stride, stride);
    room_free(&rows);
}

static void bench_type(struct ctx *c, const struct weights *t, const struct room *x, float *y,
                       void *scratch, const char *level)
{
    const size_t stride = K / t->block_items * t->block_bytes;
    const size_t n_row = STREAM_BYTES / stride / ROWS * ROWS;
    const bool q8 = c->k->mul_x[t->type] == KX_Q8;
    struct room w = room_new(n_row * stride, 64);
    fill_packed(c, t, K, w.p, n_row);
    struct kern_mul a = {.w = w.p,
                         .w_stride = stride,
                         .is_packed = pack_can(t->type),
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

/* One column with some inputs 0, by rows and by columns, in turns over matrices that no cache
 * holds: the tenth percentile of the times, because neighbours only ever add to them. */
enum { WIDE_K = 8192, WIDE_ROWS = 2048, WIDE_MATRICES = 12, WIDE_CALL = 1024, TURNS = 120 };

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

struct wide { /* copies of one matrix, both ways */
    struct room rows, cols, x, y, scratch;
    size_t rows_bytes, cols_bytes;
};

static double time_wide(const struct kern *k, const struct weights *t, const struct wide *w,
                        size_t i, bool by_cols)
{
    struct kern_mul a = {.w_stride = WIDE_K / t->block_items * t->block_bytes,
                         .n_row = WIDE_CALL,
                         .x = w->x.p,
                         .n_col = 1,
                         .k = WIDE_K,
                         .scratch = w->scratch.p};
    const double t0 = now_s();
    for (size_t r = 0; r < WIDE_ROWS; r += WIDE_CALL) {
        a.y = (float *)(void *)w->y.p + r;
        a.w = w->rows.p + i * w->rows_bytes + r * a.w_stride;
        a.is_packed = pack_can(t->type);
        if (!by_cols) k->mul[t->type](&a);
        if (!by_cols) continue;
        struct kern_mul b = a;
        b.is_packed = false;
        b.w = w->cols.p + i * w->cols_bytes;
        b.w_stride = WIDE_ROWS;
        b.row0 = r;
        k->mul_cols[t->type](&b);
    }
    return now_s() - t0;
}

static void bench_zeros(struct ctx *c, const struct weights *t, const struct wide *w,
                        unsigned percent, const char *level)
{
    static float x[WIDE_K];
    static double times[2][TURNS];
    for (size_t i = 0; i < WIDE_K; i++)
        x[i] = rand_u32(c) % 100 < percent ? 0.0f : rand_float(c, 1.0f);
    if (c->k->mul_x[t->type] == KX_Q8)
        c->k->quant_q8(x, WIDE_K, w->x.p);
    else
        memcpy(w->x.p, x, sizeof x);
    for (size_t i = 0; i < 2 * TURNS; i++)
        times[i % 2][i / 2] = time_wide(c->k, t, w, i / 2 % WIDE_MATRICES, i % 2 != 0);
    for (size_t i = 0; i < 2; i++) qsort(times[i], TURNS, sizeof(double), by_value);
    const double rows = times[0][TURNS / 10], cols = times[1][TURNS / 10];
    printf("%-8s %-7s %2u %% zeros: by rows %5.0f us, by columns %5.0f us, %.2f times as fast\n",
           level, t->name, percent, rows * 1e6, cols * 1e6, rows / cols);
}

static void bench_cols(struct ctx *c, const struct weights *t, const char *level)
{
    const size_t stride = WIDE_K / t->block_items * t->block_bytes;
    struct wide w = {.rows_bytes = WIDE_ROWS * stride,
                     .cols_bytes = cols_bytes(t->type, WIDE_K, WIDE_ROWS)};
    w.rows = room_new(WIDE_MATRICES * w.rows_bytes, 64);
    w.cols = room_new(WIDE_MATRICES * w.cols_bytes, 64);
    w.x = room_new(act_q8_row_bytes(WIDE_K) + WIDE_K * sizeof(float), 64);
    w.y = room_new(WIDE_ROWS * sizeof(float), 64);
    w.scratch = room_new(kern_scratch_bytes(WIDE_K), 64);
    fill_weights(c, t, FILL_NORMAL, w.rows.p, WIDE_ROWS * (WIDE_K / t->block_items));
    const struct cols_src src = {
        .type = t->type, .w = w.rows.p, .w_stride = stride, .n_row = WIDE_ROWS, .k = WIDE_K};
    const double t0 = now_s();
    cols_put(&src, 0, WIDE_ROWS, w.cols.p);
    printf("%-8s %-7s laid by columns at %.2f GB/s\n", level, t->name,
           (double)w.rows_bytes / (now_s() - t0) * 1e-9);
    fill_packed(c, t, WIDE_K, w.rows.p, WIDE_ROWS); /* both ways are as fast whatever the weights */
    for (size_t i = 1; i < WIDE_MATRICES; i++) {
        memcpy(w.rows.p + i * w.rows_bytes, w.rows.p, w.rows_bytes);
        memcpy(w.cols.p + i * w.cols_bytes, w.cols.p, w.cols_bytes);
    }
    static const unsigned percent[] = {0, 50, 70, 90};
    for (size_t i = 0; i < sizeof percent / sizeof *percent; i++)
        bench_zeros(c, t, &w, percent[i], level);
    room_free(&w.rows);
    room_free(&w.cols);
    room_free(&w.x);
    room_free(&w.y);
    room_free(&w.scratch);
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
    for (size_t i = 0; i < N_WEIGHTS; i++)
        if (k->mul_cols[weights[i].type]) bench_cols(&c, &weights[i], level);
    bench_act(&c, level, "silu", k->act[ACT_SILU]);
    bench_act(&c, level, "gelu", k->act[ACT_GELU]);
    bench_act(&c, level, "softplus", k->act[ACT_SOFTPLUS]);
    room_free(&scratch);
    room_free(&y);
    room_free(&xf);
    room_free(&q8);
}
