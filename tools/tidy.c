/*
 * tidy.c: the style that a compiler does not check, as a test. Speaks TAP, one line per rule.
 *
 *     tidy [ROOT]        ROOT is the top of the tree, . by default
 *
 * Walks the rooms, reads every source file once, and blanks comments and strings in a copy
 * (`code`), so that a rule about code does not see a sentence. Each rule is a row of `rules`: a
 * name and a function that is asked for every file and reports its findings. The include law
 * (ARCHITECTURE.md, section 3) is the table `rooms`. A function is what stands between a `{` and a
 * `}` in the first column.
 *
 * Refuses: a file in a room that the table does not know; files beyond TEXT_BYTES_MAX are not text.
 */
#include <assert.h>
#include <ctype.h>
#include <dirent.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define COLUMNS_MAX 100
#define FUNCTION_LINES_MAX 70
#define FILE_LINES_MAX 1000
#define BLOB_BYTES_MAX (12u << 20) /* what a repository should not have to carry */
#define TEXT_BYTES_MAX (1u << 20)  /* a source file of 1 MB is a mistake, or data */
#define FILES_MAX 4096
#define PATH_BYTES 1024
#define ROOM_INCLUDES_MAX 24

/* ---- the include law ----------------------------------------------------------------------- */

/* A path belongs to the first room whose prefix it has. A file may include its own room and what
 * begins with one of `may`. System headers are free. */
struct room {
    const char *prefix;
    const char *may[ROOM_INCLUDES_MAX];
};

#define BASE "src/base/"
#define QUANT "quant/block.h", "quant/plane.h"
#define BELOW_GRAPH BASE, "src/tensor/", QUANT, "src/kern/", "src/gguf/"
#define ISA "src/base/limits.h", "src/kern/kern.h", "src/kern/kern_impl.h", "src/kern/simd/", QUANT
#define FRONT BASE, "src/engine.h", "src/gen.h", "src/crew.h", "src/cli.h", "src/version.h"
#define ENGINE                                                                                     \
    BELOW_GRAPH, "src/graph/", "src/backend/", "src/text/", "models/", "quant/", "offload/",       \
        "net/", "src/engine", "src/session", "src/stage.h", "src/gen.h", "src/crew.h",             \
        "src/describe", "src/version.h"

static const struct room rooms[] = {
    {"src/base/", {NULL}},
    {"src/tensor/", {BASE, QUANT}},
    {"src/kern/x86/hook", {"src/kern/"}}, /* built for the baseline: it chooses, kernels compute */
    {"src/kern/arm/hook", {"src/kern/"}},
    {"src/kern/simd/", {ISA}},
    {"src/kern/x86/", {ISA}},
    {"src/kern/arm/", {ISA}},
    {"src/kern/", {BASE, "src/tensor/", QUANT}},
    {"src/gguf/", {BASE, "src/tensor/"}},
    {"quant/block.h", {BASE}},
    {"quant/plane.h", {BASE}},
    {"quant/", {BASE, "src/tensor/", "src/gguf/"}},
    {"src/jinja/", {BASE, "src/text/origin.h", "src/text/utf8.h"}},
    {"src/text/", {BASE, "src/gguf/", "src/jinja/jinja.h"}},
    {"src/graph/exec.", {BELOW_GRAPH, "src/graph/", "src/backend/backend.h"}},
    {"src/graph/", {BELOW_GRAPH}},
    {"src/backend/", {BELOW_GRAPH, "src/graph/"}},
    {"offload/", {BELOW_GRAPH, "src/graph/"}},
    {"net/", {BELOW_GRAPH, "src/graph/"}},
    {"models/model.c", {BASE, "models/", "src/graph/graph.h", "src/gguf/", "src/kern/kern.h"}},
    {"models/", {BASE, "src/graph/graph.h"}},
    {"src/engine", {ENGINE}},
    {"src/session", {ENGINE}},
    {"src/stage.", {ENGINE}},
    {"src/gen.", {BASE, "src/engine.h", "src/text/"}},
    {"src/crew.", {BASE, "src/engine.h", "src/gen.h"}},
    {"src/describe", {ENGINE}},
    {"src/version.", {"src/kern/cpu.h", BASE}},
    {"src/cli", {BASE, "src/version.h"}},
    {"src/cmd/",
     {FRONT, "src/text/chat.h", "src/text/origin.h", "src/text/sample.h", "src/text/stop.h",
      "src/text/utf8.h"}},
    {"src/main.c", {FRONT, "src/cmd/"}},
    {"tests/", {"src/", "models/", "quant/", "offload/", "net/"}},
    {"tools/", {NULL}},
};

static const char top_level[] = /* it is closed; `build` and `moxie` are made */
    " .ci .clang-format .git .gitignore ARCHITECTURE.md CHANGELOG.md CONTRIBUTING.md LICENSE"
    " Makefile README.md build docs models moxie net offload quant shaders src tests tools ";

/* ---- files and findings -------------------------------------------------------------------- */

struct file {
    char path[PATH_BYTES]; /* from the root */
    const struct room *room;
    size_t n_bytes;
    char *text; /* the file, NUL-terminated; NULL unless it is C */
    char *code; /* the same with comments, strings and characters blanked */
};

static const char *root = ".";
static struct file files[FILES_MAX];
static size_t n_file;
static size_t n_finding; /* of the rule that runs */

static void find(const struct file *f, size_t line, const char *fmt, ...)
{
    va_list ap;
    printf("# %s:%zu: ", f->path, line);
    va_start(ap, fmt);
    vprintf(fmt, ap);
    va_end(ap);
    putchar('\n');
    n_finding++;
}

static bool starts(const char *s, const char *prefix)
{
    return strncmp(s, prefix, strlen(prefix)) == 0;
}

static bool ends(const char *s, const char *suffix)
{
    const size_t n = strlen(s), m = strlen(suffix);
    return n >= m && strcmp(s + n - m, suffix) == 0;
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static size_t line_of(const char *text, const char *at)
{
    size_t n = 1;
    for (; text < at; text++) n += *text == '\n';
    return n;
}

/* Blanks from *p to the closing quote or end of comment; returns what follows it. */
static char *blank(char *p, const char *end_mark, bool escapes)
{
    const size_t n = strlen(end_mark);
    while (*p && strncmp(p, end_mark, n) != 0) {
        if (escapes && *p == '\\' && p[1]) *p++ = ' ';
        if (*p != '\n') *p = ' ';
        p++;
    }
    for (size_t i = 0; i < n && *p && *p != '\n'; i++) *p++ = ' ';
    return p;
}

static void blank_comments(char *code)
{
    for (char *p = code; *p;) {
        if (starts(p, "/*")) {
            p = blank(p, "*/", false);
        } else if (starts(p, "//")) {
            p = blank(p, "\n", false);
        } else if (*p == '"' || (*p == '\'' && (p == code || !isalnum((unsigned char)p[-1])))) {
            const char quote[2] = {*p, '\0'};
            *p = ' ';
            p = blank(p + 1, quote, true);
        } else {
            p++;
        }
    }
}

static char *read_text(const char *path, size_t n_bytes)
{
    FILE *fp = fopen(path, "rb");
    char *text = fp ? calloc(n_bytes + 1, 1) : NULL;
    if (!text || fread(text, 1, n_bytes, fp) != n_bytes) {
        printf("Bail out! cannot read %s\n", path);
        exit(1);
    }
    fclose(fp);
    return text;
}

/* Calls fn for every line, without its newline. */
static void each_line(const struct file *f, const char *text,
                      void (*fn)(const struct file *f, size_t line, const char *s, size_t n))
{
    size_t line = 1;
    while (*text) {
        const size_t n = strcspn(text, "\n");
        fn(f, line++, text, n);
        text += n + (text[n] == '\n');
    }
}

static void add_file(const char *path, size_t n_bytes)
{
    if (n_file == FILES_MAX) {
        printf("Bail out! more than %d files\n", FILES_MAX);
        exit(1);
    }
    struct file *f = &files[n_file++];
    snprintf(f->path, sizeof f->path, "%s", path);
    f->n_bytes = n_bytes;
    for (size_t i = 0; !f->room && i < sizeof rooms / sizeof *rooms; i++) {
        if (starts(path, rooms[i].prefix)) f->room = &rooms[i];
    }
    if ((!ends(path, ".c") && !ends(path, ".h")) || n_bytes > TEXT_BYTES_MAX) return;
    char full[2 * PATH_BYTES];
    snprintf(full, sizeof full, "%s/%s", root, path);
    f->text = read_text(full, n_bytes);
    f->code = read_text(full, n_bytes);
    blank_comments(f->code);
}

/* Adds what is under root/dir, but what git and the build leave at the top. */
static void walk(const char *dir)
{
    char full[2 * PATH_BYTES];
    snprintf(full, sizeof full, "%s/%s", root, dir);
    DIR *d = opendir(full);
    if (!d) return;
    for (const struct dirent *e = readdir(d); e; e = readdir(d)) {
        char path[PATH_BYTES];
        struct stat st;
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
        snprintf(path, sizeof path, "%.700s%s%.255s", dir, *dir ? "/" : "", e->d_name);
        if (strcmp(path, ".git") == 0 || strcmp(path, "build") == 0 || starts(path, "moxie"))
            continue;
        snprintf(full, sizeof full, "%s/%s", root, path);
        if (lstat(full, &st) != 0) continue;
        if (S_ISDIR(st.st_mode)) walk(path);
        if (S_ISREG(st.st_mode)) add_file(path, (size_t)st.st_size);
    }
    closedir(d);
}

static int by_path(const void *a, const void *b)
{
    return strcmp(((const struct file *)a)->path, ((const struct file *)b)->path);
}

/* ---- rules: includes and names ------------------------------------------------------------- */

static bool exists(const char *path)
{
    char full[2 * PATH_BYTES];
    struct stat st;
    snprintf(full, sizeof full, "%s/%s", root, path);
    return stat(full, &st) == 0;
}

static bool may_include(const struct file *f, const char *path)
{
    if (starts(path, f->room->prefix)) return true;
    for (size_t i = 0; i < ROOM_INCLUDES_MAX && f->room->may[i]; i++) {
        if (starts(path, f->room->may[i])) return true;
    }
    return false;
}

/* Where #include "name" of f leads: from src/, from the top, and in tests from their own folder. */
static bool resolve(const struct file *f, const char *name, char path[PATH_BYTES + 8])
{
    snprintf(path, PATH_BYTES + 8, "src/%s", name);
    if (exists(path)) return true;
    snprintf(path, PATH_BYTES + 8, "%s", name);
    if (exists(path)) return true;
    const int n_dir = (int)(base_name(f->path) - f->path);
    snprintf(path, PATH_BYTES + 8, "%.*s%s", n_dir, f->path, name);
    return starts(f->path, "tests/") && exists(path);
}

static void check_include(const struct file *f, size_t line, const char *name)
{
    char path[PATH_BYTES + 8];
    if (!resolve(f, name, path)) {
        find(f, line, "\"%s\" is not found from the top or from src/", name);
    } else if (!may_include(f, path)) {
        find(f, line, "may not include \"%s\"", name);
    }
}

static void include_of_line(const struct file *f, size_t line, const char *s, size_t n)
{
    char name[PATH_BYTES];
    if (n < sizeof name && s[0] == '#' && sscanf(s, "# include \"%1000[^\"\n]\"", name) == 1) {
        check_include(f, line, name);
    }
}

static void rule_includes(const struct file *f)
{
    if (f->room) each_line(f, f->text, include_of_line);
}

static void rule_own_header_first(const struct file *f)
{
    char own[PATH_BYTES], first[PATH_BYTES];
    if (!ends(f->path, ".c")) return;
    snprintf(own, sizeof own, "%.*sh", (int)strlen(f->path) - 1, f->path);
    const char *include = strstr(f->code, "#include");
    if (!exists(own) || !include) return;
    include = f->text + (include - f->code); /* where the name is not blanked */
    const bool quoted = sscanf(include, "#include \"%1000[^\"\n]\"", first) == 1;
    if (!quoted || strcmp(base_name(first), base_name(own)) != 0) {
        find(f, line_of(f->text, include), "the first include is not its own header");
    }
}

static void rule_guards(const struct file *f)
{
    char name[256], again[256];
    if (!ends(f->path, ".h")) return;
    const char *guard = strstr(f->code, "#ifndef");
    if (!guard || sscanf(guard, "#ifndef %255s #define %255s", name, again) != 2 ||
        strcmp(name, again) != 0) {
        find(f, 1, "no include guard");
        return;
    }
    for (const char *p = f->code; p < guard; p++) {
        if (!isspace((unsigned char)*p)) {
            find(f, line_of(f->code, p), "stands before the include guard");
            return;
        }
    }
}

static void rule_rooms(const struct file *f)
{
    if (f->text && !f->room) find(f, 1, "is in no room that tools/tidy.c knows");
}

static void rule_unique_names(const struct file *f)
{
    if (!f->text) return;
    for (const struct file *g = f + 1; g < files + n_file; g++) {
        if (g->text && strcmp(base_name(f->path), base_name(g->path)) == 0)
            find(f, 1, "same name as %s", g->path);
    }
}

static void rule_blobs(const struct file *f)
{
    if (f->n_bytes > BLOB_BYTES_MAX) find(f, 1, "has %zu bytes", f->n_bytes);
}

/* ---- rules: shape -------------------------------------------------------------------------- */

static void columns_of_line(const struct file *f, size_t line, const char *s, size_t n)
{
    size_t columns = 0;
    for (size_t i = 0; i < n; i++) columns += ((unsigned char)s[i] & 0xC0) != 0x80; /* UTF-8 */
    if (columns > COLUMNS_MAX) find(f, line, "%zu columns", columns);
}

static void rule_columns(const struct file *f)
{
    each_line(f, f->text, columns_of_line);
}

static void blanks_of_line(const struct file *f, size_t line, const char *s, size_t n)
{
    if (memchr(s, '\t', n)) find(f, line, "tab");
    if (memchr(s, '\r', n)) find(f, line, "carriage return");
    if (n > 0 && s[n - 1] == ' ') find(f, line, "trailing blank");
}

static void rule_blanks(const struct file *f)
{
    each_line(f, f->text, blanks_of_line);
    if (f->n_bytes > 0 && f->text[f->n_bytes - 1] != '\n') find(f, 1, "no newline at the end");
}

static void rule_file_lines(const struct file *f)
{
    const size_t n = line_of(f->text, f->text + f->n_bytes) - 1;
    if (n > FILE_LINES_MAX) find(f, n, "%zu lines", n);
}

/* Calls fn with the body of every function, from `{` to behind `}`. */
static size_t each_function(const struct file *f,
                            void (*fn)(const struct file *f, const char *body, const char *end))
{
    size_t n = 0;
    const char *body = strstr(f->code, "\n{");
    while (body) {
        const char *end = strstr(body, "\n}");
        if (!end) break;
        if (fn) fn(f, body + 1, end + 2);
        n++;
        body = strstr(end, "\n{");
    }
    return n;
}

static void lines_of_function(const struct file *f, const char *body, const char *end)
{
    const size_t n = line_of(body, end);
    if (n > FUNCTION_LINES_MAX) find(f, line_of(f->code, body), "a function of %zu lines", n);
}

static void rule_function_lines(const struct file *f)
{
    each_function(f, lines_of_function);
}

/* ---- rules: words -------------------------------------------------------------------------- */

static bool is_word(char c)
{
    return isalnum((unsigned char)c) || c == '_';
}

/* The next place in *code where word stands as a word, or NULL. */
static const char *next_word(const char *code, const char *start, const char *word)
{
    const size_t n = strlen(word);
    for (const char *p = strstr(start, word); p; p = strstr(p + 1, word)) {
        if ((p == code || !is_word(p[-1])) && !is_word(p[n])) return p;
    }
    return NULL;
}

/* Reports every call of one of the names: the word, a parenthesis behind, no `.` or `>` before. */
static void find_calls(const struct file *f, const char *const *names, const char *why)
{
    for (; *names; names++) {
        const size_t n = strlen(*names);
        for (const char *p = next_word(f->code, f->code, *names); p;
             p = next_word(f->code, p + 1, *names)) {
            const bool member = p > f->code && (p[-1] == '.' || p[-1] == '>');
            if (p[n + strspn(p + n, " ")] == '(' && !member) {
                find(f, line_of(f->code, p), "%s(): %s", *names, why);
            }
        }
    }
}

static void rule_banned_calls(const struct file *f)
{
    static const char *const names[] = {"strcpy", "strcat", "sprintf", "vsprintf", "strtok", "atoi",
                                        "atol",   "atoll",  "atof",    "alloca",   "gets",   NULL};
    find_calls(f, names, "banned, it has no bound or no error");
}

static bool is_tool(const struct file *f)
{
    return starts(f->path, "tests/") || starts(f->path, "tools/");
}

static void rule_allocation(const struct file *f)
{
    static const char *const names[] = {
        "malloc",         "calloc", "realloc", "free",     "aligned_alloc",
        "posix_memalign", "strdup", "strndup", "asprintf", NULL};
    if (is_tool(f) || strcmp(f->path, "src/base/mem.c") == 0) return;
    find_calls(f, names, "memory comes from base/mem.h");
}

static void rule_silent_libraries(const struct file *f)
{
    static const char *const names[] = {"printf", "vprintf", "puts",  "putchar", "perror",
                                        "exit",   "_exit",   "abort", NULL};
    const bool speaks = is_tool(f) || strcmp(f->path, "src/main.c") == 0 ||
                        starts(f->path, "src/cmd/") || starts(f->path, "src/cli") ||
                        starts(f->path, "src/base/ui.");
    if (speaks) return;
    find_calls(f, names, "libraries return an error, they do not print or exit");
    for (const char *p = f->code; (p = next_word(f->code, p, "stderr")); p++) {
        find(f, line_of(f->code, p), "stderr: libraries do not print");
    }
}

static void rule_typedefs(const struct file *f)
{
    static const char *const kinds[] = {"struct", "union", "enum"};
    for (const char *p = f->code; (p = next_word(f->code, p, "typedef")); p++) {
        const char *kind = p + strlen("typedef");
        kind += strspn(kind, " \n");
        for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
            /* a typedef of a function type that returns a struct or enum is one */
            const bool function = memchr(kind, '(', strcspn(kind, ";{")) != NULL;
            if (starts(kind, kinds[i]) && !function)
                find(f, line_of(f->code, p), "typedef %s", kinds[i]);
        }
    }
}

static void rule_no_reminders(const struct file *f)
{
    static const char *const words[] = {"TO"
                                        "DO",
                                        "FIX"
                                        "ME",
                                        "XX"
                                        "X",
                                        NULL};
    for (const char *const *w = words; *w; w++) {
        for (const char *p = f->text; (p = next_word(f->text, p, *w)); p++) {
            find(f, line_of(f->text, p), "%s", *w);
        }
    }
}

/* ---- the whole tree ------------------------------------------------------------------------ */

static void check_top_level(void)
{
    DIR *d = opendir(root);
    assert(d);
    for (const struct dirent *e = readdir(d); e; e = readdir(d)) {
        char word[PATH_BYTES];
        snprintf(word, sizeof word, " %s ", e->d_name);
        if (strspn(e->d_name, ".") == strlen(e->d_name) || strstr(top_level, word)) continue;
        printf("# %s: the top level is closed\n", e->d_name);
        n_finding++;
    }
    closedir(d);
}

/* How many assertions stand in each room, per function: a figure to look at, not a rule. */
static void print_assert_density(void)
{
    for (size_t i = 0; i < sizeof rooms / sizeof *rooms; i++) {
        size_t n_assert = 0, n_function = 0;
        for (const struct file *f = files; f < files + n_file; f++) {
            if (!f->text || f->room != &rooms[i] || is_tool(f)) continue;
            n_function += each_function(f, NULL);
            for (const char *p = f->code; (p = next_word(f->code, p, "assert")); p++) n_assert++;
            for (const char *p = f->code; (p = next_word(f->code, p, "static_assert")); p++)
                n_assert++;
        }
        if (n_function == 0) continue;
        printf("# %-14s %4zu functions, %.2f asserts each\n", rooms[i].prefix, n_function,
               (double)n_assert / (double)n_function);
    }
}

static const struct rule {
    const char *name;
    void (*check)(const struct file *f);
    bool any_file; /* also files that are not C */
} rules[] = {
    {"include law", rule_includes, false},
    {"own header first", rule_own_header_first, false},
    {"header guards", rule_guards, false},
    {"known rooms", rule_rooms, false},
    {"unique file names", rule_unique_names, false},
    {"no blobs", rule_blobs, true},
    {"100 columns", rule_columns, false},
    {"no tabs, no trailing blanks", rule_blanks, false},
    {"file length", rule_file_lines, false},
    {"function length", rule_function_lines, false},
    {"banned calls", rule_banned_calls, false},
    {"allocation through mem.h", rule_allocation, false},
    {"libraries do not print or exit", rule_silent_libraries, false},
    {"no typedef for structs", rule_typedefs, false},
    {"no reminders", rule_no_reminders, false},
};

static bool report(size_t number, const char *name)
{
    const bool ok = n_finding == 0;
    printf("%s %zu - %s\n", ok ? "ok" : "not ok", number, name);
    n_finding = 0;
    return ok;
}

int main(int argc, char **argv)
{
    const size_t n_rule = sizeof rules / sizeof *rules;
    bool ok = true;
    if (argc > 1) root = argv[1];
    walk("");
    qsort(files, n_file, sizeof *files, by_path);
    if (n_file == 0) {
        printf("Bail out! no files under %s\n", root);
        return 1;
    }
    for (size_t i = 0; i < n_rule; i++) {
        for (const struct file *f = files; f < files + n_file; f++) {
            if (rules[i].any_file || f->text) rules[i].check(f);
        }
        ok = report(i + 1, rules[i].name) && ok;
    }
    check_top_level();
    ok = report(n_rule + 1, "closed top level") && ok;
    print_assert_density();
    printf("1..%zu\n", n_rule + 1);
    return !ok;
}
