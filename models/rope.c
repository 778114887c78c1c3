/*
 * rope.c: the rotation tables: which angle each pair of dims turns by per position.
 *
 * Pair i of n_rot/2 turns by base^(-2i/n_rot) per position (RoFormer, arXiv 2104.09864), changed by
 *  - a tensor of divisors, one per pair: rope_freqs (Llama 3.1's stretching, gemma 4's partial
 *    rotation); otherwise rope_factors_long where the configured context exceeds the original one
 *    and rope_factors_short where not (longrope, arXiv 2402.13753). The configured context, not the
 *    length of the text, so that keys in the cache stay valid;
 *  - linear scaling: all angles divided by the factor (position interpolation, arXiv 2306.15595);
 *  - yarn (arXiv 2309.00071): low frequencies divided by the factor, high ones kept, a ramp between
 *    the pairs that turn 32 times and once over the original context; cos and sin grow by
 *    1 + 0.1 ln(factor);
 *  - interleaved sections (Qwen 3-VL): with text all sections have the same position, so the only
 *    effect is that a pair which no section covers does not turn.
 * Everything is computed in double and rounded once.
 *
 * Refuses: divisors that are not finite, or so small that angles leave float's range.
 */
#include "models/decoder.h"
#include "models/model.h"

#include <assert.h>
#include <float.h>
#include <math.h>

#define YARN_BETA_FAST 32.0 /* turns over the original context that keep a frequency as it is */
#define YARN_BETA_SLOW 1.0  /* turns that have it divided by the full factor */
#define YARN_RAMP_MIN 0.001 /* width of a ramp whose ends meet */
#define DIVISOR_MIN 1e-3f   /* in use: 1 .. 1e30 (which stops a pair) */
#define TWO_PI 6.283185307179586

/* The pair (not rounded) that turns n_turn times over n_ctx positions. */
static double yarn_pair(double n_turn, double n_ctx, double n_rot, double base)
{
    return n_rot * log(n_ctx / (TWO_PI * n_turn)) / (2.0 * log(base));
}

static void scale_yarn(const struct rope_spec *s, const struct rope_scaling *rs, double *inv_freq)
{
    const double n_rot = s->n_rot, n_ctx = rs->n_ctx_orig;
    const double lo = fmax(0.0, floor(yarn_pair(YARN_BETA_FAST, n_ctx, n_rot, (double)s->base)));
    const double hi =
        fmin(n_rot - 1.0, ceil(yarn_pair(YARN_BETA_SLOW, n_ctx, n_rot, (double)s->base)));
    for (uint32_t i = 0; i < s->n_rot / 2; i++) {
        const double ramp = fmin(fmax((i - lo) / fmax(hi - lo, YARN_RAMP_MIN), 0.0), 1.0);
        inv_freq[i] = inv_freq[i] * (1.0 - ramp) + inv_freq[i] / (double)rs->factor * ramp;
    }
}

/* The tensor of divisors that applies, or NULL. */
static const float *divisors(struct model *m, struct graph *g, const struct rope_spec *s)
{
    const uint32_t n = s->n_rot / 2;
    const char *name = "rope_freqs.weight";
    const float *by = model_vec_opt(m, g, GLAYER_NONE, name, n);
    if (!by) {
        const bool is_long = m->n_ctx > m->hp.rope_scaling.n_ctx_orig;
        name = is_long ? "rope_factors_long.weight" : "rope_factors_short.weight";
        by = model_vec_opt(m, g, GLAYER_NONE, name, n);
    }
    for (uint32_t i = 0; by && i < n; i++) {
        if (by[i] >= DIVISOR_MIN && by[i] <= FLT_MAX) continue;
        model_refuse_tensor(m, g, GLAYER_NONE, name,
                            "has %g at %u, expected finite numbers from %g", (double)by[i], i,
                            (double)DIVISOR_MIN);
        return NULL;
    }
    return by;
}

static bool is_covered(const uint32_t section[4], uint32_t pair)
{
    const uint32_t n = section[0] + section[1] + section[2] + section[3];
    assert(n > 0);
    const uint32_t at = pair % n;
    return at < 3 * section[at % 3];
}

uint32_t rope_table(struct model *m, struct graph *g, const struct rope_spec *s)
{
    assert(!s->off);
    assert(s->n_rot >= 2);
    assert(s->n_rot <= HEAD_DIM_MAX);
    const struct rope_scaling *const rs = &m->hp.rope_scaling;
    const uint32_t n_pair = s->n_rot / 2;
    double inv_freq[HEAD_DIM_MAX / 2];
    for (uint32_t i = 0; i < n_pair; i++) inv_freq[i] = pow((double)s->base, -2.0 * i / s->n_rot);

    double magnitude = 1.0;
    if (!s->unscaled) {
        const float *const by = divisors(m, g, s);
        for (uint32_t i = 0; by && i < n_pair; i++) inv_freq[i] /= (double)by[i];
        const bool is_linear = rs->type == ROPE_SCALING_LINEAR;
        for (uint32_t i = 0; is_linear && i < n_pair; i++) inv_freq[i] /= (double)rs->factor;
        if (rs->type == ROPE_SCALING_YARN) scale_yarn(s, rs, inv_freq);
        if (rs->type == ROPE_SCALING_YARN && !s->flat) magnitude += 0.1 * log((double)rs->factor);
        magnitude *= (double)rs->attn_factor;
    }

    float rounded[HEAD_DIM_MAX / 2];
    for (uint32_t i = 0; i < n_pair; i++) {
        const bool turns = !s->section || is_covered(s->section, i);
        rounded[i] = turns ? (float)inv_freq[i] : 0.0f;
    }
    return g_rope_table(g, s->n_rot, rounded, (float)magnitude);
}
