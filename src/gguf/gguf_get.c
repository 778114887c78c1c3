/*
 * gguf_get.c: typed reads of keys and of the items of arrays.
 *
 * A value of the wrong type or outside its range is an error that names the key, what was found and
 * what was expected; nothing is converted silently except between integer types of the same value.
 * UINT64 values beyond INT64_MAX count as INT64_MAX, which no range contains.
 */
#include "gguf/gguf_parse.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define AGAIN "; convert the model again"

/* ---- items ----------------------------------------------------------------------------------- */

static bool is_integer(enum gguf_type t)
{
    switch (t) {
    case GGUF_U8:
    case GGUF_I8:
    case GGUF_U16:
    case GGUF_I16:
    case GGUF_U32:
    case GGUF_I32:
    case GGUF_U64:
    case GGUF_I64:
        return true;
    default:
        return false;
    }
}

uint64_t gguf_arr_bits(const struct gguf_kv *kv, uint64_t i)
{
    assert(kv);
    assert(kv->elem != GGUF_STR);
    assert(i < kv->n);
    const size_t each = gguf_type_bytes(kv->elem);
    return gguf_le(kv->data + i * each, each);
}

int64_t gguf_arr_int(const struct gguf_kv *kv, uint64_t i)
{
    assert(is_integer(kv->elem) || kv->elem == GGUF_BOOL);
    const uint64_t v = gguf_arr_bits(kv, i);
    switch (kv->elem) {
    case GGUF_I8:
        return (int8_t)v;
    case GGUF_I16:
        return (int16_t)v;
    case GGUF_I32:
        return (int32_t)v;
    case GGUF_I64:
        return (int64_t)v;
    default:
        return v > INT64_MAX ? INT64_MAX : (int64_t)v;
    }
}

double gguf_arr_f64(const struct gguf_kv *kv, uint64_t i)
{
    const uint64_t bits = gguf_arr_bits(kv, i);
    if (kv->elem == GGUF_F64) {
        double d;
        memcpy(&d, &bits, sizeof d);
        return d;
    }
    assert(kv->elem == GGUF_F32);
    const uint32_t bits32 = (uint32_t)bits;
    float f;
    memcpy(&f, &bits32, sizeof f);
    return f;
}

float gguf_arr_f32(const struct gguf_kv *kv, uint64_t i)
{
    assert(kv->elem == GGUF_F32);
    return (float)gguf_arr_f64(kv, i);
}

/* ---- messages -------------------------------------------------------------------------------- */

static enum err absent(const struct gguf_file *f, const char *key, enum gguf_need need,
                       const char *expected)
{
    if (need == GGUF_OPTIONAL) return OK;
    return err_set(ERR_INPUT,
                   "%s: key '%s' is missing, expected %s; the file is not a complete model" AGAIN,
                   f->name, key, expected);
}

static enum err wrong_type(const struct gguf_file *f, const struct gguf_kv *kv, const char *key,
                           const char *expected)
{
    const bool array = kv->type == GGUF_ARR;
    return err_set(ERR_INPUT, "%s: key '%s' has type %s%s, expected %s" AGAIN, f->name, key,
                   array ? "ARRAY of " : "", gguf_type_name(kv->elem), expected);
}

/* Item i of kv as an unsigned number in [min, max]. */
static enum err take_u32(const struct gguf_file *f, const struct gguf_kv *kv, const char *key,
                         uint64_t i, uint32_t min, uint32_t max, uint32_t *out)
{
    const int64_t v = gguf_arr_int(kv, i);
    if (v >= (int64_t)min && v <= (int64_t)max) {
        *out = (uint32_t)v;
        return OK;
    }
    char item[32] = "";
    if (kv->type == GGUF_ARR) snprintf(item, sizeof item, "[%" PRIu64 "]", i);
    if (min == max)
        return err_set(ERR_INPUT, "%s: key '%s'%s is %" PRId64 ", expected %" PRIu32 AGAIN, f->name,
                       key, item, v, min);
    return err_set(ERR_INPUT,
                   "%s: key '%s'%s is %" PRId64 ", expected %" PRIu32 " to %" PRIu32 AGAIN, f->name,
                   key, item, v, min, max);
}

/* ---- scalars --------------------------------------------------------------------------------- */

enum err gguf_file_u32(const struct gguf_file *f, const char *key, enum gguf_need need,
                       uint32_t min, uint32_t max, uint32_t *out)
{
    assert(f);
    assert(key);
    assert(out);
    assert(min <= max);
    const struct gguf_kv *kv = gguf_file_find(f, key);
    if (!kv) return absent(f, key, need, "an integer");
    if (!is_integer(kv->type)) return wrong_type(f, kv, key, "an integer");
    return take_u32(f, kv, key, 0, min, max, out);
}

enum err gguf_u32(const struct gguf *g, const char *key, enum gguf_need need, uint32_t min,
                  uint32_t max, uint32_t *out)
{
    return gguf_file_u32(gguf_first(g), key, need, min, max, out);
}

enum err gguf_f32(const struct gguf *g, const char *key, enum gguf_need need, float min, float max,
                  float *out)
{
    assert(key);
    assert(out);
    assert(min <= max);
    const struct gguf_file *f = gguf_first(g);
    const struct gguf_kv *kv = gguf_file_find(f, key);
    if (!kv) return absent(f, key, need, "a FLOAT32");
    if (kv->type != GGUF_F32 && kv->type != GGUF_F64) return wrong_type(f, kv, key, "FLOAT32");
    const double v = gguf_arr_f64(kv, 0);
    if (!(v >= (double)min && v <= (double)max)) /* so that a NaN is refused */
        return err_set(ERR_INPUT, "%s: key '%s' is %g, expected %g to %g" AGAIN, f->name, key, v,
                       (double)min, (double)max);
    *out = (float)v;
    return OK;
}

enum err gguf_bool(const struct gguf *g, const char *key, enum gguf_need need, bool *out)
{
    assert(key);
    assert(out);
    const struct gguf_file *f = gguf_first(g);
    const struct gguf_kv *kv = gguf_file_find(f, key);
    if (!kv) return absent(f, key, need, "a BOOL");
    if (kv->type != GGUF_BOOL) return wrong_type(f, kv, key, "BOOL");
    *out = kv->data[0] != 0;
    return OK;
}

enum err gguf_get_str(const struct gguf *g, const char *key, enum gguf_need need,
                      struct gguf_str *out)
{
    assert(key);
    assert(out);
    const struct gguf_file *f = gguf_first(g);
    const struct gguf_kv *kv = gguf_file_find(f, key);
    if (!kv) return absent(f, key, need, "a STRING");
    if (kv->type != GGUF_STR) return wrong_type(f, kv, key, "STRING");
    *out = (struct gguf_str){.s = (const char *)kv->data, .n = (size_t)kv->n_bytes};
    return OK;
}

/* ---- arrays ---------------------------------------------------------------------------------- */

enum err gguf_u32_each(const struct gguf *g, const char *key, enum gguf_need need, uint32_t min,
                       uint32_t max, uint32_t *out, size_t n)
{
    assert(key);
    assert(out);
    assert(min <= max);
    const struct gguf_file *f = gguf_first(g);
    const struct gguf_kv *kv = gguf_file_find(f, key);
    if (!kv) return absent(f, key, need, "an integer or an array of integers");
    if (!is_integer(kv->elem) && kv->elem != GGUF_BOOL)
        return wrong_type(f, kv, key, "an integer or an array of integers");
    const bool array = kv->type == GGUF_ARR;
    if (array && kv->n < n)
        return err_set(ERR_INPUT, "%s: key '%s' has %" PRIu64 " items, expected at least %zu" AGAIN,
                       f->name, key, kv->n, n);
    for (size_t i = 0; i < n; i++) {
        const enum err err = take_u32(f, kv, key, array ? i : 0, min, max, &out[i]);
        if (err) return err;
    }
    return OK;
}

enum err gguf_array(const struct gguf *g, const char *key, enum gguf_need need, enum gguf_type elem,
                    const struct gguf_kv **kv)
{
    assert(key);
    assert(kv);
    assert((unsigned)elem < GGUF_TYPE_COUNT);
    assert(elem != GGUF_ARR);
    const struct gguf_file *f = gguf_first(g);
    *kv = NULL;
    char expected[32];
    snprintf(expected, sizeof expected, "ARRAY of %s", gguf_type_name(elem));
    const struct gguf_kv *found = gguf_file_find(f, key);
    if (!found) return absent(f, key, need, expected);
    if (found->type != GGUF_ARR || found->elem != elem) return wrong_type(f, found, key, expected);
    *kv = found;
    return OK;
}

/* The lengths are read again here. If somebody has written into the file since they were
 * checked, items come out cut or empty, but never outside the array. */
struct gguf_str gguf_arr_str_next(const struct gguf_kv *kv, uint64_t *pos)
{
    assert(kv);
    assert(pos);
    assert(kv->type == GGUF_ARR);
    assert(kv->elem == GGUF_STR);
    assert(*pos <= kv->n_bytes);
    const uint64_t n_left = kv->n_bytes - *pos;
    if (n_left < 8) return (struct gguf_str){.s = "", .n = 0};
    const uint64_t claimed = gguf_le(kv->data + *pos, 8);
    const uint64_t n = claimed < n_left - 8 ? claimed : n_left - 8;
    const struct gguf_str item = {.s = (const char *)kv->data + *pos + 8, .n = (size_t)n};
    *pos += 8 + n;
    return item;
}
