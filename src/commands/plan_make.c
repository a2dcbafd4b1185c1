/* plan_make.c - the figures of a plan, but for speed. Everything is counted by the functions that
 * training itself allocates, sends and writes by. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "base/machine.h"
#include "commands/plan.h"
#include "data/data.h"
#include "evo/operators.h"
#include "kernels/kernels.h"
#include "model/flops.h"
#include "snapshot/index.h"
#include "snapshot/shard.h"
#include "worker/slice.h"
#include "worker/worker.h"

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t ceil_div(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

/* ---- token files ----------------------------------------------------------------------------- */

static void count_windows(struct plan *p, const struct data *val)
{
    const struct config *c = &p->config;
    const struct slice judging =
        slice_of_judging(data_windows(val), (int64_t)c->evolution.fitness_batches * c->train.batch);
    p->data.judging = judging.n;
    if (c->eval.every > 0) p->data.evaluation = slice_of_evaluation(&judging, c->eval.windows).n;
}

static enum shoal_status count_files(struct plan *p)
{
    const struct config *c = &p->config;
    enum shoal_status st = SHOAL_OK;
    struct data *train = NULL, *val = NULL;
    SHOAL_GOTO(data_open("data.train", c->data.train, c->model.context, c->model.vocab, &train));
    SHOAL_GOTO(data_open("data.val", c->data.val, c->model.context, c->model.vocab, &val));
    p->data.train_tokens = data_tokens(train);
    p->data.bytes = (data_tokens(train) + data_tokens(val)) * (int64_t)sizeof(uint16_t);
    count_windows(p, val);
done:
    data_close(&train);
    data_close(&val);
    return st;
}

/* A plan is wanted before the files are there, too: then it counts as if there were enough. */
static enum shoal_status look_at_data(struct plan *p)
{
    const struct config *c = &p->config;
    const char *missing = "data.train and data.val are not set";
    p->data.judging = (int64_t)c->evolution.fitness_batches * c->train.batch;
    if (c->data.train[0] && c->data.val[0]) {
        const enum shoal_status st = count_files(p);
        if (st != SHOAL_EIO) return st;
        missing = shoal_failure_text();
    }
    (void)snprintf(p->data.missing, sizeof p->data.missing, "%s", missing);
    shoal_failure_told();
    return SHOAL_OK;
}

/* ---- work ------------------------------------------------------------------------------------ */

static void count_work(struct plan *p)
{
    const struct config *c = &p->config;
    const double K = c->population.experts, context = c->model.context;
    const int64_t steps = c->run.steps;
    struct plan_work *w = &p->work;
    w->judgings = 1 + ceil_div(steps, c->evolution.judge);
    if (c->eval.every > 0) w->evaluations = steps > 0 ? ceil_div(steps, c->eval.every) : 1;
    w->flops_per_token = gpt_flops_per_token(&p->table->shape);
    w->tokens = (double)steps * K * c->train.batch * context;
    w->train_flops = w->tokens * w->flops_per_token;
    const double judged = worker_is_parallel(c) ? 1 : K + c->evolution.recombine;
    const double windows = (double)w->judgings * judged * (double)p->data.judging +
                           (double)w->evaluations * (double)p->data.evaluation;
    w->judge_flops = windows * context * w->flops_per_token / 3; /* forward only */
}

/* ---- files ----------------------------------------------------------------------------------- */

static void count_written(struct plan *p)
{
    const struct config *c = &p->config;
    const int members = c->population.experts + c->evolution.recombine;
    struct plan_files *f = &p->files;
    f->shard_bytes = shard_bytes(p->table, evo_needs_velocity(c), evo_needs_own_best(c));
    f->best_bytes = shard_weights_bytes(p->table);
    f->index_bytes = index_file_bytes(c->population.experts, members, p->work.judgings);
    f->snapshot_bytes = c->population.experts * f->shard_bytes + f->index_bytes;
    if (evo_outer_steps(c)) f->snapshot_bytes += shard_outer_bytes(p->table);
    f->snapshots = 1;
    if (c->snapshot.every > 0 && c->run.steps > 0)
        f->snapshots = ceil_div(c->run.steps, c->snapshot.every);
    f->kept = c->snapshot.keep > 0 ? least(c->snapshot.keep, f->snapshots) : f->snapshots;
    /* The next one is there before the oldest goes, so may be that nearest the best, and best.h5 is
     * written beside the old one. */
    f->most_bytes = least(f->kept + 2, f->snapshots) * f->snapshot_bytes + 2 * f->best_bytes;
}

/* ---- layouts --------------------------------------------------------------------------------- */

/* Cores a worker computes on. */
static double core_share(const struct plan *p, const struct plan_layout *l)
{
    return fmin(l->threads, (double)p->cores / l->on_machine);
}

static void count_time(const struct plan *p, const struct config *c, struct plan_layout *l)
{
    const double share = core_share(p, l);
    const double judge_s = p->speed.judge_core_s / share;
    const double alone = worker_is_parallel(c) ? 0 : l->experts; /* the others are shared */
    const double shared = worker_is_parallel(c) || c->evolution.recombine ? 1.0 / l->workers : 0;
    const double evaluated =
        (double)(p->work.evaluations * p->data.evaluation) / (double)p->data.judging;
    l->step_s = p->speed.step_core_s / share;
    l->run_s = (double)c->run.steps * l->experts * l->step_s +
               ((double)p->work.judgings * (alone + shared) + evaluated) * judge_s;
}

struct plan_layout plan_layout_of(const struct plan *p, const struct config *c, int workers)
{
    const int experts = c->population.experts;
    struct plan_layout l = {.workers = workers, .experts = (int)ceil_div(experts, workers)};
    l.on_machine = (int)ceil_div(workers, p->request.machines);
    l.threads = c->threads > 0 ? c->threads : p->cores / l.on_machine;
    if (l.threads < 1) l.threads = 1;
    /* The last worker is one of those that have most. */
    const struct memory_place place = {workers - 1, workers, l.threads, p->gpu, p->gpu_bytes};
    l.memory = memory_of(c, p->table, place);
    l.device_bytes = memory_total(&l.memory, MEMORY_DEVICE);
    l.machine_bytes = l.on_machine * memory_peak(&l.memory);
    l.fits = p->memory_bytes == 0 || l.machine_bytes <= p->memory_bytes;
    l.traffic = exchange_traffic(c, p->table, workers);
    const int64_t params = worker_is_parallel(c) ? p->table->n_real : p->uncut_params;
    l.data_parallel = exchange_data_parallel((double)params, workers);
    count_time(p, c, &l);
    return l;
}

/* ---- advice ---------------------------------------------------------------------------------- */

/* The dearest settings that fit: a smaller micro-batch costs little, recomputation costs time. */
static void advise_to_fit(struct plan *p)
{
    const int batch = p->config.train.batch, present = worker_setup(&p->config).batch;
    for (int r = p->config.train.recompute; r <= RECOMPUTE_BLOCK; r++) {
        for (int micro = present; micro > 0; micro--) {
            struct config c = p->config;
            if (batch % micro != 0) continue;
            c.train.recompute = r;
            c.train.micro_batch = micro;
            if (!plan_layout_of(p, &c, p->layout.workers).fits) continue;
            p->advice.micro_batch = micro;
            p->advice.recompute = r;
            return;
        }
    }
}

static void advise(struct plan *p)
{
    const struct plan_layout *l = &p->layout;
    struct config c = p->config;
    if (p->memory_bytes == 0) return;
    if (!l->fits) {
        advise_to_fit(p);
        p->advice.on_machine = (int)(p->memory_bytes / memory_peak(&l->memory));
        return;
    }
    c.train.recompute = RECOMPUTE_NONE;
    p->advice.keep_activations =
        p->config.train.recompute != RECOMPUTE_NONE && plan_layout_of(p, &c, l->workers).fits;
}

/* ---- the device ------------------------------------------------------------------------------ */

/* A GPU that is asked for is planned for wherever the plan is made. */
static bool on_gpu(const struct config *c)
{
    char id[1][DEVICE_ID];
    int count = 0;
    if (strcmp(c->device, "auto") != 0) return strcmp(c->device, "cuda") == 0;
    const enum shoal_status st = device_list("cuda", id, 1, &count);
    if (st != SHOAL_OK) shoal_failure_told();
    return st == SHOAL_OK && count > 0;
}

/* ---- all of it ------------------------------------------------------------------------------- */

enum shoal_status plan_make(const struct config *c, const struct plan_request *request,
                            struct plan *p)
{
    const struct gpt_shape shape = config_shape(c);
    *p = (struct plan){.config = *c, .request = *request, .uncut = shape};
    p->uncut.layers = shape.layers * c->population.experts;
    p->uncut_params = param_count(&p->uncut);
    p->memory_bytes = machine_memory_bytes();
    p->free_bytes = machine_free_bytes();
    p->cores = machine_cores();
    p->gpu = on_gpu(c);
    SHOAL_TRY(param_table_create(&shape, &p->table));
    SHOAL_TRY(look_at_data(p));
    count_work(p);
    count_written(p);
    SHOAL_TRY(plan_measure(p));
    p->layout = plan_layout_of(p, &p->config, request->workers);
    advise(p);
    return SHOAL_OK;
}

void plan_free(struct plan *p)
{
    param_table_destroy(&p->table);
}
