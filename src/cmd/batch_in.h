/*
 * batch_in.h: the lines of a file or of standard input, one at a time, gzip taken off.
 *
 *     struct batch_in *in;
 *     enum err e = batch_in_open(&in, "prompts.jsonl.gz");
 *     struct batch_line line;
 *     while ((e = batch_in_line(in, &line)) == OK) ...    // ERR_END: no more
 *     batch_in_close(in);
 *
 * A line ends with a newline, one carriage return before it is taken off, too; the last one may end
 * with the file. A byte order mark at the very beginning is skipped. Memory is that of the longest
 * line, BATCH_LINE_BYTES_MAX at most. Threads: one at a time.
 */
#ifndef CMD_BATCH_IN_H
#define CMD_BATCH_IN_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct batch_in;

struct batch_line {
    const char *s; /* (n) any bytes, without the line's end; valid until the next call */
    size_t n;
    uint64_t number; /* from 1 */
    bool is_long;    /* more than BATCH_LINE_BYTES_MAX: s is the beginning, the rest is skipped */
};

/* path: borrowed until close; "-": standard input. What begins like gzip is unpacked, one member
 * after the other; what is named .gz must be. ERR_INPUT: missing, unreadable, not gzip. */
enum err batch_in_open(struct batch_in **in, const char *path);
void batch_in_close(struct batch_in *in); /* NULL is fine */

/* ERR_END: no more; ERR_INPUT: unreadable, or damaged gzip, naming the file; ERR_INTR: SIGINT. */
enum err batch_in_line(struct batch_in *in, struct batch_line *line);
/* The same, but ERR_AGAIN where that would wait for somebody to write: no line, nor the end, has
 * come whole. What has come of it is kept for the next call of either. */
enum err batch_in_line_now(struct batch_in *in, struct batch_line *line);
/* Nothing but blanks: no item. */
bool batch_line_blank(const struct batch_line *line);

/* Are the lines JSON? A file's name says so (.jsonl, .jsonl.gz); in standard input the first byte
 * that is no blank does. Before the first batch_in_line(). ERR_INPUT: neither JSON nor text. */
enum err batch_in_is_json(struct batch_in *in, bool *is_json);

/* Lines of a regular file that are not blank; *n is UINT64_MAX for what cannot be read twice. The
 * whole file is read, so damage is found, too. */
enum err batch_in_count(const char *path, uint64_t *n);

#endif
