/*
 * registry.c: the families that moxie runs. A new one is one line here; its file defines `const
 * struct arch arch_<id>`.
 */
#include "models/arch.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#define ARCH_LIST(X)                                                                               \
    X(llama)                                                                                       \
    X(qwen2)                                                                                       \
    X(qwen3)                                                                                       \
    X(qwen2moe)                                                                                    \
    X(qwen3moe)                                                                                    \
    X(qwen3next)                                                                                   \
    X(qwen35moe)                                                                                   \
    X(olmoe)                                                                                       \
    X(granite)                                                                                     \
    X(granitemoe)                                                                                  \
    X(granitehybrid)                                                                               \
    X(deepseek2)                                                                                   \
    X(plm)                                                                                         \
    X(gptoss)                                                                                      \
    X(phimoe)                                                                                      \
    X(smollm3)                                                                                     \
    X(gemma2)                                                                                      \
    X(gemma3)                                                                                      \
    X(gemma4)                                                                                      \
    X(ernie45moe)                                                                                  \
    X(bailingmoe2)                                                                                 \
    X(smallthinker)                                                                                \
    X(lfm2)                                                                                        \
    X(lfm2moe)

#define DECLARE(id) extern const struct arch arch_##id;
#define ROW(id) &arch_##id,

ARCH_LIST(DECLARE)
static const struct arch *const archs[] = {ARCH_LIST(ROW)};

#define ARCH_COUNT (sizeof archs / sizeof archs[0])

const struct arch *arch_find(const char *name, size_t n)
{
    assert(name);
    for (size_t i = 0; i < ARCH_COUNT; i++) {
        if (strlen(archs[i]->name) == n && memcmp(archs[i]->name, name, n) == 0) return archs[i];
    }
    return NULL;
}

void arch_names(char *text, size_t n_bytes)
{
    assert(n_bytes > 0);
    text[0] = '\0';
    for (size_t i = 0; i < ARCH_COUNT; i++) {
        const size_t used = strlen(text);
        (void)snprintf(text + used, n_bytes - used, "%s%s", i ? ", " : "", archs[i]->name);
    }
}
