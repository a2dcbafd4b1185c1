/* plan.h - what evolution decides, in scalars. No tensors, no MPI, no clock.
 *
 * Pure functions: the same fitnesses give the same decision on any machine, so that a run can be
 * replayed from its ledger. Members are the K experts 0..K-1 and, with evolution.recombine, the
 * recombinant, numbered K. Fitness is nats per token; lower is better; not finite always loses. */
#pragma once
#include <stdint.h>
#include "config/config.h"
#include "evo/live.h"

/* Order members best first into order_out (n entries). Not finite comes last; ties go to the
 * recombinant (number K), then to the lower number. n is K, or K + 1 with a recombinant. */
void plan_rank(const double *fitness, int n, int experts, int *order_out);
/* The best member, or -1 when none is finite. */
int plan_best(const double *fitness, int n, int experts);
/* *live: the experts whose fitness is finite; returns how many. */
int plan_live(const double *fitness, int experts, struct live_set *live);
/* Highest minus lowest finite expert fitness; 0 with fewer than two. */
double plan_spread(const double *fitness, int experts);
/* The multiple of train.lr that an expert begins with: evenly spaced on a logarithmic scale, expert
 * 0 at 1 / population.lr_spread, the last at population.lr_spread; 1 for a single one. */
double plan_lr_scale(const struct config *c, int expert);
/* Which member a group's attractor is in round number `round` (step / every): K for the mean,
 * -1 for none. `best` is the standing decision. ATTRACT_LAST gives round % experts, or the next
 * live one. */
int plan_attractor(const struct evo_rule *rule, int best, int64_t round, int experts,
                   const struct live_set *live);
