/*
 * os_disk.h: the volume below a directory, and how fast it reads.
 *
 *     struct os_read r;
 *     if (os_disk_largest(path, sizeof path, "models") && os_disk_read(&r, path) == OK)
 *         printf("%.2f GB/s\n", (double)r.n_bytes / (double)r.ns);
 *
 * Nothing is written: the probe reads a file that is there already.
 */
#ifndef BASE_OS_DISK_H
#define BASE_OS_DISK_H

#include "base/err.h"
#include "base/os_machine.h"

struct os_volume { /* what cannot be learnt is 0, -1 or empty */
    char filesystem[32];
    char source[OS_NAME_BYTES]; /* "/dev/nvme0n1p2" */
    int spins;                  /* 1: a rotating disk, 0: none */
    uint64_t total, free;
};
void os_volume(struct os_volume *v, const char *path);

/* The name of the largest regular file right in a directory, if it has at least OS_READ_BYTES_MIN.
 * false: there is none. */
#define OS_READ_BYTES_MIN ((uint64_t)8 << 20)
bool os_disk_largest(char *path, size_t n_bytes, const char *dir);

struct os_read {
    uint64_t n_bytes, ns;
    bool is_direct; /* past the page cache; otherwise the figure may be memory's */
};
/* Reads the beginning of a file in large pieces, one after the other: at most 256 MB and about a
 * second and a half. ERR_INPUT: it cannot be read; ERR_MEMORY. */
enum err os_disk_read(struct os_read *r, const char *path);

#endif
