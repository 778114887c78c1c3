/*
 * test_stop.c: stop strings against a search of the whole text, however it is cut into pieces, and
 * with no byte held back longer than it must be.
 */
#include "base/err.h"
#include "base/limits.h"
#include "base/mem.h"
#include "text/stop.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(a) (sizeof(a) / sizeof(a)[0])

static struct stop *open_stop(const char *const *strings, size_t n)
{
    struct stop *s = NULL;
    if (stop_open(&s, strings, n)) fail_msg("%s", err_msg());
    return s;
}

/* ---- the slow way ---------------------------------------------------------------------------- */

struct found {
    bool hit;
    size_t n_out; /* bytes of the text before the stop string; all where there is none */
    size_t end;   /* where the stop string ends */
};

static struct found search(const char *const *strings, size_t n, const char *text, size_t n_text)
{
    for (size_t end = 1; end <= n_text; end++) {
        size_t longest = 0;
        for (size_t i = 0; i < n; i++) {
            const size_t len = strlen(strings[i]);
            if (len <= end && memcmp(text + end - len, strings[i], len) == 0 && len > longest)
                longest = len;
        }
        if (longest) return (struct found){true, end - longest, end};
    }
    return (struct found){false, n_text, n_text};
}

/* The longest end of the text that some string begins with. */
static size_t must_hold(const char *const *strings, size_t n, const char *text, size_t n_text)
{
    for (size_t len = n_text; len > 0; len--) {
        for (size_t i = 0; i < n; i++) {
            if (len < strlen(strings[i]) && memcmp(text + n_text - len, strings[i], len) == 0)
                return len;
        }
    }
    return 0;
}

/* Feeds the text in pieces that end where the bits of `cuts` say (bit i: after byte i). */
static void check_cut(const char *const *strings, size_t n, const char *text, size_t n_text,
                      uint64_t cuts)
{
    char got[256];
    size_t n_got = 0, n_out, at = 0;
    const char *out;
    bool hit = false;
    struct stop *const s = open_stop(strings, n);
    const struct found want = search(strings, n, text, n_text);
    assert_true(n_text <= sizeof got);
    for (size_t i = 0; i < n_text && !hit; i++) {
        if (i + 1 < n_text && !(cuts >> i % 64 & 1)) continue;
        hit = stop_put(s, text + at, i + 1 - at, &out, &n_out);
        at = i + 1;
        memcpy(got + n_got, out, n_out);
        n_got += n_out;
        if (!hit) assert_int_equal(n_got + must_hold(strings, n, text, at), at);
        if (hit) assert_true(want.end <= at);
    }
    stop_end(s, &out, &n_out);
    if (hit) assert_int_equal(n_out, 0);
    memcpy(got + n_got, out, n_out);
    n_got += n_out;
    stop_close(s);
    assert_int_equal(hit, want.hit);
    assert_int_equal(n_got, want.n_out);
    assert_memory_equal(got, text, n_got);
}

/* At once, byte by byte, in two pieces cut everywhere. */
static void check(const char *const *strings, size_t n, const char *text, size_t n_text)
{
    check_cut(strings, n, text, n_text, 0);
    check_cut(strings, n, text, n_text, UINT64_MAX);
    for (size_t i = 0; i < n_text && i < 64; i++)
        check_cut(strings, n, text, n_text, UINT64_C(1) << i);
}

#define CHECK(text, ...)                                                                           \
    check((const char *const[]){__VA_ARGS__}, COUNT(((const char *const[]){__VA_ARGS__})), text,   \
          strlen(text))

/* ---- tests ----------------------------------------------------------------------------------- */

static void assert_text(const char *out, size_t n_out, const char *want)
{
    assert_int_equal(n_out, strlen(want));
    assert_memory_equal(out, want, n_out);
}

static void test_by_hand(void **state)
{
    (void)state;
    const char *const strings[] = {"\n\nUser:", "END"};
    const char *out;
    size_t n;
    struct stop *s = open_stop(strings, 2);
    assert_false(stop_put(s, "Well.\n", 6, &out, &n));
    assert_text(out, n, "Well.");
    assert_false(stop_put(s, "\n", 1, &out, &n));
    assert_text(out, n, "");
    assert_false(stop_put(s, "Use", 3, &out, &n));
    assert_text(out, n, "");
    assert_false(stop_put(s, "less EN", 7, &out, &n));
    assert_text(out, n, "\n\nUseless ");
    assert_false(stop_put(s, NULL, 0, &out, &n));
    assert_text(out, n, "");
    assert_true(stop_put(s, "Dless", 5, &out, &n));
    assert_text(out, n, "");
    stop_end(s, &out, &n);
    assert_text(out, n, "");
    stop_close(s);
    s = open_stop(strings, 2);
    assert_false(stop_put(s, "the \n\nEN", 8, &out, &n));
    assert_text(out, n, "the \n\n");
    stop_end(s, &out, &n); /* what was held back, once */
    assert_text(out, n, "EN");
    stop_end(s, &out, &n);
    assert_text(out, n, "");
    stop_close(s);
    stop_close(NULL);
}

static void test_none(void **state)
{
    (void)state;
    const char *out;
    size_t n;
    struct stop *const s = open_stop(NULL, 0);
    for (int i = 0; i < 3; i++) {
        assert_false(stop_put(s, "any\0text", 8, &out, &n));
        assert_int_equal(n, 8);
        assert_memory_equal(out, "any\0text", 8);
    }
    stop_end(s, &out, &n);
    assert_int_equal(n, 0);
    stop_close(s);
}

static void test_overlaps(void **state)
{
    (void)state;
    CHECK("aaab", "aab");
    CHECK("xaaaaaab", "aab");
    CHECK("ababac ababaca", "ababaca");
    CHECK("aabaabaaab", "aabaaa");
    CHECK("abcabcabd", "abcabd");
    CHECK("no such thing", "thong");
    CHECK("ends with its beginnin", "beginning");
    CHECK("", "a");
    CHECK("a", "a");
    CHECK("stop stop", "stop");
}

static void test_several(void **state)
{
    (void)state;
    CHECK("xabcd", "bc", "abcd");    /* bc ends first */
    CHECK("xabc", "bc", "abc", "c"); /* all end together: the longest began first */
    CHECK("xabcd", "abcx", "bcd");   /* one that fails holds what the other needs */
    CHECK("aaaaaaaa", "aaaa", "aaab");
    CHECK("same same", "me", "me", "same");
    CHECK("<|im_end|> </s>", "</s>", "<|im_start|>", "<|end|>");
}

static void test_utf8(void **state)
{
    (void)state;
    CHECK("caf\xc3\xa9 \xe2\x82\xac\xe2\x82\xad.", "\xe2\x82\xad");
    CHECK("\xe2\x82\xac\xe2\x82\xac\xe2\x82\xad", "\xe2\x82\xac\xe2\x82\xad");
    CHECK("\xf0\x9f\x98\x80\xf0\x9f\x98\x81", "\xf0\x9f\x98\x81", "\xf0\x9f\x98\x82");
}

/* Few letters, so that nearly everything overlaps. */
static void test_random(void **state)
{
    (void)state;
    uint64_t x = 88172645463325252u;
    for (int round = 0; round < 40000; round++) {
        char store[5][8], text[48];
        const char *strings[5];
        uint64_t r[4];
        for (int i = 0; i < 4; i++) {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            r[i] = x;
        }
        const size_t n = r[0] % 6, n_text = r[0] / 8 % (sizeof text + 1);
        const unsigned n_letter = 2 + r[0] / 1024 % 2;
        for (size_t i = 0; i < n; i++) {
            const size_t len = 1 + (r[1] >> 3 * i) % 7;
            for (size_t k = 0; k < len; k++)
                store[i][k] = (char)('a' + (r[1] ^ r[2] >> (7 * i + k)) % n_letter);
            store[i][len] = '\0';
            strings[i] = store[i];
        }
        for (size_t k = 0; k < n_text; k++) text[k] = (char)('a' + (r[3] >> k) % n_letter);
        check_cut(strings, n, text, n_text, r[2]);
        check_cut(strings, n, text, n_text, UINT64_MAX);
        check_cut(strings, n, text, n_text, 0);
    }
}

static void test_limits(void **state)
{
    (void)state;
    static char longest[STOP_BYTES_MAX + 2], text[STOP_PUT_BYTES_MAX];
    memset(longest, 'a', STOP_BYTES_MAX + 1);
    const char *strings[STOPS_MAX + 1];
    for (size_t i = 0; i <= STOPS_MAX; i++) strings[i] = "x";
    struct stop *s = (struct stop *)strings;
    assert_int_equal(stop_open(&s, strings, STOPS_MAX + 1), ERR_USAGE);
    assert_null(s);
    assert_non_null(strstr(err_msg(), "65"));
    strings[3] = "";
    assert_int_equal(stop_open(&s, strings, STOPS_MAX), ERR_USAGE);
    strings[3] = longest;
    assert_int_equal(stop_open(&s, strings, STOPS_MAX), ERR_USAGE);
    assert_non_null(strstr(err_msg(), "1025"));
    longest[STOP_BYTES_MAX] = '\0';
    longest[STOP_BYTES_MAX - 1] = 'b';
    s = open_stop(strings, STOPS_MAX);
    memset(text, 'a', sizeof text); /* the longest string, the most text, twice */
    const char *out;
    size_t n, n_all = 0;
    for (int i = 0; i < 2; i++) {
        assert_false(stop_put(s, text, sizeof text, &out, &n));
        n_all += n;
    }
    assert_int_equal(n_all, 2 * sizeof text - (STOP_BYTES_MAX - 1));
    assert_true(stop_put(s, "b", 1, &out, &n));
    assert_int_equal(n, 0);
    stop_close(s);
}

static void test_memory(void **state)
{
    (void)state;
    const char *const strings[] = {"one", "two"};
    const size_t used = mem_used(MEM_MISC);
    struct stop *s = NULL;
    uint64_t at = 1;
    for (;; at++) {
        mem_fail_at(at);
        const enum err err = stop_open(&s, strings, 2);
        mem_fail_at(0);
        if (err == OK) break;
        assert_int_equal(err, ERR_MEMORY);
        assert_null(s);
        assert_int_equal(mem_used(MEM_MISC), used);
    }
    assert_true(at > 5);
    stop_close(s);
    assert_int_equal(mem_used(MEM_MISC), used);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_by_hand),  cmocka_unit_test(test_none),
        cmocka_unit_test(test_overlaps), cmocka_unit_test(test_several),
        cmocka_unit_test(test_utf8),     cmocka_unit_test(test_random),
        cmocka_unit_test(test_limits),   cmocka_unit_test(test_memory),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
