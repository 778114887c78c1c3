/*
 * tok_spm.c: texts as sentencepiece writes them: U+2581 for spaces. "llama" merges by score,
 * "gemma4" by rank; characters without a token become the byte tokens <0xXX> (tok_word.c).
 *
 * A whole fragment is one word to the merge engine, but it need not be: almost no token has a
 * character before a U+2581, so no merge can cross from a word into the space behind it. The last
 * bytes of the characters for which there is such a token are collected when the vocabulary is
 * loaded (gemma: '>', from one token), and the text is cut before every other space; what comes out
 * is the same, and the symbols stay in the cache.
 *
 * llama.cpp does not read tokenizer.ggml.remove_extra_whitespaces for these kinds; nor is it read
 * here.
 */
#include "base/mem.h"
#include "gguf/gguf.h"
#include "text/tok_impl.h"

#include <assert.h>
#include <string.h>

#define SPACE "\xe2\x96\x81" /* U+2581 */
#define N_SPACE 3

/* ---- load ------------------------------------------------------------------------------------ */

static bool space_at(const char *s, size_t n, size_t pos)
{
    return pos + N_SPACE <= n && memcmp(s + pos, SPACE, N_SPACE) == 0;
}

/* Is there a character, not a space, before the space at pos? */
static bool after_character(const char *s, size_t pos)
{
    return pos > 0 && !(pos >= N_SPACE && memcmp(s + pos - N_SPACE, SPACE, N_SPACE) == 0);
}

static void load_glued(struct tok *t)
{
    for (uint32_t id = 0; id < t->n_vocab; id++) {
        const struct tok_entry *e = &t->entry[id];
        if (e->n <= N_SPACE || !vocab_is_text(t, id)) continue;
        for (size_t i = 1; i + N_SPACE <= e->n; i++) {
            if (space_at(e->s, e->n, i) && after_character(e->s, i))
                t->glued[(uint8_t)e->s[i - 1]] = true;
        }
    }
}

enum err spm_load(struct tok *t, const struct gguf *g)
{
    assert(t && g);
    assert(t->spaced);
    load_glued(t);
    t->space_prefix = !t->ranked;
    const enum err err =
        gguf_bool(g, "tokenizer.ggml.add_space_prefix", GGUF_OPTIONAL, &t->space_prefix);
    return err || !t->ranked ? err : word_load_ranks(t, g);
}

/* ---- encode ---------------------------------------------------------------------------------- */

/* The fragment with its spaces rewritten, and one in front where the vocabulary wants it; *n_out
 * bytes in r->buf. */
static enum err write_spaces(struct tok_run *r, const char *s, size_t n, size_t *n_out)
{
    const size_t prefix = r->t->space_prefix;
    size_t n_space = prefix;
    for (size_t i = 0; i < n; i++) n_space += s[i] == ' ';
    const enum err err = run_reserve(r, n + n_space * N_SPACE);
    if (err) return err;
    char *out = r->buf;
    for (size_t i = 0; i < n + prefix; i++) {
        const char c = i < prefix ? ' ' : s[i - prefix];
        if (c == ' ') {
            memcpy(out, SPACE, N_SPACE);
            out += N_SPACE;
        } else {
            *out++ = c;
        }
    }
    *n_out = (size_t)(out - r->buf);
    return OK;
}

enum err spm_encode(struct tok_run *r, const char *s, size_t n)
{
    assert(r && s);
    assert(n > 0);
    size_t n_text = 0, start = 0;
    enum err err = write_spaces(r, s, n, &n_text);
    if (err) return err;
    const char *text = r->buf;
    for (size_t i = 1; !err && i < n_text; i++) {
        if (!space_at(text, n_text, i) || !after_character(text, i)) continue;
        if (r->t->glued[(uint8_t)text[i - 1]]) continue;
        err = word_encode(r, text + start, i - start);
        start = i;
    }
    return err ? err : word_encode(r, text + start, n_text - start);
}
