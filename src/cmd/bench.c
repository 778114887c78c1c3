/*
 * bench.c: how fast this machine runs a model: rows of prefill (pp512), of decode (tg128) and of
 * several timelines that decode together (pl8 pp128+tg128), named as llama-bench and
 * llama-batched-bench name them, beside what the machine allows, measured in the same run: memory
 * bandwidth, the ceiling of decoding, and int8 products, the ceiling of prefill.
 *
 * Every row is run once to warm up, with one token of its answer, and then -r times. Tokens are
 * random with a fixed seed, other ones in each timeline, so that routing is spread and every run
 * does the same. What a row has in the context before is computed once and rolled back to. All rows
 * are measured before the bandwidth is, because the probe's buffer would count as peak memory.
 *
 * bytes_per_token is what has to be read for a token. Weights: a pass of n tokens reads the dense
 * ones once and of the experts as many as n tokens are expected to choose when all are equally
 * likely; real routing is less even, so the true figure is a little lower. The cache: a generated
 * token reads what it sees of it; a prompt's tokens read it together, which is not counted.
 */
#include "cmd/bench.h"

#include "base/limits.h"
#include "base/mem.h"
#include "base/membw.h"
#include "base/os.h"
#include "base/os_machine.h"
#include "base/splitmix.h"
#include "base/ui.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>

struct bench_opts {
    struct common_opts common;
    const char *n_prompt, *n_gen, *n_depth, *n_thread;
    const char *type_k, *type_v;
    const char *n_stream, *stream_prompt, *stream_gen;
    uint32_t n_rep;
    const char *format;
};

#define AT(field) offsetof(struct bench_opts, field)
#define REPS_MAX 1000 /* beyond that nobody waits */
#define LIST_MAX 32   /* values of one list option */
#define ROWS_MAX 4096 /* all their combinations; a table that long is a mistake */

static const struct cli_opt rows[] = {
    {"n-prompt", 'p', CLI_STR, AT(n_prompt), .arg = "N,...", .def = "512",
     .help = "prefill rows: tokens; 0: none"},
    {"n-gen", 'n', CLI_STR, AT(n_gen), .arg = "N,...", .def = "128",
     .help = "decode rows: tokens; 0: none"},
    {"n-depth", 'd', CLI_STR, AT(n_depth), .arg = "N,...", .def = "0",
     .help = "tokens that are in the context before, not timed"},
    {"streams", 0, CLI_STR, AT(n_stream), .arg = "N,...", .alias = "-npl",
     .help = "rows of N timelines decoding together, each with a prompt of its own"},
    {"stream-prompt", 0, CLI_STR, AT(stream_prompt), .arg = "N,...", .def = "128", .alias = "-npp",
     .help = "tokens of each timeline's prompt"},
    {"stream-gen", 0, CLI_STR, AT(stream_gen), .arg = "N,...", .def = "128", .alias = "-ntg",
     .help = "tokens that each timeline generates"},
    {"threads", 't', CLI_STR, AT(n_thread), .arg = "N,...",
     .help = "threads (default: physical cores)"},
    {"cache-type-k", 0, CLI_STR, AT(type_k), .arg = "TYPE,...", .def = "f16", .alias = "-ctk",
     .help = "cached keys: f16, f32, q8_0"},
    {"cache-type-v", 0, CLI_STR, AT(type_v), .arg = "TYPE,...", .def = "f16", .alias = "-ctv",
     .help = "cached values, unless they are part of the keys (MLA): f16, f32, q8_0"},
    {"repetitions", 'r', CLI_U32, AT(n_rep), .arg = "N", .min = 1, .max = REPS_MAX, .def = "5",
     .help = "timed runs of each row"},
    {"format", 'o', CLI_ENUM, AT(format), .arg = "FORMAT", .def = "md", .words = "md|csv|json",
     .alias = "--output", .help = "of the result"},
    {0},
};

static const char *const cache_types[] = {"f16", "f32", "q8_0"};

struct list {
    uint32_t v[LIST_MAX];
    size_t n;
};

struct bench {
    const struct bench_opts *o;
    struct list n_prompt, n_gen, n_depth, n_thread, n_stream, stream_prompt, stream_gen;
    struct list type_k, type_v;     /* indices into cache_types */
    struct engine *e;               /* the last one that was opened; facts of the model */
    struct session **s;             /* (n_stream_max) the first n_session are open */
    const struct bench_row *opened; /* the row that engine and sessions were opened for */
    uint32_t n_session, n_stream_max;
    uint32_t *ids;         /* (n_ctx + n_stream_max) random; timeline i begins with the i-th */
    uint32_t *next;        /* (n_stream_max) a token for each timeline */
    uint32_t n_ctx;        /* enough for every row */
    uint32_t n_ctx_stream; /* enough for those of several timelines; 0: there are none */
    struct bench_row *row; /* (n_row) */
    size_t n_row;
    double *samples; /* (n_row, n_rep) tok/s */
    struct ui_bar bar;
};

/* ---- options --------------------------------------------------------------------------------- */

typedef bool item_fn(const char *item, uint32_t min, uint32_t max, uint32_t *v);

static bool is_count(const char *item, uint32_t min, uint32_t max, uint32_t *v)
{
    uint64_t n = 0;
    if (!cli_u64(item, &n) || n < min || n > max) return false;
    *v = (uint32_t)n;
    return true;
}

static bool is_type(const char *item, uint32_t min, uint32_t max, uint32_t *v)
{
    for (*v = min; *v < max; ++*v)
        if (strcmp(item, cache_types[*v]) == 0) return true;
    return false;
}

static enum err parse_items(const char *option, const char *text, item_fn *accept, uint32_t min,
                            uint32_t max, const char *expected, struct list *list)
{
    for (const char *p = text;; p++) {
        char item[12] = "";
        const size_t n = strcspn(p, ",");
        if (n < sizeof item) memcpy(item, p, n);
        if (list->n == LIST_MAX)
            return err_set(ERR_USAGE, "option %s: more than %d values; split the run", option,
                           LIST_MAX);
        if (!accept(item, min, max, &list->v[list->n]))
            return err_set(ERR_USAGE,
                           "option %s: '%.*s' is not accepted; expected %s, separated by commas",
                           option, (int)n, p, expected);
        list->n++;
        p += n;
        if (*p == '\0') return OK;
    }
}

static enum err parse_counts(const char *option, const char *text, uint32_t min, uint32_t max,
                             struct list *list)
{
    char expected[64];
    snprintf(expected, sizeof expected, "whole numbers from %" PRIu32 " to %" PRIu32, min, max);
    return parse_items(option, text, is_count, min, max, expected, list);
}

static enum err parse_types(const char *option, const char *text, struct list *list)
{
    const uint32_t n = sizeof cache_types / sizeof cache_types[0];
    return parse_items(option, text, is_type, 0, n, "f16, f32 or q8_0", list);
}

static enum err parse_streams(struct bench *b)
{
    const struct bench_opts *const o = b->o;
    if (!o->n_stream) return OK;
    enum err err = parse_counts("-npl", o->n_stream, 1, SEQS_MAX, &b->n_stream);
    if (err == OK) err = parse_counts("-npp", o->stream_prompt, 1, CTX_MAX / 4, &b->stream_prompt);
    if (err == OK) err = parse_counts("-ntg", o->stream_gen, 1, CTX_MAX / 4, &b->stream_gen);
    return err;
}

static enum err parse_lists(struct bench *b)
{
    const struct bench_opts *const o = b->o;
    enum err err = parse_counts("-p", o->n_prompt, 0, CTX_MAX / 4, &b->n_prompt);
    if (err == OK) err = parse_counts("-n", o->n_gen, 0, CTX_MAX / 4, &b->n_gen);
    if (err == OK) err = parse_counts("-d", o->n_depth, 0, CTX_MAX / 4, &b->n_depth);
    if (err == OK) err = parse_types("-ctk", o->type_k, &b->type_k);
    if (err == OK) err = parse_types("-ctv", o->type_v, &b->type_v);
    if (err == OK && o->n_thread)
        err = parse_counts("-t", o->n_thread, 1, THREADS_MAX, &b->n_thread);
    else
        b->n_thread = (struct list){.v = {os_cores_physical()}, .n = 1};
    return err ? err : parse_streams(b);
}

/* ---- rows ------------------------------------------------------------------------------------ */

/* Adds a row like `like`; one without tokens is left out. */
static void add_row(struct bench *b, const struct bench_row *like)
{
    const uint32_t n_tok = like->n_prompt + like->n_gen;
    if (n_tok == 0) return;
    struct bench_row *const row = &b->row[b->n_row];
    *row = *like;
    row->samples_ts = b->samples + b->n_row * b->o->n_rep;
    row->n_sample = b->o->n_rep;
    if (row->n_depth + n_tok > b->n_ctx) b->n_ctx = row->n_depth + n_tok;
    if (row->n_stream > b->n_stream_max) b->n_stream_max = row->n_stream;
    if (row->n_stream > 1 && n_tok > b->n_ctx_stream) b->n_ctx_stream = n_tok;
    b->n_row++;
}

static void add_single_rows(struct bench *b, struct bench_row like)
{
    like.n_stream = 1;
    for (size_t d = 0; d < b->n_depth.n; d++) {
        like.n_depth = b->n_depth.v[d];
        like.n_gen = 0;
        for (size_t i = 0; i < b->n_prompt.n; i++) {
            like.n_prompt = b->n_prompt.v[i];
            add_row(b, &like);
        }
        like.n_prompt = 0;
        for (size_t i = 0; i < b->n_gen.n; i++) {
            like.n_gen = b->n_gen.v[i];
            add_row(b, &like);
        }
    }
}

static void add_stream_rows(struct bench *b, struct bench_row like)
{
    for (size_t p = 0; p < b->stream_prompt.n; p++) {
        like.n_prompt = b->stream_prompt.v[p];
        for (size_t g = 0; g < b->stream_gen.n; g++) {
            like.n_gen = b->stream_gen.v[g];
            for (size_t s = 0; s < b->n_stream.n; s++) {
                like.n_stream = b->n_stream.v[s];
                add_row(b, &like);
            }
        }
    }
}

static enum err make_rows(struct bench *b)
{
    const size_t n_single = b->n_depth.n * (b->n_prompt.n + b->n_gen.n);
    const size_t n_streams = b->stream_prompt.n * b->stream_gen.n * b->n_stream.n;
    const size_t n_max =
        b->n_thread.n * b->type_k.n * b->type_v.n * (n_single + n_streams); /* < 2^31 */
    if (n_max > ROWS_MAX)
        return err_set(ERR_USAGE, "the lists combine to %zu rows, more than %d; split the run",
                       n_max, ROWS_MAX);
    b->row = mem_alloc_array(MEM_MISC, n_max, sizeof *b->row);
    b->samples = mem_alloc_array(MEM_MISC, n_max * b->o->n_rep, sizeof *b->samples);
    if (!b->row || !b->samples) return ERR_MEMORY;
    for (size_t t = 0; t < b->n_thread.n; t++) {
        for (size_t k = 0; k < b->type_k.n; k++) {
            for (size_t v = 0; v < b->type_v.n; v++) {
                const struct bench_row like = {.n_thread = b->n_thread.v[t],
                                               .type_k = cache_types[b->type_k.v[k]],
                                               .type_v = cache_types[b->type_v.v[v]]};
                add_single_rows(b, like);
                add_stream_rows(b, like);
            }
        }
    }
    if (b->n_row > 0) return OK;
    return err_set(ERR_USAGE,
                   "nothing to measure: -p and -n are both 0; give one of them a number of tokens, "
                   "or -npl a number of timelines");
}

/* ---- measuring ------------------------------------------------------------------------------- */

static enum err make_ids(struct bench *b)
{
    const uint32_t n = b->n_ctx + b->n_stream_max;
    b->ids = mem_alloc_array(MEM_MISC, n, sizeof *b->ids);
    b->next = mem_alloc_array(MEM_MISC, b->n_stream_max, sizeof *b->next);
    if (!b->ids || !b->next) return ERR_MEMORY;
    assert(engine_info(b->e)->n_vocab > 0);
    uint64_t state = 1;
    for (uint32_t i = 0; i < n; i++)
        b->ids[i] = (uint32_t)(splitmix_next(&state) % engine_info(b->e)->n_vocab);
    return OK;
}

/* Every timeline holds its first n tokens afterwards. */
static enum err sync_to(struct bench *b, uint32_t n_stream, uint32_t n)
{
    enum err err = OK;
    for (uint32_t i = 0; i < n_stream && err == OK; i++) err = session_sync(b->s[i], b->ids + i, n);
    return err;
}

/* One more token in each timeline. */
static enum err step(struct bench *b, uint32_t n_stream, uint32_t pos)
{
    assert(pos < b->n_ctx);
    for (uint32_t i = 0; i < n_stream; i++) b->next[i] = b->ids[i + pos];
    const enum err err = session_step_many(b->s, b->next, n_stream);
    assert(err != ERR_END); /* n_ctx covers every row */
    return err ? err : cmd_interrupted();
}

/* One run of a row with n_gen tokens generated; *t: seconds of its two timed parts. */
static enum err run_once(struct bench *b, const struct bench_row *row, uint32_t n_gen,
                         struct bench_time *t)
{
    const uint32_t n_before = row->n_depth + row->n_prompt;
    assert(n_before + n_gen <= b->n_ctx);
    assert(row->n_stream <= b->n_session);
    enum err err = sync_to(b, row->n_stream, row->n_depth); /* the common beginning is kept */
    const uint64_t t0 = os_time_ns();
    if (err == OK && row->n_prompt > 0) err = sync_to(b, row->n_stream, n_before);
    const uint64_t t1 = os_time_ns();
    for (uint32_t i = 0; i < n_gen && err == OK; i++) err = step(b, row->n_stream, n_before + i);
    const uint64_t t2 = os_time_ns();
    *t = (struct bench_time){.prompt_s = (double)(t1 - t0) / 1e9, .gen_s = (double)(t2 - t1) / 1e9};
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

/* Weight bytes that one pass of n tokens is expected to read. */
static double bytes_of_pass(const struct engine_info *f, uint32_t n)
{
    const double dense = (double)(f->n_bytes_active - f->n_bytes_experts);
    if (f->n_expert_used == 0 || f->n_bytes_experts == 0) return dense;
    const double share = (double)f->n_expert_used / f->n_expert; /* of the experts, by one token */
    const double touched = (1 - pow(1 - share, n)) / share;      /* 1 for one token */
    return dense + (double)f->n_bytes_experts * touched;
}

/* The same of n tokens, in passes of at most -b. */
static double bytes_of_tokens(const struct bench *b, uint32_t n)
{
    const struct engine_info *const f = engine_info(b->e);
    const uint32_t n_batch = b->o->common.n_batch ? b->o->common.n_batch : BATCH_DEFAULT;
    return n / n_batch * bytes_of_pass(f, n_batch) +
           (n % n_batch ? bytes_of_pass(f, n % n_batch) : 0);
}

/* What the tokens of a row read and compute. */
static void count_work(const struct bench *b, struct bench_row *row)
{
    const struct engine_info *const f = engine_info(b->e);
    const double n_stream = row->n_stream;
    const double n_prompt = n_stream * row->n_prompt;
    const double n_gen = n_stream * row->n_gen;
    const uint32_t n_before = row->n_depth + row->n_prompt;
    if (n_gen > 0) {
        row->kv_bytes_per_token =
            (double)session_kv_read_bytes(b->s[0], n_before + (row->n_gen + 1) / 2);
        row->gen_bytes_per_token =
            bytes_of_tokens(b, row->n_stream) / n_stream + row->kv_bytes_per_token;
    }
    const double prompts = n_stream * bytes_of_tokens(b, row->n_prompt);
    row->bytes_per_token = (prompts + n_gen * row->gen_bytes_per_token) / bench_tokens(row);
    const double n_logits = n_gen + (n_prompt > 0 ? n_stream : 0);
    row->macs_per_token =
        (double)f->n_macs + (double)f->n_macs_logits * n_logits / bench_tokens(row);
    const struct session_stats st = session_stats(b->s[0]);
    row->context_bytes = row->n_stream * (st.kv_bytes + st.state_bytes);
}

static enum err run_row(struct bench *b, size_t i_row)
{
    assert(i_row < b->n_row);
    struct bench_row *const row = &b->row[i_row];
    struct bench_time t;
    enum err err = run_once(b, row, row->n_gen > 0, &t); /* to warm up */
    for (uint32_t i = 0; i < row->n_sample && err == OK; i++) {
        ui_bar_set(&b->bar, i_row * b->o->n_rep + i, b->n_row * b->o->n_rep);
        err = run_once(b, row, row->n_gen, &t);
        row->samples_ts[i] = bench_tokens(row) / fmax(t.prompt_s + t.gen_s, 1e-9);
        row->time.prompt_s += t.prompt_s / row->n_sample;
        row->time.gen_s += t.gen_s / row->n_sample;
    }
    mean_and_deviation(row);
    count_work(b, row);
    row->peak_rss_bytes = os_rss_peak_bytes();
    return err;
}

/* ---- engine and sessions --------------------------------------------------------------------- */

static void close_sessions(struct bench *b)
{
    while (b->n_session > 0) session_free(b->s[--b->n_session]);
}

/* The type of the list that takes the most memory. */
static const char *widest(const struct list *types)
{
    static const uint32_t bytes_of_32[] = {64, 128, 34}; /* in the order of cache_types */
    uint32_t best = types->v[0];
    for (size_t i = 1; i < types->n; i++)
        if (bytes_of_32[types->v[i]] > bytes_of_32[best]) best = types->v[i];
    return cache_types[best];
}

/* The first timeline comes to hold the longest row, the others the longest of several timelines;
 * n_ctx is what each has on average. */
static enum err open_model(struct bench *b, struct common_opts common)
{
    const uint64_t n_pos = b->n_ctx + (b->n_stream_max - 1) * (uint64_t)b->n_ctx_stream;
    common.type_k = widest(&b->type_k);
    common.type_v = widest(&b->type_v);
    return cmd_open_run(&b->e, &common, (uint32_t)((n_pos + b->n_stream_max - 1) / b->n_stream_max),
                        b->n_stream_max);
}

/* The number of threads is fixed when an engine is opened, so it is opened once for each. */
static enum err open_engine(struct bench *b, const struct common_opts *common)
{
    close_sessions(b);
    engine_close(b->e);
    b->e = NULL;
    enum err err = open_model(b, *common);
    if (err == OK && !b->ids) err = make_ids(b);
    return err;
}

/* Sessions for all timelines of a row; those that are open and fit are kept. */
static enum err open_for(struct bench *b, const struct bench_row *row)
{
    struct common_opts common = b->o->common;
    common.n_thread = row->n_thread;
    common.type_k = row->type_k;
    common.type_v = row->type_v;
    common.quiet |= b->e != NULL; /* what there is to say about the model was said */
    const struct bench_row *const was = b->opened;
    enum err err = OK;
    if (!was || was->n_thread != row->n_thread) err = open_engine(b, &common);
    if (was && (was->type_k != row->type_k || was->type_v != row->type_v)) close_sessions(b);
    if (err == OK && b->n_session == 0) {
        err = cmd_session(&b->s[0], b->e, &common, b->n_ctx);
        b->n_session += err == OK;
    }
    while (err == OK && b->n_session < row->n_stream) {
        const struct session_opts beside = {.beside = b->s[0]};
        err = session_new(&b->s[b->n_session], b->e, &beside);
        b->n_session += err == OK;
    }
    b->opened = row;
    return err;
}

static enum err run_rows(struct bench *b)
{
    b->s = mem_alloc_array(MEM_MISC, b->n_stream_max, sizeof *b->s);
    if (!b->s) return ERR_MEMORY;
    enum err err = OK;
    for (size_t i = 0; i < b->n_row && err == OK; i++) {
        err = open_for(b, &b->row[i]);
        if (i == 0) ui_bar_start(&b->bar, cmd_bar_file(&b->o->common), "bench", "run");
        if (err == OK) err = run_row(b, i);
    }
    ui_bar_end(&b->bar);
    return err;
}

/* Rows of one number of threads stand together, in the order of -t. */
static enum err measure_ceilings(struct bench *b)
{
    double bytes_per_s[LIST_MAX];
    double macs_per_s[LIST_MAX];
    enum err err = membw_read(b->n_thread.v, b->n_thread.n, bytes_per_s);
    for (size_t t = 0; t < b->n_thread.n && err == OK; t++)
        err = engine_int8_peak(b->o->common.cpu_mask, b->n_thread.v[t], &macs_per_s[t]);
    for (size_t i = 0, t = 0; i < b->n_row && err == OK; i++) {
        while (b->n_thread.v[t] != b->row[i].n_thread) t++;
        assert(t < b->n_thread.n);
        b->row[i].bandwidth = bytes_per_s[t];
        b->row[i].int8_peak = macs_per_s[t];
    }
    return err;
}

static enum err bench(struct bench *b, struct common_opts *common)
{
    enum err err = cmd_model(common, false);
    if (err == OK) err = parse_lists(b);
    if (err == OK) err = make_rows(b);
    if (err == OK) err = run_rows(b);
    if (err == OK) err = measure_ceilings(b);
    if (err) return err;
    struct os_cpus cpus;
    os_cpus(&cpus);
    const struct bench_report report = {.info = engine_info(b->e),
                                        .row = b->row,
                                        .n_row = b->n_row,
                                        .n_batch =
                                            common->n_batch ? common->n_batch : BATCH_DEFAULT,
                                        .cpu = cpus.name};
    return bench_print(&report, b->o->format, stdout);
}

static int bench_main(void *opts)
{
    struct bench_opts *const o = opts;
    struct bench b = {.o = o};
    const int code = cmd_exit(bench(&b, &o->common));
    close_sessions(&b);
    engine_close(b.e);
    mem_free(b.s);
    mem_free(b.ids);
    mem_free(b.next);
    mem_free(b.row);
    mem_free(b.samples);
    return code;
}

const struct cli_cmd cmd_bench = {
    .name = "bench",
    .args = "[MODEL]",
    .brief = "speed of prefill and decode beside what this machine allows",
    .text =
        "Measures prefill rows (pp512: 512 tokens in), decode rows (tg128: 128 tokens out) and, "
        "with -npl, rows of several timelines (pl8 pp128+tg128: 8 prompts of 128 tokens in, "
        "then 128 tokens out of each, decoded together; the speed counts all tokens). Lists "
        "such as -t 1,2 make a row for each value. Shares compare the bytes read per second "
        "with the memory bandwidth, and the products of weights with the int8 products that "
        "the processor can make, both measured in the same run.",
    .opts = {rows, common_model, common_pre, common_compute, common_talk},
    .opts_bytes = sizeof(struct bench_opts),
    .pos_max = 1,
    .pos_offset = AT(common.pos),
    .main = bench_main,
};
