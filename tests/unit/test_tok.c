/*
 * test_tok.c: the tokenizer on the toy vocabularies of tests/data/tok: ids equal to llama.cpp's,
 * texts that come back byte for byte, special tokens, streams, and what no oracle covers.
 */
#include "base/limits.h"
#include "tests/unit/tok_make.h"

#include <stdbool.h>
#include <stdlib.h>
#include <time.h>

#define TOY "tests/data/tok/"

#ifdef __SANITIZE_ADDRESS__
#define SLOWER 10
#else
#define SLOWER 1
#endif

/* ---- ids that llama.cpp gave ----------------------------------------------------------------- */

static void test_bpe_oracle(void **state)
{
    (void)state;
    size_t n, i, k, n_name = 0;
    char *text = read_text(TOY "text.txt", &n);
    json_t *j = read_json(TOY "bpe.json"), *group, *name;
    json_array_foreach(json_object_get(j, "groups"), i, group)
    {
        json_array_foreach(json_object_get(group, "pre"), k, name)
        {
            const char *pre = json_string_value(name);
            const struct vocab v = vocab_open(TOY "bpe.gguf", pre);
            check_json(v.t, pre, text, n, 0, json_object_get(group, "ids"));
            check_back(v.t, pre, text, n);
            vocab_close(v);
            n_name++;
        }
    }
    assert_int_equal(n_name, 46); /* "default" among them */
    const struct vocab v = vocab_open(TOY "bpe.gguf", NULL);
    check_json(v.t, "gpt-2", text, n, TOK_SPECIAL, json_object_get(j, "gpt2_no_bos_special"));
    vocab_close(v);
    json_decref(j);
    mem_free(text);
}

static void test_spm_oracle(void **state)
{
    (void)state;
    size_t n, i;
    char *text = read_text(TOY "text.txt", &n);
    json_t *j = read_json(TOY "spm.json"), *variant;
    json_array_foreach(json_object_get(j, "variants"), i, variant)
    {
        const char *file = json_string_value(json_object_get(variant, "vocab"));
        char path[256];
        snprintf(path, sizeof path, TOY "%s", file);
        const struct vocab v = vocab_open(path, NULL);
        assert_int_equal(tok_n_vocab(v.t), json_integer_value(json_object_get(variant, "n_vocab")));
        check_json(v.t, file, text, n, 0, json_object_get(variant, "no_bos_no_special"));
        check_json(v.t, file, text, n, TOK_SPECIAL, json_object_get(variant, "no_bos_special"));
        check_json(v.t, file, "", 0, TOK_BOS, json_object_get(variant, "bos_prefix"));
        vocab_close(v);
    }
    assert_int_equal(i, 2);
    json_decref(j);
    mem_free(text);
}

/* Each string alone. A key is "FILE" with two lists of ids, or "FILE pre=NAME" with one. */
static void test_strings_oracle(void **state)
{
    (void)state;
    json_t *j = read_json(TOY "strings.json"), *lists, *string;
    const json_t *strings = json_object_get(j, "strings");
    const char *key;
    size_t n_key = 0, i;
    json_object_foreach(json_object_get(j, "ids"), key, lists)
    {
        char path[256];
        const char *pre = strstr(key, " pre=");
        snprintf(path, sizeof path, TOY "%.*s", (int)(pre ? pre - key : (long)strlen(key)), key);
        const struct vocab v = vocab_open(path, pre ? pre + 5 : NULL);
        json_array_foreach(strings, i, string)
        {
            const char *s = json_string_value(string);
            const size_t n = json_string_length(string);
            const json_t *ids = json_array_get(lists, i);
            check_json(v.t, key, s, n, 0, pre ? ids : json_array_get(ids, 0));
            if (!pre) check_json(v.t, key, s, n, TOK_SPECIAL, json_array_get(ids, 1));
            check_back(v.t, key, s, n);
        }
        vocab_close(v);
        n_key++;
    }
    assert_int_equal(n_key, 22);
    json_decref(j);
}

/* ---- round trips ----------------------------------------------------------------------------- */

static uint32_t next_random(uint32_t *x)
{
    *x = *x * 1664525u + 1013904223u;
    return *x >> 8;
}

/* Pieces that are awkward together: white space of all kinds, halves of characters, special tokens,
 * digits, NUL, overlong forms and surrogates. */
static const char *const awkward[] = {
    " ",
    "  ",
    "\n",
    "\r",
    "\t",
    "a",
    "bc",
    "Q",
    "7",
    "12345",
    "'",
    "'s",
    "'LL",
    "<s>",
    "</s>",
    "[INST]",
    "<|im_end|>",
    "[INS",
    "<unk>",
    "é",
    "e\xcc\x81",
    "日",
    "🦙",
    "\xe2",
    "\xe2\x96",
    "\x81",
    "\xc0",
    "\xff",
    "\xf5",
    "\xed\xa0\x80",
    "\xc0\xaf",
    "\xf0\x9f",
    "ſ",
    "\xc2\x85",
    "\xe3\x80\x80",
    "\xe1\xa0\x8e",
    "<0x41>",
    "٣",
    "½",
    "!",
    "...",
    "_",
    "hello",
    "world",
    "ﬁ",
};

static size_t random_text(uint32_t *x, char *text, size_t n_max)
{
    const size_t n_piece = next_random(x) % 12;
    size_t n = 0;
    for (size_t i = 0; i < n_piece; i++) {
        const char *s = awkward[next_random(x) % (sizeof awkward / sizeof *awkward)];
        const size_t n_s = next_random(x) % 20 == 0 ? 1 : strlen(s);
        if (n + n_s + 1 > n_max) break;
        memcpy(text + n, s, n_s);
        n += n_s;
        if (next_random(x) % 30 == 0) text[n++] = 0;
    }
    return n;
}

/* U+2581 is what SPM cannot bring back; pieces can make one up. */
static bool has_spm_space(const char *s, size_t n)
{
    for (size_t i = 0; i + 3 <= n; i++) {
        if (memcmp(s + i, "\xe2\x96\x81", 3) == 0) return true;
    }
    return false;
}

static void test_round_trip(void **state)
{
    (void)state;
    static const char *const vocabs[][2] = {
        {TOY "bpe.gguf", NULL},      {TOY "bpe.gguf", "llama-bpe"},    {TOY "bpe.gguf", "tekken"},
        {TOY "bpe.gguf", "falcon"},  {TOY "bpe.gguf", "deepseek-llm"}, {TOY "bpe.gguf", "superbpe"},
        {TOY "bpe.gguf", "kimi-k2"}, {TOY "bpe.gguf", "default"},      {TOY "bpe.gguf", "afmoe"},
        {TOY "spm.gguf", "default"}, {TOY "spm_noprefix.gguf", NULL},
    };
    uint32_t x = 1;
    for (size_t k = 0; k < sizeof vocabs / sizeof *vocabs; k++) {
        const struct vocab v = vocab_open(vocabs[k][0], vocabs[k][1]);
        const bool spm = strstr(vocabs[k][0], "spm") != NULL;
        for (int i = 0; i < 3000; i++) {
            char text[256];
            const size_t n = random_text(&x, text, sizeof text);
            if (!spm || !has_spm_space(text, n)) check_back(v.t, vocabs[k][0], text, n);
        }
        vocab_close(v);
    }
}

/* Every byte alone and every two bytes that are no UTF-8: nothing fails, nothing is lost. */
static void test_all_bytes(void **state)
{
    (void)state;
    const struct vocab bpe = vocab_open(TOY "bpe.gguf", NULL);
    const struct vocab spm = vocab_open(TOY "spm.gguf", NULL);
    for (unsigned i = 0; i < 65536; i++) {
        const char text[2] = {(char)(i >> 8), (char)i};
        check_back(bpe.t, "bpe", text, 2);
        check_back(spm.t, "spm", text, 2);
        if (i < 256) check_back(bpe.t, "bpe", text + 1, 1);
        if (i < 256) check_back(spm.t, "spm", text + 1, 1);
    }
    vocab_close(bpe);
    vocab_close(spm);
}

/* ---- made vocabularies ----------------------------------------------------------------------- */

static const struct item letters[] = {
    {"a", 1, 0}, {"b", 1, 0},   {"c", 1, 0},      {"<s>", 3, 0}, {"</s>", 3, 0}, {"ab", 1, 0},
    {"Ġ", 1, 0}, {"<x>", 4, 0}, {"<x><x>", 4, 0}, {"x>c", 4, 0}, {"abc", 4, 0},  {"bcab", 4, 0},
    {"<", 1, 0}, {">", 1, 0},   {"x", 1, 0},      {"s", 1, 0},   {"/", 1, 0},
};

static struct recipe letters_recipe(void)
{
    static const char *const merges[] = {"a b"};
    return (struct recipe){
        .model = "gpt2",
        .pre = "gpt-2",
        .items = letters,
        .n_item = sizeof letters / sizeof *letters,
        .merges = merges,
        .n_merge = 1,
        .u32_key = {"tokenizer.ggml.bos_token_id", "tokenizer.ggml.eos_token_id"},
        .u32 = {3, 4}};
}

/* The longest special tokens are placed first, wherever they are; shorter ones get the rest. */
static void test_special_order(void **state)
{
    (void)state;
    const struct recipe r = letters_recipe();
    const struct made m = must_make(&r);
    const struct tok *t = m.v.t;
    CHECK(t, "<x>", 0, 7);
    CHECK(t, "<x><x><x>", 0, 8, 7);
    CHECK(t, "<x>c", 0, 7, 2);   /* equal lengths: the leftmost */
    CHECK(t, "abcab", 0, 0, 11); /* "bcab" beats the "abc" in front of it */
    CHECK(t, "abcb", 0, 10, 1);
    CHECK(t, "a<x", 0, 0, 12, 14);
    CHECK(t, "ab<x>ab", 0, 5, 7, 5);
    CHECK(t, "<s>a</s>", 0, 12, 15, 13, 0, 12, 16, 15, 13); /* not asked for: text */
    CHECK(t, "<s>a</s>", TOK_SPECIAL, 3, 0, 4);
    unmake(m);
}

static void test_bos_eos(void **state)
{
    (void)state;
    struct recipe r = letters_recipe();
    struct made m = must_make(&r); /* gpt-2 adds nothing */
    CHECK(m.v.t, "a", TOK_BOS, 0);
    assert_false(tok_add_bos(m.v.t));
    assert_int_equal(tok_bos(m.v.t), 3);
    assert_int_equal(tok_eos(m.v.t), 4);
    unmake(m);
    r.true_key = "tokenizer.ggml.add_bos_token";
    m = must_make(&r);
    assert_true(tok_add_bos(m.v.t));
    CHECK(m.v.t, "a", TOK_BOS, 3, 0);
    CHECK(m.v.t, "a", 0, 0);
    CHECK(m.v.t, "", TOK_BOS, 3);
    CHECK(m.v.t, "<s>a", TOK_BOS | TOK_SPECIAL, 3, 0); /* never doubled */
    CHECK(m.v.t, "a<s>", TOK_BOS | TOK_SPECIAL, 3, 0, 3);
    CHECK(m.v.t, "<s>", TOK_BOS | TOK_SPECIAL, 3);
    CHECK(m.v.t, "<s>", TOK_BOS, 3, 12, 15, 13);
    unmake(m);
    r.true_key = "tokenizer.ggml.add_eos_token";
    m = must_make(&r);
    CHECK(m.v.t, "a", TOK_BOS, 0, 4);
    CHECK(m.v.t, "a</s>", TOK_BOS | TOK_SPECIAL, 0, 4);
    CHECK(m.v.t, "", TOK_BOS, 4);
    unmake(m);
    r.pre = "llama-bpe"; /* adds BOS unless the file says no */
    r.true_key = NULL;
    m = must_make(&r);
    CHECK(m.v.t, "a", TOK_BOS, 3, 0);
    unmake(m);
    r.false_key = "tokenizer.ggml.add_bos_token";
    m = must_make(&r);
    CHECK(m.v.t, "a", TOK_BOS, 0);
    unmake(m);
    r.u32_key[0] = NULL; /* no BOS at all */
    r.false_key = NULL;
    m = must_make(&r);
    assert_int_equal(tok_bos(m.v.t), TOK_NONE);
    assert_false(tok_add_bos(m.v.t));
    CHECK(m.v.t, "a", TOK_BOS, 0);
    unmake(m);
}

/* A word that is a token as it stands, although no merges lead to it. */
static void test_ignore_merges(void **state)
{
    (void)state;
    static const struct item items[] = {
        {"a", 1, 0}, {"b", 1, 0}, {"Ġ", 1, 0}, {"Ġabab", 1, 0}, {"baba", 3, 0}};
    struct recipe r = {.model = "gpt2", .pre = "llama-bpe", .items = items, .n_item = 5};
    struct made m = must_make(&r);
    CHECK(m.v.t, " abab", 0, 3);
    CHECK(m.v.t, " ababa", 0, 2, 0, 1, 0, 1, 0);
    CHECK(m.v.t, "baba", 0, 1, 0, 1, 0); /* never a control token */
    unmake(m);
    r.pre = "gpt-2";
    m = must_make(&r);
    CHECK(m.v.t, " abab", 0, 2, 0, 1, 0, 1);
    unmake(m);
}

static void test_end_of_generation(void **state)
{
    (void)state;
    static const struct item items[] = {
        {"a", 1, 0},          {"<|im_end|>", 4, 0},   {"<|eot_id|>", 3, 0},
        {"<end>", 3, 0},      {"<fim_prefix>", 4, 0}, {"<|end|>", 3, 0},
        {"<|return|>", 3, 0}, {"<|call|>", 3, 0}};
    struct recipe r = {.model = "gpt2",
                       .pre = "gpt-2",
                       .items = items,
                       .n_item = 6,
                       .u32_key = {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eom_token_id"},
                       .u32 = {3, 0}};
    struct made m = must_make(&r);
    const bool ends[] = {true, true, true, true, false, true};
    const bool control[] = {true, true, true, true, true, true};
    for (uint32_t id = 0; id < 6; id++) {
        assert_int_equal(tok_is_eog(m.v.t, id), ends[id]);
        assert_int_equal(tok_is_control(m.v.t, id), control[id]);
    }
    /* A name makes it a control token, user-defined or not. */
    uint32_t *ids;
    size_t n;
    assert_int_equal(tok_encode(m.v.t, "<|im_end|>", 10, 0, &ids, &n), OK);
    for (size_t i = 0; i < n; i++) assert_int_not_equal(ids[i], 1);
    mem_free(ids);
    CHECK(m.v.t, "<|im_end|>", TOK_SPECIAL, 1);
    unmake(m);
    r.n_item = 8; /* gpt-oss: <|end|> ends a message only */
    m = must_make(&r);
    assert_false(tok_is_eog(m.v.t, 5));
    assert_true(tok_is_eog(m.v.t, 6));
    assert_true(tok_is_eog(m.v.t, 7));
    unmake(m);
}

/* phi-3: white space behind a special token belongs to it. */
static void test_phi3(void **state)
{
    (void)state;
    static const struct item items[] = {{"<unk>", 2, 0},    {"<s>", 3, 0}, {"</s>", 3, 0},
                                        {"▁", 1, -1},       {"a", 1, -2},  {"▁a", 1, -3},
                                        {"<|user|>", 3, 0}, {"▁▁", 1, -4}, {"<u>", 4, 0}};
    struct recipe r = {.model = "llama", .name = "Tiny Phi-3 mini", .items = items, .n_item = 9};
    struct made m = must_make(&r);
    CHECK(m.v.t, "<|user|> \n a", TOK_SPECIAL, 6, 5);
    CHECK(m.v.t, "<u>  a", 0, 8, 5);
    CHECK(m.v.t, "<s> a", TOK_SPECIAL, 1, 3, 5); /* but not behind this one */
    unmake(m);
    r.name = "Phi 3";
    m = must_make(&r);
    CHECK(m.v.t, "<u>  a", 0, 8, 7, 5);
    unmake(m);
}

/* ---- SPM ------------------------------------------------------------------------------------- */

static const struct item pieces[] = {
    {"<unk>", 2, 0}, {"<s>", 3, 0}, {"</s>", 3, 0}, {"<0x41>", 6, 0}, {"<0xE2>", 6, 0},
    {"▁", 1, -9},    {"a", 1, -10}, {"b", 1, -11},  {"ab", 1, -2},    {"ba", 1, -1},
    {"▁a", 1, -3},   {"b▁", 1, -4}, {"[x]", 4, 0},  {"▁b▁a", 1, -5},  {"aba", 1, -6},
};

/* Which pair goes first, and which of equals. */
static void test_spm_merges(void **state)
{
    (void)state;
    struct recipe r = {.model = "llama",
                       .items = pieces,
                       .n_item = sizeof pieces / sizeof *pieces,
                       .false_key = "tokenizer.ggml.add_space_prefix"};
    struct made m = must_make(&r);
    CHECK(m.v.t, "ab", 0, 8);
    CHECK(m.v.t, "aba", 0, 14); /* ba (-1) first, then a + ba */
    CHECK(m.v.t, "abab", 0, 14, 7);
    CHECK(m.v.t, "b a", 0, 7, 10);   /* "▁a" (-3) beats "b▁" (-4) across the space */
    CHECK(m.v.t, "b  a", 0, 11, 10); /* a token may join a space to what is before it */
    CHECK(m.v.t, "a  a", 0, 6, 5, 10);
    CHECK(m.v.t, "A", 0, 3); /* bytes, and the unknown token for bytes without one */
    CHECK(m.v.t, "B", 0, 0);
    CHECK(m.v.t, "", 0, );
    unmake(m);
    r.false_key = NULL;
    m = must_make(&r);
    CHECK(m.v.t, "a", 0, 10);
    CHECK(m.v.t, "a[x]a", 0, 10, 12, 10); /* the prefix comes after special tokens too */
    CHECK(m.v.t, "[x] a", 0, 12, 5, 10);
    check_back(m.v.t, "prefix", "a[x]a [x] a[x][x]  a", 20);
    unmake(m);
}

/* gemma 4: the same text, merged by rank. Its ranks follow the scores here. */
static void test_gemma4(void **state)
{
    (void)state;
    static const char *const merges[] = {"b a",   "a b",  "▁ a", "b ▁",
                                         "▁b ▁a", "a ba", "ab a"};
    static const struct item items[] = {
        {"<pad>", 3, 0},  {"<eos>", 3, 0}, {"<bos>", 3, 0}, {"<0x41>", 6, 0},
        {"<0xE2>", 6, 0}, {"▁", 1, 0},     {"a", 1, 0},     {"b", 1, 0},
        {"ab", 1, 0},     {"ba", 1, 0},    {"▁a", 1, 0},    {"b▁", 1, 0},
        {"[x]", 4, 0},    {"▁b", 1, 0},    {"aba", 1, 0},   {"▁b▁a", 1, 0}};
    struct recipe r = {.model = "gemma4",
                       .items = items,
                       .n_item = 16,
                       .merges = merges,
                       .n_merge = 7,
                       .u32_key = {"tokenizer.ggml.bos_token_id"},
                       .u32 = {2}};
    struct made m = must_make(&r);
    CHECK(m.v.t, "aba", 0, 14);
    CHECK(m.v.t, "abab", 0, 14, 7);
    CHECK(m.v.t, "b  a", 0, 11, 10);
    CHECK(m.v.t, "A[x] a", TOK_BOS, 2, 3, 12, 10);
    check_back(m.v.t, "gemma4", " a[x]b  A ab", 12);
    unmake(m);
}

/* ---- pieces and streams ---------------------------------------------------------------------- */

static void test_pieces(void **state)
{
    (void)state;
    const struct vocab bpe = vocab_open(TOY "bpe.gguf", NULL);
    const struct vocab spm = vocab_open(TOY "spm.gguf", NULL);
    char buf[16];
    assert_int_equal(tok_piece(bpe.t, 730, false, buf, sizeof buf), 0); /* <|endoftext|> */
    assert_int_equal(tok_piece(bpe.t, 730, true, buf, sizeof buf), 13);
    assert_memory_equal(buf, "<|endoftext|>", 13);
    memset(buf, '#', sizeof buf);
    assert_int_equal(tok_piece(bpe.t, 730, true, buf, 4),
                     13); /* the length of all, the start of it */
    assert_memory_equal(buf, "<|en##", 6);
    assert_int_equal(tok_piece(bpe.t, 735, false, buf, sizeof buf), 6); /* user-defined */
    assert_memory_equal(buf, "[INST]", 6);
    for (uint32_t b = 0; b < 256; b++) {
        assert_int_equal(tok_piece(bpe.t, b, false, buf, sizeof buf), 1);
        assert_int_equal((uint8_t)buf[0], b);
        assert_int_equal(tok_piece(spm.t, 3 + b, false, buf, sizeof buf), 1);
        assert_int_equal((uint8_t)buf[0], b);
    }
    assert_int_equal(tok_piece(spm.t, 605, false, buf, sizeof buf), 1); /* U+2581 */
    assert_int_equal(buf[0], ' ');
    assert_int_equal(tok_piece(spm.t, 0, false, buf, sizeof buf), 0); /* <unk> */
    assert_int_equal(tok_piece(spm.t, 0, true, buf, sizeof buf), 5);
    assert_int_equal(tok_piece(spm.t, 777, false, NULL, 0), 0); /* <|im_end|> ends the generation */
    vocab_close(bpe);
    vocab_close(spm);
}

static void test_decode(void **state)
{
    (void)state;
    const struct vocab v = vocab_open(TOY "spm.gguf", NULL);
    char *text;
    size_t n;
    assert_int_equal(tok_decode(v.t, NULL, 0, &text, &n), OK);
    assert_int_equal(n, 0);
    assert_int_equal(text[0], 0);
    mem_free(text);
    const uint32_t ids[] = {1, 323, 777, 323, 323}; /* BOS, "▁a", <|im_end|>, "▁a", "▁a" */
    assert_int_equal(tok_decode(v.t, ids, 5, &text, &n), OK);
    assert_string_equal(text, "<s>a<|im_end|>a a");
    mem_free(text);
    const uint32_t beyond[] = {5, 778};
    assert_int_equal(tok_decode(v.t, beyond, 2, &text, &n), ERR_INPUT);
    assert_non_null(strstr(err_msg(), "778"));
    vocab_close(v);
}

/* Bytes at the start of s that make up whole, valid characters. */
static size_t whole_characters(const char *s, size_t n)
{
    size_t i = 0;
    while (i < n) {
        const uint8_t c = (uint8_t)s[i];
        const size_t len = c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
        if (i + len > n) break;
        i += len;
    }
    return i;
}

/* A valid text, byte by byte as tokens: out comes only what is whole, and all of it in the end. */
static void test_stream_whole(void **state)
{
    (void)state;
    size_t n, n_out = 0;
    char *text = read_text(TOY "text.txt", &n);
    const struct vocab v = vocab_open(TOY "bpe.gguf", NULL);
    char *out = mem_alloc(MEM_MISC, n), *buf = mem_alloc(MEM_MISC, TOK_STREAM_BYTES_MAX);
    struct tok_stream st = {0};
    for (size_t i = 0; i < n; i++) { /* ids 0..255 are the bytes */
        const size_t k = tok_stream_put(v.t, &st, (uint8_t)text[i], buf, TOK_STREAM_BYTES_MAX);
        assert_int_equal(whole_characters(buf, k), k);
        memcpy(out + n_out, buf, k);
        n_out += k;
        assert_int_equal(n_out, whole_characters(text, i + 1)); /* at once when complete */
    }
    assert_int_equal(tok_stream_end(&st, buf, TOK_STREAM_BYTES_MAX), 0);
    assert_memory_equal(out, text, n);
    mem_free(out);
    mem_free(buf);
    mem_free(text);
    vocab_close(v);
}

static void check_stream(const struct tok *t, const char *bytes, size_t n, const char *waits)
{
    struct tok_stream st = {0};
    char out[64], buf[64];
    size_t n_out = 0;
    for (size_t i = 0; i < n; i++) {
        const size_t k = tok_stream_put(t, &st, (uint8_t)bytes[i], buf, sizeof buf);
        assert_int_equal(st.n_held, waits[i] - '0');
        memcpy(out + n_out, buf, k);
        n_out += k;
    }
    n_out += tok_stream_end(&st, out + n_out, sizeof out - n_out);
    assert_int_equal(n_out, n);
    assert_memory_equal(out, bytes, n);
    assert_int_equal(st.n_held, 0);
}

/* Bytes that cannot become a character are not held; waits: bytes held after each byte. */
static void test_stream_invalid(void **state)
{
    (void)state;
    const struct vocab v = vocab_open(TOY "bpe.gguf", NULL);
    check_stream(v.t, "a\xe2\x96\x81z", 5, "01200");
    check_stream(v.t, "\xf0\x9f\xa6\x99", 4, "1230");
    check_stream(v.t, "\xf0\x9f\xa6", 3, "123"); /* the end comes first */
    check_stream(v.t, "\xe2\x96x", 3, "120");
    check_stream(v.t, "\xe2\xe2\x96\x81", 4, "1120");
    check_stream(v.t, "\xff\xfe", 2, "00");
    check_stream(v.t, "\x80\x81\x82\x83", 4, "0000");
    check_stream(v.t, "\xc0\xaf", 2, "00");           /* overlong */
    check_stream(v.t, "\xe0\x80\x80", 3, "100");      /* overlong */
    check_stream(v.t, "\xed\xa0\x80", 3, "100");      /* surrogate */
    check_stream(v.t, "\xf4\x90\x80\x80", 4, "1000"); /* beyond U+10FFFF */
    check_stream(v.t, "\xf5\x80", 2, "00");
    struct tok_stream st = {.special = true};
    char buf[8];
    assert_int_equal(tok_stream_put(v.t, &st, 733, buf, sizeof buf), 3);
    assert_memory_equal(buf, "<s>", 3);
    st.special = false;
    assert_int_equal(tok_stream_put(v.t, &st, 733, buf, sizeof buf), 0);
    assert_int_equal(tok_stream_put(v.t, &st, 735, buf, 2), 2); /* "[I", what fits */
    vocab_close(v);
}

/* ---- cost ------------------------------------------------------------------------------------ */

/* CPU seconds for n bytes that repeat a pattern; their last byte disappoints what looked ahead. */
static double encode_seconds(const struct tok *t, const char *pattern, size_t n)
{
    const size_t n_pattern = strlen(pattern);
    char *text = mem_alloc(MEM_MISC, n);
    for (size_t i = 0; i < n; i++) text[i] = pattern[i % n_pattern];
    text[n - 1] = 'x';
    uint32_t *ids;
    size_t n_ids;
    const clock_t start = clock();
    if (tok_encode(t, text, n, TOK_SPECIAL, &ids, &n_ids)) fail_msg("%s", err_msg());
    const double seconds = (double)(clock() - start) / CLOCKS_PER_SEC;
    mem_free(ids);
    mem_free(text);
    return seconds;
}

/* A line without a space, of spaces, of digits, ...: time grows with n log n. A quadratic step
 * anywhere would take minutes for 256 kB. */
static void test_long_lines(void **state)
{
    (void)state;
    static const char *const pres[] = {"gpt-2",        "llama-bpe",   "qwen35",   "gpt-4o",
                                       "deepseek-llm", "deepseek-v3", "superbpe", "afmoe",
                                       "kimi-k2",      "default"};
    static const char *const lines[] = {"a",  " ", "A",    "1", "!",      "\n", " \n",
                                        "日", "é", "\xff", "'", "[INST]", "a1", "<s"};
    double worst = 0;
    for (size_t k = 0; k < sizeof pres / sizeof *pres; k++) {
        const struct vocab v = vocab_open(TOY "bpe.gguf", pres[k]);
        for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
            const double s = encode_seconds(v.t, lines[i], 1 << 18);
            if (s > worst) worst = s;
        }
        vocab_close(v);
    }
    print_message("# the slowest line of 256 kB takes %.2f s\n", worst);
    assert_true(worst < 1 * SLOWER);
}

static void test_megabyte(void **state)
{
    (void)state;
    static const char *const files[] = {TOY "bpe.gguf", TOY "spm.gguf"};
    static const char *const lines[] = {"a", " ", "1"};
    double worst = 0;
    for (size_t k = 0; k < 2; k++) {
        const struct vocab v = vocab_open(files[k], NULL);
        for (size_t i = 0; i < 3; i++) {
            const double s = encode_seconds(v.t, lines[i], 1 << 20);
            if (s > worst) worst = s;
        }
        vocab_close(v);
    }
    print_message("# the slowest line of 1 MB takes %.2f s\n", worst);
    assert_true(worst < 2 * SLOWER);
}

/* ---- failures -------------------------------------------------------------------------------- */

/* Memory runs out at every allocation in turn: an error, nothing left behind. */
static void test_no_memory(void **state)
{
    (void)state;
    static const char *const files[] = {TOY "bpe.gguf", TOY "spm.gguf"};
    static const char text[] = "Hello [INST] <|im_end|> \xff 1234 world, hello  world";
    for (size_t k = 0; k < 2; k++) {
        struct gguf *g;
        assert_int_equal(gguf_open(&g, files[k]), OK);
        enum err err = ERR_MEMORY;
        uint64_t at = 1;
        for (; err; at++) {
            struct tok *t = NULL;
            uint32_t *ids = NULL;
            size_t n = 0, n_text = 0;
            char *back = NULL;
            mem_fail_at(at);
            err = tok_open(&t, g, NULL);
            if (!err) err = tok_encode(t, text, sizeof text - 1, TOK_BOS | TOK_SPECIAL, &ids, &n);
            if (!err) err = tok_decode(t, ids, n, &back, &n_text);
            mem_fail_at(0);
            if (err) assert_int_equal(err, ERR_MEMORY);
            mem_free(ids);
            mem_free(back);
            tok_close(t);
            assert_int_equal(mem_used(MEM_TOK), 0);
            assert_true(at < 1000);
        }
        assert_true(at > 6);
        gguf_close(g);
    }
}

static void test_refused_kinds(void **state)
{
    (void)state;
    static const char *const kinds[] = {"bert", "t5", "rwkv", "none", "plamo2", "GPT2", ""};
    struct recipe r = letters_recipe();
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        struct made m;
        r.model = kinds[i];
        assert_int_equal(make(&r, &m), ERR_INPUT);
        assert_null(m.v.t);
        char name[32];
        snprintf(name, sizeof name, "'%s'", kinds[i]);
        assert_non_null(strstr(err_msg(), "tokenizer.ggml.model"));
        assert_non_null(strstr(err_msg(), name));
        assert_non_null(strstr(err_msg(), "'llama'"));
        unmake(m);
    }
    r = letters_recipe();
    r.pre = "no-such-thing";
    struct made m;
    assert_int_equal(make(&r, &m), ERR_INPUT);
    assert_non_null(strstr(err_msg(), "'no-such-thing'"));
    assert_non_null(strstr(err_msg(), "--pre"));
    unmake(m);
    struct gguf *g;
    struct tok *t;
    static const char *const files[] = {TOY "bpe.gguf", TOY "spm.gguf"};
    for (size_t i = 0; i < 2; i++) { /* a wrong --pre is an error even where none is needed */
        assert_int_equal(gguf_open(&g, files[i]), OK);
        assert_int_equal(tok_open(&t, g, "gpt-3"), ERR_INPUT);
        assert_int_equal(tok_open(&t, g, ""), ERR_INPUT);
        assert_int_equal(tok_open(&t, g, "gpt-2 olmo"), ERR_INPUT);
        gguf_close(g);
    }
}

static void test_too_long(void **state)
{
    (void)state;
    const struct vocab v = vocab_open(TOY "bpe.gguf", NULL);
    uint32_t *ids;
    size_t n;
    assert_int_equal(tok_encode(v.t, "", (size_t)PROMPT_BYTES_MAX + 1, 0, &ids, &n), ERR_INPUT);
    vocab_close(v);
    tok_close(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bpe_oracle),
        cmocka_unit_test(test_spm_oracle),
        cmocka_unit_test(test_strings_oracle),
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_all_bytes),
        cmocka_unit_test(test_special_order),
        cmocka_unit_test(test_bos_eos),
        cmocka_unit_test(test_ignore_merges),
        cmocka_unit_test(test_end_of_generation),
        cmocka_unit_test(test_phi3),
        cmocka_unit_test(test_spm_merges),
        cmocka_unit_test(test_gemma4),
        cmocka_unit_test(test_pieces),
        cmocka_unit_test(test_decode),
        cmocka_unit_test(test_stream_whole),
        cmocka_unit_test(test_stream_invalid),
        cmocka_unit_test(test_long_lines),
        cmocka_unit_test(test_megabyte),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_refused_kinds),
        cmocka_unit_test(test_too_long),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
