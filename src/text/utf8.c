/*
 * utf8.c: JSON strings of bytes that may not be UTF-8: what a model writes token by token, what a
 * file claims to be a name, and what comes through a pipe can be anything.
 */
#include "text/utf8.h"

#include "base/err.h"
#include "base/mem.h"

#include <assert.h>
#include <string.h>
#include <utf8proc.h>

#define CHAR_BYTES_MAX 4 /* of one character */

static const char replacement[] = "\xef\xbf\xbd"; /* U+FFFD */

/* Bytes of the character that s[0..n) begins with, n >= 1; 0: it begins with none. */
static size_t char_bytes(const char *s, size_t n)
{
    utf8proc_int32_t point;
    const utf8proc_ssize_t left = n > CHAR_BYTES_MAX ? CHAR_BYTES_MAX : (utf8proc_ssize_t)n;
    const utf8proc_ssize_t len = utf8proc_iterate((const utf8proc_uint8_t *)s, left, &point);
    return len > 0 ? (size_t)len : 0;
}

size_t utf8_bad(const char *s, size_t n)
{
    assert(s || n == 0);
    size_t i = 0;
    for (size_t len; i < n && (len = char_bytes(s + i, n - i)) > 0;) i += len;
    assert(i <= n);
    return i;
}

/* out: (3 * n) bytes, because every bad byte becomes a replacement. */
static size_t repair(char *out, const char *s, size_t n)
{
    size_t n_out = 0;
    for (size_t i = 0; i < n;) {
        const size_t len = char_bytes(s + i, n - i);
        const size_t n_from = len ? len : sizeof replacement - 1;
        memcpy(out + n_out, len ? s + i : replacement, n_from);
        n_out += n_from;
        i += len ? len : 1;
    }
    return n_out;
}

json_t *utf8_json(const char *s, size_t n)
{
    assert(s || n == 0);
    json_t *j = json_stringn(n > 0 ? s : "", n); /* NULL when it is not UTF-8: the rare case */
    if (j) return j;
    char *const buf = mem_alloc_array(MEM_MISC, n, sizeof replacement - 1);
    if (!buf) return NULL;
    j = json_stringn(buf, repair(buf, s, n));
    mem_free(buf);
    if (!j) (void)mem_short("a text");
    return j;
}

json_t *utf8_text(const char *s)
{
    assert(s);
    return utf8_json(s, strlen(s));
}
