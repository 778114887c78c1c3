/* test_err.c: messages are one harmless line, per thread; codes map to exit codes. */
#include "base/err.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void test_set_returns_code(void **state)
{
    (void)state;
    assert_int_equal(err_set(ERR_INPUT, "%s: %d", "file", 7), ERR_INPUT);
    assert_string_equal(err_msg(), "file: 7");
    err_clear();
    assert_string_equal(err_msg(), "");
}

static void test_wrap_goes_in_front(void **state)
{
    (void)state;
    err_set(ERR_RUN, "disk full");
    assert_int_equal(err_wrap(ERR_INPUT, "part %d", 2), ERR_INPUT);
    assert_string_equal(err_msg(), "part 2: disk full");
    err_set(ERR_RUN, "again: %s", err_msg());
    assert_string_equal(err_msg(), "again: part 2: disk full");
}

static void test_control_characters(void **state)
{
    (void)state;
    err_set(ERR_INPUT, "%s",
            "a\nb\tc\x1b[31md\x7f"
            "e\rf\xc2\x9bg\x01");
    assert_string_equal(err_msg(), "a?b?c?[31md?e?f??g?");
    err_set(ERR_INPUT, "%s", "\xc3\xa4 \xff \xe2\x82\xac \xc2");
    assert_string_equal(err_msg(), "\xc3\xa4 \xff \xe2\x82\xac \xc2");
    err_wrap(ERR_INPUT, "%s", "x\ny");
    assert_string_equal(err_msg(), "x?y: \xc3\xa4 \xff \xe2\x82\xac \xc2");
}

static void test_long_message_is_cut(void **state)
{
    (void)state;
    char text[3 * ERR_MSG_BYTES_MAX];
    memset(text, 'x', sizeof text);
    text[sizeof text - 1] = '\0';
    err_set(ERR_INPUT, "%s", text);
    assert_int_equal(strlen(err_msg()), ERR_MSG_BYTES_MAX - 1);
    assert_string_equal(err_msg() + ERR_MSG_BYTES_MAX - 5, "x...");
    err_set(ERR_INPUT, "end");
    err_wrap(ERR_INPUT, "%s", text);
    assert_int_equal(strlen(err_msg()), ERR_MSG_BYTES_MAX - 1);
    assert_string_equal(err_msg() + ERR_MSG_BYTES_MAX - 5, "x...");
    text[ERR_MSG_BYTES_MAX - 1] = '\0'; /* just fits */
    err_set(ERR_INPUT, "%s", text);
    assert_string_equal(err_msg(), text);
}

static void *set_in_thread(void *seen)
{
    *(int *)seen = strcmp(err_msg(), "") == 0;
    err_set(ERR_NET, "from the thread");
    return NULL;
}

static void test_message_is_per_thread(void **state)
{
    (void)state;
    err_set(ERR_RUN, "mine");
    pthread_t thread;
    int was_empty = 0;
    assert_int_equal(pthread_create(&thread, NULL, set_in_thread, &was_empty), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_true(was_empty);
    assert_string_equal(err_msg(), "mine");
}

static void test_exit_codes(void **state)
{
    (void)state;
    assert_int_equal(err_exit_code(OK), 0);
    assert_int_equal(err_exit_code(ERR_RUN), 1);
    assert_int_equal(err_exit_code(ERR_USAGE), 2);
    assert_int_equal(err_exit_code(ERR_INPUT), 3);
    assert_int_equal(err_exit_code(ERR_MEMORY), 4);
    assert_int_equal(err_exit_code(ERR_NET), 5);
    assert_int_equal(err_exit_code(ERR_INTR), 130);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_set_returns_code),      cmocka_unit_test(test_wrap_goes_in_front),
        cmocka_unit_test(test_control_characters),    cmocka_unit_test(test_long_message_is_cut),
        cmocka_unit_test(test_message_is_per_thread), cmocka_unit_test(test_exit_codes),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
