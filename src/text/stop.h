/*
 * stop.h: finds stop strings in a text that comes in pieces, and holds back what may become one.
 *
 *     struct stop *s;
 *     enum err e = stop_open(&s, strings, n_strings);
 *     while (more) {
 *         bool hit = stop_put(s, piece, n, &out, &n_out);  // out: final text, to be shown
 *         if (hit) break;                                  // out ended before the stop string
 *     }
 *     stop_end(s, &out, &n_out);                           // what was held back, when none came
 *
 * The earliest end wins; of two that end together the one that began first. No stop string: the
 * text passes through. Threads: one at a time.
 */
#ifndef TEXT_STOP_H
#define TEXT_STOP_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>

struct stop;

/* strings: (n) NUL-terminated, copied. ERR_USAGE: more than STOPS_MAX, or stop_check(). */
enum err stop_open(struct stop **s, const char *const *strings, size_t n);
void stop_close(struct stop *s); /* NULL is fine */
/* n at most STOP_PUT_BYTES_MAX. *out: valid until the next call. Not after a hit. */
bool stop_put(struct stop *s, const char *text, size_t n, const char **out, size_t *n_out);
/* After a hit there is nothing left. */
void stop_end(struct stop *s, const char **out, size_t *n_out);

/* ERR_USAGE: an empty string, or one longer than STOP_BYTES_MAX. */
enum err stop_check(const char *s);

#endif
