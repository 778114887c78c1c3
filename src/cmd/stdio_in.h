/*
 * stdio_in.h: bytes in, lines out. What belongs to a line that is too long is thrown away as it
 * comes, so that memory stays bounded and the next line is read as if nothing had been.
 *
 *     struct stdio_in in = {.n_max = STDIO_LINE_BYTES_MAX};
 *     stdio_in_put(&in, data, n);                      // or stdio_in_end(&in): no more will come
 *     while ((what = stdio_in_next(&in, &line, &n_line)) != STDIO_IN_NONE) ...
 *     stdio_in_fini(&in);
 */
#ifndef CMD_STDIO_IN_H
#define CMD_STDIO_IN_H

#include "base/bytes.h"
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct stdio_in {
    size_t n_max;      /* bytes of a line, its newline not counted */
    struct bytes held; /* what came and was not handed out */
    size_t n_seen;     /* bytes at the front of it that are known to hold no newline */
    uint64_t i_line;   /* of the line handed out last; counts from 1 */
    bool skips;        /* until the newline of a line that was too long */
    bool ended;
};

enum stdio_in_what {
    STDIO_IN_NONE,     /* no whole line is there */
    STDIO_IN_LINE,     /* *line: n bytes without the newline, valid until the next put */
    STDIO_IN_TOO_LONG, /* a line of more than n_max bytes has begun */
};

/* Takes n bytes. Called when stdio_in_next() has nothing more, at most n_max + n are held. */
enum err stdio_in_put(struct stdio_in *in, const char *data, size_t n);
/* The end of the input: it ends the last line, too. */
void stdio_in_end(struct stdio_in *in);
enum stdio_in_what stdio_in_next(struct stdio_in *in, const char **line, size_t *n);
/* Some of a line has come, and not its newline. Asked when stdio_in_next() has nothing more. */
bool stdio_in_in_line(const struct stdio_in *in);
/* The end has come and the last line was handed out. */
bool stdio_in_is_over(const struct stdio_in *in);
void stdio_in_fini(struct stdio_in *in);

#endif
