/*
 * test_pretok.c: where each pre-tokeniser cuts.
 *
 * The ids of the oracles (test_tok.c) show the cuts only where a merge would have crossed them;
 * here are the words themselves, for what tells the pre-tokenisers apart.
 */
#include "base/mem.h"
#include "text/tok_impl.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

struct words {
    char joined[512];
    size_t n, n_bytes;
    const char *next; /* where the next word must start */
};

static enum err add_word(void *ctx, const char *s, size_t n)
{
    struct words *w = ctx;
    assert_true(n > 0);
    assert_ptr_equal(s, w->next);
    w->next = s + n;
    w->n_bytes += n;
    if (w->n + n + 1 > sizeof w->joined) return OK;
    if (w->n) w->joined[w->n++] = '|';
    memcpy(w->joined + w->n, s, n);
    w->n += n;
    return OK;
}

static struct pretok *open_name(const char *name, struct pretok_traits *traits)
{
    struct pretok *p = NULL;
    if (!pretok_known(name, strlen(name))) fail_msg("'%s' is not known", name);
    if (pretok_open(&p, name, strlen(name), traits)) fail_msg("%s: %s", name, err_msg());
    return p;
}

/* want: the words with | between them; the text is the same without the bars. */
static void check(const char *name, const char *want)
{
    char text[512];
    size_t n = 0;
    for (const char *c = want; *c; c++) {
        if (*c != '|') text[n++] = *c;
    }
    struct pretok_traits traits;
    struct pretok *p = open_name(name, &traits);
    struct words w = {.next = text};
    assert_int_equal(pretok_split(p, text, n, add_word, &w), OK);
    w.joined[w.n] = 0;
    if (strcmp(w.joined, want) != 0) fail_msg("%s: \"%s\", expected \"%s\"", name, w.joined, want);
    pretok_close(p);
}

static void test_gpt2(void **state)
{
    (void)state;
    check("gpt-2", "Hello|  | world|!|  \n| It|'s| 12345| <=>| x");
    check("gpt-2", "I|'|M| don|'t|'ll|'|LL");
    check("gpt-2", "a|\n|\n|b| |\n|c|\t|d");
    check("gpt-2", "überｱ|²³½|日本語");
    check("gpt-2", "a| ½|！|e|\xcc\x81");
    check("gpt-2", "x|   ");
    check("gpt-2", "x|  |\xe3\x80\x80|y"); /* U+3000 is white space, but no space */
    check("gpt-2", "x|\xc2\x85\xc2\x85|\xc2\x85|y");
    check("gpt-2", "x|\xe1\xa0\x8e|y"); /* U+180E is not */
    check("starcoder", "a| |1|2|3| b");
    check("starcoder", "½|½");
}

static void test_llama3(void **state)
{
    (void)state;
    check("llama-bpe", "Hello|  | world|!|123|45|'LL| x");
    check("llama-bpe", "a|\n\n|b|  \n|  | c|!\r\n|d");
    check("llama-bpe", "(foo|)|\tbar| +=\n|x");
    check("llama-bpe", "x|'S|'s|'ſ|'t"); /* long s is no s, but a letter */
    check("llama-bpe", "x|\xe3\x80\x80日");
    check("qwen2", "a|1|2|3|'VE|e|\xcc\x81");
    check("qwen35", "a|1|2|'ve|e\xcc\x81x"); /* marks are letters */
    check("smaug-bpe", "123|456|7");
    check("bailingmoe", "a|\n\n|b| \n| c");
    check("seed-coder", "a|!|\n|1|2");
}

static void test_cased(void **state)
{
    (void)state;
    check("gpt-4o", "Camel|Case|Words's| HTTPServer|123|4|!/\n|x");
    check("gpt-4o", "XMLx'LL|yz");
    check("gpt-4o", "ÉaÉb|Xy");
    check("tekken", "Camel|Case|'s|1|2");
    check("kimi-k2", "CamelCase's|日本|abひら|123|4");
}

static void test_deepseek(void **state)
{
    (void)state;
    check("deepseek-llm", "a|\n|\n|b| c|!,.|日本語ひ|12345½|  ");
    check("deepseek-llm", "don|'|t| |“|x|”。| Съешь");
    check("deepseek-coder", "a|\n|b|!,.|日本語|1|2| +");
    check("deepseek-v3", "123|45|日本語ひらカタ|ab|!x| +=\n|y|'s");
    check("deepseek-v3", "a|  | be\xcc\x81");
}

static void test_others(void **state)
{
    (void)state;
    check("falcon", "a| b|!?|123|45|`|x|'|s");
    check("default", "a| b|!?|123|45|x");
    check("bloom", "a|!|b|,.| c");
    check("viking", "a| |1|2");
    check("superbpe", "a b, c |1|234|567| d");
    check("afmoe", "1|234|567|ab| |12|345|日本ไ|ทย|!x");
}

static void test_traits(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        bool ignore_merges, add_bos;
    } want[] = {{"default", false, false}, {"gpt-2", false, false}, {"llama-bpe", true, true},
                {"llama3", true, true},    {"dbrx", false, false},  {"smaug-bpe", false, false},
                {"tekken", true, true},    {"lfm2", true, true},    {"gpt-4o", false, false}};
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        struct pretok_traits traits;
        struct pretok *p = open_name(want[i].name, &traits);
        assert_int_equal(traits.ignore_merges, want[i].ignore_merges);
        assert_int_equal(traits.add_bos, want[i].add_bos);
        pretok_close(p);
    }
    pretok_close(NULL);
}

static void test_names(void **state)
{
    (void)state;
    static const char *const unknown[] = {"", " ", "gpt", "gpt-2 ", "gpt-2 mpt", "llama", "Qwen2"};
    for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++)
        assert_false(pretok_known(unknown[i], strlen(unknown[i])));
    assert_false(pretok_known("gpt-2", 4));
    assert_false(pretok_known("gpt-2\0", 6));
    assert_true(pretok_known("gpt-2 mpt", 5));
}

/* Whatever the bytes: the words together are the text, in order. */
static void test_nothing_lost(void **state)
{
    (void)state;
    static const char *const names[] = {"default",      "gpt-2",          "llama3",      "dbrx",
                                        "qwen2",        "qwen35",         "starcoder",   "falcon",
                                        "deepseek-llm", "deepseek-coder", "deepseek-v3", "gpt-4o",
                                        "tekken",       "bailingmoe",     "seed-coder",  "kimi-k2",
                                        "afmoe",        "superbpe",       "bloom",       "viking"};
    static const char bytes[] =
        " \n\r\t''sS19aZ.,!<|\xc3\xa9\xe2\x80\xa6\xf0\x9f\x98\x80\xff\x80\xed\xa0";
    uint32_t x = 7;
    for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
        struct pretok_traits traits;
        struct pretok *p = open_name(names[k], &traits);
        for (int i = 0; i < 2000; i++) {
            char text[64];
            x = x * 1664525u + 1013904223u;
            const size_t n = (x >> 8) % sizeof text;
            for (size_t j = 0; j < n; j++) {
                x = x * 1664525u + 1013904223u;
                text[j] = bytes[(x >> 8) % sizeof bytes];
            }
            struct words w = {.next = text};
            assert_int_equal(pretok_split(p, text, n, add_word, &w), OK);
            assert_int_equal(w.n_bytes, n);
        }
        pretok_close(p);
    }
}

static enum err refuse(void *ctx, const char *s, size_t n)
{
    (void)s;
    (void)n;
    return ++*(int *)ctx == 2 ? ERR_INTR : OK;
}

static void test_stops(void **state)
{
    (void)state;
    struct pretok_traits traits;
    struct pretok *p = open_name("falcon", &traits);
    int n = 0;
    assert_int_equal(pretok_split(p, "a b c d", 7, refuse, &n), ERR_INTR);
    assert_int_equal(n, 2);
    pretok_close(p);
    assert_int_equal(mem_used(MEM_TOK), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gpt2),   cmocka_unit_test(test_llama3),
        cmocka_unit_test(test_cased),  cmocka_unit_test(test_deepseek),
        cmocka_unit_test(test_others), cmocka_unit_test(test_traits),
        cmocka_unit_test(test_names),  cmocka_unit_test(test_nothing_lost),
        cmocka_unit_test(test_stops),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
