/*
 * cpu_moe.c: mixture of experts: the choice, the experts at hand, the weighted sum.
 *
 * A pair is (token, choice); pairs are sorted by expert, so that an expert's hidden rows and
 * results are consecutive. Experts come in any number of calls, and a call is two loops over the
 * pool. In the first a task takes some rows of an expert's gate and the same of up, some of its
 * tokens, and leaves the hidden rows' items as the down weights want them: activated, and quantised
 * group by group. The second is the down products.
 *
 * The rows of an expert's tokens are read where they are if they follow each other, as one does;
 * otherwise a thread gathers them in memory of its own when it comes to the first tile of them, and
 * they are in its cache for the next ones.
 *
 * An expert writes its own rows only, and moe_end adds a token's rows in the order of its choice,
 * so the order of arrival cannot change a bit.
 */
#include "backend/cpu_impl.h"

#include "base/limits.h"
#include "base/mem.h"

#include <assert.h>
#include <math.h>
#include <stdalign.h>
#include <string.h>

/* 2^-14: what a sum of weights counts at least, as in llama.cpp. */
#define WEIGHT_SUM_MIN 6.103515625e-5f

static_assert(BUF_X_F32 + KX_Q8 == BUF_X_Q8, "a form's columns are found by its number");

/* ---- the choice ------------------------------------------------------------------------------ */

struct route_loop {
    const struct cpu *c;
    const struct gmoe *m;
    const struct op_io *io;
    uint32_t *id;
    float *weight;
};

/* Probability of each expert, or its logit where the chosen ones are weighed among themselves. */
static void gate(const struct cpu *c, const struct gmoe *m, const float *logit, float *p)
{
    const uint32_t n = m->n_expert;
    memcpy(p, logit, n * sizeof *p);
    switch (m->gating) {
    case GMOE_SOFTMAX:
        c->kern.scale(p, 1.0f / c->kern.exp_sum(p, n, c->kern.max(p, n)), p, n);
        break;
    case GMOE_SIGMOID:
        for (uint32_t i = 0; i < n; i++) p[i] = cpu_sigmoid(p[i]);
        break;
    case GMOE_SQRT_SOFTPLUS:
        for (uint32_t i = 0; i < n; i++) p[i] = sqrtf(cpu_softplus(p[i]));
        break;
    case GMOE_SOFTMAX_CHOSEN:
        break;
    }
}

/* A NaN compares as nothing: as the lowest score it cannot upset the choice. Weights keep it. */
static float orderly(float score)
{
    return isnan(score) ? -INFINITY : score;
}

/* The n_best best of score[0..n), best first, the lower index first among equals. */
static void choose(const float *score, uint32_t n, uint32_t n_best, uint32_t *best)
{
    uint32_t n_have = 0;
    for (uint32_t i = 0; i < n; i++) {
        if (n_have == n_best && !(score[i] > score[best[n_best - 1]])) continue;
        uint32_t at = n_have < n_best ? n_have++ : n_best - 1;
        for (; at > 0 && score[i] > score[best[at - 1]]; at--) best[at] = best[at - 1];
        best[at] = i;
    }
}

static float best_two(const float *score, uint32_t n)
{
    float first = -INFINITY, second = -INFINITY;
    for (uint32_t i = 0; i < n; i++) {
        if (score[i] > first) {
            second = first;
            first = score[i];
        } else if (score[i] > second) {
            second = score[i];
        }
    }
    return n > 1 ? first + second : first;
}

/* Experts outside the groups with the best pairs get the lowest score. */
static void limit_groups(const struct gmoe *m, float *score)
{
    assert(m->n_expert % m->n_group == 0);
    assert(m->n_group_used <= m->n_group);
    const uint32_t n = m->n_expert / m->n_group;
    float group[EXPERTS_MAX];
    uint32_t best[EXPERTS_MAX];
    bool keep[EXPERTS_MAX] = {false};
    for (uint32_t g = 0; g < m->n_group; g++)
        group[g] = orderly(best_two(score + (size_t)g * n, n));
    choose(group, m->n_group, m->n_group_used, best);
    for (uint32_t g = 0; g < m->n_group_used; g++) keep[best[g]] = true;
    for (uint32_t i = 0; i < m->n_expert; i++)
        if (!keep[i / n]) score[i] = -INFINITY;
}

static void weigh(const struct cpu *c, const struct gmoe *m, const float *p, const uint32_t *id,
                  float *weight)
{
    const uint32_t n = m->n_used;
    for (uint32_t j = 0; j < n; j++) weight[j] = p[id[j]];
    if (m->gating == GMOE_SOFTMAX_CHOSEN)
        c->kern.scale(weight, 1.0f / c->kern.exp_sum(weight, n, c->kern.max(weight, n)), weight, n);
    if (m->renormalise) {
        float sum = 0.0f;
        for (uint32_t j = 0; j < n; j++) sum += weight[j];
        for (uint32_t j = 0; j < n; j++) weight[j] /= sum < WEIGHT_SUM_MIN ? WEIGHT_SUM_MIN : sum;
    }
    if (m->scale != 1.0f)
        for (uint32_t j = 0; j < n; j++) weight[j] *= m->scale;
}

static void route_range(const void *ctx, uint32_t i0, uint32_t i1)
{
    const struct route_loop *l = ctx;
    const struct gmoe *m = l->m;
    float p[EXPERTS_MAX], score[EXPERTS_MAX];
    for (uint32_t r = i0; r < i1; r++) {
        gate(l->c, m, cpu_src(l->io, 1, r), p);
        for (uint32_t i = 0; i < m->n_expert; i++)
            score[i] = orderly(p[i] + (m->choice_bias ? m->choice_bias[i] : 0.0f));
        if (m->n_group > 1) limit_groups(m, score);
        uint32_t *id = l->id + (size_t)r * m->n_used;
        choose(score, m->n_expert, m->n_used, id);
        weigh(l->c, m, p, id, l->weight + (size_t)r * m->n_used);
    }
}

enum err cpu_moe_route(void *self, const struct gop *op, const struct op_io *io, uint32_t *id,
                       float *weight)
{
    struct cpu *c = self;
    const struct gmoe *m = &op->u.moe;
    assert(op->kind == GOP_MOE);
    assert(m->n_expert <= EXPERTS_MAX);
    assert(m->n_used >= 1);
    assert(m->n_used <= m->n_expert);
    cpu_act_follow(c, op, io, true);
    const struct route_loop l = {.c = c, .m = m, .io = io, .id = id, .weight = weight};
    cpu_for(c, io->n_row, (size_t)m->n_expert * 4, route_range, &l);
    return OK;
}

/* ---- gate, up and activation ----------------------------------------------------------------- */

enum expert_part { PART_GATE, PART_UP, PART_DOWN };

struct moe_call { /* one call with some experts */
    struct cpu *c;
    const struct gop *op;
    const struct op_io *io;
    const struct moe_rows *rows;
    const struct expert_view *view; /* (n_view) the experts at hand */
    uint32_t n_view;
    const struct cpu_job *gate, *up; /* (n_view) each */
    struct cpu_x x[2];               /* the tokens' rows by form; where gate or up want it */
};

static size_t n_embd(const struct gop *op)
{
    return op->u.moe.gate.ne[0];
}

static uint8_t *hidden_row(const struct moe_call *m, uint32_t at)
{
    const struct gmoe *g = &m->op->u.moe;
    const struct cpu_buf *b = &m->c->buf[BUF_HIDDEN];
    const size_t n_bytes = cpu_form_bytes(cpu_form(m->c, g->down.type), g->n_ff);
    assert((at + 1) * n_bytes <= b->n_bytes);
    return b->p + at * n_bytes;
}

static struct cpu_x token_rows(const struct moe_call *m, enum kern_x form)
{
    return cpu_act_rows(m->c, form, m->io->src[0], m->io->src_stride[0], m->io->n_row, 1,
                        n_embd(m->op));
}

/* What a thread holds in its part of BUF_X_...: these rows of this call. */
struct columns {
    uint64_t i_call;
    uint32_t at, n_col;
    alignas(MEM_ALIGN) uint8_t rows[];
};

/* The activations of pairs [at, at + n_col), which belong to one expert. */
static struct cpu_x columns(const struct moe_call *m, enum kern_x form, uint32_t at, uint32_t n_col,
                            uint32_t i_thread)
{
    struct cpu_x x = m->x[form];
    const uint32_t *token = m->rows->token + at; /* rising */
    const size_t n_bytes = cpu_form_bytes(form, n_embd(m->op));
    if (token[n_col - 1] - token[0] == n_col - 1) {
        x.at += token[0] * x.stride;
        return x;
    }
    struct columns *have = cpu_thread_buf(m->c, BUF_X_F32 + form, i_thread);
    assert(sizeof *have + n_col * n_bytes <= m->c->buf[BUF_X_F32 + form].n_bytes);
    if (have->i_call != m->c->n_moe || have->at != at || have->n_col != n_col) {
        *have = (struct columns){.i_call = m->c->n_moe, .at = at, .n_col = n_col};
        for (uint32_t i = 0; i < n_col; i++)
            memcpy(have->rows + i * n_bytes, x.at + token[i] * x.stride, n_bytes);
    }
    return (struct cpu_x){.at = have->rows, .stride = n_bytes};
}

/* Items [row0, row0 + n_row) of the hidden rows of some pairs of one expert. */
static void first_tile(const void *ctx, const struct cpu_tile *t)
{
    const struct moe_call *m = ctx;
    const struct cpu *c = m->c;
    const struct gmoe *g = &m->op->u.moe;
    const struct cpu_job *const job[] = {&m->gate[t->i_job], &m->up[t->i_job]};
    const uint32_t at = m->rows->first[m->view[t->i_job].slot] + (uint32_t)t->col0;
    float *const tile = cpu_thread_buf(c, BUF_TILE, t->i_thread);
    float *const h[] = {tile, tile + CPU_TILE_FLOATS};
    assert(t->n_row * t->n_col <= CPU_TILE_FLOATS);
    for (int i = 0; i < 2; i++) {
        const struct cpu_x x =
            columns(m, cpu_form(c, job[i]->type), at, (uint32_t)t->n_col, t->i_thread);
        cpu_mul_tile(c, job[i], t, x.at, x.stride, h[i], t->n_row);
    }
    c->kern.glu[g->act](h[0], h[1], h[0], t->n_row * t->n_col);
    for (uint32_t i = 0; i < t->n_col; i++) {
        const float *const items = h[0] + i * t->n_row;
        uint8_t *const row = hidden_row(m, at + i);
        if (cpu_form(c, g->down.type) == KX_Q8)
            c->kern.quant_q8_part(items, t->row0, t->n_row, g->n_ff, row);
        else
            memcpy(row + t->row0 * sizeof *items, items, t->n_row * sizeof *items);
    }
}

/* ---- jobs ------------------------------------------------------------------------------------ */

/* x, y: inputs and results by sorted position; NULL: the tiles have their own. */
static void make_jobs(const struct moe_call *m, enum expert_part part, const uint8_t *x, float *y,
                      struct cpu_job *job)
{
    const struct gmoe *g = &m->op->u.moe;
    const struct tensor *const w[] = {&g->gate, &g->up, &g->down};
    const float *const bias[] = {g->gate_bias, g->up_bias, g->down_bias};
    const float *const scale[] = {g->gate_scale, g->up_scale, g->down_scale};
    const size_t n_in = w[part]->ne[0], n_out = w[part]->ne[1];
    const size_t x_bytes = cpu_form_bytes(cpu_form(m->c, w[part]->type), n_in);
    for (uint32_t i = 0; i < m->n_view; i++) {
        const struct expert_view *v = &m->view[i];
        const void *const weights[] = {v->gate, v->up, v->down};
        assert(v->slot < m->rows->n_want);
        const uint32_t at = m->rows->first[v->slot], expert = m->rows->expert[v->slot];
        const uint32_t n_col = m->rows->first[v->slot + 1] - at;
        job[i] = cpu_job_new(w[part], weights[part], x ? x + at * x_bytes : NULL, x_bytes, n_col,
                             y ? y + at * n_out : NULL, n_out);
        if (bias[part]) job[i].bias = bias[part] + expert * n_out;
        if (scale[part]) job[i].scale = scale[part][expert];
    }
}

enum err cpu_moe_begin(void *self, const struct gop *op, const struct op_io *io,
                       const struct moe_rows *rows)
{
    struct cpu *c = self;
    const struct moe_call m = {.c = c, .op = op, .io = io, .rows = rows};
    assert(op->kind == GOP_MOE);
    assert(c->held.op == op); /* moe_route came first */
    token_rows(&m, cpu_form(c, op->u.moe.gate.type));
    token_rows(&m, cpu_form(c, op->u.moe.up.type));
    return OK;
}

enum err cpu_moe_experts(void *self, const struct gop *op, const struct op_io *io,
                         const struct moe_rows *rows, const struct expert_view *view,
                         uint32_t n_view)
{
    struct cpu *c = self;
    struct cpu_job *const gate = (struct cpu_job *)c->buf[BUF_JOB].p;
    struct cpu_job *const up = gate + n_view, *const down = gate;
    struct moe_call m = {.c = c,
                         .op = op,
                         .io = io,
                         .rows = rows,
                         .view = view,
                         .n_view = n_view,
                         .gate = gate,
                         .up = up};
    assert(op->kind == GOP_MOE);
    assert(n_view >= 1);
    assert(n_view <= EXPERT_VIEWS_MAX);
    for (int i = 0; i < 2; i++) {
        const enum kern_x form = cpu_form(c, (i ? op->u.moe.up : op->u.moe.gate).type);
        m.x[form] = token_rows(&m, form);
    }
    c->n_moe++;
    make_jobs(&m, PART_GATE, NULL, NULL, gate);
    make_jobs(&m, PART_UP, NULL, NULL, up);
    cpu_run_tiles(c, gate, n_view, CPU_TILE_ROWS, first_tile, &m);
    make_jobs(&m, PART_DOWN, hidden_row(&m, 0), io->y, down);
    cpu_run_jobs(c, down, n_view);
    return OK;
}

/* ---- the sum --------------------------------------------------------------------------------- */

static void end_range(const void *ctx, uint32_t i0, uint32_t i1)
{
    const struct moe_call *m = ctx;
    const uint32_t n_used = m->op->u.moe.n_used;
    const size_t n = n_embd(m->op);
    for (uint32_t r = i0; r < i1; r++) {
        float *y = cpu_dst(m->io, r);
        const uint32_t *at = m->rows->at + (size_t)r * n_used;
        const float *weight = m->rows->weight + (size_t)r * n_used;
        m->c->kern.scale(m->io->y + at[0] * n, weight[0], y, n);
        for (uint32_t j = 1; j < n_used; j++)
            m->c->kern.add_scaled(y, m->io->y + at[j] * n, weight[j], n);
    }
}

enum err cpu_moe_end(void *self, const struct gop *op, const struct op_io *io,
                     const struct moe_rows *rows)
{
    struct cpu *c = self;
    assert(op->kind == GOP_MOE);
    const struct moe_call m = {.c = c, .op = op, .io = io, .rows = rows};
    cpu_for(c, io->n_row, n_embd(op) * op->u.moe.n_used, end_range, &m);
    return OK;
}

/* ---- working memory -------------------------------------------------------------------------- */

void cpu_need_moe(const struct cpu *c, const struct gop *op, uint32_t n_row, size_t need[BUF_COUNT])
{
    const struct gmoe *m = &op->u.moe;
    const size_t n_pair = (size_t)n_row * m->n_used, k = n_embd(op);
    const size_t n_col = n_row < cpu_tile_cols_max(k) ? n_row : cpu_tile_cols_max(k);
    const struct tensor *const first[] = {&m->gate, &m->up};
    for (int i = 0; i < 2; i++) {
        const enum kern_x form = cpu_form(c, first[i]->type);
        cpu_need_product(c, first[i], k, n_row, 1, need);
        cpu_need(need, BUF_X_F32 + form, 1,
                 sizeof(struct columns) + n_col * cpu_form_bytes(form, k));
    }
    cpu_need_product(c, &m->down, m->n_ff, 0, 1, need);
    cpu_need(need, BUF_HIDDEN, n_pair, cpu_form_bytes(cpu_form(c, m->down.type), m->n_ff));
    cpu_need(need, BUF_TILE, 2 * CPU_TILE_FLOATS, sizeof(float));
    cpu_need(need, BUF_JOB, 2 * EXPERT_VIEWS_MAX, sizeof(struct cpu_job));
}
