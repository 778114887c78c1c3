/*
 * os_machine.c: paging, resource limits, kernel, container and graphics devices of this machine.
 *
 * The first sign of a container that is found counts.
 */
#include "base/os_machine.h"

#include "base/os_proc.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#define MEMINFO "/proc/meminfo"

/* ---- paging ---------------------------------------------------------------------------------- */

void os_paging(struct os_paging *p)
{
    assert(p);
    *p = (struct os_paging){.swap_bytes = os_proc_value_u64(MEMINFO, "SwapTotal") * 1024,
                            .swap_free_bytes = os_proc_value_u64(MEMINFO, "SwapFree") * 1024};
    char line[64]; /* "always [madvise] never" */
    os_proc_line(line, sizeof line, "/sys/kernel/mm/transparent_hugepage/enabled");
    const char *const from = strchr(line, '[');
    if (!from) return;
    snprintf(p->huge_pages, sizeof p->huge_pages, "%.*s", (int)strcspn(from + 1, "]"), from + 1);
}

/* ---- limits ---------------------------------------------------------------------------------- */

static uint64_t count_of(rlim_t v)
{
    return v == RLIM_INFINITY ? UINT64_MAX : (uint64_t)v;
}

void os_limits(struct os_limits *l)
{
    assert(l);
    *l = (struct os_limits){.n_file = 0};
    struct rlimit r;
    if (getrlimit(RLIMIT_MEMLOCK, &r) == 0) l->memlock_bytes = count_of(r.rlim_cur);
    if (getrlimit(RLIMIT_STACK, &r) == 0) l->stack_bytes = count_of(r.rlim_cur);
    if (getrlimit(RLIMIT_NOFILE, &r) == 0) l->n_file = count_of(r.rlim_cur);
}

/* ---- system ---------------------------------------------------------------------------------- */

static void find_container(char *name, size_t n_bytes, const char *release)
{
    static const struct {
        const char *file, *name;
    } signs[] = {{"/run/.containerenv", "podman"},
                 {"/.dockerenv", "docker"},
                 {"/var/run/secrets/kubernetes.io", "kubernetes"}};
    if (strstr(release, "icrosoft")) {
        snprintf(name, n_bytes, "WSL");
        return;
    }
    for (size_t i = 0; i < sizeof signs / sizeof signs[0]; i++) {
        if (access(signs[i].file, F_OK) != 0) continue;
        snprintf(name, n_bytes, "%s", signs[i].name);
        return;
    }
    os_proc_line(name, n_bytes, "/run/systemd/container"); /* "lxc", "systemd-nspawn" */
}

void os_system(struct os_system *s)
{
    assert(s);
    *s = (struct os_system){.is_virtual = os_cpu_flag("hypervisor")};
    struct utsname u = {.sysname = ""};
    uname(&u);
    snprintf(s->kernel, sizeof s->kernel, "%.15s %.47s", u.sysname, u.release);
    char line[2 * OS_NAME_BYTES], maker[OS_NAME_BYTES / 2], product[OS_NAME_BYTES / 2];
    os_proc_value(line, sizeof line, "/etc/os-release", "PRETTY_NAME");
    const char *const name = line + (line[0] == '"');
    snprintf(s->distro, sizeof s->distro, "%.*s", (int)strcspn(name, "\""), name);
    os_proc_line(maker, sizeof maker, "/sys/class/dmi/id/sys_vendor");
    os_proc_line(product, sizeof product, "/sys/class/dmi/id/product_name");
    snprintf(s->machine, sizeof s->machine, "%s%s%s", maker, maker[0] && product[0] ? " " : "",
             product);
    find_container(s->container, sizeof s->container, u.release);
}

/* The last part of a symbolic link's target. */
static void link_name(const char *path, char *name, size_t n_bytes)
{
    char target[512];
    const ssize_t n = readlink(path, target, sizeof target - 1);
    target[n > 0 ? n : 0] = '\0';
    const char *const slash = strrchr(target, '/');
    snprintf(name, n_bytes, "%.*s", (int)n_bytes - 1, slash ? slash + 1 : target);
}

static uint32_t hex(const char *dir, const char *name)
{
    char line[32];
    os_proc_line(line, sizeof line, "%s/%s", dir, name);
    return (uint32_t)strtoul(line, NULL, 16);
}

size_t os_gpus(struct os_gpu *g, size_t n_max)
{
    assert(g || n_max == 0);
    const uint32_t cards_max = 64; /* the kernel's own limit of primary nodes */
    size_t n = 0;
    for (uint32_t i = 0; i < cards_max && n < n_max; i++) {
        char dir[64], driver[80];
        snprintf(dir, sizeof dir, "/sys/class/drm/card%" PRIu32 "/device", i);
        if (access(dir, F_OK) != 0) continue;
        g[n] = (struct os_gpu){.vendor = hex(dir, "vendor"), .device = hex(dir, "device")};
        snprintf(g[n].name, sizeof g[n].name, "card%" PRIu32, i);
        snprintf(driver, sizeof driver, "%s/driver", dir);
        link_name(driver, g[n].driver, sizeof g[n].driver);
        n++;
    }
    return n;
}
