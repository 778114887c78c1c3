/*
 * stream.h: what a stream of generated tokens holds back: the bytes of an unfinished UTF-8
 * character. Start with a zeroed struct; text/tok.h and engine.h have the functions.
 */
#ifndef TEXT_STREAM_H
#define TEXT_STREAM_H

#include <stdbool.h>
#include <stdint.h>

struct tok_stream {
    char held[4];
    uint32_t n_held;
    bool special; /* control tokens as their text; otherwise they are nothing */
};
#define TOK_STREAM_BYTES_MAX 65540 /* TOKEN_BYTES_MAX + held, rounded up: always suffices */

#endif
