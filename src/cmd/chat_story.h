/*
 * chat_story.h: what the demo model reads in a chat: a story, and no roles.
 *
 * It was trained on stories and knows neither "User:" nor questions. So it goes on with the story
 * that the messages tell together, its own and those of the person, in their order.
 */
#ifndef CMD_CHAT_STORY_H
#define CMD_CHAT_STORY_H

#include "base/err.h"
#include "engine.h"

#include <jansson.h>

/* Of the story so far the end that the model reads, in bytes. It falls apart after some 250
 * characters (models/demo/README.md); more of them at the beginning are fewer good ones to come. */
#define STORY_BYTES_MAX 120

/* The prompt of a conversation as engine_prompt() takes it: its last words, at most STORY_BYTES_MAX
 * bytes. *ids: engine_free. */
enum err story_prompt(struct engine *e, const json_t *conversation, uint32_t **ids, size_t *n);

#endif
