/*
 * gen.c: one answer: the sampler picks, the token stream makes characters, stop strings end it.
 *
 * A token passes three stations: its bytes join the unfinished character of the stream, whole
 * characters go to the stop strings, and what can be no part of one is final. At the end both are
 * emptied. Between the two, the channels of models that write them become readable; what a prompt
 * has begun of one, a header or a message, is found by reading it from its last <|start|>.
 */
#include "gen.h"

#include "base/limits.h"
#include "base/mem.h"
#include "base/os.h"
#include "text/stop.h"

#include <assert.h>
#include <string.h>

struct gen {
    struct engine *e;
    struct gen_opts o; /* its lists are not kept: sampler and stop have copies */
    struct sampler *sampler;
    struct stop *stop;
    struct tok_stream stream;
    struct channel channel;
    bool has_channels;
    char *buf;        /* (TOK_STREAM_BYTES_MAX) characters of the last token */
    char *out;        /* (GEN_TEXT_BYTES_MAX) the last text of an answer */
    uint32_t *prompt; /* (n_prompt) */
    size_t n_prompt;
    uint32_t n_tokens;
    uint64_t first_ns;
    enum gen_finish finish;
};

const char *gen_finish_name(enum gen_finish f)
{
    static const char *const names[] = {[GEN_GOING] = "",
                                        [GEN_STOP] = "stop",
                                        [GEN_LENGTH] = "length",
                                        [GEN_CONTEXT] = "context",
                                        [GEN_CANCELLED] = "cancelled"};
    assert(f <= GEN_CANCELLED);
    return names[f];
}

/* The characters of a token, in g->buf. */
static size_t read_token(struct gen *g, uint32_t id)
{
    const size_t n = engine_stream_put(g->e, &g->stream, id, g->buf, TOK_STREAM_BYTES_MAX);
    return g->has_channels ? channel_put(&g->channel, id, g->buf, n) : n;
}

/* Where a prompt leaves off, channels begin. */
static void open_channels(struct gen *g)
{
    g->has_channels = !g->o.special && engine_channels(g->e, &g->channel);
    size_t i = g->has_channels ? g->n_prompt : 0;
    while (i > 0 && g->prompt[i - 1] != g->channel.start) i--;
    if (i == 0) return;
    for (i--; i < g->n_prompt; i++) read_token(g, g->prompt[i]);
    engine_stream_end(&g->stream, g->buf, TOK_STREAM_BYTES_MAX);
}

enum err gen_open(struct gen **out, struct engine *e, const struct gen_opts *o,
                  const uint32_t *prompt, size_t n_prompt)
{
    assert(out);
    assert(e);
    assert(prompt && n_prompt >= 1);
    *out = NULL;
    struct gen *g = mem_alloc(MEM_MISC, sizeof *g);
    if (!g) return ERR_MEMORY;
    g->e = e;
    g->o = *o;
    g->stream.special = o->special;
    enum err err = sampler_open(&g->sampler, &o->sample, engine_info(e)->n_vocab);
    if (err) goto fail;
    err = stop_open(&g->stop, o->stop, o->n_stop);
    if (err) goto fail;
    err = ERR_MEMORY;
    g->buf = mem_alloc(MEM_MISC, TOK_STREAM_BYTES_MAX);
    g->out = mem_alloc(MEM_MISC, GEN_TEXT_BYTES_MAX);
    g->prompt = mem_alloc_array(MEM_MISC, n_prompt, sizeof *prompt);
    if (!g->buf || !g->out || !g->prompt) goto fail;
    memcpy(g->prompt, prompt, n_prompt * sizeof *prompt);
    g->n_prompt = n_prompt;
    open_channels(g);
    for (size_t i = 0; i < n_prompt; i++) sampler_accept(g->sampler, prompt[i]);
    if (o->n_max == 0) g->finish = GEN_LENGTH;
    *out = g;
    return OK;
fail:
    gen_close(g);
    return err;
}

void gen_close(struct gen *g)
{
    if (!g) return;
    sampler_close(g->sampler);
    stop_close(g->stop);
    mem_free(g->buf);
    mem_free(g->out);
    mem_free(g->prompt);
    mem_free(g);
}

/* ---- a token --------------------------------------------------------------------------------- */

static void append(struct gen *g, size_t *n_out, const char *text, size_t n)
{
    assert(n <= GEN_TEXT_BYTES_MAX - *n_out);
    if (n) memcpy(g->out + *n_out, text, n);
    *n_out += n;
}

/* The answer ends; its last text is what *text has already and what was held back. */
static void end(struct gen *g, enum gen_finish why, const char **text, size_t *n)
{
    size_t n_out = 0, n_rest;
    const char *rest;
    append(g, &n_out, *text, *n);
    size_t n_held = engine_stream_end(&g->stream, g->buf, TOK_STREAM_BYTES_MAX);
    if (g->has_channels && g->channel.is_header) n_held = 0;
    if (stop_put(g->stop, g->buf, n_held, &rest, &n_rest)) why = GEN_STOP;
    append(g, &n_out, rest, n_rest);
    stop_end(g->stop, &rest, &n_rest);
    append(g, &n_out, rest, n_rest);
    *text = g->out;
    *n = n_out;
    g->finish = why;
}

enum gen_finish gen_pick(struct gen *g, const float *logits, uint32_t *id, const char **text,
                         size_t *n)
{
    assert(g);
    assert(logits);
    assert(g->finish == GEN_GOING);
    *text = g->out;
    *n = 0;
    *id = sampler_next(g->sampler, logits);
    if (g->first_ns == 0) g->first_ns = os_time_ns();
    if (engine_is_eog(g->e, *id)) {
        end(g, GEN_STOP, text, n);
        return g->finish;
    }
    sampler_accept(g->sampler, *id);
    g->n_tokens++;
    if (stop_put(g->stop, g->buf, read_token(g, *id), text, n))
        g->finish = GEN_STOP;
    else if (g->n_tokens >= g->o.n_max)
        end(g, GEN_LENGTH, text, n);
    return g->finish;
}

void gen_cut(struct gen *g, enum gen_finish why, const char **text, size_t *n)
{
    assert(g);
    *n = 0;
    *text = g->out;
    if (g->finish == GEN_GOING) end(g, why, text, n);
}

/* ---- an answer on one session ---------------------------------------------------------------- */

struct answer {
    struct gen *g;
    struct session *s;
    uint32_t *ids; /* (n_ctx) what the session holds; NULL unless the context may shift */
    uint32_t n_ids;
    gen_text_fn *on_text;
    void *ctx;
};

static enum err hand_out(const struct answer *a, const char *text, size_t n)
{
    return n ? a->on_text(a->ctx, text, n) : OK;
}

/* The context is full: half of what is not to be kept goes. The rest is run again at its new
 * positions, which is exact for every kind of position and state, and costs half a prefill. */
static enum err shift(struct answer *a)
{
    const uint32_t n_keep = a->g->o.n_keep < a->n_ids ? a->g->o.n_keep : a->n_ids - 1;
    const uint32_t n_drop = (a->n_ids - n_keep + 1) / 2;
    uint32_t *const to = a->ids + n_keep;
    a->n_ids -= n_drop;
    memmove(to, to + n_drop, (a->n_ids - n_keep) * sizeof *to);
    return session_sync(a->s, a->ids, a->n_ids);
}

static enum err step(struct answer *a, uint32_t id)
{
    enum err err = session_step(a->s, id);
    if (err == ERR_END && a->ids) {
        err = shift(a);
        if (err == OK) err = session_step(a->s, id);
    }
    if (err == OK && a->ids) a->ids[a->n_ids++] = id;
    return err;
}

static enum err one_token(struct answer *a)
{
    const char *text;
    size_t n;
    uint32_t id;
    const enum gen_finish why = gen_pick(a->g, session_logits(a->s), &id, &text, &n);
    enum err err = hand_out(a, text, n);
    if (err || why != GEN_GOING) return err;
    err = os_interrupted() ? err_set(ERR_INTR, "interrupted") : step(a, id);
    if (err != ERR_END) return err;
    gen_cut(a->g, GEN_CONTEXT, &text, &n);
    return hand_out(a, text, n);
}

enum err gen_answer(struct gen *g, struct session *s, gen_text_fn *on_text, void *ctx)
{
    assert(g);
    assert(s);
    assert(on_text);
    struct answer a = {.g = g, .s = s, .on_text = on_text, .ctx = ctx};
    enum err err = session_sync(s, g->prompt, g->n_prompt);
    if (err == OK && g->o.shift) {
        a.ids = mem_alloc_array(MEM_MISC, session_n_ctx(s), sizeof *a.ids);
        if (!a.ids) return ERR_MEMORY;
        memcpy(a.ids, g->prompt, g->n_prompt * sizeof *a.ids);
        a.n_ids = (uint32_t)g->n_prompt;
    }
    while (err == OK && g->finish == GEN_GOING) err = one_token(&a);
    if (err == ERR_INTR) {
        const char *text;
        size_t n;
        gen_cut(g, GEN_CANCELLED, &text, &n);
        const enum err err_text = hand_out(&a, text, n);
        if (err_text) err = err_text;
    }
    mem_free(a.ids);
    return err;
}

/* ---- facts ----------------------------------------------------------------------------------- */

enum gen_finish gen_finish(const struct gen *g)
{
    return g->finish;
}

uint32_t gen_n_tokens(const struct gen *g)
{
    return g->n_tokens;
}

uint64_t gen_first_ns(const struct gen *g)
{
    return g->first_ns;
}
