/*
 * crew.h: several answers written together: one pass over the weights serves them all.
 *
 *     struct crew *c;
 *     const struct crew_opts o = {.session = so, .on_text = text, .on_done = done, .ctx = me};
 *     enum err e = crew_open(&c, engine, &o);
 *     while (crew_n_free(c) && have_job) crew_add(c, &job);
 *     while (crew_n_busy(c)) e = crew_turn(c);
 *     crew_close(c);
 *
 * A crew works on n_seat jobs at a time. They start in the order in which they came: a job takes
 * over the longest prefix of its prompt that any timeline holds, prefills the rest, a piece a turn,
 * and then writes one token in every turn. Its text is the same as if it were alone, bit for bit. A
 * job that fails (logits that are not finite) is done with its message; the others go on.
 *
 * Threads: one at a time; callbacks come from inside crew_turn() and crew_cancel() and may call
 * crew_add() and crew_cancel() but not crew_turn().
 */
#ifndef CREW_H
#define CREW_H

#include "gen.h"

struct crew;

struct crew_job {
    const uint32_t *ids; /* (n_ids) the prompt; copied */
    size_t n_ids;
    struct gen_opts gen;
    uint64_t tag; /* the caller's name for it, unique among those at work */
};

struct crew_result {
    uint64_t tag;
    enum err err;           /* OK, or why the job failed; the sentence is `message` */
    const char *message;    /* valid during the call */
    bool cancelled;         /* by crew_cancel() */
    enum gen_finish finish; /* when err is OK and it was not cancelled */
    uint32_t n_prompt;      /* tokens */
    uint32_t n_cached;      /* of those, not computed again: shared with earlier jobs */
    uint32_t n_completion;
    uint64_t prefill_ns, decode_ns; /* from its start to the first token; from there to its end */
};

struct crew_opts {
    struct session_opts session; /* of every seat */
    uint32_t n_seat;             /* jobs at a time; 0: as many as memory and model suggest */
    /* Text of a job, as it becomes final. May be NULL. */
    void (*on_text)(void *ctx, uint64_t tag, const char *text, size_t n);
    /* The job is over; its seat is free. */
    void (*on_done)(void *ctx, const struct crew_result *r);
    void *ctx;
};

/* The seats that are suggested when so much memory is free and a timeline takes so much of it. */
uint32_t crew_seats_for(uint64_t free_bytes, uint64_t timeline_bytes);
/* Sessions that a crew with n_seat seats opens; 0: at least. */
uint32_t crew_n_session(uint32_t n_seat);
enum err crew_open(struct crew **c, struct engine *e, const struct crew_opts *o);
void crew_close(struct crew *c); /* NULL is fine; jobs at work end without a callback */

uint32_t crew_n_seat(const struct crew *c);
uint32_t crew_n_free(const struct crew *c);
uint32_t crew_n_busy(const struct crew *c);
uint32_t crew_n_ctx(const struct crew *c);

/* ERR_AGAIN: no seat is free. ERR_USAGE: an option out of range, a prompt that does not fit the
 * context; ERR_INPUT: an id outside the vocabulary. After an error on_done is not called. */
enum err crew_add(struct crew *c, const struct crew_job *job);
/* Ends a job: on_done comes with `cancelled`, at once or, from a callback, within the turn; a job
 * that has just ended by itself is not `cancelled`. Nothing when there is none of that name. */
void crew_cancel(struct crew *c, uint64_t tag);
/* One round: a piece of a prompt, or a token for each job. ERR_INTR: SIGINT, jobs stay; any other
 * code: the model cannot go on (a file that was changed, no memory), jobs stay unfinished. */
enum err crew_turn(struct crew *c);

struct crew_stats {
    uint64_t n_prefill, n_decode, n_cached; /* tokens of all jobs so far */
    uint64_t prefill_ns, decode_ns;
};
struct crew_stats crew_stats(const struct crew *c);

#endif
