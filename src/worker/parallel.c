/* parallel.c - data parallel training: the experts are replicas of one, and every step is taken
 * with the mean of their gradients.
 *
 * The gradients are added in the order of the experts' numbers, so the bits do not depend on how
 * many workers hold them (by NCCL: they do, comm.h). All replicas would therefore take the very
 * same steps: a worker takes them with its first one, and the others are copied from it where
 * somebody looks, at judgings. */
#include <math.h>
#include <string.h>
#include "base/clock.h"
#include "base/memory.h"
#include "optim/optim.h"
#include "worker/worker_impl.h"

struct parallel {
    float **grads;      /* n_own slabs: of each own expert's batch, divided by K */
    double *losses;     /* K: of each expert's batch, */
    double *own_losses; /* n_own: and of the own ones */
    double *halves;     /* 2 W: of a digest of each worker's weights */
};

bool worker_is_parallel(const struct config *cfg)
{
    return cfg->population.mode == POPULATION_DATA_PARALLEL;
}

enum shoal_status parallel_create(struct worker *w)
{
    const size_t bytes = (size_t)w->table->n_params * sizeof(float);
    struct parallel *p = NULL;
    if (!worker_is_parallel(w->cfg)) return SHOAL_OK;
    SHOAL_TRY(mem_alloc(sizeof *p, "data parallel training", &p));
    w->parallel = p;
    const size_t experts = (size_t)w->cfg->population.experts, workers = (size_t)w->workers;
    SHOAL_TRY(mem_alloc(experts * sizeof *p->losses, "the replicas' losses", &p->losses));
    SHOAL_TRY(mem_alloc((size_t)w->n_own * sizeof *p->own_losses, "the replicas' losses",
                        &p->own_losses));
    SHOAL_TRY(mem_alloc(2 * workers * sizeof *p->halves, "digests of weights", &p->halves));
    SHOAL_TRY(mem_alloc((size_t)w->n_own * sizeof *p->grads, "a list of gradients", &p->grads));
    for (int i = 0; i < w->n_own; i++)
        SHOAL_TRY(device_alloc(w->dev, bytes, "a replica's gradients", &p->grads[i]));
    /* Nobody has to ask in every step. */
    for (int k = 0; k < w->cfg->population.experts; k++)
        w->parts_of[worker_of_expert(k, w->workers, w->cfg->population.experts)]++;
    return SHOAL_OK;
}

void parallel_destroy(struct worker *w)
{
    struct parallel *p = w->parallel;
    if (!p) return;
    for (int i = 0; p->grads && i < w->n_own; i++)
        if (p->grads[i]) device_free(w->dev, p->grads[i]);
    mem_free(p->grads);
    mem_free(p->losses);
    mem_free(p->own_losses);
    mem_free(p->halves);
    mem_free(p);
    w->parallel = NULL;
}

/* ---- training -------------------------------------------------------------------------------- */

static int live_replicas(const struct worker *w)
{
    int n = 0;
    for (int k = 0; k < w->cfg->population.experts; k++)
        n += worker_has(w, k);
    return n;
}

/* Every own replica's part of the mean gradient, and its loss. */
static enum shoal_status own_gradients(struct worker *w)
{
    struct parallel *p = w->parallel;
    const size_t bytes = (size_t)w->table->n_params * sizeof(float);
    for (int i = 0; i < w->n_own; i++) {
        struct expert *e = w->own[i].expert;
        SHOAL_TRY(worker_gradients(w, e, live_replicas(w), &p->own_losses[i]));
        SHOAL_TRY(device_copy(w->dev, p->grads[i], gpt_grads(w->gpt), bytes));
        SHOAL_TRY(gpt_zero_grads(w->gpt));
    }
    return SHOAL_OK;
}

/* All gradients and losses. */
static enum shoal_status add_up(struct worker *w, void *nothing)
{
    struct parallel *p = w->parallel;
    const struct comm_exchange x = {.kind = COMM_SUM,
                                    .n = w->table->n_params,
                                    .out = gpt_grads(w->gpt),
                                    .parts = (const float *const *)p->grads,
                                    .n_parts = w->n_own,
                                    .parts_of = w->parts_of};
    (void)nothing;
    memset(p->losses, 0, (size_t)w->cfg->population.experts * sizeof *p->losses);
    for (int i = 0; i < w->n_own; i++)
        p->losses[w->own[i].expert->number] = p->own_losses[i];
    SHOAL_TRY(comm_exchange(w->comm, &x));
    return comm_sum_values(w->comm, p->losses, w->cfg->population.experts);
}

/* The mean gradient into the model, and the mean loss. */
static enum shoal_status average(struct worker *w, double *loss)
{
    struct parallel *p = w->parallel;
    const int experts = w->cfg->population.experts;
    double sum = 0;
    SHOAL_TRY(own_gradients(w));
    SHOAL_TRY(worker_together(w, add_up, NULL));
    for (int k = 0; k < experts; k++)
        sum += p->losses[k];
    *loss = sum / live_replicas(w);
    return SHOAL_OK;
}
static enum shoal_status report_all(struct worker *w, struct step *s, double rate)
{
    for (int i = 0; i < w->n_own; i++) {
        const struct expert *const e = w->own[i].expert;
        s->tokens = e->tokens;
        SHOAL_TRY(worker_report_step(w, e, s, rate));
    }
    return SHOAL_OK;
}

static void note_loss(struct worker *w, double loss)
{
    for (int i = 0; i < w->n_own; i++) {
        w->own[i].past.loss_sum += loss;
        w->own[i].past.losses++;
        w->own[i].past.last_loss = loss;
    }
}

enum shoal_status parallel_train(struct worker *w, int64_t from, int64_t to)
{
    struct own *first = &w->own[0];
    double since_s = clock_now_s();
    int64_t since = from;
    SHOAL_TRY(worker_save_before(w, w->n_own - 1));
    SHOAL_TRY(gpt_load(w->gpt, first->expert->weights));
    SHOAL_TRY(gpt_zero_grads(w->gpt));
    for (int64_t step = from + 1; step <= to; step++) {
        struct step s = {.number = step};
        SHOAL_TRY(average(w, &s.loss));
        SHOAL_TRY(
            optim_step(w->cfg, first->expert, w->gpt, s.loss, &first->past.outlier, &s.result));
        note_loss(w, s.loss);
        SHOAL_TRY(worker_save_poll(w));
        if (step % w->cfg->run.log != 0 && s.result.skip == SKIP_NONE) continue;
        const double now_s = clock_now_s();
        const double tokens = (double)w->cfg->train.batch * w->cfg->model.context * w->n_own;
        const double rate = tokens * (double)(step - since) / (now_s - since_s + 1e-9);
        SHOAL_TRY(report_all(w, &s, rate));
        since_s = now_s;
        since = step;
    }
    return SHOAL_OK;
}

/* ---- judging --------------------------------------------------------------------------------- */

/* The other own replicas as the first one stands now. */
static enum shoal_status copy_to_others(struct worker *w)
{
    const struct own *first = &w->own[0];
    const size_t bytes = (size_t)w->table->n_params * sizeof(float);
    for (int i = 1; i < w->n_own; i++) {
        struct expert *e = w->own[i].expert;
        SHOAL_TRY(device_copy(w->dev, e->weights, first->expert->weights, bytes));
        SHOAL_TRY(device_copy(w->dev, e->adam_m, first->expert->adam_m, bytes));
        SHOAL_TRY(device_copy(w->dev, e->adam_v, first->expert->adam_v, bytes));
        e->step = first->expert->step;
        w->own[i].past.outlier = first->past.outlier;
    }
    return SHOAL_OK;
}

/* Nothing but the order of a sum keeps the workers together; so look whether it did. */
static enum shoal_status check_equal(struct worker *w, int64_t step)
{
    double *const halves = w->parallel->halves;
    uint64_t digest = 0;
    SHOAL_TRY(slab_digest(w->dev, w->own[0].expert->weights, w->table->n_params, &digest));
    memset(halves, 0, 2 * (size_t)w->workers * sizeof *halves);
    halves[2 * w->number] = (double)(digest >> 32);
    halves[2 * w->number + 1] = (double)(digest & 0xFFFFFFFFu);
    SHOAL_TRY(comm_sum_values(w->comm, halves, 2 * w->workers));
    int first = 0;
    while (!comm_lives(w->comm, first))
        first++;
    for (int other = first + 1; other < w->workers; other++)
        SHOAL_CHECK(!comm_lives(w->comm, other) || (halves[2 * other] == halves[2 * first] &&
                                                    halves[2 * other + 1] == halves[2 * first + 1]),
                    SHOAL_ENUMERIC,
                    "at step %lld the replicas of worker %d and worker %d differ, which data "
                    "parallel training rules out: do all workers run on the same kind of "
                    "processor or GPU, and is their memory sound? Continue from the last snapshot",
                    (long long)step, other, first);
    return SHOAL_OK;
}

/* Somebody who is lost in the middle leaves the others at the same step, which all can judge again.
 */
struct judged {
    int64_t step;
    double *fitness;
};

static enum shoal_status judge_all(struct worker *w, void *judged)
{
    const struct judged *const j = judged;
    SHOAL_TRY(check_equal(w, j->step));
    return worker_measure(w, w->own[0].expert->weights, &w->judging, true, j->fitness);
}

enum shoal_status parallel_judge(struct worker *w, int64_t step, double *fitness)
{
    struct judged judged = {step, fitness};
    SHOAL_TRY(copy_to_others(w));
    return worker_together(w, judge_all, &judged);
}
