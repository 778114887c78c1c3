/*
 * weights.c: packs matrices from the model's file into one block of memory with huge pages.
 *
 * The work is one long list of strips, in the order of the file: some rows of one plane of one
 * matrix, whole tiles but for the plane's last rows. A strip is read into a buffer that stays in
 * the second-level cache and packed from there to its place. It is read, not touched in the
 * mapping: that costs the same, and no page of the file becomes resident, so memory never holds a
 * matrix twice. Strips are taken in pieces, one loop over the pool each; between pieces somebody
 * may look at the progress, stop the work, or learn that the file was cut off.
 *
 * Where packing begins after a step that used the mapping, pages that were read there are given
 * back, those of each piece once it is packed. Small tensors that are not packed are copied, for
 * they lie between matrices (own_small).
 *
 * Places lie one after the other, each plane at a multiple of MEM_ALIGN.
 */
#include "offload/weights.h"

#include "base/mem.h"
#include "base/os.h"
#include "kern/pack.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>

/* A strip and what it becomes fit the second-level cache of a core; 64, 128 and 256 KiB are within
 * 3 % where that has 1 MiB. */
#define STRIP_BYTES ((size_t)128 << 10)
/* A task fills about one huge page, so that two threads seldom ask for the same one: both would
 * clear it, and one in vain. */
#define TASK_STRIPS (MEM_HUGE_BYTES / STRIP_BYTES)
/* About 64 MiB, 10 to 20 ms of work from the page cache. The disk is asked for as much ahead. */
#define PIECE_STRIPS (32 * TASK_STRIPS)
/* Tensors that are not packed become memory of our own if they are no larger than what a look at
 * them may bring in, norms and routers; of all of them so much, which is within what the engine
 * leaves free, and so many, each of which may take two of the kernel's 65530 mappings. The others
 * stay mapped. */
#define OWN_BYTES_MAX ((uint64_t)2 << 20)
#define OWN_BYTES_ALL ((uint64_t)96 << 20)
#define OWN_TENSORS_MAX 8192

struct view {
    struct tensor rows; /* as the operations of a new graph have it */
    size_t at;          /* bytes into the arena */
    size_t plane_bytes; /* there */
    uint64_t first;     /* of its strips */
    uint64_t n_strip;   /* of each plane */
    uint64_t n_row;     /* of each strip but a plane's last */
};

struct weights {
    struct view *view; /* (n_view), by compare() */
    size_t n_view;
    uint64_t n_strip;
    size_t n_bytes, buf_bytes; /* of the arena, of the largest strip */
    uint8_t *arena;            /* NULL until packing begins */
    uint8_t *buf;              /* while it goes on: buf_bytes for each thread */
    uint64_t n_done;           /* strips that are packed */
};

/* ---- which matrices -------------------------------------------------------------------------- */

/* The matrices of an operation that could be packed; how many. */
static uint32_t matrices(struct gop *op, struct tensor *w[GOP_OUT_MAX])
{
    static_assert(GOP_OUT_MAX >= 3, "a mixture of experts has three");
    uint32_t n = 0;
    switch (op->kind) {
    case GOP_EMBED:
    case GOP_MUL_HEADS:
        w[n++] = &op->w[0];
        break;
    case GOP_MUL:
        for (; n < op->n_out; n++) w[n] = &op->w[n];
        break;
    case GOP_MOE:
        w[n++] = &op->u.moe.gate;
        w[n++] = &op->u.moe.up;
        w[n++] = &op->u.moe.down;
        break;
    default:
        break;
    }
    return n;
}

/* How it reads them. */
enum reads { READS_TILES, READS_BOTH, READS_ROWS };

static enum reads how(const struct gop *op)
{
    if (op->kind == GOP_EMBED) return READS_BOTH;
    return op->kind == GOP_MUL_HEADS && op->u.heads.transposed ? READS_ROWS : READS_TILES;
}

static bool is_packable(const struct tensor *t)
{
    assert(t->data);
    assert(!t->is_packed);
    return pack_can(t->type) && t->ne[3] == 1 && t->row_bytes == dtype_row_bytes(t->type, t->ne[0]);
}

static int by_number(uint64_t a, uint64_t b)
{
    return (a > b) - (a < b);
}

/* In the order of the file; the same only if all is. */
static int compare(const void *a, const void *b)
{
    const struct tensor *const s = &((const struct view *)a)->rows;
    const struct tensor *const t = &((const struct view *)b)->rows;
    int c = by_number((uintptr_t)s->data, (uintptr_t)t->data);
    for (int i = 0; i < 4 && c == 0; i++) c = by_number(s->ne[i], t->ne[i]);
    if (c == 0) c = by_number(s->row_bytes, t->row_bytes);
    if (c == 0) c = by_number(s->plane_bytes, t->plane_bytes);
    return c ? c : by_number(s->type, t->type);
}

static struct view *find(const struct weights *w, const struct tensor *t)
{
    const struct view like = {.rows = *t};
    return w->n_view ? bsearch(&like, w->view, w->n_view, sizeof like, compare) : NULL;
}

/* Calls fn for every matrix that the operations of g read in this way. */
static void each(struct weights *w, struct graph *g, enum reads reads,
                 void (*fn)(struct weights *w, const struct tensor *t))
{
    for (uint32_t i = 0; i < g->n_op; i++) {
        struct tensor *t[GOP_OUT_MAX];
        const uint32_t n = matrices(&g->op[i], t);
        for (uint32_t j = 0; j < n && how(&g->op[i]) == reads; j++)
            if (is_packable(t[j])) fn(w, t[j]);
    }
}

static void count(struct weights *w, const struct tensor *t)
{
    (void)t;
    w->n_view++;
}

static void add(struct weights *w, const struct tensor *t)
{
    w->view[w->n_view++].rows = *t;
}

static void drop(struct weights *w, const struct tensor *t)
{
    struct view *const v = find(w, t);
    if (!v) return;
    const size_t n_behind = (size_t)(w->view + w->n_view - (v + 1));
    for (size_t i = 0; i < n_behind; i++) v[i] = v[i + 1];
    w->n_view--;
}

static void sort(struct weights *w)
{
    size_t n = 0;
    qsort(w->view, w->n_view, sizeof *w->view, compare);
    for (size_t i = 0; i < w->n_view; i++) {
        if (n && compare(&w->view[n - 1], &w->view[i]) == 0) continue;
        w->view[n++] = w->view[i];
    }
    w->n_view = n;
}

/* ---- places and strips ----------------------------------------------------------------------- */

static size_t aligned(size_t n_bytes)
{
    return (n_bytes + MEM_ALIGN - 1) / MEM_ALIGN * MEM_ALIGN;
}

/* No sum can wrap: the bytes are in a mapping. */
static void lay_out(struct weights *w)
{
    for (size_t i = 0; i < w->n_view; i++) {
        struct view *const v = &w->view[i];
        const size_t tile_bytes = PACK_ROWS * v->rows.row_bytes;
        const size_t n_tile = STRIP_BYTES / tile_bytes;
        v->at = w->n_bytes;
        v->plane_bytes = aligned(v->rows.ne[1] * v->rows.row_bytes);
        v->n_row = PACK_ROWS * (n_tile ? n_tile : 1);
        v->n_strip = (v->rows.ne[1] + v->n_row - 1) / v->n_row;
        v->first = w->n_strip;
        w->n_strip += v->n_strip * v->rows.ne[2];
        w->n_bytes += v->plane_bytes * v->rows.ne[2];
        const size_t strip_bytes = v->n_row * v->rows.row_bytes;
        if (strip_bytes > w->buf_bytes) w->buf_bytes = strip_bytes;
    }
}

struct strip {
    const struct view *view;
    const uint8_t *rows; /* in the file's mapping; not to be touched */
    size_t n_row;
    size_t at; /* of the packed rows, in the arena */
};

static struct strip strip_at(const struct weights *w, uint64_t i)
{
    size_t lo = 0, hi = w->n_view; /* view[lo] begins at or before it, view[hi] behind it */
    assert(i < w->n_strip);
    while (hi - lo > 1) {
        const size_t mid = lo + (hi - lo) / 2;
        if (w->view[mid].first <= i)
            lo = mid;
        else
            hi = mid;
    }
    const struct view *const v = &w->view[lo];
    const uint64_t plane = (i - v->first) / v->n_strip;
    const uint64_t row = (i - v->first) % v->n_strip * v->n_row;
    const uint64_t left = v->rows.ne[1] - row;
    return (struct strip){
        .view = v,
        .rows =
            (const uint8_t *)v->rows.data + plane * v->rows.plane_bytes + row * v->rows.row_bytes,
        .n_row = left < v->n_row ? left : v->n_row,
        .at = v->at + plane * v->plane_bytes + row * v->rows.row_bytes,
    };
}

/* ---- packing --------------------------------------------------------------------------------- */

struct piece {
    const struct weights *w;
    const struct gguf *file;
    uint64_t begin, end;   /* strips */
    atomic_bool is_broken; /* the file could not be read */
};

static void pack_task(void *ctx, uint32_t i_task, uint32_t i_thread)
{
    struct piece *const p = ctx;
    uint8_t *const buf = p->w->buf + i_thread * p->w->buf_bytes;
    const uint64_t begin = p->begin + i_task * TASK_STRIPS;
    for (uint64_t i = begin; i < begin + TASK_STRIPS && i < p->end; i++) {
        const struct strip s = strip_at(p->w, i);
        const struct tensor *const t = &s.view->rows;
        if (i + PIECE_STRIPS < p->w->n_strip) {
            const struct strip next = strip_at(p->w, i + PIECE_STRIPS);
            gguf_ahead(p->file, next.rows, next.n_row * next.view->rows.row_bytes);
        }
        if (gguf_read(p->file, s.rows, s.n_row * t->row_bytes, buf))
            pack_rows(t->type, buf, t->row_bytes, s.n_row, t->ne[0], p->w->arena + s.at);
        else
            atomic_store(&p->is_broken, true);
    }
}

/* Bytes of the arena before a strip. */
static size_t bytes_before(const struct weights *w, uint64_t i)
{
    return i < w->n_strip ? strip_at(w, i).at : w->n_bytes;
}

/* The strip behind its last one. */
static uint64_t end_of(const struct view *v)
{
    return v->first + v->n_strip * v->rows.ne[2];
}

/* Where about n_bytes more are packed and no view is cut: what is packed of one would become
 * resident twice by the steps that still read its rows. */
static uint64_t part_end(const struct weights *w, uint64_t n_bytes)
{
    assert(w->n_done < w->n_strip);
    const uint64_t until = bytes_before(w, w->n_done) + n_bytes;
    for (size_t i = 0; i + 1 < w->n_view; i++)
        if (w->view[i + 1].first > w->n_done && w->view[i + 1].at >= until)
            return w->view[i + 1].first;
    return w->n_strip;
}

/* What was looked at of these strips need not stay in memory. */
static void forget_strips(const struct weights *w, const struct gguf *file, uint64_t begin,
                          uint64_t end)
{
    assert(end <= w->n_strip);
    while (begin < end) { /* those of one matrix at a time */
        const struct strip first = strip_at(w, begin);
        const uint64_t behind = end_of(first.view);
        const struct strip last = strip_at(w, (behind < end ? behind : end) - 1);
        gguf_forget(file, first.rows,
                    (size_t)(last.rows - first.rows) + last.n_row * last.view->rows.row_bytes);
        begin = behind;
    }
}

static enum err pack_pieces(struct weights *w, const struct weights_from *from)
{
    const uint64_t end = from->n_bytes_more ? part_end(w, from->n_bytes_more) : w->n_strip;
    while (w->n_done < end) {
        struct piece p = {.w = w, .file = from->file, .begin = w->n_done};
        p.end = end - p.begin < PIECE_STRIPS ? end : p.begin + PIECE_STRIPS;
        pool_run(from->pool, pack_task, &p,
                 (uint32_t)((p.end - p.begin + TASK_STRIPS - 1) / TASK_STRIPS));
        if (atomic_load(&p.is_broken)) return gguf_whole(from->file);
        forget_strips(w, from->file, p.begin, p.end);
        w->n_done = p.end;
        if (os_interrupted()) return err_set(ERR_INTR, "interrupted");
        if (from->on_progress)
            from->on_progress(from->ctx, bytes_before(w, w->n_done), w->n_bytes);
    }
    return OK;
}

/* Some of its rows are to be packed. */
static bool is_in_view(const struct weights *w, const struct tensor *t)
{
    const uintptr_t begin = (uintptr_t)t->data, end = begin + tensor_bytes(t);
    size_t lo = 0, hi = w->n_view; /* views before lo begin before t, from hi on not */
    while (lo < hi) {
        const size_t mid = lo + (hi - lo) / 2;
        if ((uintptr_t)w->view[mid].rows.data < begin)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < w->n_view && (uintptr_t)w->view[lo].rows.data < end;
}

/* Norms, biases and the like lie between the packed matrices, and a look at each would bring up to
 * 2 MiB of those back into memory. */
static enum err own_small(const struct weights *w, const struct gguf *file)
{
    gguf_forget_all(file);
    for (int pass = 0; pass < 2; pass++) { /* the disk is asked for all of them first */
        uint64_t n_bytes = 0, n = 0;
        for (uint64_t i = 0; i < gguf_n_tensor(file) && n < OWN_TENSORS_MAX; i++) {
            const struct tensor *const t = gguf_tensor_at(file, i);
            const uint64_t size = tensor_bytes(t);
            if (size > OWN_BYTES_MAX || size > OWN_BYTES_ALL - n_bytes) continue;
            if (is_in_view(w, t)) continue;
            n_bytes += size;
            n++;
            if (pass == 0)
                gguf_ahead(file, t->data, size);
            else if (!gguf_own(file, t->data, size))
                return gguf_whole(file);
        }
    }
    return OK;
}

static enum err begin(struct weights *w, const struct weights_from *from)
{
    w->buf = mem_alloc_array(MEM_SCRATCH, pool_n_thread(from->pool), w->buf_bytes);
    if (w->buf) w->arena = mem_alloc_huge(MEM_WEIGHTS, w->n_bytes);
    if (w->arena) return own_small(w, from->file);
    mem_free(w->buf);
    w->buf = NULL;
    return ERR_MEMORY;
}

enum err weights_pack(struct weights *w, const struct weights_from *from)
{
    assert(w);
    assert(from->file);
    if (weights_left(w) == 0) return OK;
    enum err err = w->arena ? OK : begin(w, from);
    if (err == OK) err = pack_pieces(w, from);
    if (weights_left(w) > 0) return err;
    mem_free(w->buf);
    w->buf = NULL;
    return err;
}

/* ---- public ---------------------------------------------------------------------------------- */

enum err weights_open(struct weights **out, struct graph *g)
{
    assert(out);
    assert(g);
    struct weights *const w = mem_alloc(MEM_MODEL, sizeof *w);
    *out = w;
    if (!w) return ERR_MEMORY;
    each(w, g, READS_TILES, count);
    w->view = mem_alloc_array(MEM_MODEL, w->n_view, sizeof *w->view);
    if (!w->view) return ERR_MEMORY;
    w->n_view = 0;
    each(w, g, READS_TILES, add);
    sort(w);
    each(w, g, READS_ROWS, drop);
    lay_out(w);
    return OK;
}

void weights_close(struct weights *w)
{
    if (!w) return;
    mem_free(w->arena);
    mem_free(w->buf);
    mem_free(w->view);
    mem_free(w);
}

uint64_t weights_bytes(const struct weights *w)
{
    assert(w);
    return w->n_bytes;
}

uint64_t weights_left(const struct weights *w)
{
    assert(w);
    return w->n_bytes - bytes_before(w, w->n_done);
}

void weights_bind(const struct weights *w, struct graph *g)
{
    assert(w);
    for (uint32_t i = 0; i < g->n_op; i++) {
        struct tensor *t[GOP_OUT_MAX];
        const uint32_t n = matrices(&g->op[i], t);
        for (uint32_t j = 0; j < n; j++) {
            const struct view *const v = find(w, t[j]);
            if (!v || end_of(v) > w->n_done) continue;
            assert(how(&g->op[i]) != READS_ROWS);
            t[j]->unpacked = t[j]->data;
            t[j]->data = w->arena + v->at;
            t[j]->plane_bytes = v->plane_bytes;
            t[j]->is_packed = true;
        }
    }
}
