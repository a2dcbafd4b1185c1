/* mean.c - the recombinant: the mean of the live experts (intermediate recombination). */
#include <string.h>
#include "evo/operators.h"
#include "worker/exchange.h"
#include "worker/worker_impl.h"

static float *slab_of(const struct slabs *s, int which)
{
    float *slabs[] = {s->weights, s->m, s->v};
    return slabs[which];
}

/* How many live experts each worker has. */
static void count_parts(struct worker *w, const struct live_set *live)
{
    const int experts = w->cfg->population.experts;
    memset(w->parts_of, 0, (size_t)w->workers * sizeof *w->parts_of);
    for (int k = 0; k < experts; k++)
        if (live_has(live, k)) w->parts_of[worker_of_expert(k, w->workers, experts)]++;
}

/* The live own experts' values of a slab, from `begin` on, as parts of a sum. */
static int gather_parts(struct worker *w, int which, const struct live_set *live, int64_t begin)
{
    int n = 0;
    for (int i = 0; i < w->n_own; i++) {
        struct own *const own = &w->own[i];
        const struct slabs sent = worker_sent(w, own);
        if (!live_has(live, own->expert->number)) continue;
        w->lost[n] = own->lost ? own->lost + begin : NULL;
        w->parts[n++] = slab_of(&sent, which) + begin;
    }
    return n;
}

/* One slab's mean: sum in the order of the experts' numbers, then scaled. */
static enum shoal_status mean_slab(struct worker *w, int which, const struct live_set *live,
                                   struct range range)
{
    const int64_t n = range.end - range.begin;
    float *const out = slab_of(&w->mean, which) + range.begin;
    const struct comm_exchange x = {.kind = COMM_SUM,
                                    .n = n,
                                    .out = out,
                                    .parts = w->parts,
                                    .n_parts = gather_parts(w, which, live, range.begin),
                                    .parts_of = w->parts_of};
    SHOAL_TRY(comm_exchange(w->comm, &x));
    const int n_live = live_count(live, w->cfg->population.experts);
    return kernel_axpby(w->dev, out, out, n, 1.0f / (float)n_live, 0.0f);
}

/* The weights' mean as what has changed. */
static enum shoal_status narrow_mean(struct worker *w, const struct live_set *live,
                                     struct range range)
{
    const struct comm_exchange x = {.kind = COMM_MEAN,
                                    .n = range.end - range.begin,
                                    .out = w->mean.weights + range.begin,
                                    .parts = w->parts,
                                    .n_parts = gather_parts(w, 0, live, range.begin),
                                    .parts_of = w->parts_of,
                                    .packing = exchange_packing(w->cfg),
                                    .lost = w->lost_mean ? w->lost : NULL,
                                    .lost_mean = w->lost_mean ? w->lost_mean + range.begin : NULL};
    return comm_exchange(w->comm, &x);
}

enum shoal_status worker_mean(struct worker *w, const struct live_set *live, struct range range,
                              bool with_moments, bool narrow)
{
    const int slabs = with_moments ? 3 : 1;
    SHOAL_ASSERT(live_next(live, 0, w->cfg->population.experts) >= 0);
    if (range.begin == range.end) return SHOAL_OK;
    count_parts(w, live);
    if (narrow) return narrow_mean(w, live, range);
    for (int which = 0; which < slabs; which++)
        SHOAL_TRY(mean_slab(w, which, live, range));
    return SHOAL_OK;
}

enum shoal_status worker_forget_lost(struct worker *w)
{
    const size_t bytes = (size_t)w->table->n_params * sizeof *w->lost_mean;
    if (!w->lost_mean) return SHOAL_OK;
    for (int i = 0; i < w->n_own; i++)
        SHOAL_TRY(device_zero(w->dev, w->own[i].lost, bytes));
    return device_zero(w->dev, w->lost_mean, bytes);
}

enum shoal_status worker_begin_outside(struct worker *w, const struct snapshot_index *resume)
{
    struct shard_outer *const o = &w->outer;
    const size_t bytes = (size_t)w->table->n_params * sizeof(float);
    if (!evo_outer_steps(w->cfg)) return SHOAL_OK;
    if (!o->agreed)
        SHOAL_TRY(device_alloc(w->dev, bytes, "the weights last agreed on", &o->agreed));
    if (!o->velocity)
        SHOAL_TRY(device_alloc(w->dev, bytes, "the velocity of outer steps", &o->velocity));
    if (worker_leads(w)) w->own[0].past.outer = *o;
    if (!resume) return device_copy(w->dev, o->agreed, w->own[0].expert->weights, bytes);
    char path[SHOAL_MAX_PATH];
    /* Whoever spoke for all wrote them with its first expert. */
    int first = 0;
    while (first < resume->experts - 1 && index_shard_step(resume, first) != resume->standing.step)
        first++;
    SHOAL_TRY(run_shard_path(path, w->cfg->run.out, first, resume->standing.step));
    return shard_read_outer(path, w->table, w->dev, o);
}

enum shoal_status worker_step_outside(struct worker *w, int64_t begin, int64_t end)
{
    if (!w->outer.agreed) return SHOAL_OK;
    return evo_outer_step(w->dev, w->mean.weights + begin, w->outer.agreed + begin,
                          w->outer.velocity + begin, end - begin, w->cfg);
}
