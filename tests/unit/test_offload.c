/*
 * test_offload.c: the in-memory ports: KV spans and their cut, values inside keys, checkpoints of
 * recurrent state.
 */
#include "base/mem.h"
#include "kern/kv.h"
#include "offload/kvram.h"
#include "offload/stateram.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

/* ---- KV cache -------------------------------------------------------------------------------- */

enum { N_CTX = 3 * KV_SPAN + 5, DIM_K = 64, DIM_V = 32, N_KV = 2, STEP = 130 };

static struct kern kern;
static struct pool *pool; /* of two threads: long appends are cut between them */

/* Whole numbers with 127 in each block of 32, so that every type holds them exactly. */
static float key_at(uint32_t layer, uint32_t pos, uint32_t i)
{
    return i % 32 == 0 ? 127.0f : (float)((layer * 31 + pos * 7 + i * 5) % 255) - 127.0f;
}

static void append(const struct kv_src *src, uint32_t seq, uint32_t layer, uint32_t pos0,
                   uint32_t n)
{
    static float k[N_CTX * STEP], v[N_CTX * STEP];
    for (uint32_t p = 0; p < n; p++) {
        for (uint32_t i = 0; i < N_KV * DIM_K; i++) k[p * STEP + i] = key_at(layer, pos0 + p, i);
        for (uint32_t i = 0; i < N_KV * DIM_V; i++) v[p * STEP + i] = -key_at(layer, pos0 + p, i);
    }
    assert_int_equal(src->append(src->self, seq, layer, pos0, n, k, STEP, v, STEP), OK);
}

/* Item i of position p of a head, as a float. */
static float item_at(const void *head, enum dtype type, bool in_tiles, uint32_t p, uint32_t dim,
                     uint32_t i)
{
    static float row[DIM_K];
    static uint8_t raw[DIM_K * sizeof(float)];
    const size_t row_bytes = dtype_row_bytes(type, dim);
    const uint8_t *at = (const uint8_t *)head + p * row_bytes;
    if (in_tiles) pack_get_row(type, head, kv_tiles(p + 1), dim, p, raw);
    kern.to_f32[type](in_tiles ? raw : at, row, dim);
    return row[i];
}

/* Walks [begin, end) and checks every number; returns the number of spans. Up to two are held. */
static uint32_t walk(const struct kv_src *src, uint32_t seq, uint32_t layer, uint32_t begin,
                     uint32_t end, bool v_in_k)
{
    struct kv_iter it;
    struct kv_span held[2];
    uint32_t n = 0, next = begin / KV_SPAN * KV_SPAN;
    assert_int_equal(src->iter(src->self, seq, layer, begin, end, &it), OK);
    while (src->next(&it, true, &held[n % 2]) == OK) {
        const struct kv_span span = held[n % 2];
        assert_int_equal(span.pos0, next);
        assert_int_equal(span.pos0 % KV_SPAN, 0);
        for (uint32_t p = 0; p < span.n_pos; p++) {
            for (uint32_t i = 0; i < N_KV * DIM_K; i++) {
                const char *k = (const char *)span.k + i / DIM_K * span.k_head;
                assert_true(item_at(k, src->type_k, !v_in_k, p, DIM_K, i % DIM_K) ==
                            key_at(layer, span.pos0 + p, i));
            }
            for (uint32_t i = 0; i < N_KV * DIM_V; i++) {
                const char *v = (const char *)span.v + i / DIM_V * span.v_head;
                const enum dtype type = v_in_k ? src->type_k : src->type_v;
                const uint32_t dim = v_in_k ? DIM_K : DIM_V;
                const float key = key_at(layer, span.pos0 + p, i / DIM_V * DIM_K + i % DIM_V);
                const float value = key_at(layer, span.pos0 + p, i);
                assert_true(item_at(v, type, false, p, dim, i % DIM_V) == (v_in_k ? key : -value));
            }
        }
        next += span.n_pos;
        if (n++ > 0) src->release(src->self, &held[n % 2]);
    }
    assert_int_equal(next, end);
    src->done(&it);
    src->release(src->self, &held[(n + 1) % 2]);
    return n;
}

static void check_spans(enum dtype type_k, enum dtype type_v)
{
    const struct kv_shape shape[3] = {
        {.n_head_kv = N_KV, .dim_k = DIM_K, .dim_v = DIM_V},
        {.n_head_kv = 0},
        {.n_head_kv = N_KV, .dim_k = DIM_K, .dim_v = DIM_V, .v_in_k = true},
    };
    struct kvram *kv;
    assert_int_equal(kvram_open(&kv, shape, 3, N_CTX, type_k, type_v, &kern, pool), OK);
    assert_int_equal(kvram_bytes_per_pos(kv),
                     N_KV * (2 * dtype_row_bytes(type_k, DIM_K) + dtype_row_bytes(type_v, DIM_V)));
    const struct kv_src src = kvram_src(kv);
    assert_int_equal(src.seq_open(src.self, 0), OK);
    for (uint32_t pos = 0, n; pos < N_CTX; pos += n) { /* any cut of the appends, short ones too */
        n = pos % 2 ? 1 : 37;
        if (n > N_CTX - pos) n = N_CTX - pos;
        append(&src, 0, 0, pos, n);
        append(&src, 0, 2, pos, n);
    }
    assert_int_equal(walk(&src, 0, 0, 0, 1, false), 1);
    assert_int_equal(walk(&src, 0, 0, 0, KV_SPAN, false), 1);
    assert_int_equal(walk(&src, 0, 0, 0, KV_SPAN + 1, false), 2);
    assert_int_equal(walk(&src, 0, 0, 0, N_CTX, false), 4);
    assert_int_equal(walk(&src, 0, 0, KV_SPAN - 1, N_CTX, false), 4);
    assert_int_equal(walk(&src, 0, 0, KV_SPAN, N_CTX, false), 3);
    assert_int_equal(walk(&src, 0, 2, N_CTX - 1, N_CTX, true), 1);
    kvram_close(kv);
}

static const enum dtype kv_types[] = {DT_F32, DT_F16, DT_Q8_0};

static void test_spans(void **state)
{
    (void)state;
    for (int i = 0; i < 9; i++) check_spans(kv_types[i / 3], kv_types[i % 3]);
}

static void check_copied_timeline(enum dtype type)
{
    const struct kv_shape shape[2] = {
        {.n_head_kv = N_KV, .dim_k = DIM_K, .dim_v = DIM_V},
        {.n_head_kv = N_KV, .dim_k = DIM_K, .dim_v = DIM_V, .v_in_k = true},
    };
    struct kvram *kv;
    assert_int_equal(kvram_open(&kv, shape, 2, N_CTX, type, type, &kern, pool), OK);
    const struct kv_src src = kvram_src(kv);
    assert_int_equal(src.seq_open(src.self, 3), OK);
    assert_int_equal(src.seq_open(src.self, SEQS_MAX - 1), OK);
    append(&src, 3, 0, 0, KV_SPAN + 7);
    append(&src, 3, 1, 0, KV_SPAN + 7);
    assert_int_equal(src.copy(src.self, 3, SEQS_MAX - 1, KV_SPAN + 2), OK);
    src.seq_close(src.self, 3);
    src.seq_close(src.self, 3);
    append(&src, SEQS_MAX - 1, 0, KV_SPAN + 2, 5);
    assert_int_equal(walk(&src, SEQS_MAX - 1, 0, 0, KV_SPAN + 7, false), 2);
    assert_int_equal(walk(&src, SEQS_MAX - 1, 1, 0, KV_SPAN + 2, true), 2);
    kvram_close(kv);
}

static void test_copied_timeline(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) check_copied_timeline(kv_types[i]);
}

static void refuse(struct kv_shape shape, enum dtype type_k, enum dtype type_v, const char *why)
{
    const struct kv_shape shapes[2] = {{.n_head_kv = 0}, shape};
    const size_t before = mem_used_total();
    struct kvram *kv;
    assert_int_equal(kvram_open(&kv, shapes, 2, 16, type_k, type_v, &kern, pool), ERR_USAGE);
    assert_null(kv);
    assert_non_null(strstr(err_msg(), why));
    assert_int_equal(mem_used_total(), before);
}

static void test_dims_without_blocks(void **state)
{
    (void)state;
    const struct kv_shape k80 = {.n_head_kv = 1, .dim_k = 80, .dim_v = 64};
    const struct kv_shape v80 = {.n_head_kv = 1, .dim_k = 64, .dim_v = 80};
    const struct kv_shape mla = {.n_head_kv = 1, .dim_k = 96, .dim_v = 80, .v_in_k = true};
    refuse(k80, DT_Q8_0, DT_F16, "layer 1: a key of 80 numbers cannot be cached as Q8_0 (-ctk)");
    refuse(v80, DT_F16, DT_Q8_0, "layer 1: a value of 80 numbers cannot be cached as Q8_0 (-ctv)");
    refuse(mla, DT_Q8_0, DT_F16, "a value of 80 numbers cannot be cached as Q8_0 (-ctk)");
    struct kvram *kv; /* there are no values to be cached apart */
    assert_int_equal(kvram_open(&kv, &mla, 1, 16, DT_F16, DT_Q8_0, &kern, pool), OK);
    kvram_close(kv);
}

static void test_open_fails_cleanly(void **state)
{
    (void)state;
    const struct kv_shape shape[2] = {{.n_head_kv = 1, .dim_k = 8, .dim_v = 8},
                                      {.n_head_kv = 1, .dim_k = 8, .dim_v = 8}};
    const size_t before = mem_used_total();
    struct kvram *kv;
    for (uint64_t n = 1; n <= 2; n++) {
        mem_fail_at(n);
        assert_int_equal(kvram_open(&kv, shape, 2, 16, DT_F16, DT_F32, &kern, pool), ERR_MEMORY);
        assert_null(kv);
        assert_int_equal(mem_used_total(), before);
    }
    mem_fail_at(0);
    assert_int_equal(kvram_open(&kv, shape, 2, 16, DT_F16, DT_F32, &kern, pool), OK);
    const struct kv_src src = kvram_src(kv);
    mem_fail_at(1);
    assert_int_equal(src.seq_open(src.self, 0), ERR_MEMORY);
    mem_fail_at(0);
    assert_int_equal(src.seq_open(src.self, 0), OK);
    kvram_close(kv);
    assert_int_equal(mem_used_total(), before);
}

/* ---- recurrent state ------------------------------------------------------------------------- */

static void set_state(const struct state_src *src, float value)
{
    float *s;
    assert_int_equal(src->get(src->self, 0, 1, &s), OK);
    s[0] = s[15] = value;
}

static float get_state(const struct state_src *src)
{
    float *s;
    assert_int_equal(src->get(src->self, 0, 1, &s), OK);
    assert_true(s[0] == s[15]);
    return s[0];
}

static void test_checkpoints(void **state)
{
    (void)state;
    const uint32_t floats[2] = {0, 16};
    struct stateram *st;
    assert_int_equal(stateram_open(&st, floats, 2), OK);
    const struct state_src src = stateram_src(st);
    assert_int_equal(src.seq_open(src.self, 0), OK);
    const uint32_t at[] = {10, 12, 100, 1000};
    for (size_t i = 0; i < 4; i++) {
        set_state(&src, (float)at[i]);
        assert_int_equal(src.save(src.self, 0, at[i]), OK);
    }
    set_state(&src, 5000.0f);
    assert_int_equal(src.save(src.self, 0, 5000),
                     OK); /* the fifth: 12 lies nearest to its predecessor and goes */
    uint32_t got;
    set_state(&src, -1.0f);
    assert_int_equal(src.restore(src.self, 0, 4999, &got), OK);
    assert_int_equal(got, 1000);
    assert_true(get_state(&src) == 1000.0f);
    assert_int_equal(src.restore(src.self, 0, 5000, &got), OK); /* 5000 was of another timeline */
    assert_int_equal(got, 1000);
    assert_int_equal(src.restore(src.self, 0, 50, &got), OK);
    assert_int_equal(got, 10);
    assert_true(get_state(&src) == 10.0f);
    assert_int_equal(src.restore(src.self, 0, 9, &got), OK);
    assert_int_equal(got, 0);
    assert_true(get_state(&src) == 0.0f);
    stateram_close(st);
}

static void test_copied_state(void **state)
{
    (void)state;
    const uint32_t floats[2] = {0, 16};
    struct stateram *st;
    assert_int_equal(stateram_open(&st, floats, 2), OK);
    const struct state_src src = stateram_src(st);
    float *other;
    uint32_t got;
    assert_int_equal(src.seq_open(src.self, 0), OK);
    assert_int_equal(src.seq_open(src.self, 1), OK);
    assert_int_equal(src.get(src.self, 1, 1, &other), OK);
    set_state(&src, 10.0f);
    assert_int_equal(src.save(src.self, 0, 10), OK);
    set_state(&src, 20.0f); /* live at 20 */
    assert_int_equal(src.nearest(src.self, 0, 19), 10);
    assert_int_equal(src.nearest(src.self, 0, 9), 0);
    assert_int_equal(src.copy(src.self, 0, 20, 1, 20, &got), OK);
    assert_int_equal(got, 20);
    assert_true(other[0] == 20.0f);
    assert_int_equal(src.nearest(src.self, 1, 25), 20);
    assert_int_equal(src.copy(src.self, 0, 20, 1, 15, &got), OK);
    assert_int_equal(got, 10);
    assert_true(other[15] == 10.0f);
    assert_int_equal(src.copy(src.self, 0, 20, 1, 5, &got), OK);
    assert_int_equal(got, 0);
    assert_true(other[0] == 0.0f);
    assert_int_equal(src.nearest(src.self, 1, 25), 0);
    assert_true(get_state(&src) == 20.0f); /* the source is as it was */
    src.seq_close(src.self, 0);
    stateram_close(st);
}

static void test_no_state_costs_nothing(void **state)
{
    (void)state;
    const uint32_t floats[2] = {0, 0};
    struct stateram *st;
    assert_int_equal(stateram_open(&st, floats, 2), OK);
    const struct state_src src = stateram_src(st);
    assert_int_equal(src.seq_open(src.self, 0), OK);
    assert_int_equal(src.save(src.self, 0, 7), OK);
    assert_int_equal(stateram_bytes(st, 0), 0);
    stateram_close(st);
}

static int setup(void **state)
{
    (void)state;
    kern_init(&kern, 0);
    return pool_open(&pool, 2) == OK ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    pool_close(pool);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_spans),
        cmocka_unit_test(test_copied_timeline),
        cmocka_unit_test(test_dims_without_blocks),
        cmocka_unit_test(test_open_fails_cleanly),
        cmocka_unit_test(test_checkpoints),
        cmocka_unit_test(test_copied_state),
        cmocka_unit_test(test_no_state_costs_nothing),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, setup, teardown);
}
