/*
 * resident.c: an expert_src for experts that need no fetching: next() hands them out in the order
 * of the request.
 */
#include "offload/resident.h"

#include "base/mem.h"

#include <assert.h>
#include <string.h>

struct expert_set {
    const struct resident *r;
    uint32_t layer, n_want, i_next;
    struct expert_want want[EXPERTS_MAX];
};

struct resident {
    struct {
        struct tensor gate, up, down;
    } layer[LAYERS_MAX];
    struct expert_set set; /* one request is in flight at a time */
};

enum err resident_open(struct resident **out)
{
    assert(out);
    *out = mem_alloc(MEM_MODEL, sizeof **out);
    return *out ? OK : ERR_MEMORY;
}

void resident_bind(struct resident *r, const struct graph *g)
{
    assert(r);
    for (uint32_t i = 0; i < g->n_op; i++) {
        const struct gop *op = &g->op[i];
        if (op->kind != GOP_MOE) continue;
        assert(op->layer < LAYERS_MAX);
        r->layer[op->layer].gate = op->u.moe.gate;
        r->layer[op->layer].up = op->u.moe.up;
        r->layer[op->layer].down = op->u.moe.down;
    }
}

void resident_close(struct resident *r)
{
    mem_free(r);
}

static enum err request(void *self, uint32_t layer, const struct expert_want *want, uint32_t n_want,
                        struct expert_set **set)
{
    struct resident *r = self;
    assert(layer < LAYERS_MAX);
    assert(n_want <= EXPERTS_MAX);
    r->set.r = r;
    r->set.layer = layer;
    r->set.n_want = n_want;
    r->set.i_next = 0;
    memcpy(r->set.want, want, n_want * sizeof *want);
    *set = &r->set;
    return OK;
}

static const void *plane(const struct tensor *t, uint32_t expert)
{
    assert(expert < t->ne[2]);
    return (const char *)t->data + expert * t->plane_bytes;
}

static enum err next(struct expert_set *s, bool wait, struct expert_view *view)
{
    (void)wait; /* always ready */
    if (s->i_next == s->n_want) return ERR_END;
    const uint32_t expert = s->want[s->i_next].expert;
    *view = (struct expert_view){
        .slot = s->i_next++,
        .gate = plane(&s->r->layer[s->layer].gate, expert),
        .up = plane(&s->r->layer[s->layer].up, expert),
        .down = plane(&s->r->layer[s->layer].down, expert),
    };
    return OK;
}

static void release(struct expert_set *s, struct expert_view *view)
{
    (void)s;
    (void)view;
}

static void set_close(struct expert_set *s)
{
    s->n_want = 0;
}

struct expert_src resident_src(struct resident *r)
{
    return (struct expert_src){
        .self = r, .request = request, .next = next, .release = release, .set_close = set_close};
}
