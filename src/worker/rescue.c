/* rescue.c - a diverged expert begins again as the best member, under its own number.
 *
 * A round does that for the groups that evolve. The others, and all of them where experts are
 * independent, are brought here, after a judging: it says who is dead and who leads. The place
 * where the weights arrive is the gradients', which nobody needs between two stretches of training.
 */
#include "evo/operators.h"
#include "worker/worker_impl.h"

static const struct evo_rule *rule_of(const struct worker *w, enum param_group group)
{
    return group == GROUP_BODY ? &w->cfg->evolution.body : &w->cfg->evolution.io;
}

static bool needed(const struct worker *w, const struct order *order)
{
    const int experts = w->cfg->population.experts;
    const bool all_evolve =
        evo_rule_active(rule_of(w, GROUP_BODY)) && evo_rule_active(rule_of(w, GROUP_IO));
    return !all_evolve && live_count(&order->live, experts) < experts;
}

/* *weights: the best member's, on this worker's device; NULL: nobody leads any more. */
static enum shoal_status bring_best(struct worker *w, void *place)
{
    const float **const weights = place;
    const struct order *const order = &w->order;
    const int experts = w->cfg->population.experts, best = order->best;
    *weights = NULL;
    if (best < 0) return SHOAL_OK;
    if (best == experts) {
        *weights = w->mean.weights;
        if (w->mean_fresh) return SHOAL_OK;
        return worker_mean(w, &order->live, (struct range){0, w->table->n_params}, false, false);
    }
    const int root = worker_of_expert(best, w->workers, experts);
    float *slab = root == w->number ? w->own[best - w->first].expert->weights : gpt_grads(w->gpt);
    if (w->park && root == w->number) { /* what libraries send lies on the device */
        SHOAL_TRY(device_copy(w->dev, gpt_grads(w->gpt), slab,
                              (size_t)w->table->n_params * sizeof *slab));
        slab = gpt_grads(w->gpt);
    }
    *weights = slab;
    return comm_broadcast(w->comm, slab, w->table->n_params, root);
}

static enum shoal_status revive(struct worker *w, struct expert *e, const struct order *order,
                                const float *best)
{
    for (int g = 0; g < 2; g++) {
        const enum param_group group = g == 0 ? GROUP_BODY : GROUP_IO;
        const struct evolve_args args = {.rule = rule_of(w, group),
                                         .group = group,
                                         .end = w->table->n_params,
                                         .attractor = best,
                                         .dead = true};
        if (evo_rule_active(args.rule)) continue;
        SHOAL_TRY(evolve_group(e, &args));
        e->parent = order->best;
    }
    return SHOAL_OK;
}

enum shoal_status worker_rescue(struct worker *w, const struct order *order)
{
    const float *best = NULL;
    if (!needed(w, order)) return SHOAL_OK;
    SHOAL_TRY(worker_together(w, bring_best, &best));
    if (!best) return SHOAL_OK;
    for (int i = 0; i < w->n_own; i++) {
        struct expert *e = w->own[i].expert;
        if (live_has(&order->live, e->number)) continue;
        park_touch(w, &w->own[i]);
        SHOAL_TRY(revive(w, e, order, best));
    }
    return SHOAL_OK;
}
