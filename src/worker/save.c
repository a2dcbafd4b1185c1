/* save.c - what a worker puts on disk: its experts' shards, the best member, and their history. */
#include <math.h>
#include <string.h>
#include "base/clock.h"
#include "base/machine.h"
#include "base/memory.h"
#include "worker/worker_impl.h"

enum shoal_status worker_note_history(struct worker *w, struct own *own, int64_t step)
{
    const struct history_row row = {
        .step = step,
        .fitness = own->expert->fitness,
        .train_loss = own->past.losses ? own->past.loss_sum / (double)own->past.losses : NAN,
        .time_s = clock_now_s() - w->began_s};
    struct shard_past *past = &own->past;
    if (past->n_judgings == own->room) {
        struct history_row *more = NULL;
        const int64_t room = own->room * 2 + 16;
        SHOAL_TRY(mem_alloc((size_t)room * sizeof *more, "an expert's history", &more));
        if (past->n_judgings) memcpy(more, past->judgings, (size_t)past->n_judgings * sizeof *more);
        mem_free(past->judgings);
        past->judgings = more;
        own->room = room;
    }
    past->judgings[past->n_judgings++] = row;
    past->loss_sum = 0;
    past->losses = 0;
    return SHOAL_OK;
}

static struct shard_info describe(const struct worker *w, const struct expert *e, int64_t step)
{
    struct shard_info info = {.expert = e->number,
                              .worker = w->number,
                              .step = step,
                              .tokens = e->tokens,
                              .fitness = e->fitness,
                              .parent = e->parent,
                              .config = w->config_text};
    memcpy(info.run_id, w->run_id, sizeof info.run_id);
    return info;
}

enum shoal_status worker_save_best(struct worker *w, const struct order *order)
{
    const int experts = w->cfg->population.experts;
    const bool is_mean = order->best == experts;
    const int holder = is_mean ? 0 : worker_of_expert(order->best, w->workers, experts);
    char path[SHOAL_MAX_PATH];
    int64_t bytes = 0;
    if (holder != w->number) return SHOAL_OK;
    const struct expert *e = w->own[is_mean ? 0 : order->best - w->first].expert;
    struct shard_info info = describe(w, e, order->step);
    info.fitness = order->best_fitness;
    if (is_mean) {
        SHOAL_ASSERT(w->mean_fresh);
        info.expert = experts;
        info.tokens *= experts; /* what its parents learned, it has seen */
        info.parent = -1;
    }
    SHOAL_TRY(run_best_path(path, w->cfg->run.out));
    return shard_write_weights(path, &info, w->table, w->dev,
                               is_mean ? w->mean.weights : e->weights, &bytes);
}

static enum shoal_status write_shard(struct worker *w, const struct own *own, int64_t step)
{
    const double start_s = clock_now_s();
    const struct shard_info info = describe(w, own->expert, step);
    char path[SHOAL_MAX_PATH];
    int64_t bytes = 0;
    SHOAL_TRY(run_shard_path(path, w->cfg->run.out, own->expert->number, step));
    SHOAL_TRY(shard_write(path, &info, own->expert, &own->past, &bytes));
    const struct report r = {.kind = REPORT_WROTE,
                             .worker = w->number,
                             .member = own->expert->number,
                             .step = step,
                             .count = {bytes, process_peak_bytes()},
                             .value = {clock_now_s() - start_s}};
    return comm_report(w->comm, &r, sizeof r);
}

enum shoal_status worker_write_shards(struct worker *w, int64_t step)
{
    for (int i = 0; i < w->n_own; i++)
        SHOAL_TRY(write_shard(w, &w->own[i], step));
    return SHOAL_OK;
}
