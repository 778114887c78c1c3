/*
 * bench_print.c: the table of `bench` as Markdown, CSV and JSON.
 *
 * CSV and JSON come from one list of fields, named as llama-bench names them where it has them. The
 * Markdown table has llama-bench's columns, then ours: what a token reads, beside what the memory
 * gives, and the shares that were reached of that and of the processor's int8 products. Rows of
 * several timelines are taken apart in a second table, with llama-batched-bench's columns. A column
 * is as wide as its widest cell.
 */
#include "cmd/bench.h"

#include "base/ui.h"
#include "cmd/fields.h"
#include "text/utf8.h"
#include "version.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

static double share_of_bandwidth(const struct bench_row *row)
{
    return row->bandwidth > 0 ? row->bytes_per_token * row->avg_ts / row->bandwidth : 0;
}

static double share_of_int8(const struct bench_row *row)
{
    return row->int8_peak > 0 ? row->macs_per_token * row->avg_ts / row->int8_peak : 0;
}

/* Tokens per second of the prompts alone, and of decoding alone; 0 where a row has none. */
static double prompt_ts(const struct bench_row *row)
{
    return row->n_prompt ? (double)row->n_stream * row->n_prompt / row->time.prompt_s : 0;
}

static double gen_ts(const struct bench_row *row)
{
    return row->n_gen ? (double)row->n_stream * row->n_gen / row->time.gen_s : 0;
}

static bool is_of_streams(const struct bench_row *row)
{
    return row->n_prompt > 0 && row->n_gen > 0;
}

/* "pp512", "tg128 @ d4096", "pl8 pp128+tg128" */
static void test_name(const struct bench_row *row, char *buf, size_t n_bytes)
{
    if (is_of_streams(row)) {
        snprintf(buf, n_bytes, "pl%" PRIu32 " pp%" PRIu32 "+tg%" PRIu32, row->n_stream,
                 row->n_prompt, row->n_gen);
        return;
    }
    const size_t n = (size_t)snprintf(buf, n_bytes, row->n_gen ? "tg%" PRIu32 : "pp%" PRIu32,
                                      row->n_gen ? row->n_gen : row->n_prompt);
    assert(n < n_bytes);
    if (row->n_depth) snprintf(buf + n, n_bytes - n, " @ d%" PRIu32, row->n_depth);
}

/* ---- Markdown -------------------------------------------------------------------------------- */

#define CELL_BYTES 64
#define COLUMNS_MAX 14

struct column {
    const char *title;
    bool is_text; /* to the left; numbers stand to the right */
};

struct md_table {
    struct column column[COLUMNS_MAX]; /* ends with one without title */
    bool only_streams;                 /* leaves the other rows out */
    void (*fill)(const struct bench_report *r, const struct bench_row *row,
                 char (*cell)[CELL_BYTES]);
};

/* The next cell of a row. */
#define PUT(...) snprintf(*cell++, CELL_BYTES, __VA_ARGS__)

static void fill_speed(const struct bench_report *r, const struct bench_row *row,
                       char (*cell)[CELL_BYTES])
{
    char size[UI_SIZE_BYTES_MAX];
    PUT("%s %s", r->info->arch, r->info->type);
    PUT("%s", ui_size(size, r->info->n_bytes));
    PUT("%.2f M", (double)r->info->n_param / 1e6);
    PUT("CPU %s", r->info->cpu_level);
    PUT("%" PRIu32, row->n_thread);
    if (row->type_k == row->type_v)
        PUT("%s", row->type_k);
    else
        PUT("%s/%s", row->type_k, row->type_v);
    test_name(row, *cell++, CELL_BYTES);
    PUT("%.2f ± %.2f", row->avg_ts, row->stddev_ts);
    PUT("%.2f", row->bytes_per_token / 1e6);
    PUT("%.2f", row->bandwidth / 1e9);
    PUT("%.1f %%", share_of_bandwidth(row) * 100);
    PUT("%.1f %%", share_of_int8(row) * 100);
    PUT("%s", ui_size(size, row->peak_rss_bytes));
}

static void fill_streams(const struct bench_report *r, const struct bench_row *row,
                         char (*cell)[CELL_BYTES])
{
    (void)r;
    const double seconds = row->time.prompt_s + row->time.gen_s;
    PUT("%" PRIu32, row->n_thread);
    PUT("%" PRIu32, row->n_prompt);
    PUT("%" PRIu32, row->n_gen);
    PUT("%" PRIu32, row->n_stream);
    PUT("%.0f", bench_tokens(row));
    PUT("%.3f", row->time.prompt_s);
    PUT("%.2f", prompt_ts(row));
    PUT("%.3f", row->time.gen_s);
    PUT("%.2f", gen_ts(row));
    PUT("%.3f", seconds);
    PUT("%.2f", bench_tokens(row) / seconds);
}

static const struct md_table table_speed = {
    .column = {{"model", true},
               {"size", false},
               {"params", false},
               {"backend", true},
               {"threads", false},
               {"KV", true},
               {"test", true},
               {"t/s", false},
               {"MB/token", false},
               {"RAM GB/s", false},
               {"share", false},
               {"of int8", false},
               {"peak memory", false}},
    .fill = fill_speed,
};

static const struct md_table table_streams = {
    .column = {{"threads", false},
               {"PP", false},
               {"TG", false},
               {"B", false},
               {"N_KV", false},
               {"T_PP s", false},
               {"S_PP t/s", false},
               {"T_TG s", false},
               {"S_TG t/s", false},
               {"T s", false},
               {"S t/s", false}},
    .only_streams = true,
    .fill = fill_streams,
};

/* Columns of a terminal: ± is two bytes in one. */
static size_t width(const char *s)
{
    size_t n = 0;
    for (; *s; s++) n += ((unsigned char)*s & 0xC0) != 0x80;
    return n;
}

static void print_cell(const struct column *c, const char *text, size_t n_columns, FILE *out)
{
    assert(width(text) <= n_columns);
    const int n_blank = (int)(n_columns - width(text));
    if (c->is_text)
        fprintf(out, "| %s%*s ", text, n_blank, "");
    else
        fprintf(out, "| %*s%s ", n_blank, "", text);
}

/* What separates the titles from the rows; the colon says that a column stands to the right. */
static void print_rule(const struct column *c, size_t n_columns, FILE *out)
{
    fputs("|-", out);
    for (size_t i = 0; i < n_columns; i++) fputc('-', out);
    fputc(c->is_text ? '-' : ':', out);
}

static void print_table(const struct bench_report *r, const struct md_table *t, FILE *out)
{
    char cell[COLUMNS_MAX][CELL_BYTES];
    size_t widest[COLUMNS_MAX];
    const struct column *const c = t->column;
    size_t n_column = 0;
    for (; c[n_column].title; n_column++) widest[n_column] = width(c[n_column].title);
    for (size_t i = 0; i < r->n_row; i++) {
        if (t->only_streams && !is_of_streams(&r->row[i])) continue;
        t->fill(r, &r->row[i], cell);
        for (size_t j = 0; j < n_column; j++)
            if (width(cell[j]) > widest[j]) widest[j] = width(cell[j]);
    }
    for (size_t j = 0; j < n_column; j++) print_cell(&c[j], c[j].title, widest[j], out);
    fputs("|\n", out);
    for (size_t j = 0; j < n_column; j++) print_rule(&c[j], widest[j], out);
    fputs("|\n", out);
    for (size_t i = 0; i < r->n_row; i++) {
        if (t->only_streams && !is_of_streams(&r->row[i])) continue;
        t->fill(r, &r->row[i], cell);
        for (size_t j = 0; j < n_column; j++) print_cell(&c[j], cell[j], widest[j], out);
        fputs("|\n", out);
    }
}

static bool has_streams(const struct bench_report *r)
{
    for (size_t i = 0; i < r->n_row; i++)
        if (is_of_streams(&r->row[i])) return true;
    return false;
}

static void print_md(const struct bench_report *r, FILE *out)
{
    char name[128];
    snprintf(name, sizeof name, "%s", r->info->name[0] ? r->info->name : r->info->path);
    ui_tame(name, strlen(name)); /* it comes from a file */
    print_table(r, &table_speed, out);
    if (has_streams(r)) {
        fputc('\n', out);
        print_table(r, &table_streams, out);
    }
    fprintf(out, "\nmoxie %s on %s: %s\n", MOXIE_VERSION, r->cpu, name);
}

/* ---- CSV and JSON ---------------------------------------------------------------------------- */

static json_t *samples(const struct bench_row *row)
{
    json_t *const list = json_array();
    for (uint32_t i = 0; i < row->n_sample; i++)
        json_array_append_new(list, json_real(row->samples_ts[i]));
    return list;
}

/* One row as an object; its members, in this order, are the columns of the CSV. NULL: no memory. */
static json_t *row_object(const struct bench_report *r, const struct bench_row *row)
{
    char test[40];
    test_name(row, test, sizeof test);
    const struct engine_info *const f = r->info;
    const struct field fields[] = {
        {"version", utf8_text(MOXIE_VERSION)},
        {"model_filename", utf8_text(f->path)},
        {"model_arch", utf8_text(f->arch)},
        {"model_type", utf8_text(f->type)},
        {"model_size", field_count(f->n_bytes)},
        {"model_n_params", field_count(f->n_param)},
        {"cpu_info", utf8_text(r->cpu)},
        {"backends", utf8_text("CPU")},
        {"cpu_level", utf8_text(f->cpu_level)},
        {"n_batch", field_count(r->n_batch)},
        {"n_threads", field_count(row->n_thread)},
        {"type_k", utf8_text(row->type_k)},
        {"type_v", utf8_text(row->type_v)},
        {"test", utf8_text(test)},
        {"n_prompt", field_count(row->n_prompt)},
        {"n_gen", field_count(row->n_gen)},
        {"n_depth", field_count(row->n_depth)},
        {"n_streams", field_count(row->n_stream)},
        {"avg_ts", json_real(row->avg_ts)},
        {"stddev_ts", json_real(row->stddev_ts)},
        {"samples_ts", samples(row)},
        {"prompt_ts", json_real(prompt_ts(row))},
        {"gen_ts", json_real(gen_ts(row))},
        {"bandwidth_gbs", json_real(row->bandwidth / 1e9)},
        {"bytes_per_token", json_real(row->bytes_per_token)},
        {"gen_bytes_per_token", json_real(row->gen_bytes_per_token)},
        {"kv_bytes_per_token", json_real(row->kv_bytes_per_token)},
        {"share_of_bandwidth", json_real(share_of_bandwidth(row))},
        {"int8_gmacs", json_real(row->int8_peak / 1e9)},
        {"macs_per_token", json_real(row->macs_per_token)},
        {"share_of_int8", json_real(share_of_int8(row))},
        {"context_bytes", field_count(row->context_bytes)},
        {"peak_rss_bytes", field_count(row->peak_rss_bytes)},
    };
    return fields_object(fields, sizeof fields / sizeof fields[0]);
}

/* A list of objects; NULL: no memory. */
static json_t *row_objects(const struct bench_report *r)
{
    json_t *const list = json_array();
    for (size_t i = 0; i < r->n_row; i++) {
        if (json_array_append_new(list, row_object(r, &r->row[i])) == 0) continue;
        json_decref(list);
        return NULL;
    }
    return list;
}

/* A string goes into quotes, doubled inside; a list becomes "1;2;3". */
static void print_csv_value(const json_t *value, FILE *out)
{
    if (json_is_integer(value)) {
        fprintf(out, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    } else if (json_is_real(value)) {
        fprintf(out, "%.10g", json_real_value(value));
    } else if (json_is_array(value)) {
        fputc('"', out);
        for (size_t i = 0; i < json_array_size(value); i++)
            fprintf(out, i ? ";%.10g" : "%.10g", json_real_value(json_array_get(value, i)));
        fputc('"', out);
    } else {
        fputc('"', out);
        for (const char *s = json_string_value(value); *s; s++)
            fprintf(out, *s == '"' ? "\"\"" : "%c", *s);
        fputc('"', out);
    }
}

static void print_csv(json_t *list, FILE *out)
{
    const char *key, *separator = "";
    json_t *value;
    json_object_foreach(json_array_get(list, 0), key, value)
    {
        fprintf(out, "%s%s", separator, key);
        separator = ",";
    }
    for (size_t i = 0; i < json_array_size(list); i++) {
        separator = "\n";
        json_object_foreach(json_array_get(list, i), key, value)
        {
            fputs(separator, out);
            print_csv_value(value, out);
            separator = ",";
        }
    }
    fputc('\n', out);
}

enum err bench_print(const struct bench_report *r, const char *format, FILE *out)
{
    assert(r);
    assert(r->n_row > 0);
    if (strcmp(format, "md") == 0) {
        print_md(r, out);
        return OK;
    }
    json_t *const list = row_objects(r);
    if (!list || strcmp(format, "json") == 0) return fields_print(list, out);
    print_csv(list, out);
    json_decref(list);
    return OK;
}
