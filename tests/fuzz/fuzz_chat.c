/*
 * fuzz_chat.c: whatever a conversation holds, its prompt has the control tokens that the template
 * wrote and no others, and rendering ends with a text or a sentence.
 *
 * The first byte of the input chooses vocabulary and template (tests/data, so run it in the root of
 * the tree), the rest is the conversation, JSON.
 */
#include "base/err.h"
#include "base/mem.h"
#include "gguf/gguf.h"
#include "text/chat.h"
#include "text/tok.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes);

static const struct {
    const char *vocab, *template;
} setups[] = {
    {"tests/data/tok/bpe.gguf", "tests/data/kitchen.jinja"},
    {"tests/data/tok/spm.gguf", "tests/data/kitchen.jinja"},
    {"tests/data/tok/bpe.gguf", NULL}, /* ChatML */
    {"tests/data/tok/spm.gguf", NULL}, /* plain role names */
};
#define N_SETUP (sizeof setups / sizeof *setups)

static void must(enum err err)
{
    if (!err) return;
    fprintf(stderr, "%s\n", err_msg());
    abort();
}

static void check_spans(const struct origin_text *t)
{
    size_t end = 0;
    for (size_t i = 0; i < t->n_data; i++) {
        if (t->data[i].at < end || t->data[i].n == 0) abort();
        end = t->data[i].at + t->data[i].n;
    }
    if (end > t->n || t->s[t->n] != '\0') abort();
}

/* How many control tokens, and a sum that depends on which they are. */
static uint64_t control_sum(const struct tok *t, const struct origin_text *text)
{
    uint32_t *ids;
    size_t n;
    uint64_t sum = 0;
    must(tok_encode_origin(t, text, TOK_BOS, &ids, &n));
    for (size_t i = 0; i < n; i++)
        if (tok_is_control(t, ids[i])) sum = sum * 1000003 + ids[i] + 1;
    mem_free(ids);
    return sum;
}

static void check(const struct chat *c, const struct tok *t, const json_t *conversation)
{
    struct origin_text text;
    const enum err err = chat_render(c, conversation, CHAT_GENERATE, &text);
    if (err) {
        if (err != ERR_INPUT || !*err_msg() || text.s) abort();
        return;
    }
    check_spans(&text);
    const uint64_t sum = control_sum(t, &text);
    for (size_t i = 0; i < text.n_data; i++) memset(text.s + text.data[i].at, 'x', text.data[i].n);
    if (control_sum(t, &text) != sum) abort();
    origin_text_fini(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    if (n_bytes == 0) return 0;
    const size_t k = data[0] % N_SETUP, used = mem_used_total();
    json_t *conversation = json_loadb((const char *)data + 1, n_bytes - 1, JSON_ALLOW_NUL, NULL);
    if (!conversation) return 0;
    struct gguf *g;
    struct tok *t;
    struct chat *c;
    must(gguf_open(&g, setups[k].vocab));
    must(tok_open(&t, g, NULL));
    must(chat_open(&c, g, t, setups[k].template));
    check(c, t, conversation);
    chat_close(c);
    tok_close(t);
    gguf_close(g);
    json_decref(conversation);
    if (mem_used_total() != used) abort();
    return 0;
}
