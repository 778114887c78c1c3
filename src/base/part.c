/*
 * part.c: written beside its place under a temporary name, flushed to the disk, renamed.
 *
 * Without the flush a crash of the machine could leave the new name with an empty file: a file
 * system may write the rename before the data. Only a regular file is ever replaced: a link is
 * followed to it, and a device or a folder is refused, for the rename would put a file in its
 * place.
 */
#include "base/part.h"

#include "base/mem.h"
#include "base/os.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static enum err refused(const char *path, const char *what)
{
    return err_set(ERR_RUN, "%s: cannot be written: it is %s; choose another name", path, what);
}

/* A copy of the path, or of the one that its links lead to, where a file is or may be. */
static enum err find_target(const char *path, char **target)
{
    char real[PATH_MAX];
    struct stat st;
    const char *at = path;
    bool exists = lstat(path, &st) == 0;
    if (exists && S_ISLNK(st.st_mode)) {
        if (!realpath(path, real)) return refused(path, "a link that leads nowhere");
        at = real;
        exists = stat(real, &st) == 0;
    }
    if (exists && !S_ISREG(st.st_mode)) return refused(path, "no regular file");
    *target = mem_strdup(MEM_MISC, at);
    return *target ? OK : ERR_MEMORY;
}

/* temp is the path of a file that exists, or NULL: part_abandon() goes by it. */
static enum err open_beside(struct part *p)
{
    const int fd = open(p->temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    int error = errno;
    if (fd < 0) {
        mem_free(p->temp);
        p->temp = NULL;
        return os_write_failed(p->path, error);
    }
    p->f = fdopen(fd, "wb");
    if (p->f) return OK;
    error = errno;
    close(fd);
    return os_write_failed(p->path, error);
}

enum err part_open(struct part *p, const char *path)
{
    assert(p);
    assert(path);
    *p = (struct part){0};
    enum err err = find_target(path, &p->path);
    if (err) return err;
    const size_t n_temp = strlen(p->path) + sizeof ".part" + 20; /* and a process number */
    p->temp = mem_alloc(MEM_MISC, n_temp);
    err = ERR_MEMORY;
    if (p->temp) {
        snprintf(p->temp, n_temp, "%s.part%ld", p->path, (long)getpid());
        err = open_beside(p);
    }
    if (err) part_abandon(p);
    return err;
}

enum err part_commit(struct part *p)
{
    assert(p);
    assert(p->f);
    errno = 0; /* of an earlier write that failed nobody knows it any more */
    bool good = fflush(p->f) == 0 && !ferror(p->f) && fsync(fileno(p->f)) == 0;
    int error = errno;
    if (fclose(p->f) != 0 && good) {
        error = errno;
        good = false;
    }
    p->f = NULL;
    if (good && rename(p->temp, p->path) != 0) {
        error = errno;
        good = false;
    }
    const enum err err = good ? OK : os_write_failed(p->path, error);
    if (good) {
        mem_free(p->temp);
        p->temp = NULL;
    }
    part_abandon(p);
    return err;
}

void part_abandon(struct part *p)
{
    assert(p);
    if (p->f) fclose(p->f);
    if (p->temp) unlink(p->temp);
    mem_free(p->temp);
    mem_free(p->path);
    *p = (struct part){0};
}
