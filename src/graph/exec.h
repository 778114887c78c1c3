/*
 * exec.h: walks a graph for one step: resolves values to memory, calls the ports, hands arithmetic
 * to the backend.
 *
 * An executor owns the arena of activations and serves any timeline of its ports. The graph, the
 * ports and the backend are borrowed.
 */
#ifndef GRAPH_EXEC_H
#define GRAPH_EXEC_H

#include "backend/backend.h"
#include "graph/graph.h"
#include "graph/ports.h"

struct exec;

/* n_row_max: tokens of the largest step. ERR_MEMORY. */
enum err exec_open(struct exec **x, const struct graph *g, const struct backend *be,
                   const struct ports *ports, uint32_t n_row_max);
void exec_close(struct exec *x); /* NULL is fine */
size_t exec_arena_bytes(const struct exec *x);

/* logits: n_vocab floats of the token at pos of run[i_run], valid during the call. A code other
 * than OK stops the step. */
typedef enum err exec_row_fn(void *ctx, uint32_t i_run, uint32_t pos, const float *logits);

struct step_run { /* consecutive tokens of one timeline */
    uint32_t seq;
    uint32_t pos0;     /* position of the first */
    uint32_t n_tok;    /* at least 1 */
    uint32_t out_from; /* tokens [out_from, n_tok) of the run give logits; n_tok = none */
};

struct step {
    const uint32_t *token; /* of all runs, one after the other: 1 .. n_row_max */
    const struct step_run *run;
    uint32_t n_run; /* each of its own seq */
    exec_row_fn *on_row;
    void *ctx;
};

/* Appends to the caches and the recurrent states of all runs. On an error they may hold part of it:
 * the session trims back to pos0. ERR_INTR: SIGINT came, and a run has more than one token. */
enum err exec_step(struct exec *x, const struct step *s);

#endif
