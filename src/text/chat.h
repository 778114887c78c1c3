/*
 * chat.h: from a conversation to the prompt text that a model was trained on.
 *
 *     struct chat *c;
 *     enum err e = chat_open(&c, gguf, tok, NULL);
 *     struct origin_text text;
 *     e = chat_render(c, conversation, CHAT_GENERATE, &text);
 *
 * A conversation is OpenAI's array of messages, or an object with `messages` and whatever else the
 * template knows (`tools`, `enable_thinking`, `documents`, ...; `bos_token` and `eos_token`
 * override the vocabulary's). A model without a template gets ChatML when its vocabulary has
 * <|im_start|> and <|im_end|>, otherwise plain role names. MOXIE_NOW is the clock that templates
 * see; otherwise it is the system's, in local time.
 *
 * Threads: immutable after chat_open().
 */
#ifndef TEXT_CHAT_H
#define TEXT_CHAT_H

#include "base/err.h"
#include "text/origin.h"

#include <jansson.h>
#include <stdbool.h>

struct chat;
struct gguf;
struct tok;

enum chat_kind {
    CHAT_OWN,    /* the model's template */
    CHAT_CHATML, /* the model has none, but the tokens for it */
    CHAT_PLAIN,  /* neither: "User: ...\n\nAssistant:" */
};

enum chat_flags { CHAT_GENERATE = 1 /* end with the start of the assistant's answer */ };

/* file: a template in a file instead of the model's, or NULL. g, t: borrowed, may be NULL when file
 * is given. ERR_INPUT: it cannot be read or parsed. */
enum err chat_open(struct chat **c, const struct gguf *g, const struct tok *t, const char *file);
void chat_close(struct chat *c); /* NULL is fine */
enum chat_kind chat_kind(const struct chat *c);
/* ERR_INPUT: not a conversation (what is wrong, and where), or the template raised (its words). */
enum err chat_render(const struct chat *c, const json_t *conversation, unsigned flags,
                     struct origin_text *text);
/* A text that ends an answer of this kind of chat though no token does, or NULL. Of CHAT_PLAIN:
 * "\nUser:", which is there also where a model writes no empty line before it. */
const char *chat_stop(const struct chat *c);

#endif
