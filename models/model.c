/*
 * model.c: a family's view of a GGUF file: keys with ranges, tensors with shapes.
 *
 * The only file of models/ that knows the container. Keys get the family's name in front and are
 * read by the checked readers of gguf.h. Tensors are views into the mapping; a shape that the
 * hyper-parameters do not justify is refused here, so everything behind may multiply sizes that
 * were checked once.
 *
 * Vectors (norms, biases, small tables) are handed out as float32. Nearly all files store them so
 * and aligned, then they are borrowed; others are converted once, by the reference kernels, and
 * kept.
 *
 * Refuses: unknown families, and weights of a type that no kernel computes.
 */
#include "models/model.h"

#include "base/mem.h"
#include "gguf/gguf.h"
#include "kern/kern.h"
#include "models/arch.h"
#include "models/hparams.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define KEY_BYTES_MAX 128     /* "<arch>.<name>" of the longest name that we read is about 50 */
#define NAMES_BYTES_MAX 512   /* of all families, for a message */
#define SHAPE_BYTES_MAX 96    /* four 64-bit numbers */
#define MESSAGE_BYTES_MAX 256 /* the part of a message that a family writes */
#define SHOWN_BYTES_MAX 64    /* of a string that a file has in place of a known one */

/* Bytes of a file's string that a message shows. */
static int shown(struct gguf_str s)
{
    return s.n > SHOWN_BYTES_MAX ? SHOWN_BYTES_MAX : (int)s.n;
}

struct model_copy {
    const struct tensor *of;
    float *data;
};

/* ---- open, build, close ---------------------------------------------------------------------- */

static void find_arch(struct model *m)
{
    struct gguf_str name;
    m->err = gguf_get_str(m->file, "general.architecture", GGUF_REQUIRED, &name);
    if (m->err) return;
    m->arch = arch_find(name.s, name.n);
    if (m->arch) return;
    char names[NAMES_BYTES_MAX];
    arch_names(names, sizeof names);
    m->err = err_set(ERR_INPUT,
                     "%s: key 'general.architecture' is '%.*s', which moxie cannot run; it runs %s",
                     gguf_path(m->file), shown(name), name.s, names);
}

static void find_vocab(struct model *m, uint32_t n_vocab)
{
    m->hp.n_vocab = n_vocab;
    if (n_vocab) return;
    const struct tensor *t = gguf_tensor(m->file, "token_embd.weight");
    if (!t) {
        m->err =
            err_set(ERR_INPUT, "%s: tensor 'token_embd.weight' is missing", gguf_path(m->file));
    } else if (t->ne[1] > VOCAB_MAX) {
        m->err = err_set(ERR_INPUT,
                         "%s: tensor 'token_embd.weight' has %" PRIu64 " rows, expected at most %u",
                         gguf_path(m->file), t->ne[1], VOCAB_MAX);
    } else {
        m->hp.n_vocab = (uint32_t)t->ne[1];
    }
}

/* All hyper-parameters, stage by stage: each builds on the ones before. */
static enum err read_all(struct model *m, uint32_t n_vocab)
{
    find_arch(m);
    if (!m->err) find_vocab(m, n_vocab);
    if (!m->err) hparams_read(m);
    if (!m->err && m->arch->read) m->arch->read(m);
    if (!m->err) decoder_check(m);
    return m->err;
}

enum err model_open(struct model **out, const struct gguf *file, uint32_t n_vocab)
{
    assert(out);
    assert(file);
    assert(n_vocab <= VOCAB_MAX);
    *out = NULL;
    struct model *m = mem_alloc(MEM_MODEL, sizeof *m);
    if (!m) return ERR_MEMORY;
    m->file = file;
    const enum err err = read_all(m, n_vocab);
    if (err)
        model_close(m);
    else
        *out = m;
    return err;
}

void model_close(struct model *m)
{
    if (!m) return;
    for (uint32_t i = 0; i < m->n_copy; i++) mem_free(m->copy[i].data);
    mem_free(m->copy);
    mem_free(m->own);
    mem_free(m);
}

enum err model_build(struct model *m, uint32_t n_ctx, struct graph **out)
{
    assert(m);
    assert(n_ctx >= 1);
    *out = NULL;
    struct graph *g = NULL;
    enum err err = graph_new(&g, m->hp.n_layer);
    if (err) goto fail;
    m->n_ctx = n_ctx;
    const struct gval logits = decoder_build(m, g);
    err = graph_finish(g, logits);
    if (err) goto fail;
    *out = g;
    return OK;
fail:
    graph_free(g);
    return err;
}

/* ---- keys ------------------------------------------------------------------------------------ */

struct key {
    char text[KEY_BYTES_MAX];
};

static struct key key_of(const struct model *m, const char *name)
{
    struct key k;
    const int n = snprintf(k.text, sizeof k.text, "%s.%s", m->arch->name, name);
    assert(n > 0);
    assert((size_t)n < sizeof k.text);
    return k;
}

static enum gguf_need need_of(enum model_need need)
{
    return need == KEY_REQUIRED ? GGUF_REQUIRED : GGUF_OPTIONAL;
}

void model_u32(struct model *m, const char *name, enum model_need need, uint32_t min, uint32_t max,
               uint32_t *out)
{
    const struct key k = key_of(m, name);
    if (!m->err) m->err = gguf_u32(m->file, k.text, need_of(need), min, max, out);
}

void model_f32(struct model *m, const char *name, enum model_need need, float min, float max,
               float *out)
{
    const struct key k = key_of(m, name);
    if (!m->err) m->err = gguf_f32(m->file, k.text, need_of(need), min, max, out);
}

void model_bool(struct model *m, const char *name, enum model_need need, bool *out)
{
    const struct key k = key_of(m, name);
    if (!m->err) m->err = gguf_bool(m->file, k.text, need_of(need), out);
}

void model_u32_each(struct model *m, const char *name, enum model_need need, uint32_t min,
                    uint32_t max, uint32_t *out, size_t n)
{
    const struct key k = key_of(m, name);
    if (!m->err) m->err = gguf_u32_each(m->file, k.text, need_of(need), min, max, out, n);
}

void model_choice(struct model *m, const char *name, const char *const *values, uint32_t *out)
{
    const struct key k = key_of(m, name);
    struct gguf_str s = {0};
    if (!m->err) m->err = gguf_get_str(m->file, k.text, GGUF_OPTIONAL, &s);
    if (m->err || !s.s) return;
    char known[NAMES_BYTES_MAX] = "";
    for (uint32_t i = 0; values[i]; i++) {
        if (strlen(values[i]) == s.n && memcmp(values[i], s.s, s.n) == 0) {
            *out = i;
            return;
        }
        const size_t used = strlen(known);
        (void)snprintf(known + used, sizeof known - used, "%s%s", i ? ", " : "", values[i]);
    }
    m->err = err_set(ERR_INPUT, "%s: key '%s' is '%.*s', expected one of %s", gguf_path(m->file),
                     k.text, shown(s), s.s, known);
}

bool model_has_key(const struct model *m, const char *name)
{
    const struct key k = key_of(m, name);
    return gguf_find(m->file, k.text) != NULL;
}

bool model_key_is_array(const struct model *m, const char *name)
{
    const struct key k = key_of(m, name);
    const struct gguf_kv *kv = gguf_find(m->file, k.text);
    return kv && kv->type == GGUF_ARR;
}

void model_refuse(struct model *m, const char *name, uint64_t found, const char *expected, ...)
{
    if (m->err) return;
    const struct key k = key_of(m, name);
    char text[MESSAGE_BYTES_MAX], is[32] = "missing";
    if (model_has_key(m, name)) (void)snprintf(is, sizeof is, "%" PRIu64, found);
    va_list args;
    va_start(args, expected);
    (void)vsnprintf(text, sizeof text, expected, args);
    va_end(args);
    m->err =
        err_set(ERR_INPUT, "%s: key '%s' is %s, expected %s", gguf_path(m->file), k.text, is, text);
}

void *model_own(struct model *m, size_t n_bytes)
{
    assert(!m->own);
    m->own = mem_alloc(MEM_MODEL, n_bytes);
    if (!m->own) m->err = ERR_MEMORY;
    return m->own;
}

/* ---- tensors --------------------------------------------------------------------------------- */

struct tname {
    char text[TENSOR_NAME_BYTES_MAX + 1];
};

static struct tname name_of(uint32_t il, const char *name, const char *suffix)
{
    struct tname t;
    const int n = il == GLAYER_NONE
                      ? snprintf(t.text, sizeof t.text, "%s%s", name, suffix)
                      : snprintf(t.text, sizeof t.text, "blk.%u.%s%s", il, name, suffix);
    assert(n > 0);
    assert((size_t)n < sizeof t.text);
    return t;
}

struct shape {
    char text[SHAPE_BYTES_MAX];
};

static struct shape shape_text(const uint64_t *ne, uint32_t n_dims)
{
    struct shape s = {"{"};
    for (uint32_t i = 0; i < n_dims; i++) {
        const size_t used = strlen(s.text);
        (void)snprintf(s.text + used, sizeof s.text - used, "%s%" PRIu64, i ? ", " : "", ne[i]);
    }
    const size_t used = strlen(s.text);
    (void)snprintf(s.text + used, sizeof s.text - used, "}");
    return s;
}

/* The expected shape with its trailing ones left out, as files write it. */
static struct shape expected_text(const uint64_t want[3])
{
    return shape_text(want, want[2] > 1 ? 3 : want[1] > 1 ? 2 : 1);
}

static void fail_missing(const struct model *m, struct graph *g, const char *name,
                         const uint64_t want[3])
{
    const struct shape s = expected_text(want);
    g_fail(g, err_set(ERR_INPUT, "%s: tensor '%s' is missing, expected with shape %s",
                      gguf_path(m->file), name, s.text));
}

static void fail_shape(const struct model *m, struct graph *g, const struct tensor *t,
                       const uint64_t want[3])
{
    const struct shape found = shape_text(t->ne, t->n_dims);
    const struct shape s = expected_text(want);
    g_fail(g, err_set(ERR_INPUT, "%s: tensor '%s' has shape %s, expected %s", gguf_path(m->file),
                      t->name, found.text, s.text));
}

static bool type_works(const struct model *m, struct graph *g, const struct tensor *t)
{
    const struct dtype_info *info = dtype_info(t->type);
    if (info && info->computable) return true;
    g_fail(g,
           err_set(ERR_INPUT,
                   "%s: tensor '%s' has type %s, which moxie cannot compute; types that work: %s",
                   gguf_path(m->file), t->name, info ? info->name : "unknown",
                   dtype_computable_names()));
    return false;
}

void model_refuse_tensor(const struct model *m, struct graph *g, uint32_t il, const char *name,
                         const char *what, ...)
{
    if (g->err) return;
    const struct tname n = name_of(il, name, "");
    char text[MESSAGE_BYTES_MAX];
    va_list args;
    va_start(args, what);
    (void)vsnprintf(text, sizeof text, what, args);
    va_end(args);
    g_fail(g, err_set(ERR_INPUT, "%s: tensor '%s' %s", gguf_path(m->file), n.text, text));
}

bool model_has(const struct model *m, uint32_t il, const char *name)
{
    const struct tname n = name_of(il, name, "");
    return gguf_tensor(m->file, n.text) != NULL;
}

const struct tensor *model_weight(const struct model *m, struct graph *g, uint32_t il,
                                  const char *name, uint64_t n_in, uint64_t n_out, uint64_t n_plane)
{
    if (g->err) return NULL;
    const struct tname n = name_of(il, name, ".weight");
    const uint64_t want[3] = {n_in, n_out, n_plane};
    const struct tensor *t = gguf_tensor(m->file, n.text);
    if (!t) {
        fail_missing(m, g, n.text, want);
        return NULL;
    }
    if (t->ne[0] != n_in || t->ne[1] != n_out || t->ne[2] != n_plane || t->ne[3] != 1) {
        fail_shape(m, g, t, want);
        return NULL;
    }
    return type_works(m, g, t) ? t : NULL;
}

/* The tensor as float32: in the file, among the copies, or a new copy. */
static const float *as_f32(struct model *m, struct graph *g, const struct tensor *t, uint64_t n)
{
    if (t->type == DT_F32 && (uintptr_t)t->data % sizeof(float) == 0) return t->data;
    for (uint32_t i = 0; i < m->n_copy; i++) {
        if (m->copy[i].of == t) return m->copy[i].data;
    }
    if (m->n_copy == m->cap_copy) {
        const uint32_t cap = m->cap_copy ? m->cap_copy * 2 : 64;
        struct model_copy *grown = mem_realloc(MEM_MODEL, m->copy, cap * sizeof *grown);
        if (!grown) goto fail;
        m->copy = grown;
        m->cap_copy = cap;
    }
    float *data = mem_alloc_array(MEM_MODEL, n, sizeof *data);
    if (!data) goto fail;
    struct kern k;
    kern_init(&k, 0);
    const size_t n_row = t->ne[0];
    for (uint64_t row = 0; row * n_row < n; row++) {
        k.to_f32[t->type]((const char *)t->data + row * t->row_bytes, data + row * n_row, n_row);
    }
    m->copy[m->n_copy++] = (struct model_copy){.of = t, .data = data};
    return data;
fail:
    g_fail(g, ERR_MEMORY);
    return NULL;
}

/* A vector that is not finite does not always show in the logits: one that only moves a choice of
 * experts makes the choice wrong. */
static const float *check_finite(const struct model *m, struct graph *g, const struct tensor *t,
                                 const float *v, uint64_t n)
{
    for (uint64_t i = 0; v && i < n; i++) {
        if (isfinite(v[i])) continue;
        g_fail(g, err_set(ERR_INPUT,
                          "%s: item %" PRIu64 " of tensor '%s' is not a finite number: the file is "
                          "damaged; fetch it again",
                          gguf_path(m->file), i, t->name));
        return NULL;
    }
    return v;
}

const float *model_vec_opt(struct model *m, struct graph *g, uint32_t il, const char *name,
                           uint64_t n)
{
    if (g->err) return NULL;
    const struct tname full = name_of(il, name, "");
    const struct tensor *t = gguf_tensor(m->file, full.text);
    if (!t) return NULL;
    /* No product of ne wraps: gguf.h has compared each tensor's size with the file's. */
    if (t->ne[0] * t->ne[1] * t->ne[2] * t->ne[3] != n) {
        fail_shape(m, g, t, (const uint64_t[3]){n, 1, 1});
        return NULL;
    }
    return type_works(m, g, t) ? check_finite(m, g, t, as_f32(m, g, t, n), n) : NULL;
}

const float *model_vec(struct model *m, struct graph *g, uint32_t il, const char *name, uint64_t n)
{
    const float *v = model_vec_opt(m, g, il, name, n);
    if (!v && !g->err) fail_missing(m, g, name_of(il, name, "").text, (const uint64_t[3]){n, 1, 1});
    return v;
}

const float *model_table(struct model *m, struct graph *g, uint32_t il, const char *name,
                         uint64_t n_col, uint64_t n_row)
{
    if (g->err) return NULL;
    const struct tname full = name_of(il, name, "");
    const uint64_t want[3] = {n_col, n_row, 1};
    const struct tensor *t = gguf_tensor(m->file, full.text);
    if (!t)
        fail_missing(m, g, full.text, want);
    else if (t->ne[0] != n_col || t->ne[1] != n_row || t->ne[2] != 1 || t->ne[3] != 1)
        fail_shape(m, g, t, want);
    else if (type_works(m, g, t))
        return as_f32(m, g, t, n_col * n_row);
    return NULL;
}
