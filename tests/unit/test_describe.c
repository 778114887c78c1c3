/*
 * test_describe.c: the description of a file: values that JSON or a terminal cannot take as they
 * are.
 *
 * The file is made here: numbers at the ends of their types, floats that are not finite, a long
 * array, bytes that would steer a terminal in every place where a file can put them.
 */
#include "base/err.h"
#include "engine.h"
#include "gguf/gguf_write.h"

#include <jansson.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define STEER "a\x1b[2J\nb\xc2\x9b" /* ESC, a newline, C1 CSI as UTF-8 */

static char path[] = "/tmp/moxie-describe-XXXXXX";

/* A scalar key of 8 bytes. */
static void write_u64(struct gguf_writer *w, const char *key, enum gguf_type type, uint64_t v)
{
    const struct gguf_kv kv = {.key = {.s = key, .n = strlen(key)},
                               .type = type,
                               .elem = type,
                               .n = 1,
                               .data = (const uint8_t *)&v,
                               .n_bytes = sizeof v};
    gguf_write_kv(w, &kv);
}

static int setup(void **state)
{
    (void)state;
    struct gguf_writer *w;
    const int32_t many[17] = {-1, 1};
    const int fd = mkstemp(path);
    if (fd < 0 || close(fd) || gguf_write_open(&w, 0)) return -1;
    gguf_write_str(w, "general.architecture", STEER);
    gguf_write_str(w, "general.name", STEER);
    gguf_write_str(w, STEER, "a key");
    gguf_write_str(w, "bad.utf8", "x\xff");
    gguf_write_bool(w, "yes", true);
    gguf_write_f32(w, "nan", NAN);
    gguf_write_f32(w, "tenth", 0.1f);
    write_u64(w, "most", GGUF_U64, UINT64_MAX);
    write_u64(w, "least", GGUF_I64, (uint64_t)INT64_MIN);
    gguf_write_arr_i32(w, "short", many, 16);
    gguf_write_arr_i32(w, "long", many, 17);
    gguf_write_tensor(w, STEER, DT_F32, 2, (const uint64_t[]){2, 3}, NULL);
    const enum err err = gguf_write_file(w, path);
    gguf_write_close(w);
    return err ? -1 : 0;
}

static int teardown(void **state)
{
    (void)state;
    return unlink(path);
}

/* To be freed. */
static char *describe(bool json)
{
    struct engine *e = NULL;
    char *text = NULL;
    size_t n = 0;
    const struct engine_opts o = {.path = path, .mode = ENGINE_FILE};
    if (engine_open(&e, &o)) fail_msg("%s", err_msg());
    FILE *f = open_memstream(&text, &n);
    assert_non_null(f);
    assert_int_equal(engine_describe(e, json, f), OK);
    assert_int_equal(fclose(f), 0);
    engine_close(e);
    return text;
}

static void test_text_is_tame(void **state)
{
    (void)state;
    char *text = describe(false);
    for (const char *p = text; *p; p++) {
        assert_true((unsigned char)*p >= 0x20 || *p == '\n');
        assert_false(p[0] == '\xc2' && p[1] == '\x9b');
    }
    assert_non_null(strstr(text, "arch       a?[2J?b??\n"));
    assert_non_null(strstr(text, "name       a?[2J?b??\n"));
    assert_non_null(strstr(text, "\n  a?[2J?b?? ")); /* the key */
    assert_non_null(strstr(text, "2 x 3"));
    assert_non_null(strstr(text, "18446744073709551615\n"));
    assert_non_null(strstr(text, "-9223372036854775808\n"));
    assert_non_null(strstr(text, " 0.100000001\n"));
    assert_non_null(strstr(text, "17 x INT32\n"));
    free(text);
}

static void test_json_values(void **state)
{
    (void)state;
    char *text = describe(true);
    json_t *const root = json_loads(text, 0, NULL);
    assert_non_null(root);
    const json_t *const meta = json_object_get(root, "metadata");
    assert_string_equal(json_string_value(json_object_get(root, "arch")), STEER);
    assert_string_equal(json_string_value(json_object_get(meta, STEER)), "a key");
    assert_string_equal(json_string_value(json_object_get(meta, "bad.utf8")), "x\xef\xbf\xbd");
    assert_true(json_is_true(json_object_get(meta, "yes")));
    assert_string_equal(json_string_value(json_object_get(meta, "nan")), "nan");
    assert_true(json_real_value(json_object_get(meta, "tenth")) == (double)0.1f);
    assert_string_equal(json_string_value(json_object_get(meta, "most")), "18446744073709551615");
    assert_true(json_integer_value(json_object_get(meta, "least")) == INT64_MIN);

    const json_t *const list = json_object_get(meta, "short"), *cut = json_object_get(meta, "long");
    assert_int_equal(json_array_size(list), 16);
    assert_int_equal(json_integer_value(json_array_get(list, 0)), -1);
    assert_string_equal(json_string_value(json_object_get(cut, "type")), "INT32");
    assert_int_equal(json_integer_value(json_object_get(cut, "n")), 17);
    assert_int_equal(json_array_size(json_object_get(cut, "first")), 16);

    const json_t *const tensor = json_array_get(json_object_get(root, "tensors"), 0);
    assert_string_equal(json_string_value(json_object_get(tensor, "name")), STEER);
    assert_int_equal(json_integer_value(json_object_get(tensor, "bytes")), 24);
    json_decref(root);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text_is_tame),
        cmocka_unit_test(test_json_values),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, setup, teardown);
}
