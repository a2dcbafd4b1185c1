/* ledger.h - what happened and what stands, in scalars: kept by the coordinator, written with every
 * snapshot, read back on resume. */
#pragma once
#include <stdint.h>
#include "config/config.h"
#include "evo/live.h"

/* One judging, as kept in the ledger. */
struct judging {
    int64_t step;
    double time_s;
    int32_t best;    /* member */
    double *fitness; /* members entries; owned by the history */
};

/* What must survive a restart besides the shards. */
struct standing {
    int64_t step;        /* where all experts stand */
    int64_t judged_step; /* of the last judging: `step`, but in a run that halted in between */
    int32_t best;        /* at the last judging */
    int32_t round_done; /* whether the round at `step` had been applied when the snapshot was taken;
                           only in snapshots of earlier versions */
    int64_t every;      /* steps between rounds; 0: not chosen yet (evolution.every auto) */
    double best_fitness;
    int32_t champion; /* all-time best: member, step, fitness; -1 while there is none */
    int64_t champion_step;
    double champion_fitness;
    struct live_set live;
};
