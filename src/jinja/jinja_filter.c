/*
 * jinja_filter.c: filters of single values, and where all filters are found: those of sequences are
 * in jinja_filter_seq.c, those of texts in jinja_filter_text.c.
 *
 * A filter that needs chance or the network's idea of a link (random, urlize) is known by name and
 * refused when it runs.
 */
#include "jinja/jinja_impl.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROUND_DIGITS_MAX 323 /* behind the point; no double has more */
#define ROUND_BYTES 1024     /* 309 digits before the point, ROUND_DIGITS_MAX behind */
#define LINE_CHARS 80        /* of pprint */

/* ---- numbers --------------------------------------------------------------------------------- */

static struct jv marked(struct jv v, struct jv like)
{
    v.data = jv_is_data(like);
    return v;
}

static struct jv do_abs(struct jx *x, struct jv v, const struct jargs *a)
{
    (void)a;
    if (!jv_is_number(v)) {
        if (v.kind == J_UNDEF) jv_fail_undef(x, v);
        jx_fail(x, "abs: '%s' is no number", jv_type(v));
    }
    if (v.kind == J_BOOL) return marked(jv_int(v.b), v);
    if (v.kind == J_FLOAT) return marked(jv_float(fabs(v.f)), v);
    return v.i < 0 ? jo_negate(x, v) : v;
}

/* A float as an integer, towards zero; false when it is none. */
static bool truncated(double f, int64_t *i)
{
    if (!(f > -0x1p63 && f < 0x1p63)) return false;
    *i = (int64_t)f;
    return true;
}

static struct jv do_int(struct jx *x, struct jv v, const struct jargs *a)
{
    enum { DEFAULT, BASE };
    const struct jv otherwise = ja_or(a->v[DEFAULT], jv_int(0));
    int64_t i;
    if (v.kind == J_UNDEF) jv_fail_undef(x, v);
    if (jv_to_int(v, &i)) return marked(jv_int(i), v);
    if (v.kind == J_FLOAT) {
        if (!truncated(v.f, &i)) jx_fail(x, "int: the number does not fit into 64 bits");
        return marked(jv_int(i), v);
    }
    if (v.kind != J_STR) return otherwise;
    const struct jv whole = jv_parse_int(x, v.s, (int)ja_int(x, a->v[BASE], 10, "the base of int"));
    if (whole.kind != J_MISSING) return whole;
    const struct jv f = jv_parse_float(x, v.s);
    if (f.kind == J_MISSING || !truncated(f.f, &i)) return otherwise;
    return marked(jv_int(i), v);
}

static struct jv do_float(struct jx *x, struct jv v, const struct jargs *a)
{
    const struct jv otherwise = ja_or(a->v[0], jv_float(0));
    if (v.kind == J_UNDEF) jv_fail_undef(x, v);
    if (jv_is_number(v)) return marked(jv_float(jv_to_float(v)), v);
    if (v.kind != J_STR) return otherwise;
    const struct jv f = jv_parse_float(x, v.s);
    return f.kind == J_MISSING ? otherwise : f;
}

/* To the nearest, ties to even, as decimal digits say: what printf does. */
static double round_float(double f, int64_t digits)
{
    char s[ROUND_BYTES];
    if (!isfinite(f) || digits > ROUND_DIGITS_MAX) return f;
    if (digits < -ROUND_DIGITS_MAX) return 0;
    if (digits < 0) {
        const double scale = pow(10, (double)-digits);
        return nearbyint(f / scale) * scale;
    }
    const int n = snprintf(s, sizeof s, "%.*f", (int)digits, f);
    assert(n > 0 && (size_t)n < sizeof s);
    return strtod(s, NULL);
}

static int64_t round_int(struct jx *x, int64_t i, int64_t digits)
{
    int64_t scale = 1;
    if (digits >= 0) return i;
    for (; digits < 0; digits++) {
        if (__builtin_mul_overflow(scale, 10, &scale)) return 0;
    }
    const int64_t rest = jo_mod(x, i, scale), down = i - rest;
    const bool up = rest * 2 > scale || (rest * 2 == scale && down / scale % 2 != 0);
    int64_t v = down;
    if (up && __builtin_add_overflow(down, scale, &v)) jx_fail(x, "round: too large");
    return v;
}

static struct jv do_round(struct jx *x, struct jv v, const struct jargs *a)
{
    enum { PRECISION, METHOD };
    const int64_t digits = ja_int(x, a->v[PRECISION], 0, "the precision of round");
    const struct jstr *how = ja_str(x, a->v[METHOD], js_own(x, "common"), "the method of round");
    const bool up = js_is(how, "ceil");
    int64_t i;
    if (v.kind == J_UNDEF) jv_fail_undef(x, v);
    if (!jv_is_number(v)) jx_fail(x, "round: '%s' is no number", jv_type(v));
    if (js_is(how, "common")) {
        if (jv_to_int(v, &i)) return marked(jv_int(round_int(x, i, digits)), v);
        return marked(jv_float(round_float(v.f, digits)), v);
    }
    if (!up && !js_is(how, "floor")) jx_fail(x, "round: method must be common, ceil or floor");
    const double scale = pow(10, (double)digits), scaled = jv_to_float(v) * scale;
    return marked(jv_float((up ? ceil(scaled) : floor(scaled)) / scale), v);
}

static struct jv do_filesizeformat(struct jx *x, struct jv v, const struct jargs *a)
{
    const bool binary = ja_true(a->v[0]);
    const double base = binary ? 1024 : 1000;
    const struct jv number = v.kind == J_STR ? jv_parse_float(x, v.s) : v;
    if (!jv_is_number(number)) jx_fail(x, "filesizeformat: the value is no number");
    const double n = jv_to_float(number);
    char s[ROUND_BYTES];
    if (n == 1) {
        snprintf(s, sizeof s, "1 Byte");
    } else if (n < base) {
        snprintf(s, sizeof s, "%.0f Bytes", trunc(n));
    } else {
        static const char units[] = "kMGTPEZY";
        size_t i = 0;
        double unit = base;
        for (; i + 1 < sizeof units - 1 && n >= unit * base; i++) unit *= base;
        const char mark = binary && i == 0 ? 'K' : units[i];
        snprintf(s, sizeof s, "%.1f %c%s", n / unit, mark, binary ? "iB" : "B");
    }
    struct jbuf b = {0};
    jb_put(x, &b, s, strlen(s), jv_is_data(v));
    return jv_str(jb_end(x, &b));
}

/* ---- any value ------------------------------------------------------------------------------- */

static struct jv do_attr(struct jx *x, struct jv v, const struct jargs *a)
{
    return jo_attr_only(x, v, ja_str(x, a->v[0], NULL, "the name of attr"));
}

static struct jv do_default(struct jx *x, struct jv v, const struct jargs *a)
{
    enum { DEFAULT_VALUE, BOOLEAN };
    const bool use = v.kind == J_UNDEF || (ja_true(a->v[BOOLEAN]) && !jv_truth(v));
    if (!use) return v;
    return ja_or(a->v[DEFAULT_VALUE], jv_own(x, ""));
}

static struct jv do_length(struct jx *x, struct jv v, const struct jargs *a)
{
    (void)a;
    size_t n;
    if (v.kind == J_LOOP) return jl_attr(x, v, js_own(x, "length"));
    if (!jv_len(v, &n)) jx_fail(x, "object of type '%s' has no len()", jv_type(v));
    return jv_int((int64_t)n);
}

static struct jv do_string(struct jx *x, struct jv v, const struct jargs *a)
{
    (void)a;
    return jv_str(jv_string(x, v));
}

static struct jv do_safe(struct jx *x, struct jv v, const struct jargs *a)
{
    (void)a;
    return jv_str(js_safe(x, jv_string(x, v), true));
}

static struct jv do_escape(struct jx *x, struct jv v, const struct jargs *a)
{
    (void)a;
    return jv_str(js_escape(x, jv_string(x, v)));
}

static struct jv do_forceescape(struct jx *x, struct jv v, const struct jargs *a)
{
    (void)a;
    return jv_str(js_escape(x, js_safe(x, jv_string(x, v), false)));
}

/* The same with the keys of dicts in order. */
static struct jv ordered(struct jx *x, struct jv v)
{
    struct jv out = v;
    jx_down(x);
    if (v.kind == J_LIST || v.kind == J_TUPLE) {
        out = jv_list(x, v.kind, v.list->n);
        for (size_t i = 0; i < v.list->n; i++) jv_push(x, out, ordered(x, v.list->v[i]));
    } else if (v.kind == J_DICT) {
        const struct jv keys = jv_listed(x, v);
        jf_sort_list(x, keys);
        out = jd_new(x);
        for (size_t i = 0; i < keys.list->n; i++) {
            const struct jv key = keys.list->v[i];
            jd_set(x, out.dict, key, ordered(x, *jd_find(x, v.dict, key)));
        }
    }
    out.data = v.data;
    jx_up(x);
    return out;
}

static struct jv do_pprint(struct jx *x, struct jv v, const struct jargs *a)
{
    (void)a;
    struct jbuf b = {0};
    jv_repr(x, &b, ordered(x, v));
    const struct jstr *s = jb_end(x, &b);
    if (s->n_char > LINE_CHARS && v.kind != J_STR)
        jx_fail(x, "pprint: the value does not fit on one line, use tojson(indent=2)");
    return jv_str(s);
}

static struct jv do_random(struct jx *x, struct jv v, const struct jargs *a)
{
    (void)v;
    (void)a;
    jx_fail(x, "random: a prompt must not depend on chance");
}

static struct jv do_urlize(struct jx *x, struct jv v, const struct jargs *a)
{
    (void)v;
    (void)a;
    jx_fail(x, "urlize: links in HTML are not supported");
}

static const struct jrow rows[] = {
    {"abs", do_abs, 0, {NULL}},
    {"attr", do_attr, 1, {"name"}},
    {"count", do_length, 0, {NULL}},
    {"d", do_default, 0, {"default_value", "boolean"}},
    {"default", do_default, 0, {"default_value", "boolean"}},
    {"e", do_escape, 0, {NULL}},
    {"escape", do_escape, 0, {NULL}},
    {"filesizeformat", do_filesizeformat, 0, {"binary"}},
    {"float", do_float, 0, {"default"}},
    {"forceescape", do_forceescape, 0, {NULL}},
    {"int", do_int, 0, {"default", "base"}},
    {"length", do_length, 0, {NULL}},
    {"pprint", do_pprint, 0, {NULL}},
    {"random", do_random, 0, {NULL}},
    {"round", do_round, 0, {"precision", "method"}},
    {"safe", do_safe, 0, {NULL}},
    {"string", do_string, 0, {NULL}},
    {"tojson", jf_tojson, 0, {"ensure_ascii", "indent", "separators", "sort_keys"}},
    {"urlize", do_urlize, AS_GIVEN, {NULL}},
};

const struct jtable jf_filters_any = JTABLE(rows);

const struct jrow *jf_filter(const struct jstr *name)
{
    const struct jrow *row = jf_find(&jf_filters_any, name);
    if (!row) row = jf_find(&jf_filters_text, name);
    return row ? row : jf_find(&jf_filters_seq, name);
}
