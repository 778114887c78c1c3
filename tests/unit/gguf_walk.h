/*
 * gguf_walk.h: reads everything that an opened model offers, so that a sanitizer sees whatever
 * leaves it.
 *
 *     sum = gguf_walk(g);          // of all bytes of keys, and of the ends of each tensor
 */
#ifndef TESTS_GGUF_WALK_H
#define TESTS_GGUF_WALK_H

#include "gguf/gguf.h"

#include <math.h>
#include <string.h>

static inline uint64_t gguf_walk_str(struct gguf_str s)
{
    uint64_t sum = s.n;
    for (size_t i = 0; i < s.n; i++) sum += (uint8_t)s.s[i];
    return sum;
}

static inline uint64_t gguf_walk_kv(const struct gguf_kv *kv)
{
    uint64_t sum = gguf_walk_str(kv->key);
    if (kv->type == GGUF_STR)
        return sum + gguf_walk_str((struct gguf_str){(const char *)kv->data, (size_t)kv->n_bytes});
    uint64_t pos = 0;
    for (uint64_t i = 0; i < kv->n; i++) {
        switch (kv->elem) {
        case GGUF_STR:
            sum += gguf_walk_str(gguf_arr_str_next(kv, &pos));
            break;
        case GGUF_F32:
            sum += isnan(gguf_arr_f32(kv, i)) ? 1 : 2;
            break;
        case GGUF_F64:
            sum += kv->data[8 * i] + kv->data[8 * i + 7];
            break;
        default:
            sum += (uint64_t)gguf_arr_int(kv, i);
        }
    }
    return sum;
}

/* Every typed read of a key; the results do not matter here. */
static inline void gguf_walk_reads(const struct gguf *g, const char *key)
{
    uint32_t u[3];
    float f;
    bool b;
    struct gguf_str s;
    const struct gguf_kv *kv;
    (void)gguf_u32(g, key, GGUF_REQUIRED, 1, 1000, u);
    (void)gguf_f32(g, key, GGUF_REQUIRED, 0, 1, &f);
    (void)gguf_bool(g, key, GGUF_REQUIRED, &b);
    (void)gguf_get_str(g, key, GGUF_REQUIRED, &s);
    (void)gguf_u32_each(g, key, GGUF_REQUIRED, 0, UINT32_MAX, u, 3);
    (void)gguf_array(g, key, GGUF_REQUIRED, GGUF_STR, &kv);
}

static inline uint64_t gguf_walk(const struct gguf *g)
{
    uint64_t sum = gguf_file_bytes(g) + gguf_version(g);
    for (uint64_t i = 0; i < gguf_n_kv(g); i++) {
        const struct gguf_kv *kv = gguf_kv_at(g, i);
        sum += gguf_walk_kv(kv);
        char key[256];
        if (kv->key.n >= sizeof key) continue;
        memcpy(key, kv->key.s, kv->key.n);
        key[kv->key.n] = '\0';
        sum += gguf_find(g, key) == kv;
        gguf_walk_reads(g, key);
    }
    for (uint64_t i = 0; i < gguf_n_tensor(g); i++) {
        const struct tensor *t = gguf_tensor_at(g, i);
        const uint8_t *data = t->data;
        sum += data[0] + (uint64_t)data[tensor_bytes(t) - 1] + gguf_tensor_offset(g, i);
        sum += gguf_tensor(g, t->name) == t;
    }
    return sum;
}

#endif
