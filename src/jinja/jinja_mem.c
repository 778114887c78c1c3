/*
 * jinja_mem.c: the arena, the limits and the way out of a parse or a render.
 *
 * Blocks grow from ARENA_BLOCK_BYTES; nothing is freed before the end. With AddressSanitizer each
 * piece is a block of its own, so that it sees an overrun.
 */
#include "base/asan.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/os.h"
#include "jinja/jinja_value.h"

#include <assert.h>
#include <stdalign.h>
#include <stdarg.h>
#include <stdio.h>

#define ARENA_BLOCK_BYTES (BASE_ASAN ? (size_t)1 : (size_t)64 << 10)
#define LOOK_STEPS ((uint64_t)1 << 16) /* between looks at clock and signals: a few ms */

struct jblock {
    struct jblock *next;
    size_t n_used, n_bytes;
    alignas(max_align_t) char data[];
};

_Noreturn static void leave(struct jx *x, enum err err)
{
    assert(err != OK);
    x->err = err;
    longjmp(x->out, 1);
}

void jx_fail(struct jx *x, const char *fmt, ...)
{
    assert(x && fmt);
    char text[ERR_MSG_BYTES_MAX];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    leave(x, err_set(ERR_INPUT, "%s, line %u: %s", x->name, x->line, text));
}

static struct jblock *block_new(struct jx *x, size_t n_bytes)
{
    const size_t n = n_bytes < ARENA_BLOCK_BYTES ? ARENA_BLOCK_BYTES : n_bytes;
    if (n > JINJA_VALUE_BYTES_MAX || x->n_bytes > JINJA_VALUE_BYTES_MAX - n)
        jx_fail(x, "the template makes values of more than %u MiB; it may loop without end",
                JINJA_VALUE_BYTES_MAX >> 20);
    x->n_bytes += n;
    struct jblock *b = mem_alloc(MEM_MISC, sizeof *b + n);
    if (!b) leave(x, ERR_MEMORY);
    b->n_bytes = n;
    b->next = x->block;
    x->block = b;
    return b;
}

void *jx_alloc(struct jx *x, size_t n_bytes)
{
    assert(x);
    if (n_bytes > JINJA_VALUE_BYTES_MAX) n_bytes = JINJA_VALUE_BYTES_MAX + 1; /* fails below */
    const size_t n =
        (n_bytes + alignof(max_align_t) - 1) / alignof(max_align_t) * alignof(max_align_t);
    struct jblock *b = x->block;
    if (!b || b->n_bytes - b->n_used < n) b = block_new(x, n);
    void *p = b->data + b->n_used;
    b->n_used += n;
    assert(b->n_used <= b->n_bytes);
    return p;
}

void *jx_array(struct jx *x, size_t n, size_t size_each)
{
    size_t n_bytes;
    if (!mem_mul(n, size_each, &n_bytes)) n_bytes = SIZE_MAX; /* beyond the limit, too */
    return jx_alloc(x, n_bytes);
}

void jx_free(struct jx *x)
{
    assert(x);
    while (x->block) {
        struct jblock *b = x->block;
        x->block = b->next;
        mem_free(b);
    }
}

void jx_step(struct jx *x, uint64_t n)
{
    const uint64_t before = x->n_step;
    x->n_step += n;
    if (x->n_step > JINJA_STEPS_MAX)
        jx_fail(x, "the template takes more than %u steps; it may loop without end",
                JINJA_STEPS_MAX);
    if (before / LOOK_STEPS == x->n_step / LOOK_STEPS) return;
    if (os_interrupted()) leave(x, err_set(ERR_INTR, "interrupted while rendering %s", x->name));
    if (x->deadline_ns && os_time_ns() > x->deadline_ns)
        jx_fail(x, "the template takes too long; it may loop without end");
}

void jx_down(struct jx *x)
{
    if (++x->depth > x->depth_max) jx_fail(x, "nested more than %u levels deep", x->depth_max);
}

void jx_up(struct jx *x)
{
    assert(x->depth > 0);
    x->depth--;
}
