/* state.h - the coordinator as a pure state machine: events in, actions out. No MPI, clock or I/O,
 * so that a simulator can drive it and a ledger can replay it. */
#pragma once
#include <stdint.h>
#include "config/config.h"
#include "evo/cadence.h"
#include "evo/ledger.h"
#include "evo/protocol.h"

struct coordinator_state;

enum event_kind {
    EVENT_START,  /* once, first */
    EVENT_REPORT, /* a worker's record */
    EVENT_WISH,   /* somebody wants the run saved or stopped */
    EVENT_LOST    /* a worker has been silent for too long */
};
struct event {
    enum event_kind kind;
    double time_s;        /* since the run started, earlier sessions included */
    struct report report; /* EVENT_REPORT */
    enum wish wish;       /* EVENT_WISH */
    int worker;           /* EVENT_LOST */
};

/* What the loop must do now. Flags are false and pointers NULL where there is nothing to do. */
struct actions {
    bool announce;                /* announcement to every worker, before the order */
    bool send;                    /* order to every worker that is not lost */
    const uint16_t *ranked;       /* what its record ends with (protocol.h); NULL: nothing */
    const struct judging *judged; /* a judging is complete (borrowed until the next event) */
    const struct cadence *paced;  /* order.every was chosen now, by these costs (borrowed) */
    bool commit;  /* all shards of this step are on disk: write the index, then prune */
    bool abandon; /* a snapshot will not be completed: remove what there is of it. Where a new one
                     is ordered, the old one has not come to an end and is of abandon_step */
    int64_t commit_step, abandon_step;
    bool finished; /* nothing more will come */
    bool late;     /* the report was late, repeated or unknown, and was ignored; the wish is
                      no news, or nothing is left to stop */
    /* Where announce and send say so; otherwise not even cleared, being the largest by far. */
    struct announcement announcement;
    struct order order;
};

/* workers: of this session. standing NULL: a new run; else resume from it, with the judgings up to
 * it (n_judgings may be 0; copied). A run that already stands at or past run.steps only stops. */
enum shoal_status coordinator_state_create(const struct config *c, int workers,
                                           const struct standing *standing,
                                           const struct judging *judgings, int64_t n_judgings,
                                           struct coordinator_state **out);
void coordinator_state_destroy(struct coordinator_state **s);
/* The only transition. SHOAL_ENUMERIC: every member's fitness is not finite; out->judged is set all
 * the same, so that it can be recorded. SHOAL_EPEER: no worker is left. */
enum shoal_status coordinator_step(struct coordinator_state *s, const struct event *event,
                                   struct actions *out);
/* How things stand after the newest judging or halt. */
void coordinator_standing(const struct coordinator_state *s, struct standing *out);
/* What the index of the newest snapshot whose shards are all on disk must hold: the standing when
 * it was ordered, and the judgings up to then, oldest first; returns them (borrowed until the next
 * event, not to be changed), n of them. Fitness is kept as reported, NAN and infinities included.
 */
struct judging *coordinator_snapshot(const struct coordinator_state *s, struct standing *standing,
                                     int64_t *n);
/* Whether a worker was declared lost. */
bool coordinator_lost(const struct coordinator_state *s, int worker);
/* Members: K, or K + 1 with a recombinant. */
int coordinator_members(const struct config *c);
