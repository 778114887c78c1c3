/*
 * test_session.c: equalities of a session that need no oracle: any cut of the batch, rolling back,
 * shared prefixes, two sessions at once and any number of threads give the same logits, bit for
 * bit; and what happens when things go wrong: a full context, bad ids, weights that are not finite,
 * a file that shrinks, memory that runs out.
 *
 * Models: the embedded demo (a mixture of experts) and golden ones with recurrent state or a
 * sliding window, written from their seeds into a temporary folder.
 */
#include "base/err.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/os.h"
#include "engine.h"
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

enum { DEMO, QWEN3NEXT, QWEN3NEXT_Q8, LFM2MOE, GRANITEHYBRID, GPT_OSS, N_MODEL, N = 70 };
static const char *const cases[N_MODEL] = {[QWEN3NEXT] = "tests/golden/qwen3next",
                                           [QWEN3NEXT_Q8] = "tests/golden/qwen3next",
                                           [LFM2MOE] = "tests/golden/lfm2moe",
                                           [GRANITEHYBRID] = "tests/golden/granitehybrid-moe",
                                           [GPT_OSS] = "tests/golden/gpt-oss-f32"};
static char dir[] = "/tmp/moxie-session-XXXXXX";
static char models[N_MODEL][64];
static char copy_path[64];
static enum kv_type kv_type; /* of the sessions of the engine opened last */

static struct engine *open_path(const char *path, uint32_t n_thread)
{
    struct engine *e = NULL;
    if (engine_open(&e, &(struct engine_opts){.path = path, .n_thread = n_thread}))
        fail_msg("%s", err_msg());
    return e;
}

static struct engine *open_engine(int model, uint32_t n_thread)
{
    kv_type = model == QWEN3NEXT_Q8 ? KV_Q8_0 : KV_F16;
    return open_path(model == DEMO ? NULL : models[model], n_thread);
}

static struct session *open_session(struct engine *e, uint32_t n_batch)
{
    const struct session_opts o = {
        .n_ctx = 128, .n_batch = n_batch, .type_k = kv_type, .type_v = kv_type};
    struct session *s = NULL;
    if (session_new(&s, e, &o)) fail_msg("%s", err_msg());
    return s;
}

static void make_tokens(const struct engine *e, uint32_t seed, uint32_t *t, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        t[i] = (seed >> 8) % engine_info(e)->n_vocab;
    }
}

static void assert_same_logits(const struct session *a, const float *b)
{
    assert_non_null(session_logits(a));
    assert_memory_equal(session_logits(a), b, 4 * 200);
}

/* The logits after tokens t, by one prefill: what all other ways are compared with. */
static void reference(struct engine *e, const uint32_t *t, size_t n, float *out)
{
    struct session *s = open_session(e, 128);
    assert_int_equal(session_sync(s, t, n), OK);
    memcpy(out, session_logits(s), 4 * 200);
    session_free(s);
}

static void test_any_cut(void **state)
{
    (void)state;
    const uint32_t cuts[] = {1, 7, 32, 64};
    for (int m = 0; m < N_MODEL; m++) {
        struct engine *e = open_engine(m, 2);
        uint32_t t[N];
        float ref[200];
        make_tokens(e, 1, t, N);
        reference(e, t, N, ref);
        for (size_t c = 0; c < sizeof cuts / sizeof *cuts; c++) {
            struct session *s = open_session(e, cuts[c]);
            assert_int_equal(session_sync(s, t, N), OK);
            assert_same_logits(s, ref);
            session_free(s);
        }
        struct session *s = open_session(e, 16); /* prefill, then decode */
        assert_int_equal(session_sync(s, t, N - 5), OK);
        for (size_t i = N - 5; i < N; i++) assert_int_equal(session_step(s, t[i]), OK);
        assert_same_logits(s, ref);
        assert_int_equal(session_stats(s).n_decode, 5);
        session_free(s);
        engine_close(e);
    }
}

static void test_threads(void **state)
{
    (void)state;
    for (int m = 0; m < N_MODEL; m++) {
        float ref[200], got[200];
        uint32_t t[N];
        for (uint32_t n_thread = 1; n_thread <= 3; n_thread++) {
            struct engine *e = open_engine(m, n_thread);
            make_tokens(e, 2, t, N);
            reference(e, t, N, n_thread == 1 ? ref : got);
            if (n_thread > 1) assert_memory_equal(ref, got, sizeof ref);
            engine_close(e);
        }
    }
}

/* The demo model is quantised: with its weights as they are it gives the same. */
static void test_repacked_or_not(void **state)
{
    (void)state;
    static const char *const levels[] = {"none", NULL};
    for (size_t i = 0; i < 2; i++) {
        float repacked[200], mapped[200];
        uint32_t t[N];
        struct engine *e = NULL;
        struct engine_opts o = {.cpu_mask = levels[i], .n_thread = 2};
        assert_int_equal(engine_open(&e, &o), OK);
        assert_int_equal(engine_info(e)->repack.state, REPACK_DONE);
        assert_true(engine_info(e)->repack.n_bytes > engine_info(e)->n_bytes / 2);
        assert_int_equal(mem_used(MEM_WEIGHTS), engine_info(e)->repack.n_bytes);
        make_tokens(e, 13, t, N);
        reference(e, t, N, repacked);
        engine_close(e);
        o.no_repack = true;
        assert_int_equal(engine_open(&e, &o), OK);
        assert_int_equal(engine_info(e)->repack.state, REPACK_OFF);
        assert_int_equal(mem_used(MEM_WEIGHTS), 0);
        reference(e, t, N, mapped);
        engine_close(e);
        assert_memory_equal(repacked, mapped, sizeof mapped);
    }
}

/* Repacked after the first step, some before each step or all before many tokens: the same logits
 * at each of them, in every session. */
static void test_repacked_late(void **state)
{
    (void)state;
    for (uint64_t late = 0; late < 4; late++) { /* the first one repacks at once */
        static const uint64_t late_bytes[] = {0, 1, 200000, (uint64_t)1 << 40};
        static float all[4][N][200];
        const struct engine_opts o = {
            .n_thread = 2, .late_steps = late > 0, .late_bytes = late_bytes[late]};
        struct engine *e = NULL;
        uint32_t t[N];
        assert_int_equal(engine_open(&e, &o), OK);
        const struct engine_repack *const r = &engine_info(e)->repack;
        assert_int_equal(r->state, late ? REPACK_LATE : REPACK_DONE);
        make_tokens(e, 14, t, N);
        struct session *const s[] = {open_session(e, 64), open_session(e, 64)};
        uint64_t n_done = 0;
        for (size_t i = 0; i < N; i++) {
            if (i < 4)
                assert_int_equal(session_sync(s[0], t, i + 1), OK);
            else
                assert_int_equal(session_step(s[0], t[i]), OK);
            memcpy(all[late][i], session_logits(s[0]), sizeof all[0][0]);
            assert_memory_equal(all[late][i], all[0][i], sizeof all[0][0]);
            if (i == 6) { /* another graph, which was bound to less */
                assert_int_equal(session_sync(s[1], t, 10), OK);
                assert_int_equal(session_roll_back(s[1], 6), OK);
            }
            if (i == 8) assert_int_equal(session_sync(s[1], t, i + 1), OK);
            if (i == 8) assert_same_logits(s[1], all[0][i]);
            if (late == 1) assert_true(r->n_done > n_done || i == 0 || n_done == r->n_bytes);
            if (late == 3) assert_int_equal(r->n_done, i == 0 ? 0 : r->n_bytes);
            assert_int_equal(r->state, r->n_done < r->n_bytes ? REPACK_LATE : REPACK_DONE);
            n_done = r->n_done;
        }
        assert_int_equal(r->state, REPACK_DONE);
        session_free(s[0]);
        session_free(s[1]);
        engine_close(e);
    }
}

/* Ctrl-C and memory that is refused between parts: nothing is lost, the step can be taken again. */
static void test_repacking_is_disturbed(void **state)
{
    (void)state;
    float ref[200];
    uint32_t t[N];
    for (int refused = 0; refused < 2; refused++) {
        struct engine *e = NULL;
        const struct engine_opts o = {.n_thread = 2, .late_steps = 1, .late_bytes = 1};
        assert_int_equal(engine_open(&e, &o), OK);
        const struct engine_repack *const r = &engine_info(e)->repack;
        make_tokens(e, 17, t, 8);
        reference(e, t, 8, ref); /* the first step of this engine */
        assert_int_equal(r->state, REPACK_LATE);
        struct session *const s = open_session(e, 64);
        if (refused) {
            mem_fail_at(1);
            assert_int_equal(session_sync(s, t, 7), OK);
            mem_fail_at(0);
            assert_int_equal(r->state, REPACK_REFUSED);
            assert_int_equal(r->n_done, 0);
            assert_int_equal(mem_used(MEM_WEIGHTS), 0);
        } else {
            os_init();
            raise(SIGINT);
            assert_int_equal(session_sync(s, t, 7), ERR_INTR);
            os_interrupt_clear();
            const uint64_t n_done = r->n_done;
            assert_true(n_done > 0);
            assert_int_equal(session_sync(s, t, 7), OK);
            assert_true(r->n_done > n_done);
            assert_int_equal(r->state, REPACK_LATE);
        }
        assert_int_equal(session_step(s, t[7]), OK);
        assert_same_logits(s, ref);
        session_free(s);
        engine_close(e);
    }
}

/* How much is repacked when sessions with this batch have taken so many tokens, two times. */
static void assert_repacked(uint32_t n_early, uint32_t n_batch, size_t n_first, size_t n_then,
                            bool first, bool then)
{
    struct engine *e = NULL;
    uint32_t t[N];
    const struct engine_opts o = {.n_thread = 1, .late_steps = n_early, .late_bytes = 1};
    assert_int_equal(engine_open(&e, &o), OK);
    const struct engine_repack *const r = &engine_info(e)->repack;
    make_tokens(e, 15, t, N);
    struct session *const s = open_session(e, n_batch);
    assert_int_equal(session_sync(s, t, 0), OK); /* is no step */
    assert_int_equal(session_sync(s, t, n_first), OK);
    assert_int_equal(r->state, first ? REPACK_DONE : REPACK_LATE);
    if (!first) assert_int_equal(r->n_done, 0);
    assert_int_equal(session_sync(s, t, n_first + n_then), OK);
    assert_int_equal(r->state, then ? REPACK_DONE : REPACK_LATE);
    if (!then) assert_int_equal(r->n_done > 0, n_early < 2);
    session_free(s);
    engine_close(e);
}

static void test_when_weights_are_repacked(void **state)
{
    (void)state;
    assert_repacked(1, 64, 1, 1, false, false);
    assert_repacked(2, 64, 1, 1, false, false);
    assert_repacked(1, 64, 30, 31, false, false);
    assert_repacked(1, 32, 1, 32, false, false);
    assert_repacked(2, 32, 33, 1, true, true); /* more than a batch */
    assert_repacked(2, 32, 32, 33, false, true);
}

static enum engine_repack_state repack_state(const struct engine_opts *o)
{
    struct engine *e = NULL;
    if (engine_open(&e, o)) fail_msg("%s", err_msg());
    const struct engine_repack r = engine_info(e)->repack;
    assert_int_equal(mem_used(MEM_WEIGHTS), r.state == REPACK_DONE ? r.n_bytes : 0);
    assert_true(r.need_bytes > r.n_bytes);
    engine_close(e);
    return r.state;
}

static void test_what_is_repacked(void **state)
{
    (void)state;
    assert_int_equal(repack_state(&(struct engine_opts){.plan_repack = true}), REPACK_PLANNED);
    assert_int_equal(repack_state(&(struct engine_opts){.act_f32 = true}), REPACK_ROWS);
    assert_int_equal(repack_state(&(struct engine_opts){.path = models[QWEN3NEXT]}),
                     REPACK_NOTHING); /* float32 */
    enum engine_repack_state s = REPACK_OFF;
    bool was_refused = false;
    uint64_t n = 1;
    for (; n < 200 && s != REPACK_DONE; n++) {
        struct engine *e = NULL;
        mem_fail_at(n); /* memory that is refused for weights is no error, for others it is */
        const enum err err = engine_open(&e, &(struct engine_opts){.n_thread = 1});
        mem_fail_at(0);
        assert_true(err == OK || err == ERR_MEMORY);
        if (err == OK) s = engine_info(e)->repack.state;
        was_refused |= s == REPACK_REFUSED;
        engine_close(e);
    }
    assert_true(was_refused);
    assert_int_equal(s, REPACK_DONE);
}

/* What repacking would leave for the sessions to come, and some to spare. */
static uint64_t left_for(int model, uint32_t n_ctx, uint32_t n_seq, enum kv_type type)
{
    struct engine *e = NULL;
    const struct engine_opts o = {.path = model == DEMO ? NULL : models[model],
                                  .n_thread = 1,
                                  .plan_repack = true,
                                  .n_ctx = n_ctx,
                                  .n_seq = n_seq,
                                  .type_k = type,
                                  .type_v = type};
    if (engine_open(&e, &o)) fail_msg("%s", err_msg());
    const struct engine_repack r = engine_info(e)->repack;
    engine_close(e);
    return r.need_bytes - r.n_bytes;
}

/* What a session itself says that it takes when it is full. */
static uint64_t full_bytes(struct engine *e, uint32_t n_ctx, enum kv_type type)
{
    struct session *s = NULL;
    const struct session_opts o = {.n_ctx = n_ctx, .type_k = type, .type_v = type};
    if (session_new(&s, e, &o)) fail_msg("%s", err_msg());
    const uint64_t n = session_stats(s).full_bytes;
    session_free(s);
    return n;
}

static void test_room_for_sessions(void **state)
{
    (void)state;
    for (int m = 0; m < N_MODEL; m++) {
        struct engine *e = open_engine(m, 1);
        const uint64_t spare = left_for(m, 1, 1, KV_F16) - full_bytes(e, 1, KV_F16);
        assert_int_equal(left_for(m, 0, 0, KV_F16), spare + full_bytes(e, 0, KV_F16));
        assert_int_equal(left_for(m, CTX_OF_MODEL, 1, KV_F16),
                         spare + full_bytes(e, CTX_OF_MODEL, KV_F16));
        assert_int_equal(left_for(m, 1000, 17, kv_type), spare + 17 * full_bytes(e, 1000, kv_type));
        assert_int_equal(left_for(m, 1000, 17, KV_F32), spare + 17 * full_bytes(e, 1000, KV_F32));
        assert_true(full_bytes(e, 1000, KV_F32) > full_bytes(e, 1000, KV_F16));
        engine_close(e);
    }
}

/* Sessions that no memory can hold leave the weights where they are. */
static void test_no_room(void **state)
{
    (void)state;
    const struct engine_opts o = {.n_ctx = CTX_MAX, .n_seq = SEQS_MAX, .type_k = KV_F32};
    assert_int_equal(repack_state(&o), REPACK_ROOM);
    struct engine *e = NULL;
    assert_int_equal(engine_open(&e, &(struct engine_opts){.mode = ENGINE_VOCAB}), OK);
    assert_int_equal(engine_info(e)->repack.state, REPACK_NOTHING);
    engine_close(e);
}

static void test_roll_back(void **state)
{
    (void)state;
    for (int m = 0; m < N_MODEL; m++) {
        struct engine *e = open_engine(m, 2);
        uint32_t t[N], u[N];
        float ref_t[200], ref_u[200];
        make_tokens(e, 3, t, N);
        memcpy(u, t, sizeof t);
        make_tokens(e, 4, u + 40, N - 40); /* another end after 40 common tokens */
        reference(e, t, N, ref_t);
        reference(e, u, N, ref_u);
        struct session *s = open_session(e, 16);
        assert_int_equal(session_sync(s, t, N), OK);
        assert_int_equal(session_sync(s, u, N), OK);
        assert_same_logits(s, ref_u);
        assert_int_equal(session_sync(s, t, N), OK);
        assert_same_logits(s, ref_t);
        assert_int_equal(session_roll_back(s, N), OK); /* nothing to forget */
        assert_same_logits(s, ref_t);
        assert_int_equal(session_roll_back(s, 41), OK);
        assert_int_equal(session_pos(s), 41);
        for (size_t i = 41; i < N; i++) assert_int_equal(session_step(s, t[i]), OK);
        assert_same_logits(s, ref_t);
        assert_int_equal(session_roll_back(s, 0), OK);
        assert_null(session_logits(s));
        assert_int_equal(session_sync(s, t, N), OK);
        assert_same_logits(s, ref_t);
        session_free(s);
        engine_close(e);
    }
}

static void test_prefix_is_reused(void **state)
{
    (void)state;
    struct engine *e = open_engine(DEMO, 1);
    uint32_t t[N];
    make_tokens(e, 5, t, N);
    struct session *s = open_session(e, 0);
    assert_int_equal(session_sync(s, t, 50), OK);
    assert_int_equal(session_sync(s, t, N), OK);
    assert_int_equal(session_stats(s).n_reused, 50);
    assert_int_equal(session_stats(s).n_prefill, N);
    assert_int_equal(session_sync(s, t, N), OK); /* nothing to do: the logits are there */
    assert_int_equal(session_stats(s).n_prefill, N);
    assert_int_equal(session_sync(s, t, 30), OK); /* shorter: the last token runs again */
    assert_int_equal(session_stats(s).n_prefill, N + 1);
    float ref[200];
    reference(e, t, 30, ref);
    assert_same_logits(s, ref);
    session_free(s);
    engine_close(e);
}

static void test_two_sessions(void **state)
{
    (void)state;
    for (int m = 0; m < N_MODEL; m++) {
        struct engine *e = open_engine(m, 2);
        uint32_t t[N], u[N];
        float ref_t[200], ref_u[200];
        make_tokens(e, 6, t, N);
        make_tokens(e, 7, u, N);
        reference(e, t, N, ref_t);
        reference(e, u, N, ref_u);
        struct session *a = open_session(e, 8), *b = open_session(e, 64);
        assert_int_equal(session_sync(a, t, N - 10), OK);
        assert_int_equal(session_sync(b, u, N - 10), OK);
        for (size_t i = N - 10; i < N; i++) {
            assert_int_equal(session_step(a, t[i]), OK);
            assert_int_equal(session_step(b, u[i]), OK);
        }
        assert_same_logits(a, ref_t);
        assert_same_logits(b, ref_u);
        session_free(a);
        session_free(b);
        engine_close(e);
    }
}

/* Timelines that step together give what each gives alone, whatever their positions. */
static void test_together(void **state)
{
    (void)state;
    enum { N_SESSION = 5, STEPS = 12 };
    for (int m = 0; m < N_MODEL; m++) {
        struct engine *e = open_engine(m, 2);
        uint32_t t[N_SESSION][N], token[N_SESSION];
        float ref[N_SESSION][200];
        struct session *s[N_SESSION];
        for (size_t i = 0; i < N_SESSION; i++) {
            struct session_opts o = {.n_ctx = 128,
                                     .n_batch = 3,
                                     .type_k = kv_type,
                                     .type_v = kv_type,
                                     .beside = i ? s[0] : NULL};
            make_tokens(e, 20 + (uint32_t)i, t[i], N);
            reference(e, t[i], N - i * 9, ref[i]);
            assert_int_equal(session_new(&s[i], e, &o), OK);
            assert_int_equal(session_sync(s[i], t[i], N - i * 9 - STEPS), OK);
        }
        for (size_t j = STEPS; j > 0; j--) {
            for (size_t i = 0; i < N_SESSION; i++) token[i] = t[i][N - i * 9 - j];
            assert_int_equal(session_step_many(s, token, N_SESSION), OK);
        }
        for (size_t i = 0; i < N_SESSION; i++) {
            assert_int_equal(session_stats(s[i]).n_decode, STEPS);
            assert_same_logits(s[i], ref[i]);
        }
        token[3] = engine_info(e)->n_vocab; /* one is wrong: none moves */
        assert_int_equal(session_step_many(s, token, N_SESSION), ERR_INPUT);
        for (size_t i = 0; i < N_SESSION; i++) assert_int_equal(session_pos(s[i]), N - i * 9);
        for (size_t i = 0; i < N_SESSION; i++) session_free(s[i]);
        engine_close(e);
    }
}

/* Prompts that go through the weights together, one of them half there, one wholly. */
static void test_prefill_together(void **state)
{
    (void)state;
    enum { N_SESSION = 4 };
    for (int m = 0; m < N_MODEL; m++) {
        struct engine *e = open_engine(m, 2);
        uint32_t t[N_SESSION][N];
        float ref[N_SESSION][200];
        struct session *s[N_SESSION];
        struct session_want want[N_SESSION];
        for (size_t i = 0; i < N_SESSION; i++) {
            const struct session_opts o = {.n_ctx = 100,
                                           .n_batch = 100,
                                           .type_k = kv_type,
                                           .type_v = kv_type,
                                           .beside = i ? s[0] : NULL};
            assert_int_equal(session_new(&s[i], e, &o), OK);
            make_tokens(e, 40 + (uint32_t)i, t[i], N);
            want[i] = (struct session_want){s[i], t[i], i == 2 ? 1 : N - 30 * i / 2};
            reference(e, t[i], want[i].n, ref[i]);
        }
        assert_int_equal(session_sync(s[0], t[0], N - 11), OK);
        assert_int_equal(session_sync(s[3], t[3], want[3].n), OK);
        assert_int_equal(session_sync_many(want, N_SESSION), OK); /* 11 + 55 + 1 + 0 are new */
        for (size_t i = 0; i < N_SESSION; i++) {
            assert_int_equal(session_pos(s[i]), want[i].n);
            assert_same_logits(s[i], ref[i]);
        }
        want[1].tokens = t[2]; /* all that was there goes */
        want[2].tokens = t[1];
        want[1].n = want[2].n = 40;
        assert_int_equal(session_sync_many(want, N_SESSION), OK);
        reference(e, t[2], 40, ref[1]);
        reference(e, t[1], 40, ref[2]);
        for (size_t i = 0; i < N_SESSION; i++) assert_same_logits(s[i], ref[i]);
        for (size_t i = 0; i < N_SESSION; i++) session_free(s[i]);
        engine_close(e);
    }
}

static void test_fork(void **state)
{
    (void)state;
    for (int m = 0; m < N_MODEL; m++) {
        struct engine *e = open_engine(m, 2);
        uint32_t t[N], u[N];
        float ref_t[200], ref_u[200];
        make_tokens(e, 30, t, N);
        make_tokens(e, 31, u, N);
        memcpy(u, t, 41 * sizeof *t);
        reference(e, t, N, ref_t);
        reference(e, u, N, ref_u);
        struct session *a = open_session(e, 16), *b = NULL;
        assert_int_equal(session_new(&b, e, &(struct session_opts){.beside = a}), OK);
        assert_int_equal(session_n_ctx(b), 128);
        assert_int_equal(session_sync(b, u + 41, N - 41), OK); /* what b held is gone */
        assert_int_equal(session_sync(a, t, 42), OK);          /* a checkpoint at 41 */
        assert_int_equal(session_sync(a, t, N), OK);
        assert_int_equal(session_reusable(a, u, N), 41);
        assert_int_equal(session_fork(b, a, 41), OK);
        assert_int_equal(session_pos(b), 41);
        assert_int_equal(session_sync(b, u, N), OK);
        assert_same_logits(b, ref_u);
        assert_same_logits(a, ref_t);
        assert_int_equal(session_fork(b, a, N), OK); /* the live end */
        assert_int_equal(session_pos(b), N);
        assert_null(session_logits(b));
        assert_int_equal(session_step(a, t[0]), OK);
        assert_int_equal(session_step(b, t[0]), OK);
        assert_memory_equal(session_logits(a), session_logits(b), 4 * 200);
        session_free(a); /* what they share stays with b */
        assert_int_equal(session_sync(b, t, N), OK);
        assert_same_logits(b, ref_t);
        session_free(b);
        engine_close(e);
    }
}

struct rows {
    size_t n;
    size_t stop_at;
    float last[200];
};

static enum err on_row(void *ctx, size_t pos, const float *logits)
{
    struct rows *r = ctx;
    assert_int_equal(pos, r->n);
    if (r->stop_at && pos == r->stop_at) return err_set(ERR_RUN, "enough");
    memcpy(r->last, logits, sizeof r->last);
    r->n++;
    return OK;
}

static void test_rows(void **state)
{
    (void)state;
    struct engine *e = open_engine(DEMO, 2);
    uint32_t t[N];
    make_tokens(e, 8, t, N);
    struct session *s = open_session(e, 48);
    struct rows rows = {0};
    session_on_row(s, on_row, &rows);
    assert_int_equal(session_sync(s, t, N), OK);
    assert_int_equal(rows.n, N);
    assert_same_logits(s, rows.last);
    rows = (struct rows){.stop_at = 50};
    assert_int_equal(session_sync(s, NULL, 0), OK);
    assert_int_equal(session_sync(s, t, N), ERR_RUN);
    assert_string_equal(err_msg(), "enough");
    assert_int_equal(session_pos(s), 48); /* the piece that failed is not in effect */
    session_on_row(s, NULL, NULL);
    assert_int_equal(session_sync(s, t, N), OK); /* and the session goes on */
    float ref[200];
    reference(e, t, N, ref);
    assert_same_logits(s, ref);
    session_free(s);
    engine_close(e);
}

/* The cache of a token that sees 100 positions: all of them, or in layers with a window its 32. */
static void test_cache_reads(void **state)
{
    (void)state;
    const int model[] = {DEMO, GPT_OSS};
    for (int m = 0; m < 2; m++) {
        struct engine *e = open_engine(model[m], 1);
        struct session *s = open_session(e, 64);
        uint32_t t[8];
        make_tokens(e, 1, t, 8);
        assert_int_equal(session_sync(s, t, 8), OK);
        const uint64_t held = session_stats(s).kv_bytes;
        assert_true(held > 0);
        assert_int_equal(session_kv_read_bytes(s, 8), held);
        const uint64_t n_pos = model[m] == DEMO ? 100 * 3 : 100 + 2 * 32; /* of 3 layers */
        assert_int_equal(session_kv_read_bytes(s, 100), held / 8 * n_pos / 3);
        session_free(s);
        engine_close(e);
    }
}

/* A coarser cache gives nearly the same, and says what it cannot hold. */
static void test_q8_0_cache(void **state)
{
    (void)state;
    float exact[200], coarse[200];
    uint32_t t[N];
    double error = 0.0, size = 0.0;
    for (int m = QWEN3NEXT; m <= QWEN3NEXT_Q8; m++) {
        struct engine *e = open_engine(m, 1);
        make_tokens(e, 14, t, N);
        reference(e, t, N, m == QWEN3NEXT ? exact : coarse);
        engine_close(e);
    }
    for (int i = 0; i < 200; i++) {
        error += ((double)coarse[i] - (double)exact[i]) * ((double)coarse[i] - (double)exact[i]);
        size += (double)exact[i] * (double)exact[i];
    }
    assert_true(error > 0.0);
    assert_true(error < 1e-4 * size); /* 1 % */
    struct engine *e = open_engine(DEMO, 1);
    struct session *s;
    const struct session_opts o = {.n_ctx = 128, .type_k = KV_Q8_0};
    assert_int_equal(session_new(&s, e, &o), ERR_USAGE);
    assert_string_equal(err_msg(), "layer 0: a key of 16 numbers cannot be cached as Q8_0 (-ctk), "
                                   "which takes multiples of 32; use -ctk f16");
    engine_close(e);
}

static void test_limits(void **state)
{
    (void)state;
    struct engine *e = open_engine(DEMO, 1);
    struct session *s;
    assert_int_equal(session_new(&s, e, &(struct session_opts){.n_ctx = 8}), OK);
    assert_int_equal(session_n_ctx(s), 8);
    uint32_t t[9];
    make_tokens(e, 9, t, 9);
    assert_int_equal(session_sync(s, t, 9), ERR_USAGE);
    assert_non_null(strstr(err_msg(), "9 tokens"));
    assert_int_equal(session_sync(s, t, 7), OK);
    assert_int_equal(session_step(s, t[7]), OK);
    assert_int_equal(session_step(s, t[8]), ERR_END);
    assert_int_equal(session_pos(s), 8);
    t[3] = engine_info(e)->n_vocab;
    assert_int_equal(session_sync(s, t, 5), ERR_INPUT);
    assert_non_null(strstr(err_msg(), "vocabulary"));
    assert_int_equal(session_pos(s), 8); /* a refused list changes nothing */
    session_free(s);
    assert_int_equal(session_new(&s, e, &(struct session_opts){.n_ctx = 8, .n_batch = 100000}),
                     OK); /* cut to the context */
    session_free(s);
    engine_close(e);
}

static void test_interrupt(void **state)
{
    (void)state;
    os_init();
    for (int m = 0; m < N_MODEL; m++) {
        struct engine *e = open_engine(m, 1);
        uint32_t t[N];
        float ref[200];
        make_tokens(e, 4, t, N);
        reference(e, t, N, ref);
        struct session *s = open_session(e, 16);
        raise(SIGINT);
        assert_int_equal(session_sync(s, t, N), ERR_INTR);
        assert_int_equal(session_pos(s), 0); /* not one piece was run */
        assert_null(session_logits(s));
        os_interrupt_clear();
        assert_int_equal(session_sync(s, t, N), OK);
        assert_same_logits(s, ref);
        session_free(s);
        engine_close(e);
    }
}

/* ---- files that go wrong --------------------------------------------------------------------- */

/* A copy of a golden model; `patch` writes NaN over the last bytes of the file (weights). */
static void copy_model(const char *from, bool patch)
{
    char *data;
    size_t n;
    assert_int_equal(os_read_all(from, 1u << 28, &data, &n), OK);
    if (patch) memset(data + n - 4096, 0xff, 4096);
    FILE *f = fopen(copy_path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
    mem_free(data);
}

static void test_not_finite(void **state)
{
    (void)state;
    copy_model(models[QWEN3NEXT], true);
    struct engine *e = open_path(copy_path, 1);
    struct session *s = open_session(e, 0);
    uint32_t t[N];
    make_tokens(e, 10, t, N);
    assert_int_equal(session_sync(s, t, N), ERR_RUN);
    assert_non_null(strstr(err_msg(), "position"));
    assert_null(session_logits(s));
    session_free(s);
    engine_close(e);
}

static void test_vector_not_finite(void **state)
{
    (void)state;
    struct engine *e = NULL;
    poke_nan(models[QWEN3NEXT], copy_path, "output_norm.weight", 3);
    assert_int_equal(engine_open(&e, &(struct engine_opts){.path = copy_path}), ERR_INPUT);
    assert_non_null(strstr(err_msg(), "item 3 of tensor 'output_norm.weight'"));
    assert_null(e);
}

static void test_file_shrinks(void **state)
{
    (void)state;
    copy_model(models[GPT_OSS], false);
    os_init(); /* after cmocka, which takes SIGBUS for itself before each test */
    struct engine *e = open_path(copy_path, 2);
    struct session *s = open_session(e, 0);
    uint32_t t[N];
    make_tokens(e, 11, t, N);
    assert_int_equal(session_sync(s, t, 10), OK);
    assert_int_equal(truncate(copy_path, 20000), 0);
    assert_int_equal(session_sync(s, t, N), ERR_RUN);
    assert_non_null(strstr(err_msg(), copy_path));
    session_free(s);
    engine_close(e);
}

/* The file is cut between the first step and the second. */
static void test_file_that_shrinks_before_repacking(void **state)
{
    (void)state;
    struct engine *e = NULL;
    uint32_t t[N];
    copy_model("models/demo/tinymoe-q8_0.gguf", false);
    os_init();
    const struct engine_opts o = {
        .path = copy_path, .n_thread = 2, .late_steps = 1, .late_bytes = 1};
    assert_int_equal(engine_open(&e, &o), OK);
    make_tokens(e, 16, t, N);
    struct session *const s = open_session(e, 64);
    assert_int_equal(session_sync(s, t, 5), OK);
    if (engine_info(e)->repack.state == REPACK_LATE) { /* the page cache of the file is known */
        assert_int_equal(truncate(copy_path, 4096), 0);
        assert_int_equal(session_step(s, t[5]), ERR_RUN);
        assert_non_null(strstr(err_msg(), "became shorter"));
    }
    session_free(s);
    engine_close(e);
}

/* Every allocation fails once. Some may: regular expressions also run without being compiled. */
static void test_no_memory(void **state)
{
    (void)state;
    enum { ALLOCATIONS_MAX = 150 }; /* more than an opening and a prompt need: the last succeeds */
    const size_t before = mem_used_total();
    uint32_t n_failed = 0;
    enum err err = OK;
    for (uint64_t n = 1; n <= ALLOCATIONS_MAX; n++) {
        struct engine *e = NULL;
        struct session *s = NULL;
        mem_fail_at(n);
        err = engine_open(&e, &(struct engine_opts){.path = models[QWEN3NEXT], .n_thread = 2});
        if (err == OK) err = session_new(&s, e, &(struct session_opts){.n_ctx = 32});
        uint32_t t[20];
        if (err == OK) {
            make_tokens(e, 12, t, 20);
            err = session_sync(s, t, 20);
        }
        mem_fail_at(0);
        session_free(s);
        engine_close(e);
        assert_int_equal(mem_used_total(), before);
        assert_true(err == OK || err == ERR_MEMORY);
        n_failed += err == ERR_MEMORY;
    }
    assert_int_equal(err, OK);
    assert_true(n_failed > 40);
}

static int setup(void **state)
{
    (void)state;
    if (!mkdtemp(dir)) return -1;
    (void)snprintf(copy_path, sizeof copy_path, "%s/copy.gguf", dir);
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
    (void)unlink(copy_path);
    return rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_any_cut),           cmocka_unit_test(test_threads),
        cmocka_unit_test(test_repacked_or_not),   cmocka_unit_test(test_what_is_repacked),
        cmocka_unit_test(test_repacked_late),
        cmocka_unit_test(test_repacking_is_disturbed),
        cmocka_unit_test(test_when_weights_are_repacked),
        cmocka_unit_test(test_file_that_shrinks_before_repacking),
        cmocka_unit_test(test_room_for_sessions), cmocka_unit_test(test_no_room),
        cmocka_unit_test(test_roll_back),         cmocka_unit_test(test_prefix_is_reused),
        cmocka_unit_test(test_two_sessions),      cmocka_unit_test(test_rows),
        cmocka_unit_test(test_together),          cmocka_unit_test(test_fork),
        cmocka_unit_test(test_prefill_together),  cmocka_unit_test(test_limits),
        cmocka_unit_test(test_not_finite),        cmocka_unit_test(test_vector_not_finite),
        cmocka_unit_test(test_file_shrinks),      cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_interrupt),         cmocka_unit_test(test_cache_reads),
        cmocka_unit_test(test_q8_0_cache),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, setup, teardown);
}
