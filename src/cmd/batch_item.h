/*
 * batch_item.h: a line of batch input becomes an item; an answer becomes a line of output.
 *
 *     struct batch_item it;
 *     enum err e = batch_item_read(&it, &line, is_json, raw);
 *     if (e == OK) ... request_read(&r, engine, it.request, &defaults, it.raw) ...
 *     e = batch_item_answer(&it.stub, &answer, &text, &n);     // mem_free(text)
 *     batch_item_fini(&it);
 *
 * Two formats of JSON lines are known: our own, and that of OpenAI's batch files
 * (batch_openai.h); each is answered in kind. Whatever is wrong with a line, it has a stub, so that
 * its answer can say so. Threads: any.
 */
#ifndef CMD_BATCH_ITEM_H
#define CMD_BATCH_ITEM_H

#include "cmd/batch_in.h"

#include <jansson.h>

enum batch_form {
    BATCH_OWN,
    BATCH_CHAT,       /* OpenAI's, /v1/chat/completions */
    BATCH_COMPLETION, /* OpenAI's, /v1/completions */
};

struct batch_stub { /* what is kept of an item until it is answered */
    json_t *id;     /* "id", or the line's number; "custom_id" of OpenAI's forms, or null */
    enum batch_form form;
    uint64_t line;
    uint32_t n_shared; /* tokens of the prompt that the item before begins with, too */
};

struct batch_item {
    struct batch_stub stub;
    json_t *root;          /* what the line says */
    const json_t *request; /* the part for request_read(); borrowed from root */
    bool raw;
    const char *const *known; /* NULL-terminated: fields of request beside those of request.h */
    const char *code;         /* when batch_item_read() failed: what goes into the answer */
};

/* raw: what holds for lines that do not say. ERR_INPUT: the line is no item; it->code says of which
 * kind the fault is, it->stub how to answer, and the sentence does not name the line.
 * ERR_MEMORY. */
enum err batch_item_read(struct batch_item *it, const struct batch_line *line, bool is_json,
                         bool raw);
void batch_item_fini(struct batch_item *it); /* a zeroed one is fine */
void batch_stub_fini(struct batch_stub *s);

struct batch_answer {
    const char *text; /* (n_text) any bytes */
    size_t n_text;
    const char *finish; /* "stop", "length", "context" */
    const char *model;  /* which model wrote it */
    uint32_t n_prompt, n_completion;
    const char *code, *message; /* code not NULL: this instead of all else */
};

/* *line: one line with its newline and a NUL, mem_free. ERR_MEMORY. */
enum err batch_item_answer(const struct batch_stub *stub, const struct batch_answer *a, char **line,
                           size_t *n);

/* The message of an answer that is an error: with the number of the line in front. */
json_t *batch_item_message(const struct batch_stub *stub, const struct batch_answer *a);

/* A line of output read again: the name of the item that it answers, and whether it failed. False:
 * it is no answer. *id: json_decref. */
bool batch_item_answered(const struct batch_line *line, json_t **id, bool *failed);
/* Can this be what a run that was killed has left of a line of output? */
bool batch_item_torn(const struct batch_line *line);

#endif
