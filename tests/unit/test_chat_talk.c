/*
 * test_chat_talk.c: the conversation as a list: exchanges come and go, the system message stays,
 * files go out and come back, wrong ones change nothing.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cmd/chat_talk.h"
#include "temp_dir.h"

#include <string.h>

static struct temp_dir dir;

static void ask(struct chat_talk *t, const char *text)
{
    assert_int_equal(chat_talk_ask(t, text, strlen(text)), OK);
}

static void answer(struct chat_talk *t, const char *text)
{
    assert_int_equal(chat_talk_answer(t, text, strlen(text), NULL, 0), OK);
}

/* The conversation in short: "s:Be brief|u:Hi|a:Hello". */
static void assert_talk(const struct chat_talk *t, const char *expected)
{
    char s[512] = "";
    size_t i, n = 0;
    const json_t *m;
    json_array_foreach(json_object_get(t->root, "messages"), i, m) n +=
        (size_t)snprintf(s + n, sizeof s - n, "%s%c:%s", i ? "|" : "",
                         json_string_value(json_object_get(m, "role"))[0],
                         json_string_value(json_object_get(m, "content")));
    assert_string_equal(s, expected);
}

static void test_exchanges(void **state)
{
    (void)state;
    struct chat_talk t;
    assert_int_equal(chat_talk_init(&t, "S"), OK);
    assert_false(chat_talk_undo(&t) || chat_talk_waits(&t) || chat_talk_drop_answer(&t) ||
                 chat_talk_forget(&t));
    ask(&t, "1");
    assert_true(chat_talk_waits(&t));
    assert_false(chat_talk_drop_answer(&t) || chat_talk_forget(&t));
    answer(&t, "2");
    ask(&t, "3");
    answer(&t, "4");
    assert_false(chat_talk_waits(&t));
    assert_int_equal(chat_talk_n(&t), 4);
    assert_true(chat_talk_drop_answer(&t));
    assert_talk(&t, "s:S|u:1|a:2|u:3");
    assert_true(chat_talk_forget(&t));
    assert_talk(&t, "s:S|u:3");
    assert_false(chat_talk_forget(&t));
    answer(&t, "5");
    answer(&t, "6");
    assert_true(chat_talk_drop_answer(&t)); /* all that followed the question */
    assert_talk(&t, "s:S|u:3");
    assert_true(chat_talk_undo(&t));
    assert_talk(&t, "s:S");
    ask(&t, "8");
    chat_talk_clear(&t);
    assert_talk(&t, "s:S");
    chat_talk_fini(&t);
}

static void test_system(void **state)
{
    (void)state;
    struct chat_talk t;
    assert_int_equal(chat_talk_init(&t, NULL), OK);
    assert_null(chat_talk_system(&t));
    ask(&t, "1");
    assert_int_equal(chat_talk_set_system(&t, "A"), OK);
    assert_int_equal(chat_talk_set_system(&t, "B"), OK);
    assert_string_equal(chat_talk_system(&t), "B");
    assert_talk(&t, "s:B|u:1");
    assert_int_equal(chat_talk_n(&t), 1);
    assert_int_equal(chat_talk_set_system(&t, "\xff"), ERR_INPUT);
    assert_string_equal(chat_talk_system(&t), "B");
    assert_int_equal(chat_talk_set_system(&t, NULL), OK);
    assert_int_equal(chat_talk_set_system(&t, NULL), OK);
    assert_talk(&t, "u:1");
    chat_talk_fini(&t);
    assert_int_equal(chat_talk_init(&t, "\xff"), ERR_INPUT);
    chat_talk_fini(&t);
}

static void test_text(void **state)
{
    (void)state;
    struct chat_talk t;
    assert_int_equal(chat_talk_init(&t, NULL), OK);
    assert_int_equal(chat_talk_ask(&t, "ab\xc3(", 4), ERR_INPUT);
    assert_non_null(strstr(err_msg(), "byte 3 is 0xc3"));
    assert_int_equal(chat_talk_n(&t), 0);
    assert_int_equal(chat_talk_ask(&t, "a\0b", 3), OK);
    const json_t *const m = json_array_get(json_object_get(t.root, "messages"), 0);
    assert_int_equal(json_string_length(json_object_get(m, "content")), 3);
    assert_int_equal(chat_talk_answer(&t, "", 0, NULL, 0), OK);
    assert_int_equal(chat_talk_answer(&t, "c\xff\xc3", 3, NULL, 0), OK);
    const json_t *const last = json_array_get(json_object_get(t.root, "messages"), 2);
    assert_string_equal(json_string_value(json_object_get(last, "content")),
                        "c\xef\xbf\xbd\xef\xbf\xbd");
    chat_talk_fini(&t);
}

static void test_reasoning(void **state)
{
    (void)state;
    struct chat_talk t;
    assert_int_equal(chat_talk_init(&t, NULL), OK);
    ask(&t, "1");
    assert_int_equal(chat_talk_answer(&t, "b", 1, "a\xff", 2), OK);
    assert_talk(&t, "u:1|a:b");
    const json_t *const m = json_array_get(json_object_get(t.root, "messages"), 1);
    assert_string_equal(json_string_value(json_object_get(m, "reasoning_content")),
                        "a\xef\xbf\xbd");
    answer(&t, "c");
    const json_t *const last = json_array_get(json_object_get(t.root, "messages"), 2);
    assert_null(json_object_get(last, "reasoning_content"));
    chat_talk_fini(&t);
}

static void test_copy(void **state)
{
    (void)state;
    struct chat_talk t;
    assert_int_equal(chat_talk_init(&t, NULL), OK);
    ask(&t, "1");
    json_t *const before = chat_talk_copy(&t);
    answer(&t, "2");
    chat_talk_forget(&t);
    chat_talk_undo(&t);
    assert_talk(&t, "");
    chat_talk_restore(&t, before);
    assert_talk(&t, "u:1");
    chat_talk_fini(&t);
}

static void test_save_and_load(void **state)
{
    (void)state;
    struct chat_talk t, back;
    assert_int_equal(chat_talk_init(&t, "S"), OK);
    ask(&t, "two\nlines, \"quotes\", \xf0\x9f\xa6\x99");
    assert_int_equal(chat_talk_answer(&t, "a\0b", 3, NULL, 0), OK);
    assert_int_equal(chat_talk_save(&t, temp_path(&dir, "a.json")), OK);
    assert_int_equal(chat_talk_init(&back, "other"), OK);
    assert_int_equal(chat_talk_load(&back, temp_path(&dir, "a.json")), OK);
    assert_true(json_equal(t.root, back.root));
    chat_talk_fini(&t);
    /* What is beside the messages stays. */
    const char *const object = "{\"messages\": [{\"role\": \"user\", \"content\": \"1\"}], "
                               "\"tools\": [{}]}";
    assert_true(temp_write(temp_path(&dir, "b.json"), object, strlen(object)));
    assert_int_equal(chat_talk_load(&back, temp_path(&dir, "b.json")), OK);
    assert_talk(&back, "u:1");
    assert_int_equal(chat_talk_save(&back, temp_path(&dir, "c.json")), OK);
    assert_int_equal(chat_talk_load(&back, temp_path(&dir, "c.json")), OK);
    assert_int_equal(json_array_size(json_object_get(back.root, "tools")), 1);
    chat_talk_fini(&back);
}

static void test_bad_files(void **state)
{
    (void)state;
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"", "line 1 is no JSON"},
        {"[{\"role\": \"user\",\n}]", "line 2 is no JSON"},
        {"3", "line 1 is no JSON"},
        {"\"a\"", "line 1 is no JSON"},
        {"{}", "is no conversation"},
        {"{\"messages\": {}}", "is no conversation"},
        {"[1]", "message 1 has no role"},
        {"[{\"role\": \"user\"}, {\"role\": 2}]", "message 2 has no role"},
    };
    struct chat_talk t;
    assert_int_equal(chat_talk_init(&t, NULL), OK);
    ask(&t, "1");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_true(temp_write(temp_path(&dir, "bad"), cases[i].text, strlen(cases[i].text)));
        assert_int_equal(chat_talk_load(&t, temp_path(&dir, "bad")), ERR_INPUT);
        assert_non_null(strstr(err_msg(), cases[i].message));
        assert_talk(&t, "u:1");
    }
    assert_int_equal(chat_talk_load(&t, temp_path(&dir, "none")), ERR_INPUT);
    assert_int_equal(chat_talk_save(&t, temp_path(&dir, "none/below")), ERR_RUN);
    chat_talk_fini(&t);
}

static int make_dir(void **state)
{
    (void)state;
    return temp_dir_make(&dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
    (void)state;
    temp_dir_remove(&dir);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exchanges),     cmocka_unit_test(test_system),
        cmocka_unit_test(test_text),          cmocka_unit_test(test_reasoning),
        cmocka_unit_test(test_copy),          cmocka_unit_test(test_bad_files),
        cmocka_unit_test(test_save_and_load),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
