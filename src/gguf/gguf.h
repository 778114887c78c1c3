/*
 * gguf.h: untrusted reader of GGUF v2 and v3
 * (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md).
 *
 *     struct gguf *g;
 *     enum err e = gguf_open(&g, "model.gguf");     // or the first part "m-00001-of-00003.gguf"
 *     e = gguf_u32(g, "llama.block_count", GGUF_REQUIRED, 1, LAYERS_MAX, &n_layer);
 *     const struct tensor *t = gguf_tensor(g, "token_embd.weight");
 *     gguf_close(g);
 *
 * The files are mapped, not copied: strings, arrays and tensor data point into the mapping and live
 * until gguf_close(). Everything that can be known from the header is checked at open: magic,
 * version, counts against the bytes left, key and tensor names, types, alignment, shapes, offsets,
 * overlaps, the size of the file. Errors are ERR_INPUT, naming file, key or tensor, byte offset,
 * what was found and expected.
 * A struct gguf is immutable after open: any number of threads may read it, but not during
 * gguf_forget(), gguf_forget_all() and gguf_own().
 */
#ifndef GGUF_GGUF_H
#define GGUF_GGUF_H

#include "base/err.h"
#include "tensor/tensor.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum gguf_type {
    GGUF_U8,
    GGUF_I8,
    GGUF_U16,
    GGUF_I16,
    GGUF_U32,
    GGUF_I32,
    GGUF_F32,
    GGUF_BOOL,
    GGUF_STR,
    GGUF_ARR,
    GGUF_U64,
    GGUF_I64,
    GGUF_F64,
    GGUF_TYPE_COUNT
};

struct gguf_str { /* not NUL-terminated, may hold any bytes */
    const char *s;
    size_t n;
};

struct gguf_kv {
    struct gguf_str key;
    enum gguf_type type;
    enum gguf_type elem; /* arrays: type of the items, never GGUF_ARR; otherwise = type */
    uint64_t n;          /* arrays: items; otherwise 1 */
    const uint8_t *data; /* little-endian bytes in the file, unaligned; a scalar string's text */
    uint64_t n_bytes;    /* of data */
};

enum gguf_need { GGUF_OPTIONAL, GGUF_REQUIRED };

struct gguf;

enum err gguf_open(struct gguf **g, const char *path);
/* The same over memory that outlives g (the embedded demo, tests); name stands in messages. */
enum err gguf_open_mem(struct gguf **g, const void *data, size_t n_bytes, const char *name);
void gguf_close(struct gguf *g); /* NULL is fine */

const char *gguf_path(const struct gguf *g);
uint32_t gguf_version(const struct gguf *g);
uint64_t gguf_file_bytes(const struct gguf *g); /* all parts together */
/* os_map_broken() of a part. */
bool gguf_broken(const struct gguf *g);
enum err gguf_whole(const struct gguf *g); /* OK, or the sentence for that: os_map_whole() */

/* A copy of tensor data at `at`, a pointer into the mapping of one part, which is not touched: no
 * page of the file becomes a part of this process. false: it cannot be read (gguf_whole). From any
 * thread. */
bool gguf_read(const struct gguf *g, const void *at, size_t n_bytes, void *buf);
/* Such data will be read soon; returns at once. */
void gguf_ahead(const struct gguf *g, const void *at, size_t n_bytes);
/* For files, os_map_cached() of all parts; 1 for memory. */
double gguf_cached(const struct gguf *g);
/* For files, os_map_forget() of all parts or of such data, and os_map_own() of such data. What was
 * owned and is forgotten is lost. */
void gguf_forget_all(const struct gguf *g);
void gguf_forget(const struct gguf *g, const void *at, size_t n_bytes);
bool gguf_own(const struct gguf *g, const void *at, size_t n_bytes);

/* Keys of the first file, in file order. */
uint64_t gguf_n_kv(const struct gguf *g);
const struct gguf_kv *gguf_kv_at(const struct gguf *g, uint64_t i);
const struct gguf_kv *gguf_find(const struct gguf *g, const char *key); /* NULL: absent. O(log n) */

/* Typed reads. Absent and GGUF_OPTIONAL: OK, *out untouched. Absent and GGUF_REQUIRED, wrong
 * type or outside [min, max]: ERR_INPUT naming the key, the value found and the range. Integers
 * accept every integer type, floats F32 and F64; a NaN is outside every range. */
enum err gguf_u32(const struct gguf *g, const char *key, enum gguf_need need, uint32_t min,
                  uint32_t max, uint32_t *out);
enum err gguf_f32(const struct gguf *g, const char *key, enum gguf_need need, float min, float max,
                  float *out);
enum err gguf_bool(const struct gguf *g, const char *key, enum gguf_need need, bool *out);
enum err gguf_get_str(const struct gguf *g, const char *key, enum gguf_need need,
                      struct gguf_str *out);
/* A scalar fills all n of out[]; an array must hold at least n items (the first n are taken).
 * Bools count as 0 / 1. */
enum err gguf_u32_each(const struct gguf *g, const char *key, enum gguf_need need, uint32_t min,
                       uint32_t max, uint32_t *out, size_t n);
/* An array of the given item type; ERR_INPUT otherwise. *kv is NULL when optional and absent. */
enum err gguf_array(const struct gguf *g, const char *key, enum gguf_need need, enum gguf_type elem,
                    const struct gguf_kv **kv);

/* Items of a kv, i < kv->n; a scalar has one. Strings are walked in order: start with *pos = 0. */
struct gguf_str gguf_arr_str_next(const struct gguf_kv *kv, uint64_t *pos);
float gguf_arr_f32(const struct gguf_kv *kv, uint64_t i);     /* elem GGUF_F32 */
double gguf_arr_f64(const struct gguf_kv *kv, uint64_t i);    /* elem GGUF_F32 or GGUF_F64 */
int64_t gguf_arr_int(const struct gguf_kv *kv, uint64_t i);   /* any integer elem or GGUF_BOOL */
uint64_t gguf_arr_bits(const struct gguf_kv *kv, uint64_t i); /* any of these, as in the file */

/* Tensors of all parts, in file order. */
uint64_t gguf_n_tensor(const struct gguf *g);
const struct tensor *gguf_tensor_at(const struct gguf *g, uint64_t i);
uint64_t gguf_tensor_offset(const struct gguf *g, uint64_t i); /* as written in its file */
/* NULL: absent. O(log n) */
const struct tensor *gguf_tensor(const struct gguf *g, const char *name);

const char *gguf_type_name(enum gguf_type t); /* "UINT32", "STRING", ... */

#endif
