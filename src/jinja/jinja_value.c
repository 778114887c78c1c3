/*
 * jinja_value.c: what all values have: a type, truth, equality, order, length, and being walked;
 * and the containers: lists that grow while they are made, dicts that keep the order of insertion.
 *
 * Numbers compare across kinds as in Python (1 == 1.0 == True), so they hash alike, too.
 */
#include "jinja/jinja_value.h"

#include "base/limits.h"

#include <assert.h>
#include <math.h>
#include <string.h>

static const char *const type_names[] = {
    [J_MISSING] = "missing",  [J_UNDEF] = "Undefined",
    [J_NONE] = "NoneType",    [J_BOOL] = "bool",
    [J_INT] = "int",          [J_FLOAT] = "float",
    [J_STR] = "str",          [J_LIST] = "list",
    [J_TUPLE] = "tuple",      [J_RANGE] = "range",
    [J_DICT] = "dict",        [J_SPACE] = "Namespace",
    [J_MACRO] = "Macro",      [J_FUNC] = "builtin_function_or_method",
    [J_LOOP] = "LoopContext", [J_CYCLER] = "Cycler",
    [J_JOINER] = "Joiner",
};

const char *jv_type(struct jv v)
{
    if (v.kind == J_VIEW || v.kind == J_ITER) return v.list->type;
    return type_names[v.kind];
}

struct jv jv_undef(struct jx *x, const struct jstr *name, const char *type, const char *hint)
{
    struct jundef *u = jx_alloc(x, sizeof *u);
    *u = (struct jundef){.name = name, .type = type, .hint = hint};
    return (struct jv){.kind = J_UNDEF, .undef = u};
}

void jv_fail_undef(struct jx *x, struct jv v)
{
    assert(v.kind == J_UNDEF);
    const struct jundef *u = v.undef;
    if (u->hint) jx_fail(x, "%s", u->hint);
    const int n = u->name->n < 200 ? (int)u->name->n : 200;
    if (!u->type) jx_fail(x, "'%.*s' is undefined", n, u->name->s);
    jx_fail(x, "'%s object' has no attribute '%.*s'", u->type, n, u->name->s);
}

/* ---- truth, equality, order ------------------------------------------------------------------ */

bool jv_truth(struct jv v)
{
    size_t n;
    switch (v.kind) {
    case J_BOOL:
        return v.b;
    case J_INT:
        return v.i != 0;
    case J_FLOAT:
        return v.f != 0;
    case J_NONE:
        return false;
    default:
        return !jv_len(v, &n) || n > 0;
    }
}

bool jv_is_data(struct jv v)
{
    return v.kind == J_STR ? js_has_data(v.s) : v.data;
}

bool jv_to_int(struct jv v, int64_t *i)
{
    if (v.kind != J_INT && v.kind != J_BOOL) return false;
    *i = v.kind == J_BOOL ? v.b : v.i;
    return true;
}

bool jv_is_number(struct jv v)
{
    return v.kind == J_INT || v.kind == J_BOOL || v.kind == J_FLOAT;
}

double jv_to_float(struct jv v)
{
    assert(jv_is_number(v));
    return v.kind == J_FLOAT ? v.f : v.kind == J_INT ? (double)v.i : v.b;
}

static enum jorder order_of(bool less, bool more)
{
    return less ? J_LESS : more ? J_MORE : J_SAME;
}

static enum jorder compare_numbers(struct jv a, struct jv b)
{
    int64_t i, k;
    if (jv_to_int(a, &i) && jv_to_int(b, &k)) return order_of(i<k, i> k);
    const double f = jv_to_float(a), g = jv_to_float(b);
    if (isnan(f) || isnan(g)) return J_UNORDERED;
    if (f != g || f < -0x1p63 || f >= 0x1p63) return order_of(f<g, f> g);
    /* As floats they are the same; an integer beyond 2^53 may have been rounded. */
    if (!jv_to_int(a, &i)) i = (int64_t)f;
    if (!jv_to_int(b, &k)) k = (int64_t)g;
    return order_of(i<k, i> k);
}

static bool is_seq(struct jv v)
{
    return v.kind == J_LIST || v.kind == J_TUPLE;
}

static bool equal_dicts(struct jx *x, const struct jdict *a, const struct jdict *b)
{
    if (a->n != b->n) return false;
    for (size_t i = 0; i < a->n; i++) {
        const struct jv *v = jd_find(x, b, a->e[i].key);
        if (!v || !jv_equal(x, a->e[i].v, *v)) return false;
    }
    return true;
}

static bool equal_lists(struct jx *x, const struct jlist *a, const struct jlist *b)
{
    if (a->n != b->n) return false;
    for (size_t i = 0; i < a->n; i++) {
        if (!jv_equal(x, a->v[i], b->v[i])) return false;
    }
    return true;
}

static bool equal_ranges(const struct jrange *a, const struct jrange *b)
{
    if (a->n != b->n) return false;
    return a->n == 0 || (a->start == b->start && (a->n == 1 || a->step == b->step));
}

bool jv_equal(struct jx *x, struct jv a, struct jv b)
{
    jx_step(x, 1);
    if (jv_is_number(a) && jv_is_number(b)) return compare_numbers(a, b) == J_SAME;
    if (a.kind != b.kind) return false;
    jx_down(x);
    bool equal;
    switch (a.kind) {
    case J_UNDEF:
    case J_NONE:
        equal = true;
        break;
    case J_STR:
        equal = js_eq(x, a.s, b.s);
        break;
    case J_LIST:
    case J_TUPLE:
    case J_VIEW:
        equal = equal_lists(x, a.list, b.list);
        break;
    case J_RANGE:
        equal = equal_ranges(a.range, b.range);
        break;
    case J_DICT:
        equal = equal_dicts(x, a.dict, b.dict);
        break;
    default:
        equal = a.list == b.list; /* the same object */
    }
    jx_up(x);
    return equal;
}

enum jorder jv_compare(struct jx *x, struct jv a, struct jv b, const char *op)
{
    if (jv_is_number(a) && jv_is_number(b)) return compare_numbers(a, b);
    if (a.kind == J_UNDEF) jv_fail_undef(x, a);
    if (b.kind == J_UNDEF) jv_fail_undef(x, b);
    if (a.kind == J_STR && b.kind == J_STR) return js_compare(x, a.s, b.s);
    if (!is_seq(a) || a.kind != b.kind)
        jx_fail(x, "'%s' not supported between instances of '%s' and '%s'", op, jv_type(a),
                jv_type(b));
    jx_down(x);
    const size_t n = a.list->n < b.list->n ? a.list->n : b.list->n;
    size_t i = 0;
    while (i < n && jv_equal(x, a.list->v[i], b.list->v[i])) i++;
    const enum jorder order = i < n ? jv_compare(x, a.list->v[i], b.list->v[i], op)
                                    : order_of(b.list->n > n, a.list->n > n);
    jx_up(x);
    return order;
}

bool jv_contains(struct jx *x, struct jv in, struct jv what)
{
    if (in.kind == J_STR) {
        if (what.kind != J_STR)
            jx_fail(x, "'in <string>' requires string as left operand, not %s", jv_type(what));
        return js_find(x, in.s, what.s, 0, in.s->n) != JS_NONE;
    }
    if (in.kind == J_DICT) return jd_find(x, in.dict, what) != NULL;
    struct jv item;
    for (struct jiter it = jv_iter(x, in); jv_next(x, &it, &item);) {
        if (jv_equal(x, item, what)) return true;
    }
    return false;
}

bool jv_relation(struct jx *x, enum jcompare op, struct jv a, struct jv b)
{
    enum jorder order;
    switch (op) {
    case CMP_EQ:
        return jv_equal(x, a, b);
    case CMP_NE:
        return !jv_equal(x, a, b);
    case CMP_GT:
        return jv_compare(x, a, b, ">") == J_MORE;
    case CMP_LT:
        return jv_compare(x, a, b, "<") == J_LESS;
    case CMP_GE:
        order = jv_compare(x, a, b, ">=");
        return order == J_MORE || order == J_SAME;
    case CMP_LE:
        order = jv_compare(x, a, b, "<=");
        return order == J_LESS || order == J_SAME;
    case CMP_IN:
        return jv_contains(x, b, a);
    case CMP_NOT_IN:
        break;
    }
    return !jv_contains(x, b, a);
}

/* ---- lists ----------------------------------------------------------------------------------- */

struct jv jv_list(struct jx *x, enum jkind kind, size_t cap)
{
    struct jlist *l = jx_alloc(x, sizeof *l);
    *l = (struct jlist){.cap = cap};
    if (cap) l->v = jx_array(x, cap, sizeof *l->v);
    return (struct jv){.kind = (uint8_t)kind, .list = l};
}

void jv_push(struct jx *x, struct jv list, struct jv v)
{
    struct jlist *l = list.list;
    assert(l->n <= l->cap);
    if (l->n == l->cap) {
        const size_t cap = l->cap ? 2 * l->cap : 8;
        struct jv *t = jx_array(x, cap, sizeof *t);
        if (l->n) memcpy(t, l->v, l->n * sizeof *t);
        l->v = t;
        l->cap = cap;
    }
    l->v[l->n++] = v;
}

bool jv_len(struct jv v, size_t *n)
{
    switch (v.kind) {
    case J_UNDEF:
        *n = 0;
        return true;
    case J_STR:
        *n = v.s->n_char;
        return true;
    case J_LIST:
    case J_TUPLE:
    case J_VIEW:
        *n = v.list->n;
        return true;
    case J_RANGE:
        *n = v.range->n;
        return true;
    case J_DICT:
        *n = v.dict->n;
        return true;
    default:
        return false;
    }
}

int64_t jv_range_at(const struct jrange *r, size_t i)
{
    assert(i < r->n); /* so the sum fits, though the product may not: the two wrap alike */
    return (int64_t)((uint64_t)r->start + (uint64_t)i * (uint64_t)r->step);
}

struct jv jv_at(struct jx *x, struct jv seq, size_t i)
{
    if (seq.kind == J_STR) return jv_str(js_slice(x, seq.s, i, i + 1));
    if (seq.kind == J_RANGE) return jv_int(jv_range_at(seq.range, i));
    assert(is_seq(seq) || seq.kind == J_VIEW);
    assert(i < seq.list->n);
    return seq.list->v[i];
}

bool jv_iterable(struct jv v)
{
    switch (v.kind) {
    case J_UNDEF:
    case J_STR:
    case J_LIST:
    case J_TUPLE:
    case J_RANGE:
    case J_VIEW:
    case J_ITER:
    case J_DICT:
        return true;
    default:
        return false;
    }
}

struct jiter jv_iter(struct jx *x, struct jv v)
{
    if (!jv_iterable(v)) jx_fail(x, "'%s' object is not iterable", jv_type(v));
    return (struct jiter){.v = v};
}

static bool next_char(struct jx *x, struct jiter *it, struct jv *item)
{
    const struct jstr *s = it->v.s;
    if (it->at >= s->n) return false;
    const size_t from = it->at;
    js_char(x, s, &it->at);
    *item = jv_str(js_safe(x, js_sub(x, s, from, it->at), false));
    return true;
}

bool jv_next(struct jx *x, struct jiter *it, struct jv *item)
{
    jx_step(x, 1);
    size_t n = 0;
    switch (it->v.kind) {
    case J_STR:
        return next_char(x, it, item);
    case J_ITER:
        if (it->v.list->later) jf_run_later(x, it->v.list);
        if (it->v.list->at >= it->v.list->n) return false;
        *item = it->v.list->v[it->v.list->at++];
        return true;
    case J_DICT:
        if (it->i >= it->v.dict->n) return false;
        *item = it->v.dict->e[it->i++].key;
        return true;
    default:
        jv_len(it->v, &n);
        if (it->i >= n) return false;
        *item = jv_at(x, it->v, it->i++);
        return true;
    }
}

struct jv jv_listed(struct jx *x, struct jv v)
{
    size_t n = 0;
    jv_len(v, &n);
    struct jv list = jv_list(x, J_LIST, n), item;
    list.data = jv_is_data(v);
    for (struct jiter it = jv_iter(x, v); jv_next(x, &it, &item);) jv_push(x, list, item);
    return list;
}

/* ---- dicts ----------------------------------------------------------------------------------- */

static uint64_t hash_bytes(const void *p, size_t n, uint64_t h)
{
    const uint8_t *s = p; /* FNV-1a */
    for (size_t i = 0; i < n; i++) h = (h ^ s[i]) * 0x100000001b3u;
    return h;
}

static uint64_t hash_number(struct jv v)
{
    int64_t i;
    double f = jv_is_number(v) ? jv_to_float(v) : 0;
    if (!jv_to_int(v, &i)) {
        if (f != floor(f) || f < -0x1p63 || f >= 0x1p63) return hash_bytes(&f, sizeof f, 1);
        i = (int64_t)f;
    }
    return hash_bytes(&i, sizeof i, 2);
}

static uint64_t hash_of(struct jx *x, struct jv v)
{
    uint64_t h = v.kind;
    switch (v.kind) {
    case J_STR:
        jx_step(x, v.s->n / 64);
        return hash_bytes(v.s->s, v.s->n, 0xcbf29ce484222325u);
    case J_BOOL:
    case J_INT:
    case J_FLOAT:
        return hash_number(v);
    case J_UNDEF:
    case J_NONE:
        return h;
    case J_TUPLE:
        jx_down(x);
        for (size_t i = 0; i < v.list->n; i++) {
            const uint64_t item = hash_of(x, v.list->v[i]);
            jx_step(x, 1);
            h = hash_bytes(&item, sizeof item, h);
        }
        jx_up(x);
        return h;
    case J_LIST:
    case J_DICT:
    case J_VIEW:
        jx_fail(x, "unhashable type: '%s'", jv_type(v));
    case J_RANGE:
        return hash_bytes(&v.range->n, sizeof v.range->n, h);
    default:
        return hash_bytes(&v.list, sizeof v.list, h); /* which object it is */
    }
}

struct jv jd_new(struct jx *x)
{
    return (struct jv){.kind = J_DICT, .dict = jx_alloc(x, sizeof(struct jdict))};
}

/* The slot of the key, or the free one where it would go. */
static uint32_t *slot_of(struct jx *x, const struct jdict *d, struct jv key, uint64_t hash)
{
    assert(d->n < d->n_slot);
    for (size_t i = (size_t)(hash ^ hash >> 32);; i++) {
        uint32_t *slot = &d->slot[i & (d->n_slot - 1)];
        if (*slot == 0) return slot;
        const struct jentry *e = &d->e[*slot - 1];
        jx_step(x, 1);
        if (e->hash == hash && jv_equal(x, e->key, key)) return slot;
    }
}

static void grow(struct jx *x, struct jdict *d)
{
    const size_t cap = d->cap ? 2 * d->cap : 8;
    struct jentry *e = jx_array(x, cap, sizeof *e);
    if (d->n) memcpy(e, d->e, d->n * sizeof *e);
    d->e = e;
    d->cap = cap;
    d->n_slot = 2 * cap; /* at most half full */
    d->slot = jx_array(x, d->n_slot, sizeof *d->slot);
    for (size_t i = 0; i < d->n; i++) *slot_of(x, d, e[i].key, e[i].hash) = (uint32_t)i + 1;
}

void jd_set(struct jx *x, struct jdict *d, struct jv key, struct jv v)
{
    const uint64_t hash = hash_of(x, key);
    if (d->n == d->cap) grow(x, d);
    assert(d->n < d->cap);
    uint32_t *slot = slot_of(x, d, key, hash);
    if (*slot) {
        d->e[*slot - 1].v = v;
        return;
    }
    d->e[d->n] = (struct jentry){.key = key, .v = v, .hash = hash};
    *slot = (uint32_t)++d->n;
}

struct jv *jd_find(struct jx *x, const struct jdict *d, struct jv key)
{
    const uint64_t hash = hash_of(x, key);
    if (d->n == 0) return NULL;
    const uint32_t *slot = slot_of(x, d, key, hash);
    return *slot ? &d->e[*slot - 1].v : NULL;
}

struct jv *jd_find_str(struct jx *x, const struct jdict *d, const char *s, size_t n)
{
    const struct jstr key = {.s = s, .n = n};
    return jd_find(x, d, jv_str(&key));
}
