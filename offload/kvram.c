/*
 * kvram.c: one dense array of keys and one of values per layer, (n_ctx, n_head_kv, dim); a span is
 * a window on it.
 */
#include "offload/kvram.h"

#include "base/mem.h"

#include <assert.h>
#include <string.h>

struct kvram {
    uint32_t n_layer, n_ctx;
    enum dtype type_k, type_v;
    const struct kern *kern;
    struct kv_shape shape[LAYERS_MAX];
    uint8_t *k[LAYERS_MAX], *v[LAYERS_MAX]; /* v is NULL where values are part of the keys */
};

static size_t k_stride(const struct kvram *kv, uint32_t layer)
{
    return dtype_row_bytes(kv->type_k, (size_t)kv->shape[layer].n_head_kv * kv->shape[layer].dim_k);
}

static size_t v_stride(const struct kvram *kv, uint32_t layer)
{
    return dtype_row_bytes(kv->type_v, (size_t)kv->shape[layer].n_head_kv * kv->shape[layer].dim_v);
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
    *kv = (struct kvram){
        .n_layer = n_layer, .n_ctx = n_ctx, .type_k = type_k, .type_v = type_v, .kern = kern};
    memcpy(kv->shape, shape, n_layer * sizeof *shape);
    for (uint32_t i = 0; i < n_layer; i++) {
        if (shape[i].n_head_kv == 0) continue;
        kv->k[i] = mem_alloc_array(MEM_KV, n_ctx, k_stride(kv, i));
        if (!kv->k[i]) goto fail;
        if (shape[i].v_in_k) continue;
        kv->v[i] = mem_alloc_array(MEM_KV, n_ctx, v_stride(kv, i));
        if (!kv->v[i]) goto fail;
    }
    return OK;
fail:
    kvram_close(kv);
    *out = NULL;
    return ERR_MEMORY;
}

void kvram_close(struct kvram *kv)
{
    if (!kv) return;
    for (uint32_t i = 0; i < kv->n_layer; i++) {
        mem_free(kv->k[i]);
        mem_free(kv->v[i]);
    }
    mem_free(kv);
}

uint64_t kvram_bytes_per_pos(const struct kvram *kv)
{
    uint64_t n = 0;
    for (uint32_t i = 0; i < kv->n_layer; i++) {
        if (kv->k[i]) n += k_stride(kv, i);
        if (kv->v[i]) n += v_stride(kv, i);
    }
    return n;
}

static void narrow(const struct kvram *kv, enum dtype type, uint8_t *to, const float *from,
                   size_t n)
{
    if (type == DT_F16)
        kv->kern->f32_to_f16(from, to, n);
    else
        memcpy(to, from, n * sizeof *from);
}

static enum err append(void *self, uint32_t seq, uint32_t layer, uint32_t pos0, uint32_t n_pos,
                       const float *k, size_t k_step, const float *v, size_t v_step)
{
    struct kvram *kv = self;
    assert(seq == 0);
    assert(layer < kv->n_layer);
    assert(pos0 + n_pos <= kv->n_ctx);
    const struct kv_shape *s = &kv->shape[layer];
    const size_t sk = k_stride(kv, layer), sv = v_stride(kv, layer);
    for (uint32_t i = 0; i < n_pos; i++) {
        narrow(kv, kv->type_k, kv->k[layer] + (pos0 + i) * sk, k + i * k_step,
               (size_t)s->n_head_kv * s->dim_k);
        if (kv->v[layer])
            narrow(kv, kv->type_v, kv->v[layer] + (pos0 + i) * sv, v + i * v_step,
                   (size_t)s->n_head_kv * s->dim_v);
    }
    return OK;
}

static enum err iter(void *self, uint32_t seq, uint32_t layer, uint32_t pos_begin, uint32_t pos_end,
                     struct kv_iter *it)
{
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
    const uint32_t left = it->pos_end - it->pos;
    const size_t sk = k_stride(kv, it->layer), sv = v_stride(kv, it->layer);
    span->pos0 = it->pos;
    span->n_pos = left < KV_SPAN ? left : KV_SPAN;
    span->k = kv->k[it->layer] + it->pos * sk;
    span->k_stride = sk;
    span->v = kv->v[it->layer] ? kv->v[it->layer] + it->pos * sv : span->k;
    span->v_stride = kv->v[it->layer] ? sv : sk;
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

struct kv_src kvram_src(struct kvram *kv)
{
    return (struct kv_src){.self = kv,
                           .type_k = kv->type_k,
                           .type_v = kv->type_v,
                           .append = append,
                           .iter = iter,
                           .next = next,
                           .done = done,
                           .trim = trim};
}
