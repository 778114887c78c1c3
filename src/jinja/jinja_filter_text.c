/*
 * jinja_filter_text.c: filters of texts. What is no string is printed first, as Jinja does.
 *
 * Bytes keep their origin; what a filter adds of its own (an ellipsis, an indent by number) is the
 * template's where the argument says so, and data where the text has any. striptags knows the named
 * characters that `escape` writes and numbered ones, not the thousands of HTML.
 */
#include "jinja/jinja_impl.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

static struct jv do_capitalize(struct jx *x, struct jv v, const struct jargs *a)
{
    (void)a;
    return jv_str(jc_convert(x, jv_string(x, v), JC_CAPITALIZE));
}

static struct jv do_lower(struct jx *x, struct jv v, const struct jargs *a)
{
    (void)a;
    return jv_str(jc_convert(x, jv_string(x, v), JC_LOWER));
}

static struct jv do_upper(struct jx *x, struct jv v, const struct jargs *a)
{
    (void)a;
    return jv_str(jc_convert(x, jv_string(x, v), JC_UPPER));
}

/* Words start behind blanks, - ( { [ and <; not as str.title(), which starts one behind any
 * character that is no letter. */
static struct jv do_title(struct jx *x, struct jv v, const struct jargs *a)
{
    (void)a;
    const struct jstr *s = jv_string(x, v);
    struct jbuf b = {0};
    for (size_t i = 0; i < s->n;) {
        const size_t from = i;
        size_t first = 0; /* behind the first character of the word */
        while (i < s->n) {
            size_t next = i;
            const uint32_t c = js_char(x, s, &next);
            if (jc_space(c) || (c < 0x80 && c > 0 && strchr("-({[<", (int)c))) break;
            i = next;
            if (!first) first = i;
        }
        if (first) {
            jb_str(x, &b, jc_convert(x, js_sub(x, s, from, first), JC_UPPER));
            jb_str(x, &b, jc_convert(x, js_sub(x, s, first, i), JC_LOWER));
        } else {
            js_char(x, s, &i);
            jb_sub(x, &b, s, from, i);
        }
    }
    return jv_str(jb_end(x, &b));
}

static struct jv do_center(struct jx *x, struct jv v, const struct jargs *a)
{
    const struct jv missing = {.kind = J_MISSING};
    const struct jv width[2] = {ja_or(a->v[0], jv_int(80)), missing};
    return jf_center(x, jv_str(jv_string(x, v)), &(struct jargs){.v = width, .n = 2});
}

static struct jv do_format(struct jx *x, struct jv v, const struct jargs *a)
{
    if (a->n > 0 && a->n_kw > 0)
        jx_fail(x, "can't handle positional and keyword arguments at the same time");
    struct jv args = jv_list(x, J_TUPLE, a->n);
    for (size_t i = 0; i < a->n; i++) jv_push(x, args, a->v[i]);
    if (a->n_kw > 0) args = jd_new(x);
    for (size_t i = 0; i < a->n_kw; i++) jd_set(x, args.dict, jv_str(a->kw[i].name), a->kw[i].v);
    return jv_str(jo_percent(x, jv_string(x, v), args));
}

static struct jv do_replace(struct jx *x, struct jv v, const struct jargs *a)
{
    enum { OLD, NEW, COUNT };
    const int64_t count = ja_given(a->v[COUNT]) ? ja_int(x, a->v[COUNT], -1, "the count") : -1;
    const struct jstr *s = js_safe(x, jv_string(x, v), false);
    return jv_str(jf_replace(x, s, jv_string(x, a->v[OLD]), jv_string(x, a->v[NEW]), count));
}

static struct jv do_trim(struct jx *x, struct jv v, const struct jargs *a)
{
    const struct jstr *chars =
        ja_given(a->v[0]) ? ja_str(x, a->v[0], NULL, "the argument of trim") : NULL;
    return jv_str(jf_strip(x, jv_string(x, v), chars, true, true));
}

/* ---- lines and lengths ----------------------------------------------------------------------- */

static struct jv do_indent(struct jx *x, struct jv v, const struct jargs *a)
{
    enum { WIDTH, FIRST, BLANK };
    const bool first = ja_true(a->v[FIRST]), blank = ja_true(a->v[BLANK]);
    if (v.kind == J_UNDEF) jv_fail_undef(x, v);
    const struct jstr *s = ja_str(x, v, NULL, "what indent is applied to");
    const struct jstr *by;
    if (a->v[WIDTH].kind == J_STR) {
        by = a->v[WIDTH].s;
    } else {
        const int64_t n = ja_int(x, a->v[WIDTH], 4, "the width of indent");
        struct jbuf b = {0};
        jb_pad(x, &b, js_new(x, " ", 1, js_has_data(s)), n > 0 ? (size_t)n : 0);
        by = jb_end(x, &b);
    }
    const struct jv plus = jo_binary(x, OP_ADD, v, jv_own(x, "\n"));
    const struct jlist *lines = jf_lines(x, plus.s, false).list;
    struct jbuf b = {0};
    for (size_t i = 0; i < lines->n; i++) {
        const struct jstr *line = lines->v[i].s;
        if (i > 0) jb_put(x, &b, "\n", 1, js_has_data(s));
        if (i == 0 ? first : blank || line->n > 0) jb_str(x, &b, by);
        jb_str(x, &b, line);
    }
    return jv_str(js_safe(x, jb_end(x, &b), s->safe));
}

static struct jv do_truncate(struct jx *x, struct jv v, const struct jargs *a)
{
    enum { LENGTH, KILLWORDS, END, LEEWAY };
    const int64_t length = ja_int(x, a->v[LENGTH], 255, "the length of truncate");
    const struct jstr *end = ja_str(x, a->v[END], js_own(x, "..."), "the end of truncate");
    const int64_t leeway = ja_given(a->v[LEEWAY]) ? ja_int(x, a->v[LEEWAY], 5, "the leeway") : 5;
    if (length < (int64_t)end->n_char)
        jx_fail(x, "truncate: the length is less than that of '...'");
    if (leeway < 0) jx_fail(x, "truncate: the leeway is negative");
    size_t n;
    if (jv_len(v, &n) && n <= (uint64_t)length + (uint64_t)leeway) return v;
    const struct jstr *s = ja_str(x, v, NULL, "what truncate is applied to");
    const struct jstr *cut = js_slice(x, s, 0, (size_t)length - end->n_char);
    if (!ja_true(a->v[KILLWORDS])) {
        const size_t blank = js_rfind(x, cut, js_own(x, " "), 0, cut->n);
        if (blank != JS_NONE) cut = js_sub(x, cut, 0, blank);
    }
    return jo_binary(x, OP_ADD, jv_str(cut), jv_str(end));
}

static struct jv do_wordcount(struct jx *x, struct jv v, const struct jargs *a)
{
    (void)a;
    const struct jstr *s = jv_string(x, v);
    int64_t n = 0;
    bool in_word = false;
    for (size_t i = 0; i < s->n;) {
        const bool word = jc_word(js_char(x, s, &i));
        n += word && !in_word;
        in_word = word;
    }
    return jv_int(n);
}

/* ---- wordwrap -------------------------------------------------------------------------------- */

/* A paragraph being wrapped, as Python's textwrap does: it is cut into chunks (words, and the
 * blanks between them), lines take chunks as long as they fit, blanks at both ends of a line go. */
struct wrap {
    struct jx *x;
    const struct jstr *s;
    size_t width;
    bool break_long, hyphens;
    struct jv lines;
    size_t from, to, end; /* the line so far; to: behind its last chunk that is not blank */
    size_t n_char;        /* of [from, end) */
};

/* Does a word go on behind the hyphen that ends at byte i: by two characters, the second one no
 * digit? */
static bool goes_on(const struct wrap *w, size_t i)
{
    uint32_t c = 0;
    for (int n = 0; n < 2; n++) {
        if (i == w->s->n) return false;
        c = js_char(w->x, w->s, &i);
        if (!jc_word(c)) return false;
    }
    return jc_id_start(c);
}

/* The end of the chunk that starts at byte i: of blanks, or of a word, which also ends behind a
 * hyphen that has two characters before it, the second one a letter. */
static size_t chunk_end(const struct wrap *w, size_t i)
{
    uint32_t before = 0, c = js_char(w->x, w->s, &i);
    const bool blank = jc_space(c);
    for (size_t n_before = 0; i < w->s->n; n_before++) {
        if (c == '-' && w->hyphens && n_before >= 2 && jc_id_start(before) && before != '_' &&
            goes_on(w, i))
            break;
        size_t next = i;
        before = c;
        c = js_char(w->x, w->s, &next);
        if (jc_space(c) != blank) break;
        i = next;
    }
    return i;
}

static void end_line(struct wrap *w, size_t next)
{
    assert(w->from <= w->to && w->to <= w->end);
    if (w->to > w->from) jv_push(w->x, w->lines, jv_str(js_sub(w->x, w->s, w->from, w->to)));
    w->from = w->to = w->end = next;
    w->n_char = 0;
}

static void take(struct wrap *w, size_t end, size_t n_char, bool blank)
{
    w->end = end;
    w->n_char += n_char;
    if (!blank) w->to = end;
}

/* Takes the first n_fit characters of the chunk at i, which is longer than a line; with hyphens,
 * no more than up to the last of them that stands behind something else. Returns where it cut.
 * As in Python an empty piece, too, keeps the blanks before it on the line. */
static size_t take_head(struct wrap *w, size_t i, size_t n_fit, bool blank)
{
    size_t hyphen = 0, n_hyphen = 0, at = i;
    bool other = false;
    for (size_t n = 1; n <= n_fit; n++) {
        const uint32_t c = js_char(w->x, w->s, &at);
        if (c == '-' && other) {
            hyphen = at;
            n_hyphen = n;
        }
        other = other || c != '-';
    }
    assert(at <= w->s->n);
    const bool cut = w->hyphens && hyphen > 0;
    take(w, cut ? hyphen : at, cut ? n_hyphen : n_fit, blank);
    return w->end;
}

/* Characters of s[i, end), counted up to max. */
static size_t count_to(struct jx *x, const struct jstr *s, size_t i, size_t end, size_t max)
{
    size_t n = 0;
    for (; i < end && n < max; n++) js_char(x, s, &i);
    return n;
}

/* Puts the chunk [i, end) on the line, or on a new one, in pieces when it is longer than a line. */
static void put_chunk(struct wrap *w, size_t i, size_t end)
{
    size_t at = i;
    const bool blank = jc_space(js_char(w->x, w->s, &at));
    for (;;) {
        const size_t room = w->width - w->n_char;
        const size_t n = count_to(w->x, w->s, i, end, w->break_long ? w->width + 1 : SIZE_MAX);
        jx_step(w->x, 1);
        if (blank && w->n_char == 0 && w->lines.list->n > 0) { /* a line starts with a word */
            end_line(w, end);
            return;
        }
        if (n <= room) {
            take(w, end, n, blank);
            return;
        }
        if (n > w->width && w->break_long) {
            i = take_head(w, i, room, blank);
            end_line(w, i);
        } else if (w->n_char > 0) {
            end_line(w, i);
        } else {
            take(w, end, n, blank);
            end_line(w, end);
            return;
        }
    }
}

static struct jv wrap_line(struct jx *x, const struct jstr *s, size_t width, bool break_long,
                           bool hyphens)
{
    struct wrap w = {.x = x, .s = s, .width = width, .break_long = break_long, .hyphens = hyphens};
    w.lines = jv_list(x, J_LIST, 0);
    for (size_t i = 0, end; i < s->n; i = end) {
        end = chunk_end(&w, i);
        put_chunk(&w, i, end);
    }
    end_line(&w, s->n);
    return w.lines;
}

static struct jv do_wordwrap(struct jx *x, struct jv v, const struct jargs *a)
{
    enum { WIDTH, BREAK_LONG_WORDS, WRAPSTRING, BREAK_ON_HYPHENS };
    const int64_t width = ja_int(x, a->v[WIDTH], 79, "the width of wordwrap");
    const bool break_long = jv_truth(ja_or(a->v[BREAK_LONG_WORDS], jv_bool(true)));
    const bool hyphens = jv_truth(ja_or(a->v[BREAK_ON_HYPHENS], jv_bool(true)));
    const struct jstr *between = ja_given(a->v[WRAPSTRING])
                                     ? ja_str(x, a->v[WRAPSTRING], NULL, "the string of wordwrap")
                                     : js_own(x, "\n");
    if (v.kind == J_UNDEF) jv_fail_undef(x, v);
    const struct jstr *s = ja_str(x, v, NULL, "what wordwrap is applied to");
    if (width <= 0) jx_fail(x, "wordwrap: the width must be more than 0");
    const struct jlist *paragraphs = jf_lines(x, s, false).list;
    struct jbuf b = {0};
    for (size_t i = 0; i < paragraphs->n; i++) {
        const struct jlist *lines =
            wrap_line(x, paragraphs->v[i].s, (size_t)width, break_long, hyphens).list;
        if (i > 0) jb_str(x, &b, between);
        for (size_t k = 0; k < lines->n; k++) {
            if (k > 0) jb_str(x, &b, between);
            jb_str(x, &b, lines->v[k].s);
        }
    }
    return jv_str(jb_end(x, &b));
}

/* ---- HTML and addresses ---------------------------------------------------------------------- */

/* The character that "&...;" at byte i stands for, and steps over it; 0: none. */
static uint32_t take_entity(struct jx *x, const struct jstr *s, size_t *i)
{
    jx_step(x, 1);
    static const struct {
        const char *text;
        uint32_t c;
    } known[] = {
        {"&amp;", '&'},  {"&lt;", '<'},    {"&gt;", '>'},
        {"&quot;", '"'}, {"&apos;", '\''}, {"&nbsp;", 0xa0},
    };
    for (size_t k = 0; k < sizeof known / sizeof *known; k++) {
        const struct jstr text = {.s = known[k].text, .n = strlen(known[k].text)};
        if (!js_at(x, s, &text, *i)) continue;
        *i += text.n;
        return known[k].c;
    }
    char number[12] = "";
    const size_t n = s->n - *i < sizeof number - 1 ? s->n - *i : sizeof number - 1;
    unsigned c = 0;
    int n_read = 0;
    memcpy(number, s->s + *i, n);
    if (sscanf(number, "&#%7u;%n", &c, &n_read) < 1 || n_read == 0)
        if (sscanf(number, "&#%*1[xX]%6x;%n", &c, &n_read) < 1 || n_read == 0) return 0;
    if (c == 0 || c > 0x10ffff || (c >= 0xd800 && c < 0xe000)) return 0;
    *i += (size_t)n_read;
    return c;
}

/* Without <!-- comments -->, <tags>, and runs of white space. */
static const struct jstr *without_tags(struct jx *x, const struct jstr *s)
{
    struct jbuf b = {0};
    const struct jstr open = {.s = "<!--", .n = 4}, close = {.s = "-->", .n = 3};
    const struct jstr end = {.s = ">", .n = 1};
    bool blank = false;
    for (size_t i = 0; i < s->n;) {
        const bool comment = js_at(x, s, &open, i);
        size_t next = JS_NONE;
        jx_step(x, 1);
        if (s->s[i] == '<') next = js_find(x, s, comment ? &close : &end, i, s->n);
        if (next != JS_NONE) {
            i = next + (comment ? close.n : end.n);
            continue;
        }
        const size_t at = i;
        if (jc_space(js_char(x, s, &i))) {
            blank = b.n > 0;
            continue;
        }
        if (blank) jb_put(x, &b, " ", 1, js_is_data(s, at));
        blank = false;
        jb_sub(x, &b, s, at, i);
    }
    return jb_end(x, &b);
}

static struct jv do_striptags(struct jx *x, struct jv v, const struct jargs *a)
{
    (void)a;
    const struct jstr *s = without_tags(x, jv_string(x, v));
    struct jbuf b = {0};
    for (size_t i = 0; i < s->n;) {
        const size_t at = i;
        const uint32_t c = s->s[i] == '&' ? take_entity(x, s, &i) : 0;
        if (c) {
            jb_char(x, &b, c, js_has_data(js_sub(x, s, at, i)));
        } else {
            js_char(x, s, &i);
            jb_sub(x, &b, s, at, i);
        }
    }
    return jv_str(jb_end(x, &b));
}

static void quote(struct jx *x, struct jbuf *b, const struct jstr *s, bool in_query)
{
    jx_scan(x, s->n);
    for (size_t i = 0; i < s->n; i++) {
        const uint8_t c = (uint8_t)s->s[i];
        const bool data = js_is_data(s, i);
        const bool plain = (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z') ||
                           (c > 0 && strchr("_.-~", c)) || (c == '/' && !in_query);
        char t[4];
        if (plain) {
            jb_put(x, b, s->s + i, 1, data);
        } else if (c == ' ' && in_query) {
            jb_put(x, b, "+", 1, data);
        } else {
            snprintf(t, sizeof t, "%%%02X", c);
            jb_put(x, b, t, 3, data);
        }
    }
}

static struct jv do_urlencode(struct jx *x, struct jv v, const struct jargs *a)
{
    struct jbuf b = {0};
    struct jv item;
    if (v.kind == J_STR || !jv_iterable(v)) {
        quote(x, &b, jv_string(x, v), false);
        return jv_str(jb_end(x, &b));
    }
    if (v.kind == J_DICT) v = jf_items(x, v, a);
    for (struct jiter it = jv_iter(x, v); jv_next(x, &it, &item);) {
        const struct jv pair = jv_listed(x, item);
        if (pair.list->n != 2) jx_fail(x, "urlencode: an item is no pair of a key and a value");
        if (b.n > 0) jb_own(x, &b, "&");
        quote(x, &b, jv_string(x, pair.list->v[0]), true);
        jb_own(x, &b, "=");
        quote(x, &b, jv_string(x, pair.list->v[1]), true);
    }
    return jv_str(jb_end(x, &b));
}

static struct jv do_xmlattr(struct jx *x, struct jv v, const struct jargs *a)
{
    const bool space = jv_truth(ja_or(a->v[0], jv_bool(true)));
    struct jbuf b = {0};
    if (v.kind == J_UNDEF) jv_fail_undef(x, v);
    if (v.kind != J_DICT) jx_fail(x, "xmlattr: '%s' is no dict", jv_type(v));
    for (size_t i = 0; i < v.dict->n; i++) {
        const struct jentry *e = &v.dict->e[i];
        if (e->v.kind == J_NONE || e->v.kind == J_UNDEF) continue;
        const struct jstr *key = ja_str(x, e->key, NULL, "an attribute's name");
        jx_scan(x, key->n);
        for (size_t k = 0; k < key->n; k++) {
            if (key->s[k] && strchr(" \t\n\r\f\v/>=", key->s[k]))
                jx_fail(x, "xmlattr: invalid character in attribute name");
        }
        if (b.n > 0 || space) jb_own(x, &b, " ");
        jb_str(x, &b, js_escape(x, key));
        jb_own(x, &b, "=\"");
        jb_str(x, &b, js_escape(x, jv_string(x, e->v)));
        jb_own(x, &b, "\"");
    }
    return jv_str(jb_end(x, &b));
}

static const struct jrow rows[] = {
    {"capitalize", do_capitalize, 0, {NULL}},
    {"center", do_center, 0, {"width"}},
    {"format", do_format, AS_GIVEN, {NULL}},
    {"indent", do_indent, 0, {"width", "first", "blank"}},
    {"lower", do_lower, 0, {NULL}},
    {"replace", do_replace, 2, {"old", "new", "count"}},
    {"striptags", do_striptags, 0, {NULL}},
    {"title", do_title, 0, {NULL}},
    {"trim", do_trim, 0, {"chars"}},
    {"truncate", do_truncate, 0, {"length", "killwords", "end", "leeway"}},
    {"upper", do_upper, 0, {NULL}},
    {"urlencode", do_urlencode, 0, {NULL}},
    {"wordcount", do_wordcount, 0, {NULL}},
    {"wordwrap", do_wordwrap, 0, {"width", "break_long_words", "wrapstring", "break_on_hyphens"}},
    {"xmlattr", do_xmlattr, 0, {"autospace"}},
};

const struct jtable jf_filters_text = JTABLE(rows);
