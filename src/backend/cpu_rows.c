/*
 * cpu_rows.c: operations whose result row depends on its own source row alone: embedding, norms,
 * rope, activations, sums and copies. Each function treats rows [row0, row1); a row always goes
 * through a kernel in one call per group, so the place of an element within a call never depends on
 * the split.
 */
#include "backend/cpu_impl.h"

#include "kern/pack.h"

#include <assert.h>
#include <math.h>
#include <string.h>

static_assert((int)GACT_SILU == (int)ACT_SILU, "graph.h and kern.h number the activations alike");
static_assert((int)GACT_SWIGLU_OAI == (int)ACT_SWIGLU_OAI,
              "graph.h and kern.h number the activations alike");

void cpu_op_embed(const struct cpu *c, const struct gop *op, const struct op_io *io, uint32_t row0,
                  uint32_t row1)
{
    const struct tensor *w = &op->w[0];
    const float s = op->u.embed.scale;
    for (uint32_t r = row0; r < row1; r++) {
        float *y = cpu_dst(io, r);
        assert(io->token[r] < w->ne[1]);
        const uint8_t *row = (const uint8_t *)w->data + io->token[r] * w->row_bytes;
        if (w->is_packed) {
            uint8_t *const own = c->buf[BUF_ACT].p + r * w->row_bytes;
            pack_get_row(w->type, w->data, w->ne[1], w->ne[0], io->token[r], own);
            row = own;
        }
        c->kern.to_f32[w->type](row, y, w->ne[0]);
        if (s != 1.0f) c->kern.scale(y, s, y, w->ne[0]);
    }
}

void cpu_need_embed(const struct cpu *c, const struct gop *op, uint32_t n_row,
                    size_t need[BUF_COUNT])
{
    (void)c;
    if (pack_can(op->w[0].type)) cpu_need(need, BUF_ACT, n_row, op->w[0].row_bytes);
}

void cpu_op_rmsnorm(const struct cpu *c, const struct gop *op, const struct op_io *io,
                    uint32_t row0, uint32_t row1)
{
    const uint32_t dim = op->u.norm.dim;
    const size_t w_step = op->u.norm.w_per_group ? dim : 0;
    assert(op->dst[0].n % dim == 0);
    for (uint32_t r = row0; r < row1; r++) {
        for (uint32_t g = 0; g < op->dst[0].n / dim; g++) {
            const float *x = cpu_src(io, 0, r) + (size_t)g * dim;
            float *y = cpu_dst(io, r) + (size_t)g * dim;
            const float mean = c->kern.sum_sq(x, dim) / (float)dim;
            c->kern.scale(x, 1.0f / sqrtf(mean + op->u.norm.eps), y, dim);
            if (op->u.norm.w) c->kern.mul_f(y, op->u.norm.w + g * w_step, y, dim);
            if (op->u.norm.b) c->kern.add(y, op->u.norm.b + g * w_step, y, dim);
        }
    }
}

void cpu_op_l2norm(const struct cpu *c, const struct gop *op, const struct op_io *io, uint32_t row0,
                   uint32_t row1)
{
    const uint32_t dim = op->u.norm.dim;
    assert(op->dst[0].n % dim == 0);
    for (uint32_t r = row0; r < row1; r++) {
        for (uint32_t at = 0; at < op->dst[0].n; at += dim) {
            const float *x = cpu_src(io, 0, r) + at;
            const float length = sqrtf(c->kern.sum_sq(x, dim));
            c->kern.scale(x, 1.0f / fmaxf(length, op->u.norm.eps), cpu_dst(io, r) + at, dim);
        }
    }
}

static void rotate(float *a, float *b, size_t step, const float *cosine, const float *sine,
                   uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        const float x = a[i * step], y = b[i * step];
        a[i * step] = x * cosine[i] - y * sine[i];
        b[i * step] = x * sine[i] + y * cosine[i];
    }
}

void cpu_op_rope(const struct cpu *c, const struct gop *op, const struct op_io *io, uint32_t row0,
                 uint32_t row1)
{
    (void)c;
    const uint32_t n = io->n_rot / 2;
    assert(n >= 1);
    assert(op->u.rope.at + io->n_rot <= op->u.rope.head_dim);
    const bool neox = op->u.rope.pair == GROPE_NEOX;
    for (uint32_t r = row0; r < row1; r++) {
        for (uint32_t h = 0; h < op->u.rope.n_head; h++) {
            float *x = cpu_dst(io, r) + (size_t)h * op->u.rope.head_dim + op->u.rope.at;
            rotate(x, neox ? x + n : x + 1, neox ? 1 : 2, io->cos + (size_t)r * n,
                   io->sin + (size_t)r * n, n);
        }
    }
}

void cpu_op_act(const struct cpu *c, const struct gop *op, const struct op_io *io, uint32_t row0,
                uint32_t row1)
{
    assert(c->kern.act[op->u.act]);
    for (uint32_t r = row0; r < row1; r++)
        c->kern.act[op->u.act](cpu_src(io, 0, r), cpu_dst(io, r), op->dst[0].n);
}

void cpu_op_glu(const struct cpu *c, const struct gop *op, const struct op_io *io, uint32_t row0,
                uint32_t row1)
{
    assert(c->kern.glu[op->u.act]);
    for (uint32_t r = row0; r < row1; r++)
        c->kern.glu[op->u.act](cpu_src(io, 0, r), cpu_src(io, 1, r), cpu_dst(io, r), op->dst[0].n);
}

void cpu_op_add(const struct cpu *c, const struct gop *op, const struct op_io *io, uint32_t row0,
                uint32_t row1)
{
    const float s = op->u.scale.factor;
    const uint32_t n = op->dst[0].n;
    for (uint32_t r = row0; r < row1; r++) {
        if (s == 1.0f) {
            c->kern.add(cpu_src(io, 0, r), cpu_src(io, 1, r), cpu_dst(io, r), n);
        } else {
            memcpy(cpu_dst(io, r), cpu_src(io, 0, r), n * sizeof(float));
            c->kern.add_scaled(cpu_dst(io, r), cpu_src(io, 1, r), s, n);
        }
    }
}

void cpu_op_mulv(const struct cpu *c, const struct gop *op, const struct op_io *io, uint32_t row0,
                 uint32_t row1)
{
    const uint32_t n = op->dst[0].n;
    assert(op->src[1].n == n || op->src[1].n == 1);
    for (uint32_t r = row0; r < row1; r++) {
        if (op->src[1].n == n)
            c->kern.mul_f(cpu_src(io, 0, r), cpu_src(io, 1, r), cpu_dst(io, r), n);
        else
            c->kern.scale(cpu_src(io, 0, r), *cpu_src(io, 1, r), cpu_dst(io, r), n);
    }
}

void cpu_op_scale(const struct cpu *c, const struct gop *op, const struct op_io *io, uint32_t row0,
                  uint32_t row1)
{
    const uint32_t n = op->dst[0].n;
    const float *vec = op->u.scale.vec;
    const float s = op->u.scale.factor * (vec && op->u.scale.n_vec == 1 ? *vec : 1.0f);
    for (uint32_t r = row0; r < row1; r++) {
        c->kern.scale(cpu_src(io, 0, r), s, cpu_dst(io, r), n);
        if (vec && op->u.scale.n_vec != 1) c->kern.mul_f(cpu_dst(io, r), vec, cpu_dst(io, r), n);
    }
}

void cpu_op_softcap(const struct cpu *c, const struct gop *op, const struct op_io *io,
                    uint32_t row0, uint32_t row1)
{
    for (uint32_t r = row0; r < row1; r++)
        c->kern.softcap(cpu_src(io, 0, r), op->u.cap, cpu_dst(io, r), op->dst[0].n);
}

void cpu_op_copy(const struct cpu *c, const struct gop *op, const struct op_io *io, uint32_t row0,
                 uint32_t row1)
{
    (void)c;
    for (uint32_t r = row0; r < row1; r++) {
        for (uint32_t g = 0; g < op->u.copy.n_group; g++) {
            memcpy(cpu_dst(io, r) + (size_t)g * op->u.copy.dst_step,
                   cpu_src(io, 0, r) + (size_t)g * op->u.copy.src_step,
                   op->u.copy.n * sizeof(float));
        }
    }
}
