/*
 * fields.h: JSON objects from lists of fields, for what commands report.
 *
 *     const struct field list[] = {{"name", utf8_text(name)}, {"n", field_count(n)}};
 *     json_t *object = fields_object(list, 2);    // NULL: no memory
 *
 * The fields' values are handed over, whatever happens.
 */
#ifndef CMD_FIELDS_H
#define CMD_FIELDS_H

#include "base/err.h"

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct field {
    const char *name;
    json_t *value; /* NULL: it could not be made */
};

/* A member of an object; NULL when it is absent or null. */
json_t *fields_get(const json_t *object, const char *name);

/* The fields in their order; NULL when there is no memory for them. */
json_t *fields_object(const struct field *list, size_t n);

json_t *field_count(uint64_t v);
json_t *field_count_or_null(uint64_t v); /* null for 0 */
json_t *field_real_or_null(double v);    /* null for 0 and what JSON cannot hold */

/* About how much memory a value that was read takes, with all that is in it: of many small objects
 * far more than their text. */
size_t fields_memory(const json_t *v);

/* Writes the value and a newline, and releases it. ERR_MEMORY for NULL. Write errors stay in the
 * stream for the caller to see. */
enum err fields_print(json_t *value, FILE *out);

#endif
