/*
 * os_proc.h: the small text files of /proc and /sys, and the control groups, read by os_*.c.
 *
 * Paths are formats, so that they can be put together in the call. Strings come without the
 * newline, cut to their buffer, control characters replaced by spaces; a file that cannot be read
 * gives false and an empty string, or 0.
 */
#ifndef BASE_OS_PROC_H
#define BASE_OS_PROC_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The first line of a file. */
bool os_proc_line(char *buf, size_t n_bytes, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* The number at its beginning; 0 when there is none. */
uint64_t os_proc_u64(const char *fmt, ...) PRINTF_LIKE(1, 2);
/* What stands behind `key` and a separator (blanks, ':' or '=') in the first line that has it. */
bool os_proc_value(char *buf, size_t n_bytes, const char *path, const char *key);
/* The same as a number; 0 when there is none. */
uint64_t os_proc_value_u64(const char *path, const char *key);

/* Is `word` one of a list's words? */
bool os_proc_has_word(const char *list, char separator, const char *word);

/* Calls fn with the directory of this process's control group and of every group above it, which
 * limit as well: of cgroup v1's `controller`, or of v2 for NULL. A container may see its own group
 * as the root. */
typedef void os_proc_group_fn(void *ctx, const char *dir);
void os_proc_groups(const char *controller, os_proc_group_fn *fn, void *ctx);

#endif
