/*
 * stdio_talk.c: understands lines. A line is checked as UTF-8, as JSON, as an object with a `type`
 * that `kinds` knows and with no field that this type does not have, before its handler sees it;
 * whatever is wrong with it is one event, and the next line is read.
 */
#include "cmd/stdio_talk.h"

#include "base/limits.h"
#include "base/mem.h"
#include "base/os.h"
#include "cli.h"
#include "cmd/stdio_impl.h"
#include "text/utf8.h"
#include "version.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

#define NS_PER_MS 1000000
#define PROTOCOL 1 /* raised when a client of the older one would misunderstand */

static const char *const code_names[] = {
    [STDIO_CODE_BAD_JSON] = "bad_json",
    [STDIO_CODE_NOT_UTF8] = "not_utf8",
    [STDIO_CODE_TOO_LONG] = "too_long",
    [STDIO_CODE_UNKNOWN_TYPE] = "unknown_type",
    [STDIO_CODE_UNKNOWN_FIELD] = "unknown_field",
    [STDIO_CODE_BAD_FIELD] = "bad_field",
    [STDIO_CODE_DUPLICATE_ID] = "duplicate_id",
    [STDIO_CODE_NOT_FOUND] = "not_found",
    [STDIO_CODE_BUSY] = "busy",
    [STDIO_CODE_CLOSING] = "closing",
    [STDIO_CODE_CONTEXT] = "context",
    [STDIO_CODE_TEMPLATE] = "template",
    [STDIO_CODE_MODEL] = "model",
    [STDIO_CODE_MEMORY] = "memory",
};

/* ---- events ---------------------------------------------------------------------------------- */

enum err stdio_say(struct stdio_talk *t, const char *type, json_t *id, const struct field *list,
                   size_t n)
{
    assert(type);
    json_t *const fields = fields_object(list, n);
    json_t *event = json_pack("{s:s, s:O*}", "type", type, "id", id);
    if (!fields || json_object_update(event, fields)) {
        json_decref(event);
        event = NULL;
    }
    json_decref(fields);
    return stdio_out_event(t->out, event);
}

enum err stdio_refuse(struct stdio_talk *t, const struct stdio_msg *m, enum stdio_code code,
                      const char *fmt, ...)
{
    assert(code != STDIO_CODE_NONE);
    assert(m->id || !m->begins);
    char text[ERR_MSG_BYTES_MAX];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    const struct field list[] = {{"line", field_count(m->i_line)},
                                 {"code", json_string(code_names[code])},
                                 {"message", utf8_text(text)}};
    t->n_failed += m->begins;
    return stdio_say(t, m->begins ? "failed" : "error", m->id, list, COUNT(list));
}

static json_t *model_facts(const struct engine_info *f)
{
    const struct field list[] = {
        {"path", utf8_text(f->path)},
        {"name", utf8_text(f->name)},
        {"arch", utf8_text(f->arch)},
        {"type", json_string(f->type)},
        {"parameters", field_count(f->n_param)},
        {"bytes", field_count(f->n_bytes)},
        {"bytes_per_token", field_count(f->n_bytes_active)},
        {"layers", field_count(f->n_layer)},
        {"vocabulary", field_count(f->n_vocab)},
        {"experts", field_count(f->n_expert)},
        {"context", field_count(f->n_ctx_train)},
        {"has_template", json_boolean(f->has_template)},
    };
    return fields_object(list, COUNT(list));
}

static enum err say_hello(struct stdio_talk *t)
{
    const struct field list[] = {
        {"protocol", field_count(PROTOCOL)},
        {"program", json_string("moxie")},
        {"version", json_string(MOXIE_VERSION)},
        {"model", model_facts(engine_info(t->e))},
        {"context", field_count(crew_n_ctx(t->crew))},
        {"parallel", field_count(crew_n_seat(t->crew))},
        {"queue", field_count(STDIO_QUEUE_MAX)},
        {"line_bytes", field_count(STDIO_LINE_BYTES_MAX)},
    };
    return stdio_say(t, "hello", NULL, list, COUNT(list));
}

/* ---- what can be said ------------------------------------------------------------------------ */

static enum err on_generate(struct stdio_talk *t, const struct stdio_msg *m)
{
    if (!m->begins)
        return stdio_refuse(t, m, STDIO_CODE_DUPLICATE_ID,
                            "a request of this id waits or runs; choose another one");
    if (t->closing)
        return stdio_refuse(t, m, STDIO_CODE_CLOSING,
                            "`bye` was said: no more requests are accepted");
    const json_t *const stream = fields_get(m->obj, "stream");
    if (stream && !json_is_boolean(stream))
        return stdio_refuse(t, m, STDIO_CODE_BAD_FIELD, "field 'stream': expected true or false");
    return stdio_ask_accept(t, m);
}

static enum err on_cancel(struct stdio_talk *t, const struct stdio_msg *m)
{
    const json_t *const forget = fields_get(m->obj, "forget");
    if (!m->id)
        return stdio_refuse(t, m, STDIO_CODE_BAD_FIELD,
                            "field 'id' is missing; name the request to cancel");
    if (forget && !json_is_boolean(forget))
        return stdio_refuse(t, m, STDIO_CODE_BAD_FIELD, "field 'forget': expected true or false");
    struct stdio_ask *const a = stdio_ask_find(t, m->id);
    if (!a)
        return stdio_refuse(t, m, STDIO_CODE_NOT_FOUND,
                            "no request of this id waits or runs; it may have ended already");
    return stdio_ask_cancel(t, a, json_is_true(forget));
}

static enum err on_close(struct stdio_talk *t, const struct stdio_msg *m)
{
    json_t *const name = fields_get(m->obj, "conversation");
    struct stdio_conv *const c = name ? stdio_convs_find(&t->convs, name) : NULL;
    if (!name)
        return stdio_refuse(t, m, STDIO_CODE_BAD_FIELD,
                            "field 'conversation' is missing; name the one to close");
    if (!c) return stdio_refuse(t, m, STDIO_CODE_NOT_FOUND, "there is no such conversation");
    c->n_ask++; /* it stays until its requests have ended */
    const enum err err = stdio_ask_cancel_all(t, c);
    c->n_ask--;
    if (err) return err;
    stdio_convs_remove(&t->convs, c);
    const struct field list[] = {{"conversation", json_incref(name)}};
    return stdio_say(t, "closed", m->id, list, COUNT(list));
}

static enum err on_stats(struct stdio_talk *t, const struct stdio_msg *m)
{
    const struct crew_stats st = crew_stats(t->crew);
    const struct field requests[] = {{"answered", field_count(t->n_answered)},
                                     {"cancelled", field_count(t->n_cancelled)},
                                     {"failed", field_count(t->n_failed)}};
    const struct field tokens[] = {{"prefill", field_count(st.n_prefill)},
                                   {"cached", field_count(st.n_cached)},
                                   {"decode", field_count(st.n_decode)}};
    const struct field list[] = {
        {"uptime_ms", field_count((os_time_ns() - t->start_ns) / NS_PER_MS)},
        {"running", field_count(crew_n_busy(t->crew))},
        {"waiting", field_count(stdio_ask_n_waiting(t))},
        {"conversations", field_count(t->convs.n)},
        {"requests", fields_object(requests, COUNT(requests))},
        {"tokens", fields_object(tokens, COUNT(tokens))},
        {"prefill_ms", field_count(st.prefill_ns / NS_PER_MS)},
        {"decode_ms", field_count(st.decode_ns / NS_PER_MS)},
        {"memory_peak_bytes", field_count(os_rss_peak_bytes())},
    };
    return stdio_say(t, "stats", m->id, list, COUNT(list));
}

static enum err on_ping(struct stdio_talk *t, const struct stdio_msg *m)
{
    return stdio_say(t, "pong", m->id, NULL, 0);
}

static enum err on_bye(struct stdio_talk *t, const struct stdio_msg *m)
{
    const json_t *const cancel = fields_get(m->obj, "cancel");
    if (cancel && !json_is_boolean(cancel))
        return stdio_refuse(t, m, STDIO_CODE_BAD_FIELD, "field 'cancel': expected true or false");
    t->closing = true;
    json_decref(t->bye);
    t->bye = json_incref(m->id);
    return json_is_true(cancel) ? stdio_ask_cancel_all(t, NULL) : OK;
}

#define FIELDS_MAX 6

static const struct kind {
    const char *name;
    enum err (*handle)(struct stdio_talk *t, const struct stdio_msg *m);
    const char *fields[FIELDS_MAX]; /* NULL at the end */
    bool asks;                      /* and those of cmd/request.h */
} kinds[] = {
    {"generate", on_generate, .fields = {"type", "id", "conversation", "stream"}, .asks = true},
    {"cancel", on_cancel, .fields = {"type", "id", "forget"}},
    {"close", on_close, .fields = {"type", "id", "conversation"}},
    {"stats", on_stats, .fields = {"type", "id"}},
    {"ping", on_ping, .fields = {"type", "id"}},
    {"bye", on_bye, .fields = {"type", "id", "cancel"}},
};
#define N_KINDS (sizeof kinds / sizeof *kinds)

/* ---- lines ----------------------------------------------------------------------------------- */

bool stdio_is_name(const json_t *v)
{
    if (!json_is_string(v)) return json_is_integer(v);
    return json_string_length(v) > 0 && json_string_length(v) <= STDIO_NAME_BYTES_MAX;
}

/* NULL: none, or no string. */
static const struct kind *find_kind(const json_t *type)
{
    const char *const said = json_is_string(type) ? json_string_value(type) : "";
    for (size_t i = 0; i < N_KINDS; i++)
        if (strcmp(kinds[i].name, said) == 0) return &kinds[i];
    return NULL;
}

static enum err refuse_type(struct stdio_talk *t, const struct stdio_msg *m, const json_t *type)
{
    const char *names[N_KINDS + 1] = {NULL};
    for (size_t i = 0; i < N_KINDS; i++) names[i] = kinds[i].name;
    if (!json_is_string(type))
        return stdio_refuse(t, m, STDIO_CODE_UNKNOWN_TYPE,
                            "field 'type': expected a string such as \"generate\"");
    const char *const said = json_string_value(type), *const near = cli_nearest(said, names);
    if (near)
        return stdio_refuse(t, m, STDIO_CODE_UNKNOWN_TYPE,
                            "type '%.100s' is not known; did you mean '%s'?", said, near);
    return stdio_refuse(t, m, STDIO_CODE_UNKNOWN_TYPE,
                        "type '%.100s' is not known; expected generate, cancel, close, stats, ping "
                        "or bye",
                        said);
}

/* The first field that this kind of message does not have, or NULL. */
static const char *unknown_field(const struct kind *k, json_t *obj)
{
    if (k->asks) return request_unknown(obj, k->fields);
    const char *name;
    json_t *v;
    json_object_foreach(obj, name, v)
    {
        size_t i = 0;
        while (k->fields[i] && strcmp(k->fields[i], name) != 0) i++;
        if (!k->fields[i]) return name;
    }
    return NULL;
}

static enum err handle(struct stdio_talk *t, struct stdio_msg *m)
{
    json_t *const id = fields_get(m->obj, "id");
    if (id && !stdio_is_name(id))
        return stdio_refuse(t, m, STDIO_CODE_BAD_FIELD,
                            "field 'id': expected a string of 1 to %d bytes or an integer",
                            STDIO_NAME_BYTES_MAX);
    const json_t *const type = fields_get(m->obj, "type");
    const struct kind *const k = find_kind(type);
    m->id = json_incref(id);
    if (!k) return refuse_type(t, m, type);
    if (k->asks) {
        if (!m->id) m->id = json_integer((json_int_t)m->i_line);
        if (!m->id) return mem_short("a request");
        m->begins = !stdio_ask_find(t, m->id);
    }
    const char *const unknown = unknown_field(k, m->obj);
    if (unknown)
        return stdio_refuse(t, m, STDIO_CODE_UNKNOWN_FIELD,
                            "'%.100s' is no field of `%s`; see docs/STDIO.md for those there are",
                            unknown, k->name);
    return k->handle(t, m);
}

enum err stdio_talk_line(struct stdio_talk *t, uint64_t i_line, const char *line, size_t n)
{
    assert(n <= STDIO_LINE_BYTES_MAX);
    struct stdio_msg m = {.i_line = i_line};
    const size_t i_bad = utf8_bad(line, n);
    if (i_bad < n)
        return stdio_refuse(t, &m, STDIO_CODE_NOT_UTF8,
                            "byte %zu of the line (0x%02x) is not UTF-8; send text as UTF-8",
                            i_bad + 1, (unsigned char)line[i_bad]);
    json_error_t e;
    m.obj = json_loadb(line, n, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &e);
    if (!m.obj)
        return stdio_refuse(t, &m, STDIO_CODE_BAD_JSON,
                            "byte %d of the line: %s; expected one JSON object", e.position,
                            e.text);
    const enum err err = json_is_object(m.obj)
                             ? handle(t, &m)
                             : stdio_refuse(t, &m, STDIO_CODE_BAD_JSON,
                                            "the line is an array; expected one JSON object");
    json_decref(m.id);
    json_decref(m.obj);
    return err;
}

enum err stdio_talk_too_long(struct stdio_talk *t, uint64_t i_line)
{
    return stdio_refuse(t, &(struct stdio_msg){.i_line = i_line}, STDIO_CODE_TOO_LONG,
                        "the line has more than %u bytes, the most that are read; it is skipped",
                        STDIO_LINE_BYTES_MAX);
}

/* ---- a session from hello to bye ------------------------------------------------------------- */

enum err stdio_talk_open(struct stdio_talk **t, struct engine *e, const struct stdio_talk_opts *o,
                         struct stdio_out *out)
{
    assert(o->gen);
    *t = mem_alloc(MEM_MISC, sizeof **t);
    if (!*t) return ERR_MEMORY;
    **t = (struct stdio_talk){.e = e, .o = *o, .out = out, .start_ns = os_time_ns()};
    const struct crew_opts co = {.session = o->session,
                                 .n_seat = o->n_seat,
                                 .on_text = stdio_ask_on_text,
                                 .on_done = stdio_ask_on_done,
                                 .ctx = *t};
    enum err err = crew_open(&(*t)->crew, e, &co);
    if (err == OK) err = stdio_convs_init(&(*t)->convs, STDIO_CONVERSATIONS_MAX);
    if (err == OK) {
        const size_t n = crew_n_seat((*t)->crew) + (size_t)STDIO_QUEUE_MAX;
        (*t)->asks = mem_alloc_array(MEM_MISC, n, sizeof *(*t)->asks);
        err = (*t)->asks ? say_hello(*t) : ERR_MEMORY;
    }
    if (err == OK) return OK;
    stdio_talk_close(*t);
    *t = NULL;
    return err;
}

void stdio_talk_close(struct stdio_talk *t)
{
    if (!t) return;
    crew_close(t->crew);
    stdio_ask_free_all(t);
    stdio_convs_fini(&t->convs);
    json_decref(t->bye);
    mem_free(t->asks);
    mem_free(t);
}

void stdio_talk_end(struct stdio_talk *t)
{
    t->closing = true;
}

bool stdio_talk_has_work(const struct stdio_talk *t)
{
    return t->n_ask > 0;
}

bool stdio_talk_is_closing(const struct stdio_talk *t)
{
    return t->closing;
}

enum err stdio_talk_turn(struct stdio_talk *t)
{
    enum err err = stdio_ask_start_waiting(t);
    if (err || crew_n_busy(t->crew) == 0) return err;
    err = crew_turn(t->crew);
    if (err == OK) return t->err;
    if (err == ERR_INTR) return err;
    const enum err err_told = stdio_ask_fail_all(t, err);
    return err_told ? err_told : err;
}

enum err stdio_talk_bye(struct stdio_talk *t)
{
    return stdio_say(t, "bye", t->bye, NULL, 0);
}
