/*
 * bench.h: what `bench` measured, and its three ways onto paper.
 */
#ifndef CMD_BENCH_H
#define CMD_BENCH_H

#include "cmd/common.h"

struct bench_time {
    double prompt_s, gen_s; /* all prompts; all generated tokens */
};

struct bench_row {
    uint32_t n_prompt, n_gen; /* of each timeline; one of them is 0 where there is but one */
    uint32_t n_stream;        /* timelines: 1 in the rows pp and tg */
    uint32_t n_depth, n_thread;
    const char *type_k, *type_v;
    double *samples_ts; /* (n_sample) tok/s */
    uint32_t n_sample;
    double avg_ts, stddev_ts;
    struct bench_time time;     /* mean of the samples */
    double bandwidth;           /* bytes/s */
    double int8_peak;           /* multiply-adds per second; 0: unknown */
    double bytes_per_token;     /* of weights, and of the cache where tokens are generated */
    double gen_bytes_per_token; /* the same of a generated token; 0: none is */
    double kv_bytes_per_token;  /* of those, in the cache */
    double macs_per_token;      /* products of weights */
    uint64_t context_bytes;     /* caches and states at the end of a run */
    uint64_t peak_rss_bytes;
};

/* Tokens of one run. */
static inline double bench_tokens(const struct bench_row *row)
{
    return (double)row->n_stream * ((double)row->n_prompt + row->n_gen);
}

struct bench_report {
    const struct engine_info *info;
    const struct bench_row *row; /* (n_row) */
    size_t n_row;
    uint32_t n_batch;
    const char *cpu; /* the processor's name */
};

/* format: "md", "csv" or "json". Write errors stay in the stream for the caller to see. */
enum err bench_print(const struct bench_report *r, const char *format, FILE *out);

#endif
