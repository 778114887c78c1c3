/*
 * ui.c: terminal detection, colour, progress bars, signs of life.
 *
 * A bar appears only after a moment, so that short work does not flicker, and rewrites one line
 * with a carriage return and spaces. It never wraps: its cells make room for the figures, and its
 * line is cut to the width of the terminal, one column short, because some terminals wrap as soon
 * as the last column is written. A wait is drawn by a thread of its own, because whoever waits is
 * inside of one long call.
 */
#include "base/ui.h"

#include "base/os.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>

#define COLUMNS_DEFAULT 80
#define COLUMNS_MIN 20
#define FIRST_DRAW_NS 300000000u /* shorter work shows nothing */
#define REDRAW_NS 100000000u     /* ten times a second is smooth and costs nothing */
#define CELLS 20                 /* of the bar itself, at most */
#define WAIT_DRAW_NS 1000000000u /* after the first second, and every second */

static bool env_is(const char *name, const char *value)
{
    const char *const s = getenv(name);
    return s && strcmp(s, value) == 0;
}

bool ui_color(FILE *f)
{
    assert(f);
    const char *const no_color = getenv("NO_COLOR"); /* no-color.org: present and not empty */
    if (!os_is_terminal(f) || (no_color && *no_color)) return false;
    return !env_is("CLICOLOR", "0") && !env_is("TERM", "dumb") && getenv("TERM");
}

uint32_t ui_columns(FILE *f)
{
    assert(f);
    struct winsize size;
    if (ioctl(fileno(f), TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return COLUMNS_DEFAULT;
    return size.ws_col < COLUMNS_MIN ? COLUMNS_MIN : size.ws_col;
}

void ui_tame(char *s, size_t n_bytes)
{
    assert(s || n_bytes == 0);
    for (size_t i = 0; i < n_bytes; i++) {
        const unsigned char c = (unsigned char)s[i];
        const unsigned char next = i + 1 < n_bytes ? (unsigned char)s[i + 1] : 0;
        const bool is_c1 = c == 0xc2 && next >= 0x80 && next < 0xa0; /* U+0080 .. U+009F */
        if ((c < 0x20 && c != '\n' && c != '\t') || c == 0x7f || is_c1) s[i] = '?';
        if (is_c1) s[++i] = '?';
    }
}

char *ui_size(char buf[UI_SIZE_BYTES_MAX], uint64_t n_bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double v = (double)n_bytes;
    size_t i = 0;
    for (; v >= 1023.5; i++) v /= 1024;
    assert(i < sizeof units / sizeof units[0]);
    snprintf(buf, UI_SIZE_BYTES_MAX, v < 9.95 && i > 0 ? "%.1f %s" : "%.0f %s", v, units[i]);
    return buf;
}

/* ---- progress bar ---------------------------------------------------------------------------- */

/* What is left of a line of the terminal, without its last column. */
static uint32_t line_columns(FILE *f)
{
    const uint32_t n = ui_columns(f);
    return n < UI_BAR_BYTES_MAX ? n : UI_BAR_BYTES_MAX - 1;
}

/* The cursor goes back to the first column: what a terminal echoes there, "^C" or what is typed, is
 * drawn over or wiped; at the edge it would go on in the next line. */
static void draw(FILE *f, uint32_t n_columns, const char *line)
{
    fprintf(f, "\r%-*.*s\r", (int)n_columns - 1, (int)n_columns - 1, line);
    fflush(f);
}

static void wipe(FILE *f, uint32_t n_columns)
{
    fprintf(f, "\r%*s\r", (int)n_columns - 1, "");
    fflush(f);
}

void ui_bar_start(struct ui_bar *b, FILE *f, const char *what, const char *unit)
{
    assert(b);
    assert(what);
    assert(unit);
    *b = (struct ui_bar){.what = what, .unit = unit, .start_ns = os_time_ns()};
    if (!f || !os_is_terminal(f)) return;
    b->f = f;
    b->n_columns = line_columns(f);
}

/* "0:07", "12:30", "3:05:00" */
static void clock_text(char *buf, size_t n_bytes, double seconds)
{
    const unsigned s = seconds < 359999 ? (unsigned)(seconds + 0.5) : 359999; /* 99:59:59 */
    if (s < 3600)
        snprintf(buf, n_bytes, "%u:%02u", s / 60, s % 60);
    else
        snprintf(buf, n_bytes, "%u:%02u:%02u", s / 3600, s / 60 % 60, s % 60);
}

void ui_bar_line(char buf[UI_BAR_BYTES_MAX], const struct ui_bar *b, uint64_t n_done,
                 uint64_t n_total, uint64_t elapsed_ns)
{
    assert(n_done <= n_total || n_total == 0);
    assert(b->n_columns > 0);
    assert(b->n_columns < UI_BAR_BYTES_MAX);
    static const char full[] = "####################", empty[] = "....................";
    static_assert(sizeof full == CELLS + 1 && sizeof empty == CELLS + 1, "one character per cell");
    const double seconds = (double)elapsed_ns / 1e9;
    const double rate = seconds > 0 ? (double)n_done / seconds : 0;
    const int n_decimal = rate < 9.95 ? 2 : 0;
    if (n_total == 0) {
        snprintf(buf, b->n_columns, "%s %" PRIu64 " %s  %.*f %s/s", b->what, n_done, b->unit,
                 n_decimal, rate, b->unit);
        return;
    }
    const double share = (double)n_done / (double)n_total;
    char eta[24] = "-:--", figures[UI_BAR_BYTES_MAX];
    if (rate > 0) clock_text(eta, sizeof eta, (double)(n_total - n_done) / rate);
    const int n_figures = snprintf(
        figures, sizeof figures, "%3.0f %%  %" PRIu64 "/%" PRIu64 " %s  %.*f %s/s  %s left",
        share * 100, n_done, n_total, b->unit, n_decimal, rate, b->unit, eta);
    const int n_room =
        (int)b->n_columns - 1 - (int)strlen(b->what) - (int)strlen(" [] ") - n_figures;
    const int n_cell = n_room > CELLS ? CELLS : n_room < 0 ? 0 : n_room;
    const int n_full = (int)(share * n_cell);
    snprintf(buf, b->n_columns, "%s [%.*s%.*s] %s", b->what, n_full, full, n_cell - n_full, empty,
             figures);
}

void ui_bar_set(struct ui_bar *b, uint64_t n_done, uint64_t n_total)
{
    assert(b);
    if (!b->f) return;
    const uint64_t now = os_time_ns();
    const uint64_t wait = b->drawn_ns ? b->drawn_ns + REDRAW_NS : b->start_ns + FIRST_DRAW_NS;
    if (now < wait) return;
    char line[UI_BAR_BYTES_MAX];
    ui_bar_line(line, b, n_done, n_total, now - b->start_ns);
    draw(b->f, b->n_columns, line);
    b->drawn_ns = now;
}

void ui_bar_end(struct ui_bar *b)
{
    assert(b);
    if (!b->f || !b->drawn_ns) return;
    wipe(b->f, b->n_columns);
    b->f = NULL;
}

/* ---- signs of life --------------------------------------------------------------------------- */

/* Sleeps until the wait is over or ns have passed since its start; true: it is over. Called with
 * the lock held. */
static bool over_before(struct ui_wait *w, uint64_t ns)
{
    const uint64_t at = w->start_ns + ns;
    const struct timespec t = {.tv_sec = (time_t)(at / 1000000000u),
                               .tv_nsec = (long)(at % 1000000000u)};
    int rc = 0;
    while (!w->is_over && rc == 0) rc = pthread_cond_timedwait(&w->changed, &w->lock, &t);
    return w->is_over;
}

static void *draw_wait(void *arg)
{
    struct ui_wait *const w = arg;
    pthread_mutex_lock(&w->lock);
    for (uint64_t ns = WAIT_DRAW_NS; !over_before(w, ns); ns += WAIT_DRAW_NS) {
        char line[UI_BAR_BYTES_MAX];
        snprintf(line, sizeof line, "%s  %" PRIu64 " s", w->what, ns / 1000000000u);
        draw(w->f, w->n_columns, line);
        w->is_drawn = true;
    }
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

void ui_wait_start(struct ui_wait *w, FILE *f, const char *what)
{
    assert(w);
    assert(what);
    *w = (struct ui_wait){.what = what, .start_ns = os_time_ns()};
    if (!f || !os_is_terminal(f)) return;
    w->n_columns = line_columns(f);
    pthread_condattr_t by_clock;
    pthread_condattr_init(&by_clock);
    pthread_condattr_setclock(&by_clock, CLOCK_MONOTONIC); /* what os_time_ns() reads */
    pthread_cond_init(&w->changed, &by_clock);
    pthread_condattr_destroy(&by_clock);
    pthread_mutex_init(&w->lock, NULL);
    w->f = f;
    if (os_thread_start(&w->thread, draw_wait, w) != 0) w->f = NULL; /* then it waits in silence */
}

void ui_wait_end(struct ui_wait *w)
{
    assert(w);
    if (!w->f) return;
    pthread_mutex_lock(&w->lock);
    w->is_over = true;
    pthread_cond_signal(&w->changed);
    pthread_mutex_unlock(&w->lock);
    pthread_join(w->thread, NULL);
    if (w->is_drawn) wipe(w->f, w->n_columns);
    pthread_cond_destroy(&w->changed);
    pthread_mutex_destroy(&w->lock);
    w->f = NULL;
}
