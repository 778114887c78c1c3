/*
 * check_mul.c: products of weights and activations, their decoding, and the quantisation of
 * activations.
 *
 * Quantised types: at a level with fma every output has the reference's bits, whatever the weights
 * are; without fma it is within MUL_REL of the sum of magnitudes, and has the same bits where all
 * arithmetic is exact. Float types: within MUL_REL of the sum of magnitudes. All types: one column
 * or many, any cut of rows and columns give the same bits, and nothing else is written.
 */
#include "tests/kern/check.h"

#include "kern/cols.h"
#include "kern/pack.h"
#include "quant/block.h"

#include <math.h>
#include <string.h>

static const float MUL_REL = 1e-6f; /* rounding of at most k / 16 sums in a lane: 2^-24 * 16 */

const struct weights weights[N_WEIGHTS] = {
    {DT_Q4_0, "q4_0", 32, Q4_0_BYTES, {0, -1}},
    {DT_Q8_0, "q8_0", 32, Q8_0_BYTES, {0, -1}},
    {DT_Q4_K, "q4_k", 256, Q4_K_BYTES, {0, 2}},
    {DT_Q6_K, "q6_k", 256, Q6_K_BYTES, {208, -1}},
    {DT_MXFP4, "mxfp4", 32, MXFP4_BYTES, {-1, -1}},
    {DT_Q5_K, "q5_k", 256, Q5_K_BYTES, {0, 2}},
    {DT_Q4_1, "q4_1", 32, Q4_1_BYTES, {0, 2}},
    {DT_Q5_0, "q5_0", 32, Q5_0_BYTES, {0, -1}},
    {DT_Q5_1, "q5_1", 32, Q5_1_BYTES, {0, 2}},
    {DT_Q2_K, "q2_k", 256, Q2_K_BYTES, {80, 82}},
    {DT_Q3_K, "q3_k", 256, Q3_K_BYTES, {108, -1}},
    {DT_IQ4_NL, "iq4_nl", 32, IQ4_NL_BYTES, {0, -1}},
    {DT_IQ4_XS, "iq4_xs", 256, IQ4_XS_BYTES, {0, -1}},
    {DT_F32, "f32", 1, 4, {-1, -1}},
    {DT_F16, "f16", 1, 2, {0, -1}},
    {DT_BF16, "bf16", 1, 2, {-1, -1}},
};

static bool is_float(const struct weights *t)
{
    return t->block_items == 1;
}

/* ---- inputs ---------------------------------------------------------------------------------- */

static uint16_t f16_bits(struct ctx *c, enum fill how)
{
    const uint16_t sign = (uint16_t)(rand_u32(c) & 0x8000);
    const uint16_t man = (uint16_t)(rand_u32(c) & 0x3ff);
    switch (how) {
    case FILL_TINY:
        return (uint16_t)(sign | man); /* subnormal */
    case FILL_EXACT:
        return (uint16_t)(0x3c00 | (rand_u32(c) % 3) << 10); /* 1, 2, 4 */
    case FILL_WILD:
        return (uint16_t)rand_u32(c); /* NaN and infinity too */
    default:
        return (uint16_t)(sign | (8 + rand_u32(c) % 4) << 10 | man); /* around 1/100 */
    }
}

static void fill_block(struct ctx *c, const struct weights *t, enum fill how, uint8_t *p)
{
    for (size_t i = 0; i < t->block_bytes; i++) {
        static const uint8_t extremes[4] = {0x00, 0xff, 0x80, 0x7f};
        p[i] = how == FILL_EXTREME ? extremes[rand_u32(c) % 4] : (uint8_t)rand_u32(c);
    }
    for (int i = 0; i < 2; i++) {
        if (t->f16_at[i] < 0) continue;
        const uint16_t h = f16_bits(c, how);
        memcpy(p + t->f16_at[i], &h, 2);
    }
    if (t->type == DT_MXFP4)
        p[0] = (uint8_t)(how == FILL_EXACT ? 128 : how == FILL_WILD ? p[0] : 110 + p[0] % 12);
    if (t->type == DT_BF16 && how != FILL_WILD) p[1] = (uint8_t)((p[1] & 0x80) | 0x3c);
    if (t->type == DT_F32) {
        const float f = rand_float(c, 0.05f);
        if (how != FILL_WILD) memcpy(p, &f, 4);
    }
}

void fill_weights(struct ctx *c, const struct weights *t, enum fill how, uint8_t *p,
                  size_t n_blocks)
{
    for (size_t i = 0; i < n_blocks; i++) fill_block(c, t, how, p + i * t->block_bytes);
}

/* One column of activations; FILL_EXACT: integers whose scale is exactly 1. */
static void fill_column(struct ctx *c, float *x, size_t k, enum fill how)
{
    for (size_t i = 0; i < k; i++) {
        x[i] = rand_float(c, 1.0f);
        if (how == FILL_EXACT) x[i] = i % 32 == 5 ? 127.0f : (float)(rand_u32(c) % 5) - 2.0f;
        if (how == FILL_EXTREME)
            x[i] = rand_u32(c) % 8 == 0 ? 0.0f : rand_u32(c) % 2 ? 100.0f : -100.0f;
        if (how == FILL_EXTREME && i / 32 % 5 == 3) x[i] = 0.0f;
        if (how == FILL_SPARSE && (rand_u32(c) % 4 || i / 32 % 7 == 2)) x[i] = 0.0f;
        if (how == FILL_SPARSE && rand_u32(c) % 997 == 0) x[i] = NAN;
        if (how == FILL_WILD && rand_u32(c) % 97 == 0) x[i] = rand_u32(c) % 2 ? INFINITY : NAN;
    }
}

struct mul_case { /* operands of one shape */
    const struct weights *t;
    size_t n_row, n_col, k;
    size_t w_stride, x_stride;
    struct room w, x, scratch;
    struct room packed; /* w packed; empty for types that cannot be */
};

static struct mul_case case_new(struct ctx *c, const struct weights *t, size_t n_row, size_t n_col,
                                size_t k, enum fill how)
{
    const bool q8 = c->ref->mul_x[t->type] == KX_Q8;
    struct mul_case m = {.t = t, .n_row = n_row, .n_col = n_col, .k = k};
    m.w_stride = k / t->block_items * t->block_bytes;
    m.x_stride = q8 ? act_q8_row_bytes(k) : k * sizeof(float);
    m.w = room_new(n_row * m.w_stride, 1);
    m.x = room_new(n_col * m.x_stride, q8 ? 64 : 4);
    m.scratch = room_new(kern_scratch_bytes(k), 64);
    fill_weights(c, t, how, m.w.p, n_row * (k / t->block_items));
    m.packed = room_new(pack_can(t->type) ? n_row * m.w_stride : 0, 1);
    if (pack_can(t->type)) pack_rows(t->type, m.w.p, m.w_stride, n_row, k, m.packed.p);
    struct room column = room_new(k * sizeof(float), 4);
    float *const x = (float *)(void *)column.p;
    for (size_t i = 0; i < n_col; i++) {
        fill_column(c, x, k, how);
        if (q8)
            c->ref->quant_q8(x, k, m.x.p + i * m.x_stride);
        else
            memcpy(m.x.p + i * m.x_stride, x, k * sizeof *x);
    }
    room_free(&column);
    return m;
}

static void case_free(struct mul_case *m)
{
    room_free(&m->w);
    room_free(&m->x);
    room_free(&m->packed);
    room_free(&m->scratch);
}

enum form { ROWS, PACKED };

/* Rows r0 ... and columns c0 ... of the case into y, whose columns are y_stride apart. */
static void call(const struct kern *k, const struct mul_case *m, enum form form, size_t r0,
                 size_t n_row, size_t c0, size_t n_col, float *y, size_t y_stride)
{
    const struct room *const w = form == PACKED ? &m->packed : &m->w;
    const struct kern_mul a = {.w = w->p + r0 * m->w_stride,
                               .is_packed = form == PACKED,
                               .w_stride = m->w_stride,
                               .n_row = n_row,
                               .x = m->x.p + c0 * m->x_stride,
                               .x_stride = m->x_stride,
                               .n_col = n_col,
                               .k = m->k,
                               .y = y,
                               .y_stride = y_stride,
                               .scratch = m->scratch.p};
    k->mul[m->t->type](&a);
}

/* ---- comparisons ----------------------------------------------------------------------------- */

/* Sum of |w x| of one output, from decoded weights and activations. */
static float magnitude(const struct ctx *c, const struct mul_case *m, size_t r, size_t col)
{
    struct room w = room_new(m->k * sizeof(float), 4);
    float *const wf = (float *)(void *)w.p;
    c->ref->to_f32[m->t->type](m->w.p + r * m->w_stride, wf, m->k);
    const uint8_t *const x = m->x.p + col * m->x_stride;
    double sum = 0.0;
    for (size_t i = 0; i < m->k; i++) {
        float xf;
        if (is_float(m->t)) {
            memcpy(&xf, x + 4 * i, 4);
        } else {
            memcpy(&xf, x + act_q8_d_at(m->k) + i / 32 * 4, 4);
            xf *= (float)(int8_t)x[i];
        }
        sum += fabs((double)wf[i] * (double)xf);
    }
    room_free(&w);
    return (float)sum;
}

static bool compare(struct ctx *c, const struct mul_case *m, const float *y, const float *want,
                    enum fill how)
{
    size_t at = 0;
    if (same_bits(y, want, m->n_row * m->n_col, &at)) return true;
    const bool exact = !is_float(m->t) && (c->has_fma || how == FILL_EXACT);
    for (; at < m->n_row * m->n_col; at++) {
        const size_t r = at % m->n_row;
        const size_t col = at / m->n_row;
        if (same_bits(y + at, want + at, 1, &(size_t){0})) continue;
        const float tolerance = MUL_REL * magnitude(c, m, r, col);
        const bool overflows = how == FILL_WILD && !(isfinite(y[at]) && isfinite(want[at]));
        if (!exact && (overflows || is_near(y[at], want[at], tolerance, 0.0f))) continue;
        return fail(c, "k %zu, fill %d, row %zu of %zu, column %zu of %zu: %.9g, want %.9g", m->k,
                    (int)how, r, m->n_row, col, m->n_col, (double)y[at], (double)want[at]);
    }
    return true;
}

static bool check_shape(struct ctx *c, const struct weights *t, size_t n_row, size_t n_col,
                        size_t k, enum fill how)
{
    struct mul_case m = case_new(c, t, n_row, n_col, k, how);
    struct out y = out_new(n_row * n_col);
    struct out want = out_new(n_row * n_col);
    call(c->ref, &m, ROWS, 0, n_row, 0, n_col, want.y, n_row);
    call(c->k, &m, ROWS, 0, n_row, 0, n_col, y.y, n_row);
    bool ok = compare(c, &m, y.y, want.y, how);
    if (ok && !out_guards_hold(&y))
        ok = fail(c, "k %zu, %zu rows, %zu columns: wrote beside y", k, n_row, n_col);
    if (ok && pack_can(t->type)) {
        struct out packed = out_new(n_row * n_col);
        call(c->k, &m, PACKED, 0, n_row, 0, n_col, packed.y, n_row);
        ok = same_bits(packed.y, y.y, n_row * n_col, &(size_t){0}) && out_guards_hold(&packed);
        if (!ok) fail(c, "k %zu, %zu rows, %zu columns: packed differs", k, n_row, n_col);
        out_free(&packed);
    }
    out_free(&want);
    out_free(&y);
    case_free(&m);
    return ok;
}

/* Cuts of one product hold the bits of the whole; what lies between columns stays. */
static bool check_cuts(struct ctx *c, const struct weights *t, size_t k)
{
    enum { N_ROW = 37, N_COL = 21, CUTS = 60 };
    struct mul_case m = case_new(c, t, N_ROW, N_COL, k, FILL_NORMAL);
    struct out whole = out_new(N_ROW * N_COL);
    call(c->k, &m, ROWS, 0, N_ROW, 0, N_COL, whole.y, N_ROW);
    bool ok = true;
    for (int i = 0; i < CUTS && ok; i++) {
        const enum form form = pack_can(t->type) && i % 2 ? PACKED : ROWS;
        size_t r0 = rand_u32(c) % N_ROW;
        size_t n_row = 1 + rand_u32(c) % (N_ROW - r0);
        if (form == PACKED) { /* whole tiles, or up to the end */
            r0 = r0 / PACK_ROWS * PACK_ROWS;
            n_row = r0 + n_row < N_ROW - N_ROW % PACK_ROWS ? PACK_ROWS : N_ROW - r0;
        }
        const size_t c0 = rand_u32(c) % N_COL;
        const size_t n_col = i % 3 == 0 ? 1 : 1 + rand_u32(c) % (N_COL - c0);
        const size_t stride = n_row + rand_u32(c) % 3;
        struct out y = out_new(stride * n_col);
        struct out blank = out_new(stride);
        call(c->k, &m, form, r0, n_row, c0, n_col, y.y, stride);
        size_t at = 0;
        for (size_t j = 0; j < n_col && ok; j++) {
            const float *const got = y.y + j * stride;
            ok = same_bits(got, whole.y + (c0 + j) * N_ROW + r0, n_row, &at) &&
                 same_bits(got + n_row, blank.y, stride - n_row, &at);
        }
        ok = ok && out_guards_hold(&y);
        if (!ok)
            fail(c, "k %zu: rows %zu + %zu, columns %zu + %zu differ from the whole", k, r0, n_row,
                 c0, n_col);
        out_free(&y);
        out_free(&blank);
    }
    out_free(&whole);
    case_free(&m);
    return ok;
}

bool check_mul(struct ctx *c, const struct weights *t)
{
    static const size_t small_k[] = {32, 64, 224, 256, 288, 512, 1408, 2048};
    static const size_t super_k[] = {256, 512, 768, 2048};
    static const size_t float_k[] = {1, 2, 7, 8, 9, 15, 16, 17, 31, 33, 64, 100, 576};
    static const size_t rows[] = {0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 33};
    static const size_t cols[] = {0, 1, 2, 3, 4, 5, 7, 8, 9, 11, 17, 22, 23, 33};
    const size_t *const ks = is_float(t) ? float_k : t->block_items == 32 ? small_k : super_k;
    const size_t n_k = is_float(t)            ? sizeof float_k / sizeof *float_k
                       : t->block_items == 32 ? sizeof small_k / sizeof *small_k
                                              : sizeof super_k / sizeof *super_k;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        for (size_t j = 0; j < sizeof cols / sizeof *cols; j++) {
            const size_t k = ks[rand_u32(c) % n_k];
            if (!check_shape(c, t, rows[i], cols[j], k, FILL_NORMAL)) return false;
        }
    }
    for (size_t i = 0; i < n_k; i++) {
        for (int how = 0; how < FILL_COUNT; how++) {
            if (how == FILL_EXACT && ks[i] > 1024) continue; /* sums stay below 2^24 */
            if (!check_shape(c, t, 5, 1, ks[i], (enum fill)how)) return false;
            if (!check_shape(c, t, 18, 9, ks[i], (enum fill)how)) return false;
        }
        if (!check_cuts(c, t, ks[i])) return false;
    }
    return true;
}

/* ---- weights by columns ---------------------------------------------------------------------- */

static bool all_finite(struct ctx *c, const struct mul_case *m)
{
    struct room w = room_new(m->k * sizeof(float), 4);
    float *const wf = (float *)(void *)w.p;
    bool finite = true;
    for (size_t r = 0; r < m->n_row; r++) {
        c->ref->to_f32[m->t->type](m->w.p + r * m->w_stride, wf, m->k);
        for (size_t i = 0; i < m->k; i++) finite &= isfinite(wf[i]) != 0;
    }
    room_free(&w);
    return finite;
}

/* Products of the matrix by columns, in two parts, against those of its rows at the same level. */
static bool compare_cols(struct ctx *c, const struct mul_case *m, const uint8_t *cols)
{
    struct out want = out_new(m->n_row * m->n_col);
    struct out y = out_new(m->n_row * m->n_col);
    call(c->k, m, ROWS, 0, m->n_row, 0, m->n_col, want.y, m->n_row);
    const size_t cut = m->n_row / 2 / COLS_STEP * COLS_STEP;
    for (size_t part = 0; part < 2; part++) {
        c->k->mul_cols[m->t->type](&(struct kern_mul){.w = cols,
                                                      .w_stride = cols_padded(m->n_row),
                                                      .row0 = part ? cut : 0,
                                                      .n_row = part ? m->n_row - cut : cut,
                                                      .x = m->x.p,
                                                      .x_stride = m->x_stride,
                                                      .n_col = m->n_col,
                                                      .k = m->k,
                                                      .y = y.y + (part ? cut : 0),
                                                      .y_stride = m->n_row,
                                                      .scratch = m->scratch.p});
    }
    size_t at = 0;
    bool ok = same_bits(y.y, want.y, m->n_row * m->n_col, &at);
    if (!ok)
        fail(c, "by columns: k %zu, row %zu of %zu, column %zu: %.9g, want %.9g", m->k,
             at % m->n_row, m->n_row, at / m->n_row, (double)y.y[at], (double)want.y[at]);
    if (ok && !out_guards_hold(&y)) ok = fail(c, "by columns: wrote beside y");
    out_free(&want);
    out_free(&y);
    return ok;
}

static bool check_cols_shape(struct ctx *c, const struct weights *t, size_t n_row, size_t k,
                             enum fill how)
{
    struct mul_case m = case_new(c, t, n_row, 2, k, how);
    struct room cols = room_new(cols_bytes(t->type, k, n_row), 64);
    const struct cols_src src = {
        .type = t->type, .w = m.w.p, .w_stride = m.w_stride, .n_row = n_row, .k = k};
    memset(cols.p, 0, cols_bytes(t->type, k, n_row));
    const size_t cut = n_row / COLS_STEP * COLS_STEP;
    const bool first = cols_put(&src, 0, cut, cols.p);
    const bool finite = cols_put(&src, cut, n_row, cols.p) && first;
    bool ok = true;
    if (finite != all_finite(c, &m))
        ok = fail(c, "k %zu, fill %d: weights said to be %sfinite", k, (int)how,
                  finite ? "" : "not ");
    else if (finite)
        ok = compare_cols(c, &m, cols.p);
    room_free(&cols);
    case_free(&m);
    return ok;
}

/* The same bits as rows give, at the same level. */
bool check_mul_cols(struct ctx *c, const struct weights *t)
{
    static const size_t rows[] = {1, 31, 64, 127, 128, 129, 400};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        for (int how = 0; how < FILL_COUNT; how++) {
            const size_t k = is_float(t) ? 1 + rand_u32(c) % 400 : 32 + rand_u32(c) % 24 * 32;
            if (!check_cols_shape(c, t, rows[i], k, (enum fill)how)) return false;
        }
    }
    return check_cols_shape(c, t, 2200, 288, FILL_SPARSE); /* more rows than a kernel takes */
}

/* ---- the reference and what goes with products ----------------------------------------------- */

/* Every row comes back from a packed matrix as it was, whatever its bits are. */
bool check_pack(struct ctx *c, const struct weights *t)
{
    static const size_t rows[] = {1, 15, 16, 17, 37, 64};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const size_t k = t->block_items * (1 + rand_u32(c) % (t->block_items == 32 ? 30 : 4));
        struct mul_case m = case_new(c, t, rows[i], 1, k, FILL_WILD);
        struct room row = room_new(m.w_stride, 1);
        bool ok = true;
        for (size_t r = 0; r < rows[i] && ok; r++) {
            memset(row.p, 0x5a, m.w_stride);
            pack_get_row(t->type, m.packed.p, rows[i], k, r, row.p);
            ok = memcmp(row.p, m.w.p + r * m.w_stride, m.w_stride) == 0;
            if (!ok) fail(c, "k %zu, row %zu of %zu", k, r, rows[i]);
        }
        room_free(&row);
        case_free(&m);
        if (!ok) return false;
    }
    return true;
}

/* The reference's products mean what its own decoding says: against float64. */
bool check_mul_meaning(struct ctx *c, const struct weights *t)
{
    const size_t k = 768;
    struct mul_case m = case_new(c, t, 7, 3, k, FILL_NORMAL);
    struct out y = out_new(7 * 3);
    struct room w = room_new(k * sizeof(float), 4);
    call(c->ref, &m, ROWS, 0, 7, 0, 3, y.y, 7);
    bool ok = true;
    for (size_t i = 0; i < 21 && ok; i++) {
        const uint8_t *const x = m.x.p + i / 7 * m.x_stride;
        float *const wf = (float *)(void *)w.p;
        c->ref->to_f32[t->type](m.w.p + i % 7 * m.w_stride, wf, k);
        double sum = 0.0;
        for (size_t j = 0; j < k; j++) {
            float xf;
            memcpy(&xf, is_float(t) ? x + 4 * j : x + act_q8_d_at(k) + j / 32 * 4, 4);
            sum += (double)wf[j] * (double)xf * (is_float(t) ? 1.0 : (double)(int8_t)x[j]);
        }
        ok = is_near(y.y[i], (float)sum, MUL_REL * magnitude(c, &m, i % 7, i / 7), 0.0f);
        if (!ok) fail(c, "output %zu: %.9g, want %.9g", i, (double)y.y[i], sum);
    }
    room_free(&w);
    out_free(&y);
    case_free(&m);
    return ok;
}

bool check_to_f32(struct ctx *c, const struct weights *t)
{
    for (size_t n_block = 0; n_block < 40; n_block++) {
        const size_t n = n_block * t->block_items;
        struct room w = room_new(n_block * t->block_bytes, 1);
        struct out y = out_new(n);
        struct out want = out_new(n);
        fill_weights(c, t, n_block % 2 ? FILL_WILD : FILL_NORMAL, w.p, n_block);
        c->ref->to_f32[t->type](w.p, want.y, n);
        c->k->to_f32[t->type](w.p, y.y, n);
        size_t at = 0;
        bool ok = same_bits(y.y, want.y, n, &at) && out_guards_hold(&y);
        if (!ok) fail(c, "%zu items: wrong at %zu or beside", n, at);
        out_free(&want);
        out_free(&y);
        room_free(&w);
        if (!ok) return false;
    }
    return true;
}

/* Two rows of k items: codes and integers the same, floats too. */
static bool same_act(const uint8_t *a, const uint8_t *b, size_t k)
{
    const struct {
        size_t at, n_bytes;
        bool floats;
    } parts[] = {{0, k, false},
                 {act_q8_d_at(k), k / 8, true},
                 {act_q8_s32_at(k), k / 8, true},
                 {act_q8_n32_at(k), k / 8, false},
                 {act_q8_s16_at(k), k / 4, true},
                 {act_q8_n16_at(k), k / 4, false}};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        const void *const pa = a + parts[i].at;
        const void *const pb = b + parts[i].at;
        if (!parts[i].floats && memcmp(pa, pb, parts[i].n_bytes) != 0) return false;
        if (parts[i].floats && !same_bits(pa, pb, parts[i].n_bytes / 4, &(size_t){0})) return false;
    }
    return true;
}

bool check_quant_q8(struct ctx *c, int param)
{
    (void)param;
    static const float sizes[] = {1.0f, 1e-30f, 3e-39f, 1e36f, 1e-20f};
    for (size_t i = 0; i < 200; i++) {
        const size_t k = 32 * (i % 20);
        const size_t n_bytes = act_q8_row_bytes(k);
        struct room x = room_new(k * sizeof(float), 4);
        struct room row = room_new(n_bytes, 64);
        struct room want = room_new(n_bytes, 64);
        float *const xf = (float *)(void *)x.p;
        fill_column(c, xf, k, (enum fill)(i % FILL_COUNT));
        for (size_t j = 0; j < k; j++) xf[j] *= sizes[(i + j / 32) % 5];
        memset(row.p, 0x55, n_bytes);
        memset(want.p, 0xaa, n_bytes);
        c->ref->quant_q8(xf, k, want.p);
        c->k->quant_q8(xf, k, row.p);
        const bool whole = same_act(row.p, want.p, k);
        memset(row.p, 0x55, n_bytes);
        for (size_t end = k, n; end > 0; end -= n) { /* parts of 1, 2, 3 ... groups, falling, so
                                                      * that nothing mends what is too much */
            n = 32 * (1 + (k - end) / 64) < end ? 32 * (1 + (k - end) / 64) : end;
            c->k->quant_q8_part(xf + end - n, end - n, n, k, row.p);
        }
        bool ok = whole && same_act(row.p, want.p, k);
        for (size_t j = act_q8_n16_at(k) + k / 4; j < n_bytes; j++) ok = ok && row.p[j] == 0x55;
        room_free(&want);
        room_free(&row);
        room_free(&x);
        if (!ok) return fail(c, "k %zu: rows differ", k);
    }
    return true;
}
