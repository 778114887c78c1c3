/*
 * mem.c: heap blocks with a header that remembers what they are for.
 *
 * A block is a header of MEM_ALIGN bytes followed by the caller's bytes. Small blocks come from the
 * C heap and are cleared; from MAP_BYTES_MIN on they are anonymous mappings, which the kernel
 * clears page by page when they are touched, so a KV cache for 100,000 positions costs what is used
 * of it. In front of a block of huge pages one small page is mapped, for the header alone.
 * Counters are atomics per tag and count the bytes asked for, not headers or rounding.
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
#include <unistd.h>

/* glibc's own threshold for mmap starts at 128 KiB; twice that keeps short-lived buffers on the
 * heap. Under ASan only blocks that its heap could refuse by aborting are mapped: on the heap it
 * sees an overrun. */
#define MAP_BYTES_MIN (BASE_ASAN ? (size_t)1 << 30 : (size_t)256 << 10)

#define HEAD_ALIVE 0x6d6f7869u /* "moxi": a block in use */

struct head {
    size_t n_bytes;  /* that the caller asked for */
    size_t n_mapped; /* length of the mapping, from the header's page on; 0: from the heap */
    uint32_t tag;
    uint32_t mark;
};

static_assert(sizeof(struct head) <= MEM_ALIGN, "the header fits before the block");

static const char *const tag_names[MEM_TAG_COUNT] = {
    [MEM_MISC] = "small tables",
    [MEM_MODEL] = "the model's directory",
    [MEM_TOK] = "the tokenizer",
    [MEM_KV] = "the key/value cache",
    [MEM_ARENA] = "activations",
    [MEM_SCRATCH] = "working space",
    [MEM_WEIGHTS] = "weights in the kernels' order",
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

/* What lies around the aligned part of a larger mapping is given back at once. */
static struct head *block_new_huge(size_t n_bytes)
{
    if (n_bytes < MEM_HUGE_BYTES || n_bytes < MAP_BYTES_MIN) return block_new(n_bytes);
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t n_total;
    if (!mem_add(n_bytes, MEM_HUGE_BYTES + 2 * page, &n_total)) return NULL;
    n_total = n_total / page * page; /* a page for the header, and one for a part of a page */
    uint8_t *const from =
        mmap(NULL, n_total, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (from == MAP_FAILED) return NULL;
    const size_t n_before = MEM_HUGE_BYTES - ((uintptr_t)from + page - 1) % MEM_HUGE_BYTES - 1;
    uint8_t *const data = from + page + n_before;
    const size_t n_data = (n_bytes + page - 1) / page * page;
    const size_t n_after = n_total - page - n_before - n_data;
    assert((uintptr_t)data % MEM_HUGE_BYTES == 0);
    assert(n_total >= page + n_before + n_data);
    if (n_before) munmap(from, n_before);
    if (n_after) munmap(data + n_data, n_after);
#ifdef MADV_HUGEPAGE
    madvise(data, n_data, MADV_HUGEPAGE); /* a wish */
#endif
    struct head *const h = (struct head *)(data - MEM_ALIGN);
    h->n_mapped = page + n_data;
    return h;
}

static void *alloc(enum mem_tag tag, size_t n_bytes, struct head *(*new_block)(size_t n_bytes))
{
    assert((unsigned)tag < MEM_TAG_COUNT);
    struct head *h = must_fail() ? NULL : new_block(n_bytes);
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

void *mem_alloc(enum mem_tag tag, size_t n_bytes)
{
    return alloc(tag, n_bytes, block_new);
}

void *mem_alloc_huge(enum mem_tag tag, size_t n_bytes)
{
    return alloc(tag, n_bytes, block_new_huge);
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
        const size_t n_before = (uintptr_t)h % (size_t)sysconf(_SC_PAGESIZE);
        const int rc = munmap((char *)h - n_before, h->n_mapped);
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
