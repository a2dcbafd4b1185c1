/* worker_impl.h - what the files of worker share. Include only from src/worker/. */
#pragma once
#include "base/job.h"
#include "comm/comm.h"
#include "config/config.h"
#include "data/data.h"
#include "evo/live.h"
#include "evo/protocol.h"
#include "model/expert.h"
#include "model/gpt.h"
#include "optim/optim.h"
#include "optim/optim.h"
#include "snapshot/shard.h"
#include "worker/slice.h"
#include "worker/worker.h"

/* Three slabs as one: an expert's weights and, where a rule needs them, its moments. */
struct slabs {
    float *weights, *m, *v; /* n_params f32 on the device; m and v NULL unless inherited */
};

/* An expert this worker owns, and what it remembers about it. */
struct own {
    struct expert *expert;
    struct shard_past past; /* its tables are owned */
    int64_t room;           /* rows allocated for them, */
    int64_t lineage_room;   /* and for its lineage */
    struct slabs outbox;    /* as they were when the round began; NULL without a delay; of a
                             * parked expert it is its home */
    float *lost;            /* what a narrow wire kept of it since the last judging; NULL without */
};

/* A training step, and what became of it. */
struct step {
    int64_t number, tokens; /* tokens: of the expert, this step's included */
    double loss;            /* nats per token */
    struct optim_result result;
};

/* Elements of a slab. */
struct range {
    int64_t begin, end;
};

/* What a group is pulled toward in a round. */
struct pull {
    const struct evo_rule *rule;
    enum param_group group;
    struct range range[2]; /* its elements of the round's fragment; an empty one is not there */
    int member;            /* K: the mean; -1: the group does not evolve now */
    const int32_t *source; /* K: member for each expert, where they differ; else NULL */
    struct slabs slabs;    /* where the member's values are, for these ranges */
};

/* A round between its beginning and its application. Begun at `step`, when the experts' weights are
 * taken; applied at `due`, as the difference it would have made then. */
struct round {
    bool pending;
    int64_t step, due, every;
    bool judged;     /* best and live are of this very step */
    bool mean_fresh; /* mean.weights is of these weights already */
    bool narrow;     /* a mean travels as differences from the last one, in evolution.wire */
    int best;
    int fragment;
    struct live_set live;
    struct pull pull[2];
    double begun_s; /* clock */
    double
        trained_s;  /* training time since the last round began, stalls included; NAN: not known */
    double stall_s; /* that this round kept from training */
    double exchange_s; /* from beginning to the attractors' arrival */
};

struct worker {
    const struct config *cfg; /* borrowed */
    struct comm *comm;        /* borrowed */
    char run_id[40];
    char *config_text; /* owned; goes into every shard */
    struct device *dev;
    struct param_table *table;
    struct gpt *gpt; /* serves one expert at a time */
    struct data *train, *val;
    int number, workers; /* this worker of how many */
    int device;          /* which of the devices it sees */
    int threads;         /* of the device, on the host */
    int first, n_own;    /* experts first .. first + n_own - 1 */
    struct own *own;
    int micro;                 /* sequences per pass */
    int32_t *tokens, *targets; /* (micro, context) on the host */
    struct slabs mean;         /* of the live experts; slabs NULL where nothing needs them */
    struct slabs inbox;        /* an attractor that came from another worker */
    float *moved;              /* what a delayed round makes of an outbox; NULL without a delay */
    float *lost_mean;          /* likewise of the mean, in the stripes that this worker adds */
    struct shard_outer outer;  /* NULL unless the mean is left behind by outer steps */
    bool mean_fresh;           /* mean.weights is of the experts as they now stand */
    const float **parts;       /* n_own: the live experts' slabs that go into a sum, */
    float **lost;              /* and what a narrow wire kept of each */
    int *parts_of;             /* workers: how many each brings */
    struct round round;        /* the present or last one */
    struct job *job;           /* carries a delayed round's exchange; NULL: it is done at once */
    double round_s;            /* clock when training began after the last judging or round */
    uint64_t told_moved;       /* bytes on the wire reported so far */
    double *fitness;           /* K + 1 members, at the last judging */
    double *alive;             /* K: whose last training loss was finite, during a round */
    unsigned char *record;     /* the last order as it came, and what followed it: */
    const uint16_t *ranked;    /* K: the experts, best first; only where a rule compares them */
    int32_t *source;           /* 4 K: whom each expert follows, by group, and room to find out */
    double *rates;             /* K: learning rates, where they are inherited */
    struct slice judging;      /* of the held-out text */
    struct slice evaluation;   /* n 0: there is none */
    double *pass_losses;       /* one per pass over the longer slice */
    double peak_flops_per_s;   /* of the device; NAN: unknown */
    struct park *park;         /* NULL: all own experts stay on the device */
    struct parallel *parallel; /* NULL unless the experts are replicas */
    struct save *save;         /* files on their way to disk */
    double judging_s;          /* clock when the last judging began */
    double began_s;            /* clock_now_s() when the run began, earlier sessions included */
    struct order order;        /* at hand */
    int64_t passed;            /* exchanges that all are known to have come through (together.c) */
    struct report said;        /* last, by whoever speaks for all */
    int stand_in;              /* member that leads while the best of the last judging is lost */
    uint8_t *followed;         /* K: whether each expert has been brought what it follows */
    double *told;              /* K: the same, as all know it */
    int saves_said;            /* signals to save that the coordinator knows of */
    bool stop_said;            /* likewise, to stop */
};

/* ---- together.c ---- */

/* An exchange, which can be repeated. */
typedef enum shoal_status (*pass_fn)(struct worker *w, void *argument);
/* Make a pass; where workers are lost on the way, without them. Collective over the live workers,
 * which all make the same passes. */
enum shoal_status worker_together(struct worker *w, pass_fn work, void *argument);
/* The same in two parts: the first try, on any thread, and what becomes of it, on the main one. */
enum shoal_status worker_attempt(struct worker *w, pass_fn work, void *argument);
enum shoal_status worker_settle(struct worker *w, enum shoal_status st, pass_fn work,
                                void *argument);
/* Nothing is left to do: stay until the coordinator says that this holds for all. */
enum shoal_status worker_linger(struct worker *w);
/* The next record of an order into w->record. */
enum shoal_status worker_await_order(struct worker *w);
/* After a loss: connect the survivors anew; *passed: how many passes they can make. */
enum shoal_status worker_renew(struct worker *w, int64_t *passed);
/* Put the member that leads now for one that was lost. What an order makes workers do together
 * stays as it is: all must do the same. */
void worker_mend_order(const struct worker *w, struct order *order);
/* Strike the experts of lost workers from the living. */
void worker_strike_lost(const struct worker *w, struct live_set *live);
/* Whether this worker speaks for all. */
bool worker_leads(const struct worker *w);
/* Whether an expert's worker is still there. */
bool worker_has(const struct worker *w, int expert);
/* Report it if this worker speaks for all. */
enum shoal_status worker_say_for_all(struct worker *w, const struct report *r);

/* Parts of worker_create: everything a worker holds but its experts. */
enum shoal_status worker_build(struct worker *w);
/* Fine where there are none. */
void worker_forget_experts(struct worker *w);

/* Free what is there. */
void worker_free_slabs(struct device *dev, struct slabs *s);

/* ---- park.c: experts in page-locked memory; none of it is collective, and all but park_create
 * does nothing where w->park is NULL. Whoever works on an expert without having brought it finds
 * its slabs by its pointers, which is right once swaps are settled: so they are whenever
 * worker_train or worker_judge has returned. ---- */

/* What the device holds; nothing where experts are not parked. */
enum shoal_status park_create(struct worker *w);
void park_destroy(struct worker *w);
/* The experts have been made, at home. */
void park_adopt(struct worker *w);
/* They are about to be destroyed: all are at home again, whatever they hold. */
void park_forget(struct worker *w);
/* What is queued on the device from now on finds this own expert there, until another is brought.
 */
enum shoal_status park_bring(struct worker *w, int own);
/* While the own expert that was brought is worked on, the one after it comes. */
enum shoal_status park_bring_next(struct worker *w, int own);
/* What is queued on the device from now on finds all own experts where their pointers say. */
enum shoal_status park_settle(struct worker *w);
/* This expert changes where it is. */
void park_touch(struct worker *w, const struct own *own);
/* Bring all homes up to date; w->park is there. */
enum shoal_status park_send_home(struct worker *w);
/* An attractor that is a parked expert of this worker into the inbox, if there is one: what
 * libraries send lies on the device, and what moves others does not change meanwhile. */
enum shoal_status park_lend(struct worker *w, struct pull *pull);

/* Train every own expert from step `from` to step `to`, one after the other. Not collective, unless
 * the experts are replicas. */
enum shoal_status worker_train(struct worker *w, int64_t from, int64_t to);
/* Gradients of an expert's next batch, divided by `replicas`, into the model, which has the
 * expert's weights loaded and begins with none. *loss: mean nats per token; NULL: not waited for
 * (gpt.h). */
enum shoal_status worker_gradients(struct worker *w, struct expert *e, int replicas, double *loss);
enum shoal_status worker_report_step(struct worker *w, const struct expert *e, const struct step *s,
                                     double tokens_per_s);

/* parallel.c: the experts as replicas that average their gradients. create does nothing in other
 * modes, destroy where nothing was created. */
enum shoal_status parallel_create(struct worker *w);
void parallel_destroy(struct worker *w);
/* All replicas from step `from` to step `to`. Collective over the workers. */
enum shoal_status parallel_train(struct worker *w, int64_t from, int64_t to);
/* Bring all own replicas up to date, see that they equal the other workers', and judge them: one
 * fitness for all. SHOAL_ENUMERIC: they do not. Collective over the workers. */
enum shoal_status parallel_judge(struct worker *w, int64_t step, double *fitness);
/* *loss: mean nats per token of some weights over a slice of the held-out text; the bits depend on
 * nothing else. together: all workers hold these weights and share the work (collective over them);
 * else this worker does it alone. */
enum shoal_status worker_measure(struct worker *w, float *weights, const struct slice *slice,
                                 bool together, double *loss);
/* Judge every member at `step`, report, remember. Collective over the workers. */
enum shoal_status worker_judge(struct worker *w, int64_t step);
/* Evaluate member order->best as judged at order->step, and report. Collective over the workers
 * when it is the recombinant; otherwise its owner works and the others do nothing. */
enum shoal_status worker_eval(struct worker *w, const struct order *order);
/* Begin a round at `step`, and where nothing delays it, end it. `judged`: live and best are of this
 * very step. Collective over the workers. */
enum shoal_status worker_round(struct worker *w, const struct order *order, int64_t step,
                               bool judged);
/* After a judging: give the experts that were not finite the best member's tensors of the groups
 * that no round brings them. Collective over the workers. */
enum shoal_status worker_rescue(struct worker *w, const struct order *order);
/* Whether all workers, which stand at `step` between two judgings, before its round, are to halt
 * there: at least one of them has been asked to. Collective over the workers. */
enum shoal_status worker_halts(struct worker *w, int64_t step, bool *halts);
/* Pass on what signals to this process ask for. Not collective. */
enum shoal_status worker_pass_wishes(struct worker *w, int64_t step);
/* Say that all stand at `step`, before its round. Not collective. */
enum shoal_status worker_report_halt(struct worker *w, int64_t step);
/* After an own expert's training step `step`: apply to it the round that is due. Not collective. */
enum shoal_status worker_round_due(struct worker *w, struct own *own, int64_t step);
/* After all own experts were trained to `step`: report the round that was applied. Not collective.
 */
enum shoal_status worker_round_done(struct worker *w, int64_t step);
/* Let go of a round that has not been applied: the run ends before it is due. Not collective. */
enum shoal_status worker_round_drop(struct worker *w);
/* Bring the attractors of w->round to this worker: the part of a round that may run beside
 * training. Collective over the workers. */
enum shoal_status worker_fetch(struct worker *w);
/* Once they are there on all: the mean is left behind by outer steps. Not collective. */
enum shoal_status worker_leave_behind(struct worker *w);
/* follow.c: set p->source, whom each expert follows in the round after a judging (select.h). */
void worker_find_sources(struct worker *w, struct pull *p);
/* Set p->member and p->slabs for expert k, and bring its values from their worker to k's. Called by
 * all workers for all k in the same order. */
enum shoal_status worker_fetch_for(struct worker *w, struct pull *p, int k);
/* w->told: whom all workers together have served in this round. Collective over them. */
enum shoal_status worker_tell_followed(struct worker *w);
/* Own experts take the learning rates of those they follow, where evolution.inherit_lr says so;
 * source NULL: nobody follows. Collective over the workers. */
enum shoal_status worker_inherit_rates(struct worker *w, const int32_t *source);

/* lineage.c: between these two an expert's weights move by pull[0] (body) and pull[1] (io); note
 * how far in its history, and report it. The model's gradients are lost meanwhile. Not collective.
 */
enum shoal_status lineage_begin(struct worker *w, const struct expert *e);
enum shoal_status lineage_end(struct worker *w, struct own *own, const struct pull *pull,
                              int64_t step, bool dead);
/* Add to an expert's history. SHOAL_ENOMEM. */
enum shoal_status lineage_note(struct own *own, const struct lineage_row *row);
/* Whether any group evolves at all; without, there are no rounds. */
bool worker_evolves(const struct config *cfg);

/* Where the values of an own expert are that a round exchanges. */
struct slabs worker_sent(const struct worker *w, const struct own *own);
/* mean.weights[range] = mean of the live experts' weights (likewise moments when asked for).
 * narrow: as differences from what is there, which must be the same on all workers, in
 * evolution.wire, with what it lost before. Collective over the workers. */
enum shoal_status worker_mean(struct worker *w, const struct live_set *live, struct range range,
                              bool with_moments, bool narrow);
/* Forget what a narrow wire has lost: the mean that all have is exact again. Not collective. */
enum shoal_status worker_forget_lost(struct worker *w);

/* mean.c: what outer steps need, at the beginning of a run or as it was saved; and one such step
 * from w->mean.weights[begin .. end), in place, which then is no mean any more. Both do nothing
 * where no outer steps are taken. Not collective. */
enum shoal_status worker_begin_outside(struct worker *w, const struct snapshot_index *resume);
enum shoal_status worker_step_outside(struct worker *w, int64_t begin, int64_t end);

/* ---- save.c: files, beside training or not; none of it is collective. What cannot be written
 * costs the snapshot and is reported; only what cannot be reported fails. ---- */

enum shoal_status worker_save_create(struct worker *w);
void worker_save_destroy(struct worker *w);
/* As ordered, write best.h5 if this worker holds member `best`; else once more what it could not
 * write as best.h5 before, and still should. */
enum shoal_status worker_save_best(struct worker *w, const struct order *order);
/* Wait until this worker writes no best.h5 any more, so that another may: before its fitnesses are
 * reported. */
enum shoal_status worker_save_await_best(struct worker *w);
/* Begin the shards of all own experts as they stand at `step`; each is reported once it is on disk
 * or has failed. The snapshot before is finished first. */
enum shoal_status worker_write_shards(struct worker *w, int64_t step);
/* Before own experts 0 .. own change: nothing of theirs is to be copied after this. Call it before
 * an expert trains (own: its index) and before a round (own: n_own - 1). */
enum shoal_status worker_save_before(struct worker *w, int own);
/* Between two steps: report what is done, go on with what is not. */
enum shoal_status worker_save_poll(struct worker *w);
/* Wait until everything is on disk and reported. */
enum shoal_status worker_save_drain(struct worker *w);
/* The same at the end of a run. SHOAL_EIO: best.h5 could not be written. */
enum shoal_status worker_save_end(struct worker *w);
/* Add a judging to an expert's history. SHOAL_ENOMEM. */
enum shoal_status worker_note_history(struct worker *w, struct own *own, int64_t step);
/* norms.c: add the norms of its tensors at a judging; and in the round after it, before the expert
 * moves, how far it is from what pull[0] and pull[1] bring. The model's gradients are lost then.
 * Not collective. */
enum shoal_status worker_note_norms(struct worker *w, struct own *own, int64_t step);
enum shoal_status worker_note_distance(struct worker *w, struct own *own, const struct pull *pull,
                                       int64_t step);
