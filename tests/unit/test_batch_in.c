/*
 * test_batch_in.c: lines of files: how they end, how long they may be, what gzip may look like, and
 * what is refused.
 */
#include "base/limits.h"
#include "base/mem.h"
#include "cmd/batch_in.h"
#include "tests/unit/temp_dir.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

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

static const char *write_file(const char *name, const void *data, size_t n)
{
    const char *const path = temp_path(&dir, name);
    assert_true(temp_write(path, data, n));
    return path;
}

static struct batch_in *open_in(const char *path)
{
    struct batch_in *in = NULL;
    if (batch_in_open(&in, path)) fail_msg("%s", err_msg());
    return in;
}

static void expect_line(struct batch_in *in, uint64_t number, const char *s)
{
    struct batch_line line;
    if (batch_in_line(in, &line)) fail_msg("no line %d: %s", (int)number, err_msg());
    assert_int_equal(line.number, number);
    assert_int_equal(line.n, strlen(s));
    assert_memory_equal(line.s, s, line.n);
    assert_false(line.is_long);
}

static void expect_end(struct batch_in *in)
{
    struct batch_line line;
    assert_int_equal(batch_in_line(in, &line), ERR_END);
    assert_int_equal(batch_in_line(in, &line), ERR_END); /* and it stays so */
    batch_in_close(in);
}

static void expect_refused(const char *path, const char *why)
{
    struct batch_in *in = NULL;
    struct batch_line line;
    enum err err = batch_in_open(&in, path);
    while (err == OK) err = batch_in_line(in, &line);
    assert_int_equal(err, ERR_INPUT);
    assert_non_null(strstr(err_msg(), path));
    if (!strstr(err_msg(), why)) fail_msg("'%s' does not say '%s'", err_msg(), why);
    batch_in_close(in);
}

/* ---- lines ----------------------------------------------------------------------------------- */

static void test_line_ends(void **state)
{
    (void)state;
    static const char text[] = "\xef\xbb\xbf"
                               "one\ntwo\r\n\n \t\r\nfive\r\rx\nlast";
    struct batch_in *const in = open_in(write_file("a.txt", text, sizeof text - 1));
    expect_line(in, 1, "one");
    expect_line(in, 2, "two");
    expect_line(in, 3, "");
    expect_line(in, 4, " \t");
    expect_line(in, 5, "five\r\rx");
    expect_line(in, 6, "last");
    expect_end(in);
}

static void test_nothing(void **state)
{
    (void)state;
    expect_end(open_in(write_file("empty", "", 0)));
    struct batch_in *const in = open_in(write_file("newline", "\n", 1));
    expect_line(in, 1, "");
    expect_end(in);
    expect_end(open_in(write_file("mark", "\xef\xbb\xbf", 3)));
}

static void test_blank(void **state)
{
    (void)state;
    assert_true(batch_line_blank(&(struct batch_line){.s = " \t\r", .n = 3}));
    assert_true(batch_line_blank(&(struct batch_line){.s = "", .n = 0}));
    assert_false(batch_line_blank(&(struct batch_line){.s = "  x", .n = 3}));
    assert_false(batch_line_blank(&(struct batch_line){.s = "\0", .n = 1}));
}

/* Lines around the sizes of the pieces in which a file is read. */
static void test_long_lines(void **state)
{
    (void)state;
    enum { N = 200000 };
    char *const text = mem_alloc(MEM_MISC, 3 * N);
    for (size_t n = 65534; n <= 65538; n++) {
        memset(text, 'a', n);
        text[n] = '\n';
        memset(text + n + 1, 'b', N);
        struct batch_in *const in = open_in(write_file("long", text, n + 1 + N));
        struct batch_line line;
        assert_int_equal(batch_in_line(in, &line), OK);
        assert_int_equal(line.n, n);
        assert_memory_equal(line.s, text, n);
        assert_int_equal(batch_in_line(in, &line), OK);
        assert_int_equal(line.n, N);
        assert_memory_equal(line.s, text + n + 1, N);
        expect_end(in);
    }
    mem_free(text);
}

static void test_too_long(void **state)
{
    (void)state;
    const size_t n = BATCH_LINE_BYTES_MAX;
    char *const text = mem_alloc(MEM_MISC, 2 * n + 8);
    memset(text, 'a', n);
    text[n] = '\n';
    memset(text + n + 1, 'b', n + 1);
    memcpy(text + 2 * n + 2, "\nend", 4);
    struct batch_in *const in = open_in(write_file("toolong", text, 2 * n + 6));
    struct batch_line line;
    assert_int_equal(batch_in_line(in, &line), OK);
    assert_int_equal(line.n, n);
    assert_false(line.is_long);
    assert_int_equal(batch_in_line(in, &line), OK);
    assert_int_equal(line.n, n);
    assert_true(line.is_long);
    expect_line(in, 3, "end");
    expect_end(in);
    mem_free(text);
}

/* ---- pipes ----------------------------------------------------------------------------------- */

/* What each write brings to a reader that does not wait. */
static void test_pieces(void **state)
{
    (void)state;
    static const struct {
        const char *write, *line; /* line NULL: none yet */
    } steps[] = {{"x\n", "x"}, {"ab", NULL}, {"", NULL},       {"cd\r", NULL}, {"\nef\n", "abcd"},
                 {"", "ef"},   {"", NULL},   {"\n\nlast", ""}, {"", ""},       {"", NULL}};
    const char *const path = temp_path(&dir, "pipe");
    assert_int_equal(mkfifo(path, 0600), 0);
    const int fd = open(path, O_RDWR | O_CLOEXEC); /* so that opening does not wait */
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "one\n", 4), 4); /* a beginning is waited for */
    struct batch_in *const in = open_in(path);
    expect_line(in, 1, "one");
    uint64_t number = 1;
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        struct batch_line line;
        const size_t n = strlen(steps[i].write);
        assert_int_equal(write(fd, steps[i].write, n), n);
        const enum err err = batch_in_line_now(in, &line);
        assert_int_equal(err, steps[i].line ? OK : ERR_AGAIN);
        if (err) continue;
        assert_int_equal(line.number, ++number);
        assert_int_equal(line.n, strlen(steps[i].line));
        assert_memory_equal(line.s, steps[i].line, line.n);
    }
    close(fd);
    struct batch_line line;
    assert_int_equal(batch_in_line_now(in, &line), OK); /* the end: that was all of it */
    assert_int_equal(line.n, 4);
    assert_memory_equal(line.s, "last", 4);
    assert_int_equal(batch_in_line_now(in, &line), ERR_END);
    expect_end(in);
}

/* ---- gzip ------------------------------------------------------------------------------------ */

/* Adds a gzip member that holds text. */
static size_t pack(uint8_t *out, size_t room, const char *text, size_t n)
{
    z_stream z = {0};
    assert_int_equal(deflateInit2(&z, 9, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    z.next_in = (Bytef *)(uintptr_t)text;
    z.avail_in = (uInt)n;
    z.next_out = out;
    z.avail_out = (uInt)room;
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    const size_t n_out = room - z.avail_out;
    deflateEnd(&z);
    return n_out;
}

static void test_gzip(void **state)
{
    (void)state;
    uint8_t data[1024];
    size_t n = pack(data, sizeof data,
                    "\xef\xbb\xbf"
                    "one\ntw",
                    9);
    n += pack(data + n, sizeof data - n, "", 0);
    n += pack(data + n, sizeof data - n, "o\r\nthree", 8);
    static const char *const names[] = {"a.jsonl.gz", "a.txt"}; /* the name does not matter */
    for (size_t i = 0; i < 2; i++) {
        struct batch_in *const in = open_in(write_file(names[i], data, n));
        expect_line(in, 1, "one");
        expect_line(in, 2, "two");
        expect_line(in, 3, "three");
        expect_end(in);
    }
}

/* Zeros behind a member, more of them than a piece holds, are no damage; what follows them may
 * be. */
static void test_gzip_zeros(void **state)
{
    (void)state;
    enum { ZEROS = 200000 };
    uint8_t *const data = mem_alloc(MEM_MISC, ZEROS + 256); /* zeroed */
    assert_non_null(data);
    const size_t n = pack(data, 128, "one\ntwo\n", 8);
    static const size_t n_zero[] = {1, 512, ZEROS};
    for (size_t i = 0; i < sizeof n_zero / sizeof *n_zero; i++) {
        struct batch_in *const in = open_in(write_file("zeros.gz", data, n + n_zero[i]));
        expect_line(in, 1, "one");
        expect_line(in, 2, "two");
        expect_end(in);
    }
    data[n + 512] = 'x';
    expect_refused(write_file("rest.gz", data, n + 513), "something that is no gzip follows");
    mem_free(data);
}

/* A gzip file that comes byte by byte. */
static void test_gzip_pieces(void **state)
{
    (void)state;
    uint8_t data[256];
    const size_t n = pack(data, sizeof data, "one\ntwo\n", 8);
    const char *const path = temp_path(&dir, "pipe.gz");
    assert_int_equal(mkfifo(path, 0600), 0);
    const int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, data, n - 1), n - 1); /* a beginning is waited for */
    struct batch_in *const in = open_in(path);
    expect_line(in, 1, "one");
    expect_line(in, 2, "two");
    struct batch_line line;
    assert_int_equal(batch_in_line_now(in, &line), ERR_AGAIN);
    assert_int_equal(write(fd, data + n - 1, 1), 1);
    assert_int_equal(batch_in_line_now(in, &line), ERR_AGAIN); /* another member may follow */
    close(fd);
    expect_end(in);
}

static void test_gzip_large(void **state)
{
    (void)state;
    enum { N = 100000 };
    char *const text = mem_alloc(MEM_MISC, N * 10);
    uint8_t *const data = mem_alloc(MEM_MISC, N * 10);
    for (size_t i = 0; i < N; i++) snprintf(text + i * 8, 9, "%07zu\n", i);
    const size_t n = pack(data, N * 10, text, N * 8);
    struct batch_in *const in = open_in(write_file("large.gz", data, n));
    for (size_t i = 0; i < N; i++) {
        struct batch_line line;
        assert_int_equal(batch_in_line(in, &line), OK);
        assert_int_equal(line.n, 7);
        assert_memory_equal(line.s, text + i * 8, 7);
    }
    expect_end(in);
    uint64_t count = 0;
    assert_int_equal(batch_in_count(temp_path(&dir, "large.gz"), &count), OK);
    assert_int_equal(count, N);
    mem_free(text);
    mem_free(data);
}

/* A file that ends anywhere, or has a wrong byte anywhere, is never taken for a whole one. */
static void test_gzip_damaged(void **state)
{
    (void)state;
    uint8_t data[256], bad[256];
    const size_t n = pack(data, sizeof data, "one\ntwo\nthree\nfour four four\n", 29);
    for (size_t k = 0; k < n; k++)
        expect_refused(write_file("short.gz", data, k), "damaged gzip file");
    for (size_t k = 10; k < n; k++) { /* what follows the header */
        memcpy(bad, data, n);
        bad[k] ^= 0x55;
        expect_refused(write_file("bad.gz", bad, n), "damaged gzip file");
    }
    memcpy(bad, data, n);
    memcpy(bad + n, "rest", 4);
    expect_refused(write_file("rest.gz", bad, n + 4), "something that is no gzip follows");
    expect_refused(write_file("plain.gz", "one\n", 4), "does not begin like one");
    uint64_t count;
    assert_int_equal(batch_in_count(temp_path(&dir, "bad.gz"), &count), ERR_INPUT);
}

/* ---- files ----------------------------------------------------------------------------------- */

static void test_names(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        bool is_json;
    } files[] = {{"a.jsonl", true}, {".jsonl", true},       {"a.txt", false}, {"jsonl", false},
                 {"a.json", false}, {"a.jsonl.bak", false}, {"a", false}};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        struct batch_in *const in = open_in(write_file(files[i].name, "{}\n", 3));
        bool is_json = !files[i].is_json;
        assert_int_equal(batch_in_is_json(in, &is_json), OK);
        assert_int_equal(is_json, files[i].is_json);
        batch_in_close(in);
    }
}

static void test_refused(void **state)
{
    (void)state;
    expect_refused(temp_path(&dir, "none"), "no such file");
    expect_refused(dir.path, "is a directory");
}

static void test_count(void **state)
{
    (void)state;
    uint64_t n = 0;
    assert_int_equal(batch_in_count(write_file("count", "a\n\nb\n \nc", 8), &n), OK);
    assert_int_equal(n, 3);
    assert_int_equal(batch_in_count("-", &n), OK);
    assert_true(n == UINT64_MAX);
    assert_int_equal(batch_in_count("/dev/null", &n), OK);
    assert_true(n == UINT64_MAX);
}

static void test_memory(void **state)
{
    (void)state;
    uint8_t data[256];
    const size_t used = mem_used_total(), n = pack(data, sizeof data, "one\n", 4);
    const char *const path = write_file("memory.gz", data, n);
    enum err err = ERR_MEMORY;
    unsigned n_fail = 0;
    while (err == ERR_MEMORY) {
        struct batch_in *in = NULL;
        struct batch_line line;
        mem_fail_at(++n_fail);
        err = batch_in_open(&in, path);
        if (err == OK) err = batch_in_line(in, &line);
        batch_in_close(in);
        assert_int_equal(mem_used_total(), used);
    }
    mem_fail_at(0);
    assert_int_equal(err, OK);
    assert_true(n_fail > 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_line_ends),    cmocka_unit_test(test_nothing),
        cmocka_unit_test(test_blank),        cmocka_unit_test(test_long_lines),
        cmocka_unit_test(test_too_long),     cmocka_unit_test(test_gzip),
        cmocka_unit_test(test_gzip_zeros),   cmocka_unit_test(test_gzip_large),
        cmocka_unit_test(test_gzip_damaged), cmocka_unit_test(test_pieces),
        cmocka_unit_test(test_gzip_pieces),  cmocka_unit_test(test_names),
        cmocka_unit_test(test_refused),      cmocka_unit_test(test_count),
        cmocka_unit_test(test_memory),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests_name("batch_in", tests, setup, teardown);
}
