/*
 * os_mem.c: how much memory there is: the machine's, and what a control group and the limits of the
 * process (`ulimit -v`, `ulimit -d`) leave of it.
 *
 * A limit of a control group holds for all of its descendants, so the tightest of the chain counts.
 * Pages of files that the group could drop at once are no use of memory. What cannot be read does
 * not limit.
 */
#include "base/os.h"

#include "base/os_proc.h"

#include <assert.h>
#include <stdio.h>
#include <sys/resource.h>

#define MEMINFO "/proc/meminfo"

/* The files' names differ between the versions of control groups. */
struct limit_files {
    const char *limit, *used;
    const char *active, *inactive; /* pages of files, in memory.stat */
};

static void take_limit(struct os_memory *m, const char *dir, const struct limit_files *f)
{
    const uint64_t limit = os_proc_u64("%s/%s", dir, f->limit);
    if (limit == 0 || limit >= m->total_bytes) return; /* "max", or a number beyond all memory */
    char stat[1024];
    snprintf(stat, sizeof stat, "%s/memory.stat", dir);
    const uint64_t used = os_proc_u64("%s/%s", dir, f->used);
    const uint64_t files =
        os_proc_value_u64(stat, f->active) + os_proc_value_u64(stat, f->inactive);
    const uint64_t held = used > files ? used - files : 0;
    const uint64_t left = limit > held ? limit - held : 0;
    if (limit < m->limit_bytes) m->limit_bytes = limit;
    if (left < m->free_bytes) m->free_bytes = left;
}

static void take_v2(void *memory, const char *dir)
{
    static const struct limit_files files[] = {
        {"memory.max", "memory.current", "active_file", "inactive_file"},
        /* nobody is killed beyond it, but everything crawls */
        {"memory.high", "memory.current", "active_file", "inactive_file"}};
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) take_limit(memory, dir, &files[i]);
}

static void take_v1(void *memory, const char *dir)
{
    static const struct limit_files files = {"memory.limit_in_bytes", "memory.usage_in_bytes",
                                             "total_active_file", "total_inactive_file"};
    take_limit(memory, dir, &files);
}

/* Address space, the files that are mapped in it included, and private data. */
static void take_rlimit(struct os_memory *m, int resource, const char *used)
{
    struct rlimit r;
    if (getrlimit(resource, &r) != 0 || r.rlim_cur == RLIM_INFINITY) return;
    const uint64_t held = os_proc_value_u64("/proc/self/status", used) * 1024;
    const uint64_t left = r.rlim_cur > held ? r.rlim_cur - held : 0;
    if (left < m->free_bytes) m->free_bytes = left;
}

struct os_memory os_memory(void)
{
    struct os_memory m = {.total_bytes = os_proc_value_u64(MEMINFO, "MemTotal") * 1024,
                          .free_bytes = os_proc_value_u64(MEMINFO, "MemAvailable") * 1024,
                          .limit_bytes = UINT64_MAX};
    os_proc_groups(NULL, take_v2, &m);
    os_proc_groups("memory", take_v1, &m);
    take_rlimit(&m, RLIMIT_AS, "VmSize");
    take_rlimit(&m, RLIMIT_DATA, "VmData");
    if (m.free_bytes > m.total_bytes) m.free_bytes = m.total_bytes; /* containers make them up */
    return m;
}
