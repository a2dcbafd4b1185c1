/* cadence.h - how often to exchange, where the configuration leaves it to a budget
 * (evolution.every auto). Pure: times come in with reports. */
#pragma once
#include "config/config.h"

/* What the first rounds have cost. */
struct cadence {
    int64_t rounds; /* that were measured */
    int64_t steps;  /* of training between them */
    double stall_s; /* that they kept from training */
    double train_s; /* of training between them, stalls included */
};

/* Steps between rounds while they are measured: about ten in the time between two judgings. */
int64_t cadence_probe(const struct config *c);
/* A round was applied, `every` steps after the last one. The first is not counted: it is slower
 * than all others. train_s NAN: not known, so not counted either. */
void cadence_hear(struct cadence *k, int64_t every, double stall_s, double train_s);
/* Whether enough is known. */
bool cadence_ready(const struct cadence *k);
/* The fewest steps between rounds, a divisor of evolution.judge above evolution.delay, with which
 * rounds keep at most evolution.budget of the time from training; evolution.judge where none does.
 */
int64_t cadence_choose(const struct cadence *k, const struct config *c);
