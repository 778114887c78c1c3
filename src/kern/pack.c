/*
 * pack.c: rows of blocks to tiles and back.
 *
 * A group of 32 items of one row is taken apart into eight quads, words of four codes, and a quad
 * is placed with a few operations on words; the same in the other direction. A type is a row of
 * constants and the place of its codes and scales in a block (quant/block.h).
 */
#include "kern/pack.h"

#include "kern/kern_impl.h"
#include "quant/block.h"

#include <assert.h>
#include <stdint.h>
#include <string.h>

enum { GROUP_ITEMS = 32, QUADS = 8, ROWS = PACK_ROWS };

/* How a row stores the codes of a group. */
enum codes_in {
    IN_NIBBLES, /* low nibbles: quads 0..3, high ones: quads 4..7 */
    IN_FIVE,    /* the same, after a word with the fifth bits */
    IN_BYTES,
    IN_Q2_K,
    IN_Q3_K,
    IN_Q4_K,
    IN_Q5_K,
    IN_Q6_K,
};

enum scales_in { SCALES_NONE, SCALES_BYTES, SCALES_Q3_K, SCALES_Q4_K, SCALES_IQ4_XS };

struct pack_type {
    size_t block_items, block_bytes;
    size_t head;               /* bytes of a block that are not codes */
    size_t n_head, head_bytes; /* numbers at the start of a small block or in a K block */
    size_t head_at[2];
    enum scales_in scales; /* of a K block */
    size_t scales_at;
    enum codes_in codes;
    size_t codes_at;
    int n_low, n_high; /* bits of a code: in nibbles, pairs or bytes; on top of them */
};

static const struct pack_type types[DT_COUNT] = {
    [DT_Q4_0] = {32, Q4_0_BYTES, HEAD_q4_0, 1, 2, {0, 0}, SCALES_NONE, 0, IN_NIBBLES, 2, 4, 0},
    [DT_Q4_1] = {32, Q4_1_BYTES, HEAD_q4_1, 2, 2, {0, 2}, SCALES_NONE, 0, IN_NIBBLES, 4, 4, 0},
    [DT_Q5_0] = {32, Q5_0_BYTES, HEAD_q5_0, 1, 2, {0, 0}, SCALES_NONE, 0, IN_FIVE, 2, 4, 1},
    [DT_Q5_1] = {32, Q5_1_BYTES, HEAD_q5_1, 2, 2, {0, 2}, SCALES_NONE, 0, IN_FIVE, 4, 4, 1},
    [DT_Q8_0] = {32, Q8_0_BYTES, HEAD_q8_0, 1, 2, {0, 0}, SCALES_NONE, 0, IN_BYTES, 2, 8, 0},
    [DT_IQ4_NL] =
        {32, IQ4_NL_BYTES, HEAD_iq4_nl, 1, 2, {0, 0}, SCALES_NONE, 0, IN_NIBBLES, 2, 4, 0},
    [DT_MXFP4] = {32, MXFP4_BYTES, HEAD_mxfp4, 1, 1, {0, 0}, SCALES_NONE, 0, IN_NIBBLES, 1, 4, 0},
    [DT_Q2_K] = {256, Q2_K_BYTES, HEAD_q2_k, 2, 2, {80, 82}, SCALES_BYTES, 0, IN_Q2_K, 16, 2, 0},
    [DT_Q3_K] = {256, Q3_K_BYTES, HEAD_q3_k, 1, 2, {108, 0}, SCALES_Q3_K, 96, IN_Q3_K, 0, 2, 1},
    [DT_Q4_K] = {256, Q4_K_BYTES, HEAD_q4_k, 2, 2, {0, 2}, SCALES_Q4_K, 4, IN_Q4_K, 16, 4, 0},
    [DT_Q5_K] = {256, Q5_K_BYTES, HEAD_q5_k, 2, 2, {0, 2}, SCALES_Q4_K, 4, IN_Q5_K, 16, 4, 1},
    [DT_Q6_K] = {256, Q6_K_BYTES, HEAD_q6_k, 1, 2, {208, 0}, SCALES_BYTES, 192, IN_Q6_K, 0, 4, 2},
    [DT_IQ4_XS] =
        {256, IQ4_XS_BYTES, HEAD_iq4_xs, 1, 2, {0, 0}, SCALES_IQ4_XS, 2, IN_NIBBLES, 8, 4, 0},
};

bool pack_can(enum dtype type)
{
    return types[type].block_items != 0;
}

static uint32_t word_at(const uint8_t *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static void put_word(uint8_t *p, uint32_t v)
{
    memcpy(p, &v, sizeof v);
}

/* The bits of mask, repeated in each byte of a word. */
static inline uint32_t in_bytes(uint32_t mask)
{
    return mask * 0x01010101u;
}

/* Changes the bits of a mask. */
static void set_bits(uint8_t *p, uint32_t mask, uint32_t bits)
{
    put_word(p, (word_at(p) & ~mask) | bits);
}

/* ---- codes of a group in a row --------------------------------------------------------------- */

/* A field of `mask` at bit `shift` of the bytes at p. */
struct field {
    size_t at;
    unsigned shift;
    uint32_t mask;
    unsigned up; /* where it belongs in the code */
};

/* The fields of quad q of group g; how many. p counts from the codes of the type. */
static inline int quad_fields(enum codes_in in, size_t g, size_t q, struct field f[2])
{
    const size_t byte = 4 * q;
    switch (in) {
    case IN_NIBBLES:
    case IN_FIVE:
        f[0] = (struct field){byte % 16, q < 4 ? 0 : 4, 15, 0};
        return 1;
    case IN_BYTES:
        f[0] = (struct field){byte, 0, 255, 0};
        return 1;
    case IN_Q2_K:
        f[0] = (struct field){g / 4 * 32 + byte, (unsigned)(g % 4 * 2), 3, 0};
        return 1;
    case IN_Q3_K: /* 32 bytes of third bits come first */
        f[0] = (struct field){32 + g / 4 * 32 + byte, (unsigned)(g % 4 * 2), 3, 0};
        f[1] = (struct field){byte, (unsigned)g, 1, 2};
        return 2;
    case IN_Q4_K:
        f[0] = (struct field){g / 2 * 32 + byte, (unsigned)(g % 2 * 4), 15, 0};
        return 1;
    case IN_Q5_K: /* 32 bytes of fifth bits come first */
        f[0] = (struct field){32 + g / 2 * 32 + byte, (unsigned)(g % 2 * 4), 15, 0};
        f[1] = (struct field){byte, (unsigned)g, 1, 4};
        return 2;
    case IN_Q6_K: /* 128 bytes of low nibbles, then pairs of high bits */
        f[0] = (struct field){g / 4 * 64 + g % 2 * 32 + byte, (unsigned)(g % 4 / 2 * 4), 15, 0};
        f[1] = (struct field){128 + g / 4 * 32 + byte, (unsigned)(g % 4 * 2), 3, 4};
        return 2;
    }
    return 0;
}

/* Bits 4 q ... of a word, each to the fifth bit of a byte, and back. */
static inline uint32_t fifth_bits(uint32_t word, size_t q)
{
    return (((word >> 4 * q & 15) * 0x00204081u) & in_bytes(1)) << 4;
}

static inline uint32_t fifth_word(uint32_t quad, size_t q)
{
    return ((quad >> 4 & in_bytes(1)) * 0x01020408u >> 24 & 15) << 4 * q;
}

static inline void get_quads(enum codes_in in, const uint8_t *codes, size_t g, uint32_t quad[QUADS])
{
    const uint8_t *const p = in == IN_FIVE ? codes + 4 : codes;
    for (size_t q = 0; q < QUADS; q++) {
        struct field f[2];
        const int n = quad_fields(in, g, q, f);
        quad[q] = in == IN_FIVE ? fifth_bits(word_at(codes), q) : 0;
        for (int i = 0; i < n; i++)
            quad[q] |= (word_at(p + f[i].at) >> f[i].shift & in_bytes(f[i].mask)) << f[i].up;
    }
}

static inline void set_quads(enum codes_in in, const uint32_t quad[QUADS], uint8_t *codes, size_t g)
{
    uint8_t *const p = in == IN_FIVE ? codes + 4 : codes;
    uint32_t fifth = 0;
    for (size_t q = 0; q < QUADS; q++) {
        struct field f[2];
        const int n = quad_fields(in, g, q, f);
        fifth |= fifth_word(quad[q], q);
        for (int i = 0; i < n; i++)
            set_bits(p + f[i].at, in_bytes(f[i].mask) << f[i].shift,
                     (quad[q] >> f[i].up & in_bytes(f[i].mask)) << f[i].shift);
    }
    if (in == IN_FIVE) put_word(codes, fifth);
}

/* ---- codes of a group in a tile -------------------------------------------------------------- */

enum { VECTOR = 4 * ROWS }; /* bytes */

static inline size_t group_bytes(const struct pack_type *t)
{
    return (size_t)(t->n_low + t->n_high) * VECTOR;
}

/* Bits [up, up + n) of the quads of row r; 8 / n quads in a vector: quad q is in vector q %
 * n_vector for nibbles, and in vector q / (8 / n) else. */
static inline void put_field(const uint32_t quad[QUADS], unsigned up, unsigned n, uint8_t *dst,
                             size_t r)
{
    const uint32_t mask = in_bytes((1u << n) - 1);
    const size_t n_in = 8 / n;
    for (size_t v = 0; v < n; v++) {
        uint32_t word = 0;
        for (size_t i = 0; i < n_in; i++) {
            const size_t q = n == 4 ? v + 4 * i : v * n_in + i;
            word |= (quad[q] >> up & mask) << n * i;
        }
        put_word(dst + v * VECTOR + 4 * r, word);
    }
}

static inline void get_field(uint32_t quad[QUADS], unsigned up, unsigned n, const uint8_t *src,
                             size_t r)
{
    const uint32_t mask = in_bytes((1u << n) - 1);
    const size_t n_in = 8 / n;
    for (size_t v = 0; v < n; v++) {
        const uint32_t word = word_at(src + v * VECTOR + 4 * r);
        for (size_t i = 0; i < n_in; i++)
            quad[n == 4 ? v + 4 * i : v * n_in + i] |= (word >> n * i & mask) << up;
    }
}

static inline void put_codes(const struct pack_type *t, const uint32_t quad[QUADS], uint8_t *dst,
                             size_t r)
{
    if (t->n_high) put_field(quad, (unsigned)t->n_low, (unsigned)t->n_high, dst, r);
    put_field(quad, 0, (unsigned)t->n_low, dst + (size_t)t->n_high * VECTOR, r);
}

static inline void take_codes(const struct pack_type *t, const uint8_t *src, size_t r,
                              uint32_t quad[QUADS])
{
    memset(quad, 0, QUADS * sizeof *quad);
    if (t->n_high) get_field(quad, (unsigned)t->n_low, (unsigned)t->n_high, src, r);
    get_field(quad, 0, (unsigned)t->n_low, src + (size_t)t->n_high * VECTOR, r);
}

/* ---- scales of K blocks ---------------------------------------------------------------------- */

static size_t n_six(enum scales_in s)
{
    return s == SCALES_IQ4_XS ? 8 : s == SCALES_BYTES || s == SCALES_NONE ? 0 : 16;
}

/* Six-bit values: of Q4_K the scales, then the minimums. */
static void get_six(enum scales_in s, const uint8_t *p, uint8_t v[16])
{
    for (size_t i = 0; i < n_six(s); i++) {
        unsigned low, high;
        if (s == SCALES_Q3_K) {
            low = i < 8 ? p[i] & 15u : (unsigned)p[i - 8] >> 4;
            high = (unsigned)p[8 + i % 4] >> i / 4 * 2 & 3;
        } else if (s == SCALES_IQ4_XS) {
            low = (unsigned)p[2 + i / 2] >> i % 2 * 4 & 15;
            high = (unsigned)p[i / 4] >> i % 4 * 2 & 3;
        } else {
            const size_t j = i / 8 * 4 + i % 4; /* byte of the first four of scales or minimums */
            const unsigned last = p[8 + i % 4];
            low = i % 8 < 4 ? p[j] & 15u : i < 8 ? last & 15 : last >> 4;
            high = (unsigned)p[j] >> (i % 8 < 4 ? 4 : 6) & 3;
        }
        v[i] = (uint8_t)(low | high << 4);
    }
}

static void set_six(enum scales_in s, const uint8_t v[16], uint8_t *p)
{
    memset(p, 0, n_six(s) * 3 / 4);
    for (size_t i = 0; i < n_six(s); i++) {
        const unsigned low = v[i] & 15, high = v[i] >> 4;
        if (s == SCALES_Q3_K) {
            p[i % 8] |= (uint8_t)(low << i / 8 * 4);
            p[8 + i % 4] |= (uint8_t)(high << i / 4 * 2);
        } else if (s == SCALES_IQ4_XS) {
            p[2 + i / 2] |= (uint8_t)(low << i % 2 * 4);
            p[i / 4] |= (uint8_t)(high << i % 4 * 2);
        } else {
            const size_t j = i / 8 * 4 + i % 4;
            p[j] |= (uint8_t)(high << (i % 8 < 4 ? 4 : 6));
            p[i % 8 < 4 ? j : 8 + i % 4] |= (uint8_t)(low << (i % 8 < 4 ? 0 : i / 8 * 4));
        }
    }
}

static inline void put_scales(const struct pack_type *t, const uint8_t *block, uint8_t *dst,
                              size_t r)
{
    const uint8_t *const p = block + t->scales_at;
    uint8_t v[16];
    if (t->scales == SCALES_BYTES) {
        for (size_t i = 0; i < 16; i++) dst[i * ROWS + r] = p[i];
        return;
    }
    const size_t n = n_six(t->scales);
    get_six(t->scales, p, v);
    for (size_t i = 0; i < n / 2; i++)
        dst[i * ROWS + r] = (uint8_t)((v[i] & 15) | (v[i + n / 2] & 15) << 4);
    for (size_t i = 0; i < n / 4; i++) {
        unsigned high = 0;
        for (size_t a = 0; a < 4; a++) high |= (unsigned)v[i + a * n / 4] >> 4 << 2 * a;
        dst[(n / 2 + i) * ROWS + r] = (uint8_t)high;
    }
}

static void take_scales(const struct pack_type *t, const uint8_t *src, size_t r, uint8_t *block)
{
    uint8_t *const p = block + t->scales_at;
    uint8_t v[16];
    if (t->scales == SCALES_BYTES) {
        for (size_t i = 0; i < 16; i++) p[i] = src[i * ROWS + r];
        return;
    }
    const size_t n = n_six(t->scales);
    for (size_t i = 0; i < n; i++) {
        const unsigned low = (unsigned)src[i % (n / 2) * ROWS + r] >> i / (n / 2) * 4 & 15;
        const unsigned high =
            (unsigned)src[(n / 2 + i % (n / 4)) * ROWS + r] >> i / (n / 4) * 2 & 3;
        v[i] = (uint8_t)(low | high << 4);
    }
    set_six(t->scales, v, p);
}

/* ---- chunks ---------------------------------------------------------------------------------- */

struct chunk { /* one chunk of a tile */
    size_t n_block, n_group;
    size_t scales_at, codes_at;
};

static inline struct chunk chunk_of(const struct pack_type *t, size_t n_item)
{
    struct chunk c = {.n_block = n_item / t->block_items, .n_group = n_item / GROUP_ITEMS};
    c.scales_at = t->n_head * t->head_bytes * c.n_block * ROWS;
    c.codes_at = t->head * c.n_block * ROWS;
    return c;
}

static size_t items_at(size_t k, size_t i)
{
    return k - i < CHUNK ? k - i : CHUNK;
}

/* Where the codes of group g begin in a row's chunk. */
static inline size_t codes_at(const struct pack_type *t, size_t g)
{
    if (t->block_items == CHUNK) /* codes of IQ4_XS follow each other as small blocks' do */
        return t->codes_at + (t->codes == IN_NIBBLES ? g * 16 : 0);
    return g * t->block_bytes + t->codes_at;
}

/* The numbers at the head of a row's blocks: d, m, e. */
static inline void put_heads(const struct pack_type *t, const struct chunk *c, const uint8_t *row,
                             uint8_t *dst, size_t r)
{
    for (size_t h = 0; h < t->n_head; h++) {
        for (size_t b = 0; b < c->n_block; b++) {
            const uint8_t *const from = row + b * t->block_bytes + t->head_at[h];
            uint8_t *const to = dst + ((h * c->n_block + b) * ROWS + r) * t->head_bytes;
            for (size_t i = 0; i < t->head_bytes; i++) to[i] = from[i];
        }
    }
}

static inline void take_heads(const struct pack_type *t, const struct chunk *c, const uint8_t *src,
                              size_t r, uint8_t *row)
{
    for (size_t h = 0; h < t->n_head; h++) {
        for (size_t b = 0; b < c->n_block; b++) {
            const uint8_t *const from = src + ((h * c->n_block + b) * ROWS + r) * t->head_bytes;
            uint8_t *const to = row + b * t->block_bytes + t->head_at[h];
            for (size_t i = 0; i < t->head_bytes; i++) to[i] = from[i];
        }
    }
}

/* n_item items of rows r0 .. r1 - 1 to a tile's chunk. t is a constant of the caller: the fields of
 * each type become shifts and masks. */
static inline __attribute__((always_inline)) void pack_chunk(const struct pack_type *t,
                                                             const uint8_t *const row[ROWS],
                                                             size_t r0, size_t r1, size_t at,
                                                             size_t n_item, uint8_t *dst)
{
    const struct chunk c = chunk_of(t, n_item);
    for (size_t r = r0; r < r1; r++) {
        put_heads(t, &c, row[r] + at, dst, r);
        if (t->scales != SCALES_NONE) put_scales(t, row[r] + at, dst + c.scales_at, r);
    }
    for (size_t g = 0; g < c.n_group; g++) {
        for (size_t r = r0; r < r1; r++) {
            uint32_t quad[QUADS];
            get_quads(t->codes, row[r] + at + codes_at(t, g), g, quad);
            put_codes(t, quad, dst + c.codes_at + g * group_bytes(t), r);
        }
    }
}

static inline __attribute__((always_inline)) void pack_tile_of(const struct pack_type *t,
                                                               const uint8_t *const row[ROWS],
                                                               size_t r0, size_t r1, size_t k,
                                                               uint8_t *dst)
{
    for (size_t i = 0; i < k; i += CHUNK) {
        const size_t at = i / t->block_items * t->block_bytes;
        pack_chunk(t, row, r0, r1, at, items_at(k, i), dst + at * ROWS);
    }
}

/* A row of numbers of n_byte each, a constant of the caller. */
static inline __attribute__((always_inline)) void put_numbers(const uint8_t *row, size_t k,
                                                              size_t n_byte, uint8_t *dst, size_t r)
{
    for (size_t i = 0; i < k; i++) memcpy(dst + (i * ROWS + r) * n_byte, row + i * n_byte, n_byte);
}

static inline __attribute__((always_inline)) void
take_numbers(const uint8_t *src, size_t r, size_t k, size_t n_byte, uint8_t *row)
{
    for (size_t i = 0; i < k; i++) memcpy(row + i * n_byte, src + (i * ROWS + r) * n_byte, n_byte);
}

static void take_blocks(const struct pack_type *t, const uint8_t *tile, size_t r, size_t k,
                        uint8_t *row)
{
    for (size_t i = 0; i < k; i += CHUNK) {
        const struct chunk c = chunk_of(t, items_at(k, i));
        const size_t at = i / t->block_items * t->block_bytes;
        const uint8_t *const src = tile + at * ROWS;
        take_heads(t, &c, src, r, row + at);
        if (t->scales != SCALES_NONE) take_scales(t, src + c.scales_at, r, row + at);
        for (size_t g = 0; g < c.n_group; g++) {
            uint32_t quad[QUADS];
            take_codes(t, src + c.codes_at + g * group_bytes(t), r, quad);
            set_quads(t->codes, quad, row + at + codes_at(t, g), g);
        }
    }
}

/* ---- public ---------------------------------------------------------------------------------- */

void pack_tile(enum dtype type, const void *rows, size_t stride, size_t n_row, size_t k, void *dst)
{
    const struct pack_type *const t = &types[type];
    assert(pack_can(type));
    assert(n_row >= 1);
    assert(n_row <= PACK_ROWS);
    assert(k % t->block_items == 0);
    const uint8_t *row[ROWS];
    for (size_t r = 0; r < ROWS; r++)
        row[r] = (const uint8_t *)rows + (r < n_row ? r : n_row - 1) * stride;
    switch (type) {
#define PACK(NAME, name, block, group, has_min)                                                    \
    case DT_##NAME:                                                                                \
        pack_tile_of(&types[DT_##NAME], row, 0, ROWS, k, dst);                                     \
        break;
        KERN_QUANT_TYPES(PACK)
#undef PACK
    default:
        break;
    }
}

void pack_rows(enum dtype type, const void *rows, size_t stride, size_t n_row, size_t k, void *dst)
{
    const size_t row_bytes = dtype_row_bytes(type, k);
    for (size_t r = 0; r < n_row; r += ROWS) {
        const uint8_t *const from = (const uint8_t *)rows + r * stride;
        uint8_t *const to = (uint8_t *)dst + r * row_bytes;
        if (n_row - r >= ROWS) {
            pack_tile(type, from, stride, ROWS, k, to);
            continue;
        }
        for (size_t i = 0; i < n_row - r; i++)
            memcpy(to + i * row_bytes, from + i * stride, row_bytes);
    }
}

void pack_get_row(enum dtype type, const void *packed, size_t n_row, size_t k, size_t r, void *row)
{
    const size_t row_bytes = dtype_row_bytes(type, k);
    const uint8_t *const tile = (const uint8_t *)packed + r / ROWS * ROWS * row_bytes;
    assert(r < n_row);
    if (n_row - r / ROWS * ROWS < ROWS) {
        memcpy(row, tile + r % ROWS * row_bytes, row_bytes);
    } else if (type == DT_F32) {
        take_numbers(tile, r % ROWS, k, 4, row);
    } else if (type == DT_F16) {
        take_numbers(tile, r % ROWS, k, 2, row);
    } else {
        assert(pack_can(type));
        take_blocks(&types[type], tile, r % ROWS, k, row);
    }
}

void pack_set_row(enum dtype type, const void *row, size_t k, size_t r, void *tile)
{
    assert(r < ROWS);
    if (type == DT_F32) {
        put_numbers(row, k, 4, tile, r);
    } else if (type == DT_F16) {
        put_numbers(row, k, 2, tile, r);
    } else {
        assert(pack_can(type));
        assert(k % types[type].block_items == 0);
        const uint8_t *rows[ROWS] = {NULL};
        rows[r] = row;
        pack_tile_of(&types[type], rows, r, r + 1, k, tile);
    }
}
