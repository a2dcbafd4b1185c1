/* fetch.c - every group's attractor travels to all workers.
 *
 * A group is exchanged range by range, only the elements that belong to it and to the round's
 * fragment: the body is one range of a slab, io the two around it (params.h). An attractor among
 * this worker's own experts is used where it lies: in the outbox, or, where the round is applied at
 * once, in the expert itself, which does not move, so nobody can see it half evolved. */
#include <math.h>
#include <string.h>
#include "evo/operators.h"
#include "evo/plan.h"
#include "worker/worker_impl.h"

/* Worker `root`'s range of each slab into everyone's inbox. The root's own slabs are only read. */
static enum shoal_status broadcast_range(struct worker *w, const struct slabs *from, int root,
                                         struct range r, bool with_moments)
{
    float *slab[] = {from->weights, from->m, from->v};
    const int slabs = with_moments ? 3 : 1;
    for (int i = 0; i < slabs && r.begin < r.end; i++)
        SHOAL_TRY(comm_broadcast(w->comm, slab[i] + r.begin, r.end - r.begin, root));
    return SHOAL_OK;
}

/* Where the member's values are, or will be once they have come. */
static struct slabs place_of(const struct worker *w, int member)
{
    const int experts = w->cfg->population.experts;
    if (member == experts) return w->mean;
    if (worker_of_expert(member, w->workers, experts) != w->number) return w->inbox;
    return worker_sent(w, &w->own[member - w->first]);
}

/* Bring one group's attractor here. */
static enum shoal_status fetch_group(struct worker *w, struct pull *p)
{
    const struct round *const r = &w->round;
    const int experts = w->cfg->population.experts;
    const bool moments = p->rule->moments == MOMENTS_INHERIT;
    const bool is_mean = p->member == experts;
    p->slabs = place_of(w, p->member);
    SHOAL_TRY(park_lend(w, p));
    for (int i = 0; i < 2; i++) {
        if (!is_mean) {
            const int root = worker_of_expert(p->member, w->workers, experts);
            SHOAL_TRY(broadcast_range(w, &p->slabs, root, p->range[i], moments));
        } else if (moments || !r->mean_fresh) {
            SHOAL_TRY(worker_mean(w, &r->live, p->range[i], moments, r->narrow));
        }
    }
    return SHOAL_OK;
}

/* Both groups as one, where they move toward the same mean: one exchange instead of three. */
static enum shoal_status fetch_whole_mean(struct worker *w)
{
    struct pull *const pull = w->round.pull;
    const struct range whole = {0, w->table->n_params};
    for (int g = 0; g < 2; g++)
        pull[g].slabs = w->mean;
    if (w->round.mean_fresh) return SHOAL_OK;
    return worker_mean(w, &w->round.live, whole, false, w->round.narrow);
}

static bool is_whole_mean(const struct worker *w)
{
    const struct pull *const pull = w->round.pull;
    const int experts = w->cfg->population.experts;
    return w->cfg->evolution.fragments == 1 && !w->outer.agreed && pull[0].member == experts &&
           pull[1].member == experts && pull[0].rule->moments != MOMENTS_INHERIT &&
           pull[1].rule->moments != MOMENTS_INHERIT;
}

/* Who may lead and who must be replaced: after a judging, as it found; between judgings, whoever's
 * last training loss was not finite is dead, lest one broken expert spoil the mean for all. */
static enum shoal_status find_live(struct worker *w)
{
    struct round *const r = &w->round;
    const int experts = w->cfg->population.experts;
    worker_strike_lost(w, &r->live);
    if (r->judged) return SHOAL_OK;
    memcpy(w->alive, w->alive + experts, (size_t)experts * sizeof *w->alive);
    SHOAL_TRY(comm_sum_values(w->comm, w->alive, experts));
    for (int k = 0; k < experts; k++)
        live_put(&r->live, k, w->alive[k] > 0);
    return SHOAL_OK;
}

/* The member a group moves toward now; -1: it stays. */
static int choose(const struct worker *w, const struct evo_rule *rule)
{
    const struct round *const r = &w->round;
    const int experts = w->cfg->population.experts;
    if (!evo_rule_active(rule)) return -1;
    const int member = plan_attractor(rule, r->best, r->step / r->every, experts, &r->live);
    /* The standing best may have died since; so may all that a mean would be of. */
    const bool there = member == experts ? live_next(&r->live, 0, experts) >= 0
                                         : member >= 0 && live_has(&r->live, member);
    return there ? member : -1;
}

/* What travels as a difference needs all of the judging's mean on every worker. After a resumption
 * there is none yet, and the fragments of this round would be just a part of it. The mean is exact,
 * so nothing of it is lost; and a snapshot need not hold what was. */
static enum shoal_status restore_base(struct worker *w)
{
    struct round *const r = &w->round;
    const struct range whole = {0, w->table->n_params};
    if (!r->judged || w->cfg->evolution.wire == WIRE_F32) return SHOAL_OK;
    SHOAL_TRY(worker_forget_lost(w));
    if (r->mean_fresh) return SHOAL_OK;
    if (live_next(&r->live, 0, w->cfg->population.experts) < 0) return SHOAL_OK;
    SHOAL_TRY(worker_mean(w, &r->live, whole, false, false));
    r->mean_fresh = true;
    return SHOAL_OK;
}

enum shoal_status worker_leave_behind(struct worker *w)
{
    for (int g = 0; g < 2; g++) {
        const struct pull *const p = &w->round.pull[g];
        if (p->member < 0 || p->rule->attractor != ATTRACT_MEAN) continue;
        for (int i = 0; i < 2; i++)
            SHOAL_TRY(worker_step_outside(w, p->range[i].begin, p->range[i].end));
    }
    return SHOAL_OK;
}

enum shoal_status worker_fetch(struct worker *w)
{
    struct pull *const pull = w->round.pull;
    SHOAL_TRY(find_live(w));
    SHOAL_TRY(restore_base(w));
    for (int g = 0; g < 2; g++)
        pull[g].member = choose(w, pull[g].rule);
    if (is_whole_mean(w)) return fetch_whole_mean(w);
    for (int g = 0; g < 2; g++)
        if (pull[g].member >= 0) SHOAL_TRY(fetch_group(w, &pull[g]));
    return SHOAL_OK;
}
