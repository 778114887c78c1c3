/*
 * jinja_case.c: case and classes of code points, as Python's str has them.
 *
 * utf8proc knows categories, one-to-one case mappings and full case folding. The longer mappings of
 * Unicode's SpecialCasing.txt (eszett, ligatures, Greek iota subscripts) follow from the folding: a
 * character that is no capital and folds to several has as its capital the capitals of those. A
 * letter that converts to several keeps its origin for all of them.
 *
 * Refuses nothing. Not as Python: CJK numerals are not numeric.
 */
#include "jinja/jinja_value.h"

#include <assert.h>
#include <string.h>
#include <utf8proc.h>

#define FULL_MAX 4 /* code points that one becomes; 3 in Unicode */

struct span { /* in tables: rising */
    uint32_t from, to;
};

static bool in_spans(const struct span *s, size_t n, uint32_t c)
{
    size_t i = 0;
    while (i < n && s[i].to < c) i++;
    return i < n && s[i].from <= c;
}

#define IN(spans, c) in_spans(spans, sizeof(spans) / sizeof *(spans), c)

/* Unicode's Other_Lowercase, Other_Uppercase, and Numeric_Type=Digit (PropList.txt and
 * DerivedNumericType.txt of Unicode 14). */
static const struct span other_lower[] = {
    {0xaa, 0xaa},       {0xba, 0xba},       {0x2b0, 0x2b8},     {0x2c0, 0x2c1},
    {0x2e0, 0x2e4},     {0x345, 0x345},     {0x37a, 0x37a},     {0x1d2c, 0x1d6a},
    {0x1d78, 0x1d78},   {0x1d9b, 0x1dbf},   {0x2071, 0x2071},   {0x207f, 0x207f},
    {0x2090, 0x209c},   {0x2170, 0x217f},   {0x24d0, 0x24e9},   {0x2c7c, 0x2c7d},
    {0xa69c, 0xa69d},   {0xa770, 0xa770},   {0xa7f8, 0xa7f9},   {0xab5c, 0xab5f},
    {0x10780, 0x10780}, {0x10783, 0x10785}, {0x10787, 0x107b0}, {0x107b2, 0x107ba},
};
static const struct span other_upper[] = {
    {0x2160, 0x216f}, {0x24b6, 0x24cf}, {0x1f130, 0x1f149}, {0x1f150, 0x1f169}, {0x1f170, 0x1f189},
};
static const struct span other_digit[] = {
    {0xb2, 0xb3},       {0xb9, 0xb9},       {0x1369, 0x1371},   {0x19da, 0x19da},
    {0x2070, 0x2070},   {0x2074, 0x2079},   {0x2080, 0x2089},   {0x2460, 0x2468},
    {0x2474, 0x247c},   {0x2488, 0x2490},   {0x24ea, 0x24ea},   {0x24f5, 0x24fd},
    {0x24ff, 0x24ff},   {0x2776, 0x277e},   {0x2780, 0x2788},   {0x278a, 0x2792},
    {0x10a40, 0x10a43}, {0x10e60, 0x10e68}, {0x11052, 0x1105a}, {0x1f100, 0x1f10a},
};

static utf8proc_category_t category(uint32_t c)
{
    return utf8proc_category((utf8proc_int32_t)c);
}

/* ---- classes --------------------------------------------------------------------------------- */

bool jc_space(uint32_t c)
{
    if (c < 0x80) return c == ' ' || (c >= '\t' && c <= '\r') || (c >= 0x1c && c <= 0x1f);
    const utf8proc_category_t k = category(c);
    return c == 0x85 || k == UTF8PROC_CATEGORY_ZS || k == UTF8PROC_CATEGORY_ZL ||
           k == UTF8PROC_CATEGORY_ZP;
}

bool jc_line_end(uint32_t c)
{
    return (c >= '\n' && c <= '\r') || (c >= 0x1c && c <= 0x1e) || c == 0x85 || c == 0x2028 ||
           c == 0x2029;
}

bool jc_printable(uint32_t c)
{
    switch (category(c)) {
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
        return false;
    case UTF8PROC_CATEGORY_ZS:
        return c == ' ';
    default:
        return true;
    }
}

static bool is_alpha(uint32_t c)
{
    const utf8proc_category_t k = category(c);
    return k >= UTF8PROC_CATEGORY_LU && k <= UTF8PROC_CATEGORY_LO;
}

static bool is_numeric(uint32_t c)
{
    const utf8proc_category_t k = category(c);
    return k >= UTF8PROC_CATEGORY_ND && k <= UTF8PROC_CATEGORY_NO;
}

static bool is_decimal(uint32_t c)
{
    return category(c) == UTF8PROC_CATEGORY_ND;
}

static bool is_digit(uint32_t c)
{
    return is_decimal(c) || IN(other_digit, c);
}

static bool is_alnum(uint32_t c)
{
    return is_alpha(c) || is_numeric(c);
}

static bool is_ascii(uint32_t c)
{
    return c < 0x80;
}

bool jc_word(uint32_t c)
{
    return c == '_' || is_alnum(c);
}

bool jc_id_start(uint32_t c)
{
    return c == '_' || is_alpha(c) || category(c) == UTF8PROC_CATEGORY_NL;
}

static bool is_id_part(uint32_t c)
{
    const utf8proc_category_t k = category(c);
    return jc_id_start(c) || k == UTF8PROC_CATEGORY_ND || k == UTF8PROC_CATEGORY_MN ||
           k == UTF8PROC_CATEGORY_MC || k == UTF8PROC_CATEGORY_PC;
}

static bool is_lower(uint32_t c)
{
    if (c < 0x80) return c >= 'a' && c <= 'z';
    return category(c) == UTF8PROC_CATEGORY_LL || IN(other_lower, c);
}

static bool is_upper(uint32_t c)
{
    if (c < 0x80) return c >= 'A' && c <= 'Z';
    return category(c) == UTF8PROC_CATEGORY_LU || IN(other_upper, c);
}

static bool is_title(uint32_t c)
{
    return category(c) == UTF8PROC_CATEGORY_LT;
}

static bool is_cased(uint32_t c)
{
    return is_lower(c) || is_upper(c) || is_title(c);
}

static bool all_chars(struct jx *x, const struct jstr *s, bool (*is)(uint32_t c))
{
    for (size_t i = 0; i < s->n;) {
        if (!is(js_char(x, s, &i))) return false;
    }
    return true;
}

/* Some characters have case, and none the other one. */
static bool is_all_case(struct jx *x, const struct jstr *s, bool upper)
{
    bool some = false;
    for (size_t i = 0; i < s->n;) {
        const uint32_t c = js_char(x, s, &i);
        if (is_title(c) || (upper ? is_lower(c) : is_upper(c))) return false;
        some = some || (upper ? is_upper(c) : is_lower(c));
    }
    return some;
}

static bool is_titled(struct jx *x, const struct jstr *s)
{
    bool some = false, in_word = false;
    for (size_t i = 0; i < s->n;) {
        const uint32_t c = js_char(x, s, &i);
        if ((is_upper(c) || is_title(c)) == in_word && is_cased(c)) return false;
        in_word = is_cased(c);
        some = some || in_word;
    }
    return some;
}

bool jc_all(struct jx *x, const struct jstr *s, enum jclass what)
{
    static bool (*const is[])(uint32_t c) = {
        [JC_ALL_ALNUM] = is_alnum,     [JC_ALL_ALPHA] = is_alpha,
        [JC_ALL_ASCII] = is_ascii,     [JC_ALL_DECIMAL] = is_decimal,
        [JC_ALL_DIGIT] = is_digit,     [JC_ALL_IDENTIFIER] = is_id_part,
        [JC_ALL_NUMERIC] = is_numeric, [JC_ALL_PRINTABLE] = jc_printable,
        [JC_ALL_SPACE] = jc_space,
    };
    size_t at = 0;
    switch (what) {
    case JC_ALL_LOWER:
        return is_all_case(x, s, false);
    case JC_ALL_UPPER:
        return is_all_case(x, s, true);
    case JC_ALL_TITLE:
        return is_titled(x, s);
    case JC_ALL_IDENTIFIER:
        if (s->n == 0 || !jc_id_start(js_char(x, s, &at))) return false;
        break;
    case JC_ALL_ASCII:
    case JC_ALL_PRINTABLE: /* also where there is none */
        break;
    default:
        if (s->n == 0) return false;
    }
    return all_chars(x, s, is[what]);
}

/* ---- conversion ------------------------------------------------------------------------------ */

/* What full case folding makes of c; 1 .. FULL_MAX. */
static size_t fold(uint32_t c, utf8proc_int32_t out[FULL_MAX])
{
    const utf8proc_ssize_t n =
        utf8proc_decompose_char((utf8proc_int32_t)c, out, FULL_MAX, UTF8PROC_CASEFOLD, NULL);
    assert(n >= 0 && n <= FULL_MAX);
    return (size_t)n;
}

static size_t to_upper(uint32_t c, utf8proc_int32_t out[FULL_MAX])
{
    if (c < 0x80) {
        out[0] = (utf8proc_int32_t)(is_lower(c) ? c - 'a' + 'A' : c);
        return 1;
    }
    const size_t n = fold(c, out);
    if (n > 1 && !is_upper(c)) {
        for (size_t i = 0; i < n; i++) out[i] = utf8proc_toupper(out[i]);
        return n;
    }
    out[0] = utf8proc_toupper((utf8proc_int32_t)c);
    return 1;
}

static size_t to_title(uint32_t c, utf8proc_int32_t out[FULL_MAX])
{
    if (c < 0x80) return to_upper(c, out);
    const utf8proc_int32_t simple = utf8proc_totitle((utf8proc_int32_t)c);
    const size_t n = fold(c, out);
    if (n == 1 || is_upper(c) || is_title(c) ||
        (simple != (utf8proc_int32_t)c && n == 2 &&
         category((uint32_t)simple) == UTF8PROC_CATEGORY_LT)) {
        out[0] = simple;
        return 1;
    }
    size_t i = 0;
    while (i + 1 < n && utf8proc_totitle(out[i]) == out[i]) i++; /* an apostrophe before n */
    out[i] = utf8proc_totitle(out[i]);
    /* The iota of a Greek vowel goes below it. */
    if (out[n - 1] == 0x3b9 && i < n - 1) out[n - 1] = 0x345;
    return n;
}

/* Does not count when looking whether a sigma ends a word. */
static bool is_ignorable(uint32_t c)
{
    switch (category(c)) {
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_SK:
        return true;
    default:
        return c == '\'' || c == '.' || c == ':' || c == 0xb7 || c == 0x2018 || c == 0x2019 ||
               c == 0x2024 || c == 0x2027;
    }
}

/* A conversion on its way through a string. */
struct walk {
    const struct jstr *s;
    size_t i;       /* the byte behind the current character */
    bool in_word;   /* the character before had case */
    bool had_cased; /* the same, ignorable ones left out */
};

static bool sigma_ends(struct jx *x, const struct walk *w)
{
    for (size_t i = w->i; i < w->s->n;) {
        const uint32_t c = js_char(x, w->s, &i);
        if (!is_ignorable(c)) return w->had_cased && !is_cased(c);
    }
    return w->had_cased;
}

static size_t to_lower(struct jx *x, const struct walk *w, uint32_t c,
                       utf8proc_int32_t out[FULL_MAX])
{
    if (c == 0x130) return fold(c, out); /* the capital i with a dot is two small ones */
    out[0] = c == 0x3a3 && sigma_ends(x, w) ? 0x3c2 : utf8proc_tolower((utf8proc_int32_t)c);
    return 1;
}

static size_t convert_char(struct jx *x, const struct walk *w, uint32_t c, enum jcase how,
                           bool is_first, utf8proc_int32_t out[FULL_MAX])
{
    switch (how) {
    case JC_UPPER:
        return to_upper(c, out);
    case JC_FOLD:
        return fold(c, out);
    case JC_TITLE:
        return w->in_word ? to_lower(x, w, c, out) : to_title(c, out);
    case JC_CAPITALIZE:
        return is_first ? to_title(c, out) : to_lower(x, w, c, out);
    case JC_SWAP:
        if (is_lower(c)) return to_upper(c, out);
        if (is_upper(c)) return to_lower(x, w, c, out);
        out[0] = (utf8proc_int32_t)c;
        return 1;
    case JC_LOWER:
        break;
    }
    return to_lower(x, w, c, out);
}

const struct jstr *jc_convert(struct jx *x, const struct jstr *s, enum jcase how)
{
    struct jbuf b = {0};
    struct walk w = {.s = s};
    while (w.i < s->n) {
        const size_t at = w.i;
        const uint32_t c = js_char(x, s, &w.i);
        utf8proc_int32_t out[FULL_MAX];
        const size_t n = convert_char(x, &w, c, how, at == 0, out);
        for (size_t i = 0; i < n; i++) jb_char(x, &b, (uint32_t)out[i], js_is_data(s, at));
        w.in_word = is_cased(c);
        if (!is_ignorable(c)) w.had_cased = w.in_word;
    }
    return js_safe(x, jb_end(x, &b), s->safe);
}
