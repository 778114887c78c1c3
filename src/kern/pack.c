/*
 * pack.c: rows of blocks to tiles and back.
 *
 * A group of 32 items of a row is taken apart into eight quads, words of four codes, and a quad is
 * placed with a few operations on words; to tiles four rows at a time, a vector holding one word of
 * each. In the other direction it is one row. A type is a row of constants and the place of its
 * codes and scales in a block (quant/block.h). Vectors are GNU C's, of 16 bytes, which every
 * machine has, because compilers do not find them in loops over rows.
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
    int n_low, n_high; /* bits of a code: in nibbles, pairs, bytes or six; on top of them */
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
    [DT_Q6_K] = {256, Q6_K_BYTES, HEAD_q6_k, 1, 2, {208, 0}, SCALES_BYTES, 192, IN_Q6_K, 0, 6, 0},
    [DT_IQ4_XS] =
        {256, IQ4_XS_BYTES, HEAD_iq4_xs, 1, 2, {0, 0}, SCALES_IQ4_XS, 2, IN_NIBBLES, 8, 4, 0},
};

bool pack_can(enum dtype type)
{
    return types[type].block_items != 0;
}

/* A word of each of four rows. */
typedef uint32_t words __attribute__((vector_size(16)));
enum { LANES = 4 };
#ifdef __clang__
#define SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else /* as gcc has it before 12, too */
#define SHUFFLE(a, b, ...) __builtin_shuffle(a, b, (words){__VA_ARGS__})
#endif
static_assert(sizeof(words) == LANES * sizeof(uint32_t), "a word of each row");
static_assert(PACK_ROWS % LANES == 0, "whole vectors of rows");

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

/* Bits 4 q ... of words, each to the fifth bit of a byte, and back. */
static inline words fifth_bits(words word, unsigned q)
{
    const words four = word >> 4 * q & 15;
    return ((four | four << 7 | four << 14 | four << 21) & in_bytes(1)) << 4;
}

static inline uint32_t fifth_word(uint32_t quad, size_t q)
{
    return ((quad >> 4 & in_bytes(1)) * 0x01020408u >> 24 & 15) << 4 * q;
}

/* Words 0 .. 3 at `at` bytes into each of four rows. */
static inline void words_at(const uint8_t *const row[LANES], size_t at, words w[4])
{
    words r[LANES];
    for (size_t i = 0; i < LANES; i++) memcpy(&r[i], row[i] + at, sizeof r[i]);
    const words a = SHUFFLE(r[0], r[1], 0, 4, 1, 5);
    const words b = SHUFFLE(r[2], r[3], 0, 4, 1, 5);
    const words c = SHUFFLE(r[0], r[1], 2, 6, 3, 7);
    const words d = SHUFFLE(r[2], r[3], 2, 6, 3, 7);
    w[0] = SHUFFLE(a, b, 0, 1, 4, 5);
    w[1] = SHUFFLE(a, b, 2, 3, 6, 7);
    w[2] = SHUFFLE(c, d, 0, 1, 4, 5);
    w[3] = SHUFFLE(c, d, 2, 3, 6, 7);
}

/* Of the codes at `at` in each row. */
static inline void get_quads(enum codes_in in, const uint8_t *const row[LANES], size_t at, size_t g,
                             words quad[QUADS])
{
    for (size_t q = 0; q < QUADS; q += 4) { /* whose fields follow each other */
        struct field f[2];
        const int n = quad_fields(in, g, q, f);
        for (int i = 0; i < n; i++) {
            words w[4];
            words_at(row, at + (in == IN_FIVE ? 4 : 0) + f[i].at, w);
            for (size_t j = 0; j < 4; j++) {
                const words field = (w[j] >> f[i].shift & in_bytes(f[i].mask)) << f[i].up;
                quad[q + j] = i == 0 ? field : quad[q + j] | field;
            }
        }
    }
    if (in != IN_FIVE) return;
    words fifth;
    for (size_t i = 0; i < LANES; i++) fifth[i] = word_at(row[i] + at);
    for (unsigned q = 0; q < QUADS; q++) quad[q] |= fifth_bits(fifth, q);
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

/* The first n_row of four rows, a constant of the caller. */
static inline void put_words(uint8_t *dst, words w, size_t n_row)
{
    if (n_row == LANES)
        memcpy(dst, &w, sizeof w);
    else
        put_word(dst, w[0]);
}

/* Bits [up, up + n) of the quads of rows r ... ; 8 / n quads in a vector: quad q is in vector q %
 * n_vector for nibbles, and in vector q / (8 / n) else. */
static inline void put_field(const words quad[QUADS], unsigned up, unsigned n, uint8_t *dst,
                             size_t r, size_t n_row)
{
    const uint32_t mask = in_bytes((1u << n) - 1);
    const size_t n_in = 8 / n;
    for (size_t v = 0; v < n; v++) {
        words word = {0};
        for (unsigned i = 0; i < n_in; i++) {
            const size_t q = n == 4 ? v + 4 * i : v * n_in + i;
            word |= (quad[q] >> up & mask) << n * i;
        }
        put_words(dst + v * VECTOR + 4 * r, word, n_row);
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

/* Codes of six bits: a vector for each of quads 0 .. 5, and on top of those, two bits in each of
 * three, quads 6 and 7. */
static inline void put_sixes(const words quad[QUADS], uint8_t *dst, size_t r, size_t n_row)
{
    for (unsigned v = 0; v < 6; v++) {
        const words top = quad[6 + v / 3] >> v % 3 * 2 & in_bytes(3);
        put_words(dst + v * VECTOR + 4 * r, quad[v] | top << 6, n_row);
    }
}

static inline void get_sixes(uint32_t quad[QUADS], const uint8_t *src, size_t r)
{
    for (unsigned v = 0; v < 6; v++) {
        const uint32_t word = word_at(src + v * VECTOR + 4 * r);
        quad[v] = word & in_bytes(63);
        quad[6 + v / 3] |= (word >> 6 & in_bytes(3)) << v % 3 * 2;
    }
}

static inline void put_codes(const struct pack_type *t, const words quad[QUADS], uint8_t *dst,
                             size_t r, size_t n_row)
{
    if (t->n_low == 6) {
        put_sixes(quad, dst, r, n_row);
        return;
    }
    if (t->n_high) put_field(quad, (unsigned)t->n_low, (unsigned)t->n_high, dst, r, n_row);
    put_field(quad, 0, (unsigned)t->n_low, dst + (size_t)t->n_high * VECTOR, r, n_row);
}

/* The nibbles of the group at `at`, which share bytes in a tile as they do in a row. */
static inline void put_nibbles(const uint8_t *const row[LANES], size_t at, uint8_t *dst, size_t r,
                               size_t n_row)
{
    words w[4];
    words_at(row, at, w);
    for (size_t v = 0; v < 4; v++) put_words(dst + v * VECTOR + 4 * r, w[v], n_row);
}

static inline void take_codes(const struct pack_type *t, const uint8_t *src, size_t r,
                              uint32_t quad[QUADS])
{
    memset(quad, 0, QUADS * sizeof *quad);
    if (t->n_low == 6) {
        get_sixes(quad, src, r);
        return;
    }
    if (t->n_high) get_field(quad, (unsigned)t->n_low, (unsigned)t->n_high, src, r);
    get_field(quad, 0, (unsigned)t->n_low, src + (size_t)t->n_high * VECTOR, r);
}

/* ---- scales of K blocks ---------------------------------------------------------------------- */

static size_t n_six(enum scales_in s)
{
    return s == SCALES_IQ4_XS ? 8 : s == SCALES_BYTES || s == SCALES_NONE ? 0 : 16;
}

/* The lowest nibbles of a word, one to each byte. */
static inline uint32_t nibbles_apart(uint32_t v)
{
    v = (v | v << 8) & 0x00ff00ff;
    return (v | v << 4) & 0x0f0f0f0f;
}

/* Pairs of bits 0, 2, 4, 6 of a half word. */
static inline uint32_t even_pairs(uint32_t v)
{
    v &= 0x3333;
    v = (v | v >> 2) & 0x0f0f;
    return (v | v >> 4) & 0xff;
}

/* Six-bit values as the bytes of a tile, six() of kern/pack.h, in words. */
static inline void put_six(enum scales_in s, const uint8_t *p, uint32_t v[3])
{
    const uint32_t high = in_bytes(3);
    if (s == SCALES_Q3_K) { /* has them so */
        for (size_t i = 0; i < 3; i++) v[i] = word_at(p + 4 * i);
    } else if (s == SCALES_Q4_K) { /* four scales, four minimums, the low nibbles of the others */
        const uint32_t a = word_at(p), b = word_at(p + 4), c = word_at(p + 8);
        v[0] = (a & in_bytes(15)) | (b & in_bytes(15)) << 4;
        v[1] = c;
        v[2] = (a >> 4 & high) | (a >> 6 & high) << 2 | (b >> 4 & high) << 4 | (b >> 6 & high) << 6;
    } else {
        const uint32_t low = word_at(p + 2), pairs = p[0] | (uint32_t)p[1] << 8;
        v[0] = nibbles_apart(low & 0xffff) | nibbles_apart(low >> 16) << 4;
        v[1] = even_pairs(pairs) | even_pairs(pairs >> 2) << 8;
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
    if (t->scales == SCALES_BYTES) {
        for (size_t i = 0; i < 16; i++) dst[i * ROWS + r] = p[i];
        return;
    }
    uint32_t v[3];
    put_six(t->scales, p, v);
    for (size_t i = 0; i < n_six(t->scales) * 3 / 4; i++)
        dst[i * ROWS + r] = (uint8_t)(v[i / 4] >> i % 4 * 8);
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

/* n_item items to rows r .. r + n_row - 1 of a tile's chunk. n_row is 1, of four equal rows, or 4;
 * it and, for tiles, t are constants of the caller: a type's fields become shifts and masks. */
static inline __attribute__((always_inline)) void
pack_chunk(const struct pack_type *t, const uint8_t *const row[LANES], size_t r, size_t n_row,
           size_t at, size_t n_item, uint8_t *dst)
{
    const struct chunk c = chunk_of(t, n_item);
    for (size_t i = 0; i < n_row; i++) {
        put_heads(t, &c, row[i] + at, dst, r + i);
        if (t->scales != SCALES_NONE) put_scales(t, row[i] + at, dst + c.scales_at, r + i);
    }
    for (size_t g = 0; g < c.n_group; g++) {
        uint8_t *const to = dst + c.codes_at + g * group_bytes(t);
        if (t->codes == IN_NIBBLES) {
            put_nibbles(row, at + codes_at(t, g), to, r, n_row);
        } else {
            words quad[QUADS];
            get_quads(t->codes, row, at + codes_at(t, g), g, quad);
            put_codes(t, quad, to, r, n_row);
        }
    }
}

static inline __attribute__((always_inline)) void
pack_tile_of(const struct pack_type *t, const uint8_t *const row[LANES], size_t r, size_t n_row,
             size_t k, uint8_t *dst)
{
    for (size_t i = 0; i < k; i += CHUNK) {
        const size_t at = i / t->block_items * t->block_bytes;
        pack_chunk(t, row, r, n_row, at, items_at(k, i), dst + at * ROWS);
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
        for (size_t r = 0; r < ROWS; r += LANES)                                                   \
            pack_tile_of(&types[DT_##NAME], row + r, r, LANES, k, dst);                            \
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
        const uint8_t *const rows[LANES] = {row, row, row, row};
        pack_tile_of(&types[type], rows, r, 1, k, tile);
    }
}
