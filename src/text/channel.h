/*
 * channel.h: the channels of an answer in gpt-oss's "harmony" format, as text that anyone can read.
 *
 *     <|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|message|>Yes.
 *
 * becomes "<think>Hm.</think>\n\nYes.": the analysis stands between the marks that other models
 * write themselves; the final channel, and any other (commentary: what is said to tools), is plain
 * text; names of roles and channels are gone. Parts are separated by an empty line. An answer that
 * ends inside the analysis ends without the closing mark, as it does with those models.
 *
 *     struct channel c;
 *     if (channel_init(&c, tok))
 *         n = channel_put(&c, id, buf, n);    // after tok_stream_put(tok, &stream, id, buf, ...)
 *
 * The format: https://cookbook.openai.com/articles/openai-harmony. Threads: one at a time.
 */
#ifndef TEXT_CHANNEL_H
#define TEXT_CHANNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tok;

struct channel {
    uint32_t start, channel, message, end; /* ids; TOK_NONE where the vocabulary lacks one */
    bool is_header;                        /* role and channel, up to <|message|> */
    bool is_reasoning;                     /* <think> was opened and not closed */
    bool has_part;                         /* of the answer; the next one is set apart */
    char name[sizeof "analysis"];          /* (n_name) what the header began with */
    uint32_t n_name;
};

/* At the start of a text. false: this vocabulary has no channels, and c is not to be used. */
bool channel_init(struct channel *c, const struct tok *t);

/* The token id has become the n bytes of text in buf (never a control token's name). Changes them
 * to what is to be shown and returns how many that is. buf has room for CHANNEL_PUT_BYTES_MAX,
 * where id is a control token. */
#define CHANNEL_PUT_BYTES_MAX 16
size_t channel_put(struct channel *c, uint32_t id, char *buf, size_t n);

#endif
