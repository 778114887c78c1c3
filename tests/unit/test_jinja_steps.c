/*
 * test_jinja_steps.c: nothing that a template can call looks at much for few steps, so that the
 * limit of steps is one of time; and a signal ends a render.
 *
 * Every filter, test and method of strings is called again and again on a text of one character a
 * million times, with arguments that are short and ones that are as long, until a budget of steps
 * is spent. Those that look at all of the text must have spent them in one. A loop that counts
 * nothing shows as a price that is too low; one that counts too little for what it does (a
 * quadratic one) as a test that does not end.
 */
#include "tests/unit/jinja_check.h"

#include "base/limits.h"
#include "jinja/jinja_impl.h"

#include <inttypes.h>
#include <signal.h>

#define TEXT_BYTES ((size_t)1 << 20)
#define BUDGET (TEXT_BYTES / 64) /* steps: 64 bytes at once are the cheapest way to look at it */
#define CALLS 100000             /* at most; each takes a step */

/* Filters and tests that take the same time whatever the length of the text. */
static const char constant[] =
    " attr boolean callable count d default defined escaped false first float integer iterable "
    " last length mapping none number safe sequence string true truncate undefined ";

/* What fails for texts of these arguments. */
static const char refused[] = " abs dictsort items random round sum urlize xmlattr ";

static bool is_listed(const char *list, const char *name)
{
    char word[64];
    snprintf(word, sizeof word, " %s ", name);
    return strstr(list, word) != NULL;
}

static struct jv argument(struct jx *x, const char *name, struct jv text)
{
    static const char ints[] = " width slices linecount ";
    if (is_listed(ints, name)) return jv_int(8);
    return strcmp(name, "mapping") == 0 ? jd_new(x) : text;
}

/* Calls the row until a failure, at most CALLS times; apart, so that no variable lives across the
 * jump. */
static void call(struct jx *x, const struct jrow *row, struct jv self, struct jv text,
                 unsigned *n_call)
{
    struct jv v[JPARAMS_MAX] = {{0}};
    struct jargs a = {.v = v, .n = row->n_min};
    if (setjmp(x->out)) return;
    if (row->n_min == AS_GIVEN) {
        a.n = 1;
        v[0] = jv_own(x, "upper");
    } else {
        for (size_t i = 0; i < a.n; i++) v[i] = argument(x, row->params[i], text);
    }
    for (; *n_call < CALLS; ++*n_call) {
        const struct jv out = jf_call(x, row, self, &a);
        if (out.kind == J_ITER) jv_listed(x, out);
    }
}

/* Steps of a call with that text; 0: it fails. */
static uint64_t price(const struct jrow *row, const char *s, bool is_long)
{
    struct jx x = {.name = "test", .depth_max = JINJA_DEPTH_MAX};
    const struct jstr self = {.s = s, .n = TEXT_BYTES, .n_char = TEXT_BYTES};
    const struct jstr text = {.s = s + TEXT_BYTES, .n = TEXT_BYTES, .n_char = TEXT_BYTES};
    const struct jstr letter = {.s = "b", .n = 1, .n_char = 1};
    unsigned n_call = 0;
    x.n_step = JINJA_STEPS_MAX - BUDGET;
    call(&x, row, jv_str(&self), jv_str(is_long ? &text : &letter), &n_call);
    const uint64_t n_step = x.n_step + BUDGET - JINJA_STEPS_MAX;
    const bool failed = x.n_step <= JINJA_STEPS_MAX;
    jx_free(&x);
    if (!failed || n_call == CALLS) assert_int_not_equal(x.err, OK);
    assert_true(n_call < CALLS);
    return failed ? 0 : n_step / (n_call + 1);
}

static void check_row(const struct jrow *row, bool is_method, char *const texts[4])
{
    uint64_t most = 0;
    for (size_t i = 0; i < 8; i++) {
        const uint64_t n = price(row, texts[i / 2], i % 2);
        if (n > most) most = n;
    }
    /* Of the methods, join() meets the limit of bytes before it has taken many steps. */
    const bool is_cheap = is_listed(is_method ? " join " : constant, row->name);
    const bool fails = is_listed(refused, row->name);
    if ((most == 0) != fails) fail_msg("%s: fails or not, against the list", row->name);
    if (most < BUDGET && !fails && !is_cheap)
        fail_msg("%s: %" PRIu64 " steps for a text of %zu bytes", row->name, most, TEXT_BYTES);
}

static void test_rows(void **state)
{
    (void)state;
    static const struct jtable *const tables[] = {&jf_filters_any, &jf_filters_seq,
                                                  &jf_filters_text, &jf_tests, &jf_methods_str};
    char *texts[4];
    for (size_t i = 0; i < 4; i++) {
        texts[i] = mem_alloc(MEM_MISC, 2 * TEXT_BYTES); /* the text, and an equal one */
        assert_non_null(texts[i]);
        memset(texts[i], "a0- "[i], 2 * TEXT_BYTES);
    }
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++) {
        for (size_t k = 0; k < tables[i]->n; k++)
            check_row(&tables[i]->row[k], tables[i] == &jf_methods_str, texts);
    }
    for (size_t i = 0; i < 4; i++) mem_free(texts[i]);
}

/* ---- names ----------------------------------------------------------------------------------- */

static void check_ends(const char *src, size_t n)
{
    struct shot s = shot_take_n(src, n, NULL, NULL);
    if (s.err != ERR_INPUT) fail_msg("%.60s: no error", src);
    if (!strstr(err_msg(), "steps")) fail_msg("%.60s: says \"%s\"", src, err_msg());
}

/* Names are looked for one after the other: in a scope, among parameters, among the arguments of a
 * format. */
static void test_names(void **state)
{
    (void)state;
    static char src[1 << 20];
    static const char args[] = "**dict(range(60000)|map('string')|map('center', 7)|batch(2))";
    size_t n = 0;
    for (int i = 0; i < 30000; i++)
        n += (size_t)snprintf(src + n, sizeof src - n, "{%% set a%d = 1 %%}", i);
    check_ends(src, n);
    n = (size_t)snprintf(src, sizeof src, "{%% macro f(a");
    for (int i = 0; i < 2000; i++) n += (size_t)snprintf(src + n, sizeof src - n, ", a%d", i);
    n += (size_t)snprintf(src + n, sizeof src - n, ") %%}{{ kwargs }}{%% endmacro %%}{{ f(%s) }}",
                          args);
    check_ends(src, n);
    n = (size_t)snprintf(src, sizeof src, "{{ ('{ 59998 }' * 2000).format(%s) }}", args);
    check_ends(src, n);
}

/* ---- clock and signals ----------------------------------------------------------------------- */

static const char endless[] =
    "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}";

static void test_deadline(void **state)
{
    (void)state;
    struct origin_text text;
    struct jinja *j;
    struct jinja_vars v = {.deadline_ns = os_time_ns()};
    assert_int_equal(jinja_open(&j, endless, strlen(endless), "test"), OK);
    assert_int_equal(jinja_render(j, &v, &text), ERR_INPUT);
    assert_non_null(strstr(err_msg(), "test, line 1: the template takes too long"));
    v.deadline_ns += UINT64_C(3600000000000);
    assert_int_equal(jinja_render(j, &v, &text), ERR_INPUT);
    assert_non_null(strstr(err_msg(), "steps"));
    jinja_close(j);
}

static void test_signal(void **state)
{
    (void)state;
    os_init();
    raise(SIGINT);
    struct shot s = shot_take("{{ 1 }}", NULL, NULL); /* done before it looks */
    assert_int_equal(s.err, OK);
    shot_free(&s);
    s = shot_take(endless, NULL, NULL);
    assert_int_equal(s.err, ERR_INTR);
    assert_string_equal(err_msg(), "interrupted while rendering test");
    os_interrupt_clear();
}

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_deadline),
        cmocka_unit_test(test_signal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
