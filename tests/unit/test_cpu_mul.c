/*
 * test_cpu_mul.c: products of weights and activations: values against double loops, the same bits
 * for any number of threads and any cut of the rows, and quantised activations held no longer than
 * they are true.
 */
#include "tests/unit/test_cpu.h"

#include "backend/cpu_impl.h"
#include "quant/block.h"

static const enum dtype types[] = {DT_F32,  DT_F16,    DT_BF16,   DT_Q4_0, DT_Q4_1, DT_Q5_0,
                                   DT_Q5_1, DT_Q8_0,   DT_Q2_K,   DT_Q3_K, DT_Q4_K, DT_Q5_K,
                                   DT_Q6_K, DT_IQ4_NL, DT_IQ4_XS, DT_MXFP4};
enum { TYPE_COUNT = sizeof types / sizeof *types };

static struct kern ref; /* the reference: expands weights, quantises activations */

static int setup(void **state)
{
    (void)state;
    kern_init(&ref, 0);
    return 0;
}

/* The k activations that a product really uses: quantised and back, unless it takes floats. */
static double *used_x(enum kern_x form, const float *x, size_t k)
{
    double *used = mem_alloc_array(MEM_MISC, k, sizeof *used);
    uint8_t *row = mem_alloc(MEM_MISC, act_q8_row_bytes(k));
    assert_non_null(used);
    assert_non_null(row);
    if (form == KX_Q8) ref.quant_q8(x, k, row);
    const float *d = (const float *)(const void *)(row + act_q8_d_at(k));
    for (size_t i = 0; i < k; i++)
        used[i] =
            form == KX_Q8 ? (double)((const int8_t *)row)[i] * (double)d[i / 32] : (double)x[i];
    mem_free(row);
    return used;
}

/* y[r] of one row of weights and one row of activations. */
static void check_element(const struct tensor *w, uint64_t plane, uint64_t r, const double *x,
                          double bias, float got)
{
    float *row = weight_row(&ref, w, plane, r);
    double sum = bias, size = fabs(bias);
    for (size_t i = 0; i < w->ne[0]; i++) {
        sum += (double)row[i] * x[i];
        size += fabs((double)row[i] * x[i]);
    }
    assert_near((double)got, sum, size, 2e-6);
    mem_free(row);
}

/* ---- GOP_MUL --------------------------------------------------------------------------------- */

struct mul_case { /* one operation with its operands; rows are column views at odd offsets */
    struct gop op;
    struct op_io io;
    float *src, *dst[GOP_OUT_MAX];
    size_t dst_floats[GOP_OUT_MAX];
};

enum { SRC_AT = 3, DST_AT = 5, PAD = 8 }; /* columns before the view and around it */

static void case_open(struct mul_case *c, struct rnd *r, const enum dtype *type, uint32_t n_out,
                      const uint32_t *n, uint32_t k, uint32_t n_row, bool bias)
{
    *c = (struct mul_case){.op = {.kind = GOP_MUL, .n_out = n_out}, .io = {.n_row = n_row}};
    c->src = rnd_floats(r, (size_t)n_row * (k + PAD), -2.0f, 2.0f);
    c->op.src[0].n = k;
    c->io.src[0] = c->src + SRC_AT;
    c->io.src_stride[0] = k + PAD;
    for (uint32_t i = 0; i < n_out; i++) {
        c->op.w[i] = new_weights(r, &ref, type[i], k, n[i], 1);
        c->op.bias[i] = bias ? rnd_floats(r, n[i], -1.0f, 1.0f) : NULL;
        c->op.dst[i].n = n[i];
        c->dst_floats[i] = (size_t)n_row * (n[i] + PAD);
        c->dst[i] = rnd_floats(r, c->dst_floats[i], 7.0f, 7.0f);
        c->io.dst[i] = c->dst[i] + DST_AT;
        c->io.dst_stride[i] = n[i] + PAD;
    }
}

static void case_close(struct mul_case *c)
{
    mem_free(c->src);
    for (uint32_t i = 0; i < c->op.n_out; i++) {
        free_weights(&c->op.w[i]);
        mem_free((void *)(uintptr_t)c->op.bias[i]);
        mem_free(c->dst[i]);
    }
}

static void case_check(const struct mul_case *c, bool act_f32)
{
    for (uint32_t i = 0; i < c->op.n_out; i++) {
        const struct tensor *w = &c->op.w[i];
        for (uint32_t t = 0; t < c->io.n_row; t++) {
            const enum kern_x form = act_f32 ? KX_F32 : ref.mul_x[w->type];
            double *x = used_x(form, c->io.src[0] + t * c->io.src_stride[0], w->ne[0]);
            const float *y = c->io.dst[i] + t * c->io.dst_stride[i];
            for (uint64_t r = 0; r < w->ne[1]; r += 1 + w->ne[1] / 40)
                check_element(w, 0, r, x, c->op.bias[i] ? (double)c->op.bias[i][r] : 0.0, y[r]);
            for (int j = -DST_AT; j < 0; j++) assert_true(y[j] == 7.0f);
            for (int j = 0; j < PAD - DST_AT; j++) assert_true(y[w->ne[1] + (size_t)j] == 7.0f);
            mem_free(x);
        }
    }
}

/* Runs the case with other threads and cuts; the first result is the one to equal. */
static void case_same_bits(struct mul_case *c, unsigned cpu_flags, bool act_f32)
{
    float *first[GOP_OUT_MAX];
    for (uint32_t i = 0; i < c->op.n_out; i++) {
        first[i] = rnd_floats(&(struct rnd){1}, c->dst_floats[i], 0.0f, 0.0f);
        memcpy(first[i], c->dst[i], c->dst_floats[i] * sizeof(float));
    }
    for (uint32_t n_thread = 1; n_thread <= 3; n_thread++) {
        struct bench b;
        bench_open(&b, n_thread, cpu_flags, act_f32, &c->op, 1, c->io.n_row);
        for (int cut = 0; cut < CUT_COUNT; cut++) {
            for (uint32_t i = 0; i < c->op.n_out; i++)
                for (size_t j = 0; j < c->dst_floats[i]; j++) c->dst[i][j] = 7.0f;
            run_cut(&b.be, &c->op, &c->io, cuts[cut], run_piece);
            for (uint32_t i = 0; i < c->op.n_out; i++)
                assert_memory_equal(c->dst[i], first[i], c->dst_floats[i] * sizeof(float));
        }
        bench_close(&b);
    }
    for (uint32_t i = 0; i < c->op.n_out; i++) mem_free(first[i]);
}

static void case_run(struct mul_case *c, unsigned cpu_flags, bool act_f32)
{
    struct bench b;
    bench_open(&b, 2, cpu_flags, act_f32, &c->op, 1, c->io.n_row);
    run_piece(&b.be, &c->op, &c->io);
    bench_close(&b);
    case_check(c, act_f32);
    case_same_bits(c, cpu_flags, act_f32);
}

static void each_type_is_right_and_repeatable(void **state)
{
    (void)state;
    const unsigned levels[] = {0, cpu_detect()};
    for (int i = 0; i < TYPE_COUNT; i++) {
        for (int l = 0; l < 2; l++) {
            struct rnd r = {.state = (uint64_t)types[i]};
            struct mul_case c;
            const uint32_t n[] = {37};
            const uint32_t k = dtype_info(types[i])->block_items == 1 ? 77 : 768;
            case_open(&c, &r, &types[i], 1, n, k, 40, i % 2);
            case_run(&c, levels[l], false);
            case_close(&c);
        }
    }
}

static void float_activations_expand_each_type(void **state)
{
    (void)state;
    for (int i = 0; i < TYPE_COUNT; i++) {
        struct rnd r = {.state = 100 + (uint64_t)types[i]};
        struct mul_case c;
        const uint32_t n[] = {21};
        case_open(&c, &r, &types[i], 1, n, 512, 9, true);
        case_run(&c, cpu_detect(), true);
        case_close(&c);
    }
}

static void three_matrices_of_mixed_types_share_their_input(void **state)
{
    (void)state;
    struct rnd r = {.state = 5};
    struct mul_case c;
    const enum dtype type[] = {DT_Q4_K, DT_F16, DT_Q6_K};
    const uint32_t n[] = {64, 33, 17};
    case_open(&c, &r, type, 3, n, 256, 35, true);
    case_run(&c, cpu_detect(), false);
    case_close(&c);
}

/* Whole tiles, rows left over, and both; packed rows must give the bits of rows as they were. */
static void packed_weights_give_the_same_bits(void **state)
{
    (void)state;
    static const uint32_t n_rows[] = {16, 37, 9, 301};
    const unsigned levels[] = {0, cpu_detect()};
    for (int i = 0; i < 2 * TYPE_COUNT; i++) {
        const enum dtype t = types[i / 2], type[] = {t, t, t};
        if (!pack_can(t)) continue;
        struct rnd r = {.state = 200 + (uint64_t)t};
        struct mul_case c;
        case_open(&c, &r, type, 3, n_rows + i / 2 % 2, 512, 19, i / 2 % 2);
        struct bench b;
        bench_open(&b, 1, levels[i % 2], false, &c.op, 1, c.io.n_row);
        run_piece(&b.be, &c.op, &c.io);
        bench_close(&b);
        for (int j = 0; j < 3; j++) {
            const struct tensor plain = c.op.w[j];
            c.op.w[j] = packed_weights(&plain);
            free_weights(&plain);
        }
        case_same_bits(&c, levels[i % 2], false);
        case_close(&c);
    }
}

/* Large enough for several tiles of rows and several blocks of columns. */
static void tiles_and_column_blocks_do_not_show(void **state)
{
    (void)state;
    const enum dtype type[] = {DT_Q8_0, DT_Q4_K, DT_F32};
    for (int i = 0; i < 3; i++) {
        struct rnd r = {.state = 6};
        struct mul_case c;
        const uint32_t n[] = {301};
        case_open(&c, &r, &type[i], 1, n, 2048, 150, false);
        assert_true(cpu_tile_cols_max(2048) < 150);
        case_run(&c, cpu_detect(), false);
        case_close(&c);
    }
}

/* ---- quantised activations are held ---------------------------------------------------------- */

enum { HELD_K = 64, HELD_N = 8 };

struct held { /* a list of operations on one source; the third writes to it */
    struct gop op[5];
    struct op_io io[5];
    float src[HELD_K], other[HELD_K], dst[5][HELD_N];
    struct bench b;
    const struct cpu *c;
};

static void held_open(struct held *h, struct rnd *r)
{
    *h = (struct held){0};
    const struct tensor w = new_weights(r, &ref, DT_Q8_0, HELD_K, HELD_N, 1);
    for (int i = 0; i < 5; i++) {
        h->op[i] = (struct gop){
            .kind = GOP_MUL, .n_out = 1, .src = {{.n = HELD_K}}, .dst = {{.n = HELD_N}}, .w = {w}};
        h->io[i] = (struct op_io){.n_row = 1,
                                  .src = {h->src},
                                  .src_stride = {HELD_K},
                                  .dst = {h->dst[i]},
                                  .dst_stride = {HELD_N}};
    }
    h->op[2] = (struct gop){.kind = GOP_SCALE, .src = {{.n = HELD_K}}, .dst = {{.n = HELD_K}}};
    h->op[2].u.scale.factor = -3.0f;
    h->io[2] = (struct op_io){.n_row = 1,
                              .src = {h->other},
                              .src_stride = {HELD_K},
                              .dst = {h->src},
                              .dst_stride = {HELD_K}};
    for (int i = 0; i < HELD_K; i++) {
        h->src[i] = rnd_float(r, -1.0f, 1.0f);
        h->other[i] = rnd_float(r, -1.0f, 1.0f);
    }
    bench_open(&h->b, 2, cpu_detect(), false, h->op, 5, 1);
    h->c = h->b.be.self;
}

static void held_close(struct held *h)
{
    free_weights(&h->op[0].w[0]);
    bench_close(&h->b);
}

static void held_run(struct held *h, int i)
{
    run_piece(&h->b.be, &h->op[i], &h->io[i]);
}

/* dst[i] is the product with the source as it is now */
static void held_check(const struct held *h, int i)
{
    double *x = used_x(KX_Q8, h->src, HELD_K);
    for (uint64_t r = 0; r < HELD_N; r++) check_element(&h->op[i].w[0], 0, r, x, 0.0, h->dst[i][r]);
    mem_free(x);
}

static void later_readers_of_a_source_share_its_quantisation(void **state)
{
    (void)state;
    struct rnd r = {.state = 8};
    struct held h;
    held_open(&h, &r);
    held_run(&h, 0);
    assert_ptr_equal(h.c->held.src, h.src);
    memset(h.c->buf[BUF_ACT].p, 0, h.c->buf[BUF_ACT].n_bytes); /* whoever uses it, shows it */
    held_run(&h, 1);
    for (int i = 0; i < HELD_N; i++) assert_true(h.dst[1][i] == 0.0f);
    held_close(&h);
}

static void a_write_between_readers_is_seen(void **state)
{
    (void)state;
    struct rnd r = {.state = 9};
    struct held h;
    held_open(&h, &r);
    held_run(&h, 0);
    held_run(&h, 2);
    assert_null(h.c->held.src);
    held_run(&h, 3);
    held_check(&h, 3);
    held_close(&h);
}

/* The executor fills the rows of GOP_OUT_ROWS by itself and walks the rest of the list again. */
static void a_second_walk_quantises_again(void **state)
{
    (void)state;
    struct rnd r = {.state = 10};
    struct held h;
    held_open(&h, &r);
    held_run(&h, 3);
    held_run(&h, 4);
    h.src[5] = 4.0f;
    held_run(&h, 3);
    held_check(&h, 3);
    h.src[6] = 5.0f;
    held_run(&h, 3); /* the list may be as short as one */
    held_check(&h, 3);
    held_close(&h);
}

static void other_sources_and_shapes_are_not_mixed_up(void **state)
{
    (void)state;
    struct rnd r = {.state = 11};
    struct held h;
    held_open(&h, &r);
    held_run(&h, 0);
    h.io[1].src[0] = h.other;
    held_run(&h, 1);
    memcpy(h.src, h.other, sizeof h.src);
    held_check(&h, 1);
    assert_int_equal(h.b.be.reserve(h.b.be.self, &(struct graph){.op = h.op, .n_op = 5}, 1), OK);
    assert_null(h.c->held.src);
    held_close(&h);
}

/* ---- GOP_MUL_HEADS --------------------------------------------------------------------------- */

static void check_heads(const struct gop *op, const struct op_io *io, bool act_f32)
{
    const struct tensor *w = &op->w[0];
    const size_t n_in = w->ne[op->u.heads.transposed ? 1 : 0],
                 n_out = w->ne[op->u.heads.transposed ? 0 : 1];
    const enum kern_x form = act_f32 || op->u.heads.transposed ? KX_F32 : ref.mul_x[w->type];
    for (uint32_t t = 0; t < io->n_row; t++) {
        for (uint32_t h = 0; h < op->u.heads.n_head; h++) {
            double *x = used_x(form, io->src[0] + t * io->src_stride[0] + h * n_in, n_in);
            const float *y = io->dst[0] + t * io->dst_stride[0] + h * n_out;
            if (!op->u.heads.transposed) {
                for (size_t r = 0; r < n_out; r++) check_element(w, h, r, x, 0.0, y[r]);
            } else {
                double sum[512] = {0}, size[512] = {0};
                assert_true(n_out <= 512);
                for (size_t i = 0; i < n_in; i++) {
                    float *row = weight_row(&ref, w, h, i);
                    for (size_t r = 0; r < n_out; r++) sum[r] += x[i] * (double)row[r];
                    for (size_t r = 0; r < n_out; r++) size[r] += fabs(x[i] * (double)row[r]);
                    mem_free(row);
                }
                for (size_t r = 0; r < n_out; r++) assert_near((double)y[r], sum[r], size[r], 2e-6);
            }
            mem_free(x);
        }
    }
}

static void heads_case(enum dtype type, uint32_t n_in, uint32_t n_out, uint32_t n_head,
                       bool transposed, bool act_f32)
{
    struct rnd r = {.state = 12 + n_in};
    const uint32_t n_row = 70;
    struct gop op = {.kind = GOP_MUL_HEADS, .n_out = 1};
    op.src[0].n = n_in * n_head;
    op.dst[0].n = n_out * n_head;
    op.u.heads.n_head = n_head;
    op.u.heads.transposed = transposed;
    op.w[0] =
        new_weights(&r, &ref, type, transposed ? n_out : n_in, transposed ? n_in : n_out, n_head);
    float *src = rnd_floats(&r, (size_t)n_row * (op.src[0].n + PAD), -1.0f, 1.0f);
    const size_t n_dst = (size_t)n_row * (op.dst[0].n + PAD);
    float *dst = rnd_floats(&r, n_dst, 7.0f, 7.0f), *first = rnd_floats(&r, n_dst, 0.0f, 0.0f);
    const struct op_io io = {.n_row = n_row,
                             .src = {src + SRC_AT},
                             .src_stride = {op.src[0].n + PAD},
                             .dst = {dst + DST_AT},
                             .dst_stride = {op.dst[0].n + PAD}};
    bool have_first = false;
    for (uint32_t n_thread = 1; n_thread <= 3; n_thread++) {
        struct bench b;
        bench_open(&b, n_thread, cpu_detect(), act_f32, &op, 1, n_row);
        for (int cut = 0; cut < CUT_COUNT; cut++) {
            for (size_t i = 0; i < n_dst; i++) dst[i] = 7.0f;
            run_cut(&b.be, &op, &io, cuts[cut], run_piece);
            if (!have_first) memcpy(first, dst, n_dst * sizeof *dst);
            have_first = true;
            assert_memory_equal(dst, first, n_dst * sizeof *dst);
        }
        bench_close(&b);
    }
    check_heads(&op, &io, act_f32);
    free_weights(&op.w[0]);
    mem_free(src);
    mem_free(dst);
    mem_free(first);
}

static void heads_have_their_own_matrices(void **state)
{
    (void)state;
    heads_case(DT_F32, 24, 13, 3, false, false);
    heads_case(DT_F16, 33, 16, 2, false, false);
    heads_case(DT_Q8_0, 64, 40, 5, false, false);
    heads_case(DT_Q4_K, 256, 19, 2, false, false);
    heads_case(DT_Q4_K, 256, 19, 2, false, true);
}

static void heads_can_be_transposed(void **state)
{
    (void)state;
    heads_case(DT_F32, 24, 13, 3, true, false);
    heads_case(DT_F16, 33, 17, 2, true, false);
    heads_case(DT_Q8_0, 40, 64, 5, true, false);
    heads_case(DT_Q6_K, 129, 256, 2, true, false);
    heads_case(DT_Q6_K, 129, 256, 2, true, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_type_is_right_and_repeatable),
        cmocka_unit_test(float_activations_expand_each_type),
        cmocka_unit_test(three_matrices_of_mixed_types_share_their_input),
        cmocka_unit_test(packed_weights_give_the_same_bits),
        cmocka_unit_test(tiles_and_column_blocks_do_not_show),
        cmocka_unit_test(later_readers_of_a_source_share_its_quantisation),
        cmocka_unit_test(a_write_between_readers_is_seen),
        cmocka_unit_test(a_second_walk_quantises_again),
        cmocka_unit_test(other_sources_and_shapes_are_not_mixed_up),
        cmocka_unit_test(heads_have_their_own_matrices),
        cmocka_unit_test(heads_can_be_transposed),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, setup, NULL);
}
