/*
 * batch_openai.c: OpenAI's batch format, written after its public description ("Batch API", request
 * input object and request output object; API reference, chat completion object and completion
 * object).
 *
 * What that format has and a file of results should not, a clock and random identifiers, is made
 * from the line's number, so that the same input gives the same output: "created" is 0.
 *
 * Refuses: other urls and methods than those of the two kinds of completion, and options that would
 * change the answer and cannot be obeyed (several choices, log probabilities, a response format).
 */
#include "cmd/batch_openai.h"

#include "base/mem.h"
#include "text/utf8.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

bool batch_openai_is(const json_t *root)
{
    return json_object_get(root, "custom_id") || json_object_get(root, "body");
}

/* ---- requests -------------------------------------------------------------------------------- */

static enum err refuse(struct batch_item *it, const char *code, const char *what,
                       const char *expected)
{
    it->code = code;
    return err_set(ERR_INPUT, "'%s' must be %s", what, expected);
}

/* Options of the body that cannot be obeyed unless they ask for nothing: null, false, or this. */
static const struct {
    const char *name;
    json_int_t fine;
    const char *expected;
} fixed[] = {
    {"n", 1, "1: one answer to each request"},
    {"best_of", 1, "1: one answer to each request"},
    {"stream", 0, "false: results go into a file"},
    {"echo", 0, "false: the prompt is not repeated"},
    {"logprobs", 0, "false: log probabilities are not given"},
    {"suffix", 0, "null: nothing can follow the answer"},
    {"top_logprobs", 0, "0: log probabilities are not given"},
};

/* What is in requests and changes no answer here. */
static const char *const known[] = {"model",
                                    "n",
                                    "best_of",
                                    "stream",
                                    "stream_options",
                                    "echo",
                                    "logprobs",
                                    "user",
                                    "metadata",
                                    "top_logprobs",
                                    "response_format",
                                    "parallel_tool_calls",
                                    "store",
                                    "suffix",
                                    "safety_identifier",
                                    "service_tier",
                                    NULL};

static bool asks_nothing(const json_t *v, json_int_t fine)
{
    return !v || json_is_null(v) || json_is_false(v) ||
           (json_is_integer(v) && json_integer_value(v) == fine);
}

static enum err check_body(struct batch_item *it, const json_t *body)
{
    for (size_t i = 0; i < sizeof fixed / sizeof *fixed; i++) {
        if (!asks_nothing(json_object_get(body, fixed[i].name), fixed[i].fine))
            return refuse(it, "unsupported_parameter", fixed[i].name, fixed[i].expected);
    }
    const json_t *const format = json_object_get(body, "response_format");
    const char *const type = json_string_value(json_object_get(format, "type"));
    if (format && !json_is_null(format) && (!type || strcmp(type, "text") != 0))
        return refuse(it, "unsupported_parameter", "response_format", "text: no other is known");
    const char *const needed = it->stub.form == BATCH_CHAT ? "messages" : "prompt";
    if (!json_object_get(body, needed))
        return refuse(it, "invalid_request", needed, "in the body: it is missing");
    return OK;
}

enum err batch_openai_read(struct batch_item *it)
{
    assert(json_is_object(it->root));
    const char *const url = json_string_value(json_object_get(it->root, "url"));
    const char *const method = json_string_value(json_object_get(it->root, "method"));
    json_t *const id = json_object_get(it->root, "custom_id");
    const json_t *const body = json_object_get(it->root, "body");
    const bool is_text = url && strcmp(url, "/v1/completions") == 0;
    it->stub.form = is_text ? BATCH_COMPLETION : BATCH_CHAT;
    json_decref(it->stub.id);
    it->stub.id = json_is_string(id) ? json_incref(id) : json_null();
    if (!json_is_string(id)) return refuse(it, "invalid_request", "custom_id", "a string");
    if (!is_text && (!url || strcmp(url, "/v1/chat/completions") != 0))
        return refuse(it, "invalid_url", "url", "/v1/chat/completions or /v1/completions");
    if (!method || strcmp(method, "POST") != 0)
        return refuse(it, "invalid_method", "method", "POST");
    if (!json_is_object(body)) return refuse(it, "invalid_request", "body", "an object");
    it->request = body;
    it->known = known;
    it->raw = is_text; /* a completion goes on from its prompt; a chat has its template */
    return check_body(it, body);
}

/* ---- answers --------------------------------------------------------------------------------- */

static json_t *choice(enum batch_form form, const struct batch_answer *a)
{
    /* OpenAI knows no full context apart from the limit of the answer */
    const char *const finish = strcmp(a->finish, "context") == 0 ? "length" : a->finish;
    json_t *const text = utf8_json(a->text, a->n_text);
    if (form == BATCH_COMPLETION)
        return json_pack("{s:i, s:o, s:n, s:s}", "index", 0, "text", text, "logprobs",
                         "finish_reason", finish);
    return json_pack("{s:i, s:{s:s, s:o, s:n}, s:n, s:s}", "index", 0, "message", "role",
                     "assistant", "content", text, "refusal", "logprobs", "finish_reason", finish);
}

static json_t *usage(const struct batch_stub *stub, const struct batch_answer *a)
{
    return json_pack("{s:I, s:I, s:I, s:{s:I}}", "prompt_tokens", (json_int_t)a->n_prompt,
                     "completion_tokens", (json_int_t)a->n_completion, "total_tokens",
                     (json_int_t)a->n_prompt + (json_int_t)a->n_completion, "prompt_tokens_details",
                     "cached_tokens", (json_int_t)stub->n_shared);
}

static json_t *numbered(const char *kind, uint64_t line)
{
    return json_sprintf("%s%" PRIu64, kind, line);
}

json_t *batch_openai_answer(const struct batch_stub *stub, const struct batch_answer *a)
{
    assert(stub->form != BATCH_OWN);
    if (a->code)
        return json_pack("{s:o, s:O, s:n, s:{s:s, s:o}}", "id", numbered("batch_req_", stub->line),
                         "custom_id", stub->id, "response", "error", "code", a->code, "message",
                         batch_item_message(stub, a));
    const bool is_chat = stub->form == BATCH_CHAT;
    json_t *const body =
        json_pack("{s:o, s:s, s:i, s:o, s:[o], s:o}", "id",
                  numbered(is_chat ? "chatcmpl-" : "cmpl-", stub->line), "object",
                  is_chat ? "chat.completion" : "text_completion", "created", 0, "model",
                  utf8_text(a->model), "choices", choice(stub->form, a), "usage", usage(stub, a));
    return json_pack("{s:o, s:O, s:{s:i, s:o, s:o}, s:n}", "id", numbered("batch_req_", stub->line),
                     "custom_id", stub->id, "response", "status_code", 200, "request_id",
                     numbered("req_", stub->line), "body", body, "error");
}
