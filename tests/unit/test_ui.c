/*
 * test_ui.c: what a terminal shows: the bar's line at chosen times and widths, sizes in words,
 * tamed text, and that nothing at all is written where there is no terminal.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/ui.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SECOND UINT64_C(1000000000)

static void assert_line(uint32_t n_columns, uint64_t n_done, uint64_t n_total, uint64_t ns,
                        const char *expected)
{
    const struct ui_bar bar = {.what = "prefill", .unit = "tok", .n_columns = n_columns};
    char line[UI_BAR_BYTES_MAX];
    ui_bar_line(line, &bar, n_done, n_total, ns);
    assert_string_equal(line, expected);
}

static void test_bar_line(void **state)
{
    (void)state;
    assert_line(80, 0, 1000, 0,
                "prefill [....................]   0 %  0/1000 tok  0.00 tok/s  -:-- left");
    assert_line(80, 250, 1000, 2 * SECOND,
                "prefill [#####...............]  25 %  250/1000 tok  125 tok/s  0:06 left");
    assert_line(80, 999, 1000, 999 * SECOND,
                "prefill [###################.] 100 %  999/1000 tok  1.00 tok/s  0:01 left");
    assert_line(80, 1000, 1000, 9 * SECOND,
                "prefill [####################] 100 %  1000/1000 tok  111 tok/s  0:00 left");
    assert_line(90, 1, 2000, SECOND,
                "prefill [....................]   0 %  1/2000 tok  1.00 tok/s  33:19 left");
    assert_line(90, 1, 20000, SECOND,
                "prefill [....................]   0 %  1/20000 tok  1.00 tok/s  5:33:19 left");
    assert_line(80, 1, UINT64_MAX / 2, SECOND,
                "prefill [....................]   0 %  1/9223372036854775807 tok  1.00 tok/s  99");
}

static void test_bar_is_cut(void **state)
{
    (void)state;
    const struct ui_bar bar = {.what = "prefill", .unit = "tok", .n_columns = 20};
    char line[UI_BAR_BYTES_MAX];
    ui_bar_line(line, &bar, 5, 10, SECOND);
    assert_int_equal(strlen(line), 19); /* the last column stays free */
}

static void test_no_terminal_no_bar(void **state)
{
    (void)state;
    FILE *const f = tmpfile();
    assert_non_null(f);
    struct ui_bar bar;
    ui_bar_start(&bar, f, "prefill", "tok");
    bar.start_ns = 1; /* long ago */
    ui_bar_set(&bar, 1, 2);
    ui_bar_end(&bar);
    assert_int_equal(ftell(f), 0);
    assert_false(ui_color(f));
    fclose(f);
}

/* Everything that a terminal on a pseudo-terminal pair gets to see. */
static void test_terminal_bar(void **state)
{
    (void)state;
    const int master = posix_openpt(O_RDWR | O_NOCTTY);
    if (master < 0 || grantpt(master) != 0 || unlockpt(master) != 0) {
        print_message("# no pseudo-terminals here\n");
        skip();
    }
    FILE *const f = fopen(ptsname(master), "w");
    assert_non_null(f);
    struct ui_bar bar;
    ui_bar_start(&bar, f, "prefill", "tok");
    ui_bar_set(&bar, 1, 2); /* too early */
    assert_int_equal(bar.drawn_ns, 0);
    bar.start_ns = 1;
    ui_bar_set(&bar, 1, 2);
    assert_int_not_equal(bar.drawn_ns, 0);
    ui_bar_set(&bar, 2, 2); /* too soon after the last */
    ui_bar_end(&bar);
    char seen[512] = "";
    const ssize_t n = read(master, seen, sizeof seen - 1);
    assert_int_equal(n, 1 + 79 + 1 + 79 + 1); /* one line, wiped; no escape sequence */
    assert_memory_equal(seen, "\rprefill [##########..........]  50 %  1/2 tok", 46);
    assert_null(strchr(seen, '\033'));
    assert_int_equal(strspn(seen + 81, " "), 79);

    setenv("TERM", "xterm", 1);
    unsetenv("NO_COLOR");
    unsetenv("CLICOLOR");
    assert_true(ui_color(f));
    setenv("NO_COLOR", "1", 1);
    assert_false(ui_color(f));
    unsetenv("NO_COLOR");
    setenv("CLICOLOR", "0", 1);
    assert_false(ui_color(f));
    unsetenv("CLICOLOR");
    setenv("TERM", "dumb", 1);
    assert_false(ui_color(f));
    fclose(f);
    close(master);
}

static void test_sizes(void **state)
{
    (void)state;
    static const struct {
        uint64_t n_bytes;
        const char *text;
    } cases[] = {{0, "0 B"},
                 {1023, "1023 B"},
                 {1024, "1.0 KiB"},
                 {10188, "9.9 KiB"},
                 {10240, "10 KiB"},
                 {UINT64_C(312) << 20, "312 MiB"},
                 {(UINT64_C(1) << 20) - 1, "1.0 MiB"},
                 {UINT64_C(1536) << 20, "1.5 GiB"},
                 {UINT64_MAX, "16 EiB"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char buf[UI_SIZE_BYTES_MAX];
        assert_string_equal(ui_size(buf, cases[i].n_bytes), cases[i].text);
    }
}

static void test_tame(void **state)
{
    (void)state;
    char s[] = "a\033]52;c\007b\r\n\tc\x7f\xc2\x9b\xc2\xa9\xe2\x96\x81";
    ui_tame(s, sizeof s - 1);
    assert_string_equal(s, "a?]52;c?b?\n\tc???\xc2\xa9\xe2\x96\x81");
    char half[] = "x\xc2"; /* the second byte is not ours to look at */
    ui_tame(half, 2);
    assert_string_equal(half, "x\xc2");
    ui_tame(NULL, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bar_line),
        cmocka_unit_test(test_bar_is_cut),
        cmocka_unit_test(test_no_terminal_no_bar),
        cmocka_unit_test(test_terminal_bar),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_tame),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
