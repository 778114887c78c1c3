/*
 * gguf_write.c: three growing buffers (keys, tensor directory, tensor data) that are joined at the
 * end.
 *
 * Everything is held in memory: this serves tests and small files. Models larger than memory need a
 * writer that streams tensor data; it can share the first two buffers.
 *
 * Source of the format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
 */
#include "gguf/gguf_write.h"

#include "base/limits.h"
#include "base/mem.h"
#include "base/os.h"
#include "gguf/gguf_parse.h"

#include <assert.h>
#include <string.h>

#define HEADER_BYTES 24 /* magic, version, number of tensors, number of keys */

struct buf {
    uint8_t *data;
    size_t n_bytes;
    size_t room;
};

struct gguf_writer {
    struct buf kv, dir, tensors;
    uint64_t n_kv, n_tensor;
    uint32_t align;
    enum err err; /* first failure */
};

/* ---- buffers --------------------------------------------------------------------------------- */

/* Room for n more bytes at the end, zeroed; NULL after a failure, which sticks to the writer. */
static uint8_t *grow(struct gguf_writer *w, struct buf *b, size_t n)
{
    if (w->err) return NULL;
    size_t needed;
    if (!mem_add(b->n_bytes, n, &needed)) goto fail;
    if (needed > b->room) {
        const size_t room = needed > SIZE_MAX / 4 ? needed : needed * 2 + 256;
        uint8_t *data = mem_realloc(MEM_MISC, b->data, room);
        if (!data) goto fail;
        b->data = data;
        b->room = room;
    }
    uint8_t *at = b->data + b->n_bytes;
    b->n_bytes = needed;
    return at;
fail:
    w->err = ERR_MEMORY;
    return NULL;
}

static void put(struct gguf_writer *w, struct buf *b, const void *data, size_t n)
{
    uint8_t *at = grow(w, b, n);
    if (at && n > 0) memcpy(at, data, n);
}

static void store_le(uint8_t *at, uint64_t v, size_t n)
{
    for (size_t i = 0; i < n; i++) at[i] = (uint8_t)(v >> (8 * i));
}

static void put_uint(struct gguf_writer *w, struct buf *b, uint64_t v, size_t n)
{
    uint8_t *at = grow(w, b, n);
    if (at) store_le(at, v, n);
}

static void put_str(struct gguf_writer *w, struct buf *b, struct gguf_str s)
{
    put_uint(w, b, s.n, 8);
    put(w, b, s.s, s.n);
}

static struct gguf_str str_of(const char *s)
{
    assert(s);
    return (struct gguf_str){.s = s, .n = strlen(s)};
}

static size_t pad_up(size_t n, uint32_t align)
{
    return (n + align - 1) / align * align;
}

static uint32_t bits_of(float v)
{
    uint32_t bits;
    memcpy(&bits, &v, sizeof bits);
    return bits;
}

/* ---- keys ------------------------------------------------------------------------------------ */

static void begin_kv(struct gguf_writer *w, struct gguf_str key, enum gguf_type type)
{
    assert(w);
    assert(key.n >= 1);
    assert(key.n <= GGUF_KEY_BYTES_MAX);
    put_str(w, &w->kv, key);
    put_uint(w, &w->kv, (uint64_t)type, 4);
    w->n_kv++;
}

static void begin_array(struct gguf_writer *w, struct gguf_str key, enum gguf_type elem, uint64_t n)
{
    begin_kv(w, key, GGUF_ARR);
    put_uint(w, &w->kv, (uint64_t)elem, 4);
    put_uint(w, &w->kv, n, 8);
}

void gguf_write_kv(struct gguf_writer *w, const struct gguf_kv *kv)
{
    assert(kv);
    assert(kv->elem != GGUF_ARR);
    if (kv->type == GGUF_ARR)
        begin_array(w, kv->key, kv->elem, kv->n);
    else
        begin_kv(w, kv->key, kv->type);
    if (kv->type == GGUF_STR)
        put_uint(w, &w->kv, kv->n_bytes, 8);
    else if (kv->elem != GGUF_STR)
        assert(kv->n_bytes == kv->n * gguf_type_bytes(kv->elem));
    put(w, &w->kv, kv->data, (size_t)kv->n_bytes);
}

void gguf_write_u32(struct gguf_writer *w, const char *key, uint32_t v)
{
    begin_kv(w, str_of(key), GGUF_U32);
    put_uint(w, &w->kv, v, 4);
}

void gguf_write_f32(struct gguf_writer *w, const char *key, float v)
{
    begin_kv(w, str_of(key), GGUF_F32);
    put_uint(w, &w->kv, bits_of(v), 4);
}

void gguf_write_bool(struct gguf_writer *w, const char *key, bool v)
{
    begin_kv(w, str_of(key), GGUF_BOOL);
    put_uint(w, &w->kv, v, 1);
}

void gguf_write_str(struct gguf_writer *w, const char *key, const char *v)
{
    begin_kv(w, str_of(key), GGUF_STR);
    put_str(w, &w->kv, str_of(v));
}

void gguf_write_arr_str(struct gguf_writer *w, const char *key, const struct gguf_str *v, size_t n)
{
    assert(v || n == 0);
    begin_array(w, str_of(key), GGUF_STR, n);
    for (size_t i = 0; i < n; i++) put_str(w, &w->kv, v[i]);
}

void gguf_write_arr_f32(struct gguf_writer *w, const char *key, const float *v, size_t n)
{
    assert(v || n == 0);
    begin_array(w, str_of(key), GGUF_F32, n);
    for (size_t i = 0; i < n; i++) put_uint(w, &w->kv, bits_of(v[i]), 4);
}

void gguf_write_arr_i32(struct gguf_writer *w, const char *key, const int32_t *v, size_t n)
{
    assert(v || n == 0);
    begin_array(w, str_of(key), GGUF_I32, n);
    for (size_t i = 0; i < n; i++) put_uint(w, &w->kv, (uint32_t)v[i], 4);
}

/* ---- tensors --------------------------------------------------------------------------------- */

void gguf_write_tensor(struct gguf_writer *w, const char *name, enum dtype type, uint32_t n_dims,
                       const uint64_t *ne, const void *data)
{
    assert(w);
    assert(ne);
    assert(n_dims >= 1);
    assert(n_dims <= TENSOR_DIMS_MAX);
    const struct gguf_str s = str_of(name);
    assert(s.n >= 1);
    assert(s.n <= TENSOR_NAME_BYTES_MAX);
    size_t n_bytes = dtype_row_bytes(type, (size_t)ne[0]);
    put_str(w, &w->dir, s);
    put_uint(w, &w->dir, n_dims, 4);
    for (uint32_t i = 0; i < n_dims; i++) {
        const bool fits = i == 0 || mem_mul(n_bytes, (size_t)ne[i], &n_bytes);
        assert(fits);
        (void)fits;
        put_uint(w, &w->dir, ne[i], 8);
    }
    put_uint(w, &w->dir, (uint64_t)type, 4);
    put_uint(w, &w->dir, w->tensors.n_bytes, 8);
    assert(w->tensors.n_bytes % w->align == 0);
    uint8_t *at = grow(w, &w->tensors, pad_up(n_bytes, w->align));
    if (at && data) memcpy(at, data, n_bytes);
    w->n_tensor++;
}

/* ---- open, join, close ----------------------------------------------------------------------- */

enum err gguf_write_open(struct gguf_writer **out, uint32_t align)
{
    assert(out);
    assert((align & (align - 1)) == 0 && align <= GGUF_ALIGN_MAX);
    assert(align == 0 || align >= GGUF_ALIGN_MIN);
    struct gguf_writer *w = mem_alloc(MEM_MISC, sizeof *w);
    *out = w;
    if (!w) return ERR_MEMORY;
    w->align = align ? align : GGUF_ALIGN_DEFAULT;
    if (align) gguf_write_u32(w, "general.alignment", align);
    return OK;
}

void gguf_write_close(struct gguf_writer *w)
{
    if (!w) return;
    mem_free(w->kv.data);
    mem_free(w->dir.data);
    mem_free(w->tensors.data);
    mem_free(w);
}

static uint8_t *append(uint8_t *at, const struct buf *b)
{
    if (b->n_bytes > 0) memcpy(at, b->data, b->n_bytes);
    return at + b->n_bytes;
}

enum err gguf_write_image(const struct gguf_writer *w, uint8_t **data, size_t *n_bytes)
{
    assert(w);
    assert(data);
    assert(n_bytes);
    *data = NULL;
    *n_bytes = 0;
    if (w->err) return w->err;
    const size_t n_meta = HEADER_BYTES + w->kv.n_bytes + w->dir.n_bytes;
    const size_t data_start = w->n_tensor ? pad_up(n_meta, w->align) : n_meta;
    uint8_t *image = mem_alloc(MEM_MISC, data_start + w->tensors.n_bytes);
    if (!image) return ERR_MEMORY;
    memcpy(image, "GGUF", 4);
    store_le(image + 4, 3, 4);
    store_le(image + 8, w->n_tensor, 8);
    store_le(image + 16, w->n_kv, 8);
    uint8_t *at = append(image + HEADER_BYTES, &w->kv);
    at = append(at, &w->dir);
    assert(at == image + n_meta);
    append(image + data_start, &w->tensors);
    *data = image;
    *n_bytes = data_start + w->tensors.n_bytes;
    return OK;
}

enum err gguf_write_file(const struct gguf_writer *w, const char *path)
{
    assert(path);
    uint8_t *data = NULL;
    size_t n_bytes = 0;
    enum err err = gguf_write_image(w, &data, &n_bytes);
    if (!err) err = os_write_all(path, data, n_bytes);
    mem_free(data);
    return err;
}
