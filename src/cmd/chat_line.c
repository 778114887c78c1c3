/*
 * chat_line.c: line editing with libedit, made to understand pastes, resizes and Ctrl-C.
 *
 * libedit reads the terminal through get_char(), which waits for a byte or a signal. Ctrl-C ends
 * the line. A new size of the window, or coming back after Ctrl-Z, draws the line again, which
 * libedit by itself does only through handlers of its own that signal the whole process group.
 *
 * Bracketed paste: the terminal is asked (ESC [ ? 2004 h) to put ESC [ 200 ~ and ESC [ 201 ~ around
 * a paste. get_char() finds the first and gives PASTE_KEY instead, which is bound to on_paste() in
 * every mode of the editor (bound by itself, the mark would make ESC useless in vi's). That takes
 * everything up to the second mark into the line at once; newlines inside are text.
 *
 * A terminal that terminfo does not know is treated as an xterm, which nearly all imitate; where
 * there is no terminfo at all, or the terminal is `dumb`, lines are read plainly. libedit's own
 * messages go nowhere.
 */
#include "cmd/chat_line.h"

#include "base/limits.h"
#include "base/mem.h"
#include "base/os.h"
#include "cmd/chat_history.h"

#include <assert.h>
#include <errno.h>
#include <histedit.h>
#include <locale.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>
#include <utf8proc.h>
#include <wchar.h>

#define PROMPT "> "
#define PROMPT_MORE ". "
#define PASTE_ON "\033[?2004h"
#define PASTE_OFF "\033[?2004l"
#define PASTE_BEGIN "\033[200~"
#define PASTE_KEY L"\x80" /* a control character that no keyboard has */
#define KEY_WAIT_MS 100   /* between the bytes of one key; a person does not type so fast */
#define PASTE_END L"\033[201~"
#define UNKNOWN 0xfffd /* what takes the place of bytes that are no UTF-8 */

struct chat_line {
    EditLine *el;     /* NULL: lines are read as they come */
    History *entries; /* of this chat and earlier ones, for the editor */
    FILE *screen;     /* standard error with a buffer: a redrawn line is one write */
    FILE *nowhere;    /* for libedit's messages */
    bool is_terminal;
    struct termios shown; /* the terminal as it was when the chat began */
    chat_word_fn *word;   /* what Tab completes at the start of a line */
    struct chat_history history;
    struct chat_join message;
    struct bytes line;                        /* read plainly */
    wchar_t *paste;                           /* (CHAT_PASTE_CHARS_MAX) */
    unsigned char unread[sizeof PASTE_BEGIN]; /* (n_unread) what was read too far */
    size_t n_unread;
    bool interrupted; /* Ctrl-C, or a paste that is too long, ended the line ... */
    bool typed;       /* ... which was not empty */
    bool has_warning;
    char warning[ERR_MSG_BYTES_MAX];
};

/* ---- lines to messages ----------------------------------------------------------------------- */

static enum err append(struct bytes *b, const char *more, size_t n_more)
{
    if (n_more > PROMPT_BYTES_MAX - bytes_n(b))
        return err_set(ERR_INPUT, "the message is longer than %u bytes; make it shorter",
                       PROMPT_BYTES_MAX);
    return bytes_put(b, more, n_more);
}

static bool ends_with(const char *s, size_t n, const char *end)
{
    const size_t n_end = strlen(end);
    return n >= n_end && memcmp(s + n - n_end, end, n_end) == 0;
}

enum err chat_join_put(struct chat_join *j, const char *line, size_t n)
{
    static const char quote[] = "\"\"\"";
    const size_t n_quote = strlen(quote);
    assert(j);
    assert(line);
    const bool is_pasted = memchr(line, '\n', n) != NULL;
    const bool begins = !j->is_open && n >= n_quote && memcmp(line, quote, n_quote) == 0;
    const bool is_whole = begins && n >= 2 * n_quote && ends_with(line, n, quote);
    if (!j->is_open) {
        bytes_cut(&j->text, 0);
        j->is_quote = false;
    }
    if (begins && (!is_pasted || is_whole)) { /* a pasted text may well begin with quotes */
        j->is_quote = true;
        line += n_quote;
        n -= n_quote;
    }
    bool more = false;
    if (j->is_quote) {
        more = !ends_with(line, n, quote);
        if (!more) n -= n_quote;
    } else if (!is_pasted && ends_with(line, n, "\\")) {
        more = true;
        n--;
    }
    enum err err = append(&j->text, line, n);
    if (err == OK && more) err = append(&j->text, "\n", 1);
    j->is_open = err == OK && more;
    return err;
}

static void warn(struct chat_line *l)
{
    l->has_warning = true;
    snprintf(l->warning, sizeof l->warning, "%s", err_msg());
}

/* ---- bytes of the terminal ------------------------------------------------------------------- */

static struct chat_line *line_of(EditLine *el)
{
    void *l = NULL;
    el_get(el, EL_CLIENTDATA, &l);
    assert(l);
    return l;
}

/* Waits until standard input has something. false: Ctrl-C. *is_new: the terminal may be another
 * one now, or have another size. The signals are let in only while it waits, so none is missed. */
static bool wait_for_input(bool *is_new)
{
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGWINCH, SIGCONT};
    sigset_t hold, before;
    sigemptyset(&hold);
    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++) sigaddset(&hold, signals[i]);
    sigprocmask(SIG_BLOCK, &hold, &before);
    struct pollfd p = {.fd = STDIN_FILENO, .events = POLLIN};
    *is_new = false;
    if (!os_interrupted()) *is_new = ppoll(&p, 1, NULL, &before) < 0 && errno == EINTR;
    sigprocmask(SIG_SETMASK, &before, NULL);
    return !os_interrupted();
}

static char *get_prompt(EditLine *el)
{
    static char first[] = PROMPT, more[] = PROMPT_MORE; /* libedit wants them writable */
    return line_of(el)->message.is_open ? more : first;
}

/* Rows between the start of the prompt and the cursor, in a window of that many columns. */
static unsigned rows_above_cursor(const struct chat_line *l, unsigned n_column)
{
    const LineInfoW *const line = el_wline(l->el);
    unsigned row = 0, column = (unsigned)strlen(get_prompt(l->el));
    for (const wchar_t *p = line->buffer; p < line->cursor; p++) {
        const int width = *p == L'\t' ? 8 - (int)(column % 8) : wcwidth(*p);
        column += width > 0 ? (unsigned)width : 0;
        if (*p != L'\n' && column < n_column) continue;
        row++;
        column = 0;
    }
    return row;
}

static void redraw(struct chat_line *l)
{
    struct winsize size = {.ws_col = 80};
    ioctl(STDIN_FILENO, TIOCGWINSZ, &size);
    const unsigned n_row = rows_above_cursor(l, size.ws_col ? size.ws_col : 80);
    if (n_row > 0) fprintf(l->screen, "\033[%uA", n_row);
    fputs("\r\033[J" PASTE_ON, l->screen);
    el_set(l->el, EL_PREP_TERM, 0); /* whoever had the terminal meanwhile may have changed it */
    el_set(l->el, EL_PREP_TERM, 1);
    el_resize(l->el);
    el_set(l->el, EL_REFRESH);
}

/* What is typed is dropped. */
static void end_line(struct chat_line *l)
{
    const LineInfoW *const line = el_wline(l->el);
    l->interrupted = true;
    l->typed = l->has_warning || line->lastchar > line->buffer;
}

/* The next byte; -1: none will come, or Ctrl-C. */
static int get_byte(struct chat_line *l)
{
    if (l->n_unread > 0) {
        const unsigned char first = l->unread[0];
        memmove(l->unread, l->unread + 1, --l->n_unread);
        return first;
    }
    bool is_new;
    while (wait_for_input(&is_new)) {
        unsigned char c;
        if (is_new) {
            redraw(l);
            continue;
        }
        const ssize_t n = read(STDIN_FILENO, &c, 1);
        if (n == 1) return c;
        if (n == 0 || errno != EINTR) return -1;
    }
    end_line(l);
    return -1;
}

/* ESC has come: does the rest of the mark follow? What is not it, is read again. */
static bool begins_paste(struct chat_line *l)
{
    static const char rest[] = "[200~";
    static_assert(sizeof rest == sizeof PASTE_BEGIN - 1, "the mark without its ESC");
    const size_t n = sizeof rest - 1;
    while (l->n_unread < n && memcmp(l->unread, rest, l->n_unread) == 0) {
        struct pollfd p = {.fd = STDIN_FILENO, .events = POLLIN};
        if (poll(&p, 1, KEY_WAIT_MS) != 1) return false;
        if (read(STDIN_FILENO, l->unread + l->n_unread, 1) != 1) return false;
        l->n_unread++;
    }
    if (l->n_unread < n || memcmp(l->unread, rest, n) != 0) return false;
    l->n_unread -= n;
    return true;
}

/* libedit's question for the next character: 1, or 0 at the end. */
static int get_char(EditLine *el, wchar_t *out)
{
    struct chat_line *const l = line_of(el);
    const int first = get_byte(l);
    if (first < 0) return 0;
    if (first == '\033' && begins_paste(l)) {
        *out = PASTE_KEY[0];
        return 1;
    }
    utf8proc_uint8_t c[4] = {(utf8proc_uint8_t)first};
    const int n = utf8proc_utf8class[first];
    int n_have = 1;
    while (n_have < n) {
        const int next = get_byte(l);
        if (next < 0) return 0;
        if ((next & 0xc0) != 0x80) {
            memmove(l->unread + 1, l->unread, l->n_unread++);
            l->unread[0] = (unsigned char)next;
            break;
        }
        c[n_have++] = (utf8proc_uint8_t)next;
    }
    utf8proc_int32_t code;
    const bool is_char = n_have == n && utf8proc_iterate(c, n, &code) == n;
    *out = is_char && code != PASTE_KEY[0] ? (wchar_t)code : UNKNOWN;
    return 1;
}

/* ---- functions of the editor ----------------------------------------------------------------- */

/* A paste as text: newlines are newlines, other control characters but tabs are not meant. */
static void clean_paste(wchar_t *s)
{
    wchar_t *to = s;
    for (const wchar_t *from = s; *from; from++) {
        wchar_t c = *from;
        if (c == L'\r' && from[1] == L'\n') continue;
        if (c == L'\r') c = L'\n';
        if ((c < 0x20 && c != L'\n' && c != L'\t') || (c >= 0x7f && c < 0xa0)) continue;
        *to++ = c;
    }
    *to = L'\0';
}

/* The mark of a paste has come. One beyond the limit is read to its end, and ends the line as
 * Ctrl-C does. */
static unsigned char on_paste(EditLine *el, int key)
{
    (void)key;
    static const wchar_t mark[] = PASTE_END;
    const size_t n_mark = sizeof mark / sizeof mark[0] - 1;
    struct chat_line *const l = line_of(el);
    wchar_t *const s = l->paste;
    size_t n = 0;
    bool is_long = false, is_whole = false;
    for (wchar_t c; !is_whole && el_wgetc(el, &c) == 1;) {
        if (n == CHAT_PASTE_CHARS_MAX) { /* only the mark is still of interest */
            wmemmove(s, s + n - n_mark, n_mark);
            n = n_mark;
            is_long = true;
        }
        if (c != L'\0') s[n++] = c;
        is_whole = n >= n_mark && wmemcmp(s + n - n_mark, mark, n_mark) == 0;
    }
    if (!is_whole) return CC_EOF; /* so is the input, or Ctrl-C */
    s[n - n_mark] = L'\0';
    if (is_long) {
        err_set(ERR_INPUT,
                "the paste is longer than %u characters and was dropped, with the line around it; "
                "put it into a file and use /read FILE",
                CHAT_PASTE_CHARS_MAX);
        warn(l);
        end_line(l);
        return CC_EOF;
    }
    clean_paste(s);
    return el_winsertstr(el, s) == 0 ? CC_REFRESH : CC_ERROR;
}

/* Alt-Enter: a new line within the message. */
static unsigned char on_newline(EditLine *el, int key)
{
    (void)key;
    return el_winsertstr(el, L"\n") == 0 ? CC_REFRESH : CC_ERROR;
}

/* Tab completes a command, as far as all that begin so agree. */
static unsigned char on_tab(EditLine *el, int key)
{
    (void)key;
    const struct chat_line *const l = line_of(el);
    const LineInfo *const line = el_line(el);
    const size_t n = (size_t)(line->cursor - line->buffer);
    if (n == 0 || line->buffer[0] != '/') return CC_REFRESH_BEEP;
    char rest[64] = "";
    size_t n_found = 0;
    const char *word;
    for (size_t i = 0; (word = l->word(i)) != NULL; i++) {
        if (strncmp(word, line->buffer, n) != 0) continue;
        if (n_found++ == 0) snprintf(rest, sizeof rest, "%s", word + n);
        size_t n_same = 0;
        while (rest[n_same] && rest[n_same] == word[n + n_same]) n_same++;
        rest[n_same] = '\0';
    }
    const bool is_whole = n_found == 1;
    if (!is_whole && !rest[0]) return CC_REFRESH_BEEP;
    if (rest[0] && el_insertstr(el, rest) != 0) return CC_REFRESH_BEEP;
    return !is_whole || el_insertstr(el, " ") == 0 ? CC_REFRESH : CC_ERROR;
}

/* What is typed while the model is loaded or an answer written is not shown in it: it waits for the
 * next prompt. */
static void show_typing(const struct chat_line *l, bool yes)
{
    struct termios t = l->shown;
    if (!yes) t.c_lflag &= ~(tcflag_t)ECHO;
    tcsetattr(STDIN_FILENO, TCSADRAIN, &t);
}

/* ---- opening --------------------------------------------------------------------------------- */

/* A terminal that the editor can move the cursor on. */
static bool set_terminal(EditLine *el)
{
    const char *const term = getenv("TERM");
    if (!term || !*term || strcmp(term, "dumb") == 0) return false;
    return el_set(el, EL_TERMINAL, term) == 0 || el_set(el, EL_TERMINAL, "xterm") == 0;
}

/* ~/.editrc, which all programs with libedit read, may change any key but Tab, and choose vi's keys
 * (bind -v); those have another meaning for Esc, and so none for Alt-Enter. */
static void set_keys(EditLine *el)
{
    const char *editor = "";
    el_set(el, EL_EDITOR, "emacs");
    el_set(el, EL_BIND, "^R", "em-inc-search-prev", NULL); /* as in a shell */
    el_set(el, EL_BIND, "^W", "ed-delete-prev-word", NULL);
    /* The wide call, because the other one copies the names and never frees them. */
    el_wset(el, EL_ADDFN, L"moxie-paste", L"a bracketed paste", on_paste);
    el_wset(el, EL_ADDFN, L"moxie-newline", L"a new line in the message", on_newline);
    el_wset(el, EL_ADDFN, L"moxie-tab", L"complete a command", on_tab);
    el_source(el, NULL);
    el_get(el, EL_EDITOR, &editor);
    el_wset(el, EL_BIND, PASTE_KEY, L"moxie-paste", NULL);
    el_wset(el, EL_BIND, L"-a", PASTE_KEY, L"moxie-paste", NULL); /* vi's command mode ... */
    el_wset(el, EL_BIND, L"-a", L"\033" PASTE_KEY, L"moxie-paste", NULL); /* ... and Esc in it */
    el_set(el, EL_BIND, "\t", "moxie-tab", NULL);
    if (strcmp(editor, "emacs") != 0) return;
    el_wset(el, EL_BIND, L"\033" PASTE_KEY, L"moxie-paste", NULL); /* after a lone Esc */
    el_set(el, EL_BIND, "\033\n", "moxie-newline", NULL);
    el_set(el, EL_BIND, "\033\r", "moxie-newline", NULL);
}

/* The editor, or nothing where there can be none. */
static void open_editor(struct chat_line *l)
{
    /* libedit turns bytes into characters and back by the locale; ours are always UTF-8. */
    if (!setlocale(LC_CTYPE, "C.UTF-8")) return;
    const int fd = dup(STDERR_FILENO);
    l->screen = fd < 0 ? NULL : fdopen(fd, "w");
    if (fd >= 0 && !l->screen) close(fd);
    l->nowhere = fopen("/dev/null", "we");
    l->entries = history_init();
    l->paste = mem_alloc_array(MEM_MISC, CHAT_PASTE_CHARS_MAX, sizeof *l->paste);
    if (!l->screen || !l->nowhere || !l->entries || !l->paste) return;
    EditLine *const el = el_init("moxie", stdin, l->screen, l->nowhere);
    if (!el || !set_terminal(el)) {
        if (el) el_end(el);
        return;
    }
    HistEvent event;
    history(l->entries, &event, H_SETSIZE, CHAT_HISTORY_ENTRIES);
    history(l->entries, &event, H_SETUNIQUE, 1); /* the same twice in a row is kept once */
    el_set(el, EL_CLIENTDATA, l);
    el_set(el, EL_HIST, history, l->entries);
    el_set(el, EL_PROMPT, get_prompt);
    el_set(el, EL_GETCFN, get_char);
    set_keys(el);
    l->el = el;
}

static void remember(void *ctx, const char *text)
{
    struct chat_line *const l = ctx;
    HistEvent event;
    history(l->entries, &event, H_ENTER, text);
}

enum err chat_line_open(struct chat_line **out, bool history_wanted, chat_word_fn *word)
{
    assert(out);
    assert(word);
    struct chat_line *const l = mem_alloc(MEM_MISC, sizeof *l);
    *out = l;
    if (!l) return ERR_MEMORY;
    l->word = word;
    l->is_terminal = os_is_terminal(stdin);
    if (!l->is_terminal || !os_is_terminal(stderr)) return OK;
    if (tcgetattr(STDIN_FILENO, &l->shown) != 0) return OK;
    open_editor(l);
    if (!l->el) return OK;
    os_terminal_guard(&l->shown, PASTE_OFF);
    show_typing(l, false);
    if (history_wanted && chat_history_open(&l->history, remember, l) != OK) warn(l);
    return OK;
}

void chat_line_close(struct chat_line *l)
{
    if (!l) return;
    if (l->el) {
        show_typing(l, true);
        os_terminal_guard(NULL, NULL);
        el_end(l->el);
    }
    if (l->entries) history_end(l->entries);
    if (l->screen) fclose(l->screen);
    if (l->nowhere) fclose(l->nowhere);
    chat_history_close(&l->history);
    bytes_fini(&l->message.text);
    bytes_fini(&l->line);
    mem_free(l->paste);
    mem_free(l);
}

bool chat_line_is_terminal(const struct chat_line *l)
{
    return l->is_terminal;
}

const char *chat_line_warning(struct chat_line *l)
{
    const bool has = l->has_warning;
    l->has_warning = false;
    return has ? l->warning : NULL;
}

/* ---- reading --------------------------------------------------------------------------------- */

/* One edited line, valid until the next. */
static enum err edit_line(struct chat_line *l, const char **line, size_t *n)
{
    int n_char = 0;
    l->interrupted = false;
    show_typing(l, true);
    fputs(PASTE_ON, l->screen);
    *line = el_gets(l->el, &n_char);
    const bool got = *line && n_char > 0;
    fputs(got ? PASTE_OFF : PASTE_OFF "\n", l->screen);
    fflush(l->screen);
    *n = got ? (size_t)n_char : l->typed;
    if (got && (*line)[*n - 1] == '\n') --*n;
    show_typing(l, false);
    if (got) return OK;
    return l->interrupted ? err_set(ERR_INTR, "interrupted") : ERR_END;
}

/* One line as it comes. */
static enum err read_line(struct chat_line *l, const char **line, size_t *n)
{
    char chunk[4096];
    size_t n_chunk = 0;
    int c;
    enum err err = OK;
    bytes_cut(&l->line, 0);
    if (l->is_terminal) fputs(l->message.is_open ? PROMPT_MORE : PROMPT, stderr);
    do {
        c = getc(stdin);
        if (c != EOF && c != '\n') chunk[n_chunk++] = (char)c;
        if (n_chunk < sizeof chunk && c != EOF && c != '\n') continue;
        err = append(&l->line, chunk, n_chunk);
        n_chunk = 0;
    } while (err == OK && c != EOF && c != '\n');
    const bool is_broken = ferror(stdin) != 0;
    clearerr(stdin);
    if (c == EOF && l->is_terminal) fputc('\n', stderr);
    if (err) return err;
    if (os_interrupted()) return err_set(ERR_INTR, "interrupted");
    if (is_broken) return err_set(ERR_INPUT, "standard input: cannot be read: %s", strerror(errno));
    *n = bytes_n(&l->line);
    if (c == EOF && *n == 0) return ERR_END;
    *line = bytes_at(&l->line);
    if (ends_with(*line, *n, "\r")) --*n;
    return OK;
}

/* A message for the next time that somebody presses the up key. */
static void keep(struct chat_line *l)
{
    HistEvent event;
    const char *const text = bytes_at(&l->message.text);
    const size_t n = bytes_n(&l->message.text);
    if (!l->el || n == 0) return;
    if (history(l->entries, &event, H_FIRST) == 0 && strcmp(event.str, text) == 0) return;
    history(l->entries, &event, H_ENTER, text);
    if (chat_history_add(&l->history, text, n) == OK) return;
    warn(l);
    chat_history_close(&l->history); /* said once */
}

enum err chat_line_read(struct chat_line *l, const char **text, size_t *n)
{
    assert(l);
    assert(text);
    assert(n);
    l->message.is_open = false;
    enum err err;
    do {
        const char *line = NULL;
        *n = 0;
        err = l->el ? edit_line(l, &line, n) : read_line(l, &line, n);
        if (err == OK) err = chat_join_put(&l->message, line, *n);
    } while (err == OK && l->message.is_open);
    if (err) *n += l->message.is_open;
    if (err) return err;
    keep(l);
    *text = bytes_at(&l->message.text);
    *n = bytes_n(&l->message.text);
    return OK;
}
