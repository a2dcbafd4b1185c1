/* build.c - everything a worker holds, made once, before the first step. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "evo/operators.h"
#include "evo/plan.h"
#include "model/flops.h"
#include "worker/exchange.h"
#include "worker/peak.h"
#include "worker/worker_impl.h"

/* A launcher that binds every rank to one core starves OpenMP; say so, once. */
static void warn_if_bound(const struct comm *comm, int share)
{
    const long cores = sysconf(_SC_NPROCESSORS_ONLN);
    const int fair = (int)(cores / comm_node_workers(comm));
    if (share < fair)
        log_warn("the launcher binds this worker to %d of its fair share of %d cores; "
                 "mpirun --bind-to none would give it all of them",
                 share, fair);
}

/* `threads`, else OMP_NUM_THREADS, else this worker's share of the cores. */
static int count_threads(const struct config *cfg, const struct comm *comm)
{
    const char *env = getenv("OMP_NUM_THREADS");
    if (cfg->threads > 0) return cfg->threads;
    if (env) {
        /* OpenMP allows a list, one entry per level: the first is ours. */
        const long n = strtol(env, NULL, 10);
        if (n > 0 && n < 4096) return (int)n;
    }
    const int share = comm_core_share(comm);
    warn_if_bound(comm, share);
    return share;
}

static enum shoal_status open_device(struct worker *w)
{
    w->threads = count_threads(w->cfg, w->comm);
    return device_open(w->cfg->device, w->device, w->threads, &w->dev);
}

static enum shoal_status open_data(struct worker *w)
{
    const struct config *c = w->cfg;
    SHOAL_TRY(data_open("data.train", c->data.train, c->model.context, c->model.vocab, &w->train));
    SHOAL_TRY(data_open("data.val", c->data.val, c->model.context, c->model.vocab, &w->val));
    const int64_t all = data_windows(w->val);
    SHOAL_CHECK(all > 0, SHOAL_ECONFIG,
                "data.val: %s holds no window of model.context = %d tokens: use more text",
                c->data.val, c->model.context);
    w->judging = slice_of_judging(all, (int64_t)c->evolution.fitness_batches * c->train.batch);
    if (c->eval.every == 0) return SHOAL_OK;
    w->evaluation = slice_of_evaluation(&w->judging, c->eval.windows);
    if (w->number == 0 && !w->evaluation.left)
        log_warn("all %lld windows of data.val judge, so evaluations (eval.every) use the same and "
                 "flatter the best member; use more held-out text or lower "
                 "evolution.fitness_batches",
                 (long long)all);
    return SHOAL_OK;
}

static enum shoal_status make_buffers(struct worker *w)
{
    const struct config *c = w->cfg;
    const size_t tokens = (size_t)w->micro * (size_t)c->model.context;
    const int64_t longest = w->evaluation.n > w->judging.n ? w->evaluation.n : w->judging.n;
    const size_t passes = (size_t)((longest + w->micro - 1) / w->micro);
    const size_t members = (size_t)c->population.experts + 1;
    SHOAL_TRY(mem_alloc(tokens * sizeof *w->tokens, "a batch of tokens", &w->tokens));
    SHOAL_TRY(mem_alloc(tokens * sizeof *w->targets, "a batch of targets", &w->targets));
    SHOAL_TRY(mem_alloc(passes * sizeof *w->pass_losses, "losses", &w->pass_losses));
    SHOAL_TRY(mem_alloc(members * sizeof *w->fitness, "the members' fitness", &w->fitness));
    SHOAL_TRY(mem_alloc(2 * members * sizeof *w->alive, "who is alive", &w->alive));
    SHOAL_TRY(mem_alloc((size_t)w->workers * sizeof *w->parts_of, "parts", &w->parts_of));
    SHOAL_TRY(mem_alloc(order_record_bytes(c), "an order", &w->record));
    SHOAL_TRY(mem_alloc(4 * members * sizeof *w->source, "who follows whom", &w->source));
    SHOAL_TRY(mem_alloc(members * sizeof *w->followed, "who followed whom", &w->followed));
    SHOAL_TRY(mem_alloc(members * sizeof *w->told, "who followed whom", &w->told));
    SHOAL_TRY(mem_alloc(members * sizeof *w->rates, "the experts' learning rates", &w->rates));
    SHOAL_TRY(mem_alloc((size_t)w->n_own * sizeof *w->lost, "parts of a mean", &w->lost));
    return mem_alloc((size_t)w->n_own * sizeof *w->parts, "parts of a sum", &w->parts);
}

static enum shoal_status make_slabs(struct worker *w, struct slabs *s, const char *what)
{
    const size_t bytes = (size_t)w->table->n_params * sizeof *s->weights;
    SHOAL_TRY(device_alloc(w->dev, bytes, what, &s->weights));
    if (exchange_slabs(w->cfg) == 1) return SHOAL_OK;
    SHOAL_TRY(device_alloc(w->dev, bytes, what, &s->m));
    return device_alloc(w->dev, bytes, what, &s->v);
}

/* A delayed round's copies, and the thread that exchanges them. */
static enum shoal_status make_outboxes(struct worker *w)
{
    const size_t bytes = (size_t)w->table->n_params * sizeof *w->moved;
    if (!exchange_keeps_outbox(w->cfg)) return SHOAL_OK;
    for (int i = 0; !w->park && i < w->n_own; i++)
        SHOAL_TRY(make_slabs(w, &w->own[i].outbox, "an expert's weights on their way"));
    SHOAL_TRY(device_alloc(w->dev, bytes, "an expert's weights as a round moves them", &w->moved));
    if (comm_may_overlap(w->comm)) return job_create(&w->job);
    log_warn("this MPI cannot be called from two threads, so exchanges do not run beside training: "
             "the results are the same, evolution.delay only costs time");
    return SHOAL_OK;
}

/* What a narrow wire keeps. */
static enum shoal_status make_lost(struct worker *w)
{
    const size_t bytes = (size_t)w->table->n_params * sizeof *w->lost_mean;
    const char *const what = "what the wire has lost";
    if (!exchange_keeps_lost(w->cfg)) return SHOAL_OK;
    for (int i = 0; i < w->n_own; i++)
        SHOAL_TRY(device_alloc(w->dev, bytes, what, &w->own[i].lost));
    return device_alloc(w->dev, bytes, what, &w->lost_mean);
}

static enum shoal_status make_exchange(struct worker *w)
{
    if (exchange_keeps_mean(w->cfg)) SHOAL_TRY(make_slabs(w, &w->mean, "the mean of the experts"));
    if (exchange_keeps_inbox(w->cfg, w->workers, w->park != NULL))
        SHOAL_TRY(make_slabs(w, &w->inbox, "another worker's expert"));
    return SHOAL_OK;
}

static enum shoal_status make_room(struct worker *w, struct own *own, int number)
{
    const bool velocity = evo_needs_velocity(w->cfg), best = evo_needs_own_best(w->cfg);
    return w->park ? expert_create_pinned(w->dev, w->table, number, velocity, best, &own->expert)
                   : expert_create(w->dev, w->table, number, velocity, best, &own->expert);
}

static enum shoal_status make_expert(struct worker *w, struct own *own, int number, uint32_t stream)
{
    const struct config *c = w->cfg;
    SHOAL_TRY(make_room(w, own, number));
    own->expert->lr_scale = plan_lr_scale(c, number);
    return expert_init(own->expert, (uint64_t)c->run.seed, stream, w->table->shape.layers);
}

/* step: of its shard, which is older than the snapshot where its worker had been lost. */
static enum shoal_status load_expert(struct worker *w, struct own *own, int number, int64_t step)
{
    const struct config *c = w->cfg;
    char path[SHOAL_MAX_PATH];
    SHOAL_TRY(make_room(w, own, number));
    SHOAL_TRY(run_shard_path(path, c->run.out, number, step));
    SHOAL_TRY(shard_read(path, own->expert, &own->past));
    own->room = own->past.n_judgings;
    own->lineage_room = own->past.n_lineage;
    return SHOAL_OK;
}

/* Where experts have joined, the mean of all has another number than when this was written. */
static void renumber_mean(struct own *own, const struct snapshot_index *resume)
{
    struct shard_past *const past = &own->past;
    const int was = resume->stored, is = resume->experts;
    if (own->expert->parent == was) own->expert->parent = is;
    for (int64_t i = 0; i < past->n_lineage; i++) {
        if (past->lineage[i].body == was) past->lineage[i].body = is;
        if (past->lineage[i].io == was) past->lineage[i].io = is;
    }
}

/* An expert that joins: new, or a copy with a data stream of its own, whose past is that copy. */
static enum shoal_status join(struct worker *w, struct own *own, const struct joined_row *joined)
{
    const int number = joined->expert, parent = joined->parent;
    if (parent < 0) return make_expert(w, own, number, (uint32_t)number);
    SHOAL_TRY(load_expert(w, own, parent, joined->step));
    own->expert->number = number;
    own->expert->parent = parent;
    own->expert->position = 0;
    shard_past_free(&own->past);
    own->room = own->lineage_room = 0;
    own->past.outlier.skipped = 0;
    own->past.loss_sum = 0;
    own->past.losses = 0;
    return lineage_note(own, &(struct lineage_row){.step = joined->step,
                                                   .body = parent,
                                                   .io = parent,
                                                   .kind = LINEAGE_COPIED,
                                                   .lr_scale = own->expert->lr_scale});
}

static enum shoal_status take_up(struct worker *w, struct own *own, int number,
                                 const struct snapshot_index *resume)
{
    const struct joined_row *joined = index_beginner(resume, number);
    if (joined) return join(w, own, joined);
    if (index_shard_step(resume, number) < 0)
        return make_expert(w, own, number,
                           w->cfg->population.init == INIT_SAME ? 0 : (uint32_t)number);
    SHOAL_TRY(load_expert(w, own, number, index_shard_step(resume, number)));
    if (resume->stored < resume->experts) renumber_mean(own, resume);
    return SHOAL_OK;
}

static enum shoal_status make_experts(struct worker *w, const struct snapshot_index *resume)
{
    const bool same = w->cfg->population.init == INIT_SAME;
    for (int i = 0; i < w->n_own; i++) {
        struct own *own = &w->own[i];
        const int number = w->first + i;
        if (resume) {
            SHOAL_TRY(take_up(w, own, number, resume));
        } else {
            SHOAL_TRY(make_expert(w, own, number, same ? 0 : (uint32_t)number));
        }
    }
    return SHOAL_OK;
}

/* A figure for people: without it the run goes on all the same. */
static void measure_peak(struct worker *w, int64_t steps)
{
    const struct config *c = w->cfg;
    const double tokens = (double)steps * w->n_own * c->train.batch * c->model.context;
    const double run_flops = tokens * gpt_flops_per_token(&w->table->shape);
    if (peak_measure(w->dev, (enum precision)c->train.precision, run_flops, &w->peak_flops_per_s) ==
        SHOAL_OK)
        return;
    log_warn("the device's peak is unknown, so no utilisation will be shown: %s",
             shoal_failure_text());
    shoal_failure_told();
    w->peak_flops_per_s = NAN;
}

enum shoal_status worker_begin(struct worker *w, const char *run_id,
                               const struct snapshot_index *resume)
{
    (void)snprintf(w->run_id, sizeof w->run_id, "%s", run_id);
    w->began_s = clock_now_s() - (resume ? resume->time_s : 0);
    worker_forget_experts(w);
    SHOAL_TRY(make_experts(w, resume));
    park_adopt(w);
    SHOAL_TRY(worker_begin_outside(w, resume));
    measure_peak(w, w->cfg->run.steps - (resume ? resume->standing.step : 0));
    return SHOAL_OK;
}

enum shoal_status worker_build(struct worker *w)
{
    const struct config *c = w->cfg;
    const struct gpt_shape shape = config_shape(c);
    w->number = comm_worker(w->comm);
    w->workers = comm_workers(w->comm);
    w->first = worker_first_expert(w->number, w->workers, c->population.experts);
    w->n_own = worker_first_expert(w->number + 1, w->workers, c->population.experts) - w->first;
    w->micro = worker_setup(c).batch;
    SHOAL_TRY(config_text(c, &w->config_text));
    SHOAL_TRY(open_data(w));
    SHOAL_TRY(open_device(w));
    SHOAL_TRY(param_table_create(&shape, &w->table));
    SHOAL_TRY(gpt_create(w->dev, w->table, worker_setup(c), &w->gpt));
    SHOAL_TRY(make_buffers(w));
    SHOAL_TRY(park_create(w));
    SHOAL_TRY(make_exchange(w));
    SHOAL_TRY(mem_alloc((size_t)w->n_own * sizeof *w->own, "a worker's experts", &w->own));
    SHOAL_TRY(make_lost(w));
    SHOAL_TRY(make_outboxes(w));
    SHOAL_TRY(parallel_create(w));
    return worker_save_create(w);
}
