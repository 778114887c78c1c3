/* test_os.c: files of every kind, mappings that break, signals. Death and signals are tried in
 * children. */
#include "base/mem.h"
#include "base/os.h"
#include "tests/unit/temp_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static struct temp_dir dir;

static int make_dir(void **state)
{
    (void)state;
    return temp_dir_make(&dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
    (void)state;
    temp_dir_remove(&dir);
    return 0;
}

/* Runs fn in a child and returns what waitpid() says of it. */
static int in_child(void (*fn)(void))
{
    const pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        alarm(20); /* a child that hangs dies of SIGALRM, which no test expects */
        fn();
        _exit(0);
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static bool died_of(int status, int sig)
{
    return WIFSIGNALED(status) && WTERMSIG(status) == sig;
}

/* ---- kinds of files -------------------------------------------------------------------------- */

static void expect_no_map(const char *path, const char *needle)
{
    struct os_map m;
    err_clear();
    assert_int_equal(os_map_file(&m, path), ERR_INPUT);
    assert_null(m.data);
    assert_int_equal(m.fd, -1);
    if (!strstr(err_msg(), needle)) fail_msg("'%s' does not say '%s'", err_msg(), needle);
    os_unmap(&m);
}

static void test_kinds_of_files(void **state)
{
    (void)state;
    alarm(20); /* nothing here may wait */
    expect_no_map(temp_path(&dir, "none"), "no such file");
    expect_no_map("", "the name of the file is empty");
    expect_no_map(dir.path, "is a directory");
    expect_no_map("/dev/zero", "is a device");
    assert_int_equal(mkfifo(temp_path(&dir, "fifo"), 0600), 0);
    expect_no_map(temp_path(&dir, "fifo"), "is a pipe");
    assert_true(temp_write(temp_path(&dir, "empty"), "", 0));
    expect_no_map(temp_path(&dir, "empty"), "is empty");
    expect_no_map(temp_path(&dir, "empty/below"), "not a directory");
    assert_int_equal(symlink(temp_path(&dir, "loop"), dir.file), 0);
    expect_no_map(temp_path(&dir, "loop"), "circle");
    alarm(0);
}

static void test_unreadable(void **state)
{
    (void)state;
    if (geteuid() == 0) skip(); /* root may read everything */
    assert_true(temp_write(temp_path(&dir, "secret"), "x", 1));
    assert_int_equal(chmod(temp_path(&dir, "secret"), 0), 0);
    expect_no_map(temp_path(&dir, "secret"), "no permission");
}

static void test_map(void **state)
{
    (void)state;
    assert_true(temp_write(temp_path(&dir, "m"), "hello", 5));
    struct os_map m;
    assert_int_equal(os_map_file(&m, temp_path(&dir, "m")), OK);
    assert_int_equal(m.n_bytes, 5);
    assert_memory_equal(m.data, "hello", 5);
    assert_false(os_map_broken(&m));
    os_unmap(&m);
    assert_null(m.data);
    os_unmap(&m); /* twice is fine */
    os_unmap(&(struct os_map){0});
}

static void test_map_read(void **state)
{
    (void)state;
    static uint8_t data[3 * 4096 + 100], got[sizeof data];
    for (size_t i = 0; i < sizeof data; i++) data[i] = (uint8_t)(i * 7 + i / 256);
    assert_true(temp_write(temp_path(&dir, "r"), data, sizeof data));
    struct os_map m;
    assert_int_equal(os_map_file(&m, temp_path(&dir, "r")), OK);
    os_map_ahead(&m, 0, sizeof data);
    assert_true(os_map_read(&m, 0, sizeof data, got));
    assert_memory_equal(got, data, sizeof data);
    assert_true(os_map_read(&m, 4095, 2, got));
    assert_memory_equal(got, data + 4095, 2);
    assert_true(os_map_read(&m, sizeof data, 0, got));
    assert_int_equal(truncate(temp_path(&dir, "r"), 5000), 0);
    assert_true(os_map_read(&m, 4900, 100, got));
    assert_false(os_map_read(&m, 4900, 101, got)); /* not zeros: an error */
    assert_int_equal(truncate(temp_path(&dir, "r"), sizeof data), 0);
    assert_true(os_map_broken(&m)); /* and it stays one */
    assert_int_equal(os_map_whole(&m, "r"), ERR_RUN);
    assert_non_null(strstr(err_msg(), "r: the file became shorter"));
    os_unmap(&m);
}

/* The size stays, what is computed from it does not. Looking at the file is no change. */
static void test_map_written(void **state)
{
    (void)state;
    const char *const path = temp_path(&dir, "w");
    struct os_map m;
    assert_true(temp_write(path, "hello", 5));
    const struct timespec past[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};
    assert_int_equal(utimensat(AT_FDCWD, path, past, 0), 0);
    assert_int_equal(os_map_file(&m, path), OK);
    const int fd = open(path, O_RDWR | O_CLOEXEC);
    char byte;
    assert_int_equal(pread(fd, &byte, 1, 0), 1);
    assert_int_equal(fchmod(fd, 0600), 0);
    assert_false(os_map_broken(&m));
    assert_int_equal(os_map_whole(&m, "w"), OK);
    assert_int_equal(pwrite(fd, "x", 1, 2), 1);
    close(fd);
    assert_true(os_map_broken(&m));
    assert_int_equal(os_map_whole(&m, "w"), ERR_RUN);
    assert_non_null(strstr(err_msg(), "w: the file was written to while"));
    os_unmap(&m);
}

/* A read that fails, for which a descriptor that cannot be read stands in. */
static void test_map_read_fails(void **state)
{
    (void)state;
    char got[5];
    assert_true(temp_write(temp_path(&dir, "e"), "hello", 5));
    struct os_map m;
    assert_int_equal(os_map_file(&m, temp_path(&dir, "e")), OK);
    assert_int_equal(os_map_whole(&m, "e"), OK);
    const int fd = open(temp_path(&dir, "e"), O_WRONLY | O_CLOEXEC);
    assert_int_equal(dup2(fd, m.fd), m.fd);
    close(fd);
    assert_false(os_map_read(&m, 0, 5, got));
    assert_int_equal(os_map_whole(&m, "e"), ERR_INPUT);
    assert_non_null(strstr(err_msg(), "e: cannot be read: "));
    assert_non_null(strstr(err_msg(), "check the disk"));
    os_unmap(&m);
}

/* 1: it is; -1: not to be known here. */
static int is_resident(const void *at)
{
    const int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    const off_t i_page = (off_t)((uintptr_t)at / (size_t)sysconf(_SC_PAGESIZE));
    uint64_t entry = 0;
    const ssize_t n = pread(fd, &entry, sizeof entry, i_page * (off_t)sizeof entry);
    close(fd);
    return n == sizeof entry ? (int)(entry >> 63) : -1;
}

static void test_map_forget(void **state)
{
    (void)state;
    enum { N_PAGE = 5 };
    static uint8_t data[N_PAGE << 16]; /* pages of up to 64 KiB */
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const struct {
        size_t at, n_bytes;
        uint32_t forgotten; /* a bit for each page */
    } part[] = {{1, 2 * page, 2},       {page, page, 2},        {page, page - 1, 0},
                {page + 1, page, 0},    {0, 4 * page + 1, 31},  {3 * page - 1, page + 2, 24},
                {4 * page, 1, 16},      {4 * page + 1, 0, 0},   {0, 0, 0}};
    struct os_map m;
    for (size_t i = 0; i < sizeof data; i++) data[i] = (uint8_t)(i * 7 + i / 256);
    assert_true(temp_write(temp_path(&dir, "f"), data, 4 * page + 1));
    assert_int_equal(os_map_file(&m, temp_path(&dir, "f")), OK);
    if (is_resident(m.data) < 0) {
        os_unmap(&m);
        skip();
    }
    for (size_t i = 0; i < sizeof part / sizeof *part; i++) {
        assert_memory_equal(m.data, data, 4 * page + 1);
        for (size_t j = 0; j < N_PAGE; j++) assert_int_equal(is_resident(m.data + j * page), 1);
        os_map_forget(&m, part[i].at, part[i].n_bytes);
        for (size_t j = 0; j < N_PAGE; j++)
            assert_int_equal(is_resident(m.data + j * page), !(part[i].forgotten >> j & 1));
    }
    assert_memory_equal(m.data, data, 4 * page + 1);
    os_unmap(&m);
}

/* Written just now: there. With holes behind that nobody read: a part of it. */
static void test_map_cached(void **state)
{
    (void)state;
    static const uint8_t data[1 << 20] = {1};
    const char *const path = temp_path(&dir, "c");
    struct os_map m;
    assert_true(temp_write(path, data, sizeof data));
    assert_int_equal(os_map_file(&m, path), OK);
    const double all = os_map_cached(&m);
    os_unmap(&m);
    if (all < 0.9) skip(); /* a file system that does not tell */
    assert_true(all <= 1);
    assert_int_equal(truncate(path, (off_t)64 << 20), 0);
    assert_int_equal(os_map_file(&m, path), OK);
    const double part = os_map_cached(&m);
    os_unmap(&m);
    if (part == 1) skip();
    assert_true(part > 0);
    assert_true(part < 0.1);
}

/* What becomes memory of ours follows the file no more; its neighbours do. */
static void test_map_own(void **state)
{
    (void)state;
    static uint8_t data[4 << 16], got[sizeof data]; /* pages of up to 64 KiB */
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const size_t n_bytes = 3 * page + 100;
    struct os_map m;
    assert_true(n_bytes <= sizeof data);
    for (size_t i = 0; i < n_bytes; i++) data[i] = (uint8_t)(i * 7 + i / 256);
    assert_true(temp_write(temp_path(&dir, "o"), data, n_bytes));
    assert_int_equal(os_map_file(&m, temp_path(&dir, "o")), OK);
    assert_true(os_map_own(&m, page + 5, 0));
    assert_true(os_map_own(&m, page + 5, page)); /* parts of two pages */
    assert_true(os_map_own(&m, 3 * page + 99, 1));
    assert_memory_equal(m.data, data, n_bytes);
    const int fd = open(temp_path(&dir, "o"), O_WRONLY | O_CLOEXEC);
    memset(got, 0xee, n_bytes);
    assert_int_equal(pwrite(fd, got, n_bytes, 0), n_bytes);
    close(fd);
    assert_memory_equal(m.data, got, page);
    assert_memory_equal(m.data + page, data + page, n_bytes - page);
    assert_int_equal(truncate(temp_path(&dir, "o"), (off_t)page), 0);
    assert_memory_equal(m.data + page, data + page, n_bytes - page);
    assert_false(os_map_own(&m, page, 1));
    assert_int_equal(os_map_whole(&m, "o"), ERR_RUN);
    os_unmap(&m);
}

/* A terabyte of holes: mapped, not read. */
static void test_sparse_file(void **state)
{
    (void)state;
    const int fd = open(temp_path(&dir, "sparse"), O_RDWR | O_CREAT, 0600);
    assert_true(fd >= 0);
    if (ftruncate(fd, (off_t)1 << 40) != 0) {
        close(fd);
        skip(); /* the file system has a smaller limit */
    }
    close(fd);
    struct os_map m;
    const enum err err = os_map_file(&m, temp_path(&dir, "sparse"));
    if (err == ERR_MEMORY) skip(); /* the address space is limited */
    assert_int_equal(err, OK);
    assert_int_equal(m.n_bytes, (size_t)1 << 40);
    assert_int_equal(m.data[(size_t)1 << 39], 0);
    os_unmap(&m);
}

/* More mappings than slots would be a bug of the table if closing did not give slots back. */
static void test_slots_are_given_back(void **state)
{
    (void)state;
    assert_true(temp_write(temp_path(&dir, "s"), "x", 1));
    for (int i = 0; i < 5000; i++) {
        struct os_map m;
        assert_int_equal(os_map_file(&m, temp_path(&dir, "s")), OK);
        os_unmap(&m);
    }
}

/* ---- files that shrink ----------------------------------------------------------------------- */

#define N_PAGES 16
#define N_BYTES (N_PAGES * 4096)

static void write_ones(const char *name)
{
    static uint8_t ones[N_BYTES];
    memset(ones, 1, sizeof ones);
    assert_true(temp_write(temp_path(&dir, name), ones, sizeof ones));
}

static uint32_t sum_all(const struct os_map *m)
{
    uint32_t sum = 0;
    for (size_t i = 0; i < m->n_bytes; i++) sum += ((const volatile uint8_t *)m->data)[i];
    return sum;
}

static void test_truncated_while_mapped(void **state)
{
    (void)state;
    os_init(); /* here, since cmocka puts its own handlers in place before each test */
    struct os_map a;
    struct os_map b;
    write_ones("a");
    write_ones("b");
    assert_int_equal(os_map_file(&a, temp_path(&dir, "a")), OK);
    assert_int_equal(os_map_file(&b, temp_path(&dir, "b")), OK);
    assert_int_equal(sum_all(&a), N_BYTES);
    assert_int_equal(truncate(temp_path(&dir, "a"), 5 * 4096 + 10), 0);
    assert_int_equal(sum_all(&a), 5 * 4096 + 10); /* zeros, no SIGBUS */
    assert_true(os_map_broken(&a));
    assert_false(os_map_broken(&b));
    assert_int_equal(truncate(temp_path(&dir, "a"), N_BYTES), 0);
    assert_true(os_map_broken(&a)); /* once broken, broken: zeros may have been used */
    assert_int_equal(sum_all(&b), N_BYTES);
    os_unmap(&a);
    assert_int_equal(truncate(temp_path(&dir, "b"), N_BYTES - 1), 0);
    assert_true(os_map_broken(&b)); /* noticed without a touch */
    os_unmap(&b);
}

static void *sum_in_thread(void *arg)
{
    return (void *)(uintptr_t)sum_all(arg);
}

static void test_truncated_under_threads(void **state)
{
    (void)state;
    os_init();
    struct os_map m;
    write_ones("t");
    assert_int_equal(os_map_file(&m, temp_path(&dir, "t")), OK);
    assert_int_equal(truncate(temp_path(&dir, "t"), 4096), 0);
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, sum_in_thread, &m), 0);
    for (int i = 0; i < 4; i++) {
        void *sum = NULL;
        assert_int_equal(pthread_join(threads[i], &sum), 0);
        assert_int_equal((uintptr_t)sum, 4096);
    }
    assert_true(os_map_broken(&m));
    os_unmap(&m);
}

static void touch_foreign_mapping(void)
{
    os_init();
    const int fd = open(dir.file, O_RDWR);
    volatile const char *p = mmap(NULL, 8192, PROT_READ, MAP_SHARED, fd, 0);
    if (p != MAP_FAILED) (void)p[8000]; /* beyond the end */
}

static void test_other_sigbus_still_kills(void **state)
{
    (void)state;
    assert_true(temp_write(temp_path(&dir, "foreign"), "x", 1));
    assert_true(died_of(in_child(touch_foreign_mapping), SIGBUS));
}

/* ---- whole files ----------------------------------------------------------------------------- */

static void test_read_all(void **state)
{
    (void)state;
    static char text[100000];
    memset(text, 'q', sizeof text);
    char *data = NULL;
    size_t n = 0;
    assert_true(temp_write(temp_path(&dir, "text"), text, sizeof text));
    assert_int_equal(os_read_all(temp_path(&dir, "text"), sizeof text, &data, &n), OK);
    assert_int_equal(n, sizeof text);
    assert_memory_equal(data, text, sizeof text);
    assert_int_equal(data[n], 0);
    mem_free(data);

    assert_int_equal(os_read_all(temp_path(&dir, "text"), sizeof text - 1, &data, &n), ERR_INPUT);
    assert_null(data);
    assert_non_null(strstr(err_msg(), "99999"));
    assert_int_equal(os_read_all(temp_path(&dir, "none"), 10, &data, &n), ERR_INPUT);
    assert_non_null(strstr(err_msg(), "no such file"));
    assert_int_equal(os_read_all(dir.path, 10, &data, &n), ERR_INPUT);
    assert_non_null(strstr(err_msg(), "is a directory"));
    assert_int_equal(os_read_all("/dev/zero", 1 << 20, &data, &n), ERR_INPUT); /* bounded */
    assert_non_null(strstr(err_msg(), "longer"));

    assert_true(temp_write(temp_path(&dir, "none-in"), "", 0));
    assert_int_equal(os_read_all(temp_path(&dir, "none-in"), 10, &data, &n), OK);
    assert_int_equal(n, 0);
    assert_string_equal(data, "");
    mem_free(data);
    assert_int_equal(mem_used_total(), 0);
}

static void test_read_all_without_memory(void **state)
{
    (void)state;
    static char text[50000];
    assert_true(temp_write(temp_path(&dir, "text2"), text, sizeof text));
    enum err err = ERR_MEMORY;
    for (uint64_t n_th = 1; err == ERR_MEMORY; n_th++) {
        assert_true(n_th < 20);
        char *data = NULL;
        size_t n = 0;
        mem_fail_at(n_th);
        err = os_read_all(temp_path(&dir, "text2"), sizeof text, &data, &n);
        mem_fail_at(0);
        assert_true(err == OK || (err == ERR_MEMORY && !data));
        mem_free(data);
        assert_int_equal(mem_used_total(), 0);
    }
    assert_int_equal(err, OK);
}

static void test_write_all(void **state)
{
    (void)state;
    char *data = NULL;
    size_t n = 0;
    assert_int_equal(os_write_all(temp_path(&dir, "out"), "first", 5), OK);
    assert_int_equal(os_write_all(temp_path(&dir, "out"), "second one", 10), OK);
    assert_int_equal(os_read_all(temp_path(&dir, "out"), 100, &data, &n), OK);
    assert_string_equal(data, "second one");
    mem_free(data);
    assert_int_equal(os_write_all(temp_path(&dir, "no/such/folder"), "x", 1), ERR_RUN);
    assert_non_null(strstr(err_msg(), "no/such/folder"));
    assert_int_equal(os_write_all(dir.path, "x", 1), ERR_RUN); /* a folder is not replaced */
    struct stat st;
    assert_int_equal(stat(dir.path, &st), 0);
    assert_true(S_ISDIR(st.st_mode));
}

/* ---- signals --------------------------------------------------------------------------------- */

static void interrupt_once(void)
{
    os_init();
    if (os_interrupted()) _exit(1);
    raise(SIGINT);
    if (!os_interrupted()) _exit(2);
    os_interrupt_clear();
    if (os_interrupted()) _exit(3);
    raise(SIGINT);
    if (!os_interrupted()) _exit(4);
}

static void interrupt_twice(void)
{
    os_init();
    raise(SIGINT);
    raise(SIGINT);
}

/* To the patient Ctrl-C is a request; what ends the program goes before it, and kills twice. */
static void interrupt_patiently(void)
{
    os_init();
    os_interrupt_patient(true);
    raise(SIGINT);
    raise(SIGINT);
    if (os_interrupted() != SIGINT) _exit(1);
    raise(SIGTERM);
    raise(SIGINT);
    if (os_interrupted() != SIGTERM) _exit(2);
    raise(SIGTERM);
}

/* SIGTERM and SIGHUP set the same flag; unlike Ctrl-C they are not for a part of the work. */
static void terminate(void)
{
    os_init();
    raise(SIGTERM);
    if (os_interrupted() != SIGTERM) _exit(1);
    os_interrupt_clear();
    if (os_interrupted() != SIGTERM) _exit(2);
}

static void terminate_twice(void)
{
    os_init();
    raise(SIGTERM);
    raise(SIGTERM);
}

static void hang_up_twice(void)
{
    os_init();
    raise(SIGHUP);
    raise(SIGHUP); /* shell and kernel both say so when a terminal closes */
    if (os_interrupted() != SIGHUP) _exit(1);
}

static void hang_up_ignored(void)
{
    signal(SIGHUP, SIG_IGN); /* nohup */
    os_init();
    raise(SIGHUP);
    if (os_interrupted()) _exit(1);
    raise(SIGINT);
    if (os_interrupted() != SIGINT) _exit(2);
}

static void interrupt_ignored(void)
{
    signal(SIGINT, SIG_IGN);
    os_init();
    raise(SIGINT);
    raise(SIGINT);
    if (os_interrupted()) _exit(1);
}

static void *interrupt_parent(void *arg)
{
    (void)arg;
    usleep(100000);
    kill(getpid(), SIGINT);
    return NULL;
}

static void interrupt_blocked_read(void)
{
    int fds[2];
    os_init();
    if (pipe(fds) != 0 || dup2(fds[0], STDIN_FILENO) < 0) _exit(1);
    pthread_t thread;
    if (os_thread_start(&thread, interrupt_parent, NULL) != 0) _exit(2);
    char *data = NULL;
    size_t n = 0;
    if (os_read_all("-", 100, &data, &n) != ERR_INTR || data) _exit(3);
    pthread_join(thread, NULL);
}

static void interrupt_endless_read(void)
{
    os_init();
    raise(SIGINT);
    char *data = NULL;
    size_t n = 0;
    if (os_read_all("/dev/zero", (size_t)1 << 30, &data, &n) != ERR_INTR || data) _exit(1);
}

static void interrupt_open(void)
{
    os_init();
    if (mkfifo(temp_path(&dir, "fifo.int"), 0600) != 0) _exit(1);
    pthread_t thread;
    if (os_thread_start(&thread, interrupt_parent, NULL) != 0) _exit(2);
    char *data = NULL;
    size_t n = 0;
    if (os_read_all(temp_path(&dir, "fifo.int"), 100, &data, &n) != ERR_INTR || data) _exit(3);
    pthread_join(thread, NULL);
}

static void write_to_closed_pipe(void)
{
    int fds[2];
    os_init();
    if (pipe(fds) != 0) _exit(1);
    close(fds[0]);
    if (write(fds[1], "x", 1) != -1 || errno != EPIPE) _exit(2);
}

static void test_signals(void **state)
{
    (void)state;
    assert_int_equal(in_child(interrupt_once), 0);
    assert_true(died_of(in_child(interrupt_twice), SIGINT));
    assert_true(died_of(in_child(interrupt_patiently), SIGTERM));
    assert_int_equal(in_child(terminate), 0);
    assert_true(died_of(in_child(terminate_twice), SIGTERM));
    assert_int_equal(in_child(hang_up_twice), 0);
    assert_int_equal(in_child(hang_up_ignored), 0);
    assert_int_equal(in_child(interrupt_ignored), 0);
    assert_int_equal(in_child(interrupt_blocked_read), 0);
    assert_int_equal(in_child(interrupt_endless_read), 0);
    assert_int_equal(in_child(interrupt_open), 0);
    assert_int_equal(in_child(write_to_closed_pipe), 0);
}

/* ---- the rest -------------------------------------------------------------------------------- */

static void test_clock_and_seed(void **state)
{
    (void)state;
    const uint64_t start_ns = os_time_ns();
    usleep(2000);
    const uint64_t took_ns = os_time_ns() - start_ns;
    assert_true(took_ns >= 2000000 && took_ns < 20000000000u);
    int64_t seconds = 0;
    assert_true(os_clock_parse("2026-01-02T03:04:05", &seconds));
    assert_int_equal(seconds, 1767323045);
    assert_true(os_clock_parse("1969-12-31T23:59:59", &seconds));
    assert_int_equal(seconds, -1);
    assert_false(os_clock_parse("2026-01-02T03:04:05Z", &seconds));
    assert_false(os_clock_parse("2026-01-02", &seconds));
    assert_false(os_clock_parse("2026-02-31T00:00:00", &seconds)); /* no such day */
    assert_false(os_clock_parse("2026-02-29T00:00:00", &seconds));
    assert_true(os_clock_parse("2028-02-29T00:00:00", &seconds));
    assert_false(os_clock_parse("2026-06-30T23:59:60", &seconds)); /* nor such a second */
    assert_false(os_clock_parse("", &seconds));
    assert_int_not_equal(os_random_seed(), os_random_seed());
    assert_true(os_rss_peak_bytes() > 100000);
    FILE *f = fopen("/dev/null", "r");
    assert_non_null(f);
    assert_false(os_is_terminal(f));
    fclose(f);
}

static void one_cpu_is_one_core(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) != 0) _exit(0);
    int cpu = 0;
    while (!CPU_ISSET((size_t)cpu, &set)) cpu++;
    CPU_ZERO(&set);
    CPU_SET((size_t)cpu, &set);
    if (sched_setaffinity(0, sizeof set, &set) == 0 && os_cores_physical() != 1) _exit(1);
}

static void test_cores(void **state)
{
    (void)state;
    cpu_set_t set;
    assert_int_equal(sched_getaffinity(0, sizeof set, &set), 0);
    const uint32_t n = os_cores_physical();
    assert_true(n >= 1 && n <= (uint32_t)CPU_COUNT(&set));
    assert_int_equal(in_child(one_cpu_is_one_core), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kinds_of_files),
        cmocka_unit_test(test_unreadable),
        cmocka_unit_test(test_map),
        cmocka_unit_test(test_map_read),
        cmocka_unit_test(test_map_read_fails),
        cmocka_unit_test(test_map_written),
        cmocka_unit_test(test_map_forget),
        cmocka_unit_test(test_map_cached),
        cmocka_unit_test(test_map_own),
        cmocka_unit_test(test_sparse_file),
        cmocka_unit_test(test_slots_are_given_back),
        cmocka_unit_test(test_truncated_while_mapped),
        cmocka_unit_test(test_truncated_under_threads),
        cmocka_unit_test(test_other_sigbus_still_kills),
        cmocka_unit_test(test_read_all),
        cmocka_unit_test(test_read_all_without_memory),
        cmocka_unit_test(test_write_all),
        cmocka_unit_test(test_signals),
        cmocka_unit_test(test_clock_and_seed),
        cmocka_unit_test(test_cores),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
