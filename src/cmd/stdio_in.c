/*
 * stdio_in.c: the buffer between the bytes of a pipe and the lines of a protocol. No byte is looked
 * at twice while a line arrives in pieces, and nothing is held of a line that is skipped.
 */
#include "cmd/stdio_in.h"

#include <assert.h>
#include <string.h>

enum err stdio_in_put(struct stdio_in *in, const char *data, size_t n)
{
    assert(in->n_max > 0);
    assert(!in->ended);
    return bytes_put(&in->held, data, n);
}

void stdio_in_end(struct stdio_in *in)
{
    assert(!in->ended);
    in->ended = true;
}

static void drop(struct stdio_in *in, size_t n)
{
    bytes_drop(&in->held, n);
    in->n_seen = 0;
}

/* Throws away what has come of a line that is too long; its newline ends that. */
static void skip_line(struct stdio_in *in)
{
    const char *const at = bytes_at(&in->held);
    const size_t n = bytes_n(&in->held);
    const char *const newline = memchr(at, '\n', n);
    drop(in, newline ? (size_t)(newline - at) + 1 : n);
    in->skips = !newline;
}

enum stdio_in_what stdio_in_next(struct stdio_in *in, const char **line, size_t *n)
{
    assert(in->n_seen <= bytes_n(&in->held));
    if (in->skips) skip_line(in);
    const char *const at = bytes_at(&in->held);
    const size_t n_held = bytes_n(&in->held);
    if (n_held == 0) return STDIO_IN_NONE;
    const char *const newline = memchr(at + in->n_seen, '\n', n_held - in->n_seen);
    in->n_seen = newline ? (size_t)(newline - at) : n_held;
    if (in->n_seen > in->n_max) {
        in->i_line++;
        skip_line(in);
        return STDIO_IN_TOO_LONG;
    }
    if (!newline && !in->ended) return STDIO_IN_NONE;
    *line = at;
    *n = in->n_seen;
    drop(in, *n + (newline != NULL)); /* the bytes themselves stay until the next put */
    in->i_line++;
    return STDIO_IN_LINE;
}

bool stdio_in_in_line(const struct stdio_in *in)
{
    return in->skips || bytes_n(&in->held) > 0;
}

bool stdio_in_is_over(const struct stdio_in *in)
{
    return in->ended && bytes_n(&in->held) == 0;
}

void stdio_in_fini(struct stdio_in *in)
{
    bytes_fini(&in->held);
    *in = (struct stdio_in){0};
}
