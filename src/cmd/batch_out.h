/*
 * batch_out.h: the file of results: whole lines, appended, whatever happens.
 *
 *     struct batch_out out;
 *     enum err e = batch_out_check(path, BATCH_OUT_NEW);         // before a model is loaded
 *     e = batch_out_open(&out, path, BATCH_OUT_NEW);
 *     e = batch_out_cut(&out);                                   // with n_torn > 0
 *     e = batch_out_put(&out, line, n);                          // with its newline
 *     e = batch_out_close(&out);
 *
 * Each line is written at once, so a process that is killed leaves at most one that is torn. The
 * next BATCH_OUT_RESUME counts what is there and changes nothing: its caller looks whether the file
 * is ours at all, and then cuts the torn line off. A disk that is full leaves whole lines. Every
 * few seconds what was written is flushed to the disk. The file is locked: two runs cannot write it
 * together. Standard output ("-"), pipes and devices are just written. Threads: one at a time.
 */
#ifndef CMD_BATCH_OUT_H
#define CMD_BATCH_OUT_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum batch_out_mode {
    BATCH_OUT_NEW,    /* must not exist */
    BATCH_OUT_FORCE,  /* begins anew */
    BATCH_OUT_RESUME, /* goes on, or begins when there is none */
};

struct batch_out {
    const char *path, *name; /* borrowed; for messages */
    int fd;                  /* -1: closed */
    bool is_file;            /* a regular one */
    uint64_t n_bytes;        /* whole lines in it */
    uint64_t n_old;          /* lines of an earlier run */
    uint64_t n_torn;         /* bytes of an unfinished line behind them, until they are cut off */
    uint64_t synced_ns;
};

/* ERR_USAGE: it exists and may not, or is not the kind of file that can be resumed. */
enum err batch_out_check(const char *path, enum batch_out_mode mode);
/* ERR_USAGE as above, or another process is writing it; ERR_RUN: it cannot be written. */
enum err batch_out_open(struct batch_out *o, const char *path, enum batch_out_mode mode);
/* Cuts off the unfinished line, if there is one: before the first line is put. ERR_RUN. */
enum err batch_out_cut(struct batch_out *o);
/* ERR_RUN: it cannot be written; ERR_END: the reader of a pipe has gone; ERR_INTR: SIGINT while a
 * pipe was full. The file then still ends with the last whole line. */
enum err batch_out_put(struct batch_out *o, const char *line, size_t n);
enum err batch_out_close(struct batch_out *o); /* fine when closed */

#endif
