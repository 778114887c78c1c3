/*
 * stop.c: stop strings in a stream of text, by the automaton of Knuth, Morris and Pratt (1977), one
 * for each string.
 *
 * After each byte, matched[i] is the length of the longest beginning of string i that the text ends
 * with. When it is the whole string, that is a hit; otherwise the longest of them all is what may
 * still become a stop string and is held back. So what is held always contains the beginning of
 * whatever will be found, and nothing longer than a stop string is ever kept.
 */
#include "text/stop.h"

#include "base/limits.h"
#include "base/mem.h"
#include "text/stream.h"

#include <assert.h>
#include <stdint.h>
#include <string.h>

static_assert(STOP_PUT_BYTES_MAX >= TOK_STREAM_BYTES_MAX, "a token's text must fit");

struct needle {
    char *s;          /* (n) and a NUL */
    uint32_t *border; /* (n) of s[0..j): its longest true beginning that is its end, too */
    uint32_t n;
    uint32_t matched; /* < n, but for a hit */
};

struct stop {
    struct needle needle[STOPS_MAX]; /* (n_needle) */
    size_t n_needle;
    char *buf; /* (STOP_BYTES_MAX + STOP_PUT_BYTES_MAX) what was handed out, then what is held */
    size_t at; /* where the held bytes begin */
    size_t n_held;
    bool hit; /* found: nothing more may come */
};

/* How much of the needle the text ends with, when that was `matched` bytes before c came. */
static uint32_t advance(const struct needle *n, uint32_t matched, char c)
{
    assert(matched < n->n);
    while (matched > 0 && n->s[matched] != c) matched = n->border[matched];
    return matched + (n->s[matched] == c);
}

static enum err open_needle(struct needle *n, const char *s)
{
    n->n = (uint32_t)strlen(s);
    n->s = mem_strdup(MEM_MISC, s);
    n->border = mem_alloc_array(MEM_MISC, n->n, sizeof *n->border);
    if (!n->s || !n->border) return ERR_MEMORY;
    for (uint32_t j = 1; j + 1 < n->n; j++) n->border[j + 1] = advance(n, n->border[j], n->s[j]);
    return OK;
}

enum err stop_check(const char *s)
{
    assert(s);
    const size_t n = strlen(s);
    if (n > 0 && n <= STOP_BYTES_MAX) return OK;
    return err_set(ERR_USAGE, "the stop string has %zu bytes, expected 1 to %d", n, STOP_BYTES_MAX);
}

enum err stop_open(struct stop **out, const char *const *strings, size_t n)
{
    assert(out);
    assert(strings || n == 0);
    *out = NULL;
    if (n > STOPS_MAX)
        return err_set(ERR_USAGE, "there are %zu stop strings, expected at most %d", n, STOPS_MAX);
    for (size_t i = 0; i < n; i++) {
        const enum err err = stop_check(strings[i]);
        if (err) return err;
    }
    struct stop *const s = mem_alloc(MEM_MISC, sizeof *s);
    if (!s) return ERR_MEMORY;
    s->buf = mem_alloc(MEM_MISC, STOP_BYTES_MAX + STOP_PUT_BYTES_MAX);
    enum err err = s->buf ? OK : ERR_MEMORY;
    for (; s->n_needle < n && err == OK; s->n_needle++)
        err = open_needle(&s->needle[s->n_needle], strings[s->n_needle]);
    if (err) {
        stop_close(s);
        return err;
    }
    *out = s;
    return OK;
}

void stop_close(struct stop *s)
{
    if (!s) return;
    for (size_t i = 0; i < s->n_needle; i++) {
        mem_free(s->needle[i].s);
        mem_free(s->needle[i].border);
    }
    mem_free(s->buf);
    mem_free(s);
}

/* c follows the text. Returns the length of the stop string that is complete now, the longest if
 * several are; 0: none. *n_held: what may become one. */
static size_t feed(struct stop *s, char c, size_t *n_held)
{
    size_t n_hit = 0;
    *n_held = 0;
    for (size_t i = 0; i < s->n_needle; i++) {
        struct needle *const n = &s->needle[i];
        n->matched = advance(n, n->matched, c);
        if (n->matched > *n_held) *n_held = n->matched;
        if (n->matched == n->n && n->n > n_hit) n_hit = n->n;
    }
    return n_hit;
}

bool stop_put(struct stop *s, const char *text, size_t n, const char **out, size_t *n_out)
{
    assert(s);
    assert(text || n == 0);
    assert(n <= STOP_PUT_BYTES_MAX);
    assert(out);
    assert(n_out);
    assert(!s->hit);
    memmove(s->buf, s->buf + s->at, s->n_held);
    if (n > 0) memcpy(s->buf + s->n_held, text, n);
    size_t end = s->n_held; /* of the bytes that the automata have seen */
    size_t n_hit = 0, n_held = s->n_held;
    const size_t n_all = s->n_held + n;
    while (end < n_all && n_hit == 0) n_hit = feed(s, s->buf[end++], &n_held);
    s->hit = n_hit > 0;
    s->at = end - (s->hit ? n_hit : n_held);
    s->n_held = s->hit ? 0 : n_held;
    *out = s->buf;
    *n_out = s->at;
    return s->hit;
}

void stop_end(struct stop *s, const char **out, size_t *n_out)
{
    assert(s);
    assert(out);
    assert(n_out);
    *out = s->buf + s->at;
    *n_out = s->n_held;
    s->n_held = 0;
}
