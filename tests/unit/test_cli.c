/*
 * test_cli.c: the option parser: every kind of value and its limits, where values come from,
 * suggestions, and for every command of the program that its rows are sound and its help fits a
 * terminal.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/err.h"
#include "cli.h"
#include "cmd/common.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(a) ((int)(sizeof(a) / sizeof(a)[0]))

struct opts {
    const char *pos[2];
    bool flag;
    const char *str;
    enum cli_from str_from;
    uint32_t u32;
    int32_t i32;
    uint64_t u64;
    float f32;
    uint64_t size;
    const char *word;
    struct cli_list list;
    enum cli_from list_from;
    uint64_t seed;
};

static const struct cli_opt first_rows[] = {
    {"a-flag", 'x', CLI_FLAG, offsetof(struct opts, flag), .help = "a flag"},
    {"string", 's', CLI_STR, offsetof(struct opts, str), offsetof(struct opts, str_from), "TEXT",
     .help = "a string"},
    {"count", 'n', CLI_U32, offsetof(struct opts, u32), .arg = "N", .min = 1, .max = 256,
     .def = "7", .alias = "-cnt --number", .help = "a number"},
    {0},
};

static const struct cli_opt second_rows[] = {
    {"signed", 0, CLI_I32, offsetof(struct opts, i32), .arg = "N", .min = -1, .max = 100,
     .help = "signed"},
    {"wide", 0, CLI_U64, offsetof(struct opts, u64), .arg = "N", .help = "wide"},
    {"temp", 0, CLI_F32, offsetof(struct opts, f32), .arg = "T", .max = 2, .def = "0.8",
     .help = "real"},
    {"memory", 0, CLI_SIZE, offsetof(struct opts, size), .arg = "SIZE", .help = "bytes"},
    {"kind", 0, CLI_ENUM, offsetof(struct opts, word), .arg = "KIND", .words = "f16|f32",
     .help = "kind"},
    {"item", 'i', CLI_LIST, offsetof(struct opts, list), offsetof(struct opts, list_from), "TEXT",
     .alias = "--thing", .help = "an item"},
    {"seed", 0, CLI_U64, offsetof(struct opts, seed), .arg = "N", .min = -1, .max = 0x1p64,
     .def = "-1", .help = "seed"},
    {0},
};

static const struct cli_cmd cmd = {
    .name = "try",
    .args = "[A [B]]",
    .brief = "tries things",
    .opts = {first_rows, second_rows},
    .opts_bytes = sizeof(struct opts),
    .pos_max = 2,
    .pos_offset = offsetof(struct opts, pos),
};

static enum err parse_n(struct opts *o, bool *help, int argc, const char *const *argv)
{
    err_clear();
    return cli_parse(&cmd, argc, (char *const *)(uintptr_t)argv, o, help);
}

#define PARSE(o, ...)                                                                              \
    parse_n(o, &(bool){false}, COUNT(((const char *const[]){__VA_ARGS__})),                        \
            (const char *const[]){__VA_ARGS__})

static void assert_says(const char *part)
{
    if (!strstr(err_msg(), part)) fail_msg("message '%s' lacks '%s'", err_msg(), part);
}

static char *help_page(const struct cli_cmd *c)
{
    char *page = NULL;
    size_t n = 0;
    FILE *const f = open_memstream(&page, &n);
    assert_non_null(f);
    cli_help(c, f);
    fclose(f);
    return page;
}

/* ---- values ---------------------------------------------------------------------------------- */

static void test_defaults(void **state)
{
    (void)state;
    struct opts o;
    memset(&o, 0xff, sizeof o);
    bool help = true;
    assert_int_equal(parse_n(&o, &help, 0, NULL), OK);
    assert_false(help);
    assert_false(o.flag);
    assert_null(o.str);
    assert_null(o.pos[0]);
    assert_int_equal(o.u32, 7);
    assert_true(o.f32 == 0.8f);
    assert_int_equal(o.str_from, CLI_FROM_DEFAULT);
}

static void test_spellings(void **state)
{
    (void)state;
    struct opts o;
    assert_int_equal(PARSE(&o, "-n", "1"), OK);
    assert_int_equal(o.u32, 1);
    assert_int_equal(PARSE(&o, "--count=2"), OK);
    assert_int_equal(o.u32, 2);
    assert_int_equal(PARSE(&o, "-cnt", "3"), OK);
    assert_int_equal(o.u32, 3);
    assert_int_equal(PARSE(&o, "--number", "4", "--number", "5"), OK);
    assert_int_equal(o.u32, 5);
    assert_int_equal(PARSE(&o, "--string=", "-x"), OK);
    assert_string_equal(o.str, "");
    assert_int_equal(o.str_from, CLI_FROM_ARG);
    assert_true(o.flag);
    assert_int_equal(PARSE(&o, "-s", "-n"), OK); /* a value may look like an option */
    assert_string_equal(o.str, "-n");
    assert_int_equal(o.u32, 7);
    assert_int_equal(PARSE(&o, "-n5"), ERR_USAGE);
    assert_int_equal(PARSE(&o, "--cou", "5"), ERR_USAGE);
    assert_int_equal(PARSE(&o, "-n=5"), ERR_USAGE);
}

static void test_positional(void **state)
{
    (void)state;
    struct opts o;
    assert_int_equal(PARSE(&o, "one", "-x", "two"), OK);
    assert_string_equal(o.pos[0], "one");
    assert_string_equal(o.pos[1], "two");
    assert_int_equal(PARSE(&o, "-", "--", "-n"), OK);
    assert_string_equal(o.pos[0], "-");
    assert_string_equal(o.pos[1], "-n");
    assert_int_equal(PARSE(&o, "one", "two", "three"), ERR_USAGE);
    assert_says("unexpected argument 'three'");
    assert_says("[A [B]]");
}

static void test_ints(void **state)
{
    (void)state;
    struct opts o;
    static const char *const bad[] = {"0",  "257", "-1",  "",           " 5",  "5 ",
                                      "+5", "0x5", "1e2", "4294967297", "five"};
    for (int i = 0; i < COUNT(bad); i++) {
        assert_int_equal(PARSE(&o, "-n", bad[i]), ERR_USAGE);
        assert_says("option -n: ");
        assert_says("from 1 to 256");
    }
    assert_int_equal(PARSE(&o, "-n", "256"), OK);
    assert_int_equal(o.u32, 256);
    assert_int_equal(PARSE(&o, "--signed", "-1"), OK);
    assert_int_equal(o.i32, -1);
    assert_int_equal(PARSE(&o, "--signed", "-2"), ERR_USAGE);
    assert_int_equal(PARSE(&o, "--signed", "--1"), ERR_USAGE);
    assert_int_equal(PARSE(&o, "--wide", "18446744073709551615"), OK);
    assert_true(o.u64 == UINT64_MAX);
    assert_int_equal(PARSE(&o, "--wide", "18446744073709551616"), ERR_USAGE);
    assert_says("2^64-1");
    assert_int_equal(PARSE(&o, "--wide", "-1"), ERR_USAGE);
}

static void test_minus_one(void **state)
{
    (void)state;
    struct opts o;
    assert_int_equal(PARSE(&o, "--seed", "-1"), OK);
    assert_true(o.seed == UINT64_MAX);
    assert_int_equal(PARSE(&o, "--seed", "18446744073709551615"), OK);
    assert_true(o.seed == UINT64_MAX);
    assert_int_equal(PARSE(&o, "--seed", "18446744073709551614"), OK);
    assert_true(o.seed == UINT64_MAX - 1);
    assert_int_equal(PARSE(&o, "--seed", "-2"), ERR_USAGE);
    assert_says("from -1 to 2^64-1");
    assert_int_equal(PARSE(&o, "--seed", "18446744073709551616"), ERR_USAGE);
}

static void test_floats(void **state)
{
    (void)state;
    struct opts o;
    assert_int_equal(PARSE(&o, "--temp", "1.5"), OK);
    assert_true(o.f32 == 1.5f);
    assert_int_equal(PARSE(&o, "--temp", "0"), OK);
    assert_true(o.f32 == 0.0f);
    static const char *const bad[] = {"2.1", "-0.1", "nan", "inf", "", "1,5", "1.5x", " 1"};
    for (int i = 0; i < COUNT(bad); i++) {
        assert_int_equal(PARSE(&o, "--temp", bad[i]), ERR_USAGE);
        assert_says("option --temp: ");
        assert_says("from 0 to 2");
    }
}

static void test_sizes(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t n_bytes;
    } good[] = {{"0", 0},
                {"100000", 100000},
                {"1K", 1024},
                {"512M", 536870912},
                {"2G", 2147483648},
                {"2GiB", 2147483648},
                {"2GB", 2147483648},
                {"1.5G", 1610612736},
                {"3g", 3221225472},
                {"1T", UINT64_C(1) << 40},
                {"7B", 7}};
    struct opts o;
    for (int i = 0; i < COUNT(good); i++) {
        assert_int_equal(PARSE(&o, "--memory", good[i].text), OK);
        assert_true(o.size == good[i].n_bytes);
    }
    static const char *const bad[] = {"",    "G",   "-1",   "1E",  "1x",    "1Gi",
                                      "1GG", "1e3", "0x10", "inf", "1.2.3", "9000000P"};
    for (int i = 0; i < COUNT(bad); i++) {
        if (PARSE(&o, "--memory", bad[i]) != ERR_USAGE)
            fail_msg("'%s' was taken as a size", bad[i]);
        assert_says("512M");
    }
}

static void test_words_and_flags(void **state)
{
    (void)state;
    struct opts o;
    assert_int_equal(PARSE(&o, "--kind", "f32"), OK);
    assert_string_equal(o.word, "f32");
    static const char *const bad[] = {"f", "f16|f32", "", "F16", "|"};
    for (int i = 0; i < COUNT(bad); i++) assert_int_equal(PARSE(&o, "--kind", bad[i]), ERR_USAGE);
    assert_says("f16|f32");
    assert_int_equal(PARSE(&o, "--a-flag=1"), ERR_USAGE);
    assert_says("takes no value");
    assert_int_equal(PARSE(&o, "--kind"), ERR_USAGE);
    assert_says("--kind KIND");
}

static void test_lists(void **state)
{
    (void)state;
    struct opts o;
    assert_int_equal(PARSE(&o, "one"), OK);
    assert_int_equal(o.list.n, 0);
    assert_int_equal(o.list_from, CLI_FROM_DEFAULT);
    setenv("MOXIE_ITEM", "a,b c", 1); /* one item, whatever it holds */
    assert_int_equal(PARSE(&o, "one"), OK);
    assert_int_equal(o.list.n, 1);
    assert_string_equal(o.list.s[0], "a,b c");
    assert_int_equal(o.list_from, CLI_FROM_ENV);
    assert_int_equal(PARSE(&o, "-i", "x", "one", "--item=", "--thing", "-i", "-i", "x"), OK);
    assert_int_equal(o.list.n, 4); /* in order; the environment adds nothing */
    assert_string_equal(o.list.s[0], "x");
    assert_string_equal(o.list.s[1], "");
    assert_string_equal(o.list.s[2], "-i");
    assert_string_equal(o.list.s[3], "x");
    assert_int_equal(o.list_from, CLI_FROM_ARG);
    unsetenv("MOXIE_ITEM");
    const char *many[2 * CLI_LIST_MAX + 2];
    for (int i = 0; i <= CLI_LIST_MAX; i++) {
        many[2 * i] = "--item";
        many[2 * i + 1] = "last";
    }
    bool help;
    assert_int_equal(parse_n(&o, &help, 2 * CLI_LIST_MAX, many), OK);
    assert_int_equal(o.list.n, CLI_LIST_MAX);
    assert_int_equal(parse_n(&o, &help, 2 * CLI_LIST_MAX + 2, many), ERR_USAGE);
    assert_says("option --item: 'last' is one too many; expected at most 32");
    char *const page = help_page(&cmd);
    assert_non_null(strstr(page, "-i, --item TEXT"));
    assert_non_null(strstr(page, "an item (may be repeated)"));
    assert_null(strstr(page, "a string (may"));
    free(page);
}

/* ---- where values come from ------------------------------------------------------------------ */

static void test_environment(void **state)
{
    (void)state;
    struct opts o;
    setenv("MOXIE_COUNT", "9", 1);
    setenv("MOXIE_A_FLAG", "yes", 1);
    setenv("MOXIE_STRING", "text", 1);
    assert_int_equal(PARSE(&o, "one"), OK);
    assert_int_equal(o.u32, 9);
    assert_true(o.flag);
    assert_string_equal(o.str, "text");
    assert_int_equal(o.str_from, CLI_FROM_ENV);
    assert_int_equal(PARSE(&o, "-n", "3"), OK); /* the command line goes first */
    assert_int_equal(o.u32, 3);
    setenv("MOXIE_COUNT", "many", 1);
    assert_int_equal(PARSE(&o, "-n", "3"), OK);
    assert_int_equal(PARSE(&o, "one"), ERR_USAGE);
    assert_says("environment variable MOXIE_COUNT: 'many'");
    setenv("MOXIE_COUNT", "", 1); /* empty is unset */
    setenv("MOXIE_A_FLAG", "0", 1);
    assert_int_equal(PARSE(&o, "one"), OK);
    assert_int_equal(o.u32, 7);
    assert_false(o.flag);
    setenv("MOXIE_A_FLAG", "maybe", 1);
    assert_int_equal(PARSE(&o, "one"), ERR_USAGE);
    unsetenv("MOXIE_COUNT");
    unsetenv("MOXIE_A_FLAG");
    unsetenv("MOXIE_STRING");
}

static void test_help_flag(void **state)
{
    (void)state;
    struct opts o;
    bool help = false;
    const char *const argv[] = {"-n", "3", "-h", "--nonsense"};
    assert_int_equal(parse_n(&o, &help, 4, argv), OK);
    assert_true(help);
    const char *const value[] = {"-s", "-h"};
    assert_int_equal(parse_n(&o, &help, 2, value), OK);
    assert_false(help);
}

/* ---- suggestions ----------------------------------------------------------------------------- */

static void test_nearest(void **state)
{
    (void)state;
    static const char *const names[] = {"run", "eval", "tokenize", "detokenize", "bench", NULL};
    assert_string_equal(cli_nearest("rnu", names), "run");
    assert_string_equal(cli_nearest("evla", names), "eval");
    assert_string_equal(cli_nearest("tokenise", names), "tokenize");
    assert_string_equal(cli_nearest("detokenise", names), "detokenize");
    assert_string_equal(cli_nearest("benhc", names), "bench");
    assert_string_equal(cli_nearest("run", names), "run");
    assert_string_equal(cli_nearest("tok", names), "tokenize");
    assert_string_equal(cli_nearest("runner", names), "run");
    assert_null(cli_nearest("chat", names));
    assert_null(cli_nearest("x", names));
    assert_null(cli_nearest("", names));
    assert_null(cli_nearest("a-word-that-is-longer-than-any-name-could-ever-be", names));
}

static void test_unknown_option(void **state)
{
    (void)state;
    struct opts o;
    assert_int_equal(PARSE(&o, "--tmep", "1"), ERR_USAGE);
    assert_says("unknown option --tmep; did you mean --temp?");
    assert_int_equal(PARSE(&o, "--mem=3"), ERR_USAGE); /* the beginning of a name */
    assert_says("unknown option --mem; did you mean --memory?");
    assert_int_equal(PARSE(&o, "--kind-of", "f16"), ERR_USAGE); /* and the other way round */
    assert_says("did you mean --kind?");
    assert_int_equal(PARSE(&o, "--Wide", "1"), ERR_USAGE);
    assert_says("did you mean --wide?");
    assert_int_equal(PARSE(&o, "--a_flag"), ERR_USAGE);
    assert_says("did you mean --a-flag?");
    assert_int_equal(PARSE(&o, "--nothing-like-it"), ERR_USAGE);
    assert_says("unknown option --nothing-like-it; `moxie help try`");
    assert_int_equal(PARSE(&o, "-cntt", "1"), ERR_USAGE);
    assert_says("did you mean -cnt?");
    assert_int_equal(PARSE(&o, "-z"), ERR_USAGE);
    assert_says("unknown option -z; `moxie help try`");
    assert_int_equal(PARSE(&o, "-n5"), ERR_USAGE); /* values do not stick to letters */
    assert_says("unknown option -n5; a value is a word of its own: -n 5");
    assert_int_equal(PARSE(&o, "-n=5"), ERR_USAGE);
    assert_says(": -n 5");
    assert_int_equal(PARSE(&o, "-sword"), ERR_USAGE);
    assert_says(": -s word");
    assert_int_equal(PARSE(&o, "-nine"), ERR_USAGE);
    assert_null(strstr(err_msg(), "word of its own"));
    assert_int_equal(PARSE(&o, "-xs"), ERR_USAGE); /* a flag has no value */
    assert_null(strstr(err_msg(), "word of its own"));
    char longest[3000];
    memset(longest, 'a', sizeof longest);
    memcpy(longest, "--", 2);
    longest[sizeof longest - 1] = '\0';
    assert_int_equal(PARSE(&o, longest), ERR_USAGE);
}

static void test_foreign(void **state)
{
    (void)state;
    static const char *const flags[] = {
        "-ngl", "-fa",          "--mlock",           "--no-mmap",     "-ub",
        "-tb",  "--flash-attn", "--n-gpu-layers=99", "--ubatch-size", "--threads-batch"};
    struct opts o;
    for (int i = 0; i < COUNT(flags); i++) {
        assert_int_equal(PARSE(&o, flags[i], "1"), ERR_USAGE);
        assert_null(strstr(err_msg(), "unknown"));
    }
    assert_int_equal(PARSE(&o, "-tb", "1"), ERR_USAGE);
    assert_says("-t");
    assert_int_equal(PARSE(&o, "-cnv"), ERR_USAGE);
    assert_says("moxie chat");
    static const char *const memory[] = {"--mmap", "--no-mmap", "--mlock"};
    for (int i = 0; i < COUNT(memory); i++) {
        assert_int_equal(PARSE(&o, memory[i]), ERR_USAGE);
        assert_says("--no-repack");
    }
    assert_int_equal(PARSE(&o, "-hf", "a/b"), ERR_USAGE);
    assert_says("downloads nothing");
}

/* What an option is called elsewhere, where the command has it. */
static void test_renamed(void **state)
{
    (void)state;
    char *run[] = {"--max_tokens=5"}, *bench[] = {"--num-ctx", "5"};
    char opts[16384];
    bool help;
    assert_true(cmd_run.opts_bytes <= sizeof opts);
    assert_int_equal(cli_parse(&cmd_run, 1, run, opts, &help), ERR_USAGE);
    assert_says("unknown option --max_tokens; did you mean --n-predict?");
    assert_int_equal(cli_parse(&cmd_bench, 2, bench, opts, &help), ERR_USAGE);
    assert_null(strstr(err_msg(), "ctx-size")); /* which bench has not */
}

/* ---- the program's own rows ------------------------------------------------------------------ */

static void test_help_fits(void **state)
{
    (void)state;
    for (size_t i = 0; cmd_table[i]; i++) {
        char *const page = help_page(cmd_table[i]);
        assert_non_null(strstr(page, cmd_table[i]->args));
        assert_true(!cmd_table[i]->opts[0] || strstr(page, "MOXIE_"));
        for (const char *line = page; *line; line += strcspn(line, "\n") + 1) {
            if (strcspn(line, "\n") >= 80)
                fail_msg("%s: '%.*s' is too wide", cmd_table[i]->name, (int)strcspn(line, "\n"),
                         line);
        }
        free(page);
    }
}

/* Every row is explained, its name is on the page, and no two rows share a spelling. */
static void test_rows_are_sound(void **state)
{
    (void)state;
    for (size_t i = 0; cmd_table[i]; i++) {
        const struct cli_cmd *const c = cmd_table[i];
        char *const page = help_page(c);
        bool letters[128] = {['h'] = true};
        for (size_t g = 0; g < CLI_GROUPS_MAX && c->opts[g]; g++) {
            for (const struct cli_opt *o = c->opts[g]; o->name; o++) {
                char name[64];
                snprintf(name, sizeof name, " --%s%s", o->name, o->arg ? " " : "");
                if (!strstr(page, name)) fail_msg("%s: help lacks%s", c->name, name);
                assert_non_null(o->help);
                assert_true((o->type == CLI_FLAG) == (o->arg == NULL));
                assert_true((o->type == CLI_ENUM) == (o->words != NULL));
                assert_true(o->offset < c->opts_bytes);
                if (!o->letter) continue;
                if (letters[(int)o->letter]) fail_msg("%s: two rows have -%c", c->name, o->letter);
                letters[(int)o->letter] = true;
            }
        }
        void *const opts = calloc(1, c->opts_bytes);
        bool help;
        assert_non_null(opts);
        assert_int_equal(cli_parse(c, 0, NULL, opts, &help), OK); /* defaults are in range */
        free(opts);
        free(page);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),        cmocka_unit_test(test_spellings),
        cmocka_unit_test(test_positional),      cmocka_unit_test(test_ints),
        cmocka_unit_test(test_floats),          cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_words_and_flags), cmocka_unit_test(test_minus_one),
        cmocka_unit_test(test_lists),           cmocka_unit_test(test_environment),
        cmocka_unit_test(test_help_flag),       cmocka_unit_test(test_nearest),
        cmocka_unit_test(test_unknown_option),  cmocka_unit_test(test_foreign),
        cmocka_unit_test(test_renamed),         cmocka_unit_test(test_help_fits),
        cmocka_unit_test(test_rows_are_sound),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
