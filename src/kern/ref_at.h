/*
 * ref_at.h: numbers at any alignment, for the reference: little-endian, as files and caches have
 * them.
 *
 * Not for files with wide ISA flags: they have loads of their own (simd/vec.h).
 */
#ifndef KERN_REF_AT_H
#define KERN_REF_AT_H

#include "kern/kern_impl.h"

#include <stdint.h>
#include <string.h>

static inline uint16_t u16_at(const uint8_t *p)
{
    return (uint16_t)(p[0] | p[1] << 8);
}

static inline float f32_at(const uint8_t *p)
{
    float f = 0.0f;
    memcpy(&f, p, sizeof f);
    return f;
}

static inline float f16_at(const uint8_t *p)
{
    return ref_f16_to_f32(u16_at(p));
}

static inline float bf16_at(const uint8_t *p)
{
    return ref_bf16_to_f32(u16_at(p));
}

#endif
