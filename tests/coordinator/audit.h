/* audit.h - what must be true of a run after every event, told from the events alone: a second
 * bookkeeping that shares no code with the coordinator. */
#pragma once
#include "coordinator/machine.h"

struct audit {
    struct machine_shape shape;
    int members;
    uint64_t seed; /* of the fitnesses */
    bool any_order, stopped, finished;
    struct order last;
    bool heard[SHOAL_MAX_EXPERTS + 1]; /* fitness at last.until */
    int n_heard;
    int champion;
    int64_t champion_step;
    int64_t snapshot_step; /* newest ordered; -1: none */
    bool wrote[SHOAL_MAX_EXPERTS];
    int n_wrote;
    int64_t committed; /* newest step; -1: none */
    bool evaluating;   /* the last order asks for it, and it is not in */
    int64_t n_judgings, n_commits, n_stops, n_evals_ordered, n_evals;
};

/* The fitness of a member at a step: a pure function, coarse so that there are ties, and sometimes
 * not finite. */
double audit_fitness(uint64_t seed, int member, int64_t step);
/* The best member at a step by these fitnesses, by the rule's own words; -1: none is finite. */
int audit_best(uint64_t seed, int members, int experts, int64_t step);
/* Watch a machine that starts at `step` (the step of its standing). */
void audit_begin(struct audit *a, const struct machine_shape *shape, uint64_t seed, int64_t step);
/* One event and what the machine made of it; fails the test where an invariant is broken. */
void audit_event(struct audit *a, const struct event *event, enum shoal_status status,
                 const struct actions *actions);
