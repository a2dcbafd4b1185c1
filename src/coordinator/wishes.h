/* wishes.h - who wants the run saved or stopped before its end: signals to any of its processes,
 * and the end of the time that a batch system gives it. */
#pragma once
#include "evo/protocol.h"

struct wishes {
    double ends_s;  /* wall-clock time at which to stop, seconds since 1970; INFINITY: never */
    int saves;      /* signals to save that have been passed on */
    bool stop_said; /* to stop, likewise */
    char why[96];   /* why the run stops; "" while it does not */
};

/* margin_minutes: how long before the end of the job's time to stop. The end is what Slurm says in
 * SLURM_JOB_END_TIME, if it does. */
void wishes_begin(struct wishes *w, double margin_minutes);
/* What is wanted now that was not wanted at the last look. */
enum wish wishes_look(struct wishes *w);
/* A worker's REPORT_WISH that counted. */
void wishes_hear(struct wishes *w, const struct report *r);
