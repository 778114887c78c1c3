/*
 * jinja_item.c: v.name, v[key] and v[a:b:c].
 *
 * As in Jinja, v.name looks for an attribute (here: a method, or what loops and namespaces offer)
 * and then for an item, v['name'] the other way round; what is nowhere is undefined. A slice is
 * Python's own and fails on what cannot be sliced. There are no attributes but those in the tables,
 * so nothing leads out of the template.
 */
#include "jinja/jinja_impl.h"

#include <assert.h>
#include <stdio.h>

/* ---- attributes ------------------------------------------------------------------------------ */

static struct jv macro_attr(struct jx *x, const struct jmacro *m, const struct jstr *name)
{
    const struct jnode *n = m->node;
    if (js_is(name, "name")) return n->name ? jv_str(n->name) : jv_none();
    if (js_is(name, "catch_kwargs")) return jv_bool(n->op & MACRO_KWARGS);
    if (js_is(name, "catch_varargs")) return jv_bool(n->op & MACRO_VARARGS);
    if (js_is(name, "caller")) return jv_bool(n->op & MACRO_CALLER);
    if (!js_is(name, "arguments")) return (struct jv){.kind = J_MISSING};
    const struct jv list = jv_list(x, J_TUPLE, 0);
    for (const struct jnode *p = n->a; p; p = p->next) jv_push(x, list, jv_str(p->name));
    return list;
}

static struct jv unsafe(struct jx *x, struct jv v, const struct jstr *name)
{
    struct jbuf b = {0};
    jb_own(x, &b, "the method '");
    jb_str(x, &b, name);
    jb_own(x, &b, "' would change its object, which a template may not do");
    return jv_undef(x, name, jv_type(v), jb_cstr(x, &b));
}

/* J_MISSING: there is no such attribute. */
static struct jv find_attr(struct jx *x, struct jv v, const struct jstr *name)
{
    const struct jv none = {.kind = J_MISSING};
    if (v.kind == J_SPACE) {
        const struct jv *p = jd_find(x, v.dict, jv_str(name));
        return p ? *p : none;
    }
    if (v.kind == J_LOOP) return jl_attr(x, v, name);
    if (v.kind == J_MACRO) return macro_attr(x, v.macro, name);
    if (v.kind == J_CYCLER && js_is(name, "current")) return v.list->v[v.list->at];
    if (v.kind == J_TUPLE && v.list->type == jf_group_type) {
        if (js_is(name, "grouper")) return v.list->v[0];
        if (js_is(name, "list")) return v.list->v[1];
    }
    const struct jrow *row = jf_method(v.kind, name);
    if (!row) return none;
    return row->fn ? jf_bound(x, row, v) : unsafe(x, v, name);
}

struct jv jo_attr_only(struct jx *x, struct jv v, const struct jstr *name)
{
    if (v.kind == J_UNDEF) jv_fail_undef(x, v);
    const struct jv found = find_attr(x, v, name);
    return found.kind == J_MISSING ? jv_undef(x, name, jv_type(v), NULL) : found;
}

/* ---- items ----------------------------------------------------------------------------------- */

static bool is_sequence(struct jv v)
{
    return v.kind == J_STR || v.kind == J_LIST || v.kind == J_TUPLE || v.kind == J_RANGE;
}

/* J_MISSING: there is no such item. */
static struct jv find_item(struct jx *x, struct jv v, struct jv key)
{
    const struct jv none = {.kind = J_MISSING};
    int64_t i;
    size_t n;
    if (v.kind == J_DICT) {
        if (key.kind == J_LIST || key.kind == J_DICT || key.kind == J_VIEW) return none;
        const struct jv *p = jd_find(x, v.dict, key);
        return p ? *p : none;
    }
    if (!is_sequence(v) || !jv_to_int(key, &i) || !jv_len(v, &n)) return none;
    if (i < 0) i += (int64_t)n;
    return i >= 0 && (uint64_t)i < n ? jv_at(x, v, (size_t)i) : none;
}

static struct jv no_item(struct jx *x, struct jv v, struct jv key)
{
    if (key.kind == J_STR) return jv_undef(x, key.s, jv_type(v), NULL);
    struct jbuf b = {0};
    jb_own(x, &b, jv_type(v));
    jb_own(x, &b, " object has no element ");
    jv_repr(x, &b, key);
    return jv_undef(x, NULL, jv_type(v), jb_cstr(x, &b));
}

struct jv jo_attr(struct jx *x, struct jv v, const struct jstr *name)
{
    if (v.kind == J_UNDEF) jv_fail_undef(x, v);
    struct jv found = find_attr(x, v, name);
    if (found.kind == J_MISSING) found = find_item(x, v, jv_str(name));
    return found.kind == J_MISSING ? jv_undef(x, name, jv_type(v), NULL) : found;
}

struct jv jo_item(struct jx *x, struct jv v, struct jv key)
{
    if (v.kind == J_UNDEF) jv_fail_undef(x, v);
    struct jv found = find_item(x, v, key);
    if (found.kind == J_MISSING && key.kind == J_STR) found = find_attr(x, v, key.s);
    return found.kind == J_MISSING ? no_item(x, v, key) : found;
}

/* ---- slices ---------------------------------------------------------------------------------- */

/* A bound as Python takes it: counted from the end when negative, then brought into lo .. hi. */
static int64_t clip(struct jx *x, struct jv v, int64_t otherwise, int64_t n, int64_t lo, int64_t hi)
{
    int64_t i;
    if (!ja_given(v)) return otherwise;
    if (!jv_to_int(v, &i))
        jx_fail(x, "slice indices must be integers or None, not '%s'", jv_type(v));
    if (i < 0) i = i < -n ? lo : i + n;
    return i < lo ? lo : i > hi ? hi : i;
}

void jo_bounds(struct jx *x, struct jv from, struct jv to, size_t n, size_t *i_from, size_t *i_to)
{
    const int64_t len = (int64_t)n;
    *i_from = (size_t)clip(x, from, 0, len, 0, len);
    *i_to = (size_t)clip(x, to, len, len, 0, len);
    assert(*i_from <= n && *i_to <= n);
}

/* Every step-th of the characters from start on, n of them. */
static struct jv pick_chars(struct jx *x, const struct jstr *s, int64_t start, int64_t step,
                            size_t n)
{
    size_t *at = jx_array(x, s->n_char + 1, sizeof *at);
    size_t n_char = 0;
    for (size_t i = 0; i < s->n; js_char(x, s, &i)) at[n_char++] = i;
    at[n_char] = s->n;
    jx_step(x, n_char);
    struct jbuf b = {0};
    for (size_t k = 0; k < n; k++) {
        const size_t i = (size_t)(start + (int64_t)k * step);
        assert(i < n_char);
        jb_sub(x, &b, s, at[i], at[i + 1]);
    }
    return jv_str(js_safe(x, jb_end(x, &b), s->safe));
}

static struct jv pick_items(struct jx *x, struct jv v, int64_t start, int64_t step, size_t n)
{
    struct jv out = jv_list(x, v.kind, n);
    out.data = v.data;
    jx_step(x, n);
    for (size_t k = 0; k < n; k++) jv_push(x, out, v.list->v[start + (int64_t)k * step]);
    return out;
}

/* What stands at place i, -1 .. n, of a range that goes on at both ends: as far as 64 bits go. */
static int64_t range_bound(const struct jrange *r, int64_t i)
{
    int64_t v = r->start;
    bool overflow = false;
    assert(i >= -1 && i <= (int64_t)r->n);
    if (i >= 0 && (uint64_t)i < r->n) return jv_range_at(r, (size_t)i);
    if (i < 0) overflow = __builtin_sub_overflow(r->start, r->step, &v);
    if (i > 0) overflow = __builtin_add_overflow(jv_range_at(r, r->n - 1), r->step, &v);
    if (overflow) v = (r->step > 0) == (i > 0) ? INT64_MAX : INT64_MIN;
    return v;
}

static struct jv pick_range(struct jx *x, const struct jrange *r, int64_t start, int64_t step,
                            int64_t stop, size_t n)
{
    struct jrange *out = jx_alloc(x, sizeof *out);
    *out = (struct jrange){.start = range_bound(r, start), .stop = range_bound(r, stop), .n = n};
    if (__builtin_mul_overflow(r->step, step, &out->step)) {
        if (n > 1) jx_fail(x, "the step of the slice does not fit into 64 bits");
        out->step = r->step;
    }
    return (struct jv){.kind = J_RANGE, .range = out};
}

struct jv jo_slice(struct jx *x, struct jv v, const struct jv part[3])
{
    size_t len;
    int64_t step = 1;
    if (v.kind == J_UNDEF) jv_fail_undef(x, v);
    if (!is_sequence(v) || !jv_len(v, &len)) jx_fail(x, "'%s' cannot be sliced", jv_type(v));
    if (ja_given(part[2]) && !jv_to_int(part[2], &step))
        jx_fail(x, "slice indices must be integers or None, not '%s'", jv_type(part[2]));
    if (step == 0) jx_fail(x, "slice step cannot be zero");
    const int64_t n = (int64_t)len, lo = step < 0 ? -1 : 0, hi = step < 0 ? n - 1 : n;
    /* A step beyond the length picks one item, whatever its size. */
    step = step > n ? n + 1 : step < -n ? -n - 1 : step;
    const int64_t start = clip(x, part[0], step < 0 ? hi : lo, n, lo, hi);
    const int64_t stop = clip(x, part[1], step < 0 ? lo : hi, n, lo, hi);
    size_t count = 0;
    if (step > 0 && start < stop) count = (size_t)((stop - start - 1) / step + 1);
    if (step < 0 && stop < start) count = (size_t)((start - stop - 1) / -step + 1);
    assert(count <= len);
    if (v.kind == J_RANGE) return pick_range(x, v.range, start, step, stop, count);
    if (v.kind != J_STR) return pick_items(x, v, start, step, count);
    if (step == 1) return jv_str(js_slice(x, v.s, (size_t)start, (size_t)start + count));
    return pick_chars(x, v.s, start, step, count);
}
