/*
 * history.h: the last tokens of a text, and how often each of them is there.
 *
 *     struct history *h;
 *     enum err e = history_open(&h, n_vocab, 64);
 *     history_put(h, id);
 *     const struct history_token *t = history_tokens(h, &n);   // distinct ones, in no order
 *
 * All in constant time per token. Threads: one at a time.
 */
#ifndef TEXT_HISTORY_H
#define TEXT_HISTORY_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

#define HISTORY_ALL UINT32_MAX /* as n_last: nothing is ever forgotten */

struct history;

struct history_token {
    uint32_t id;
    uint32_t n; /* times; >= 1 */
};

/* n_last >= 1: tokens remembered. */
enum err history_open(struct history **h, uint32_t n_vocab, uint32_t n_last);
void history_close(struct history *h); /* NULL is fine */
/* id < n_vocab. The oldest token is forgotten when n_last are there. */
void history_put(struct history *h, uint32_t id);
/* Valid until the next history_put(). */
const struct history_token *history_tokens(const struct history *h, size_t *n);

#endif
