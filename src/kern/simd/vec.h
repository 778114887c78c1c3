/*
 * vec.h: the vector types that the kernels of every level share, and what the compiler can do with
 * them.
 *
 * Vectors are the compiler's own (GNU C vector extension), so +, *, &, << and comparisons need no
 * name per instruction set. What they cannot say (fused multiply-add, table look-up, half floats)
 * is in vec_x86.h and vec_arm.h, at the level's full width of V_LANES floats, or in 128 bits where
 * lanes meet.
 *
 * Everything is static: each file that is compiled with its own flags has its own copies, and none
 * of them can be linked into code that must run on a lesser CPU.
 */
#ifndef KERN_SIMD_VEC_H
#define KERN_SIMD_VEC_H

#include <stddef.h>
#include <stdint.h>

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif

/* Templates: parameters that are constants at the call shape the code. Sanitizers check every
 * access, which makes minutes of compiling out of that, so there they stay functions. */
#if defined(SANITIZED)
#define INLINE static inline
#define UNROLL(n)
#else
#define INLINE static inline __attribute__((always_inline))
#define UNROLL(n) UNROLL_(GCC unroll n)
#define UNROLL_(text) _Pragma(#text)
#endif

typedef uint8_t u8x16 __attribute__((vector_size(16)));
typedef int8_t s8x16 __attribute__((vector_size(16)));
typedef int32_t s32x4 __attribute__((vector_size(16)));
typedef uint32_t u32x4 __attribute__((vector_size(16)));
typedef float f32x4 __attribute__((vector_size(16)));

/* The level's widest: V_LANES is set by the file's flags. */
#if defined(__AVX512F__)
#define V_LANES 16
#elif defined(__AVX2__)
#define V_LANES 8
#else
#define V_LANES 4
#endif
typedef float vf __attribute__((vector_size(4 * V_LANES)));
typedef int32_t vi __attribute__((vector_size(4 * V_LANES)));
typedef uint32_t vu __attribute__((vector_size(4 * V_LANES)));
typedef uint8_t vb __attribute__((vector_size(4 * V_LANES)));

INLINE u8x16 load_u8x16(const uint8_t *p)
{
    u8x16 v;
    __builtin_memcpy(&v, p, sizeof v);
    return v;
}

INLINE vb load_vb(const uint8_t *p)
{
    vb v;
    __builtin_memcpy(&v, p, sizeof v);
    return v;
}

INLINE void store_vb(uint8_t *p, vb v)
{
    __builtin_memcpy(p, &v, sizeof v);
}

INLINE vi load_vi(const int32_t *p)
{
    vi v;
    __builtin_memcpy(&v, p, sizeof v);
    return v;
}

INLINE void store_vi(int32_t *p, vi v)
{
    __builtin_memcpy(p, &v, sizeof v);
}

INLINE vf vf_set(float f)
{
    return f - (vf){0}; /* a broadcast; 0 + f would be a sum, since it is not -0 for -0 */
}

INLINE vf load_vf(const float *p)
{
    vf v;
    __builtin_memcpy(&v, p, sizeof v);
    return v;
}

INLINE void store_vf(float *p, vf v)
{
    __builtin_memcpy(p, &v, sizeof v);
}

/* The first n < V_LANES floats, zeros after them. */
INLINE vf load_vf_part(const float *p, size_t n)
{
    vf v = {0};
    __builtin_memcpy(&v, p, n * sizeof *p);
    return v;
}

INLINE void store_vf_part(float *p, vf v, size_t n)
{
    __builtin_memcpy(p, &v, n * sizeof *p);
}

INLINE s32x4 pair_sums(s32x4 a, s32x4 b);

/* Lane i is the sum of the lanes of v[i]. */
INLINE s32x4 sums4(const s32x4 v[4])
{
    return pair_sums(pair_sums(v[0], v[1]), pair_sums(v[2], v[3]));
}

/* Lanes i, i + 4 ... to lane i: the largest, the sum; fold4: the sum of 16 lanes, halves first. */
#if V_LANES == 4

INLINE s32x4 fold_max(vi v)
{
    return v;
}

INLINE s32x4 fold_sum(vi v)
{
    return v;
}

INLINE f32x4 fold4(const vf v[4])
{
    return (v[0] + v[2]) + (v[1] + v[3]);
}

#endif

/* mask lanes are all ones or all zeros */
INLINE vf vf_select(vi mask, vf yes, vf no)
{
    return (vf)((mask & (vi)yes) | (~mask & (vi)no));
}

INLINE uint16_t load_u16(const uint8_t *p)
{
    uint16_t v;
    __builtin_memcpy(&v, p, sizeof v);
    return v;
}

INLINE uint32_t load_u32(const uint8_t *p)
{
    uint32_t v;
    __builtin_memcpy(&v, p, sizeof v);
    return v;
}

#endif
