/*
 * kern_sse.c: all kernels for SSSE3 and SSE4.1. There is no fused multiply-add, so quantised
 * products may differ from the other levels in the last bits.
 */
#if defined(__x86_64__)

#include "kern/simd/vec_x86.h"

#include "kern/simd/f_ops.h"
#include "kern/simd/q_dot_x86.h"

#include "kern/simd/q_cols.h"
#include "kern/simd/q_peak.h"

void kern_fill_sse(struct kern *k)
{
    f_fill(k);
    q_fill(k);
    q_cols_fill(k);
    k->int8_peak = int8_peak;
}

#endif
