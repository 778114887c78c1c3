/*
 * kvram.h: the key/value caches of some timelines in memory: the plain kv_src.
 *
 * A timeline's room for the whole context is reserved when it is opened and costs memory only when
 * positions are written.
 */
#ifndef OFFLOAD_KVRAM_H
#define OFFLOAD_KVRAM_H

#include "base/pool.h"
#include "graph/graph.h"
#include "kern/kern.h"

struct kvram;

/* shape: (n_layer). type_k, type_v: DT_F32, DT_F16 or DT_Q8_0. kern and pool are borrowed; append
 * runs a loop over the pool. ERR_USAGE: a layer does not fit its type; ERR_MEMORY. */
enum err kvram_open(struct kvram **kv, const struct kv_shape *shape, uint32_t n_layer,
                    uint32_t n_ctx, enum dtype type_k, enum dtype type_v, const struct kern *kern,
                    struct pool *pool);
void kvram_close(struct kvram *kv); /* NULL is fine */
struct kv_src kvram_src(struct kvram *kv);
uint64_t kvram_bytes_per_pos(const struct kvram *kv); /* of all layers */
uint64_t kvram_layer_bytes_per_pos(const struct kvram *kv, uint32_t layer);

#endif
