/*
 * kvram.c: a timeline is one block of spans; a span holds KV_SPAN positions of all layers: for each
 * a dense array of keys and one of values, (n_head_kv, KV_SPAN, dim), keys in tiles of positions
 * (kern/kv.h).
 *
 * Heads come before positions, because attention walks the positions of one head: with 16 heads of
 * 128 in float16 the rows of a head would otherwise be 256 bytes in every 4 KiB, which reads at 6
 * GB/s where dense rows read at 14.5 (one thread, context 4096). Spans come first of all, so that
 * the block fills from its beginning, and pages of 2 MiB, which read 5 to 10 % faster, cost no
 * memory for positions that are far away.
 */
#include "offload/kvram.h"

#include "base/mem.h"
#include "base/pool.h"
#include "kern/kv.h"

#include <assert.h>
#include <string.h>

#define ALIGN 64      /* planes, and a thread's working memory, start at a cache line */
#define ROWS_ALONE 16 /* one thread writes so many in 2 us (64 numbers to F16, Zen 4) */

struct plane {       /* the keys or the values of one layer, the same in every block */
    uint32_t n_head; /* 0: there are none */
    uint32_t dim;
    enum dtype type;
    bool in_tiles;
    size_t row_bytes;  /* one head at one position */
    size_t head_bytes; /* one head at the positions of a span */
    size_t at;         /* bytes into a span */
};

struct kvram {
    uint32_t n_layer, n_ctx;
    enum dtype type_k, type_v;
    const struct kern *kern;
    struct pool *pool;
    struct plane k[LAYERS_MAX], v[LAYERS_MAX]; /* no v where values are part of the keys */
    size_t span_bytes, block_bytes;
    uint8_t *work; /* for each thread: a row of one head on its way into the cache, and scratch */
    size_t row_bytes, work_bytes; /* of one thread, multiples of ALIGN */
    uint8_t *block[SEQS_MAX];     /* of each timeline; NULL: it is not open */
};

static size_t aligned(size_t n_bytes)
{
    return (n_bytes + ALIGN - 1) / ALIGN * ALIGN;
}

static bool add_plane(struct kvram *kv, struct plane *p, struct plane shape)
{
    /* a context of less than a span does not pay for a whole one */
    const size_t n_pos = kv->n_ctx < KV_SPAN ? kv_tiles(kv->n_ctx) : KV_SPAN;
    size_t n_bytes;
    *p = shape;
    p->row_bytes = dtype_row_bytes(p->type, p->dim);
    p->head_bytes = p->row_bytes * n_pos; /* below 2^20: HEAD_DIM_MAX */
    p->at = kv->span_bytes;
    if (!mem_mul(p->head_bytes, p->n_head, &n_bytes)) return false;
    if (n_bytes > SIZE_MAX - ALIGN - kv->span_bytes) return false;
    kv->span_bytes += aligned(n_bytes);
    return true;
}

static enum err refuse_ctx(const struct kvram *kv)
{
    return err_set(ERR_MEMORY,
                   "a context of %u tokens needs more memory than can be addressed; ask for a "
                   "smaller one (-c)",
                   kv->n_ctx);
}

static enum err check_dim(enum dtype type, const char *option, const char *what, uint32_t layer,
                          uint32_t dim)
{
    if (kv_can(type, dim)) return OK;
    return err_set(
        ERR_USAGE,
        "layer %u: a %s of %u numbers cannot be cached as %s (%s), which takes multiples "
        "of %u; use %s f16",
        layer, what, dim, dtype_info(type)->name, option, dtype_info(type)->block_items, option);
}

static enum err add_layer(struct kvram *kv, uint32_t i, const struct kv_shape *s)
{
    if (s->n_head_kv == 0) return OK;
    enum err e = check_dim(kv->type_k, "-ctk", "key", i, s->dim_k);
    /* values that are part of the keys end with a block of theirs */
    if (e == OK && s->v_in_k) e = check_dim(kv->type_k, "-ctk", "value", i, s->dim_v);
    if (e == OK && !s->v_in_k) e = check_dim(kv->type_v, "-ctv", "value", i, s->dim_v);
    if (e) return e;
    const struct plane k = {
        .n_head = s->n_head_kv, .dim = s->dim_k, .type = kv->type_k, .in_tiles = !s->v_in_k};
    const struct plane v = {.n_head = s->n_head_kv, .dim = s->dim_v, .type = kv->type_v};
    if (add_plane(kv, &kv->k[i], k) && (s->v_in_k || add_plane(kv, &kv->v[i], v))) return OK;
    return refuse_ctx(kv);
}

static enum err add_layers(struct kvram *kv, const struct kv_shape *shape)
{
    for (uint32_t i = 0; i < kv->n_layer; i++) {
        const enum err e = add_layer(kv, i, &shape[i]);
        if (e) return e;
    }
    const size_t n_span = ((size_t)kv->n_ctx + KV_SPAN - 1) / KV_SPAN;
    return mem_mul(n_span, kv->span_bytes, &kv->block_bytes) ? OK : refuse_ctx(kv);
}

static enum err alloc_work(struct kvram *kv)
{
    size_t row_bytes = 1, dim = 1;
    for (uint32_t i = 0; i < 2 * kv->n_layer; i++) {
        const struct plane *p = i % 2 ? &kv->v[i / 2] : &kv->k[i / 2];
        if (p->row_bytes > row_bytes) row_bytes = p->row_bytes;
        if (p->dim > dim) dim = p->dim;
    }
    kv->row_bytes = aligned(row_bytes);
    kv->work_bytes = kv->row_bytes + aligned(kv_scratch_bytes(dim));
    kv->work = mem_alloc_array(MEM_KV, pool_n_thread(kv->pool), kv->work_bytes);
    return kv->work ? OK : ERR_MEMORY;
}

enum err kvram_open(struct kvram **out, const struct kv_shape *shape, uint32_t n_layer,
                    uint32_t n_ctx, enum dtype type_k, enum dtype type_v, const struct kern *kern,
                    struct pool *pool)
{
    assert(n_layer <= LAYERS_MAX);
    struct kvram *kv = mem_alloc(MEM_KV, sizeof *kv);
    *out = NULL;
    if (!kv) return ERR_MEMORY;
    kv->n_layer = n_layer;
    kv->n_ctx = n_ctx;
    kv->type_k = type_k;
    kv->type_v = type_v;
    kv->kern = kern;
    kv->pool = pool;
    enum err e = add_layers(kv, shape);
    if (e == OK) e = alloc_work(kv);
    if (e == OK)
        *out = kv;
    else
        kvram_close(kv);
    return e;
}

void kvram_close(struct kvram *kv)
{
    if (!kv) return;
    for (uint32_t i = 0; i < SEQS_MAX; i++) mem_free(kv->block[i]);
    mem_free(kv->work);
    mem_free(kv);
}

static enum err seq_open(void *self, uint32_t seq)
{
    struct kvram *kv = self;
    assert(seq < SEQS_MAX);
    assert(!kv->block[seq]);
    /* A model that is all recurrence has no planes, but its timelines are open or not, too. */
    kv->block[seq] = mem_alloc_huge(MEM_KV, kv->block_bytes ? kv->block_bytes : 1);
    return kv->block[seq] ? OK : ERR_MEMORY;
}

static void seq_close(void *self, uint32_t seq)
{
    struct kvram *kv = self;
    assert(seq < SEQS_MAX);
    mem_free(kv->block[seq]);
    kv->block[seq] = NULL;
}

uint64_t kvram_layer_bytes_per_pos(const struct kvram *kv, uint32_t layer)
{
    assert(layer < kv->n_layer);
    const struct plane *const k = &kv->k[layer];
    const struct plane *const v = &kv->v[layer];
    return k->n_head * k->row_bytes + v->n_head * v->row_bytes;
}

uint64_t kvram_bytes_per_pos(const struct kvram *kv)
{
    uint64_t n = 0;
    for (uint32_t i = 0; i < kv->n_layer; i++) n += kvram_layer_bytes_per_pos(kv, i);
    return n;
}

/* Head h of a plane from a position on; in tiles: from its tile on. */
static uint8_t *row_at(const struct kvram *kv, uint32_t seq, const struct plane *p, uint32_t h,
                       uint32_t pos)
{
    const uint32_t in_span = p->in_tiles ? pos % KV_SPAN / KV_TILE * KV_TILE : pos % KV_SPAN;
    return kv->block[seq] + pos / KV_SPAN * kv->span_bytes + p->at + h * p->head_bytes +
           in_span * p->row_bytes;
}

struct rows { /* of all heads at n_pos positions from pos0 */
    const float *at;
    size_t stride; /* of a position */
};

struct append { /* tasks: the heads of keys, then those of values */
    const struct kvram *kv;
    const struct plane *k, *v;
    uint32_t seq, pos0, n_pos;
    struct rows from_k, from_v;
};

/* All positions of a head: the rows of a tile are written while it is in the cache. */
static void append_head(void *ctx, uint32_t i_task, uint32_t i_thread)
{
    const struct append *a = ctx;
    const struct kvram *kv = a->kv;
    const bool is_k = i_task < a->k->n_head;
    const struct plane *p = is_k ? a->k : a->v;
    const struct rows *from = is_k ? &a->from_k : &a->from_v;
    const uint32_t h = is_k ? i_task : i_task - a->k->n_head;
    uint8_t *const row = kv->work + i_thread * kv->work_bytes;
    uint8_t *const scratch = row + kv->row_bytes;
    for (uint32_t i = 0; i < a->n_pos; i++) {
        const float *x = from->at + i * from->stride + (size_t)h * p->dim;
        uint8_t *const to = row_at(kv, a->seq, p, h, a->pos0 + i);
        kv_row(kv->kern, p->type, x, p->dim, p->in_tiles ? row : to, scratch);
        if (p->in_tiles) pack_set_row(p->type, row, p->dim, (a->pos0 + i) % KV_TILE, to);
    }
}

static enum err append(void *self, uint32_t seq, uint32_t layer, uint32_t pos0, uint32_t n_pos,
                       const float *k, size_t k_stride, const float *v, size_t v_stride)
{
    struct kvram *kv = self;
    assert(seq < SEQS_MAX && kv->block[seq]);
    assert(layer < kv->n_layer);
    assert(pos0 + n_pos <= kv->n_ctx);
    struct append a = {.kv = kv,
                       .k = &kv->k[layer],
                       .v = &kv->v[layer],
                       .seq = seq,
                       .pos0 = pos0,
                       .n_pos = n_pos,
                       .from_k = {k, k_stride},
                       .from_v = {v, v_stride}};
    const uint32_t n_task = a.k->n_head + a.v->n_head;
    if ((uint64_t)n_task * n_pos > ROWS_ALONE) {
        pool_run(kv->pool, append_head, &a, n_task);
    } else {
        for (uint32_t i = 0; i < n_task; i++) append_head(&a, i, 0);
    }
    return OK;
}

static enum err iter(void *self, uint32_t seq, uint32_t layer, uint32_t pos_begin, uint32_t pos_end,
                     struct kv_iter *it)
{
    const struct kvram *kv = self;
    assert(pos_begin < pos_end);
    assert(seq < SEQS_MAX && kv->block[seq]);
    assert(kv->k[layer].n_head);
    *it = (struct kv_iter){.self = self,
                           .seq = seq,
                           .layer = layer,
                           .pos = pos_begin / KV_SPAN * KV_SPAN,
                           .pos_end = pos_end};
    return OK;
}

static enum err next(struct kv_iter *it, bool wait, struct kv_span *span)
{
    const struct kvram *kv = it->self;
    (void)wait; /* all of it is there */
    if (it->pos >= it->pos_end) return ERR_END;
    const struct plane *k = &kv->k[it->layer];
    const struct plane *v = kv->v[it->layer].n_head ? &kv->v[it->layer] : k;
    const uint32_t left = it->pos_end - it->pos;
    *span = (struct kv_span){
        .pos0 = it->pos,
        .n_pos = left < KV_SPAN ? left : KV_SPAN,
        .k = row_at(kv, it->seq, k, 0, it->pos),
        .v = row_at(kv, it->seq, v, 0, it->pos),
        .k_head = k->head_bytes,
        .v_head = v->head_bytes,
    };
    it->pos += span->n_pos;
    return OK;
}

static void release(void *self, struct kv_span *span)
{
    (void)self; /* spans borrow nothing that has to be given back */
    (void)span;
}

static void done(struct kv_iter *it)
{
    (void)it;
}

static enum err trim(void *self, uint32_t seq, uint32_t n_pos_keep)
{
    (void)self; /* positions are overwritten in place */
    (void)seq;
    (void)n_pos_keep;
    return OK;
}

static void copy_plane(const struct kvram *kv, const struct plane *p, uint32_t from, uint32_t to,
                       uint32_t n_pos)
{
    for (uint32_t pos = 0; pos < n_pos; pos += KV_SPAN) {
        const size_t n = n_pos - pos < KV_SPAN ? n_pos - pos : KV_SPAN;
        const size_t n_bytes = (p->in_tiles ? kv_tiles(n) : n) * p->row_bytes;
        for (uint32_t h = 0; h < p->n_head; h++)
            memcpy(row_at(kv, to, p, h, pos), row_at(kv, from, p, h, pos), n_bytes);
    }
}

static enum err copy(void *self, uint32_t from, uint32_t to, uint32_t n_pos)
{
    struct kvram *kv = self;
    assert(from != to);
    assert(kv->block[from]);
    assert(kv->block[to]);
    assert(n_pos <= kv->n_ctx);
    for (uint32_t i = 0; i < kv->n_layer; i++) {
        copy_plane(kv, &kv->k[i], from, to, n_pos);
        copy_plane(kv, &kv->v[i], from, to, n_pos);
    }
    return OK;
}

struct kv_src kvram_src(struct kvram *kv)
{
    return (struct kv_src){.self = kv,
                           .type_k = kv->type_k,
                           .type_v = kv->type_v,
                           .append = append,
                           .iter = iter,
                           .next = next,
                           .release = release,
                           .done = done,
                           .trim = trim,
                           .seq_open = seq_open,
                           .seq_close = seq_close,
                           .copy = copy};
}
