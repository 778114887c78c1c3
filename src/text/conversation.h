/*
 * conversation.h: checks a conversation and makes a template's variables of it.
 *
 *     struct conv_facts f;
 *     enum err e = conv_check(conversation, &f);
 *     json_t *vars = conv_vars(conversation, CONV_JOINED);   // json_decref()
 *
 * Templates do not agree on how a message is written: a content may be a string, a list of parts or
 * nothing, a tool call's arguments an object or its JSON text. chat.c finds out what a template
 * understands; conv_vars() writes the messages that way. Threads: none of its own.
 */
#ifndef TEXT_CONVERSATION_H
#define TEXT_CONVERSATION_H

#include "base/err.h"

#include <jansson.h>
#include <stdbool.h>

struct conv_facts {
    bool has_parts; /* a content is a list of parts */
    bool has_null;  /* a content is null */
    bool has_calls; /* a message has tool calls */
    bool has_tools; /* the conversation offers tools */
};

/* ERR_INPUT: what is wrong, and in which message. */
enum err conv_check(const json_t *conversation, struct conv_facts *f);

enum conv_how {
    CONV_JOINED = 1,      /* lists of parts become one text */
    CONV_PARTS = 2,       /* texts become lists of one part; together: so do lists of parts */
    CONV_EMPTY = 4,       /* null contents become empty texts */
    CONV_ARGS_OBJECT = 8, /* arguments of tool calls that are the JSON text of an object: objects */
    CONV_ARGS_TEXT = 16,  /* arguments that are objects: their JSON text */
};

/* The variables: an object with `messages`, `tools` (null when there are none), `documents` and all
 * other members; those of `chat_template_kwargs` count as the object's own where it has no such
 * member. The conversation has passed conv_check() and is not changed. NULL: no memory. */
json_t *conv_vars(const json_t *conversation, unsigned how);

#endif
