/*
 * fuzz_gguf.c: whatever the bytes, opening ends in OK or in ERR_INPUT with a message, everything
 * that an opened model offers lies inside the bytes, and nothing stays allocated.
 */
#include "base/mem.h"
#include "gguf/gguf.h"
#include "tests/unit/gguf_walk.h"

#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    const size_t used = mem_used_total();
    struct gguf *g = NULL;
    const enum err err = gguf_open_mem(&g, data, n_bytes, "fuzz");
    if (err && (err != ERR_INPUT || g || strncmp(err_msg(), "fuzz: ", 6) != 0)) abort();
    if (!err) gguf_walk(g);
    gguf_close(g);
    if (mem_used_total() != used) abort();
    return 0;
}
