/*
 * jinja.c: opening, rendering and closing a template.
 *
 * The tree of a template lives in an arena of its own; a render has another one for its scopes,
 * values and output. What comes out is copied to the caller, with the spans that are data.
 */
#include "jinja/jinja.h"

#include "base/limits.h"
#include "base/mem.h"
#include "jinja/jinja_impl.h"

#include <assert.h>
#include <string.h>

/* Apart from jinja_open(), so that no local variable lives across the jump. */
static enum err guarded_parse(struct jinja *j, const char *src, size_t n_bytes)
{
    if (setjmp(j->x.out)) return j->x.err;
    parse_template(j, src, n_bytes);
    return OK;
}

enum err jinja_open(struct jinja **out, const char *src, size_t n_bytes, const char *name)
{
    assert(out && src);
    assert(name);
    *out = NULL;
    if (n_bytes > JINJA_SOURCE_BYTES_MAX)
        return err_set(ERR_INPUT, "%s: the template has %zu bytes, expected at most %u", name,
                       n_bytes, JINJA_SOURCE_BYTES_MAX);
    struct jinja *j = mem_alloc(MEM_MISC, sizeof *j);
    if (!j) return ERR_MEMORY;
    enum err err = ERR_MEMORY;
    j->name = mem_strdup(MEM_MISC, name);
    if (!j->name) goto fail;
    j->x.name = j->name;
    j->x.line = 1;
    j->x.depth_max = JINJA_NEST_MAX;
    err = guarded_parse(j, src, n_bytes);
    if (err) goto fail;
    *out = j;
    return OK;
fail:
    jinja_close(j);
    return err;
}

void jinja_close(struct jinja *j)
{
    if (!j) return;
    jx_free(&j->x);
    mem_free(j->name);
    mem_free(j);
}

/* ---- a render -------------------------------------------------------------------------------- */

static struct jv member(struct jx *x, const json_t *object, const char *name, bool data)
{
    const json_t *v = object ? json_object_get(object, name) : NULL;
    return v ? jv_from_json(x, v, data) : (struct jv){.kind = J_MISSING};
}

/* The variable `self`: the blocks of the template, to print them again. */
static struct jv blocks(struct jx *x, const struct jinja *j)
{
    struct jv self = jd_new(x);
    for (size_t i = 0; i < j->blocks.dict->n; i++) {
        const struct jentry *e = &j->blocks.dict->e[i];
        struct jmacro *m = jx_alloc(x, sizeof *m);
        *m = (struct jmacro){.node = e->v.node, .scope = x->root};
        jd_set(x, self.dict, e->key, (struct jv){.kind = J_MACRO, .macro = m});
    }
    self.kind = J_SPACE;
    return self;
}

/* What a name is before the template says anything. */
static struct jv global(struct jx *x, const struct jinja_vars *v, const struct jstr *name)
{
    char *key = jx_alloc(x, name->n + 1);
    memcpy(key, name->s, name->n);
    struct jv found = member(x, v->own, key, false);
    if (found.kind == J_MISSING) found = member(x, v->data, key, true);
    const struct jrow *row = found.kind == J_MISSING ? jf_find(&jf_globals, name) : NULL;
    return row ? jf_bound(x, row, jv_none()) : found;
}

static void render(struct jx *x, const struct jinja *j, const struct jinja_vars *v)
{
    const struct jdict *names = j->names.dict;
    assert(names->n >= SYM_COUNT);
    x->global = jx_array(x, names->n, sizeof *x->global);
    for (size_t i = 0; i < names->n; i++) x->global[i] = global(x, v, names->e[i].key.s);
    x->root = jscope_push(x, NULL);
    if (x->global[SYM_SELF].kind == J_MISSING) x->global[SYM_SELF] = blocks(x, j);
    x->text = jx_alloc(x, sizeof *x->text);
    jexec(x, j->body);
}

static enum err guarded_render(struct jx *x, const struct jinja *j, const struct jinja_vars *v)
{
    if (setjmp(x->out)) return x->err;
    render(x, j, v);
    return OK;
}

/* The output with its spans. */
static enum err copy_out(const struct jbuf *b, struct origin_text *text)
{
    text->s = mem_alloc(MEM_MISC, b->n + 1);
    text->data = mem_alloc_array(MEM_MISC, b->n_edge / 2 + 1, sizeof *text->data);
    if (!text->s || !text->data) {
        origin_text_fini(text);
        return ERR_MEMORY;
    }
    if (b->n) memcpy(text->s, b->s, b->n);
    text->n = b->n;
    bool data = b->first;
    size_t at = 0;
    for (size_t i = 0; i <= b->n_edge; i++, data = !data) {
        const size_t end = i < b->n_edge ? b->edge[i] : b->n;
        assert(end >= at);
        if (data && end > at)
            text->data[text->n_data++] = (struct origin_span){.at = at, .n = end - at};
        at = end;
    }
    return OK;
}

enum err jinja_render(const struct jinja *j, const struct jinja_vars *v, struct origin_text *text)
{
    assert(j && v);
    assert(text);
    *text = (struct origin_text){0};
    struct jx x = {.name = j->name,
                   .line = 1,
                   .depth_max = JINJA_DEPTH_MAX,
                   .time = v->time,
                   .deadline_ns = v->deadline_ns,
                   .is_own = v->is_own};
    enum err err = guarded_render(&x, j, v);
    if (!err) err = copy_out(x.text, text);
    jx_free(&x);
    return err;
}
