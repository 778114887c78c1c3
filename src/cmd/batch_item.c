/*
 * batch_item.c: from a line to a request and from an answer to a line, in our own format.
 *
 * A line that is not JSON, or whose id is none, is named by its number. Numbers as ids come back as
 * the shortest text that reads as the same number.
 *
 * Refuses: what is not UTF-8, JSON with a name twice in one object (which of them is meant?),
 * anything but an object.
 */
#include "cmd/batch_item.h"

#include "base/limits.h"
#include "base/mem.h"
#include "cmd/batch_openai.h"
#include "text/utf8.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXACT_DIGITS 17 /* of a double, always enough */

/* ---- lines in -------------------------------------------------------------------------------- */

static enum err refuse_item(struct batch_item *it, const char *code, const char *why)
{
    it->code = code;
    return err_set(ERR_INPUT, "%s", why);
}

static enum err not_utf8(struct batch_item *it)
{
    return refuse_item(it, "invalid_utf8", "not valid UTF-8; convert the file");
}

static enum err read_text(struct batch_item *it, const struct batch_line *line)
{
    json_t *const prompt = json_stringn(line->s, line->n);
    if (!prompt) return not_utf8(it);
    it->root = json_pack("{s:o}", "prompt", prompt);
    it->request = it->root;
    return it->root ? OK : mem_short("a line");
}

static enum err parse(struct batch_item *it, const struct batch_line *line)
{
    json_error_t e;
    it->root = json_loadb(line->s, line->n, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &e);
    if (it->root && json_is_object(it->root)) return OK;
    if (it->root)
        return refuse_item(it, "invalid_json", "not a JSON object; expected {\"prompt\": ...}");
    if (json_error_code(&e) == json_error_invalid_utf8) return not_utf8(it);
    if (json_error_code(&e) == json_error_out_of_memory) return mem_short("a line");
    it->code = "invalid_json";
    return err_set(ERR_INPUT, "not valid JSON at byte %d: %s", e.position, e.text);
}

static enum err read_own(struct batch_item *it)
{
    it->request = it->root;
    json_t *const id = json_object_get(it->root, "id");
    if (!id || json_is_null(id)) return OK;
    if (!json_is_string(id) && !json_is_number(id))
        return refuse_item(it, "invalid_request", "'id' must be a string or a number");
    json_decref(it->stub.id);
    it->stub.id = json_incref(id);
    return OK;
}

enum err batch_item_read(struct batch_item *it, const struct batch_line *line, bool is_json,
                         bool raw)
{
    assert(it);
    assert(line);
    assert(line->number > 0);
    static const char *const known[] = {"id", NULL};
    *it = (struct batch_item){.raw = raw, .known = known, .stub = {.line = line->number}};
    it->stub.id = json_integer((json_int_t)line->number);
    if (!it->stub.id) return mem_short("an item's name");
    if (line->is_long) {
        it->code = "line_too_long";
        return err_set(ERR_INPUT, "longer than %u bytes, the most a line may have",
                       BATCH_LINE_BYTES_MAX);
    }
    if (!is_json) return read_text(it, line);
    const enum err err = parse(it, line);
    if (err) return err;
    return batch_openai_is(it->root) ? batch_openai_read(it) : read_own(it);
}

void batch_stub_fini(struct batch_stub *s)
{
    assert(s);
    json_decref(s->id);
    *s = (struct batch_stub){0};
}

void batch_item_fini(struct batch_item *it)
{
    assert(it);
    json_decref(it->root);
    batch_stub_fini(&it->stub);
    *it = (struct batch_item){0};
}

/* ---- lines out ------------------------------------------------------------------------------- */

json_t *batch_item_message(const struct batch_stub *stub, const struct batch_answer *a)
{
    char text[ERR_MSG_BYTES_MAX + 32];
    const int n = snprintf(text, sizeof text, "line %" PRIu64 ": %s", stub->line, a->message);
    assert(n > 0);
    return utf8_text(text);
}

static json_t *own_answer(const struct batch_stub *stub, const struct batch_answer *a)
{
    if (a->code)
        return json_pack("{s:O, s:{s:s, s:o}}", "id", stub->id, "error", "code", a->code, "message",
                         batch_item_message(stub, a));
    return json_pack("{s:O, s:o, s:s, s:{s:I, s:I, s:I}}", "id", stub->id, "text",
                     utf8_json(a->text, a->n_text), "finish_reason", a->finish, "usage",
                     "prompt_tokens", (json_int_t)a->n_prompt, "cached_tokens",
                     (json_int_t)stub->n_shared, "completion_tokens", (json_int_t)a->n_completion);
}

/* Digits that the id needs, if it is a number with a fraction. */
static size_t id_digits(const json_t *id)
{
    if (!json_is_real(id)) return EXACT_DIGITS;
    const double v = json_real_value(id);
    char text[40];
    for (int digits = 1; digits < EXACT_DIGITS; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, v);
        if (!(strtod(text, NULL) < v || strtod(text, NULL) > v)) return (size_t)digits;
    }
    return EXACT_DIGITS;
}

enum err batch_item_answer(const struct batch_stub *stub, const struct batch_answer *a, char **line,
                           size_t *n)
{
    assert(stub);
    assert(a);
    assert(a->code ? a->message != NULL : a->finish != NULL);
    json_t *const j = stub->form == BATCH_OWN ? own_answer(stub, a) : batch_openai_answer(stub, a);
    const size_t flags = JSON_COMPACT | JSON_REAL_PRECISION(id_digits(stub->id));
    *n = j ? json_dumpb(j, NULL, 0, flags) : 0;
    *line = *n > 0 ? mem_alloc(MEM_MISC, *n + 2) : NULL;
    if (*line) {
        json_dumpb(j, *line, *n, flags);
        (*line)[(*n)++] = '\n';
    }
    json_decref(j);
    if (*line) return OK;
    *n = 0;
    return mem_short("an answer");
}

bool batch_item_answered(const struct batch_line *line, json_t **id, bool *failed)
{
    assert(id);
    assert(failed);
    *id = NULL;
    json_t *const root = json_loadb(line->s, line->n, JSON_ALLOW_NUL, NULL);
    json_t *const custom = json_object_get(root, "custom_id");
    json_t *const error = json_object_get(root, "error");
    const bool has_text = json_object_get(root, custom ? "response" : "text") != NULL;
    if (has_text || error) *id = json_incref(custom ? custom : json_object_get(root, "id"));
    *failed = error && !json_is_null(error);
    json_decref(root);
    return *id != NULL;
}

bool batch_item_torn(const struct batch_line *line)
{
    static const char begin[] = "{\"id\":"; /* of every line that json_dumpb() makes here */
    const size_t n = line->n < sizeof begin - 1 ? line->n : sizeof begin - 1;
    if (memcmp(line->s, begin, n) != 0) return false;
    json_t *const root = json_loadb(line->s, line->n, JSON_ALLOW_NUL, NULL);
    json_t *id = NULL;
    bool failed;
    const bool is_ours = !root || batch_item_answered(line, &id, &failed);
    json_decref(root);
    json_decref(id);
    return is_ours;
}
