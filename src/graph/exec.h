/*
 * exec.h: walks a graph for one step: resolves values to memory, calls the ports, hands arithmetic
 * to the backend.
 *
 * An executor belongs to one session: it owns the arena of activations. The graph, the ports and
 * the backend are borrowed.
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

/* logits: n_vocab floats of the token at pos, valid during the call. A code other than OK stops
 * the step. */
typedef enum err exec_row_fn(void *ctx, uint32_t pos, const float *logits);

struct step {
    uint32_t seq;
    const uint32_t *token; /* (n_tok) */
    uint32_t n_tok;        /* 1 .. n_row_max */
    uint32_t pos0;         /* position of token[0] */
    uint32_t out_from;     /* rows [out_from, n_tok) give logits; n_tok = none */
    exec_row_fn *on_row;
    void *ctx;
};

/* Appends n_tok positions to the caches and the recurrent states. On an error they may hold part
 * of them: the session trims back to pos0. ERR_INTR: SIGINT came, and there is more than one token
 * to run. */
enum err exec_step(struct exec *x, const struct step *s);

#endif
