/*
 * test_corruptions.c: damaged GGUF files, one field at a time, then byte by byte.
 *
 * Every damaged image must either open (and then everything in it is read) or be refused with
 * ERR_INPUT and a message that says what the table expects; it must leave nothing allocated. Images
 * lie in blocks of their exact size, so that a sanitizer sees a read beyond them.
 *
 *     test_corruptions --seeds FOLDER        writes the seeds of tests/fuzz/corpus/gguf instead
 */
#include "base/limits.h"
#include "base/mem.h"
#include "base/os.h"
#include "gguf/gguf.h"
#include "gguf/gguf_write.h"
#include "tests/unit/gguf_seed.h"
#include "tests/unit/gguf_walk.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define NAME "seed"

/* ---- opening an image ------------------------------------------------------------------------ */

/* Opens n_bytes at data; the error code is the only thing a caller may differ in. */
static enum err open_image(const uint8_t *data, size_t n_bytes)
{
    const size_t used = mem_used_total();
    struct gguf *g = NULL;
    err_clear();
    const enum err err = gguf_open_mem(&g, data, n_bytes, NAME);
    if (err == OK) {
        assert_non_null(g);
        gguf_walk(g);
    } else {
        assert_int_equal(err, ERR_INPUT);
        assert_null(g);
        assert_memory_equal(err_msg(), NAME ": ", sizeof NAME ": " - 1);
        assert_null(strpbrk(err_msg(), "\n\r\x1b"));
    }
    gguf_close(g);
    assert_int_equal(mem_used_total(), used);
    return err;
}

/* needle: what the refusal says; NULL: the image is legal. */
static void expect(const char *row, const uint8_t *data, size_t n_bytes, const char *needle)
{
    const enum err err = open_image(data, n_bytes);
    if (!needle) {
        if (err) fail_msg("%s: refused: %s", row, err_msg());
        return;
    }
    if (!err) fail_msg("%s: accepted, expected '%s'", row, needle);
    if (!strstr(err_msg(), needle)) fail_msg("%s: '%s' does not say '%s'", row, err_msg(), needle);
}

/* The same for a prefix of data, in a block of its own size. */
static enum err open_prefix(const uint8_t *data, size_t n_bytes)
{
    uint8_t *exact = mem_alloc(MEM_MISC, n_bytes);
    assert_non_null(exact);
    memcpy(exact, data, n_bytes);
    const enum err err = open_image(exact, n_bytes);
    mem_free(exact);
    return err;
}

/* ---- one field at a time --------------------------------------------------------------------- */

/* Where fields lie, counted from the byte after a key's or tensor's name (or from the file's
 * start). */
enum {
    VERSION = 4,
    N_TENSOR = 8,
    N_KV = 16,
    TYPE = 0,   /* of a key */
    VALUE = 4,  /* of a scalar; length of a string */
    ELEM = 4,   /* item type of an array */
    COUNT = 8,  /* items of an array */
    ITEMS = 16, /* first item of an array */
    N_DIMS = 0, /* of a tensor */
    NE0 = 4,
    NE1 = 12,
    DTYPE_1D = 12, /* type, after one dimension */
    OFFSET_1D = 16,
    DTYPE_2D = 20,
    OFFSET_2D = 24,
};

#define MAX64 UINT64_MAX
#define ANCHOR_LEN(name) (-(int)(sizeof(name) - 1) - 8) /* the length before a name */

struct row {
    const char *anchor; /* a key or tensor; NULL: the file's start */
    int at;
    size_t n_bytes;
    uint64_t value;
    const char *needle; /* NULL: legal */
};

static const struct row rows[] = {
    /* 1: magic */
    {NULL, 0, 4, 0x47554747, "not a GGUF file: it starts with bytes 47 47 55 47"},
    {NULL, 0, 4, 0x47475546, "swapped bytes"},
    {NULL, 0, 4, 0x67676a74, "'ggjt'"},
    /* 2: version */
    {NULL, VERSION, 4, 0, "version 0 at byte 4"},
    {NULL, VERSION, 4, 1, "version 1 at byte 4 is too old"},
    {NULL, VERSION, 4, 2, NULL},
    {NULL, VERSION, 4, 4, "version 4 at byte 4 is unknown, expected 2 or 3"},
    {NULL, VERSION, 4, 0x03000000, "big-endian"},
    {NULL, VERSION, 4, 0x02000000, "big-endian"},
    {NULL, VERSION, 4, MAX64, "version 4294967295"},
    /* 3: number of tensors */
    {NULL, N_TENSOR, 8, MAX64, "number of tensors at byte 8 is 18446744073709551615"},
    {NULL, N_TENSOR, 8, MAX64 / 2, "number of tensors at byte 8"},
    {NULL, N_TENSOR, 8, MAX64 / sizeof(struct tensor) + 1, "number of tensors at byte 8"},
    {NULL, N_TENSOR, 8, (uint64_t)1 << 32, "number of tensors at byte 8"},
    {NULL, N_TENSOR, 8, 50, "number of tensors at byte 8"},
    {NULL, N_TENSOR, 8, 5, "tensor 5 of 5"},
    {NULL, N_TENSOR, 8, 3, NULL}, /* the data then start earlier, where only bytes are */
    /* 4: number of keys */
    {NULL, N_KV, 8, MAX64, "number of keys at byte 16 is 18446744073709551615"},
    {NULL, N_KV, 8, (uint64_t)1 << 60, "number of keys at byte 16"},
    {NULL, N_KV, 8, 300, "number of keys at byte 16"},
    /* 5: length of a key */
    {"test.u32", ANCHOR_LEN("test.u32"), 8, MAX64, "claims 18446744073709551615 bytes"},
    {"test.u32", ANCHOR_LEN("test.u32"), 8, (uint64_t)1 << 63, "key 6 of 17: name at byte"},
    {"test.u32", ANCHOR_LEN("test.u32"), 8, (uint64_t)1 << 30, "claims 1073741824 bytes"},
    {"test.u32", ANCHOR_LEN("test.u32"), 8, 0, "is empty"},
    /* 6: names */
    {"test.u32", -1, 1, 0, "holds a NUL byte"},
    {"test.u32", -1, 1, 0xff, NULL},
    {"test.u32", -3, 3, 0x363175, "key 'test.u16' appears twice"},
    /* 7: value types */
    {"test.u32", TYPE, 4, 13, "key 'test.u32': value type at byte"},
    {"test.u32", TYPE, 4, 0xffffffff, "is 4294967295, expected 0 to 12"},
    {"test.u32", TYPE, 4, 0x7fffffff, "is 2147483647, expected 0 to 12"},
    {"test.yes", VALUE, 1, 2, "key 'test.yes': BOOL at byte"},
    {"test.yes", VALUE, 1, 0xff, "is 255, expected 0 or 1"},
    {"test.arr_bool", ITEMS + 1, 1, 7, "key 'test.arr_bool': BOOL at byte"},
    /* 8: length of a string */
    {"test.text", VALUE, 8, MAX64, "key 'test.text': string at byte"},
    {"test.text", VALUE, 8, MAX64 - 7, "claims 18446744073709551608 bytes"},
    {"test.text", VALUE, 8, (uint64_t)1 << 30, "claims 1073741824 bytes"},
    {"test.arr_str", ITEMS, 8, MAX64 - 7, "key 'test.arr_str': item 0 of 3: string at byte"},
    {"test.arr_str", ITEMS + 9, 8, (uint64_t)1 << 40, "item 1 of 3"},
    /* 9: item type of an array */
    {"test.arr_i32", ELEM, 4, 9, "key 'test.arr_i32': item type at byte"},
    {"test.arr_i32", ELEM, 4, 9, "arrays of arrays are not supported"},
    {"test.arr_i32", ELEM, 4, 13, "is 13, expected 0 to 12"},
    {"test.arr_i32", ELEM, 4, 0xffffffff, "is 4294967295, expected 0 to 12"},
    /* 10: length of an array */
    {"test.arr_i32", COUNT, 8, MAX64,
     "key 'test.arr_i32': 18446744073709551615 items of type INT32"},
    {"test.arr_i32", COUNT, 8, ((uint64_t)1 << 62) + 1, "items of type INT32"},
    {"test.arr_i32", COUNT, 8, 5000, "5000 items of type INT32"},
    {"test.arr_str", COUNT, 8, MAX64, "items of type STRING"},
    {"test.arr_str", COUNT, 8, (uint64_t)1 << 61, "items of type STRING"},
    {"test.arr_bool", COUNT, 8, MAX64, "items of type BOOL"},
    /* 12: tensor names */
    {"w.q4_0", ANCHOR_LEN("w.q4_0"), 8, 0, "tensor 2 of 4: name at byte"},
    {"w.q4_0", ANCHOR_LEN("w.q4_0"), 8, 64, "has 64 bytes, expected 1 to 63"},
    {"w.q4_0", ANCHOR_LEN("w.q4_0"), 8, MAX64, "claims 18446744073709551615 bytes"},
    {"w.q4_0", -1, 1, 'k', "tensor 'w.q4_k' appears twice"},
    {"w.q4_0", -1, 1, 0, "holds a NUL byte"},
    /* 13: number of dimensions */
    {"w.q4_0", N_DIMS, 4, 0, "tensor 'w.q4_0': number of dimensions at byte"},
    {"w.q4_0", N_DIMS, 4, 5, "is 5, expected 1 to 4"},
    {"w.q4_0", N_DIMS, 4, 0xffffffff, "is 4294967295, expected 1 to 4"},
    /* 14: dimensions */
    {"w.f32", NE0, 8, 0, "tensor 'w.f32': dimension 0 at byte"},
    {"w.f32", NE1, 8, 0, "dimension 1 at byte"},
    {"w.f32", NE1, 8, MAX64, "is -1, expected at least 1"},
    {"w.f32", NE0, 8, MAX64 / 2, "more bytes than 64 bits can count"},
    {"w.f32", NE1, 8, MAX64 / 2, "more bytes than 64 bits can count"},
    {"w.f32", NE1, 8, ((uint64_t)1 << 42) + 1, "tensor 'w.f32': 140737488355360 bytes at offset 0"},
    {"w.f32", NE1, 8, (uint64_t)1 << 59, "more bytes than 64 bits can count"},
    {"w.i8", NE0, 8, MAX64 / 2, "tensor 'w.i8': 9223372036854775807 bytes at offset"},
    {"w.i8", NE0, 8, 33, "tensor 'w.i8': 33 bytes at offset"},
    {"w.i8", NE0, 8, 32, NULL},
    /* 15: rows of whole blocks */
    {"w.q4_0", NE0, 8, 33,
     "tensor 'w.q4_0': dimension 0 is 33, expected a multiple of 32, the block of type Q4_0"},
    {"w.q4_k", NE0, 8, 255,
     "dimension 0 is 255, expected a multiple of 256, the block of type Q4_K"},
    /* 16: tensor types */
    {"w.q4_0", DTYPE_2D, 4, 4, "tensor 'w.q4_0': type at byte"},
    {"w.q4_0", DTYPE_2D, 4, 5, "number 5, which is not in use"},
    {"w.q4_0", DTYPE_2D, 4, 31, "types that work: F32, F16"},
    {"w.q4_0", DTYPE_2D, 4, 36, "number 36"},
    {"w.q4_0", DTYPE_2D, 4, DT_COUNT, "which is not in use"},
    {"w.q4_0", DTYPE_2D, 4, 0xffffffff, "number 4294967295"},
    {"w.q4_0", DTYPE_2D, 4, 0x7fffffff, "number 2147483647"},
    {"w.i8", DTYPE_1D, 4, DT_I16, NULL}, /* cannot be computed, can be listed */
    {"w.i8", DTYPE_1D, 4, DT_I64, "tensor 'w.i8': 40 bytes at offset"},
    /* 17: offsets */
    {"w.f32", OFFSET_2D, 8, MAX64, "tensor 'w.f32': offset 18446744073709551615 is not a multiple"},
    {"w.f32", OFFSET_2D, 8, MAX64 - 31, "tensor 'w.f32': 128 bytes at offset 18446744073709551584"},
    {"w.f32", OFFSET_2D, 8, 1, "offset 1 is not a multiple of the alignment 32"},
    {"w.f32", OFFSET_2D, 8, 4096, "128 bytes at offset 4096"},
    {"w.f32", OFFSET_2D, 8, 64, "overlaps tensor"},
    {"w.i8", OFFSET_1D, 8, 0, "overlaps tensor"},
    {"w.i8", OFFSET_1D, 8, 96, "tensor 'w.i8' at offset 96 of the data overlaps tensor 'w.f32'"},
};

static void test_fields(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct row *r = &rows[i];
        struct seed s;
        seed_make(&s, 0);
        uint8_t *base = r->anchor ? seed_after(&s, r->anchor) : s.data;
        poke(base + r->at, r->value, r->n_bytes);
        char label[64];
        snprintf(label, sizeof label, "row %zu (%s%+d)", i, r->anchor ? r->anchor : "header",
                 r->at);
        expect(label, s.data, s.n_bytes, r->needle);
        seed_free(&s);
    }
}

/* 5: lengths that just reach, or just pass, the end of the file. */
static void test_key_length_at_the_end(void **state)
{
    (void)state;
    for (int delta = -2; delta <= 2; delta++) {
        struct seed s;
        seed_make(&s, 0);
        uint8_t *name = seed_after(&s, "test.u32") - 8;
        const size_t n_left = s.n_bytes - (size_t)(name - s.data);
        poke(name - 8, n_left + (size_t)delta, 8);
        expect("key length", s.data, s.n_bytes,
               delta > 0 ? "bytes, but the file has" : "holds a NUL byte");
        poke(name - 8, s.n_bytes + (size_t)delta, 8);
        expect("key length", s.data, s.n_bytes, "bytes, but the file has");
        seed_free(&s);
    }
}

/* 11: alignment */
static void test_alignment(void **state)
{
    (void)state;
    static const uint32_t bad[] = {0,  1,  2,          3,        4,        7,         24,
                                   33, 96, 0x80000000, 1u << 30, 1u << 21, UINT32_MAX};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct seed s;
        seed_make(&s, 32);
        poke(seed_after(&s, "general.alignment") + VALUE, bad[i], 4);
        expect("alignment", s.data, s.n_bytes, "key 'general.alignment' is ");
        assert_non_null(strstr(err_msg(), "expected a power of two from 8 to 1048576"));
        seed_free(&s);
    }
    static const enum gguf_type wrong[] = {GGUF_I32, GGUF_F32};
    for (size_t i = 0; i < 2; i++) {
        struct seed s;
        seed_make(&s, 32);
        poke(seed_after(&s, "general.alignment") + TYPE, (uint64_t)wrong[i], 4);
        expect("alignment", s.data, s.n_bytes, "key 'general.alignment' has type ");
        seed_free(&s);
    }
    struct seed s;
    seed_make(&s, 32); /* laid out for 32, then said to be 4096 or 64 */
    poke(seed_after(&s, "general.alignment") + VALUE, 4096, 4);
    expect("alignment", s.data, s.n_bytes,
           "the data section starts at byte 4096 and holds 0 bytes");
    poke(seed_after(&s, "general.alignment") + VALUE, 64, 4);
    expect("alignment", s.data, s.n_bytes, "is not a multiple of the alignment 64");
    poke(seed_after(&s, "general.alignment") + VALUE, 8, 4);
    assert_true(open_image(s.data, s.n_bytes) == OK); /* data start earlier, and all fits */
    seed_free(&s);
}

static uint8_t *image_of(struct gguf_writer *w, size_t *n_bytes)
{
    uint8_t *data = NULL;
    const enum err err = gguf_write_image(w, &data, n_bytes);
    assert_int_equal(err, OK);
    gguf_write_close(w);
    return data;
}

/* 6: the longest key, and one byte more */
static void test_long_keys(void **state)
{
    (void)state;
    static char key[GGUF_KEY_BYTES_MAX + 1];
    memset(key, 'k', GGUF_KEY_BYTES_MAX);
    struct gguf_writer *w = NULL;
    assert_int_equal(gguf_write_open(&w, 0), OK);
    gguf_write_u32(w, key, 1);
    gguf_write_str(w, "x", "y");
    size_t n = 0;
    uint8_t *data = image_of(w, &n);
    expect("key of 65535 bytes", data, n, NULL);
    poke(data + 24, GGUF_KEY_BYTES_MAX + 1, 8);
    expect("key of 65536 bytes", data, n, "has 65536 bytes, expected at most 65535");
    /* A message about a long key stays a line. */
    poke(data + 24, GGUF_KEY_BYTES_MAX, 8);
    poke(data + 32 + GGUF_KEY_BYTES_MAX, 99, 4);
    expect("type of a long key", data, n, "value type at byte");
    assert_true(strlen(err_msg()) < 300);
    mem_free(data);
}

/* 9: arrays of arrays, as deep as a recursive reader would follow */
static void test_nested_arrays(void **state)
{
    (void)state;
    enum { DEPTH = 10000 };
    struct gguf_writer *w = NULL;
    assert_int_equal(gguf_write_open(&w, 0), OK);
    uint8_t *nest = mem_alloc(MEM_MISC, DEPTH * 12);
    assert_non_null(nest);
    for (size_t i = 0; i < DEPTH; i++) {
        poke(nest + 12 * i, GGUF_ARR, 4);
        poke(nest + 12 * i + 4, 1, 8);
    }
    const struct gguf_kv kv = {.key = {"deep", 4},
                               .type = GGUF_ARR,
                               .elem = GGUF_U8,
                               .n = DEPTH * 12,
                               .data = nest,
                               .n_bytes = DEPTH * 12};
    gguf_write_kv(w, &kv);
    mem_free(nest);
    size_t n = 0;
    uint8_t *data = image_of(w, &n);
    poke(bytes_after(data, n, "deep") + ELEM, GGUF_ARR, 4);
    poke(bytes_after(data, n, "deep") + COUNT, 1, 8);
    expect("nested arrays", data, n, "arrays of arrays are not supported");
    mem_free(data);
}

/* 17, 18: sizes whose sum wraps; data that are missing by a byte, by half, wholly */
static void test_data_section(void **state)
{
    (void)state;
    struct seed s;
    seed_make(&s, 0);
    poke(seed_after(&s, "w.f32") + N_DIMS, 2, 4);
    poke(seed_after(&s, "w.f32") + NE0, (uint64_t)0x7fffffffffffffc0 / 4, 8);
    poke(seed_after(&s, "w.f32") + NE1, 1, 8);
    poke(seed_after(&s, "w.i8") + NE0, 0x7fffffffffffffc0, 8);
    expect("sum wraps", s.data, s.n_bytes, "do not fit: the data section starts at byte");
    seed_free(&s);

    seed_make(&s, 0);
    const size_t n_padding = 32 - 5; /* after the last tensor, of 5 bytes */
    assert_int_equal(open_prefix(s.data, s.n_bytes - n_padding), OK);
    assert_int_equal(open_prefix(s.data, s.n_bytes - n_padding - 1), ERR_INPUT);
    assert_non_null(strstr(err_msg(), "tensor 'w.i8': 5 bytes at offset"));
    assert_int_equal(open_prefix(s.data, s.n_bytes - 300), ERR_INPUT);
    assert_non_null(strstr(err_msg(), "tensor 'w.q4_k'"));
    assert_int_equal(open_prefix(s.data, s.n_bytes - 544), ERR_INPUT); /* all of it */
    assert_non_null(strstr(err_msg(), "tensor 'w.f32'"));
    seed_free(&s);
}

/* ---- not GGUF at all ------------------------------------------------------------------------- */

static void test_other_files(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t n;
        const char *needle;
    } files[] = {
        {"", 0, "has 0 bytes"},
        {"G", 1, "has 1 bytes"},
        {"GGU", 3, "has 3 bytes"},
        {"GGUF", 4, "GGUF version at byte 4: the file ends"},
        {"GGUF\3\0\0", 7, "after 3 of 4 bytes"},
        {"GGUF\3\0\0\0", 8, "number of tensors at byte 8"},
        {"\x10\0\0\0\0\0\0\0{\"__metadata__\":", 24, "is a safetensors file"},
        {"<!DOCTYPE html><html>", 21, "is an HTML page"},
        {" \r\n\t<HTML lang=\"en\">", 20, "is an HTML page"},
        {"\xef\xbb\xbf<html>", 9, "is an HTML page"},
        {"version https://git-lfs.github.com/spec/v1\noid sha256:00", 56, "a Git LFS pointer"},
        {"PK\x03\x04\x14\0\0\0", 8, "PyTorch checkpoint"},
        {"\x80\x02}q\0", 5, "PyTorch checkpoint"},
        {"\x1f\x8b\x08\0\0", 5, "gzip"},
        {"\x28\xb5\x2f\xfd\0", 5, "zstd"},
        {"\xfd"
         "7zXZ\0",
         6, "xz"},
        {"lmgg\1\0\0\0", 8, "'ggml'"},
        {"hello world", 11, "is not a GGUF file: it starts with bytes 68 65 6c 6c"},
        {"        {", 9, "is not a GGUF file"},
        {"<svg>", 5, "is not a GGUF file"},
    };
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        assert_int_equal(open_prefix((const uint8_t *)files[i].bytes, files[i].n), ERR_INPUT);
        if (!strstr(err_msg(), files[i].needle))
            fail_msg("'%s' does not say '%s'", err_msg(), files[i].needle);
    }
}

/* ---- byte by byte ---------------------------------------------------------------------------- */

static size_t header_bytes(const uint8_t *data, size_t n_bytes)
{
    struct gguf *g = NULL;
    assert_int_equal(gguf_open_mem(&g, data, n_bytes, NAME), OK);
    const struct tensor *t = gguf_tensor_at(g, 0);
    const size_t n = (size_t)((const uint8_t *)t->data - data) - (size_t)gguf_tensor_offset(g, 0);
    gguf_close(g);
    return n;
}

static void truncate_everywhere(const uint8_t *data, size_t n_bytes)
{
    const size_t n_header = header_bytes(data, n_bytes);
    for (size_t n = 0; n < n_header; n++) {
        if (open_prefix(data, n) == OK)
            fail_msg("cut to %zu of %zu header bytes: accepted", n, n_header);
    }
}

static void flip_bytes(uint8_t *data, size_t n_bytes)
{
    size_t n_refused = 0;
    for (size_t i = 0; i < n_bytes && i < 4096; i++) {
        const uint8_t before = data[i];
        const uint8_t after[] = {0x00, 0xff, before ^ 0x80};
        for (size_t k = 0; k < 3; k++) {
            data[i] = after[k];
            n_refused += open_image(data, n_bytes) != OK;
        }
        data[i] = before;
    }
    assert_int_equal(open_image(data, n_bytes), OK);
    assert_true(n_refused > 50); /* magic, version, counts and lengths at the least */
}

/* A byte more, or one less, where each key begins, and where the tensor directory does. */
static void shift_at_keys(const uint8_t *data, size_t n_bytes)
{
    struct gguf *g = NULL;
    uint8_t *shifted = mem_alloc(MEM_MISC, n_bytes + 1);
    assert_non_null(shifted);
    assert_int_equal(gguf_open_mem(&g, data, n_bytes, NAME), OK);
    for (uint64_t i = 0; i <= gguf_n_kv(g); i++) {
        const struct gguf_kv *last = gguf_kv_at(g, i < gguf_n_kv(g) ? i : i - 1);
        const uint8_t *place =
            i < gguf_n_kv(g) ? (const uint8_t *)last->key.s - 8 : last->data + last->n_bytes;
        const size_t at = (size_t)(place - data);
        for (int value = 0; value <= 0xff; value += 0x55) {
            memcpy(shifted, data, at);
            shifted[at] = (uint8_t)value;
            memcpy(shifted + at + 1, data + at, n_bytes - at);
            open_image(shifted, n_bytes + 1);
        }
        memcpy(shifted, data, at);
        memcpy(shifted + at, data + at + 1, n_bytes - at - 1);
        open_image(shifted, n_bytes - 1);
    }
    gguf_close(g);
    mem_free(shifted);
}

static void test_seed_byte_by_byte(void **state)
{
    (void)state;
    for (uint32_t align = 0; align <= 64; align += 64) {
        struct seed s;
        seed_make(&s, align);
        truncate_everywhere(s.data, s.n_bytes);
        flip_bytes(s.data, s.n_bytes);
        shift_at_keys(s.data, s.n_bytes);
        seed_free(&s);
    }
}

static void test_real_files_byte_by_byte(void **state)
{
    (void)state;
    static const char *const paths[] = {
        "../shared/golden/llama-mha/model.gguf",
        "../shared/golden/quant-llama-q4_0/model.gguf",
    };
    if (access(paths[0], R_OK) != 0) skip(); /* no ../shared */
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        char *data = NULL;
        size_t n = 0;
        assert_int_equal(os_read_all(paths[i], 1 << 24, &data, &n), OK);
        truncate_everywhere((uint8_t *)data, n);
        flip_bytes((uint8_t *)data, n);
        shift_at_keys((uint8_t *)data, n);
        mem_free(data);
    }
}

/* A file of a few bytes that claims much is refused before a table is allocated: one would fail
 * here. */
static void test_claims_cost_nothing(void **state)
{
    (void)state;
    static const int counts[] = {N_TENSOR, N_KV};
    struct seed s;
    for (int i = 0; i < 2; i++) {
        seed_make(&s, 0);
        for (int shift = 8; shift < 64; shift++) {
            poke(s.data + counts[i], (uint64_t)1 << shift, 8);
            mem_fail_at(4); /* after the struct, its first part, and the path */
            expect("claim", s.data, s.n_bytes, i ? "number of keys" : "number of tensors");
            mem_fail_at(0);
        }
        seed_free(&s);
    }
    seed_make(&s, 0);
    mem_fail_at(4);
    struct gguf *g = NULL;
    assert_int_equal(gguf_open_mem(&g, s.data, s.n_bytes, NAME), ERR_MEMORY); /* and so it does */
    mem_fail_at(0);
    seed_free(&s);
}

static void test_known_files(void **state)
{
    (void)state;
    static const struct {
        const char *path, *needle;
    } files[] = {
        {"tests/fuzz/corpus/gguf/zero-dim-llama.cpp-pr25596.gguf",
         "tensor 't': dimension 1 at byte 45 is 0"},
        {"../shared/data/tokenizer/history/ggml-vocab-llama.63bfaf6.gguf",
         "version 1 at byte 4 is too old"},
    };
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        if (access(files[i].path, R_OK) != 0)
            skip(); /* no ../shared, or not in the root of the tree */
        struct gguf *g = NULL;
        assert_int_equal(gguf_open(&g, files[i].path), ERR_INPUT);
        if (!strstr(err_msg(), files[i].needle))
            fail_msg("'%s' does not say '%s'", err_msg(), files[i].needle);
    }
}

/* ---- seeds ----------------------------------------------------------------------------------- */

/* The whole seed, then one with each kind of damage that a mutation seldom finds. */
static int write_seeds(const char *folder)
{
    static const struct {
        const char *name;
        struct row row;
    } seeds[] = {
        {"whole", {NULL, VERSION, 4, 3, NULL}},
        {"version-2", {NULL, VERSION, 4, 2, NULL}},
        {"count-keys", {NULL, N_KV, 8, (uint64_t)1 << 60, NULL}},
        {"count-tensors", {NULL, N_TENSOR, 8, (uint64_t)1 << 32, NULL}},
        {"key-length", {"test.u32", ANCHOR_LEN("test.u32"), 8, MAX64, NULL}},
        {"string-length", {"test.text", VALUE, 8, MAX64 - 7, NULL}},
        {"array-length", {"test.arr_i32", COUNT, 8, ((uint64_t)1 << 62) + 1, NULL}},
        {"array-of-array", {"test.arr_i32", ELEM, 4, GGUF_ARR, NULL}},
        {"bool-2", {"test.yes", VALUE, 1, 2, NULL}},
        {"shape-wraps", {"w.f32", NE1, 8, (uint64_t)1 << 59, NULL}},
        {"offset-wraps", {"w.f32", OFFSET_2D, 8, MAX64 - 31, NULL}},
        {"overlap", {"w.i8", OFFSET_1D, 8, 96, NULL}},
    };
    for (size_t i = 0; i < sizeof seeds / sizeof seeds[0]; i++) {
        struct seed s;
        seed_make(&s, 32);
        const struct row *r = &seeds[i].row;
        poke((r->anchor ? seed_after(&s, r->anchor) : s.data) + r->at, r->value, r->n_bytes);
        char path[512];
        snprintf(path, sizeof path, "%s/%s.gguf", folder, seeds[i].name);
        const enum err err = os_write_all(path, s.data, s.n_bytes);
        seed_free(&s);
        if (err) {
            fprintf(stderr, "%s\n", err_msg());
            return err_exit_code(err);
        }
    }
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "--seeds") == 0) return write_seeds(argv[2]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fields),
        cmocka_unit_test(test_key_length_at_the_end),
        cmocka_unit_test(test_alignment),
        cmocka_unit_test(test_long_keys),
        cmocka_unit_test(test_nested_arrays),
        cmocka_unit_test(test_data_section),
        cmocka_unit_test(test_other_files),
        cmocka_unit_test(test_seed_byte_by_byte),
        cmocka_unit_test(test_real_files_byte_by_byte),
        cmocka_unit_test(test_claims_cost_nothing),
        cmocka_unit_test(test_known_files),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
