/*
 * cpu.c: instruction sets that may be used.
 *
 * x86: a CPUID bit says what the core can do, XGETBV what the operating system saves at a context
 * switch; both are needed before a wide register may be touched. arm64: the kernel says it in the
 * hwcaps. Each level of a ladder is granted only with all levels below it, so one flag test
 * suffices to choose a kernel.
 *
 * CPUID and XGETBV need the compiler's header and one line of assembler: the extension of this
 * file.
 */
#include "kern/cpu.h"

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct level {
    const char *name;  /* as in --cpu-mask */
    const char *shown; /* as told to the user: the name and what goes with it */
    unsigned flag;
};

#if defined(__x86_64__)

#include <cpuid.h>

static const struct level ladder[] = {
    {"sse", "sse", CPU_SSE},
    {"avx2", "avx2", CPU_AVX2},
    {"avx512", "avx512", CPU_AVX512},
    {"vnni", "avx512 vnni", CPU_VNNI},
};

struct leaf {
    unsigned a, b, c, d;
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

static bool has(unsigned reg, unsigned bits)
{
    return (reg & bits) == bits;
}

unsigned cpu_detect(void)
{
    const uint64_t saves_avx = 0x06;    /* xmm, ymm */
    const uint64_t saves_avx512 = 0xe6; /* and masks, upper halves, zmm16-31 */
    const struct leaf l1 = cpuid(1, 0);
    const struct leaf l7 = cpuid(7, 0);
    const uint64_t saves = os_saves(&l1);
    const unsigned avx512_b = bit_AVX512F | bit_AVX512BW | bit_AVX512DQ | bit_AVX512VL;

    unsigned flags = 0;
    if (!has(l1.c, bit_SSE3 | bit_SSSE3 | bit_SSE4_1)) return flags;
    flags |= CPU_SSE;
    if (!has(l1.c, bit_AVX | bit_FMA | bit_F16C) || !has(l7.b, bit_AVX2)) return flags;
    if ((saves & saves_avx) != saves_avx) return flags;
    flags |= CPU_AVX2;
    if (!has(l7.b, avx512_b) || (saves & saves_avx512) != saves_avx512) return flags;
    flags |= CPU_AVX512;
    if (has(l7.c, bit_AVX512VNNI)) flags |= CPU_VNNI;
    return flags;
}

#elif defined(__aarch64__)

#include <sys/auxv.h>

static const struct level ladder[] = {
    {"neon", "neon", CPU_NEON},
    {"dotprod", "neon dotprod", CPU_DOTPROD},
    {"i8mm", "neon dotprod i8mm", CPU_I8MM},
};

unsigned cpu_detect(void)
{
    const unsigned long hwcap_asimddp = 1ul << 20; /* Linux: asm/hwcap.h */
    const unsigned long hwcap2_i8mm = 1ul << 13;
    unsigned flags = CPU_NEON;
    if (!(getauxval(AT_HWCAP) & hwcap_asimddp)) return flags;
    flags |= CPU_DOTPROD;
    if (getauxval(AT_HWCAP2) & hwcap2_i8mm) flags |= CPU_I8MM;
    return flags;
}

#else

static const struct level ladder[] = {{"none", "none", 0}};

unsigned cpu_detect(void)
{
    return 0;
}

#endif

enum { N_LEVEL = sizeof ladder / sizeof ladder[0] };

enum err cpu_mask_parse(const char *name, unsigned *mask)
{
    assert(name);
    assert(mask);
    *mask = 0;
    if (strcmp(name, "none") == 0) return OK;
    unsigned flags = 0;
    for (size_t i = 0; i < N_LEVEL; i++) {
        flags |= ladder[i].flag;
        if (strcmp(name, ladder[i].name) != 0) continue;
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
        if (flags & ladder[i].flag) return ladder[i].shown;
    }
    return "none";
}
