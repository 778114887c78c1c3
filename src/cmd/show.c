/*
 * show.c: marks of reasoning found in a stream, text made harmless for a terminal.
 *
 * A mark counts only where models put it: the opening one before anything but white space, so that
 * an answer that speaks about <think> stays as bright as it was. Since no mark's first byte occurs
 * in it again, a stream is searched without going back.
 */
#include "cmd/show.h"

#include "base/os.h"
#include "base/ui.h"
#include "cmd/files.h"

#include <assert.h>
#include <string.h>
#include <utf8proc.h>

#define DIM "\033[2m"
#define BRIGHT "\033[22m"
#define UNKNOWN "\xef\xbf\xbd" /* U+FFFD */

static const struct {
    const char *open, *close;
} marks[] = {
    {"<think>", "</think>"},           /* DeepSeek-R1, Qwen3, GLM-4.5, SmolLM3, ... */
    {"<thought>", "</thought>"},       /* EXAONE Deep */
    {"<seed:think>", "</seed:think>"}, /* Seed-OSS */
    {"[THINK]", "[/THINK]"},           /* Magistral */
};

#define N_MARKS (sizeof marks / sizeof marks[0])

static bool is_space(char c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

void show_open(struct show *s, FILE *f, bool end_line)
{
    assert(s);
    const bool is_terminal = os_is_terminal(f);
    *s = (struct show){
        .f = f, .tame = is_terminal, .dim = ui_color(f), .end_line = end_line || is_terminal};
}

void show_begin(struct show *s, bool reasoning)
{
    assert(s->n_held == 0);
    s->where = reasoning ? SHOW_REASONING : SHOW_START;
    s->open_line = false;
    if (reasoning && s->dim) fputs(DIM, s->f);
}

bool show_opens(const char *prompt, size_t n)
{
    while (n > 0 && is_space(prompt[n - 1])) n--;
    for (size_t i = 0; i < N_MARKS; i++) {
        const size_t n_mark = strlen(marks[i].open);
        if (n >= n_mark && memcmp(prompt + n - n_mark, marks[i].open, n_mark) == 0) return true;
    }
    return false;
}

/* The first place of a mark in text, or n. */
static size_t find_mark(const char *text, size_t n, const char *mark)
{
    const char *const at = memmem(text, n, mark, strlen(mark));
    return at ? (size_t)(at - text) : n;
}

bool show_split(const char *text, size_t n, bool reasoning, struct show_parts *p)
{
    assert(text || n == 0);
    size_t begin = 0, end = n, n_close = 0;
    bool opens = reasoning;
    while (begin < n && is_space(text[begin])) begin++;
    for (size_t i = 0; i < N_MARKS && !opens; i++) {
        const size_t n_open = strlen(marks[i].open);
        opens = n - begin >= n_open && memcmp(text + begin, marks[i].open, n_open) == 0;
        if (opens) begin += n_open;
    }
    if (!opens) return false;
    for (size_t i = 0; i < N_MARKS; i++) {
        const size_t at = begin + find_mark(text + begin, end - begin, marks[i].close);
        if (at < end) n_close = strlen(marks[i].close);
        if (at < end) end = at;
    }
    p->rest = end + n_close;
    while (p->rest < n && is_space(text[p->rest])) p->rest++;
    while (begin < end && is_space(text[begin])) begin++;
    while (begin < end && is_space(text[end - 1])) end--;
    p->begin = begin;
    p->end = end;
    assert(p->begin <= p->end && p->end <= p->rest && p->rest <= n);
    return true;
}

/* ---- bytes ----------------------------------------------------------------------------------- */

/* Of the character at the start of text; 0: there is none. */
static size_t char_bytes(const char *text, size_t n)
{
    utf8proc_int32_t c;
    const utf8proc_ssize_t len =
        utf8proc_iterate((const utf8proc_uint8_t *)text, (utf8proc_ssize_t)n, &c);
    return len > 0 ? (size_t)len : 0;
}

/* Text for a terminal: bytes that are no character become U+FFFD, characters that steer it '?'. */
static void write_tame(FILE *f, const char *text, size_t n)
{
    for (size_t i = 0; i < n;) {
        char one[4];
        const size_t n_char = char_bytes(text + i, n - i);
        memcpy(one, text + i, n_char);
        ui_tame(one, n_char);
        fwrite(n_char ? one : UNKNOWN, 1, n_char ? n_char : strlen(UNKNOWN), f);
        i += n_char ? n_char : 1;
    }
}

static void write_text(struct show *s, const char *text, size_t n)
{
    if (n == 0) return;
    s->open_line = text[n - 1] != '\n';
    if (s->tame)
        write_tame(s->f, text, n);
    else
        fwrite(text, 1, n, s->f);
}

/* ---- marks ----------------------------------------------------------------------------------- */

/* How what is held stands to the marks that could come now: 0 it is none, 1 it begins one, 2 it is
 * one. */
static int match(const struct show *s)
{
    int best = 0;
    for (size_t i = 0; i < N_MARKS && best < 2; i++) {
        const char *const mark = s->where == SHOW_START ? marks[i].open : marks[i].close;
        const size_t n = strlen(mark);
        if (s->n_held > n || memcmp(mark, s->held, s->n_held) != 0) continue;
        best = s->n_held == n ? 2 : 1;
    }
    return best;
}

static void flush_held(struct show *s)
{
    write_text(s, s->held, s->n_held);
    s->n_held = 0;
}

/* The held mark is complete. */
static void turn(struct show *s)
{
    const bool opens = s->where == SHOW_START;
    if (opens) fputs(DIM, s->f);
    flush_held(s);
    if (!opens) fputs(BRIGHT, s->f);
    s->where = opens ? SHOW_REASONING : SHOW_ANSWER;
}

static void hold(struct show *s, const char *c, size_t n)
{
    assert(n <= sizeof s->held - s->n_held);
    memcpy(s->held + s->n_held, c, n);
    s->n_held += n;
}

/* One character before the answer proper: into a mark, or out. */
static void put_char(struct show *s, const char *c, size_t n)
{
    hold(s, c, n);
    int m = match(s);
    if (m == 0 && s->n_held > n) { /* no mark after all; c may begin one */
        s->n_held -= n;
        if (s->where == SHOW_START) s->where = SHOW_ANSWER;
        flush_held(s);
        hold(s, c, n);
        m = s->where == SHOW_ANSWER ? 0 : match(s);
    }
    if (m == 2) turn(s);
    if (m != 0) return;
    if (s->where == SHOW_START && !is_space(*c)) s->where = SHOW_ANSWER;
    flush_held(s);
}

enum err show_put(struct show *s, const char *text, size_t n)
{
    assert(s);
    assert(text || n == 0);
    size_t i = 0;
    while (s->dim && i < n && s->where != SHOW_ANSWER) {
        const size_t n_char = char_bytes(text + i, n - i);
        put_char(s, text + i, n_char ? n_char : 1);
        i += n_char ? n_char : 1;
    }
    write_text(s, text + i, n - i);
    return out_flush(s->f, "standard output");
}

enum err show_end(struct show *s)
{
    assert(s);
    flush_held(s);
    if (s->dim && s->where == SHOW_REASONING) fputs(BRIGHT, s->f);
    if (s->open_line && s->end_line) {
        fputc('\n', s->f);
        s->open_line = false;
    }
    return out_flush(s->f, "standard output");
}
