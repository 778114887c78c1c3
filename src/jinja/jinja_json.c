/*
 * jinja_json.c: JSON in and out.
 *
 * In: the variables of a template; their texts are borrowed from jansson. Out: the filter tojson as
 * `transformers` defines it for chat templates, which is Python's json.dumps: no escapes for HTML,
 * ensure_ascii False, the separators ", " and ": " unless there is an indent.
 */
#include "jinja/jinja_value.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- in -------------------------------------------------------------------------------------- */

/* A string made by hand may be no UTF-8; jansson's reader checks. */
static struct jv from_text(struct jx *x, const char *s, size_t n, bool data)
{
    if (!js_valid(s, n)) jx_fail(x, "a variable holds text that is not UTF-8");
    return jv_str(js_new(x, s, n, data));
}

static struct jv from_array(struct jx *x, const json_t *j, bool data)
{
    const size_t n = json_array_size(j);
    const struct jv list = jv_list(x, J_LIST, n);
    for (size_t i = 0; i < n; i++) jv_push(x, list, jv_from_json(x, json_array_get(j, i), data));
    return list;
}

static struct jv from_object(struct jx *x, const json_t *j, bool data)
{
    const struct jv dict = jd_new(x);
    json_t *object =
        (json_t *)(uintptr_t)j; /* jansson's iterators take no const; nothing changes */
    for (void *it = json_object_iter(object); it; it = json_object_iter_next(object, it)) {
        const char *key = json_object_iter_key(it);
        const json_t *value = json_object_iter_value(it);
        const bool own = x->is_own && json_is_string(value) &&
                         x->is_own(key, json_string_value(value), json_string_length(value));
        jd_set(x, dict.dict, from_text(x, key, strlen(key), data),
               jv_from_json(x, value, data && !own));
    }
    return dict;
}

struct jv jv_from_json(struct jx *x, const json_t *j, bool data)
{
    assert(j);
    struct jv v = jv_none();
    jx_down(x);
    switch (json_typeof(j)) {
    case JSON_OBJECT:
        v = from_object(x, j, data);
        break;
    case JSON_ARRAY:
        v = from_array(x, j, data);
        break;
    case JSON_STRING:
        v = from_text(x, json_string_value(j), json_string_length(j), data);
        break;
    case JSON_INTEGER:
        v = jv_int(json_integer_value(j));
        break;
    case JSON_REAL:
        v = jv_float(json_real_value(j));
        break;
    case JSON_TRUE:
        v = jv_bool(true);
        break;
    case JSON_FALSE:
        v = jv_bool(false);
        break;
    case JSON_NULL:
        break;
    }
    if (v.kind != J_STR) v.data = data;
    jx_up(x);
    return v;
}

/* ---- out ------------------------------------------------------------------------------------- */

struct dump {
    struct jx *x;
    struct jbuf out;
    const struct jstr *indent; /* of one level, or NULL: all on one line */
    const struct jstr *between, *after_key;
    bool ascii, sorted;
    size_t level;
};

static void dump_value(struct dump *d, struct jv v);

static void dump_char(struct dump *d, uint32_t c, bool data)
{
    char s[16];
    static const char names[] = "\"\"\\\\\nn\rr\tt\ff\bb";
    const char *p = c > 0 && c < 0x80 ? strchr(names, (int)c) : NULL;
    if (p && (p - names) % 2 == 0) {
        snprintf(s, sizeof s, "\\%c", p[1]);
    } else if (c < 0x20 || (d->ascii && c >= 0x7f && c < 0x10000)) {
        snprintf(s, sizeof s, "\\u%04x", c);
    } else if (d->ascii && c >= 0x10000) {
        snprintf(s, sizeof s, "\\u%04x\\u%04x", 0xd800 + ((c - 0x10000) >> 10),
                 0xdc00 + ((c - 0x10000) & 0x3ff));
    } else {
        jb_char(d->x, &d->out, c, data);
        return;
    }
    jb_put(d->x, &d->out, s, strlen(s), data);
}

static void dump_str(struct dump *d, const struct jstr *s)
{
    const bool data = js_has_data(s);
    jb_put(d->x, &d->out, "\"", 1, data);
    for (size_t i = 0; i < s->n;) {
        const size_t at = i;
        dump_char(d, js_char(d->x, s, &i), js_is_data(s, at));
    }
    jb_put(d->x, &d->out, "\"", 1, data);
}

static void dump_scalar(struct dump *d, struct jv v)
{
    char s[J_NUMBER_BYTES] = "null";
    size_t n = 4;
    if (v.kind == J_BOOL) {
        n = (size_t)snprintf(s, sizeof s, v.b ? "true" : "false");
    } else if (v.kind == J_FLOAT && !isfinite(v.f)) {
        n = (size_t)snprintf(s, sizeof s, isnan(v.f) ? "NaN" : v.f < 0 ? "-Infinity" : "Infinity");
    } else if (v.kind != J_NONE) {
        n = jv_number(v, s);
    }
    jb_put(d->x, &d->out, s, n, v.data);
}

static bool is_scalar(struct jv v)
{
    return v.kind == J_NONE || jv_is_number(v);
}

static void dump_key(struct dump *d, struct jv key)
{
    if (key.kind == J_STR) {
        dump_str(d, key.s);
    } else if (is_scalar(key)) {
        jb_put(d->x, &d->out, "\"", 1, key.data);
        dump_scalar(d, key);
        jb_put(d->x, &d->out, "\"", 1, key.data);
    } else {
        jx_fail(d->x, "tojson: keys must be str, int, float, bool or None, not %s", jv_type(key));
    }
}

/* Text of the format: the template's, but data inside of a container that is data. */
static void dump_format(struct dump *d, const struct jstr *s, bool data)
{
    if (data) {
        jb_put(d->x, &d->out, s->s, s->n, true);
    } else {
        jb_str(d->x, &d->out, s);
    }
}

static void new_line(struct dump *d, bool data)
{
    if (!d->indent) return;
    jb_put(d->x, &d->out, "\n", 1, data);
    for (size_t i = 0; i < d->level; i++) dump_format(d, d->indent, data);
}

static void before_item(struct dump *d, size_t i, bool data)
{
    if (i > 0) dump_format(d, d->between, data);
    new_line(d, data);
}

static void dump_list(struct dump *d, struct jv v)
{
    jb_put(d->x, &d->out, "[", 1, v.data);
    d->level++;
    for (size_t i = 0; i < v.list->n; i++) {
        before_item(d, i, v.data);
        dump_value(d, v.list->v[i]);
    }
    assert(d->level > 0);
    d->level--;
    if (v.list->n > 0) new_line(d, v.data);
    jb_put(d->x, &d->out, "]", 1, v.data);
}

static void dump_dict(struct dump *d, struct jv v)
{
    const struct jv keys = jv_listed(d->x, v);
    if (d->sorted) jf_sort_list(d->x, keys);
    jb_put(d->x, &d->out, "{", 1, v.data);
    d->level++;
    for (size_t i = 0; i < keys.list->n; i++) {
        const struct jv key = keys.list->v[i];
        const struct jv *const value = jd_find(d->x, v.dict, key);
        if (!value) jx_fail(d->x, "tojson cannot write a key that is not a number (nan)");
        before_item(d, i, v.data);
        dump_key(d, key);
        dump_format(d, d->after_key, v.data);
        dump_value(d, *value);
    }
    assert(d->level > 0);
    d->level--;
    if (keys.list->n > 0) new_line(d, v.data);
    jb_put(d->x, &d->out, "}", 1, v.data);
}

static void dump_value(struct dump *d, struct jv v)
{
    jx_step(d->x, 1);
    jx_down(d->x);
    if (v.kind == J_STR) {
        dump_str(d, v.s);
    } else if (v.kind == J_LIST || v.kind == J_TUPLE) {
        dump_list(d, v);
    } else if (v.kind == J_DICT) {
        dump_dict(d, v);
    } else if (is_scalar(v)) {
        dump_scalar(d, v);
    } else {
        jx_fail(d->x, "tojson: an object of type %s cannot be written as JSON", jv_type(v));
    }
    jx_up(d->x);
}

static const struct jstr *indent_of(struct jx *x, struct jv v)
{
    int64_t n;
    if (v.kind == J_MISSING || v.kind == J_NONE) return NULL;
    if (v.kind == J_STR) return v.s;
    if (!jv_to_int(v, &n)) jx_fail(x, "tojson: indent is of type %s, not int", jv_type(v));
    struct jbuf b = {0};
    jb_pad(x, &b, js_own(x, " "), n > 0 ? (size_t)n : 0);
    return jb_end(x, &b);
}

static void set_separators(struct dump *d, struct jv v)
{
    d->between = js_own(d->x, d->indent ? "," : ", ");
    d->after_key = js_own(d->x, ": ");
    if (v.kind == J_MISSING || v.kind == J_NONE) return;
    const struct jv pair = jv_listed(d->x, v);
    if (pair.list->n != 2 || pair.list->v[0].kind != J_STR || pair.list->v[1].kind != J_STR)
        jx_fail(d->x, "tojson: separators are not two strings");
    d->between = pair.list->v[0].s;
    d->after_key = pair.list->v[1].s;
}

/* tojson(ensure_ascii=False, indent=None, separators=None, sort_keys=False) */
struct jv jf_tojson(struct jx *x, struct jv v, const struct jargs *a)
{
    enum { ENSURE_ASCII, INDENT, SEPARATORS, SORT_KEYS };
    struct dump d = {.x = x, .indent = indent_of(x, a->v[INDENT])};
    d.ascii = ja_true(a->v[ENSURE_ASCII]);
    d.sorted = ja_true(a->v[SORT_KEYS]);
    set_separators(&d, a->v[SEPARATORS]);
    dump_value(&d, v);
    return jv_str(jb_end(x, &d.out));
}
