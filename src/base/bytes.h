/*
 * bytes.h: a queue of bytes that grows: in at the end, out at the front. Starts zeroed.
 *
 *     struct bytes b = {0};
 *     enum err e = bytes_put(&b, data, n);
 *     size_t n_taken = write(fd, bytes_at(&b), bytes_n(&b));
 *     bytes_drop(&b, n_taken);
 *     bytes_fini(&b);
 */
#ifndef BASE_BYTES_H
#define BASE_BYTES_H

#include "base/err.h"

#include <stddef.h>

struct bytes {
    char *s; /* (cap); [begin, end) is held, a NUL behind it */
    size_t begin, end, cap;
};

enum err bytes_put(struct bytes *b, const void *data, size_t n);
const char *bytes_at(const struct bytes *b); /* NUL-terminated, valid until the next put */
size_t bytes_n(const struct bytes *b);
void bytes_drop(struct bytes *b, size_t n); /* the first n; n <= bytes_n() */
void bytes_cut(struct bytes *b, size_t n);  /* all but the first n; n <= bytes_n() */
void bytes_fini(struct bytes *b);

#endif
