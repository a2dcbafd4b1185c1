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

/* What became of an expert in the round after a judging. */
enum lineage_kind {
    LINEAGE_STAYED,  /* it followed nobody, or is what the others followed */
    LINEAGE_MOVED,   /* it went some way, or took some values */
    LINEAGE_COPIED,  /* it took all values of whatever it followed */
    LINEAGE_REVIVED, /* it had diverged and started again from there */
    LINEAGE_KINDS
};
struct lineage_row {
    int64_t step;
    int32_t body, io; /* members that the two groups of tensors followed (K: the mean); -1: none */
    int32_t kind;     /* enum lineage_kind */
    int32_t reserved; /* 0 */
    double distance;  /* norm of the change of its weights, as a share of their norm before */
    double lr_scale;  /* afterwards */
};
static inline const char *lineage_name(enum lineage_kind kind)
{
    static const char *const names[LINEAGE_KINDS] = {"stayed", "moved", "copied", "revived"};
    return names[kind];
}

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
    struct live_set lost; /* experts whose worker was lost: their newest shards are older */
};
