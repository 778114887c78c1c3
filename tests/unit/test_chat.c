/*
 * test_chat.c: which template is chosen, what it sees, how messages are written for it, and that no
 * text of a conversation becomes a control token, in any template.
 *
 * Templates of real models come from tests/data/templates and from ../shared/data/templates.
 */
#include "text/chat.h"

#include "base/limits.h"
#include "engine.h"
#include "tests/unit/tok_make.h"

#include <dirent.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

#define CONTROLS_MAX 128
#define SHARED "../shared/data/templates"

/* ---- vocabularies ---------------------------------------------------------------------------- */

struct names { /* of control tokens */
    char s[CONTROLS_MAX][64];
    size_t n;
};

static void add_name(struct names *names, const char *s, size_t n)
{
    if (n >= sizeof names->s[0] || names->n == CONTROLS_MAX) return;
    for (size_t i = 0; i < names->n; i++) {
        if (strlen(names->s[i]) == n && memcmp(names->s[i], s, n) == 0) return;
    }
    memcpy(names->s[names->n++], s, n);
}

static size_t byte_character(int byte, char out[3])
{
    /* GPT-2's alphabet: see src/text/tok_bpe.c */
    int c = byte;
    if (byte <= 0x20) c = 0x100 + byte;
    if (byte >= 0x7f && byte <= 0xa0) c = 0x121 + byte - 0x7f;
    if (byte == 0xad) c = 0x143;
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    out[0] = (char)(0xc0 | c >> 6);
    out[1] = (char)(0x80 | (c & 0x3f));
    return 2;
}

/* A token for each byte, 0 to 255, then control tokens: the first is BOS, the second EOS. */
static struct made bytes_and(const struct names *control, const char *const *str_key,
                             const char *const *str)
{
    static char bytes[256][3];
    static struct item items[256 + CONTROLS_MAX];
    for (int b = 0; b < 256; b++) {
        memset(bytes[b], 0, 3);
        byte_character(b, bytes[b]);
        items[b] = (struct item){bytes[b], 1, 0};
    }
    for (size_t i = 0; i < control->n; i++) items[256 + i] = (struct item){control->s[i], 3, 0};
    struct recipe r = {.model = "gpt2", .pre = "gpt-2", .items = items, .n_item = 256 + control->n};
    if (control->n > 1) {
        r.u32_key[0] = "tokenizer.ggml.bos_token_id";
        r.u32_key[1] = "tokenizer.ggml.eos_token_id";
        r.u32[0] = 256;
        r.u32[1] = 257;
    }
    for (size_t i = 0; str_key && str_key[i]; i++) {
        r.str_key[i] = str_key[i];
        r.str[i] = str[i];
    }
    return must_make(&r);
}

#define KEY "tokenizer.chat_template"

static struct made with_templates(const char *general, const char *tool_use, const char *more)
{
    struct names control = {.n = 0};
    add_name(&control, "<s>", 3);
    add_name(&control, "</s>", 4);
    if (more) add_name(&control, more, strlen(more));
    if (more) add_name(&control, "<|im_end|>", 10);
    const char *key[4] = {0}, *str[4] = {0};
    size_t n = 0;
    if (general) {
        key[n] = KEY;
        str[n++] = general;
    }
    if (tool_use) {
        key[n] = KEY ".tool_use";
        str[n++] = tool_use;
    }
    return bytes_and(&control, key, str);
}

static struct chat *must_open(const struct made *m, const char *file)
{
    struct chat *c;
    if (chat_open(&c, m ? m->v.g : NULL, m ? m->v.t : NULL, file)) fail_msg("%s", err_msg());
    return c;
}

/* ---- rendering ------------------------------------------------------------------------------- */

static json_t *parse(const char *json)
{
    json_error_t e;
    json_t *j = json_loads(json, JSON_ALLOW_NUL, &e);
    if (!j) fail_msg("%s: %s", json, e.text);
    return j;
}

static void check_json_text(const struct chat *c, const char *json, unsigned flags,
                            const char *want)
{
    json_t *j = parse(json);
    struct origin_text text;
    if (chat_render(c, j, flags, &text)) fail_msg("%s: %s", json, err_msg());
    assert_string_equal(text.s, want);
    assert_int_equal(text.n, strlen(want));
    origin_text_fini(&text);
    json_decref(j);
}

/* A template alone: what comes out of a conversation. */
static void check_template(const char *template, const char *json, const char *want)
{
    const struct made m = with_templates(template, NULL, NULL);
    struct chat *c = must_open(&m, NULL);
    check_json_text(c, json, CHAT_GENERATE, want);
    chat_close(c);
    unmake(m);
}

#define HI "[{\"role\": \"user\", \"content\": \"Hi\"}]"
#define HI_WITH(more) "{\"messages\": " HI ", " more "}"

/* ---- choice ---------------------------------------------------------------------------------- */

static void test_choice(void **state)
{
    (void)state;
    static const char *const tools = HI_WITH("\"tools\": [{\"type\": \"function\"}]");
    static const char *const no_tools = HI_WITH("\"tools\": []");
    struct made m = with_templates("general", "tools", NULL);
    struct chat *c = must_open(&m, NULL);
    assert_int_equal(chat_kind(c), CHAT_OWN);
    assert_null(chat_stop(c));
    check_json_text(c, HI, 0, "general");
    check_json_text(c, no_tools, 0, "general");
    check_json_text(c, tools, 0, "tools");
    chat_close(c);
    unmake(m);

    m = with_templates("general", NULL, NULL);
    c = must_open(&m, NULL);
    check_json_text(c, tools, 0, "general");
    chat_close(c);
    unmake(m);

    m = with_templates(NULL, "tools", NULL); /* the only one it has */
    c = must_open(&m, NULL);
    check_json_text(c, HI, 0, "tools");
    check_json_text(c, tools, 0, "tools");
    chat_close(c);
    unmake(m);
}

static void test_fallbacks(void **state)
{
    (void)state;
    static const char *const talk =
        "[{\"role\": \"system\", \"content\": \"S\"}, {\"role\": \"user\", \"content\": \" U \"},"
        " {\"role\": \"assistant\", \"content\": \"A\"}, {\"role\": \"user\", \"content\": \"V\"}]";
    struct made m = with_templates("", NULL, "<|im_start|>"); /* empty: none */
    struct chat *c = must_open(&m, NULL);
    assert_int_equal(chat_kind(c), CHAT_CHATML);
    assert_null(chat_stop(c));
    check_json_text(c, talk, CHAT_GENERATE,
                    "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\n U <|im_end|>\n"
                    "<|im_start|>assistant\nA<|im_end|>\n<|im_start|>user\nV<|im_end|>\n"
                    "<|im_start|>assistant\n");
    check_json_text(c, HI, 0, "<|im_start|>user\nHi<|im_end|>\n");
    chat_close(c);
    unmake(m);

    m = with_templates(NULL, NULL, "<|im_stop|>"); /* one of the two tokens is not enough */
    c = must_open(&m, NULL);
    assert_int_equal(chat_kind(c), CHAT_PLAIN);
    assert_string_equal(chat_stop(c), "\nUser:");
    check_json_text(c, talk, CHAT_GENERATE,
                    "System: S\n\nUser: U\n\nAssistant: A\n\nUser: V\n\nAssistant:");
    check_json_text(c, HI, 0, "User: Hi\n\n");
    chat_close(c);
    unmake(m);
}

static void test_file(void **state)
{
    (void)state;
    char path[] = "/tmp/moxie-chat-XXXXXX";
    const int fd = mkstemp(path);
    assert_true(fd >= 0);
    FILE *f = fdopen(fd, "w");
    fputs("{{ bos_token }}{{ messages[0].content }}{{ eos_token }}\n", f);
    assert_int_equal(fclose(f), 0);
    struct chat *c = must_open(NULL, path);
    assert_int_equal(chat_kind(c), CHAT_OWN);
    check_json_text(c, HI, 0, "Hi"); /* no vocabulary, no names */
    check_json_text(c, HI_WITH("\"bos_token\": \"B\", \"eos_token\": null"), 0, "BHi");
    chat_close(c);
    struct made m = with_templates("general", "tools", NULL);
    c = must_open(&m, path);
    check_json_text(c, HI, 0, "<s>Hi</s>");
    check_json_text(c, HI_WITH("\"tools\": [{}]"), 0, "<s>Hi</s>"); /* for all conversations */
    chat_close(c);
    unmake(m);
    assert_int_equal(remove(path), 0);
    assert_int_equal(chat_open(&c, NULL, NULL, path), ERR_INPUT);
    assert_non_null(strstr(err_msg(), path));
    assert_null(c);
    m = with_templates("{{ unfinished", NULL, NULL);
    assert_int_equal(chat_open(&c, m.v.g, m.v.t, NULL), ERR_INPUT);
    assert_non_null(strstr(err_msg(), "made: key '" KEY "'"));
    unmake(m);
}

/* However long the name of the file is, the message says what is wrong. */
static void test_long_path(void **state)
{
    (void)state;
    char path[2000];
    uint8_t *image;
    size_t n_bytes;
    struct gguf_writer *w;
    struct gguf *g;
    struct chat *c;
    memset(path, 'p', sizeof path);
    path[sizeof path - 1] = '\0';
    const struct made m = with_templates(NULL, NULL, NULL);
    assert_int_equal(gguf_write_open(&w, 0), OK);
    gguf_write_str(w, KEY, "{{ unfinished");
    assert_int_equal(gguf_write_image(w, &image, &n_bytes), OK);
    gguf_write_close(w);
    assert_int_equal(gguf_open_mem(&g, image, n_bytes, path), OK);
    assert_int_equal(chat_open(&c, g, m.v.t, NULL), ERR_INPUT);
    assert_non_null(strstr(err_msg(), "p: key '" KEY "', line 1: the template ends in a tag"));
    gguf_close(g);
    mem_free(image);
    unmake(m);
}

/* What an engine found out about a template it does not find out again. */
static void test_engine_remembers(void **state)
{
    (void)state;
    static const char bad[] = "{{ unfinished", good[] = "{{ messages[0].content }}";
    char path[] = "/tmp/moxie-chat-XXXXXX", says[ERR_MSG_BYTES_MAX];
    const struct chat *c;
    struct engine *e;
    const int fd = mkstemp(path);
    assert_int_equal(write(fd, bad, strlen(bad)), strlen(bad));
    const struct engine_opts opts = {.mode = ENGINE_VOCAB, .chat_template = path};
    assert_int_equal(engine_open(&e, &opts), OK);
    assert_int_equal(engine_chat(e, &c), ERR_INPUT);
    snprintf(says, sizeof says, "%s", err_msg());
    assert_non_null(strstr(says, "the template ends in a tag"));
    assert_int_equal(pwrite(fd, good, strlen(good), 0), strlen(good));
    err_clear();
    assert_int_equal(engine_chat(e, &c), ERR_INPUT);
    assert_string_equal(err_msg(), says);
    assert_null(c);
    engine_close(e);
    assert_int_equal(engine_open(&e, &opts), OK);
    assert_int_equal(engine_chat(e, &c), OK);
    assert_non_null(c);
    engine_close(e);
    assert_int_equal(close(fd), 0);
    assert_int_equal(remove(path), 0);
}

/* ---- variables ------------------------------------------------------------------------------- */

static void test_variables(void **state)
{
    (void)state;
    check_template("{{ bos_token }}|{{ eos_token }}|{{ add_generation_prompt }}", HI,
                   "<s>|</s>|True");
    check_template("{{ tools is none }}{{ documents is none }}{{ x is defined }}", HI,
                   "TrueTrueFalse");
    check_template("{{ x }}{{ enable_thinking }}", HI_WITH("\"x\": 3, \"enable_thinking\": false"),
                   "3False");
    check_template("{{ x }}{{ y }}",
                   HI_WITH("\"x\": 1, \"chat_template_kwargs\": {\"x\": 2, \"y\": 3}"), "13");
    check_template("{{ add_generation_prompt }}", HI_WITH("\"add_generation_prompt\": false"),
                   "False");
    check_template("{{ add_generation_prompt }}", HI_WITH("\"add_generation_prompt\": true"),
                   "True");
    check_template("{{ messages[0].more.x }}",
                   "[{\"role\": \"user\", \"content\": \"\", \"more\": {\"x\": 5}}]", "5");
    assert_int_equal(setenv("MOXIE_NOW", "2026-01-02T03:04:05", 1), 0);
    check_template("{{ strftime_now('%Y-%m-%d %H:%M:%S') }}", HI, "2026-01-02 03:04:05");
    assert_int_equal(setenv("MOXIE_NOW", "2026-01-02T03:04:05Z", 1), 0);
    struct made m = with_templates("x", NULL, NULL);
    struct chat *c;
    assert_int_equal(chat_open(&c, m.v.g, m.v.t, NULL), ERR_USAGE);
    assert_non_null(strstr(err_msg(), "MOXIE_NOW"));
    assert_int_equal(unsetenv("MOXIE_NOW"), 0);
    unmake(m);
}

/* ---- how messages are written ---------------------------------------------------------------- */

#define ONE "[{\"role\": \"user\", \"content\": [{\"type\": \"text\", \"text\": \"a\"}]}]"
#define TWO                                                                                        \
    "[{\"role\": \"user\", \"content\": [{\"type\": \"text\", \"text\": \"a\"},"                   \
    " {\"type\": \"text\", \"text\": \"b\"}]}]"

static void test_parts(void **state)
{
    (void)state;
    static const char knows_texts[] = "{{ messages[0].content }}";
    static const char knows_both[] =
        "{% set c = messages[0].content %}"
        "{% if c is string %}{{ c }}{% else %}{% for p in c %}{{ p.text }}+{% endfor %}{% endif %}";
    static const char takes_both[] =
        "{% set c = messages[0].content %}"
        "{% if c is string %}{{ c }}{% else %}{% for p in c %}{{ p.text }}{% endfor %}{% endif %}";
    static const char knows_parts[] =
        "{% for p in messages[0].content %}{% if p.type == 'text' %}<{{ p.text }}>{% endif %}"
        "{% endfor %}";
    check_template(knows_texts, ONE, "a");
    check_template(knows_texts, TWO, "a\nb");
    check_template(takes_both, HI, "Hi");
    check_template(takes_both, TWO, "ab");
    check_template(knows_both, TWO, "a\nb"); /* writes one part unlike its text: not safe */
    check_template(knows_parts, HI, "<Hi>");
    check_template(knows_parts, TWO, "<a><b>");
    /* An empty list is an empty text. */
    check_template(knows_texts, "[{\"role\": \"user\", \"content\": []}]", "");
    /* A NUL is a character like others. */
    const struct made m = with_templates(knows_texts, NULL, NULL);
    struct chat *c = must_open(&m, NULL);
    json_t *j = json_pack("[{s:s, s:[{s:s, s:s%}]}]", "role", "user", "content", "type", "text",
                          "text", "a\0b", (size_t)3);
    struct origin_text text;
    assert_int_equal(chat_render(c, j, 0, &text), OK);
    assert_int_equal(text.n, 3);
    assert_memory_equal(text.s, "a\0b", 4);
    origin_text_fini(&text);
    json_decref(j);
    chat_close(c);
    unmake(m);
}

#define CALL(content, args)                                                                        \
    "[{\"role\": \"user\", \"content\": \"?\"}, {\"role\": \"assistant\", \"content\": " content   \
    ", \"tool_calls\": [{\"id\": \"1\", \"type\": \"function\", \"function\": {\"name\": \"f\","   \
    " \"arguments\": " args "}}]}]"
#define AS_TEXT "\"{\\\"x\\\": [1, null]}\""
#define AS_OBJECT "{\"x\": [1, null]}"
#define EACH_CALL(body)                                                                            \
    "{% for m in messages %}{{ m.content or '' }}{% for t in m.tool_calls or [] %}" body           \
    "{% endfor %}{% endfor %}"

static void test_null(void **state)
{
    (void)state;
    check_template("{% for m in messages %}{{ m.content }}{% endfor %}", CALL("null", "{}"), "?");
    check_template("{% for m in messages %}{{ m.content }}{% endfor %}", CALL("\"None\"", "{}"),
                   "?None");
    check_template("{% for m in messages %}{{ m.content is none }}{% endfor %}", CALL("null", "{}"),
                   "FalseTrue");
    check_template("{% for m in messages %}{{ m.content + '.' }}{% endfor %}", CALL("null", "{}"),
                   "?..");
}

static void test_arguments(void **state)
{
    (void)state;
    static const char knows_objects[] = EACH_CALL("{{ t.function.arguments | tojson }}");
    static const char knows_texts[] = EACH_CALL("{{ '' + t.function.arguments }}");
    static const char knows_both[] = EACH_CALL("{{ t.function.arguments }}");
    check_template(knows_objects, CALL("\"\"", AS_TEXT), "?{\"x\": [1, null]}");
    check_template(knows_objects, CALL("null", AS_OBJECT), "?{\"x\": [1, null]}");
    check_template(knows_texts, CALL("null", AS_TEXT), "?{\"x\": [1, null]}");
    check_template(knows_texts, CALL("\"\"", AS_OBJECT), "?{\"x\": [1, null]}");
    check_template(knows_both, CALL("\"\"", AS_TEXT), "?{\"x\": [1, null]}");
    check_template(knows_both, CALL("\"\"", AS_OBJECT), "?{'x': [1, None]}");
    /* What is no JSON, or no object, stays what it is. */
    check_template(knows_objects, CALL("\"\"", "\"{x\""), "?\"{x\"");
    check_template(knows_objects, CALL("\"\"", "\"[1]\""), "?\"[1]\"");
    /* A call without the object around it. */
    check_template(EACH_CALL("{{ (t.function or t).arguments | tojson }}"),
                   "[{\"role\": \"assistant\", \"tool_calls\": [{\"name\": \"f\", \"arguments\": "
                   "\"{\\\"x\\\": 1}\"}]}]",
                   "{\"x\": 1}");
    /* The empty object tells nothing; the template was asked before. */
    check_template(knows_objects, CALL("null", "\"{}\""), "?{}");
}

/* The caller's conversation is not changed, whatever is rewritten. */
static void test_unchanged(void **state)
{
    (void)state;
    const struct made m =
        with_templates(EACH_CALL("{{ t.function.arguments | tojson }}"), NULL, NULL);
    struct chat *c = must_open(&m, NULL);
    json_t *j = parse(CALL("null", AS_TEXT)), *copy = json_deep_copy(j);
    struct origin_text text;
    assert_int_equal(chat_render(c, j, 0, &text), OK);
    assert_true(json_equal(j, copy));
    origin_text_fini(&text);
    json_decref(j);
    json_decref(copy);
    chat_close(c);
    unmake(m);
}

/* ---- refused --------------------------------------------------------------------------------- */

static void test_refused(void **state)
{
    (void)state;
    static const char *const bad[][2] = {
        {"[]", "'messages' is empty"},
        {"{}", "'messages' is missing"},
        {"{\"messages\": null}", "'messages' is null"},
        {"[[]]", "messages[0] is an array"},
        {"[{\"role\": \"user\", \"content\": \"a\"}, null]", "messages[1] is null"},
        {"[{\"role\": null, \"content\": \"a\"}]", "messages[0].role is null"},
        {"[{\"role\": \"user\", \"content\": true}]", "messages[0].content is true or false"},
        {"[{\"role\": \"user\", \"name\": \"x\"}]", "messages[0].content is missing"},
        {"[{\"role\": \"user\", \"content\": [{\"type\": \"input_audio\"}]}]",
         "messages[0].content[0] has the type 'input_audio'"},
        {"[{\"role\": \"user\", \"content\": [{\"text\": \"a\"}]}]",
         "messages[0].content[0] has the type ''"},
    };
    const struct made m = with_templates("x", NULL, NULL);
    struct chat *c = must_open(&m, NULL);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        json_t *j = parse(bad[i][0]);
        struct origin_text text;
        assert_int_equal(chat_render(c, j, 0, &text), ERR_INPUT);
        if (!strstr(err_msg(), bad[i][1])) fail_msg("%s: %s", bad[i][0], err_msg());
        assert_null(text.s);
        json_decref(j);
    }
    chat_close(c);
    unmake(m);
}

/* Memory runs out at every allocation of ours in turn: an error, nothing left behind. */
static void test_no_memory(void **state)
{
    (void)state;
    const struct made m = with_templates("{{ messages[0].content }}", "{{ tools }}", NULL);
    json_t *j = parse(TWO);
    const size_t n_used = mem_used_total();
    enum err err = ERR_MEMORY;
    uint64_t at = 1;
    for (; err; at++) {
        struct chat *c = NULL;
        struct origin_text text = {0};
        mem_fail_at(at);
        err = chat_open(&c, m.v.g, m.v.t, NULL);
        if (!err) err = chat_render(c, j, 0, &text);
        mem_fail_at(0);
        if (err) assert_int_equal(err, ERR_MEMORY);
        origin_text_fini(&text);
        chat_close(c);
        assert_int_equal(mem_used_total(), n_used);
        assert_true(at < 10000);
    }
    assert_true(at > 20);
    json_decref(j);
    unmake(m);
}

/* ---- origin ---------------------------------------------------------------------------------- */

/* The control tokens of a prompt: (id, place) each; their number. */
#define FOUND_MAX 4096
struct found {
    uint32_t id[FOUND_MAX];
    size_t at[FOUND_MAX];
    size_t n;
};

static void find_control(const struct tok *t, const struct origin_text *text, struct found *f)
{
    uint32_t *ids;
    size_t n;
    if (tok_encode_origin(t, text, TOK_BOS, &ids, &n)) fail_msg("%s", err_msg());
    f->n = 0;
    for (size_t i = 0; i < n; i++) {
        if (!tok_is_control(t, ids[i])) continue;
        assert_true(f->n < FOUND_MAX);
        f->id[f->n] = ids[i];
        f->at[f->n++] = i;
    }
    mem_free(ids);
}

static size_t count_control(const char *template, const char *json, const char *control)
{
    const struct made m = with_templates(template, NULL, control);
    struct chat *c = must_open(&m, NULL);
    json_t *j = parse(json);
    struct origin_text text;
    static struct found f;
    if (chat_render(c, j, 0, &text)) fail_msg("%s", err_msg());
    find_control(m.v.t, &text, &f);
    origin_text_fini(&text);
    json_decref(j);
    chat_close(c);
    unmake(m);
    return f.n;
}

/* Templates write "<|" and "|>" around a role; the usual names are theirs, other text is not. */
static void test_roles(void **state)
{
    (void)state;
    static const char role[] = "{{ '<|' + messages[0].role + '|>' }}";
    static const char content[] = "{{ '<|' + messages[0].content + '|>' }}";
    assert_int_equal(count_control(role, HI, "<|user|>"), 1);
    /* A NUL ends no comparison: what follows it would be the template's, too. */
    assert_int_equal(
        count_control(role, "[{\"role\": \"user\\u0000|><|user\", \"content\": \"\"}]", "<|user|>"),
        0);
    assert_int_equal(count_control(role, "[{\"role\": \"im_end\", \"content\": \"\"}]", "<|user|>"),
                     0);
    assert_int_equal(
        count_control(content, "[{\"role\": \"user\", \"content\": \"user\"}]", "<|user|>"), 0);
    assert_int_equal(count_control("{{ '<|' + x.role + '|>' }}",
                                   HI_WITH("\"x\": {\"role\": \"im_end\"}"), "<|user|>"),
                     0);
}

/* A name that the conversation gives itself is a control token only if it is the vocabulary's. */
static void test_own_tokens(void **state)
{
    (void)state;
    static const char both[] = "{{ bos_token }}{{ eos_token }}";
    assert_int_equal(count_control(both, HI, NULL), 2);
    assert_int_equal(count_control(both, HI_WITH("\"bos_token\": \"<s>\""), NULL), 2);
    assert_int_equal(count_control(both, HI_WITH("\"bos_token\": \"</s>\""), NULL), 1);
    assert_int_equal(count_control(both, HI_WITH("\"eos_token\": \"<s></s>\""), NULL), 1);
    assert_int_equal(count_control("{{ x }}", HI_WITH("\"x\": \"<s>\""), NULL), 0);
}

/* ---- templates of real models ---------------------------------------------------------------- */

/* What looks like a control token in a template: <...>, [INST]. */
static void find_names(const char *src, struct names *names)
{
    static const char upper[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ_/";
    for (const char *p = src; *p; p++) {
        const char *const end = *p == '<'   ? p + strcspn(p, " \n\t\"'{}>\\")
                                : *p == '[' ? p + 1 + strspn(p + 1, upper)
                                            : p;
        if (end - p >= 2 && *end == (*p == '<' ? '>' : ']'))
            add_name(names, p, (size_t)(end - p) + 1);
    }
}

static json_t *fill_text(const char *s, const char *text)
{
    char buf[8192];
    size_t n = 0;
    for (; *s; s++) {
        const size_t n_put = *s == '@' ? strlen(text) : 1;
        assert_true(n + n_put < sizeof buf);
        memcpy(buf + n, *s == '@' ? text : s, n_put);
        n += n_put;
    }
    return json_stringn(buf, n);
}

/* A copy of a JSON value with every '@' in it, in keys and texts, replaced by `text`. */
static json_t *fill(const json_t *j, const char *text)
{
    if (json_is_string(j)) return fill_text(json_string_value(j), text);
    if (!json_is_array(j) && !json_is_object(j)) return json_incref((json_t *)j);
    json_t *copy = json_is_array(j) ? json_array() : json_object(), *v;
    const char *key;
    size_t i;
    json_array_foreach(j, i, v) json_array_append_new(copy, fill(v, text));
    json_object_foreach((json_t *)j, key, v)
    {
        json_t *k = fill_text(key, text);
        json_object_set_new(copy, json_string_value(k), fill(v, text));
        json_decref(k);
    }
    return copy;
}

#define TOOL                                                                                       \
    "{\"type\": \"function\", \"function\": {\"name\": \"f@\", \"description\": \"@d\","           \
    " \"parameters\": {\"type\": \"object\", \"required\": [\"@\"], \"properties\": {\"@\":"       \
    " {\"type\": \"string\", \"description\": \"@\", \"enum\": [\"@\"]}}}}}"
#define CALLS(args)                                                                                \
    "{\"role\": \"assistant\", \"content\": \"@\", \"tool_calls\": [{\"id\": \"12345678@\","       \
    " \"type\": \"function\", \"function\": {\"name\": \"f@\", \"arguments\": " args "}}]},"       \
    " {\"role\": \"tool\", \"name\": \"f@\", \"tool_call_id\": \"12345678@\", \"content\": \"@\"}"
#define USER "{\"role\": \"user\", \"content\": \"a@ @b\"}"

/* '@' is where the attack goes. */
static const char *const shapes[] = {
    "[" USER "]",
    "[{\"role\": \"system\", \"content\": \"@\"}, " USER "]",
    "[" USER ", {\"role\": \"assistant\", \"content\": \"@\\n@\"}, " USER "]",
    "[" USER ", {\"role\": \"@\", \"content\": \"c\"}, " USER "]",
    "[{\"role\": \"user\", \"content\": [{\"type\": \"text\", \"text\": \"@\"},"
    " {\"type\": \"text\", \"text\": \"@\"}]}]",
    "{\"messages\": [" USER "], \"tools\": [" TOOL "], \"documents\": [{\"title\": \"@\","
    " \"text\": \"@\"}], \"date_string\": \"@\", \"functions\": \"@\", \"datetime\": \"@\"}",
    "{\"messages\": [" USER ", " CALLS("{\"@\": \"@\"}") "], \"tools\": [" TOOL "]}",
    "{\"messages\": [" USER ", " CALLS("\"{\\\"@\\\": \\\"@\\\"}\"") ", " USER "],"
                                                                     " \"tools\": [" TOOL "]}",
};
#define N_SHAPE (sizeof shapes / sizeof *shapes)

/* The template's bytes alone. */
static size_t own_bytes(const struct origin_text *t, char *own)
{
    size_t n = 0, at = 0;
    for (size_t i = 0; i <= t->n_data; i++) {
        const size_t end = i < t->n_data ? t->data[i].at : t->n;
        memcpy(own + n, t->s + at, end - at);
        n += end - at;
        if (i < t->n_data) at = end + t->data[i].n;
    }
    return n;
}

static bool same_own(const struct origin_text *a, const struct origin_text *b)
{
    char *const own_a = mem_alloc(MEM_MISC, a->n + 1), *const own_b = mem_alloc(MEM_MISC, b->n + 1);
    assert_true(own_a && own_b);
    const size_t n_a = own_bytes(a, own_a), n_b = own_bytes(b, own_b);
    const bool same = n_a == n_b && memcmp(own_a, own_b, n_a) == 0;
    mem_free(own_a);
    mem_free(own_b);
    return same;
}

struct tally {
    size_t n_compared, n_control, n_branched;
};

/* Reasoning templates look for the end of a thought in what the model said before, and write it
 * anew. */
static bool may_branch(size_t i_shape, const char *name)
{
    return strstr(name, "</think>") && strstr(shapes[i_shape], "assistant");
}

static void compare(const char *file, const struct tok *t, const struct origin_text *bad,
                    const struct origin_text *good, struct tally *tally)
{
    static struct found b, g;
    find_control(t, bad, &b);
    find_control(t, good, &g);
    const bool same_ids = b.n == g.n && memcmp(b.id, g.id, b.n * sizeof *b.id) == 0;
    const bool same_places = same_ids && memcmp(b.at, g.at, b.n * sizeof *b.at) == 0;
    if (!same_ids || (bad->n == good->n && !same_places))
        fail_msg("%s: data change the control tokens: %s", file, bad->s);
    tally->n_compared++;
    tally->n_control += g.n;
    /* Harmless text costs nothing: these are the ids of the plain text. */
    uint32_t *ids;
    size_t n;
    if (tok_encode_origin(t, good, TOK_BOS, &ids, &n)) fail_msg("%s", err_msg());
    check_ids(t, file, good->s, good->n, TOK_BOS | TOK_SPECIAL, ids, n);
    mem_free(ids);
}

/* The same conversation with a control token's name and with as many x's. */
static void attack(const char *file, const struct tok *t, const struct chat *c, size_t i_shape,
                   const char *name, struct tally *tally)
{
    char harmless[2048];
    assert_true(strlen(name) < sizeof harmless);
    memset(harmless, 'x', strlen(name));
    harmless[strlen(name)] = '\0';
    json_t *const shape = parse(shapes[i_shape]);
    json_t *const j_bad = fill(shape, name), *const j_good = fill(shape, harmless);
    struct origin_text bad = {0}, good = {0};
    const enum err e_bad = chat_render(c, j_bad, CHAT_GENERATE, &bad);
    const enum err e_good = chat_render(c, j_good, CHAT_GENERATE, &good);
    if (!e_bad && !e_good && same_own(&bad, &good)) {
        compare(file, t, &bad, &good, tally);
    } else if (!e_bad || !e_good) {
        if (!may_branch(i_shape, name))
            fail_msg("%s: '%s' as data changes what the template writes (%d, %d): %s", file, name,
                     e_bad, e_good, bad.s ? bad.s : "");
        tally->n_branched++;
    }
    origin_text_fini(&bad);
    origin_text_fini(&good);
    json_decref(j_bad);
    json_decref(j_good);
    json_decref(shape);
}

static void attack_file(const char *folder, const char *file, struct tally *tally)
{
    const size_t n_before = tally->n_compared;
    char path[512], all[2048] = "";
    snprintf(path, sizeof path, "%s/%s", folder, file);
    size_t n, n_all = 0;
    char *src = read_text(path, &n);
    static struct names names;
    names = (struct names){.s = {"<s>", "</s>", "<|im_end|>", "<|eot_id|>"}, .n = 4};
    find_names(src, &names);
    const struct made m =
        bytes_and(&names, (const char *const[]){KEY, NULL}, (const char *const[]){src, NULL});
    struct chat *c = must_open(&m, NULL);
    for (size_t i = 0; i < names.n; i++) {
        if (n_all + strlen(names.s[i]) < 1000)
            n_all += (size_t)snprintf(all + n_all, sizeof all - n_all, "%s", names.s[i]);
        for (size_t k = 0; k < N_SHAPE; k++) attack(file, m.v.t, c, k, names.s[i], tally);
    }
    for (size_t k = 0; k < N_SHAPE; k++) attack(file, m.v.t, c, k, all, tally);
    if (tally->n_compared - n_before < names.n)
        fail_msg("%s: renders %zu conversations only", file, tally->n_compared - n_before);
    chat_close(c);
    unmake(m);
    mem_free(src);
}

/* fn for every template of a folder; their number. */
static size_t each_template(const char *folder,
                            void (*fn)(const char *, const char *, struct tally *),
                            struct tally *tally)
{
    size_t n = 0;
    DIR *d = opendir(folder);
    for (const struct dirent *e = d ? readdir(d) : NULL; e; e = readdir(d)) {
        const size_t len = strlen(e->d_name);
        if (len < 7 || strcmp(e->d_name + len - 6, ".jinja") != 0) continue;
        fn(folder, e->d_name, tally);
        n++;
    }
    if (d) closedir(d);
    return n;
}

static void test_attacks(void **state)
{
    (void)state;
    struct tally tally = {0};
    size_t n = each_template("tests/data", attack_file, &tally);
    n += each_template("tests/data/templates", attack_file, &tally);
    n += each_template(SHARED, attack_file, &tally);
    print_message("# %zu templates, %zu pairs of prompts with %zu control tokens the same; in %zu "
                  "more the template looked at the text\n",
                  n, tally.n_compared, tally.n_control, tally.n_branched);
    if (n == 0) skip();
    assert_true(tally.n_compared > 50 * n);
    assert_true(tally.n_control > 5 * tally.n_compared);
}

/* ---- renders by Jinja ------------------------------------------------------------------------ */

/* Ids of a harmless prompt are those of its text: nothing that a template writes got lost. */
static void check_plain_ids(const char *file, const struct origin_text *text)
{
    static struct names names;
    names = (struct names){.s = {"<s>", "</s>"}, .n = 2};
    find_names(text->s, &names);
    const struct made m = bytes_and(&names, NULL, NULL);
    uint32_t *ids;
    size_t n;
    if (tok_encode_origin(m.v.t, text, TOK_BOS, &ids, &n)) fail_msg("%s", err_msg());
    check_ids(m.v.t, file, text->s, text->n, TOK_BOS | TOK_SPECIAL, ids, n);
    mem_free(ids);
    unmake(m);
}

static size_t check_renders(const struct chat *c, const char *file, const json_t *renders,
                            const json_t *conversations)
{
    const char *name;
    const json_t *want;
    size_t n = 0;
    json_object_foreach((json_t *)renders, name, want)
    {
        if (json_is_null(want)) continue;
        json_t *j = json_object_get(conversations, name);
        struct origin_text text;
        if (chat_render(c, j, CHAT_GENERATE, &text)) fail_msg("%s: %s", file, err_msg());
        if (strcmp(text.s, json_string_value(want)) != 0)
            fail_msg("%s, %s: expected %s, found %s", file, name, json_string_value(want), text.s);
        if (strcmp(name, "no_system_two_turns") != 0) check_plain_ids(file, &text);
        origin_text_fini(&text);
        n++;
    }
    return n;
}

/* What chat.c tries out and rewrites does not change a conversation of texts. */
static void test_oracle(void **state)
{
    (void)state;
    json_t *j = json_load_file(SHARED "/jinja2_renders.json", 0, NULL), *t;
    if (!j) skip();
    size_t i, n = 0;
    const struct made m = with_templates(NULL, NULL, NULL);
    assert_int_equal(setenv("MOXIE_NOW", "2026-01-02T03:04:05", 1), 0);
    json_array_foreach(json_object_get(j, "templates"), i, t)
    {
        char path[512];
        const char *file = json_string_value(json_object_get(t, "file"));
        snprintf(path, sizeof path, SHARED "/%s", file);
        struct chat *c = must_open(&m, path);
        n += check_renders(c, file, json_object_get(t, "renders"),
                           json_object_get(j, "conversations"));
        chat_close(c);
    }
    assert_int_equal(unsetenv("MOXIE_NOW"), 0);
    assert_int_equal(n, 182); /* the others are null: the template raises */
    unmake(m);
    json_decref(j);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_choice),    cmocka_unit_test(test_fallbacks),
        cmocka_unit_test(test_file),      cmocka_unit_test(test_variables),
        cmocka_unit_test(test_long_path), cmocka_unit_test(test_engine_remembers),
        cmocka_unit_test(test_parts),     cmocka_unit_test(test_null),
        cmocka_unit_test(test_arguments), cmocka_unit_test(test_unchanged),
        cmocka_unit_test(test_refused),   cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_roles),     cmocka_unit_test(test_own_tokens),
        cmocka_unit_test(test_attacks),   cmocka_unit_test(test_oracle),
    };
    unsetenv("MOXIE_NOW");
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
