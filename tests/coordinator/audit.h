/* audit.h - what must be true of a run after every event, told from the events alone: a second
 * bookkeeping that shares no code with what it watches. */
#pragma once
#include <stddef.h>
#include "coordinator/oracle.h"
#include "coordinator/state.h"

struct audit {
    const struct oracle *oracle; /* borrowed */
    const struct config *config; /* the oracle's */
    int experts, members;
    char broken[256];    /* the first rule that was broken; "": none */
    int64_t committed;   /* step of the newest committed snapshot; -1: none */
    uint64_t ledger;     /* its digest */
    int64_t n_commits;   /* of all sessions */
    bool best_lost;      /* best.h5 is not the champion's */
    int64_t *next_round; /* owned; of each worker: index into the oracle's rounds */

    /* since the last start */
    bool any_order, stopped, finished;
    struct order last;                    /* no mere call to halt */
    enum wish wish;                       /* not granted yet */
    bool asked;                           /* to halt, since the last order */
    struct report halted;                 /* not answered yet; kind 0: none */
    bool news;                            /* this event brought a wish that was none yet */
    uint8_t heard[SHOAL_MAX_EXPERTS + 1]; /* fitness at last.until */
    int n_heard;
    int champion;
    int64_t champion_step;
    double champion_fitness;
    int64_t snapshot_step;           /* newest ordered; -1: none */
    uint8_t told[SHOAL_MAX_EXPERTS]; /* whose shards were written, or were not */
    int n_told;
    bool failed;         /* one was not */
    int64_t judged_step; /* of the last judging */
    bool evaluating;     /* the last order asks for it, and it is not in */
    int64_t n_judgings;
    int64_t due_round; /* index of the next that worker 0 will report */
};

/* What best.h5 holds. */
struct best_file {
    int64_t step;
    int member;
    double fitness; /* of the weights in it */
};

/* An index as it was committed, or read back. */
struct audit_index {
    const struct standing *standing;
    const struct judging *judgings;
    int64_t n_judgings;
    int n_shards;    /* of its step that are on disk */
    uint64_t digest; /* of their weights */
    struct best_file best;
};

void audit_make(struct audit *a, const struct oracle *oracle, int max_workers);
void audit_free(struct audit *a);
/* A new coordinator and new workers. resume NULL: from the start. */
void audit_begin(struct audit *a, const struct audit_index *resume, int workers);
/* One event and what the coordinator made of it. */
void audit_event(struct audit *a, const struct event *event, enum shoal_status status,
                 const struct actions *actions);
/* A worker is about to move its experts' groups toward these members, or, where follows[g] is not
 * NULL, each expert k toward follows[g][k]. */
void audit_round(struct audit *a, int worker, int64_t step, const int toward[PHYSICS_GROUPS],
                 const int32_t *const follows[PHYSICS_GROUPS], const struct live_set *live);
/* The index has appeared on disk. */
void audit_commit(struct audit *a, const struct audit_index *index);
/* best.h5 could not be written: until it can, what it holds is of an earlier champion. */
void audit_best(struct audit *a, bool written);
/* Every process has ended as it should. lost: but its last snapshot could not be written. */
void audit_end(struct audit *a, const struct standing *standing, bool lost);
/* Note that a rule was broken; the first one stays. */
void audit_break(struct audit *a, const char *format, ...);
