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

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>

struct os_map {
    const uint8_t *data; /* NULL when not mapped; borrowed until os_unmap */
    size_t n_bytes;
    int fd;                /* kept open to notice what becomes of the file; -1 when not mapped */
    struct timespec mtime; /* when the file had been written to last */
    uint32_t i_slot;       /* private to os.c: where the SIGBUS guard knows this mapping */
};

/* Once, at the start of main: SIGBUS guard, SIGPIPE ignored (writes return EPIPE instead),
 * flag of SIGINT, SIGTERM and SIGHUP. */
void os_init(void);

/* ERR_INPUT with its own sentence for: missing, directory, not a regular file, unreadable,
 * empty. Never blocks, whatever the path names. */
enum err os_map_file(struct os_map *m, const char *path);
void os_unmap(struct os_map *m); /* a zeroed or half-built struct is fine */
/* True once the file became shorter, could not be read, or has another time of its last write. */
bool os_map_broken(const struct os_map *m);
/* OK, or the sentence for that about `path`: ERR_RUN for a file that changed, ERR_INPUT for a disk
 * that fails. */
enum err os_map_whole(const struct os_map *m, const char *path);
/* [at, at + n_bytes) of a mapped file into buf. Unlike a look at the mapping it makes no page of it
 * a part of this process, and what is missing is no zeros: false, and the mapping counts as broken
 * from then on. From any thread. */
bool os_map_read(const struct os_map *m, size_t at, size_t n_bytes, void *buf);
/* Asks the disk for what will be read soon; returns at once. */
void os_map_ahead(const struct os_map *m, size_t at, size_t n_bytes);
/* About how much of the file the system has in memory, 0 to 1: a few hundred places are asked for.
 * 0 where that is not known: Linux tells it to a file's owner. */
double os_map_cached(const struct os_map *m);
/* No page of the file that lies in [at, at + n_bytes) is a part of this process any more, until it
 * is looked at again. What os_map_own() took is lost. */
void os_map_forget(const struct os_map *m, size_t at, size_t n_bytes);
/* The pages of [at, at + n_bytes) become memory of this process, at the same place and with the
 * same contents: a look at a page of the file makes all of it resident that the kernel keeps
 * together, up to 2 MiB (Linux 6.18). false: as os_map_read(). Where memory is refused they stay
 * the file's. One thread at a time. */
bool os_map_own(const struct os_map *m, size_t at, size_t n_bytes);

/* Opens a file or pipe for reading; *fd is the caller's to close. ERR_INPUT with the sentences of
 * os_map_file(); ERR_INTR when SIGINT came while a pipe had no writer. A directory opens, and fails
 * when it is read. */
enum err os_open_read(const char *path, int *fd);

/* Reads a whole file, or standard input for "-", up to n_bytes_max. *data from
 * mem_alloc(MEM_MISC), NUL appended (not counted). Pipes are welcome. ERR_INPUT when missing,
 * unreadable or too long; ERR_INTR when a signal came before the end. */
enum err os_read_all(const char *path, size_t n_bytes_max, char **data, size_t *n_bytes);

/* Writes a whole regular file at once, as base/part.h does it. */
enum err os_write_all(const char *path, const void *data, size_t n_bytes);
/* The sentence for a write to `name` that failed with this number of errno, or 0: unknown. ERR_RUN;
 * ERR_INTR when a signal ended it. */
enum err os_write_failed(const char *name, int error);

uint64_t os_time_ns(void);    /* monotonic */
int64_t os_clock_local(void); /* local time of day, as seconds since 1970 without time zones */
/* "2026-01-02T03:04:05" in the same seconds; false: it is no such time. */
bool os_clock_parse(const char *text, int64_t *seconds);
uint64_t os_random_seed(void);    /* from the kernel */
uint64_t os_rss_peak_bytes(void); /* of this process; 0 when unknown */
/* Cores this process may use, without hyperthread siblings and within the CPU quota of its control
 * group; 1 .. THREADS_MAX. */
uint32_t os_cores_physical(void);
bool os_is_terminal(FILE *f);

struct os_memory {
    uint64_t total_bytes; /* of the machine; 0: unknown */
    uint64_t free_bytes;  /* what this process may still take, dropping cached files */
    uint64_t limit_bytes; /* of its control groups; UINT64_MAX: none */
};
struct os_memory os_memory(void); /* free_bytes heeds `ulimit -v` and `-d` as well */

/* SIGINT, SIGTERM, SIGHUP: os_init() makes the first one set a flag (and interrupt a blocked read
 * of the main thread), so that unfinished files are removed; a second SIGINT or SIGTERM kills the
 * process. Those ignored from the start (nohup, `&`) stay ignored. */
int os_interrupted(void); /* 0, or the signal */
/* Forgets SIGINT, which may stop a part of the work; the others end the program. */
void os_interrupt_clear(void);
/* Patient: SIGINT asks to stop a part of the work, and a second one before the first was noticed is
 * the same question. */
void os_interrupt_patient(bool yes);
/* pthread_create() for a thread that leaves these signals, and those of the terminal, to the main
 * one. 0 or an error number. */
int os_thread_start(pthread_t *thread, void *(*fn)(void *), void *arg);
/* poll(2) that none of these signals slips past: ERR_INTR when one came before or while it waited.
 * timeout_ms below 0: no limit. revents are all 0 when the time is over. */
struct pollfd;
enum err os_poll(struct pollfd *p, size_t n, int timeout_ms);
/* Whoever changes the terminal of standard input hands over its `normal` settings and `leave`, a
 * static text for standard error that undoes other changes. They are put back before Ctrl-Z stops
 * the process, or Ctrl-\, a second SIGINT or SIGTERM kills it; when it goes on in the foreground
 * it gets its own settings again. From now on a new size of the terminal (SIGWINCH), or going on
 * (SIGCONT), ends a poll() with EINTR; other calls go on. NULLs: all this is over. */
struct termios;
void os_terminal_guard(const struct termios *normal, const char *leave);

#endif
