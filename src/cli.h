/*
 * cli.h: options as rows. Tables of rows give the parser, the help, the environment mirror
 * (MOXIE_<OPTION>) and the "did you mean".
 *
 *     struct run_opts { struct common_opts common; float temp; ... };
 *     static const struct cli_opt rows[] = {
 *         {"temp", .type = CLI_F32, .offset = offsetof(struct run_opts, temp), .arg = "T",
 *          .max = 100, .def = "0.8", .help = "temperature; 0 is greedy"},
 *         {0}};
 *     const struct cli_cmd cmd_run = {.name = "run", .opts = {rows, common_rows}, ...};
 *
 * Where a value comes from: the command line, else the environment, else the row's default. An
 * option given twice: the last one counts. Strings are borrowed from argv and the environment.
 */
#ifndef CLI_H
#define CLI_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum cli_type {
    CLI_FLAG, /* bool; giving the option sets it */
    CLI_STR,  /* const char * */
    CLI_U32,  /* uint32_t */
    CLI_I32,  /* int32_t */
    CLI_U64,  /* uint64_t */
    CLI_F32,  /* float */
    CLI_SIZE, /* uint64_t bytes: 512M, 2G, 2GiB, 1.5G; units are powers of 1024 */
    CLI_ENUM, /* const char *, one of the '|'-separated words in `words` */
};

enum cli_from { CLI_FROM_DEFAULT, CLI_FROM_ENV, CLI_FROM_ARG }; /* rising precedence */

struct cli_opt {
    const char *name; /* long name without dashes */
    char letter;      /* one-letter name, or 0 */
    enum cli_type type;
    size_t offset;   /* of the field in the command's options struct */
    size_t from;     /* of an enum cli_from that tells where the value came from; 0: nobody asks */
    const char *arg; /* placeholder in the help; NULL for flags */
    double min, max; /* numbers: inclusive range; both 0: what the type holds */
    const char *def; /* default as text, also shown in the help; NULL: the zeroed field */
    const char *words; /* CLI_ENUM */
    const char *alias; /* further spellings with dashes, space separated: "-ctk"; or NULL */
    const char *help;  /* one line */
};

#define CLI_GROUPS_MAX 6 /* tables of rows of one command: its own and the shared ones */

struct cli_cmd {
    const char *name;
    const char *args;  /* "[MODEL [PROMPT]]": positional arguments, for the help */
    const char *brief; /* one line in `moxie help` */
    const char *text;  /* a paragraph for `moxie help NAME`, may be NULL */
    const struct cli_opt *opts[CLI_GROUPS_MAX]; /* each table ends with a row without name */
    size_t opts_bytes;                          /* size of the options struct */
    size_t pos_max;                             /* positional arguments accepted */
    size_t pos_offset;       /* where they go: const char *[pos_max] in the options struct */
    int (*main)(void *opts); /* returns the exit code */
};

/* Fill *opts (zeroed, opts_bytes) from defaults, environment and argv (without program and command
 * name). *help becomes true when --help or -h was given; nothing else is then checked. ERR_USAGE
 * with the sentence. */
enum err cli_parse(const struct cli_cmd *cmd, int argc, char *const *argv, void *opts, bool *help);
/* The help page, at most 80 columns wide. */
void cli_help(const struct cli_cmd *cmd, FILE *out);
/* The nearest of names (NULL-terminated) to word by edit distance, or NULL when none is near. */
const char *cli_nearest(const char *word, const char *const *names);

/* A whole decimal number, digits only; false for anything else and beyond 2^64 - 1. */
bool cli_u64(const char *s, uint64_t *v);
/* Prints text word-wrapped to 80 columns, continuation lines indented; the cursor stands at
 * `column`. */
void cli_wrap(FILE *out, const char *text, size_t column, size_t indent);

#endif
