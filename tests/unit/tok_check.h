/*
 * tok_check.h: comparing token ids, for the tests of the tokenizer.
 *
 *     const struct vocab v = vocab_open("tests/data/tok/bpe.gguf", "qwen2");
 *     check_json(v.t, "qwen2", text, n_bytes, 0, ids);    // ids: a JSON array
 *     check_back(v.t, "qwen2", text, n_bytes);            // decoding gives the text again
 *     vocab_close(v);
 */
#ifndef TESTS_TOK_CHECK_H
#define TESTS_TOK_CHECK_H

#include "base/mem.h"
#include "base/os.h"
#include "gguf/gguf.h"
#include "text/tok.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

struct vocab {
    struct gguf *g;
    struct tok *t;
};

static inline struct vocab vocab_open(const char *path, const char *pre)
{
    struct vocab v;
    if (gguf_open(&v.g, path)) fail_msg("%s", err_msg());
    if (tok_open(&v.t, v.g, pre)) fail_msg("%s", err_msg());
    return v;
}

static inline void vocab_close(struct vocab v)
{
    tok_close(v.t);
    gguf_close(v.g);
}

static inline char *read_text(const char *path, size_t *n_bytes)
{
    char *text = NULL;
    if (os_read_all(path, (size_t)1 << 30, &text, n_bytes)) fail_msg("%s", err_msg());
    return text;
}

static inline json_t *read_json(const char *path)
{
    json_error_t e;
    json_t *j = json_load_file(path, JSON_ALLOW_NUL, &e);
    if (!j) fail_msg("%s: %s", path, e.text);
    return j;
}

static inline void check_ids(const struct tok *t, const char *what, const char *text,
                             size_t n_bytes, unsigned flags, const uint32_t *want, size_t n_want)
{
    uint32_t *ids;
    size_t n;
    if (tok_encode(t, text, n_bytes, flags, &ids, &n)) fail_msg("%s: %s", what, err_msg());
    for (size_t i = 0; i < n && i < n_want; i++) {
        if (ids[i] != want[i])
            fail_msg("%s: token %zu is %u, expected %u, in \"%.60s\"", what, i, ids[i], want[i],
                     text);
    }
    if (n != n_want) fail_msg("%s: %zu tokens, expected %zu, in \"%.60s\"", what, n, n_want, text);
    mem_free(ids);
}

static inline void check_json(const struct tok *t, const char *what, const char *text,
                              size_t n_bytes, unsigned flags, const json_t *want)
{
    if (!json_is_array(want)) fail_msg("%s: no ids to compare with", what);
    const size_t n = json_array_size(want);
    uint32_t *ids = mem_alloc_array(MEM_MISC, n + 1, sizeof *ids);
    assert_non_null(ids);
    for (size_t i = 0; i < n; i++) ids[i] = (uint32_t)json_integer_value(json_array_get(want, i));
    check_ids(t, what, text, n_bytes, flags, ids, n);
    mem_free(ids);
}

/* The text comes back from its ids, byte for byte. */
static inline void check_back(const struct tok *t, const char *what, const char *text,
                              size_t n_bytes)
{
    uint32_t *ids;
    size_t n, n_back;
    char *back;
    if (tok_encode(t, text, n_bytes, 0, &ids, &n)) fail_msg("%s: %s", what, err_msg());
    if (tok_decode(t, ids, n, &back, &n_back)) fail_msg("%s: %s", what, err_msg());
    for (size_t i = 0; i < n_bytes && i < n_back; i++) {
        if (back[i] != text[i])
            fail_msg("%s: byte %zu does not come back, \"%.40s\" is \"%.40s\"", what, i, text,
                     back);
    }
    if (n_back != n_bytes) fail_msg("%s: %zu of %zu bytes come back", what, n_back, n_bytes);
    mem_free(ids);
    mem_free(back);
}

#endif
