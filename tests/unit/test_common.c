/*
 * test_common.c: what the commands say about a model's weights.
 */
#include "cmd/common.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void assert_weights(struct engine_repack r, const char *text)
{
    char buf[CMD_WEIGHTS_BYTES];
    assert_string_equal(cmd_weights(buf, &r), text);
    assert_true(strlen(buf) < sizeof buf - 1); /* it was not cut */
}

static void test_weights(void **state)
{
    (void)state;
    struct engine_repack r = {.n_bytes = (uint64_t)3 << 30, .ns = 1500000000};
    assert_weights((struct engine_repack){0}, "mapped: none are of a type that is repacked");
    r.state = REPACK_DONE;
    assert_weights(r, "3.0 GiB repacked in 1.50 s");
    r.state = REPACK_LATE;
    assert_weights(r, "3.0 GiB mapped, to be repacked");
    r.n_done = (uint64_t)1 << 29;
    assert_weights(r, "512 MiB of 3.0 GiB repacked in 1.50 s");
    r.state = REPACK_PLANNED;
    assert_weights(r, "3.0 GiB will be repacked");
    r.state = REPACK_OFF;
    assert_weights(r, "mapped, not repacked, as --no-repack says");
    r.state = REPACK_REFUSED;
    assert_weights(r, "mapped, not repacked: the system refused 3.0 GiB of memory");
}

static void test_no_room(void **state)
{
    (void)state;
    struct engine_repack r = {
        .state = REPACK_ROOM, .need_bytes = (uint64_t)4 << 30, .free_bytes = (uint64_t)2 << 30};
    assert_weights(r, "mapped, not repacked: needs 4.0 GiB of memory, 2.0 GiB are free");
    r.free_bytes = 0;
    assert_weights(r, "mapped, not repacked: needs 4.0 GiB of memory, how much is free is unknown");
}

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_weights),
        cmocka_unit_test(test_no_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
