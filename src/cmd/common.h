/*
 * common.h: what the commands share: the options that are the same everywhere, opening a model,
 * notes on standard error, and the exit code.
 *
 *     struct eval_opts { struct common_opts common; ... }; // first: the shared rows fit
 *
 *     static int eval_main(void *opts)
 *     {
 *         ...
 *         enum err err = cmd_open_run(&e, &o->common, cmd_n_ctx(&o->common, 0), 1);
 *         ...
 *         return cmd_exit(err);
 *     }
 */
#ifndef CMD_COMMON_H
#define CMD_COMMON_H

#include "cli.h"
#include "cmd/sampling.h"
#include "engine.h"

struct common_opts {
    const char *pos[2]; /* positional arguments; after cmd_model() pos[0] is the prompt or NULL */
    const char *model;
    enum cli_from model_from;
    const char *pre;
    const char *chat_template;
    const char *prompt, *file;
    enum cli_from prompt_from, file_from;
    const char *system;
    enum cli_from system_from;
    bool raw;
    enum cli_from raw_from;
    uint32_t n_ctx; /* 0: the model's own; every command has its own default */
    enum cli_from n_ctx_from;
    uint32_t n_parallel; /* 0: as many as suit */
    uint32_t n_batch;
    const char *type_k, *type_v;
    uint32_t n_thread;
    const char *cpu_mask;
    bool act_f32, no_repack;
    bool plan_repack; /* set by a command that runs nothing */
    bool late_repack; /* set by a command that is waited for with its prompt at hand */
    bool verbose, quiet;
    struct sampling_opts sampling;
};

extern const struct cli_opt common_model[];    /* -m */
extern const struct cli_opt common_pre[];      /* --pre */
extern const struct cli_opt common_prompt[];   /* -p -f */
extern const struct cli_opt common_system[];   /* --system */
extern const struct cli_opt common_raw[];      /* --raw */
extern const struct cli_opt common_ctx[];      /* -c, for cmd_n_ctx(o, 0) */
extern const struct cli_opt common_parallel[]; /* --parallel */
extern const struct cli_opt common_threads[];  /* -t */
extern const struct cli_opt common_compute[];  /* -b --cpu-mask --act-f32 --no-repack */
extern const struct cli_opt common_kv[];       /* -ctk -ctv: for cmd_session() */
extern const struct cli_opt common_chat[];     /* --chat-template */
extern const struct cli_opt common_talk[];     /* -v -q */

extern const struct cli_cmd cmd_run, cmd_eval, cmd_tokenize, cmd_detokenize, cmd_inspect,
    cmd_perplexity, cmd_bench, cmd_template, cmd_batch, cmd_chat, cmd_stdio, cmd_doctor, cmd_help,
    cmd_man, cmd_completion;

#define CMD_TABLE_MAX 32                          /* commands; people do not learn more */
extern const struct cli_cmd *const cmd_table[];   /* all of them, then NULL */
const struct cli_cmd *cmd_find(const char *name); /* NULL: there is none */
/* The sentence for a word that is no command: ERR_USAGE. */
enum err cmd_unknown(const char *word);

/* Sorts out -m and the positional arguments: without -m the first one is the model, and what is
 * left over may be a prompt. ERR_USAGE for one too many. Call it first. */
enum err cmd_model(struct common_opts *o, bool takes_prompt);
/* Opens the model, or the embedded one with a line that says so; not to run it. */
enum err cmd_open(struct engine **e, const struct common_opts *o, enum engine_mode mode);
/* The same to run it (ENGINE_RUN), in n_seq sessions of n_ctx tokens as session_opts means it:
 * repacked weights leave the memory for them. */
enum err cmd_open_run(struct engine **e, const struct common_opts *o, uint32_t n_ctx,
                      uint32_t n_seq);
/* What became of the model's weights, in words: "3.7 GiB repacked in 0.91 s". Returns buf. */
#define CMD_WEIGHTS_BYTES 96
char *cmd_weights(char buf[CMD_WEIGHTS_BYTES], const struct engine_repack *r);
/* What the options say about a session with a context of n_ctx tokens as session_opts means it; a
 * context beyond the model's own gets a warning. */
struct session_opts cmd_session_opts(const struct engine *e, const struct common_opts *o,
                                     uint32_t n_ctx);
/* Such a session. */
enum err cmd_session(struct session **s, struct engine *e, const struct common_opts *o,
                     uint32_t n_ctx);
/* session_sync() with a progress bar. */
enum err cmd_prefill(struct session *s, const struct common_opts *o, const uint32_t *ids, size_t n);
/* session_opts.n_ctx for what -c said: `unset` without -c, the model's own for 0. */
uint32_t cmd_n_ctx(const struct common_opts *o, uint32_t unset);

/* A line that says so when a chat has to do without a template of the model's own. */
void cmd_note_chat(const struct common_opts *o, const struct engine *e, enum chat_kind kind);

/* A line on standard error, unless --quiet. */
void cmd_note(const struct common_opts *o, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Where progress bars go: standard error, or NULL with --quiet. */
FILE *cmd_bar_file(const struct common_opts *o);
/* ERR_INTR when a signal asked to stop (os_interrupted()). */
enum err cmd_interrupted(void);

/* The message of the last error, as a line on standard error. */
void cmd_complain(void);
/* The end of every command: writes out what standard output still holds, prints the message of an
 * error, returns the exit code: 128 and the signal's number for ERR_INTR. ERR_END, a reader that
 * has gone away, is a quiet 0. */
int cmd_exit(enum err err);

#endif
