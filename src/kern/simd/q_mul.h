/*
 * q_mul.h: quantised weights times int8 activations, for every instruction set; the order of sums
 * is that of kern_impl.h.
 *
 * Weights come as tiles of 16 rows (kern/pack.h), of which a vector holds V_LANES: no sum crosses
 * lanes. Few columns are multiplied straight from the tile, its codes being decoded in registers;
 * with one to four that is bound by memory. For many columns the tile is decoded once into scratch,
 * and all columns sweep over it, T_COLS at a time. Rows that are not packed are packed into scratch
 * first.
 *
 * Weights that come from memory are fetched ahead where multiplying takes longer than reading: a
 * CPU's own prefetchers lose the stream there. With four columns or more, straight from the tile,
 * that is kern_ahead.full (Zen 4, one core, VNNI: rows of 1536 of Q4_0, 8 columns, 107 multiply-
 * adds per ns without, 162 with 4 KB; rows of 2048, 4 columns, 16 GB/s and 20, Q8_0 16 and 19, Q6_K
 * 15 and 19, MXFP4 13.5 and 16.6, but 3 columns 26 and 26, 21 and 23, 21 and 24, 20 and 19; with
 * AVX2 no difference); with many, the next tile during the sweeps over this one (32 columns, rows
 * of 576: 140 and 160). With fewer it is kern_ahead.few.
 *
 * The file that includes this one supplies
 *     T_COLS                                 columns of a register tile
 *     T_SLICES(n_col)                        slices of a register tile of so many columns
 *     t_group(p, t, x, stride, n_col, a, b)  adds the exact dot products of a group of 32 items of
 *                                            a slice with n_col columns, `stride` bytes apart: of
 *                                            items 0..15 to a[c], of 16..31 to b[c]; the latter may
 *                                            go to a[c] too where the group has one scale
 * and may supply
 *     T_ARRANGE(w)                           changes the N_PAIR pairs of codes of a slice to the
 *                                            order in which t_group wants them from a decoded tile
 *                                            (t.is_arranged)
 */
#ifndef KERN_SIMD_Q_MUL_H
#define KERN_SIMD_Q_MUL_H

#include "kern/simd/q_codes.h"

#ifndef T_ARRANGE
#define T_ARRANGE(w) (void)(w)
#endif

enum {
    DECODE_COLS_MIN = 2 * T_COLS + 1, /* with fewer columns, decoding while multiplying is faster */
    AHEAD_COLS_MIN = 4,               /* with fewer, the CPU's own prefetchers do as well */
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

struct job {       /* columns c0 .. c0 + n_col - 1 of one tile */
    struct act x;  /* of the first column */
    size_t stride; /* bytes between columns */
    float *y;
    size_t y_stride, n_row, k;
    size_t prefetch;
};

INLINE struct job job_new(const struct kern_mul *a, size_t r0, size_t c0, size_t prefetch,
                          struct qtype t)
{
    return (struct job){.x = act_view(a, c0, t),
                        .stride = a->x_stride,
                        .y = a->y + c0 * a->y_stride + r0,
                        .y_stride = a->y_stride,
                        .n_row = a->n_row - r0 < PACK_ROWS ? a->n_row - r0 : PACK_ROWS,
                        .k = a->k,
                        .prefetch = prefetch};
}

INLINE void store_slice(const struct job *m, size_t slice, int n_col, const vf *sum)
{
    const size_t row = slice * V_LANES;
    if (row >= m->n_row) return;
    UNROLL(16)
    for (int c = 0; c < n_col; c++) {
        float *const y = m->y + (size_t)c * m->y_stride + row;
        if (m->n_row - row >= V_LANES)
            store_vf(y, sum[c]);
        else
            store_vf_part(y, sum[c], m->n_row - row);
    }
}

/* ---- one group ------------------------------------------------------------------------------- */

/* Group g of a slice, whose codes are at p. */
INLINE void add_group(const struct job *m, const uint8_t *p, size_t g, const vf *scale,
                      const vf *min, int n_col, struct qtype t, vf *sum)
{
    const size_t stride = m->stride;
    const size_t n_part = 32 / t.group;
    vi part[2][T_COLS];
    UNROLL(16)
    for (int c = 0; c < n_col; c++) {
        const int32_t *const n = (const int32_t *)((const char *)m->x.n + (size_t)c * stride);
        part[0][c] = sum_start(n + g * n_part, t.zero);
        part[1][c] = n_part == 1 ? (vi){0} : sum_start(n + g * n_part + 1, t.zero);
    }
    t_group(p, t, m->x.q + g * 32, stride, n_col, part[0], part[1]);
    UNROLL(16)
    for (int c = 0; c < n_col; c++) {
        const float d = *(const float *)((const char *)(m->x.d + g) + (size_t)c * stride);
        const float *const s =
            (const float *)((const char *)(m->x.s + g * n_part) + (size_t)c * stride);
        if (n_part == 1) part[0][c] += part[1][c];
        UNROLL(2)
        for (size_t h = 0; h < n_part; h++) {
            sum[c] = vf_fma(vi_to_vf(part[h][c]), scale[h] * d, sum[c]);
            if (t.has_min) sum[c] = vf_fnma(min[h], vf_set(s[h]), sum[c]);
        }
    }
}

/* ---- few columns: straight from the tile ----------------------------------------------------- */

INLINE size_t chunk_bytes(struct qtype t, size_t n_block) /* of a tile */
{
    return n_block * t.block_bytes * PACK_ROWS;
}

INLINE size_t blocks_at(size_t i_item, size_t k, struct qtype t)
{
    return (k - i_item < CHUNK ? k - i_item : CHUNK) / t.block_items;
}

INLINE size_t group_bytes(struct qtype t)
{
    return (t.block_bytes - t.head) * PACK_ROWS / (t.block_items / 32);
}

/* What group g's share of the chunk at p will be, that many bytes further on. */
INLINE void prefetch_group(const uint8_t *p, size_t g, size_t ahead, struct qtype t)
{
    const size_t n_bytes = t.block_bytes * PACK_ROWS / (t.block_items / 32);
    UNROLL(9)
    for (size_t b = 0; b < n_bytes; b += 64) __builtin_prefetch(p + ahead + g * n_bytes + b);
}

/* Where the codes of group g of slice v begin in a chunk. */
INLINE size_t codes_at(struct qtype t, size_t n_block, size_t g, size_t v)
{
    return t.head * n_block * PACK_ROWS + g * group_bytes(t) + v * sizeof(vb);
}

/* Group g of slice v of the chunk at p, which begins with group g0 of the row. */
INLINE void few_group(const struct job *m, const uint8_t *p, const uint8_t *six, size_t n_block,
                      size_t g0, size_t g, size_t v, int n_col, struct qtype t, vf *sum)
{
    const struct chunk chunk = {p, n_block, v * V_LANES, six};
    vf scale[2];
    vf min[2];
    t.scales(&chunk, g, scale, min);
    if (v == 0 && m->prefetch) prefetch_group(p, g, m->prefetch, t);
    add_group(m, p + codes_at(t, n_block, g, v), g0 + g, scale, min, n_col, t, sum);
}

INLINE void mul_few(const struct job *m, const uint8_t *tile, int n_col, struct qtype t)
{
    const size_t side = T_SLICES(n_col);
    vf sum[N_SLICE][T_COLS] = {{{0}}};
    const uint8_t *p = tile;
    for (size_t i = 0; i < m->k; i += CHUNK) {
        const size_t n_block = blocks_at(i, m->k, t);
        const size_t n_group = n_block * t.block_items / 32;
        uint8_t six[16 * PACK_ROWS];
        unpack_six(p, t.type, six);
        UNROLL(4)
        for (size_t v0 = 0; v0 < N_SLICE; v0 += side) {
            for (size_t g = 0; g < n_group; g++) {
                UNROLL(4)
                for (size_t v = v0; v < v0 + side; v++)
                    few_group(m, p, six, n_block, i / 32, g, v, n_col, t, sum[v]);
            }
        }
        p += chunk_bytes(t, n_block);
    }
    UNROLL(4)
    for (size_t v = 0; v < N_SLICE; v++) store_slice(m, v, n_col, sum[v]);
}

/* ---- many columns: from the decoded tile ----------------------------------------------------- */

struct decoded {        /* a tile; slices one after the other */
    uint8_t *q;         /* (slice, group of 32, quad) vectors */
    float *scale, *min; /* (slice, group) vectors */
    size_t n_group;     /* of 32 */
};

INLINE struct decoded decoded_view(uint8_t *p, size_t k)
{
    float *const scale = (float *)(void *)(p + k * PACK_ROWS);
    return (struct decoded){
        .q = p, .scale = scale, .min = scale + k / 16 * PACK_ROWS, .n_group = k / 32};
}

/* Group g of slice v of the chunk at p, to group to_g of the row. */
INLINE void decode_group(const uint8_t *p, const uint8_t *six, size_t n_block, size_t g, size_t v,
                         size_t to_g, struct qtype t, const struct decoded *to)
{
    const struct chunk chunk = {p, n_block, v * V_LANES, six};
    const size_t n_part = 32 / t.group;
    const size_t at = v * to->n_group + to_g;
    vf scale[2];
    vf min[2];
    struct pair w[N_PAIR];
    t.scales(&chunk, g, scale, min);
    UNROLL(2)
    for (size_t h = 0; h < n_part; h++) {
        store_vf(to->scale + (at * n_part + h) * V_LANES, scale[h]);
        if (t.has_min) store_vf(to->min + (at * n_part + h) * V_LANES, min[h]);
    }
    UNROLL(4)
    for (size_t j = 0; j < N_PAIR; j++) {
        w[j] = t.pair(p + codes_at(t, n_block, g, v), j);
        if (!CODES_SIGNED || !has_zero(t.zero)) continue;
        w[j].lo -= (uint8_t)t.zero;
        w[j].hi -= (uint8_t)t.zero;
    }
    T_ARRANGE(w);
    UNROLL(4)
    for (size_t j = 0; j < N_PAIR; j++) {
        store_vb(to->q + (at * 8 + j) * sizeof(vb), w[j].lo);
        store_vb(to->q + (at * 8 + j + 4) * sizeof(vb), w[j].hi);
    }
}

INLINE void decode_tile(const uint8_t *tile, const struct decoded *to, size_t k, struct qtype t)
{
    const size_t side = T_SLICES(T_COLS);
    const size_t n_step = N_SLICE / side; /* of a group */
    const uint8_t *p = tile;
    for (size_t i = 0; i < k; i += CHUNK) {
        const size_t n_block = blocks_at(i, k, t);
        uint8_t six[16 * PACK_ROWS];
        unpack_six(p, t.type, six);
        for (size_t s = 0; s < n_step * n_block * t.block_items / 32; s++) {
            const size_t v0 = s % n_step * side;
            UNROLL(4)
            for (size_t v = v0; v < v0 + side; v++)
                decode_group(p, six, n_block, s / n_step, v, i / 32 + s / n_step, t, to);
        }
        p += chunk_bytes(t, n_block);
    }
}

INLINE struct pair pair_decoded(const uint8_t *p, size_t j)
{
    return (struct pair){load_vb(p + j * sizeof(vb)), load_vb(p + (j + 4) * sizeof(vb))};
}

/* A type as decoded tiles have it. */
INLINE struct qtype decoded_type(struct qtype t)
{
    t.pair = pair_decoded;
    t.is_arranged = 1;
    if (CODES_SIGNED && has_zero(t.zero)) t.zero = 0;
    return t;
}

/* Slices v .. v + T_SLICES(T_COLS) - 1 of a decoded tile. */
INLINE void sweep(const struct job *m, const struct decoded *w, size_t v, int n_col, struct qtype t)
{
    const size_t n_part = 32 / t.group;
    vf sum[T_SLICES(T_COLS)][T_COLS] = {{{0}}};
    for (size_t g = 0; g < w->n_group; g++) {
        UNROLL(4)
        for (size_t i = 0; i < T_SLICES(T_COLS); i++) {
            const size_t at = (v + i) * w->n_group + g;
            vf scale[2];
            vf min[2];
            UNROLL(2)
            for (size_t h = 0; h < n_part; h++) {
                scale[h] = load_vf(w->scale + (at * n_part + h) * V_LANES);
                if (t.has_min) min[h] = load_vf(w->min + (at * n_part + h) * V_LANES);
            }
            add_group(m, w->q + at * 8 * sizeof(vb), g, scale, min, n_col, t, sum[i]);
        }
    }
    UNROLL(4)
    for (size_t i = 0; i < T_SLICES(T_COLS); i++) store_slice(m, v + i, n_col, sum[i]);
}

/* ---- all ------------------------------------------------------------------------------------- */

struct next_tile { /* of a matrix that comes from memory */
    const uint8_t *p;
    size_t n_left, n_each; /* bytes; n_each for each column of a slice */
};

INLINE struct next_tile next_tile(const struct kern_mul *a, const uint8_t *tile, struct qtype t)
{
    const size_t n_bytes = a->k / t.block_items * t.block_bytes * PACK_ROWS;
    return (struct next_tile){
        .p = tile + n_bytes, .n_left = n_bytes, .n_each = n_bytes / (a->n_col * N_SLICE) + 1};
}

/* As much as n columns of a slice pay for, to the second level: the first is full. */
INLINE void fetch_part(struct next_tile *a, size_t n)
{
    for (size_t b = 0; b < n * a->n_each && a->n_left > 0; b += 64) {
        __builtin_prefetch(a->p, 0, 2);
        a->p += 64;
        a->n_left -= a->n_left < 64 ? a->n_left : 64;
    }
}

/* Columns to take next: the rest is cut into equal parts. */
INLINE size_t next_cols(size_t n_left)
{
    if (n_left >= T_COLS) return T_COLS;
    return n_left > T_COLS / 2 ? (n_left + 1) / 2 : n_left;
}

INLINE void mul_tile(const struct kern_mul *a, size_t r0, const uint8_t *tile,
                     struct kern_ahead ahead, uint8_t *scratch, struct qtype t)
{
    const int is_decoded = a->n_col >= DECODE_COLS_MIN;
    const struct decoded w = decoded_view(scratch, a->k);
    const struct qtype u = decoded_type(t);
    struct next_tile next = {0};
    if (is_decoded) {
        if (ahead.full) next = next_tile(a, tile, t);
        decode_tile(tile, &w, a->k, t);
    }
    for (size_t v = 0; v < (is_decoded ? N_SLICE : 1); v += T_SLICES(T_COLS)) {
        for (size_t c = 0, n; c < a->n_col; c += n) {
            n = next_cols(a->n_col - c);
            const size_t prefetch = n >= AHEAD_COLS_MIN || n == T_COLS ? ahead.full : ahead.few;
            const struct job m = job_new(a, r0, c, prefetch, t);
            if (is_decoded) fetch_part(&next, n * T_SLICES(T_COLS));
            switch (n) {
#define TILE_CASE(C)                                                                               \
    case C:                                                                                        \
        if (is_decoded)                                                                            \
            sweep(&m, &w, v, C, u);                                                                \
        else                                                                                       \
            mul_few(&m, tile, C, t);                                                               \
        break;
                TILE_CASE(1)
                TILE_CASE(2)
#if T_COLS > 4
                TILE_CASE(3)
                TILE_CASE(4)
#endif
                TILE_CASE(T_COLS)
#undef TILE_CASE
            }
        }
    }
}

/* Reads a byte every 64, in order, as the CPU's prefetchers like it: packing goes along several
 * rows at once, which loses them (rows of 2176 bytes of Q8_0 from memory, one core of Zen 4: 5.9
 * GB/s without, 9.2 with). */
INLINE void look_at(const uint8_t *p, size_t n_bytes)
{
    for (size_t i = 0; i < n_bytes; i += 64) (void)*(const volatile uint8_t *)(p + i);
}

INLINE void mul_packed(const struct kern_mul *a, struct qtype t)
{
    uint8_t *const scratch = a->scratch;
    for (size_t r = 0; r < a->n_row; r += PACK_ROWS) {
        const uint8_t *tile = (const uint8_t *)a->w + r * a->w_stride;
        uint8_t *decoded = scratch;
        struct kern_ahead ahead = a->ahead;
        if (!a->is_packed || a->n_row - r < PACK_ROWS) {
            const size_t n = a->n_row - r < PACK_ROWS ? a->n_row - r : PACK_ROWS;
            look_at(tile, (n - 1) * a->w_stride + a->k / t.block_items * t.block_bytes);
            pack_tile(t.type, tile, a->w_stride, n, a->k, scratch);
            tile = scratch;
            ahead = (struct kern_ahead){0};
            decoded += (a->k / t.block_items * t.block_bytes * PACK_ROWS + 63) / 64 * 64;
        }
        mul_tile(a, r, tile, ahead, decoded, t);
    }
}

#define Q_MUL(NAME, name, block, group, has_min)                                                   \
    static void mul_##name(const struct kern_mul *a)                                               \
    {                                                                                              \
        mul_packed(a, qt_##name);                                                                  \
    }
KERN_QUANT_TYPES(Q_MUL)

INLINE void q_fill(struct kern *k)
{
#define Q_FILL(NAME, name, block, group, has_min) k->mul[DT_##NAME] = mul_##name;
    KERN_QUANT_TYPES(Q_FILL)
#undef Q_FILL
}

#endif
