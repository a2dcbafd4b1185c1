/* worker_impl.h - what the files of worker share. Include only from src/worker/. */
#pragma once
#include "comm/comm.h"
#include "config/config.h"
#include "data/data.h"
#include "evo/protocol.h"
#include "model/expert.h"
#include "model/gpt.h"
#include "snapshot/shard.h"
#include "worker/worker.h"

/* An expert this worker owns, and what it remembers about it. */
struct own {
    struct expert *expert;
    struct history_row *history; /* one row per judging; mem_alloc'ed */
    int64_t n_history, room;     /* rows used, rows allocated */
    double loss_sum;             /* training losses since the last judging */
    int64_t losses;
    double last_loss; /* of the last training step */
};

/* Three slabs as one: an expert's weights and, where a rule needs them, its moments. */
struct slabs {
    float *weights, *m, *v; /* n_params f32 on the device; m and v NULL unless inherited */
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
    int first, n_own;    /* experts first .. first + n_own - 1 */
    struct own *own;
    int micro;                 /* sequences per pass */
    int32_t *tokens, *targets; /* (micro, context) on the host */
    struct slabs mean;         /* of the live experts; slabs NULL where nothing needs them */
    struct slabs inbox;        /* an attractor that came from another worker */
    bool mean_fresh;           /* mean.weights is of the experts as they now stand */
    const float **parts;       /* n_own: the live experts' slabs that go into a sum */
    double *fitness;           /* K + 1 members, at the last judging */
    int64_t windows;           /* of the held-out slice */
    double *pass_losses;       /* one per pass over the slice */
    double began_s;            /* clock_now_s() when the run began, earlier sessions included */
};

/* Parts of worker_create: everything a worker holds. */
enum shoal_status worker_build(struct worker *w, const struct snapshot_index *resume);

/* Train every own expert from step `from` to step `to`, one after the other. Not collective. */
enum shoal_status worker_train(struct worker *w, int64_t from, int64_t to);
/* Judge every member at `step`, report, remember. Collective over the workers. */
enum shoal_status worker_judge(struct worker *w, int64_t step);
/* Exchange and evolve at `step`. `judged`: live and best are of this very step. Collective over the
 * workers. */
enum shoal_status worker_round(struct worker *w, const struct order *order, int64_t step,
                               bool judged);
/* Whether any group evolves at all; without, there are no rounds. */
bool worker_evolves(const struct config *cfg);

/* out.weights[begin .. end) = mean of the live experts' weights (likewise moments when asked for).
 * Collective over the workers. */
enum shoal_status worker_mean(struct worker *w, const uint8_t *live, int64_t begin, int64_t end,
                              bool with_moments);

/* Write best.h5 if this worker holds member `best`. Not collective. */
enum shoal_status worker_save_best(struct worker *w, const struct order *order);
/* Write the shard of every own expert and report each. Not collective. */
enum shoal_status worker_write_shards(struct worker *w, int64_t step);
/* Add a judging to an expert's history. SHOAL_ENOMEM. */
enum shoal_status worker_note_history(struct worker *w, struct own *own, int64_t step);
