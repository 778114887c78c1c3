/*
 * test_jinja_cases.c: expressions and templates against what Jinja2 3.1.6 makes of them
 * (tests/data/jinja_cases.json, written by tools/gen_jinja_cases.py).
 */
#include "tests/unit/jinja_check.h"

static void test_cases(void **state)
{
    (void)state;
    json_t *j = json_at("tests/data/jinja_cases.json"), *c;
    const json_t *data = json_object_get(j, "variables");
    size_t i;
    json_array_foreach(json_object_get(j, "cases"), i, c)
    {
        const json_t *src = json_array_get(c, 0);
        struct shot s = shot_take_n(json_string_value(src), json_string_length(src), data, NULL);
        shot_check(&s, json_array_get(c, 1), json_string_value(src));
        shot_free(&s);
    }
    assert_true(i > 1000);
    json_decref(j);
}

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_cases)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
