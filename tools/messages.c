/*
 * messages.c: is every error message of the program explained in the docs? Speaks TAP.
 *
 *     messages DOC FOLDER...      docs/TROUBLESHOOTING.md src models quant offload
 *
 * A message is the format in a call of one of the functions in `calls` in a C file of the folders:
 * string literals, macros for conversions, and macros that the same file defines as a literal; of
 * `a ? b : c` both. What the interpreter of chat templates says about a template is left out: it is
 * put behind "<template>, line <n>:", which is a message.
 * An entry of DOC is a line indented by four spaces; one that ends in "..." stands for all messages
 * that begin so. Both are compared with their variable parts taken out: conversions (%s) there,
 * what stands in angle brackets (<file>) here. What is missing is printed as a line to paste, with
 * placeholders to be given better names.
 *
 * Refuses: a format that is no literal (its text could not be found in the docs).
 */
#include <ctype.h>
#include <dirent.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define MESSAGES_MAX 4096
#define TEXT_MAX 1024 /* ERR_MSG_BYTES_MAX: a longer one would be cut */
#define PATH_MAX_BYTES 1024
#define VARIABLE '\1' /* what a part that varies becomes */
#define REST "..."    /* ends an entry that names the beginning alone */

struct message {
    char text[TEXT_MAX];  /* as to be written in the docs */
    char plain[TEXT_MAX]; /* without what varies */
};

/* Who takes a message, and as which argument, counted from 0. */
static const struct {
    const char *name;
    unsigned i_format;
} calls[] = {
    {"err_set(", 1},
    {"err_wrap(", 1},
    {"stdio_refuse(", 3},
    {"refuse_item(", 2},
};

static struct message *in_code, *in_doc;
static size_t n_in_code, n_in_doc;
static size_t n_bad; /* formats that are no literals */

static void fail(const char *what, const char *path)
{
    printf("Bail out! %s %s\n", what, path);
    exit(1);
}

/* ---- text without what varies ---------------------------------------------------------------- */

static void put(char *buf, size_t *n, char c)
{
    if (*n + 1 < TEXT_MAX) buf[(*n)++] = c;
    buf[*n] = '\0';
}

static void put_text(char *buf, size_t *n, const char *s)
{
    for (; *s; s++) put(buf, n, *s);
}

/* Behind the conversion at p, which points to its '%'; its last letter in *letter. */
static const char *conversion(const char *p, char *letter)
{
    p++;
    p += strspn(p, "-+ #0123456789.*hlLjzt");
    *letter = *p;
    return *p ? p + 1 : p;
}

/* "%s: %zu bytes" -> "<file>: <n> bytes" */
static void readable(const char *format, char out[TEXT_MAX])
{
    size_t n = 0;
    out[0] = '\0';
    for (const char *p = format; *p;) {
        char letter;
        if (*p != '%') {
            put(out, &n, *p++);
            continue;
        }
        const bool is_first = p == format;
        p = conversion(p, &letter);
        if (letter == '%')
            put(out, &n, '%');
        else if (letter == 's')
            put_text(out, &n, is_first && *p == ':' ? "<file>" : "<text>");
        else
            put_text(out, &n, "<n>");
    }
}

/* "<file>: <n> bytes" with each part in angle brackets, or several in a row, as one VARIABLE. */
static void plain(const char *s, char out[TEXT_MAX])
{
    size_t n = 0;
    out[0] = '\0';
    while (*s) {
        const char *const end = *s == '<' ? strchr(s, '>') : NULL;
        if (!end)
            put(out, &n, *s++);
        else if (n == 0 || out[n - 1] != VARIABLE)
            put(out, &n, VARIABLE);
        if (end) s = end + 1;
    }
}

static bool has_letters(const char *s)
{
    while (*s && !isalpha((unsigned char)*s)) s++;
    return *s != '\0';
}

static bool ends(const char *s, const char *suffix)
{
    const size_t n = strlen(s), m = strlen(suffix);
    return n >= m && strcmp(s + n - m, suffix) == 0;
}

/* Whether one of them is an entry is seen by its end. */
static bool same(const char *a, const char *b)
{
    if (ends(a, REST)) return strncmp(a, b, strlen(a) - strlen(REST)) == 0;
    if (ends(b, REST)) return strncmp(a, b, strlen(b) - strlen(REST)) == 0;
    return strcmp(a, b) == 0;
}

static bool is_in(const struct message *list, size_t n, const char *text)
{
    for (size_t i = 0; i < n; i++)
        if (same(list[i].plain, text)) return true;
    return false;
}

/* Once: many places may say the same. */
static void add(struct message *list, size_t *n, const char *text, const char *where)
{
    if (*n == MESSAGES_MAX) fail("too many messages in", where);
    struct message *const m = &list[*n];
    snprintf(m->text, sizeof m->text, "%s", text);
    plain(m->text, m->plain);
    size_t i = 0;
    while (strcmp(list[i].plain, m->plain) != 0) i++;
    if (i == *n && has_letters(m->plain)) ++*n;
}

/* ---- C --------------------------------------------------------------------------------------- */

static bool is_word(char c)
{
    return isalnum((unsigned char)c) || c == '_';
}

/* Behind the comment, string or character at p; p itself where none begins. */
static const char *skip_quoted(const char *p)
{
    if (p[0] == '/' && p[1] == '*') {
        const char *const end = strstr(p, "*/");
        return end ? end + 2 : p + strlen(p);
    }
    if (p[0] == '/' && p[1] == '/') return p + strcspn(p, "\n");
    if (*p != '"' && *p != '\'') return p;
    const char quote = *p++;
    while (*p && *p != quote) p += *p == '\\' && p[1] ? 2 : 1;
    return *p ? p + 1 : p;
}

/* Behind the string literal at p; its characters are added. */
static const char *take_string(const char *p, char buf[TEXT_MAX], size_t *n)
{
    for (p++; *p && *p != '"'; p++) {
        if (*p == '\\') p++;
        put(buf, n, *p);
    }
    return *p ? p + 1 : p;
}

/* The literal that `#define name` stands for in this file. */
static bool take_macro(const char *file, const char *name, size_t n_name, char buf[TEXT_MAX],
                       size_t *n)
{
    for (const char *p = strstr(file, "#define "); p; p = strstr(p + 1, "#define ")) {
        const char *s = p + strlen("#define ");
        if (strncmp(s, name, n_name) != 0 || is_word(s[n_name])) continue;
        s += n_name + strspn(s + n_name, " \\\n");
        if (*s != '"') return false;
        take_string(s, buf, n);
        return true;
    }
    return false;
}

/* Behind the first argument at p, and behind its comma. */
static const char *skip_argument(const char *p)
{
    for (int depth = 0; *p; p++) {
        const char *const q = skip_quoted(p);
        if (q != p) {
            p = q - 1;
            continue;
        }
        if (*p == '(') depth++;
        if (*p == ')') depth--;
        if (*p == ',' && depth == 0) return p + 1;
    }
    return p;
}

static void end_format(const char *format, const char *where)
{
    char text[TEXT_MAX];
    readable(format, text);
    add(in_code, &n_in_code, text, where);
}

/* The format argument at p: literals and macros up to the comma or the closing parenthesis. */
static void take_format(const char *file, const char *p, const char *where)
{
    char format[TEXT_MAX] = "";
    size_t n = 0;
    bool good = true;
    while (*p && *p != ',' && *p != ')' && good) {
        if (*p == '"') {
            p = take_string(p, format, &n);
        } else if (is_word(*p)) {
            size_t n_word = 0;
            while (is_word(p[n_word])) n_word++;
            if (strncmp(p, "PRI", 3) == 0 || strncmp(p, "JSON_INTEGER_FORMAT", n_word) == 0)
                put(format, &n, 'd');
            else
                good = take_macro(file, p, n_word, format, &n);
            p += n_word;
        } else {
            if (*p == ':') end_format(format, where);
            if (*p == ':' || *p == '?') n = 0;
            p++;
        }
        /* What stood before a '?' is a condition, not text. */
        const char *const next = p + strspn(p, " \n");
        if (!good && (*next == '?' || strchr("(-.>&|!=<[]", *next))) {
            p += strcspn(p, "?,");
            good = *p == '?';
        }
    }
    if (good && n > 0) {
        end_format(format, where);
    } else {
        printf("# %s: the format is no literal\n", where);
        n_bad++;
    }
}

/* `enum err refuse_item(...`: a type stands before a declaration. */
static bool is_declared(const char *file, const char *at)
{
    while (at > file && at[-1] == ' ') at--;
    const char *word = at;
    while (word > file && is_word(word[-1])) word--;
    const size_t n = (size_t)(at - word);
    return n > 0 && !(n == 6 && strncmp(word, "return", n) == 0);
}

static void scan_call(const char *file, const char *p, const char *path, size_t line)
{
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        const size_t n = strlen(calls[i].name);
        if (strncmp(p, calls[i].name, n) != 0 || (p > file && is_word(p[-1]))) continue;
        if (is_declared(file, p)) continue;
        char where[PATH_MAX_BYTES];
        snprintf(where, sizeof where, "%.900s:%zu", path, line);
        const char *arg = p + n;
        for (unsigned k = 0; k < calls[i].i_format; k++) arg = skip_argument(arg);
        take_format(file, arg + strspn(arg, " \n"), where);
    }
}

static void scan_file(const char *file, const char *path)
{
    size_t line = 1;
    for (const char *p = file; *p; p++) {
        const char *const q = skip_quoted(p);
        for (; p < q; p++) line += *p == '\n';
        if (!*p) return;
        line += *p == '\n';
        scan_call(file, p, path, line);
    }
}

/* ---- files ----------------------------------------------------------------------------------- */

static char *read_file(const char *path)
{
    struct stat st;
    FILE *const f = fopen(path, "rb");
    if (!f || fstat(fileno(f), &st) != 0) fail("cannot read", path);
    char *const text = calloc((size_t)st.st_size + 1, 1);
    if (!text || fread(text, 1, (size_t)st.st_size, f) != (size_t)st.st_size)
        fail("cannot read", path);
    fclose(f);
    return text;
}

/* Every C file but err.c itself, whose formats are its caller's. */
static void scan_folder(const char *folder)
{
    DIR *const dir = opendir(folder);
    if (!dir) return; /* a room that is not there yet */
    for (const struct dirent *e; (e = readdir(dir)) != NULL;) {
        char path[PATH_MAX_BYTES];
        struct stat st;
        if (e->d_name[0] == '.') continue;
        snprintf(path, sizeof path, "%.700s/%.255s", folder, e->d_name);
        if (stat(path, &st) != 0) continue;
        if (S_ISDIR(st.st_mode)) scan_folder(path);
        if (!S_ISREG(st.st_mode) || !ends(path, ".c") || ends(path, "base/err.c")) continue;
        char *const text = read_file(path);
        scan_file(text, path);
        free(text);
    }
    closedir(dir);
}

static void scan_doc(const char *path)
{
    char *const text = read_file(path);
    for (char *p = text; *p;) {
        char *const end = p + strcspn(p, "\n");
        const bool is_last = *end == '\0';
        *end = '\0';
        if (strncmp(p, "    ", 4) == 0) add(in_doc, &n_in_doc, p + 4, path);
        p = is_last ? end : end + 1;
    }
    free(text);
}

static bool compare(const struct message *list, size_t n, const struct message *other,
                    size_t n_other, const char *finding)
{
    size_t n_missing = 0;
    for (size_t i = 0; i < n; i++) {
        if (is_in(other, n_other, list[i].plain)) continue;
        if (n_missing++ == 0) printf("# %s\n", finding);
        printf("#     %s\n", list[i].text);
    }
    return n_missing == 0;
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        fprintf(stderr, "usage: %s DOC FOLDER...\n", argv[0]);
        return 2;
    }
    in_code = calloc(MESSAGES_MAX, sizeof *in_code);
    in_doc = calloc(MESSAGES_MAX, sizeof *in_doc);
    if (!in_code || !in_doc) fail("no memory for", argv[1]);
    scan_doc(argv[1]);
    for (int i = 2; i < argc; i++) scan_folder(argv[i]);
    const bool results[] = {
        n_bad == 0,
        compare(in_code, n_in_code, in_doc, n_in_doc, "not in the docs; to paste and to explain:"),
        compare(in_doc, n_in_doc, in_code, n_in_code, "in the docs, but in no code:"),
    };
    printf("%s 1 - formats are literals\n", results[0] ? "ok" : "not ok");
    printf("%s 2 - %s explains all of %zu messages\n", results[1] ? "ok" : "not ok", argv[1],
           n_in_code);
    printf("%s 3 - %s has no others\n1..3\n", results[2] ? "ok" : "not ok", argv[1]);
    free(in_code);
    free(in_doc);
    return results[0] && results[1] && results[2] && n_in_code > 0 ? 0 : 1;
}
