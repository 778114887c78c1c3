/*
 * gguf.c: a model as one or several GGUF files: open, close, split parts, tensors by name.
 *
 * The parts of a split model ("m-00001-of-00003.gguf", as llama.cpp's gguf-split writes them) are
 * parsed one by one; the keys are those of the first, the tensors those of all. The names of the
 * parts follow from the name of the first, and each must say itself which part of how many it is.
 *
 * A mapped file that shrinks under us reads as zeros (base/os.h); gguf_open() asks at its end, so
 * what it has checked was really there.
 */
#include "gguf/gguf.h"

#include "base/mem.h"
#include "base/os.h"
#include "gguf/gguf_parse.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct part {
    char *path;
    struct os_map map; /* not mapped when the caller's memory is read */
    struct gguf_file file;
};

struct gguf {
    struct part *part; /* (n_part) */
    uint32_t n_part;
    uint64_t n_tensor;
    const struct gguf_entry **tensor;  /* (n_tensor), in file order */
    const struct gguf_entry **by_name; /* (n_tensor) */
};

#define SUFFIX_FORMAT "-%05" PRIu32 "-of-%05" PRIu32 ".gguf"
#define SUFFIX_BYTES 20 /* of "-00001-of-00003.gguf" */

static_assert(GGUF_SPLITS_MAX <= 99999, "part numbers have five digits");

/* ---- parts ----------------------------------------------------------------------------------- */

static enum err part_open(struct part *p, const char *path)
{
    p->path = mem_strdup(MEM_MODEL, path);
    if (!p->path) return ERR_MEMORY;
    const enum err err = os_map_file(&p->map, path);
    if (err) return err;
    return gguf_parse(&p->file, p->map.data, p->map.n_bytes, p->path);
}

static void part_close(struct part *p)
{
    gguf_file_fini(&p->file);
    os_unmap(&p->map);
    mem_free(p->path);
}

/* Length of the first part's name without "-00001-of-0000N.gguf"; it must be the first, and be
 * named so. */
static enum err split_stem(const struct gguf_file *f, uint32_t n_part, size_t *n_stem)
{
    uint32_t i_part = 0;
    const enum err err = gguf_file_u32(f, "split.no", GGUF_REQUIRED, 0, n_part - 1, &i_part);
    if (err) return err;
    char suffix[32]; /* room for numbers of any length, as the compiler cannot know the limits */
    char suffix_first[32];
    snprintf(suffix, sizeof suffix, SUFFIX_FORMAT, i_part + 1, n_part);
    snprintf(suffix_first, sizeof suffix_first, SUFFIX_FORMAT, (uint32_t)1, n_part);
    const size_t n_name = strlen(f->name);
    const bool named =
        n_name > SUFFIX_BYTES && strcmp(f->name + n_name - SUFFIX_BYTES, suffix) == 0;
    *n_stem = named ? n_name - SUFFIX_BYTES : 0;
    if (!named)
        return err_set(ERR_INPUT,
                       "%s: is part %" PRIu32 " of %" PRIu32 ", but its name does not end in '%s', "
                       "so the others cannot be found; give the parts their names back",
                       f->name, i_part + 1, n_part, suffix);
    if (i_part > 0)
        return err_set(ERR_INPUT,
                       "%s: is part %" PRIu32 " of %" PRIu32 "; open the first part, %.*s%s",
                       f->name, i_part + 1, n_part, (int)*n_stem, f->name, suffix_first);
    return OK;
}

/* The part itself, and its claim to be this part of this many. */
static enum err open_one(struct part *p, const char *path, uint32_t i_part, uint32_t n_part)
{
    uint32_t found = 0;
    enum err err = part_open(p, path);
    if (!err) err = gguf_file_u32(&p->file, "split.no", GGUF_REQUIRED, i_part, i_part, &found);
    if (!err) err = gguf_file_u32(&p->file, "split.count", GGUF_REQUIRED, n_part, n_part, &found);
    return err ? err_wrap(err, "part %" PRIu32 " of %" PRIu32, i_part + 1, n_part) : OK;
}

static enum err open_rest(struct gguf *g, uint32_t n_part)
{
    size_t n_stem = 0;
    enum err err = split_stem(&g->part[0].file, n_part, &n_stem);
    if (err) return err;
    const size_t n_path = n_stem + SUFFIX_BYTES + 1;
    char *path = mem_alloc(MEM_MODEL, n_path);
    struct part *parts = mem_realloc(MEM_MODEL, g->part, n_part * sizeof g->part[0]);
    if (parts) g->part = parts;
    if (!parts || !path) err = ERR_MEMORY;
    for (uint32_t i = 1; i < n_part && !err; i++) {
        snprintf(path, n_path, "%.*s" SUFFIX_FORMAT, (int)n_stem, g->part[0].path, i + 1, n_part);
        g->n_part++;
        err = open_one(&g->part[i], path, i, n_part);
    }
    mem_free(path);
    return err;
}

/* ---- all tensors ----------------------------------------------------------------------------- */

static int compare_name(const void *a, const void *b)
{
    const struct gguf_entry *const *x = a;
    const struct gguf_entry *const *y = b;
    return strcmp((*x)->name, (*y)->name);
}

static enum err check_duplicates(const struct gguf *g)
{
    for (uint64_t i = 1; i < g->n_tensor; i++) {
        const struct gguf_entry *a = g->by_name[i - 1];
        const struct gguf_entry *b = g->by_name[i];
        if (strcmp(a->name, b->name) != 0) continue;
        if (a->i_part == b->i_part)
            return err_set(ERR_INPUT,
                           "%s: tensor '%s' appears twice; the file is damaged, convert it again",
                           g->part[a->i_part].path, a->name);
        return err_set(ERR_INPUT,
                       "tensor '%s' is in %s and in %s; these parts are of different models",
                       a->name, g->part[a->i_part].path, g->part[b->i_part].path);
    }
    return OK;
}

/* Each part may say how many tensors the whole model has. */
static enum err check_total(const struct gguf *g)
{
    if (g->n_tensor > GGUF_TENSORS_MAX)
        return err_set(ERR_INPUT, "%s: the parts hold %" PRIu64 " tensors, expected at most %u",
                       gguf_path(g), g->n_tensor, GGUF_TENSORS_MAX);
    const uint32_t n = (uint32_t)g->n_tensor;
    for (uint32_t i = 0; i < g->n_part && g->n_part > 1; i++) {
        uint32_t found = 0;
        const enum err err =
            gguf_file_u32(&g->part[i].file, "split.tensors.count", GGUF_OPTIONAL, n, n, &found);
        if (err) return err;
    }
    return OK;
}

static enum err index_tensors(struct gguf *g)
{
    for (uint32_t i = 0; i < g->n_part; i++) g->n_tensor += g->part[i].file.n_entry;
    const enum err err = check_total(g);
    if (err) return err;
    g->tensor = mem_alloc_array(MEM_MODEL, (size_t)g->n_tensor, sizeof g->tensor[0]);
    g->by_name = mem_alloc_array(MEM_MODEL, (size_t)g->n_tensor, sizeof g->by_name[0]);
    if (!g->tensor || !g->by_name) return ERR_MEMORY;
    uint64_t n = 0;
    for (uint32_t i = 0; i < g->n_part; i++) {
        for (uint64_t j = 0; j < g->part[i].file.n_entry; j++) {
            struct gguf_entry *e = &g->part[i].file.entry[j];
            e->i_part = i;
            g->tensor[n] = e;
            g->by_name[n] = e;
            n++;
        }
    }
    assert(n == g->n_tensor);
    qsort(g->by_name, (size_t)n, sizeof g->by_name[0], compare_name);
    return check_duplicates(g);
}

/* ---- open and close -------------------------------------------------------------------------- */

static struct gguf *gguf_new(void)
{
    struct gguf *g = mem_alloc(MEM_MODEL, sizeof *g);
    if (!g) return NULL;
    g->part = mem_alloc(MEM_MODEL, sizeof g->part[0]);
    if (!g->part) {
        mem_free(g);
        return NULL;
    }
    g->n_part = 1;
    return g;
}

/* 0 and 1 are what merged and never split files say. */
static enum err read_n_part(const struct gguf *g, uint32_t *n_part)
{
    *n_part = 1;
    return gguf_file_u32(&g->part[0].file, "split.count", GGUF_OPTIONAL, 0, GGUF_SPLITS_MAX,
                         n_part);
}

enum err gguf_open(struct gguf **out, const char *path)
{
    assert(out);
    assert(path);
    *out = NULL;
    struct gguf *g = gguf_new();
    if (!g) return ERR_MEMORY;
    uint32_t n_part = 1;
    enum err err = part_open(&g->part[0], path);
    if (!err) err = read_n_part(g, &n_part);
    if (!err && n_part > 1) err = open_rest(g, n_part);
    if (!err) err = index_tensors(g);
    const enum err err_whole = gguf_whole(g);
    if (err_whole) err = err_whole; /* what else was found may be due to it */
    if (err) {
        gguf_close(g);
        return err;
    }
    *out = g;
    return OK;
}

enum err gguf_open_mem(struct gguf **out, const void *data, size_t n_bytes, const char *name)
{
    assert(out);
    assert(data || n_bytes == 0);
    assert(name);
    *out = NULL;
    struct gguf *g = gguf_new();
    if (!g) return ERR_MEMORY;
    uint32_t n_part = 1;
    enum err err = ERR_MEMORY;
    g->part[0].path = mem_strdup(MEM_MODEL, name);
    if (g->part[0].path) err = gguf_parse(&g->part[0].file, data, n_bytes, g->part[0].path);
    if (!err) err = read_n_part(g, &n_part);
    if (!err && n_part > 1)
        err =
            err_set(ERR_INPUT,
                    "%s: key 'split.count' is %" PRIu32 ", expected 1: a model in memory cannot be "
                    "in parts; merge them first",
                    name, n_part);
    if (!err) err = index_tensors(g);
    if (err) {
        gguf_close(g);
        return err;
    }
    *out = g;
    return OK;
}

void gguf_close(struct gguf *g)
{
    if (!g) return;
    mem_free(g->by_name);
    mem_free(g->tensor);
    for (uint32_t i = 0; i < g->n_part; i++) part_close(&g->part[i]);
    mem_free(g->part);
    mem_free(g);
}

/* ---- what is in it --------------------------------------------------------------------------- */

const struct gguf_file *gguf_first(const struct gguf *g)
{
    assert(g);
    return &g->part[0].file;
}

const char *gguf_path(const struct gguf *g)
{
    assert(g);
    return g->part[0].path;
}

uint32_t gguf_version(const struct gguf *g)
{
    return gguf_first(g)->version;
}

uint64_t gguf_file_bytes(const struct gguf *g)
{
    assert(g);
    uint64_t sum = 0;
    for (uint32_t i = 0; i < g->n_part; i++) sum += g->part[i].file.n_bytes;
    return sum;
}

bool gguf_broken(const struct gguf *g)
{
    assert(g);
    for (uint32_t i = 0; i < g->n_part; i++) {
        if (os_map_broken(&g->part[i].map)) return true;
    }
    return false;
}

enum err gguf_whole(const struct gguf *g)
{
    assert(g);
    enum err err = OK;
    for (uint32_t i = 0; err == OK && i < g->n_part; i++)
        err = os_map_whole(&g->part[i].map, g->part[i].path);
    return err;
}

/* The part that these bytes are in, all of them. Others are nobody's to ask for: that a tensor lies
 * within its part is checked when the part is parsed. */
static const struct part *part_of(const struct gguf *g, const void *at, size_t n_bytes,
                                  size_t *offset)
{
    uint32_t i = 0;
    size_t left = 0; /* from `at` to the end of the part */
    for (; i < g->n_part && left == 0; i++) {
        const struct gguf_file *const f = &g->part[i].file;
        *offset = (uintptr_t)at - (uintptr_t)f->data;
        if (*offset < f->n_bytes) left = f->n_bytes - *offset;
    }
    assert(left > 0);
    assert(n_bytes <= left);
    return &g->part[i - 1];
}

bool gguf_read(const struct gguf *g, const void *at, size_t n_bytes, void *buf)
{
    assert(g);
    size_t offset = 0;
    const struct part *const p = part_of(g, at, n_bytes, &offset);
    if (p->map.data) return os_map_read(&p->map, offset, n_bytes, buf);
    memcpy(buf, at, n_bytes);
    return true;
}

void gguf_ahead(const struct gguf *g, const void *at, size_t n_bytes)
{
    assert(g);
    size_t offset = 0;
    const struct part *const p = part_of(g, at, n_bytes, &offset);
    if (p->map.data) os_map_ahead(&p->map, offset, n_bytes);
}

double gguf_cached(const struct gguf *g)
{
    assert(g);
    double n_there = 0, n_all = 0;
    for (uint32_t i = 0; i < g->n_part; i++) {
        const struct part *const p = &g->part[i];
        n_there += (p->map.data ? os_map_cached(&p->map) : 1) * (double)p->file.n_bytes;
        n_all += (double)p->file.n_bytes;
    }
    return n_there / n_all;
}

void gguf_forget_all(const struct gguf *g)
{
    assert(g);
    for (uint32_t i = 0; i < g->n_part; i++)
        if (g->part[i].map.data) os_map_forget(&g->part[i].map, 0, g->part[i].map.n_bytes);
}

void gguf_forget(const struct gguf *g, const void *at, size_t n_bytes)
{
    assert(g);
    size_t offset = 0;
    const struct part *const p = part_of(g, at, n_bytes, &offset);
    if (p->map.data) os_map_forget(&p->map, offset, n_bytes);
}

bool gguf_own(const struct gguf *g, const void *at, size_t n_bytes)
{
    assert(g);
    size_t offset = 0;
    const struct part *const p = part_of(g, at, n_bytes, &offset);
    return !p->map.data || os_map_own(&p->map, offset, n_bytes);
}

uint64_t gguf_n_kv(const struct gguf *g)
{
    return gguf_first(g)->n_kv;
}

const struct gguf_kv *gguf_kv_at(const struct gguf *g, uint64_t i)
{
    assert(i < gguf_n_kv(g));
    return &gguf_first(g)->kv[i];
}

const struct gguf_kv *gguf_find(const struct gguf *g, const char *key)
{
    return gguf_file_find(gguf_first(g), key);
}

uint64_t gguf_n_tensor(const struct gguf *g)
{
    assert(g);
    return g->n_tensor;
}

const struct tensor *gguf_tensor_at(const struct gguf *g, uint64_t i)
{
    assert(i < gguf_n_tensor(g));
    return &g->tensor[i]->t;
}

uint64_t gguf_tensor_offset(const struct gguf *g, uint64_t i)
{
    assert(i < gguf_n_tensor(g));
    return g->tensor[i]->offset;
}

const struct tensor *gguf_tensor(const struct gguf *g, const char *name)
{
    assert(g);
    assert(name);
    uint64_t low = 0;
    uint64_t high = g->n_tensor;
    while (low < high) {
        const uint64_t mid = low + (high - low) / 2;
        const int order = strcmp(g->by_name[mid]->name, name);
        if (order == 0) return &g->by_name[mid]->t;
        if (order < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return NULL;
}
