/* version.h: the one place of the version. */
#ifndef VERSION_H
#define VERSION_H

#define MOXIE_VERSION "0.1.0"

#endif
