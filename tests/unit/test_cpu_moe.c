/*
 * test_cpu_moe.c: mixture of experts: the choice against a plain one, results against double loops,
 * and the same bits for any number of threads, any cut of the rows, any order and grouping of the
 * experts, and weights packed or not.
 */
#include "tests/unit/test_cpu.h"

#include "backend/cpu_impl.h"
#include "base/limits.h"

enum { PAD = 8, AT = 3 };

static struct kern ref;

/* ---- the choice ------------------------------------------------------------------------------ */

struct route {
    struct gop op;
    struct op_io io;
    float *logits;
    uint32_t *id;
    float *weight;
};

static void route_open(struct route *t, const struct gmoe *m, uint32_t n_row)
{
    struct rnd r = {.state = m->n_expert};
    *t = (struct route){.op = {.kind = GOP_MOE}};
    t->op.u.moe = *m;
    t->op.u.moe.gate.ne[0] = 32;
    t->logits = rnd_floats(&r, (size_t)n_row * (m->n_expert + PAD), -4.0f, 4.0f);
    t->id = mem_alloc_array(MEM_MISC, (size_t)n_row * m->n_used, sizeof *t->id);
    t->weight = mem_alloc_array(MEM_MISC, (size_t)n_row * m->n_used, sizeof *t->weight);
    assert_non_null(t->id);
    assert_non_null(t->weight);
    t->io = (struct op_io){
        .n_row = n_row, .src = {NULL, t->logits + AT}, .src_stride = {0, m->n_expert + PAD}};
}

static void route_run(struct route *t, uint32_t n_thread)
{
    struct bench b;
    bench_open(&b, n_thread, cpu_detect(), false, NULL, 0, t->io.n_row);
    assert_int_equal(b.be.moe_route(b.be.self, &t->op, &t->io, t->id, t->weight), OK);
    bench_close(&b);
}

static void route_close(struct route *t)
{
    mem_free(t->logits);
    mem_free(t->id);
    mem_free(t->weight);
}

static double gated(enum gmoe_gate kind, const float *logit, uint32_t n, uint32_t e)
{
    const double x = (double)logit[e];
    double sum = 0.0;
    switch (kind) {
    case GMOE_SIGMOID:
        return 1.0 / (1.0 + exp(-x));
    case GMOE_SQRT_SOFTPLUS:
        return sqrt(log1p(exp(x)));
    case GMOE_SOFTMAX_CHOSEN:
        return x;
    default:
        break;
    }
    for (uint32_t i = 0; i < n; i++) sum += exp((double)logit[i]);
    return exp(x) / sum;
}

/* The best of what is left, again and again: slow and plain. */
static void choose_plainly(const struct gmoe *m, const float *logit, uint32_t *id, double *weight)
{
    double score[EXPERTS_MAX];
    for (uint32_t e = 0; e < m->n_expert; e++)
        score[e] = gated(m->gating, logit, m->n_expert, e) +
                   (m->choice_bias ? (double)m->choice_bias[e] : 0.0);
    const uint32_t n = m->n_group > 1 ? m->n_expert / m->n_group : m->n_expert;
    for (uint32_t drop = m->n_group > 1 ? m->n_group - m->n_group_used : 0; drop > 0; drop--) {
        uint32_t worst = 0;
        double least = INFINITY;
        for (uint32_t g = 0; g < m->n_group; g++) {
            double a = -INFINITY, b = -INFINITY; /* the two best of the group */
            for (uint32_t i = g * n; i < (g + 1) * n; i++) {
                b = fmax(b, fmin(a, score[i]));
                a = fmax(a, score[i]);
            }
            if (a + b > -INFINITY && a + b < least) {
                least = a + b;
                worst = g;
            }
        }
        for (uint32_t i = worst * n; i < (worst + 1) * n; i++) score[i] = -INFINITY;
    }
    double sum = 0.0;
    for (uint32_t j = 0; j < m->n_used; j++) {
        uint32_t best = 0;
        for (uint32_t e = 1; e < m->n_expert; e++)
            if (score[e] > score[best]) best = e;
        id[j] = best;
        weight[j] = gated(m->gating, logit, m->n_expert, best);
        if (m->gating == GMOE_SOFTMAX_CHOSEN) weight[j] = exp(weight[j]);
        sum += weight[j];
        score[best] = -INFINITY;
    }
    if (m->gating != GMOE_SOFTMAX_CHOSEN && !m->renormalise) sum = 1.0;
    for (uint32_t j = 0; j < m->n_used; j++) weight[j] *= (double)m->scale / fmax(sum, 0x1p-14);
}

static void route_case(const struct gmoe *m)
{
    struct route t;
    uint32_t id[EXPERTS_USED_MAX];
    double weight[EXPERTS_USED_MAX];
    for (uint32_t n_thread = 1; n_thread <= 2; n_thread++) {
        route_open(&t, m, 333);
        route_run(&t, n_thread);
        for (uint32_t r = 0; r < t.io.n_row; r++) {
            choose_plainly(m, t.io.src[1] + r * t.io.src_stride[1], id, weight);
            for (uint32_t j = 0; j < m->n_used; j++) {
                assert_int_equal(t.id[r * m->n_used + j], id[j]);
                assert_near((double)t.weight[r * m->n_used + j], weight[j], weight[j], 1e-5);
            }
        }
        route_close(&t);
    }
}

static void test_gating(void **state)
{
    (void)state;
    for (enum gmoe_gate gating = GMOE_SOFTMAX; gating <= GMOE_SQRT_SOFTPLUS; gating++) {
        route_case(&(struct gmoe){.n_expert = 17, .n_used = 4, .gating = gating, .scale = 1.0f});
        route_case(&(struct gmoe){
            .n_expert = 64, .n_used = 6, .gating = gating, .scale = 2.5f, .renormalise = true});
    }
    route_case(&(struct gmoe){.n_expert = 5, .n_used = 5, .gating = GMOE_SOFTMAX, .scale = 1.0f});
    route_case(&(struct gmoe){.n_expert = 1, .n_used = 1, .gating = GMOE_SIGMOID, .scale = 1.0f});
}

static void test_choice_bias(void **state)
{
    (void)state;
    struct rnd r = {.state = 31};
    float *bias = rnd_floats(&r, 64, -0.5f, 0.5f);
    route_case(&(struct gmoe){.n_expert = 64,
                              .n_used = 8,
                              .gating = GMOE_SIGMOID,
                              .scale = 1.0f,
                              .renormalise = true,
                              .choice_bias = bias});
    route_case(&(struct gmoe){
        .n_expert = 64, .n_used = 8, .gating = GMOE_SOFTMAX, .scale = 1.0f, .choice_bias = bias});
    mem_free(bias);
}

static void test_groups(void **state)
{
    (void)state;
    struct rnd r = {.state = 32};
    float *bias = rnd_floats(&r, 64, -0.5f, 0.5f);
    for (uint32_t used = 1; used < 8; used += 2) {
        route_case(&(struct gmoe){.n_expert = 64,
                                  .n_used = 6,
                                  .n_group = 8,
                                  .n_group_used = used,
                                  .gating = GMOE_SIGMOID,
                                  .scale = 1.0f,
                                  .choice_bias = bias,
                                  .renormalise = true});
        route_case(&(struct gmoe){.n_expert = 64,
                                  .n_used = 6,
                                  .n_group = 8,
                                  .n_group_used = used,
                                  .gating = GMOE_SOFTMAX,
                                  .scale = 16.0f});
    }
    mem_free(bias);
}

static void test_equal_scores(void **state)
{
    (void)state;
    struct route t;
    const struct gmoe m = {.n_expert = 12, .n_used = 3, .gating = GMOE_SOFTMAX, .scale = 1.0f};
    route_open(&t, &m, 2);
    for (uint32_t e = 0; e < 12; e++) {
        t.logits[AT + e] = 0.5f;
        t.logits[AT + 12 + PAD + e] = e == 3 || e == 7 || e == 9 ? 2.0f : e == 11 ? 3.0f : -1.0f;
    }
    route_run(&t, 1);
    const uint32_t want[] = {0, 1, 2, 11, 3, 7}; /* the lowest ids among equals */
    assert_memory_equal(t.id, want, sizeof want);
    route_close(&t);
}

/* Nothing finite to go by: the ids must still be distinct and in range. */
static void test_not_a_number(void **state)
{
    (void)state;
    const float odd[] = {NAN, INFINITY, -INFINITY};
    for (enum gmoe_gate gating = GMOE_SOFTMAX; gating <= GMOE_SQRT_SOFTPLUS; gating++) {
        const struct gmoe m = {.n_expert = 16,
                               .n_used = 5,
                               .n_group = 4,
                               .n_group_used = 2,
                               .gating = gating,
                               .scale = 1.0f};
        struct route t;
        route_open(&t, &m, 9);
        for (uint32_t r = 0; r < 9; r++) /* all of them; two of them; one group of them */
            for (uint32_t e = 0; e < 16; e++)
                if (r / 3 == 0 || (r / 3 == 1 && e % 9 == 0) || (r / 3 == 2 && e < 4))
                    t.logits[AT + r * t.io.src_stride[1] + e] = odd[r % 3];
        route_run(&t, 1);
        for (uint32_t r = 0; r < 9; r++) {
            uint32_t seen = 0;
            for (uint32_t j = 0; j < 5; j++) {
                assert_in_range(t.id[r * 5 + j], 0, 15);
                assert_false(seen >> t.id[r * 5 + j] & 1);
                seen |= 1u << t.id[r * 5 + j];
            }
        }
        route_close(&t);
    }
}

/* ---- the experts ----------------------------------------------------------------------------- */

enum { N_EMBD = 256, N_FF = 256, N_EXPERT = 12, N_USED = 3 };

enum order { ORDER_ALL, ORDER_ONE_BY_ONE, ORDER_BACKWARDS_BY_THREE, ORDER_COUNT };

struct moe_test {
    struct gop op;
    struct op_io io;
    float *x, *logits, *dst, *y;
    float *vec[6]; /* biases and scales */
    uint32_t *id, *token, *at, first[N_EXPERT + 1], expert[N_EXPERT], n_want;
    float *weight;
    size_t n_dst;
    enum order order; /* in which moe() hands out the experts */
};

static struct moe_test *now; /* the case at hand, for moe() */

static void moe_open(struct moe_test *t, enum dtype gate, enum dtype up, enum dtype down,
                     bool extras, uint32_t n_row)
{
    struct rnd r = {.state = 41};
    *t = (struct moe_test){.op = {.kind = GOP_MOE, .n_out = 1}, .n_dst = n_row * (N_EMBD + PAD)};
    struct gmoe *m = &t->op.u.moe;
    *m = (struct gmoe){.n_expert = N_EXPERT,
                       .n_used = N_USED,
                       .n_ff = N_FF,
                       .gating = GMOE_SOFTMAX,
                       .scale = 1.0f,
                       .renormalise = true,
                       .act = extras ? GACT_SWIGLU_OAI : GACT_SILU,
                       .gate = new_weights(&r, &ref, gate, N_EMBD, N_FF, N_EXPERT),
                       .up = new_weights(&r, &ref, up, N_EMBD, N_FF, N_EXPERT),
                       .down = new_weights(&r, &ref, down, N_FF, N_EMBD, N_EXPERT)};
    const float **const extra[] = {&m->gate_bias,  &m->up_bias,  &m->down_bias,
                                   &m->gate_scale, &m->up_scale, &m->down_scale};
    for (int i = 0; i < 6; i++) t->vec[i] = rnd_floats(&r, N_EXPERT * N_EMBD, 0.2f, 1.0f);
    for (int i = 0; i < 6 && extras; i++) *extra[i] = t->vec[i];
    t->x = rnd_floats(&r, (size_t)n_row * (N_EMBD + PAD), -0.5f, 0.5f);
    t->logits = rnd_floats(&r, (size_t)n_row * N_EXPERT, -1.0f, 1.0f);
    for (uint32_t i = 0; i < n_row; i++)
        t->logits[i * N_EXPERT + 4] = 3.0f; /* everyone's favourite */
    for (uint32_t i = 0; i < n_row; i++)
        t->logits[i * N_EXPERT + 9] = i == n_row / 2 ? 2.0f : -9.0f; /* one token's */
    t->dst = rnd_floats(&r, t->n_dst, 7.0f, 7.0f);
    t->y = rnd_floats(&r, (size_t)n_row * N_USED * N_EMBD, 0.0f, 0.0f);
    t->weight = rnd_floats(&r, (size_t)n_row * N_USED, 0.0f, 0.0f);
    t->id = mem_alloc_array(MEM_MISC, (size_t)n_row * N_USED, 3 * sizeof *t->id);
    assert_non_null(t->id);
    t->token = t->id + n_row * N_USED;
    t->at = t->token + n_row * N_USED;
    t->op.src[0].n = t->op.dst[0].n = N_EMBD;
    t->op.src[1].n = N_EXPERT;
    t->io = (struct op_io){.n_row = n_row,
                           .src = {t->x + AT, t->logits},
                           .src_stride = {N_EMBD + PAD, N_EXPERT},
                           .dst = {t->dst + AT},
                           .dst_stride = {N_EMBD + PAD},
                           .y = t->y};
}

static void moe_close(struct moe_test *t)
{
    float *const owned[] = {t->x, t->logits, t->dst, t->y, t->weight};
    for (size_t i = 0; i < sizeof owned / sizeof *owned; i++) mem_free(owned[i]);
    for (int i = 0; i < 6; i++) mem_free(t->vec[i]);
    free_weights(&t->op.u.moe.gate);
    free_weights(&t->op.u.moe.up);
    free_weights(&t->op.u.moe.down);
    mem_free(t->id);
}

/* Pairs sorted by expert, tokens rising within one. */
static struct moe_rows sort_pairs(struct moe_test *t, uint32_t n_row)
{
    uint32_t n = 0;
    t->n_want = 0;
    for (uint32_t e = 0; e < N_EXPERT; e++) {
        const uint32_t n_before = n;
        for (uint32_t i = 0; i < n_row * N_USED; i++) {
            if (t->id[i] != e) continue;
            t->token[n] = i / N_USED;
            t->at[i] = n++;
        }
        if (n == n_before) continue;
        t->expert[t->n_want] = e;
        t->first[t->n_want++] = n_before;
    }
    t->first[t->n_want] = n;
    return (struct moe_rows){.id = t->id,
                             .weight = t->weight,
                             .token = t->token,
                             .at = t->at,
                             .first = t->first,
                             .expert = t->expert,
                             .n_want = t->n_want};
}

static struct expert_view view_of(const struct moe_test *t, uint32_t slot)
{
    const struct gmoe *m = &t->op.u.moe;
    const uint32_t e = t->expert[slot];
    return (struct expert_view){.slot = slot,
                                .gate = (const uint8_t *)m->gate.data + e * m->gate.plane_bytes,
                                .up = (const uint8_t *)m->up.data + e * m->up.plane_bytes,
                                .down = (const uint8_t *)m->down.data + e * m->down.plane_bytes};
}

/* One piece as the executor does it, with the experts arriving in the order at hand. */
static void moe(const struct backend *be, const struct gop *op, const struct op_io *io)
{
    assert_int_equal(be->moe_route(be->self, op, io, now->id, now->weight), OK);
    const struct moe_rows rows = sort_pairs(now, io->n_row);
    assert_int_equal(be->moe_begin(be->self, op, io, &rows), OK);
    const uint32_t each = now->order == ORDER_ALL          ? rows.n_want
                          : now->order == ORDER_ONE_BY_ONE ? 1
                                                           : 3;
    for (uint32_t i = 0; i < rows.n_want;) {
        struct expert_view view[N_EXPERT];
        uint32_t n = 0;
        for (; n < each && i < rows.n_want; i++)
            view[n++] =
                view_of(now, now->order == ORDER_BACKWARDS_BY_THREE ? rows.n_want - 1 - i : i);
        assert_int_equal(be->moe_experts(be->self, op, io, &rows, view, n), OK);
    }
    assert_int_equal(be->moe_end(be->self, op, io, &rows), OK);
}

/* y[r] = scale * (w x)[r] + bias[r] for one expert, in double */
static void product(const struct tensor *w, uint32_t e, const double *x, const float *scale,
                    const float *bias, double *y)
{
    for (uint64_t r = 0; r < w->ne[1]; r++) {
        float *row = weight_row(&ref, w, e, r);
        y[r] = 0.0;
        for (uint64_t i = 0; i < w->ne[0]; i++) y[r] += (double)row[i] * x[i];
        y[r] =
            y[r] * (scale ? (double)scale[e] : 1.0) + (bias ? (double)bias[e * w->ne[1] + r] : 0.0);
        mem_free(row);
    }
}

static double glu(enum gact act, double gate, double up)
{
    if (act == GACT_SILU) return gate / (1.0 + exp(-gate)) * up;
    const double g = fmin(gate, 7.0), u = fmax(-7.0, fmin(up, 7.0));
    return g / (1.0 + exp(-1.702 * g)) * (u + 1.0);
}

/* The chosen experts of some tokens; tol is relative to the largest result of a token. */
static void check_moe(const struct moe_test *t, double tol)
{
    const struct gmoe *m = &t->op.u.moe;
    for (uint32_t r = 0; r < t->io.n_row; r += 13) {
        uint32_t id[N_USED];
        double weight[N_USED], x[N_EMBD], gate[N_FF], up[N_FF], y[N_EMBD], sum[N_EMBD] = {0},
                                                                           size = 0.0;
        choose_plainly(m, t->logits + r * N_EXPERT, id, weight);
        for (int i = 0; i < N_EMBD; i++)
            x[i] = (double)t->io.src[0][r * t->io.src_stride[0] + (size_t)i];
        for (int j = 0; j < N_USED; j++) {
            product(&m->gate, id[j], x, m->gate_scale, m->gate_bias, gate);
            product(&m->up, id[j], x, m->up_scale, m->up_bias, up);
            for (int i = 0; i < N_FF; i++) gate[i] = glu(m->act, gate[i], up[i]);
            product(&m->down, id[j], gate, m->down_scale, m->down_bias, y);
            for (int i = 0; i < N_EMBD; i++) sum[i] += weight[j] * y[i];
        }
        for (int i = 0; i < N_EMBD; i++) size = fmax(size, fabs(sum[i]));
        for (int i = 0; i < N_EMBD; i++)
            assert_near((double)t->io.dst[0][r * t->io.dst_stride[0] + (size_t)i], sum[i], size,
                        tol);
    }
}

/* Any threads, cuts and orders of arrival: the bits of `first`, which the first of them fills. */
static void moe_same_bits(struct moe_test *t, bool act_f32, float *first, bool fill)
{
    for (uint32_t n_thread = 1; n_thread <= 3; n_thread++) {
        struct bench b;
        bench_open(&b, n_thread, cpu_detect(), act_f32, &t->op, 1, t->io.n_row);
        for (t->order = ORDER_ALL; t->order < ORDER_COUNT; t->order++) {
            /* all cuts in one order, two of them in the others */
            for (int cut = 0; cut < CUT_COUNT; cut += t->order == ORDER_ALL ? 1 : CUT_COUNT - 1) {
                for (size_t i = 0; i < t->n_dst; i++) t->dst[i] = 7.0f;
                run_cut(&b.be, &t->op, &t->io, cuts[cut], moe);
                if (fill) {
                    assert_true(t->n_want > 9); /* nearly all experts, one with a single column */
                    memcpy(first, t->dst, t->n_dst * sizeof(float));
                }
                fill = false;
                assert_memory_equal(t->dst, first, t->n_dst * sizeof(float));
            }
        }
        bench_close(&b);
    }
}

static void pack(struct tensor *w)
{
    if (!pack_can(w->type)) return;
    const struct tensor plain = *w;
    *w = packed_weights(&plain);
    free_weights(&plain);
}

static void moe_case(enum dtype gate, enum dtype up, enum dtype down, bool extras, bool act_f32,
                     double tol)
{
    struct moe_test t;
    moe_open(&t, gate, up, down, extras, 40);
    now = &t;
    float *first = rnd_floats(&(struct rnd){1}, t.n_dst, 0.0f, 0.0f);
    moe_same_bits(&t, act_f32, first, true);
    check_moe(&t, tol);
    pack(&t.op.u.moe.gate);
    pack(&t.op.u.moe.up);
    pack(&t.op.u.moe.down);
    if (!act_f32) moe_same_bits(&t, act_f32, first, false);
    mem_free(first);
    moe_close(&t);
}

static void test_float_experts(void **state)
{
    (void)state;
    moe_case(DT_F32, DT_F32, DT_F32, false, false, 1e-5);
    moe_case(DT_F32, DT_F32, DT_F32, true, false, 1e-5);
}

static void test_quantised_experts(void **state)
{
    (void)state;
    moe_case(DT_Q8_0, DT_Q8_0, DT_Q8_0, false, false, 2e-2);
    moe_case(DT_Q4_K, DT_Q4_K, DT_Q6_K, true, false, 2e-2);
}

static void test_quantised_experts_with_float_activations(void **state)
{
    (void)state;
    moe_case(DT_Q4_K, DT_Q4_K, DT_Q6_K, true, true, 1e-5);
}

static void test_mixed_types(void **state)
{
    (void)state;
    moe_case(DT_Q8_0, DT_F16, DT_Q5_0, true, false, 2e-2);
    moe_case(DT_BF16, DT_MXFP4, DT_F32, false, false, 2e-2);
}

/* More columns than a tile has: everyone's favourite is cut into blocks of tokens. */
static void test_blocks_of_tokens(void **state)
{
    (void)state;
    struct moe_test t;
    struct bench b;
    moe_open(&t, DT_Q8_0, DT_F16, DT_Q4_0, false, 600);
    now = &t;
    assert_true(cpu_tile_cols_max(N_EMBD) < 600);
    float *first = rnd_floats(&(struct rnd){1}, t.n_dst, 0.0f, 0.0f);
    bench_open(&b, 2, cpu_detect(), false, &t.op, 1, t.io.n_row);
    for (size_t i = 0; i < t.n_dst; i++) t.dst[i] = 7.0f;
    run_cut(&b.be, &t.op, &t.io, cuts[0], moe);
    memcpy(first, t.dst, t.n_dst * sizeof(float));
    run_cut(&b.be, &t.op, &t.io, cuts[4], moe);
    assert_memory_equal(t.dst, first, t.n_dst * sizeof(float));
    bench_close(&b);
    check_moe(&t, 2e-2);
    mem_free(first);
    moe_close(&t);
}

static int setup(void **state)
{
    (void)state;
    kern_init(&ref, 0);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gating),
        cmocka_unit_test(test_choice_bias),
        cmocka_unit_test(test_groups),
        cmocka_unit_test(test_equal_scores),
        cmocka_unit_test(test_not_a_number),
        cmocka_unit_test(test_float_experts),
        cmocka_unit_test(test_quantised_experts),
        cmocka_unit_test(test_quantised_experts_with_float_activations),
        cmocka_unit_test(test_mixed_types),
        cmocka_unit_test(test_blocks_of_tokens),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, setup, NULL);
}
