/*
 * jinja_value.h: values of the template language, for the files jinja_*.c alone.
 *
 * Everything that a parse or a render makes lives in one arena and is freed with it at the end, so
 * values are copied freely and nothing is owned. Strings, lists and dicts are immutable once made
 * (the sandbox of the language forbids changing them); what does change (namespaces, iterators,
 * cyclers) is reached through a pointer.
 *
 * Failing: jx_fail() stores the message and leaves by one longjmp to jinja_open() or
 * jinja_render(), which free the arena. It is the one place of the program that does so: an
 * evaluator returns values from a hundred functions, and with nothing to release on the way a jump
 * is simpler to get right than a hundred checks. No function called in between may hold a resource.
 *
 * Origin: a string knows which of its bytes are data (origin.h). Numbers, booleans and containers
 * know it as a whole, so that what is printed from them is marked.
 */
#ifndef JINJA_JINJA_VALUE_H
#define JINJA_JINJA_VALUE_H

#include "base/err.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define JINJA_SCAN_BYTES 16 /* looking at so many, one by one, takes as long as a step */

/* ---- one parse or one render ----------------------------------------------------------------- */

struct jinja;
struct jscope;
struct jblock;

struct jx {
    const char *name; /* of the template, for messages */
    uint32_t line;    /* of what runs now */
    enum err err;     /* why `out` was taken */
    jmp_buf out;
    struct jblock *block; /* the arena: newest block first */
    uint64_t n_bytes;     /* taken from the arena, up to JINJA_VALUE_BYTES_MAX */
    uint64_t n_step;      /* up to JINJA_STEPS_MAX */
    uint64_t deadline_ns; /* jinja_vars.deadline_ns */
    uint32_t depth, depth_max;
    /* of a render */
    struct jv *global;    /* (symbols of the template) what each name is outside of all scopes */
    struct jscope *root;  /* the template's own names */
    struct jscope *scope; /* where names are looked up now */
    struct jbuf *text;    /* where output goes now */
    struct jv *hole;      /* what the filters of a block are applied to */
    int64_t time;
    bool (*is_own)(const char *key, const char *text, size_t n_bytes); /* jinja_vars.is_own */
};

_Noreturn void jx_fail(struct jx *x, const char *fmt, ...) PRINTF_LIKE(2, 3);
void *jx_alloc(struct jx *x, size_t n_bytes); /* zeroed, for any type; never NULL */
void *jx_array(struct jx *x, size_t n, size_t size_each);
void jx_free(struct jx *x); /* the whole arena */
/* n more steps: a node evaluated, an item visited, 64 bytes copied or compared at once. Looks now
 * and then whether a signal or the clock wants the render to end. */
void jx_step(struct jx *x, uint64_t n);
/* The steps for n bytes that are going to be looked at one by one. Where js_char() does so, it
 * counts them itself. */
static inline void jx_scan(struct jx *x, size_t n_bytes)
{
    jx_step(x, 1 + n_bytes / JINJA_SCAN_BYTES);
}
/* One level deeper; jx_up() takes it back (a failure need not). */
void jx_down(struct jx *x);
void jx_up(struct jx *x);

/* ---- values ---------------------------------------------------------------------------------- */

enum jkind {
    J_MISSING, /* an argument that was not given; no value of the language */
    J_UNDEF,
    J_NONE,
    J_BOOL,
    J_INT,
    J_FLOAT,
    J_STR,
    J_LIST,
    J_TUPLE,
    J_RANGE,
    J_VIEW, /* keys, values or items of a dict: can be counted and walked, not indexed */
    J_ITER, /* what a lazy filter returns: can be walked once */
    J_DICT,
    J_SPACE, /* namespace() */
    J_MACRO,
    J_FUNC, /* a function of the language, or a method with its object */
    J_LOOP,
    J_CYCLER,
    J_JOINER,
    J_KINDS,
};

struct jv {
    uint8_t kind; /* enum jkind */
    bool data;    /* not of a string: computed from data */
    union {
        bool b;
        int64_t i;
        double f;
        const struct jstr *s;
        struct jlist *list; /* also tuples, views, iterators, cyclers, joiners */
        const struct jrange *range;
        struct jdict *dict; /* also namespaces */
        const struct jundef *undef;
        const struct jmacro *macro;
        const struct jnode *node; /* a J_MACRO in the tree: it has no scope yet */
        const struct jfunc *func;
        struct jloop *loop;
    };
};

struct jstr {
    const char *s;      /* (n) UTF-8, checked; no NUL at the end */
    size_t n, n_char;   /* bytes, code points */
    const size_t *edge; /* (n_edge) rising: bytes at which the origin changes */
    size_t n_edge;
    bool data; /* the first byte is data; with n_edge 0 all are */
    bool safe; /* went through the filter `escape` or `safe` */
};

struct jlist {
    struct jv *v; /* (n) */
    size_t n, cap;
    size_t at;            /* iterators, cyclers: the next item; joiners: used */
    const char *type;     /* views, iterators: the name of their type */
    struct jlater *later; /* iterators: what fills them when the first item is wanted, or NULL */
};

struct jrange {
    int64_t start, stop, step;
    size_t n;
};

struct jentry {
    struct jv key, v;
    uint64_t hash;
};

struct jdict {
    struct jentry *e; /* (n) in the order of their first insertion */
    size_t n, cap;
    uint32_t *slot; /* (n_slot) open addressing, index + 1; a power of two */
    size_t n_slot;
};

struct jundef {
    const struct jstr *name; /* what was looked for, or NULL */
    const char *type;        /* of the object it was looked for in, or NULL */
    const char *hint;        /* the whole message, or NULL */
};

/* Arguments of a call. */
struct jkw {
    const struct jstr *name;
    struct jv v;
};
struct jargs {
    const struct jv *v; /* (n) */
    size_t n;
    const struct jkw *kw; /* (n_kw) */
    size_t n_kw;
};

#define JPARAMS_MAX 4      /* of a row */
#define AS_GIVEN UINT8_MAX /* n_min of a function that takes its arguments as they come */

/* A filter, test, function or method. Its arguments are bound to v[0], v[1], ... by place or by the
 * names in params, J_MISSING where not given; the first n_min must be given. A function with
 * several has an enum of their places. */
struct jrow {
    const char *name;
    struct jv (*fn)(struct jx *x, struct jv self, const struct jargs *a);
    uint8_t n_min;
    const char *params[JPARAMS_MAX]; /* NULL behind the last */
};
struct jtable {
    const struct jrow *row; /* (n) */
    size_t n;
};
#define JTABLE(rows)                                                                               \
    {                                                                                              \
        rows, sizeof rows / sizeof *rows                                                           \
    }
struct jfunc {
    const struct jrow *row;
    struct jv self;
};

/* A call that waits until the first item of its iterator is wanted; it returns a J_ITER. */
struct jlater {
    struct jv (*fn)(struct jx *x, struct jv self, const struct jargs *a);
    struct jv self;
    struct jargs a;
};

static inline struct jv jv_none(void)
{
    return (struct jv){.kind = J_NONE};
}
static inline struct jv jv_bool(bool b)
{
    return (struct jv){.kind = J_BOOL, .b = b};
}
static inline struct jv jv_int(int64_t i)
{
    return (struct jv){.kind = J_INT, .i = i};
}
static inline struct jv jv_float(double f)
{
    return (struct jv){.kind = J_FLOAT, .f = f};
}
static inline struct jv jv_str(const struct jstr *s)
{
    return (struct jv){.kind = J_STR, .s = s};
}

/* ---- jinja_value.c ---- */

struct jv jv_undef(struct jx *x, const struct jstr *name, const char *type, const char *hint);
_Noreturn void jv_fail_undef(struct jx *x, struct jv v);
const char *jv_type(struct jv v); /* Python's name of the type: "str", "NoneType" */
bool jv_truth(struct jv v);
bool jv_equal(struct jx *x, struct jv a, struct jv b);
enum jorder { J_LESS = -1, J_SAME, J_MORE, J_UNORDERED /* one of them is not a number */ };
/* Fails for values without an order. op: for the message. */
enum jorder jv_compare(struct jx *x, struct jv a, struct jv b, const char *op);
enum jcompare { CMP_EQ, CMP_NE, CMP_GT, CMP_GE, CMP_LT, CMP_LE, CMP_IN, CMP_NOT_IN };
bool jv_relation(struct jx *x, enum jcompare op, struct jv a, struct jv b); /* a op b */
bool jv_contains(struct jx *x, struct jv in, struct jv what);
bool jv_is_data(struct jv v); /* any of it */
/* A number's value; bool counts. */
bool jv_to_int(struct jv v, int64_t *i); /* false: not an int or bool */
bool jv_is_number(struct jv v);
double jv_to_float(struct jv v); /* of a number */

bool jv_len(struct jv v, size_t *n); /* false: has no length */
struct jv jv_list(struct jx *x, enum jkind kind, size_t cap);
void jv_push(struct jx *x, struct jv list, struct jv v);
struct jv jv_at(struct jx *x, struct jv seq, size_t i); /* of a list, tuple, range or string */
int64_t jv_range_at(const struct jrange *r, size_t i);

struct jiter {
    struct jv v;
    size_t i;  /* of the next item */
    size_t at; /* strings: its byte */
};
struct jiter jv_iter(struct jx *x, struct jv v); /* fails for what cannot be walked */
bool jv_next(struct jx *x, struct jiter *it, struct jv *item);
bool jv_iterable(struct jv v);
struct jv jv_listed(struct jx *x, struct jv v); /* a new list of its items */

struct jv jd_new(struct jx *x);
void jd_set(struct jx *x, struct jdict *d, struct jv key, struct jv v);
struct jv *jd_find(struct jx *x, const struct jdict *d, struct jv key); /* NULL: not there */
struct jv *jd_find_str(struct jx *x, const struct jdict *d, const char *s, size_t n);

/* ---- jinja_str.c: strings -------------------------------------------------------------------- */

bool js_valid(const char *s, size_t n);                                      /* UTF-8 */
const struct jstr *js_new(struct jx *x, const char *s, size_t n, bool data); /* borrows s */
const struct jstr *js_own(struct jx *x, const char *s); /* borrows; the template's */
struct jv jv_own(struct jx *x, const char *s);
const struct jstr *js_safe(struct jx *x, const struct jstr *s, bool safe);
const struct jstr *js_sub(struct jx *x, const struct jstr *s, size_t from, size_t to);   /* bytes */
const struct jstr *js_slice(struct jx *x, const struct jstr *s, size_t from, size_t to); /* chars */
const struct jstr *js_escape(struct jx *x, const struct jstr *s); /* for HTML; safe */
bool js_has_data(const struct jstr *s);
bool js_is_data(const struct jstr *s, size_t i_byte);
bool js_eq(struct jx *x, const struct jstr *a, const struct jstr *b);
bool js_is(const struct jstr *s, const char *text);
bool js_all_digits(struct jx *x, const struct jstr *s); /* 0 .. 9; an empty one, too */
enum jorder js_compare(struct jx *x, const struct jstr *a, const struct jstr *b);
size_t js_byte_of(struct jx *x, const struct jstr *s, size_t i_char); /* i_char <= n_char */
/* The character at *i_byte, and steps over it. */
uint32_t js_char(struct jx *x, const struct jstr *s, size_t *i_byte);
#define JS_NONE SIZE_MAX
/* The first (last) place of `part` in bytes [from, to) of s; JS_NONE. */
size_t js_find(struct jx *x, const struct jstr *s, const struct jstr *part, size_t from, size_t to);
size_t js_rfind(struct jx *x, const struct jstr *s, const struct jstr *part, size_t from,
                size_t to);
bool js_at(struct jx *x, const struct jstr *s, const struct jstr *part, size_t i_byte);

/* A string being built. A zeroed one is empty. */
struct jbuf {
    char *s;
    size_t n, cap;
    size_t *edge;
    size_t n_edge, cap_edge;
    bool first, last; /* origin of the first and the last byte */
};
void jb_put(struct jx *x, struct jbuf *b, const char *s, size_t n, bool data);
void jb_own(struct jx *x, struct jbuf *b, const char *s);
void jb_char(struct jx *x, struct jbuf *b, uint32_t c, bool data);
void jb_str(struct jx *x, struct jbuf *b, const struct jstr *s);
void jb_sub(struct jx *x, struct jbuf *b, const struct jstr *s, size_t from, size_t to);
void jb_pad(struct jx *x, struct jbuf *b, const struct jstr *fill, size_t n); /* n times */
const struct jstr *jb_end(struct jx *x, struct jbuf *b);
const char *jb_cstr(struct jx *x, struct jbuf *b); /* the same as a C string: for a message */

/* ---- jinja_case.c: classes and case of code points ------------------------------------------- */

bool jc_space(uint32_t c);     /* str.isspace() of one character */
bool jc_line_end(uint32_t c);  /* where str.splitlines() cuts */
bool jc_printable(uint32_t c); /* what repr() leaves as it is */
bool jc_word(uint32_t c);      /* \w */
bool jc_id_start(uint32_t c);
enum jcase { JC_LOWER, JC_UPPER, JC_TITLE, JC_CAPITALIZE, JC_SWAP, JC_FOLD };
const struct jstr *jc_convert(struct jx *x, const struct jstr *s, enum jcase how);
/* str.isalnum() and its like. */
enum jclass {
    JC_ALL_ALNUM,
    JC_ALL_ALPHA,
    JC_ALL_ASCII,
    JC_ALL_DECIMAL,
    JC_ALL_DIGIT,
    JC_ALL_IDENTIFIER,
    JC_ALL_LOWER,
    JC_ALL_NUMERIC,
    JC_ALL_PRINTABLE,
    JC_ALL_SPACE,
    JC_ALL_TITLE,
    JC_ALL_UPPER,
};
bool jc_all(struct jx *x, const struct jstr *s, enum jclass what);

/* ---- jinja_print.c: str() and repr() --------------------------------------------------------- */

const struct jstr *jv_string(struct jx *x, struct jv v); /* str(v) */
void jv_print(struct jx *x, struct jbuf *b, struct jv v);
void jv_repr(struct jx *x, struct jbuf *b, struct jv v);
#define J_NUMBER_BYTES 32
size_t jv_number(struct jv v, char s[J_NUMBER_BYTES]); /* of an int or float: its length */
struct jv jv_parse_int(struct jx *x, const struct jstr *s, int base); /* J_MISSING: not one */
struct jv jv_parse_float(struct jx *x, const struct jstr *s);

/* ---- jinja_json.c ---------------------------------------------------------------------------- */

struct jv jv_from_json(struct jx *x, const json_t *j, bool data);
struct jv jf_tojson(struct jx *x, struct jv v, const struct jargs *a);

/* ---- jinja_op.c: operators ------------------------------------------------------------------- */

enum jop { OP_ADD, OP_SUB, OP_MUL, OP_DIV, OP_FLOORDIV, OP_MOD, OP_POW };
struct jv jo_binary(struct jx *x, enum jop op, struct jv a, struct jv b);
struct jv jo_negate(struct jx *x, struct jv v);
int64_t jo_mod(struct jx *x, int64_t a, int64_t b); /* with the sign of b; b == 0 fails */

/* ---- jinja_item.c: subscripts ---------------------------------------------------------------- */

struct jv jo_attr(struct jx *x, struct jv v, const struct jstr *name);      /* v.name */
struct jv jo_attr_only(struct jx *x, struct jv v, const struct jstr *name); /* never an item */
struct jv jo_item(struct jx *x, struct jv v, struct jv key);                /* v[key] */
struct jv jo_slice(struct jx *x, struct jv v, const struct jv part[3]); /* none where left out */
/* Brings the bounds of a slice (Python's rules) into 0 .. n. */
void jo_bounds(struct jx *x, struct jv from, struct jv to, size_t n, size_t *i_from, size_t *i_to);

/* ---- jinja_format.c -------------------------------------------------------------------------- */

const struct jstr *jo_percent(struct jx *x, const struct jstr *s, struct jv args); /* s % args */
const struct jstr *jo_format(struct jx *x, const struct jstr *s, const struct jargs *a);

/* ---- calls ----------------------------------------------------------------------------------- */

/* jinja_call.c: calls a row, or any value that can be called. */
struct jv jf_call(struct jx *x, const struct jrow *row, struct jv self, const struct jargs *a);
struct jv jf_later(struct jx *x, struct jlater call); /* an iterator */
void jf_run_later(struct jx *x, struct jlist *l);
struct jv jf_bound(struct jx *x, const struct jrow *row, struct jv self); /* as a value */
struct jv jv_call(struct jx *x, struct jv f, const struct jargs *a);
const struct jrow *jf_find(const struct jtable *t, const struct jstr *name); /* NULL: no such */
/* Arguments: a value of the type, or a failure that names what it is for. MISSING: the default. */
int64_t ja_int(struct jx *x, struct jv v, int64_t otherwise, const char *what);
const struct jstr *ja_str(struct jx *x, struct jv v, const struct jstr *otherwise,
                          const char *what);
bool ja_true(struct jv v);               /* given, and true */
static inline bool ja_given(struct jv v) /* and not None */
{
    return v.kind != J_MISSING && v.kind != J_NONE;
}
static inline struct jv ja_or(struct jv v, struct jv otherwise)
{
    return v.kind == J_MISSING ? otherwise : v;
}

/* The tables: jinja_filter*.c, jinja_test.c, jinja_global.c, jinja_method_str.c. */
extern const struct jtable jf_filters_any, jf_filters_seq, jf_filters_text;
extern const struct jtable jf_tests, jf_globals, jf_methods_str;
const struct jrow *jf_filter(const struct jstr *name); /* of all three */
/* fn NULL: a method that changes its object, which the sandbox forbids. */
const struct jrow *jf_method(enum jkind kind, const struct jstr *name);
/* What methods and filters share. */
struct jv jf_pair(struct jx *x, struct jv a, struct jv b);
struct jv jf_items(struct jx *x, struct jv self, const struct jargs *a);
struct jv jf_lines(struct jx *x, const struct jstr *s, bool keep_ends);
struct jv jf_center(struct jx *x, struct jv self, const struct jargs *a);
const struct jstr *jf_strip(struct jx *x, const struct jstr *s, const struct jstr *chars, bool left,
                            bool right); /* chars NULL: white space */
const struct jstr *jf_replace(struct jx *x, const struct jstr *s, const struct jstr *old,
                              const struct jstr *new, int64_t count);
/* Sorts in place, stable; for keys that fail to compare it fails. */
void jf_sort_list(struct jx *x, struct jv list);

#endif
