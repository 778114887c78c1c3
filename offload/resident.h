/*
 * resident.h: experts that are all in memory (or in the page cache, behind the file's mapping): the
 * plain expert_src.
 */
#ifndef OFFLOAD_RESIDENT_H
#define OFFLOAD_RESIDENT_H

#include "graph/graph.h"

struct resident;

enum err resident_open(struct resident **r);
/* Before the first request, and whenever weights were moved: reads where each layer's experts lie
 * from the graph's operations, and keeps nothing of it. */
void resident_bind(struct resident *r, const struct graph *g);
void resident_close(struct resident *r); /* NULL is fine */
struct expert_src resident_src(struct resident *r);

#endif
