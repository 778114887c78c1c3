/*
 * test_stdio.c: what stands between a pipe and the stdio protocol: lines from any cut of bytes, in
 * bounded memory; events to a reader that takes nothing or goes away; waiting that no signal slips
 * past; and the protocol itself when memory fails at every allocation in turn, or the model does
 * for some of its requests.
 */
#include "base/bytes.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/os.h"
#include "cmd/fields.h"
#include "cmd/stdio_in.h"
#include "cmd/stdio_out.h"
#include "cmd/stdio_talk.h"
#include "tests/golden/seed_model.h"
#include "tests/unit/poke.h"
#include "text/utf8.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- bytes ----------------------------------------------------------------------------------- */

static void test_bytes_queue(void **state)
{
    (void)state;
    struct bytes b = {0};
    uint32_t in = 0, out = 0; /* the k-th byte put is k % 251 */
    assert_string_equal(bytes_at(&b), "");
    for (size_t round = 0; round < 400; round++) {
        char piece[97];
        const size_t n_put = (round * 37) % sizeof piece;
        for (size_t i = 0; i < n_put; i++) piece[i] = (char)(in++ % 251);
        assert_int_equal(bytes_put(&b, piece, n_put), OK);
        assert_int_equal(bytes_n(&b), in - out);
        const size_t n_drop = (round * 29) % (bytes_n(&b) + 1) / 2;
        for (size_t i = 0; i < n_drop; i++)
            assert_int_equal((unsigned char)bytes_at(&b)[i], out++ % 251);
        bytes_drop(&b, n_drop);
    }
    assert_true(bytes_n(&b) > 0);
    for (size_t i = 0; i < bytes_n(&b); i++)
        assert_int_equal((unsigned char)bytes_at(&b)[i], (out + i) % 251);
    const size_t n = bytes_n(&b);
    bytes_cut(&b, n - 1);
    assert_int_equal(bytes_n(&b), n - 1);
    assert_int_equal((unsigned char)bytes_at(&b)[0], out % 251);
    bytes_cut(&b, 0);
    assert_string_equal(bytes_at(&b), "");
    for (size_t i = 0; i < 9000; i++) { /* a NUL follows, also where a block is just full */
        assert_int_equal(bytes_put(&b, "x", 1), OK);
        assert_int_equal(bytes_at(&b)[i + 1], '\0');
    }
    bytes_drop(&b, 8999);
    assert_string_equal(bytes_at(&b), "x");
    bytes_cut(&b, 0);
    assert_string_equal(bytes_at(&b), "");
    bytes_fini(&b);
}

static void test_bytes_no_memory(void **state)
{
    (void)state;
    struct bytes b = {0};
    assert_int_equal(bytes_put(&b, "abc", 3), OK);
    char *const large = calloc(1, 100000);
    assert_non_null(large);
    mem_fail_at(1);
    assert_int_equal(bytes_put(&b, large, 100000), ERR_MEMORY);
    mem_fail_at(0);
    assert_int_equal(bytes_put(&b, large, SIZE_MAX - 1), ERR_MEMORY);
    assert_int_equal(bytes_n(&b), 3);
    assert_memory_equal(bytes_at(&b), "abc", 3);
    free(large);
    bytes_fini(&b);
}

/* ---- UTF-8 ----------------------------------------------------------------------------------- */

static void test_utf8_bad(void **state)
{
    (void)state;
    static const struct {
        const char *s;
        size_t n, bad;
    } cases[] = {
        {"", 0, 0},
        {"a\0b", 3, 3},
        {"\x7f\xc2\x80\xdf\xbf\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80", 14, 14},
        {"\xef\xbf\xbf\xf0\x90\x80\x80\xf4\x8f\xbf\xbf", 11, 11},
        {"a\x80", 2, 1},                /* nothing to continue */
        {"ab\xc1\xbf", 4, 2},           /* overlong */
        {"\xe0\x9f\xbf", 3, 0},         /* overlong */
        {"\xed\xa0\x80", 3, 0},         /* a surrogate */
        {"\xf4\x90\x80\x80", 4, 0},     /* beyond U+10FFFF */
        {"\xf8\x88\x80\x80\x80", 5, 0}, /* five bytes */
        {"x\xe2\x82", 3, 1},            /* cut short */
        {"x\xe2\x82y", 4, 1},
        {"\xff", 1, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(utf8_bad(cases[i].s, cases[i].n), cases[i].bad);
        json_t *const j = utf8_json(cases[i].s, cases[i].n);
        assert_non_null(j);
        const bool same = json_string_length(j) == cases[i].n &&
                          memcmp(json_string_value(j), cases[i].s, cases[i].n) == 0;
        assert_int_equal(same, cases[i].bad == cases[i].n);
        json_decref(j);
    }
}

/* ---- lines ----------------------------------------------------------------------------------- */

/* What comes out of a reader, as text: lines in brackets with their numbers, ! for one too long. */
struct shown {
    char s[2000];
    size_t n;
};

static void show_lines(struct stdio_in *in, struct shown *out)
{
    const char *line;
    size_t n;
    for (enum stdio_in_what what; (what = stdio_in_next(in, &line, &n)) != STDIO_IN_NONE;) {
        const int n_put =
            what == STDIO_IN_LINE
                ? snprintf(out->s + out->n, sizeof out->s - out->n, "%d[%.*s]", (int)in->i_line,
                           (int)n, line)
                : snprintf(out->s + out->n, sizeof out->s - out->n, "%d!", (int)in->i_line);
        assert_true(n_put > 0 && (size_t)n_put < sizeof out->s - out->n);
        out->n += (size_t)n_put;
    }
}

static void test_lines_any_cut(void **state)
{
    (void)state;
    static const char text[] = "one\n\nexactly8\nnine_char\n\r\ntwo\nmuch too long for it\n"
                               "12345678\n123456789";
    static const char expected[] = "1[one]2[]3[exactly8]4!5[\r]6[two]7!8[12345678]9!";
    const size_t n = sizeof text - 1;
    for (size_t cut = 1; cut <= n; cut++) {
        struct stdio_in in = {.n_max = 8};
        struct shown got = {.n = 0};
        for (size_t i = 0; i < n; i += cut) {
            assert_int_equal(stdio_in_put(&in, text + i, n - i < cut ? n - i : cut), OK);
            show_lines(&in, &got);
        }
        stdio_in_end(&in);
        show_lines(&in, &got);
        assert_string_equal(got.s, expected);
        assert_true(stdio_in_is_over(&in));
        stdio_in_fini(&in);
    }
}

static void test_lines_last(void **state)
{
    (void)state;
    static const struct {
        const char *text, *expected;
    } cases[] = {{"", ""},
                 {"\n", "1[]"},
                 {"a", "1[a]"},
                 {"a\n", "1[a]"},
                 {"a\n\n", "1[a]2[]"},
                 {"12345678\n", "1[12345678]"},
                 {"123456789\n", "1!"},
                 {"123456789\nx", "1!2[x]"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct stdio_in in = {.n_max = 8};
        struct shown got = {.n = 0};
        assert_int_equal(stdio_in_put(&in, cases[i].text, strlen(cases[i].text)), OK);
        stdio_in_end(&in);
        assert_int_equal(stdio_in_is_over(&in), cases[i].text[0] == '\0');
        show_lines(&in, &got);
        assert_string_equal(got.s, cases[i].expected);
        assert_true(stdio_in_is_over(&in));
        stdio_in_fini(&in);
    }
}

static void test_lines_long_one_is_not_kept(void **state)
{
    (void)state;
    enum { CHUNK = 4096, N_MAX = 3 * CHUNK };
    char chunk[CHUNK];
    memset(chunk, 'x', sizeof chunk);
    struct stdio_in in = {.n_max = N_MAX};
    struct shown got = {.n = 0};
    for (size_t i = 0; i < 1000; i++) {
        assert_int_equal(stdio_in_put(&in, chunk, sizeof chunk), OK);
        show_lines(&in, &got);
        assert_true(bytes_n(&in.held) <= N_MAX);
        assert_true(in.held.cap <= 2 * (N_MAX + CHUNK)); /* it doubles */
    }
    assert_int_equal(stdio_in_put(&in, "x\nok\n", 5), OK);
    show_lines(&in, &got);
    assert_string_equal(got.s, "1!2[ok]");
    stdio_in_fini(&in);
}

/* ---- events ---------------------------------------------------------------------------------- */

static void make_pipe(int fd[2])
{
    assert_int_equal(pipe(fd), 0);
}

static json_t *event(int i)
{
    return json_pack("{s:s, s:i, s:s}", "type", "test", "i", i, "text", "\xc3\xa4\n\"");
}

static void stall(int fd[2])
{
    enum { N_EVENT = 20000 };
    struct stdio_out out = {.fd = fd[1]};
    for (int i = 0; i < N_EVENT; i++) {
        assert_int_equal(stdio_out_event(&out, event(i)), OK);
        if (i % 100 == 0) assert_int_equal(stdio_out_flush(&out), OK); /* does not wait */
    }
    assert_int_equal(stdio_out_flush(&out), OK);
    assert_true(stdio_out_waiting(&out) > 0);
    FILE *const f = fdopen(fd[0], "r");
    assert_non_null(f);
    for (int i = 0; i < N_EVENT; i++) {
        char line[100], expected[100];
        assert_int_equal(stdio_out_flush(&out), OK);
        assert_non_null(fgets(line, sizeof line, f));
        snprintf(expected, sizeof expected,
                 "{\"type\":\"test\",\"i\":%d,\"text\":\"\xc3\xa4\\n\\\"\"}\n", i);
        assert_string_equal(line, expected);
    }
    assert_int_equal(stdio_out_waiting(&out), 0);
    fclose(f);
    close(fd[1]);
    stdio_out_fini(&out);
}

static void test_out_reader_that_stalls(void **state)
{
    (void)state;
    int fd[2];
    make_pipe(fd);
    stall(fd);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
    stall(fd);
}

static void test_out_reader_that_leaves(void **state)
{
    (void)state;
    int fd[2];
    make_pipe(fd);
    close(fd[0]);
    struct stdio_out out = {.fd = fd[1]};
    assert_int_equal(stdio_out_event(&out, event(1)), OK);
    assert_int_equal(stdio_out_flush(&out), ERR_END);
    stdio_out_fini(&out);
    close(fd[1]);
}

static void test_out_not_writable(void **state)
{
    (void)state;
    struct stdio_out out = {.fd = open("/dev/null", O_RDONLY)};
    assert_true(out.fd >= 0);
    assert_int_equal(stdio_out_event(&out, event(1)), OK);
    assert_int_equal(stdio_out_flush(&out), ERR_RUN);
    assert_non_null(strstr(err_msg(), "standard output cannot be written"));
    close(out.fd);
    out.fd = open("/dev/full", O_WRONLY);
    if (out.fd >= 0) {
        assert_int_equal(stdio_out_flush(&out), ERR_RUN);
        assert_non_null(strstr(err_msg(), "No space"));
        close(out.fd);
    }
    stdio_out_fini(&out);
}

static void test_out_no_half_lines(void **state)
{
    (void)state;
    struct stdio_out out = {.fd = -1};
    assert_int_equal(stdio_out_event(&out, event(1)), OK);
    const size_t n = stdio_out_waiting(&out);
    assert_int_equal(stdio_out_event(&out, NULL), ERR_MEMORY);
    char *const text = calloc(1, 10000);
    assert_non_null(text);
    memset(text, 'x', 9999);
    mem_fail_at(1);
    assert_int_equal(stdio_out_event(&out, json_pack("{s:s, s:s}", "type", "t", "text", text)),
                     ERR_MEMORY);
    mem_fail_at(0);
    assert_int_equal(stdio_out_waiting(&out), n);
    free(text);
    stdio_out_fini(&out);
}

static void put_long(struct stdio_out *out, char *text, size_t n)
{
    memset(text, 'x', n);
    text[n] = '\0';
    assert_int_equal(stdio_out_event(out, json_pack("{s:s, s:s}", "type", "t", "text", text)), OK);
}

/* All that comes until the other end is closed. */
struct listener {
    int fd;
    char said[64 << 10];
    size_t n;
};

static void *listen_to_end(void *arg)
{
    struct listener *const l = arg;
    ssize_t n;
    usleep(20000);
    while ((n = read(l->fd, l->said + l->n, sizeof l->said - l->n)) > 0) l->n += (size_t)n;
    return NULL;
}

/* Of two lines longer than the pipe the one that has begun goes out, after a signal, too. */
static void test_out_finishes_a_line(void **state)
{
    (void)state;
    enum { N_TEXT = 20000, N_LINE = N_TEXT + 23 };
    static struct listener l;
    static char text[N_TEXT + 1];
    int fd[2];
    pthread_t thread;
    make_pipe(fd);
    assert_true(fcntl(fd[1], F_SETPIPE_SZ, 4096) >= 4096);
    struct stdio_out out = {.fd = fd[1]};
    put_long(&out, text, N_TEXT);
    put_long(&out, text, N_TEXT);
    assert_int_equal(stdio_out_flush(&out), OK);
    assert_int_equal(stdio_out_waiting(&out), 2 * N_LINE - 4096);
    l = (struct listener){.fd = fd[0]};
    assert_int_equal(os_thread_start(&thread, listen_to_end, &l), 0);
    raise(SIGINT);
    assert_int_equal(stdio_out_flush(&out), ERR_INTR);
    stdio_out_finish_line(&out);
    os_interrupt_clear();
    assert_int_equal(stdio_out_waiting(&out), 0);
    close(fd[1]);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(l.n, N_LINE);
    assert_memory_equal(l.said, "{\"type\":\"t\",\"text\":\"xx", 22);
    assert_memory_equal(l.said + N_LINE - 3, "\"}\n", 3);
    stdio_out_fini(&out);
    close(fd[0]);
}

/* Nobody reads: it gives up soon. Nothing has begun: nothing goes out. */
static void test_out_gives_up(void **state)
{
    (void)state;
    static char text[20001];
    int fd[2];
    make_pipe(fd);
    assert_true(fcntl(fd[1], F_SETPIPE_SZ, 4096) >= 4096);
    struct stdio_out out = {.fd = fd[1]};
    put_long(&out, text, 100);
    stdio_out_finish_line(&out);
    assert_int_equal(stdio_out_waiting(&out), 0);
    struct pollfd p = {.fd = fd[0], .events = POLLIN};
    assert_int_equal(poll(&p, 1, 0), 0);
    put_long(&out, text, 20000);
    assert_int_equal(stdio_out_flush(&out), OK);
    const uint64_t t0 = os_time_ns();
    stdio_out_finish_line(&out);
    assert_true(os_time_ns() - t0 < 10 * (uint64_t)1000000000);
    assert_int_equal(stdio_out_waiting(&out), 0);
    stdio_out_fini(&out);
    close(fd[0]);
    close(fd[1]);
}

/* What fits goes out as whole lines, so that even a killed program leaves none in parts. */
static void test_out_whole_lines(void **state)
{
    (void)state;
    enum { N_TEXT = 1500, N_LINE = N_TEXT + 23 };
    static struct listener l;
    static char text[N_TEXT + 1];
    int fd[2];
    make_pipe(fd);
    assert_true(fcntl(fd[1], F_SETPIPE_SZ, 4096) >= 4096);
    struct stdio_out out = {.fd = fd[1]};
    for (int i = 0; i < 5; i++) put_long(&out, text, N_TEXT);
    assert_int_equal(stdio_out_flush(&out), OK);
    close(fd[1]);
    l = (struct listener){.fd = fd[0]};
    listen_to_end(&l);
    assert_int_equal(l.n, 2 * N_LINE);
    stdio_out_fini(&out);
    close(fd[0]);
}

/* ---- waiting --------------------------------------------------------------------------------- */

static void *interrupt_soon(void *thread)
{
    usleep(50000);
    pthread_kill(*(pthread_t *)thread, SIGINT);
    return NULL;
}

static void test_poll(void **state)
{
    (void)state;
    int fd[2];
    make_pipe(fd);
    struct pollfd p = {.fd = fd[0], .events = POLLIN, .revents = POLLIN};
    assert_int_equal(os_poll(&p, 1, 0), OK);
    assert_int_equal(p.revents, 0);
    const uint64_t t0 = os_time_ns();
    assert_int_equal(os_poll(&p, 1, 30), OK);
    assert_true(os_time_ns() - t0 >= 29000000);
    assert_int_equal(p.revents, 0);
    assert_int_equal(write(fd[1], "x", 1), 1);
    assert_int_equal(os_poll(&p, 1, -1), OK);
    assert_int_equal(p.revents, POLLIN);
    char c;
    assert_int_equal(read(fd[0], &c, 1), 1);

    pthread_t self = pthread_self(), other;
    assert_int_equal(pthread_create(&other, NULL, interrupt_soon, &self), 0);
    assert_int_equal(os_poll(&p, 1, -1), ERR_INTR); /* while it waits */
    assert_int_equal(pthread_join(other, NULL), 0);
    assert_int_equal(write(fd[1], "x", 1), 1);
    assert_int_equal(os_poll(&p, 1, -1), ERR_INTR); /* before it waits */
    os_interrupt_clear();
    assert_int_equal(os_poll(&p, 1, -1), OK);
    assert_int_equal(p.revents, POLLIN);
    close(fd[0]);
    close(fd[1]);
}

/* ---- the protocol without memory ------------------------------------------------------------- */

static struct engine *engine;

/* Every line of the queue is one JSON object with a type; in how many is this key so? */
static size_t count_events(const struct stdio_out *out, const char *key, const char *value)
{
    size_t n = 0;
    const char *s = bytes_at(&out->held), *const end = s + bytes_n(&out->held);
    for (const char *newline; s < end; s = newline + 1) {
        newline = memchr(s, '\n', (size_t)(end - s));
        assert_non_null(newline);
        json_t *const j =
            json_loadb(s, (size_t)(newline - s), JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
        assert_non_null(j);
        assert_true(json_is_string(json_object_get(j, "type")));
        const char *const v = json_string_value(json_object_get(j, key));
        n += v && strcmp(v, value) == 0;
        json_decref(j);
    }
    return n;
}

static const char *const script[] = {
    "{\"type\":\"generate\",\"id\":\"a\",\"prompt\":\"One day\",\"raw\":true,\"max_tokens\":3}",
    "{\"type\":\"generate\",\"conversation\":1,\"prompt\":\"Hi\",\"max_tokens\":3,\"stop\":\"x\"}",
    "{\"type\":\"generate\",\"conversation\":1,\"prompt\":\"Ho\",\"stream\":false}",
    "{\"type\":\"generate\",\"id\":\"b\",\"conversation\":\"two\",\"prompt\":\"Hu\"}",
    "{\"type\":\"cancel\",\"id\":\"b\"}",
    "nonsense",
};
#define N_SCRIPT (sizeof script / sizeof *script)

static enum err play(struct engine *e, const char *const *lines, size_t n, struct stdio_out *out)
{
    const struct gen_opts gen = {.sample = SAMPLE_DEFAULTS, .n_max = 4};
    const struct stdio_talk_opts o = {
        .session = {.n_ctx = 96, .n_batch = 16}, .n_seat = 2, .gen = &gen, .seed_given = true};
    struct stdio_talk *t = NULL;
    enum err err = stdio_talk_open(&t, e, &o, out);
    for (size_t i = 0; i < n && err == OK; i++)
        err = stdio_talk_line(t, i + 1, lines[i], strlen(lines[i]));
    if (err == OK) stdio_talk_end(t);
    while (err == OK && stdio_talk_has_work(t)) err = stdio_talk_turn(t);
    if (err == OK) err = stdio_talk_bye(t);
    stdio_talk_close(t);
    return err;
}

static void test_talk_no_memory(void **state)
{
    (void)state;
    struct stdio_out whole = {.fd = -1};
    assert_int_equal(play(engine, script, N_SCRIPT, &whole), OK);
    assert_int_equal(count_events(&whole, "type", "done"), 4);
    assert_int_equal(count_events(&whole, "type", "error"), 1);
    assert_int_equal(count_events(&whole, "type", "bye"), 1);
    stdio_out_fini(&whole);
    const size_t used = mem_used_total();
    size_t n_failed = 0, n = 1;
    for (size_t n_fine = 0; n_fine < 3; n++) { /* until no allocation is left to fail */
        struct stdio_out out = {.fd = -1};
        mem_fail_at(n);
        const enum err err = play(engine, script, N_SCRIPT, &out);
        mem_fail_at(0);
        assert_true(err == OK || err == ERR_MEMORY);
        const size_t n_ends =
            count_events(&out, "type", "done") + count_events(&out, "type", "failed");
        const size_t n_errors = count_events(&out, "type", "error");
        const size_t n_not_found = count_events(&out, "code", "not_found"); /* b had failed */
        if (err == OK) assert_int_equal(n_ends, 4);
        if (err == OK) assert_int_equal(n_errors - n_not_found, 1);
        const bool failed = err || count_events(&out, "type", "failed") > 0;
        n_failed += failed;
        n_fine = failed ? 0 : n_fine + 1;
        stdio_out_fini(&out);
        assert_int_equal(mem_used_total(), used);
    }
    assert_true(n_failed > 30);
}

/* ---- memory ---------------------------------------------------------------------------------- */

/* n times `{}` in a request's messages; freed by the caller. */
static char *many_objects(size_t n)
{
    static const char before[] = "{\"type\":\"generate\",\"messages\":[{}", after[] = "]}";
    assert_true(n > 0);
    char *const line = calloc(1, sizeof before + sizeof after + n * 3);
    assert_non_null(line);
    size_t at = sizeof before - 1;
    memcpy(line, before, at);
    for (size_t i = 1; i < n; i++, at += 3) memcpy(line + at, ",{}", 3);
    memcpy(line + at, after, sizeof after);
    return line;
}

static void test_memory_of_values(void **state)
{
    (void)state;
    char *const line = many_objects(100000);
    json_t *const many = json_loads(line, 0, NULL);
    const size_t n = fields_memory(many);
    assert_true(n >= 100000 * 200 && n < 100000 * 300);
    json_decref(many);
    free(line);
    json_t *const v = json_pack("{s:s, s:[i,b,n]}", "key", "12345", "list", 1, 1);
    const size_t n_member = 64 + 3 + 64 + 5, n_list = 64 + 4 + 256 + 3 * 64;
    assert_int_equal(fields_memory(v), 256 + n_member + n_list);
    json_decref(v);
}

/* What waits is bounded by the memory that it takes, not by its text. */
static void test_memory_is_bounded(void **state)
{
    (void)state;
    char *const large = many_objects(100000), *const huge = many_objects(300000);
    const struct gen_opts gen = {.sample = SAMPLE_DEFAULTS, .n_max = 4};
    const struct stdio_talk_opts o = {
        .session = {.n_ctx = 96, .n_batch = 16}, .n_seat = 1, .gen = &gen};
    static const char first[] = "{\"type\":\"generate\",\"conversation\":1,\"prompt\":\"Hi\"}";
    json_t *const in_turn = json_loads(large, 0, NULL);
    json_object_set_new(in_turn, "conversation", json_integer(1)); /* read when its turn comes */
    char *const next = json_dumps(in_turn, JSON_COMPACT);
    json_decref(in_turn);
    struct stdio_out out = {.fd = -1};
    struct stdio_talk *t;
    assert_int_equal(stdio_talk_open(&t, engine, &o, &out), OK);
    assert_int_equal(stdio_talk_line(t, 1, first, strlen(first)), OK);
    for (uint64_t i = 2; i <= 4; i++)
        assert_int_equal(stdio_talk_line(t, i, next, strlen(next)), OK);
    assert_int_equal(count_events(&out, "code", "busy"), 1); /* the third */
    assert_int_equal(stdio_talk_line(t, 5, huge, strlen(huge)), OK);
    assert_int_equal(count_events(&out, "code", "too_long"), 1);
    stdio_talk_close(t);
    stdio_out_fini(&out);
    free(next);
    free(large);
    free(huge);
}

/* ---- a model of which one token is broken ---------------------------------------------------- */

/* The last event of a request: released by the caller. */
static json_t *last_event(const struct stdio_out *out, const char *id)
{
    json_t *last = NULL;
    const char *s = bytes_at(&out->held), *const end = s + bytes_n(&out->held);
    for (const char *newline; s < end; s = newline + 1) {
        newline = memchr(s, '\n', (size_t)(end - s));
        assert_non_null(newline);
        json_t *const j = json_loadb(s, (size_t)(newline - s), JSON_ALLOW_NUL, NULL);
        const char *const of = json_string_value(json_object_get(j, "id"));
        if (of && strcmp(of, id) == 0) {
            json_decref(last);
            last = json_incref(j);
        }
        json_decref(j);
    }
    assert_non_null(last);
    return last;
}

static void ends_with(const struct stdio_out *out, const char *id, const char *key,
                      const char *value)
{
    json_t *const j = last_event(out, id);
    assert_non_null(json_object_get(j, key));
    assert_string_equal(json_string_value(json_object_get(j, key)), value);
    json_decref(j);
}

/* Requests that meet token 17 fail with a code of their own, wherever they do; others do not see
 * it, and say what they say alone. */
static void test_one_fails(void **state)
{
    (void)state;
    enum { BAD = 17 };
    static const char *const lines[] = {
        "{\"type\":\"generate\",\"id\":\"good\",\"prompt\":[1,2,3,4],\"stream\":false}",
        "{\"type\":\"generate\",\"id\":\"reads\",\"prompt\":[1,2,17,4]}",
        "{\"type\":\"generate\",\"id\":\"writes\",\"prompt\":[3,2,1],\"logit_bias\":{\"17\":100}}",
        "{\"type\":\"generate\",\"id\":\"next\",\"prompt\":[1,2,3,4],\"stream\":false}",
    };
    char dir[] = "/tmp/moxie-stdio-XXXXXX", whole[64], broken[64];
    assert_non_null(mkdtemp(dir));
    snprintf(whole, sizeof whole, "%s/whole.gguf", dir);
    snprintf(broken, sizeof broken, "%s/broken.gguf", dir);
    assert_true(seed_case_write("tests/golden/qwen3next", whole));
    struct engine *e;
    assert_int_equal(engine_open(&e, &(struct engine_opts){.path = whole, .n_thread = 1}), OK);
    const uint32_t n_embd = engine_info(e)->n_embd;
    struct stdio_out out = {.fd = -1};
    assert_int_equal(play(e, lines, 1, &out), OK);
    json_t *const alone = last_event(&out, "good");
    const char *const text = json_string_value(json_object_get(alone, "text"));
    stdio_out_fini(&out);
    engine_close(e);

    poke_nan(whole, broken, "token_embd.weight", (size_t)BAD * n_embd);
    assert_int_equal(engine_open(&e, &(struct engine_opts){.path = broken, .n_thread = 1}), OK);
    out = (struct stdio_out){.fd = -1};
    assert_int_equal(play(e, lines, sizeof lines / sizeof *lines, &out), OK);
    ends_with(&out, "reads", "type", "failed");
    ends_with(&out, "reads", "code", "model");
    ends_with(&out, "writes", "type", "failed");
    ends_with(&out, "writes", "code", "model");
    assert_int_equal(count_events(&out, "type", "failed"), 2);
    assert_int_equal(count_events(&out, "type", "error"), 0);
    ends_with(&out, "good", "text", text);
    ends_with(&out, "next", "text", text);
    stdio_out_fini(&out);
    engine_close(e);
    json_decref(alone);
    unlink(whole);
    unlink(broken);
    assert_int_equal(rmdir(dir), 0);
}

static int open_engine(void **state)
{
    (void)state;
    os_init();
    return engine_open(&engine, &(struct engine_opts){.n_thread = 1}) ? -1 : 0;
}

static int close_engine(void **state)
{
    (void)state;
    engine_close(engine);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes_queue),
        cmocka_unit_test(test_bytes_no_memory),
        cmocka_unit_test(test_utf8_bad),
        cmocka_unit_test(test_lines_any_cut),
        cmocka_unit_test(test_lines_last),
        cmocka_unit_test(test_lines_long_one_is_not_kept),
        cmocka_unit_test(test_memory_of_values),
        cmocka_unit_test(test_memory_is_bounded),
        cmocka_unit_test(test_out_reader_that_stalls),
        cmocka_unit_test(test_out_reader_that_leaves),
        cmocka_unit_test(test_out_not_writable),
        cmocka_unit_test(test_out_no_half_lines),
        cmocka_unit_test(test_out_finishes_a_line),
        cmocka_unit_test(test_out_gives_up),
        cmocka_unit_test(test_out_whole_lines),
        cmocka_unit_test(test_poll),
        cmocka_unit_test(test_talk_no_memory),
        cmocka_unit_test(test_one_fails),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, open_engine, close_engine);
}
