/*
 * gguf_parse.h: one GGUF file, parsed; private to this folder.
 *
 *     struct gguf_file f;
 *     enum err e = gguf_parse(&f, data, n_bytes, "model.gguf");
 *     ...
 *     gguf_file_fini(&f);                     // also after a failure
 *
 * Everything points into data, which must outlive the struct. Names of keys and of the messages are
 * borrowed, tensor names are copied because they end in NUL.
 */
#ifndef GGUF_GGUF_PARSE_H
#define GGUF_GGUF_PARSE_H

#include "base/limits.h"
#include "gguf/gguf.h"

struct gguf_entry { /* a row of the tensor directory */
    struct tensor t;
    uint64_t offset; /* from the start of the file's data section */
    uint32_t i_part; /* which file of a split model; filled by gguf.c */
    char name[TENSOR_NAME_BYTES_MAX + 1];
};

struct gguf_file {
    const char *name; /* stands in messages */
    const uint8_t *data;
    size_t n_bytes;
    uint32_t version;
    struct gguf_kv *kv;               /* (n_kv), in file order */
    const struct gguf_kv **kv_by_key; /* (n_kv), sorted for gguf_file_find */
    uint64_t n_kv;
    struct gguf_entry *entry; /* (n_entry), in file order */
    uint64_t n_entry;
};

enum err gguf_parse(struct gguf_file *f, const void *data, size_t n_bytes, const char *name);
void gguf_file_fini(struct gguf_file *f); /* a zeroed struct is fine */

/* NULL when absent. */
const struct gguf_kv *gguf_file_find(const struct gguf_file *f, const char *key);
/* gguf_u32() of one file. */
enum err gguf_file_u32(const struct gguf_file *f, const char *key, enum gguf_need need,
                       uint32_t min, uint32_t max, uint32_t *out);
/* The first file of a model: the one whose keys count. */
const struct gguf_file *gguf_first(const struct gguf *g);

/* Bytes of one item of a type; 0 for strings and arrays, whose size is in the file. */
size_t gguf_type_bytes(enum gguf_type type);

/* Little-endian number of n <= 8 bytes, at any alignment and on any machine. */
static inline uint64_t gguf_le(const uint8_t *p, size_t n)
{
    uint64_t v = 0;
    for (size_t i = 0; i < n; i++) v |= (uint64_t)p[i] << (8 * i);
    return v;
}

/* gguf_magic.c: the file does not start with a GGUF magic; ERR_INPUT with a sentence that says
 * what it is. */
enum err gguf_explain_magic(const uint8_t *data, size_t n_bytes);

#endif
