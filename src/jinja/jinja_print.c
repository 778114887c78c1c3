/*
 * jinja_print.c: values as text, as Python's str() and repr() write them, and numbers from text.
 *
 * A float is written with the fewest digits that read back as the same number; exponents appear
 * below 1e-4 and from 1e16 on. What Python prints with an address (functions, generators) is
 * printed without one.
 */
#include "jinja/jinja_impl.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define FLOAT_DIGITS_MAX 17  /* always enough for a double */
#define FLOAT_TEXT_BYTES 512 /* a number to read; the rest of its digits would not count */

/* ---- numbers --------------------------------------------------------------------------------- */

static size_t print_float(double f, char s[J_NUMBER_BYTES])
{
    if (isnan(f)) return (size_t)snprintf(s, J_NUMBER_BYTES, "nan");
    if (isinf(f)) return (size_t)snprintf(s, J_NUMBER_BYTES, f < 0 ? "-inf" : "inf");
    int n_digit = 1, n = 0;
    for (; n_digit <= FLOAT_DIGITS_MAX; n_digit++) {
        n = snprintf(s, J_NUMBER_BYTES, "%.*e", n_digit - 1, f);
        if (strtod(s, NULL) == f) break;
    }
    const char *e = strchr(s, 'e');
    assert(e);
    const int exp10 = (int)strtol(e + 1, NULL, 10);
    if (exp10 < -4 || exp10 >= 16) return (size_t)n;
    const int n_after = n_digit - 1 - exp10;
    n = snprintf(s, J_NUMBER_BYTES, "%.*f", n_after > 1 ? n_after : 1, f);
    assert(n > 0 && n < J_NUMBER_BYTES);
    return (size_t)n;
}

size_t jv_number(struct jv v, char s[J_NUMBER_BYTES])
{
    if (v.kind == J_FLOAT) return print_float(v.f, s);
    assert(v.kind == J_INT);
    return (size_t)snprintf(s, J_NUMBER_BYTES, "%" PRId64, v.i);
}

/* Value of a digit in a base up to 36, or 36. */
static unsigned digit_of(char c)
{
    if (c >= '0' && c <= '9') return (unsigned)(c - '0');
    if (c >= 'a' && c <= 'z') return (unsigned)(c - 'a') + 10;
    if (c >= 'A' && c <= 'Z') return (unsigned)(c - 'A') + 10;
    return 36;
}

/* Takes "0x" and its like off when base says so; base 0 takes what the text says. */
static int take_prefix(const struct jstr *s, size_t *i, int base)
{
    const char mark = *i + 1 < s->n && s->s[*i] == '0' ? (char)(s->s[*i + 1] | 32) : '\0';
    const int named = mark == 'x' ? 16 : mark == 'o' ? 8 : mark == 'b' ? 2 : 0;
    if (named && (base == named || base == 0)) {
        *i += 2;
        if (*i < s->n && s->s[*i] == '_') ++*i;
        return named;
    }
    return base ? base : 10;
}

struct jv jv_parse_int(struct jx *x, const struct jstr *text, int base)
{
    const struct jv none = {.kind = J_MISSING};
    if (base != 0 && (base < 2 || base > 36)) return none;
    const struct jstr *s = jf_strip(x, text, NULL, true, true);
    size_t i = 0;
    const bool negative = s->n > 0 && s->s[0] == '-';
    if (negative || (s->n > 0 && s->s[0] == '+')) i++;
    base = take_prefix(s, &i, base);
    int64_t v = 0;
    bool after_digit = false;
    jx_scan(x, s->n);
    for (; i < s->n; i++) {
        if (s->s[i] == '_' && after_digit && i + 1 < s->n) {
            after_digit = false;
            continue;
        }
        const unsigned d = digit_of(s->s[i]);
        if (d >= (unsigned)base) return none;
        if (__builtin_mul_overflow(v, (int64_t)base, &v) ||
            __builtin_sub_overflow(v, (int64_t)d, &v))
            jx_fail(x, "the number '%.*s' does not fit into 64 bits", (int)(s->n < 40 ? s->n : 40),
                    s->s);
        after_digit = true;
    }
    if (!after_digit) return none;
    if (!negative && v == INT64_MIN) jx_fail(x, "the number 2**63 does not fit into 64 bits");
    struct jv number = jv_int(negative ? v : -v);
    number.data = js_has_data(text);
    return number;
}

/* Digits, point and exponent as Python's float() takes them; copies them without underscores. */
static bool is_float_text(const char *s, char out[FLOAT_TEXT_BYTES])
{
    size_t n = 0, n_digit = 0;
    bool point = false, power = false;
    for (const char *p = s; *p; p++) {
        const bool digit = *p >= '0' && *p <= '9';
        const bool sign_here = p == s || p[-1] == 'e' || p[-1] == 'E';
        if (*p == '_') {
            if (p == s || digit_of(p[-1]) > 9 || digit_of(p[1]) > 9) return false;
            continue;
        }
        if (*p == '.' && !point && !power) {
            point = true;
        } else if ((*p == 'e' || *p == 'E') && !power && n_digit > 0) {
            power = true;
            n_digit = 0;
        } else if (!digit && !((*p == '+' || *p == '-') && sign_here)) {
            return false;
        }
        n_digit += digit;
        out[n++] = *p;
    }
    out[n] = '\0';
    return n_digit > 0;
}

struct jv jv_parse_float(struct jx *x, const struct jstr *text)
{
    const struct jstr *s = jf_strip(x, text, NULL, true, true);
    char in[FLOAT_TEXT_BYTES], out[FLOAT_TEXT_BYTES];
    if (s->n >= sizeof in || memchr(s->s, '\0', s->n)) return (struct jv){.kind = J_MISSING};
    memcpy(in, s->s, s->n);
    in[s->n] = '\0';
    const char *word = in + (in[0] == '+' || in[0] == '-');
    struct jv v = {.kind = J_FLOAT, .data = js_has_data(text)};
    if (strcasecmp(word, "inf") == 0 || strcasecmp(word, "infinity") == 0 ||
        strcasecmp(word, "nan") == 0) {
        v.f = strtod(in, NULL);
        return v;
    }
    if (!is_float_text(in, out)) return (struct jv){.kind = J_MISSING};
    v.f = strtod(out, NULL);
    return v;
}

/* ---- repr ------------------------------------------------------------------------------------ */

static void repr_char(struct jx *x, struct jbuf *b, uint32_t c, uint32_t quote, bool data)
{
    char s[16];
    static const char names[] = "\tt\nn\rr\\\\";
    const char *p = c < 0x80 && c > 0 ? strchr(names, (int)c) : NULL;
    if (p && (p - names) % 2 == 0) {
        snprintf(s, sizeof s, "\\%c", p[1]);
    } else if (c == quote) {
        snprintf(s, sizeof s, "\\%c", (char)c);
    } else if (jc_printable(c)) {
        jb_char(x, b, c, data);
        return;
    } else {
        snprintf(s, sizeof s, c < 0x100 ? "\\x%02x" : c < 0x10000 ? "\\u%04x" : "\\U%08x", c);
    }
    jb_put(x, b, s, strlen(s), data);
}

static void put(struct jx *x, struct jbuf *b, const char *s, bool data)
{
    jb_put(x, b, s, strlen(s), data);
}

static void repr_str(struct jx *x, struct jbuf *b, const struct jstr *s)
{
    const bool single = memchr(s->s, '\'', s->n) != NULL;
    const char quote = single && !memchr(s->s, '"', s->n) ? '"' : '\'';
    const bool data = js_has_data(s);
    if (s->safe) put(x, b, "Markup(", data);
    jb_put(x, b, &quote, 1, data);
    for (size_t i = 0; i < s->n;) {
        const size_t at = i;
        repr_char(x, b, js_char(x, s, &i), (uint32_t)quote, js_is_data(s, at));
    }
    jb_put(x, b, &quote, 1, data);
    if (s->safe) put(x, b, ")", data);
}

static void repr_items(struct jx *x, struct jbuf *b, struct jv v, const char *open,
                       const char *close)
{
    put(x, b, open, v.data);
    for (size_t i = 0; i < v.list->n; i++) {
        if (i > 0) put(x, b, ", ", v.data);
        jv_repr(x, b, v.list->v[i]);
    }
    if (v.kind == J_TUPLE && v.list->n == 1) put(x, b, ",", v.data);
    put(x, b, close, v.data);
}

static void repr_dict(struct jx *x, struct jbuf *b, struct jv v)
{
    put(x, b, "{", v.data);
    for (size_t i = 0; i < v.dict->n; i++) {
        if (i > 0) put(x, b, ", ", v.data);
        jv_repr(x, b, v.dict->e[i].key);
        put(x, b, ": ", v.data);
        jv_repr(x, b, v.dict->e[i].v);
    }
    put(x, b, "}", v.data);
}

static void repr_range(struct jx *x, struct jbuf *b, const struct jrange *r)
{
    char s[96];
    const int n = snprintf(s, sizeof s, "range(%" PRId64 ", %" PRId64, r->start, r->stop);
    const size_t n_step = sizeof s - (size_t)n;
    snprintf(s + n, n_step, r->step == 1 ? ")" : ", %" PRId64 ")", r->step);
    jb_own(x, b, s);
}

/* Values whose Python text is <...>. */
static void repr_object(struct jx *x, struct jbuf *b, struct jv v)
{
    put(x, b, "<", v.data);
    put(x, b, v.kind == J_FUNC ? "built-in function" : jv_type(v), v.data);
    if (v.kind == J_FUNC) {
        put(x, b, " ", v.data);
        put(x, b, v.func->row->name, v.data);
    }
    if (v.kind == J_SPACE) {
        put(x, b, " ", v.data);
        repr_dict(x, b, v);
    }
    if (v.kind == J_MACRO) {
        put(x, b, v.macro->node->name ? " " : " anonymous", v.data);
        if (v.macro->node->name) repr_str(x, b, v.macro->node->name);
    }
    if (v.kind == J_LOOP) {
        put(x, b, " ", v.data);
        jv_repr(x, b, jl_attr(x, v, js_own(x, "index")));
        put(x, b, "/", v.data);
        jv_repr(x, b, jl_attr(x, v, js_own(x, "length")));
    }
    put(x, b, ">", v.data);
}

void jv_repr(struct jx *x, struct jbuf *b, struct jv v)
{
    char s[J_NUMBER_BYTES];
    jx_step(x, 1);
    jx_down(x);
    switch (v.kind) {
    case J_UNDEF:
        put(x, b, "Undefined", v.data);
        break;
    case J_NONE:
        put(x, b, "None", v.data);
        break;
    case J_BOOL:
        put(x, b, v.b ? "True" : "False", v.data);
        break;
    case J_INT:
    case J_FLOAT:
        jb_put(x, b, s, jv_number(v, s), v.data);
        break;
    case J_STR:
        repr_str(x, b, v.s);
        break;
    case J_LIST:
        repr_items(x, b, v, "[", "]");
        break;
    case J_TUPLE:
        repr_items(x, b, v, "(", ")");
        break;
    case J_DICT:
        repr_dict(x, b, v);
        break;
    case J_RANGE:
        repr_range(x, b, v.range);
        break;
    case J_VIEW:
        put(x, b, v.list->type, v.data);
        repr_items(x, b, v, "([", "])");
        break;
    default:
        repr_object(x, b, v);
    }
    jx_up(x);
}

void jv_print(struct jx *x, struct jbuf *b, struct jv v)
{
    if (v.kind == J_STR) {
        jb_str(x, b, v.s);
    } else if (v.kind != J_UNDEF) {
        jv_repr(x, b, v);
    }
}

const struct jstr *jv_string(struct jx *x, struct jv v)
{
    if (v.kind == J_STR) return v.s;
    struct jbuf b = {0};
    jv_print(x, &b, v);
    return jb_end(x, &b);
}
