/*
 * cpu_seq.c: operations that carry state from token to token: short convolutions, gated delta net,
 * mamba2.
 *
 * Rows are walked one by one in order, whatever the size of the batch, so any cut of it gives the
 * same bits. Threads share the channels or the heads, which are independent of each other.
 */
#include "backend/cpu_impl.h"

#include "base/limits.h"

#include <assert.h>
#include <math.h>
#include <stdalign.h>
#include <string.h>

#define CONV_BLOCK 64 /* channels at a time: their weights, transposed, stay in L1 */

struct seq_loop {
    const struct cpu *c;
    const struct gop *op;
    const struct op_io *io;
};

/* Both keep e^x from overflowing: its argument is never positive. */
float cpu_softplus(float x)
{
    return fmaxf(x, 0.0f) + log1pf(expf(-fabsf(x)));
}

float cpu_sigmoid(float x)
{
    const float e = expf(-fabsf(x));
    return (x < 0.0f ? e : 1.0f) / (1.0f + e);
}

/* ---- causal depthwise convolution ------------------------------------------------------------ */

/* Row i of the n_tap - 1 rows of state followed by the rows of the source. */
static const float *conv_in(const struct op_io *io, const struct gconv *v, size_t n_channel,
                            uint32_t i)
{
    if (i < v->n_tap - 1) return io->state + v->state_at + i * n_channel;
    return cpu_src(io, 0, i - (v->n_tap - 1));
}

static void conv_block(const struct seq_loop *l, size_t at, size_t n)
{
    const struct gconv *v = &l->op->u.conv;
    const struct op_io *io = l->io;
    const size_t n_channel = l->op->src[0].n;
    float w[CONV_TAPS_MAX][CONV_BLOCK];
    for (uint32_t j = 0; j < v->n_tap; j++)
        for (size_t i = 0; i < n; i++) w[j][i] = v->w[(at + i) * v->n_tap + j];
    for (uint32_t r = 0; r < io->n_row; r++) {
        float y[CONV_BLOCK] = {0};
        for (uint32_t j = 0; j < v->n_tap; j++) {
            const float *x = conv_in(io, v, n_channel, r + j) + at;
            for (size_t i = 0; i < n; i++) y[i] += w[j][i] * x[i];
        }
        if (v->bias) l->c->kern.add(y, v->bias + at, y, n);
        if (v->silu) l->c->kern.act[ACT_SILU](y, y, n);
        memcpy(cpu_dst(io, r) + at, y, n * sizeof *y);
    }
    /* From later rows to earlier ones, rising, so that nothing is overwritten before it moved. */
    for (uint32_t j = 0; j + 1 < v->n_tap; j++)
        memcpy(io->state + v->state_at + j * n_channel + at,
               conv_in(io, v, n_channel, io->n_row + j) + at, n * sizeof *w[0]);
}

static void conv_range(const void *ctx, uint32_t i0, uint32_t i1)
{
    const struct seq_loop *l = ctx;
    const size_t n_channel = l->op->src[0].n;
    for (uint32_t i = i0; i < i1; i++) {
        const size_t at = (size_t)i * CONV_BLOCK;
        conv_block(l, at, n_channel - at < CONV_BLOCK ? n_channel - at : CONV_BLOCK);
    }
}

void cpu_op_conv(struct cpu *c, const struct gop *op, const struct op_io *io)
{
    const struct gconv *v = &op->u.conv;
    assert(v->n_tap >= 1);
    assert(v->n_tap <= CONV_TAPS_MAX);
    assert(io->state);
    const struct seq_loop l = {.c = c, .op = op, .io = io};
    cpu_for(c, (op->src[0].n + CONV_BLOCK - 1) / CONV_BLOCK,
            (size_t)io->n_row * CONV_BLOCK * v->n_tap, conv_range, &l);
}

/* ---- gated delta net ------------------------------------------------------------------------- */

static void gdn_range(const void *ctx, uint32_t i0, uint32_t i1)
{
    const struct seq_loop *l = ctx;
    const struct ggdn *v = &l->op->u.gdn;
    const struct op_io *io = l->io;
    alignas(64) float tmp[HEAD_DIM_MAX];
    const float scale = 1.0f / sqrtf((float)v->dim);
    for (uint32_t h = i0; h < i1; h++) {
        const size_t at = (size_t)h * v->dim;
        const size_t at_k =
            (size_t)(v->tiled ? h % v->n_head_k : h / (v->n_head / v->n_head_k)) * v->dim;
        float *m = io->state + v->state_at + at * v->dim;
        for (uint32_t r = 0; r < io->n_row; r++) {
            const float *beta_alpha = cpu_src(io, 3, r);
            const float beta = cpu_sigmoid(beta_alpha[h]);
            const float decay =
                expf(v->a[h] * cpu_softplus(beta_alpha[v->n_head + h] + v->dt_bias[h]));
            l->c->kern.gdn_step(m, cpu_src(io, 0, r) + at_k, cpu_src(io, 1, r) + at_k,
                                cpu_src(io, 2, r) + at, decay, beta, scale, v->dim, v->dim,
                                cpu_dst(io, r) + at, tmp);
        }
    }
}

void cpu_op_gdn(struct cpu *c, const struct gop *op, const struct op_io *io)
{
    const struct ggdn *v = &op->u.gdn;
    assert(v->dim <= HEAD_DIM_MAX);
    assert(v->n_head % v->n_head_k == 0);
    assert(io->state);
    const struct seq_loop l = {.c = c, .op = op, .io = io};
    cpu_for(c, v->n_head, (size_t)io->n_row * v->dim * v->dim, gdn_range, &l);
}

/* ---- mamba2 ---------------------------------------------------------------------------------- */

static void ssm_range(const void *ctx, uint32_t i0, uint32_t i1)
{
    const struct seq_loop *l = ctx;
    const struct gssm *v = &l->op->u.ssm;
    const struct op_io *io = l->io;
    for (uint32_t h = i0; h < i1; h++) {
        const size_t at = (size_t)h * v->dim;
        const size_t at_group = (size_t)(h / (v->n_head / v->n_group)) * v->n_state;
        float *state = io->state + v->state_at + at * v->n_state;
        for (uint32_t r = 0; r < io->n_row; r++) {
            const float dt = cpu_softplus(cpu_src(io, 3, r)[h] + v->dt_bias[h]);
            l->c->kern.ssm_step(state, cpu_src(io, 0, r) + at, cpu_src(io, 1, r) + at_group,
                                cpu_src(io, 2, r) + at_group, expf(dt * v->a[h]), dt, v->d[h],
                                v->dim, v->n_state, cpu_dst(io, r) + at);
        }
    }
}

void cpu_op_ssm(struct cpu *c, const struct gop *op, const struct op_io *io)
{
    const struct gssm *v = &op->u.ssm;
    assert(v->n_head % v->n_group == 0);
    assert(io->state);
    const struct seq_loop l = {.c = c, .op = op, .io = io};
    cpu_for(c, v->n_head, (size_t)io->n_row * v->dim * v->n_state, ssm_range, &l);
}
