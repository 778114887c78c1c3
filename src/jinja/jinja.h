/*
 * jinja.h: renders the Jinja templates that models carry, safely.
 *
 *     struct jinja *j;
 *     enum err e = jinja_open(&j, source, n_bytes, "model.gguf: tokenizer.chat_template");
 *     const struct jinja_vars v = {.data = conversation, .own = specials, .time = time(NULL)};
 *     struct origin_text text;
 *     e = jinja_render(j, &v, &text);
 *     origin_text_fini(&text);
 *     jinja_close(j);
 *
 * The language is that of Jinja 3.1 as `transformers` sets it up for chat templates: trim_blocks,
 * lstrip_blocks, loop controls (break, continue), the tag `generation`, tojson that escapes nothing
 * for HTML, raise_exception(text), strftime_now(format). A template has no way to the host: no
 * attribute, filter or function reaches anything but the variables given. Steps, depth, and bytes
 * of values and output have limits (base/limits.h), so that each template ends.
 *
 * Refused, by name: other templates (include, import, extends), autoescape, chance (random,
 * lipsum), urlize, and integers beyond 64 bits.
 *
 * Origin: every byte of every string value is either the template's (its literals, what `own`
 * gives) or data (what `data` gives, keys of objects included, and whatever is computed from it:
 * slices, filters, tojson). Concatenation keeps both. The result says which bytes are data.
 *
 * Threads: a struct jinja is immutable after jinja_open(); each render has its own memory.
 */
#ifndef JINJA_JINJA_H
#define JINJA_JINJA_H

#include "base/err.h"
#include "text/origin.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct jinja;

/* src is copied. name: where it comes from, for messages; copied. ERR_INPUT: a syntax error, with
 * name, line and what was expected; a limit. */
enum err jinja_open(struct jinja **j, const char *src, size_t n_bytes, const char *name);
void jinja_close(struct jinja *j); /* NULL is fine */

/* Does the text of this member of an object count as the template's? */
typedef bool jinja_own_fn(const char *key, const char *text, size_t n_bytes);

struct jinja_vars {
    const json_t *data;   /* object of variables; all text in it is data. Borrowed */
    const json_t *own;    /* object or NULL: variables whose text counts as the template's; they are
                         * found before those of `data`. Borrowed */
    int64_t time;         /* seconds since 1970, UTC: what strftime_now() sees */
    uint64_t deadline_ns; /* os_time_ns() at which the render is given up; 0: steps alone count */
    jinja_own_fn *is_own; /* NULL, or what says so of members of objects in `data` */
};

/* ERR_INPUT: the template raised (its own words), an operation on a value that cannot do it, a
 * limit; with name and line. ERR_MEMORY. *text: origin_text_fini(). */
enum err jinja_render(const struct jinja *j, const struct jinja_vars *v, struct origin_text *text);

#endif
