/*
 * test_part.c: a file appears under its name only when it is whole; nothing is left behind.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/os.h"
#include "base/part.h"
#include "temp_dir.h"

#include <dirent.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

static struct temp_dir dir;

static size_t n_files(void)
{
    size_t n = 0;
    DIR *const d = opendir(dir.path);
    assert_non_null(d);
    for (const struct dirent *e; (e = readdir(d)) != NULL;) n += e->d_name[0] != '.';
    closedir(d);
    return n;
}

static void assert_holds(const char *expected)
{
    char *data = NULL;
    size_t n = 0;
    assert_int_equal(os_read_all(temp_path(&dir, "out"), 1 << 20, &data, &n), OK);
    assert_string_equal(data, expected);
    mem_free(data);
}

static void test_commit(void **state)
{
    (void)state;
    struct part p;
    char path[sizeof dir.file];
    snprintf(path, sizeof path, "%s", temp_path(&dir, "out"));
    assert_int_equal(part_open(&p, path), OK);
    path[0] = '?'; /* the name is a copy */
    fputs("first", p.f);
    assert_int_equal(fflush(p.f), 0);
    assert_int_equal(access(temp_path(&dir, "out"), F_OK), -1); /* not yet */
    assert_int_equal(part_commit(&p), OK);
    assert_null(p.f);
    part_abandon(&p);
    assert_holds("first");
    assert_int_equal(n_files(), 1);

    assert_int_equal(part_open(&p, temp_path(&dir, "out")), OK);
    fputs("second", p.f);
    assert_int_equal(part_commit(&p), OK); /* replaces */
    assert_holds("second");
    assert_int_equal(n_files(), 1);
}

static void test_abandon(void **state)
{
    (void)state;
    struct part p;
    assert_int_equal(part_open(&p, temp_path(&dir, "out")), OK);
    fputs("third", p.f);
    part_abandon(&p);
    part_abandon(&p);
    assert_holds("second");
    assert_int_equal(n_files(), 1);
}

static void test_cannot_open(void **state)
{
    (void)state;
    struct part p;
    assert_int_equal(part_open(&p, temp_path(&dir, "no/such/folder")), ERR_RUN);
    assert_non_null(strstr(err_msg(), "no/such/folder: cannot be written: No such file"));
    assert_null(p.f);
    for (unsigned n = 1; n <= 2; n++) {
        mem_fail_at(n);
        assert_int_equal(part_open(&p, temp_path(&dir, "out")), ERR_MEMORY);
        mem_fail_at(0);
    }
    part_abandon(&p);
    assert_int_equal(n_files(), 1);
}

/* A write that fails is noticed by the commit, whether it fails there or has failed before. */
static void test_full(void **state)
{
    (void)state;
    signal(SIGXFSZ, SIG_IGN);
    struct rlimit before;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    for (int early = 0; early < 2; early++) {
        struct part p;
        assert_int_equal(part_open(&p, temp_path(&dir, "out")), OK);
        for (int i = 0; i < 100; i++) fputs("0123456789", p.f);
        const struct rlimit small = {.rlim_cur = 100, .rlim_max = before.rlim_max};
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
        if (early) assert_int_not_equal(fflush(p.f), 0);
        const enum err err = part_commit(&p);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
        assert_int_equal(err, ERR_RUN);
        assert_non_null(strstr(err_msg(), "out: cannot be written: "));
        assert_int_equal(n_files(), 1);
        assert_holds("second");
    }
}

/* Only a regular file is replaced. */
static void test_no_file_in_the_way(void **state)
{
    (void)state;
    struct part p;
    char path[sizeof dir.file];
    snprintf(path, sizeof path, "%s", temp_path(&dir, "thing"));
    for (int i = 0; i < 3; i++) {
        if (i == 0) assert_int_equal(mkdir(path, 0700), 0);
        if (i == 1) assert_int_equal(mkfifo(path, 0600), 0);
        if (i == 2) assert_int_equal(symlink(".", path), 0);
        struct stat before, after;
        assert_int_equal(stat(path, &before), 0);
        assert_int_equal(part_open(&p, path), ERR_RUN);
        assert_non_null(strstr(err_msg(), "thing: cannot be written: it is no regular file"));
        part_abandon(&p);
        assert_int_equal(os_write_all(path, "x", 1), ERR_RUN);
        assert_int_equal(stat(path, &after), 0);
        assert_int_equal(after.st_mode, before.st_mode);
        assert_int_equal(n_files(), 2);
        assert_int_equal(remove(path), 0);
    }
}

/* Links are followed: the file that they lead to is replaced, and they stay. */
static void test_links(void **state)
{
    (void)state;
    char far[sizeof dir.file], near[sizeof dir.file];
    snprintf(near, sizeof near, "%s", temp_path(&dir, "near"));
    snprintf(far, sizeof far, "%s", temp_path(&dir, "far"));
    assert_int_equal(symlink("out", near), 0);
    assert_int_equal(symlink(near, far), 0);
    assert_int_equal(os_write_all(far, "fourth", 6), OK);
    assert_holds("fourth");
    struct stat st;
    assert_int_equal(lstat(far, &st), 0);
    assert_true(S_ISLNK(st.st_mode));
    assert_int_equal(lstat(near, &st), 0);
    assert_true(S_ISLNK(st.st_mode));
    assert_int_equal(n_files(), 3);

    assert_int_equal(unlink(near), 0);
    struct part p;
    assert_int_equal(part_open(&p, far), ERR_RUN);
    assert_non_null(strstr(err_msg(), "far: cannot be written: it is a link that leads nowhere"));
    assert_int_equal(unlink(far), 0);
    assert_int_equal(n_files(), 1);
}

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_commit),
        cmocka_unit_test(test_abandon),
        cmocka_unit_test(test_cannot_open),
        cmocka_unit_test(test_full),
        cmocka_unit_test(test_no_file_in_the_way),
        cmocka_unit_test(test_links),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, setup, teardown);
}
