/*
 * tok_make.h: vocabularies made for one test.
 *
 *     static const struct item items[] = {{"a", 1, 0}, {"<s>", 3, 0}};
 *     const struct recipe r = {.model = "gpt2", .pre = "gpt-2", .items = items, .n_item = 2};
 *     struct made m = must_make(&r);
 *     CHECK(m.v.t, "a<s>", TOK_SPECIAL, 0, 1);
 *     unmake(m);
 */
#ifndef TESTS_TOK_MAKE_H
#define TESTS_TOK_MAKE_H

#include "gguf/gguf_write.h"
#include "tests/unit/tok_check.h"

struct item {
    const char *text;
    int32_t type; /* 1 normal, 2 unknown, 3 control, 4 user-defined, 6 byte */
    float score;
};

struct made {
    uint8_t *image;
    struct vocab v;
};

struct recipe {
    const char *model, *pre, *name;
    const struct item *items;
    size_t n_item;
    const char *const *merges;
    size_t n_merge;
    const char *u32_key[4];
    uint32_t u32[4];
    const char *true_key, *false_key;
    const char *str_key[4], *str[4];
};

static inline void write_items(struct gguf_writer *w, const struct recipe *r)
{
    struct gguf_str *text = mem_alloc_array(MEM_MISC, r->n_item, sizeof *text);
    int32_t *type = mem_alloc_array(MEM_MISC, r->n_item, sizeof *type);
    float *score = mem_alloc_array(MEM_MISC, r->n_item, sizeof *score);
    assert_true(text && type && score);
    for (size_t i = 0; i < r->n_item; i++) {
        text[i] = (struct gguf_str){r->items[i].text, strlen(r->items[i].text)};
        type[i] = r->items[i].type;
        score[i] = r->items[i].score;
    }
    gguf_write_arr_str(w, "tokenizer.ggml.tokens", text, r->n_item);
    gguf_write_arr_i32(w, "tokenizer.ggml.token_type", type, r->n_item);
    gguf_write_arr_f32(w, "tokenizer.ggml.scores", score, r->n_item);
    mem_free(text);
    mem_free(type);
    mem_free(score);
}

static inline enum err make(const struct recipe *r, struct made *m)
{
    struct gguf_str merge[64];
    size_t n_bytes;
    assert_true(r->n_merge <= 64);
    for (size_t i = 0; i < r->n_merge; i++)
        merge[i] = (struct gguf_str){r->merges[i], strlen(r->merges[i])};
    struct gguf_writer *w;
    assert_int_equal(gguf_write_open(&w, 0), OK);
    if (r->name) gguf_write_str(w, "general.name", r->name);
    if (r->model) gguf_write_str(w, "tokenizer.ggml.model", r->model);
    if (r->pre) gguf_write_str(w, "tokenizer.ggml.pre", r->pre);
    write_items(w, r);
    if (r->n_merge) gguf_write_arr_str(w, "tokenizer.ggml.merges", merge, r->n_merge);
    for (size_t i = 0; i < 4 && r->u32_key[i]; i++) gguf_write_u32(w, r->u32_key[i], r->u32[i]);
    for (size_t i = 0; i < 4 && r->str_key[i]; i++) gguf_write_str(w, r->str_key[i], r->str[i]);
    if (r->true_key) gguf_write_bool(w, r->true_key, true);
    if (r->false_key) gguf_write_bool(w, r->false_key, false);
    assert_int_equal(gguf_write_image(w, &m->image, &n_bytes), OK);
    gguf_write_close(w);
    if (gguf_open_mem(&m->v.g, m->image, n_bytes, "made")) fail_msg("%s", err_msg());
    return tok_open(&m->v.t, m->v.g, NULL);
}

static inline struct made must_make(const struct recipe *r)
{
    struct made m;
    if (make(r, &m)) fail_msg("%s", err_msg());
    return m;
}

static inline void unmake(struct made m)
{
    vocab_close(m.v);
    mem_free(m.image);
}

#define CHECK(t, text, flags, ...)                                                                 \
    do {                                                                                           \
        const uint32_t want_[] = {__VA_ARGS__};                                                    \
        check_ids(t, text, text, strlen(text), flags, want_, sizeof want_ / sizeof *want_);        \
    } while (0)

#endif
