/*
 * history.c: a ring of the last ids, and a dense list of the distinct ones with their counts.
 *
 * place[id] leads to the id's entry in the list. An entry whose count falls to 0 is replaced by the
 * last one, so that the list stays dense without a search.
 */
#include "text/history.h"

#include "base/mem.h"

#include <assert.h>

struct history {
    struct history_token *token; /* (n_token) */
    size_t n_token;
    uint32_t *place; /* (n_vocab) index into token[] + 1; 0: not there */
    uint32_t *ring;  /* (n_last); NULL: nothing is forgotten */
    uint32_t n_last;
    uint32_t n_ring; /* entries in use */
    uint32_t i_next; /* where the next id goes: the oldest once the ring is full */
    uint32_t n_vocab;
};

enum err history_open(struct history **out, uint32_t n_vocab, uint32_t n_last)
{
    assert(out);
    assert(n_vocab > 0);
    assert(n_last > 0);
    *out = NULL;
    struct history *const h = mem_alloc(MEM_MISC, sizeof *h);
    if (!h) return ERR_MEMORY;
    h->n_vocab = n_vocab;
    h->n_last = n_last;
    h->token = mem_alloc_array(MEM_MISC, n_last < n_vocab ? n_last : n_vocab, sizeof *h->token);
    h->place = mem_alloc_array(MEM_MISC, n_vocab, sizeof *h->place);
    const bool has_ring = n_last != HISTORY_ALL;
    if (has_ring) h->ring = mem_alloc_array(MEM_MISC, n_last, sizeof *h->ring);
    if (!h->token || !h->place || (has_ring && !h->ring)) {
        history_close(h);
        return ERR_MEMORY;
    }
    *out = h;
    return OK;
}

void history_close(struct history *h)
{
    if (!h) return;
    mem_free(h->token);
    mem_free(h->place);
    mem_free(h->ring);
    mem_free(h);
}

static void forget(struct history *h, uint32_t id)
{
    assert(h->place[id] > 0);
    struct history_token *const t = &h->token[h->place[id] - 1];
    if (--t->n > 0) return;
    *t = h->token[--h->n_token];
    h->place[t->id] = h->place[id];
    h->place[id] = 0;
}

void history_put(struct history *h, uint32_t id)
{
    assert(h);
    assert(id < h->n_vocab);
    if (h->ring) {
        if (h->n_ring == h->n_last)
            forget(h, h->ring[h->i_next]);
        else
            h->n_ring++;
        h->ring[h->i_next] = id;
        h->i_next = h->i_next + 1 < h->n_last ? h->i_next + 1 : 0;
    }
    if (h->place[id] == 0) {
        h->token[h->n_token] = (struct history_token){.id = id};
        h->place[id] = (uint32_t)++h->n_token;
    }
    h->token[h->place[id] - 1].n++;
}

const struct history_token *history_tokens(const struct history *h, size_t *n)
{
    assert(h);
    assert(n);
    *n = h->n_token;
    return h->token;
}
