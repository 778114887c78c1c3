/*
 * version.c: what this build is made of, for reports of bugs. Libraries are asked at run time: in a
 * dynamic build they need not be those of the compilation. libedit cannot be asked.
 */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "version.h"

#include "kern/cpu.h"

#include <histedit.h>
#include <jansson.h>
#include <pcre2.h>
#include <string.h>
#include <sys/utsname.h>
#include <utf8proc.h>
#include <zlib.h>
#if defined(__GLIBC__)
#include <gnu/libc-version.h>
#define LIBC "glibc"
#else
#define LIBC "another C library"
#define gnu_get_libc_version() "of unknown version"
#endif

#if defined(__clang__)
#define COMPILER __VERSION__ /* names itself */
#else
#define COMPILER "gcc " __VERSION__
#endif

void version_facts(FILE *out)
{
    struct utsname system = {.machine = "unknown"};
    char pcre2[64] = "unknown";
    uname(&system);
    pcre2_config(PCRE2_CONFIG_VERSION, pcre2); /* at most 24 characters, by its manual */
    fprintf(out, "compiler    %s\n", COMPILER);
    fprintf(out, "machine     %s %s, instruction set %s\n", system.sysname, system.machine,
            cpu_level_name(cpu_detect()));
    fprintf(out, "libraries   %s %s, pcre2 %.*s, utf8proc %s, jansson %s, zlib %s, libedit %d.%d\n",
            LIBC, gnu_get_libc_version(), (int)strcspn(pcre2, " "), pcre2, utf8proc_version(),
            jansson_version_str(), zlibVersion(), LIBEDIT_MAJOR, LIBEDIT_MINOR);
}
