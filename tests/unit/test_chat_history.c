/*
 * test_chat_history.c: what was typed comes back as it was, from a file that nobody else can read
 * and that does not grow for ever, whatever state it was left in.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/limits.h"
#include "base/mem.h"
#include "cmd/chat_history.h"
#include "temp_dir.h"

#include <string.h>
#include <sys/stat.h>

static struct temp_dir dir; /* is XDG_STATE_HOME */

struct seen {
    size_t n;
    char first[64], last[64];
};

static void see(void *ctx, const char *text)
{
    struct seen *const s = ctx;
    snprintf(s->n++ == 0 ? s->first : s->last, sizeof s->last, "%s", text);
    if (s->n == 1) snprintf(s->last, sizeof s->last, "%s", text);
}

static struct seen open_history(struct chat_history *h)
{
    struct seen s = {0};
    assert_int_equal(chat_history_open(h, see, &s), OK);
    return s;
}

static void add(struct chat_history *h, const char *text)
{
    assert_int_equal(chat_history_add(h, text, strlen(text)), OK);
}

static void write_file(const char *text)
{
    assert_true(temp_write(temp_path(&dir, "moxie/history"), text, strlen(text)));
}

static void test_entries_survive(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "one", "two\nlines", "a \\n that is none", "\\", "\n", "\xf0\x9f\xa6\x99\ttab", "end\\"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct chat_history h;
        open_history(&h);
        add(&h, texts[i]);
        chat_history_close(&h);
        const struct seen s = open_history(&h);
        chat_history_close(&h);
        assert_int_equal(s.n, i + 1);
        assert_string_equal(s.first, "one");
        assert_string_equal(s.last, texts[i]);
    }
}

static void test_private(void **state)
{
    (void)state;
    struct chat_history h;
    struct stat st;
    write_file("one\n");
    assert_int_equal(chmod(temp_path(&dir, "moxie/history"), 0644), 0);
    open_history(&h);
    assert_int_equal(stat(h.path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(unlink(h.path), 0);
    add(&h, "two"); /* somebody has removed it meanwhile */
    assert_int_equal(stat(h.path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    chat_history_close(&h);
    assert_int_equal(stat(temp_path(&dir, "moxie"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
}

static void test_cut_last_line(void **state)
{
    (void)state;
    struct chat_history h;
    write_file("one\ntw");
    struct seen s = open_history(&h);
    assert_int_equal(s.n, 2);
    assert_string_equal(s.last, "tw");
    add(&h, "three");
    add(&h, "four");
    chat_history_close(&h);
    s = open_history(&h);
    chat_history_close(&h);
    assert_int_equal(s.n, 4);
    assert_string_equal(s.last, "four");
}

static off_t file_bytes(void)
{
    struct stat st;
    assert_int_equal(stat(temp_path(&dir, "moxie/history"), &st), 0);
    return st.st_size;
}

static void test_shortened(void **state)
{
    (void)state;
    const size_t n_max = 2 * CHAT_HISTORY_ENTRIES;
    char *const text = mem_alloc(MEM_MISC, n_max * 16 + 16);
    assert_non_null(text);
    size_t n = 0;
    for (size_t i = 0; i < n_max; i++) n += (size_t)snprintf(text + n, 16, "entry %06zu\n", i);
    struct chat_history h;
    write_file(text);
    struct seen s = open_history(&h); /* the last ones, but the file may stay */
    assert_int_equal(s.n, CHAT_HISTORY_ENTRIES);
    assert_string_equal(s.first, "entry 001000");
    assert_int_equal(file_bytes(), n);
    add(&h, "one more");
    chat_history_close(&h);
    s = open_history(&h);
    chat_history_close(&h);
    assert_int_equal(s.n, CHAT_HISTORY_ENTRIES);
    assert_string_equal(s.first, "entry 001001");
    assert_string_equal(s.last, "one more");
    assert_int_equal(file_bytes(), (CHAT_HISTORY_ENTRIES - 1) * 13 + 9);
    struct stat st;
    assert_int_equal(stat(temp_path(&dir, "moxie/history"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    mem_free(text);
}

/* The history may be kept elsewhere: the link stays, and its target is shortened. */
static void test_link(void **state)
{
    (void)state;
    struct chat_history h;
    struct stat st;
    char target[sizeof dir.file];
    const size_t n = CHAT_HISTORY_BYTES_MAX + 100;
    char *const text = mem_alloc(MEM_MISC, n + 1);
    assert_non_null(text);
    memset(text, 'x', n);
    memcpy(text + n - 5, "\none\n", 5);
    snprintf(target, sizeof target, "%s", temp_path(&dir, "target"));
    assert_true(temp_write(target, text, n));
    assert_int_equal(chmod(target, 0644), 0);
    assert_int_equal(unlink(temp_path(&dir, "moxie/history")), 0);
    assert_int_equal(symlink(target, temp_path(&dir, "moxie/history")), 0);
    const struct seen s = open_history(&h);
    assert_int_equal(s.n, 1);
    assert_string_equal(s.last, "one");
    add(&h, "two");
    chat_history_close(&h);
    assert_int_equal(lstat(temp_path(&dir, "moxie/history"), &st), 0);
    assert_true(S_ISLNK(st.st_mode));
    assert_int_equal(lstat(target, &st), 0);
    assert_int_equal(st.st_size, strlen("one\ntwo\n"));
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(unlink(target), 0);
    mem_free(text);
}

static void test_no_file(void **state)
{
    (void)state;
    struct chat_history h;
    struct seen s = {0};
    struct stat st;
    const char *const path = temp_path(&dir, "moxie/history");
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkfifo(path, 0644), 0);
    assert_int_equal(chmod(path, 0644), 0);
    assert_int_equal(chat_history_open(&h, see, &s), ERR_RUN);
    assert_non_null(strstr(err_msg(), "no regular file"));
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0644);
}

static void test_long(void **state)
{
    (void)state;
    struct chat_history h;
    const size_t n = CHAT_HISTORY_BYTES_MAX + 100;
    char *const text = mem_alloc(MEM_MISC, n + 1);
    assert_non_null(text);
    memset(text, 'x', n);
    write_file(text); /* one endless line: nothing of it is kept */
    struct seen s = open_history(&h);
    assert_int_equal(s.n, 0);
    assert_int_equal(file_bytes(), 0);
    assert_int_equal(chat_history_add(&h, text, CHAT_HISTORY_ENTRY_BYTES_MAX + 1), OK);
    assert_int_equal(file_bytes(), 0);
    assert_int_equal(chat_history_add(&h, text, CHAT_HISTORY_ENTRY_BYTES_MAX), OK);
    assert_int_equal(file_bytes(), CHAT_HISTORY_ENTRY_BYTES_MAX + 1);
    chat_history_close(&h);
    s = open_history(&h);
    chat_history_close(&h);
    assert_int_equal(s.n, 1);
    mem_free(text);
}

static void test_no_place(void **state)
{
    (void)state;
    struct chat_history h;
    struct seen s = {0};
    setenv("XDG_STATE_HOME", "relative", 1);
    setenv("HOME", "", 1);
    assert_int_equal(chat_history_open(&h, see, &s), OK);
    assert_null(h.path);
    add(&h, "goes nowhere");
    chat_history_close(&h);
    setenv("HOME", "/dev/null", 1);
    assert_int_equal(chat_history_open(&h, see, &s), ERR_RUN);
    assert_non_null(strstr(err_msg(), "/dev/null/.local"));
    assert_null(h.path);
    assert_int_equal(s.n, 0);
}

static int setup(void **state)
{
    (void)state;
    if (!temp_dir_make(&dir)) return -1;
    setenv("XDG_STATE_HOME", dir.path, 1);
    struct chat_history h;
    struct seen s = {0};
    if (chat_history_open(&h, see, &s) != OK) return -1;
    chat_history_close(&h);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    unlink(temp_path(&dir, "moxie/history"));
    rmdir(temp_path(&dir, "moxie"));
    temp_dir_remove(&dir);
    return 0;
}

#define WITH_DIR(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_DIR(test_entries_survive),
        WITH_DIR(test_private),
        WITH_DIR(test_cut_last_line),
        WITH_DIR(test_shortened),
        WITH_DIR(test_long),
        WITH_DIR(test_no_place),
        WITH_DIR(test_link),
        WITH_DIR(test_no_file),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
