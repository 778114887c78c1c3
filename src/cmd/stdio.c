/*
 * stdio.c: answers a program on a pipe, in the protocol of docs/STDIO.md.
 *
 * One thread turns between three things, none of which waits for another: it reads lines, it
 * computes a token of every answer, it writes events. It sleeps only when there is nothing to
 * compute or nobody takes what was computed.
 *
 *     pipe -> stdio_in --lines--> talk (queue, conversations, crew) --events--> stdio_out -> pipe
 *
 * A reader that stops reading pauses the answers (STDIO_OUT_PAUSE_BYTES), not the input: a cancel
 * or a bye still works. A client that also sends thousands of lines without reading one event is no
 * longer read from either (STDIO_OUT_BYTES_MAX) until it reads. After the end of the input a reader
 * that takes nothing for --linger seconds ends the program.
 *
 * Between two tokens all input is read that is there, as far as a line may be long: a cancel behind
 * a large request waits for no more than that.
 */
#include "base/limits.h"
#include "base/mem.h"
#include "base/os.h"
#include "cmd/common.h"
#include "cmd/sampling.h"
#include "cmd/stdio_in.h"
#include "cmd/stdio_talk.h"
#include "crew.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#define CHUNK_BYTES 65536 /* of one read: what a pipe holds */
#define REFILL_MS 1       /* more than a writer that is woken needs, less than a token */

struct stdio_opts {
    struct common_opts common;
    uint32_t linger_s;
};

#define AT(field) offsetof(struct stdio_opts, field)

static const struct cli_opt rows[] = {
    {"linger", 0, CLI_U32, AT(linger_s), .arg = "SECONDS", .max = 86400, .def = "60",
     .help = "how long a reader may take nothing after the end of the input; 0: for ever"},
    {0},
};

struct stdio {
    const struct stdio_opts *o;
    struct engine *e;
    struct sampling sampling;
    struct stdio_talk *talk;
    struct stdio_in in;
    struct stdio_out out;
    char *chunk;       /* (CHUNK_BYTES) */
    size_t n_read;     /* bytes that the last look brought */
    uint64_t heard_ns; /* os_time_ns() of the last read, that of the end included */
};

/* ---- input ----------------------------------------------------------------------------------- */

/* The lines that are there, unless too many events wait. */
static enum err take_lines(struct stdio *s)
{
    enum err err = OK;
    while (err == OK && stdio_out_waiting(&s->out) < STDIO_OUT_BYTES_MAX) {
        const char *line;
        size_t n;
        const enum stdio_in_what what = stdio_in_next(&s->in, &line, &n);
        if (what == STDIO_IN_NONE) break;
        err = what == STDIO_IN_LINE ? stdio_talk_line(s->talk, s->in.i_line, line, n)
                                    : stdio_talk_too_long(s->talk, s->in.i_line);
    }
    return err;
}

static bool may_read(const struct stdio *s)
{
    return !s->in.ended && stdio_out_waiting(&s->out) < STDIO_OUT_BYTES_MAX;
}

/* One read of what is there; it does not wait, since poll() has said so. */
static enum err read_some(struct stdio *s)
{
    const ssize_t n = read(STDIN_FILENO, s->chunk, CHUNK_BYTES);
    s->heard_ns = os_time_ns();
    s->n_read = n > 0 ? (size_t)n : 0;
    if (n > 0) return stdio_in_put(&s->in, s->chunk, (size_t)n);
    if (n < 0 && (errno == EINTR || errno == EAGAIN)) return OK;
    if (n < 0)
        return err_set(ERR_RUN, "standard input cannot be read: %s; give it a pipe or a file",
                       strerror(errno));
    stdio_in_end(&s->in);
    return OK;
}

/* ---- the turn of three ----------------------------------------------------------------------- */

/* After the end, how much longer to wait for a client that neither says nor takes anything; before
 * it, and where nothing is to be taken, for ever: -1. */
static int patience_ms(const struct stdio *s)
{
    const bool is_end = s->in.ended || stdio_talk_is_closing(s->talk);
    if (!is_end || s->o->linger_s == 0 || stdio_out_waiting(&s->out) == 0) return -1;
    const uint64_t last_ns = s->heard_ns > s->out.taken_ns ? s->heard_ns : s->out.taken_ns;
    const uint64_t idle_ms = (os_time_ns() - last_ns) / 1000000;
    const uint64_t most_ms = (uint64_t)s->o->linger_s * 1000;
    return idle_ms < most_ms ? (int)(most_ms - idle_ms) : 0;
}

/* Waits until there is input or the reader takes something, and reads; without `waits` it only
 * looks. */
static enum err look(struct stdio *s, bool waits)
{
    struct pollfd p[2] = {{.fd = may_read(s) ? STDIN_FILENO : -1, .events = POLLIN},
                          {.fd = STDOUT_FILENO}};
    if (waits && stdio_out_waiting(&s->out) > 0) p[1].events = POLLOUT;
    const int timeout_ms = waits ? patience_ms(s) : 0;
    s->n_read = 0;
    const enum err err = os_poll(p, 2, timeout_ms);
    if (err) return err;
    if (p[1].revents & (POLLERR | POLLHUP)) return ERR_END; /* nobody reads any more */
    if (p[0].revents) return read_some(s);
    if (timeout_ms < 0 || !waits || p[1].revents || patience_ms(s) > 0) return OK;
    return err_set(ERR_RUN,
                   "standard output: its reader has taken nothing for %" PRIu32
                   " s; %zu bytes are lost (--linger sets the time)",
                   s->o->linger_s, stdio_out_waiting(&s->out));
}

/* A further look for input alone. A pipe holds less than a long line: in the midst of one, its
 * writer, which our read has woken, gets a moment. */
static enum err look_again(struct stdio *s)
{
    struct pollfd p = {.fd = may_read(s) ? STDIN_FILENO : -1, .events = POLLIN};
    s->n_read = 0;
    const enum err err = os_poll(&p, 1, stdio_in_in_line(&s->in) ? REFILL_MS : 0);
    return err || p.revents == 0 ? err : read_some(s);
}

/* Reads and understands what is there, at most about as much as the longest line. */
static enum err hear(struct stdio *s, bool waits)
{
    size_t n = 0;
    enum err err = look(s, waits);
    while (err == OK && s->n_read > 0) {
        n += s->n_read;
        err = take_lines(s);
        if (n >= STDIO_LINE_BYTES_MAX) break;
        if (err == OK) err = look_again(s);
    }
    return err;
}

/* Until a bye or the end of the input, and until what was accepted by then is answered. */
static enum err serve(struct stdio *s)
{
    for (;;) {
        enum err err = stdio_out_flush(&s->out);
        if (err == OK) err = take_lines(s);
        if (err) return err;
        if (stdio_in_is_over(&s->in)) stdio_talk_end(s->talk);
        const bool works = stdio_talk_has_work(s->talk);
        if (stdio_talk_is_closing(s->talk) && !works) return OK;
        const bool computes = works && stdio_out_waiting(&s->out) <= STDIO_OUT_PAUSE_BYTES;
        err = hear(s, !computes);
        if (err == OK && computes) err = stdio_talk_turn(s->talk);
        if (err) return err;
    }
}

/* Everything goes out that the reader will take; nothing is read any more. */
static enum err drain(struct stdio *s)
{
    if (!s->in.ended) stdio_in_end(&s->in);
    enum err err = stdio_out_flush(&s->out);
    while (err == OK && stdio_out_waiting(&s->out) > 0) {
        err = look(s, true);
        if (err == OK) err = stdio_out_flush(&s->out);
    }
    return err;
}

/* ---- from the command line ------------------------------------------------------------------- */

static enum err open_talk(struct stdio *s)
{
    const struct common_opts *const o = &s->o->common;
    const struct chat *c = NULL;
    enum err err = cmd_open_run(&s->e, o, cmd_n_ctx(o, 0), crew_n_session(o->n_parallel));
    if (err == OK && !o->raw) err = engine_chat(s->e, &c); /* a broken template: said at once */
    if (err == OK) err = sampling_init(&s->sampling, o, s->e, false);
    if (err) return err;
    if (c) cmd_note_chat(o, s->e, chat_kind(c));
    s->chunk = mem_alloc(MEM_MISC, CHUNK_BYTES);
    if (!s->chunk) return ERR_MEMORY;
    const struct stdio_talk_opts to = {.session = cmd_session_opts(s->e, o, cmd_n_ctx(o, 0)),
                                       .n_seat = o->n_parallel,
                                       .gen = &s->sampling.gen,
                                       .raw = o->raw,
                                       .seed_given = s->sampling.seed_given};
    return stdio_talk_open(&s->talk, s->e, &to, &s->out);
}

static enum err run_stdio(struct stdio *s, struct common_opts *common)
{
    enum err err = cmd_model(common, false);
    if (err == OK) err = open_talk(s);
    if (err) return err;
    err = serve(s);
    if (err == OK) err = stdio_talk_bye(s->talk);
    return err ? err : drain(s);
}

static int stdio_main(void *opts)
{
    struct stdio_opts *const o = opts;
    struct stdio s = {.o = o, .in = {.n_max = STDIO_LINE_BYTES_MAX}, .out = {.fd = STDOUT_FILENO}};
    const enum err err = run_stdio(&s, &o->common);
    const int code = cmd_exit(err);
    if (err == ERR_INTR) stdio_out_finish_line(&s.out);
    if (err && err != ERR_END && err != ERR_INTR && s.talk)
        (void)drain(&s); /* the requests have been told what went wrong, and so has the user */
    stdio_talk_close(s.talk);
    stdio_in_fini(&s.in);
    stdio_out_fini(&s.out);
    mem_free(s.chunk);
    sampling_fini(&s.sampling);
    engine_close(s.e);
    return code;
}

const struct cli_cmd cmd_stdio = {
    .name = "stdio",
    .args = "[MODEL]",
    .brief = "answer a program on a pipe: JSON lines in, JSON lines out",
    .text = "Speaks a protocol of one JSON object per line on standard input and output: requests "
            "in, the text of several answers out as it is written, conversations, cancelling. "
            "docs/STDIO.md describes it. Sampling options are the defaults of requests. Try: "
            "echo '{\"type\":\"generate\",\"prompt\":\"Hi\"}' | moxie stdio",
    .opts = {rows, common_parallel, common_raw, common_ctx, common_sampling, common_model,
             common_pre, common_chat, common_threads, common_compute, common_kv, common_talk},
    .opts_bytes = sizeof(struct stdio_opts),
    .pos_max = 1,
    .pos_offset = AT(common.pos),
    .main = stdio_main,
};
