/*
 * jinja_method_str.c: the methods of strings, as Python's str has them.
 *
 * Each byte of a result comes from the string or from an argument and keeps its origin; the rest
 * (padding by a blank) is data when the string has any. Positions are code points. What makes or
 * needs bytes objects or tables (encode, translate) is not there.
 */
#include "jinja/jinja_impl.h"

#include <assert.h>
#include <string.h>

/* A result that is markup when the string was. */
static struct jv like(struct jx *x, struct jv self, const struct jstr *s)
{
    return jv_str(js_safe(x, s, self.s->safe));
}

/* ---- case and classes ------------------------------------------------------------------------ */

#define CASE(name, how)                                                                            \
    static struct jv name(struct jx *x, struct jv self, const struct jargs *a)                     \
    {                                                                                              \
        (void)a;                                                                                   \
        return jv_str(jc_convert(x, self.s, how));                                                 \
    }

CASE(str_upper, JC_UPPER)
CASE(str_lower, JC_LOWER)
CASE(str_title, JC_TITLE)
CASE(str_capitalize, JC_CAPITALIZE)
CASE(str_swapcase, JC_SWAP)
CASE(str_casefold, JC_FOLD)

#define CLASS(name, what)                                                                          \
    static struct jv name(struct jx *x, struct jv self, const struct jargs *a)                     \
    {                                                                                              \
        (void)a;                                                                                   \
        return jv_bool(jc_all(x, self.s, what));                                                   \
    }

CLASS(is_alnum, JC_ALL_ALNUM)
CLASS(is_alpha, JC_ALL_ALPHA)
CLASS(is_ascii, JC_ALL_ASCII)
CLASS(is_decimal, JC_ALL_DECIMAL)
CLASS(is_digit, JC_ALL_DIGIT)
CLASS(is_identifier, JC_ALL_IDENTIFIER)
CLASS(is_lower, JC_ALL_LOWER)
CLASS(is_numeric, JC_ALL_NUMERIC)
CLASS(is_printable, JC_ALL_PRINTABLE)
CLASS(is_space, JC_ALL_SPACE)
CLASS(is_title, JC_ALL_TITLE)
CLASS(is_upper, JC_ALL_UPPER)

/* ---- taking off ------------------------------------------------------------------------------ */

/* Is the character s[from..to) to be stripped? chars NULL: white space. */
static bool is_among(struct jx *x, const struct jstr *s, size_t from, size_t to,
                     const struct jstr *chars)
{
    if (chars) return memmem(chars->s, chars->n, s->s + from, to - from) != NULL;
    return jc_space(js_char(x, s, &from));
}

/* The start of the character that ends before byte i. */
static size_t char_before(const struct jstr *s, size_t i)
{
    assert(i > 0);
    do {
        i--;
    } while (i > 0 && ((uint8_t)s->s[i] & 0xc0) == 0x80);
    return i;
}

const struct jstr *jf_strip(struct jx *x, const struct jstr *s, const struct jstr *chars, bool left,
                            bool right)
{
    size_t from = 0, to = s->n;
    const uint64_t cost = chars ? 1 + chars->n / 64 : 1;
    while (left && from < to) {
        size_t next = from;
        jx_step(x, cost);
        js_char(x, s, &next);
        if (!is_among(x, s, from, next, chars)) break;
        from = next;
    }
    while (right && to > from) {
        const size_t at = char_before(s, to);
        jx_step(x, cost);
        if (!is_among(x, s, at, to, chars)) break;
        to = at;
    }
    assert(from <= to);
    return js_sub(x, s, from, to);
}

static const struct jstr *chars_of(struct jx *x, const struct jargs *a)
{
    return ja_given(a->v[0]) ? ja_str(x, a->v[0], NULL, "the argument of strip()") : NULL;
}

static struct jv str_strip(struct jx *x, struct jv self, const struct jargs *a)
{
    return jv_str(jf_strip(x, self.s, chars_of(x, a), true, true));
}

static struct jv str_lstrip(struct jx *x, struct jv self, const struct jargs *a)
{
    return jv_str(jf_strip(x, self.s, chars_of(x, a), true, false));
}

static struct jv str_rstrip(struct jx *x, struct jv self, const struct jargs *a)
{
    return jv_str(jf_strip(x, self.s, chars_of(x, a), false, true));
}

static struct jv str_removeprefix(struct jx *x, struct jv self, const struct jargs *a)
{
    const struct jstr *s = self.s, *part = ja_str(x, a->v[0], NULL, "the prefix");
    return jv_str(js_at(x, s, part, 0) ? js_sub(x, s, part->n, s->n) : s);
}

static struct jv str_removesuffix(struct jx *x, struct jv self, const struct jargs *a)
{
    const struct jstr *s = self.s, *part = ja_str(x, a->v[0], NULL, "the suffix");
    const bool ends = part->n <= s->n && js_at(x, s, part, s->n - part->n);
    return jv_str(ends ? js_sub(x, s, 0, s->n - part->n) : s);
}

/* ---- searching ------------------------------------------------------------------------------- */

enum { PART, START, END }; /* the arguments of these methods */

/* Bytes [from, to) that the arguments start and end (code points) mean. */
static void range_of(struct jx *x, const struct jstr *s, const struct jargs *a, size_t *from,
                     size_t *to)
{
    jo_bounds(x, a->v[START], a->v[END], s->n_char, from, to);
    *from = js_byte_of(x, s, *from);
    *to = js_byte_of(x, s, *to);
}

static int64_t find(struct jx *x, struct jv self, const struct jargs *a, bool last)
{
    const struct jstr *part = ja_str(x, a->v[PART], NULL, "the text to find");
    size_t from, to;
    range_of(x, self.s, a, &from, &to);
    const size_t at = (last ? js_rfind : js_find)(x, self.s, part, from, to);
    return at == JS_NONE ? -1 : (int64_t)js_sub(x, self.s, 0, at)->n_char;
}

static struct jv str_find(struct jx *x, struct jv self, const struct jargs *a)
{
    return jv_int(find(x, self, a, false));
}

static struct jv str_rfind(struct jx *x, struct jv self, const struct jargs *a)
{
    return jv_int(find(x, self, a, true));
}

static struct jv found_or_fail(struct jx *x, int64_t i)
{
    if (i < 0) jx_fail(x, "substring not found");
    return jv_int(i);
}

static struct jv str_index(struct jx *x, struct jv self, const struct jargs *a)
{
    return found_or_fail(x, find(x, self, a, false));
}

static struct jv str_rindex(struct jx *x, struct jv self, const struct jargs *a)
{
    return found_or_fail(x, find(x, self, a, true));
}

static struct jv str_count(struct jx *x, struct jv self, const struct jargs *a)
{
    const struct jstr *s = self.s, *part = ja_str(x, a->v[PART], NULL, "the text to count");
    size_t from, to;
    int64_t n = 0;
    range_of(x, s, a, &from, &to);
    if (from > to) return jv_int(0);
    if (part->n == 0) return jv_int((int64_t)js_sub(x, s, from, to)->n_char + 1);
    for (size_t at; (at = js_find(x, s, part, from, to)) != JS_NONE; n++) from = at + part->n;
    return jv_int(n);
}

/* startswith() and endswith(): of one text, or of any in a tuple. */
static bool has_end(struct jx *x, struct jv self, const struct jargs *a, bool start)
{
    size_t from, to;
    struct jv list = a->v[PART];
    if (list.kind == J_STR) {
        list = jv_list(x, J_TUPLE, 1);
        jv_push(x, list, a->v[PART]);
    }
    if (list.kind != J_TUPLE)
        jx_fail(x, "%s takes a string or a tuple of strings, not %s",
                start ? "startswith()" : "endswith()", jv_type(list));
    range_of(x, self.s, a, &from, &to);
    for (size_t i = 0; i < list.list->n; i++) {
        const struct jstr *part = ja_str(x, list.list->v[i], NULL, "what it starts or ends with");
        if (from > to || part->n > to - from) continue;
        if (js_at(x, self.s, part, start ? from : to - part->n)) return true;
    }
    return false;
}

static struct jv str_startswith(struct jx *x, struct jv self, const struct jargs *a)
{
    return jv_bool(has_end(x, self, a, true));
}

static struct jv str_endswith(struct jx *x, struct jv self, const struct jargs *a)
{
    return jv_bool(has_end(x, self, a, false));
}

/* ---- replacing ------------------------------------------------------------------------------- */

const struct jstr *jf_replace(struct jx *x, const struct jstr *s, const struct jstr *old,
                              const struct jstr *new, int64_t count)
{
    struct jbuf b = {0};
    size_t from = 0;
    for (int64_t n = 0; count < 0 || n < count; n++) {
        size_t at = js_find(x, s, old, from, s->n);
        if (old->n == 0 && n > 0) { /* between all characters, and at both ends */
            if (from == s->n) break;
            at = from;
            js_char(x, s, &at);
        }
        if (at == JS_NONE) break;
        jb_sub(x, &b, s, from, at);
        jb_str(x, &b, new);
        from = at + old->n;
    }
    jb_sub(x, &b, s, from, s->n);
    return js_safe(x, jb_end(x, &b), s->safe);
}

static struct jv str_replace(struct jx *x, struct jv self, const struct jargs *a)
{
    enum { OLD, NEW, COUNT };
    return jv_str(jf_replace(x, self.s, ja_str(x, a->v[OLD], NULL, "the text to replace"),
                             ja_str(x, a->v[NEW], NULL, "the replacement"),
                             ja_int(x, a->v[COUNT], -1, "the count")));
}

static struct jv str_expandtabs(struct jx *x, struct jv self, const struct jargs *a)
{
    const struct jstr *s = self.s;
    const int64_t size = ja_int(x, a->v[0], 8, "the tab size");
    struct jbuf b = {0};
    int64_t column = 0;
    for (size_t i = 0; i < s->n;) {
        const size_t at = i;
        const uint32_t c = js_char(x, s, &i);
        jx_step(x, 1);
        if (c == '\t') {
            const int64_t n = size > 0 ? size - column % size : 0;
            jb_pad(x, &b, js_new(x, " ", 1, js_is_data(s, at)), (size_t)n);
            column += n;
        } else {
            jb_sub(x, &b, s, at, i);
            column = c == '\n' || c == '\r' ? 0 : column + 1;
        }
    }
    return like(x, self, jb_end(x, &b));
}

/* ---- padding --------------------------------------------------------------------------------- */

/* before: how many of n go in front. */
static struct jv pad(struct jx *x, struct jv self, const struct jargs *a, int side)
{
    enum { WIDTH, FILLCHAR };
    const struct jstr *s = self.s;
    const int64_t width = ja_int(x, a->v[WIDTH], 0, "the width");
    const size_t n = width > (int64_t)s->n_char ? (size_t)width - s->n_char : 0;
    const struct jstr *fill =
        ja_str(x, a->v[FILLCHAR], js_new(x, " ", 1, js_has_data(s)), "the fill character");
    if (fill->n_char != 1) jx_fail(x, "the fill character must be exactly one character long");
    /* As CPython centres: the odd one goes left when the width is odd. */
    const size_t before = side < 0 ? n : side > 0 ? 0 : n / 2 + (n & (size_t)width & 1);
    struct jbuf b = {0};
    jb_pad(x, &b, fill, before);
    jb_str(x, &b, s);
    jb_pad(x, &b, fill, n - before);
    return like(x, self, jb_end(x, &b));
}

struct jv jf_center(struct jx *x, struct jv self, const struct jargs *a)
{
    return pad(x, self, a, 0);
}

static struct jv str_ljust(struct jx *x, struct jv self, const struct jargs *a)
{
    return pad(x, self, a, 1);
}

static struct jv str_rjust(struct jx *x, struct jv self, const struct jargs *a)
{
    return pad(x, self, a, -1);
}

static struct jv str_zfill(struct jx *x, struct jv self, const struct jargs *a)
{
    const struct jstr *s = self.s;
    const int64_t width = ja_int(x, a->v[0], 0, "the width");
    const size_t n = width > (int64_t)s->n_char ? (size_t)width - s->n_char : 0;
    const size_t sign = s->n > 0 && (s->s[0] == '-' || s->s[0] == '+');
    struct jbuf b = {0};
    jb_sub(x, &b, s, 0, sign);
    jb_pad(x, &b, js_new(x, "0", 1, js_has_data(s)), n);
    jb_sub(x, &b, s, sign, s->n);
    return like(x, self, jb_end(x, &b));
}

/* ---- cutting and joining --------------------------------------------------------------------- */

static void push_part(struct jx *x, struct jv list, const struct jstr *s, size_t from, size_t to)
{
    jv_push(x, list, jv_str(js_sub(x, s, from, to)));
}

/* At runs of white space. */
static void split_space(struct jx *x, struct jv list, const struct jstr *s, int64_t max)
{
    size_t i = 0;
    for (int64_t n = 0;; n++) {
        size_t from = i, next = i;
        while (next < s->n && jc_space(js_char(x, s, &next))) from = next;
        i = from;
        if (i >= s->n) return;
        if (max >= 0 && n == max) {
            push_part(x, list, s, from, s->n);
            return;
        }
        for (next = i; next < s->n && !jc_space(js_char(x, s, &next));) i = next;
        push_part(x, list, s, from, i);
    }
}

/* Back from byte i over characters that are (are not) white space. */
static size_t skip_back(struct jx *x, const struct jstr *s, size_t i, bool space)
{
    while (i > 0) {
        const size_t at = char_before(s, i);
        size_t next = at;
        if (jc_space(js_char(x, s, &next)) != space) break;
        i = at;
    }
    return i;
}

/* The same from the right; parts come in reverse. */
static void rsplit_space(struct jx *x, struct jv list, const struct jstr *s, int64_t max)
{
    size_t to = s->n;
    for (int64_t n = 0; (to = skip_back(x, s, to, true)) > 0; n++) {
        const size_t from = max >= 0 && n == max ? 0 : skip_back(x, s, to, false);
        push_part(x, list, s, from, to);
        to = from;
    }
}

static void split_at(struct jx *x, struct jv list, const struct jstr *s, const struct jstr *sep,
                     int64_t max, bool right)
{
    assert(sep->n > 0);
    size_t from = 0, to = s->n;
    for (int64_t n = 0; max < 0 || n < max; n++) {
        const size_t at = (right ? js_rfind : js_find)(x, s, sep, from, to);
        if (at == JS_NONE) break;
        push_part(x, list, s, right ? at + sep->n : from, right ? to : at);
        *(right ? &to : &from) = right ? at : at + sep->n;
    }
    push_part(x, list, s, from, to);
}

static void reverse(struct jlist *l)
{
    for (size_t i = 0; i < l->n / 2; i++) {
        const struct jv v = l->v[i];
        l->v[i] = l->v[l->n - 1 - i];
        l->v[l->n - 1 - i] = v;
    }
}

static struct jv split(struct jx *x, struct jv self, const struct jargs *a, bool right)
{
    enum { SEP, MAXSPLIT };
    struct jv list = jv_list(x, J_LIST, 0);
    const int64_t max = ja_int(x, a->v[MAXSPLIT], -1, "maxsplit");
    list.data = js_has_data(self.s);
    if (ja_given(a->v[SEP])) {
        const struct jstr *sep = ja_str(x, a->v[SEP], NULL, "the separator");
        if (sep->n == 0) jx_fail(x, "empty separator");
        split_at(x, list, self.s, sep, max, right);
    } else {
        (right ? rsplit_space : split_space)(x, list, self.s, max);
    }
    if (right) reverse(list.list);
    return list;
}

static struct jv str_split(struct jx *x, struct jv self, const struct jargs *a)
{
    return split(x, self, a, false);
}

static struct jv str_rsplit(struct jx *x, struct jv self, const struct jargs *a)
{
    return split(x, self, a, true);
}

struct jv jf_lines(struct jx *x, const struct jstr *s, bool keep_ends)
{
    struct jv list = jv_list(x, J_LIST, 0);
    list.data = js_has_data(s);
    size_t from = 0;
    for (size_t i = 0; i < s->n;) {
        const size_t at = i;
        const uint32_t c = js_char(x, s, &i);
        if (!jc_line_end(c)) continue;
        if (c == '\r' && i < s->n && s->s[i] == '\n') i++;
        push_part(x, list, s, from, keep_ends ? i : at);
        from = i;
    }
    if (from < s->n) push_part(x, list, s, from, s->n);
    return list;
}

static struct jv str_splitlines(struct jx *x, struct jv self, const struct jargs *a)
{
    return jf_lines(x, self.s, ja_true(a->v[0]));
}

static struct jv part(struct jx *x, struct jv self, const struct jargs *a, bool right)
{
    const struct jstr *s = self.s, *sep = ja_str(x, a->v[0], NULL, "the separator");
    assert(self.kind == J_STR);
    const struct jv out = jv_list(x, J_TUPLE, 3);
    if (sep->n == 0) jx_fail(x, "empty separator");
    size_t at = (right ? js_rfind : js_find)(x, s, sep, 0, s->n), behind = at + sep->n;
    if (at == JS_NONE) at = behind = right ? 0 : s->n;
    push_part(x, out, s, 0, at);
    push_part(x, out, s, at, behind);
    push_part(x, out, s, behind, s->n);
    return out;
}

static struct jv str_partition(struct jx *x, struct jv self, const struct jargs *a)
{
    return part(x, self, a, false);
}

static struct jv str_rpartition(struct jx *x, struct jv self, const struct jargs *a)
{
    return part(x, self, a, true);
}

static struct jv str_join(struct jx *x, struct jv self, const struct jargs *a)
{
    struct jbuf b = {0};
    struct jv item;
    size_t n = 0;
    for (struct jiter it = jv_iter(x, a->v[0]); jv_next(x, &it, &item); n++) {
        if (item.kind != J_STR)
            jx_fail(x, "join(): item %zu is a %s, expected a string", n, jv_type(item));
        if (n > 0) jb_str(x, &b, self.s);
        jb_str(x, &b, self.s->safe ? js_escape(x, item.s) : item.s);
    }
    return like(x, self, jb_end(x, &b));
}

/* ---- format ---------------------------------------------------------------------------------- */

static struct jv str_format(struct jx *x, struct jv self, const struct jargs *a)
{
    return jv_str(jo_format(x, self.s, a));
}

static struct jv str_format_map(struct jx *x, struct jv self, const struct jargs *a)
{
    const struct jv map = a->v[0];
    if (map.kind != J_DICT) jx_fail(x, "format_map() takes a dict, not %s", jv_type(map));
    struct jkw *kw = jx_array(x, map.dict->n, sizeof *kw);
    size_t n = 0;
    for (size_t i = 0; i < map.dict->n; i++) {
        const struct jentry *e = &map.dict->e[i];
        if (e->key.kind == J_STR) kw[n++] = (struct jkw){.name = e->key.s, .v = e->v};
    }
    return jv_str(jo_format(x, self.s, &(struct jargs){.kw = kw, .n_kw = n}));
}

static const struct jrow rows[] = {
    {"capitalize", str_capitalize, 0, {NULL}},
    {"casefold", str_casefold, 0, {NULL}},
    {"center", jf_center, 1, {"width", "fillchar"}},
    {"count", str_count, 1, {"sub", "start", "end"}},
    {"endswith", str_endswith, 1, {"suffix", "start", "end"}},
    {"expandtabs", str_expandtabs, 0, {"tabsize"}},
    {"find", str_find, 1, {"sub", "start", "end"}},
    {"format", str_format, AS_GIVEN, {NULL}},
    {"format_map", str_format_map, 1, {"mapping"}},
    {"index", str_index, 1, {"sub", "start", "end"}},
    {"isalnum", is_alnum, 0, {NULL}},
    {"isalpha", is_alpha, 0, {NULL}},
    {"isascii", is_ascii, 0, {NULL}},
    {"isdecimal", is_decimal, 0, {NULL}},
    {"isdigit", is_digit, 0, {NULL}},
    {"isidentifier", is_identifier, 0, {NULL}},
    {"islower", is_lower, 0, {NULL}},
    {"isnumeric", is_numeric, 0, {NULL}},
    {"isprintable", is_printable, 0, {NULL}},
    {"isspace", is_space, 0, {NULL}},
    {"istitle", is_title, 0, {NULL}},
    {"isupper", is_upper, 0, {NULL}},
    {"join", str_join, 1, {"iterable"}},
    {"ljust", str_ljust, 1, {"width", "fillchar"}},
    {"lower", str_lower, 0, {NULL}},
    {"lstrip", str_lstrip, 0, {"chars"}},
    {"partition", str_partition, 1, {"sep"}},
    {"removeprefix", str_removeprefix, 1, {"prefix"}},
    {"removesuffix", str_removesuffix, 1, {"suffix"}},
    {"replace", str_replace, 2, {"old", "new", "count"}},
    {"rfind", str_rfind, 1, {"sub", "start", "end"}},
    {"rindex", str_rindex, 1, {"sub", "start", "end"}},
    {"rjust", str_rjust, 1, {"width", "fillchar"}},
    {"rpartition", str_rpartition, 1, {"sep"}},
    {"rsplit", str_rsplit, 0, {"sep", "maxsplit"}},
    {"rstrip", str_rstrip, 0, {"chars"}},
    {"split", str_split, 0, {"sep", "maxsplit"}},
    {"splitlines", str_splitlines, 0, {"keepends"}},
    {"startswith", str_startswith, 1, {"prefix", "start", "end"}},
    {"strip", str_strip, 0, {"chars"}},
    {"swapcase", str_swapcase, 0, {NULL}},
    {"title", str_title, 0, {NULL}},
    {"upper", str_upper, 0, {NULL}},
    {"zfill", str_zfill, 1, {"width"}},
};

const struct jtable jf_methods_str = JTABLE(rows);
