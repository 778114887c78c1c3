/*
 * check_attn.c: kernels on cached keys and values.
 */
#include "tests/kern/check.h"

#include "kern/kv.h"

#include <string.h>

/* n rows of k random numbers as a cache holds them, at the end of a room, stride bytes apart. */
static struct room cache_rows(struct ctx *c, enum dtype type, size_t n, size_t k, size_t stride)
{
    struct room rows = room_new(n * stride, type == DT_F32 ? 4 : 2);
    struct room x = room_new(k * sizeof(float), 4);
    struct room scratch = room_new(kv_scratch_bytes(k), 64);
    memset(rows.p, 0x7f, n * stride); /* NaN between rows */
    for (size_t i = 0; i < n; i++) {
        rand_floats(c, (float *)(void *)x.p, k, 1.0f);
        kv_row(c->ref, type, (const float *)(const void *)x.p, k, rows.p + i * stride, scratch.p);
    }
    room_free(&x);
    room_free(&scratch);
    return rows;
}

/* ---- values ---------------------------------------------------------------------------------- */

static bool pv_case(struct ctx *c, enum dtype type, size_t n_pos, size_t n_dim, size_t n_col)
{
    const size_t v_stride = dtype_row_bytes(type, n_dim) + 8;
    const size_t y_stride = n_dim + 3;
    const size_t p_stride = n_pos + 1;
    struct room v = cache_rows(c, type, n_pos, n_dim, v_stride);
    struct room prob = room_new(n_col * p_stride * 4, 4);
    float *const pf = (float *)(void *)prob.p;
    struct out y = out_new(n_col * y_stride);
    struct out want = out_new(n_col * y_stride);
    struct out one = out_new(n_col * y_stride);
    for (size_t i = 0; i < n_col * p_stride; i++) pf[i] = (float)(rand_u32(c) % 1000) * 1e-3f;
    for (size_t i = 0; i < n_col * y_stride; i++) {
        if (i % y_stride >= n_dim) continue; /* between columns the pattern stays */
        y.y[i] = want.y[i] = one.y[i] = rand_float(c, 1.0f);
    }
    const size_t cut = n_pos / 3;
    c->ref->add_pv[type](v.p, v_stride, n_pos, n_dim, pf, p_stride, n_col, want.y, y_stride);
    c->k->add_pv[type](v.p, v_stride, n_pos, n_dim, pf, p_stride, n_col, y.y, y_stride);
    for (size_t i = 0; i < n_col; i++) { /* a column, in two calls */
        c->k->add_pv[type](v.p, v_stride, cut, n_dim, pf + i * p_stride, p_stride, 1,
                           one.y + i * y_stride, y_stride);
        c->k->add_pv[type](v.p + cut * v_stride, v_stride, n_pos - cut, n_dim,
                           pf + i * p_stride + cut, p_stride, 1, one.y + i * y_stride, y_stride);
    }
    bool ok = out_guards_hold(&y) && same_bits(y.y, one.y, y.n, &(size_t){0});
    if (!ok)
        fail(c, "%zu x %zu x %zu: columns or calls depend on each other, or wrote beside", n_pos,
             n_dim, n_col);
    const float tolerance = c->has_fma ? 0.0f : 1e-6f * (3.0f + (float)n_pos);
    for (size_t i = 0; i < y.n && ok; i++) {
        if (i % y_stride >= n_dim || is_near(y.y[i], want.y[i], tolerance, 0.0f)) continue;
        ok = fail(c, "%zu x %zu x %zu: %.9g, want %.9g", n_pos, n_dim, n_col, (double)y.y[i],
                  (double)want.y[i]);
    }
    out_free(&one);
    out_free(&want);
    out_free(&y);
    room_free(&prob);
    room_free(&v);
    return ok;
}

bool check_add_pv(struct ctx *c, int param)
{
    static const size_t dims[] = {1, 4, 7, 8, 16, 17, 24, 32, 40, 64, 80, 96, 128, 160, 200, 256};
    static const size_t cols[] = {0, 1, 2, 3, 4, 5, 7, 9};
    const enum dtype type = (enum dtype)param;
    for (size_t i = 0; i < sizeof dims / sizeof *dims; i++) {
        for (size_t j = 0; j < sizeof cols / sizeof *cols && kv_can(type, dims[i]); j++) {
            if (!pv_case(c, type, rand_u32(c) % 70, dims[i], cols[j])) return false;
        }
    }
    return pv_case(c, type, 256, 128, 6);
}

/* ---- keys: packed rows of floats ------------------------------------------------------------- */

static bool keys_case(struct ctx *c, enum dtype type, size_t n_tile, size_t k, size_t n_col)
{
    const size_t n = n_tile * KV_TILE, row_bytes = dtype_row_bytes(type, k), y_stride = n + 5;
    struct room rows = cache_rows(c, type, n, k, row_bytes);
    struct room packed = room_new(n * row_bytes, 2);
    struct room x = room_new(n_col * k * sizeof(float), 4);
    struct room scratch = room_new(kern_scratch_bytes(k), 64);
    struct out y = out_new(n_col * y_stride);
    struct out want = out_new(n_col * y_stride);
    struct out one = out_new(n_col * y_stride);
    rand_floats(c, (float *)(void *)x.p, n_col * k, 1.0f);
    for (size_t r = 0; r < n; r++)
        pack_set_row(type, rows.p + r * row_bytes, k, r % KV_TILE,
                     packed.p + (r - r % KV_TILE) * row_bytes);
    struct kern_mul a = {.w = rows.p,
                         .w_stride = row_bytes,
                         .n_row = n,
                         .x = x.p,
                         .x_stride = k * sizeof(float),
                         .n_col = n_col,
                         .k = k,
                         .y = want.y,
                         .y_stride = y_stride,
                         .scratch = scratch.p};
    c->ref->mul[type](&a); /* the rows as they are: in double, so it does not matter */
    a.w = packed.p;
    a.is_packed = true;
    a.y = y.y;
    c->k->mul[type](&a);
    for (size_t t = 0; t < n_tile; t++) {
        for (size_t i = 0; i < n_col; i++) {
            struct kern_mul b = a;
            b.w = packed.p + t * KV_TILE * row_bytes;
            b.n_row = KV_TILE;
            b.x = x.p + i * a.x_stride;
            b.n_col = 1;
            b.y = one.y + i * y_stride + t * KV_TILE;
            c->k->mul[type](&b);
        }
    }
    bool ok = out_guards_hold(&y) && same_bits(y.y, one.y, y.n, &(size_t){0});
    if (!ok) fail(c, "%zu x %zu x %zu: rows depend on each other, or wrote beside", n, k, n_col);
    for (size_t i = 0; i < y.n && ok; i++) {
        if (is_near(y.y[i], want.y[i], 1e-6f * (float)(k + 10), 0.0f)) continue;
        if (i % y_stride >= n) continue;
        ok = fail(c, "%zu x %zu x %zu: %.9g, want %.9g", n, k, n_col, (double)y.y[i],
                  (double)want.y[i]);
    }
    out_free(&one);
    out_free(&want);
    out_free(&y);
    room_free(&scratch);
    room_free(&x);
    room_free(&packed);
    room_free(&rows);
    return ok;
}

bool check_mul_keys(struct ctx *c, int param)
{
    static const size_t dims[] = {1, 2, 3, 7, 16, 33, 64, 128, 256};
    static const size_t cols[] = {0, 1, 2, 3, 4, 5, 6, 7, 13};
    for (size_t i = 0; i < sizeof dims / sizeof *dims; i++) {
        for (size_t j = 0; j < sizeof cols / sizeof *cols; j++) {
            if (!keys_case(c, (enum dtype)param, rand_u32(c) % 4, dims[i], cols[j])) return false;
        }
    }
    return true;
}
