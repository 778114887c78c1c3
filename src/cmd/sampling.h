/*
 * sampling.h: the options that say how an answer is written; run, chat, batch and stdio share them.
 *
 *     struct sampling s;
 *     enum err e = sampling_init(&s, o, engine);    // from the command line
 *     ... s.gen goes to gen_open() or crew_add(), or is the default that a request changes ...
 *     sampling_fini(&s);
 */
#ifndef CMD_SAMPLING_H
#define CMD_SAMPLING_H

#include "cli.h"
#include "gen.h"

#define SEED_RANDOM UINT64_MAX /* what -1 becomes */

struct sampling_opts { /* part of struct common_opts */
    float temp, top_p, min_p, typical, repeat, presence, frequency;
    uint32_t top_k;
    int32_t penalty_last;
    uint64_t seed; /* SEED_RANDOM: as if not given */
    enum cli_from seed_from;
    struct cli_list stop;       /* --stop, -r: repeatable */
    struct cli_list logit_bias; /* --logit-bias ID+1.5, ID-1, ID-inf: repeatable */
    int32_t n_predict;
    enum cli_from n_predict_from;
    bool ctx_shift;
    uint32_t n_keep;
};

extern const struct cli_opt common_sampling[]; /* of struct common_opts */
extern const struct cli_opt common_shift[];    /* --ctx-shift --keep: where one answer runs alone */

struct common_opts;
struct engine;

struct sampling {
    struct gen_opts gen; /* its lists are owned by this struct */
    bool seed_given;     /* otherwise gen.sample.seed is random, short enough to type */
    struct sample_bias *bias;
    const char **stop;
};

/* The demo model's stories fall apart: where nobody says how long (-n), SAMPLING_DEMO_TOKENS are
 * enough. For answers that people look at; before sampling_init(). */
#define SAMPLING_DEMO_TOKENS 200
void sampling_for_demo(struct common_opts *o, const struct engine *e);

/* chat: adds chat_stop() of the model's template to the stop strings. ERR_USAGE: a value out of
 * range, a bias that cannot be read or names an id outside the vocabulary. */
enum err sampling_init(struct sampling *s, const struct common_opts *o, struct engine *e,
                       bool chat);
void sampling_fini(struct sampling *s); /* a zeroed one is fine */

/* The stop strings of gen: the n given ones, and `extra` unless that is NULL or one of them. *list
 * is theirs (mem_free); the strings are borrowed. */
enum err sampling_stops(struct gen_opts *gen, const char ***list, const char *const *strings,
                        size_t n, const char *extra);

#endif
