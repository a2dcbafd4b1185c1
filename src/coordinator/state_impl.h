/* state_impl.h - what the files of the state machine share: state.c, shards.c and losses.c. */
#pragma once
#include "coordinator/history.h"
#include "coordinator/members.h"
#include "coordinator/state.h"

/* A snapshot that was ordered. */
struct shards {
    bool ordered; /* ever, since the start or resumption */
    bool waiting; /* not all shards are on disk yet */
    bool failed;  /* one of them will not be */
    int n_told;
    uint8_t told[SHOAL_MAX_EXPERTS];
    struct live_set absent;   /* lost before they were written */
    struct standing standing; /* when it was ordered */
    int64_t n_judgings;       /* up to then */
};

struct coordinator_state {
    struct config config;
    int experts, members;
    bool resumed, started;
    bool stopped;  /* the last order says stop */
    int64_t until; /* the judging waited for */
    int n_heard;
    uint8_t heard[SHOAL_MAX_EXPERTS + 1];
    double fitness[SHOAL_MAX_EXPERTS + 1];
    double room[SHOAL_MAX_EXPERTS + 1]; /* for what is left of a judging */
    bool unsaved;                       /* a judging has named a champion in this session */
    int64_t trained[SHOAL_MAX_EXPERTS]; /* newest step each expert reported */
    int64_t round_step;                 /* newest round reported */
    bool evaluating;                    /* the evaluation at standing.step is not in yet */
    struct cadence cadence;             /* what rounds have cost, until standing.every is chosen */
    struct standing standing;           /* after the newest judging or halt */
    int order[SHOAL_MAX_EXPERTS];       /* the experts as it ranked them, and as they travel; */
    uint16_t ranked[SHOAL_MAX_EXPERTS]; /* only where a rule compares them */
    enum wish wish;                     /* not carried out yet */
    bool asked;                         /* to halt, since the last order */
    struct report halted;               /* to be answered; kind 0: none */
    struct shards shards;
    struct standing committed; /* of the newest snapshot that is complete, and */
    int64_t n_committed;       /* its judgings: the next may be ordered in the same event */
    struct history history;
    struct membership membership;
};

static inline bool state_is_expert(const struct coordinator_state *s, int member)
{
    return member >= 0 && member < s->experts;
}

/* ---- shards.c: the snapshot that was ordered ---- */

void state_begin_snapshot(struct coordinator_state *s, struct actions *out);
/* A shard is on disk, or will not be. */
void state_hear_shard(struct coordinator_state *s, const struct report *r, struct actions *out);
/* The shards of lost workers will not come. */
void state_miss_shards(struct coordinator_state *s);
/* The snapshot is decided when all shards have been heard of, so that nobody writes any more where
 * things are removed. */
void state_end_snapshot(struct coordinator_state *s, struct actions *out);

/* ---- losses.c ---- */

/* The experts of lost workers are judged already: they have no fitness. */
void state_hear_lost(struct coordinator_state *s);
/* A worker is lost. SHOAL_EPEER: it was the last. */
enum shoal_status state_lose(struct coordinator_state *s, int worker, struct actions *out);
/* Once all have said where they are, let them go on together. */
void state_renew(struct coordinator_state *s, struct actions *out);
