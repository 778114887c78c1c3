/*
 * tok.c: opens a tokenizer and encodes texts.
 *
 * Encoding cuts the text at its special tokens (tok_special.c) and gives what lies between them to
 * the kind: tok_spm.c or tok_bpe.c. Other kinds are refused by name: a wrong guess would be a model
 * that answers nonsense.
 */
#include "text/tok.h"

#include "base/mem.h"
#include "gguf/gguf.h"
#include "text/tok_impl.h"

#include <assert.h>
#include <string.h>

#define KEY_MODEL "tokenizer.ggml.model"

/* ---- open ------------------------------------------------------------------------------------ */

static const struct {
    const char *name; /* tokenizer.ggml.model */
    bool spaced, ranked, add_bos;
} kinds[] = {
    {"llama", .spaced = true, .ranked = false, .add_bos = true},
    {"gpt2", .spaced = false, .ranked = true, .add_bos = false},
    {"gemma4", .spaced = true, .ranked = true, .add_bos = true},
};

static enum err load_kind(struct tok *t, const struct gguf *g)
{
    struct gguf_str model;
    const enum err err = gguf_get_str(g, KEY_MODEL, GGUF_REQUIRED, &model);
    if (err) return err;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (strlen(kinds[i].name) != model.n || memcmp(kinds[i].name, model.s, model.n) != 0)
            continue;
        t->spaced = kinds[i].spaced;
        t->ranked = kinds[i].ranked;
        t->add_bos = kinds[i].add_bos;
        return OK;
    }
    return err_set(ERR_INPUT,
                   "%s: key '" KEY_MODEL "' is '%.*s', expected 'llama' (SPM), 'gpt2' (byte-level "
                   "BPE) or 'gemma4'",
                   gguf_path(g), model.n > 32 ? 32 : (int)model.n, model.s);
}

enum err tok_open(struct tok **out, const struct gguf *g, const char *pre)
{
    assert(out && g);
    *out = NULL;
    struct tok *t = mem_alloc(MEM_TOK, sizeof *t);
    if (!t) return ERR_MEMORY;
    enum err err = load_kind(t, g);
    if (!err) err = bpe_load_pretok(t, g, pre);
    if (!err) err = vocab_load(t, g);
    if (!err) err = special_load(t, g);
    if (!err) err = t->spaced ? spm_load(t, g) : bpe_load(t, g);
    if (err) {
        tok_close(t);
        return err;
    }
    *out = t;
    return OK;
}

void tok_close(struct tok *t)
{
    if (!t) return;
    pretok_close(t->pre);
    mem_free(t->rank);
    special_free(t);
    vocab_free(t);
    mem_free(t);
}

/* ---- encode ---------------------------------------------------------------------------------- */

enum err run_reserve(struct tok_run *r, size_t n_bytes)
{
    assert(r);
    if (n_bytes <= r->buf_cap) return OK;
    mem_free(r->buf);
    r->buf_cap = 0;
    r->buf = mem_alloc(MEM_TOK, n_bytes);
    if (!r->buf) return ERR_MEMORY;
    r->buf_cap = n_bytes;
    return OK;
}

static enum err encode_plain(struct tok_run *r, const char *s, size_t n)
{
    if (n == 0) return OK;
    return r->t->spaced ? spm_encode(r, s, n) : bpe_encode(r, s, n);
}

struct source {    /* what is to be encoded */
    const char *s; /* (n) bytes */
    size_t n;
    const struct origin_span *data; /* (n_data) where control tokens are plain text */
    size_t n_data;
};

/* The text without BOS and EOS. */
static enum err encode_text(struct tok_run *r, const struct source *src)
{
    struct special_span *span = NULL;
    size_t n_span = 0, pos = 0;
    enum err err =
        special_find(r->t, src->s, (uint32_t)src->n, src->data, src->n_data, &span, &n_span);
    for (size_t i = 0; !err && i < n_span; i++) {
        err = encode_plain(r, src->s + pos, span[i].pos - pos);
        if (!err) err = ids_push(&r->ids, span[i].id);
        pos = span[i].end;
    }
    if (!err) err = encode_plain(r, src->s + pos, src->n - pos);
    mem_free(span);
    return err;
}

static enum err encode(const struct tok *t, const struct source *src, bool with_bos, bool with_eos,
                       uint32_t **ids, size_t *n)
{
    assert(t && (src->s || src->n == 0));
    assert(ids && n);
    if (src->n > PROMPT_BYTES_MAX)
        return err_set(ERR_INPUT, "the text has %zu bytes, expected at most %u", src->n,
                       PROMPT_BYTES_MAX);
    struct tok_run r = {.t = t};
    enum err err = OK;
    /* The text may bring its own BOS, which is the first id then. */
    if (with_bos) err = ids_push(&r.ids, t->bos);
    if (!err && src->n) err = encode_text(&r, src);
    const bool twice = with_bos && r.ids.n > 1 && r.ids.v[1] == t->bos;
    const bool ended = r.ids.n && r.ids.v[r.ids.n - 1] == t->eos;
    if (!err && with_eos && !ended) err = ids_push(&r.ids, t->eos);
    if (!err && twice) memmove(r.ids.v, r.ids.v + 1, --r.ids.n * sizeof *r.ids.v);
    mem_free(r.buf);
    merge_free(&r.merge);
    if (err) {
        mem_free(r.ids.v);
        return err;
    }
    *ids = r.ids.v;
    *n = r.ids.n;
    return OK;
}

enum err tok_encode(const struct tok *t, const char *text, size_t n_bytes, unsigned flags,
                    uint32_t **ids, size_t *n)
{
    assert(t);
    const struct origin_span all = {.at = 0, .n = n_bytes};
    const bool is_data = n_bytes > 0 && !(flags & TOK_SPECIAL);
    const struct source src = {.s = text, .n = n_bytes, .data = &all, .n_data = is_data};
    const bool ends = flags & TOK_BOS;
    return encode(t, &src, ends && t->add_bos, ends && t->add_eos, ids, n);
}

enum err tok_encode_origin(const struct tok *t, const struct origin_text *text, unsigned flags,
                           uint32_t **ids, size_t *n)
{
    assert(t && text);
    const struct source src = {text->s, text->n, text->data, text->n_data};
    return encode(t, &src, flags & TOK_BOS && t->add_bos, false, ids, n);
}

/* ---- facts ----------------------------------------------------------------------------------- */

uint32_t tok_n_vocab(const struct tok *t)
{
    assert(t);
    return t->n_vocab;
}

uint32_t tok_bos(const struct tok *t)
{
    assert(t);
    return t->bos;
}

uint32_t tok_eos(const struct tok *t)
{
    assert(t);
    return t->eos;
}

bool tok_add_bos(const struct tok *t)
{
    assert(t);
    return t->add_bos;
}

bool tok_is_eog(const struct tok *t, uint32_t id)
{
    assert(t);
    for (uint32_t i = 0; i < t->n_eog; i++) {
        if (t->eog[i] == id) return true;
    }
    return false;
}

bool tok_is_control(const struct tok *t, uint32_t id)
{
    assert(t && id < t->n_vocab);
    return t->type[id] == TYPE_CONTROL || tok_is_eog(t, id);
}
