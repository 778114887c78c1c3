/*
 * stdio_talk.h: what the lines of the stdio protocol mean (docs/STDIO.md): requests in, events out.
 *
 *     struct stdio_talk *t;
 *     enum err e = stdio_talk_open(&t, engine, &o, &out);          // says hello
 *     e = stdio_talk_line(t, i_line, line, n);                     // for every line
 *     while (stdio_talk_has_work(t)) e = stdio_talk_turn(t);             // a bit of all answers
 *     e = stdio_talk_bye(t);                                       // the last event
 *     stdio_talk_close(t);
 *
 * It knows nothing of pipes: events go to a queue. Whatever a line contains is answered by an event
 * and OK; an error is one after which nothing can go on. Threads: one.
 */
#ifndef CMD_STDIO_TALK_H
#define CMD_STDIO_TALK_H

#include "cmd/stdio_out.h"
#include "crew.h"

struct stdio_talk;

struct stdio_talk_opts {
    struct session_opts session;
    uint32_t n_seat;            /* answers written together; 0: as many as suit */
    const struct gen_opts *gen; /* what a request changes */
    bool raw;                   /* prompts are bare texts unless a request says otherwise */
    bool seed_given;            /* otherwise every request has its own random one */
};

/* o: its `gen` is borrowed until stdio_talk_close(). out: borrowed. */
enum err stdio_talk_open(struct stdio_talk **t, struct engine *e, const struct stdio_talk_opts *o,
                         struct stdio_out *out);
void stdio_talk_close(struct stdio_talk *t); /* NULL is fine */

enum err stdio_talk_line(struct stdio_talk *t, uint64_t i_line, const char *line, size_t n);
enum err stdio_talk_too_long(struct stdio_talk *t, uint64_t i_line);
/* No more lines will come: the requests that were accepted are finished. */
void stdio_talk_end(struct stdio_talk *t);
bool stdio_talk_is_closing(const struct stdio_talk *t); /* after stdio_talk_end() or a bye */

bool stdio_talk_has_work(const struct stdio_talk *t); /* requests that wait or run */
/* Starts what waits as far as there are seats, and writes a token of each answer. ERR_INTR: SIGINT;
 * another error: the model cannot go on, and all requests have been told. */
enum err stdio_talk_turn(struct stdio_talk *t);
enum err stdio_talk_bye(struct stdio_talk *t);

#endif
