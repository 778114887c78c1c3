/*
 * pool.c: workers that take tasks from one atomic word.
 *
 * The word holds the number of the current loop (upper half) and how many of its tasks have not
 * been taken (lower half). A thread takes a task by compare-and-swap on the whole word, so a worker
 * that was off the CPU while a loop came and went cannot take from the next one with the old
 * function: the swap fails. The loop ends when all tasks are done, not when all workers have
 * looked, so a worker whose core is busy with another process delays nobody unless it holds a task.
 *
 * Why the job's fields may be read without a lock: they change only after every task of the
 * previous loop was taken and done. A thread whose swap succeeds has therefore read the fields of
 * that same loop; one that read newer fields fails the swap and starts over. They are atomics so
 * that the race is defined.
 *
 * Waiting, for work or for the end, spins for SPIN_NS and then sleeps on a condition variable. A
 * sleeper counts itself and looks at the word again before it sleeps; the other side stores the
 * word and then reads the count (both sequentially consistent), so one of the two sees the other.
 */
#include "base/pool.h"

#include "base/limits.h"
#include "base/mem.h"
#include "base/os.h"

#include <assert.h>
#include <pthread.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <string.h>

/* Putting a thread to sleep and waking it costs about 50 us on a virtual machine; spinning as
 * long as that before sleeping costs at most twice the best choice (the ski-rental argument),
 * and the gaps between the loops of a decode step, a few microseconds, stay below it. */
#define SPIN_NS 50000
#define SPIN_STEPS 64 /* pauses between two looks at the clock: 0.3 to 3 us */

#define CACHE_LINE 64

struct worker {
    struct pool *pool;
    pthread_t thread;
    uint32_t i_thread;
};

struct pool {
    alignas(CACHE_LINE) _Atomic uint64_t word; /* loop << 32 | tasks not yet taken */

    alignas(CACHE_LINE) _Atomic(pool_fn *) fn; /* the job: written between loops */
    _Atomic(void *) ctx;
    _Atomic uint32_t n_task;

    alignas(CACHE_LINE) _Atomic uint32_t n_done; /* tasks of this loop that have returned */

    alignas(CACHE_LINE) _Atomic uint32_t n_asleep; /* workers that wait on has_work */
    atomic_bool caller_asleep;                     /* the caller waits on all_done */
    atomic_bool stop;
    pthread_mutex_t lock; /* guards the sleep of both sides, nothing else */
    pthread_cond_t has_work;
    pthread_cond_t all_done;

    uint32_t n_thread; /* constant from here on */
    uint32_t n_started;
    struct worker workers[]; /* n_thread - 1 */
};

static inline void cpu_relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__) || defined(__arm__)
    __asm__ volatile("yield");
#endif
}

/* ---- taking tasks ---------------------------------------------------------------------------- */

static uint32_t tasks_left(uint64_t word)
{
    return (uint32_t)word;
}

/* Takes tasks until none is left, and reports those it has done in one addition. */
static void work(struct pool *p, uint32_t i_thread)
{
    uint32_t n_mine = 0;
    uint32_t n_task = 0;
    uint64_t word = atomic_load(&p->word);
    while (tasks_left(word) > 0) {
        pool_fn *fn = atomic_load_explicit(&p->fn, memory_order_relaxed);
        void *ctx = atomic_load_explicit(&p->ctx, memory_order_relaxed);
        const uint32_t n = atomic_load_explicit(&p->n_task, memory_order_relaxed);
        if (!atomic_compare_exchange_weak(&p->word, &word, word - 1)) continue;
        assert(n >= tasks_left(word));
        n_task = n;
        fn(ctx, n - tasks_left(word), i_thread);
        n_mine++;
        word = atomic_load(&p->word);
    }
    if (n_mine == 0) return;
    const uint32_t n_done = atomic_fetch_add(&p->n_done, n_mine) + n_mine;
    if (n_done < n_task || i_thread == 0 || !atomic_load(&p->caller_asleep)) return;
    pthread_mutex_lock(&p->lock);
    pthread_cond_signal(&p->all_done);
    pthread_mutex_unlock(&p->lock);
}

/* ---- waiting --------------------------------------------------------------------------------- */

static bool work_waits(struct pool *p)
{
    return tasks_left(atomic_load(&p->word)) > 0 || atomic_load(&p->stop);
}

static bool loop_ended(struct pool *p)
{
    return atomic_load(&p->n_done) == atomic_load_explicit(&p->n_task, memory_order_relaxed);
}

static bool spin_until(struct pool *p, bool (*ready)(struct pool *))
{
    const uint64_t start_ns = os_time_ns();
    do {
        for (int i = 0; i < SPIN_STEPS; i++) {
            if (ready(p)) return true;
            cpu_relax();
        }
    } while (os_time_ns() - start_ns < SPIN_NS);
    return false;
}

static void await_work(struct pool *p)
{
    if (spin_until(p, work_waits)) return;
    pthread_mutex_lock(&p->lock);
    atomic_fetch_add(&p->n_asleep, 1);
    while (!work_waits(p)) pthread_cond_wait(&p->has_work, &p->lock);
    atomic_fetch_sub(&p->n_asleep, 1);
    pthread_mutex_unlock(&p->lock);
}

static void await_end(struct pool *p)
{
    if (spin_until(p, loop_ended)) return;
    pthread_mutex_lock(&p->lock);
    atomic_store(&p->caller_asleep, true);
    while (!loop_ended(p)) pthread_cond_wait(&p->all_done, &p->lock);
    atomic_store(&p->caller_asleep, false);
    pthread_mutex_unlock(&p->lock);
}

static void wake_workers(struct pool *p)
{
    if (atomic_load(&p->n_asleep) == 0) return;
    pthread_mutex_lock(&p->lock);
    pthread_cond_broadcast(&p->has_work);
    pthread_mutex_unlock(&p->lock);
}

static void *worker_main(void *arg)
{
    const struct worker *w = arg;
    while (!atomic_load(&w->pool->stop)) {
        await_work(w->pool);
        work(w->pool, w->i_thread);
    }
    return NULL;
}

/* ---- public ---------------------------------------------------------------------------------- */

enum err pool_open(struct pool **out, uint32_t n_thread)
{
    assert(out);
    assert(n_thread >= 1);
    assert(n_thread <= THREADS_MAX);
    *out = NULL;
    struct pool *p = mem_alloc(MEM_MISC, sizeof *p + (n_thread - 1) * sizeof p->workers[0]);
    if (!p) return ERR_MEMORY;
    p->n_thread = n_thread;
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->has_work, NULL);
    pthread_cond_init(&p->all_done, NULL);
    for (uint32_t i = 0; i < n_thread - 1; i++) {
        struct worker *const w = &p->workers[i];
        *w = (struct worker){.pool = p, .i_thread = i + 1};
        const int error = os_thread_start(&w->thread, worker_main, w);
        if (error) {
            pool_close(p);
            return err_set(ERR_RUN, "cannot start thread %u of %u: %s; ask for fewer threads (-t)",
                           i + 2, n_thread, strerror(error));
        }
        p->n_started++;
    }
    *out = p;
    return OK;
}

void pool_close(struct pool *p)
{
    if (!p) return;
    atomic_store(&p->stop, true);
    wake_workers(p);
    for (uint32_t i = 0; i < p->n_started; i++) pthread_join(p->workers[i].thread, NULL);
    pthread_cond_destroy(&p->all_done);
    pthread_cond_destroy(&p->has_work);
    pthread_mutex_destroy(&p->lock);
    mem_free(p);
}

uint32_t pool_n_thread(const struct pool *p)
{
    assert(p);
    return p->n_thread;
}

void pool_run(struct pool *p, pool_fn *fn, void *ctx, uint32_t n_task)
{
    assert(p);
    assert(fn);
    assert(tasks_left(atomic_load(&p->word)) == 0); /* else: from a task, or by two threads */
    if (n_task <= 1 || p->n_thread == 1) {
        for (uint32_t i = 0; i < n_task; i++) fn(ctx, i, 0);
        return;
    }
    atomic_store_explicit(&p->fn, fn, memory_order_relaxed);
    atomic_store_explicit(&p->ctx, ctx, memory_order_relaxed);
    atomic_store_explicit(&p->n_task, n_task, memory_order_relaxed);
    atomic_store(&p->n_done, 0);
    const uint64_t loop = (atomic_load(&p->word) >> 32) + 1;
    atomic_store(&p->word, loop << 32 | n_task);
    wake_workers(p);
    work(p, 0);
    await_end(p);
}
