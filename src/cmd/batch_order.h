/*
 * batch_order.h: answers that become ready in any order leave in the order of their items.
 *
 *     uint64_t tag;
 *     if (!batch_order_full(w)) tag = batch_order_add(w, &stub); // takes the stub over
 *     batch_order_text(w, tag, piece, n);                        // as it is written
 *     batch_order_done(w, tag, &answer);                         // its text is what was gathered
 *     while ((line = batch_order_first(w, &n))) { put(line, n); batch_order_pop(w); }
 *
 * A window of BATCH_WINDOW items is kept, from the oldest that has not left on. Threads: one at a
 * time.
 */
#ifndef CMD_BATCH_ORDER_H
#define CMD_BATCH_ORDER_H

#include "cmd/batch_item.h"

struct batch_order;

enum err batch_order_open(struct batch_order **w);
void batch_order_close(struct batch_order *w); /* NULL is fine */

/* No further item now: the window is full, or its texts are long. Never when it is empty. */
bool batch_order_full(const struct batch_order *w);
/* The next item; not when full. *stub becomes empty. */
uint64_t batch_order_add(struct batch_order *w, struct batch_stub *stub);
enum err batch_order_text(struct batch_order *w, uint64_t tag, const char *s, size_t n);
/* a->text is not looked at. */
enum err batch_order_done(struct batch_order *w, uint64_t tag, const struct batch_answer *a);
/* The line of the oldest item, valid until popped; NULL: it is not done, or there is none. */
const char *batch_order_first(const struct batch_order *w, size_t *n);
void batch_order_pop(struct batch_order *w);

#endif
