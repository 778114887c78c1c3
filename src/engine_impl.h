/*
 * engine_impl.h: what engine.c, session.c, stage.c and describe.c share. Nobody else includes it.
 */
#ifndef ENGINE_IMPL_H
#define ENGINE_IMPL_H

#include "backend/backend.h"
#include "base/pool.h"
#include "engine.h"
#include "gguf/gguf.h"
#include "kern/kern.h"
#include "models/model.h"
#include "offload/resident.h"
#include "offload/weights.h"
#include "text/tok.h"

struct engine {
    struct gguf *file;
    struct tok *tok;     /* NULL in ENGINE_FILE mode, and when the file has no tokenizer */
    struct chat *chat;   /* NULL until it is asked for */
    char *chat_wrong;    /* why the template cannot be used, once that is known, or NULL */
    char *chat_template; /* engine_opts.chat_template, or NULL */
    struct model *model; /* the rest only in ENGINE_RUN mode */
    struct pool *pool;
    struct kern kern;
    struct backend backend;
    struct weights *weights;
    struct resident *experts;
    uint64_t late_bytes;
    uint32_t n_early; /* steps that are still to take weights as they are */
    struct engine_info info;
    char *name, *arch; /* NUL-terminated copies for info */
    enum engine_mode mode;
};

/* session_opts.n_ctx in positions, and a cache's type: what a session makes of its options. */
uint32_t engine_n_ctx(const struct engine *e, uint32_t asked);
enum dtype engine_kv_dtype(enum kv_type t);
/* Before n_tok tokens are run: repacks what is to be repacked by then. Errors of weights_pack() but
 * for ERR_MEMORY. */
enum err engine_repack_for(struct engine *e, uint64_t n_tok, uint32_t n_batch);

#endif
