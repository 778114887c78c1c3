/*
 * stateram.h: the recurrent states of some timelines in memory, with a few checkpoints each: the
 * plain state_src.
 *
 * A recurrence cannot be trimmed like a cache, so rolling back means going to the nearest
 * checkpoint at or before the wanted position and running the tokens in between again. Position 0
 * (all zero) always exists.
 */
#ifndef OFFLOAD_STATERAM_H
#define OFFLOAD_STATERAM_H

#include "graph/graph.h"

struct stateram;

enum err stateram_open(struct stateram **s, const uint32_t *state_floats, uint32_t n_layer);
void stateram_close(struct stateram *s); /* NULL is fine */
struct state_src stateram_src(struct stateram *s);
/* Live state and checkpoints of a timeline, at most and now; 0: the model has no such state. */
uint64_t stateram_bytes_max(const struct stateram *s);
uint64_t stateram_bytes(const struct stateram *s, uint32_t seq);

#endif
