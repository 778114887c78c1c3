/* test_gguf.c: what the writer writes the reader reads; typed reads refuse what is not asked
 * for. */
#include "gguf/gguf.h"

#include "base/limits.h"
#include "base/mem.h"
#include "base/os.h"
#include "gguf/gguf_write.h"
#include "tests/unit/gguf_seed.h"
#include "tests/unit/gguf_walk.h"
#include "tests/unit/temp_dir.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static struct temp_dir dir;
static struct seed seed;
static struct gguf *g;

static int open_seed(void **state)
{
    (void)state;
    if (!temp_dir_make(&dir)) return -1;
    seed_make(&seed, 0);
    return gguf_open_mem(&g, seed.data, seed.n_bytes, "seed.gguf") == OK ? 0 : -1;
}

static int close_seed(void **state)
{
    (void)state;
    gguf_close(g);
    seed_free(&seed);
    temp_dir_remove(&dir);
    return mem_used_total() == 0 ? 0 : -1;
}

/* The last call failed with ERR_INPUT and a message that names the file and says needle. */
static void expect_input(enum err err, const char *needle)
{
    assert_int_equal(err, ERR_INPUT);
    if (!strstr(err_msg(), needle)) fail_msg("'%s' does not say '%s'", err_msg(), needle);
    if (!strstr(err_msg(), "seed.gguf")) fail_msg("'%s' does not name the file", err_msg());
}

/* ---- keys ------------------------------------------------------------------------------------ */

static void test_keys_in_order(void **state)
{
    (void)state;
    assert_int_equal(gguf_version(g), 3);
    assert_string_equal(gguf_path(g), "seed.gguf");
    assert_int_equal(gguf_file_bytes(g), seed.n_bytes);
    assert_int_equal(gguf_n_kv(g), SEED_N_KEY);
    for (size_t i = 0; i < SEED_N_KEY; i++) {
        const struct gguf_kv *kv = gguf_kv_at(g, i);
        assert_int_equal(kv->key.n, strlen(seed_keys[i]));
        assert_memory_equal(kv->key.s, seed_keys[i], kv->key.n);
        assert_ptr_equal(gguf_find(g, seed_keys[i]), kv);
    }
    assert_null(gguf_find(g, ""));
    assert_null(gguf_find(g, "test"));
    assert_null(gguf_find(g, "test.u320"));
    assert_null(gguf_find(g, "zzz"));
}

static void test_integers(void **state)
{
    (void)state;
    uint32_t v = 99;
    assert_int_equal(gguf_u32(g, "test.u8", GGUF_REQUIRED, 0, UINT32_MAX, &v), OK);
    assert_int_equal(v, 255);
    assert_int_equal(gguf_u32(g, "test.u16", GGUF_REQUIRED, 65535, 65535, &v), OK);
    assert_int_equal(v, 65535);
    assert_int_equal(gguf_u32(g, "test.i64", GGUF_REQUIRED, 1, 2, &v), OK);
    assert_int_equal(v, 2);
    assert_int_equal(gguf_u32(g, "test.i32", GGUF_REQUIRED, 0, 2, &v), OK);
    assert_int_equal(gguf_u32(g, "test.u32", GGUF_REQUIRED, 7, 9, &v), OK);
    assert_int_equal(v, 7);

    expect_input(gguf_u32(g, "test.u32", GGUF_REQUIRED, 8, 9, &v),
                 "'test.u32' is 7, expected 8 to 9");
    expect_input(gguf_u32(g, "test.u32", GGUF_OPTIONAL, 0, 6, &v),
                 "'test.u32' is 7, expected 0 to 6");
    expect_input(gguf_u32(g, "test.u32", GGUF_OPTIONAL, 6, 6, &v), "'test.u32' is 7, expected 6;");
    expect_input(gguf_u32(g, "test.i8", GGUF_REQUIRED, 0, UINT32_MAX, &v),
                 "'test.i8' is -1, expected 0 to");
    expect_input(gguf_u32(g, "test.i16", GGUF_REQUIRED, 0, UINT32_MAX, &v), "'test.i16' is -1");
    expect_input(gguf_u32(g, "test.u64", GGUF_REQUIRED, 0, UINT32_MAX, &v),
                 "'test.u64' is 9223372036854775807");
    expect_input(gguf_u32(g, "test.f32", GGUF_REQUIRED, 0, 9, &v), "FLOAT32, expected an integer");
    expect_input(gguf_u32(g, "test.yes", GGUF_REQUIRED, 0, 9, &v), "BOOL, expected an integer");
    expect_input(gguf_u32(g, "test.arr_i32", GGUF_REQUIRED, 0, 9, &v),
                 "ARRAY of INT32, expected an integer");
    expect_input(gguf_u32(g, "absent", GGUF_REQUIRED, 0, 9, &v), "'absent' is missing");
    assert_int_equal(gguf_u32(g, "absent", GGUF_OPTIONAL, 0, 9, &v), OK);
    assert_int_equal(v, 7); /* untouched by all of these */
}

static void test_floats(void **state)
{
    (void)state;
    float v = 99;
    assert_int_equal(gguf_f32(g, "test.f32", GGUF_REQUIRED, 0, 1, &v), OK);
    assert_true(v == 0.25f);
    assert_int_equal(gguf_f32(g, "test.f64", GGUF_REQUIRED, 0.5f, 0.5f, &v), OK);
    assert_true(v == 0.5f);
    expect_input(gguf_f32(g, "test.f32", GGUF_REQUIRED, 0.5f, 1, &v), "is 0.25, expected 0.5 to 1");
    expect_input(gguf_f32(g, "test.u32", GGUF_REQUIRED, 0, 9, &v), "UINT32, expected FLOAT32");
    expect_input(gguf_f32(g, "absent", GGUF_REQUIRED, 0, 1, &v), "'absent' is missing");
    assert_int_equal(gguf_f32(g, "absent", GGUF_OPTIONAL, 0, 1, &v), OK);
    assert_true(v == 0.5f);

    static const uint32_t no_numbers[] = {0x7fc00000, 0xffc00000, 0x7f800001}; /* NaNs */
    uint8_t *at = seed_after(&seed, "test.f32") + 4;
    for (size_t i = 0; i < 3; i++) {
        poke(at, no_numbers[i], 4);
        expect_input(gguf_f32(g, "test.f32", GGUF_OPTIONAL, -INFINITY, INFINITY, &v), "nan");
    }
    poke(at, 0x7f800000, 4);
    assert_int_equal(gguf_f32(g, "test.f32", GGUF_REQUIRED, 0, INFINITY, &v), OK);
    expect_input(gguf_f32(g, "test.f32", GGUF_REQUIRED, 0, 1e30f, &v), "is inf, expected");
    poke(at, 0x3e800000, 4);
}

static void test_bool_and_string(void **state)
{
    (void)state;
    bool b = false;
    assert_int_equal(gguf_bool(g, "test.yes", GGUF_REQUIRED, &b), OK);
    assert_true(b);
    expect_input(gguf_bool(g, "test.u8", GGUF_REQUIRED, &b), "UINT8, expected BOOL");
    expect_input(gguf_bool(g, "absent", GGUF_REQUIRED, &b), "missing");
    assert_int_equal(gguf_bool(g, "absent", GGUF_OPTIONAL, &b), OK);
    struct gguf_str s = {0};
    assert_int_equal(gguf_get_str(g, "test.text", GGUF_REQUIRED, &s), OK);
    assert_int_equal(s.n, 4);
    assert_memory_equal(s.s, "h\xff\ni", 4);
    expect_input(gguf_get_str(g, "test.arr_str", GGUF_REQUIRED, &s),
                 "ARRAY of STRING, expected STRING");
    expect_input(gguf_get_str(g, "absent", GGUF_REQUIRED, &s), "missing");
    assert_int_equal(gguf_get_str(g, "absent", GGUF_OPTIONAL, &s), OK);
    assert_int_equal(s.n, 4);
}

static void test_each(void **state)
{
    (void)state;
    uint32_t v[3] = {0};
    assert_int_equal(gguf_u32_each(g, "test.u32", GGUF_REQUIRED, 0, 9, v, 3), OK);
    assert_int_equal(v[0] + 10 * v[1] + 100 * v[2], 777);
    assert_int_equal(gguf_u32_each(g, "test.arr_i32", GGUF_REQUIRED, 0, 9, v, 1), OK);
    assert_int_equal(v[0], 3);
    assert_int_equal(gguf_u32_each(g, "test.arr_bool", GGUF_REQUIRED, 0, 1, v, 2), OK);
    assert_int_equal(v[0], 1);
    assert_int_equal(v[1], 0);
    assert_int_equal(gguf_u32_each(g, "test.yes", GGUF_REQUIRED, 0, 1, v, 3), OK);
    expect_input(gguf_u32_each(g, "test.arr_i32", GGUF_REQUIRED, 0, 9, v, 3),
                 "'test.arr_i32'[1] is -1");
    expect_input(gguf_u32_each(g, "test.arr_bool", GGUF_REQUIRED, 0, 9, v, 3),
                 "has 2 items, expected at least 3");
    expect_input(gguf_u32_each(g, "test.arr_f32", GGUF_REQUIRED, 0, 9, v, 1),
                 "ARRAY of FLOAT32, expected");
    expect_input(gguf_u32_each(g, "test.text", GGUF_REQUIRED, 0, 9, v, 1), "STRING, expected");
    expect_input(gguf_u32_each(g, "absent", GGUF_REQUIRED, 0, 9, v, 1), "missing");
    assert_int_equal(gguf_u32_each(g, "absent", GGUF_OPTIONAL, 0, 9, v, 1), OK);
}

static void test_arrays(void **state)
{
    (void)state;
    const struct gguf_kv *kv = NULL;
    assert_int_equal(gguf_array(g, "test.arr_str", GGUF_REQUIRED, GGUF_STR, &kv), OK);
    assert_int_equal(kv->n, 3);
    uint64_t pos = 0;
    struct gguf_str s = gguf_arr_str_next(kv, &pos);
    assert_true(s.n == 1 && s.s[0] == 'a');
    s = gguf_arr_str_next(kv, &pos);
    assert_int_equal(s.n, 0);
    s = gguf_arr_str_next(kv, &pos);
    assert_int_equal(s.n, 3);
    assert_memory_equal(s.s, "b\0c", 3);
    assert_int_equal(pos, kv->n_bytes);

    assert_int_equal(gguf_array(g, "test.arr_f32", GGUF_REQUIRED, GGUF_F32, &kv), OK);
    assert_true(gguf_arr_f32(kv, 0) == 1.5f && gguf_arr_f32(kv, 1) == -2.0f);
    assert_int_equal(gguf_array(g, "test.arr_i32", GGUF_REQUIRED, GGUF_I32, &kv), OK);
    assert_true(gguf_arr_int(kv, 0) == 3 && gguf_arr_int(kv, 1) == -1 && gguf_arr_int(kv, 2) == 5);
    assert_int_equal(gguf_arr_bits(kv, 1), UINT32_MAX);

    expect_input(gguf_array(g, "test.arr_i32", GGUF_REQUIRED, GGUF_F32, &kv),
                 "ARRAY of INT32, expected ARRAY of FLOAT32");
    assert_null(kv);
    expect_input(gguf_array(g, "test.u32", GGUF_OPTIONAL, GGUF_U32, &kv),
                 "UINT32, expected ARRAY of UINT32");
    expect_input(gguf_array(g, "absent", GGUF_REQUIRED, GGUF_STR, &kv),
                 "missing, expected ARRAY of STRING");
    assert_int_equal(gguf_array(g, "absent", GGUF_OPTIONAL, GGUF_STR, &kv), OK);
    assert_null(kv);
}

/* Somebody writes into the file after it was checked. */
static void test_array_that_changed(void **state)
{
    (void)state;
    const struct gguf_kv *kv = gguf_find(g, "test.arr_str");
    uint8_t *length = seed_after(&seed, "test.arr_str") + 16;
    static const uint64_t lies[] = {UINT64_MAX, UINT64_MAX - 7, 29, 28, 27, 1000};
    for (size_t i = 0; i < sizeof lies / sizeof lies[0]; i++) {
        poke(length, lies[i], 8);
        uint64_t pos = 0;
        for (int k = 0; k < 3; k++) {
            const struct gguf_str s = gguf_arr_str_next(kv, &pos);
            assert_true(pos <= kv->n_bytes);
            assert_true(s.n <= kv->n_bytes);
            assert_true(s.n == 0 || (const uint8_t *)s.s + s.n <= kv->data + kv->n_bytes);
        }
    }
    poke(length, 1, 8);
}

static void test_type_names(void **state)
{
    (void)state;
    assert_string_equal(gguf_type_name(GGUF_U8), "UINT8");
    assert_string_equal(gguf_type_name(GGUF_STR), "STRING");
    assert_string_equal(gguf_type_name(GGUF_F64), "FLOAT64");
}

/* ---- tensors --------------------------------------------------------------------------------- */

static void check_tensors(const struct gguf *model, const uint8_t *data, uint32_t align)
{
    static const char *const names[] = {"w.f32", "w.q4_0", "w.q4_k", "w.i8"};
    static const size_t n_bytes[] = {128, 72, 288, 5};
    assert_int_equal(gguf_n_tensor(model), SEED_N_TENSOR);
    uint64_t offset = 0;
    for (size_t i = 0; i < SEED_N_TENSOR; i++) {
        const struct tensor *t = gguf_tensor_at(model, i);
        assert_string_equal(t->name, names[i]);
        assert_ptr_equal(gguf_tensor(model, names[i]), t);
        assert_int_equal(tensor_bytes(t), n_bytes[i]);
        assert_int_equal(gguf_tensor_offset(model, i), offset);
        assert_int_equal(((const uint8_t *)t->data - data) % align, 0);
        for (size_t k = 0; k < n_bytes[i]; k++)
            assert_int_equal(((const uint8_t *)t->data)[k], k & 255);
        offset += (n_bytes[i] + align - 1) / align * align;
    }
    const struct tensor *t = gguf_tensor(model, "w.q4_k");
    assert_int_equal(t->type, DT_Q4_K);
    assert_int_equal(t->n_dims, 3);
    assert_true(t->ne[0] == 256 && t->ne[1] == 1 && t->ne[2] == 2 && t->ne[3] == 1);
    assert_int_equal(t->row_bytes, 144);
    assert_int_equal(t->plane_bytes, 144);
    t = gguf_tensor(model, "w.f32");
    assert_int_equal(t->row_bytes, 32);
    assert_int_equal(t->plane_bytes, 128);
    assert_null(gguf_tensor(model, "t"));
    assert_null(gguf_tensor(model, "w.f322"));
    assert_null(gguf_tensor(model, ""));
}

static void test_tensors(void **state)
{
    (void)state;
    check_tensors(g, seed.data, 32);
}

static void test_alignments(void **state)
{
    (void)state;
    for (uint32_t align = 8; align <= 4096; align *= 2) {
        struct seed s;
        struct gguf *model = NULL;
        seed_make(&s, align);
        assert_int_equal(gguf_open_mem(&model, s.data, s.n_bytes, "seed.gguf"), OK);
        assert_int_equal(gguf_n_kv(model), SEED_N_KEY + 1);
        check_tensors(model, s.data, align);
        gguf_close(model);
        seed_free(&s);
    }
}

static void test_no_tensors(void **state)
{
    (void)state;
    struct gguf_writer *w = NULL;
    struct gguf *model = NULL;
    uint8_t *data = NULL;
    size_t n = 0;
    assert_int_equal(gguf_write_open(&w, 0), OK);
    for (int n_key = 0; n_key < 2; n_key++) {
        assert_int_equal(gguf_write_image(w, &data, &n), OK);
        assert_int_equal(gguf_open_mem(&model, data, n, "seed.gguf"), OK);
        assert_int_equal(gguf_n_kv(model), n_key);
        assert_int_equal(gguf_n_tensor(model), 0);
        assert_null(gguf_tensor(model, "t"));
        gguf_close(model);
        mem_free(data);
        gguf_write_str(w, "general.architecture", "llama");
    }
    gguf_write_close(w);
}

/* ---- files ----------------------------------------------------------------------------------- */

static void write_seed_file(void)
{
    struct gguf_writer *w = NULL;
    assert_int_equal(gguf_write_open(&w, 4096), OK);
    seed_add_keys(w);
    seed_add_tensors(w);
    assert_int_equal(gguf_write_file(w, temp_path(&dir, "seed.gguf")), OK);
    gguf_write_close(w);
}

static void test_file(void **state)
{
    (void)state;
    struct gguf *model = NULL;
    write_seed_file();
    assert_int_equal(gguf_open(&model, temp_path(&dir, "seed.gguf")), OK);
    assert_string_equal(gguf_path(model), dir.file);
    check_tensors(model, (const uint8_t *)gguf_tensor_at(model, 0)->data, 4096);
    assert_false(gguf_broken(model));
    assert_int_equal(truncate(dir.file, 100), 0);
    assert_true(gguf_broken(model));
    gguf_close(model);

    expect_input(gguf_open(&model, temp_path(&dir, "seed.gguf")), "cut short");
    assert_null(model);
    expect_input(gguf_open(&model, temp_path(&dir, "no-seed.gguf")), "no such file");
    assert_int_equal(gguf_open(&model, dir.path), ERR_INPUT);
    assert_non_null(strstr(err_msg(), "is a directory"));
    gguf_close(NULL);
}

/* A key copied from a reader is the same key. */
/* A file that takes 64 bytes on the disk, with room for all the empty strings it claims. */
static void test_sparse_array(void **state)
{
    (void)state;
    const struct {
        uint32_t magic, version;
        uint64_t n_tensor, n_kv, n_key;
        char key[8];
        uint32_t type, elem;
        uint64_t n;
    } image = {0x46554747, 3,        0,        1, 8, "test.arr",
               GGUF_ARR,   GGUF_STR, (uint64_t)GGUF_ITEMS_MAX + 1};
    assert_true(temp_write(temp_path(&dir, "sparse.gguf"), &image, sizeof image));
    if (truncate(temp_path(&dir, "sparse.gguf"), (off_t)1 << 40) != 0) skip();
    struct gguf *model = NULL;
    assert_int_equal(gguf_open(&model, temp_path(&dir, "sparse.gguf")), ERR_INPUT);
    assert_non_null(strstr(err_msg(), "sparse.gguf: key 'test.arr': 16777217 items of type"));
}

static void test_copied_keys(void **state)
{
    (void)state;
    struct gguf_writer *w = NULL;
    struct gguf *copy = NULL;
    uint8_t *data = NULL;
    size_t n = 0;
    assert_int_equal(gguf_write_open(&w, 0), OK);
    for (uint64_t i = 0; i < gguf_n_kv(g); i++) gguf_write_kv(w, gguf_kv_at(g, i));
    for (uint64_t i = 0; i < gguf_n_tensor(g); i++) {
        const struct tensor *t = gguf_tensor_at(g, i);
        gguf_write_tensor(w, t->name, t->type, t->n_dims, t->ne, t->data);
    }
    assert_int_equal(gguf_write_image(w, &data, &n), OK);
    assert_int_equal(n, seed.n_bytes);
    assert_memory_equal(data, seed.data, n);
    assert_int_equal(gguf_open_mem(&copy, data, n, "seed.gguf"), OK);
    assert_int_equal(gguf_walk(copy), gguf_walk(g));
    gguf_close(copy);
    mem_free(data);
    gguf_write_close(w);
}

/* Every allocation fails once: an error, nothing leaks, and the last round succeeds. */
static void test_open_without_memory(void **state)
{
    (void)state;
    const size_t used = mem_used_total();
    enum err err = ERR_MEMORY;
    write_seed_file();
    for (uint64_t n = 1; err == ERR_MEMORY; n++) {
        assert_true(n < 100);
        struct gguf *model = NULL;
        mem_fail_at(n);
        err = gguf_open(&model, temp_path(&dir, "seed.gguf"));
        mem_fail_at(0);
        assert_true(err == OK ? model != NULL : model == NULL);
        gguf_close(model);
        assert_int_equal(mem_used_total(), used);
    }
    assert_int_equal(err, OK);
}

static void test_write_without_memory(void **state)
{
    (void)state;
    const size_t used = mem_used_total();
    enum err err = ERR_MEMORY;
    for (uint64_t n = 1; err == ERR_MEMORY; n++) {
        assert_true(n < 100);
        struct gguf_writer *w = NULL;
        uint8_t *data = NULL;
        size_t n_bytes = 0;
        mem_fail_at(n);
        err = gguf_write_open(&w, 64);
        if (!err) {
            seed_add_keys(w);
            seed_add_tensors(w);
            err = gguf_write_image(w, &data, &n_bytes);
        }
        mem_fail_at(0);
        assert_true(err == OK || (err == ERR_MEMORY && !data));
        mem_free(data);
        gguf_write_close(w);
        assert_int_equal(mem_used_total(), used);
    }
    assert_int_equal(err, OK);
}

/* ---- real and large files -------------------------------------------------------------------- */

#define N_TOKEN 262144

static void test_large_vocabulary_opens_fast(void **state)
{
    (void)state;
    struct gguf_str *tokens = mem_alloc_array(MEM_MISC, N_TOKEN, sizeof tokens[0]);
    struct gguf_writer *w = NULL;
    struct gguf *model = NULL;
    uint8_t *data = NULL;
    size_t n = 0;
    assert_non_null(tokens);
    for (size_t i = 0; i < N_TOKEN; i++) tokens[i] = (struct gguf_str){"abcdefghijklmnop", i % 17};
    assert_int_equal(gguf_write_open(&w, 0), OK);
    gguf_write_arr_str(w, "tokenizer.ggml.tokens", tokens, N_TOKEN);
    assert_int_equal(gguf_write_image(w, &data, &n), OK);
    gguf_write_close(w);
    mem_free(tokens);

    const size_t used = mem_used_total();
    uint64_t best_ns = UINT64_MAX;
    for (int i = 0; i < 5; i++) {
        const uint64_t start_ns = os_time_ns();
        assert_int_equal(gguf_open_mem(&model, data, n, "seed.gguf"), OK);
        const uint64_t took_ns = os_time_ns() - start_ns;
        if (took_ns < best_ns) best_ns = took_ns;
        assert_true(mem_used_total() - used < 4096); /* nothing per token */
        gguf_close(model);
    }
    assert_true(best_ns < 100000000); /* about 1 ms; sanitizers and busy machines included */
    mem_free(data);
}

static void test_real_files(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        uint64_t n_kv, n_tensor;
        uint32_t version;
    } files[] = {
        {"../shared/models/tinymoe-f32.gguf", 26, 52, 3},
        {"../shared/data/gguf/llama-2-tiny-random.gguf", 18, 12, 3},
        {"../shared/data/tokenizer/ggml-vocab-gpt-2.gguf", 16, 0, 3},
        {"../shared/data/tokenizer/history/ggml-vocab-falcon.d4ea2e8.gguf", 17, 0, 2},
    };
    if (access(files[0].path, R_OK) != 0) skip(); /* no ../shared */
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        struct gguf *model = NULL;
        const enum err err = gguf_open(&model, files[i].path);
        if (err) fail_msg("%s", err_msg());
        assert_int_equal(gguf_n_kv(model), files[i].n_kv);
        assert_int_equal(gguf_n_tensor(model), files[i].n_tensor);
        assert_int_equal(gguf_version(model), files[i].version);
        assert_true(gguf_walk(model) > 0);
        gguf_close(model);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keys_in_order),
        cmocka_unit_test(test_integers),
        cmocka_unit_test(test_floats),
        cmocka_unit_test(test_bool_and_string),
        cmocka_unit_test(test_each),
        cmocka_unit_test(test_arrays),
        cmocka_unit_test(test_array_that_changed),
        cmocka_unit_test(test_type_names),
        cmocka_unit_test(test_tensors),
        cmocka_unit_test(test_alignments),
        cmocka_unit_test(test_no_tensors),
        cmocka_unit_test(test_file),
        cmocka_unit_test(test_sparse_array),
        cmocka_unit_test(test_copied_keys),
        cmocka_unit_test(test_open_without_memory),
        cmocka_unit_test(test_write_without_memory),
        cmocka_unit_test(test_large_vocabulary_opens_fast),
        cmocka_unit_test(test_real_files),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, open_seed, close_seed);
}
