/*
 * cpu_moe.c: mixture of experts: the choice, the experts at hand, the weighted sum.
 *
 * A pair is (token, choice); pairs are sorted by expert, so that an expert's columns are
 * consecutive rows of the working buffers. Experts come in any number of calls. Each call runs the
 * gate and up products of its experts in one loop over the pool, then the activation of their rows,
 * then the down products. An expert chosen by one token reads that token's row where it is; for
 * others the rows are gathered first.
 *
 * An expert writes its own rows only, and moe_end adds a token's rows in the order of its choice,
 * so the order of arrival cannot change a bit.
 */
#include "backend/cpu_impl.h"

#include "base/limits.h"

#include <assert.h>
#include <math.h>
#include <string.h>

/* 2^-14: what a sum of weights counts at least, as in llama.cpp. */
#define WEIGHT_SUM_MIN 6.103515625e-5f

static_assert(BUF_PAIR_F32 + KX_Q8 == BUF_PAIR_Q8, "a form's pair rows are found by its number");

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

/* ---- rows of pairs --------------------------------------------------------------------------- */

struct moe_call { /* one call with some experts */
    struct cpu *c;
    const struct gop *op;
    const struct op_io *io;
    const struct moe_rows *rows;
    const struct expert_view *view; /* (n_view) the experts at hand */
    uint32_t n_view;
};

struct pair_loop { /* a pass over the pairs listed in BUF_PAIR_AT */
    const struct moe_call *call;
    enum kern_x form;
    struct cpu_x x; /* the tokens' rows in this form */
};

static size_t n_embd(const struct gop *op)
{
    return op->u.moe.gate.ne[0];
}

static uint8_t *pair_row(const struct cpu *c, enum kern_x form, size_t k, uint32_t at)
{
    const struct cpu_buf *b = &c->buf[BUF_PAIR_F32 + form];
    const size_t n_bytes = cpu_form_bytes(form, k);
    assert((at + 1) * n_bytes <= b->n_bytes);
    return b->p + at * n_bytes;
}

static uint32_t n_col_of(const struct moe_rows *rows, const struct expert_view *view)
{
    assert(view->slot < rows->n_want);
    return rows->first[view->slot + 1] - rows->first[view->slot];
}

static struct cpu_x token_rows(const struct moe_call *m, enum kern_x form)
{
    return cpu_act_rows(m->c, form, m->io->src[0], m->io->src_stride[0], m->io->n_row, 1,
                        n_embd(m->op));
}

/* Sorted positions of the experts at hand that have at least n_col_min columns, into BUF_PAIR_AT;
 * how many. */
static uint32_t list_pairs(const struct moe_call *m, uint32_t n_col_min)
{
    uint32_t *at = (uint32_t *)m->c->buf[BUF_PAIR_AT].p;
    uint32_t n = 0;
    for (uint32_t i = 0; i < m->n_view; i++) {
        const uint32_t n_col = n_col_of(m->rows, &m->view[i]);
        if (n_col < n_col_min) continue;
        assert((n + n_col) * sizeof *at <= m->c->buf[BUF_PAIR_AT].n_bytes);
        for (uint32_t j = 0; j < n_col; j++) at[n++] = m->rows->first[m->view[i].slot] + j;
    }
    return n;
}

static void gather_range(const void *ctx, uint32_t i0, uint32_t i1)
{
    const struct pair_loop *l = ctx;
    const struct moe_call *m = l->call;
    const uint32_t *at = (const uint32_t *)m->c->buf[BUF_PAIR_AT].p;
    const size_t k = n_embd(m->op);
    for (uint32_t i = i0; i < i1; i++) {
        const uint8_t *row = l->x.at + m->rows->token[at[i]] * l->x.stride;
        memcpy(pair_row(m->c, l->form, k, at[i]), row, cpu_form_bytes(l->form, k));
    }
}

/* The tokens' rows beside each other for the experts that have several columns. */
static void gather(const struct moe_call *m, enum kern_x form)
{
    const struct pair_loop l = {.call = m, .form = form, .x = token_rows(m, form)};
    cpu_for(m->c, list_pairs(m, 2), n_embd(m->op), gather_range, &l);
}

/* The hidden row of a pair: activation, and the form that the down weights want. */
static void hidden_range(const void *ctx, uint32_t i0, uint32_t i1)
{
    const struct pair_loop *l = ctx;
    const struct gmoe *m = &l->call->op->u.moe;
    const struct op_io *io = l->call->io;
    const struct cpu *c = l->call->c;
    const uint32_t *at = (const uint32_t *)c->buf[BUF_PAIR_AT].p;
    for (uint32_t i = i0; i < i1; i++) {
        float *h = io->h_gate + (size_t)at[i] * m->n_ff;
        c->kern.glu[m->act](h, io->h_up + (size_t)at[i] * m->n_ff, h, m->n_ff);
        if (l->form == KX_Q8) c->kern.quant_q8(h, m->n_ff, pair_row(c, KX_Q8, m->n_ff, at[i]));
    }
}

/* ---- experts --------------------------------------------------------------------------------- */

enum expert_part { PART_GATE, PART_UP, PART_DOWN };

struct part_rows {       /* the inputs of one part, and where its results go */
    const uint8_t *pair; /* by sorted position */
    struct cpu_x token;  /* by token, for experts with one column; at == NULL: there are none */
    float *y;            /* by sorted position */
};

static void add_jobs(const struct moe_call *m, enum expert_part part, const struct part_rows *r,
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
        const uint32_t at = m->rows->first[v->slot], expert = m->rows->expert[v->slot];
        const uint32_t n_col = n_col_of(m->rows, v);
        const uint8_t *x = r->pair + at * x_bytes;
        if (n_col == 1 && r->token.at) x = r->token.at + m->rows->token[at] * r->token.stride;
        job[i] = cpu_job_new(w[part], weights[part], x, x_bytes, n_col, r->y + at * n_out, n_out);
        if (bias[part]) job[i].bias = bias[part] + expert * n_out;
        if (scale[part]) job[i].scale = scale[part][expert];
    }
}

static void run_first(const struct moe_call *m)
{
    const struct gmoe *g = &m->op->u.moe;
    const enum kern_x form_gate = cpu_form(m->c, g->gate.type),
                      form_up = cpu_form(m->c, g->up.type);
    gather(m, form_gate);
    if (form_up != form_gate) gather(m, form_up);
    struct cpu_job *job = (struct cpu_job *)m->c->buf[BUF_JOB].p;
    const struct part_rows gate_rows = {.pair = pair_row(m->c, form_gate, n_embd(m->op), 0),
                                        .token = token_rows(m, form_gate),
                                        .y = m->io->h_gate};
    const struct part_rows up_rows = {.pair = pair_row(m->c, form_up, n_embd(m->op), 0),
                                      .token = token_rows(m, form_up),
                                      .y = m->io->h_up};
    add_jobs(m, PART_GATE, &gate_rows, job);
    add_jobs(m, PART_UP, &up_rows, job + m->n_view);
    cpu_run_jobs(m->c, job, 2 * m->n_view);
}

static void run_down(const struct moe_call *m)
{
    const struct gmoe *g = &m->op->u.moe;
    const struct pair_loop l = {.call = m, .form = cpu_form(m->c, g->down.type)};
    cpu_for(m->c, list_pairs(m, 1), (size_t)g->n_ff * 4, hidden_range, &l);
    struct cpu_job *job = (struct cpu_job *)m->c->buf[BUF_JOB].p;
    const struct part_rows rows = {.pair = l.form == KX_Q8 ? pair_row(m->c, KX_Q8, g->n_ff, 0)
                                                           : (const uint8_t *)m->io->h_gate,
                                   .y = m->io->y};
    add_jobs(m, PART_DOWN, &rows, job);
    cpu_run_jobs(m->c, job, m->n_view);
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
    const struct moe_call m = {
        .c = self, .op = op, .io = io, .rows = rows, .view = view, .n_view = n_view};
    assert(op->kind == GOP_MOE);
    assert(n_view >= 1);
    assert(n_view <= EXPERT_VIEWS_MAX);
    run_first(&m);
    run_down(&m);
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
    const size_t n_pair = (size_t)n_row * m->n_used;
    const struct tensor *const first[] = {&m->gate, &m->up};
    for (int i = 0; i < 2; i++) {
        const enum kern_x form = cpu_form(c, first[i]->type);
        cpu_need_product(c, first[i], n_embd(op), n_row, 1, need);
        cpu_need(need, BUF_PAIR_F32 + form, n_pair, cpu_form_bytes(form, n_embd(op)));
    }
    cpu_need_product(c, &m->down, m->n_ff, 0, 1, need);
    if (cpu_form(c, m->down.type) == KX_Q8)
        cpu_need(need, BUF_PAIR_Q8, n_pair, cpu_form_bytes(KX_Q8, m->n_ff));
    cpu_need(need, BUF_PAIR_AT, n_pair, sizeof(uint32_t));
    cpu_need(need, BUF_JOB, 2 * EXPERT_VIEWS_MAX, sizeof(struct cpu_job));
}
