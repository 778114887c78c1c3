/*
 * gguf_seed.h: a small valid model in memory, with a key of every type, for tests that damage it.
 *
 *     struct seed s;
 *     seed_make(&s, 0);                               // asserts inside
 *     uint8_t *at = seed_after(&s, "test.u32");       // the byte after that name: its type follows
 *     seed_free(&s);
 */
#ifndef TESTS_GGUF_SEED_H
#define TESTS_GGUF_SEED_H

#include "base/mem.h"
#include "gguf/gguf_write.h"

#include <assert.h>
#include <string.h>

struct seed {
    uint8_t *data;
    size_t n_bytes;
};

/* The keys of seed_make(), in its order; a test walks them to find every boundary. */
static const char *const seed_keys[] = {
    "general.architecture",
    "test.u8",
    "test.i8",
    "test.u16",
    "test.i16",
    "test.u32",
    "test.i32",
    "test.f32",
    "test.yes",
    "test.text",
    "test.u64",
    "test.i64",
    "test.f64",
    "test.arr_str",
    "test.arr_f32",
    "test.arr_i32",
    "test.arr_bool",
};
#define SEED_N_KEY (sizeof seed_keys / sizeof seed_keys[0])

#define SEED_N_TENSOR 4

static inline void seed_scalar(struct gguf_writer *w, const char *key, enum gguf_type type,
                               const void *bytes, size_t n_bytes)
{
    const struct gguf_kv kv = {.key = {key, strlen(key)},
                               .type = type,
                               .elem = type,
                               .n = 1,
                               .data = bytes,
                               .n_bytes = n_bytes};
    gguf_write_kv(w, &kv);
}

static inline void seed_add_keys(struct gguf_writer *w)
{
    static const uint8_t ff[8] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    static const uint8_t two[8] = {2, 0, 0, 0, 0, 0, 0, 0};
    static const uint8_t half[8] = {0, 0, 0, 0, 0, 0, 0xe0, 0x3f}; /* 0.5 as FLOAT64 */
    gguf_write_str(w, "general.architecture", "llama");
    seed_scalar(w, "test.u8", GGUF_U8, ff, 1);
    seed_scalar(w, "test.i8", GGUF_I8, ff, 1);
    seed_scalar(w, "test.u16", GGUF_U16, ff, 2);
    seed_scalar(w, "test.i16", GGUF_I16, ff, 2);
    gguf_write_u32(w, "test.u32", 7);
    seed_scalar(w, "test.i32", GGUF_I32, two, 4);
    gguf_write_f32(w, "test.f32", 0.25f);
    gguf_write_bool(w, "test.yes", true);
    gguf_write_str(w, "test.text", "h\xff\ni");
    seed_scalar(w, "test.u64", GGUF_U64, ff, 8);
    seed_scalar(w, "test.i64", GGUF_I64, two, 8);
    seed_scalar(w, "test.f64", GGUF_F64, half, 8);
    const struct gguf_str words[] = {{"a", 1}, {"", 0}, {"b\0c", 3}};
    gguf_write_arr_str(w, "test.arr_str", words, 3);
    gguf_write_arr_f32(w, "test.arr_f32", (const float[]){1.5f, -2.0f}, 2);
    gguf_write_arr_i32(w, "test.arr_i32", (const int32_t[]){3, -1, 5}, 3);
    const struct gguf_kv bools = {.key = {"test.arr_bool", 13},
                                  .type = GGUF_ARR,
                                  .elem = GGUF_BOOL,
                                  .n = 2,
                                  .data = (const uint8_t[]){1, 0},
                                  .n_bytes = 2};
    gguf_write_kv(w, &bools);
}

static inline void seed_add_tensors(struct gguf_writer *w)
{
    static uint8_t ramp[1024];
    for (size_t i = 0; i < sizeof ramp; i++) ramp[i] = (uint8_t)i;
    gguf_write_tensor(w, "w.f32", DT_F32, 2, (const uint64_t[]){8, 4}, ramp);
    gguf_write_tensor(w, "w.q4_0", DT_Q4_0, 2, (const uint64_t[]){64, 2}, ramp);
    gguf_write_tensor(w, "w.q4_k", DT_Q4_K, 3, (const uint64_t[]){256, 1, 2}, ramp);
    gguf_write_tensor(w, "w.i8", DT_I8, 1, (const uint64_t[]){5},
                      ramp); /* not computable, but legal */
}

static inline void seed_make(struct seed *s, uint32_t align)
{
    struct gguf_writer *w = NULL;
    enum err err = gguf_write_open(&w, align);
    assert(!err);
    seed_add_keys(w);
    seed_add_tensors(w);
    err = gguf_write_image(w, &s->data, &s->n_bytes);
    assert(!err);
    (void)err;
    gguf_write_close(w);
}

static inline void seed_free(struct seed *s)
{
    mem_free(s->data);
    *s = (struct seed){0};
}

/* The byte after the first place where text stands in data, NULL when it does not. */
static inline uint8_t *bytes_after(uint8_t *data, size_t n_bytes, const char *text)
{
    const size_t n = strlen(text);
    for (size_t i = 0; i + n <= n_bytes; i++) {
        if (memcmp(data + i, text, n) == 0) return data + i + n;
    }
    return NULL;
}

static inline uint8_t *seed_after(const struct seed *s, const char *text)
{
    uint8_t *at = bytes_after(s->data, s->n_bytes, text);
    assert(at);
    return at;
}

static inline void poke(uint8_t *at, uint64_t v, size_t n_bytes)
{
    for (size_t i = 0; i < n_bytes; i++) at[i] = (uint8_t)(v >> (8 * i));
}

#endif
