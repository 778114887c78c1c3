/*
 * chat_history.c: the history file: read at the start, appended to, shortened when it has grown.
 *
 * Each entry is appended with one write() to a file opened for appending, so that chats in two
 * windows keep all lines whole. Only at the start, and only when the file has twice the entries or
 * bytes that are kept, it is written anew: into a file beside it, which takes its place. Where the
 * name is a symbolic link, all this happens to the file that it leads to.
 */
#include "cmd/chat_history.h"

#include "base/limits.h"
#include "base/mem.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_MODE 0600 /* what people type is nobody else's business */
#define DIR_MODE 0700

static enum err failed(const char *path, const char *what)
{
    return err_set(ERR_RUN, "%s: cannot be %s: %s; what you type is not kept for the next chat",
                   path, what, strerror(errno));
}

/* ---- place ----------------------------------------------------------------------------------- */

/* Makes the directories of path, which is absolute, up to its last slash. */
static enum err make_dirs(char *path)
{
    for (char *p = strchr(path + 1, '/'); p; p = strchr(p + 1, '/')) {
        *p = '\0';
        const bool fine = mkdir(path, DIR_MODE) == 0 || errno == EEXIST;
        const enum err err = fine ? OK : failed(path, "made");
        *p = '/';
        if (err) return err;
    }
    return OK;
}

/* *path stays NULL where there is no home. A relative XDG_STATE_HOME counts as unset, as its
 * specification says. */
static enum err find_path(char **path)
{
    const char *const state = getenv("XDG_STATE_HOME"), *const home = getenv("HOME");
    const bool has_state = state && state[0] == '/';
    if (!has_state && !(home && home[0] == '/')) return OK;
    const size_t n = strlen(has_state ? state : home) + sizeof "/.local/state/moxie/history";
    *path = mem_alloc(MEM_MISC, n);
    if (!*path) return ERR_MEMORY;
    snprintf(*path, n, "%s%s/moxie/history", has_state ? state : home,
             has_state ? "" : "/.local/state");
    return make_dirs(*path);
}

/* ---- reading --------------------------------------------------------------------------------- */

/* In place; returns s. */
static char *unescape(char *s)
{
    char *to = s;
    for (const char *from = s; *from; from++) {
        const bool is_pair = from[0] == '\\' && (from[1] == 'n' || from[1] == '\\');
        if (is_pair) from++;
        *to++ = is_pair && *from == 'n' ? '\n' : *from;
    }
    *to = '\0';
    return s;
}

/* The end of the file, at most n_bytes_max bytes of it, NUL-terminated. */
static enum err read_end(int fd, const char *path, size_t n_bytes_max, char **text, bool *is_cut)
{
    const off_t size = lseek(fd, 0, SEEK_END);
    if (size < 0) return failed(path, "read");
    *is_cut = (uintmax_t)size > n_bytes_max;
    const size_t n = *is_cut ? n_bytes_max : (size_t)size;
    *text = mem_alloc(MEM_MISC, n + 1);
    if (!*text) return ERR_MEMORY;
    const ssize_t n_read = pread(fd, *text, n, size - (off_t)n);
    if (n_read < 0) return failed(path, "read");
    (*text)[n_read] = '\0';
    for (char *p = *text; p < *text + n_read; p++)
        if (*p == '\0') *p = '?'; /* lines of a damaged disk */
    return OK;
}

/* The part of text that holds the last n_max lines; *n_line: how many there are in all. */
static char *last_lines(char *text, size_t n_max, size_t *n_line)
{
    *n_line = 0;
    for (const char *p = text; *p; p++) *n_line += *p == '\n' || p[1] == '\0';
    for (size_t n = *n_line; n > n_max; n--) text = strchr(text, '\n') + 1;
    return text;
}

static bool write_whole(int fd, const char *text, size_t n)
{
    while (n > 0) {
        const ssize_t n_written = write(fd, text, n);
        if (n_written < 0 && errno == EINTR) continue;
        if (n_written < 0) return false;
        text += n_written;
        n -= (size_t)n_written;
    }
    return true;
}

static enum err shorten(const char *path, const char *lines)
{
    char target[PATH_MAX];
    if (!realpath(path, target)) return failed(path, "shortened");
    const size_t n_temp = strlen(target) + 32;
    char *const temp = mem_alloc(MEM_MISC, n_temp);
    if (!temp) return ERR_MEMORY;
    snprintf(temp, n_temp, "%s.part%ld", target, (long)getpid());
    const int fd = open(temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, FILE_MODE);
    bool fine = fd >= 0 && write_whole(fd, lines, strlen(lines));
    if (fd >= 0) fine = close(fd) == 0 && fine;
    fine = fine && rename(temp, target) == 0;
    const enum err err = fine ? OK : failed(path, "shortened");
    if (!fine) unlink(temp);
    mem_free(temp);
    return err;
}

static enum err load(struct chat_history *h, int fd, chat_history_fn *each, void *ctx)
{
    char *text = NULL;
    bool is_cut = false;
    size_t n_line = 0;
    enum err err = read_end(fd, h->path, CHAT_HISTORY_BYTES_MAX, &text, &is_cut);
    if (err) goto done;
    char *lines = text;
    if (is_cut) lines = strchr(text, '\n') ? strchr(text, '\n') + 1 : text + strlen(text);
    lines = last_lines(lines, CHAT_HISTORY_ENTRIES, &n_line);
    h->open_line = *lines && lines[strlen(lines) - 1] != '\n';
    if (is_cut || n_line > 2 * CHAT_HISTORY_ENTRIES) err = shorten(h->path, lines);
    for (char *next; *lines; lines = next) {
        char *const end = strchr(lines, '\n');
        next = end ? end + 1 : lines + strlen(lines);
        if (end) *end = '\0';
        if (*lines) each(ctx, unescape(lines));
    }
done:
    mem_free(text);
    return err;
}

/* A file for its owner alone. Anything else of that name is left as it is. */
static enum err make_private(int fd, const char *path)
{
    struct stat st;
    if (fstat(fd, &st) != 0) return failed(path, "read");
    if (!S_ISREG(st.st_mode))
        return err_set(ERR_RUN,
                       "%s: is no regular file; what you type is not kept for the next chat", path);
    return fchmod(fd, FILE_MODE) == 0 ? OK : failed(path, "made private");
}

enum err chat_history_open(struct chat_history *h, chat_history_fn *each, void *ctx)
{
    assert(h);
    assert(each);
    *h = (struct chat_history){0};
    enum err err = find_path(&h->path);
    if (err == OK && !h->path) return OK;
    const int fd = err ? -1 : open(h->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOCTTY, FILE_MODE);
    if (err == OK && fd < 0) err = failed(h->path, "opened");
    if (err == OK) err = make_private(fd, h->path);
    if (err == OK) err = load(h, fd, each, ctx);
    if (fd >= 0) close(fd);
    if (err) chat_history_close(h);
    return err;
}

/* ---- writing --------------------------------------------------------------------------------- */

/* text as a line at `to`, which has room for 2 n + 2 bytes; returns its length. */
static size_t escape(char *to, const char *text, size_t n)
{
    size_t n_to = 0;
    for (size_t i = 0; i < n; i++) {
        const bool is_pair = text[i] == '\n' || text[i] == '\\';
        if (is_pair) to[n_to++] = '\\';
        to[n_to++] = text[i] == '\n' ? 'n' : text[i];
    }
    to[n_to++] = '\n';
    return n_to;
}

enum err chat_history_add(struct chat_history *h, const char *text, size_t n)
{
    assert(h);
    assert(text);
    if (!h->path || n == 0 || n > CHAT_HISTORY_ENTRY_BYTES_MAX) return OK;
    char *const line = mem_alloc(MEM_MISC, 2 * n + 3); /* and the end of somebody else's line */
    if (!line) return ERR_MEMORY;
    size_t n_line = 0;
    if (h->open_line) line[n_line++] = '\n';
    n_line += escape(line + n_line, text, n);
    const int flags = O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY;
    const int fd = open(h->path, flags, FILE_MODE);
    bool fine = fd >= 0 && write_whole(fd, line, n_line);
    if (fd >= 0) fine = close(fd) == 0 && fine;
    const enum err err = fine ? OK : failed(h->path, "written");
    if (fine) h->open_line = false;
    mem_free(line);
    return err;
}

void chat_history_close(struct chat_history *h)
{
    assert(h);
    mem_free(h->path);
    *h = (struct chat_history){0};
}
