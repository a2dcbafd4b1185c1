/* wishes.c - see wishes.h. */
#include "coordinator/wishes.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "base/log.h"
#include "base/signals.h"

/* Seconds since 1970 at which the job will be ended; INFINITY: nobody says. */
static double job_end_s(void)
{
    const char *text = getenv("SLURM_JOB_END_TIME");
    char *rest = NULL;
    if (!text || !text[0]) return INFINITY;
    const double end_s = strtod(text, &rest);
    if (*rest == 0 && isfinite(end_s) && end_s > 0) return end_s;
    log_warn(
        "SLURM_JOB_END_TIME is '%.40s', not a time in seconds: the run will not stop by itself "
        "before the job's time is over",
        text);
    return INFINITY;
}

void wishes_begin(struct wishes *w, double margin_minutes)
{
    const double end_s = job_end_s(), left_s = end_s - (double)time(NULL);
    memset(w, 0, sizeof *w);
    w->ends_s = end_s - 60.0 * margin_minutes;
    if (!isfinite(end_s)) return;
    log_info("the job ends in %.0f minutes; the run will stop in order %g minutes before",
             left_s / 60, margin_minutes);
    if (left_s <= 60.0 * margin_minutes)
        log_warn(
            "the job has %.0f minutes left and run.margin is %g: the run stops as soon as it can",
            left_s / 60, margin_minutes);
}

static enum wish stop(struct wishes *w, const char *why)
{
    if (w->stop_said) return WISH_NONE;
    w->stop_said = true;
    (void)snprintf(w->why, sizeof w->why, "%s", why);
    log_info("%s: the run is saved and stops before its next round; once more ends it at once",
             why);
    return WISH_STOP;
}

enum wish wishes_look(struct wishes *w)
{
    const int signal = signals_stop(), saves = signals_saves();
    if (signal) return stop(w, signals_name(signal));
    if ((double)time(NULL) >= w->ends_s) return stop(w, "the job's time is nearly over");
    if (saves == w->saves) return WISH_NONE;
    w->saves = saves;
    log_info("SIGUSR1: the run is saved before its next round, and goes on");
    return WISH_SNAPSHOT;
}

void wishes_hear(struct wishes *w, const struct report *r)
{
    char why[sizeof w->why];
    if (r->count[0] != WISH_STOP) {
        log_info("%s to worker %d: the run is saved before its next round, and goes on",
                 signals_name((int)r->count[1]), r->worker);
        return;
    }
    (void)snprintf(why, sizeof why, "%s to worker %d", signals_name((int)r->count[1]), r->worker);
    (void)stop(w, why);
}
