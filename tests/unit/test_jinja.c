/*
 * test_jinja.c: what no oracle covers: where each byte comes from, what errors say, the limits, and
 * memory that runs out. The language itself: test_jinja_cases.c, test_jinja_renders.c.
 */
#include "tests/unit/jinja_check.h"

/* ---- origin ---------------------------------------------------------------------------------- */

/* The text with its data in { }; static. */
static const char *marked(const struct origin_text *t)
{
    static char out[4096];
    size_t n = 0, k = 0;
    assert_true(t->n + 2 * t->n_data < sizeof out);
    for (size_t i = 0; i <= t->n; i++) {
        if (k < t->n_data && i == t->data[k].at + t->data[k].n) {
            out[n++] = '}';
            k++;
        }
        if (k < t->n_data && i == t->data[k].at) out[n++] = '{';
        out[n++] = t->s[i];
    }
    assert_int_equal(out[n - 1], '\0');
    assert_int_equal(k, t->n_data);
    return out;
}

static const struct {
    const char *src, *want;
} origins[] = {
    {"plain", "plain"},
    {"", ""},
    {"{{ user }}", "{<|x|>}"},
    {"{{ bos }}{{ user }}", "<s>{<|x|>}"},
    {"{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m.content }}{% endfor %}",
     "<|im_start|>{user}\n{hi}<|im_start|>{tool}\n{ho}"},
    {"{{ '<|' ~ user ~ '|>' }}", "<|{<|x|>}|>"},
    {"{{ ('a' ~ user ~ 'b')[1:-1] }}", "{<|x|>}"},
    {"{{ ('a' ~ user ~ 'b')[2:] }}", "{|x|>}b"},
    {"{{ ('a' ~ user ~ 'b')[::-1] }}", "b{>|x|<}a"},
    {"{{ ('a' ~ user ~ 'b')|upper }}", "A{<|X|>}B"},
    {"{{ ('a ' ~ user ~ ' b')|title }}", "A {<|x|>} B"},
    {"{{ (' ' ~ user ~ ' ')|trim }}", "{<|x|>}"},
    {"{{ user|replace('x', 'own') }}", "{<|}own{|>}"},
    {"{{ 'a-b'|replace('-', user) }}", "a{<|x|>}b"},
    {"{{ user.replace('', '.') }}", ".{<}.{|}.{x}.{|}.{>}."},
    {"{{ user.split('|') | join('-') }}", "{<}-{x}-{>}"},
    {"{{ '|'.join([user, 'own']) }}", "{<|x|>}|own"},
    {"{{ [user, 'own'] | join(user) }}", "{<|x|><|x|>}own"},
    {"{{ '%s and %5s' % (user, 'own') }}", "{<|x|>} and   own"},
    {"{{ '{} and {:>7}'.format('own', user) }}", "own and {  <|x|>}"},
    {"{{ user % () }}", "{<|x|>}"},
    {"{{ [user, 'own'] }}", "[{'<|x|>'}, 'own']"},
    {"{{ [user, 'own'] | tojson }}", "[{\"<|x|>\"}, \"own\"]"},
    {"{{ {'k': user} | tojson(indent=1) }}", "{\n \"k\": {\"<|x|>\"}\n}"},
    {"{{ messages[0] | tojson }}", "{{\"role\": \"user\", \"content\": \"hi\"}}"},
    {"{{ messages[0] }}", "{{'role': 'user', 'content': 'hi'}}"},
    {"{{ messages[:1] | tojson }}", "{[{\"role\": \"user\", \"content\": \"hi\"}]}"},
    {"{% for k, v in messages[0].items() %}{{ k }}={{ v }};{% endfor %}",
     "{role}={user};{content}={hi};"},
    {"{{ n }} {{ n + 1 }} {{ 1 + 1 }} {{ n|string }} {{ '%03d' % n }}", "{7} {8} 2 {7} {007}"},
    {"{{ messages|length }} {{ loop is defined }}", "2 False"},
    {"{{ user|length * 2 }}", "10"},
    {"{{ '7'|int }}{{ user|int }}{{ digits|int }}{{ digits|float }}", "70{4242.0}"},
    {"{% set x %}own {{ user }}{% endset %}{{ x }}{{ x|length }}", "own {<|x|>}9"},
    {"{% macro f(a) %}[{{ a }}]{% endmacro %}{{ f(user) }}{{ f('o') }}", "[{<|x|>}][o]"},
    {"{% filter upper %}a{{ user }}{% endfilter %}", "A{<|X|>}"},
    {"{% macro f() %}({{ caller() }}){% endmacro %}{% call f() %}{{ user }}{% endcall %}",
     "({<|x|>})"},
    {"{{ {'user': '<|user|>'}[messages[0].role] }}", "<|user|>"},
    {"{{ '<|im_end|>' if user else '' }}", "<|im_end|>"},
    {"{{ user * 2 }}{{ 'a' * n }}", "{<|x|><|x|>}aaaaaaa"},
    {"{{ user.center(7) }}{{ 'a'.center(3, digits[0]) }}", "{ <|x|> 4}a{4}"},
    {"{{ lines|indent(2) }}", "{a\n  b}"},
    {"{{ lines|indent('> ') }}", "{a\n}> {b}"},
    {"{{ long|truncate(9) }}", "{the}..."},
    {"{{ long|wordwrap(6) }}", "{the}\n{quick}\n{brown}\n{fox}"},
    {"{{ user|e }}", "{&lt;|x|&gt;}"},
    {"{{ ('<' ~ user)|e }}", "&lt;{&lt;|x|&gt;}"},
    {"{{ user|urlencode }}{{ {'k': user}|xmlattr }}", "{%3C%7Cx%7C%3E} k=\"{&lt;|x|&gt;}\""},
    {"{{ '<b>x</b>'|striptags }}{{ '&lt;'|striptags }}{{ tag|striptags }}", "x<{<|x|>}"},
    {"{{ user|list }}", "{['<', '|', 'x', '|', '>']}"},
    {"{{ user|first }}{{ user|last }}{{ user[2] }}", "{<>x}"},
    {"{% for c in user %}{{ c }}.{% endfor %}", "{<}.{|}.{x}.{|}.{>}."},
    {"{{ messages|map(attribute='content')|map('upper')|join('+') }}", "{HI}+{HO}"},
    {"{{ messages|groupby('role')|map(attribute='grouper')|join }}", "{tooluser}"},
    {"{{ dict(a=user).a }}{{ namespace(a=user).a }}", "{<|x|><|x|>}"},
    {"{{ '%c%c' % (60, n + 53) }}", "<{<}"},
    {"{{ strftime_now('%Y') }}{{ strftime_now(digits ~ '%Y') }}", "2026{42}2026"},
    {"{{ missing|default(user) }}{{ none|string }}", "{<|x|>}None"},
    {"{{ yes }}{{ not yes }}", "{True}False"},
    {"{{ [user]|pprint }}", "[{'<|x|>'}]"},
    {"{{ user ~ '' ~ user ~ 'o' ~ '' ~ 'p' }}", "{<|x|><|x|>}op"},
};

static void test_origin(void **state)
{
    (void)state;
    json_t *data = json_pack("{ss si ss sb ss ss ss s[{ssss}{ssss}]}", "user", "<|x|>", "n", 7,
                             "digits", "42", "yes", 1, "lines", "a\nb", "long",
                             "the quick brown fox", "tag", "<p>&lt;|x|&gt;</p>", "messages", "role",
                             "user", "content", "hi", "role", "tool", "content", "ho");
    json_t *own = json_pack("{ss}", "bos", "<s>");
    assert_non_null(data);
    for (size_t i = 0; i < sizeof origins / sizeof *origins; i++) {
        struct shot s = shot_take(origins[i].src, data, own);
        if (s.err) fail_msg("%s: %s", origins[i].src, err_msg());
        if (strcmp(marked(&s.text), origins[i].want) != 0)
            fail_msg("%s: gives %s, expected %s", origins[i].src, marked(&s.text), origins[i].want);
        shot_free(&s);
    }
    json_decref(data);
    json_decref(own);
}

/* `own` is found before `data`, so a conversation cannot take a name that is the program's. */
static void test_own_first(void **state)
{
    (void)state;
    json_t *data = json_pack("{ss ss}", "bos", "false", "range", "mine");
    json_t *own = json_pack("{ss}", "bos", "<s>");
    struct shot s = shot_take("{{ bos }}{{ range }}", data, own);
    assert_int_equal(s.err, OK);
    assert_string_equal(marked(&s.text), "<s>{mine}");
    shot_free(&s);
    json_decref(data);
    json_decref(own);
}

/* ---- errors ---------------------------------------------------------------------------------- */

static const struct {
    const char *src, *says;
} errors[] = {
    {"a\nb {{ x", "test, line 2: the template ends in a tag, expected '}}'"},
    {"\n\n{% if x %}\n", "test, line 3: unexpected end of the template, expected endif; the "
                         "tag 'if' of line 3 is open"},
    {"{% for x in y %}{% endif %}",
     "unknown tag 'endif'; the innermost open tag is 'for' of line 1"},
    {"{{ 1 + }}", "unexpected '}}', expected an expression"},
    {"{{ x|nosuch }}", "there is no filter 'nosuch'"},
    {"{{ x is nosuch }}", "there is no test 'nosuch'"},
    {"{{ (1] }}", "unexpected ']', expected ')'"},
    {"{{ ? }}", "unexpected character '?' in a tag"},
    {"{# no end", "the comment has no end, expected '#}'"},
    {"{{ 'no end }}", "the string that starts here has no end, expected '"},
    {"\n{{ missing.x }}", "test, line 2: 'missing' is undefined"},
    {"{{ a.b.c }}", "'dict object' has no attribute 'b'"},
    {"{{ [].x() }}", "'list object' has no attribute 'x'"},
    {"{{ [].append(1) }}", "the method 'append' would change its object"},
    {"{{ 1 + 'a' }}", "unsupported operand types for +: 'int' and 'str'"},
    {"{{ 1 < 'a' }}", "'<' not supported between instances of 'int' and 'str'"},
    {"{{ none|length }}", "object of type 'NoneType' has no len()"},
    {"{% for x in 5 %}{% endfor %}", "'int' object is not iterable"},
    {"{{ 9223372036854775807 + 1 }}", "does not fit into 64 bits"},
    {"{{ 'x'() }}", "'str' object is not callable"},
    {"{% include 'x' %}", "'include' needs other templates"},
    {"{% extends 'x' %}", "'extends' needs other templates"},
    {"{{ ''.__class__.__mro__ }}", "'str object' has no attribute '__class__'"},
    {"{{ lipsum() }}", "a prompt must not depend on chance"},
    {"{% if true %}\n{{ raise_exception('Roles must ' ~ 'alternate') }}{% endif %}",
     "test, line 2: the template refuses: Roles must alternate"},
    {"{{ \"\\ud800\" }}", "U+D800"},
    {"{{ 'a\xff' }}", "the template is not UTF-8"},
};

static void test_errors(void **state)
{
    (void)state;
    json_t *data = json_pack("{s{si}}", "a", "x", 1);
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++) {
        struct shot s = shot_take(errors[i].src, data, NULL);
        if (s.err != ERR_INPUT) fail_msg("%s: no error", errors[i].src);
        if (!strstr(err_msg(), errors[i].says))
            fail_msg("%s: says \"%s\", expected \"%s\"", errors[i].src, err_msg(), errors[i].says);
        assert_null(s.text.s);
        shot_free(&s);
    }
    json_decref(data);
}

static void test_bad_variable(void **state)
{
    (void)state;
    json_t *data = json_object();
    json_object_set_new_nocheck(data, "x", json_string_nocheck("\xc3("));
    struct shot s = shot_take("{{ x }}", data, NULL);
    assert_int_equal(s.err, ERR_INPUT);
    s = shot_take("{{ y is defined }}", data, NULL); /* what is not used is not looked at */
    assert_int_equal(s.err, OK);
    shot_free(&s);
    json_decref(data);
}

/* ---- limits ---------------------------------------------------------------------------------- */

/* before, then n times repeat, then after: an error that says so. Each must end within seconds. */
static const struct {
    const char *before, *repeat;
    unsigned n;
    const char *after, *says;
} limits[] = {
    {"{{ range(10**9) }}", "", 0, "", "too big"},
    {"{{ 'x' * 10**9 }}", "", 0, "", "256 MiB"},
    {"{{ [1] * 10**9 }}", "", 0, "", "256 MiB"},
    {"{{ 2**10000 }}", "", 0, "", "64 bits"},
    {"{{ 'x'.center(10**15) }}", "", 0, "", "256 MiB"},
    {"{{ '%1000000000d' % 1 }}", "", 0, "", "too wide"},
    {"{{ '{:>1000000000}'.format(1) }}", "", 0, "", "too wide"},
    {"{{ 1|tojson(indent=10**15) }}", "", 0, "", "256 MiB"},
    {"{{ ", "(", 65536, "", "brackets"},
    {"{{ ", "[", 65536, "", "brackets"},
    {"{{ ", "not ", 16384, "1 }}", "levels deep"},
    {"{{ ", "-", 65536, "1 }}", "levels deep"},
    {"{{ 1", " if 1 else 2", 5000, " }}", "levels deep"},
    {"", "{% if 1 %}", 6500, "", "levels deep"},
    {"", "{% for x in y %}", 4000, "", "levels deep"},
    {"{{ a", ".b", 30000, " }}", "levels deep"},
    {"{{ 1", "+1", 30000, " }}", "levels deep"},
    {"{{ 'a'", "|upper", 10000, " }}", "levels deep"},
    {"{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "", 0, "", "levels deep"},
    {"{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}", "", 0, "", "levels deep"},
    {"{% set ns = namespace() %}{% set ns.a = ns %}{{ ns }}", "", 0, "", "levels deep"},
    {"{% set ns = namespace(a=[]) %}{% for i in range(5000) %}{% set ns.a = [ns.a] %}{% endfor %}"
     "{{ ns.a|tojson }}",
     "", 0, "", "levels deep"},
    {"{% set ns = namespace(a=[1]) %}{% for i in range(5000) %}{% set ns.a = ns.a|map('int') %}"
     "{% endfor %}{{ ns.a|list }}",
     "", 0, "", "levels deep"},
    {"{% set ns = namespace(a='x') %}{% for i in range(99) %}{% set ns.a = ns.a ~ ns.a %}"
     "{% endfor %}",
     "", 0, "", "256 MiB"},
    {"{% set ns = namespace(a=1, b=1) %}{% for i in range(99) %}{% set ns.a = [ns.a, ns.a] %}"
     "{% set ns.b = [ns.b, ns.b] %}{% endfor %}{{ ns.a == ns.b }}",
     "", 0, "", "20000000 steps"},
    {"{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}", "", 0, "",
     "20000000 steps"},
    {"{% for a in range(99999) %}{% for b in range(99999) %}xxxxxxxxxxxxxxxx{% endfor %}"
     "{% endfor %}",
     "", 0, "", "256 MiB"},
    {"", "{{ 1 }}\n", 150000, "", "expected at most 1048576"},
};

static struct shot take_repeated(size_t i)
{
    const size_t n_before = strlen(limits[i].before), n_one = strlen(limits[i].repeat);
    const size_t n_after = strlen(limits[i].after), n = n_before + n_one * limits[i].n + n_after;
    char *src = mem_alloc(MEM_MISC, n + 1);
    assert_non_null(src);
    memcpy(src, limits[i].before, n_before);
    for (size_t k = 0; k < limits[i].n; k++)
        memcpy(src + n_before + k * n_one, limits[i].repeat, n_one);
    memcpy(src + n - n_after, limits[i].after, n_after);
    const struct shot s = shot_take_n(src, n, NULL, NULL);
    mem_free(src);
    return s;
}

static void test_limits(void **state)
{
    (void)state;
    const size_t before = mem_used_total();
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        struct shot s = take_repeated(i);
        if (s.err != ERR_INPUT) fail_msg("%s: no error", limits[i].before);
        if (!strstr(err_msg(), limits[i].says))
            fail_msg("%.60s: says \"%s\", expected \"%s\"", limits[i].before, err_msg(),
                     limits[i].says);
        shot_free(&s);
    }
    assert_int_equal(mem_used_total(), before);
}

/* Long is not deep, and what is deep but within the limits works. */
static void test_long(void **state)
{
    (void)state;
    static const struct {
        const char *before, *repeat;
        unsigned n;
        const char *after;
    } rows[] = {
        {"{% if 0 %}", "{% elif 0 %}", 5000, "{% else %}x{% endif %}"},
        {"{{ 'x'", " ~ ''", 9000, " }}"},
        {"{{ 'x' if 0", " <= 0", 9000, " }}"},
        {"{% set a = [0", ", 1", 9000, "] %}x"},
        {"{{ ", "(", 190, "'x'"},
        {"{% macro f(n) %}{{ f(n - 1) if n else 'x' }}{% endmacro %}{{ f(150) }}", "", 0, ""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        static char src[1 << 17];
        size_t n = (size_t)snprintf(src, sizeof src, "%s", rows[i].before);
        for (unsigned k = 0; k < rows[i].n; k++)
            n += (size_t)snprintf(src + n, sizeof src - n, "%s", rows[i].repeat);
        n += (size_t)snprintf(src + n, sizeof src - n, "%s", rows[i].after);
        for (unsigned k = 0; rows[i].repeat[0] == '(' && k < rows[i].n; k++) src[n++] = ')';
        if (rows[i].repeat[0] == '(') n += (size_t)snprintf(src + n, sizeof src - n, " }}");
        struct shot s = shot_take_n(src, n, NULL, NULL);
        if (s.err) fail_msg("%s: %s", rows[i].before, err_msg());
        assert_string_equal(s.text.s, "x");
        shot_free(&s);
    }
}

/* ---- memory ---------------------------------------------------------------------------------- */

static const char everything[] =
    "{% macro f(a, b=2) %}{{ a }}{{ varargs }}{{ kwargs }}{% endmacro %}{{ f(1, 2, 3, x=4) }}"
    "{% for m in messages if m.role != 'x' %}{{ loop.index }}{{ m|tojson(indent=2) }}{% endfor %}"
    "{% set ns = namespace(x=[]) %}{% set ns.x = ns.x + [messages|map(attribute='role')|list] %}"
    "{{ ns.x }}{{ 'a b'.split()|join('-')|upper }}{{ '%5d' % 3 }}{{ '{:>5}'.format('x') }}"
    "{{ 'y' * 70000 }}";

/* The n-th allocation fails, n = 1, 2, ...: an error, nothing leaks, and the next render works. */
static void test_no_memory(void **state)
{
    (void)state;
    json_t *data = json_pack("{s[{ssss}]}", "messages", "role", "user", "content", "hi");
    const size_t before = mem_used_total();
    uint64_t n = 0;
    struct shot s;
    do {
        mem_fail_at(++n);
        s = shot_take(everything, data, NULL);
        mem_fail_at(0);
        if (s.err) assert_int_equal(s.err, ERR_MEMORY);
        if (s.err) assert_int_equal(mem_used_total(), before);
    } while (s.err && n < 10000);
    assert_int_equal(s.err, OK);
    assert_true(n > 5);
    shot_free(&s);
    assert_int_equal(mem_used_total(), before);
    json_decref(data);
}

/* One template, rendered twice: nothing of the first is left in the second. */
static void test_twice(void **state)
{
    (void)state;
    static const char src[] = "{% set c = cycler('a', 'b') %}{{ c.next() }}{{ x }}"
                              "{% set x = 1 %}{{ x }}";
    struct jinja *j;
    json_t *data = json_pack("{ss}", "x", "d");
    assert_int_equal(jinja_open(&j, src, strlen(src), "test"), OK);
    for (int i = 0; i < 2; i++) {
        struct origin_text t;
        assert_int_equal(jinja_render(j, &(struct jinja_vars){.data = data}, &t), OK);
        assert_string_equal(marked(&t), "a{d}1");
        origin_text_fini(&t);
    }
    jinja_close(j);
    jinja_close(NULL);
    json_decref(data);
}

/* A deadline that has passed ends the render; 0 is none. */
static void test_deadline(void **state)
{
    (void)state;
    /* Steps enough for a look at the clock. */
    static const char src[] = "{% for i in range(90000) %}{% endfor %}end";
    const size_t before = mem_used_total();
    struct jinja *j;
    struct origin_text t;
    assert_int_equal(jinja_open(&j, src, strlen(src), "test"), OK);
    assert_int_equal(jinja_render(j, &(struct jinja_vars){.deadline_ns = 1}, &t), ERR_INPUT);
    assert_non_null(strstr(err_msg(), "takes too long"));
    const uint64_t later = os_time_ns() + 3600 * UINT64_C(1000000000);
    const uint64_t fine[] = {0, later};
    for (size_t i = 0; i < sizeof fine / sizeof *fine; i++) {
        assert_int_equal(jinja_render(j, &(struct jinja_vars){.deadline_ns = fine[i]}, &t), OK);
        assert_string_equal(t.s, "end");
        origin_text_fini(&t);
    }
    jinja_close(j);
    assert_int_equal(mem_used_total(), before);
}

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_origin),    cmocka_unit_test(test_own_first),
        cmocka_unit_test(test_errors),    cmocka_unit_test(test_bad_variable),
        cmocka_unit_test(test_limits),    cmocka_unit_test(test_long),
        cmocka_unit_test(test_no_memory), cmocka_unit_test(test_twice),
        cmocka_unit_test(test_deadline),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
