/*
 * request.c: reads one request: numbers by a table, the rest one by one.
 *
 * Every field is checked here, with its name in the message, so that whoever sent the request knows
 * which one to change; gen_open() would refuse the same values later and could not say where they
 * came from.
 */
#include "cmd/request.h"

#include "base/limits.h"
#include "base/mem.h"
#include "cmd/fields.h"
#include "cmd/files.h"
#include "text/stop.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>

#define SHOWN_BYTES 48 /* of a value, in a message */

#define AT(field) offsetof(struct gen_opts, field)
#define AT_SAMPLE(field) offsetof(struct gen_opts, sample.field)

/* A whole number's field has 32 bits, with a sign or not; -1 in one without is "no limit". */
static const struct number {
    const char *name;
    bool whole;
    size_t offset;
    double min, max;
} numbers[] = {
    {"max_tokens", true, AT(n_max), -1, INT32_MAX},
    {"max_completion_tokens", true, AT(n_max), -1, INT32_MAX},
    {"n_predict", true, AT(n_max), -1, INT32_MAX},
    {"temperature", false, AT_SAMPLE(temp), 0, SAMPLE_TEMP_MAX},
    {"top_p", false, AT_SAMPLE(top_p), 0, 1},
    {"top_k", true, AT_SAMPLE(top_k), 0, UINT32_MAX},
    {"min_p", false, AT_SAMPLE(min_p), 0, 1},
    {"typical_p", false, AT_SAMPLE(typical), 0, 1},
    {"repeat_penalty", false, AT_SAMPLE(repeat), SAMPLE_REPEAT_MIN, SAMPLE_REPEAT_MAX},
    {"presence_penalty", false, AT_SAMPLE(presence), -SAMPLE_PENALTY_MAX, SAMPLE_PENALTY_MAX},
    {"frequency_penalty", false, AT_SAMPLE(frequency), -SAMPLE_PENALTY_MAX, SAMPLE_PENALTY_MAX},
    {"repeat_last_n", true, AT_SAMPLE(penalty_last), -1, CTX_MAX},
};
#define N_NUMBER (sizeof numbers / sizeof numbers[0])

static const char *const others[] = {"prompt", "messages",   "tools", "chat_template_kwargs",
                                     "raw",    "logit_bias", "seed",  "stop",
                                     NULL};

/* ---- values ---------------------------------------------------------------------------------- */

/* A value as a message shows it. */
static const char *show(const json_t *v, char buf[SHOWN_BYTES])
{
    if (json_is_object(v)) return "an object";
    if (json_is_array(v)) return "an array";
    if (json_is_boolean(v)) return json_is_true(v) ? "true" : "false";
    const size_t n = json_is_string(v) ? json_string_length(v) : 0;
    if (n + 3 > SHOWN_BYTES)
        snprintf(buf, SHOWN_BYTES, "a string of %zu bytes", n);
    else if (json_is_string(v))
        snprintf(buf, SHOWN_BYTES, "\"%s\"", json_string_value(v));
    else if (json_is_integer(v))
        snprintf(buf, SHOWN_BYTES, "%" JSON_INTEGER_FORMAT, json_integer_value(v));
    else
        snprintf(buf, SHOWN_BYTES, "%.9g", json_real_value(v));
    return buf;
}

static enum err refuse(const char *name, const json_t *v, const char *expected)
{
    char buf[SHOWN_BYTES];
    return err_set(ERR_USAGE, "field '%s': %s is not accepted; expected %s", name, show(v, buf),
                   expected);
}

static enum err read_number(const struct number *f, const json_t *item, struct gen_opts *gen)
{
    const json_t *const v = fields_get(item, f->name);
    if (!v) return OK;
    const double x = json_number_value(v);
    const bool right_type = f->whole ? json_is_integer(v) : json_is_number(v);
    if (!right_type || !(x >= f->min && x <= f->max)) {
        char expected[64];
        snprintf(expected, sizeof expected,
                 f->whole ? "a whole number from %.0f to %.0f" : "a number from %g to %g", f->min,
                 f->max);
        return refuse(f->name, v, expected);
    }
    void *const field = (char *)gen + f->offset;
    if (f->whole)
        *(uint32_t *)field = (uint32_t)json_integer_value(v);
    else
        *(float *)field = (float)x;
    return OK;
}

/* JSON's integers end at 2^63 - 1 here; a string of digits goes further. */
static enum err read_seed(const json_t *item, uint64_t *seed)
{
    const json_t *const v = fields_get(item, "seed");
    if (!v) return OK;
    if (json_is_string(v) && cli_u64(json_string_value(v), seed)) return OK;
    if (!json_is_integer(v) || json_integer_value(v) < 0)
        return refuse("seed", v,
                      "a whole number from 0 to 2^64-1 (beyond 2^63-1 as a string of digits); "
                      "leave it out for the usual seed");
    *seed = (uint64_t)json_integer_value(v);
    return OK;
}

static enum err read_raw(const json_t *item, bool *raw)
{
    const json_t *const v = fields_get(item, "raw");
    if (!v) return OK;
    if (!json_is_boolean(v)) return refuse("raw", v, "true or false");
    *raw = json_is_true(v);
    return OK;
}

/* ---- lists ----------------------------------------------------------------------------------- */

static enum err read_bias(const char *id, const json_t *add, uint32_t n_vocab,
                          struct sample_bias *b)
{
    uint64_t v;
    if (!cli_u64(id, &v) || v >= n_vocab)
        return err_set(ERR_USAGE,
                       "field 'logit_bias': '%.32s' is no token; expected an id from 0 to %" PRIu32,
                       id, n_vocab - 1);
    if (!json_is_number(add)) return refuse("logit_bias", add, "a number for each id");
    *b = (struct sample_bias){(uint32_t)v, (float)json_number_value(add)};
    if (b->add < INFINITY) return OK;
    return refuse("logit_bias", add, "numbers that a float holds");
}

static enum err read_biases(struct request *r, const json_t *item, uint32_t n_vocab)
{
    json_t *const object = fields_get(item, "logit_bias");
    if (!object) return OK;
    if (!json_is_object(object)) return refuse("logit_bias", object, "an object of id: number");
    const size_t n = json_object_size(object);
    if (n > SAMPLE_BIASES_MAX)
        return err_set(ERR_USAGE, "field 'logit_bias': %zu ids, expected at most %d", n,
                       SAMPLE_BIASES_MAX);
    r->bias = mem_alloc_array(MEM_MISC, n + 1, sizeof *r->bias);
    if (!r->bias) return ERR_MEMORY;
    r->gen.sample.bias = r->bias;
    r->gen.sample.n_bias = 0;
    const char *id;
    json_t *add;
    json_object_foreach(object, id, add)
    {
        const enum err err = read_bias(id, add, n_vocab, &r->bias[r->gen.sample.n_bias++]);
        if (err) return err;
    }
    return OK;
}

static enum err take_stop(const json_t *v, const char **stop)
{
    if (!json_is_string(v) || strlen(json_string_value(v)) != json_string_length(v))
        return refuse("stop", v, "a string without NUL, or an array of such");
    *stop = json_string_value(v);
    const enum err err = stop_check(*stop);
    return err ? err_wrap(err, "field 'stop'") : OK;
}

/* extra: the end of a chat's template, or NULL. */
static enum err read_stops(struct request *r, const json_t *item, const char *extra)
{
    const json_t *const v = fields_get(item, "stop");
    if (!v) return sampling_stops(&r->gen, &r->stop, r->gen.stop, r->gen.n_stop, extra);
    const char *strings[STOPS_MAX];
    const size_t n = json_is_array(v) ? json_array_size(v) : 1;
    if (n + (extra != NULL) > STOPS_MAX)
        return err_set(ERR_USAGE, "field 'stop': %zu strings, expected at most %d", n,
                       STOPS_MAX - 1);
    for (size_t i = 0; i < n; i++) {
        const enum err err = take_stop(json_is_array(v) ? json_array_get(v, i) : v, &strings[i]);
        if (err) return err;
    }
    return sampling_stops(&r->gen, &r->stop, strings, n, extra);
}

/* ---- the prompt ------------------------------------------------------------------------------ */

static enum err read_ids(struct request *r, const json_t *list, uint32_t n_vocab)
{
    const size_t n = json_array_size(list);
    if (n == 0 || n > CTX_MAX)
        return err_set(ERR_INPUT, "field 'prompt': %zu ids, expected 1 to %u", n, CTX_MAX);
    r->ids = mem_alloc_array(MEM_MISC, n, sizeof *r->ids);
    if (!r->ids) return ERR_MEMORY;
    for (size_t i = 0; i < n; i++) {
        const json_t *const v = json_array_get(list, i);
        if (!json_is_integer(v)) return refuse("prompt", v, "token ids in the array");
        const json_int_t id = json_integer_value(v);
        if (id < 0 || id >= (json_int_t)n_vocab)
            return err_set(ERR_INPUT,
                           "field 'prompt': item %zu is %" JSON_INTEGER_FORMAT
                           ", outside the vocabulary (ids are 0 to %" PRIu32 ")",
                           i + 1, id, n_vocab - 1);
        r->ids[r->n_ids++] = (uint32_t)id;
    }
    return OK;
}

/* What engine_prompt() takes: the messages, or the one that a prompt is, and what came with them.
 * NULL: no memory. */
static json_t *conversation(const json_t *item)
{
    static const char *const taken[] = {"messages", "tools", "chat_template_kwargs"};
    json_t *const c = json_object();
    int bad = 0;
    for (size_t i = 0; i < sizeof taken / sizeof taken[0]; i++) {
        json_t *const v = fields_get(item, taken[i]);
        if (v) bad |= json_object_set(c, taken[i], v);
    }
    json_t *const prompt = fields_get(item, "prompt");
    if (prompt)
        bad |= json_object_set_new(c, "messages",
                                   json_pack("[{s:s, s:O}]", "role", "user", "content", prompt));
    if (c && !bad) return c;
    json_decref(c);
    return NULL;
}

static enum err read_chat(struct request *r, struct engine *e, const json_t *item)
{
    const json_t *const variables = fields_get(item, "chat_template_kwargs");
    if (variables && !json_is_object(variables))
        return refuse("chat_template_kwargs", variables, "an object of variables");
    json_t *const c = conversation(item);
    if (!c) return mem_short("a conversation");
    const enum err err = engine_prompt(e, c, CHAT_GENERATE, &r->ids, &r->n_ids);
    json_decref(c);
    return err;
}

/* Ids of the prompt; *stop: the text that ends a chat, or NULL. */
static enum err read_prompt(struct request *r, struct engine *e, const json_t *item, bool raw,
                            const char **stop)
{
    const json_t *const prompt = fields_get(item, "prompt"), *const messages =
                                                                 fields_get(item, "messages");
    if (!prompt == !messages)
        return err_set(ERR_USAGE, prompt ? "there are both 'prompt' and 'messages'; leave one out"
                                         : "there is neither 'prompt' nor 'messages'; give one");
    if (prompt && !json_is_string(prompt) && !json_is_array(prompt))
        return refuse("prompt", prompt, "a string, or an array of token ids");
    if (json_is_array(prompt)) return read_ids(r, prompt, engine_info(e)->n_vocab);
    const struct chat *c = NULL;
    enum err err = prompt && raw ? OK : engine_chat(e, &c);
    if (err) return err;
    /* As in `run`: a model that was never told what a chat looks like continues texts. */
    if (prompt && (raw || chat_kind(c) == CHAT_PLAIN)) {
        err = engine_tokenize(e, json_string_value(prompt), json_string_length(prompt),
                              ENGINE_TOK_BOS, &r->ids, &r->n_ids);
    } else {
        err = read_chat(r, e, item);
        *stop = chat_stop(c);
    }
    return err ? err : prompt_begin(e, &r->ids, &r->n_ids);
}

/* ---- all ------------------------------------------------------------------------------------- */

static enum err read_item(struct request *r, struct engine *e, const json_t *item, bool raw)
{
    for (size_t i = 0; i < N_NUMBER; i++) {
        const enum err err = read_number(&numbers[i], item, &r->gen);
        if (err) return err;
    }
    const char *stop = NULL;
    enum err err = read_seed(item, &r->gen.sample.seed);
    if (err == OK) err = read_biases(r, item, engine_info(e)->n_vocab);
    if (err == OK) err = read_raw(item, &raw);
    if (err == OK) err = read_prompt(r, e, item, raw, &stop);
    return err ? err : read_stops(r, item, stop);
}

enum err request_read(struct request *r, struct engine *e, const json_t *item,
                      const struct gen_opts *defaults, bool raw, uint32_t n_ctx)
{
    assert(r);
    assert(e);
    assert(item);
    assert(defaults);
    *r = (struct request){.gen = *defaults};
    enum err err = json_is_object(item)
                       ? read_item(r, e, item, raw)
                       : err_set(ERR_USAGE, "a request is a JSON object, with 'prompt' or "
                                            "'messages' in it");
    const size_t n_ids = r->n_ids;
    const bool too_long = err == OK && n_ids > n_ctx;
    if (too_long)
        err = err_set(ERR_USAGE,
                      "the prompt has %zu tokens, which do not fit the context of %" PRIu32
                      "; shorten it or raise -c",
                      n_ids, n_ctx);
    if (err) request_fini(r);
    r->too_long = too_long;
    return err;
}

void request_fini(struct request *r)
{
    assert(r);
    engine_free(r->ids);
    mem_free(r->bias);
    mem_free(r->stop);
    *r = (struct request){0};
}

static bool has_name(const char *const *names, const char *name)
{
    for (; *names; names++)
        if (strcmp(*names, name) == 0) return true;
    return false;
}

const char *request_unknown(const json_t *item, const char *const *known)
{
    assert(json_is_object(item));
    assert(known);
    const char *name;
    json_t *v;
    json_object_foreach((json_t *)(uintptr_t)item, name, v)
    {
        bool found = has_name(others, name) || has_name(known, name);
        for (size_t i = 0; i < N_NUMBER && !found; i++) found = strcmp(numbers[i].name, name) == 0;
        if (!found) return name;
    }
    return NULL;
}
