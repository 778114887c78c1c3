/*
 * test_crew.c: answers written together equal those written alone, whatever the number of seats,
 * the order of arrival, shared prefixes and cancelled neighbours; what prefixes save; failures of
 * one job that leave the others alone.
 *
 * Models: the embedded demo and golden ones with recurrent state, written from their seeds.
 */
#include "base/err.h"
#include "base/mem.h"
#include "base/os.h"
#include "crew.h"
#include "tests/golden/seed_model.h"
#include "tests/unit/poke.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum {
    DEMO,
    QWEN3NEXT,
    QWEN3NEXT_Q8,
    LFM2MOE,
    N_MODEL,
    N_JOB = 12,
    N_CTX = 160,
    PREFIX = 70,
    TEXT = 4096
};
static const char *const cases[N_MODEL] = {[QWEN3NEXT] = "tests/golden/qwen3next",
                                           [QWEN3NEXT_Q8] = "tests/golden/qwen3next",
                                           [LFM2MOE] = "tests/golden/lfm2moe"};
static char dir[] = "/tmp/moxie-crew-XXXXXX";
static char models[N_MODEL][64];
static char bad_path[64];

struct got {
    char text[TEXT];
    size_t n;
    struct crew_result r;
    char message[256];
    int n_done;
};

static struct session_opts small = {.n_ctx = N_CTX, .n_batch = 16};

static struct engine *open_engine(int model)
{
    struct engine *e = NULL;
    const char *const path = model == DEMO ? NULL : models[model];
    if (engine_open(&e, &(struct engine_opts){.path = path, .n_thread = 2}))
        fail_msg("%s", err_msg());
    small.type_k = small.type_v = model == QWEN3NEXT_Q8 ? KV_Q8_0 : KV_F16;
    return e;
}

/* Half of the jobs share a prefix; lengths and options differ. */
static struct crew_job make_job(const struct engine *e, uint32_t i, uint32_t *ids)
{
    const uint32_t n = i % 2 ? PREFIX + 5 + i : 3 + 7 * i;
    uint32_t seed = 77;
    for (uint32_t k = 0; k < n; k++) {
        if (k == (i % 2 ? PREFIX : 0)) seed = 1000 + i;
        seed = seed * 1664525u + 1013904223u;
        ids[k] = (seed >> 8) % engine_info(e)->n_vocab;
    }
    struct crew_job job = {.ids = ids, .n_ids = n, .tag = i};
    job.gen.sample = SAMPLE_DEFAULTS;
    job.gen.sample.seed = i;
    job.gen.sample.temp = i % 3 ? 0.8f : 0;
    job.gen.n_max = i == 4 ? UINT32_MAX : 10 + i;
    return job;
}

static void on_text(void *ctx, uint64_t tag, const char *text, size_t n)
{
    struct got *const g = (struct got *)ctx + tag;
    assert_true(n > 0);
    assert_true(n < TEXT - g->n);
    memcpy(g->text + g->n, text, n);
    g->n += n;
}

static void on_done(void *ctx, const struct crew_result *r)
{
    struct got *const g = (struct got *)ctx + r->tag;
    g->r = *r;
    (void)snprintf(g->message, sizeof g->message, "%s", r->message);
    g->n_done++;
}

static struct crew *open_crew(struct engine *e, uint32_t n_seat, struct got *got)
{
    struct crew *c = NULL;
    const struct crew_opts o = {
        .session = small, .n_seat = n_seat, .on_text = on_text, .on_done = on_done, .ctx = got};
    if (crew_open(&c, e, &o)) fail_msg("%s", err_msg());
    return c;
}

static void run_all(struct engine *e, uint32_t n_seat, struct got *got, struct crew_stats *stats)
{
    memset(got, 0, N_JOB * sizeof *got);
    struct crew *c = open_crew(e, n_seat, got);
    assert_int_equal(crew_n_seat(c), n_seat);
    uint32_t next = 0, ids[N_CTX];
    while (next < N_JOB || crew_n_busy(c)) {
        while (next < N_JOB && crew_n_free(c)) {
            const struct crew_job job = make_job(e, next++, ids);
            assert_int_equal(crew_add(c, &job), OK);
        }
        assert_int_equal(crew_turn(c), OK);
    }
    *stats = crew_stats(c);
    crew_close(c);
}

/* What gen_answer() writes on a session of its own. */
static enum err to_got(void *ctx, const char *text, size_t n)
{
    on_text(ctx, 0, text, n);
    return OK;
}

static void run_alone(struct engine *e, uint32_t i, struct got *got)
{
    uint32_t ids[N_CTX];
    const struct crew_job job = make_job(e, i, ids);
    struct session *s;
    struct gen *g;
    assert_int_equal(session_new(&s, e, &small), OK);
    assert_int_equal(gen_open(&g, e, &job.gen, ids, job.n_ids), OK);
    assert_int_equal(gen_answer(g, s, to_got, got), OK);
    got->r.finish = gen_finish(g);
    got->r.n_completion = gen_n_tokens(g);
    gen_close(g);
    session_free(s);
}

static void test_same_as_alone(void **state)
{
    (void)state;
    static struct got alone[N_JOB], got[N_JOB];
    for (int m = 0; m < N_MODEL; m++) {
        struct engine *e = open_engine(m);
        memset(alone, 0, sizeof alone);
        for (uint32_t i = 0; i < N_JOB; i++) run_alone(e, i, &alone[i]);
        if (m == DEMO) { /* the others may find an end by chance */
            assert_int_equal(alone[4].r.finish, GEN_CONTEXT);
            assert_int_equal(alone[3].r.finish, GEN_LENGTH);
        }
        const uint32_t seats[] = {1, 2, 5, N_JOB};
        for (size_t k = 0; k < sizeof seats / sizeof *seats; k++) {
            struct crew_stats stats;
            run_all(e, seats[k], got, &stats);
            for (uint32_t i = 0; i < N_JOB; i++) {
                assert_int_equal(got[i].n_done, 1);
                assert_int_equal(got[i].r.err, OK);
                assert_int_equal(got[i].r.finish, alone[i].r.finish);
                assert_int_equal(got[i].r.n_completion, alone[i].r.n_completion);
                assert_int_equal(got[i].n, alone[i].n);
                assert_memory_equal(got[i].text, alone[i].text, alone[i].n);
            }
            /* The first with the prefix pays for it; a recurrent model may have to pay twice, until
             * it knows where the prompts part. */
            assert_true(stats.n_cached >= (N_JOB / 2 - (m == DEMO ? 1 : 2)) * PREFIX);
        }
        engine_close(e);
    }
}

static void test_cancel(void **state)
{
    (void)state;
    static struct got alone[N_JOB], got[N_JOB];
    struct engine *e = open_engine(DEMO);
    memset(alone, 0, sizeof alone);
    memset(got, 0, sizeof got);
    run_alone(e, 1, &alone[1]);
    run_alone(e, 4, &alone[4]);
    struct crew *c = open_crew(e, 3, got);
    uint32_t ids[N_CTX];
    struct crew_job job = make_job(e, 1, ids);
    assert_int_equal(crew_add(c, &job), OK);
    job = make_job(e, 4, ids);
    assert_int_equal(crew_add(c, &job), OK);
    job = make_job(e, 7, ids);
    assert_int_equal(crew_add(c, &job), OK);
    assert_int_equal(crew_add(c, &job), ERR_AGAIN);
    for (int i = 0; i < 14; i++) assert_int_equal(crew_turn(c), OK);
    assert_true(got[4].n > 0);
    crew_cancel(c, 4);
    crew_cancel(c, 4);
    crew_cancel(c, 99);
    assert_int_equal(got[4].n_done, 1);
    assert_true(got[4].r.cancelled);
    assert_memory_equal(got[4].text, alone[4].text, got[4].n); /* what came is right */
    assert_int_equal(crew_n_free(c), 1);
    assert_true(got[7].n > 0);
    crew_cancel(c, 7);
    assert_true(got[7].r.cancelled);
    job = make_job(e, 9, ids);
    assert_int_equal(crew_add(c, &job), OK);
    crew_cancel(c, 9); /* it has not begun */
    assert_true(got[9].r.cancelled);
    assert_int_equal(got[9].r.n_completion, 0);
    assert_int_equal(got[9].n, 0);
    while (crew_n_busy(c)) assert_int_equal(crew_turn(c), OK);
    assert_false(got[1].r.cancelled);
    assert_int_equal(got[1].n, alone[1].n);
    assert_memory_equal(got[1].text, alone[1].text, got[1].n);
    crew_close(c);
    engine_close(e);
}

/* Callbacks that cancel their own job and add the next one, and fail at something of their own. */
struct relay {
    struct crew *c;
    struct engine *e;
    struct got got[N_JOB];
    uint32_t next;
};

static void relay_text(void *ctx, uint64_t tag, const char *text, size_t n)
{
    struct relay *const r = ctx;
    on_text(r->got, tag, text, n);
    if (tag % 4 == 2) crew_cancel(r->c, tag);
}

static void relay_done(void *ctx, const struct crew_result *result)
{
    struct relay *const r = ctx;
    (void)err_set(ERR_USAGE, "something else");
    on_done(r->got, result);
    if (r->next == N_JOB) return;
    uint32_t ids[N_CTX];
    const struct crew_job job = make_job(r->e, r->next++, ids);
    assert_int_equal(crew_add(r->c, &job), OK);
}

static void test_callbacks(void **state)
{
    (void)state;
    static struct got alone[N_JOB];
    static struct relay r;
    memset(&r, 0, sizeof r);
    r.e = open_engine(DEMO);
    for (uint32_t i = 0; i < N_JOB; i++) run_alone(r.e, i, &alone[i]);
    const struct crew_opts o = {
        .session = small, .n_seat = 3, .on_text = relay_text, .on_done = relay_done, .ctx = &r};
    assert_int_equal(crew_open(&r.c, r.e, &o), OK);
    uint32_t ids[N_CTX];
    while (crew_n_free(r.c)) {
        const struct crew_job job = make_job(r.e, r.next++, ids);
        assert_int_equal(crew_add(r.c, &job), OK);
    }
    while (crew_n_busy(r.c)) assert_int_equal(crew_turn(r.c), OK);
    for (uint32_t i = 0; i < N_JOB; i++) {
        assert_int_equal(r.got[i].n_done, 1);
        assert_int_equal(r.got[i].r.cancelled, i % 4 == 2);
        assert_true(r.got[i].n > 0);
        assert_memory_equal(r.got[i].text, alone[i].text, r.got[i].n);
        if (i % 4 != 2) assert_int_equal(r.got[i].n, alone[i].n);
    }
    crew_close(r.c);
    engine_close(r.e);
}

static void test_seats(void **state)
{
    (void)state;
    const uint64_t gb = 1u << 30;
    assert_int_equal(crew_seats_for(0, gb), 1);
    assert_int_equal(crew_seats_for(4 * gb, gb), 1);
    assert_int_equal(crew_seats_for(9 * gb, gb), 1); /* two timelines are one job and the spare */
    assert_int_equal(crew_seats_for(13 * gb, gb), 2);
    assert_int_equal(crew_seats_for(1000 * gb, gb), 8);
    assert_int_equal(crew_seats_for(UINT64_MAX, 0), 8);
    static struct got got[N_JOB];
    struct engine *e = open_engine(DEMO);
    struct crew *c = open_crew(e, 0, got);
    assert_in_range(crew_n_seat(c), 1, 8);
    crew_close(c);
    engine_close(e);
}

static void test_refused(void **state)
{
    (void)state;
    static struct got got[N_JOB];
    struct engine *e = open_engine(DEMO);
    struct crew *c = open_crew(e, 2, got);
    uint32_t ids[N_CTX + 1];
    struct crew_job job = make_job(e, 2, ids);
    memset(ids, 0, sizeof ids);
    job.n_ids = N_CTX + 1;
    assert_int_equal(crew_add(c, &job), ERR_USAGE);
    assert_non_null(strstr(err_msg(), "161 tokens"));
    job.n_ids = 3;
    ids[2] = engine_info(e)->n_vocab;
    assert_int_equal(crew_add(c, &job), ERR_INPUT);
    ids[2] = 1;
    job.gen.sample.top_p = 2;
    assert_int_equal(crew_add(c, &job), ERR_USAGE);
    assert_int_equal(crew_n_busy(c), 0);
    job.gen.sample.top_p = 1;
    job.gen.n_max = 0; /* nothing is to be written */
    assert_int_equal(crew_add(c, &job), OK);
    while (crew_n_busy(c)) assert_int_equal(crew_turn(c), OK);
    assert_int_equal(got[2].r.finish, GEN_LENGTH);
    assert_int_equal(got[2].n, 0);
    crew_close(c);
    assert_int_equal(crew_open(&c, e, &(struct crew_opts){.n_seat = 100000, .on_done = on_done}),
                     ERR_USAGE);
    engine_close(e);
}

static void test_interrupt(void **state)
{
    (void)state;
    os_init();
    static struct got alone[N_JOB], got[N_JOB];
    struct engine *e = open_engine(LFM2MOE);
    memset(alone, 0, sizeof alone);
    memset(got, 0, sizeof got);
    run_alone(e, 3, &alone[3]);
    struct crew *c = open_crew(e, 2, got);
    uint32_t ids[N_CTX];
    const struct crew_job job = make_job(e, 3, ids);
    assert_int_equal(crew_add(c, &job), OK);
    for (int i = 0; i < 8; i++) assert_int_equal(crew_turn(c), OK);
    raise(SIGINT);
    assert_int_equal(crew_turn(c), ERR_INTR);
    os_interrupt_clear();
    while (crew_n_busy(c)) assert_int_equal(crew_turn(c), OK); /* and on, as if nothing had been */
    assert_int_equal(got[3].n, alone[3].n);
    assert_memory_equal(got[3].text, alone[3].text, got[3].n);
    crew_close(c);
    engine_close(e);
}

/* Token BAD makes the logits NaN: the job that meets it fails, wherever it is, the others go on. */
static void test_one_fails(void **state)
{
    (void)state;
    enum { BAD = 17 };
    static struct got alone[N_JOB], got[N_JOB];
    struct engine *e = open_engine(QWEN3NEXT);
    const uint32_t n_embd = engine_info(e)->n_embd;
    memset(alone, 0, sizeof alone);
    memset(got, 0, sizeof got);
    run_alone(e, 1, &alone[1]);
    run_alone(e, 3, &alone[3]);
    engine_close(e);
    poke_nan(models[QWEN3NEXT], bad_path, "token_embd.weight", (size_t)BAD * n_embd);
    assert_int_equal(engine_open(&e, &(struct engine_opts){.path = bad_path, .n_thread = 2}), OK);
    struct crew *c = open_crew(e, 4, got);
    uint32_t ids[N_CTX];
    const struct sample_bias always = {.id = BAD, .add = 1e6f};
    for (uint32_t i = 1; i < 8; i += 2) { /* 5: in the prompt; 7: the model writes it */
        struct crew_job job = make_job(e, i, ids);
        for (size_t k = 0; k < job.n_ids; k++) ids[k] = ids[k] == BAD ? BAD + 1 : ids[k];
        if (i == 5) ids[job.n_ids - 2] = BAD;
        if (i == 7) job.gen.sample.bias = &always;
        if (i == 7) job.gen.sample.n_bias = 1;
        assert_int_equal(crew_add(c, &job), OK);
    }
    while (crew_n_busy(c)) assert_int_equal(crew_turn(c), OK);
    for (uint32_t i = 5; i < 8; i += 2) {
        assert_int_equal(got[i].n_done, 1);
        assert_int_equal(got[i].r.err, ERR_RUN);
        assert_non_null(strstr(got[i].message, "not a number"));
    }
    for (uint32_t i = 1; i < 4; i += 2) {
        assert_int_equal(got[i].r.err, OK);
        assert_int_equal(got[i].n, alone[i].n);
        assert_memory_equal(got[i].text, alone[i].text, got[i].n);
    }
    crew_close(c);
    engine_close(e);
}

static int setup(void **state)
{
    (void)state;
    if (!mkdtemp(dir)) return -1;
    (void)snprintf(bad_path, sizeof bad_path, "%s/bad.gguf", dir);
    for (int m = 1; m < N_MODEL; m++) {
        (void)snprintf(models[m], sizeof models[m], "%s/%d.gguf", dir, m);
        if (!seed_case_write(cases[m], models[m])) return -1;
    }
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    for (int m = 1; m < N_MODEL; m++) (void)unlink(models[m]);
    (void)unlink(bad_path);
    return rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_as_alone), cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_callbacks),     cmocka_unit_test(test_seats),
        cmocka_unit_test(test_refused),       cmocka_unit_test(test_interrupt),
        cmocka_unit_test(test_one_fails),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, setup, teardown);
}
