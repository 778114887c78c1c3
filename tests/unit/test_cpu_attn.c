/*
 * test_cpu_attn.c: attention over spans: values against a double softmax, and the same bits for
 * prefill, decode and any pieces between, with any number of threads.
 */
#include "tests/unit/test_cpu.h"

#include "base/limits.h"
#include "kern/kv.h"
#include "quant/block.h"

enum { PAD = 8, AT = 3 };

struct attn_case {
    struct gattn spec;
    uint32_t n_tok;
    enum dtype type_k, type_v;
    bool spans_end_with_kv; /* the last span holds all positions, also those after the piece */
    float key_size;         /* keys and queries lie in (-key_size, key_size) */
    double tol;             /* of a result; 0: 5e-6 */
};

struct attn_data {
    const struct attn_case *k;
    struct gop op;
    struct op_io io;
    float *q, *ml, *dst;
    uint32_t *pos;
    uint8_t *keys, *values; /* (n_head_kv, n_tok in whole tiles, dim), some bytes between heads */
    size_t k_head, v_head;
    float *keys_f32, *values_f32; /* (n_tok, n_head_kv, dim): what they hold */
    size_t n_q, n_dst;
};

static struct kern ref;
static const struct attn_data *now; /* the case at hand, for attend() */
static uint32_t spans_each;         /* spans of one call */

/* Random numbers as a cache holds them, and what they are as floats. */
static uint8_t *cache_open(struct rnd *r, enum dtype type, bool in_tiles, uint32_t n_tok,
                           uint32_t n_head, size_t dim, float size, size_t *head_bytes, float **f32)
{
    const size_t row_bytes = dtype_row_bytes(type, dim);
    *head_bytes = kv_tiles(n_tok) * row_bytes + 12;
    uint8_t *p = mem_alloc_array(MEM_MISC, n_head, *head_bytes);
    uint8_t *row = mem_alloc(MEM_MISC, row_bytes),
            *scratch = mem_alloc(MEM_MISC, kv_scratch_bytes(dim));
    assert_true(p && row && scratch);
    *f32 = rnd_floats(r, n_tok * n_head * dim, -size, size);
    for (uint32_t i = 0; i < n_tok * n_head; i++) {
        float *x = *f32 + i * dim;
        const uint32_t pos = i / n_head, in_tile = in_tiles ? pos % KV_TILE : 0;
        uint8_t *to = p + i % n_head * *head_bytes + (pos - in_tile) * row_bytes;
        kv_row(&ref, type, x, dim, row, scratch);
        ref.to_f32[type](row, x, dim);
        if (in_tiles)
            pack_set_row(type, row, dim, in_tile, to);
        else
            memcpy(to, row, row_bytes);
    }
    mem_free(row);
    mem_free(scratch);
    return p;
}

static void data_open(struct attn_data *d, const struct attn_case *k)
{
    struct rnd r = {.state = k->n_tok};
    const struct gattn *a = &k->spec;
    *d = (struct attn_data){.k = k, .op = {.kind = GOP_ATTN, .n_out = 2}};
    d->op.u.attn = *a;
    const uint32_t n_q = a->n_head * a->dim_k, n_o = a->n_head * a->dim_v;
    d->op.src[0].n = n_q;
    d->op.dst[0].n = n_o;
    d->op.dst[1].n = 2 * a->n_head;
    d->q = rnd_floats(&r, (size_t)k->n_tok * (n_q + PAD), -k->key_size, k->key_size);
    d->ml = rnd_floats(&r, (size_t)k->n_tok * 2 * a->n_head, 5.0f, 5.0f);
    d->n_dst = (size_t)k->n_tok * (n_o + PAD);
    d->dst = rnd_floats(&r, d->n_dst, 7.0f, 7.0f);
    d->keys = cache_open(&r, k->type_k, !a->v_in_k, k->n_tok, a->n_head_kv, a->dim_k, k->key_size,
                         &d->k_head, &d->keys_f32);
    if (!a->v_in_k)
        d->values = cache_open(&r, k->type_v, false, k->n_tok, a->n_head_kv, a->dim_v, 1.0f,
                               &d->v_head, &d->values_f32);
    d->pos = mem_alloc_array(MEM_MISC, k->n_tok, sizeof *d->pos);
    assert_non_null(d->pos);
    for (uint32_t i = 0; i < k->n_tok; i++) d->pos[i] = i;
    d->io = (struct op_io){.n_row = k->n_tok,
                           .pos = d->pos,
                           .src = {d->q + AT},
                           .src_stride = {n_q + PAD},
                           .dst = {d->dst + AT, d->ml},
                           .dst_stride = {n_o + PAD, 2 * a->n_head}};
}

static void data_close(struct attn_data *d)
{
    mem_free(d->q);
    mem_free(d->ml);
    mem_free(d->dst);
    mem_free(d->pos);
    mem_free(d->keys);
    mem_free(d->keys_f32);
    mem_free(d->values);
    mem_free(d->values_f32);
}

static struct attn_span span_at(const struct attn_data *d, uint32_t pos0, uint32_t end)
{
    const struct gattn *a = &d->k->spec;
    const uint8_t *k = d->keys + pos0 * dtype_row_bytes(d->k->type_k, a->dim_k);
    const uint8_t *v = d->values + pos0 * dtype_row_bytes(d->k->type_v, a->dim_v);
    return (struct attn_span){.kv = {.pos0 = pos0,
                                     .n_pos = end - pos0 < KV_SPAN ? end - pos0 : KV_SPAN,
                                     .k = k,
                                     .v = a->v_in_k ? k : v,
                                     .k_head = d->k_head,
                                     .v_head = a->v_in_k ? d->k_head : d->v_head}};
}

/* One piece as the executor does it: begin, spans from the first visible one on, end. */
static void attend(const struct backend *be, const struct gop *op, const struct op_io *io)
{
    const struct attn_data *d = now;
    const uint32_t pos0 = io->pos[0], window = op->u.attn.window;
    const uint32_t begin = window && pos0 >= window ? pos0 - window + 1 : 0;
    const uint32_t end = d->k->spans_end_with_kv ? d->k->n_tok : pos0 + io->n_row;
    struct attn_span span[KV_SPANS_MAX];
    uint32_t n = 0;
    assert_int_equal(be->attn_begin(be->self, op, io), OK);
    for (uint32_t p = begin / KV_SPAN * KV_SPAN; p < end; p += KV_SPAN) {
        span[n] = span_at(d, p, end);
        span[n++].n_row = io->n_row;
        if (n < spans_each && p + KV_SPAN < end) continue;
        assert_int_equal(be->attn_spans(be->self, op, io, span, n, d->k->type_k, d->k->type_v), OK);
        n = 0;
    }
    assert_int_equal(be->attn_end(be->self, op, io), OK);
}

/* ---- the truth ------------------------------------------------------------------------------- */

/* Queries for keys of Q8_0 become Q8 themselves, scaled. */
static double quantised_score(const float *q, const float *k, size_t n, float scale)
{
    float scaled[HEAD_DIM_MAX];
    static char row[2 * HEAD_DIM_MAX];
    double s = 0.0;
    assert_true(act_q8_row_bytes(n) <= sizeof row);
    ref.scale(q, scale, scaled, n);
    ref.quant_q8(scaled, n, row);
    const float *d = (const float *)(const void *)(row + act_q8_d_at(n));
    for (size_t i = 0; i < n; i++)
        s += (double)((const int8_t *)row)[i] * (double)d[i / 32] * (double)k[i];
    return s;
}

static double score(const struct attn_data *d, uint32_t t, uint32_t h, uint32_t j)
{
    const struct gattn *a = &d->k->spec;
    const uint32_t hk = h / (a->n_head / a->n_head_kv);
    const float *q = d->io.src[0] + t * d->io.src_stride[0] + (size_t)h * a->dim_k;
    const float *k = d->keys_f32 + ((size_t)j * a->n_head_kv + hk) * a->dim_k;
    double s = 0.0;
    if (d->k->type_k == DT_Q8_0) return quantised_score(q, k, a->dim_k, a->scale);
    for (uint32_t i = 0; i < a->dim_k; i++) s += (double)q[i] * (double)k[i];
    s *= (double)a->scale;
    if (a->temp_scale != 0.0f)
        s *= 1.0 + (double)a->temp_scale * log(1.0 + floor((double)t / a->temp_len));
    return a->softcap != 0.0f ? (double)a->softcap * tanh(s / (double)a->softcap) : s;
}

static double value(const struct attn_data *d, uint32_t h, uint32_t j, uint32_t i)
{
    const struct gattn *a = &d->k->spec;
    const uint32_t hk = h / (a->n_head / a->n_head_kv);
    if (d->k->spec.v_in_k)
        return (double)d->keys_f32[((size_t)j * a->n_head_kv + hk) * a->dim_k + i];
    return (double)d->values_f32[((size_t)j * a->n_head_kv + hk) * a->dim_v + i];
}

static void check_head(const struct attn_data *d, uint32_t t, uint32_t h)
{
    const struct gattn *a = &d->k->spec;
    const uint32_t first = a->window && t >= a->window ? t - a->window + 1 : 0;
    double *p = calloc(t + 1, sizeof *p);
    assert_non_null(p);
    double top = a->sinks ? (double)a->sinks[h] : -INFINITY;
    for (uint32_t j = first; j <= t; j++) top = fmax(top, p[j] = score(d, t, h, j));
    double sum = a->sinks ? exp((double)a->sinks[h] - top) : 0.0;
    for (uint32_t j = first; j <= t; j++) sum += p[j] = exp(p[j] - top);
    for (uint32_t i = 0; i < a->dim_v; i++) {
        double y = 0.0;
        for (uint32_t j = first; j <= t; j++) y += p[j] / sum * value(d, h, j, i);
        assert_near((double)d->io.dst[0][t * d->io.dst_stride[0] + (size_t)h * a->dim_v + i], y,
                    1.0, d->k->tol > 0.0 ? d->k->tol : 5e-6);
    }
    free(p);
}

/* All heads of the first and last tokens of spans and windows, and of some between. */
static void check_values(const struct attn_data *d)
{
    for (uint32_t t = 0; t < d->k->n_tok; t++) {
        const uint32_t in_span = t % KV_SPAN;
        if (t > 20 && in_span > 1 && in_span != KV_SPAN - 1 && t + 2 < d->k->n_tok && t % 37)
            continue;
        for (uint32_t h = 0; h < d->k->spec.n_head; h++) check_head(d, t, h);
        for (uint32_t i = 0; i < PAD; i++) /* columns around the view */
            assert_true(d->dst[(t * d->io.dst_stride[0] + AT + d->op.dst[0].n + i) % d->n_dst] ==
                        7.0f);
    }
}

static void run_case(const struct attn_case *k)
{
    const unsigned levels[] = {cpu_detect(), 0};
    struct attn_data d;
    data_open(&d, k);
    now = &d;
    float *first = rnd_floats(&(struct rnd){1}, d.n_dst, 0.0f, 0.0f);
    for (int l = 0; l < 2; l++) {
        for (uint32_t n_thread = 1; n_thread <= 3; n_thread++) {
            struct bench b;
            bench_open(&b, n_thread, levels[l], false, &d.op, 1, k->n_tok);
            /* single tokens only once: they take many loops over the pool */
            for (int cut = 0; cut < CUT_COUNT; cut += n_thread == 2 ? 1 : 2) {
                for (size_t i = 0; i < d.n_dst; i++) d.dst[i] = 7.0f;
                spans_each = n_thread == 3 ? 2 : KV_SPANS_MAX;
                run_cut(&b.be, &d.op, &d.io, cuts[cut], attend);
                if (n_thread == 1 && cut == 0) memcpy(first, d.dst, d.n_dst * sizeof(float));
                assert_memory_equal(d.dst, first, d.n_dst * sizeof(float));
            }
            bench_close(&b);
        }
        check_values(&d);
    }
    mem_free(first);
    data_close(&d);
}

/* ---- cases ----------------------------------------------------------------------------------- */

static void test_one_span(void **state)
{
    (void)state;
    run_case(&(struct attn_case){
        .spec = {.n_head = 3, .n_head_kv = 3, .dim_k = 20, .dim_v = 20, .scale = 0.22f},
        .n_tok = 41,
        .type_k = DT_F32,
        .type_v = DT_F32,
        .key_size = 2.0f});
}

static void test_grouped_heads_over_spans(void **state)
{
    (void)state;
    run_case(&(struct attn_case){
        .spec = {.n_head = 6, .n_head_kv = 2, .dim_k = 16, .dim_v = 24, .scale = 0.25f},
        .n_tok = 2 * KV_SPAN + 33,
        .type_k = DT_F16,
        .type_v = DT_F16,
        .key_size = 2.0f});
}

static void test_windows(void **state)
{
    (void)state;
    const uint32_t window[] = {1, 10, KV_SPAN, KV_SPAN + 7};
    for (int i = 0; i < 4; i++) {
        run_case(&(struct attn_case){.spec = {.n_head = 4,
                                              .n_head_kv = 2,
                                              .dim_k = 16,
                                              .dim_v = 16,
                                              .scale = 0.25f,
                                              .window = window[i]},
                                     .n_tok = KV_SPAN + 60,
                                     .type_k = DT_F32,
                                     .type_v = DT_F16,
                                     .key_size = 2.0f});
    }
}

static void test_sinks(void **state)
{
    (void)state;
    const float sinks[] = {-3.0f, 0.0f, 2.0f, 9.0f};
    run_case(&(struct attn_case){.spec = {.n_head = 4,
                                          .n_head_kv = 2,
                                          .dim_k = 16,
                                          .dim_v = 16,
                                          .scale = 0.25f,
                                          .sinks = sinks,
                                          .window = 50},
                                 .n_tok = KV_SPAN + 20,
                                 .type_k = DT_F16,
                                 .type_v = DT_F16,
                                 .key_size = 2.0f});
}

static void test_softcap(void **state)
{
    (void)state;
    run_case(&(struct attn_case){.spec = {.n_head = 2,
                                          .n_head_kv = 1,
                                          .dim_k = 33,
                                          .dim_v = 7,
                                          .scale = 0.5f,
                                          .softcap = 5.0f,
                                          .window = 70},
                                 .n_tok = KV_SPAN + 20,
                                 .type_k = DT_F32,
                                 .type_v = DT_F32,
                                 .key_size = 2.0f});
}

static void test_temperature(void **state)
{
    (void)state;
    run_case(&(struct attn_case){.spec = {.n_head = 2,
                                          .n_head_kv = 2,
                                          .dim_k = 16,
                                          .dim_v = 16,
                                          .scale = 0.25f,
                                          .temp_scale = 0.4f,
                                          .temp_len = 50},
                                 .n_tok = KV_SPAN + 20,
                                 .type_k = DT_F32,
                                 .type_v = DT_F32,
                                 .key_size = 2.0f});
}

/* MLA: one latent row serves all heads, and its first part is the value. */
static void test_values_inside_keys(void **state)
{
    (void)state;
    run_case(&(struct attn_case){
        .spec =
            {.n_head = 16, .n_head_kv = 1, .dim_k = 72, .dim_v = 64, .scale = 0.1f, .v_in_k = true},
        .n_tok = KV_SPAN + 9,
        .type_k = DT_F16,
        .key_size = 1.0f});
}

static void test_q8_0(void **state)
{
    (void)state;
    const enum dtype types[][2] = {{DT_Q8_0, DT_Q8_0}, {DT_Q8_0, DT_F16}, {DT_F32, DT_Q8_0}};
    for (int i = 0; i < 3; i++) {
        run_case(&(struct attn_case){
            .spec = {.n_head = 3, .n_head_kv = 1, .dim_k = 64, .dim_v = 32, .scale = 0.1f},
            .n_tok = KV_SPAN + 33,
            .type_k = types[i][0],
            .type_v = types[i][1],
            .key_size = 2.0f});
    }
}

static void test_q8_0_values_inside_keys(void **state)
{
    (void)state;
    run_case(&(struct attn_case){
        .spec =
            {.n_head = 16, .n_head_kv = 1, .dim_k = 96, .dim_v = 64, .scale = 0.1f, .v_in_k = true},
        .n_tok = KV_SPAN + 9,
        .type_k = DT_Q8_0,
        .key_size = 1.0f});
}

/* What lies after a query's own position must not matter, even if it is in the span. */
static void test_spans_longer_than_the_piece(void **state)
{
    (void)state;
    run_case(&(struct attn_case){
        .spec = {.n_head = 4, .n_head_kv = 2, .dim_k = 16, .dim_v = 16, .scale = 0.25f},
        .n_tok = KV_SPAN + 60,
        .type_k = DT_F16,
        .type_v = DT_F16,
        .key_size = 2.0f,
        .spans_end_with_kv = true});
}

/* Scores of several hundred: exp must not overflow, and sums of nothing stay nothing. */
static void test_large_scores(void **state)
{
    (void)state;
    run_case(&(struct attn_case){
        .spec = {.n_head = 2, .n_head_kv = 2, .dim_k = 64, .dim_v = 8, .scale = 1.0f},
        .n_tok = KV_SPAN + 20,
        .type_k = DT_F32,
        .type_v = DT_F32,
        .key_size = 12.0f,
        .tol = 1e-3 /* scores of 2000 are good to 1e-4 */});
}

/* A key that is not finite spoils the queries that see it and no others. */
static void test_infinite_key(void **state)
{
    (void)state;
    const struct attn_case k = {
        .spec = {.n_head = 2, .n_head_kv = 2, .dim_k = 16, .dim_v = 16, .scale = 0.25f},
        .n_tok = 40,
        .type_k = DT_F32,
        .type_v = DT_F32,
        .key_size = 1.0f,
        .spans_end_with_kv = true};
    struct attn_data d;
    struct bench b;
    data_open(&d, &k);
    now = &d;
    const float bad = NAN;
    memcpy(d.keys + (KV_TILE * 16 + 30 % KV_TILE) * sizeof bad, &bad, sizeof bad); /* key 30 */
    bench_open(&b, 2, cpu_detect(), false, &d.op, 1, k.n_tok);
    attend(&b.be, &d.op, &d.io);
    for (uint32_t t = 0; t < k.n_tok; t++) {
        assert_int_equal(isfinite(d.io.dst[0][t * d.io.dst_stride[0]]) != 0, t < 30);
        assert_true(isfinite(d.io.dst[0][t * d.io.dst_stride[0] + 16])); /* the other head */
    }
    bench_close(&b);
    data_close(&d);
}

/* Nor does such a value, although tokens are weighed side by side. */
static void test_infinite_value(void **state)
{
    (void)state;
    const struct attn_case k = {
        .spec =
            {.n_head = 2, .n_head_kv = 2, .dim_k = 16, .dim_v = 16, .scale = 0.25f, .window = 9},
        .n_tok = 60,
        .type_k = DT_F16,
        .type_v = DT_F32,
        .key_size = 1.0f,
        .spans_end_with_kv = true};
    struct attn_data d;
    struct bench b;
    data_open(&d, &k);
    now = &d;
    const float bad = INFINITY;
    memcpy(d.values + (30 * 16 + 3) * sizeof bad, &bad, sizeof bad);
    bench_open(&b, 2, cpu_detect(), false, &d.op, 1, k.n_tok);
    attend(&b.be, &d.op, &d.io);
    for (uint32_t t = 0; t < k.n_tok; t++) {
        const float *o = d.io.dst[0] + t * d.io.dst_stride[0];
        if (t < 30 || t >= 48) assert_true(isfinite(o[3])); /* 39 .. 47 weigh its tile with 0 */
        if (t >= 30 && t < 39) assert_true(!isfinite(o[3]));
        assert_true(isfinite(o[2]) && isfinite(o[16 + 3]));
    }
    bench_close(&b);
    data_close(&d);
}

/* All scores of a query are NaN: that is not the same as a query that sees nothing. */
static void test_nan_query(void **state)
{
    (void)state;
    const struct attn_case k = {
        .spec = {.n_head = 2, .n_head_kv = 2, .dim_k = 16, .dim_v = 16, .scale = 0.25f},
        .n_tok = KV_SPAN + 10,
        .type_k = DT_F32,
        .type_v = DT_F32,
        .key_size = 1.0f};
    const unsigned levels[] = {0, cpu_detect()};
    for (size_t i = 0; i < sizeof levels / sizeof *levels; i++) {
        struct attn_data d;
        struct bench b;
        data_open(&d, &k);
        now = &d;
        for (uint32_t t = 0; t < k.n_tok; t += 5) d.q[AT + t * d.io.src_stride[0]] = NAN;
        bench_open(&b, 2, levels[i], false, &d.op, 1, k.n_tok);
        attend(&b.be, &d.op, &d.io);
        for (uint32_t t = 0; t < k.n_tok; t++) {
            const float *o = d.io.dst[0] + t * d.io.dst_stride[0];
            assert_int_equal(isnan(o[0]) != 0, t % 5 == 0);
            assert_true(isfinite(o[16])); /* the other head */
        }
        bench_close(&b);
        data_close(&d);
    }
}

/* ---- several timelines ----------------------------------------------------------------------- */

struct part { /* the last n_row tokens of a case */
    const struct attn_data *d;
    uint32_t n_row;
};

static uint32_t part_spans(const struct part *p, uint32_t row0, struct attn_span *span)
{
    const uint32_t n_tok = p->d->k->n_tok;
    uint32_t n = 0;
    for (uint32_t pos0 = 0; pos0 < n_tok; pos0 += KV_SPAN) {
        span[n] = span_at(p->d, pos0, n_tok);
        span[n].row0 = row0;
        span[n++].n_row = p->n_row;
    }
    return n;
}

/* All spans of all parts in one call; results follow each other in dst, without padding. */
static void attend_parts(const struct backend *be, const struct part *part, uint32_t n_part,
                         float *dst)
{
    const struct attn_data *d = part->d;
    const uint32_t n_q = d->op.src[0].n, n_o = d->op.dst[0].n, n_ml = d->op.dst[1].n;
    struct attn_span span[KV_SPANS_MAX];
    struct op_io io = {.src_stride = {n_q}, .dst_stride = {n_o, n_ml}};
    uint32_t n_span = 0;
    for (uint32_t i = 0; i < n_part; i++) {
        n_span += part_spans(&part[i], io.n_row, span + n_span);
        io.n_row += part[i].n_row;
    }
    float *q = mem_alloc_array(MEM_MISC, (size_t)io.n_row * n_q, sizeof *q);
    float *ml = mem_alloc_array(MEM_MISC, (size_t)io.n_row * n_ml, sizeof *ml);
    uint32_t *pos = mem_alloc_array(MEM_MISC, io.n_row, sizeof *pos);
    assert_true(q && ml && pos);
    for (uint32_t i = 0, row = 0; i < n_part; i++) {
        for (uint32_t r = 0; r < part[i].n_row; r++, row++) {
            pos[row] = part[i].d->k->n_tok - part[i].n_row + r;
            memcpy(q + (size_t)row * n_q,
                   part[i].d->io.src[0] + pos[row] * part[i].d->io.src_stride[0], n_q * sizeof *q);
        }
    }
    io.pos = pos;
    io.src[0] = q;
    io.dst[0] = dst;
    io.dst[1] = ml;
    assert_int_equal(be->attn_begin(be->self, &d->op, &io), OK);
    assert_int_equal(
        be->attn_spans(be->self, &d->op, &io, span, n_span, d->k->type_k, d->k->type_v), OK);
    assert_int_equal(be->attn_end(be->self, &d->op, &io), OK);
    mem_free(q);
    mem_free(ml);
    mem_free(pos);
}

/* Few rows make a task of each span, many do not; neither may change a bit of either timeline. */
static void test_timelines_with_several_spans(void **state)
{
    (void)state;
    enum { N_ROW_MAX = 40, N_O = 4 * 24 };
    static const uint32_t n_row[][2] = {{1, 1}, {3, 5}, {1, N_ROW_MAX}, {N_ROW_MAX, 33}};
    static float alone[2 * N_ROW_MAX * N_O], both[2 * N_ROW_MAX * N_O];
    struct attn_case k[2] = {
        {.spec = {.n_head = 4, .n_head_kv = 2, .dim_k = 16, .dim_v = 24, .scale = 0.25f},
         .n_tok = 300,
         .type_k = DT_F16,
         .type_v = DT_F16,
         .key_size = 2.0f}};
    struct attn_data d[2];
    k[1] = k[0];
    k[1].n_tok = 700;
    for (int i = 0; i < 2; i++) data_open(&d[i], &k[i]);
    for (uint32_t n_thread = 1; n_thread <= 3; n_thread++) {
        struct bench b;
        bench_open(&b, n_thread, cpu_detect(), false, &d[0].op, 1, 2 * N_ROW_MAX);
        for (size_t i = 0; i < sizeof n_row / sizeof *n_row; i++) {
            const struct part part[2] = {{&d[0], n_row[i][0]}, {&d[1], n_row[i][1]}};
            const size_t n_first = (size_t)n_row[i][0] * N_O, n_second = (size_t)n_row[i][1] * N_O;
            attend_parts(&b.be, &part[0], 1, alone);
            attend_parts(&b.be, &part[1], 1, alone + n_first);
            attend_parts(&b.be, part, 2, both);
            assert_memory_equal(both, alone, (n_first + n_second) * sizeof *both);
            assert_memory_not_equal(alone, alone + n_first, N_O * sizeof *alone);
        }
        bench_close(&b);
    }
    for (int i = 0; i < 2; i++) data_close(&d[i]);
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
        cmocka_unit_test(test_one_span),
        cmocka_unit_test(test_grouped_heads_over_spans),
        cmocka_unit_test(test_windows),
        cmocka_unit_test(test_sinks),
        cmocka_unit_test(test_softcap),
        cmocka_unit_test(test_temperature),
        cmocka_unit_test(test_values_inside_keys),
        cmocka_unit_test(test_q8_0),
        cmocka_unit_test(test_q8_0_values_inside_keys),
        cmocka_unit_test(test_spans_longer_than_the_piece),
        cmocka_unit_test(test_large_scores),
        cmocka_unit_test(test_infinite_key),
        cmocka_unit_test(test_infinite_value),
        cmocka_unit_test(test_nan_query),
        cmocka_unit_test(test_timelines_with_several_spans),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, setup, NULL);
}
