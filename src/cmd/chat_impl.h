/*
 * chat_impl.h: what chat_main.c (the turns) and chat_slash.c (the commands) share. Nobody else
 * includes it.
 */
#ifndef CMD_CHAT_IMPL_H
#define CMD_CHAT_IMPL_H

#include "base/bytes.h"
#include "cmd/chat_line.h"
#include "cmd/chat_talk.h"
#include "cmd/common.h"
#include "cmd/files.h"
#include "cmd/sampling.h"
#include "cmd/show.h"

struct chat_opts {
    struct common_opts common; /* /set changes its sampling */
    bool no_history;
};

struct chat_turn { /* counts of one answer, in tokens */
    size_t n_prompt, n_reused;
    uint32_t n_answer;
};

struct chat_kept { /* options borrow their strings */
    const struct cli_opt *row;
    char *value; /* mem_free */
};

struct chat_state {
    struct chat_opts *o;
    struct engine *e;
    struct session *s;
    struct sampling sampling;
    struct chat_talk talk;
    struct chat_line *line;
    struct show show;
    struct bytes answer;  /* being written */
    struct bytes pending; /* what /read has brought, the beginning of the next message */
    struct chat_turn last;
    uint64_t n_turn; /* answers begun; each has its own seed, so that /regen gives another one */
    char *file;      /* of the last /save or /load, or NULL */
    struct chat_kept *kept; /* (n_kept) what /set was given */
    size_t n_kept;
    bool is_story;  /* the demo model: the prompt is what both have said, without roles */
    bool leave;     /* /exit */
    bool is_broken; /* standard output cannot be written: there is no point in going on */
    enum err err;   /* of the first turn or command that failed */
};

/* text becomes the user's next message, and is answered. After an error, or Ctrl-C before the first
 * word (ERR_INTR), the conversation is as before, and so is what waits for the next message. */
enum err chat_ask(struct chat_state *c, const char *text, size_t n);
/* Puts text before the next message. ERR_INPUT: it is not UTF-8. */
enum err chat_pend(struct chat_state *c, const char *text, size_t n);
/* Answers the last user's message, in place of the answer that it has. The same on errors. */
enum err chat_again(struct chat_state *c);

/* Is this text a command, and not a message? */
bool chat_is_command(const char *text, size_t n);
/* text: NUL-terminated. ERR_USAGE: no such command, a wrong argument. */
enum err chat_command(struct chat_state *c, const char *text);
/* The i-th command with its slash, for Tab; NULL after the last. */
const char *chat_word(size_t i);

#endif
