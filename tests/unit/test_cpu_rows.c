/*
 * test_cpu_rows.c: operations on rows: values against double formulas, nothing written outside the
 * destination, and the same bits for any number of threads and any cut of the rows.
 */
#include "tests/unit/test_cpu.h"

#include "base/limits.h"

enum { N_ROW = 67, PAD = 8, AT = 3 }; /* views start at an odd column */

static struct kern ref;

struct rows_case {
    struct gop op;
    struct op_io io;
    float *src[2], *dst, *before; /* before: the destination as it is at first */
    size_t dst_floats;
};

/* n0, n1: columns of the sources, 0 for none */
static void case_open(struct rows_case *c, enum gop_kind kind, uint32_t n0, uint32_t n1,
                      uint32_t n_dst)
{
    struct rnd r = {.state = (uint64_t)kind + 1};
    *c = (struct rows_case){.op = {.kind = kind, .n_out = 1}, .io = {.n_row = N_ROW}};
    const uint32_t n_src[] = {n0, n1};
    for (int i = 0; i < 2; i++) {
        c->op.src[i].n = n_src[i];
        if (n_src[i] == 0) continue;
        c->src[i] = rnd_floats(&r, (size_t)N_ROW * (n_src[i] + PAD), -4.0f, 4.0f);
        c->io.src[i] = c->src[i] + AT;
        c->io.src_stride[i] = n_src[i] + PAD;
    }
    c->op.dst[0].n = n_dst;
    c->dst_floats = (size_t)N_ROW * (n_dst + PAD);
    c->before = rnd_floats(&r, c->dst_floats, -4.0f, 4.0f);
    c->dst = rnd_floats(&r, c->dst_floats, 0.0f, 0.0f);
    c->io.dst[0] = c->dst + AT;
    c->io.dst_stride[0] = n_dst + PAD;
}

static void case_close(struct rows_case *c)
{
    mem_free(c->src[0]);
    mem_free(c->src[1]);
    mem_free(c->dst);
    mem_free(c->before);
}

static void assert_outside_untouched(const struct rows_case *c)
{
    for (uint32_t r = 0; r < N_ROW; r++) {
        const size_t at = r * c->io.dst_stride[0];
        assert_memory_equal(c->dst + at, c->before + at, AT * sizeof(float));
        const size_t end = at + AT + c->op.dst[0].n;
        assert_memory_equal(c->dst + end, c->before + end, (PAD - AT) * sizeof(float));
    }
}

/* Every level, number of threads and cut: the same bits per level. The last ones stay. */
static void case_run(struct rows_case *c)
{
    const unsigned levels[] = {0, cpu_detect()};
    float *first = rnd_floats(&(struct rnd){1}, c->dst_floats, 0.0f, 0.0f);
    for (int l = 0; l < 2; l++) {
        for (uint32_t n_thread = 1; n_thread <= 3; n_thread++) {
            struct bench b;
            bench_open(&b, n_thread, levels[l], false, &c->op, 1, N_ROW);
            for (int cut = 0; cut < CUT_COUNT; cut++) {
                memcpy(c->dst, c->before, c->dst_floats * sizeof(float));
                run_cut(&b.be, &c->op, &c->io, cuts[cut], run_piece);
                if (n_thread == 1 && cut == 0) memcpy(first, c->dst, c->dst_floats * sizeof(float));
                assert_memory_equal(c->dst, first, c->dst_floats * sizeof(float));
            }
            bench_close(&b);
        }
    }
    assert_outside_untouched(c);
    mem_free(first);
}

static double src_at(const struct rows_case *c, int i, uint32_t r, uint32_t col)
{
    return (double)c->io.src[i][r * c->io.src_stride[i] + col];
}

static double dst_at(const struct rows_case *c, uint32_t r, uint32_t col)
{
    return (double)c->io.dst[0][r * c->io.dst_stride[0] + col];
}

static double before_at(const struct rows_case *c, uint32_t r, uint32_t col)
{
    return (double)c->before[AT + r * c->io.dst_stride[0] + col];
}

#define EACH(c, r, i)                                                                              \
    for (uint32_t r = 0; r < N_ROW; r++)                                                           \
        for (uint32_t i = 0; i < (c).op.dst[0].n; i++)

/* ---- operations ------------------------------------------------------------------------------ */

static void test_embed(void **state)
{
    (void)state;
    const enum dtype type[] = {DT_F32, DT_Q8_0, DT_Q6_K};
    for (int t = 0; t < 3; t++) {
        struct rnd r = {.state = 3};
        uint32_t token[N_ROW];
        struct rows_case c;
        case_open(&c, GOP_EMBED, 0, 0, 512);
        c.op.w[0] = new_weights(&r, &ref, type[t], 512, 19, 1);
        c.op.u.embed.scale = t == 0 ? 1.0f : 11.5f;
        for (int i = 0; i < N_ROW; i++) token[i] = rnd_u32(&r) % 19;
        token[0] = 18;
        c.io.token = token;
        case_run(&c);
        for (uint32_t i = 0; i < N_ROW; i++) {
            float *row = weight_row(&ref, &c.op.w[0], 0, token[i]);
            for (uint32_t j = 0; j < 512; j++)
                assert_true(c.io.dst[0][i * c.io.dst_stride[0] + j] == row[j] * c.op.u.embed.scale);
            mem_free(row);
        }
        free_weights(&c.op.w[0]);
        case_close(&c);
    }
}

/* An embedding that is also the head may be packed: rows of whole tiles, and those left over. */
static void test_embed_packed(void **state)
{
    (void)state;
    const enum dtype type[] = {DT_Q4_0, DT_Q8_0, DT_Q6_K};
    for (int t = 0; t < 3; t++) {
        struct rnd r = {.state = 4};
        uint32_t token[N_ROW];
        struct rows_case c;
        const struct tensor w = new_weights(&r, &ref, type[t], 512, 37, 1);
        case_open(&c, GOP_EMBED, 0, 0, 512);
        c.op.w[0] = packed_weights(&w);
        c.op.u.embed.scale = 1.0f;
        for (int i = 0; i < N_ROW; i++) token[i] = rnd_u32(&r) % 37;
        token[0] = 36;
        token[1] = 31;
        c.io.token = token;
        case_run(&c);
        for (uint32_t i = 0; i < N_ROW; i++) {
            float *row = weight_row(&ref, &w, 0, token[i]);
            assert_memory_equal(c.io.dst[0] + i * c.io.dst_stride[0], row, 512 * sizeof *row);
            mem_free(row);
        }
        free_weights(&c.op.w[0]);
        free_weights(&w);
        case_close(&c);
    }
}

static void check_norm(const struct rows_case *c, bool l2)
{
    const uint32_t dim = c->op.u.norm.dim;
    EACH(*c, r, i)
    {
        double sum = 0.0;
        for (uint32_t j = 0; j < dim; j++) sum += pow(src_at(c, 0, r, i / dim * dim + j), 2);
        const double eps = (double)c->op.u.norm.eps;
        double y = src_at(c, 0, r, i) / (l2 ? fmax(sqrt(sum), eps) : sqrt(sum / dim + eps));
        const uint32_t at = c->op.u.norm.w_per_group ? i : i % dim;
        if (c->op.u.norm.w) y *= (double)c->op.u.norm.w[at];
        if (c->op.u.norm.b) y += (double)c->op.u.norm.b[at];
        assert_near(dst_at(c, r, i), y, 1.0 + fabs(y), 1e-6);
    }
}

static void test_rmsnorm(void **state)
{
    (void)state;
    struct rnd r = {.state = 4};
    float *w = rnd_floats(&r, 300, 0.5f, 2.0f), *b = rnd_floats(&r, 300, -1.0f, 1.0f);
    for (int form = 0; form < 4;
         form++) { /* plain; weights and bias; per head; weights per group */
        struct rows_case c;
        case_open(&c, GOP_RMSNORM, 300, 0, 300);
        c.op.u.norm.dim = form < 2 ? 300 : 60;
        c.op.u.norm.eps = 1e-2f;
        c.op.u.norm.w = form == 0 ? NULL : w;
        c.op.u.norm.b = form == 1 ? b : NULL;
        c.op.u.norm.w_per_group = form == 3;
        case_run(&c);
        check_norm(&c, false);
        case_close(&c);
    }
    mem_free(w);
    mem_free(b);
}

static void test_l2norm(void **state)
{
    (void)state;
    struct rows_case c;
    case_open(&c, GOP_L2NORM, 96, 0, 96);
    c.op.u.norm.dim = 32;
    c.op.u.norm.eps = 1e-3f;
    memset(c.src[0] + AT, 0, 32 * sizeof(float)); /* a zero vector stays one */
    c.src[0][AT] = 1e-6f;
    case_run(&c);
    check_norm(&c, true);
    case_close(&c);
}

static void test_rope(void **state)
{
    (void)state;
    enum { N_HEAD = 5, DIM = 24, N_ROT = 10 };
    const uint32_t at[] = {0, 7, DIM - N_ROT};
    struct rnd r = {.state = 5};
    float *cosine = rnd_floats(&r, N_ROW * N_ROT / 2, -1.0f, 1.0f);
    float *sine = rnd_floats(&r, N_ROW * N_ROT / 2, -1.0f, 1.0f);
    for (int form = 0; form < 6; form++) {
        struct rows_case c;
        case_open(&c, GOP_ROPE, 0, 0, N_HEAD * DIM);
        c.op.u.rope.n_head = N_HEAD;
        c.op.u.rope.head_dim = DIM;
        c.op.u.rope.at = at[form / 2];
        c.op.u.rope.pair = form % 2 ? GROPE_NEOX : GROPE_NORM;
        c.io.cos = cosine;
        c.io.sin = sine;
        c.io.n_rot = N_ROT;
        case_run(&c);
        EACH(c, t, i)
        {
            const int64_t j = (int64_t)(i % DIM) - at[form / 2]; /* place in the rotated part */
            double want = before_at(&c, t, i);
            if (j >= 0 && j < N_ROT) {
                const bool neox = form % 2;
                const int64_t pair = neox ? j % (N_ROT / 2) : j / 2;
                const bool second = neox ? j >= N_ROT / 2 : j % 2;
                const uint32_t step = neox ? N_ROT / 2 : 1;
                const double a = before_at(&c, t, second ? i - step : i);
                const double b = before_at(&c, t, second ? i : i + step);
                const double cs = (double)cosine[t * (N_ROT / 2) + pair],
                             sn = (double)sine[t * (N_ROT / 2) + pair];
                want = second ? a * sn + b * cs : a * cs - b * sn;
                assert_near(dst_at(&c, t, i), want, 4.0, 1e-6);
            } else {
                assert_true(dst_at(&c, t, i) == want);
            }
        }
        case_close(&c);
    }
    mem_free(cosine);
    mem_free(sine);
}

static double act(enum gact kind, double x)
{
    switch (kind) {
    case GACT_SILU:
        return x / (1.0 + exp(-x));
    case GACT_GELU:
        return 0.5 * x * (1.0 + tanh(sqrt(2.0 / acos(-1.0)) * (x + 0.044715 * x * x * x)));
    case GACT_RELU:
        return fmax(x, 0.0);
    case GACT_RELU2:
        return pow(fmax(x, 0.0), 2);
    case GACT_SIGMOID:
        return 1.0 / (1.0 + exp(-x));
    default:
        return log1p(exp(x));
    }
}

static void test_act(void **state)
{
    (void)state;
    for (enum gact kind = GACT_SILU; kind <= GACT_SOFTPLUS; kind++) {
        struct rows_case c;
        case_open(&c, GOP_ACT, 37, 0, 37);
        c.op.u.act = kind;
        case_run(&c);
        EACH(c, r, i) assert_near(dst_at(&c, r, i), act(kind, src_at(&c, 0, r, i)), 1.0, 2e-6);
        case_close(&c);
    }
}

static void test_glu(void **state)
{
    (void)state;
    for (enum gact kind = GACT_SILU; kind <= GACT_SOFTPLUS; kind++) {
        struct rows_case c;
        case_open(&c, GOP_GLU, 37, 37, 37);
        c.op.u.act = kind;
        case_run(&c);
        EACH(c, r, i)
        assert_near(dst_at(&c, r, i), act(kind, src_at(&c, 0, r, i)) * src_at(&c, 1, r, i), 4.0,
                    2e-6);
        case_close(&c);
    }
}

static void test_glu_of_gpt_oss(void **state)
{
    (void)state;
    struct rows_case c;
    case_open(&c, GOP_GLU, 37, 37, 37);
    c.op.u.act = GACT_SWIGLU_OAI;
    for (size_t i = 0; i < (size_t)N_ROW * (37 + PAD); i++)
        c.src[0][i] *= 3.0f; /* some beyond the clamp at 7 */
    for (size_t i = 0; i < (size_t)N_ROW * (37 + PAD); i++) c.src[1][i] *= 3.0f;
    case_run(&c);
    EACH(c, r, i)
    {
        const double g = fmin(src_at(&c, 0, r, i), 7.0),
                     u = fmax(-7.0, fmin(src_at(&c, 1, r, i), 7.0));
        assert_near(dst_at(&c, r, i), g / (1.0 + exp(-1.702 * g)) * (u + 1.0), 50.0, 2e-6);
    }
    case_close(&c);
}

static void test_add(void **state)
{
    (void)state;
    const float s[] = {1.0f, -0.22f};
    for (int k = 0; k < 2; k++) {
        struct rows_case c;
        case_open(&c, GOP_ADD, 301, 301, 301);
        c.op.u.scale.factor = s[k];
        case_run(&c);
        EACH(c, r, i)
        assert_near(dst_at(&c, r, i), src_at(&c, 0, r, i) + (double)s[k] * src_at(&c, 1, r, i), 4.0,
                    2e-7);
        case_close(&c);
    }
}

static void test_mulv(void **state)
{
    (void)state;
    for (int one = 0; one < 2; one++) {
        struct rows_case c;
        case_open(&c, GOP_MULV, 77, one ? 1 : 77, 77);
        case_run(&c);
        EACH(c, r, i)
        assert_near(dst_at(&c, r, i), src_at(&c, 0, r, i) * src_at(&c, 1, r, one ? 0 : i), 16.0,
                    1e-7);
        case_close(&c);
    }
}

static void test_scale(void **state)
{
    (void)state;
    struct rnd r = {.state = 6};
    float *vec = rnd_floats(&r, 77, -1.0f, 1.0f);
    for (uint32_t n_vec = 0; n_vec <= 77;
         n_vec = n_vec ? n_vec + 76 : 1) { /* none, one, one for each */
        struct rows_case c;
        case_open(&c, GOP_SCALE, 77, 0, 77);
        c.op.u.scale.factor = 12.5f;
        c.op.u.scale.vec = n_vec ? vec : NULL;
        c.op.u.scale.n_vec = n_vec;
        case_run(&c);
        EACH(c, t, i)
        {
            const double f = n_vec == 0 ? 1.0 : (double)vec[n_vec == 1 ? 0 : i];
            assert_near(dst_at(&c, t, i), 12.5 * f * src_at(&c, 0, t, i), 50.0, 2e-7);
        }
        case_close(&c);
    }
    mem_free(vec);
}

static void test_softcap(void **state)
{
    (void)state;
    struct rows_case c;
    case_open(&c, GOP_SOFTCAP, 77, 0, 77);
    c.op.u.cap = 2.5f;
    case_run(&c);
    EACH(c, r, i) assert_near(dst_at(&c, r, i), 2.5 * tanh(src_at(&c, 0, r, i) / 2.5), 2.5, 1e-6);
    case_close(&c);
}

static void test_copy(void **state)
{
    (void)state;
    struct rows_case c;
    case_open(&c, GOP_COPY, 60, 0, 21); /* picks 3 groups of 7 out of steps of 20 */
    c.op.u.copy.n_group = 3;
    c.op.u.copy.src_step = 20;
    c.op.u.copy.dst_step = 7;
    c.op.u.copy.n = 7;
    case_run(&c);
    EACH(c, r, i) assert_true(dst_at(&c, r, i) == src_at(&c, 0, r, i / 7 * 20 + i % 7));
    case_close(&c);

    case_open(&c, GOP_COPY, 21, 0, 60); /* and places them */
    c.op.u.copy.n_group = 3;
    c.op.u.copy.src_step = 7;
    c.op.u.copy.dst_step = 20;
    c.op.u.copy.n = 7;
    case_run(&c);
    EACH(c, r, i)
    {
        if (i % 20 < 7)
            assert_true(dst_at(&c, r, i) == src_at(&c, 0, r, i / 20 * 7 + i % 20));
        else
            assert_true(dst_at(&c, r, i) == before_at(&c, r, i));
    }
    case_close(&c);
}

static void test_reserve_needs_memory(void **state)
{
    (void)state;
    struct rnd r = {.state = 7};
    struct gop op = {.kind = GOP_MUL, .n_out = 1, .w = {new_weights(&r, &ref, DT_Q8_0, 32, 4, 1)}};
    const struct graph g = {.op = &op, .n_op = 1};
    const size_t used = mem_used_total();
    enum err e = ERR_MEMORY;
    for (uint64_t n = 1; e != OK; n++) { /* each allocation in turn fails once */
        struct pool *pool;
        struct backend be;
        assert_true(n < 20);
        assert_int_equal(pool_open(&pool, 2), OK);
        mem_fail_at(n);
        e = cpu_backend_open(&be, &(struct cpu_opts){.pool = pool, .kern = &ref});
        if (e == OK) {
            e = be.reserve(be.self, &g, 10);
            mem_fail_at(0);
            if (e) assert_int_equal(be.reserve(be.self, &g, 10), OK); /* and works the next time */
            be.close(be.self);
        }
        assert_true(e == OK || e == ERR_MEMORY);
        pool_close(pool);
        assert_int_equal(mem_used_total(), used);
    }
    mem_fail_at(0);
    free_weights(&op.w[0]);
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
        cmocka_unit_test(test_embed),   cmocka_unit_test(test_embed_packed),
        cmocka_unit_test(test_rmsnorm), cmocka_unit_test(test_l2norm),
        cmocka_unit_test(test_rope),    cmocka_unit_test(test_act),
        cmocka_unit_test(test_glu),     cmocka_unit_test(test_glu_of_gpt_oss),
        cmocka_unit_test(test_add),     cmocka_unit_test(test_mulv),
        cmocka_unit_test(test_scale),   cmocka_unit_test(test_softcap),
        cmocka_unit_test(test_copy),    cmocka_unit_test(test_reserve_needs_memory),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, setup, NULL);
}
