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
#include "tests/unit/pty.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
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
                "prefill [.........]   0 %  1/9223372036854775807 tok  1.00 tok/s  99:59:59 left");
}

static void test_bar_without_total(void **state)
{
    (void)state;
    assert_line(80, 0, 0, 0, "prefill 0 tok  0.00 tok/s");
    assert_line(80, 250, 0, 2 * SECOND, "prefill 250 tok  125 tok/s");
    assert_line(20, 250, 0, 2 * SECOND, "prefill 250 tok  12");
}

/* The figures go before the cells: the last of them is the time left. */
static void test_bar_makes_room(void **state)
{
    (void)state;
    const struct ui_bar bar = {.what = "perplexity", .unit = "tok", .n_columns = 80};
    char line[UI_BAR_BYTES_MAX];
    ui_bar_line(line, &bar, 123456, 200000, 600 * SECOND);
    assert_string_equal(
        line, "perplexity [###########........]  62 %  123456/200000 tok  206 tok/s  6:12 left");
    assert_int_equal(strlen(line), 79);
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

/* What the terminal shows is n bytes and no more; they may come in pieces. */
static void see(int master, char seen[512], size_t n)
{
    size_t n_seen = 0;
    while (n_seen < n) {
        const ssize_t got = read(master, seen + n_seen, 511 - n_seen);
        assert_true(got > 0);
        n_seen += (size_t)got;
    }
    assert_int_equal(n_seen, n);
    seen[n] = '\0';
}

static void test_columns(void **state)
{
    (void)state;
    static const struct {
        unsigned short said;
        uint32_t n;
    } cases[] = {{0, 80}, {1, 20}, {40, 40}, {80, 80}, {200, 200}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int master;
        FILE *const f = pty_open(&master, cases[i].said);
        assert_int_equal(ui_columns(f), cases[i].n);
        fclose(f);
        close(master);
    }
    FILE *const none = tmpfile();
    assert_non_null(none);
    assert_int_equal(ui_columns(none), 80);
    fclose(none);
}

static void test_wait(void **state)
{
    (void)state;
    int master;
    FILE *const f = pty_open(&master, 40);
    struct ui_wait wait;
    ui_wait_start(&wait, f, "loading");
    ui_wait_end(&wait); /* short: nothing is seen */
    ui_wait_end(&wait);
    ui_wait_start(&wait, f, "loading");
    usleep(1100000);
    ui_wait_end(&wait);
    char seen[512] = "";
    see(master, seen, 1 + 39 + 1 + 1 + 39 + 1); /* drawn once, wiped */
    assert_memory_equal(seen, "\rloading  1 s ", 14);
    assert_int_equal(strspn(seen + 42, " "), 39);
    ui_wait_start(&wait, NULL, "loading");
    ui_wait_end(&wait);
    fclose(f);
    close(master);
}

/* Everything that a terminal on a pseudo-terminal pair gets to see. */
static void test_terminal_bar(void **state)
{
    (void)state;
    int master;
    FILE *const f = pty_open(&master, 80);
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
    see(master, seen, 1 + 79 + 1 + 1 + 79 + 1); /* one line, wiped; no escape sequence */
    assert_memory_equal(seen, "\rprefill [##########..........]  50 %  1/2 tok", 46);
    assert_int_equal(seen[80], '\r'); /* "^C" is echoed where it is wiped */
    assert_null(strchr(seen, '\033'));
    assert_int_equal(strspn(seen + 82, " "), 79);

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
        cmocka_unit_test(test_bar_line),     cmocka_unit_test(test_bar_makes_room),
        cmocka_unit_test(test_bar_is_cut),   cmocka_unit_test(test_no_terminal_no_bar),
        cmocka_unit_test(test_columns),      cmocka_unit_test(test_wait),
        cmocka_unit_test(test_terminal_bar), cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_bar_without_total),
        cmocka_unit_test(test_tame),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
