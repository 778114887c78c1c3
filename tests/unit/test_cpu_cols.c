/*
 * test_cpu_cols.c: products after a ReLU go by columns where that pays, and nobody can tell from
 * the result.
 */
#include "tests/unit/test_cpu.h"

#include "backend/cpu_impl.h"
#include "kern/cols.h"
#include "quant/block.h"

enum { N_IN = 512, N_OUT = 300, N_ROW = 5 };

static struct kern ref;

static int setup(void **state)
{
    (void)state;
    kern_init(&ref, 0);
    return 0;
}

struct relu_case { /* an activation, and the product that reads it */
    struct gop op[2];
    struct op_io io; /* of the product */
    float *src, *bias, *y, *want;
};

static void case_open(struct relu_case *c, struct rnd *r, enum dtype type, unsigned zeros_percent)
{
    *c = (struct relu_case){
        .op = {{.kind = GOP_ACT, .u.act = GACT_RELU2, .n_out = 1}, {.kind = GOP_MUL, .n_out = 1}}};
    c->op[0].dst[0] = c->op[1].src[0] = (struct gval){.buf = 3, .n = N_IN};
    c->op[1].dst[0] = (struct gval){.buf = 4, .n = N_OUT};
    c->op[1].w[0] = new_weights(r, &ref, type, N_IN, N_OUT, 1);
    c->bias = rnd_floats(r, N_OUT, -1.0f, 1.0f);
    c->op[1].bias[0] = c->bias;
    c->src = rnd_floats(r, N_ROW * N_IN, 0.0f, 4.0f);
    for (size_t i = 0; i < N_ROW * N_IN; i++)
        if (rnd_u32(r) % 100 < zeros_percent) c->src[i] = 0.0f;
    c->y = rnd_floats(r, N_ROW * N_OUT, 0.0f, 0.0f);
    c->want = rnd_floats(r, N_ROW * N_OUT, 0.0f, 0.0f);
    c->io = (struct op_io){.n_row = N_ROW,
                           .src = {c->src},
                           .src_stride = {N_IN},
                           .dst = {c->want},
                           .dst_stride = {N_OUT}};
}

static void case_close(struct relu_case *c)
{
    free_weights(&c->op[1].w[0]);
    mem_free(c->src);
    mem_free(c->bias);
    mem_free(c->y);
    mem_free(c->want);
}

/* All rows at once, then cut: the same bits. Five rows go by rows, one or two may go by columns. */
static void compare(struct relu_case *c, const struct bench *b)
{
    c->io.dst[0] = c->want;
    run_piece(&b->be, &c->op[1], &c->io);
    for (uint32_t cut = 1; cut <= CPU_COLS_TOKENS_MAX; cut++) {
        memset(c->y, 0, N_ROW * N_OUT * sizeof *c->y);
        c->io.dst[0] = c->y;
        run_cut(&b->be, &c->op[1], &c->io, (const uint32_t[]){cut, cut}, run_piece);
        assert_memory_equal(c->y, c->want, N_ROW * N_OUT * sizeof *c->y);
    }
}

static const struct cpu *cpu_of(const struct bench *b)
{
    return b->be.self;
}

static void columns_give_the_bits_of_rows(void **state)
{
    (void)state;
    static const struct {
        enum dtype type;
        bool has_form;
    } types[] = {{DT_F32, true},  {DT_F16, true},  {DT_BF16, true},
                 {DT_Q8_0, true}, {DT_Q4_0, true}, {DT_Q4_K, false}};
    struct rnd r = {7};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        for (uint32_t n_thread = 1; n_thread <= 3; n_thread++) {
            struct relu_case c;
            struct bench b;
            case_open(&c, &r, types[i].type, 80);
            bench_open(&b, n_thread, cpu_detect(), false, c.op, 2, N_ROW);
            assert_int_equal(cpu_of(&b)->n_cols, types[i].has_form);
            compare(&c, &b);
            if (types[i].has_form) assert_true(cpu_of(&b)->cols[0].is_filled);
            bench_close(&b);
            case_close(&c);
        }
    }
}

/* Columns made from packed rows are those that the rows give. */
static void columns_of_packed_weights(void **state)
{
    (void)state;
    static const enum dtype types[] = {DT_Q8_0, DT_Q4_0};
    struct rnd r = {13};
    for (size_t i = 0; i < 2; i++) {
        struct relu_case c;
        struct bench rows, packed;
        case_open(&c, &r, types[i], 80);
        const struct tensor w = c.op[1].w[0];
        c.io.dst[0] = c.want;
        bench_open(&rows, 1, cpu_detect(), false, c.op, 2, N_ROW);
        run_cut(&rows.be, &c.op[1], &c.io, (const uint32_t[]){1, 1}, run_piece);
        assert_true(cpu_of(&rows)->cols[0].is_filled);
        c.op[1].w[0] = packed_weights(&w);
        c.io.dst[0] = c.y;
        bench_open(&packed, 3, cpu_detect(), false, c.op, 2, N_ROW);
        run_cut(&packed.be, &c.op[1], &c.io, (const uint32_t[]){1, 1}, run_piece);
        assert_true(cpu_of(&packed)->cols[0].is_filled);
        assert_memory_equal(cpu_of(&packed)->cols[0].p, cpu_of(&rows)->cols[0].p,
                            cols_bytes(types[i], N_IN, N_OUT));
        assert_memory_equal(c.y, c.want, N_ROW * N_OUT * sizeof *c.y);
        bench_close(&rows);
        bench_close(&packed);
        free_weights(&w);
        case_close(&c);
    }
}

static void reserving_twice_takes_memory_once(void **state)
{
    (void)state;
    struct rnd r = {8};
    struct relu_case c;
    struct bench b;
    case_open(&c, &r, DT_Q8_0, 80);
    bench_open(&b, 1, cpu_detect(), false, c.op, 2, N_ROW);
    const struct graph g = {.op = c.op, .n_op = 2};
    assert_int_equal(b.be.reserve(b.be.self, &g, 2 * N_ROW), OK);
    assert_int_equal(cpu_of(&b)->n_cols, 1);
    bench_close(&b);
    case_close(&c);
}

static void few_zeros_go_by_rows(void **state)
{
    (void)state;
    struct rnd r = {9};
    struct relu_case c;
    struct bench b;
    case_open(&c, &r, DT_Q8_0, 10);
    bench_open(&b, 2, cpu_detect(), false, c.op, 2, N_ROW);
    compare(&c, &b);
    assert_int_equal(cpu_of(&b)->n_cols, 1);
    assert_false(cpu_of(&b)->cols[0].is_filled);
    bench_close(&b);
    case_close(&c);
}

/* 0 times infinity is not 0: such weights must not be skipped. */
static void weights_that_are_not_finite_go_by_rows(void **state)
{
    (void)state;
    struct rnd r = {10};
    struct relu_case c;
    struct bench b;
    case_open(&c, &r, DT_Q8_0, 80);
    uint8_t *const block = (uint8_t *)(uintptr_t)c.op[1].w[0].data + 20 * Q8_0_BYTES;
    memcpy(block, (const uint8_t[]){0x00, 0x7c}, 2); /* infinity in float16 */
    bench_open(&b, 2, cpu_detect(), false, c.op, 2, N_ROW);
    c.io.dst[0] = c.want;
    run_piece(&b.be, &c.op[1], &c.io);
    c.io.dst[0] = c.y;
    run_cut(&b.be, &c.op[1], &c.io, (const uint32_t[]){1, 1}, run_piece);
    for (size_t i = 0; i < N_ROW * N_OUT; i++) {
        assert_int_equal(isfinite(c.y[i]), isfinite(c.want[i]));
        if (isfinite(c.y[i])) assert_true(c.y[i] == c.want[i]);
    }
    assert_true(cpu_of(&b)->cols[0].is_filled);
    assert_null(cpu_of(&b)->cols[0].p);
    bench_close(&b);
    case_close(&c);
}

static void other_products_go_by_rows(void **state)
{
    (void)state;
    struct rnd r = {11};
    for (int i = 0; i < 4; i++) {
        struct relu_case c;
        struct bench b;
        case_open(&c, &r, DT_Q8_0, 80);
        if (i == 0) c.op[0].u.act = GACT_SILU;
        if (i == 1) c.op[1].src[0].buf = 9;
        if (i == 2) c.op[0].kind = GOP_GLU;
        bench_open(&b, 1, cpu_detect(), i == 3, c.op, 2, N_ROW); /* 3: float32 activations */
        assert_int_equal(cpu_of(&b)->n_cols, 0);
        compare(&c, &b);
        bench_close(&b);
        case_close(&c);
    }
}

/* Every allocation may fail: then the product goes by rows, or reserve() says so. */
static void without_memory_it_goes_by_rows(void **state)
{
    (void)state;
    struct rnd r = {12};
    struct relu_case c;
    case_open(&c, &r, DT_Q8_0, 80);
    struct kern k;
    kern_init(&k, cpu_detect());
    struct bench b = {0};
    assert_int_equal(pool_open(&b.pool, 1), OK);
    const struct graph g = {.op = c.op, .n_op = 2};
    unsigned n_without = 0;
    for (uint64_t n = 1; n < 20; n++) {
        assert_int_equal(cpu_backend_open(&b.be, &(struct cpu_opts){b.pool, &k, false}), OK);
        mem_fail_at(n);
        const enum err err = b.be.reserve(b.be.self, &g, N_ROW);
        mem_fail_at(0);
        if (err == OK) compare(&c, &b);
        n_without += err == OK && cpu_of(&b)->n_cols == 0;
        b.be.close(b.be.self);
    }
    assert_int_equal(n_without, 2); /* the list, the memory */
    pool_close(b.pool);
    case_close(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(columns_give_the_bits_of_rows),
        cmocka_unit_test(columns_of_packed_weights),
        cmocka_unit_test(reserving_twice_takes_memory_once),
        cmocka_unit_test(few_zeros_go_by_rows),
        cmocka_unit_test(weights_that_are_not_finite_go_by_rows),
        cmocka_unit_test(other_products_go_by_rows),
        cmocka_unit_test(without_memory_it_goes_by_rows),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, setup, NULL);
}
