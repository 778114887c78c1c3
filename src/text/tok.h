/*
 * tok.h: the tokenizer of a GGUF file: text to ids and ids to bytes.
 *
 *     struct tok *t;
 *     enum err e = tok_open(&t, gguf, NULL);
 *     uint32_t *ids; size_t n;
 *     e = tok_encode(t, text, n_bytes, TOK_BOS, &ids, &n);   // mem_free(ids)
 *     struct tok_stream st = {0};
 *     n_out = tok_stream_put(t, &st, id, buf, sizeof buf);   // whole UTF-8 characters only
 *
 * Kinds (tokenizer.ggml.model): "llama" is SPM (sentencepiece BPE by score, with byte fallback),
 * "gpt2" is byte-level BPE with the pre-tokeniser that tokenizer.ggml.pre names, "gemma4" is BPE by
 * rank over SPM's way of writing text. All encode in O(n log n).
 * Ownership: token texts stay in the mapped file, so the gguf must outlive the tokenizer.
 * Threads: a struct tok is immutable after tok_open; any number of threads may use it.
 *
 * What tok_encode(text, no flags) gave, tok_decode makes text again, byte for byte, whatever the
 * bytes. Three exceptions, where llama.cpp loses something and equal ids matter more: SPM writes
 * U+2581 for a space, so that a U+2581 in the text comes back as a space; phi-3 drops the white
 * space behind its special tokens; bytes that the vocabulary has no token for are left out, or
 * become U+FFFD if no UTF-8 contains them.
 */
#ifndef TEXT_TOK_H
#define TEXT_TOK_H

#include "base/err.h"
#include "text/origin.h"
#include "text/stream.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct gguf;
struct tok;

#define TOK_NONE UINT32_MAX /* no such special token */

enum tok_flags {
    TOK_BOS = 1u << 0, /* put BOS (and EOS) where the vocabulary asks for it; never doubled */
    /* Control tokens written in the text are parsed; otherwise they are plain text. */
    TOK_SPECIAL = 1u << 1,
};

/* pre: NULL for what the file says (absent: llama.cpp's default), or the name that --pre gave.
 * ERR_INPUT for an unknown kind or pre-tokeniser, and for every inconsistency of the token tables,
 * naming the key. */
enum err tok_open(struct tok **t, const struct gguf *g, const char *pre);
void tok_close(struct tok *t); /* NULL is fine */

/* *ids from mem_alloc(MEM_TOK); n_bytes up to PROMPT_BYTES_MAX, any bytes (invalid UTF-8 and NUL
 * included). ERR_INPUT: the text is too long; ERR_MEMORY. */
enum err tok_encode(const struct tok *t, const char *text, size_t n_bytes, unsigned flags,
                    uint32_t **ids, size_t *n);

/* The same for a prompt: the spans of text->data are plain text whatever they hold, control tokens
 * are found in the rest, and nowhere else (a token that has bytes of both is none). What is no
 * special token is encoded as one text, whoever its bytes are from. TOK_SPECIAL has no meaning
 * here; TOK_BOS adds no EOS, because an answer follows. */
enum err tok_encode_origin(const struct tok *t, const struct origin_text *text, unsigned flags,
                           uint32_t **ids, size_t *n);

uint32_t tok_n_vocab(const struct tok *t);
uint32_t tok_bos(const struct tok *t); /* TOK_NONE when there is none */
uint32_t tok_eos(const struct tok *t);
bool tok_add_bos(const struct tok *t);
/* End of generation: eos, eot, <|im_end|>, ... */
bool tok_is_eog(const struct tok *t, uint32_t id);
bool tok_is_control(const struct tok *t, uint32_t id); /* type CONTROL, or end of generation */
/* The control or user-defined token with this text, or TOK_NONE. */
uint32_t tok_special(const struct tok *t, const char *text);

/* The bytes of one token as they stand in a text: SPM's U+2581 becomes a space, byte tokens their
 * byte, byte-level BPE is undone. Control tokens give their text when `special`, nothing otherwise.
 * Writes at most n bytes and returns the full length, like snprintf. id < tok_n_vocab. */
size_t tok_piece(const struct tok *t, uint32_t id, bool special, char *buf, size_t n);

/* ids back to bytes, control tokens as their text; the spaces that an SPM vocabulary adds in front
 * are removed. *text from mem_alloc(MEM_TOK), NUL appended (not counted). An id out of range is
 * ERR_INPUT. */
enum err tok_decode(const struct tok *t, const uint32_t *ids, size_t n, char **text,
                    size_t *n_bytes);

/* Streaming: holds back the bytes of an incomplete UTF-8 character until it is complete or proves
 * invalid. Both functions write at most n bytes, return how many, and drop what does not fit;
 * TOK_STREAM_BYTES_MAX always suffices. */
size_t tok_stream_put(const struct tok *t, struct tok_stream *st, uint32_t id, char *buf, size_t n);
/* What is still held, as it is. */
size_t tok_stream_end(struct tok_stream *st, char *buf, size_t n);

#endif
