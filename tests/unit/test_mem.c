/* test_mem.c: blocks are aligned, zeroed and counted; failures are errors and cost nothing. */
#include "base/asan.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/os.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* Around the heap's and the mapping's side of the threshold, and page edges. */
static const size_t sizes[] = {0,      1,      63,     64,     65,      4032,   4096,
                               262079, 262080, 262081, 262144, 1000000, 5 << 20};
#define N_SIZE (sizeof sizes / sizeof sizes[0])

static bool is_zero(const uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (p[i]) return false;
    }
    return true;
}

static void test_aligned_and_zeroed(void **state)
{
    (void)state;
    for (int round = 0; round < 3; round++) { /* again, when the heap hands out used memory */
        for (size_t i = 0; i < N_SIZE; i++) {
            uint8_t *p = mem_alloc(MEM_MISC, sizes[i]);
            assert_non_null(p);
            assert_int_equal((uintptr_t)p % MEM_ALIGN, 0);
            assert_true(is_zero(p, sizes[i]));
            memset(p, 0xa5, sizes[i]);
            mem_free(p);
        }
    }
    assert_int_equal(mem_used_total(), 0);
    mem_free(NULL);
}

static void test_counted_by_tag(void **state)
{
    (void)state;
    void *a = mem_alloc(MEM_KV, 1000);
    void *b = mem_alloc(MEM_KV, 1 << 20);
    void *c = mem_alloc(MEM_TOK, 7);
    assert_int_equal(mem_used(MEM_KV), 1000 + (1 << 20));
    assert_int_equal(mem_used(MEM_TOK), 7);
    assert_int_equal(mem_used(MEM_ARENA), 0);
    assert_int_equal(mem_used_total(), 1007 + (1 << 20));
    mem_free(b);
    assert_int_equal(mem_used(MEM_KV), 1000);
    mem_free(a);
    mem_free(c);
    assert_int_equal(mem_used_total(), 0);
}

static void test_huge(void **state)
{
    (void)state;
    static const size_t near[] = {0,
                                  1,
                                  4096,
                                  MEM_HUGE_BYTES - 1,
                                  MEM_HUGE_BYTES,
                                  MEM_HUGE_BYTES + 1,
                                  3 * MEM_HUGE_BYTES + 4095,
                                  3 * MEM_HUGE_BYTES + 4096,
                                  9 * MEM_HUGE_BYTES};
    for (size_t i = 0; i < sizeof near / sizeof near[0]; i++) {
        uint8_t *p = mem_alloc_huge(MEM_WEIGHTS, near[i]);
        assert_non_null(p);
        const bool is_mapped = near[i] >= MEM_HUGE_BYTES && !BASE_ASAN;
        assert_int_equal((uintptr_t)p % (is_mapped ? MEM_HUGE_BYTES : MEM_ALIGN), 0);
        assert_true(is_zero(p, near[i]));
        memset(p, 0xa5, near[i]);
        assert_int_equal(mem_used(MEM_WEIGHTS), near[i]);
        uint8_t *q = mem_realloc(MEM_WEIGHTS, p, 5000);
        assert_non_null(q);
        for (size_t k = 0; k < near[i] && k < 5000; k += 61) assert_int_equal(q[k], 0xa5);
        mem_free(q);
    }
    mem_fail_at(1);
    assert_null(mem_alloc_huge(MEM_WEIGHTS, 5 * MEM_HUGE_BYTES));
    assert_non_null(strstr(err_msg(), "weights"));
    assert_null(mem_alloc_huge(MEM_WEIGHTS, SIZE_MAX - MEM_HUGE_BYTES));
    assert_null(mem_alloc_huge(MEM_WEIGHTS, SIZE_MAX / 2));
    assert_int_equal(mem_used_total(), 0);
}

/* Both ends of what is given back around a block must be right, wherever mappings come to lie. */
static void test_huge_side_by_side(void **state)
{
    (void)state;
    uint8_t *p[16];
    for (size_t i = 0; i < 16; i++) {
        const size_t n = MEM_HUGE_BYTES + i * 4096;
        p[i] = mem_alloc_huge(MEM_WEIGHTS, n);
        assert_non_null(p[i]);
        memset(p[i], (int)i, n);
    }
    for (size_t i = 0; i < 16; i++) {
        for (size_t k = 0; k < MEM_HUGE_BYTES + i * 4096; k += 4096) assert_int_equal(p[i][k], i);
        mem_free(p[i]);
    }
    assert_int_equal(mem_used_total(), 0);
}

static void test_realloc_keeps_contents(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_SIZE; i++) {
        for (size_t j = 0; j < N_SIZE; j++) {
            const size_t n_kept = sizes[i] < sizes[j] ? sizes[i] : sizes[j];
            uint8_t *p = mem_alloc(MEM_MISC, sizes[i]);
            assert_non_null(p);
            memset(p, 0x5a, sizes[i]);
            uint8_t *q = mem_realloc(MEM_MODEL, p, sizes[j]);
            assert_non_null(q);
            assert_int_equal((uintptr_t)q % MEM_ALIGN, 0);
            for (size_t k = 0; k < n_kept; k += 61) assert_int_equal(q[k], 0x5a);
            assert_true(is_zero(q + n_kept, sizes[j] - n_kept));
            assert_int_equal(mem_used(MEM_MISC), 0);
            assert_int_equal(mem_used(MEM_MODEL), sizes[j]);
            mem_free(q);
        }
    }
    uint8_t *fresh = mem_realloc(MEM_MISC, NULL, 10);
    assert_non_null(fresh);
    assert_true(is_zero(fresh, 10));
    mem_free(fresh);
}

static void test_failed_realloc_keeps_the_block(void **state)
{
    (void)state;
    char *p = mem_strdup(MEM_MISC, "keep me");
    assert_non_null(p);
    mem_fail_at(1);
    assert_null(mem_realloc(MEM_MISC, p, 1 << 20));
    assert_string_equal(p, "keep me");
    assert_int_equal(mem_used(MEM_MISC), 8);
    mem_free(p);
}

static void test_fail_at(void **state)
{
    (void)state;
    mem_fail_at(3);
    void *a = mem_alloc(MEM_MISC, 1);
    void *b = mem_alloc(MEM_MISC, 1);
    err_clear();
    assert_null(mem_alloc(MEM_KV, 12345));
    assert_non_null(strstr(err_msg(), "12345 bytes"));
    assert_non_null(strstr(err_msg(), "key/value cache"));
    void *c = mem_alloc(MEM_MISC, 1); /* once only */
    assert_non_null(a);
    assert_non_null(b);
    assert_non_null(c);
    mem_free(a);
    mem_free(b);
    mem_free(c);
    mem_fail_at(1);
    mem_fail_at(0);
    void *d = mem_alloc(MEM_MISC, 1);
    assert_non_null(d);
    mem_free(d);
}

static void test_impossible_sizes(void **state)
{
    (void)state;
    static const size_t too_large[] = {SIZE_MAX, SIZE_MAX - 1, SIZE_MAX - 63, SIZE_MAX - 64,
                                       SIZE_MAX / 2};
    for (size_t i = 0; i < sizeof too_large / sizeof too_large[0]; i++) {
        err_clear();
        assert_null(mem_alloc(MEM_MISC, too_large[i]));
        assert_non_null(strstr(err_msg(), "out of memory"));
    }
    err_clear();
    assert_null(mem_alloc_array(MEM_MISC, SIZE_MAX / 2, 3));
    assert_non_null(strstr(err_msg(), "out of memory"));
    assert_int_equal(mem_used_total(), 0);
}

static void test_products_and_sums(void **state)
{
    (void)state;
    size_t out = 42;
    assert_false(mem_mul(SIZE_MAX, 2, &out));
    assert_false(mem_mul(SIZE_MAX / 2 + 1, 2, &out));
    assert_false(mem_add(SIZE_MAX, 1, &out));
    assert_int_equal(out, 42);
    assert_true(mem_mul(SIZE_MAX, 1, &out) && out == SIZE_MAX);
    assert_true(mem_mul(SIZE_MAX / 2, 2, &out) && out == SIZE_MAX - 1);
    assert_true(mem_mul(0, SIZE_MAX, &out) && out == 0);
    assert_true(mem_mul(SIZE_MAX, 0, &out) && out == 0);
    assert_true(mem_add(SIZE_MAX - 1, 1, &out) && out == SIZE_MAX);
}

static void test_large_blocks_cost_what_is_touched(void **state)
{
    (void)state;
#if defined(__SANITIZE_ADDRESS__)
    skip(); /* everything is on the sanitizer's heap there, and cleared */
#endif
    const size_t n = (size_t)512 << 20;
    const uint64_t before = os_rss_peak_bytes();
    uint8_t *p = mem_alloc(MEM_KV, n);
    assert_non_null(p);
    p[n / 2] = 1;
    assert_true(os_rss_peak_bytes() - before < (uint64_t)64 << 20);
    mem_free(p);
}

static void *churn(void *arg)
{
    (void)arg;
    for (size_t i = 1; i <= 2000; i++) {
        uint8_t *p = mem_alloc(MEM_SCRATCH, i % 300);
        if (!p) return (void *)1;
        p = mem_realloc(MEM_SCRATCH, p, i % 1000);
        if (!p) return (void *)1;
        mem_free(p);
    }
    return NULL;
}

static void test_threads(void **state)
{
    (void)state;
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) assert_int_equal(pthread_create(&threads[i], NULL, churn, NULL), 0);
    for (int i = 0; i < 4; i++) {
        void *failed = NULL;
        assert_int_equal(pthread_join(threads[i], &failed), 0);
        assert_null(failed);
    }
    assert_int_equal(mem_used_total(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_aligned_and_zeroed),
        cmocka_unit_test(test_counted_by_tag),
        cmocka_unit_test(test_huge),
        cmocka_unit_test(test_huge_side_by_side),
        cmocka_unit_test(test_realloc_keeps_contents),
        cmocka_unit_test(test_failed_realloc_keeps_the_block),
        cmocka_unit_test(test_fail_at),
        cmocka_unit_test(test_impossible_sizes),
        cmocka_unit_test(test_products_and_sums),
        cmocka_unit_test(test_large_blocks_cost_what_is_touched),
        cmocka_unit_test(test_threads),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
