/*
 * batch_out.c: appends lines to a file that other processes may kill, fill up or read meanwhile.
 *
 * It knows how many bytes of the file are whole lines, and cuts it back to them when a write fails
 * half-way. Nothing is buffered: a line is one write().
 */
#include "cmd/batch_out.h"

#include "base/mem.h"
#include "base/os.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define SYNC_NS 5000000000u /* a power cut costs at most the work of the last five seconds */
#define PIECE_BYTES ((size_t)64 << 10)

static bool is_stdout(const char *path)
{
    return strcmp(path, "-") == 0;
}

static enum err cannot_write(const struct batch_out *o, int error)
{
    return err_set(ERR_RUN, "%s: cannot be written: %s", o->name, strerror(error));
}

static enum err check_mode(const char *path, enum batch_out_mode mode, bool exists, bool is_file)
{
    if (mode == BATCH_OUT_RESUME && exists && !is_file)
        return err_set(ERR_USAGE,
                       "--resume needs an output file that can be read again, and %s is none; "
                       "write to a file (-o FILE)",
                       is_stdout(path) ? "standard output" : path);
    if (mode == BATCH_OUT_NEW && exists && is_file)
        return err_set(ERR_USAGE,
                       "-o: %s exists already; --resume goes on where it ends, --force begins anew "
                       "and discards what is in it",
                       path);
    return OK;
}

enum err batch_out_check(const char *path, enum batch_out_mode mode)
{
    assert(path);
    struct stat st;
    const size_t n = strlen(path);
    if (n >= 3 && strcmp(path + n - 3, ".gz") == 0)
        return err_set(ERR_USAGE,
                       "-o: %s would not be gzip; choose a name without .gz, and pack "
                       "the file when it is complete",
                       path);
    if (is_stdout(path)) return check_mode(path, mode, true, false);
    const bool exists = stat(path, &st) == 0;
    return check_mode(path, mode, exists, exists && S_ISREG(st.st_mode));
}

/* Counts the whole lines that are there, and the bytes that follow them. */
static enum err count_old(struct batch_out *o)
{
    char *const buf = mem_alloc(MEM_MISC, PIECE_BYTES);
    if (!buf) return ERR_MEMORY;
    uint64_t at = 0;
    ssize_t n;
    while ((n = pread(o->fd, buf, PIECE_BYTES, (off_t)at)) > 0) {
        for (ssize_t i = 0; i < n; i++) {
            if (buf[i] != '\n') continue;
            o->n_old++;
            o->n_bytes = at + (uint64_t)i + 1;
        }
        at += (uint64_t)n;
    }
    mem_free(buf);
    if (n < 0) return err_set(ERR_RUN, "%s: cannot be read: %s", o->name, strerror(errno));
    o->n_torn = at - o->n_bytes;
    return OK;
}

/* The file is open and perhaps somebody else's, or of an earlier run. */
static enum err take_over(struct batch_out *o, enum batch_out_mode mode)
{
    struct stat st;
    if (fstat(o->fd, &st) != 0) return cannot_write(o, errno);
    o->is_file = S_ISREG(st.st_mode);
    if (!o->is_file) return OK;
    /* Some network file systems know no locks; then there is none. */
    if (flock(o->fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK)
        return err_set(ERR_USAGE,
                       "-o: another process is writing %s; wait for it, or choose another name",
                       o->name);
    if (mode == BATCH_OUT_RESUME) return count_old(o);
    if (mode == BATCH_OUT_NEW) /* empty, unless it came into being a moment ago */
        return check_mode(o->path, mode, st.st_size > 0, true);
    return ftruncate(o->fd, 0) == 0 ? OK : cannot_write(o, errno);
}

enum err batch_out_open(struct batch_out *o, const char *path, enum batch_out_mode mode)
{
    assert(o);
    assert(path);
    *o = (struct batch_out){.path = path,
                            .name = is_stdout(path) ? "standard output" : path,
                            .fd = STDOUT_FILENO,
                            .synced_ns = os_time_ns()};
    if (is_stdout(path)) return OK;
    const int access = mode == BATCH_OUT_RESUME ? O_RDWR : O_WRONLY;
    o->fd = open(path, access | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY, 0666);
    if (o->fd < 0) return cannot_write(o, errno);
    const enum err err = take_over(o, mode);
    if (err == OK) return OK;
    close(o->fd);
    o->fd = -1;
    return err;
}

/* 0, or the error number. */
static int write_fully(const struct batch_out *o, const char *s, size_t n)
{
    while (n > 0) {
        const ssize_t k = write(o->fd, s, n);
        if (k < 0 && errno == EINTR && !os_interrupted()) continue;
        if (k <= 0) return k < 0 ? errno : EIO;
        s += k;
        n -= (size_t)k;
    }
    return 0;
}

enum err batch_out_cut(struct batch_out *o)
{
    assert(o->fd >= 0);
    if (o->n_torn > 0 && ftruncate(o->fd, (off_t)o->n_bytes) != 0) return cannot_write(o, errno);
    o->n_torn = 0;
    return OK;
}

enum err batch_out_put(struct batch_out *o, const char *line, size_t n)
{
    assert(o->fd >= 0);
    assert(o->n_torn == 0);
    assert(n > 0);
    assert(line[n - 1] == '\n');
    const int error = write_fully(o, line, n);
    if (error == 0) {
        o->n_bytes += n;
        const uint64_t now = os_time_ns();
        if (!o->is_file || now - o->synced_ns < SYNC_NS) return OK;
        o->synced_ns = now;
        return fdatasync(o->fd) == 0 ? OK : cannot_write(o, errno);
    }
    /* If cutting fails as well, the next --resume does it. */
    const int cut = o->is_file ? ftruncate(o->fd, (off_t)o->n_bytes) : 0;
    (void)cut;
    if (error == EPIPE) return ERR_END;
    if (error == EINTR) return err_set(ERR_INTR, "interrupted while writing %s", o->name);
    return cannot_write(o, error);
}

enum err batch_out_close(struct batch_out *o)
{
    assert(o);
    const int fd = o->fd;
    o->fd = -1;
    if (fd < 0 || fd == STDOUT_FILENO) return OK;
    const int error = o->is_file && fsync(fd) != 0 ? errno : 0;
    if (close(fd) != 0 && !error) return cannot_write(o, errno);
    return error ? cannot_write(o, error) : OK;
}
