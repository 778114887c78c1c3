/*
 * chat.c: chooses a template, finds out how it wants messages written, renders.
 *
 * Templates differ in what they understand (conversation.h), and nothing says so but their source.
 * So each is tried, as llama.cpp tries it: when it is opened, with a message and a tool call of our
 * own, and when it is rendered, with the conversation that is there.
 *
 *   text only            as it is; in parts where the template drops or refuses plain texts
 *   lists of parts       as they are where the template takes a list of one part for the same as
 *                        its text, otherwise joined
 *   null for a content   as it is, unless the template fails or writes the word None: then ""
 *   arguments            objects or JSON text, where the template understands only one of them
 *
 * A conversation of texts is rendered exactly as transformers would. The fallbacks are templates,
 * too.
 *
 * Of several templates, `tool_use` is for conversations that offer tools; the other names that
 * tokenizer.chat_templates may list ("rag") are for programs that know them.
 */
#include "text/chat.h"

#include "base/limits.h"
#include "base/mem.h"
#include "base/os.h"
#include "gguf/gguf.h"
#include "jinja/jinja.h"
#include "text/conversation.h"
#include "text/tok.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEY_TEMPLATE "tokenizer.chat_template"
#define PATH_BYTES_SHOWN 256 /* of a model: most of a message is for what is wrong */
#define NAME_BYTES (PATH_BYTES_SHOWN + sizeof(": key '" KEY_TEMPLATE ".tool_use'"))

struct dialect { /* a template, and how it wants messages written */
    struct jinja *jinja;
    unsigned how;            /* enum conv_how: CONV_PARTS, CONV_ARGS_... */
    uint64_t tried_until_ns; /* finding that out is given up then */
};

struct chat {
    struct dialect general;
    struct dialect tool_use; /* jinja NULL: none of its own */
    enum chat_kind kind;
    json_t *bos, *eos; /* their texts, "" where the vocabulary has none */
};

static const char chatml[] =
    "{% for m in messages %}"
    "{{ '<|im_start|>' + m.role + '\\n' + (m.content or '') + '<|im_end|>\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

static const char plain[] = "{% for m in messages %}"
                            "{{ m.role | capitalize + ': ' + (m.content or '') | trim + '\\n\\n' }}"
                            "{% endfor %}"
                            "{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}";

/* ---- rendering ------------------------------------------------------------------------------- */

/* What strftime_now() shows: MOXIE_NOW, otherwise the local time. */
static enum err get_now(int64_t *now)
{
    const char *const text = getenv("MOXIE_NOW");
    if (!text || !*text) {
        *now = os_clock_local();
        return OK;
    }
    if (os_clock_parse(text, now)) return OK;
    return err_set(ERR_USAGE,
                   "environment variable MOXIE_NOW: '%s' is no time, expected one such as "
                   "2026-01-02T03:04:05",
                   text);
}

/* The template's own variables. A bos_token or eos_token of the conversation goes before ours; as
 * data, unless it says the same. */
static json_t *own_vars(const struct chat *c, const json_t *vars, bool generate)
{
    const json_t *const bos = json_object_get(vars, "bos_token");
    const json_t *const eos = json_object_get(vars, "eos_token");
    json_t *const own = json_pack("{s:b}", "add_generation_prompt", generate);
    int rc = own ? 0 : -1;
    const bool own_bos = !bos || json_is_null(bos) || json_equal(bos, c->bos);
    const bool own_eos = !eos || json_is_null(eos) || json_equal(eos, c->eos);
    if (own_bos) rc |= json_object_set(own, "bos_token", c->bos);
    if (own_eos) rc |= json_object_set(own, "eos_token", c->eos);
    if (rc == 0) return own;
    json_decref(own);
    return NULL;
}

/* Templates write "<|" and "|>" around the name of a role. The usual names are not what somebody
 * says; any other text in that place is. */
static bool is_own(const char *key, const char *text, size_t n_bytes)
{
    static const char *const roles[] = {"system",   "user",      "assistant",
                                        "tool",     "developer", "model",
                                        "function", "ipython",   "observation"};
    if (strcmp(key, "role") != 0) return false;
    for (size_t i = 0; i < sizeof roles / sizeof *roles; i++)
        if (strlen(roles[i]) == n_bytes && memcmp(text, roles[i], n_bytes) == 0) return true;
    return false;
}

struct job { /* one call of chat_render() */
    const struct chat *c;
    const struct dialect *d;
    const json_t *conversation;
    bool generate;
    uint64_t until_ns; /* all of its renders together */
};

static uint64_t time_limit(void)
{
    return os_time_ns() + CHAT_SECONDS_MAX * UINT64_C(1000000000);
}

static enum err render(const struct job *job, unsigned how, struct origin_text *text)
{
    *text = (struct origin_text){0};
    json_t *const data = conv_vars(job->conversation, how);
    const bool no = json_is_false(json_object_get(data, "add_generation_prompt"));
    json_t *const own = own_vars(job->c, data, job->generate && !no);
    struct jinja_vars v = {
        .data = data, .own = own, .is_own = is_own, .deadline_ns = job->until_ns};
    enum err err = data && own ? get_now(&v.time) : mem_short("a prompt");
    if (!err) err = jinja_render(job->d->jinja, &v, text);
    json_decref(data);
    json_decref(own);
    return err;
}

/* Renders to see what comes; a template that fails is no error: *ok is false then. */
static enum err try(const struct job *job, unsigned how, struct origin_text *text, bool *ok)
{
    const enum err err = render(job, how, text);
    *ok = err == OK;
    return err == ERR_INPUT ? OK : err;
}

/* ---- what a template understands ------------------------------------------------------------- */

#define NEEDLE "Needle7"

static size_t count(const struct origin_text *t, const char *word)
{
    const size_t n = strlen(word);
    size_t n_found = 0;
    for (size_t i = 0; i + n <= t->n; i++) n_found += memcmp(t->s + i, word, n) == 0;
    return n_found;
}

static bool same_text(const struct origin_text *a, const struct origin_text *b)
{
    return a->n == b->n && memcmp(a->s, b->s, a->n) == 0;
}

/* Does the needle come out when our conversation is written this way? Not so if it became part of a
 * quoted text: {\"Needle7\": 1}. */
static enum err comes_out(const struct chat *c, const struct dialect *d, const json_t *conversation,
                          unsigned how, bool *yes)
{
    if (!conversation) return mem_short("a prompt");
    const struct job job = {.c = c,
                            .d = d,
                            .conversation = conversation,
                            .generate = true,
                            .until_ns = d->tried_until_ns};
    struct origin_text t;
    bool ok;
    const enum err err = try(&job, how, &t, &ok);
    if (err) return err;
    *yes |= ok && count(&t, NEEDLE) > count(&t, NEEDLE "\\\"");
    origin_text_fini(&t);
    return OK;
}

static enum err probe_parts(const struct chat *c, struct dialect *d)
{
    json_t *const said = json_pack("[{s:s, s:s}]", "role", "user", "content", NEEDLE);
    bool as_text = false, as_parts = false;
    enum err err = comes_out(c, d, said, 0, &as_text);
    if (!err && !as_text) err = comes_out(c, d, said, CONV_PARTS, &as_parts);
    if (as_parts) d->how |= CONV_PARTS;
    json_decref(said);
    return err;
}

/* A user's question, a tool call as the answer. */
static json_t *call_conversation(bool with_content)
{
    json_t *const content = with_content ? json_string("") : json_null();
    json_t *const call =
        json_pack("{s:s, s:s, s:{s:s, s:s}}", "id", "123456789", "type", "function", "function",
                  "name", "f", "arguments", "{\"" NEEDLE "\": 1}");
    json_t *const tool =
        json_pack("{s:s, s:{s:s, s:s, s:{s:s, s:{}}}}", "type", "function", "function", "name", "f",
                  "description", "f", "parameters", "type", "object", "properties");
    json_t *const answer =
        json_pack("{s:s, s:o, s:[o]}", "role", "assistant", "content", content, "tool_calls", call);
    return json_pack("{s:[{s:s, s:s}, o], s:[o]}", "messages", "role", "user", "content", "?",
                     answer, "tools", tool);
}

static enum err probe_args(const struct chat *c, struct dialect *d)
{
    bool as_text = false, as_object = false;
    enum err err = OK;
    for (int with_content = 0; with_content < 2 && !err; with_content++) {
        json_t *const call = call_conversation(with_content);
        err = comes_out(c, d, call, d->how, &as_text);
        if (!err) err = comes_out(c, d, call, d->how | CONV_ARGS_OBJECT, &as_object);
        json_decref(call);
    }
    if (as_object && !as_text) d->how |= CONV_ARGS_OBJECT;
    if (as_text && !as_object) d->how |= CONV_ARGS_TEXT;
    return err;
}

/* ---- open ------------------------------------------------------------------------------------ */

static enum err open_dialect(const struct chat *c, struct dialect *d, const char *src, size_t n,
                             const char *name)
{
    d->tried_until_ns = time_limit();
    enum err err = jinja_open(&d->jinja, src, n, name);
    if (!err) err = probe_parts(c, d);
    if (!err) err = probe_args(c, d);
    return err;
}

static enum err open_file(struct chat *c, const char *file)
{
    char *src = NULL;
    size_t n = 0;
    enum err err = os_read_all(file, JINJA_SOURCE_BYTES_MAX, &src, &n);
    const char *const name = strcmp(file, "-") == 0 ? "standard input" : file;
    if (!err) err = open_dialect(c, &c->general, src, n, name);
    mem_free(src);
    return err;
}

/* A template of the model, if it has one by this key. */
static enum err open_key(const struct chat *c, struct dialect *d, const struct gguf *g,
                         const char *key)
{
    struct gguf_str src = {.s = "", .n = 0};
    enum err err = gguf_get_str(g, key, GGUF_OPTIONAL, &src);
    if (err || src.n == 0) return err;
    char name[NAME_BYTES];
    snprintf(name, sizeof name, "%.*s: key '%s'", PATH_BYTES_SHOWN, gguf_path(g), key);
    return open_dialect(c, d, src.s, src.n, name);
}

static enum err open_model(struct chat *c, const struct gguf *g, const struct tok *t)
{
    enum err err = open_key(c, &c->general, g, KEY_TEMPLATE);
    if (!err) err = open_key(c, &c->tool_use, g, KEY_TEMPLATE ".tool_use");
    if (err || c->general.jinja) return err;
    if (c->tool_use.jinja) {
        c->general = c->tool_use;
        c->tool_use = (struct dialect){0};
        return OK;
    }
    const bool has_chatml =
        tok_special(t, "<|im_start|>") != TOK_NONE && tok_special(t, "<|im_end|>") != TOK_NONE;
    c->kind = has_chatml ? CHAT_CHATML : CHAT_PLAIN;
    const char *const src = has_chatml ? chatml : plain;
    return open_dialect(c, &c->general, src, strlen(src), has_chatml ? "ChatML" : "plain roles");
}

/* A special token as a template writes it. */
static enum err token_text(const struct tok *t, uint32_t id, json_t **text)
{
    size_t n = 0;
    char *s = NULL;
    if (t && id != TOK_NONE) {
        const enum err err = tok_decode(t, &id, 1, &s, &n);
        if (err) return err;
    }
    *text = json_stringn(s ? s : "", n);
    if (!*text) *text = json_string(""); /* not UTF-8, so no template can mean it */
    mem_free(s);
    return *text ? OK : mem_short("a prompt");
}

enum err chat_open(struct chat **out, const struct gguf *g, const struct tok *t, const char *file)
{
    assert(out);
    assert(file || (g && t));
    *out = NULL;
    struct chat *const c = mem_alloc(MEM_TOK, sizeof *c);
    if (!c) return ERR_MEMORY;
    enum err err = token_text(t, t ? tok_bos(t) : TOK_NONE, &c->bos);
    if (!err) err = token_text(t, t ? tok_eos(t) : TOK_NONE, &c->eos);
    if (!err) err = file ? open_file(c, file) : open_model(c, g, t);
    if (err) {
        chat_close(c);
        return err;
    }
    *out = c;
    return OK;
}

void chat_close(struct chat *c)
{
    if (!c) return;
    jinja_close(c->general.jinja);
    jinja_close(c->tool_use.jinja);
    json_decref(c->bos);
    json_decref(c->eos);
    mem_free(c);
}

/* ---- facts ----------------------------------------------------------------------------------- */

enum chat_kind chat_kind(const struct chat *c)
{
    assert(c);
    return c->kind;
}

const char *chat_stop(const struct chat *c)
{
    assert(c);
    return c->kind == CHAT_PLAIN ? "\nUser:" : NULL;
}

/* ---- render ---------------------------------------------------------------------------------- */

/* Does the template take lists of parts in this conversation? Then one part is the same as its
 * text. */
static enum err takes_parts(const struct job *job, bool *yes)
{
    struct origin_text text, parts = {0};
    bool ok_text, ok_parts = false;
    const unsigned how = job->d->how | CONV_JOINED;
    enum err err = try(job, how, &text, &ok_text);
    if (!err) err = try(job, how | CONV_PARTS, &parts, &ok_parts);
    *yes = !err && ok_parts && (!ok_text || same_text(&text, &parts));
    origin_text_fini(&text);
    origin_text_fini(&parts);
    return err;
}

/* With null contents: as they are, or as empty texts where that is what the template needs. */
static enum err render_null(const struct job *job, unsigned how, struct origin_text *text)
{
    struct origin_text empty;
    bool ok;
    enum err err = try(job, how | CONV_EMPTY, &empty, &ok);
    if (err) return err;
    err = render(job, how, text);
    const bool failed = err == ERR_INPUT;
    if (ok && (failed || (!err && count(text, "None") > count(&empty, "None")))) {
        origin_text_fini(text);
        *text = empty;
        return OK;
    }
    origin_text_fini(&empty);
    return err;
}

enum err chat_render(const struct chat *c, const json_t *conversation, unsigned flags,
                     struct origin_text *text)
{
    assert(c && conversation);
    assert(text);
    *text = (struct origin_text){0};
    struct conv_facts f;
    enum err err = conv_check(conversation, &f);
    if (err) return err;
    const bool tools = f.has_tools && c->tool_use.jinja;
    const struct job job = {.c = c,
                            .until_ns = time_limit(),
                            .d = tools ? &c->tool_use : &c->general,
                            .conversation = conversation,
                            .generate = flags & CHAT_GENERATE};
    unsigned how = job.d->how;
    if (f.has_parts && !(how & CONV_PARTS)) {
        bool as_it_is = false;
        err = takes_parts(&job, &as_it_is);
        if (!as_it_is) how |= CONV_JOINED;
    }
    if (err) return err;
    return f.has_null ? render_null(&job, how, text) : render(&job, how, text);
}
