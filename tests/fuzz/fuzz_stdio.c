/*
 * fuzz_stdio.c: whatever comes down the pipe, in whatever pieces: the lines are the same, every
 * event is one JSON object with a type, at the end there is a bye, and the memory is back.
 *
 * The first byte of the input says how it is cut, the rest is what the client sends. Lines are at
 * most LINE_MAX bytes, so that too long ones are common.
 */
#include "base/err.h"
#include "base/mem.h"
#include "cmd/stdio_in.h"
#include "cmd/stdio_talk.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes);

enum { LINE_MAX = 600, N_CTX = 48, TURNS = 4 };

static void must(int ok, const char *what)
{
    if (ok) return;
    fprintf(stderr, "%s (%s)\n", what, err_msg());
    abort();
}

/* Lines and their kind as a sum that depends on the order. */
static uint64_t sum_line(uint64_t sum, enum stdio_in_what what, const char *line, size_t n)
{
    sum = sum * 31 + (uint64_t)what;
    for (size_t i = 0; what == STDIO_IN_LINE && i < n; i++) sum = sum * 31 + (uint8_t)line[i] + 1;
    return sum;
}

/* Takes what is there; with a talk the lines go to it. */
static uint64_t take(struct stdio_in *in, struct stdio_talk *t, uint64_t sum)
{
    const char *line;
    size_t n;
    for (enum stdio_in_what what; (what = stdio_in_next(in, &line, &n)) != STDIO_IN_NONE;) {
        sum = sum_line(sum, what, line, n);
        if (!t) continue;
        must((what == STDIO_IN_LINE ? stdio_talk_line(t, in->i_line, line, n)
                                    : stdio_talk_too_long(t, in->i_line)) == OK,
             "a line stopped it");
    }
    return sum;
}

static uint64_t feed(const char *data, size_t n_bytes, size_t cut, struct stdio_talk *t)
{
    struct stdio_in in = {.n_max = LINE_MAX};
    uint64_t sum = 0;
    for (size_t i = 0; i < n_bytes; i += cut) {
        const size_t n = n_bytes - i < cut ? n_bytes - i : cut;
        must(stdio_in_put(&in, data + i, n) == OK, "put");
        sum = take(&in, t, sum);
        must(bytes_n(&in.held) <= LINE_MAX, "more than a line is held");
    }
    stdio_in_end(&in);
    sum = take(&in, t, sum);
    must(stdio_in_is_over(&in), "something is left");
    sum = sum * 31 + in.i_line;
    stdio_in_fini(&in);
    return sum;
}

static void check_events(const struct stdio_out *out)
{
    const char *s = bytes_at(&out->held), *const end = s + bytes_n(&out->held);
    const char *type = "";
    json_t *event = NULL;
    for (const char *newline; s < end; s = newline + 1) {
        newline = memchr(s, '\n', (size_t)(end - s));
        must(newline != NULL, "a line without end");
        json_decref(event);
        event = json_loadb(s, (size_t)(newline - s), JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
        type = json_string_value(json_object_get(event, "type"));
        must(type != NULL, "an event without a type");
    }
    must(strcmp(type, "bye") == 0, "bye is not the last word");
    json_decref(event);
}

static void play(struct engine *e, const char *data, size_t n_bytes, size_t cut)
{
    const struct gen_opts gen = {.sample = SAMPLE_DEFAULTS, .n_max = 4};
    const struct stdio_talk_opts o = {
        .session = {.n_ctx = N_CTX}, .n_seat = 2, .gen = &gen, .seed_given = true};
    struct stdio_out out = {.fd = -1};
    struct stdio_talk *t;
    must(stdio_talk_open(&t, e, &o, &out) == OK, "open");
    feed(data, n_bytes, cut, t);
    stdio_talk_end(t);
    for (int i = 0; i < TURNS && stdio_talk_has_work(t); i++)
        must(stdio_talk_turn(t) == OK, "turn");
    must(stdio_talk_line(t, 0, "{\"type\":\"bye\",\"cancel\":true}", 28) == OK, "bye");
    must(!stdio_talk_has_work(t), "work is left");
    must(stdio_talk_bye(t) == OK, "bye");
    check_events(&out);
    stdio_talk_close(t);
    stdio_out_fini(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    static struct engine *e;
    static const char *begin = "{\"type\":\"generate\",\"messages\":[{\"role\":\"user\","
                               "\"content\":\"x\"}]}\n";
    if (!e) {
        must(engine_open(&e, &(struct engine_opts){.n_thread = 1}) == OK, "demo");
        play(e, begin, strlen(begin), 9); /* what is made at the first use is there */
    }
    if (n_bytes == 0) return 0;
    const char *const text = (const char *)data + 1;
    const size_t n = n_bytes - 1, cut = (size_t)data[0] + 1;
    const size_t used = mem_used_total();
    must(feed(text, n, cut, NULL) == feed(text, n, n + 1, NULL), "the cut changes the lines");
    play(e, text, n, cut);
    must(mem_used_total() == used, "memory is not back");
    return 0;
}
