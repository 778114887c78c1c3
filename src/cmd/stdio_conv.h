/*
 * stdio_conv.h: the conversations of a stdio session, by name: what was said so far, so that a
 * client sends only what is new.
 *
 * A conversation is there from the first request that names it; one that holds no message and has
 * no request any more is gone. Only answered requests become part of it.
 */
#ifndef CMD_STDIO_CONV_H
#define CMD_STDIO_CONV_H

#include "base/err.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct stdio_conv {
    json_t *name;   /* as the client gave it: a string or an integer */
    json_t *said;   /* array of messages */
    size_t n_bytes; /* of the requests and answers in it */
    uint32_t n_ask; /* requests that wait or run */
    bool is_busy;   /* one of them runs */
};

struct stdio_convs {
    struct stdio_conv **at; /* (cap) the first n are there */
    size_t n, cap;
};

enum err stdio_convs_init(struct stdio_convs *all, size_t cap);
void stdio_convs_fini(struct stdio_convs *all); /* a zeroed one is fine */
struct stdio_conv *stdio_convs_find(const struct stdio_convs *all, const json_t *name);
/* A new one, or NULL: ERR_AGAIN when all places are taken, or no memory. */
enum err stdio_convs_add(struct stdio_convs *all, json_t *name, struct stdio_conv **c);
/* Removes it when it has become nothing. */
void stdio_convs_tidy(struct stdio_convs *all, struct stdio_conv *c);
void stdio_convs_remove(struct stdio_convs *all, struct stdio_conv *c);

/* The conversation with `news` behind it: a new array, NULL when memory is short. */
json_t *stdio_conv_with(const struct stdio_conv *c, json_t *news);
/* `news` and the answer become part of it; both are UTF-8. n_bytes: what they count. */
enum err stdio_conv_keep(struct stdio_conv *c, json_t *news, const char *answer, size_t n,
                         size_t n_bytes);

#endif
