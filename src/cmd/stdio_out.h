/*
 * stdio_out.h: events out, a line each, without ever waiting for the reader. What it does not take
 * is kept, and how much that is tells the caller when to pause. Whenever it stops, what went out
 * ends with a whole line, if the reader lets it.
 *
 *     struct stdio_out out = {.fd = STDOUT_FILENO};
 *     enum err e = stdio_out_event(&out, json_pack("{s:s}", "type", "pong"));
 *     e = stdio_out_flush(&out);
 *     if (stdio_out_waiting(&out) > STDIO_OUT_PAUSE_BYTES) ...
 *     stdio_out_finish_line(&out);                     // where the rest is given up
 *     stdio_out_fini(&out);
 */
#ifndef CMD_STDIO_OUT_H
#define CMD_STDIO_OUT_H

#include "base/bytes.h"
#include "base/err.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct stdio_out {
    int fd;
    struct bytes held; /* what was not taken yet */
    bool in_line;      /* of the first line of it a part was taken */
    uint64_t taken_ns; /* os_time_ns() when the reader last took something, or nothing was held */
};

/* Appends the event as one line and releases it; NULL, a failed json_pack(), is ERR_MEMORY. */
enum err stdio_out_event(struct stdio_out *o, json_t *event);
/* Writes what the reader takes right now. ERR_END: it has gone away; ERR_RUN: it cannot be written;
 * ERR_INTR: SIGINT. */
enum err stdio_out_flush(struct stdio_out *o);
/* Discards what is held; a line that was taken in part is finished first, if the reader takes it
 * within STDIO_FINISH_MS. Works after an interrupt, too. */
void stdio_out_finish_line(struct stdio_out *o);
size_t stdio_out_waiting(const struct stdio_out *o); /* bytes */
void stdio_out_fini(struct stdio_out *o);

#endif
