/*
 * tok_word.c: one word to ids, for every kind.
 *
 * Two symbols merge if together they are a token, the one with the highest score first (SPM), or if
 * tokenizer.ggml.merges lists them, the first of the list first (BPE). Merges are looked up by the
 * hashes of their two parts, which symbols carry along. The table keeps 40 bits of a pair's hash
 * beside its place and its rank, no texts: for one pair in 10^12 it may name a merge that the list
 * does not have. The ids would still be those of tokens with this text.
 *
 * A symbol that is no token in the end, or only one that plain text must not become, is written
 * byte by byte.
 */
#include "base/mem.h"
#include "gguf/gguf.h"
#include "text/tok_impl.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>
#include <utf8proc.h>

#define KEY_MERGES "tokenizer.ggml.merges"

/* ---- ranks ----------------------------------------------------------------------------------- */

#define RANK_MASK ((UINT64_C(1) << RANK_BITS) - 1)

static_assert(MERGES_MAX < RANK_MASK, "a rank + 1 fits into a slot");

/* The slot of a pair, or the empty one where it would stand; *tag: the bits that tell it apart. */
static uint64_t *rank_slot(const struct tok *t, uint64_t left, uint64_t right, uint64_t *tag)
{
    uint64_t h = (left ^ (right << 32 | right >> 32)) * 0x9e3779b97f4a7c15u;
    h ^= h >> 32;
    *tag = h & ~RANK_MASK;
    for (size_t i = (size_t)h & t->rank_mask;; i = (i + 1) & t->rank_mask) {
        uint64_t *slot = &t->rank[i];
        if (*slot == 0 || (*slot & ~RANK_MASK) == *tag) return slot;
    }
}

/* "left right" gets its rank, unless it has one. */
static enum err add_merge(struct tok *t, const struct gguf *g, struct gguf_str merge, uint32_t rank)
{
    const char *space = merge.n > 2 ? memchr(merge.s + 1, ' ', merge.n - 2) : NULL;
    if (!space)
        return err_set(ERR_INPUT,
                       "%s: key '" KEY_MERGES "'[%" PRIu32 "] is '%.*s', expected two tokens with "
                       "a space between them",
                       gguf_path(g), rank, merge.n > 64 ? 64 : (int)merge.n, merge.s);
    const size_t n_left = (size_t)(space - merge.s);
    const uint64_t left = text_hash(TEXT_HASH_START, merge.s, n_left);
    const uint64_t right = text_hash(TEXT_HASH_START, space + 1, merge.n - n_left - 1);
    uint64_t tag;
    uint64_t *slot = rank_slot(t, left, right, &tag);
    if (*slot == 0) *slot = tag | (rank + 1);
    return OK;
}

enum err word_load_ranks(struct tok *t, const struct gguf *g)
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
    if (!t->rank) return ERR_MEMORY;
    uint64_t pos = 0;
    for (uint32_t rank = 0; !err && rank < n; rank++)
        err = add_merge(t, g, gguf_arr_str_next(kv, &pos), rank);
    return err;
}

/* ---- pairs ----------------------------------------------------------------------------------- */

static bool rank_pair(const struct tok *t, const char *text, const struct merge_sym *l,
                      const struct merge_sym *r, uint32_t *prio)
{
    (void)text;
    uint64_t tag;
    const uint64_t slot = *rank_slot(t, l->hash, r->hash, &tag);
    *prio = (uint32_t)(slot & RANK_MASK);
    return slot != 0;
}

static bool score_pair(const struct tok *t, const char *text, const struct merge_sym *l,
                       const struct merge_sym *r, uint32_t *prio)
{
    const size_t n = l->len + r->len;
    if (n > t->n_bytes_max) return false;
    const uint64_t hash = text_hash(l->hash, text + r->pos, r->len);
    const uint32_t id = vocab_find_text(t, text + l->pos, n, hash);
    if (id == TOK_NONE) return false;
    *prio = t->entry[id].prio;
    return true;
}

/* ---- words ----------------------------------------------------------------------------------- */

/* A byte without a token. In byte-level BPE one that no UTF-8 contains becomes U+FFFD, as for any
 * decoder; others are control characters that the vocabulary has never met, which every
 * implementation drops. */
static enum err push_unknown(struct tok_run *r, uint8_t byte)
{
    const struct tok *t = r->t;
    if (t->spaced) return t->unk != TOK_NONE ? ids_push(&r->ids, t->unk) : OK;
    static const uint8_t replacement[] = {0xef, 0xbf, 0xbd};
    if (byte != 0xc0 && byte != 0xc1 && byte < 0xf5) return OK;
    enum err err = OK;
    for (size_t i = 0; !err && i < sizeof replacement; i++) {
        const uint32_t id = t->byte_id[replacement[i]];
        if (id != TOK_NONE) err = ids_push(&r->ids, id);
    }
    return err;
}

static enum err push_byte(struct tok_run *r, uint8_t byte)
{
    const uint32_t id = r->t->byte_id[byte];
    return id != TOK_NONE ? ids_push(&r->ids, id) : push_unknown(r, byte);
}

/* What is no token: byte by byte, or character by character where those stand for bytes. */
static enum err push_bytes(struct tok_run *r, const char *s, uint32_t n)
{
    enum err err = OK;
    for (uint32_t i = 0; !err && i < n;) {
        utf8proc_int32_t c = 0;
        utf8proc_ssize_t len = 1;
        if (!r->t->spaced) len = utf8proc_iterate((const utf8proc_uint8_t *)s + i, n - i, &c);
        assert(len > 0); /* the alphabet is ours */
        err = push_byte(r, r->t->spaced ? (uint8_t)s[i] : (uint8_t)bpe_byte(c));
        i += (uint32_t)len;
    }
    return err;
}

enum err word_encode(struct tok_run *r, const char *s, size_t n)
{
    assert(r && s);
    const struct tok *t = r->t;
    struct merge *m = &r->merge;
    enum err err = merge_start(m, s, n);
    if (!err) err = merge_run(m, t, t->ranked ? rank_pair : score_pair);
    for (uint32_t i = 0; !err && i != SYM_NONE; i = m->sym[i].next) {
        const struct merge_sym *sym = &m->sym[i];
        const uint32_t id = vocab_find_text(t, s + sym->pos, sym->len, sym->hash);
        err = id != TOK_NONE ? ids_push(&r->ids, id) : push_bytes(r, s + sym->pos, sym->len);
    }
    return err;
}
