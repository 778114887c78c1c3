/*
 * stdio_out.c: a queue of bytes in front of a pipe.
 *
 * Non-blocking without O_NONBLOCK: that flag belongs to the open file, which the parent and its
 * other children share, and their writes would begin to fail. poll() says that a pipe has room for
 * PIPE_BUF bytes (sockets have more); no more than that is written at once, so no write waits. A
 * write is as many whole lines as that holds; only a longer line goes out in parts.
 */
#include "cmd/stdio_out.h"

#include "base/limits.h"
#include "base/mem.h"
#include "base/os.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#define NS_PER_MS 1000000
#define REAL_DIGITS 15 /* a decimal number of so many digits comes out as it is */

static int put_piece(const char *data, size_t n, void *held)
{
    return bytes_put(held, data, n) ? -1 : 0;
}

enum err stdio_out_event(struct stdio_out *o, json_t *event)
{
    assert(o);
    assert(!event || json_is_string(json_object_get(event, "type")));
    const size_t n_before = bytes_n(&o->held);
    if (n_before == 0) o->taken_ns = os_time_ns();
    const size_t flags = JSON_COMPACT | JSON_REAL_PRECISION(REAL_DIGITS);
    enum err err = OK;
    if (!event || json_dump_callback(event, put_piece, &o->held, flags))
        err = mem_short("an event");
    if (err == OK) err = bytes_put(&o->held, "\n", 1);
    if (err) bytes_cut(&o->held, n_before); /* no part of a line goes out */
    json_decref(event);
    return err;
}

/* One write of what is held; poll() has said that there is room. */
static enum err write_some(struct stdio_out *o)
{
    const char *const at = bytes_at(&o->held);
    const size_t n_most = bytes_n(&o->held) < PIPE_BUF ? bytes_n(&o->held) : PIPE_BUF;
    const char *const newline = memrchr(at, '\n', n_most);
    const ssize_t n = write(o->fd, at, newline ? (size_t)(newline - at) + 1 : n_most);
    if (n > 0) {
        o->in_line = at[n - 1] != '\n';
        o->taken_ns = os_time_ns();
        bytes_drop(&o->held, (size_t)n);
    }
    if (n >= 0) return OK;
    if (errno == EAGAIN || errno == EINTR) return OK; /* the parent may have set O_NONBLOCK */
    if (errno == EPIPE) return ERR_END;
    return err_set(ERR_RUN, "standard output cannot be written: %s", strerror(errno));
}

enum err stdio_out_flush(struct stdio_out *o)
{
    enum err err = OK;
    size_t n_before = SIZE_MAX; /* until nothing is taken any more */
    while (err == OK && bytes_n(&o->held) > 0 && bytes_n(&o->held) < n_before) {
        struct pollfd p = {.fd = o->fd, .events = POLLOUT};
        n_before = bytes_n(&o->held);
        err = os_poll(&p, 1, 0);
        if (err == OK && p.revents) err = write_some(o);
    }
    return err;
}

void stdio_out_finish_line(struct stdio_out *o)
{
    const uint64_t end_ns = os_time_ns() + STDIO_FINISH_MS * NS_PER_MS;
    const char *const at = bytes_at(&o->held);
    const char *const newline = o->in_line ? memchr(at, '\n', bytes_n(&o->held)) : NULL;
    assert(newline || !o->in_line);
    bytes_cut(&o->held, newline ? (size_t)(newline - at) + 1 : 0);
    for (uint64_t now_ns; bytes_n(&o->held) > 0 && (now_ns = os_time_ns()) < end_ns;) {
        struct pollfd p = {.fd = o->fd, .events = POLLOUT};
        /* not os_poll(): it refuses to wait after an interrupt */
        const int n = poll(&p, 1, (int)((end_ns - now_ns) / NS_PER_MS) + 1);
        if (n > 0 && write_some(o)) break;
    }
    bytes_cut(&o->held, 0);
}

size_t stdio_out_waiting(const struct stdio_out *o)
{
    return bytes_n(&o->held);
}

void stdio_out_fini(struct stdio_out *o)
{
    bytes_fini(&o->held);
}
