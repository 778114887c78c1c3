/*
 * os_cpu.c: the processor as the scheduler and sysfs see it, and how many cores a compute pool
 * should use.
 *
 * Two hyperthreads of a core share its vector units, so a core counts once: each CPU of a set is
 * counted unless a sibling with a lower number is in the set, too. The set of allowed CPUs comes
 * from the scheduler (taskset, cpusets), the siblings from sysfs. A control group's CPU quota
 * (containers) bounds the cores to use, rounded up, because threads beyond it only take turns in
 * being throttled. What cannot be read does not limit.
 */
#include "base/os.h"
#include "base/os_machine.h"

#include "base/limits.h"
#include "base/os_proc.h"

#include <assert.h>
#include <inttypes.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#define CPU_DIR "/sys/devices/system/cpu"

/* ---- sets of CPUs ---------------------------------------------------------------------------- */

/* A list such as "0,64" or "2-3,8". */
static void parse_cpus(const char *list, cpu_set_t *set)
{
    CPU_ZERO(set);
    for (const char *p = list; *p;) {
        char *end;
        const long first = strtol(p, &end, 10);
        if (end == p) break;
        long last = first;
        if (*end == '-') last = strtol(end + 1, &end, 10);
        for (long cpu = first < 0 ? 0 : first; cpu <= last && cpu < CPU_SETSIZE; cpu++)
            CPU_SET((size_t)cpu, set);
        p = *end == ',' ? end + 1 : "";
    }
}

/* Does a hyperthread of the same core with a lower number belong to the set? */
static bool has_lower_sibling(int cpu, const cpu_set_t *set)
{
    char list[256];
    cpu_set_t siblings;
    if (!os_proc_line(list, sizeof list, CPU_DIR "/cpu%d/topology/thread_siblings_list", cpu))
        return false;
    parse_cpus(list, &siblings);
    for (int i = 0; i < cpu; i++)
        if (CPU_ISSET((size_t)i, &siblings) && CPU_ISSET((size_t)i, set)) return true;
    return false;
}

static uint32_t count_cores(const cpu_set_t *set)
{
    uint32_t n = 0;
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
        n += CPU_ISSET((size_t)cpu, set) && !has_lower_sibling(cpu, set);
    return n;
}

/* ---- quota ----------------------------------------------------------------------------------- */

static void take_quota(double *least, uint64_t quota_us, uint64_t period_us)
{
    if (quota_us == 0 || period_us == 0) return;
    const double n = (double)quota_us / (double)period_us;
    if (*least == 0 || n < *least) *least = n;
}

/* cpu.max holds "max 100000" or "QUOTA PERIOD". */
static void quota_v2(void *least, const char *dir)
{
    char line[64];
    uint64_t quota_us, period_us;
    os_proc_line(line, sizeof line, "%s/cpu.max", dir);
    if (sscanf(line, "%" SCNu64 " %" SCNu64, &quota_us, &period_us) == 2)
        take_quota(least, quota_us, period_us);
}

/* -1, read as 0, is no limit. */
static void quota_v1(void *least, const char *dir)
{
    take_quota(least, os_proc_u64("%s/cpu.cfs_quota_us", dir),
               os_proc_u64("%s/cpu.cfs_period_us", dir));
}

static double cpu_quota(void)
{
    double least = 0;
    os_proc_groups(NULL, quota_v2, &least);
    os_proc_groups("cpu", quota_v1, &least);
    return least;
}

/* ---- the processor --------------------------------------------------------------------------- */

static void count_cpus(struct os_cpus *c)
{
    char list[1024];
    cpu_set_t set;
    const long n_online = sysconf(_SC_NPROCESSORS_ONLN);
    c->n_logical = n_online > 0 ? (uint32_t)n_online : 1;
    c->n_core = c->n_core_allowed = c->n_allowed = c->n_logical;
    if (os_proc_line(list, sizeof list, CPU_DIR "/online")) {
        parse_cpus(list, &set);
        c->n_core = count_cores(&set);
    }
    if (sched_getaffinity(0, sizeof set, &set) != 0) return; /* more than a cpu_set_t holds */
    c->n_allowed = (uint32_t)CPU_COUNT(&set);
    c->n_core_allowed = count_cores(&set);
}

uint32_t os_cores_physical(void)
{
    struct os_cpus c;
    count_cpus(&c);
    uint32_t n = c.n_core_allowed;
    const double quota = cpu_quota();
    if (quota > 0 && quota < n) n = (uint32_t)quota + (quota > (uint32_t)quota);
    if (n > THREADS_MAX) n = THREADS_MAX;
    return n < 1 ? 1 : n;
}

/* x86 names the model; an ARM board has its name in the device tree. */
static void cpu_name(char *name, size_t n_bytes)
{
    if (os_proc_value(name, n_bytes, "/proc/cpuinfo", "model name")) return;
    if (os_proc_line(name, n_bytes, "/proc/device-tree/model")) return;
    os_proc_value(name, n_bytes, "/proc/cpuinfo", "Hardware");
}

void os_cpus(struct os_cpus *c)
{
    assert(c);
    *c = (struct os_cpus){.quota = cpu_quota()};
    count_cpus(c);
    cpu_name(c->name, sizeof c->name);
    struct utsname u;
    if (uname(&u) == 0) snprintf(c->arch, sizeof c->arch, "%.15s", u.machine);
    os_proc_line(c->governor, sizeof c->governor, CPU_DIR "/cpu0/cpufreq/scaling_governor");
    char path[64];
    do snprintf(path, sizeof path, "/sys/devices/system/node/node%" PRIu32, c->n_node);
    while (access(path, F_OK) == 0 && c->n_node++ < CPU_SETSIZE);
    if (getloadavg(&c->load, 1) != 1) c->load = 0;
}

bool os_cpu_flag(const char *flag)
{
    char flags[4096];
    return (os_proc_value(flags, sizeof flags, "/proc/cpuinfo", "flags") ||
            os_proc_value(flags, sizeof flags, "/proc/cpuinfo", "Features")) &&
           os_proc_has_word(flags, ' ', flag);
}

size_t os_caches(struct os_cache *c, size_t n_max)
{
    size_t n = 0;
    for (uint32_t i = 0; n < n_max; i++) {
        char dir[64], list[256];
        snprintf(dir, sizeof dir, CPU_DIR "/cpu0/cache/index%" PRIu32, i);
        c[n] = (struct os_cache){.level = (uint32_t)os_proc_u64("%s/level", dir)};
        if (c[n].level == 0) break;
        os_proc_line(c[n].type, sizeof c[n].type, "%s/type", dir);
        if (strcmp(c[n].type, "Instruction") == 0) continue;
        c[n].n_bytes = os_proc_u64("%s/size", dir) * 1024; /* "32K" */
        cpu_set_t sharing;
        os_proc_line(list, sizeof list, "%s/shared_cpu_list", dir);
        parse_cpus(list, &sharing);
        c[n].n_sharing = (uint32_t)CPU_COUNT(&sharing);
        n++;
    }
    return n;
}
