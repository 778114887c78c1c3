/*
 * ffn.c: the dense feed-forward block: down(act(gate x) * up x) (GLU variants, Shazeer 2020), or
 * down(act(up x)).
 */
#include "models/decoder.h"
#include "models/model.h"

#include <stdio.h>

/* "ffn_gate", "ffn_gate_shexp", with ".bias" behind where asked. */
struct ffn_name {
    char text[TENSOR_NAME_BYTES_MAX];
};

static struct ffn_name name_of(const char *part, const char *suffix, const char *end)
{
    struct ffn_name n;
    (void)snprintf(n.text, sizeof n.text, "ffn_%s%s%s", part, suffix, end);
    return n;
}

struct gval ffn_block(struct model *m, struct graph *g, uint32_t il, const struct ffn_spec *s,
                      const char *suffix, uint32_t n_ff, struct gval x)
{
    static const char *const parts[] = {"up", "gate"};
    const uint32_t n = s->ungated ? 1 : 2;
    const struct tensor *w[2] = {0};
    const float *b[2] = {0};
    struct gval y[2];
    for (uint32_t i = 0; i < n; i++) {
        w[i] = model_weight(m, g, il, name_of(parts[i], suffix, "").text, x.n, n_ff, 1);
        b[i] = model_vec_opt(m, g, il, name_of(parts[i], suffix, ".bias").text, n_ff);
    }
    g_mul_many(g, x, n, w, b, y);
    const struct gval h = s->ungated ? g_act(g, s->act, y[0]) : g_glu(g, s->act, y[1], y[0]);
    return decoder_mul(m, g, il, name_of("down", suffix, "").text, h, m->hp.n_embd);
}
