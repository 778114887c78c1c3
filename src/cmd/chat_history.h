/*
 * chat_history.h: what was typed, from one chat to the next.
 *
 *     struct chat_history h;
 *     enum err e = chat_history_open(&h, remember, ctx);   // calls remember() for each entry
 *     e = chat_history_add(&h, text, n);
 *     chat_history_close(&h);
 *
 * One entry a line, oldest first, in $XDG_STATE_HOME/moxie/history (~/.local/state/moxie/history);
 * a newline inside an entry is written \n, a backslash \\. The directory is its owner's alone
 * (0700), and so is the file (0600). Two chats at once: both append whole lines.
 * Threads: one at a time.
 */
#ifndef CMD_CHAT_HISTORY_H
#define CMD_CHAT_HISTORY_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>

struct chat_history {
    char *path;     /* NULL: nothing is kept */
    bool open_line; /* the file ends in the middle of a line: somebody was killed */
};

/* text: NUL-terminated, valid during the call. */
typedef void chat_history_fn(void *ctx, const char *text);

/* Hands out the last CHAT_HISTORY_ENTRIES entries. Without XDG_STATE_HOME and HOME nothing is kept.
 * ERR_RUN: the directory or the file cannot be used; nothing is kept then either. */
enum err chat_history_open(struct chat_history *h, chat_history_fn *each, void *ctx);
/* Appends an entry; nothing when it is longer than CHAT_HISTORY_ENTRY_BYTES_MAX. ERR_RUN: it cannot
 * be written. */
enum err chat_history_add(struct chat_history *h, const char *text, size_t n);
void chat_history_close(struct chat_history *h); /* a zeroed one is fine */

#endif
