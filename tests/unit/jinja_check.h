/*
 * jinja_check.h: rendering in tests.
 *
 *     struct shot s = shot_take("{{ a }}", data, NULL);
 *     if (s.err) ... err_msg() ...
 *     assert_string_equal(s.text.s, "...");
 *     shot_free(&s);
 */
#ifndef TESTS_JINJA_CHECK_H
#define TESTS_JINJA_CHECK_H

#include "base/mem.h"
#include "base/os.h"
#include "jinja/jinja.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define THEN 1767323045 /* 2026-01-02 03:04:05 UTC, the time of all recorded renders */

struct shot {
    enum err err; /* of opening or rendering */
    struct origin_text text;
};

static inline struct shot shot_take_n(const char *src, size_t n, const json_t *data,
                                      const json_t *own)
{
    struct shot s = {0};
    struct jinja *j;
    s.err = jinja_open(&j, src, n, "test");
    if (s.err) return s;
    s.err = jinja_render(j, &(struct jinja_vars){.data = data, .own = own, .time = THEN}, &s.text);
    jinja_close(j);
    return s;
}

static inline struct shot shot_take(const char *src, const json_t *data, const json_t *own)
{
    return shot_take_n(src, strlen(src), data, own);
}

static inline void shot_free(struct shot *s)
{
    origin_text_fini(&s->text);
}

/* The text is `want`, a JSON string, or the template failed, for null. `what` names the case. */
static inline void shot_check(const struct shot *s, const json_t *want, const char *what)
{
    if (json_is_null(want)) {
        if (!s->err) fail_msg("%s: gives \"%s\", expected a failure", what, s->text.s);
        if (s->err != ERR_INPUT) fail_msg("%s: fails with code %d", what, s->err);
        return;
    }
    if (s->err) fail_msg("%s: %s", what, err_msg());
    const size_t n = json_string_length(want);
    if (s->text.n != n || memcmp(s->text.s, json_string_value(want), n) != 0)
        fail_msg("%s: gives \"%s\", expected \"%s\"", what, s->text.s, json_string_value(want));
}

static inline json_t *json_at(const char *path)
{
    json_error_t e;
    json_t *j = json_load_file(path, JSON_ALLOW_NUL, &e);
    if (!j) fail_msg("%s: %s", path, e.text);
    return j;
}

#endif
