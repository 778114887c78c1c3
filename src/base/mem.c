/*
 * mem.c: heap blocks with a header that remembers what they are for.
 *
 * A block is a header of MEM_ALIGN bytes followed by the caller's bytes. Small blocks come from the
 * C heap and are cleared; from MAP_BYTES_MIN on they are anonymous mappings, which the kernel
 * clears page by page when they are touched, so a KV cache for 100,000 positions costs what is used
 * of it. Counters are atomics per tag and count the bytes asked for, not headers or rounding.
 *
 * This is the only file that may call the C heap. Its variables are the counters that mem.h
 * promises.
 */
#include "base/mem.h"

#include "base/asan.h"
#include "base/err.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* glibc's own threshold for mmap starts at 128 KiB; twice that keeps short-lived buffers on the
 * heap. Under ASan only blocks that its heap could refuse by aborting are mapped: on the heap it
 * sees an overrun. */
#define MAP_BYTES_MIN (BASE_ASAN ? (size_t)1 << 30 : (size_t)256 << 10)

#define HEAD_ALIVE 0x6d6f7869u /* "moxi": a block in use */

struct head {
    size_t n_bytes;  /* that the caller asked for */
    size_t n_mapped; /* length of the mapping; 0: from the heap */
    uint32_t tag;
    uint32_t mark;
};

static_assert(sizeof(struct head) <= MEM_ALIGN, "the header fits before the block");

static const char *const tag_names[MEM_TAG_COUNT] = {
    [MEM_MISC] = "small tables", [MEM_MODEL] = "the model's directory",
    [MEM_TOK] = "the tokenizer", [MEM_KV] = "the key/value cache",
    [MEM_ARENA] = "activations", [MEM_SCRATCH] = "working space",
};

static atomic_size_t used[MEM_TAG_COUNT];
static atomic_uint_least64_t fail_countdown;

/* True when this allocation is the one that mem_fail_at() named. */
static bool must_fail(void)
{
    uint_least64_t left = atomic_load(&fail_countdown);
    while (left > 0) {
        if (atomic_compare_exchange_weak(&fail_countdown, &left, left - 1)) return left == 1;
    }
    return false;
}

static struct head *head_of(void *p)
{
    struct head *h = (struct head *)((char *)p - MEM_ALIGN);
    assert(h->mark == HEAD_ALIVE); /* else: a double free, or a pointer that is not ours */
    return h;
}

static struct head *block_new(size_t n_bytes)
{
    size_t n_total;
    if (!mem_add(n_bytes, MEM_ALIGN, &n_total)) return NULL;
    void *h = NULL;
    if (n_total < MAP_BYTES_MIN) {
        if (posix_memalign(&h, MEM_ALIGN, n_total) != 0) return NULL;
        memset(h, 0, n_total);
        return h;
    }
    h = mmap(NULL, n_total, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (h == MAP_FAILED) return NULL;
    ((struct head *)h)->n_mapped = n_total;
    return h;
}

void *mem_alloc(enum mem_tag tag, size_t n_bytes)
{
    assert((unsigned)tag < MEM_TAG_COUNT);
    struct head *h = must_fail() ? NULL : block_new(n_bytes);
    if (!h) {
        err_set(ERR_MEMORY,
                "out of memory: the system refused %zu bytes for %s; free some, or ask for less "
                "(a smaller context)",
                n_bytes, tag_names[tag]);
        return NULL;
    }
    h->n_bytes = n_bytes;
    h->tag = tag;
    h->mark = HEAD_ALIVE;
    atomic_fetch_add_explicit(&used[tag], n_bytes, memory_order_relaxed);
    return (char *)h + MEM_ALIGN;
}

void *mem_realloc(enum mem_tag tag, void *p, size_t n_bytes)
{
    void *q = mem_alloc(tag, n_bytes);
    if (!q || !p) return q;
    const size_t n_old = head_of(p)->n_bytes;
    memcpy(q, p, n_old < n_bytes ? n_old : n_bytes);
    mem_free(p);
    return q;
}

void mem_free(void *p)
{
    if (!p) return;
    struct head *h = head_of(p);
    atomic_fetch_sub_explicit(&used[h->tag], h->n_bytes, memory_order_relaxed);
    h->mark = 0;
    if (h->n_mapped) {
        const int rc = munmap(h, h->n_mapped);
        assert(rc == 0);
        (void)rc;
    } else {
        free(h);
    }
}

char *mem_strdup(enum mem_tag tag, const char *s)
{
    assert(s);
    const size_t n = strlen(s) + 1;
    char *copy = mem_alloc(tag, n);
    if (copy) memcpy(copy, s, n);
    return copy;
}

bool mem_mul(size_t a, size_t b, size_t *out)
{
    assert(out);
    if (a != 0 && b > SIZE_MAX / a) return false;
    *out = a * b;
    return true;
}

bool mem_add(size_t a, size_t b, size_t *out)
{
    assert(out);
    if (b > SIZE_MAX - a) return false;
    *out = a + b;
    return true;
}

void *mem_alloc_array(enum mem_tag tag, size_t n, size_t size_each)
{
    size_t n_bytes;
    if (mem_mul(n, size_each, &n_bytes)) return mem_alloc(tag, n_bytes);
    err_set(ERR_MEMORY,
            "out of memory: %zu times %zu bytes for %s are more than an address can hold", n,
            size_each, tag_names[tag]);
    return NULL;
}

enum err mem_short(const char *what)
{
    return err_set(ERR_MEMORY, "out of memory: there is none left for %s", what);
}

size_t mem_used(enum mem_tag tag)
{
    assert((unsigned)tag < MEM_TAG_COUNT);
    return atomic_load_explicit(&used[tag], memory_order_relaxed);
}

size_t mem_used_total(void)
{
    size_t sum = 0;
    for (unsigned tag = 0; tag < MEM_TAG_COUNT; tag++) sum += mem_used((enum mem_tag)tag);
    return sum;
}

void mem_fail_at(uint64_t n)
{
    atomic_store(&fail_countdown, n);
}
