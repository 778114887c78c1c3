/*
 * engine_peak.c: how many int8 products per second this machine can make, the ceiling of quantised
 * products: kern.int8_peak on every thread at a time, the best of some passes.
 *
 * A pass is shared out in many small tasks, as rows of a product are, so that a core which is taken
 * away for a moment delays a task and not the pass.
 */
#include "engine.h"

#include "base/pool.h"
#include "engine_impl.h"
#include "kern/cpu.h"

#include <assert.h>

#define TASK_ROUNDS 4096   /* some 0.1 to 1 ms */
#define TASKS_OF_THREAD 32 /* a pass may fit between two time slices of a neighbour */
#define PASSES_NS 300000000u

static void peak_task(void *ctx, uint32_t i_task, uint32_t i_thread)
{
    (void)i_task;
    (void)i_thread;
    const struct kern *const k = ctx;
    const uint64_t n = k->int8_peak(TASK_ROUNDS);
    assert(n > 0);
    (void)n;
}

enum err engine_int8_peak(const char *cpu_mask, uint32_t n_thread, double *macs_per_s)
{
    assert(n_thread > 0);
    assert(macs_per_s);
    unsigned mask = ~0u;
    struct kern k;
    struct pool *pool = NULL;
    *macs_per_s = 0;
    enum err err = cpu_mask ? cpu_mask_parse(cpu_mask, &mask) : OK;
    if (err) return err;
    kern_init(&k, cpu_detect() & mask);
    if (!k.int8_peak) return OK;
    err = pool_open(&pool, n_thread);
    if (err) return err;
    const uint32_t n_task = n_thread * TASKS_OF_THREAD;
    const double n_macs = (double)k.int8_peak(TASK_ROUNDS) * n_task;
    *macs_per_s = n_macs * 1e9 / (double)pool_best_ns(pool, peak_task, &k, n_task, PASSES_NS);
    pool_close(pool);
    return OK;
}
