/*
 * fuzz_jinja.c: any bytes are a template that ends, in text or in an error, and no byte of the
 * conversation counts as the template's.
 *
 * The texts of the conversation are made of one letter of the private use area, which nothing in
 * the language makes by itself: where it stands in the output, it must be marked as data, unless
 * the template spells it.
 */
#include "base/err.h"
#include "base/mem.h"
#include "jinja/jinja.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes);

#define LETTER "\xee\x84\xa3"

static json_t *conversation(void)
{
    static const char text[] =
        "{\"messages\": [{\"role\": \"system\", \"content\": \"" LETTER "\"},"
        "{\"role\": \"user\", \"content\": \"" LETTER " <a>\\n" LETTER "," LETTER "%s{}\"},"
        "{\"role\": \"assistant\", \"content\": null, \"tool_calls\": [{\"function\": {"
        "\"name\": \"" LETTER "\", \"arguments\": {\"" LETTER "\": [1, 2.5, true, null]}}}]},"
        "{\"role\": \"tool\", \"content\": [{\"type\": \"text\", \"text\": \"" LETTER "\"}]}],"
        "\"x\": \"" LETTER "\", \"n\": 7, \"d\": {\"b\": 1, \"a\": [3, 1, 2]}, \"tools\": null,"
        "\"add_generation_prompt\": true}";
    return json_loads(text, 0, NULL);
}

static void check(const struct origin_text *t, const uint8_t *src, size_t n_bytes)
{
    size_t at = 0, k = 0;
    for (size_t i = 0; i < t->n_data; i++) {
        if (t->data[i].n == 0 || t->data[i].at < at || t->data[i].at > t->n) abort();
        if (t->data[i].n > t->n - t->data[i].at) abort();
        if (i > 0 && t->data[i].at == at) abort(); /* they should have been one */
        at = t->data[i].at + t->data[i].n;
    }
    if (memmem(src, n_bytes, LETTER, 3) || memmem(src, n_bytes, "e123", 4)) return;
    if (memmem(src, n_bytes, "E123", 4)) return;
    for (size_t i = 0; i + 3 <= t->n; i++) {
        while (k < t->n_data && t->data[k].at + t->data[k].n <= i) k++;
        const int is_data = k < t->n_data && t->data[k].at <= i;
        if (!is_data && memcmp(t->s + i, LETTER, 3) == 0) abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    static json_t *vars;
    if (!vars) vars = conversation();
    if (!vars) abort();
    struct jinja *j;
    struct origin_text t;
    if (jinja_open(&j, (const char *)data, n_bytes, "fuzz")) return 0;
    if (jinja_render(j, &(struct jinja_vars){.data = vars, .time = 1767323045}, &t) == OK)
        check(&t, data, n_bytes);
    origin_text_fini(&t);
    jinja_close(j);
    return 0;
}
