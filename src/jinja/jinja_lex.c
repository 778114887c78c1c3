/*
 * jinja_lex.c: a template's text as tokens; white space around tags is taken off here.
 *
 * As Jinja does with trim_blocks and lstrip_blocks: a newline right behind `%}` or `#}` goes, and
 * so do blanks between the start of a line and `{%` or `{#`; a `-` in the tag takes all white space
 * on its side, a `+` keeps what is there. Line ends become \n, the last one of the text goes.
 * Inside of a tag its end counts only when all brackets are closed: `{{ {'a': {}} }}` is one tag.
 */
#include "jinja/jinja_impl.h"

#include "base/limits.h"

#include <assert.h>
#include <string.h>

static const char *const names[T_COUNT] = {
    [T_END] = "the end of the template",
    [T_DATA] = "text",
    [T_VAR_BEGIN] = "'{{'",
    [T_VAR_END] = "'}}'",
    [T_BLOCK_BEGIN] = "'{%'",
    [T_BLOCK_END] = "'%}'",
    [T_NAME] = "a name",
    [T_STRING] = "a string",
    [T_INT] = "an integer",
    [T_FLOAT] = "a number",
    [T_FLOORDIV] = "//",
    [T_POW] = "**",
    [T_EQ] = "==",
    [T_NE] = "!=",
    [T_GE] = ">=",
    [T_LE] = "<=",
    [T_ADD] = "+",
    [T_SUB] = "-",
    [T_DIV] = "/",
    [T_MUL] = "*",
    [T_MOD] = "%",
    [T_TILDE] = "~",
    [T_LBRACKET] = "[",
    [T_RBRACKET] = "]",
    [T_LPAREN] = "(",
    [T_RPAREN] = ")",
    [T_LBRACE] = "{",
    [T_RBRACE] = "}",
    [T_GT] = ">",
    [T_LT] = "<",
    [T_ASSIGN] = "=",
    [T_DOT] = ".",
    [T_COLON] = ":",
    [T_PIPE] = "|",
    [T_COMMA] = ",",
    [T_SEMICOLON] = ";",
};

struct lexer {
    struct jx *x;
    const char *s; /* (n) */
    size_t n, i;
    bool line_start; /* the last tag took the end of its line */
    struct jtok *t;
    size_t n_tok, cap;
    char open[JINJA_NEST_MAX]; /* (n_open) brackets that are open, as what closes them */
    size_t n_open;
};

const char *lex_name(enum jtok_kind kind)
{
    assert(kind < T_COUNT);
    return names[kind];
}

static void push(struct lexer *l, enum jtok_kind kind, struct jv v)
{
    if (l->n_tok == l->cap) {
        const size_t cap = l->cap ? 2 * l->cap : 256;
        struct jtok *t = jx_array(l->x, cap, sizeof *t);
        if (l->n_tok) memcpy(t, l->t, l->n_tok * sizeof *t);
        l->t = t;
        l->cap = cap;
    }
    l->t[l->n_tok++] = (struct jtok){.kind = (uint8_t)kind, .line = l->x->line, .v = v};
}

static bool at(const struct lexer *l, const char *text)
{
    const size_t n = strlen(text);
    return n <= l->n - l->i && memcmp(l->s + l->i, text, n) == 0;
}

/* Steps to byte `to` and counts the lines. */
static void advance(struct lexer *l, size_t to)
{
    assert(to >= l->i);
    for (; l->i < to; l->i++) l->x->line += l->s[l->i] == '\n';
}

static struct jv part(struct lexer *l, size_t from, size_t to)
{
    return jv_str(js_new(l->x, l->s + from, to - from, false));
}

/* Behind the white space that starts at byte i. */
static size_t skip_space(const struct lexer *l, size_t i)
{
    const struct jstr s = {.s = l->s, .n = l->n};
    for (size_t next = i; next < l->n; i = next) {
        if (!jc_space(js_char(l->x, &s, &next))) break;
    }
    return i;
}

static bool is_name_char(const struct lexer *l, size_t *i, bool first)
{
    const struct jstr s = {.s = l->s, .n = l->n};
    if (*i >= l->n) return false;
    const uint32_t c = js_char(l->x, &s, i);
    return first ? jc_id_start(c) : jc_word(c);
}

static size_t skip_name(const struct lexer *l, size_t i)
{
    size_t next = i;
    if (!is_name_char(l, &next, true)) return i;
    do {
        i = next;
    } while (is_name_char(l, &next, false));
    return i;
}

/* ---- text and the white space around tags ---------------------------------------------------- */

/* The end of the text [from, to) before a tag with this sign; `strips`: {% and {#. */
static size_t text_end(const struct lexer *l, size_t from, size_t to, char sign, bool strips)
{
    const struct jstr s = {.s = l->s, .n = to};
    size_t end = from, line = from; /* behind the last non-space; of the last line */
    bool blank = true, has_line = l->line_start;
    for (size_t i = from; i < to;) {
        const uint32_t c = js_char(l->x, &s, &i);
        if (c == '\n') {
            line = i;
            blank = has_line = true;
        } else if (!jc_space(c)) {
            blank = false;
        }
        if (!jc_space(c)) end = i;
    }
    if (sign == '-') return end;
    return sign != '+' && strips && has_line && blank ? line : to;
}

/* `-` or `+` at byte i, or NUL. */
static char sign_at(const struct lexer *l, size_t i)
{
    return i < l->n && (l->s[i] == '-' || l->s[i] == '+') ? l->s[i] : '\0';
}

/* Behind a tag whose end is at byte i and has this sign: what it takes along. */
static size_t behind_tag(const struct lexer *l, size_t i, char sign, bool trims)
{
    if (sign == '-') return skip_space(l, i);
    return trims && sign != '+' && i < l->n && l->s[i] == '\n' ? i + 1 : i;
}

static void end_tag(struct lexer *l, size_t i)
{
    assert(i <= l->n);
    advance(l, i);
    l->line_start = i > 0 && l->s[i - 1] == '\n';
}

static void push_text(struct lexer *l, size_t from, size_t to)
{
    assert(from <= to && to <= l->n);
    if (to > from) push(l, T_DATA, part(l, from, to));
}

/* ---- comments and raw blocks ----------------------------------------------------------------- */

static void take_comment(struct lexer *l)
{
    const char *p = memmem(l->s + l->i, l->n - l->i, "#}", 2);
    if (l->i == l->n) return; /* as Jinja, which looks for something that is left open */
    if (!p) jx_fail(l->x, "the comment has no end, expected '#}'");
    const size_t end = (size_t)(p - l->s);
    const char sign = end > l->i && (p[-1] == '-' || p[-1] == '+') ? p[-1] : '\0';
    end_tag(l, behind_tag(l, end + 2, sign, true));
}

/* Behind `{%`, at byte i: white space, the word, white space, and the end of the tag, which it
 * steps over. 0: something else stands there. */
static size_t match_word_tag(const struct lexer *l, size_t i, const char *word, char *sign)
{
    const size_t n = strlen(word);
    i = skip_space(l, i);
    if (n > l->n - i || memcmp(l->s + i, word, n) != 0) return 0;
    i = skip_space(l, i + n);
    *sign = sign_at(l, i);
    i += *sign != '\0';
    return l->n - i >= 2 && memcmp(l->s + i, "%}", 2) == 0 ? i + 2 : 0;
}

static void take_raw(struct lexer *l, size_t from)
{
    for (size_t i = from; i + 2 <= l->n; i++) {
        if (l->s[i] != '{' || l->s[i + 1] != '%') continue;
        size_t k = i + 2;
        const char before = sign_at(l, k);
        char sign;
        k = match_word_tag(l, k + (before != '\0'), "endraw", &sign);
        if (k == 0) continue;
        push_text(l, from, text_end(l, from, i, before, true));
        end_tag(l, behind_tag(l, k, sign, true));
        return;
    }
    if (from == l->n) return;
    jx_fail(l->x, "the raw block has no end, expected '{%% endraw %%}'");
}

/* ---- inside of a tag ------------------------------------------------------------------------- */

static unsigned hex_digits(struct lexer *l, const char *s, size_t n)
{
    unsigned c = 0;
    for (size_t i = 0; i < n; i++) {
        const char *digits = "0123456789abcdef", *p = s[i] ? strchr(digits, s[i] | 32) : NULL;
        if (!p) jx_fail(l->x, "an escape in a string lacks digits, expected %zu", n);
        c = c * 16 + (unsigned)(p - digits);
    }
    if (c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
        jx_fail(l->x, "an escape in a string is no character: U+%X", c);
    return c;
}

/* One escape; i is behind its backslash. Returns the byte behind it. */
static size_t take_escape(struct lexer *l, struct jbuf *b, size_t i, size_t end)
{
    static const char marks[] = "n\nt\tr\ra\ab\bf\fv\v\\\\''\"\"";
    const char c = l->s[i];
    const size_t n_hex = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
    if (c == '\n') return i + 1;
    if (n_hex) {
        if (end - i - 1 < n_hex) jx_fail(l->x, "an escape in a string is cut off");
        jb_char(l->x, b, hex_digits(l, l->s + i + 1, n_hex), false);
        return i + 1 + n_hex;
    }
    if (c >= '0' && c <= '7') {
        unsigned octal = 0;
        size_t k = i;
        for (; k < end && k < i + 3 && l->s[k] >= '0' && l->s[k] <= '7'; k++)
            octal = octal * 8 + (unsigned)(l->s[k] - '0');
        jb_char(l->x, b, octal, false);
        return k;
    }
    if (c == 'N') jx_fail(l->x, "characters by name (\\N{...}) are not supported");
    for (const char *p = marks; *p; p += 2) {
        if (*p != c) continue;
        jb_put(l->x, b, p + 1, 1, false);
        return i + 1;
    }
    jb_put(l->x, b, "\\", 1, false); /* not an escape: both stay */
    return i;
}

static void take_string(struct lexer *l)
{
    const char quote = l->s[l->i];
    const size_t from = l->i + 1;
    size_t end = from;
    bool escapes = false;
    while (end < l->n && l->s[end] != quote) {
        escapes = escapes || l->s[end] == '\\';
        end += l->s[end] == '\\' ? 2 : 1;
    }
    if (end >= l->n) jx_fail(l->x, "the string that starts here has no end, expected %c", quote);
    struct jv v = part(l, from, end);
    if (escapes) {
        struct jbuf b = {0};
        for (size_t i = from; i < end;) {
            if (l->s[i] == '\\') {
                i = take_escape(l, &b, i + 1, end);
            } else {
                jb_put(l->x, &b, l->s + i++, 1, false);
            }
        }
        v = jv_str(jb_end(l->x, &b));
    }
    push(l, T_STRING, v);
    advance(l, end + 1);
}

/* Behind digits of the base, which single underscores may part. */
static size_t skip_digits(const struct lexer *l, size_t i, int base)
{
    bool digit = false;
    for (; i < l->n; i++) {
        const char c = l->s[i], low = (char)(c | 32);
        const bool is = (c >= '0' && c < '0' + (base < 10 ? base : 10)) ||
                        (base == 16 && low >= 'a' && low <= 'f');
        if (!is && !(c == '_' && digit)) break;
        digit = is;
    }
    return i > 0 && l->s[i - 1] == '_' ? i - 1 : i;
}

/* Behind the fraction and the power that follow an integer at i, or i. */
static size_t skip_fraction(const struct lexer *l, size_t i)
{
    size_t end = i;
    if (i < l->n && l->s[i] == '.' && skip_digits(l, i + 1, 10) > i + 1) {
        end = skip_digits(l, i + 1, 10);
    }
    size_t k = end;
    if (k < l->n && (l->s[k] | 32) == 'e') {
        k++;
        if (k < l->n && (l->s[k] == '+' || l->s[k] == '-')) k++;
        if (skip_digits(l, k, 10) > k) end = skip_digits(l, k, 10);
    }
    return end;
}

static void take_number(struct lexer *l)
{
    const size_t from = l->i;
    const char mark = from + 1 < l->n && l->s[from] == '0' ? (char)(l->s[from + 1] | 32) : '\0';
    const int base = mark == 'x' ? 16 : mark == 'o' ? 8 : mark == 'b' ? 2 : 10;
    const bool after_dot = from > 0 && l->s[from - 1] == '.'; /* x.0.1: no fraction */
    size_t end;
    if (base != 10) {
        end = skip_digits(l, from + 2 + (from + 2 < l->n && l->s[from + 2] == '_'), base);
    } else {
        end = skip_digits(l, from, 10);
        const size_t whole = end;
        if (!after_dot) end = skip_fraction(l, end);
        if (end > whole) {
            const struct jv v = jv_parse_float(l->x, part(l, from, end).s);
            if (v.kind == J_MISSING) jx_fail(l->x, "a number is too long");
            push(l, T_FLOAT, v);
            advance(l, end);
            return;
        }
        if (l->s[from] == '0' && strspn(l->s + from, "0_") < end - from)
            jx_fail(l->x, "a number starts with 0, expected 0o before an octal one");
    }
    const struct jv v = jv_parse_int(l->x, part(l, from, end).s, base);
    if (v.kind == J_MISSING) jx_fail(l->x, "a number has no digits");
    push(l, T_INT, v);
    advance(l, end);
}

static void take_bracket(struct lexer *l, enum jtok_kind kind)
{
    static const char closing[T_COUNT] = {[T_LPAREN] = ')', [T_LBRACKET] = ']', [T_LBRACE] = '}'};
    const char c = l->s[l->i];
    if (closing[kind]) {
        if (l->n_open == sizeof l->open)
            jx_fail(l->x, "more than %d brackets in each other", JINJA_NEST_MAX);
        l->open[l->n_open++] = closing[kind];
    } else if (kind == T_RPAREN || kind == T_RBRACKET || kind == T_RBRACE) {
        if (l->n_open == 0) jx_fail(l->x, "'%c' closes nothing", c);
        const char expected = l->open[--l->n_open];
        if (c != expected) jx_fail(l->x, "unexpected '%c', expected '%c'", c, expected);
    }
}

static void take_operator(struct lexer *l)
{
    for (enum jtok_kind kind = T_FLOORDIV; kind < T_COUNT; kind++) {
        if (!at(l, names[kind])) continue;
        take_bracket(l, kind);
        push(l, kind, jv_none());
        l->i += strlen(names[kind]);
        return;
    }
    size_t end = l->i;
    const struct jstr s = {.s = l->s, .n = l->n};
    js_char(l->x, &s, &end);
    jx_fail(l->x, "unexpected character '%.*s' in a tag", (int)(end - l->i), l->s + l->i);
}

/* The end of the tag, if it is here and all brackets are closed. */
static bool take_tag_end(struct lexer *l, bool block)
{
    const char sign = at(l, "-") ? '-' : block && at(l, "+") ? '+' : '\0';
    const size_t end = l->i + (sign != '\0');
    if (l->n_open > 0 || l->n - end < 2) return false;
    if (memcmp(l->s + end, block ? "%}" : "}}", 2) != 0) return false;
    push(l, block ? T_BLOCK_END : T_VAR_END, jv_none());
    end_tag(l, behind_tag(l, end + 2, sign, block));
    return true;
}

static void take_tag(struct lexer *l, bool block)
{
    push(l, block ? T_BLOCK_BEGIN : T_VAR_BEGIN, jv_none());
    l->n_open = 0;
    while (!take_tag_end(l, block)) {
        jx_step(l->x, 1);
        if (l->i == l->n)
            jx_fail(l->x, "the template ends in a tag, expected '%s'", block ? "%}" : "}}");
        const size_t name = skip_name(l, l->i);
        const char c = l->s[l->i];
        if (skip_space(l, l->i) > l->i) {
            advance(l, skip_space(l, l->i));
        } else if (c >= '0' && c <= '9') {
            take_number(l);
        } else if (name > l->i) {
            push(l, T_NAME, part(l, l->i, name));
            l->i = name;
        } else if (c == '\'' || c == '"') {
            take_string(l);
        } else {
            take_operator(l);
        }
    }
}

/* ---- the whole ------------------------------------------------------------------------------- */

/* Line ends as \n, the last one left out. */
static struct jstr normal_lines(struct jx *x, const char *src, size_t n_bytes)
{
    char *s = jx_alloc(x, n_bytes + 1);
    size_t n = 0;
    for (size_t i = 0; i < n_bytes; i++) {
        if (src[i] == '\n' && i > 0 && src[i - 1] == '\r') continue;
        s[n++] = src[i] == '\r' ? '\n' : src[i];
    }
    if (n > 0 && s[n - 1] == '\n') n--;
    s[n] = '\0';
    return (struct jstr){.s = s, .n = n};
}

/* The next byte at which a tag starts, or the end. */
static size_t next_tag(const struct lexer *l)
{
    for (size_t i = l->i; i + 1 < l->n; i++) {
        if (l->s[i] == '{' && memchr("{%#", l->s[i + 1], 3)) return i;
    }
    return l->n;
}

/* The text up to the next tag, and the tag. */
static void take_piece(struct lexer *l)
{
    const size_t from = l->i, tag = next_tag(l);
    if (tag == l->n) {
        push_text(l, from, tag);
        advance(l, tag);
        return;
    }
    const char mark = l->s[tag + 1];
    const size_t after = tag + 2;
    const char sign = sign_at(l, after);
    push_text(l, from, text_end(l, from, tag, sign, mark != '{'));
    advance(l, after + (sign != '\0'));
    char raw_sign;
    const size_t raw = mark == '%' ? match_word_tag(l, l->i, "raw", &raw_sign) : 0;
    if (mark == '#') {
        take_comment(l);
    } else if (raw > 0 && raw_sign != '+') {
        end_tag(l, behind_tag(l, raw, raw_sign, false));
        take_raw(l, l->i);
    } else {
        take_tag(l, mark == '%');
    }
}

const struct jtok *lex_tokens(struct jx *x, const char *src, size_t n_bytes)
{
    assert(x && src);
    if (!js_valid(src, n_bytes)) jx_fail(x, "the template is not UTF-8");
    const struct jstr s = normal_lines(x, src, n_bytes);
    struct lexer l = {.x = x, .s = s.s, .n = s.n, .line_start = true};
    while (l.i < l.n) take_piece(&l);
    push(&l, T_END, jv_none());
    return l.t;
}
