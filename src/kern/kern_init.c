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

void kern_init(struct kern *k, unsigned cpu)
{
    assert(k);
    *k = (struct kern){.cpu = cpu, .prefetch = cpu_prefetch_bytes()};
    kern_fill_ref(k);
    kern_hook_x86(k, cpu);
    kern_hook_arm(k, cpu);
}

size_t kern_scratch_bytes(size_t k)
{
    return act_q8_kp(k) * SCRATCH_BYTES_PER_ITEM;
}
