/*
 * cpu.h: which instruction sets this CPU and its operating system allow, and the mask of
 * --cpu-mask.
 */
#ifndef KERN_CPU_H
#define KERN_CPU_H

#include "base/err.h"

#include <stddef.h>

/* Each level implies those before it on the same architecture. */
enum cpu_flag {
    CPU_SSE = 1u << 0,     /* x86-64-v2: SSSE3, SSE4.1 */
    CPU_AVX2 = 1u << 1,    /* x86-64-v3: AVX2, FMA, F16C */
    CPU_AVX512 = 1u << 2,  /* F, BW, DQ, VL */
    CPU_VNNI = 1u << 3,    /* AVX512_VNNI */
    CPU_NEON = 1u << 4,    /* arm64 baseline */
    CPU_DOTPROD = 1u << 5, /* sdot, udot */
    CPU_I8MM = 1u << 6,    /* smmla, where it is not slower than sdot */
};

struct cpu_level {
    const char *name;  /* as in --cpu-mask */
    const char *needs; /* the processor's features, in words */
    unsigned flag;
    const char *lacks; /* why this machine cannot use it; NULL when it can */
};
/* The levels of this architecture, the lowest first; at most n_max. */
size_t cpu_levels(struct cpu_level *levels, size_t n_max);

/* What the hardware has, and the OS saves (XGETBV, hwcaps). */
unsigned cpu_detect(void);
/* How far ahead of a stream of weights to fetch; 0: the CPU's own prefetchers do it better. */
size_t cpu_prefetch_bytes(void);
/* "none", "sse", "avx2", "avx512", "vnni", "neon", "dotprod", "i8mm" -> the flags up to that
 * level; a level of another architecture or an unknown name is ERR_USAGE. The result is to be
 * ANDed with cpu_detect(). */
enum err cpu_mask_parse(const char *name, unsigned *mask);
/* "avx512 vnni" and the like: the highest names of flags, "none" for 0. Static storage. */
const char *cpu_level_name(unsigned flags);

#endif
