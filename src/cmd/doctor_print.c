/*
 * doctor_print.c: the report of `doctor` as text, a labelled line for each fact with what follows
 * from it, and as one JSON object. What could not be learnt has no line, and is null.
 */
#include "cmd/doctor.h"

#include "base/ui.h"
#include "cli.h"
#include "cmd/common.h"
#include "cmd/fields.h"
#include "text/utf8.h"
#include "version.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

/* ---- text ------------------------------------------------------------------------------------ */

#define LABEL_COLUMNS 14

static void line(FILE *out, const char *label, const char *fmt, ...) PRINTF_LIKE(3, 4);
static void line(FILE *out, const char *label, const char *fmt, ...)
{
    char text[2 * DOCTOR_PATH_BYTES];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    ui_tame(text, strlen(text)); /* names come from files and from the firmware */
    fprintf(out, "%-*s", LABEL_COLUMNS, label);
    cli_wrap(out, text, LABEL_COLUMNS, LABEL_COLUMNS);
}

/* "s" for all numbers but one. */
static const char *plural(uint64_t n)
{
    return n == 1 ? "" : "s";
}

static void print_simd(const struct doctor *d, FILE *out)
{
    const bool is_reference = strcmp(d->level_used, "none") == 0;
    line(out, "  SIMD", "%s will be used%s",
         is_reference ? "plain C, without SIMD," : d->level_used,
         d->n_level && !d->level[d->n_level - 1].lacks
             ? ": the highest level that there are kernels for"
             : "");
    for (size_t i = 0; i < d->n_level; i++)
        if (d->level[i].lacks)
            line(out, "", "%s (%s) is not: %s", d->level[i].name, d->level[i].needs,
                 d->level[i].lacks);
    char list[DOCTOR_TEXT_BYTES] = "";
    for (size_t i = 0; i < d->n_unused; i++)
        snprintf(list + strlen(list), sizeof list - strlen(list), "%s%s", i ? ", " : "",
                 d->unused[i]);
    if (d->n_unused)
        line(out, "", "%s: there, but no kernel uses %s yet", list,
             d->n_unused == 1 ? "it" : "them");
}

static void print_processor(const struct doctor *d, FILE *out)
{
    const struct os_cpus *const c = &d->cpus;
    line(out, "processor", "%s, %s", c->name[0] ? c->name : "of unknown name", c->arch);
    line(out, "  cores",
         "%" PRIu32 " core%s with %" PRIu32 " hardware thread%s; this process may use %" PRIu32
         " of them",
         c->n_core, plural(c->n_core), c->n_logical, plural(c->n_logical), c->n_allowed);
    if (c->quota > 0)
        line(out, "  quota", "the control group grants %.4g CPUs' worth of time", c->quota);
    line(out, "  threads", "%" PRIu32 " will be used: %s", d->n_thread, d->thread_why);
    if (d->int8_peak > 0)
        line(out, "  products",
             "%.0f billion int8 products per second: prefill cannot take more weights times tokens",
             d->int8_peak / 1e9);
    if (c->governor[0]) line(out, "  frequency", "policy '%s'", c->governor);
    print_simd(d, out);
    char caches[DOCTOR_TEXT_BYTES] = "", size[UI_SIZE_BYTES_MAX];
    for (size_t i = 0; i < d->n_cache; i++)
        snprintf(caches + strlen(caches), sizeof caches - strlen(caches),
                 "%sL%" PRIu32 " %s for %" PRIu32 " thread%s", i ? "; " : "", d->cache[i].level,
                 ui_size(size, d->cache[i].n_bytes), d->cache[i].n_sharing,
                 plural(d->cache[i].n_sharing));
    if (d->n_cache) line(out, "  caches", "%s", caches);
}

static void print_memory(const struct doctor *d, FILE *out)
{
    char a[UI_SIZE_BYTES_MAX], b[UI_SIZE_BYTES_MAX];
    line(out, "memory", "%s, of which moxie can take %s", ui_size(a, d->memory.total_bytes),
         ui_size(b, d->memory.free_bytes));
    if (d->memory.limit_bytes < d->memory.total_bytes)
        line(out, "  limit", "%s, set by the control group", ui_size(a, d->memory.limit_bytes));
    if (d->bandwidth > 0 && d->n_thread > 1)
        line(out, "  bandwidth",
             "%.1f GB/s with %" PRIu32 " threads, %.1f with one: the ceiling of decoding, which "
             "reads every weight in use once for each token",
             d->bandwidth / 1e9, d->n_thread, d->bandwidth_1 / 1e9);
    else if (d->bandwidth > 0)
        line(out, "  bandwidth",
             "%.1f GB/s with one thread: the ceiling of decoding, which reads every weight in use "
             "once for each token",
             d->bandwidth / 1e9);
    else
        line(out, "  bandwidth", "not measured: too little memory is free");
    if (d->paging.swap_bytes)
        line(out, "  swap", "%s, %s of it free", ui_size(a, d->paging.swap_bytes),
             ui_size(b, d->paging.swap_free_bytes));
    else
        line(out, "  swap",
             "none: weights that are repacked stay in memory, mapped ones are paged from their "
             "file");
    if (d->paging.huge_pages[0])
        line(out, "  huge pages",
             "'%s' for transparent ones: repacked weights and caches are %s them",
             d->paging.huge_pages, strcmp(d->paging.huge_pages, "never") == 0 ? "without" : "in");
}

static void print_disk(const struct doctor *d, FILE *out)
{
    char a[UI_SIZE_BYTES_MAX], b[UI_SIZE_BYTES_MAX];
    const struct os_volume *const v = &d->volume;
    line(out, "disk", "%s is on %s%s%s%s; %s of %s free", d->dir,
         v->filesystem[0] ? v->filesystem : "an unknown file system", v->source[0] ? ", " : "",
         v->source, v->spins == 1 ? ", a rotating disk" : "", ui_size(a, v->free),
         ui_size(b, v->total));
    if (d->read_why[0])
        line(out, "  reads", "%s", d->read_why);
    else
        line(out, "  reads", "%.2f GB/s in pieces of 4 MiB%s, %s of %s", doctor_disk(d) / 1e9,
             d->read.is_direct ? "" : ", through the page cache, which may flatter it",
             ui_size(a, d->read.n_bytes), d->file);
}

/* "unlimited", "8.0 MiB" */
static const char *limit_size(char buf[UI_SIZE_BYTES_MAX], uint64_t n_bytes)
{
    return n_bytes == UINT64_MAX ? "unlimited" : ui_size(buf, n_bytes);
}

static void print_system(const struct doctor *d, FILE *out)
{
    char a[UI_SIZE_BYTES_MAX], b[UI_SIZE_BYTES_MAX], files[24] = "unlimited";
    const struct os_system *const s = &d->system;
    if (d->limits.n_file != UINT64_MAX) snprintf(files, sizeof files, "%" PRIu64, d->limits.n_file);
    line(out, "limits", "open files %s, stack %s, locked memory %s (moxie locks none)", files,
         limit_size(a, d->limits.stack_bytes), limit_size(b, d->limits.memlock_bytes));
    for (size_t i = 0; i < d->n_gpu; i++)
        line(out, i ? "" : "graphics",
             "%s (driver %s, PCI %04" PRIx32 ":%04" PRIx32 "): not used, moxie has no Vulkan or "
             "OpenCL yet",
             d->gpu[i].name, d->gpu[i].driver[0] ? d->gpu[i].driver : "none", d->gpu[i].vendor,
             d->gpu[i].device);
    if (d->n_gpu == 0)
        line(out, "graphics",
             "none in /sys/class/drm; it would not be used, moxie has no Vulkan or OpenCL yet");
    line(out, "system", "%s%s%s", s->kernel, s->distro[0] ? ", " : "", s->distro);
    if (s->is_virtual || s->machine[0])
        line(out, "  machine", "%s%s%s", s->machine, s->machine[0] && s->is_virtual ? ", " : "",
             s->is_virtual ? "a virtual machine: its neighbours change every figure here" : "");
    if (s->container[0]) line(out, "  container", "%s", s->container);
    line(out, "terminal", "%s, TERM=%s, locale %s; messages on standard error are %s",
         d->stdout_is_terminal ? "standard output is one" : "standard output is no terminal",
         d->term, d->locale[0] ? d->locale : "not set",
         d->stderr_has_color ? "coloured" : "not coloured");
}

static void print_model(const struct doctor *d, FILE *out)
{
    const struct doctor_model *const m = &d->model;
    char a[UI_SIZE_BYTES_MAX], b[UI_SIZE_BYTES_MAX], c[UI_SIZE_BYTES_MAX];
    if (!m->info) return;
    line(out, "model", "%s: %s, %s, %.2f M parameters, %s", m->info->path, m->info->arch,
         m->info->type, (double)m->info->n_param / 1e6, ui_size(a, m->info->n_bytes));
    line(out, "  needs",
         "%s: the weights, %s for a context of %" PRIu32 ", %s to work in; %s are free: %s",
         ui_size(a, m->need_bytes), ui_size(b, m->kv_bytes), m->n_ctx, ui_size(c, m->work_bytes),
         ui_size((char[UI_SIZE_BYTES_MAX]){0}, d->memory.free_bytes),
         m->resident < 1 ? "it does not fit" : "it fits");
    line(out, "  weights", "%s", cmd_weights((char[CMD_WEIGHTS_BYTES]){0}, &m->info->repack));
    if (m->ceiling_ts > 0)
        line(out, "  ceiling",
             "%.2f GB/s / %.4f GB of weights per token = %.1f tokens/s at most; `moxie bench` "
             "measures what is reached",
             d->bandwidth / 1e9, (double)m->info->n_bytes_active / 1e9, m->ceiling_ts);
    if (d->n_cache && m->info->n_bytes_active < d->cache[d->n_cache - 1].n_bytes)
        line(out, "", "or more, because weights that few stay in the L%" PRIu32 " cache",
             d->cache[d->n_cache - 1].level);
    if (m->paged_ts > 0)
        line(out, "  from disk",
             "%.0f %% of the weights fit: 1 / (%.4f GB * %.2f / %.2f GB/s + %.4f GB * %.2f / %.2f "
             "GB/s) = %.2f tokens/s at most",
             m->resident * 100, (double)m->info->n_bytes_active / 1e9, m->resident,
             d->bandwidth / 1e9, (double)m->info->n_bytes_active / 1e9, 1 - m->resident,
             doctor_disk(d) / 1e9, m->paged_ts);
}

void doctor_print(const struct doctor *d, FILE *out)
{
    assert(d);
    fprintf(out, "moxie %s: what this machine has, and what will be used\n\n", MOXIE_VERSION);
    print_processor(d, out);
    print_memory(d, out);
    print_disk(d, out);
    print_system(d, out);
    print_model(d, out);
    if (d->n_hint == 0) return;
    fputs("\nWhat would help:\n", out);
    for (size_t i = 0; i < d->n_hint; i++) {
        fputs("  - ", out);
        cli_wrap(out, d->hint[i], 4, 4);
    }
}

/* ---- JSON ------------------------------------------------------------------------------------ */

#define OBJECT(list) fields_object((list), sizeof(list) / sizeof(list)[0])

static json_t *real_or_null(double v, double unit)
{
    return field_real_or_null(v / unit);
}

static json_t *limit(uint64_t v)
{
    return v == UINT64_MAX ? json_null() : field_count(v);
}

static json_t *processor_object(const struct doctor *d)
{
    const struct os_cpus *const c = &d->cpus;
    const struct field list[] = {
        {"name", utf8_text(c->name)},
        {"arch", utf8_text(c->arch)},
        {"n_cores", field_count(c->n_core)},
        {"n_logical", field_count(c->n_logical)},
        {"n_cores_allowed", field_count(c->n_core_allowed)},
        {"n_logical_allowed", field_count(c->n_allowed)},
        {"quota_cpus", field_real_or_null(c->quota)},
        {"n_numa_nodes", field_count_or_null(c->n_node)},
        {"governor", utf8_text(c->governor)},
        {"load", json_real(c->load)},
        {"n_threads", field_count(d->n_thread)},
        {"n_threads_why", utf8_text(d->thread_why)},
        {"int8_gmacs", real_or_null(d->int8_peak, 1e9)},
    };
    return OBJECT(list);
}

static json_t *simd_object(const struct doctor *d)
{
    json_t *const levels = json_array();
    for (size_t i = 0; i < d->n_level; i++) {
        const struct engine_level *const l = &d->level[i];
        const struct field list[] = {
            {"name", utf8_text(l->name)},
            {"needs", utf8_text(l->needs)},
            {"usable", json_boolean(!l->lacks)},
            {"why_not", l->lacks ? utf8_text(l->lacks) : json_null()},
        };
        json_array_append_new(levels, OBJECT(list));
    }
    json_t *const unused = json_array();
    for (size_t i = 0; i < d->n_unused; i++) json_array_append_new(unused, utf8_text(d->unused[i]));
    const struct field list[] = {
        {"used", utf8_text(d->level_used)}, {"levels", levels}, {"without_kernels", unused}};
    return OBJECT(list);
}

static json_t *caches_array(const struct doctor *d)
{
    json_t *const caches = json_array();
    for (size_t i = 0; i < d->n_cache; i++) {
        const struct field list[] = {
            {"level", field_count(d->cache[i].level)},
            {"type", utf8_text(d->cache[i].type)},
            {"bytes", field_count(d->cache[i].n_bytes)},
            {"n_sharing", field_count(d->cache[i].n_sharing)},
        };
        json_array_append_new(caches, OBJECT(list));
    }
    return caches;
}

static json_t *memory_object(const struct doctor *d)
{
    const struct field list[] = {
        {"total_bytes", field_count_or_null(d->memory.total_bytes)},
        {"free_bytes", field_count_or_null(d->memory.free_bytes)},
        {"limit_bytes", limit(d->memory.limit_bytes)},
        {"swap_bytes", field_count(d->paging.swap_bytes)},
        {"swap_free_bytes", field_count(d->paging.swap_free_bytes)},
        {"huge_pages", utf8_text(d->paging.huge_pages)},
        {"bandwidth_gbs", real_or_null(d->bandwidth, 1e9)},
        {"bandwidth_1_thread_gbs", real_or_null(d->bandwidth_1, 1e9)},
    };
    return OBJECT(list);
}

static json_t *disk_object(const struct doctor *d)
{
    const struct os_volume *const v = &d->volume;
    const struct field list[] = {
        {"directory", utf8_text(d->dir)},
        {"filesystem", utf8_text(v->filesystem)},
        {"source", utf8_text(v->source)},
        {"rotating", v->spins < 0 ? json_null() : json_boolean(v->spins)},
        {"total_bytes", field_count(v->total)},
        {"free_bytes", field_count(v->free)},
        {"read_gbs", real_or_null(doctor_disk(d), 1e9)},
        {"read_bytes", field_count(d->read.n_bytes)},
        {"read_direct", json_boolean(d->read.is_direct)},
        {"read_file", d->read.n_bytes ? utf8_text(d->file) : json_null()},
    };
    return OBJECT(list);
}

static json_t *limits_object(const struct doctor *d)
{
    const struct field list[] = {
        {"open_files", limit(d->limits.n_file)},
        {"stack_bytes", limit(d->limits.stack_bytes)},
        {"memlock_bytes", limit(d->limits.memlock_bytes)},
    };
    return OBJECT(list);
}

static json_t *gpus_array(const struct doctor *d)
{
    json_t *const gpus = json_array();
    for (size_t i = 0; i < d->n_gpu; i++) {
        const struct field list[] = {
            {"name", utf8_text(d->gpu[i].name)},
            {"driver", utf8_text(d->gpu[i].driver)},
            {"pci_vendor", field_count_or_null(d->gpu[i].vendor)},
            {"pci_device", field_count_or_null(d->gpu[i].device)},
            {"used", json_false()},
        };
        json_array_append_new(gpus, OBJECT(list));
    }
    return gpus;
}

static json_t *system_object(const struct doctor *d)
{
    const struct os_system *const s = &d->system;
    const struct field list[] = {
        {"kernel", utf8_text(s->kernel)},
        {"distribution", utf8_text(s->distro)},
        {"machine", utf8_text(s->machine)},
        {"virtual", json_boolean(s->is_virtual)},
        {"container", s->container[0] ? utf8_text(s->container) : json_null()},
        {"term", utf8_text(d->term)},
        {"locale", utf8_text(d->locale)},
        {"stdout_is_terminal", json_boolean(d->stdout_is_terminal)},
        {"stderr_has_color", json_boolean(d->stderr_has_color)},
    };
    return OBJECT(list);
}

static json_t *model_object(const struct doctor_model *m)
{
    if (!m->info) return json_null();
    const struct field list[] = {
        {"path", utf8_text(m->info->path)},
        {"arch", utf8_text(m->info->arch)},
        {"type", utf8_text(m->info->type)},
        {"n_params", field_count(m->info->n_param)},
        {"bytes", field_count(m->info->n_bytes)},
        {"bytes_per_token", field_count(m->info->n_bytes_active)},
        {"n_ctx", field_count(m->n_ctx)},
        {"context_bytes", field_count(m->kv_bytes)},
        {"work_bytes", field_count(m->work_bytes)},
        {"need_bytes", field_count(m->need_bytes)},
        {"fits", json_boolean(m->resident >= 1)},
        {"repack", json_boolean(m->info->repack.state == REPACK_PLANNED)},
        {"repack_bytes", field_count(m->info->repack.n_bytes)},
        {"repack_need_bytes", field_count(m->info->repack.need_bytes)},
        {"share_in_memory", json_real(m->resident)},
        {"ceiling_ts", field_real_or_null(m->ceiling_ts)},
        {"ceiling_from_disk_ts", field_real_or_null(m->paged_ts)},
    };
    return OBJECT(list);
}

enum err doctor_print_json(const struct doctor *d, FILE *out)
{
    assert(d);
    json_t *const hints = json_array();
    for (size_t i = 0; i < d->n_hint; i++) json_array_append_new(hints, utf8_text(d->hint[i]));
    const struct field list[] = {
        {"version", utf8_text(MOXIE_VERSION)},
        {"processor", processor_object(d)},
        {"simd", simd_object(d)},
        {"caches", caches_array(d)},
        {"memory", memory_object(d)},
        {"disk", disk_object(d)},
        {"limits", limits_object(d)},
        {"gpus", gpus_array(d)},
        {"system", system_object(d)},
        {"model", model_object(&d->model)},
        {"hints", hints},
    };
    return fields_print(OBJECT(list), out);
}
