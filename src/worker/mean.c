/* mean.c - the recombinant: the mean of the live experts (intermediate recombination). */
#include "evo/operators.h"
#include "worker/worker_impl.h"

static float *slab_of(const struct expert *e, int which)
{
    float *slabs[] = {e->weights, e->adam_m, e->adam_v};
    return slabs[which];
}

/* One slab's mean: sum in the order of the experts' numbers, then scaled. */
static enum shoal_status mean_slab(struct worker *w, float *out, int which,
                                   const struct live_set *live, int64_t begin, int64_t n)
{
    const int n_live = live_count(live, w->cfg->population.experts);
    int n_parts = 0;
    for (int i = 0; i < w->n_own; i++) {
        const struct expert *e = w->own[i].expert;
        if (live_has(live, e->number)) w->parts[n_parts++] = slab_of(e, which) + begin;
    }
    SHOAL_ASSERT(n_live > 0);
    SHOAL_TRY(comm_sum(w->comm, out + begin, w->parts, n_parts, n));
    return kernel_axpby(w->dev, out + begin, out + begin, n, 1.0f / (float)n_live, 0.0f);
}

enum shoal_status worker_mean(struct worker *w, const struct live_set *live, int64_t begin,
                              int64_t end, bool with_moments)
{
    float *out[] = {w->mean.weights, w->mean.m, w->mean.v};
    const int slabs = with_moments ? 3 : 1;
    for (int which = 0; which < slabs; which++)
        SHOAL_TRY(mean_slab(w, out[which], which, live, begin, end - begin));
    return SHOAL_OK;
}

enum shoal_status worker_begin_outside(struct worker *w, const struct snapshot_index *resume)
{
    struct shard_outer *const o = &w->outer;
    const size_t bytes = (size_t)w->table->n_params * sizeof(float);
    if (!evo_outer_steps(w->cfg)) return SHOAL_OK;
    SHOAL_TRY(device_alloc(w->dev, bytes, "the weights last agreed on", &o->agreed));
    SHOAL_TRY(device_alloc(w->dev, bytes, "the velocity of outer steps", &o->velocity));
    if (w->first == 0) w->own[0].past.outer = *o;
    if (!resume) return device_copy(w->dev, o->agreed, w->own[0].expert->weights, bytes);
    char path[SHOAL_MAX_PATH];
    SHOAL_TRY(run_shard_path(path, w->cfg->run.out, 0, resume->standing.step));
    return shard_read_outer(path, w->table, w->dev, o);
}

enum shoal_status worker_step_outside(struct worker *w, int64_t begin, int64_t end)
{
    if (!w->outer.agreed) return SHOAL_OK;
    return evo_outer_step(w->dev, w->mean.weights + begin, w->outer.agreed + begin,
                          w->outer.velocity + begin, end - begin, w->cfg);
}
