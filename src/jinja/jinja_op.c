/*
 * jinja_op.c: the arithmetic operators, with Python's results: / gives a float, // and % round
 * towards minus infinity, booleans count as 0 and 1, strings and lists are added and repeated.
 *
 * Integers have 64 bits; where Python's would grow, an error says so. What is computed from data is
 * data.
 */
#include "jinja/jinja_value.h"

#include <assert.h>
#include <math.h>

static const char *const op_names[] = {
    [OP_ADD] = "+",       [OP_SUB] = "-", [OP_MUL] = "*",  [OP_DIV] = "/",
    [OP_FLOORDIV] = "//", [OP_MOD] = "%", [OP_POW] = "**",
};

_Noreturn static void fail_types(struct jx *x, enum jop op, struct jv a, struct jv b)
{
    if (a.kind == J_UNDEF) jv_fail_undef(x, a);
    if (b.kind == J_UNDEF) jv_fail_undef(x, b);
    jx_fail(x, "unsupported operand types for %s: '%s' and '%s'", op_names[op], jv_type(a),
            jv_type(b));
}

_Noreturn static void fail_overflow(struct jx *x, enum jop op)
{
    jx_fail(x, "the result of %s does not fit into 64 bits", op_names[op]);
}

/* ---- numbers --------------------------------------------------------------------------------- */

/* Quotient and remainder with the sign of b. */
static void int_divmod(struct jx *x, enum jop op, int64_t a, int64_t b, int64_t *q, int64_t *r)
{
    if (b == 0) jx_fail(x, "division by zero");
    if (a == INT64_MIN && b == -1) fail_overflow(x, op);
    *q = a / b;
    *r = a % b;
    if (*r != 0 && (*r < 0) != (b < 0)) {
        *r += b;
        --*q;
    }
}

int64_t jo_mod(struct jx *x, int64_t a, int64_t b)
{
    int64_t q, r;
    int_divmod(x, OP_MOD, a, b, &q, &r);
    return r;
}

static void float_divmod(struct jx *x, double a, double b, double *q, double *r)
{
    if (b == 0) jx_fail(x, "division by zero");
    *r = fmod(a, b);
    *q = (a - *r) / b;
    if (*r == 0) {
        *r = copysign(0.0, b);
    } else if ((b < 0) != (*r < 0)) {
        *r += b;
        *q -= 1;
    }
    const double down = floor(*q);
    *q = *q == 0 ? copysign(0.0, a / b) : *q - down > 0.5 ? down + 1 : down;
}

static struct jv int_pow(struct jx *x, int64_t base, int64_t power)
{
    int64_t v = 1;
    assert(power >= 0);
    for (bool square = false;; square = true) {
        if (square && __builtin_mul_overflow(base, base, &base)) fail_overflow(x, OP_POW);
        if (power % 2 == 1 && __builtin_mul_overflow(v, base, &v)) fail_overflow(x, OP_POW);
        power /= 2;
        if (power == 0) return jv_int(v);
    }
}

static struct jv float_pow(struct jx *x, double a, double b)
{
    if (a == 0 && b < 0) jx_fail(x, "0.0 cannot be raised to a negative power");
    if (a < 0 && isfinite(a) && isfinite(b) && b != floor(b))
        jx_fail(x, "a negative number cannot be raised to a fractional power");
    const double v = pow(a, b);
    if (isinf(v) && isfinite(a) && isfinite(b)) jx_fail(x, "the result of ** is too large");
    return jv_float(v);
}

static struct jv int_op(struct jx *x, enum jop op, int64_t a, int64_t b)
{
    int64_t v = 0, rest;
    bool overflow = false;
    switch (op) {
    case OP_ADD:
        overflow = __builtin_add_overflow(a, b, &v);
        break;
    case OP_SUB:
        overflow = __builtin_sub_overflow(a, b, &v);
        break;
    case OP_MUL:
        overflow = __builtin_mul_overflow(a, b, &v);
        break;
    case OP_FLOORDIV:
        int_divmod(x, op, a, b, &v, &rest);
        break;
    case OP_MOD:
        int_divmod(x, op, a, b, &rest, &v);
        break;
    case OP_DIV:
        if (b == 0) jx_fail(x, "division by zero");
        return jv_float((double)a / (double)b);
    case OP_POW:
        return b >= 0 ? int_pow(x, a, b) : float_pow(x, (double)a, (double)b);
    }
    if (overflow) fail_overflow(x, op);
    return jv_int(v);
}

static struct jv float_op(struct jx *x, enum jop op, double a, double b)
{
    double q, r;
    switch (op) {
    case OP_ADD:
        return jv_float(a + b);
    case OP_SUB:
        return jv_float(a - b);
    case OP_MUL:
        return jv_float(a * b);
    case OP_DIV:
        if (b == 0) jx_fail(x, "float division by zero");
        return jv_float(a / b);
    case OP_POW:
        return float_pow(x, a, b);
    case OP_FLOORDIV:
    case OP_MOD:
        break;
    }
    float_divmod(x, a, b, &q, &r);
    return jv_float(op == OP_MOD ? r : q);
}

struct jv jo_negate(struct jx *x, struct jv v)
{
    int64_t i;
    struct jv out;
    if (jv_to_int(v, &i)) {
        if (i == INT64_MIN) fail_overflow(x, OP_SUB);
        out = jv_int(-i);
    } else if (v.kind == J_FLOAT) {
        out = jv_float(-v.f);
    } else {
        if (v.kind == J_UNDEF) jv_fail_undef(x, v);
        jx_fail(x, "bad operand type for unary -: '%s'", jv_type(v));
    }
    out.data = v.data;
    return out;
}

/* ---- strings and lists ----------------------------------------------------------------------- */

static struct jv concat(struct jx *x, const struct jstr *a, const struct jstr *b)
{
    const bool safe = a->safe || b->safe; /* markup escapes what it is joined with */
    struct jbuf out = {0};
    jb_str(x, &out, safe ? js_escape(x, a) : a);
    jb_str(x, &out, safe ? js_escape(x, b) : b);
    return jv_str(js_safe(x, jb_end(x, &out), safe));
}

static struct jv join_lists(struct jx *x, struct jv a, struct jv b)
{
    struct jv out = jv_list(x, a.kind, a.list->n + b.list->n);
    for (size_t i = 0; i < a.list->n; i++) jv_push(x, out, a.list->v[i]);
    for (size_t i = 0; i < b.list->n; i++) jv_push(x, out, b.list->v[i]);
    jx_step(x, out.list->n);
    out.data = a.data || b.data;
    return out;
}

static bool is_list(struct jv v)
{
    return v.kind == J_LIST || v.kind == J_TUPLE;
}

static struct jv repeat(struct jx *x, struct jv v, int64_t count)
{
    assert(v.kind == J_STR || is_list(v));
    const size_t n = count > 0 ? (size_t)count : 0;
    if (v.kind == J_STR) {
        struct jbuf b = {0};
        jb_pad(x, &b, v.s, n);
        return jv_str(js_safe(x, jb_end(x, &b), v.s->safe));
    }
    struct jv out = jv_list(x, v.kind, 0);
    out.data = v.data;
    for (size_t k = 0; k < n && v.list->n > 0; k++) {
        jx_step(x, v.list->n);
        for (size_t i = 0; i < v.list->n; i++) jv_push(x, out, v.list->v[i]);
    }
    return out;
}

struct jv jo_binary(struct jx *x, enum jop op, struct jv a, struct jv b)
{
    int64_t i, k;
    if (jv_is_number(a) && jv_is_number(b)) {
        struct jv v = jv_to_int(a, &i) && jv_to_int(b, &k)
                          ? int_op(x, op, i, k)
                          : float_op(x, op, jv_to_float(a), jv_to_float(b));
        v.data = a.data || b.data;
        return v;
    }
    if (op == OP_ADD && a.kind == J_STR && b.kind == J_STR) return concat(x, a.s, b.s);
    if (op == OP_ADD && is_list(a) && a.kind == b.kind) return join_lists(x, a, b);
    if (op == OP_MUL && (a.kind == J_STR || is_list(a)) && jv_to_int(b, &k)) return repeat(x, a, k);
    if (op == OP_MUL && (b.kind == J_STR || is_list(b)) && jv_to_int(a, &i)) return repeat(x, b, i);
    if (op == OP_MOD && a.kind == J_STR) return jv_str(jo_percent(x, a.s, b));
    fail_types(x, op, a, b);
}
