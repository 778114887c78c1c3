/*
 * hook_arm.c: the ladder of arm64 levels.
 */
#include "kern/kern_impl.h"

#include "kern/cpu.h"

#if defined(__aarch64__)

void kern_hook_arm(struct kern *k, unsigned cpu)
{
    if (!(cpu & CPU_NEON)) return;
    kern_fill_neon(k);
    if (!(cpu & CPU_DOTPROD)) return;
    kern_fill_dotprod(k);
    if (!(cpu & CPU_I8MM)) return;
    kern_fill_i8mm(k);
}

#else

void kern_hook_arm(struct kern *k, unsigned cpu)
{
    (void)k;
    (void)cpu;
}

#endif
