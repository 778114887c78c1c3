/*
 * err.h: error codes and the message that goes with the last one.
 *
 * A function that can fail returns enum err. The place that notices a failure calls err_set() once,
 * with a whole sentence: what, where, what was found, what was expected, what to do. Callers
 * forward the code and may prefix with err_wrap(). Only main() and cmd/ print it.
 *
 *     if (n > MAX) return err_set(ERR_INPUT, "%s: key '%s' is %u, expected at most %u", ...);
 *
 * Threads: the message is thread-local. A worker hands its failure to the thread that waits for it.
 */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#if defined(__GNUC__)
#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))
#else
#define PRINTF_LIKE(fmt, args)
#endif

enum err {
    OK = 0,
    ERR_RUN,    /* failed while running: output, logits, a file that shrank    exit 1   */
    ERR_USAGE,  /* the command line asks for what cannot be                    exit 2   */
    ERR_INPUT,  /* bad or missing model, prompt, template, token file          exit 3   */
    ERR_MEMORY, /* the memory limit cannot be met, or the system has no more   exit 4   */
    ERR_NET,    /* network or peer                                             exit 5   */
    ERR_INTR,   /* interrupted by the user                                     exit 130 */
    ERR_END,    /* nothing more to come: an iterator's normal end, no message  */
    ERR_AGAIN,  /* nothing ready yet, no message                               */
};

#define ERR_MSG_BYTES_MAX 1024 /* one line for a person; longer names are cut */

/* Store the message (no newline, control characters become '?') and return code. */
enum err err_set(enum err code, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Put text before the stored message ("text: message") and return code. */
enum err err_wrap(enum err code, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* The calling thread's last message; "" when there was none. Valid until the next err_set(). */
const char *err_msg(void);
void err_clear(void);
/* The process exit code that CLI.md assigns to a code. */
int err_exit_code(enum err code);

#endif
