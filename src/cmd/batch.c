/*
 * batch.c: a file of prompts in, a file of answers out, in the same order.
 *
 * Items go from batch_in (lines) through batch_item (what they ask) and request.h (their tokens) to
 * the crew, which writes several answers at a time; batch_order puts the answers in order,
 * batch_out appends them. An item that fails is answered by its error, and the run goes on.
 *
 * What is in the output depends on the input, the model, the options and on nothing else, not on
 * --parallel, --shard, or how often the run was killed and resumed: the seed of an item comes from
 * its line's number, and "cached_tokens" counts what its prompt has in common with that of the item
 * before it in the file, whoever has computed that and when. An item is a line that is not blank;
 * the k-th of a file, counted from 0, belongs to shard k mod N, and with --resume the first results
 * that are there are skipped, each compared by its id; the output is changed only after all of them
 * were, and after what follows the last one was found to be a torn line of ours.
 */
#include "base/limits.h"
#include "base/mem.h"
#include "base/os.h"
#include "base/ui.h"
#include "cmd/batch_in.h"
#include "cmd/batch_item.h"
#include "cmd/batch_order.h"
#include "cmd/batch_out.h"
#include "cmd/files.h"
#include "cmd/request.h"
#include "cmd/sampling.h"
#include "crew.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct batch_opts {
    struct common_opts common;
    const char *input, *output, *format, *shard;
    bool resume, force;
};

#define AT(field) offsetof(struct batch_opts, field)

static const struct cli_opt rows[] = {
    {"input", 'i', CLI_STR, AT(input), .arg = "FILE",
     .help = "prompts: JSON Lines when the name ends in .jsonl, otherwise a prompt a line; either "
             "may be gzip (- is standard input)"},
    {"output", 'o', CLI_STR, AT(output), .arg = "FILE",
     .help = "receives the answers as JSON Lines (- is standard output)"},
    {"resume", 0, CLI_FLAG, AT(resume), .help = "go on where the output of an earlier run ends"},
    {"force", 0, CLI_FLAG, AT(force), .help = "begin anew though the output exists"},
    {"shard", 0, CLI_STR, AT(shard), .arg = "I/N",
     .help =
         "only every N-th item, beginning with item I (1 to N), for N runs that share the work"},
    {"input-format", 0, CLI_ENUM, AT(format), .arg = "FORMAT", .def = "auto",
     .words = "auto|jsonl|txt",
     .help = "auto: by the input's name, standard input by its first character"},
    {0},
};

struct batch {
    struct batch_opts *o;
    struct engine *e;
    struct sampling sampling;
    uint64_t seed; /* of line 0 */
    struct crew *crew;
    struct batch_in *in;
    bool is_json;
    struct batch_in *old; /* the output of an earlier run, until all of it is compared; or NULL */
    struct batch_order *order;
    struct batch_out out;
    uint64_t i_shard, n_shard; /* item k is ours when k % n_shard == i_shard */
    uint64_t n_read;           /* items of the file so far, of all shards */
    uint64_t n_total;          /* of our shard when it was counted; 0: unknown */
    uint64_t n_done, n_failed; /* of our shard, those of an earlier run included */
    uint64_t n_written;        /* tokens of answers */
    uint32_t *before;          /* (n_before) prompt of the item before, of whichever shard */
    size_t n_before;
    bool at_end;
    char unknown[64];      /* the first field that nobody knows, */
    uint64_t unknown_line; /* and where it was; 0: none */
    enum err err;          /* of a callback */
    uint64_t start_ns;
    struct ui_bar bar;
};

/* ---- answers --------------------------------------------------------------------------------- */

static enum err item_failed(struct batch *b, uint64_t tag, const char *code, const char *message)
{
    b->n_failed++;
    const struct batch_answer a = {.code = code, .message = message};
    return batch_order_done(b->order, tag, &a);
}

static void on_text(void *ctx, uint64_t tag, const char *text, size_t n)
{
    struct batch *const b = ctx;
    if (b->err == OK) b->err = batch_order_text(b->order, tag, text, n);
}

static void on_done(void *ctx, const struct crew_result *r)
{
    struct batch *const b = ctx;
    assert(!r->cancelled);
    if (b->err) return;
    b->n_written += r->n_completion;
    const char *const model = engine_info(b->e)->name;
    const struct batch_answer a = {.finish = gen_finish_name(r->finish),
                                   .model = model[0] ? model : "moxie",
                                   .n_prompt = r->n_prompt,
                                   .n_completion = r->n_completion};
    b->err = r->err ? item_failed(b, r->tag, "failed", r->message)
                    : batch_order_done(b->order, r->tag, &a);
}

/* Everything that is complete up to the first item that is not. */
static enum err write_ready(struct batch *b)
{
    size_t n;
    for (const char *line; (line = batch_order_first(b->order, &n));) {
        const enum err err = batch_out_put(&b->out, line, n);
        if (err) return err;
        batch_order_pop(b->order);
        b->n_done++;
    }
    if (b->n_done < b->out.n_old) return OK; /* still comparing */
    const uint64_t n_new = b->n_done - b->out.n_old;
    const uint64_t n_all = b->n_total > b->out.n_old ? b->n_total - b->out.n_old : 0;
    ui_bar_set(&b->bar, n_new, n_new > n_all ? 0 : n_all); /* the file may have grown */
    return OK;
}

/* ---- items ----------------------------------------------------------------------------------- */

/* How many of the first n items of the file are ours. */
static uint64_t share(const struct batch *b, uint64_t n)
{
    return n / b->n_shard + (n % b->n_shard > b->i_shard);
}

/* Item k is ours and not answered yet. */
static bool is_to_do(const struct batch *b, uint64_t k)
{
    return k % b->n_shard == b->i_shard && k / b->n_shard >= b->out.n_old;
}

/* The next line of the output of an earlier run. */
static enum err old_line(struct batch *b, struct batch_line *line)
{
    assert(b->old);
    const enum err err = batch_in_line(b->old, line);
    return err == ERR_END ? err_set(ERR_RUN, "%s: became shorter", b->out.name) : err;
}

static enum err not_ours(const struct batch *b, uint64_t line)
{
    return err_set(ERR_USAGE,
                   "--resume: line %" PRIu64 " of %s is no answer of batch; choose another output, "
                   "or begin anew with --force",
                   line, b->out.name);
}

/* Item k is ours, and there is a result: is it that of this item? */
static enum err check_old(struct batch *b, const struct batch_stub *stub)
{
    struct batch_line line;
    const enum err err = old_line(b, &line);
    if (err) return err;
    json_t *id = NULL;
    bool failed = false;
    const bool is_answer =
        line.is_long ? batch_item_torn(&line) : batch_item_answered(&line, &id, &failed);
    const bool is_same = line.is_long || json_equal(id, stub->id);
    json_decref(id);
    b->n_done++;
    b->n_failed += failed;
    if (!is_answer) return not_ours(b, line.number);
    if (!is_same)
        return err_set(ERR_USAGE,
                       "--resume: line %" PRIu64 " of %s does not answer line %" PRIu64 " of %s: "
                       "the ids differ; the input or --shard has changed; begin anew with --force",
                       line.number, b->out.name, stub->line, b->o->input);
    return OK;
}

/* All results of an earlier run were compared. What follows them is cut off, if it is ours. */
static enum err end_old(struct batch *b)
{
    struct batch_line line;
    const uint64_t n_torn = b->out.n_torn;
    if (!b->old) return OK;
    enum err err = n_torn > 0 ? old_line(b, &line) : OK;
    if (err == OK && n_torn > 0 && !batch_item_torn(&line)) err = not_ours(b, line.number);
    if (err == OK) err = batch_out_cut(&b->out);
    if (err) return err;
    if (n_torn > 0)
        cmd_note(&b->o->common, "%" PRIu64 " bytes of an unfinished line were cut off %s", n_torn,
                 b->out.name);
    batch_in_close(b->old);
    b->old = NULL;
    return OK;
}

/* The item's tokens and options. What is wrong with it: ERR_USAGE or ERR_INPUT, *code says of which
 * kind. */
static enum err read_request(struct batch *b, const struct batch_item *it, struct request *r,
                             const char **code)
{
    struct gen_opts defaults = b->sampling.gen;
    defaults.sample.seed = b->seed + it->stub.line;
    const enum err err =
        request_read(r, b->e, it->request, &defaults, it->raw, crew_n_ctx(b->crew));
    *code = err == ERR_INPUT ? "invalid_prompt"
            : r->too_long    ? "context_length_exceeded"
                             : "invalid_request";
    if (err) return err;
    const char *const unknown = b->unknown_line ? NULL : request_unknown(it->request, it->known);
    if (unknown) {
        b->unknown_line = it->stub.line;
        snprintf(b->unknown, sizeof b->unknown, "%s", unknown);
    }
    return OK;
}

/* Leading tokens that the prompt shares with the one before. All of it is never cached: the last
 * token is run to see what follows. */
static uint32_t n_shared(const struct batch *b, const struct request *r)
{
    size_t n = 0;
    while (n + 1 < r->n_ids && n < b->n_before && r->ids[n] == b->before[n]) n++;
    return (uint32_t)n;
}

static enum err add(struct batch *b, struct batch_item *it, const struct request *r)
{
    it->stub.n_shared = n_shared(b, r);
    const uint64_t tag = batch_order_add(b->order, &it->stub);
    const struct crew_job job = {.ids = r->ids, .n_ids = r->n_ids, .gen = r->gen, .tag = tag};
    const enum err err = crew_add(b->crew, &job);
    assert(err != ERR_AGAIN);
    if (err != ERR_USAGE && err != ERR_INPUT) return err;
    return item_failed(b, tag, "invalid_request", err_msg());
}

/* Item k, which is to be answered or stands before one that is; err: of batch_item_read(). */
static enum err work_on(struct batch *b, uint64_t k, struct batch_item *it, enum err err)
{
    struct request r = {0};
    const char *code = it->code;
    if (err == OK) err = read_request(b, it, &r, &code);
    const bool is_bad = err == ERR_USAGE || err == ERR_INPUT;
    if (is_bad && is_to_do(b, k))
        err = item_failed(b, batch_order_add(b->order, &it->stub), code, err_msg());
    else if (is_bad)
        err = OK;
    else if (err == OK && is_to_do(b, k))
        err = add(b, it, &r);
    engine_free(b->before);
    b->before = is_bad ? NULL : r.ids;
    b->n_before = is_bad ? 0 : r.n_ids;
    if (!is_bad) r.ids = NULL;
    request_fini(&r);
    return err;
}

/* The next item of the file. at_end when there is none. ERR_AGAIN: none yet, if that is not waited
 * for. */
static enum err take_item(struct batch *b, bool waits)
{
    struct batch_line line;
    enum err err;
    do {
        err = waits ? batch_in_line(b->in, &line) : batch_in_line_now(b->in, &line);
    } while (err == OK && batch_line_blank(&line));
    b->at_end = err == ERR_END;
    if (err) return b->at_end ? OK : err;
    const uint64_t k = b->n_read++;
    const bool is_old = k % b->n_shard == b->i_shard && !is_to_do(b, k);
    const bool matters = is_to_do(b, k) || is_to_do(b, k + 1);
    if (!is_old && !matters) return OK;
    struct batch_item it;
    const enum err err_item = batch_item_read(&it, &line, b->is_json, b->o->common.raw);
    if (err_item == ERR_MEMORY) err = err_item;
    if (err == OK && is_old) err = check_old(b, &it.stub);
    if (err == OK && is_to_do(b, k)) err = end_old(b);
    if (err == OK && matters) err = work_on(b, k, &it, err_item);
    batch_item_fini(&it);
    return err;
}

/* ---- the run --------------------------------------------------------------------------------- */

/* As many new items as there are free seats. Never waits for input while answers are written. */
static enum err take_items(struct batch *b)
{
    enum err err = cmd_interrupted();
    while (err == OK && !b->at_end && crew_n_free(b->crew) > 0 && !batch_order_full(b->order)) {
        err = take_item(b, crew_n_busy(b->crew) == 0);
        if (err == OK) err = write_ready(b);
    }
    return err && err != ERR_AGAIN ? err : b->err;
}

static enum err run_items(struct batch *b)
{
    enum err err = OK;
    while (err == OK) {
        err = take_items(b);
        if (err == OK && b->at_end && crew_n_busy(b->crew) == 0) break;
        if (err == OK && crew_n_busy(b->crew) > 0) err = crew_turn(b->crew);
        if (err == OK) err = b->err;
        if (err == OK) err = write_ready(b);
    }
    if (err) return err;
    if (b->n_done >= b->out.n_old) return end_old(b);
    return err_set(ERR_USAGE,
                   "--resume: %s holds %" PRIu64 " answers, but %s has only %" PRIu64
                   " items of this shard; the input has changed; begin anew with --force",
                   b->out.name, b->out.n_old, b->o->input, b->n_done);
}

static void print_stats(const struct batch *b)
{
    const struct crew_stats st = crew_stats(b->crew);
    const double seconds = (double)(os_time_ns() - b->start_ns) / 1e9;
    const uint64_t n_prompt = st.n_prefill + st.n_cached;
    char peak[UI_SIZE_BYTES_MAX];
    cmd_note(&b->o->common,
             "%" PRIu64 " items in %.1f s with %" PRIu32 " at a time, %" PRIu64
             " tokens written at %.1f tok/s, peak memory %s",
             b->n_done - b->out.n_old, seconds, crew_n_seat(b->crew), b->n_written,
             seconds > 0 ? (double)b->n_written / seconds : 0, ui_size(peak, os_rss_peak_bytes()));
    cmd_note(&b->o->common,
             "%" PRIu64 " of %" PRIu64 " prompt tokens (%.0f %%) were shared with other items and "
             "not computed again",
             st.n_cached, n_prompt, n_prompt ? 100 * (double)st.n_cached / (double)n_prompt : 0);
}

/* The end of a run: what it says depends on how it ended. */
static enum err report(struct batch *b, enum err err)
{
    char total[32] = "", written[ERR_MSG_BYTES_MAX];
    if (b->n_total > 0) snprintf(total, sizeof total, " of %" PRIu64, b->n_total);
    snprintf(written, sizeof written, "%" PRIu64 "%s items are in %s%s", b->n_done, total,
             b->out.name,
             !b->out.is_file ? ""
             : b->o->force   ? "; the same command with --resume instead of --force goes on"
                             : "; the same command with --resume goes on");
    if (b->unknown_line)
        cmd_note(&b->o->common,
                 "warning: line %" PRIu64 ": the field '%s' is not known and has no effect (the "
                 "first one of its kind)",
                 b->unknown_line, b->unknown);
    if (err == ERR_INTR) return err_set(ERR_INTR, "interrupted; %s", written);
    if (err == ERR_RUN || err == ERR_MEMORY || err == ERR_INPUT)
        cmd_note(&b->o->common, "%s", written);
    if (err) return err;
    if (b->n_done > b->out.n_old) print_stats(b);
    if (b->n_failed == 0) return OK;
    return err_set(ERR_RUN, "%" PRIu64 " of %" PRIu64 " items failed; their lines in %s say why",
                   b->n_failed, b->n_done, b->out.name);
}

/* ---- preparation ----------------------------------------------------------------------------- */

static enum err parse_shard(struct batch *b)
{
    b->n_shard = 1;
    const char *const s = b->o->shard;
    if (!s) return OK;
    const char *const slash = strchr(s, '/');
    char first[24] = "";
    uint64_t i = 0, n = 0;
    if (slash && (size_t)(slash - s) < sizeof first) memcpy(first, s, (size_t)(slash - s));
    if (!slash || !cli_u64(first, &i) || !cli_u64(slash + 1, &n) || i < 1 || i > n ||
        n > SHARDS_MAX)
        return err_set(ERR_USAGE,
                       "--shard: '%s' is not I/N with I from 1 to N and N at most %u, such as 1/8",
                       s, SHARDS_MAX);
    b->i_shard = i - 1;
    b->n_shard = n;
    return OK;
}

static enum batch_out_mode out_mode(const struct batch_opts *o)
{
    if (o->resume) return BATCH_OUT_RESUME;
    return o->force ? BATCH_OUT_FORCE : BATCH_OUT_NEW;
}

/* Everything that can be said about the command line before anything is read. */
static enum err check_options(struct batch *b)
{
    struct batch_opts *const o = b->o;
    enum err err = cmd_model(&o->common, false);
    if (err) return err;
    if (!o->input) return err_set(ERR_USAGE, "no input: give a file of prompts with -i FILE");
    if (!o->output)
        return err_set(ERR_USAGE, "no output: say where the answers go with -o FILE (- is "
                                  "standard output)");
    if (o->resume && o->force)
        return err_set(ERR_USAGE, "--resume goes on with the output and --force discards it; give "
                                  "one of them");
    err = parse_shard(b);
    if (err == OK) err = out_differs("-o", o->output, "-i", o->input);
    if (err == OK) err = out_differs("-o", o->output, "-m", o->common.model);
    if (err == OK) err = out_differs("-o", o->output, "--chat-template", o->common.chat_template);
    if (err == OK) err = batch_out_check(o->output, out_mode(o));
    return err;
}

static enum err open_input(struct batch *b)
{
    const char *const format = b->o->format;
    uint64_t n = 0;
    enum err err = batch_in_count(b->o->input, &n);
    if (err == OK) err = batch_in_open(&b->in, b->o->input);
    if (err == OK) err = batch_in_is_json(b->in, &b->is_json);
    if (err) return err;
    if (strcmp(format, "auto") != 0) b->is_json = strcmp(format, "jsonl") == 0;
    b->n_total = n == UINT64_MAX ? 0 : share(b, n);
    return OK;
}

static enum err open_crew(struct batch *b)
{
    const struct common_opts *const o = &b->o->common;
    const struct crew_opts co = {.session = cmd_session_opts(b->e, o, cmd_n_ctx(o, 0)),
                                 .n_seat = o->n_parallel,
                                 .on_text = on_text,
                                 .on_done = on_done,
                                 .ctx = b};
    return crew_open(&b->crew, b->e, &co);
}

static enum err open_output(struct batch *b)
{
    enum err err = batch_out_open(&b->out, b->o->output, out_mode(b->o));
    if (err == OK && (b->out.n_old > 0 || b->out.n_torn > 0))
        err = batch_in_open(&b->old, b->o->output);
    if (err == OK && b->o->resume)
        cmd_note(&b->o->common, "%s holds %" PRIu64 " answers; going on after them", b->out.name,
                 b->out.n_old);
    return err;
}

static enum err run(struct batch *b)
{
    enum err err = check_options(b);
    if (err == OK) err = open_input(b);
    if (err == OK)
        err = cmd_open_run(&b->e, &b->o->common, cmd_n_ctx(&b->o->common, 0),
                           crew_n_session(b->o->common.n_parallel));
    if (err == OK) err = sampling_init(&b->sampling, &b->o->common, b->e, false);
    if (err) return err;
    if (b->o->common.sampling.seed_from != CLI_FROM_DEFAULT) b->seed = b->sampling.gen.sample.seed;
    if (b->seed && !b->sampling.seed_given) cmd_note(&b->o->common, "seed %" PRIu64, b->seed);
    err = batch_order_open(&b->order);
    if (err == OK) err = open_crew(b);
    if (err == OK) err = open_output(b);
    if (err) return err;
    b->start_ns = os_time_ns();
    ui_bar_start(&b->bar, cmd_bar_file(&b->o->common), "batch", "items");
    err = run_items(b);
    const enum err err_close = batch_out_close(&b->out);
    ui_bar_end(&b->bar);
    return report(b, err ? err : err_close);
}

static int batch_main(void *opts)
{
    struct batch b = {.o = opts, .out = {.fd = -1}};
    const int code = cmd_exit(run(&b));
    batch_out_close(&b.out);
    batch_in_close(b.old);
    batch_in_close(b.in);
    crew_close(b.crew);
    batch_order_close(b.order);
    engine_free(b.before);
    sampling_fini(&b.sampling);
    engine_close(b.e);
    return code;
}

const struct cli_cmd cmd_batch = {
    .name = "batch",
    .args = "[MODEL]",
    .brief = "answer a file of prompts",
    .text = "Answers every line of a file and writes the answers in the same order, several at a "
            "time. A line is {\"prompt\": ...} or {\"messages\": [...]} with an id and sampling "
            "options, a line of OpenAI's batch format, or plain text. A line that fails is "
            "answered by an error, and the exit code is then 1. A run that was stopped goes on "
            "with --resume.",
    .opts = {rows, common_parallel, common_raw, common_ctx, common_sampling, common_model,
             common_pre, common_chat, common_threads, common_compute, common_kv, common_talk},
    .opts_bytes = sizeof(struct batch_opts),
    .pos_max = 1,
    .pos_offset = AT(common.pos),
    .main = batch_main,
};
