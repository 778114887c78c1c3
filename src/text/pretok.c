/*
 * pretok.c: pre-tokenisers: cut a text into the words inside which byte-level BPE merges.
 *
 * A pre-tokeniser is a row of regular expressions, as published in the models' tokenizer.json, in
 * the order and with the simplifications of the same name in llama.cpp, whose token ids are the
 * reference. The first expression cuts the text into its matches and what lies between them; the
 * next one cuts these pieces, each as a text of its own; and so on. Nothing is lost: the words
 * together are the text.
 *
 * The expressions are written for pcre2 and so that none takes more than linear time on any text:
 * no group is repeated where a class will do, and runs are only entered at their start. Bytes that
 * are not UTF-8 belong to no expression: a run of them is a word.
 *
 * pcre2 interprets the expressions: 5 to 16 MB/s of English for the whole tokenizer. Its JIT would
 * make that 11 to 27, and needs memory that is writable and executable.
 */
#include "base/mem.h"
#include "text/tok_impl.h"

#include <assert.h>
#include <string.h>
#include <utf8proc.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#define PATTERNS_MAX 6

/* ---- patterns -------------------------------------------------------------------------------- */

/* White_Space of Unicode, for use inside a class; \s of pcre2 would add U+180E. */
#define WS "\\t-\\r\\x{85}\\p{Z}"

#define CONTRACTION "'s|'t|'re|'ve|'m|'ll|'d"
/* No caseless matching here: it would take U+017F for an s. */
#define CONTRACTION_ANY_CASE "'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD]"
#define GAPS "|[" WS "]+(?![^" WS "])"
#define LINES "|[" WS "]*[\\r\\n]+" GAPS "|[" WS "]+"
#define ONE_LINE "|[" WS "]*[\\r\\n]" GAPS "|[" WS "]+"
#define OTHERS "| ?[^" WS "\\p{L}\\p{N}]+"

#define GPT2 CONTRACTION "| ?\\p{L}+| ?\\p{N}+" OTHERS GAPS
#define LETTERS "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+"
#define LLAMA3 CONTRACTION_ANY_CASE LETTERS "|\\p{N}{1,3}" OTHERS "[\\r\\n]*" LINES
#define QWEN2 CONTRACTION_ANY_CASE LETTERS "|\\p{N}" OTHERS "[\\r\\n]*" LINES

/* Words of capitals, then small letters; letters other than a-z and A-Z count as both. */
#define CASED(end)                                                                                 \
    "[^\\r\\n\\p{L}\\p{N}]?[^\\P{L}a-z]*[^\\P{L}A-Z]+" end                                         \
    "|[^\\r\\n\\p{L}\\p{N}]?[^\\P{L}a-z]+[^\\P{L}A-Z]*" end
#define OPTIONAL_CONTRACTION "(?:" CONTRACTION_ANY_CASE ")?"

/* Groups of three digits counted from the right. */
#define GROUPS_OF_3(digit)                                                                         \
    "(?<!" digit ")" digit "{1,3}(?=(?:" digit "{3})*+(?!" digit "))|" digit "{3}"

#define PUNCTUATION "[!-/:-@\\[-`{-~]"
#define DEEPSEEK_V3                                                                                \
    PUNCTUATION                                                                                    \
    "[A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\\r\\n]*" LINES

/* The cased letters of deepseek-llm, from its tokenizer.json. */
#define DEEPSEEK_LETTERS                                                                           \
    "A-Za-z\\x{b5}\\x{c0}-\\x{d6}\\x{d8}-\\x{f6}\\x{f8}-\\x{1ba}\\x{1bc}-\\x{1bf}"                 \
    "\\x{1c4}-\\x{293}\\x{295}-\\x{2af}\\x{370}-\\x{373}\\x{376}\\x{377}\\x{37b}-\\x{37d}"         \
    "\\x{37f}\\x{386}\\x{388}-\\x{38a}\\x{38c}\\x{38e}-\\x{3a1}\\x{3a3}-\\x{3f5}"                  \
    "\\x{3f7}-\\x{481}\\x{48a}-\\x{52f}\\x{531}-\\x{556}\\x{10a0}-\\x{10c5}"                       \
    "\\x{13a0}-\\x{13f5}\\x{13f8}-\\x{13fd}\\x{1c90}-\\x{1cba}\\x{1cbd}-\\x{1cbf}"                 \
    "\\x{1d00}-\\x{1d2b}\\x{1d6b}-\\x{1d77}\\x{1d79}-\\x{1d9a}\\x{1e00}-\\x{1f15}"                 \
    "\\x{1f18}-\\x{1f1d}\\x{1f20}-\\x{1f45}\\x{1f48}-\\x{1f4d}\\x{1f50}-\\x{1f57}"                 \
    "\\x{1f59}\\x{1f5b}\\x{1f5d}\\x{1f5f}-\\x{1f7d}\\x{1f80}-\\x{1fb4}\\x{1fb6}-\\x{1fbc}"         \
    "\\x{1fbe}\\x{1fc2}-\\x{1fc4}\\x{1fc6}-\\x{1fcc}\\x{1fd0}-\\x{1fd3}"                           \
    "\\x{1fd6}-\\x{1fdb}\\x{1fe0}-\\x{1fec}\\x{1ff2}-\\x{1ff4}\\x{1ff6}-\\x{1ffc}"                 \
    "\\x{2102}\\x{2107}\\x{210a}-\\x{2113}\\x{2115}\\x{2119}-\\x{211d}\\x{2124}\\x{2126}"          \
    "\\x{2128}\\x{212a}-\\x{212d}\\x{212f}-\\x{2134}\\x{2139}\\x{213c}-\\x{213f}"                  \
    "\\x{2145}-\\x{2149}\\x{214e}\\x{2183}\\x{2184}\\x{2c00}-\\x{2c7b}\\x{2c7e}-\\x{2ce4}"         \
    "\\x{2ceb}-\\x{2cee}\\x{2cf2}\\x{2cf3}\\x{a640}-\\x{a66d}\\x{a680}-\\x{a69b}"                  \
    "\\x{a722}-\\x{a76f}\\x{a771}-\\x{a787}\\x{a78b}-\\x{a78e}\\x{ab70}-\\x{abbf}"                 \
    "\\x{fb00}-\\x{fb06}\\x{fb13}-\\x{fb17}\\x{ff21}-\\x{ff3a}\\x{ff41}-\\x{ff5a}"                 \
    "\\x{10400}-\\x{1044f}\\x{104b0}-\\x{104d3}\\x{104d8}-\\x{104fb}\\x{10c80}-\\x{10cb2}"         \
    "\\x{10cc0}-\\x{10cf2}\\x{118a0}-\\x{118df}\\x{1e900}-\\x{1e943}"
/* Its [U+0800-U+9FA5 U+AC00-U+D7FF] without white space, which llama.cpp matches only as such. */
#define DEEPSEEK_CJK                                                                               \
    "[\\x{800}-\\x{167f}\\x{1681}-\\x{1fff}\\x{200b}-\\x{2027}\\x{202a}-\\x{202e}"                 \
    "\\x{2030}-\\x{205e}\\x{2060}-\\x{2fff}\\x{3001}-\\x{9fa5}\\x{ac00}-\\x{d7ff}]+"
#define DEEPSEEK_MARKS                                                                             \
    "[!-/:-~\\x{ff01}-\\x{ff0f}\\x{ff1a}-\\x{ff5e}\\x{2018}-\\x{201f}\\x{3001}\\x{3002}]+"
/* Chinese, Japanese, Thai (from U+0E40), Lao, Khmer, Burmese and Korean. */
#define AFMOE_SCRIPTS                                                                              \
    "[\\x{4e00}-\\x{9fff}\\x{3400}-\\x{4dbf}\\x{f900}-\\x{faff}\\x{3040}-\\x{30ff}"                \
    "\\x{ff65}-\\x{ff9f}\\x{2f00}-\\x{2fdf}\\x{e40}-\\x{e7f}\\x{e80}-\\x{eff}\\x{1780}-\\x{17ff}"  \
    "\\x{1000}-\\x{109f}\\x{aa60}-\\x{aa7f}\\x{a9e0}-\\x{a9ff}\\x{ac00}-\\x{d7af}"                 \
    "\\x{1100}-\\x{11ff}]+"
/* Bloom: all but white space and these marks. */
#define BLOOM " ?[^" WS "(|.,!?)\\x{2026}\\x{3002}\\x{ff0c}\\x{3001}\\x{964}\\x{6d4}\\x{60c}]+"

/* ---- rows ------------------------------------------------------------------------------------ */

static const struct row {
    const char *names; /* values of tokenizer.ggml.pre, one space between them */
    const char *pattern[PATTERNS_MAX];
    struct pretok_traits traits;
} rows[] = {
    {"default", {"[\\p{P}$+<=>^~|]+", GPT2, "\\p{N}+", "[0-9]{3}"}, {0}},
    {"gpt-2 phi-2 mpt olmo jais trillion granite-docling exaone4 gigachat mellum a.x-4.0",
     {GPT2},
     {0}},
    {"llama3 llama-v3 llama-bpe falcon3 falcon-h1 pixtral midm-2.0 lfm2",
     {LLAMA3},
     {.ignore_merges = true, .add_bos = true}},
    {"dbrx smaug-bpe glm4 chatglm-bpe", {LLAMA3}, {0}},
    {"qwen2 deepseek-r1-qwen megrez stablelm2 hunyuan grok-2", {QWEN2}, {0}},
    {"qwen35",
     {CONTRACTION_ANY_CASE "|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|\\p{N}"
                           "| ?[^" WS "\\p{L}\\p{M}\\p{N}]+[\\r\\n]*" LINES},
     {0}},
    {"starcoder refact command-r smollm codeshell exaone minerva-7b", {"\\p{N}", GPT2}, {0}},
    {"deepseek-llm",
     {"[\\r\\n]", "[" WS "]?[" DEEPSEEK_LETTERS "]+", "[" WS "]?" DEEPSEEK_MARKS,
      "(?<![" WS "])[" WS "]+\\z", DEEPSEEK_CJK, "\\p{N}+"},
     {0}},
    {"deepseek-coder",
     {"[\\r\\n]", "[" WS "]?\\p{L}+", "[" WS "]?\\p{P}+", DEEPSEEK_CJK, "\\p{N}"},
     {0}},
    {"deepseek-v3 hunyuan-dense",
     {"\\p{N}{1,3}", "[\\x{4e00}-\\x{9fa5}\\x{3040}-\\x{30ff}]+", DEEPSEEK_V3},
     {0}},
    {"falcon", {"[\\p{P}$+<=>^~|`]+", GPT2, "[0-9]{3}"}, {0}},
    {"gpt-4o llama4 kanana2 minimax-m2",
     {CASED(OPTIONAL_CONTRACTION) "|\\p{N}{1,3}" OTHERS "[\\r\\n/]*" LINES},
     {0}},
    {"tekken",
     {CASED("") "|\\p{N}" OTHERS "[\\r\\n/]*" LINES},
     {.ignore_merges = true, .add_bos = true}},
    {"bailingmoe bailingmoe2 llada-moe",
     {CONTRACTION_ANY_CASE LETTERS "|\\p{N}" OTHERS "[\\r\\n]*" ONE_LINE},
     {0}},
    {"seed-coder",
     {CONTRACTION_ANY_CASE LETTERS "|\\p{N}| ?[^" WS "\\p{L}\\p{N}\\r\\n]+" LINES},
     {0}},
    {"kimi-k2",
     {"\\p{sc:Han}+|[^\\r\\n\\p{L}\\p{N}]?[^\\P{L}\\p{sc:Han}]+" OPTIONAL_CONTRACTION
      "|\\p{N}{1,3}" OTHERS "[\\r\\n]*" LINES},
     {0}},
    {"afmoe", {GROUPS_OF_3("\\p{N}"), AFMOE_SCRIPTS, DEEPSEEK_V3}, {0}},
    {"superbpe", {"\\p{N}+", GROUPS_OF_3("[0-9]")}, {0}},
    {"bloom poro-chat gpt3-finnish", {BLOOM}, {0}},
    {"viking", {BLOOM, "\\p{N}"}, {0}},
};

static bool has_name(const char *names, const char *name, size_t n)
{
    for (const char *s = names; *s; s += strcspn(s, " "), s += *s == ' ') {
        if (strcspn(s, " ") == n && memcmp(s, name, n) == 0) return true;
    }
    return false;
}

static const struct row *find_row(const char *name, size_t n)
{
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (has_name(rows[i].names, name, n)) return &rows[i];
    }
    return NULL;
}

bool pretok_known(const char *name, size_t n)
{
    assert(name || n == 0);
    return n > 0 && find_row(name, n);
}

/* ---- open ------------------------------------------------------------------------------------ */

struct pretok {
    pcre2_general_context *memory;
    pcre2_match_context *limits;
    pcre2_code *code[PATTERNS_MAX];
    size_t n_code;
};

static void *pcre_alloc(size_t n_bytes, void *unused)
{
    (void)unused;
    return mem_alloc(MEM_TOK, n_bytes);
}

static void pcre_free(void *p, void *unused)
{
    (void)unused;
    mem_free(p);
}

static enum err add_pattern(struct pretok *p, pcre2_compile_context *context, const char *pattern)
{
    int error = 0;
    PCRE2_SIZE at = 0;
    pcre2_code *code =
        pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED, PCRE2_UTF, &error, &at, context);
    assert(code || error == PCRE2_ERROR_HEAP_FAILED);
    if (!code) return ERR_MEMORY;
    p->code[p->n_code++] = code;
    return OK;
}

enum err pretok_open(struct pretok **out, const char *name, size_t n, struct pretok_traits *traits)
{
    assert(out && traits);
    const struct row *row = find_row(name, n);
    assert(row);
    struct pretok *p = mem_alloc(MEM_TOK, sizeof *p);
    if (!p) return ERR_MEMORY;
    *out = p;
    *traits = row->traits;
    p->memory = pcre2_general_context_create(pcre_alloc, pcre_free, NULL);
    p->limits = p->memory ? pcre2_match_context_create(p->memory) : NULL;
    pcre2_compile_context *context = p->memory ? pcre2_compile_context_create(p->memory) : NULL;
    enum err err = p->limits && context ? OK : ERR_MEMORY;
    for (size_t i = 0; !err && i < PATTERNS_MAX && row->pattern[i]; i++)
        err = add_pattern(p, context, row->pattern[i]);
    pcre2_compile_context_free(context);
    if (err) return err;
    /* Steps grow with the text, a few for each byte; the text itself is what is limited. */
    pcre2_set_match_limit(p->limits, UINT32_MAX);
    pcre2_set_depth_limit(p->limits, UINT32_MAX);
    return OK;
}

void pretok_close(struct pretok *p)
{
    if (!p) return;
    for (size_t i = 0; i < p->n_code; i++) pcre2_code_free(p->code[i]);
    pcre2_match_context_free(p->limits);
    pcre2_general_context_free(p->memory);
    mem_free(p);
}

/* ---- split ----------------------------------------------------------------------------------- */

struct split {
    const struct pretok *p;
    pcre2_match_data *found[PATTERNS_MAX]; /* one for each level: the levels nest */
    pretok_word_fn *word;
    void *ctx;
};

/* The first match at or after from; ERR_END: there is none. */
static enum err find(const struct split *f, size_t level, const char *s, size_t n, size_t from)
{
    const int rc = pcre2_match(f->p->code[level], (PCRE2_SPTR)s, n, from, PCRE2_NO_UTF_CHECK,
                               f->found[level], f->p->limits);
    if (rc > 0) return OK;
    if (rc == PCRE2_ERROR_NOMATCH) return ERR_END;
    return err_set(ERR_MEMORY, "the pre-tokeniser gave up on %zu bytes of text (pcre2 error %d)", n,
                   rc);
}

/* Cuts s by the pattern of this level and gives the pieces to the next one. */
static enum err cut(const struct split *f, size_t level, const char *s, size_t n)
{
    if (level == f->p->n_code) return f->word(f->ctx, s, n);
    size_t done = 0;
    enum err err = OK;
    while (done < n) {
        err = find(f, level, s, n, done);
        if (err) break;
        const PCRE2_SIZE *range = pcre2_get_ovector_pointer(f->found[level]);
        const size_t start = range[0], end = range[1];
        assert(start >= done && end > start);
        if (start > done) err = cut(f, level + 1, s + done, start - done);
        if (!err) err = cut(f, level + 1, s + start, end - start);
        if (err) return err;
        done = end;
    }
    if (err == ERR_END) err = OK;
    return err || done == n ? err : cut(f, level + 1, s + done, n - done);
}

/* How many bytes at the start are UTF-8 (valid), or are not (!valid). */
static size_t run_bytes(const char *s, size_t n, bool valid)
{
    size_t i = 0;
    while (i < n) {
        utf8proc_int32_t c;
        const utf8proc_ssize_t len = utf8proc_iterate(
            (const utf8proc_uint8_t *)s + i, n - i < 4 ? (utf8proc_ssize_t)(n - i) : 4, &c);
        if ((len > 0) != valid) break;
        i += len > 0 ? (size_t)len : 1;
    }
    return i;
}

enum err pretok_split(const struct pretok *p, const char *text, size_t n, pretok_word_fn *word,
                      void *ctx)
{
    assert(p && text);
    assert(word);
    struct split f = {.p = p, .word = word, .ctx = ctx};
    enum err err = OK;
    for (size_t i = 0; !err && i < p->n_code; i++) {
        f.found[i] = pcre2_match_data_create(1, p->memory);
        if (!f.found[i]) err = ERR_MEMORY;
    }
    for (size_t pos = 0; !err && pos < n;) {
        const size_t n_good = run_bytes(text + pos, n - pos, true);
        if (n_good) err = cut(&f, 0, text + pos, n_good);
        pos += n_good;
        const size_t n_bad = err ? 0 : run_bytes(text + pos, n - pos, false);
        if (n_bad) err = word(ctx, text + pos, n_bad);
        pos += n_bad;
    }
    for (size_t i = 0; i < p->n_code; i++) pcre2_match_data_free(f.found[i]);
    return err;
}
