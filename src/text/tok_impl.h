/*
 * tok_impl.h: what the files of the tokenizer share; nobody else includes it.
 *
 *   tok.c          open, close, encode: cuts the text at special tokens and hands over the rest
 *   tok_vocab.c    the token table: texts, types, scores, byte tokens; text -> id
 *   tok_special.c  special tokens: end of generation, control-looking names, finding them in a text
 *   tok_spm.c      text with U+2581 for spaces ("llama", "gemma4"): writing and cutting it
 *   tok_bpe.c      byte-level BPE ("gpt2"): the same for bytes as characters
 *   pretok.c       cuts a text into words by the patterns of a pre-tokeniser
 *   tok_word.c     one word to ids: which pairs merge, and what becomes of what is no token
 *   tok_merge.c    the merge engine: a list of symbols, the best pair first
 *   tok_piece.c    ids back to bytes
 */
#ifndef TEXT_TOK_IMPL_H
#define TEXT_TOK_IMPL_H

#include "base/err.h"
#include "base/limits.h"
#include "text/tok.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RANK_BITS 24                       /* of a slot in the table of merges, for the rank + 1 */
#define MERGES_MAX ((1u << RANK_BITS) - 2) /* largest known: 514,000 (gemma 4) */
#define TOK_EOG_MAX 64 /* names and keys that can end a generation are about 40 */

/* As tokenizer.ggml.token_type writes them. */
enum tok_type {
    TYPE_UNDEFINED,
    TYPE_NORMAL,
    TYPE_UNKNOWN,
    TYPE_CONTROL,
    TYPE_USER,
    TYPE_UNUSED,
    TYPE_BYTE,
    TYPE_COUNT
};

struct tok_entry {
    const char *s; /* in the mapped file, not terminated */
    uint32_t n;    /* bytes, at most TOKEN_BYTES_MAX */
    uint32_t prio; /* of a merge into this token, from its score: lower goes first */
};

struct tok_slot { /* open addressing, linear probing */
    uint32_t tag; /* upper half of the hash */
    uint32_t id1; /* id + 1; 0: empty */
};

struct tok {
    bool spaced;        /* text is written with U+2581 for spaces and bytes as <0xXX> */
    bool ranked;        /* merges by rank, otherwise by score */
    bool ignore_merges; /* a word that is a token needs no merging */
    bool space_prefix, add_bos, add_eos;
    uint32_t n_vocab;
    uint32_t n_bytes_max; /* longest token */
    uint32_t bos, eos, unk;
    uint32_t eog[TOK_EOG_MAX];
    uint32_t n_eog;

    struct tok_entry *entry; /* (n_vocab) */
    uint8_t *type;           /* (n_vocab) enum tok_type */
    bool *rstrip;            /* (n_vocab) swallows the white space behind it; NULL: none does */
    struct tok_slot *slot;   /* (slot_mask + 1) */
    size_t slot_mask;
    uint32_t byte_id[256]; /* TOK_NONE where there is no token */

    const struct tok_entry **special; /* (n_special) of entry[], sorted by their bytes */
    uint32_t n_special;
    uint32_t special_at[257]; /* special tokens that start with byte b: [at[b], at[b + 1]) */

    uint64_t *rank; /* (rank_mask + 1) slots: hash of a pair | its rank + 1; 0: empty */
    size_t rank_mask;

    struct pretok *pre; /* byte-level BPE only */
    bool glued[256];    /* spaced only: last bytes of characters before a U+2581 inside a token */
};

/* ---- list and heap that grow ---------------------------------------------------------------- */

struct tok_ids {
    uint32_t *v;
    size_t n, cap;
};
enum err ids_push(struct tok_ids *ids, uint32_t id);

struct tok_cand { /* something that could be done at a place of the text */
    uint64_t key; /* priority << 32 | place: lowest first */
    uint64_t len; /* bytes it takes */
};

struct tok_heap {
    struct tok_cand *v;
    size_t n, cap;
};
enum err heap_push(struct tok_heap *h, struct tok_cand c);
struct tok_cand heap_pop(struct tok_heap *h); /* not empty */

/* ---- vocabulary ----------------------------------------------------------------------------- */

enum err vocab_load(struct tok *t, const struct gguf *g);
void vocab_free(struct tok *t);

/* May plain text become this token? Then decoding the token gives that text again. */
bool vocab_is_text(const struct tok *t, uint32_t id);
/* The id of a text, TOK_NONE if there is none. Of equal tokens the last one that plain text may
 * become. vocab_find_text() finds only those. */
uint32_t vocab_find(const struct tok *t, const char *s, size_t n);
uint32_t vocab_find_text(const struct tok *t, const char *s, size_t n, uint64_t hash);

/* The hash of a text, which can be continued: hash of "ab" = text_hash(hash of "a", "b", 1). */
#define TEXT_HASH_START 0xcbf29ce484222325u
uint64_t text_hash(uint64_t hash, const char *s, size_t n);

/* The byte of a token "<0xXX>", -1 for any other text. */
int vocab_byte(const struct tok *t, uint32_t id);

/* ---- special tokens ------------------------------------------------------------------------- */

struct special_span { /* bytes [pos, end) of a text are the token id */
    uint32_t pos, end, id;
};

/* Types by name, the end-of-generation list, and the sorted table; after vocab_load(), before the
 * tables of the kinds. */
enum err special_load(struct tok *t, const struct gguf *g);
void special_free(struct tok *t);
/* Control and unknown tokens are found outside of `data` (rising, within the text), user-defined
 * ones everywhere. Spans in rising order, disjoint; *spans from mem_alloc, to be freed after an
 * error too; NULL when there are none. */
enum err special_find(const struct tok *t, const char *text, uint32_t n_bytes,
                      const struct origin_span *data, size_t n_data, struct special_span **spans,
                      size_t *n_span);

/* ---- merge engine --------------------------------------------------------------------------- */

#define SYM_NONE UINT32_MAX

struct merge_sym {
    uint32_t prev, next; /* SYM_NONE at the ends */
    uint32_t pos, len;   /* bytes of the word; len 0: merged into another */
    uint64_t hash;       /* of these bytes */
};

struct merge {
    const char *text; /* the word */
    struct merge_sym *sym;
    size_t n, cap;
    struct tok_heap heap;
};

/* Can l and r merge, and with which priority? */
typedef bool merge_pair_fn(const struct tok *t, const char *text, const struct merge_sym *l,
                           const struct merge_sym *r, uint32_t *prio);

/* Cuts a word into its characters; a byte that is not UTF-8 is one. */
enum err merge_start(struct merge *m, const char *text, size_t n);
/* Afterwards the list from sym[0] along next is the result. */
enum err merge_run(struct merge *m, const struct tok *t, merge_pair_fn *pair);
void merge_free(struct merge *m);

/* ---- kinds ---------------------------------------------------------------------------------- */

struct tok_run { /* one call of tok_encode */
    const struct tok *t;
    struct tok_ids ids;
    struct merge merge;
    char *buf; /* text as the vocabulary writes it */
    size_t buf_cap;
};
enum err run_reserve(struct tok_run *r, size_t n_bytes);

/* tokenizer.ggml.merges */
enum err word_load_ranks(struct tok *t, const struct gguf *g);
/* The ids of a word, written as the vocabulary writes it. */
enum err word_encode(struct tok_run *r, const char *s, size_t n);

enum err spm_load(struct tok *t, const struct gguf *g);
/* A fragment: what stands between two special tokens. */
enum err spm_encode(struct tok_run *r, const char *s, size_t n);

/* First of all: its traits are defaults that keys may override. */
enum err bpe_load_pretok(struct tok *t, const struct gguf *g, const char *pre);
enum err bpe_load(struct tok *t, const struct gguf *g);
enum err bpe_encode(struct tok_run *r, const char *s, size_t n);
/* The byte that a character of the byte-level alphabet stands for, -1 for any other code point. */
int bpe_byte(int32_t code_point);

/* ---- pre-tokenisers ------------------------------------------------------------------------- */

struct pretok;
struct pretok_traits {
    bool ignore_merges;
    bool add_bos; /* unless the file says otherwise */
};

bool pretok_known(const char *name, size_t n);
/* name: as tokenizer.ggml.pre has it; must be known. */
enum err pretok_open(struct pretok **p, const char *name, size_t n, struct pretok_traits *traits);
void pretok_close(struct pretok *p); /* NULL is fine */
/* Calls word for the words of a text in order; together they are the text. A return other than OK
 * stops. */
typedef enum err pretok_word_fn(void *ctx, const char *s, size_t n);
enum err pretok_split(const struct pretok *p, const char *text, size_t n, pretok_word_fn *word,
                      void *ctx);

#endif
