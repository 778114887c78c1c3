/*
 * files.c: prompts, id lists and output files of the commands.
 *
 * It looks at files as the system sees them (stat, poll, rename), because these questions belong to
 * the command line and to nobody else: is this output a regular file, are two names one file, is
 * the reader of a pipe still there.
 */
#include "cmd/files.h"

#include "base/limits.h"
#include "base/mem.h"
#include "base/os.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define STDIN_WAIT_MS 2000 /* after this long without a byte a person is told what is waited for */

void files_init(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) >= 0) continue;
        const int got = open("/dev/null", fd == STDERR_FILENO ? O_WRONLY : O_RDONLY);
        if (got >= 0 && got != fd) close(got); /* cannot be: the lowest free number is taken */
    }
}

/* ---- prompt ---------------------------------------------------------------------------------- */

enum err prompt_check(struct common_opts *o, bool may_chat)
{
    assert(o);
    if (o->pos[0]) {
        if (o->prompt_from == CLI_FROM_ARG)
            return err_set(ERR_USAGE, "two prompts: '%s' and -p; leave one out", o->pos[0]);
        o->prompt = o->pos[0];
        o->prompt_from = CLI_FROM_ARG;
    }
    if (o->prompt && o->file) {
        if (o->prompt_from == o->file_from)
            return err_set(
                ERR_USAGE,
                "a prompt was given both as text (-p) and as a file (-f); leave one out");
        if (o->prompt_from < o->file_from)
            o->prompt = NULL;
        else
            o->file = NULL;
    }
    if (o->prompt || o->file || !os_is_terminal(stdin)) return OK;
    const bool is_first = o->model_from != CLI_FROM_ARG && o->model;
    const char *const model = o->model ? o->model : "";
    return err_set(ERR_USAGE, "no text given: use -p TEXT, -f FILE, or pipe it in%s%s%s%s%s",
                   is_first ? " (the first argument, '" : "", is_first ? model : "",
                   is_first ? "', is the model)" : "",
                   may_chat ? "; for a conversation: moxie chat " : "", may_chat ? model : "");
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    const int lower = tolower((unsigned char)c);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

/* In place, as llama.cpp does it: unknown escapes stay as they are. */
static size_t expand_escapes(char *s, size_t n)
{
    static const char from[] = "ntr'\"\\", to[] = "\n\t\r'\"\\";
    size_t n_out = 0;
    for (size_t i = 0; i < n; i++) {
        const char *const known =
            s[i] == '\\' && i + 1 < n && s[i + 1] ? strchr(from, s[i + 1]) : NULL;
        if (known) {
            s[n_out++] = to[known - from];
            i++;
        } else if (n - i >= 4 && s[i] == '\\' && s[i + 1] == 'x' && hex_digit(s[i + 2]) >= 0 &&
                   hex_digit(s[i + 3]) >= 0) {
            s[n_out++] = (char)(hex_digit(s[i + 2]) * 16 + hex_digit(s[i + 3]));
            i += 3;
        } else {
            s[n_out++] = s[i];
        }
    }
    s[n_out] = '\0';
    return n_out;
}

/* Standard input to its end. Someone who forgot that it is open gets a hint. */
static enum err read_stdin(const struct common_opts *o, struct text *t)
{
    struct pollfd p = {.fd = STDIN_FILENO, .events = POLLIN};
    if (poll(&p, 1, STDIN_WAIT_MS) == 0)
        cmd_note(o, "waiting for standard input; end it with Ctrl-D, or run with </dev/null");
    const enum err err = cmd_interrupted();
    return err ? err : os_read_all("-", PROMPT_BYTES_MAX, &t->s, &t->n);
}

static void chomp(struct text *t)
{
    if (t->n > 0 && t->s[t->n - 1] == '\n') t->s[--t->n] = '\0';
}

/* t becomes t, an empty line, more. */
static enum err append(struct text *t, const struct text *more)
{
    size_t n = 0;
    if (!mem_add(t->n, more->n, &n) || n > PROMPT_BYTES_MAX)
        return err_set(ERR_INPUT, "the prompt and standard input are longer than %u bytes together",
                       PROMPT_BYTES_MAX);
    char *const s = mem_realloc(MEM_MISC, t->s, n + 3);
    if (!s) return ERR_MEMORY;
    memcpy(s + t->n, "\n\n", 2);
    memcpy(s + t->n + 2, more->s, more->n);
    s[n + 2] = '\0';
    *t = (struct text){.s = s, .n = n + 2};
    return OK;
}

static enum err read_given(const struct common_opts *o, unsigned flags, struct text *t)
{
    t->s = mem_strdup(MEM_MISC, o->prompt);
    if (!t->s) return ERR_MEMORY;
    t->n = strlen(t->s);
    if (flags & PROMPT_ESCAPES) t->n = expand_escapes(t->s, t->n);
    if (!(flags & PROMPT_APPEND) || os_is_terminal(stdin)) return OK;
    struct text more = {0};
    enum err err = read_stdin(o, &more);
    if (err == OK && flags & PROMPT_CHOMP) chomp(&more);
    if (err == OK && more.n > 0) err = append(t, &more);
    mem_free(more.s);
    return err;
}

bool prompt_is_file(const struct common_opts *o)
{
    assert(o);
    return o->file && strcmp(o->file, "-") != 0;
}

enum err prompt_read(const struct common_opts *o, unsigned flags, struct text *t)
{
    assert(o);
    assert(!(o->prompt && o->file));
    *t = (struct text){0};
    enum err err;
    if (o->prompt) {
        err = read_given(o, flags, t);
    } else {
        err = prompt_is_file(o) ? os_read_all(o->file, PROMPT_BYTES_MAX, &t->s, &t->n)
                                : read_stdin(o, t);
        if (err == OK && flags & PROMPT_CHOMP) chomp(t);
    }
    if (err == OK) return OK;
    mem_free(t->s);
    *t = (struct text){0};
    return err;
}

enum err prompt_begin(const struct engine *e, uint32_t **ids, size_t *n)
{
    assert(e);
    assert(ids);
    assert(n);
    if (*n > 0) return OK;
    if (engine_bos(e) == UINT32_MAX)
        return err_set(ERR_INPUT,
                       "the prompt is empty, and %s has no BOS token to start from; give some text",
                       engine_info(e)->path);
    engine_free(*ids);
    *ids = mem_alloc_array(MEM_MISC, 1, sizeof **ids);
    if (!*ids) return ERR_MEMORY;
    (*ids)[(*n)++] = engine_bos(e);
    return OK;
}

/* ---- ids ------------------------------------------------------------------------------------- */

static const char white[] = " \t\r\n\v\f";

/* One id at *p, which is moved behind it. */
static enum err parse_id(const char *path, size_t i_item, uint32_t n_vocab, char **p, uint32_t *id)
{
    assert(**p);
    const size_t n = strcspn(*p, white);
    const bool is_end = (*p)[n] == '\0';
    (*p)[n] = '\0';
    uint64_t v = 0;
    if (!cli_u64(*p, &v))
        return err_set(ERR_INPUT, "%s: item %zu is '%.32s', expected a decimal token id", path,
                       i_item, *p);
    if (v > UINT32_MAX || (n_vocab > 0 && v >= n_vocab))
        return err_set(ERR_INPUT,
                       "%s: item %zu is %" PRIu64 ", outside the vocabulary (ids are 0 to %" PRIu32
                       ")",
                       path, i_item, v, n_vocab ? n_vocab - 1 : UINT32_MAX);
    *id = (uint32_t)v;
    *p += n + !is_end;
    return OK;
}

enum err ids_read(const char *path, uint32_t n_vocab, uint32_t **ids, size_t *n)
{
    assert(path);
    assert(ids);
    assert(n);
    const char *const name = strcmp(path, "-") == 0 ? "standard input" : path;
    char *text = NULL;
    size_t n_bytes = 0;
    *ids = NULL;
    *n = 0;
    enum err err = os_read_all(path, PROMPT_BYTES_MAX, &text, &n_bytes);
    if (err) return err;
    if (strlen(text) != n_bytes) {
        err = err_set(ERR_INPUT, "%s: there is a NUL byte at %zu, expected decimal token ids", name,
                      strlen(text));
        goto done;
    }
    err = ERR_MEMORY;
    *ids = mem_alloc_array(MEM_MISC, n_bytes / 2 + 1, sizeof **ids); /* a digit and a blank each */
    if (!*ids) goto done;
    err = OK;
    for (char *p = text + strspn(text, white); *p && err == OK; p += strspn(p, white)) {
        err = parse_id(name, *n + 1, n_vocab, &p, *ids + *n);
        ++*n;
    }
    if (err == OK && *n == 0)
        err = err_set(ERR_INPUT, "%s: holds no token id; at least one is needed", name);
done:
    mem_free(text);
    if (err == OK) return OK;
    mem_free(*ids);
    *ids = NULL;
    *n = 0;
    return err;
}

void ids_print(const uint32_t *ids, size_t n)
{
    assert(ids || n == 0);
    /* No further write after a failed one: it would wait for the reader again after Ctrl-C. */
    for (size_t i = 0; i < n && !ferror(stdout); i++) printf(i ? " %" PRIu32 : "%" PRIu32, ids[i]);
    if (!ferror(stdout)) putchar('\n');
}

/* ---- output ---------------------------------------------------------------------------------- */

/* The error number of a failed write may be gone by now, so the pipe itself is asked. */
static bool reader_is_gone(FILE *f)
{
    struct pollfd p = {.fd = fileno(f), .events = POLLOUT};
    return poll(&p, 1, 0) == 1 && (p.revents & (POLLERR | POLLHUP)) != 0;
}

enum err out_flush(FILE *f, const char *name)
{
    assert(f);
    const int error = fflush(f) == 0 ? 0 : errno;
    if (error == 0 && !ferror(f)) return OK;
    return reader_is_gone(f) ? ERR_END : os_write_failed(name, error);
}

bool out_is_same(FILE *a, FILE *b)
{
    assert(a);
    assert(b);
    struct stat st_a, st_b;
    return fstat(fileno(a), &st_a) == 0 && fstat(fileno(b), &st_b) == 0 &&
           st_a.st_dev == st_b.st_dev && st_a.st_ino == st_b.st_ino;
}

enum err out_open(struct out_file *o, const char *path)
{
    assert(o);
    assert(path);
    *o = (struct out_file){.name = strcmp(path, "-") == 0 ? "standard output" : path};
    if (!*path)
        return err_set(ERR_USAGE, "the name of an output file is empty; give a path, or - for "
                                  "standard output");
    /* A link is written through, not replaced: /dev/stdout is one. */
    struct stat st;
    const bool exists = lstat(path, &st) == 0;
    if (strcmp(path, "-") == 0) {
        o->f = stdout;
    } else if (exists && !S_ISREG(st.st_mode)) {
        o->f = fopen(path, "wbe");
    } else {
        const enum err err = part_open(&o->part, path);
        o->f = o->part.f;
        return err;
    }
    return o->f ? OK : os_write_failed(path, errno);
}

enum err out_write(struct out_file *o, const void *data, size_t n_bytes)
{
    assert(o->f);
    assert(data);
    if (fwrite(data, 1, n_bytes, o->f) == n_bytes) return OK;
    return out_flush(o->f, o->name);
}

enum err out_commit(struct out_file *o)
{
    assert(o->f);
    enum err err = out_flush(o->f, o->name);
    if (err == OK && o->part.f) {
        err = part_commit(&o->part);
        o->f = NULL;
    } else if (err == OK && o->f != stdout) {
        const int rc = fclose(o->f);
        o->f = NULL;
        if (rc != 0) err = os_write_failed(o->name, errno);
    }
    out_abandon(o);
    return err;
}

void out_abandon(struct out_file *o)
{
    assert(o);
    if (o->f && o->f != stdout && o->f != o->part.f) fclose(o->f);
    part_abandon(&o->part);
    *o = (struct out_file){0};
}

enum err out_differs(const char *out_option, const char *out, const char *in_option, const char *in)
{
    assert(out_option);
    assert(in_option);
    struct stat a, b;
    if (!out || !in || strcmp(out, "-") == 0 || strcmp(in, "-") == 0) return OK;
    const bool same_name = strcmp(out, in) == 0;
    const bool same_file = stat(out, &a) == 0 && stat(in, &b) == 0 && S_ISREG(a.st_mode) &&
                           a.st_dev == b.st_dev && a.st_ino == b.st_ino;
    if (!same_name && !same_file) return OK;
    return err_set(ERR_USAGE, "%s '%s' is the same file as %s '%s'; choose another name",
                   out_option, out, in_option, in);
}
