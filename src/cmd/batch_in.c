/*
 * batch_in.c: bytes from a descriptor, through zlib where they are gzip, cut into lines.
 *
 * Two stages: more() makes the next piece of text, next_line() looks for the newline in it and
 * copies; a line may span any number of pieces, and as many calls as it takes for all of them to
 * come. It reads the descriptor itself and not through zlib's file functions, because those wait
 * until a large buffer is full, and a pipe's lines are to be answered as they come.
 *
 * Refuses: gzip that is damaged or ends early, whatever came before it; bytes after the last
 * member that are no further member; prompts whose first piece holds a NUL byte: texts have none, a
 * model that was named as the input has.
 */
#include "cmd/batch_in.h"

#include "base/limits.h"
#include "base/mem.h"
#include "base/os.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#define PIECE_BYTES ((size_t)64 << 10)
#define GZIP_WINDOW (15 + 16) /* zlib.h, inflateInit2: the largest window, a gzip header */

static const uint8_t gzip_magic[] = {0x1f, 0x8b};

struct batch_in {
    const char *path, *name; /* name: for messages */
    int fd;
    uint8_t *raw; /* (PIECE_BYTES) as read; `n_raw` bytes of it are not used yet, from `raw_at` */
    size_t raw_at, n_raw;
    bool raw_end;
    bool is_gzip, in_member;
    bool z_open;
    z_stream z;
    char *unpacked;   /* (PIECE_BYTES) when it is gzip */
    const char *text; /* (n_text) not yet cut into lines: in raw or unpacked */
    size_t n_text;
    char *line; /* (line_room) the line that is being put together, */
    size_t line_room;
    struct batch_line part; /* what is there of it, */
    bool begun;             /* if anything, its newline included */
    bool waits;             /* may the call that runs wait for somebody to write? */
    uint64_t n_line;
};

static bool ends(const char *s, size_t n, const char *suffix)
{
    const size_t m = strlen(suffix);
    return n >= m && memcmp(s + n - m, suffix, m) == 0;
}

/* ---- bytes ----------------------------------------------------------------------------------- */

/* Adds to raw what one read gives; raw_end at the end of the file. */
static enum err read_raw(struct batch_in *in)
{
    assert(in->raw_at + in->n_raw < PIECE_BYTES);
    for (;;) {
        struct pollfd p = {.fd = in->fd, .events = POLLIN};
        const enum err err = os_poll(&p, 1, -1); /* a signal ends it, one just before read() too */
        if (err) return err_wrap(err, "%s", in->name);
        const size_t at = in->raw_at + in->n_raw;
        const ssize_t n = read(in->fd, in->raw + at, PIECE_BYTES - at);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 && errno == EISDIR)
            return err_set(ERR_INPUT, "%s: is a directory, expected a file", in->name);
        if (n < 0) return err_set(ERR_INPUT, "%s: cannot be read: %s", in->name, strerror(errno));
        in->raw_end = n == 0;
        in->n_raw += (size_t)n;
        return OK;
    }
}

/* Would a read return at once? An end and an error do. */
static bool is_ready(const struct batch_in *in)
{
    struct pollfd p = {.fd = in->fd, .events = POLLIN};
    return poll(&p, 1, 0) != 0;
}

static enum err refill_raw(struct batch_in *in)
{
    if (in->n_raw > 0 || in->raw_end) return OK;
    if (!in->waits && !is_ready(in)) return ERR_AGAIN;
    in->raw_at = 0;
    return read_raw(in);
}

static enum err damaged(const struct batch_in *in, const char *what)
{
    return err_set(ERR_INPUT, "%s: damaged gzip file: %s; make or fetch it again", in->name, what);
}

/* Where no member is open: begins the next one. Zeros are no member, but what fills up the last
 * block of a tape or a disk; gzip(1) passes over them, too. */
static enum err begin_member(struct batch_in *in)
{
    for (; in->n_raw > 0 && in->raw[in->raw_at] == 0; in->raw_at++) in->n_raw--;
    if (in->n_raw == 0) return OK;
    if (in->raw[in->raw_at] != gzip_magic[0])
        return damaged(in, "something that is no gzip follows");
    if (inflateReset(&in->z) != Z_OK) return damaged(in, "zlib failed");
    in->in_member = true;
    return OK;
}

/* Unpacks until there is some text, or all is read. */
static enum err unpack(struct batch_in *in)
{
    in->z.next_out = (Bytef *)in->unpacked;
    in->z.avail_out = PIECE_BYTES;
    while (in->z.avail_out == PIECE_BYTES) {
        enum err err = refill_raw(in);
        if (err) return err;
        if (in->n_raw == 0 && in->in_member) return damaged(in, "it ends too early");
        if (in->n_raw == 0) break;
        if (!in->in_member) err = begin_member(in);
        if (err) return err;
        if (!in->in_member) continue;
        in->z.next_in = in->raw + in->raw_at;
        in->z.avail_in = (uInt)in->n_raw;
        const int rc = inflate(&in->z, Z_NO_FLUSH);
        in->raw_at += in->n_raw - in->z.avail_in;
        in->n_raw = in->z.avail_in;
        if (rc == Z_MEM_ERROR) return err_set(ERR_MEMORY, "%s: no memory to unpack it", in->name);
        if (rc != Z_OK && rc != Z_STREAM_END)
            return damaged(in, in->z.msg ? in->z.msg : "zlib cannot read it");
        in->in_member = rc != Z_STREAM_END;
    }
    in->text = in->unpacked;
    in->n_text = PIECE_BYTES - in->z.avail_out;
    return OK;
}

/* The next piece of text; none at the end. */
static enum err more(struct batch_in *in)
{
    assert(in->n_text == 0);
    if (in->is_gzip) return unpack(in);
    const enum err err = refill_raw(in);
    if (err) return err;
    in->text = (const char *)in->raw + in->raw_at;
    in->n_text = in->n_raw;
    in->n_raw = 0;
    return OK;
}

/* ---- open and close -------------------------------------------------------------------------- */

/* Looks at the first bytes: gzip, or text, perhaps with a byte order mark. */
static enum err look(struct batch_in *in)
{
    static const uint8_t mark[] = {0xef, 0xbb, 0xbf};
    in->waits = true;
    while (in->n_raw < sizeof mark && !in->raw_end) {
        const enum err err = read_raw(in);
        if (err) return err;
    }
    in->is_gzip =
        in->n_raw >= sizeof gzip_magic && memcmp(in->raw, gzip_magic, sizeof gzip_magic) == 0;
    if (!in->is_gzip && ends(in->path, strlen(in->path), ".gz"))
        return damaged(in, "it does not begin like one");
    if (in->is_gzip) {
        in->unpacked = mem_alloc(MEM_MISC, PIECE_BYTES);
        if (!in->unpacked) return ERR_MEMORY;
        in->z_open = inflateInit2(&in->z, GZIP_WINDOW) == Z_OK;
        if (!in->z_open) return err_set(ERR_MEMORY, "%s: no memory to unpack it", in->name);
    }
    const enum err err = more(in);
    if (err) return err;
    if (in->n_text >= sizeof mark && memcmp(in->text, mark, sizeof mark) == 0) {
        in->text += sizeof mark;
        in->n_text -= sizeof mark;
    }
    return OK;
}

enum err batch_in_open(struct batch_in **in, const char *path)
{
    assert(in);
    assert(path);
    const bool is_stdin = strcmp(path, "-") == 0;
    struct batch_in *const b = mem_alloc(MEM_MISC, sizeof *b);
    *in = b;
    if (!b) return ERR_MEMORY;
    b->path = path;
    b->name = is_stdin ? "standard input" : path;
    b->fd = -1;
    enum err err = ERR_MEMORY;
    b->raw = mem_alloc(MEM_MISC, PIECE_BYTES);
    if (b->raw) err = is_stdin ? OK : os_open_read(path, &b->fd);
    if (err == OK && is_stdin) b->fd = STDIN_FILENO;
    if (err == OK) err = look(b);
    if (err == OK) return OK;
    batch_in_close(b);
    *in = NULL;
    return err;
}

void batch_in_close(struct batch_in *in)
{
    if (!in) return;
    if (in->fd > STDIN_FILENO) close(in->fd);
    if (in->z_open) inflateEnd(&in->z);
    mem_free(in->raw);
    mem_free(in->unpacked);
    mem_free(in->line);
    mem_free(in);
}

/* ---- lines ----------------------------------------------------------------------------------- */

/* The first n bytes of the text are used up; they go to the end of the line as far as they fit. */
static enum err take(struct batch_in *in, size_t n)
{
    struct batch_line *const l = &in->part;
    const size_t fit = n < BATCH_LINE_BYTES_MAX - l->n ? n : BATCH_LINE_BYTES_MAX - l->n;
    if (l->n + fit > in->line_room) {
        const size_t room = l->n + fit > PIECE_BYTES ? 2 * (l->n + fit) : PIECE_BYTES;
        char *const larger = mem_realloc(MEM_MISC, in->line, room);
        if (!larger) return ERR_MEMORY;
        in->line = larger;
        in->line_room = room;
    }
    if (fit > 0) memcpy(in->line + l->n, in->text, fit);
    l->n += fit;
    l->is_long = l->is_long || fit < n;
    in->text += n;
    in->n_text -= n;
    return OK;
}

static enum err next_line(struct batch_in *in, bool waits, struct batch_line *line)
{
    assert(line);
    in->waits = waits;
    for (bool whole = false; !whole;) {
        enum err err = in->n_text == 0 ? more(in) : OK;
        if (err) return err;
        if (in->n_text == 0) break;
        in->begun = true;
        const char *const newline = memchr(in->text, '\n', in->n_text);
        whole = newline != NULL;
        err = take(in, newline ? (size_t)(newline - in->text) : in->n_text);
        if (err) return err;
        if (whole) {
            in->text++;
            in->n_text--;
        }
    }
    if (!in->begun) return ERR_END;
    *line = in->part;
    in->part = (struct batch_line){0};
    in->begun = false;
    if (line->n > 0 && in->line[line->n - 1] == '\r' && !line->is_long) line->n--;
    line->s = line->n > 0 ? in->line : "";
    line->number = ++in->n_line;
    return OK;
}

enum err batch_in_line(struct batch_in *in, struct batch_line *line)
{
    assert(in);
    return next_line(in, true, line);
}

enum err batch_in_line_now(struct batch_in *in, struct batch_line *line)
{
    assert(in);
    return next_line(in, false, line);
}

static const char blank[] = " \t\r\n";

/* The first of n bytes that is no blank; n: there is none. */
static size_t skip_blanks(const char *s, size_t n)
{
    size_t i = 0;
    while (i < n && memchr(blank, s[i], sizeof blank - 1)) i++;
    return i;
}

bool batch_line_blank(const struct batch_line *line)
{
    assert(line);
    return skip_blanks(line->s, line->n) == line->n;
}

enum err batch_in_is_json(struct batch_in *in, bool *is_json)
{
    assert(in);
    assert(is_json);
    assert(in->n_line == 0);
    if (in->n_text > 0 && memchr(in->text, '\0', in->n_text))
        return err_set(ERR_INPUT,
                       "%s: holds NUL bytes, expected lines of text; a model is named with -m",
                       in->name);
    if (in->fd != STDIN_FILENO) {
        const size_t n = strlen(in->path);
        *is_json = ends(in->path, ends(in->path, n, ".gz") ? n - 3 : n, ".jsonl");
        return OK;
    }
    const size_t i = skip_blanks(in->text, in->n_text);
    *is_json = i < in->n_text && in->text[i] == '{';
    return OK;
}

enum err batch_in_count(const char *path, uint64_t *n)
{
    assert(path);
    assert(n);
    *n = UINT64_MAX;
    struct stat st;
    if (strcmp(path, "-") == 0 || stat(path, &st) != 0 || !S_ISREG(st.st_mode)) return OK;
    struct batch_in *in;
    enum err err = batch_in_open(&in, path);
    if (err) return err;
    struct batch_line line;
    *n = 0;
    while ((err = batch_in_line(in, &line)) == OK) *n += !batch_line_blank(&line);
    batch_in_close(in);
    return err == ERR_END ? OK : err;
}
