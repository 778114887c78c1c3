/*
 * tok_vocab.c: the token table of a GGUF file.
 *
 * Texts stay in the mapped file; what is built here is one record per token and a hash from text
 * to id. Everything the tables can be wrong about is refused with the key and the item: no tokens,
 * more than VOCAB_MAX, texts beyond TOKEN_BYTES_MAX, lists of another length than the tokens, types
 * that do not exist, scores that are not finite, byte tokens that name no byte or one that has a
 * token already.
 *
 * Tokens that plain text must not become are kept apart by vocab_is_text(): control and unknown
 * tokens (a text must not be able to end a turn), byte tokens and, in byte-level BPE, user-defined
 * tokens with characters outside the printable ASCII, whose text is not encoded. llama.cpp lets
 * merges build such tokens; sentencepiece does not, and a text must decode to itself.
 */
#include "base/mem.h"
#include "gguf/gguf.h"
#include "text/tok_impl.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>

#define KEY_TOKENS "tokenizer.ggml.tokens"
#define KEY_SCORES "tokenizer.ggml.scores"
#define KEY_TYPES "tokenizer.ggml.token_type"

/* ---- text to id ------------------------------------------------------------------------------ */

/* FNV-1a, 64 bits. */
uint64_t text_hash(uint64_t hash, const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++) hash = (hash ^ (uint8_t)s[i]) * 0x100000001b3u;
    return hash;
}

/* The slot of a text, or the empty one where it would stand. */
static struct tok_slot *slot_of(const struct tok *t, const char *s, size_t n, uint64_t hash)
{
    for (size_t i = (size_t)(hash ^ hash >> 29) & t->slot_mask;; i = (i + 1) & t->slot_mask) {
        struct tok_slot *slot = &t->slot[i];
        if (!slot->id1) return slot;
        const struct tok_entry *e = &t->entry[slot->id1 - 1];
        if (slot->tag == hash >> 32 && e->n == n && memcmp(e->s, s, n) == 0) return slot;
    }
}

static uint32_t find(const struct tok *t, const char *s, size_t n, uint64_t hash)
{
    assert(t && s);
    if (n == 0 || n > t->n_bytes_max) return TOK_NONE;
    const struct tok_slot *slot = slot_of(t, s, n, hash);
    return slot->id1 ? slot->id1 - 1 : TOK_NONE;
}

uint32_t vocab_find(const struct tok *t, const char *s, size_t n)
{
    return find(t, s, n, text_hash(TEXT_HASH_START, s, n));
}

uint32_t vocab_find_text(const struct tok *t, const char *s, size_t n, uint64_t hash)
{
    const uint32_t id = find(t, s, n, hash);
    return id != TOK_NONE && vocab_is_text(t, id) ? id : TOK_NONE;
}

static bool is_printable_ascii(const struct tok_entry *e)
{
    for (uint32_t i = 0; i < e->n; i++) {
        if (e->s[i] < '!' || e->s[i] > '~') return false;
    }
    return true;
}

bool vocab_is_text(const struct tok *t, uint32_t id)
{
    assert(id < t->n_vocab);
    switch (t->type[id]) {
    case TYPE_UNKNOWN:
    case TYPE_CONTROL:
        return false;
    case TYPE_BYTE:
        return !t->spaced;
    case TYPE_USER:
        return t->spaced || is_printable_ascii(&t->entry[id]);
    default:
        return true;
    }
}

static enum err hash_build(struct tok *t)
{
    size_t n_slot = 16;
    while (n_slot < 2 * (size_t)t->n_vocab) n_slot *= 2;
    t->slot = mem_alloc_array(MEM_TOK, n_slot, sizeof *t->slot);
    if (!t->slot) return ERR_MEMORY;
    t->slot_mask = n_slot - 1;
    for (uint32_t id = 0; id < t->n_vocab; id++) {
        const struct tok_entry *e = &t->entry[id];
        if (e->n == 0) continue;
        const uint64_t h = text_hash(TEXT_HASH_START, e->s, e->n);
        struct tok_slot *slot = slot_of(t, e->s, e->n, h);
        const bool keep = slot->id1 && vocab_is_text(t, slot->id1 - 1) && !vocab_is_text(t, id);
        if (!keep) *slot = (struct tok_slot){.tag = (uint32_t)(h >> 32), .id1 = id + 1};
    }
    return OK;
}

/* ---- tables ---------------------------------------------------------------------------------- */

static enum err load_texts(struct tok *t, const struct gguf *g)
{
    const struct gguf_kv *kv;
    const enum err err = gguf_array(g, KEY_TOKENS, GGUF_REQUIRED, GGUF_STR, &kv);
    if (err) return err;
    if (kv->n == 0 || kv->n > VOCAB_MAX)
        return err_set(ERR_INPUT,
                       "%s: key '" KEY_TOKENS "' has %" PRIu64 " items, expected 1 to %u",
                       gguf_path(g), kv->n, VOCAB_MAX);
    t->n_vocab = (uint32_t)kv->n;
    t->entry = mem_alloc_array(MEM_TOK, t->n_vocab, sizeof *t->entry);
    t->type = mem_alloc_array(MEM_TOK, t->n_vocab, sizeof *t->type);
    if (!t->entry || !t->type) return ERR_MEMORY;
    uint64_t pos = 0;
    for (uint32_t id = 0; id < t->n_vocab; id++) {
        const struct gguf_str s = gguf_arr_str_next(kv, &pos);
        if (s.n > TOKEN_BYTES_MAX)
            return err_set(ERR_INPUT,
                           "%s: key '" KEY_TOKENS "'[%" PRIu32
                           "] has %zu bytes, expected at most %d",
                           gguf_path(g), id, s.n, TOKEN_BYTES_MAX);
        t->entry[id] = (struct tok_entry){.s = s.s, .n = (uint32_t)s.n};
        if (s.n > t->n_bytes_max) t->n_bytes_max = (uint32_t)s.n;
    }
    return OK;
}

/* One item for each token, or no array at all. */
static enum err same_length(const struct tok *t, const struct gguf *g, const char *key,
                            const struct gguf_kv *kv)
{
    if (!kv || kv->n == t->n_vocab) return OK;
    return err_set(ERR_INPUT,
                   "%s: key '%s' has %" PRIu64 " items, expected %" PRIu32
                   ", one for each token; convert the model again",
                   gguf_path(g), key, kv->n, t->n_vocab);
}

/* Higher scores merge first. Finite floats order like their bits once the negative ones are turned
 * round; adding 0 makes -0 a 0. */
static uint32_t prio_of_score(float score)
{
    const float s = score + 0.0f;
    uint32_t bits;
    memcpy(&bits, &s, sizeof bits);
    return bits >> 31 ? bits : ~bits & 0x7fffffffu;
}

static enum err load_scores(struct tok *t, const struct gguf *g)
{
    const enum gguf_need need = t->spaced && !t->ranked ? GGUF_REQUIRED : GGUF_OPTIONAL;
    const struct gguf_kv *kv;
    enum err err = gguf_array(g, KEY_SCORES, need, GGUF_F32, &kv);
    if (!err) err = same_length(t, g, KEY_SCORES, kv);
    if (err || !kv) return err;
    for (uint32_t id = 0; id < t->n_vocab; id++) {
        const float score = gguf_arr_f32(kv, id);
        if (!isfinite(score))
            return err_set(ERR_INPUT,
                           "%s: key '" KEY_SCORES "'[%" PRIu32 "] is %g, expected a finite number",
                           gguf_path(g), id, (double)score);
        t->entry[id].prio = prio_of_score(score);
    }
    return OK;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return -1;
}

int vocab_byte(const struct tok *t, uint32_t id)
{
    assert(id < t->n_vocab);
    const struct tok_entry *e = &t->entry[id];
    if (e->n != 6 || memcmp(e->s, "<0x", 3) != 0 || e->s[5] != '>') return -1;
    const int high = hex_digit(e->s[3]), low = hex_digit(e->s[4]);
    return high < 0 || low < 0 ? -1 : high * 16 + low;
}

/* Without the key, all tokens are normal but the ones that name a byte. */
static enum err load_types(struct tok *t, const struct gguf *g)
{
    const struct gguf_kv *kv;
    enum err err = gguf_array(g, KEY_TYPES, GGUF_OPTIONAL, GGUF_I32, &kv);
    if (!err) err = same_length(t, g, KEY_TYPES, kv);
    if (err) return err;
    for (uint32_t id = 0; id < t->n_vocab; id++) {
        const bool names_byte = t->spaced && vocab_byte(t, id) >= 0;
        const int64_t v = kv ? gguf_arr_int(kv, id) : names_byte ? TYPE_BYTE : TYPE_NORMAL;
        if (v < 0 || v >= TYPE_COUNT)
            return err_set(ERR_INPUT,
                           "%s: key '" KEY_TYPES "'[%" PRIu32 "] is %" PRId64 ", expected 0 to %d",
                           gguf_path(g), id, v, TYPE_COUNT - 1);
        t->type[id] = (uint8_t)v;
    }
    return OK;
}

/* Byte tokens of the spaced kinds; bpe_load() has its own. */
static enum err load_bytes(struct tok *t, const struct gguf *g)
{
    for (int b = 0; b < 256; b++) t->byte_id[b] = TOK_NONE;
    for (uint32_t id = 0; t->spaced && id < t->n_vocab; id++) {
        if (t->type[id] != TYPE_BYTE) continue;
        const struct tok_entry *e = &t->entry[id];
        const int b = vocab_byte(t, id);
        if (b < 0)
            return err_set(ERR_INPUT,
                           "%s: key '" KEY_TOKENS "'[%" PRIu32 "] is '%.*s' and of type byte, "
                           "expected <0x00> to <0xFF>",
                           gguf_path(g), id, e->n > 32 ? 32 : (int)e->n, e->s);
        if (t->byte_id[b] != TOK_NONE)
            return err_set(ERR_INPUT,
                           "%s: key '" KEY_TOKENS "'[%" PRIu32
                           "] is byte 0x%02X, which token %" PRIu32 " is already",
                           gguf_path(g), id, (unsigned)b, t->byte_id[b]);
        t->byte_id[b] = id;
    }
    return OK;
}

enum err vocab_load(struct tok *t, const struct gguf *g)
{
    assert(t && g);
    enum err err = load_texts(t, g);
    if (!err) err = load_types(t, g);
    if (!err) err = load_scores(t, g);
    if (!err) err = load_bytes(t, g);
    if (!err) err = hash_build(t);
    return err;
}

void vocab_free(struct tok *t)
{
    assert(t);
    mem_free(t->entry);
    mem_free(t->type);
    mem_free(t->slot);
}
