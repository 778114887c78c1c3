/*
 * engine.h: the boundary between moxie and whoever uses it. The commands use only this.
 *
 * An engine is an opened model; a session is one timeline of tokens over it. Callers hand over the
 * whole list of tokens they want to be in effect; the session reuses what it has computed and runs
 * the rest.
 *
 *     struct engine *e;
 *     if (engine_open(&e, &(struct engine_opts){.path = "model.gguf"})) die(err_msg());
 *     struct session *s;
 *     session_new(&s, e, &(struct session_opts){0});
 *     session_sync(s, ids, n_ids);     // prefill; the last token's logits are ready
 *     uint32_t id = sample_argmax(session_logits(s), engine_info(e)->n_vocab);
 *     session_step(s, id);                                // decode
 *     session_free(s);
 *     engine_close(e);
 *
 * Ownership: pointers returned are borrowed until the object they came from is freed; lists
 * allocated for the caller say so and are released with engine_free(). Threads: an engine may be
 * used by one thread at a time (its sessions share the thread pool); reads of engine_info() and the
 * tokenizer from any thread. Errors: enum err, the sentence in err_msg(). After an error a session
 * is at the position it reports and goes on. Same file, tokens and options give the same logits,
 * bit for bit, for any number of threads, any cut of the batch and any way to reach the position.
 */
#ifndef ENGINE_H
#define ENGINE_H

#include "base/err.h"
#include "text/channel.h"
#include "text/chat.h"
#include "text/origin.h"
#include "text/stream.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct engine;
struct session;

/* ---- engine ---------------------------------------------------------------------------------- */

enum engine_mode {
    ENGINE_RUN,   /* everything: needs a family that moxie knows and all of its tensors */
    ENGINE_VOCAB, /* keys and tokenizer only: no tensors, any architecture */
    ENGINE_FILE,  /* the file alone, for engine_describe(): no tokenizer either */
};

enum kv_type { KV_F16, KV_F32, KV_Q8_0 };
#define CTX_OF_MODEL UINT32_MAX

typedef void engine_progress_fn(void *ctx, uint64_t n_done, uint64_t n_total);

struct engine_opts {
    const char *path; /* NULL: the embedded demo model */
    enum engine_mode mode;
    uint32_t n_thread;    /* 0: physical cores */
    const char *cpu_mask; /* NULL: all that the CPU has; else the highest level, as --cpu-mask */
    const char *pre;      /* NULL, or overrides tokenizer.ggml.pre */
    const char *chat_template; /* NULL, or a file with a template instead of the model's; copied */
    bool act_f32;     /* diagnostic: float32 activations for quantised weights, slow and exact */
    bool no_repack;   /* use the weights as the file has them: starts at once, runs slower */
    bool plan_repack; /* only find out whether they would be repacked */
    /* 0: weights are repacked in engine_open(). Otherwise so many steps take them as the file has
     * them, if that is in the page cache; then about late_bytes are repacked before each step. All
     * are before more tokens than a batch. Meanwhile a step also changes engine_info.repack. */
    uint32_t late_steps;
    uint64_t late_bytes;
    engine_progress_fn *on_repack; /* NULL, or called now and then with the bytes repacked */
    void *on_repack_ctx;
    /* The sessions to come, as far as they are known: repacked weights leave the memory that all of
     * them take when they are full. n_ctx and the types as in session_opts. */
    uint32_t n_ctx;
    uint32_t n_seq; /* 0: one */
    enum kv_type type_k, type_v;
};

/* Repacked weights are in memory, in the order in which the kernels read them; otherwise they are
 * read from the mapped file, and put into that order again and again. The results are the same. */
enum engine_repack_state {
    REPACK_NOTHING, /* no weights of a type that has such an order, or no model to run */
    REPACK_DONE,
    REPACK_LATE,    /* as late_steps says: will be, or some are */
    REPACK_PLANNED, /* it would be, but for plan_repack */
    REPACK_OFF,     /* no_repack */
    REPACK_ROWS,    /* act_f32, which reads rows */
    REPACK_ROOM,    /* too little memory is free */
    REPACK_REFUSED, /* the system did not give the memory */
};

struct engine_repack {
    enum engine_repack_state state;
    uint64_t n_bytes;    /* that are, or would be, repacked */
    uint64_t n_done;     /* that are */
    uint64_t need_bytes; /* for that: with what the sessions take, and some to spare */
    uint64_t free_bytes; /* of memory, when that was decided; 0: unknown */
    uint64_t ns;         /* that it took */
};

struct engine_info {       /* facts, valid until engine_close */
    const char *path;      /* "(demo)" for the embedded model */
    const char *name;      /* general.name, or "" */
    const char *arch;      /* general.architecture */
    const char *cpu_level; /* instruction set in use */
    const char *type;      /* the type that most weight bytes have: "Q4_K" */
    uint32_t n_thread;
    uint32_t n_layer, n_embd, n_vocab, n_expert, n_expert_used;
    uint32_t n_ctx_train; /* the model's own context */
    uint64_t n_param;
    uint64_t n_bytes;         /* of all tensors */
    uint64_t n_bytes_active;  /* weight bytes that one decoded token reads */
    uint64_t n_bytes_experts; /* of those, in the experts it chose */
    uint64_t n_macs;          /* products of weights that a token takes, but for its logits */
    uint64_t n_macs_logits;   /* and for those */
    struct engine_repack repack;
    bool is_demo;
    bool has_template; /* tokenizer.chat_template is there */
    bool is_recurrent; /* has state that cannot be trimmed: rolling back uses checkpoints */
};

enum err engine_open(struct engine **e, const struct engine_opts *o);
void engine_close(struct engine *e); /* NULL is fine; frees no session: close them first */
const struct engine_info *engine_info(const struct engine *e);
/* The model's file was cut, written to or became unreadable while it was in use: nothing that it
 * computes is to be trusted. */
bool engine_broken(const struct engine *e);
enum err engine_whole(const struct engine *e); /* OK, or the sentence for that: gguf_whole() */
void engine_free(void *list);                  /* lists that this header allocates */

struct engine_level {  /* an instruction set that there are kernels for; static strings */
    const char *name;  /* as in engine_opts.cpu_mask */
    const char *needs; /* the processor's features, in words */
    const char *lacks; /* why this machine cannot use it; NULL when it can */
};
/* Those of this processor's architecture, the lowest first. */
#define ENGINE_LEVELS_MAX 8
size_t engine_levels(struct engine_level levels[ENGINE_LEVELS_MAX]);
/* The most int8 multiply-adds per second that n_thread threads can make with the instructions of
 * this level (cpu_mask as in engine_opts), measured on registers alone for some 0.3 s: the ceiling
 * of quantised products. 0: the level has none that are worth the name. */
enum err engine_int8_peak(const char *cpu_mask, uint32_t n_thread, double *macs_per_s);

/* ---- text ------------------------------------------------------------------------------------ */

enum engine_tok_flags { ENGINE_TOK_BOS = 1, ENGINE_TOK_SPECIAL = 2 }; /* as text/tok.h */

enum err engine_tokenize(const struct engine *e, const char *text, size_t n_bytes, unsigned flags,
                         uint32_t **ids, size_t *n);
/* A text whose data can never become control tokens, the rest always can. ENGINE_TOK_SPECIAL has no
 * meaning here. */
enum err engine_tokenize_origin(const struct engine *e, const struct origin_text *text,
                                unsigned flags, uint32_t **ids, size_t *n);
/* The model's chat template around a conversation (text/chat.h), opened at the first use. One that
 * cannot be opened fails each time with the same sentence. */
enum err engine_chat(struct engine *e, const struct chat **c);
/* Both at once: the ids of a conversation's prompt, with BOS where the vocabulary asks for it and
 * the template has not written it. */
enum err engine_prompt(struct engine *e, const json_t *conversation, unsigned chat_flags,
                       uint32_t **ids, size_t *n);
enum err engine_detokenize(const struct engine *e, const uint32_t *ids, size_t n, char **text,
                           size_t *n_bytes);
/* Text as it is generated: ids in, whole UTF-8 characters out (bytes of an unfinished one wait
 * in `held`). Start with a zeroed struct; put() and end() write at most n bytes and return how
 * many; TOK_STREAM_BYTES_MAX always suffices. */
size_t engine_stream_put(const struct engine *e, struct tok_stream *st, uint32_t id, char *buf,
                         size_t n);
/* What is still held, as it is. */
size_t engine_stream_end(struct tok_stream *st, char *buf, size_t n);

/* What makes an answer's channels readable; false: the model writes none, *c is not to be used. */
bool engine_channels(const struct engine *e, struct channel *c);

bool engine_is_eog(const struct engine *e, uint32_t id);
uint32_t engine_bos(const struct engine *e); /* UINT32_MAX: none */
bool engine_add_bos(const struct engine *e);

/* Writes the file's description (keys, tensors, types, sizes) to out: text, or the JSON that
 * CLI.md fixes. */
enum err engine_describe(const struct engine *e, bool json, FILE *out);

/* ---- session --------------------------------------------------------------------------------- */

struct session_opts {
    uint32_t n_ctx;   /* 0: the smaller of the model's and 4096; CTX_OF_MODEL: the model's own */
    uint32_t n_batch; /* tokens of one prefill piece; 0: BATCH_DEFAULT */
    enum kv_type type_k, type_v;
    /* NULL, or a session whose context, batch, types and working memory this one shares: only such
     * sessions can take a step together. */
    struct session *beside;
};

enum err session_new(struct session **s, struct engine *e, const struct session_opts *o);
void session_free(struct session *s); /* NULL is fine */
uint32_t session_n_ctx(const struct session *s);

/* Make tokens[0..n) the session's timeline: the longest common prefix with what it holds is kept
 * (at most n - 1, so that there are logits), the rest is run in pieces of n_batch. n = 0 empties
 * the session. ERR_USAGE: n exceeds the context; ERR_INPUT: an id outside the vocabulary;
 * ERR_RUN: logits that are not finite (with the position), a model file that was changed; ERR_INTR:
 * interrupted; whole pieces stay. */
enum err session_sync(struct session *s, const uint32_t *tokens, size_t n);
/* The same for n different sessions that share their working memory. Where all that is new fits one
 * piece, it goes through the weights together, with the same results. After an error each is at the
 * position it reports. */
struct session_want {
    struct session *s;
    const uint32_t *tokens;
    size_t n;
};
enum err session_sync_many(const struct session_want *w, size_t n);
/* Append one token and compute its logits. ERR_END: the context is full (nothing was appended). */
enum err session_step(struct session *s, uint32_t token);
/* The same for n sessions in one pass over the weights, with the same results; they are all
 * different and share their working memory (session_opts.beside). ERR_END: one of them is full,
 * none has moved. Other errors as session_sync; then
 * each is at the position it reports, and session_sync() goes on from there. */
enum err session_step_many(struct session *const *s, const uint32_t *token, size_t n);
/* How many of these tokens session_sync() would not run again. */
size_t session_reusable(const struct session *s, const uint32_t *tokens, size_t n);
/* `to` becomes a copy of the first n tokens of `from`, or of a few less where a recurrent model has
 * no checkpoint there; both share their working memory. No logits. */
enum err session_fork(struct session *to, const struct session *from, size_t n);
/* Forget everything after the first n tokens; n <= session_pos(). A hybrid model goes back to a
 * checkpoint and runs what lies between again. */
enum err session_roll_back(struct session *s, size_t n);

uint32_t session_n_batch(const struct session *s); /* tokens of one piece */
size_t session_pos(const struct session *s);       /* tokens in effect */
/* Could these tokens be run? ERR_USAGE, ERR_INPUT as session_sync(). */
enum err session_check(const struct session *s, const uint32_t *tokens, size_t n);
/* Logits after the last token: n_vocab floats, finite; valid until the next call. NULL when there
 * are none: the session is empty, was rolled back, or has failed since. */
const float *session_logits(const struct session *s);

/* Called for every token that is run, in order, those that a hybrid model runs again included; lets
 * `eval` and `perplexity` see all logits. A return other than OK stops the run with that code. NULL
 * switches it off. */
typedef enum err session_row_fn(void *ctx, size_t pos, const float *logits);
void session_on_row(struct session *s, session_row_fn *fn, void *ctx);
/* Called between pieces of a long prefill with tokens done and to do, for a progress bar. */
typedef void session_progress_fn(void *ctx, size_t n_done, size_t n_total);
void session_on_progress(struct session *s, session_progress_fn *fn, void *ctx);

struct session_stats {
    uint64_t n_prefill, n_decode; /* tokens run */
    uint64_t prefill_ns, decode_ns; /* without what is repacked in between: engine_repack.ns */
    uint64_t n_reused; /* tokens of session_sync that were already there */
    uint64_t kv_bytes, state_bytes, arena_bytes;
    uint64_t full_bytes; /* of caches and states when the context is full */
};
struct session_stats session_stats(const struct session *s);
/* Bytes of the caches that a token reads which sees n_pos positions. */
uint64_t session_kv_read_bytes(const struct session *s, size_t n_pos);

#endif
