/* test_gguf_split.c: models in parts: opened from the first, and each way in which parts do not
 * fit. */
#include "gguf/gguf.h"

#include "base/limits.h"
#include "base/mem.h"
#include "gguf/gguf_write.h"
#include "tests/unit/temp_dir.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define N_PART 3

static struct temp_dir dir;

static int make_dir(void **state)
{
    (void)state;
    return temp_dir_make(&dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
    (void)state;
    temp_dir_remove(&dir);
    return mem_used_total() == 0 ? 0 : -1;
}

/* What one part claims; a test starts from the truth and changes one thing. */
struct claim {
    uint32_t no, count, n_tensor;
    const char *tensor;
};

static const struct claim truth[N_PART] = {{0, 3, 3, "a"}, {1, 3, 3, "b"}, {2, 3, 3, "c"}};

static const char *part_name(uint32_t i_part)
{
    static char name[32];
    snprintf(name, sizeof name, "m-%05u-of-%05u.gguf", i_part + 1, N_PART);
    return name;
}

static void write_part(const char *name, const struct claim *c)
{
    struct gguf_writer *w = NULL;
    const float value = (float)c->tensor[0];
    assert_int_equal(gguf_write_open(&w, 0), OK);
    if (c->no == 0) gguf_write_str(w, "general.architecture", "llama");
    gguf_write_u32(w, "split.no", c->no);
    gguf_write_u32(w, "split.count", c->count);
    gguf_write_u32(w, "split.tensors.count", c->n_tensor);
    gguf_write_tensor(w, c->tensor, DT_F32, 1, (const uint64_t[]){1}, &value);
    assert_int_equal(gguf_write_file(w, temp_path(&dir, name)), OK);
    gguf_write_close(w);
}

static void write_truth(void)
{
    temp_dir_clear(&dir);
    for (uint32_t i = 0; i < N_PART; i++) write_part(part_name(i), &truth[i]);
}

static void expect_no_model(const char *name, const char *needle)
{
    struct gguf *g = NULL;
    assert_int_equal(gguf_open(&g, temp_path(&dir, name)), ERR_INPUT);
    assert_null(g);
    if (!strstr(err_msg(), needle)) fail_msg("'%s' does not say '%s'", err_msg(), needle);
    assert_int_equal(mem_used_total(), 0);
}

static void test_all_parts(void **state)
{
    (void)state;
    write_truth();
    struct gguf *g = NULL;
    const enum err err = gguf_open(&g, temp_path(&dir, part_name(0)));
    if (err) fail_msg("%s", err_msg());
    assert_int_equal(gguf_n_kv(g), 4);
    assert_int_equal(gguf_n_tensor(g), 3);
    uint64_t n_bytes = 0;
    for (uint32_t i = 0; i < N_PART; i++) {
        const struct tensor *t = gguf_tensor_at(g, i);
        assert_string_equal(t->name, truth[i].tensor);
        assert_ptr_equal(gguf_tensor(g, truth[i].tensor), t);
        assert_int_equal(gguf_tensor_offset(g, i), 0);
        float value;
        memcpy(&value, t->data, sizeof value);
        assert_true(value == (float)truth[i].tensor[0]);
        value = 0;
        gguf_ahead(g, t->data, sizeof value);
        assert_true(gguf_read(g, t->data, sizeof value, &value));
        assert_true(value == (float)truth[i].tensor[0]);
        struct stat st;
        assert_int_equal(stat(temp_path(&dir, part_name(i)), &st), 0);
        n_bytes += (uint64_t)st.st_size;
    }
    assert_int_equal(gguf_file_bytes(g), n_bytes);
    assert_false(gguf_broken(g));
    assert_int_equal(truncate(temp_path(&dir, part_name(2)), 10), 0);
    assert_true(gguf_broken(g)); /* any part */
    assert_int_equal(gguf_whole(g), ERR_RUN);
    assert_non_null(strstr(err_msg(), part_name(2)));
    float value;
    assert_true(gguf_read(g, gguf_tensor_at(g, 0)->data, sizeof value, &value));
    assert_false(gguf_read(g, gguf_tensor_at(g, 2)->data, sizeof value, &value));
    gguf_close(g);
}

/* Asking for bytes that are no part's is our own error, and ends the program. */
static void assert_never_read(const struct gguf *g, const uint8_t *at, size_t n_bytes)
{
    fflush(NULL);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        uint8_t buf[256];
        (void)close(STDERR_FILENO);
        (void)gguf_read(g, at, n_bytes, buf);
        _exit(0);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
}

static void test_read_outside(void **state)
{
    (void)state;
    write_truth();
    struct gguf *g = NULL;
    assert_int_equal(gguf_open(&g, temp_path(&dir, part_name(0))), OK);
    const uint8_t elsewhere[256] = {0}, *const data = gguf_tensor_at(g, 1)->data;
    struct stat st;
    assert_int_equal(stat(temp_path(&dir, part_name(1)), &st), 0);
    assert_never_read(g, elsewhere, sizeof elsewhere);
    assert_never_read(g, data, (size_t)st.st_size);
    gguf_close(g);
}

static void test_relative_name(void **state)
{
    (void)state;
    write_truth();
    char before[4096];
    assert_non_null(getcwd(before, sizeof before));
    assert_int_equal(chdir(dir.path), 0);
    struct gguf *g = NULL;
    const enum err err = gguf_open(&g, part_name(0));
    assert_int_equal(chdir(before), 0);
    assert_int_equal(err, OK);
    gguf_close(g);
}

static void test_wrong_part_opened(void **state)
{
    (void)state;
    write_truth();
    expect_no_model(part_name(1), "is part 2 of 3; open the first part");
    assert_non_null(strstr(err_msg(), "m-00001-of-00003.gguf"));
    write_part("renamed.gguf", &truth[2]);
    expect_no_model("renamed.gguf", "is part 3 of 3, but its name does not end in '-00003-of-");
}

static void test_missing_part(void **state)
{
    (void)state;
    write_truth();
    unlink(temp_path(&dir, part_name(1)));
    expect_no_model(part_name(0), "m-00002-of-00003.gguf: no such file");
    assert_non_null(strstr(err_msg(), "part 2 of 3"));
    write_truth();
    assert_true(temp_write(temp_path(&dir, part_name(2)), "<html>", 6));
    expect_no_model(part_name(0), "m-00003-of-00003.gguf: is an HTML page");
}

static void test_renamed_first_part(void **state)
{
    (void)state;
    write_truth();
    write_part("model.gguf", &truth[0]);
    expect_no_model("model.gguf", "does not end in '-00001-of-00003.gguf'");
    write_part("m-00001-of-00004.gguf", &truth[0]);
    expect_no_model("m-00001-of-00004.gguf", "does not end in '-00001-of-00003.gguf'");
    write_part("-00001-of-00003.gguf", &truth[0]);
    expect_no_model("-00001-of-00003.gguf", "-00002-of-00003.gguf: no such file");
}

static void test_claims_that_do_not_fit(void **state)
{
    (void)state;
    static const struct {
        uint32_t i_part;
        struct claim claim;
        const char *needle;
    } rows[] = {
        {1, {2, 3, 3, "b"}, "'split.no' is 2, expected 1"},
        {2, {1, 3, 3, "c"}, "'split.no' is 1, expected 2"},
        {2, {0, 3, 3, "c"}, "'split.no' is 0, expected 2"},
        {1, {1, 2, 3, "b"}, "'split.count' is 2, expected 3"},
        {1, {1, 0, 3, "b"}, "'split.count' is 0, expected 3"},
        {1, {1, 3, 9, "b"}, "'split.tensors.count' is 9, expected 3"},
        {0, {0, 3, 2, "a"}, "'split.tensors.count' is 2, expected 3"},
        {2, {2, 3, 3, "a"}, "tensor 'a' is in"},
        {0, {0, 65535, 3, "a"}, "'split.count' is 65535, expected 0 to 1024"},
        {0, {3, 3, 3, "a"}, "'split.no' is 3, expected 0 to 2"},
        {0, {0, 2, 3, "a"}, "does not end in '-00001-of-00002.gguf'"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        write_truth();
        write_part(part_name(rows[i].i_part), &rows[i].claim);
        expect_no_model(part_name(0), rows[i].needle);
    }
}

/* A part that says nothing of parts is not a part. */
static void test_part_without_claim(void **state)
{
    (void)state;
    write_truth();
    struct gguf_writer *w = NULL;
    assert_int_equal(gguf_write_open(&w, 0), OK);
    gguf_write_str(w, "general.architecture", "llama");
    assert_int_equal(gguf_write_file(w, temp_path(&dir, part_name(1))), OK);
    gguf_write_close(w);
    expect_no_model(part_name(0), "'split.no' is missing");
}

static void test_counts_of_whole_files(void **state)
{
    (void)state;
    for (uint32_t count = 0; count < 2; count++) { /* 0: merged again by gguf-split */
        write_part("whole.gguf", &(struct claim){0, count, 1, "a"});
        struct gguf *g = NULL;
        assert_int_equal(gguf_open(&g, temp_path(&dir, "whole.gguf")), OK);
        assert_int_equal(gguf_n_tensor(g), 1);
        gguf_close(g);
    }
}

static void test_memory_has_no_parts(void **state)
{
    (void)state;
    struct gguf_writer *w = NULL;
    struct gguf *g = NULL;
    uint8_t *data = NULL;
    size_t n = 0;
    assert_int_equal(gguf_write_open(&w, 0), OK);
    gguf_write_u32(w, "split.count", 2);
    assert_int_equal(gguf_write_image(w, &data, &n), OK);
    assert_int_equal(gguf_open_mem(&g, data, n, "demo"), ERR_INPUT);
    assert_non_null(strstr(err_msg(), "demo: key 'split.count' is 2, expected 1"));
    mem_free(data);
    gguf_write_close(w);
}

static void test_open_without_memory(void **state)
{
    (void)state;
    write_truth();
    enum err err = ERR_MEMORY;
    for (uint64_t n = 1; err == ERR_MEMORY; n++) {
        assert_true(n < 200);
        struct gguf *g = NULL;
        mem_fail_at(n);
        err = gguf_open(&g, temp_path(&dir, part_name(0)));
        mem_fail_at(0);
        gguf_close(g);
        assert_int_equal(mem_used_total(), 0);
    }
    assert_int_equal(err, OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_parts),
        cmocka_unit_test(test_read_outside),
        cmocka_unit_test(test_relative_name),
        cmocka_unit_test(test_wrong_part_opened),
        cmocka_unit_test(test_missing_part),
        cmocka_unit_test(test_renamed_first_part),
        cmocka_unit_test(test_claims_that_do_not_fit),
        cmocka_unit_test(test_part_without_claim),
        cmocka_unit_test(test_counts_of_whole_files),
        cmocka_unit_test(test_memory_has_no_parts),
        cmocka_unit_test(test_open_without_memory),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
