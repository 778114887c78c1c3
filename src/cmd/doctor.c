/*
 * doctor.c: what this machine has, what will be used of it and why, what a model would make of it,
 * and what would help.
 *
 * Facts come from base/os_machine.h; four things are measured: how fast memory reads with one
 * thread and with all, how many int8 products the processor can make, and how fast the disk reads
 * the model's file or the largest file of the current directory. That takes about five seconds and
 * writes nothing. A fact that cannot be learnt is left out; only a model that cannot be opened is
 * an error.
 *
 * The ceiling of decoding is bandwidth / bytes per token: each token reads every active weight
 * once. Where the weights do not fit, the share that is missing comes from the disk:
 *     seconds per token = active * resident / bandwidth + active * (1 - resident) / disk
 * which takes for granted that all weights are equally likely to be read, and reading is all there
 * is to do. It is what cannot be beaten, not what will be reached.
 */
#include "cmd/doctor.h"

#include "base/membw.h"
#include "base/ui.h"
#include "cmd/common.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

struct doctor_opts {
    struct common_opts common;
    bool json;
};

#define DISK_SLOW 0.35e9 /* bytes/s: no rotating disk reads faster, every SSD does */

#define AT(field) offsetof(struct doctor_opts, field)

static const struct cli_opt rows[] = {
    {"model", 'm', CLI_STR, AT(common.model), AT(common.model_from), "MODEL",
     .help = "say whether this model (GGUF) fits, and how fast it can be"},
    {"json", 0, CLI_FLAG, AT(json), .help = "one JSON object instead of text"},
    {0},
};

/* Names in /proc/cpuinfo of what could make kernels faster and has none yet. */
static const char *const without_kernel[] = {"avx_vnni", "avx512_bf16", "avx512_fp16", "amx_int8",
                                             "amx_bf16", "bf16",        "sve2",        "sme"};
#define N_WITHOUT_KERNEL (sizeof without_kernel / sizeof without_kernel[0])
static_assert(N_WITHOUT_KERNEL <= DOCTOR_FEATURES_MAX, "struct doctor holds them all");

static void hint(struct doctor *d, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void hint(struct doctor *d, const char *fmt, ...)
{
    assert(d->n_hint < DOCTOR_HINTS_MAX);
    va_list args;
    va_start(args, fmt);
    vsnprintf(d->hint[d->n_hint++], DOCTOR_TEXT_BYTES, fmt, args);
    va_end(args);
}

/* ---- the model ------------------------------------------------------------------------------- */

/* What a session with the default context takes; nothing is run. */
static enum err measure_model(struct doctor_model *m, struct engine *e)
{
    struct session *s = NULL;
    const enum err err = session_new(&s, e, &(struct session_opts){0});
    if (err) return err;
    const struct session_stats st = session_stats(s);
    m->info = engine_info(e);
    m->n_ctx = session_n_ctx(s);
    m->kv_bytes = st.full_bytes;
    m->work_bytes = st.arena_bytes;
    m->need_bytes = m->info->n_bytes + m->kv_bytes + m->work_bytes;
    session_free(s);
    return OK;
}

static void judge_model(struct doctor *d)
{
    struct doctor_model *const m = &d->model;
    if (!m->info || m->info->n_bytes == 0) return;
    const double room = (double)d->memory.free_bytes - (double)(m->kv_bytes + m->work_bytes);
    const double active = (double)m->info->n_bytes_active;
    const double disk = doctor_disk(d);
    m->resident = fmin(fmax(room, 0) / (double)m->info->n_bytes, 1);
    if (d->bandwidth > 0) m->ceiling_ts = d->bandwidth / active;
    if (m->resident < 1 && d->bandwidth > 0 && disk > 0)
        m->paged_ts = 1 / (active * m->resident / d->bandwidth + active * (1 - m->resident) / disk);
}

/* ---- facts ----------------------------------------------------------------------------------- */

static void choose_threads(struct doctor *d, uint32_t n_asked)
{
    const struct os_cpus *const c = &d->cpus;
    d->n_thread = n_asked ? n_asked : os_cores_physical();
    const char *const why =
        n_asked                           ? "as -t says"
        : d->n_thread < c->n_core_allowed ? "no more than the control group's CPU quota feeds"
        : c->n_core_allowed < c->n_core   ? "one for each core that taskset or a cpuset allows"
        : c->n_core < c->n_logical
            ? "one for each core, since its hardware threads share one set of vector units"
            : "one for each core";
    snprintf(d->thread_why, sizeof d->thread_why, "%s", why);
}

static void choose_level(struct doctor *d)
{
    d->n_level = engine_levels(d->level);
    d->level_used = "none";
    for (size_t i = 0; i < d->n_level; i++)
        if (!d->level[i].lacks) d->level_used = d->level[i].name;
    for (size_t i = 0; i < N_WITHOUT_KERNEL; i++)
        if (os_cpu_flag(without_kernel[i])) d->unused[d->n_unused++] = without_kernel[i];
}

/* The directory of the model, or the current one, and the file there that is read. */
static void choose_file(struct doctor *d, const char *model)
{
    if (!model) {
        snprintf(d->dir, sizeof d->dir, ".");
        if (!os_disk_largest(d->file, sizeof d->file, d->dir)) d->file[0] = '\0';
        return;
    }
    const char *const slash = strrchr(model, '/');
    const size_t n_dir = slash ? (size_t)(slash - model) + 1 : 0;
    snprintf(d->file, sizeof d->file, "%s", model);
    snprintf(d->dir, sizeof d->dir, "%.*s", n_dir ? (int)n_dir : 1, n_dir ? model : ".");
}

static void measure_disk(struct doctor *d)
{
    os_volume(&d->volume, d->dir);
    if (d->system.is_virtual) d->volume.spins = -1; /* what virtual disks claim is worth nothing */
    if (!d->file[0])
        snprintf(d->read_why, sizeof d->read_why,
                 "not measured: no file of 8 MiB or more here to read; name a model with -m");
    else if (os_disk_read(&d->read, d->file) != OK)
        snprintf(d->read_why, sizeof d->read_why, "not measured: %.300s", err_msg());
}

static const char *environment(const char *name)
{
    const char *const value = getenv(name);
    return value ? value : "";
}

static void look_around(struct doctor *d)
{
    os_cpus(&d->cpus);
    d->n_cache = os_caches(d->cache, DOCTOR_CACHES_MAX);
    d->memory = os_memory();
    os_paging(&d->paging);
    os_limits(&d->limits);
    d->n_gpu = os_gpus(d->gpu, DOCTOR_GPUS_MAX);
    os_system(&d->system);
    d->term = environment("TERM");
    d->locale = environment("LC_ALL");
    if (!*d->locale) d->locale = environment("LC_CTYPE");
    if (!*d->locale) d->locale = environment("LANG");
    d->stdout_is_terminal = os_is_terminal(stdout);
    d->stderr_has_color = ui_color(stderr); /* where everything for people goes */
    choose_level(d);
}

/* ---- what would help ------------------------------------------------------------------------- */

static void hint_processor(struct doctor *d)
{
    const struct os_cpus *const c = &d->cpus;
    const bool is_slow = strcmp(d->level_used, "none") == 0 || strcmp(d->level_used, "sse") == 0;
    if (is_slow && d->system.is_virtual)
        hint(d, "This virtual machine has no AVX2. If its host has, give it the host's processor "
                "type (QEMU: -cpu host): kernels get several times faster.");
    if (c->quota > 0 && c->quota < c->n_core)
        hint(d,
             "The control group grants %.4g CPUs of %" PRIu32
             " cores; raise its quota (cpu.max, docker --cpus) for more speed.",
             c->quota, c->n_core);
    if (c->n_core_allowed < c->n_core)
        hint(d,
             "taskset or a cpuset allows this process %" PRIu32 " of %" PRIu32
             " cores; lift it for more speed.",
             c->n_core_allowed, c->n_core);
    if (d->n_thread > c->n_core_allowed)
        hint(d,
             "%" PRIu32 " threads on %" PRIu32
             " cores wait for each other: leave -t out, or lower it.",
             d->n_thread, c->n_core_allowed);
    else if (c->load + d->n_thread > c->n_logical + 0.5)
        hint(d,
             "Other programs are at work (load %.1f on %" PRIu32
             " CPUs). What is measured here is less than a quiet "
             "machine gives, and fewer threads (-t) may then be faster.",
             c->load, c->n_logical);
    if (c->n_node > 1)
        hint(d,
             "Memory is split over %" PRIu32 " NUMA nodes. For a model that fits one of them try: "
             "numactl --cpunodebind=0 --membind=0 moxie ...",
             c->n_node);
}

static void hint_model(struct doctor *d)
{
    const struct doctor_model *const m = &d->model;
    char need[UI_SIZE_BYTES_MAX], have[UI_SIZE_BYTES_MAX];
    if (!m->info) {
        hint(d, "moxie doctor -m MODEL says whether a model fits this machine, and how fast it "
                "can be.");
    } else if (m->resident < 1) {
        hint(d,
             "The model takes %s and %s are free: parts of it come from the disk again and again. "
             "Close programs%s, shorten the context (-c), or take a file with fewer bits per "
             "weight.",
             ui_size(need, m->need_bytes), ui_size(have, d->memory.free_bytes),
             d->memory.limit_bytes < d->memory.total_bytes ? ", raise the control group's limit"
                                                           : "");
    }
    if (m->info && m->resident < 1 && doctor_disk(d) > 0 && doctor_disk(d) < DISK_SLOW)
        hint(d, "%s reads %.2f GB/s: keep models on a faster disk.", d->dir, doctor_disk(d) / 1e9);
}

static void hint_system(struct doctor *d)
{
    const uint64_t few_files = 64; /* besides the program's own: parts of split models */
    if (d->paging.swap_bytes > 0 && d->paging.swap_free_bytes < d->paging.swap_bytes / 2)
        hint(d, "More than half of the swap space is in use: memory is short, close programs.");
    if (d->limits.n_file < few_files)
        hint(d,
             "Only %" PRIu64
             " files may be open at a time; a model in more parts needs a higher ulimit -n.",
             d->limits.n_file);
}

/* ---- the command ----------------------------------------------------------------------------- */

/* The bandwidth with one thread and with all. A machine without the memory for it is no error. */
static void measure_bandwidth(struct doctor *d)
{
    const uint32_t n_thread[] = {d->n_thread, 1};
    double bytes_per_s[2] = {0};
    if (membw_read(n_thread, d->n_thread > 1 ? 2 : 1, bytes_per_s) != OK) return;
    d->bandwidth = bytes_per_s[0];
    d->bandwidth_1 = bytes_per_s[d->n_thread > 1];
}

/* What prefill cannot beat. */
static void measure_products(struct doctor *d)
{
    if (engine_int8_peak(NULL, d->n_thread, &d->int8_peak) != OK) d->int8_peak = 0;
}

static enum err examine(struct doctor *d, struct doctor_opts *o, struct engine **e)
{
    enum err err = cmd_model(&o->common, false);
    o->common.plan_repack = true;
    if (err == OK && o->common.model) err = cmd_open_run(e, &o->common, 0, 1);
    if (err == OK && *e) err = measure_model(&d->model, *e);
    if (err) return err;
    struct ui_bar bar;
    ui_bar_start(&bar, cmd_bar_file(&o->common), "measuring", "step");
    look_around(d); /* first: the load is not ours yet */
    choose_threads(d, o->common.n_thread);
    choose_file(d, o->common.model);
    measure_disk(d);
    ui_bar_set(&bar, 1, 3);
    if (!os_interrupted()) measure_bandwidth(d);
    if (!os_interrupted()) measure_products(d);
    ui_bar_end(&bar);
    judge_model(d);
    hint_processor(d);
    hint_model(d);
    hint_system(d);
    return cmd_interrupted();
}

static int doctor_main(void *opts)
{
    struct doctor_opts *const o = opts;
    struct doctor d = {.n_hint = 0};
    struct engine *e = NULL;
    enum err err = examine(&d, o, &e);
    if (err == OK && o->json)
        err = doctor_print_json(&d, stdout);
    else if (err == OK)
        doctor_print(&d, stdout);
    const int code = cmd_exit(err);
    engine_close(e);
    return code;
}

const struct cli_cmd cmd_doctor = {
    .name = "doctor",
    .args = "[MODEL]",
    .brief = "what this machine has, what will be used and why",
    .text = "Looks at processor, memory, disk, limits, graphics and terminal, and measures how "
            "fast memory and disk are read and int8 numbers multiplied: about five seconds, "
            "nothing is written. With a model "
            "it says whether that fits and how many tokens per second memory allows at most: "
            "bandwidth / bytes of weights that a token reads. The disk is measured by reading the "
            "model's file, or the largest file of the current directory.",
    .opts = {rows, common_threads, common_talk},
    .opts_bytes = sizeof(struct doctor_opts),
    .pos_max = 1,
    .pos_offset = AT(common.pos),
    .main = doctor_main,
};
