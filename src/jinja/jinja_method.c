/*
 * jinja_method.c: methods of lists, tuples, dicts and cyclers, and the table of all methods; those
 * of strings are in jinja_method_str.c.
 *
 * The sandbox of the language forbids methods that change their object: they are rows without a
 * function, so that a template that calls one is told so.
 */
#include "jinja/jinja_impl.h"

#include <assert.h>

/* ---- dicts ----------------------------------------------------------------------------------- */

static struct jv dict_get(struct jx *x, struct jv self, const struct jargs *a)
{
    enum { KEY, DEFAULT };
    const struct jv *v = jd_find(x, self.dict, a->v[KEY]);
    if (v) return *v;
    return ja_or(a->v[DEFAULT], jv_none());
}

static struct jv view(struct jx *x, struct jv self, const char *type)
{
    const struct jv v = jv_list(x, J_VIEW, self.dict->n);
    jx_step(x, self.dict->n);
    v.list->type = type;
    return (struct jv){.kind = J_VIEW, .data = self.data, .list = v.list};
}

static struct jv dict_keys(struct jx *x, struct jv self, const struct jargs *a)
{
    (void)a;
    const struct jv v = view(x, self, "dict_keys");
    for (size_t i = 0; i < self.dict->n; i++) jv_push(x, v, self.dict->e[i].key);
    return v;
}

static struct jv dict_values(struct jx *x, struct jv self, const struct jargs *a)
{
    (void)a;
    const struct jv v = view(x, self, "dict_values");
    for (size_t i = 0; i < self.dict->n; i++) jv_push(x, v, self.dict->e[i].v);
    return v;
}

struct jv jf_pair(struct jx *x, struct jv a, struct jv b)
{
    const struct jv pair = jv_list(x, J_TUPLE, 2);
    jv_push(x, pair, a);
    jv_push(x, pair, b);
    return pair;
}

struct jv jf_items(struct jx *x, struct jv self, const struct jargs *a)
{
    (void)a;
    assert(self.kind == J_DICT);
    const struct jv v = view(x, self, "dict_items");
    for (size_t i = 0; i < self.dict->n; i++)
        jv_push(x, v, jf_pair(x, self.dict->e[i].key, self.dict->e[i].v));
    return v;
}

/* Nothing changes a list or a dict, so a copy is the same. */
static struct jv same(struct jx *x, struct jv self, const struct jargs *a)
{
    (void)x;
    (void)a;
    return self;
}

static const struct jrow dict_rows[] = {
    {"get", dict_get, 1, {"key", "default"}},
    {"items", jf_items, 0, {NULL}},
    {"keys", dict_keys, 0, {NULL}},
    {"values", dict_values, 0, {NULL}},
    {"copy", same, 0, {NULL}},
    {"clear", NULL, 0, {NULL}},
    {"pop", NULL, 0, {NULL}},
    {"popitem", NULL, 0, {NULL}},
    {"setdefault", NULL, 0, {NULL}},
    {"update", NULL, 0, {NULL}},
};

/* ---- lists, tuples, ranges ------------------------------------------------------------------- */

static struct jv list_count(struct jx *x, struct jv self, const struct jargs *a)
{
    int64_t n = 0;
    struct jv item;
    for (struct jiter it = jv_iter(x, self); jv_next(x, &it, &item);)
        n += jv_equal(x, item, a->v[0]);
    return jv_int(n);
}

static struct jv list_index(struct jx *x, struct jv self, const struct jargs *a)
{
    enum { VALUE, START, STOP };
    size_t n = 0, from, to;
    jv_len(self, &n);
    jo_bounds(x, a->v[START], a->v[STOP], n, &from, &to);
    for (size_t i = from; i < to; i++) {
        jx_step(x, 1);
        if (jv_equal(x, jv_at(x, self, i), a->v[VALUE])) return jv_int((int64_t)i);
    }
    jx_fail(x, "the value is not in the %s", jv_type(self));
}

static const struct jrow list_rows[] = {
    {"count", list_count, 1, {"value"}}, {"index", list_index, 1, {"value", "start", "stop"}},
    {"copy", same, 0, {NULL}},           {"append", NULL, 0, {NULL}},
    {"clear", NULL, 0, {NULL}},          {"extend", NULL, 0, {NULL}},
    {"insert", NULL, 0, {NULL}},         {"pop", NULL, 0, {NULL}},
    {"remove", NULL, 0, {NULL}},         {"reverse", NULL, 0, {NULL}},
    {"sort", NULL, 0, {NULL}},
};

static const struct jrow tuple_rows[] = {
    {"count", list_count, 1, {"value"}},
    {"index", list_index, 1, {"value", "start", "stop"}},
};

/* ---- numbers, cyclers ------------------------------------------------------------------------ */

static struct jv is_integer(struct jx *x, struct jv self, const struct jargs *a)
{
    (void)x;
    (void)a;
    return jv_bool(self.f >= -0x1p63 && self.f < 0x1p63 && self.f == (double)(int64_t)self.f);
}

static struct jv bit_length(struct jx *x, struct jv self, const struct jargs *a)
{
    (void)x;
    (void)a;
    int64_t n = 0;
    for (uint64_t u = self.i < 0 ? 0 - (uint64_t)self.i : (uint64_t)self.i; u; u >>= 1) n++;
    return jv_int(n);
}

static struct jv cycler_next(struct jx *x, struct jv self, const struct jargs *a)
{
    (void)x;
    (void)a;
    struct jlist *l = self.list;
    const struct jv v = l->v[l->at];
    l->at = (l->at + 1) % l->n;
    return v;
}

static struct jv cycler_reset(struct jx *x, struct jv self, const struct jargs *a)
{
    (void)x;
    (void)a;
    self.list->at = 0;
    return jv_none();
}

static const struct jrow int_rows[] = {{"bit_length", bit_length, 0, {NULL}}};
static const struct jrow float_rows[] = {{"is_integer", is_integer, 0, {NULL}}};
static const struct jrow cycler_rows[] = {
    {"next", cycler_next, 0, {NULL}},
    {"reset", cycler_reset, 0, {NULL}},
};

static const struct jtable dicts = JTABLE(dict_rows), lists = JTABLE(list_rows);
static const struct jtable tuples = JTABLE(tuple_rows), cyclers = JTABLE(cycler_rows);
static const struct jtable ints = JTABLE(int_rows), floats = JTABLE(float_rows);

const struct jrow *jf_method(enum jkind kind, const struct jstr *name)
{
    static const struct jtable *const tables[J_KINDS] = {
        [J_STR] = &jf_methods_str, [J_DICT] = &dicts, [J_LIST] = &lists,   [J_TUPLE] = &tuples,
        [J_RANGE] = &tuples,       [J_INT] = &ints,   [J_FLOAT] = &floats, [J_CYCLER] = &cyclers,
    };
    assert(kind < J_KINDS);
    return tables[kind] ? jf_find(tables[kind], name) : NULL;
}
