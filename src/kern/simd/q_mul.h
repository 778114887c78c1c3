/*
 * q_mul.h: quantised weights times int8 activations, for every instruction set; the order of sums
 * is that of kern_impl.h.
 *
 * Few columns (direct): a row is decoded in registers, 256 items at a time, straight from the
 * mapped file; the integer sums of a chunk's groups become the lanes of one vector, which one fma
 * takes. Bound by memory.
 *
 * Many columns (tiled): T_ROWS rows are decoded once into scratch, 4 items of each row side by
 * side, so that a vector has a row per lane and needs no sums across lanes; all columns then sweep
 * over the tile, T_COLS at a time. To keep the order, the tile is sorted by lane: group j of all
 * chunks, then group j + 1. The file that includes this one supplies
 *     T_COLS                 columns of a register tile
 *     T_CODES(codes, zero)   codes as the tile stores them: an offset may be added
 *     t_dot(w, x, n, stride, n_quad, n_col, zero, sum)
 *                            sum[c] = exact dot product of 4 n_quad items of all rows with
 *                            column c; columns are `stride` bytes apart
 */
#ifndef KERN_SIMD_Q_MUL_H
#define KERN_SIMD_Q_MUL_H

#include "kern/simd/q_codes.h"

enum {
    TILE_COLS_MIN = 3, /* fewer columns are multiplied directly */
    TAIL_BYTES_MAX = 8 * Q8_0_BYTES,
    PREFETCH_BYTES = 2048, /* 13 instead of 10 GB/s on one core; more than 2 KB ahead adds little */
};

/* ---- views ----------------------------------------------------------------------------------- */

struct act { /* one act_q8 row */
    const int8_t *q;
    const float *d, *s; /* s and n per group of the type */
    const int32_t *n;
};

INLINE struct act act_view(const struct kern_mul *a, size_t c, struct qtype t)
{
    const char *row = (const char *)a->x + c * a->x_stride;
    const size_t s_at = t.group == 32 ? act_q8_s32_at(a->k) : act_q8_s16_at(a->k);
    const size_t n_at = t.group == 32 ? act_q8_n32_at(a->k) : act_q8_n16_at(a->k);
    return (struct act){
        .q = (const int8_t *)row,
        .d = (const float *)(const void *)(row + act_q8_d_at(a->k)),
        .s = (const float *)(const void *)(row + s_at),
        .n = (const int32_t *)(const void *)(row + n_at),
    };
}

INLINE size_t chunk_bytes(struct qtype t)
{
    return CHUNK / t.block_items * t.block_bytes;
}

/* Chunk i of a row of k items. A partial one is completed, in tail, with zero blocks, whose scales
 * are zero. */
INLINE const uint8_t *chunk_at(const uint8_t *row, size_t k, size_t i, struct qtype t,
                               uint8_t tail[TAIL_BYTES_MAX])
{
    const uint8_t *const chunk = row + i * chunk_bytes(t);
    if (t.block_items == CHUNK || (i + 1) * CHUNK <= k) return chunk;
    __builtin_memset(tail, 0, TAIL_BYTES_MAX);
    __builtin_memcpy(tail, chunk, k % CHUNK / t.block_items * t.block_bytes);
    return tail;
}

/* ---- direct ---------------------------------------------------------------------------------- */

/* Integer sums of groups 4 i ... of a chunk. */
INLINE s32x4 group_sums(const uint8_t *w, const int8_t *x, size_t i, struct qtype t)
{
    const int wide = t.zero == WIDE;
    s32x4 v[4];
    if (t.group == 32) {
        UNROLL(4)
        for (size_t j = 0; j < 4; j++) {
            const struct codes c = t.codes(w, 4 * i + j);
            const int8_t *xg = x + (4 * i + j) * 32;
            v[j] = dot32(c.lo, c.hi, load_s8x16(xg), load_s8x16(xg + 16), wide);
        }
    } else {
        UNROLL(2)
        for (size_t j = 0; j < 2; j++) {
            const struct codes c = t.codes(w, 2 * i + j);
            const int8_t *xg = x + (2 * i + j) * 32;
            v[2 * j] = dot16(c.lo, load_s8x16(xg), wide);
            v[2 * j + 1] = dot16(c.hi, load_s8x16(xg + 16), wide);
        }
    }
    return sums4(v);
}

INLINE void add_chunk(const uint8_t *w, const struct act *x, size_t i_chunk, struct qtype t,
                      f32x4 *lane)
{
    const size_t n_vec = CHUNK / t.group / 4;
    f32x4 scale[4];
    f32x4 min[4];
    f32x4 d[4];
    t.scales(w, scale, min);
    d[0] = load_f32x4(x->d + i_chunk * 8);
    d[1] = load_f32x4(x->d + i_chunk * 8 + 4);
    if (t.group == 16) {
        twice4(d[1], d + 2);
        twice4(d[0], d);
    }
    UNROLL(4)
    for (size_t i = 0; i < n_vec; i++) {
        const size_t g = (i_chunk * n_vec + i) * 4;
        s32x4 sum = group_sums(w, x->q + i_chunk * CHUNK, i, t);
        if (has_zero(t.zero)) sum += load_s32x4(x->n + g) >> zero_shift(t.zero);
        lane[i] = fma4(s32x4_to_f32(sum), scale[i] * d[i], lane[i]);
        if (t.has_min) lane[i] = fnma4(min[i], load_f32x4(x->s + g), lane[i]);
    }
}

INLINE float dot_row(const uint8_t *w, const struct act *x, size_t k, struct qtype t)
{
    uint8_t tail[TAIL_BYTES_MAX];
    f32x4 lane[4] = {{0}, {0}, {0}, {0}};
    for (size_t i = 0; i * CHUNK < k; i++) {
        const uint8_t *const chunk = chunk_at(w, k, i, t, tail);
        UNROLL(8)
        for (size_t b = 0; b < chunk_bytes(t); b += 64)
            __builtin_prefetch(chunk + PREFETCH_BYTES + b);
        add_chunk(chunk, x, i, t, lane);
    }
    float total = 0.0f;
    UNROLL(4)
    for (size_t i = 0; i < CHUNK / t.group / 4; i++) {
        for (int j = 0; j < 4; j++) total += lane[i][j];
    }
    return total;
}

INLINE void mul_direct(const struct kern_mul *a, struct qtype t)
{
    for (size_t r = 0; r < a->n_row; r++) {
        const uint8_t *w = (const uint8_t *)a->w + r * a->w_stride;
        for (size_t c = 0; c < a->n_col; c++) {
            const struct act x = act_view(a, c, t);
            a->y[c * a->y_stride + r] = dot_row(w, &x, a->k, t);
        }
    }
}

/* ---- tiled ----------------------------------------------------------------------------------- */

enum { T_ROWS = V_LANES };

/* Group g of the rows is entry (g % J) * n_chunk + g / J, where J = CHUNK / group. */
struct tile {
    uint8_t *q;         /* (entry, group / 4, T_ROWS, 4) */
    float *scale, *min; /* (entry, T_ROWS) */
    size_t n_chunk;
};

INLINE struct tile tile_view(const struct kern_mul *a, struct qtype t)
{
    const size_t n_chunk = (a->k + CHUNK - 1) / CHUNK;
    const size_t n_entry = n_chunk * (CHUNK / t.group);
    uint8_t *const q = a->scratch;
    float *const scale = (float *)(void *)(q + n_entry * t.group * T_ROWS);
    return (struct tile){
        .q = q, .scale = scale, .min = scale + n_entry * T_ROWS, .n_chunk = n_chunk};
}

/* 16 codes of 4 rows: 4 items of each row side by side. quad counts fours within the group. */
INLINE void put_codes(u8x16 rows[4], uint8_t *group, size_t quad, size_t r)
{
    s32x4 v[4] = {(s32x4)rows[0], (s32x4)rows[1], (s32x4)rows[2], (s32x4)rows[3]};
    transpose4(v);
    UNROLL(4)
    for (size_t i = 0; i < 4; i++) {
        __builtin_memcpy(group + ((quad + i) * T_ROWS + r) * 4, &v[i], 16);
    }
}

/* Four floats of 4 rows, for groups 4 i ... of a chunk. */
INLINE void put_floats(const f32x4 rows[4], float *dst, size_t i_chunk, size_t n_chunk, size_t i,
                       size_t r)
{
    s32x4 v[4] = {(s32x4)rows[0], (s32x4)rows[1], (s32x4)rows[2], (s32x4)rows[3]};
    transpose4(v);
    UNROLL(4)
    for (size_t j = 0; j < 4; j++) {
        __builtin_memcpy(dst + ((4 * i + j) * n_chunk + i_chunk) * T_ROWS + r, &v[j], 16);
    }
}

/* Chunk i_chunk of rows r .. r + 3 of the tile. */
INLINE void put_chunk(const uint8_t *const w[4], const struct tile *tile, size_t i_chunk, size_t r,
                      struct qtype t)
{
    const size_t n_lane = CHUNK / t.group;
    UNROLL(8)
    for (size_t g = 0; g < CHUNK / 32; g++) {
        u8x16 lo[4];
        u8x16 hi[4];
        UNROLL(4)
        for (size_t i = 0; i < 4; i++) {
            const struct codes c = t.codes(w[i], g);
            lo[i] = T_CODES(c.lo, t.zero);
            hi[i] = T_CODES(c.hi, t.zero);
        }
        const size_t j = g * 32 / t.group;
        uint8_t *const at = tile->q + (j * tile->n_chunk + i_chunk) * t.group * T_ROWS;
        uint8_t *const next = t.group == 32 ? at : at + tile->n_chunk * t.group * T_ROWS;
        put_codes(lo, at, 0, r);
        put_codes(hi, next, t.group == 32 ? 4 : 0, r);
    }
    f32x4 scale[4][4];
    f32x4 min[4][4];
    for (size_t i = 0; i < 4; i++) t.scales(w[i], scale[i], min[i]);
    UNROLL(4)
    for (size_t i = 0; i < n_lane / 4; i++) {
        const f32x4 s[4] = {scale[0][i], scale[1][i], scale[2][i], scale[3][i]};
        put_floats(s, tile->scale, i_chunk, tile->n_chunk, i, r);
        if (!t.has_min) continue;
        const f32x4 m[4] = {min[0][i], min[1][i], min[2][i], min[3][i]};
        put_floats(m, tile->min, i_chunk, tile->n_chunk, i, r);
    }
}

/* Rows r0 ... into the tile; where there are fewer than T_ROWS the last one is repeated. */
INLINE void put_rows(const struct kern_mul *a, size_t r0, const struct tile *tile, struct qtype t)
{
    for (size_t r = 0; r < T_ROWS; r += 4) {
        const uint8_t *w[4];
        for (size_t i = 0; i < 4; i++) {
            const size_t row = r0 + r + i < a->n_row ? r0 + r + i : a->n_row - 1;
            w[i] = (const uint8_t *)a->w + row * a->w_stride;
        }
        uint8_t tail[4][TAIL_BYTES_MAX];
        for (size_t i = 0; i < tile->n_chunk; i++) {
            const uint8_t *const chunk[4] = {
                chunk_at(w[0], a->k, i, t, tail[0]), chunk_at(w[1], a->k, i, t, tail[1]),
                chunk_at(w[2], a->k, i, t, tail[2]), chunk_at(w[3], a->k, i, t, tail[3])};
            put_chunk(chunk, tile, i, r, t);
        }
    }
}

/* Columns c0 .. c0 + C - 1 of one tile. */
INLINE void sweep(const struct kern_mul *a, const struct tile *tile, size_t r0, size_t c0, int C,
                  struct qtype t)
{
    const struct act x = act_view(a, c0, t);
    const size_t n_lane = CHUNK / t.group;
    const size_t n_group = a->k / t.group;
    const size_t stride = a->x_stride;
    vf total[T_COLS] = {{0}};
    for (size_t j = 0; j < n_lane && j < n_group; j++) {
        const uint8_t *q = tile->q + j * tile->n_chunk * t.group * T_ROWS;
        const float *scale = tile->scale + j * tile->n_chunk * T_ROWS;
        const float *min = tile->min + j * tile->n_chunk * T_ROWS;
        vf lane[T_COLS] = {{0}};
        for (size_t g = j; g < n_group; g += n_lane) {
            vi sum[T_COLS];
            t_dot(q, x.q + g * t.group, x.n + g, stride, t.group / 4, C, t.zero, sum);
            const vf s = load_vf(scale);
            const vf m = t.has_min ? load_vf(min) : s;
            UNROLL(16)
            for (int c = 0; c < C; c++) {
                const size_t at = (size_t)c * stride / sizeof(float);
                lane[c] = vf_fma(vi_to_vf(sum[c]), s * x.d[at + g * t.group / 32], lane[c]);
                if (t.has_min) lane[c] = vf_fnma(m, (vf){0} + x.s[at + g], lane[c]);
            }
            q += t.group * T_ROWS;
            scale += T_ROWS;
            min += T_ROWS;
        }
        UNROLL(16)
        for (int c = 0; c < C; c++) total[c] += lane[c];
    }
    const size_t n_row = a->n_row - r0 < T_ROWS ? a->n_row - r0 : T_ROWS;
    UNROLL(16)
    for (int c = 0; c < C; c++) {
        float *const y = a->y + (c0 + (size_t)c) * a->y_stride + r0;
        if (n_row == T_ROWS)
            store_vf(y, total[c]);
        else
            store_vf_part(y, total[c], n_row);
    }
}

INLINE void mul_tiled(const struct kern_mul *a, struct qtype t)
{
    const struct tile tile = tile_view(a, t);
    for (size_t r = 0; r < a->n_row; r += T_ROWS) {
        put_rows(a, r, &tile, t);
        size_t c = 0;
        for (; c + T_COLS <= a->n_col; c += T_COLS) sweep(a, &tile, r, c, T_COLS, t);
        for (; c + T_COLS / 2 <= a->n_col; c += T_COLS / 2) sweep(a, &tile, r, c, T_COLS / 2, t);
        for (; c < a->n_col; c++) sweep(a, &tile, r, c, 1, t);
    }
}

#define Q_MUL(NAME, name, block, group, has_min)                                                   \
    static void mul_##name(const struct kern_mul *a)                                               \
    {                                                                                              \
        if (a->n_col < TILE_COLS_MIN)                                                              \
            mul_direct(a, qt_##name);                                                              \
        else                                                                                       \
            mul_tiled(a, qt_##name);                                                               \
    }
KERN_QUANT_TYPES(Q_MUL)

INLINE void q_fill(struct kern *k)
{
#define Q_FILL(NAME, name, block, group, has_min) k->mul[DT_##NAME] = mul_##name;
    KERN_QUANT_TYPES(Q_FILL)
#undef Q_FILL
}

#endif
