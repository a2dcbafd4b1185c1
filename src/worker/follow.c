/* follow.c - a round in which experts follow different ones: weights travel from one worker to
 * another, and nobody else hears of it.
 *
 * All workers go through the same list in the same order, each through the moves that concern it,
 * so that no two wait for each other; whoever is followed does not move (select.h), so that it does
 * not matter when its weights are taken. */
#include <string.h>
#include "comm/comm.h"
#include "evo/select.h"
#include "worker/worker_impl.h"

/* The group's values of expert `member`, which worker `from` owns and worker `to` wants, to where
 * p->slabs says on either. */
static enum shoal_status move_group(struct worker *w, const struct pull *p, int from, int to)
{
    const int slabs = p->rule->moments == MOMENTS_INHERIT ? 3 : 1;
    float *const slab[] = {p->slabs.weights, p->slabs.m, p->slabs.v};
    const bool concerned = from == w->number || to == w->number;
    for (int i = 0; i < 2; i++) {
        const int64_t n = p->range[i].end - p->range[i].begin;
        for (int s = 0; s < slabs && n > 0; s++) {
            if (concerned)
                SHOAL_TRY(comm_move(w->comm, slab[s] + p->range[i].begin, n, from, to));
            else
                comm_note_moved(w->comm, (uint64_t)n * sizeof(float));
        }
    }
    return SHOAL_OK;
}

enum shoal_status worker_fetch_for(struct worker *w, struct pull *p, int k)
{
    const int experts = w->cfg->population.experts;
    p->member = p->source[k];
    if (p->member >= 0 && !worker_has(w, p->member)) p->member = -1; /* so it stays */
    if (p->member < 0) return SHOAL_OK;
    const int from = worker_of_expert(p->member, w->workers, experts);
    const int to = worker_of_expert(k, w->workers, experts);
    p->slabs = w->inbox;
    if (from == w->number) {
        const struct expert *e = w->own[p->member - w->first].expert;
        p->slabs = (struct slabs){e->weights, e->adam_m, e->adam_v};
        if (from != to) SHOAL_TRY(park_lend(w, p));
    }
    return from != to ? move_group(w, p, from, to) : SHOAL_OK;
}

static struct selection selection_of(const struct worker *w)
{
    const struct config *c = w->cfg;
    return (struct selection){.experts = c->population.experts,
                              .seed = (uint64_t)c->run.seed,
                              .round = w->round.step / w->round.every,
                              .live = &w->round.live,
                              .ranked = w->ranked,
                              .top = c->evolution.top};
}

void worker_find_sources(struct worker *w, struct pull *p)
{
    const int experts = w->cfg->population.experts;
    const struct selection selection = selection_of(w);
    int32_t *const source = w->source + (p->group == GROUP_BODY ? 0 : experts);
    select_sources((enum attractor)p->rule->attractor, &selection, source, w->source + 2 * experts);
    p->source = source;
}

/* What every expert's learning rate is, on all workers. */
static enum shoal_status share_rates(struct worker *w)
{
    const int experts = w->cfg->population.experts;
    memset(w->rates, 0, (size_t)experts * sizeof *w->rates);
    for (int i = 0; i < w->n_own; i++)
        w->rates[w->first + i] = w->own[i].expert->lr_scale;
    return comm_sum_values(w->comm, w->rates, experts);
}

enum shoal_status worker_inherit_rates(struct worker *w, const int32_t *source)
{
    const struct config *c = w->cfg;
    const struct selection selection = selection_of(w);
    if (!source || !c->evolution.inherit_lr) return SHOAL_OK;
    SHOAL_TRY(share_rates(w));
    for (int i = 0; i < w->n_own; i++) {
        struct expert *e = w->own[i].expert;
        const int member = source[e->number];
        if (member < 0 || w->followed[e->number] || !worker_has(w, member)) continue;
        e->lr_scale = select_rate(&selection, e->number, w->rates[member], c->evolution.perturb_lr);
    }
    return SHOAL_OK;
}

enum shoal_status worker_tell_followed(struct worker *w)
{
    const int experts = w->cfg->population.experts;
    for (int k = 0; k < experts; k++)
        w->told[k] = w->followed[k];
    return comm_epoch(w->comm) > 0 ? comm_sum_values(w->comm, w->told, experts) : SHOAL_OK;
}
