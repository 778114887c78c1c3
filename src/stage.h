/*
 * stage.h: what sessions that can take a step together share: the graph for their context, the
 * executor with its working memory, and the caches with room for many timelines. Only session.c
 * includes it.
 *
 * Ownership: counted; the last session that leaves frees it. Threads: as the engine's.
 */
#ifndef STAGE_H
#define STAGE_H

#include "engine_impl.h"
#include "graph/exec.h"
#include "offload/kvram.h"
#include "offload/stateram.h"

struct stage {
    struct engine *e;
    struct graph *g;
    struct exec *exec;
    struct kvram *kv;
    struct stateram *state;
    struct ports ports;
    uint64_t n_left; /* bytes of weights that were not packed when they were bound */
    uint32_t n_ctx, n_batch;
    uint32_t *token; /* (n_batch) of a step of several timelines */
    bool taken[SEQS_MAX];
    uint32_t n_taken;
};

/* beside of the options is not looked at. */
enum err stage_new(struct stage **st, struct engine *e, const struct session_opts *o);
/* A timeline of its own. ERR_USAGE: SEQS_MAX are there already; ERR_MEMORY. */
enum err stage_join(struct stage *st, uint32_t *seq);
/* The timeline ends, and with the last one the stage. */
void stage_leave(struct stage *st, uint32_t seq);
/* Before each step: the graph gets the weights that were packed since the last one. */
void stage_bind(struct stage *st);
void stage_free(struct stage *st); /* one that nobody has joined; NULL is fine */

#endif
