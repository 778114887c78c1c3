/*
 * fuzz_request.c: a line of JSON is refused with a sentence, or becomes a request that an answer
 * can be written for: ids of the vocabulary, options that gen_open() takes.
 *
 * The first byte of the input says whether prompts are raw, the rest is the line. The vocabulary is
 * that of the embedded model.
 */
#include "base/err.h"
#include "base/limits.h"
#include "base/mem.h"
#include "cmd/request.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes);

static void must(enum err err)
{
    if (!err) return;
    fprintf(stderr, "%s\n", err_msg());
    abort();
}

static void check(struct engine *e, const json_t *item, bool raw)
{
    const struct gen_opts defaults = {.sample = SAMPLE_DEFAULTS, .n_max = UINT32_MAX};
    struct request r;
    err_clear();
    const enum err err = request_read(&r, e, item, &defaults, raw, CTX_MAX);
    if (err) {
        const bool theirs = err == ERR_USAGE || err == ERR_INPUT;
        if (!theirs || strlen(err_msg()) == 0 || r.ids || r.stop || r.bias) abort();
        return;
    }
    if (r.n_ids == 0) abort();
    for (size_t i = 0; i < r.n_ids; i++)
        if (r.ids[i] >= engine_info(e)->n_vocab) abort();
    struct gen *g;
    must(gen_open(&g, e, &r.gen, r.ids, r.n_ids));
    gen_close(g);
    request_fini(&r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    static struct engine *engine; /* opened once */
    const struct chat *chat;
    if (!engine) must(engine_open(&engine, &(struct engine_opts){.n_thread = 1}));
    must(engine_chat(engine, &chat));
    if (n_bytes == 0) return 0;
    const size_t used = mem_used_total();
    json_t *const item =
        json_loadb((const char *)data + 1, n_bytes - 1, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    if (!item) return 0;
    check(engine, item, data[0] & 1);
    if (json_is_object(item)) request_unknown(item, (const char *const[]){"id", NULL});
    json_decref(item);
    if (mem_used_total() != used) abort();
    return 0;
}
