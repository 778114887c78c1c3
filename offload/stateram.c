/*
 * stateram.c: all layers' states of a timeline in one block; a checkpoint is a copy of the block.
 *
 * When all places are taken a new checkpoint replaces the one whose loss costs least: the one with
 * the smallest gap to its predecessor, which keeps them spread over the timeline. Checkpoints after
 * the restored position are of another timeline and are dropped.
 */
#include "offload/stateram.h"

#include "base/mem.h"

#include <assert.h>
#include <string.h>

/* Enough for a prompt's start, its end and two turns; a block of qwen3next-80B is 75 MB. */
#define CHECKPOINTS_MAX 4

struct timeline {
    float *live; /* (n_float) */
    struct {
        uint32_t pos;
        float *copy;
    } check[CHECKPOINTS_MAX]; /* rising positions */
    uint32_t n_check;
};

struct stateram {
    uint32_t n_layer;
    size_t at[LAYERS_MAX]; /* floats into the block */
    size_t n_float;
    struct timeline *seq[SEQS_MAX]; /* NULL: it is not open */
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
    return OK;
}

static void seq_close(void *self, uint32_t seq)
{
    struct stateram *s = self;
    assert(seq < SEQS_MAX);
    struct timeline *const t = s->seq[seq];
    if (!t) return;
    for (uint32_t i = 0; i < CHECKPOINTS_MAX; i++) mem_free(t->check[i].copy);
    mem_free(t->live);
    mem_free(t);
    s->seq[seq] = NULL;
}

static enum err seq_open(void *self, uint32_t seq)
{
    struct stateram *s = self;
    assert(seq < SEQS_MAX);
    assert(!s->seq[seq]);
    s->seq[seq] = mem_alloc(MEM_KV, sizeof *s->seq[seq]);
    if (!s->seq[seq]) return ERR_MEMORY;
    s->seq[seq]->live = mem_alloc_array(MEM_KV, s->n_float, sizeof(float));
    if (s->seq[seq]->live) return OK;
    seq_close(s, seq);
    return ERR_MEMORY;
}

void stateram_close(struct stateram *s)
{
    if (!s) return;
    for (uint32_t i = 0; i < SEQS_MAX; i++) seq_close(s, i);
    mem_free(s);
}

uint64_t stateram_bytes_max(const struct stateram *s)
{
    return (1 + CHECKPOINTS_MAX) * s->n_float * sizeof(float);
}

uint64_t stateram_bytes(const struct stateram *s, uint32_t seq)
{
    assert(s->seq[seq]);
    uint64_t n = 1;
    for (uint32_t i = 0; i < CHECKPOINTS_MAX; i++) n += s->seq[seq]->check[i].copy != NULL;
    return n * s->n_float * sizeof(float);
}

static struct timeline *timeline(void *self, uint32_t seq)
{
    struct stateram *s = self;
    assert(seq < SEQS_MAX);
    assert(s->seq[seq]);
    return s->seq[seq];
}

static enum err get(void *self, uint32_t seq, uint32_t layer, float **state)
{
    const struct stateram *s = self;
    assert(layer < s->n_layer);
    *state = timeline(self, seq)->live + s->at[layer];
    return OK;
}

/* Frees one place: the checkpoint nearest to the one before it. Its buffer moves to the end of
 * the list. */
static void drop_one(struct timeline *t)
{
    uint32_t worst = 0, gap_min = UINT32_MAX;
    for (uint32_t i = 0; i < t->n_check; i++) {
        const uint32_t before = i ? t->check[i - 1].pos : 0;
        if (t->check[i].pos - before >= gap_min) continue;
        gap_min = t->check[i].pos - before;
        worst = i;
    }
    float *const copy = t->check[worst].copy;
    t->n_check--;
    memmove(&t->check[worst], &t->check[worst + 1], (t->n_check - worst) * sizeof t->check[0]);
    t->check[t->n_check].copy = copy;
}

static enum err save(void *self, uint32_t seq, uint32_t pos)
{
    const struct stateram *s = self;
    struct timeline *const t = timeline(self, seq);
    if (s->n_float == 0) return OK;
    if (t->n_check && t->check[t->n_check - 1].pos == pos) return OK;
    assert(t->n_check == 0 || t->check[t->n_check - 1].pos < pos);
    if (t->n_check == CHECKPOINTS_MAX) drop_one(t);
    float **const copy = &t->check[t->n_check].copy;
    if (!*copy) *copy = mem_alloc_array(MEM_KV, s->n_float, sizeof **copy);
    if (!*copy) return ERR_MEMORY;
    memcpy(*copy, t->live, s->n_float * sizeof **copy);
    t->check[t->n_check++].pos = pos;
    return OK;
}

/* How many checkpoints lie at or before pos. */
static uint32_t n_until(const struct timeline *t, uint32_t pos)
{
    uint32_t n = t->n_check;
    while (n && t->check[n - 1].pos > pos) n--;
    return n;
}

static uint32_t nearest(void *self, uint32_t seq, uint32_t pos)
{
    const struct timeline *const t = timeline(self, seq);
    const uint32_t n = n_until(t, pos);
    return n ? t->check[n - 1].pos : 0;
}

static enum err restore(void *self, uint32_t seq, uint32_t pos, uint32_t *pos_got)
{
    const struct stateram *s = self;
    struct timeline *const t = timeline(self, seq);
    t->n_check = n_until(t, pos);
    *pos_got = nearest(self, seq, pos);
    if (t->n_check)
        memcpy(t->live, t->check[t->n_check - 1].copy, s->n_float * sizeof *t->live);
    else
        memset(t->live, 0, s->n_float * sizeof *t->live);
    return OK;
}

static enum err copy(void *self, uint32_t from, uint32_t pos_live, uint32_t to, uint32_t pos,
                     uint32_t *pos_got)
{
    const struct stateram *s = self;
    const struct timeline *const f = timeline(self, from);
    struct timeline *const t = timeline(self, to);
    assert(from != to);
    assert(pos <= pos_live);
    const uint32_t n = n_until(f, pos);
    const float *const state = pos == pos_live ? f->live : n ? f->check[n - 1].copy : NULL;
    *pos_got = pos == pos_live ? pos : nearest(self, from, pos);
    t->n_check = 0;
    if (!state) {
        memset(t->live, 0, s->n_float * sizeof *t->live);
        return OK;
    }
    memcpy(t->live, state, s->n_float * sizeof *t->live);
    return *pos_got ? save(self, to, *pos_got) : OK;
}

struct state_src stateram_src(struct stateram *s)
{
    return (struct state_src){.self = s,
                              .get = get,
                              .save = save,
                              .restore = restore,
                              .nearest = nearest,
                              .seq_open = seq_open,
                              .seq_close = seq_close,
                              .copy = copy};
}
