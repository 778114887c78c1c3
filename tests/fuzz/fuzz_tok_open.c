/*
 * fuzz_tok_open.c: whatever a file's token tables hold, opening them ends in OK or in ERR_INPUT
 * with a message, an opened tokenizer encodes and decodes, and nothing stays allocated.
 */
#include "base/mem.h"
#include "gguf/gguf.h"
#include "text/tok.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes);

static void use(const struct tok *t)
{
    static const char text[] = "ab  ba<s>\xe2\x96\x81\xff 12\0\n[x]<0x41>";
    static char piece[TOK_STREAM_BYTES_MAX];
    for (unsigned flags = 0; flags < 4; flags++) {
        uint32_t *ids = NULL;
        size_t n = 0, n_back;
        char *back = NULL;
        if (tok_encode(t, text, sizeof text - 1, flags, &ids, &n)) abort();
        if (tok_decode(t, ids, n, &back, &n_back)) abort();
        mem_free(ids);
        mem_free(back);
    }
    struct tok_stream st = {0};
    for (uint32_t id = 0; id < tok_n_vocab(t); id++) {
        if (tok_is_eog(t, id) && !tok_is_control(t, id)) abort();
        if (tok_piece(t, id, false, NULL, 0) > tok_piece(t, id, true, NULL, 0)) abort();
        if (tok_stream_put(t, &st, id, piece, sizeof piece) > sizeof piece) abort();
    }
    if (tok_add_bos(t) && tok_bos(t) >= tok_n_vocab(t)) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    const size_t used = mem_used_total();
    struct gguf *g = NULL;
    struct tok *t = NULL;
    if (!gguf_open_mem(&g, data, n_bytes, "fuzz")) {
        const enum err err = tok_open(&t, g, NULL);
        if (err && (err != ERR_INPUT || t || strncmp(err_msg(), "fuzz: ", 6) != 0)) abort();
        if (!err) use(t);
    }
    tok_close(t);
    gguf_close(g);
    if (mem_used_total() != used) abort();
    return 0;
}
