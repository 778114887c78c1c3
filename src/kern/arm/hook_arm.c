/*
 * hook_arm.c: the ladder of arm64 levels.
 */
#include "kern/kern_impl.h"

#include "kern/cpu.h"

void kern_hook_arm(struct kern *k, unsigned cpu)
{
    (void)k;
    (void)cpu;
}
