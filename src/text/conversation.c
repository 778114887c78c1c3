/*
 * conversation.c: a conversation as OpenAI's API writes it, checked and rewritten.
 *
 * Checked is what every template relies on: messages are objects with a role and something to say,
 * parts are texts. What else a message has is the template's business. Images and sounds are
 * refused, because a template would write their control tokens without the vectors that belong
 * there.
 *
 * Nothing is changed in place: a rewritten conversation shares what did not change.
 */
#include "text/conversation.h"

#include "base/mem.h"

#include <assert.h>
#include <string.h>

static const char *type_name(const json_t *j)
{
    switch (j ? json_typeof(j) : JSON_NULL) {
    case JSON_OBJECT:
        return "an object";
    case JSON_ARRAY:
        return "an array";
    case JSON_STRING:
        return "a string";
    case JSON_INTEGER:
    case JSON_REAL:
        return "a number";
    case JSON_TRUE:
    case JSON_FALSE:
        return "true or false";
    default:
        return "null";
    }
}

static const json_t *messages_of(const json_t *conversation)
{
    return json_is_array(conversation) ? conversation : json_object_get(conversation, "messages");
}

/* ---- check ----------------------------------------------------------------------------------- */

static enum err check_part(const json_t *part, size_t i, size_t k)
{
    if (!json_is_object(part))
        return err_set(ERR_INPUT, "messages[%zu].content[%zu] is %s, expected an object", i, k,
                       type_name(part));
    const char *const type = json_string_value(json_object_get(part, "type"));
    if (!type || strcmp(type, "text") != 0)
        return err_set(ERR_INPUT,
                       "messages[%zu].content[%zu] has the type '%.40s', expected 'text': moxie "
                       "reads no images and no sound",
                       i, k, type ? type : "");
    const json_t *const text = json_object_get(part, "text");
    if (json_is_string(text)) return OK;
    return err_set(ERR_INPUT, "messages[%zu].content[%zu].text is %s, expected a string", i, k,
                   type_name(text));
}

/* What says something without a content: tool calls, reasoning, whatever the template knows. */
static bool has_more(const json_t *message)
{
    static const char *const plain[] = {"role", "content", "name"};
    size_t n = json_object_size(message);
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++)
        n -= json_object_get(message, plain[i]) != NULL;
    return n > 0;
}

static enum err check_content(const json_t *message, size_t i, struct conv_facts *f)
{
    const json_t *const content = json_object_get(message, "content");
    if (json_is_string(content)) return OK;
    if (!json_is_array(content)) {
        f->has_null |= json_is_null(content);
        if ((!content || json_is_null(content)) && has_more(message)) return OK;
        return err_set(ERR_INPUT,
                       "messages[%zu].content is %s, expected a string or an array of parts", i,
                       content ? type_name(content) : "missing");
    }
    f->has_parts = true;
    enum err err = OK;
    for (size_t k = 0; !err && k < json_array_size(content); k++)
        err = check_part(json_array_get(content, k), i, k);
    return err;
}

static enum err check_calls(const json_t *message, size_t i, struct conv_facts *f)
{
    const json_t *const calls = json_object_get(message, "tool_calls");
    if (!calls || json_is_null(calls)) return OK;
    if (!json_is_array(calls))
        return err_set(ERR_INPUT, "messages[%zu].tool_calls is %s, expected an array", i,
                       type_name(calls));
    for (size_t k = 0; k < json_array_size(calls); k++) {
        const json_t *const call = json_array_get(calls, k);
        if (!json_is_object(call))
            return err_set(ERR_INPUT, "messages[%zu].tool_calls[%zu] is %s, expected an object", i,
                           k, type_name(call));
        f->has_calls = true;
    }
    return OK;
}

static enum err check_message(const json_t *message, size_t i, struct conv_facts *f)
{
    if (!json_is_object(message))
        return err_set(ERR_INPUT, "messages[%zu] is %s, expected an object with role and content",
                       i, type_name(message));
    const json_t *const role = json_object_get(message, "role");
    if (!json_is_string(role))
        return err_set(ERR_INPUT, "messages[%zu].role is %s, expected a string such as 'user'", i,
                       role ? type_name(role) : "missing");
    const enum err err = check_content(message, i, f);
    return err ? err : check_calls(message, i, f);
}

enum err conv_check(const json_t *conversation, struct conv_facts *f)
{
    assert(conversation);
    assert(f);
    *f = (struct conv_facts){0};
    if (!json_is_array(conversation) && !json_is_object(conversation))
        return err_set(ERR_INPUT,
                       "a conversation is an array of messages or an object with 'messages', found "
                       "%s",
                       type_name(conversation));
    const json_t *const messages = messages_of(conversation);
    if (!json_is_array(messages))
        return err_set(ERR_INPUT, "'messages' is %s, expected an array of messages",
                       messages ? type_name(messages) : "missing");
    if (json_array_size(messages) == 0)
        return err_set(ERR_INPUT, "'messages' is empty, expected at least one message");
    const json_t *const tools = json_object_get(conversation, "tools");
    if (tools && !json_is_null(tools) && !json_is_array(tools))
        return err_set(ERR_INPUT, "'tools' is %s, expected an array", type_name(tools));
    f->has_tools = json_array_size(tools) > 0;
    enum err err = OK;
    for (size_t i = 0; !err && i < json_array_size(messages); i++)
        err = check_message(json_array_get(messages, i), i, f);
    return err;
}

/* ---- rewrite --------------------------------------------------------------------------------- */

/* Another reference to a value that is not going to be changed; jansson counts them in the
 * value. */
static json_t *share(const json_t *j)
{
    return json_incref((json_t *)j);
}

/* The texts of parts, a line break between them, as llama.cpp and vLLM join them. */
static json_t *join_parts(const json_t *parts)
{
    size_t n = 0;
    for (size_t k = 0; k < json_array_size(parts); k++)
        n += json_string_length(json_object_get(json_array_get(parts, k), "text")) + 1;
    char *const buf = mem_alloc(MEM_TOK, n + 1);
    if (!buf) return NULL;
    char *out = buf;
    for (size_t k = 0; k < json_array_size(parts); k++) {
        const json_t *const text = json_object_get(json_array_get(parts, k), "text");
        if (k) *out++ = '\n';
        memcpy(out, json_string_value(text), json_string_length(text));
        out += json_string_length(text);
    }
    json_t *const joined = json_stringn(buf, (size_t)(out - buf));
    mem_free(buf);
    return joined;
}

/* New reference, as what follows. */
static json_t *rewrite_content(const json_t *content, unsigned how)
{
    json_t *text;
    if (json_is_null(content) && how & CONV_EMPTY)
        text = json_string("");
    else if (json_is_array(content) && how & CONV_JOINED)
        text = join_parts(content);
    else
        text = share(content);
    if (!json_is_string(text) || !(how & CONV_PARTS)) return text;
    return json_pack("[{s:s, s:o}]", "type", "text", "text", text);
}

static json_t *args_text(const json_t *args)
{
    const size_t n = json_dumpb(args, NULL, 0, 0);
    char *const buf = mem_alloc(MEM_TOK, n + 1);
    if (!buf) return NULL;
    json_t *const text = json_stringn(buf, json_dumpb(args, buf, n, 0));
    mem_free(buf);
    return text;
}

static json_t *rewrite_args(const json_t *args, unsigned how)
{
    if (json_is_object(args) && how & CONV_ARGS_TEXT) return args_text(args);
    if (!json_is_string(args) || !(how & CONV_ARGS_OBJECT)) return share(args);
    json_t *const object =
        json_loadb(json_string_value(args), json_string_length(args), JSON_ALLOW_NUL, NULL);
    if (json_is_object(object)) return object;
    json_decref(object);
    return share(args);
}

/* {"function": {"name", "arguments"}}, or that object itself. */
static json_t *rewrite_call(const json_t *call, unsigned how)
{
    json_t *const copy = json_copy((json_t *)call);
    const json_t *const function = json_object_get(call, "function");
    const json_t *const args = json_object_get(call, "arguments");
    int rc = 0;
    if (args) rc = json_object_set_new(copy, "arguments", rewrite_args(args, how));
    if (json_is_object(function))
        rc |= json_object_set_new(copy, "function", rewrite_call(function, how));
    if (rc == 0) return copy;
    json_decref(copy);
    return NULL;
}

static json_t *rewrite_calls(const json_t *calls, unsigned how)
{
    json_t *list = json_array();
    for (size_t k = 0; list && k < json_array_size(calls); k++) {
        if (json_array_append_new(list, rewrite_call(json_array_get(calls, k), how)) == 0) continue;
        json_decref(list);
        list = NULL;
    }
    return list;
}

static json_t *rewrite_message(const json_t *message, unsigned how)
{
    json_t *const copy = json_copy((json_t *)message);
    const json_t *const content = json_object_get(message, "content");
    const json_t *const calls = json_object_get(message, "tool_calls");
    int rc = 0;
    if (content) rc = json_object_set_new(copy, "content", rewrite_content(content, how));
    if (json_is_array(calls))
        rc |= json_object_set_new(copy, "tool_calls", rewrite_calls(calls, how));
    if (rc == 0) return copy;
    json_decref(copy);
    return NULL;
}

static json_t *rewrite(const json_t *messages, unsigned how)
{
    if (how == 0) return share(messages);
    json_t *list = json_array();
    for (size_t i = 0; list && i < json_array_size(messages); i++) {
        json_t *const message = rewrite_message(json_array_get(messages, i), how);
        if (json_array_append_new(list, message) == 0) continue;
        json_decref(list);
        list = NULL;
    }
    return list;
}

json_t *conv_vars(const json_t *conversation, unsigned how)
{
    assert(conversation);
    json_t *const vars = json_pack("{s:n, s:n}", "tools", "documents");
    json_t *const members = (json_t *)conversation;
    int rc = vars ? 0 : -1;
    if (json_is_object(conversation)) {
        json_t *const more = json_object_get(members, "chat_template_kwargs");
        if (json_is_object(more)) rc |= json_object_update(vars, more);
        rc |= json_object_update(vars, members);
    }
    if (json_array_size(json_object_get(vars, "tools")) == 0)
        rc |= json_object_set_new(vars, "tools", json_null());
    rc |= json_object_set_new(vars, "messages", rewrite(messages_of(conversation), how));
    if (rc == 0) return vars;
    json_decref(vars);
    return NULL;
}
