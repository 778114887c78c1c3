/*
 * test_channel.c: answers in gpt-oss's format, token by token, as people read them.
 */
#include "text/channel.h"

#include "tests/unit/tok_make.h"

static struct made vocab;

/* SPM spells everything else in bytes. */
static struct made make_vocab(bool has_channels)
{
    enum { BYTES = 4, HARMONY = BYTES + 256, N_ITEM = HARMONY + 5 };
    static struct item items[N_ITEM] = {
        {"<unk>", 2, 0}, {"<s>", 3, 0}, {"</s>", 3, 0}, {"\xe2\x96\x81", 1, 0}};
    static char byte[256][8];
    static const struct item harmony[] = {{"<|start|>", 3, 0},
                                          {"<|channel|>", 3, 0},
                                          {"<|message|>", 3, 0},
                                          {"<|end|>", 3, 0},
                                          {"<|constrain|>", 3, 0}};
    for (int b = 0; b < 256; b++) {
        snprintf(byte[b], sizeof byte[b], "<0x%02X>", (unsigned)b);
        items[BYTES + b] = (struct item){byte[b], 6, 0};
    }
    for (size_t i = 0; i < 5; i++) items[HARMONY + i] = harmony[i];
    if (!has_channels) items[HARMONY + 1].text = "<|canal|>";
    const struct recipe r = {.model = "llama",
                             .items = items,
                             .n_item = N_ITEM,
                             .false_key = "tokenizer.ggml.add_space_prefix"};
    return must_make(&r);
}

/* What comes out of an answer after a prompt, whose own text is none of it. */
static void read_after(const char *prompt, const char *answer, const char *expected)
{
    const struct tok *const t = vocab.v.t;
    struct channel c;
    struct tok_stream st = {0};
    static char buf[TOK_STREAM_BYTES_MAX];
    char got[512] = "";
    size_t n_got = 0, n, n_prompt;
    uint32_t *ids;
    assert_true(channel_init(&c, t));
    assert_int_equal(tok_encode(t, prompt, strlen(prompt), TOK_SPECIAL, &ids, &n_prompt), OK);
    for (size_t i = 0; i < n_prompt; i++)
        channel_put(&c, ids[i], buf, tok_stream_put(t, &st, ids[i], buf, sizeof buf));
    mem_free(ids);
    assert_int_equal(tok_encode(t, answer, strlen(answer), TOK_SPECIAL, &ids, &n), OK);
    for (size_t i = 0; i < n; i++) {
        const size_t n_new = tok_stream_put(t, &st, ids[i], buf, sizeof buf);
        const size_t n_shown = channel_put(&c, ids[i], buf, n_new);
        assert_true(n_got + n_shown < sizeof got);
        memcpy(got + n_got, buf, n_shown);
        n_got += n_shown;
    }
    mem_free(ids);
    got[n_got] = '\0';
    assert_string_equal(got, expected);
}

#define ANALYSIS "<|channel|>analysis<|message|>"
#define FINAL "<|channel|>final<|message|>"
#define NEXT "<|end|><|start|>assistant"

static void test_parts(void **state)
{
    (void)state;
    static const char last[] = "<|start|>assistant";
    read_after(last, ANALYSIS "Hm." NEXT FINAL "Yes.", "<think>Hm.</think>\n\nYes.");
    read_after(last, FINAL "Yes \xc3\xa4.", "Yes \xc3\xa4.");
    read_after(last, ANALYSIS "a" NEXT ANALYSIS "b" NEXT FINAL "c", "<think>a\n\nb</think>\n\nc");
    read_after(last, ANALYSIS "a", "<think>a");
    read_after(last, ANALYSIS "a" NEXT, "<think>a");
    read_after(last, "<|message|>no channel", "no channel");
    read_after(last, "", "");
}

static void test_tools(void **state)
{
    (void)state;
    read_after("<|start|>assistant",
               ANALYSIS "a" NEXT
                        "<|channel|>commentary to=functions.f <|constrain|>json<|message|>{}",
               "<think>a</think>\n\n{}");
    read_after("<|start|>assistant", " to=functions.f<|channel|>commentary json<|message|>{}",
               "{}");
    read_after("<|start|>assistant",
               "<|channel|>commentary<|message|>a" NEXT ANALYSIS "b" NEXT FINAL "c",
               "a\n\n<think>b</think>\n\nc");
}

static void test_prompts(void **state)
{
    (void)state;
    read_after("", "plain text", "plain text");
    read_after("<|start|>assistant" ANALYSIS, "a" NEXT FINAL "b", "a</think>\n\nb");
    read_after("<|start|>assistant" FINAL, "b", "b");
}

static void test_names_as_text(void **state)
{
    (void)state;
    read_after("<|start|>assistant", FINAL "analysis final <|mess", "analysis final <|mess");
    read_after("<|start|>assistant", "<|channel|>analytic<|message|>a", "a");
    read_after("<|start|>assistant", "<|channel|>analysis, deep<|message|>a", "<think>a");
}

static void test_other_vocabularies(void **state)
{
    (void)state;
    struct channel c;
    const struct made other = make_vocab(false);
    assert_false(channel_init(&c, other.v.t));
    unmake(other);
}

static int setup(void **state)
{
    (void)state;
    vocab = make_vocab(true);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    unmake(vocab);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parts),
        cmocka_unit_test(test_tools),
        cmocka_unit_test(test_prompts),
        cmocka_unit_test(test_names_as_text),
        cmocka_unit_test(test_other_vocabularies),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, setup, teardown);
}
