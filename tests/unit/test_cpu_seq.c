/*
 * test_cpu_seq.c: recurrences: values against double loops from zero state, the state afterwards,
 * and the same bits for any number of threads and any cut of the rows.
 */
#include "tests/unit/test_cpu.h"

enum { N_ROW = 71, PAD = 8, AT = 3, STATE_AT = 16 };

struct seq_case {
    struct gop op;
    struct op_io io;
    float *src[GOP_SRC_MAX], *dst, *state;
    size_t dst_floats, state_floats;
};

static void case_open(struct seq_case *c, enum gop_kind kind, const uint32_t *n_src, uint32_t n_dst,
                      size_t state_floats)
{
    struct rnd r = {.state = (uint64_t)kind};
    *c = (struct seq_case){.op = {.kind = kind, .n_out = 1}, .io = {.n_row = N_ROW}};
    for (int i = 0; i < GOP_SRC_MAX && n_src[i]; i++) {
        c->op.src[i].n = n_src[i];
        c->src[i] = rnd_floats(&r, (size_t)N_ROW * (n_src[i] + PAD), -1.0f, 1.0f);
        c->io.src[i] = c->src[i] + AT;
        c->io.src_stride[i] = n_src[i] + PAD;
    }
    c->op.dst[0].n = n_dst;
    c->dst_floats = (size_t)N_ROW * (n_dst + PAD);
    c->dst = rnd_floats(&r, c->dst_floats, 0.0f, 0.0f);
    c->io.dst[0] = c->dst + AT;
    c->io.dst_stride[0] = n_dst + PAD;
    c->state_floats = STATE_AT + state_floats + PAD;
    c->state = rnd_floats(&r, c->state_floats, 0.0f, 0.0f);
    c->io.state = c->state;
}

static void case_close(struct seq_case *c)
{
    for (int i = 0; i < GOP_SRC_MAX; i++) mem_free(c->src[i]);
    mem_free(c->dst);
    mem_free(c->state);
}

static void case_run(struct seq_case *c)
{
    const unsigned levels[] = {0, cpu_detect()};
    float *first = rnd_floats(&(struct rnd){1}, c->dst_floats + c->state_floats, 0.0f, 0.0f);
    for (int l = 0; l < 2; l++) {
        for (uint32_t n_thread = 1; n_thread <= 3; n_thread++) {
            struct bench b;
            bench_open(&b, n_thread, levels[l], false, &c->op, 1, N_ROW);
            for (int cut = 0; cut < CUT_COUNT; cut++) {
                for (size_t i = 0; i < c->dst_floats; i++) c->dst[i] = 7.0f;
                for (size_t i = 0; i < c->state_floats; i++) c->state[i] = 0.0f;
                run_cut(&b.be, &c->op, &c->io, cuts[cut], run_piece);
                if (n_thread == 1 && cut == 0) {
                    memcpy(first, c->dst, c->dst_floats * sizeof(float));
                    memcpy(first + c->dst_floats, c->state, c->state_floats * sizeof(float));
                }
                assert_memory_equal(c->dst, first, c->dst_floats * sizeof(float));
                assert_memory_equal(c->state, first + c->dst_floats,
                                    c->state_floats * sizeof(float));
            }
            bench_close(&b);
        }
    }
    for (size_t i = 0; i < STATE_AT; i++) assert_true(c->state[i] == 0.0f);
    for (size_t i = c->state_floats - PAD; i < c->state_floats; i++)
        assert_true(c->state[i] == 0.0f);
    for (uint32_t r = 0; r < N_ROW; r++)
        for (size_t i = c->op.dst[0].n; i < c->op.dst[0].n + PAD; i++)
            assert_true(c->dst[(AT + r * c->io.dst_stride[0] + i) % c->dst_floats] == 7.0f);
    mem_free(first);
}

static double src_at(const struct seq_case *c, int i, uint32_t r, size_t col)
{
    return (double)c->io.src[i][r * c->io.src_stride[i] + col];
}

static double dst_at(const struct seq_case *c, uint32_t r, size_t col)
{
    return (double)c->io.dst[0][r * c->io.dst_stride[0] + col];
}

static double softplus(double x)
{
    return log1p(exp(-fabs(x))) + fmax(x, 0.0);
}

/* ---- convolution ----------------------------------------------------------------------------- */

static void conv_case(uint32_t n_tap, uint32_t n_channel, bool bias, bool silu)
{
    struct rnd r = {.state = n_tap};
    float *w = rnd_floats(&r, (size_t)n_channel * n_tap, -1.0f, 1.0f),
          *b = rnd_floats(&r, n_channel, -1.0f, 1.0f);
    struct seq_case c;
    case_open(&c, GOP_CONV, (const uint32_t[GOP_SRC_MAX]){n_channel}, n_channel,
              (size_t)(n_tap - 1) * n_channel);
    c.op.u.conv = (struct gconv){
        .n_tap = n_tap, .w = w, .bias = bias ? b : NULL, .silu = silu, .state_at = STATE_AT};
    case_run(&c);
    for (uint32_t t = 0; t < N_ROW; t++) {
        for (uint32_t ch = 0; ch < n_channel; ch++) {
            double y = bias ? (double)b[ch] : 0.0;
            for (uint32_t j = 0; j < n_tap; j++)
                if (t + j + 1 >= n_tap)
                    y += (double)w[ch * n_tap + j] * src_at(&c, 0, t + j + 1 - n_tap, ch);
            assert_near(dst_at(&c, t, ch), silu ? y / (1.0 + exp(-y)) : y, 1.0 + n_tap, 1e-6);
        }
    }
    for (uint32_t j = 0; j + 1 < n_tap; j++)
        for (uint32_t ch = 0; ch < n_channel; ch++)
            assert_true((double)c.state[STATE_AT + j * n_channel + ch] ==
                        src_at(&c, 0, N_ROW + 1 - n_tap + j, ch));
    case_close(&c);
    mem_free(w);
    mem_free(b);
}

static void test_conv(void **state)
{
    (void)state;
    conv_case(4, 200, true, true);
    conv_case(3, 64, false, false);
    conv_case(16, 65, true, false);
    conv_case(1, 7, false, true);
}

/* ---- gated delta net ------------------------------------------------------------------------- */

static void check_gdn(const struct seq_case *c)
{
    const struct ggdn *v = &c->op.u.gdn;
    const uint32_t n = v->dim;
    double *m = calloc((size_t)n * n, sizeof *m), *held = calloc(n, sizeof *held);
    assert_non_null(m);
    assert_non_null(held);
    for (uint32_t h = 0; h < v->n_head; h++) {
        const size_t hk = v->tiled ? h % v->n_head_k : h / (v->n_head / v->n_head_k);
        memset(m, 0, (size_t)n * n * sizeof *m);
        for (uint32_t t = 0; t < N_ROW; t++) {
            const double beta = 1.0 / (1.0 + exp(-src_at(c, 3, t, h)));
            const double decay = exp(
                (double)v->a[h] * softplus(src_at(c, 3, t, v->n_head + h) + (double)v->dt_bias[h]));
            memset(held, 0, n * sizeof *held);
            for (uint32_t i = 0; i < n * n; i++) m[i] *= decay;
            for (uint32_t i = 0; i < n * n; i++)
                held[i % n] += m[i] * src_at(c, 1, t, hk * n + i / n);
            for (uint32_t i = 0; i < n * n; i++)
                m[i] += src_at(c, 1, t, hk * n + i / n) * beta *
                        (src_at(c, 2, t, (size_t)h * n + i % n) - held[i % n]);
            for (uint32_t j = 0; j < n; j++) {
                double y = 0.0;
                for (uint32_t i = 0; i < n; i++) y += m[i * n + j] * src_at(c, 0, t, hk * n + i);
                assert_near(dst_at(c, t, (size_t)h * n + j), y / sqrt(n), 1.0, 2e-5);
            }
        }
        for (uint32_t i = 0; i < n * n; i++)
            assert_near((double)c->state[STATE_AT + (size_t)h * n * n + i], m[i], 1.0, 2e-5);
    }
    free(m);
    free(held);
}

static void test_gdn(void **state)
{
    (void)state;
    struct rnd r = {.state = 21};
    float *a = rnd_floats(&r, 6, -2.0f, -0.1f), *dt = rnd_floats(&r, 6, -1.0f, 1.0f);
    for (int tiled = 0; tiled < 2; tiled++) {
        struct seq_case c;
        const uint32_t n = 20;
        case_open(&c, GOP_GDN, (const uint32_t[]){2 * n, 2 * n, 6 * n, 12}, 6 * n, 6 * n * n);
        for (size_t i = 0; i < N_ROW * (2 * n + PAD); i++)
            c.src[1][i] *= 0.3f;    /* keys of about unit length */
        c.src[3][AT + 6] = 1000.0f; /* softplus must not overflow, nor decay become NaN */
        c.src[3][AT + 7] = -1000.0f;
        c.op.u.gdn = (struct ggdn){.n_head = 6,
                                   .n_head_k = 2,
                                   .dim = n,
                                   .tiled = tiled,
                                   .a = a,
                                   .dt_bias = dt,
                                   .state_at = STATE_AT};
        case_run(&c);
        check_gdn(&c);
        case_close(&c);
    }
    mem_free(a);
    mem_free(dt);
}

/* ---- mamba2 ---------------------------------------------------------------------------------- */

static void check_ssm(const struct seq_case *c)
{
    const struct gssm *v = &c->op.u.ssm;
    double *s = calloc((size_t)v->dim * v->n_state, sizeof *s);
    assert_non_null(s);
    for (uint32_t h = 0; h < v->n_head; h++) {
        const size_t g = (size_t)(h / (v->n_head / v->n_group)) * v->n_state;
        memset(s, 0, (size_t)v->dim * v->n_state * sizeof *s);
        for (uint32_t t = 0; t < N_ROW; t++) {
            const double dt = softplus(src_at(c, 3, t, h) + (double)v->dt_bias[h]);
            for (uint32_t i = 0; i < v->dim; i++) {
                const double x = src_at(c, 0, t, (size_t)h * v->dim + i);
                double y = (double)v->d[h] * x;
                for (uint32_t j = 0; j < v->n_state; j++) {
                    double *p = &s[i * v->n_state + j];
                    *p = *p * exp(dt * (double)v->a[h]) + dt * x * src_at(c, 1, t, g + j);
                    y += *p * src_at(c, 2, t, g + j);
                }
                assert_near(dst_at(c, t, (size_t)h * v->dim + i), y, 1.0 + v->n_state, 1e-5);
            }
        }
        for (uint32_t i = 0; i < v->dim * v->n_state; i++)
            assert_near((double)c->state[STATE_AT + (size_t)h * v->dim * v->n_state + i], s[i], 1.0,
                        1e-5);
    }
    free(s);
}

static void test_ssm(void **state)
{
    (void)state;
    struct rnd r = {.state = 22};
    float *a = rnd_floats(&r, 6, -2.0f, -0.1f), *d = rnd_floats(&r, 6, -1.0f, 1.0f),
          *dt = rnd_floats(&r, 6, -1.0f, 1.0f);
    struct seq_case c;
    case_open(&c, GOP_SSM, (const uint32_t[]){6 * 13, 3 * 19, 3 * 19, 6}, 6 * 13, 6 * 13 * 19);
    c.src[3][AT + 2] = 90.0f;
    c.op.u.ssm = (struct gssm){.n_head = 6,
                               .n_group = 3,
                               .dim = 13,
                               .n_state = 19,
                               .a = a,
                               .d = d,
                               .dt_bias = dt,
                               .state_at = STATE_AT};
    case_run(&c);
    check_ssm(&c);
    case_close(&c);
    mem_free(a);
    mem_free(d);
    mem_free(dt);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_conv), cmocka_unit_test(test_gdn),
                                       cmocka_unit_test(test_ssm)};
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
