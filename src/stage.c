/*
 * stage.c: graph, executor and caches of sessions that run together.
 */
#include "stage.h"

#include "base/mem.h"

#include <assert.h>

static enum err open_ports(struct stage *st, const struct session_opts *o)
{
    const struct graph *g = st->g;
    enum err err = kvram_open(&st->kv, g->kv, g->n_layer, st->n_ctx, engine_kv_dtype(o->type_k),
                              engine_kv_dtype(o->type_v), &st->e->kern, st->e->pool);
    if (err) return err;
    err = stateram_open(&st->state, g->state_floats, g->n_layer);
    if (err) return err;
    st->ports = (struct ports){.experts = resident_src(st->e->experts),
                               .kv = kvram_src(st->kv),
                               .state = stateram_src(st->state),
                               .comm = {.n_rank = 1}};
    return OK;
}

enum err stage_new(struct stage **out, struct engine *e, const struct session_opts *o)
{
    assert(out);
    assert(e->mode == ENGINE_RUN);
    *out = NULL;
    struct stage *st = mem_alloc(MEM_KV, sizeof *st);
    if (!st) return ERR_MEMORY;
    st->e = e;
    st->n_ctx = engine_n_ctx(e, o->n_ctx);
    st->n_batch = o->n_batch ? o->n_batch : BATCH_DEFAULT;
    if (st->n_batch > st->n_ctx) st->n_batch = st->n_ctx;
    enum err err = ERR_USAGE;
    if (st->n_ctx > CTX_MAX || st->n_batch > BATCH_MAX) {
        err_set(err, "a context of %u and a batch of %u were asked for; the limits are %u and %u",
                st->n_ctx, st->n_batch, CTX_MAX, BATCH_MAX);
        goto fail;
    }
    err = ERR_MEMORY;
    st->token = mem_alloc_array(MEM_ARENA, st->n_batch, sizeof *st->token);
    if (!st->token) goto fail;
    err = model_build(e->model, st->n_ctx, &st->g);
    if (err) goto fail;
    st->n_left = UINT64_MAX;
    stage_bind(st);
    err = open_ports(st, o);
    if (err) goto fail;
    err = exec_open(&st->exec, st->g, &e->backend, &st->ports, st->n_batch);
    if (err) goto fail;
    *out = st;
    return OK;
fail:
    stage_free(st);
    return err;
}

void stage_bind(struct stage *st)
{
    const uint64_t n_left = weights_left(st->e->weights);
    if (st->n_left == n_left) return;
    weights_bind(st->e->weights, st->g);
    resident_bind(st->e->experts, st->g);
    st->n_left = n_left;
}

void stage_free(struct stage *st)
{
    if (!st) return;
    assert(st->n_taken == 0);
    exec_close(st->exec);
    stateram_close(st->state);
    kvram_close(st->kv);
    graph_free(st->g);
    mem_free(st->token);
    mem_free(st);
}

enum err stage_join(struct stage *st, uint32_t *seq)
{
    uint32_t i = 0;
    while (i < SEQS_MAX && st->taken[i]) i++;
    if (i == SEQS_MAX)
        return err_set(ERR_USAGE,
                       "more than %u sequences side by side were asked for; ask for fewer",
                       SEQS_MAX);
    enum err err = st->ports.kv.seq_open(st->ports.kv.self, i);
    if (err) return err;
    err = st->ports.state.seq_open(st->ports.state.self, i);
    if (err) {
        st->ports.kv.seq_close(st->ports.kv.self, i);
        return err;
    }
    st->taken[i] = true;
    st->n_taken++;
    *seq = i;
    return OK;
}

void stage_leave(struct stage *st, uint32_t seq)
{
    assert(st->taken[seq]);
    st->ports.kv.seq_close(st->ports.kv.self, seq);
    st->ports.state.seq_close(st->ports.state.self, seq);
    st->taken[seq] = false;
    st->n_taken--;
    if (st->n_taken == 0) stage_free(st);
}
