/*
 * test_chat_line.c: how lines become messages, and what is a command among them. The editor itself
 * is tried at a terminal (tests/cli/test_chat_tty.sh).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cmd/chat_impl.h"

#include <string.h>

/* Lines one after the other; each but the last must leave the message open. */
static void assert_joined(const char *const *lines, const char *expected)
{
    struct chat_join j = {0};
    for (size_t twice = 0; twice < 2; twice++) { /* nothing is left over from the first */
        for (size_t i = 0; lines[i]; i++) {
            assert_int_equal(chat_join_put(&j, lines[i], strlen(lines[i])), OK);
            assert_int_equal(j.is_open, lines[i + 1] != NULL);
        }
        assert_string_equal(bytes_at(&j.text), expected);
        assert_int_equal(bytes_n(&j.text), strlen(expected));
    }
    bytes_fini(&j.text);
}

#define JOINED(expected, ...) assert_joined((const char *const[]){__VA_ARGS__, NULL}, expected)

static void test_one_line(void **state)
{
    (void)state;
    JOINED("", "");
    JOINED("Hello", "Hello");
    JOINED("say \"\"\" to me", "say \"\"\" to me");
    JOINED("ends with \"\"\"", "ends with \"\"\"");
    JOINED("two\npasted lines\\", "two\npasted lines\\");
}

static void test_quotes(void **state)
{
    (void)state;
    JOINED("Hello", "\"\"\"Hello\"\"\"");
    JOINED("", "\"\"\"\"\"\"");
    JOINED("a\nb", "\"\"\"a", "b\"\"\"");
    JOINED("\na\n\nb\n", "\"\"\"", "a", "", "b", "\"\"\"");
    JOINED("a\\\n/b", "\"\"\"a\\", "/b\"\"\"");
    JOINED("\nx\ny\nz", "\"\"\"", "x\ny", "z\"\"\"");
}

static void test_pasted_quotes(void **state)
{
    (void)state;
    JOINED("a\nb", "\"\"\"a\nb\"\"\"");
    JOINED("\"\"\"Module.\"\"\"\nimport os", "\"\"\"Module.\"\"\"\nimport os");
}

static void test_backslash(void **state)
{
    (void)state;
    JOINED("a\nb\nc", "a\\", "b\\", "c");
    JOINED("a\n", "a\\", "");
    JOINED("a\\b", "a\\b");
}

static void test_commands(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool is_command;
    } cases[] = {
        {"/help", true},
        {"/?", true},
        {"/bye", true},
        {"/system Be brief", true},
        {"/system a\nb", true},
        {"/hlep", true},
        {"/", true},
        {"/save! x", true},
        {"//help", false},
        {"/usr/bin/ls fails", false},
        {"/no\nsuch", false},
        {"help", false},
        {" /help", false},
        {"", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_int_equal(chat_is_command(cases[i].text, strlen(cases[i].text)),
                         cases[i].is_command);
}

static void test_words(void **state)
{
    (void)state;
    size_t n = 0;
    for (; chat_word(n); n++) assert_int_equal(chat_word(n)[0], '/');
    assert_true(n > 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_line),      cmocka_unit_test(test_quotes),
        cmocka_unit_test(test_pasted_quotes), cmocka_unit_test(test_backslash),
        cmocka_unit_test(test_commands),      cmocka_unit_test(test_words),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
