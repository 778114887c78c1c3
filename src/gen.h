/*
 * gen.h: one answer being written: picks tokens, makes text of them, knows when to stop.
 *
 *     struct gen *g;
 *     enum err e = gen_open(&g, engine, &opts, prompt, n_prompt);
 *     e = gen_answer(g, session, on_text, ctx);     // prompt, then token by token
 *     if (gen_finish(g) == GEN_CONTEXT) ...
 *     gen_close(g);
 *
 * gen_answer() is for one session; crew.h drives many through gen_pick(). Text comes out in whole
 * UTF-8 characters (only the very last piece may end inside one, where the answer was cut), without
 * control tokens (channels as text/channel.h shows them), and never contains a stop string or a
 * part of one that was completed. Threads: one at a time.
 */
#ifndef GEN_H
#define GEN_H

#include "base/err.h"
#include "base/limits.h"
#include "engine.h"
#include "text/sample.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum gen_finish {
    GEN_GOING,     /* not finished: the picked token is to be run */
    GEN_STOP,      /* end of generation, or a stop string */
    GEN_LENGTH,    /* n_max tokens */
    GEN_CONTEXT,   /* the context is full */
    GEN_CANCELLED, /* whoever asked has had enough */
};
/* "stop", "length", "context", "cancelled"; "" for GEN_GOING. */
const char *gen_finish_name(enum gen_finish f);

struct gen_opts {
    struct sample_opts sample;
    uint32_t n_max;          /* tokens of the answer; UINT32_MAX: no limit */
    const char *const *stop; /* (n_stop) stop strings; copied */
    size_t n_stop;
    bool shift; /* gen_answer(): a full context loses the older half of what follows the first
                 * n_keep tokens, and the text goes on */
    uint32_t n_keep;
    bool special; /* control tokens as their text; end-of-generation tokens still end silently */
};

/* Of a piece of text: a token's characters, and what was held back before them. */
#define GEN_TEXT_BYTES_MAX (2 * TOK_STREAM_BYTES_MAX + STOP_BYTES_MAX)

struct gen;

/* prompt: (n_prompt >= 1) ids, copied: history of the penalties, and what gen_answer() runs.
 * ERR_USAGE: an option out of range. */
enum err gen_open(struct gen **g, struct engine *e, const struct gen_opts *o,
                  const uint32_t *prompt, size_t n_prompt);
void gen_close(struct gen *g); /* NULL is fine */

/* Picks the next token from logits. *text, *n: what became final of the answer, maybe nothing,
 * valid until the next call. GEN_GOING: *id is to be run next; otherwise the answer is complete. */
enum gen_finish gen_pick(struct gen *g, const float *logits, uint32_t *id, const char **text,
                         size_t *n);
/* The answer ends here, unless it has ended already: what was held back becomes final. */
void gen_cut(struct gen *g, enum gen_finish why, const char **text, size_t *n);

typedef enum err gen_text_fn(void *ctx, const char *text, size_t n);
/* The whole answer on one session: prompt (session_sync), then token by token; on_text gets the
 * text as it becomes final, and stops the answer with a code other than OK. ERR_INTR: SIGINT; the
 * answer is GEN_CANCELLED, what was held back has been handed out, the session holds what was
 * run. */
enum err gen_answer(struct gen *g, struct session *s, gen_text_fn *on_text, void *ctx);

enum gen_finish gen_finish(const struct gen *g);
uint32_t gen_n_tokens(const struct gen *g); /* of the answer so far, its end token not counted */
uint64_t gen_first_ns(const struct gen *g); /* os_time_ns() when the first token was there; 0 */

#endif
