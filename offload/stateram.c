/*
 * stateram.c: all layers' states in one block; a checkpoint is a copy of the block.
 *
 * When all places are taken a new checkpoint replaces the one whose loss costs least: the one with
 * the smallest gap to its predecessor, which keeps them spread over the timeline. Checkpoints after
 * the restored position are of another timeline and are dropped.
 */
#include "offload/stateram.h"

#include "base/mem.h"

#include <assert.h>
#include <string.h>

#define CHECKPOINTS_MAX                                                                            \
    4 /* a block of qwen3next-80B is 75 MB: enough for a prompt's start, end and two turns */

struct stateram {
    uint32_t n_layer;
    size_t at[LAYERS_MAX]; /* floats into the block */
    size_t n_float;
    float *live;
    struct {
        uint32_t pos;
        float *copy;
    } check[CHECKPOINTS_MAX]; /* rising positions */
    uint32_t n_check;
};

enum err stateram_open(struct stateram **out, const uint32_t *state_floats, uint32_t n_layer)
{
    assert(n_layer <= LAYERS_MAX);
    struct stateram *s = mem_alloc(MEM_KV, sizeof *s);
    *out = s;
    if (!s) return ERR_MEMORY;
    s->n_layer = n_layer;
    for (uint32_t i = 0; i < n_layer; i++) {
        s->at[i] = s->n_float;
        s->n_float += state_floats[i];
    }
    s->live = mem_alloc_array(MEM_KV, s->n_float, sizeof *s->live);
    if (s->live) return OK;
    stateram_close(s);
    *out = NULL;
    return ERR_MEMORY;
}

void stateram_close(struct stateram *s)
{
    if (!s) return;
    for (uint32_t i = 0; i < CHECKPOINTS_MAX; i++) mem_free(s->check[i].copy);
    mem_free(s->live);
    mem_free(s);
}

uint64_t stateram_bytes(const struct stateram *s)
{
    uint64_t n = s->n_float * sizeof(float);
    for (uint32_t i = 0; i < CHECKPOINTS_MAX; i++)
        if (s->check[i].copy) n += s->n_float * sizeof(float);
    return n;
}

static enum err get(void *self, uint32_t seq, uint32_t layer, float **state)
{
    struct stateram *s = self;
    assert(seq == 0);
    assert(layer < s->n_layer);
    *state = s->live + s->at[layer];
    return OK;
}

/* Frees one place: the checkpoint nearest to the one before it. Its buffer moves to the end of
 * the list. */
static void drop_one(struct stateram *s)
{
    uint32_t worst = 0, gap_min = UINT32_MAX;
    for (uint32_t i = 0; i < s->n_check; i++) {
        const uint32_t before = i ? s->check[i - 1].pos : 0;
        if (s->check[i].pos - before >= gap_min) continue;
        gap_min = s->check[i].pos - before;
        worst = i;
    }
    float *const copy = s->check[worst].copy;
    s->n_check--;
    memmove(&s->check[worst], &s->check[worst + 1], (s->n_check - worst) * sizeof s->check[0]);
    s->check[s->n_check].copy = copy;
}

static enum err save(void *self, uint32_t seq, uint32_t pos)
{
    struct stateram *s = self;
    assert(seq == 0);
    if (s->n_float == 0) return OK;
    if (s->n_check && s->check[s->n_check - 1].pos == pos) return OK;
    assert(s->n_check == 0 || s->check[s->n_check - 1].pos < pos);
    if (s->n_check == CHECKPOINTS_MAX) drop_one(s);
    float **const copy = &s->check[s->n_check].copy;
    if (!*copy) *copy = mem_alloc_array(MEM_KV, s->n_float, sizeof **copy);
    if (!*copy) return ERR_MEMORY;
    memcpy(*copy, s->live, s->n_float * sizeof **copy);
    s->check[s->n_check++].pos = pos;
    return OK;
}

static enum err restore(void *self, uint32_t seq, uint32_t pos, uint32_t *pos_got)
{
    struct stateram *s = self;
    assert(seq == 0);
    while (s->n_check && s->check[s->n_check - 1].pos > pos) s->n_check--;
    *pos_got = s->n_check ? s->check[s->n_check - 1].pos : 0;
    if (s->n_check)
        memcpy(s->live, s->check[s->n_check - 1].copy, s->n_float * sizeof *s->live);
    else
        memset(s->live, 0, s->n_float * sizeof *s->live);
    return OK;
}

struct state_src stateram_src(struct stateram *s)
{
    return (struct state_src){.self = s, .get = get, .save = save, .restore = restore};
}
