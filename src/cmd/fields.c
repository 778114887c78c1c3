/*
 * fields.c: building and writing the JSON of reports. A failure anywhere leaves a NULL, which goes
 * up to fields_print().
 */
#include "cmd/fields.h"

#include "base/mem.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#define DIGITS 10 /* of a number: beyond any measurement */

/* What jansson allocates, rounded up: an object has a table of 8 buckets, an array one of 8 places;
 * a member has an entry besides its value. */
#define CONTAINER_BYTES 256
#define VALUE_BYTES 64
#define MEMBER_BYTES 64

json_t *fields_get(const json_t *object, const char *name)
{
    json_t *const v = json_object_get(object, name);
    return json_is_null(v) ? NULL : v;
}

json_t *fields_object(const struct field *list, size_t n)
{
    assert(list || n == 0);
    json_t *const object = json_object();
    int bad = !object;
    for (size_t i = 0; i < n; i++)
        bad |= json_object_set_new(object, list[i].name, list[i].value) != 0;
    if (!bad) return object;
    json_decref(object);
    return NULL;
}

json_t *field_count(uint64_t v)
{
    return json_integer((json_int_t)v);
}

json_t *field_count_or_null(uint64_t v)
{
    return v ? field_count(v) : json_null();
}

json_t *field_real_or_null(double v)
{
    return isfinite(v) && v != 0 ? json_real(v) : json_null();
}

size_t fields_memory(const json_t *v)
{
    assert(v);
    size_t n = json_is_object(v) || json_is_array(v) ? CONTAINER_BYTES : VALUE_BYTES;
    if (json_is_string(v)) n += json_string_length(v);
    size_t i;
    const json_t *item;
    json_array_foreach(v, i, item) n += fields_memory(item);
    const char *key;
    json_object_foreach((json_t *)(uintptr_t)v, key, item) n +=
        MEMBER_BYTES + strlen(key) + fields_memory(item);
    return n;
}

enum err fields_print(json_t *value, FILE *out)
{
    if (!value) return mem_short("the report");
    json_dumpf(value, out, JSON_INDENT(2) | JSON_REAL_PRECISION(DIGITS));
    fputc('\n', out);
    json_decref(value);
    return OK;
}
