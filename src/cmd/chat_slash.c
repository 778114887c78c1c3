/*
 * chat_slash.c: what can be typed in a chat instead of a message: a table of commands.
 *
 * What a command says goes to standard error, also with --quiet: it was asked for. /set uses the
 * option rows of the command line, so names, ranges and messages are the same.
 */
#include "base/limits.h"
#include "base/mem.h"
#include "base/os.h"
#include "base/ui.h"
#include "cmd/chat_impl.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* A line on standard error, with all of what it is about: a system message may be long. */
static void say(const char *fmt, ...) PRINTF_LIKE(1, 2);
static void say(const char *fmt, ...)
{
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    const int n = vsnprintf(NULL, 0, fmt, args);
    assert(n >= 0);
    char *const text = mem_alloc(MEM_MISC, (size_t)n + 1);
    if (text) {
        vsnprintf(text, (size_t)n + 1, fmt, again);
        ui_tame(text, (size_t)n); /* texts come from files */
        fprintf(stderr, "%s\n", text);
    }
    va_end(again);
    va_end(args);
    mem_free(text);
}

/* ---- files ----------------------------------------------------------------------------------- */

/* The name of a file as it was typed: quotes around it are taken off, ~/ is the home directory.
 * *path: mem_free. */
static enum err file_name(const char *arg, char **path)
{
    const size_t n = strlen(arg);
    const bool quoted = n >= 2 && strchr("\"'", arg[0]) && arg[n - 1] == arg[0];
    const char *const home = strncmp(arg, "~/", 2) == 0 ? getenv("HOME") : NULL;
    const size_t n_path = n + (home ? strlen(home) : 0) + 1;
    *path = mem_alloc(MEM_MISC, n_path);
    if (!*path) return ERR_MEMORY;
    if (quoted)
        snprintf(*path, n_path, "%.*s", (int)(n - 2), arg + 1);
    else
        snprintf(*path, n_path, "%s%s", home ? home : "", home ? arg + 1 : arg);
    return OK;
}

static void remember_file(struct chat_state *c, char *path)
{
    if (path == c->file) return;
    mem_free(c->file);
    c->file = path;
}

static enum err save(struct chat_state *c, const char *arg, bool overwrite)
{
    char *path = c->file;
    struct stat st;
    if (!*arg && !path) return err_set(ERR_USAGE, "/save: into which file? /save FILE");
    enum err err = *arg ? file_name(arg, &path) : OK;
    if (err) return err;
    const bool is_ours = c->file && strcmp(path, c->file) == 0;
    if (!overwrite && !is_ours && stat(path, &st) == 0 && S_ISREG(st.st_mode))
        err = err_set(ERR_USAGE, "%s exists; /save! %s overwrites it", path, arg);
    if (err == OK) err = chat_talk_save(&c->talk, path);
    if (err == OK) say("%zu messages are in %s", chat_talk_n(&c->talk), path);
    if (err == OK)
        remember_file(c, path);
    else if (path != c->file)
        mem_free(path);
    return err;
}

static enum err do_save(struct chat_state *c, const char *arg)
{
    return save(c, arg, false);
}

static enum err do_save_over(struct chat_state *c, const char *arg)
{
    return save(c, arg, true);
}

/* A conversation that the template refuses is not taken. */
static enum err check_renders(struct chat_state *c)
{
    uint32_t *ids = NULL;
    size_t n = 0;
    const enum err err = engine_prompt(c->e, c->talk.root, CHAT_GENERATE, &ids, &n);
    engine_free(ids);
    return err;
}

static enum err do_load(struct chat_state *c, const char *arg)
{
    char *path = NULL;
    struct chat_talk before = c->talk;
    json_incref(before.root);
    enum err err = file_name(arg, &path);
    if (err == OK) err = chat_talk_load(&c->talk, path);
    if (err == OK && chat_talk_n(&c->talk) > 0) {
        err = check_renders(c);
        if (err) err = err_wrap(err, "%s", path);
    }
    if (err) {
        chat_talk_fini(&c->talk);
        c->talk = before;
        mem_free(path);
        return err;
    }
    chat_talk_fini(&before);
    remember_file(c, path);
    say("%zu messages from %s%s", chat_talk_n(&c->talk), path,
        chat_talk_waits(&c->talk) ? "; the last one has no answer: /regen writes it" : "");
    return OK;
}

static enum err do_read(struct chat_state *c, const char *arg)
{
    char *path = NULL;
    struct text t = {0};
    enum err err = file_name(arg, &path);
    if (err == OK) err = os_read_all(path, PROMPT_BYTES_MAX, &t.s, &t.n);
    if (err == OK) err = chat_pend(c, t.s, t.n);
    if (err == OK) say("%s: %zu bytes, the beginning of your next message", path, t.n);
    mem_free(t.s);
    mem_free(path);
    return err;
}

/* ---- conversation ---------------------------------------------------------------------------- */

static enum err do_clear(struct chat_state *c, const char *arg)
{
    (void)arg;
    chat_talk_clear(&c->talk);
    bytes_cut(&c->pending, 0);
    say("a new conversation%s", chat_talk_system(&c->talk) ? "; the system message stays" : "");
    return OK;
}

static enum err do_undo(struct chat_state *c, const char *arg)
{
    (void)arg;
    if (bytes_n(&c->pending) > 0) {
        bytes_cut(&c->pending, 0);
        say("what /read has brought is dropped");
        return OK;
    }
    if (!chat_talk_undo(&c->talk)) return err_set(ERR_USAGE, "/undo: the conversation is empty");
    say("the last exchange is gone; %zu messages are left", chat_talk_n(&c->talk));
    return OK;
}

static enum err do_regen(struct chat_state *c, const char *arg)
{
    (void)arg;
    return chat_again(c);
}

static enum err do_system(struct chat_state *c, const char *arg)
{
    const char *const now = chat_talk_system(&c->talk);
    if (!*arg) {
        say(now ? "%s" : "there is no system message; /system TEXT sets one", now);
        return OK;
    }
    const bool removes = strcmp(arg, "-") == 0;
    const enum err err = chat_talk_set_system(&c->talk, removes ? NULL : arg);
    if (err == OK) say("the system message is %s", removes ? "removed" : "set");
    return err;
}

/* ---- options --------------------------------------------------------------------------------- */

static const struct cli_opt *const settable[] = {common_sampling, common_shift};
#define N_SETTABLE (sizeof settable / sizeof *settable)

static void say_option(const struct chat_state *c, const struct cli_opt *row)
{
    const bool is_random = strcmp(row->name, "seed") == 0 && !c->sampling.seed_given;
    if (is_random) {
        say("  %-18s %" PRIu64 " (random)", row->name, c->sampling.gen.sample.seed);
        return;
    }
    const size_t n = cli_value(row, &c->o->common, NULL, 0);
    char *const value = mem_alloc(MEM_MISC, n + 1);
    if (!value) return;
    cli_value(row, &c->o->common, value, n + 1);
    say("  %-18s %s", row->name, value);
    mem_free(value);
}

static enum err unknown_option(const char *name)
{
    const char *names[64] = {"system"};
    size_t n = 1;
    for (size_t i = 0; i < N_SETTABLE; i++) {
        for (const struct cli_opt *r = settable[i]; r->name; r++) {
            assert(n + 1 < sizeof names / sizeof names[0]);
            names[n++] = r->name;
        }
    }
    const char *const near = cli_nearest(name, names);
    return near
               ? err_set(ERR_USAGE, "/set: there is no option '%s'; did you mean '%s'?", name, near)
               : err_set(ERR_USAGE, "/set: there is no option '%s'; /set lists them", name);
}

/* A copy of value that lives as long as the option has it. Quotes around it, which may hold blanks
 * or nothing, are not part of it. */
static const char *keep(struct chat_state *c, const struct cli_opt *row, const char *value)
{
    const size_t n = strlen(value);
    const bool quoted = n >= 2 && value[0] == '"' && value[n - 1] == '"';
    struct chat_kept *const more = mem_realloc(MEM_MISC, c->kept, (c->n_kept + 1) * sizeof *more);
    if (!more) return NULL;
    c->kept = more;
    char *const s = mem_strdup(MEM_MISC, value + quoted);
    if (!s) return NULL;
    if (quoted) s[n - 2] = '\0';
    more[c->n_kept++] = (struct chat_kept){.row = row, .value = s};
    return s;
}

/* Frees what an option no longer has: its earlier values, unless it is a list that grows. */
static void forget_before(struct chat_state *c, const struct cli_opt *row, const char *value)
{
    size_t n = 0;
    const bool is_growing = row->type == CLI_LIST && *value;
    for (size_t i = 0; i < c->n_kept; i++) {
        const bool is_old = c->kept[i].row == row && c->kept[i].value != value && !is_growing;
        if (is_old)
            mem_free(c->kept[i].value);
        else
            c->kept[n++] = c->kept[i];
    }
    c->n_kept = n;
}

/* The new value, and what follows from it; on errors all is as before. */
static enum err change(struct chat_state *c, const struct cli_opt *row, const char *value)
{
    struct common_opts *const o = &c->o->common;
    const struct common_opts before = *o;
    const uint64_t seed = c->sampling.gen.sample.seed;
    const char *const kept = keep(c, row, value);
    if (!kept) return ERR_MEMORY;
    char said[64];
    snprintf(said, sizeof said, "/set %s", row->name);
    struct sampling s = {0};
    enum err err = cli_set(row, said, kept, o);
    if (err == OK) err = sampling_init(&s, o, c->e, !c->is_story);
    if (err) {
        *o = before;
        mem_free(c->kept[--c->n_kept].value);
        return err;
    }
    sampling_fini(&c->sampling);
    c->sampling = s;
    const bool is_seed = strcmp(row->name, "seed") == 0;
    if (!s.seed_given && !is_seed) c->sampling.gen.sample.seed = seed;
    forget_before(c, row, kept);
    return OK;
}

static enum err do_set(struct chat_state *c, const char *arg)
{
    const size_t n_name = strcspn(arg, " \t=");
    const char *const value = arg + n_name + strspn(arg + n_name, " \t=");
    char name[64];
    if (!*arg) {
        for (size_t i = 0; i < N_SETTABLE; i++)
            for (const struct cli_opt *r = settable[i]; r->name; r++) say_option(c, r);
        return OK;
    }
    snprintf(name, sizeof name, "%.*s", (int)n_name, arg);
    if (strcmp(name, "system") == 0) return do_system(c, value);
    const struct cli_opt *row = NULL;
    for (size_t i = 0; i < N_SETTABLE && !row; i++) row = cli_find(settable[i], name);
    if (!row) return unknown_option(name);
    const enum err err = *value ? change(c, row, value) : OK;
    if (err == OK) say_option(c, row);
    return err;
}

/* ---- the rest -------------------------------------------------------------------------------- */

static double per_second(uint64_t n, uint64_t ns)
{
    return ns ? (double)n * 1e9 / (double)ns : 0;
}

static enum err do_stats(struct chat_state *c, const char *arg)
{
    (void)arg;
    const struct session_stats st = session_stats(c->s);
    char kv[UI_SIZE_BYTES_MAX], peak[UI_SIZE_BYTES_MAX];
    say("conversation: %zu messages; %zu of %" PRIu32 " tokens of the context in use",
        chat_talk_n(&c->talk), session_pos(c->s), session_n_ctx(c->s));
    say("last answer:  %zu tokens new, %zu reused; %" PRIu32 " written",
        c->last.n_prompt - c->last.n_reused, c->last.n_reused, c->last.n_answer);
    say("in all:       read %" PRIu64 " tokens at %.1f tok/s, wrote %" PRIu64 " at %.1f tok/s",
        st.n_prefill, per_second(st.n_prefill, st.prefill_ns), st.n_decode,
        per_second(st.n_decode, st.decode_ns));
    say("memory:       KV cache %s, peak %s", ui_size(kv, st.kv_bytes + st.state_bytes),
        ui_size(peak, os_rss_peak_bytes()));
    return OK;
}

static enum err do_exit(struct chat_state *c, const char *arg)
{
    (void)arg;
    c->leave = true;
    return OK;
}

/* ---- the table ------------------------------------------------------------------------------- */

static enum err do_help(struct chat_state *c, const char *arg);

enum needs { NOTHING, MAY_HAVE, NEEDS };

static const struct slash {
    const char *name, *alias;
    const char *arg; /* what it takes, for the help; NULL: nothing */
    enum needs needs;
    enum err (*run)(struct chat_state *c, const char *arg);
    const char *help;
} slashes[] = {
    {"/help", "/?", NULL, NOTHING, do_help, "this list"},
    {"/exit", "/bye /quit", NULL, NOTHING, do_exit, "leave the chat (Ctrl-D)"},
    {"/clear", NULL, NULL, NOTHING, do_clear,
     "begin a new conversation with the same system message"},
    {"/regen", NULL, NULL, NOTHING, do_regen, "write the last answer anew"},
    {"/undo", NULL, NULL, NOTHING, do_undo, "drop the last message and its answer"},
    {"/system", NULL, "[TEXT]", MAY_HAVE, do_system,
     "show or set the system message; - removes it"},
    {"/read", NULL, "FILE", NEEDS, do_read, "put the text of a file into the next message"},
    {"/save", NULL, "[FILE]", MAY_HAVE, do_save,
     "save the conversation as JSON messages; /save! overwrites a file"},
    {"/save!", NULL, "[FILE]", MAY_HAVE, do_save_over, NULL},
    {"/load", NULL, "FILE", NEEDS, do_load, "go on with a saved conversation"},
    {"/set", NULL, "[NAME [VALUE]]", MAY_HAVE, do_set,
     "show or change an option: temp, top-k, top-p, min-p, seed, n-predict, stop, ..."},
    {"/stats", NULL, NULL, NOTHING, do_stats, "tokens, speed and memory"},
};
#define N_SLASHES (sizeof slashes / sizeof slashes[0])

const char *chat_word(size_t i)
{
    return i < N_SLASHES ? slashes[i].name : NULL;
}

/* "/help /?  this list" */
static enum err do_help(struct chat_state *c, const char *arg)
{
    (void)c;
    (void)arg;
    for (size_t i = 0; i < N_SLASHES; i++) {
        char left[64];
        const struct slash *const s = slashes + i;
        if (!s->help) continue;
        snprintf(left, sizeof left, "%s%s%s%s%s", s->name, s->alias ? " " : "",
                 s->alias ? s->alias : "", s->arg ? " " : "", s->arg ? s->arg : "");
        say("  %-22s %s", left, s->help);
    }
    say("\"\"\" begins and ends a message of several lines; so does a \\ at the end of each but "
        "the "
        "last.\nA message that begins with / is written with two: //. Alt-Enter is a new line, Tab "
        "completes.");
    return OK;
}

/* Where the first word of text ends. */
static size_t word_bytes(const char *text, size_t n)
{
    size_t i = 0;
    while (i < n && !strchr(" \t\n", text[i])) i++;
    return i;
}

/* Is word[0..n) one of the names in a list separated by blanks? */
static bool is_among(const char *names, const char *word, size_t n)
{
    for (const char *p = names; p && *p; p += strspn(p, " ")) {
        const size_t n_name = strcspn(p, " ");
        if (n_name == n && memcmp(p, word, n) == 0) return true;
        p += n_name;
    }
    return false;
}

static const struct slash *find(const char *word, size_t n)
{
    for (size_t i = 0; i < N_SLASHES; i++)
        if (is_among(slashes[i].name, word, n) || is_among(slashes[i].alias, word, n))
            return slashes + i;
    return NULL;
}

bool chat_is_command(const char *text, size_t n)
{
    assert(text);
    if (n == 0 || text[0] != '/') return false;
    const size_t n_word = word_bytes(text, n);
    if (find(text, n_word)) return true;
    /* Nobody means a command by a path, or by a text of several lines. */
    return !memchr(text + 1, '/', n_word - 1) && !memchr(text, '\n', n);
}

static enum err unknown_command(const char *text, size_t n)
{
    const char *names[N_SLASHES + 1] = {NULL};
    char word[32] = "";
    for (size_t i = 0; i < N_SLASHES; i++) names[i] = slashes[i].name;
    if (n < sizeof word) memcpy(word, text, n);
    const char *const near = cli_nearest(word, names);
    return err_set(ERR_USAGE, "unknown command %.*s; %s%s%s; // begins a message with a /", (int)n,
                   text, near ? "did you mean " : "/help lists those there are", near ? near : "",
                   near ? "?" : "");
}

enum err chat_command(struct chat_state *c, const char *text)
{
    assert(c);
    assert(text[0] == '/');
    const size_t n_word = word_bytes(text, strlen(text));
    const struct slash *const s = find(text, n_word);
    if (!s) return unknown_command(text, n_word);
    const char *const begin = text + n_word + strspn(text + n_word, " \t\n");
    size_t n = strlen(begin);
    while (n > 0 && strchr(" \t\n", begin[n - 1])) n--;
    if (n > 0 && s->needs == NOTHING)
        return err_set(ERR_USAGE, "%s takes nothing behind it; remove '%.40s'", s->name, begin);
    if (n == 0 && s->needs == NEEDS)
        return err_set(ERR_USAGE, "%s needs a name: %s %s", s->name, s->name, s->arg);
    char *const arg = mem_alloc(MEM_MISC, n + 1);
    if (!arg) return ERR_MEMORY;
    memcpy(arg, begin, n);
    const enum err err = s->run(c, arg);
    mem_free(arg);
    return err;
}
