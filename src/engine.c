/*
 * engine.c: opens a model: file, tokenizer, family, kernels, threads, backend; and the facts about
 * it.
 *
 * Opening builds the model's graph once, for the model's own context, so that a missing or
 * misshapen tensor is reported here and not at the first token. Each session builds its own
 * afterwards, because some rope variants depend on the configured context.
 *
 * Quantised weights are repacked (offload/weights.h) if all of them fit what is free. What must
 * stay free is what the sessions that are planned take for caches and states, and
 * REPACK_SPARE_BYTES: a system that is short of memory can drop pages of the mapped file, but of
 * repacked weights none, so it would end programs. Weights that are repacked late (late_steps) are
 * so between steps, and each stage takes them into its graph before its next one.
 */
#include "engine.h"

#include "base/limits.h"
#include "base/mem.h"
#include "base/os.h"
#include "engine_impl.h"
#include "kern/cpu.h"
#include "models/demo/demo.h"
#include "offload/kvram.h"
#include "offload/stateram.h"

#include <assert.h>
#include <string.h>

/* A string key as a NUL-terminated copy; fallback when it is absent. Control characters are for
 * whoever prints it to tame. */
static enum err copy_str(const struct gguf *g, const char *key, enum gguf_need need,
                         const char *fallback, char **out)
{
    struct gguf_str s = {.s = fallback, .n = strlen(fallback)};
    const enum err e = gguf_get_str(g, key, need, &s);
    if (e) return e;
    *out = mem_alloc(MEM_MODEL, s.n + 1);
    if (!*out) return ERR_MEMORY;
    memcpy(*out, s.s, s.n);
    return OK;
}

static enum err open_file(struct engine *e, const struct engine_opts *o)
{
    e->info.is_demo = o->path == NULL;
    enum err err = e->info.is_demo
                       ? gguf_open_mem(&e->file, moxie_demo_model, moxie_demo_model_bytes, "(demo)")
                       : gguf_open(&e->file, o->path);
    if (err) return err;
    e->info.path = gguf_path(e->file);
    err = copy_str(e->file, "general.name", GGUF_OPTIONAL, "", &e->name);
    if (err) return err;
    const enum gguf_need need = o->mode == ENGINE_RUN ? GGUF_REQUIRED : GGUF_OPTIONAL;
    err = copy_str(e->file, "general.architecture", need, "", &e->arch);
    e->info.name = e->name;
    e->info.arch = e->arch;
    e->info.has_template = gguf_find(e->file, "tokenizer.chat_template") != NULL;
    if (err || !o->chat_template) return err;
    e->chat_template = mem_strdup(MEM_MODEL, o->chat_template);
    return e->chat_template ? OK : ERR_MEMORY;
}

/* A model without a tokenizer can still be run by ids; one whose tokenizer is broken is refused. */
static enum err open_tok(struct engine *e, const struct engine_opts *o)
{
    struct gguf_str kind = {.s = "none", .n = 4};
    const enum err err = gguf_get_str(e->file, "tokenizer.ggml.model", GGUF_OPTIONAL, &kind);
    if (err) return err;
    const bool none = kind.n == 4 && memcmp(kind.s, "none", 4) == 0;
    if (none && o->mode == ENGINE_VOCAB)
        return err_set(
            ERR_INPUT,
            "%s: key 'tokenizer.ggml.model' is absent or 'none': the file has no vocabulary to "
            "tokenize with; use the model's own GGUF file",
            e->info.path);
    if (none) return OK;
    const enum err err_tok = tok_open(&e->tok, e->file, o->pre);
    if (err_tok == OK) e->info.n_vocab = tok_n_vocab(e->tok); /* until open_model() knows better */
    return err_tok;
}

static enum err open_compute(struct engine *e, const struct engine_opts *o)
{
    unsigned flags = cpu_detect();
    if (o->cpu_mask) {
        unsigned mask = 0;
        const enum err err = cpu_mask_parse(o->cpu_mask, &mask);
        if (err) return err;
        flags &= mask;
    }
    kern_init(&e->kern, flags);
    e->info.cpu_level = cpu_level_name(flags);
    e->info.n_thread = o->n_thread ? o->n_thread : os_cores_physical();
    if (e->info.n_thread > THREADS_MAX) e->info.n_thread = THREADS_MAX;
    const enum err err = pool_open(&e->pool, e->info.n_thread);
    if (err) return err;
    return cpu_backend_open(
        &e->backend, &(struct cpu_opts){.pool = e->pool, .kern = &e->kern, .act_f32 = o->act_f32});
}

/* Bytes of weights that one decoded token reads: every matrix once, of the experts those in use,
 * of the embedding one row. */
static void count_active_bytes(const struct graph *g, struct engine_info *info)
{
    uint64_t n = 0;
    uint64_t n_experts = 0;
    for (uint32_t i = 0; i < g->n_op; i++) {
        const struct gop *op = &g->op[i];
        if (op->kind == GOP_EMBED) n += op->w[0].row_bytes;
        if (op->kind == GOP_MUL)
            for (uint32_t j = 0; j < op->n_out; j++) n += op->w[j].row_bytes * op->w[j].ne[1];
        if (op->kind == GOP_MUL_HEADS) n += op->w[0].row_bytes * op->w[0].ne[1] * op->w[0].ne[2];
        if (op->kind != GOP_MOE) continue;
        const struct gmoe *m = &op->u.moe;
        n_experts +=
            m->n_used * (m->gate.row_bytes * m->gate.ne[1] + m->up.row_bytes * m->up.ne[1] +
                         m->down.row_bytes * m->down.ne[1]);
    }
    info->n_bytes_experts = n_experts;
    info->n_bytes_active = n + n_experts;
}

static uint64_t n_items(const struct tensor *t)
{
    return t->ne[0] * t->ne[1];
}

/* Products of weights that one token takes: those before the rows of the logits are chosen, and
 * those after it. */
static void count_macs(const struct graph *g, struct engine_info *info)
{
    uint64_t n = 0;
    for (uint32_t i = 0; i < g->n_op; i++) {
        const struct gop *op = &g->op[i];
        if (op->kind == GOP_OUT_ROWS) {
            info->n_macs = n;
            n = 0;
        }
        if (op->kind == GOP_MUL)
            for (uint32_t j = 0; j < op->n_out; j++) n += n_items(&op->w[j]);
        if (op->kind == GOP_MUL_HEADS) n += n_items(&op->w[0]) * op->w[0].ne[2];
        if (op->kind != GOP_MOE) continue;
        const struct gmoe *m = &op->u.moe;
        n += m->n_used * (n_items(&m->gate) + n_items(&m->up) + n_items(&m->down));
    }
    info->n_macs_logits = n;
}

static enum err open_model(struct engine *e, struct graph **g)
{
    enum err err = model_open(&e->model, e->file, e->tok ? tok_n_vocab(e->tok) : 0);
    if (err) return err;
    const struct hparams *hp = &e->model->hp;
    e->info.n_layer = hp->n_layer;
    e->info.n_embd = hp->n_embd;
    e->info.n_vocab = hp->n_vocab;
    e->info.n_expert = hp->n_expert;
    e->info.n_expert_used = hp->n_expert_used;
    e->info.n_ctx_train = hp->n_ctx_train;
    err = model_build(e->model, hp->n_ctx_train, g);
    if (err) return err;
    count_active_bytes(*g, &e->info);
    count_macs(*g, &e->info);
    for (uint32_t i = 0; i < hp->n_layer; i++) e->info.is_recurrent |= (*g)->state_floats[i] > 0;
    return OK;
}

/* ---- repacking ------------------------------------------------------------------------------- */

/* Activations and working space (some ten MB), the vocabulary, and what other programs may come to
 * want. */
#define REPACK_SPARE_BYTES ((uint64_t)256 << 20)
#define NO_ROOM ((uint64_t)1 << 62) /* more than any machine has; sums with it do not wrap */
/* A file of which less is in the page cache is read in order, and once, to repack it: steps that
 * use its mapping would wait for the disk page by page. Some is missing where the end of a file was
 * dropped to make room for its beginning. */
#define CACHED_MIN 0.95

uint32_t engine_n_ctx(const struct engine *e, uint32_t asked)
{
    const uint32_t own = e->info.n_ctx_train;
    if (asked == CTX_OF_MODEL) return own;
    if (asked == 0) return own < CTX_DEFAULT ? own : CTX_DEFAULT;
    return asked;
}

enum dtype engine_kv_dtype(enum kv_type t)
{
    return t == KV_F32 ? DT_F32 : t == KV_Q8_0 ? DT_Q8_0 : DT_F16;
}

/* Caches and states of all sessions to come when they are full. Opening them without a timeline
 * takes next to nothing; types that do not fit the model are refused before weights are packed. */
static enum err session_bytes(const struct engine *e, const struct engine_opts *o,
                              const struct graph *g, uint64_t *n_bytes)
{
    struct kvram *kv = NULL;
    struct stateram *state = NULL;
    uint32_t n_ctx = engine_n_ctx(e, o->n_ctx);
    if (n_ctx > CTX_MAX) n_ctx = CTX_MAX; /* which no session goes beyond */
    enum err err = kvram_open(&kv, g->kv, g->n_layer, n_ctx, engine_kv_dtype(o->type_k),
                              engine_kv_dtype(o->type_v), &e->kern, e->pool);
    if (err == OK) err = stateram_open(&state, g->state_floats, g->n_layer);
    if (err == OK) {
        const uint64_t n = kvram_bytes_per_pos(kv) * n_ctx + stateram_bytes_max(state);
        const uint64_t n_seq = o->n_seq ? o->n_seq : 1;
        assert(n_seq <= SEQS_MAX);
        *n_bytes = n < NO_ROOM / SEQS_MAX ? n * n_seq : NO_ROOM;
    }
    stateram_close(state);
    kvram_close(kv);
    return err;
}

static enum engine_repack_state judge_repack(const struct engine_opts *o, const struct gguf *file,
                                             const struct engine_repack *r)
{
    if (r->n_bytes == 0) return REPACK_NOTHING;
    if (o->act_f32) return REPACK_ROWS;
    if (o->no_repack) return REPACK_OFF;
    if (r->need_bytes > r->free_bytes) return REPACK_ROOM;
    if (o->plan_repack) return REPACK_PLANNED;
    return o->late_steps && gguf_cached(file) >= CACHED_MIN ? REPACK_LATE : REPACK_DONE;
}

/* Memory that is not given is no error here: the file's own rows do, too. */
static enum err pack(struct engine *e, const struct weights_from *from)
{
    struct engine_repack *const r = &e->info.repack;
    const uint64_t start_ns = os_time_ns();
    const enum err err = weights_pack(e->weights, from);
    r->ns += os_time_ns() - start_ns;
    r->n_done = r->n_bytes - weights_left(e->weights);
    if (err == ERR_MEMORY)
        r->state = REPACK_REFUSED;
    else if (r->n_done == r->n_bytes)
        r->state = REPACK_DONE;
    return err == ERR_MEMORY ? OK : err;
}

static enum err repack(struct engine *e, const struct engine_opts *o, struct graph *g)
{
    struct engine_repack *const r = &e->info.repack;
    uint64_t n_bytes_sessions = 0;
    enum err err = session_bytes(e, o, g, &n_bytes_sessions);
    if (err == OK) err = weights_open(&e->weights, g);
    if (err) return err;
    e->late_bytes = o->late_bytes;
    e->n_early = o->late_steps;
    r->n_bytes = weights_bytes(e->weights);
    r->need_bytes = r->n_bytes + n_bytes_sessions + REPACK_SPARE_BYTES;
    r->free_bytes = os_memory().free_bytes;
    r->state = judge_repack(o, e->file, r);
    if (r->state != REPACK_DONE) return OK;
    return pack(e, &(struct weights_from){.file = e->file,
                                          .pool = e->pool,
                                          .on_progress = o->on_repack,
                                          .ctx = o->on_repack_ctx});
}

/* Memory is asked for once more: others may have taken it, or what the first step needed. */
static bool has_room(struct engine_repack *r)
{
    if (r->n_done > 0) return true;
    r->free_bytes = os_memory().free_bytes;
    return r->need_bytes <= r->free_bytes;
}

enum err engine_repack_for(struct engine *e, uint64_t n_tok, uint32_t n_batch)
{
    struct engine_repack *const r = &e->info.repack;
    if (r->state != REPACK_LATE || n_tok == 0) return OK;
    const bool all = n_tok > n_batch;
    if (!all && e->n_early > 0) {
        e->n_early--;
        return OK;
    }
    if (!has_room(r)) {
        r->state = REPACK_ROOM;
        return OK;
    }
    return pack(e, &(struct weights_from){
                       .file = e->file, .pool = e->pool, .n_bytes_more = all ? 0 : e->late_bytes});
}

/* All that it takes to run the model. */
static enum err open_run(struct engine *e, const struct engine_opts *o)
{
    struct graph *g = NULL;
    enum err err = open_model(e, &g);
    if (err == OK) err = open_compute(e, o);
    if (err == OK) err = repack(e, o, g);
    if (err == OK) err = resident_open(&e->experts);
    graph_free(g);
    return err;
}

/* Sizes of the file's tensors; the type that most bytes have. */
static void count_tensors(struct engine *e)
{
    uint64_t by_type[DT_COUNT] = {0};
    uint32_t most = DT_F32;
    for (uint64_t i = 0; i < gguf_n_tensor(e->file); i++) {
        const struct tensor *t = gguf_tensor_at(e->file, i);
        const uint64_t n_bytes = tensor_bytes(t);
        e->info.n_param += t->ne[0] * t->ne[1] * t->ne[2] * t->ne[3];
        e->info.n_bytes += n_bytes;
        by_type[t->type] += n_bytes;
        if (by_type[t->type] > by_type[most]) most = t->type;
    }
    e->info.type = dtype_info(most)->name;
}

enum err engine_open(struct engine **out, const struct engine_opts *o)
{
    assert(out);
    assert(o);
    struct engine *e = mem_alloc(MEM_MODEL, sizeof *e);
    *out = NULL;
    if (!e) return ERR_MEMORY;
    e->mode = o->mode;
    enum err err = open_file(e, o);
    if (err == OK) count_tensors(e);
    if (err == OK && o->mode != ENGINE_FILE) err = open_tok(e, o);
    if (err == OK && o->mode == ENGINE_RUN) err = open_run(e, o);
    if (err) {
        engine_close(e);
        return err;
    }
    *out = e;
    return OK;
}

void engine_close(struct engine *e)
{
    if (!e) return;
    if (e->backend.close) e->backend.close(e->backend.self);
    pool_close(e->pool);
    resident_close(e->experts);
    weights_close(e->weights);
    model_close(e->model);
    chat_close(e->chat);
    tok_close(e->tok);
    gguf_close(e->file);
    mem_free(e->name);
    mem_free(e->arch);
    mem_free(e->chat_wrong);
    mem_free(e->chat_template);
    mem_free(e);
}

const struct engine_info *engine_info(const struct engine *e)
{
    assert(e);
    return &e->info;
}

bool engine_broken(const struct engine *e)
{
    return gguf_broken(e->file);
}

enum err engine_whole(const struct engine *e)
{
    return gguf_whole(e->file);
}

void engine_free(void *list)
{
    mem_free(list);
}

size_t engine_levels(struct engine_level levels[ENGINE_LEVELS_MAX])
{
    struct cpu_level l[ENGINE_LEVELS_MAX];
    const size_t n = cpu_levels(l, ENGINE_LEVELS_MAX);
    for (size_t i = 0; i < n; i++)
        levels[i] = (struct engine_level){l[i].name, l[i].needs, l[i].lacks};
    return n;
}

/* ---- text ------------------------------------------------------------------------------------ */

static enum err no_tokenizer(const struct engine *e)
{
    return err_set(
        ERR_INPUT,
        "%s: the file has no tokenizer (key 'tokenizer.ggml.model'); only `eval` with token ids "
        "can run it",
        e->info.path);
}

enum err engine_tokenize(const struct engine *e, const char *text, size_t n_bytes, unsigned flags,
                         uint32_t **ids, size_t *n)
{
    assert(e);
    assert(text || n_bytes == 0);
    assert(ids);
    assert(n);
    if (!e->tok) return no_tokenizer(e);
    return tok_encode(e->tok, text, n_bytes, flags, ids, n);
}

enum err engine_tokenize_origin(const struct engine *e, const struct origin_text *text,
                                unsigned flags, uint32_t **ids, size_t *n)
{
    assert(e);
    assert(text);
    assert(ids);
    assert(n);
    if (!e->tok) return no_tokenizer(e);
    return tok_encode_origin(e->tok, text, flags, ids, n);
}

enum err engine_chat(struct engine *e, const struct chat **c)
{
    assert(e);
    assert(c);
    if (!e->tok) return no_tokenizer(e);
    *c = e->chat;
    if (e->chat) return OK;
    if (e->chat_wrong) return err_set(ERR_INPUT, "%s", e->chat_wrong);
    const enum err err = chat_open(&e->chat, e->file, e->tok, e->chat_template);
    *c = e->chat;
    /* It stays wrong, and finding out takes time: the next request need not. */
    if (err == ERR_INPUT) {
        e->chat_wrong = mem_strdup(MEM_MODEL, err_msg());
        if (!e->chat_wrong) return ERR_MEMORY;
    }
    return err;
}

enum err engine_prompt(struct engine *e, const json_t *conversation, unsigned chat_flags,
                       uint32_t **ids, size_t *n)
{
    const struct chat *c = NULL;
    struct origin_text text = {0};
    enum err err = engine_chat(e, &c);
    if (err == OK) err = chat_render(c, conversation, chat_flags, &text);
    if (err == OK) err = engine_tokenize_origin(e, &text, ENGINE_TOK_BOS, ids, n);
    origin_text_fini(&text);
    return err;
}

enum err engine_detokenize(const struct engine *e, const uint32_t *ids, size_t n, char **text,
                           size_t *n_bytes)
{
    assert(e);
    assert(ids || n == 0);
    assert(text);
    assert(n_bytes);
    if (!e->tok) return no_tokenizer(e);
    return tok_decode(e->tok, ids, n, text, n_bytes);
}

size_t engine_stream_put(const struct engine *e, struct tok_stream *st, uint32_t id, char *buf,
                         size_t n)
{
    return e->tok ? tok_stream_put(e->tok, st, id, buf, n) : 0;
}

size_t engine_stream_end(struct tok_stream *st, char *buf, size_t n)
{
    return tok_stream_end(st, buf, n);
}

bool engine_channels(const struct engine *e, struct channel *c)
{
    return e->tok && channel_init(c, e->tok);
}

bool engine_is_eog(const struct engine *e, uint32_t id)
{
    return e->tok && tok_is_eog(e->tok, id);
}

uint32_t engine_bos(const struct engine *e)
{
    return e->tok ? tok_bos(e->tok) : TOK_NONE;
}

bool engine_add_bos(const struct engine *e)
{
    return e->tok && tok_add_bos(e->tok);
}
