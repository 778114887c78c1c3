/*
 * plan.c: gives every buffer a place in one arena, by lifetime.
 *
 * A buffer lives from the first to the last operation that touches it; two buffers may share memory
 * when their lives do not overlap. First fit over the buffers in the order of their birth: for the
 * repetitive lists of a decoder this reuses the same few places in every layer. Offsets count
 * floats per row, so a buffer's address is arena + offset * rows, and the same plan serves every
 * batch size.
 *
 * Buffers born at or after GOP_OUT_ROWS have their own region, because they hold few rows (logits
 * are wide).
 */
#include "graph/graph.h"

#include "base/mem.h"

#include <assert.h>

#define ALIGN_FLOATS 16 /* 64 bytes: a cache line, and the widest vector */

uint32_t gbuf_stride(const struct gbuf *b)
{
    return (b->n_col + ALIGN_FLOATS - 1) / ALIGN_FLOATS * ALIGN_FLOATS;
}

static void touch(struct graph *g, struct gval v, uint32_t i_op)
{
    if (v.buf < 0) return;
    struct gbuf *b = &g->buf[v.buf];
    if (b->first_op == UINT32_MAX) b->first_op = i_op;
    b->last_op = i_op;
}

static void find_lives(struct graph *g)
{
    for (uint32_t i = 0; i < g->n_buf; i++) g->buf[i].first_op = UINT32_MAX;
    uint32_t i_out = UINT32_MAX;
    for (uint32_t i = 0; i < g->n_op; i++) {
        const struct gop *op = &g->op[i];
        for (int j = 0; j < GOP_SRC_MAX; j++) touch(g, op->src[j], i);
        for (int j = 0; j < GOP_OUT_MAX; j++) touch(g, op->dst[j], i);
        if (op->kind == GOP_OUT_ROWS) i_out = i;
        if (op->kind != GOP_MOE) continue;
        touch(g, op->u.moe.y, i);
    }
    touch(g, g->logits, g->n_op);
    for (uint32_t i = 0; i < g->n_buf; i++) {
        struct gbuf *b = &g->buf[i];
        b->n_out_rows = b->first_op >= i_out;
        assert(b->n_out_rows || b->last_op <= i_out); /* a row of a token is no wanted row */
    }
}

/* The lowest offset where b fits among the buffers before it that live at the same time. */
static size_t first_fit(const struct graph *g, uint32_t i_buf)
{
    const struct gbuf *b = &g->buf[i_buf];
    const size_t size = gbuf_stride(b);
    size_t at = 0;
    for (bool moved = true; moved;) {
        moved = false;
        for (uint32_t i = 0; i < i_buf; i++) {
            const struct gbuf *o = &g->buf[i];
            if (o->n_out_rows != b->n_out_rows || o->last_op < b->first_op ||
                o->first_op > b->last_op)
                continue;
            if (at >= o->offset + gbuf_stride(o) || o->offset >= at + size) continue;
            at = o->offset + gbuf_stride(o);
            moved = true;
        }
    }
    return at;
}

enum err graph_plan(struct graph *g)
{
    assert(g->n_op > 0);
    find_lives(g);
    g->row_floats = 0;
    g->out_floats = 0;
    for (uint32_t i = 0; i < g->n_buf; i++) {
        struct gbuf *b = &g->buf[i];
        if (b->first_op == UINT32_MAX) continue; /* made and never used */
        b->offset = first_fit(g, i);
        size_t *const end = b->n_out_rows ? &g->out_floats : &g->row_floats;
        if (b->offset + gbuf_stride(b) > *end) *end = b->offset + gbuf_stride(b);
    }
    return OK;
}
