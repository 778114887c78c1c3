/*
 * poke.h: a copy of a model file in which one number of a tensor is NaN.
 */
#ifndef TESTS_POKE_H
#define TESTS_POKE_H

#include "base/err.h"
#include "base/mem.h"
#include "base/os.h"
#include "gguf/gguf.h"
#include "tensor/tensor.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static inline void poke_nan(const char *from, const char *to, const char *tensor, size_t i)
{
    char *data;
    size_t n;
    struct gguf *g;
    assert_int_equal(os_read_all(from, 1u << 28, &data, &n), OK);
    assert_int_equal(gguf_open_mem(&g, data, n, from), OK);
    const struct tensor *const t = gguf_tensor(g, tensor);
    assert_non_null(t);
    const size_t n_bytes = dtype_row_bytes(t->type, 1);
    assert_true(t->type == DT_F32 || t->type == DT_F16); /* all bits set is NaN in both */
    memset(data + ((const char *)t->data - data) + i * n_bytes, 0xff, n_bytes);
    gguf_close(g);
    assert_int_equal(os_write_all(to, data, n), OK);
    mem_free(data);
}

#endif
