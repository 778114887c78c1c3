/*
 * chat_line.h: what a person types, or a program pipes in: one message at a time.
 *
 *     struct chat_line *l;
 *     enum err e = chat_line_open(&l, true, word);
 *     while ((e = chat_line_read(l, &text, &n)) != ERR_END) ...
 *     chat_line_close(l);
 *
 * At a terminal a line is edited (libedit) and kept in the history; a paste is one message whatever
 * newlines it has. Elsewhere, and on a terminal that cannot move its cursor, lines are read as they
 * come. In both, a message goes over several lines between """ and """, or where a line ends with
 * a backslash. Threads: the main one; it is the one that SIGINT wakes.
 */
#ifndef CMD_CHAT_LINE_H
#define CMD_CHAT_LINE_H

#include "base/bytes.h"
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>

struct chat_line;

/* From now on typing is shown only while a message is read; Ctrl-Z and signals that kill give the
 * terminal back. history: keep what is typed there. A history that cannot be used is no error:
 * chat_line_warning() says so. word: gives what Tab completes at the start of a line; NULL
 * after the last. */
typedef const char *chat_word_fn(size_t i);
enum err chat_line_open(struct chat_line **l, bool history, chat_word_fn *word);
void chat_line_close(struct chat_line *l);             /* NULL is fine */
bool chat_line_is_terminal(const struct chat_line *l); /* does a person type? */
/* A sentence about what does not work since the last call, or NULL; valid until the next read. */
const char *chat_line_warning(struct chat_line *l);

/* The next message, without its last newline; empty lines count. *text: NUL-terminated, may hold
 * NULs, valid until the next call. ERR_END: end of input (Ctrl-D). ERR_INTR: Ctrl-C; what was typed
 * is dropped; *n is 0 when that was nothing. The same for a paste of more than CHAT_PASTE_CHARS_MAX
 * characters, with a warning. ERR_INPUT: cannot be read, or is longer than PROMPT_BYTES_MAX. */
enum err chat_line_read(struct chat_line *l, const char **text, size_t *n);

/* ---- parts, for tests ------------------------------------------------------------------------ */

/* How lines make a message. */
struct chat_join {
    struct bytes text; /* bytes_fini() */
    bool is_open;      /* more lines are to come */
    bool is_quote;     /* until one ends with """ */
};

/* Adds a line, without its newline (those inside were pasted). */
enum err chat_join_put(struct chat_join *j, const char *line, size_t n);

#endif
