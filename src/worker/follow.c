/* follow.c - a round in which experts follow different ones: weights travel from one worker to
 * another, and nobody else hears of it.
 *
 * All workers go through the same list in the same order, each through the moves that concern it,
 * so that no two wait for each other; whoever is followed does not move (select.h), so that it does
 * not matter when its weights are taken. */
#include "comm/comm.h"
#include "evo/select.h"
#include "worker/worker_impl.h"

/* The group's values of expert `member`, which worker `from` owns and worker `to` wants, to where
 * p->slabs says on either. */
static enum shoal_status move_group(struct worker *w, const struct pull *p, int from, int to)
{
    const int slabs = p->rule->moments == MOMENTS_INHERIT ? 3 : 1;
    float *const slab[] = {p->slabs.weights, p->slabs.m, p->slabs.v};
    struct range range[2];
    const int ranges = worker_group_ranges(w->table, p->group, range);
    for (int r = 0; r < ranges; r++)
        for (int i = 0; i < slabs; i++)
            SHOAL_TRY(comm_move(w->comm, slab[i] + range[r].begin, range[r].end - range[r].begin,
                                from, to));
    return SHOAL_OK;
}

/* Expert k, on worker `to`, takes its step toward p->member. */
static enum shoal_status follow(struct worker *w, struct pull *p, int k, int64_t step, bool dead)
{
    const int experts = w->cfg->population.experts;
    const int from = worker_of_expert(p->member, w->workers, experts);
    const int to = worker_of_expert(k, w->workers, experts);
    if (from != w->number && to != w->number) return SHOAL_OK;
    p->slabs = w->inbox;
    if (from == w->number) {
        const struct expert *e = w->own[p->member - w->first].expert;
        p->slabs = (struct slabs){e->weights, e->adam_m, e->adam_v};
    }
    if (from != to) SHOAL_TRY(move_group(w, p, from, to));
    if (to != w->number) return SHOAL_OK;
    return worker_evolve(w, w->own[k - w->first].expert, p, step, dead);
}

enum shoal_status worker_follow(struct worker *w, struct pull *p, const struct live_set *live,
                                int64_t step, bool *moved)
{
    const struct config *c = w->cfg;
    const int experts = c->population.experts;
    const struct selection selection = {.experts = experts,
                                        .seed = (uint64_t)c->run.seed,
                                        .round = step / c->evolution.every,
                                        .live = live,
                                        .ranked = w->ranked,
                                        .top = c->evolution.top};
    select_sources((enum attractor)p->rule->attractor, &selection, w->source, w->source + experts);
    for (int k = 0; k < experts; k++) {
        p->member = w->source[k];
        if (p->member < 0) continue;
        *moved = true;
        SHOAL_TRY(follow(w, p, k, step, !live_has(live, k)));
    }
    p->member = -1;
    return SHOAL_OK;
}
