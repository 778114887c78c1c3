/*
 * q_codes.h: packed quantised weights (kern/pack.h) taken apart by vectors, for every instruction
 * set.
 *
 * A vector holds a slice of a tile: V_LANES of its rows, one in each lane. A type is a row of
 * constants and two functions:
 *     pair_x(p, j)                   codes of quads j and j + 4 of a group of 32 items, as dot
 *                                    products take them: unsigned, of at most 63, from which ZERO_x
 *                                    is to be taken; or of 8 bits, see wide()
 *     scales_x(chunk, g, scale, min) one float for each row of the slice, for group g of 32 items,
 *                                    or two where 16 items share a scale; min only where the type
 *                                    has it
 * A new type is these two, its ZERO_, its HEAD_ and its row in KERN_QUANT_TYPES (kern_impl.h), and
 * its layout in pack.c.
 */
#ifndef KERN_SIMD_Q_CODES_H
#define KERN_SIMD_Q_CODES_H

#include "kern/kern_impl.h"
#include "quant/block.h"

enum { WIDE = 128 };

enum {
    QUAD_BYTES = 4 * PACK_ROWS,    /* of a vector of codes of a tile */
    N_SLICE = PACK_ROWS / V_LANES, /* of a tile */
    N_PAIR = 4,                    /* of a group */
};

struct pair {
    vb lo, hi;
};

struct chunk {           /* a slice of up to 256 items of a tile */
    const uint8_t *head; /* of the whole tile: scales come first */
    size_t n_block;
    size_t row;         /* first one of the slice */
    const uint8_t *six; /* (16, PACK_ROWS) its values of six bits, from unpack_six() */
};

/* ---- codes ----------------------------------------------------------------------------------- */

/* Signed codes of 8 bits; with 128 on top where the level multiplies them so. */
INLINE vb wide(vb v)
{
    return WIDE_IS_OFFSET ? v ^ 0x80 : v;
}

INLINE vb quad_at(const uint8_t *p, size_t i)
{
    return load_vb(p + i * QUAD_BYTES);
}

INLINE struct pair pair_nibbles(const uint8_t *p, size_t j)
{
    const vb v = quad_at(p, j);
    return (struct pair){v & 15, moved(v, 4, 0, 15)};
}

/* Two bits of each of four quads in a vector: of quad j, and in the next vector of quad j + 4. */
INLINE struct pair pair_twos(const uint8_t *p, size_t j)
{
    const unsigned from = 2 * (unsigned)j;
    return (struct pair){moved(quad_at(p, 0), from, 0, 3), moved(quad_at(p, 1), from, 0, 3)};
}

/* One bit of each of eight quads. */
INLINE struct pair pair_ones(const uint8_t *p, size_t j, unsigned to)
{
    const vb v = quad_at(p, 0);
    const uint8_t mask = (uint8_t)(1u << to);
    return (struct pair){moved(v, (unsigned)j, to, mask), moved(v, (unsigned)j + 4, to, mask)};
}

/* Nibbles below what is already in place. */
INLINE struct pair over_nibbles(struct pair high, const uint8_t *p, size_t j)
{
    const vb v = quad_at(p, j);
    return (struct pair){over_low_nibbles(high.lo, v), over_high_nibbles(high.hi, v)};
}

INLINE struct pair both(struct pair a, struct pair b)
{
    return (struct pair){a.lo | b.lo, a.hi | b.hi};
}

INLINE struct pair pair_q4_0(const uint8_t *p, size_t j)
{
    return pair_nibbles(p, j);
}

INLINE struct pair pair_q4_1(const uint8_t *p, size_t j)
{
    return pair_nibbles(p, j);
}

INLINE struct pair pair_q4_k(const uint8_t *p, size_t j)
{
    return pair_nibbles(p, j);
}

INLINE struct pair pair_q5_0(const uint8_t *p, size_t j)
{
    return over_nibbles(pair_ones(p, j, 4), p + QUAD_BYTES, j);
}

INLINE struct pair pair_q5_1(const uint8_t *p, size_t j)
{
    return pair_q5_0(p, j);
}

INLINE struct pair pair_q5_k(const uint8_t *p, size_t j)
{
    return pair_q5_0(p, j);
}

INLINE struct pair pair_q8_0(const uint8_t *p, size_t j)
{
    return (struct pair){wide(quad_at(p, j)), wide(quad_at(p, j + 4))};
}

INLINE struct pair pair_iq4_nl(const uint8_t *p, size_t j)
{
    const s8x16 values = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
    const struct pair w = pair_nibbles(p, j);
    const u8x16 table = WIDE_IS_OFFSET ? (u8x16)values ^ 0x80 : (u8x16)values;
    return (struct pair){table_vb(table, w.lo), table_vb(table, w.hi)};
}

INLINE struct pair pair_iq4_xs(const uint8_t *p, size_t j)
{
    return pair_iq4_nl(p, j);
}

INLINE struct pair pair_mxfp4(const uint8_t *p, size_t j)
{
    const u8x16 values = {16, 17, 18, 19, 20, 22, 24, 28, 16, 15, 14, 13, 12, 10, 8, 4};
    const struct pair w = pair_nibbles(p, j);
    return (struct pair){table_vb(values, w.lo), table_vb(values, w.hi)};
}

INLINE struct pair pair_q2_k(const uint8_t *p, size_t j)
{
    return pair_twos(p, j);
}

INLINE struct pair pair_q3_k(const uint8_t *p, size_t j)
{
    return both(pair_ones(p, j, 2), pair_twos(p + QUAD_BYTES, j));
}

/* A quad of six bits that lies on top of three others: with this order a group takes 18 operations
 * on vectors to take apart, with nibbles and pairs of bits apart 27 (one column from the cache, Zen
 * 4: 61 and 52 GB/s). */
INLINE vb tops(const uint8_t *p, size_t i)
{
    return moved(quad_at(p, i), 6, 0, 3) | moved(quad_at(p, i + 1), 6, 2, 12) |
           moved(quad_at(p, i + 2), 6, 4, 48);
}

INLINE struct pair pair_q6_k(const uint8_t *p, size_t j)
{
    return (struct pair){quad_at(p, j) & 63, j < 2 ? quad_at(p, 4 + j) & 63 : tops(p, j % 2 * 3)};
}

/* ---- scales ---------------------------------------------------------------------------------- */

/* Number i of the chunk's f16 numbers. */
INLINE vf half_at(const struct chunk *c, size_t i)
{
    return load_vf_f16(c->head + (i * PACK_ROWS + c->row) * 2);
}

/* Byte i of what begins `at` bytes into the chunk. */
INLINE vrows byte_at(const struct chunk *c, size_t at, size_t i)
{
    return load_rows(c->head + at + i * PACK_ROWS, c->row);
}

/* All values of six bits of a chunk, of Q4_K, Q5_K and Q3_K sixteen, of IQ4_XS eight: bytes next to
 * each other are taken apart together. Group by group a single column of Q4_K went at 44 GB/s
 * instead of 53, of Q3_K at 21 instead of 25.5 (AVX-512 VNNI, Zen 4, from the cache). */
INLINE void unpack_six(const uint8_t *head, enum dtype type, uint8_t six[16 * PACK_ROWS])
{
    const int has_min = type == DT_Q4_K || type == DT_Q5_K;
    if (!has_min && type != DT_Q3_K && type != DT_IQ4_XS) return;
    const size_t n = (type == DT_IQ4_XS ? 2 : 4) * PACK_ROWS; /* a quarter */
    const uint8_t *const low = head + (has_min ? 4 : 2) * PACK_ROWS;
    const uint8_t *const high = low + 2 * n;
    UNROLL(4)
    for (size_t q = 0; q < 4; q++)
        for (size_t i = 0; i < n; i++)
            six[q * n + i] = (uint8_t)((low[q % 2 * n + i] >> q / 2 * 4 & 15) |
                                       (high[i] >> q * 2 & 3) << 4);
}

INLINE vi six_at(const struct chunk *c, size_t i)
{
    return rows_to_vi(load_rows(c->six + i * PACK_ROWS, c->row), c->row);
}

INLINE void scales_q4_0(const struct chunk *c, size_t g, vf *scale, vf *min)
{
    (void)min;
    scale[0] = half_at(c, g);
}

INLINE void scales_q5_0(const struct chunk *c, size_t g, vf *scale, vf *min)
{
    scales_q4_0(c, g, scale, min);
}

INLINE void scales_q8_0(const struct chunk *c, size_t g, vf *scale, vf *min)
{
    scales_q4_0(c, g, scale, min);
}

INLINE void scales_iq4_nl(const struct chunk *c, size_t g, vf *scale, vf *min)
{
    scales_q4_0(c, g, scale, min);
}

INLINE void scales_q4_1(const struct chunk *c, size_t g, vf *scale, vf *min)
{
    scale[0] = half_at(c, g);
    min[0] = -half_at(c, c->n_block + g);
}

INLINE void scales_q5_1(const struct chunk *c, size_t g, vf *scale, vf *min)
{
    scales_q4_1(c, g, scale, min);
}

/* 2^(e - 128): the exponent is moved into place, but for 0 and 1, which are subnormal, and where
 * that gives less */
INLINE void scales_mxfp4(const struct chunk *c, size_t g, vf *scale, vf *min)
{
    (void)min;
    const vi e = rows_to_vi(byte_at(c, 0, g), c->row);
    scale[0] = vf_max((vf)((e - 1) << 23), (vf)((e + 1) << 21));
}

INLINE void scales_q2_k(const struct chunk *c, size_t g, vf *scale, vf *min)
{
    UNROLL(2)
    for (size_t h = 0; h < 2; h++) {
        const vrows v = byte_at(c, 4 * PACK_ROWS, 2 * g + h);
        scale[h] = half_at(c, 0) * vi_to_vf(rows_to_vi(v & 15, c->row));
        min[h] = half_at(c, 1) * vi_to_vf(rows_to_vi(v >> 4, c->row));
    }
}

INLINE void scales_q3_k(const struct chunk *c, size_t g, vf *scale, vf *min)
{
    (void)min;
    UNROLL(2)
    for (size_t h = 0; h < 2; h++)
        scale[h] = half_at(c, 0) * vi_to_vf(six_at(c, 2 * g + h) - 32);
}

INLINE void scales_q4_k(const struct chunk *c, size_t g, vf *scale, vf *min)
{
    scale[0] = half_at(c, 0) * vi_to_vf(six_at(c, g));
    min[0] = half_at(c, 1) * vi_to_vf(six_at(c, 8 + g));
}

INLINE void scales_q5_k(const struct chunk *c, size_t g, vf *scale, vf *min)
{
    scales_q4_k(c, g, scale, min);
}

INLINE void scales_q6_k(const struct chunk *c, size_t g, vf *scale, vf *min)
{
    (void)min;
    UNROLL(2)
    for (size_t h = 0; h < 2; h++) {
        const vrows v = byte_at(c, 2 * PACK_ROWS, 2 * g + h);
        scale[h] = half_at(c, 0) * rows_s8_to_vf(v, c->row);
    }
}

INLINE void scales_iq4_xs(const struct chunk *c, size_t g, vf *scale, vf *min)
{
    (void)min;
    scale[0] = half_at(c, 0) * vi_to_vf(six_at(c, g) - 32);
}

/* ---- the types as constants ------------------------------------------------------------------ */

struct qtype {
    struct pair (*pair)(const uint8_t *p, size_t j);
    void (*scales)(const struct chunk *c, size_t g, vf *scale, vf *min);
    enum dtype type;
    size_t block_items, block_bytes;
    size_t head;  /* bytes of a block that are not codes */
    size_t group; /* 16 or 32 */
    int has_min;
    int zero;
    int is_arranged; /* q_mul.h: pair gives what T_ARRANGE has made */
};

enum { /* what the codes of a type are too large by: a power of two, 0, or WIDE */
       ZERO_q4_0 = 8,
       ZERO_q4_1 = 0,
       ZERO_q5_0 = 16,
       ZERO_q5_1 = 0,
       ZERO_q8_0 = WIDE,
       ZERO_iq4_nl = WIDE,
       ZERO_mxfp4 = 16,
       ZERO_q2_k = 0,
       ZERO_q3_k = 4,
       ZERO_q4_k = 0,
       ZERO_q5_k = 0,
       ZERO_q6_k = 32,
       ZERO_iq4_xs = WIDE,
};

#define QTYPE(NAME, name, block, group, has_min)                                                   \
    static const struct qtype qt_##name = {                                                        \
        pair_##name, scales_##name, DT_##NAME, block,       NAME##_BYTES,                          \
        HEAD_##name, group,         has_min,   ZERO_##name, 0};
KERN_QUANT_TYPES(QTYPE)

/* ---- taking the zero out --------------------------------------------------------------------- */

/* Sums of codes are too large by zero times the sum of the activations; n is -128 times that
 * sum. Signed codes are exact, unless the level multiplies them as w + 128. */
INLINE int has_zero(int zero)
{
    return zero && (zero != WIDE || WIDE_IS_OFFSET);
}

INLINE int zero_shift(int zero)
{
    return has_zero(zero) ? 7 - __builtin_ctz((unsigned)zero) : 0;
}

/* What a sum of the group with this n starts from. */
INLINE vi sum_start(const int32_t *n, int zero)
{
    return has_zero(zero) ? (vi){0} + (*n >> zero_shift(zero)) : (vi){0};
}

#endif
