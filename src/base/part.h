/*
 * part.h: a file that appears under its name only when it is whole.
 *
 *     struct part p;
 *     enum err e = part_open(&p, "out.bin");      // writes out.bin.part<pid>
 *     if (e == OK) fwrite(data, 1, n, p.f);       // errors may wait for part_commit()
 *     if (e == OK) e = part_commit(&p);           // on the disk, under its name
 *     part_abandon(&p);                           // nothing is left behind
 *
 * An existing file is replaced by the commit; until then, and after a failure, it is as it was. A
 * link is followed: the file that it leads to is replaced. What is no regular file is refused.
 */
#ifndef BASE_PART_H
#define BASE_PART_H

#include "base/err.h"

#include <stdio.h>

struct part {
    FILE *f; /* NULL when it is not open */
    char *path, *temp;
};

/* ERR_RUN naming the path and the reason. */
enum err part_open(struct part *p, const char *path);
/* Writes out what the stream holds, waits for the disk, renames. ERR_RUN naming the path and the
 * reason, a write to the stream that failed before included; ERR_INTR when a signal ended a write.
 * The part is gone in any case. */
enum err part_commit(struct part *p);
void part_abandon(struct part *p); /* fine when zeroed, failed or committed */

#endif
