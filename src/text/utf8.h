/*
 * utf8.h: bytes that claim to be UTF-8, and JSON strings of bytes that may not be.
 *
 *     json_t *j = utf8_json(piece, n);     // json_decref(j)
 *
 * Threads: any.
 */
#ifndef TEXT_UTF8_H
#define TEXT_UTF8_H

#include <jansson.h>
#include <stddef.h>

/* A JSON string of any n bytes: each one that is no part of a UTF-8 character becomes U+FFFD. NULL:
 * no memory, the message is set. */
json_t *utf8_json(const char *s, size_t n);
json_t *utf8_text(const char *s); /* the same of a string that ends with a NUL */
/* Where the first byte stands that is no part of a UTF-8 character; n: there is none. */
size_t utf8_bad(const char *s, size_t n);

#endif
