/*
 * gguf_write.h: makes GGUF v3 files.
 *
 *     struct gguf_writer *w;
 *     enum err e = gguf_write_open(&w, 0);
 *     gguf_write_str(w, "general.architecture", "llama");
 *     gguf_write_u32(w, "llama.block_count", 2);
 *     gguf_write_tensor(w, "output.weight", DT_F32, 2, (const uint64_t[]){64, 32}, data);
 *     e = gguf_write_file(w, "model.gguf");       // or gguf_write_image(w, &bytes, &n_bytes)
 *     gguf_write_close(w);
 *
 * Keys and tensors are copied and appear in the order of the calls; keys and tensors may alternate.
 * The functions that add return nothing: the first failure (memory) is remembered, makes the later
 * ones do nothing, and is returned by gguf_write_image() and gguf_write_file(). What is added must
 * be legal (names not empty and not twice, rows of whole blocks): a wrong call is a bug of the
 * caller, not an error. One thread at a time per writer.
 */
#ifndef GGUF_GGUF_WRITE_H
#define GGUF_GGUF_WRITE_H

#include "base/err.h"
#include "gguf/gguf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct gguf_writer;

/* align: a power of two, written as key general.alignment; 0: the default of 32, without the
 * key. */
enum err gguf_write_open(struct gguf_writer **w, uint32_t align);
void gguf_write_close(struct gguf_writer *w); /* NULL is fine */

/* Any key: type, elem, n, data and n_bytes as the reader gives them, so a key of another file
 * can be copied. */
void gguf_write_kv(struct gguf_writer *w, const struct gguf_kv *kv);
void gguf_write_u32(struct gguf_writer *w, const char *key, uint32_t v);
void gguf_write_f32(struct gguf_writer *w, const char *key, float v);
void gguf_write_bool(struct gguf_writer *w, const char *key, bool v);
void gguf_write_str(struct gguf_writer *w, const char *key, const char *v);
void gguf_write_arr_str(struct gguf_writer *w, const char *key, const struct gguf_str *v, size_t n);
void gguf_write_arr_f32(struct gguf_writer *w, const char *key, const float *v, size_t n);
void gguf_write_arr_i32(struct gguf_writer *w, const char *key, const int32_t *v, size_t n);

/* data: dense rows of the type's blocks, as struct tensor describes them; NULL writes zeros. */
void gguf_write_tensor(struct gguf_writer *w, const char *name, enum dtype type, uint32_t n_dims,
                       const uint64_t *ne, const void *data);

/* The whole file as bytes from mem_alloc(MEM_MISC); the caller frees them. The writer can go on. */
enum err gguf_write_image(const struct gguf_writer *w, uint8_t **data, size_t *n_bytes);
/* The same into a file, which appears whole or not at all. ERR_RUN when it cannot be written. */
enum err gguf_write_file(const struct gguf_writer *w, const char *path);

#endif
