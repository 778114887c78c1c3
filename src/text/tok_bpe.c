/*
 * tok_bpe.c: byte-level BPE ("gpt2"), and the ranks of merges for every kind that has them.
 *
 * GPT-2 writes a token's bytes as characters: printable bytes as themselves, the others as U+0100
 * and up in rising order. A word starts as its bytes; the merge with the lowest rank goes first.
 * Merges are looked up by the ids of their two parts, so no text is built or compared while
 * encoding. Every part and every result must be a token, as in the files these tables come from; a
 * merge that is listed twice has its first rank.
 */
#include "base/mem.h"
#include "gguf/gguf.h"
#include "text/tok_impl.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#define KEY_MERGES "tokenizer.ggml.merges"

/* ---- ranks ----------------------------------------------------------------------------------- */

static struct tok_rank *rank_slot(const struct tok *t, uint32_t left, uint32_t right)
{
    const uint64_t pair1 = ((uint64_t)left << 32 | right) + 1;
    const uint64_t h = pair1 * 0x9e3779b97f4a7c15u; /* golden ratio: spreads neighbours */
    for (size_t i = (size_t)(h >> 32) & t->rank_mask;; i = (i + 1) & t->rank_mask) {
        struct tok_rank *slot = &t->rank[i];
        if (slot->pair1 == pair1 || slot->pair1 == 0) return slot;
    }
}

bool rank_pair(const struct tok *t, const char *text, const struct merge_sym *l,
               const struct merge_sym *r, uint32_t *prio, uint32_t *id)
{
    (void)text;
    if (l->id == TOK_NONE || r->id == TOK_NONE) return false;
    const struct tok_rank *slot = rank_slot(t, l->id, r->id);
    *prio = slot->rank;
    *id = slot->id;
    return slot->pair1 != 0;
}

/* "left right" with its rank. joined: room for two tokens. */
static enum err add_merge(struct tok *t, const struct gguf *g, struct gguf_str merge, uint32_t rank,
                          char *joined)
{
    const char *space = merge.n > 1 ? memchr(merge.s + 1, ' ', merge.n - 1) : NULL;
    const size_t n_left = space ? (size_t)(space - merge.s) : 0;
    const size_t n_right = space ? merge.n - n_left - 1 : 0;
    uint32_t left = TOK_NONE, right = TOK_NONE, id = TOK_NONE;
    if (space && n_left <= t->n_bytes_max && n_right <= t->n_bytes_max) {
        memcpy(joined, merge.s, n_left);
        memcpy(joined + n_left, space + 1, n_right);
        left = vocab_find(t, merge.s, n_left);
        right = vocab_find(t, space + 1, n_right);
        id = vocab_find(t, joined, n_left + n_right);
    }
    if (left == TOK_NONE || right == TOK_NONE || id == TOK_NONE)
        return err_set(ERR_INPUT,
                       "%s: key '" KEY_MERGES "'[%" PRIu32 "] is '%.*s', expected two tokens, with "
                       "a space between them, that together are a token; convert the model again",
                       gguf_path(g), rank, merge.n > 64 ? 64 : (int)merge.n, merge.s);
    struct tok_rank *slot = rank_slot(t, left, right);
    if (slot->pair1 || !vocab_is_text(t, id)) return OK;
    *slot = (struct tok_rank){((uint64_t)left << 32 | right) + 1, .rank = rank, .id = id};
    return OK;
}

enum err rank_load(struct tok *t, const struct gguf *g)
{
    assert(t && g);
    const struct gguf_kv *kv;
    enum err err = gguf_array(g, KEY_MERGES, GGUF_OPTIONAL, GGUF_STR, &kv);
    if (err) return err;
    const uint64_t n = kv ? kv->n : 0; /* a vocabulary of single bytes has none */
    if (n > MERGES_MAX)
        return err_set(ERR_INPUT,
                       "%s: key '" KEY_MERGES "' has %" PRIu64 " items, expected at most %u",
                       gguf_path(g), n, MERGES_MAX);
    size_t n_slot = 16;
    while (n_slot < n + n / 2) n_slot *= 2;
    t->rank_mask = n_slot - 1;
    t->rank = mem_alloc_array(MEM_TOK, n_slot, sizeof *t->rank);
    char *joined = mem_alloc(MEM_TOK, 2 * (size_t)t->n_bytes_max + 1);
    if (!t->rank || !joined) err = ERR_MEMORY;
    uint64_t pos = 0;
    for (uint32_t rank = 0; !err && rank < n; rank++)
        err = add_merge(t, g, gguf_arr_str_next(kv, &pos), rank, joined);
    mem_free(joined);
    return err;
}

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
        const uint32_t id = vocab_find_text(t, c, write_character((uint8_t)b, c));
        t->byte_id[b] = id;
    }
    return rank_load(t, g);
}

/* ---- encode ---------------------------------------------------------------------------------- */

/* The token that is the whole word. */
static uint32_t find_word(struct tok_run *r, const char *s, size_t n)
{
    if (n > r->t->n_bytes_max) return TOK_NONE;
    size_t n_text = 0;
    for (size_t i = 0; i < n; i++) n_text += write_character((uint8_t)s[i], r->buf + n_text);
    return vocab_find_text(r->t, r->buf, n_text);
}

/* A byte without a token. One that no UTF-8 contains becomes U+FFFD, as for any decoder; others are
 * control characters that the vocabulary has never met, which every implementation drops. */
static enum err push_unknown(struct tok_run *r, uint8_t byte)
{
    static const uint8_t replacement[] = {0xef, 0xbf, 0xbd};
    if (byte != 0xc0 && byte != 0xc1 && byte < 0xf5) return OK;
    enum err err = OK;
    for (size_t i = 0; !err && i < sizeof replacement; i++) {
        const uint32_t id = r->t->byte_id[replacement[i]];
        if (id != TOK_NONE) err = ids_push(&r->ids, id);
    }
    return err;
}

static enum err encode_word(void *ctx, const char *s, size_t n)
{
    struct tok_run *r = ctx;
    const struct tok *t = r->t;
    const uint32_t whole = t->ignore_merges ? find_word(r, s, n) : TOK_NONE;
    if (whole != TOK_NONE) return ids_push(&r->ids, whole);
    struct merge *m = &r->merge;
    enum err err = merge_start(m, s, n);
    if (err) return err;
    for (size_t i = 0; i < n; i++) merge_add(m, 1, t->byte_id[(uint8_t)s[i]]);
    err = merge_run(m, t, rank_pair);
    for (uint32_t i = 0; !err && i != SYM_NONE; i = m->sym[i].next) {
        const struct merge_sym *sym = &m->sym[i];
        err = sym->id != TOK_NONE ? ids_push(&r->ids, sym->id)
                                  : push_unknown(r, (uint8_t)s[sym->pos]);
    }
    return err;
}

enum err bpe_encode(struct tok_run *r, const char *s, size_t n)
{
    assert(r && s);
    assert(n > 0);
    const enum err err = run_reserve(r, 2 * (size_t)r->t->n_bytes_max);
    return err ? err : pretok_split(r->t->pre, s, n, encode_word, r);
}
