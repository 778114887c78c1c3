/*
 * err.c: one message per thread, made safe to print.
 *
 * Messages quote names that come from hostile files, so every byte that could steer a terminal is
 * replaced: C0 controls, DEL, and C1 controls in their UTF-8 form (C2 80 .. C2 9F). Other bytes
 * pass, valid UTF-8 or not. A message that does not fit ends in "...". Formatting goes through a
 * buffer of its own, because the arguments may point into the message that is being replaced.
 *
 * The thread-local buffer is the one variable of this file; the contract of err.h requires it.
 */
#include "base/err.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static _Thread_local char message[ERR_MSG_BYTES_MAX];

static void sanitise(char *s)
{
    for (unsigned char *p = (unsigned char *)s; *p; p++) {
        if (*p < 0x20 || *p == 0x7f) {
            *p = '?';
        } else if (p[0] == 0xc2 && p[1] >= 0x80 && p[1] < 0xa0) {
            p[0] = '?';
            p[1] = '?';
        }
    }
}

/* Formats at text[used]; marks a cut. */
static void format(char text[ERR_MSG_BYTES_MAX], size_t used, const char *fmt, va_list args)
{
    assert(used < ERR_MSG_BYTES_MAX);
    const int n = vsnprintf(text + used, ERR_MSG_BYTES_MAX - used, fmt, args);
    assert(n >= 0);
    if ((size_t)n >= ERR_MSG_BYTES_MAX - used) memcpy(text + ERR_MSG_BYTES_MAX - 4, "...", 4);
}

static void store(char text[ERR_MSG_BYTES_MAX])
{
    sanitise(text);
    memcpy(message, text, ERR_MSG_BYTES_MAX);
}

enum err err_set(enum err code, const char *fmt, ...)
{
    assert(code != OK);
    assert(fmt);
    char text[ERR_MSG_BYTES_MAX] = {0};
    va_list args;
    va_start(args, fmt);
    format(text, 0, fmt, args);
    va_end(args);
    store(text);
    return code;
}

enum err err_wrap(enum err code, const char *fmt, ...)
{
    assert(code != OK);
    assert(fmt);
    char text[ERR_MSG_BYTES_MAX] = {0};
    va_list args;
    va_start(args, fmt);
    format(text, 0, fmt, args);
    va_end(args);
    const size_t used = strlen(text);
    const int n = snprintf(text + used, sizeof text - used, ": %s", message);
    if (n < 0 || (size_t)n >= sizeof text - used) memcpy(text + sizeof text - 4, "...", 4);
    store(text);
    return code;
}

const char *err_msg(void)
{
    return message;
}

void err_clear(void)
{
    message[0] = '\0';
}

int err_exit_code(enum err code)
{
    static const int exit_codes[] = {
        [OK] = 0,
        [ERR_RUN] = 1,
        [ERR_USAGE] = 2,
        [ERR_INPUT] = 3,
        [ERR_MEMORY] = 4,
        [ERR_NET] = 5,
        [ERR_INTR] = 130,
        /* An iterator's end that reaches main() is our own mistake: a failed run. */
        [ERR_END] = 1,
        [ERR_AGAIN] = 1,
    };
    assert((size_t)code < sizeof exit_codes / sizeof exit_codes[0]);
    return exit_codes[code];
}
