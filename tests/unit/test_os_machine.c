/*
 * test_os_machine.c: reading the files in which Linux describes itself, facts that must add up on
 * any machine, and the disk probe.
 */
#include "base/os.h"
#include "base/os_disk.h"
#include "base/os_machine.h"
#include "base/os_proc.h"
#include "kern/cpu.h"
#include "tests/unit/temp_dir.h"

#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include <cmocka.h>

static void put(const char *path, const char *text)
{
    assert_int_equal(os_write_all(path, text, strlen(text)), OK);
}

static void test_lines(void **state)
{
    (void)state;
    struct temp_dir d;
    temp_dir_make(&d);
    char path[512], buf[64];
    snprintf(path, sizeof path, "%s/file", d.path);
    put(path, "12345 second \t\nmodel name\t: Some \x1b[1m CPU\nMemTotal:   77 kB\nID=\"x\"\n");
    assert_true(os_proc_line(buf, sizeof buf, "%s/%s", d.path, "file"));
    assert_string_equal(buf, "12345 second");
    assert_true(os_proc_line(buf, 4, "%s", path));
    assert_string_equal(buf, "123");
    assert_int_equal(os_proc_u64("%s", path), 12345);
    assert_true(os_proc_value(buf, sizeof buf, path, "model name"));
    assert_string_equal(buf, "Some  [1m CPU"); /* no control characters */
    assert_int_equal(os_proc_value_u64(path, "MemTotal"), 77);
    assert_true(os_proc_value(buf, sizeof buf, path, "ID"));
    assert_string_equal(buf, "\"x\"");
    assert_false(os_proc_value(buf, sizeof buf, path, "Mem")); /* only whole names */
    assert_string_equal(buf, "");
    assert_int_equal(os_proc_value_u64(path, "absent"), 0);
    assert_false(os_proc_line(buf, sizeof buf, "%s/absent", d.path));
    assert_string_equal(buf, "");
    assert_int_equal(os_proc_u64("%s/absent", d.path), 0);
    put(path, "-1\n");
    assert_int_equal(os_proc_u64("%s", path), 0); /* how cgroup v1 says: no limit */
    temp_dir_remove(&d);
}

static void test_words(void **state)
{
    (void)state;
    assert_true(os_proc_has_word("fpu avx2 fma", ' ', "avx2"));
    assert_true(os_proc_has_word("fpu avx2 fma", ' ', "fma"));
    assert_true(os_proc_has_word("cpu,cpuacct", ',', "cpu"));
    assert_false(os_proc_has_word("cpuacct,cpuset", ',', "cpu"));
    assert_false(os_proc_has_word("", ',', "cpu"));
    assert_false(os_cpu_flag("no-such-flag"));
}

static void count_dirs(void *n, const char *dir)
{
    assert_ptr_equal(strstr(dir, "/sys/fs/cgroup/"), dir);
    ++*(uint32_t *)n;
}

static void test_groups(void **state)
{
    (void)state;
    uint32_t n = 0;
    os_proc_groups("no-such-controller", count_dirs, &n);
    assert_int_equal(n, 0);
    os_proc_groups(NULL, count_dirs, &n); /* every version has at least a root */
    os_proc_groups("cpu", count_dirs, &n);
    if (n == 0) skip(); /* a kernel without control groups */
    assert_in_range(n, 1, 64);
}

static void test_facts(void **state)
{
    (void)state;
    struct os_cpus c;
    os_cpus(&c);
    assert_true(c.n_core >= 1);
    assert_true(c.n_core <= c.n_logical);
    assert_true(c.n_core_allowed >= 1);
    assert_true(c.n_core_allowed <= c.n_allowed);
    assert_true(c.n_allowed <= c.n_logical);
    assert_true(c.quota >= 0);
    assert_true(os_cores_physical() <= c.n_core_allowed);
    assert_true(strlen(c.arch) > 0);

    const struct os_memory m = os_memory();
    assert_true(m.total_bytes > 0);
    assert_true(m.free_bytes > 0);
    assert_true(m.free_bytes <= m.total_bytes);
    assert_true(m.limit_bytes == UINT64_MAX || m.free_bytes <= m.limit_bytes);

    struct os_cache cache[8];
    const size_t n = os_caches(cache, 8);
    assert_true(n <= 8);
    assert_true(os_caches(cache, 1) <= 1);
    for (size_t i = 0; i < n; i++) {
        assert_in_range(cache[i].level, 1, 4);
        assert_true(cache[i].n_bytes >= 1024);
        assert_string_not_equal(cache[i].type, "Instruction");
    }
    struct os_limits l;
    os_limits(&l);
    assert_true(l.n_file >= 3);
    struct os_system s;
    os_system(&s);
    assert_ptr_equal(strstr(s.kernel, "Linux "), s.kernel);
    struct os_gpu gpu[2];
    assert_true(os_gpus(gpu, 2) <= 2);
    assert_int_equal(os_gpus(NULL, 0), 0);
}

/* What `ulimit` leaves counts as free. */
static void test_limits_of_memory(void **state)
{
    (void)state;
    static const struct {
        int resource;
        const char *used;
    } kind[] = {{RLIMIT_AS, "VmSize"}, {RLIMIT_DATA, "VmData"}};
    const uint64_t room = (uint64_t)16 << 20;
    for (size_t i = 0; i < 2; i++) {
        struct rlimit before;
        assert_int_equal(getrlimit(kind[i].resource, &before), 0);
        struct rlimit tight = before;
        tight.rlim_cur = os_proc_value_u64("/proc/self/status", kind[i].used) * 1024 + room;
        assert_int_equal(setrlimit(kind[i].resource, &tight), 0);
        const struct os_memory m = os_memory();
        assert_int_equal(setrlimit(kind[i].resource, &before), 0);
        assert_in_range(m.free_bytes, room / 2, room);
        assert_true(os_memory().free_bytes > room);
    }
}

static void test_affinity(void **state)
{
    (void)state;
    cpu_set_t before, one;
    if (sched_getaffinity(0, sizeof before, &before) != 0) skip();
    int cpu = 0;
    while (!CPU_ISSET((size_t)cpu, &before)) cpu++;
    CPU_ZERO(&one);
    CPU_SET((size_t)cpu, &one);
    assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0);
    struct os_cpus c;
    os_cpus(&c);
    assert_int_equal(c.n_allowed, 1);
    assert_int_equal(c.n_core_allowed, 1);
    assert_int_equal(os_cores_physical(), 1);
    assert_int_equal(sched_setaffinity(0, sizeof before, &before), 0);
}

static void test_levels(void **state)
{
    (void)state;
    struct cpu_level l[8];
    const size_t n = cpu_levels(l, 8);
    assert_true(n >= 1);
    unsigned flags = 0;
    for (size_t i = 0; i < n; i++) {
        if (!l[i].lacks) flags |= l[i].flag;
        if (i > 0 && l[i - 1].lacks) assert_non_null(l[i].lacks); /* a ladder */
    }
    assert_int_equal(flags, cpu_detect());
    assert_int_equal(cpu_levels(l, 1), 1);
}

static void test_disk(void **state)
{
    (void)state;
    struct temp_dir d;
    temp_dir_make(&d);
    char path[512], found[512];
    assert_false(os_disk_largest(found, sizeof found, d.path));
    snprintf(path, sizeof path, "%s/small", d.path);
    put(path, "too short to measure");
    assert_false(os_disk_largest(found, sizeof found, d.path));
    assert_false(os_disk_largest(found, sizeof found, path)); /* no directory */

    const size_t n = OS_READ_BYTES_MIN + 4097; /* no whole number of pages */
    char *const data = test_calloc(n, 1);
    snprintf(path, sizeof path, "%s/large", d.path);
    assert_int_equal(os_write_all(path, data, n), OK);
    test_free(data);
    assert_true(os_disk_largest(found, sizeof found, d.path));
    assert_string_equal(found, path);
    assert_false(os_disk_largest(found, 4, d.path)); /* a name that does not fit */

    struct os_read r;
    assert_int_equal(os_disk_read(&r, path), OK);
    assert_int_equal(r.n_bytes, n);
    assert_true(r.ns > 0);
    snprintf(path, sizeof path, "%s/absent", d.path);
    assert_int_equal(os_disk_read(&r, path), ERR_INPUT);
    assert_int_equal(r.n_bytes, 0);

    struct os_volume v;
    os_volume(&v, d.path);
    assert_true(v.total > 0);
    assert_true(v.free <= v.total);
    /* In a chroot the list of mounts does not reach the folder: both names are there or none. */
    assert_int_equal(v.filesystem[0] != '\0', v.source[0] != '\0');
    os_volume(&v, path);
    assert_int_equal(v.total, 0);
    temp_dir_remove(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines),    cmocka_unit_test(test_words),
        cmocka_unit_test(test_groups),   cmocka_unit_test(test_facts),
        cmocka_unit_test(test_affinity), cmocka_unit_test(test_levels),
        cmocka_unit_test(test_disk),     cmocka_unit_test(test_limits_of_memory),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
