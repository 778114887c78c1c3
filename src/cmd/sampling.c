/*
 * sampling.c: the rows of the sampling options, and what becomes of them.
 *
 * The spellings are llama.cpp's. The parser has checked the ranges; what needs the model is checked
 * here: ids of logit biases, and stop strings, to which the end of a template without tokens of its
 * own is added.
 */
#include "cmd/sampling.h"

#include "base/limits.h"
#include "base/mem.h"
#include "base/os.h"
#include "cmd/common.h"
#include "text/stop.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define AT(field) offsetof(struct common_opts, sampling.field)

const struct cli_opt common_sampling[] = {
    {"n-predict", 'n', CLI_I32, AT(n_predict), AT(n_predict_from), "N", .min = -1, .max = INT32_MAX,
     .def = "-1", .alias = "--predict",
     .help = "tokens to write; -1: until the text ends or the context is full (run and chat with "
             "the demo model: 200 unless given)"},
    {"temp", 0, CLI_F32, AT(temp), .arg = "T", .max = SAMPLE_TEMP_MAX, .def = "0.8",
     .alias = "--temperature", .help = "temperature; 0 always takes the likeliest token"},
    {"top-k", 0, CLI_U32, AT(top_k), .arg = "K", .def = "40",
     .help = "only the K likeliest tokens; 0: all"},
    {"top-p", 0, CLI_F32, AT(top_p), .arg = "P", .max = 1, .def = "0.95",
     .help = "only the likeliest tokens that reach probability P together; 1: all"},
    {"min-p", 0, CLI_F32, AT(min_p), .arg = "P", .max = 1, .def = "0.05",
     .help = "only tokens with P times the probability of the likeliest; 0: all"},
    {"typical", 0, CLI_F32, AT(typical), .arg = "P", .max = 1, .def = "1", .alias = "--typical-p",
     .help = "only tokens about as surprising as is expected, which reach probability P together; "
             "1: all"},
    {"repeat-penalty", 0, CLI_F32, AT(repeat), .arg = "X", .min = SAMPLE_REPEAT_MIN,
     .max = SAMPLE_REPEAT_MAX, .def = "1",
     .help = "divides the logits of tokens that were there already; 1: off"},
    {"repeat-last-n", 0, CLI_I32, AT(penalty_last), .arg = "N", .min = -1, .max = CTX_MAX,
     .def = "64",
     .help = "the penalties look back on N tokens, those of the prompt included; 0: none, -1: all"},
    {"presence-penalty", 0, CLI_F32, AT(presence), .arg = "X", .min = -SAMPLE_PENALTY_MAX,
     .max = SAMPLE_PENALTY_MAX, .def = "0",
     .help = "taken from the logits of tokens that were there already; 0: off"},
    {"frequency-penalty", 0, CLI_F32, AT(frequency), .arg = "X", .min = -SAMPLE_PENALTY_MAX,
     .max = SAMPLE_PENALTY_MAX, .def = "0",
     .help = "the same, as many times as they were there; 0: off"},
    {"logit-bias", 'l', CLI_LIST, AT(logit_bias), .arg = "ID+X",
     .help = "added to the logit of a token: 123+1.5, 123-1; 123-inf: never"},
    {"seed", 's', CLI_U64, AT(seed), AT(seed_from), "N", .min = -1, .max = 0x1p64,
     .help = "seed of the random choices; -1: random (the default; printed on standard error; in "
             "batch the line's number counts from it, by default from 0)"},
    {"stop", 'r', CLI_LIST, AT(stop), .arg = "TEXT", .alias = "--reverse-prompt",
     .help = "the answer ends before this text"},
    {0},
};

const struct cli_opt common_shift[] = {
    {"ctx-shift", 0, CLI_FLAG, AT(ctx_shift), .alias = "--context-shift",
     .help = "a full context forgets the older half of the text, and the answer goes on"},
    {"keep", 0, CLI_U32, AT(n_keep), .arg = "N", .max = CTX_MAX, .def = "0",
     .help = "tokens at the beginning that --ctx-shift does not forget"},
    {0},
};

static_assert(SAMPLING_DEMO_TOKENS == 200, "the help of --n-predict names it");
static_assert(CLI_LIST_MAX < STOPS_MAX, "every --stop and that of the template fit");
static_assert(CLI_LIST_MAX <= SAMPLE_BIASES_MAX, "every --logit-bias fits");

/* ---- logit bias ------------------------------------------------------------------------------ */

/* "123+1.5", "123-inf" */
static enum err read_bias(const char *text, uint32_t n_vocab, struct sample_bias *b)
{
    char id[16] = "";
    const size_t n = strspn(text, "0123456789");
    if (n < sizeof id) memcpy(id, text, n);
    uint64_t v = 0;
    char *end = NULL;
    bool good = cli_u64(id, &v) && (text[n] == '+' || text[n] == '-');
    if (good) b->add = (float)strtod(text + n, &end);
    good = good && end != text + n && *end == '\0' && (isfinite(b->add) || b->add == -INFINITY);
    if (!good)
        return err_set(ERR_USAGE,
                       "option --logit-bias: '%s' is not accepted; expected a token's id and what "
                       "to add to its logit, as in 123+1.5, 123-1 or 123-inf",
                       text);
    if (v >= n_vocab)
        return err_set(ERR_USAGE,
                       "option --logit-bias: '%s' is for token %" PRIu64
                       ", but the vocabulary ends with %" PRIu32,
                       text, v, n_vocab - 1);
    b->id = (uint32_t)v;
    return OK;
}

static enum err read_biases(struct sampling *s, const struct cli_list *list, uint32_t n_vocab)
{
    if (list->n == 0) return OK;
    s->bias = mem_alloc_array(MEM_MISC, list->n, sizeof *s->bias);
    if (!s->bias) return ERR_MEMORY;
    for (size_t i = 0; i < list->n; i++) {
        const enum err err = read_bias(list->s[i], n_vocab, &s->bias[i]);
        if (err) return err;
    }
    s->gen.sample.bias = s->bias;
    s->gen.sample.n_bias = list->n;
    return OK;
}

/* ---- stop strings ---------------------------------------------------------------------------- */

enum err sampling_stops(struct gen_opts *gen, const char ***list, const char *const *strings,
                        size_t n, const char *extra)
{
    assert(gen);
    assert(list);
    assert(strings || n == 0);
    gen->stop = NULL;
    gen->n_stop = 0;
    *list = mem_alloc_array(MEM_MISC, n + 1, sizeof **list);
    if (!*list) return ERR_MEMORY;
    gen->stop = *list;
    for (size_t i = 0; i < n; i++) {
        (*list)[gen->n_stop++] = strings[i];
        if (extra && strcmp(strings[i], extra) == 0) extra = NULL;
    }
    if (extra) (*list)[gen->n_stop++] = extra;
    return OK;
}

/* Those of the command line, and the one of the chat template where there is a chat. */
static enum err collect_stops(struct sampling *s, const struct cli_list *list, struct engine *e,
                              bool chat)
{
    for (size_t i = 0; i < list->n; i++) {
        const enum err err = stop_check(list->s[i]);
        if (err) return err_wrap(err, "option --stop");
    }
    const struct chat *c = NULL;
    const enum err err = chat ? engine_chat(e, &c) : OK;
    return err ? err
               : sampling_stops(&s->gen, &s->stop, list->s, list->n, chat ? chat_stop(c) : NULL);
}

/* ---- all ------------------------------------------------------------------------------------- */

void sampling_for_demo(struct common_opts *o, const struct engine *e)
{
    assert(o);
    assert(e);
    if (!engine_info(e)->is_demo || o->sampling.n_predict_from != CLI_FROM_DEFAULT) return;
    o->sampling.n_predict = SAMPLING_DEMO_TOKENS;
}

enum err sampling_init(struct sampling *s, const struct common_opts *common, struct engine *e,
                       bool chat)
{
    assert(s);
    assert(common);
    assert(e);
    const struct sampling_opts *const o = &common->sampling;
    *s =
        (struct sampling){.gen = {.sample = {.temp = o->temp,
                                             .top_k = o->top_k,
                                             .top_p = o->top_p,
                                             .min_p = o->min_p,
                                             .typical = o->typical,
                                             .repeat = o->repeat,
                                             .presence = o->presence,
                                             .frequency = o->frequency,
                                             .penalty_last = o->penalty_last,
                                             .seed = o->seed},
                                  .n_max = o->n_predict < 0 ? UINT32_MAX : (uint32_t)o->n_predict,
                                  .shift = o->ctx_shift,
                                  .n_keep = o->n_keep},
                          .seed_given = o->seed_from != CLI_FROM_DEFAULT && o->seed != SEED_RANDOM};
    if (!s->seed_given) s->gen.sample.seed = os_random_seed() & UINT32_MAX;
    enum err err = read_biases(s, &o->logit_bias, engine_info(e)->n_vocab);
    if (err == OK) err = collect_stops(s, &o->stop, e, chat);
    if (err) sampling_fini(s);
    return err;
}

void sampling_fini(struct sampling *s)
{
    assert(s);
    mem_free(s->bias);
    mem_free(s->stop);
    *s = (struct sampling){0};
}
