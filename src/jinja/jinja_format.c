/*
 * jinja_format.c: "..." % values and "...".format(values), with Python's conversions.
 *
 * Both come down to one value written by one `spec`: fill, alignment, sign, width, grouping,
 * precision, type. Text of the format keeps its origin; what is written for a value is data when
 * the value is, and padding is data when the value or the format is.
 */
#include "jinja/jinja_value.h"

#include <assert.h>
#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DIGITS_MAX 100 /* behind the point; a double has no more than 17 that mean something */
#define WHOLE_MAX (DBL_MAX_10_EXP + 1)    /* before it */
#define GROUP_MIN 3                       /* digits between separators */
#define PREFIX_BYTES (sizeof "-0x" - 1)   /* and sign */
#define SUFFIX_BYTES (sizeof "e+308" - 1) /* or %, or the .0 of a whole number */
#define DIGITS_BYTES (WHOLE_MAX + sizeof "." - 1 + DIGITS_MAX + SUFFIX_BYTES + 1)
#define NUMBER_BYTES (PREFIX_BYTES + DIGITS_BYTES + WHOLE_MAX / GROUP_MIN)
#define WIDTH_MAX (1u << 20) /* a field wider than this is a mistake */

struct spec {
    struct jv fill;    /* a string of one character */
    char align;        /* < > ^ =, or NUL: by the type of the value */
    char sign;         /* + - or a blank, or NUL */
    bool alternate;    /* #: a prefix 0x, 0o, 0b */
    char group;        /* , or _, or NUL */
    int64_t width;     /* characters */
    int64_t precision; /* -1: not given */
    char type;         /* d, f, s, ..., or NUL */
};

static_assert(DIGITS_BYTES > 64, "an integer in binary");
static_assert(DIGITS_BYTES >= J_NUMBER_BYTES, "what jv_number() writes");

/* ---- one value ------------------------------------------------------------------------------- */

static void pad_into(struct jx *x, struct jbuf *b, const struct spec *f, size_t n, bool data)
{
    const struct jstr *fill = f->fill.s;
    jb_pad(x, b, data ? js_new(x, fill->s, fill->n, true) : fill, n);
}

/* body: what is written; its first n_sign characters are sign and prefix. */
static void put_field(struct jx *x, struct jbuf *b, const struct spec *f, const struct jstr *body,
                      size_t n_sign, char default_align)
{
    const char align = f->align ? f->align : default_align;
    if (f->width > WIDTH_MAX) jx_fail(x, "a field of %" PRId64 " characters is too wide", f->width);
    const size_t width = f->width > 0 ? (size_t)f->width : 0;
    const size_t n_pad = width > body->n_char ? width - body->n_char : 0;
    const size_t before = align == '<' ? 0 : align == '^' ? n_pad / 2 : n_pad;
    const size_t head = align == '=' ? n_sign : 0; /* ASCII: bytes are characters */
    const bool data = js_has_data(body);
    assert(head <= body->n && before <= n_pad);
    jb_sub(x, b, body, 0, head);
    pad_into(x, b, f, before, data);
    jb_sub(x, b, body, head, body->n);
    pad_into(x, b, f, n_pad - before, data);
}

static void put_text(struct jx *x, struct jbuf *b, const struct spec *f, const struct jstr *s)
{
    if (f->precision >= 0 && (uint64_t)f->precision < s->n_char)
        s = js_slice(x, s, 0, (size_t)f->precision);
    put_field(x, b, f, s, 0, '<');
}

/* Separators between groups of digits of s[from..to), the integer part. */
static size_t group_digits(char *s, size_t n, size_t from, size_t to, char mark, size_t size)
{
    for (size_t i = to; i > from + size;) {
        i -= size;
        memmove(s + i + 1, s + i, n - i);
        s[i] = mark;
        n++;
        assert(n < NUMBER_BYTES);
    }
    return n;
}

/* digits: without a sign. */
static void put_number(struct jx *x, struct jbuf *b, const struct spec *f, bool negative,
                       const char *prefix, const char *digits, bool data)
{
    char s[NUMBER_BYTES];
    const char *sign = negative ? "-" : f->sign == '+' ? "+" : f->sign == ' ' ? " " : "";
    size_t n = (size_t)snprintf(s, sizeof s, "%s%s", sign, prefix);
    const size_t n_sign = n;
    n += (size_t)snprintf(s + n, sizeof s - n, "%s", digits);
    assert(n < sizeof s - WHOLE_MAX / GROUP_MIN);
    if (f->group) {
        const size_t whole = n_sign + strspn(digits, "0123456789abcdefABCDEF");
        n = group_digits(s, n, n_sign, whole, f->group,
                         f->type && memchr("boxX", f->type, 4) ? 4 : GROUP_MIN);
    }
    /* Zeros that fill the width stand in groups, too, in Python; here they do not. */
    put_field(x, b, f, js_new(x, s, n, data), n_sign, '>');
}

/* Of a number; of a text each is fine. */
static void check_precision(struct jx *x, const struct spec *f)
{
    if (f->precision > DIGITS_MAX)
        jx_fail(x, "a precision of %" PRId64 " is too large, expected at most %d", f->precision,
                DIGITS_MAX);
}

static void put_int(struct jx *x, struct jbuf *b, const struct spec *f, struct jv v)
{
    char digits[DIGITS_BYTES];
    int64_t i = 0;
    check_precision(x, f);
    const bool is_int = jv_to_int(v, &i);
    assert(is_int);
    const uint64_t u = i < 0 ? 0 - (uint64_t)i : (uint64_t)i;
    const char *prefix = "";
    if (f->type == 'x' || f->type == 'X') {
        snprintf(digits, sizeof digits, f->type == 'x' ? "%" PRIx64 : "%" PRIX64, u);
        if (f->alternate) prefix = f->type == 'x' ? "0x" : "0X";
    } else if (f->type == 'o') {
        snprintf(digits, sizeof digits, "%" PRIo64, u);
        if (f->alternate) prefix = "0o";
    } else if (f->type == 'b') {
        size_t n = 0;
        for (int bit = 63; bit >= 0; bit--) {
            if (n > 0 || bit == 0 || u >> bit & 1) digits[n++] = (char)('0' + (u >> bit & 1));
        }
        digits[n] = '\0';
        if (f->alternate) prefix = "0b";
    } else {
        snprintf(digits, sizeof digits, "%" PRIu64, u);
    }
    /* %.5d: at least so many digits */
    const size_t n = strlen(digits), want = f->precision > 0 ? (size_t)f->precision : 0;
    if (want > n) {
        memmove(digits + want - n, digits, n + 1);
        memset(digits, '0', want - n);
    }
    put_number(x, b, f, i < 0, prefix, digits, v.data);
}

static void put_float(struct jx *x, struct jbuf *b, const struct spec *f, double v, bool data)
{
    char digits[DIGITS_BYTES], type = f->type ? f->type : 'g';
    const double a = fabs(v);
    check_precision(x, f);
    const int precision = f->precision < 0 ? 6 : (int)f->precision;
    if (!isfinite(v)) {
        snprintf(digits, sizeof digits, isnan(v) ? "nan" : "inf");
        if (type >= 'A' && type <= 'Z') snprintf(digits, sizeof digits, isnan(v) ? "NAN" : "INF");
    } else if (!f->type && f->precision < 0) {
        digits[jv_number(jv_float(a), digits)] = '\0';
    } else if (type == '%') {
        snprintf(digits, sizeof digits, "%.*f%%", precision, a * 100);
    } else {
        const char format[] = {'%',
                               f->alternate ? '#' : '.',
                               f->alternate ? '.' : '*',
                               f->alternate ? '*' : type,
                               f->alternate ? type : '\0',
                               '\0'};
        snprintf(digits, sizeof digits, format, precision, a);
        const size_t n = strlen(digits);
        if (!f->type && !strpbrk(digits, ".e")) memcpy(digits + n, ".0", sizeof ".0");
    }
    put_number(x, b, f, signbit(v) && !isnan(v), "", digits, data);
}

/* ---- % --------------------------------------------------------------------------------------- */

struct percent {
    struct jx *x;
    const struct jstr *s;
    size_t i; /* byte of s */
    struct jv args;
    size_t i_arg;
    struct jbuf out;
};

static struct jv next_arg(struct percent *p)
{
    if (p->args.kind == J_TUPLE) {
        if (p->i_arg >= p->args.list->n) jx_fail(p->x, "not enough arguments for format string");
        return p->args.list->v[p->i_arg++];
    }
    if (p->i_arg++ > 0) jx_fail(p->x, "not enough arguments for format string");
    return p->args;
}

static char at(const struct percent *p)
{
    if (p->i >= p->s->n) jx_fail(p->x, "incomplete format, expected a conversion behind %%");
    return p->s->s[p->i];
}

/* "(name)" */
static struct jv keyed_arg(struct percent *p)
{
    const size_t from = ++p->i;
    for (int depth = 1; depth > 0; p->i++) depth += (at(p) == '(') - (at(p) == ')');
    if (p->args.kind != J_DICT) jx_fail(p->x, "format requires a mapping");
    const struct jv *v = jd_find_str(p->x, p->args.dict, p->s->s + from, p->i - 1 - from);
    if (!v) jx_fail(p->x, "the format names a key that is not given");
    return *v;
}

/* Digits, or * for the next argument; `otherwise` when there is neither. */
static int64_t number_of(struct percent *p, int64_t otherwise)
{
    if (at(p) == '*') {
        p->i++;
        return ja_int(p->x, next_arg(p), 0, "a width given by *");
    }
    if (at(p) < '0' || at(p) > '9') return otherwise;
    int64_t n = 0;
    for (; at(p) >= '0' && at(p) <= '9'; p->i++) n = n > WIDTH_MAX ? n : n * 10 + at(p) - '0';
    return n;
}

static struct spec percent_spec(struct percent *p)
{
    struct spec f = {.align = '>', .precision = -1, .fill = jv_own(p->x, " ")};
    bool zero = false, left = false;
    for (; memchr("-+ #0", at(p), 5); p->i++) {
        const char c = at(p);
        left = left || c == '-';
        zero = zero || c == '0';
        f.alternate = f.alternate || c == '#';
        if (c == '+' || (c == ' ' && f.sign != '+')) f.sign = c;
    }
    f.width = number_of(p, 0);
    if (f.width < 0) {
        left = true;
        f.width = f.width < -(int64_t)WIDTH_MAX ? WIDTH_MAX + 1 : -f.width;
    }
    if (at(p) == '.') {
        p->i++;
        f.precision = number_of(p, 0);
        if (f.precision < 0) f.precision = 0;
    }
    while (memchr("hlL", at(p), 3)) p->i++;
    f.type = at(p);
    p->i++;
    if (left) {
        f.align = '<';
    } else if (zero && !memchr("rsac", f.type, 4)) {
        f.align = '=';
        f.fill = jv_own(p->x, "0");
    }
    return f;
}

static void put_char(struct percent *p, struct spec *f, struct jv v)
{
    int64_t i;
    struct jbuf b = {0};
    f->precision = -1;
    if (v.kind == J_STR && v.s->n_char == 1) {
        put_text(p->x, &p->out, f, v.s);
        return;
    }
    if (!jv_to_int(v, &i) || i < 0 || i > 0x10ffff || (i >= 0xd800 && i < 0xe000))
        jx_fail(p->x, "%%c requires a character or its code");
    jb_char(p->x, &b, (uint32_t)i, v.data);
    put_text(p->x, &p->out, f, jb_end(p->x, &b));
}

static void put_percent(struct percent *p, struct spec *f, struct jv v)
{
    struct jbuf b = {0};
    switch (f->type) {
    case 's':
        put_text(p->x, &p->out, f, jv_string(p->x, v));
        return;
    case 'a':
    case 'r':
        jv_repr(p->x, &b, v);
        put_text(p->x, &p->out, f, jb_end(p->x, &b));
        return;
    case 'c':
        put_char(p, f, v);
        return;
    default:
        break;
    }
    if (!memchr("diuoxXeEfFgG", f->type, 12))
        jx_fail(p->x, "unsupported format character '%c'", f->type >= ' ' ? f->type : '?');
    if (v.kind == J_UNDEF) jv_fail_undef(p->x, v);
    if (!jv_is_number(v))
        jx_fail(p->x, "%%%c format: a number is required, not %s", f->type, jv_type(v));
    if (memchr("eEfFgG", f->type, 6)) {
        put_float(p->x, &p->out, f, jv_to_float(v), v.data);
        return;
    }
    if (v.kind == J_FLOAT) {
        if (memchr("oxX", f->type, 3) || !(fabs(v.f) < 0x1p63))
            jx_fail(p->x, "%%%c format: an integer is required, not float", f->type);
        const bool data = v.data;
        v = jv_int((int64_t)v.f);
        v.data = data;
    }
    put_int(p->x, &p->out, f, v);
}

static void percent_field(struct percent *p)
{
    const size_t from = p->i - 1;
    struct jv v = {.kind = J_MISSING};
    if (at(p) == '(') v = keyed_arg(p);
    struct spec f = percent_spec(p);
    if (f.type == '%') {
        jb_sub(p->x, &p->out, p->s, from, from + 1);
        return;
    }
    put_percent(p, &f, v.kind == J_MISSING ? next_arg(p) : v);
}

const struct jstr *jo_percent(struct jx *x, const struct jstr *s, struct jv args)
{
    struct percent p = {.x = x, .s = s, .args = args};
    jx_scan(x, s->n);
    while (p.i < s->n) {
        const char *mark = memchr(s->s + p.i, '%', s->n - p.i);
        const size_t end = mark ? (size_t)(mark - s->s) : s->n;
        jb_sub(x, &p.out, s, p.i, end);
        p.i = end + 1;
        jx_step(x, 1);
        if (mark) percent_field(&p);
    }
    /* Python does not ask this of values that have items by key, and a list is one of them. */
    const bool may_rest =
        args.kind == J_DICT || args.kind == J_LIST || args.kind == J_RANGE || args.kind == J_UNDEF;
    if (!may_rest && p.i_arg < (args.kind == J_TUPLE ? args.list->n : 1))
        jx_fail(x, "not all arguments converted during string formatting");
    return js_safe(x, jb_end(x, &p.out), s->safe);
}

/* ---- format() -------------------------------------------------------------------------------- */

struct format {
    struct jx *x;
    const struct jargs *a;
    int64_t next; /* automatic number; -1: numbers are given */
};

static struct jv named_arg(struct format *f, const struct jstr *name)
{
    for (size_t i = 0; i < f->a->n_kw; i++) {
        jx_step(f->x, 1);
        if (js_eq(f->x, f->a->kw[i].name, name)) return f->a->kw[i].v;
    }
    jx_fail(f->x, "format: there is no argument '%.*s'", (int)(name->n < 60 ? name->n : 60),
            name->s);
}

static struct jv numbered_arg(struct format *f, const struct jstr *name)
{
    int64_t i;
    if (name->n == 0) {
        if (f->next < 0) jx_fail(f->x, "format: '{}' behind a field with a number");
        i = f->next++;
    } else {
        if (f->next > 0) jx_fail(f->x, "format: a field with a number behind '{}'");
        f->next = -1;
        i = jv_parse_int(f->x, name, 10).i;
    }
    if ((uint64_t)i >= f->a->n) jx_fail(f->x, "format: there is no argument %" PRId64, i);
    return f->a->v[i];
}

/* "0", "name", each with ".attribute" and "[key]" behind it. */
static struct jv field_value(struct format *f, const struct jstr *name)
{
    size_t i = 0;
    while (i < name->n && name->s[i] != '.' && name->s[i] != '[') i++;
    const struct jstr *first = js_sub(f->x, name, 0, i);
    struct jv v = js_all_digits(f->x, first) ? numbered_arg(f, first) : named_arg(f, first);
    while (i < name->n) {
        const bool bracket = name->s[i] == '[';
        const size_t from = ++i;
        while (i < name->n &&
               (bracket ? name->s[i] != ']' : name->s[i] != '.' && name->s[i] != '['))
            i++;
        if (i == from || (bracket && i == name->n)) jx_fail(f->x, "format: malformed field name");
        const struct jstr *key = js_sub(f->x, name, from, i);
        if (!bracket) {
            v = jo_attr(f->x, v, key);
            continue;
        }
        i++;
        v = jo_item(f->x, v, js_all_digits(f->x, key) ? jv_parse_int(f->x, key, 10) : jv_str(key));
    }
    return v;
}

static int64_t take_number(const struct jstr *s, size_t *i, int64_t otherwise)
{
    if (*i >= s->n || s->s[*i] < '0' || s->s[*i] > '9') return otherwise;
    int64_t n = 0;
    for (; *i < s->n && s->s[*i] >= '0' && s->s[*i] <= '9'; ++*i)
        n = n > WIDTH_MAX ? n : n * 10 + s->s[*i] - '0';
    return n;
}

static bool take_mark(const struct jstr *s, size_t *i, const char *marks, char *out)
{
    if (*i >= s->n || !memchr(marks, s->s[*i], strlen(marks))) return false;
    *out = s->s[(*i)++];
    return true;
}

/* [[fill]align][sign][#][0][width][grouping][.precision][type] */
static struct spec parse_spec(struct jx *x, const struct jstr *s)
{
    struct spec f = {.precision = -1, .fill = jv_own(x, " ")};
    size_t i = 0, second = 0;
    char mark;
    if (s->n > 0) js_char(x, s, &second);
    if (second > 0 && second < s->n && memchr("<>=^", s->s[second], 4)) {
        f.fill = jv_str(js_sub(x, s, 0, second));
        i = second;
    }
    take_mark(s, &i, "<>=^", &f.align);
    take_mark(s, &i, "+- ", &f.sign);
    f.alternate = take_mark(s, &i, "#", &mark);
    if (take_mark(s, &i, "0", &mark) && !f.align) {
        f.align = '=';
        f.fill = jv_own(x, "0");
    }
    f.width = take_number(s, &i, 0);
    take_mark(s, &i, ",_", &f.group);
    if (take_mark(s, &i, ".", &mark)) {
        f.precision = take_number(s, &i, -1);
        if (f.precision < 0) jx_fail(x, "format: a precision without digits");
    }
    if (i < s->n) f.type = s->s[i++];
    if (i < s->n) jx_fail(x, "format: a malformed specification");
    return f;
}

static void put_formatted(struct jx *x, struct jbuf *b, struct jv v, const struct jstr *text)
{
    if (text->n == 0) {
        jv_print(x, b, v);
        return;
    }
    const struct spec f = parse_spec(x, text);
    if (v.kind == J_STR || v.kind == J_UNDEF) {
        if ((f.type && f.type != 's') || f.align == '=' || f.sign || f.group)
            jx_fail(x, "format: a specification that is not for strings");
        put_text(x, b, &f, jv_string(x, v));
        return;
    }
    const bool is_int = v.kind == J_INT || v.kind == J_BOOL;
    if (!is_int && v.kind != J_FLOAT) jx_fail(x, "format: a %s takes no specification", jv_type(v));
    if (f.group == ',' && f.type && memchr("boxX", f.type, 4))
        jx_fail(x, "format: digits of type '%c' are grouped by '_', not by ','", f.type);
    if (is_int && (!f.type || memchr("bdoxXn", f.type, 6)) && f.precision < 0) {
        put_int(x, b, &f, v);
    } else if ((!f.type && !is_int) || (f.type && memchr("eEfFgG%n", f.type, 8))) {
        struct spec g = f;
        if (g.type == 'n') g.type = 'g';
        put_float(x, b, &g, jv_to_float(v), v.data);
    } else {
        jx_fail(x, "format: a specification that is not for a %s", jv_type(v));
    }
}

static const struct jstr *expand(struct format *f, const struct jstr *s, int depth);

/* One field, s[from, to) between its braces: name[!conversion][:specification]. */
static void put_format_field(struct format *f, struct jbuf *b, const struct jstr *s, size_t from,
                             size_t to, int depth)
{
    size_t name = from;
    while (name < to && s->s[name] != '!' && s->s[name] != ':') {
        if (s->s[name] == '[') { /* a key may hold what it likes */
            while (name < to && s->s[name] != ']') name++;
        }
        name += name < to;
    }
    struct jv v = field_value(f, js_sub(f->x, s, from, name));
    size_t i = name;
    if (i < to && s->s[i] == '!') {
        struct jbuf r = {0};
        const char how = i + 1 < to ? s->s[i + 1] : '\0';
        if (how != 'r' && how != 's' && how != 'a')
            jx_fail(f->x, "format: a conversion is !r, !s or !a");
        (how == 's' ? jv_print : jv_repr)(f->x, &r, v);
        v = jv_str(jb_end(f->x, &r));
        i += 2;
    }
    if (i < to && s->s[i] != ':') jx_fail(f->x, "format: expected ':' behind the field's name");
    const struct jstr *spec = js_sub(f->x, s, i < to ? i + 1 : to, to);
    put_formatted(f->x, b, v, expand(f, spec, depth + 1));
}

/* The byte of the brace that closes the field that starts at i. */
static size_t field_end(struct jx *x, const struct jstr *s, size_t i)
{
    for (int depth = 1; i < s->n; i++) {
        depth += (s->s[i] == '{') - (s->s[i] == '}');
        if (depth == 0) return i;
    }
    jx_fail(x, "format: expected '}' before the end of the string");
}

static const struct jstr *expand(struct format *f, const struct jstr *s, int depth)
{
    struct jbuf b = {0};
    jx_scan(f->x, s->n);
    if (!memchr(s->s, '{', s->n) && !memchr(s->s, '}', s->n)) return s;
    if (depth > 1) jx_fail(f->x, "format: fields are nested too deep");
    for (size_t i = 0; i < s->n;) {
        const char c = s->s[i];
        jx_step(f->x, 1);
        if (c != '{' && c != '}') {
            size_t end = i;
            while (end < s->n && s->s[end] != '{' && s->s[end] != '}') end++;
            jb_sub(f->x, &b, s, i, end);
            i = end;
        } else if (i + 1 < s->n && s->s[i + 1] == c) {
            jb_sub(f->x, &b, s, i, i + 1);
            i += 2;
        } else {
            if (c == '}') jx_fail(f->x, "format: a single '}' in the string");
            const size_t end = field_end(f->x, s, i + 1);
            put_format_field(f, &b, s, i + 1, end, depth);
            i = end + 1;
        }
    }
    return jb_end(f->x, &b);
}

const struct jstr *jo_format(struct jx *x, const struct jstr *s, const struct jargs *a)
{
    struct format f = {.x = x, .a = a};
    return js_safe(x, expand(&f, s, 0), s->safe);
}
