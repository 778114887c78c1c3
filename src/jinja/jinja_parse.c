/*
 * jinja_parse.c: tokens to nodes: the tags. Expressions are jinja_expr.c.
 *
 * One function per tag, in a table. Bodies are lists of nodes linked by `next`; an if is a list of
 * branches, so that a long chain of elif nests nothing. Tags that need a host (include, import,
 * extends) are parsed as far as their end and fail when they run, as they would without a loader.
 */
#include "jinja/jinja_impl.h"

#include "base/limits.h"

#include <assert.h>
#include <string.h>

/* ---- tokens ---------------------------------------------------------------------------------- */

static const char *shown(const struct jtok *t, int *n)
{
    if (t->kind != T_NAME) {
        *n = (int)strlen(lex_name(t->kind));
        return lex_name(t->kind);
    }
    *n = t->v.s->n < 60 ? (int)t->v.s->n : 60;
    return t->v.s->s;
}

void parse_fail(struct jparse *p, const char *expected)
{
    int n;
    const char *found = shown(p->t, &n);
    p->x->line = p->t->line;
    if (p->innermost && p->t->kind == T_END)
        jx_fail(p->x,
                "unexpected end of the template, expected %s; the tag '%s' of line %u is open",
                expected, p->innermost, p->innermost_line);
    jx_fail(p->x, "unexpected %.*s, expected %s", n, found, expected);
}

struct jtok parse_take(struct jparse *p, enum jtok_kind kind)
{
    if (p->t->kind != kind) parse_fail(p, lex_name(kind));
    p->x->line = p->t->line;
    return *p->t++;
}

bool parse_skip(struct jparse *p, enum jtok_kind kind)
{
    if (p->t->kind != kind) return false;
    p->t++;
    return true;
}

static bool is_word(const struct jtok *t, const char *word)
{
    return t->kind == T_NAME && js_is(t->v.s, word);
}

bool parse_is_word(const struct jparse *p, const char *word)
{
    return is_word(p->t, word);
}

bool parse_skip_word(struct jparse *p, const char *word)
{
    if (!parse_is_word(p, word)) return false;
    p->t++;
    return true;
}

struct jnode *parse_new(struct jparse *p, enum jnode_kind kind)
{
    struct jnode *n = jx_alloc(p->x, sizeof *n);
    n->kind = (uint8_t)kind;
    n->line = p->t->line;
    return n;
}

uint32_t parse_symbol(struct jparse *p, const struct jstr *name)
{
    const struct jv *found = jd_find(p->x, p->names, jv_str(name));
    if (found) return (uint32_t)found->i;
    assert(p->names->n < UINT32_MAX);
    const uint32_t sym = (uint32_t)p->names->n;
    jd_set(p->x, p->names, jv_str(name), jv_int(sym));
    return sym;
}

static struct jnode *named(struct jparse *p, enum jnode_kind kind)
{
    struct jnode *n = parse_new(p, kind);
    n->name = parse_take(p, T_NAME).v.s;
    n->sym = parse_symbol(p, n->name);
    return n;
}

/* ---- bodies ---------------------------------------------------------------------------------- */

static struct jnode *parse_tag(struct jparse *p);

/* Is the tag at `{%` one of these words? */
static bool ends_with(const struct jtok *t, const char *const *ends)
{
    for (; ends && *ends; ends++) {
        if (is_word(t + 1, *ends)) return true;
    }
    return false;
}

static struct jnode *parse_piece(struct jparse *p)
{
    struct jnode *n;
    if (p->t->kind == T_DATA) {
        n = parse_new(p, N_TEXT);
        n->value = parse_take(p, T_DATA).v;
    } else if (p->t->kind == T_VAR_BEGIN) {
        p->t++;
        n = parse_new(p, N_PRINT);
        n->a = parse_tuple(p, true);
        parse_take(p, T_VAR_END);
    } else {
        parse_take(p, T_BLOCK_BEGIN);
        n = parse_tag(p);
        parse_take(p, T_BLOCK_END);
    }
    return n;
}

/* Up to the end of the template, or to a tag among `ends`, whose word is the next token then. */
static struct jnode *parse_pieces(struct jparse *p, const char *const *ends)
{
    struct jnode *first = NULL, **last = &first;
    jx_down(p->x);
    while (p->t->kind != T_END) {
        if (p->t->kind == T_BLOCK_BEGIN && ends_with(p->t, ends)) {
            p->t++;
            break;
        }
        *last = parse_piece(p);
        while (*last) last = &(*last)->next;
    }
    jx_up(p->x);
    return first;
}

/* The body of a tag whose head is read: from `%}` to one of `ends`. */
static struct jnode *parse_body(struct jparse *p, const char *const *ends)
{
    const char *const outer = p->innermost;
    const uint32_t outer_line = p->innermost_line;
    parse_skip(p, T_COLON);     /* as Jinja allows for the sake of Python's habits */
    p->innermost = ends[0] + 3; /* "endfor": for */
    p->innermost_line = p->t->line;
    parse_take(p, T_BLOCK_END);
    struct jnode *body = parse_pieces(p, ends);
    if (p->t->kind == T_END) parse_fail(p, ends[0]);
    p->innermost = outer;
    p->innermost_line = outer_line;
    return body;
}

static struct jnode *parse_body_to(struct jparse *p, const char *end)
{
    struct jnode *body = parse_body(p, (const char *const[]){end, NULL});
    p->t++;
    return body;
}

/* ---- tags ------------------------------------------------------------------------------------ */

/* Can it be assigned to? */
static void check_target(struct jparse *p, const struct jnode *n, bool attributes)
{
    if (n->kind == N_TUPLE) {
        for (const struct jnode *item = n->a; item; item = item->next)
            check_target(p, item, attributes);
        return;
    }
    p->x->line = n->line;
    if (n->kind != N_NAME && !(attributes && n->kind == N_NSREF))
        jx_fail(p->x, "cannot assign to this, expected a name");
    if (p->in_loop && n->sym == SYM_LOOP && n->kind == N_NAME)
        jx_fail(p->x, "cannot assign to 'loop' inside of a loop");
}

static struct jnode *parse_target(struct jparse *p, bool attributes)
{
    struct jnode *first = parse_primary(p, attributes), *n = first;
    if (p->t->kind == T_COMMA) {
        n = parse_new(p, N_TUPLE);
        n->a = first;
        for (struct jnode **last = &first->next; parse_skip(p, T_COMMA); last = &(*last)->next) {
            if (p->t->kind == T_BLOCK_END) break;
            *last = parse_primary(p, attributes);
        }
    }
    check_target(p, n, attributes);
    return n;
}

static struct jnode *parse_for(struct jparse *p)
{
    struct jnode *n = parse_new(p, N_FOR);
    const bool outer = p->in_loop;
    p->in_loop = true;
    n->a = parse_target(p, false);
    if (!parse_skip_word(p, "in")) parse_fail(p, "in");
    n->b = parse_tuple(p, false);
    if (parse_skip_word(p, "if")) n->c = parse_expr(p, true);
    n->op = parse_skip_word(p, "recursive");
    n->body = parse_body(p, (const char *const[]){"endfor", "else", NULL});
    p->in_loop = outer;
    if (parse_skip_word(p, "else")) {
        n->other = parse_body_to(p, "endfor");
    } else {
        p->t++;
    }
    return n;
}

static struct jnode *parse_if(struct jparse *p)
{
    static const char *const ends[] = {"endif", "elif", "else", NULL};
    struct jnode *n = parse_new(p, N_IF), **last = &n->a;
    const bool outer = p->soft;
    p->soft = true;
    do {
        struct jnode *branch = *last = parse_new(p, N_BRANCH);
        last = &branch->next;
        branch->a = parse_tuple(p, false);
        branch->body = parse_body(p, ends);
    } while (parse_skip_word(p, "elif"));
    if (parse_skip_word(p, "else")) {
        *last = parse_new(p, N_BRANCH);
        (*last)->body = parse_body_to(p, "endif");
    } else {
        if (!parse_skip_word(p, "endif")) parse_fail(p, "endif");
    }
    p->soft = outer;
    return n;
}

static struct jnode *parse_set(struct jparse *p)
{
    struct jnode *n = parse_new(p, N_SET);
    n->a = parse_target(p, true);
    if (parse_skip(p, T_ASSIGN)) {
        n->b = parse_tuple(p, true);
        return n;
    }
    n->kind = N_CAPTURE;
    if (p->t->kind == T_PIPE) n->b = parse_filters(p, parse_new(p, N_HOLE), false);
    n->body = parse_body_to(p, "endset");
    return n;
}

/* "(a, b=1)" */
static struct jnode *parse_params(struct jparse *p)
{
    struct jnode *first = NULL, **last = &first;
    bool defaults = false;
    parse_take(p, T_LPAREN);
    while (p->t->kind != T_RPAREN) {
        if (first) parse_take(p, T_COMMA);
        struct jnode *n = *last = named(p, N_PARAM);
        last = &n->next;
        if (parse_skip(p, T_ASSIGN)) {
            n->a = parse_expr(p, true);
            defaults = true;
        } else if (defaults) {
            parse_fail(p, "= and a default, as the parameter before has one");
        }
    }
    parse_take(p, T_RPAREN);
    return first;
}

static bool has_param(const struct jnode *n, const char *name)
{
    for (n = n->a; n; n = n->next) {
        if (js_is(n->name, name)) return true;
    }
    return false;
}

/* Parameters are read; the body follows. What it uses of caller, kwargs and varargs decides what
 * a call may give. */
static void parse_macro_body(struct jparse *p, struct jnode *n, const char *end)
{
    const uint8_t outer_use = p->macro_use;
    const bool outer_loop = p->in_loop;
    p->macro_use = 0;
    p->in_loop = false;
    n->body = parse_body_to(p, end);
    if (has_param(n, "caller")) p->macro_use &= (uint8_t)~MACRO_CALLER;
    if (has_param(n, "kwargs")) p->macro_use &= (uint8_t)~MACRO_KWARGS;
    if (has_param(n, "varargs")) p->macro_use &= (uint8_t)~MACRO_VARARGS;
    n->op = p->macro_use;
    p->macro_use |= outer_use;
    p->in_loop = outer_loop;
}

static struct jnode *parse_macro(struct jparse *p)
{
    struct jnode *n = named(p, N_MACRO);
    n->a = parse_params(p);
    parse_macro_body(p, n, "endmacro");
    return n;
}

static struct jnode *parse_call_block(struct jparse *p)
{
    struct jnode *n = parse_new(p, N_CALLER), *macro = n->b = parse_new(p, N_MACRO);
    if (p->t->kind == T_LPAREN) macro->a = parse_params(p);
    n->a = parse_expr(p, true);
    if (n->a->kind != N_CALL) parse_fail(p, "a call");
    parse_macro_body(p, macro, "endcall");
    return n;
}

static struct jnode *parse_filter_block(struct jparse *p)
{
    struct jnode *n = parse_new(p, N_FILTERED);
    n->b = parse_filters(p, parse_new(p, N_HOLE), true);
    n->body = parse_body_to(p, "endfilter");
    return n;
}

static struct jnode *parse_with(struct jparse *p)
{
    struct jnode *n = parse_new(p, N_WITH), **last = &n->a;
    while (p->t->kind != T_BLOCK_END) {
        if (n->a) parse_take(p, T_COMMA);
        struct jnode *set = *last = parse_new(p, N_SET);
        last = &set->next;
        set->a = parse_primary(p, false);
        check_target(p, set->a, false);
        parse_take(p, T_ASSIGN);
        set->b = parse_expr(p, true);
    }
    n->body = parse_body_to(p, "endwith");
    return n;
}

static struct jnode *parse_print(struct jparse *p)
{
    struct jnode *first = NULL, **last = &first;
    while (p->t->kind != T_BLOCK_END) {
        if (first) parse_take(p, T_COMMA);
        *last = parse_new(p, N_PRINT);
        (*last)->a = parse_expr(p, true);
        last = &(*last)->next;
    }
    return first;
}

/* {% generation %} marks what the assistant said; for a prompt it is a scope. */
static struct jnode *parse_generation(struct jparse *p)
{
    struct jnode *n = parse_new(p, N_SCOPE);
    const bool outer = p->in_loop;
    p->in_loop = false;
    n->body = parse_body_to(p, "endgeneration");
    p->in_loop = outer;
    return n;
}

static struct jnode *parse_block(struct jparse *p)
{
    struct jnode *n = parse_new(p, N_SCOPE), *macro = n->a = named(p, N_MACRO);
    n->op = !parse_skip_word(p, "scoped");
    if (parse_is_word(p, "required")) parse_fail(p, "a block that is no other template's to fill");
    p->x->line = n->line;
    if (jd_find(p->x, p->blocks, jv_str(macro->name)))
        jx_fail(p->x, "a second block of this name, expected each once");
    jd_set(p->x, p->blocks, jv_str(macro->name), (struct jv){.kind = J_MACRO, .node = macro});
    parse_macro_body(p, macro, "endblock");
    n->body = macro->body;
    if (p->t->kind == T_NAME && js_eq(p->x, p->t->v.s, macro->name)) p->t++;
    return n;
}

static struct jnode *parse_autoescape(struct jparse *p)
{
    struct jnode *n = parse_new(p, N_SCOPE);
    const struct jnode *on = parse_expr(p, true);
    if (on->kind != N_CONST || on->value.kind != J_BOOL || on->value.b)
        parse_fail(p, "false: a prompt is no HTML, nothing is escaped by itself");
    n->body = parse_body_to(p, "endautoescape");
    return n;
}

static struct jnode *parse_jump(struct jparse *p)
{
    const bool is_break = is_word(p->t - 1, "break");
    assert(is_break || is_word(p->t - 1, "continue"));
    if (!p->in_loop) parse_fail(p, "'break' and 'continue' inside of a loop only");
    return parse_new(p, is_break ? N_BREAK : N_CONTINUE);
}

static struct jnode *parse_refused(struct jparse *p)
{
    struct jnode *n = parse_new(p, N_REFUSED);
    n->name = p->t[-1].v.s;
    while (p->t->kind != T_BLOCK_END && p->t->kind != T_END) p->t++;
    return n;
}

static const struct {
    const char *word;
    struct jnode *(*parse)(struct jparse *p);
} tags[] = {
    {"for", parse_for},
    {"if", parse_if},
    {"set", parse_set},
    {"macro", parse_macro},
    {"call", parse_call_block},
    {"filter", parse_filter_block},
    {"with", parse_with},
    {"print", parse_print},
    {"generation", parse_generation},
    {"block", parse_block},
    {"autoescape", parse_autoescape},
    {"break", parse_jump},
    {"continue", parse_jump},
    {"include", parse_refused},
    {"import", parse_refused},
    {"from", parse_refused},
    {"extends", parse_refused},
};

static struct jnode *parse_tag(struct jparse *p)
{
    for (size_t i = 0; i < sizeof tags / sizeof *tags; i++) {
        if (!parse_skip_word(p, tags[i].word)) continue;
        return tags[i].parse(p);
    }
    if (!p->innermost) parse_fail(p, "a tag of the language");
    int n;
    const char *found = shown(p->t, &n);
    p->x->line = p->t->line;
    jx_fail(p->x, "unknown tag '%.*s'; the innermost open tag is '%s' of line %u", n, found,
            p->innermost, p->innermost_line);
}

void parse_template(struct jinja *j, const char *src, size_t n_bytes)
{
    assert(j && src);
    static const char *const own_names[SYM_COUNT] = {
        [SYM_LOOP] = "loop",       [SYM_CALLER] = "caller", [SYM_KWARGS] = "kwargs",
        [SYM_VARARGS] = "varargs", [SYM_SELF] = "self",
    };
    j->names = jd_new(&j->x);
    j->blocks = jd_new(&j->x);
    struct jparse p = {.x = &j->x, .names = j->names.dict, .blocks = j->blocks.dict};
    for (uint32_t i = 0; i < SYM_COUNT; i++) {
        const uint32_t sym = parse_symbol(&p, js_own(&j->x, own_names[i]));
        assert(sym == i);
        (void)sym;
    }
    p.t = lex_tokens(&j->x, src, n_bytes);
    j->body = parse_pieces(&p, NULL);
    assert(p.t->kind == T_END);
    if (p.unknown) jx_fail_row(&j->x, p.unknown);
}
