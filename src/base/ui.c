/*
 * ui.c: terminal detection, colour, progress bars.
 *
 * A bar appears only after a moment, so that short work does not flicker, and rewrites one line
 * with a carriage return and spaces. It never wraps: its line is cut to the width of the terminal,
 * one column short, because some terminals wrap as soon as the last column is written.
 */
#include "base/ui.h"

#include "base/os.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#define COLUMNS_DEFAULT 80
#define COLUMNS_MIN 20
#define FIRST_DRAW_NS 300000000u /* shorter work shows nothing */
#define REDRAW_NS 100000000u     /* ten times a second is smooth and costs nothing */
#define CELLS 20                 /* of the bar itself */

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

static uint32_t terminal_columns(FILE *f)
{
    struct winsize size;
    if (ioctl(fileno(f), TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return COLUMNS_DEFAULT;
    if (size.ws_col < COLUMNS_MIN) return COLUMNS_MIN;
    return size.ws_col < UI_BAR_BYTES_MAX ? size.ws_col : UI_BAR_BYTES_MAX - 1;
}

void ui_bar_start(struct ui_bar *b, FILE *f, const char *what, const char *unit)
{
    assert(b);
    assert(what);
    assert(unit);
    *b = (struct ui_bar){.what = what, .unit = unit, .start_ns = os_time_ns()};
    if (!f || !os_is_terminal(f)) return;
    b->f = f;
    b->n_columns = terminal_columns(f);
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
    assert(n_done <= n_total);
    assert(n_total > 0);
    assert(b->n_columns > 0);
    assert(b->n_columns < UI_BAR_BYTES_MAX);
    static const char full[] = "####################", empty[] = "....................";
    static_assert(sizeof full == CELLS + 1 && sizeof empty == CELLS + 1, "one character per cell");
    const double share = (double)n_done / (double)n_total;
    const double seconds = (double)elapsed_ns / 1e9;
    const double rate = seconds > 0 ? (double)n_done / seconds : 0;
    const int n_full = (int)(share * CELLS);
    char eta[24] = "-:--";
    if (rate > 0) clock_text(eta, sizeof eta, (double)(n_total - n_done) / rate);
    snprintf(buf, UI_BAR_BYTES_MAX,
             "%s [%.*s%.*s] %3.0f %%  %" PRIu64 "/%" PRIu64 " %s  %.*f %s/s  %s left", b->what,
             n_full, full, CELLS - n_full, empty, share * 100, n_done, n_total, b->unit,
             rate < 9.95 ? 2 : 0, rate, b->unit, eta);
    if (strlen(buf) >= b->n_columns) buf[b->n_columns - 1] = '\0';
}

void ui_bar_set(struct ui_bar *b, uint64_t n_done, uint64_t n_total)
{
    assert(b);
    if (!b->f || n_total == 0) return;
    const uint64_t now = os_time_ns();
    const uint64_t wait = b->drawn_ns ? b->drawn_ns + REDRAW_NS : b->start_ns + FIRST_DRAW_NS;
    if (now < wait) return;
    char line[UI_BAR_BYTES_MAX];
    ui_bar_line(line, b, n_done, n_total, now - b->start_ns);
    fprintf(b->f, "\r%-*s", (int)b->n_columns - 1, line);
    fflush(b->f);
    b->drawn_ns = now;
}

void ui_bar_end(struct ui_bar *b)
{
    assert(b);
    if (!b->f || !b->drawn_ns) return;
    fprintf(b->f, "\r%*s\r", (int)b->n_columns - 1, "");
    fflush(b->f);
    b->f = NULL;
}
