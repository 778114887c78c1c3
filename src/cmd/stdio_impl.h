/*
 * stdio_impl.h: what the two halves of stdio_talk.h share: stdio_talk.c understands lines,
 * stdio_ask.c brings requests from their line to their last event.
 */
#ifndef CMD_STDIO_IMPL_H
#define CMD_STDIO_IMPL_H

#include "cmd/fields.h"
#include "cmd/request.h"
#include "cmd/stdio_conv.h"
#include "cmd/stdio_talk.h"

#define COUNT(list) (sizeof(list) / sizeof(list)[0])

/* Why a line is refused or a request fails; clients rely on the names. Where a function returns
 * one, err_msg() has the sentence. */
enum stdio_code {
    STDIO_CODE_NONE, /* nothing is wrong */
    STDIO_CODE_BAD_JSON,
    STDIO_CODE_NOT_UTF8,
    STDIO_CODE_TOO_LONG,
    STDIO_CODE_UNKNOWN_TYPE,
    STDIO_CODE_UNKNOWN_FIELD,
    STDIO_CODE_BAD_FIELD,
    STDIO_CODE_DUPLICATE_ID,
    STDIO_CODE_NOT_FOUND,
    STDIO_CODE_BUSY,
    STDIO_CODE_CLOSING,
    STDIO_CODE_CONTEXT,
    STDIO_CODE_TEMPLATE,
    STDIO_CODE_MODEL,
    STDIO_CODE_MEMORY,
};

struct stdio_msg { /* a line, as far as it was understood */
    json_t *obj;
    json_t *id; /* NULL: it has none; that of a `generate` without one is its line's number */
    uint64_t i_line;
    bool begins; /* a request: a `generate` with an id that is free */
};

/*
 * One `generate`. It waits, then runs:
 *
 *     accepted --(its conversation is free: read)--> waiting --(a seat is free)--> running --> done
 *
 * and may fail or be cancelled at any point. Its last event is `done` or `failed`.
 *
 * (1) A running request has a job of its tag in the crew, and no item and no request any more.
 * (2) Of a conversation's requests at most one runs, and they run in the order of their lines.
 */
struct stdio_ask {
    uint64_t tag;
    json_t *id;
    uint64_t i_line;
    size_t n_bytes;          /* what it counts in the memory that clients may fill */
    struct stdio_conv *conv; /* NULL: it stands alone */
    json_t *news;            /* array of messages: what it adds to the conversation */
    json_t *item;            /* the request */
    struct request req;      /* what was read from it */
    bool is_read, runs;
    bool streams; /* token events; otherwise `done` has the text */
    bool forgets; /* the conversation stays as it was, whatever has been written */
    uint64_t seed;
    bool is_random;    /* the seed matters */
    struct bytes text; /* of the answer, where the conversation or `done` needs it; UTF-8 */
    uint64_t came_ns, began_ns;
};

struct stdio_talk {
    struct engine *e;
    struct stdio_talk_opts o;
    struct stdio_out *out;
    struct crew *crew;
    struct stdio_convs convs;
    struct stdio_ask **asks; /* (n_ask), in the order of their lines; room for asks_max() */
    size_t n_ask;
    uint64_t last_tag;
    bool closing; /* no more requests are accepted */
    json_t *bye;  /* the id of the client's bye, or NULL */
    enum err err; /* of an event inside a callback of the crew */
    uint64_t start_ns;
    uint64_t n_answered, n_cancelled, n_failed;
};

/* ---- stdio_talk.c ---- */

/* May this name a request or a conversation? */
bool stdio_is_name(const json_t *v);
/* An event: type, id unless that is NULL, and these fields, whose values are handed over. */
enum err stdio_say(struct stdio_talk *t, const char *type, json_t *id, const struct field *list,
                   size_t n);
/* The event that says why: `failed` ends the request that m begins, `error` is about any other line
 * and changes no request. */
enum err stdio_refuse(struct stdio_talk *t, const struct stdio_msg *m, enum stdio_code code,
                      const char *fmt, ...) PRINTF_LIKE(4, 5);

/* ---- stdio_ask.c ---- */

enum err stdio_ask_accept(struct stdio_talk *t, const struct stdio_msg *m);
struct stdio_ask *stdio_ask_find(const struct stdio_talk *t, const json_t *id);
/* The request ends now. forgets: as if it had never been. */
enum err stdio_ask_cancel(struct stdio_talk *t, struct stdio_ask *a, bool forgets);
/* Those of a conversation, or all for NULL. */
enum err stdio_ask_cancel_all(struct stdio_talk *t, const struct stdio_conv *c);
/* Starts what waits as far as there are seats. */
enum err stdio_ask_start_waiting(struct stdio_talk *t);
/* The model cannot go on: every request is told why. */
enum err stdio_ask_fail_all(struct stdio_talk *t, enum err why);
void stdio_ask_free_all(struct stdio_talk *t);
size_t stdio_ask_n_waiting(const struct stdio_talk *t);
/* Callbacks of the crew; ctx is the talk. */
void stdio_ask_on_text(void *ctx, uint64_t tag, const char *text, size_t n);
void stdio_ask_on_done(void *ctx, const struct crew_result *r);

#endif
