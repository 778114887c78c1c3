/*
 * chat_main.c: `moxie chat`: a conversation, turn by turn.
 *
 * Each turn renders the whole conversation with the model's template and hands all of its tokens to
 * the session, which runs only what it has not seen: what the template changes in earlier messages
 * (most drop the reasoning of old answers) is run again, nothing else. Standard output gets the
 * answers, each ended with a newline; prompts, notes and what commands say go to standard error.
 *
 * What goes wrong in a turn ends neither the chat nor the conversation: the message is taken back.
 * At a terminal Ctrl-C stops an answer, and what has been written of it stays; elsewhere it ends
 * the program, and the exit code is that of the first turn that failed.
 */
#include "base/limits.h"
#include "base/mem.h"
#include "base/os.h"
#include "base/ui.h"
#include "cmd/chat_impl.h"
#include "cmd/chat_story.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#define AT(field) offsetof(struct chat_opts, field)

static const struct cli_opt rows[] = {
    {"no-history", 0, CLI_FLAG, AT(no_history),
     .help = "neither read nor keep the history of what was typed"},
    {0},
};

/* ---- the prompt of a turn -------------------------------------------------------------------- */

struct prompt {
    uint32_t *ids; /* (n) engine_free */
    size_t n;
    bool reasoning; /* it ends with an opening mark: the answer begins inside */
};

/* The tokens of the last message alone; 0 when they cannot be counted. */
static size_t last_message_tokens(const struct chat_state *c)
{
    const json_t *const all = json_object_get(c->talk.root, "messages");
    const json_t *const content =
        json_object_get(json_array_get(all, json_array_size(all) - 1), "content");
    uint32_t *ids = NULL;
    size_t n = 0;
    if (json_is_string(content) &&
        engine_tokenize(c->e, json_string_value(content), json_string_length(content), 0, &ids, &n))
        n = 0;
    engine_free(ids);
    return n;
}

static enum err too_long(const struct chat_state *c, size_t n)
{
    const uint32_t n_ctx = session_n_ctx(c->s);
    const size_t n_last = chat_talk_n(&c->talk) == 1 ? n : last_message_tokens(c);
    if (n_last > n_ctx || n_last == n)
        return err_set(ERR_USAGE,
                       "the message has %zu tokens, too many for the context of %" PRIu32
                       "; shorten it, or start with a larger context (-c N)",
                       n_last, n_ctx);
    return err_set(ERR_USAGE,
                   "the conversation has %zu tokens, too many for the context of %" PRIu32
                   ": /clear begins anew, /undo drops the last exchange; start with -c N for a "
                   "larger context, or with --ctx-shift to forget the oldest exchanges",
                   n, n_ctx);
}

static enum err render(struct chat_state *c, struct prompt *p)
{
    const struct chat *chat = NULL;
    struct origin_text text = {0};
    if (c->is_story) return story_prompt(c->e, c->talk.root, &p->ids, &p->n);
    enum err err = engine_chat(c->e, &chat);
    if (err == OK) err = chat_render(chat, c->talk.root, CHAT_GENERATE, &text);
    if (err == OK) err = engine_tokenize_origin(c->e, &text, ENGINE_TOK_BOS, &p->ids, &p->n);
    if (err == OK) p->reasoning = show_opens(text.s, text.n);
    origin_text_fini(&text);
    return err;
}

/* The tokens of the conversation. Where they do not fit, --ctx-shift forgets the oldest exchanges,
 * until a quarter of the context is free for the answer. */
static enum err make_prompt(struct chat_state *c, struct prompt *p)
{
    const size_t n_ctx = session_n_ctx(c->s);
    size_t n_max = n_ctx - 1, n_forgotten = 0;
    for (;;) {
        const enum err err = render(c, p);
        if (err) return err;
        if (p->n <= n_max) break;
        const bool is_shorter = c->sampling.gen.shift && chat_talk_forget(&c->talk);
        if (!is_shorter && p->n < n_ctx) break; /* a single message may take more */
        engine_free(p->ids);
        p->ids = NULL;
        if (!is_shorter) return too_long(c, p->n);
        n_max = n_ctx - n_ctx / 4;
        n_forgotten++;
    }
    if (n_forgotten > 0)
        cmd_note(&c->o->common, "the context is full: %zu of the oldest exchanges %s forgotten",
                 n_forgotten, n_forgotten == 1 ? "was" : "were");
    return OK;
}

/* ---- the answer ------------------------------------------------------------------------------ */

static enum err take_text(void *ctx, const char *text, size_t n)
{
    struct chat_state *const c = ctx;
    enum err err = bytes_put(&c->answer, text, n);
    if (err) return err;
    err = show_put(&c->show, text, n);
    c->is_broken = err != OK;
    return err;
}

static enum err generate(struct chat_state *c, const struct prompt *p, enum gen_finish *why)
{
    struct gen_opts o = c->sampling.gen;
    struct gen *g = NULL;
    o.sample.seed += c->n_turn++;
    enum err err = gen_open(&g, c->e, &o, p->ids, p->n);
    if (err) return err;
    show_begin(&c->show, p->reasoning);
    err = gen_answer(g, c->s, take_text, c);
    const enum err err_end = show_end(&c->show);
    if (err_end) c->is_broken = true;
    if (err == OK) err = err_end;
    *why = gen_finish(g);
    c->last.n_answer = gen_n_tokens(g);
    gen_close(g);
    return err;
}

static void note_context(const struct chat_state *c, enum gen_finish why)
{
    const struct common_opts *const o = &c->o->common;
    const size_t n = session_pos(c->s);
    const uint32_t n_ctx = session_n_ctx(c->s);
    if (why == GEN_CONTEXT)
        cmd_note(o,
                 "the context of %" PRIu32 " tokens is full, the answer ends here: /clear begins "
                 "anew, /undo drops the last exchange; start with -c N for a larger context, or "
                 "with --ctx-shift to forget the oldest exchanges",
                 n_ctx);
    else if (n_ctx - n < n_ctx / 4)
        cmd_note(o, "context: %zu of %" PRIu32 " tokens are in use", n, n_ctx);
    if (o->verbose)
        cmd_note(o, "%zu tokens new, %zu reused; %" PRIu32 " written",
                 c->last.n_prompt - c->last.n_reused, c->last.n_reused, c->last.n_answer);
}

/* After an interruption: Ctrl-C of a person at a terminal ends what was done, and no more. */
static bool may_go_on(const struct chat_state *c)
{
    if (chat_line_is_terminal(c->line)) os_interrupt_clear();
    return !os_interrupted();
}

/* What was said to the conversation; what was thought beside it, for the template to decide. */
static enum err keep_answer(struct chat_state *c, bool reasoning)
{
    const char *const text = bytes_at(&c->answer);
    const size_t n = bytes_n(&c->answer);
    struct show_parts p = {0};
    const bool has = show_split(text, n, reasoning, &p);
    return chat_talk_answer(&c->talk, text + p.rest, n - p.rest, has ? text + p.begin : NULL,
                            p.end - p.begin);
}

/* Writes the answer to the conversation as it is. ERR_INTR: nothing was written of it. */
static enum err answer(struct chat_state *c)
{
    assert(chat_talk_waits(&c->talk));
    struct prompt p = {0};
    enum gen_finish why = GEN_GOING;
    bytes_cut(&c->answer, 0);
    enum err err = make_prompt(c, &p);
    if (err) goto done;
    c->last = (struct chat_turn){.n_prompt = p.n, .n_reused = session_reusable(c->s, p.ids, p.n)};
    err = cmd_prefill(c->s, &c->o->common, p.ids, p.n);
    if (err == OK) err = generate(c, &p, &why);
    if (err == ERR_INTR && bytes_n(&c->answer) > 0 && may_go_on(c)) err = OK;
    if (err == OK) err = keep_answer(c, p.reasoning);
    if (err == OK) note_context(c, why);
done:
    engine_free(p.ids);
    return err;
}

/* After an error the conversation is what `before` says. */
static enum err settle(struct chat_state *c, json_t *before, enum err err)
{
    if (err)
        chat_talk_restore(&c->talk, before);
    else
        json_decref(before);
    return err;
}

enum err chat_pend(struct chat_state *c, const char *text, size_t n)
{
    const size_t n_before = bytes_n(&c->pending);
    enum err err = chat_talk_check(text, n);
    if (err == OK && n_before > 0 && n > 0) err = bytes_put(&c->pending, "\n\n", 2);
    if (err == OK) err = bytes_put(&c->pending, text, n);
    if (err) bytes_cut(&c->pending, n_before);
    return err;
}

enum err chat_ask(struct chat_state *c, const char *text, size_t n)
{
    assert(c);
    json_t *const before = chat_talk_copy(&c->talk);
    if (!before) return mem_short("the conversation");
    const size_t n_pending = bytes_n(&c->pending);
    enum err err = chat_pend(c, text, n);
    if (err == OK) err = chat_talk_ask(&c->talk, bytes_at(&c->pending), bytes_n(&c->pending));
    if (err == OK) err = answer(c);
    bytes_cut(&c->pending, err ? n_pending : 0);
    return settle(c, before, err);
}

enum err chat_again(struct chat_state *c)
{
    assert(c);
    json_t *const before = chat_talk_copy(&c->talk);
    if (!before) return mem_short("the conversation");
    chat_talk_drop_answer(&c->talk);
    const enum err err = chat_talk_waits(&c->talk)
                             ? answer(c)
                             : err_set(ERR_USAGE, "/regen: there is no message to answer yet");
    return settle(c, before, err);
}

/* ---- the conversation ------------------------------------------------------------------------ */

static bool is_blank(const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!strchr(" \t\n\r", text[i])) return false;
    return true;
}

static enum err take_message(struct chat_state *c, const char *text, size_t n)
{
    if (chat_is_command(text, n)) return chat_command(c, text);
    if (is_blank(text, n) && bytes_n(&c->pending) == 0) return OK;
    if (n >= 2 && text[0] == '/' && text[1] == '/') return chat_ask(c, text + 1, n - 1);
    return chat_ask(c, text, n);
}

/* What came of a message or a command is told. Anything but OK: the chat is over. */
static enum err tell(struct chat_state *c, enum err err)
{
    const bool is_stopped = err == ERR_INTR && may_go_on(c);
    if (is_stopped)
        cmd_note(&c->o->common, "stopped; the conversation is as before");
    else if (err == ERR_INTR || c->is_broken)
        return err;
    else if (err)
        cmd_complain();
    if (err && !is_stopped && c->err == OK) c->err = err;
    if (err && bytes_n(&c->pending) > 0)
        cmd_note(&c->o->common,
                 "what /read has brought is the beginning of your next message; /undo drops it");
    return OK;
}

static enum err talk_on(struct chat_state *c)
{
    enum err err = OK;
    while (err == OK && !c->leave) {
        const char *text = NULL;
        size_t n = 0;
        const char *const warning = chat_line_warning(c->line);
        if (warning) {
            err_set(ERR_RUN, "%s", warning);
            cmd_complain(); /* also with --quiet: something did not work */
        }
        err = chat_line_read(c->line, &text, &n);
        if (err == ERR_INTR && may_go_on(c)) {
            if (n == 0) cmd_note(&c->o->common, "Ctrl-D or /exit leaves the chat");
            err = OK;
        } else if (err == OK) {
            err = tell(c, take_message(c, text, n));
        }
    }
    return err == ERR_END && !c->is_broken ? OK : err;
}

/* The message that the command line gives, if it gives one: *t. */
static enum err first_message(struct common_opts *o, struct text *t)
{
    if (!o->prompt && !o->file && !o->pos[0]) return OK;
    const enum err err = prompt_check(o, false);
    return err ? err : prompt_read(o, PROMPT_CHOMP, t);
}

static enum err greet(const struct chat_state *c)
{
    const struct common_opts *const o = &c->o->common;
    const struct engine_info *const f = engine_info(c->e);
    const struct chat *chat = NULL;
    const enum err err = engine_chat(c->e, &chat);
    if (err) return err;
    if (!c->is_story) cmd_note_chat(o, c->e, chat_kind(chat));
    if (!c->sampling.seed_given && c->sampling.gen.sample.temp > 0)
        cmd_note(o, "seed %" PRIu64, c->sampling.gen.sample.seed);
    if (!chat_line_is_terminal(c->line)) return OK;
    if (f->is_demo)
        cmd_note(o, "it goes on with a story and answers no questions; begin one: Once upon a "
                    "time, there was a little dog who");
    cmd_note(o,
             "%s, context of %" PRIu32 " tokens. /help lists the commands, Ctrl-C stops an answer, "
             "Ctrl-D leaves",
             f->is_demo ? "the demo model"
             : *f->name ? f->name
                        : f->path,
             session_n_ctx(c->s));
    return OK;
}

/* first: the message to begin with; nothing, when its text is NULL. */
static enum err chat(struct chat_state *c, struct text *first)
{
    struct common_opts *const o = &c->o->common;
    enum err err = cmd_model(o, true);
    if (err == OK) err = first_message(o, first);
    if (err == OK) err = chat_line_open(&c->line, !c->o->no_history, chat_word);
    if (err == OK) err = chat_talk_init(&c->talk, o->system);
    if (err == OK) err = cmd_open_run(&c->e, o, cmd_n_ctx(o, 0), 1);
    if (err) return err;
    c->is_story = engine_info(c->e)->is_demo && !o->chat_template;
    sampling_for_demo(o, c->e);
    err = sampling_init(&c->sampling, o, c->e, !c->is_story);
    if (err == OK) err = cmd_session(&c->s, c->e, o, cmd_n_ctx(o, 0));
    if (err == OK) err = greet(c);
    if (err) return err;
    os_interrupt_patient(chat_line_is_terminal(c->line));
    show_open(&c->show, stdout, true);
    if (first->s) err = tell(c, chat_ask(c, first->s, first->n));
    return err == OK ? talk_on(c) : err;
}

static int chat_main(void *opts)
{
    struct chat_opts *const o = opts;
    struct chat_state c = {.o = o};
    struct text first = {0};
    int code = cmd_exit(chat(&c, &first));
    if (code == 0 && c.err && !chat_line_is_terminal(c.line)) code = err_exit_code(c.err);
    chat_line_close(c.line);
    for (size_t i = 0; i < c.n_kept; i++) mem_free(c.kept[i].value);
    mem_free(c.kept);
    mem_free(c.file);
    bytes_fini(&c.pending);
    bytes_fini(&c.answer);
    chat_talk_fini(&c.talk);
    mem_free(first.s);
    sampling_fini(&c.sampling);
    session_free(c.s);
    engine_close(c.e);
    return code;
}

const struct cli_cmd cmd_chat = {
    .name = "chat",
    .args = "[MODEL [PROMPT]]",
    .brief = "talk with a model, message by message",
    .text = "A conversation: each message that you type, or each line of standard input, is "
            "answered on standard output. The first one may be the second argument, the text of "
            "-p, or a file (-f). /help lists the commands that can be typed instead of a message, "
            "docs/CHAT.md explains them.",
    .opts = {common_prompt, common_system, rows, common_ctx, common_sampling, common_shift,
             common_model, common_pre, common_chat, common_threads, common_compute, common_kv,
             common_talk},
    .opts_bytes = sizeof(struct chat_opts),
    .pos_max = 2,
    .pos_offset = AT(common.pos),
    .main = chat_main,
};
