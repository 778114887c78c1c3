/*
 * jinja_exec.c: runs the tags of a template: output, conditions, assignments, scopes.
 *
 * A scope is a short list of names and values with a link to the one around it. Loops, macros,
 * blocks, `with` and the bodies of block assignments have one; `if` has none. An assignment goes to
 * the innermost scope, so it is gone when that ends; namespaces are there to carry values out.
 *
 * Not as Jinja 3.1: a variable of the render that an outer scope sets further down keeps its value
 * in the scopes before that; there it is undefined in them, as a side effect of being compiled.
 */
#include "jinja/jinja_impl.h"

#include <assert.h>
#include <string.h>

/* ---- scopes ---------------------------------------------------------------------------------- */

struct jscope *jscope_push(struct jx *x, struct jscope *up)
{
    struct jscope *s = jx_alloc(x, sizeof *s);
    s->up = up;
    x->scope = s;
    return s;
}

void jscope_set(struct jx *x, struct jscope *s, uint32_t sym, struct jv v)
{
    assert(s && s->n <= s->cap);
    jx_scan(x, s->n);
    for (uint32_t i = 0; i < s->n; i++) {
        if (s->bind[i].sym != sym) continue;
        s->bind[i].v = v;
        return;
    }
    if (s->n == s->cap) {
        const uint32_t cap = s->cap ? 2 * s->cap : 4;
        void *bind = jx_array(x, cap, sizeof *s->bind);
        if (s->n) memcpy(bind, s->bind, s->n * sizeof *s->bind);
        s->bind = bind;
        s->cap = cap;
    }
    s->bind[s->n].sym = sym;
    s->bind[s->n++].v = v;
}

struct jv jscope_get(struct jx *x, uint32_t sym)
{
    for (const struct jscope *s = x->scope; s; s = s->up) {
        jx_scan(x, s->n);
        for (uint32_t i = 0; i < s->n; i++) {
            if (s->bind[i].sym == sym) return s->bind[i].v;
        }
    }
    return x->global[sym];
}

/* ---- assignment ------------------------------------------------------------------------------ */

static void unpack(struct jx *x, const struct jnode *targets, struct jv v)
{
    struct jv item;
    if (!jv_iterable(v)) jx_fail(x, "cannot unpack a value of type %s", jv_type(v));
    struct jiter it = jv_iter(x, v);
    for (const struct jnode *t = targets; t; t = t->next) {
        if (!jv_next(x, &it, &item)) jx_fail(x, "not enough values to unpack");
        jexec_assign(x, t, item);
    }
    if (jv_next(x, &it, &item)) jx_fail(x, "too many values to unpack");
}

void jexec_assign(struct jx *x, const struct jnode *target, struct jv v)
{
    if (target->kind == N_NAME) {
        jscope_set(x, x->scope, target->sym, v);
    } else if (target->kind == N_TUPLE) {
        unpack(x, target->a, v);
    } else {
        assert(target->kind == N_NSREF);
        const struct jv space = jscope_get(x, target->sym);
        x->line = target->line;
        if (space.kind != J_SPACE) jx_fail(x, "cannot set an attribute of what is no namespace");
        jd_set(x, space.dict, jv_str(target->name), v);
    }
}

/* ---- tags ------------------------------------------------------------------------------------ */

enum jflow jexec_text(struct jx *x, const struct jnode *body, const struct jstr **text)
{
    assert(text);
    struct jbuf b = {0}, *const outer = x->text;
    x->text = &b;
    const enum jflow flow = jexec(x, body);
    x->text = outer;
    *text = jb_end(x, &b);
    return flow;
}

static enum jflow exec_scope(struct jx *x, const struct jnode *body, struct jscope *up)
{
    struct jscope *const outer = x->scope;
    jscope_push(x, up);
    const enum jflow flow = jexec(x, body);
    x->scope = outer;
    return flow;
}

static enum jflow exec_if(struct jx *x, const struct jnode *n)
{
    for (const struct jnode *branch = n->a; branch; branch = branch->next) {
        if (!branch->a || jv_truth(jeval(x, branch->a))) return jexec(x, branch->body);
    }
    return FLOW_ON;
}

/* {% set v %}...{% endset %} and {% filter f %}...{% endfilter %} */
static enum jflow exec_block(struct jx *x, const struct jnode *n)
{
    struct jscope *const outer = x->scope;
    struct jv *const outer_hole = x->hole;
    const struct jstr *text;
    jscope_push(x, outer);
    const enum jflow flow = jexec_text(x, n->body, &text);
    if (flow == FLOW_ON) {
        struct jv v = jv_str(text);
        x->hole = &v;
        if (n->b) v = jeval(x, n->b);
        x->hole = outer_hole;
        x->scope = outer;
        if (n->kind == N_CAPTURE) {
            jexec_assign(x, n->a, v);
        } else {
            jv_print(x, x->text, v);
        }
    }
    x->scope = outer;
    return flow;
}

static enum jflow exec_with(struct jx *x, const struct jnode *n)
{
    struct jscope *const outer = x->scope, *const inner = jscope_push(x, outer);
    for (const struct jnode *set = n->a; set; set = set->next) {
        x->scope = outer; /* what is assigned here is not seen by the values behind it */
        const struct jv v = jeval(x, set->b);
        x->scope = inner;
        jexec_assign(x, set->a, v);
    }
    x->scope = inner;
    const enum jflow flow = jexec(x, n->body);
    x->scope = outer;
    return flow;
}

static struct jv macro_value(struct jx *x, const struct jnode *n)
{
    struct jmacro *m = jx_alloc(x, sizeof *m);
    *m = (struct jmacro){.node = n, .scope = x->scope};
    return (struct jv){.kind = J_MACRO, .macro = m};
}

/* {% call f(x) %}...{% endcall %}: the body is a macro, which f gets as the argument `caller`. */
static void exec_caller(struct jx *x, const struct jnode *n)
{
    const struct jv caller = macro_value(x, n->b), f = jeval(x, n->a->a);
    struct jargs a = jf_args(x, n->a->b);
    struct jkw *kw = jx_array(x, a.n_kw + 1, sizeof *kw);
    if (a.n_kw) memcpy(kw, a.kw, a.n_kw * sizeof *kw);
    kw[a.n_kw++] = (struct jkw){.name = js_own(x, "caller"), .v = caller};
    a.kw = kw;
    x->line = n->line;
    jv_print(x, x->text, jv_call(x, f, &a));
}

static enum jflow exec_node(struct jx *x, const struct jnode *n)
{
    switch (n->kind) {
    case N_TEXT:
        jb_str(x, x->text, n->value.s);
        break;
    case N_PRINT:
        jv_print(x, x->text, jeval(x, n->a));
        break;
    case N_SET:
        jexec_assign(x, n->a, jeval(x, n->b));
        break;
    case N_MACRO:
        jscope_set(x, x->scope, n->sym, macro_value(x, n));
        break;
    case N_CALLER:
        exec_caller(x, n);
        break;
    case N_IF:
        return exec_if(x, n);
    case N_FOR:
        return jl_for(x, n);
    case N_CAPTURE:
    case N_FILTERED:
        return exec_block(x, n);
    case N_WITH:
        return exec_with(x, n);
    case N_SCOPE:
        return exec_scope(x, n->body, n->op ? x->root : x->scope);
    case N_BREAK:
        return FLOW_BREAK;
    case N_CONTINUE:
        return FLOW_CONTINUE;
    default:
        assert(n->kind == N_REFUSED);
        jx_fail(x, "'%.*s' needs other templates, and a model has one", (int)n->name->n,
                n->name->s);
    }
    return FLOW_ON;
}

enum jflow jexec(struct jx *x, const struct jnode *n)
{
    assert(x->scope && x->text);
    enum jflow flow = FLOW_ON;
    jx_down(x);
    for (; n && flow == FLOW_ON; n = n->next) {
        jx_step(x, 1);
        x->line = n->line;
        flow = exec_node(x, n);
    }
    jx_up(x);
    return flow;
}
