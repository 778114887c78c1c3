/*
 * cli_impl.h: what the files that read option rows share. Nobody else includes it.
 */
#ifndef CLI_IMPL_H
#define CLI_IMPL_H

#include "cli.h"

#define SPELLING_BYTES_MAX 40 /* "--" and the longest name */
#define ROW_TEXT_BYTES_MAX 512

/* "-h, --help", which every command has. */
extern const struct cli_opt cli_help_row;

/* The i-th row over all tables of a command; NULL after the last. */
const struct cli_opt *cli_row(const struct cli_cmd *cmd, size_t i);
/* The i-th way to write an option: long name, letter, aliases. NULL after the last. */
const char *cli_spelling(const struct cli_opt *o, size_t i, char buf[SPELLING_BYTES_MAX]);
/* "n-predict" -> "MOXIE_N_PREDICT" */
void cli_env_name(const struct cli_opt *o, char buf[SPELLING_BYTES_MAX]);
/* What the row says about itself: its help, its words, its default. Returns buf. */
char *cli_row_text(const struct cli_opt *o, char buf[ROW_TEXT_BYTES_MAX]);

/* The sentence for an option said[0..n) that no row has: ERR_USAGE. */
enum err cli_unknown_option(const struct cli_cmd *cmd, const char *said, size_t n);

#endif
