/*
 * jinja_loop.c: the tag `for` and the variable `loop`.
 *
 * Items are taken one by one and filtered as they are taken, so that a filter sees what the body
 * did before; looking ahead (loop.last, loop.nextitem) takes one item early, loop.length takes all
 * that are left when they cannot be counted. As in Jinja, `else` runs when no turn of the body came
 * to its end: also when the first one left by break.
 */
#include "jinja/jinja_impl.h"

#include <assert.h>

struct jloop {
    const struct jnode *node;
    struct jscope *outer; /* where the loop stands */
    struct jv source;
    struct jiter it;
    bool filters;              /* node->c is still to be applied to what `it` gives */
    struct jv before, current; /* J_MISSING: there is none */
    struct jv ahead;           /* taken early; J_MISSING: not taken, or none */
    bool at_end;               /* `it` has no more */
    int64_t index0;
    int64_t length; /* -1: not known yet */
    int64_t depth0;
    struct jv changed; /* what loop.changed() saw last */
};

static const struct jv missing = {.kind = J_MISSING};

/* Does the filter of the loop let the item through? */
static bool passes(struct jx *x, const struct jloop *l, struct jv item)
{
    if (!l->filters) return true;
    struct jscope *const inner = x->scope;
    jscope_push(x, l->outer);
    jexec_assign(x, l->node->a, item);
    const bool pass = jv_truth(jeval(x, l->node->c));
    x->scope = inner;
    return pass;
}

static struct jv fetch(struct jx *x, struct jloop *l)
{
    struct jv item;
    while (!l->at_end && jv_next(x, &l->it, &item)) {
        if (passes(x, l, item)) return item;
    }
    l->at_end = true;
    return missing;
}

static struct jv peek(struct jx *x, struct jloop *l)
{
    if (l->ahead.kind == J_MISSING) l->ahead = fetch(x, l);
    return l->ahead;
}

static bool advance(struct jx *x, struct jloop *l)
{
    const struct jv item = peek(x, l);
    l->ahead = missing;
    if (item.kind == J_MISSING) return false;
    l->before = l->current;
    l->current = item;
    l->index0++;
    return true;
}

static int64_t length(struct jx *x, struct jloop *l)
{
    size_t n;
    if (l->length >= 0) return l->length;
    if (!l->node->c && jv_len(l->source, &n)) return l->length = (int64_t)n;
    const struct jv rest = jv_list(x, J_LIST, 0);
    for (struct jv item; (item = fetch(x, l)).kind != J_MISSING;) jv_push(x, rest, item);
    l->length = (int64_t)rest.list->n + l->index0 + 1 + (l->ahead.kind != J_MISSING);
    assert(l->length > l->index0);
    l->it = jv_iter(x, rest);
    l->filters = l->at_end = false;
    return l->length;
}

static enum jflow run(struct jx *x, const struct jnode *n, struct jv source, struct jscope *outer,
                      int64_t depth0)
{
    assert(n->kind == N_FOR);
    struct jloop *l = jx_alloc(x, sizeof *l);
    *l = (struct jloop){.node = n, .outer = outer, .source = source, .filters = n->c != NULL};
    l->it = jv_iter(x, source);
    l->index0 = l->length = -1;
    l->depth0 = depth0;
    struct jscope *const back = x->scope, *const scope = jscope_push(x, outer);
    enum jflow flow = FLOW_ON;
    bool some = false;
    while (flow != FLOW_BREAK && advance(x, l)) {
        scope->n = 0; /* each turn starts anew */
        jexec_assign(x, n->a, l->current);
        jscope_set(x, scope, SYM_LOOP, (struct jv){.kind = J_LOOP, .loop = l});
        flow = jexec(x, n->body);
        some = some || flow == FLOW_ON;
    }
    flow = FLOW_ON;
    if (!some && n->other) {
        jscope_push(x, outer);
        flow = jexec(x, n->other); /* break in here is the outer loop's */
    }
    x->scope = back;
    return flow;
}

enum jflow jl_for(struct jx *x, const struct jnode *n)
{
    const struct jv source = jeval(x, n->b);
    x->line = n->line;
    return run(x, n, source, x->scope, 0);
}

/* loop(items): the body again for items that are deeper. */
struct jv jl_call(struct jx *x, struct jv loop, const struct jargs *a)
{
    assert(loop.kind == J_LOOP);
    const struct jloop *l = loop.loop;
    if (!l->node->op) jx_fail(x, "a loop that is called needs the word 'recursive' in its tag");
    if (a->n != 1 || a->n_kw > 0) jx_fail(x, "loop() takes one argument, the items");
    struct jbuf b = {0}, *const outer = x->text;
    jx_down(x);
    x->text = &b;
    run(x, l->node, a->v[0], l->outer, l->depth0 + 1);
    x->text = outer;
    jx_up(x);
    return jv_str(jb_end(x, &b));
}

/* ---- attributes of `loop` -------------------------------------------------------------------- */

static struct jv loop_cycle(struct jx *x, struct jv self, const struct jargs *a)
{
    if (a->n == 0) jx_fail(x, "loop.cycle() takes the values to go through");
    return a->v[(size_t)self.loop->index0 % a->n];
}

static struct jv loop_changed(struct jx *x, struct jv self, const struct jargs *a)
{
    const struct jv now = jv_list(x, J_TUPLE, a->n);
    for (size_t i = 0; i < a->n; i++) jv_push(x, now, a->v[i]);
    if (self.loop->changed.kind != J_MISSING && jv_equal(x, self.loop->changed, now))
        return jv_bool(false);
    self.loop->changed = now;
    return jv_bool(true);
}

static struct jv or_undef(struct jx *x, struct jv v, const char *hint)
{
    return v.kind == J_MISSING ? jv_undef(x, NULL, NULL, hint) : v;
}

#define ATTR(name, value)                                                                          \
    static struct jv name(struct jx *x, struct jloop *l)                                           \
    {                                                                                              \
        (void)x;                                                                                   \
        return value;                                                                              \
    }

ATTR(get_index, jv_int(l->index0 + 1))
ATTR(get_index0, jv_int(l->index0))
ATTR(get_first, jv_bool(l->index0 == 0))
ATTR(get_last, jv_bool(peek(x, l).kind == J_MISSING))
ATTR(get_length, jv_int(length(x, l)))
ATTR(get_revindex, jv_int(length(x, l) - l->index0))
ATTR(get_revindex0, jv_int(length(x, l) - l->index0 - 1))
ATTR(get_previtem, or_undef(x, l->before, "there is no previous item"))
ATTR(get_nextitem, or_undef(x, peek(x, l), "there is no next item"))
ATTR(get_depth, jv_int(l->depth0 + 1))
ATTR(get_depth0, jv_int(l->depth0))

static const struct {
    const char *name;
    struct jv (*get)(struct jx *x, struct jloop *l);
} attrs[] = {
    {"index", get_index},         {"index0", get_index0},     {"first", get_first},
    {"last", get_last},           {"length", get_length},     {"revindex", get_revindex},
    {"revindex0", get_revindex0}, {"previtem", get_previtem}, {"nextitem", get_nextitem},
    {"depth", get_depth},         {"depth0", get_depth0},
};
static const struct jrow method_rows[] = {
    {"cycle", loop_cycle, AS_GIVEN, {NULL}},
    {"changed", loop_changed, AS_GIVEN, {NULL}},
};
static const struct jtable methods = JTABLE(method_rows);

struct jv jl_attr(struct jx *x, struct jv loop, const struct jstr *name)
{
    for (size_t i = 0; i < sizeof attrs / sizeof *attrs; i++) {
        if (js_is(name, attrs[i].name)) return attrs[i].get(x, loop.loop);
    }
    const struct jrow *row = jf_find(&methods, name);
    return row ? jf_bound(x, row, loop) : missing;
}
