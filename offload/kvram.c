/*
 * kvram.c: a timeline is one block: for each layer a dense array of keys and one of values,
 * (n_head_kv, n_ctx, dim); a span is a window on one.
 *
 * Heads come first, because attention walks the positions of one head: with 16 heads of 128 in
 * float16 the rows of a head would otherwise be 256 bytes in every 4 KiB, which reads at 6 GB/s
 * where dense rows read at 14.5 (one thread, context 4096).
 */
#include "offload/kvram.h"

#include "base/mem.h"

#include <assert.h>
#include <string.h>

#define ALIGN 64 /* planes start at a cache line */

struct plane {       /* the keys or the values of one layer, the same in every block */
    uint32_t n_head; /* 0: there are none */
    uint32_t dim;
    size_t row_bytes;  /* one head at one position */
    size_t head_bytes; /* one head at all positions */
    size_t at;         /* bytes into the block */
};

struct kvram {
    uint32_t n_layer, n_ctx;
    enum dtype type_k, type_v;
    const struct kern *kern;
    struct plane k[LAYERS_MAX], v[LAYERS_MAX]; /* no v where values are part of the keys */
    size_t block_bytes;
    uint8_t *block[SEQS_MAX]; /* of each timeline; NULL: it is not open */
};

static bool add_plane(struct kvram *kv, struct plane *p, enum dtype type, uint32_t n_head,
                      uint32_t dim)
{
    const size_t row_bytes = dtype_row_bytes(type, dim);
    size_t n_bytes;
    *p =
        (struct plane){.n_head = n_head, .dim = dim, .row_bytes = row_bytes, .at = kv->block_bytes};
    if (!mem_mul(row_bytes, kv->n_ctx, &p->head_bytes)) return false;
    if (!mem_mul(p->head_bytes, n_head, &n_bytes)) return false;
    if (n_bytes > SIZE_MAX - ALIGN - kv->block_bytes) return false;
    kv->block_bytes += (n_bytes + ALIGN - 1) / ALIGN * ALIGN;
    return true;
}

enum err kvram_open(struct kvram **out, const struct kv_shape *shape, uint32_t n_layer,
                    uint32_t n_ctx, enum dtype type_k, enum dtype type_v, const struct kern *kern)
{
    assert(n_layer <= LAYERS_MAX);
    assert(type_k == DT_F16 || type_k == DT_F32);
    assert(type_v == DT_F16 || type_v == DT_F32);
    struct kvram *kv = mem_alloc(MEM_KV, sizeof *kv);
    *out = kv;
    if (!kv) return ERR_MEMORY;
    kv->n_layer = n_layer;
    kv->n_ctx = n_ctx;
    kv->type_k = type_k;
    kv->type_v = type_v;
    kv->kern = kern;
    for (uint32_t i = 0; i < n_layer; i++) {
        const struct kv_shape *s = &shape[i];
        if (s->n_head_kv == 0) continue;
        if (!add_plane(kv, &kv->k[i], type_k, s->n_head_kv, s->dim_k)) goto fail;
        if (s->v_in_k) continue;
        if (!add_plane(kv, &kv->v[i], type_v, s->n_head_kv, s->dim_v)) goto fail;
    }
    return OK;
fail:
    kvram_close(kv);
    *out = NULL;
    return err_set(ERR_MEMORY,
                   "a context of %u tokens needs more memory than can be addressed; ask for a "
                   "smaller one (-c)",
                   n_ctx);
}

void kvram_close(struct kvram *kv)
{
    if (!kv) return;
    for (uint32_t i = 0; i < SEQS_MAX; i++) mem_free(kv->block[i]);
    mem_free(kv);
}

static enum err seq_open(void *self, uint32_t seq)
{
    struct kvram *kv = self;
    assert(seq < SEQS_MAX);
    assert(!kv->block[seq]);
    /* A model that is all recurrence has no planes, but its timelines are open or not, too. */
    kv->block[seq] = mem_alloc(MEM_KV, kv->block_bytes ? kv->block_bytes : 1);
    return kv->block[seq] ? OK : ERR_MEMORY;
}

static void seq_close(void *self, uint32_t seq)
{
    struct kvram *kv = self;
    assert(seq < SEQS_MAX);
    mem_free(kv->block[seq]);
    kv->block[seq] = NULL;
}

uint64_t kvram_bytes_per_pos(const struct kvram *kv)
{
    uint64_t n = 0;
    for (uint32_t i = 0; i < kv->n_layer; i++)
        n += kv->k[i].n_head * kv->k[i].row_bytes + kv->v[i].n_head * kv->v[i].row_bytes;
    return n;
}

/* Rows of all heads at n_pos positions from pos0, narrowed to the cache's type. */
static void put(const struct kvram *kv, uint32_t seq, const struct plane *p, enum dtype type,
                uint32_t pos0, uint32_t n_pos, const float *from, size_t from_stride)
{
    uint8_t *const plane = kv->block[seq] + p->at;
    for (uint32_t i = 0; i < n_pos; i++) {
        for (uint32_t h = 0; h < p->n_head; h++) {
            uint8_t *to = plane + h * p->head_bytes + (pos0 + i) * p->row_bytes;
            const float *row = from + i * from_stride + (size_t)h * p->dim;
            if (type == DT_F16)
                kv->kern->f32_to_f16(row, to, p->dim);
            else
                memcpy(to, row, p->row_bytes);
        }
    }
}

static enum err append(void *self, uint32_t seq, uint32_t layer, uint32_t pos0, uint32_t n_pos,
                       const float *k, size_t k_stride, const float *v, size_t v_stride)
{
    struct kvram *kv = self;
    assert(seq < SEQS_MAX && kv->block[seq]);
    assert(layer < kv->n_layer);
    assert(pos0 + n_pos <= kv->n_ctx);
    put(kv, seq, &kv->k[layer], kv->type_k, pos0, n_pos, k, k_stride);
    if (kv->v[layer].n_head) put(kv, seq, &kv->v[layer], kv->type_v, pos0, n_pos, v, v_stride);
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

static enum err next(struct kv_iter *it, struct kv_span *span)
{
    const struct kvram *kv = it->self;
    if (it->pos >= it->pos_end) return ERR_END;
    const uint8_t *const block = kv->block[it->seq];
    const struct plane *k = &kv->k[it->layer];
    const struct plane *v = kv->v[it->layer].n_head ? &kv->v[it->layer] : k;
    const uint32_t left = it->pos_end - it->pos;
    *span = (struct kv_span){
        .pos0 = it->pos,
        .n_pos = left < KV_SPAN ? left : KV_SPAN,
        .k = block + k->at + it->pos * k->row_bytes,
        .v = block + v->at + it->pos * v->row_bytes,
        .k_stride = k->row_bytes,
        .v_stride = v->row_bytes,
        .k_head = k->head_bytes,
        .v_head = v->head_bytes,
    };
    it->pos += span->n_pos;
    return OK;
}

static void done(struct kv_iter *it)
{
    (void)it; /* spans borrow nothing that has to be given back */
}

static enum err trim(void *self, uint32_t seq, uint32_t n_pos_keep)
{
    (void)self; /* positions are overwritten in place */
    (void)seq;
    (void)n_pos_keep;
    return OK;
}

static void copy_plane(const struct plane *p, const uint8_t *from, uint8_t *to, uint32_t n_pos)
{
    for (uint32_t h = 0; h < p->n_head; h++) {
        const size_t at = p->at + h * p->head_bytes;
        memcpy(to + at, from + at, n_pos * p->row_bytes);
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
        copy_plane(&kv->k[i], kv->block[from], kv->block[to], n_pos);
        copy_plane(&kv->v[i], kv->block[from], kv->block[to], n_pos);
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
                           .done = done,
                           .trim = trim,
                           .seq_open = seq_open,
                           .seq_close = seq_close,
                           .copy = copy};
}
