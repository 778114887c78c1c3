/*
 * membw.c: a read-bandwidth probe in portable C.
 *
 * The buffer is cut into chunks that the thread pool hands out, as the rows of a weight matrix are.
 * Each chunk is summed into sixteen independent accumulators, which a compiler that vectorises
 * (this file is built with -O3) turns into its widest baseline vectors; then the loop waits for
 * memory, not for the adder, and is as fast as one written for AVX-512. The pages are large ones
 * where the system has them, as those of packed weights are: a prefetcher stops at the end of a
 * page, which costs up to a quarter with pages of 4 KiB. They are written once before the first
 * pass: untouched ones all map to one page of zeros, which sits in the cache. Where memory is short
 * the buffer takes a quarter of what is left, and no more.
 */
#include "base/membw.h"

#include "base/mem.h"
#include "base/os.h"
#include "base/pool.h"

#include <assert.h>
#include <string.h>
#include <unistd.h>

#define BUFFER_BYTES_MIN ((size_t)256 << 20)
#define BUFFER_BYTES_MAX ((size_t)2 << 30)
#define CACHES 8 /* the buffer is at least this many last-level caches */
#define CHUNK_BYTES                                                                                \
    ((size_t)4 << 20) /* long enough for the prefetchers, short enough to share out */
#define PASSES_NS 1000000000u
#define LANES 16

static size_t buffer_bytes(void)
{
    long cache = 0;
#ifdef _SC_LEVEL3_CACHE_SIZE
    cache = sysconf(_SC_LEVEL3_CACHE_SIZE);
#endif
    const uint64_t n_free = os_memory().free_bytes;
    size_t n = cache > 0 ? (size_t)cache * CACHES : 0;
    if (n < BUFFER_BYTES_MIN) n = BUFFER_BYTES_MIN;
    if (n > BUFFER_BYTES_MAX) n = BUFFER_BYTES_MAX;
    if (n_free > 0 && n > n_free / 4) n = (size_t)(n_free / 4);
    if (n < CHUNK_BYTES * 4) n = CHUNK_BYTES * 4;
    return n / CHUNK_BYTES * CHUNK_BYTES;
}

struct probe {
    uint64_t *data; /* (n_chunk, CHUNK_BYTES) */
    uint64_t *sum;  /* (n_chunk) keeps the compiler from dropping the reads */
};

static void fill_chunk(void *ctx, uint32_t i_task, uint32_t i_thread)
{
    (void)i_thread;
    const struct probe *const p = ctx;
    memset((char *)p->data + i_task * CHUNK_BYTES, 1, CHUNK_BYTES);
}

static void sum_chunk(void *ctx, uint32_t i_task, uint32_t i_thread)
{
    (void)i_thread;
    const struct probe *const p = ctx;
    const uint64_t *x = p->data + i_task * (CHUNK_BYTES / sizeof *x);
    uint64_t lane[LANES] = {0};
    for (size_t i = 0; i < CHUNK_BYTES / sizeof *x; i += LANES)
        for (size_t j = 0; j < LANES; j++) lane[j] += x[i + j];
    uint64_t sum = 0;
    for (size_t j = 0; j < LANES; j++) sum += lane[j];
    p->sum[i_task] = sum;
}

static void check_sums(const struct probe *p, uint32_t n_chunk)
{
    for (uint32_t i = 0; i < n_chunk; i++)
        assert(p->sum[i] == UINT64_C(0x0101010101010101) * (CHUNK_BYTES / sizeof *p->data));
}

enum err membw_read(const uint32_t *n_thread, size_t n, double *bytes_per_s)
{
    assert(n_thread);
    assert(bytes_per_s);
    const size_t n_bytes = buffer_bytes();
    const uint32_t n_chunk = (uint32_t)(n_bytes / CHUNK_BYTES);
    struct probe p = {.data = mem_alloc_huge(MEM_SCRATCH, n_bytes),
                      .sum = mem_alloc_array(MEM_SCRATCH, n_chunk, sizeof *p.sum)};
    enum err err = p.data && p.sum ? OK : ERR_MEMORY;
    for (size_t i = 0; i < n && err == OK; i++) {
        struct pool *pool = NULL;
        err = pool_open(&pool, n_thread[i]);
        if (err) break;
        if (i == 0) pool_run(pool, fill_chunk, &p, n_chunk);
        const uint64_t ns = pool_best_ns(pool, sum_chunk, &p, n_chunk, PASSES_NS);
        check_sums(&p, n_chunk);
        bytes_per_s[i] = (double)n_bytes / ((double)ns / 1e9);
        pool_close(pool);
    }
    mem_free(p.data);
    mem_free(p.sum);
    return err;
}
