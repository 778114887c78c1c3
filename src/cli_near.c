/*
 * cli_near.c: "did you mean": what may have been meant by a word that is not known.
 *
 * A word is near a name when few edits lie between them or one begins with the other. Flags that
 * people bring from llama.cpp and Ollama are a table of their own: they are no typing errors, and
 * each gets a sentence.
 */
#include "cli_impl.h"

#include <assert.h>
#include <ctype.h>
#include <string.h>

#define WORD_BYTES_MAX 32 /* longer words get no suggestion */
#define HEAD_BYTES_MIN 2  /* of a name, to be taken for its beginning */

#define ON_CPU "has no meaning here: this version computes on the CPU; leave it out"
#define CHATS "has no meaning here: `moxie chat` is the conversation; leave it out"
#define MAPPED                                                                                     \
    "is not needed: the model is mapped, and quantised weights are copied into memory where they " \
    "fit (--no-repack: never); leave it out"
#define LOCAL                                                                                      \
    "has no meaning here: moxie downloads nothing; fetch the GGUF file and name it with -m"
#define UNBOUND                                                                                    \
    "has no meaning here: threads are not bound to cores; put taskset or numactl in front"

#define NO_FORM                                                                                    \
    "is not there yet: no grammar binds an answer; say in the prompt which form it should have"
#define NO_SERVER                                                                                  \
    "has no meaning here: there is no HTTP server yet, `moxie stdio` answers programs on a pipe"

/* Flags of llama.cpp and Ollama that have no meaning here, and what to do instead. */
static const struct {
    const char *spellings, *sentence;
} foreign[] = {
    {"-ngl --gpu-layers --n-gpu-layers -sm --split-mode -ts --tensor-split -mg --main-gpu", ON_CPU},
    {"-dev --device -cmoe --cpu-moe -ncmoe --n-cpu-moe", ON_CPU},
    {"-nkvo --no-kv-offload -kvo --kv-offload",
     "has no meaning here: the KV cache is in main memory; leave it out"},
    {"-fa --flash-attn",
     "is not needed: attention never builds the full score matrix; leave it out"},
    {"--mlock",
     "has no meaning here: no memory is locked; repacked weights are in it anyway, --no-repack "
     "leaves them to the page cache; leave it out"},
    {"--no-mmap --mmap", MAPPED},
    {"-ub --ubatch-size", "has no meaning here: there is one batch size, set it with -b"},
    {"-tb --threads-batch",
     "has no meaning here: prefill and decode use the same threads, set them with -t"},
    {"--numa -C --cpu-range -Cr --cpu-strict --prio --poll", UNBOUND},
    {"--no-warmup --warmup",
     "has no meaning here: only `bench` warms up, and always does; leave it out"},
    {"--no-display-prompt", "is not needed: the prompt is never printed; leave it out"},
    {"--no-context-shift",
     "is not needed: a full context ends the text unless --ctx-shift is given; leave it out"},
    {"-no-cnv --no-conversation -st --single-turn",
     "is not needed: `run` answers one prompt and ends; leave it out"},
    {"-cnv --conversation -i --interactive -if --interactive-first -ins --instruct", CHATS},
    {"--jinja --no-jinja",
     "is not needed: the model's own template is always used, `run --raw` goes without; leave it "
     "out"},
    {"--color --colors", "is not needed: colour follows the terminal and NO_COLOR; leave it out"},
    {"--simple-io --nowordwrap",
     "is not needed: where there is no terminal, input and output are plain; leave it out"},
    {"--log-disable", "has no meaning here: there is no log; -q keeps notes away"},
    {"-hf -hfr --hf-repo -hff --hf-file -mu --model-url", LOCAL},
    {"--host --port", NO_SERVER},
    {"--grammar --grammar-file --json-schema -j --json-schema-file -jf", NO_FORM},
    {"--lora --lora-scaled --control-vector --control-vector-scaled",
     "is not there: adapters are not applied; merge it into the weights before they become a GGUF "
     "file"},
    {"--samplers --sampler-seq --sampling-seq",
     "has no meaning here: penalties, top-k, typical, top-p, min-p and temperature always come in "
     "this order; leave it out"},
    {"--mirostat --mirostat-lr --mirostat-ent",
     "is not there: --temp, --top-p, --min-p and --typical say how words are chosen"},
    {"-md --model-draft --draft --draft-max --draft-n --draft-min --draft-n-min --draft-p-min",
     "is not there: no second model drafts the answer; leave it out"},
    {"--keepalive", "has no meaning here: the model is there as long as the command; leave it out"},
};

/* What other programs call an option of ours. */
static const struct {
    const char *spellings, *name;
} others[] = {
    {"--num-ctx --n-ctx --context --max-context --max-model-len", "ctx-size"},
    {"--max-tokens --max-new-tokens --num-predict --n-tokens", "n-predict"},
    {"--num-thread --num-threads --n-threads --nthreads", "threads"},
};

/* ---- distance -------------------------------------------------------------------------------- */

static size_t min_of(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Edits between two words: insert, remove, replace, swap neighbours (optimal string alignment).
 * Words too long to be one of ours are far from everything. */
static size_t distance(const char *a, const char *b)
{
    const size_t na = strlen(a), nb = strlen(b);
    if (na > WORD_BYTES_MAX || nb > WORD_BYTES_MAX) return SIZE_MAX;
    size_t row[3][WORD_BYTES_MAX + 1]; /* of prefixes of a: i - 2, i - 1, i, by turns */
    for (size_t j = 0; j <= nb; j++) row[0][j] = j;
    for (size_t i = 1; i <= na; i++) {
        size_t *const now = row[i % 3], *const up = row[(i + 2) % 3],
                      *const upper = row[(i + 1) % 3];
        now[0] = i;
        for (size_t j = 1; j <= nb; j++) {
            const bool same = a[i - 1] == b[j - 1];
            now[j] = min_of(min_of(up[j], now[j - 1]) + 1, up[j - 1] + !same);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                now[j] = min_of(now[j], upper[j - 2] + 1);
        }
    }
    return row[na % 3][nb];
}

/* As distance(), but one word that begins with the other is a single edit away. */
static size_t how_far(const char *word, const char *name)
{
    const size_t n = min_of(strlen(word), strlen(name));
    const size_t d = distance(word, name);
    const bool is_head = n >= HEAD_BYTES_MIN && memcmp(word, name, n) == 0;
    return is_head ? min_of(d, 1) : d;
}

/* How many edits a word may be away and still be meant. One letter is no hint at anything. */
static size_t near_enough(const char *word)
{
    const size_t n = strlen(word);
    return n < 2 ? 0 : 1 + n / 3;
}

const char *cli_nearest(const char *word, const char *const *names)
{
    assert(word);
    assert(names);
    const char *best = NULL;
    size_t d_best = near_enough(word) + 1;
    for (; *names; names++) {
        const size_t d = how_far(word, *names);
        if (d >= d_best) continue;
        d_best = d;
        best = *names;
    }
    return best;
}

/* ---- options --------------------------------------------------------------------------------- */

/* "--Top_K" -> "top-k" */
static void bare_word(char out[WORD_BYTES_MAX + 3], const char *said, size_t n)
{
    const size_t n_dash = strspn(said, "-");
    size_t n_out = 0;
    for (size_t i = n_dash; i < n && n < WORD_BYTES_MAX + 3; i++)
        out[n_out++] = said[i] == '_' ? '-' : (char)tolower((unsigned char)said[i]);
    out[n_out] = '\0';
}

/* The nearest spelling of any row to a word without dashes. */
static const char *nearest_option(const struct cli_cmd *cmd, const char *word,
                                  char best[SPELLING_BYTES_MAX])
{
    size_t d_best = near_enough(word) + 1;
    best[0] = '\0';
    const struct cli_opt *o;
    for (size_t i_row = 0; (o = cli_row(cmd, i_row)) != NULL; i_row++) {
        char buf[SPELLING_BYTES_MAX];
        const char *s;
        for (size_t i = 0; (s = cli_spelling(o, i, buf)) != NULL; i++) {
            const char *const bare = s + strspn(s, "-");
            const size_t d = strlen(bare) < 2 ? SIZE_MAX : how_far(word, bare);
            if (d >= d_best) continue;
            d_best = d;
            memcpy(best, buf, SPELLING_BYTES_MAX);
        }
    }
    return best[0] ? best : NULL;
}

/* The option of this command that others call so. */
static const char *renamed_option(const struct cli_cmd *cmd, const char *word,
                                  char name[SPELLING_BYTES_MAX])
{
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        char said[SPELLING_BYTES_MAX];
        const int n = snprintf(said, sizeof said, "--%s", word);
        if (!cli_has_word(others[i].spellings, ' ', said, (size_t)n)) continue;
        const struct cli_opt *o;
        for (size_t i_row = 0; (o = cli_row(cmd, i_row)) != NULL; i_row++)
            if (strcmp(o->name, others[i].name) == 0) return cli_spelling(o, 0, name);
    }
    return NULL;
}

/* The row whose letter a value is glued to: -n5, -n=5, -mfile. */
static const struct cli_opt *glued_row(const struct cli_cmd *cmd, const char *said, size_t n)
{
    if (n < 3 || said[1] == '-') return NULL;
    const struct cli_opt *o;
    for (size_t i = 0; (o = cli_row(cmd, i)) != NULL; i++) {
        if (o->letter != said[1] || o->type == CLI_FLAG) continue;
        return o->type == CLI_STR || strchr("0123456789.=", said[2]) ? o : NULL;
    }
    return NULL;
}

enum err cli_unknown_option(const struct cli_cmd *cmd, const char *said, size_t n)
{
    assert(cmd);
    assert(n > 0);
    assert(said[0] == '-');
    for (size_t i = 0; i < sizeof foreign / sizeof foreign[0]; i++)
        if (cli_has_word(foreign[i].spellings, ' ', said, n))
            return err_set(ERR_USAGE, "option %.*s %s", (int)n, said, foreign[i].sentence);
    char word[WORD_BYTES_MAX + 3], best[SPELLING_BYTES_MAX];
    bare_word(word, said, n);
    const struct cli_opt *const glued = glued_row(cmd, said, n);
    const char *near = renamed_option(cmd, word, best);
    if (!near && !(glued && strchr("0123456789.=", said[2])))
        near = nearest_option(cmd, word, best);
    if (near)
        return err_set(ERR_USAGE, "unknown option %.*s; did you mean %s? `moxie help %s` lists all",
                       (int)n, said, near, cmd->name);
    if (glued)
        return err_set(ERR_USAGE, "unknown option %.*s; a value is a word of its own: -%c %.*s",
                       (int)n, said, glued->letter, (int)n - 2 - (said[2] == '='),
                       said + 2 + (said[2] == '='));
    return err_set(ERR_USAGE, "unknown option %.*s; `moxie help %s` lists those there are", (int)n,
                   said, cmd->name);
}
