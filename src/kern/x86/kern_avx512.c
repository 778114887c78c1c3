/*
 * kern_avx512.c: float kernels for AVX-512. Quantised products gain from it only with VNNI
 * (kern_vnni.c).
 */
#if defined(__x86_64__)

#include "kern/simd/vec_x86.h"

#include "kern/simd/f_ops.h"

void kern_fill_avx512(struct kern *k)
{
    f_fill(k);
}

#endif
