/*
 * test_gen.c: one answer: what ends it and what comes out then: end of generation, stop strings
 * over token borders, length, a full context with and without shifting, interrupts, a reader that
 * has had enough; held-back bytes are never lost and never shown too early.
 *
 * The model is the embedded demo; a logit bias makes it write what a test needs.
 */
#include "base/err.h"
#include "base/mem.h"
#include "base/os.h"
#include "gen.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

enum { N_CTX = 96, TEXT = 8192 };

static struct engine *engine;
static uint32_t *prompt; /* "Once upon a time" */
static size_t n_prompt;

struct got {
    char text[TEXT];
    size_t n;
    uint32_t n_calls, stop_at_call, interrupt_at_call;
};

static enum err on_text(void *ctx, const char *text, size_t n)
{
    struct got *const g = ctx;
    assert_true(n >= 1);
    assert_true(n < TEXT - g->n);
    memcpy(g->text + g->n, text, n);
    g->n += n;
    g->n_calls++;
    if (g->n_calls == g->interrupt_at_call) raise(SIGINT);
    return g->n_calls == g->stop_at_call ? ERR_END : OK;
}

static struct gen_opts greedy(void)
{
    struct gen_opts o = {.sample = SAMPLE_DEFAULTS, .n_max = 60};
    o.sample.temp = 0;
    return o;
}

static struct session *open_session(uint32_t n_ctx)
{
    struct session *s;
    assert_int_equal(session_new(&s, engine, &(struct session_opts){.n_ctx = n_ctx}), OK);
    return s;
}

/* The answer on a session of its own; *finish and *n_tokens may be NULL. */
static enum err answer(const struct gen_opts *o, uint32_t n_ctx, struct got *got,
                       enum gen_finish *finish, uint32_t *n_tokens)
{
    struct session *s = open_session(n_ctx);
    struct gen *g;
    assert_int_equal(gen_open(&g, engine, o, prompt, n_prompt), OK);
    assert_true(gen_first_ns(g) == 0);
    const enum err err = gen_answer(g, s, on_text, got);
    if (finish) *finish = gen_finish(g);
    if (n_tokens) *n_tokens = gen_n_tokens(g);
    if (got->n) assert_true(gen_first_ns(g) > 0);
    gen_close(g);
    session_free(s);
    return err;
}

static void test_length(void **state)
{
    (void)state;
    struct got all = {0}, some = {0}, none = {0};
    enum gen_finish finish;
    uint32_t n;
    struct gen_opts o = greedy();
    assert_int_equal(answer(&o, N_CTX, &all, &finish, &n), OK);
    assert_int_equal(finish, GEN_LENGTH);
    assert_int_equal(n, 60);
    o.n_max = 7;
    assert_int_equal(answer(&o, N_CTX, &some, &finish, &n), OK);
    assert_int_equal(finish, GEN_LENGTH);
    assert_int_equal(n, 7);
    assert_true(some.n > 0 && some.n < all.n);
    assert_memory_equal(some.text, all.text, some.n);
    o.n_max = 0;
    assert_int_equal(answer(&o, N_CTX, &none, &finish, &n), OK);
    assert_int_equal(finish, GEN_LENGTH);
    assert_int_equal(none.n, 0);
}

/* Every piece of the text is a stop string in turn: the answer ends before its first place. */
static void test_stop_strings(void **state)
{
    (void)state;
    struct got all = {0};
    struct gen_opts o = greedy();
    assert_int_equal(answer(&o, N_CTX, &all, NULL, NULL), OK);
    for (size_t at = 0; at + 9 < all.n; at += 7) {
        char stop[10];
        memcpy(stop, all.text + at, 9);
        stop[9] = '\0';
        if (strlen(stop) < 9 || ((unsigned char)stop[0] & 0xc0) == 0x80) continue;
        const char *const stops[] = {"never said", stop};
        struct got got = {0};
        enum gen_finish finish;
        o.stop = stops;
        o.n_stop = 2;
        assert_int_equal(answer(&o, N_CTX, &got, &finish, NULL), OK);
        all.text[all.n] = '\0';
        assert_int_equal(finish, GEN_STOP);
        assert_int_equal(got.n, strstr(all.text, stop) - all.text);
        assert_memory_equal(got.text, all.text, got.n);
    }
}

/* A stop string that began but did not come whole is text after all. */
static void test_held_back(void **state)
{
    (void)state;
    struct got all = {0}, got = {0};
    struct gen_opts o = greedy();
    assert_int_equal(answer(&o, N_CTX, &all, NULL, NULL), OK);
    char stop[64];
    assert_true(all.n > 40);
    memcpy(stop, all.text + all.n - 40, 40);
    memcpy(stop + 40, " and no more", 13);
    const char *const stops[] = {stop};
    o.stop = stops;
    o.n_stop = 1;
    enum gen_finish finish;
    assert_int_equal(answer(&o, N_CTX, &got, &finish, NULL), OK);
    assert_int_equal(finish, GEN_LENGTH);
    assert_int_equal(got.n, all.n);
    assert_memory_equal(got.text, all.text, got.n);
}

static void test_end_of_generation(void **state)
{
    (void)state;
    uint32_t eog = 0;
    while (!engine_is_eog(engine, eog)) eog++;
    const struct sample_bias bias = {.id = eog, .add = 1e6f};
    struct gen_opts o = greedy();
    o.sample.bias = &bias;
    o.sample.n_bias = 1;
    struct got got = {0};
    enum gen_finish finish;
    uint32_t n;
    assert_int_equal(answer(&o, N_CTX, &got, &finish, &n), OK);
    assert_int_equal(finish, GEN_STOP);
    assert_int_equal(n, 0);
    assert_int_equal(got.n, 0);
}

static void test_full_context(void **state)
{
    (void)state;
    struct got all = {0}, full = {0}, shifted = {0};
    enum gen_finish finish;
    uint32_t n;
    struct gen_opts o = greedy();
    assert_int_equal(answer(&o, N_CTX, &all, NULL, NULL), OK);
    const uint32_t n_ctx = (uint32_t)n_prompt + 20;
    assert_int_equal(answer(&o, n_ctx, &full, &finish, &n), OK);
    assert_int_equal(finish, GEN_CONTEXT);
    assert_int_equal(n, 21); /* the last one was picked, but there is no place to run it */
    assert_memory_equal(full.text, all.text, full.n);
    o.shift = true;
    o.n_keep = 2;
    assert_int_equal(answer(&o, n_ctx, &shifted, &finish, &n), OK);
    assert_int_equal(finish, GEN_LENGTH);
    assert_int_equal(n, 60);
    assert_true(shifted.n > full.n);
    assert_memory_equal(shifted.text, full.text, full.n);
    o.n_keep = UINT32_MAX; /* more than there is: one token goes at a time */
    struct got slow = {0};
    assert_int_equal(answer(&o, n_ctx, &slow, &finish, &n), OK);
    assert_int_equal(n, 60);
    struct got tiny = {0};
    uint32_t *const whole = prompt;
    const size_t n_whole = n_prompt;
    n_prompt = 1;
    o.n_keep = 0;
    assert_int_equal(answer(&o, 1, &tiny, &finish, &n), OK); /* a context of one token */
    assert_int_equal(n, 60);
    prompt = whole;
    n_prompt = n_whole;
}

static void test_interrupt(void **state)
{
    (void)state;
    os_init();
    struct got all = {0}, got = {.interrupt_at_call = 9};
    struct gen_opts o = greedy();
    enum gen_finish finish;
    assert_int_equal(answer(&o, N_CTX, &all, NULL, NULL), OK);
    assert_int_equal(answer(&o, N_CTX, &got, &finish, NULL), ERR_INTR);
    os_interrupt_clear();
    assert_int_equal(finish, GEN_CANCELLED);
    assert_true(got.n > 0 && got.n < all.n);
    assert_memory_equal(got.text, all.text, got.n);
    struct got reader = {.stop_at_call = 5};
    assert_int_equal(answer(&o, N_CTX, &reader, &finish, NULL), ERR_END);
    assert_int_equal(reader.n_calls, 5);
}

static void test_names(void **state)
{
    (void)state;
    assert_string_equal(gen_finish_name(GEN_GOING), "");
    assert_string_equal(gen_finish_name(GEN_STOP), "stop");
    assert_string_equal(gen_finish_name(GEN_LENGTH), "length");
    assert_string_equal(gen_finish_name(GEN_CONTEXT), "context");
    assert_string_equal(gen_finish_name(GEN_CANCELLED), "cancelled");
}

static void test_no_memory(void **state)
{
    (void)state;
    const size_t before = mem_used_total();
    const char *const stops[] = {"end"};
    struct gen_opts o = greedy();
    o.stop = stops;
    o.n_stop = 1;
    enum err err = ERR_MEMORY;
    uint64_t n = 1;
    for (; err == ERR_MEMORY && n < 50; n++) {
        struct gen *g = NULL;
        mem_fail_at(n);
        err = gen_open(&g, engine, &o, prompt, n_prompt);
        mem_fail_at(0);
        assert_true((err == OK) == (g != NULL));
        gen_close(g);
        assert_int_equal(mem_used_total(), before);
    }
    assert_int_equal(err, OK);
    assert_true(n > 4);
}

static int setup(void **state)
{
    (void)state;
    static const char text[] = "Once upon a time";
    if (engine_open(&engine, &(struct engine_opts){.n_thread = 2})) return -1;
    return engine_tokenize(engine, text, strlen(text), ENGINE_TOK_BOS, &prompt, &n_prompt) ? -1 : 0;
}

static int teardown(void **state)
{
    (void)state;
    engine_free(prompt);
    engine_close(engine);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_length),       cmocka_unit_test(test_stop_strings),
        cmocka_unit_test(test_held_back),    cmocka_unit_test(test_end_of_generation),
        cmocka_unit_test(test_full_context), cmocka_unit_test(test_interrupt),
        cmocka_unit_test(test_names),        cmocka_unit_test(test_no_memory),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, setup, teardown);
}
