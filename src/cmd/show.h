/*
 * show.h: a model's answer on its way to the screen.
 *
 *     struct show s;
 *     show_open(&s, stdout, true);
 *     show_begin(&s, false);
 *     e = show_put(&s, piece, n);        // as it is generated
 *     e = show_end(&s);
 *
 * Towards a terminal, control characters and broken UTF-8 cannot steer it, and where colour is
 * wanted, what the model says to itself (<think> ... </think> and its relatives at the start of an
 * answer) is dimmed. Elsewhere the text passes as it is.
 * Threads: one at a time.
 */
#ifndef CMD_SHOW_H
#define CMD_SHOW_H

#include "base/err.h"
#include "base/limits.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum show_where {
    SHOW_START,     /* nothing but white space has come */
    SHOW_REASONING, /* between the marks */
    SHOW_ANSWER,
};

struct show {
    FILE *f;
    bool tame; /* f is a terminal */
    bool dim;  /* which shows colours */
    enum show_where where;
    char held[SHOW_MARK_BYTES_MAX]; /* (n_held) may become a mark */
    size_t n_held;
    bool end_line;  /* of an answer, whatever f is */
    bool open_line; /* the last byte written was no newline */
};

/* Looks whether f is a terminal. end_line: an answer ends with a newline, though f is none. */
void show_open(struct show *s, FILE *f, bool end_line);
/* A new answer. reasoning: its opening mark was the end of the prompt. */
void show_begin(struct show *s, bool reasoning);
/* text: whole UTF-8 characters, or bytes that are none. ERR_END: the reader has gone away, ERR_RUN:
 * cannot be written. */
enum err show_put(struct show *s, const char *text, size_t n);
/* The answer is over, whole or not: what was held goes out, the colour is back. */
enum err show_end(struct show *s);

/* Does a prompt end with an opening mark, white space aside? */
bool show_opens(const char *prompt, size_t n);

/* Where the parts of a whole answer lie: reasoning text[begin, end), what is said from `rest` on,
 * both without white space around them. */
struct show_parts {
    size_t begin, end, rest;
};
/* reasoning: as show_begin(). false: there is none. Unfinished reasoning goes to the end. */
bool show_split(const char *text, size_t n, bool reasoning, struct show_parts *p);

#endif
