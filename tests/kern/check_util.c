/*
 * check_util.c: random numbers, memory that notices, comparisons.
 */
#include "tests/kern/check.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { GUARD_FLOATS = 16 };
static const uint32_t guard_bits = 0x7fc0dead; /* a NaN that no kernel makes */

uint32_t rand_u32(struct ctx *c)
{
    c->rng ^= c->rng << 13;
    c->rng ^= c->rng >> 7;
    c->rng ^= c->rng << 17;
    return (uint32_t)(c->rng >> 24);
}

float rand_float(struct ctx *c, float scale)
{
    float sum = -6.0f;
    for (int i = 0; i < 12; i++) sum += (float)(rand_u32(c) & 0xffff) / 65536.0f;
    return sum * scale;
}

void rand_floats(struct ctx *c, float *x, size_t n, float scale)
{
    for (size_t i = 0; i < n; i++) x[i] = rand_float(c, scale);
}

static void die(const char *what)
{
    printf("Bail out! %s\n", what);
    exit(1);
}

struct room room_new(size_t n_bytes, size_t align)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const size_t n = (n_bytes + page - 1) / page * page;
    void *const base =
        mmap(NULL, n + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED) die("no memory");
    if (mprotect((char *)base + n, page, PROT_NONE)) die("mprotect");
    return (struct room){(uint8_t *)base + (n - n_bytes) / align * align, base, n + page};
}

void room_free(struct room *r)
{
    munmap(r->base, r->n_base);
    *r = (struct room){0};
}

struct out out_new(size_t n)
{
    const size_t n_all = n + 2 * GUARD_FLOATS;
    struct out o = {.n = n, .room = room_new(n_all * sizeof(float), 1)};
    for (size_t i = 0; i < n_all; i++) memcpy(o.room.p + 4 * i, &guard_bits, 4);
    o.y = (float *)(void *)o.room.p + GUARD_FLOATS;
    return o;
}

bool out_guards_hold(const struct out *o)
{
    for (size_t i = 0; i < GUARD_FLOATS; i++) {
        if (memcmp(o->y - 1 - i, &guard_bits, 4) != 0) return false;
        if (memcmp(o->y + o->n + i, &guard_bits, 4) != 0) return false;
    }
    return true;
}

void out_free(struct out *o)
{
    room_free(&o->room);
}

bool fail(struct ctx *c, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(c->why, sizeof c->why, fmt, args);
    va_end(args);
    return false;
}

bool same_bits(const float *a, const float *b, size_t n, size_t *at)
{
    for (size_t i = 0; i < n; i++) {
        if (memcmp(&a[i], &b[i], sizeof *a) == 0) continue;
        const uint32_t *guard = &guard_bits; /* a guard is like nothing but itself */
        if (isnan(a[i]) && isnan(b[i]) && memcmp(&a[i], guard, 4) && memcmp(&b[i], guard, 4))
            continue;
        *at = i;
        return false;
    }
    return true;
}

bool is_near(float a, float b, float abs, float rel)
{
    if (isnan(a) || isnan(b)) return isnan(a) && isnan(b);
    if (isinf(a) || isinf(b)) return a == b;
    return fabsf(a - b) <= abs + rel * fabsf(b);
}
