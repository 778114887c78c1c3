/*
 * jinja_str.c: immutable strings that know the origin of each byte, and the buffer to build them.
 *
 * A string is a view of bytes that live as long as the arena (or longer: the template's text, the
 * conversation). The origin is that of the first byte and the places where it changes, so a string
 * of one origin, which is nearly every string, carries no list. Positions are bytes in here;
 * code points are what templates see.
 */
#include "base/limits.h"
#include "base/mem.h"
#include "jinja/jinja_value.h"

#include <assert.h>
#include <string.h>
#include <utf8proc.h>

#define BUF_BYTES_MIN 64 /* the first piece of a string being built */

/* ---- strings --------------------------------------------------------------------------------- */

bool js_valid(const char *s, size_t n)
{
    for (size_t i = 0; i < n;) {
        utf8proc_int32_t c;
        const utf8proc_ssize_t k =
            utf8proc_iterate((const utf8proc_uint8_t *)s + i, (utf8proc_ssize_t)(n - i), &c);
        if (k <= 0) return false;
        i += (size_t)k;
    }
    return true;
}

/* Code points: the bytes that do not continue one, eight at a time. */
static size_t count_chars(const char *s, size_t n)
{
    const uint64_t ones = 0x0101010101010101u;
    size_t n_rest = 0, i = 0;
    for (; i + sizeof(uint64_t) <= n; i += sizeof(uint64_t)) {
        uint64_t w;
        memcpy(&w, s + i, sizeof w);
        n_rest += (w >> 7 & ~(w >> 6) & ones) * ones >> 56;
    }
    for (; i < n; i++) n_rest += ((uint8_t)s[i] & 0xc0) == 0x80;
    return n - n_rest;
}

static struct jstr *new_str(struct jx *x, const char *s, size_t n, bool data)
{
    assert(s || n == 0);
    jx_step(x, 1 + n / 64);
    struct jstr *t = jx_alloc(x, sizeof *t);
    *t = (struct jstr){.s = n ? s : "", .n = n, .n_char = count_chars(s, n), .data = data};
    return t;
}

const struct jstr *js_new(struct jx *x, const char *s, size_t n, bool data)
{
    return new_str(x, s, n, data);
}

const struct jstr *js_own(struct jx *x, const char *s)
{
    return new_str(x, s, strlen(s), false);
}

struct jv jv_own(struct jx *x, const char *s)
{
    return jv_str(js_own(x, s));
}

const struct jstr *js_safe(struct jx *x, const struct jstr *s, bool safe)
{
    if (s->safe == safe) return s;
    struct jstr *t = jx_alloc(x, sizeof *t);
    *t = *s;
    t->safe = safe;
    return t;
}

/* How many edges stand at or before byte i. */
static size_t edges_to(const struct jstr *s, size_t i)
{
    assert(i <= s->n);
    size_t lo = 0, hi = s->n_edge;
    while (lo < hi) {
        const size_t mid = lo + (hi - lo) / 2;
        if (s->edge[mid] <= i) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    return lo;
}

bool js_is_data(const struct jstr *s, size_t i_byte)
{
    return s->data != (edges_to(s, i_byte) % 2 == 1);
}

bool js_has_data(const struct jstr *s)
{
    return s->n > 0 && (s->data || s->n_edge > 0);
}

const struct jstr *js_sub(struct jx *x, const struct jstr *s, size_t from, size_t to)
{
    assert(from <= to);
    assert(to <= s->n);
    if (from == 0 && to == s->n) return s;
    struct jstr *t = new_str(x, s->s + from, to - from, js_is_data(s, from));
    t->safe = s->safe;
    const size_t lo = edges_to(s, from), hi = to > from ? edges_to(s, to - 1) : lo;
    if (lo == hi) return t;
    size_t *edge = jx_array(x, hi - lo, sizeof *edge);
    for (size_t i = lo; i < hi; i++) edge[i - lo] = s->edge[i] - from;
    t->edge = edge;
    t->n_edge = hi - lo;
    return t;
}

size_t js_byte_of(struct jx *x, const struct jstr *s, size_t i_char)
{
    assert(i_char <= s->n_char);
    if (s->n == s->n_char) return i_char;
    if (i_char == s->n_char) return s->n;
    jx_step(x, i_char / 8);
    size_t i = 0;
    for (size_t k = 0;; i++) {
        k += ((uint8_t)s->s[i] & 0xc0) != 0x80;
        if (k > i_char) return i;
    }
}

const struct jstr *js_slice(struct jx *x, const struct jstr *s, size_t from, size_t to)
{
    assert(from <= to);
    const size_t a = js_byte_of(x, s, from);
    return js_sub(x, s, a, js_byte_of(x, s, to));
}

uint32_t js_char(struct jx *x, const struct jstr *s, size_t *i_byte)
{
    assert(*i_byte < s->n);
    utf8proc_int32_t c;
    const utf8proc_ssize_t n = utf8proc_iterate((const utf8proc_uint8_t *)s->s + *i_byte,
                                                (utf8proc_ssize_t)(s->n - *i_byte), &c);
    assert(n > 0); /* texts are checked where they come in */
    const size_t before = *i_byte;
    *i_byte += (size_t)n;
    /* Every so many bytes, wherever a walk starts and whichever way it goes. */
    if (before / JINJA_SCAN_BYTES != *i_byte / JINJA_SCAN_BYTES) jx_step(x, 1);
    return (uint32_t)c;
}

bool js_eq(struct jx *x, const struct jstr *a, const struct jstr *b)
{
    if (a->n != b->n) return false;
    jx_step(x, a->n / 64);
    return memcmp(a->s, b->s, a->n) == 0;
}

bool js_is(const struct jstr *s, const char *text)
{
    return s->n == strlen(text) && memcmp(s->s, text, s->n) == 0;
}

bool js_all_digits(struct jx *x, const struct jstr *s)
{
    jx_scan(x, s->n);
    for (size_t i = 0; i < s->n; i++) {
        if (s->s[i] < '0' || s->s[i] > '9') return false;
    }
    return true;
}

enum jorder js_compare(struct jx *x, const struct jstr *a, const struct jstr *b)
{
    const size_t n = a->n < b->n ? a->n : b->n;
    jx_step(x, n / 64);
    const int order = memcmp(a->s, b->s, n); /* UTF-8 keeps the order */
    if (order) return order < 0 ? J_LESS : J_MORE;
    return a->n == b->n ? J_SAME : a->n < b->n ? J_LESS : J_MORE;
}

bool js_at(struct jx *x, const struct jstr *s, const struct jstr *part, size_t i_byte)
{
    if (i_byte > s->n || part->n > s->n - i_byte) return false;
    jx_step(x, part->n / 64);
    return memcmp(s->s + i_byte, part->s, part->n) == 0;
}

size_t js_find(struct jx *x, const struct jstr *s, const struct jstr *part, size_t from, size_t to)
{
    assert(to <= s->n);
    if (from > to || part->n > to - from) return JS_NONE;
    jx_scan(x, part->n); /* memmem() looks at it first */
    const char *p = memmem(s->s + from, to - from, part->s, part->n);
    const size_t at = p ? (size_t)(p - s->s) : JS_NONE;
    jx_step(x, ((p ? at : to) - from) / 64 + 1);
    return at;
}

size_t js_rfind(struct jx *x, const struct jstr *s, const struct jstr *part, size_t from, size_t to)
{
    assert(to <= s->n);
    if (from > to || part->n > to - from) return JS_NONE;
    for (size_t i = to - part->n;; i--) {
        jx_step(x, 1);
        if (js_at(x, s, part, i)) return i;
        if (i == from) return JS_NONE;
    }
}

const struct jstr *js_escape(struct jx *x, const struct jstr *s)
{
    static const char marks[] = "&<>\"'";
    static const char *const names[] = {"&amp;", "&lt;", "&gt;", "&#34;", "&#39;"};
    if (s->safe) return s;
    struct jbuf b = {0};
    jx_scan(x, s->n);
    for (size_t i = 0; i < s->n; i++) {
        const char *p = s->s[i] ? strchr(marks, s->s[i]) : NULL;
        const char *t = p ? names[p - marks] : &s->s[i];
        jb_put(x, &b, t, p ? strlen(t) : 1, js_is_data(s, i));
    }
    return js_safe(x, jb_end(x, &b), true);
}

/* ---- building -------------------------------------------------------------------------------- */

/* Room for one more edge. */
static void edge_put(struct jx *x, struct jbuf *b, size_t at)
{
    if (b->n_edge == b->cap_edge) {
        const size_t cap = b->cap_edge ? 2 * b->cap_edge : 8;
        size_t *edge = jx_array(x, cap, sizeof *edge);
        if (b->n_edge) memcpy(edge, b->edge, b->n_edge * sizeof *edge);
        b->edge = edge;
        b->cap_edge = cap;
    }
    b->edge[b->n_edge++] = at;
}

static void reserve(struct jx *x, struct jbuf *b, size_t n)
{
    if (b->cap - b->n >= n) return;
    if (n > JINJA_VALUE_BYTES_MAX) jx_alloc(x, n); /* fails, before anything is added up */
    const size_t n_new = n > b->n ? b->n + n : 2 * b->n;
    const size_t cap = n_new < BUF_BYTES_MIN ? BUF_BYTES_MIN : n_new;
    char *t = jx_alloc(x, cap);
    if (b->n) memcpy(t, b->s, b->n);
    b->s = t;
    b->cap = cap;
}

void jb_put(struct jx *x, struct jbuf *b, const char *s, size_t n, bool data)
{
    if (n == 0) return;
    reserve(x, b, n);
    if (b->n == 0) {
        b->first = b->last = data;
    } else if (b->last != data) {
        edge_put(x, b, b->n);
        b->last = data;
    }
    memcpy(b->s + b->n, s, n);
    b->n += n;
}

void jb_own(struct jx *x, struct jbuf *b, const char *s)
{
    jb_put(x, b, s, strlen(s), false);
}

void jb_char(struct jx *x, struct jbuf *b, uint32_t c, bool data)
{
    utf8proc_uint8_t utf8[4];
    const utf8proc_ssize_t n = utf8proc_encode_char((utf8proc_int32_t)c, utf8);
    assert(n > 0);
    jb_put(x, b, (const char *)utf8, (size_t)n, data);
}

void jb_str(struct jx *x, struct jbuf *b, const struct jstr *s)
{
    jb_sub(x, b, s, 0, s->n);
}

void jb_sub(struct jx *x, struct jbuf *b, const struct jstr *s, size_t from, size_t to)
{
    assert(from <= to);
    assert(to <= s->n);
    size_t i_edge = edges_to(s, from);
    bool data = s->data != (i_edge % 2 == 1);
    for (size_t at = from; at < to;) {
        const size_t end = i_edge < s->n_edge && s->edge[i_edge] < to ? s->edge[i_edge] : to;
        jb_put(x, b, s->s + at, end - at, data);
        data = !data;
        at = end;
        i_edge++;
    }
}

void jb_pad(struct jx *x, struct jbuf *b, const struct jstr *fill, size_t n)
{
    size_t n_bytes;
    if (!mem_mul(n, fill->n, &n_bytes)) n_bytes = SIZE_MAX;
    if (n_bytes == 0) return;
    reserve(x, b, n_bytes);
    for (size_t i = 0; i < n; i++) {
        jx_step(x, 1);
        jb_str(x, b, fill);
    }
}

const struct jstr *jb_end(struct jx *x, struct jbuf *b)
{
    struct jstr *s = new_str(x, b->s, b->n, b->first);
    s->edge = b->edge;
    s->n_edge = b->n_edge;
    *b = (struct jbuf){0};
    return s;
}

const char *jb_cstr(struct jx *x, struct jbuf *b)
{
    jb_put(x, b, "", 1, false); /* its NUL */
    return jb_end(x, b)->s;
}
