/*
 * os_machine.h: what this machine is, as Linux tells it: processor, paging, limits, devices. For
 * `doctor`, and for the heading of a measurement.
 *
 *     struct os_cpus c;
 *     os_cpus(&c);
 *     printf("%s, %u cores\n", c.name, c.n_core);
 *
 * Nothing here fails: what cannot be learnt is 0, or an empty string. Strings are cut to their
 * arrays and hold no control characters.
 */
#ifndef BASE_OS_MACHINE_H
#define BASE_OS_MACHINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define OS_NAME_BYTES 64

/* ---- processor ------------------------------------------------------------------------------- */

struct os_cpus {
    char name[OS_NAME_BYTES]; /* "AMD EPYC 9B14", "Raspberry Pi 5 Model B" */
    char arch[16];            /* "x86_64" */
    char governor[16];        /* frequency policy: "performance", "powersave" */
    uint32_t n_logical;       /* CPUs that are online */
    uint32_t n_core;          /* the same without hyperthread siblings */
    uint32_t n_allowed;       /* CPUs this process may run on: taskset, cpusets */
    uint32_t n_core_allowed;  /* the same without hyperthread siblings */
    uint32_t n_node;          /* NUMA nodes */
    double quota;             /* CPUs' worth of time that control groups grant; 0: no limit */
    double load;              /* tasks that wanted to run, mean of the last minute */
};
void os_cpus(struct os_cpus *c);

/* Is `flag` in the kernel's list of processor features (/proc/cpuinfo)? */
bool os_cpu_flag(const char *flag);

struct os_cache {
    uint32_t level;
    char type[16]; /* "Data", "Unified" */
    uint64_t n_bytes;
    uint32_t n_sharing; /* CPUs that share one */
};
/* The caches that hold data, of the first CPU, nearest first; at most n_max. */
size_t os_caches(struct os_cache *c, size_t n_max);

/* ---- memory beside os_memory() --------------------------------------------------------------- */

struct os_paging {
    uint64_t swap_bytes, swap_free_bytes;
    char huge_pages[16]; /* transparent ones: "always", "madvise" or "never" */
};
void os_paging(struct os_paging *p);

/* Resource limits of this process; UINT64_MAX: unlimited. */
struct os_limits {
    uint64_t memlock_bytes, stack_bytes, n_file;
};
void os_limits(struct os_limits *l);

/* ---- system ---------------------------------------------------------------------------------- */

struct os_system {
    char kernel[OS_NAME_BYTES];    /* "Linux 6.1.0-18-amd64" */
    char distro[OS_NAME_BYTES];    /* "Debian GNU/Linux 12 (bookworm)" */
    char machine[OS_NAME_BYTES];   /* maker and product, as the firmware names them */
    char container[OS_NAME_BYTES]; /* "docker", "podman", "lxc", ...; empty: none seen */
    bool is_virtual;               /* a hypervisor is below */
};
void os_system(struct os_system *s);

struct os_gpu {
    char name[16];           /* "card0" */
    char driver[32];         /* "i915" */
    uint32_t vendor, device; /* PCI numbers; 0 where it is no PCI device */
};
/* Graphics devices in /sys/class/drm, at most n_max. */
size_t os_gpus(struct os_gpu *g, size_t n_max);

#endif
