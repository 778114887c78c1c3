/* version.h: the one place of the version, and what this build is made of. */
#ifndef VERSION_H
#define VERSION_H

#include <stdio.h>

#define MOXIE_VERSION "0.1.0"
#define MOXIE_DATE "2026-11-21" /* of its last change; the manual page shows it */

/* Compiler, machine and libraries, a line each. */
void version_facts(FILE *out);

#endif
