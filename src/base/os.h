/*
 * os.h: the only place that talks to the operating system: files, clock, CPUs, signals.
 *
 * Mapped files: os_map_file() maps a regular file read-only. If the file shrinks while it is
 * mapped, a touch beyond its end does not kill the process: the handler that os_init() installs
 * puts zero pages there and os_map_broken() becomes true, which the engine turns into an error
 * after the step.
 */
#ifndef BASE_OS_H
#define BASE_OS_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct os_map {
    const uint8_t *data; /* NULL when not mapped; borrowed until os_unmap */
    size_t n_bytes;
    int fd;          /* kept open to notice that the file shrank; -1 when not mapped */
    uint32_t i_slot; /* private to os.c: where the SIGBUS guard knows this mapping */
};

/* Once, at the start of main: SIGBUS guard, SIGPIPE ignored (writes return EPIPE instead),
 * SIGINT flag. */
void os_init(void);

/* ERR_INPUT with its own sentence for: missing, directory, not a regular file, unreadable,
 * empty. Never blocks, whatever the path names. */
enum err os_map_file(struct os_map *m, const char *path);
void os_unmap(struct os_map *m); /* a zeroed or half-built struct is fine */
/* True once the file became shorter, or could not be read. */
bool os_map_broken(const struct os_map *m);

/* Reads a whole file, or standard input for "-", up to n_bytes_max. *data from
 * mem_alloc(MEM_MISC), NUL appended (not counted). Pipes are welcome. ERR_INPUT when missing,
 * unreadable or too long; ERR_INTR when SIGINT came before the end. */
enum err os_read_all(const char *path, size_t n_bytes_max, char **data, size_t *n_bytes);

/* Writes a whole regular file at once: a temporary file beside it, flushed to the disk, takes
 * its place; on failure the old file is as it was. An existing file is replaced. ERR_RUN naming
 * the path and the reason. */
enum err os_write_all(const char *path, const void *data, size_t n_bytes);

uint64_t os_time_ns(void);        /* monotonic */
uint64_t os_random_seed(void);    /* from the kernel */
uint64_t os_rss_peak_bytes(void); /* of this process; 0 when unknown */
/* Cores this process may use, without hyperthread siblings and within the CPU quota of its control
 * group; 1 .. THREADS_MAX. */
uint32_t os_cores_physical(void);
bool os_is_terminal(FILE *f);

/* SIGINT: os_init() makes the first one set a flag (and interrupt a blocked read of the main
 * thread); a second one before os_interrupt_clear() kills the process. Ignored from the start
 * (nohup, `&`) it stays ignored. */
bool os_interrupted(void);
void os_interrupt_clear(void);

#endif
