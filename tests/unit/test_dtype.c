/* test_dtype.c: the table agrees with the layouts the kernels use and with its own list of
 * names. */
#include "quant/block.h"
#include "tensor/dtype.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void test_layouts_of_the_kernels(void **state)
{
    (void)state;
    static const struct {
        enum dtype type;
        uint32_t items, bytes;
    } rows[] = {
        {DT_F32, 1, sizeof(float)},
        {DT_F16, 1, 2},
        {DT_BF16, 1, 2},
        {DT_Q4_0, QK_SMALL, Q4_0_BYTES},
        {DT_Q4_1, QK_SMALL, Q4_1_BYTES},
        {DT_Q5_0, QK_SMALL, Q5_0_BYTES},
        {DT_Q5_1, QK_SMALL, Q5_1_BYTES},
        {DT_Q8_0, QK_SMALL, Q8_0_BYTES},
        {DT_IQ4_NL, QK_SMALL, IQ4_NL_BYTES},
        {DT_MXFP4, QK_SMALL, MXFP4_BYTES},
        {DT_Q2_K, QK_SUPER, Q2_K_BYTES},
        {DT_Q3_K, QK_SUPER, Q3_K_BYTES},
        {DT_Q4_K, QK_SUPER, Q4_K_BYTES},
        {DT_Q5_K, QK_SUPER, Q5_K_BYTES},
        {DT_Q6_K, QK_SUPER, Q6_K_BYTES},
        {DT_IQ4_XS, QK_SUPER, IQ4_XS_BYTES},
    };
    uint32_t n_computable = 0;
    for (uint32_t type = 0; type < DT_COUNT; type++) {
        const struct dtype_info *info = dtype_info(type);
        if (info && info->computable) n_computable++;
    }
    assert_int_equal(n_computable, sizeof rows / sizeof rows[0]);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct dtype_info *info = dtype_info(rows[i].type);
        assert_non_null(info);
        assert_true(info->computable);
        assert_int_equal(info->block_items, rows[i].items);
        assert_int_equal(info->block_bytes, rows[i].bytes);
        assert_int_equal(dtype_row_bytes(rows[i].type, 0), 0);
        assert_int_equal(dtype_row_bytes(rows[i].type, 7 * rows[i].items), 7 * rows[i].bytes);
    }
}

static void test_unused_numbers(void **state)
{
    (void)state;
    static const uint32_t unused[] = {4,  5,  31,       32,   33,         36,
                                      37, 38, DT_COUNT, 1000, 0x7fffffff, UINT32_MAX};
    for (size_t i = 0; i < sizeof unused / sizeof unused[0]; i++)
        assert_null(dtype_info(unused[i]));
    uint32_t n_known = 0;
    for (uint32_t type = 0; type < DT_COUNT; type++) n_known += dtype_info(type) != NULL;
    assert_int_equal(n_known, DT_COUNT - 8);
}

static void test_names(void **state)
{
    (void)state;
    char list[512] = "";
    for (uint32_t type = 0; type < DT_COUNT; type++) {
        const struct dtype_info *info = dtype_info(type);
        if (!info) continue;
        for (uint32_t other = 0; other < type; other++) {
            if (dtype_info(other)) assert_string_not_equal(dtype_info(other)->name, info->name);
        }
        if (!info->computable) continue;
        const size_t used = strlen(list);
        snprintf(list + used, sizeof list - used, "%s%s", used ? ", " : "", info->name);
    }
    assert_string_equal(dtype_computable_names(), list);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_layouts_of_the_kernels),
        cmocka_unit_test(test_unused_numbers),
        cmocka_unit_test(test_names),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
