/*
 * jinja_call.c: calls: arguments, macros, and the rows of the tables (filters, tests, functions,
 * methods), whose arguments are bound to the names in the row.
 */
#include "jinja/jinja_impl.h"

#include <assert.h>
#include <string.h>

/* ---- arguments ------------------------------------------------------------------------------- */

struct jargs jf_args(struct jx *x, const struct jnode *args)
{
    struct jv item;
    if (!args) return (struct jargs){0};
    const struct jv list = jv_list(x, J_LIST, 0), named = jd_new(x);
    for (const struct jnode *n = args; n; n = n->next) {
        const struct jv v = jeval(x, n->a);
        x->line = n->line;
        if (n->op == 1) {
            for (struct jiter it = jv_iter(x, v); jv_next(x, &it, &item);) jv_push(x, list, item);
        } else if (n->op == 2) {
            if (v.kind != J_DICT) jx_fail(x, "** is followed by a %s, expected a dict", jv_type(v));
            for (size_t i = 0; i < v.dict->n; i++)
                jd_set(x, named.dict, v.dict->e[i].key, v.dict->e[i].v);
        } else if (n->name) {
            jd_set(x, named.dict, jv_str(n->name), v);
        } else {
            jv_push(x, list, v);
        }
    }
    const size_t n_kw = named.dict->n;
    struct jkw *kw = n_kw ? jx_array(x, n_kw, sizeof *kw) : NULL;
    for (size_t i = 0; i < n_kw; i++) {
        const struct jentry *e = &named.dict->e[i];
        if (e->key.kind != J_STR) jx_fail(x, "the name of an argument is a %s", jv_type(e->key));
        kw[i] = (struct jkw){.name = e->key.s, .v = e->v};
    }
    return (struct jargs){.v = list.list->v, .n = list.list->n, .kw = kw, .n_kw = n_kw};
}

int64_t ja_int(struct jx *x, struct jv v, int64_t otherwise, const char *what)
{
    int64_t i;
    if (v.kind == J_MISSING) return otherwise;
    if (!jv_to_int(v, &i)) jx_fail(x, "%s is a %s, expected an int", what, jv_type(v));
    return i;
}

const struct jstr *ja_str(struct jx *x, struct jv v, const struct jstr *otherwise, const char *what)
{
    if (v.kind == J_MISSING) return otherwise;
    if (v.kind != J_STR) jx_fail(x, "%s is a %s, expected a string", what, jv_type(v));
    return v.s;
}

bool ja_true(struct jv v)
{
    return v.kind != J_MISSING && jv_truth(v);
}

/* ---- rows ------------------------------------------------------------------------------------ */

const struct jrow *jf_find(const struct jtable *t, const struct jstr *name)
{
    for (size_t i = 0; i < t->n; i++) {
        if (js_is(name, t->row[i].name)) return &t->row[i];
    }
    return NULL;
}

/* Where the parameter of that name stands, or n. */
static size_t param_index(const struct jrow *row, size_t n, const struct jstr *name)
{
    size_t i = 0;
    while (i < n && !js_is(name, row->params[i])) i++;
    return i;
}

static void bind(struct jx *x, const struct jrow *row, const struct jargs *a,
                 struct jv v[JPARAMS_MAX])
{
    size_t n = 0;
    while (n < JPARAMS_MAX && row->params[n]) n++;
    assert(row->n_min <= n);
    if (a->n > n) jx_fail(x, "%s takes at most %zu arguments, %zu were given", row->name, n, a->n);
    for (size_t i = 0; i < JPARAMS_MAX; i++)
        v[i] = i < a->n ? a->v[i] : (struct jv){.kind = J_MISSING};
    for (size_t i = 0; i < a->n_kw; i++) {
        const struct jstr *name = a->kw[i].name;
        const size_t at = param_index(row, n, name);
        const int n_shown = (int)(name->n < 60 ? name->n : 60);
        if (at == n) jx_fail(x, "%s has no argument '%.*s'", row->name, n_shown, name->s);
        if (v[at].kind != J_MISSING)
            jx_fail(x, "%s has two values for its argument '%.*s'", row->name, n_shown, name->s);
        v[at] = a->kw[i].v;
    }
    for (size_t i = 0; i < row->n_min; i++) {
        if (v[i].kind == J_MISSING)
            jx_fail(x, "%s needs %u arguments, the one at place %zu is missing", row->name,
                    row->n_min, i + 1);
    }
}

struct jv jf_bound(struct jx *x, const struct jrow *row, struct jv self)
{
    struct jfunc *f = jx_alloc(x, sizeof *f);
    *f = (struct jfunc){.row = row, .self = self};
    return (struct jv){.kind = J_FUNC, .func = f};
}

struct jv jf_later(struct jx *x, struct jlater call)
{
    const struct jv v = jv_list(x, J_ITER, 0);
    struct jlater *l = jx_alloc(x, sizeof *l);
    struct jv *args = jx_array(x, call.a.n, sizeof *args);
    if (call.a.n) memcpy(args, call.a.v, call.a.n * sizeof *args);
    *l = call;
    l->a.v = args;
    v.list->type = "generator";
    v.list->later = l;
    return v;
}

void jf_run_later(struct jx *x, struct jlist *l)
{
    const struct jlater *call = l->later;
    assert(call && l->n == 0);
    l->later = NULL;
    jx_down(x); /* an iterator of an iterator of ... */
    const struct jv items = call->fn(x, call->self, &call->a);
    jx_up(x);
    assert(items.kind == J_ITER);
    l->v = items.list->v;
    l->n = l->cap = items.list->n;
}

struct jv jf_call(struct jx *x, const struct jrow *row, struct jv self, const struct jargs *a)
{
    assert(row->fn);
    struct jv bound[JPARAMS_MAX];
    jx_step(x, 1);
    if (row->n_min == AS_GIVEN) return row->fn(x, self, a);
    bind(x, row, a, bound);
    return row->fn(x, self, &(struct jargs){.v = bound, .n = JPARAMS_MAX});
}

struct jv jv_call(struct jx *x, struct jv f, const struct jargs *a)
{
    switch (f.kind) {
    case J_FUNC:
        return jf_call(x, f.func->row, f.func->self, a);
    case J_MACRO:
        return jf_call_macro(x, f.macro, a);
    case J_LOOP:
        return jl_call(x, f, a);
    case J_UNDEF:
        jv_fail_undef(x, f);
    case J_JOINER: /* the separator, but nothing the first time */
        if (f.list->at++ > 0) return f.list->v[0];
        return jv_own(x, "");
    default:
        jx_fail(x, "'%s' object is not callable", jv_type(f));
    }
}

/* ---- macros ---------------------------------------------------------------------------------- */

/* What a call gave by names; an entry is taken at most once. */
struct named {
    const struct jargs *a;
    bool *taken; /* (a->n_kw) */
};

static struct jv take(struct jx *x, struct named *k, const struct jstr *name)
{
    for (size_t i = 0; i < k->a->n_kw; i++) {
        jx_step(x, 1);
        if (k->taken[i] || !js_eq(x, k->a->kw[i].name, name)) continue;
        k->taken[i] = true;
        return k->a->kw[i].v;
    }
    return (struct jv){.kind = J_MISSING};
}

static struct jv parameter(struct jx *x, const struct jnode *p, struct jv given)
{
    if (given.kind != J_MISSING) return given;
    if (p->a) return jeval(x, p->a);
    struct jbuf b = {0};
    jb_own(x, &b, "parameter '");
    jb_str(x, &b, p->name);
    jb_own(x, &b, "' was not provided");
    return jv_undef(x, p->name, NULL, jb_cstr(x, &b));
}

/* Arguments beyond the parameters: caller, kwargs and varargs where the macro uses them. */
static void set_rest(struct jx *x, const struct jmacro *m, struct named *k, size_t n_used)
{
    const struct jnode *n = m->node;
    const struct jv kwargs = jd_new(x), varargs = jv_list(x, J_TUPLE, 0);
    if (n->op & MACRO_CALLER) {
        struct jv caller = take(x, k, js_own(x, "caller"));
        if (caller.kind == J_MISSING) caller = jv_undef(x, NULL, NULL, "No caller defined");
        jscope_set(x, x->scope, SYM_CALLER, caller);
    }
    for (size_t i = 0; i < k->a->n_kw; i++) {
        const struct jkw *kw = &k->a->kw[i];
        if (k->taken[i]) continue;
        if (!(n->op & MACRO_KWARGS))
            jx_fail(x, "the macro takes no argument named '%.*s'",
                    (int)(kw->name->n < 60 ? kw->name->n : 60), kw->name->s);
        jd_set(x, kwargs.dict, jv_str(kw->name), kw->v);
    }
    for (size_t i = n_used; i < k->a->n; i++) jv_push(x, varargs, k->a->v[i]);
    if (varargs.list->n > 0 && !(n->op & MACRO_VARARGS))
        jx_fail(x, "the macro takes at most %zu arguments, %zu were given", n_used, k->a->n);
    if (n->op & MACRO_KWARGS) jscope_set(x, x->scope, SYM_KWARGS, kwargs);
    if (n->op & MACRO_VARARGS) jscope_set(x, x->scope, SYM_VARARGS, varargs);
}

struct jv jf_call_macro(struct jx *x, const struct jmacro *m, const struct jargs *a)
{
    struct jscope *const outer = x->scope;
    struct named k = {.a = a, .taken = jx_array(x, a->n_kw, sizeof *k.taken)};
    const struct jnode *p = m->node->a;
    size_t n_param = 0, i = 0;
    for (const struct jnode *q = p; q; q = q->next) n_param++;
    struct jv *given = jx_array(x, n_param, sizeof *given);
    for (; p; p = p->next, i++) given[i] = i < a->n ? a->v[i] : take(x, &k, p->name);
    jx_down(x);
    jscope_push(x, m->scope);
    set_rest(x, m, &k, n_param);
    for (p = m->node->a, i = 0; p; p = p->next, i++)
        jscope_set(x, x->scope, p->sym, parameter(x, p, given[i]));
    const struct jstr *text;
    jexec_text(x, m->node->body, &text);
    x->scope = outer;
    jx_up(x);
    return jv_str(text);
}
