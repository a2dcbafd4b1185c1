/* pace.h - how long a step will take: measured on a few real ones. */
#pragma once
#include "config/config.h"
#include "kernels/kernels.h"
#include "model/params.h"

struct pace {
    double pass_s;  /* forward and backward over a micro-batch */
    double optim_s; /* the optimiser's part of a step */
    double judge_s; /* forward only, over a micro-batch */
};

/* Mean times of one expert on dev, on random tokens: after one of each that does not count, two or
 * as many as fit into budget_s. Takes the memory of a worker with one expert and
 * nothing to exchange. */
enum shoal_status pace_measure(struct device *dev, const struct config *c,
                               const struct param_table *table, double budget_s, struct pace *pace);
/* Seconds of one optimiser step of one expert. */
double pace_step(const struct pace *p, const struct config *c);
