/*
 * test_sampling.c: the sampling options from the command line to struct gen_opts: llama.cpp's
 * spellings, ranges, logit biases, stop strings, seeds.
 */
#include "base/err.h"
#include "base/limits.h"
#include "base/mem.h"
#include "cmd/common.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static struct engine *engine;

static int open_engine(void **state)
{
    (void)state;
    return engine_open(&engine, &(struct engine_opts){.n_thread = 1}) == OK ? 0 : -1;
}

static int close_engine(void **state)
{
    (void)state;
    engine_close(engine);
    return 0;
}

static const struct cli_cmd cmd = {.name = "try",
                                   .args = "",
                                   .brief = "",
                                   .opts = {common_sampling, common_shift},
                                   .opts_bytes = sizeof(struct common_opts)};

static enum err parse(struct common_opts *o, int argc, const char *const *argv)
{
    bool help;
    return cli_parse(&cmd, argc, (char *const *)(uintptr_t)argv, o, &help);
}

#define ARGS(...)                                                                                  \
    (int)(sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *)), (const char *const[])      \
    {                                                                                              \
        __VA_ARGS__                                                                                \
    }

static enum err init(struct sampling *s, bool chat, int argc, const char *const *argv)
{
    struct common_opts o;
    *s = (struct sampling){0};
    const enum err err = parse(&o, argc, argv);
    return err ? err : sampling_init(s, &o, engine, chat);
}

static void assert_says(const char *part)
{
    if (!strstr(err_msg(), part)) fail_msg("message '%s' lacks '%s'", err_msg(), part);
}

/* ---- tests ----------------------------------------------------------------------------------- */

static void test_defaults(void **state)
{
    (void)state;
    struct sampling s, other;
    const struct sample_opts want = SAMPLE_DEFAULTS;
    assert_int_equal(init(&s, false, 0, NULL), OK);
    const struct sample_opts *const got = &s.gen.sample;
    assert_true(got->temp == want.temp && got->top_p == want.top_p && got->min_p == want.min_p);
    assert_true(got->typical == want.typical && got->repeat == want.repeat);
    assert_true(got->presence == 0 && got->frequency == 0);
    assert_int_equal(got->top_k, want.top_k);
    assert_int_equal(got->penalty_last, want.penalty_last);
    assert_int_equal(got->n_bias, 0);
    assert_true(s.gen.n_max == UINT32_MAX);
    assert_int_equal(s.gen.n_stop, 0);
    assert_false(s.gen.shift);
    assert_int_equal(s.gen.n_keep, 0);
    assert_false(s.seed_given);
    assert_true(got->seed <= UINT32_MAX); /* short enough to type */
    assert_int_equal(init(&other, false, 0, NULL), OK);
    assert_true(other.gen.sample.seed != got->seed); /* wrong once in 2^32 runs */
    struct sampler *sampler;
    assert_int_equal(sampler_open(&sampler, got, 10), OK);
    sampler_close(sampler);
    sampling_fini(&s);
    sampling_fini(&s);
    sampling_fini(&other);
}

static void test_spellings(void **state)
{
    (void)state;
    struct sampling s;
    assert_int_equal(
        init(&s, false,
             ARGS("--temperature", "0.5", "--top-k", "7", "--top-p", "0.25", "--min-p", "0.125",
                  "--typical-p", "0.75", "--repeat-penalty", "1.5", "--repeat-last-n", "-1",
                  "--presence-penalty", "-0.5", "--frequency-penalty", "2", "-s", "42", "-n", "0",
                  "--context-shift", "--keep", "9")),
        OK);
    const struct sample_opts *const got = &s.gen.sample;
    assert_true(got->temp == 0.5f && got->top_p == 0.25f && got->min_p == 0.125f);
    assert_true(got->typical == 0.75f && got->repeat == 1.5f);
    assert_true(got->presence == -0.5f && got->frequency == 2);
    assert_int_equal(got->top_k, 7);
    assert_int_equal(got->penalty_last, -1);
    assert_true(got->seed == 42 && s.seed_given);
    assert_int_equal(s.gen.n_max, 0);
    assert_true(s.gen.shift);
    assert_int_equal(s.gen.n_keep, 9);
    sampling_fini(&s);
    assert_int_equal(
        init(&s, false, ARGS("--temp", "0", "--typical", "0.5", "--predict", "3", "--ctx-shift")),
        OK);
    assert_true(s.gen.sample.temp == 0 && s.gen.sample.typical == 0.5f);
    assert_int_equal(s.gen.n_max, 3);
    assert_true(s.gen.shift);
    sampling_fini(&s);
    assert_int_equal(init(&s, false, ARGS("--n-predict", "-1", "--seed", "-1")), OK);
    assert_true(s.gen.n_max == UINT32_MAX);
    assert_false(s.seed_given); /* as llama.cpp's users type it */
    assert_true(s.gen.sample.seed <= UINT32_MAX);
    sampling_fini(&s);
    assert_int_equal(init(&s, false, ARGS("--seed", "18446744073709551614")), OK);
    assert_true(s.seed_given && s.gen.sample.seed == UINT64_MAX - 1);
    sampling_fini(&s);
}

static void test_ranges(void **state)
{
    (void)state;
    static const char *const bad[][3] = {
        {"--temp", "-0.1", "from 0 to 100"},
        {"--temp", "101", "from 0 to 100"},
        {"--top-k", "-1", "from 0"},
        {"--top-p", "1.1", "from 0 to 1"},
        {"--min-p", "-1", "from 0 to 1"},
        {"--typical", "2", "from 0 to 1"},
        {"--repeat-penalty", "0", "from 0.01 to 100"},
        {"--repeat-last-n", "-2", "from -1"},
        {"--presence-penalty", "2.5", "from -2 to 2"},
        {"--frequency-penalty", "-3", "from -2 to 2"},
        {"--seed", "-2", "from -1 to 2^64-1"},
        {"-n", "-2", "from -1"},
        {"--keep", "-1", "from 0"},
    };
    struct common_opts o;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(parse(&o, 2, bad[i]), ERR_USAGE);
        assert_says(bad[i][0]);
        assert_says(bad[i][2]);
    }
    static const char *const edges[][2] = {
        {"--temp", "100"},
        {"--top-p", "0"},
        {"--top-p", "1"},
        {"--min-p", "1"},
        {"--typical", "0"},
        {"--repeat-penalty", "0.01"},
        {"--repeat-penalty", "100"},
        {"--repeat-last-n", "67108864"},
        {"--presence-penalty", "-2"},
    };
    for (size_t i = 0; i < sizeof edges / sizeof edges[0]; i++) {
        struct sampling s;
        struct sampler *sampler;
        assert_int_equal(init(&s, false, 2, edges[i]), OK);
        if (sampler_open(&sampler, &s.gen.sample, 10)) fail_msg("%s", err_msg());
        sampler_close(sampler);
        sampling_fini(&s);
    }
}

static void test_bias(void **state)
{
    (void)state;
    struct sampling s;
    assert_int_equal(init(&s, false, ARGS("-l", "12+1.5", "--logit-bias", "0-2e1", "-l", "7-inf")),
                     OK);
    assert_int_equal(s.gen.sample.n_bias, 3);
    const struct sample_bias *const b = s.gen.sample.bias;
    assert_true(b[0].id == 12 && b[0].add == 1.5f);
    assert_true(b[1].id == 0 && b[1].add == -20);
    assert_true(b[2].id == 7 && b[2].add == -INFINITY);
    sampling_fini(&s);
    static const char *const bad[] = {"",      "12",    "12+",     "+1",   "12=1",   "12+1x",
                                      "12 +1", "12+ 1", "12+inf",  "a+1",  "12+nan", "-1+1",
                                      "12++1", "0x1+1", "12+1e99", "12,1", "1:2"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        if (init(&s, false, ARGS("-l", bad[i])) != ERR_USAGE) fail_msg("'%s' was taken", bad[i]);
        assert_says("--logit-bias");
        assert_says("123+1.5");
    }
    assert_int_equal(init(&s, false, ARGS("-l", "99999999999999+1")), ERR_USAGE);
    assert_says("the vocabulary ends with");
    assert_int_equal(init(&s, false, ARGS("-l", "4294967298+1")), ERR_USAGE); /* 2 after 2^32 */
    char last[32];
    snprintf(last, sizeof last, "%u+1", engine_info(engine)->n_vocab - 1);
    assert_int_equal(init(&s, false, ARGS("-l", last)), OK);
    sampling_fini(&s);
    snprintf(last, sizeof last, "%u+1", engine_info(engine)->n_vocab);
    assert_int_equal(init(&s, false, ARGS("-l", "1+1", "-l", last)), ERR_USAGE);
}

static void test_stops(void **state)
{
    (void)state;
    struct sampling s;
    const struct chat *c;
    assert_int_equal(engine_chat(engine, &c), OK);
    const char *const own = chat_stop(c); /* the demo has neither a template nor ChatML's tokens */
    assert_non_null(own);
    assert_int_equal(init(&s, false, ARGS("-r", "one", "--stop", "two", "--reverse-prompt", "3")),
                     OK);
    assert_int_equal(s.gen.n_stop, 3);
    assert_string_equal(s.gen.stop[0], "one");
    assert_string_equal(s.gen.stop[1], "two");
    assert_string_equal(s.gen.stop[2], "3");
    sampling_fini(&s);
    assert_int_equal(init(&s, true, ARGS("-r", "one")), OK);
    assert_int_equal(s.gen.n_stop, 2);
    assert_string_equal(s.gen.stop[1], own);
    sampling_fini(&s);
    assert_int_equal(init(&s, true, ARGS("-r", own, "-r", "one")), OK); /* not twice */
    assert_int_equal(s.gen.n_stop, 2);
    sampling_fini(&s);
    assert_int_equal(init(&s, true, ARGS("-r", "one", "-r", "")), ERR_USAGE);
    assert_says("--stop: the stop string has 0 bytes");
    static char longest[STOP_BYTES_MAX + 2];
    memset(longest, 'x', STOP_BYTES_MAX + 1);
    assert_int_equal(init(&s, true, ARGS("-r", longest)), ERR_USAGE);
    assert_says("1025 bytes");
}

static void test_memory(void **state)
{
    (void)state;
    struct sampling s;
    assert_int_equal(init(&s, true, 0, NULL), OK); /* opens the chat */
    sampling_fini(&s);
    const size_t used = mem_used_total();
    uint64_t at = 1;
    for (;; at++) {
        mem_fail_at(at);
        const enum err err = init(&s, true, ARGS("-r", "one", "-l", "1+1"));
        mem_fail_at(0);
        if (err == OK) break;
        assert_int_equal(err, ERR_MEMORY);
        assert_true(mem_used_total() == used);
    }
    assert_int_equal(at, 3);
    sampling_fini(&s);
    assert_true(mem_used_total() == used);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults), cmocka_unit_test(test_spellings),
        cmocka_unit_test(test_ranges),   cmocka_unit_test(test_bias),
        cmocka_unit_test(test_stops),    cmocka_unit_test(test_memory),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, open_engine, close_engine);
}
