/*
 * test_batch_out.c: a file of results: when it may be written, what a killed run leaves and what
 * the next makes of it, a full disk, two runs at once.
 */
#include "base/mem.h"
#include "base/os.h"
#include "cmd/batch_out.h"
#include "tests/unit/temp_dir.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <cmocka.h>

static struct temp_dir dir;

static int setup(void **state)
{
    (void)state;
    return temp_dir_make(&dir) ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    temp_dir_remove(&dir);
    return 0;
}

static const char *write_file(const char *text)
{
    const char *const path = temp_path(&dir, "out");
    assert_true(temp_write(path, text, strlen(text)));
    return path;
}

static void expect_file(const char *text)
{
    char *data = NULL;
    size_t n = 0;
    assert_int_equal(os_read_all(temp_path(&dir, "out"), 1 << 20, &data, &n), OK);
    assert_string_equal(data, text);
    mem_free(data);
}

static void put(struct batch_out *o, const char *line)
{
    if (batch_out_put(o, line, strlen(line))) fail_msg("%s", err_msg());
}

static void test_new(void **state)
{
    (void)state;
    temp_dir_clear(&dir);
    const char *const path = temp_path(&dir, "out");
    struct batch_out o;
    assert_int_equal(batch_out_check(path, BATCH_OUT_NEW), OK);
    assert_int_equal(batch_out_open(&o, path, BATCH_OUT_NEW), OK);
    assert_true(o.is_file);
    put(&o, "one\n");
    expect_file("one\n"); /* at once */
    put(&o, "two\n");
    assert_int_equal(batch_out_close(&o), OK);
    assert_int_equal(batch_out_close(&o), OK);
    expect_file("one\ntwo\n");
}

static void test_exists(void **state)
{
    (void)state;
    const char *const path = write_file("old\n");
    struct batch_out o;
    assert_int_equal(batch_out_check(path, BATCH_OUT_NEW), ERR_USAGE);
    assert_non_null(strstr(err_msg(), "--resume"));
    assert_non_null(strstr(err_msg(), "--force"));
    assert_int_equal(batch_out_open(&o, path, BATCH_OUT_NEW), ERR_USAGE);
    expect_file("old\n");
    assert_int_equal(batch_out_check(path, BATCH_OUT_FORCE), OK);
    assert_int_equal(batch_out_open(&o, path, BATCH_OUT_FORCE), OK);
    put(&o, "new\n");
    assert_int_equal(batch_out_close(&o), OK);
    expect_file("new\n");
}

static void test_resume(void **state)
{
    (void)state;
    static const struct {
        const char *before, *after;
        unsigned n_old, n_torn;
    } files[] = {{"", "new\n", 0, 0},
                 {"one\n", "one\nnew\n", 1, 0},
                 {"one\ntwo\n{\"tor", "one\ntwo\nnew\n", 2, 5},
                 {"torn", "new\n", 0, 4}};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        const char *const path = write_file(files[i].before);
        struct batch_out o;
        assert_int_equal(batch_out_check(path, BATCH_OUT_RESUME), OK);
        assert_int_equal(batch_out_open(&o, path, BATCH_OUT_RESUME), OK);
        assert_int_equal(o.n_old, files[i].n_old);
        assert_int_equal(o.n_torn, files[i].n_torn);
        expect_file(files[i].before); /* nobody has said yet that it is ours */
        assert_int_equal(batch_out_cut(&o), OK);
        assert_int_equal(o.n_torn, 0);
        assert_int_equal(batch_out_cut(&o), OK);
        put(&o, "new\n");
        assert_int_equal(batch_out_close(&o), OK);
        expect_file(files[i].after);
    }
    temp_dir_clear(&dir);
    struct batch_out o; /* nothing there: a beginning */
    assert_int_equal(batch_out_open(&o, temp_path(&dir, "out"), BATCH_OUT_RESUME), OK);
    assert_int_equal(o.n_old, 0);
    assert_int_equal(batch_out_close(&o), OK);
}

static void test_not_a_file(void **state)
{
    (void)state;
    struct batch_out o;
    assert_int_equal(batch_out_check("-", BATCH_OUT_NEW), OK);
    assert_int_equal(batch_out_check("-", BATCH_OUT_RESUME), ERR_USAGE);
    assert_int_equal(batch_out_check("/dev/null", BATCH_OUT_RESUME), ERR_USAGE);
    assert_int_equal(batch_out_check("a.gz", BATCH_OUT_NEW), ERR_USAGE);
    assert_int_equal(batch_out_check("/dev/null", BATCH_OUT_NEW), OK);
    assert_int_equal(batch_out_open(&o, "/dev/null", BATCH_OUT_NEW), OK);
    assert_false(o.is_file);
    put(&o, "x\n");
    assert_int_equal(batch_out_close(&o), OK);
    assert_int_equal(batch_out_open(&o, dir.path, BATCH_OUT_NEW), ERR_RUN);
    assert_int_equal(o.fd, -1);
}

static void test_locked(void **state)
{
    (void)state;
    const char *const path = write_file("one\n{torn");
    struct batch_out first, second;
    assert_int_equal(batch_out_open(&first, path, BATCH_OUT_RESUME), OK);
    assert_int_equal(batch_out_open(&second, path, BATCH_OUT_RESUME), ERR_USAGE);
    assert_non_null(strstr(err_msg(), "another process"));
    assert_int_equal(batch_out_open(&second, path, BATCH_OUT_FORCE), ERR_USAGE);
    assert_int_equal(batch_out_close(&first), OK);
    expect_file("one\n{torn");
    assert_int_equal(batch_out_open(&second, path, BATCH_OUT_RESUME), OK);
    assert_int_equal(batch_out_close(&second), OK);
}

/* No room for the whole of a line: what is there of it goes away again. */
static void test_full(void **state)
{
    (void)state;
    temp_dir_clear(&dir);
    struct rlimit before, small;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = before;
    small.rlim_cur = 10;
    signal(SIGXFSZ, SIG_IGN);
    struct batch_out o;
    assert_int_equal(batch_out_open(&o, temp_path(&dir, "out"), BATCH_OUT_NEW), OK);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    put(&o, "123456\n");
    const enum err err = batch_out_put(&o, "123456\n", 7);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(err, ERR_RUN);
    assert_non_null(strstr(err_msg(), "out: cannot be written"));
    assert_int_equal(batch_out_close(&o), OK);
    expect_file("123456\n");
    assert_int_equal(batch_out_open(&o, "/dev/full", BATCH_OUT_NEW), OK);
    assert_int_equal(batch_out_put(&o, "x\n", 2), ERR_RUN);
    assert_int_equal(batch_out_close(&o), OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_new),    cmocka_unit_test(test_exists),
        cmocka_unit_test(test_resume), cmocka_unit_test(test_not_a_file),
        cmocka_unit_test(test_locked), cmocka_unit_test(test_full),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests_name("batch_out", tests, setup, teardown);
}
