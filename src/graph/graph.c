/*
 * graph.c: the builder: each call checks its shapes, appends one operation and returns its result.
 *
 * The first failure is kept in graph.err with its message; after it every call is a no-op that
 * returns GVAL_NONE, so that a family file needs no error paths and graph_finish() reports the
 * cause, not the consequences. Shapes that come from a file were checked by models/model.c before
 * they reach a builder call; the checks here catch a family that combines them wrongly.
 */
#include "graph/graph.h"

#include "base/mem.h"

#include <assert.h>
#include <string.h>

enum err graph_new(struct graph **out, uint32_t n_layer)
{
    assert(out);
    assert(n_layer <= LAYERS_MAX);
    struct graph *g = mem_alloc(MEM_MODEL, sizeof *g);
    *out = g;
    if (!g) return ERR_MEMORY;
    g->n_layer = n_layer;
    g->layer = GLAYER_NONE;
    g->logits = GVAL_NONE;
    return OK;
}

void graph_free(struct graph *g)
{
    if (!g) return;
    for (uint32_t i = 0; i < g->n_rope; i++) mem_free((void *)(uintptr_t)g->rope[i].inv_freq);
    mem_free(g->rope);
    mem_free(g->buf);
    mem_free(g->op);
    mem_free(g);
}

void g_fail(struct graph *g, enum err e)
{
    if (g->err == OK) g->err = e;
}

/* A family combined shapes that do not fit: the file is at fault as far as its user can tell. */
static void fail_shape(struct graph *g, const char *op, uint64_t found, uint64_t expected)
{
    if (g->err) return;
    g->err = err_set(
        ERR_INPUT,
        "layer %d: the sizes in the file do not fit together: %s has %llu columns, expected %llu",
        g->layer == GLAYER_NONE ? -1 : (int)g->layer, op, (unsigned long long)found,
        (unsigned long long)expected);
}

/* Room for one more item in an array that doubles; NULL (and g->err) when memory is short. */
static void *grow(struct graph *g, void **items, uint32_t n, uint32_t *cap, size_t item_bytes)
{
    if (n == *cap) {
        const uint32_t cap_new = *cap ? *cap * 2 : 64;
        void *p = mem_realloc(MEM_MODEL, *items, cap_new * item_bytes);
        if (!p) {
            g_fail(g, ERR_MEMORY);
            return NULL;
        }
        *items = p;
        *cap = cap_new;
    }
    return (char *)*items + n * item_bytes;
}

struct gval g_new(struct graph *g, uint32_t n)
{
    if (g->err) return GVAL_NONE;
    if (n == 0 || n > DIM_MAX * 64) {
        fail_shape(g, "a value", n, 1);
        return GVAL_NONE;
    }
    struct gbuf *b = grow(g, (void **)&g->buf, g->n_buf, &g->cap_buf, sizeof *b);
    if (!b) return GVAL_NONE;
    *b = (struct gbuf){.n_col = n};
    return (struct gval){.buf = (int32_t)g->n_buf++, .at = 0, .n = n};
}

static bool is_none(struct gval v)
{
    return v.buf < 0;
}

/* A fresh operation of this kind in the current layer, or NULL after a failure. */
static struct gop *add_op(struct graph *g, enum gop_kind kind)
{
    if (g->err) return NULL;
    struct gop *op = grow(g, (void **)&g->op, g->n_op, &g->cap_op, sizeof *op);
    if (!op) return NULL;
    *op = (struct gop){.kind = kind, .layer = g->layer};
    for (int i = 0; i < GOP_SRC_MAX; i++) op->src[i] = GVAL_NONE;
    for (int i = 0; i < GOP_OUT_MAX; i++) op->dst[i] = GVAL_NONE;
    g->n_op++;
    return op;
}

/* The common case: one result of n columns from sources a and b. The result is made before the
 * operation, because both may move their arrays. */
static struct gop *op_to(struct graph *g, enum gop_kind kind, struct gval a, struct gval b,
                         uint32_t n)
{
    const struct gval y = g_new(g, n);
    struct gop *op = add_op(g, kind);
    if (!op) return NULL;
    op->src[0] = a;
    op->src[1] = b;
    op->dst[0] = y;
    op->n_out = 1;
    return op;
}

static struct gval result(const struct gop *op)
{
    return op ? op->dst[0] : GVAL_NONE;
}

struct gval g_cols(struct graph *g, struct gval v, uint32_t at, uint32_t n)
{
    if (g->err || is_none(v)) return GVAL_NONE;
    if (at > v.n || n > v.n - at) {
        fail_shape(g, "a slice", v.n, (uint64_t)at + n);
        return GVAL_NONE;
    }
    return (struct gval){.buf = v.buf, .at = v.at + at, .n = n};
}

struct gval g_embed(struct graph *g, const struct tensor *w, float scale)
{
    if (g->err) return GVAL_NONE;
    struct gop *op = op_to(g, GOP_EMBED, GVAL_NONE, GVAL_NONE, (uint32_t)w->ne[0]);
    if (!op) return GVAL_NONE;
    op->w[0] = *w;
    op->u.embed.scale = scale;
    return op->dst[0];
}

void g_mul_many(struct graph *g, struct gval x, uint32_t n, const struct tensor *const *w,
                const float *const *bias, struct gval *dst)
{
    assert(n >= 1);
    assert(n <= GOP_OUT_MAX);
    for (uint32_t i = 0; i < n; i++) dst[i] = GVAL_NONE;
    for (uint32_t i = 0; i < n && !g->err; i++) {
        if (w[i]->ne[0] != x.n)
            fail_shape(g, w[i]->name, w[i]->ne[0], x.n);
        else
            dst[i] = g_new(g, (uint32_t)w[i]->ne[1]);
    }
    struct gop *op = add_op(g, GOP_MUL);
    if (!op) return;
    op->src[0] = x;
    op->n_out = n;
    for (uint32_t i = 0; i < n; i++) {
        op->w[i] = *w[i];
        op->bias[i] = bias ? bias[i] : NULL;
        op->dst[i] = dst[i];
    }
}

struct gval g_mul(struct graph *g, const struct tensor *w, struct gval x, const float *bias)
{
    struct gval y = GVAL_NONE;
    if (!g->err) g_mul_many(g, x, 1, &w, &bias, &y);
    return y;
}

struct gval g_mul_heads(struct graph *g, const struct tensor *w, struct gval x, uint32_t n_head,
                        bool transposed)
{
    if (g->err) return GVAL_NONE;
    const uint64_t n_in = transposed ? w->ne[1] : w->ne[0];
    const uint64_t n_out = transposed ? w->ne[0] : w->ne[1];
    if (x.n != n_in * n_head || w->ne[2] != n_head) {
        fail_shape(g, w->name, n_in * w->ne[2], x.n);
        return GVAL_NONE;
    }
    struct gop *op = op_to(g, GOP_MUL_HEADS, x, GVAL_NONE, (uint32_t)(n_out * n_head));
    if (!op) return GVAL_NONE;
    op->w[0] = *w;
    op->u.heads.n_head = n_head;
    op->u.heads.transposed = transposed;
    return op->dst[0];
}

static struct gval norm(struct graph *g, enum gop_kind kind, struct gval x, const float *w,
                        const float *b, uint32_t dim, float eps, bool w_per_group)
{
    if (g->err) return GVAL_NONE;
    if (dim == 0 || x.n % dim != 0) {
        fail_shape(g, "a norm's input", x.n, dim);
        return GVAL_NONE;
    }
    struct gop *op = op_to(g, kind, x, GVAL_NONE, x.n);
    if (!op) return GVAL_NONE;
    op->u.norm.w = w;
    op->u.norm.b = b;
    op->u.norm.dim = dim;
    op->u.norm.eps = eps;
    op->u.norm.w_per_group = w_per_group;
    return op->dst[0];
}

struct gval g_rmsnorm(struct graph *g, struct gval x, const float *w, const float *b, uint32_t dim,
                      float eps)
{
    return norm(g, GOP_RMSNORM, x, w, b, dim, eps, false);
}

struct gval g_rmsnorm_groups(struct graph *g, struct gval x, const float *w, uint32_t dim,
                             float eps)
{
    return norm(g, GOP_RMSNORM, x, w, NULL, dim, eps, true);
}

struct gval g_l2norm(struct graph *g, struct gval x, uint32_t dim, float eps)
{
    return norm(g, GOP_L2NORM, x, NULL, NULL, dim, eps, false);
}

uint32_t g_rope_table(struct graph *g, uint32_t n_rot, const float *inv_freq, float magnitude)
{
    assert(n_rot >= 2);
    assert(n_rot % 2 == 0);
    if (g->err) return 0;
    const size_t bytes = n_rot / 2 * sizeof *inv_freq;
    for (uint32_t i = 0; i < g->n_rope; i++) {
        const struct grope_table *t = &g->rope[i];
        if (t->n_rot == n_rot && memcmp(&t->magnitude, &magnitude, sizeof magnitude) == 0 &&
            memcmp(t->inv_freq, inv_freq, bytes) == 0)
            return i;
    }
    float *copy = mem_alloc(MEM_MODEL, bytes);
    struct grope_table *t =
        copy ? grow(g, (void **)&g->rope, g->n_rope, &g->cap_rope, sizeof *t) : NULL;
    if (!t) {
        mem_free(copy);
        g_fail(g, ERR_MEMORY);
        return 0;
    }
    memcpy(copy, inv_freq, bytes);
    *t = (struct grope_table){.n_rot = n_rot, .inv_freq = copy, .magnitude = magnitude};
    return g->n_rope++;
}

void g_rope(struct graph *g, struct gval x, uint32_t table, uint32_t head_dim, uint32_t at,
            enum grope_pair pair)
{
    if (g->err) return;
    const uint32_t n_rot = g->rope[table].n_rot;
    if (head_dim == 0 || x.n % head_dim != 0 || at > head_dim || n_rot > head_dim - at) {
        fail_shape(g, "the rotated part of a head", head_dim, (uint64_t)at + n_rot);
        return;
    }
    struct gop *op = add_op(g, GOP_ROPE);
    if (!op) return;
    op->dst[0] = x;
    op->n_out = 1;
    op->u.rope.table = table;
    op->u.rope.n_head = x.n / head_dim;
    op->u.rope.head_dim = head_dim;
    op->u.rope.at = at;
    op->u.rope.pair = pair;
}

void g_kv(struct graph *g, struct gval k, struct gval v, const struct kv_shape *shape)
{
    if (g->err) return;
    assert(g->layer < g->n_layer);
    const uint64_t n_k = (uint64_t)shape->n_head_kv * shape->dim_k;
    const uint64_t n_v = (uint64_t)shape->n_head_kv * shape->dim_v;
    if (k.n != n_k) fail_shape(g, "the keys", k.n, n_k);
    if (shape->v_in_k ? shape->dim_v > shape->dim_k : v.n != n_v)
        fail_shape(g, "the values", v.n, n_v);
    g->kv[g->layer] = *shape;
    struct gop *op = add_op(g, GOP_KV);
    if (!op) return;
    op->src[0] = k;
    op->src[1] = v;
}

struct gval g_attn(struct graph *g, struct gval q, const struct gattn *spec)
{
    if (g->err) return GVAL_NONE;
    assert(spec->kv_layer <= g->layer);
    const struct kv_shape *kv = &g->kv[spec->kv_layer];
    if (q.n != (uint64_t)spec->n_head * spec->dim_k)
        fail_shape(g, "the queries", q.n, (uint64_t)spec->n_head * spec->dim_k);
    if (kv->n_head_kv != spec->n_head_kv)
        fail_shape(g, "the cached keys", kv->n_head_kv, spec->n_head_kv);
    if (kv->dim_k != spec->dim_k) fail_shape(g, "a cached key", kv->dim_k, spec->dim_k);
    if (kv->dim_v != spec->dim_v) fail_shape(g, "a cached value", kv->dim_v, spec->dim_v);
    if (spec->n_head_kv == 0 || spec->n_head % spec->n_head_kv)
        fail_shape(g, "the heads", spec->n_head, spec->n_head_kv);
    const struct gval max_sum = g_new(g, 2 * spec->n_head);
    struct gop *op = op_to(g, GOP_ATTN, q, GVAL_NONE, spec->n_head * spec->dim_v);
    if (!op) return GVAL_NONE;
    op->dst[1] = max_sum;
    op->n_out = 2;
    op->u.attn = *spec;
    op->u.attn.v_in_k = kv->v_in_k;
    return op->dst[0];
}

struct gval g_act(struct graph *g, enum gact act, struct gval x)
{
    if (g->err) return GVAL_NONE;
    struct gop *op = op_to(g, GOP_ACT, x, GVAL_NONE, x.n);
    if (op) op->u.act = act;
    return result(op);
}

struct gval g_glu(struct graph *g, enum gact act, struct gval gate, struct gval up)
{
    if (g->err) return GVAL_NONE;
    if (gate.n != up.n) fail_shape(g, "the gate", gate.n, up.n);
    struct gop *op = op_to(g, GOP_GLU, gate, up, gate.n);
    if (op) op->u.act = act;
    return result(op);
}

struct gval g_add_scaled(struct graph *g, struct gval a, struct gval b, float s)
{
    if (g->err) return GVAL_NONE;
    if (a.n != b.n) fail_shape(g, "a sum's second term", b.n, a.n);
    struct gop *op = op_to(g, GOP_ADD, a, b, a.n);
    if (op) op->u.scale.factor = s;
    return result(op);
}

struct gval g_add(struct graph *g, struct gval a, struct gval b)
{
    return g_add_scaled(g, a, b, 1.0f);
}

struct gval g_mulv(struct graph *g, struct gval a, struct gval b)
{
    if (g->err) return GVAL_NONE;
    if (b.n != a.n && b.n != 1) fail_shape(g, "a factor", b.n, a.n);
    return result(op_to(g, GOP_MULV, a, b, a.n));
}

struct gval g_scale_vec(struct graph *g, struct gval x, float s, const float *vec, uint32_t n_vec)
{
    if (g->err) return GVAL_NONE;
    if (vec && n_vec != x.n && n_vec != 1) fail_shape(g, "a factor", n_vec, x.n);
    struct gop *op = op_to(g, GOP_SCALE, x, GVAL_NONE, x.n);
    if (!op) return GVAL_NONE;
    op->u.scale.factor = s;
    op->u.scale.vec = vec;
    op->u.scale.n_vec = n_vec;
    return op->dst[0];
}

struct gval g_scale(struct graph *g, struct gval x, float s)
{
    return g_scale_vec(g, x, s, NULL, 0);
}

struct gval g_softcap(struct graph *g, struct gval x, float cap)
{
    if (g->err) return GVAL_NONE;
    struct gop *op = op_to(g, GOP_SOFTCAP, x, GVAL_NONE, x.n);
    if (op) op->u.cap = cap;
    return result(op);
}

/* Checks that n_group pieces of n, step apart from column at, lie inside a row of n_col. */
static bool pieces_fit(struct graph *g, uint32_t n_col, uint32_t n_group, uint32_t at,
                       uint32_t step, uint32_t n)
{
    const uint64_t end = n_group ? at + (uint64_t)(n_group - 1) * step + n : 0;
    if (end && end <= n_col && n) return true;
    fail_shape(g, "the interleaved parts", n_col, end);
    return false;
}

struct gval g_pick(struct graph *g, struct gval x, uint32_t n_group, uint32_t at, uint32_t src_step,
                   uint32_t n)
{
    if (g->err || !pieces_fit(g, x.n, n_group, at, src_step, n)) return GVAL_NONE;
    const struct gval from = {.buf = x.buf, .at = x.at + at, .n = x.n - at};
    struct gop *op = op_to(g, GOP_COPY, from, GVAL_NONE, n_group * n);
    if (!op) return GVAL_NONE;
    op->u.copy.n_group = n_group;
    op->u.copy.src_step = src_step;
    op->u.copy.dst_step = n;
    op->u.copy.n = n;
    return op->dst[0];
}

void g_place(struct graph *g, struct gval dst, struct gval x, uint32_t n_group, uint32_t at,
             uint32_t dst_step, uint32_t n)
{
    if (g->err || !pieces_fit(g, dst.n, n_group, at, dst_step, n)) return;
    if (x.n != (uint64_t)n_group * n) fail_shape(g, "the placed parts", x.n, (uint64_t)n_group * n);
    struct gop *op = add_op(g, GOP_COPY);
    if (!op) return;
    op->src[0] = x;
    op->dst[0] = (struct gval){.buf = dst.buf, .at = dst.at + at, .n = dst.n - at};
    op->n_out = 1;
    op->u.copy.n_group = n_group;
    op->u.copy.src_step = n;
    op->u.copy.dst_step = dst_step;
    op->u.copy.n = n;
}

struct gval g_moe(struct graph *g, struct gval x, struct gval logits, const struct gmoe *spec)
{
    if (g->err) return GVAL_NONE;
    assert(spec->n_used >= 1);
    assert(spec->n_used <= spec->n_expert);
    assert(spec->n_used <= EXPERTS_USED_MAX);
    if (logits.n != spec->n_expert) fail_shape(g, "the router", logits.n, spec->n_expert);
    const struct gval y = g_new(g, spec->n_used * x.n);
    struct gop *op = op_to(g, GOP_MOE, x, logits, x.n);
    if (!op) return GVAL_NONE;
    op->u.moe = *spec;
    op->u.moe.y = y;
    return op->dst[0];
}

uint32_t g_state(struct graph *g, uint32_t n)
{
    assert(g->layer < g->n_layer);
    const uint32_t at = g->state_floats[g->layer];
    g->state_floats[g->layer] += (n + 15) / 16 * 16; /* each part starts at a cache line */
    return at;
}

struct gval g_conv(struct graph *g, struct gval x, const struct gconv *spec)
{
    if (g->err) return GVAL_NONE;
    assert(spec->n_tap >= 1);
    assert(spec->n_tap <= CONV_TAPS_MAX);
    struct gop *op = op_to(g, GOP_CONV, x, GVAL_NONE, x.n);
    if (op) op->u.conv = *spec;
    return result(op);
}

struct gval g_gdn(struct graph *g, struct gval q, struct gval k, struct gval v,
                  struct gval beta_alpha, const struct ggdn *spec)
{
    if (g->err) return GVAL_NONE;
    if (q.n != spec->n_head_k * spec->dim)
        fail_shape(g, "the delta net's queries", q.n, spec->n_head_k * spec->dim);
    if (k.n != q.n) fail_shape(g, "the delta net's keys", k.n, q.n);
    if (v.n != spec->n_head * spec->dim)
        fail_shape(g, "the delta net's values", v.n, spec->n_head * spec->dim);
    if (beta_alpha.n != 2 * spec->n_head)
        fail_shape(g, "beta and alpha", beta_alpha.n, 2 * spec->n_head);
    struct gop *op = op_to(g, GOP_GDN, q, k, v.n);
    if (!op) return GVAL_NONE;
    op->src[2] = v;
    op->src[3] = beta_alpha;
    op->u.gdn = *spec;
    return op->dst[0];
}

struct gval g_ssm(struct graph *g, struct gval x, struct gval b, struct gval c, struct gval dt,
                  const struct gssm *spec)
{
    if (g->err) return GVAL_NONE;
    if (x.n != spec->n_head * spec->dim)
        fail_shape(g, "the SSM's input", x.n, spec->n_head * spec->dim);
    if (b.n != spec->n_group * spec->n_state)
        fail_shape(g, "the SSM's B", b.n, spec->n_group * spec->n_state);
    if (c.n != b.n) fail_shape(g, "the SSM's C", c.n, b.n);
    if (dt.n != spec->n_head) fail_shape(g, "the SSM's dt", dt.n, spec->n_head);
    struct gop *op = op_to(g, GOP_SSM, x, b, x.n);
    if (!op) return GVAL_NONE;
    op->src[2] = c;
    op->src[3] = dt;
    op->u.ssm = *spec;
    return op->dst[0];
}

void g_reduce(struct graph *g, struct gval x)
{
    struct gop *op = add_op(g, GOP_REDUCE);
    if (!op) return;
    op->dst[0] = x;
    op->n_out = 1;
}

struct gval g_out_rows(struct graph *g, struct gval x)
{
    if (g->err) return GVAL_NONE;
    return result(op_to(g, GOP_OUT_ROWS, x, GVAL_NONE, x.n));
}

enum err graph_finish(struct graph *g, struct gval logits)
{
    if (g->err) return g->err;
    assert(!is_none(logits));
    g->logits = logits;
    return graph_plan(g);
}
