/*
 * channel.c: two states, header and message, which control tokens switch.
 *
 * A header is what follows <|start|> or <|channel|>, and what follows <|end|>, where nothing should
 * be; <|message|> ends it. Consecutive messages of the analysis channel are one piece of reasoning.
 * Only ids count: the same names written as plain text are text.
 */
#include "text/channel.h"

#include "text/tok.h"

#include <assert.h>
#include <string.h>

#define OPEN "<think>"
#define CLOSE "</think>"
#define APART "\n\n"
#define REASONING "analysis"

static_assert(sizeof APART OPEN <= CHANNEL_PUT_BYTES_MAX, "marks between two messages");
static_assert(sizeof CLOSE APART <= CHANNEL_PUT_BYTES_MAX, "marks between two messages");

bool channel_init(struct channel *c, const struct tok *t)
{
    assert(c);
    *c = (struct channel){.start = tok_special(t, "<|start|>"),
                          .channel = tok_special(t, "<|channel|>"),
                          .message = tok_special(t, "<|message|>"),
                          .end = tok_special(t, "<|end|>")};
    return c->start != TOK_NONE && c->channel != TOK_NONE && c->message != TOK_NONE;
}

static size_t put(char *buf, const char *text)
{
    const size_t n = strlen(text);
    memcpy(buf, text, n);
    return n;
}

/* <|message|>: the header is complete. */
static size_t begin_message(struct channel *c, char *buf)
{
    const size_t n_name = sizeof REASONING - 1;
    const bool reasons = c->n_name >= n_name && memcmp(c->name, REASONING, n_name) == 0;
    size_t n = 0;
    if (c->is_reasoning && !reasons) n += put(buf + n, CLOSE);
    if (c->has_part) n += put(buf + n, APART);
    if (reasons && !c->is_reasoning) n += put(buf + n, OPEN);
    c->is_header = false;
    c->is_reasoning = reasons;
    c->has_part = true;
    assert(n <= CHANNEL_PUT_BYTES_MAX);
    return n;
}

size_t channel_put(struct channel *c, uint32_t id, char *buf, size_t n)
{
    assert(c);
    assert(buf);
    if (c->is_header) {
        for (size_t i = 0; i < n && c->n_name < sizeof c->name; i++) c->name[c->n_name++] = buf[i];
        n = id == c->message ? begin_message(c, buf) : 0;
    }
    if (id == c->start || id == c->channel || id == c->end) {
        c->is_header = true;
        c->n_name = 0;
    }
    return n;
}
