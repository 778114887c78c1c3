/*
 * doctor.h: what `doctor` found out, and its two ways onto paper.
 */
#ifndef CMD_DOCTOR_H
#define CMD_DOCTOR_H

#include "base/os.h"
#include "base/os_disk.h"
#include "base/os_machine.h"
#include "engine.h"

#define DOCTOR_CACHES_MAX 8
#define DOCTOR_GPUS_MAX 16
#define DOCTOR_FEATURES_MAX 16
#define DOCTOR_HINTS_MAX 12
#define DOCTOR_TEXT_BYTES 400 /* of one sentence */
#define DOCTOR_PATH_BYTES 1024

struct doctor_model {
    const struct engine_info *info; /* NULL: no model was named */
    uint32_t n_ctx;
    uint64_t kv_bytes;   /* of a full context, with recurrent state */
    uint64_t work_bytes; /* activations */
    uint64_t need_bytes; /* with the weights */
    double resident;     /* the share of the weights that memory can hold */
    double ceiling_ts;   /* tok/s that memory allows once all weights are there; 0: unknown */
    double paged_ts;     /* tok/s where some must come from the disk; 0: unknown, or none must */
};

struct doctor {
    struct os_cpus cpus;
    uint32_t n_thread;
    char thread_why[DOCTOR_TEXT_BYTES];
    struct engine_level level[ENGINE_LEVELS_MAX];
    size_t n_level;
    const char *level_used;                  /* its name, "none" for the reference kernels */
    const char *unused[DOCTOR_FEATURES_MAX]; /* the processor has them, no kernel uses them */
    size_t n_unused;
    struct os_cache cache[DOCTOR_CACHES_MAX];
    size_t n_cache;
    struct os_memory memory;
    struct os_paging paging;
    double bandwidth, bandwidth_1; /* bytes/s with n_thread threads, with one; 0: not measured */
    double int8_peak;              /* multiply-adds per second with n_thread threads; 0: unknown */
    char dir[DOCTOR_PATH_BYTES];   /* the model's, or the current one */
    char file[DOCTOR_PATH_BYTES];  /* the one that was read; empty: none */
    struct os_volume volume;
    struct os_read read;
    char read_why[DOCTOR_TEXT_BYTES]; /* why nothing was read; empty: it was */
    struct os_limits limits;
    struct os_gpu gpu[DOCTOR_GPUS_MAX];
    size_t n_gpu;
    struct os_system system;
    const char *term, *locale; /* "" where they are not set */
    bool stdout_is_terminal, stderr_has_color;
    struct doctor_model model;
    char hint[DOCTOR_HINTS_MAX][DOCTOR_TEXT_BYTES];
    size_t n_hint;
};

/* Bytes per second of the disk; 0: not measured. */
static inline double doctor_disk(const struct doctor *d)
{
    return d->read.ns ? (double)d->read.n_bytes * 1e9 / (double)d->read.ns : 0;
}

/* Write errors stay in the stream for the caller to see. */
void doctor_print(const struct doctor *d, FILE *out);
enum err doctor_print_json(const struct doctor *d, FILE *out);

#endif
