/*
 * cli.h: options as rows. Tables of rows give the parser, the help, the environment mirror
 * (MOXIE_<OPTION>), the "did you mean", the man page and the completions of shells.
 *
 *     struct run_opts { struct common_opts common; float temp; ... };
 *     static const struct cli_opt rows[] = {
 *         {"temp", .type = CLI_F32, .offset = offsetof(struct run_opts, temp), .arg = "T",
 *          .max = 100, .def = "0.8", .help = "temperature; 0 is greedy"},
 *         {0}};
 *     const struct cli_cmd cmd_run = {.name = "run", .opts = {rows, common_rows}, ...};
 *
 * Where a value comes from: the command line, else the environment, else the row's default. An
 * option given twice: the last one counts; a list keeps them all. The environment gives a list one
 * item: whatever separated several could be part of one. Strings are borrowed from argv and the
 * environment.
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
    CLI_LIST, /* struct cli_list: every occurrence is kept, in order */
    CLI_ENUM, /* const char *, one of the '|'-separated words in `words` */
};

#define CLI_LIST_MAX 32 /* occurrences of one option: nobody types more */

struct cli_list {
    const char *s[CLI_LIST_MAX];
    size_t n;
};

enum cli_from { CLI_FROM_DEFAULT, CLI_FROM_ENV, CLI_FROM_ARG }; /* rising precedence */

struct cli_opt {
    const char *name; /* long name without dashes */
    char letter;      /* one-letter name, or 0 */
    enum cli_type type;
    size_t offset; /* of the field in the command's options struct */
    size_t from;   /* of an enum cli_from that tells where the value came from; 0: nobody asks */
    /* Placeholder in the help; NULL for flags. Shells complete a MODEL, and files for FILE, IN,
     * OUT, IDS and DIR. */
    const char *arg;
    double min, max;   /* numbers: inclusive range; both 0: what the type holds. min -1 of CLI_U64:
                        * -1 is 2^64 - 1 */
    const char *def;   /* default as text, also shown in the help; NULL: the zeroed field */
    const char *words; /* CLI_ENUM */
    const char *alias; /* further spellings with dashes, space separated: "-ctk"; or NULL */
    const char *help;  /* one line */
};

#define CLI_GROUPS_MAX 16 /* tables of rows of one command: its own and the shared ones */

struct cli_cmd {
    const char *name;
    const char *args;  /* "[MODEL [PROMPT]]", "bash|zsh": positional arguments, for the help */
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
/* One option at a time, for a program that is running already. The row of that name in a table, or
 * NULL; a changed field (strings are borrowed; the empty one empties a list), `said` names it in
 * the ERR_USAGE; and the field as text, whose length it returns like snprintf(). */
const struct cli_opt *cli_find(const struct cli_opt *rows, const char *name);
enum err cli_set(const struct cli_opt *row, const char *said, const char *text, void *opts);
size_t cli_value(const struct cli_opt *row, const void *opts, char *buf, size_t n_bytes);
/* Pages of help, as wide as the terminal that out is, 40 to 100 columns; 80 where it is none. */
void cli_help(const struct cli_cmd *cmd, FILE *out);
void cli_help_all(const struct cli_cmd *const *cmds, FILE *out); /* NULL-terminated */
/* "moxie run [options] [MODEL [PROMPT]]" */
void cli_usage(const struct cli_cmd *cmd, FILE *out);
/* The manual page, in man(7)'s language. */
void cli_man(const struct cli_cmd *const *cmds, FILE *out);
/* The script that teaches a shell (bash, zsh, fish) to complete our words; false: no such shell. */
bool cli_completion(const struct cli_cmd *const *cmds, const char *shell, FILE *out);

/* The nearest of names (NULL-terminated) to word by edit distance, or one that begins with it; NULL
 * when none is near. */
const char *cli_nearest(const char *word, const char *const *names);
/* Is word[0..n) one of the words of a list? */
bool cli_has_word(const char *list, char separator, const char *word, size_t n);

struct cli_exit {
    int code;
    const char *what; /* NULL after the last */
};
extern const struct cli_exit cli_exits[];

/* A whole decimal number, digits only; false for anything else and beyond 2^64 - 1. */
bool cli_u64(const char *s, uint64_t *v);
/* Prints text word-wrapped to the same width, continuation lines indented; the cursor stands at
 * `column`. */
void cli_wrap(FILE *out, const char *text, size_t column, size_t indent);

#endif
