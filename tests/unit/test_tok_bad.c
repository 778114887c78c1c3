/*
 * test_tok_bad.c: token tables that contradict themselves (rows 21 to 25 of the list of corruptions
 * that the GGUF tests follow): ERR_INPUT, a message that names file and key, nothing left behind.
 */
#include "base/limits.h"
#include "base/mem.h"
#include "gguf/gguf.h"
#include "gguf/gguf_write.h"
#include "text/tok.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define TOKENS "tokenizer.ggml.tokens"
#define SCORES "tokenizer.ggml.scores"
#define TYPES "tokenizer.ggml.token_type"
#define MERGES "tokenizer.ggml.merges"
#define BOS "tokenizer.ggml.bos_token_id"

/* ---- a vocabulary to break ------------------------------------------------------------------- */

enum { N_TOKEN = 6, N_MERGE = 2 };

struct tables {
    struct gguf_str token[N_TOKEN], merge[N_MERGE];
    float score[N_TOKEN];
    int32_t type[N_TOKEN];
    size_t n_token, n_score, n_type, n_merge;
    const char *skip; /* key that is left out */
};

static const struct tables good = {
    .token = {{"<unk>", 5}, {"<0x41>", 6}, {"a", 1}, {"b", 1}, {"ab", 2}, {"<s>", 3}},
    .merge = {{"a b", 3}, {"a b", 3}}, /* twice: the first one counts */
    .score = {0, 0, -1, -2, -3, 0},
    .type = {2, 6, 1, 1, 1, 3},
    .n_token = N_TOKEN,
    .n_score = N_TOKEN,
    .n_type = N_TOKEN,
    .n_merge = N_MERGE,
};

typedef void change_fn(struct gguf_writer *w);

struct file {
    uint8_t *image;
    size_t n_bytes;
    struct gguf *g;
};

/* The tables as a file; add: keys that it gets besides. */
static struct file make(const char *model, const struct tables *t, change_fn *add)
{
    struct file f;
    struct gguf_writer *w;
    assert_int_equal(gguf_write_open(&w, 0), OK);
    gguf_write_str(w, "tokenizer.ggml.model", model);
    const char *skip = t->skip ? t->skip : "";
    if (strcmp(skip, TOKENS) != 0) gguf_write_arr_str(w, TOKENS, t->token, t->n_token);
    if (strcmp(skip, SCORES) != 0) gguf_write_arr_f32(w, SCORES, t->score, t->n_score);
    if (strcmp(skip, TYPES) != 0) gguf_write_arr_i32(w, TYPES, t->type, t->n_type);
    if (strcmp(skip, MERGES) != 0) gguf_write_arr_str(w, MERGES, t->merge, t->n_merge);
    if (add) add(w);
    assert_int_equal(gguf_write_image(w, &f.image, &f.n_bytes), OK);
    gguf_write_close(w);
    if (gguf_open_mem(&f.g, f.image, f.n_bytes, "bad.gguf")) fail_msg("%s", err_msg());
    return f;
}

static void drop(struct file f)
{
    gguf_close(f.g);
    mem_free(f.image);
}

/* Refused, with the key and the value in the message. */
static void refused(const char *model, const struct tables *t, change_fn *add, const char *key,
                    const char *found)
{
    const struct file f = make(model, t, add);
    struct tok *tok = (struct tok *)&tok;
    const enum err err = tok_open(&tok, f.g, NULL);
    if (err != ERR_INPUT) fail_msg("%s %s: error code %d, expected a refusal", model, key, err);
    assert_null(tok);
    if (strncmp(err_msg(), "bad.gguf: ", 10) != 0) fail_msg("no file in \"%s\"", err_msg());
    if (!strstr(err_msg(), key)) fail_msg("no '%s' in \"%s\"", key, err_msg());
    if (!strstr(err_msg(), found)) fail_msg("no '%s' in \"%s\"", found, err_msg());
    drop(f);
    assert_int_equal(mem_used(MEM_TOK), 0);
}

static void refused_by_all(const struct tables *t, change_fn *add, const char *key,
                           const char *found)
{
    refused("llama", t, add, key, found);
    refused("gpt2", t, add, key, found);
    refused("gemma4", t, add, key, found);
}

/* Opened, and still good enough to encode and decode. */
static void accepted(const char *model, const struct tables *t, change_fn *add)
{
    const struct file f = make(model, t, add);
    struct tok *tok;
    uint32_t *ids;
    size_t n, n_text;
    char *text;
    if (tok_open(&tok, f.g, NULL)) fail_msg("%s: %s", model, err_msg());
    static const char some[] = "ab b\xff<s> A\0a\n";
    assert_int_equal(tok_encode(tok, some, sizeof some - 1, TOK_BOS | TOK_SPECIAL, &ids, &n), OK);
    for (size_t i = 0; i < n; i++) assert_true(ids[i] < tok_n_vocab(tok));
    assert_int_equal(tok_decode(tok, ids, n, &text, &n_text), OK);
    mem_free(ids);
    mem_free(text);
    tok_close(tok);
    drop(f);
    assert_int_equal(mem_used(MEM_TOK), 0);
}

/* ---- keys in the place of those that were left out ------------------------------------------- */

static void tokens_i32(struct gguf_writer *w)
{
    gguf_write_arr_i32(w, TOKENS, good.type, N_TOKEN);
}

static void tokens_str(struct gguf_writer *w)
{
    gguf_write_str(w, TOKENS, "a");
}

static void raw_array(struct gguf_writer *w, const char *key, enum gguf_type elem, size_t each)
{
    static const uint8_t zeros[8 * N_TOKEN] = {0};
    const struct gguf_kv kv = {.key = {key, strlen(key)},
                               .type = GGUF_ARR,
                               .elem = elem,
                               .n = N_TOKEN,
                               .data = zeros,
                               .n_bytes = each * N_TOKEN};
    gguf_write_kv(w, &kv);
}

static void scores_u8(struct gguf_writer *w)
{
    raw_array(w, SCORES, GGUF_U8, 1);
}

static void scores_f64(struct gguf_writer *w)
{
    raw_array(w, SCORES, GGUF_F64, 8);
}

static void types_u8(struct gguf_writer *w)
{
    raw_array(w, TYPES, GGUF_U8, 1);
}

static void types_u32(struct gguf_writer *w)
{
    gguf_write_u32(w, TYPES, 1);
}

static void merges_i32(struct gguf_writer *w)
{
    gguf_write_arr_i32(w, MERGES, good.type, N_TOKEN);
}

static void bos_is_n(struct gguf_writer *w)
{
    gguf_write_u32(w, BOS, N_TOKEN);
}

static void bos_is_last(struct gguf_writer *w)
{
    gguf_write_u32(w, BOS, N_TOKEN - 1);
}

static void eos_is_minus_1(struct gguf_writer *w)
{
    gguf_write_u32(w, "tokenizer.ggml.eos_token_id", UINT32_MAX);
}

static void unk_is_2_to_31(struct gguf_writer *w)
{
    gguf_write_u32(w, "tokenizer.ggml.unknown_token_id", 1u << 31);
}

static void pad_is_n(struct gguf_writer *w)
{
    gguf_write_u32(w, "tokenizer.ggml.padding_token_id", N_TOKEN);
}

static void eot_is_n(struct gguf_writer *w)
{
    gguf_write_u32(w, "tokenizer.ggml.eot_token_id", N_TOKEN);
}

static void eos_is_str(struct gguf_writer *w)
{
    gguf_write_str(w, "tokenizer.ggml.eos_token_id", "</s>");
}

static void add_bos_is_u32(struct gguf_writer *w)
{
    gguf_write_u32(w, "tokenizer.ggml.add_bos_token", 1);
}

static void pre_is_u32(struct gguf_writer *w)
{
    gguf_write_u32(w, "tokenizer.ggml.pre", 1);
}

static void prefix_is_u32(struct gguf_writer *w)
{
    gguf_write_u32(w, "tokenizer.ggml.add_space_prefix", 1);
}

/* ---- tests ----------------------------------------------------------------------------------- */

static void test_good(void **state)
{
    (void)state;
    accepted("llama", &good, NULL);
    accepted("gpt2", &good, NULL);
    accepted("gemma4", &good, NULL);
    accepted("llama", &good, bos_is_last);
}

static void test_tokens(void **state)
{
    (void)state;
    struct tables t = good;
    t.n_token = t.n_score = t.n_type = 0;
    refused_by_all(&t, NULL, TOKENS, "0 items");
    t = good;
    t.skip = TOKENS;
    refused_by_all(&t, NULL, TOKENS, "missing");
    refused_by_all(&t, tokens_i32, TOKENS, "INT32");
    refused_by_all(&t, tokens_str, TOKENS, "STRING");
    t = good;
    static char long_text[TOKEN_BYTES_MAX + 1];
    memset(long_text, 'x', sizeof long_text);
    t.token[3] = (struct gguf_str){long_text, sizeof long_text};
    refused_by_all(&t, NULL, TOKENS, "[3]");
    t.token[3].n--; /* the longest that is allowed */
    t.n_merge = 0;
    accepted("llama", &t, NULL);
    accepted("gpt2", &t, NULL);
    t = good; /* empty, equal and odd texts do no harm */
    t.n_merge = 0;
    t.token[2] = t.token[5] = (struct gguf_str){"", 0};
    t.token[3] = t.token[4];
    t.token[0] = (struct gguf_str){"\xff\x00 \xe2", 4};
    accepted("llama", &t, NULL);
    accepted("gpt2", &t, NULL);
    accepted("gemma4", &t, NULL);
}

static void test_scores(void **state)
{
    (void)state;
    struct tables t = good;
    t.n_score = N_TOKEN - 1;
    refused_by_all(&t, NULL, SCORES, "5 items, expected 6");
    t.n_score = 0;
    refused_by_all(&t, NULL, SCORES, "0 items");
    static const float bad[] = {NAN, INFINITY, -INFINITY};
    for (size_t i = 0; i < 3; i++) {
        t = good;
        t.score[4] = bad[i];
        refused_by_all(&t, NULL, SCORES "'[4]", i ? "inf" : "nan");
    }
    t = good;
    t.skip = SCORES;
    refused_by_all(&t, scores_u8, SCORES, "UINT8");
    refused_by_all(&t, scores_f64, SCORES, "FLOAT64");
    refused("llama", &t, NULL, SCORES, "missing");
    accepted("gpt2", &t, NULL); /* merges by rank: none needed */
    accepted("gemma4", &t, NULL);
}

static void test_types(void **state)
{
    (void)state;
    struct tables t = good;
    t.n_type = N_TOKEN - 1;
    refused_by_all(&t, NULL, TYPES, "5 items, expected 6");
    t = good;
    t.type[2] = 7;
    refused_by_all(&t, NULL, TYPES "'[2]", "is 7");
    t.type[2] = -1;
    refused_by_all(&t, NULL, TYPES "'[2]", "is -1");
    t = good;
    t.skip = TYPES;
    refused_by_all(&t, types_u8, TYPES, "UINT8");
    refused_by_all(&t, types_u32, TYPES, "UINT32");
    accepted("llama", &t, NULL); /* absent: all normal but the bytes */
    accepted("gpt2", &t, NULL);
}

static void test_special_ids(void **state)
{
    (void)state;
    refused_by_all(&good, bos_is_n, BOS, "is 6");
    refused_by_all(&good, eos_is_minus_1, "eos_token_id", "4294967295");
    refused_by_all(&good, unk_is_2_to_31, "unknown_token_id", "2147483648");
    refused_by_all(&good, pad_is_n, "padding_token_id", "is 6");
    refused_by_all(&good, eot_is_n, "eot_token_id", "is 6");
    refused_by_all(&good, eos_is_str, "eos_token_id", "STRING");
    refused_by_all(&good, add_bos_is_u32, "add_bos_token", "UINT32");
    refused("gpt2", &good, pre_is_u32, "tokenizer.ggml.pre", "UINT32");
    refused("llama", &good, prefix_is_u32, "add_space_prefix", "UINT32");
    struct tables t = good; /* Llama's own ids are only assumed where there are so many */
    t.n_token = t.n_score = t.n_type = 1;
    accepted("llama", &t, NULL);
}

static void test_byte_tokens(void **state)
{
    (void)state;
    static const char *const bad[] = {"<0x-1>", "<0xZZ>", "<0x1>",   "<0x100>", "<0X41>",
                                      "0x41",   "<0x41",  "<0x41> ", "A",       "<0x4G>"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct tables t = good;
        t.token[1] = (struct gguf_str){bad[i], strlen(bad[i])};
        refused("llama", &t, NULL, TOKENS "'[1]", bad[i]);
        refused("gemma4", &t, NULL, TOKENS "'[1]", bad[i]);
        accepted("gpt2", &t, NULL); /* has no byte tokens */
    }
    struct tables t = good;
    t.token[5] = t.token[1];
    t.type[5] = 6;
    refused("llama", &t, NULL, TOKENS "'[5]", "0x41");
    t.token[5] = (struct gguf_str){"<0xfF>", 6}; /* another byte */
    accepted("llama", &t, NULL);
}

static void test_merges(void **state)
{
    (void)state;
    static const char *const bad[] = {"", "a", "ab", "abc", "a ", " b", " "};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct tables t = good;
        t.merge[1] = (struct gguf_str){bad[i], strlen(bad[i])};
        refused("gpt2", &t, NULL, MERGES "'[1]", bad[i]);
        refused("gemma4", &t, NULL, MERGES "'[1]", bad[i]);
        accepted("llama", &t, NULL); /* does not read them */
    }
    struct tables t = good;
    t.skip = MERGES;
    refused("gpt2", &t, merges_i32, MERGES, "INT32");
    accepted("gpt2", &t, NULL); /* single bytes only */
}

static void check_ids(const struct tok *t, const char *text, const uint32_t *want, size_t n_want)
{
    uint32_t *ids;
    size_t n;
    assert_int_equal(tok_encode(t, text, strlen(text), 0, &ids, &n), OK);
    assert_int_equal(n, n_want);
    for (size_t i = 0; i < n; i++) assert_int_equal(ids[i], want[i]);
    mem_free(ids);
}

/* Merges of what is no token, or into what is none, do no harm: the text is still encoded. */
static void test_idle_merges(void **state)
{
    (void)state;
    static const char *const idle[] = {"a b c", "a  b", "x b", " a b", "a b ", "a x", "ab x"};
    for (size_t i = 0; i < sizeof idle / sizeof *idle; i++) {
        struct tables t = good;
        t.merge[1] = (struct gguf_str){idle[i], strlen(idle[i])};
        const struct file f = make("gpt2", &t, NULL);
        struct tok *tok;
        assert_int_equal(tok_open(&tok, f.g, NULL), OK);
        check_ids(tok, "abab", (const uint32_t[]){4, 4}, 2);
        tok_close(tok);
        drop(f);
    }
    struct tables t = good;
    t.merge[1] = (struct gguf_str){"ab a", 4};
    const struct file f = make("gpt2", &t, NULL);
    struct tok *tok;
    assert_int_equal(tok_open(&tok, f.g, NULL), OK);
    check_ids(tok, "aba", (const uint32_t[]){2, 3, 2}, 3); /* "aba" is no token: byte by byte */
    check_ids(tok, "abb", (const uint32_t[]){4, 3}, 2);
    tok_close(tok);
    drop(f);
}

/* Every allocation fails in turn, for each kind: an error and nothing left. */
static void test_memory(void **state)
{
    (void)state;
    static const char *const models[] = {"llama", "gpt2", "gemma4"};
    for (size_t k = 0; k < 3; k++) {
        const struct file f = make(models[k], &good, NULL);
        enum err err = ERR_MEMORY;
        for (uint64_t at = 1; err; at++) {
            struct tok *t;
            mem_fail_at(at);
            err = tok_open(&t, f.g, NULL);
            mem_fail_at(0);
            if (err) assert_int_equal(err, ERR_MEMORY);
            if (!err) tok_close(t);
            assert_int_equal(mem_used(MEM_TOK), 0);
            assert_true(at < 100);
        }
        drop(f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),        cmocka_unit_test(test_tokens),
        cmocka_unit_test(test_scores),      cmocka_unit_test(test_types),
        cmocka_unit_test(test_special_ids), cmocka_unit_test(test_byte_tokens),
        cmocka_unit_test(test_merges),      cmocka_unit_test(test_idle_merges),
        cmocka_unit_test(test_memory),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
