/*
 * test_tok_origin.c: tok_encode_origin(): control tokens come from the template's bytes alone,
 * whatever the data hold; where they hold nothing of the kind, the ids are those of the plain text.
 */
#include "tests/unit/tok_make.h"

#include <stdbool.h>
#include <time.h>

#define TOY "tests/data/tok/"
#define PIECES_MAX 16
#define TEXT_BYTES 512

static const char *const vocabs[][2] = {
    {TOY "bpe.gguf", NULL},     {TOY "bpe.gguf", "llama-bpe"}, {TOY "bpe.gguf", "deepseek-llm"},
    {TOY "bpe.gguf", "tekken"}, {TOY "spm.gguf", NULL},        {TOY "spm_noprefix.gguf", NULL},
};
#define N_VOCAB (sizeof vocabs / sizeof *vocabs)

/* ---- texts with an origin -------------------------------------------------------------------- */

struct mixed {
    char s[TEXT_BYTES];
    struct origin_span data[PIECES_MAX];
    struct origin_text text;
};

static void add(struct mixed *m, bool is_data, const char *s, size_t n)
{
    struct origin_text *t = &m->text;
    t->s = m->s;
    t->data = m->data;
    assert_true(t->n + n <= TEXT_BYTES);
    memcpy(m->s + t->n, s, n);
    struct origin_span *last = t->n_data ? &m->data[t->n_data - 1] : NULL;
    if (is_data && n && last && last->at + last->n == t->n) {
        last->n += n;
    } else if (is_data && n) {
        assert_true(t->n_data < PIECES_MAX);
        m->data[t->n_data++] = (struct origin_span){.at = t->n, .n = n};
    }
    t->n += n;
}

/* "own|data|own|...", each part may be empty. */
static struct mixed *mix(struct mixed *m, const char *parts)
{
    *m = (struct mixed){0};
    bool is_data = false;
    for (const char *s = parts;; is_data = !is_data) {
        const size_t n = strcspn(s, "|");
        add(m, is_data, s, n);
        if (!s[n]) return m;
        s += n + 1;
    }
}

static size_t encode(const struct tok *t, const struct mixed *m, unsigned flags, uint32_t **ids)
{
    size_t n;
    if (tok_encode_origin(t, &m->text, flags, ids, &n)) fail_msg("%s", err_msg());
    return n;
}

static void check_mixed(const struct tok *t, const char *parts, unsigned flags,
                        const uint32_t *want, size_t n_want)
{
    struct mixed m;
    uint32_t *ids;
    const size_t n = encode(t, mix(&m, parts), flags, &ids);
    for (size_t i = 0; i < n && i < n_want; i++) {
        if (ids[i] != want[i])
            fail_msg("\"%s\": token %zu is %u, expected %u", parts, i, ids[i], want[i]);
    }
    if (n != n_want) fail_msg("\"%s\": %zu tokens, expected %zu", parts, n, n_want);
    mem_free(ids);
}

#define CHECK_MIXED(t, parts, flags, ...)                                                          \
    do {                                                                                           \
        const uint32_t want_[] = {__VA_ARGS__};                                                    \
        check_mixed(t, parts, flags, want_, sizeof want_ / sizeof *want_);                         \
    } while (0)

/* ---- one by one ------------------------------------------------------------------------------ */

static const struct item letters[] = {
    {"a", 1, 0}, {"b", 1, 0},   {"c", 1, 0}, {"<s>", 3, 0}, {"</s>", 3, 0},  {"ab", 1, 0},
    {"Ġ", 1, 0}, {"<x>", 4, 0}, {"<", 1, 0}, {">", 1, 0},   {"s>ab", 4, 0},  {"s", 1, 0},
    {"x", 1, 0}, {"/", 1, 0},   {"-", 1, 0}, {"<u>", 2, 0}, {"<end>", 4, 0}, {"e", 1, 0},
    {"n", 1, 0}, {"d", 1, 0},   {"u", 1, 0},
};
enum { A, B, C, BOS, EOS, AB, G, UX, LT, GT, USAB, S, X, SL, MINUS, UNK, END, E, N, D, U };

static struct recipe letters_recipe(void)
{
    static const char *const merges[] = {"a b"};
    return (struct recipe){.model = "gpt2",
                           .pre = "gpt-2",
                           .items = letters,
                           .n_item = sizeof letters / sizeof *letters,
                           .merges = merges,
                           .n_merge = 1,
                           .u32_key = {"tokenizer.ggml.bos_token_id", "tokenizer.ggml.eos_token_id",
                                       "tokenizer.ggml.eot_token_id"},
                           .u32 = {BOS, EOS, END}};
}

static void test_control(void **state)
{
    (void)state;
    const struct recipe r = letters_recipe();
    const struct made m = must_make(&r);
    const struct tok *t = m.v.t;
    CHECK_MIXED(t, "", 0, );
    CHECK_MIXED(t, "<s>", 0, BOS);
    CHECK_MIXED(t, "|<s>", 0, LT, S, GT);
    CHECK_MIXED(t, "<s>|<s>|</s>", 0, BOS, LT, S, GT, EOS);
    CHECK_MIXED(t, "|<s>|<s>|<s>", 0, LT, S, GT, BOS, LT, S, GT);
    /* Half and half is neither. */
    CHECK_MIXED(t, "<|s>", 0, LT, S, GT);
    CHECK_MIXED(t, "<s|>", 0, LT, S, GT);
    CHECK_MIXED(t, "<|s|>", 0, LT, S, GT);
    CHECK_MIXED(t, "|<|s>", 0, LT, S, GT);
    CHECK_MIXED(t, "<s|>|<s>", 0, LT, S, GT, BOS);
    /* Unknown tokens are no text either, and what ends a turn is not, whatever its type. */
    CHECK_MIXED(t, "<u>|<u>", 0, UNK, LT, U, GT);
    CHECK_MIXED(t, "<end>|<end>", 0, END, LT, E, N, D, GT);
    /* User-defined tokens are found everywhere, across the end of data, too. */
    CHECK_MIXED(t, "<x>|<x>", 0, UX, UX);
    CHECK_MIXED(t, "<|x>", 0, UX);
    CHECK_MIXED(t, "<x|>", 0, UX);
    CHECK_MIXED(t, "|<|x|>", 0, UX);
    /* Words are merged across it. */
    CHECK_MIXED(t, "a|b", 0, AB);
    CHECK_MIXED(t, "|a|b", 0, AB);
    CHECK_MIXED(t, "a|bc", 0, AB, C);
    unmake(m);
}

/* "s>ab" is longer than "<s>" and would break it; data must not be able to do that. */
static void test_no_breaking(void **state)
{
    (void)state;
    const struct recipe r = letters_recipe();
    const struct made m = must_make(&r);
    const struct tok *t = m.v.t;
    CHECK(t, "<s>ab", TOK_SPECIAL, LT, USAB);
    CHECK_MIXED(t, "<s>ab", 0, LT, USAB);
    CHECK_MIXED(t, "<s>|ab", 0, BOS, AB);
    CHECK_MIXED(t, "<s>a|b", 0, BOS, AB);
    CHECK_MIXED(t, "<|s>ab", 0, LT, USAB);
    CHECK_MIXED(t, "|<s>ab", 0, LT, USAB);
    CHECK_MIXED(t, "-s|>ab", 0, MINUS, USAB);
    unmake(m);
}

static void test_bos(void **state)
{
    (void)state;
    struct recipe r = letters_recipe();
    struct made m = must_make(&r);
    CHECK_MIXED(m.v.t, "a", TOK_BOS, A);
    unmake(m);
    r.true_key = "tokenizer.ggml.add_bos_token";
    m = must_make(&r);
    CHECK_MIXED(m.v.t, "a", TOK_BOS, BOS, A);
    CHECK_MIXED(m.v.t, "a", 0, A);
    CHECK_MIXED(m.v.t, "", TOK_BOS, BOS);
    CHECK_MIXED(m.v.t, "<s>a", TOK_BOS, BOS, A); /* the template wrote it */
    CHECK_MIXED(m.v.t, "|<s>a", TOK_BOS, BOS, LT, S, GT, A);
    CHECK_MIXED(m.v.t, "<s>|<s>", TOK_BOS, BOS, LT, S, GT);
    unmake(m);
    r.true_key = "tokenizer.ggml.add_eos_token"; /* not before an answer */
    m = must_make(&r);
    CHECK(m.v.t, "a", TOK_BOS, A, EOS);
    CHECK_MIXED(m.v.t, "a", TOK_BOS, A);
    unmake(m);
}

/* phi-3's special tokens swallow white space; data keep theirs only where plain text would. */
static void test_phi3(void **state)
{
    (void)state;
    static const struct item items[] = {{"<unk>", 2, 0},    {"<s>", 3, 0}, {"</s>", 3, 0},
                                        {"▁", 1, -1},       {"a", 1, -2},  {"▁a", 1, -3},
                                        {"<|user|>", 3, 0}, {"▁▁", 1, -4}};
    const struct recipe r = {.model = "llama", .name = "phi-3", .items = items, .n_item = 8};
    const struct made m = must_make(&r);
    struct mixed x = {0};
    add(&x, false, "<|user|> ", 9);
    add(&x, true, " a", 2);
    uint32_t *ids;
    assert_int_equal(encode(m.v.t, &x, 0, &ids), 2);
    assert_int_equal(ids[0], 6);
    assert_int_equal(ids[1], 5);
    mem_free(ids);
    unmake(m);
}

/* ---- at random ------------------------------------------------------------------------------- */

static uint32_t next_random(uint32_t *x)
{
    *x = *x * 1664525u + 1013904223u;
    return *x >> 8;
}

/* What templates write; data add parts of it. */
static const char *const own_pieces[] = {
    "<s>",    "</s>", "<|im_end|>", "<|endoftext|>", "[INST]", "[/INST]",    "\n", " ",
    "user\n", "user", "hello",      "assistant",     "a",      "<|im_start", "  ", ": "};
static const char *const hostile[] = {
    "<s>", "</s>", "<|im_end|>", "<|endoftext|>", "[INST]", "<|", "im_end", "|>", ">",
    "s>",  "<",    "|",          "_end|>",        "[INS",   "/s>"};
static const char *const harmless[] = {"hello", " world", "\n",   "  ",   "42", "é",
                                       "日本",  "a",      "!",    ".",    "\t", "x",
                                       "\xff",  "user",   "The ", "\xe2", "\r", "🦙"};

#define PICK(list, x) list[next_random(x) % (sizeof list / sizeof *list)]

static void random_mixed(uint32_t *x, struct mixed *m, bool with_hostile)
{
    *m = (struct mixed){0};
    const size_t n_piece = next_random(x) % PIECES_MAX;
    for (size_t i = 0; i < n_piece; i++) {
        const bool is_data = next_random(x) % 2;
        const bool is_bad = with_hostile && next_random(x) % 3;
        const char *const s = !is_data ? PICK(own_pieces, x)
                              : is_bad ? PICK(hostile, x)
                                       : PICK(harmless, x);
        add(m, is_data, s, strlen(s));
    }
}

/* Data without control text: the same ids as the plain text, with control tokens parsed. */
static void test_same_as_plain(void **state)
{
    (void)state;
    uint32_t x = 7;
    for (size_t k = 0; k < N_VOCAB; k++) {
        const struct vocab v = vocab_open(vocabs[k][0], vocabs[k][1]);
        for (int i = 0; i < 2000; i++) {
            struct mixed m;
            uint32_t *ids;
            random_mixed(&x, &m, false);
            const size_t n = encode(v.t, &m, 0, &ids);
            check_ids(v.t, vocabs[k][0], m.s, m.text.n, TOK_SPECIAL, ids, n);
            mem_free(ids);
        }
        vocab_close(v);
    }
}

/* Nothing is data, or all is. */
static void test_pure(void **state)
{
    (void)state;
    uint32_t x = 11;
    for (size_t k = 0; k < N_VOCAB; k++) {
        const struct vocab v = vocab_open(vocabs[k][0], vocabs[k][1]);
        for (int i = 0; i < 1000; i++) {
            struct mixed m;
            uint32_t *ids;
            random_mixed(&x, &m, true);
            m.text.n_data = 0;
            size_t n = encode(v.t, &m, 0, &ids);
            check_ids(v.t, vocabs[k][0], m.s, m.text.n, TOK_SPECIAL, ids, n);
            mem_free(ids);
            m.data[0] = (struct origin_span){.at = 0, .n = m.text.n};
            m.text.n_data = m.text.n > 0;
            n = encode(v.t, &m, 0, &ids);
            check_ids(v.t, vocabs[k][0], m.s, m.text.n, 0, ids, n);
            mem_free(ids);
        }
        vocab_close(v);
    }
}

/* The control tokens of a prompt, in order, and the text between them. */
static size_t control_ids(const struct tok *t, const struct mixed *m, uint32_t *control,
                          size_t n_max)
{
    uint32_t *ids;
    size_t n_control = 0;
    const size_t n = encode(t, m, 0, &ids);
    for (size_t i = 0; i < n; i++) {
        if (!tok_is_control(t, ids[i])) continue;
        assert_true(n_control < n_max);
        control[n_control++] = ids[i];
    }
    mem_free(ids);
    return n_control;
}

/* Whatever the data hold, the control tokens are those that stand in the rest alone. */
static void test_hostile(void **state)
{
    (void)state;
    uint32_t x = 13;
    size_t n_total = 0;
    for (size_t k = 0; k < N_VOCAB; k++) {
        const struct vocab v = vocab_open(vocabs[k][0], vocabs[k][1]);
        for (int i = 0; i < 2000; i++) {
            struct mixed m;
            uint32_t with[64], without[64];
            random_mixed(&x, &m, true);
            const size_t n = control_ids(v.t, &m, with, 64);
            for (size_t j = 0; j < m.text.n_data; j++) memset(m.s + m.data[j].at, 'x', m.data[j].n);
            assert_int_equal(control_ids(v.t, &m, without, 64), n);
            assert_memory_equal(with, without, n * sizeof *with);
            n_total += n;
        }
        vocab_close(v);
    }
    assert_true(n_total > 1000);
}

/* Ids of a prompt give its text again. */
static void test_back(void **state)
{
    (void)state;
    uint32_t x = 17;
    for (size_t k = 0; k < N_VOCAB; k++) {
        const struct vocab v = vocab_open(vocabs[k][0], vocabs[k][1]);
        for (int i = 0; i < 1000; i++) {
            struct mixed m;
            uint32_t *ids;
            char *back;
            size_t n_back;
            random_mixed(&x, &m, true);
            const size_t n = encode(v.t, &m, 0, &ids);
            assert_int_equal(tok_decode(v.t, ids, n, &back, &n_back), OK);
            assert_int_equal(n_back, m.text.n);
            assert_memory_equal(back, m.s, n_back);
            mem_free(back);
            mem_free(ids);
        }
        vocab_close(v);
    }
}

/* ---- cost and failures ----------------------------------------------------------------------- */

#ifdef __SANITIZE_ADDRESS__
#define SLOWER 10
#else
#define SLOWER 1
#endif

/* 200,000 spans of data in 1.4 MB. */
static void test_many_spans(void **state)
{
    (void)state;
    enum { N_SPAN = 200000 };
    struct origin_text t = {.n = 7 * (size_t)N_SPAN, .n_data = N_SPAN};
    t.s = mem_alloc(MEM_MISC, t.n + 1);
    t.data = mem_alloc_array(MEM_MISC, N_SPAN, sizeof *t.data);
    assert_true(t.s && t.data);
    for (size_t i = 0; i < N_SPAN; i++) {
        memcpy(t.s + 7 * i, "<s></s>", 7);
        t.data[i] = (struct origin_span){.at = 7 * i + 3, .n = 4};
    }
    const struct vocab v = vocab_open(TOY "spm.gguf", NULL);
    uint32_t *ids;
    size_t n, n_bos = 0, n_eos = 0;
    const clock_t start = clock();
    if (tok_encode_origin(v.t, &t, 0, &ids, &n)) fail_msg("%s", err_msg());
    const double seconds = (double)(clock() - start) / CLOCKS_PER_SEC;
    for (size_t i = 0; i < n; i++) {
        n_bos += ids[i] == tok_bos(v.t);
        n_eos += ids[i] == tok_eos(v.t);
    }
    assert_int_equal(n_bos, N_SPAN);
    assert_int_equal(n_eos, 0);
    print_message("# %.2f s\n", seconds);
    assert_true(seconds < 2 * SLOWER);
    mem_free(ids);
    mem_free(t.s);
    mem_free(t.data);
    vocab_close(v);
}

static void test_no_memory(void **state)
{
    (void)state;
    const struct vocab v = vocab_open(TOY "spm.gguf", NULL);
    const size_t n_used = mem_used(MEM_TOK);
    struct mixed m;
    mix(&m, "<s>[INST] |hello </s> [INST]| [/INST]</s>|world");
    enum err err = ERR_MEMORY;
    uint64_t at = 1;
    for (; err; at++) {
        uint32_t *ids = NULL;
        size_t n;
        mem_fail_at(at);
        err = tok_encode_origin(v.t, &m.text, TOK_BOS, &ids, &n);
        mem_fail_at(0);
        if (err) assert_int_equal(err, ERR_MEMORY);
        mem_free(ids);
        assert_int_equal(mem_used(MEM_TOK), n_used);
        assert_true(at < 100);
    }
    assert_true(at > 5);
    vocab_close(v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_control),       cmocka_unit_test(test_no_breaking),
        cmocka_unit_test(test_bos),           cmocka_unit_test(test_phi3),
        cmocka_unit_test(test_same_as_plain), cmocka_unit_test(test_pure),
        cmocka_unit_test(test_hostile),       cmocka_unit_test(test_back),
        cmocka_unit_test(test_many_spans),    cmocka_unit_test(test_no_memory),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
