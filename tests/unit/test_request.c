/*
 * test_request.c: requests in JSON: every field with its edges, the prompt in all its forms, stop
 * strings and biases against the defaults, and what a refusal says.
 */
#include "cmd/request.h"

#include "base/err.h"
#include "base/limits.h"
#include "base/mem.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static struct engine *engine;
static uint32_t n_vocab;
static const char *own_stop; /* of the demo's chat: it has neither a template nor ChatML's tokens */

static int open_engine(void **state)
{
    (void)state;
    const struct chat *c;
    if (engine_open(&engine, &(struct engine_opts){.n_thread = 1})) return -1;
    if (engine_chat(engine, &c)) return -1;
    n_vocab = engine_info(engine)->n_vocab;
    own_stop = chat_stop(c);
    return own_stop ? 0 : -1;
}

static int close_engine(void **state)
{
    (void)state;
    engine_close(engine);
    return 0;
}

static const char *const default_stops[] = {"first", "second"};
static const struct sample_bias default_bias = {5, 0.5f};

static struct gen_opts defaults(void)
{
    struct gen_opts o = {.sample = SAMPLE_DEFAULTS,
                         .n_max = 77,
                         .stop = default_stops,
                         .n_stop = 2,
                         .shift = true,
                         .n_keep = 4,
                         .special = true};
    o.sample.seed = 99;
    o.sample.bias = &default_bias;
    o.sample.n_bias = 1;
    return o;
}

/* The item stays alive until drop(). */
struct got {
    json_t *item;
    struct request r;
    enum err err;
};

/* Texts are written with ' for ". */
static json_t *parse(const char *text)
{
    char buf[4096];
    size_t i = 0;
    for (; text[i]; i++) buf[i] = text[i] == '\'' ? '"' : text[i];
    assert_true(i < sizeof buf);
    json_error_t e;
    json_t *const item = json_loadb(buf, i, JSON_DECODE_ANY | JSON_ALLOW_NUL, &e);
    if (!item) fail_msg("%s: %s", text, e.text);
    return item;
}

static struct got read_item(json_t *item, bool raw)
{
    struct got g = {.item = item};
    const struct gen_opts o = defaults();
    err_clear();
    g.err = request_read(&g.r, engine, item, &o, raw, CTX_MAX);
    if (g.err) {
        assert_null(g.r.ids);
        assert_null(g.r.bias);
        assert_null(g.r.stop);
    } else {
        assert_true(g.r.n_ids > 0);
    }
    return g;
}

static struct got take(const char *text)
{
    const struct got g = read_item(parse(text), true);
    if (g.err) fail_msg("%s: %s", text, err_msg());
    return g;
}

static void drop(struct got *g)
{
    request_fini(&g->r);
    request_fini(&g->r);
    json_decref(g->item);
}

static void refuse(enum err err, const char *text, const char *says)
{
    struct got g = read_item(parse(text), true);
    if (g.err != err) fail_msg("%s gave %d", text, (int)g.err);
    if (!strstr(err_msg(), says)) fail_msg("'%s' lacks '%s'", err_msg(), says);
    drop(&g);
}

/* ---- numbers --------------------------------------------------------------------------------- */

static void test_defaults(void **state)
{
    (void)state;
    static const char *const same[] = {
        "{'prompt': 'a'}",
        "{'prompt': 'a', 'messages': null, 'temperature': null, 'top_k': null, 'max_tokens': null,"
        " 'seed': null, 'stop': null, 'logit_bias': null, 'raw': null, 'other': [1]}",
    };
    for (size_t i = 0; i < 2; i++) {
        struct got g = take(same[i]);
        const struct gen_opts want = defaults();
        const struct sample_opts *const s = &g.r.gen.sample, *const w = &want.sample;
        assert_true(s->temp == w->temp && s->top_p == w->top_p && s->min_p == w->min_p);
        assert_true(s->typical == w->typical && s->repeat == w->repeat && s->seed == w->seed);
        assert_true(s->presence == w->presence && s->frequency == w->frequency);
        assert_true(s->top_k == w->top_k && s->penalty_last == w->penalty_last);
        assert_int_equal(s->n_bias, 1);
        assert_true(s->bias[0].id == 5);
        assert_true(g.r.gen.n_max == 77 && g.r.gen.n_keep == 4);
        assert_true(g.r.gen.shift && g.r.gen.special);
        assert_int_equal(g.r.gen.n_stop, 2);
        assert_string_equal(g.r.gen.stop[0], "first");
        assert_string_equal(g.r.gen.stop[1], "second");
        drop(&g);
    }
}

static void test_numbers(void **state)
{
    (void)state;
    struct got g = take("{'prompt': 'a', 'temperature': 0.5, 'top_p': 0, 'top_k': 4294967295,"
                        " 'min_p': 1, 'typical_p': 0.25, 'repeat_penalty': 2, 'seed': 0,"
                        " 'presence_penalty': -2, 'frequency_penalty': 1.5, 'repeat_last_n': -1,"
                        " 'max_tokens': 12}");
    const struct sample_opts *const s = &g.r.gen.sample;
    assert_true(s->temp == 0.5f && s->top_p == 0 && s->min_p == 1 && s->typical == 0.25f);
    assert_true(s->repeat == 2 && s->presence == -2 && s->frequency == 1.5f);
    assert_true(s->top_k == UINT32_MAX && s->penalty_last == -1 && s->seed == 0);
    assert_int_equal(g.r.gen.n_max, 12);
    drop(&g);
    static const struct {
        const char *text;
        uint32_t n_max;
    } lengths[] = {{"{'prompt': 'a', 'max_tokens': 0}", 0},
                   {"{'prompt': 'a', 'max_tokens': -1}", UINT32_MAX},
                   {"{'prompt': 'a', 'max_completion_tokens': 3}", 3},
                   {"{'prompt': 'a', 'n_predict': 2147483647}", INT32_MAX},
                   {"{'prompt': 'a', 'max_tokens': null, 'n_predict': 5}", 5}};
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        g = take(lengths[i].text);
        assert_true(g.r.gen.n_max == lengths[i].n_max);
        drop(&g);
    }
}

static void test_number_ranges(void **state)
{
    (void)state;
    static const struct {
        const char *name, *value, *says;
    } bad[] = {
        {"temperature", "-0.1", "-0.1 is not accepted; expected a number from 0 to 100"},
        {"temperature", "100.5", "from 0 to 100"},
        {"temperature", "'hot'", "\"hot\" is not accepted; expected a number from 0 to 100"},
        {"temperature", "true", "true is not accepted"},
        {"temperature", "[1]", "an array"},
        {"temperature", "{}", "an object"},
        {"top_p", "1.01", "from 0 to 1"},
        {"top_p",
         "'"
         "long long long long long long long long long long'",
         "a string of 49 bytes"},
        {"top_k", "-1", "a whole number from 0 to 4294967295"},
        {"top_k", "4294967296", "4294967296 is not accepted"},
        {"top_k", "4.0", "a whole number"},
        {"min_p", "-1", "from 0 to 1"},
        {"typical_p", "2", "from 0 to 1"},
        {"repeat_penalty", "0", "from 0.01 to 100"},
        {"presence_penalty", "2.1", "from -2 to 2"},
        {"frequency_penalty", "-3", "from -2 to 2"},
        {"repeat_last_n", "-2", "from -1 to 67108864"},
        {"max_tokens", "-2", "from -1 to 2147483647"},
        {"max_tokens", "2147483648", "from -1 to 2147483647"},
        {"max_tokens", "1.5", "1.5 is not accepted; expected a whole number"},
        {"max_completion_tokens", "'3'", "whole number"},
        {"n_predict", "9223372036854775807", "9223372036854775807 is not"},
        {"seed", "-1", "-1 is not accepted; expected a whole number from 0 to 2^64-1"},
        {"seed", "1.0", "whole number"},
        {"seed", "'18446744073709551616'", "2^64-1"},
        {"seed", "''", "2^64-1"},
        {"seed", "'-1'", "2^64-1"},
        {"raw", "1", "1 is not accepted; expected true or false"},
        {"raw", "'true'", "true or false"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char text[256], field[64];
        snprintf(text, sizeof text, "{'prompt': 'a', '%s': %s}", bad[i].name, bad[i].value);
        snprintf(field, sizeof field, "field '%s': ", bad[i].name);
        refuse(ERR_USAGE, text, field);
        refuse(ERR_USAGE, text, bad[i].says);
    }
    struct got g = take("{'prompt': 'a', 'seed': 9223372036854775807}");
    assert_true(g.r.gen.sample.seed == INT64_MAX);
    drop(&g);
    g = take("{'prompt': 'a', 'seed': '18446744073709551615'}");
    assert_true(g.r.gen.sample.seed == UINT64_MAX);
    drop(&g);
}

/* ---- lists ----------------------------------------------------------------------------------- */

static void test_bias(void **state)
{
    (void)state;
    struct got g = take("{'prompt': 'a', 'logit_bias': {'0': -100, '7': 1.5}}");
    assert_int_equal(g.r.gen.sample.n_bias, 2); /* in place of the default's */
    for (size_t i = 0; i < 2; i++) {
        const struct sample_bias b = g.r.gen.sample.bias[i];
        assert_true((b.id == 0 && b.add == -100) || (b.id == 7 && b.add == 1.5f));
    }
    assert_true(g.r.gen.sample.bias[0].id != g.r.gen.sample.bias[1].id);
    drop(&g);
    g = take("{'prompt': 'a', 'logit_bias': {}}");
    assert_int_equal(g.r.gen.sample.n_bias, 0);
    drop(&g);
    refuse(ERR_USAGE, "{'prompt': 'a', 'logit_bias': [[1, 2]]}", "an array is not accepted");
    refuse(ERR_USAGE, "{'prompt': 'a', 'logit_bias': {'-1': 1}}", "'-1' is no token");
    refuse(ERR_USAGE, "{'prompt': 'a', 'logit_bias': {'the': 1}}", "expected an id from 0 to");
    refuse(ERR_USAGE, "{'prompt': 'a', 'logit_bias': {'4294967297': 1}}", "no token");
    refuse(ERR_USAGE, "{'prompt': 'a', 'logit_bias': {'1': null}}", "a number for each id");
    refuse(ERR_USAGE, "{'prompt': 'a', 'logit_bias': {'1': 2, '2': true}}", "true is not");
    refuse(ERR_USAGE, "{'prompt': 'a', 'logit_bias': {'1': 1e39}}", "a float holds");
    char text[64];
    snprintf(text, sizeof text, "{'prompt': 'a', 'logit_bias': {'%u': 1}}", n_vocab);
    refuse(ERR_USAGE, text, "no token");
    json_t *const many = json_object();
    for (int i = 0; i <= SAMPLE_BIASES_MAX; i++) {
        snprintf(text, sizeof text, "%0*d", 1 + i % 20, i); /* ids need not be of the vocabulary */
        json_object_set_new(many, text, json_integer(1));
    }
    assert_true(json_object_size(many) > SAMPLE_BIASES_MAX);
    g = read_item(json_pack("{s:s, s:o}", "prompt", "a", "logit_bias", many), true);
    assert_int_equal(g.err, ERR_USAGE);
    assert_non_null(strstr(err_msg(), "4097 ids, expected at most 4096"));
    drop(&g);
}

static void assert_stops(const struct got *g, size_t n, const char *const *want)
{
    assert_int_equal(g->r.gen.n_stop, n);
    for (size_t i = 0; i < n; i++) assert_string_equal(g->r.gen.stop[i], want[i]);
}

static void test_stops(void **state)
{
    (void)state;
    struct got g = take("{'prompt': 'a', 'stop': 'END'}"); /* in place of the default's */
    assert_stops(&g, 1, (const char *const[]){"END"});
    drop(&g);
    g = take("{'prompt': 'a', 'stop': ['x', 'yy', 'x']}");
    assert_stops(&g, 3, (const char *const[]){"x", "yy", "x"});
    drop(&g);
    g = take("{'prompt': 'a', 'stop': []}");
    assert_stops(&g, 0, NULL);
    drop(&g);
    /* A chat ends where its template says, too. */
    g = take("{'messages': [{'role': 'user', 'content': 'a'}]}");
    assert_stops(&g, 3, (const char *const[]){"first", "second", own_stop});
    drop(&g);
    g = take("{'prompt': 'a', 'raw': false}"); /* no chat: the model has no template */
    assert_stops(&g, 2, default_stops);
    drop(&g);
    g = take("{'messages': [{'role': 'user', 'content': 'a'}], 'stop': ['x']}");
    assert_stops(&g, 2, (const char *const[]){"x", own_stop});
    drop(&g);
    g = read_item(json_pack("{s:[{s:s, s:s}], s:[s]}", "messages", "role", "user", "content", "a",
                            "stop", own_stop),
                  true);
    assert_int_equal(g.err, OK);
    assert_stops(&g, 1, &own_stop);
    drop(&g);
    refuse(ERR_USAGE, "{'prompt': 'a', 'stop': 3}", "field 'stop': 3 is not accepted");
    refuse(ERR_USAGE, "{'prompt': 'a', 'stop': ['a', null]}", "field 'stop'");
    refuse(ERR_USAGE, "{'prompt': 'a', 'stop': ''}", "field 'stop': the stop string has 0 bytes");
    refuse(ERR_USAGE, "{'prompt': 'a', 'stop': ['a', '']}", "0 bytes");
    refuse(ERR_USAGE, "{'prompt': 'a', 'stop': 'a\\u0000b'}", "without NUL");
    json_t *const many = json_array();
    for (int i = 0; i < STOPS_MAX; i++) json_array_append_new(many, json_string("x"));
    json_t *const item = json_pack("{s:s, s:o}", "prompt", "a", "stop", many);
    g = read_item(json_incref(item), true);
    assert_int_equal(g.err, OK);
    drop(&g);
    json_object_del(item, "prompt"); /* a chat, and no room for the template's */
    json_object_set_new(item, "messages", parse("[{'role': 'user', 'content': 'a'}]"));
    g = read_item(json_incref(item), true);
    assert_int_equal(g.err, ERR_USAGE);
    assert_non_null(strstr(err_msg(), "64 strings"));
    drop(&g);
    json_array_append_new(many, json_string("x"));
    g = read_item(item, true);
    assert_int_equal(g.err, ERR_USAGE);
    assert_non_null(strstr(err_msg(), "65 strings"));
    drop(&g);
}

/* ---- prompts --------------------------------------------------------------------------------- */

static void assert_ids(const struct got *g, const uint32_t *ids, size_t n)
{
    assert_int_equal(g->r.n_ids, n);
    assert_memory_equal(g->r.ids, ids, n * sizeof *ids);
}

static void test_raw_prompt(void **state)
{
    (void)state;
    uint32_t *ids;
    size_t n;
    assert_int_equal(engine_tokenize(engine, "Once upon a time", 16, ENGINE_TOK_BOS, &ids, &n), OK);
    struct got g = take("{'prompt': 'Once upon a time'}");
    assert_ids(&g, ids, n);
    drop(&g);
    g = read_item(parse("{'prompt': 'Once upon a time', 'raw': true}"), false);
    assert_ids(&g, ids, n);
    drop(&g);
    g = read_item(parse("{'prompt': 'Once upon a time'}"), false); /* there is no template */
    assert_ids(&g, ids, n);
    drop(&g);
    engine_free(ids);
    assert_int_equal(engine_tokenize(engine, "a\0b", 3, ENGINE_TOK_BOS, &ids, &n), OK);
    g = take("{'prompt': 'a\\u0000b'}");
    assert_ids(&g, ids, n);
    drop(&g);
    engine_free(ids);
    const uint32_t bos = engine_bos(engine);
    g = take("{'prompt': ''}");
    assert_ids(&g, &bos, 1);
    drop(&g);
}

static void test_id_prompt(void **state)
{
    (void)state;
    for (int raw = 0; raw < 2; raw++) { /* ids are ids, raw or not */
        struct got g = read_item(parse("{'prompt': [3, 0, 9]}"), raw);
        assert_ids(&g, (const uint32_t[]){3, 0, 9}, 3);
        assert_stops(&g, 2, default_stops);
        drop(&g);
    }
    char text[64];
    snprintf(text, sizeof text, "{'prompt': [%u]}", n_vocab - 1);
    struct got g = take(text);
    drop(&g);
    snprintf(text, sizeof text, "{'prompt': [1, %u]}", n_vocab);
    refuse(ERR_INPUT, text, "item 2 is");
    refuse(ERR_INPUT, "{'prompt': [-1]}", "outside the vocabulary");
    refuse(ERR_INPUT, "{'prompt': []}", "0 ids");
    refuse(ERR_USAGE, "{'prompt': [1, 'a']}", "expected token ids");
    refuse(ERR_USAGE, "{'prompt': [1.0]}", "expected token ids");
    refuse(ERR_USAGE, "{'prompt': [[1]]}", "expected token ids");
}

/* The same ids as engine_prompt() gives for the conversation. */
static void check_chat(const char *item, const char *conversation)
{
    uint32_t *ids;
    size_t n;
    json_t *const c = parse(conversation);
    assert_int_equal(engine_prompt(engine, c, CHAT_GENERATE, &ids, &n), OK);
    struct got g = read_item(parse(item), false);
    if (g.err) fail_msg("%s: %s", item, err_msg());
    assert_ids(&g, ids, n);
    drop(&g);
    engine_free(ids);
    json_decref(c);
}

#define HELLO "[{'role': 'user', 'content': 'Hello'}]"

static void test_chat_prompt(void **state)
{
    (void)state;
    check_chat("{'messages': " HELLO "}", HELLO);
    check_chat("{'messages': " HELLO ", 'raw': true}", HELLO); /* there is nothing raw in them */
    check_chat("{'messages': [{'role': 'system', 'content': 'Be brief.'},"
               " {'role': 'user', 'content': 'Hi'}]}",
               "[{'role': 'system', 'content': 'Be brief.'}, {'role': 'user', 'content': 'Hi'}]");
    check_chat("{'messages': " HELLO ", 'chat_template_kwargs': {'messages': []}}", HELLO);
    refuse(ERR_USAGE, "{}", "neither 'prompt' nor 'messages'");
    refuse(ERR_USAGE, "{'prompt': null}", "neither");
    refuse(ERR_USAGE, "{'prompt': 'a', 'messages': " HELLO "}", "both");
    refuse(ERR_USAGE, "{'prompt': 7}", "7 is not accepted; expected a string, or an array");
    refuse(ERR_USAGE, "{'prompt': {}}", "an object is not");
    refuse(ERR_USAGE, "{'messages': " HELLO ", 'chat_template_kwargs': 1}", "chat_template_kwargs");
    refuse(ERR_INPUT, "{'messages': 'Hello'}", "");
    refuse(ERR_INPUT, "{'messages': [{'role': 'user'}, 1]}", "");
    refuse(ERR_USAGE, "[1]", "a JSON object");
    refuse(ERR_USAGE, "'text'", "a JSON object");
}

/* With a template a prompt is what a user says. */
static void test_prompt_is_chat(void **state)
{
    (void)state;
    static const char source[] =
        "{% for m in messages %}[{{ m.role }}] {{ m.content }}{% endfor %}";
    char path[] = "/tmp/moxie-request-XXXXXX";
    const int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, source, strlen(source)), strlen(source));
    assert_int_equal(close(fd), 0);
    struct engine *const plain = engine;
    assert_int_equal(engine_open(&engine, &(struct engine_opts){.chat_template = path}), OK);
    check_chat("{'prompt': 'Hello'}", HELLO);
    check_chat("{'prompt': 'Hello', 'raw': false}", HELLO);
    check_chat("{'prompt': 'Hello', 'chat_template_kwargs': {'messages': []}}", HELLO);
    engine_close(engine);
    engine = plain;
    assert_int_equal(unlink(path), 0);
}

/* ---- the rest -------------------------------------------------------------------------------- */

static void test_context(void **state)
{
    (void)state;
    struct request r;
    const struct gen_opts o = defaults();
    json_t *const item = parse("{'prompt': [1, 2, 3, 4], 'stop': 'x', 'logit_bias': {'1': 1}}");
    assert_int_equal(request_read(&r, engine, item, &o, true, 4), OK);
    assert_int_equal(r.n_ids, 4);
    assert_false(r.too_long);
    request_fini(&r);
    assert_int_equal(request_read(&r, engine, item, &o, true, 3), ERR_USAGE);
    assert_true(r.too_long);
    assert_null(r.ids);
    assert_null(r.bias);
    assert_null(r.stop);
    assert_string_equal(err_msg(), "the prompt has 4 tokens, which do not fit the context of 3; "
                                   "shorten it or raise -c");
    json_object_set_new(item, "top_k", json_string("many"));
    assert_int_equal(request_read(&r, engine, item, &o, true, 3), ERR_USAGE);
    assert_false(r.too_long); /* the field is at fault */
    json_decref(item);
}

static void test_unknown(void **state)
{
    (void)state;
    static const char *const mine[] = {"id", "type", NULL}, *const none[] = {NULL};
    json_t *item =
        parse("{'prompt': 1, 'messages': 1, 'tools': 1, 'chat_template_kwargs': 1, 'raw': 1,"
              " 'max_tokens': 1, 'max_completion_tokens': 1, 'n_predict': 1, 'temperature': 1,"
              " 'top_p': 1, 'top_k': 1, 'min_p': 1, 'typical_p': 1, 'repeat_penalty': 1,"
              " 'presence_penalty': 1, 'frequency_penalty': 1, 'repeat_last_n': 1, 'logit_bias': 1,"
              " 'seed': 1, 'stop': 1, 'id': 1}");
    assert_null(request_unknown(item, mine));
    assert_string_equal(request_unknown(item, none), "id");
    json_object_set_new(item, "temprature", json_null());
    assert_string_equal(request_unknown(item, mine), "temprature");
    json_decref(item);
}

static void test_memory(void **state)
{
    (void)state;
    const size_t used = mem_used_total();
    uint64_t at = 1;
    for (;; at++) {
        json_t *const item = parse("{'prompt': 'a', 'stop': 'b', 'logit_bias': {'1': 1}}");
        mem_fail_at(at);
        struct got g = read_item(item, true);
        mem_fail_at(0);
        drop(&g);
        assert_true(mem_used_total() == used);
        if (g.err == OK) break;
        assert_int_equal(g.err, ERR_MEMORY);
    }
    assert_true(at > 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),       cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_number_ranges),  cmocka_unit_test(test_bias),
        cmocka_unit_test(test_stops),          cmocka_unit_test(test_raw_prompt),
        cmocka_unit_test(test_id_prompt),      cmocka_unit_test(test_chat_prompt),
        cmocka_unit_test(test_prompt_is_chat), cmocka_unit_test(test_unknown),
        cmocka_unit_test(test_context),        cmocka_unit_test(test_memory),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, open_engine, close_engine);
}
