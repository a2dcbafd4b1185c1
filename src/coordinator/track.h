/* track.h - how far the population is and how fast it goes, for display and metrics. Pure: the
 * caller brings the clock (seconds since the run started, earlier sessions included). */
#pragma once
#include <stdint.h>
#include "config/config.h"
#include "coordinator/format.h"
#include "coordinator/meter.h"
#include "evo/ledger.h"

struct track {
    int experts;
    int64_t steps;      /* of the run */
    double limit_s;     /* run.minutes; 0: none */
    double step_tokens; /* tokens the population sees in one step of every expert */
    double step;        /* mean of the experts' steps */
    int64_t expert_step[SHOAL_MAX_EXPERTS];
    struct meter meter; /* tokens of the population */
    int best;           /* at the last judging; -1: none yet */
    double best_fitness, spread;
    double judged_s, judged_step; /* when and where the last judging, or the start, was */
};

/* Every expert stands at step `standing->step`. */
void track_begin(struct track *t, const struct config *c, const struct standing *standing,
                 double now_s);
/* An expert has reached a step. */
void track_step(struct track *t, int expert, int64_t step, double now_s);
/* All experts were judged; out is what to show of it. standing: after this judging. */
void track_judging(struct track *t, const struct judging *judged, int members,
                   const struct standing *standing, struct judging_row *out);
void track_progress(const struct track *t, double now_s, struct progress *out);
/* Tokens the population has been trained on. */
double track_tokens(const struct track *t);
