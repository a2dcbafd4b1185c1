/* display.h - progress of a run for the person watching it.
 *
 * On a terminal: a table with one row per judging and, under it, one live line redrawn at most five
 * times a second. Elsewhere (a file, a pipe): a plain line at the start and per judging. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include "base/status.h"
#include "coordinator/format.h"
#include "coordinator/metrics.h"

struct display;

struct display_shape {
    int experts, workers;
    int64_t params; /* per expert */
    int64_t step, steps;
    const char *out; /* run directory; borrowed during the call */
    bool has_recombinant;
};

/* to: borrowed. live: whether it is a terminal; width: its columns. */
enum shoal_status display_create(FILE *to, bool live, int width, struct display **out);
/* For the program's standard output. Under mpirun: plain lines. */
enum shoal_status display_create_stdout(struct display **out);
/* Ends the live line. */
void display_destroy(struct display **d);
void display_start(struct display *d, const struct display_shape *shape);
/* Whether a live line drawn now would be new; asking is cheap. */
bool display_due(const struct display *d, double now_s);
void display_progress(struct display *d, double now_s, const struct progress *p);
void display_judging(struct display *d, const struct judging_row *row);
/* evolution.every auto has chosen. */
void display_cadence(struct display *d, const struct metrics_cadence *row);
void display_evaluation(struct display *d, const struct evaluation *e);
void display_summary(struct display *d, const struct run_summary *s);
