/*
 * q_cols.h: quantised weights by columns (quant/block.h) times int8 activations of which many are
 * 0, for every instruction set; the order of sums is that of kern_impl.h.
 *
 * The inputs of a group whose code is not 0 are taken four at a time: their columns are walked side
 * by side, a vector of each is interleaved to quads, and one dot product adds four inputs to the
 * integer sums of V_LANES rows. Sums wait in a buffer of COLS_ROWS rows until the group is
 * complete; then they are scaled into the total. A row's integer sum is exact, so leaving zeros out
 * does not change it; a group without any input adds 0 to the total and is skipped, unless its
 * scale says that an activation was not finite.
 *
 * Walked in this order, memory is read in runs as long as the rows of a call, so a call should have
 * some hundreds of them; the next four columns are fetched ahead. 8192 x 2048 of Q8_0, one thread,
 * 1024 rows a call, against rows read whole: 1.3 times as fast with half of the inputs 0, 1.9 with
 * 70 %, 4.2 with 90 %. Blocks of 64 rows, which read memory line by line, were slower than rows
 * read whole up to 70 %.
 *
 * The file that includes this one supplies what q_mul.h wants, and
 *     quad_dot(sum, quad, four, zero)   sum + the dot products of V_LANES rows with four inputs;
 *                                       codes are unsigned, or signed for WIDE (+ 128 where the
 *                                       level multiplies them so)
 */
#ifndef KERN_SIMD_Q_COLS_H
#define KERN_SIMD_Q_COLS_H

#include "kern/simd/q_mul.h"

enum {
    COLS_ROWS = 2048, /* rows at a time: 16 KB of sums stay in the first-level cache */
    COLS_GROUP = 32,  /* inputs that share a scale */
};

struct col_quad { /* up to four inputs of a group; where there are fewer, their codes are 0 */
    uint32_t group;
    uint8_t in[4];
    int8_t code[4];
    uint8_t is_first, is_last; /* of the group */
};

struct col_sums {
    size_t n_row; /* padded */
    int32_t sum[COLS_ROWS];
    float total[COLS_ROWS];
};

/* A matrix from the first wanted row on. */
struct col_view {
    const uint8_t *scale, *code; /* of group 0 */
    size_t group_bytes, column_bytes;
};

INLINE struct col_view col_view_new(const struct kern_mul *a, size_t r0, struct qtype t)
{
    const uint8_t *const w = a->w;
    const size_t np = a->w_stride;
    const size_t column_bytes = np * (t.block_bytes - 2) / COLS_GROUP;
    return (struct col_view){.scale = w + r0 * 2,
                             .code = w + np * 2 + r0 * column_bytes / np,
                             .group_bytes = np * t.block_bytes,
                             .column_bytes = column_bytes};
}

/* The inputs that are to be multiplied. */
INLINE size_t list_quads(const struct act *x, size_t n_group, struct col_quad *list)
{
    size_t n_quad = 0;
    for (size_t g = 0; g < n_group; g++) {
        if (x->d[g] == 0.0f) continue;
        uint8_t in[COLS_GROUP + 4] = {0};
        int8_t code[COLS_GROUP + 4] = {0};
        size_t n = 0;
        for (size_t i = 0; i < COLS_GROUP; i++) {
            in[n] = (uint8_t)i;
            code[n] = x->q[g * COLS_GROUP + i];
            n += code[n] != 0;
        }
        for (size_t i = n; i % 4; i++) in[i] = in[n - 1]; /* nothing more is read for these */
        for (size_t i = 0; i < n || i == 0; i += 4) {
            struct col_quad *const q = &list[n_quad++];
            *q = (struct col_quad){.group = (uint32_t)g, .is_first = i == 0, .is_last = i + 4 >= n};
            __builtin_memcpy(q->in, in + i, 4);
            __builtin_memcpy(q->code, code + i, 4);
        }
    }
    return n_quad;
}

INLINE void col_pointers(const struct col_view *v, const struct col_quad *q, const uint8_t *in[4])
{
    for (size_t i = 0; i < 4; i++)
        in[i] = v->code + q->group * v->group_bytes + q->in[i] * v->column_bytes;
}

/* What is known of a quad's group. */
struct col_group {
    const uint8_t *scale;
    float d;
    vi start; /* takes the zero of the codes out */
    int is_first, is_last;
};

/* Four inputs to the sums of rows r ... */
INLINE void add_rows(vb quad, size_t r, int32_t four, const struct col_group *g, struct qtype t,
                     struct col_sums *s)
{
    if (t.zero == WIDE && WIDE_IS_OFFSET) quad ^= 0x80;
    const vi sum = quad_dot(g->is_first ? g->start : load_vi(s->sum + r), quad, four, t.zero);
    if (!g->is_last) {
        store_vi(s->sum + r, sum);
        return;
    }
    const vf scale = load_vf_f16(g->scale + 2 * r) * g->d;
    store_vf(s->total + r, vf_fma(vi_to_vf(sum), scale, load_vf(s->total + r)));
}

INLINE void add_quad(const struct col_view *v, const struct col_quad *q,
                     const struct col_quad *next, const struct act *x, struct qtype t,
                     struct col_sums *s)
{
    const int is_nibbles = t.zero != WIDE;
    const uint8_t *in[4], *ahead[4];
    int32_t four;
    col_pointers(v, q, in);
    col_pointers(v, next, ahead);
    __builtin_memcpy(&four, q->code, sizeof four);
    struct col_group g = {.scale = v->scale + q->group * v->group_bytes,
                          .d = x->d[q->group],
                          .is_first = q->is_first,
                          .is_last = q->is_last};
    g.start = sum_start(x->n + q->group, t.zero);
    const size_t n_bytes = s->n_row >> is_nibbles;
    for (size_t at = 0; at < n_bytes; at += sizeof(vb)) {
        vb quad[4];
        UNROLL(4)
        for (size_t i = 0; i < 4; i++) {
            if (at % 64 == 0) __builtin_prefetch(ahead[i] + at, 0, 2);
            quad[i] = load_vb(in[i] + at);
        }
        zip4(quad);
        const size_t r = (at / 64 * 64 << is_nibbles) + at % 64 / 4;
        UNROLL(4)
        for (size_t i = 0; i < 4; i++) {
            if (is_nibbles) {
                add_rows(quad[i] & 15, r + 16 * i, four, &g, t, s);
                add_rows(quad[i] >> 4, r + 64 + 16 * i, four, &g, t, s);
            } else {
                add_rows(quad[i], r + 16 * i, four, &g, t, s);
            }
        }
    }
}

/* Rows r0 .. r0 + n_row - 1 of a call, one column. */
INLINE void cols_part(const struct kern_mul *a, size_t c, size_t r0, size_t n_row, struct qtype t)
{
    struct col_sums s;
    struct col_quad *const list = a->scratch;
    const struct col_view v = col_view_new(a, a->row0 + r0, t);
    const struct act x = act_view(a, c, t);
    float *const y = a->y + c * a->y_stride + r0;
    s.n_row = cols_padded(n_row);
    const size_t n = list_quads(&x, a->k / COLS_GROUP, list);
    __builtin_memset(s.total, 0, s.n_row * sizeof *s.total);
    for (size_t i = 0; i < n; i++) add_quad(&v, &list[i], &list[i + 1 < n ? i + 1 : i], &x, t, &s);
    __builtin_memcpy(y, s.total, n_row * sizeof *y);
}

INLINE void mul_by_cols(const struct kern_mul *a, struct qtype t)
{
    for (size_t c = 0; c < a->n_col; c++) {
        for (size_t r = 0; r < a->n_row; r += COLS_ROWS)
            cols_part(a, c, r, a->n_row - r < COLS_ROWS ? a->n_row - r : COLS_ROWS, t);
    }
}

static void mul_cols_q8_0(const struct kern_mul *a)
{
    mul_by_cols(a, qt_q8_0);
}

static void mul_cols_q4_0(const struct kern_mul *a)
{
    mul_by_cols(a, qt_q4_0);
}

INLINE void q_cols_fill(struct kern *k)
{
    k->mul_cols[DT_Q8_0] = mul_cols_q8_0;
    k->mul_cols[DT_Q4_0] = mul_cols_q4_0;
}

#endif
