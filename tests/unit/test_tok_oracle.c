/*
 * test_tok_oracle.c: token ids against llama.cpp's, on real vocabularies.
 *
 * Reads ../shared (see its README): vocabularies with texts and ids that llama.cpp's own tests use
 * (.inp / .out), and the ids that llama.cpp gave for the texts of golden/. Skipped where that
 * folder is not. llama-bpe and qwen2 lie there as token lists; GGUF files are made from them in
 * memory.
 */
#include "gguf/gguf_write.h"
#include "tests/unit/tok_check.h"

#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

#define DATA "../shared/data/tokenizer/"
#define GOLDEN "../shared/golden/_tokenizer/"
#define TOY "../shared/golden/_tokenizer_toy/"
#define SEPARATOR "\n__ggml_vocab_test__\n"

static void need(const char *path)
{
    if (access(path, R_OK) != 0) skip(); /* no ../shared */
}

/* ---- .inp and .out --------------------------------------------------------------------------- */

/* A line of decimal ids. */
static size_t parse_line(char **line, uint32_t *ids, size_t n_max)
{
    size_t n = 0;
    char *s = *line;
    while (*s && *s != '\n') {
        char *end;
        const unsigned long id = strtoul(s, &end, 10);
        if (end == s) break;
        assert_true(n < n_max);
        ids[n++] = (uint32_t)id;
        s = end;
    }
    *line = *s == '\n' ? s + 1 : s + strlen(s);
    return n;
}

static void check_inp_out(const struct tok *t, const char *base)
{
    char path[256];
    size_t n_inp, n_out, n_text = 0;
    snprintf(path, sizeof path, DATA "%s.inp", base);
    char *inp = read_text(path, &n_inp);
    snprintf(path, sizeof path, DATA "%s.out", base);
    char *out = read_text(path, &n_out), *line = out;
    for (char *text = inp, *end; text; text = end ? end + strlen(SEPARATOR) : NULL) {
        end = strstr(text, SEPARATOR);
        const size_t n_bytes = end ? (size_t)(end - text) : strlen(text);
        if (!end && n_bytes == 0) break;
        uint32_t ids[2048];
        const size_t n = parse_line(&line, ids, 2048);
        check_ids(t, base, text, n_bytes, 0, ids, n);
        check_back(t, base, text, n_bytes);
        n_text++;
    }
    assert_in_range(n_text, 46, 60);
    mem_free(inp);
    mem_free(out);
}

/* ---- vocabularies that are there ------------------------------------------------------------- */

static void test_inp_out(void **state)
{
    (void)state;
    need(DATA "ggml-vocab-gpt-2.gguf");
    static const char *const names[] = {"deepseek-coder", "deepseek-llm", "falcon",
                                        "gpt-2",          "llama-spm",    "mpt",
                                        "phi-3",          "refact",       "starcoder"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[256], base[128];
        snprintf(base, sizeof base, "ggml-vocab-%s.gguf", names[i]);
        snprintf(path, sizeof path, DATA "%s", base);
        const struct vocab v = vocab_open(path, NULL);
        check_inp_out(v.t, base);
        vocab_close(v);
    }
}

/* OLMo has GPT-NeoX's tokens and a pre-tokeniser of its own. */
static void test_olmo(void **state)
{
    (void)state;
    need(DATA "ggml-vocab-gpt-neox.gguf");
    const struct vocab v = vocab_open(DATA "ggml-vocab-gpt-neox.gguf", "olmo");
    check_inp_out(v.t, "history/ggml-vocab-olmo.gguf");
    vocab_close(v);
}

static void test_golden(void **state)
{
    (void)state;
    need(GOLDEN "text.txt");
    size_t n;
    char *text = read_text(GOLDEN "text.txt", &n);
    static const char *const names[] = {"baichuan", "deepseek-coder", "deepseek-llm", "falcon",
                                        "gpt-2",    "gpt-neox",       "llama-spm",    "mpt",
                                        "phi-3",    "refact",         "starcoder"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[256];
        snprintf(path, sizeof path, GOLDEN "%s.json", names[i]);
        json_t *j = read_json(path);
        snprintf(path, sizeof path, DATA "ggml-vocab-%s.gguf", names[i]);
        const struct vocab v = vocab_open(path, NULL);
        assert_int_equal(tok_n_vocab(v.t), json_integer_value(json_object_get(j, "n_vocab")));
        check_json(v.t, names[i], text, n, 0, json_object_get(j, "no_bos_no_special"));
        check_json(v.t, names[i], text, n, TOK_SPECIAL, json_object_get(j, "no_bos_special"));
        check_json(v.t, names[i], "", 0, TOK_BOS, json_object_get(j, "bos_prefix"));
        vocab_close(v);
        json_decref(j);
    }
    mem_free(text);
}

static void test_pretokenisers(void **state)
{
    (void)state;
    need(GOLDEN "text.txt");
    size_t n, i, k;
    char *text = read_text(GOLDEN "text.txt", &n);
    json_t *j = read_json(GOLDEN "pretokenizers_on_gpt2_vocab.json"), *group, *name;
    json_array_foreach(json_object_get(j, "same_ids_groups"), i, group)
    {
        const char *first = json_string_value(json_array_get(group, 0));
        json_array_foreach(group, k, name)
        {
            const char *pre = json_string_value(name);
            const struct vocab v = vocab_open(DATA "ggml-vocab-gpt-2.gguf", pre);
            check_json(v.t, pre, text, n, 0, json_object_get(json_object_get(j, "ids"), first));
            check_back(v.t, pre, text, n);
            vocab_close(v);
        }
    }
    json_decref(j);
    mem_free(text);
}

static void test_llama2_prompts(void **state)
{
    (void)state;
    need(DATA "llama2_spm_prompt_encodings.json");
    json_t *j = read_json(DATA "llama2_spm_prompt_encodings.json"), *item;
    const struct vocab v = vocab_open(DATA "ggml-vocab-llama-spm.gguf", NULL);
    size_t i;
    json_array_foreach(json_object_get(j, "cases"), i, item)
    {
        const char *text = json_string_value(json_array_get(item, 0));
        check_json(v.t, "llama 2", text, strlen(text), TOK_BOS, json_array_get(item, 1));
    }
    assert_in_range(i, 5, 5);
    vocab_close(v);
    json_decref(j);
}

/* ---- vocabularies made from token lists ------------------------------------------------------ */

struct strings { /* views into texts that live elsewhere */
    struct gguf_str *v;
    size_t n, cap;
};

static void add_string(struct strings *l, const char *s, size_t n)
{
    if (l->n == l->cap) {
        l->cap = l->cap ? 2 * l->cap : 1024;
        l->v = mem_realloc(MEM_MISC, l->v, l->cap * sizeof *l->v);
        assert_non_null(l->v);
    }
    l->v[l->n++] = (struct gguf_str){.s = s, .n = n};
}

/* A gpt2 vocabulary of tokens and merges, opened; *image to be freed after closing it. */
static struct vocab make_vocab(const struct strings *tokens, const struct strings *merges,
                               const char *pre, uint8_t **image)
{
    struct gguf_writer *w;
    size_t n;
    assert_int_equal(gguf_write_open(&w, 0), OK);
    gguf_write_str(w, "tokenizer.ggml.model", "gpt2");
    gguf_write_str(w, "tokenizer.ggml.pre", pre);
    gguf_write_arr_str(w, "tokenizer.ggml.tokens", tokens->v, tokens->n);
    gguf_write_arr_str(w, "tokenizer.ggml.merges", merges->v, merges->n);
    assert_int_equal(gguf_write_image(w, image, &n), OK);
    gguf_write_close(w);
    struct vocab v;
    if (gguf_open_mem(&v.g, *image, n, pre)) fail_msg("%s", err_msg());
    if (tok_open(&v.t, v.g, NULL)) fail_msg("%s", err_msg());
    return v;
}

static void check_made(const struct strings *tokens, const struct strings *merges, const char *pre,
                       const char *base)
{
    uint8_t *image;
    const struct vocab v = make_vocab(tokens, merges, pre, &image);
    check_inp_out(v.t, base);
    vocab_close(v);
    mem_free(image);
}

static void test_llama_bpe(void **state)
{
    (void)state;
    need(DATA "llama3/encoder.json");
    json_t *j = read_json(DATA "llama3/encoder.json"), *id;
    struct strings tokens = {0}, merges = {0};
    const size_t n_token = json_object_size(j);
    for (size_t i = 0; i < n_token; i++) add_string(&tokens, "", 0);
    const char *key;
    json_object_foreach(j, key, id)
    {
        const size_t i = (size_t)json_integer_value(id);
        assert_true(i < n_token);
        tokens.v[i] = (struct gguf_str){.s = key, .n = strlen(key)};
    }
    size_t n;
    char *text = read_text(DATA "llama3/vocab.bpe", &n);
    for (char *s = text, *end; (end = strchr(s, '\n')) || *s; s = end ? end + 1 : s + strlen(s))
        add_string(&merges, s, end ? (size_t)(end - s) : strlen(s));
    check_made(&tokens, &merges, "llama-bpe", "ggml-vocab-llama-bpe.gguf");
    check_made(&tokens, &merges, "smaug-bpe", "history/ggml-vocab-smaug-bpe.gguf");
    mem_free(tokens.v);
    mem_free(merges.v);
    mem_free(text);
    json_decref(j);
}

/* ---- a tiktoken list: base64 tokens in the order of their ranks ------------------------------ */

static size_t base64(const char *s, size_t n, uint8_t *out)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint32_t bits = 0;
    size_t n_out = 0, n_bits = 0;
    for (size_t i = 0; i < n && s[i] != '='; i++) {
        const char *d = strchr(digits, s[i]);
        assert_non_null(d);
        bits = bits << 6 | (uint32_t)(d - digits);
        n_bits += 6;
        if (n_bits < 8) continue;
        n_bits -= 8;
        out[n_out++] = (uint8_t)(bits >> n_bits);
    }
    return n_out;
}

/* GPT-2's way to write bytes as characters; written out here since it is what is being tested. */
static size_t byte_level(const uint8_t *bytes, size_t n, char *out)
{
    size_t n_out = 0;
    for (size_t i = 0; i < n; i++) {
        unsigned c = bytes[i], k = 0;
        for (unsigned b = 0; b <= bytes[i]; b++) {
            const bool own = (b > 32 && b < 127) || (b > 160 && b != 173);
            if (b == bytes[i] && !own) c = 256 + k;
            k += !own;
        }
        if (c < 128) {
            out[n_out++] = (char)c;
        } else {
            out[n_out++] = (char)(0xc0 | c >> 6);
            out[n_out++] = (char)(0x80 | (c & 63));
        }
    }
    return n_out;
}

static int64_t rank_of(const json_t *ranks, const char *s, size_t n)
{
    const json_t *id = json_object_getn(ranks, s, n);
    return id ? json_integer_value(id) : INT64_MAX;
}

/* The two parts that a token is merged from: BPE with lower ranks only, down to two. Returns the
 * bytes of the left one; 0 for a single byte. */
static size_t split_token(const json_t *ranks, const char *s, size_t n, int64_t rank)
{
    size_t at[512], n_part = 0; /* starts of the parts, and the end */
    for (size_t i = 0; i < n; i++) {
        if (((uint8_t)s[i] & 0xc0) != 0x80) at[n_part++] = i;
    }
    at[n_part] = n;
    while (n_part > 2) {
        int64_t best = INT64_MAX;
        size_t k = 0;
        for (size_t i = 0; i + 2 <= n_part; i++) {
            const int64_t r = rank_of(ranks, s + at[i], at[i + 2] - at[i]);
            if (r < best) k = i;
            if (r < best) best = r;
        }
        assert_true(best < rank);
        memmove(at + k + 1, at + k + 2, (n_part - k - 1) * sizeof *at);
        n_part--;
    }
    return n_part == 2 ? at[1] : 0;
}

static void test_qwen2(void **state)
{
    (void)state;
    need(DATA "qwen2/qwen.tiktoken");
    size_t n;
    char *text = read_text(DATA "qwen2/qwen.tiktoken", &n);
    char *pool = mem_alloc(MEM_MISC, 8 * n), *top = pool; /* texts of tokens and merges */
    struct strings tokens = {0}, merges = {0};
    json_t *ranks = json_object();
    for (char *s = text, *end; (end = strchr(s, ' ')); s = strchr(end, '\n') + 1) {
        uint8_t bytes[512];
        const size_t n_bytes = base64(s, (size_t)(end - s), bytes);
        const size_t n_text = byte_level(bytes, n_bytes, top);
        assert_int_equal(strtoul(end, NULL, 10), tokens.n);
        json_object_setn_new(ranks, top, n_text, json_integer((json_int_t)tokens.n));
        add_string(&tokens, top, n_text);
        top += n_text;
    }
    for (size_t i = 0; i < tokens.n; i++) {
        const struct gguf_str tok = tokens.v[i];
        const size_t n_left = split_token(ranks, tok.s, tok.n, (int64_t)i);
        if (n_left == 0) continue;
        memcpy(top, tok.s, n_left);
        top[n_left] = ' ';
        memcpy(top + n_left + 1, tok.s + n_left, tok.n - n_left);
        add_string(&merges, top, tok.n + 1);
        top += tok.n + 1;
    }
    check_made(&tokens, &merges, "qwen2", "ggml-vocab-qwen2.gguf");
    check_made(&tokens, &merges, "deepseek-r1-qwen", "history/ggml-vocab-deepseek-r1-qwen.gguf");
    json_decref(ranks);
    mem_free(tokens.v);
    mem_free(merges.v);
    mem_free(pool);
    mem_free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_inp_out),        cmocka_unit_test(test_olmo),
        cmocka_unit_test(test_golden),         cmocka_unit_test(test_pretokenisers),
        cmocka_unit_test(test_llama2_prompts), cmocka_unit_test(test_llama_bpe),
        cmocka_unit_test(test_qwen2),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
