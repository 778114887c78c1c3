/*
 * test_batch_item.c: lines of batch input as items, answers as lines, in our own format and in that
 * of OpenAI's batch files; and the window that puts answers in order.
 */
#include "base/limits.h"
#include "base/mem.h"
#include "cmd/batch_item.h"
#include "cmd/batch_order.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const struct batch_answer hello = {.text = "Hello",
                                          .n_text = 5,
                                          .finish = "stop",
                                          .model = "demo",
                                          .n_prompt = 7,
                                          .n_completion = 2};
static const struct batch_answer failed = {.code = "failed", .message = "it \"broke\" \xff"};

static enum err read_json(struct batch_item *it, const char *s, size_t n)
{
    const struct batch_line line = {.s = s, .n = n, .number = 3};
    return batch_item_read(it, &line, true, false);
}

static void expect_answer(const struct batch_stub *stub, const struct batch_answer *a,
                          const char *want)
{
    char *line = NULL;
    size_t n = 0;
    assert_int_equal(batch_item_answer(stub, a, &line, &n), OK);
    assert_int_equal(n, strlen(line));
    assert_string_equal(line, want);
    mem_free(line);
}

/* A line that is an item with this id. */
static void expect_id(const char *s, const char *id)
{
    struct batch_item it;
    if (read_json(&it, s, strlen(s))) fail_msg("%s: %s", s, err_msg());
    assert_int_equal(it.stub.form, BATCH_OWN);
    assert_ptr_equal(it.request, it.root);
    char want[256];
    snprintf(want, sizeof want,
             "{\"id\":%s,\"error\":{\"code\":\"failed\",\"message\":\"line 3: it \\\"broke\\\" "
             "\xef\xbf\xbd\"}}\n",
             id);
    expect_answer(&it.stub, &failed, want);
    batch_item_fini(&it);
}

/* A line that is none, with what its answer says. */
static void expect_no_item(const char *s, size_t n, const char *code, const char *why)
{
    struct batch_item it;
    assert_int_equal(read_json(&it, s, n), ERR_INPUT);
    assert_non_null(it.code);
    assert_string_equal(it.code, code);
    if (!strstr(err_msg(), why)) fail_msg("%s: '%s' does not say '%s'", s, err_msg(), why);
    assert_non_null(it.stub.id);
    batch_item_fini(&it);
}

static void test_ids(void **state)
{
    (void)state;
    expect_id("{\"prompt\":\"x\"}", "3");
    expect_id("{\"id\":null}", "3");
    expect_id(" {\"id\":\"a \\u00e4\\n\"} ", "\"a \xc3\xa4\\n\"");
    expect_id("{\"id\":\"\\u0000\"}", "\"\\u0000\"");
    expect_id("{\"id\":-9223372036854775808}", "-9223372036854775808");
    expect_id("{\"id\":0}", "0");
    expect_id("{\"id\":1.5}", "1.5");
    expect_id("{\"id\":0.1}", "0.1");
    expect_id("{\"id\":1e300}", "1e300");
    expect_id("{\"id\":1.0}", "1.0");
    expect_id("{\"id\":0.30000000000000004}", "0.30000000000000004");
}

static void test_bad_json(void **state)
{
    (void)state;
    static const struct {
        const char *line, *code, *why;
    } bad[] = {
        {"x", "invalid_json", "byte 1"},
        {"{\"prompt\":\"x\"", "invalid_json", "near end of file"},
        {"{\"prompt\":\"x\"} 1", "invalid_json", "end of file expected"},
        {"[1]", "invalid_json", "not a JSON object"},
        {"{\"id\":1,\"id\":2}", "invalid_json", "duplicate"},
        {"{\"id\":1e999}", "invalid_json", "overflow"},
        {"{\"prompt\":\"\\ud800\"}", "invalid_json", "invalid Unicode"},
        {"{\"prompt\":\"\xff\"}", "invalid_utf8", "UTF-8"},
        {"{\"prompt\":\"\xed\xa0\x80\"}", "invalid_utf8", "UTF-8"},
        {"{\"id\":[1]}", "invalid_request", "'id'"},
        {"{\"id\":true}", "invalid_request", "'id'"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        expect_no_item(bad[i].line, strlen(bad[i].line), bad[i].code, bad[i].why);
    expect_no_item("{}\0", 3, "invalid_json", "end of file expected");
    char deep[5000];
    memset(deep, '[', sizeof deep);
    expect_no_item(deep, sizeof deep, "invalid_json", "depth");
}

static void test_text(void **state)
{
    (void)state;
    struct batch_item it;
    struct batch_line line = {.s = "{\"a\"}\0b", .n = 7, .number = 9};
    assert_int_equal(batch_item_read(&it, &line, false, true), OK);
    const json_t *const prompt = json_object_get(it.request, "prompt");
    assert_int_equal(json_string_length(prompt), 7);
    assert_memory_equal(json_string_value(prompt), line.s, 7);
    assert_true(it.raw);
    assert_int_equal(json_integer_value(it.stub.id), 9);
    batch_item_fini(&it);
    line = (struct batch_line){.s = "a\xff", .n = 2, .number = 9};
    assert_int_equal(batch_item_read(&it, &line, false, false), ERR_INPUT);
    assert_string_equal(it.code, "invalid_utf8");
    batch_item_fini(&it);
    line.is_long = true;
    assert_int_equal(batch_item_read(&it, &line, false, false), ERR_INPUT);
    assert_string_equal(it.code, "line_too_long");
    batch_item_fini(&it);
}

static void test_own_answer(void **state)
{
    (void)state;
    struct batch_stub stub = {.id = json_string("a"), .line = 3, .n_shared = 4};
    expect_answer(&stub, &hello,
                  "{\"id\":\"a\",\"text\":\"Hello\",\"finish_reason\":\"stop\",\"usage\":"
                  "{\"prompt_tokens\":7,\"cached_tokens\":4,\"completion_tokens\":2}}\n");
    struct batch_answer a = hello;
    a.text = "a\0\n\xe2\x82";
    a.n_text = 5;
    a.finish = "context";
    expect_answer(&stub, &a,
                  "{\"id\":\"a\",\"text\":\"a\\u0000\\n\xef\xbf\xbd\xef\xbf\xbd\","
                  "\"finish_reason\":\"context\",\"usage\":"
                  "{\"prompt_tokens\":7,\"cached_tokens\":4,\"completion_tokens\":2}}\n");
    a.text = NULL;
    a.n_text = 0;
    char *line;
    size_t n;
    assert_int_equal(batch_item_answer(&stub, &a, &line, &n), OK);
    assert_non_null(strstr(line, "\"text\":\"\""));
    mem_free(line);
    batch_stub_fini(&stub);
}

/* ---- OpenAI's format ------------------------------------------------------------------------- */

#define LINE(url, body)                                                                            \
    "{\"custom_id\":\"c\",\"method\":\"POST\",\"url\":\"/v1/" url "\",\"body\":" body "}"
#define CHAT(more) LINE("chat/completions", "{\"messages\":[]" more "}")

static void expect_openai(const char *s, enum batch_form form, const char *want)
{
    struct batch_item it;
    if (read_json(&it, s, strlen(s))) fail_msg("%s: %s", s, err_msg());
    assert_int_equal(it.stub.form, form);
    assert_int_equal(it.raw, form == BATCH_COMPLETION);
    assert_ptr_equal(it.request, json_object_get(it.root, "body"));
    it.stub.n_shared = 4;
    struct batch_answer a = hello;
    a.finish = "context";
    expect_answer(&it.stub, &a, want);
    expect_answer(&it.stub, &failed,
                  "{\"id\":\"batch_req_3\",\"custom_id\":\"c\",\"response\":null,\"error\":"
                  "{\"code\":\"failed\",\"message\":\"line 3: it \\\"broke\\\" \xef\xbf\xbd\"}}\n");
    batch_item_fini(&it);
}

static void test_openai(void **state)
{
    (void)state;
#define HEAD                                                                                       \
    "{\"id\":\"batch_req_3\",\"custom_id\":\"c\",\"response\":{\"status_code\":200,"               \
    "\"request_id\":\"req_3\",\"body\":"
#define TAIL                                                                                       \
    ",\"logprobs\":null,\"finish_reason\":\"length\"}],\"usage\":{\"prompt_tokens\":7,"            \
    "\"completion_tokens\":2,\"total_tokens\":9,\"prompt_tokens_details\":{\"cached_tokens\":4}}"  \
    "}},\"error\":null}\n"
    expect_openai(CHAT(""), BATCH_CHAT,
                  HEAD "{\"id\":\"chatcmpl-3\",\"object\":\"chat.completion\",\"created\":0,"
                       "\"model\":\"demo\",\"choices\":[{\"index\":0,\"message\":{\"role\":"
                       "\"assistant\",\"content\":\"Hello\",\"refusal\":null}" TAIL);
    expect_openai(LINE("completions", "{\"prompt\":\"x\"}"), BATCH_COMPLETION,
                  HEAD "{\"id\":\"cmpl-3\",\"object\":\"text_completion\",\"created\":0,"
                       "\"model\":\"demo\",\"choices\":[{\"index\":0,\"text\":\"Hello\"" TAIL);
}

static void test_openai_refused(void **state)
{
    (void)state;
    static const struct {
        const char *line, *code, *why;
    } bad[] = {
        {CHAT(",\"n\":2"), "unsupported_parameter", "'n' must be 1"},
        {CHAT(",\"n\":1.5"), "unsupported_parameter", "'n'"},
        {CHAT(",\"stream\":true"), "unsupported_parameter", "'stream'"},
        {CHAT(",\"logprobs\":true"), "unsupported_parameter", "'logprobs'"},
        {CHAT(",\"response_format\":{\"type\":\"json_object\"}"), "unsupported_parameter",
         "'response_format'"},
        {LINE("embeddings", "{\"input\":\"x\"}"), "invalid_url", "'url' must be"},
        {LINE("completions", "{\"messages\":[]}"), "invalid_request", "'prompt'"},
        {LINE("chat/completions", "{\"prompt\":\"x\"}"), "invalid_request", "'messages'"},
        {LINE("chat/completions", "[]"), "invalid_request", "'body'"},
        {"{\"custom_id\":\"c\",\"method\":\"GET\",\"url\":\"/v1/completions\",\"body\":{}}",
         "invalid_method", "'method'"},
        {"{\"custom_id\":7,\"body\":{}}", "invalid_request", "'custom_id'"},
        {"{\"body\":{}}", "invalid_request", "'custom_id'"},
        {"{\"custom_id\":\"c\"}", "invalid_url", "'url'"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        expect_no_item(bad[i].line, strlen(bad[i].line), bad[i].code, bad[i].why);
    expect_openai(CHAT(",\"n\":1,\"stream\":false,\"logprobs\":null,\"top_logprobs\":0,"
                       "\"response_format\":{\"type\":\"text\"},\"model\":\"gpt\""),
                  BATCH_CHAT,
                  HEAD "{\"id\":\"chatcmpl-3\",\"object\":\"chat.completion\",\"created\":0,"
                       "\"model\":\"demo\",\"choices\":[{\"index\":0,\"message\":{\"role\":"
                       "\"assistant\",\"content\":\"Hello\",\"refusal\":null}" TAIL);
}

/* ---- answers read again ---------------------------------------------------------------------- */

static void expect_answered(const char *s, const char *id, bool want_failed)
{
    const struct batch_line line = {.s = s, .n = strlen(s), .number = 1};
    json_t *got = NULL;
    bool is_failed = !want_failed;
    assert_true(batch_item_answered(&line, &got, &is_failed));
    assert_int_equal(is_failed, want_failed);
    json_t *const want = json_loads(id, JSON_DECODE_ANY, NULL);
    assert_true(json_equal(got, want));
    json_decref(got);
    json_decref(want);
}

static void test_answered(void **state)
{
    (void)state;
    expect_answered("{\"id\":1,\"text\":\"\"}", "1", false);
    expect_answered("{\"id\":\"a\",\"error\":{\"code\":\"x\"}}", "\"a\"", true);
    expect_answered("{\"id\":\"r\",\"custom_id\":\"c\",\"response\":{},\"error\":null}", "\"c\"",
                    false);
    expect_answered("{\"id\":\"r\",\"custom_id\":null,\"error\":{}}", "null", true);
    static const char *const none[] = {"",
                                       "{}",
                                       "x",
                                       "[]",
                                       "\"id\"",
                                       "{\"id\":1",
                                       "{\"id\":1,\"prompt\":\"x\"}",
                                       "{\"id\":1}",
                                       "{\"custom_id\":\"c\",\"text\":\"\"}"};
    for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
        const struct batch_line line = {.s = none[i], .n = strlen(none[i]), .number = 1};
        json_t *id;
        bool is_failed;
        assert_false(batch_item_answered(&line, &id, &is_failed));
    }
}

/* What a killed run leaves, and what somebody else has written. */
static void test_torn(void **state)
{
    (void)state;
    static const char own[] = "{\"id\":\"a\",\"text\":\"b\"}",
                      openai[] = "{\"id\":\"r\",\"custom_id\":\"c\",\"response\":null}";
    for (size_t n = 0; n < sizeof own; n++)
        assert_true(batch_item_torn(&(struct batch_line){.s = own, .n = n}));
    for (size_t n = 0; n < sizeof openai; n++)
        assert_true(batch_item_torn(&(struct batch_line){.s = openai, .n = n}));
    static const char *const foreign[] = {
        "x",      "{\"ie",  "{ \"id\": 1", "[\"id\"", "GGUF\3",
        "{\"a\"", "\"id\"", "{\"id\":1}",  " ",       "{\"id\":\"a\",\"prompt\":\"b\"}"};
    for (size_t i = 0; i < sizeof foreign / sizeof *foreign; i++)
        assert_false(
            batch_item_torn(&(struct batch_line){.s = foreign[i], .n = strlen(foreign[i])}));
}

/* ---- order ----------------------------------------------------------------------------------- */

static struct batch_order *open_order(void)
{
    struct batch_order *w = NULL;
    if (batch_order_open(&w)) fail_msg("%s", err_msg());
    return w;
}

static uint64_t add(struct batch_order *w, int id)
{
    struct batch_stub stub = {.id = json_integer(id), .line = (uint64_t)id};
    const uint64_t tag = batch_order_add(w, &stub);
    assert_null(stub.id);
    return tag;
}

static void expect_first(struct batch_order *w, int id)
{
    size_t n;
    char begin[32];
    const char *const line = batch_order_first(w, &n);
    assert_non_null(line);
    snprintf(begin, sizeof begin, "{\"id\":%d,", id);
    assert_memory_equal(line, begin, strlen(begin));
    assert_int_equal(line[n - 1], '\n');
    batch_order_pop(w);
}

static void test_order(void **state)
{
    (void)state;
    struct batch_order *const w = open_order();
    size_t n;
    assert_null(batch_order_first(w, &n));
    uint64_t tags[3];
    for (int i = 0; i < 3; i++) tags[i] = add(w, i);
    assert_int_equal(batch_order_text(w, tags[1], "on", 2), OK);
    assert_int_equal(batch_order_text(w, tags[2], "two", 3), OK);
    assert_int_equal(batch_order_text(w, tags[1], "e", 1), OK);
    assert_int_equal(batch_order_text(w, tags[1], NULL, 0), OK);
    assert_int_equal(batch_order_done(w, tags[2], &hello), OK);
    assert_null(batch_order_first(w, &n));
    assert_int_equal(batch_order_done(w, tags[0], &failed), OK);
    expect_first(w, 0);
    assert_null(batch_order_first(w, &n));
    assert_int_equal(batch_order_done(w, tags[1], &hello), OK);
    const char *const line = batch_order_first(w, &n);
    assert_non_null(strstr(line, "\"text\":\"one\""));
    expect_first(w, 1);
    expect_first(w, 2);
    assert_null(batch_order_first(w, &n));
    batch_order_close(w);
}

/* Many items through the window, done in a shuffled order within what it holds. */
static void test_order_window(void **state)
{
    (void)state;
    const size_t used = mem_used_total();
    struct batch_order *const w = open_order();
    uint64_t tags[BATCH_WINDOW];
    int n_in = 0, n_out = 0;
    for (int round = 0; round < 4; round++) {
        int n = 0;
        for (; !batch_order_full(w); n++) tags[n] = add(w, n_in++);
        assert_int_equal(n, BATCH_WINDOW);
        for (int i = 0; i < n; i++) {
            const int k = i * 389 % n; /* odd: all of them */
            assert_int_equal(batch_order_done(w, tags[k], &hello), OK);
        }
        size_t n_bytes;
        while (batch_order_first(w, &n_bytes)) expect_first(w, n_out++);
    }
    assert_int_equal(n_in, n_out);
    add(w, 1); /* one is left behind */
    batch_order_close(w);
    assert_int_equal(mem_used_total(), used);
}

static void test_order_bytes(void **state)
{
    (void)state;
    struct batch_order *const w = open_order();
    char *const text = mem_alloc(MEM_MISC, BATCH_HELD_BYTES_MAX);
    memset(text, 'x', BATCH_HELD_BYTES_MAX);
    const uint64_t a = add(w, 1);
    assert_int_equal(batch_order_text(w, a, text, BATCH_HELD_BYTES_MAX), OK);
    assert_false(batch_order_full(w));
    const uint64_t b = add(w, 2);
    assert_int_equal(batch_order_text(w, b, text, 1), OK);
    assert_true(batch_order_full(w));
    assert_int_equal(batch_order_done(w, a, &hello), OK);
    assert_int_equal(batch_order_done(w, b, &hello), OK);
    assert_true(batch_order_full(w));
    expect_first(w, 1);
    assert_false(batch_order_full(w));
    expect_first(w, 2);
    mem_free(text);
    batch_order_close(w);
}

static enum err one_item(struct batch_order *w)
{
    struct batch_item it;
    const struct batch_line line = {.s = "{}", .n = 2, .number = 1};
    enum err err = batch_item_read(&it, &line, true, false);
    if (err == OK) {
        const uint64_t tag = batch_order_add(w, &it.stub);
        err = batch_order_text(w, tag, "text", 4);
        if (err == OK) err = batch_order_done(w, tag, &hello);
    }
    batch_item_fini(&it);
    return err;
}

static void test_memory(void **state)
{
    (void)state;
    const size_t used = mem_used_total();
    enum err err = ERR_MEMORY;
    unsigned n_fail = 0;
    while (err == ERR_MEMORY) {
        struct batch_order *w = NULL;
        mem_fail_at(++n_fail);
        err = batch_order_open(&w);
        if (err == OK) err = one_item(w);
        batch_order_close(w);
        assert_int_equal(mem_used_total(), used);
    }
    mem_fail_at(0);
    assert_int_equal(err, OK);
    assert_true(n_fail > 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ids),         cmocka_unit_test(test_bad_json),
        cmocka_unit_test(test_text),        cmocka_unit_test(test_own_answer),
        cmocka_unit_test(test_openai),      cmocka_unit_test(test_openai_refused),
        cmocka_unit_test(test_answered),    cmocka_unit_test(test_torn),
        cmocka_unit_test(test_order),       cmocka_unit_test(test_order_window),
        cmocka_unit_test(test_order_bytes), cmocka_unit_test(test_memory),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests_name("batch_item", tests, NULL, NULL);
}
