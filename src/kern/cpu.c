/*
 * cpu.c: instruction sets that may be used.
 *
 * x86: a CPUID bit says what the core can do, XGETBV what the operating system saves at a context
 * switch; both are needed before a wide register may be touched. arm64: the kernel says it in the
 * hwcaps; where smmla is slower than sdot (kern_i8mm.c), its level is not granted. Each level of a
 * ladder is granted only with all levels below it, so one flag test suffices to choose a kernel.
 *
 * CPUID needs the compiler's header, XGETBV and MIDR_EL1 a line of assembler each: the extensions
 * of this file.
 */
#include "kern/cpu.h"

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

static const char no_feature[] = "the processor does not have it";

#if defined(__x86_64__)

#include <cpuid.h>

struct leaf {
    unsigned a, b, c, d;
};

struct level {
    struct cpu_level l;
    const char *shown;   /* as told to the user: the name and what goes with it */
    unsigned l1_c;       /* bits that leaf 1 must have in ecx, */
    unsigned l7_b, l7_c; /* and leaf 7 in ebx and ecx */
    uint64_t saved;      /* registers that the operating system must save: bits of XCR0 */
};

#define SAVED_YMM 0x06 /* xmm, ymm */
#define SAVED_ZMM 0xe6 /* and masks, upper halves, zmm16-31 */

static const char no_os[] = "the operating system does not save its registers";

static const struct level ladder[] = {
    {.l = {"sse", "SSE3, SSSE3 and SSE4.1", CPU_SSE, NULL},
     .shown = "sse",
     .l1_c = bit_SSE3 | bit_SSSE3 | bit_SSE4_1},
    {.l = {"avx2", "AVX, AVX2, FMA and F16C", CPU_AVX2, NULL},
     .shown = "avx2",
     .l1_c = bit_AVX | bit_FMA | bit_F16C,
     .l7_b = bit_AVX2,
     .saved = SAVED_YMM},
    {.l = {"avx512", "AVX-512 F, BW, DQ and VL", CPU_AVX512, NULL},
     .shown = "avx512",
     .l7_b = bit_AVX512F | bit_AVX512BW | bit_AVX512DQ | bit_AVX512VL,
     .saved = SAVED_ZMM},
    {.l = {"vnni", "AVX512_VNNI", CPU_VNNI, NULL}, .shown = "avx512 vnni", .l7_c = bit_AVX512VNNI},
};

static struct leaf cpuid(unsigned leaf, unsigned sub)
{
    struct leaf r = {0};
    if (!__get_cpuid_count(leaf, sub, &r.a, &r.b, &r.c, &r.d)) return (struct leaf){0};
    return r;
}

/* Register sets that the operating system saves: XCR0, 0 where XGETBV is not enabled. */
static uint64_t os_saves(const struct leaf *l1)
{
    if (!(l1->c & bit_OSXSAVE)) return 0;
    uint32_t lo = 0;
    uint32_t hi = 0;
    __asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
    return (uint64_t)hi << 32 | lo;
}

static bool has(uint64_t found, uint64_t bits)
{
    return (found & bits) == bits;
}

static const char *lacks_of(const struct level *level)
{
    const struct leaf l1 = cpuid(1, 0);
    const struct leaf l7 = cpuid(7, 0);
    if (!has(l1.c, level->l1_c)) return no_feature;
    if (!has(l7.b, level->l7_b) || !has(l7.c, level->l7_c)) return no_feature;
    return has(os_saves(&l1), level->saved) ? NULL : no_os;
}

#elif defined(__aarch64__)

#include <sys/auxv.h>

struct level {
    struct cpu_level l;
    const char *shown;
    unsigned long hwcap, hwcap2; /* Linux: asm/hwcap.h */
};

static const struct level ladder[] = {
    {.l = {"neon", "Advanced SIMD", CPU_NEON, NULL}, .shown = "neon"},
    {.l = {"dotprod", "SDOT and UDOT", CPU_DOTPROD, NULL},
     .shown = "neon dotprod",
     .hwcap = 1ul << 20},
    {.l = {"i8mm", "SMMLA", CPU_I8MM, NULL}, .shown = "neon dotprod i8mm", .hwcap2 = 1ul << 13},
};

/* Apple's and Qualcomm's own cores (Arm's register MIDR_EL1; the system answers for it). */
static bool is_smmla_slow(void)
{
    const unsigned long cpuid = 1ul << 11; /* hwcap: MIDR_EL1 may be read */
    uint64_t midr = 0;
    if (getauxval(AT_HWCAP) & cpuid) __asm__ volatile("mrs %0, MIDR_EL1" : "=r"(midr));
    const unsigned maker = midr >> 24 & 0xff;
    return maker == 'a' || maker == 'Q';
}

static const char *lacks_of(const struct level *level)
{
    const bool ok = (getauxval(AT_HWCAP) & level->hwcap) == level->hwcap &&
                    (getauxval(AT_HWCAP2) & level->hwcap2) == level->hwcap2;
    if (!ok) return no_feature;
    return level->l.flag == CPU_I8MM && is_smmla_slow() ? "SDOT is faster here" : NULL;
}

#else

struct level {
    struct cpu_level l;
    const char *shown;
};

static const struct level ladder[] = {{.l = {"none", "nothing", 0, NULL}, .shown = "none"}};

static const char *lacks_of(const struct level *level)
{
    (void)level;
    return NULL;
}

#endif

enum { N_LEVEL = sizeof ladder / sizeof ladder[0] };

size_t cpu_levels(struct cpu_level *levels, size_t n_max)
{
    assert(levels);
    size_t n = 0;
    const char *lower = NULL;
    for (; n < N_LEVEL && n < n_max; n++) {
        levels[n] = ladder[n].l;
        levels[n].lacks = lacks_of(&ladder[n]);
        if (!levels[n].lacks) levels[n].lacks = lower;
        if (levels[n].lacks) lower = "a lower level is missing";
    }
    return n;
}

unsigned cpu_detect(void)
{
    struct cpu_level levels[N_LEVEL];
    const size_t n = cpu_levels(levels, N_LEVEL);
    unsigned flags = 0;
    for (size_t i = 0; i < n && !levels[i].lacks; i++) flags |= levels[i].flag;
    return flags;
}

/* Zen 4, one core [measured]: 32.5 GB/s by its own prefetchers, 29 to 31 with prefetches 1 to 8 KB
 * ahead. Emerald Rapids: 10 to 11 without, 13.5 with 4 KB (15 in pages of 2 MB). */
size_t cpu_prefetch_bytes(void)
{
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_is("amd")) return 0;
#endif
    return 4096;
}

enum err cpu_mask_parse(const char *name, unsigned *mask)
{
    assert(name);
    assert(mask);
    *mask = 0;
    if (strcmp(name, "none") == 0) return OK;
    unsigned flags = 0;
    for (size_t i = 0; i < N_LEVEL; i++) {
        flags |= ladder[i].l.flag;
        if (strcmp(name, ladder[i].l.name) != 0) continue;
        *mask = flags;
        return OK;
    }
    return err_set(ERR_USAGE,
                   "'%s' is no instruction-set level of this architecture; choose none%s", name,
#if defined(__x86_64__)
                   ", sse, avx2, avx512 or vnni"
#elif defined(__aarch64__)
                   ", neon, dotprod or i8mm"
#else
                   ""
#endif
    );
}

const char *cpu_level_name(unsigned flags)
{
    for (size_t i = N_LEVEL; i-- > 0;) {
        if (flags & ladder[i].l.flag) return ladder[i].shown;
    }
    return "none";
}
