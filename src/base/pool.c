/*
 * pool.c: workers that take tasks from shares, one share for each thread.
 *
 * A share is a run of consecutive tasks in one atomic word: the number of the loop, the next task,
 * how many are left. A thread takes its own from the front, so that it walks through memory in one
 * direction and touches no cache line of another; when they are done it steals from the back of
 * other shares, so a thread that is slow, or off the CPU, holds nobody up but with the one task
 * that it works on. The loop ends when all tasks are done, not when all workers have looked.
 *
 * Taking is a compare-and-swap on the whole word. A worker that was off the CPU while a loop came
 * and went cannot take from the next one unawares: the word has another loop's number, the swap
 * fails, and the worker reads the word again.
 *
 * Why the job's fields may be read without a lock: only a thread that holds a task reads them. They
 * were written before the shares were, whose word it has swapped, and they change only when every
 * task of the loop has been reported, which this thread does after its last look at them. The
 * caller of pool_run(), who writes them, has seen all reports by then.
 *
 * Waiting, for work or for the end, spins for SPIN_NS and then sleeps on a condition variable. A
 * sleeper counts itself and looks again before it sleeps; the other side stores the news and then
 * reads the count (both sequentially consistent), so one of the two sees the other.
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
#define PASSES_MIN 5 /* of pool_best_ns() */

struct worker { /* one for each thread; the first is the caller's and has no thread */
    alignas(CACHE_LINE) _Atomic uint64_t share; /* loop << 32 | next task << 16 | tasks left */
    struct pool *pool;
    pthread_t thread;
    uint32_t i_thread;
};

struct pool {
    alignas(CACHE_LINE) _Atomic uint32_t loop; /* its number: what waiting workers look at */

    alignas(CACHE_LINE) pool_fn *fn; /* the job: written between loops */
    void *ctx;
    uint32_t task0, n_task; /* task i of the shares is task0 + i of the caller */

    alignas(CACHE_LINE) _Atomic uint32_t n_done; /* tasks of this loop that were reported */

    alignas(CACHE_LINE) _Atomic uint32_t n_asleep; /* workers that wait on has_work */
    atomic_bool caller_asleep;                     /* the caller waits on all_done */
    atomic_bool stop;
    pthread_mutex_t lock; /* guards the sleep of both sides, nothing else */
    pthread_cond_t has_work;
    pthread_cond_t all_done;

    uint32_t n_thread; /* constant from here on */
    uint32_t n_started;
    struct worker workers[]; /* n_thread */
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

enum { SHARE_NEXT_BITS = 16, LOOP_TASKS_MAX = UINT16_MAX };

static uint32_t share_left(uint64_t share)
{
    return share & LOOP_TASKS_MAX;
}

static uint32_t share_next(uint64_t share)
{
    return share >> SHARE_NEXT_BITS & LOOP_TASKS_MAX;
}

static bool take(struct worker *w, bool from_front, uint32_t *task)
{
    const uint64_t next_1 = from_front ? (uint64_t)1 << SHARE_NEXT_BITS : 0;
    uint64_t share = atomic_load(&w->share);
    while (share_left(share) > 0) {
        *task = share_next(share) + (from_front ? 0 : share_left(share) - 1);
        if (atomic_compare_exchange_weak(&w->share, &share, share + next_1 - 1)) return true;
    }
    return false;
}

/* After this the fields of the job may change. */
static void report(struct pool *p, uint32_t n, uint32_t i_thread)
{
    const uint32_t n_task = p->n_task;
    const uint32_t n_done = atomic_fetch_add(&p->n_done, n) + n;
    assert(n_done <= n_task);
    if (n_done < n_task || i_thread == 0 || !atomic_load(&p->caller_asleep)) return;
    pthread_mutex_lock(&p->lock);
    pthread_cond_signal(&p->all_done);
    pthread_mutex_unlock(&p->lock);
}

/* The tasks of the own share, reported at once; then what is left of the others, one by one. */
static void work(struct pool *p, uint32_t i_thread)
{
    uint32_t task, n_mine = 0;
    for (; take(&p->workers[i_thread], true, &task); n_mine++)
        p->fn(p->ctx, p->task0 + task, i_thread);
    if (n_mine) report(p, n_mine, i_thread);
    for (uint32_t i = 1; i < p->n_thread; i++) {
        struct worker *const other = &p->workers[(i_thread + i) % p->n_thread];
        for (; take(other, false, &task); report(p, 1, i_thread))
            p->fn(p->ctx, p->task0 + task, i_thread);
    }
}

/* ---- waiting --------------------------------------------------------------------------------- */

/* A loop that worker w has not looked at, or the end. */
static bool work_waits(const struct pool *p, uint32_t loop_seen)
{
    return atomic_load(&p->loop) != loop_seen || atomic_load(&p->stop);
}

static bool loop_ended(const struct pool *p, uint32_t n_task)
{
    return atomic_load(&p->n_done) == n_task;
}

static bool spin_until(const struct pool *p, bool (*ready)(const struct pool *p, uint32_t arg),
                       uint32_t arg)
{
    const uint64_t start_ns = os_time_ns();
    do {
        for (int i = 0; i < SPIN_STEPS; i++) {
            if (ready(p, arg)) return true;
            cpu_relax();
        }
    } while (os_time_ns() - start_ns < SPIN_NS);
    return false;
}

static void await_work(struct pool *p, uint32_t loop_seen)
{
    if (spin_until(p, work_waits, loop_seen)) return;
    pthread_mutex_lock(&p->lock);
    atomic_fetch_add(&p->n_asleep, 1);
    while (!work_waits(p, loop_seen)) pthread_cond_wait(&p->has_work, &p->lock);
    atomic_fetch_sub(&p->n_asleep, 1);
    pthread_mutex_unlock(&p->lock);
}

static void await_end(struct pool *p)
{
    if (spin_until(p, loop_ended, p->n_task)) return;
    pthread_mutex_lock(&p->lock);
    atomic_store(&p->caller_asleep, true);
    while (!loop_ended(p, p->n_task)) pthread_cond_wait(&p->all_done, &p->lock);
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
    struct pool *p = w->pool;
    uint32_t loop_seen = 0;
    while (!atomic_load(&p->stop)) {
        await_work(p, loop_seen);
        loop_seen =
            atomic_load(&p->loop); /* first: the shares of a later loop are looked at again */
        work(p, w->i_thread);
    }
    return NULL;
}

/* ---- one loop -------------------------------------------------------------------------------- */

/* Tasks before the share of thread i: the first threads get one more where they do not divide. */
static uint32_t tasks_before(const struct pool *p, uint32_t n_task, uint32_t i)
{
    return (n_task * i + p->n_thread - 1) / p->n_thread;
}

static void run_loop(struct pool *p, uint32_t n_task)
{
    const uint32_t loop = atomic_load_explicit(&p->loop, memory_order_relaxed) + 1;
    p->n_task = n_task;
    atomic_store_explicit(&p->n_done, 0, memory_order_relaxed);
    for (uint32_t i = 0; i < p->n_thread; i++) {
        const uint32_t first = tasks_before(p, n_task, i);
        const uint32_t n = tasks_before(p, n_task, i + 1) - first;
        assert(share_left(atomic_load(&p->workers[i].share)) == 0); /* else: run from a task */
        atomic_store_explicit(&p->workers[i].share,
                              (uint64_t)loop << 32 | first << SHARE_NEXT_BITS | n,
                              memory_order_release);
    }
    atomic_store(&p->loop, loop);
    wake_workers(p);
    work(p, 0);
    await_end(p);
}

/* ---- public ---------------------------------------------------------------------------------- */

enum err pool_open(struct pool **out, uint32_t n_thread)
{
    assert(out);
    assert(n_thread >= 1);
    assert(n_thread <= THREADS_MAX);
    *out = NULL;
    struct pool *p = mem_alloc(MEM_MISC, sizeof *p + n_thread * sizeof p->workers[0]);
    if (!p) return ERR_MEMORY;
    p->n_thread = n_thread;
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->has_work, NULL);
    pthread_cond_init(&p->all_done, NULL);
    for (uint32_t i = 1; i < n_thread; i++) {
        struct worker *const w = &p->workers[i];
        w->pool = p;
        w->i_thread = i;
        const int error = os_thread_start(&w->thread, worker_main, w);
        if (error) {
            pool_close(p);
            return err_set(ERR_RUN, "cannot start thread %u of %u: %s; ask for fewer threads (-t)",
                           i + 1, n_thread, strerror(error));
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
    for (uint32_t i = 1; i <= p->n_started; i++) pthread_join(p->workers[i].thread, NULL);
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
    if (n_task <= 1 || p->n_thread == 1) {
        for (uint32_t i = 0; i < n_task; i++) fn(ctx, i, 0);
        return;
    }
    p->fn = fn;
    p->ctx = ctx;
    for (uint32_t at = 0, n; at < n_task; at += n) {
        n = n_task - at < LOOP_TASKS_MAX ? n_task - at : LOOP_TASKS_MAX;
        p->task0 = at;
        run_loop(p, n);
    }
}

uint64_t pool_best_ns(struct pool *p, pool_fn *fn, void *ctx, uint32_t n_task, uint64_t at_least_ns)
{
    uint64_t best = UINT64_MAX;
    const uint64_t start = os_time_ns();
    for (uint32_t i = 0; i < PASSES_MIN || os_time_ns() - start < at_least_ns; i++) {
        const uint64_t t0 = os_time_ns();
        pool_run(p, fn, ctx, n_task);
        const uint64_t t = os_time_ns() - t0;
        if (t < best) best = t;
    }
    return best ? best : 1;
}
