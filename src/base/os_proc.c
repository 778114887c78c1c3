/*
 * os_proc.c: one line, one number, one key from the files in which Linux describes itself.
 *
 * Control groups are where distributions put them: v2 at /sys/fs/cgroup, or beside the controllers
 * of v1 at /sys/fs/cgroup/unified; a controller of v1 at /sys/fs/cgroup/NAME.
 */
#include "base/os_proc.h"

#include <assert.h>
#include <ctype.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CGROUP_ROOT "/sys/fs/cgroup"
#define PATH_BYTES 640
#define LINE_BYTES 4096 /* the list of processor features takes 2000 */

static void copy_tame(char *buf, size_t n_bytes, const char *line)
{
    assert(n_bytes > 0);
    size_t n = strcspn(line, "\n");
    while (n > 0 && isspace((unsigned char)line[n - 1])) n--;
    if (n >= n_bytes) n = n_bytes - 1;
    for (size_t i = 0; i < n; i++) buf[i] = iscntrl((unsigned char)line[i]) ? ' ' : line[i];
    buf[n] = '\0';
}

static bool first_line(char *buf, size_t n_bytes, const char *fmt, va_list args)
{
    char path[PATH_BYTES];
    char line[LINE_BYTES];
    buf[0] = '\0';
    const int n = vsnprintf(path, sizeof path, fmt, args);
    if (n < 0 || (size_t)n >= sizeof path) return false;
    FILE *const f = fopen(path, "re");
    if (!f) return false;
    const bool ok = fgets(line, sizeof line, f) != NULL;
    fclose(f);
    if (ok) copy_tame(buf, n_bytes, line);
    return ok;
}

bool os_proc_line(char *buf, size_t n_bytes, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    const bool ok = first_line(buf, n_bytes, fmt, args);
    va_end(args);
    return ok;
}

uint64_t os_proc_u64(const char *fmt, ...)
{
    char line[64];
    va_list args;
    va_start(args, fmt);
    const bool ok = first_line(line, sizeof line, fmt, args);
    va_end(args);
    return ok && line[0] != '-' ? strtoull(line, NULL, 10) : 0;
}

bool os_proc_value(char *buf, size_t n_bytes, const char *path, const char *key)
{
    char line[LINE_BYTES];
    const size_t n_key = strlen(key);
    buf[0] = '\0';
    FILE *const f = fopen(path, "re");
    if (!f) return false;
    bool found = false;
    while (!found && fgets(line, sizeof line, f)) {
        if (strncmp(line, key, n_key) != 0) continue;
        const char *const value = line + n_key + strspn(line + n_key, " \t:=");
        found = value > line + n_key;
        if (found) copy_tame(buf, n_bytes, value);
    }
    fclose(f);
    return found;
}

uint64_t os_proc_value_u64(const char *path, const char *key)
{
    char value[32];
    return os_proc_value(value, sizeof value, path, key) ? strtoull(value, NULL, 10) : 0;
}

bool os_proc_has_word(const char *list, char separator, const char *word)
{
    const size_t n_word = strlen(word);
    for (const char *p = list; *p;) {
        const char *const end = strchr(p, separator);
        const size_t n = end ? (size_t)(end - p) : strlen(p);
        if (n == n_word && memcmp(p, word, n) == 0) return true;
        p += n + (end != NULL);
    }
    return false;
}

/* ---- control groups -------------------------------------------------------------------------- */

/* The path of this process's group; false where there is none. A line of /proc/self/cgroup is
 * NUMBER:CONTROLLERS:PATH, and has no controllers for v2. */
static bool own_group(const char *controller, char *group, size_t n_bytes)
{
    char line[LINE_BYTES];
    FILE *const f = fopen("/proc/self/cgroup", "re");
    if (!f) return false;
    bool found = false;
    while (!found && fgets(line, sizeof line, f)) {
        char *const names = strchr(line, ':');
        char *const path = names ? strchr(names + 1, ':') : NULL;
        if (!path) continue;
        *path = '\0';
        found = controller ? os_proc_has_word(names + 1, ',', controller) : names[1] == '\0';
        if (found) copy_tame(group, n_bytes, path + 1);
    }
    fclose(f);
    return found;
}

void os_proc_groups(const char *controller, os_proc_group_fn *fn, void *ctx)
{
    assert(fn);
    char group[PATH_BYTES / 2];
    if (!own_group(controller, group, sizeof group)) return;
    const char *root = controller;
    if (!controller) root = access(CGROUP_ROOT "/cgroup.controllers", F_OK) == 0 ? "." : "unified";
    for (;;) {
        char dir[PATH_BYTES];
        char *const slash = strrchr(group, '/');
        if (slash && slash[1] == '\0') *slash = '\0'; /* the root is "/" */
        snprintf(dir, sizeof dir, CGROUP_ROOT "/%s%s", root, group);
        fn(ctx, dir);
        if (group[0] == '\0') return;
        *strrchr(group, '/') = '\0';
    }
}
