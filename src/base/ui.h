/*
 * ui.h: what a person at a terminal sees beside the answer: colour, a progress bar, sizes in words.
 *
 *     struct ui_bar bar;
 *     ui_bar_start(&bar, stderr, "prefill", "tok");
 *     ui_bar_set(&bar, n_done, n_total);      // as often as you like; draws ten times a second
 *     ui_bar_end(&bar);                       // wipes the line
 *
 *     struct ui_wait wait;
 *     ui_wait_start(&wait, stderr, "loading"); // draws "loading  3 s" when it takes over a second
 *     ui_wait_end(&wait);                      // wipes the line
 *
 * Nothing is drawn where the stream is no terminal. Colour also yields to NO_COLOR, CLICOLOR=0 and
 * TERM=dumb. Lines that change are ASCII and use a carriage return, no escape sequence: they need
 * no terminfo entry, and a dumb terminal has that much.
 * Threads: one thread per stream; between ui_wait_start() and its end nobody else writes to f.
 */
#ifndef BASE_UI_H
#define BASE_UI_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* May colour be written to f? */
bool ui_color(FILE *f);

/* Columns of the terminal that f is, at least 20; 80 where it is none. */
uint32_t ui_columns(FILE *f);

/* Text that comes from a model must not steer the terminal: control characters but newline and tab
 * become '?', in place. Expects whole UTF-8 characters. */
void ui_tame(char *s, size_t n_bytes);

/* "312 MiB", "1.4 GiB". Returns buf. */
#define UI_SIZE_BYTES_MAX 16
char *ui_size(char buf[UI_SIZE_BYTES_MAX], uint64_t n_bytes);

struct ui_bar {
    FILE *f;          /* NULL: nothing is drawn */
    const char *what; /* "prefill" */
    const char *unit; /* "tok" */
    uint64_t start_ns;
    uint64_t drawn_ns; /* 0: not yet */
    uint32_t n_columns;
};

void ui_bar_start(struct ui_bar *b, FILE *f, const char *what, const char *unit);
void ui_bar_set(struct ui_bar *b, uint64_t n_done, uint64_t n_total);
void ui_bar_end(struct ui_bar *b);

/* A sign of life while something takes long that cannot say how far it is. */
struct ui_wait {
    FILE *f; /* NULL: nothing is drawn */
    const char *what;
    uint64_t start_ns;
    uint32_t n_columns;
    pthread_t thread; /* draws */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool is_over;  /* under the lock */
    bool is_drawn; /* the thread's, until it is joined */
};

void ui_wait_start(struct ui_wait *w, FILE *f, const char *what); /* f may be NULL */
void ui_wait_end(struct ui_wait *w);                              /* once more is fine */

/* The line that a bar shows after elapsed_ns, cut to n_columns: progress, rate, time to go; with an
 * n_total of 0, which is "nobody knows": what is done, and the rate. */
#define UI_BAR_BYTES_MAX 160
void ui_bar_line(char buf[UI_BAR_BYTES_MAX], const struct ui_bar *b, uint64_t n_done,
                 uint64_t n_total, uint64_t elapsed_ns);

#endif
