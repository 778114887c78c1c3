/*
 * bench.c: how fast this machine runs a model: rows of prefill (pp512) and decode (tg128), as
 * llama-bench has them, beside the memory bandwidth measured in the same run, which is the ceiling
 * of decoding.
 *
 * Every row is run once to warm up and then -r times. Tokens are random with a fixed seed, so that
 * routing is spread and every run does the same. All rows are measured before the bandwidth is,
 * because the probe's buffer would count as peak memory. bytes_per_token is what the weights cost a
 * token: a piece of n tokens reads n times the active bytes, but at most the whole model once.
 */
#include "cmd/bench.h"

#include "base/limits.h"
#include "base/mem.h"
#include "base/membw.h"
#include "base/os.h"
#include "base/ui.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>

struct bench_opts {
    struct common_opts common;
    const char *n_prompt, *n_gen, *n_depth, *n_thread;
    uint32_t n_rep;
    const char *output;
};

#define AT(field) offsetof(struct bench_opts, field)
#define REPS_MAX 1000 /* beyond that nobody waits */
#define LIST_MAX 32   /* values of one list option */

static const struct cli_opt rows[] = {
    {"n-prompt", 'p', CLI_STR, AT(n_prompt), .arg = "N,...", .def = "512",
     .help = "prefill rows: tokens; 0: none"},
    {"n-gen", 'n', CLI_STR, AT(n_gen), .arg = "N,...", .def = "128",
     .help = "decode rows: tokens; 0: none"},
    {"n-depth", 'd', CLI_STR, AT(n_depth), .arg = "N,...", .def = "0",
     .help = "tokens that are in the context before, not timed"},
    {"threads", 't', CLI_STR, AT(n_thread), .arg = "N,...",
     .help = "threads (default: physical cores)"},
    {"repetitions", 'r', CLI_U32, AT(n_rep), .arg = "N", .min = 1, .max = REPS_MAX, .def = "5",
     .help = "timed runs of each row"},
    {"output", 'o', CLI_ENUM, AT(output), .arg = "FORMAT", .def = "md", .words = "md|csv|json",
     .help = "format"},
    {0},
};

struct list {
    uint32_t v[LIST_MAX];
    size_t n;
};

struct bench {
    const struct bench_opts *o;
    struct list n_prompt, n_gen, n_depth, n_thread;
    struct engine *e; /* the last one that was opened; facts of the model */
    struct session *s;
    uint32_t *ids;         /* (n_ctx) random */
    uint32_t n_ctx;        /* enough for every row */
    struct bench_row *row; /* (n_row) */
    size_t n_row;
    double *samples; /* (n_row, n_rep) tok/s */
    struct ui_bar bar;
};

/* ---- options --------------------------------------------------------------------------------- */

static enum err parse_list(const char *option, const char *text, uint32_t min, uint32_t max,
                           struct list *list)
{
    for (const char *p = text;; p++) {
        char item[12] = "";
        const size_t n = strcspn(p, ",");
        if (n < sizeof item) memcpy(item, p, n);
        uint64_t v = 0;
        if (!cli_u64(item, &v) || v < min || v > max)
            return err_set(ERR_USAGE,
                           "option %s: '%.*s' is not accepted; expected whole numbers from %" PRIu32
                           " to %" PRIu32 ", separated by commas",
                           option, (int)n, p, min, max);
        if (list->n == LIST_MAX)
            return err_set(ERR_USAGE, "option %s: more than %d values; split the run", option,
                           LIST_MAX);
        list->v[list->n++] = (uint32_t)v;
        p += n;
        if (*p == '\0') return OK;
    }
}

static enum err parse_lists(struct bench *b)
{
    const struct bench_opts *const o = b->o;
    enum err err = parse_list("-p", o->n_prompt, 0, CTX_MAX / 4, &b->n_prompt);
    if (err == OK) err = parse_list("-n", o->n_gen, 0, CTX_MAX / 4, &b->n_gen);
    if (err == OK) err = parse_list("-d", o->n_depth, 0, CTX_MAX / 4, &b->n_depth);
    if (err == OK && o->n_thread) err = parse_list("-t", o->n_thread, 1, THREADS_MAX, &b->n_thread);
    if (err == OK && !o->n_thread) b->n_thread = (struct list){.v = {os_cores_physical()}, .n = 1};
    return err;
}

static void add_rows(struct bench *b, const struct list *n_tok, bool is_gen, uint32_t n_depth,
                     uint32_t n_thread)
{
    for (size_t i = 0; i < n_tok->n; i++) {
        if (n_tok->v[i] == 0) continue;
        struct bench_row *const row = &b->row[b->n_row];
        *row = (struct bench_row){.n_prompt = is_gen ? 0 : n_tok->v[i],
                                  .n_gen = is_gen ? n_tok->v[i] : 0,
                                  .n_depth = n_depth,
                                  .n_thread = n_thread,
                                  .samples_ts = b->samples + b->n_row * b->o->n_rep,
                                  .n_sample = b->o->n_rep};
        if (n_depth + n_tok->v[i] > b->n_ctx) b->n_ctx = n_depth + n_tok->v[i];
        b->n_row++;
    }
}

static enum err make_rows(struct bench *b)
{
    const size_t n_max = b->n_thread.n * b->n_depth.n * (b->n_prompt.n + b->n_gen.n);
    b->row = mem_alloc_array(MEM_MISC, n_max, sizeof *b->row);
    b->samples = mem_alloc_array(MEM_MISC, n_max * b->o->n_rep, sizeof *b->samples);
    if (!b->row || !b->samples) return ERR_MEMORY;
    for (size_t t = 0; t < b->n_thread.n; t++) {
        for (size_t d = 0; d < b->n_depth.n; d++) {
            add_rows(b, &b->n_prompt, false, b->n_depth.v[d], b->n_thread.v[t]);
            add_rows(b, &b->n_gen, true, b->n_depth.v[d], b->n_thread.v[t]);
        }
    }
    if (b->n_row == 0)
        return err_set(
            ERR_USAGE,
            "nothing to measure: -p and -n are both 0; give one of them a number of tokens");
    return OK;
}

/* ---- measuring ------------------------------------------------------------------------------- */

/* splitmix64 (Steele, Lea, Flood 2014) */
static uint64_t next_random(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static enum err make_ids(struct bench *b)
{
    b->ids = mem_alloc_array(MEM_MISC, b->n_ctx, sizeof *b->ids);
    if (!b->ids) return ERR_MEMORY;
    assert(engine_info(b->e)->n_vocab > 0);
    uint64_t state = 1;
    for (uint32_t i = 0; i < b->n_ctx; i++)
        b->ids[i] = (uint32_t)(next_random(&state) % engine_info(b->e)->n_vocab);
    return OK;
}

/* One run of a row; *ts: tokens per second of its timed part. */
static enum err run_once(struct bench *b, const struct bench_row *row, double *ts)
{
    assert(row->n_depth + row->n_prompt + row->n_gen <= b->n_ctx);
    enum err err = session_sync(b->s, b->ids, 0);
    if (err == OK && row->n_depth > 0) err = session_sync(b->s, b->ids, row->n_depth);
    const uint32_t n = row->n_prompt + row->n_gen;
    const uint64_t t0 = os_time_ns();
    if (err == OK && row->n_prompt > 0) err = session_sync(b->s, b->ids, row->n_depth + n);
    for (uint32_t i = 0; i < row->n_gen && err == OK; i++) {
        err = session_step(b->s, b->ids[row->n_depth + i]);
        assert(err != ERR_END); /* n_ctx covers every row */
        if (err == OK) err = cmd_interrupted();
    }
    const uint64_t ns = os_time_ns() - t0;
    *ts = (double)n * 1e9 / (double)(ns ? ns : 1);
    return err ? err : cmd_interrupted();
}

static void mean_and_deviation(struct bench_row *row)
{
    assert(row->n_sample > 0);
    double sum = 0, squares = 0;
    for (uint32_t i = 0; i < row->n_sample; i++) sum += row->samples_ts[i];
    row->avg_ts = sum / row->n_sample;
    for (uint32_t i = 0; i < row->n_sample; i++)
        squares += (row->samples_ts[i] - row->avg_ts) * (row->samples_ts[i] - row->avg_ts);
    row->stddev_ts = row->n_sample > 1 ? sqrt(squares / (row->n_sample - 1)) : 0;
}

static double bytes_per_token(const struct bench *b, const struct bench_row *row)
{
    const struct engine_info *const f = engine_info(b->e);
    const uint32_t n_batch = b->o->common.n_batch ? b->o->common.n_batch : BATCH_DEFAULT;
    double sum = 0;
    for (uint32_t done = 0; done < row->n_prompt; done += n_batch) {
        const uint32_t n = row->n_prompt - done < n_batch ? row->n_prompt - done : n_batch;
        sum += fmin((double)n * (double)f->n_bytes_active, (double)f->n_bytes);
    }
    return row->n_gen ? (double)f->n_bytes_active : sum / row->n_prompt;
}

static enum err run_row(struct bench *b, size_t i_row)
{
    assert(i_row < b->n_row);
    struct bench_row *const row = &b->row[i_row];
    double warm_up;
    enum err err = run_once(b, row, &warm_up);
    for (uint32_t i = 0; i < row->n_sample && err == OK; i++) {
        ui_bar_set(&b->bar, i_row * b->o->n_rep + i, b->n_row * b->o->n_rep);
        err = run_once(b, row, &row->samples_ts[i]);
    }
    mean_and_deviation(row);
    row->bytes_per_token = bytes_per_token(b, row);
    row->peak_rss_bytes = os_rss_peak_bytes();
    return err;
}

/* The engine's number of threads is fixed when it is opened, so it is opened once for each. */
static enum err open_with(struct bench *b, uint32_t n_thread)
{
    session_free(b->s);
    b->s = NULL;
    engine_close(b->e);
    b->e = NULL;
    struct common_opts common = b->o->common;
    common.n_thread = n_thread;
    common.quiet |= b->ids != NULL; /* what there is to say about the model was said */
    enum err err = cmd_open(&b->e, &common, ENGINE_RUN);
    if (err == OK && !b->ids) err = make_ids(b);
    return err ? err : cmd_session(&b->s, b->e, &common, b->n_ctx);
}

static enum err run_rows(struct bench *b)
{
    enum err err = OK;
    for (size_t i = 0; i < b->n_row && err == OK; i++) {
        if (i == 0 || b->row[i].n_thread != b->row[i - 1].n_thread)
            err = open_with(b, b->row[i].n_thread);
        if (i == 0) ui_bar_start(&b->bar, cmd_bar_file(&b->o->common), "bench", "run");
        if (err == OK) err = run_row(b, i);
    }
    ui_bar_end(&b->bar);
    return err;
}

static enum err measure_bandwidth(struct bench *b)
{
    enum err err = OK;
    for (size_t i = 0; i < b->n_row && err == OK; i++) {
        struct bench_row *const row = &b->row[i];
        if (i > 0 && row->n_thread == row[-1].n_thread)
            row->bandwidth = row[-1].bandwidth;
        else
            err = membw_read(row->n_thread, &row->bandwidth);
    }
    return err;
}

static enum err bench(struct bench *b, struct common_opts *common)
{
    enum err err = cmd_model(common, false);
    if (err == OK) err = parse_lists(b);
    if (err == OK) err = make_rows(b);
    if (err == OK) err = run_rows(b);
    if (err == OK) err = measure_bandwidth(b);
    if (err) return err;
    const struct bench_report report = {.info = engine_info(b->e),
                                        .row = b->row,
                                        .n_row = b->n_row,
                                        .n_batch =
                                            common->n_batch ? common->n_batch : BATCH_DEFAULT,
                                        .type_k = common->type_k,
                                        .type_v = common->type_v};
    return bench_print(&report, b->o->output, stdout);
}

static int bench_main(void *opts)
{
    struct bench_opts *const o = opts;
    struct bench b = {.o = o};
    const int code = cmd_exit(bench(&b, &o->common));
    session_free(b.s);
    engine_close(b.e);
    mem_free(b.ids);
    mem_free(b.row);
    mem_free(b.samples);
    return code;
}

const struct cli_cmd cmd_bench = {
    .name = "bench",
    .args = "[MODEL]",
    .brief = "speed of prefill and decode beside this machine's memory bandwidth",
    .text = "Measures prefill rows (pp512: 512 tokens in) and decode rows (tg128: 128 tokens out). "
            "Lists such as -t 1,2 make a row for each value. The share compares the weight bytes "
            "read per second with the memory bandwidth that was measured in the same run.",
    .opts = {rows, common_model, common_compute, common_talk},
    .opts_bytes = sizeof(struct bench_opts),
    .pos_max = 1,
    .pos_offset = AT(common.pos),
    .main = bench_main,
};
