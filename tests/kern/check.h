/*
 * check.h: kernel checks: every kernel that a level replaces, against the reference.
 *
 * A check gets a struct ctx with two tables, computes the same with both on skewed inputs, and
 * returns whether they agree; fail() keeps the first difference. Inputs end at a page that cannot
 * be read and outputs lie between guard bytes, so that a kernel that reads or writes too far is
 * caught.
 */
#ifndef TESTS_KERN_CHECK_H
#define TESTS_KERN_CHECK_H

#include "kern/kern.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ctx {
    const struct kern *ref, *k;
    bool has_fma;  /* quantised products have the reference's bits; without fma a tolerance holds */
    uint64_t rng;  /* xorshift state */
    char why[256]; /* the first difference */
};

/* ---- inputs ---------------------------------------------------------------------------------- */

uint32_t rand_u32(struct ctx *c);
float rand_float(struct ctx *c, float scale); /* normal-like, mean 0 */
void rand_floats(struct ctx *c, float *x, size_t n, float scale);

/* n_bytes that end at an unreadable page, at a multiple of `align` before it. For room_free. */
struct room {
    uint8_t *p;
    uint8_t *base;
    size_t n_base;
};
struct room room_new(size_t n_bytes, size_t align);
void room_free(struct room *r);

/* An output of n floats between guards, filled with a pattern that shows what was not written. */
struct out {
    float *y;
    size_t n;
    struct room room;
};
struct out out_new(size_t n);
bool out_guards_hold(const struct out *o);
void out_free(struct out *o);

/* ---- verdicts -------------------------------------------------------------------------------- */

#if defined(__GNUC__)
__attribute__((format(printf, 2, 3)))
#endif
bool fail(struct ctx *c, const char *fmt, ...); /* false, for `return fail(...)` */
/* The same bits; one NaN is as good as another. */
bool same_bits(const float *a, const float *b, size_t n, size_t *at);
/* |a - b| <= abs, or within rel of |b|, or both NaN, or the same infinity. */
bool is_near(float a, float b, float abs, float rel);

/* ---- checks ---------------------------------------------------------------------------------- */

struct weights { /* the types, for check_mul.c and the benchmark */
    enum dtype type;
    const char *name;
    size_t block_items, block_bytes;
    int f16_at[2]; /* offsets of scales in f16, -1: none */
};
enum { N_WEIGHTS = 16 };
extern const struct weights weights[N_WEIGHTS];
enum fill {
    FILL_NORMAL,
    FILL_EXTREME,
    FILL_TINY,
    FILL_EXACT,
    FILL_WILD,
    FILL_SPARSE, /* most activations are 0 */
    FILL_COUNT
};
void fill_weights(struct ctx *c, const struct weights *t, enum fill how, uint8_t *p,
                  size_t n_blocks);

bool check_mul(struct ctx *c, const struct weights *t);
bool check_mul_cols(struct ctx *c, const struct weights *t);
bool check_pack(struct ctx *c, const struct weights *t);
bool check_mul_meaning(struct ctx *c,
                       const struct weights *t); /* the reference against its own to_f32 */
bool check_to_f32(struct ctx *c, const struct weights *t);
bool check_quant_q8(struct ctx *c, int param);
bool check_add_pv(struct ctx *c, int param);
bool check_mul_keys(struct ctx *c, int param);

struct row_check {
    const char *name;
    size_t at; /* of the pointer in struct kern: equal at two levels means not replaced */
    int param;
    bool (*run)(struct ctx *c, int param);
};
enum { N_ROW_CHECKS = 31 };
extern const struct row_check row_checks[N_ROW_CHECKS];

bool check_dequant(const struct kern *k, const char *path, char *why, size_t why_bytes);

void bench(const struct kern *k, const char *level);

#endif
