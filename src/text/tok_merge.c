/*
 * tok_merge.c: the merge engine of all kinds, with the list and the heap it needs.
 *
 * The symbols of a word stand in a linked list; every adjacent pair that the vocabulary can merge
 * is a candidate in a binary heap, the best one first, the leftmost of equals first. A merge keeps
 * the left symbol, empties the right one and offers at most two new pairs; candidates whose symbols
 * have changed since are recognised by their length when they surface: a symbol only ever grows. n
 * symbols have fewer than n merges and never 2 n candidates waiting, so a word of n bytes costs
 * O(n log n).
 */
#include "base/mem.h"
#include "text/tok_impl.h"

#include <assert.h>

#define GROW_MIN 256 /* first size of what grows: a sentence */

/* Doubles the room of p when it is full. */
static enum err grow(void **p, size_t n, size_t *cap, size_t each)
{
    if (n < *cap) return OK;
    size_t more = GROW_MIN, n_bytes = 0;
    if (*cap && !mem_mul(*cap, 2, &more)) return err_set(ERR_MEMORY, "the text is too long");
    if (!mem_mul(more, each, &n_bytes)) return err_set(ERR_MEMORY, "the text is too long");
    void *q = mem_realloc(MEM_TOK, *p, n_bytes);
    if (!q) return ERR_MEMORY;
    *p = q;
    *cap = more;
    return OK;
}

enum err ids_push(struct tok_ids *ids, uint32_t id)
{
    assert(ids);
    void *v = ids->v;
    const enum err err = grow(&v, ids->n, &ids->cap, sizeof *ids->v);
    if (err) return err;
    ids->v = v;
    ids->v[ids->n++] = id;
    return OK;
}

/* ---- heap ------------------------------------------------------------------------------------ */

enum err heap_push(struct tok_heap *h, struct tok_cand c)
{
    assert(h);
    void *v = h->v;
    const enum err err = grow(&v, h->n, &h->cap, sizeof *h->v);
    if (err) return err;
    h->v = v;
    size_t i = h->n++;
    while (i > 0) {
        const size_t parent = (i - 1) / 2;
        if (h->v[parent].key <= c.key) break;
        h->v[i] = h->v[parent];
        i = parent;
    }
    h->v[i] = c;
    return OK;
}

struct tok_cand heap_pop(struct tok_heap *h)
{
    assert(h && h->n > 0);
    const struct tok_cand top = h->v[0];
    const struct tok_cand last = h->v[--h->n];
    size_t i = 0;
    for (size_t child = 1; child < h->n; child = 2 * i + 1) {
        if (child + 1 < h->n && h->v[child + 1].key < h->v[child].key) child++;
        if (last.key <= h->v[child].key) break;
        h->v[i] = h->v[child];
        i = child;
    }
    h->v[i] = last;
    return top;
}

/* ---- symbols --------------------------------------------------------------------------------- */

enum err merge_start(struct merge *m, const char *text, size_t n)
{
    assert(m && text);
    m->text = text;
    m->n = 0;
    m->heap.n = 0;
    if (n <= m->cap) return OK;
    const size_t cap = n < GROW_MIN ? GROW_MIN : n;
    mem_free(m->sym);
    m->cap = 0;
    m->sym = mem_alloc_array(MEM_TOK, cap, sizeof *m->sym);
    if (!m->sym) return ERR_MEMORY;
    m->cap = cap;
    return OK;
}

void merge_free(struct merge *m)
{
    assert(m);
    mem_free(m->sym);
    mem_free(m->heap.v);
    *m = (struct merge){0};
}

void merge_add(struct merge *m, uint32_t len, uint32_t id)
{
    assert(m && m->n < m->cap);
    assert(len > 0);
    const uint32_t i = (uint32_t)m->n++;
    struct merge_sym *s = &m->sym[i];
    *s = (struct merge_sym){.prev = SYM_NONE, .next = SYM_NONE, .len = len, .id = id};
    if (i == 0) return;
    s->prev = i - 1;
    s->pos = m->sym[i - 1].pos + m->sym[i - 1].len;
    m->sym[i - 1].next = i;
}

/* Symbol i and the one behind it become a candidate, if they can merge. */
static enum err offer(struct merge *m, const struct tok *t, merge_pair_fn *pair, uint32_t i)
{
    if (i == SYM_NONE || m->sym[i].next == SYM_NONE) return OK;
    const struct merge_sym *l = &m->sym[i], *r = &m->sym[l->next];
    uint32_t prio = 0, id = 0;
    if (!pair(t, m->text, l, r, &prio, &id)) return OK;
    const struct tok_cand c = {(uint64_t)prio << 32 | i, .len = l->len + r->len, .id = id};
    return heap_push(&m->heap, c);
}

enum err merge_run(struct merge *m, const struct tok *t, merge_pair_fn *pair)
{
    assert(m && t && pair);
    enum err err = OK;
    for (uint32_t i = 0; !err && i < m->n; i++) err = offer(m, t, pair, i);
    while (!err && m->heap.n) {
        const struct tok_cand c = heap_pop(&m->heap);
        const uint32_t left = (uint32_t)c.key;
        struct merge_sym *l = &m->sym[left];
        if (l->len == 0 || l->next == SYM_NONE) continue;
        struct merge_sym *r = &m->sym[l->next];
        if (l->len + r->len != c.len) continue;
        l->len = c.len;
        l->id = c.id;
        l->next = r->next;
        r->len = 0;
        if (l->next != SYM_NONE) m->sym[l->next].prev = left;
        err = offer(m, t, pair, l->prev);
        if (!err) err = offer(m, t, pair, left);
    }
    return err;
}
