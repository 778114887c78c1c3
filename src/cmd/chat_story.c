/*
 * chat_story.c: puts the contents of a conversation one behind the other and takes their end.
 *
 * What a person says begins a new word; an answer goes on right where its prompt ended, as the
 * model wrote it. Contents that are no plain text, which a loaded file may have, tell nothing.
 */
#include "cmd/chat_story.h"

#include "base/bytes.h"

#include <assert.h>
#include <string.h>

static bool is_white(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static enum err tell_on(struct bytes *story, const json_t *message)
{
    const json_t *const said = json_object_get(message, "content");
    const char *const role = json_string_value(json_object_get(message, "role"));
    const size_t n = bytes_n(story), n_said = json_string_length(said);
    if (n_said == 0) return OK;
    const bool is_answer = role && strcmp(role, "assistant") == 0;
    const bool begins_word = !is_answer && n > 0 && !is_white(bytes_at(story)[n - 1]);
    const enum err err = begins_word ? bytes_put(story, " ", 1) : OK;
    return err ? err : bytes_put(story, json_string_value(said), n_said);
}

/* Drops all but the last words; a whole one comes first, if what is left has any blank. */
static void drop_old(struct bytes *story)
{
    const size_t n = bytes_n(story);
    if (n <= STORY_BYTES_MAX) return;
    const char *const s = bytes_at(story);
    const size_t cut = n - STORY_BYTES_MAX;
    size_t at = cut;
    while (at < n && !is_white(s[at])) at++;
    while (at < n && is_white(s[at])) at++;
    bytes_drop(story, at < n ? at : cut);
}

enum err story_prompt(struct engine *e, const json_t *conversation, uint32_t **ids, size_t *n)
{
    assert(e);
    assert(ids);
    assert(n);
    struct bytes story = {0};
    enum err err = OK;
    size_t i;
    const json_t *m;
    json_array_foreach(json_object_get(conversation, "messages"), i, m)
    {
        if (err == OK) err = tell_on(&story, m);
    }
    drop_old(&story);
    if (err == OK)
        err = engine_tokenize(e, bytes_at(&story), bytes_n(&story), ENGINE_TOK_BOS, ids, n);
    bytes_fini(&story);
    return err;
}
