/*
 * files.h: what commands read and write: the prompt, lists of token ids, output files.
 *
 * An output file appears under its name only when it is whole (base/part.h). Standard output ("-"),
 * pipes and devices are written directly.
 */
#ifndef CMD_FILES_H
#define CMD_FILES_H

#include "base/part.h"
#include "cmd/common.h"

/* Once, before anything is opened: a standard stream that was closed must not become the number of
 * the next file. Closed standard input then reads as empty, closed output cannot be written. */
void files_init(void);

struct text {
    char *s; /* NUL-terminated, may hold NULs; mem_free */
    size_t n;
};

/* Wrong ways to give a prompt: -p together with -f, none at all at a terminal (ERR_USAGE; may_chat:
 * `moxie chat` may have been meant). What the command line gives goes before the environment. */
enum err prompt_check(struct common_opts *o, bool may_chat);

enum prompt_flags {
    PROMPT_ESCAPES = 1, /* expand \n, \t, \xHH, ... in -p */
    PROMPT_APPEND = 2,  /* standard input that is no terminal follows -p, after an empty line */
    PROMPT_CHOMP = 4,   /* the newline that ends a file or standard input is not part of the text */
};

/* The text is in a named file: read it before the model is opened, so that a wrong name is told at
 * once. What is typed is asked for only when there is a model to answer it. */
bool prompt_is_file(const struct common_opts *o);

/* The text that -p, -f or standard input give. After prompt_check(). */
enum err prompt_read(const struct common_opts *o, unsigned flags, struct text *t);

/* A prompt of no ids, *ids allocated or NULL, becomes BOS alone. ERR_INPUT: there is no BOS. */
enum err prompt_begin(const struct engine *e, uint32_t **ids, size_t *n);

/* Decimal ids separated by white space from a file or "-". ERR_INPUT: something else in it, an id
 * of n_vocab or more (n_vocab 0: unknown, anything that fits), no id at all. *ids: mem_free. */
enum err ids_read(const char *path, uint32_t n_vocab, uint32_t **ids, size_t *n);

/* To standard output, on one line, separated by single spaces. */
void ids_print(const uint32_t *ids, size_t n);

/* Do both streams go to the same file, pipe or terminal? */
bool out_is_same(FILE *a, FILE *b);

struct out_file {
    FILE *f;          /* the part's, or one that is written directly */
    const char *name; /* for messages; borrowed */
    struct part part;
};

enum err out_open(struct out_file *o, const char *path);
enum err out_write(struct out_file *o, const void *data, size_t n_bytes);
enum err out_commit(struct out_file *o);
void out_abandon(struct out_file *o); /* nothing is left behind; fine when zeroed or committed */

/* Flush; ERR_END: whoever read it has gone away (a closed pipe), ERR_RUN: it cannot be written. */
enum err out_flush(FILE *f, const char *name);

/* ERR_USAGE when the output would overwrite the input (option names for the message). "-" and NULL
 * never do. */
enum err out_differs(const char *out_option, const char *out, const char *in_option,
                     const char *in);

#endif
