/*
 * backend.h: who computes the operations of a graph: a table that each backend fills.
 *
 * The executor (graph/exec.c) walks the list, resolves values to memory, calls the ports, and hands
 * the arithmetic to the backend. A backend never sees a port: attention gets spans, experts come as
 * views.
 *
 * Order of sums: as kern/kern.h demands. A result row depends on its own token alone, so any cut of
 * the batch and any number of threads give the same bits. Threads: one caller at a time; a backend
 * uses its own worker threads inside a call.
 */
#ifndef BACKEND_BACKEND_H
#define BACKEND_BACKEND_H

#include "base/err.h"
#include "graph/graph.h"

#include <stddef.h>
#include <stdint.h>

struct op_io {                      /* the operands of one operation in one step */
    uint32_t n_row;                 /* tokens; after GOP_OUT_ROWS, wanted rows */
    const float *src[GOP_SRC_MAX];  /* first row, columns of the gval */
    size_t src_stride[GOP_SRC_MAX]; /* floats between rows */
    float *dst[GOP_OUT_MAX];
    size_t dst_stride[GOP_OUT_MAX];
    const uint32_t *token;  /* (n_row) */
    const uint32_t *pos;    /* (n_row) positions, rising by one within a timeline */
    const float *cos, *sin; /* GOP_ROPE: (n_row, n_rot / 2), magnitude included */
    uint32_t n_rot;         /* GOP_ROPE: of the table the operation names */
    float *state;           /* GOP_CONV, GOP_GDN, GOP_SSM: the layer's state, updated in place */
    float *y;               /* GOP_MOE: (n_row * n_used, n_embd), dense */
};

/* GOP_MOE: the (token, choice) pairs of a step sorted by expert. Pair (t, j) is choice j of
 * token t. */
struct moe_rows {
    const uint32_t *id;     /* (n_row, n_used) chosen expert of each pair, best first */
    const float *weight;    /* (n_row, n_used) */
    const uint32_t *token;  /* (n_row * n_used) sorted position -> token row */
    const uint32_t *at;     /* (n_row, n_used) pair -> sorted position */
    const uint32_t *first;  /* (n_want + 1) slot -> first sorted position; the next one ends it */
    const uint32_t *expert; /* (n_want) slot of the request -> expert id */
    uint32_t n_want;
};

/* GOP_ATTN: a span of the timeline that some rows of the step belong to. */
struct attn_span {
    uint32_t row0, n_row;
    struct kv_span kv;
};

struct backend {
    void *self;
    const char *name;
    /* Working memory for steps of this graph with up to n_row_max rows; grows only. ERR_MEMORY. */
    enum err (*reserve)(void *self, const struct graph *g, uint32_t n_row_max);
    /* Every kind but GOP_KV, GOP_ATTN, GOP_MOE, GOP_REDUCE and GOP_OUT_ROWS. */
    enum err (*run)(void *self, const struct gop *op, const struct op_io *io);
    /* Attention: src[0] queries, dst[0] running weighted values, dst[1] running (max, sum) per
     * head. Begin; any number of calls with some spans each, those of one timeline together and
     * rising, also from call to call; end. Each span is reduced by itself and then merged, in
     * rising order: (m, l, o) with (ms, ls, os) is m' = max(m, ms), l' = l e^(m-m') + ls e^(ms-m'),
     * likewise o (Milakov & Gimelshein 2018). */
    enum err (*attn_begin)(void *self, const struct gop *op, const struct op_io *io);
    enum err (*attn_spans)(void *self, const struct gop *op, const struct op_io *io,
                           const struct attn_span *span, uint32_t n_span, enum dtype type_k,
                           enum dtype type_v);
    enum err (*attn_end)(void *self, const struct gop *op, const struct op_io *io);
    /* Mixture of experts: choose; prepare the activations; any number of calls with some experts
     * each; the sum of each token's pairs in order of choice. id and weight: (n_row, n_used),
     * written. */
    enum err (*moe_route)(void *self, const struct gop *op, const struct op_io *io, uint32_t *id,
                          float *weight);
    enum err (*moe_begin)(void *self, const struct gop *op, const struct op_io *io,
                          const struct moe_rows *rows);
    enum err (*moe_experts)(void *self, const struct gop *op, const struct op_io *io,
                            const struct moe_rows *rows, const struct expert_view *view,
                            uint32_t n_view);
    enum err (*moe_end)(void *self, const struct gop *op, const struct op_io *io,
                        const struct moe_rows *rows);
    void (*close)(void *self);
};

struct kern;
struct pool;

struct cpu_opts {
    struct pool *pool;       /* borrowed */
    const struct kern *kern; /* copied */
    bool act_f32; /* float32 activations: quantised weights are expanded, exact and slow */
};
/* Fills *b; b->close frees it. */
enum err cpu_backend_open(struct backend *b, const struct cpu_opts *o);

#endif
