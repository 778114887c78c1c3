/*
 * jinja_eval.c: the value of an expression.
 *
 * A walk over the tree. `and`, `or` and `if` evaluate only what they need; comparisons chain. Names
 * are looked up in the scopes from the innermost outwards, then among the variables of the render,
 * then among the functions of the language; what is nowhere is undefined, which is no error until
 * something is done with it.
 */
#include "jinja/jinja_impl.h"

#include <assert.h>

void jx_fail_row(struct jx *x, const struct jnode *n)
{
    x->line = n->line;
    jx_fail(x, "there is no %s '%.*s'", n->kind == N_FILTER ? "filter" : "test",
            (int)(n->name->n < 100 ? n->name->n : 100), n->name->s);
}

static struct jv eval_name(struct jx *x, const struct jnode *n)
{
    const struct jv v = jscope_get(x, n->sym);
    return v.kind == J_MISSING ? jv_undef(x, n->name, NULL, NULL) : v;
}

static struct jv eval_items(struct jx *x, const struct jnode *n)
{
    const struct jv list = jv_list(x, n->kind == N_LIST ? J_LIST : J_TUPLE, 0);
    for (const struct jnode *item = n->a; item; item = item->next) jv_push(x, list, jeval(x, item));
    return list;
}

static struct jv eval_dict(struct jx *x, const struct jnode *n)
{
    const struct jv dict = jd_new(x);
    for (const struct jnode *key = n->a; key; key = key->next->next) {
        const struct jv k = jeval(x, key);
        jd_set(x, dict.dict, k, jeval(x, key->next));
    }
    return dict;
}

static struct jv eval_slice(struct jx *x, const struct jnode *n)
{
    const struct jv v = jeval(x, n->a);
    struct jv part[3];
    const struct jnode *p = n->b;
    for (int i = 0; i < 3; i++, p = p->next) part[i] = jeval(x, p);
    x->line = n->line;
    return jo_slice(x, v, part);
}

static struct jv eval_call(struct jx *x, const struct jnode *n)
{
    const struct jv f = jeval(x, n->a);
    const struct jargs a = jf_args(x, n->b);
    x->line = n->line;
    return jv_call(x, f, &a);
}

static struct jv eval_row(struct jx *x, const struct jnode *n)
{
    if (!n->row) jx_fail_row(x, n);
    const struct jv self = jeval(x, n->a);
    const struct jargs a = jf_args(x, n->b);
    x->line = n->line;
    return jf_call(x, n->row, self, &a);
}

static struct jv eval_positive(struct jx *x, const struct jnode *n)
{
    const struct jv v = jeval(x, n->a);
    if (v.kind == J_UNDEF) jv_fail_undef(x, v);
    if (!jv_is_number(v)) jx_fail(x, "bad operand type for unary +: '%s'", jv_type(v));
    return v.kind == J_BOOL ? jv_int(v.b) : v;
}

static struct jv eval_cond(struct jx *x, const struct jnode *n)
{
    if (jv_truth(jeval(x, n->a))) return jeval(x, n->b);
    if (n->c) return jeval(x, n->c);
    return jv_undef(x, NULL, NULL, "an inline if without else was false; it has no value");
}

/* a < b < c is (a < b and b < c), with b evaluated once. */
static struct jv eval_compare(struct jx *x, const struct jnode *n)
{
    struct jv left = jeval(x, n->a);
    assert(n->b);
    for (const struct jnode *operand = n->b; operand; operand = operand->next) {
        const struct jv right = jeval(x, operand->a);
        x->line = operand->line;
        if (!jv_relation(x, operand->op, left, right)) return jv_bool(false);
        left = right;
    }
    return jv_bool(true);
}

static struct jv eval_binary(struct jx *x, const struct jnode *n)
{
    const struct jv a = jeval(x, n->a), b = jeval(x, n->b);
    x->line = n->line;
    return jo_binary(x, n->op, a, b);
}

static struct jv eval_concat(struct jx *x, const struct jnode *n)
{
    struct jbuf b = {0};
    for (const struct jnode *part = n->a; part; part = part->next) jv_print(x, &b, jeval(x, part));
    return jv_str(jb_end(x, &b));
}

/* `and` and `or` give one of their operands. */
static struct jv eval_logic(struct jx *x, const struct jnode *n)
{
    const struct jv a = jeval(x, n->a);
    return jv_truth(a) == (n->kind == N_OR) ? a : jeval(x, n->b);
}

static struct jv eval_kind(struct jx *x, const struct jnode *n)
{
    switch (n->kind) {
    case N_CONST:
        return n->value;
    case N_NAME:
        return eval_name(x, n);
    case N_LIST:
    case N_TUPLE:
        return eval_items(x, n);
    case N_DICT:
        return eval_dict(x, n);
    case N_ATTR:
        return jo_attr(x, jeval(x, n->a), n->name);
    case N_ITEM: {
        const struct jv v = jeval(x, n->a);
        return jo_item(x, v, jeval(x, n->b));
    }
    case N_SLICE:
        return eval_slice(x, n);
    case N_CALL:
        return eval_call(x, n);
    case N_FILTER:
    case N_TEST:
        return eval_row(x, n);
    case N_NOT:
        return jv_bool(!jv_truth(jeval(x, n->a)));
    case N_NEG:
        return jo_negate(x, jeval(x, n->a));
    case N_POS:
        return eval_positive(x, n);
    case N_AND:
    case N_OR:
        return eval_logic(x, n);
    case N_COND:
        return eval_cond(x, n);
    case N_COMPARE:
        return eval_compare(x, n);
    case N_BINARY:
        return eval_binary(x, n);
    case N_CONCAT:
        return eval_concat(x, n);
    default:
        break;
    }
    assert(n->kind == N_HOLE);
    return *x->hole;
}

struct jv jeval(struct jx *x, const struct jnode *n)
{
    assert(n);
    jx_step(x, 1);
    jx_down(x);
    x->line = n->line;
    const struct jv v = eval_kind(x, n);
    assert(v.kind != J_MISSING);
    jx_up(x);
    return v;
}
