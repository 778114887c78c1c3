/*
 * fuzz_batch.c: any line of batch input is an item or is refused with a code, and either way its
 * answer, whatever the text in it, is one line of JSON that names the item again.
 *
 * The first byte of the input says whether the line is JSON; the whole input is the text of the
 * answer, too.
 */
#include "base/err.h"
#include "base/mem.h"
#include "cmd/batch_item.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes);

static void check(int ok)
{
    if (!ok) abort();
}

static void check_answer(const struct batch_stub *stub, const struct batch_answer *a)
{
    char *line;
    size_t n;
    check(batch_item_answer(stub, a, &line, &n) == OK);
    check(strlen(line) == n && strchr(line, '\n') == line + n - 1);
    const struct batch_line again = {.s = line, .n = n - 1, .number = 1};
    json_t *id;
    bool failed;
    check(batch_item_answered(&again, &id, &failed));
    check(json_equal(id, stub->id));
    check(failed == (a->code != NULL));
    json_decref(id);
    mem_free(line);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    if (n_bytes == 0) return 0;
    const char *const text = (const char *)data;
    const struct batch_line line = {.s = text + 1, .n = n_bytes - 1, .number = 7};
    struct batch_item it;
    const enum err err = batch_item_read(&it, &line, data[0] & 1, false);
    check(err == OK ? it.request && it.known : err == ERR_INPUT && it.code && err_msg()[0]);
    check(it.stub.id && it.stub.line == 7);
    check_answer(&it.stub, &(struct batch_answer){
                               .text = text, .n_text = n_bytes, .finish = "stop", .model = "m"});
    check_answer(&it.stub, &(struct batch_answer){.code = "failed", .message = err_msg()});
    batch_item_fini(&it);
    return 0;
}
