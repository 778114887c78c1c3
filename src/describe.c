/*
 * describe.c: the description of a model file that `inspect` prints: as text for people, as JSON
 * for programs.
 *
 * The JSON is fixed by CLI.md: arrays of more than ITEMS_MAX items are cut to {"type", "n",
 * "first"}; numbers that JSON cannot hold (NaN, infinities, integers beyond 2^63) become strings;
 * bytes that are not UTF-8 become U+FFFD. Nothing here needs a known architecture or a tokenizer.
 */
#include "base/mem.h"
#include "base/ui.h"
#include "engine.h"
#include "engine_impl.h"
#include "text/utf8.h"

#include <assert.h>
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <string.h>

#define ITEMS_MAX 16      /* CLI.md */
#define TEXT_BYTES_MAX 80 /* of a name or a string in the text form: a line stays readable */

/* Item i as text; floats so that they read back exactly. */
static void number_text(const struct gguf_kv *kv, uint64_t i, char *buf, size_t n)
{
    if (kv->elem == GGUF_F32)
        snprintf(buf, n, "%.9g", gguf_arr_f64(kv, i));
    else if (kv->elem == GGUF_F64)
        snprintf(buf, n, "%.17g", gguf_arr_f64(kv, i));
    else if (kv->elem == GGUF_BOOL)
        snprintf(buf, n, "%s", gguf_arr_int(kv, i) ? "true" : "false");
    else if (kv->elem == GGUF_U64)
        snprintf(buf, n, "%" PRIu64, gguf_arr_bits(kv, i));
    else
        snprintf(buf, n, "%" PRId64, gguf_arr_int(kv, i));
}

static json_t *json_number(const struct gguf_kv *kv, uint64_t i)
{
    char text[32];
    number_text(kv, i, text, sizeof text);
    if (kv->elem == GGUF_BOOL) return json_boolean(gguf_arr_int(kv, i) != 0);
    if (kv->elem == GGUF_F32 || kv->elem == GGUF_F64) {
        const double d = gguf_arr_f64(kv, i);
        return isfinite(d) ? json_real(d) : json_string(text);
    }
    if (kv->elem == GGUF_U64 && gguf_arr_bits(kv, i) > INT64_MAX) return json_string(text);
    return json_integer((json_int_t)gguf_arr_int(kv, i));
}

/* Up to n items of an array as a JSON list. */
static json_t *json_items(const struct gguf_kv *kv, uint64_t n)
{
    json_t *list = json_array();
    uint64_t pos = 0;
    for (uint64_t i = 0; i < n; i++) {
        json_t *item;
        if (kv->elem == GGUF_STR) {
            const struct gguf_str s = gguf_arr_str_next(kv, &pos);
            item = utf8_json(s.s, s.n);
        } else {
            item = json_number(kv, i);
        }
        if (json_array_append_new(list, item)) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

static json_t *json_value(const struct gguf_kv *kv)
{
    if (kv->type == GGUF_STR) return utf8_json((const char *)kv->data, kv->n_bytes);
    if (kv->type != GGUF_ARR) return json_number(kv, 0);
    if (kv->n <= ITEMS_MAX) return json_items(kv, kv->n);
    return json_pack("{s:s, s:I, s:o}", "type", gguf_type_name(kv->elem), "n", (json_int_t)kv->n,
                     "first", json_items(kv, ITEMS_MAX));
}

static json_t *json_tensor(const struct gguf *g, uint64_t i)
{
    const struct tensor *t = gguf_tensor_at(g, i);
    json_t *shape = json_array();
    for (uint32_t d = 0; d < t->n_dims; d++)
        json_array_append_new(shape, json_integer((json_int_t)t->ne[d]));
    return json_pack("{s:o, s:s, s:o, s:I, s:I}", "name", utf8_json(t->name, strlen(t->name)),
                     "type", dtype_info(t->type)->name, "shape", shape, "offset",
                     (json_int_t)gguf_tensor_offset(g, i), "bytes", (json_int_t)tensor_bytes(t));
}

static json_t *json_file(const struct engine *e)
{
    const struct gguf *g = e->file;
    json_t *meta = json_object(), *tensors = json_array();
    int bad = !meta || !tensors;
    for (uint64_t i = 0; i < gguf_n_kv(g); i++) {
        const struct gguf_kv *kv = gguf_kv_at(g, i);
        json_t *key = utf8_json(kv->key.s, kv->key.n);
        bad |= !key || json_object_set_new_nocheck(meta, json_string_value(key), json_value(kv));
        json_decref(key);
    }
    for (uint64_t i = 0; i < gguf_n_tensor(g); i++)
        bad |= json_array_append_new(tensors, json_tensor(g, i));
    json_t *root = json_pack(
        "{s:s, s:i, s:o, s:o, s:o}", "format", "GGUF", "version", (int)gguf_version(g), "arch",
        utf8_json(e->info.arch, strlen(e->info.arch)), "metadata", meta, "tensors", tensors);
    if (!bad) return root;
    json_decref(root);
    return NULL;
}

static enum err describe_json(const struct engine *e, FILE *out)
{
    json_t *root = json_file(e);
    if (!root)
        return err_set(ERR_MEMORY, "%s: not enough memory for the description", e->info.path);
    const int rc = json_dumpf(root, out, JSON_COMPACT | JSON_ENSURE_ASCII);
    json_decref(root);
    if (rc == 0 && fputc('\n', out) != EOF) return OK;
    return err_set(ERR_RUN, "cannot write the description; is the disk full?");
}

/* ---- text ------------------------------------------------------------------------------------ */

/* Bytes of the file as they may go to a terminal: on one line, control characters tamed, long text
 * cut, at least `width` columns. */
static void put_text(const char *s, size_t n, int width, FILE *out)
{
    char text[TEXT_BYTES_MAX + 1] = "";
    const size_t n_show = n < TEXT_BYTES_MAX ? n : TEXT_BYTES_MAX;
    memcpy(text, s, n_show);
    ui_tame(text, n_show);
    for (char *p = text; *p; p++)
        if (*p == '\n' || *p == '\t') *p = '?';
    fprintf(out, "%-*s%s", width, text, n > TEXT_BYTES_MAX ? "..." : "");
}

static void put_value(const struct gguf_kv *kv, FILE *out)
{
    char text[32];
    if (kv->type == GGUF_STR) {
        fputc('"', out);
        put_text((const char *)kv->data, kv->n_bytes, 0, out);
        fprintf(out, kv->n_bytes > TEXT_BYTES_MAX ? "\" (%" PRIu64 " bytes)" : "\"", kv->n_bytes);
    } else if (kv->type == GGUF_ARR) {
        fprintf(out, "%" PRIu64 " x %s", kv->n, gguf_type_name(kv->elem));
    } else {
        number_text(kv, 0, text, sizeof text);
        fputs(text, out);
    }
    fputc('\n', out);
}

static void put_tensor(const struct gguf *g, uint64_t i, FILE *out)
{
    const struct tensor *t = gguf_tensor_at(g, i);
    char shape[96] = "";
    for (uint32_t d = 0; d < t->n_dims; d++) {
        const size_t n = strlen(shape);
        snprintf(shape + n, sizeof shape - n, "%s%" PRIu64, d ? " x " : "", t->ne[d]);
    }
    fputs("  ", out);
    put_text(t->name, strlen(t->name), 40, out);
    fprintf(out, " %-8s %-24s %12zu\n", dtype_info(t->type)->name, shape, tensor_bytes(t));
}

static void describe_text(const struct engine *e, FILE *out)
{
    const struct gguf *g = e->file;
    const struct engine_info *f = &e->info;
    fprintf(out, "file       %s\nformat     GGUF v%u\narch       ", f->path, gguf_version(g));
    put_text(f->arch, strlen(f->arch), 0, out);
    fputs("\nname       ", out);
    put_text(f->name, strlen(f->name), 0, out);
    fprintf(out, "\nsize       %.2f GB in file, %.2f GB of tensors, mostly %s\n",
            (double)gguf_file_bytes(g) / 1e9, (double)f->n_bytes / 1e9, f->type);
    fprintf(out, "parameters %.2f M\n\nkeys (%" PRIu64 ")\n", (double)f->n_param / 1e6,
            gguf_n_kv(g));
    for (uint64_t i = 0; i < gguf_n_kv(g); i++) {
        const struct gguf_kv *kv = gguf_kv_at(g, i);
        fputs("  ", out);
        put_text(kv->key.s, kv->key.n, 48, out);
        fputc(' ', out);
        put_value(kv, out);
    }
    fprintf(out, "\ntensors (%" PRIu64 ")\n", gguf_n_tensor(g));
    for (uint64_t i = 0; i < gguf_n_tensor(g); i++) put_tensor(g, i, out);
}

enum err engine_describe(const struct engine *e, bool json, FILE *out)
{
    assert(e);
    if (json) return describe_json(e, out);
    describe_text(e, out);
    return ferror(out) ? err_set(ERR_RUN, "cannot write the description; is the disk full?") : OK;
}
