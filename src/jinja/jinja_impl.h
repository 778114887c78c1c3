/*
 * jinja_impl.h: from a template's text to its tree, and what walks the tree; for jinja_*.c alone.
 *
 *     text --jinja_lex.c--> tokens --jinja_parse.c, jinja_expr.c--> nodes
 *     nodes --jinja_exec.c (tags), jinja_loop.c, jinja_call.c, jinja_eval.c (expressions)--> text
 *
 * The tree is the template's and shared by all renders; a render has scopes, values and output.
 */
#ifndef JINJA_JINJA_IMPL_H
#define JINJA_JINJA_IMPL_H

#include "jinja/jinja_value.h"

/* ---- jinja_lex.c ----------------------------------------------------------------------------- */

enum jtok_kind {
    T_END,
    T_DATA, /* text outside of tags */
    T_VAR_BEGIN,
    T_VAR_END,
    T_BLOCK_BEGIN,
    T_BLOCK_END,
    T_NAME,
    T_STRING, /* its value */
    T_INT,
    T_FLOAT,
    T_FLOORDIV, /* from here on: operators; the longer ones first */
    T_POW,
    T_EQ,
    T_NE,
    T_GE,
    T_LE,
    T_ADD,
    T_SUB,
    T_DIV,
    T_MUL,
    T_MOD,
    T_TILDE,
    T_LBRACKET,
    T_RBRACKET,
    T_LPAREN,
    T_RPAREN,
    T_LBRACE,
    T_RBRACE,
    T_GT,
    T_LT,
    T_ASSIGN,
    T_DOT,
    T_COLON,
    T_PIPE,
    T_COMMA,
    T_SEMICOLON,
    T_COUNT
};

struct jtok {
    uint8_t kind;
    uint32_t line;
    struct jv v; /* data, names, strings, numbers */
};

/* Ends with T_END. */
const struct jtok *lex_tokens(struct jx *x, const char *src, size_t n_bytes);
const char *lex_name(enum jtok_kind kind); /* for messages */

/* ---- nodes ----------------------------------------------------------------------------------- */

/* Behind each kind: what its fields mean. `next` links what stands in a row. */
enum jnode_kind {
    /* expressions */
    N_CONST,   /* value */
    N_NAME,    /* sym, name */
    N_LIST,    /* a: items */
    N_TUPLE,   /* a: items */
    N_DICT,    /* a: key, value, key, value, ... */
    N_ATTR,    /* a, name */
    N_ITEM,    /* a, b: the key */
    N_SLICE,   /* a; b: three expressions */
    N_CALL,    /* a: what is called, b: arguments */
    N_FILTER,  /* a, b: arguments, row or NULL, name */
    N_TEST,    /* the same */
    N_ARG,     /* a, name or NULL; op: 1 for *a, 2 for **a */
    N_NOT,     /* a */
    N_NEG,     /* a */
    N_POS,     /* a */
    N_AND,     /* a, b */
    N_OR,      /* a, b */
    N_COND,    /* a: the test, b: then, c: else or NULL */
    N_COMPARE, /* a, b: operands */
    N_OPERAND, /* a; op: enum jcompare */
    N_BINARY,  /* a, b; op: enum jop */
    N_CONCAT,  /* a: parts */
    N_HOLE,    /* the text of a block, to which its filters are applied */
    /* targets only */
    N_NSREF, /* sym, name: the attribute */
    /* tags */
    N_TEXT,     /* value */
    N_PRINT,    /* a */
    N_FOR,      /* a: target, b: iterable, c: filter or NULL, body, other; op: recursive */
    N_IF,       /* a: branches */
    N_BRANCH,   /* a: the test, NULL for else; body */
    N_SET,      /* a: target, b */
    N_CAPTURE,  /* a: target, b: expression with a hole, or NULL; body */
    N_MACRO,    /* sym, name, a: parameters, body; op: enum jmacro_use */
    N_PARAM,    /* sym, name, a: default or NULL */
    N_CALLER,   /* a: the call, b: N_MACRO of the body */
    N_FILTERED, /* b: expression with a hole, body */
    N_WITH,     /* a: N_SET in a row, body */
    N_SCOPE,    /* body; op: 1 for a block, which sees only the template's own names */
    N_BREAK,
    N_CONTINUE,
    N_REFUSED, /* name: a tag that needs a host */
};

enum jmacro_use { MACRO_CALLER = 1, MACRO_KWARGS = 2, MACRO_VARARGS = 4 };

struct jnode {
    uint8_t kind, op;
    uint32_t line;
    uint32_t sym; /* index into the template's names */
    struct jnode *next, *a, *b, *c, *body, *other;
    const struct jstr *name;
    const struct jrow *row;
    struct jv value;
};

struct jinja {
    struct jx x; /* its arena holds everything below */
    char *name;
    const struct jnode *body;
    struct jv names;  /* dict: name -> index */
    struct jv blocks; /* dict: name of a block -> N_MACRO with its body */
};

/* Names that the language itself sets; their symbols are the same in each template. */
enum jsym { SYM_LOOP, SYM_CALLER, SYM_KWARGS, SYM_VARARGS, SYM_SELF, SYM_COUNT };

/* ---- jinja_parse.c, jinja_expr.c ------------------------------------------------------------- */

struct jparse {
    struct jx *x;
    const struct jtok *t; /* the next token */
    struct jdict *names, *blocks;
    uint8_t macro_use;       /* of the innermost macro */
    bool in_loop;            /* break and continue have a loop to mean */
    bool soft;               /* inside of `if`: an unknown filter fails only when it runs */
    struct jnode *unknown;   /* a filter or test outside of it that there is not */
    const char *innermost;   /* tag that is open */
    uint32_t innermost_line; /* of its start */
};

void parse_template(struct jinja *j, const char *src, size_t n_bytes);
_Noreturn void jx_fail_row(struct jx *x, const struct jnode *n); /* there is no such filter */
struct jnode *parse_new(struct jparse *p, enum jnode_kind kind);
uint32_t parse_symbol(struct jparse *p, const struct jstr *name);
_Noreturn void parse_fail(struct jparse *p, const char *expected);
struct jtok parse_take(struct jparse *p, enum jtok_kind kind);
bool parse_skip(struct jparse *p, enum jtok_kind kind);
bool parse_is_word(const struct jparse *p, const char *word);
bool parse_skip_word(struct jparse *p, const char *word);

struct jnode *parse_expr(struct jparse *p, bool with_cond);
struct jnode *parse_tuple(struct jparse *p, bool with_cond);
struct jnode *parse_primary(struct jparse *p, bool as_target);
struct jnode *parse_filters(struct jparse *p, struct jnode *of, bool inlined);

/* ---- a render -------------------------------------------------------------------------------- */

struct jscope {
    struct jscope *up;
    struct {
        uint32_t sym;
        struct jv v;
    } * bind; /* (n) */
    uint32_t n, cap;
};

struct jmacro {
    const struct jnode *node;
    struct jscope *scope; /* where it was defined */
};

enum jflow { FLOW_ON, FLOW_BREAK, FLOW_CONTINUE };

/* jinja_eval.c */
struct jv jeval(struct jx *x, const struct jnode *n);
/* jinja_exec.c */
enum jflow jexec(struct jx *x, const struct jnode *n); /* n and what follows it */
/* What the body prints, as a text. */
enum jflow jexec_text(struct jx *x, const struct jnode *body, const struct jstr **text);
void jexec_assign(struct jx *x, const struct jnode *target, struct jv v);
struct jscope *jscope_push(struct jx *x, struct jscope *up); /* becomes the current one */
void jscope_set(struct jx *x, struct jscope *s, uint32_t sym, struct jv v);
struct jv jscope_get(struct jx *x, uint32_t sym); /* J_MISSING: nowhere */
/* jinja_loop.c */
enum jflow jl_for(struct jx *x, const struct jnode *n);
struct jv jl_attr(struct jx *x, struct jv loop, const struct jstr *name);
struct jv jl_call(struct jx *x, struct jv loop, const struct jargs *a);
/* jinja_call.c */
struct jargs jf_args(struct jx *x, const struct jnode *args);
struct jv jf_call_macro(struct jx *x, const struct jmacro *m, const struct jargs *a);

extern const char jf_group_type[]; /* jlist.type of what groupby makes */

#endif
