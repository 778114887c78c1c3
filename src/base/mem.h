/*
 * mem.h: counted allocation by purpose.
 *
 * Every heap byte of moxie goes through here, so that the memory budget and the statistics are
 * true. Blocks are zeroed and aligned to MEM_ALIGN. Large blocks come from mmap and cost no memory
 * until they are touched. A NULL return has set an ERR_MEMORY message.
 * Threads: all functions may be called from any thread.
 */
#ifndef BASE_MEM_H
#define BASE_MEM_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MEM_ALIGN 64 /* a cache line, and the widest vector */

enum mem_tag {
    MEM_MISC,    /* options, names, small tables            */
    MEM_MODEL,   /* tensor directory, graph, hparams        */
    MEM_TOK,     /* vocabulary and tokenizer                */
    MEM_KV,      /* key/value cache and recurrent state     */
    MEM_ARENA,   /* activations of a session                */
    MEM_SCRATCH, /* working space of kernels                */
    MEM_WEIGHTS, /* weights in the kernels' order           */
    MEM_TAG_COUNT
};

#define MEM_HUGE_BYTES ((size_t)2 << 20) /* a huge page of x86, and of arm64 with pages of 4 KiB */

void *mem_alloc(enum mem_tag tag, size_t n_bytes);
/* The same, for what is read from end to end again and again: a large block begins at a multiple of
 * MEM_HUGE_BYTES, and the system is asked for pages of that size; without them it is like any
 * other. */
void *mem_alloc_huge(enum mem_tag tag, size_t n_bytes);
/* Grows or shrinks; keeps contents; new bytes are zero. NULL p allocates. On failure p stays
 * valid. */
void *mem_realloc(enum mem_tag tag, void *p, size_t n_bytes);
void mem_free(void *p); /* NULL is fine */
char *mem_strdup(enum mem_tag tag, const char *s);

/* a * b, a + b; false (and *out untouched) on overflow. */
bool mem_mul(size_t a, size_t b, size_t *out);
bool mem_add(size_t a, size_t b, size_t *out);
/* n * size_each with the overflow check, then mem_alloc. */
void *mem_alloc_array(enum mem_tag tag, size_t n, size_t size_each);

/* ERR_MEMORY, where the heap of a library gave out: "a conversation". */
enum err mem_short(const char *what);

size_t mem_used(enum mem_tag tag); /* bytes asked for and not yet freed */
size_t mem_used_total(void);

/* Tests: the n-th allocation from now fails once (1 = the next); 0 switches it off. */
void mem_fail_at(uint64_t n);

#endif
