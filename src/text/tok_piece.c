/*
 * tok_piece.c: ids back to bytes, at once or as a stream of whole characters.
 *
 * A normal token of byte-level BPE is written in GPT-2's alphabet and is turned back into bytes;
 * characters outside the alphabet, which only odd vocabularies have there, stand for themselves.
 * Special tokens are written as they are, in every kind. Spaced kinds put a space in front of a
 * text and behind every special token; tok_decode() takes it away again.
 */
#include "base/limits.h"
#include "base/mem.h"
#include "text/tok_impl.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>
#include <utf8proc.h>

static_assert(TOK_STREAM_BYTES_MAX >= TOKEN_BYTES_MAX + 4, "a token and what was held fit");

struct out { /* counts all, writes what fits */
    char *buf;
    size_t cap, n;
};

static void put(struct out *o, const char *s, size_t n)
{
    if (n && o->n < o->cap) memcpy(o->buf + o->n, s, n < o->cap - o->n ? n : o->cap - o->n);
    o->n += n;
}

/* U+2581 back to a space. */
static void put_spaced(struct out *o, const struct tok_entry *e)
{
    for (uint32_t i = 0; i < e->n;) {
        const bool space = i + 3 <= e->n && memcmp(e->s + i, "\xe2\x96\x81", 3) == 0;
        put(o, space ? " " : e->s + i, 1);
        i += space ? 3 : 1;
    }
}

/* The byte-level alphabet back to bytes. */
static void put_bytes(struct out *o, const struct tok_entry *e)
{
    for (uint32_t i = 0; i < e->n;) {
        int32_t c = -1;
        const utf8proc_ssize_t len =
            utf8proc_iterate((const utf8proc_uint8_t *)e->s + i, (utf8proc_ssize_t)(e->n - i), &c);
        const uint32_t n = len > 0 ? (uint32_t)len : 1;
        const int byte = len > 0 ? bpe_byte(c) : -1;
        const char b = (char)byte;
        put(o, byte >= 0 ? &b : e->s + i, byte >= 0 ? 1 : n);
        i += n;
    }
}

static void put_token(struct out *o, const struct tok *t, uint32_t id, bool special)
{
    const struct tok_entry *e = &t->entry[id];
    const enum tok_type type = t->type[id];
    const int byte = t->spaced && type == TYPE_BYTE ? vocab_byte(t, id) : -1;
    if (type == TYPE_UNKNOWN || tok_is_control(t, id)) {
        if (special) put(o, e->s, e->n);
    } else if (byte >= 0) {
        put(o, &(char){(char)byte}, 1);
    } else if (t->spaced) {
        put_spaced(o, e);
    } else if (type == TYPE_USER) {
        put(o, e->s, e->n);
    } else {
        put_bytes(o, e);
    }
}

size_t tok_piece(const struct tok *t, uint32_t id, bool special, char *buf, size_t n)
{
    assert(t && id < t->n_vocab);
    assert(buf || n == 0);
    struct out o = {.buf = buf, .cap = n};
    put_token(&o, t, id, special);
    return o.n;
}

/* ---- all at once ----------------------------------------------------------------------------- */

/* Writes one token of a whole text; prefixed: what follows has our space in front. */
static void put_next(struct out *o, const struct tok *t, uint32_t id, bool *prefixed)
{
    const enum tok_type type = t->type[id];
    const bool special = type == TYPE_CONTROL || type == TYPE_USER;
    const size_t start = o->n;
    put_token(o, t, id, true);
    const bool ours = *prefixed && !special && type != TYPE_BYTE && o->n > start;
    if (ours && o->buf[start] == ' ') {
        memmove(o->buf + start, o->buf + start + 1, o->n - start - 1);
        o->n--;
    }
    *prefixed = t->space_prefix && special;
}

enum err tok_decode(const struct tok *t, const uint32_t *ids, size_t n, char **text,
                    size_t *n_bytes)
{
    assert(t && (ids || n == 0));
    assert(text && n_bytes);
    struct out o = {0};
    for (size_t i = 0; i < n; i++) {
        if (ids[i] >= t->n_vocab)
            return err_set(ERR_INPUT,
                           "token id %" PRIu32 " (item %zu) is outside the vocabulary of %" PRIu32
                           " tokens",
                           ids[i], i + 1, t->n_vocab);
        if (!mem_add(o.cap, tok_piece(t, ids[i], true, NULL, 0), &o.cap))
            return err_set(ERR_MEMORY, "the text is too long");
    }
    o.buf = o.cap < SIZE_MAX ? mem_alloc(MEM_TOK, o.cap + 1) : NULL;
    if (!o.buf) return ERR_MEMORY;
    bool prefixed = t->space_prefix;
    for (size_t i = 0; i < n; i++) put_next(&o, t, ids[i], &prefixed);
    o.buf[o.n] = 0;
    *text = o.buf;
    *n_bytes = o.n;
    return OK;
}

/* ---- stream ---------------------------------------------------------------------------------- */

/* Bytes of the character that a lead byte announces; 0: no lead byte. */
static size_t announced(uint8_t lead)
{
    if (lead >= 0xc2 && lead <= 0xdf) return 2;
    if (lead >= 0xe0 && lead <= 0xef) return 3;
    return lead >= 0xf0 && lead <= 0xf4 ? 4 : 0;
}

/* Can this byte follow this lead byte? Excludes overlong forms, surrogates and > U+10FFFF. */
static bool can_follow(uint8_t lead, uint8_t second)
{
    const uint8_t min = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
    const uint8_t max = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
    return second >= min && second <= max;
}

/* Bytes at the end of s that may be the start of a character: 0 to 3. */
static size_t unfinished(const char *s, size_t n)
{
    for (size_t k = 1; k <= 3 && k <= n; k++) {
        const uint8_t *p = (const uint8_t *)s + n - k;
        if ((p[0] & 0xc0) == 0x80) continue;
        return announced(p[0]) > k && (k == 1 || can_follow(p[0], p[1])) ? k : 0;
    }
    return 0;
}

size_t tok_stream_put(const struct tok *t, struct tok_stream *st, uint32_t id, char *buf, size_t n)
{
    assert(t && st && buf);
    assert(id < t->n_vocab);
    assert(st->n_held <= sizeof st->held);
    struct out o = {.buf = buf, .cap = n};
    put(&o, st->held, st->n_held);
    put_token(&o, t, id, st->special);
    const size_t n_out = o.n < n ? o.n : n;
    st->n_held = (uint32_t)unfinished(buf, n_out);
    memcpy(st->held, buf + n_out - st->n_held, st->n_held);
    return n_out - st->n_held;
}

size_t tok_stream_end(struct tok_stream *st, char *buf, size_t n)
{
    assert(st && buf);
    assert(st->n_held <= sizeof st->held);
    const size_t n_out = st->n_held < n ? st->n_held : n;
    memcpy(buf, st->held, n_out);
    st->n_held = 0;
    return n_out;
}
