/*
 * bench_print.c: the table of `bench` as Markdown, CSV and JSON.
 *
 * CSV and JSON come from one list of fields, named as llama-bench names them where it has them; the
 * Markdown table shows what fits a terminal.
 */
#include "cmd/bench.h"

#include "base/ui.h"
#include "version.h"

#include <assert.h>
#include <inttypes.h>
#include <jansson.h>
#include <string.h>

static double share_of_bandwidth(const struct bench_row *row)
{
    return row->bandwidth > 0 ? row->bytes_per_token * row->avg_ts / row->bandwidth : 0;
}

/* "pp512", "tg128 @ d4096" */
static void test_name(const struct bench_row *row, char *buf, size_t n_bytes)
{
    const size_t n = (size_t)snprintf(buf, n_bytes, row->n_gen ? "tg%" PRIu32 : "pp%" PRIu32,
                                      row->n_gen ? row->n_gen : row->n_prompt);
    assert(n < n_bytes);
    if (row->n_depth) snprintf(buf + n, n_bytes - n, " @ d%" PRIu32, row->n_depth);
}

static void print_md(const struct bench_report *r, FILE *out)
{
    char size[UI_SIZE_BYTES_MAX], test[40], speed[40], name[64];
    snprintf(name, sizeof name, "%s", r->info->name[0] ? r->info->name : r->info->path);
    ui_tame(name, strlen(name)); /* it comes from a file */
    fprintf(out, "moxie %s, %s, %s %s, %s, %.2f M parameters, %s\n\n", MOXIE_VERSION, name,
            r->info->arch, r->info->type, ui_size(size, r->info->n_bytes),
            (double)r->info->n_param / 1e6, r->info->cpu_level);
    fputs("| threads | test             |              t/s | MB/token | ceiling GB/s |  share | "
          "peak memory |\n"
          "|--------:|------------------|-----------------:|---------:|-------------:|-------:|----"
          "--------:|\n",
          out);
    for (size_t i = 0; i < r->n_row; i++) {
        const struct bench_row *const row = &r->row[i];
        test_name(row, test, sizeof test);
        snprintf(speed, sizeof speed, "%.2f ± %.2f", row->avg_ts, row->stddev_ts);
        /* ± is two bytes in one column */
        fprintf(out, "| %7" PRIu32 " | %-16s | %17s | %8.2f | %12.2f | %4.1f %% | %11s |\n",
                row->n_thread, test, speed, row->bytes_per_token / 1e6, row->bandwidth / 1e9,
                share_of_bandwidth(row) * 100, ui_size(size, row->peak_rss_bytes));
    }
}

/* ---- CSV and JSON ---------------------------------------------------------------------------- */

/* Paths need not be UTF-8, JSON must be. */
static json_t *text(const char *s)
{
    json_t *const j = json_string(s);
    return j ? j : json_string("?");
}

static json_t *integer(uint64_t v)
{
    return json_integer((json_int_t)v);
}

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
    const struct {
        const char *name;
        json_t *value;
    } fields[] = {
        {"version", text(MOXIE_VERSION)},
        {"model_filename", text(f->path)},
        {"model_arch", text(f->arch)},
        {"model_type", text(f->type)},
        {"model_size", integer(f->n_bytes)},
        {"model_n_params", integer(f->n_param)},
        {"cpu", text(f->cpu_level)},
        {"n_batch", integer(r->n_batch)},
        {"n_threads", integer(row->n_thread)},
        {"type_k", text(r->type_k)},
        {"type_v", text(r->type_v)},
        {"test", text(test)},
        {"n_prompt", integer(row->n_prompt)},
        {"n_gen", integer(row->n_gen)},
        {"n_depth", integer(row->n_depth)},
        {"avg_ts", json_real(row->avg_ts)},
        {"stddev_ts", json_real(row->stddev_ts)},
        {"samples_ts", samples(row)},
        {"bandwidth_gbs", json_real(row->bandwidth / 1e9)},
        {"bytes_per_token", json_real(row->bytes_per_token)},
        {"share_of_bandwidth", json_real(share_of_bandwidth(row))},
        {"peak_rss_bytes", integer(row->peak_rss_bytes)},
    };
    json_t *const object = json_object();
    int bad = !object;
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++)
        bad |= json_object_set_new(object, fields[i].name, fields[i].value) != 0;
    if (!bad) return object;
    json_decref(object);
    return NULL;
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
    if (!list) return err_set(ERR_MEMORY, "not enough memory for the report");
    if (strcmp(format, "csv") == 0) {
        print_csv(list, out);
    } else {
        json_dumpf(list, out, JSON_INDENT(2) | JSON_REAL_PRECISION(10));
        fputc('\n', out);
    }
    json_decref(list);
    return OK;
}
