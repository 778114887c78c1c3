/*
 * weights.h: the matrices of a model in the kernels' order (kern/pack.h), packed once: at load, or
 * part by part between steps.
 *
 *     struct weights *w;
 *     enum err e = weights_open(&w, g);              // which matrices, how many bytes
 *     e = weights_pack(w, &(struct weights_from){.file = file, .pool = pool});
 *     weights_bind(w, g);                            // now, and for every graph that is built
 *     weights_close(w);
 *
 * A matrix is a view of a tensor's data: what one operation multiplies. Fused tensors give several,
 * and each has a place of its own, because its first row need not begin a tile of the whole.
 * Nothing is packed that some operation reads row by row, but for an embedding, whose reader knows
 * packed rows; types that have no packed form stay as they are, too.
 *
 * Ownership: the graphs that were bound borrow from w; w borrows nothing between calls.
 * Threads: one at a time.
 */
#ifndef OFFLOAD_WEIGHTS_H
#define OFFLOAD_WEIGHTS_H

#include "base/pool.h"
#include "gguf/gguf.h"
#include "graph/graph.h"

struct weights;

/* Looks which matrices the operations of g multiply; g is only read. ERR_MEMORY. */
enum err weights_open(struct weights **w, struct graph *g);
void weights_close(struct weights *w); /* NULL is fine */

uint64_t weights_bytes(const struct weights *w); /* that are to be packed, or are */
uint64_t weights_left(const struct weights *w);  /* of those, what is not packed yet */

struct weights_from {
    const struct gguf *file; /* that all data of the graph is from */
    struct pool *pool;
    uint64_t n_bytes_more; /* end with the matrix that makes it so many more; 0: all */
    /* NULL, or told now and then how much is done. */
    void (*on_progress)(void *ctx, uint64_t n_done, uint64_t n_total);
    void *ctx;
};
/* Goes on from where the last call ended. The first one also gives back what is resident of the
 * file's mapping, and makes small tensors that are not packed memory of this process where they
 * are; nobody reads weights during a call, and a file has one struct weights. ERR_MEMORY, of the
 * first call alone: nothing was packed, the file's own rows can still be used; ERR_INTR: can be
 * called again; ERR_RUN, ERR_INPUT: the file was cut or written to, or cannot be read. */
enum err weights_pack(struct weights *w, const struct weights_from *from);

/* Puts the matrices that are wholly packed into the operations of a graph of the same model: after
 * each weights_pack(), or the rows that are still read from the file become resident twice. */
void weights_bind(const struct weights *w, struct graph *g);

#endif
