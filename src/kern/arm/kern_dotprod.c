/*
 * kern_dotprod.c: quantised products for arm64 with sdot.
 */
#if defined(__aarch64__)

#include "kern/simd/vec_arm.h"

#include "kern/simd/q_dot_sdot.h"

#define T_COLS 4
#define T_SLICES(n_col) ((n_col) <= 2 ? 4 : 2)
#define t_group sdot_group

#include "kern/simd/q_cols.h"
#include "kern/simd/q_peak.h"

void kern_fill_dotprod(struct kern *k)
{
    q_fill(k);
    q_cols_fill(k);
    k->int8_peak = int8_peak;
}

#endif
