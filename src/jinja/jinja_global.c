/*
 * jinja_global.c: functions that every template has: those of Jinja (range, dict, namespace,
 * cycler, joiner) and the two that chat templates expect (raise_exception, strftime_now).
 *
 * The time is that of the render, which is given in UTC; names of days and months are English
 * whatever the locale.
 */
#include "jinja/jinja_impl.h"

#include "base/limits.h"

#include <assert.h>
#include <string.h>
#include <time.h>

#define TIME_PIECE_BYTES 128 /* of one directive, the longest is %c */

static struct jv make_range(struct jx *x, struct jv self, const struct jargs *a)
{
    (void)self;
    enum { START, STOP, STEP };
    const bool one = a->v[STOP].kind == J_MISSING; /* range(stop) */
    struct jrange *r = jx_alloc(x, sizeof *r);
    r->start = one ? 0 : ja_int(x, a->v[START], 0, "the start of range()");
    r->stop = ja_int(x, a->v[one ? START : STOP], 0, "the end of range()");
    r->step = ja_int(x, a->v[STEP], 1, "the step of range()");
    if (r->step == 0) jx_fail(x, "the step of range() must not be zero");
    const bool up = r->step > 0;
    if (up ? r->start < r->stop : r->start > r->stop) {
        const uint64_t gap =
            up ? (uint64_t)r->stop - (uint64_t)r->start : (uint64_t)r->start - (uint64_t)r->stop;
        const uint64_t step = up ? (uint64_t)r->step : 0 - (uint64_t)r->step;
        const uint64_t n = (gap - 1) / step + 1;
        if (n > JINJA_RANGE_MAX)
            jx_fail(x, "range() of more than %d items is too big", JINJA_RANGE_MAX);
        r->n = (size_t)n;
        assert(r->n > 0);
    }
    return (struct jv){.kind = J_RANGE, .range = r};
}

/* dict(mapping or pairs, name=value, ...) */
static struct jv make_dict(struct jx *x, struct jv self, const struct jargs *a)
{
    (void)self;
    const struct jv out = jd_new(x);
    struct jv item;
    if (a->n > 1) jx_fail(x, "dict() takes at most one value without a name");
    if (a->n == 1) {
        struct jv from = a->v[0];
        if (from.kind == J_DICT) from = jf_items(x, from, NULL);
        for (struct jiter it = jv_iter(x, from); jv_next(x, &it, &item);) {
            const struct jv pair = jv_listed(x, item);
            if (pair.list->n != 2) jx_fail(x, "dict(): an item is no pair of a key and a value");
            jd_set(x, out.dict, pair.list->v[0], pair.list->v[1]);
        }
    }
    for (size_t i = 0; i < a->n_kw; i++) jd_set(x, out.dict, jv_str(a->kw[i].name), a->kw[i].v);
    return out;
}

static struct jv make_namespace(struct jx *x, struct jv self, const struct jargs *a)
{
    struct jv space = make_dict(x, self, a);
    space.kind = J_SPACE;
    return space;
}

static struct jv make_cycler(struct jx *x, struct jv self, const struct jargs *a)
{
    (void)self;
    const struct jv out = jv_list(x, J_CYCLER, a->n);
    if (a->n == 0) jx_fail(x, "cycler(): at least one item has to be provided");
    for (size_t i = 0; i < a->n; i++) jv_push(x, out, a->v[i]);
    return out;
}

static struct jv make_joiner(struct jx *x, struct jv self, const struct jargs *a)
{
    (void)self;
    const struct jv out = jv_list(x, J_JOINER, 1);
    jv_push(x, out, ja_or(a->v[0], jv_own(x, ", ")));
    return out;
}

static struct jv raise_exception(struct jx *x, struct jv self, const struct jargs *a)
{
    (void)self;
    const struct jstr *s = jv_string(x, a->v[0]);
    jx_fail(x, "the template refuses: %.*s", (int)(s->n < 600 ? s->n : 600), s->s);
}

static struct jv lipsum(struct jx *x, struct jv self, const struct jargs *a)
{
    (void)self;
    (void)a;
    jx_fail(x, "lipsum(): a prompt must not depend on chance");
}

/* ---- time ------------------------------------------------------------------------------------ */

/* One directive, s[0..n) behind its %. */
static void put_time(struct jx *x, struct jbuf *b, const struct tm *tm, const char *s, size_t n)
{
    char format[8] = "%", out[TIME_PIECE_BYTES];
    const char kind = s[n - 1];
    if (!strchr("aAbBcCdDeFgGhHIjklmMnpPrRsStTuUVwWxXyY%fzZ", kind) || n > 2)
        jx_fail(x, "strftime_now(): unknown directive '%%%.*s'", (int)n, s);
    if (kind == 'z' || kind == 'Z') return; /* the time has no zone, as Python's now() */
    if (kind == 'f') {
        jb_own(x, b, "000000");
        return;
    }
    jx_step(x, 1);
    memcpy(format + 1, s, n);
    assert(n + 1 < sizeof format);
    const size_t n_out = strftime(out, sizeof out, format, tm);
    jb_put(x, b, out, n_out, false);
}

static struct jv strftime_now(struct jx *x, struct jv self, const struct jargs *a)
{
    (void)self;
    const struct jstr *s = ja_str(x, a->v[0], NULL, "the format of strftime_now()");
    struct tm tm = {0};
    const time_t t = (time_t)x->time;
    struct jbuf b = {0};
    if (!gmtime_r(&t, &tm)) jx_fail(x, "the time is no time");
    jx_scan(x, s->n);
    for (size_t i = 0; i < s->n;) {
        if (s->s[i] != '%') {
            size_t end = i;
            while (end < s->n && s->s[end] != '%') end++;
            jb_sub(x, &b, s, i, end);
            i = end;
            continue;
        }
        size_t end = ++i;
        if (end < s->n && s->s[end] && strchr("-_0^#", s->s[end])) end++;
        if (end >= s->n || !s->s[end]) jx_fail(x, "strftime_now(): the format ends in a directive");
        put_time(x, &b, &tm, s->s + i, end + 1 - i);
        i = end + 1;
    }
    return jv_str(jb_end(x, &b));
}

static const struct jrow rows[] = {
    {"cycler", make_cycler, AS_GIVEN, {NULL}},
    {"dict", make_dict, AS_GIVEN, {NULL}},
    {"joiner", make_joiner, 0, {"sep"}},
    {"lipsum", lipsum, AS_GIVEN, {NULL}},
    {"namespace", make_namespace, AS_GIVEN, {NULL}},
    {"raise_exception", raise_exception, 1, {"message"}},
    {"range", make_range, 1, {"start", "stop", "step"}},
    {"strftime_now", strftime_now, 1, {"format"}},
};

const struct jtable jf_globals = JTABLE(rows);
