/*
 * common.h: what the commands share: the options that are the same everywhere, opening a model,
 * notes on standard error, and the exit code.
 *
 *     struct eval_opts { struct common_opts common; ... }; // first: the shared rows fit
 *
 *     static int eval_main(void *opts)
 *     {
 *         ...
 *         enum err err = cmd_open(&e, &o->common, ENGINE_RUN);
 *         ...
 *         return cmd_exit(err);
 *     }
 */
#ifndef CMD_COMMON_H
#define CMD_COMMON_H

#include "cli.h"
#include "engine.h"

struct common_opts {
    const char *pos[2]; /* positional arguments; after cmd_model() pos[0] is the prompt or NULL */
    const char *model;
    enum cli_from model_from;
    const char *pre;
    const char *prompt, *file;
    enum cli_from prompt_from, file_from;
    uint32_t n_ctx; /* 0: the model's own; every command has its own default */
    enum cli_from n_ctx_from;
    uint32_t n_batch;
    const char *type_k, *type_v;
    uint32_t n_thread;
    const char *cpu_mask;
    bool act_f32;
    bool verbose, quiet;
};

extern const struct cli_opt common_model[];   /* -m --pre */
extern const struct cli_opt common_prompt[];  /* -p -f */
extern const struct cli_opt common_threads[]; /* -t */
extern const struct cli_opt common_compute[]; /* -b -ctk -ctv --cpu-mask --act-f32 */
extern const struct cli_opt common_talk[];    /* -v -q */

extern const struct cli_cmd cmd_run, cmd_eval, cmd_tokenize, cmd_detokenize, cmd_inspect,
    cmd_perplexity, cmd_bench;

/* Sorts out -m and the positional arguments: without -m the first one is the model, and what is
 * left over may be a prompt. ERR_USAGE for one too many. Call it first. */
enum err cmd_model(struct common_opts *o, bool takes_prompt);
/* Opens the model, or the embedded one with a line that says so. */
enum err cmd_open(struct engine **e, const struct common_opts *o, enum engine_mode mode);
/* A session with a context of n_ctx tokens as session_opts means it; a context beyond the model's
 * own gets a warning. */
enum err cmd_session(struct session **s, struct engine *e, const struct common_opts *o,
                     uint32_t n_ctx);
/* session_sync() with a progress bar. */
enum err cmd_prefill(struct session *s, const struct common_opts *o, const uint32_t *ids, size_t n);
/* session_opts.n_ctx for what -c said: `unset` without -c, the model's own for 0. */
uint32_t cmd_n_ctx(const struct common_opts *o, uint32_t unset);

/* A line on standard error, unless --quiet. */
void cmd_note(const struct common_opts *o, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Where progress bars go: standard error, or NULL with --quiet. */
FILE *cmd_bar_file(const struct common_opts *o);
/* ERR_INTR when SIGINT came. */
enum err cmd_interrupted(void);

/* The end of every command: writes out what standard output still holds, prints the message of an
 * error, returns the exit code. ERR_END, a reader that has gone away, is a quiet 0. */
int cmd_exit(enum err err);

#endif
