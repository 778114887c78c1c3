/*
 * chat_talk.c: the list of messages, kept as the JSON that templates are given.
 *
 * Whatever a loaded file holds beside roles (contents in parts, tool calls) stays as it is: the
 * template judges it. Only what this program must understand is checked: a list of objects, each
 * with a role in words.
 */
#include "cmd/chat_talk.h"

#include "base/limits.h"
#include "base/mem.h"
#include "base/os.h"
#include "text/utf8.h"

#include <assert.h>
#include <string.h>

static json_t *messages(const struct chat_talk *t)
{
    json_t *const list = json_object_get(t->root, "messages");
    assert(json_is_array(list));
    return list;
}

static bool has_role(const json_t *message, const char *role)
{
    const char *const s = json_string_value(json_object_get(message, "role"));
    return s && strcmp(s, role) == 0;
}

enum err chat_talk_check(const char *text, size_t n)
{
    const size_t i = utf8_bad(text, n);
    if (i == n) return OK;
    return err_set(ERR_INPUT,
                   "the text is not UTF-8: byte %zu is 0x%02x; convert it (iconv -t UTF-8)", i + 1,
                   (unsigned char)text[i]);
}

/* content: taken; NULL: there was no memory for it. */
static enum err message_new(json_t **m, const char *role, json_t *content)
{
    *m = json_pack("{s:s, s:o}", "role", role, "content", content);
    return *m ? OK : mem_short("the conversation");
}

/* m: taken */
static enum err append_new(struct chat_talk *t, json_t *m)
{
    return json_array_append_new(messages(t), m) == 0 ? OK : mem_short("the conversation");
}

enum err chat_talk_init(struct chat_talk *t, const char *system)
{
    assert(t);
    *t = (struct chat_talk){.root = json_pack("{s:[]}", "messages")};
    if (!t->root) return mem_short("the conversation");
    const enum err err = system ? chat_talk_set_system(t, system) : OK;
    if (err) chat_talk_fini(t);
    return err;
}

void chat_talk_fini(struct chat_talk *t)
{
    assert(t);
    json_decref(t->root);
    *t = (struct chat_talk){0};
}

enum err chat_talk_ask(struct chat_talk *t, const char *text, size_t n)
{
    assert(t);
    json_t *m;
    enum err err = chat_talk_check(text, n);
    if (err == OK) err = message_new(&m, "user", json_stringn_nocheck(text, n));
    return err ? err : append_new(t, m);
}

enum err chat_talk_answer(struct chat_talk *t, const char *text, size_t n, const char *reasoning,
                          size_t n_reasoning)
{
    assert(t);
    json_t *m;
    enum err err = message_new(&m, "assistant", utf8_json(text, n));
    if (err) return err;
    if (reasoning &&
        json_object_set_new(m, "reasoning_content", utf8_json(reasoning, n_reasoning)) != 0) {
        json_decref(m);
        return mem_short("the conversation");
    }
    return append_new(t, m);
}

/* ---- system message -------------------------------------------------------------------------- */

/* 1 when the list begins with a system message (OpenAI's newer name is `developer`), else 0. */
static size_t n_system(const struct chat_talk *t)
{
    const json_t *const first = json_array_get(messages(t), 0);
    return has_role(first, "system") || has_role(first, "developer");
}

const char *chat_talk_system(const struct chat_talk *t)
{
    if (!n_system(t)) return NULL;
    return json_string_value(json_object_get(json_array_get(messages(t), 0), "content"));
}

enum err chat_talk_set_system(struct chat_talk *t, const char *text)
{
    json_t *m = NULL;
    enum err err = text ? chat_talk_check(text, strlen(text)) : OK;
    if (err == OK && text) err = message_new(&m, "system", json_string_nocheck(text));
    if (err) return err;
    if (n_system(t)) json_array_remove(messages(t), 0);
    if (!text) return OK;
    return json_array_insert_new(messages(t), 0, m) == 0 ? OK : mem_short("the conversation");
}

/* ---- exchanges ------------------------------------------------------------------------------- */

size_t chat_talk_n(const struct chat_talk *t)
{
    return json_array_size(messages(t)) - n_system(t);
}

bool chat_talk_waits(const struct chat_talk *t)
{
    const size_t n = json_array_size(messages(t));
    return n > 0 && has_role(json_array_get(messages(t), n - 1), "user");
}

static void cut(struct chat_talk *t, size_t n)
{
    for (size_t i = json_array_size(messages(t)); i > n; i--) json_array_remove(messages(t), i - 1);
}

void chat_talk_clear(struct chat_talk *t)
{
    cut(t, n_system(t));
}

/* Where the last exchange begins; SIZE_MAX: nowhere. */
static size_t last_exchange(const struct chat_talk *t)
{
    for (size_t i = json_array_size(messages(t)); i > 0; i--)
        if (has_role(json_array_get(messages(t), i - 1), "user")) return i - 1;
    return SIZE_MAX;
}

bool chat_talk_undo(struct chat_talk *t)
{
    const size_t i = last_exchange(t);
    if (i == SIZE_MAX) return false;
    cut(t, i);
    return true;
}

bool chat_talk_drop_answer(struct chat_talk *t)
{
    const size_t i = last_exchange(t);
    if (i == SIZE_MAX || i + 1 == json_array_size(messages(t))) return false;
    cut(t, i + 1);
    return true;
}

bool chat_talk_forget(struct chat_talk *t)
{
    const size_t from = n_system(t), last = last_exchange(t);
    size_t to = from + 1;
    if (last == SIZE_MAX || last <= from) return false;
    while (to < last && !has_role(json_array_get(messages(t), to), "user")) to++;
    for (size_t i = from; i < to; i++) json_array_remove(messages(t), from);
    return true;
}

json_t *chat_talk_copy(const struct chat_talk *t)
{
    return json_copy(messages(t)); /* messages are never changed, only taken out */
}

void chat_talk_restore(struct chat_talk *t, json_t *copy)
{
    assert(json_is_array(copy));
    const int rc = json_object_set_new(t->root, "messages", copy);
    assert(rc == 0); /* the key is there: nothing is allocated */
    (void)rc;
}

/* ---- files ----------------------------------------------------------------------------------- */

enum err chat_talk_save(const struct chat_talk *t, const char *path)
{
    assert(path);
    const json_t *const what = json_object_size(t->root) == 1 ? messages(t) : t->root;
    const size_t n = json_dumpb(what, NULL, 0, JSON_INDENT(2));
    char *const text = mem_alloc(MEM_MISC, n + 1); /* and a newline */
    if (!text) return ERR_MEMORY;
    const size_t n_written = json_dumpb(what, text, n, JSON_INDENT(2));
    assert(n_written == n);
    text[n_written] = '\n';
    const enum err err = os_write_all(path, text, n + 1);
    mem_free(text);
    return err;
}

static enum err check_messages(const json_t *list, const char *path)
{
    if (!json_is_array(list))
        return err_set(ERR_INPUT,
                       "%s: is no conversation: expected a JSON array of messages, or an object "
                       "with `messages`",
                       path);
    size_t i;
    const json_t *m;
    json_array_foreach(list, i, m)
    {
        if (json_is_string(json_object_get(m, "role"))) continue;
        return err_set(ERR_INPUT,
                       "%s: message %zu has no role; expected an object like {\"role\": \"user\", "
                       "\"content\": \"...\"}",
                       path, i + 1);
    }
    return OK;
}

enum err chat_talk_load(struct chat_talk *t, const char *path)
{
    assert(path);
    char *text = NULL;
    size_t n = 0;
    enum err err = os_read_all(path, PROMPT_BYTES_MAX, &text, &n);
    if (err) return err;
    json_error_t where;
    json_t *root = json_loadb(text, n, JSON_ALLOW_NUL, &where);
    mem_free(text);
    if (!root)
        return err_set(ERR_INPUT, "%s: line %d is no JSON: %s; expected what /save writes", path,
                       where.line, where.text);
    if (json_is_array(root)) {
        root = json_pack("{s:o}", "messages", root);
        if (!root) return mem_short("the conversation");
    }
    err = check_messages(json_object_get(root, "messages"), path);
    if (err) {
        json_decref(root);
        return err;
    }
    json_decref(t->root);
    t->root = root;
    return OK;
}
