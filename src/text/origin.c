/*
 * origin.c: the end of a text with marks.
 */
#include "text/origin.h"

#include "base/mem.h"

#include <assert.h>

void origin_text_fini(struct origin_text *t)
{
    assert(t);
    mem_free(t->s);
    mem_free(t->data);
    *t = (struct origin_text){0};
}
