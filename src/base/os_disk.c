/*
 * os_disk.c: which file system a path is on, and a bounded probe of its sequential reads.
 *
 * The probe reads with O_DIRECT, so that the page cache neither helps nor is filled. Where that is
 * refused (tmpfs, some network file systems), it asks the kernel to drop the file's pages and reads
 * through the cache.
 */
#include "base/os_disk.h"

#include "base/mem.h"
#include "base/os.h"
#include "base/os_proc.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define PIECE_BYTES ((size_t)4 << 20) /* long enough for full speed on flash */
#define ALIGN_BYTES 4096              /* what direct reads ask of address, offset and size */
#define PROBE_BYTES_MAX ((uint64_t)256 << 20)
#define PROBE_NS_MAX UINT64_C(1500000000)

/* ---- the volume ------------------------------------------------------------------------------ */

/* A line of mountinfo: ID PARENT MAJOR:MINOR ROOT MOUNT OPTIONS... - TYPE SOURCE ... (proc(5)) */
static void find_mount(struct os_volume *v, unsigned dev_major, unsigned dev_minor)
{
    char line[2048];
    FILE *const f = fopen("/proc/self/mountinfo", "re");
    if (!f) return;
    while (fgets(line, sizeof line, f)) {
        unsigned mnt_major, mnt_minor;
        if (sscanf(line, "%*u %*u %u:%u", &mnt_major, &mnt_minor) != 2) continue;
        if (mnt_major != dev_major || mnt_minor != dev_minor) continue;
        const char *const rest = strstr(line, " - ");
        if (rest && sscanf(rest, " - %31s %63s", v->filesystem, v->source) == 2) break;
    }
    fclose(f);
}

/* A partition has no queue of its own: its disk, a folder above, has. */
static int spins(unsigned dev_major, unsigned dev_minor)
{
    static const char *const queues[] = {"queue", "../queue"};
    for (size_t i = 0; i < 2; i++) {
        char line[8];
        if (os_proc_line(line, sizeof line, "/sys/dev/block/%u:%u/%s/rotational", dev_major,
                         dev_minor, queues[i]))
            return line[0] == '1';
    }
    return -1;
}

void os_volume(struct os_volume *v, const char *path)
{
    assert(v);
    assert(path);
    *v = (struct os_volume){.spins = -1};
    struct stat st;
    struct statvfs fs;
    if (stat(path, &st) == 0) {
        find_mount(v, major(st.st_dev), minor(st.st_dev));
        v->spins = spins(major(st.st_dev), minor(st.st_dev));
    }
    if (statvfs(path, &fs) == 0) {
        v->total = (uint64_t)fs.f_blocks * fs.f_frsize;
        v->free = (uint64_t)fs.f_bavail * fs.f_frsize;
    }
}

/* ---- the probe ------------------------------------------------------------------------------- */

bool os_disk_largest(char *path, size_t n_bytes, const char *dir)
{
    assert(path);
    assert(dir);
    DIR *const d = opendir(dir);
    if (!d) return false;
    uint64_t most = OS_READ_BYTES_MIN - 1;
    for (const struct dirent *e = readdir(d); e; e = readdir(d)) {
        struct stat st;
        if (fstatat(dirfd(d), e->d_name, &st, 0) != 0 || !S_ISREG(st.st_mode)) continue;
        if ((uint64_t)st.st_size <= most || faccessat(dirfd(d), e->d_name, R_OK, 0) != 0) continue;
        if ((size_t)snprintf(path, n_bytes, "%s/%s", dir, e->d_name) >= n_bytes) continue;
        most = (uint64_t)st.st_size;
    }
    closedir(d);
    return most >= OS_READ_BYTES_MIN;
}

static bool time_reads(struct os_read *r, int fd, uint8_t *piece)
{
    const uint64_t start = os_time_ns();
    do {
        const ssize_t n = pread(fd, piece, PIECE_BYTES, (off_t)r->n_bytes);
        if (n < 0 && errno == EINTR && !os_interrupted()) continue;
        if (n < 0) return false;
        r->ns = os_time_ns() - start;
        r->n_bytes += (uint64_t)n;
        if ((size_t)n < PIECE_BYTES) break; /* the end of the file */
    } while (r->n_bytes < PROBE_BYTES_MAX && r->ns < PROBE_NS_MAX);
    return r->n_bytes > 0 && r->ns > 0;
}

enum err os_disk_read(struct os_read *r, const char *path)
{
    assert(r);
    assert(path);
    *r = (struct os_read){.is_direct = true};
    uint8_t *const buffer = mem_alloc(MEM_SCRATCH, PIECE_BYTES + ALIGN_BYTES);
    if (!buffer) return ERR_MEMORY;
    uint8_t *const piece = buffer + (ALIGN_BYTES - (uintptr_t)buffer % ALIGN_BYTES);
    const int flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
    int fd = open(path, flags | O_DIRECT);
    bool ok = fd >= 0 && time_reads(r, fd, piece);
    if (!ok) {
        if (fd >= 0) close(fd);
        *r = (struct os_read){.is_direct = false};
        fd = open(path, flags);
        if (fd >= 0) posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
        ok = fd >= 0 && time_reads(r, fd, piece);
    }
    const int error = errno;
    if (fd >= 0) close(fd);
    mem_free(buffer);
    if (ok) return OK;
    return err_set(ERR_INPUT, "%s: cannot be read to measure the disk: %s", path, strerror(error));
}
