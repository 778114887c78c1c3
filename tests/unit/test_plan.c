/*
 * test_plan.c: the memory plan of a graph: buffers that live at the same time never share memory,
 * buffers whose lives do not overlap do, and a failed builder call is reported once, with its
 * cause.
 */
#include "base/err.h"
#include "graph/graph.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static const float vec64[64];

static struct tensor matrix(const char *name, uint64_t n_in, uint64_t n_out)
{
    return (struct tensor){.name = name,
                           .data = vec64,
                           .type = DT_F32,
                           .n_dims = 2,
                           .ne = {n_in, n_out, 1, 1},
                           .row_bytes = n_in * 4,
                           .plane_bytes = n_in * n_out * 4};
}

/* A decoder of n_layer feed-forward layers; w: d to ff and ff to d. */
static struct graph *small_graph(uint32_t n_layer)
{
    const struct tensor embed = matrix("token_embd", 20, 100), up = matrix("up", 20, 48),
                        down = matrix("down", 48, 20);
    struct graph *g;
    assert_int_equal(graph_new(&g, n_layer), OK);
    struct gval x = g_embed(g, &embed, 1.0f);
    for (uint32_t il = 0; il < n_layer; il++) {
        g->layer = il;
        const struct gval h = g_rmsnorm(g, x, vec64, NULL, 20, 1e-5f);
        const struct gval a = g_act(g, GACT_SILU, g_mul(g, &up, h, NULL));
        x = g_add(g, x, g_mul(g, &down, a, NULL));
    }
    g->layer = GLAYER_NONE;
    x = g_out_rows(g, x);
    assert_int_equal(graph_finish(g, g_mul(g, &embed, x, NULL)), OK);
    return g;
}

static int lives_overlap(const struct gbuf *a, const struct gbuf *b)
{
    return a->first_op <= b->last_op && b->first_op <= a->last_op;
}

static int memory_overlaps(const struct gbuf *a, const struct gbuf *b)
{
    return a->offset < b->offset + gbuf_stride(b) && b->offset < a->offset + gbuf_stride(a);
}

static void test_no_overlap(void **state)
{
    (void)state;
    struct graph *g = small_graph(7);
    uint32_t n_shared = 0;
    for (uint32_t i = 0; i < g->n_buf; i++) {
        const struct gbuf *a = &g->buf[i];
        assert_true(a->offset + gbuf_stride(a) <= (a->n_out_rows ? g->out_floats : g->row_floats));
        for (uint32_t j = 0; j < i; j++) {
            const struct gbuf *b = &g->buf[j];
            if (a->n_out_rows != b->n_out_rows || !memory_overlaps(a, b)) continue;
            assert_false(lives_overlap(a, b));
            n_shared++;
        }
    }
    assert_true(n_shared > 0);
    graph_free(g);
}

static void test_size_independent_of_depth(void **state)
{
    (void)state;
    struct graph *shallow = small_graph(2), *deep = small_graph(40);
    assert_int_equal(shallow->row_floats, deep->row_floats);
    graph_free(shallow);
    graph_free(deep);
}

static void test_logits_in_out_region(void **state)
{
    (void)state;
    struct graph *g = small_graph(1);
    assert_true(g->buf[g->logits.buf].n_out_rows);
    assert_int_equal(g->out_floats,
                     32 + 112); /* 20 and 100 columns, rounded up to 16, live together */
    graph_free(g);
}

static void test_first_failure_wins(void **state)
{
    (void)state;
    const struct tensor embed = matrix("token_embd", 20, 100),
                        wrong = matrix("blk.0.wrong", 21, 48);
    struct graph *g;
    assert_int_equal(graph_new(&g, 1), OK);
    struct gval x = g_embed(g, &embed, 1.0f);
    g->layer = 0;
    struct gval y = g_mul(g, &wrong, x, NULL);
    assert_int_equal(y.buf, -1);
    y = g_add(g, y, x); /* on a failed value: nothing happens */
    g_rope(g, y, 0, 0, 0, GROPE_NORM);
    y = g_cols(g, y, 5, 1000);
    assert_int_equal(graph_finish(g, y), ERR_INPUT);
    assert_non_null(strstr(err_msg(), "blk.0.wrong"));
    assert_non_null(strstr(err_msg(), "21"));
    graph_free(g);
}

static void test_rope_tables_are_shared(void **state)
{
    (void)state;
    struct graph *g;
    assert_int_equal(graph_new(&g, 1), OK);
    const float a[2] = {1.0f, 0.5f}, b[2] = {1.0f, 0.25f};
    assert_int_equal(g_rope_table(g, 4, a, 1.0f), 0);
    assert_int_equal(g_rope_table(g, 4, b, 1.0f), 1);
    assert_int_equal(g_rope_table(g, 4, a, 1.0f), 0);
    assert_int_equal(g_rope_table(g, 4, a, 1.5f), 2);
    graph_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_overlap),
        cmocka_unit_test(test_size_independent_of_depth),
        cmocka_unit_test(test_logits_in_out_region),
        cmocka_unit_test(test_first_failure_wins),
        cmocka_unit_test(test_rope_tables_are_shared),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
