/*
 * chat_talk.h: the conversation of `moxie chat`: a list of messages, in a file or in memory.
 *
 *     struct chat_talk t;
 *     enum err e = chat_talk_init(&t, "Be brief.");           // system message, or NULL
 *     e = chat_talk_ask(&t, text, n);
 *     ... engine_prompt(engine, t.root, CHAT_GENERATE, ...) ...
 *     e = chat_talk_answer(&t, answer, n_answer, NULL, 0);
 *     chat_talk_fini(&t);
 *
 * An exchange is a user's message and all that follows it up to the next one. Functions that fail
 * leave the conversation as it was. Text is UTF-8 and may hold NULs. Threads: one at a time.
 */
#ifndef CMD_CHAT_TALK_H
#define CMD_CHAT_TALK_H

#include "base/err.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

struct chat_talk {
    json_t *root; /* object: `messages`, and what a loaded file had beside them (tools, ...) */
};

/* system: NULL for none. ERR_INPUT: it is not UTF-8. */
enum err chat_talk_init(struct chat_talk *t, const char *system);
void chat_talk_fini(struct chat_talk *t); /* a zeroed one is fine */

/* ERR_INPUT: the text is not UTF-8, with the place of the first wrong byte. */
enum err chat_talk_check(const char *text, size_t n);
/* Appends a user's message. ERR_INPUT as above. */
enum err chat_talk_ask(struct chat_talk *t, const char *text, size_t n);
/* Appends the model's; bytes that are no UTF-8, which models do write, become U+FFFD. The reasoning
 * stands beside the content as `reasoning_content`, which is what templates that want it look for;
 * NULL: there is none. */
enum err chat_talk_answer(struct chat_talk *t, const char *text, size_t n, const char *reasoning,
                          size_t n_reasoning);
/* The system message, or NULL; borrowed until it changes. */
const char *chat_talk_system(const struct chat_talk *t);
/* NULL removes it. */
enum err chat_talk_set_system(struct chat_talk *t, const char *text);

size_t chat_talk_n(const struct chat_talk *t); /* messages, the system's not counted */
/* Does the conversation end with a user's message, which waits for its answer? */
bool chat_talk_waits(const struct chat_talk *t);
void chat_talk_clear(struct chat_talk *t); /* all but the system message */
/* Drops the last exchange; false: there is none. */
bool chat_talk_undo(struct chat_talk *t);
/* Drops what follows the last user's message; false: nothing does, or there is none. */
bool chat_talk_drop_answer(struct chat_talk *t);
/* Drops the oldest exchange, unless it is the only one: false. */
bool chat_talk_forget(struct chat_talk *t);

/* A copy of the list, to go back to with chat_talk_restore(), which takes it. NULL: no memory. */
json_t *chat_talk_copy(const struct chat_talk *t);
void chat_talk_restore(struct chat_talk *t, json_t *copy);

/* The messages as a JSON array (an object where there is more than messages), written at once.
 * ERR_RUN: it cannot be written. */
enum err chat_talk_save(const struct chat_talk *t, const char *path);
/* What anyone has written: an array of messages, or an object with `messages`.
 * ERR_INPUT: it is neither; naming file and place. */
enum err chat_talk_load(struct chat_talk *t, const char *path);

#endif
