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
    int workers;
    double peak[SHOAL_MAX_EXPERTS]; /* FLOP/s of each worker's device; NAN: unknown */
    double flops_per_token;
    int64_t skipped[SHOAL_MAX_EXPERTS]; /* steps of each expert, as of its last judging */
    int best;                           /* at the last judging; -1: none yet */
    double best_fitness;
    double judged_s, judged_step; /* when and where the last judging, or the start, was */
};

/* Every expert stands at step `standing->step`. */
void track_begin(struct track *t, const struct config *c, int workers,
                 const struct standing *standing, double now_s);
/* What a worker's device can do at best, and what a token asks of it. */
void track_device(struct track *t, int worker, double peak_flops_per_s, double flops_per_token);
/* Share of a worker's peak that a speed stands for; worker -1: the population's speed, all peaks
 * together. NAN: unknown. */
double track_utilisation(const struct track *t, int worker, double tokens_per_s);
/* Steps an expert has skipped so far. */
void track_skipped(struct track *t, int expert, int64_t steps);
/* Of all experts. */
int64_t track_all_skipped(const struct track *t);
/* An expert has reached a step. */
void track_step(struct track *t, int expert, int64_t step, double now_s);
/* All experts were judged; out is what to show of it. standing: after this judging. */
void track_judging(struct track *t, const struct judging *judged, int members,
                   const struct standing *standing, struct judging_row *out);
void track_progress(const struct track *t, double now_s, struct progress *out);
/* Tokens the population has been trained on. */
double track_tokens(const struct track *t);
