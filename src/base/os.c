/*
 * os.c: files, clock and signals, on POSIX with Linux's /proc and mremap(). CPUs are counted in
 * os_cpu.c.
 *
 * SIGBUS guard. Weights are read straight from the mapped file, and the kernel answers a read
 * beyond the end of a file that has shrunk with SIGBUS. The handler looks the address up in a table
 * of our mappings, puts zero pages over the rest of the mapping with one mmap (a plain system call,
 * safe in a handler; so is fstat(), which tells a shrunken file from a disk that fails), marks the
 * mapping broken and returns: the step finishes with zeros and the
 * engine, which asks os_map_broken() after each step, throws its result away. Any other SIGBUS is a
 * bug: the default action is restored and the instruction runs into it again.
 *
 * Table of mappings: a fixed array, read by the handler without a lock. A slot is claimed by
 * changing its start from FREE to CLAIMED, and becomes visible when start holds the address, which
 * is stored last; it is withdrawn before the mapping goes away.
 *
 * Terminal guard. Whoever changes the settings of the terminal hands over the old ones; the handler
 * of what stops or ends the process puts them back first, SIGCONT brings the changed ones again.
 * tcgetattr(), tcsetattr(), tcgetpgrp() and write() are safe in a handler (POSIX).
 *
 * The file's variables are that table, the signal flags and the guarded settings; signal handlers
 * have no other way.
 */
#include "base/os.h"

#include "base/limits.h"
#include "base/mem.h"
#include "base/part.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

static_assert(sizeof(off_t) == 8,
              "files over 2 GiB: on 32-bit systems define _FILE_OFFSET_BITS=64");

/* Two models of the largest number of parts (a draft model beside the main one), and a few
 * single files. */
#define MAPS_MAX (2 * GGUF_SPLITS_MAX + 64)

enum { FREE = 0, CLAIMED = 1 }; /* values of start that are no address of a mapping */

static struct {
    atomic_uintptr_t start;
    atomic_uintptr_t end; /* rounded up to a page */
    atomic_int fd;
    atomic_int error; /* of the first read that failed; 0: none, or the file became shorter */
    atomic_bool broken;
} maps[MAPS_MAX];

/* What ends the work: Ctrl-C, kill, a terminal that went away. */
static const int interrupts[] = {SIGINT, SIGTERM, SIGHUP};
#define N_INTERRUPTS (sizeof interrupts / sizeof interrupts[0])

static volatile sig_atomic_t interrupted; /* 0, or the signal */
static volatile sig_atomic_t is_patient;  /* a repeated SIGINT does not kill */
static volatile sig_atomic_t page_bytes;  /* sysconf() is not promised to be safe in a handler */

/* Changed only while the signals below are held. */
static struct {
    struct termios normal, own; /* before we changed them; ours, while has_left */
    const char *leave;          /* (n_leave) what undoes other changes; NULL: nothing is guarded */
    size_t n_leave;
    bool has_left; /* the settings are `normal` because we are stopped */
} guard;

/* Stop or end the process without asking. */
static const int leaving[] = {SIGTSTP, SIGQUIT};
#define N_LEAVING (sizeof leaving / sizeof leaving[0])

/* ---- signals --------------------------------------------------------------------------------- */

static void mark_broken(size_t i_slot, int error)
{
    int none = 0;
    if (error) atomic_compare_exchange_strong(&maps[i_slot].error, &none, error);
    atomic_store(&maps[i_slot].broken, true);
}

/* Is there such a byte in the file? */
static bool file_has(int fd, size_t at)
{
    struct stat st;
    return fstat(fd, &st) == 0 && at < (uint64_t)st.st_size;
}

/* Zero pages from the fault to the end of its mapping: what follows the first missing page of a
 * shrunken file is missing too, and one call per fault would take minutes for a large file. */
static bool patch_mapping(uintptr_t fault)
{
    const uintptr_t page = fault & ~((uintptr_t)page_bytes - 1);
    for (size_t i = 0; i < MAPS_MAX; i++) {
        const uintptr_t start = atomic_load(&maps[i].start);
        if (start <= CLAIMED || fault < start) continue;
        const uintptr_t end = atomic_load(&maps[i].end);
        if (fault >= end || atomic_load(&maps[i].start) != start) continue;
        void *at = (void *)page;
        const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE;
        if (mmap(at, end - page, PROT_READ, flags, -1, 0) != at) return false;
        mark_broken(i, file_has(atomic_load(&maps[i].fd), page - start) ? EIO : 0);
        return true;
    }
    return false;
}

static void on_sigbus(int sig, siginfo_t *info, void *context)
{
    (void)context;
    const int errno_before = errno;
    if (!patch_mapping((uintptr_t)info->si_addr)) signal(sig, SIG_DFL);
    errno = errno_before;
}

/* The terminal as it was, if it is ours to set. */
static void leave_terminal(void)
{
    if (!guard.leave || guard.has_left || tcgetpgrp(STDIN_FILENO) != getpgrp()) return;
    if (tcgetattr(STDIN_FILENO, &guard.own) != 0) return;
    guard.has_left = tcsetattr(STDIN_FILENO, TCSANOW, &guard.normal) == 0;
    const ssize_t n = write(STDERR_FILENO, guard.leave, guard.n_leave);
    (void)n; /* a terminal that takes nothing needs nothing */
}

/* A second one is impatience; but a terminal that closes sends SIGHUP twice, and to a patient
 * program Ctrl-C is a request, however often it comes. */
static void on_interrupt(int sig)
{
    const int errno_before = errno;
    const bool is_request = is_patient && (sig == SIGINT || interrupted == SIGINT);
    if (interrupted && sig != SIGHUP && !is_request) {
        leave_terminal();
        signal(sig, SIG_DFL);
        raise(sig); /* takes effect when this handler returns */
    }
    if (sig != SIGINT || !interrupted) interrupted = sig;
    errno = errno_before;
}

void os_init(void)
{
    page_bytes = (sig_atomic_t)sysconf(_SC_PAGESIZE);
    assert(page_bytes > 0);

    struct sigaction bus = {.sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO | SA_RESTART};
    sigemptyset(&bus.sa_mask);
    sigaction(SIGBUS, &bus, NULL);

    struct sigaction pipe_ = {.sa_handler = SIG_IGN};
    sigemptyset(&pipe_.sa_mask);
    sigaction(SIGPIPE, &pipe_, NULL);

    for (size_t i = 0; i < N_INTERRUPTS; i++) {
        struct sigaction before;
        if (sigaction(interrupts[i], NULL, &before) == 0 && before.sa_handler == SIG_IGN) continue;
        struct sigaction intr = {.sa_handler =
                                     on_interrupt}; /* no SA_RESTART: a waiting read ends */
        sigemptyset(&intr.sa_mask);
        for (size_t j = 0; j < N_INTERRUPTS; j++) sigaddset(&intr.sa_mask, interrupts[j]);
        sigaction(interrupts[i], &intr, NULL);
    }
}

int os_interrupted(void)
{
    return interrupted;
}

void os_interrupt_clear(void)
{
    if (interrupted == SIGINT) interrupted = 0;
}

void os_interrupt_patient(bool yes)
{
    is_patient = yes;
}

/* They stay pending until the mask is as before. */
static void hold_signals(sigset_t *before)
{
    sigset_t held;
    sigemptyset(&held);
    for (size_t i = 0; i < N_INTERRUPTS; i++) sigaddset(&held, interrupts[i]);
    for (size_t i = 0; i < N_LEAVING; i++) sigaddset(&held, leaving[i]);
    sigaddset(&held, SIGCONT);
    sigaddset(&held, SIGWINCH);
    pthread_sigmask(SIG_BLOCK, &held, before);
}

int os_thread_start(pthread_t *thread, void *(*fn)(void *), void *arg)
{
    assert(thread);
    assert(fn);
    sigset_t before;
    hold_signals(&before);
    const int error = pthread_create(thread, NULL, fn, arg);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return error;
}

enum err os_poll(struct pollfd *p, size_t n, int timeout_ms)
{
    assert(p || n == 0);
    sigset_t before;
    hold_signals(&before); /* from the look at the flag until ppoll() waits */
    const struct timespec time = {timeout_ms / 1000, timeout_ms % 1000 * 1000000L};
    const int rc = interrupted ? 0 : ppoll(p, n, timeout_ms < 0 ? NULL : &time, &before);
    const int error = errno;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (interrupted) return err_set(ERR_INTR, "interrupted");
    if (rc < 0 && error != EINTR) return err_set(ERR_RUN, "poll: %s", strerror(error));
    for (size_t i = 0; i < n && rc <= 0; i++) p[i].revents = 0;
    return OK;
}

/* ---- terminal -------------------------------------------------------------------------------- */

/* Stops or ends the process as if there were no handler, but for the terminal. */
static void on_leaving(int sig)
{
    const int errno_before = errno;
    struct sigaction own, plain = {.sa_handler = SIG_DFL};
    sigset_t one, before;
    sigemptyset(&plain.sa_mask);
    leave_terminal();
    sigaction(sig, &plain, &own);
    raise(sig);
    sigemptyset(&one);
    sigaddset(&one, sig);
    pthread_sigmask(SIG_UNBLOCK, &one, &before); /* here it happens */
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    sigaction(sig, &own, NULL);
    errno = errno_before;
}

/* Going on in the foreground: the terminal is ours again. In the background it is somebody else's;
 * this signal comes once more when that changes. */
static void on_continue(int sig)
{
    (void)sig;
    const int errno_before = errno;
    if (guard.has_left && tcgetpgrp(STDIN_FILENO) == getpgrp())
        guard.has_left = tcsetattr(STDIN_FILENO, TCSANOW, &guard.own) != 0;
    errno = errno_before;
}

/* That it exists is all: without a handler this signal ends no call. */
static void on_resize(int sig)
{
    (void)sig;
}

/* Signals that were ignored from the start stay so. */
static void handle(int sig, void (*handler)(int))
{
    struct sigaction before, own = {.sa_handler = handler, .sa_flags = SA_RESTART};
    if (sigaction(sig, NULL, &before) == 0 && before.sa_handler == SIG_IGN) return;
    sigemptyset(&own.sa_mask);
    sigaction(sig, &own, NULL);
}

void os_terminal_guard(const struct termios *normal, const char *leave)
{
    assert(!leave == !normal);
    sigset_t before;
    hold_signals(&before);
    guard.leave = leave;
    guard.n_leave = leave ? strlen(leave) : 0;
    guard.has_left = false;
    if (normal) guard.normal = *normal;
    for (size_t i = 0; i < N_LEAVING; i++) handle(leaving[i], leave ? on_leaving : SIG_DFL);
    handle(SIGCONT, leave ? on_continue : SIG_DFL);
    handle(SIGWINCH, leave ? on_resize : SIG_DFL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

/* ---- mapped files ---------------------------------------------------------------------------- */

static size_t page_size(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

static bool slot_claim(uint32_t *i_slot)
{
    for (uint32_t i = 0; i < MAPS_MAX; i++) {
        uintptr_t expected = FREE;
        if (!atomic_compare_exchange_strong(&maps[i].start, &expected, CLAIMED)) continue;
        atomic_store(&maps[i].broken, false);
        atomic_store(&maps[i].error, 0);
        *i_slot = i;
        return true;
    }
    return false;
}

static void slot_publish(uint32_t i_slot, const void *data, size_t n_bytes, int fd)
{
    const size_t page = page_size();
    atomic_store(&maps[i_slot].end, (uintptr_t)data + (n_bytes + page - 1) / page * page);
    atomic_store(&maps[i_slot].fd, fd);
    atomic_store(&maps[i_slot].start, (uintptr_t)data);
}

/* A sentence of its own for each way in which a path is not a file that can be read. */
static enum err open_failed(const char *path, int error)
{
    switch (error) {
    case EINTR: /* of a pipe without a writer: files do not wait */
        return err_set(ERR_INTR, "interrupted while waiting for a writer of %s", path);
    case ENOENT:
        if (path[0] == '\0')
            return err_set(ERR_INPUT, "the name of the file is empty; give a path");
        return err_set(ERR_INPUT, "%s: no such file; check the path", path);
    case ENOTDIR:
        return err_set(ERR_INPUT, "%s: no such file: a part of the path is not a directory", path);
    case EACCES:
    case EPERM:
        return err_set(ERR_INPUT, "%s: no permission to read; check its owner and mode", path);
    case ELOOP:
        return err_set(ERR_INPUT, "%s: symbolic links that lead in a circle; point them at a file",
                       path);
    case ENAMETOOLONG:
        return err_set(ERR_INPUT, "%s: the path is longer than the system allows", path);
    case ENXIO:
        return err_set(ERR_INPUT, "%s: is a socket or a dead device, expected a file", path);
    default:
        return err_set(ERR_INPUT, "%s: cannot be opened: %s", path, strerror(error));
    }
}

static enum err check_regular(const char *path, const struct stat *st)
{
    if (S_ISDIR(st->st_mode))
        return err_set(ERR_INPUT, "%s: is a directory, expected a file; name the file inside it",
                       path);
    if (!S_ISREG(st->st_mode))
        return err_set(ERR_INPUT,
                       "%s: is a %s, expected a regular file; copy its contents into one", path,
                       S_ISFIFO(st->st_mode) ? "pipe" : "device or socket");
    if (st->st_size == 0)
        return err_set(ERR_INPUT, "%s: the file is empty; fetch or convert it again", path);
    if ((uint64_t)st->st_size > SIZE_MAX / 2)
        return err_set(ERR_INPUT, "%s: %jd bytes are more than this system can map", path,
                       (intmax_t)st->st_size);
    return OK;
}

static enum err map_fd(struct os_map *m, int fd, const char *path)
{
    struct stat st;
    if (fstat(fd, &st) != 0) return open_failed(path, errno);
    const enum err err = check_regular(path, &st);
    if (err) return err;
    const size_t n_bytes = (size_t)st.st_size;
    uint32_t i_slot;
    if (!slot_claim(&i_slot))
        return err_set(ERR_RUN, "%s: %d files are mapped already, the most that are supported",
                       path, MAPS_MAX);
    void *data = mmap(NULL, n_bytes, PROT_READ, MAP_SHARED, fd, 0);
    if (data == MAP_FAILED) {
        const int error = errno;
        atomic_store(&maps[i_slot].start, FREE);
        return err_set(error == ENOMEM ? ERR_MEMORY : ERR_INPUT,
                       "%s: cannot be mapped (%zu bytes): %s", path, n_bytes, strerror(error));
    }
    slot_publish(i_slot, data, n_bytes, fd);
    *m = (struct os_map){.data = data,
                         .n_bytes = n_bytes,
                         .fd = fd,
                         .mtime = st.st_mtim,
                         .i_slot = i_slot};
    return OK;
}

enum err os_map_file(struct os_map *m, const char *path)
{
    assert(m);
    assert(path);
    *m = (struct os_map){.fd = -1};
    /* O_NONBLOCK: opening a pipe must not wait for a writer; it means nothing for a file. */
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0) return open_failed(path, errno);
    const enum err err = map_fd(m, fd, path);
    if (err) close(fd);
    return err;
}

void os_unmap(struct os_map *m)
{
    if (!m || !m->data) return;
    assert(m->i_slot < MAPS_MAX);
    assert(atomic_load(&maps[m->i_slot].start) == (uintptr_t)m->data);
    atomic_store(&maps[m->i_slot].start, FREE);
    munmap((void *)(uintptr_t)m->data, m->n_bytes);
    close(m->fd);
    *m = (struct os_map){.fd = -1};
}

enum fate { FATE_SAME, FATE_WRITTEN, FATE_BROKEN };

static enum fate fate_of(const struct os_map *m)
{
    struct stat st;
    if (!m->data) return FATE_SAME;
    if (atomic_load(&maps[m->i_slot].broken)) return FATE_BROKEN;
    if (fstat(m->fd, &st) != 0 || (uint64_t)st.st_size < m->n_bytes) return FATE_BROKEN;
    const bool is_same =
        st.st_mtim.tv_sec == m->mtime.tv_sec && st.st_mtim.tv_nsec == m->mtime.tv_nsec;
    return is_same ? FATE_SAME : FATE_WRITTEN;
}

bool os_map_broken(const struct os_map *m)
{
    assert(m);
    return fate_of(m) != FATE_SAME;
}

enum err os_map_whole(const struct os_map *m, const char *path)
{
    const enum fate fate = fate_of(m);
    if (fate == FATE_SAME) return OK;
    if (fate == FATE_WRITTEN)
        return err_set(ERR_RUN, "%s: the file was written to while it was in use; start again",
                       path);
    const int error = atomic_load(&maps[m->i_slot].error);
    if (error)
        return err_set(ERR_INPUT, "%s: cannot be read: %s; check the disk, or fetch the file again",
                       path, strerror(error));
    return err_set(ERR_RUN,
                   "%s: the file became shorter while it was in use; restore it and start again",
                   path);
}

bool os_map_read(const struct os_map *m, size_t at, size_t n_bytes, void *buf)
{
    assert(m->data);
    assert(at <= m->n_bytes);
    assert(n_bytes <= m->n_bytes - at);
    for (size_t n_done = 0; n_done < n_bytes;) {
        const ssize_t n =
            pread(m->fd, (char *)buf + n_done, n_bytes - n_done, (off_t)(at + n_done));
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) {
            mark_broken(m->i_slot, n < 0 ? errno : 0);
            return false;
        }
        n_done += (size_t)n;
    }
    return true;
}

void os_map_ahead(const struct os_map *m, size_t at, size_t n_bytes)
{
    assert(m->data);
    posix_fadvise(m->fd, (off_t)at, (off_t)n_bytes, POSIX_FADV_WILLNEED); /* a wish */
}

double os_map_cached(const struct os_map *m)
{
    assert(m->data);
    enum { N_PLACE = 256, N_PAGE = 16 };
    struct stat st;
    if (fstat(m->fd, &st) != 0 || (geteuid() != st.st_uid && geteuid() != 0)) return 0;
    const size_t page = page_size();
    const size_t n_page = (m->n_bytes + page - 1) / page;
    const size_t step = n_page / N_PLACE > N_PAGE ? n_page / N_PLACE : N_PAGE;
    uint64_t n_asked = 0, n_there = 0;
    for (size_t i = 0; i < n_page; i += step) {
        unsigned char is_there[N_PAGE];
        const size_t n = n_page - i < N_PAGE ? n_page - i : N_PAGE;
        if (mincore((void *)(uintptr_t)(m->data + i * page), n * page, is_there)) return 0;
        for (size_t j = 0; j < n; j++) n_there += is_there[j] & 1;
        n_asked += n;
    }
    return (double)n_there / (double)n_asked;
}

void os_map_forget(const struct os_map *m, size_t at, size_t n_bytes)
{
    assert(m->data);
    assert(at <= m->n_bytes);
    assert(n_bytes <= m->n_bytes - at);
    const size_t page = page_size();
    const size_t begin = (at + page - 1) / page * page;
    const size_t end = at + n_bytes == m->n_bytes ? at + n_bytes : (at + n_bytes) / page * page;
    if (begin >= end) return;
    madvise((void *)(uintptr_t)(m->data + begin), end - begin, MADV_DONTNEED); /* a wish */
}

/* The file's pages; mremap() may have taken them away before it failed. */
static bool map_again(const struct os_map *m, size_t at, size_t n_bytes)
{
    void *const to = (void *)(uintptr_t)(m->data + at);
    if (mmap(to, n_bytes, PROT_READ, MAP_SHARED | MAP_FIXED, m->fd, (off_t)at) == to) return true;
    mark_broken(m->i_slot, errno);
    return false;
}

bool os_map_own(const struct os_map *m, size_t at, size_t n_bytes)
{
    assert(m->data);
    assert(at <= m->n_bytes);
    assert(n_bytes <= m->n_bytes - at);
    if (n_bytes == 0) return true;
    const size_t page = page_size();
    const size_t begin = at / page * page;
    const size_t n = (at + n_bytes + page - 1) / page * page - begin;
    const size_t left = m->n_bytes - begin; /* the file may end within the last page */
    void *const to = (void *)(uintptr_t)(m->data + begin);
    void *own = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (own == MAP_FAILED) return true;
    const bool ok = os_map_read(m, begin, n < left ? n : left, own);
    if (ok && mprotect(own, n, PROT_READ) == 0 &&
        mremap(own, n, n, MREMAP_MAYMOVE | MREMAP_FIXED, to) == to)
        return true;
    munmap(own, n);
    return map_again(m, begin, n) && ok;
}

/* ---- whole files ----------------------------------------------------------------------------- */

/* Appends everything up to the end of fd to a buffer that doubles; one byte is kept for the NUL,
 * and one to see that there is more than allowed. */
static enum err read_to_end(int fd, const char *name, size_t n_bytes_max, char **data,
                            size_t *n_bytes)
{
    size_t room = 0;
    for (;;) {
        if (*n_bytes + 1 >= room) {
            room = room ? room * 2 : 4096;
            if (room > n_bytes_max / 2) room = n_bytes_max + 2;
            char *larger = mem_realloc(MEM_MISC, *data, room);
            if (!larger) return ERR_MEMORY;
            *data = larger;
        }
        const ssize_t n = read(fd, *data + *n_bytes, room - 1 - *n_bytes);
        if (n == 0) return OK;
        if (os_interrupted()) return err_set(ERR_INTR, "interrupted while reading %s", name);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 && errno == EISDIR)
            return err_set(ERR_INPUT, "%s: is a directory, expected a file", name);
        if (n < 0) return err_set(ERR_INPUT, "%s: cannot be read: %s", name, strerror(errno));
        *n_bytes += (size_t)n;
        if (*n_bytes > n_bytes_max)
            return err_set(ERR_INPUT, "%s: longer than the %zu bytes allowed here", name,
                           n_bytes_max);
    }
}

enum err os_open_read(const char *path, int *fd)
{
    assert(path);
    assert(fd);
    *fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    return *fd < 0 ? open_failed(path, errno) : OK;
}

enum err os_read_all(const char *path, size_t n_bytes_max, char **data, size_t *n_bytes)
{
    assert(path);
    assert(data);
    assert(n_bytes);
    assert(n_bytes_max < SIZE_MAX / 4);
    *data = NULL;
    *n_bytes = 0;
    const bool is_stdin = strcmp(path, "-") == 0;
    int fd = STDIN_FILENO;
    enum err err = is_stdin ? OK : os_open_read(path, &fd);
    if (err) return err;
    err = read_to_end(fd, is_stdin ? "standard input" : path, n_bytes_max, data, n_bytes);
    if (err) {
        mem_free(*data);
        *data = NULL;
        *n_bytes = 0;
    }
    if (!is_stdin) close(fd);
    return err;
}

enum err os_write_failed(const char *name, int error)
{
    assert(name);
    if (os_interrupted()) return err_set(ERR_INTR, "interrupted while writing %s", name);
    return err_set(ERR_RUN, "%s: cannot be written: %s", name,
                   error ? strerror(error) : "the disk may be full");
}

enum err os_write_all(const char *path, const void *data, size_t n_bytes)
{
    assert(path);
    assert(data || n_bytes == 0);
    struct part p;
    const enum err err = part_open(&p, path);
    if (err) return err;
    fwrite(data, 1, n_bytes, p.f); /* the commit sees whether it went well */
    return part_commit(&p);
}

/* ---- clock, randomness, memory, terminal ----------------------------------------------------- */

uint64_t os_time_ns(void)
{
    struct timespec t;
    const int rc = clock_gettime(CLOCK_MONOTONIC, &t);
    assert(rc == 0);
    (void)rc;
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

int64_t os_clock_local(void)
{
    const time_t now = time(NULL);
    struct tm tm;
    return localtime_r(&now, &tm) ? now + tm.tm_gmtoff : now;
}

bool os_clock_parse(const char *text, int64_t *seconds)
{
    assert(text && seconds);
    struct tm tm = {0};
    const char *const end = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
    if (!end || *end) return false;
    const struct tm given = tm;
    *seconds = timegm(&tm); /* which turns February 31 into a day of March */
    return tm.tm_mday == given.tm_mday && tm.tm_mon == given.tm_mon && tm.tm_sec == given.tm_sec;
}

uint64_t os_random_seed(void)
{
    uint64_t seed;
    if (getrandom(&seed, sizeof seed, 0) == (ssize_t)sizeof seed) return seed;
    /* A kernel before 3.17, or one that forbids the call: different from run to run is all that
     * is needed. */
    return os_time_ns() * 0x9e3779b97f4a7c15u ^ (uint64_t)getpid();
}

uint64_t os_rss_peak_bytes(void)
{
    /* Not getrusage(): its maximum starts with the size that the parent had when it forked. */
    FILE *f = fopen("/proc/self/status", "re");
    if (!f) return 0;
    char line[256];
    uint64_t kib = 0;
    while (fgets(line, sizeof line, f)) {
        if (sscanf(line, "VmHWM: %" SCNu64 " kB", &kib) == 1) break;
    }
    fclose(f);
    return kib * 1024;
}

bool os_is_terminal(FILE *f)
{
    assert(f);
    return isatty(fileno(f)) == 1;
}
