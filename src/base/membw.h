/*
 * membw.h: how fast this machine reads memory right now: the ceiling of decoding, which reads every
 * active weight once per token. One busy neighbour can halve it, so measure in the same minute as
 * the speed it is compared with.
 *
 *     double bytes_per_s;
 *     if (membw_read(&n_thread, 1, &bytes_per_s) == OK) ...
 */
#ifndef BASE_MEMBW_H
#define BASE_MEMBW_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

/* For each of n numbers of threads the best of several passes over a buffer far larger than the
 * caches; takes about a second each. */
enum err membw_read(const uint32_t *n_thread, size_t n, double *bytes_per_s);

#endif
