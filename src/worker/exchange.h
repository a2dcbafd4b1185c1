/* exchange.h - what a configuration makes workers exchange, and what they keep for it. Pure:
 * build.c allocates by it, round.c and judge.c carry it out. */
#pragma once
#include "config/config.h"
#include "kernels/kernels.h"
#include "model/params.h"

/* Whether a worker holds the mean of the experts, and another worker's expert, or, while a delayed
 * round is on its way, one of its own that are parked (park.h). */
bool exchange_keeps_mean(const struct config *c);
bool exchange_keeps_inbox(const struct config *c, int workers, bool parked);
/* Whether a worker keeps copies of its experts while a round is on its way, and one of them as the
 * round moves it. */
bool exchange_keeps_outbox(const struct config *c);
/* How the mean is packed between judgings, and whether a worker keeps what packing loses of it and
 * of its experts: 8 bits or fewer. The wire is not f32. */
enum packing exchange_packing(const struct config *c);
bool exchange_keeps_lost(const struct config *c);
/* Slabs of each: 1, the weights, or 3, with both moments. */
int exchange_slabs(const struct config *c);

/* Bytes that all workers together send. Where the best member decides, whichever member costs more
 * is taken, but on a narrow wire the mean: experts travel in float32, and hardly ever lead. Scalars
 * are left out. */
struct traffic {
    double round;    /* between judgings */
    double judging;  /* with the round that follows it */
    double per_step; /* on average */
};
struct traffic exchange_traffic(const struct config *c, const struct param_table *table,
                                int workers);
/* What data parallel training of `params` parameters would send in each step: gradients in float32,
 * all-reduced in a ring, 2 (workers - 1) / workers of them by every worker. */
double exchange_data_parallel(double params, int workers);
