/*
 * test_show.c: an answer on its way out, in pieces cut at every place: marks of reasoning,
 * colours, control characters, broken UTF-8.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cmd/show.h"

#include <stdio.h>
#include <string.h>

#define DIM "\033[2m"
#define BRIGHT "\033[22m"

enum kind { FILE_, TERMINAL, COLOUR };

/* What comes out of text, handed over in pieces of n_piece bytes (whole characters only for
 * ASCII). */
static void assert_shown(enum kind kind, bool reasoning, const char *text, size_t n_piece,
                         const char *expected)
{
    char out[512] = "";
    FILE *const f = tmpfile();
    assert_non_null(f);
    struct show s;
    show_open(&s, f, true);
    assert_false(s.tame || s.dim); /* a file is no terminal */
    s.tame = kind != FILE_;
    s.dim = kind == COLOUR;
    show_begin(&s, reasoning);
    const size_t n = strlen(text);
    for (size_t i = 0; i < n; i += n_piece)
        assert_int_equal(show_put(&s, text + i, n - i < n_piece ? n - i : n_piece), 0);
    assert_int_equal(show_end(&s), 0);
    rewind(f);
    out[fread(out, 1, sizeof out - 1, f)] = '\0';
    fclose(f);
    assert_string_equal(out, expected);
}

static void assert_colour(bool reasoning, const char *text, const char *expected)
{
    for (size_t n_piece = 1; n_piece <= strlen(text); n_piece++)
        assert_shown(COLOUR, reasoning, text, n_piece, expected);
}

static void test_reasoning_is_dimmed(void **state)
{
    (void)state;
    assert_colour(false, "<think>a</think>b", DIM "<think>a</think>" BRIGHT "b\n");
    assert_colour(false, "\n <think>\na < b\n</think>\n\nb\n",
                  "\n " DIM "<think>\na < b\n</think>" BRIGHT "\n\nb\n");
    assert_colour(false, "[THINK]a[/THINK]b", DIM "[THINK]a[/THINK]" BRIGHT "b\n");
    assert_colour(false, "<seed:think>a</seed:think>b",
                  DIM "<seed:think>a</seed:think>" BRIGHT "b\n");
    assert_colour(false, "<think></think>", DIM "<think></think>" BRIGHT "\n");
}

static void test_marks_only_where_they_belong(void **state)
{
    (void)state;
    assert_colour(false, "The tag <think> opens.", "The tag <think> opens.\n");
    assert_colour(false, "a</think>b", "a</think>b\n");
    assert_colour(false, "</think>b", "</think>b\n");
    assert_colour(false, "<thin", "<thin\n");
    assert_colour(false, "<thin>x", "<thin>x\n");
    assert_colour(false, "<<think>x", "<<think>x\n");
    assert_colour(false, "<think>a</think>b<think>c", DIM "<think>a</think>" BRIGHT "b<think>c\n");
    assert_colour(false, "<think>a</th</think>b", DIM "<think>a</th</think>" BRIGHT "b\n");
    assert_colour(false, "<think>a<</think>b", DIM "<think>a<</think>" BRIGHT "b\n");
}

static void test_unfinished_reasoning(void **state)
{
    (void)state;
    assert_colour(false, "<think>a", DIM "<think>a" BRIGHT "\n");
    assert_colour(false, "<think>a</thi", DIM "<think>a</thi" BRIGHT "\n");
    assert_colour(false, "", "");
}

static void test_mark_in_the_prompt(void **state)
{
    (void)state;
    assert_colour(true, "a</think>b", DIM "a</think>" BRIGHT "b\n");
    assert_colour(true, "a", DIM "a" BRIGHT "\n");
    assert_true(show_opens("<|im_start|>assistant\n<think>\n", 30));
    assert_true(show_opens("[THINK]", 7));
    assert_false(show_opens("<think>\n\n</think>\n\n", 19));
    assert_false(show_opens("<think>x", 8));
    assert_false(show_opens("think>", 6));
    assert_false(show_opens("", 0));
}

static void test_control_characters(void **state)
{
    (void)state;
    const char *const text = "a\033[31mb\tc\r\x07\xc2\x9b\x31m\xf0\x9f\xa6\x99 \x7f\n";
    assert_shown(TERMINAL, false, text, 99, "a?[31mb\tc????1m\xf0\x9f\xa6\x99 ?\n");
    assert_shown(COLOUR, false, text, 99, "a?[31mb\tc????1m\xf0\x9f\xa6\x99 ?\n");
    assert_shown(COLOUR, true, text, 99, DIM "a?[31mb\tc????1m\xf0\x9f\xa6\x99 ?\n" BRIGHT);
    assert_shown(FILE_, false, text, 3, text);
}

static void test_broken_utf8(void **state)
{
    (void)state;
    const char *const text = "a\xffz\xc3(\xe2\x82";
    const char *const shown = "a\xef\xbf\xbdz\xef\xbf\xbd(\xef\xbf\xbd\xef\xbf\xbd\n";
    assert_shown(TERMINAL, false, text, 99, shown);
    assert_shown(COLOUR, false, text, 99, shown);
    assert_shown(FILE_, false, text, 1, "a\xffz\xc3(\xe2\x82\n");
}

static void test_without_colour(void **state)
{
    (void)state;
    assert_shown(TERMINAL, false, "<think>a</think>b", 2, "<think>a</think>b\n");
    assert_shown(TERMINAL, true, "a</think>b", 2, "a</think>b\n");
    assert_shown(FILE_, false, "<think>a</think>b\n", 2, "<think>a</think>b\n");
}

/* "reasoning|what is said" */
static void assert_split(const char *text, bool reasoning, const char *expected)
{
    char got[256];
    struct show_parts p = {0};
    if (show_split(text, strlen(text), reasoning, &p))
        snprintf(got, sizeof got, "%.*s|%s", (int)(p.end - p.begin), text + p.begin, text + p.rest);
    else
        snprintf(got, sizeof got, "%s", text);
    assert_string_equal(got, expected);
}

static void test_split(void **state)
{
    (void)state;
    assert_split("<think>a</think>b", false, "a|b");
    assert_split("\n <think>\n a\nb \n</think>\n\nc\n", false, "a\nb|c\n");
    assert_split("[THINK]a[/THINK]", false, "a|");
    assert_split("<think>\n\n</think>\n\nb", false, "|b");
    assert_split("<think>a</think>b<think>c</think>d", false, "a|b<think>c</think>d");
    assert_split("<think>a", false, "a|");
    assert_split("<think>", false, "|");
    assert_split("a</think>b", true, "a|b");
    assert_split("a", true, "a|");
    assert_split("", true, "|");
    assert_split("", false, "");
    assert_split("a</think>b", false, "a</think>b");
    assert_split("The tag <think> opens.</think>", false, "The tag <think> opens.</think>");
    assert_split("<thin", false, "<thin");
}

static void test_lines_of_a_file(void **state)
{
    (void)state;
    struct show s;
    char out[8] = "";
    FILE *const f = tmpfile();
    assert_non_null(f);
    show_open(&s, f, false);
    show_begin(&s, false);
    assert_int_equal(show_put(&s, "ab", 2), OK);
    assert_int_equal(show_end(&s), OK);
    rewind(f);
    assert_int_equal(fread(out, 1, sizeof out, f), 2); /* `run` adds nothing to the text */
    fclose(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reasoning_is_dimmed),
        cmocka_unit_test(test_marks_only_where_they_belong),
        cmocka_unit_test(test_unfinished_reasoning),
        cmocka_unit_test(test_mark_in_the_prompt),
        cmocka_unit_test(test_control_characters),
        cmocka_unit_test(test_broken_utf8),
        cmocka_unit_test(test_without_colour),
        cmocka_unit_test(test_split),
        cmocka_unit_test(test_lines_of_a_file),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
