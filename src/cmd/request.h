/*
 * request.h: one JSON object that asks for an answer, as batch and stdio take it: the prompt's ids
 * and the options of the answer.
 *
 *     struct request r;
 *     enum err e = request_read(&r, engine, item, &defaults, raw, n_ctx);
 *     ... r.ids, r.n_ids, r.gen ...
 *     request_fini(&r);
 *
 * Fields: "prompt" (a string: put into the model's chat template, if there is one for it, unless
 * raw; or ids: an array of integers) or "messages" (with "tools" and "chat_template_kwargs" beside
 * them, if any; always put into the template); "raw"; "max_tokens" (also "max_completion_tokens",
 * "n_predict"), "temperature", "top_p", "top_k", "min_p", "typical_p", "repeat_penalty",
 * "presence_penalty", "frequency_penalty", "repeat_last_n", "logit_bias" (an object of id: number,
 * as OpenAI's), "seed" (beyond 2^63 - 1 as a string of digits), "stop" (a string or an array of
 * them). Null counts as absent. Other fields are the caller's; request_unknown() finds those that
 * nobody knows.
 *
 * A field replaces the default, lists as a whole. Where the template is used, the text that ends
 * its answers (chat_stop()) is one more stop string.
 */
#ifndef CMD_REQUEST_H
#define CMD_REQUEST_H

#include "gen.h"

#include <jansson.h>
#include <stdbool.h>

struct request {
    uint32_t *ids;
    size_t n_ids;
    struct gen_opts gen; /* its lists are owned by this struct */
    struct sample_bias *bias;
    const char **stop; /* strings borrowed from the item or the defaults: until either is gone */
    bool too_long;     /* why request_read() failed: there are more ids than the context holds */
};

/* raw: what "raw" is when the item does not say. ERR_USAGE: a field of the wrong type or out of
 * range, naming it, or a prompt that does not fit a context of n_ctx; ERR_INPUT: a template that
 * raises, an id out of range, an empty prompt for a vocabulary without BOS. */
enum err request_read(struct request *r, struct engine *e, const json_t *item,
                      const struct gen_opts *defaults, bool raw, uint32_t n_ctx);
void request_fini(struct request *r); /* a zeroed one is fine */

/* The first member of item that is neither a field above nor one of `known` (NULL-terminated), or
 * NULL. */
const char *request_unknown(const json_t *item, const char *const *known);

#endif
