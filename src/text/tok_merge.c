/*
 * tok_merge.c: the merge engine of all kinds, with the list and the heap it needs.
 *
 * The symbols of a word, at first its characters, stand in a linked list; every adjacent pair that
 * the vocabulary can merge is a candidate in a binary heap, the best one first, the leftmost of
 * equals first. A merge keeps the left symbol, empties the right one and offers at most two new
 * pairs; candidates whose symbols have changed since are recognised by their length when they
 * surface: a symbol only ever grows. n symbols have fewer than n merges and never 2 n candidates
 * waiting, so a word of n bytes costs O(n log n).
 */
#include "base/mem.h"
#include "text/tok_impl.h"

#include <assert.h>
#include <utf8proc.h>

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

/* Bytes of the character at s; 1 for what is not UTF-8. */
static uint32_t char_bytes(const char *s, size_t n)
{
    if ((uint8_t)s[0] < 0x80) return 1;
    utf8proc_int32_t code_point;
    const utf8proc_ssize_t n_bytes =
        utf8proc_iterate((const utf8proc_uint8_t *)s, n < 4 ? (utf8proc_ssize_t)n : 4, &code_point);
    return n_bytes > 0 ? (uint32_t)n_bytes : 1;
}

enum err merge_start(struct merge *m, const char *text, size_t n)
{
    assert(m && text);
    assert(n > 0);
    m->text = text;
    m->n = 0;
    m->heap.n = 0;
    if (n > m->cap) {
        const size_t cap = n < GROW_MIN ? GROW_MIN : n;
        mem_free(m->sym);
        m->cap = 0;
        m->sym = mem_alloc_array(MEM_TOK, cap, sizeof *m->sym);
        if (!m->sym) return ERR_MEMORY;
        m->cap = cap;
    }
    for (uint32_t pos = 0, i = 0; pos < n; i++) {
        const uint32_t len = char_bytes(text + pos, n - pos);
        m->sym[i] = (struct merge_sym){.prev = i ? i - 1 : SYM_NONE,
                                       .next = pos + len < n ? i + 1 : SYM_NONE,
                                       .pos = pos,
                                       .len = len,
                                       .hash = text_hash(TEXT_HASH_START, text + pos, len)};
        m->n = i + 1;
        pos += len;
    }
    return OK;
}

void merge_free(struct merge *m)
{
    assert(m);
    mem_free(m->sym);
    mem_free(m->heap.v);
    *m = (struct merge){0};
}

/* Symbol i and the one behind it become a candidate, if they can merge. */
static enum err offer(struct merge *m, const struct tok *t, merge_pair_fn *pair, uint32_t i)
{
    if (i == SYM_NONE || m->sym[i].next == SYM_NONE) return OK;
    const struct merge_sym *l = &m->sym[i], *r = &m->sym[l->next];
    uint32_t prio = 0;
    if (!pair(t, m->text, l, r, &prio)) return OK;
    const uint64_t key = (uint64_t)prio << 32 | i;
    return heap_push(&m->heap, (struct tok_cand){.key = key, .len = l->len + r->len});
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
        l->hash = text_hash(l->hash, m->text + r->pos, r->len);
        l->len += r->len;
        l->next = r->next;
        r->len = 0;
        if (l->next != SYM_NONE) m->sym[l->next].prev = left;
        err = offer(m, t, pair, l->prev);
        if (!err) err = offer(m, t, pair, left);
    }
    return err;
}
