/*
 * origin.h: a text that remembers which of its bytes are somebody's data.
 *
 * A prompt is made of two kinds of text: what the template says, in which a control token's name is
 * a control token, and what users, tools and documents say, in which it is plain text. The origin
 * goes with the bytes from the template's variables to the tokenizer.
 */
#ifndef TEXT_ORIGIN_H
#define TEXT_ORIGIN_H

#include <stddef.h>

struct origin_span {
    size_t at, n; /* bytes; n >= 1 */
};

struct origin_text {
    char *s; /* (n) bytes, NUL-terminated, may hold NULs */
    size_t n;
    struct origin_span *data; /* (n_data) rising, apart from each other: bytes that are data */
    size_t n_data;
};

/* Frees what it holds (mem_free); a zeroed one is fine. */
void origin_text_fini(struct origin_text *t);

#endif
