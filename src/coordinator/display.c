/* display.c - the live line is drawn over itself with a carriage return and "erase to the end of
 * the line" (ECMA-48), which every terminal of the last decades knows; no library is needed. */
#include "coordinator/display.h"
#include <math.h>
#include <string.h>
#include "base/memory.h"
#include "base/terminal.h"

enum { LINE = 256, MIN_WIDTH = 20 };
static const double redraw_s = 0.2;

struct display {
    FILE *to; /* borrowed */
    bool live;
    int width;
    bool drawn; /* a live line stands on the terminal */
    double drawn_s;
};

enum shoal_status display_create(FILE *to, bool live, int width, struct display **out)
{
    SHOAL_TRY(mem_alloc(sizeof **out, "the display", out));
    (*out)->to = to;
    (*out)->live = live;
    (*out)->width = width < MIN_WIDTH ? MIN_WIDTH : width;
    (*out)->drawn_s = -INFINITY;
    return SHOAL_OK;
}

enum shoal_status display_create_stdout(struct display **out)
{
    int columns = 0;
    const bool live = terminal_columns(&columns);
    return display_create(stdout, live, columns, out);
}

/* One line that stays, above the live one. */
static void print_line(struct display *d, const char *text)
{
    if (d->drawn) fputs("\r\033[K", d->to);
    d->drawn = false;
    fprintf(d->to, "%s\n", text);
    fflush(d->to);
}

void display_destroy(struct display **d)
{
    if (!*d) return;
    if ((*d)->drawn) fputc('\n', (*d)->to);
    fflush((*d)->to);
    mem_free(*d);
    *d = NULL;
}

void display_start(struct display *d, const struct display_shape *shape)
{
    char line[LINE + 1024], params[FORMAT_WORD];
    format_count(params, (double)shape->params);
    snprintf(line, sizeof line, "%s: %d expert%s of %s parameters, %d worker%s, step %lld of %lld",
             shape->out, shape->experts, shape->experts == 1 ? "" : "s", params, shape->workers,
             shape->workers == 1 ? "" : "s", (long long)shape->step, (long long)shape->steps);
    print_line(d, line);
    if (!d->live) return;
    format_header(line, sizeof line, shape->has_recombinant);
    print_line(d, line);
}

void display_cadence(struct display *d, const struct metrics_cadence *row)
{
    char line[LINE];
    snprintf(line, sizeof line,
             "a round every %lld step%s from here: one costs %.2g s, a step %.2g s",
             (long long)row->every, row->every == 1 ? "" : "s", row->stall_s, row->step_s);
    print_line(d, line);
}

bool display_due(const struct display *d, double now_s)
{
    return d->live && now_s - d->drawn_s >= redraw_s;
}

void display_progress(struct display *d, double now_s, const struct progress *p)
{
    char line[LINE];
    if (!display_due(d, now_s)) return;
    format_progress(line, sizeof line, p);
    /* The last column stays free: writing into it makes some terminals wrap. */
    fprintf(d->to, "\r%.*s\033[K", d->width - 1, line);
    fflush(d->to);
    d->drawn = true;
    d->drawn_s = now_s;
}

void display_judging(struct display *d, const struct judging_row *row)
{
    char line[LINE];
    if (d->live)
        format_row(line, sizeof line, row);
    else
        format_plain(line, sizeof line, row);
    print_line(d, line);
    d->drawn_s = -INFINITY;
}

void display_evaluation(struct display *d, const struct evaluation *e)
{
    char line[LINE];
    format_evaluation(line, sizeof line, e);
    print_line(d, line);
    d->drawn_s = -INFINITY;
}

void display_summary(struct display *d, const struct run_summary *s)
{
    char text[LINE + 1024];
    format_summary(text, sizeof text, s);
    print_line(d, text);
}
