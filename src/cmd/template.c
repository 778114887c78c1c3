/*
 * template.c: a conversation to the text or the ids that the model would get. It needs a template
 * and, for ids, a vocabulary; any architecture and files without tensors will do.
 */
#include "base/limits.h"
#include "base/mem.h"
#include "base/os.h"
#include "cmd/files.h"

#include <string.h>

struct template_opts {
    struct common_opts common; /* chat_template: --template */
    const char *messages;
    bool no_generation_prompt, ids;
};

#define AT(field) offsetof(struct template_opts, field)

static const struct cli_opt rows[] = {
    {"template", 0, CLI_STR, AT(common.chat_template), .arg = "FILE", .alias = "--chat-template",
     .help = "chat template (Jinja) in FILE, instead of the model's own; then no model is needed"},
    {"messages", 0, CLI_STR, AT(messages), .arg = "FILE",
     .help = "the conversation, JSON (- is standard input): an array of messages, or an object "
             "with messages, tools and further variables of the template"},
    {"no-generation-prompt", 0, CLI_FLAG, AT(no_generation_prompt),
     .help = "end after the last message, not with the start of the assistant's answer"},
    {"ids", 0, CLI_FLAG, AT(ids),
     .help = "token ids instead of text, with BOS as the model gets it; what came from the "
             "messages is never a control token"},
    {0},
};

static enum err check(const struct template_opts *o)
{
    const char *const file = o->common.chat_template;
    if (!o->messages)
        return err_set(ERR_USAGE,
                       "no conversation given: use --messages FILE (- is standard input)");
    if (file && strcmp(file, "-") == 0 && strcmp(o->messages, "-") == 0)
        return err_set(ERR_USAGE, "--template and --messages cannot both be standard input");
    if (file && o->ids && !o->common.model)
        return err_set(ERR_USAGE,
                       "--ids needs a vocabulary: give a model (-m FILE) beside --template");
    return OK;
}

static enum err read_messages(const char *path, json_t **conversation)
{
    char *text = NULL;
    size_t n = 0;
    enum err err = os_read_all(path, PROMPT_BYTES_MAX, &text, &n);
    if (err) return err;
    json_error_t e;
    *conversation = json_loadb(text, n, JSON_ALLOW_NUL, &e);
    if (!*conversation)
        err = err_set(ERR_INPUT, "%s: line %d, column %d: %s; expected a conversation as JSON",
                      strcmp(path, "-") == 0 ? "standard input" : path, e.line, e.column, e.text);
    mem_free(text);
    return err;
}

static enum err write_ids(const struct engine *e, const struct origin_text *text)
{
    uint32_t *ids = NULL;
    size_t n = 0;
    const enum err err = engine_tokenize_origin(e, text, ENGINE_TOK_BOS, &ids, &n);
    if (err) return err;
    ids_print(ids, n);
    engine_free(ids);
    return OK;
}

/* e: NULL when the template is in a file and there is no model. */
static enum err render(const struct template_opts *o, struct engine *e)
{
    const struct chat *c = NULL;
    struct chat *without_model = NULL;
    json_t *conversation = NULL;
    struct origin_text text = {0};
    enum err err =
        e ? engine_chat(e, &c) : chat_open(&without_model, NULL, NULL, o->common.chat_template);
    if (without_model) c = without_model;
    if (err == OK && e) cmd_note_chat(&o->common, e, chat_kind(c));
    if (err == OK) err = read_messages(o->messages, &conversation);
    const unsigned flags = o->no_generation_prompt ? 0 : CHAT_GENERATE;
    if (err == OK) err = chat_render(c, conversation, flags, &text);
    if (err == OK && o->ids) err = write_ids(e, &text);
    if (err == OK && !o->ids) fwrite(text.s, 1, text.n, stdout);
    origin_text_fini(&text);
    json_decref(conversation);
    chat_close(without_model);
    return err ? err : cmd_interrupted();
}

static int template_main(void *opts)
{
    struct template_opts *const o = opts;
    struct engine *e = NULL;
    enum err err = cmd_model(&o->common, false);
    if (err == OK) err = check(o);
    if (err == OK && (o->common.model || !o->common.chat_template))
        err = cmd_open(&e, &o->common, ENGINE_VOCAB);
    if (err == OK) err = render(o, e);
    const int code = cmd_exit(err);
    engine_close(e);
    return code;
}

const struct cli_cmd cmd_template = {
    .name = "template",
    .args = "[MODEL]",
    .brief = "a conversation to the model's prompt",
    .text = "Renders a conversation with the model's chat template and writes the text that the "
            "model would get, without a newline of its own.",
    .opts = {rows, common_model, common_pre, common_talk},
    .opts_bytes = sizeof(struct template_opts),
    .pos_max = 1,
    .pos_offset = AT(common.pos),
    .main = template_main,
};
