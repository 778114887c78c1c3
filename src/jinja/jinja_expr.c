/*
 * jinja_expr.c: tokens to nodes: expressions, one function per level of precedence, from the
 * loosest (a if b else c) to the tightest (names, literals, brackets).
 *
 * As in Jinja, filters and tests bind tighter than arithmetic and looser than a sign: -1|abs is 1,
 * and ** groups from the left.
 */
#include "jinja/jinja_impl.h"

#include <assert.h>

static struct jnode *parse_unary(struct jparse *p, bool with_filter);

static struct jnode *node(struct jparse *p, enum jnode_kind kind, struct jnode *a, struct jnode *b)
{
    struct jnode *n = parse_new(p, kind);
    n->a = a;
    n->b = b;
    return n;
}

/* ---- literals and names ---------------------------------------------------------------------- */

static struct jnode *constant(struct jparse *p, struct jv v)
{
    struct jnode *n = parse_new(p, N_CONST);
    n->value = v;
    p->t++;
    return n;
}

static struct jnode *parse_name(struct jparse *p, bool as_target)
{
    const struct jstr *name = p->t->v.s;
    if (js_is(name, "true") || js_is(name, "True")) return constant(p, jv_bool(true));
    if (js_is(name, "false") || js_is(name, "False")) return constant(p, jv_bool(false));
    if (js_is(name, "none") || js_is(name, "None")) return constant(p, jv_none());
    if (js_is(name, "caller")) p->macro_use |= MACRO_CALLER;
    if (js_is(name, "kwargs")) p->macro_use |= MACRO_KWARGS;
    if (js_is(name, "varargs")) p->macro_use |= MACRO_VARARGS;
    struct jnode *n = parse_new(p, N_NAME);
    p->t++;
    n->name = name;
    n->sym = parse_symbol(p, name);
    if (as_target && parse_skip(p, T_DOT)) {
        n->kind = N_NSREF;
        n->name = parse_take(p, T_NAME).v.s;
    }
    return n;
}

static struct jnode *parse_strings(struct jparse *p)
{
    struct jbuf b = {0};
    struct jnode *n = parse_new(p, N_CONST);
    n->value = parse_take(p, T_STRING).v;
    if (p->t->kind != T_STRING) return n;
    jb_str(p->x, &b, n->value.s);
    while (p->t->kind == T_STRING) jb_str(p->x, &b, parse_take(p, T_STRING).v.s);
    n->value = jv_str(jb_end(p->x, &b));
    return n;
}

static struct jnode *parse_list(struct jparse *p)
{
    struct jnode *n = parse_new(p, N_LIST), **last = &n->a;
    parse_take(p, T_LBRACKET);
    while (p->t->kind != T_RBRACKET) {
        if (n->a) {
            parse_take(p, T_COMMA);
            if (p->t->kind == T_RBRACKET) break;
        }
        *last = parse_expr(p, true);
        last = &(*last)->next;
    }
    parse_take(p, T_RBRACKET);
    return n;
}

static struct jnode *parse_dict(struct jparse *p)
{
    struct jnode *n = parse_new(p, N_DICT), **last = &n->a;
    parse_take(p, T_LBRACE);
    while (p->t->kind != T_RBRACE) {
        if (n->a) {
            parse_take(p, T_COMMA);
            if (p->t->kind == T_RBRACE) break;
        }
        struct jnode *key = *last = parse_expr(p, true);
        parse_take(p, T_COLON);
        key->next = parse_expr(p, true);
        last = &key->next->next;
    }
    parse_take(p, T_RBRACE);
    return n;
}

static bool is_tuple_end(const struct jparse *p)
{
    return p->t->kind == T_VAR_END || p->t->kind == T_BLOCK_END || p->t->kind == T_RPAREN;
}

struct jnode *parse_tuple(struct jparse *p, bool with_cond)
{
    if (is_tuple_end(p)) parse_fail(p, "an expression");
    struct jnode *first = parse_expr(p, with_cond);
    if (p->t->kind != T_COMMA) return first;
    struct jnode *n = node(p, N_TUPLE, first, NULL), **last = &first->next;
    while (parse_skip(p, T_COMMA) && !is_tuple_end(p)) {
        *last = parse_expr(p, with_cond);
        last = &(*last)->next;
    }
    return n;
}

static struct jnode *parse_parens(struct jparse *p)
{
    parse_take(p, T_LPAREN);
    if (p->t->kind == T_RPAREN) {
        struct jnode *empty = parse_new(p, N_TUPLE);
        p->t++;
        return empty;
    }
    struct jnode *n = parse_tuple(p, true);
    parse_take(p, T_RPAREN);
    return n;
}

struct jnode *parse_primary(struct jparse *p, bool as_target)
{
    p->x->line = p->t->line;
    switch (p->t->kind) {
    case T_NAME:
        return parse_name(p, as_target);
    case T_STRING:
        return parse_strings(p);
    case T_INT:
    case T_FLOAT:
        return constant(p, p->t->v);
    case T_LPAREN:
        return parse_parens(p);
    case T_LBRACKET:
        return parse_list(p);
    case T_LBRACE:
        return parse_dict(p);
    default:
        parse_fail(p, "an expression");
    }
}

/* ---- subscripts, calls, filters, tests ------------------------------------------------------- */

/* One bound of a slice, or the constant none where it is left out. */
static struct jnode *parse_bound(struct jparse *p)
{
    if (p->t->kind != T_COLON && p->t->kind != T_RBRACKET) return parse_expr(p, true);
    struct jnode *n = parse_new(p, N_CONST);
    n->value = jv_none();
    return n;
}

static struct jnode *parse_brackets(struct jparse *p, struct jnode *of)
{
    parse_take(p, T_LBRACKET);
    const bool empty = p->t->kind == T_RBRACKET; /* v[] is v[()], which is nothing */
    struct jnode *from = empty ? parse_new(p, N_TUPLE) : parse_bound(p);
    if (p->t->kind == T_COLON) {
        struct jnode *n = node(p, N_SLICE, of, from);
        p->t++;
        from->next = parse_bound(p);
        parse_skip(p, T_COLON);
        from->next->next = parse_bound(p);
        parse_take(p, T_RBRACKET);
        return n;
    }
    if (p->t->kind == T_COMMA) { /* v[1, 2]: the key is a tuple */
        struct jnode **last = &from->next;
        from = node(p, N_TUPLE, from, NULL);
        while (parse_skip(p, T_COMMA)) {
            *last = parse_expr(p, true);
            last = &(*last)->next;
        }
    }
    struct jnode *n = node(p, N_ITEM, of, from);
    parse_take(p, T_RBRACKET);
    return n;
}

static struct jnode *parse_dot(struct jparse *p, struct jnode *of)
{
    struct jnode *n = node(p, N_ATTR, of, NULL);
    parse_take(p, T_DOT);
    if (p->t->kind == T_INT) { /* v.0 is v[0] */
        n->kind = N_ITEM;
        n->b = constant(p, p->t->v);
    } else {
        n->name = parse_take(p, T_NAME).v.s;
    }
    return n;
}

/* One argument; *stage says how far the order positional, named or *, ** has come. */
static struct jnode *parse_arg(struct jparse *p, int *stage)
{
    struct jnode *n = parse_new(p, N_ARG);
    const bool has_name = p->t->kind == T_NAME && p->t[1].kind == T_ASSIGN;
    const int here = p->t->kind == T_POW ? 3 : p->t->kind == T_MUL ? 2 : has_name ? 1 : 0;
    if (*stage == 3 || (here == 0 && *stage > 0) || (here == 2 && *stage == 2))
        parse_fail(p, "positional arguments before named ones, then *, then **");
    if (here == 1) {
        n->name = p->t->v.s;
        p->t += 2;
    } else if (here > 1) {
        n->op = (uint8_t)(here - 1);
        p->t++;
    }
    if (here > *stage) *stage = here;
    n->a = parse_expr(p, true);
    return n;
}

static struct jnode *parse_args(struct jparse *p)
{
    struct jnode *first = NULL, **last = &first;
    int stage = 0;
    parse_take(p, T_LPAREN);
    while (p->t->kind != T_RPAREN) {
        if (first) {
            parse_take(p, T_COMMA);
            if (p->t->kind == T_RPAREN) break;
        }
        *last = parse_arg(p, &stage);
        last = &(*last)->next;
    }
    parse_take(p, T_RPAREN);
    return first;
}

static struct jnode *parse_call(struct jparse *p, struct jnode *of)
{
    struct jnode *n = node(p, N_CALL, of, NULL);
    n->b = parse_args(p);
    return n;
}

static struct jnode *parse_postfix(struct jparse *p, struct jnode *n)
{
    for (;;) {
        if (p->t->kind == T_DOT) {
            n = parse_dot(p, n);
        } else if (p->t->kind == T_LBRACKET) {
            n = parse_brackets(p, n);
        } else if (p->t->kind == T_LPAREN) {
            n = parse_call(p, n);
        } else {
            return n;
        }
    }
}

/* "name" or "name.name" */
static const struct jstr *parse_dotted(struct jparse *p)
{
    const struct jstr *name = parse_take(p, T_NAME).v.s;
    while (p->t->kind == T_DOT) {
        struct jbuf b = {0};
        p->t++;
        jb_str(p->x, &b, name);
        jb_own(p->x, &b, ".");
        jb_str(p->x, &b, parse_take(p, T_NAME).v.s);
        name = jb_end(p->x, &b);
    }
    return name;
}

static void find_row(struct jparse *p, struct jnode *n)
{
    n->row = n->kind == N_FILTER ? jf_filter(n->name) : jf_find(&jf_tests, n->name);
    if (!n->row && !p->soft && !p->unknown) p->unknown = n;
}

struct jnode *parse_filters(struct jparse *p, struct jnode *n, bool inlined)
{
    while (inlined || parse_skip(p, T_PIPE)) {
        inlined = false;
        n = node(p, N_FILTER, n, NULL);
        n->name = parse_dotted(p);
        if (p->t->kind == T_LPAREN) n->b = parse_args(p);
        find_row(p, n);
    }
    return n;
}

/* Can what follows a test's name be its argument without brackets? */
static bool is_bare_arg(const struct jparse *p)
{
    switch (p->t->kind) {
    case T_STRING:
    case T_INT:
    case T_FLOAT:
    case T_LBRACKET:
    case T_LBRACE:
        return true;
    case T_NAME:
        return !parse_is_word(p, "else") && !parse_is_word(p, "or") && !parse_is_word(p, "and");
    default:
        return false;
    }
}

static struct jnode *parse_test(struct jparse *p, struct jnode *of)
{
    assert(of);
    struct jnode *n = node(p, N_TEST, of, NULL);
    const bool negated = parse_skip_word(p, "not");
    n->name = parse_dotted(p);
    if (p->t->kind == T_LPAREN) {
        n->b = parse_args(p);
    } else if (is_bare_arg(p)) {
        if (parse_is_word(p, "is")) parse_fail(p, "no second test behind the first");
        n->b = parse_new(p, N_ARG);
        n->b->a = parse_postfix(p, parse_primary(p, false));
    }
    find_row(p, n);
    return negated ? node(p, N_NOT, n, NULL) : n;
}

/* ---- operators ------------------------------------------------------------------------------- */

static struct jnode *parse_unary(struct jparse *p, bool with_filter)
{
    struct jnode *n;
    jx_down(p->x);
    if (p->t->kind == T_SUB || p->t->kind == T_ADD) {
        n = node(p, p->t->kind == T_SUB ? N_NEG : N_POS, NULL, NULL);
        p->t++;
        n->a = parse_unary(p, false);
    } else {
        n = parse_primary(p, false);
    }
    n = parse_postfix(p, n);
    for (bool more = with_filter; more;) {
        if (p->t->kind == T_PIPE) {
            n = parse_filters(p, n, false);
        } else if (parse_skip_word(p, "is")) {
            n = parse_test(p, n);
        } else if (p->t->kind == T_LPAREN) {
            n = parse_call(p, n);
        } else {
            more = false;
        }
    }
    jx_up(p->x);
    return n;
}

static struct jnode *binary(struct jparse *p, enum jop op, struct jnode *a)
{
    struct jnode *n = node(p, N_BINARY, a, NULL);
    n->op = (uint8_t)op;
    p->t++;
    return n;
}

static struct jnode *parse_pow(struct jparse *p)
{
    struct jnode *n = parse_unary(p, true);
    while (p->t->kind == T_POW) {
        n = binary(p, OP_POW, n);
        n->b = parse_unary(p, true);
    }
    return n;
}

static struct jnode *parse_product(struct jparse *p)
{
    struct jnode *n = parse_pow(p);
    for (;;) {
        switch (p->t->kind) {
        case T_MUL:
            n = binary(p, OP_MUL, n);
            break;
        case T_DIV:
            n = binary(p, OP_DIV, n);
            break;
        case T_FLOORDIV:
            n = binary(p, OP_FLOORDIV, n);
            break;
        case T_MOD:
            n = binary(p, OP_MOD, n);
            break;
        default:
            return n;
        }
        n->b = parse_pow(p);
    }
}

static struct jnode *parse_concat(struct jparse *p)
{
    struct jnode *first = parse_product(p);
    if (p->t->kind != T_TILDE) return first;
    struct jnode *n = node(p, N_CONCAT, first, NULL), **last = &first->next;
    while (parse_skip(p, T_TILDE)) {
        *last = parse_product(p);
        last = &(*last)->next;
    }
    return n;
}

static struct jnode *parse_sum(struct jparse *p)
{
    struct jnode *n = parse_concat(p);
    while (p->t->kind == T_ADD || p->t->kind == T_SUB) {
        n = binary(p, p->t->kind == T_ADD ? OP_ADD : OP_SUB, n);
        n->b = parse_concat(p);
    }
    return n;
}

/* Steps over a comparison operator. */
static bool take_compare(struct jparse *p, enum jcompare *op)
{
    static const struct {
        enum jtok_kind kind;
        enum jcompare op;
    } rows[] = {
        {T_EQ, CMP_EQ}, {T_NE, CMP_NE}, {T_GT, CMP_GT},
        {T_GE, CMP_GE}, {T_LT, CMP_LT}, {T_LE, CMP_LE},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        *op = rows[i].op;
        if (parse_skip(p, rows[i].kind)) return true;
    }
    *op = CMP_IN;
    if (parse_skip_word(p, "in")) return true;
    *op = CMP_NOT_IN;
    if (!parse_skip_word(p, "not")) return false;
    if (parse_skip_word(p, "in")) return true;
    p->t--; /* some other `not` */
    assert(parse_is_word(p, "not"));
    return false;
}

static struct jnode *parse_compare(struct jparse *p)
{
    struct jnode *first = parse_sum(p), *n = first, **last = NULL;
    for (enum jcompare op; take_compare(p, &op);) {
        if (!last) {
            n = node(p, N_COMPARE, first, NULL);
            last = &n->b;
        }
        struct jnode *operand = *last = parse_new(p, N_OPERAND);
        operand->op = (uint8_t)op;
        operand->a = parse_sum(p);
        last = &operand->next;
    }
    return n;
}

static struct jnode *parse_not(struct jparse *p)
{
    if (!parse_is_word(p, "not")) return parse_compare(p);
    jx_down(p->x);
    struct jnode *n = parse_new(p, N_NOT);
    p->t++;
    n->a = parse_not(p);
    jx_up(p->x);
    return n;
}

static struct jnode *parse_and(struct jparse *p)
{
    struct jnode *n = parse_not(p);
    while (parse_skip_word(p, "and")) {
        n = node(p, N_AND, n, NULL);
        n->b = parse_not(p);
    }
    return n;
}

static struct jnode *parse_or(struct jparse *p)
{
    struct jnode *n = parse_and(p);
    while (parse_skip_word(p, "or")) {
        n = node(p, N_OR, n, NULL);
        n->b = parse_and(p);
    }
    return n;
}

struct jnode *parse_expr(struct jparse *p, bool with_cond)
{
    const bool outer = p->soft;
    struct jnode *const unknown = p->unknown;
    struct jnode *n = parse_or(p);
    while (with_cond && parse_skip_word(p, "if")) {
        n = node(p, N_COND, NULL, n);
        p->soft = true;
        p->unknown = unknown; /* n may never run */
        n->a = parse_or(p);
        if (!parse_skip_word(p, "else")) continue;
        jx_down(p->x);
        n->c = parse_expr(p, true);
        jx_up(p->x);
    }
    p->soft = outer;
    return n;
}
