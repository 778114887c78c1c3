/*
 * test_engine_peak.c: the int8 peak of this machine: every level that has kernels has one, within
 * what a processor can have; that of a higher level, or of two threads, is no small part of the one
 * below (neighbours may take most of a core meanwhile); and a level that does not exist is refused.
 */
#include "base/err.h"
#include "engine.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static double peak(const char *level, uint32_t n_thread)
{
    double v = -1;
    assert_int_equal(engine_int8_peak(level, n_thread, &v), OK);
    return v;
}

static void test_levels(void **state)
{
    (void)state;
    struct engine_level level[ENGINE_LEVELS_MAX];
    const size_t n = engine_levels(level);
    assert_true(peak("none", 1) == 0);
    double below = 0;
    for (size_t i = 0; i < n && !level[i].lacks; i++) {
        const double v = peak(level[i].name, 1);
        assert_true(v > 1e6 && v < 1e15);
        assert_true(v > below * 0.1);
        below = v;
    }
    if (below > 0) assert_true(peak(NULL, 2) > below * 0.1);
}

static void test_wrong(void **state)
{
    (void)state;
    double v = -1;
    assert_int_equal(engine_int8_peak("avx3", 1, &v), ERR_USAGE);
    assert_non_null(strstr(err_msg(), "avx3"));
    assert_true(v == 0);
}

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_levels),
        cmocka_unit_test(test_wrong),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
