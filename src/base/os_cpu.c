/*
 * os_cpu.c: how many cores a compute pool should use.
 *
 * Two hyperthreads of a core share its vector units, so a core counts once: each allowed CPU is
 * counted unless a sibling with a lower number is allowed too. The set of allowed CPUs comes from
 * the scheduler (taskset, cpusets), the siblings from sysfs. A control group's CPU quota
 * (containers) bounds the result, rounded up, because threads beyond it only take turns in being
 * throttled. What cannot be read does not limit.
 */
#include "base/os.h"

#include "base/limits.h"

#include <assert.h>
#include <inttypes.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CGROUP_ROOT "/sys/fs/cgroup"

static bool read_line(const char *path, char *line, int n_bytes)
{
    FILE *f = fopen(path, "re");
    if (!f) return false;
    const bool ok = fgets(line, n_bytes, f) != NULL;
    fclose(f);
    return ok;
}

/* The lowest CPU of a list such as "0,64" or "2-3" that is in the set; -1 when there is none. */
static int lowest_allowed(const char *list, const cpu_set_t *allowed)
{
    for (const char *p = list; *p;) {
        char *end;
        const long first = strtol(p, &end, 10);
        if (end == p) break;
        long last = first;
        if (*end == '-') last = strtol(end + 1, &end, 10);
        for (long cpu = first < 0 ? 0 : first; cpu <= last && cpu < CPU_SETSIZE; cpu++) {
            if (CPU_ISSET((size_t)cpu, allowed)) return (int)cpu;
        }
        p = *end == ',' ? end + 1 : "";
    }
    return -1;
}

static uint32_t cores_allowed(void)
{
    cpu_set_t allowed;
    if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) {
        const long n = sysconf(_SC_NPROCESSORS_ONLN); /* more CPUs than a cpu_set_t holds */
        return n > 0 ? (uint32_t)n : 1;
    }
    uint32_t n_core = 0;
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (!CPU_ISSET((size_t)cpu, &allowed)) continue;
        char path[96];
        char list[256];
        snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list",
                 cpu);
        if (read_line(path, list, sizeof list)) {
            const int lowest = lowest_allowed(list, &allowed);
            if (lowest >= 0 && lowest < cpu) continue;
        }
        n_core++;
    }
    return n_core;
}

static uint32_t cores_of_quota(uint64_t quota_us, uint64_t period_us)
{
    if (quota_us == 0 || period_us == 0) return UINT32_MAX;
    const uint64_t n = (quota_us - 1) / period_us + 1;
    return n < UINT32_MAX ? (uint32_t)n : UINT32_MAX;
}

/* cgroup v2: cpu.max holds "max 100000" or "QUOTA PERIOD"; every ancestor limits as well. */
static uint32_t quota_v2(void)
{
    char group[512] = "";
    char line[512];
    FILE *f = fopen("/proc/self/cgroup", "re");
    if (!f) return UINT32_MAX;
    while (!group[0] && fgets(line, sizeof line, f)) {
        if (strncmp(line, "0::", 3) != 0) continue;
        snprintf(group, sizeof group, "%.*s", (int)strcspn(line + 3, "\n"), line + 3);
    }
    fclose(f);

    uint32_t least = UINT32_MAX;
    for (;;) {
        char path[640];
        uint64_t quota_us;
        uint64_t period_us;
        snprintf(path, sizeof path, CGROUP_ROOT "%s/cpu.max", group);
        if (read_line(path, line, sizeof line) &&
            sscanf(line, "%" SCNu64 " %" SCNu64, &quota_us, &period_us) == 2) {
            const uint32_t n = cores_of_quota(quota_us, period_us);
            if (n < least) least = n;
        }
        char *slash = strrchr(group, '/');
        if (!slash) return least;
        *slash = '\0';
    }
}

/* cgroup v1, as a container sees it: its own group is mounted at the root; -1 is no limit. */
static uint32_t quota_v1(void)
{
    char quota[64];
    char period[64];
    if (!read_line(CGROUP_ROOT "/cpu/cpu.cfs_quota_us", quota, sizeof quota)) return UINT32_MAX;
    if (!read_line(CGROUP_ROOT "/cpu/cpu.cfs_period_us", period, sizeof period)) return UINT32_MAX;
    const long long quota_us = strtoll(quota, NULL, 10);
    const long long period_us = strtoll(period, NULL, 10);
    if (quota_us <= 0 || period_us <= 0) return UINT32_MAX;
    return cores_of_quota((uint64_t)quota_us, (uint64_t)period_us);
}

uint32_t os_cores_physical(void)
{
    uint32_t n = cores_allowed();
    const uint32_t v2 = quota_v2();
    const uint32_t v1 = quota_v1();
    if (v2 < n) n = v2;
    if (v1 < n) n = v1;
    if (n > THREADS_MAX) n = THREADS_MAX;
    if (n < 1) n = 1;
    return n;
}
