/*
 * gguf_parse.c: header, keys and tensor directory of one GGUF file, all of it untrusted.
 *
 * A cursor walks the bytes once; no read passes without a comparison with what is left, and a count
 * is compared with the bytes left divided by the smallest possible entry before anything is
 * allocated for it. Arrays do not nest, so there is no recursion. String arrays are walked here, so
 * that gguf_arr_str_next() cannot leave them later. Tensors must be aligned, inside the file, and
 * apart from each other.
 *
 * The function that notices a failure states the fact, the byte and the way out; its callers put
 * the key or tensor and the file before it.
 *
 * Not checked here: what keys mean. A tensor of a type that cannot be computed is accepted, because
 * `inspect` lists it.
 *
 * Source of the format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
 */
#include "gguf/gguf_parse.h"

#include "base/mem.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define DAMAGED "; the file is damaged or cut short, fetch or convert it again"
#define AGAIN "; convert the model again"

/* Bytes of the shortest entry: what a count may claim is bounded by them. */
#define KV_BYTES_MIN (8 + 1 + 4 + 1)            /* key length, key, type, value */
#define ENTRY_BYTES_MIN (8 + 1 + 4 + 8 + 4 + 8) /* name length, name, n_dims, ne[0], type, offset */

#define SHOWN_BYTES_MAX 100 /* of a key in a message */

struct cursor {
    const uint8_t *data;
    uint64_t n_bytes;
    uint64_t pos;
};

static const struct {
    const char *name;
    size_t n_bytes;
} types[GGUF_TYPE_COUNT] = {
    [GGUF_U8] = {"UINT8", 1},    [GGUF_I8] = {"INT8", 1},    [GGUF_U16] = {"UINT16", 2},
    [GGUF_I16] = {"INT16", 2},   [GGUF_U32] = {"UINT32", 4}, [GGUF_I32] = {"INT32", 4},
    [GGUF_F32] = {"FLOAT32", 4}, [GGUF_BOOL] = {"BOOL", 1},  [GGUF_STR] = {"STRING", 0},
    [GGUF_ARR] = {"ARRAY", 0},   [GGUF_U64] = {"UINT64", 8}, [GGUF_I64] = {"INT64", 8},
    [GGUF_F64] = {"FLOAT64", 8},
};

const char *gguf_type_name(enum gguf_type t)
{
    assert((unsigned)t < GGUF_TYPE_COUNT);
    return types[t].name;
}

size_t gguf_type_bytes(enum gguf_type t)
{
    assert((unsigned)t < GGUF_TYPE_COUNT);
    return types[t].n_bytes;
}

/* ---- cursor ---------------------------------------------------------------------------------- */

static uint64_t left(const struct cursor *c)
{
    assert(c->pos <= c->n_bytes);
    return c->n_bytes - c->pos;
}

static enum err read_uint(struct cursor *c, const char *what, size_t n, uint64_t *out)
{
    if (left(c) < n)
        return err_set(ERR_INPUT,
                       "%s at byte %" PRIu64 ": the file ends after %" PRIu64
                       " of %zu bytes" DAMAGED,
                       what, c->pos, left(c), n);
    *out = gguf_le(c->data + c->pos, n);
    c->pos += n;
    return OK;
}

static enum err read_u32(struct cursor *c, const char *what, uint32_t *out)
{
    uint64_t v = 0;
    const enum err err = read_uint(c, what, 4, &v);
    *out = (uint32_t)v;
    return err;
}

static enum err read_u64(struct cursor *c, const char *what, uint64_t *out)
{
    return read_uint(c, what, 8, out);
}

static enum err read_str(struct cursor *c, const char *what, struct gguf_str *out)
{
    const uint64_t at = c->pos;
    uint64_t n = 0;
    const enum err err = read_u64(c, what, &n);
    if (err) return err;
    if (n > left(c))
        return err_set(ERR_INPUT,
                       "%s at byte %" PRIu64 " claims %" PRIu64 " bytes, but the file has %" PRIu64
                       " left" DAMAGED,
                       what, at, n, left(c));
    *out = (struct gguf_str){.s = (const char *)c->data + c->pos, .n = (size_t)n};
    c->pos += n;
    return OK;
}

/* ---- keys ------------------------------------------------------------------------------------ */

static int shown(struct gguf_str s)
{
    return s.n < SHOWN_BYTES_MAX ? (int)s.n : SHOWN_BYTES_MAX;
}

static enum err read_key(struct cursor *c, struct gguf_str *key)
{
    const uint64_t at = c->pos;
    const enum err err = read_str(c, "name", key);
    if (err) return err;
    if (key->n == 0) return err_set(ERR_INPUT, "name at byte %" PRIu64 " is empty" DAMAGED, at);
    if (key->n > GGUF_KEY_BYTES_MAX)
        return err_set(ERR_INPUT,
                       "name at byte %" PRIu64 " has %zu bytes, expected at most %d" DAMAGED, at,
                       key->n, GGUF_KEY_BYTES_MAX);
    if (memchr(key->s, 0, key->n))
        return err_set(ERR_INPUT, "name at byte %" PRIu64 " holds a NUL byte" DAMAGED, at);
    return OK;
}

static enum err read_type(struct cursor *c, const char *what, enum gguf_type *out)
{
    const uint64_t at = c->pos;
    uint32_t type = 0;
    const enum err err = read_u32(c, what, &type);
    if (err) return err;
    if (type >= GGUF_TYPE_COUNT)
        return err_set(ERR_INPUT, "%s at byte %" PRIu64 " is %" PRIu32 ", expected 0 to %d" DAMAGED,
                       what, at, type, GGUF_TYPE_COUNT - 1);
    *out = (enum gguf_type)type;
    return OK;
}

static enum err skip_strings(struct cursor *c, uint64_t n)
{
    for (uint64_t i = 0; i < n; i++) {
        struct gguf_str item;
        const enum err err = read_str(c, "string", &item);
        if (err) return err_wrap(err, "item %" PRIu64 " of %" PRIu64, i, n);
    }
    return OK;
}

static enum err check_bools(const struct cursor *c, uint64_t n)
{
    assert(n <= left(c));
    for (uint64_t i = 0; i < n; i++) {
        const uint8_t b = c->data[c->pos + i];
        if (b > 1)
            return err_set(ERR_INPUT, "BOOL at byte %" PRIu64 " is %u, expected 0 or 1" DAMAGED,
                           c->pos + i, b);
    }
    return OK;
}

/* n items of kv->elem, which is no array. */
static enum err read_items(struct cursor *c, struct gguf_kv *kv)
{
    assert(kv->elem != GGUF_ARR);
    const size_t each = gguf_type_bytes(kv->elem);
    const size_t each_min = each ? each : 8; /* a string's length */
    if (kv->n > left(c) / each_min)
        return err_set(ERR_INPUT,
                       "%" PRIu64 " items of type %s at byte %" PRIu64
                       " need more than the %" PRIu64 " bytes left" DAMAGED,
                       kv->n, gguf_type_name(kv->elem), c->pos, left(c));
    /* Strings are walked: 2^32 empty ones of a sparse file would be 34 GB to read. */
    if (kv->n > GGUF_ITEMS_MAX)
        return err_set(ERR_INPUT,
                       "%" PRIu64 " items of type %s at byte %" PRIu64
                       ", expected at most %u" DAMAGED,
                       kv->n, gguf_type_name(kv->elem), c->pos, GGUF_ITEMS_MAX);
    kv->data = c->data + c->pos;
    enum err err = OK;
    if (kv->elem == GGUF_STR) {
        err = skip_strings(c, kv->n);
    } else {
        if (kv->elem == GGUF_BOOL) err = check_bools(c, kv->n);
        c->pos += kv->n * each;
    }
    kv->n_bytes = (uint64_t)(c->data + c->pos - kv->data);
    return err;
}

static enum err read_array(struct cursor *c, struct gguf_kv *kv)
{
    const uint64_t at = c->pos;
    enum err err = read_type(c, "item type", &kv->elem);
    if (err) return err;
    if (kv->elem == GGUF_ARR)
        return err_set(ERR_INPUT,
                       "item type at byte %" PRIu64 " is ARRAY; arrays of arrays are not supported",
                       at);
    err = read_u64(c, "item count", &kv->n);
    return err ? err : read_items(c, kv);
}

static enum err read_value(struct cursor *c, struct gguf_kv *kv)
{
    const enum err err = read_type(c, "value type", &kv->type);
    if (err) return err;
    kv->elem = kv->type;
    kv->n = 1;
    if (kv->type == GGUF_ARR) return read_array(c, kv);
    if (kv->type != GGUF_STR) return read_items(c, kv);
    struct gguf_str s;
    const enum err err_str = read_str(c, "string", &s);
    if (err_str) return err_str;
    kv->data = (const uint8_t *)s.s;
    kv->n_bytes = s.n;
    return OK;
}

static int compare_str(struct gguf_str a, struct gguf_str b)
{
    const int order = memcmp(a.s, b.s, a.n < b.n ? a.n : b.n);
    if (order != 0) return order;
    return (a.n > b.n) - (a.n < b.n);
}

static int compare_kv(const void *a, const void *b)
{
    const struct gguf_kv *const *x = a;
    const struct gguf_kv *const *y = b;
    return compare_str((*x)->key, (*y)->key);
}

static enum err index_keys(struct gguf_file *f)
{
    for (uint64_t i = 0; i < f->n_kv; i++) f->kv_by_key[i] = &f->kv[i];
    qsort(f->kv_by_key, (size_t)f->n_kv, sizeof f->kv_by_key[0], compare_kv);
    for (uint64_t i = 1; i < f->n_kv; i++) {
        const struct gguf_str key = f->kv_by_key[i]->key;
        if (compare_str(f->kv_by_key[i - 1]->key, key) != 0) continue;
        return err_set(ERR_INPUT, "key '%.*s' appears twice, the second time at byte %zu" DAMAGED,
                       shown(key), key.s, (size_t)((const uint8_t *)key.s - f->data));
    }
    return OK;
}

static enum err read_keys(struct cursor *c, struct gguf_file *f)
{
    f->kv = mem_alloc_array(MEM_MODEL, (size_t)f->n_kv, sizeof f->kv[0]);
    f->kv_by_key = mem_alloc_array(MEM_MODEL, (size_t)f->n_kv, sizeof f->kv_by_key[0]);
    if (!f->kv || !f->kv_by_key) return ERR_MEMORY;
    for (uint64_t i = 0; i < f->n_kv; i++) {
        struct gguf_kv *kv = &f->kv[i];
        enum err err = read_key(c, &kv->key);
        if (err) return err_wrap(err, "key %" PRIu64 " of %" PRIu64, i + 1, f->n_kv);
        err = read_value(c, kv);
        if (err) return err_wrap(err, "key '%.*s'", shown(kv->key), kv->key.s);
    }
    return index_keys(f);
}

const struct gguf_kv *gguf_file_find(const struct gguf_file *f, const char *key)
{
    assert(f);
    assert(key);
    const struct gguf_str wanted = {.s = key, .n = strlen(key)};
    uint64_t low = 0;
    uint64_t high = f->n_kv;
    while (low < high) {
        const uint64_t mid = low + (high - low) / 2;
        const int order = compare_str(f->kv_by_key[mid]->key, wanted);
        if (order == 0) return f->kv_by_key[mid];
        if (order < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return NULL;
}

/* The specification fixes UINT32; other types have been used to disagree with other readers. */
static enum err find_alignment(const struct gguf_file *f, uint32_t *align)
{
    *align = GGUF_ALIGN_DEFAULT;
    const struct gguf_kv *kv = gguf_file_find(f, "general.alignment");
    if (!kv) return OK;
    if (kv->type != GGUF_U32)
        return err_set(ERR_INPUT, "key 'general.alignment' has type %s, expected UINT32" AGAIN,
                       gguf_type_name(kv->type));
    const uint32_t a = (uint32_t)gguf_le(kv->data, 4);
    if (a < GGUF_ALIGN_MIN || a > GGUF_ALIGN_MAX || (a & (a - 1)) != 0)
        return err_set(ERR_INPUT,
                       "key 'general.alignment' is %" PRIu32
                       ", expected a power of two from %d to %u" AGAIN,
                       a, GGUF_ALIGN_MIN, GGUF_ALIGN_MAX);
    *align = a;
    return OK;
}

/* ---- tensors --------------------------------------------------------------------------------- */

static enum err read_tensor_name(struct cursor *c, struct gguf_entry *e)
{
    const uint64_t at = c->pos;
    struct gguf_str s;
    const enum err err = read_str(c, "name", &s);
    if (err) return err;
    if (s.n < 1 || s.n > TENSOR_NAME_BYTES_MAX)
        return err_set(ERR_INPUT,
                       "name at byte %" PRIu64 " has %zu bytes, expected 1 to %d" DAMAGED, at, s.n,
                       TENSOR_NAME_BYTES_MAX);
    if (memchr(s.s, 0, s.n))
        return err_set(ERR_INPUT, "name at byte %" PRIu64 " holds a NUL byte" DAMAGED, at);
    memcpy(e->name, s.s, s.n); /* the entry is zeroed: this ends in NUL */
    e->t.name = e->name;
    return OK;
}

static enum err read_dims(struct cursor *c, struct tensor *t)
{
    const uint64_t at = c->pos;
    enum err err = read_u32(c, "number of dimensions", &t->n_dims);
    if (err) return err;
    if (t->n_dims < 1 || t->n_dims > TENSOR_DIMS_MAX)
        return err_set(ERR_INPUT,
                       "number of dimensions at byte %" PRIu64 " is %" PRIu32
                       ", expected 1 to %d" DAMAGED,
                       at, t->n_dims, TENSOR_DIMS_MAX);
    for (uint32_t i = 0; i < TENSOR_DIMS_MAX; i++) t->ne[i] = 1;
    for (uint32_t i = 0; i < t->n_dims; i++) {
        const uint64_t at_dim = c->pos;
        err = read_u64(c, "dimension", &t->ne[i]);
        if (err) return err;
        if (t->ne[i] < 1 || t->ne[i] > INT64_MAX)
            return err_set(ERR_INPUT,
                           "dimension %" PRIu32 " at byte %" PRIu64 " is %" PRId64
                           ", expected at least 1" DAMAGED,
                           i, at_dim, (int64_t)t->ne[i]);
    }
    return OK;
}

static enum err read_dtype(struct cursor *c, struct tensor *t)
{
    const uint64_t at = c->pos;
    uint32_t type = 0;
    const enum err err = read_u32(c, "type", &type);
    if (err) return err;
    if (!dtype_info(type))
        return err_set(ERR_INPUT,
                       "type at byte %" PRIu64 " is number %" PRIu32
                       ", which is not in use; types that work: %s",
                       at, type, dtype_computable_names());
    t->type = (enum dtype)type;
    return OK;
}

static enum err set_strides(struct tensor *t)
{
    const struct dtype_info *info = dtype_info(t->type);
    assert(info);
    if (t->ne[0] % info->block_items != 0)
        return err_set(ERR_INPUT,
                       "dimension 0 is %" PRIu64 ", expected a multiple of %" PRIu32
                       ", the block of type %s" DAMAGED,
                       t->ne[0], info->block_items, info->name);
    size_t n_bytes;
    const bool fits =
        t->ne[3] <= SIZE_MAX && t->ne[2] <= SIZE_MAX && t->ne[1] <= SIZE_MAX &&
        t->ne[0] <= SIZE_MAX &&
        mem_mul((size_t)t->ne[0] / info->block_items, info->block_bytes, &t->row_bytes) &&
        mem_mul(t->row_bytes, (size_t)t->ne[1], &t->plane_bytes) &&
        mem_mul(t->plane_bytes, (size_t)t->ne[2], &n_bytes) &&
        mem_mul(n_bytes, (size_t)t->ne[3], &n_bytes);
    if (fits) return OK;
    return err_set(ERR_INPUT,
                   "shape %" PRIu64 " x %" PRIu64 " x %" PRIu64 " x %" PRIu64
                   " of type %s has more bytes than 64 bits can count" DAMAGED,
                   t->ne[0], t->ne[1], t->ne[2], t->ne[3], info->name);
}

static enum err read_entry(struct cursor *c, struct gguf_entry *e)
{
    enum err err = read_dims(c, &e->t);
    if (!err) err = read_dtype(c, &e->t);
    if (!err) err = read_u64(c, "offset", &e->offset);
    if (!err) err = set_strides(&e->t);
    return err;
}

/* Where the data of a tensor lie: aligned, and wholly inside the file. */
static enum err place(struct gguf_entry *e, const struct gguf_file *f, uint64_t data_start,
                      uint32_t align)
{
    if (e->offset % align != 0)
        return err_set(ERR_INPUT,
                       "offset %" PRIu64 " is not a multiple of the alignment %" PRIu32 DAMAGED,
                       e->offset, align);
    const uint64_t n_data = data_start < f->n_bytes ? f->n_bytes - data_start : 0;
    const size_t n_bytes = tensor_bytes(&e->t);
    if (e->offset > n_data || n_bytes > n_data - e->offset)
        return err_set(ERR_INPUT,
                       "%zu bytes at offset %" PRIu64 " of the data do not fit: the data section "
                       "starts at byte %" PRIu64 " and holds %" PRIu64 " bytes" DAMAGED,
                       n_bytes, e->offset, data_start, n_data);
    e->t.data = f->data + data_start + e->offset;
    return OK;
}

static int compare_offset(const void *a, const void *b)
{
    const struct gguf_entry *const *x = a;
    const struct gguf_entry *const *y = b;
    return ((*x)->offset > (*y)->offset) - ((*x)->offset < (*y)->offset);
}

/* All apart and inside the file: their sizes together are then at most the file's. */
static enum err check_overlap(const struct gguf_file *f)
{
    const struct gguf_entry **order =
        mem_alloc_array(MEM_MODEL, (size_t)f->n_entry, sizeof order[0]);
    if (!order) return ERR_MEMORY;
    for (uint64_t i = 0; i < f->n_entry; i++) order[i] = &f->entry[i];
    qsort(order, (size_t)f->n_entry, sizeof order[0], compare_offset);
    enum err err = OK;
    for (uint64_t i = 1; i < f->n_entry && !err; i++) {
        const struct gguf_entry *a = order[i - 1];
        const struct gguf_entry *b = order[i];
        if (b->offset - a->offset >= tensor_bytes(&a->t)) continue;
        err =
            err_set(ERR_INPUT,
                    "tensor '%s' at offset %" PRIu64 " of the data overlaps tensor '%s' (%zu bytes "
                    "at offset %" PRIu64 ")" DAMAGED,
                    b->name, b->offset, a->name, tensor_bytes(&a->t), a->offset);
    }
    mem_free(order);
    return err;
}

static enum err read_tensors(struct cursor *c, struct gguf_file *f, uint32_t align)
{
    f->entry = mem_alloc_array(MEM_MODEL, (size_t)f->n_entry, sizeof f->entry[0]);
    if (!f->entry) return ERR_MEMORY;
    for (uint64_t i = 0; i < f->n_entry; i++) {
        enum err err = read_tensor_name(c, &f->entry[i]);
        if (err) return err_wrap(err, "tensor %" PRIu64 " of %" PRIu64, i + 1, f->n_entry);
        err = read_entry(c, &f->entry[i]);
        if (err) return err_wrap(err, "tensor '%s'", f->entry[i].name);
    }
    const uint64_t data_start = (c->pos + align - 1) / align * align;
    for (uint64_t i = 0; i < f->n_entry; i++) {
        const enum err err = place(&f->entry[i], f, data_start, align);
        if (err) return err_wrap(err, "tensor '%s'", f->entry[i].name);
    }
    return check_overlap(f);
}

/* ---- header ---------------------------------------------------------------------------------- */

static enum err check_version(uint32_t version)
{
    if (version == 2 || version == 3) return OK;
    if (version == 1)
        return err_set(ERR_INPUT, "GGUF version 1 at byte 4 is too old, expected 2 or 3" AGAIN);
    if (version != 0 && (version & 0xffff) == 0)
        return err_set(ERR_INPUT,
                       "GGUF version 0x%08" PRIx32 " at byte 4 has swapped bytes: a big-endian "
                       "file; convert it for little-endian machines",
                       version);
    return err_set(ERR_INPUT,
                   "GGUF version %" PRIu32 " at byte 4 is unknown, expected 2 or 3; the file is "
                   "damaged, or newer than this program",
                   version);
}

static enum err check_count(const char *what, uint64_t n, uint64_t n_max, uint64_t at,
                            uint64_t n_left, uint64_t each_min)
{
    if (n > n_left / each_min)
        return err_set(ERR_INPUT,
                       "number of %s at byte %" PRIu64 " is %" PRIu64 ", but the %" PRIu64
                       " bytes after the header hold at most %" PRIu64 DAMAGED,
                       what, at, n, n_left, n_left / each_min);
    if (n > n_max)
        return err_set(ERR_INPUT,
                       "number of %s at byte %" PRIu64 " is %" PRIu64 ", expected at most %" PRIu64,
                       what, at, n, n_max);
    return OK;
}

static enum err read_header(struct cursor *c, struct gguf_file *f)
{
    if (left(c) < 4 || memcmp(c->data, "GGUF", 4) != 0)
        return gguf_explain_magic(c->data, f->n_bytes);
    c->pos = 4;
    enum err err = read_u32(c, "GGUF version", &f->version);
    if (!err) err = check_version(f->version);
    if (!err) err = read_u64(c, "number of tensors", &f->n_entry);
    if (!err) err = read_u64(c, "number of keys", &f->n_kv);
    if (!err)
        err = check_count("tensors", f->n_entry, GGUF_TENSORS_MAX, 8, left(c), ENTRY_BYTES_MIN);
    if (!err) err = check_count("keys", f->n_kv, GGUF_KEYS_MAX, 16, left(c), KV_BYTES_MIN);
    return err;
}

enum err gguf_parse(struct gguf_file *f, const void *data, size_t n_bytes, const char *name)
{
    assert(f);
    assert(data || n_bytes == 0);
    assert(name);
    *f = (struct gguf_file){.name = name, .data = data, .n_bytes = n_bytes};
    struct cursor c = {.data = data, .n_bytes = n_bytes};
    uint32_t align = 0;
    enum err err = read_header(&c, f);
    if (!err) err = read_keys(&c, f);
    if (!err) err = find_alignment(f, &align);
    if (!err) err = read_tensors(&c, f, align);
    return err ? err_wrap(err, "%s", name) : OK;
}

void gguf_file_fini(struct gguf_file *f)
{
    if (!f) return;
    mem_free(f->entry);
    mem_free(f->kv_by_key);
    mem_free(f->kv);
    *f = (struct gguf_file){0};
}
