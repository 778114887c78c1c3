/*
 * stdio_ask.c: a request from its line to its last event.
 *
 * A request is read (template, token ids, options) when its conversation is as it will see it: at
 * once, unless an earlier one of the same conversation has not ended; so most errors come at once,
 * and a pipe full of turns is answered in order. Then it waits for a seat of the crew.
 *
 * A conversation changes only when a request ends well, so that one that fails leaves no trace.
 */
#include "base/limits.h"
#include "base/mem.h"
#include "base/os.h"
#include "cmd/stdio_impl.h"
#include "text/utf8.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>

#define DONE_FIELDS_MAX 6

size_t stdio_ask_n_waiting(const struct stdio_talk *t)
{
    const size_t n_runs = crew_n_busy(t->crew);
    assert(n_runs <= t->n_ask);
    return t->n_ask - n_runs;
}

struct stdio_ask *stdio_ask_find(const struct stdio_talk *t, const json_t *id)
{
    for (size_t i = 0; i < t->n_ask; i++)
        if (json_equal(t->asks[i]->id, id)) return t->asks[i];
    return NULL;
}

static struct stdio_ask *find_tag(const struct stdio_talk *t, uint64_t tag)
{
    for (size_t i = 0; i < t->n_ask; i++)
        if (t->asks[i]->tag == tag) return t->asks[i];
    return NULL;
}

/* ---- the list -------------------------------------------------------------------------------- */

static void ask_free(struct stdio_ask *a)
{
    if (!a) return;
    request_fini(&a->req);
    json_decref(a->id);
    json_decref(a->item);
    json_decref(a->news);
    bytes_fini(&a->text);
    mem_free(a);
}

void stdio_ask_free_all(struct stdio_talk *t)
{
    for (size_t i = 0; i < t->n_ask; i++) ask_free(t->asks[i]);
    t->n_ask = 0;
}

static void append(struct stdio_talk *t, struct stdio_ask *a)
{
    assert(t->n_ask < crew_n_seat(t->crew) + (size_t)STDIO_QUEUE_MAX);
    t->asks[t->n_ask++] = a;
    if (a->conv) a->conv->n_ask++;
}

/* Out of the list and gone. */
static void drop(struct stdio_talk *t, struct stdio_ask *a)
{
    size_t i = 0;
    while (i < t->n_ask && t->asks[i] != a) i++;
    assert(i < t->n_ask);
    t->n_ask--;
    for (; i < t->n_ask; i++) t->asks[i] = t->asks[i + 1];
    if (a->conv) {
        assert(a->conv->n_ask > 0);
        a->conv->n_ask--;
        if (a->runs) a->conv->is_busy = false;
        stdio_convs_tidy(&t->convs, a->conv);
    }
    ask_free(a);
}

/* ---- the last event -------------------------------------------------------------------------- */

static json_t *ms(uint64_t ns)
{
    return json_real(round((double)ns / 1e3) / 1e3);
}

/* As a request takes it: an integer, or a string of digits where JSON's integers end. */
static json_t *json_seed(uint64_t seed)
{
    if (seed <= INT64_MAX) return json_integer((json_int_t)seed);
    return json_sprintf("%" PRIu64, seed);
}

static enum err say_done(struct stdio_talk *t, const struct stdio_ask *a,
                         const struct crew_result *r)
{
    const uint64_t began_ns = a->runs ? a->began_ns : os_time_ns();
    const struct field usage[] = {{"prompt_tokens", field_count(r->n_prompt)},
                                  {"cached_tokens", field_count(r->n_cached)},
                                  {"completion_tokens", field_count(r->n_completion)}};
    const struct field timings[] = {{"queue_ms", ms(began_ns - a->came_ns)},
                                    {"prefill_ms", ms(r->prefill_ns)},
                                    {"decode_ms", ms(r->decode_ns)}};
    const char *const why = gen_finish_name(r->cancelled ? GEN_CANCELLED : r->finish);
    struct field list[DONE_FIELDS_MAX];
    size_t n = 0;
    if (a->conv) list[n++] = (struct field){"conversation", json_incref(a->conv->name)};
    if (!a->streams)
        list[n++] = (struct field){"text", json_stringn(bytes_at(&a->text), bytes_n(&a->text))};
    list[n++] = (struct field){"finish_reason", json_string(why)};
    list[n++] = (struct field){"usage", fields_object(usage, COUNT(usage))};
    if (a->is_random) list[n++] = (struct field){"seed", json_seed(a->seed)};
    list[n++] = (struct field){"timings", fields_object(timings, COUNT(timings))};
    assert(n <= DONE_FIELDS_MAX);
    return stdio_say(t, "done", a->id, list, n);
}

static enum stdio_code code_of(enum err err)
{
    switch (err) {
    case OK:
        return STDIO_CODE_NONE;
    case ERR_MEMORY:
        return STDIO_CODE_MEMORY;
    case ERR_USAGE:
        return STDIO_CODE_CONTEXT;
    case ERR_INPUT:
        return STDIO_CODE_BAD_FIELD;
    default:
        return STDIO_CODE_MODEL;
    }
}

/* The request ends without an answer. */
static enum err fail(struct stdio_talk *t, struct stdio_ask *a, enum stdio_code code,
                     const char *message)
{
    const struct stdio_msg m = {.id = a->id, .i_line = a->i_line, .begins = true};
    const enum err err = stdio_refuse(t, &m, code, "%s", message);
    drop(t, a);
    return err;
}

/* What was written becomes part of the conversation; an answer that was cancelled, too, if there is
 * any of it. */
static enum err keep(struct stdio_ask *a, const struct crew_result *r)
{
    if (!a->conv || a->forgets || (r->cancelled && bytes_n(&a->text) == 0)) return OK;
    return stdio_conv_keep(a->conv, a->news, bytes_at(&a->text), bytes_n(&a->text),
                           a->n_bytes + bytes_n(&a->text));
}

static enum err finish(struct stdio_talk *t, struct stdio_ask *a, const struct crew_result *r)
{
    if (r->err) return fail(t, a, code_of(r->err), r->message);
    enum err err = keep(a, r);
    if (err) return fail(t, a, STDIO_CODE_MEMORY, err_msg());
    if (r->cancelled)
        t->n_cancelled++;
    else
        t->n_answered++;
    err = say_done(t, a, r);
    drop(t, a);
    return err;
}

void stdio_ask_on_done(void *ctx, const struct crew_result *r)
{
    struct stdio_talk *const t = ctx;
    struct stdio_ask *const a = find_tag(t, r->tag);
    assert(a);
    assert(a->runs);
    const enum err err = finish(t, a, r);
    if (err) t->err = err;
}

void stdio_ask_on_text(void *ctx, uint64_t tag, const char *text, size_t n)
{
    struct stdio_talk *const t = ctx;
    struct stdio_ask *const a = find_tag(t, tag);
    assert(a);
    const struct field piece = {"text", utf8_json(text, n)};
    enum err err = piece.value ? OK : ERR_MEMORY;
    if (err == OK && (a->conv || !a->streams))
        err = bytes_put(&a->text, json_string_value(piece.value), json_string_length(piece.value));
    if (err == OK && a->streams)
        err = stdio_say(t, "token", a->id, &piece, 1);
    else
        json_decref(piece.value);
    if (err) t->err = err;
}

/* ---- the middle ------------------------------------------------------------------------------ */

/* Is the prompt put into the chat template? */
static bool is_chat(const struct stdio_talk *t, const json_t *item)
{
    if (fields_get(item, "messages")) return true;
    const json_t *const raw = fields_get(item, "raw");
    return json_is_string(fields_get(item, "prompt")) && !(raw ? json_is_true(raw) : t->o.raw);
}

/* The item as request_read() wants it: the whole conversation in `messages`. */
static enum err join_conversation(struct stdio_ask *a)
{
    json_t *const messages = stdio_conv_with(a->conv, a->news);
    if (!messages || json_object_set_new(a->item, "messages", messages))
        return mem_short("a conversation");
    json_object_del(a->item, "prompt"); /* it is among the messages */
    return OK;
}

/* Ids and options of the request. */
static enum stdio_code read_ask(struct stdio_talk *t, struct stdio_ask *a)
{
    assert(!a->is_read);
    assert(a->item);
    enum err err = a->conv ? join_conversation(a) : OK;
    const bool chat = is_chat(t, a->item);
    struct gen_opts defaults = *t->o.gen;
    if (!t->o.seed_given) defaults.sample.seed = os_random_seed() & UINT32_MAX;
    if (err == OK)
        err = request_read(&a->req, t->e, a->item, &defaults, t->o.raw, crew_n_ctx(t->crew));
    if (a->req.too_long) return STDIO_CODE_CONTEXT;
    if (err == ERR_USAGE) return STDIO_CODE_BAD_FIELD;
    if (err == ERR_INPUT && chat) return STDIO_CODE_TEMPLATE;
    if (err) return code_of(err);
    a->is_read = true;
    a->seed = a->req.gen.sample.seed;
    a->is_random = a->req.gen.sample.temp > 0;
    return STDIO_CODE_NONE;
}

/* Hands the request to the crew, which may end it before this returns. */
static enum err start(struct stdio_talk *t, struct stdio_ask *a)
{
    const enum stdio_code code = a->is_read ? STDIO_CODE_NONE : read_ask(t, a);
    if (code) return fail(t, a, code, err_msg());
    struct request req = a->req;
    json_t *const item = a->item;
    const struct crew_job job = {.ids = req.ids, .n_ids = req.n_ids, .gen = req.gen, .tag = a->tag};
    a->req = (struct request){0};
    a->item = NULL;
    a->runs = true;
    if (a->conv) a->conv->is_busy = true;
    a->began_ns = os_time_ns();
    enum err err = crew_add(t->crew, &job);
    assert(err != ERR_AGAIN);
    request_fini(&req);
    json_decref(item);
    if (err) err = fail(t, a, code_of(err), err_msg());
    return err ? err : t->err;
}

static struct stdio_ask *next_waiting(const struct stdio_talk *t)
{
    for (size_t i = 0; i < t->n_ask; i++) {
        struct stdio_ask *const a = t->asks[i];
        if (!a->runs && !(a->conv && a->conv->is_busy)) return a;
    }
    return NULL;
}

enum err stdio_ask_start_waiting(struct stdio_talk *t)
{
    enum err err = OK;
    struct stdio_ask *a;
    while (err == OK && crew_n_free(t->crew) > 0 && (a = next_waiting(t)) != NULL)
        err = start(t, a);
    return err;
}

enum err stdio_ask_cancel(struct stdio_talk *t, struct stdio_ask *a, bool forgets)
{
    a->forgets = forgets;
    if (!a->runs) return finish(t, a, &(struct crew_result){.tag = a->tag, .cancelled = true});
    crew_cancel(t->crew, a->tag);
    return t->err;
}

enum err stdio_ask_cancel_all(struct stdio_talk *t, const struct stdio_conv *c)
{
    enum err err = OK;
    for (size_t i = 0; i < t->n_ask && err == OK;) {
        const size_t n_before = t->n_ask;
        if (c && t->asks[i]->conv != c) {
            i++;
            continue;
        }
        err = stdio_ask_cancel(t, t->asks[i], true);
        assert(err || t->n_ask == n_before - 1);
    }
    return err;
}

enum err stdio_ask_fail_all(struct stdio_talk *t, enum err why)
{
    enum err err = OK;
    while (t->n_ask > 0 && err == OK) err = fail(t, t->asks[0], code_of(why), err_msg());
    return err;
}

/* ---- the beginning --------------------------------------------------------------------------- */

static size_t bytes_kept(const struct stdio_talk *t)
{
    size_t n = 0;
    for (size_t i = 0; i < t->n_ask; i++) n += t->asks[i]->n_bytes;
    for (size_t i = 0; i < t->convs.n; i++) n += t->convs.at[i]->n_bytes;
    return n;
}

/* What a request adds to its conversation. NULL: neither a prompt nor messages. */
static json_t *news_of(const json_t *item)
{
    json_t *const messages = fields_get(item, "messages");
    json_t *const prompt = fields_get(item, "prompt");
    if (json_is_array(messages) && !prompt) return json_incref(messages);
    if (!json_is_string(prompt) || messages) return NULL;
    return json_pack("[{s:s, s:O}]", "role", "user", "content", prompt);
}

/* Puts the request into the conversation that it names, if it names one. */
static enum stdio_code join(struct stdio_talk *t, struct stdio_ask *a)
{
    json_t *const name = fields_get(a->item, "conversation");
    if (!name) return STDIO_CODE_NONE;
    if (!stdio_is_name(name)) {
        err_set(ERR_USAGE, "field 'conversation': expected a string of 1 to %d bytes or an integer",
                STDIO_NAME_BYTES_MAX);
        return STDIO_CODE_BAD_FIELD;
    }
    a->news = news_of(a->item);
    if (!a->news || json_is_true(fields_get(a->item, "raw"))) {
        err_set(ERR_USAGE, "a conversation is made of messages: give `messages`, or a text in "
                           "`prompt` without `raw`, and not both");
        return STDIO_CODE_BAD_FIELD;
    }
    a->conv = stdio_convs_find(&t->convs, name);
    if (a->conv) return STDIO_CODE_NONE;
    const enum err err = stdio_convs_add(&t->convs, name, &a->conv);
    if (err != ERR_AGAIN) return code_of(err);
    err_set(ERR_USAGE, "there are %d conversations, the most that are kept; close one first",
            STDIO_CONVERSATIONS_MAX);
    return STDIO_CODE_BUSY;
}

static enum stdio_code new_ask(struct stdio_talk *t, const struct stdio_msg *m, size_t n_bytes,
                               struct stdio_ask **a)
{
    *a = mem_alloc(MEM_MISC, sizeof **a);
    if (!*a) return STDIO_CODE_MEMORY;
    const json_t *const stream = fields_get(m->obj, "stream");
    **a = (struct stdio_ask){.tag = ++t->last_tag,
                             .id = json_incref(m->id),
                             .i_line = m->i_line,
                             .n_bytes = n_bytes,
                             .item = json_copy(m->obj),
                             .streams = !json_is_false(stream),
                             .came_ns = os_time_ns()};
    if ((*a)->item) return STDIO_CODE_NONE;
    return code_of(mem_short("a request"));
}

/* May one more request of this size be kept? */
static enum stdio_code has_room(const struct stdio_talk *t, size_t n_bytes)
{
    if (stdio_ask_n_waiting(t) >= STDIO_QUEUE_MAX) {
        err_set(ERR_USAGE, "%d requests wait already; send it again when one is done",
                STDIO_QUEUE_MAX);
        return STDIO_CODE_BUSY;
    }
    if (n_bytes > STDIO_KEPT_BYTES_MAX) {
        err_set(ERR_USAGE,
                "the request takes %zu bytes of memory, the most are %u; it has too many "
                "values",
                n_bytes, STDIO_KEPT_BYTES_MAX);
        return STDIO_CODE_TOO_LONG;
    }
    if (bytes_kept(t) + n_bytes <= STDIO_KEPT_BYTES_MAX) return STDIO_CODE_NONE;
    err_set(ERR_USAGE,
            "waiting requests and conversations hold %zu bytes, the most that are kept; "
            "close a conversation or send it again later",
            bytes_kept(t));
    return STDIO_CODE_BUSY;
}

enum err stdio_ask_accept(struct stdio_talk *t, const struct stdio_msg *m)
{
    assert(m->begins);
    struct stdio_ask *a = NULL;
    const size_t n_bytes = fields_memory(m->obj);
    enum stdio_code code = has_room(t, n_bytes);
    if (code == STDIO_CODE_NONE) code = new_ask(t, m, n_bytes, &a);
    if (code == STDIO_CODE_NONE) code = join(t, a);
    if (code) {
        ask_free(a);
        return stdio_refuse(t, m, code, "%s", err_msg());
    }
    append(t, a);
    if (a->conv && a->conv->n_ask > 1) return OK; /* it is read when its turn comes */
    code = read_ask(t, a);
    return code ? fail(t, a, code, err_msg()) : OK;
}
