/*
 * cols.c: weights by columns: their size, and putting them there.
 *
 * COLS_STEP rows are turned at a time, one group of inputs after the other, in a small buffer, so
 * that columns are written in whole cache lines. An exponent of all ones is an infinity or a NaN.
 */
#include "kern/cols.h"

#include "base/mem.h"
#include "quant/block.h"

#include <assert.h>
#include <stdint.h>
#include <string.h>

enum { GROUP = 32 };

static bool is_float(enum dtype type)
{
    return type == DT_F32 || type == DT_F16 || type == DT_BF16;
}

size_t cols_bytes(enum dtype type, size_t k, size_t n_row)
{
    size_t n_bytes = 0;
    if (!is_float(type) && type != DT_Q8_0 && type != DT_Q4_0) return 0;
    if (n_row > SIZE_MAX - COLS_STEP) return 0;
    return mem_mul(cols_padded(n_row), dtype_row_bytes(type, k), &n_bytes) ? n_bytes : 0;
}

/* ---- floats ---------------------------------------------------------------------------------- */

static bool is_finite(enum dtype type, const uint8_t *p, size_t n_bytes)
{
    const unsigned top = (unsigned)p[n_bytes - 1] << 8 | p[n_bytes - 2];
    const unsigned exponent = type == DT_F16 ? 0x7c00 : 0x7f80;
    return (top & exponent) != exponent;
}

/* GROUP items of up to COLS_STEP rows; item: bytes of one, a constant of the caller. */
static inline bool put_items(const struct cols_src *s, size_t row0, size_t n, size_t item0,
                             size_t item, uint8_t *dst)
{
    uint8_t column[GROUP][COLS_STEP * sizeof(float)];
    const size_t n_item = s->k - item0 < GROUP ? s->k - item0 : GROUP;
    bool finite = true;
    for (size_t r = 0; r < n; r++) {
        const uint8_t *p =
            (const uint8_t *)s->w + (row0 - s->row0 + r) * s->w_stride + item0 * item;
        for (size_t i = 0; i < n_item; i++, p += item) {
            memcpy(column[i] + r * item, p, item);
            finite &= is_finite(s->type, p, item);
        }
    }
    for (size_t i = 0; i < n_item; i++)
        memcpy(dst + ((item0 + i) * cols_padded(s->n_row) + row0) * item, column[i], n * item);
    return finite;
}

static bool put_floats(const struct cols_src *s, size_t row0, size_t n, size_t item0, uint8_t *dst)
{
    return s->type == DT_F32 ? put_items(s, row0, n, item0, 4, dst)
                             : put_items(s, row0, n, item0, 2, dst);
}

/* ---- blocks ---------------------------------------------------------------------------------- */

/* Where rows r .. r + 3 of 64 stand in their block of codes. */
static size_t place_of(size_t r)
{
    return r / 4 % 4 * 16 + r / 16 * 4;
}

/* The codes of one row and group, a byte each. */
static void spread(enum dtype type, const uint8_t *codes, uint8_t out[GROUP])
{
    if (type == DT_Q8_0) memcpy(out, codes, GROUP);
    for (size_t i = 0; i < GROUP / 2 && type != DT_Q8_0; i++) {
        out[i] = codes[i] & 15;
        out[i + GROUP / 2] = codes[i] >> 4;
    }
}

/* One group of rows r .. r + 3 of a step. */
static void put_codes(enum dtype type, uint8_t codes[4][GROUP], size_t r,
                      uint8_t column[GROUP][COLS_STEP])
{
    uint32_t four[GROUP];
    for (size_t i = 0; i < GROUP; i++)
        four[i] = (uint32_t)codes[0][i] | (uint32_t)codes[1][i] << 8 | (uint32_t)codes[2][i] << 16 |
                  (uint32_t)codes[3][i] << 24;
    const size_t at = (type == DT_Q8_0 ? r / 64 * 64 : 0) + place_of(r % 64);
    for (size_t i = 0; i < GROUP; i++) {
        uint32_t low = 0;
        const bool is_upper = type != DT_Q8_0 && r >= 64;
        if (is_upper) memcpy(&low, column[i] + at, sizeof low);
        const uint32_t both = is_upper ? low | four[i] << 4 : four[i];
        memcpy(column[i] + at, &both, sizeof both);
    }
}

/* One group of up to COLS_STEP rows: their scales, then a column for each input. */
static bool put_blocks(const struct cols_src *s, size_t row0, size_t n, size_t item0, uint8_t *dst)
{
    uint8_t column[GROUP][COLS_STEP] = {{0}};
    const size_t np = cols_padded(s->n_row);
    const size_t block_bytes = dtype_row_bytes(s->type, GROUP);
    const size_t column_bytes = np * (block_bytes - 2) / GROUP;
    uint8_t *const group = dst + item0 / GROUP * np * block_bytes;
    bool finite = true;
    for (size_t r = 0; r < n; r += 4) {
        uint8_t codes[4][GROUP] = {{0}};
        for (size_t i = 0; i < 4 && r + i < n; i++) {
            const uint8_t *const block = (const uint8_t *)s->w +
                                         (row0 - s->row0 + r + i) * s->w_stride +
                                         item0 / GROUP * block_bytes;
            memcpy(group + (row0 + r + i) * 2, block, 2);
            finite &= is_finite(DT_F16, block, 2);
            spread(s->type, block + 2, codes[i]);
        }
        put_codes(s->type, codes, r, column);
    }
    const size_t part = COLS_STEP * (block_bytes - 2) / GROUP;
    for (size_t i = 0; i < GROUP; i++)
        memcpy(group + np * 2 + i * column_bytes + row0 / COLS_STEP * part, column[i], part);
    return finite;
}

bool cols_put(const struct cols_src *s, size_t row0, size_t row1, void *dst)
{
    assert(s->w);
    assert(row0 >= s->row0);
    assert(row0 % COLS_STEP == 0);
    assert(row1 % COLS_STEP == 0 || row1 == s->n_row);
    assert(cols_bytes(s->type, s->k, s->n_row) > 0);
    bool finite = true;
    for (size_t r = row0; r < row1; r += COLS_STEP) {
        const size_t n = row1 - r < COLS_STEP ? row1 - r : COLS_STEP;
        for (size_t i = 0; i < s->k; i += GROUP)
            finite &= is_float(s->type) ? put_floats(s, r, n, i, dst) : put_blocks(s, r, n, i, dst);
    }
    return finite;
}
