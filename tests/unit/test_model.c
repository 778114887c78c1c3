/*
 * test_model.c: hyper-parameters and tensors of model files: every value out of range, every tensor
 * that is missing or does not fit is refused by name; and whatever a key is set to, a model opens
 * or is refused, with a graph no wider than its file justifies.
 *
 * The first part uses two small models made here; the second turns every key of the golden models,
 * where they are at hand.
 */
#include "models/model.h"

#include "base/mem.h"
#include "gguf/gguf.h"
#include "gguf/gguf_write.h"
#include "models/arch.h"

#include <dirent.h>
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define GOLDEN "../shared/golden"
#define COUNT(a) (sizeof(a) / sizeof(a)[0])

/* ---- small models ---------------------------------------------------------------------------- */

struct key {
    const char *name;
    enum gguf_type type; /* GGUF_U32, GGUF_F32, GGUF_BOOL or GGUF_STR */
    double v;
    const char *s;
};

struct weight {
    const char *name;
    uint64_t ne[3]; /* 0: no such dimension */
    enum dtype type;
};

struct small { /* ends with a zeroed row each */
    const struct key *keys;
    const struct weight *weights;
};

static const struct key keys_llama[] = {
    {"general.architecture", GGUF_STR, 0, "llama"},
    {"llama.block_count", GGUF_U32, 1, NULL},
    {"llama.embedding_length", GGUF_U32, 32, NULL},
    {"llama.context_length", GGUF_U32, 64, NULL},
    {"llama.feed_forward_length", GGUF_U32, 32, NULL},
    {"llama.attention.head_count", GGUF_U32, 4, NULL},
    {"llama.attention.head_count_kv", GGUF_U32, 2, NULL},
    {"llama.attention.layer_norm_rms_epsilon", GGUF_F32, 1e-5, NULL},
    {"llama.expert_count", GGUF_U32, 4, NULL},
    {"llama.expert_used_count", GGUF_U32, 2, NULL},
    {0},
};
static const struct weight weights_llama[] = {
    {"token_embd.weight", {32, 40}, DT_F16},
    {"output_norm.weight", {32}, DT_F32},
    {"blk.0.attn_norm.weight", {32}, DT_F16},
    {"blk.0.attn_q.weight", {32, 32}, DT_Q8_0},
    {"blk.0.attn_k.weight", {32, 16}, DT_F32},
    {"blk.0.attn_v.weight", {32, 16}, DT_F32},
    {"blk.0.attn_output.weight", {32, 32}, DT_F32},
    {"blk.0.ffn_norm.weight", {32}, DT_F32},
    {"blk.0.ffn_gate_inp.weight", {32, 4}, DT_F32},
    {"blk.0.ffn_gate_exps.weight", {32, 32, 4}, DT_Q4_0},
    {"blk.0.ffn_up_exps.weight", {32, 32, 4}, DT_Q4_0},
    {"blk.0.ffn_down_exps.weight", {32, 32, 4}, DT_Q4_0},
    {0},
};
static const struct small llama = {keys_llama, weights_llama};

static const struct key keys_deepseek[] = {
    {"general.architecture", GGUF_STR, 0, "deepseek2"},
    {"deepseek2.block_count", GGUF_U32, 2, NULL},
    {"deepseek2.embedding_length", GGUF_U32, 32, NULL},
    {"deepseek2.context_length", GGUF_U32, 64, NULL},
    {"deepseek2.feed_forward_length", GGUF_U32, 32, NULL},
    {"deepseek2.attention.head_count", GGUF_U32, 2, NULL},
    {"deepseek2.attention.key_length", GGUF_U32, 12, NULL},
    {"deepseek2.attention.value_length", GGUF_U32, 8, NULL},
    {"deepseek2.attention.kv_lora_rank", GGUF_U32, 16, NULL},
    {"deepseek2.attention.layer_norm_rms_epsilon", GGUF_F32, 1e-6, NULL},
    {"deepseek2.rope.dimension_count", GGUF_U32, 4, NULL},
    {"deepseek2.leading_dense_block_count", GGUF_U32, 1, NULL},
    {"deepseek2.expert_count", GGUF_U32, 4, NULL},
    {"deepseek2.expert_used_count", GGUF_U32, 2, NULL},
    {"deepseek2.expert_feed_forward_length", GGUF_U32, 32, NULL},
    {"deepseek2.expert_shared_count", GGUF_U32, 1, NULL},
    {0},
};
static const struct weight weights_deepseek[] = {
    {"token_embd.weight", {32, 40}, DT_F32},
    {"output_norm.weight", {32}, DT_F32},
    {"blk.0.attn_norm.weight", {32}, DT_F32},
    {"blk.0.attn_q.weight", {32, 24}, DT_F32},
    {"blk.0.attn_kv_a_mqa.weight", {32, 20}, DT_F32},
    {"blk.0.attn_kv_a_norm.weight", {16}, DT_F32},
    {"blk.0.attn_kv_b.weight", {16, 32}, DT_F32},
    {"blk.0.attn_output.weight", {16, 32}, DT_F32},
    {"blk.0.ffn_norm.weight", {32}, DT_F32},
    {"blk.0.ffn_gate.weight", {32, 32}, DT_F32},
    {"blk.0.ffn_up.weight", {32, 32}, DT_F32},
    {"blk.0.ffn_down.weight", {32, 32}, DT_F32},
    {"blk.1.attn_norm.weight", {32}, DT_F32},
    {"blk.1.attn_q.weight", {32, 24}, DT_F32},
    {"blk.1.attn_kv_a_mqa.weight", {32, 20}, DT_F32},
    {"blk.1.attn_kv_a_norm.weight", {16}, DT_F32},
    {"blk.1.attn_k_b.weight", {8, 16, 2}, DT_F32},
    {"blk.1.attn_v_b.weight", {16, 8, 2}, DT_F32},
    {"blk.1.attn_output.weight", {16, 32}, DT_F32},
    {"blk.1.ffn_norm.weight", {32}, DT_F32},
    {"blk.1.ffn_gate_inp.weight", {32, 4}, DT_F32},
    {"blk.1.ffn_gate_up_exps.weight", {32, 64, 4}, DT_F32},
    {"blk.1.ffn_down_exps.weight", {32, 32, 4}, DT_F32},
    {"blk.1.ffn_gate_shexp.weight", {32, 32}, DT_F32},
    {"blk.1.ffn_up_shexp.weight", {32, 32}, DT_F32},
    {"blk.1.ffn_down_shexp.weight", {32, 32}, DT_F32},
    {0},
};
static const struct small deepseek = {keys_deepseek, weights_deepseek};

static void write_key(struct gguf_writer *w, const struct key *k)
{
    if (k->type == GGUF_U32)
        gguf_write_u32(w, k->name, (uint32_t)k->v);
    else if (k->type == GGUF_F32)
        gguf_write_f32(w, k->name, (float)k->v);
    else if (k->type == GGUF_BOOL)
        gguf_write_bool(w, k->name, k->v != 0);
    else
        gguf_write_str(w, k->name, k->s);
}

static void write_weight(struct gguf_writer *w, const struct weight *t)
{
    uint32_t n_dims = 0;
    while (n_dims < 3 && t->ne[n_dims]) n_dims++;
    gguf_write_tensor(w, t->name, t->type, n_dims, t->ne, NULL);
}

/* The model with one key and one tensor in place of those of the same name, or added. A key whose
 * type is GGUF_ARR and a tensor without dimensions are left out instead. */
static uint8_t *image_of(const struct small *m, const struct key *key, const struct weight *weight,
                         size_t *n_bytes)
{
    struct gguf_writer *w;
    assert_int_equal(gguf_write_open(&w, 0), OK);
    for (const struct key *k = m->keys; k->name; k++) {
        if (!key || strcmp(k->name, key->name) != 0) write_key(w, k);
    }
    if (key && key->type != GGUF_ARR) write_key(w, key);
    for (const struct weight *t = m->weights; t->name; t++) {
        if (!weight || strcmp(t->name, weight->name) != 0) write_weight(w, t);
    }
    if (weight && weight->ne[0]) write_weight(w, weight);
    uint8_t *image;
    assert_int_equal(gguf_write_image(w, &image, n_bytes), OK);
    gguf_write_close(w);
    return image;
}

static enum err open_and_build(const struct gguf *file)
{
    struct model *m = NULL;
    struct graph *g = NULL;
    enum err err = model_open(&m, file, 0);
    if (!err) err = model_build(m, 64, &g);
    if (!err) assert_true(g->n_op > 0);
    graph_free(g);
    model_close(m);
    return err;
}

static enum err try_small(const struct small *m, const struct key *key, const struct weight *weight)
{
    size_t n_bytes;
    uint8_t *const image = image_of(m, key, weight, &n_bytes);
    struct gguf *file;
    assert_int_equal(gguf_open_mem(&file, image, n_bytes, "small.gguf"), OK);
    const enum err err = open_and_build(file);
    gguf_close(file);
    mem_free(image);
    assert_int_equal(mem_used_total(), 0);
    return err;
}

static void expect_refused(enum err err, const char *name, const char *what)
{
    if (err != ERR_INPUT) fail_msg("'%s' (%s): code %d", name, what, err);
    if (!strstr(err_msg(), name)) fail_msg("'%s' does not name '%s'", err_msg(), name);
    if (!strstr(err_msg(), what)) fail_msg("'%s' does not say '%s'", err_msg(), what);
    if (!strstr(err_msg(), "small.gguf")) fail_msg("'%s' does not name the file", err_msg());
}

static void test_small_models_open(void **state)
{
    (void)state;
    assert_int_equal(try_small(&llama, NULL, NULL), OK);
    assert_int_equal(try_small(&deepseek, NULL, NULL), OK);
}

static void test_keys_refused(void **state)
{
    (void)state;
    static const struct {
        const struct small *model;
        struct key key;
        const char *what; /* stands in the message beside the key's name */
    } rows[] = {
        {&llama, {"general.architecture", GGUF_STR, 0, "lama"}, "granitehybrid"},
        {&llama, {"llama.block_count", GGUF_U32, 0, NULL}, "0"},
        {&llama, {"llama.block_count", GGUF_U32, LAYERS_MAX + 1, NULL}, "513"},
        {&llama, {"llama.block_count", GGUF_ARR, 0, NULL}, "missing"},
        {&llama, {"llama.nextn_predict_layers", GGUF_U32, 1, NULL}, "less than block_count (1)"},
        {&llama, {"llama.embedding_length", GGUF_U32, 0, NULL}, "0"},
        {&llama, {"llama.context_length", GGUF_U32, 0, NULL}, "0"},
        {&llama, {"llama.context_length", GGUF_U32, UINT32_MAX, NULL}, "4294967295"},
        {&llama, {"llama.feed_forward_length", GGUF_U32, 0, NULL}, "0"},
        {&llama, {"llama.feed_forward_length", GGUF_ARR, 0, NULL}, "missing"},
        {&llama, {"llama.attention.head_count", GGUF_U32, 0, NULL}, "0"},
        {&llama, {"llama.attention.head_count", GGUF_U32, 3, NULL}, "a divisor"},
        {&llama, {"llama.attention.head_count_kv", GGUF_U32, 0, NULL}, "a divisor"},
        {&llama, {"llama.attention.head_count_kv", GGUF_U32, 3, NULL}, "(4 in layer 0)"},
        {&llama, {"llama.attention.head_count_kv", GGUF_U32, 8, NULL}, "a divisor"},
        {&llama, {"llama.attention.key_length", GGUF_U32, 0, NULL}, "0"},
        {&llama, {"llama.attention.layer_norm_rms_epsilon", GGUF_F32, 0, NULL}, "0"},
        {&llama, {"llama.attention.layer_norm_rms_epsilon", GGUF_F32, -1, NULL}, "-1"},
        {&llama, {"llama.attention.layer_norm_rms_epsilon", GGUF_F32, (double)NAN, NULL}, "nan"},
        {&llama, {"llama.attention.layer_norm_rms_epsilon", GGUF_U32, 1, NULL}, "UINT32"},
        {&llama, {"llama.rope.dimension_count", GGUF_U32, 0, NULL}, "even number from 2 to 8"},
        {&llama, {"llama.rope.dimension_count", GGUF_U32, 7, NULL}, "even number"},
        {&llama, {"llama.rope.dimension_count", GGUF_U32, 10, NULL}, "even number"},
        {&llama, {"llama.rope.freq_base", GGUF_F32, 0, NULL}, "0"},
        {&llama, {"llama.rope.freq_base", GGUF_F32, -10000, NULL}, "-10000"},
        {&llama, {"llama.rope.freq_base", GGUF_F32, (double)INFINITY, NULL}, "inf"},
        {&llama, {"llama.rope.scaling.type", GGUF_STR, 0, "wide"}, "none, linear, yarn, longrope"},
        {&llama, {"llama.rope.scaling.factor", GGUF_F32, (double)NAN, NULL}, "nan"},
        {&llama, {"llama.rope.scaling.factor", GGUF_F32, (double)FLT_MIN, NULL}, "0.01"},
        {&llama, {"llama.rope.scaling.original_context_length", GGUF_U32, 0, NULL}, "0"},
        {&llama, {"llama.expert_count", GGUF_U32, 65536, NULL}, "65536"},
        {&llama, {"llama.expert_used_count", GGUF_U32, 0, NULL}, "0"},
        {&llama, {"llama.expert_used_count", GGUF_U32, 5, NULL}, "4"},
        {&llama, {"llama.expert_used_count", GGUF_ARR, 0, NULL}, "missing"},
        {&llama, {"llama.expert_group_count", GGUF_U32, 3, NULL}, "a divisor"},
        {&llama, {"llama.expert_group_count", GGUF_U32, 4, NULL}, "two or more"},
        {&deepseek, {"deepseek2.attention.kv_lora_rank", GGUF_U32, 0, NULL}, "0"},
        {&deepseek, {"deepseek2.attention.kv_lora_rank", GGUF_U32, HEAD_DIM_MAX, NULL}, "1020"},
        {&deepseek, {"deepseek2.rope.dimension_count", GGUF_U32, 12, NULL}, "from 2 to 11"},
        {&deepseek, {"deepseek2.leading_dense_block_count", GGUF_U32, 3, NULL}, "3"},
        {&deepseek, {"deepseek2.expert_gating_func", GGUF_U32, 99, NULL}, "99"},
        {&deepseek, {"deepseek2.expert_weights_scale", GGUF_F32, (double)NAN, NULL}, "nan"},
        {&deepseek, {"deepseek2.expert_count", GGUF_U32, 0, NULL}, "1 to 1024"},
        {&deepseek, {"deepseek2.expert_feed_forward_length", GGUF_ARR, 0, NULL}, "missing"},
        {&deepseek, {"deepseek2.attention.temperature_scale", GGUF_F32, 0.1, NULL}, "length"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        const bool other = !strcmp(rows[i].what, "length"); /* the missing partner is named */
        const char *const name =
            other ? "deepseek2.attention.temperature_length" : rows[i].key.name;
        expect_refused(try_small(rows[i].model, &rows[i].key, NULL), name, rows[i].what);
    }
}

/* Values that look odd and are legal. */
static void test_keys_accepted(void **state)
{
    (void)state;
    static const struct key keys[] = {
        {"llama.rope.dimension_count", GGUF_U32, 4, NULL},
        {"llama.rope.scaling.factor", GGUF_F32, 0, NULL},
        {"llama.expert_used_count", GGUF_U32, 4, NULL},
        {"llama.expert_group_count", GGUF_U32, 1, NULL},
        {"llama.attention.head_count_kv", GGUF_U32, 2, NULL},
        {"llama.expert_gating_func", GGUF_U32, 99, NULL}, /* not this family's business */
    };
    for (size_t i = 0; i < COUNT(keys); i++) {
        const enum err err = try_small(&llama, &keys[i], NULL);
        if (err) fail_msg("%s: %s", keys[i].name, err_msg());
    }
}

static void test_tensors_refused(void **state)
{
    (void)state;
    static const struct {
        const struct small *model;
        struct weight weight;
        const char *what;
    } rows[] = {
        {&llama, {"token_embd.weight", {0}, 0}, "missing"},
        {&llama, {"blk.0.attn_q.weight", {0}, 0}, "missing, expected with shape {32, 32}"},
        {&llama, {"blk.0.attn_norm.weight", {0}, 0}, "missing, expected with shape {32}"},
        {&llama,
         {"blk.0.attn_k.weight", {32, 17}, DT_F32},
         "has shape {32, 17}, expected {32, 16}"},
        {&llama, {"blk.0.attn_k.weight", {16, 32}, DT_F32}, "{16, 32}, expected {32, 16}"},
        {&llama, {"blk.0.attn_norm.weight", {31}, DT_F32}, "{31}, expected {32}"},
        {&llama, {"blk.0.attn_q.bias", {31}, DT_F32}, "{31}, expected {32}"},
        {&llama, {"blk.0.ffn_gate_inp.weight", {32, 5}, DT_F32}, "{32, 5}, expected {32, 4}"},
        {&llama, {"blk.0.ffn_up_exps.weight", {32, 32}, DT_F32}, "expected {32, 32, 4}"},
        {&llama, {"blk.0.ffn_up_exps.weight", {32, 32, 5}, DT_F32}, "expected {32, 32, 4}"},
        {&llama, {"blk.0.ffn_up_exps.weight", {0}, 0}, "missing"},
        {&llama, {"blk.0.ffn_gate.0.weight", {32, 32}, DT_F32}, "convert the model again"},
        {&llama, {"blk.0.attn_v.weight", {32, 16}, DT_I8}, "type I8, which moxie cannot compute"},
        {&llama, {"blk.0.attn_norm.weight", {32}, DT_I32}, "Q4_K"},
        {&llama, {"rope_freqs.weight", {4}, DT_F32}, "has 0 at 0"},
        {&llama, {"output.weight", {32, 41}, DT_F32}, "{32, 41}, expected {32, 40}"},
        {&deepseek, {"blk.0.attn_kv_b.weight", {16, 31}, DT_F32}, "expected {16, 32}"},
        {&deepseek, {"blk.1.attn_k_b.weight", {16, 8, 2}, DT_F32}, "expected {8, 16, 2}"},
        {&deepseek, {"blk.1.ffn_gate_up_exps.weight", {32, 32, 4}, DT_F32}, "{32, 64, 4}"},
        {&deepseek, {"blk.0.attn_q_a.weight", {32, 8}, DT_F32}, "{32, 8}, expected"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        expect_refused(try_small(rows[i].model, NULL, &rows[i].weight), rows[i].weight.name,
                       rows[i].what);
    }
}

/* Vectors that are not float32 are converted once, exactly; those that are, are borrowed. */
static void test_vectors(void **state)
{
    (void)state;
    static const uint16_t half[4] = {0x3c00, 0xc000, 0x3555, 0x0001}; /* 1, -2, 0.333.., 2^-24 */
    static const float plain[4] = {4, 3, 2, 1};
    struct gguf_writer *w;
    assert_int_equal(gguf_write_open(&w, 0), OK);
    for (const struct key *k = keys_llama; k->name; k++) write_key(w, k);
    write_weight(w, &weights_llama[0]);
    gguf_write_tensor(w, "half", DT_F16, 1, (const uint64_t[]){4}, half);
    gguf_write_tensor(w, "plain", DT_F32, 2, (const uint64_t[]){2, 2}, plain);
    uint8_t *image;
    size_t n_bytes;
    assert_int_equal(gguf_write_image(w, &image, &n_bytes), OK);
    gguf_write_close(w);
    struct gguf *file;
    struct model *m;
    struct graph *g;
    assert_int_equal(gguf_open_mem(&file, image, n_bytes, "small.gguf"), OK);
    assert_int_equal(model_open(&m, file, 40), OK);
    assert_int_equal(graph_new(&g, 1), OK);

    const float *const h = model_vec(m, g, GLAYER_NONE, "half", 4);
    assert_non_null(h);
    assert_true(h[0] == 1.0f && h[1] == -2.0f && h[3] == ldexpf(1, -24));
    assert_true(h[2] == 0.333251953125f);
    assert_ptr_equal(model_vec(m, g, GLAYER_NONE, "half", 4), h);
    const float *const p = model_table(m, g, GLAYER_NONE, "plain", 2, 2);
    assert_ptr_equal(p, gguf_tensor(file, "plain")->data);
    assert_null(model_vec_opt(m, g, GLAYER_NONE, "none", 4));
    assert_int_equal(g->err, OK);
    assert_null(model_table(m, g, GLAYER_NONE, "plain", 4, 1));
    expect_refused(g->err, "plain", "{2, 2}, expected {4}");
    assert_null(model_vec(m, g, GLAYER_NONE, "half", 4)); /* nothing after a failure */

    graph_free(g);
    model_close(m);
    gguf_close(file);
    mem_free(image);
}

/* Every allocation fails once: the error comes back and nothing is lost. */
static void fail_each_allocation(const struct small *m)
{
    size_t n_bytes;
    uint8_t *const image = image_of(m, NULL, NULL, &n_bytes);
    struct gguf *file;
    assert_int_equal(gguf_open_mem(&file, image, n_bytes, "small.gguf"), OK);
    const size_t n_used = mem_used_total();
    enum err err = ERR_MEMORY;
    uint64_t n = 0;
    while (err == ERR_MEMORY) {
        mem_fail_at(++n);
        err = open_and_build(file);
        assert_int_equal(mem_used_total(), n_used);
    }
    mem_fail_at(0);
    assert_int_equal(err, OK);
    assert_true(n > 5);
    gguf_close(file);
    mem_free(image);
}

static void test_no_memory(void **state)
{
    (void)state;
    fail_each_allocation(&llama);    /* converts a vector */
    fail_each_allocation(&deepseek); /* has parameters of its own */
}

static void test_registry(void **state)
{
    (void)state;
    assert_non_null(arch_find("llama", 5));
    assert_non_null(arch_find("gpt-oss and more", 7));
    assert_null(arch_find("llam", 4));
    assert_null(arch_find("llama2", 6));
    assert_null(arch_find("", 0));
    char names[24];
    arch_names(names, sizeof names); /* cut, never overrun */
    assert_string_equal(names, "llama, qwen2, qwen3, qw");
}

/* ---- every key of the golden models ---------------------------------------------------------- */

/* A scalar's or an array's items all set to one odd value. */
enum turn {
    TURN_ZERO,
    TURN_ONE,
    TURN_ONES,
    TURN_NAN,
    TURN_MINUS,
    TURN_TYPE,
    TURN_DROP,
    TURN_COUNT
};

static bool is_float(enum gguf_type t)
{
    return t == GGUF_F32 || t == GGUF_F64;
}

static void put_item(uint8_t *at, enum gguf_type type, size_t n_bytes, enum turn turn)
{
    memset(at, turn == TURN_ONES && type != GGUF_BOOL ? 0xff : 0, n_bytes);
    if (type == GGUF_F32) {
        const float f = turn == TURN_ZERO    ? 0.0f
                        : turn == TURN_ONE   ? 1.0f
                        : turn == TURN_ONES  ? FLT_MAX
                        : turn == TURN_MINUS ? -1.0f
                                             : NAN;
        memcpy(at, &f, sizeof f);
    } else if (turn == TURN_ONE || (turn == TURN_ONES && type == GGUF_BOOL)) {
        at[0] = 1;
    } else if (turn == TURN_MINUS) {
        at[0] = 2; /* an integer has no NaN and no sign here: two more small values */
    } else if (turn == TURN_NAN) {
        at[0] = 5;
    }
}

/* Copies file with key i turned; returns the image. */
static uint8_t *turned(const struct gguf *file, uint64_t i, enum turn turn, size_t *n_bytes)
{
    struct gguf_writer *w;
    assert_int_equal(gguf_write_open(&w, 0), OK);
    uint8_t data[4096];
    for (uint64_t j = 0; j < gguf_n_kv(file); j++) {
        struct gguf_kv kv = *gguf_kv_at(file, j);
        if (j == i && turn == TURN_DROP) continue;
        if (j == i && turn == TURN_TYPE) {
            kv = (struct gguf_kv){.key = kv.key,
                                  .type = GGUF_U8,
                                  .elem = GGUF_U8,
                                  .n = 1,
                                  .data = (const uint8_t *)"\x03",
                                  .n_bytes = 1};
        } else if (j == i) {
            assert_true(kv.n_bytes <= sizeof data);
            const size_t each = (size_t)(kv.n_bytes / kv.n);
            for (uint64_t k = 0; k < kv.n; k++) put_item(data + k * each, kv.elem, each, turn);
            kv.data = data;
        }
        gguf_write_kv(w, &kv);
    }
    for (uint64_t j = 0; j < gguf_n_tensor(file); j++) {
        const struct tensor *t = gguf_tensor_at(file, j);
        gguf_write_tensor(w, t->name, t->type, t->n_dims, t->ne, t->data);
    }
    uint8_t *image;
    assert_int_equal(gguf_write_image(w, &image, n_bytes), OK);
    gguf_write_close(w);
    return image;
}

/* Opens and builds; checks that a refusal says something and a graph stays in proportion. */
static void check_turned(const struct gguf *file, uint64_t i, enum turn turn, uint32_t n_seen[2])
{
    size_t n_bytes;
    uint8_t *const image = turned(file, i, turn, &n_bytes);
    struct gguf *copy;
    struct model *m = NULL;
    struct graph *g = NULL;
    assert_int_equal(gguf_open_mem(&copy, image, n_bytes, "small.gguf"), OK);
    err_clear();
    enum err err = model_open(&m, copy, 0);
    if (!err) err = model_build(m, 256, &g);
    n_seen[err != OK]++;
    if (err) {
        if (err != ERR_INPUT || !strstr(err_msg(), "small.gguf"))
            fail_msg("%s key %u turn %d: code %d, '%s'", gguf_path(file), (unsigned)i, turn, err,
                     err_msg());
    } else {
        assert_true(g->row_floats * sizeof(float) <= n_bytes);
        assert_true(g->out_floats * sizeof(float) <= n_bytes);
        for (uint32_t il = 0; il < g->n_layer; il++) assert_true(g->state_floats[il] <= n_bytes);
    }
    graph_free(g);
    model_close(m);
    gguf_close(copy);
    mem_free(image);
}

static void turn_all_keys(const char *path, uint32_t n_seen[2])
{
    struct gguf *file;
    if (gguf_open(&file, path)) return;
    for (uint64_t i = 0; i < gguf_n_kv(file); i++) {
        const struct gguf_kv *kv = gguf_kv_at(file, i);
        const bool is_text = kv->elem == GGUF_STR;
        if (kv->key.n > 10 && !memcmp(kv->key.s, "tokenizer.", 10)) continue;
        for (enum turn t = is_text ? TURN_TYPE : TURN_ZERO; t < TURN_COUNT; t++) {
            if (kv->elem == GGUF_BOOL && (t == TURN_NAN || t == TURN_MINUS)) continue;
            if (is_float(kv->elem) && kv->elem != GGUF_F32) continue;
            check_turned(file, i, t, n_seen);
        }
    }
    gguf_close(file);
}

static void test_golden_keys(void **state)
{
    (void)state;
    DIR *dir = opendir(GOLDEN);
    if (!dir) {
        print_message("# SKIP %s is not there\n", GOLDEN);
        skip();
    }
    uint32_t n_seen[2] = {0};
    for (const struct dirent *e = readdir(dir); e; e = readdir(dir)) {
        if (e->d_name[0] == '.' || e->d_name[0] == '_' || !strncmp(e->d_name, "quant-", 6))
            continue;
        if (!strcmp(e->d_name, "llada-moe")) continue;
        char path[512];
        (void)snprintf(path, sizeof path, GOLDEN "/%s/model.gguf", e->d_name);
        turn_all_keys(path, n_seen);
    }
    closedir(dir);
    print_message("# %u models opened, %u refused\n", n_seen[0], n_seen[1]);
    assert_true(n_seen[0] > 100);
    assert_true(n_seen[1] > 1000);
}

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_small_models_open), cmocka_unit_test(test_keys_refused),
        cmocka_unit_test(test_keys_accepted),     cmocka_unit_test(test_tensors_refused),
        cmocka_unit_test(test_vectors),           cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_registry),          cmocka_unit_test(test_golden_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
