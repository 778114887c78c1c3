/*
 * temp_dir.h: a folder of its own for a test that writes files.
 *
 *     static struct temp_dir dir;
 *     temp_dir_make(&dir);
 *     ... fopen(temp_path(&dir, "a.gguf"), ...)      // valid until the next temp_path()
 *     temp_dir_remove(&dir);                         // with every file in it; no folders inside
 */
#ifndef TESTS_TEMP_DIR_H
#define TESTS_TEMP_DIR_H

#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct temp_dir {
    char path[256];
    char file[512];
};

static inline bool temp_dir_make(struct temp_dir *d)
{
    const char *root = getenv("TMPDIR");
    snprintf(d->path, sizeof d->path, "%s/moxie-test-XXXXXX", root ? root : "/tmp");
    return mkdtemp(d->path) != NULL;
}

static inline const char *temp_path(struct temp_dir *d, const char *name)
{
    snprintf(d->file, sizeof d->file, "%s/%s", d->path, name);
    return d->file;
}

static inline void temp_dir_clear(struct temp_dir *d)
{
    DIR *dir = opendir(d->path);
    if (!dir) return;
    for (struct dirent *e; (e = readdir(dir));) {
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            unlink(temp_path(d, e->d_name));
    }
    closedir(dir);
}

static inline void temp_dir_remove(struct temp_dir *d)
{
    temp_dir_clear(d);
    rmdir(d->path);
}

static inline bool temp_write(const char *path, const void *data, size_t n_bytes)
{
    FILE *f = fopen(path, "wb");
    if (!f) return false;
    const bool ok = fwrite(data, 1, n_bytes, f) == n_bytes;
    return fclose(f) == 0 && ok;
}

#endif
