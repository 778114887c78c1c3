/*
 * run.c: one prompt in, text out.
 *
 * Standard output carries the text that the model writes and nothing else, each piece as soon as it
 * is a whole character. Whatever ends it, the end of the text, -n, a full context or Ctrl-C, the
 * timings follow on standard error. Towards a terminal, cmd/show.h makes the text harmless, dims
 * what the model says to itself, and ends the last line.
 */
#include "base/limits.h"
#include "base/mem.h"
#include "base/os.h"
#include "base/ui.h"
#include "cmd/files.h"
#include "cmd/sampling.h"
#include "cmd/show.h"

#include <inttypes.h>
#include <string.h>

struct run_opts {
    struct common_opts common;
    bool escape, special;
};

#define AT(field) offsetof(struct run_opts, field)

static const struct cli_opt rows[] = {
    {"escape", 'e', CLI_FLAG, AT(escape),
     .help = "expand \\n, \\t, \\xHH and the like in the text of -p"},
    {"parse-special", 0, CLI_FLAG, AT(special),
     .help = "control tokens written in the prompt count as such"},
    {0},
};

struct run {
    const struct run_opts *o;
    struct engine *e;
    struct session *s;
    struct sampling sampling;
    struct gen *gen;
    struct text prompt;
    uint32_t *ids; /* (n_ids) of the prompt */
    size_t n_ids;
    bool is_late;   /* weights were mapped at first */
    bool is_chat;   /* the prompt is a conversation, not a text to continue */
    bool reasoning; /* the prompt ends with a mark: the answer begins inside */
    struct show show;
    uint64_t load_ns;  /* that the model took to open */
    uint64_t start_ns; /* of the prefill, so much earlier */
};

/* ---- output ---------------------------------------------------------------------------------- */

static enum err put(void *ctx, const char *text, size_t n)
{
    struct run *const r = ctx;
    return show_put(&r->show, text, n);
}

/* What follows on standard error begins a line of its own where a file gets both streams. The
 * newline goes there, too: standard output has what the model wrote. */
static void end_line(const struct run *r, enum err err)
{
    const bool is_said = err == OK ? !r->o->common.quiet : err != ERR_END;
    if (r->show.open_line && is_said && out_is_same(stdout, stderr)) fputc('\n', stderr);
}

static void print_timings(const struct run *r)
{
    const struct session_stats st = session_stats(r->s);
    char peak[UI_SIZE_BYTES_MAX];
    cmd_note(&r->o->common,
             "prefill %" PRIu64 " tokens at %.1f tok/s, decode %" PRIu64 " tokens at %.1f tok/s",
             st.n_prefill, st.prefill_ns ? (double)st.n_prefill * 1e9 / (double)st.prefill_ns : 0,
             st.n_decode, st.decode_ns ? (double)st.n_decode * 1e9 / (double)st.decode_ns : 0);
    ui_size(peak, os_rss_peak_bytes());
    const uint64_t first_ns = r->gen ? gen_first_ns(r->gen) : 0;
    if (first_ns)
        cmd_note(&r->o->common, "first token after %.3f s, peak memory %s",
                 (double)(first_ns - r->start_ns) / 1e9, peak);
    else
        cmd_note(&r->o->common, "peak memory %s", peak);
    const struct engine_repack *const repack = &engine_info(r->e)->repack;
    char weights[CMD_WEIGHTS_BYTES];
    if (r->is_late && repack->n_done)
        cmd_note(&r->o->common, "weights: %s, not counted in the speeds",
                 cmd_weights(weights, repack));
    else if (r->o->common.verbose && r->is_late && repack->state != REPACK_LATE)
        cmd_note(&r->o->common, "weights: %s", cmd_weights(weights, repack));
}

/* ---- steps ----------------------------------------------------------------------------------- */

static enum err bare_ids(struct run *r)
{
    const unsigned flags = ENGINE_TOK_BOS | (r->o->special ? ENGINE_TOK_SPECIAL : 0u);
    const enum err err = engine_tokenize(r->e, r->prompt.s, r->prompt.n, flags, &r->ids, &r->n_ids);
    r->reasoning = show_opens(r->prompt.s, r->prompt.n);
    return err ? err : prompt_begin(r->e, &r->ids, &r->n_ids);
}

/* What a person says, maybe after a system message. */
static json_t *conversation(const char *system, const struct text *said)
{
    if (!system) return json_pack("[{s:s, s:s%}]", "role", "user", "content", said->s, said->n);
    return json_pack("[{s:s, s:s}, {s:s, s:s%}]", "role", "system", "content", system, "role",
                     "user", "content", said->s, said->n);
}

static enum err chat_ids(struct run *r, const struct chat *c)
{
    json_t *const j = conversation(r->o->common.system, &r->prompt);
    if (!j)
        return err_set(ERR_INPUT, "the prompt is not valid UTF-8, which a chat template needs; "
                                  "convert it, or let the model continue its bytes with --raw");
    struct origin_text text = {0};
    enum err err = chat_render(c, j, CHAT_GENERATE, &text);
    if (r->o->special) text.n_data = 0; /* as if the template had written all of it */
    if (err == OK) err = engine_tokenize_origin(r->e, &text, ENGINE_TOK_BOS, &r->ids, &r->n_ids);
    if (err == OK) r->reasoning = show_opens(text.s, text.n);
    origin_text_fini(&text);
    json_decref(j);
    return err ? err : prompt_begin(r->e, &r->ids, &r->n_ids);
}

/* A model that was never told what a chat looks like continues texts; a system message asks for a
 * chat all the same. */
static enum err tokenize(struct run *r)
{
    const struct common_opts *const common = &r->o->common;
    if (common->raw) return bare_ids(r);
    const struct chat *c = NULL;
    const enum err err = engine_chat(r->e, &c);
    if (err) return err;
    r->is_chat = chat_kind(c) != CHAT_PLAIN || common->system;
    if (r->is_chat) {
        cmd_note_chat(common, r->e, chat_kind(c));
        return chat_ids(r, c);
    }
    if (!engine_info(r->e)->is_demo)
        cmd_note(common,
                 "%s has no chat template: continuing the bare text (--raw says that this "
                 "is meant)",
                 engine_info(r->e)->path);
    return bare_ids(r);
}

static enum err open_gen(struct run *r)
{
    const struct common_opts *const common = &r->o->common;
    const enum err err = sampling_init(&r->sampling, common, r->e, r->is_chat);
    if (err) return err;
    const struct gen_opts *const g = &r->sampling.gen;
    if (!r->sampling.seed_given && g->sample.temp > 0)
        cmd_note(common, "seed %" PRIu64, g->sample.seed);
    return gen_open(&r->gen, r->e, g, r->ids, r->n_ids);
}

static enum err write_text(struct run *r)
{
    const struct common_opts *const common = &r->o->common;
    enum err err = cmd_session(&r->s, r->e, common, cmd_n_ctx(common, 0));
    if (err) return err;
    err = open_gen(r);
    if (err) return err;
    r->start_ns = os_time_ns() - r->load_ns;
    err = cmd_prefill(r->s, common, r->ids, r->n_ids);
    if (err == OK) {
        show_open(&r->show, stdout, false);
        show_begin(&r->show, r->reasoning);
        err = gen_answer(r->gen, r->s, put, r);
        const enum err err_end = show_end(&r->show);
        if (err == OK) err = err_end;
        end_line(r, err);
    }
    if (gen_finish(r->gen) == GEN_CONTEXT)
        cmd_note(common,
                 "the context of %" PRIu32 " tokens is full; -c sets a larger one, --ctx-shift "
                 "goes on without the oldest text",
                 session_n_ctx(r->s));
    if (err == OK || err == ERR_INTR) print_timings(r);
    return err;
}

/* The command line goes before the environment; of that, --raw before the system message. */
static enum err choose_raw(struct common_opts *o)
{
    if (!o->raw || !o->system) return OK;
    if (o->raw_from == CLI_FROM_ARG && o->system_from == CLI_FROM_ARG)
        return err_set(ERR_USAGE, "--raw has no place for a system message; leave one of them out");
    o->raw = o->system_from < CLI_FROM_ARG;
    return OK;
}

static enum err run(struct run *r, struct common_opts *common)
{
    enum err err = cmd_model(common, true);
    if (err) return err;
    err = prompt_check(common, true);
    if (err) return err;
    err = choose_raw(common);
    if (err) return err;
    common->late_repack = true;
    const unsigned flags = PROMPT_APPEND | PROMPT_CHOMP | (r->o->escape ? PROMPT_ESCAPES : 0u);
    if (prompt_is_file(common)) err = prompt_read(common, flags, &r->prompt);
    const uint64_t open_ns = os_time_ns();
    if (err == OK) err = cmd_open_run(&r->e, common, cmd_n_ctx(common, 0), 1);
    r->load_ns = os_time_ns() - open_ns;
    if (err == OK && !prompt_is_file(common)) err = prompt_read(common, flags, &r->prompt);
    if (err) return err;
    if (r->prompt.n == 0) cmd_note(common, "the prompt is empty: the text begins from nothing");
    r->is_late = engine_info(r->e)->repack.state == REPACK_LATE;
    sampling_for_demo(common, r->e);
    err = tokenize(r);
    return err ? err : write_text(r);
}

static int run_main(void *opts)
{
    struct run_opts *const o = opts;
    struct run r = {.o = o};
    const enum err err = run(&r, &o->common);
    const int code = cmd_exit(err);
    mem_free(r.ids);
    mem_free(r.prompt.s);
    gen_close(r.gen);
    sampling_fini(&r.sampling);
    session_free(r.s);
    engine_close(r.e);
    return code;
}

const struct cli_cmd cmd_run = {
    .name = "run",
    .args = "[MODEL [PROMPT]]",
    .brief = "answer a prompt, or write on from it",
    .text = "Puts the prompt into the model's chat template and writes the answer; a model without "
            "one continues the text, and so does every model with --raw. The prompt is the second "
            "argument, the text of -p, a file (-f) or standard input; standard input that is no "
            "terminal is appended to -p after an empty line. The answer goes to standard output, "
            "all else to standard error.",
    .opts = {common_prompt, rows, common_system, common_raw, common_ctx, common_sampling,
             common_shift, common_model, common_pre, common_chat, common_threads, common_compute,
             common_kv, common_talk},
    .opts_bytes = sizeof(struct run_opts),
    .pos_max = 2,
    .pos_offset = AT(common.pos),
    .main = run_main,
};
