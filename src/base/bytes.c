/*
 * bytes.c: a byte queue in one block. What is held moves to the front when the block is full, and
 * the block doubles when that is not enough, so a byte is moved a bounded number of times. One byte
 * of the block is kept for the NUL.
 */
#include "base/bytes.h"

#include "base/mem.h"

#include <assert.h>
#include <stdbool.h>
#include <string.h>

#define CAP_MIN 4096

static void check(const struct bytes *b)
{
    assert(b->begin <= b->end);
    assert(b->s ? b->end < b->cap : b->cap == 0);
}

static enum err make_room(struct bytes *b, size_t n)
{
    const size_t n_held = b->end - b->begin;
    size_t n_needed;
    size_t cap = b->cap > CAP_MIN ? b->cap : CAP_MIN;
    bool fits = mem_add(n_held, n, &n_needed) && mem_add(n_needed, 1, &n_needed);
    while (fits && cap < n_needed) fits = mem_mul(cap, 2, &cap);
    if (!fits) return err_set(ERR_MEMORY, "a text of %zu bytes is more than memory can hold", n);
    if (b->begin > 0) memmove(b->s, b->s + b->begin, n_held + 1);
    b->begin = 0;
    b->end = n_held;
    if (cap == b->cap) return OK;
    char *const s = mem_realloc(MEM_MISC, b->s, cap);
    if (!s) return ERR_MEMORY;
    b->s = s;
    b->cap = cap;
    return OK;
}

enum err bytes_put(struct bytes *b, const void *data, size_t n)
{
    check(b);
    if (n == 0) return OK;
    assert(data);
    if (!b->s || n >= b->cap - b->end) {
        const enum err err = make_room(b, n);
        if (err) return err;
    }
    memcpy(b->s + b->end, data, n);
    b->end += n;
    b->s[b->end] = '\0';
    return OK;
}

const char *bytes_at(const struct bytes *b)
{
    check(b);
    return b->begin < b->end ? b->s + b->begin : "";
}

size_t bytes_n(const struct bytes *b)
{
    check(b);
    return b->end - b->begin;
}

void bytes_drop(struct bytes *b, size_t n)
{
    check(b);
    assert(n <= bytes_n(b));
    b->begin += n;
    if (b->begin < b->end) return;
    b->begin = 0;
    b->end = 0;
}

void bytes_cut(struct bytes *b, size_t n)
{
    check(b);
    assert(n <= bytes_n(b));
    b->end = b->begin + n;
    if (n > 0) b->s[b->end] = '\0';
}

void bytes_fini(struct bytes *b)
{
    mem_free(b->s);
    *b = (struct bytes){0};
}
