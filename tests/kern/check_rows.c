/*
 * check_rows.c: kernels on rows of floats: functions, sums, recurrences; and the list of checks
 * that are not of weights.
 *
 * Each check walks the sizes around the vector widths, starts at odd addresses, and mixes in what
 * functions stumble over: zeros of both signs, subnormals, large values, infinities, NaN where a
 * result is defined.
 */
#include "tests/kern/check.h"

#include "base/os.h"

#include <math.h>
#include <string.h>

/* Functions: a few ulp, and below ABS they are as good as zero. Sums: of the sum of magnitudes. */
static const float FUNC_REL = 4e-7f;
static const float FUNC_ABS = 1e-37f;
static const float GELU_REL =
    2e-6f; /* the argument of exp is rounded: relative to the value that grows, */
static const float GELU_ABS = 1e-9f; /* but then the value is all but zero */
static const float GLU_ABS = 1e-34f;
static const float SUM_REL = 1e-6f;

static const size_t sizes[] = {0,  1,  2,  3,  4,  5,  7,  8,  9,   12,  15,  16,
                               17, 31, 32, 33, 47, 63, 64, 65, 127, 255, 1000};
enum { N_SIZES = sizeof sizes / sizeof *sizes, SIZE_MAX_TESTED = 1000 };

static const float specials[] = {0.0f,    -0.0f, 1e-45f, -1e-40f, 1e-8f,   -1e-8f,   0.5f,
                                 -0.625f, 7.0f,  -7.0f,  88.0f,   -88.0f,  104.0f,   -104.0f,
                                 1e4f,    -1e4f, 1e30f,  -1e30f,  3.4e38f, -3.4e38f, 1.0f,
                                 -1.0f,   20.0f, -20.0f, 90.0f,   -90.0f,  1e-3f};

struct rows { /* two inputs, an output for each table */
    struct room ra, rb;
    float *a, *b;
    struct out y, want;
    size_t n;
};

static struct rows rows_new(struct ctx *c, size_t n, float scale)
{
    struct rows r = {.n = n,
                     .ra = room_new(n * 4, 4),
                     .rb = room_new(n * 4, 4),
                     .y = out_new(n),
                     .want = out_new(n)};
    r.a = (float *)(void *)r.ra.p;
    r.b = (float *)(void *)r.rb.p;
    rand_floats(c, r.a, n, scale);
    rand_floats(c, r.b, n, scale);
    return r;
}

static void rows_free(struct rows *r)
{
    room_free(&r->ra);
    room_free(&r->rb);
    out_free(&r->y);
    out_free(&r->want);
}

static void sprinkle(struct ctx *c, float *x, size_t n, bool infinities)
{
    for (size_t i = 0; i < n; i++) {
        const uint32_t dice = rand_u32(c) % 64;
        if (dice < sizeof specials / sizeof *specials) x[i] = specials[dice];
        if (infinities && dice == 40) x[i] = INFINITY;
        if (infinities && dice == 41) x[i] = -INFINITY;
        if (infinities && dice == 42) x[i] = NAN;
    }
}

static bool near_rows(struct ctx *c, const struct rows *r, float abs, float rel)
{
    if (!out_guards_hold(&r->y)) return fail(c, "n %zu: wrote beside the output", r->n);
    for (size_t i = 0; i < r->n; i++) {
        if (is_near(r->y.y[i], r->want.y[i], abs, rel)) continue;
        return fail(c, "n %zu: f(%.9g, %.9g) = %.9g, want %.9g", r->n, (double)r->a[i],
                    (double)r->b[i], (double)r->y.y[i], (double)r->want.y[i]);
    }
    return true;
}

/* ---- elementwise ----------------------------------------------------------------------------- */

static bool check_act(struct ctx *c, int param)
{
    const float rel = param == ACT_GELU ? GELU_REL : FUNC_REL;
    for (size_t round = 0; round < 4 * N_SIZES; round++) {
        struct rows r = rows_new(c, sizes[round % N_SIZES], round % 2 ? 2.0f : 20.0f);
        sprinkle(c, r.a, r.n, true);
        c->ref->act[param](r.a, r.want.y, r.n);
        c->k->act[param](r.a, r.y.y, r.n);
        bool ok = near_rows(c, &r, param == ACT_GELU ? GELU_ABS : FUNC_ABS, rel);
        if (ok && r.n) {
            c->k->act[param](r.a, r.a, r.n); /* in place */
            ok =
                same_bits(r.a, r.y.y, r.n, &(size_t){0}) || fail(c, "n %zu: differs in place", r.n);
        }
        rows_free(&r);
        if (!ok) return false;
    }
    return true;
}

static bool check_glu(struct ctx *c, int param)
{
    for (size_t round = 0; round < 4 * N_SIZES; round++) {
        struct rows r = rows_new(c, sizes[round % N_SIZES], round % 2 ? 2.0f : 10.0f);
        sprinkle(c, r.a, r.n, false);
        c->ref->glu[param](r.a, r.b, r.want.y, r.n);
        c->k->glu[param](r.a, r.b, r.y.y, r.n);
        bool ok = near_rows(c, &r, param == ACT_GELU ? GELU_ABS : GLU_ABS, GELU_REL);
        if (ok && r.n) {
            c->k->glu[param](r.a, r.b, r.a, r.n);
            ok =
                same_bits(r.a, r.y.y, r.n, &(size_t){0}) || fail(c, "n %zu: differs in place", r.n);
        }
        rows_free(&r);
        if (!ok) return false;
    }
    return true;
}

enum simple { ADD, MUL, SCALE, ADD_SCALED, SOFTCAP };

static void run_simple(const struct kern *k, enum simple what, struct rows *r, float *y, float s)
{
    switch (what) {
    case ADD:
        k->add(r->a, r->b, y, r->n);
        break;
    case MUL:
        k->mul_f(r->a, r->b, y, r->n);
        break;
    case SCALE:
        k->scale(r->a, s, y, r->n);
        break;
    case SOFTCAP:
        k->softcap(r->a, s, y, r->n);
        break;
    case ADD_SCALED:
        if (r->n) memcpy(y, r->b, r->n * sizeof *y);
        k->add_scaled(y, r->a, s, r->n);
        break;
    }
}

static bool check_simple(struct ctx *c, int param)
{
    for (size_t round = 0; round < 2 * N_SIZES; round++) {
        struct rows r = rows_new(c, sizes[round % N_SIZES], 10.0f);
        if (param != ADD_SCALED) sprinkle(c, r.a, r.n, true);
        const float s = param == SOFTCAP ? 30.0f : rand_float(c, 3.0f);
        run_simple(c->ref, (enum simple)param, &r, r.want.y, s);
        run_simple(c->k, (enum simple)param, &r, r.y.y, s);
        const bool ok = near_rows(c, &r, param == ADD_SCALED ? 2e-5f : 0.0f,
                                  param == SOFTCAP ? FUNC_REL : 0.0f);
        rows_free(&r);
        if (!ok) return false;
    }
    return true;
}

/* Every f16 value, the midpoints between neighbours, and both sides of each. */
static bool check_f32_to_f16(struct ctx *c, int param)
{
    (void)param;
    for (uint32_t i = 0; i < 0x10000; i += 5) {
        float x[21];
        uint16_t y[21 + 1];
        uint16_t want[21];
        for (size_t j = 0; j < 21; j++) {
            const uint16_t h = (uint16_t)(i + j);
            c->ref->to_f32[DT_F16](&h, &x[j], 1);
            uint32_t bits;
            memcpy(&bits, &x[j], 4);
            bits += j % 3 == 1 ? 0x1000 : j % 3 == 2 ? 0xfff + rand_u32(c) % 3 : 0;
            memcpy(&x[j], &bits, 4);
        }
        const size_t n = 1 + i % 21;
        y[n] = 0x1234;
        c->ref->f32_to_f16(x, want, n);
        c->k->f32_to_f16(x, y, n);
        for (size_t j = 0; j < n; j++) {
            if (y[j] == want[j] || isnan(x[j])) continue;
            return fail(c, "%.9g becomes %04x, want %04x", (double)x[j], y[j], want[j]);
        }
        if (y[n] != 0x1234) return fail(c, "n %zu: wrote beside the output", n);
    }
    return true;
}

/* ---- reductions ------------------------------------------------------------------------------ */

static bool check_sum_sq(struct ctx *c, int param)
{
    (void)param;
    for (size_t round = 0; round < 2 * N_SIZES; round++) {
        struct rows r = rows_new(c, sizes[round % N_SIZES], 1.0f);
        double sum = 0.0;
        for (size_t i = 0; i < r.n; i++) sum += (double)r.a[i] * (double)r.a[i];
        const float y = c->k->sum_sq(r.a, r.n);
        const float want = c->ref->sum_sq(r.a, r.n);
        const bool ok = is_near(y, want, SUM_REL * (float)sum, 0.0f);
        if (!ok) fail(c, "n %zu: %.9g, want %.9g", r.n, (double)y, (double)want);
        rows_free(&r);
        if (!ok) return false;
    }
    return true;
}

static bool check_max(struct ctx *c, int param)
{
    (void)param;
    for (size_t round = 0; round < 4 * N_SIZES; round++) {
        struct rows r = rows_new(c, sizes[round % N_SIZES], 1.0f);
        for (size_t i = 0; i < r.n; i++) {
            if (round % 4 == 1 || rand_u32(c) % 3 == 0) r.a[i] = -INFINITY;
            if (round % 4 == 2) r.a[i] -= 1000.0f;
        }
        const float y = c->k->max(r.a, r.n);
        const float want = c->ref->max(r.a, r.n);
        rows_free(&r);
        if (!(y == want)) return fail(c, "n %zu: %.9g, want %.9g", r.n, (double)y, (double)want);
    }
    return true;
}

static bool check_exp_sum(struct ctx *c, int param)
{
    (void)param;
    for (size_t round = 0; round < 4 * N_SIZES; round++) {
        struct rows r = rows_new(c, sizes[round % N_SIZES], 10.0f);
        for (size_t i = 0; i < r.n; i++) {
            if (rand_u32(c) % 8 == 0) r.a[i] = rand_u32(c) % 2 ? -INFINITY : -130.0f;
        }
        const float top = c->ref->max(r.a, r.n);
        const float sub = isinf(top) ? 0.0f : top;
        if (r.n) memcpy(r.y.y, r.a, r.n * 4);
        if (r.n) memcpy(r.want.y, r.a, r.n * 4);
        const float y = c->k->exp_sum(r.y.y, r.n, sub);
        const float want = c->ref->exp_sum(r.want.y, r.n, sub);
        bool ok = near_rows(c, &r, 2e-45f, FUNC_REL);
        for (size_t i = 0; i < r.n && ok; i++) {
            if (isinf(r.a[i]) && r.y.y[i] != 0.0f) ok = fail(c, "-infinity does not give 0");
        }
        if (ok && !is_near(y, want, 0.0f, SUM_REL))
            ok = fail(c, "n %zu: sum %.9g, want %.9g", r.n, (double)y, (double)want);
        rows_free(&r);
        if (!ok) return false;
    }
    return true;
}

/* ---- recurrences ----------------------------------------------------------------------------- */

static bool near_outs(struct ctx *c, const struct out *y, const struct out *want, const char *what)
{
    if (!out_guards_hold(y)) return fail(c, "%s: wrote beside", what);
    for (size_t i = 0; i < y->n; i++) {
        if (is_near(y->y[i], want->y[i], 2e-5f, 1e-5f)) continue;
        return fail(c, "%s %zu of %zu: %.9g, want %.9g", what, i, y->n, (double)y->y[i],
                    (double)want->y[i]);
    }
    return true;
}

static bool gdn_case(struct ctx *c, size_t n_key, size_t n_val)
{
    struct out m = out_new(n_key * n_val), m_want = out_new(n_key * n_val);
    struct out y = out_new(n_val), want = out_new(n_val), tmp = out_new(n_val);
    struct room qk = room_new(2 * n_key * 4, 4);
    struct room v = room_new(n_val * 4, 4);
    float *const q = (float *)(void *)qk.p;
    float *const vf = (float *)(void *)v.p;
    for (size_t i = 0; i < m.n; i++) m.y[i] = m_want.y[i] = rand_float(c, 0.3f);
    bool ok = true;
    for (int step = 0; step < 3 && ok; step++) {
        rand_floats(c, q, 2 * n_key, 0.2f);
        rand_floats(c, vf, n_val, 1.0f);
        c->ref->gdn_step(m_want.y, q, q + n_key, vf, 0.9f, 0.7f, 0.1f, n_key, n_val, want.y, tmp.y);
        c->k->gdn_step(m.y, q, q + n_key, vf, 0.9f, 0.7f, 0.1f, n_key, n_val, y.y, tmp.y);
        ok = near_outs(c, &m, &m_want, "state") && near_outs(c, &y, &want, "output") &&
             out_guards_hold(&tmp);
    }
    room_free(&v);
    room_free(&qk);
    out_free(&tmp);
    out_free(&want);
    out_free(&y);
    out_free(&m_want);
    out_free(&m);
    return ok;
}

static bool check_gdn(struct ctx *c, int param)
{
    (void)param;
    static const size_t n[] = {1, 3, 8, 16, 17, 32, 128};
    for (size_t i = 0; i < 7; i++) {
        for (size_t j = 0; j < 7; j++) {
            if (!gdn_case(c, n[i], n[j])) return false;
        }
    }
    return true;
}

static bool ssm_case(struct ctx *c, size_t n_chan, size_t n_state)
{
    struct out h = out_new(n_chan * n_state), h_want = out_new(n_chan * n_state);
    struct out y = out_new(n_chan), want = out_new(n_chan);
    struct room x = room_new(n_chan * 4, 4);
    struct room bc = room_new(2 * n_state * 4, 4);
    float *const xf = (float *)(void *)x.p;
    float *const b = (float *)(void *)bc.p;
    for (size_t i = 0; i < h.n; i++) h.y[i] = h_want.y[i] = rand_float(c, 0.3f);
    bool ok = true;
    for (int step = 0; step < 3 && ok; step++) {
        rand_floats(c, xf, n_chan, 1.0f);
        rand_floats(c, b, 2 * n_state, 0.3f);
        c->ref->ssm_step(h_want.y, xf, b, b + n_state, 0.8f, 0.5f, 1.5f, n_chan, n_state, want.y);
        c->k->ssm_step(h.y, xf, b, b + n_state, 0.8f, 0.5f, 1.5f, n_chan, n_state, y.y);
        ok = near_outs(c, &h, &h_want, "state") && near_outs(c, &y, &want, "output");
    }
    room_free(&bc);
    room_free(&x);
    out_free(&want);
    out_free(&y);
    out_free(&h_want);
    out_free(&h);
    return ok;
}

static bool check_ssm(struct ctx *c, int param)
{
    (void)param;
    static const size_t n[] = {1, 3, 8, 16, 17, 64, 128};
    for (size_t i = 0; i < 7; i++) {
        for (size_t j = 0; j < 7; j++) {
            if (!ssm_case(c, n[i], n[j])) return false;
        }
    }
    return true;
}

/* ---- the ceiling ----------------------------------------------------------------------------- */

/* What it counts is what it was asked for, and takes the time of real products: no processor makes
 * more than 1024 of them in a cycle of 8 GHz. */
static bool check_int8_peak(struct ctx *c, int param)
{
    (void)param;
    const uint64_t n_round = 2000;
    const uint64_t one = c->k->int8_peak(1);
    if (one == 0 || c->k->int8_peak(0) != 0)
        return fail(c, "one round has %u products", (unsigned)one);
    const uint64_t t0 = os_time_ns();
    const uint64_t n = c->k->int8_peak(n_round);
    const double seconds = (double)(os_time_ns() - t0) / 1e9;
    if (n != n_round * one)
        return fail(c, "%u rounds have %u times the products of one", (unsigned)n_round,
                    (unsigned)(n / one));
    if ((double)n / 8192e9 > seconds)
        return fail(c, "%u products in %g s cannot have been made", (unsigned)n, seconds);
    return true;
}

/* ---- the list -------------------------------------------------------------------------------- */

#define AT(member) offsetof(struct kern, member)
const struct row_check row_checks[N_ROW_CHECKS] = {
    {"quant_q8", AT(quant_q8), 0, check_quant_q8},
    {"act_silu", AT(act[ACT_SILU]), ACT_SILU, check_act},
    {"act_gelu", AT(act[ACT_GELU]), ACT_GELU, check_act},
    {"act_relu", AT(act[ACT_RELU]), ACT_RELU, check_act},
    {"act_relu2", AT(act[ACT_RELU2]), ACT_RELU2, check_act},
    {"act_sigmoid", AT(act[ACT_SIGMOID]), ACT_SIGMOID, check_act},
    {"act_softplus", AT(act[ACT_SOFTPLUS]), ACT_SOFTPLUS, check_act},
    {"glu_silu", AT(glu[ACT_SILU]), ACT_SILU, check_glu},
    {"glu_gelu", AT(glu[ACT_GELU]), ACT_GELU, check_glu},
    {"glu_relu", AT(glu[ACT_RELU]), ACT_RELU, check_glu},
    {"glu_relu2", AT(glu[ACT_RELU2]), ACT_RELU2, check_glu},
    {"glu_sigmoid", AT(glu[ACT_SIGMOID]), ACT_SIGMOID, check_glu},
    {"glu_softplus", AT(glu[ACT_SOFTPLUS]), ACT_SOFTPLUS, check_glu},
    {"glu_swiglu_oai", AT(glu[ACT_SWIGLU_OAI]), ACT_SWIGLU_OAI, check_glu},
    {"add", AT(add), ADD, check_simple},
    {"mul_f", AT(mul_f), MUL, check_simple},
    {"scale", AT(scale), SCALE, check_simple},
    {"add_scaled", AT(add_scaled), ADD_SCALED, check_simple},
    {"softcap", AT(softcap), SOFTCAP, check_simple},
    {"f32_to_f16", AT(f32_to_f16), 0, check_f32_to_f16},
    {"sum_sq", AT(sum_sq), 0, check_sum_sq},
    {"max", AT(max), 0, check_max},
    {"exp_sum", AT(exp_sum), 0, check_exp_sum},
    {"add_pv_f32", AT(add_pv[DT_F32]), DT_F32, check_add_pv},
    {"add_pv_f16", AT(add_pv[DT_F16]), DT_F16, check_add_pv},
    {"add_pv_q8_0", AT(add_pv[DT_Q8_0]), DT_Q8_0, check_add_pv},
    {"mul_packed_f32", AT(mul[DT_F32]), DT_F32, check_mul_keys},
    {"mul_packed_f16", AT(mul[DT_F16]), DT_F16, check_mul_keys},
    {"gdn_step", AT(gdn_step), 0, check_gdn},
    {"ssm_step", AT(ssm_step), 0, check_ssm},
    {"int8_peak", AT(int8_peak), 0, check_int8_peak},
};
