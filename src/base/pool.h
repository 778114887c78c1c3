/*
 * pool.h: the one thread pool of a process: a parallel loop over tasks.
 *
 *     pool_run(p, fn, ctx, n_task);      // returns when all are done
 *
 * Each thread gets an equal run of the tasks 0 .. n_task-1 and does them in rising order; who is
 * done helps the others from the end of theirs, so a slow core gets fewer. Which thread runs which
 * task must not matter for the result. The calling thread takes part as thread 0. A task costs a
 * few ns beside its work, a loop less than a microsecond while its threads are awake.
 * Waiting threads spin for a bounded time and then sleep, so that a busy neighbour costs little.
 * One pool_run at a time per pool; tasks must not call pool_run. Tasks cannot fail: they write a
 * code into ctx.
 */
#ifndef BASE_POOL_H
#define BASE_POOL_H

#include "base/err.h"

#include <stdint.h>

struct pool;

typedef void pool_fn(void *ctx, uint32_t i_task, uint32_t i_thread);

/* n_thread counts the caller; 1 starts none. */
enum err pool_open(struct pool **p, uint32_t n_thread);
void pool_close(struct pool *p); /* NULL is fine */
uint32_t pool_n_thread(const struct pool *p);
void pool_run(struct pool *p, pool_fn *fn, void *ctx, uint32_t n_task);
/* For measuring: nanoseconds, at least 1, of the fastest of five or more such loops, which go on
 * until at_least_ns are over. */
uint64_t pool_best_ns(struct pool *p, pool_fn *fn, void *ctx, uint32_t n_task,
                      uint64_t at_least_ns);

#endif
