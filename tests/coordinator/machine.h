/* machine.h - the coordinator's state machine with a made-up configuration, for tests. */
#pragma once
#include "coordinator/state.h"

/* What a test varies; everything else of the configuration is irrelevant or plain. */
struct machine_shape {
    int experts;
    bool recombine;
    int64_t steps, every, judge, snapshot_every, eval_every;
    double minutes;
};

/* Three experts and their mean, 100 steps judged every 40. */
extern const struct machine_shape machine_plain;

/* What matters of an order. */
struct machine_order {
    int64_t step, until;
    int best, save_best, round, snapshot, stop;
};
/* There is an order, and it is this one. */
void machine_check_order(const struct actions *a, struct machine_order e);
/* A machine that begins from the newest snapshot of s, as an index would keep it. */
struct coordinator_state *machine_resumed(const struct coordinator_state *s,
                                          const struct machine_shape *shape);

void machine_config(struct config *c, const struct machine_shape *shape);
struct coordinator_state *machine_new(const struct machine_shape *shape);
/* Give the first event. */
struct actions machine_start(struct coordinator_state *s);
/* Hand over one report; the machine must not fail. */
struct actions machine_say(struct coordinator_state *s, enum report_kind kind, int member,
                           int64_t step, double value, double time_s);
/* Report fitness[0..n-1] of all members for a step, in order; returns the last one's actions. */
struct actions machine_judge(struct coordinator_state *s, const double *fitness, int n,
                             int64_t step, double time_s);
/* Report all shards of a step; returns the last one's actions. */
struct actions machine_write(struct coordinator_state *s, int experts, int64_t step);
