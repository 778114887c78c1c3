/*
 * tok_special.c: special tokens: which they are, which of them end a generation, and where they
 * stand in a text.
 *
 * As llama.cpp does: user-defined tokens are found in every text, control and unknown tokens only
 * when asked. The longest tokens are placed first, everywhere; shorter ones get what is left. Here
 * that is one heap of candidates (length, then place) instead of a search of the text for each
 * token, so thousands of special tokens cost no more than a few. A candidate that lost part of its
 * bytes to a longer one is offered again with the longest token that still fits.
 *
 * In a prompt that is partly data, control tokens are looked for first, in the template's bytes
 * alone, so that no data can make, break or move one. User-defined tokens then get what is left of
 * the whole text; they may lie across an end of data, as they would in the plain text.
 *
 * Files do not say enough about some tokens. Names that end a generation in every known model make
 * a token a control token whatever its type says, and so do the names of fill-in-the-middle marks;
 * phi-3's special tokens swallow the white space behind them.
 */
#include "base/mem.h"
#include "gguf/gguf.h"
#include "text/tok_impl.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* ---- names ----------------------------------------------------------------------------------- */

static const struct {
    const char *text;
    bool ends;          /* the model stops here */
    const char *unless; /* means something else in a vocabulary that has this token */
} control_names[] = {
    {"</s>", true, "<|tool_response>"},
    {"<|end|>", true, "<|call|>"}, /* gpt-oss ends a message with it, not a turn */
    {"<|return|>", true, NULL},
    {"<|call|>", true, NULL},
    {"<|flush|>", true, NULL},
    {"<|calls|>", true, NULL},
    {"<|im_end|>", true, NULL},
    {"<|eot_id|>", true, NULL},
    {"<|eom_id|>", true, NULL},
    {"<|endoftext|>", true, NULL},
    {"<|end_of_text|>", true, NULL},
    {"<end_of_utterance>", true, NULL},
    {"<end_of_turn>", true, NULL},
    {"<turn|>", true, NULL},
    {"<|tool_response>", true, NULL},
    {"<｜end▁of▁sentence｜>", true, NULL},
    {"<EOT>", true, NULL},
    {"_<EOT>", true, NULL},
    {"[EOT]", true, NULL},
    {"[EOS]", true, NULL},
    {"<|fim_pad|>", true, NULL},
    {"<fim-pad>", true, NULL},
    {"<fim_pad>", true, NULL},
    {"<PAD>", true, NULL},
    {"[PAD]", true, NULL},
    {"<|fim_repo|>", true, NULL},
    {"<|repo_name|>", true, NULL},
    {"<fim-repo>", true, NULL},
    {"<REPO>", true, NULL},
    {"<reponame>", true, NULL},
    {"<|file_sep|>", true, NULL},
    {"<|fim_prefix|>", false, NULL},
    {"<fim-prefix>", false, NULL},
    {"<fim_prefix>", false, NULL},
    {"<｜fim▁begin｜>", false, NULL},
    {"<|code_prefix|>", false, NULL},
    {"<PRE>", false, NULL},
    {"▁<PRE>", false, NULL},
    {"<|fim_suffix|>", false, NULL},
    {"<fim-suffix>", false, NULL},
    {"<fim_suffix>", false, NULL},
    {"<｜fim▁hole｜>", false, NULL},
    {"<|code_suffix|>", false, NULL},
    {"<SUF>", false, NULL},
    {"▁<SUF>", false, NULL},
    {"<|fim_middle|>", false, NULL},
    {"<fim-middle>", false, NULL},
    {"<fim_middle>", false, NULL},
    {"<｜fim▁end｜>", false, NULL},
    {"<|code_middle|>", false, NULL},
    {"<MID>", false, NULL},
    {"▁<MID>", false, NULL},
};

static uint32_t find_name(const struct tok *t, const char *name)
{
    return vocab_find(t, name, strlen(name));
}

static void add_eog(struct tok *t, uint32_t id)
{
    if (id == TOK_NONE || tok_is_eog(t, id)) return;
    assert(t->n_eog < TOK_EOG_MAX);
    t->eog[t->n_eog++] = id;
    if (t->type[id] == TYPE_USER) t->type[id] = TYPE_CONTROL; /* no text may end a turn */
}

static void load_names(struct tok *t)
{
    for (size_t i = 0; i < sizeof control_names / sizeof *control_names; i++) {
        const uint32_t id = find_name(t, control_names[i].text);
        const char *unless = control_names[i].unless;
        if (id == TOK_NONE || (unless && find_name(t, unless) != TOK_NONE)) continue;
        t->type[id] = TYPE_CONTROL;
        if (control_names[i].ends) add_eog(t, id);
    }
}

/* ---- keys ------------------------------------------------------------------------------------ */

/* id: the default, used where the vocabulary is long enough; TOK_NONE: none. */
static enum err load_id(const struct tok *t, const struct gguf *g, const char *key, uint32_t *id)
{
    if (*id >= t->n_vocab) *id = TOK_NONE;
    return gguf_u32(g, key, GGUF_OPTIONAL, 0, t->n_vocab - 1, id);
}

static enum err load_ids(struct tok *t, const struct gguf *g)
{
    /* Llama's own order, which SPM files without the keys have. */
    const bool llama = t->spaced && !t->ranked;
    t->unk = llama ? 0 : TOK_NONE;
    t->bos = llama ? 1 : TOK_NONE;
    t->eos = llama ? 2 : TOK_NONE;
    uint32_t eot = TOK_NONE, eom = TOK_NONE, pad = TOK_NONE;
    enum err err = load_id(t, g, "tokenizer.ggml.bos_token_id", &t->bos);
    if (!err) err = load_id(t, g, "tokenizer.ggml.eos_token_id", &t->eos);
    if (!err) err = load_id(t, g, "tokenizer.ggml.unknown_token_id", &t->unk);
    if (!err) err = load_id(t, g, "tokenizer.ggml.padding_token_id", &pad);
    if (!err) err = load_id(t, g, "tokenizer.ggml.eot_token_id", &eot);
    if (!err) err = load_id(t, g, "tokenizer.ggml.eom_token_id", &eom);
    if (!err) err = gguf_bool(g, "tokenizer.ggml.add_bos_token", GGUF_OPTIONAL, &t->add_bos);
    if (!err) err = gguf_bool(g, "tokenizer.ggml.add_eos_token", GGUF_OPTIONAL, &t->add_eos);
    if (err) return err;
    t->add_bos = t->add_bos && t->bos != TOK_NONE;
    t->add_eos = t->add_eos && t->eos != TOK_NONE;
    add_eog(t, t->eos);
    add_eog(t, eot);
    add_eog(t, eom);
    return OK;
}

/* ---- table ----------------------------------------------------------------------------------- */

static bool is_special(const struct tok *t, uint32_t id)
{
    const uint8_t type = t->type[id];
    return t->entry[id].n > 0 &&
           (type == TYPE_CONTROL || type == TYPE_UNKNOWN || type == TYPE_USER);
}

static int by_bytes(const void *a, const void *b)
{
    const struct tok_entry *x = *(const struct tok_entry *const *)a;
    const struct tok_entry *y = *(const struct tok_entry *const *)b;
    const int order = memcmp(x->s, y->s, x->n < y->n ? x->n : y->n);
    if (order) return order;
    if (x->n != y->n) return x->n < y->n ? -1 : 1;
    return x < y ? -1 : x > y;
}

static enum err load_table(struct tok *t)
{
    for (uint32_t id = 0; id < t->n_vocab; id++) t->n_special += is_special(t, id);
    if (t->n_special == 0) return OK;
    t->special = mem_alloc_array(MEM_TOK, t->n_special, sizeof(struct tok_entry *));
    if (!t->special) return ERR_MEMORY;
    uint32_t n = 0;
    for (uint32_t id = 0; id < t->n_vocab; id++) {
        if (!is_special(t, id)) continue;
        t->special[n++] = &t->entry[id];
        t->special_at[(uint8_t)t->entry[id].s[0] + 1]++;
    }
    for (int b = 0; b < 256; b++) t->special_at[b + 1] += t->special_at[b];
    qsort(t->special, n, sizeof *t->special, by_bytes);
    return OK;
}

/* Does the name contain "phi-3" or "phi3", in any case? */
static bool is_phi3(struct gguf_str name)
{
    for (size_t i = 0; i + 4 <= name.n; i++) {
        if (strncasecmp(name.s + i, "phi3", 4) == 0) return true;
        if (i + 5 <= name.n && strncasecmp(name.s + i, "phi-3", 5) == 0) return true;
    }
    return false;
}

static enum err load_rstrip(struct tok *t, const struct gguf *g)
{
    struct gguf_str name = {.s = "", .n = 0};
    const enum err err = gguf_get_str(g, "general.name", GGUF_OPTIONAL, &name);
    if (err || !is_phi3(name)) return err;
    t->rstrip = mem_alloc_array(MEM_TOK, t->n_vocab, sizeof *t->rstrip);
    if (!t->rstrip) return ERR_MEMORY;
    for (uint32_t i = 0; i < t->n_special; i++) t->rstrip[t->special[i] - t->entry] = true;
    static const char *const keep[] = {"<unk>", "<s>", "<|endoftext|>"};
    for (size_t i = 0; i < sizeof keep / sizeof *keep; i++) {
        const uint32_t id = find_name(t, keep[i]);
        if (id != TOK_NONE) t->rstrip[id] = false;
    }
    return OK;
}

enum err special_load(struct tok *t, const struct gguf *g)
{
    assert(t && g);
    load_names(t);
    enum err err = load_ids(t, g);
    if (!err) err = load_table(t);
    if (!err) err = load_rstrip(t, g);
    return err;
}

void special_free(struct tok *t)
{
    assert(t);
    mem_free(t->special);
    mem_free(t->rstrip);
}

uint32_t tok_special(const struct tok *t, const char *text)
{
    assert(t && text);
    const uint32_t id = find_name(t, text);
    return id != TOK_NONE && is_special(t, id) ? id : TOK_NONE;
}

/* ---- search ---------------------------------------------------------------------------------- */

/* The first of special[lo..hi), which agree in their first `depth` bytes, whose next byte is at
 * least c; those that end there come first. */
static uint32_t first_from(const struct tok *t, uint32_t lo, uint32_t hi, uint32_t depth, int c)
{
    while (lo < hi) {
        const uint32_t mid = lo + (hi - lo) / 2;
        const struct tok_entry *e = t->special[mid];
        if (e->n > depth && (uint8_t)e->s[depth] >= c) {
            hi = mid;
        } else {
            lo = mid + 1;
        }
    }
    return lo;
}

static bool has_byte(const struct tok_entry *e, uint32_t depth, int c)
{
    return e->n > depth && (uint8_t)e->s[depth] == c;
}

/* The longest special token that s[0..n) starts with: its length, 0 if there is none. */
static uint32_t longest(const struct tok *t, const char *s, size_t n, bool with_control,
                        uint32_t *id)
{
    uint32_t len = 0;
    uint32_t lo = t->special_at[(uint8_t)s[0]], hi = t->special_at[(uint8_t)s[0] + 1];
    for (uint32_t depth = 1; lo < hi; depth++) { /* all in [lo, hi) start with s[0..depth) */
        for (; lo < hi && t->special[lo]->n == depth; lo++) {
            const uint32_t found = (uint32_t)(t->special[lo] - t->entry);
            if (!with_control && t->type[found] != TYPE_USER) continue;
            *id = found;
            len = depth;
        }
        if (depth == n || lo == hi) break;
        const int c = (uint8_t)s[depth];
        if (has_byte(t->special[lo], depth, c) && has_byte(t->special[hi - 1], depth, c)) continue;
        lo = first_from(t, lo, hi, depth, c);
        hi = first_from(t, lo, hi, depth, c + 1);
    }
    return len;
}

/* As isspace() in the C locale. */
static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

struct search {
    const struct tok *t;
    const char *text;
    uint32_t n;
    bool with_control;
    struct tok_heap heap; /* candidates: the longest first, then the leftmost */
    bool *taken;          /* (n) byte i belongs to a span */
    struct special_span *span;
    size_t n_span;
};

/* The longest token at pos of at most n bytes becomes a candidate. */
static enum err offer(struct search *f, uint32_t pos, uint32_t n)
{
    uint32_t id = TOK_NONE;
    const uint32_t len = longest(f->t, f->text + pos, n, f->with_control, &id);
    if (len == 0) return OK;
    const uint64_t key = (uint64_t)(TOKEN_BYTES_MAX - len) << 32 | pos;
    return heap_push(&f->heap, (struct tok_cand){.key = key, .len = len});
}

static enum err place(struct search *f, struct tok_cand c)
{
    const uint32_t pos = (uint32_t)c.key;
    if (f->taken[pos]) return OK;
    uint32_t id = TOK_NONE, end = pos + 1;
    while (end < pos + c.len && !f->taken[end]) end++;
    if (end < pos + c.len) return offer(f, pos, end - pos);
    longest(f->t, f->text + pos, c.len, f->with_control, &id);
    const bool strip = f->t->rstrip && f->t->rstrip[id];
    while (strip && end < f->n && !f->taken[end] && is_space(f->text[end])) end++;
    memset(f->taken + pos, true, end - pos);
    f->span[f->n_span++] = (struct special_span){.pos = pos, .end = end, .id = id};
    return OK;
}

static bool is_special_start(const struct tok *t, char c)
{
    return t->special_at[(uint8_t)c] < t->special_at[(uint8_t)c + 1];
}

static enum err offer_all(struct search *f, size_t start, size_t end)
{
    enum err err = OK;
    for (size_t pos = start; !err && pos < end; pos++) {
        if (is_special_start(f->t, f->text[pos]))
            err = offer(f, (uint32_t)pos, (uint32_t)(end - pos));
    }
    return err;
}

/* A candidate that is offered again takes its own place in the list, so there is room for all. */
static enum err place_all(struct search *f)
{
    if (f->heap.n == 0) return OK;
    size_t n_bytes;
    if (!mem_mul(f->n_span + f->heap.n, sizeof *f->span, &n_bytes)) return mem_short("a prompt");
    struct special_span *const span = mem_realloc(MEM_TOK, f->span, n_bytes);
    if (!span) return ERR_MEMORY;
    f->span = span;
    if (!f->taken) f->taken = mem_alloc_array(MEM_TOK, f->n, sizeof *f->taken);
    enum err err = f->taken ? OK : ERR_MEMORY;
    while (!err && f->heap.n) err = place(f, heap_pop(&f->heap));
    return err;
}

/* User-defined tokens give their places back. */
static void keep_control(struct search *f)
{
    size_t n = 0;
    for (size_t i = 0; i < f->n_span; i++) {
        const struct special_span s = f->span[i];
        if (f->t->type[s.id] != TYPE_USER)
            f->span[n++] = s;
        else
            memset(f->taken + s.pos, false, s.end - s.pos);
    }
    f->n_span = n;
}

static int by_pos(const void *a, const void *b)
{
    const struct special_span *x = a, *y = b;
    return x->pos < y->pos ? -1 : x->pos > y->pos;
}

enum err special_find(const struct tok *t, const char *text, uint32_t n,
                      const struct origin_span *data, size_t n_data, struct special_span **spans,
                      size_t *n_span)
{
    assert(t && text);
    assert(data || n_data == 0);
    assert(spans && n_span);
    struct search f = {.t = t, .text = text, .n = n, .with_control = true};
    enum err err = OK;
    size_t start = 0;
    for (size_t i = 0; !err && i < n_data; i++) {
        assert(start <= data[i].at);
        assert(data[i].n <= n && data[i].at <= n - data[i].n);
        err = offer_all(&f, start, data[i].at);
        start = data[i].at + data[i].n;
    }
    if (!err) err = offer_all(&f, start, n);
    if (!err) err = place_all(&f);
    if (!err && n_data > 0) {
        keep_control(&f);
        f.with_control = false;
        err = offer_all(&f, 0, n);
        if (!err) err = place_all(&f);
    }
    if (f.n_span > 1) qsort(f.span, f.n_span, sizeof *f.span, by_pos);
    mem_free(f.heap.v);
    mem_free(f.taken);
    *spans = f.span;
    *n_span = f.n_span;
    return err;
}
