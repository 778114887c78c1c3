/*
 * hook_x86.c: the ladder of x86 levels.
 */
#include "kern/kern_impl.h"

#include "kern/cpu.h"

#if defined(__x86_64__)

void kern_hook_x86(struct kern *k, unsigned cpu)
{
    if (!(cpu & CPU_SSE)) return;
    kern_fill_sse(k);
    if (!(cpu & CPU_AVX2)) return;
    kern_fill_avx2(k);
    if (!(cpu & CPU_AVX512)) return;
    kern_fill_avx512(k);
    if (!(cpu & CPU_VNNI)) return;
    kern_fill_vnni(k);
}

#else

void kern_hook_x86(struct kern *k, unsigned cpu)
{
    (void)k;
    (void)cpu;
}

#endif
