/*
 * stdio_conv.c: a small array of conversations, searched from the front: there are hundreds at
 * most, and each search belongs to an answer of seconds.
 */
#include "cmd/stdio_conv.h"

#include "base/mem.h"

#include <assert.h>

enum err stdio_convs_init(struct stdio_convs *all, size_t cap)
{
    assert(cap > 0);
    *all = (struct stdio_convs){.at = mem_alloc_array(MEM_MISC, cap, sizeof *all->at), .cap = cap};
    return all->at ? OK : ERR_MEMORY;
}

static void conv_free(struct stdio_conv *c)
{
    json_decref(c->name);
    json_decref(c->said);
    mem_free(c);
}

void stdio_convs_fini(struct stdio_convs *all)
{
    for (size_t i = 0; i < all->n; i++) conv_free(all->at[i]);
    mem_free(all->at);
    *all = (struct stdio_convs){0};
}

struct stdio_conv *stdio_convs_find(const struct stdio_convs *all, const json_t *name)
{
    for (size_t i = 0; i < all->n; i++)
        if (json_equal(all->at[i]->name, name)) return all->at[i];
    return NULL;
}

enum err stdio_convs_add(struct stdio_convs *all, json_t *name, struct stdio_conv **c)
{
    assert(!stdio_convs_find(all, name));
    if (all->n == all->cap) return ERR_AGAIN;
    *c = mem_alloc(MEM_MISC, sizeof **c);
    json_t *const said = json_array();
    if (!*c || !said) {
        mem_free(*c);
        json_decref(said);
        return mem_short("a conversation");
    }
    **c = (struct stdio_conv){.name = json_incref(name), .said = said};
    all->at[all->n++] = *c;
    return OK;
}

void stdio_convs_remove(struct stdio_convs *all, struct stdio_conv *c)
{
    assert(c->n_ask == 0);
    size_t i = 0;
    while (i < all->n && all->at[i] != c) i++;
    assert(i < all->n);
    all->at[i] = all->at[--all->n];
    conv_free(c);
}

void stdio_convs_tidy(struct stdio_convs *all, struct stdio_conv *c)
{
    if (c->n_ask == 0 && json_array_size(c->said) == 0) stdio_convs_remove(all, c);
}

json_t *stdio_conv_with(const struct stdio_conv *c, json_t *news)
{
    json_t *const messages = json_copy(c->said);
    if (!messages || json_array_extend(messages, news) == 0) return messages;
    json_decref(messages);
    return NULL;
}

enum err stdio_conv_keep(struct stdio_conv *c, json_t *news, const char *answer, size_t n,
                         size_t n_bytes)
{
    assert(json_is_array(news));
    const size_t n_before = json_array_size(c->said);
    json_t *const message = json_pack("{s:s, s:s%}", "role", "assistant", "content", answer, n);
    if (!message || json_array_extend(c->said, news) || json_array_append(c->said, message)) {
        while (json_array_size(c->said) > n_before) json_array_remove(c->said, n_before);
        json_decref(message);
        return mem_short("a conversation");
    }
    json_decref(message);
    c->n_bytes += n_bytes;
    return OK;
}
