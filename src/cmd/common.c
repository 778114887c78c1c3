/*
 * common.c: shared option rows, opening a model, notes and exit codes of the commands.
 *
 * All text for people goes to standard error, a line each with the program's name in front; only an
 * error's name is coloured, and only on a terminal.
 */
#include "cmd/common.h"

#include "base/limits.h"
#include "base/os.h"
#include "base/ui.h"
#include "cmd/files.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#define AT(field) offsetof(struct common_opts, field)

const struct cli_opt common_model[] = {
    {"model", 'm', CLI_STR, AT(model), AT(model_from), "MODEL",
     .help = "model (GGUF); of a split file the first part. Without one: the embedded demo model"},
    {0},
};

const struct cli_opt common_pre[] = {
    {"pre", 0, CLI_STR, AT(pre), .arg = "NAME",
     .help = "pre-tokeniser, instead of the one the file names"},
    {0},
};

const struct cli_opt common_prompt[] = {
    {"prompt", 'p', CLI_STR, AT(prompt), AT(prompt_from), "TEXT", .help = "the text"},
    {"file", 'f', CLI_STR, AT(file), AT(file_from), "FILE",
     .help = "the text is in FILE (- is standard input)"},
    {0},
};

const struct cli_opt common_ctx[] = {
    {"ctx-size", 'c', CLI_U32, AT(n_ctx), AT(n_ctx_from), "N", .max = CTX_MAX,
     .help = "context in tokens; 0: the model's own (default: that, but at most 4096)"},
    {0},
};

const struct cli_opt common_raw[] = {
    {"raw", 0, CLI_FLAG, AT(raw), AT(raw_from),
     .help = "continue bare texts, without the model's chat template"},
    {0},
};

const struct cli_opt common_system[] = {
    {"system", 0, CLI_STR, AT(system), AT(system_from), "TEXT", .alias = "-sys --system-prompt",
     .help = "system message, which tells the model how to behave"},
    {0},
};

const struct cli_opt common_parallel[] = {
    {"parallel", 0, CLI_U32, AT(n_parallel), .arg = "N", .max = CREW_SEATS_MAX, .alias = "-np",
     .help = "answers written together, each with a context of its own; changes speed and memory, "
             "not the result (default: as many as memory and model suggest)"},
    {0},
};

const struct cli_opt common_threads[] = {
    {"threads", 't', CLI_U32, AT(n_thread), .arg = "N", .min = 1, .max = THREADS_MAX,
     .help = "threads (default: physical cores)"},
    {0},
};

const struct cli_opt common_compute[] = {
    {"batch-size", 'b', CLI_U32, AT(n_batch), .arg = "N", .min = 1, .max = BATCH_MAX,
     .help = "tokens of one prefill piece; changes memory and speed, not the result (default 512)"},
    {"cpu-mask", 0, CLI_ENUM, AT(cpu_mask), .arg = "LEVEL",
     .words = "none|sse|avx2|avx512|vnni|neon|dotprod|i8mm",
     .help = "highest instruction set used"},
    {"act-f32", 0, CLI_FLAG, AT(act_f32),
     .help = "diagnostic: float32 activations for quantised weights, slow and exact"},
    {"no-repack", 0, CLI_FLAG, AT(no_repack), .alias = "-nr",
     .help = "leave quantised weights in the file's order instead of copying them into memory in "
             "the kernels': no time is spent on that, runs slower, with the same result"},
    {0},
};

const struct cli_opt common_kv[] = {
    {"cache-type-k", 0, CLI_ENUM, AT(type_k), .arg = "TYPE", .def = "f16", .words = "f16|f32|q8_0",
     .alias = "-ctk", .help = "cached keys"},
    {"cache-type-v", 0, CLI_ENUM, AT(type_v), .arg = "TYPE", .def = "f16", .words = "f16|f32|q8_0",
     .alias = "-ctv", .help = "cached values, unless they are part of the keys (MLA)"},
    {0},
};

const struct cli_opt common_chat[] = {
    {"chat-template", 0, CLI_STR, AT(chat_template), .arg = "FILE", .alias = "--chat-template-file",
     .help = "chat template (Jinja) in FILE, instead of the model's own"},
    {0},
};

const struct cli_opt common_talk[] = {
    {"verbose", 'v', CLI_FLAG, AT(verbose),
     .help = "say more about what is done, on standard error"},
    {"quiet", 'q', CLI_FLAG, AT(quiet), .help = "say nothing but errors on standard error"},
    {0},
};

static_assert(BATCH_DEFAULT == 512, "the help of --batch-size names it");

/* ---- notes and the end ----------------------------------------------------------------------- */

/* A log wants lines whole, a person wants words whole. */
static void say(const char *name, const char *text)
{
    fprintf(stderr, "%s ", name);
    if (os_is_terminal(stderr))
        cli_wrap(stderr, text, strlen("moxie: "), strlen("moxie: "));
    else
        fprintf(stderr, "%s\n", text);
}

void cmd_note(const struct common_opts *o, const char *fmt, ...)
{
    assert(o);
    if (o->quiet) return;
    char text[ERR_MSG_BYTES_MAX];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    ui_tame(text, strlen(text)); /* names come from files */
    say("moxie:", text);
}

FILE *cmd_bar_file(const struct common_opts *o)
{
    return o->quiet ? NULL : stderr;
}

enum err cmd_interrupted(void)
{
    return os_interrupted() ? err_set(ERR_INTR, "interrupted") : OK;
}

void cmd_complain(void)
{
    say(ui_color(stderr) ? "\033[1;31mmoxie:\033[0m" : "moxie:", err_msg());
}

int cmd_exit(enum err err)
{
    if (err == OK) err = out_flush(stdout, "standard output");
    if (err == OK || err == ERR_END) return 0;
    cmd_complain();
    return err == ERR_INTR && os_interrupted() ? 128 + os_interrupted() : err_exit_code(err);
}

/* ---- model and session ----------------------------------------------------------------------- */

enum err cmd_model(struct common_opts *o, bool takes_prompt)
{
    assert(o);
    if (o->model_from != CLI_FROM_ARG && o->pos[0]) {
        o->model = o->pos[0];
        o->pos[0] = o->pos[1];
        o->pos[1] = NULL;
    }
    const char *const extra = takes_prompt ? o->pos[1] : o->pos[0];
    if (!extra) return OK;
    return err_set(ERR_USAGE,
                   "unexpected argument '%s': the model is '%s' already; leave one of them out",
                   extra, o->model);
}

/* Does this look like "llama3" and not like a path with a typing error? */
static bool is_only_a_name(const char *s)
{
    const size_t n = strlen(s);
    const bool is_gguf = n >= 5 && strcmp(s + n - 5, ".gguf") == 0;
    return n > 0 && !is_gguf && access(s, F_OK) != 0 && errno == ENOENT;
}

/* What repacking costs is worth some thirty tokens, at best: shorter answers end sooner without,
 * and longer ones not much later if it begins after half as many. Two cores of Zen 4 take 70 ms for
 * so many bytes, ten times as long where the system has to find the memory first [measured]. */
#define LATE_STEPS 16
#define LATE_BYTES ((uint64_t)512 << 20)

struct load_ui {
    struct ui_wait wait; /* until the weights are repacked, which says how far it is */
    struct ui_bar bar;
};

static void show_load(void *ctx, uint64_t n_done, uint64_t n_total)
{
    struct load_ui *const ui = ctx;
    ui_wait_end(&ui->wait);
    ui_bar_set(&ui->bar, n_done >> 20, n_total >> 20);
}

static enum err open_engine(struct engine **e, const struct common_opts *o, struct engine_opts *eo)
{
    struct load_ui ui;
    eo->on_repack = show_load;
    eo->on_repack_ctx = &ui;
    ui_bar_start(&ui.bar, cmd_bar_file(o), "loading the model", "MiB");
    ui_wait_start(&ui.wait, cmd_bar_file(o), "loading the model");
    const enum err err = engine_open(e, eo);
    ui_wait_end(&ui.wait);
    ui_bar_end(&ui.bar);
    return err;
}

char *cmd_weights(char buf[CMD_WEIGHTS_BYTES], const struct engine_repack *r)
{
    char size[UI_SIZE_BYTES_MAX], need[UI_SIZE_BYTES_MAX], have[UI_SIZE_BYTES_MAX];
    char done[UI_SIZE_BYTES_MAX];
    const bool is_known = r->free_bytes > 0;
    ui_size(size, r->n_bytes);
    ui_size(need, r->need_bytes);
    ui_size(have, r->free_bytes);
    static const char mapped[] = "mapped, not repacked";
    switch (r->state) {
    case REPACK_DONE:
        snprintf(buf, CMD_WEIGHTS_BYTES, "%s repacked in %.2f s", size, (double)r->ns / 1e9);
        break;
    case REPACK_LATE:
        if (r->n_done == 0)
            snprintf(buf, CMD_WEIGHTS_BYTES, "%s mapped, to be repacked", size);
        else
            snprintf(buf, CMD_WEIGHTS_BYTES, "%s of %s repacked in %.2f s",
                     ui_size(done, r->n_done), size, (double)r->ns / 1e9);
        break;
    case REPACK_PLANNED:
        snprintf(buf, CMD_WEIGHTS_BYTES, "%s will be repacked", size);
        break;
    case REPACK_NOTHING:
        snprintf(buf, CMD_WEIGHTS_BYTES, "mapped: none are of a type that is repacked");
        break;
    case REPACK_OFF:
        snprintf(buf, CMD_WEIGHTS_BYTES, "%s, as --no-repack says", mapped);
        break;
    case REPACK_ROWS:
        snprintf(buf, CMD_WEIGHTS_BYTES, "%s, for float32 activations", mapped);
        break;
    case REPACK_ROOM:
        snprintf(buf, CMD_WEIGHTS_BYTES, "%s: needs %s of memory, %s%s", mapped, need,
                 is_known ? have : "how much is free is unknown", is_known ? " are free" : "");
        break;
    case REPACK_REFUSED:
        snprintf(buf, CMD_WEIGHTS_BYTES, "%s: the system refused %s of memory", mapped, size);
        break;
    }
    return buf;
}

static enum kv_type kv_type(const char *word)
{
    return strcmp(word, "f32") == 0 ? KV_F32 : strcmp(word, "q8_0") == 0 ? KV_Q8_0 : KV_F16;
}

static enum err open_as(struct engine **e, const struct common_opts *o, enum engine_mode mode,
                        uint32_t n_ctx, uint32_t n_seq)
{
    assert(e);
    assert(o);
    if (!o->model)
        cmd_note(o, "no model given (-m MODEL): using the embedded demo model, which is small and "
                    "writes childish stories, short ones best");
    struct engine_opts eo = {.path = o->model,
                             .mode = mode,
                             .n_thread = o->n_thread,
                             .cpu_mask = o->cpu_mask,
                             .pre = o->pre,
                             .chat_template = o->chat_template,
                             .act_f32 = o->act_f32,
                             .no_repack = o->no_repack,
                             .plan_repack = o->plan_repack,
                             .late_steps = o->late_repack ? LATE_STEPS : 0,
                             .late_bytes = LATE_BYTES,
                             .n_ctx = n_ctx,
                             .n_seq = n_seq,
                             .type_k = o->type_k ? kv_type(o->type_k) : KV_F16,
                             .type_v = o->type_v ? kv_type(o->type_v) : KV_F16};
    const enum err err = open_engine(e, o, &eo);
    if (err == ERR_INPUT && o->model && is_only_a_name(o->model))
        return err_set(
            ERR_INPUT,
            "%s: no such file; expected the path of a GGUF file: moxie downloads nothing "
            "and knows no model by name",
            o->model);
    return err;
}

enum err cmd_open(struct engine **e, const struct common_opts *o, enum engine_mode mode)
{
    assert(mode != ENGINE_RUN);
    return open_as(e, o, mode, 0, 0);
}

enum err cmd_open_run(struct engine **e, const struct common_opts *o, uint32_t n_ctx,
                      uint32_t n_seq)
{
    const enum err err = open_as(e, o, ENGINE_RUN, n_ctx, n_seq);
    if (err || !o->verbose) return err;
    const struct engine_info *const f = engine_info(*e);
    char size[UI_SIZE_BYTES_MAX], active[UI_SIZE_BYTES_MAX];
    cmd_note(o, "model %s: %s, %s, %.2f M parameters, %s of weights, %s read per token", f->path,
             f->arch, f->type, (double)f->n_param / 1e6, ui_size(size, f->n_bytes),
             ui_size(active, f->n_bytes_active));
    cmd_note(o, "%" PRIu32 " threads, instruction set %s%s", f->n_thread, f->cpu_level,
             o->act_f32 ? ", float32 activations" : "");
    char weights[CMD_WEIGHTS_BYTES];
    cmd_note(o, "weights: %s", cmd_weights(weights, &f->repack));
    return OK;
}

void cmd_note_chat(const struct common_opts *o, const struct engine *e, enum chat_kind kind)
{
    assert(o);
    assert(e);
    if (kind == CHAT_OWN) return;
    cmd_note(o, "%s has no chat template: %s; --chat-template FILE gives it one",
             engine_info(e)->path,
             kind == CHAT_CHATML ? "using ChatML, whose tokens it has"
                                 : "writing plain role names, \"User:\" and \"Assistant:\"");
}

uint32_t cmd_n_ctx(const struct common_opts *o, uint32_t unset)
{
    if (o->n_ctx_from == CLI_FROM_DEFAULT) return unset;
    return o->n_ctx == 0 ? CTX_OF_MODEL : o->n_ctx;
}

struct session_opts cmd_session_opts(const struct engine *e, const struct common_opts *o,
                                     uint32_t n_ctx)
{
    assert(o->type_k);
    assert(o->type_v);
    const uint32_t n_train = engine_info(e)->n_ctx_train;
    if (n_ctx != CTX_OF_MODEL && n_ctx > n_train)
        cmd_note(o,
                 "warning: a context of %" PRIu32
                 " is more than the model was trained for (%" PRIu32
                 "); the text may get worse beyond that",
                 n_ctx, n_train);
    return (struct session_opts){.n_ctx = n_ctx,
                                 .n_batch = o->n_batch,
                                 .type_k = kv_type(o->type_k),
                                 .type_v = kv_type(o->type_v)};
}

enum err cmd_session(struct session **s, struct engine *e, const struct common_opts *o,
                     uint32_t n_ctx)
{
    assert(s);
    const struct session_opts so = cmd_session_opts(e, o, n_ctx);
    struct ui_wait wait;
    ui_wait_start(&wait, cmd_bar_file(o), "preparing the context");
    const enum err err = session_new(s, e, &so);
    ui_wait_end(&wait);
    return err;
}

struct prefill_ui {
    struct ui_wait wait; /* until the first piece is done: weights that come from a slow disk */
    struct ui_bar bar;
};

static void show_progress(void *ctx, size_t n_done, size_t n_total)
{
    struct prefill_ui *const ui = ctx;
    ui_wait_end(&ui->wait);
    ui_bar_set(&ui->bar, n_done, n_total);
}

enum err cmd_prefill(struct session *s, const struct common_opts *o, const uint32_t *ids, size_t n)
{
    struct prefill_ui ui;
    ui_bar_start(&ui.bar, cmd_bar_file(o), "prefill", "tok");
    ui_wait_start(&ui.wait, cmd_bar_file(o), "prefill");
    session_on_progress(s, show_progress, &ui);
    const enum err err = session_sync(s, ids, n);
    session_on_progress(s, NULL, NULL);
    ui_wait_end(&ui.wait);
    ui_bar_end(&ui.bar);
    return err;
}
