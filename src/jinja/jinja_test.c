/*
 * jinja_test.c: what can stand behind `is`.
 */
#include "jinja/jinja_impl.h"

/* A test of the kind alone. */
#define KIND(name, condition)                                                                      \
    static struct jv name(struct jx *x, struct jv v, const struct jargs *a)                        \
    {                                                                                              \
        (void)x;                                                                                   \
        (void)a;                                                                                   \
        return jv_bool(condition);                                                                 \
    }

KIND(is_boolean, v.kind == J_BOOL)
KIND(is_callable, v.kind == J_FUNC || v.kind == J_MACRO || v.kind == J_LOOP || v.kind == J_JOINER ||
                      v.kind == J_UNDEF)
KIND(is_defined, v.kind != J_UNDEF)
KIND(is_escaped, v.kind == J_STR && v.s->safe)
KIND(is_false, v.kind == J_BOOL && !v.b)
KIND(is_float, v.kind == J_FLOAT)
KIND(is_integer, v.kind == J_INT)
KIND(is_iterable, jv_iterable(v) || v.kind == J_LOOP)
KIND(is_mapping, v.kind == J_DICT)
KIND(is_none, v.kind == J_NONE)
KIND(is_number, jv_is_number(v))
KIND(is_string, v.kind == J_STR)
KIND(is_true, v.kind == J_BOOL && v.b)
KIND(is_undefined, v.kind == J_UNDEF)
KIND(is_sequence, v.kind == J_STR || v.kind == J_LIST || v.kind == J_TUPLE || v.kind == J_RANGE ||
                      v.kind == J_DICT || v.kind == J_UNDEF)
KIND(is_lower, jc_all(x, jv_string(x, v), JC_ALL_LOWER))
KIND(is_upper, jc_all(x, jv_string(x, v), JC_ALL_UPPER))

/* v % by == rest */
static struct jv remains(struct jx *x, struct jv v, struct jv by, int64_t rest)
{
    return jv_bool(jv_equal(x, jo_binary(x, OP_MOD, v, by), jv_int(rest)));
}

static struct jv is_odd(struct jx *x, struct jv v, const struct jargs *a)
{
    (void)a;
    return remains(x, v, jv_int(2), 1);
}

static struct jv is_even(struct jx *x, struct jv v, const struct jargs *a)
{
    (void)a;
    return remains(x, v, jv_int(2), 0);
}

static struct jv is_divisibleby(struct jx *x, struct jv v, const struct jargs *a)
{
    return remains(x, v, a->v[0], 0);
}

#define RELATION(name, op)                                                                         \
    static struct jv name(struct jx *x, struct jv v, const struct jargs *a)                        \
    {                                                                                              \
        return jv_bool(jv_relation(x, op, v, a->v[0]));                                            \
    }

RELATION(is_eq, CMP_EQ)
RELATION(is_ne, CMP_NE)
RELATION(is_lt, CMP_LT)
RELATION(is_le, CMP_LE)
RELATION(is_gt, CMP_GT)
RELATION(is_ge, CMP_GE)
RELATION(is_in, CMP_IN)

/* Python's `is`: the same object; numbers and strings of one value are taken for one. */
static struct jv is_sameas(struct jx *x, struct jv v, const struct jargs *a)
{
    const struct jv w = a->v[0];
    if (v.kind != w.kind) return jv_bool(false);
    const bool scalar = v.kind == J_STR || v.kind == J_NONE || jv_is_number(v);
    return jv_bool(scalar ? jv_equal(x, v, w) : v.list == w.list);
}

/* The name of a filter or test, or NULL; fails for what cannot be looked up in a dict. */
static const struct jstr *row_name(struct jx *x, struct jv v)
{
    jd_find(x, jd_new(x).dict, v);
    return v.kind == J_STR ? v.s : NULL;
}

static struct jv is_filter(struct jx *x, struct jv v, const struct jargs *a)
{
    (void)a;
    const struct jstr *name = row_name(x, v);
    return jv_bool(name && jf_filter(name));
}

static struct jv is_test(struct jx *x, struct jv v, const struct jargs *a)
{
    (void)a;
    const struct jstr *name = row_name(x, v);
    return jv_bool(name && jf_find(&jf_tests, name));
}

static const struct jrow rows[] = {
    {"!=", is_ne, 1, {"other"}},
    {"<", is_lt, 1, {"other"}},
    {"<=", is_le, 1, {"other"}},
    {"==", is_eq, 1, {"other"}},
    {">", is_gt, 1, {"other"}},
    {">=", is_ge, 1, {"other"}},
    {"boolean", is_boolean, 0, {NULL}},
    {"callable", is_callable, 0, {NULL}},
    {"defined", is_defined, 0, {NULL}},
    {"divisibleby", is_divisibleby, 1, {"num"}},
    {"eq", is_eq, 1, {"other"}},
    {"equalto", is_eq, 1, {"other"}},
    {"escaped", is_escaped, 0, {NULL}},
    {"even", is_even, 0, {NULL}},
    {"false", is_false, 0, {NULL}},
    {"filter", is_filter, 0, {NULL}},
    {"float", is_float, 0, {NULL}},
    {"ge", is_ge, 1, {"other"}},
    {"greaterthan", is_gt, 1, {"other"}},
    {"gt", is_gt, 1, {"other"}},
    {"in", is_in, 1, {"seq"}},
    {"integer", is_integer, 0, {NULL}},
    {"iterable", is_iterable, 0, {NULL}},
    {"le", is_le, 1, {"other"}},
    {"lessthan", is_lt, 1, {"other"}},
    {"lower", is_lower, 0, {NULL}},
    {"lt", is_lt, 1, {"other"}},
    {"mapping", is_mapping, 0, {NULL}},
    {"ne", is_ne, 1, {"other"}},
    {"none", is_none, 0, {NULL}},
    {"number", is_number, 0, {NULL}},
    {"odd", is_odd, 0, {NULL}},
    {"sameas", is_sameas, 1, {"other"}},
    {"sequence", is_sequence, 0, {NULL}},
    {"string", is_string, 0, {NULL}},
    {"test", is_test, 0, {NULL}},
    {"true", is_true, 0, {NULL}},
    {"undefined", is_undefined, 0, {NULL}},
    {"upper", is_upper, 0, {NULL}},
};

const struct jtable jf_tests = JTABLE(rows);
