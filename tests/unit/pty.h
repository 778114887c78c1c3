/*
 * pty.h: a terminal for tests: a pseudo-terminal of so many columns (0: it does not say). Skips the
 * test where the system has none.
 */
#ifndef TESTS_PTY_H
#define TESTS_PTY_H

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cmocka.h>

/* What is written to the result can be read from *master; the caller closes both. */
static inline FILE *pty_open(int *master, unsigned short n_columns)
{
    *master = posix_openpt(O_RDWR | O_NOCTTY);
    FILE *const f = *master >= 0 && grantpt(*master) == 0 && unlockpt(*master) == 0
                        ? fopen(ptsname(*master), "w")
                        : NULL;
    if (!f) { /* a chroot may have /dev/ptmx without /dev/pts */
        print_message("# no pseudo-terminals here\n");
        if (*master >= 0) close(*master);
        skip();
    }
    const struct winsize size = {.ws_row = 24, .ws_col = n_columns};
    assert_int_equal(ioctl(fileno(f), TIOCSWINSZ, &size), 0);
    return f;
}

#endif
