/* world.h - everything that is there in a simulated run: processes, the lines between them, the
 * workers' group and the disk. Shared by simulator.c, sim_worker.c, group.c and disk.c. */
#pragma once
#include <stdio.h>
#include "coordinator/audit.h"
#include "coordinator/history.h"
#include "coordinator/queue.h"
#include "coordinator/simulator.h"

/* What a worker does next; the names follow src/worker/. */
enum stage {
    STAGE_OBEY,
    STAGE_BEST,
    STAGE_BEST_WRITTEN,
    STAGE_EVAL,
    STAGE_EVAL_DONE,
    STAGE_RESCUE,
    STAGE_RESCUED,
    STAGE_ROUND,
    STAGE_LIVE,
    STAGE_CHOOSE,
    STAGE_FETCH,
    STAGE_FETCHED,
    STAGE_MOVE,
    STAGE_FOLLOW,
    STAGE_ROUND_DONE,
    STAGE_HALT,
    STAGE_HALTED,
    STAGE_SHARDS,
    STAGE_NEXT,
    STAGE_TRAIN,
    STAGE_TRAINED,
    STAGE_DRAIN,
    STAGE_JUDGE,
    STAGE_JUDGED,
    STAGE_MEAN,
    STAGE_MEAN_DONE,
    STAGE_PASSES_DONE,
    STAGE_GONE,
    STAGES
};

/* A line of reports to the coordinator, a ring. */
struct line {
    struct report *ring; /* owned */
    int first, n, capacity;
    int64_t newest_us; /* when the newest arrives: nothing overtakes on a line */
};

struct call; /* a collective of the workers */

struct sim_worker {
    int number, first, n_own;
    enum stage stage;
    bool dead;                /* killed */
    bool deaf;                /* what the dead coordinator still sent never comes */
    bool waits;               /* for an order */
    int n_came, n_done;       /* orders: arrived, carried out or begun */
    const struct order *task; /* at hand; what only calls to halt is none */
    int64_t order_us;         /* when the newest order arrives */
    int own;                  /* which of its experts is at hand */
    int64_t step, next;       /* of training: from, to */
    bool judged;              /* the round at hand follows a judging */
    enum wish wish;           /* what a signal to it asks for, until it has said so */
    int group;                /* of the round at hand */
    int toward[PHYSICS_GROUPS];
    uint64_t source[PHYSICS_GROUPS];
    const int32_t *follows[PHYSICS_GROUPS]; /* whom each expert does, where they differ; NULL */
    int pull;      /* of the list of all that follow, the one at hand: expert and group */
    int awaits;    /* the worker it wants to meet for that; -1 */
    bool met;      /* they have met */
    uint64_t gift; /* what the other one brought */
    const struct live_set *live; /* of the round at hand: the order's or a call's */
    bool mean_fresh;
    struct weights mean;
    uint32_t n_calls;  /* collectives entered */
    struct call *call; /* the last one */
    int follower;      /* next worker that waits for the same; -1 */
    int64_t saved;     /* step of the snapshot being written, or written last */
    int n_written;     /* of its shards */
    bool writing;
    bool drains;  /* waits until they are all written */
    int slowness; /* of a straggler: times slower */
    struct line line;
};

enum call_kind {
    CALL_EVAL,
    CALL_LIVE,
    CALL_FETCH,
    CALL_RESCUE,
    CALL_ADD,
    CALL_HALT,
    CALL_FITNESS,
    CALL_PASSES
};
enum { CALLS = 16 }; /* that may be under way at a time; the sums among them keep it far lower */

/* What all who enter must agree on. */
struct call_id {
    enum call_kind kind;
    int64_t step;
    int member, group; /* 0 where they mean nothing */
    int root;          /* of a broadcast; -1: a sum, which nobody leaves before all have entered */
};

struct call {
    uint32_t number;
    struct call_id id;
    int n_entered;
    bool root_here;
    int waiting;            /* first worker of a list; -1 */
    struct live_set live;   /* CALL_LIVE, CALL_FITNESS */
    struct blend blend;     /* CALL_ADD */
    bool asked;             /* CALL_HALT */
    uint64_t value;         /* CALL_FETCH */
    struct weights weights; /* CALL_RESCUE */
};

/* A snapshot's files. */
struct stored {
    int64_t step;
    struct weights *shard; /* owned, of every expert */
    uint8_t *there;        /* owned, which of them */
    bool indexed;
    double time_s;
    struct standing standing;
    struct history judgings;
};

struct disk {
    struct stored **stored; /* owned; in the order in which they were begun */
    int n, capacity;
    struct best_file best;
    int64_t errors_in; /* writes from now, one fails; below 0: none does */
};

enum { STRAYS = 32, WISHES = 6 /* in one session, at most */ };

struct world {
    const struct simulation *sim;
    struct outcome *out;
    FILE *trace; /* borrowed; NULL: silent */
    uint64_t draw;
    int64_t now_us, begun_us; /* begun: when time 0 of the clock was */
    struct queue queue;
    struct oracle oracle;
    struct audit audit;
    struct disk disk;

    struct coordinator_state *coordinator;
    bool coordinator_dead;
    struct order *orders; /* owned; sent since the last start */
    uint16_t *ranked;     /* owned; (orders, experts) as they came with them; NULL: nothing does */
    int32_t *follows;     /* owned; (workers, 4, experts) for sim_worker's, and room; likewise */
    int n_orders, max_orders;
    struct sim_worker *workers; /* owned */
    int n_workers, max_workers; /* now; ever */
    struct weights *experts;    /* owned */
    struct weights *staged;     /* owned; copies of them, for the disk */
    struct call calls[CALLS];
    struct report strays[STRAYS]; /* reports that will come once more */
    bool stray_used[STRAYS];

    /* what goes wrong until the next start */
    bool doomed;      /* somebody died: the launcher will end it */
    bool over;        /* the launcher did, or the run failed by itself */
    bool finished;    /* the coordinator is done and gone */
    bool lost;        /* but the last snapshot could not be written */
    int64_t death_in; /* events from now; below 0: nobody dies so */
    int64_t wish_in;  /* likewise, until somebody wants the run saved or stopped */
    int n_wishes;
    int64_t commit_death; /* commits from now after which the coordinator dies; below 0: none */
};

/* ---- what all use ---- */

/* Uniform in [0, below). */
uint64_t world_draw(struct world *s, uint64_t below);
/* Time until something that was sent arrives, and that something takes. */
int64_t world_latency_us(struct world *s);
int64_t world_work_us(struct world *s, const struct sim_worker *w, int64_t base_us);
void world_wake(struct world *s, int worker, int64_t delay_us);
/* The worker's writer goes on after this time. */
void world_write(struct world *s, int worker, int64_t delay_us);
/* This process (-1: the coordinator) is gone, or fails and takes the others down. */
void world_die(struct world *s, int worker, const char *why);
void world_trace(const struct world *s, const char *format, ...);
/* Worker -> coordinator. */
void world_say(struct world *s, struct sim_worker *w, const struct report *r);

/* ---- sim_worker.c ---- */

void sim_worker_begin(struct world *s, int number, int64_t step);
/* Go on until it must wait. */
void sim_worker_go(struct world *s, struct sim_worker *w);
const char *sim_worker_stage(const struct sim_worker *w);

/* ---- sim_writer.c: what writes beside training ---- */

/* Copy the worker's experts, and write one after the other. */
void sim_writer_begin(struct world *s, struct sim_worker *w, int64_t step);
void sim_writer_go(struct world *s, struct sim_worker *w);

/* ---- group.c ---- */

enum { GROUP_WAIT = -1 };
/* Enter the worker's next collective; it must be the same as the others' in every argument. */
struct call *group_enter(struct world *s, struct sim_worker *w, const struct call_id *what);
/* After adding to it: delay until this worker leaves, or GROUP_WAIT when others will wake it. */
int64_t group_leave(struct world *s, struct sim_worker *w);

/* ---- disk.c ---- */

void disk_free(struct disk *d);
/* Whether a write fails now. */
bool disk_fails(struct disk *d);
void disk_write_shard(struct disk *d, int experts, int expert, int64_t step,
                      const struct weights *w);
/* Remove what there is of a snapshot. */
void disk_drop(struct disk *d, int64_t step);
/* The snapshot that an index of this step would commit; NULL when it has no shard at all. */
struct stored *disk_find(const struct disk *d, int64_t step);
/* The newest snapshot with an index; NULL. */
struct stored *disk_newest(const struct disk *d);
/* Forget all but the newest `keep` indices, and older shards. */
void disk_prune(struct disk *d, int64_t keep);
struct audit_index disk_index(const struct disk *d, const struct stored *s, int experts);
