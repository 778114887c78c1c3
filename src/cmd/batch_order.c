/*
 * batch_order.c: a ring of slots, one for each item between the oldest that has not left and the
 * newest. Tags count the items; a tag's slot is its remainder.
 *
 * Invariants: (1) n_out <= n_in <= n_out + BATCH_WINDOW; (2) a slot outside [n_out, n_in) is
 * zeroed; (3) n_held is the sum of the bytes of texts and lines in all slots.
 */
#include "cmd/batch_order.h"

#include "base/limits.h"
#include "base/mem.h"

#include <assert.h>
#include <string.h>

struct slot {
    struct batch_stub stub;
    char *text; /* (n_text) of the answer so far */
    size_t n_text, room;
    char *line; /* (n_line) of the output; NULL: the answer is not complete */
    size_t n_line;
};

struct batch_order {
    uint64_t n_in, n_out; /* items that came, items that left */
    size_t n_held;
    struct slot slots[BATCH_WINDOW];
};

static struct slot *slot_of(struct batch_order *w, uint64_t tag)
{
    assert(tag >= w->n_out);
    assert(tag < w->n_in);
    return &w->slots[tag % BATCH_WINDOW];
}

enum err batch_order_open(struct batch_order **w)
{
    assert(w);
    *w = mem_alloc(MEM_MISC, sizeof **w);
    return *w ? OK : ERR_MEMORY;
}

static void clear(struct batch_order *w, struct slot *s)
{
    assert(w->n_held >= s->n_text + s->n_line);
    w->n_held -= s->n_text + s->n_line;
    mem_free(s->text);
    mem_free(s->line);
    batch_stub_fini(&s->stub);
    *s = (struct slot){0};
}

void batch_order_close(struct batch_order *w)
{
    if (!w) return;
    for (; w->n_out < w->n_in; w->n_out++) clear(w, slot_of(w, w->n_out));
    assert(w->n_held == 0);
    mem_free(w);
}

bool batch_order_full(const struct batch_order *w)
{
    assert(w->n_in - w->n_out <= BATCH_WINDOW);
    const uint64_t n = w->n_in - w->n_out;
    return n == BATCH_WINDOW || (n > 0 && w->n_held > BATCH_HELD_BYTES_MAX);
}

uint64_t batch_order_add(struct batch_order *w, struct batch_stub *stub)
{
    assert(!batch_order_full(w));
    assert(stub->id);
    const uint64_t tag = w->n_in++;
    slot_of(w, tag)->stub = *stub;
    *stub = (struct batch_stub){0};
    return tag;
}

enum err batch_order_text(struct batch_order *w, uint64_t tag, const char *s, size_t n)
{
    struct slot *const slot = slot_of(w, tag);
    assert(!slot->line);
    if (n == 0) return OK;
    if (slot->n_text + n > slot->room) {
        const size_t room = 2 * (slot->n_text + n);
        char *const larger = mem_realloc(MEM_MISC, slot->text, room);
        if (!larger) return ERR_MEMORY;
        slot->text = larger;
        slot->room = room;
    }
    memcpy(slot->text + slot->n_text, s, n);
    slot->n_text += n;
    w->n_held += n;
    return OK;
}

enum err batch_order_done(struct batch_order *w, uint64_t tag, const struct batch_answer *a)
{
    struct slot *const slot = slot_of(w, tag);
    assert(!slot->line);
    struct batch_answer whole = *a;
    whole.text = slot->text;
    whole.n_text = slot->n_text;
    const enum err err = batch_item_answer(&slot->stub, &whole, &slot->line, &slot->n_line);
    if (err) return err;
    w->n_held = w->n_held - slot->n_text + slot->n_line;
    mem_free(slot->text);
    slot->text = NULL;
    slot->n_text = slot->room = 0;
    return OK;
}

const char *batch_order_first(const struct batch_order *w, size_t *n)
{
    const struct slot *const slot = &w->slots[w->n_out % BATCH_WINDOW];
    *n = slot->n_line;
    return slot->line; /* outside the window nothing has a line */
}

void batch_order_pop(struct batch_order *w)
{
    struct slot *const slot = slot_of(w, w->n_out);
    assert(slot->line);
    clear(w, slot);
    w->n_out++;
}
