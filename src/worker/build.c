/* build.c - everything a worker holds, made once, before the first step. */
#include <stdlib.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "evo/operators.h"
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
    const int threads = count_threads(w->cfg, w->comm);
    SHOAL_TRY(device_open(w->cfg->device, comm_node_worker(w->comm), threads, &w->dev));
    SHOAL_CHECK(device_is_host(w->dev), SHOAL_ENOTSUP,
                "device %s keeps its memory apart, and this version exchanges host memory only",
                device_name(w->dev));
    if (w->number == 0)
        log_info("%d worker%s, each on %s", w->workers, w->workers == 1 ? "" : "s",
                 device_describe(w->dev));
    return SHOAL_OK;
}

static enum shoal_status open_data(struct worker *w)
{
    const struct config *c = w->cfg;
    SHOAL_TRY(data_open("data.train", c->data.train, c->model.context, c->model.vocab, &w->train));
    SHOAL_TRY(data_open("data.val", c->data.val, c->model.context, c->model.vocab, &w->val));
    const int64_t all = data_windows(w->val);
    const int64_t wanted = (int64_t)c->evolution.fitness_batches * c->train.batch;
    w->windows = wanted < all ? wanted : all;
    SHOAL_CHECK(w->windows > 0, SHOAL_ECONFIG,
                "data.val: %s holds no window of model.context = %d tokens: use more text",
                c->data.val, c->model.context);
    return SHOAL_OK;
}

static enum shoal_status make_buffers(struct worker *w)
{
    const struct config *c = w->cfg;
    const size_t tokens = (size_t)w->micro * (size_t)c->model.context;
    const size_t passes = (size_t)((w->windows + w->micro - 1) / w->micro);
    const size_t members = (size_t)c->population.experts + 1;
    SHOAL_TRY(mem_alloc(tokens * sizeof *w->tokens, "a batch of tokens", &w->tokens));
    SHOAL_TRY(mem_alloc(tokens * sizeof *w->targets, "a batch of targets", &w->targets));
    SHOAL_TRY(mem_alloc(passes * sizeof *w->pass_losses, "losses", &w->pass_losses));
    SHOAL_TRY(mem_alloc(members * sizeof *w->fitness, "the members' fitness", &w->fitness));
    return mem_alloc((size_t)w->n_own * sizeof *w->parts, "parts of a sum", &w->parts);
}

static enum shoal_status make_slabs(struct worker *w, struct slabs *s, const char *what)
{
    const size_t bytes = (size_t)w->table->n_params * sizeof *s->weights;
    SHOAL_TRY(device_alloc(w->dev, bytes, what, &s->weights));
    if (!evo_needs_moments(w->cfg)) return SHOAL_OK;
    SHOAL_TRY(device_alloc(w->dev, bytes, what, &s->m));
    return device_alloc(w->dev, bytes, what, &s->v);
}

static bool attracts(const struct config *c, enum attractor a)
{
    const struct evo_rule *rule[] = {&c->evolution.body, &c->evolution.io};
    for (int g = 0; g < 2; g++)
        if (evo_rule_active(rule[g]) && rule[g]->attractor == (int)a) return true;
    return false;
}

static enum shoal_status make_exchange(struct worker *w)
{
    const struct config *c = w->cfg;
    if (c->evolution.recombine || attracts(c, ATTRACT_MEAN))
        SHOAL_TRY(make_slabs(w, &w->mean, "the mean of the experts"));
    if (w->workers > 1 && (attracts(c, ATTRACT_BEST) || attracts(c, ATTRACT_LAST)))
        SHOAL_TRY(make_slabs(w, &w->inbox, "another worker's expert"));
    return SHOAL_OK;
}

static enum shoal_status make_expert(struct worker *w, struct own *own, int number)
{
    const struct config *c = w->cfg;
    const uint32_t stream = c->population.init == INIT_SAME ? 0 : (uint32_t)number;
    SHOAL_TRY(expert_create(w->dev, w->table, number, evo_needs_velocity(c), evo_needs_own_best(c),
                            &own->expert));
    return expert_init(own->expert, (uint64_t)c->run.seed, stream, w->table->shape.layers);
}

static enum shoal_status load_expert(struct worker *w, struct own *own, int number, int64_t step)
{
    const struct config *c = w->cfg;
    char path[SHOAL_MAX_PATH];
    SHOAL_TRY(expert_create(w->dev, w->table, number, evo_needs_velocity(c), evo_needs_own_best(c),
                            &own->expert));
    SHOAL_TRY(run_shard_path(path, c->run.out, number, step));
    SHOAL_TRY(shard_read(path, own->expert, &own->history, &own->n_history));
    own->room = own->n_history;
    return SHOAL_OK;
}

static enum shoal_status make_experts(struct worker *w, const struct snapshot_index *resume)
{
    SHOAL_TRY(mem_alloc((size_t)w->n_own * sizeof *w->own, "a worker's experts", &w->own));
    for (int i = 0; i < w->n_own; i++) {
        struct own *own = &w->own[i];
        if (resume) {
            SHOAL_TRY(load_expert(w, own, w->first + i, resume->standing.step));
        } else {
            SHOAL_TRY(make_expert(w, own, w->first + i));
        }
    }
    return SHOAL_OK;
}

enum shoal_status worker_build(struct worker *w, const struct snapshot_index *resume)
{
    const struct config *c = w->cfg;
    const struct gpt_shape shape = config_shape(c);
    w->number = comm_worker(w->comm);
    w->workers = comm_workers(w->comm);
    w->first = worker_first_expert(w->number, w->workers, c->population.experts);
    w->n_own = worker_first_expert(w->number + 1, w->workers, c->population.experts) - w->first;
    w->micro = c->train.micro_batch > 0 ? c->train.micro_batch : c->train.batch;
    w->began_s = clock_now_s() - (resume ? resume->time_s : 0);
    SHOAL_TRY(config_text(c, &w->config_text));
    SHOAL_TRY(open_data(w));
    SHOAL_TRY(open_device(w));
    SHOAL_TRY(param_table_create(&shape, &w->table));
    SHOAL_TRY(gpt_create(w->dev, w->table, w->micro, c->model.context,
                         (enum precision)c->train.precision, true, &w->gpt));
    SHOAL_TRY(make_buffers(w));
    SHOAL_TRY(make_exchange(w));
    return make_experts(w, resume);
}
