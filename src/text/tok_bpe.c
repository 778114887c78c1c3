/*
 * tok_bpe.c: byte-level BPE ("gpt2"): texts as the vocabulary writes them.
 *
 * GPT-2 writes the bytes of a token as characters: printable ones as themselves, the others as
 * U+0100 and up in rising order. A fragment is cut into words by the pre-tokeniser; each word is
 * written that way and merged by rank (tok_word.c). Some vocabularies take a word that is a token
 * as it stands, without merging.
 */
#include "base/mem.h"
#include "gguf/gguf.h"
#include "text/tok_impl.h"

#include <assert.h>
#include <string.h>

/* ---- bytes as characters --------------------------------------------------------------------- */

/* The bytes that are not their own character: 0x00-0x20, 0x7f-0xa0 and 0xad, as U+0100 and up. */
static int bpe_character(int byte)
{
    if (byte <= 0x20) return 0x100 + byte;
    if (byte >= 0x7f && byte <= 0xa0) return 0x121 + byte - 0x7f;
    return byte == 0xad ? 0x143 : byte;
}

int bpe_byte(int32_t c)
{
    if (c >= 0x100 && c <= 0x120) return c - 0x100;
    if (c >= 0x121 && c <= 0x142) return c - 0x121 + 0x7f;
    if (c == 0x143) return 0xad;
    return c >= 0 && c < 0x100 && bpe_character(c) == c ? c : -1;
}

/* The character of a byte in UTF-8; returns its length. */
static size_t write_character(uint8_t byte, char out[2])
{
    const int c = bpe_character(byte);
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    out[0] = (char)(0xc0 | c >> 6);
    out[1] = (char)(0x80 | (c & 0x3f));
    return 2;
}

/* ---- load ------------------------------------------------------------------------------------ */

enum err bpe_load_pretok(struct tok *t, const struct gguf *g, const char *pre)
{
    assert(t && g);
    struct gguf_str name = {.s = "default", .n = 7};
    if (pre) name = (struct gguf_str){.s = pre, .n = strlen(pre)};
    enum err err = OK;
    if (!pre && !t->spaced) err = gguf_get_str(g, "tokenizer.ggml.pre", GGUF_OPTIONAL, &name);
    if (err) return err;
    if (!pretok_known(name.s, name.n))
        return err_set(ERR_INPUT,
                       "%s: %s '%.*s' is not a pre-tokeniser that moxie knows; --pre NAME chooses "
                       "another, \"default\" among them, at the risk of wrong token ids",
                       gguf_path(g), pre ? "--pre" : "key 'tokenizer.ggml.pre'",
                       name.n > 64 ? 64 : (int)name.n, name.s);
    if (t->spaced) return OK; /* has no words to cut: only the name is checked */
    struct pretok_traits traits = {0};
    err = pretok_open(&t->pre, name.s, name.n, &traits);
    t->ignore_merges = traits.ignore_merges;
    t->add_bos = traits.add_bos;
    return err;
}

enum err bpe_load(struct tok *t, const struct gguf *g)
{
    assert(t && g);
    assert(!t->spaced);
    for (int b = 0; b < 256; b++) {
        char c[2];
        const size_t n = write_character((uint8_t)b, c);
        t->byte_id[b] = vocab_find_text(t, c, n, text_hash(TEXT_HASH_START, c, n));
    }
    return word_load_ranks(t, g);
}

/* ---- encode ---------------------------------------------------------------------------------- */

static enum err encode_word(void *ctx, const char *s, size_t n)
{
    struct tok_run *r = ctx;
    const enum err err = run_reserve(r, 2 * n);
    if (err) return err;
    size_t n_text = 0;
    for (size_t i = 0; i < n; i++) n_text += write_character((uint8_t)s[i], r->buf + n_text);
    if (r->t->ignore_merges) {
        const uint64_t hash = text_hash(TEXT_HASH_START, r->buf, n_text);
        const uint32_t id = vocab_find_text(r->t, r->buf, n_text, hash);
        if (id != TOK_NONE) return ids_push(&r->ids, id);
    }
    return word_encode(r, r->buf, n_text);
}

enum err bpe_encode(struct tok_run *r, const char *s, size_t n)
{
    assert(r && s);
    assert(n > 0);
    return pretok_split(r->t->pre, s, n, encode_word, r);
}
