/*
 * bench.h: what `bench` measured, and its three ways onto paper.
 */
#ifndef CMD_BENCH_H
#define CMD_BENCH_H

#include "cmd/common.h"

struct bench_row {
    uint32_t n_prompt, n_gen; /* one of them is 0 */
    uint32_t n_depth, n_thread;
    double *samples_ts; /* (n_sample) tok/s */
    uint32_t n_sample;
    double avg_ts, stddev_ts;
    double bandwidth;       /* bytes/s */
    double bytes_per_token; /* of weights */
    uint64_t peak_rss_bytes;
};

struct bench_report {
    const struct engine_info *info;
    const struct bench_row *row; /* (n_row) */
    size_t n_row;
    uint32_t n_batch;
    const char *type_k, *type_v;
};

/* format: "md", "csv" or "json". Write errors stay in the stream for the caller to see. */
enum err bench_print(const struct bench_report *r, const char *format, FILE *out);

#endif
