/*
 * ports.h: all that a graph needs from outside: experts, keys and values, recurrent state, peers.
 *
 * The executor calls these tables and never knows whether an expert came from RAM, disk or a peer.
 * offload/ and net/ implement them; engine.c plugs them in; a test plugs in one that is slow, short
 * or failing.
 *
 * expert_src  Views are borrowed from next to release; the caller holds at most EXPERT_VIEWS_MAX,
 *             and a source makes progress with room for one expert. request, next, release and
 *             set_close come from the executor, hint from any thread. A read error is a code from
 *             next, never zeros.
 * kv_src      Spans are borrowed from next to release, also beyond done; the caller holds at most
 *             KV_SPANS_MAX, of all iterators together, and a source makes progress with room for
 *             one. append keeps nothing. One writer and its readers per (seq, layer) in turn. If
 *             append fails, what was there stays.
 * state_src   The state is borrowed until the step ends. get comes from the executor, all else from
 *             the owner of the timelines. If save fails, nothing moves; if copy fails, `to` is
 *             restored to 0 by the caller.
 * both        A seq is one timeline, numbered by its owner below SEQS_MAX: it exists, empty, from
 *             seq_open to seq_close.
 * comm        Buffers stay the caller's. One thread drives the order. A lost peer fails the
 *             operation; the engine stays alive.
 */
#ifndef GRAPH_PORTS_H
#define GRAPH_PORTS_H

#include "base/err.h"
#include "base/limits.h"
#include "tensor/dtype.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- experts --------------------------------------------------------------------------------- */

#define EXPERT_VIEWS_MAX EXPERTS_USED_MAX /* held at once: the most experts of one token */

struct expert_want {
    uint16_t expert;
    uint8_t width; /* bits, exact: never fewer, never more; 0 = the width the file has */
};

struct expert_view { /* one expert, ready to multiply */
    uint32_t slot;   /* index into want[]: the caller's row for this expert */
    uint8_t width;
    const void *gate, *up, *down; /* rows of the layer's types and strides */
    void *pin;                    /* private to the source */
};

struct expert_set; /* one request in flight; owned by the source until set_close */

struct expert_src {
    void *self;
    /* Queue a layer's experts. Copies want[]; never blocks on I/O. */
    enum err (*request)(void *self, uint32_t layer, const struct expert_want *want, uint32_t n_want,
                        struct expert_set **set);
    /* Next expert that is complete, in any order. wait: block until one is; otherwise ERR_AGAIN
     * when none is ready, so that the caller can work on those it holds. ERR_END after the last. */
    enum err (*next)(struct expert_set *set, bool wait, struct expert_view *view);
    void (*release)(struct expert_set *set, struct expert_view *view);
    void (*set_close)(struct expert_set *set); /* also cancels what has not arrived */
    /* A guess about a later layer. May be ignored (NULL too); must never delay a request. */
    void (*hint)(void *self, uint32_t layer, const struct expert_want *guess, uint32_t n_guess);
};

/* ---- key/value cache ------------------------------------------------------------------------- */

struct kv_shape {       /* of one layer */
    uint32_t n_head_kv; /* 0: the layer has no keys (recurrent, or it shares another layer's) */
    uint32_t dim_k, dim_v;
    bool v_in_k; /* MLA: the values are the first dim_v of each key row; append gets v == NULL */
};

#define KV_SPANS_MAX 32 /* held at once: 8192 positions keep many threads busy for long */

struct kv_span {           /* consecutive positions of one layer; only the last span is short */
    uint32_t pos0, n_pos;  /* pos0 is a multiple of KV_SPAN, n_pos at most KV_SPAN */
    const void *k, *v;     /* of head 0 at pos0, in the source's types as kern/kv.h says; keys in
                            * whole tiles, whatever stands at positions that do not exist */
    size_t k_head, v_head; /* bytes between heads */
    void *pin;             /* private to the source */
};

struct kv_iter { /* caller's storage, source's contents */
    void *self;
    uint32_t seq, layer, pos, pos_end;
    void *pin;
};

struct kv_src {
    void *self;
    enum dtype type_k, type_v; /* DT_F32, DT_F16 or DT_Q8_0 */
    /* k: (n_pos, n_head_kv * dim_k) floats, k_stride floats between positions; v likewise */
    enum err (*append)(void *self, uint32_t seq, uint32_t layer, uint32_t pos0, uint32_t n_pos,
                       const float *k, size_t k_stride, const float *v, size_t v_stride);
    /* Spans that cover [pos_begin, pos_end), rising; the first starts at or before pos_begin. */
    enum err (*iter)(void *self, uint32_t seq, uint32_t layer, uint32_t pos_begin, uint32_t pos_end,
                     struct kv_iter *it);
    /* wait: block until the next span is there; otherwise ERR_AGAIN when it is not, or has no room
     * until others are released. ERR_END after the last. */
    enum err (*next)(struct kv_iter *it, bool wait, struct kv_span *span);
    void (*release)(void *self, struct kv_span *span);
    void (*done)(struct kv_iter *it); /* no more spans are wanted */
    enum err (*trim)(void *self, uint32_t seq, uint32_t n_pos_keep);
    enum err (*seq_open)(void *self, uint32_t seq);
    void (*seq_close)(void *self, uint32_t seq); /* fine when it is not open */
    /* Positions [0, n_pos) of `to` become those of `from`. */
    enum err (*copy)(void *self, uint32_t from, uint32_t to, uint32_t n_pos);
};

/* ---- recurrent state (short convolutions, SSM, gated delta net) ------------------------------ */

struct state_src { /* fixed size per (seq, layer); cannot be trimmed like KV. Zero at position 0 */
    void *self;
    enum err (*get)(void *self, uint32_t seq, uint32_t layer, float **state);
    enum err (*save)(void *self, uint32_t seq, uint32_t pos); /* checkpoint at a position */
    /* The nearest checkpoint at or before pos; later ones are forgotten. */
    enum err (*restore)(void *self, uint32_t seq, uint32_t pos, uint32_t *pos_got);
    /* Where restore would land. */
    uint32_t (*nearest)(void *self, uint32_t seq, uint32_t pos);
    enum err (*seq_open)(void *self, uint32_t seq);
    void (*seq_close)(void *self, uint32_t seq); /* fine when it is not open */
    /* The live state of `to`, and its one checkpoint, become the state that `from` has at pos_live,
     * its live one, or that of the nearest checkpoint at or before pos where pos differs. */
    enum err (*copy)(void *self, uint32_t from, uint32_t pos_live, uint32_t to, uint32_t pos,
                     uint32_t *pos_got);
};

/* ---- peers ----------------------------------------------------------------------------------- */

struct comm {
    void *self;
    uint32_t rank, n_rank; /* n_rank == 1: nothing is called */
    /* `step` and `op` name the operation; a frame that names another one ends the run. */
    /* Sum, in place. */
    enum err (*all_reduce)(void *self, uint64_t step, uint32_t op, float *x, size_t n);
    /* From rank 0. */
    enum err (*broadcast)(void *self, uint64_t step, uint32_t op, void *buf, size_t n_bytes);
    /* Wakes every blocked call, here and at peers. */
    enum err (*abort)(void *self, enum err why);
};

struct ports {
    struct expert_src experts;
    struct kv_src kv;
    struct state_src state;
    struct comm comm;
};

#endif
