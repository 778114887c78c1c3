/*
 * batch_openai.h: the line formats of OpenAI's batch files.
 *
 *     {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": {...}}
 *     {"id": "batch_req_1", "custom_id": "a",
 *      "response": {"status_code": 200, "request_id": "req_1", "body": {...}}, "error": null}
 *
 * Part of batch_item: nobody else calls it.
 */
#ifndef CMD_BATCH_OPENAI_H
#define CMD_BATCH_OPENAI_H

#include "cmd/batch_item.h"

bool batch_openai_is(const json_t *root);
/* As batch_item_read(), for it->root. */
enum err batch_openai_read(struct batch_item *it);
/* NULL when memory is short; otherwise json_decref. */
json_t *batch_openai_answer(const struct batch_stub *stub, const struct batch_answer *a);

#endif
