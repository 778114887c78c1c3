/*
 * kern_avx2.c: all kernels for AVX2, FMA and F16C.
 */
#if defined(__x86_64__)

#include "kern/simd/vec_x86.h"

#include "kern/simd/f_ops.h"
#include "kern/simd/q_dot_x86.h"

#include "kern/simd/q_cols.h"
#include "kern/simd/q_peak.h"

void kern_fill_avx2(struct kern *k)
{
    f_fill(k);
    q_fill(k);
    q_cols_fill(k);
    k->int8_peak = int8_peak;
}

#endif
