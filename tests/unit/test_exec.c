/*
 * test_exec.c: the executor against fake ports and a fake backend: experts that arrive late and out
 * of order, fail, or come one at a time; the pairs of a step sorted by expert; logits row by row;
 * errors that stop a step and leave nothing open.
 */
#include "base/err.h"
#include "base/mem.h"
#include "base/os.h"
#include "graph/exec.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

enum { N_EXPERT = 6, N_USED = 2, N_EMBD = 4, N_FF = 4, N_VOCAB = 8, N_ROW = 40, N_MANY = 600 };

static const float weights[N_EMBD * N_VOCAB];

/* ---- a source that delivers in any order, some of it late ------------------------------------ */

struct expert_set {
    struct expert_want want[N_EXPERT];
    uint32_t n_want, n_given, n_open;
    uint32_t n_ready; /* given without waiting after each wait */
    uint32_t n_left;  /* of those */
    int reverse;
    uint32_t fail_at; /* the n-th next() fails; 0 = never */
    uint32_t n_next;
    int closed;
};

static struct expert_set source;

static enum err src_request(void *self, uint32_t layer, const struct expert_want *want, uint32_t n,
                            struct expert_set **set)
{
    (void)layer;
    struct expert_set *s = self;
    memcpy(s->want, want, n * sizeof *want);
    s->n_want = n;
    s->n_given = s->n_left = s->n_next = 0;
    s->closed = 0;
    *set = s;
    return OK;
}

static enum err src_next(struct expert_set *s, bool wait, struct expert_view *view)
{
    if (s->n_given == s->n_want) return ERR_END;
    if (!wait && s->n_left == 0) return ERR_AGAIN;
    if (++s->n_next == s->fail_at) return err_set(ERR_RUN, "the disk is on fire");
    s->n_left = wait ? s->n_ready : s->n_left - 1;
    const uint32_t slot = s->reverse ? s->n_want - 1 - s->n_given : s->n_given;
    s->n_given++;
    s->n_open++;
    *view = (struct expert_view){.slot = slot, .gate = weights, .up = weights, .down = weights};
    return OK;
}

static void src_release(struct expert_set *s, struct expert_view *view)
{
    (void)view;
    assert_true(s->n_open > 0);
    s->n_open--;
}

static void src_close(struct expert_set *s)
{
    s->closed = 1;
}

/* ---- a backend whose "expert e" writes 100 * e + token into the token's row ------------------ */

static uint32_t n_calls, views_max;
static enum err experts_result;
static bool interrupt_embed, interrupt_experts;

static enum err be_reserve(void *self, const struct graph *g, uint32_t n)
{
    (void)self, (void)g, (void)n;
    return OK;
}

static enum err be_run(void *self, const struct gop *op, const struct op_io *io)
{
    (void)self;
    if (interrupt_embed && op->kind == GOP_EMBED) raise(SIGINT);
    for (uint32_t r = 0; r < io->n_row; r++) {
        float *y = io->dst[0] + r * io->dst_stride[0];
        if (op->kind == GOP_EMBED) y[0] = (float)io->token[r];
        if (op->kind == GOP_MUL)
            y[0] = io->src[0][r * io->src_stride[0]]; /* router and head pass column 0 on */
    }
    return OK;
}

/* Token t chooses experts t % N and (t + 2) % N. */
static enum err be_route(void *self, const struct gop *op, const struct op_io *io, uint32_t *id,
                         float *weight)
{
    (void)self, (void)op;
    for (uint32_t t = 0; t < io->n_row; t++) {
        const uint32_t token = (uint32_t)io->src[0][t * io->src_stride[0]];
        for (uint32_t j = 0; j < N_USED; j++) {
            id[t * N_USED + j] = (token + 2 * j) % N_EXPERT;
            weight[t * N_USED + j] = j ? 0.25f : 0.75f;
        }
    }
    return OK;
}

static enum err be_begin(void *self, const struct gop *op, const struct op_io *io,
                         const struct moe_rows *rows)
{
    (void)self, (void)op, (void)io;
    for (uint32_t i = 1; i < rows->n_want; i++) assert_true(rows->expert[i] > rows->expert[i - 1]);
    assert_int_equal(rows->first[0], 0);
    return OK;
}

static enum err be_experts(void *self, const struct gop *op, const struct op_io *io,
                           const struct moe_rows *rows, const struct expert_view *view,
                           uint32_t n_view)
{
    (void)self, (void)op;
    if (interrupt_experts) raise(SIGINT);
    n_calls++;
    if (n_view > views_max) views_max = n_view;
    for (uint32_t i = 0; i < n_view; i++) {
        const uint32_t slot = view[i].slot;
        assert_true(rows->first[slot] <
                    rows->first[slot + 1]); /* nobody asked for an expert without rows */
        for (uint32_t at = rows->first[slot]; at < rows->first[slot + 1]; at++) {
            const uint32_t t = rows->token[at];
            io->y[at * N_EMBD] =
                100.0f * (float)rows->expert[slot] + io->src[0][t * io->src_stride[0]];
        }
    }
    return experts_result;
}

static enum err be_end(void *self, const struct gop *op, const struct op_io *io,
                       const struct moe_rows *rows)
{
    (void)self, (void)op;
    for (uint32_t t = 0; t < io->n_row; t++) {
        float sum = 0.0f;
        for (uint32_t j = 0; j < N_USED; j++) {
            const uint32_t pair = t * N_USED + j;
            sum += rows->weight[pair] * io->y[rows->at[pair] * N_EMBD];
        }
        io->dst[0][t * io->dst_stride[0]] = sum;
    }
    return OK;
}

/* ---- a cache with room for some spans, and who attends to them ------------------------------- */

enum { N_SEEN = 256 };
static struct {
    uint32_t room; /* spans that may be lent */
    uint32_t n_lent, n_open, n_next, fail_at;
    uint32_t lent_max, n_call;
    uint32_t seq[N_SEEN], pos0[N_SEEN]; /* of the spans attended to, in order */
    uint32_t n_seen;
    enum err result;
} cache;

static enum err kv_append(void *self, uint32_t seq, uint32_t layer, uint32_t pos0, uint32_t n_pos,
                          const float *k, size_t k_stride, const float *v, size_t v_stride)
{
    (void)self, (void)seq, (void)layer, (void)pos0, (void)n_pos;
    (void)k, (void)k_stride, (void)v, (void)v_stride;
    assert_int_equal(cache.n_lent, 0);
    return OK;
}

static enum err kv_iter(void *self, uint32_t seq, uint32_t layer, uint32_t begin, uint32_t end,
                        struct kv_iter *it)
{
    assert_int_equal(layer, 0);
    cache.n_open++;
    *it = (struct kv_iter){
        .self = self, .seq = seq, .pos = begin / KV_SPAN * KV_SPAN, .pos_end = end};
    return OK;
}

static enum err kv_next(struct kv_iter *it, bool wait, struct kv_span *span)
{
    if (it->pos >= it->pos_end) return ERR_END;
    if (cache.n_lent == cache.room) {
        assert_false(wait); /* it would wait for ever */
        return ERR_AGAIN;
    }
    if (++cache.n_next == cache.fail_at) return err_set(ERR_RUN, "the disk is on fire");
    const uint32_t left = it->pos_end - it->pos;
    *span = (struct kv_span){.pos0 = it->pos, .n_pos = left < KV_SPAN ? left : KV_SPAN};
    span->pin = &cache.seq[it->seq]; /* says whose it is */
    it->pos += KV_SPAN;
    if (++cache.n_lent > cache.lent_max) cache.lent_max = cache.n_lent;
    return OK;
}

static void kv_release(void *self, struct kv_span *span)
{
    (void)self;
    assert_non_null(span->pin);
    span->pin = NULL;
    cache.n_lent--;
}

static void kv_done(struct kv_iter *it)
{
    (void)it;
    cache.n_open--;
}

static enum err be_attn_edge(void *self, const struct gop *op, const struct op_io *io)
{
    (void)self, (void)op, (void)io;
    assert_int_equal(cache.n_lent, 0);
    return OK;
}

static enum err be_attn_spans(void *self, const struct gop *op, const struct op_io *io,
                              const struct attn_span *span, uint32_t n_span, enum dtype type_k,
                              enum dtype type_v)
{
    (void)self, (void)op, (void)type_k, (void)type_v;
    assert_int_equal(n_span, cache.n_lent);
    cache.n_call++;
    for (uint32_t i = 0; i < n_span; i++) {
        assert_true(span[i].row0 + span[i].n_row <= io->n_row);
        assert_true(cache.n_seen < N_SEEN);
        cache.seq[cache.n_seen] = (uint32_t)((uint32_t *)span[i].kv.pin - cache.seq);
        cache.pos0[cache.n_seen++] = span[i].kv.pos0;
    }
    return cache.result;
}

/* ---- one model: embed, route, experts, head -------------------------------------------------- */

static struct graph *graph;
static struct ports ports;
static const struct backend backend = {.name = "fake",
                                       .reserve = be_reserve,
                                       .run = be_run,
                                       .moe_route = be_route,
                                       .moe_begin = be_begin,
                                       .moe_experts = be_experts,
                                       .moe_end = be_end,
                                       .attn_begin = be_attn_edge,
                                       .attn_spans = be_attn_spans,
                                       .attn_end = be_attn_edge};

static struct tensor matrix(uint64_t n_in, uint64_t n_out, uint64_t n_plane)
{
    return (struct tensor){.name = "w",
                           .data = weights,
                           .type = DT_F32,
                           .n_dims = 3,
                           .ne = {n_in, n_out, n_plane, 1},
                           .row_bytes = n_in * 4,
                           .plane_bytes = n_in * n_out * 4};
}

static int setup(void **state)
{
    (void)state;
    const struct tensor embed = matrix(N_EMBD, N_VOCAB, 1), router = matrix(N_EMBD, N_EXPERT, 1);
    const struct gmoe moe = {.n_expert = N_EXPERT, .n_used = N_USED, .n_ff = N_FF};
    if (graph_new(&graph, 1)) return -1;
    graph->layer = 0;
    struct gval x = g_embed(graph, &embed, 1.0f);
    x = g_moe(graph, x, g_mul(graph, &router, x, NULL), &moe);
    x = g_out_rows(graph, x);
    ports.experts = (struct expert_src){.self = &source,
                                        .request = src_request,
                                        .next = src_next,
                                        .release = src_release,
                                        .set_close = src_close};
    ports.comm.n_rank = 1;
    return graph_finish(graph, g_mul(graph, &embed, x, NULL)) ? -1 : 0;
}

static int teardown(void **state)
{
    (void)state;
    graph_free(graph);
    return 0;
}

struct seen {
    uint32_t pos[N_ROW];
    float value[N_ROW];
    uint32_t n, stop_at;
};

static enum err on_row(void *ctx, uint32_t i_run, uint32_t pos, const float *logits)
{
    struct seen *s = ctx;
    assert_int_equal(i_run, 0);
    if (s->stop_at && s->n + 1 == s->stop_at) return ERR_INTR;
    s->pos[s->n] = pos;
    s->value[s->n++] = logits[0];
    return OK;
}

static enum err run_n(struct seen *seen, uint32_t out_from, uint32_t n_tok)
{
    uint32_t token[N_ROW];
    for (uint32_t i = 0; i < N_ROW; i++) token[i] = i * 7 % N_VOCAB;
    struct exec *x;
    assert_int_equal(exec_open(&x, graph, &backend, &ports, N_ROW), OK);
    const struct step_run one = {.pos0 = 300, .n_tok = n_tok, .out_from = out_from};
    const struct step step = {
        .token = token, .run = &one, .n_run = 1, .on_row = on_row, .ctx = seen};
    n_calls = views_max = 0;
    const enum err e = exec_step(x, &step);
    exec_close(x);
    return e;
}

static enum err run(struct seen *seen, uint32_t out_from)
{
    return run_n(seen, out_from, N_ROW);
}

static float expected(uint32_t row)
{
    const uint32_t token = row * 7 % N_VOCAB;
    return 0.75f * (float)(100 * (token % N_EXPERT) + token) +
           0.25f * (float)(100 * ((token + 2) % N_EXPERT) + token);
}

static void check_rows(const struct seen *s, uint32_t out_from)
{
    assert_int_equal(s->n, N_ROW - out_from);
    for (uint32_t i = 0; i < s->n; i++) {
        assert_int_equal(s->pos[i], 300 + out_from + i);
        assert_float_equal(s->value[i], expected(out_from + i), 1e-4);
    }
}

static void test_arrival_order(void **state)
{
    (void)state;
    const uint32_t ready[] = {0, 1, 2, 100};
    for (int reverse = 0; reverse <= 1; reverse++) {
        for (size_t i = 0; i < sizeof ready / sizeof *ready; i++) {
            source = (struct expert_set){.n_ready = ready[i], .reverse = reverse};
            struct seen seen = {0};
            assert_int_equal(run(&seen, 0), OK);
            check_rows(&seen, 0);
            assert_int_equal(source.n_open, 0);
            assert_true(source.closed);
            assert_int_equal(views_max, ready[i] >= N_EXPERT ? N_EXPERT : ready[i] + 1);
            assert_int_equal(n_calls, (N_EXPERT + views_max - 1) / views_max);
        }
    }
}

static void test_only_wanted_rows(void **state)
{
    (void)state;
    const uint32_t from[] = {0, 1, N_ROW - 33, N_ROW - 1, N_ROW};
    for (size_t i = 0; i < sizeof from / sizeof *from; i++) {
        source = (struct expert_set){.n_ready = 100};
        struct seen seen = {0};
        assert_int_equal(run(&seen, from[i]), OK);
        check_rows(&seen, from[i]);
    }
}

struct seen_runs {
    uint32_t i_run[N_ROW], pos[N_ROW], n;
    float value[N_ROW];
};

static enum err on_run_row(void *ctx, uint32_t i_run, uint32_t pos, const float *logits)
{
    struct seen_runs *s = ctx;
    s->i_run[s->n] = i_run;
    s->pos[s->n] = pos;
    s->value[s->n++] = logits[0];
    return OK;
}

static void test_several_runs(void **state)
{
    (void)state;
    source = (struct expert_set){.n_ready = 100};
    uint32_t token[N_ROW];
    for (uint32_t i = 0; i < N_ROW; i++) token[i] = i * 7 % N_VOCAB;
    const struct step_run run[] = {{.seq = 4, .pos0 = 9, .n_tok = 1},
                                   {.seq = 1, .pos0 = 20, .n_tok = 5, .out_from = 5},
                                   {.seq = 0, .n_tok = N_ROW - 6, .out_from = 1}};
    struct seen_runs seen = {0};
    struct exec *x;
    assert_int_equal(exec_open(&x, graph, &backend, &ports, N_ROW), OK);
    const struct step step = {
        .token = token, .run = run, .n_run = 3, .on_row = on_run_row, .ctx = &seen};
    assert_int_equal(exec_step(x, &step), OK);
    exec_close(x);
    assert_int_equal(seen.n, 1 + N_ROW - 7);
    assert_int_equal(seen.i_run[0], 0);
    assert_int_equal(seen.pos[0], 9);
    assert_float_equal(seen.value[0], expected(0), 1e-4);
    for (uint32_t i = 1; i < seen.n; i++) { /* row 6 of the step is the first of run 2 */
        assert_int_equal(seen.i_run[i], 2);
        assert_int_equal(seen.pos[i], i);
        assert_float_equal(seen.value[i], expected(6 + i), 1e-4);
    }
}

static void test_source_fails(void **state)
{
    (void)state;
    for (uint32_t at = 1; at <= N_EXPERT; at++) {
        source = (struct expert_set){.n_ready = 1, .fail_at = at};
        struct seen seen = {0};
        assert_int_equal(run(&seen, 0), ERR_RUN);
        assert_string_equal(err_msg(), "the disk is on fire");
        assert_int_equal(seen.n, 0);
        assert_int_equal(source.n_open, 0);
        assert_true(source.closed);
    }
}

static void test_backend_fails(void **state)
{
    (void)state;
    source = (struct expert_set){.n_ready = 2};
    experts_result = ERR_MEMORY;
    struct seen seen = {0};
    assert_int_equal(run(&seen, 0), ERR_MEMORY);
    experts_result = OK;
    assert_int_equal(source.n_open, 0);
    assert_true(source.closed);
}

static void test_interrupt(void **state)
{
    (void)state;
    os_init();
    interrupt_embed = true;
    struct seen seen = {0};
    source = (struct expert_set){.n_ready = 100};
    assert_int_equal(run(&seen, 0), ERR_INTR);
    assert_int_equal(n_calls, 0); /* the experts were not reached */
    assert_int_equal(seen.n, 0);
    os_interrupt_clear();
    assert_int_equal(run_n(&seen, 0, 1), OK); /* one token is finished */
    assert_int_equal(seen.n, 1);
    os_interrupt_clear();
    interrupt_embed = false;
    interrupt_experts = true;
    seen.n = 0;
    source = (struct expert_set){.n_ready = 1};
    assert_int_equal(run(&seen, 0), ERR_INTR);
    assert_int_equal(n_calls, 1); /* the other experts were not waited for */
    assert_int_equal(source.n_open, 0);
    assert_true(source.closed);
    os_interrupt_clear();
    interrupt_experts = false;
}

/* Where an expert has many rows, a call takes few experts: nobody waits long for its end. */
static void test_large_calls_are_cut(void **state)
{
    (void)state;
    static uint32_t token[N_MANY];
    for (uint32_t i = 0; i < N_MANY; i++) token[i] = i % N_EXPERT;
    struct exec *x;
    struct seen seen = {0};
    assert_int_equal(exec_open(&x, graph, &backend, &ports, N_MANY), OK);
    const struct step_run one = {.n_tok = N_MANY, .out_from = N_MANY - 1};
    const struct step step = {
        .token = token, .run = &one, .n_run = 1, .on_row = on_row, .ctx = &seen};
    source = (struct expert_set){.n_ready = 100};
    n_calls = views_max = 0;
    assert_int_equal(exec_step(x, &step), OK);
    exec_close(x);
    assert_int_equal(seen.n, 1);
    assert_int_equal(views_max, 3); /* of 200 pairs each */
    assert_int_equal(n_calls, 2);
}

static void test_row_callback_stops(void **state)
{
    (void)state;
    source = (struct expert_set){.n_ready = 100};
    struct seen seen = {.stop_at = 5};
    assert_int_equal(run(&seen, 0), ERR_INTR);
    assert_int_equal(seen.n, 4);
}

/* A model of one layer of attention, with a window or without. */
static struct graph *attn_graph(uint32_t window)
{
    const struct tensor embed = matrix(N_EMBD, N_VOCAB, 1);
    const struct kv_shape shape = {.n_head_kv = 1, .dim_k = N_EMBD, .dim_v = N_EMBD};
    const struct gattn spec = {
        .n_head = 1, .n_head_kv = 1, .dim_k = N_EMBD, .dim_v = N_EMBD, .window = window};
    struct graph *g;
    assert_int_equal(graph_new(&g, 1), OK);
    g->layer = 0;
    struct gval x = g_embed(g, &embed, 1.0f);
    g_kv(g, x, x, &shape);
    x = g_out_rows(g, g_attn(g, x, &spec));
    assert_int_equal(graph_finish(g, g_mul(g, &embed, x, NULL)), OK);
    ports.kv = (struct kv_src){.append = kv_append,
                               .iter = kv_iter,
                               .next = kv_next,
                               .release = kv_release,
                               .done = kv_done};
    return g;
}

static const struct step_run attn_runs[] = {
    {.seq = 4, .pos0 = 300, .n_tok = 1, .out_from = 1},
    {.seq = 1, .pos0 = 40 * KV_SPAN - 1, .n_tok = 3, .out_from = 3},
    {.seq = 2, .pos0 = 0, .n_tok = 2, .out_from = 2},
    {.seq = 0, .pos0 = 70 * KV_SPAN, .n_tok = 1, .out_from = 1}};

static enum err attend(uint32_t window, uint32_t room)
{
    static const uint32_t token[7];
    struct graph *g = attn_graph(window);
    struct exec *x;
    const struct step step = {.token = token, .run = attn_runs, .n_run = 4, .on_row = on_row};
    cache.room = room;
    cache.n_lent = cache.n_open = cache.n_next = cache.lent_max = cache.n_call = cache.n_seen = 0;
    assert_int_equal(exec_open(&x, g, &backend, &ports, 7), OK);
    const enum err e = exec_step(x, &step);
    exec_close(x);
    graph_free(g);
    assert_int_equal(cache.n_lent, 0);
    assert_int_equal(cache.n_open, 0);
    return e;
}

/* Spans of all timelines in one call, or as many as the cache has room for; in order. */
static void test_spans(void **state)
{
    (void)state;
    const uint32_t rooms[] = {1, 3, KV_SPANS_MAX, 1000}, windows[] = {0, 5, KV_SPAN + 1};
    for (size_t i = 0; i < 12; i++) {
        const uint32_t window = windows[i % 3], room = rooms[i / 3];
        cache.fail_at = 0;
        assert_int_equal(attend(window, room), OK);
        uint32_t n = 0;
        for (size_t r = 0; r < 4; r++) {
            const uint32_t pos0 = attn_runs[r].pos0, end = pos0 + attn_runs[r].n_tok;
            const uint32_t begin = window && pos0 >= window ? pos0 - window + 1 : 0;
            for (uint32_t p = begin / KV_SPAN * KV_SPAN; p < end; p += KV_SPAN, n++) {
                assert_int_equal(cache.seq[n], attn_runs[r].seq);
                assert_int_equal(cache.pos0[n], p);
            }
        }
        const uint32_t most = room < KV_SPANS_MAX ? room : KV_SPANS_MAX;
        assert_int_equal(cache.n_seen, n);
        assert_int_equal(cache.lent_max, n < most ? n : most);
        assert_int_equal(cache.n_call, (n + most - 1) / most);
    }
}

static void test_spans_fail(void **state)
{
    (void)state;
    for (cache.fail_at = 1; cache.fail_at <= 50; cache.fail_at++) {
        assert_int_equal(attend(0, 7), ERR_RUN);
        assert_string_equal(err_msg(), "the disk is on fire");
    }
    cache.fail_at = 0;
    cache.result = ERR_MEMORY;
    assert_int_equal(attend(0, 7), ERR_MEMORY);
    assert_int_equal(cache.n_call, 1);
    cache.result = OK;
}

static void test_no_memory(void **state)
{
    (void)state;
    const size_t before = mem_used_total();
    for (uint64_t n = 1; n < 100; n++) {
        struct exec *x;
        mem_fail_at(n);
        const enum err e = exec_open(&x, graph, &backend, &ports, N_ROW);
        mem_fail_at(0);
        exec_close(x);
        assert_int_equal(mem_used_total(), before);
        if (e == OK) {
            assert_true(n > 5); /* it did allocate */
            return;
        }
        assert_int_equal(e, ERR_MEMORY);
    }
    fail_msg("exec_open never succeeded");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_arrival_order),       cmocka_unit_test(test_only_wanted_rows),
        cmocka_unit_test(test_several_runs),        cmocka_unit_test(test_source_fails),
        cmocka_unit_test(test_backend_fails),       cmocka_unit_test(test_row_callback_stops),
        cmocka_unit_test(test_no_memory),           cmocka_unit_test(test_interrupt),
        cmocka_unit_test(test_large_calls_are_cut), cmocka_unit_test(test_spans),
        cmocka_unit_test(test_spans_fail),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, setup, teardown);
}
