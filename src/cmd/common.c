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
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

#define AT(field) offsetof(struct common_opts, field)

const struct cli_opt common_model[] = {
    {"model", 'm', CLI_STR, AT(model), AT(model_from), "FILE",
     .help = "model (GGUF); of a split file the first part. Without one: the embedded demo model"},
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

const struct cli_opt common_threads[] = {
    {"threads", 't', CLI_U32, AT(n_thread), .arg = "N", .min = 1, .max = THREADS_MAX,
     .help = "threads (default: physical cores)"},
    {0},
};

const struct cli_opt common_compute[] = {
    {"batch-size", 'b', CLI_U32, AT(n_batch), .arg = "N", .min = 1, .max = BATCH_MAX,
     .help = "tokens of one prefill piece; changes memory and speed, not the result (default 512)"},
    {"cache-type-k", 0, CLI_ENUM, AT(type_k), .arg = "TYPE", .def = "f16", .words = "f16|f32",
     .alias = "-ctk", .help = "type of cached keys"},
    {"cache-type-v", 0, CLI_ENUM, AT(type_v), .arg = "TYPE", .def = "f16", .words = "f16|f32",
     .alias = "-ctv", .help = "type of cached values"},
    {"cpu-mask", 0, CLI_ENUM, AT(cpu_mask), .arg = "LEVEL",
     .words = "none|sse|avx2|avx512|vnni|neon|dotprod|i8mm",
     .help = "highest instruction set used"},
    {"act-f32", 0, CLI_FLAG, AT(act_f32),
     .help = "diagnostic: float32 activations for quantised weights, slow and exact"},
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
    fprintf(stderr, "moxie: %s\n", text);
}

FILE *cmd_bar_file(const struct common_opts *o)
{
    return o->quiet ? NULL : stderr;
}

enum err cmd_interrupted(void)
{
    return os_interrupted() ? err_set(ERR_INTR, "interrupted") : OK;
}

int cmd_exit(enum err err)
{
    if (err == OK) err = out_flush(stdout, "standard output");
    if (err == OK || err == ERR_END) return 0;
    const bool color = ui_color(stderr);
    fprintf(stderr, "%smoxie:%s %s\n", color ? "\033[1;31m" : "", color ? "\033[0m" : "",
            err_msg());
    return err_exit_code(err);
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

enum err cmd_open(struct engine **e, const struct common_opts *o, enum engine_mode mode)
{
    assert(e);
    assert(o);
    if (!o->model)
        cmd_note(o, "no model given (-m FILE): using the embedded demo model, which is small and "
                    "writes childish stories");
    const struct engine_opts eo = {.path = o->model,
                                   .mode = mode,
                                   .n_thread = o->n_thread,
                                   .cpu_mask = o->cpu_mask,
                                   .pre = o->pre,
                                   .act_f32 = o->act_f32};
    const enum err err = engine_open(e, &eo);
    if (err || !o->verbose || mode != ENGINE_RUN) return err;
    const struct engine_info *const f = engine_info(*e);
    char size[UI_SIZE_BYTES_MAX], active[UI_SIZE_BYTES_MAX];
    cmd_note(o, "model %s: %s, %s, %.2f M parameters, %s of weights, %s read per token", f->path,
             f->arch, f->type, (double)f->n_param / 1e6, ui_size(size, f->n_bytes),
             ui_size(active, f->n_bytes_active));
    cmd_note(o, "%" PRIu32 " threads, instruction set %s%s", f->n_thread, f->cpu_level,
             o->act_f32 ? ", float32 activations" : "");
    return OK;
}

uint32_t cmd_n_ctx(const struct common_opts *o, uint32_t unset)
{
    if (o->n_ctx_from == CLI_FROM_DEFAULT) return unset;
    return o->n_ctx == 0 ? CTX_OF_MODEL : o->n_ctx;
}

static enum kv_type kv_type(const char *word)
{
    return strcmp(word, "f32") == 0 ? KV_F32 : KV_F16;
}

enum err cmd_session(struct session **s, struct engine *e, const struct common_opts *o,
                     uint32_t n_ctx)
{
    assert(s);
    assert(o->type_k);
    assert(o->type_v);
    const uint32_t n_train = engine_info(e)->n_ctx_train;
    if (n_ctx != CTX_OF_MODEL && n_ctx > n_train)
        cmd_note(o,
                 "warning: a context of %" PRIu32
                 " is more than the model was trained for (%" PRIu32
                 "); the text may get worse beyond that",
                 n_ctx, n_train);
    const struct session_opts so = {.n_ctx = n_ctx,
                                    .n_batch = o->n_batch,
                                    .type_k = kv_type(o->type_k),
                                    .type_v = kv_type(o->type_v)};
    return session_new(s, e, &so);
}

static void show_progress(void *bar, size_t n_done, size_t n_total)
{
    ui_bar_set(bar, n_done, n_total);
}

enum err cmd_prefill(struct session *s, const struct common_opts *o, const uint32_t *ids, size_t n)
{
    struct ui_bar bar;
    ui_bar_start(&bar, cmd_bar_file(o), "prefill", "tok");
    session_on_progress(s, show_progress, &bar);
    const enum err err = session_sync(s, ids, n);
    session_on_progress(s, NULL, NULL);
    ui_bar_end(&bar);
    return err;
}
