/*
 * jinja_filter_seq.c: filters of sequences: sorting, selecting, mapping, grouping, cutting.
 *
 * Those that are lazy in Jinja give an iterator, which is true whatever is in it, has no length and
 * can be walked once. All its items are computed when the first is wanted, so an item that fails
 * does so also when only those before it are used.
 */
#include "jinja/jinja_impl.h"

#include <assert.h>
#include <string.h>

const char jf_group_type[] = "tuple";

static struct jv iterator(struct jx *x, const char *type)
{
    const struct jv v = jv_list(x, J_ITER, 0);
    v.list->type = type;
    return v;
}

static struct jv generator(struct jx *x)
{
    return iterator(x, "generator");
}

/* ---- attributes by path ---------------------------------------------------------------------- */

/* "a.b.0" of an item; what is not there is `otherwise` unless that is missing or none. */
static struct jv by_path(struct jx *x, struct jv item, const struct jstr *path, struct jv otherwise)
{
    for (size_t from = 0; from <= path->n;) {
        const char *dot = memchr(path->s + from, '.', path->n - from);
        const size_t to = dot ? (size_t)(dot - path->s) : path->n;
        const struct jstr *part = js_sub(x, path, from, to);
        const bool index = part->n > 0 && js_all_digits(x, part);
        item = jo_item(x, item, index ? jv_parse_int(x, part, 10) : jv_str(part));
        if (item.kind == J_UNDEF && ja_given(otherwise)) item = otherwise;
        from = to + 1;
    }
    return item;
}

static struct jv lowered(struct jx *x, struct jv v)
{
    return v.kind == J_STR ? jv_str(jc_convert(x, v.s, JC_LOWER)) : v;
}

/* How items are looked at. */
struct getter {
    struct jv attribute; /* a path, an index, or missing: the item itself */
    struct jv otherwise;
    bool fold; /* case does not matter */
};

static struct getter getter_of(struct jv attribute, struct jv case_sensitive)
{
    return (struct getter){.attribute = attribute, .fold = !ja_true(case_sensitive)};
}

static struct jv get(struct jx *x, const struct getter *g, struct jv item)
{
    jx_step(x, 1);
    if (g->attribute.kind == J_STR) {
        item = by_path(x, item, g->attribute.s, g->otherwise);
    } else if (ja_given(g->attribute)) {
        item = jo_item(x, item, g->attribute);
        if (item.kind == J_UNDEF && ja_given(g->otherwise)) item = g->otherwise;
    }
    return g->fold ? lowered(x, item) : item;
}

/* ---- sorting --------------------------------------------------------------------------------- */

struct keyed {
    struct jv key, v;
};

/* Stable; k[0..n) through room t of the same size. */
static void merge_sort(struct jx *x, struct keyed *k, struct keyed *t, size_t n, bool reverse)
{
    if (n < 2) return;
    const size_t half = n / 2;
    merge_sort(x, k, t, half, reverse);
    merge_sort(x, k + half, t + half, n - half, reverse);
    memcpy(t, k, n * sizeof *t);
    size_t i = 0, j = half;
    for (size_t out = 0; out < n; out++) {
        bool right = i == half;
        if (!right && j < n) {
            jx_step(x, 1);
            right = reverse ? jv_relation(x, CMP_LT, t[i].key, t[j].key)
                            : jv_relation(x, CMP_LT, t[j].key, t[i].key);
        }
        k[out] = right ? t[j++] : t[i++];
    }
}

static void sort_by(struct jx *x, struct jlist *l, const struct jv *keys, bool reverse)
{
    struct keyed *k = jx_array(x, l->n, sizeof *k), *t = jx_array(x, l->n, sizeof *t);
    for (size_t i = 0; i < l->n; i++) k[i] = (struct keyed){.key = keys[i], .v = l->v[i]};
    merge_sort(x, k, t, l->n, reverse);
    for (size_t i = 0; i < l->n; i++) l->v[i] = k[i].v;
}

void jf_sort_list(struct jx *x, struct jv list)
{
    assert(list.kind == J_LIST);
    sort_by(x, list.list, list.list->v, false);
}

/* The list's keys, one per item. */
static const struct jv *keys_of(struct jx *x, const struct jlist *l, const struct getter *g)
{
    struct jv *keys = jx_array(x, l->n, sizeof *keys);
    for (size_t i = 0; i < l->n; i++) keys[i] = get(x, g, l->v[i]);
    return keys;
}

/* "a,b": by a, then by b. */
static struct jv many_keys(struct jx *x, struct getter g, struct jv item)
{
    const struct jv keys = jv_list(x, J_LIST, 0);
    const struct jstr *all = g.attribute.s;
    for (size_t from = 0; from <= all->n;) {
        const char *comma = memchr(all->s + from, ',', all->n - from);
        const size_t to = comma ? (size_t)(comma - all->s) : all->n;
        g.attribute = jv_str(js_sub(x, all, from, to));
        jv_push(x, keys, get(x, &g, item));
        from = to + 1;
    }
    return keys;
}

static struct jv do_sort(struct jx *x, struct jv v, const struct jargs *a)
{
    enum { REVERSE, CASE_SENSITIVE, ATTRIBUTE };
    const struct jv list = jv_listed(x, v);
    const struct getter g = getter_of(a->v[ATTRIBUTE], a->v[CASE_SENSITIVE]);
    struct jv *keys = jx_array(x, list.list->n, sizeof *keys);
    for (size_t i = 0; i < list.list->n; i++)
        keys[i] = g.attribute.kind == J_STR ? many_keys(x, g, list.list->v[i])
                                            : get(x, &g, list.list->v[i]);
    sort_by(x, list.list, keys, ja_true(a->v[REVERSE]));
    return list;
}

static struct jv do_dictsort(struct jx *x, struct jv v, const struct jargs *a)
{
    enum { CASE_SENSITIVE, BY, REVERSE };
    const struct jstr *by = ja_str(x, a->v[BY], js_own(x, "key"), "what dictsort sorts by");
    const bool by_value = js_is(by, "value");
    if (v.kind == J_UNDEF) jv_fail_undef(x, v);
    if (v.kind != J_DICT) jx_fail(x, "dictsort: '%s' is no dict", jv_type(v));
    if (!by_value && !js_is(by, "key"))
        jx_fail(x, "dictsort: you can only sort by either \"key\" or \"value\"");
    const struct jv list = jv_listed(x, jf_items(x, v, NULL));
    const struct getter g = getter_of(jv_int(by_value), a->v[CASE_SENSITIVE]);
    sort_by(x, list.list, keys_of(x, list.list, &g), ja_true(a->v[REVERSE]));
    return list;
}

static struct jv unique_now(struct jx *x, struct jv v, const struct jargs *a)
{
    enum { CASE_SENSITIVE, ATTRIBUTE };
    const struct getter g = getter_of(a->v[ATTRIBUTE], a->v[CASE_SENSITIVE]);
    const struct jv out = generator(x), seen = jd_new(x);
    struct jv item;
    for (struct jiter it = jv_iter(x, v); jv_next(x, &it, &item);) {
        const struct jv key = get(x, &g, item);
        if (jd_find(x, seen.dict, key)) continue;
        jd_set(x, seen.dict, key, item);
        jv_push(x, out, item);
    }
    return out;
}

/* The first of the least (CMP_LT) or greatest (CMP_GT). */
static struct jv extreme(struct jx *x, struct jv v, const struct jargs *a, enum jcompare op)
{
    enum { CASE_SENSITIVE, ATTRIBUTE };
    const struct getter g = getter_of(a->v[ATTRIBUTE], a->v[CASE_SENSITIVE]);
    struct jv best = {.kind = J_MISSING}, best_key = best, item;
    for (struct jiter it = jv_iter(x, v); jv_next(x, &it, &item);) {
        const struct jv key = get(x, &g, item);
        if (best.kind != J_MISSING && !jv_relation(x, op, key, best_key)) continue;
        best = item;
        best_key = key;
    }
    if (best.kind != J_MISSING) return best;
    return jv_undef(x, NULL, NULL, "No aggregated item, sequence was empty.");
}

static struct jv do_min(struct jx *x, struct jv v, const struct jargs *a)
{
    return extreme(x, v, a, CMP_LT);
}

static struct jv do_max(struct jx *x, struct jv v, const struct jargs *a)
{
    return extreme(x, v, a, CMP_GT);
}

static struct jv do_groupby(struct jx *x, struct jv v, const struct jargs *a)
{
    enum { ATTRIBUTE, DEFAULT, CASE_SENSITIVE };
    struct getter g = getter_of(a->v[ATTRIBUTE], a->v[CASE_SENSITIVE]);
    g.otherwise = a->v[DEFAULT];
    const struct jv list = jv_listed(x, v), out = jv_list(x, J_LIST, 0);
    sort_by(x, list.list, keys_of(x, list.list, &g), false);
    const struct jv *keys = keys_of(x, list.list, &g); /* in the new order */
    const struct getter shown = {.attribute = g.attribute, .otherwise = g.otherwise};
    for (size_t i = 0, end; i < list.list->n; i = end) {
        const struct jv items = jv_list(x, J_LIST, 0);
        for (end = i; end < list.list->n && jv_equal(x, keys[i], keys[end]); end++)
            jv_push(x, items, list.list->v[end]);
        if (end == i) end++; /* a key that is not equal to itself */
        const struct jv group = jf_pair(x, get(x, &shown, list.list->v[i]), items);
        group.list->type = jf_group_type;
        jv_push(x, out, group);
    }
    return out;
}

/* ---- ends, order ----------------------------------------------------------------------------- */

static struct jv do_first(struct jx *x, struct jv v, const struct jargs *a)
{
    (void)a;
    struct jv item;
    struct jiter it = jv_iter(x, v);
    if (jv_next(x, &it, &item)) return item;
    return jv_undef(x, NULL, NULL, "No first item, sequence was empty.");
}

static struct jv do_last(struct jx *x, struct jv v, const struct jargs *a)
{
    (void)a;
    size_t n;
    if (!jv_iterable(v) || !jv_len(v, &n)) jx_fail(x, "'%s' object is not reversible", jv_type(v));
    if (n == 0) return jv_undef(x, NULL, NULL, "No last item, sequence was empty.");
    return v.kind == J_DICT ? v.dict->e[n - 1].key : jv_at(x, v, n - 1);
}

static struct jv do_reverse(struct jx *x, struct jv v, const struct jargs *a)
{
    (void)a;
    size_t n;
    const struct jv back[3] = {jv_none(), jv_none(), jv_int(-1)};
    if (v.kind == J_STR) return jo_slice(x, v, back);
    const struct jv list = jo_slice(x, jv_listed(x, v), back);
    if (!jv_len(v, &n)) return list; /* an iterator: a list of what it gave */
    const struct jv out = iterator(x, "list_reverseiterator");
    for (size_t i = 0; i < list.list->n; i++) jv_push(x, out, list.list->v[i]);
    return out;
}

static struct jv do_list(struct jx *x, struct jv v, const struct jargs *a)
{
    (void)a;
    return jv_listed(x, v);
}

static struct jv items_now(struct jx *x, struct jv v, const struct jargs *a)
{
    const struct jv out = generator(x);
    struct jv item;
    if (v.kind == J_UNDEF) return out;
    if (v.kind != J_DICT) jx_fail(x, "Can only get item pairs from a mapping.");
    struct jiter it = jv_iter(x, jf_items(x, v, a));
    while (jv_next(x, &it, &item)) jv_push(x, out, item);
    return out;
}

static struct jv do_sum(struct jx *x, struct jv v, const struct jargs *a)
{
    enum { ATTRIBUTE, START };
    const struct getter g = {.attribute = a->v[ATTRIBUTE]};
    struct jv sum = ja_or(a->v[START], jv_int(0)), item;
    if (sum.kind == J_STR) jx_fail(x, "sum: strings are joined by the filter join");
    for (struct jiter it = jv_iter(x, v); jv_next(x, &it, &item);)
        sum = jo_binary(x, OP_ADD, sum, get(x, &g, item));
    return sum;
}

static struct jv do_join(struct jx *x, struct jv v, const struct jargs *a)
{
    enum { BETWEEN, ATTRIBUTE };
    const struct getter g = {.attribute = a->v[ATTRIBUTE]};
    const struct jstr *between = jv_string(x, ja_or(a->v[BETWEEN], jv_own(x, "")));
    struct jbuf b = {0};
    struct jv item;
    bool some = false;
    for (struct jiter it = jv_iter(x, v); jv_next(x, &it, &item); some = true) {
        if (some) jb_str(x, &b, between);
        jv_print(x, &b, get(x, &g, item));
    }
    return jv_str(js_safe(x, jb_end(x, &b), between->safe));
}

/* ---- cutting --------------------------------------------------------------------------------- */

static struct jv batch_now(struct jx *x, struct jv v, const struct jargs *a)
{
    enum { LINECOUNT, FILL_WITH };
    const int64_t size = ja_int(x, a->v[LINECOUNT], 0, "the size of batch");
    const struct jv out = generator(x);
    struct jv row = jv_list(x, J_LIST, 0), item;
    for (struct jiter it = jv_iter(x, v); jv_next(x, &it, &item);) {
        if ((int64_t)row.list->n == size) {
            jv_push(x, out, row);
            row = jv_list(x, J_LIST, 0);
        }
        jv_push(x, row, item);
    }
    if (row.list->n == 0) return out;
    while (ja_given(a->v[FILL_WITH]) && (int64_t)row.list->n < size)
        jv_push(x, row, a->v[FILL_WITH]);
    jv_push(x, out, row);
    return out;
}

static struct jv slice_now(struct jx *x, struct jv v, const struct jargs *a)
{
    enum { SLICES, FILL_WITH };
    const int64_t count = ja_int(x, a->v[SLICES], 0, "the number of slices");
    const struct jv list = jv_listed(x, v), out = generator(x);
    if (count == 0) jx_fail(x, "slice: division by zero");
    const int64_t n = (int64_t)list.list->n;
    int64_t at = 0;
    for (int64_t i = 0; i < count; i++) {
        const struct jv row = jv_list(x, J_LIST, 0);
        const int64_t end = at + n / count + (i < n % count);
        jx_step(x, 1);
        for (; at < end; at++) jv_push(x, row, list.list->v[at]);
        if (ja_given(a->v[FILL_WITH]) && i >= n % count) jv_push(x, row, a->v[FILL_WITH]);
        jv_push(x, out, row);
    }
    assert(at == n || count < 0);
    return out;
}

/* ---- map, select, reject --------------------------------------------------------------------- */

static const struct jrow *row_named(struct jx *x, struct jv name, bool is_filter)
{
    const struct jstr *s = ja_str(x, name, NULL, is_filter ? "the filter of map" : "a test");
    const struct jrow *row = is_filter ? jf_filter(s) : jf_find(&jf_tests, s);
    if (!row)
        jx_fail(x, "there is no %s '%.*s'", is_filter ? "filter" : "test",
                (int)(s->n < 60 ? s->n : 60), s->s);
    return row;
}

static struct jargs behind(const struct jargs *a, size_t n)
{
    assert(n <= a->n);
    return (struct jargs){.v = a->v + n, .n = a->n - n, .kw = a->kw, .n_kw = a->n_kw};
}

static struct jv map_attribute(struct jx *x, struct jv v, const struct jargs *a)
{
    struct getter g = {0};
    const struct jv out = generator(x);
    struct jv item;
    for (size_t i = 0; i < a->n_kw; i++) {
        const struct jkw *kw = &a->kw[i];
        if (js_is(kw->name, "attribute")) {
            g.attribute = kw->v;
        } else if (js_is(kw->name, "default")) {
            g.otherwise = kw->v;
        } else {
            jx_fail(x, "map takes 'attribute' and 'default', or the name of a filter");
        }
    }
    if (g.attribute.kind == J_MISSING) jx_fail(x, "map requires a filter argument");
    for (struct jiter it = jv_iter(x, v); jv_next(x, &it, &item);)
        jv_push(x, out, get(x, &g, item));
    return out;
}

static struct jv map_now(struct jx *x, struct jv v, const struct jargs *a)
{
    const struct jv out = generator(x);
    struct jv item;
    if (!jv_truth(v)) return out;
    if (a->n == 0) return map_attribute(x, v, a);
    const struct jrow *row = row_named(x, a->v[0], true);
    const struct jargs rest = behind(a, 1);
    for (struct jiter it = jv_iter(x, v); jv_next(x, &it, &item);)
        jv_push(x, out, jf_call(x, row, item, &rest));
    return out;
}

/* Items for which a test, of the item or of an attribute, says `want`. */
static struct jv pick(struct jx *x, struct jv v, const struct jargs *a, bool of_attribute,
                      bool want)
{
    const struct jv out = generator(x);
    struct jv item;
    if (!jv_truth(v)) return out;
    struct getter g = {0};
    if (of_attribute) {
        if (a->n == 0) jx_fail(x, "Missing parameter for attribute name");
        g.attribute = a->v[0];
    }
    const size_t n_before = of_attribute;
    const struct jrow *row = a->n > n_before ? row_named(x, a->v[n_before], false) : NULL;
    const struct jargs rest = row ? behind(a, n_before + 1) : (struct jargs){0};
    for (struct jiter it = jv_iter(x, v); jv_next(x, &it, &item);) {
        const struct jv seen = get(x, &g, item);
        if (jv_truth(row ? jf_call(x, row, seen, &rest) : seen) == want) jv_push(x, out, item);
    }
    return out;
}

static struct jv select_now(struct jx *x, struct jv v, const struct jargs *a)
{
    return pick(x, v, a, false, true);
}

static struct jv reject_now(struct jx *x, struct jv v, const struct jargs *a)
{
    return pick(x, v, a, false, false);
}

static struct jv selectattr_now(struct jx *x, struct jv v, const struct jargs *a)
{
    return pick(x, v, a, true, true);
}

static struct jv rejectattr_now(struct jx *x, struct jv v, const struct jargs *a)
{
    return pick(x, v, a, true, false);
}

#define LAZY(name, now)                                                                            \
    static struct jv name(struct jx *x, struct jv v, const struct jargs *a)                        \
    {                                                                                              \
        return jf_later(x, (struct jlater){.fn = now, .self = v, .a = *a});                        \
    }

LAZY(do_batch, batch_now)
LAZY(do_items, items_now)
LAZY(do_map, map_now)
LAZY(do_reject, reject_now)
LAZY(do_rejectattr, rejectattr_now)
LAZY(do_select, select_now)
LAZY(do_selectattr, selectattr_now)
LAZY(do_slice, slice_now)
LAZY(do_unique, unique_now)

static const struct jrow rows[] = {
    {"batch", do_batch, 1, {"linecount", "fill_with"}},
    {"dictsort", do_dictsort, 0, {"case_sensitive", "by", "reverse"}},
    {"first", do_first, 0, {NULL}},
    {"groupby", do_groupby, 1, {"attribute", "default", "case_sensitive"}},
    {"items", do_items, 0, {NULL}},
    {"join", do_join, 0, {"d", "attribute"}},
    {"last", do_last, 0, {NULL}},
    {"list", do_list, 0, {NULL}},
    {"map", do_map, AS_GIVEN, {NULL}},
    {"max", do_max, 0, {"case_sensitive", "attribute"}},
    {"min", do_min, 0, {"case_sensitive", "attribute"}},
    {"reject", do_reject, AS_GIVEN, {NULL}},
    {"rejectattr", do_rejectattr, AS_GIVEN, {NULL}},
    {"reverse", do_reverse, 0, {NULL}},
    {"select", do_select, AS_GIVEN, {NULL}},
    {"selectattr", do_selectattr, AS_GIVEN, {NULL}},
    {"slice", do_slice, 1, {"slices", "fill_with"}},
    {"sort", do_sort, 0, {"reverse", "case_sensitive", "attribute"}},
    {"sum", do_sum, 0, {"attribute", "start"}},
    {"unique", do_unique, 0, {"case_sensitive", "attribute"}},
};

const struct jtable jf_filters_seq = JTABLE(rows);
