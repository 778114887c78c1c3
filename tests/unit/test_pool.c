/* test_pool.c: every task runs exactly once, whatever the numbers of threads and tasks. */
#include "base/mem.h"
#include "base/os.h"
#include "base/pool.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define N_TASK_MAX 1000

struct tally {
    atomic_uint n_run[N_TASK_MAX];
    atomic_uint n_bad_thread;
    uint32_t n_thread;
    uint32_t sleep_us; /* in task 0 */
};

static void count_task(void *ctx, uint32_t i_task, uint32_t i_thread)
{
    struct tally *t = ctx;
    if (i_thread >= t->n_thread) atomic_fetch_add(&t->n_bad_thread, 1);
    if (i_task == 0 && t->sleep_us) usleep(t->sleep_us);
    atomic_fetch_add(&t->n_run[i_task], 1);
}

static void check_once(struct pool *p, uint32_t n_task, uint32_t sleep_us)
{
    static struct tally t;
    memset(&t, 0, sizeof t);
    t.n_thread = pool_n_thread(p);
    t.sleep_us = sleep_us;
    pool_run(p, count_task, &t, n_task);
    for (uint32_t i = 0; i < N_TASK_MAX; i++) assert_int_equal(t.n_run[i], i < n_task);
    assert_int_equal(t.n_bad_thread, 0);
}

static void test_each_task_once(void **state)
{
    (void)state;
    static const uint32_t n_tasks[] = {0, 1, 2, 3, 7, 64, N_TASK_MAX};
    for (uint32_t n_thread = 1; n_thread <= 9; n_thread += 2) {
        struct pool *p = NULL;
        assert_int_equal(pool_open(&p, n_thread), OK);
        assert_int_equal(pool_n_thread(p), n_thread);
        for (size_t i = 0; i < sizeof n_tasks / sizeof n_tasks[0]; i++)
            check_once(p, n_tasks[i], 0);
        pool_close(p);
    }
    assert_int_equal(mem_used_total(), 0);
}

/* Both ways of waiting: the caller outlasts its spin, and the workers fall asleep between loops. */
static void test_sleepers_wake(void **state)
{
    (void)state;
    struct pool *p = NULL;
    assert_int_equal(pool_open(&p, 4), OK);
    for (int i = 0; i < 20; i++) {
        check_once(p, 3, 1000);
        usleep(i % 2 ? 500 : 0);
    }
    pool_close(p);
}

static void add_up(void *ctx, uint32_t i_task, uint32_t i_thread)
{
    (void)i_thread;
    uint64_t *sums = ctx;
    sums[i_task] += i_task; /* one task, one thread: no atomics needed if the pool orders memory */
}

static void test_many_short_loops(void **state)
{
    (void)state;
    struct pool *p = NULL;
    assert_int_equal(pool_open(&p, 3), OK);
    uint64_t sums[8] = {0};
    const uint32_t n_loop = 20000;
    for (uint32_t i = 0; i < n_loop; i++) pool_run(p, add_up, sums, 2 + i % 7);
    for (uint32_t i = 0; i < 8; i++) {
        const uint32_t n_skipped = i < 2 ? 0 : i - 1; /* of 7 loops, those too short for task i */
        uint64_t n = 0;
        for (uint32_t k = 0; k < n_loop; k++) n += k % 7 >= n_skipped;
        assert_int_equal(sums[i], n * i);
    }
    pool_close(p);
}

struct stuck {
    atomic_uint n_others;
    uint32_t n_task;
    bool gave_up;
};

/* The first task ends after all others have: somebody must do the rest of its share. */
static void wait_for_others(void *ctx, uint32_t i_task, uint32_t i_thread)
{
    (void)i_thread;
    struct stuck *s = ctx;
    if (i_task > 0) {
        atomic_fetch_add(&s->n_others, 1);
        return;
    }
    const uint64_t start_ns = os_time_ns();
    while (s->n_others < s->n_task - 1 && !s->gave_up)
        s->gave_up = os_time_ns() - start_ns > 10000000000u;
}

static void test_a_stuck_thread_is_helped(void **state)
{
    (void)state;
    for (uint32_t n_thread = 2; n_thread <= 5; n_thread++) {
        struct pool *p = NULL;
        assert_int_equal(pool_open(&p, n_thread), OK);
        for (uint32_t n_task = 2; n_task < 40; n_task += 5) {
            struct stuck s = {.n_task = n_task};
            pool_run(p, wait_for_others, &s, n_task);
            assert_false(s.gave_up);
            assert_int_equal(s.n_others, n_task - 1);
        }
        pool_close(p);
    }
}

static void mark(void *ctx, uint32_t i_task, uint32_t i_thread)
{
    (void)i_thread;
    uint8_t *marks = ctx;
    marks[i_task]++;
}

/* More than the numbers in a share can count. */
static void test_very_many_tasks(void **state)
{
    (void)state;
    const uint32_t n_task = 3 * UINT16_MAX + 5;
    uint8_t *marks = mem_alloc(MEM_MISC, n_task + 1);
    assert_non_null(marks);
    struct pool *p = NULL;
    assert_int_equal(pool_open(&p, 3), OK);
    pool_run(p, mark, marks, n_task);
    pool_close(p);
    for (uint32_t i = 0; i <= n_task; i++) assert_int_equal(marks[i], i < n_task);
    mem_free(marks);
}

/* Far more threads than cores: a worker that is off its CPU must not hold up a loop it has no
 * part in. */
static void test_more_threads_than_cores(void **state)
{
    (void)state;
    struct pool *p = NULL;
    assert_int_equal(pool_open(&p, 32), OK);
    const uint64_t start_ns = os_time_ns();
    uint64_t sums[8] = {0};
    for (int i = 0; i < 500; i++) pool_run(p, add_up, sums, 8);
    for (uint32_t i = 0; i < 8; i++) assert_int_equal(sums[i], 500u * i);
    assert_true(os_time_ns() - start_ns < 20000000000u);
    pool_close(p);
}

static void test_failures(void **state)
{
    (void)state;
    struct pool *p = NULL;
    mem_fail_at(1);
    assert_int_equal(pool_open(&p, 2), ERR_MEMORY);
    assert_null(p);
    pool_close(NULL);
    assert_int_equal(mem_used_total(), 0);
}

static void test_open_close_at_once(void **state)
{
    (void)state;
    for (int i = 0; i < 200; i++) {
        struct pool *p = NULL;
        assert_int_equal(pool_open(&p, 4), OK);
        if (i % 2) check_once(p, 2, 0);
        pool_close(p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_task_once),   cmocka_unit_test(test_sleepers_wake),
        cmocka_unit_test(test_many_short_loops), cmocka_unit_test(test_a_stuck_thread_is_helped),
        cmocka_unit_test(test_very_many_tasks),  cmocka_unit_test(test_more_threads_than_cores),
        cmocka_unit_test(test_failures),         cmocka_unit_test(test_open_close_at_once),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
