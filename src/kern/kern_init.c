/*
 * kern_init.c: the table of kernels: the reference everywhere, then what the CPU does better.
 *
 * There is one hook per architecture; the one of the other architecture does nothing. A hook climbs
 * its ladder of levels and returns at the first that the flags lack, so a later level replaces an
 * earlier one.
 */
#include "kern/kern_impl.h"

#include "kern/cpu.h"
#include "quant/block.h"

#include <assert.h>

#define AHEAD_FULL 4096 /* q_mul.h has the measurements */

void kern_init(struct kern *k, unsigned cpu)
{
    assert(k);
    *k = (struct kern){.cpu = cpu, .ahead = {.few = cpu_prefetch_bytes(), .full = AHEAD_FULL}};
    kern_fill_ref(k);
    kern_hook_x86(k, cpu);
    kern_hook_arm(k, cpu);
}

size_t kern_scratch_bytes(size_t k)
{
    return k * SCRATCH_BYTES_PER_ITEM + 64; /* parts begin at multiples of 64 */
}
