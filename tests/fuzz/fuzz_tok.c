/*
 * fuzz_tok.c: any bytes become ids of the vocabulary and come back from them byte for byte, at once
 * and as a stream, whatever the kind and the pre-tokeniser.
 *
 * The first byte of the input chooses the vocabulary (tests/data/tok, so run it in the root of the
 * tree), the rest is the text.
 */
#include "base/err.h"
#include "base/mem.h"
#include "gguf/gguf.h"
#include "text/tok.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes);

static const struct {
    const char *path, *pre;
} vocabs[] = {
    {"tests/data/tok/spm.gguf", NULL},          {"tests/data/tok/spm_noprefix.gguf", NULL},
    {"tests/data/tok/bpe.gguf", NULL},          {"tests/data/tok/bpe.gguf", "default"},
    {"tests/data/tok/bpe.gguf", "llama-bpe"},   {"tests/data/tok/bpe.gguf", "qwen35"},
    {"tests/data/tok/bpe.gguf", "starcoder"},   {"tests/data/tok/bpe.gguf", "deepseek-llm"},
    {"tests/data/tok/bpe.gguf", "deepseek-v3"}, {"tests/data/tok/bpe.gguf", "deepseek-coder"},
    {"tests/data/tok/bpe.gguf", "falcon"},      {"tests/data/tok/bpe.gguf", "gpt-4o"},
    {"tests/data/tok/bpe.gguf", "tekken"},      {"tests/data/tok/bpe.gguf", "kimi-k2"},
    {"tests/data/tok/bpe.gguf", "afmoe"},       {"tests/data/tok/bpe.gguf", "superbpe"},
    {"tests/data/tok/bpe.gguf", "viking"},      {"tests/data/tok/bpe.gguf", "seed-coder"},
    {"tests/data/tok/bpe.gguf", "bailingmoe"},
};
#define N_VOCAB (sizeof vocabs / sizeof *vocabs)

static void must(enum err err)
{
    if (!err) return;
    fprintf(stderr, "%s\n", err_msg());
    abort();
}

/* U+2581 stands for a space in SPM, so it is the one text that does not come back. */
static int has_spm_space(const char *s, size_t n)
{
    for (size_t i = 0; i + 3 <= n; i++) {
        if (memcmp(s + i, "\xe2\x96\x81", 3) == 0) return 1;
    }
    return 0;
}

/* The stream gives the same bytes as the pieces, and never a part of a character of theirs. */
static void check_stream(const struct tok *t, const uint32_t *ids, size_t n)
{
    struct tok_stream st = {.special = true};
    static char out[TOK_STREAM_BYTES_MAX], piece[TOK_STREAM_BYTES_MAX];
    uint64_t sum_out = 0, sum_piece = 0; /* position-dependent sums of the bytes */
    for (size_t i = 0; i <= n; i++) {
        const size_t n_out = i < n ? tok_stream_put(t, &st, ids[i], out, sizeof out)
                                   : tok_stream_end(&st, out, sizeof out);
        const size_t n_piece = i < n ? tok_piece(t, ids[i], true, piece, sizeof piece) : 0;
        for (size_t k = 0; k < n_out; k++) sum_out = sum_out * 31 + (uint8_t)out[k] + 1;
        for (size_t k = 0; k < n_piece; k++) sum_piece = sum_piece * 31 + (uint8_t)piece[k] + 1;
        if (st.n_held > 3) abort();
    }
    if (sum_out != sum_piece) abort();
}

static void check(const struct tok *t, const char *text, size_t n_bytes, int is_spm)
{
    const int may_differ = is_spm && has_spm_space(text, n_bytes);
    for (unsigned flags = 0; flags < 4; flags++) {
        uint32_t *ids;
        size_t n, n_back;
        char *back;
        must(tok_encode(t, text, n_bytes, flags, &ids, &n));
        for (size_t i = 0; i < n; i++) {
            if (ids[i] >= tok_n_vocab(t)) abort();
        }
        must(tok_decode(t, ids, n, &back, &n_back));
        const int same = n_back == n_bytes && memcmp(back, text, n_back) == 0;
        if (flags == 0 && !same && !may_differ) abort();
        check_stream(t, ids, n);
        mem_free(ids);
        mem_free(back);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    if (n_bytes == 0) return 0;
    const size_t used = mem_used_total();
    const size_t i = data[0] % N_VOCAB;
    struct gguf *g;
    struct tok *t;
    must(gguf_open(&g, vocabs[i].path));
    must(tok_open(&t, g, vocabs[i].pre));
    check(t, (const char *)data + 1, n_bytes - 1, strstr(vocabs[i].path, "spm") != NULL);
    tok_close(t);
    gguf_close(g);
    if (mem_used_total() != used) abort();
    return 0;
}
